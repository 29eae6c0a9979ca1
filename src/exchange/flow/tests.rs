//! What a flow lets leave, and when.

use std::io::Write;
use std::path::Path;

use http::{Request, Response};
use tempfile::TempDir;

use super::*;
use crate::assembly::assemble;
use crate::config;
use crate::credentials::hash;
use crate::exchange::{BodyTreatment, ExchangeStart, SharedState, begin};
use crate::ledger::{Batch, LineResult};

pub(crate) const KEY: &str = "pgk_test_flow";
const BODY: &str = r#"{"items": [{"id": "p-1", "name": "Ada"}, {"id": "p-2", "name": "Ben"}], "total": 2}"#;

const ROUTE: &str = r#"
record = "$.items[*]"
subject = "@.id"
[route.fields]
"$.total" = "aggregate"
"@.id" = "non-personal"
"@.name" = "name"
"#;

/// The state of a gateway with one route, in a folder of its own. `p-1` and `p-2` consent to marketing.
pub(crate) struct TestState {
    _folder: TempDir,
    pub(crate) shared: Arc<SharedState>,
}

impl TestState {
    pub(crate) async fn new(keys_of_route: &str) -> TestState {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        std::fs::write(&file, configuration(keys_of_route)).unwrap();
        let (config, findings) = config::load(&file);
        let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
        let state = TestState { _folder: folder, shared: assemble(config).unwrap() };
        state.tell("p-1", "consent-given").await;
        state.tell("p-2", "consent-given").await;
        state
    }

    async fn tell(&self, subject: &str, kind: &str) {
        let line = format!(r#"{{"subject": "{subject}", "kind": "{kind}", "purpose": "direct-marketing"}}"#);
        let batch = Batch::default();
        let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
        self.shared.ledger.import(line.as_bytes(), batch, Timestamp::now(), accepted).await;
    }

    /// Runs an exchange up to a response in this coding, and returns its flow.
    async fn flow(&self, coding: &str) -> Box<BodyFlow> {
        let request = Request::get("/people").header("host", "x").header("data-purpose", "direct-marketing");
        let request = request.header("authorization", format!("Bearer {KEY}")).body(()).unwrap();
        let start = begin(&self.shared, &request.into_parts().0, false).await;
        let ExchangeStart::Forward(granted, _) = start else { panic!("{start:?}") };
        granted.record_intent().await.unwrap();
        let upstream = Response::builder().header("content-type", "application/json");
        let upstream = upstream.header("content-encoding", coding).body(()).unwrap();
        match granted.respond(&upstream.into_parts().0, None).await.unwrap().body {
            BodyTreatment::Scrub(flow) => flow,
            other => panic!("{other:?}"),
        }
    }
}

fn configuration(keys_of_route: &str) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
    let hash: String = hash(KEY.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "policy = {:?}\n[listener]\naddress = \"127.0.0.1:0\"\n\
         [[upstream]]\nname = \"crm\"\nurl = \"http://127.0.0.1:9\"\n\
         [[recipient]]\nname = \"support\"\nkind = \"employee\"\ncountry = \"DE\"\n\
         purposes = [\"direct-marketing\"]\ncredentials = [{{ api-key = \"sha256:{hash}\" }}]\n\
         [[route]]\nname = \"people\"\nupstream = \"crm\"\npath = \"/people\"\n{keys_of_route}{ROUTE}",
        pack.display().to_string()
    )
}

/// Pushes a body in chunks of a size, records each window and returns all that leaves.
async fn scrubbed(mut flow: Box<BodyFlow>, body: &[u8], size: usize) -> Result<Vec<u8>, ResponseError> {
    let mut left = Vec::new();
    let mut chunks = body.chunks(size);
    while !flow.is_finished() {
        while flow.wants_more() {
            match chunks.next() {
                _ if flow.has_coded() => flow.resume()?,
                Some(chunk) => flow.push(Bytes::copy_from_slice(chunk), false)?,
                None => flow.finish()?,
            }
        }
        flow.record().await?;
        while let Some(bytes) = flow.hand_out().await? {
            left.extend_from_slice(&bytes);
        }
    }
    flow.transfer().close();
    Ok(left)
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn chunk_boundaries_do_not_matter() {
    let state = TestState::new("").await;
    for (coding, body) in [("identity", BODY.as_bytes().to_vec()), ("gzip", gzip(BODY))] {
        for size in [1, 7, body.len()] {
            let left = scrubbed(state.flow(coding).await, &body, size).await.unwrap();
            assert_eq!(String::from_utf8(left).unwrap(), BODY, "{coding} in chunks of {size}");
        }
    }
}

#[tokio::test]
async fn a_withdrawal_between_push_and_hand_out_takes_effect() {
    let state = TestState::new("").await;
    let mut flow = state.flow("identity").await;
    flow.push(Bytes::from_static(BODY.as_bytes()), true).unwrap();
    flow.record().await.unwrap();
    state.tell("p-1", "consent-withdrawn").await;
    let left = flow.hand_out().await.unwrap().unwrap();
    let left = String::from_utf8(left.to_vec()).unwrap();
    assert!(!left.contains("Ada") && left.contains("Ben"), "{left}");
    assert_eq!(flow.hand_out().await.unwrap(), None);
}

#[tokio::test]
async fn nothing_leaves_before_its_window_is_on_the_log() {
    let state = TestState::new("").await;
    let mut flow = state.flow("identity").await;
    let (first, second) = BODY.as_bytes().split_at(45);
    flow.push(Bytes::from_static(first), false).unwrap();
    assert_eq!(flow.hand_out().await.unwrap(), None, "nothing is recorded yet");
    flow.record().await.unwrap();
    flow.push(Bytes::from_static(second), true).unwrap();
    let left = flow.hand_out().await.unwrap().unwrap();
    assert!(left.len() <= first.len(), "only the recorded part leaves");
    assert_eq!(flow.hand_out().await.unwrap(), None);
    flow.record().await.unwrap();
    let rest = flow.hand_out().await.unwrap().unwrap();
    assert_eq!([left, rest].concat(), BODY.as_bytes());
}

#[tokio::test]
async fn nothing_leaves_after_an_error() {
    let state = TestState::new("").await;
    let mut flow = state.flow("identity").await;
    flow.push(Bytes::from_static(&BODY.as_bytes()[..45]), false).unwrap();
    flow.record().await.unwrap();
    flow.push(Bytes::from_static(b"}]}"), true).unwrap_err();
    assert!(flow.record().await.is_err() && flow.hand_out().await.is_err());
}

#[tokio::test]
async fn a_body_that_ends_without_a_byte_leaves_empty() {
    let state = TestState::new("").await;
    for coding in ["identity", "gzip"] {
        let mut flow = state.flow(coding).await;
        flow.finish().unwrap();
        assert!(!flow.wants_more() && flow.is_finished());
        flow.record().await.unwrap();
        assert_eq!(flow.hand_out().await.unwrap(), None);
    }
}

#[tokio::test]
async fn an_unreadable_rest_is_an_error_after_what_came_before() {
    let state = TestState::new("").await;
    let mut flow = state.flow("identity").await;
    flow.push(Bytes::from_static(br#"{"items": [{"id": "p-1", "name": "Ada"}, "#), false).unwrap();
    let error = flow.push(Bytes::from_static(b"}]}"), true).unwrap_err();
    assert!(matches!(error.fault, Some(UpstreamFault::Body(_))), "{error:?}");
    let truncated = gzip(BODY);
    let truncated = &truncated[..truncated.len() - 5];
    let error = scrubbed(state.flow("gzip").await, truncated, 3).await.unwrap_err();
    assert!(matches!(error.fault, Some(UpstreamFault::Undecodable(_))), "{error:?}");
}

#[tokio::test]
async fn a_route_that_denies_releases_all_or_nothing_up_to_its_bound() {
    let state = TestState::new("withheld = \"deny\"\nmax-deny-body = \"1KiB\"\n").await;
    let left = scrubbed(state.flow("identity").await, BODY.as_bytes(), 10).await.unwrap();
    assert_eq!(left, BODY.as_bytes());
    let long = format!("{}{}", " ".repeat(1024), BODY);
    let error = scrubbed(state.flow("identity").await, long.as_bytes(), 100).await.unwrap_err();
    assert_eq!(error.fault, Some(UpstreamFault::TooLong(1024)));
    state.tell("p-2", "consent-withdrawn").await;
    let error = scrubbed(state.flow("identity").await, BODY.as_bytes(), 10).await.unwrap_err();
    assert_eq!(error.refusal, Refusal::SubjectWithheld);
}
