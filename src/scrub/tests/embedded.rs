//! JSON in strings is scrubbed as if the value replaced the string.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::walks::{Doc, FILTERS, NodePath, chunk, doc, noise, plain, selected_by_peer, steps, text};
use super::*;

fn all_but(withheld: &'static str) -> impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy {
    move |_, id| if id == category(withheld) { Form::Removed } else { Form::Clear }
}

fn payload(more: &[(&str, &str)]) -> Mapping {
    let fields = [&[("@.payload", "json:service-data")], more].concat();
    mapping(vec![record("$", &[], &fields)])
}

/// Returns a body whose payload is this text as a string.
fn body(text: &str) -> String {
    format!(r#"{{"payload": {}}}"#, Value::from(text))
}

#[test]
fn paths_continue_into_json_in_strings() {
    let mapping = payload(&[("@.payload.email", "email"), ("@.payload.to[*].name", "name")]);
    let inside = r#"{"email":"a@x", "to": [{"name":"A\n","n":1}], "rest": "\"q\""}"#;
    assert_eq!(
        scrub(&mapping, &body(inside), all_but("email")).0,
        body(r#"{ "to": [{"name":"A\n","n":1}], "rest": "\"q\""}"#)
    );
    assert_eq!(
        scrub(&mapping, &body(inside), all_but("service-data")).0,
        body(r#"{"email":"a@x", "to": [{"name":"A\n"}]}"#)
    );
    let nothing = |_: Option<&DecidedRecord>, _: CategoryId| Form::Removed;
    assert_eq!(scrub(&mapping, &body(inside), nothing).0, "{}");
    // A value that is not a string is read as plain JSON.
    let plain = r#"{"payload": {"email": 1, "x": "y"}}"#;
    assert_eq!(scrub(&mapping, plain, all_but("email")).0, r#"{"payload": { "x": "y"}}"#);
    assert_eq!(scrub(&mapping, r#"{"payload":null}"#, all_but("email")).0, r#"{"payload":null}"#);
}

#[test]
fn unchanged_strings_keep_their_spelling() {
    let mapping = payload(&[("@.payload.email", "email")]);
    for string in [
        r#""{\u0022a\u0022 : 1}""#,
        r#"" {\"a\": \"\\u0041\"} ""#,
        r#""[]""#,
        r#""12""#,
        r#""\"text\"""#,
        r#""null""#,
    ] {
        let body = format!(r#"{{"payload":{string}}}"#);
        assert_eq!(scrub(&mapping, &body, all_but("email")).0, body);
    }
    let body = r#"{"payload":" {\u0022a\u0022: \"\\u0041\",\t\"e\\u006dail\":1, \"b\":\n2} "}"#;
    let rest = r#"{"payload":"{\"a\": \"\\u0041\", \"b\":\n2}"}"#;
    assert_eq!(scrub(&mapping, body, all_but("email")).0, rest);
}

#[test]
fn unchanged_nested_strings_keep_their_spelling() {
    let mapping = payload(&[("@.payload.q", "json:billing"), ("@.payload.email", "email")]);
    let inner = r#"{\u0022q\u0022:\u0022{\\u0022b\\u0022: \\u0022x\\\/y\\u0022}\u0022, \u0022z\u0022:\u0022a\/b\u0022}"#;
    let whole = format!(r#"{{"payload":"{inner}"}}"#);
    assert_eq!(scrub(&mapping, &whole, all_but("email")).0, whole);
    // If the outer string changes, an unchanged inner string keeps its spelling.
    let more = inner.replacen('{', r#"{\u0022email\u0022:1,"#, 1);
    let (out, _) = scrub(&mapping, &format!(r#"{{"payload":"{more}"}}"#), all_but("email"));
    let rest = r#"{\"q\":\"{\\u0022b\\u0022: \\u0022x\\/y\\u0022}\", \"z\":\"a/b\"}"#;
    assert_eq!(out, format!(r#"{{"payload":"{rest}"}}"#));
}

#[test]
fn strings_that_are_not_json_are_removed() {
    let mapping = payload(&[("@.payload.email", "email")]);
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    for text in [
        "",
        " ",
        "jane@x.org",
        "{",
        "{} {}",
        "{\"a\":1,}",
        "01",
        "\u{feff}{}",
        "{\"a\":1,\"a\":2}",
        "\u{7f}",
        "nul",
        "{\"a\":\"\t\"}",
    ] {
        assert_eq!(scrub(&mapping, &body(text), clear).0, "{}", "{text:?}");
    }
    for string in [r#""\ud800""#, r#""{\"a\":\"\ud800\"}""#, r#""{\"\\ud800\":1}""#] {
        assert_eq!(scrub(&mapping, &format!(r#"{{"payload":{string}}}"#), clear).0, "{}", "{string}");
    }
    let deep = "[".repeat(200) + &"]".repeat(200);
    assert_eq!(scrub(&mapping, &body(&deep), clear).0, "{}");
    let empty = Mapping { removed_as: RemovedAs::Empty, ..mapping };
    assert_eq!(scrub(&empty, &body("{"), clear).0, r#"{"payload": ""}"#);
    let none = |_: Option<&DecidedRecord>, _: CategoryId| Form::Removed;
    assert_eq!(scrub(&empty, &body("[1]"), none).0, r#"{"payload": ""}"#);
}

#[test]
fn json_in_strings_nests_up_to_a_bound() {
    let fields = [("@..payload", "json:service-data"), ("@..email", "email")];
    let mapping = mapping(vec![record("$", &[], &fields)]);
    let nested = |text: &str, levels: usize| {
        (0..levels).fold(text.to_owned(), |text, _| format!(r#"{{"payload":{}}}"#, Value::from(text)))
    };
    for levels in 1..=4 {
        let body = nested(r#"{"email":"a@x","n":1}"#, levels);
        assert_eq!(scrub(&mapping, &body, all_but("email")).0, nested(r#"{"n":1}"#, levels), "{levels}");
        assert_eq!(scrub(&mapping, &body, all_but("phone")).0, body, "{levels}");
    }
    // A string nested more deeply is not read and is removed.
    let deepest = nested(r#"{"n":1}"#, 5);
    assert_eq!(scrub(&mapping, &deepest, all_but("email")).0, nested("{}", 4));
}

#[test]
fn doubly_encoded_json_is_decoded_twice() {
    let mapping = payload(&[("@.payload.email", "email"), ("@.payload.id", "name")]);
    let spelled =
        |text: &str, times: usize| (1..times).fold(text.to_owned(), |text, _| Value::from(text).to_string());
    for times in 1..=4 {
        let whole = body(&spelled("{\"email\":\"a\\n@x\",\t\"n\":1}", times));
        assert_eq!(
            scrub(&mapping, &whole, all_but("email")).0,
            body(&spelled("{\t\"n\":1}", times)),
            "{times}"
        );
        assert_eq!(scrub(&mapping, &whole, all_but("phone")).0, whole, "{times}");
        let masked = |_: Option<&DecidedRecord>, id: CategoryId| {
            if id == category("email") { Form::Masked } else { Form::Clear }
        };
        let left = scrub(&mapping, &body(&spelled(r#"{"email":"jane@x.org"}"#, times)), masked).0;
        assert_eq!(left, body(&spelled(r#"{"email":"j***@x.org"}"#, times)), "{times}");
    }
    // Text that is invalid after decoding, or is encoded more often, is removed.
    for text in [spelled(r#"{"email":"a@x"}"#, 5), spelled(r#"{"email":"a@x""#, 2), spelled("[1] x", 3)] {
        assert_eq!(scrub(&mapping, &body(&text), all_but("email")).0, "{}", "{text}");
    }
    for text in [spelled("12", 2), spelled("jane", 3), spelled("\"", 1)] {
        let kept = body(&text);
        let left = if text == "\"" { "{}".to_owned() } else { kept.clone() };
        assert_eq!(scrub(&mapping, &kept, all_but("email")).0, left, "{text}");
    }
}

#[test]
fn strings_beyond_the_bound_are_removed() {
    let fields = [("@.list[*]", "json:service-data"), ("@.list[*].email", "email")];
    let plan = Arc::new(compile(&mapping(vec![record("$", &[], &fields)])).unwrap());
    let body = Value::from_iter([("list", vec![r#"{"email":"x"}"#; (1 << 14) + 5])]).to_string();
    let mut policy = TestPolicy::new(&plan, all_but("email"));
    let out = scrub_in(&plan, &mut policy, body.as_bytes(), usize::MAX, Limits::default()).unwrap();
    let out: Value = serde_json::from_slice(&out).unwrap();
    assert_eq!(out, Value::from_iter([("list", vec!["{}"; 1 << 14])]));
}

#[test]
fn subjects_and_records_are_found_in_strings() {
    let mut outer = record("$.events[*]", &["@.payload.user.id"], &[("@.payload", "json:service-data")]);
    outer.facts = vec![(FactKey::Country, "@.payload.user.country".to_owned())];
    let inner = record("$.events[*].payload.friends[*]", &["@.id"], &[("@.name", "name")]);
    let mapping = mapping(vec![outer, inner]);
    let inside = r#"{"user":{"id":1,"country":"DE"},"friends":[{"id":1,"name":"A"},{"id":2,"name":"B"}]}"#;
    let body = format!(r#"{{"events":[{{"payload":{}}},{{"payload":"x"}}]}}"#, Value::from(inside));
    let of_one = |decided: Option<&DecidedRecord>, _: CategoryId| {
        let one = decided.and_then(|decided| decided.subjects.as_deref()).is_some_and(|ids| ids == ["1"]);
        if one { Form::Clear } else { Form::Removed }
    };
    let (out, policy) = scrub(&mapping, &body, of_one);
    let rest = r#"{"user":{"id":1,"country":"DE"},"friends":[{"id":1,"name":"A"},{}]}"#;
    assert_eq!(out, format!(r#"{{"events":[{{"payload":{}}},{{}}]}}"#, Value::from(rest)));
    let subjects: Vec<_> = policy.records.iter().map(|decided| decided.subjects.clone()).collect();
    let id = |id: &str| Some(vec![id.to_owned()]);
    assert_eq!(subjects, [id("1"), id("1"), id("2"), None]);
    assert_eq!(policy.facts[0].country, crate::decision::Extracted::Known("DE".into()));
}

#[test]
fn forms_apply_in_strings() {
    let mapping = payload(&[("@.payload.email", "email")]);
    let masked = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("email") { Form::Masked } else { Form::Clear }
    };
    assert_eq!(
        scrub(&mapping, &body(r#"{"email":"jane@x.org","n":"\""}"#), masked).0,
        body(r#"{"email":"j***@x.org","n":"\""}"#)
    );
    let all = |_: Option<&DecidedRecord>, _: CategoryId| Form::Masked;
    assert_eq!(scrub(&mapping, &body("\"jane\""), all).0, body("\"***\""));
    assert_eq!(scrub(&mapping, &body("[17]"), all).0, body("[null]"));
}

#[test]
fn strings_outside_of_records_and_under_conditions_are_read() {
    let set = record(
        "$.list[?@.kind == 'person']",
        &["@.id"],
        &[
            ("$.meta", "json:non-personal"),
            ("$.meta.owner", "name"),
            ("@.data", "json:service-data"),
            ("@.data.email", "email"),
        ],
    );
    let mapping = mapping(vec![set]);
    let meta = Value::from(r#"{"owner":"O","n":1}"#);
    let data = Value::from(r#"{"email":"a@x","n":1}"#);
    let body = format!(
        r#"{{"meta":{meta},"list":[{{"id":1,"data":{data},"kind":"person"}},{{"data":{data},"kind":"cat"}},{{"kind":"person","data":"x","id":1}}]}}"#
    );
    let rule = |decided: Option<&DecidedRecord>, id: CategoryId| {
        if decided.is_none() || id == category("email") { Form::Removed } else { Form::Clear }
    };
    let (meta, data) = (Value::from(r#"{"n":1}"#), Value::from(r#"{"n":1}"#));
    assert_eq!(
        scrub(&mapping, &body, rule).0,
        format!(r#"{{"meta":{meta},"list":[{{"data":{data}}},{{}}]}}"#)
    );
}

#[test]
fn conditions_decide_which_strings_are_json() {
    let fields = [
        ("@.items[?@.kind=='json'].body", "json:billing"),
        ("@.items[?@.body=='true'].name", "name"),
        ("@.items[?@.body.b==1].phone", "phone"),
        ("@.items[?@.kind=='json'].body.deep[?@.kind=='json'].body", "json:billing"),
        ("@.items[?@.kind=='json'].body.deep[*].body.email", "email"),
    ];
    let mut mapping = mapping(vec![record("$", &["@.id"], &fields)]);
    mapping.unclassified = Unclassified::Release;
    let rule = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("billing") { Form::Clear } else { Form::Removed }
    };
    let inside = Value::from(r#"{"email":"a@x"}"#);
    let deep = format!(r#"{{"deep":[{{"kind":"json","body":{inside}}},{{"kind":"text","body":{inside}}}]}}"#);
    for (item, rest) in [
        (
            r#"{"kind":"text","body":"true","name":"Jane"}"#.to_owned(),
            r#"{"kind":"text","body":"true"}"#.to_owned(),
        ),
        (
            r#"{"kind":"json","body":"{\"b\":1}","phone":"1"}"#.to_owned(),
            r#"{"kind":"json","body":"{\"b\":1}"}"#.to_owned(),
        ),
        (
            r#"{"kind":"text","body":"{\"b\":1}","phone":"1"}"#.to_owned(),
            r#"{"kind":"text","body":"{\"b\":1}","phone":"1"}"#.to_owned(),
        ),
        (
            format!(r#"{{"kind":"json","body":{}}}"#, Value::from(&*deep)),
            format!(
                r#"{{"kind":"json","body":{}}}"#,
                Value::from(&*deep.replacen(&inside.to_string(), r#""{}""#, 1))
            ),
        ),
        (r#"{"kind":"json","body":"x"}"#.to_owned(), r#"{"kind":"json"}"#.to_owned()),
    ] {
        let (out, _) = scrub(&mapping, &format!(r#"{{"items":[{item}]}}"#), rule);
        assert_eq!(out, format!(r#"{{"items":[{rest}]}}"#));
    }
}

#[test]
fn conditions_see_the_decoded_string_they_select() {
    let fields = [("@.x[?@.a==1]", "json:billing"), ("@.x[?@.a==1].email", "email")];
    let mut mapping = mapping(vec![record("$", &[], &fields)]);
    mapping.unclassified = Unclassified::Release;
    let string = |text: &str| Value::from(text).to_string();
    let (one, two) = (string(r#"{"a":1,"email":"e"}"#), string(r#"{"a":2,"email":"e"}"#));
    let (out, _) = scrub(&mapping, &format!(r#"{{"x":[{one},{two}]}}"#), all_but("email"));
    assert_eq!(out, format!(r#"{{"x":[{},{two}]}}"#, string(r#"{"a":1}"#)));
}

#[test]
fn repeated_names_in_strings_yield_no_subject() {
    let mut mapping = mapping(vec![record("$", &["@.p.id"], &[("@.p", "json:name")])]);
    let body = r#"{"p":"{\"id\":1,\"id\":1}"}"#;
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    assert_eq!(scrub(&mapping, body, clear).0, "{}");
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let (out, policy) = scrub(&mapping, body, clear);
    assert_eq!(out, body);
    assert_eq!(policy.records[0].subjects, None);
}

/// Encodes the nodes at these paths as strings, the innermost first.
fn spelled(doc: &Doc, node_path: &mut NodePath, strings: &BTreeSet<NodePath>) -> Doc {
    let mut below = |at: usize, child: &Doc| {
        node_path.push(at);
        let child = spelled(child, node_path, strings);
        node_path.pop();
        child
    };
    let doc = match doc {
        Doc::Scalar(text) => Doc::Scalar(text.clone()),
        Doc::Array(elements) => {
            Doc::Array(elements.iter().enumerate().map(|(at, element)| below(at, element)).collect())
        }
        Doc::Object(members) => Doc::Object(
            members
                .iter()
                .enumerate()
                .map(|(at, (name, member))| (name.clone(), below(at, member)))
                .collect(),
        ),
    };
    // The leading space distinguishes these strings from others.
    if strings.contains(node_path) {
        Doc::Scalar(Value::from(format!(" {}", plain(&doc))).to_string())
    } else {
        doc
    }
}

/// Decodes the strings that `spelled` encoded.
fn unspelled(value: &mut Value) {
    if let Some(text) = value.as_str().filter(|text| text.starts_with([' ', '{', '['])) {
        *value = serde_json::from_str(text).unwrap();
    }
    match value {
        Value::Array(elements) => elements.iter_mut().for_each(unspelled),
        Value::Object(members) => members.values_mut().for_each(unspelled),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 800, ..ProptestConfig::default() })]

    /// For random mappings and documents, JSON in strings has the same result as plain JSON.
    #[test]
    fn json_in_strings_is_scrubbed_like_plain_json(
        doc in doc(true),
        fields in vec((steps(FILTERS), select(CATEGORIES.to_vec())), 1..4),
        place in select(vec!["['a']", "[*]['b']", "['a'][*]", "..['c']", "[?@['a']]"]),
        path in select(vec!["$", "$[*]"]),
        kept in select(CATEGORIES.to_vec()),
        noise in noise(),
        chunk in chunk(),
    ) {
        let value: Value = serde_json::from_str(&plain(&doc)).unwrap();
        let strings: BTreeSet<NodePath> = selected_by_peer(&doc, &value, &format!("{path}{place}"));
        let place = format!("@{place}");
        let own: Vec<(String, &str)> = fields.iter().map(|(steps, id)| (format!("@{}", text(steps)), *id)).collect();
        let own: Vec<(&str, &str)> = own.iter().map(|(path, id)| (path.as_str(), *id)).collect();
        let with = |how: &str| {
            let fields = [&own[..], &[(&*place, how)]].concat();
            Arc::new(compile(&mapping(vec![record(path, &["@['b']"], &fields)])).unwrap())
        };
        let rule = move |decided: Option<&DecidedRecord>, id: CategoryId| {
            let nobody = decided.is_none_or(|decided| decided.subjects.is_none());
            if nobody && id != category(kept) { Form::Removed } else { Form::Clear }
        };
        let run = |plan: &Arc<Plan>, body: &str, chunk: usize| -> Value {
            let out = scrub_in(plan, &mut TestPolicy::new(plan, rule), body.as_bytes(), chunk, Limits::default()).unwrap();
            serde_json::from_slice(&out).unwrap()
        };
        let expected = run(&with("billing"), &plain(&doc), usize::MAX);
        let spelled = spelled(&doc, &mut Vec::new(), &strings);
        let body = spelled.text(&mut noise.iter().copied().cycle());
        let plan = with("json:billing");
        let mut out = run(&plan, &body, chunk);
        unspelled(&mut out);
        prop_assert_eq!(out, expected, "{} {:?}", body, own);
    }
}
