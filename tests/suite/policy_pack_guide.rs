//! docs/policy-packs.md agrees with the program.

use std::collections::BTreeSet;
use std::process::Command;

use purposegate::config::pack::read_pack;
use purposegate::decision::Denial;
use purposegate::policy::Fact;
use purposegate::vocabulary::{Basis, Form, Operation};

use crate::documents::{blocks, path_with_program, read};

const GUIDE: &str = "docs/policy-packs.md";

/// Returns the keys that a source file reads from a document, without those of its tests.
fn keys(file: &str) -> BTreeSet<String> {
    let code = read(file);
    let code = code.split("#[cfg(test)]").next().unwrap();
    let calls = [
        "text(\"",
        "texts(\"",
        "flag(\"",
        "number(\"",
        "item(\"",
        "entries(\"",
        "fields(\"",
        "tables(\"",
        "date(\"",
    ];
    let found = calls.iter().flat_map(|call| code.split(call).skip(1));
    let mut keys: BTreeSet<String> = found.map(|rest| rest.split('"').next().unwrap().to_owned()).collect();
    // Read by a function that takes the key as its second argument.
    let dates = code.split("needed_date(&mut root, \"").skip(1);
    keys.extend(dates.map(|rest| rest.split('"').next().unwrap().to_owned()));
    keys
}

/// Returns the section of the guide under a heading of the second level.
fn section(heading: &str) -> String {
    let guide = read(GUIDE);
    let from = guide.find(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    let rest = &guide[from + 1..];
    rest[..rest[3..].find("\n## ").map_or(rest.len(), |end| end + 3)].to_owned()
}

/// Returns the cells of the table under a heading of the third level, row by row.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let guide = read(GUIDE);
    let part =
        guide.split(&format!("\n### {heading}\n")).nth(1).unwrap_or_else(|| panic!("no part {heading}"));
    let lines = part.lines().skip_while(|line| !line.starts_with("| ---")).skip(1);
    let lines = lines.take_while(|line| line.starts_with('|'));
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[test]
fn every_key_of_a_pack_is_explained() {
    let section = section("`pack.toml`");
    let files = [
        "src/policy/manifest.rs",
        "src/policy/base.rs",
        "src/vocabulary/toml.rs",
        "src/vocabulary/region.rs",
    ];
    let keys: BTreeSet<String> = files.into_iter().flat_map(keys).collect();
    assert!(keys.len() > 35, "{keys:?}");
    for key in keys {
        let notations = [
            format!("`{key}`"),
            format!("`{key}."),
            format!(".{key}`"),
            format!("[[{key}]]"),
            format!(".{key}]]"),
        ];
        assert!(
            notations.iter().any(|notations| section.contains(notations)),
            "{GUIDE} does not name `{key}`"
        );
    }
}

#[test]
fn every_key_of_a_scenario_is_explained() {
    let section = section("Scenarios");
    let mut keys = keys("src/decision/scenario.rs");
    keys.extend(self::keys("src/decision/scenario/reader.rs"));
    assert!(keys.len() > 35, "{keys:?}");
    for key in keys.iter().filter(|key| *key != "scenario") {
        let notations = [format!("`{key}`"), format!("`[{key}]`")];
        assert!(
            notations.iter().any(|notations| section.contains(notations)),
            "{GUIDE} does not name `{key}`"
        );
    }
    for code in Denial::ALL.iter().map(|denial| denial.name()) {
        assert!(section.contains(&format!("`{code}`")), "{GUIDE} does not name `{code}`");
    }
}

#[test]
fn the_guide_lists_every_fact_of_the_context() {
    let listed: Vec<(String, String)> =
        rows("Facts of the context").iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    let facts = Fact::all(0).map(|fact| (format!("`{}`", fact.name()), quoted(fact.values())));
    let relation = ("`relation`".to_owned(), "`false`, `true` each".to_owned());
    assert_eq!(listed, facts.chain([relation]).collect::<Vec<_>>());
}

#[test]
fn the_guide_lists_every_basis_operation_and_form() {
    let first = |heading: &str| rows(heading).iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    let names = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    assert_eq!(first("Legal bases"), names(Basis::ALL.iter().map(|basis| basis.name()).collect()));
    assert_eq!(first("Operations"), names(Operation::ALL.iter().map(|operation| operation.name()).collect()));
    assert_eq!(first("Forms"), names(Form::ALL.iter().map(|form| form.name()).collect()));
}

#[test]
fn the_guide_lists_the_rules_of_the_standard_base() {
    let folder = tempfile::tempdir().unwrap();
    let pack = folder.path().join("pack");
    let new = Command::new(env!("CARGO_BIN_EXE_purposegate"))
        .args(["policy", "new", pack.to_str().unwrap(), "--title", "T", "--contact", "c"])
        .output()
        .unwrap();
    assert!(new.status.success());
    let pack = read_pack(&pack).unwrap();
    let of_base = pack.rulebook().rules().iter().filter(|rule| &*rule.id != "not-personal");
    let expected = of_base.map(|rule| {
        let clauses: Vec<&str> = rule.clauses.iter().map(|clause| &**clause).collect();
        (format!("`{}`", rule.id), quoted(&clauses))
    });
    let section = section("What `extends = \"standard\"` brings");
    let table = section.lines().filter(|line| line.starts_with("| `"));
    let listed = table.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        (cells[0].to_owned(), cells[1].to_owned())
    });
    assert_eq!(listed.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}

#[test]
fn the_worked_example_can_be_pasted() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("skipped: bash is not there");
        return;
    }
    let lines = blocks(&section("An example from beginning to end"), "sh");
    assert!(lines.len() >= 6, "{lines:#?}");
    let folder = tempfile::tempdir().unwrap();
    let ran = Command::new("bash")
        .args(["-c", &format!("set -eu\n{}\n", lines.join("\n"))])
        .current_dir(folder.path())
        .env("PATH", path_with_program())
        .output()
        .unwrap();
    let (out, words) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{words}");
    assert!(out.contains(", 0 failed\n"), "{out}");
    assert!(out.contains(": 0 findings\n"), "{out}{words}");
    assert!(out.contains("meter-reading"), "the new release is in the diff: {out}");
}
