use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::decision::RecipientFacts;
use crate::disclosure::{AccountedCategory, AccountedExchange};
use crate::report::{LaterChange, ReportedDisclosure};
use crate::texts::PageTexts;
use crate::vocabulary::Safeguard;

fn recipient(name: &str, kind: &str, legal_name: Option<&str>) -> ReportedRecipient {
    let words = Vocabulary::standard();
    ReportedRecipient {
        facts: Arc::new(RecipientFacts {
            name: name.into(),
            kind: words.kinds().find(kind).unwrap(),
            country: None,
            region: None,
            purposes: Vec::new(),
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        }),
        legal_name: legal_name.map(Into::into),
        address: None,
        contact: None,
    }
}

fn disclosure(time: &str, recipient: &str, kind: Option<&str>, people: usize) -> ReportedDisclosure {
    let category = |category: &str, form: &str, basis: Option<&str>| AccountedCategory {
        category: category.to_owned(),
        form: form.to_owned(),
        basis: basis.map(str::to_owned),
    };
    let is_partner = recipient == "acme-key";
    ReportedDisclosure {
        disclosed: AccountedExchange {
            time: time.parse().unwrap(),
            decision: "01DECISION".to_owned(),
            recipient: recipient.to_owned(),
            purpose: if is_partner { "direct-marketing" } else { "customer-support" }.to_owned(),
            case: (!is_partner).then(|| "T-<7>".to_owned()),
            categories: [
                category("email", "clear", Some("consent")),
                category("phone", "masked", Some("consent")),
                category("unclassified", "clear", None),
            ]
            .into(),
            people,
            route: "internal-route".to_owned(),
            withheld: BTreeSet::new(),
            not_personal: BTreeSet::new(),
            position: 1,
        },
        purpose_title: "unused".to_owned(),
        recipient_name: "unused".to_owned(),
        recipient_address: is_partner.then(|| "1 Example Street <Bremen>".to_owned()),
        recipient_contact: is_partner.then(|| "privacy@acme.example".to_owned()),
        recipient_kind: kind.map(|kind| TitledTerm { id: kind.to_owned(), title: "unused".to_owned() }),
        recipient_country: is_partner.then(|| "US".into()),
        changed_since: is_partner
            .then(|| LaterChange { event: "correction", at: "2026-05-01T00:00:00Z".parse().unwrap() })
            .into_iter()
            .collect(),
    }
}

fn report() -> SubjectReport {
    let at = |day: u32| format!("2026-03-{day:02}T09:30:00Z");
    let state = json!({
        "consents": { "marketing:acme-key": "given", "survey": "withdrawn", "analytics:employee": "refused" },
        "objections": ["prospecting", "security:upheld"], "opt-outs": ["acme-key"], "relations": ["service-signup:acme-key"],
        "relations-ended": ["product-download:acme-key"], "refused-categories": ["phone"], "restricted": true, "minor": false, "country": "DE",
        "origin": { "personal": "self", "email": "reselling-partner" },
    });
    let events = json!([
        { "kind": "notice", "at": "2026-01-02T03:04:05Z", "notice": "<v1>" },
        { "kind": "consent-given", "at": "2026-01-03T00:00:00Z", "purpose": "marketing", "recipient": "acme-key", "channel": "web" },
        { "kind": "fact", "at": "2026-01-04T00:00:00Z", "facts": { "country": "DE", "origin": "self" } },
    ]);
    let log = |origin: Option<&str>, size, since: Option<&str>, fault: Option<&str>| {
        let mut log = LogExtent::without_origin(fault.map(str::to_owned));
        log.origin = origin.map(str::to_owned);
        log.size = size;
        log.since = since.map(|day| day.parse().unwrap());
        log
    };
    SubjectReport {
        subject: "42<b>".to_owned(),
        namespace: Some("crm<i>".to_owned()),
        made: "2026-06-01T12:00:00Z".parse().unwrap(),
        contacts: ["Privacy & Co".to_owned()].into(),
        state: state.as_object().cloned(),
        events: events.as_array().unwrap().iter().map(|event| event.as_object().unwrap().clone()).collect(),
        sources: vec![DataSource {
            category: "email".to_owned(),
            title: "E-mail address".to_owned(),
            origins: ["the person".to_owned()].into(),
        }],
        processing: vec![Processing {
            purpose: "marketing".to_owned(),
            title: "Marketing".to_owned(),
            basis: "consent",
            basis_title: "unused".to_owned(),
            categories: vec![TitledTerm { id: "email".to_owned(), title: "E-mail address".to_owned() }],
            recipients: vec![TitledTerm { id: "staff".to_owned(), title: "staff".to_owned() }],
            origin: "the person".to_owned(),
            retention: "a year".to_owned(),
            transfers: "none".to_owned(),
        }],
        retention: vec![RetentionPeriod {
            category: "email".to_owned(),
            title: "E-mail address".to_owned(),
            days: 365,
        }],
        disclosed: DisclosureList {
            complete: false,
            logs: vec![
                log(Some("gateway-1/01A"), 1204, Some("2026-01-01"), None),
                log(
                    Some("gateway-2/01B"),
                    7,
                    Some("2026-02-01"),
                    Some("/secret/path: details of 2026-01 were deleted"),
                ),
                log(None, 0, None, Some("/secret/path cannot be read")),
            ],
            disclosures: vec![
                disclosure(&at(1), "acme-key", Some("reselling-partner"), 1),
                disclosure(&at(2), "desk-a", Some("employee"), 1),
                disclosure(&at(3), "acme-key", Some("reselling-partner"), 1),
                disclosure(&at(4), "acme-key", Some("reselling-partner"), 9),
                disclosure(&at(5), "desk-b", Some("contractor"), 1),
                disclosure(&at(6), "acme-key", Some("reselling-partner"), 1),
                disclosure(&at(7), "gone", None, 1),
            ],
        },
    }
}

fn page(language: &str) -> String {
    page_of(&report(), language)
}

fn page_of(report: &SubjectReport, language: &str) -> String {
    let texts = PageTexts::new(Vec::new(), "en", Some("Example & Söhne GmbH".to_owned()));
    let language = Arc::new(texts).named(Some(language)).unwrap();
    let recipients = [
        recipient("acme-key", "reselling-partner", Some("Acme \"Resale\" <Ltd>")),
        recipient("desk-a", "employee", None),
        recipient("desk-b", "contractor", None),
    ];
    html(report, &ReportPage { language: &language, packs: &[], recipients: &recipients })
}

/// Returns a page without its style.
fn content(page: &str) -> &str {
    page.split_once("</head>").unwrap().1
}

#[test]
fn the_page_names_recipients_and_summarises_repeats() {
    insta::assert_snapshot!(content(&page("en")));
}

#[test]
fn the_page_is_german_for_german_readers() {
    insta::assert_snapshot!(content(&page("de")));
}

#[test]
fn the_page_has_no_internal_names_and_escapes_every_value() {
    for language in ["en", "de"] {
        let page = page(language);
        let internal = [
            "01DECISION",
            "internal-route",
            "acme-key",
            "desk-a",
            "/secret/path",
            "unused",
            "direct-marketing",
        ];
        for name in internal {
            assert!(!page.contains(name), "{name}: {page}");
        }
        for raw in ["<i>", "<Ltd>", "<b>", "<Bremen>", "<v1>", "<7>", "<script", "src=", "href=", "url("] {
            assert!(!page.contains(raw), "{raw}: {page}");
        }
        assert!(page.contains("Acme &quot;Resale&quot; &lt;Ltd&gt;"), "{page}");
    }
}

#[test]
fn the_page_names_the_namespace_of_the_id_if_the_report_does() {
    for (language, words) in [
        ("en", "Where this number is used: crm&lt;i&gt;."),
        ("de", "Wo diese Nummer verwendet wird: crm&lt;i&gt;."),
    ] {
        assert!(page(language).contains(words), "{}", page(language));
        let only = page_of(&SubjectReport { namespace: None, ..report() }, language);
        assert!(!only.contains("crm") && !only.contains(words.split(':').next().unwrap()), "{only}");
    }
}
