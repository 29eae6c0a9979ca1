//! The moment at which an observed answer, or an operation, goes on: after its record, and while the recipient may have it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::{ASK, Ask, UNKNOWN, applied, granted, json_answer, observed, read, record_of, records, whole};
use super::{GatewayFixture, STALE};
use crate::exchange::BodyTreatment;
use crate::exchange::flow::BodyFlow;
use crate::exchange::flow::decode::{ContentCoding, Decoder};
use crate::layer::upstream::CallConfirmation;
use crate::ledger::Freshness;

/// Begins an observed answer of lines in this coding.
async fn flow(state: &GatewayFixture, coding: &str) -> Box<BodyFlow> {
    let response = Response::builder().header("content-type", "application/x-ndjson");
    let response = response.header("content-encoding", coding).body(()).unwrap();
    let responded = granted(state).await.respond(&response.into_parts().0, None).await.unwrap();
    match responded.body {
        BodyTreatment::Scrub(flow) => flow,
        other => panic!("{other:?}"),
    }
}

/// Lets everything leave that may.
async fn leave(flow: &mut BodyFlow, left: &mut Vec<u8>) {
    while flow.has_coded() {
        flow.resume().unwrap();
    }
    flow.record().await.unwrap();
    while let Some(bytes) = flow.hand_out().await.unwrap() {
        left.extend_from_slice(&bytes);
    }
}

/// Returns the number of records on the log.
async fn recorded(state: &GatewayFixture) -> u64 {
    records(&state.shared).await.iter().filter_map(|record| record["records"].as_u64()).sum()
}

/// Returns two lines in a coding, of which the first is flushed.
fn coded(coding: ContentCoding) -> [Vec<u8>; 2] {
    let line = format!("{UNKNOWN}\n").into_bytes();
    let (first, both) = match coding {
        ContentCoding::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&line).unwrap();
            encoder.flush().unwrap();
            let first = encoder.get_ref().clone();
            encoder.write_all(&line).unwrap();
            (first, encoder.finish().unwrap())
        }
        _ => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            encoder.write_all(&line).unwrap();
            encoder.flush().unwrap();
            let first = encoder.get_ref().clone();
            encoder.write_all(&line).unwrap();
            (first, encoder.finish().unwrap())
        }
    };
    let second = both[first.len()..].to_vec();
    [first, second]
}

#[tokio::test]
async fn no_byte_of_a_coded_record_leaves_before_its_people_are_on_record() {
    for (name, coding, is_at_once) in
        [("gzip", ContentCoding::Gzip, true), ("zstd", ContentCoding::Zstd, false)]
    {
        let [first, second] = coded(coding);
        let state = observed().await;
        let (mut flow, mut left) = (flow(&state, name).await, Vec::new());
        flow.push(Bytes::from(first.clone()), false).unwrap();
        assert_eq!(flow.hand_out().await.unwrap(), None, "{name}: it is not on record");
        leave(&mut flow, &mut left).await;
        assert_eq!(recorded(&state).await, 1, "{name}: a line that is flushed is judged");
        assert_eq!(left.len(), if is_at_once { first.len() } else { 0 }, "{name}");
        flow.push(Bytes::from(second.clone()), false).unwrap();
        leave(&mut flow, &mut left).await;
        assert_eq!(recorded(&state).await, 2, "{name}");
        flow.finish().unwrap();
        leave(&mut flow, &mut left).await;
        assert!(left == [first, second].concat(), "{name}");
        flow.transfer().close();
    }
}

#[tokio::test]
async fn coded_bytes_wait_until_all_that_they_hold_is_on_record() {
    for (name, coding) in [("gzip", ContentCoding::Gzip), ("zstd", ContentCoding::Zstd)] {
        let body = coded(coding).concat();
        for size in [1, 9, 40] {
            let state = observed().await;
            let (mut flow, mut left) = (flow(&state, name).await, Vec::new());
            for chunk in body.chunks(size) {
                flow.push(Bytes::copy_from_slice(chunk), false).unwrap();
                leave(&mut flow, &mut left).await;
                let known = Decoder::new(coding).unwrap().feed(&left).unwrap();
                let lines = known.split_inclusive(|byte| *byte == b'\n').count() as u64;
                assert!(lines <= recorded(&state).await, "{name} in chunks of {size}");
            }
            flow.finish().unwrap();
            leave(&mut flow, &mut left).await;
            assert!(left == body && recorded(&state).await == 2, "{name} in chunks of {size}");
            flow.transfer().close();
        }
    }
}

#[tokio::test]
async fn an_answer_that_has_no_content_leaves_without_the_body_that_it_has_all_the_same() {
    let state = observed().await;
    for status in [204, 205] {
        let answer = Response::builder().status(status).header("content-type", "application/json");
        let answer = answer.header("x-request-id", "kept").body(whole(UNKNOWN)).unwrap();
        let response = ASK.send(&state, answer).await;
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["x-request-id"], "kept", "{status}");
        let applied = applied(&response);
        assert_eq!(read(response).await.unwrap(), "", "{status}");
        let record = record_of(&state, &applied).await;
        assert_eq!((&record["mode"], &record["outcome"]), (&json!("observe"), &json!("released")));
        assert_eq!((&record["would"], &record["categories"]), (&Value::Null, &json!({})), "{record:#}");
    }
}

#[tokio::test]
async fn an_operation_that_enforcing_would_refuse_is_confirmed_right_before_the_call() {
    for (method, path, purpose) in
        [("DELETE", "/people/p-1", None), ("PUT", "/people/p-2", Some("order-fulfilment"))]
    {
        let state = Arc::new(observed().await);
        let is_carried_out = Arc::new(AtomicBool::new(false));
        let (at_upstream, carried_out) = (Arc::clone(&state), Arc::clone(&is_carried_out));
        let ask = Ask { method, path, purpose, ..ASK };
        let refused = ask
            .send_while(&state, move |request: Request<()>| async move {
                // The connection pool is busy, and somebody suspends the recipient.
                at_upstream.tell(r#"{"kind": "suspended", "recipient": "support"}"#).await;
                let asked = request.extensions().get::<CallConfirmation>().cloned();
                if asked.is_none() || asked.unwrap().confirm().await {
                    carried_out.store(true, Ordering::SeqCst);
                }
                json_answer(whole(UNKNOWN))
            })
            .await;
        assert!(!is_carried_out.load(Ordering::SeqCst), "{method}");
        assert_eq!(refused.status().as_u16(), 403, "{method}");
    }
}

#[tokio::test]
async fn observed_bytes_that_leave_while_the_ledger_is_stale_are_on_record_as_stale() {
    for is_whole in [true, false] {
        let state = observed().await;
        let mut flow = flow(&state, "identity").await;
        flow.push(Bytes::from(format!("{UNKNOWN}\n")), is_whole).unwrap();
        flow.record().await.unwrap();
        state.assume(STALE);
        assert!(flow.hand_out().await.unwrap().is_some());
        let all = records(&state.shared).await;
        let stale: Vec<&Value> = all.iter().filter(|record| record["stale"] == true).collect();
        assert_eq!(stale.len(), 1, "{is_whole}: {all:#?}");
        assert_eq!(stale[0]["would"], json!({ "refused": "ledger-stale" }), "{is_whole}");
        if !is_whole {
            flow.push(Bytes::from(format!("{UNKNOWN}\n")), true).unwrap();
            flow.record().await.unwrap();
            assert!(flow.hand_out().await.unwrap().is_some());
        }
        flow.transfer().close();
        state.assume(Freshness::Current);
    }
}
