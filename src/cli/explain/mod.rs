//! `explain`: why a field leaves a route or not, with the configuration and the ledger as they are; or why it did
//! or did not in an exchange that is on the log.
//!
//! It reads and changes nothing. No value of a record and no id of a person is printed.

mod decision_recorder;
mod explanation;
mod fields;
mod ledger_facts;
mod logged_decision;
mod record_file;
mod refusal;
mod request;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::Timestamp;

use super::Format;
use super::error::CliError;
use super::ledger_location::{self, LedgerLocation, VerbError};
use crate::config::Config;

/// What is to be explained.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    pub(super) config: PathBuf,
    /// The admin address of the gateway that has the log, where it is not the configured one
    #[arg(long, value_name = "ADDRESS")]
    pub(super) admin: Option<SocketAddr>,
    /// The exchange with this decision's id, from the disclosure log
    #[arg(long, value_name = "ID", conflicts_with_all = ["route", "recipient", "purpose"])]
    decision: Option<String>,
    #[command(flatten)]
    asked: QuestionArgs,
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A request that somebody could make.
#[derive(Debug, clap::Args)]
pub(super) struct QuestionArgs {
    /// The route, by its name or its path
    #[arg(long, value_name = "ROUTE", required_unless_present = "decision")]
    route: Option<String>,
    /// The recipient, by its name
    #[arg(long, value_name = "NAME", required_unless_present = "decision")]
    recipient: Option<String>,
    /// The purpose that it declares
    #[arg(long, required_unless_present = "decision")]
    purpose: Option<String>,
    /// The person whose data are asked for; of a recipient that is a person, also who asks
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    subject: Option<String>,
    /// The namespace of the person's id, where it is not the route's
    #[arg(long, requires = "subject")]
    namespace: Option<String>,
    /// The account whose service data they are; of a customer's administrator, also who asks
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    controller: Option<String>,
    /// A record, or a whole answer of the API: the mapping reads the person and the facts from it
    #[arg(long, value_name = "FILE", conflicts_with = "decision")]
    record: Option<PathBuf>,
    /// The method of the request; without it GET, or the first that the route serves
    #[arg(long, conflicts_with = "decision")]
    method: Option<String>,
    /// The registered case that the request cites
    #[arg(long, value_name = "ID", conflicts_with = "decision")]
    case: Option<String>,
}

/// Explains; the answer goes to `out`, words to `words`. Returns the exit status: 0 where something leaves, or the
/// decision is found; 1 where nothing does, or it is not.
///
/// # Errors
/// When writing fails.
pub fn run(
    arguments: &ExplainArgs,
    config: &Config,
    place: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<u8> {
    ledger_location::exit_status(explain(arguments, config, place, now, out), words)
}

fn explain(
    arguments: &ExplainArgs,
    config: &Config,
    place: &LedgerLocation<'_>,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let ExplainArgs { decision, asked, format, .. } = arguments;
    if let Some(id) = decision {
        let told = logged_decision::explain(id, config, place, now)?;
        match format {
            Format::Json => writeln!(out, "{}", pretty(&told)?)?,
            Format::Text => write!(out, "{}", told.to_text())?,
        }
        return Ok(0);
    }
    let told = request::explain(asked, config, place, now)?;
    match format {
        Format::Json => writeln!(out, "{}", pretty(&told)?)?,
        Format::Text => write!(out, "{}", told.to_text())?,
    }
    Ok(if told.releases_something() { 0 } else { 1 })
}

fn pretty(told: &impl serde::Serialize) -> Result<String, CliError> {
    serde_json::to_string_pretty(told).map_err(|error| ledger_location::unusable_error(&error))
}
