//! The end of an observation while an exchange is under way: nothing more leaves, and no operation is carried out.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{ASK, Ask, Chunks, GatewayFixture, ROUTES, UNKNOWN, partner};
use super::{applied, exchange, json_answer, read, record_of, records, streamed, whole};
use crate::exchange::{ExchangeClock, Refusal};
use crate::gateway::tests::fixture::BODY;
use crate::layer::upstream::CallConfirmation;

/// A request to a route that is observed until the end of January.
const ON_LAST_DAY: Ask<'_> = Ask { path: "/until-2027", ..ASK };

const BEFORE: &str = "2027-01-31T23:59:59Z";
const AFTER: &str = "2027-02-01T00:00:00Z";

thread_local! {
    /// The time of exchanges. Each test has a thread.
    static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
}

fn set_time(time: &str) {
    NOW.set(time.parse().unwrap());
}

/// Returns a state in which it is the last second of the observation.
async fn until_2027(sections: &str) -> GatewayFixture {
    let mut state = GatewayFixture::with(&format!("{}{ROUTES}{sections}", partner())).await;
    let clock = ExchangeClock::new(|| NOW.get());
    Arc::get_mut(&mut state.shared).expect("nobody else has it").clock = clock;
    set_time(BEFORE);
    state
}

/// An event after which an exchange is no longer observed.
#[derive(Clone, Copy, Debug)]
enum ObservationEnd {
    /// The day ends.
    Midnight,
    /// Somebody suspends the recipient.
    Suspension,
    /// A reload takes out the mode.
    Reload,
    /// A reload after which the route is another one.
    Replacement,
}

impl ObservationEnd {
    const ALL: [ObservationEnd; 4] = [
        ObservationEnd::Midnight,
        ObservationEnd::Suspension,
        ObservationEnd::Reload,
        ObservationEnd::Replacement,
    ];

    async fn occur(self, state: &GatewayFixture) {
        let mode = "mode = \"observe\"\nobserve-until = 2027-01-31\n";
        match self {
            ObservationEnd::Midnight => set_time(AFTER),
            ObservationEnd::Suspension => {
                state.tell(r#"{"kind": "suspended", "recipient": "support"}"#).await;
            }
            ObservationEnd::Reload => state.reload(|config| config.replace(mode, "")),
            ObservationEnd::Replacement => state.reload(|config| {
                config
                    .replace("until-2027\"\nrecord", "another\"\nrecord")
                    .replace("path = \"/until-2027\"", "path = \"/another\"")
            }),
        }
    }

    /// The refusal of an exchange that is under way.
    fn refusal(self) -> Refusal {
        match self {
            ObservationEnd::Suspension => Refusal::RecipientSuspended,
            ObservationEnd::Midnight | ObservationEnd::Reload | ObservationEnd::Replacement => {
                Refusal::Overloaded
            }
        }
    }
}

/// An answer whose head tells about a person.
fn telling(status: u16) -> http::response::Builder {
    let head = Response::builder().status(status).header("location", "/people/ada");
    head.header("set-cookie", "user=ada").header("x-user", "ada")
}

fn tells(response: &Response<crate::layer::response_body::ResponseBody>) -> bool {
    response.headers().values().any(|value| value.to_str().unwrap().contains("ada"))
}

#[tokio::test]
async fn a_route_is_enforced_from_the_end_of_its_day_without_a_restart() {
    let state = until_2027("").await;
    let (_, left, record) = exchange(&state, ON_LAST_DAY, json_answer(whole(UNKNOWN))).await;
    assert_eq!((&*left, &record["mode"]), (UNKNOWN.as_bytes(), &json!("observe")));
    let lines = vec![format!("{UNKNOWN}\n").repeat(20_000); 6];
    let answer = Response::builder().header("content-type", "application/x-ndjson");
    let mut under_way =
        ON_LAST_DAY.send(&state, answer.body(streamed(lines, false)).unwrap()).await.into_body();
    under_way.frame().await.unwrap().unwrap();

    set_time(AFTER);
    let cut = under_way.frame().await.unwrap().unwrap_err();
    assert_eq!(cut.refusal, Refusal::Overloaded, "an answer under way is not observed any longer either");
    let response = ON_LAST_DAY.send(&state, json_answer(whole(UNKNOWN))).await;
    let applied = applied(&response);
    assert!(!applied.contains("observed"), "{applied}");
    let left: Value = serde_json::from_slice(&read(response).await.unwrap()).unwrap();
    assert_eq!(left, json!({ "id": "p-2" }));
    let record = record_of(&state, &applied).await;
    assert_eq!((&record["mode"], record.get("would")), (&json!("enforce"), None));
    let refused = Ask { purpose: None, ..ON_LAST_DAY }.send(&state, json_answer(whole(BODY))).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn no_head_leaves_after_the_observation_has_ended() {
    type MakeAnswer = fn() -> Response<Chunks>;
    let answers: [(&str, MakeAnswer); 7] = [
        ("GET", || telling(302).header("content-type", "text/plain").body(whole("Ada moved")).unwrap()),
        ("GET", || telling(302).body(whole("")).unwrap()),
        ("GET", || telling(201).header("content-length", "0").body(whole("")).unwrap()),
        ("GET", || telling(204).body(whole("")).unwrap()),
        ("GET", || telling(200).body(streamed(Vec::<Bytes>::new(), false)).unwrap()),
        ("HEAD", || telling(200).header("content-type", "application/json").body(whole("")).unwrap()),
        ("POST", || telling(201).body(whole("")).unwrap()),
    ];
    for end in ObservationEnd::ALL {
        for (number, (method, answer)) in answers.into_iter().enumerate() {
            let state = Arc::new(until_2027("").await);
            let ask = Ask { method, ..ON_LAST_DAY };
            let left = ask.send(&state, answer()).await;
            assert!(left.status().as_u16() < 400 && tells(&left), "{number}: it is observed");

            let at_upstream = Arc::clone(&state);
            let refused = ask
                .send_while(&state, move |_| async move {
                    end.occur(&at_upstream).await;
                    answer()
                })
                .await;
            assert_eq!(refused.status(), end.refusal().status(), "{end:?} {number}");
            assert!(!tells(&refused), "{end:?} {number}: {:?}", refused.headers());
            let all = records(&state.shared).await;
            let expected = format!("refused:{}", end.refusal().code());
            assert_eq!(all.last().unwrap()["outcome"], expected, "{end:?} {number}");
            let decision = &all.last().unwrap()["decision"];
            let of_it = all.iter().filter(|record| record["decision"] == *decision);
            let people = of_it.filter_map(|record| record["subjects"].as_array()).map(Vec::len);
            assert_eq!(people.sum::<usize>(), 0, "{end:?} {number}: nothing was disclosed");
        }
    }
}

#[tokio::test]
async fn the_head_of_a_stream_does_not_leave_after_the_observation_has_ended() {
    for end in ObservationEnd::ALL {
        let state = Arc::new(until_2027("").await);
        let at_upstream = Arc::clone(&state);
        // The first line leaves after a moment in which no second one comes.
        let frames = futures_util::stream::unfold(0, move |sent| {
            let state = Arc::clone(&at_upstream);
            async move {
                if sent > 0 {
                    end.occur(&state).await;
                    std::future::pending::<()>().await;
                }
                Some((Ok(Frame::data(Bytes::from(format!("{UNKNOWN}\n")))), sent + 1))
            }
        });
        let answer = telling(200).header("content-type", "application/x-ndjson");
        let answer = answer.body(StreamBody::new(Box::pin(frames)).boxed_unsync()).unwrap();
        let refused = ON_LAST_DAY.send(&state, answer).await;
        assert_eq!(refused.status(), end.refusal().status(), "{end:?}");
        assert!(!tells(&refused), "{end:?}");
        assert!(!String::from_utf8_lossy(&read(refused).await.unwrap()).contains("Bea"), "{end:?}");
    }
}

#[tokio::test]
async fn an_answer_under_way_is_cut_when_a_reload_enforces_its_route() {
    for end in [ObservationEnd::Reload, ObservationEnd::Replacement] {
        let state = until_2027("").await;
        let items = vec![UNKNOWN; 20_000].join(",");
        let parts = vec![format!("[{items}"), format!(",{items}"), format!(",{items}]")];
        let ask = Ask { path: "/list-until-2027", ..ASK };
        let mut under_way = ask.send(&state, json_answer(streamed(parts, false))).await.into_body();
        under_way.frame().await.unwrap().unwrap();
        // A reload that leaves the route as it is cuts nothing.
        state.reload(|config| config.replace("path = \"/watched-list\"", "path = \"/watched-lists\""));
        under_way.frame().await.unwrap().unwrap();
        end.occur(&state).await;
        assert_eq!(under_way.frame().await.unwrap().unwrap_err().refusal, Refusal::Overloaded, "{end:?}");
    }
}

#[tokio::test]
async fn no_operation_is_carried_out_after_the_observation_has_ended() {
    for end in ObservationEnd::ALL {
        // Enforcing would refuse the first one and carry out the second.
        for purpose in [None, Some("order-fulfilment")] {
            let state = Arc::new(until_2027("").await);
            let is_confirmed = Arc::new(AtomicBool::new(false));
            let (at_upstream, confirmed) = (Arc::clone(&state), Arc::clone(&is_confirmed));
            let refused = Ask { method: "POST", purpose, ..ON_LAST_DAY }
                .send_while(&state, move |request: Request<()>| async move {
                    let asked = request.extensions().get::<CallConfirmation>().cloned().unwrap();
                    assert!(asked.clone().confirm().await, "it is observed");
                    end.occur(&at_upstream).await;
                    confirmed.store(asked.confirm().await, Ordering::SeqCst);
                    json_answer(whole(UNKNOWN))
                })
                .await;
            assert!(!is_confirmed.load(Ordering::SeqCst), "{end:?} {purpose:?}");
            assert_eq!(refused.status(), end.refusal().status(), "{end:?} {purpose:?}");
        }
    }
}

#[tokio::test]
async fn no_operation_is_carried_out_after_the_agreement_has_ended() {
    let hash: String = Sha256::digest("pgk_test_temp").iter().map(|byte| format!("{byte:02x}")).collect();
    let temp = format!(
        "[[recipient]]\nname = \"temp\"\nkind = \"employee\"\ncountry = \"DE\"\n\
         agreement = {{ type = \"processor\", until = 2027-01-31 }}\npurposes = [\"order-fulfilment\"]\n\
         credentials = [{{ api-key = \"sha256:{hash}\" }}]\n"
    );
    let state = until_2027(&temp).await;
    let is_confirmed = Arc::new(AtomicBool::new(false));
    let confirmed = Arc::clone(&is_confirmed);
    let refused = Ask { method: "POST", path: "/stops", key: "pgk_test_temp", ..ASK }
        .send_while(&state, move |request: Request<()>| async move {
            let asked = request.extensions().get::<CallConfirmation>().cloned().unwrap();
            assert!(asked.clone().confirm().await, "the agreement is in force");
            set_time(AFTER);
            confirmed.store(asked.confirm().await, Ordering::SeqCst);
            json_answer(whole(BODY))
        })
        .await;
    assert!(!is_confirmed.load(Ordering::SeqCst));
    assert_eq!(refused.status(), Refusal::AgreementNotInForce.status());
}
