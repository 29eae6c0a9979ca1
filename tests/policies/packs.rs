//! The packs as a whole: their scenarios pass, and every rule and clause is covered.

use purposegate::cli::output::ExitStatus;

use super::{PACKS, pack, policy};

#[test]
fn every_scenario_of_both_packs_passes() {
    for name in PACKS {
        let (outcome, out, words) = policy(&["test", "--policy", pack(name).to_str().unwrap()]);
        let failed: Vec<&str> = out.lines().filter(|line| !line.starts_with("pass")).collect();
        assert_eq!(outcome, ExitStatus::Success, "{name}: {failed:#?}\n{words}");
        assert!(out.lines().count() > 100, "{name}");
    }
}

#[test]
fn every_clause_has_a_rule_and_scenarios_and_no_rule_is_dead() {
    for name in PACKS {
        let (outcome, out, words) = policy(&["coverage", "--policy", pack(name).to_str().unwrap()]);
        assert_eq!(outcome, ExitStatus::Success, "{name}: {out}{words}");
    }
}

#[test]
fn no_mutant_of_the_packs_survives() {
    for name in PACKS {
        let (outcome, out, words) =
            policy(&["coverage", "--policy", pack(name).to_str().unwrap(), "--mutate"]);
        assert_eq!(outcome, ExitStatus::Success, "{name}: {out}{words}");
        assert!(out.ends_with(", 0 survive\n"), "{name}: {out}");
    }
}

#[test]
fn diff_compares_packs() {
    let [one, other] = PACKS.map(pack);
    let (one, other) = (one.to_str().unwrap(), other.to_str().unwrap());
    let (outcome, out, _) = policy(&["diff", one, one]);
    assert_eq!((outcome, out.as_str()), (ExitStatus::Success, "0 more, 0 less\n"));
    let (outcome, out, _) = policy(&["diff", one, other]);
    assert_eq!(outcome, ExitStatus::Findings);
    let acquirer = "    acquirer for corporate-transaction:";
    assert!(out.lines().any(|line| line.starts_with(acquirer) && line.contains("removed -> clear")), "{out}");
    let (_, json, _) = policy(&["diff", one, other, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let count = format!("{} more, {} less\n", json["more"], json["less"]);
    assert!(out.ends_with(&count), "{out}");
    let (changes, blocks) =
        (json["changes"].as_array().unwrap().len(), json["groups"].as_array().unwrap().len());
    assert!(changes > 300 && blocks < 150, "{changes} changes, {blocks} groups");
}

#[test]
fn the_matrix_is_self_contained_and_the_vocabulary_has_two_notations() {
    let folder = pack(PACKS[0]);
    let folder = folder.to_str().unwrap();
    let (_, html, _) = policy(&["matrix", "--policy", folder, "--format", "html"]);
    assert!(
        html.starts_with("<!doctype html>")
            && html.contains("href=\"#G-6.7d\"")
            && html.contains("id=\"G-6.7d\"")
    );
    assert!(!html.contains("http://") && !html.contains("https://"), "it needs nothing else");
    let (_, table, _) = policy(&["matrix", "--policy", folder]);
    assert!(table.contains("\n  domain-registration\n    C name, contact if domain-registrant\n"), "{table}");
    assert!(
        table.contains("C name, contact, company if same region; service-signup or product-download"),
        "{table}"
    );
    assert!(table.contains("\n  rectification (alter)\n") && table.contains("Left out: "), "{table}");
    assert!(
        table.contains("personal but ") && table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(html.contains("<i>alter</i>") && html.contains("not all that is below it"), "{html}");
    let (_, json, _) = policy(&["vocabulary"]);
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    let (_, turtle, _) = policy(&["vocabulary", "--policy", folder, "--format", "ttl"]);
    assert!(turtle.contains("skos:exactMatch <https://w3id.org/dpv#DirectMarketing>"));
}
