//! Deviations of `jsonpath-rust` from RFC 9535 (`docs/upstream.md`), beside the behaviour of the scrubber.
//!
//! A test that fails here means that the crate was corrected. The test and the workaround can then be removed.

use jsonpath_rust::JsonPath as _;
use jsonpath_rust::parser::parse_json_path;
use serde_json::json;

use super::removal::remove_in;
use crate::scrub::query::{self, MappingFault};

#[test]
fn evaluator_selects_nothing_for_nested_filters() {
    let list = json!([[1], [2]]);
    for text in ["$[?@[?@>1]]", "$[?@[?@==2]]", "$[?(@[?(@>1)])]"] {
        assert!(list.query(text).unwrap().is_empty(), "{text}");
        assert_eq!(remove_in(&[text], list.to_string().as_bytes(), 3).unwrap(), b"[[1]]", "{text}");
    }
}

#[test]
fn parser_accepts_ill_typed_queries() {
    for text in [
        "$[?count(@..*)]",
        "$[?length(@.a)]",
        "$[?value(@.a)]",
        "$[?length(@.*) < 3]",
        "$[?length(@[1, 2]) < 3]",
        "$[?length(@['a','b']) < 3]",
        "$[?in(@.a, @.b)]",
        "$[?none_of(@.a, @.b)]",
    ] {
        assert!(parse_json_path(text).is_ok(), "{text}");
        let refused = query::read(text);
        assert!(matches!(refused, Err(MappingFault::NotInRfc(_) | MappingFault::Syntax(_))), "{text}");
    }
}

#[test]
fn parser_trims_names() {
    let document = json!({"a": 1, "a\u{a0}": 2});
    assert_eq!(document.query("$.a\u{a0}").unwrap(), [&json!(1)]);
    let text = document.to_string();
    assert_eq!(remove_in(&["$.a\u{a0}"], text.as_bytes(), 3).unwrap(), br#"{"a":1}"#);
    assert!(parse_json_path("$.a ").is_ok() && query::read("$.a ").is_err());
}

#[test]
fn parser_rounds_numbers() {
    let text = "$[?@ == 0.10000000000000001]";
    assert_eq!(json!([0.1]).query(text).unwrap(), [&json!(0.1)]);
    assert!(query::read(text).is_err());
}
