//! Bodies of several JSON texts: each text is scrubbed as if it were alone.

use proptest::collection::vec;
use proptest::prelude::*;

use super::walks::{chunk, doc, noise};
use super::*;

/// Returns a plan in which each text is a record.
fn plan(events: &[&str]) -> Arc<Plan> {
    let events = events.iter().map(|name| (*name).to_owned()).collect();
    let set = record("$", &["@.a"], &[("@.a", "non-personal"), ("@.b", "name"), ("@..c", "email")]);
    Arc::new(compile(&Mapping { events, ..mapping(vec![set]) }).unwrap())
}

/// Releases the records of subject 1.
fn of_one(decided: Option<&DecidedRecord>, _: CategoryId) -> Form {
    let one = decided.and_then(|decided| decided.subjects.as_deref()).is_some_and(|ids| ids == ["1"]);
    if one { Form::Clear } else { Form::Removed }
}

/// Scrubs a body in chunks of several sizes and checks that the results agree.
fn framed(framing: Framing, events: &[&str], body: &str) -> (String, Option<Unreadable>) {
    let plan = plan(events);
    let run = |chunk: usize| {
        let result = scrub_framed(
            &plan,
            &mut TestPolicy::new(&plan, of_one),
            framing,
            body.as_bytes(),
            chunk,
            Limits::default(),
        );
        match result {
            Ok(out) => (String::from_utf8(out).unwrap(), None),
            // Separators between texts leave as soon as they are read.
            Err((unreadable, out)) => (
                String::from_utf8(out).unwrap().trim_end_matches(['\n', '\x1e']).to_owned(),
                Some(unreadable),
            ),
        }
    };
    let whole = run(usize::MAX);
    for chunk in [1, 2, 3, 7] {
        assert_eq!(run(chunk), whole, "chunks of {chunk}");
    }
    whole
}

fn read(framing: Framing, body: &str) -> String {
    let (out, unreadable) = framed(framing, &[], body);
    assert_eq!(unreadable, None, "{body:?}");
    out
}

fn fault(framing: Framing, body: &str) -> (String, BodyFault) {
    let (out, unreadable) = framed(framing, &[], body);
    (out, unreadable.unwrap().fault)
}

#[test]
fn sequences_are_split_at_record_separators() {
    let seq = Framing::Sequence;
    assert_eq!(
        read(seq, "\x1e{\"a\":1,\"b\":2}\n\x1e{\"b\":2,\"a\":2} \r\n\x1e\x1e\n{}\n"),
        "\x1e{\"a\":1,\"b\":2}\n\x1e{\"a\":2} \r\n\x1e\x1e\n{}\n"
    );
    assert_eq!(read(seq, ""), "");
    assert_eq!(read(seq, "\n"), "\n");
}

#[test]
fn each_line_is_a_text() {
    let lines = Framing::Lines;
    assert_eq!(read(lines, "{\"a\":1}\r\n\n [\t] \n12\n\"x\""), "{\"a\":1}\r\n\n [\t] \nnull\nnull");
    for body in ["{\n}", "{\"a\":\n1}\n", "{\"a\"\n:1}", "[1,\n2]", "[1\n]\n", "{}\n{\"a\":1,\n\"b\":2}"] {
        assert_eq!(fault(lines, body).1, BodyFault::Malformed, "{body:?}");
    }
}

#[test]
fn scalars_of_a_sequence_wait_for_their_line_feed() {
    let seq = Framing::Sequence;
    let plan = Arc::new(compile(&mapping(vec![record("$.x", &[], &[("$", "name")])])).unwrap());
    let run = |body: &str, chunk: usize| {
        let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
        let mut policy = TestPolicy::new(&plan, clear);
        let result = scrub_framed(&plan, &mut policy, seq, body.as_bytes(), chunk, Limits::default());
        let (error, out) = match result {
            Ok(out) => (None, out),
            Err((unreadable, out)) => (Some(unreadable.fault), out),
        };
        (String::from_utf8(out).unwrap(), error)
    };
    for chunk in [1, 3, 100] {
        for body in ["\x1e12\n", "\x1e12 \r\n\x1e\"x\"\n\x1enull\n"] {
            assert_eq!(run(body, chunk), (body.to_owned(), None), "{body:?}");
        }
        for (body, expected) in [
            ("\x1e12", BodyFault::Truncated),
            ("\x1e\"jane\"", BodyFault::Truncated),
            ("\x1e12 ", BodyFault::Truncated),
            ("\x1e12\x1e3\n", BodyFault::TrailingBytes),
            ("\x1etru\n", BodyFault::Malformed),
        ] {
            let (out, fault) = run(body, chunk);
            assert_eq!((out.trim_matches('\x1e'), fault), ("", Some(expected)), "{body:?}");
        }
    }
}

#[test]
fn sequences_that_may_be_truncated_are_refused() {
    let seq = Framing::Sequence;
    for (body, expected) in [
        ("{\"a\":1}\n", BodyFault::Malformed),
        ("\x1e{\"a\":1}", BodyFault::Truncated),
        ("\x1e12", BodyFault::Truncated),
        ("\x1e{\"a\":1}\x1e{\"a\":1}\n", BodyFault::TrailingBytes),
        ("\x1e{\"a\":1}\n{\"a\":1}\n", BodyFault::TrailingBytes),
        ("\x1e{\"a\":\x1e1}\n", BodyFault::Malformed),
        ("\x1e{}\n\x1e", BodyFault::Truncated),
        ("\x1e\u{feff}{}\n", BodyFault::Malformed),
        ("\u{feff}\u{feff}\x1e{}\n", BodyFault::Malformed),
    ] {
        assert_eq!(fault(seq, body).1, expected, "{body:?}");
    }
    // Other framings have no record separator.
    assert_eq!(fault(Framing::Lines, "\x1e{}\n").1, BodyFault::Malformed);
    assert_eq!(fault(Framing::Lines, "{}\n\x1e{}\n").1, BodyFault::Malformed);
}

#[test]
fn event_data_is_scrubbed() {
    let events = Framing::Events;
    assert_eq!(
        read(events, "data: {\"a\":1,\"b\":2}\n\ndata:{\"b\":2,\"a\":2}\r\n\r\ndata: {}\r\r"),
        "data: {\"a\":1,\"b\":2}\n\ndata: {\"a\":2}\n\ndata: {}\n\n"
    );
    let several = "data: {\ndata:  \"a\": 2,\ndata: \"b\": 2\ndata: }\n\n";
    assert_eq!(read(events, several), "data: {\ndata:  \"a\": 2\ndata: }\n\n");
    // A byte order mark may begin the stream. An unfinished last event is not dispatched.
    assert_eq!(read(events, "\u{feff}data: {\"a\":1}\n\ndata: {\"a\":1}\n"), "data: {\"a\":1}\n\n");
    assert_eq!(read(events, ""), "");
    assert_eq!(read(events, "\n\n\r\n"), "");
}

#[test]
fn other_event_fields_are_dropped() {
    let events = Framing::Events;
    assert_eq!(read(events, "id: jane@x.org\ndata: {\"a\":1}\nid\n\n"), "data: {\"a\":1}\n\n");
    assert_eq!(read(events, ": jane@x.org\n\n:\n"), ":\n\n:\n\n");
    assert_eq!(read(events, "name: Jane\nDATA: 1\n data: 1\n\n"), "");
    assert_eq!(read(events, "retry: 3000\n\n"), "retry: 3000\n\n");
    for retry in
        ["retry: 491511234567\n\n", "retry: 3600001\n\n", "retry: -1\n\n", "retry:\n\n", "retry: 1 \n\n"]
    {
        assert_eq!(read(events, retry), "", "{retry:?}");
    }
}

#[test]
fn empty_events_and_done_events_are_kept() {
    let events = Framing::Events;
    assert_eq!(
        read(events, "data:\n\ndata: {\"a\":1}\n\ndata: \n\ndata:[DONE]\n\n"),
        "data: \n\ndata: {\"a\":1}\n\ndata: \n\ndata: [DONE]\n\n"
    );
    assert_eq!(framed(events, &["ping"], "event: ping\ndata:\n\n").0, "event: ping\ndata: \n\n");
    assert_eq!(read(events, "event: ping\ndata:\n\nevent: x\ndata: [DONE]\n\n"), "");
    // `[DONE]` is not JSON in other framings.
    for framing in [Framing::Document, Framing::Lines] {
        assert_eq!(fault(framing, "[DONE]\n").1, BodyFault::Malformed);
    }
}

#[test]
fn a_leading_byte_order_mark_is_dropped() {
    for (framing, body) in [
        (Framing::Document, "{\"a\":1}"),
        (Framing::Lines, "{\"a\":1}\n{\"a\":1}\n"),
        (Framing::Sequence, "\x1e{\"a\":1}\n"),
        (Framing::Events, "data: {\"a\":1}\n\n"),
    ] {
        assert_eq!(read(framing, &format!("\u{feff}{body}")), body);
        assert!(
            framing == Framing::Events || fault(framing, &format!("\u{feff}\u{feff}{body}")).0.is_empty()
        );
    }
    // A byte order mark elsewhere, or alone, is refused.
    assert_eq!(fault(Framing::Document, " \u{feff}{}").1, BodyFault::Malformed);
    assert_eq!(fault(Framing::Lines, "{}\n\u{feff}{}\n").1, BodyFault::Malformed);
    assert_eq!(fault(Framing::Document, "\u{feff}").1, BodyFault::Truncated);
    assert_eq!(fault(Framing::Document, "").1, BodyFault::Truncated);
}

#[test]
fn only_listed_event_types_leave() {
    let body = "event: update\ndata: {\"a\":1}\n\nevent: message\ndata: {\"a\":1}\n\nevent: jane@x.org\ndata: not even JSON\n\nevent: x\nevent:update\ndata: {}\n\n";
    let (out, unreadable) = framed(Framing::Events, &["update", "message"], body);
    assert_eq!(unreadable, None);
    assert_eq!(out, "event: update\ndata: {\"a\":1}\n\ndata: {\"a\":1}\n\nevent: update\ndata: {}\n\n");
    assert_eq!(framed(Framing::Events, &[], body).0, "data: {\"a\":1}\n\n");
    // An event does not inherit the type of the one before.
    assert_eq!(read(Framing::Events, "event: x\n\ndata: {}\n\n"), "data: {}\n\n");
}

#[test]
fn event_data_that_is_not_json_ends_the_stream() {
    let before = "data: {\"a\":1}\n\n";
    for data in [
        "[DONE] ",
        "[done]",
        "[DONE]x",
        "\"[DONE]",
        " ",
        "{\"a\":1",
        "{} {}",
        "\u{feff}{}",
        "{\"b\":1,\"b\":1}",
        "{\"a\":\u{1}}",
    ] {
        let (out, _) = fault(Framing::Events, &format!("{before}data: {data}\n\n{before}"));
        assert_eq!(out, before.trim_end(), "{data:?}");
    }
    // A line break between two data lines is one in the JSON text as well.
    assert_eq!(fault(Framing::Events, "data: {\"b\":\"x\ndata: y\"}\n\n").1, BodyFault::Malformed);
    let plan = plan(&[]);
    let not_utf8 = scrub_framed(
        &plan,
        &mut TestPolicy::new(&plan, of_one),
        Framing::Events,
        b"data: {}\n\ndata: {\"a\":\"\xff\"}\n\n",
        3,
        Limits::default(),
    );
    assert_eq!(not_utf8.unwrap_err().0, Unreadable { fault: BodyFault::NotUtf8, at: 10 });
}

#[test]
fn events_are_bounded_like_records() {
    let plan = plan(&[]);
    let limits = Limits { record: 100, ..Limits::default() };
    for long in [
        format!("data: \"{}\"\n\n", "x".repeat(100)),
        format!(":{}", "x".repeat(101)),
        "data: 1\n".repeat(60),
        format!("event: {}\n:{}", "x".repeat(60), "y".repeat(60)),
    ] {
        let body = format!("data: {{}}\n\n{long}");
        for chunk in [1, 7, 1000] {
            let mut policy = TestPolicy::new(&plan, of_one);
            let (unreadable, out) =
                scrub_framed(&plan, &mut policy, Framing::Events, body.as_bytes(), chunk, limits)
                    .unwrap_err();
            assert_eq!(unreadable, Unreadable { fault: BodyFault::TooLong, at: 10 }, "{long}");
            assert_eq!(out, b"data: {}\n\n");
        }
    }
    let many = "data: {\"a\":1}\n\n".repeat(100);
    let mut policy = TestPolicy::new(&plan, of_one);
    let out = scrub_framed(&plan, &mut policy, Framing::Events, many.as_bytes(), 9, limits).unwrap();
    assert_eq!(out, many.as_bytes());
    assert_eq!(policy.records.len(), 100);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Every text of a body is scrubbed as if it were alone, in every framing and for all chunks.
    #[test]
    fn each_text_is_scrubbed_as_if_alone(docs in vec(doc(true), 0..5), noise in noise(), chunk in chunk()) {
        let plan = plan(&[]);
        let texts: Vec<String> =
            docs.iter().map(|doc| doc.text(&mut noise.iter().copied().cycle())).collect();
        let alone: Vec<String> = texts
            .iter()
            .map(|text| {
                let out = scrub_in(&plan, &mut TestPolicy::new(&plan, of_one), text.as_bytes(), usize::MAX, Limits::default());
                String::from_utf8(out.unwrap()).unwrap()
            })
            .collect();
        let event = |text: &str| {
            let lines: Vec<String> = text.split('\n').map(|line| format!("data: {line}\n")).collect();
            lines.concat() + "\n"
        };
        let wrapped = |framing: Framing, texts: &[String]| -> String {
            let wrap = |text: &String| match framing {
                // A line cannot contain a line break.
                Framing::Document | Framing::Lines => text.replace('\n', " ") + "\n",
                Framing::Sequence => format!("\x1e{text}\n"),
                Framing::Events => event(text),
                // Tables have tests of their own.
                Framing::Rows => String::new(),
            };
            texts.iter().map(wrap).collect()
        };
        for framing in [Framing::Lines, Framing::Sequence, Framing::Events] {
            let body = wrapped(framing, &texts);
            let out = scrub_framed(&plan, &mut TestPolicy::new(&plan, of_one), framing, body.as_bytes(), chunk, Limits::default());
            prop_assert_eq!(String::from_utf8(out.unwrap()).unwrap(), wrapped(framing, &alone), "{:?}", body);
        }
    }
}
