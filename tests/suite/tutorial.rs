//! Every command of docs/tutorial.md runs, in the order of the page, and prints what the page shows.

use std::path::Path;
use std::process::Command;

use regex::Regex;

use crate::documents::{LIMIT, PORTS, on_free_ports, path_with_program, read};

const TUTORIAL: &str = "docs/tutorial.md";
/// Programs that the commands call.
pub(crate) const TOOLS: [&str; 3] = ["bash", "curl", "python3"];

/// A shell block with the output that the page shows below it. Without any it must print nothing.
struct Step {
    line: usize,
    script: String,
    output: String,
}

/// Returns the steps of a page. Each fence is either shell or the output of the shell block before it.
fn steps(page: &str) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((opening, line)) = lines.next() {
        let Some(language) = opening.strip_prefix("```") else {
            assert!(!opening.contains("```"), "{TUTORIAL}:{line}: a fence begins at the start of its line");
            continue;
        };
        let block: String = lines
            .by_ref()
            .take_while(|(line, _)| *line != "```")
            .map(|(line, _)| format!("{line}\n"))
            .collect();
        match language {
            "sh" => found.push(Step { line, script: block, output: String::new() }),
            "text" => {
                let step = found.last_mut().unwrap_or_else(|| panic!("{TUTORIAL}:{line}: output of nothing"));
                assert!(step.output.is_empty(), "{TUTORIAL}:{line}: a second output of one block");
                step.output = block;
            }
            other => panic!("{TUTORIAL}:{line}: a block of `{other}` that no test runs"),
        }
    }
    found
}

/// True if an output is what the page shows: `…` stands for any text within a line, and alone on a line for any lines.
pub(crate) fn is_shown(output: &str, shown: &str) -> bool {
    let line = |line: &str| match line.trim() {
        "…" => "(?:.*\n)*?".to_owned(),
        _ => format!("{}\n", line.split('…').map(regex::escape).collect::<Vec<_>>().join(".*")),
    };
    let pattern: String = shown.lines().map(line).collect();
    Regex::new(&format!("^{pattern}$")).unwrap().is_match(output)
}

#[test]
fn an_ellipsis_stands_for_text_or_lines() {
    assert!(is_shown("a 1 b\n", "a … b\n") && is_shown("a\n", "a\n") && is_shown("", ""));
    assert!(is_shown("a\nb\nc\n", "a\n…\nc\n") && is_shown("a\nc\n", "a\n…\nc\n"));
    assert!(!is_shown("a\nb\nc\n", "a…\nc\n") && !is_shown("a\n", "") && !is_shown("", "a\n"));
    assert!(!is_shown("axb\n", "a.b\n") && !is_shown("a\nb\n", "a\n"));
}

#[test]
fn every_block_of_a_page_is_a_command_or_an_output() {
    let page = "```sh\na\n```\n\nText.\n\n```text\nb\n```\n```sh\nc\n```\n";
    let steps = steps(page);
    let parts: Vec<_> = steps.iter().map(|step| (&*step.script, &*step.output, step.line)).collect();
    assert_eq!(parts, [("a\n", "b\n", 1), ("c\n", "", 10)]);
}

/// Returns a script that runs each block in one shell, with the output of each in a file of its own, and ends what they
/// leave in the background.
fn script(steps: &[Step], outputs: &Path) -> String {
    let mut script = String::from(
        "set -eu\ntrap 'for job in $(jobs -p); do kill $job || true; done 2>/dev/null; wait' EXIT\n",
    );
    for (number, step) in steps.iter().enumerate() {
        let file = outputs.join(number.to_string());
        script.push_str(&format!("{{\n{}}} > '{}' 2>&1\n", step.script, file.display()));
    }
    script
}

#[test]
fn every_command_of_the_tutorial_prints_what_the_page_shows() {
    for tool in TOOLS {
        if Command::new(tool).arg("--version").output().is_err() {
            eprintln!("SKIPPED: the tutorial is not tested, {tool} is not there");
            return;
        }
    }
    let steps = steps(&on_free_ports(&read(TUTORIAL), &PORTS));
    assert!(steps.len() >= 20, "{}", steps.len());
    let (folder, outputs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ran = Command::new("timeout")
        .args([LIMIT, "bash", "-c", &script(&steps, outputs.path())])
        .current_dir(folder.path())
        .env("PATH", path_with_program())
        .env("no_proxy", "*")
        .env_remove("PURPOSEGATE_TOKEN")
        .output()
        .unwrap();
    for (number, step) in steps.iter().enumerate() {
        let output = std::fs::read_to_string(outputs.path().join(number.to_string()));
        let output = output.unwrap_or_else(|_| panic!("{TUTORIAL}:{}: not run: {ran:?}", step.line));
        let (line, shown) = (step.line, &step.output);
        assert!(is_shown(&output, shown), "{TUTORIAL}:{line} prints\n{output}\nand the page shows\n{shown}");
    }
    assert!(ran.status.success(), "the last commands fail: {ran:?}");
}
