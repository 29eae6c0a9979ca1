//! The paths of redacted fields: indexes, and filters for elements that are removed or have moved.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json_path::JsonPath;

use super::*;

/// Filters distinguish a removed property from others of the same name that stay.
#[test]
fn paths_of_removed_properties_use_filters() {
    let fields = [
        FIELDS,
        &[
            ("@.vcardArray[1][?@[0] == 'tel' && @[1].type == 'fax']", "location"),
            ("@.vcardArray[1][?@[0] == 'tel' && @[3] == '2']", "location"),
            ("@.vcardArray[1][?@[0] == 'x-jane']", "location"),
        ],
    ]
    .concat();
    let plan = listing_plan(vec![
        record("$..entities[*]", &["@.handle"], &fields),
        record("$", &[], &[("@.rdapConformance", "non-personal")]),
    ]);
    let tel = |kind: Value, number: &str| json!(["tel", {"type": kind}, "text", number]);
    let listed = |properties: &[Value]| {
        let body = domain(&[entity(&json!(["registrant"]), properties)]);
        let answer = scrubbed(&plan, &body.to_string(), clear_except(&[("location", Form::Removed)]));
        entries(&answer)
    };
    let (voice, fax, work_fax) = (json!("voice"), json!("fax"), json!(["work", "fax"]));
    let start = "removal $.entities[0].vcardArray[1]";
    let by_kind = format!("Registrant Fax: {start}[?(@[0]=='tel'&&@[1].type=='fax')]");
    assert_eq!(listed(&[tel(voice.clone(), "1"), tel(fax.clone(), "3"), tel(fax.clone(), "4")]), [by_kind]);
    // All properties of the name are removed.
    let by_name = format!("Registrant Fax: {start}[?(@[0]=='tel')]");
    assert_eq!(listed(&[tel(fax.clone(), "3"), tel(fax.clone(), "4")]), [by_name]);
    // No filter applies if the kind is the same, is no listed word, or is one of several.
    for kind in [voice, json!("jane"), work_fax] {
        let by_number = format!("{start}[2]");
        let listed = listed(&[tel(kind.clone(), "1"), tel(kind, "2")]);
        assert!(listed.len() == 1 && listed[0].ends_with(&by_number), "{listed:?}");
    }
    assert_eq!(listed(&[json!(["x-jane", {}, "text", "1"])]), [format!("(Registrant Property): {start}[1]")]);
}

#[test]
fn paths_of_moved_entities_use_roles() {
    let own = [
        ("@.entities[*]", "service-data"),
        ("@.entities[?@.handle == 'gone']", "name"),
        ("@.entities[*].port43", "email"),
    ];
    let plan = listing_plan(vec![record("$", &[], &own)]);
    let listed = |entities: &[(&str, &str)]| {
        let one = |(handle, role): &(&str, &str)| json!({"handle": handle, "roles": [role], "port43": "a"});
        let body = json!({"entities": entities.iter().map(one).collect::<Vec<_>>()}).to_string();
        let answer =
            scrubbed(&plan, &body, clear_except(&[("name", Form::Removed), ("email", Form::Removed)]));
        let of_port = |entry: &String| entry.ends_with("port43");
        let (ports, rest): (Vec<_>, Vec<_>) = entries(&answer).into_iter().partition(of_port);
        (rest, ports)
    };
    let gone = |step: &str| vec![format!("(name): removal $.entities[{step}]")];
    let ports = |steps: &[&str]| -> Vec<String> {
        steps.iter().map(|step| format!("(email): removal $.entities[{step}].port43")).collect()
    };
    let (technical, registrant) = ("?(@.roles[0]=='technical')", "?(@.roles[0]=='registrant')");
    assert_eq!(
        listed(&[("A", "abuse"), ("gone", "technical"), ("gone", "technical"), ("B", "registrant")]),
        (gone(technical), ports(&["0", registrant]))
    );
    // Elements that no word distinguishes are selected by their index.
    assert_eq!(
        listed(&[("gone", "registrant"), ("B", "registrant"), ("gone", "jane")]),
        ([gone("0"), gone("2")].concat(), ports(&["1"]))
    );
}

#[test]
fn paths_do_not_disclose_withheld_roles() {
    let own =
        [("@.entities[*].roles", "name"), ("@.entities[*].handle", "email"), ("@.entities[*].x", "phone")];
    let body = r#"{"entities":[{"x":1},{"y":0,"roles":["noc"],"handle":"H"}]}"#;
    let plan = listing_plan(vec![record("$", &[], &own)]);
    let withheld =
        clear_except(&[("name", Form::Removed), ("email", Form::Removed), ("phone", Form::Removed)]);
    assert!(!scrubbed(&plan, body, withheld).to_string().contains("noc"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// In every combination of forms, no withheld value leaves, contacts are jCards, and every path selects the
    /// redacted value in the answer before or after redaction.
    #[test]
    fn every_path_selects_the_redacted_value(
        roles in vec(select(vec!["registrant", "technical", "abuse", "jane"]), 3),
        picked in vec(vec(0usize..8, 0..8), 3),
        nested in any::<bool>(),
        forms in vec(select(vec![Form::Clear, Form::Masked, Form::Generalised, Form::Pseudonymised, Form::Removed]), 7),
    ) {
        let mut entities: Vec<Value> = roles
            .iter()
            .zip(&picked)
            .map(|(role, picked)| {
                let properties: Vec<Value> = picked.iter().map(|at| people()[*at].clone()).collect();
                entity(&json!([role]), &properties)
            })
            .collect();
        if nested {
            let inner = entities.pop().unwrap();
            entities[0]["entities"] = json!([inner]);
        }
        let body = domain(&entities);
        let plan = plan();
        let by_category = forms.clone();
        let rule = move |_: Option<&DecidedRecord>, id: CategoryId| {
            let at = CATEGORIES.iter().position(|name| category(name) == id);
            at.map_or(Form::Clear, |at| by_category[at])
        };
        let out = scrub_in(&plan, &mut TestPolicy::new(&plan, rule), body.to_string().as_bytes(), 33, Limits::default()).unwrap();
        let answer: Value = serde_json::from_slice(&out).unwrap();
        let form = |name: &str| forms[CATEGORIES.iter().position(|known| *known == name).unwrap()];
        let text = answer.to_string();
        for (name, secret) in [("name", "Jane Doe"), ("email", "jane@x.example"), ("phone", "555555"), ("postal-address", "Quebec"), ("billing", "Jane Ltd")] {
            prop_assert!(form(name) == Form::Clear || !text.contains(secret), "{} {}", name, text);
        }
        for card in JsonPath::parse("$..vcardArray").unwrap().query(&answer).all() {
            prop_assert!(card[0] == "vcard" && card[1].is_array(), "{}", card);
        }
        for property in JsonPath::parse("$..vcardArray[1][*]").unwrap().query(&answer).all() {
            prop_assert!(property[0].is_string() && property[1].is_object() && property[2].is_string(), "{}", property);
            prop_assert!(property[0] != "adr" || property[3].as_array().unwrap().len() == 7, "{}", property);
        }
        let empty = Vec::new();
        let listed = answer["redacted"].as_array().unwrap_or(&empty);
        let different: std::collections::HashSet<_> = listed.iter().map(Value::to_string).collect();
        prop_assert_eq!(different.len(), listed.len());
        prop_assert_eq!(listed.is_empty(), !answer["rdapConformance"].to_string().contains("redacted"));
        for entry in listed {
            let (document, path) = match entry.get("prePath") {
                Some(path) => (&body, path),
                None => (&answer, &entry["postPath"]),
            };
            let path = JsonPath::parse(path.as_str().unwrap()).unwrap();
            let found = path.query(document).all();
            prop_assert!(!found.is_empty(), "{} {}", entry, document);
            // A removed value is selected in the answer before redaction only.
            prop_assert!(entry["method"] != "removal" || path.query(&answer).is_empty(), "{} {}", entry, answer);
            let emptied = |value: &&Value| *value == "" || value.as_array().is_some_and(|all| all.iter().all(|one| one == ""));
            prop_assert!(entry["method"] != "emptyValue" || found.iter().all(emptied), "{} {:?}", entry, found);
        }
    }
}
