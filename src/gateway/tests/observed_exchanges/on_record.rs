//! The records of observed answers: their heads, categories about nobody, and refusals that are found out late.

use http::Response;
use serde_json::{Value, json};

use super::{ASK, Ask, STALE, applied, counted, exchange, json_answer, observed, read, record_of, whole};
use crate::disclosure;
use crate::gateway::tests::fixture::BODY;
use crate::ledger::Freshness;
use crate::vocabulary::IdReader;

#[tokio::test]
async fn data_about_nobody_are_not_accounted_whatever_enforcing_would_have_done() {
    let state = observed().await;
    let account = async |expected: &[&[&str]]| {
        let (person, _) = state.shared.ledger.person(&IdReader::default().read("p-1").unwrap());
        let person = state.shared.ledger.logged_person(person);
        state.shared.log.flush().await.unwrap();
        let accounted = disclosure::accounting(state.shared.log.source(), &[person]).unwrap();
        let names: Vec<Vec<&str>> = accounted
            .iter()
            .map(|one| one.categories.iter().map(|one| one.category.as_str()).collect())
            .collect();
        assert_eq!(names, expected);
    };
    // Enforcing would refuse the first, has no basis left for the second, and would release the status in the third.
    let without = Ask { purpose: None, ..ASK };
    exchange(&state, without, json_answer(whole(BODY))).await;
    let all: &[&str] = &["email", "name", "phone"];
    account(&[all]).await;
    state.assume(STALE);
    exchange(&state, ASK, json_answer(whole(BODY))).await;
    account(&[all, all]).await;
    state.assume(Freshness::Current);
    let status = r#"{"id":"p-1","status":"new"}"#;
    for ask in [ASK, without] {
        let (_, _, record) = exchange(&state, ask, json_answer(whole(status))).await;
        assert_eq!(record["categories"]["non-personal"][0]["form"], "clear", "{record:#}");
        assert_eq!(record["subjects"].as_array().unwrap().len(), 1);
    }
    account(&[all, all]).await;
}

#[tokio::test]
async fn the_head_of_an_answer_is_on_record_and_no_cache_keeps_the_answer() {
    let state = observed().await;
    let answer = |status: u16, field: (&str, &str), body: &'static str| {
        let answer = Response::builder().status(status).header(field.0, field.1);
        let answer = answer.header("cache-control", "public, max-age=86400").header("expires", "tomorrow");
        let answer = answer.header("cdn-cache-control", "max-age=86400").header("x-accel-expires", "86400");
        let answer = answer.header("surrogate-control", "max-age=86400").header("vary", "accept");
        answer.header("content-type", "application/json").body(whole(body)).unwrap()
    };
    let location = ("location", "/people/ada");
    for (method, answer) in [
        ("GET", answer(204, location, "")),
        ("GET", answer(200, ("set-cookie", "user=ada"), r#"{"name":"Ada"}"#)),
        ("HEAD", answer(200, ("x-user", "ada"), "")),
        ("POST", answer(201, location, "")),
        ("POST", answer(200, location, "")),
    ] {
        let ask = Ask { method, path: "/people/p-1", ..ASK };
        let response = ask.send(&state, answer).await;
        assert!(response.status().is_success(), "{method}");
        let head = response.headers();
        assert_eq!(head["cache-control"], "no-store", "{method}");
        assert_eq!(head["vary"], "accept");
        for gone in ["expires", "cdn-cache-control", "x-accel-expires", "surrogate-control"] {
            assert!(!head.contains_key(gone), "{method} {gone}");
        }
        let applied = applied(&response);
        read(response).await.unwrap();
        let record = record_of(&state, &applied).await;
        let unread = &record["categories"]["unclassified"][0];
        assert_eq!(
            (&unread["form"], &unread["would"]["reason"]),
            (&json!("clear"), &json!("unreadable")),
            "{record:#}"
        );
        assert_eq!(record["subjects"].as_array().unwrap().len(), 1, "the path names the person: {record:#}");
    }
    // A head that says nothing about anybody leaves nothing to record.
    let ask = Ask { path: "/people/p-1", ..ASK };
    let (_, _, record) = exchange(&state, ask, answer(204, ("x-request-id", "1"), "")).await;
    assert_eq!((&record["categories"], &record["subjects"]), (&json!({}), &json!([])), "{record:#}");
}

#[tokio::test]
async fn a_refusal_that_is_found_out_late_withholds_all_categories() {
    let state = observed().await;
    let forms = |record: &Value| -> Vec<(String, String)> {
        let categories = record["categories"].as_object().unwrap().iter();
        let entries = categories.flat_map(|(name, entries)| {
            entries.as_array().unwrap().iter().map(|one| (name.clone(), one["would"].clone()))
        });
        entries
            .map(|(name, would)| {
                assert_eq!(
                    (&would["rules"], &would["clauses"]),
                    (&json!([]), &json!([])),
                    "{name} {would:#}"
                );
                (name, format!("{} {}", would["form"].as_str().unwrap(), would["reason"].as_str().unwrap()))
            })
            .collect()
    };
    let removed = |record: &Value| forms(record).iter().all(|(_, would)| would.starts_with("removed "));
    // A field is withheld on a route that denies; the body is longer than the bound; the query is refused.
    let deny = Ask { path: "/watched-deny", ..ASK };
    let refuses = r#"{"kind": "consent-withdrawn", "purpose": "order-fulfilment", "subject": "p-1"}"#;
    state.tell(refuses).await;
    let (_, _, record) = exchange(&state, deny, json_answer(whole(BODY))).await;
    assert_eq!(record["would"], json!({ "refused": "not-found" }));
    assert!(removed(&record), "{record:#}");
    assert!(forms(&record).contains(&("name".to_owned(), "removed no-rule".to_owned())), "{record:#}");
    assert!(counted(&state, "watched-deny", "name", "no-rule") > 0);
    let given = r#"{"kind": "consent-given", "purpose": "order-fulfilment", "subject": "p-1"}"#;
    state.tell(given).await;
    let long = format!("{BODY}{}", " ".repeat(1024));
    let (_, _, record) = exchange(&state, deny, json_answer(whole(long))).await;
    assert!(removed(&record), "{record:#}");
    let query = Ask { path: "/watched?email=ada%40example.org", ..ASK };
    let (_, _, record) = exchange(&state, query, json_answer(whole(BODY))).await;
    assert_eq!(record["would"], json!({ "refused": "query-on-withheld-field" }));
    assert!(removed(&record), "{record:#}");
    // An operation is judged by the person whom the path names.
    let post = Ask { method: "POST", path: "/people/p-2", ..ASK };
    let (_, _, record) = exchange(&state, post, json_answer(whole(BODY))).await;
    assert_eq!(record["would"], json!({ "refused": "subject-withheld" }));
    assert!(removed(&record), "{record:#}");
}
