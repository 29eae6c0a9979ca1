//! Findings for people and for programs: which of them a verb reports, and how they are rendered.

use std::io::{self, IsTerminal, Write};
use std::path::Path;

use miette::{GraphicalReportHandler, GraphicalTheme};
use serde_json::json;

use super::output::ExitStatus;
use crate::config::{self, Config};
use crate::document::DeferredAllow;
use crate::finding::Finding;

/// Loads a configuration for a verb that reports no warnings: all but `check` and `serve`.
///
/// # Errors
/// The errors among the findings.
pub(super) fn load(file: &Path) -> Result<Config, Vec<Finding>> {
    let (config, mut findings) = config::load(file);
    config.ok_or_else(|| {
        findings.retain(Finding::is_error);
        findings
    })
}

/// Findings about what `check` reads besides the configuration: the ledger and the logs.
#[derive(Debug, Default)]
pub(super) struct StateFindings {
    pub(super) findings: Vec<Finding>,
    /// Codes of the warnings that would be among the findings if there were any.
    pub(super) checked: Vec<&'static str>,
}

impl StateFindings {
    /// Returns the findings, acknowledged as the configuration says, and those about its `allow`.
    pub(super) fn acknowledged(mut self, allow: &DeferredAllow) -> Vec<Finding> {
        let unused = allow.acknowledge(&mut self.findings, &self.checked);
        self.findings.extend(unused);
        self.findings
    }
}

/// Prints findings with place, excerpt and hint, except acknowledged ones.
///
/// # Errors
/// If writing fails.
pub(super) fn print<'f>(
    findings: impl IntoIterator<Item = &'f Finding>,
    err: &mut dyn Write,
) -> io::Result<()> {
    let colours = std::env::var_os("NO_COLOR").is_none() && io::stderr().is_terminal();
    let theme = if colours { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let handler = GraphicalReportHandler::new_themed(theme).with_width(100);
    for finding in findings.into_iter().filter(|finding| finding.is_error() || finding.is_warning()) {
        let mut text = String::new();
        match handler.render_report(&mut text, finding) {
            Ok(()) => writeln!(err, "{text}")?,
            Err(_) => writeln!(err, "{finding}")?,
        }
    }
    Ok(())
}

/// Number of findings of each severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) errors: usize,
    pub(super) warnings: usize,
    pub(super) acknowledged: usize,
}

impl Counts {
    pub(super) fn of(findings: &[Finding]) -> Counts {
        let errors = findings.iter().filter(|finding| finding.is_error()).count();
        let warnings = findings.iter().filter(|finding| finding.is_warning()).count();
        Counts { errors, warnings, acknowledged: findings.len() - errors - warnings }
    }

    /// Renders the warnings: `2 warnings (1 more acknowledged)`.
    pub(super) fn of_warnings(self) -> String {
        let warnings = counted(self.warnings, "warning");
        match self.acknowledged {
            0 => warnings,
            acknowledged => format!("{warnings} ({acknowledged} more acknowledged)"),
        }
    }
}

/// Renders a number and a noun: `1 error`, `2 errors`.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Renders findings as one JSON object.
pub(super) fn to_json(findings: &[Finding]) -> String {
    let Counts { errors, warnings, acknowledged } = Counts::of(findings);
    let open = findings.iter().filter(|finding| finding.is_error() || finding.is_warning());
    let listed: Vec<_> = open.map(Finding::report).collect();
    let object =
        json!({ "findings": listed, "errors": errors, "warnings": warnings, "acknowledged": acknowledged });
    format!("{object:#}")
}

/// Prints findings that make the input unusable.
///
/// # Errors
/// If writing fails.
pub(super) fn unusable(findings: &[Finding], err: &mut dyn Write) -> io::Result<ExitStatus> {
    print(findings, err)?;
    Ok(ExitStatus::Unusable)
}
