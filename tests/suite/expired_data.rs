//! Data that an API should no longer hold are withheld, and counted so that an operator can act.

use crate::fixtures::KNOWN;
use crate::gateway::{TestGateway, base, pack};
use crate::upstream::Upstream;

/// The route of [`PEOPLE`].
pub(crate) const PEOPLE_ROUTE: &str = r#"[[route]]
name = "people"
upstream = "crm"
path = "/people"
record = "$[*]"
subject = "@.id"
controller = "@.account"
fields = { "@.name" = "name", "@.email" = "email", "@.invoice" = "service-data", "@.id" = "non-personal" }
facts = { birth-date = "@.born", created = "@.made" }
"#;

/// People of all ages, with accounts that are open or closed, and records that are new or old.
pub(crate) const PEOPLE: &str = r#"[
    {"id": "adult", "account": 1, "name": "A", "email": "a@example.org", "born": "1980-01-01", "made": "2999-01-01"},
    {"id": "child", "account": 1, "name": "C", "email": "c@example.org", "born": "2020-01-01", "made": "2999-01-01"},
    {"id": "former", "account": 2, "name": "F", "email": "f@example.org", "invoice": "I", "born": "1980-01-01", "made": "2999-01-01"},
    {"id": "old", "account": 1, "name": "O", "email": "o@example.org", "made": "2001-01-01"},
    {"id": "stranger", "account": 1, "name": "S", "email": "s@example.org", "born": "2020-01-01", "made": "2001-01-01"}
]"#;

/// Copies the pack of the tests and adds a retention period for e-mail addresses.
pub(crate) fn with_retention(folder: &std::path::Path) {
    for entry in std::fs::read_dir(pack("one-partner-360")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("\n[retention]\n", "\n[retention]\nemail = \"365d\"\n");
            std::fs::write(folder.join(path.file_name().unwrap()), text).unwrap();
        }
    }
}

#[test]
fn minors_closed_accounts_and_expired_data_are_withheld_and_counted() {
    let policy = tempfile::tempdir().unwrap();
    with_retention(policy.path());
    let upstream = Upstream::start();
    let today = jiff::Timestamp::now().strftime("%F").to_string();
    upstream.json("/people", &PEOPLE.replace("2999-01-01", &today));
    let (_, rest) =
        base(upstream.address).split_once('\n').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let config = format!(
        r#"policy = "{}"
{rest}
{PEOPLE_ROUTE}"#,
        policy.path().display()
    );
    let gateway = TestGateway::start(&config);
    for person in ["adult", "child", "former", "old"] {
        gateway.record_event(person, KNOWN);
    }
    let closed = gateway.post_admin(
        "/v1/controllers/2/events",
        br#"{"kind": "account-closed", "at": "2020-01-01T00:00:00Z"}"#,
    );
    assert_eq!(closed.status, 200, "{}", closed.text());

    let people = gateway.get("/people", "support", "customer-support").json();
    let has = |person: usize, field: &str| people[person].get(field).is_some();
    assert!(has(0, "name") && has(0, "email"), "{people}");
    assert!(!has(1, "name") && !has(1, "email"), "a minor: {people}");
    assert!(has(2, "name") && !has(2, "invoice"), "the account is closed: {people}");
    assert!(has(3, "name") && !has(3, "email"), "past its retention: {people}");
    assert!(!has(4, "name"), "nobody knows them: {people}");
    let metrics = gateway.metrics();
    for line in [
        r#"purposegate_minor_records_total{route="people"} 2"#,
        r#"purposegate_closed_account_records_total{route="people"} 1"#,
        r#"purposegate_retention_withheld_total{route="people"} 2"#,
        "purposegate_policy_divergences 0",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
