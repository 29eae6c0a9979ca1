//! `subject`: reports to data subjects, and their requests.
//!
//! Reports and lists read the ledger file and the folder of the disclosure log, also while a gateway uses them, or ask the
//! gateway that `--admin` names. Verbs that record an event use a [`super::ledger_client`].

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Format;
use super::admin_client::with_query;
use super::arguments::{EventDetails, ReasonArgs, SubjectArgs};
use super::error::{CliError, EXIT_FINDINGS, VerbError, exit_status, unusable_error};
use super::ledger_access::LedgerAccess;
use super::ledger_client::{EventTarget, print_answer};
use super::ledger_location::LedgerLocation;
use super::recipient_page::unknown_language;
use crate::assembly::logs;
use crate::config::GatewayLog;
use crate::disclosure::LogSource;
use crate::exchange::pages::opt_out;
use crate::keys::Keys;
use crate::ledger::Right;
use crate::policy::Pack;
use crate::report::{self, DisclosureList, ReportError, ReportPage, ReportSources, ReportedRecipient};
use crate::texts::PageTexts;
use crate::vocabulary::SubjectId;

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
        /// The language of the page [default: `language` of `[deployment]`]
        #[arg(long, value_name = "TAG")]
        language: Option<String>,
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// Print who received which data about a person, as JSON
    Disclosures {
        #[command(flatten)]
        person: SubjectArgs,
        /// The form: `list` is every disclosure; `hipaa` an accounting as 45 CFR 164.528 asks for it
        #[arg(long, value_enum, default_value = "list")]
        form: ListForm,
        #[command(flatten)]
        reason: ReasonArgs,
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
        #[command(flatten)]
        reason: ReasonArgs,
    },
    /// List the unanswered requests by due date
    Requests {
        /// Only overdue requests
        #[arg(long)]
        overdue: bool,
        #[command(flatten)]
        reason: ReasonArgs,
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
    let known = || Right::ALL.iter().map(|right| right.name()).collect::<Vec<_>>().join(", ");
    Right::parse(name).ok_or_else(|| format!("expected one of {}", known()))
}

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum PageFormat {
    Json,
    Html,
}

/// The form in which disclosures are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ListForm {
    List,
    Hipaa,
}

/// The parts of the configuration that a report is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReportContext<'l> {
    /// The folder of the logs' indexes.
    pub(super) index: Option<&'l Path>,
    /// The logs of other gateways.
    pub(super) others: &'l [GatewayLog],
    /// The origins of those that are retired.
    pub(super) retired: &'l [String],
    pub(super) packs: &'l [Arc<Pack>],
    pub(super) recipients: &'l [ReportedRecipient],
    /// The languages of the page.
    pub(super) texts: &'l Arc<PageTexts>,
}

/// The format and the language of a report.
#[derive(Clone, Copy, Debug)]
struct ReportForm<'l> {
    format: PageFormat,
    language: Option<&'l str>,
}

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: SubjectVerb,
    access: &LedgerAccess<'_>,
    context: ReportContext<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        SubjectVerb::Report { person, format, language, reason } => {
            let format = ReportForm { format, language: language.as_deref() };
            let printed = read_report(&person, format, &reason, access, context, now);
            printed.and_then(|printed| print_report(printed, out, err))
        }
        SubjectVerb::Disclosures { person, form, reason } => {
            let printed = read_disclosures(&person, form, &reason, access, context, now);
            printed.and_then(|printed| print_report(printed, out, err))
        }
        SubjectVerb::Request(request) => record("request-received", request, access, out, err),
        SubjectVerb::Answer(request) => record("request-answered", request, access, out, err),
        SubjectVerb::OptOutLink { person, base, reason } => {
            opt_out_link(&person, &base, &reason, access, out)
        }
        SubjectVerb::Requests { overdue, reason, format } => list(overdue, &reason, format, access, now, out),
    };
    exit_status(outcome, err)
}

fn record(
    kind: &str,
    request: RequestArgs,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let RequestArgs { person, right, details } = request;
    let mut event = Map::new();
    event.insert("kind".to_owned(), kind.into());
    event.insert("right".to_owned(), right.name().into());
    let event = Value::Object(details.add_to(event));
    let answer = access.client()?.record(EventTarget::Subject(&person), &event)?;
    Ok(print_answer(&answer, out, err)?)
}

fn opt_out_link(
    person: &SubjectArgs,
    base: &str,
    reason: &ReasonArgs,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    access.check_reason(reason.text())?;
    let path = match access {
        LedgerAccess::Local(location) => local_opt_out_path(person, location)?,
        LedgerAccess::Remote(server) => {
            let link =
                server.client()?.get_json(&person.path("/opt-out-link", &[("reason", reason.text())]))?;
            link.as_ref().and_then(|link| link.get("path")?.as_str().map(str::to_owned))
        }
    };
    let path = path.ok_or_else(|| CliError::Refused("the id is too long for an opt-out link".to_owned()))?;
    writeln!(out, "List-Unsubscribe: <{base}{path}>")?;
    writeln!(out, "List-Unsubscribe-Post: {}", opt_out::ONE_CLICK)?;
    Ok(0)
}

fn local_opt_out_path(
    person: &SubjectArgs,
    location: &LedgerLocation<'_>,
) -> Result<Option<String>, CliError> {
    let person = person.id(&*location.names)?;
    let keys = Keys::open(location.keys).map_err(|error| unusable_error(&error))?;
    Ok(keys.opt_out_links().token(&person).map(|token| format!("{}{token}", opt_out::PATH)))
}

fn list(
    overdue: bool,
    reason: &ReasonArgs,
    format: Format,
    access: &LedgerAccess<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    access.check_reason(reason.text())?;
    let open: Vec<Map<String, Value>> = match access {
        LedgerAccess::Local(location) => {
            let open = location.archive()?.requests().map_err(|error| unusable_error(&error))?;
            open.iter().map(|request| request.json(now)).collect()
        }
        LedgerAccess::Remote(server) => {
            let client = server.client()?;
            let path = with_query("/v1/requests".to_owned(), &[("reason", reason.text())]);
            client.get(&path)?.map_or_else(|| Ok(Vec::new()), |body| client.read_json(&body))?
        }
    };
    let is_overdue = |request: &Map<String, Value>| request.get("overdue") == Some(&Value::Bool(true));
    for request in open.into_iter().filter(|request| !overdue || is_overdue(request)) {
        match format {
            Format::Text => writeln!(out, "{}", line(&request, is_overdue(&request)))?,
            Format::Json => writeln!(out, "{}", Value::Object(request))?,
        }
    }
    Ok(0)
}

/// A request in one line.
fn line(request: &Map<String, Value>, is_overdue: bool) -> String {
    let text = |member: &str| request.get(member).and_then(Value::as_str).unwrap_or_default();
    let late = if is_overdue { "  OVERDUE" } else { "" };
    let of = match text("namespace") {
        "" => String::new(),
        name => format!(" ({name})"),
    };
    let (person, right, due, received) = (text("subject"), text("right"), text("due"), text("received"));
    format!("due {due}  {right}  {person}{of}  received {received}{late}")
}

/// A report to print, and why logs could not be read.
struct PrintedReport {
    text: Vec<u8>,
    faults: Vec<String>,
}

impl PrintedReport {
    /// A report of a gateway says itself if a log could not be read.
    fn of_gateway(text: &[u8]) -> PrintedReport {
        PrintedReport { text: text.to_vec(), faults: Vec::new() }
    }

    fn new(text: Vec<u8>, list: DisclosureList) -> PrintedReport {
        PrintedReport { text, faults: list.logs.into_iter().filter_map(|log| log.fault).collect() }
    }
}

fn read_report(
    person: &SubjectArgs,
    form: ReportForm<'_>,
    reason: &ReasonArgs,
    access: &LedgerAccess<'_>,
    context: ReportContext<'_>,
    now: Timestamp,
) -> Result<Option<PrintedReport>, VerbError> {
    access.check_reason(reason.text())?;
    Ok(match access {
        LedgerAccess::Local(location) => local_report(person, form, location, context, now)?,
        LedgerAccess::Remote(server) => {
            let format = match form.format {
                PageFormat::Json => "json",
                PageFormat::Html => "html",
            };
            let parameters =
                [("format", Some(format)), ("language", form.language), ("reason", reason.text())];
            let report = server.client()?.get(&person.path("/report", &parameters))?;
            report.map(|report| PrintedReport::of_gateway(&report))
        }
    })
}

fn read_disclosures(
    person: &SubjectArgs,
    form: ListForm,
    reason: &ReasonArgs,
    access: &LedgerAccess<'_>,
    context: ReportContext<'_>,
    now: Timestamp,
) -> Result<Option<PrintedReport>, VerbError> {
    access.check_reason(reason.text())?;
    let location = match access {
        LedgerAccess::Local(location) => location,
        LedgerAccess::Remote(server) => {
            let form = match form {
                ListForm::List => "list",
                ListForm::Hipaa => "hipaa",
            };
            let parameters = [("form", Some(form)), ("reason", reason.text())];
            let list = server.client()?.get(&person.path("/disclosures", &parameters))?;
            return Ok(list.map(|list| PrintedReport::of_gateway(&list)));
        }
    };
    let list =
        read_logs(person, location, context, |sources, person| report::disclosures(person, sources, now))?;
    let text = match form {
        ListForm::List => serde_json::to_vec_pretty(&list),
        ListForm::Hipaa => serde_json::to_vec_pretty(&report::accounting_of(&list, now)),
    };
    Ok(Some(PrintedReport::new(text.map_err(|error| unusable_error(&error))?, list)))
}

fn print_report(
    report: Option<PrintedReport>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let PrintedReport { text, faults } = report.ok_or_else(|| {
        CliError::Refused(
            "the ledger does not know this person, and nothing about them has been disclosed".to_owned(),
        )
    })?;
    out.write_all(&text)?;
    if !text.ends_with(b"\n") {
        writeln!(out)?;
    }
    for fault in &faults {
        writeln!(err, "purposegate: disclosures may be missing: {fault}")?;
    }
    Ok(if faults.is_empty() { 0 } else { EXIT_FINDINGS })
}

/// Makes the report from the files of a gateway. `None` if nothing is known about the person.
fn local_report(
    person: &SubjectArgs,
    form: ReportForm<'_>,
    location: &LedgerLocation<'_>,
    context: ReportContext<'_>,
    now: Timestamp,
) -> Result<Option<PrintedReport>, CliError> {
    let language = context.texts.named(form.language);
    let language = language.ok_or_else(|| unknown_language(context.texts))?;
    let report =
        read_logs(person, location, context, |sources, person| report::report(person, sources, now))?;
    let Some(report) = report else { return Ok(None) };
    let text = match form.format {
        PageFormat::Json => serde_json::to_vec_pretty(&report).map_err(|error| unusable_error(&error))?,
        PageFormat::Html => {
            let ReportContext { packs, recipients, .. } = context;
            report::html(&report, &ReportPage { language: &language, packs, recipients }).into_bytes()
        }
    };
    Ok(Some(PrintedReport::new(text, report.disclosed)))
}

/// Reads the ledger and the logs of a gateway.
fn read_logs<T>(
    person: &SubjectArgs,
    location: &LedgerLocation<'_>,
    context: ReportContext<'_>,
    read: impl FnOnce(&ReportSources<'_>, &SubjectId) -> Result<T, ReportError>,
) -> Result<T, CliError> {
    let ReportContext { index, others, retired, packs, recipients, .. } = context;
    let person = person.id(&*location.names)?;
    let keys = Keys::open(location.keys).map_err(|error| unusable_error(&error))?;
    let archive = location.archive()?;
    let logs = logs::of_all_gateways(location.log, others, &keys).map_err(|error| unusable_error(&error))?;
    let indexed = |log: LogSource| match index {
        Some(index) => log.with_index(index),
        None => log,
    };
    let logs: Vec<LogSource> = logs.into_iter().map(indexed).collect();
    let namespaces = &location.namespaces;
    let sources = ReportSources { archive: &archive, logs: &logs, packs, recipients, retired, namespaces };
    read(&sources, &person).map_err(|error| unusable_error(&error))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::cli::admin_client::AdminServer;
    use crate::config::LedgerSection;
    use crate::disclosure::{Durability, Log, LogSettings};
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
        let access = LedgerAccess::Local(LedgerLocation {
            ledger: &ledger,
            keys: &keys,
            log: &audit,
            names: Arc::new(VocabularyTerms::standard()),
            recipients: Vec::new(),
            namespaces: ["default", "crm"].map(Arc::from).to_vec(),
            admin: AdminServer::configured("127.0.0.1:9".parse().unwrap(), false),
        });
        let packs = [crate::decision::testing::one_partner()];
        let texts = Arc::default();
        let context = ReportContext {
            index: None,
            others: &[],
            retired: &[],
            packs: &packs,
            recipients: &[],
            texts: &texts,
        };
        let now = "2026-11-22T00:00:00Z".parse().unwrap();
        let (mut out, mut words) = (Vec::new(), Vec::new());
        let status = run(verb, &access, context, now, &mut out, &mut words).unwrap();
        (status, String::from_utf8(out).unwrap(), String::from_utf8(words).unwrap())
    }

    /// Begins the log, as the first start of a gateway does.
    fn begin_log(folder: &tempfile::TempDir) {
        let settings = LogSettings {
            folder: folder.path().join("audit"),
            gateway: "gateway-1".to_owned(),
            durability: Durability::BeforeRelease,
            retention: Duration::MAX,
            origin: None,
            ledger: None,
            known_checkpoints: Vec::new(),
        };
        drop(Log::open(settings, &Keys::open(&folder.path().join("keys")).unwrap()).unwrap());
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
        assert_eq!((status, &*json), (2, ""), "no log is there, or it is not mounted");
        assert!(words.contains("contains no disclosure log"), "{words}");
        begin_log(&folder);
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
