//! Every shell block of every page runs, or its fence says after `not-run:` why not. Every block of TOML is a part of a
//! configuration or of a pack.
//!
//! The blocks of a page run in one shell, which has run the README's quick start before: its gateway serves, and its variables
//! are set. A block of `text` behind a shell block shows what that prints; `…` stands for what differs.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;

use purposegate::config::schema::json_schema;
use serde_json::Value;

use crate::book::pages;
use crate::configuration_schema::object;
use crate::documents::{Block, LIMIT, PORTS, fenced, on_free_ports, path_with_program, quick_start, read};
use crate::json_schema::problems;
use crate::tutorial::{TOOLS, is_shown};

/// Pages whose blocks run in tests of their own.
const TESTED_ELSEWHERE: [&str; 3] = ["README.md", "docs/policy-packs.md", "docs/tutorial.md"];
const NOT_RUN: &str = "not-run: ";
/// Pages whose commands run at the same time.
const AT_ONCE: usize = 3;
/// Separates the texts in which ports are replaced together.
const SEPARATOR: char = '\u{1f}';

/// A shell block that runs, with the output that the page shows, if it does.
struct Step {
    line: usize,
    script: String,
    output: Option<String>,
}

/// Returns the shell blocks of a page that run.
///
/// # Panics
/// If a block says neither nothing nor a reason after its language.
fn steps(name: &str, page: &str) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut is_after_step = false;
    for Block { line, language, info, text } in fenced(page) {
        match &*language {
            "sh" => {
                let reason = info.strip_prefix(NOT_RUN);
                assert!(info.is_empty() || reason.is_some_and(|why| why.len() > 5), "{name}:{line}: {info}");
                is_after_step = reason.is_none();
                if is_after_step {
                    found.push(Step { line, script: text, output: None });
                }
            }
            "text" => {
                if let Some(step) = found.last_mut().filter(|_| is_after_step) {
                    step.output = Some(text + "\n");
                }
                is_after_step = false;
            }
            _ => is_after_step = false,
        }
    }
    found
}

#[test]
fn a_block_runs_unless_it_says_why_not() {
    let page = "```sh\na\n```\n```text\nb\n```\n```sh not-run: needs more\nc\n```\n```text\nd\n```\n  ```sh\n  e\n  ```\n";
    let steps = steps("a page", page);
    let parts: Vec<_> = steps.iter().map(|step| (&*step.script, step.output.as_deref(), step.line)).collect();
    assert_eq!(parts, [("a", Some("b\n"), 1), ("e", None, 13)]);
}

/// Returns the commands that bring a shell to the end of the quick start, without those that look at the pack.
fn preparation() -> String {
    let mut blocks = quick_start();
    let end = blocks.pop().unwrap();
    assert!(end.starts_with("kill "), "the last block ends what runs: {end}");
    let script = blocks.join("\n");
    let looks = ["check", "explain", "policy coverage", "policy explain", "policy matrix", "policy test"];
    let looks = looks.map(|verb| format!("purposegate {verb} "));
    let lines = script.lines().filter(|line| !looks.iter().any(|look| line.starts_with(&**look)));
    lines.collect::<Vec<_>>().join("\n")
}

/// Runs the steps of a page behind the preparation, each with its output in a file of its number.
fn run(preparation: &str, steps: &[Step], outputs: &Path) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut script = String::from(
        "set -eu\ntrap 'for job in $(jobs -p); do kill $job || true; done 2>/dev/null; wait' EXIT\n",
    );
    script.push_str(&format!("{{\n{preparation}\n}} > '{}' 2>&1\n", outputs.join("before").display()));
    for (number, step) in steps.iter().enumerate() {
        let file = outputs.join(number.to_string());
        script.push_str(&format!("{{\n{}\n}} > '{}' 2>&1\n", step.script, file.display()));
    }
    Command::new("timeout")
        .args([LIMIT, "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path_with_program())
        .env("no_proxy", "*")
        .env_remove("PURPOSEGATE_TOKEN")
        .output()
        .unwrap()
}

/// Returns what is wrong with the commands of a page.
fn differences(name: &str, preparation: &str) -> Vec<String> {
    let mut steps = steps(name, &read(name));
    if steps.is_empty() {
        return Vec::new();
    }
    let mut texts = vec![preparation.to_owned()];
    texts.extend(steps.iter().map(|step| step.script.clone()));
    texts.extend(steps.iter().map(|step| step.output.clone().unwrap_or_default()));
    let replaced = on_free_ports(&texts.join(&SEPARATOR.to_string()), &PORTS);
    let replaced: Vec<&str> = replaced.split(SEPARATOR).collect();
    let (scripts, shown) = replaced[1..].split_at(steps.len());
    for (step, (script, shown)) in steps.iter_mut().zip(scripts.iter().zip(shown)) {
        step.script = (*script).to_owned();
        step.output = step.output.take().map(|_| (*shown).to_owned());
    }
    let outputs = tempfile::tempdir().unwrap();
    let ran = run(replaced[0], &steps, outputs.path());
    let printed = |name: &str| std::fs::read_to_string(outputs.path().join(name)).ok();
    let mut found = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let Some(output) = printed(&number.to_string()) else {
            let before = if number == 0 { "before".to_owned() } else { (number - 1).to_string() };
            found.push(format!(
                "{name}:{}: not run, after\n{}",
                step.line,
                printed(&before).unwrap_or_default()
            ));
            return found;
        };
        if let Some(shown) = step.output.as_ref().filter(|shown| !is_shown(&output, shown)) {
            found.push(format!("{name}:{} prints\n{output}\nand the page shows\n{shown}", step.line));
        }
    }
    if !ran.status.success() {
        let last = printed(&(steps.len() - 1).to_string()).unwrap_or_default();
        found.push(format!("{name}: the last commands fail: {:?}\n{last}", ran.status));
    }
    found
}

#[test]
fn every_command_of_the_pages_runs_and_prints_what_the_page_shows() {
    for tool in TOOLS {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("SKIPPED: the commands of the pages are not run, {tool} is not there");
            return;
        }
    }
    let preparation = preparation();
    let names: Vec<String> =
        pages().into_iter().filter(|name| !TESTED_ELSEWHERE.contains(&&**name)).collect();
    let commands: usize = names.iter().map(|name| steps(name, &read(name)).len()).sum();
    assert!(commands >= 40, "{commands}");
    let (queue, found) = (Mutex::new(names.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(name) = queue.lock().unwrap().next() else { break };
                    found.lock().unwrap().extend(differences(name, &preparation));
                }
            });
        }
    });
    let found = found.into_inner().unwrap();
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

#[test]
fn every_block_of_the_other_pages_is_in_a_part_that_runs() {
    let count = |name: &str| steps(name, &read(name)).len();
    assert_eq!(count("README.md"), quick_start().len());
    let guide = read("docs/policy-packs.md");
    let example = guide.split("\n## An example from beginning to end\n").nth(1).unwrap();
    let example = example.split("\n## ").next().unwrap();
    assert_eq!(count("docs/policy-packs.md"), steps("the example", example).len());
}

/// Makes a schema that accepts a part of a configuration: no key is required.
fn without_required(schema: Value) -> Value {
    match schema {
        Value::Object(members) => {
            let kept = members.into_iter().filter(|(name, value)| name != "required" || !value.is_array());
            Value::Object(kept.map(|(name, value)| (name, without_required(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_required).collect(),
        other => other,
    }
}

/// Returns the configuration of which a block is a part: a block `toml in:route.fields` has keys of that table.
fn configuration(block: &Block) -> toml::Table {
    let mut table: toml::Table = block.text.parse().unwrap();
    for name in block.info.strip_prefix("in:").into_iter().flat_map(|path| path.rsplit('.')) {
        table = toml::Table::from_iter([(name.to_owned(), table.into())]);
    }
    // `[route.fields]` alone is a part of a `[[route]]`.
    for name in ["issuer", "listener", "recipient", "route", "schema", "upstream"] {
        if let Some(one @ toml::Value::Table(_)) = table.get(name).cloned() {
            table.insert(name.to_owned(), vec![one].into());
        }
    }
    table
}

#[test]
fn every_block_of_toml_is_a_part_of_a_configuration_or_of_a_pack() {
    let schema = without_required(json_schema());
    let guide = read("docs/policy-packs.md");
    let mut checked = 0;
    for name in pages() {
        for block in fenced(&read(&name)).iter().filter(|block| block.language == "toml") {
            let place = format!("{name}:{}", block.line);
            checked += 1;
            if block.info == "pack" {
                let table: toml::Table = block.text.parse().unwrap();
                let unknown = table.keys().find(|key| !guide.contains(&format!("`{key}`")));
                assert_eq!(unknown, None, "{place}");
                continue;
            }
            assert!(block.info.is_empty() || block.info.starts_with("in:"), "{place}: {}", block.info);
            let found = problems(&schema, &schema, &Value::Object(object(configuration(block))));
            assert!(found.is_empty(), "{place}: {found:#?}");
        }
    }
    assert!(checked >= 15, "{checked}");
}
