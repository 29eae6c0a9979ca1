//! `ledger`: the ledger's file itself, from the shell.

use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::place::{self, Failure, unusable};
use super::way::Trouble;
use crate::config::Config;
use crate::finding::Finding;
use crate::gateway::history;
use crate::keys::Keys;
use crate::ledger::{Archive, Ledger, Names};

/// How many recipients that only the ledger knows are named.
const MAX_NAMED: usize = 32;

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
    place::tell(outcome, words)
}

/// The findings of `check` about a ledger that is there: recipients that only it knows.
pub(super) fn unregistered_recipients(config: &Config) -> Vec<Finding> {
    let named = || {
        let keys = Keys::open(&config.keys.path).ok()?;
        let names: Arc<dyn Names> = config.language();
        Archive::open(&config.ledger.path, &keys, names).ok()?.recipients().ok()
    };
    let registered = |name: &Arc<str>| config.recipients.iter().any(|recipient| recipient.name == *name);
    let unregistered = named().into_iter().flatten().filter(|name| !registered(name));
    unregistered
        .take(MAX_NAMED)
        .map(|name| {
            let text =
                format!("the ledger has events about `{name}`, which is no recipient of the configuration");
            Finding::warning("recipient-only-in-ledger", text).hint(
                "if the recipient was renamed, what people said about it counts for nobody: keep its name",
            )
        })
        .collect()
}

fn accept_history(config: &Config, now: Timestamp, out: &mut dyn Write) -> Result<u8, Failure> {
    let keys = Keys::open(&config.keys.path).map_err(|error| unusable(&error))?;
    let names: Arc<dyn Names> = config.language();
    let ledger = Ledger::open(&config.ledger.path, &keys, names).map_err(|error| unusable(&error))?;
    let known = history::known(config).map_err(|error| unusable(&error))?;
    let held = ledger.position();
    let Some(known) = known.filter(|known| *known > held) else {
        writeln!(
            out,
            "nothing is missing: the ledger's history ends at position {held}, and no later one is known"
        )?;
        return Ok(0);
    };
    ledger.accept_history(known, now).map_err(|error| Trouble::Unusable(super::way::with_cause(&error)))?;
    writeln!(
        out,
        "accepted: positions {} to {known} are lost; the ledger goes on at {}",
        held.0 + 1,
        known.0 + 1
    )?;
    Ok(0)
}
