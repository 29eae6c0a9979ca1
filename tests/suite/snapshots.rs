//! Snapshots of the interface that people and tools rely on. A change here is a change of the interface.

use std::fmt::Write;

use purposegate::exchange::Refusal;
use purposegate::metrics::Metrics;

/// `--help` of the program and of each verb.
#[test]
fn help() {
    let mut command = purposegate::cli::command().term_width(100);
    command.build();
    let mut text = command.render_long_help().to_string();
    for verb in command.get_subcommands_mut().filter(|verb| verb.get_name() != "help") {
        write!(
            text,
            "\n\n$ purposegate {} --help\n{}",
            verb.get_name(),
            verb.clone().term_width(100).render_help()
        )
        .unwrap();
    }
    // Trailing white space does not matter.
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn problem_document() {
    let purposes = vec!["customer-support", "account-management"];
    let contact = "Data Protection Officer";
    let problem = Refusal::PurposeNotPermitted.problem(
        Some("01JD0000000000000000000000"),
        Some(contact),
        Some(purposes),
    );
    let later = Refusal::LedgerStale.problem(Some("01JD0000000000000000000000"), None, None);
    let text = |problem| serde_json::to_string_pretty(problem).unwrap();
    insta::assert_snapshot!(format!("{}\n{}", text(&problem), text(&later)));
}

#[test]
fn metrics() {
    let line =
        |(name, kind, labels): &(&str, &str, &[&str])| format!("{kind:9} {name} {{{}}}", labels.join(", "));
    let lines: Vec<String> = Metrics::DECLARED.iter().map(line).collect();
    insta::assert_snapshot!(lines.join("\n"));
}
