//! Contents of the pages: decisions, routes, packs, the matrix, and tried decisions.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::Response;
use bytes::Bytes;
use http_body_util::Full;
use tower::Layer;

use super::*;
use crate::exchange::flow::tests::KEY;
use crate::layer::PurposeLayer;
use crate::layer::request_body::RequestBody;
use crate::ledger::{Batch, Freshness, LineResult};

const BODY: &str =
    r#"{"items": [{"id": "p-1", "name": "Ada", "age": 3}, {"id": "p-9", "name": "Ben"}], "total": 2}"#;

impl TestConsole {
    /// Has the recipient ask for the people, for a purpose.
    async fn exchange(&self, purpose: &str) -> String {
        let upstream = tower::service_fn(async |_: http::Request<RequestBody<Full<Bytes>>>| {
            let answer = Response::builder().header(CONTENT_TYPE, "application/json");
            Ok::<_, Infallible>(answer.body(Full::new(Bytes::from_static(BODY.as_bytes()))).unwrap())
        });
        let request = http::Request::get("/people").header(HOST, "x").header("data-purpose", purpose);
        let request = request.header("authorization", format!("Bearer {KEY}")).body(Full::default()).unwrap();
        let shared = std::sync::Arc::clone(&self.admin.state.shared);
        let answer = PurposeLayer::new(shared).layer(upstream).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Tries a decision with these fields beside recipient, purpose and route.
    async fn try_decision(&self, fields: &str) -> Answer {
        let token = self.get("/console/try").await.form_token();
        let form =
            format!("form-token={token}&recipient=support&purpose=direct-marketing&route=people&{fields}");
        self.post("/console/try", &form).await
    }
}

#[tokio::test]
async fn a_decision_is_listed_and_explained_and_each_look_is_on_record() {
    let mut console = TestConsole::with_actors(&[("ada", &[AdminRole::Read, AdminRole::Operator])]).await;
    console.exchange("direct-marketing").await;
    console.exchange("no-such-purpose").await;
    console.sign_in("ada").await;
    let list = console.get("/console/decisions").await;
    assert_has(
        &list.body,
        &[
            "support",
            "direct-marketing",
            "people",
            "<span class=\"chip bad\">refused: purpose-unknown</span>",
        ],
    );
    let only =
        console.get("/console/decisions?recipient=support&outcome=released&purpose=&route=&case=").await;
    assert!(!only.body.contains("chip bad\">refused"), "{}", only.body);
    assert_has(
        &only.body,
        &["<option value=\"released\" selected>", "<option value=\"aborted\">ended early"],
    );
    let (_, rest) = only.body.split_once("href=\"/console/decisions/").unwrap();
    let id = rest.split_once('"').unwrap().0;
    let page = console.get(&format!("/console/decisions/{id}")).await;
    assert_has(
        &page.body,
        &[
            "unclassified",
            "unknown-subject",
            "<span class=\"form removed\">removed</span>",
            "<span class=\"form clear\">clear</span>",
        ],
    );
    assert_eq!(page.title(), "Decision · purposegate");
    assert!(!page.body.contains("p-1") && !page.body.contains("p-9"), "people are pseudonyms: {}", page.body);
    let acts: Vec<String> = console.admin.acts().iter().map(|act| act.resource.to_string()).collect();
    assert_eq!(acts, ["/v1/decisions", "/v1/decisions", "/v1/decisions/{id}"]);
    let unknown = console.get("/console/decisions/01M8HSMCDZ7JP0DJMTP6MWK1K8").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    let overview = console.get("/").await;
    assert_has(
        &overview.body,
        &["purpose-unknown", "outcome=refused:purpose%2Dunknown", "/console/routes/people"],
    );
}

#[tokio::test]
async fn the_parts_of_a_chart_differ_by_their_patterns() {
    let console = TestConsole::open().await;
    console.admin.console.history().take_sample(&console.admin.state.shared);
    let empty = console.get("/").await;
    assert_has(
        &empty.body,
        &["Nothing in this time", "href=\"#exchanges-heading\"", "id=\"exchanges-heading\""],
    );
    console.exchange("direct-marketing").await;
    console.exchange("no-such-purpose").await;
    let chart = console.get("/").await.body;
    for class in ["released", "refused", "aborted"] {
        assert_eq!(chart.matches(&format!("<pattern id=\"exchanges-{class}\"")).count(), 1, "{chart}");
    }
    // In the chart, and in its legend.
    assert_eq!(chart.matches("fill=\"url(#exchanges-refused)\"").count(), 2, "{chart}");
}

#[tokio::test]
async fn a_route_shows_its_mapping_and_who_can_receive_what() {
    let console = TestConsole::open().await;
    console.exchange("direct-marketing").await;
    let list = console.get("/console/routes").await;
    assert_has(&list.body, &["GET /people", "/console/routes/people#unclassified"]);
    let page = console.get("/console/routes/people").await;
    assert_has(
        &page.body,
        &[
            "$.items[*].name",
            "support <span class=\"why\">for direct-marketing</span>",
            "are removed",
            "$.items[*].age",
            "number",
            "proposed",
        ],
    );
    assert_eq!(page.title(), "Route people · purposegate");
    assert_eq!(console.get("/console/routes/other").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn packs_and_the_matrix_have_the_words_of_the_clauses() {
    let console = TestConsole::open().await;
    let list = console.get("/console/packs").await;
    let (_, rest) = list.body.split_once("href=\"/console/packs/").unwrap();
    let name = rest.split_once('"').unwrap().0;
    let snapshot = console.admin.state.shared.snapshot();
    let pack = std::sync::Arc::clone(snapshot.packs[0].iter().next().unwrap().pack());
    let page = console.get(&format!("/console/packs/{name}")).await;
    let clause = &pack.manifest().clauses[0];
    assert_eq!(page.title(), format!("Pack {} · purposegate", pack.manifest().title));
    assert_has(&page.body, &["in force", &clause.id, &pack.manifest().version]);
    let revision = pack.revision();
    let same = console.get(&format!("/console/packs/{name}?from={revision}&to={revision}")).await;
    assert_has(&same.body, &["0 disclose or permit more, 0 less"]);
    assert_eq!(
        console.get(&format!("/console/packs/{name}?from=x&to={revision}")).await.status,
        StatusCode::NOT_FOUND
    );
    let first = console.get("/console/matrix").await;
    assert_eq!(first.location(), format!("/console/matrix/{name}"));
    let matrix = console.get(&format!("/console/matrix/{name}?kind=employee")).await;
    assert_has(&matrix.body, &["direct-marketing", "consent", "<option selected>employee</option>"]);
    let unknown = console.get(&format!("/console/matrix/{name}?kind=nobody")).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_tried_decision_says_what_would_have_to_change() {
    let console = TestConsole::open().await;
    let with_consent = console.try_decision("consents=direct-marketing").await;
    assert_eq!(with_consent.status, StatusCode::OK);
    assert_has(
        &with_consent.body,
        &["What support would receive", "<span class=\"form clear\">clear</span>"],
    );
    // Of the invented answer, and of what leaves of it.
    assert_eq!(
        with_consent.body.matches("&#34;name&#34;: &#34;Ada Example&#34;").count(),
        3,
        "{}",
        with_consent.body
    );
    let without = console.try_decision("").await;
    assert_has(&without.body, &["Would have to change", "<span class=\"form removed\">removed</span>"]);
    assert_eq!(without.body.matches("&#34;name&#34;: &#34;Ada Example&#34;").count(), 2, "{}", without.body);
    let own =
        console.try_decision("consents=direct-marketing&record=%7B%22items%22%3A%5B%7B%22id%22%3A1%7D").await;
    assert_has(&own.body, &["Nothing leaves: "]);
    let unknown = console.try_decision("consents=direct-marketin").await;
    assert_has(&unknown.body, &["direct-marketin", "role=\"alert\""]);
    assert!(console.admin.acts().is_empty(), "nobody was looked at");
}

#[tokio::test]
async fn nothing_is_tried_that_the_ledger_may_not_know() {
    let console = TestConsole::open().await;
    for freshness in [Freshness::Stale { age: Duration::from_secs(9) }, Freshness::Unknown] {
        console.admin.state.shared.ledger.assume_freshness(freshness);
        for person in ["subject=p-1&reason=x", "consents=direct-marketing"] {
            let tried = console.try_decision(person).await;
            assert_eq!(tried.status, StatusCode::SERVICE_UNAVAILABLE, "{person}");
            assert_has(&tried.body, &["ledger-stale"]);
        }
    }
    console.admin.state.shared.ledger.assume_freshness(Freshness::Current);
    assert_has(&console.try_decision("subject=p-1&reason=x").await.body, &["What support would receive"]);
}

#[tokio::test]
async fn a_route_that_releases_all_or_nothing_is_tried_as_such() {
    let console = TestConsole::on(&AdminSection::default(), "withheld = \"deny\"\n").await;
    let whole = "The whole answer would be refused";
    let with_consent = console.try_decision("consents=direct-marketing").await;
    assert!(!with_consent.body.contains(whole), "{}", with_consent.body);
    let without = console.try_decision("").await;
    assert_has(&without.body, &[whole, "subject-withheld", "Nothing leaves."]);
    // Nobody can receive an unclassified field: it is no reason to refuse the answer.
    let only_unclassified = "record=%7B%22items%22%3A%5B%5D%2C%22x%22%3A1%7D";
    assert!(!console.try_decision(only_unclassified).await.body.contains(whole));
}

#[tokio::test]
async fn an_observed_route_is_named_as_such() {
    let keys = "mode = \"observe\"\nobserve-until = \"2999-12-31\"\n";
    let console = TestConsole::on(&AdminSection::default(), keys).await;
    let tried = console.try_decision("").await;
    assert_has(&tried.body, &["The route is observed until the end of 2999-12-31", "removed"]);
    let enforced = TestConsole::open().await;
    assert!(!enforced.try_decision("").await.body.contains("The route is observed"));
}

#[tokio::test]
async fn the_overview_counts_withheld_fields_and_refused_exchanges_apart() {
    let keys = "mode = \"observe\"\nobserve-until = \"2999-12-31\"\n";
    let console = TestConsole::on(&AdminSection::default(), keys).await;
    let would_withhold = &console.admin.state.shared.metrics.would_withhold;
    would_withhold.with_label_values(&["people", "name", "no-rule"]).inc_by(3);
    would_withhold.with_label_values(&["people", "", "no-rule-permits"]).inc_by(2);
    let overview = console.get("/").await;
    assert_has(&overview.body, &["have withheld 3 fields, and refused 2 exchanges as a whole"]);
    let route = console.get("/console/routes/people").await;
    assert_has(&route.body, &[">3 fields</td>", ">2 exchanges</td>"]);
}

/// A route with accounts, for a recipient that may have what they entrusted.
const OF_ACCOUNTS: &str = r#"record = "$.items[*]"
subject = "@.id"
controller = "@.account"
[route.fields]
"@.ticket" = "service-data"
[[recipient]]
name = "helpdesk"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{ certificate = "helpdesk" }]
[[route]]
name = "others"
upstream = "crm"
path = "/others"
"#;

#[tokio::test]
async fn the_account_that_a_record_names_decides() {
    let console = TestConsole::on(&AdminSection::default(), OF_ACCOUNTS).await;
    let record = r#"{"items":[{"id":"x","ticket":"T","account":"a-1"}]}"#;
    let record = percent_encoding::utf8_percent_encode(record, percent_encoding::NON_ALPHANUMERIC);
    let ask = async || {
        let token = console.get("/console/try").await.form_token();
        let form = format!("form-token={token}&recipient=helpdesk&purpose=customer-support&route=people");
        console.post("/console/try", &format!("{form}&record={record}")).await.body
    };
    let field = "&#34;ticket&#34;: &#34;T&#34;";
    let open = ask().await;
    assert_eq!(open.matches(field).count(), 1, "{open}");
    let account = r#"{"controller": "a-1", "kind": "account-closed", "at": "2020-01-01T00:00:00Z"}"#;
    let ledger = &console.admin.state.shared.ledger;
    let accepted = |line: LineResult| assert!(line.outcome.is_ok(), "{:?}", line.outcome);
    ledger.import(account.as_bytes(), Batch::default(), jiff::Timestamp::now(), accepted).await;
    let closed = ask().await;
    assert_eq!(closed.matches(field).count(), 0, "{closed}");
    assert!(!closed.contains("<span class=\"form clear\">clear</span>"), "{closed}");
    assert_has(&closed, &["prohibited"]);
}

/// Routes that do not serve GET, for a recipient that may change what is about a person.
const OF_CHANGES: &str = r#"methods = ["PUT"]
subject = "@.id"
[route.fields]
"@.name" = "name"
[[recipient]]
name = "helpdesk"
kind = "employee"
country = "DE"
purposes = ["customer-support"]
credentials = [{ certificate = "helpdesk" }]
[[route]]
name = "changes"
upstream = "crm"
methods = ["PUT"]
path = "/changes/{id}"
subject = "{id}"
fields = { "@.name" = "name" }
[[route]]
name = "others"
upstream = "crm"
path = "/others"
"#;

#[tokio::test]
async fn the_operation_is_tried_before_the_answer() {
    let console = TestConsole::on(&AdminSection::default(), OF_CHANGES).await;
    let refused = "The request would be refused";
    // The rules of marketing permit reading alone.
    let marketing = console.try_decision("consents=direct-marketing").await.body;
    assert_has(&marketing, &[refused]);
    assert!(!marketing.contains("What support would receive"), "{marketing}");
    let ask = async |fields: &str| {
        let token = console.get("/console/try").await.form_token();
        let form = format!("form-token={token}&recipient=helpdesk&purpose=customer-support&route=changes");
        console.post("/console/try", &format!("{form}&{fields}")).await.body
    };
    let permitted = ask("").await;
    assert!(!permitted.contains(refused), "{permitted}");
    assert_has(&permitted, &["What helpdesk would receive", "<span class=\"form clear\">clear</span>"]);
    assert_has(&ask("erased=yes").await, &[refused, "alter", "subject-withheld"]);
}

#[tokio::test]
async fn a_real_person_is_tried_after_a_recorded_reason() {
    let actors: [(&str, &[AdminRole]); 2] =
        [("reader", &[AdminRole::Read]), ("officer", &[AdminRole::Read, AdminRole::Privacy])];
    let mut console = TestConsole::with_actors(&actors).await;
    console.sign_in("reader").await;
    assert!(!console.get("/console/try").await.body.contains("name=\"subject\""));
    let refused = console.try_decision("subject=p-1&reason=ticket").await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    console.cookie = None;
    console.sign_in("officer").await;
    let missing = console.try_decision("subject=p-1&reason=").await;
    assert_eq!(missing.status, StatusCode::BAD_REQUEST);
    assert_has(&missing.body, &["Give a reason. It is recorded.", "value=\"p-1\"", "role=\"alert\""]);
    assert!(!missing.body.contains("?reason="), "{}", missing.body);
    assert!(console.admin.acts().is_empty());
    let tried = console.try_decision("subject=p-1&reason=ticket+4711").await;
    assert_has(&tried.body, &["What support would receive", "<span class=\"form clear\">clear</span>"]);
    assert!(!tried.title().contains("p-1") && !tried.body.contains("href=\"/console/subjects/p-1"));
    let acts = console.admin.acts();
    assert_eq!(acts.len(), 1);
    assert_eq!((&*acts[0].resource, acts[0].reason.as_deref()), ("/v1/subjects/{id}", Some("ticket 4711")));
    let unknown = console.try_decision("subject=p-77&reason=x").await;
    assert_has(&unknown.body, &["unknown-subject", "The ledger has no event about the person"]);
}

#[tokio::test]
async fn whatever_somebody_types_is_text() {
    let console = TestConsole::open().await;
    const TYPED: &str = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27";
    let pages = [
        console.get(&format!("/console/decisions?purpose={TYPED}&outcome={TYPED}&case={TYPED}")).await,
        console.get(&format!("/console/try?recipient={TYPED}")).await,
        console.try_decision(&format!("consents={TYPED}&country={TYPED}&record={TYPED}")).await,
        console.get(&format!("/console/routes/{TYPED}")).await,
        console.get(&format!("/console/matrix/{TYPED}")).await,
    ];
    for page in pages {
        assert!(!page.body.contains("<script") && !page.body.contains("\"'"), "{}", page.body);
        assert!(!page.title().contains("alert"), "{}", page.title());
    }
}
