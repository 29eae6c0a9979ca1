//! `consent`: records and shows people's consents and other events about them.
//!
//! Verbs that change the ledger use a [`super::ledger_client`]. Verbs that only read open the ledger file, also while a
//! gateway uses it.

mod event;
mod import;
#[cfg(test)]
mod tests;
mod verb;

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::Value;

use self::event::event;
use self::import::import;
pub(super) use self::verb::ConsentVerb;
use super::arguments::SubjectArgs;
use super::error::{CliError, VerbError, exit_status, unusable_error};
use super::ledger_client::print_answer;
use super::ledger_location::LedgerLocation;
use crate::ledger::Entity;

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: ConsentVerb,
    location: &LedgerLocation<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        ConsentVerb::Show { person, at } => show(&person, at, location, out),
        ConsentVerb::Export => export(location, out),
        ConsentVerb::Import { file, keep_unknown_recipients } => {
            import(&file, keep_unknown_recipients, location, err)
        }
        event => record(event, location, out, err),
    };
    exit_status(outcome, err)
}

fn record(
    verb: ConsentVerb,
    location: &LedgerLocation<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let (person, event) = event(verb)?;
    let entity = Entity::Subject(person.id(location)?);
    let answer = location.client()?.record(&entity, &person.subject, &Value::Object(event))?;
    Ok(print_answer(&answer, out, err)?)
}

fn show(
    person: &SubjectArgs,
    at: Option<Timestamp>,
    location: &LedgerLocation<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    let subject = person.id(location)?;
    let shown =
        location.archive()?.show(&subject, at, Timestamp::now()).map_err(|error| unusable_error(&error))?;
    let Some(state) = shown else {
        return Err(CliError::Refused("the ledger does not know this person".to_owned()).into());
    };
    serde_json::to_writer_pretty(&mut *out, &state).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(0)
}

fn export(location: &LedgerLocation<'_>, out: &mut dyn Write) -> Result<u8, VerbError> {
    let mut out = io::BufWriter::new(out);
    location.archive()?.export(|line| writeln!(out, "{line}")).map_err(|error| unusable_error(&error))??;
    out.flush()?;
    Ok(0)
}
