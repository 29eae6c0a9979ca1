//! RDAP answers that list their redactions (RFC 9537), with contacts that stay jCards (RFC 7095).

mod paths;

use serde_json::{Value, json};

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
    listing_plan(vec![entities, record("$", &[], &own)])
}

/// Returns a plan that lists redactions.
fn listing_plan(records: Vec<RecordMapping>) -> Arc<Plan> {
    Arc::new(compile(&Mapping { redaction: Redaction::Rfc9537, ..mapping(records) }).unwrap())
}

/// Returns an entity with these roles and, besides `version`, these properties.
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
    rule: impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy + 'static,
) -> Value {
    let run = |chunk: usize| {
        scrub_in(plan, &mut TestPolicy::new(plan, rule), body.as_bytes(), chunk, Limits::default()).unwrap()
    };
    let whole = run(usize::MAX);
    for chunk in [1, 7, 100] {
        assert_eq!(run(chunk), whole);
    }
    serde_json::from_slice(&whole)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&whole)))
}

/// Returns a rule with a form for each of these categories. All others are clear.
fn clear_except(
    forms: &'static [(&'static str, Form)],
) -> impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy {
    move |_, id| forms.iter().find(|(name, _)| category(name) == id).map_or(Form::Clear, |(_, form)| *form)
}

/// Returns each entry as `name: method path`.
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
fn removed_fields_are_listed_and_contacts_stay_jcards() {
    let body = domain(&[entity(&json!(["registrant"]), &people())]).to_string();
    let withheld = clear_except(&[
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
    let forms = clear_except(&[
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
fn entries_of_the_upstream_are_kept() {
    let name = clear_except(&[("name", Form::Removed)]);
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
fn answers_without_redactions_have_no_entries() {
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    let named = |text: &str| domain(&[entity(&json!(["registrant"]), &[json!(["fn", {}, "text", text])])]);
    let body = named("Jane");
    assert_eq!(scrubbed(&plan(), &body.to_string(), clear), body);
    // Empty values are not redacted, and unclassified fields have no entry.
    let mut empty = named("");
    empty["entities"][0]["vcardArray"][1].as_array_mut().unwrap().push(json!(["x-jane", {}, "text", "Jane"]));
    empty["jane@x.org"] = json!(1);
    let answer = scrubbed(&plan(), &empty.to_string(), clear_except(&[("name", Form::Removed)]));
    assert_eq!(answer, named(""));
}

#[test]
fn invalid_jcards_are_dropped_whole() {
    let name = clear_except(&[("name", Form::Removed)]);
    for property in [json!(["fn", {}, "Jane Doe", "Jane Doe"]), json!(["fn", {}, "text"]), json!(["fn"])] {
        let body = domain(&[entity(&json!(["jane@x.org"]), &[property])]);
        let answer = scrubbed(&plan(), &body.to_string(), name);
        assert_eq!(entries(&answer), ["(Contact Name): removal $.entities[0].vcardArray[1][?(@[0]=='fn')]"]);
        assert_eq!(answer["entities"][0]["vcardArray"], json!(["vcard", [["version", {}, "text", "4.0"]]]));
    }
    // A masked property is dropped if its type is no listed word, since it could be a value.
    let masked = clear_except(&[("name", Form::Masked)]);
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
        let out = scrub_in(&plan, &mut TestPolicy::new(&plan, name), body.as_bytes(), 1, Limits::default());
        assert_eq!(
            String::from_utf8(out.unwrap()).unwrap(),
            if body == "{}" || body == "[]" { body } else { "null" }
        );
    }
}

#[test]
fn generalised_addresses_keep_only_disclosable_components() {
    let state = ("@.vcardArray[1][?@[0] == 'adr'][3][4]", "name");
    let entities = record("$..entities[*]", &["@.handle"], &[FIELDS, &[state]].concat());
    let own = [("@['objectClassName','rdapConformance']", "non-personal")];
    let mut mapping =
        Mapping { redaction: Redaction::Rfc9537, ..mapping(vec![entities, record("$", &[], &own)]) };
    let plan = |mapping: &Mapping| Arc::new(compile(mapping).unwrap());
    let forms = clear_except(&[("postal-address", Form::Generalised), ("name", Form::Removed)]);
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
    // Components that an address keeps are redacted as well.
    mapping.redact = vec![category("postal-address")];
    let answer = scrubbed(&plan(&mapping), &address(json!("QC"), json!("c@x.org")), forms);
    assert_eq!(left(&answer)[6], "[redacted]");
    mapping.redact.clear();
    mapping.withhold_echoes = true;
    let answer = scrubbed(&plan(&mapping), &address(json!("Annabella"), json!("of Annabella")), forms);
    assert_eq!(left(&answer)[6], "of [redacted]");
}

#[test]
fn only_listed_words_of_parameters_stay() {
    for form in [Form::Masked, Form::Pseudonymised] {
        let forms = clear_except(&[("phone", Form::Masked), ("email", Form::Pseudonymised)]);
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
fn jcard_words_are_not_searched_for_as_echoes() {
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
    let answer = scrubbed(&plan, &body, clear_except(&[("phone", Form::Removed)]));
    assert_eq!(
        answer["entities"][0]["vcardArray"][1],
        json!([
            ["version", {}, "text", "4.0"],
            ["org", {}, "text", "Voice of +49 151234567"],
            ["fn", {}, "text", "tel +[redacted]"],
        ])
    );
}

#[test]
fn labels_with_an_address_have_entries() {
    let address = |label: &str| {
        let parameters = json!({"cc": "CA", "label": label});
        let value = ["", "", "", "", "", "", ""];
        domain(&[entity(&json!(["registrant"]), &[json!(["adr", parameters, "text", value])])]).to_string()
    };
    let label = "$.entities[0].vcardArray[1][1][1].label";
    for form in [Form::Removed, Form::Masked, Form::Generalised, Form::Pseudonymised] {
        let rule = move |_: Option<&DecidedRecord>, id| {
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
    let answer = scrubbed(&plan, &address("of c@x.org"), clear_except(&[]));
    assert_eq!(entries(&answer), [format!("(Registrant Address): partialValue {label}")]);
    assert_eq!(answer["entities"][0]["vcardArray"][1][1][1]["label"], "of [redacted]");
}

#[test]
fn components_with_several_values_have_one_entry() {
    let value = json!(["", "", ["1 Way", "Rear"], "", "", "", ["", ""]]);
    let body = domain(&[entity(&json!(["registrant"]), &[json!(["adr", {}, "text", value])])]).to_string();
    for (form, method) in [
        (Form::Removed, "emptyValue"),
        (Form::Masked, "partialValue"),
        (Form::Pseudonymised, "replacementValue"),
    ] {
        let rule = move |_: Option<&DecidedRecord>, id| {
            if id == category("postal-address") { form } else { Form::Clear }
        };
        let answer = scrubbed(&plan(), &body, rule);
        let street = format!("Registrant Street: {method} $.entities[0].vcardArray[1][1][3][:3]");
        assert_eq!(entries(&answer), [street], "{answer}");
    }
    // One of two values stays.
    let rear = ("@.vcardArray[1][?@[0] == 'adr'][3][2][1]", "name");
    let plan = listing_plan(vec![
        record("$..entities[*]", &["@.handle"], &[FIELDS, &[rear]].concat()),
        record("$", &[], &[("@.objectClassName", "non-personal")]),
    ]);
    let answer = scrubbed(&plan, &body, clear_except(&[("name", Form::Removed)]));
    assert_eq!(entries(&answer), ["Registrant Street: partialValue $.entities[0].vcardArray[1][1][3][:3]"]);
}

#[test]
fn each_search_result_lists_its_own_redactions() {
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
        let plan = listing_plan(vec![record("$", &[], &fields)]);
        let theirs = json!({"name": {"description": "x"}, "method": "removal"});
        let mut body = json!({"rdapConformance": ["rdap_level_0"]});
        body[list] = json!([
            {"objectClassName": "domain", "handle": "A"},
            {"objectClassName": "entity", "handle": "B", "redacted": [theirs]},
            {"objectClassName": "ip network"},
            {"handle": "C"},
        ]);
        let withheld = clear_except(&[("name", Form::Removed), ("email", Form::Removed)]);
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]));
        assert_eq!(entries(&answer), [format!("(name): removal $.{list}[3]")]);
        assert_eq!(entries(&answer[list][0]), [format!("Registry Domain ID: removal $.{list}[0].handle")]);
        assert_eq!(answer[list][1]["redacted"][0], theirs);
        assert_eq!(answer[list][1]["redacted"][1]["prePath"], format!("$.{list}[1].handle"));
        assert_eq!(answer[list].as_array().unwrap()[2..], [json!({"objectClassName": "ip network"})]);
        // If every result with redactions stays, the topmost object has no entries.
        body[list].as_array_mut().unwrap().pop();
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(answer["rdapConformance"], json!(["rdap_level_0", "redacted"]));
        assert!(answer.get("redacted").is_none(), "{answer}");
        // A member of that name deeper in the answer is no list of results.
        let body = json!({"port43": "x", "y": {list: [{"objectClassName": "domain", "handle": "A"}]}});
        let answer = scrubbed(&plan, &body.to_string(), withheld);
        assert_eq!(entries(&answer), ["(email): removal $.port43"]);
    }
}

#[test]
fn cards_stay_valid_when_everything_is_withheld() {
    let withheld = clear_except(&[("name", Form::Removed), ("email", Form::Removed)]);
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
fn removed_members_have_no_placeholder() {
    for removed_as in [RemovedAs::Null, RemovedAs::Empty] {
        let own = [("@.handle", "name"), ("@.rdapConformance", "non-personal")];
        let mapping =
            Mapping { redaction: Redaction::Rfc9537, removed_as, ..mapping(vec![record("$", &[], &own)]) };
        let body = json!({"rdapConformance": ["rdap_level_0"], "handle": "H", "x": [1]}).to_string();
        let answer =
            scrubbed(&Arc::new(compile(&mapping).unwrap()), &body, clear_except(&[("name", Form::Removed)]));
        assert!(answer.get("handle").is_none() && answer.get("x").is_none(), "{answer}");
    }
}

#[test]
fn large_answers_take_linear_time_and_entries_are_bounded() {
    let own = [("@.handle", "service-data"), ("$.x.*", "name"), ("$.list[*].y", "name")];
    let mapping = Mapping { redaction: Redaction::Rfc9537, ..mapping(vec![record("$", &[], &own)]) };
    let plan = Arc::new(compile(&mapping).unwrap());
    let withheld = clear_except(&[("name", Form::Removed)]);
    let run = |plan: &Arc<Plan>, body: &Value| -> Value {
        let body = body.to_string();
        let mut policy = TestPolicy::new(plan, withheld);
        let out = scrub_in(plan, &mut policy, body.as_bytes(), usize::MAX, Limits::default()).unwrap();
        serde_json::from_slice(&out).unwrap()
    };
    // Names that the mapping does not contain.
    let many: serde_json::Map<String, Value> = (0..40_000).map(|n| (format!("n{n}"), json!(1))).collect();
    assert_eq!(entries(&run(&plan, &json!({"handle": "H", "x": many}))), [""; 0]);
    let many = vec![json!({"y": 1}); 40_000];
    let listed = entries(&run(&plan, &json!({"handle": "H", "list": many})));
    assert_eq!(listed.len(), 4096);
    assert_eq!(listed[4095], "(name): removal $.list[4095].y");
    // Properties of one name and kind, and results with one redaction each.
    let fields = [
        ("@.r[*].vcardArray[1][?@[0] == 'tel']", "name"),
        ("@.domainSearchResults[*].y", "name"),
        ("@..objectClassName", "non-personal"),
    ];
    let plan = listing_plan(vec![record("$", &[], &fields)]);
    let tel: Vec<_> = (0..10_000).map(|n| json!(["tel", {"type": "fax"}, "text", n.to_string()])).collect();
    let results = vec![json!({"objectClassName": "domain", "y": 1}); 10_000];
    let answer = run(&plan, &json!({"r": [{"vcardArray": ["vcard", tel]}]}));
    assert_eq!(entries(&answer), ["(Contact Fax): removal $.r[0].vcardArray[1][?(@[0]=='tel')]"]);
    let answer = run(&plan, &json!({"domainSearchResults": results}));
    assert_eq!(entries(&answer["domainSearchResults"][4095]).len(), 1);
    assert_eq!(answer["domainSearchResults"][4096], json!({"objectClassName": "domain"}));
}
