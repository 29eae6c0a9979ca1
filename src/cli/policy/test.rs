//! `policy test`: runs scenarios against a pack, and reports to people, programs and build servers.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::cli::findings::unusable;
use crate::cli::output::ExitStatus;
use crate::config::pack::{read_all, read_pack, scenarios};
use crate::decision::Decisions;
use crate::decision::scenario::{Scenario, UnmetExpectation};
use crate::finding::{Finding, Source};
use crate::policy::Pack;

/// Arguments of `policy test`.
#[derive(Clone, Debug, clap::Args)]
pub struct TestArgs {
    /// The pack's folder
    #[arg(long, value_name = "DIR")]
    policy: PathBuf,
    /// The format of the output; `junit` is the XML format of build servers
    #[arg(long, value_enum, default_value_t = TestFormat::Text)]
    format: TestFormat,
    /// Scenario files; without any, those of the pack
    files: Vec<PathBuf>,
}

/// The format of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TestFormat {
    Text,
    Json,
    Junit,
}

/// The scenarios of one file, each with its differences.
struct FileResults {
    file: String,
    scenarios: Vec<(Scenario, Vec<UnmetExpectation>)>,
}

/// Runs the scenarios and prints the report.
pub(super) fn test(args: &TestArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<ExitStatus> {
    let (pack, files) = match read(&args.policy, &args.files) {
        Ok(read) => read,
        Err(findings) => return unusable(&findings, err),
    };
    let decisions = Decisions::new(Arc::new(pack));
    let run = |scenario: Scenario| {
        let differences = scenario.run(&decisions);
        (scenario, differences)
    };
    let ran = files
        .into_iter()
        .map(|(file, scenarios)| FileResults { file, scenarios: scenarios.into_iter().map(run).collect() });
    let ran: Vec<FileResults> = ran.collect();
    let failed: usize = ran.iter().map(FileResults::failed).sum();
    let passed = ran.iter().map(|ran| ran.scenarios.len()).sum::<usize>() - failed;
    match args.format {
        TestFormat::Text => write_text(&ran, passed, failed, out)?,
        TestFormat::Json => writeln!(out, "{:#}", to_json(&ran, passed, failed))?,
        TestFormat::Junit => out.write_all(to_junit(&ran, &decisions.pack().manifest().title).as_bytes())?,
    }
    if passed + failed == 0 {
        return unusable(&[Finding::error("no-scenario", "there is no scenario to run")], err);
    }
    Ok(if failed == 0 { ExitStatus::Success } else { ExitStatus::Findings })
}

/// Scenarios by file name.
type ScenarioFiles = Vec<(String, Vec<Scenario>)>;

fn read(policy: &Path, files: &[PathBuf]) -> Result<(Pack, ScenarioFiles), Vec<Finding>> {
    let pack = read_pack(policy)?;
    let sources = if files.is_empty() { scenarios(policy, &pack)? } else { read_all(files)? };
    let read = read_files(&pack, &sources)?;
    Ok((pack, read))
}

fn read_files(pack: &Pack, sources: &[Source]) -> Result<ScenarioFiles, Vec<Finding>> {
    let (mut files, mut findings) = (Vec::new(), Vec::new());
    for source in sources {
        match Scenario::read(source, pack) {
            Ok(read) => files.push((source.name().to_owned(), read)),
            Err(found) => findings.extend(found),
        }
    }
    if findings.is_empty() { Ok(files) } else { Err(findings) }
}

/// Reads the scenarios of all files.
pub(super) fn read_scenarios(pack: &Pack, sources: &[Source]) -> Result<Vec<Scenario>, Vec<Finding>> {
    Ok(read_files(pack, sources)?.into_iter().flat_map(|(_, scenarios)| scenarios).collect())
}

impl FileResults {
    fn failed(&self) -> usize {
        self.scenarios.iter().filter(|(_, differences)| !differences.is_empty()).count()
    }
}

/// Prints a line for each scenario, its differences below it, and the totals.
fn write_text(ran: &[FileResults], passed: usize, failed: usize, out: &mut dyn Write) -> io::Result<()> {
    for (scenario, differences) in ran.iter().flat_map(|ran| &ran.scenarios) {
        let verdict = if differences.is_empty() { "pass" } else { "FAIL" };
        writeln!(out, "{verdict}  {:9} {}", scenario.clause, scenario.name)?;
        for difference in differences {
            writeln!(out, "        {difference}")?;
        }
    }
    writeln!(out, "{passed} passed, {failed} failed")
}

fn to_json(ran: &[FileResults], passed: usize, failed: usize) -> serde_json::Value {
    let listed = ran.iter().flat_map(|ran| ran.scenarios.iter().map(|scenario| (&ran.file, scenario)));
    let listed = listed.map(|(file, (scenario, differences))| {
        let differences = differences.iter().map(
            |UnmetExpectation { what, expected, got }| json!({ "what": what, "expected": expected, "got": got }),
        );
        json!({
            "file": file,
            "clause": scenario.clause,
            "name": scenario.name,
            "passed": differences.len() == 0,
            "differences": differences.collect::<Vec<_>>(),
        })
    });
    let listed: Vec<_> = listed.collect();
    json!({ "passed": passed, "failed": failed, "scenarios": listed })
}

/// Renders the report that Jenkins and GitLab read: a suite for each file, a case for each scenario. All times are 0,
/// because scenarios are not timed.
fn to_junit(ran: &[FileResults], title: &str) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let count = |ran: &FileResults| ran.scenarios.len();
    let (tests, failures): (usize, usize) =
        (ran.iter().map(count).sum(), ran.iter().map(FileResults::failed).sum());
    let totals =
        |tests, failures| format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"0\" time=\"0\"");
    let _ = writeln!(xml, "<testsuites name=\"{}\" {}>", escaped(title), totals(tests, failures));
    for suite in ran {
        let file = escaped(&suite.file);
        let totals = totals(count(suite), suite.failed());
        let _ = writeln!(xml, "  <testsuite name=\"{file}\" {totals} skipped=\"0\">");
        for (scenario, differences) in &suite.scenarios {
            let case = format!(
                "    <testcase classname=\"{}\" name=\"{}\" file=\"{file}\" time=\"0\"",
                escaped(&scenario.clause),
                escaped(&scenario.name)
            );
            let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
            let Some(first) = differences.first() else {
                let _ = writeln!(xml, "{case}/>");
                continue;
            };
            let _ = writeln!(xml, "{case}>");
            let _ = write!(xml, "      <failure type=\"difference\" message=\"{}\">", escaped(first));
            let _ = writeln!(xml, "{}</failure>\n    </testcase>", escaped(&differences.join("\n")));
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// Escapes a text for an element or an attribute. Characters that XML 1.0 does not allow become U+FFFD.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' | '\r' => {
                let _ = write!(escaped, "&#{};", u32::from(character));
            }
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_escaped_for_xml() {
        assert_eq!(escaped("a<b>&\"c\"\n\u{1}é"), "a&lt;b&gt;&amp;&quot;c&quot;&#10;\u{fffd}é");
    }
}
