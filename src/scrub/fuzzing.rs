//! Properties that hold for any input: the targets of `fuzz/` and of the short run in the tests.
//!
//! Each function takes bytes and panics if the property does not hold. The first bytes choose the configuration, the
//! rest is the input.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    missing_docs,
    reason = "a panic is how a fuzz target reports a fault"
)]

use std::collections::BTreeSet;

use super::forms::{ValueContext, ValueKind};
use super::redact_text::SearchTerms;
use super::unreadable::BYTE_ORDER_MARK;
use super::{BodyFault, Forms, Framing, Limits, Pseudonyms, Remover, Unreadable, query as queries};
use crate::vocabulary::Form;

/// Small bounds, so that inputs reach them.
const LIMITS: Limits = Limits { record: 4096, depth: 24, number: 64, name: 256, members: 512 };

const QUERIES: &[&[&str]] = &[
    &[],
    &["$.a"],
    &["$..a", "$[*].b"],
    &["$[0]", "$[-1]"],
    &["$[?@.a == 1]"],
    &["$..[?@.a || @.b > 'x']", "$.c[1:3]"],
    &["$[?count(@.*) > 1].a", "$..b[::2]"],
];

fn run(queries: &[&str], framing: Framing, body: &[u8], chunk: usize) -> (Vec<u8>, Result<(), Unreadable>) {
    let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
    let mut remover = Remover::new(&queries, LIMITS, framing).expect("the queries are valid");
    let mut out = Vec::new();
    let mut done = body.chunks(chunk.max(1)).try_for_each(|chunk| remover.feed(chunk, &mut out));
    if done.is_ok() {
        done = remover.finish(&mut out);
    }
    (out, done)
}

/// Tests that a query either fails to parse or removes nodes so that JSON remains.
pub fn query(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read = queries::read(text);
    assert_eq!(read.is_ok(), queries::read(text).is_ok());
    let removing = Remover::new(&[text.to_owned()], LIMITS, Framing::Document);
    assert_eq!(removing.is_ok(), read.is_ok() && text.starts_with('$'), "{text}");
    let document = br#"{"a":[{"a":1,"b":"x"},{"b":[null,true]},[]],"b":{"c":-1.5,"d e":"a"}}"#;
    if let Ok(mut remover) = removing {
        let mut out = Vec::new();
        let done = remover.feed(document, &mut out).and_then(|()| remover.finish(&mut out));
        match done {
            Ok(()) => drop(serde_json::from_slice::<serde_json::Value>(&out).expect("JSON comes out")),
            Err(unreadable) => assert_eq!(unreadable.fault, BodyFault::TooCostly),
        }
    }
}

/// Tests that a body is accepted exactly if it is JSON within the bounds, and that chunks do not matter.
pub fn walk(input: &[u8]) {
    let Some((&[choice, chunk], body)) = input.split_first_chunk::<2>() else { return };
    // The scrubber skips one byte order mark.
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let text = std::str::from_utf8(body).ok();
    let peer = text.is_some_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    let (out, done) = run(&[], Framing::Document, body, body.len());
    match done.map_err(|unreadable| unreadable.fault) {
        Ok(()) => assert!(peer && out == body, "only JSON is accepted, and all of it stays"),
        // Beyond a bound the rest of the body is not read, so it need not be JSON.
        Err(
            BodyFault::TooDeep
            | BodyFault::NumberTooLong
            | BodyFault::NameTooLong
            | BodyFault::TooLong
            | BodyFault::TooManyMembers,
        ) => {}
        Err(BodyFault::LoneSurrogate) => {}
        Err(
            fault @ (BodyFault::Malformed
            | BodyFault::NotUtf8
            | BodyFault::DuplicateName
            | BodyFault::TooCostly
            | BodyFault::OtherColumns
            | BodyFault::Truncated
            | BodyFault::TrailingBytes),
        ) => assert!(!peer, "{fault:?}"),
    }
    let queries = QUERIES[usize::from(choice) % QUERIES.len()];
    let (whole, done) = run(queries, Framing::Document, body, body.len());
    let (cut, again) = run(queries, Framing::Document, body, usize::from(chunk));
    // Two faults may be close together: then the chunks decide which bound is reached first.
    assert_eq!(done.is_ok(), again.is_ok(), "{done:?} {again:?}");
    if done.is_ok() {
        assert_eq!(whole, cut, "chunks do not matter");
        let _: serde::de::IgnoredAny = serde_json::from_slice(&whole).expect("JSON comes out");
    }
}

/// Tests that chunks of a body with several JSON texts do not matter, and that a second run removes nothing more.
pub fn texts(input: &[u8]) {
    let Some((&[choice, chunk], body)) = input.split_first_chunk::<2>() else { return };
    let framing = [Framing::Lines, Framing::Sequence, Framing::Events][usize::from(choice) % 3];
    let (whole, done) = run(&["$..secret"], framing, body, body.len());
    let (cut, again) = run(&["$..secret"], framing, body, usize::from(chunk));
    // Two faults may be close together: then the chunks decide which bound is reached first.
    assert_eq!(done.is_ok(), again.is_ok(), "{done:?} {again:?}");
    if done.is_ok() {
        assert_eq!(whole, cut, "chunks do not matter");
        let (twice, done) = run(&["$..secret"], framing, &whole, usize::from(chunk));
        assert!(
            done.is_ok() && twice == whole,
            "the output has the same framing, and nothing is left to remove"
        );
    }
}

/// Tests that a table is read as a simple parser reads it, that the cells of a removed column are empty and everything else
/// leaves as it came, and that chunks do not matter.
pub fn rows(input: &[u8]) {
    let Some((&[choice, chunk], body)) = input.split_first_chunk::<2>() else { return };
    let queries: &[&str] = if choice % 2 == 0 { &[] } else { &["$.secret"] };
    let (whole, done) = run(queries, Framing::Rows, body, body.len());
    let (cut, again) = run(queries, Framing::Rows, body, usize::from(chunk));
    assert_eq!((&whole, done), (&cut, again), "chunks do not matter");
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let peer = table(body).filter(|rows| {
        let header: BTreeSet<&String> = rows.iter().take(1).flatten().collect();
        !rows.is_empty() && rows.iter().all(|row| row.len() == header.len())
    });
    if done.is_err() {
        let within_bounds = |rows: &Vec<Vec<String>>| {
            let is_short =
                |name: &String| serde_json::Value::from(name.as_str()).to_string().len() < LIMITS.name;
            body.len() < LIMITS.record / 16 && rows.iter().take(1).flatten().all(is_short)
        };
        assert!(!peer.is_some_and(|rows| within_bounds(&rows)), "a table is accepted: {done:?}");
        return;
    }
    let mut expected = peer.expect("only a table is accepted");
    if queries.is_empty() {
        assert_eq!(whole, body);
    } else if let Some(secret) = expected[0].iter().position(|name| name == "secret") {
        expected.iter_mut().skip(1).for_each(|row| row[secret].clear());
    }
    assert_eq!(table(&whole), Some(expected));
    // The first name of the output may begin with the character of the mark.
    if !whole.starts_with(BYTE_ORDER_MARK) {
        let (twice, done) = run(queries, Framing::Rows, &whole, usize::from(chunk));
        assert!(done.is_ok() && twice == whole, "nothing is left to remove");
    }
}

/// Reads a table (RFC 4180) in the simplest way. `None` if it is not well-formed; its rows may differ in length.
pub fn table(body: &[u8]) -> Option<Vec<Vec<String>>> {
    let mut rest = std::str::from_utf8(body).ok().filter(|text| !text.contains('\0'))?;
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let mut row = Vec::new();
        loop {
            let (cell, after) = table_cell(rest)?;
            row.push(cell);
            let Some(more) = after.strip_prefix(',') else {
                rest = after;
                break;
            };
            rest = more;
        }
        let ended = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix('\n'));
        rest = if rest.is_empty() { rest } else { ended? };
        rows.push(row);
    }
    Some(rows)
}

/// Reads the cell at the beginning of a text. Returns the text of the cell, and the rest.
fn table_cell(text: &str) -> Option<(String, &str)> {
    let Some(mut quoted) = text.strip_prefix('"') else {
        let (cell, rest) = text.split_at(text.find([',', '\n']).unwrap_or(text.len()));
        let (cell, rest) = match cell.strip_suffix('\r').filter(|_| rest.starts_with('\n')) {
            Some(before) => (before, rest),
            None => (cell, rest),
        };
        return (!cell.contains(['"', '\r'])).then(|| (cell.to_owned(), rest));
    };
    let mut cell = String::new();
    loop {
        let (before, after) = quoted.split_once('"')?;
        cell += before;
        let Some(more) = after.strip_prefix('"') else { return Some((cell, after)) };
        cell.push('"');
        quoted = more;
    }
}

/// Tests that each form of a JSON value is JSON and always the same.
pub fn forms(input: &[u8]) {
    const KINDS: [ValueKind; 9] = [
        ValueKind::Email,
        ValueKind::Phone,
        ValueKind::Card,
        ValueKind::Name,
        ValueKind::Date,
        ValueKind::Ip,
        ValueKind::Location,
        ValueKind::Address,
        ValueKind::Other,
    ];
    const FORMS: [Form; 4] = [Form::Clear, Form::Masked, Form::Generalised, Form::Pseudonymised];
    let Some((&[form, kind], body)) = input.split_first_chunk::<2>() else { return };
    let value = body.trim_ascii();
    let (form, kind) = (FORMS[usize::from(form) % 4], KINDS[usize::from(kind) % 9]);
    if run(&[], Framing::Document, value, value.len()).1.is_err() {
        return;
    }
    let made: Forms = Pseudonyms::new([7; 32]).for_recipient("somebody");
    let write = || {
        let mut out = Vec::new();
        made.write(form, ValueContext { kind, category: "c", name: None }, value, &mut out);
        out
    };
    let out = write();
    assert_eq!(out, write());
    assert!(
        run(&[], Framing::Document, &out, 7).1.is_ok(),
        "JSON comes out: {}",
        String::from_utf8_lossy(&out)
    );
    if form == Form::Clear {
        assert_eq!(out, value);
    }
}

/// Tests that no e-mail address remains in a redacted text.
pub fn redact_text(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let (withheld, text) = text.split_once('\n').unwrap_or(("", text));
    let value = serde_json::Value::from(text).to_string();
    let mut sought = SearchTerms::default();
    sought.add(serde_json::Value::from(withheld).to_string().as_bytes());
    let Ok(mut search) = sought.redactor() else { return };
    let Ok(concealed) = search.redact(value.as_bytes(), true) else { return };
    let left: String = concealed
        .map_or(text.to_owned(), |concealed| serde_json::from_str(&concealed).expect("a string comes out"));
    let beside = |byte: &u8| byte.is_ascii_alphanumeric();
    let address =
        left.as_bytes().windows(3).any(|three| matches!(three, [a, b'@', z] if beside(a) && beside(z)));
    assert!(!address, "{left}");
}
