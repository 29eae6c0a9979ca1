//! Tables of comma-separated values: each row is scrubbed as a record.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::walks::chunk;
use super::*;
use crate::decision::Extracted;

/// Returns a plan of a table with the columns `a` (the subject), `b` (a name) and `c` (an e-mail address).
fn plan() -> Arc<Plan> {
    let fields = [("@.a", "non-personal"), ("@.b", "name"), ("@.c", "email")];
    Arc::new(compile(&mapping(vec![record("$", &["@.a"], &fields)])).unwrap())
}

/// Releases the records of subject 1.
fn of_one(decided: Option<&DecidedRecord>, _: CategoryId) -> Form {
    let one = decided.and_then(|decided| decided.subjects.as_deref()).is_some_and(|ids| ids == ["1"]);
    if one { Form::Clear } else { Form::Removed }
}

/// Scrubs a table in chunks of several sizes, checks that the results agree, and returns what left, and the fault.
fn scrubbed(
    plan: &Arc<Plan>,
    rule: impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy + 'static,
    body: &[u8],
    limits: Limits,
) -> (String, Option<Unreadable>, Vec<DecidedRecord>) {
    let run = |chunk: usize| {
        let mut policy = TestPolicy::new(plan, rule);
        let (out, fault) = match scrub_framed(plan, &mut policy, Framing::Rows, body, chunk, limits) {
            Ok(out) => (out, None),
            Err((unreadable, out)) => (out, Some(unreadable)),
        };
        (String::from_utf8(out).unwrap(), fault, policy.records)
    };
    let whole = run(usize::MAX);
    for chunk in [1, 2, 3, 7] {
        assert_eq!(run(chunk), whole, "chunks of {chunk}");
    }
    whole
}

fn read_by(
    plan: &Arc<Plan>,
    rule: impl Fn(Option<&DecidedRecord>, CategoryId) -> Form + Copy + 'static,
    body: &str,
) -> String {
    let (out, fault, _) = scrubbed(plan, rule, body.as_bytes(), Limits::default());
    assert_eq!(fault, None, "{body:?}");
    out
}

/// Scrubs a table of which the rows of subject 1 are released.
fn table(body: &str) -> Result<String, (String, BodyFault)> {
    let (out, fault, _) = scrubbed(&plan(), of_one, body.as_bytes(), Limits::default());
    match fault {
        None => Ok(out),
        Some(unreadable) => Err((out, unreadable.fault)),
    }
}

#[test]
fn rows_are_records_and_the_header_names_the_columns() {
    for (body, expected) in [
        ("a,b,c\r\n1,Ada,x\r\n2,Bob,y\r\n", "a,b,c\r\n1,Ada,x\r\n2,,\r\n"),
        ("c,b,a\nx,Ada,1\ny,Bob,2", "c,b,a\nx,Ada,1\n,,2"),
        // An unclassified column is removed with its name, which may be that of a person.
        ("a,jane@example.org,b,c\n1,x,Ada,y\n", "a,b,c\n1,Ada,y\n"),
        ("x,a,b,c,\"y\"\n,1,Ada,y,\n", "a,b,c\n1,Ada,y\n"),
        // A person who comes twice, and rows without a usable subject.
        ("a,b,c\n1,Ada,x\n1,Ada,y\n", "a,b,c\n1,Ada,x\n1,Ada,y\n"),
        ("a,b,c\n,Ada,x\n\"\",Ada,x\n 1,Ada,x\n", "a,b,c\n,,\n\"\",,\n 1,,\n"),
        ("a,b,c\n", "a,b,c\n"),
        ("a,b,c", "a,b,c"),
    ] {
        assert_eq!(table(body), Ok(expected.to_owned()), "{body:?}");
    }
    let (_, _, records) = scrubbed(&plan(), of_one, b"a,b,c\n1,,\n,,\n7,,\n", Limits::default());
    let subjects: Vec<_> = records.into_iter().map(|record| record.subjects).collect();
    assert_eq!(subjects, [Some(vec!["1".to_owned()]), None, Some(vec!["7".to_owned()])]);
}

#[test]
fn cells_that_stay_leave_byte_for_byte() {
    for body in [
        "\"a\",\"b\",c\r\n\"1\",\"Ada, \"\"A\"\"\r\nB\",\r\n",
        "a,b,c\n1,,\"\"\n1, x ,\"  \"\n1,\ttab,'q'\n",
        "a,b,c\n1,\"\"\"\",\"\"\"\"\"\"\n",
        "a,b,c\n1,\\,\"\\\"\n1,{\\u0022},\"{\"\"a\"\":1}\"\n",
        "a,b,c\n1,\u{1}\u{7f}\u{85}\u{2028},\"\u{b}\u{fffd}\"\n",
        "a,b,c\r\n1,x,y\n1,x,y\r\n1,x,y",
        "a,b,c\n1,=1+1,\"=cmd|' /C calc'!A0\"\n1,+1,@x\n",
        "a,b,c\n1,\"line\rbreak\",\"\n\"\n",
    ] {
        assert_eq!(table(body), Ok(body.to_owned()), "{body:?}");
    }
    // A byte order mark does not leave. A second one is a character of the name.
    let (marked, plain) = ("\u{feff}\"a\",b,c\n1,Ada,\n", "\"a\",b,c\n1,Ada,\n");
    assert_eq!(table(marked), Ok(plain.to_owned()));
    assert_eq!(table("\u{feff}a,b,c\n1,\u{feff},\n"), Ok("a,b,c\n1,\u{feff},\n".to_owned()));
    let twice = Err((String::new(), BodyFault::OtherColumns));
    assert_eq!(table("\u{feff}\u{feff}a,b,c\n1,,\n"), twice);
    // The first bytes of this letter are those of the mark.
    let letter = mapping(vec![record("$", &[], &[("@['\u{fec0}']", "non-personal")])]);
    let letter = Arc::new(compile(&letter).unwrap());
    assert_eq!(read_by(&letter, of_one, "\u{fec0}\nx\n"), "\u{fec0}\nx\n");
}

#[test]
fn every_column_of_the_mapping_is_needed() {
    let fields = [("@.b", "name"), ("@['a', \"c\"]", "email"), ("$.d", "phone"), ("@..e", "phone")];
    let mut set = record("$", &["@.who"], &fields);
    set.facts = vec![(FactKey::Country, "@.land".to_owned())];
    set.controller =
        Some(SubjectSource { path: "@.account".into(), ids: IdReader::default(), optional: true });
    // A path into JSON that the route answers as well is no column.
    let nested = record("$.items[*]", &["@.id"], &[("@.x", "name"), ("$.total", "non-personal")]);
    let plan = Arc::new(compile(&mapping(vec![set, nested])).unwrap());
    let columns = ["a", "b", "c", "d", "who", "land", "account", "total"];
    let row = |columns: &[&str]| format!("{}\n{}\n", columns.join(","), vec!["1"; columns.len()].join(","));
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    assert_eq!(read_by(&plan, clear, &row(&columns)), "a,b,c,d,total\n1,1,1,1,1\n");
    for missing in columns {
        let left: Vec<&str> = columns.into_iter().filter(|column| *column != missing).collect();
        let (out, fault, records) = scrubbed(&plan, clear, row(&left).as_bytes(), Limits::default());
        assert_eq!((out.as_str(), fault.unwrap().fault), ("", BodyFault::OtherColumns), "{missing}");
        assert!(records.is_empty());
    }
}

#[test]
fn a_table_that_is_not_well_formed_is_refused() {
    let begun = "a,b,c\n1,Ada,";
    for (rows, fault) in [
        // Too many cells, too few, and none.
        ("1,Ada,,x\n", BodyFault::Malformed),
        ("1,Ada,,\n", BodyFault::Malformed),
        ("1,Ada\n", BodyFault::Malformed),
        ("1\n", BodyFault::Malformed),
        ("\n", BodyFault::Malformed),
        ("\r\n", BodyFault::Malformed),
        ("1,\"Ada", BodyFault::Truncated),
        ("1,\"Ada,\n", BodyFault::Truncated),
        ("1,\"Ada\"x,\n", BodyFault::Malformed),
        ("1,\"Ada\" ,\n", BodyFault::Malformed),
        ("1, \"Ada\",\n", BodyFault::Malformed),
        ("1,A\"da,\n", BodyFault::Malformed),
        ("1,Ada,\rx\n", BodyFault::Malformed),
        ("1,Ada\r,x\n", BodyFault::Malformed),
        ("1,Ada,x\r\r\n", BodyFault::Malformed),
        ("1,Ada,\r", BodyFault::Malformed),
        ("1,Ada,\"\"\r", BodyFault::Malformed),
        ("1,Ada,\"\"\rx\n", BodyFault::Malformed),
        ("1,A\0da,\n", BodyFault::Malformed),
        ("1,\"\0\",\n", BodyFault::Malformed),
        // A table whose rows end in carriage returns is a header that never ends.
        ("1,Ada,x\r1,Ada,y\r", BodyFault::Malformed),
    ] {
        let (out, found) = table(&format!("a,b,c\n1,Ada,\n{rows}")).unwrap_err();
        assert_eq!((out.trim_end(), found), (begun, fault), "{rows:?}");
        // If the first row cannot be read, the header does not leave.
        let first = table(&format!("a,b,c\n{rows}")).unwrap_err();
        assert_eq!(first, (String::new(), fault), "{rows:?}");
    }
    for (body, fault) in [
        ("", BodyFault::Truncated),
        ("\u{feff}", BodyFault::Truncated),
        ("\"a", BodyFault::Truncated),
        ("a,b,c,a\n1,Ada,,1\n", BodyFault::DuplicateName),
        ("a,b,c,x,x\n1,Ada,,1,1\n", BodyFault::DuplicateName),
        ("a,b,c,,\n1,Ada,,1,1\n", BodyFault::DuplicateName),
        ("a,\"b\",c,b\n1,,,\n", BodyFault::DuplicateName),
        ("a,b,c\r1,Ada,x\r", BodyFault::Malformed),
        ("a,b\0,c\n1,,\n", BodyFault::Malformed),
        // Other columns, another separator, no header, and no table.
        ("x,y,z\n1,2,3\n", BodyFault::OtherColumns),
        ("a,b\n1,2\n", BodyFault::OtherColumns),
        ("a;b;c\r\n1;Ada;\r\n", BodyFault::OtherColumns),
        ("a\tb\tc\n1\tAda\t\n", BodyFault::OtherColumns),
        ("A,b,c\n1,Ada,\n", BodyFault::OtherColumns),
        ("a, b,c\n1,Ada,\n", BodyFault::OtherColumns),
        ("a,b ,c\n1,Ada,\n", BodyFault::OtherColumns),
        ("1,Ada,\n", BodyFault::OtherColumns),
        ("\na,b,c\n1,Ada,\n", BodyFault::OtherColumns),
        ("sep=,\na,b,c\n1,Ada,\n", BodyFault::OtherColumns),
        ("<html>\n1,Ada\n", BodyFault::OtherColumns),
    ] {
        assert_eq!(table(body), Err((String::new(), fault)), "{body:?}");
    }
}

#[test]
fn faults_have_the_place_of_their_row() {
    let plan = plan();
    let run = |body: &[u8], limits: Limits| scrubbed(&plan, of_one, body, limits).1.unwrap();
    let not_utf8 = Unreadable { fault: BodyFault::NotUtf8, at: 6 };
    assert_eq!(run(b"a,b,c\n1,\xff,\n", Limits::default()), not_utf8);
    // A withheld column and one that nothing classifies are checked as well.
    assert_eq!(run(b"a,b,c\n2,\xff,\n", Limits::default()), not_utf8);
    assert_eq!(run(b"a,b,c,x\n1,,,\xff\n", Limits::default()), Unreadable { at: 8, ..not_utf8 });
    assert_eq!(run(b"a,b,\xff\n1,,\n", Limits::default()), Unreadable { at: 0, ..not_utf8 });
    assert_eq!(run(b"\xef\xbb", Limits::default()), Unreadable { at: 0, ..not_utf8 });
    let marked = Unreadable { fault: BodyFault::Malformed, at: 9 };
    assert_eq!(run("\u{feff}a,b,c\n1\n".as_bytes(), Limits::default()), marked);
    assert_eq!(run("\u{feff}\"a\",b,c\n1\n".as_bytes(), Limits::default()), Unreadable { at: 11, ..marked });
}

#[test]
fn rows_and_columns_are_bounded() {
    let plan = plan();
    let run = |body: &[u8], limits: Limits| scrubbed(&plan, of_one, body, limits).1;
    let limits = Limits { record: 100, ..Limits::default() };
    let too_long = Some(Unreadable { fault: BodyFault::TooLong, at: 6 });
    for row in [
        format!("1,{},\n", "x".repeat(100)),
        format!("1,{}", "x".repeat(100)),
        format!("1,\"{}", ",\n".repeat(100)),
        // The fault is the first one of the row.
        format!("1,{},\"\"x\n", "x".repeat(100)),
        // The object of the row is longer than the row.
        format!("1,{},\n", "\u{1}".repeat(60)),
        format!("1,{}\n", ",".repeat(101)),
    ] {
        assert_eq!(run(format!("a,b,c\n{row}").as_bytes(), limits), too_long, "{row}");
    }
    assert_eq!(run(format!("a,b,c\n1,{},\n", "x".repeat(60)).as_bytes(), limits), None);
    let at_start = Some(Unreadable { fault: BodyFault::TooLong, at: 0 });
    assert_eq!(run(format!("a,b,c,{}\n1", "x".repeat(100)).as_bytes(), limits), at_start);
    let many = "a,b,c\n".to_owned() + &"1,Ada,x\n".repeat(100);
    assert_eq!(run(many.as_bytes(), limits), None);
    let wide = Limits { members: 3, ..Limits::default() };
    let too_many = |at| Some(Unreadable { fault: BodyFault::TooManyMembers, at });
    assert_eq!(run(b"a,b,c\n1,,\n", wide), None);
    assert_eq!(run(b"a,b,c,d\n", wide), too_many(0));
    assert_eq!(run(b"a,b,c\n1,,,\n", wide), too_many(6));
}

#[test]
fn rows_that_may_be_truncated_are_dropped() {
    let plan = plan();
    let read = |body: &str| {
        let (mut policy, mut out) = (TestPolicy::new(&plan, of_one), Vec::new());
        let scrubber = Scrubber::new(plan.clone(), forms(), &[], Limits::default(), Framing::Rows);
        let mut scrubber = scrubber.of_unknown_length();
        let fed = scrubber.feed(body.as_bytes(), &mut policy, &mut out);
        let read = fed.and_then(|()| scrubber.finish(&mut policy, &mut out));
        (String::from_utf8(out).unwrap(), read.err().map(|unreadable| unreadable.fault))
    };
    assert_eq!(read("b,c,a\nAda,,1\n"), ("b,c,a\nAda,,1\n".to_owned(), None));
    // If the connection breaks within the id 12, the id 1 remains: another person.
    let cut = ("b,c,a\nAda,,1\n".to_owned(), Some(BodyFault::Truncated));
    assert_eq!(read("b,c,a\nAda,,1\nBob,,1"), cut);
    assert_eq!(read("b,c,a\nAda,,1\nBob,,\"1\""), cut);
    assert_eq!(read("b,c,a"), (String::new(), Some(BodyFault::Truncated)));
}

#[test]
fn other_forms_are_quoted_where_they_need_it() {
    let fields = [("@.id", "non-personal"), ("@.name", "name"), ("@.place", "location"), ("@.mail", "email")];
    let plan = Arc::new(compile(&mapping(vec![record("$", &["@.id"], &fields)])).unwrap());
    let all = |form: Form| move |_: Option<&DecidedRecord>, _: CategoryId| form;
    let body =
        "id,name,place,mail\r\n1,\"Doe, Jane Mary\",\"52.520008, 13.404954\",=jane.doe@x.org\r\n2,,,\"\"\r\n";
    let head = "id,name,place,mail\r\n1,";
    assert_eq!(
        read_by(&plan, all(Form::Masked), body),
        format!("{head}D. J. M.,***,***@x.org\r\n2,,,\"\"\r\n")
    );
    assert_eq!(
        read_by(&plan, all(Form::Generalised), body),
        format!("{head}***,\"52.5,13.4\",***\r\n2,,,\"\"\r\n")
    );
    assert_eq!(read_by(&plan, all(Form::Removed), body), format!("{head},,\r\n2,,,\r\n"));
    let pseudonym = forms().pseudonym_of("name", "Doe, Jane Mary").unwrap();
    let pseudonymised = read_by(&plan, all(Form::Pseudonymised), body);
    assert!(pseudonymised.starts_with(&format!("{head}{pseudonym},pn_")), "{pseudonymised}");
    assert!(pseudonymised.ends_with("\r\n2,,,\"\"\r\n"), "an empty cell has no pseudonym: {pseudonymised}");
}

#[test]
fn a_table_with_one_column_keeps_its_rows() {
    let plan = Arc::new(compile(&mapping(vec![record("$", &["@.a"], &[("@.a", "name")])])).unwrap());
    // A parser skips a line without any byte.
    assert_eq!(read_by(&plan, of_one, "a\n2\n1\n\n2"), "a\n\"\"\n1\n\"\"\n\"\"");
    assert_eq!(read_by(&plan, of_one, "x,a\n,2\n,1\n,\n"), "a\n\"\"\n1\n\"\"\n");
    let clear = |_: Option<&DecidedRecord>, _: CategoryId| Form::Clear;
    assert_eq!(read_by(&plan, clear, "a\r\n\r\n\"\"\r\n1\r\n"), "a\r\n\r\n\"\"\r\n1\r\n");
}

#[test]
fn an_empty_cell_is_no_value() {
    let mut set = record("$", &["@.id"], &[("@.id", "non-personal"), ("@.name", "name")]);
    set.subjects.push(SubjectSource { path: "@.agent".into(), ids: IdReader::default(), optional: true });
    set.facts =
        vec![(FactKey::AccountClosed, "@.closed".to_owned()), (FactKey::Country, "@.land".to_owned())];
    let plan = Arc::new(compile(&mapping(vec![set])).unwrap());
    let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
    let body = b"id,name,agent,closed,land\n1,Ada,,,\"\"\n2,Bob,7,2024-01-02T00:00:00Z,xx\n";
    scrub_framed(&plan, &mut policy, Framing::Rows, body, 5, Limits::default()).unwrap();
    let subjects: Vec<_> = policy.records.into_iter().map(|record| record.subjects.unwrap()).collect();
    assert_eq!(subjects, [vec!["1".to_owned()], vec!["2".to_owned(), "7".to_owned()]]);
    let read: Vec<bool> = policy
        .facts
        .iter()
        .flat_map(|facts| [facts.account_closed == Extracted::Absent, facts.country == Extracted::Absent])
        .collect();
    assert_eq!(read, [true, true, false, false]);
}

#[test]
fn json_in_a_cell_is_one_value_unless_it_is_embedded() {
    let fields = [("@.id", "non-personal"), ("@.more.email", "email"), ("@.more", "service-data")];
    let with = |embedded: bool, removed_as: RemovedAs| {
        let mut set = record("$", &["@.id"], &fields);
        set.fields
            .iter_mut()
            .filter(|field| field.path == "@.more")
            .for_each(|field| field.embedded = embedded);
        Arc::new(compile(&Mapping { removed_as, ..mapping(vec![set]) }).unwrap())
    };
    let set = |embedded: bool| with(embedded, RemovedAs::Omit);
    let no_email = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("email") { Form::Removed } else { Form::Clear }
    };
    let body = "id,more\n1,\"{\"\"email\"\":\"\"a@x\"\",\"\"n\"\":1}\"\n2,\"[ ]\"\n3,{\n";
    assert_eq!(read_by(&set(false), no_email, body), body);
    // A field that cannot be read as JSON is removed.
    assert_eq!(read_by(&set(true), no_email, body), "id,more\n1,\"{\"\"n\"\":1}\"\n2,\"[ ]\"\n3,\n");
    let null = read_by(&with(true, RemovedAs::Null), no_email, body);
    assert_eq!(
        null, "id,more\n1,\"{\"\"email\"\":null,\"\"n\"\":1}\"\n2,\"[ ]\"\n3,\n",
        "as in any document"
    );
}

#[test]
fn rows_outside_of_records_hold_nothing_personal() {
    let nested = record("$.items[*]", &["@.id"], &[("@.name", "name"), ("$.status", "non-personal")]);
    let plan = Arc::new(compile(&mapping(vec![nested])).unwrap());
    let body = "id,name,status\n1,Ada,ok\n2,\"B, b\",\n";
    let clear = |record: Option<&DecidedRecord>, _: CategoryId| {
        if record.is_some() { Form::Clear } else { Form::Removed }
    };
    assert_eq!(read_by(&plan, clear, body), "status\nok\n\n");
}

#[test]
fn an_unclassified_column_leaves_if_the_route_releases_it() {
    let set = record("$", &["@.a"], &[("@.a", "non-personal"), ("@.b", "name")]);
    let released = Mapping { unclassified: Unclassified::Release, ..mapping(vec![set]) };
    let plan = Arc::new(compile(&released).unwrap());
    assert_eq!(read_by(&plan, of_one, "x,b,a\nq,Ada,1\n\"r\",Bob,2\n"), "x,b,a\nq,Ada,1\n\"r\",,2\n");
}

#[test]
fn options_of_the_mapping_hold_for_rows() {
    let set = || record("$", &["@.a"], &[("@.a", "non-personal"), ("@.b", "name"), ("@.c", "service-data")]);
    let no_name = |_: Option<&DecidedRecord>, id: CategoryId| {
        if id == category("name") { Form::Removed } else { Form::Clear }
    };
    let body = "a,b,c\n1,Ada Example,\"asked by Ada Example, twice\"\n";
    for removed_as in [RemovedAs::Omit, RemovedAs::Null, RemovedAs::Empty] {
        let plan = Arc::new(compile(&Mapping { removed_as, ..mapping(vec![set()]) }).unwrap());
        assert_eq!(read_by(&plan, no_name, body), "a,b,c\n1,,\"asked by Ada Example, twice\"\n");
    }
    // Who has no value in a withheld column is not told, however it is spelled.
    let quoted = "a,b,c\n\"1\",\"Ada\",x\n\"2\",\"\",x\n";
    for removed_as in [RemovedAs::Omit, RemovedAs::Null, RemovedAs::Empty] {
        let plan = Arc::new(compile(&Mapping { removed_as, ..mapping(vec![set()]) }).unwrap());
        assert_eq!(read_by(&plan, no_name, quoted), "a,b,c\n\"1\",,x\n\"2\",,x\n", "{removed_as:?}");
        let only = Mapping { removed_as, ..mapping(vec![record("$", &[], &[("@.b", "name")])]) };
        let only = Arc::new(compile(&only).unwrap());
        assert_eq!(read_by(&only, no_name, "b\nAda\n\n\"\"\n"), "b\n\"\"\n\"\"\n\"\"\n");
    }
    // A decision about a document of the same shape is none about a row.
    let plan = Arc::new(compile(&Mapping { removed_as: RemovedAs::Null, ..mapping(vec![set()]) }).unwrap());
    let json = r#"{"a":"1","b":"","c":"x"}"#;
    let mut policy = TestPolicy::new(&plan, no_name);
    for _ in 0..3 {
        let out = scrub_in(&plan, &mut policy, json.as_bytes(), usize::MAX, Limits::default()).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"a":"1","b":null,"c":"x"}"#);
        assert_eq!(read_by(&plan, no_name, "a,b,c\n\"1\",\"\",x\n"), "a,b,c\n\"1\",,x\n");
    }
    let echoes = Arc::new(compile(&Mapping { withhold_echoes: true, ..mapping(vec![set()]) }).unwrap());
    let out = read_by(&echoes, no_name, body);
    assert!(!out.contains("Ada") && out.contains("twice\"\n"), "{out}");
    // The list of redactions is for RDAP. In a table it has no column.
    let listed =
        Arc::new(compile(&Mapping { redaction: Redaction::Rfc9537, ..mapping(vec![set()]) }).unwrap());
    assert_eq!(read_by(&listed, no_name, body), "a,b,c\n1,,\"asked by Ada Example, twice\"\n");
}

#[test]
fn removal_empties_columns() {
    let run = |queries: &[&str], body: &str| {
        let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
        let mut remover = Remover::new(&queries, Limits::default(), Framing::Rows).unwrap();
        let mut out = Vec::new();
        remover.feed(body.as_bytes(), &mut out).and_then(|()| remover.finish(&mut out)).unwrap();
        String::from_utf8(out).unwrap()
    };
    let body = "id,\"e mail\",n\n1,\"a@x\",3\n2,,\"\"\n";
    assert_eq!(run(&["$['e mail']"], body), "id,\"e mail\",n\n1,,3\n2,,\"\"\n");
    assert_eq!(run(&["$[?@ == '3']"], body), "id,\"e mail\",n\n1,\"a@x\",\n2,,\"\"\n");
    assert_eq!(run(&["$"], body), "id,\"e mail\",n\n,,\n,,\n");
    assert_eq!(run(&[], body), body);
}

/// A cell, as it is spelled, and its text.
fn cell() -> impl Strategy<Value = (String, String)> {
    let plain = vec(select(vec!["", "x", "Ada", " ", "é", "=1+1", "{", "\\", "\t", "\u{1}", "'", ";"]), 0..4)
        .prop_map(|pieces| pieces.concat())
        .prop_map(|text| (text.clone(), text));
    let quoted =
        vec(select(vec!["", "x", "Bob", ",", "\"", "\n", "\r\n", "\r", "\\", "é", "{\"a\":1}"]), 0..4)
            .prop_map(|pieces| pieces.concat())
            .prop_map(|text| (format!("\"{}\"", text.replace('"', "\"\"")), text));
    prop_oneof![plain, quoted]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// A cell that stays is spelled as it came, one that is withheld is empty, whatever stands beside it, and chunks do not
    /// matter.
    #[test]
    fn only_withheld_cells_change(
        rows in vec((select(vec!["1", "\"1\"", "2", "\"2\"", "", "\"\""]), cell(), cell(), cell()), 0..6),
        line_break in select(vec!["\n", "\r\n"]),
        chunk in chunk(),
    ) {
        let plan = plan();
        let render = |is_input: bool| {
            let head = if is_input { "x,a,b,c" } else { "a,b,c" };
            let lines = rows.iter().map(|(id, (x, _), (b, _), (c, _))| {
                let stays = is_input || id.contains('1');
                let [b, c] = [b, c].map(|cell| if stays { cell.as_str() } else { "" });
                if is_input { format!("{x},{id},{b},{c}") } else { format!("{id},{b},{c}") }
            });
            std::iter::once(head.to_owned()).chain(lines).map(|line| line + line_break).collect::<String>()
        };
        let (body, expected) = (render(true), render(false));
        let mut policy = TestPolicy::new(&plan, of_one);
        let out = scrub_framed(&plan, &mut policy, Framing::Rows, body.as_bytes(), chunk, Limits::default());
        prop_assert_eq!(String::from_utf8(out.unwrap()).unwrap(), expected, "{:?}", body);
        prop_assert_eq!(policy.records.len(), rows.len());
    }

    /// Each form of a cell is read by another parser as the form of the cell's text, beside cells that did not change, and
    /// begins no formula.
    #[test]
    fn changed_cells_are_cells(
        cells in vec((cell(), cell()), 1..4),
        form in select(vec![Form::Masked, Form::Generalised, Form::Pseudonymised]),
        kind in select(vec!["name", "email", "phone", "location", "service-data"]),
        chunk in chunk(),
    ) {
        let set = record("$", &[], &[("@.a", kind), ("@.b", "non-personal")]);
        let plan = Arc::new(compile(&mapping(vec![set])).unwrap());
        let lines = cells.iter().map(|((a, _), (b, _))| format!("{a},{b}\n"));
        let body = format!("a,b\n{}", lines.collect::<String>());
        let mut policy = TestPolicy::new(&plan, move |_, _| form);
        let out = scrub_framed(&plan, &mut policy, Framing::Rows, body.as_bytes(), chunk, Limits::default()).unwrap();
        let rows = fuzzing::table(&out).expect("a table comes out");
        prop_assert_eq!(rows.len(), cells.len() + 1);
        for (row, ((_, before), (_, beside))) in rows.iter().skip(1).zip(&cells) {
            let object = serde_json::json!({"a": before}).to_string();
            let mut alone = TestPolicy::new(&plan, move |_, _| form);
            let alone = scrub_in(&plan, &mut alone, object.as_bytes(), usize::MAX, Limits::default()).unwrap();
            let alone: serde_json::Value = serde_json::from_slice(&alone).unwrap();
            let expected = if before.is_empty() { "" } else { alone["a"].as_str().unwrap() };
            prop_assert_eq!([&*row[0], &*row[1]], [expected, beside.as_str()]);
            prop_assert!(!row[0].starts_with(['=', '+', '-', '@', '\t', '\r']), "{}", row[0]);
        }
    }
}
