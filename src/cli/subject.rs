//! `subject`: what data subjects ask for, from the shell.
//!
//! It reads the ledger's file and the log's folder, also while a gateway runs; what it records goes
//! the way that is open ([`super::ledger_client`]).

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Format;
use super::consent::{EventDetails, SubjectArgs, subject};
use super::error::CliError;
use super::ledger_location::{self, LedgerLocation, VerbError, unusable_error};
use crate::decision::RecipientFacts;
use crate::exchange::pages::opt_out;
use crate::keys::Keys;
use crate::ledger::{Entity, Right};
use crate::policy::Pack;
use crate::report::{self, ReportSources};

/// What can be done for data subjects.
#[derive(Debug, clap::Subcommand)]
pub enum SubjectVerb {
    /// Write what a person is told about themselves (right of access)
    Report {
        #[command(flatten)]
        person: SubjectArgs,
        /// `html` is one page that needs nothing else
        #[arg(long, value_enum, default_value = "json")]
        format: PageFormat,
    },
    /// Record that a person asks for something; the answer is due in 30 days
    Request(RequestArgs),
    /// Record that a request was answered
    Answer(RequestArgs),
    /// Write the head lines with which a marketing e-mail carries its one-click way out (RFC 8058)
    OptOutLink {
        #[command(flatten)]
        person: SubjectArgs,
        /// Where people reach the gateway: https://api.example.org
        #[arg(long, value_name = "URL", value_parser = base)]
        base: String,
    },
    /// List the requests that wait for an answer, the first due first
    Requests {
        /// Only those that are past their due date
        #[arg(long)]
        overdue: bool,
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// What a person asks for.
#[derive(Debug, clap::Args)]
pub struct RequestArgs {
    #[command(flatten)]
    person: SubjectArgs,
    /// access, rectification, erasure, restriction, portability, objection
    #[arg(value_parser = right)]
    right: Right,
    #[command(flatten)]
    details: EventDetails,
}

/// RFC 8058 wants HTTPS; a token is too good for anything else.
fn base(url: &str) -> Result<String, String> {
    let parsed: http::Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let plain = parsed.path() == "/" && parsed.query().is_none() && parsed.authority().is_some();
    if parsed.scheme_str() != Some("https") || !plain {
        return Err("write https:// and a host, and no path".to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn right(name: &str) -> Result<Right, String> {
    let known = || Right::ALL.map(Right::name).join(", ");
    Right::parse(name).ok_or_else(|| format!("is none of {}", known()))
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PageFormat {
    Json,
    Html,
}

/// Where the disclosure log is, and what the configuration knows of those it names.
#[derive(Clone, Copy, Debug)]
pub struct LogContext<'l> {
    pub folder: &'l Path,
    pub packs: &'l [Arc<Pack>],
    pub recipients: &'l [Arc<RecipientFacts>],
}

/// Runs a verb; the answer goes to `out`, words to `words`. Returns the exit status.
///
/// # Errors
/// When writing fails.
pub fn run(
    verb: SubjectVerb,
    place: &LedgerLocation<'_>,
    log: LogContext<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        SubjectVerb::Report { person, format } => write_report(&person, format, place, log, now, out),
        SubjectVerb::Request(asked) => record("request-received", asked, place, out, words),
        SubjectVerb::Answer(asked) => record("request-answered", asked, place, out, words),
        SubjectVerb::OptOutLink { person, base } => opt_out_link(&person, &base, place, out),
        SubjectVerb::Requests { overdue, format } => list(overdue, format, place, now, out),
    };
    ledger_location::exit_status(outcome, words)
}

fn record(
    kind: &str,
    asked: RequestArgs,
    place: &LedgerLocation<'_>,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> Result<u8, VerbError> {
    let RequestArgs { person, right, details: particulars } = asked;
    let mut event = Map::new();
    event.insert("kind".to_owned(), kind.into());
    event.insert("right".to_owned(), right.name().into());
    let event = Value::Object(particulars.put_into(event));
    let entity = Entity::Subject(subject(&person, place)?);
    let answer = place.client()?.record(&entity, &person.subject, &event)?;
    Ok(ledger_location::print_answer(&answer, out, words)?)
}

fn opt_out_link(
    person: &SubjectArgs,
    base: &str,
    place: &LedgerLocation<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let person = subject(person, place)?;
    let keys = Keys::open(place.keys).map_err(|error| unusable_error(&error))?;
    let token = keys.opt_out_links().token(&person);
    let token = token.ok_or_else(|| CliError::Refused("the id is too long".to_owned()))?;
    writeln!(out, "List-Unsubscribe: <{base}{}{token}>", opt_out::PATH)?;
    writeln!(out, "List-Unsubscribe-Post: {}", opt_out::ONE_CLICK)?;
    Ok(0)
}

fn list(
    overdue: bool,
    format: Format,
    place: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let mut open = place.archive()?.requests().map_err(|error| unusable_error(&error))?;
    open.retain(|request| !overdue || request.is_overdue(now));
    for request in open {
        match format {
            Format::Json => writeln!(out, "{}", Value::Object(request.json(now)))?,
            Format::Text => {
                let late = if request.is_overdue(now) { "  OVERDUE" } else { "" };
                let of = request.person.namespace().map_or_else(String::new, |name| format!(" ({name})"));
                let (person, right, received) = (request.person.id(), request.right.name(), request.received);
                writeln!(out, "due {}  {right}  {person}{of}  received {received}{late}", request.due())?;
            }
        }
    }
    Ok(0)
}

fn write_report(
    person: &SubjectArgs,
    format: PageFormat,
    place: &LedgerLocation<'_>,
    log: LogContext<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let person = subject(person, place)?;
    let keys = Keys::open(place.keys).map_err(|error| unusable_error(&error))?;
    let archive = place.archive()?;
    let sources = ReportSources {
        archive: &archive,
        log: log.folder,
        people: &archive.fingerprints(&person, &keys.fingerprints()),
        pseudonyms: &keys.subject_pseudonyms(),
        packs: log.packs,
        recipients: log.recipients,
    };
    let report = report::report(&person, &sources, now).map_err(|error| unusable_error(&error))?;
    let report = report.ok_or_else(|| {
        CliError::Refused(
            "the ledger has never heard of this person, and nothing about them has left".to_owned(),
        )
    })?;
    match format {
        PageFormat::Json => {
            let text = serde_json::to_string_pretty(&report).map_err(|error| unusable_error(&error))?;
            writeln!(out, "{text}")?;
        }
        PageFormat::Html => out.write_all(report::html(&report).as_bytes())?,
    }
    Ok(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::ledger::VocabularyTerms;

    #[derive(Parser)]
    struct SubjectCommand {
        #[command(subcommand)]
        verb: SubjectVerb,
    }

    fn run_in(folder: &tempfile::TempDir, arguments: &str) -> (u8, String, String) {
        let arguments = ["subject"].into_iter().chain(arguments.split_whitespace());
        let verb = SubjectCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
        let (ledger, keys) = (folder.path().join("ledger.db"), folder.path().join("keys"));
        let audit = folder.path().join("audit");
        std::fs::create_dir_all(&audit).unwrap();
        let place = LedgerLocation {
            ledger: &ledger,
            keys: &keys,
            log: Path::new("/nowhere"),
            names: Arc::new(VocabularyTerms::standard()),
            recipients: Vec::new(),
            namespaces: ["default", "crm"].map(Arc::from).to_vec(),
            admin: "127.0.0.1:9".parse().unwrap(),
        };
        let log =
            LogContext { folder: &audit, packs: &[crate::decision::testing::one_partner()], recipients: &[] };
        let now = "2026-11-22T00:00:00Z".parse().unwrap();
        let (mut out, mut words) = (Vec::new(), Vec::new());
        let status = run(verb, &place, log, now, &mut out, &mut words).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
    }

    #[test]
    fn the_command_line_is_well_formed() {
        <SubjectCommand as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn requests_are_listed_until_they_are_answered() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run_in(&folder, "request ada access --at 2026-11-01 --channel letter").0, 0);
        assert_eq!(run_in(&folder, "request ben erasure --at 2026-10-01 --namespace crm").0, 0);
        let (_, text, _) = run_in(&folder, "requests");
        assert_eq!(
            text,
            "due 2026-10-31T00:00:00Z  erasure  ben (crm)  received 2026-10-01T00:00:00Z  OVERDUE\n\
             due 2026-12-01T00:00:00Z  access  ada  received 2026-11-01T00:00:00Z\n"
        );
        assert_eq!(run_in(&folder, "requests --overdue --format json").1.lines().count(), 1);
        assert_eq!(run_in(&folder, "answer ben erasure --namespace crm").0, 0);
        assert_eq!(run_in(&folder, "requests --overdue").1, "");
        let (status, _, words) = run_in(&folder, "answer ben erasure --namespace crm");
        assert_eq!(status, 1);
        assert!(words.contains("no request of this kind is open"), "{words}");
        let arguments = ["subject", "request", "ada", "everything"];
        assert!(SubjectCommand::try_parse_from(arguments).is_err());
    }

    #[test]
    fn a_link_is_written_as_the_head_of_an_e_mail() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run_in(&folder, "opt-out-link ada --base https://api.example.org").0, 2, "no keys yet");
        run_in(&folder, "request ada access");
        let (status, head, _) = run_in(&folder, "opt-out-link ada --base https://api.example.org/");
        assert_eq!(status, 0);
        let [link, post] = head.lines().collect::<Vec<_>>()[..] else { panic!("{head}") };
        assert!(link.starts_with("List-Unsubscribe: <https://api.example.org/.well-known/"), "{link}");
        assert!(link.ends_with('>') && !link.contains("ada"));
        assert_eq!(post, "List-Unsubscribe-Post: List-Unsubscribe=One-Click");
        for wrong in ["http://api.example.org", "api.example.org", "https://api.example.org/path", "https://"]
        {
            let arguments = ["subject", "opt-out-link", "ada", "--base", wrong];
            assert!(SubjectCommand::try_parse_from(arguments).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_report_is_written_as_json_or_as_a_page() {
        let folder = tempfile::tempdir().unwrap();
        run_in(&folder, "request ada access --at 2026-11-01");
        let (status, json, words) = run_in(&folder, "report ada");
        assert_eq!(status, 0, "{words}");
        let report: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(report["events"][0]["right"], "access");
        assert_eq!(report["disclosures"], serde_json::json!([]));
        let (status, page, _) = run_in(&folder, "report ada --format html");
        assert_eq!(status, 0);
        assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
        let (status, answer, words) = run_in(&folder, "report nobody");
        assert_eq!((status, answer.as_str()), (1, ""));
        assert!(words.contains("never heard"), "{words}");
    }
}
