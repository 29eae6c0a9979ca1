//! `recipient page`: prints the page that tells a partner how to receive data.

use std::io::Write;
use std::path::PathBuf;

use jiff::Timestamp;

use super::error::{CliError, VerbError, exit_status};
use super::findings;
use crate::assembly;
use crate::document::join;
use crate::exchange::pages::recipient_page::{PartnerPage, html};
use crate::exchange::{Snapshot, route::Recipient};
use crate::finding::suggestion_or_list;
use crate::texts::PageTexts;
use crate::vocabulary::PurposeId;

/// Arguments of `recipient page`.
#[derive(Debug, clap::Args)]
pub(super) struct PageArgs {
    /// The recipient's name in the configuration
    name: String,
    /// The one purpose that the page is about [default: all purposes of the recipient]
    #[arg(long, value_name = "PURPOSE")]
    purpose: Option<String>,
    /// The language of the page [default: `language` of `[deployment]`]
    #[arg(long, value_name = "TAG")]
    language: Option<String>,
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
    config: PathBuf,
}

/// Runs the verb. Returns its exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    arguments: &PageArgs,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> std::io::Result<u8> {
    exit_status(print(arguments, now, out, err), err)
}

fn print(
    arguments: &PageArgs,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let config = match findings::load(&arguments.config) {
        Ok(config) => config,
        Err(errors) => {
            findings::print(&errors, err)?;
            return Err(CliError::Unusable("the configuration does not load".to_owned()).into());
        }
    };
    let snapshot = assembly::snapshot(config);
    let unknown = |hint: Option<String>| {
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        CliError::Unusable(format!("there is no recipient `{}` in the configuration{hint}", arguments.name))
    };
    let names = || snapshot.recipients.iter().map(|recipient| &*recipient.name);
    let position = names().position(|name| *name == *arguments.name);
    let position = position.ok_or_else(|| unknown(suggestion_or_list(&arguments.name, names())))?;
    let recipient = snapshot.recipients.get(position).ok_or_else(|| unknown(None))?;
    let purpose = arguments.purpose.as_deref().map(|name| purpose(&snapshot, recipient, name)).transpose()?;
    let language = snapshot.texts.named(arguments.language.as_deref());
    let language = language.ok_or_else(|| unknown_language(&snapshot.texts))?;
    let page = PartnerPage { snapshot: &snapshot, position, purpose, language: &language, now };
    write!(out, "{}", html(&page).ok_or_else(|| unknown(None))?)?;
    Ok(0)
}

/// Returns the purpose with this name, which the recipient has to be registered for.
fn purpose(snapshot: &Snapshot, recipient: &Recipient, name: &str) -> Result<PurposeId, CliError> {
    let words = snapshot.words();
    let purpose = words.declared_purpose(name).map_err(|_| {
        let hint = words.purposes().hint(name);
        CliError::Unusable(format!("there is no purpose `{name}` in the vocabulary; {hint}"))
    })?;
    match recipient.in_agreement.is_registered_for(&words, purpose) {
        true => Ok(purpose),
        false => {
            Err(CliError::Refused(format!("`{}` is not registered for the purpose `{name}`", recipient.name)))
        }
    }
}

/// The error of a language that no page has.
pub(super) fn unknown_language(texts: &PageTexts) -> CliError {
    CliError::Unusable(format!("there is no such language: pages are in {}", join(texts.tags())))
}
