//! Actors, roles, and acts on record.

use std::num::NonZeroU32;

use governor::Quota;

use super::*;
use crate::config::{AdminActors, AdminRole};
use crate::disclosure::{self, ActFilter, RecordedAct};
use crate::gateway::admin::roles::{RESOURCES, ResourceAccess};

const REFERENCE: &str = include_str!("../../../../docs/admin-api.md");

/// A section with a token for each name, which is the token, too.
pub(in crate::gateway) fn section(actors: &[(&str, &[AdminRole])]) -> AdminSection {
    let actors = actors.iter().fold(AdminActors::default(), |known, (name, roles)| {
        known.with_token(&format!("pga_{name}"), name, roles)
    });
    AdminSection { actors, ..AdminSection::default() }
}

fn bearer(name: &str) -> String {
    format!("authorization: Bearer pga_{name}\r\n")
}

fn code(problem: &Value) -> &str {
    problem["code"].as_str().unwrap_or_default()
}

impl TestAdmin {
    pub(in crate::gateway) fn acts(&self) -> Vec<RecordedAct> {
        let mut acts = Vec::new();
        disclosure::acts(self.state.shared.log.source().place(), &ActFilter::default(), |act| {
            acts.push(act.clone());
            Ok(())
        })
        .unwrap();
        acts
    }
}

/// Every resource, as every role and as nobody.
#[tokio::test]
async fn each_role_may_use_the_resources_of_the_table_and_no_others() {
    let all: Vec<(&str, [AdminRole; 1])> = AdminRole::ALL.map(|role| (role.name(), [role])).to_vec();
    let actors: Vec<(&str, &[AdminRole])> = all.iter().map(|(name, role)| (*name, &role[..])).collect();
    let admin = TestAdmin::start_with(&section(&actors)).await;
    for rule in RESOURCES {
        // Known names, so that a handler answers.
        let name = if rule.path.starts_with("/v1/routes/") { "people" } else { "support" };
        let path = rule.path.replace("{id}", "p-1").replace("{name}", name);
        let request = format!("{} {path}", rule.method);
        let is_public = rule.access == ResourceAccess::Anyone;
        for nobody in ["", &bearer("stranger")] {
            let (status, body) = admin.send(&request, nobody, "").await;
            // 429 after some failures.
            assert_eq!(matches!(status, 401 | 429), !is_public, "{request}: {body}");
        }
        for (name, [role]) in &all {
            let (status, body) = admin.send(&request, &bearer(name), "").await;
            let is_permitted = match rule.access {
                ResourceAccess::Anyone | ResourceAccess::SignedIn => true,
                ResourceAccess::Roles(roles) => roles.contains(role),
            };
            assert_eq!(status == 403, !is_permitted, "{request} as {name}: {body}");
            assert!(is_permitted || body.contains("role-missing"), "{request} as {name}: {body}");
            // The handlers of these paths answer 404 for what they do not know; the router says it in other words.
            let has_handler = !body.contains("there is nothing at this path") || path.contains("p-1");
            assert!(has_handler || rule.path == "/openapi.json", "{request}: {body}");
            assert!(status != 405 && status != 401, "{request}: {body}");
        }
    }
}

#[test]
fn the_table_of_roles_is_documented() {
    for rule in RESOURCES {
        let roles = match rule.access {
            ResourceAccess::Anyone => "anyone".to_owned(),
            ResourceAccess::SignedIn => "every actor".to_owned(),
            ResourceAccess::Roles(roles) => {
                roles.iter().map(|role| format!("`{}`", role.name())).collect::<Vec<_>>().join(", ")
            }
        };
        let is_act = if rule.is_act { "yes" } else { "no" };
        let row = format!("| `{}` | `{}` | {roles} | {is_act} |", rule.method, rule.path);
        assert!(REFERENCE.contains(&row), "docs/admin-api.md needs the row\n{row}");
    }
    let rows =
        REFERENCE.lines().filter(|line| line.starts_with("| `GET` | ") || line.starts_with("| `POST` | "));
    assert_eq!(rows.count(), RESOURCES.len());
}

#[tokio::test]
async fn a_credential_is_one_known_token() {
    let admin = TestAdmin::start_with(&section(&[("ops", &[AdminRole::Operator])])).await;
    let refused = async |headers: &str| {
        let (head, body) = admin.exchange("GET /v1/policies", headers, "").await;
        assert!(head.starts_with("HTTP/1.1 401") && head.contains("www-authenticate: Bearer"), "{head}");
        code(&serde_json::from_str(&body).unwrap()).to_owned()
    };
    assert_eq!(refused("").await, "credential-missing");
    let twice = bearer("ops").repeat(2);
    for headers in [
        "authorization: Bearer pga_ops2\r\n",
        "authorization: Basic pga_ops\r\n",
        "authorization: pga_ops\r\n",
        &twice,
    ] {
        assert_eq!(refused(headers).await, "credential-invalid", "{headers}");
    }
    let (status, _) = admin.send("GET /v1/policies", "authorization: bearer pga_ops\r\n", "").await;
    assert_eq!(status, 200);
    let (status, problem) = admin.json("GET /v1/nothing", "", "").await;
    assert_eq!((status, code(&problem)), (401, "credential-missing"), "paths are not told to strangers");
}

#[tokio::test]
async fn a_token_that_a_reload_removes_opens_nothing_on_open_connections() {
    let admin = TestAdmin::start_with(&section(&[("ops", &[AdminRole::Operator])])).await;
    let mut stream = TcpStream::connect(admin.address).await.unwrap();
    let mut ask = async || {
        let request = format!("GET /v1/policies HTTP/1.1\r\nhost: localhost\r\n{}\r\n", bearer("ops"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // Each answer of the API ends with its JSON document.
        while !matches!(answer.last(), Some(b'}' | b']')) {
            let mut some = [0; 4096];
            let read = stream.read(&mut some).await.unwrap();
            assert!(read > 0, "closed");
            answer.extend_from_slice(&some[..read]);
        }
        String::from_utf8(answer).unwrap()
    };
    assert!(ask().await.starts_with("HTTP/1.1 200"));
    let later = section(&[("other", &[AdminRole::Operator])]);
    admin.api.replace(admin.api.replacement(&later).unwrap());
    let refused = ask().await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.contains("credential-invalid"), "{refused}");
}

#[tokio::test]
async fn an_exposed_listener_never_loses_its_last_actor_by_a_reload() {
    let state = TestState::new("").await;
    let exposed =
        AdminSection { address: "0.0.0.0:0".parse().unwrap(), ..section(&[("a", &[AdminRole::Read])]) };
    let stage = watch::Sender::new(Stage::Serving);
    let status = ProcessStatus::new(Arc::clone(&state.shared), stage.subscribe());
    let api = AdminApi::new(Arc::clone(&state.shared), status, &exposed).unwrap();
    assert!(api.replacement(&AdminSection::default()).is_err());
    assert!(api.replacement(&section(&[("b", &[AdminRole::Read])])).is_ok());
}

#[tokio::test]
async fn a_reload_without_actors_opens_nothing_on_the_loopback_either() {
    let admin = TestAdmin::start_with(&section(&[("ops", &[AdminRole::Operator])])).await;
    assert!(admin.api.replacement(&AdminSection::default()).is_err());
    assert_eq!(admin.send("GET /v1/policies", "", "").await.0, 401);
    let open = TestAdmin::start().await;
    assert!(open.api.replacement(&AdminSection::default()).is_ok(), "it was open from the start");
}

#[tokio::test]
async fn requests_and_failures_are_limited() {
    let two = NonZeroU32::new(2).unwrap();
    let one_in_an_hour = Quota::with_period(Duration::from_secs(3600)).unwrap().allow_burst(two);
    let actors = section(&[("a", &[AdminRole::Read]), ("b", &[AdminRole::Read])]);
    let admin = TestAdmin::start_with(&AdminSection { rate: one_in_an_hour, ..actors }).await;
    let ask = async |headers: &str| admin.exchange("GET /v1/policies", headers, "").await.0;
    for expected in ["200", "200", "429"] {
        let head = ask(&bearer("a")).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {expected}")), "{head}");
        assert_eq!(head.contains("retry-after: "), expected == "429", "{head}");
    }
    let mut failures = Vec::new();
    while failures.last() != Some(&"429".to_owned()) && failures.len() < 30 {
        failures.push(ask(&bearer("x")).await.get(9..12).unwrap().to_owned());
    }
    assert_eq!((failures.len(), failures[0].as_str()), (21, "401"));
    assert!(
        ask(&bearer("b")).await.starts_with("HTTP/1.1 200"),
        "a valid credential behind the same address"
    );
}

#[tokio::test]
async fn who_looks_at_a_person_gives_a_reason_that_is_recorded_first() {
    let admin = TestAdmin::start_with(&section(&[("kim", &[AdminRole::Privacy])])).await;
    let kim = bearer("kim");
    for path in ["", "/events", "/disclosures", "/report", "/opt-out-link"] {
        let (status, problem) = admin.json(&format!("GET /v1/subjects/p-1{path}"), &kim, "").await;
        assert_eq!((status, code(&problem)), (400, "reason-missing"), "{path}");
    }
    let (missing, malformed) = ("reason-missing", "request-malformed");
    let long = "x".repeat(501);
    for (reason, expected) in [
        ("", missing),
        ("%20", missing),
        ("+%20", missing),
        ("+x", malformed),
        ("a%0Ab", malformed),
        (&long, malformed),
    ] {
        let (status, problem) = admin.json(&format!("GET /v1/subjects/p-1?reason={reason}"), &kim, "").await;
        assert_eq!((status, code(&problem)), (400, expected), "{reason}");
    }
    assert!(admin.acts().is_empty());
    let (status, _) = admin.json("GET /v1/subjects/p-1?reason=request+of+%C3%84nne", &kim, "").await;
    assert_eq!(status, 200);
    let (status, _) = admin.json("GET /v1/decisions/01M8HSMCDZ7JP0DJMTP6MWK1K8?reason=x", &kim, "").await;
    assert_eq!(status, 404);
    let acts = admin.acts();
    let told =
        |act: &RecordedAct| (act.actor.clone(), act.role.clone(), act.resource.clone(), act.reason.clone());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        told(&acts[0]),
        (some("kim"), some("privacy"), "/v1/subjects/{id}".to_owned(), some("request of Änne"))
    );
    assert!(acts[0].subject.as_ref().is_some_and(|pseudonym| !pseudonym.contains("p-1")));
    assert_eq!(acts[1].of_decision, some("01M8HSMCDZ7JP0DJMTP6MWK1K8"));
    assert_eq!(acts.len(), 2);
}

#[tokio::test]
async fn an_evaluation_tells_facts_of_a_person_only_to_who_may_read_them() {
    let answers: &[AdminRole] = &[AdminRole::Read, AdminRole::Privacy];
    let actors: [(&str, &[AdminRole]); 3] =
        [("pep", &[AdminRole::Read]), ("kim", answers), ("sync", &[AdminRole::Ledger])];
    let admin = TestAdmin::start_with(&section(&actors)).await;
    let question = |purpose: &str, person: Option<&str>| {
        json!({
            "subject": { "type": "recipient", "id": "support" },
            "action": { "name": purpose },
            "resource": { "type": "data-category", "id": "name", "properties": { "subject": person } },
        })
    };
    let ask = async |name: &str, question: &Value, query: &str| {
        let headers = format!("content-type: application/json\r\n{}", bearer(name));
        let (status, answer) =
            admin.json(&format!("POST /access/v1/evaluation{query}"), &headers, &question.to_string()).await;
        assert_eq!(status, 200, "{answer}");
        answer
    };
    let members =
        |answer: &Value| -> Vec<String> { answer["context"].as_object().unwrap().keys().cloned().collect() };
    let of_person = question("direct-marketing", Some("p-1"));
    let permitted = ask("pep", &of_person, "").await;
    assert_eq!((&permitted["decision"], &permitted["context"]["form"]), (&json!(true), &json!("clear")));
    assert_eq!(members(&permitted), ["form", "policy", "position"]);
    let erasure = r#"{"kind": "erasure"}"#;
    assert_eq!(admin.json("POST /v1/subjects/p-1/events", &bearer("sync"), erasure).await.0, 200);
    let denied = ask("pep", &of_person, "?reason=x").await;
    assert_eq!(denied["decision"], false);
    assert_eq!(members(&denied), ["form", "policy", "position"], "the same for every reason");
    let of_everybody = ask("pep", &question("billing", Some("p-1")), "").await;
    assert_eq!(of_everybody["context"]["reason"], "purpose-not-permitted");
    assert!(of_everybody["context"].get("nearest").is_none(), "{of_everybody}");
    assert!(ask("pep", &question("direct-marketing", None), "").await["context"].get("rules").is_some());
    assert!(admin.acts().is_empty());

    let told = ask("kim", &of_person, "").await;
    assert!(told["context"]["reason_admin"]["en"].is_string(), "{told}");
    ask("kim", &of_person, "?reason=audit").await;
    ask("kim", &question("direct-marketing", None), "").await;
    let batch = json!({ "evaluations": [of_person, of_person, question("direct-marketing", Some("p-2"))] });
    let headers = format!("content-type: application/json\r\n{}", bearer("kim"));
    assert_eq!(admin.json("POST /access/v1/evaluations", &headers, &batch.to_string()).await.0, 200);
    let acts = admin.acts();
    let recorded: Vec<_> = acts.iter().map(|act| (&*act.resource, act.reason.as_deref())).collect();
    let (one, several) = ("/access/v1/evaluation", "/access/v1/evaluations");
    assert_eq!(recorded, [(one, None), (one, Some("audit")), (several, None), (several, None)]);
    for act in &acts {
        let who = (act.actor.as_deref(), act.role.as_deref(), act.subject.is_some());
        assert_eq!(who, (Some("kim"), Some("privacy"), true));
    }

    admin.state.shared.log.assume_failed();
    let request = "POST /access/v1/evaluation";
    let (status, problem) = admin.json(request, &headers, &of_person.to_string()).await;
    assert_eq!((status, code(&problem)), (503, "audit-unavailable"));
    ask("pep", &of_person, "").await;
}

#[tokio::test]
async fn who_reads_cases_or_requests_is_on_record_first() {
    let roles: &[AdminRole] = &[AdminRole::Cases, AdminRole::Privacy];
    let admin = TestAdmin::start_with(&section(&[("kim", roles)])).await;
    let kim = bearer("kim");
    let case = r#"{"case": "C-1", "recipient": "support", "purpose": "direct-marketing", "subjects": ["p-1", {"id": "p-2", "namespace": "default"}],
        "categories": ["name"], "end": "2099-01-01T00:00:00Z", "reference": "r"}"#;
    assert_eq!(admin.json("POST /v1/cases", &kim, case).await.0, 200);
    for (what, answer) in [("requests", r#"{"right": "access"}"#), ("answers", r#"{"right": "access"}"#)] {
        let (status, body) = admin.json(&format!("POST /v1/subjects/p-1/{what}"), &kim, answer).await;
        assert_eq!(status, 200, "{body}");
    }
    assert_eq!(admin.json("POST /v1/subjects/p-2/requests", &kim, r#"{"right": "erasure"}"#).await.0, 200);
    let resources = ["/v1/cases", "/v1/cases/C-1", "/v1/requests", "/v1/requests/answered"];
    for path in ["/v1/cases/C-1", "/v1/requests/answered"] {
        let (status, problem) = admin.json(&format!("GET {path}"), &kim, "").await;
        assert_eq!((status, code(&problem)), (400, "reason-missing"), "{path}");
        assert!(!problem.to_string().contains("p-1"), "{problem}");
    }
    assert!(admin.acts().is_empty());
    for path in ["/v1/cases", "/v1/requests"] {
        let (status, body) = admin.send(&format!("GET {path}"), &kim, "").await;
        assert!(status == 200 && body.contains("\"p-"), "{path}: {body}");
    }
    for path in resources {
        let (status, body) = admin.send(&format!("GET {path}?reason=audit"), &kim, "").await;
        assert!(status == 200 && body.contains("\"p-"), "{path}: {body}");
    }
    let acts = admin.acts();
    let told: Vec<_> = acts.iter().map(|act| (&*act.resource, act.subject.is_some())).collect();
    let expected = [
        ("/v1/cases", false),
        ("/v1/requests", false),
        ("/v1/cases", false),
        ("/v1/cases/{id}", true),
        ("/v1/cases/{id}", true),
        ("/v1/requests", false),
        ("/v1/requests/answered", false),
    ];
    assert_eq!(told, expected);
    let reasons: Vec<_> = acts.iter().map(|act| act.reason.as_deref()).collect();
    let audit = Some("audit");
    assert_eq!(reasons, [None, None, audit, audit, audit, audit, audit]);
    assert!(acts[3].subject != acts[4].subject);
    admin.state.shared.log.assume_failed();
    for path in resources {
        let (status, body) = admin.send(&format!("GET {path}?reason=audit"), &kim, "").await;
        assert!(status == 503 && !body.contains("\"p-"), "{path}: {body}");
    }
}

#[tokio::test]
async fn answered_requests_are_pages() {
    let admin = TestAdmin::start().await;
    for right in ["access", "erasure", "objection"] {
        for what in ["requests", "answers"] {
            let body = format!(r#"{{"right": "{right}"}}"#);
            let (status, _) = admin.json(&format!("POST /v1/subjects/p-1/{what}"), "", &body).await;
            assert_eq!(status, 200);
        }
    }
    let page = async |query: &str| {
        let (status, page) = admin.json(&format!("GET /v1/requests/answered{query}"), "", "").await;
        assert_eq!(status, 200, "{page}");
        let rights = page["requests"].as_array().unwrap().iter().map(|request| request["right"].clone());
        (rights.collect::<Vec<_>>(), page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = page("?limit=2").await;
    assert_eq!(first, ["objection", "erasure"]);
    let (second, next) = page(&format!("?limit=2&cursor={}", next.unwrap())).await;
    assert_eq!((second, next), (vec![json!("access")], None));
    for query in
        ["?limit=0", "?limit=501", "?cursor=", "?cursor=-1", "?cursor=99999999999999999999", "?state=open"]
    {
        let (status, problem) = admin.json(&format!("GET /v1/requests/answered{query}"), "", "").await;
        assert_eq!((status, code(&problem)), (400, "request-malformed"), "{query}");
    }
}

#[tokio::test]
async fn a_page_of_another_site_uses_no_resource() {
    let admin = TestAdmin::start().await;
    let link = "sec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    for site in ["cross-site", "same-site", "", "other", "none\r\nsec-fetch-site: cross-site"] {
        for how in ["", "sec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n", link] {
            for path in ["/v1/subjects/p-1", "/v1/routes", "/healthz"] {
                let headers = format!("sec-fetch-site: {site}\r\n{how}");
                let (status, problem) = admin.json(&format!("GET {path}"), &headers, "").await;
                assert_eq!((status, code(&problem)), (403, "request-foreign"), "{path} {headers}");
            }
        }
    }
    assert!(admin.acts().is_empty());
    for site in ["none", "same-origin"] {
        let (status, _) =
            admin.send("GET /v1/subjects/p-1", &format!("sec-fetch-site: {site}\r\n"), "").await;
        assert_eq!(status, 200);
    }
    assert_eq!(admin.acts().len(), 2);
}

#[tokio::test]
async fn without_actors_a_look_is_recorded_without_a_name() {
    let admin = TestAdmin::start().await;
    let (status, _) = admin.json("GET /v1/subjects/p-1", "", "").await;
    assert_eq!(status, 200);
    let acts = admin.acts();
    assert_eq!((acts.len(), &acts[0].actor, &acts[0].role, &acts[0].reason), (1, &None, &None, &None));
    for blank in ["", "%20"] {
        let (status, _) = admin.json(&format!("GET /v1/subjects/p-1?reason={blank}"), "", "").await;
        assert_eq!(status, 200, "a reason is not needed");
    }
    let acts = admin.acts();
    assert!(acts.len() == 3 && acts.iter().all(|act| act.reason.is_none()));
}

#[tokio::test]
async fn an_event_says_who_recorded_it() {
    let admin = TestAdmin::start_with(&section(&[("sync", &[AdminRole::Ledger])])).await;
    let sync = bearer("sync");
    let claimed = r#"{"kind": "restriction", "recorded-by": {"name": "kim", "verified": true}}"#;
    let (status, answer) = admin.json("POST /v1/subjects/p-1/events", &sync, claimed).await;
    assert_eq!(status, 200, "{answer}");
    let line = r#"{"subject": "p-1", "kind": "restriction-lifted"}"#;
    let (status, _) = admin.send("POST /v1/events:batch", &sync, line).await;
    assert_eq!(status, 200);
    let case = r#"{"case": "C-1", "kind": "case-approved", "approver": "sync"}"#;
    let (_, refused) = admin.send("POST /v1/events:batch", &sync, case).await;
    assert!(refused.contains("the role `cases`"), "{refused}");
    let (_, history) = admin.json("GET /v1/subjects/p-1/events?reason=x", &sync, "").await;
    let history = history.as_array().unwrap();
    for event in &history[history.len() - 2..] {
        assert_eq!(event["recorded-by"], json!({ "name": "sync", "verified": true }), "{event}");
    }
}

#[tokio::test]
async fn a_case_is_approved_by_two_actors_that_are_signed_in() {
    let cases: &[AdminRole] = &[AdminRole::Cases];
    let admin = TestAdmin::start_with(&section(&[("ada.adler", cases), ("ben", cases)])).await;
    let (ada, ben) = (bearer("ada.adler"), bearer("ben"));
    let case = r#"{"case": "C-1", "recipient": "support", "purpose": "direct-marketing", "subjects": ["p-1"],
        "categories": ["name"], "end": "2099-01-01T00:00:00Z", "reference": "r"}"#;
    let (status, answer) = admin.json("POST /v1/cases", &ada, case).await;
    assert_eq!(status, 200, "{answer}");
    let approve = "POST /v1/cases/C-1/approve";
    let (status, problem) = admin.json(approve, &ada, r#"{"approver": "ben"}"#).await;
    assert_eq!((status, code(&problem)), (400, "event-malformed"), "{problem}");
    assert_eq!(admin.json(approve, &ada, r#"{"approver": "Ada Adler"}"#).await.0, 200);
    assert_eq!(admin.json(approve, &ada, "").await.0, 409, "the same person again");
    assert_eq!(admin.json(approve, &ben, "").await.0, 200);
    let (_, shown) = admin.json("GET /v1/cases/C-1?reason=x", &ben, "").await;
    assert_eq!(shown["state"], "in-force");
    let names = json!([{ "name": "Ada Adler", "verified": true }, { "name": "ben", "verified": true }]);
    assert_eq!(shown["approvers"], names);
}
