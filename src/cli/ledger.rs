//! `ledger`: repairs of the ledger file, and the findings of `check` about it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;

use jiff::Timestamp;

use super::error::{VerbError, exit_status, unusable_error, with_causes};
use crate::assembly::{history, notice};
use crate::config::Config;
use crate::finding::Finding;
use crate::keys::Keys;
use crate::ledger::{Archive, Ledger, TermLookup};

/// Maximum number of recipients in the findings about recipients that only the ledger knows.
const MAX_LISTED_RECIPIENTS: usize = 32;

/// The verbs of `ledger`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LedgerVerb {
    /// Accept a history that is shorter than the last known one; the missing events are lost for good
    AcceptHistory,
}

/// Runs a verb. The result goes to `out`, messages to `err`. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: &LedgerVerb,
    config: &Config,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let outcome = match verb {
        LedgerVerb::AcceptHistory => accept_history(config, now, out),
    };
    exit_status(outcome, err)
}

/// Returns the findings of `check` about an existing ledger: recipients that only the ledger knows, and policies that do not
/// keep the announced notice period.
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
            let text = format!("the policies were not compared with the earlier ones in force: {why}");
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
            let text = format!(
                "the ledger has events about `{name}`, which is not a recipient of the configuration"
            );
            Finding::warning("recipient-only-in-ledger", text).hint(
                "if the recipient was renamed, people's choices about it have no effect: keep its old name",
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
            "nothing is missing: the history of the ledger ends at position {held}, and no later position is known"
        )?;
        return Ok(0);
    };
    ledger.accept_history(known, now).map_err(|error| unusable_error(&error))?;
    writeln!(
        out,
        "accepted: positions {} to {known} are lost; the ledger continues at {}",
        held.0 + 1,
        known.0 + 1
    )?;
    Ok(0)
}
