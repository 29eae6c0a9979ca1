//! `openapi`: prints the API as one recipient sees it for one purpose, as an OpenAPI document.
//!
//! The document of the API behind the gateway stays the source. The gateway's changes follow from the
//! configuration and the policy alone: no ledger is read, and no gateway is asked.

mod api;
mod field_view;
mod schema;
mod spec_files;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use self::api::{ApiView, Viewer};
use self::spec_files::SpecFiles;
use super::discover::openapi::read_json_files;
use super::error::{CliError, VerbError, exit_status};
use super::findings;
use crate::config::{self, Config};
use crate::decision::{AdmissionRequest, LegalReference};
use crate::exchange::route::Route;
use crate::finding::suggestion;
use crate::policy::{Pack, versioning};
use crate::vocabulary::Operation;

/// Arguments of `openapi`.
#[derive(Debug, clap::Args)]
pub(super) struct OpenapiArgs {
    /// The OpenAPI document of the API behind the gateway (3.0 or 3.1, JSON or YAML)
    #[arg(value_name = "SPEC")]
    spec: PathBuf,
    /// The configuration file with the routes and the recipient
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    config: PathBuf,
    /// The recipient
    #[arg(long, value_name = "NAME")]
    recipient: String,
    /// The purpose that the recipient declares
    #[arg(long, value_name = "PURPOSE")]
    purpose: String,
}

/// Runs the verb. Returns its exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(arguments: &OpenapiArgs, out: &mut dyn Write, err: &mut dyn Write) -> std::io::Result<u8> {
    exit_status(print(arguments, out, err), err)
}

fn print(arguments: &OpenapiArgs, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, VerbError> {
    let (config, found) = config::load(&arguments.config);
    let Some(config) = config else {
        findings::print(&found, err)?;
        return Err(CliError::Unusable("the configuration does not load".to_owned()).into());
    };
    let document = SpecFiles::new(read_json_files(&arguments.spec)?);
    let view = view(&config, &arguments.recipient, &arguments.purpose, &document, Timestamp::now())?;
    writeln!(out, "{view:#}")?;
    Ok(0)
}

/// Returns the API of a document as a recipient sees it for a purpose.
fn view(
    config: &Config,
    recipient: &str,
    purpose: &str,
    document: &SpecFiles,
    now: Timestamp,
) -> Result<Value, CliError> {
    let known = config.recipients.iter().map(|recipient| &*recipient.name);
    let found = config.recipients.iter().find(|known| *known.name == *recipient);
    let recipient = found.ok_or_else(|| unknown("recipient", recipient, suggestion(recipient, known)))?;
    let words = &config.vocabulary;
    let purpose_id = words
        .declared_purpose(purpose)
        .map_err(|_| unknown("purpose", purpose, words.purposes().suggestion(purpose)))?;
    let pack = |route: &Route| -> Option<&Arc<Pack>> {
        versioning::in_force(config.packs.get(route.pack)?, |pack| pack, now)
    };
    let request = AdmissionRequest {
        recipient: Arc::clone(recipient.facts(now.to_zoned(TimeZone::UTC).date())),
        purpose: purpose_id,
        operation: Operation::Disclose,
        exporter_region: Arc::clone(&config.exporter_region),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    };
    let viewer =
        Viewer { config, recipient, purpose: words.purposes().name(purpose_id), request, pack: &pack };
    match viewer.view(document)? {
        ApiView::Document(view) => Ok(view),
        ApiView::Nothing(Some(code)) => Err(CliError::Refused(format!(
            "every operation of the document is refused to `{}`: {code}",
            recipient.name
        ))),
        ApiView::Nothing(None) => {
            Err(CliError::Refused("no route serves an operation of the document".to_owned()))
        }
    }
}

fn unknown(what: &str, name: &str, hint: Option<String>) -> CliError {
    let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
    CliError::Unusable(format!("there is no {what} `{name}` in the configuration{hint}"))
}
