//! The pages that people receive: languages, texts of the configuration, and the page of a recipient.

use serde_json::Value;

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base, key};
use crate::http;
use crate::program::{run, write_config};
use crate::upstream::Upstream;

const TEXTS: &str = r#"
[deployment]
organisation = "Example & <Söhne>"
language = "fr"
[texts.fr]
opt-out-question = "Plus de publicité de {organisation} ?"
opt-out-stop = "Arrêter <tout>"
[texts.fr.purposes]
customer-support = "Assistance"
[texts.de]
opt-out-stop = "Schluss damit"
"#;

/// The configuration of [`base`] with texts, a partner with notices, and routes.
fn config(upstream: std::net::SocketAddr, texts: &str) -> String {
    let partner = format!(
        "[[recipient]]\nname = \"acme-key\"\nkind = \"reselling-partner\"\ncountry = \"DE\"\npurposes = [\"reseller-follow-up\"]\n\
         agreement = {{ reference = \"DPA-7\", until = 2199-12-31 }}\nlegal-name = \"Acme <b>Ltd</b>\"\naddress = \"1 & Street\"\n\
         contact = \"privacy@acme.example\"\nnotify = {{ feed = true }}\n\
         credentials = [{}, {{ certificate = \"spiffe://example.org/acme\" }}]\n",
        crate::gateway::credential("acme-key")
    );
    format!("{}{partner}{CUSTOMER_ROUTES}{texts}", base(upstream))
}

fn start() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let gateway = TestGateway::start(&config(upstream.address, TEXTS));
    (upstream, gateway)
}

fn link(gateway: &TestGateway) -> String {
    let answer = gateway.get_admin("/v1/subjects/p-1/opt-out-link").json();
    answer["path"].as_str().unwrap().to_owned()
}

#[test]
fn the_opt_out_page_is_in_the_language_that_the_browser_asks_for() {
    let (_upstream, gateway) = start();
    let link = link(&gateway);
    for (header, tag, words) in [
        ("accept-language: en-GB, de;q=0.5", "en", "No more marketing from Example &amp; &lt;Söhne&gt;?"),
        (
            "accept-language: de-AT;q=0.9, en;q=0.8",
            "de",
            "Keine Werbung mehr von Example &amp; &lt;Söhne&gt;?",
        ),
        ("accept-language: de", "de", "<button>Schluss damit</button>"),
        ("accept-language: fr;q=0.1", "fr", "<button>Arrêter &lt;tout&gt;</button>"),
        ("accept-language: es, *;q=0.5", "fr", "Plus de publicité de Example &amp; &lt;Söhne&gt; ?"),
        ("accept-language: fr;q=0, es", "en", "Change nothing"),
        ("accept-language: de;q=7", "fr", "<span lang=\"en\" dir=\"ltr\">Change nothing</span>"),
        ("x-none: 1", "fr", "Plus de publicité"),
    ] {
        let page = http::get(gateway.address, &link, &[header]);
        let text = page.text();
        assert_eq!((page.status, page.header("content-language")), (200, Some(tag)), "{header}: {text}");
        assert_eq!(page.header("vary"), Some("accept-language, accept"));
        assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
        assert!(text.contains(&format!("<html lang=\"{tag}\"")) && text.contains(words), "{header}: {text}");
        assert!(text.contains("Compliance Team"), "the contact: {text}");
        for outside in ["<script", "src=", "href=", "url(", "@import", "<Söhne>", "<tout>", "p-1"] {
            assert!(!text.contains(outside), "{outside}: {text}");
        }
    }
    let both = http::get(gateway.address, &link, &["accept-language: es", "accept-language: de"]);
    assert_eq!(both.header("content-language"), Some("de"), "two fields are one list");
    let form = "content-type: application/x-www-form-urlencoded";
    let click =
        |headers: &[&str], body: &str| http::send(gateway.address, "POST", &link, headers, body.as_bytes());
    let done = click(&[form, "accept-language: de"], "List-Unsubscribe=One-Click");
    assert_eq!((done.status, done.header("content-language")), (200, Some("de")));
    assert!(done.text().contains("Erledigt: keine Werbung mehr von Example"), "{}", done.text());
}

#[test]
fn a_refused_click_is_a_page_for_a_browser_and_a_problem_for_a_mail_program() {
    let (_upstream, gateway) = start();
    let link = link(&gateway);
    let form = "content-type: application/x-www-form-urlencoded";
    let post = |path: &str, accept: &str| {
        http::send(
            gateway.address,
            "POST",
            path,
            &[form, accept, "accept-language: de"],
            b"List-Unsubscribe=No",
        )
    };
    let page = post(&link, "accept: text/html,*/*;q=0.8");
    assert_eq!((page.status, page.header("content-type")), (400, Some("text/html; charset=utf-8")));
    assert!(page.text().contains("Es wurde nichts geändert."), "{}", page.text());
    let problem = post(&link, "accept: */*");
    assert_eq!(problem.header("content-type"), Some("application/problem+json"));
    assert_eq!((problem.status, &problem.json()["code"]), (400, &Value::from("request-malformed")));
    let cut = http::get(gateway.address, &link[..link.len() - 3], &["accept-language: de"]);
    assert_eq!(cut.status, 404);
    assert!(cut.text().contains("Dieser Link ist nicht lesbar"), "{}", cut.text());
}

#[test]
fn the_report_is_in_a_language_and_names_recipients_by_their_legal_names() {
    let (upstream, gateway) = start();
    upstream.json("/customers/p-1", &person("p-1"));
    gateway.record_event("p-1", NOTICE);
    gateway.record_event("p-1", r#"{"kind": "fact", "facts": {"country": "DE"}}"#);
    gateway.record_event("p-1", r#"{"kind": "relation", "relation": "product-download"}"#);
    for _ in 0..3 {
        let received = gateway.get("/customers/p-1", "acme-key", "reseller-follow-up");
        assert!(received.text().contains("Name-p-1"), "{}", received.text());
    }
    let path = "/v1/subjects/p-1/report?format=html";
    let page = http::get(gateway.admin, path, &["accept-language: de"]);
    let text = page.text();
    assert_eq!((page.header("content-language"), page.header("vary")), (Some("de"), Some("accept-language")));
    for words in [
        "<html lang=\"de\"",
        "Acme &lt;b&gt;Ltd&lt;/b&gt;",
        "Vertriebspartner, DE",
        "1 &amp; Street",
        "privacy@acme.example",
        "3-mal: zuerst am",
        "Rechtsgrundlage: berechtigtes Interesse",
        "Worauf diese Auskunft beruht",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    for internal in ["acme-key", "G-tr", "<b>Ltd", "reseller-follow-up"] {
        assert!(!text.contains(internal), "{internal}: {text}");
    }
    let named = http::get(gateway.admin, &format!("{path}&language=EN"), &["accept-language: de"]);
    assert_eq!(named.header("content-language"), Some("en"), "the query counts");
    assert!(named.text().contains("3 times: first on"), "{}", named.text());
    let unknown = http::get(gateway.admin, &format!("{path}&language=xx"), &[]);
    assert_eq!((unknown.status, &unknown.json()["code"]), (400, &Value::from("request-malformed")));
    let json = gateway.get_admin("/v1/subjects/p-1/report").json();
    assert_eq!(json["disclosures"].as_array().map(Vec::len), Some(3), "the JSON lists each");
    assert_eq!(json["disclosures"][0]["recipient_contact"], "privacy@acme.example");
    let file = gateway.folder.path().join("purposegate.toml");
    let report = |more: &[&str]| {
        let arguments = ["subject", "report", "p-1", "--format", "html", "--config", file.to_str().unwrap()];
        run(arguments.into_iter().chain(more.iter().copied()))
    };
    let (status, page, words) = report(&["--language", "de"]);
    assert_eq!(status, 0, "{words}");
    assert!(page.contains("<html lang=\"de\"") && page.contains("3-mal: zuerst am"), "{page}");
    assert!(report(&[]).1.contains("<html lang=\"fr\""), "the language of the deployment");
    let (status, _, words) = report(&["--language", "xx"]);
    assert_eq!(status, 2);
    assert!(words.contains("`en`, `de`, `fr`"), "{words}");
}

#[test]
fn pages_that_the_admin_api_returns_have_the_headers_of_a_page() {
    let (_upstream, gateway) = start();
    gateway.record_event("p-1", NOTICE);
    for path in ["/v1/recipients/acme-key/page?", "/v1/subjects/p-1/report?format=html&"] {
        for (query, accepted, tag) in [
            ("", "accept-language: de", "de"),
            ("language=en", "accept-language: de", "en"),
            ("", "accept: */*", "fr"),
        ] {
            let page = http::get(gateway.admin, &format!("{path}{query}"), &[accepted]);
            assert_eq!(page.status, 200, "{}", page.text());
            let policy = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; frame-ancestors 'none'; \
                          base-uri 'none'; sandbox";
            for (name, value) in [
                ("content-type", "text/html; charset=utf-8"),
                ("content-language", tag),
                ("vary", "accept-language"),
                ("content-security-policy", policy),
                ("cache-control", "no-store"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(page.header(name), Some(value), "{path}{query}: {name}");
            }
            assert!(page.text().contains(&format!("<html lang=\"{tag}\"")), "{path}{query}");
        }
    }
    let unknown = gateway.get_admin("/v1/recipients/nobody/page");
    assert_eq!(unknown.header("content-type"), Some("application/problem+json"));
    assert_eq!((unknown.header("content-language"), unknown.header("vary")), (None, None));
}

#[test]
fn the_report_names_the_namespace_of_the_number_where_there_are_several() {
    for (more, expected) in [("", None), ("[namespace.crm]\nnormalise = [\"trim\"]\n", Some("default"))] {
        let upstream = Upstream::start();
        let gateway = TestGateway::start(&config(upstream.address, &format!("{TEXTS}{more}")));
        gateway.record_event("p-1", NOTICE);
        let report = gateway.get_admin("/v1/subjects/p-1/report").json();
        assert_eq!(report.get("namespace").and_then(Value::as_str), expected, "{report}");
        let file = gateway.folder.path().join("purposegate.toml");
        let arguments = ["subject", "report", "p-1", "--config", file.to_str().unwrap()];
        let (status, printed, words) = run(arguments);
        assert_eq!(status, 0, "{words}");
        let printed: Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed.get("namespace").and_then(Value::as_str), expected, "{printed}");
        for (language, words) in
            [("en", "Where this number is used: "), ("de", "Wo diese Nummer verwendet wird: ")]
        {
            let page =
                gateway.get_admin(&format!("/v1/subjects/p-1/report?format=html&language={language}")).text();
            let said = expected.map(|name| format!("<p>{words}{name}.</p>"));
            assert!(said.is_none_or(|said| page.contains(&said)), "{page}");
            assert_eq!(page.contains(words), expected.is_some(), "{page}");
        }
    }
}

/// Returns the page of a recipient, by the command.
fn recipient_page(config: &str, arguments: &[&str]) -> (i32, String, String) {
    let (_folder, file) = write_config(config);
    let command = ["recipient", "page"].iter().chain(arguments).copied();
    run(command.chain(["--config", file.to_str().unwrap()]))
}

#[test]
fn the_page_of_a_recipient_says_what_it_needs_to_know_and_nothing_else() {
    let config = config("127.0.0.1:9".parse().unwrap(), TEXTS);
    let (status, page, words) = recipient_page(&config, &["acme-key", "--language", "en"]);
    assert_eq!(status, 0, "{words}");
    for words in [
        "How Acme &lt;b&gt;Ltd&lt;/b&gt; receives data",
        "Reselling partner",
        "DPA-7, in force until 31 December 2199",
        "Authorization: Bearer YOUR-KEY",
        "spiffe://example.org/acme",
        "<code>Data-Purpose</code>",
        "<code>reseller-follow-up</code></th><td data-label=\"Meaning\">Reseller follow-up",
        "<code>GET /customers</code>",
        "<code>$.items[*].name</code></th><td data-label=\"What it holds\">Name</td><td data-label=\"How it arrives\"><span class=\"form-clear\">in clear</span><br><span class=\"quiet\">depends on the person",
        "<code>$.items[*].password</code></th><td data-label=\"What it holds\">Password</td><td data-label=\"How it arrives\"><span class=\"form-removed\">withheld</span></td>",
        "&quot;name&quot;: &quot;Ada Example&quot;",
        "/.well-known/data-purposes/notices",
        "<code>purpose-not-permitted</code>",
        "Compliance Team",
        "Content-Security-Policy",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let secret = key("acme-key");
    let secret = secret.rsplit('_').next().unwrap();
    for hidden in [
        secret,
        "sha256",
        "support",
        "lapsed",
        "registrar",
        "crm",
        "<b>Ltd",
        "<script",
        "src=",
        "href=",
        "url(",
    ] {
        assert!(!page.contains(hidden), "{hidden}: {page}");
    }
    let samples: Vec<&str> =
        page.split("<pre>").skip(1).filter_map(|rest| rest.split("</pre>").next()).collect();
    let sample = |member: &str| samples.iter().filter(|sample| sample.contains(member)).count();
    assert_eq!(sample("&quot;password&quot;"), 2, "before, on both routes, and never after: {samples:?}");
    assert_eq!(sample("&quot;email&quot;"), 4, "before and after, on both routes");
    let (_, german, _) = recipient_page(&config, &["acme-key", "--language", "de"]);
    assert!(german.contains("<html lang=\"de\"") && german.contains("hängt von der Person ab"), "{german}");
}

#[test]
fn a_page_is_about_one_purpose_and_only_about_a_known_recipient() {
    let config = config("127.0.0.1:9".parse().unwrap(), "");
    let (status, page, _) = recipient_page(&config, &["support", "--purpose", "account-management"]);
    assert_eq!(status, 0);
    assert!(page.contains("<code>account-management</code>") && !page.contains("direct-marketing"), "{page}");
    for (arguments, status, words) in [
        (&["acme-kez"][..], 2, "did you mean `acme-key`?"),
        (&["support", "--purpose", "account-managemnt"], 2, "there is no purpose `account-managemnt`"),
        (&["acme-key", "--purpose", "hosting"], 1, "not registered for the purpose `hosting`"),
        (&["support", "--language", "xx"], 2, "there is no such language"),
    ] {
        let (code, out, err) = recipient_page(&config, arguments);
        assert_eq!((code, &*out), (status, ""), "{arguments:?}: {err}");
        assert!(err.contains(words), "{arguments:?}: {err}");
    }
    let (_, lapsed, _) = recipient_page(&config, &["lapsed"]);
    assert!(lapsed.contains("not in force: it ended on 1 January 2020"), "{lapsed}");
    let (_, police, _) = recipient_page(&config, &["police"]);
    assert!(
        police.contains("registered disclosure case") && police.contains("legal-reference-missing"),
        "{police}"
    );
    for words in [
        "<code>law-enforcement</code></th>",
        "Under a registered disclosure case only, and of this only what the case covers.",
        "<code>$.items[*].email</code></th><td data-label=\"What it holds\">E-mail address</td><td data-label=\"How it arrives\"><span class=\"form-clear\">in clear",
        "No other field leaves.",
    ] {
        assert!(police.contains(words), "{words}: {police}");
    }
    let (_, support, _) = recipient_page(&config, &["support"]);
    assert!(!support.contains("disclosure case"), "{support}");
}

#[test]
fn wrong_texts_are_findings_and_missing_ones_are_named() {
    let check = |texts: &str| {
        let (_folder, file) = write_config(&config("127.0.0.1:9".parse().unwrap(), texts));
        let (status, out, _) = run(["check", "--format", "json", "--config", file.to_str().unwrap()]);
        let report: Value = serde_json::from_str(&out).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let findings: Vec<(String, String)> = findings
            .map(|one| {
                (one["code"].as_str().unwrap().to_owned(), format!("{} {}", one["message"], one["hint"]))
            })
            .filter(|(code, _)| code.contains("text") || code.contains("language"))
            .collect();
        (status, findings)
    };
    let (status, found) = check("[texts.fr]\nmonths = \"a,b,c,d,e,f,g,h,i,j,k,l\"\n");
    assert_eq!((status, &*found[0].0), (0, "texts-missing"));
    assert!(found[0].1.contains("`date`, `moment`") && !found[0].1.contains("`months`"), "{found:?}");
    assert_eq!(
        check("[texts.de]\nopt-out-stop = \"Schluss\"\n"),
        (0, Vec::new()),
        "what it lacks is built in"
    );
    for (texts, code, words) in [
        ("[texts.f_r]\n", "bad-language", "not a language"),
        ("[texts.fr]\n[texts.FR]\n", "bad-language", "one language too many"),
        ("[texts.de]\nopt-out-stopp = \"x\"\n", "unknown-text", "did you mean `opt-out-stop`?"),
        ("[texts.de]\nopt-out-stop = \"\"\n", "bad-text", "it is empty"),
        ("[texts.de]\nopt-out-stop = \"{organisation}\"\n", "bad-text", "without placeholders"),
        ("[texts.de]\nopt-out-question = \"Keine Werbung?\"\n", "bad-text", "`{organisation}`"),
        ("[texts.de.purposes]\nmarketting = \"x\"\n", "unknown-text", "did you mean `marketing`?"),
        ("[texts.de.purposes]\nmarketing = \" \"\n", "bad-text", "the title of `marketing`"),
        ("[deployment]\nlanguage = \"fr\"\n", "unknown-language", "`[texts.fr]`"),
        ("[deployment]\norganisation = \" \"\n", "bad-text", "the organisation"),
    ] {
        let (status, found) = check(texts);
        let named = found.iter().any(|(found, message)| found == code && message.contains(words));
        assert!(status == 1 && named, "{texts}: {found:?}");
    }
}

#[test]
fn the_documentation_lists_every_sentence() {
    let document = crate::documents::read("docs/pages.md");
    for sentence in purposegate::texts::Sentence::ALL {
        let row = format!("| `{}` | {} |\n", sentence.key(), sentence.english());
        assert!(document.contains(&row), "{row}");
    }
    let rows = document.split("## The sentences").nth(1).unwrap().matches("\n| `").count();
    assert_eq!(rows, purposegate::texts::Sentence::ALL.len());
}
