//! The state of a gateway with a small pack and a few routes, and answers of its upstream: exchanges without sockets.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::assembly::{self, assemble};
use crate::config;
use crate::disclosure::{self, Disk, Durability, Log, LogSettings};
use crate::exchange::flow::BodyFlow;
use crate::exchange::upstream_fault::ResponseError;
use crate::exchange::{
    BodyTreatment, ExchangeStart, GrantedExchange, Refusal, Rejection, SharedState, begin,
};
use crate::keys::Keys;
use crate::layer::response_body::ResponseBody;
use crate::ledger::{Batch, Freshness, LineResult, Position};

pub(super) const KEY: &str = "pgk_test_support";

/// One person, whose fields rest on different bases for `order-fulfilment`: `name` on a contract, `email` on consent,
/// `phone` on a legitimate interest, and `card` on the first and the last of these.
pub(super) const BODY: &str =
    r#"{"id":"p-1","name":"Ada","email":"ada@example.org","phone":"030","card":"Ada 030","status":"new"}"#;

const PACK: &str = r#"
title = "A pack"
version = "1"
announced = 2026-01-05
effective = 2026-01-05
contact = "Data Protection Officer"
[bases]
contract = "Needed for what the person ordered"
consent = "The person agreed"
legitimate-interest = "Needed, and not outweighed"
legal-obligation = "Required by law"
not-personal = "About nobody"
[[clauses]]
id = "A-1"
title = "Everything"
kept = "by-rules"
"#;

/// Each rule of the pack: id, basis, purpose, category.
const RULES: [(&str, &str, &str, &str); 10] = [
    ("order-name", "contract", "order-fulfilment", "name"),
    ("order-email", "consent", "order-fulfilment", "email"),
    ("order-phone", "legitimate-interest", "order-fulfilment", "phone"),
    ("news", "consent", "direct-marketing", "email"),
    ("message", "contract", "service-communication", "name"),
    ("fraud-name", "legitimate-interest", "security", "name"),
    ("fraud-email", "consent", "security", "email"),
    ("law-name", "legal-obligation", "legal", "name"),
    ("law-email", "consent", "legal", "email"),
    ("anonymous", "not-personal", "", "non-personal"),
];

const ROUTES: &str = r#"
[[schema]]
name = "person"
subject = "@.id"
[schema.fields]
"@.id" = "non-personal"
"@.name" = "name"
"@.email" = "email"
"@.phone" = "phone"
"@.card" = ["name", "phone"]
"@.status" = "non-personal"

[[route]]
name = "stops"
upstream = "crm"
methods = ["GET", "POST"]
path = "/stops"
schema = "person"

[[route]]
name = "goes-on"
upstream = "crm"
methods = ["GET", "POST"]
path = "/goes-on"
schema = "person"
stale = "contract"
stale-for = "1m"
query = { name = "name", email = "email" }

[[route]]
name = "denies"
upstream = "crm"
path = "/denies"
schema = "person"
stale = "contract"
withheld = "deny"

[[route]]
name = "hides"
upstream = "crm"
path = "/hides"
schema = "person"
stale = "contract"
withheld = "deny"
hide-existence = true

[[route]]
name = "lists"
upstream = "crm"
path = "/lists"
record = "$[*]"
schema = "person"

[[route]]
name = "unread"
upstream = "crm"
path = "/unread"
personal = false
stale = "contract"
"#;

pub(super) const STALE: Freshness = Freshness::Stale { age: Duration::from_secs(10) };

/// The state of a gateway with [`PACK`] and [`ROUTES`]. `p-1` consents to everything.
pub(super) struct GatewayFixture {
    folder: TempDir,
    pub(super) shared: Arc<SharedState>,
}

/// The response to a request.
#[derive(Debug)]
pub(super) struct ExchangeOutcome {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    /// The exchange in the disclosure log.
    pub(super) record: Value,
}

impl GatewayFixture {
    pub(super) async fn new() -> GatewayFixture {
        GatewayFixture::with("").await
    }

    /// Returns a state whose configuration has these further sections.
    pub(super) async fn with(sections: &str) -> GatewayFixture {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::create_dir(folder.path().join("pack")).unwrap();
        write("pack/pack.toml", PACK);
        write("pack/rules.cedar", &RULES.map(rule).concat());
        let hash: String = Sha256::digest(KEY).iter().map(|byte| format!("{byte:02x}")).collect();
        let purposes =
            r#"["order-fulfilment", "direct-marketing", "service-communication", "security", "legal"]"#;
        let config = format!(
            "policy = \"pack\"\n[listener]\naddress = \"127.0.0.1:0\"\n\
             [ledger]\nmax-staleness = \"500ms\"\n\
             [[upstream]]\nname = \"crm\"\nurl = \"http://127.0.0.1:9\"\n\
             [[recipient]]\nname = \"support\"\nkind = \"employee\"\ncountry = \"DE\"\n\
             purposes = {purposes}\ncredentials = [{{ api-key = \"sha256:{hash}\" }}]\n{ROUTES}{sections}"
        );
        write("purposegate.toml", &config);
        let (config, findings) = config::load(&folder.path().join("purposegate.toml"));
        let shared = assemble(config.unwrap_or_else(|| panic!("{findings:#?}"))).unwrap();
        let state = GatewayFixture { folder, shared };
        for purpose in ["order-fulfilment", "direct-marketing", "security", "legal"] {
            state
                .tell(&format!(r#"{{"kind": "consent-given", "purpose": "{purpose}", "subject": "p-1"}}"#))
                .await;
        }
        state
    }

    /// Returns a state whose disclosure log is on this disk.
    pub(super) async fn on(disk: &Arc<Disk>, durability: Durability) -> GatewayFixture {
        GatewayFixture::on_with(disk, durability, "").await
    }

    /// Does the same with further sections of the configuration.
    pub(super) async fn on_with(disk: &Arc<Disk>, durability: Durability, sections: &str) -> GatewayFixture {
        let mut state = GatewayFixture::with(sections).await;
        let data = state.folder.path().join("data");
        let settings = LogSettings {
            folder: data.join("audit-on-disk"),
            gateway: "gateway-1".to_owned(),
            durability,
            retention: Duration::from_secs(1 << 30),
            origin: None,
            ledger: None,
            known_checkpoints: Vec::new(),
        };
        let log = Log::open_on(disk, settings, &Keys::open(&data.join("keys")).unwrap());
        Arc::get_mut(&mut state.shared).expect("nobody else has it").log = Arc::new(log);
        state
    }

    /// Changes the configuration, and reloads it.
    pub(super) fn reload(&self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("purposegate.toml");
        std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
        let (config, findings) = config::load(&file);
        assembly::apply(&self.shared, config.unwrap_or_else(|| panic!("{findings:#?}")));
    }

    pub(super) async fn tell(&self, line: &str) -> Position {
        let batch = Batch::default();
        let mut position = Position(0);
        let accepted = |line: LineResult| position = line.outcome.unwrap().position;
        self.shared.ledger.import(line.as_bytes(), batch, jiff::Timestamp::now(), accepted).await;
        position
    }

    pub(super) fn assume(&self, freshness: Freshness) {
        self.shared.ledger.assume_freshness(freshness);
    }

    pub(super) async fn begin(&self, request: http::request::Builder, purpose: &str) -> ExchangeStart {
        let request = request.header("host", "x").header("data-purpose", purpose);
        let request = request.header("authorization", format!("Bearer {KEY}")).body(()).unwrap();
        begin(&self.shared, &request.into_parts().0, false).await
    }

    /// Begins an exchange and goes on until the upstream may be called, or returns the refusal.
    pub(super) async fn granted(
        &self,
        request: http::request::Builder,
        purpose: &str,
    ) -> Result<GrantedExchange, ExchangeOutcome> {
        match self.begin(request, purpose).await {
            ExchangeStart::Forward(granted, _) => {
                granted.record_intent().await.unwrap();
                granted.authorize_call().unwrap();
                Ok(granted)
            }
            ExchangeStart::Answered(response) => Err(self.outcome(response).await),
        }
    }

    async fn outcome(&self, response: Response<Bytes>) -> ExchangeOutcome {
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let record = match body["decision"].as_str() {
            Some(decision) => self.record(decision).await,
            None => Value::Null,
        };
        if body["code"] == "ledger-stale" {
            assert!(response.headers().contains_key("retry-after") && response.status() == 503);
        }
        ExchangeOutcome { status: response.status(), body, record }
    }

    pub(super) async fn record(&self, decision: &str) -> Value {
        self.shared.log.flush().await.unwrap();
        disclosure::decision(self.shared.log.source().place(), decision, true).unwrap().unwrap_or(Value::Null)
    }

    /// Sends a request; the upstream answers with [`BODY`].
    pub(super) async fn get(&self, path: &str, purpose: &str) -> ExchangeOutcome {
        let recorded = match self.granted(Request::get(path), purpose).await {
            Ok(recorded) => recorded,
            Err(refused) => return refused,
        };
        let (mut flow, decision) = match flow(&recorded).await {
            Ok(flow) => flow,
            Err(rejection) => return self.outcome(recorded.refuse(rejection).await).await,
        };
        match scrubbed(&mut flow).await {
            Ok(left) => {
                flow.transfer().close();
                let body = serde_json::from_slice(&left).unwrap();
                ExchangeOutcome { status: StatusCode::OK, body, record: self.record(&decision).await }
            }
            Err(error) => {
                flow.refuse(error);
                self.outcome(recorded.refuse(error.into()).await).await
            }
        }
    }
}

fn rule((id, basis, purpose, category): (&str, &str, &str, &str)) -> String {
    let action = match purpose {
        "" => String::new(),
        purpose => format!(" in Action::\"{purpose}\""),
    };
    format!(
        "@id(\"{id}\") @clause(\"A-1\") @basis(\"{basis}\")\n\
         permit (principal, action{action}, resource in Category::\"{category}\")\n\
         when {{ [\"disclose\", \"collect\"].contains(context.operation) }};\n"
    )
}

/// Returns the flow of a JSON response, and the id of the decision.
pub(super) async fn flow(granted: &GrantedExchange) -> Result<(Box<BodyFlow>, String), Rejection> {
    let upstream = Response::builder().header("content-type", "application/json").body(()).unwrap();
    let responded = granted.respond(&upstream.into_parts().0, None).await?;
    let applied = responded.head.headers()["data-purpose-applied"].to_str().unwrap().to_owned();
    let decision = applied.split('"').nth(1).unwrap().to_owned();
    match responded.body {
        BodyTreatment::Scrub(flow) => Ok((flow, decision)),
        other => panic!("{other:?}"),
    }
}

/// Pushes [`BODY`] and records its window.
pub(super) async fn push(flow: &mut BodyFlow) -> Result<(), ResponseError> {
    flow.push(Bytes::from_static(BODY.as_bytes()), true)?;
    flow.record().await
}

/// Returns what leaves of [`BODY`].
async fn scrubbed(flow: &mut BodyFlow) -> Result<Vec<u8>, ResponseError> {
    push(flow).await?;
    handed_out(flow).await
}

pub(super) async fn handed_out(flow: &mut BodyFlow) -> Result<Vec<u8>, ResponseError> {
    let mut left = Vec::new();
    while let Some(bytes) = flow.hand_out().await? {
        left.extend_from_slice(&bytes);
    }
    Ok(left)
}

/// The body of an answer of an upstream: chunks, and a failure at its end if it breaks.
pub(super) type Chunks = UnsyncBoxBody<Bytes, std::io::Error>;

pub(super) fn whole(body: impl Into<Bytes>) -> Chunks {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body of these chunks, each of which waits until the one before it was taken. It has no length. It breaks at the end if
/// `breaks`.
pub(super) fn streamed(chunks: Vec<impl Into<Bytes> + Send + 'static>, breaks: bool) -> Chunks {
    let broken = breaks.then(|| Err(std::io::Error::other("broken")));
    let chunks = chunks.into_iter().map(|chunk| Ok(Frame::data(chunk.into()))).chain(broken);
    let stream = futures_util::stream::unfold(chunks, |mut chunks| async move {
        tokio::task::yield_now().await;
        Some((chunks.next()?, chunks))
    });
    StreamBody::new(Box::pin(stream)).boxed_unsync()
}

/// An answer of an upstream in JSON.
pub(super) fn json_answer(body: Chunks) -> Response<Chunks> {
    Response::builder().header("content-type", "application/json").body(body).unwrap()
}

/// Returns the records of all exchanges, in the order of the log.
pub(super) async fn records(shared: &SharedState) -> Vec<Value> {
    shared.log.flush().await.unwrap();
    let mut records = Vec::new();
    disclosure::export(shared.log.source().place(), None, |line| {
        let record: Value = serde_json::from_slice(line).unwrap();
        if record.get("decision").is_some() {
            records.push(record);
        }
        Ok(())
    })
    .unwrap();
    records
}

/// Waits until the log can be written again.
pub(super) async fn resume(state: &GatewayFixture, disk: &Disk) {
    disk.set_full(false);
    while !state.shared.log.healthy() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(super) async fn read(response: Response<ResponseBody>) -> Result<Bytes, Refusal> {
    let collected = response.into_body().collect().await;
    collected.map(http_body_util::Collected::to_bytes).map_err(|error| error.refusal)
}
