//! Records that are rows of a table in JSON: arrays whose elements a header names.

use super::*;

/// Returns the mapping of a table whose header is at this path.
fn table(header: &str) -> Mapping {
    let mut set = record(
        "$.rows[*]",
        &["@.id"],
        &[
            ("@.id", "non-personal"),
            ("@.email", "email"),
            ("@.tags[*]", "name"),
            ("$.columns", "non-personal"),
        ],
    );
    set.columns =
        Some(Columns { path: header.to_owned(), names: ["id", "email", "tags"].map(str::to_owned).to_vec() });
    Mapping { removed_as: RemovedAs::Null, ..mapping(vec![set]) }
}

#[test]
fn the_header_names_the_elements_of_a_row() {
    let mapping = table("$.columns");
    for body in [
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",["t"]],[2,"b@x",[]]]}"#,
        r#"{"rows":[[1,"a@x",["t"]],[2,"b@x",[]]],"columns":["id","email","tags"]}"#,
        r#"{"columns":["i\u0064","email","tags"],"rows":[[1,"a@x",["t"]],[2,"b@x",[]]]}"#,
    ] {
        let (out, policy) = scrub(&mapping, body, of_one);
        assert_eq!(ids(&policy), [one("1"), one("2")]);
        assert_eq!(out, body.replace(r#"[2,"b@x",[]]"#, "[2,null,null]"), "{body}");
    }
    let of_objects = table("$.meta[*].name");
    let body = r#"{"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],"rows":[[1,"a@x",null]]}"#;
    let (out, _) = scrub(&of_objects, body, of_one);
    assert!(out.contains(r#"[1,"a@x",null]"#), "{out}");
    let (out, _) = scrub(&mapping, r#"{"rows":[]}"#, of_one);
    assert_eq!(out, r#"{"rows":[]}"#);
}

#[test]
fn tables_with_other_columns_or_rows_are_refused() {
    let refused = |header: &str, body: &str| {
        let plan = Arc::new(compile(&table(header)).unwrap());
        let mut policy = TestPolicy::new(&plan, of_one);
        let limits = Limits::default();
        let (error, out) = scrub_in(&plan, &mut policy, body.as_bytes(), usize::MAX, limits).unwrap_err();
        assert_eq!(error.fault, BodyFault::OtherColumns, "{body}");
        assert!(!String::from_utf8(out).unwrap().contains("a@x"), "{body}");
    };
    for body in [
        r#"{"columns":["email","id","tags"],"rows":[["a@x",1,[]]]}"#,
        r#"{"columns":["id","email"],"rows":[[1,"a@x"]]}"#,
        r#"{"columns":["id","email","tags","x"],"rows":[[1,"a@x",[],1]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x"]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",[],1]]}"#,
        r#"{"columns":["id","email","tags"],"rows":[{"id":1,"email":"a@x","tags":[]}]}"#,
        r#"{"columns":["id","email",null],"rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":{"0":"id","1":"email","2":"tags"},"rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":"id","rows":[[1,"a@x",[]]]}"#,
        r#"{"columns":[],"rows":[[1,"a@x",[]]]}"#,
        r#"{"rows":[[1,"a@x",[]]]}"#,
    ] {
        refused("$.columns", body);
    }
    refused(
        "$.meta[*].name",
        r#"{"meta":[{"name":"email"},{"name":"id"},{"name":"tags"}],"rows":[["a@x",1,[]]]}"#,
    );
}

/// Returns the mapping of several tables in one document, with the paths of their rows and headers.
fn tables(rows: &str, header: &str) -> Mapping {
    let mut mapping = table(header);
    mapping.records[0].path = rows.to_owned();
    mapping
}

#[test]
fn each_table_needs_its_own_header() {
    let leaves = |rows: &str, header: &str, body: &str| {
        let plan = Arc::new(compile(&tables(rows, header)).unwrap());
        let mut policy = TestPolicy::new(&plan, of_one);
        match scrub_in(&plan, &mut policy, body.as_bytes(), usize::MAX, Limits::default()) {
            Ok(out) => String::from_utf8(out).unwrap().contains("a@x"),
            Err((error, out)) => {
                assert_eq!(error.fault, BodyFault::OtherColumns, "{body}");
                assert!(!String::from_utf8(out).unwrap().contains("a@x"), "{body}");
                false
            }
        }
    };
    let (rows, header) = ("$.t[*].rows[*]", "$.t[*].columns");
    let with = r#"{"columns":["id","email","tags"],"rows":[[1,"a@x",[]]]}"#;
    let (without, other) =
        (r#"{"rows":[[1,"a@x",[]]]}"#, r#"{"columns":["email","id","tags"],"rows":[[1,"a@x",[]]]}"#);
    for (second, expected) in [(with, true), (without, false), (other, false)] {
        for (one, two) in [(with, second), (second, with)] {
            assert_eq!(leaves(rows, header, &format!(r#"{{"t":[{one},{two}]}}"#)), expected, "{one} {two}");
        }
    }
    // The header of a nested table does not apply to the outer one.
    let nested = format!(r#"{{"t":{{"rows":[[1,"a@x",[]]],"t":{with}}}}}"#);
    assert!(!leaves("$..t.rows[*]", "$..t.columns", &nested));
    // The header is a list of nodes, one for each name.
    let with = r#"{"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],"rows":[[1,"a@x",[]]]}"#;
    for (second, expected) in [(with, true), (without, false)] {
        let body = format!(r#"{{"t":[{with},{second}]}}"#);
        assert_eq!(leaves(rows, "$.t[*].meta[*].name", &body), expected, "{second}");
    }
    // All tables share one header.
    let pages = r#"{"columns":["id","email","tags"],"meta":[{"name":"id"},{"name":"email"},{"name":"tags"}],
                    "pages":[{"rows":[[1,"a@x",[]]]},{"rows":[[1,"a@x",[]]]}]}"#;
    assert!(leaves("$.pages[*].rows[*]", "$.columns", pages));
    assert!(leaves("$.pages[*].rows[*]", "$.meta[*].name", pages));
    // Headers beside the tables cannot be assigned to them.
    let apart =
        r#"{"h":[{"columns":["id","email","tags"]}],"t":[{"rows":[[1,"a@x",[]]]},{"rows":[[1,"a@x",[]]]}]}"#;
    assert!(!leaves(rows, "$.h[*].columns", apart));
    assert!(!leaves("$..rows[*]", "$..columns", apart));
}

#[test]
fn rows_that_two_record_sets_claim_are_refused() {
    let mut mapping = table("$.columns");
    mapping.records.push(record("$.rows[*]", &["@[0]"], &[]));
    let plan = Arc::new(compile(&mapping).unwrap());
    let body = r#"{"columns":["email","id","tags"],"rows":[["a@x",1,[]]]}"#;
    let refused =
        scrub_in(&plan, &mut TestPolicy::new(&plan, of_one), body.as_bytes(), usize::MAX, Limits::default());
    assert_eq!(refused.unwrap_err().0.fault, BodyFault::OtherColumns);
}

#[test]
fn paths_in_tables_begin_with_a_column() {
    let fault = |path: &str| {
        let mut table = table("$.columns");
        table.records[0].fields[1].path = path.to_owned();
        compile(&table).err().map(|errors| errors[0].fault.clone())
    };
    assert_eq!(fault("@.mail"), Some(MappingFault::NoColumn("mail".into())));
    assert_eq!(fault("@[?$.id == 1]"), Some(MappingFault::RootInTable));
    for sound in ["@['email', 'tags']", "@[1]", "@.*", "@..email", "@.tags[?@.n == 1]"] {
        assert_eq!(fault(sound), None, "{sound}");
    }
    let table = table("@.columns");
    assert_eq!(
        compile(&table).err().map(|errors| errors[0].fault.clone()),
        Some(MappingFault::NotFromDocument)
    );
}
