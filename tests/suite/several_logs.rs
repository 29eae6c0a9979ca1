//! Gateways that read each other's disclosure logs (`[audit] logs`).

use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, bearer};
use crate::http::{self, Answer};
use crate::program::{Run, run};
use crate::upstream::Upstream;

/// Starts two gateways with the same keys, each with a log of its own. The second reads the log of the first. Their ledgers
/// have the same people with the same log secrets, as that of gateways that share one.
fn start_two() -> (Upstream, TestGateway, TestGateway) {
    start_with_ledgers(true)
}

/// Starts the two gateways with copies of one ledger, or each with a ledger of its own.
fn start_with_ledgers(are_copies: bool) -> (Upstream, TestGateway, TestGateway) {
    let upstream = Upstream::start();
    upstream.json("/customers/p-1", &person("p-1"));
    let config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    let of_first = format!("{config}[deployment]\nname = \"gateway-1\"\n");
    let first = TestGateway::start(&of_first);
    first.record_event("p-1", NOTICE);
    let (folder, other) = (first.end(), tempfile::tempdir().unwrap());
    let data = folder.path().join("data");
    std::fs::create_dir(other.path().join("data")).unwrap();
    if are_copies {
        std::fs::copy(data.join("ledger.db"), other.path().join("data/ledger.db")).unwrap();
    }
    let of_second = format!(
        "{config}[deployment]\nname = \"gateway-2\"\n[keys]\nfile = {:?}\n[audit]\nlogs = [{{ path = {:?} }}]\n",
        data.join("keys"),
        data.join("audit")
    );
    (upstream, TestGateway::start_in(folder, &of_first), TestGateway::start_in(other, &of_second))
}

fn release(gateway: &TestGateway) -> String {
    gateway.get("/customers/p-1", "support", "customer-support").decision()
}

#[test]
fn decisions_of_another_gateway_are_found() {
    let (_upstream, first, second) = start_two();
    let (by_first, by_second) = (release(&first), release(&second));
    first.wait_for_log("\"released\"");
    let told = second.decision(&by_first);
    assert_eq!((&told["decision"], &told["gateway"]), (&json!(by_first), &json!("gateway-1")));
    assert_eq!(second.decision(&by_second)["gateway"], "gateway-2");
    assert_eq!(first.get_admin(&format!("/v1/decisions/{by_second}")).status, 404, "it reads no other log");

    let page = |recipient: &str| -> Answer {
        let path = format!("/.well-known/data-purposes/decisions/{by_first}");
        http::get(second.address, &path, &[&bearer(recipient)])
    };
    let own = page("support").json();
    assert_eq!(own["decision"], json!(by_first));
    assert!(own.get("gateway").is_none(), "{own}");
    assert_eq!(page("reseller").status, 404, "another's");
}

#[test]
fn a_report_has_the_disclosures_of_all_gateways_or_says_that_some_are_missing() {
    let (_upstream, first, second) = start_two();
    let decisions = [release(&first), release(&second), release(&first)];
    let list = || second.get_admin("/v1/subjects/p-1/disclosures");
    let told = |list: &Value| -> Vec<Value> {
        list["disclosures"].as_array().unwrap().iter().map(|one| one["decision"].clone()).collect()
    };
    let complete = list().json();
    assert_eq!(
        (told(&complete), &complete["complete"]),
        (decisions.clone().map(Value::from).to_vec(), &json!(true))
    );
    assert_eq!(complete["logs"].as_array().unwrap().len(), 2);
    let report = second.get_admin("/v1/subjects/p-1/report").json();
    assert_eq!(told(&report), decisions.clone().map(Value::from));

    let (log, moved) = (first.folder.path().join("data/audit"), first.folder.path().join("moved"));
    std::fs::rename(&log, moved).unwrap();
    let unknown = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let answer = second.get_admin(&format!("/v1/decisions/{unknown}"));
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!("audit-unavailable")));
    assert!(answer.text().contains(log.to_str().unwrap()), "{}", answer.text());
    let is_incomplete = |answer: &Value| {
        assert_eq!(
            (told(answer), &answer["complete"]),
            (vec![json!(decisions[1])], &json!(false)),
            "{answer}"
        );
        let fault = answer["logs"][1]["fault"].as_str().unwrap();
        assert!(fault.contains(log.to_str().unwrap()), "{fault}");
    };
    is_incomplete(&list().json());
    is_incomplete(&second.get_admin("/v1/subjects/p-1/report").json());
    let page = second.get_admin("/v1/subjects/p-1/report?format=html").text();
    assert!(page.contains("This list is not complete."), "{page}");
    // An empty folder may be a file system that is not mounted.
    std::fs::create_dir(&log).unwrap();
    is_incomplete(&list().json());
    let own = release(&second);
    assert_eq!(second.decision(&own)["decision"], json!(own), "its own log has it");
}

#[test]
fn a_report_says_that_a_log_of_another_ledger_may_have_more() {
    let (_upstream, first, second) = start_with_ledgers(false);
    second.record_event("p-1", NOTICE);
    let (_, own) = (release(&first), release(&second));
    for path in ["disclosures", "report"] {
        let list = second.get_admin(&format!("/v1/subjects/p-1/{path}")).json();
        let told: Vec<&Value> =
            list["disclosures"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
        assert_eq!((told, &list["complete"]), (vec![&json!(own)], &json!(false)), "{list}");
        assert!(list["logs"][0].get("fault").is_none(), "{list}");
        let other = &list["logs"][1];
        assert!(other["origin"].as_str().unwrap().starts_with("gateway-1/"), "{list}");
        assert!(other["fault"].as_str().unwrap().contains("another ledger"), "{list}");
    }
    let page = second.get_admin("/v1/subjects/p-1/report?format=html").text();
    assert!(page.contains("This list is not complete."), "{page}");
}

#[test]
fn commands_read_the_logs_of_a_configuration_together() {
    let (_upstream, first, second) = start_two();
    let decisions = [release(&first), release(&second)];
    let file = second.folder.path().join("purposegate.toml");
    let config = file.to_str().unwrap();
    for gateway in [&first, &second] {
        gateway.wait_for_log("\"released\"");
    }
    let purposegate = |arguments: &str| -> Run { run(arguments.split(' ').chain(["--config", config])) };
    let (status, shown, words) = purposegate("audit show --subject p-1 --format json");
    assert_eq!(status, 0, "{words}");
    let shown: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&Value> = shown.iter().map(|one| &one["gateway"]).collect();
    assert_eq!(names, [&json!("gateway-1"), &json!("gateway-2")]);
    let (status, checkpoints, words) = purposegate("audit verify");
    // A checkpoint of each log: a signed note.
    assert_eq!((status, checkpoints.matches("\n\n\u{2014} ").count()), (0, 2), "{words}{checkpoints}");
    let (status, explained, words) = purposegate(&format!("explain --decision {}", decisions[0]));
    assert_eq!(status, 0, "{words}");
    assert!(explained.contains(&decisions[0]), "{explained}");
    let (status, report, words) = purposegate("subject report p-1");
    assert_eq!(status, 0, "{words}");
    let report: Value = serde_json::from_str(&report).unwrap();
    let told = report["disclosures"].as_array().unwrap().iter().map(|one| one["decision"].clone());
    assert_eq!(told.collect::<Vec<_>>(), decisions.map(Value::from));
    let (status, accounting, words) = purposegate("subject disclosures p-1 --form hipaa");
    assert_eq!(status, 0, "{words}");
    let accounting: Value = serde_json::from_str(&accounting).unwrap();
    assert_eq!((&accounting["disclosures"][0]["number"], &accounting["complete"]), (&json!(2), &json!(true)));
    assert!(!purposegate("check").2.contains("log-unreadable"));

    let log = first.folder.path().join("data/audit");
    std::fs::rename(&log, first.folder.path().join("moved")).unwrap();
    for (arguments, expected) in [("audit show", 2), ("audit verify", 2), ("subject report p-1", 1)] {
        let (status, _, words) = purposegate(arguments);
        assert_eq!(status, expected, "{arguments}: {words}");
        assert!(words.contains(log.to_str().unwrap()), "{arguments}: {words}");
    }
    let (status, found, words) = purposegate("check --format json");
    assert_eq!(status, 0, "{words}");
    assert!(found.contains("log-unreadable") && found.contains(log.to_str().unwrap()), "{found}");
}
