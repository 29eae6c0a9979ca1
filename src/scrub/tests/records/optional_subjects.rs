//! Subjects that a record may lack.

use super::*;

/// Returns the mapping of a record with a creator and an optional second subject.
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
fn absent_optional_subjects_are_ignored() {
    let mapping = with_optional("@.assignee.id");
    let decided = |record: &str| {
        let (_, policy) = scrub(&mapping, &format!("[{record}]"), clear);
        policy.records[0].subjects.clone()
    };
    for (assignee, subjects) in [
        ("", Some(vec!["1"])),
        (r#","assignee":null"#, Some(vec!["1"])),
        (r#","assignee":{"id":null}"#, Some(vec!["1"])),
        (r#","assignee":{"id":2}"#, Some(vec!["1", "2"])),
        // A second subject is present, but without a usable id.
        (r#","assignee":{"n":"Bob"}"#, None),
        (r#","assignee":"Bob""#, None),
        (r#","assignee":[{"id":2}]"#, None),
        (r#","assignee":{"id":""}"#, None),
        (r#","assignee":{"id":1.5}"#, None),
        (r#","assignee":{"id":{}}"#, None),
        (r#","assignee":{"id":[2]}"#, None),
    ] {
        let expected = subjects.map(|ids| ids.into_iter().map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(decided(&format!(r#"{{"creator":{{"id":1}}{assignee}}}"#)), expected, "{assignee}");
    }
    assert_eq!(decided(r#"{"assignee":{"id":2}}"#), None, "the other one is not optional");
    let (out, _) =
        scrub(&mapping, r#"[{"title":"t1","creator":{"id":"1","n":"Ada"},"assignee":null}]"#, of_one);
    assert_eq!(out, r#"[{"title":"t1","creator":{"id":"1","n":"Ada"},"assignee":null}]"#);
}

#[test]
fn duplicated_optional_subjects_yield_no_subject() {
    let mut mapping = with_optional("@.assignee.id");
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    for assignee in [
        r#""assignee":null,"assignee":{"id":2}"#,
        r#""assignee":{"id":2},"assignee":null"#,
        r#""assignee":{"id":null,"id":2}"#,
        r#""assignee":{"id":2,"id":2}"#,
    ] {
        let (_, policy) = scrub(&mapping, &format!(r#"[{{"creator":{{"id":1}},{assignee}}}]"#), clear);
        assert_eq!(policy.records[0].subjects, None, "{assignee}");
    }
}

#[test]
fn optional_subject_lists_report_the_present_ids() {
    let mapping = with_optional("@.watchers[*].id");
    let decided = |watchers: &str| {
        let (_, policy) =
            scrub(&mapping, &format!(r#"[{{"creator":{{"id":1}},"watchers":{watchers}}}]"#), clear);
        policy.records[0].subjects.as_ref().map(|subjects| subjects.join(" "))
    };
    for (watchers, subjects) in [
        ("[]", Some("1")),
        ("null", Some("1")),
        (r#"[{"id":2},{"id":null},null]"#, Some("1 2")),
        (r#"[{"id":2},{"n":"Bob"}]"#, None),
        (r#"[{"id":2},"Bob"]"#, None),
        (r#""Bob""#, None),
    ] {
        assert_eq!(decided(watchers).as_deref(), subjects, "{watchers}");
    }
}

#[test]
fn at_least_one_optional_subject_must_be_present() {
    let mut set = record("$[*]", &["@.a", "@.b"], &[]);
    set.subjects.iter_mut().for_each(|source| source.optional = true);
    let (_, policy) = scrub(&mapping(vec![set]), r#"[{},{"a":null},{"b":2},{"a":1,"b":null}]"#, clear);
    assert_eq!(ids(&policy), [None, None, one("2"), one("1")]);
}
