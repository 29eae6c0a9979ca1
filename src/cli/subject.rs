//! `subject`: reports to data subjects, and their requests.
//!
//! Reports and lists read the ledger file and the folder of the disclosure log, also while a gateway uses them. Verbs that
//! record an event use a [`super::ledger_client`].

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Format;
use super::arguments::{EventDetails, SubjectArgs};
use super::error::{CliError, VerbError, exit_status, unusable_error};
use super::ledger_client::print_answer;
use super::ledger_location::LedgerLocation;
use crate::assembly::logs;
use crate::config::GatewayLog;
use crate::decision::RecipientFacts;
use crate::exchange::pages::opt_out;
use crate::keys::Keys;
use crate::ledger::{Entity, Right};
use crate::policy::Pack;
use crate::report::{self, ReportSources};

/// The verbs of `subject`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum SubjectVerb {
    /// Print the report to a person about their data (right of access)
    Report {
        #[command(flatten)]
        person: SubjectArgs,
        /// The format of the output; `html` is a single page without external parts
        #[arg(long, value_enum, default_value = "json")]
        format: PageFormat,
    },
    /// Record a request of a person; the answer is due in 30 days
    Request(RequestArgs),
    /// Record the answer to a request
    Answer(RequestArgs),
    /// Print the headers of a marketing e-mail for a one-click opt-out (RFC 8058)
    OptOutLink {
        #[command(flatten)]
        person: SubjectArgs,
        /// The public address of the gateway, such as https://api.example.org
        #[arg(long, value_name = "URL", value_parser = base)]
        base: String,
    },
    /// List the unanswered requests by due date
    Requests {
        /// Only overdue requests
        #[arg(long)]
        overdue: bool,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

/// A request of a person.
#[derive(Debug, clap::Args)]
pub(super) struct RequestArgs {
    #[command(flatten)]
    person: SubjectArgs,
    /// The right: access, rectification, erasure, restriction, portability or objection
    #[arg(value_parser = right)]
    right: Right,
    #[command(flatten)]
    details: EventDetails,
}

/// Parses the public address. RFC 8058 requires HTTPS, and the token in the link is a credential.
fn base(url: &str) -> Result<String, String> {
    let parsed: http::Uri = url.parse().map_err(|_| "not a URL".to_owned())?;
    let plain = parsed.path() == "/" && parsed.query().is_none() && parsed.authority().is_some();
    if parsed.scheme_str() != Some("https") || !plain {
        return Err("expected https:// and a host, without a path".to_owned());
    }
    Ok(url.trim_end_matches('/').to_owned())
}

fn right(name: &str) -> Result<Right, String> {
    let known = || Right::ALL.map(Right::name).join(", ");
    Right::parse(name).ok_or_else(|| format!("expected one of {}", known()))
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PageFormat {
    Json,
    Html,
}

/// The disclosure logs, and the configured packs and recipients that it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogContext<'l> {
    pub(super) folder: &'l Path,
    /// The logs of other gateways.
    pub(super) others: &'l [GatewayLog],
    pub(super) packs: &'l [Arc<Pack>],
    pub(super) recipients: &'l [Arc<RecipientFacts>],
}

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: SubjectVerb,
    location: &LedgerLocation<'_>,
    log: LogContext<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        SubjectVerb::Report { person, format } => write_report(&person, format, location, log, now, out),
        SubjectVerb::Request(request) => record("request-received", request, location, out, err),
        SubjectVerb::Answer(request) => record("request-answered", request, location, out, err),
        SubjectVerb::OptOutLink { person, base } => opt_out_link(&person, &base, location, out),
        SubjectVerb::Requests { overdue, format } => list(overdue, format, location, now, out),
    };
    exit_status(outcome, err)
}

fn record(
    kind: &str,
    request: RequestArgs,
    location: &LedgerLocation<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let RequestArgs { person, right, details } = request;
    let mut event = Map::new();
    event.insert("kind".to_owned(), kind.into());
    event.insert("right".to_owned(), right.name().into());
    let event = Value::Object(details.add_to(event));
    let entity = Entity::Subject(person.id(location)?);
    let answer = location.client()?.record(&entity, &person.subject, &event)?;
    Ok(print_answer(&answer, out, err)?)
}

fn opt_out_link(
    person: &SubjectArgs,
    base: &str,
    location: &LedgerLocation<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let person = person.id(location)?;
    let keys = Keys::open(location.keys).map_err(|error| unusable_error(&error))?;
    let token = keys.opt_out_links().token(&person);
    let token =
        token.ok_or_else(|| CliError::Refused("the id is too long for an opt-out link".to_owned()))?;
    writeln!(out, "List-Unsubscribe: <{base}{}{token}>", opt_out::PATH)?;
    writeln!(out, "List-Unsubscribe-Post: {}", opt_out::ONE_CLICK)?;
    Ok(0)
}

fn list(
    overdue: bool,
    format: Format,
    location: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let mut open = location.archive()?.requests().map_err(|error| unusable_error(&error))?;
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
    location: &LedgerLocation<'_>,
    log: LogContext<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let person = person.id(location)?;
    let keys = Keys::open(location.keys).map_err(|error| unusable_error(&error))?;
    let archive = location.archive()?;
    let logs =
        logs::of_all_gateways(log.folder, log.others, &keys).map_err(|error| unusable_error(&error))?;
    let sources =
        ReportSources { archive: &archive, logs: &logs, packs: log.packs, recipients: log.recipients };
    let report = report::report(&person, &sources, now).map_err(|error| unusable_error(&error))?;
    let report = report.ok_or_else(|| {
        CliError::Refused(
            "the ledger does not know this person, and nothing about them has been disclosed".to_owned(),
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
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::LedgerSection;
    use crate::ledger::VocabularyTerms;

    #[derive(Parser)]
    struct SubjectCommand {
        #[command(subcommand)]
        verb: SubjectVerb,
    }

    fn run_in(folder: &tempfile::TempDir, arguments: &str) -> (u8, String, String) {
        let arguments = ["subject"].into_iter().chain(arguments.split_whitespace());
        let verb = SubjectCommand::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).verb;
        let ledger = LedgerSection::embedded(folder.path().join("ledger.db"));
        let keys = folder.path().join("keys");
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
        let log = LogContext {
            folder: &audit,
            others: &[],
            packs: &[crate::decision::testing::one_partner()],
            recipients: &[],
        };
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
    fn an_opt_out_link_is_printed_as_headers_of_an_e_mail() {
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
    fn a_report_is_printed_as_json_or_as_a_page() {
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
        assert!(words.contains("does not know"), "{words}");
    }
}
