//! `ledger`: the schema of the ledger, copies and repairs; and the findings of `check` about the ledger.

mod copy;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::error::{CliError, VerbError, exit_status, unusable_error, with_causes};
use super::findings::StateFindings;
use crate::assembly::ledger_store::{self, OpenStoreError};
use crate::assembly::{gateways, history, notice};
use crate::config::Config;
use crate::finding::Finding;
use crate::keys::{Keys, KeysError};
use crate::ledger::{Archive, FileError, LossOfEvents, SchemaChange, StoreError};

/// Maximum number of recipients in the findings about recipients that only the ledger knows.
const MAX_LISTED_RECIPIENTS: usize = 32;

/// The verbs of `ledger`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LedgerVerb {
    /// Create the ledger's schema, or upgrade it to the version that this program needs
    Migrate,
    /// Copy a ledger to another, empty store (events, accepted losses, policies), and prove that both hold the same
    Copy {
        /// The URL of the ledger to copy, such as sqlite:data/ledger.db; no gateway uses it meanwhile
        #[arg(value_name = "FROM")]
        from: String,
        /// The URL of the new ledger, such as postgres://ledger@db.internal/purposegate
        #[arg(value_name = "TO")]
        to: String,
    },
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
        LedgerVerb::Migrate => migrate(config, out),
        LedgerVerb::Copy { from, to } => copy::copy((from, to), config, now, out, err),
        LedgerVerb::AcceptHistory => accept_history(config, now, out),
    };
    exit_status(outcome, err)
}

/// Returns a finding if the key file is one with which `serve` does not start. A file that this user has no permission to read
/// is none: the gateway can be another user.
pub(super) fn key_file_findings(config: &Config) -> StateFindings {
    let path = &config.keys.path;
    let checked = ledger_store::check_keys(path, &config.ledger.url, &config.audit.directory);
    let finding = checked.err().and_then(|error| {
        let hint = match &error {
            KeysError::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => return None,
            // The gateway's user may read by its group a file of root.
            KeysError::Exposed { mode, .. } if mode & 0o037 == 0 && is_of_root_for_root(path) => return None,
            KeysError::Exposed { .. } => {
                format!("`chmod 600 {}`; `serve` does not start before that", path.display())
            }
            KeysError::Missing(_)
            | KeysError::Lost { .. }
            | KeysError::Malformed { .. }
            | KeysError::Io { .. }
            | KeysError::Random(_) => {
                "restore the key file from its backup; without it the ledger and the log cannot be used"
                    .to_owned()
            }
        };
        Some(Finding::error("bad-key-file", with_causes(&error)).hint(hint))
    });
    StateFindings { findings: finding.into_iter().collect(), checked: Vec::new() }
}

/// True if root looks at a file of root.
fn is_of_root_for_root(path: &Path) -> bool {
    rustix::process::geteuid().is_root() && path.metadata().is_ok_and(|metadata| metadata.uid() == 0)
}

/// Returns the findings of `check` about an existing ledger: recipients that only the ledger knows, and policies that do not
/// keep the announced notice period.
pub(super) fn findings(config: &Config, now: Timestamp) -> StateFindings {
    if config.ledger.url.is_file_to_create() {
        return StateFindings::default();
    }
    let opened = Keys::open(&config.keys.path).map_err(|error| with_causes(&error)).and_then(|keys| {
        let store =
            ledger_store::open_read_only(&config.ledger, &keys).map_err(|error| with_causes(&error))?;
        Archive::new(store, config.language()).map_err(|error| with_causes(&error))
    });
    let read = opened.and_then(|archive| {
        let read = || Ok::<_, StoreError>((archive.recipients()?, archive.gateways()?, archive.policies()?));
        read().map_err(|error| with_causes(&error))
    });
    match read {
        Ok((recipients, gateways, policies)) => {
            let elsewhere = gateways::recipients_elsewhere(&config.name, &gateways);
            let mut findings = unregistered_recipients(config, &recipients, &elsewhere);
            findings.extend(notice::check(&policies, config, now));
            StateFindings { findings, checked: vec!["notice-not-compared", "recipient-only-in-ledger"] }
        }
        Err(why) => {
            let text = format!("the policies were not compared with the earlier ones in force: {why}");
            let finding = Finding::warning("notice-not-compared", text);
            let findings = vec![finding.hint("`serve` compares them when it starts")];
            StateFindings { findings, checked: vec!["notice-not-compared"] }
        }
    }
}

/// Returns a finding for each recipient that the ledger's events name, and that neither the configuration nor another
/// gateway that runs has.
fn unregistered_recipients(
    config: &Config,
    named: &BTreeSet<Arc<str>>,
    elsewhere: &BTreeSet<Arc<str>>,
) -> Vec<Finding> {
    let registered = |name: &Arc<str>| config.recipients.iter().any(|recipient| recipient.name == *name);
    let unregistered = named.difference(elsewhere).filter(|name| !registered(name));
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

fn migrate(config: &Config, out: &mut dyn Write) -> Result<u8, VerbError> {
    let keys = ledger_store::open_keys(&config.keys.path, &config.ledger.url, &config.audit.directory);
    let keys = keys.map_err(|error| unusable_error(&error))?;
    let migrated = ledger_store::migrate(&config.ledger, &keys).map_err(|error| match error {
        OpenStoreError::File(FileError::InUse(_)) => CliError::Refused(
            "a gateway uses the ledger: it has the version that the gateway needs".to_owned(),
        ),
        error => unusable_error(&error),
    })?;
    let url = &config.ledger.url;
    match migrated.1 {
        SchemaChange { from: None, to } => writeln!(out, "{url}: created with version {to}")?,
        SchemaChange { from: Some(from), to } if from == to => {
            writeln!(out, "{url}: nothing to do, it has version {to}")?;
        }
        SchemaChange { from: Some(from), to } => {
            writeln!(out, "{url}: migrated from version {from} to version {to}")?;
        }
    }
    Ok(0)
}

fn accept_history(config: &Config, now: Timestamp, out: &mut dyn Write) -> Result<u8, VerbError> {
    let keys = Keys::open(&config.keys.path).map_err(|error| unusable_error(&error))?;
    let store = ledger_store::open(&config.ledger, &keys).map_err(|error| unusable_error(&error))?;
    let held = store.history_end().map_err(|error| unusable_error(&error))?.position;
    // Gateways that share the ledger report a loss to the store, and the positions that follow are after it.
    let losses = store.losses().map_err(|error| unusable_error(&error))?;
    let reported = losses.iter().filter(|loss| loss.accepted.is_none()).max_by_key(|loss| loss.until);
    let known = history::last_known_position(config).map_err(|error| unusable_error(&error))?;
    if let Some(LossOfEvents { behind, until, .. }) = reported {
        let until = known.map_or(*until, |known| known.max(*until));
        store.accept_history(until, now).map_err(|error| unusable_error(&error))?;
        writeln!(
            out,
            "accepted: positions {} to {until} are lost; the gateways release again",
            behind.0 + 1
        )?;
        return Ok(0);
    }
    let Some(known) = known.filter(|known| *known > held) else {
        writeln!(
            out,
            "nothing is missing: the history of the ledger ends at position {held}, and no later position is known"
        )?;
        return Ok(0);
    };
    store.accept_history(known, now).map_err(|error| unusable_error(&error))?;
    writeln!(
        out,
        "accepted: positions {} to {known} are lost; the ledger continues at {}",
        held.0 + 1,
        known.0 + 1
    )?;
    Ok(0)
}
