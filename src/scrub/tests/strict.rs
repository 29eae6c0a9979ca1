//! Bodies that are refused, and of which nothing leaves.

use super::removal::remove_in;
use super::*;

fn fault(body: &[u8]) -> Option<Unreadable> {
    let whole = remove_in(&["$.gone"], body, usize::MAX).err();
    for chunk in [1, 2, 3] {
        assert_eq!(
            remove_in(&["$.gone"], body, chunk).err(),
            whole,
            "{} in {chunk}",
            String::from_utf8_lossy(body)
        );
    }
    whole
}

#[test]
fn cached_member_prefixes_do_not_match_in_arrays() {
    let pad = " ".repeat(64);
    let elements = r#"[{"id":1,"gone":"a"}]"#;
    for strange in [r#"[1"id":2,"gone":"hunter2"]"#, r#"["1""id":2]"#, r#"["id":1]"#, r#"[{}"id":1]"#] {
        for queries in [&["$.gone"][..], &["$..gone"], &["$[*][*].gone"], &["$[?@.x].gone"]] {
            let body = format!("[{elements},{strange}{pad}]");
            for chunk in [usize::MAX, 5, 29, 34] {
                let fault = remove_in(queries, body.as_bytes(), chunk).err().map(|it| it.fault);
                assert_eq!(fault, Some(BodyFault::Malformed), "{body} {queries:?}");
            }
        }
    }
    // The same holds for prefixes that an earlier body of the plan has cached.
    let plan =
        Arc::new(compile(&mapping(vec![record("$[*][*]", &["@.id"], &[("@.gone", "name")])])).unwrap());
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    let run = |body: &str| {
        scrub_in(&plan, &mut TestPolicy::new(&plan, clear), body.as_bytes(), usize::MAX, Limits::default())
    };
    run(&format!("[{elements}{pad}]")).unwrap();
    assert!(run(&format!(r#"[[1"id":2,"gone":"x"]{pad}]"#)).is_err());
}

#[test]
fn truncated_json_is_refused() {
    for body in [
        "{",
        "[",
        "[1",
        "[1,",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "\"abc",
        "\"\\u00",
        "tru",
        "-",
        "1e",
        "",
        " ",
        "[\"",
        "{\"a\":\"x",
    ] {
        assert_eq!(fault(body.as_bytes()).map(|it| it.fault), Some(BodyFault::Truncated), "{body}");
    }
}

#[test]
fn text_beyond_rfc_8259_is_refused() {
    for body in [
        "]",
        "[1,]",
        "[,1]",
        "{,}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{'a':1}",
        "[1 2]",
        "{\"a\":1 \"b\":2}",
        "01",
        "[01]",
        "+1",
        ".5",
        "[1.]",
        "[1e]",
        "NaN",
        "Infinity",
        "-Infinity",
        "nul ",
        "True",
        "[1}",
        "{\"a\":1]",
        "// c\n1",
        "/* c */ 1",
        "\"\t\"",
        "\"\\x41\"",
        "\"\\u00g0\"",
        "{1:2}",
        "{\"a\":}",
        "[\"\n\"]",
        ")]}',\n{}",
        "cb({})",
        "{\"gone\":[1,]}",
        "{\"gone\":\"\\x\"}",
        "{\"gone\":01}",
        "[-]",
        "[1-]",
        "[1e]",
    ] {
        let fault = fault(body.as_bytes()).map(|it| it.fault);
        assert!(matches!(fault, Some(BodyFault::Malformed | BodyFault::TrailingBytes)), "{body} {fault:?}");
    }
}

#[test]
fn bytes_after_the_document_are_refused() {
    for body in ["{} {}", "1 2", "{}x", "[]]", "null,"] {
        assert_eq!(fault(body.as_bytes()).map(|it| it.fault), Some(BodyFault::TrailingBytes), "{body}");
    }
}

#[test]
fn json_of_rfc_8259_is_accepted() {
    for body in [
        "{}",
        " [ ] ",
        "\"\"",
        "0",
        "-0",
        "1.5e-7",
        "[[[[]]]]",
        "{\"\":{\"\":0}}",
        "\"\\ud800\"",
        "1e999",
        "\"\u{7f}\"",
    ] {
        assert_eq!(fault(body.as_bytes()), None, "{body}");
    }
}

#[test]
fn bodies_that_are_not_utf_8_are_refused() {
    for bad in [
        &b"\xff"[..],
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\x80",
        b"\xe2\x28\xa1",
        b"\xf0\x9f\x98\"",
    ] {
        for around in [(&b"{\"gone\":\""[..], &b"\"}"[..]), (b"[\"", b"\"]"), (b"{\"", b"\":1}")] {
            let body = [around.0, bad, around.1].concat();
            assert_eq!(fault(&body).map(|it| it.fault), Some(BodyFault::NotUtf8), "{bad:x?}");
        }
    }
    assert_eq!(fault(b"[\"\xe2\x82").map(|it| it.fault), Some(BodyFault::Truncated));
    assert_eq!(fault(b"\xef\xbb\xbf{}"), None);
    assert_eq!(fault(b"\xef\xbb\xbf"), Some(Unreadable { fault: BodyFault::Truncated, at: 3 }));
    assert_eq!(fault(b"\xef\xbb{}").map(|it| it.fault), Some(BodyFault::NotUtf8));
    assert_eq!(fault(b"\xfe\xff\x00{").map(|it| it.fault), Some(BodyFault::NotUtf8));
    assert_eq!(fault(b"{\x00}\x00").map(|it| it.fault), Some(BodyFault::Malformed));
}

#[test]
fn the_first_fault_is_reported_with_its_offset() {
    assert_eq!(fault(b"[1,x,\xff]"), Some(Unreadable { fault: BodyFault::Malformed, at: 3 }));
    assert_eq!(fault(b"[1,\"\xff\",x]"), Some(Unreadable { fault: BodyFault::NotUtf8, at: 4 }));
}

#[test]
fn lone_surrogates_in_names_are_refused() {
    for body in [r#"{"\ud800":1}"#, r#"{"\udc00x":1}"#, r#"[{"a":{"\ud800\u0041":1}}]"#] {
        let plan = Arc::new(compile(&mapping(vec![])).unwrap());
        let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
        let (error, _) = scrub_in(&plan, &mut policy, body.as_bytes(), 4, Limits::default()).unwrap_err();
        assert_eq!(error.fault, BodyFault::LoneSurrogate, "{body}");
    }
    assert_eq!(fault(r#"{"\ud83d\ude00":1}"#.as_bytes()), None);
}

#[test]
fn depth_numbers_and_names_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert_eq!(fault(nested(128).as_bytes()), None);
    assert_eq!(fault(nested(129).as_bytes()), Some(Unreadable { fault: BodyFault::TooDeep, at: 128 }));
    assert_eq!(fault("[".repeat(5_000).as_bytes()).map(|it| it.fault), Some(BodyFault::TooDeep));
    let digits = "1".repeat(1024);
    assert_eq!(fault(digits.as_bytes()), None);
    assert_eq!(fault(format!("{digits}1").as_bytes()).map(|it| it.fault), Some(BodyFault::NumberTooLong));
    assert_eq!(fault(format!("[{digits}1]").as_bytes()).map(|it| it.fault), Some(BodyFault::NumberTooLong));
    let name = "n".repeat((1 << 16) - 2);
    assert_eq!(fault(format!("{{\"{name}\":1}}").as_bytes()), None);
    assert_eq!(
        fault(format!("{{\"{name}n\":1}}").as_bytes()).map(|it| it.fault),
        Some(BodyFault::NameTooLong)
    );
}

#[test]
fn buffered_white_space_is_bounded() {
    let body = format!("[1,{}2]", " ".repeat(1 << 20));
    let mut remover = Remover::new(&[], Limits::default(), Framing::Document).unwrap();
    let error = body.as_bytes().chunks(4096).try_for_each(|chunk| remover.feed(chunk, &mut Vec::new()));
    assert_eq!(error.unwrap_err(), Unreadable { fault: BodyFault::TooLong, at: 2 });
}

#[test]
fn duplicate_names_are_refused_unless_treated_alike() {
    let body = r#"{"items":[{"id":1,"x":{"a":1,"b":2,"\u0061":3}}]}"#;
    let mut mapping = mapping(vec![record("$.items[*]", &["@.id"], &[("@.x", "name")])]);
    let plan = Arc::new(compile(&mapping).unwrap());
    let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
    let (error, out) = scrub_in(&plan, &mut policy, body.as_bytes(), 5, Limits::default()).unwrap_err();
    assert_eq!(error, Unreadable { fault: BodyFault::DuplicateName, at: 35 });
    assert!(!String::from_utf8_lossy(&out).contains("id"));
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let (out, _) = scrub(&mapping, body, |_, _| Form::Clear);
    assert_eq!(out, r#"{"items":[{"x":{"a":1,"b":2,"\u0061":3}}]}"#);
}

#[test]
fn conditions_that_depend_on_a_repeated_name_are_refused() {
    let fields = [("@.items[?@.kind == 'open'].value", "non-personal"), ("@.items[*].kind", "non-personal")];
    let mut mapping = mapping(vec![record("$[*]", &["@.id"], &fields)]);
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let plan = Arc::new(compile(&mapping).unwrap());
    let run = |first: &str, second: &str| {
        let body = format!(r#"[{{"id":1,"items":[{{"kind":"{first}","kind":"{second}","value":5}}]}}]"#);
        let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
        scrub_in(&plan, &mut policy, body.as_bytes(), 5, Limits::default())
    };
    let value = |out: Vec<u8>| String::from_utf8(out).unwrap().contains("value");
    assert!(value(run("open", "open").unwrap()) && !value(run("secret", "shut").unwrap()));
    let deep = [("@.items[?@.kind.open].value", "non-personal")];
    let mut mapping = self::mapping(vec![record("$[*]", &["@.id"], &deep)]);
    mapping.duplicate_keys = DuplicateKeys::TreatAlike;
    let body = br#"[{"id":1,"items":[{"kind":{"open":1},"kind":{"secret":1},"value":5}]}]"#;
    let deep = Arc::new(compile(&mapping).unwrap());
    let (error, _) =
        scrub_in(&deep, &mut TestPolicy::new(&deep, |_, _| Form::Clear), body, 5, Limits::default())
            .unwrap_err();
    assert_eq!(error.fault, BodyFault::DuplicateName);
    for (first, second) in [("open", "secret"), ("secret", "open")] {
        let (error, out) = run(first, second).unwrap_err();
        assert_eq!(error.fault, BodyFault::DuplicateName);
        assert!(!value(out));
    }
}

#[test]
fn records_over_the_bound_stop_the_body() {
    let limits = Limits { record: 64, ..Limits::default() };
    let plan = Arc::new(compile(&mapping(vec![record("$[*]", &["@.id"], &[("@.v", "name")])])).unwrap());
    let small = format!(r#"{{"id":1,"v":"{}"}}"#, "a".repeat(64 - 15));
    let large = format!(r#"{{"id":1,"v":"{}"}}"#, "a".repeat(65 - 15));
    assert_eq!((small.len(), large.len()), (64, 65));
    let body = format!("[{small},{large},{small}]");
    for chunk in [1, 7, 50, 1000] {
        let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
        let (error, out) = scrub_in(&plan, &mut policy, body.as_bytes(), chunk, limits).unwrap_err();
        assert_eq!(error, Unreadable { fault: BodyFault::TooLong, at: 66 }, "chunks of {chunk}");
        assert_eq!(policy.records.len(), 1);
        assert!(String::from_utf8(out).unwrap().matches("\"v\"").count() == 1);
    }
}

#[test]
fn nothing_is_written_after_a_fault() {
    let plan = Arc::new(compile(&mapping(vec![record("$[*]", &[], &[("@", "name")])])).unwrap());
    let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
    let mut scrubber = Scrubber::new(plan.clone(), forms(), &[], Limits::default(), Framing::Document);
    let mut out = Vec::new();
    let first = scrubber.feed(b"[1,2,x", &mut policy, &mut out).unwrap_err();
    let before = out.clone();
    assert_eq!(scrubber.feed(b",3,4]", &mut policy, &mut out).unwrap_err(), first);
    assert_eq!(scrubber.finish(&mut policy, &mut out).unwrap_err(), first);
    assert_eq!(out, before);
}
