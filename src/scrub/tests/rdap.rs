//! RDAP answers that say what was redacted (RFC 9537), with contacts that stay jCards (RFC 7095).

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};
use serde_json_path::JsonPath;

use super::*;

const FIELDS: &[(&str, &str)] = &[
    ("@['objectClassName','roles']", "non-personal"),
    ("@.handle", "service-data"),
    ("@.vcardArray[0]", "non-personal"),
    ("@.vcardArray[1][?@[0] == 'version']", "non-personal"),
    ("@.vcardArray[1][?@[0] == 'fn' || @[0] == 'n']", "name"),
    ("@.vcardArray[1][?@[0] == 'org']", "billing"),
    ("@.vcardArray[1][?@[0] == 'adr']", "postal-address"),
    ("@.vcardArray[1][?@[0] == 'tel']", "phone"),
    ("@.vcardArray[1][?@[0] == 'email']", "email"),
];

fn plan() -> Arc<Plan> {
    let entities = record("$..entities[*]", &["@.handle"], FIELDS);
    let own = [
        ("@['objectClassName','ldhName','rdapConformance','redacted']", "non-personal"),
        ("@.handle", "service-data"),
    ];
    told(vec![entities, record("$", &[], &own)])
}

/// A plan that says what was redacted.
fn told(records: Vec<RecordMapping>) -> Arc<Plan> {
    Arc::new(compile(&Mapping { redaction: Redaction::Rfc9537, ..mapping(records) }).unwrap())
}

/// One entity with these roles and properties beside `version`.
fn entity(roles: &Value, properties: &[Value]) -> Value {
    let card = [&[json!(["version", {}, "text", "4.0"])], properties].concat();
    json!({"objectClassName": "entity", "handle": "E-1", "roles": roles, "vcardArray": ["vcard", card]})
}

fn domain(entities: &[Value]) -> Value {
    json!({"rdapConformance": ["rdap_level_0"], "objectClassName": "domain", "handle": "D-1", "ldhName": "a.example", "entities": entities})
}

fn scrubbed(
    plan: &Arc<Plan>,
    body: &str,
    rule: impl Fn(Option<&JudgedRecord>, CategoryId) -> Form + Copy + 'static,
) -> Value {
    let run = |chunk: usize| {
        scrub_in(plan, &mut RuleJudge::new(plan, rule), body.as_bytes(), chunk, Limits::default()).unwrap()
    };
    let whole = run(usize::MAX);
    for chunk in [1, 7, 100] {
        assert_eq!(run(chunk), whole);
    }
    serde_json::from_slice(&whole)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&whole)))
}

/// Each of these categories in its form, all else in clear.
fn but(forms: &'static [(&'static str, Form)]) -> impl Fn(Option<&JudgedRecord>, CategoryId) -> Form + Copy {
    move |_, id| forms.iter().find(|(name, _)| category(name) == id).map_or(Form::Clear, |(_, form)| *form)
}

/// Each entry as `name: method path`.
fn entries(answer: &Value) -> Vec<String> {
    let empty = Vec::new();
    let entries = answer["redacted"].as_array().unwrap_or(&empty).iter().map(|entry| {
        let name = entry["name"]["type"]
            .as_str()
            .map_or_else(|| format!("({})", entry["name"]["description"].as_str().unwrap()), str::to_owned);
        let path = entry["prePath"].as_str().or(entry["postPath"].as_str()).unwrap();
        assert_eq!(entry["pathLang"], "jsonpath");
        assert_eq!(entry["reason"]["description"], "Server policy");
        assert_eq!(entry.get("prePath").is_some(), entry["method"] == "removal");
        format!("{name}: {} {path}", entry["method"].as_str().unwrap())
    });
    entries.collect()
}

fn people() -> Vec<Value> {
    vec![
        json!(["fn", {"language": "en"}, "text", "Jane Doe"]),
        json!(["n", {}, "text", ["Doe", "Jane", "", ["Dr."], ""]]),
        json!(["org", {}, "text", "Jane Ltd"]),
        json!(["adr", {"cc": "CA", "label": "1 Way\nQuebec"}, "text", ["", "Suite 1", ["1 Way", "Rear"], "Quebec", "QC", "G1V", "Canada"]]),
        json!(["tel", {"type": "voice"}, "uri", "tel:+1.5555551234;ext=102"]),
        json!(["tel", {"type": ["work", "fax"]}, "uri", "tel:+1.5555551235"]),
        json!(["email", {}, "text", "jane@x.example"]),
        json!(["x-secret", {}, "text", "jane"]),
    ]
}

#[test]
fn what_goes_is_listed_and_contacts_stay_jcards() {
    let body = domain(&[entity(&json!(["registrant"]), &people())]).to_string();
    let withheld = but(&[
        ("name", Form::Removed),
        ("billing", Form::Removed),
        ("postal-address", Form::Removed),
        ("phone", Form::Removed),
        ("email", Form::Removed),
        ("service-data", Form::Removed),
    ]);
    let answer = scrubbed(&plan(), &body, withheld);
    assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]));
    assert_eq!(
        answer["entities"],
        json!([{"objectClassName": "entity", "roles": ["registrant"], "vcardArray": ["vcard", [
            ["version", {}, "text", "4.0"],
            ["fn", {}, "text", ""],
            ["n", {}, "text", ["", "", "", "", ""]],
            ["adr", {}, "text", ["", "", "", "", "", "", ""]],
        ]]}])
    );
    assert_eq!(
        entries(&answer),
        [
            "Registry Domain ID: removal $.handle",
            "Registry Registrant ID: removal $.entities[0].handle",
            "Registrant Name: emptyValue $.entities[0].vcardArray[1][1][3]",
            "Registrant Name: emptyValue $.entities[0].vcardArray[1][2][3]",
            "Registrant Organization: removal $.entities[0].vcardArray[1][?(@[0]=='org')]",
            "(Registrant Address): removal $.entities[0].vcardArray[1][?(@[0]=='adr')][1].label",
            "Registrant Street: emptyValue $.entities[0].vcardArray[1][3][3][:3]",
            "Registrant City: emptyValue $.entities[0].vcardArray[1][3][3][3]",
            "(Registrant State/Province): emptyValue $.entities[0].vcardArray[1][3][3][4]",
            "Registrant Postal Code: emptyValue $.entities[0].vcardArray[1][3][3][5]",
            "(Registrant Country): emptyValue $.entities[0].vcardArray[1][3][3][6]",
            "Registrant Phone: removal $.entities[0].vcardArray[1][?(@[0]=='tel')]",
            "Registrant Phone Ext: removal $.entities[0].vcardArray[1][?(@[0]=='tel')]",
            "Registrant Fax: removal $.entities[0].vcardArray[1][?(@[0]=='tel')]",
            "Registrant Email: removal $.entities[0].vcardArray[1][?(@[0]=='email')]",
        ]
    );
    assert!(!answer.to_string().contains("ane"), "{answer}");
}

#[test]
fn each_form_has_its_method() {
    let body = domain(&[entity(&json!(["technical", "registrant"]), &people())]).to_string();
    let forms = but(&[
        ("name", Form::Masked),
        ("postal-address", Form::Generalised),
        ("phone", Form::Masked),
        ("email", Form::Pseudonymised),
    ]);
    let answer = scrubbed(&plan(), &body, forms);
    let card = &answer["entities"][0]["vcardArray"][1];
    assert_eq!(card[1], json!(["fn", {}, "text", "J. D."]));
    assert_eq!(card[3], json!(["org", {}, "text", "Jane Ltd"]));
    assert_eq!(card[4], json!(["adr", {"cc": "CA"}, "text", ["", "", "", "", "QC", "", "Canada"]]));
    assert_eq!(card[5], json!(["tel", {"type": "voice"}, "text", "***4102"]));
    assert_eq!(card[6], json!(["tel", {"type": ["work", "fax"]}, "text", "***1235"]));
    let pseudonym = card[7][3].as_str().unwrap();
    assert!(card[7][2] == "text" && pseudonym != "jane@x.example", "{card}");
    assert_eq!(
        entries(&answer),
        [
            "Tech Name: partialValue $.entities[0].vcardArray[1][1][3]",
            "Tech Name: partialValue $.entities[0].vcardArray[1][2][3]",
            "(Tech Address): removal $.entities[0].vcardArray[1][4][1].label",
            "(Tech Street): emptyValue $.entities[0].vcardArray[1][4][3][:3]",
            "(Tech City): emptyValue $.entities[0].vcardArray[1][4][3][3]",
            "(Tech Postal Code): emptyValue $.entities[0].vcardArray[1][4][3][5]",
            "Tech Phone: partialValue $.entities[0].vcardArray[1][5][3]",
            "Tech Phone Ext: partialValue $.entities[0].vcardArray[1][5][3]",
            "(Tech Fax): partialValue $.entities[0].vcardArray[1][6][3]",
            "Tech Email: replacementValue $.entities[0].vcardArray[1][7][3]",
        ]
    );
}

#[test]
fn what_the_upstream_redacted_stays_listed() {
    let name = but(&[("name", Form::Removed)]);
    let properties = [json!(["fn", {}, "text", "Jane"])];
    let listed = json!({"name": {"description": "Registrant Email"}, "method": "removal"});
    for (conformance, redacted, entries) in [
        (json!(["rdap_level_0", "redacted"]), json!([listed]), 2),
        (json!(["rdap_level_0"]), json!([]), 1),
        (json!([]), json!("none"), 1),
        (Value::Null, Value::Null, 1),
    ] {
        let mut body = domain(&[entity(&json!(["registrant"]), &properties)]);
        for (member, value) in [("rdapConformance", conformance), ("redacted", redacted)] {
            if value.is_null() {
                body.as_object_mut().unwrap().remove(member);
            } else {
                body[member] = value;
            }
        }
        let answer = scrubbed(&plan(), &body.to_string(), name);
        assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]), "{answer}");
        let all = answer["redacted"].as_array().unwrap();
        assert_eq!(all.len(), entries, "{answer}");
        assert_eq!(all[entries - 1]["name"]["type"], "Registrant Name");
    }
}

#[test]
fn where_nothing_is_redacted_nothing_is_said() {
    let clear = |_: Option<&JudgedRecord>, _: CategoryId| Form::Clear;
    let named = |text: &str| domain(&[entity(&json!(["registrant"]), &[json!(["fn", {}, "text", text])])]);
    let body = named("Jane");
    assert_eq!(scrubbed(&plan(), &body.to_string(), clear), body);
    // What was empty is not redacted; what nothing classifies is not mentioned.
    let mut empty = named("");
    empty["entities"][0]["vcardArray"][1].as_array_mut().unwrap().push(json!(["x-jane", {}, "text", "Jane"]));
    empty["jane@x.org"] = json!(1);
    let answer = scrubbed(&plan(), &empty.to_string(), but(&[("name", Form::Removed)]));
    assert_eq!(answer, named(""));
}

#[test]
fn what_is_no_jcard_goes_whole() {
    let name = but(&[("name", Form::Removed)]);
    for property in [json!(["fn", {}, "Jane Doe", "Jane Doe"]), json!(["fn", {}, "text"]), json!(["fn"])] {
        let body = domain(&[entity(&json!(["jane@x.org"]), &[property])]);
        let answer = scrubbed(&plan(), &body.to_string(), name);
        assert_eq!(entries(&answer), ["(Contact Name): removal $.entities[0].vcardArray[1][?(@[0]=='fn')]"]);
        assert_eq!(answer["entities"][0]["vcardArray"], json!(["vcard", [["version", {}, "text", "4.0"]]]));
    }
    // Masked, of a type that could be a value: nothing of it stays.
    let masked = but(&[("name", Form::Masked)]);
    let body = domain(&[entity(&json!([]), &[json!(["fn", {"x": "Jane"}, "Jane Doe", "Jane Doe"])])]);
    let answer = scrubbed(&plan(), &body.to_string(), masked);
    assert!(!answer.to_string().contains("Jane"), "{answer}");
    for vcard in
        [json!("Jane"), json!(["vcard"]), json!(["vcard", "Jane"]), json!({"fn": "Jane"}), json!([["fn"]])]
    {
        let mut body = domain(&[entity(&json!([]), &[])]);
        body["entities"][0]["vcardArray"] = vcard;
        let answer = scrubbed(&plan(), &body.to_string(), name);
        assert!(!answer.to_string().contains("Jane"), "{answer}");
    }
    for body in ["[]", "12", "null", "{}"] {
        let plan = plan();
        let out = scrub_in(&plan, &mut RuleJudge::new(&plan, name), body.as_bytes(), 1, Limits::default());
        assert_eq!(
            String::from_utf8(out.unwrap()).unwrap(),
            if body == "{}" || body == "[]" { body } else { "null" }
        );
    }
}

#[test]
fn what_is_withheld_in_a_generalised_address_goes() {
    let state = ("@.vcardArray[1][?@[0] == 'adr'][3][4]", "name");
    let entities = record("$..entities[*]", &["@.handle"], &[FIELDS, &[state]].concat());
    let own = [("@['objectClassName','rdapConformance']", "non-personal")];
    let mut mapping =
        Mapping { redaction: Redaction::Rfc9537, ..mapping(vec![entities, record("$", &[], &own)]) };
    let plan = |mapping: &Mapping| Arc::new(compile(mapping).unwrap());
    let forms = but(&[("postal-address", Form::Generalised), ("name", Form::Removed)]);
    let address = |state: Value, country: Value| {
        let value = json!(["", "", "1 Way", "Quebec", state, "G1V", country]);
        domain(&[entity(&json!([]), &[json!(["adr", {}, "text", value])])]).to_string()
    };
    let left = |answer: &Value| answer["entities"][0]["vcardArray"][1][1][3].clone();
    for (country, kept) in [
        (json!("Canada"), "Canada"),
        (json!({"Jane Doe": "Jane"}), ""),
        (json!([["Jane"]]), ""),
        (json!({}), ""),
    ] {
        let answer = scrubbed(&plan(&mapping), &address(json!("Jane"), country), forms);
        assert_eq!(left(&answer), json!(["", "", "", "", "", "", kept]));
        assert!(!answer.to_string().contains("Jane"), "{answer}");
    }
    // What an address keeps is looked through as well.
    mapping.redact = vec![category("postal-address")];
    let answer = scrubbed(&plan(&mapping), &address(json!("QC"), json!("c@x.org")), forms);
    assert_eq!(left(&answer)[6], "[redacted]");
    mapping.redact.clear();
    mapping.withhold_echoes = true;
    let answer = scrubbed(&plan(&mapping), &address(json!("Annabella"), json!("of Annabella")), forms);
    assert_eq!(left(&answer)[6], "of [redacted]");
}

#[test]
fn of_parameters_only_listed_words_stay() {
    for form in [Form::Masked, Form::Pseudonymised] {
        let forms = but(&[("phone", Form::Masked), ("email", Form::Pseudonymised)]);
        let property = if form == Form::Masked { "tel" } else { "email" };
        for (parameters, left) in [
            (json!("Jane"), json!({})),
            (json!(["Jane", {"Jane": 1}]), json!({})),
            (json!([]), json!({})),
            (json!({"type": {"Jane": "work"}}), json!({})),
            (json!({"type": ["work", ["Jane"]]}), json!({})),
            (json!({"type": ["work", {"Jane": "home"}]}), json!({})),
            (json!({"type": ["work", "Jane"]}), json!({})),
            (json!({"x": {"Jane": {"Jane": []}}, "Jane": "x", "y": ["Jane"]}), json!({})),
            (json!({"type": ["work", "voice"]}), json!({"type": ["work", "voice"]})),
            (json!({"type": "home"}), json!({"type": "home"})),
        ] {
            let properties = [json!([property, parameters, "text", "+49151234567"])];
            let body = domain(&[entity(&json!([]), &properties)]).to_string();
            let answer = scrubbed(&plan(), &body, forms);
            assert_eq!(answer["entities"][0]["vcardArray"][1][1][1], left, "{answer}");
            assert!(!answer.to_string().contains("Jane"), "{answer}");
        }
    }
}

#[test]
fn a_jcards_own_words_are_no_echoes() {
    let entities = record("$..entities[*]", &["@.handle"], FIELDS);
    let mapping = Mapping {
        redaction: Redaction::Rfc9537,
        withhold_echoes: true,
        ..mapping(vec![
            entities,
            record("$", &[], &[("@['objectClassName','rdapConformance']", "non-personal")]),
        ])
    };
    let plan = Arc::new(compile(&mapping).unwrap());
    let properties = [
        json!(["tel", {"type": "voice"}, "text", "+49151234567"]),
        json!(["org", {}, "text", "Voice of +49 151234567"]),
        json!(["fn", {}, "text", "tel +49151234567"]),
    ];
    let body = domain(&[entity(&json!(["registrant"]), &properties)]).to_string();
    let answer = scrubbed(&plan, &body, but(&[("phone", Form::Removed)]));
    assert_eq!(
        answer["entities"][0]["vcardArray"][1],
        json!([
            ["version", {}, "text", "4.0"],
            ["org", {}, "text", "Voice of +49 151234567"],
            ["fn", {}, "text", "tel +[redacted]"],
        ])
    );
}

/// The entries about one property of a card in which others of the name stay.
#[test]
fn what_goes_is_found_by_words_of_lists() {
    let fields = [
        FIELDS,
        &[
            ("@.vcardArray[1][?@[0] == 'tel' && @[1].type == 'fax']", "location"),
            ("@.vcardArray[1][?@[0] == 'tel' && @[3] == '2']", "location"),
            ("@.vcardArray[1][?@[0] == 'x-jane']", "location"),
        ],
    ]
    .concat();
    let plan = told(vec![
        record("$..entities[*]", &["@.handle"], &fields),
        record("$", &[], &[("@.rdapConformance", "non-personal")]),
    ]);
    let tel = |kind: Value, number: &str| json!(["tel", {"type": kind}, "text", number]);
    let said = |properties: &[Value]| {
        let body = domain(&[entity(&json!(["registrant"]), properties)]);
        let answer = scrubbed(&plan, &body.to_string(), but(&[("location", Form::Removed)]));
        entries(&answer)
    };
    let (voice, fax, work_fax) = (json!("voice"), json!("fax"), json!(["work", "fax"]));
    let start = "removal $.entities[0].vcardArray[1]";
    let by_kind = format!("Registrant Fax: {start}[?(@[0]=='tel'&&@[1].type=='fax')]");
    assert_eq!(said(&[tel(voice.clone(), "1"), tel(fax.clone(), "3"), tel(fax.clone(), "4")]), [by_kind]);
    // All that are of the name go.
    let by_name = format!("Registrant Fax: {start}[?(@[0]=='tel')]");
    assert_eq!(said(&[tel(fax.clone(), "3"), tel(fax.clone(), "4")]), [by_name]);
    // No word tells them apart from one that stays: the kind is the same, is no word, or is not one alone.
    for kind in [voice, json!("jane"), work_fax] {
        let by_number = format!("{start}[2]");
        let said = said(&[tel(kind.clone(), "1"), tel(kind, "2")]);
        assert!(said.len() == 1 && said[0].ends_with(&by_number), "{said:?}");
    }
    assert_eq!(said(&[json!(["x-jane", {}, "text", "1"])]), [format!("(Registrant Property): {start}[1]")]);
}

#[test]
fn what_has_moved_is_found_by_its_role() {
    let own = [
        ("@.entities[*]", "service-data"),
        ("@.entities[?@.handle == 'gone']", "name"),
        ("@.entities[*].port43", "email"),
    ];
    let plan = told(vec![record("$", &[], &own)]);
    let said = |entities: &[(&str, &str)]| {
        let one = |(handle, role): &(&str, &str)| json!({"handle": handle, "roles": [role], "port43": "a"});
        let body = json!({"entities": entities.iter().map(one).collect::<Vec<_>>()}).to_string();
        let answer = scrubbed(&plan, &body, but(&[("name", Form::Removed), ("email", Form::Removed)]));
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
        said(&[("A", "abuse"), ("gone", "technical"), ("gone", "technical"), ("B", "registrant")]),
        (gone(technical), ports(&["0", registrant]))
    );
    // What the words do not tell apart has its number.
    assert_eq!(
        said(&[("gone", "registrant"), ("B", "registrant"), ("gone", "jane")]),
        ([gone("0"), gone("2")].concat(), ports(&["1"]))
    );
}

#[test]
fn a_role_that_is_withheld_is_not_told() {
    let own =
        [("@.entities[*].roles", "name"), ("@.entities[*].handle", "email"), ("@.entities[*].x", "phone")];
    let body = r#"{"entities":[{"x":1},{"y":0,"roles":["noc"],"handle":"H"}]}"#;
    let plan = told(vec![record("$", &[], &own)]);
    let withheld = but(&[("name", Form::Removed), ("email", Form::Removed), ("phone", Form::Removed)]);
    assert!(!scrubbed(&plan, body, withheld).to_string().contains("noc"));
}

#[test]
fn an_address_that_stands_in_a_label_is_mentioned() {
    let address = |label: &str| {
        let parameters = json!({"cc": "CA", "label": label});
        let value = ["", "", "", "", "", "", ""];
        domain(&[entity(&json!(["registrant"]), &[json!(["adr", parameters, "text", value])])]).to_string()
    };
    let label = "$.entities[0].vcardArray[1][1][1].label";
    for form in [Form::Removed, Form::Masked, Form::Generalised, Form::Pseudonymised] {
        let rule = move |_: Option<&JudgedRecord>, id| {
            if id == category("postal-address") { form } else { Form::Clear }
        };
        let answer = scrubbed(&plan(), &address("1 Way\nQuebec"), rule);
        assert_eq!(entries(&answer), [format!("(Registrant Address): removal {label}")]);
        assert!(!answer.to_string().contains("Quebec"), "{answer}");
        assert_eq!(entries(&scrubbed(&plan(), &address(""), rule)), [""; 0]);
    }
    let entities = record("$..entities[*]", &["@.handle"], FIELDS);
    let mapping = Mapping {
        redaction: Redaction::Rfc9537,
        redact: vec![category("postal-address")],
        ..mapping(vec![entities, record("$", &[], &[("@.objectClassName", "non-personal")])])
    };
    let plan = Arc::new(compile(&mapping).unwrap());
    let answer = scrubbed(&plan, &address("of c@x.org"), but(&[]));
    assert_eq!(entries(&answer), [format!("(Registrant Address): partialValue {label}")]);
    assert_eq!(answer["entities"][0]["vcardArray"][1][1][1]["label"], "of [redacted]");
}

#[test]
fn a_component_of_several_values_is_mentioned() {
    let value = json!(["", "", ["1 Way", "Rear"], "", "", "", ["", ""]]);
    let body = domain(&[entity(&json!(["registrant"]), &[json!(["adr", {}, "text", value])])]).to_string();
    for (form, method) in [
        (Form::Removed, "emptyValue"),
        (Form::Masked, "partialValue"),
        (Form::Pseudonymised, "replacementValue"),
    ] {
        let rule = move |_: Option<&JudgedRecord>, id| {
            if id == category("postal-address") { form } else { Form::Clear }
        };
        let answer = scrubbed(&plan(), &body, rule);
        let street = format!("Registrant Street: {method} $.entities[0].vcardArray[1][1][3][:3]");
        assert_eq!(entries(&answer), [street], "{answer}");
    }
    // Some of what is there stays.
    let rear = ("@.vcardArray[1][?@[0] == 'adr'][3][2][1]", "name");
    let plan = told(vec![
        record("$..entities[*]", &["@.handle"], &[FIELDS, &[rear]].concat()),
        record("$", &[], &[("@.objectClassName", "non-personal")]),
    ]);
    let answer = scrubbed(&plan, &body, but(&[("name", Form::Removed)]));
    assert_eq!(entries(&answer), ["Registrant Street: partialValue $.entities[0].vcardArray[1][1][3][:3]"]);
}

#[test]
fn each_search_result_says_what_of_it_was_redacted() {
    let lists = [
        "domainSearchResults",
        "nameserverSearchResults",
        "entitySearchResults",
        "ipSearchResults",
        "autnumSearchResults",
    ];
    for list in lists {
        let fields = [
            (format!("$.{list}[*].objectClassName"), "non-personal"),
            (format!("$.{list}[?@.handle == 'C']"), "name"),
            (format!("$.{list}[*].handle"), "email"),
            (format!("$.{list}[*].redacted"), "non-personal"),
            ("$.port43".to_owned(), "email"),
            ("$.rdapConformance".to_owned(), "non-personal"),
        ];
        let fields: Vec<_> = fields.iter().map(|(path, category)| (path.as_str(), *category)).collect();
        let plan = told(vec![record("$", &[], &fields)]);
        let theirs = json!({"name": {"description": "x"}, "method": "removal"});
        let mut body = json!({"rdapConformance": ["rdap_level_0"]});
        body[list] = json!([
            {"objectClassName": "domain", "handle": "A"},
            {"objectClassName": "entity", "handle": "B", "redacted": [theirs]},
            {"objectClassName": "ip network"},
            {"handle": "C"},
        ]);
        let withheld = but(&[("name", Form::Removed), ("email", Form::Removed)]);
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]));
        assert_eq!(entries(&answer), [format!("(name): removal $.{list}[3]")]);
        assert_eq!(entries(&answer[list][0]), [format!("Registry Domain ID: removal $.{list}[0].handle")]);
        assert_eq!(answer[list][1]["redacted"][0], theirs);
        assert_eq!(answer[list][1]["redacted"][1]["prePath"], format!("$.{list}[1].handle"));
        assert_eq!(answer[list].as_array().unwrap()[2..], [json!({"objectClassName": "ip network"})]);
        // Where every result that has something to say stays, the topmost object says nothing.
        body[list].as_array_mut().unwrap().pop();
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]));
        assert!(answer.get("redacted").is_none(), "{answer}");
        // Elsewhere a list of that name is none.
        let body = json!({"port43": "x", "y": {list: [{"objectClassName": "domain", "handle": "A"}]}});
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(entries(&answer), ["(email): removal $.port43"]);
    }
}

#[test]
fn a_card_stays_one_when_all_of_it_is_withheld() {
    let withheld = but(&[("name", Form::Removed), ("email", Form::Removed)]);
    let card = |properties: Value| {
        let mut body = domain(&[entity(&json!(["registrant"]), &[])]);
        body["entities"][0]["vcardArray"] = json!(["vcard", properties]);
        scrubbed(&plan(), &body.to_string(), withheld)["entities"][0]["vcardArray"].clone()
    };
    let email = json!(["email", {}, "text", "jane@x.org"]);
    assert_eq!(card(json!([["fn", {}, "text", "Jane"], email])), json!(["vcard", [["fn", {}, "text", ""]]]));
    assert_eq!(card(json!([email])), json!(["vcard", []]));
    assert_eq!(card(json!([])), json!(["vcard", []]));
    assert_eq!(card(json!("Jane")), json!(["vcard"]));
}

#[test]
fn nothing_stands_in_the_place_of_what_is_removed() {
    for removed_as in [RemovedAs::Null, RemovedAs::Empty] {
        let own = [("@.handle", "name"), ("@.rdapConformance", "non-personal")];
        let mapping =
            Mapping { redaction: Redaction::Rfc9537, removed_as, ..mapping(vec![record("$", &[], &own)]) };
        let body = json!({"rdapConformance": ["rdap_level_0"], "handle": "H", "x": [1]}).to_string();
        let answer = scrubbed(&Arc::new(compile(&mapping).unwrap()), &body, but(&[("name", Form::Removed)]));
        assert!(answer.get("handle").is_none() && answer.get("x").is_none(), "{answer}");
    }
}

#[test]
fn many_fields_take_time_in_proportion() {
    let own = [("@.handle", "service-data"), ("$.x.*", "name"), ("$.list[*].y", "name")];
    let mapping = Mapping { redaction: Redaction::Rfc9537, ..mapping(vec![record("$", &[], &own)]) };
    let plan = Arc::new(compile(&mapping).unwrap());
    let withheld = but(&[("name", Form::Removed)]);
    let run = |plan: &Arc<Plan>, body: &Value| -> Value {
        let body = body.to_string();
        let mut rules = RuleJudge::new(plan, withheld);
        let out = scrub_in(plan, &mut rules, body.as_bytes(), usize::MAX, Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    // Names that nobody may say.
    let many: serde_json::Map<String, Value> = (0..40_000).map(|n| (format!("n{n}"), json!(1))).collect();
    assert_eq!(entries(&run(&plan, &json!({"handle": "H", "x": many}))), [""; 0]);
    let many = vec![json!({"y": 1}); 40_000];
    let listed = entries(&run(&plan, &json!({"handle": "H", "list": many})));
    assert_eq!(listed.len(), 4096);
    assert_eq!(listed[4095], "(name): removal $.list[4095].y");
    // Of one name and kind each, and each in a result of its own.
    let fields = [
        ("@.r[*].vcardArray[1][?@[0] == 'tel']", "name"),
        ("@.domainSearchResults[*].y", "name"),
        ("@..objectClassName", "non-personal"),
    ];
    let plan = told(vec![record("$", &[], &fields)]);
    let tel: Vec<_> = (0..10_000).map(|n| json!(["tel", {"type": "fax"}, "text", n.to_string()])).collect();
    let results = vec![json!({"objectClassName": "domain", "y": 1}); 10_000];
    let answer = run(&plan, &json!({"r": [{"vcardArray": ["vcard", tel]}]}));
    assert_eq!(entries(&answer), ["(Contact Fax): removal $.r[0].vcardArray[1][?(@[0]=='tel')]"]);
    let answer = run(&plan, &json!({"domainSearchResults": results}));
    assert_eq!(entries(&answer["domainSearchResults"][4095]).len(), 1);
    assert_eq!(answer["domainSearchResults"][4096], json!({"objectClassName": "domain"}));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever leaves in which form: nothing withheld leaves, contacts are jCards, and every path
    /// leads to what it says, in the answer before or after.
    #[test]
    fn every_path_leads_to_what_was_redacted(
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
        let rule = move |_: Option<&JudgedRecord>, id: CategoryId| {
            let at = CATEGORIES.iter().position(|name| category(name) == id);
            at.map_or(Form::Clear, |at| by_category[at])
        };
        let out = scrub_in(&plan, &mut RuleJudge::new(&plan, rule), body.to_string().as_bytes(), 33, Limits::default()).unwrap();
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
            // What is removed is found in the answer that was alone.
            prop_assert!(entry["method"] != "removal" || path.query(&answer).is_empty(), "{} {}", entry, answer);
            let emptied = |value: &&Value| *value == "" || value.as_array().is_some_and(|all| all.iter().all(|one| one == ""));
            prop_assert!(entry["method"] != "emptyValue" || found.iter().all(emptied), "{} {:?}", entry, found);
        }
    }
}
