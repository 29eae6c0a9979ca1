//! The pages at `/.well-known/data-purposes`, and the report of withheld fields in a trailer.

use serde_json::{Value, json};

use crate::fixtures::{CUSTOMER_ROUTES, KNOWN, person};
use crate::gateway::{TestGateway, base, bearer, credential};
use crate::http::{self, Answer};
use crate::upstream::Upstream;

/// Starts a gateway with three further recipients, one for each value of `report`.
fn start_gateway() -> (Upstream, TestGateway) {
    let upstream = Upstream::start();
    let list = format!(r#"{{"items": [{}, {}], "total": 2}}"#, person("p-1"), person("p-2"));
    upstream.json("/customers", &list);
    let mut config = format!("{}{CUSTOMER_ROUTES}", base(upstream.address));
    for report in ["none", "counts", "paths"] {
        config.push_str(&format!(
            "[[recipient]]\nname = \"{report}\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"direct-marketing\"]\n\
             report = \"{report}\"\ncredentials = [{}]\n",
            credential(report)
        ));
    }
    let gateway = TestGateway::start(&config);
    for subject in ["p-1", "p-2"] {
        gateway.record_event(subject, KNOWN);
    }
    gateway.record_event("p-1", r#"{"kind": "consent-given", "purpose": "direct-marketing"}"#);
    (upstream, gateway)
}

fn get_page(gateway: &TestGateway, recipient: &str, page: &str) -> Answer {
    http::get(gateway.address, &format!("/.well-known/data-purposes{page}"), &[&bearer(recipient)])
}

#[test]
fn a_recipient_sees_which_fields_it_would_receive_in_which_form() {
    let (_upstream, gateway) = start_gateway();
    let page = get_page(&gateway, "support", "").json();
    assert_eq!(page["recipient"], "support");
    assert!(page["purposes"].as_array().unwrap().contains(&json!("direct-marketing")));
    let routes = page["routes"].as_array().unwrap();
    let list = routes.iter().find(|route| route["route"] == "customers").unwrap();
    let purpose = |name: &str| -> Option<&Value> {
        list["purposes"].as_array().unwrap().iter().find(|purpose| purpose["purpose"] == name)
    };
    let fields = &purpose("direct-marketing").unwrap()["fields"];
    let form = |path: &str| {
        fields
            .as_array()
            .unwrap()
            .iter()
            .find(|field| field["path"] == path)
            .map(|field| field["form"].clone())
    };
    assert_eq!(form("$.items[*].email"), Some(json!("clear")));
    assert_eq!(form("$.total"), Some(json!("clear")));
    assert_eq!(form("$.items[*].password"), None);
    assert_eq!(purpose("data-sale"), None, "registered, and permitted by no rule");
    assert_eq!(purpose("billing"), None, "not registered");

    assert_eq!(get_page(&gateway, "lapsed", "").json()["routes"], json!([]));
    assert_eq!(http::get(gateway.address, "/.well-known/data-purposes", &[]).status, 401);
    let posted =
        http::send(gateway.address, "POST", "/.well-known/data-purposes", &[&bearer("support")], b"x");
    assert_eq!(posted.status, 405);
}

#[test]
fn a_personal_field_without_a_subject_is_not_listed() {
    let upstream = Upstream::start();
    let nobodys = r#"
[[route]]
name = "nobodys"
upstream = "crm"
path = "/nobodys"
[route.fields]
"@.name" = "name"
"@.total" = "aggregate"

[[route]]
name = "outside"
upstream = "crm"
path = "/outside"
record = "$.items[*]"
subject = "@.id"
[route.fields]
"@.name" = "name"
"$.owner" = "name"
"$.total" = "aggregate"
"#;
    let gateway = TestGateway::start(&format!("{}{nobodys}", base(upstream.address)));
    let page = get_page(&gateway, "support", "").json();
    let listed = |route: &str| {
        let routes = page["routes"].as_array().unwrap();
        let route = routes.iter().find(|listed| listed["route"] == route).unwrap();
        let fields = route["purposes"][0]["fields"].as_array().unwrap();
        fields.iter().map(|field| field["path"].as_str().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(listed("nobodys"), ["$.total"]);
    assert_eq!(listed("outside"), ["$.total", "$.items[*].name"]);
}

fn list(gateway: &TestGateway, recipient: &str, more: &[&str]) -> Answer {
    let (bearer, purpose) = (bearer(recipient), "data-purpose: direct-marketing".to_owned());
    http::get(gateway.address, "/customers", &[&[bearer.as_str(), &purpose], more].concat())
}

#[test]
fn the_trailer_has_the_detail_of_the_recipients_report_setting() {
    let (_upstream, gateway) = start_gateway();
    let trailer = |recipient: &str, more: &[&str]| -> Option<String> {
        let answer = list(&gateway, recipient, more);
        assert!(answer.complete && answer.json()["items"][0]["name"] == "Name-p-1", "{}", answer.text());
        let line = answer.trailers.lines().find(|line| line.starts_with("data-purpose-withheld: "))?;
        Some(line.split_once(": ").unwrap().1.to_owned())
    };
    let reads = &["te: trailers"][..];
    assert_eq!(trailer("none", reads), None);
    // All fields of one person and the password of both are withheld; unclassified fields count, too.
    assert_eq!(trailer("counts", reads).unwrap(), "records=1, fields=6");
    let told = trailer("paths", reads).unwrap();
    assert!(told.starts_with("records=1, fields=6, paths=("), "{told}");
    assert!(told.contains("\"$.items[*].password\"") && !told.contains("status"), "{told}");
    assert_eq!(trailer("counts", &[]), None, "who cannot read a trailer is sent none");
}

#[test]
fn a_recipient_reads_only_its_own_decisions() {
    let (_upstream, gateway) = start_gateway();
    let decision = |recipient: &str| {
        let answer = list(&gateway, recipient, &[]);
        answer.decision()
    };
    let told = |recipient: &str, id: &str| get_page(&gateway, recipient, &format!("/decisions/{id}"));
    let id = decision("none");
    let bare = told("none", &id).json();
    assert_eq!((&bare["decision"], &bare["purpose"]), (&json!(id), &json!("direct-marketing")));
    assert!(bare.get("records").is_none() && bare.get("categories").is_none(), "{bare}");
    assert!(bare.get("subjects").is_none() && bare.get("factors").is_none(), "{bare}");
    assert_eq!(told("counts", &id).status, 404, "another's");
    assert_eq!(told("none", "01ARZ3NDEKTSV4RRFFQ69G5FAV").status, 404);
    assert_eq!(told("none", "../../x").status, 400);

    let counts = told("counts", &decision("counts")).json();
    assert_eq!((&counts["records"], &counts["withheld_records"]), (&json!(2), &json!(1)));
    let email: Vec<&Value> = counts["categories"]["email"].as_array().unwrap().iter().collect();
    assert!(email.contains(&&json!({ "form": "removed", "fields": 1 })), "{counts}");
    let unclassified = &counts["categories"]["unclassified"];
    assert_eq!(unclassified, &json!([{ "form": "removed", "fields": 2 }]), "{counts}");
    let entries =
        counts["categories"].as_object().unwrap().values().flat_map(|entries| entries.as_array().unwrap());
    let removed = entries.filter(|entry| entry["form"] == "removed");
    let sum: u64 = removed.map(|entry| entry["fields"].as_u64().unwrap()).sum();
    assert_eq!(sum, 6, "as the trailer says: {counts}");
    let paths = told("paths", &decision("paths")).json();
    assert_eq!(&paths["categories"]["unclassified"], unclassified);
    assert!(!paths.to_string().contains("extra"), "nobody has classified the path: {paths}");
    let withheld = paths["withheld_paths"].as_array().unwrap();
    assert!(
        withheld.contains(&json!("$.items[*].email")) && withheld.contains(&json!("$.items[*].password"))
    );
}
