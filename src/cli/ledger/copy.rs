//! `ledger copy`: copies a ledger to another store, and proves that both hold the same.
//!
//! Invariants: a ledger that gateways use is neither read nor written; no gateway decides on a copy that broke off. In a
//! database no gateway gets a lease on it. In a file, a gateway with the key file of the configuration does not start on it,
//! because the mark beside the key file names the position that the copy has to reach.

use std::io::Write;
use std::path::Path;

use jiff::Timestamp;

use crate::assembly::ledger_store::{self, OpenStoreError};
use crate::assembly::running_gateways::find_running;
use crate::cli::error::{CliError, EXIT_FINDINGS, VerbError, unusable_error, with_causes};
use crate::cli::progress::{Progress, WorkUnit};
use crate::config::{Config, LedgerSection, LedgerUrl};
use crate::keys::Keys;
use crate::ledger::store::shared::{GatewayDescription, RegisteredGateway};
use crate::ledger::{self, CopyError, FileError, LedgerDigest, Position, PositionMark, Store};

/// Hint for a target that cannot be used.
const REMOVE: &str = "if it is a copy that broke off, remove it (the file with its `-wal` and `-shm`; in PostgreSQL \
                      `DROP SCHEMA purposegate CASCADE`) and copy again";

/// Copies the ledger at the URL `from` to the URL `to`. Returns the exit status: 1 if the ledgers differ afterwards.
///
/// # Errors
/// [`VerbError`].
pub(super) fn copy(
    (from, to): (&str, &str),
    config: &Config,
    now: Timestamp,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Result<u8, VerbError> {
    let (from, to) = (section(from, config)?, section(to, config)?);
    if from.url.mark_name() == to.url.mark_name() {
        return Err(CliError::Refused("a ledger cannot be copied to itself".to_owned()).into());
    }
    if from.url.is_file_to_create() {
        return Err(CliError::Unusable(format!("there is no ledger at {}", from.url)).into());
    }
    let keys = Keys::open(&config.keys.path).map_err(|error| unusable_error(&error))?;
    let source = ledger_store::open(&from, &keys).map_err(|error| unopened(&from, &error))?;
    let (target, _) = ledger_store::migrate(&to, &keys).map_err(|error| unopened(&to, &error))?;
    check_unused(&*source, &from, err)?;
    check_unused(&*target, &to, err)?;
    let end = source.history_end().map_err(|error| unusable_error(&error))?.position;
    mark_incomplete(config, &to, end, err)?;
    let mut reported = Ok(());
    let bar = Progress::begin(WorkUnit::Events, Some(end.0));
    let copied = ledger::copy(&*source, &*target, &mut |events| {
        bar.set(events);
        if reported.is_ok() && !bar.is_drawn() {
            reported = writeln!(err, "… {events} events");
        }
    });
    drop(bar);
    reported?;
    let copied = copied.map_err(|error| not_copied(&to, &error))?;
    let terms = || config.language();
    let of_source = LedgerDigest::of(&source, terms(), now).map_err(|error| unusable_error(&error))?;
    let of_target = LedgerDigest::of(&target, terms(), now).map_err(|error| unusable_error(&error))?;
    writeln!(out, "{}\n{of_source}\n{}\n{of_target}", from.url, to.url)?;
    if of_source != of_target || of_source.end != copied {
        if let Some(shared) = target.shared() {
            shared.begin_copy(of_source.end.position).map_err(|error| unusable_error(&error))?;
        }
        writeln!(out, "THE LEDGERS DIFFER")?;
        return refuse_target(&to, err);
    }
    writeln!(out, "both ledgers hold the same")?;
    if check_unused(&*source, &from, err).is_err() {
        writeln!(err, "purposegate: a gateway began to use {} during the copy", from.url)?;
        return refuse_target(&to, err);
    }
    Ok(0)
}

/// Says that the target must not be used.
fn refuse_target(to: &LedgerSection, err: &mut dyn Write) -> Result<u8, VerbError> {
    writeln!(err, "purposegate: do not use {}: {REMOVE}, while no gateway uses either ledger", to.url)?;
    Ok(EXIT_FINDINGS)
}

/// Returns the section for a URL. The configured ledger is reached by the means that the configuration names.
fn section(url: &str, config: &Config) -> Result<LedgerSection, CliError> {
    let parsed = LedgerUrl::parse(url, Path::new("")).map_err(|error| {
        CliError::Unusable(format!("a URL of `ledger copy` cannot be used: {error}; {}", error.hint()))
    })?;
    let is_configured = parsed.mark_name() == config.ledger.url.mark_name();
    let url = if is_configured { config.ledger.url.clone() } else { parsed };
    Ok(LedgerSection { url, ..config.ledger.clone() })
}

fn unopened(section: &LedgerSection, error: &OpenStoreError) -> CliError {
    match error {
        OpenStoreError::File(FileError::InUse(_)) => {
            CliError::Refused(format!("a gateway uses {}: stop it before the copy", section.url))
        }
        error => CliError::Unusable(format!("{}: {}", section.url, with_causes(error))),
    }
}

/// Refuses a ledger that gateways use: events that they record would be in one of the two ledgers only.
fn check_unused(store: &dyn Store, section: &LedgerSection, err: &mut dyn Write) -> Result<(), VerbError> {
    let Some(shared) = store.shared() else { return Ok(()) };
    let mut told = Ok(());
    let mut waiting = |gateways: &[RegisteredGateway]| {
        let (url, names) = (&section.url, names(gateways.iter().map(|gateway| &gateway.description)));
        told = writeln!(
            err,
            "purposegate: gateways of {url} are on record ({names}): waiting until they show that they run, or their \
             leases are over"
        );
    };
    let running = find_running(&|| shared.gateways(), &|_| true, &mut waiting);
    told?;
    let running = running.map_err(|error| unusable_error(&error))?;
    if running.is_empty() {
        return Ok(());
    }
    let (url, names) = (&section.url, names(running.iter()));
    Err(CliError::Refused(format!("gateways use {url} ({names}): stop them before the copy")).into())
}

fn names<'g>(gateways: impl Iterator<Item = &'g GatewayDescription>) -> String {
    gateways.map(|gateway| &*gateway.name).collect::<Vec<_>>().join(", ")
}

/// Writes the position that the target has to reach to its mark.
fn mark_incomplete(
    config: &Config,
    to: &LedgerSection,
    end: Position,
    err: &mut dyn Write,
) -> std::io::Result<()> {
    let mark = PositionMark::open(&config.keys.path, &to.url.mark_name());
    match mark.and_then(|mark| mark.write(end)) {
        Ok(()) => Ok(()),
        Err(error) => writeln!(
            err,
            "purposegate: the mark beside the key file cannot be written ({error}): if the copy breaks off, nothing keeps a \
             gateway from starting on it"
        ),
    }
}

fn not_copied(to: &LedgerSection, error: &CopyError) -> CliError {
    match error {
        CopyError::NotEmpty(_) => CliError::Refused(format!("{}: {error}; {REMOVE}", to.url)),
        CopyError::NotAccepted(_) | CopyError::Missing(_) => CliError::Refused(error.to_string()),
        CopyError::Store(_) | CopyError::TargetInUse => {
            CliError::Unusable(format!("the copy broke off: {}; {REMOVE}", with_causes(error)))
        }
    }
}
