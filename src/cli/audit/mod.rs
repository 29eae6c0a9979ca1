//! `audit`: verifies, shows and exports disclosure logs, also while gateways write them. The logs of several gateways are
//! read together.

pub(super) mod accept_loss;
pub(super) mod circumstances;
pub(super) mod index;
pub(super) mod processing;
mod show;
mod verify;
mod verify_former;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;

use super::arguments::time;
use super::error::with_causes;
use super::findings::StateFindings;
use super::ledger_location::LedgerLocation;
use crate::assembly::logs;
use crate::config::{AuditSection, Config, GatewayLog, LedgerUrl, LogKey};
use crate::disclosure::verify::VerifierKey;
use crate::disclosure::{
    self, ExchangeFilter, LogPlace, LogSelection, LogSource, ReadError, TagKey, UNCHECKED_TAGS, storage,
};
use crate::finding::Finding;
use crate::keys::{Keys, LoggedPerson, SubjectPseudonyms};
use crate::ledger;
use crate::vocabulary::Vocabulary;

/// The verbs of `audit`.
#[derive(Debug, clap::Subcommand)]
pub(super) enum AuditVerb {
    /// Verify that no entry was changed or removed, and print the checkpoint
    ///
    /// Reads every file of the log's folder. The signatures of the checkpoints are verified with --key, or with the key that
    /// follows from the key file of the configuration and the log's origin, never with a key from the folder. Without a key
    /// only damage is found, and the exit status is 1.
    Verify {
        #[command(flatten)]
        at: LogLocation,
        /// The key that verifies the log's checkpoints, as `audit key` prints it; repeat it for several logs
        #[arg(long = "key", value_name = "VKEY")]
        keys: Vec<VerifierKey>,
        /// A file with an earlier checkpoint that the log must contain
        #[arg(long, value_name = "FILE")]
        since: Option<PathBuf>,
    },
    /// Print the key with which anybody can verify the log's checkpoints
    ///
    /// Keep it where those who can change the log cannot change it.
    Key {
        #[command(flatten)]
        at: LogLocation,
    },
    /// Show exchanges: who received which data, for which purpose, on which legal basis
    Show {
        #[command(flatten)]
        at: LogLocation,
        /// Only of this recipient
        #[arg(long)]
        recipient: Option<String>,
        /// Only for this purpose
        #[arg(long)]
        purpose: Option<String>,
        /// Only about this person
        #[arg(long)]
        subject: Option<String>,
        /// The namespace of the person's id, unless it is the default one
        #[arg(long, requires = "subject")]
        namespace: Option<String>,
        /// Only exchanges that began at this time or later
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Only the exchange with this decision's id
        #[arg(long, value_name = "ID")]
        decision: Option<String>,
        /// Show who looked at what is on record about people, and why, instead of exchanges
        #[arg(long, conflicts_with_all = ["recipient", "purpose", "decision"])]
        acts: bool,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: super::Format,
    },
    /// Print the record of processing activities: purposes, bases, categories, recipients, retention
    Processing {
        /// The configuration file, for its packs
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml", conflicts_with = "policy")]
        config: PathBuf,
        /// The folder of a single pack instead
        #[arg(long, value_name = "DIR", conflicts_with_all = ["from", "to"])]
        policy: Option<PathBuf>,
        /// Compare the record with what the disclosure logs observed from this day on (UTC)
        #[arg(long, value_name = "DATE", requires = "to")]
        from: Option<Date>,
        /// The last day of the comparison
        #[arg(long, value_name = "DATE", requires = "from")]
        to: Option<Date>,
        /// The format of the output
        #[arg(long, value_enum, default_value = "text")]
        format: super::Format,
    },
    /// Build the indexes of logs, or bring them up to date
    ///
    /// A running gateway keeps those of its configuration. An index only makes questions quick: it can be deleted.
    Index {
        #[command(flatten)]
        at: LogLocation,
        /// The folder of the indexes [default: that of the configuration]
        #[arg(long, value_name = "DIR")]
        index: Option<PathBuf>,
    },
    /// Print under which circumstances records were decided, and how many on each day, one line each
    ///
    /// For `policy diff --decisions`. The counts are those of this gateway up to a minute ago; they hold nobody's data.
    Circumstances {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
        config: PathBuf,
        /// Only from this day on (UTC)
        #[arg(long, value_name = "DATE")]
        since: Option<Date>,
    },
    /// Accept that the gateway's own log, or its end, is lost, and go on without it
    ///
    /// `serve` refuses to start if the ledger, the index or a kept checkpoint knows a log that is not there. The acceptance is on
    /// record in the log that begins, and reports say from then on what they lack. Stop the gateway first.
    AcceptLoss {
        /// The configuration file
        #[arg(long, value_name = "FILE", default_value = "purposegate.toml")]
        config: PathBuf,
        /// Why the log is lost, for those who read the record
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Print every record as it is in the log, one a line
    Export {
        #[command(flatten)]
        at: LogLocation,
        /// Only from the day of this time on
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
    },
}

/// The location of the logs: folders, or those of a configuration.
#[derive(Debug, clap::Args)]
pub(super) struct LogLocation {
    /// The folders of the logs of one or more gateways; without any, those of the configuration
    #[arg(value_name = "DIR")]
    pub(super) folders: Vec<PathBuf>,
    /// The configuration file, for the folders and the keys [default without DIR: purposegate.toml]
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// A log to read.
#[derive(Debug)]
pub(super) struct AuditedLog {
    pub(super) folder: PathBuf,
    /// The keys under which it was written. `None` without a configuration.
    pub(super) keys: Option<Keys>,
    /// The key of its checkpoints, if the configuration states it.
    pub(super) verifier: Option<VerifierKey>,
    /// Its origin, if the configuration states it.
    pub(super) origin: Option<String>,
    /// The folder of its index, if there may be one.
    pub(super) index: Option<PathBuf>,
}

impl AuditedLog {
    /// Returns the folders of the log and of its index, and the key of the tags in an old log.
    fn place(&self) -> LogPlace<'_> {
        LogPlace { folder: &self.folder, index: self.index.as_deref(), tags: self.tags() }
    }

    /// Returns the key of the tags in an old log. `None` without a configuration.
    fn tags(&self) -> Option<TagKey> {
        self.keys.as_ref().map(TagKey::of)
    }

    /// Returns the key that verifies the checkpoints of the log if this is its origin.
    fn verifier_of(&self, origin: &str) -> Option<VerifierKey> {
        if let Some(verifier) = &self.verifier {
            return Some(verifier.clone());
        }
        self.keys.as_ref()?.log_signing_key(origin).ok()?.verifier_key().parse().ok()
    }
}

impl LogLocation {
    /// Returns the logs to read: those in the given folders, or else all of the configuration. A folder outside of the
    /// configuration was written under the keys of the configuration.
    ///
    /// # Errors
    /// Words for the terminal, if folders overlap or keys cannot be opened.
    pub(super) fn logs(&self, configured: Option<(&AuditSection, &Keys)>) -> Result<Vec<AuditedLog>, String> {
        let others = configured.map_or(&[][..], |(audit, _)| &audit.logs);
        let own = configured.map(|(audit, _)| &audit.directory);
        let folders = match self.folders.as_slice() {
            [] => own.into_iter().chain(others.iter().map(|log| &log.path)).cloned().collect(),
            given => given.to_vec(),
        };
        if let Some((one, other)) = disclosure::overlapping(folders.iter().map(PathBuf::as_path)) {
            let (one, other) = (one.display(), other.display());
            return Err(format!(
                "{one} and {other} are the same folder, or one is in the other: name each log once"
            ));
        }
        let of_folder = |folder: PathBuf| {
            let is_it = |log: &&GatewayLog| disclosure::resolved(&log.path) == disclosure::resolved(&folder);
            let key = others.iter().find(is_it).and_then(|log| log.key.as_ref());
            let own_keys = || configured.map(|(_, keys)| keys.clone());
            let (keys, verifier) = match key {
                Some(LogKey::File(file)) => {
                    (Some(Keys::open(file).map_err(|error| with_causes(&error))?), None)
                }
                Some(LogKey::Verifier(key)) => {
                    (own_keys(), Some(key.parse().map_err(|error| with_causes(&error))?))
                }
                None => (own_keys(), None),
            };
            let is_own = |audit: &AuditSection| {
                disclosure::resolved(&audit.directory) == disclosure::resolved(&folder)
            };
            // The folder of the indexes is that of all logs: an index is named after the origin of its log.
            let index = configured.map(|(audit, _)| audit.index.clone());
            let audit = configured.map(|(audit, _)| audit).filter(|audit| is_own(audit));
            let origin = audit.and_then(|audit| audit.origin.clone());
            Ok(AuditedLog { folder, keys, verifier, origin, index })
        };
        folders.into_iter().map(of_folder).collect()
    }
}

impl AuditVerb {
    /// Returns the location of the log; `None` for a verb that reads no log.
    pub(super) fn log_location(&self) -> Option<&LogLocation> {
        match self {
            AuditVerb::Verify { at, .. }
            | AuditVerb::Key { at }
            | AuditVerb::Show { at, .. }
            | AuditVerb::Export { at, .. } => Some(at),
            AuditVerb::Processing { .. }
            | AuditVerb::Index { .. }
            | AuditVerb::Circumstances { .. }
            | AuditVerb::AcceptLoss { .. } => None,
        }
    }
}

/// The parts of a configuration that belong to its logs.
#[derive(Debug)]
pub(super) struct AuditContext<'p> {
    /// The ledger, which knows every spelling of a person's id, and the registered recipients.
    pub(super) location: LedgerLocation<'p>,
    pub(super) vocabulary: Arc<Vocabulary>,
}

/// Runs a verb on logs. The result goes to `out`, messages to `err`. Without a configuration, the logs are verified as far
/// as possible without keys, and people cannot be found by their id. Returns the exit status.
///
/// # Errors
/// If writing fails.
pub(super) fn run(
    verb: &AuditVerb,
    logs: &[AuditedLog],
    configured: Option<&AuditContext<'_>>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    match verb {
        AuditVerb::Verify { at: _, keys, since } => verify::verify(logs, keys, since.as_deref(), out, err),
        AuditVerb::Key { at: _ } => key(logs, out, err),
        AuditVerb::Show { at: _, recipient, purpose, subject, namespace, since, decision, acts, format } => {
            // The log holds the id of the purpose; the argument may be an alias.
            let purpose = purpose.as_ref().map(|given| {
                let vocabulary = configured.map(|configured| &*configured.vocabulary);
                let known = vocabulary.and_then(|known| Some((known, known.declared_purpose(given).ok()?)));
                known.map_or_else(|| given.clone(), |(known, id)| known.purposes().name(id).to_owned())
            });
            let filter =
                ExchangeFilter { recipient: recipient.clone(), purpose, subject: None, since: *since };
            let mut shown = Vec::new();
            for log in logs {
                match subject_filter(subject.as_deref(), namespace.as_deref(), log, configured) {
                    Ok(subject) => shown.push(LogSelection {
                        folder: log.folder.clone(),
                        filter: ExchangeFilter { subject, ..filter.clone() },
                        running: disclosure::is_running(&log.folder),
                        tags: log.tags(),
                    }),
                    Err(why) => return unusable(&why, err),
                }
            }
            let status = match decision {
                _ if *acts => show::acts(&shown, *format, out, err)?,
                Some(id) => show::decision(logs, id, *format, out, err)?,
                None => show::exchanges(&shown, configured, *format, out, err)?,
            };
            remark_unchecked(logs, err)?;
            Ok(status)
        }
        // These verbs read no logs here, see [`processing`], [`index`], [`circumstances`] and [`accept_loss`].
        AuditVerb::Processing { .. }
        | AuditVerb::Index { .. }
        | AuditVerb::Circumstances { .. }
        | AuditVerb::AcceptLoss { .. } => Ok(0),
        AuditVerb::Export { at: _, since } => export(logs, *since, out, err),
    }
}

/// Prints the verifier key of each log.
fn key(logs: &[AuditedLog], out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    for log in logs {
        let folder = log.folder.display();
        let origin = match storage::read_origin(&log.folder) {
            Ok(origin) => origin.or_else(|| log.origin.clone()),
            Err(error) => return unusable(&format!("{folder}: {error}"), err),
        };
        let Some(origin) = origin else {
            let why = "has no origin yet: start the gateway, or set `[audit] origin`";
            return unusable(&format!("{folder} {why}"), err);
        };
        let Some(key) = log.verifier_of(&origin) else {
            return unusable("the key follows from the key file: give --config", err);
        };
        writeln!(out, "{key}")?;
    }
    Ok(0)
}

/// A person in every spelling, and the pseudonyms of a log.
type SubjectFilter = Option<(Vec<LoggedPerson>, SubjectPseudonyms)>;

/// Returns a person by every spelling of the id that the ledger has recorded, under the keys of a log.
fn subject_filter(
    subject: Option<&str>,
    namespace: Option<&str>,
    log: &AuditedLog,
    configured: Option<&AuditContext<'_>>,
) -> Result<SubjectFilter, String> {
    let Some(subject) = subject else { return Ok(None) };
    let with_keys = configured.zip(log.keys.as_ref());
    let (AuditContext { location, .. }, keys) =
        with_keys.ok_or("people can be found in the log only with its keys: give --config")?;
    LogSource::new(&log.folder, keys).check().map_err(|error| with_causes(&error))?;
    let fingerprints = keys.fingerprints();
    let person = ledger::person(subject, namespace, &*location.names).map_err(|error| error.to_string())?;
    let people = if !location.ledger.url.is_file_to_create() {
        let archive = location.archive().map_err(|error| error.to_string())?;
        archive.logged_persons(&person, &fingerprints).map_err(|error| with_causes(&error))?
    } else {
        vec![LoggedPerson::unknown(fingerprints.subject(&person))]
    };
    Ok(Some((people, keys.subject_pseudonyms())))
}

/// Returns the findings of `check` about the logs of other gateways. A report reads all of them and fails without one.
pub(super) fn findings(config: &Config) -> StateFindings {
    let findings = match config.audit.logs.as_slice() {
        [] => missing_logs(config).into_iter().collect(),
        others => unreadable_logs(config, others),
    };
    StateFindings { findings, checked: vec!["log-unreadable", "other-logs-missing"] }
}

/// Returns a finding for each log of another gateway that cannot be read.
fn unreadable_logs(config: &Config, others: &[GatewayLog]) -> Vec<Finding> {
    let opened = Keys::open(&config.keys.path).and_then(|keys| logs::of_other_gateways(others, &keys));
    let faults = match opened {
        Ok(sources) => {
            sources.iter().filter_map(|log| Some(with_causes(&log.check().err()?))).collect::<Vec<_>>()
        }
        Err(error) => vec![with_causes(&error)],
    };
    let finding = |fault| {
        let text = format!("the log of another gateway cannot be read: {fault}");
        let hint = "reports to data subjects fail until it can be read: see `[audit] logs`";
        Finding::warning("log-unreadable", text).hint(hint)
    };
    faults.into_iter().map(finding).collect()
}

/// Returns a finding if gateways may share the ledger, and the logs of the others are not listed.
fn missing_logs(config: &Config) -> Option<Finding> {
    let text = "gateways can share this ledger, and `[audit] logs` lists no log of another one";
    let hint = "list their logs: recipients that received data from another gateway are not told of an erasure or a correction, \
                and reports lack what it disclosed";
    let is_shared = !matches!(config.ledger.url, LedgerUrl::Sqlite(_));
    is_shared.then(|| Finding::warning("other-logs-missing", text).hint(hint))
}

/// Remarks on old logs whose tags were not checked, for want of their keys.
fn remark_unchecked(logs: &[AuditedLog], err: &mut dyn Write) -> io::Result<()> {
    for log in logs.iter().filter(|log| log.keys.is_none()) {
        // A folder that cannot be read was reported.
        if disclosure::has_former(&log.folder).unwrap_or(false) {
            writeln!(err, "note: {}: the old log: {UNCHECKED_TAGS}", log.folder.display())?;
        }
    }
    Ok(())
}

/// Prints the records of one log after the other: each log begins with a record that has its id.
fn export(
    logs: &[AuditedLog],
    since: Option<Timestamp>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut out = BufWriter::new(out);
    let exported = logs.iter().try_for_each(|log| {
        disclosure::export(log.place(), since, |line| {
            out.write_all(line)?;
            out.write_all(b"\n")
        })
    });
    let status = finish(exported, out, err)?;
    remark_unchecked(logs, err)?;
    Ok(status)
}

fn finish(
    outcome: Result<(), ReadError>,
    mut out: BufWriter<&mut dyn Write>,
    err: &mut dyn Write,
) -> io::Result<u8> {
    out.flush()?;
    match outcome {
        Ok(()) => Ok(0),
        Err(ReadError::Output(error)) => Err(error),
        Err(error) => unusable(&with_causes(&error), err),
    }
}

fn unusable(why: &str, err: &mut dyn Write) -> io::Result<u8> {
    writeln!(err, "purposegate: {why}")?;
    Ok(2)
}

#[cfg(test)]
mod tests;
