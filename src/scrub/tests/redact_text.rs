//! Redaction of identifiers in free text, and of withheld values wherever they occur in a record.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::*;

fn clear(_: Option<&DecidedRecord>, _: CategoryId) -> Form {
    Form::Clear
}

fn without(withheld: &'static str) -> impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy {
    move |_, id| if id == category(withheld) { Form::Removed } else { Form::Clear }
}

/// Returns a mapping that redacts identifiers in `support-content`.
fn redacting(fields: &[(&str, &str)]) -> Mapping {
    let records = vec![record("$", &[], fields)];
    Mapping { redact: vec![category("support-content")], ..mapping(records) }
}

fn echoing(path: &str, fields: &[(&str, &str)]) -> Mapping {
    Mapping { withhold_echoes: true, ..mapping(vec![record(path, &["@.id"], fields)]) }
}

#[test]
fn identifiers_in_free_text_are_redacted() {
    let mapping =
        redacting(&[("@.note", "support-content"), ("@.mail", "email"), ("@.both", "support-content+email")]);
    for (text, left) in [
        (r#""Mail jane@x.org or call +49 151 12345678.""#, r#""Mail [redacted] or call [redacted].""#),
        (r#""\u006aane\u0040x\u002eorg""#, r#""[redacted]""#),
        (r#""from 192.0.2.1: \"hi\"\n""#, r#""from [redacted]: \"hi\"\n""#),
        (r#""4111\u00201111\u00201111\u00201111 paid""#, r#""[redacted] paid""#),
        (r#""jane%40x.org""#, r#""[redacted]""#),
        (r#""a@b.org,c@d.org""#, r#""[redacted],[redacted]""#),
        (r#""\ud800 jane@x.org""#, r#""[redacted]""#),
        (r#""nothing \u0041""#, r#""nothing \u0041""#),
        ("4111111111111111", "null"),
        ("12345", "12345"),
        ("true", "true"),
        ("[]", "[]"),
        (r#"{"a":["jane@x.org",{"b":"x"}]}"#, r#"{"a":["[redacted]",{"b":"x"}]}"#),
        (r#"{"a":1,"jane@x.org":2,"c":{"192.0.2.1":[]}}"#, r#"{"a":1,"c":{}}"#),
    ] {
        let body = format!(r#"{{"note":{text}, "mail":"jane@x.org"}}"#);
        let rest = format!(r#"{{"note":{left}, "mail":"jane@x.org"}}"#);
        assert_eq!(scrub(&mapping, &body, clear).0, rest, "{text}");
    }
    assert_eq!(scrub(&mapping, r#"{"both":"jane@x.org"}"#, clear).0, r#"{"both":"[redacted]"}"#);
    let masked = |_: Option<&DecidedRecord>, _: CategoryId| Form::Masked;
    assert_eq!(scrub(&mapping, r#"{"note":"jane@x.org"}"#, masked).0, r#"{"note":"***"}"#);
}

#[test]
fn subcategories_and_fields_outside_of_records_are_redacted() {
    let mut mapping =
        mapping(vec![record("$.list[*]", &[], &[("$.note", "support-content"), ("@.t", "service-data")])]);
    let tree = Vocabulary::standard();
    let tree = tree.categories();
    let above = tree.lineage(category("support-content")).last().unwrap();
    mapping.redact = vec![above];
    let body = r#"{"note":{"a":["jane@x.org"],"b":1},"list":[{"t":"c@d.org"}]}"#;
    let (out, _) = scrub(&mapping, body, clear);
    assert!(out.starts_with(r#"{"note":{"a":["[redacted]"],"b":1}"#), "{out}");
}

#[test]
fn json_in_strings_is_redacted() {
    let mapping = redacting(&[("@.note", "json:support-content")]);
    let body = |text: &str| format!(r#"{{"note":{}}}"#, Value::from(text));
    assert_eq!(scrub(&mapping, &body(r#"{"a":"jane@x.org"}"#), clear).0, body(r#"{"a":"[redacted]"}"#));
    assert_eq!(scrub(&mapping, &body(r#""jane@x.org""#), clear).0, body(r#""[redacted]""#));
}

#[test]
fn withheld_values_are_redacted_everywhere_in_the_record() {
    let mapping = echoing(
        "$.items[*]",
        &[
            ("@.email", "email"),
            ("@.name", "name"),
            ("@.n", "phone"),
            ("@['id','label','url','text','list','number']", "non-personal"),
        ],
    );
    let body = r#"{"items":[{"id":1,"label":"Jane Doe <JANE@x.org>","url":"/u?m=jane%40x.org&x","email":"jane@x.org","name":"Jane Doe","text":"by jane  DOE!","list":["a",["jane@x.org"]]},{"id":2,"label":"jane@x.org","name":"Bob"}]}"#;
    let (out, _) = scrub(&mapping, body, without("email"));
    assert_eq!(
        out,
        r#"{"items":[{"id":1,"label":"Jane Doe <[redacted]>","url":"/u?m=[redacted]&x","name":"Jane Doe","text":"by jane  DOE!","list":["a",["[redacted]"]]},{"id":2,"label":"jane@x.org","name":"Bob"}]}"#
    );
    let (out, _) = scrub(&mapping, body, without("name"));
    assert!(
        out.contains(r#""label":"[redacted] <JANE@x.org>""#) && out.contains(r#""text":"by [redacted]!""#),
        "{out}"
    );
    // A masked value is withheld in its original form.
    let masked = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("email") { Form::Masked } else { Form::Clear }
    };
    let (out, _) = scrub(&mapping, body, masked);
    assert!(out.contains(r#""email":"j***@x.org""#) && out.contains("m=[redacted]&x"), "{out}");
    let (out, _) = scrub(&mapping, body, clear);
    assert_eq!(out, body);
    let phone = r#"{"items":[{"n":"+49151234567","number":49151234567,"text":"49151234567"}]}"#;
    assert_eq!(
        scrub(&mapping, phone, without("phone")).0,
        r#"{"items":[{"number":null,"text":"[redacted]"}]}"#
    );
}

#[test]
fn members_named_after_a_withheld_value_are_dropped() {
    let fields = [("@.by", "non-personal"), ("@.email", "email")];
    let mapping = echoing("$", &fields);
    let body = r#"{"email":"jane@x.org","by":{"jane\u0040x.org":{"a":1},"email":2,"b":3}}"#;
    assert_eq!(scrub(&mapping, body, without("email")).0, r#"{"by":{"email":2,"b":3}}"#);
    // A member name that the mapping contains is not a value.
    let body = r#"{"email":"email","by":{"email":2,"kind":"email"}}"#;
    assert_eq!(scrub(&mapping, body, without("email")).0, r#"{"by":{"email":2,"kind":"[redacted]"}}"#);
}

#[test]
fn member_names_in_withheld_values_are_redacted() {
    let mapping = echoing("$", &[("@.by", "name"), ("@.note", "non-personal"), ("@.other", "name")]);
    let body = r#"{"by":{"Jane Doe":{"note":1,"Annabella":[]}},"note":"a note by jane doe, annabella"}"#;
    assert_eq!(scrub(&mapping, body, without("name")).0, r#"{"note":"a note by [redacted], [redacted]"}"#);
    // The name of a member that is dropped by itself names a kind of value, not a value.
    let body = r#"{"unlisted":1,"note":"unlisted"}"#;
    assert_eq!(scrub(&mapping, body, without("name")).0, r#"{"note":"unlisted"}"#);
}

#[test]
fn echoes_are_redacted_in_the_whole_outer_record() {
    let order = record("$.orders[*]", &["@.id"], &[("@.note", "service-data")]);
    let to = record("$.orders[*].to", &["@.id"], &[("@.name", "name")]);
    let mapping = Mapping { withhold_echoes: true, ..mapping(vec![order, to]) };
    let body = r#"{"orders":[{"note":"for Jane Doe","to":{"name":"Jane Doe"}},{"note":"for Jane Doe"}]}"#;
    assert_eq!(
        scrub(&mapping, body, without("name")).0,
        r#"{"orders":[{"note":"for [redacted]","to":{}},{"note":"for Jane Doe"}]}"#
    );
}

#[test]
fn too_many_withheld_values_are_refused() {
    let mapping = echoing("$", &[("@.list", "name")]);
    let plan = Arc::new(compile(&mapping).unwrap());
    let values: Vec<String> = (0..9000).map(|n| format!("\"{n:060}\"")).collect();
    let body = format!(r#"{{"list":[{}]}}"#, values.join(","));
    let mut policy = TestPolicy::new(&plan, without("name"));
    let error = scrub_in(&plan, &mut policy, body.as_bytes(), usize::MAX, Limits::default()).unwrap_err();
    assert_eq!(error.0.fault, BodyFault::TooCostly);
    assert!(error.1.is_empty());
}

/// Spells a value in another way that reads the same.
fn spelled(value: &str, how: u8) -> String {
    let each = |encode: &dyn Fn(char) -> String| value.chars().map(encode).collect::<String>();
    match how % 5 {
        0 => each(&|char| format!("\\u{:04x}", u32::from(char))),
        1 => each(&|char| format!("%{:02X}", u32::from(char))),
        2 => value.to_uppercase(),
        3 => each(&|char| format!("{char}\u{200b}")),
        _ => value.to_owned(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A withheld value does not leave in any spelling or place.
    #[test]
    fn no_withheld_value_leaves(
        value in "[a-z]{4,12}[.]?[a-z]{4}@[a-z]{3,8}[.]org",
        how in vec(any::<u8>(), 4),
        around in vec(select(vec!["", " ", "x: ", "<", "/?m=", "\\n", "\u{e9}"]), 4),
        free in any::<bool>(),
        chunk in 1usize..60,
    ) {
        let mention = |at: usize| format!("{}{} {}", around[at], spelled(&value, how[at]), around[3 - at]);
        let body = format!(
            r#"{{"email":"{}","a":"{}","b":["{}"],"c":{{"d":"{}"}}}}"#,
            value, mention(0), mention(1), mention(2)
        );
        let fields = [("@.email", "email"), ("@['a','b','c']", "support-content")];
        let mapping = if free { redacting(&fields) } else { echoing("$", &fields) };
        let plan = Arc::new(compile(&mapping).unwrap());
        let out = scrub_in(&plan, &mut TestPolicy::new(&plan, without("email")), body.as_bytes(), chunk, Limits::default()).unwrap();
        let out: Value = serde_json::from_slice(&out).unwrap();
        let reads = out.to_string().to_lowercase().replace('\u{200b}', "");
        let bare = percent_encoding::percent_decode_str(&reads).decode_utf8_lossy().into_owned();
        prop_assert!(!bare.contains(&value), "{} {}", body, bare);
        prop_assert_eq!(bare.matches("[redacted]").count(), 3, "{}", bare);
    }
}
