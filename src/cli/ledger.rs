//! `ledger`: the ledger's file itself, from the shell.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::error::{CliError, with_causes};
use super::ledger_location::{self, VerbError, unusable_error};
use crate::assembly::{history, notice};
use crate::config::Config;
use crate::finding::Finding;
use crate::keys::Keys;
use crate::ledger::{Archive, Ledger, TermLookup};

/// How many recipients that only the ledger knows are named.
const MAX_LISTED_RECIPIENTS: usize = 32;

/// What can be done with the ledger's file.
#[derive(Debug, clap::Subcommand)]
pub enum LedgerVerb {
    /// Go on with a history that is shorter than what was known: what is missing is lost for good
    AcceptHistory,
}

/// Runs a verb; the outcome goes to `out`, words to `words`. Returns the exit status.
///
/// # Errors
/// When writing fails.
pub fn run(
    verb: &LedgerVerb,
    config: &Config,
    now: Timestamp,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        LedgerVerb::AcceptHistory => accept_history(config, now, out),
    };
    ledger_location::exit_status(outcome, words)
}

/// The findings of `check` about a ledger that is there: recipients that only it knows, and policies that do
/// not follow what was in force as it was promised.
pub(super) fn findings(config: &Config, now: Timestamp) -> Vec<Finding> {
    if !config.ledger.path.exists() {
        return Vec::new();
    }
    let opened = Keys::open(&config.keys.path).map_err(|error| with_causes(&error)).and_then(|keys| {
        let names: Arc<dyn TermLookup> = config.language();
        Archive::open(&config.ledger.path, &keys, names).map_err(|error| with_causes(&error))
    });
    let read = opened.and_then(|archive| {
        let recipients = archive.recipients().map_err(|error| with_causes(&error))?;
        Ok((recipients, archive.policies().map_err(|error| with_causes(&error))?))
    });
    match read {
        Ok((recipients, policies)) => {
            let mut findings = unregistered_recipients(config, recipients);
            findings.extend(notice::check(&policies, config, now));
            findings
        }
        Err(why) => {
            let text = format!("the policies were not compared with those that were in force: {why}");
            vec![Finding::warning("notice-not-compared", text).hint("`serve` compares them when it starts")]
        }
    }
}

fn unregistered_recipients(config: &Config, named: BTreeSet<Arc<str>>) -> Vec<Finding> {
    let registered = |name: &Arc<str>| config.recipients.iter().any(|recipient| recipient.name == *name);
    let unregistered = named.into_iter().filter(|name| !registered(name));
    unregistered
        .take(MAX_LISTED_RECIPIENTS)
        .map(|name| {
            let text =
                format!("the ledger has events about `{name}`, which is no recipient of the configuration");
            Finding::warning("recipient-only-in-ledger", text).hint(
                "if the recipient was renamed, what people said about it counts for nobody: keep its name",
            )
        })
        .collect()
}

fn accept_history(config: &Config, now: Timestamp, out: &mut dyn Write) -> Result<u8, VerbError> {
    let keys = Keys::open(&config.keys.path).map_err(|error| unusable_error(&error))?;
    let names: Arc<dyn TermLookup> = config.language();
    let ledger = Ledger::open(&config.ledger.path, &keys, names).map_err(|error| unusable_error(&error))?;
    let known = history::last_known_position(config).map_err(|error| unusable_error(&error))?;
    let held = ledger.position();
    let Some(known) = known.filter(|known| *known > held) else {
        writeln!(
            out,
            "nothing is missing: the ledger's history ends at position {held}, and no later one is known"
        )?;
        return Ok(0);
    };
    ledger.accept_history(known, now).map_err(|error| CliError::Unusable(with_causes(&error)))?;
    writeln!(
        out,
        "accepted: positions {} to {known} are lost; the ledger goes on at {}",
        held.0 + 1,
        known.0 + 1
    )?;
    Ok(0)
}
