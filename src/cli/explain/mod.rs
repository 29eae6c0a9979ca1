//! `explain`: explains why a field leaves a route or not, by the present configuration and ledger, or why it left or
//! not in an exchange of the disclosure log.
//!
//! It changes nothing, and prints neither a value of a record nor the id of a person.

mod decision_recorder;
mod explanation;
mod fields;
mod ledger_facts;
mod logged_decision;
mod record_file;
mod refusal;
mod request;

use std::io::{self, Write};
use std::path::PathBuf;

use jiff::Timestamp;

use self::logged_decision::LoggedExplanation;
use super::Format;
use super::admin_client::AdminServer;
use super::arguments::{GatewayArgs, ReasonArgs};
use super::error::{CliError, VerbError, exit_status, unusable_error};
use super::ledger_location::LedgerLocation;
use crate::config::Config;

/// The change that would release a field that was withheld because the ledger was stale.
const CURRENT_LEDGER: &str = "a gateway that knows the latest events of the ledger";

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    pub(super) gateway: GatewayArgs,
    /// The id of a decision in the disclosure log
    #[arg(long, value_name = "ID", conflicts_with_all = ["route", "recipient", "purpose"])]
    decision: Option<String>,
    #[command(flatten)]
    reason: ReasonArgs,
    #[command(flatten)]
    request: QuestionArgs,
    /// The format of the output
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// The request that is explained.
#[derive(Debug, clap::Args)]
pub(super) struct QuestionArgs {
    /// The route, by its name, its pattern or a path
    #[arg(long, value_name = "ROUTE", required_unless_present = "decision")]
    route: Option<String>,
    /// The recipient, by its name
    #[arg(long, value_name = "NAME", required_unless_present = "decision")]
    recipient: Option<String>,
    /// The declared purpose
    #[arg(long, required_unless_present = "decision")]
    purpose: Option<String>,
    /// The person whose data are requested; also the requester, if the recipient is a data subject
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    subject: Option<String>,
    /// The namespace of the person's id, unless it is the route's
    #[arg(long, requires = "subject")]
    namespace: Option<String>,
    /// The account whose service data are requested; also the requester, if the recipient is its administrator
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    controller: Option<String>,
    /// A file with a record or a whole answer of the API, from which the mapping reads the person and the facts
    #[arg(long, value_name = "FILE", conflicts_with = "decision")]
    record: Option<PathBuf>,
    /// The method of the request [default: GET, or else the first that the route serves]
    #[arg(long, conflicts_with = "decision")]
    method: Option<String>,
    /// The id of the case that the request cites
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    case: Option<String>,
}

impl ExplainArgs {
    /// Returns the gateway that alone knows what is asked: `--admin` is given with a decision, and no configuration.
    pub(super) fn remote(&self) -> Option<AdminServer> {
        let is_remote = self.decision.is_some() && self.gateway.config.is_none();
        self.gateway.admin.remote().filter(|_| is_remote)
    }
}

/// Explains a request or a decision by a configuration. The result goes to `out`, messages to `err`. Returns the exit status:
/// 0 if something leaves or the decision is found, or else 1.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    arguments: &ExplainArgs,
    config: &Config,
    location: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    exit_status(explain(arguments, config, location, now, out), err)
}

/// Explains a decision that only a gateway knows, as its record says. The result goes to `out`, messages to `err`. Returns
/// the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run_remote(
    arguments: &ExplainArgs,
    server: &AdminServer,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let id = arguments.decision.as_deref().unwrap_or_default();
    let explained = logged_decision::explain_record(id, server, arguments.reason.text(), now);
    let explained = explained.map_err(VerbError::from);
    exit_status(explained.and_then(|explanation| print_decision(&explanation, arguments.format, out)), err)
}

fn explain(
    arguments: &ExplainArgs,
    config: &Config,
    location: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let ExplainArgs { decision, reason, request, format, gateway } = arguments;
    if let Some(id) = decision {
        let remote = gateway.admin.remote();
        let explanation =
            logged_decision::explain(id, config, location, remote.as_ref(), reason.text(), now)?;
        return print_decision(&explanation, *format, out);
    }
    let explanation = request::explain(request, config, location, now)?;
    match format {
        Format::Json => writeln!(out, "{}", pretty(&explanation)?)?,
        Format::Text => write!(out, "{}", explanation.to_text())?,
    }
    Ok(if explanation.releases_something() { 0 } else { 1 })
}

fn print_decision(
    explanation: &LoggedExplanation,
    format: Format,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    match format {
        Format::Json => writeln!(out, "{}", pretty(explanation)?)?,
        Format::Text => write!(out, "{}", explanation.to_text())?,
    }
    Ok(0)
}

fn pretty(explanation: &impl serde::Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(explanation).map_err(|error| unusable_error(&error))
}
