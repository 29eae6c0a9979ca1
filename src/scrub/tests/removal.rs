//! `scrub --remove`: the selected nodes are removed, all other bytes stay, and commas stay valid.

use super::*;

pub(super) fn remove_in(queries: &[&str], body: &[u8], chunk: usize) -> Result<Vec<u8>, Unreadable> {
    let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
    let mut remover = Remover::new(&queries, Limits::default(), Framing::Document).unwrap();
    let mut out = Vec::new();
    for chunk in body.chunks(chunk) {
        remover.feed(chunk, &mut out)?;
    }
    remover.finish(&mut out)?;
    Ok(out)
}

fn remove(queries: &[&str], body: &str) -> String {
    let whole = remove_in(queries, body.as_bytes(), usize::MAX).unwrap();
    for chunk in [1, 2, 3, 5, 17] {
        assert_eq!(remove_in(queries, body.as_bytes(), chunk).unwrap(), whole, "{queries:?} {body} {chunk}");
    }
    String::from_utf8(whole).unwrap()
}

#[test]
fn patterns_from_the_document_are_bounded() {
    let queries = ["$[?match(@.a, @.p)].a"];
    let body = |pattern: &str| format!(r#"[{{"a":"xx","p":"{pattern}"}}]"#);
    assert_eq!(remove_in(&queries, body("x{2}").as_bytes(), 7).unwrap(), br#"[{"p":"x{2}"}]"#);
    let fault = remove_in(&queries, body("(a{60}){60}").as_bytes(), 7).unwrap_err().fault;
    assert_eq!(fault, BodyFault::TooCostly);
}

#[test]
fn commas_are_right_in_every_combination() {
    for (query, body, rest) in [
        ("$.a", r#"{ "a":1, "b":2 }"#, r#"{ "b":2 }"#),
        ("$.b", r#"{ "a":1, "b":2 }"#, r#"{ "a":1 }"#),
        ("$[*]", r#"{ "a":1, "b":2 }"#, "{ }"),
        ("$.b", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"c":3}"#),
        ("$['a','b']", r#"{"a":1,"b":2,"c":3}"#, r#"{"c":3}"#),
        ("$['a','c']", r#"{"a":1,"b":2,"c":3}"#, r#"{"b":2}"#),
        ("$['b','c']", r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1}"#),
        ("$['a','c']", r#"{"a":1,"b":2,"c":3,"d":4}"#, r#"{"b":2,"d":4}"#),
        ("$[0]", "[1, 2, 3]", "[ 2, 3]"),
        ("$[1]", "[1, 2, 3]", "[1, 3]"),
        ("$[2]", "[1, 2, 3]", "[1, 2]"),
        ("$[0:2]", "[1 , 2 , 3 ]", "[ 3 ]"),
        ("$[*]", "[1,2,3]", "[]"),
        ("$..a", r#"{"a":{"a":1},"b":[{"a":1,"b":2},{"b":{"a":[]}}]}"#, r#"{"b":[{"b":2},{"b":{}}]}"#),
        ("$.a", "{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"b\": 2\n}\n"),
        ("$.b", "{\n  \"a\": 1,\n  \"b\": 2\n}\n", "{\n  \"a\": 1\n}\n"),
        ("$[*]", "{\n  \"a\": 1,\n  \"b\": 2\n}", "{\n}"),
        ("$", " 12 ", " null "),
        ("$.x", "-0.10e5", "-0.10e5"),
    ] {
        assert_eq!(remove(&[query], body), rest, "{query} {body}");
    }
}

#[test]
fn kept_bytes_are_unchanged() {
    let body = "\t{ \"n\" : 1.50e+3 ,\r\n \"s\":\"\\u0041\\/\" , \"d\":1, \"d\" :2, \"big\":123456789012345678901234567890 } ";
    assert_eq!(remove(&["$.nothing"], body), body);
    assert_eq!(remove(&["$..[?@.x == 1]"], body), body);
}

#[test]
fn names_compare_unescaped_and_every_occurrence_is_removed() {
    let body = r#"{"e\u006dail":1,"email":2,"EMAIL":3,"email\u0000":4,"email":5}"#;
    assert_eq!(remove(&["$.email"], body), r#"{"EMAIL":3,"email\u0000":4}"#);
    // In a condition, names are compared unescaped as well.
    let list = r#"[{"a\n":1},{"a\\n":2},{"a\\\n":3},{"a\u005cn":4},{"an":5}]"#;
    assert_eq!(remove(&[r"$[?@['a\\n']]"], list), r#"[{"a\n":1},{"a\\\n":3},{"an":5}]"#);
    assert_eq!(remove(&[r"$[?@['a\n']]"], list), r#"[{"a\\n":2},{"a\\\n":3},{"a\u005cn":4},{"an":5}]"#);
    assert_eq!(
        remove(&[r"$..[?@['\u0061n']]"], list),
        r#"[{"a\n":1},{"a\\n":2},{"a\\\n":3},{"a\u005cn":4}]"#
    );
}

#[test]
fn conditions_select_the_right_nodes() {
    let list = r#"[{"t":"a","v":1},{"t":"b","v":2},{"v":3,"t":"a"},4]"#;
    for (query, rest) in [
        ("$[?@.t == 'a']", r#"[{"t":"b","v":2},4]"#),
        ("$[?@.t == 'a'].v", r#"[{"t":"a"},{"t":"b","v":2},{"t":"a"},4]"#),
        ("$[-1]", r#"[{"t":"a","v":1},{"t":"b","v":2},{"v":3,"t":"a"}]"#),
        ("$[::2]", r#"[{"t":"b","v":2},4]"#),
        ("$[::-2]", r#"[{"t":"a","v":1},{"v":3,"t":"a"}]"#),
        ("$[-2:]", r#"[{"t":"a","v":1},{"t":"b","v":2}]"#),
        ("$..[?@.v > 1]", r#"[{"t":"a","v":1},4]"#),
        ("$..[?@ == 'a']", r#"[{"v":1},{"t":"b","v":2},{"v":3},4]"#),
        ("$[?@.v == $[1].v]", r#"[{"t":"a","v":1},{"v":3,"t":"a"},4]"#),
        ("$[?match(@.t, '[ab]')]", "[4]"),
        ("$[?length(@) == 2]['v']", r#"[{"t":"a"},{"t":"b"},{"t":"a"},4]"#),
        ("$[?@[?@ > 1]]", r#"[{"t":"a","v":1},4]"#),
        ("$[?count(@.*) == 0]", r#"[{"t":"a","v":1},{"t":"b","v":2},{"v":3,"t":"a"}]"#),
    ] {
        assert_eq!(remove(&[query], list), rest, "{query}");
    }
    assert_eq!(remove(&["$[?@[-1] == 2]"], "[[2],[1,2],[2,1],[]]"), "[[2,1],[]]");
    let deep = r#"{"a":{"items":[{"k":1,"x":{"y":1}},{"k":2,"x":{"y":2}}],"k":0}}"#;
    assert_eq!(
        remove(&["$.a.items[?@.k==1].x.y", "$..x[?@ == 2]"], deep),
        r#"{"a":{"items":[{"k":1,"x":{}},{"k":2,"x":{}}],"k":0}}"#
    );
}

#[test]
fn large_values_pass_without_being_held() {
    let long = "x".repeat(3 << 20);
    let body = format!(r#"{{"keep":"{long}","go":"{long}","list":["{long}"],"b":1}}"#);
    let queries = ["$.go".to_owned(), "$.list".to_owned()];
    let mut remover = Remover::new(&queries, Limits::default(), Framing::Document).unwrap();
    let mut out = Vec::new();
    for chunk in body.as_bytes().chunks(10_000) {
        remover.feed(chunk, &mut out).unwrap();
    }
    remover.finish(&mut out).unwrap();
    assert_eq!(out, format!(r#"{{"keep":"{long}","b":1}}"#).as_bytes());
}

#[test]
fn each_line_is_a_document() {
    let mut remover = Remover::new(&["$.a".to_owned()], Limits::default(), Framing::Lines).unwrap();
    let mut out = Vec::new();
    for chunk in b"{\"a\":1,\"b\":2}\n\n{\"a\":3}\r\n17\n".chunks(3) {
        remover.feed(chunk, &mut out).unwrap();
    }
    remover.finish(&mut out).unwrap();
    assert_eq!(String::from_utf8(out).unwrap(), "{\"b\":2}\n\n{}\r\n17\n");
    let mut remover = Remover::new(&[], Limits::default(), Framing::Lines).unwrap();
    let error = remover.feed(b"{} {}", &mut Vec::new()).unwrap_err();
    assert_eq!(error, Unreadable { fault: BodyFault::TrailingBytes, at: 3 });
}

#[test]
fn each_of_several_texts_leaves_whole_or_not_at_all() {
    let wrong = r#"{"b":"secret",x}"#;
    let in_lines = [format!("{{\"b\":1}}\n\n{wrong}\n"), "{\"b\":1}\n\n".to_owned()];
    let in_sequence = [format!("\x1e{{\"b\":1}}\n\x1e{wrong}\n"), "\x1e{\"b\":1}\n".to_owned()];
    for (framing, [body, left]) in [(Framing::Lines, &in_lines), (Framing::Sequence, &in_sequence)] {
        for chunk in [1, 3, 10, 100] {
            let mut remover = Remover::new(&["$.a".to_owned()], Limits::default(), framing).unwrap();
            let mut out = Vec::new();
            let fed = body.as_bytes().chunks(chunk).try_for_each(|chunk| remover.feed(chunk, &mut out));
            assert_eq!(fed.unwrap_err().fault, BodyFault::Malformed);
            assert_eq!(String::from_utf8(out).unwrap(), *left, "chunks of {chunk}");
        }
    }
    // A text longer than the record bound is not held, so it leaves while it is read.
    let limits = Limits { record: 64, ..Limits::default() };
    let mut remover = Remover::new(&["$.a".to_owned()], limits, Framing::Lines).unwrap();
    let mut out = Vec::new();
    let long = format!("{{\"b\":\"{}\",", "x".repeat(200));
    remover.feed(long.as_bytes(), &mut out).unwrap();
    assert!(out.len() > 64, "{} bytes left", out.len());
    remover.feed(b"\"a\":1}\n", &mut out).unwrap();
    remover.finish(&mut out).unwrap();
    assert_eq!(out, format!("{}}}\n", long.trim_end_matches(',')).as_bytes());
}

/// A reader takes one of two occurrences of a name. The node is removed if the query selects it for either one.
#[test]
fn nodes_that_any_reading_of_repeated_names_selects_are_removed() {
    for (body, query, goes) in [
        (r#"[{"a":1,"a":2}]"#, "$[?@.a==2]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?@.a!=1]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?!(@.a==1)]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?!(@.a>1)]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?!(@.a==1 || @.a==2)]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?@.a==3]", false),
        (r#"[{"a":1,"a":2}]"#, "$[?!(@.a<3)]", false),
        (r#"[{"a":1,"a":2}]"#, "$[?!@.a]", false),
        (r#"[{"a":"x","a":"y"}]"#, "$[?!match(@.a,'x')]", true),
        (r#"[{"a":"x","a":1}]"#, "$[?!match(@.a,'x')]", true),
        (r#"[{"a":"x","a":"x"}]"#, "$[?!match(@.a,'x')]", false),
        (r#"[{"b":1}]"#, "$[?!match(@.a,'x')]", true),
        (r#"[{"a":{"b":1},"a":{}}]"#, "$[?!@.a.b]", true),
        (r#"[{"a":{"b":1},"a":3}]"#, "$[?@.a.b!=1]", true),
        (r#"[{"a":{"b":1},"a":{}}]"#, "$[?@.a.b==@.z]", true),
        (r#"[{"a":[1],"a":[]}]"#, "$[?!@.a[0]]", true),
        (r#"[{"a":"x","a":5}]"#, "$[?length(@.a)!=1]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?count(@.*)==1]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?length(@)==1]", true),
        (r#"[{"a":1,"a":2}]"#, "$[?value(@..a)==1]", true),
        (r#"[{"a":{"k":1,"k":2},"c":{"k":1}}]"#, "$[?@.a==@.c]", true),
        (r#"[[{"k":1,"k":2}]]"#, "$[?!@[?@.k==1]]", true),
        (r#"[{"c":{"b":1},"c":2}]"#, "$[?!@..b]", true),
        (r#"[{"c":{"b":1},"c":{"b":1}}]"#, "$[?count(@..b)==1]", true),
        (r#"[{"c":{"b":"y"},"c":{"b":"x"}}]"#, "$[?value(@..b)=='x']", true),
        (r#"[{"c":[1],"c":[]}]"#, "$[?!@..[0]]", true),
        (r#"[{"c":[1,2],"c":[]}]"#, "$[?!@..[1:]]", true),
        (r#"[{"c":{"b":1},"d":{"b":1}}]"#, "$[?count(@..b)==1]", false),
        (r#"[{"a":{"b":1},"c":{"b":1}}]"#, "$[?@.a.b!=1]", false),
        (r#"[{"a":1,"c":2}]"#, "$[?count(@.*)==1]", false),
    ] {
        let left: &[u8] = if goes { b"[]" } else { body.as_bytes() };
        assert_eq!(remove_in(&[query], body.as_bytes(), 3).unwrap(), left, "{query} of {body}");
    }
}
