//! docs/command-line.md lists each command with its options, as the program knows them.
//!
//! `PURPOSEGATE_WRITE_REFERENCE=1 cargo test --test suite command_line` writes the list.

use clap::{Arg, Command};

use crate::documents::{read, repository};

const PAGE: &str = "docs/command-line.md";
/// The line of the page below which everything is written by [`reference`].
const MARK: &str =
    "<!-- Written by tests/suite/command_line.rs from the program: PURPOSEGATE_WRITE_REFERENCE=1. -->\n";

/// Returns a text as one line of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

/// Returns the row of an argument.
fn row(arg: &Arg) -> String {
    let values = arg.get_value_names().unwrap_or_default().iter().map(ToString::to_string);
    let values =
        if arg.get_action().takes_values() { values.collect::<Vec<_>>().join(" ") } else { String::new() };
    let name = match arg.get_long() {
        Some(long) => format!("--{long} {values}").trim_end().to_owned(),
        None if arg.is_required_set() => format!("<{}>", values),
        None => format!("[{}]", values),
    };
    let help = arg.get_long_help().or(arg.get_help()).map(|help| cell(&help.to_string())).unwrap_or_default();
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| format!("`{}`", value.to_string_lossy())).collect();
    let mut help = vec![help];
    let choices: Vec<String> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if arg.get_action().takes_values() && !choices.is_empty() {
        help.push(format!("One of {}", choices.join(", ")));
    }
    if arg.get_action().takes_values() && !defaults.is_empty() {
        help.push(format!("Default: {}", defaults.join(", ")));
    }
    format!("| `{name}` | {} |\n", help.join(". "))
}

/// Appends a command and those below it. Options that a command hands on to those below it are listed once.
fn describe(command: &Command, path: &str, text: &mut String) {
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        let path = format!("{path} {}", below.get_name());
        let about = below.get_about().map(|about| cell(&about.to_string())).unwrap_or_default();
        text.push_str(&format!("\n### {path}\n\n{about}.\n"));
        let is_of_all =
            |arg: &Arg| arg.is_global_set() && command.get_arguments().any(|of| of.get_id() == arg.get_id());
        let shown: Vec<&Arg> = below
            .get_arguments()
            .filter(|arg| !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str()))
            .filter(|arg| !is_of_all(arg))
            .collect();
        if !shown.is_empty() {
            text.push_str("\n| argument | |\n| --- | --- |\n");
            text.extend(shown.into_iter().map(row));
        }
        if let Some(examples) = below.get_after_help().filter(|_| !below.has_subcommands()) {
            let examples = examples.to_string();
            let lines = examples.lines().map(str::trim).filter(|line| line.starts_with("purposegate "));
            let lines: Vec<&str> = lines.collect();
            if !lines.is_empty() {
                text.push_str(&format!("\n```text\n{}\n```\n", lines.join("\n")));
            }
        }
        describe(below, &path, text);
    }
}

fn reference() -> String {
    let mut command = purposegate::cli::command();
    command.build();
    let mut text = String::new();
    describe(&command, "purposegate", &mut text);
    text
}

#[test]
fn the_page_lists_every_command_with_its_options() {
    let page = read(PAGE);
    let (before, written) = page.split_once(MARK).unwrap_or_else(|| panic!("{PAGE} has no line {MARK}"));
    let reference = reference();
    assert!(reference.matches("\n### ").count() >= 40, "{reference}");
    if std::env::var_os("PURPOSEGATE_WRITE_REFERENCE").is_some() {
        std::fs::write(repository().join(PAGE), format!("{before}{MARK}{reference}")).unwrap();
        return;
    }
    assert!(written == reference, "{PAGE} is not what the program has: see the head of this file");
}
