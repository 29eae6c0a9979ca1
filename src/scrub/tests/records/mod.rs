//! Records: their subjects and facts, and the fields that leave.

mod optional_subjects;
mod tables;

use super::*;
use crate::decision::{Extracted, RecordFacts};
use crate::vocabulary::{IdRule, Namespaces, Normalization};

fn clear(_: Option<&DecidedRecord>, _: CategoryId) -> Form {
    Form::Clear
}

fn nothing(_: Option<&DecidedRecord>, _: CategoryId) -> Form {
    Form::Removed
}

/// Releases everything about subject 1 and nothing about anybody else.
fn of_one(decided: Option<&DecidedRecord>, _: CategoryId) -> Form {
    match decided.and_then(|decided| decided.subjects.as_deref()) {
        Some(subjects) if subjects.iter().all(|id| id == "1") => Form::Clear,
        _ => Form::Removed,
    }
}

fn ids(policy: &TestPolicy) -> Vec<Option<Vec<String>>> {
    policy.records.iter().map(|decided| decided.subjects.clone()).collect()
}

fn one(id: &str) -> Option<Vec<String>> {
    Some(vec![id.to_owned()])
}

#[test]
fn a_record_set_that_maps_nothing_releases_nothing() {
    let body = r#"{"orders": [{"customer": {"id": 1}, "note": "N", "gift": {"to": {"name": "B"}}}], "n": [1, {"a": 2}]}"#;
    fn of_exactly_one(decided: Option<&DecidedRecord>, _: CategoryId) -> Form {
        match decided.and_then(|decided| decided.subjects.as_deref()) {
            Some([one]) if one == "1" => Form::Clear,
            Some(_) | None => Form::Removed,
        }
    }
    let released = |sets: Vec<RecordMapping>| {
        let (out, _) = scrub(&mapping(sets), body, of_exactly_one);
        serde_json::from_str::<serde_json::Value>(&out).unwrap().to_string()
    };
    for subjects in [&[][..], &["{id}"]] {
        for (path, left) in [
            ("$", "{}"),
            ("$.orders", r#"{"orders":[]}"#),
            ("$.orders[*]", r#"{"orders":[{}]}"#),
            ("$.orders[*].gift", r#"{"orders":[{"gift":{}}]}"#),
        ] {
            assert_eq!(released(vec![record(path, subjects, &[])]), left, "{path} {subjects:?}");
        }
    }
    // Inside of a field of another person, too.
    let order = record("$.orders[*]", &["@.customer.id"], &[("@.gift", "name"), ("@.note", "name")]);
    for (path, left) in [("$.orders[*].gift", "{}"), ("$.orders[*].gift.to", r#"{"to":{}}"#)] {
        let expected = format!(r#"{{"orders":[{{"note":"N","gift":{left}}}]}}"#);
        assert_eq!(released(vec![record(path, &[], &[]), order.clone()]), expected, "{path}");
    }
}

#[test]
fn each_list_element_is_decided_by_its_own_permit() {
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
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{ "items": [
  {"name": "A", "id": 1, "contact": {"email": "a@x"}},
  { "id": 2},
  {"id": "1", "name": "C"}
]}"#
    );
    assert_eq!(ids(&policy), [one("1"), one("2"), one("1")]);
    let (out, _) = scrub(&mapping, body, nothing);
    assert_eq!(out, "{ \"items\": [\n  { \"id\": 1},\n  { \"id\": 2},\n  {\"id\": \"1\"}\n]}");
}

#[test]
fn emptied_records_and_lists_stay_in_place() {
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
fn the_innermost_record_decides_its_fields() {
    let mapping = mapping(vec![
        record("$.customers[*]", &["@.id"], &[("@.name", "name"), ("@.orders[*].total", "billing")]),
        record("$.customers[*].orders[*].buyer", &["@.id"], &[("@.name", "name")]),
    ]);
    let body = r#"{"customers":[{"id":1,"name":"A","orders":[{"total":5,"buyer":{"id":2,"name":"B"}}]},{"id":3,"name":"C","orders":[{"total":6,"buyer":{"id":1,"name":"A"}}]}]}"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{"customers":[{"name":"A","orders":[{"total":5,"buyer":{}}]},{"orders":[{"buyer":{"name":"A"}}]}]}"#
    );
    assert_eq!(ids(&policy), [one("1"), one("2"), one("3"), one("1")]);
}

#[test]
fn unusable_subject_ids_yield_no_subject() {
    let mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name"), ("@.s", "non-personal")])]);
    let body = r#"[{"n":1},{"id":null,"n":1},{"id":1.0,"n":1},{"id":true,"n":1},{"id":{"x":1},"n":1},{"id":[1],"n":1},{"id":"","n":1},{"id":1e0,"n":1,"s":2},7]"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"[{},{},{},{},{},{},{},{"s":2}]"#);
    assert!(ids(&policy).iter().all(Option::is_none));
}

#[test]
fn duplicated_subject_ids_yield_no_subject() {
    let mut mapping = mapping(vec![record("$[*]", &["@.who.id"], &[("@.n", "name")])]);
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let body = r#"[{"who":{"id":1,"id":1},"n":1},{"who":{"id":1},"who":{"id":1},"n":1},{"who":{"id":1},"who":{},"n":1},{"who":{"\u0069d":1,"x":1,"x":2},"n":1,"n":2}]"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(ids(&policy), [None, None, None, one("1")]);
    assert_eq!(out, r#"[{},{},{},{"n":1,"n":2}]"#);
}

#[test]
fn all_subjects_of_a_record_are_reported() {
    let mapping = mapping(vec![record("$[*]", &["@.a", "@.others[*].id"], &[("@.n", "name")])]);
    let body = r#"[{"a":1,"others":[{"id":1},{"id":1}],"n":1},{"a":1,"others":[{"id":2},{"id":1}],"n":1},{"a":1,"others":[],"n":1},{"others":[{"id":1}],"n":1},{"a":1,"others":[{"id":1},{"id":{}}],"n":1}]"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"[{"n":1},{},{},{},{}]"#);
    assert_eq!(policy.records[1].subjects.as_ref().unwrap().len(), 3);
    assert_eq!(policy.records.iter().filter(|decided| decided.subjects.is_none()).count(), 3);
}

/// Returns the reader of a namespace that lower-cases ids and accepts references.
fn lowercase(namespace: &str) -> IdReader {
    let normalise = Normalization { lowercase: true, ..Normalization::default() };
    let rule = IdRule::new(normalise, Some("^(?:Customer/)?([^/]+)$")).unwrap();
    Namespaces::new([(namespace.into(), rule)]).reader(Some(namespace))
}

#[test]
fn namespace_rules_unify_spellings_of_subjects_and_controllers() {
    let mut set = record("$[*]", &["@.a", "@.b"], &[("@.n", "name")]);
    set.subjects.iter_mut().for_each(|source| source.ids = lowercase("crm"));
    set.controller =
        Some(SubjectSource { path: "@.of[*]".into(), ids: lowercase("accounts"), optional: false });
    let body = r#"[{"a":"X","b":"Customer/x","of":["ACME","customer/acme"],"n":1},{"a":"X","b":"Other/x","of":["Other/x"],"n":1}]"#;
    let (out, policy) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(ids(&policy), [Some(vec!["x".to_owned(), "x".to_owned()]), None]);
    assert_eq!(policy.records[0].controller.as_deref(), Some("acme"));
    assert_eq!(policy.facts[1].account_closed, Extracted::Unreadable, "an ambiguous account");
    assert!(out.starts_with(r#"[{"n":1}"#), "{out}");
}

#[test]
fn subjects_come_from_the_request_path() {
    let mut set = record("$", &["{id}"], &[("@.n", "name")]);
    set.subjects[0].ids = lowercase("crm");
    let plan = Arc::new(compile(&mapping(vec![set])).unwrap());
    for (parameters, id) in
        [(&[("id", "ABC")][..], one("abc")), (&[("other", "1")][..], None), (&[("id", "")], None)]
    {
        let mut policy = TestPolicy::new(&plan, clear);
        let mut scrubber =
            Scrubber::new(plan.clone(), forms(), parameters, Limits::default(), Framing::Document);
        scrubber.feed(b"{\"n\":1}", &mut policy, &mut Vec::new()).unwrap();
        scrubber.finish(&mut policy, &mut Vec::new()).unwrap();
        assert_eq!(ids(&policy), [id]);
    }
}

#[test]
fn document_level_subjects_are_found_before_and_after_the_records() {
    let mapping = mapping(vec![record("$.orders[*]", &["$.customer.id"], &[("@.n", "name")])]);
    let (out, policy) = scrub(&mapping, r#"{"orders":[{"n":1},{"n":2}],"customer":{"id":1}}"#, of_one);
    assert_eq!(out, r#"{"orders":[{"n":1},{"n":2}]}"#);
    assert_eq!(ids(&policy), [one("1"), one("1")]);
}

#[test]
fn classes_are_inherited_and_their_categories_add_up() {
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
        move |_: Option<&DecidedRecord>, id: CategoryId| {
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
    let without_email = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("email") { Form::Removed } else { Form::Clear }
    };
    let (out, policy) = scrub(&mapping, body, without_email);
    assert_eq!(out, r#"[{"telecom":[{"value":"p"},{"value":"x"}],"list":[3]}]"#);
    let plan = compile(&mapping).unwrap();
    let class = |names: &[&str]| {
        let mut categories: Vec<_> = names.iter().map(|name| category(name)).collect();
        categories.sort();
        plan.classes().iter().position(|class| class.categories == categories).unwrap()
    };
    let fields = &policy.fields[0];
    assert_eq!(fields[class(&["phone", "service-data"])], 1);
    assert_eq!(fields[class(&["email", "service-data"])], 1);
    assert_eq!(fields[class(&["service-data"])], 1);
    assert_eq!(fields[class(&["name"])], 1);
}

#[test]
fn any_number_of_conditions_may_select_one_node() {
    // Properties of a jCard, each selected by its name, and some by another condition as well.
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
        move |_: Option<&DecidedRecord>, id: CategoryId| {
            if id == category(withheld) { Form::Removed } else { Form::Clear }
        }
    };
    // `p0` is a name, `p1` an e-mail address, and 2 a company.
    let body = r#"{"card":[["p0",0],["p1",9],["p0",2],["p2",9,1],["x",9]]}"#;
    assert_eq!(scrub(&mapping, body, only("name")).0, r#"{"card":[["p1",9],["p2",9,1]]}"#);
    assert_eq!(scrub(&mapping, body, only("email")).0, r#"{"card":[["p0",0],["p0",2]]}"#);
    assert_eq!(scrub(&mapping, body, only("company")).0, r#"{"card":[["p0",0],["p1",9],["p2",9,1]]}"#);
    // The plan has no class for three conditions at once, so the node has all categories.
    let three = r#"{"card":[["p0",2,1]]}"#;
    assert_eq!(scrub(&mapping, three, only("language")).0, "{}");
    assert_eq!(scrub(&mapping, three, clear).0, three);
}

#[test]
fn conditions_select_records_and_leave_their_siblings_outside() {
    let mapping = mapping(vec![record(
        "$.list[?@.type=='person']",
        &["@.id"],
        &[("@.n", "name"), ("$.list[*].type", "non-personal")],
    )]);
    let body = r#"{"list":[{"type":"person","id":1,"n":"A"},{"type":"cat","id":9,"n":"B"},{"n":"C","id":2,"type":"person"},{"type":"dog"}]}"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(
        out,
        r#"{"list":[{"type":"person","n":"A"},{"type":"cat"},{"type":"person"},{"type":"dog"}]}"#
    );
    assert_eq!(ids(&policy), [one("1"), one("2")]);
}

#[test]
fn records_are_found_at_any_depth() {
    let mapping = mapping(vec![record("$..person", &["@.id"], &[("@.n", "name")])]);
    let body = r#"{"a":{"b":[{"person":{"id":1,"n":"A","person":{"id":2,"n":"B"}}},{"c":{"d":1}}]},"x":{"y":[1]},"person":{"n":"C","id":1}}"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"{"a":{"b":[{"person":{"n":"A","person":{}}}]},"person":{"n":"C"}}"#);
    assert_eq!(ids(&policy), [one("1"), one("2"), one("1")]);
}

#[test]
fn nodes_claimed_by_two_record_sets_have_no_subject() {
    let mapping = mapping(vec![
        record("$.a", &["@.id"], &[("@.n", "name")]),
        record("$[*]", &["@.other"], &[("@.m", "email")]),
    ]);
    let (out, policy) =
        scrub(&mapping, r#"{"a":{"id":1,"other":1,"n":1,"m":1},"b":{"other":1,"m":1}}"#, of_one);
    assert_eq!(out, r#"{"a":{},"b":{"m":1}}"#);
    assert_eq!(ids(&policy), [None, one("1")]);
}

#[test]
fn fields_outside_of_records_have_no_subject() {
    let mapping = mapping(vec![record(
        "$.items[*]",
        &["@.id"],
        &[("$.total", "non-personal"), ("$.owner", "name"), ("$.meta.page", "non-personal")],
    )]);
    let body = r#"{"total":2,"owner":"O","meta":{"page":{"n":1},"x":1},"more":{"a":1},"items":[],"last":3}"#;
    let (out, policy) = scrub(&mapping, body, of_one);
    assert_eq!(out, r#"{"total":2,"meta":{"page":{"n":1}},"items":[]}"#);
    assert!(policy.records.is_empty());
    let (out, _) = scrub(&mapping, r#"{"meta":{"x":1,"y":{}}}"#, of_one);
    assert_eq!(out, "{}");
}

#[test]
fn removed_values_become_null_or_empty() {
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
fn unclassified_fields_can_be_released() {
    let mut mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name")])]);
    mapping.unclassified = Unclassified::Release;
    let (out, policy) = scrub(&mapping, r#"[{"id":2,"n":"B","o":{"p":1}}]"#, of_one);
    assert_eq!(out, r#"[{"id":2,"o":{"p":1}}]"#);
    assert_eq!(policy.fields[0][0], 2, "unclassified fields are counted");
}

#[test]
fn generalised_addresses_keep_scalar_countries_and_regions() {
    let address = r#"{"street":"Hauptstr. 1","country":"DE","region":{"code":"BE","zip":"10115","country":"DE"},"state":["Hauptstr. 1"],"x":{"country":"DE","y":"z"},"phone":"1"}"#;
    let rest = r#"{"country":"DE","region":{"country":"DE"},"state":["***"],"x":{"country":"DE"}}"#;
    let rule = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("postal-address") { Form::Generalised } else { Form::Removed }
    };
    // With a field of another category inside the address, and without one.
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
fn facts_are_read_when_the_automaton_is_too_large() {
    let wild = format!("@..x{}", ".*".repeat(14));
    let mut set = record("$", &["@.id"], &[(&*wild, "name"), ("@.email", "email")]);
    set.facts = vec![(FactKey::BirthDate, "@.born".into())];
    set.controller = Some(SubjectSource { path: "@.of".into(), ids: IdReader::default(), optional: false });
    let body = r#"{"id":1,"born":"2024-01-01","of":7,"email":"a@x"}"#;
    let (out, policy) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(policy.facts[0].birth_date, Extracted::Known(jiff::civil::date(2024, 1, 1)));
    assert_eq!(policy.records[0].controller.as_deref(), Some("7"));
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
        scrub_in(&plan, &mut TestPolicy::new(&plan, clear), body.as_bytes(), usize::MAX, limits)
            .err()
            .map(|(error, _)| error.fault)
    };
    assert_eq!((run(1000), run(50_000)), (None, Some(BodyFault::TooCostly)));
}

#[test]
fn ambiguous_controllers_make_the_account_unreadable() {
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
        let (_, policy) = scrub(&mapping, &format!(r#"[{{"id":1,"of":{of}}}]"#), clear);
        assert_eq!(policy.records[0].controller.as_deref(), controller, "{of}");
        assert_eq!(policy.facts[0].account_closed == Extracted::Absent, told, "{of}");
    }
}

#[test]
fn facts_and_controller_are_read() {
    let mut set = record("$[*]", &["@.id"], &[]);
    set.controller =
        Some(SubjectSource { path: "@.account".into(), ids: IdReader::default(), optional: false });
    set.facts = vec![(FactKey::Country, "@.address.country".into()), (FactKey::BirthDate, "@.dob".into())];
    let body = r#"[{"id":1,"account":7,"address":{"country":"de"},"dob":"2001-02-03"},{"id":1,"dob":null},{"id":1,"address":{"country":1},"dob":""}]"#;
    let (_, policy) = scrub(&mapping(vec![set]), body, clear);
    assert_eq!(policy.records[0].controller.as_deref(), Some("7"));
    assert_eq!(policy.records[1].controller, None);
    assert_eq!(policy.facts[0].country, Extracted::Known("DE".into()));
    assert_eq!(policy.facts[0].birth_date, Extracted::Known(jiff::civil::date(2001, 2, 3)));
    assert!(policy.facts[1] == RecordFacts::default());
    assert_eq!(policy.facts[2].country, Extracted::Unreadable);
    assert_eq!(policy.facts[2].birth_date, Extracted::Unreadable);
}

#[test]
fn cloned_scrubbers_continue_from_the_same_byte() {
    let mapping = mapping(vec![record("$[*]", &["@.id"], &[("@.n", "name")])]);
    let plan = Arc::new(compile(&mapping).unwrap());
    let body = br#"[{"id":1,"n":"A"},{"id":1,"n":"B"},{"id":1,"n":"C"}]"#;
    for cut in 0..body.len() {
        let (first, second) = body.split_at(cut);
        let mut policy = TestPolicy::new(&plan, clear);
        let mut scrubber = Scrubber::new(plan.clone(), forms(), &[], Limits::default(), Framing::Document);
        let mut before = Vec::new();
        scrubber.feed(first, &mut policy, &mut before).unwrap();
        for rule in [clear as fn(Option<&DecidedRecord>, CategoryId) -> Form, nothing] {
            let mut scrubber = scrubber.clone();
            let mut policy = TestPolicy::new(&plan, rule);
            let mut after = before.clone();
            scrubber.feed(second, &mut policy, &mut after).unwrap();
            scrubber.finish(&mut policy, &mut after).unwrap();
            let parsed: serde_json::Value = serde_json::from_slice(&after).unwrap();
            assert_eq!(parsed.as_array().unwrap().len(), 3, "{cut}");
        }
    }
}

#[test]
fn every_invalid_path_is_reported() {
    let mut set = record("@.x", &["{", "id", "@.a["], &[("@.x[?", "name"), ("$.ok", "name")]);
    set.fields.push(FieldMapping { path: "@.none".to_owned(), ..FieldMapping::default() });
    let errors = compile(&mapping(vec![set])).unwrap_err();
    let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(paths, ["@.x", "@.x[?", "@.none", "{", "id", "@.a["]);
}

#[test]
fn cached_decisions_depend_on_permits_and_values() {
    let customer = mapping(vec![record(
        "$[*]",
        &["@.id"],
        &[("@.home", "postal-address"), ("@.name", "name"), ("@.tags", "email")],
    )]);
    let people = [
        // The same shape with other names: only some parts of an address stay.
        (
            r#"{"id":"a","home":{"street":"s","country":"NL"},"name":"n"}"#,
            r#"{"id":"a","home":{"country":"NL"},"name":"n"}"#,
        ),
        (
            r#"{"id":"a","home":{"country":"NL","street":"s"},"name":"n"}"#,
            r#"{"id":"a","home":{"country":"NL"},"name":"n"}"#,
        ),
        // Another subject, whose name is withheld.
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
    let rule = |decided: Option<&DecidedRecord>, id: CategoryId| {
        let somebody = |name: &str| {
            decided.is_some_and(|decided| decided.subjects.as_deref() == Some(&[name.to_owned()]))
        };
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
