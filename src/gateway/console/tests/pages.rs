//! Every page: its headers, its roles, its structure.

use super::*;
use crate::gateway::console::page_rule::PAGES;

const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A path that exists for each path of the router.
fn example(path: &str) -> String {
    path.replace("{*path}", "nothing")
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let signed_out = TestConsole::with_actors(&[("ops", &[AdminRole::Operator])]).await;
    let open = TestConsole::open().await;
    for console in [&signed_out, &open] {
        for path in PAGES
            .iter()
            .map(|page| example(page.path))
            .chain(["/console.css", "/console.svg"].map(str::to_owned))
        {
            for method in [Method::GET, Method::HEAD, Method::POST, Method::DELETE] {
                let answer = console.send(method.clone(), &path, &[], "").await;
                for (name, value) in [
                    ("content-security-policy", POLICY),
                    ("x-content-type-options", "nosniff"),
                    ("referrer-policy", "same-origin"),
                    ("cache-control", "no-store"),
                    ("cross-origin-opener-policy", "same-origin"),
                    ("cross-origin-resource-policy", "same-origin"),
                    ("x-frame-options", "DENY"),
                ] {
                    assert_eq!(answer.header(name), value, "{method} {path}: {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_page_is_whole_without_scripts_and_inline_styles() {
    let console = TestConsole::open().await;
    for path in PAGES.iter().filter(|page| page.method == "GET").map(|page| example(page.path)) {
        let answer = console.get(&path).await;
        if answer.status == StatusCode::SEE_OTHER {
            continue;
        }
        let body = &answer.body;
        assert!(answer.header("content-type").starts_with("text/html"), "{path}");
        assert_eq!(body.matches("<h1>").count(), 1, "{path}");
        assert!(
            body.contains("<html lang=\"en\">") && body.contains("class=\"skip\" href=\"#main\""),
            "{path}"
        );
        assert!(body.ends_with("</html>") || body.ends_with("</html>\n"), "{path}");
        for forbidden in ["<script", "style=", "<style", "onclick", "http://", "https://"] {
            assert!(!body.contains(forbidden), "{path} has {forbidden}");
        }
        assert!(answer.title().ends_with(" · purposegate"), "{path}: {}", answer.title());
        for table in body.split("<table class=\"cards\"").skip(1) {
            // On small screens a style shows rows as blocks, and browsers forget that they are rows.
            let table = table.split("</table>").next().unwrap();
            assert!(table.starts_with(" role=\"table\""), "{path}: {table}");
            for part in ["<tr", "<td", "<th", "<tbody"] {
                let all =
                    table.matches(&format!("{part} ")).count() + table.matches(&format!("{part}>")).count();
                assert_eq!(all, table.matches(&format!("{part} role=")).count(), "{path}: {table}");
            }
        }
        let before_heading = body.split_once("<h1>").unwrap().0;
        assert!(!before_heading.contains("<h2"), "{path} has a heading before its first");
        for place in body.split("<pre").skip(1) {
            assert!(place.starts_with(" tabindex=\"0\" role=\"region\" aria-label=\""), "{path}: {place}");
        }
    }
}

#[tokio::test]
async fn a_page_needs_the_roles_of_its_resource() {
    let roles: Vec<(&str, [AdminRole; 1])> = AdminRole::ALL.map(|role| (role.name(), [role])).to_vec();
    let actors: Vec<(&str, &[AdminRole])> = roles.iter().map(|(name, role)| (*name, &role[..])).collect();
    let mut console = TestConsole::with_actors(&actors).await;
    for (name, [role]) in &roles {
        console.cookie = None;
        console.sign_in(name).await;
        for page in PAGES.iter().filter(|page| page.method == "GET") {
            let answer = console.get(&example(page.path)).await;
            let is_permitted = page.permits(*role);
            assert_eq!(answer.status == StatusCode::FORBIDDEN, !is_permitted, "{} as {name}", page.path);
            assert!(is_permitted || answer.body.contains("role-missing"), "{} as {name}", page.path);
        }
        let overview = console.get("/").await;
        for page in PAGES.iter().filter(|page| page.method == "GET" && !page.permits(*role)) {
            let link = format!("href=\"{}\"", page.path);
            assert!(!overview.body.contains(&link), "{name} is led to {}", page.path);
        }
    }
}

#[tokio::test]
async fn a_page_has_the_names_that_the_roles_permit() {
    let actors: [(&str, &[AdminRole]); 4] = [
        ("read", &[AdminRole::Read]),
        ("ops", &[AdminRole::Operator]),
        ("dpo", &[AdminRole::Privacy]),
        ("sync", &[AdminRole::Ledger]),
    ];
    let observed = "mode = \"observe\"\nobserve-until = \"2999-12-31\"\n";
    let mut console = TestConsole::on(&section(&actors), observed).await;
    for (name, knows_recipients) in [("read", true), ("dpo", false)] {
        console.cookie = None;
        console.sign_in(name).await;
        let page = console.get("/console/decisions").await.body;
        assert_eq!(page.contains(">support</option>"), knows_recipients, "{name}: {page}");
        assert_eq!(page.contains(">people</option>"), knows_recipients, "{name}: {page}");
        assert_eq!(page.contains("<input id=\"recipient\""), !knows_recipients, "{name}: {page}");
        assert_eq!(page.contains(" observed</li>"), knows_recipients, "{name}: {page}");
    }
    console.cookie = None;
    console.sign_in("ops").await;
    let page = console.get("/console/routes/people").await.body;
    assert!(!page.contains("/console/decisions"), "an operator is led to decisions: {page}");
    console.cookie = None;
    console.sign_in("sync").await;
    let token = console.get("/").await.form_token();
    let opened = console.post("/console/subjects", &format!("form-token={token}&subject=p-1&reason=x")).await;
    let page = console.get(opened.location()).await.body;
    assert!(
        page.contains("<input id=\"opt-out-recipient\"") && !page.contains(">support</option>"),
        "{page}"
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    let console = TestConsole::open().await;
    let answer = console.get("/console/nothing").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.body.contains("there is nothing at this path") && answer.body.contains("<nav"),
        "{}",
        answer.body
    );
    for (path, allowed) in [
        ("/", "GET, HEAD"),
        ("/sign-in", "GET, HEAD, POST"),
        ("/sign-out", "POST"),
        ("/console/subjects/x/events", "POST"),
        ("/console/try", "POST, GET, HEAD"),
    ] {
        let answer = console.send(Method::DELETE, path, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, allowed),
            "{path}"
        );
    }
    for (path, page) in [
        ("/sign-out", "/"),
        ("/console/subjects/x/events", "/console/subjects/x"),
        ("/console/subjects/x/answers", "/console/subjects/x"),
    ] {
        let answer = console.get(path).await;
        assert_eq!((answer.status, answer.location()), (StatusCode::SEE_OTHER, page), "{path}");
    }
    let answer = console.send(Method::GET, "/", &[("host", "evil.example")], "").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "another name for this address");
}
