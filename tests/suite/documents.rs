//! What the documents say holds: examples load, commands parse, tables are whole, links lead somewhere.

use std::path::{Path, PathBuf};

use clap::Parser;
use purposegate::cli::Arguments;
use purposegate::layer::Refusal;

const DOCUMENTS: [&str; 4] = ["README.md", "CHANGELOG.md", "docs/configuration.md", "docs/operations.md"];

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The fenced blocks of a document in one language, indentation of lists taken away.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        if line.trim_start() == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            found.push(
                block.map(|line| line.get(indent..).unwrap_or_default()).collect::<Vec<_>>().join("\n"),
            );
        }
    }
    found
}

#[test]
fn the_table_of_refusals_is_whole() {
    let readme = read("README.md");
    for refusal in Refusal::ALL {
        let code = format!("`{}`", refusal.code());
        let row = readme.lines().find(|line| line.starts_with('|') && line.contains(&code));
        let row = row.unwrap_or_else(|| panic!("README.md has no row for {code}"));
        assert!(row.starts_with(&format!("| {} |", refusal.status().as_u16())), "{row}");
    }
    assert!(readme.contains("| as the API's | `upstream-refused` |"));
}

#[test]
fn every_command_of_the_documents_parses() {
    let mut commands = 0;
    for name in DOCUMENTS {
        for line in blocks(&read(name), "sh")
            .iter()
            .flat_map(|block| block.lines().map(str::to_owned).collect::<Vec<_>>())
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let words = match words.as_slice() {
                ["purposegate", ..] => words,
                ["cargo", "run", "--release", "--", rest @ ..] => [&["purposegate"], rest].concat(),
                _ => continue,
            };
            if let Err(error) = Arguments::try_parse_from(&words) {
                panic!("{name}: `{line}`: {error}");
            }
            commands += 1;
        }
    }
    assert!(commands >= 4, "{commands}");
}

#[test]
fn the_configuration_of_the_five_minutes_loads() {
    let example = blocks(&read("README.md"), "toml").remove(0);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("purposegate.toml");
    let policies = repository().join("policies").display().to_string();
    let text = example
        .replace("\"policies/", &format!("\"{policies}/"))
        .replace("sha256:…", &format!("sha256:{}", "0".repeat(64)));
    std::fs::write(&file, text).unwrap();
    let (config, findings) = purposegate::config::load(&file);
    let words: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(config.is_some() && words.is_empty(), "{words:#?}");
}

#[test]
fn links_lead_somewhere() {
    for name in DOCUMENTS {
        let text = read(name);
        let folder: PathBuf = repository().join(name).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            assert!(folder.join(target).exists(), "{name} links to {target}");
        }
    }
}

#[test]
fn alerts_name_metrics_that_exist() {
    let (rules, declared) = (read("deploy/prometheus-rules.yml"), read("src/metrics.rs"));
    let names = rules.split("purposegate_").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(rest.len());
        rest[..end].trim_end_matches("_bucket")
    });
    let mut found = 0;
    for name in names {
        assert!(declared.contains(&format!("= \"{name}\"")), "there is no metric purposegate_{name}");
        found += 1;
    }
    assert!(found >= 6, "{found}");
}
