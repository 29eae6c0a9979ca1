//! `purposegate policy …`: a pack tested, explained and compared.
//!
//! It reads files and writes answers; what is true of a pack is worked out by [`crate::policy`] and
//! [`crate::decision`].

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::pack::{read_all, read_pack, scenarios};
use crate::decision::Decisions;
use crate::decision::scenario::Scenario;
use crate::finding::{Finding, Source};
use crate::policy::Pack;

/// What can be asked of a policy pack.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyVerb {
    /// Run scenario files against a pack
    Test {
        /// The pack's folder
        #[arg(long)]
        policy: PathBuf,
        /// Scenario files; without any, the pack's own
        files: Vec<PathBuf>,
    },
}

/// How a verb ended: the exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Fine = 0,
    /// A finding, a refusal, a failed test.
    Found = 1,
    /// The input cannot be used.
    Unusable = 2,
}

/// Runs a verb; answers go to `out`, findings to `words`.
///
/// # Errors
/// When writing fails.
pub fn run(verb: &PolicyVerb, out: &mut dyn Write, words: &mut dyn Write) -> io::Result<Outcome> {
    match verb {
        PolicyVerb::Test { policy, files } => test(policy, files, out, words),
    }
}

/// One line a scenario, what differs below it, and the count.
fn test(policy: &Path, files: &[PathBuf], out: &mut dyn Write, words: &mut dyn Write) -> io::Result<Outcome> {
    let read = read_pack(policy).and_then(|pack| {
        let sources = if files.is_empty() { scenarios(policy)? } else { read_all(files)? };
        let read = read_scenarios(&pack, &sources)?;
        Ok((pack, read))
    });
    let (pack, scenarios) = match read {
        Ok(read) => read,
        Err(findings) => return unusable(&findings, words),
    };
    let decisions = Decisions::new(Arc::new(pack));
    let (mut passed, mut failed) = (0, 0);
    for scenario in &scenarios {
        let differences = scenario.run(&decisions);
        let verdict = if differences.is_empty() { "pass" } else { "FAIL" };
        writeln!(out, "{verdict}  {:9} {}", scenario.clause, scenario.name)?;
        for difference in &differences {
            writeln!(out, "        {difference}")?;
        }
        if differences.is_empty() { passed += 1 } else { failed += 1 }
    }
    writeln!(out, "{passed} passed, {failed} failed")?;
    if scenarios.is_empty() {
        return unusable(&[Finding::error("no scenario to run")], words);
    }
    Ok(if failed == 0 { Outcome::Fine } else { Outcome::Found })
}

fn read_scenarios(pack: &Pack, sources: &[Source]) -> Result<Vec<Scenario>, Vec<Finding>> {
    let (mut scenarios, mut findings) = (Vec::new(), Vec::new());
    for source in sources {
        match Scenario::read(source, pack) {
            Ok(read) => scenarios.extend(read),
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok(scenarios) } else { Err(findings) }
}

fn unusable(findings: &[Finding], words: &mut dyn Write) -> io::Result<Outcome> {
    report(findings, words)?;
    Ok(Outcome::Unusable)
}

/// Findings with place, excerpt and hint.
///
/// # Errors
/// When writing fails.
pub fn report(findings: &[Finding], words: &mut dyn Write) -> io::Result<()> {
    let handler = miette::GraphicalReportHandler::new();
    for finding in findings {
        let mut text = String::new();
        match handler.render_report(&mut text, finding) {
            Ok(()) => writeln!(words, "{text}")?,
            Err(_) => writeln!(words, "{finding}")?,
        }
    }
    Ok(())
}
