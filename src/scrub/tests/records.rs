//! Records: who is asked about what, and what of a record leaves.

use super::*;
use crate::decision::{Extracted, RecordFacts};
use crate::vocabulary::{IdRule, Namespaces, Normalization};

fn clear(_: Option<&JudgedRecord>, _: CategoryId) -> Form {
    Form::Clear
}

fn nothing(_: Option<&JudgedRecord>, _: CategoryId) -> Form {
    Form::Removed
}

/// Everything about subject 1 is clear, nothing about anybody else.
fn of_one(seen: Option<&JudgedRecord>, _: CategoryId) -> Form {
    match seen.and_then(|seen| seen.subjects.as_deref()) {
        Some(subjects) if subjects.iter().all(|id| id == "1") => Form::Clear,
        _ => Form::Removed,
    }
}

fn ids(rules: &RuleJudge) -> Vec<Option<Vec<String>>> {
    rules.records.iter().map(|seen| seen.subjects.clone()).collect()
}

fn one(id: &str) -> Option<Vec<String>> {
    Some(vec![id.to_owned()])
}

#[test]
fn a_list_is_judged_element_by_element() {
    let mapping = mapping(vec![record(
        "$.items[*]",
        &["@.id"],
        &[("@.id", "non-personal"), ("@.name", "name"), ("@.contact.email", "email")],
    )]);
    let body = r#"{"total": 3, "items": [
  {"name": "A", "id": 1, "contact": {"email": "a@x", "fax": "1"}},
  {"contact": {"email": "b@x"}, "name": "B", "id": 2},
  {"id": "1", "name": "C", "note": "n"}
]}"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{ "items": [
  {"name": "A", "id": 1, "contact": {"email": "a@x"}},
  { "id": 2},
  {"id": "1", "name": "C"}
]}"#
    );
    assert_eq!(ids(&rules), [one("1"), one("2"), one("1")]);
    let (out, _) = scrub(&mapping, body, nothing);
    assert_eq!(out, "{ \"items\": [\n  { \"id\": 1},\n  { \"id\": 2},\n  {\"id\": \"1\"}\n]}");
}

#[test]
fn a_stripped_record_stays_as_an_object_and_an_empty_list_as_a_list() {
    let mapping = mapping(vec![record("$.items[*]", &["@.id"], &[("@.name", "name")])]);
    for (body, rest) in [
        (r#"{"items":[{"name":"A"},{"name":"B","id":1}]}"#, r#"{"items":[{},{}]}"#),
        (r#"{"items":[]}"#, r#"{"items":[]}"#),
        (r#"{"items":"secret"}"#, "{}"),
        (r#"{"items":{"a":1}}"#, r#"{"items":{}}"#),
        (r#"{"items":["A",1,null]}"#, r#"{"items":[]}"#),
        (r#"{"other":[1,2]}"#, "{}"),
        (r#"[1,{"items":[]}]"#, "[]"),
        ("12", "null"),
    ] {
        assert_eq!(scrub(&mapping, body, nothing).0, rest, "{body}");
    }
}

#[test]
fn the_innermost_record_governs_its_fields() {
    let mapping = mapping(vec![
        record("$.customers[*]", &["@.id"], &[("@.name", "name"), ("@.orders[*].total", "billing")]),
        record("$.customers[*].orders[*].buyer", &["@.id"], &[("@.name", "name")]),
    ]);
    let body = r#"{"customers":[{"id":1,"name":"A","orders":[{"total":5,"buyer":{"id":2,"name":"B"}}]},{"id":3,"name":"C","orders":[{"total":6,"buyer":{"id":1,"name":"A"}}]}]}"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{"customers":[{"name":"A","orders":[{"total":5,"buyer":{}}]},{"orders":[{"buyer":{"name":"A"}}]}]}"#
    );
    assert_eq!(ids(&rules), [one("1"), one("2"), one("3"), one("1")]);
}

#[test]
fn a_record_without_a_usable_subject_has_none() {
    let mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name"), ("@.s", "non-personal")])]);
    let body = r#"[{"n":1},{"id":null,"n":1},{"id":1.0,"n":1},{"id":true,"n":1},{"id":{"x":1},"n":1},{"id":[1],"n":1},{"id":"","n":1},{"id":1e0,"n":1,"s":2},7]"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"[{},{},{},{},{},{},{},{"s":2}]"#);
    assert!(ids(&rules).iter().all(Option::is_none));
}

#[test]
fn a_duplicated_subject_is_none() {
    let mut mapping = mapping(vec![record("$[*]", &["@.who.id"], &[("@.n", "name")])]);
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let body = r#"[{"who":{"id":1,"id":1},"n":1},{"who":{"id":1},"who":{"id":1},"n":1},{"who":{"id":1},"who":{},"n":1},{"who":{"\u0069d":1,"x":1,"x":2},"n":1,"n":2}]"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(ids(&rules), [None, None, None, one("1")]);
    assert_eq!(out, r#"[{},{},{},{"n":1,"n":2}]"#);
}

#[test]
fn a_record_about_several_people_names_them_all() {
    let mapping = mapping(vec![record("$[*]", &["@.a", "@.others[*].id"], &[("@.n", "name")])]);
    let body = r#"[{"a":1,"others":[{"id":1},{"id":1}],"n":1},{"a":1,"others":[{"id":2},{"id":1}],"n":1},{"a":1,"others":[],"n":1},{"others":[{"id":1}],"n":1},{"a":1,"others":[{"id":1},{"id":{}}],"n":1}]"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"[{"n":1},{},{},{},{}]"#);
    assert_eq!(rules.records[1].subjects.as_ref().unwrap().len(), 3);
    assert_eq!(rules.records.iter().filter(|seen| seen.subjects.is_none()).count(), 3);
}

/// The reader of a namespace whose ids are lower-cased, and may be references.
fn lowercase(namespace: &str) -> IdReader {
    let normalise = Normalization { lowercase: true, ..Normalization::default() };
    let rule = IdRule::new(normalise, Some("^(?:Customer/)?([^/]+)$")).unwrap();
    Namespaces::new([(namespace.into(), rule)]).reader(Some(namespace))
}

#[test]
fn several_spellings_of_a_person_are_one_subject_and_of_an_account_one_controller() {
    let mut set = record("$[*]", &["@.a", "@.b"], &[("@.n", "name")]);
    set.subjects.iter_mut().for_each(|source| source.ids = lowercase("crm"));
    set.controller =
        Some(SubjectSource { path: "@.of[*]".into(), ids: lowercase("accounts"), optional: false });
    let body = r#"[{"a":"X","b":"Customer/x","of":["ACME","customer/acme"],"n":1},{"a":"X","b":"Other/x","of":["Other/x"],"n":1}]"#;
    let (out, rules) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(ids(&rules), [Some(vec!["x".to_owned(), "x".to_owned()]), None]);
    assert_eq!(rules.records[0].controller.as_deref(), Some("acme"));
    assert_eq!(rules.facts[1].account_closed, Extracted::Unreadable, "an account that cannot be told");
    assert!(out.starts_with(r#"[{"n":1}"#), "{out}");
}

#[test]
fn a_subject_from_the_requests_path() {
    let mut set = record("$", &["{id}"], &[("@.n", "name")]);
    set.subjects[0].ids = lowercase("crm");
    let plan = Arc::new(compile(&mapping(vec![set])).unwrap());
    for (parameters, id) in
        [(&[("id", "ABC")][..], one("abc")), (&[("other", "1")][..], None), (&[("id", "")], None)]
    {
        let mut rules = RuleJudge::new(&plan, clear);
        let mut scrubber =
            Scrubber::new(plan.clone(), forms(), parameters, Limits::default(), Framing::Document);
        scrubber.feed(b"{\"n\":1}", &mut rules, &mut Vec::new()).unwrap();
        scrubber.finish(&mut rules, &mut Vec::new()).unwrap();
        assert_eq!(ids(&rules), [id]);
    }
}

#[test]
fn a_subject_from_the_document_is_found_before_and_after() {
    let mapping = mapping(vec![record("$.orders[*]", &["$.customer.id"], &[("@.n", "name")])]);
    let (out, rules) = scrub(&mapping, r#"{"orders":[{"n":1},{"n":2}],"customer":{"id":1}}"#, of_one);
    assert_eq!(out, r#"{"orders":[{"n":1},{"n":2}]}"#);
    assert_eq!(ids(&rules), [one("1"), one("1")]);
}

#[test]
fn classes_come_from_the_nearest_classified_ancestor_and_add_up() {
    let mapping = mapping(vec![record(
        "$",
        &[],
        &[
            ("@.a", "name"),
            ("@.a.b", "email"),
            ("@.c", "billing"),
            ("@.c", "service-data"),
            ("$.d", "phone"),
            ("@..deep", "location"),
        ],
    )]);
    let plan = compile(&mapping).unwrap();
    let has = |names: &[&str]| {
        let mut categories: Vec<_> = names.iter().map(|name| category(name)).collect();
        categories.sort();
        plan.classes().contains(&Class { categories })
    };
    assert!(
        has(&[]) && has(&["name"]) && has(&["email"]) && has(&["billing", "service-data"]) && has(&["phone"])
    );
    assert!(!has(&["billing"]));
    let body = r#"{"a":{"x":1,"b":{"y":2}},"c":3,"d":{"deep":4,"z":5},"e":{"deep":[6]}}"#;
    let only = |name: &'static str| {
        move |_: Option<&JudgedRecord>, id: CategoryId| {
            if id == category(name) { Form::Clear } else { Form::Removed }
        }
    };
    assert_eq!(scrub(&mapping, body, only("name")).0, r#"{"a":{"x":1}}"#);
    assert_eq!(scrub(&mapping, body, only("email")).0, r#"{"a":{"b":{"y":2}}}"#);
    assert_eq!(scrub(&mapping, body, only("billing")).0, "{}");
    assert_eq!(scrub(&mapping, body, only("phone")).0, r#"{"d":{"z":5}}"#);
    assert_eq!(scrub(&mapping, body, only("location")).0, r#"{"d":{"deep":4},"e":{"deep":[6]}}"#);
    assert_eq!(scrub(&mapping, body, clear).0, body);
}

#[test]
fn filtered_fields_have_their_own_class() {
    let mapping = mapping(vec![record(
        "$[*]",
        &["@.id"],
        &[
            ("@.telecom[?@.system=='phone'].value", "phone"),
            ("@.telecom[?@.system=='email'].value", "email"),
            ("@.telecom[*].value", "service-data"),
            ("@.list[-1]", "name"),
        ],
    )]);
    let body = r#"[{"id":1,"telecom":[{"system":"phone","value":"p"},{"value":"e","system":"email"},{"value":"x"}],"list":[1,2,3]}]"#;
    let without_email = |_: Option<&JudgedRecord>, id: CategoryId| {
        if id == category("email") { Form::Removed } else { Form::Clear }
    };
    let (out, rules) = scrub(&mapping, body, without_email);
    assert_eq!(out, r#"[{"telecom":[{"value":"p"},{"value":"x"}],"list":[3]}]"#);
    let plan = compile(&mapping).unwrap();
    let class = |names: &[&str]| {
        let mut categories: Vec<_> = names.iter().map(|name| category(name)).collect();
        categories.sort();
        plan.classes().iter().position(|class| class.categories == categories).unwrap()
    };
    let fields = &rules.fields[0];
    assert_eq!(fields[class(&["phone", "service-data"])], 1);
    assert_eq!(fields[class(&["email", "service-data"])], 1);
    assert_eq!(fields[class(&["service-data"])], 1);
    assert_eq!(fields[class(&["name"])], 1);
}

#[test]
fn any_number_of_conditions_may_meet() {
    // A jCard's properties, each found by its name; two of them by another condition too.
    let listed: Vec<String> = (0..40).map(|n| format!("@.card[?@[0] == 'p{n}']")).collect();
    let mut fields: Vec<(&str, &str)> =
        listed.iter().zip(CATEGORIES.iter().cycle()).map(|(path, id)| (&**path, *id)).collect();
    let more = ["ip-address", "company", "job-title", "language", "date-of-birth", "username"];
    let more: Vec<(String, &str)> =
        (1..).zip(more).map(|(n, id)| (format!("@.card[?@[1] == {n}]"), id)).collect();
    fields.extend(more.iter().map(|(path, id)| (&**path, *id)));
    fields.push(("@.card[?@[2]]", "email"));
    let mapping = mapping(vec![record("$", &[], &fields)]);
    let only = |withheld: &'static str| {
        move |_: Option<&JudgedRecord>, id: CategoryId| {
            if id == category(withheld) { Form::Removed } else { Form::Clear }
        }
    };
    // `p0` is a name, `p1` an e-mail address, 2 a company.
    let body = r#"{"card":[["p0",0],["p1",9],["p0",2],["p2",9,1],["x",9]]}"#;
    assert_eq!(scrub(&mapping, body, only("name")).0, r#"{"card":[["p1",9],["p2",9,1]]}"#);
    assert_eq!(scrub(&mapping, body, only("email")).0, r#"{"card":[["p0",0],["p0",2]]}"#);
    assert_eq!(scrub(&mapping, body, only("company")).0, r#"{"card":[["p0",0],["p1",9],["p2",9,1]]}"#);
    // Three at once were not foreseen: they count as all of them.
    let three = r#"{"card":[["p0",2,1]]}"#;
    assert_eq!(scrub(&mapping, three, only("language")).0, "{}");
    assert_eq!(scrub(&mapping, three, clear).0, three);
}

#[test]
fn filtered_records_and_their_neighbours() {
    let mapping = mapping(vec![record(
        "$.list[?@.type=='person']",
        &["@.id"],
        &[("@.n", "name"), ("$.list[*].type", "non-personal")],
    )]);
    let body = r#"{"list":[{"type":"person","id":1,"n":"A"},{"type":"cat","id":9,"n":"B"},{"n":"C","id":2,"type":"person"},{"type":"dog"}]}"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{"list":[{"type":"person","n":"A"},{"type":"cat"},{"type":"person"},{"type":"dog"}]}"#
    );
    assert_eq!(ids(&rules), [one("1"), one("2")]);
}

#[test]
fn records_at_any_depth() {
    let mapping = mapping(vec![record("$..person", &["@.id"], &[("@.n", "name")])]);
    let body = r#"{"a":{"b":[{"person":{"id":1,"n":"A","person":{"id":2,"n":"B"}}},{"c":{"d":1}}]},"x":{"y":[1]},"person":{"n":"C","id":1}}"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"{"a":{"b":[{"person":{"n":"A","person":{}}}]},"person":{"n":"C"}}"#);
    assert_eq!(ids(&rules), [one("1"), one("2"), one("1")]);
}

#[test]
fn a_node_that_two_sets_claim_is_nobodys() {
    let mapping = mapping(vec![
        record("$.a", &["@.id"], &[("@.n", "name")]),
        record("$[*]", &["@.other"], &[("@.m", "email")]),
    ]);
    let (out, rules) =
        scrub(&mapping, r#"{"a":{"id":1,"other":1,"n":1,"m":1},"b":{"other":1,"m":1}}"#, of_one);
    assert_eq!(out, r#"{"a":{},"b":{"m":1}}"#);
    assert_eq!(ids(&rules), [None, one("1")]);
}

#[test]
fn outside_of_records_nothing_is_anybodys() {
    let mapping = mapping(vec![record(
        "$.items[*]",
        &["@.id"],
        &[("$.total", "non-personal"), ("$.owner", "name"), ("$.meta.page", "non-personal")],
    )]);
    let body = r#"{"total":2,"owner":"O","meta":{"page":{"n":1},"x":1},"more":{"a":1},"items":[],"last":3}"#;
    let (out, rules) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"{"total":2,"meta":{"page":{"n":1}},"items":[]}"#);
    assert!(rules.records.is_empty());
    let (out, _) = scrub(&mapping, r#"{"meta":{"x":1,"y":{}}}"#, of_one);
    assert_eq!(out, "{}");
}

#[test]
fn removed_as_null_and_empty() {
    let mut mapping = mapping(vec![record("$.items[*]", &["@.id"], &[("@.n", "name"), ("$.m.t", "name")])]);
    let body =
        r#"{"x":1,"m":{"t":"v","u":[]},"items":[{"id":2,"n":"B","o":{"p":1}},{"n":[],"id":1,"s":"z"}]}"#;
    mapping.removed_as = RemovedAs::Null;
    let (out, _) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{"x":null,"m":null,"items":[{"id":null,"n":null,"o":null},{"n":[],"id":null,"s":null}]}"#
    );
    mapping.removed_as = RemovedAs::Empty;
    let (out, _) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"{"x":null,"m":{},"items":[{"id":null,"n":"","o":{}},{"n":[],"id":null,"s":""}]}"#);
}

#[test]
fn unclassified_released() {
    let mut mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name")])]);
    mapping.unclassified = Unclassified::Release;
    let (out, rules) = scrub(&mapping, r#"[{"id":2,"n":"B","o":{"p":1}}]"#, of_one);
    assert_eq!(out, r#"[{"id":2,"o":{"p":1}}]"#);
    assert_eq!(rules.fields[0][0], 2, "unclassified fields are counted");
}

#[test]
fn only_scalars_of_a_generalised_address_are_its_country_and_region() {
    let address = r#"{"street":"Hauptstr. 1","country":"DE","region":{"code":"BE","zip":"10115","country":"DE"},"state":["Hauptstr. 1"],"x":{"country":"DE","y":"z"},"phone":"1"}"#;
    let rest = r#"{"country":"DE","region":{"country":"DE"},"state":["***"],"x":{"country":"DE"}}"#;
    let rule = |_: Option<&JudgedRecord>, id: CategoryId| {
        if id == category("postal-address") { Form::Generalised } else { Form::Removed }
    };
    // With something else inside of it, and without.
    for (field, with) in [("@.address.phone", ""), ("@.phone", r#""phone":"1","#)] {
        let set = record("$[*]", &["@.id"], &[("@.address", "postal-address"), (field, "phone")]);
        let address =
            address.replace(r#","phone":"1""#, if with.is_empty() { r#","phone":"1""# } else { "" });
        let (out, _) =
            scrub(&mapping(vec![set]), &format!(r#"[{{"id":1,{with}"address":{address}}}]"#), rule);
        assert_eq!(out, format!(r#"[{{"address":{rest}}}]"#), "{field}");
    }
}

#[test]
fn facts_are_read_where_paths_are_too_many_to_be_told_apart() {
    let wild = format!("@..x{}", ".*".repeat(14));
    let mut set = record("$", &["@.id"], &[(&*wild, "name"), ("@.email", "email")]);
    set.facts = vec![(FactKey::BirthDate, "@.born".into())];
    set.controller = Some(SubjectSource { path: "@.of".into(), ids: IdReader::default(), optional: false });
    let body = r#"{"id":1,"born":"2024-01-01","of":7,"email":"a@x"}"#;
    let (out, rules) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(rules.facts[0].birth_date, Extracted::Known(jiff::civil::date(2024, 1, 1)));
    assert_eq!(rules.records[0].controller.as_deref(), Some("7"));
    assert_eq!(out, r#"{"email":"a@x"}"#);
}

#[test]
fn the_search_for_repeated_names_is_bounded() {
    let mut mapping = mapping(vec![record("$", &["@.ids[*]"], &[])]);
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let plan = Arc::new(compile(&mapping).unwrap());
    let run = |ids: usize| {
        let body = format!(r#"{{"ids":[{}],"a":1,"a":1}}"#, vec!["1"; ids].join(","));
        let limits = Limits::default();
        scrub_in(&plan, &mut RuleJudge::new(&plan, clear), body.as_bytes(), usize::MAX, limits)
            .err()
            .map(|(error, _)| error.fault)
    };
    assert_eq!((run(1000), run(50_000)), (None, Some(BodyFault::TooCostly)));
}

#[test]
fn an_account_that_is_not_one_id_cannot_be_told() {
    let mut set = record("$[*]", &["@.id"], &[]);
    set.controller =
        Some(SubjectSource { path: "@.of[*]".into(), ids: IdReader::default(), optional: false });
    for (of, controller, told) in [
        ("[7]", Some("7"), true),
        (r#"[7,"7"]"#, Some("7"), true),
        ("[]", None, true),
        ("[null]", None, true),
        ("[7,8]", None, false),
        ("[7,null]", None, false),
        ("[[7]]", None, false),
        ("[1.5]", None, false),
        (r#"[{"id":7}]"#, None, false),
        (r#"[7],"of":[8]"#, None, false),
    ] {
        let mut mapping = mapping(vec![set.clone()]);
        mapping.duplicate_keys = DuplicateKeys::TreatAlike;
        let (_, rules) = scrub(&mapping, &format!(r#"[{{"id":1,"of":{of}}}]"#), clear);
        assert_eq!(rules.records[0].controller.as_deref(), controller, "{of}");
        assert_eq!(rules.facts[0].account_closed == Extracted::Absent, told, "{of}");
    }
}

#[test]
fn facts_and_controller_are_read() {
    let mut set = record("$[*]", &["@.id"], &[]);
    set.controller =
        Some(SubjectSource { path: "@.account".into(), ids: IdReader::default(), optional: false });
    set.facts = vec![(FactKey::Country, "@.address.country".into()), (FactKey::BirthDate, "@.dob".into())];
    let body = r#"[{"id":1,"account":7,"address":{"country":"de"},"dob":"2001-02-03"},{"id":1,"dob":null},{"id":1,"address":{"country":1},"dob":""}]"#;
    let (_, rules) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(rules.records[0].controller.as_deref(), Some("7"));
    assert_eq!(rules.records[1].controller, None);
    assert_eq!(rules.facts[0].country, Extracted::Known("DE".into()));
    assert_eq!(rules.facts[0].birth_date, Extracted::Known(jiff::civil::date(2001, 2, 3)));
    assert!(rules.facts[1] == RecordFacts::default());
    assert_eq!(rules.facts[2].country, Extracted::Unreadable);
    assert_eq!(rules.facts[2].birth_date, Extracted::Unreadable);
}

#[test]
fn a_clone_goes_on_from_the_same_byte() {
    let mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name")])]);
    let plan = Arc::new(compile(&mapping).unwrap());
    let body = br#"[{"id":1,"n":"A"},{"id":1,"n":"B"},{"id":1,"n":"C"}]"#;
    for cut in 0..body.len() {
        let (first, second) = body.split_at(cut);
        let mut rules = RuleJudge::new(&plan, clear);
        let mut scrubber = Scrubber::new(plan.clone(), forms(), &[], Limits::default(), Framing::Document);
        let mut before = Vec::new();
        scrubber.feed(first, &mut rules, &mut before).unwrap();
        for rule in [clear as fn(Option<&JudgedRecord>, CategoryId) -> Form, nothing] {
            let mut scrubber = scrubber.clone();
            let mut rules = RuleJudge::new(&plan, rule);
            let mut after = before.clone();
            scrubber.feed(second, &mut rules, &mut after).unwrap();
            scrubber.finish(&mut rules, &mut after).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&after).unwrap();
            assert_eq!(parsed.as_array().unwrap().len(), 3, "{cut}");
        }
    }
}

#[test]
fn every_wrong_path_is_named() {
    let mut set = record("@.x", &["{", "id", "@.a["], &[("@.x[?", "name"), ("$.ok", "name")]);
    set.fields.push(FieldMapping { path: "@.none".to_owned(), ..FieldMapping::default() });
    let errors = compile(&mapping(vec![set])).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["@.x", "@.x[?", "@.none", "{", "id", "@.a["]);
}

#[test]
fn records_of_one_shape_are_decided_by_what_they_say_where_that_counts() {
    let customer = mapping(vec![record(
        "$[*]",
        &["@.id"],
        &[("@.home", "postal-address"), ("@.name", "name"), ("@.tags", "email")],
    )]);
    let people = [
        // The same members under other names: only some parts of an address are coarse.
        (
            r#"{"id":"a","home":{"street":"s","country":"NL"},"name":"n"}"#,
            r#"{"id":"a","home":{"country":"NL"},"name":"n"}"#,
        ),
        (
            r#"{"id":"a","home":{"country":"NL","street":"s"},"name":"n"}"#,
            r#"{"id":"a","home":{"country":"NL"},"name":"n"}"#,
        ),
        // Somebody else, who withholds the name.
        (
            r#"{"id":"b","home":{"street":"s","country":"NL"},"name":"n"}"#,
            r#"{"id":"b","home":{"country":"NL"}}"#,
        ),
        (r#"{"id":"a","tags":[],"name":"n"}"#, r#"{"id":"a","name":"n"}"#),
        (r#"{"id":"a","tags":0,"name":"n"}"#, r#"{"id":"a","name":"n"}"#),
        (r#"{"id":"b","tags":[],"name":"n"}"#, r#"{"id":"b"}"#),
        (r#"{"tags":[],"name":"n","id":"b"}"#, r#"{"id":"b"}"#),
        (r#"{"tags":[],"name":{},"id":"a"}"#, r#"{"name":{},"id":"a"}"#),
        ("{}", "{}"),
        ("0", "0"),
    ];
    let rule = |seen: Option<&JudgedRecord>, id: CategoryId| {
        let somebody =
            |name: &str| seen.is_some_and(|seen| seen.subjects.as_deref() == Some(&[name.to_owned()]));
        match id {
            id if id == category("postal-address") => Form::Generalised,
            id if id == category("name") && somebody("a") => Form::Clear,
            _ => Form::Removed,
        }
    };
    let customer = Mapping { unclassified: Unclassified::Release, ..customer };
    for turn in 0..people.len() {
        let mut turned = people;
        turned.rotate_left(turn);
        let list = |of: fn(&(&'static str, &'static str)) -> &'static str| {
            let present: Vec<&str> = turned.iter().chain(&turned).map(of).collect();
            format!("[{}]", present.join(","))
        };
        assert_eq!(scrub(&customer, &list(|person| person.0), rule).0, list(|person| person.1));
    }
}

/// A record about somebody, and about somebody else if there is one.
fn with_optional(path: &str) -> Mapping {
    let mut set = record(
        "$[*]",
        &["@.creator.id", path],
        &[("@.title", "non-personal"), ("@.creator", "name"), ("@.assignee", "name")],
    );
    set.subjects[1].optional = true;
    mapping(vec![set])
}

#[test]
fn an_optional_subject_that_is_not_there_is_nobody() {
    let mapping = with_optional("@.assignee.id");
    let seen = |record: &str| {
        let (_, rules) = scrub(&mapping, &format!("[{record}]"), clear);
        rules.records[0].subjects.clone()
    };
    for (assignee, subjects) in [
        ("", Some(vec!["1"])),
        (r#","assignee":null"#, Some(vec!["1"])),
        (r#","assignee":{"id":null}"#, Some(vec!["1"])),
        (r#","assignee":{"id":2}"#, Some(vec!["1", "2"])),
        // Somebody is there, and nobody knows who.
        (r#","assignee":{"n":"Bob"}"#, None),
        (r#","assignee":"Bob""#, None),
        (r#","assignee":[{"id":2}]"#, None),
        (r#","assignee":{"id":""}"#, None),
        (r#","assignee":{"id":1.5}"#, None),
        (r#","assignee":{"id":{}}"#, None),
        (r#","assignee":{"id":[2]}"#, None),
    ] {
        let expected = subjects.map(|ids| ids.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(seen(&format!(r#"{{"creator":{{"id":1}}{assignee}}}"#)), expected, "{assignee}");
    }
    assert_eq!(seen(r#"{"assignee":{"id":2}}"#), None, "the other one is not optional");
    let (out, _) =
        scrub(&mapping, r#"[{"title":"t1","creator":{"id":"1","n":"Ada"},"assignee":null}]"#, of_one);
    assert_eq!(out, r#"[{"title":"t1","creator":{"id":"1","n":"Ada"},"assignee":null}]"#);
}

#[test]
fn an_optional_subject_that_is_there_twice_is_nobody_known() {
    let mut mapping = with_optional("@.assignee.id");
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    for assignee in [
        r#""assignee":null,"assignee":{"id":2}"#,
        r#""assignee":{"id":2},"assignee":null"#,
        r#""assignee":{"id":null,"id":2}"#,
        r#""assignee":{"id":2,"id":2}"#,
    ] {
        let (_, rules) = scrub(&mapping, &format!(r#"[{{"creator":{{"id":1}},{assignee}}}]"#), clear);
        assert_eq!(rules.records[0].subjects, None, "{assignee}");
    }
}

#[test]
fn several_optional_subjects_are_those_that_are_there() {
    let mapping = with_optional("@.watchers[*].id");
    let seen = |watchers: &str| {
        let (_, rules) =
            scrub(&mapping, &format!(r#"[{{"creator":{{"id":1}},"watchers":{watchers}}}]"#), clear);
        rules.records[0].subjects.as_ref().map(|subjects| subjects.join(" "))
    };
    for (watchers, subjects) in [
        ("[]", Some("1")),
        ("null", Some("1")),
        (r#"[{"id":2},{"id":null},null]"#, Some("1 2")),
        (r#"[{"id":2},{"n":"Bob"}]"#, None),
        (r#"[{"id":2},"Bob"]"#, None),
        (r#""Bob""#, None),
    ] {
        assert_eq!(seen(watchers).as_deref(), subjects, "{watchers}");
    }
}

#[test]
fn where_everybody_is_optional_somebody_has_to_be_there() {
    let mut set = record("$[*]", &["@.a", "@.b"], &[]);
    set.subjects.iter_mut().for_each(|source| source.optional = true);
    let (_, rules) = scrub(&mapping(vec![set]), r#"[{},{"a":null},{"b":2},{"a":1,"b":null}]"#, clear);
    assert_eq!(ids(&rules), [None, None, one("2"), one("1")]);
}

/// The rows of a table, by the names in its header.
fn table(header: &str) -> Mapping {
    let mut set = record(
        "$.rows[*]",
        &["@.id"],
        &[
            ("@.id", "non-personal"),
            ("@.email", "email"),
            ("@.tags[*]", "name"),
            ("$.columns", "non-personal"),
        ],
    );
    set.columns =
        Some(Columns { path: header.to_owned(), names: ["id", "email", "tags"].map(str::to_owned).to_vec() });
    Mapping { removed_as: RemovedAs::Null, ..mapping(vec![set]) }
}

#[test]
fn the_elements_of_a_row_are_named_by_the_header() {
    let mapping = table("$.columns");
    for body in [
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",["t"]],[2,"b@x",[]]]}"#,
        r#"{"rows":[[1,"a@x",["t"]],[2,"b@x",[]]],"columns":["id","email","tags"]}"#,
        r#"{"columns":["i\u0064","email","tags"],"rows":[[1,"a@x",["t"]],[2,"b@x",[]]]}"#,
    ] {
        let (out, rules) = scrub(&mapping, body, of_one);
        assert_eq!(ids(&rules), [one("1"), one("2")]);
        assert_eq!(out, body.replace(r#"[2,"b@x",[]]"#, "[2,null,null]"), "{body}");
    }
    let of_objects = table("$.meta[*].name");
    let body = r#"{"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],"rows":[[1,"a@x",null]]}"#;
    let (out, _) = scrub(&of_objects, body, of_one);
    assert!(out.contains(r#"[1,"a@x",null]"#), "{out}");
    let (out, _) = scrub(&mapping, r#"{"rows":[]}"#, of_one);
    assert_eq!(out, r#"{"rows":[]}"#);
}

#[test]
fn a_table_with_other_columns_or_rows_is_refused() {
    let refused = |header: &str, body: &str| {
        let plan = Arc::new(compile(&table(header)).unwrap());
        let mut rules = RuleJudge::new(&plan, of_one);
        let limits = Limits::default();
        let (error, out) = scrub_in(&plan, &mut rules, body.as_bytes(), usize::MAX, limits).unwrap_err();
        assert_eq!(error.fault, BodyFault::OtherColumns, "{body}");
        assert!(!String::from_utf8(out).unwrap().contains("a@x"), "{body}");
    };
    for body in [
        r#"{"columns":["email","id","tags"],"rows":[["a@x",1,[]]]}"#,
        r#"{"columns":["id","email"],"rows":[[1,"a@x"]]}"#,
        r#"{"columns":["id","email","tags","x"],"rows":[[1,"a@x",[],1]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x"]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",[],1]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[{"id":1,"email":"a@x","tags":[]}]}"#,
        r#"{"columns":["id","email",null],"rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":{"0":"id","1":"email","2":"tags"},"rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":"id","rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":[],"rows":[[1,"a@x",[]]]}"#,
        r#"{"rows":[[1,"a@x",[]]]}"#,
    ] {
        refused("$.columns", body);
    }
    refused(
        "$.meta[*].name",
        r#"{"meta":[{"name":"email"},{"name":"id"},{"name":"tags"}],"rows":[["a@x",1,[]]]}"#,
    );
}

/// Several tables in one document, where each has its rows at a path and its header at another.
fn tables(rows: &str, header: &str) -> Mapping {
    let mut mapping = table(header);
    mapping.records[0].path = rows.to_owned();
    mapping
}

#[test]
fn each_of_several_tables_has_a_header_of_its_own() {
    let leaves = |rows: &str, header: &str, body: &str| {
        let plan = Arc::new(compile(&tables(rows, header)).unwrap());
        let mut rules = RuleJudge::new(&plan, of_one);
        match scrub_in(&plan, &mut rules, body.as_bytes(), usize::MAX, Limits::default()) {
            Ok(out) => String::from_utf8(out).unwrap().contains("a@x"),
            Err((error, out)) => {
                assert_eq!(error.fault, BodyFault::OtherColumns, "{body}");
                assert!(!String::from_utf8(out).unwrap().contains("a@x"), "{body}");
                false
            }
        }
    };
    let (rows, header) = ("$.t[*].rows[*]", "$.t[*].columns");
    let with = r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",[]]]}"#;
    let (without, other) =
        (r#"{"rows":[[1,"a@x",[]]]}"#, r#"{"columns":["email","id","tags"],"rows":[[1,"a@x",[]]]}"#);
    for (second, expected) in [(with, true), (without, false), (other, false)] {
        for (one, two) in [(with, second), (second, with)] {
            assert_eq!(leaves(rows, header, &format!(r#"{{"t":[{one},{two}]}}"#)), expected, "{one} {two}");
        }
    }
    // One that stands in another is none of the other's.
    let nested = format!(r#"{{"t":{{"rows":[[1,"a@x",[]]],"t":{with}}}}}"#);
    assert!(!leaves("$..t.rows[*]", "$..t.columns", &nested));
    // Each name by itself.
    let with = r#"{"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],"rows":[[1,"a@x",[]]]}"#;
    for (second, expected) in [(with, true), (without, false)] {
        let body = format!(r#"{{"t":[{with},{second}]}}"#);
        assert_eq!(leaves(rows, "$.t[*].meta[*].name", &body), expected, "{second}");
    }
    // One header for all of them.
    let pages = r#"{"columns":["id","email","tags"],"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],
                    "pages":[{"rows":[[1,"a@x",[]]]},{"rows":[[1,"a@x",[]]]}]}"#;
    assert!(leaves("$.pages[*].rows[*]", "$.columns", pages));
    assert!(leaves("$.pages[*].rows[*]", "$.meta[*].name", pages));
    // Nobody can say which header is which table's.
    let apart =
        r#"{"h":[{"columns":["id","email","tags"]}],"t":[{"rows":[[1,"a@x",[]]]},{"rows":[[1,"a@x",[]]]}]}"#;
    assert!(!leaves(rows, "$.h[*].columns", apart));
    assert!(!leaves("$..rows[*]", "$..columns", apart));
}

#[test]
fn rows_that_two_record_sets_claim_are_refused() {
    let mut mapping = table("$.columns");
    mapping.records.push(record("$.rows[*]", &["@[0]"], &[]));
    let plan = Arc::new(compile(&mapping).unwrap());
    let body = r#"{"columns":["email","id","tags"],"rows":[["a@x",1,[]]]}"#;
    let refused =
        scrub_in(&plan, &mut RuleJudge::new(&plan, of_one), body.as_bytes(), usize::MAX, Limits::default());
    assert_eq!(refused.unwrap_err().0.fault, BodyFault::OtherColumns);
}

#[test]
fn a_path_in_a_table_begins_with_a_column() {
    let fault = |path: &str| {
        let mut table = table("$.columns");
        table.records[0].fields[1].path = path.to_owned();
        compile(&table).err().map(|errors| errors[0].fault.clone())
    };
    assert_eq!(fault("@.mail"), Some(MappingFault::NoColumn("mail".into())));
    assert_eq!(fault("@[?$.id == 1]"), Some(MappingFault::RootInTable));
    for sound in ["@['email', 'tags']", "@[1]", "@.*", "@..email", "@.tags[?@.n == 1]"] {
        assert_eq!(fault(sound), None, "{sound}");
    }
    let table = table("@.columns");
    assert_eq!(
        compile(&table).err().map(|errors| errors[0].fault.clone()),
        Some(MappingFault::NotFromDocument)
    );
}
