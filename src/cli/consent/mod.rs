//! `consent`: records and shows people's consents and other events about them.
//!
//! Verbs that change the ledger use a [`super::ledger_client`]. Verbs that only read open the ledger file, also while a
//! gateway uses it, or ask the gateway that `--admin` names.

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
use super::ledger_access::LedgerAccess;
use super::ledger_client::{EventTarget, print_answer};

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: ConsentVerb,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        ConsentVerb::Show { person, at, reason } => show(&person, at, reason.text(), access, out),
        ConsentVerb::Export => export(access, out),
        ConsentVerb::Import { file, keep_unknown_recipients } => {
            import(&file, keep_unknown_recipients, access, err)
        }
        event => record(event, access, out, err),
    };
    exit_status(outcome, err)
}

fn record(
    verb: ConsentVerb,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let (person, event) = event(verb)?;
    let answer = access.client()?.record(EventTarget::Subject(&person), &Value::Object(event))?;
    Ok(print_answer(&answer, out, err)?)
}

fn show(
    person: &SubjectArgs,
    at: Option<Timestamp>,
    reason: Option<&str>,
    access: &LedgerAccess<'_>,
    out: &mut dyn Write,
) -> Result<u8, VerbError> {
    access.check_reason(reason)?;
    let shown = match access {
        LedgerAccess::Local(location) => {
            let subject = person.id(&*location.names)?;
            let shown = location.archive()?.show(&subject, at, Timestamp::now());
            shown.map_err(|error| unusable_error(&error))?.map(Value::Object)
        }
        LedgerAccess::Remote(_) if at.is_some() => {
            return Err(not_of_the_admin_api("show the state at an earlier time").into());
        }
        LedgerAccess::Remote(server) => server.client()?.get_json(&person.path("", &[("reason", reason)]))?,
    };
    let Some(state) = shown else {
        return Err(CliError::Refused("the ledger does not know this person".to_owned()).into());
    };
    serde_json::to_writer_pretty(&mut *out, &state).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(0)
}

fn export(access: &LedgerAccess<'_>, out: &mut dyn Write) -> Result<u8, VerbError> {
    let LedgerAccess::Local(location) = access else {
        return Err(not_of_the_admin_api("export the ledger").into());
    };
    let mut out = io::BufWriter::new(out);
    location.archive()?.export(|line| writeln!(out, "{line}")).map_err(|error| unusable_error(&error))??;
    out.flush()?;
    Ok(0)
}

fn not_of_the_admin_api(task: &str) -> CliError {
    CliError::Unusable(format!(
        "the admin API does not {task}: run this without --admin where the files of the gateway are"
    ))
}
