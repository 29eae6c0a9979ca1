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

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::Value;

use self::api::{ApiView, METHODS, Viewer, sample_path};
use self::spec_files::SpecFiles;
use super::discover::openapi::read_json_files;
use super::error::{CliError, VerbError, exit_status};
use super::findings;
use crate::config::Config;
use crate::exchange::route::Route;
use crate::finding::suggestion_or_list;
use crate::policy::{Pack, versioning};

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
    let config = match findings::load(&arguments.config) {
        Ok(config) => config,
        Err(errors) => {
            findings::print(&errors, err)?;
            return Err(CliError::Unusable("the configuration does not load".to_owned()).into());
        }
    };
    let document = SpecFiles::new(read_json_files(&arguments.spec)?);
    let now = Timestamp::now();
    let view = view(&config, &arguments.recipient, &arguments.purpose, &document, now)?;
    writeln!(out, "{view:#}")?;
    for (route, until) in observed_routes(&config, &arguments.recipient, &view, now) {
        writeln!(
            err,
            "purposegate: the route `{route}` is observed until {until}: the gateway lets its answers leave as they come; this is \
             what enforcing would release"
        )?;
    }
    Ok(0)
}

/// Returns the routes of a view whose answers are observed for the recipient, each with the last day.
fn observed_routes(config: &Config, recipient: &str, view: &Value, now: Timestamp) -> BTreeMap<String, Date> {
    let mut observed = BTreeMap::new();
    let recipient = config.recipients.iter().find(|known| *known.name == *recipient);
    if !recipient.is_some_and(|known| config.vocabulary.is_own_organisation(known.in_agreement.kind)) {
        return observed;
    }
    for (path, item) in view.get("paths").and_then(Value::as_object).into_iter().flatten() {
        for (_, method) in METHODS.iter().filter(|(name, _)| item.get(*name).is_some()) {
            let Ok(matched) = config.routes.find(&sample_path(path), method) else { continue };
            let until = matched.route.observe_until.filter(|_| matched.route.observes(now));
            observed.extend(until.map(|until| (matched.route.name.to_string(), until)));
        }
    }
    observed
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
    let recipient =
        found.ok_or_else(|| unknown("recipient", recipient, suggestion_or_list(recipient, known)))?;
    let words = &config.vocabulary;
    let purpose_id = words
        .declared_purpose(purpose)
        .map_err(|_| unknown("purpose", purpose, Some(words.purposes().hint(purpose))))?;
    let pack = |route: &Route| -> Option<&Arc<Pack>> {
        versioning::in_force(config.packs.get(route.pack)?, |pack| pack, now)
    };
    let viewer = Viewer {
        config,
        recipient,
        purpose: words.purposes().name(purpose_id),
        purpose_id,
        facts: Arc::clone(recipient.facts(now.to_zoned(TimeZone::UTC).date())),
        pack: &pack,
    };
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
