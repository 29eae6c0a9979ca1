//! The records of an exchange, as reports and accounts need them: with names, and the same for old and new logs.

use std::sync::Arc;

use jiff::Timestamp;
use ulid::Ulid;

use crate::keys::Pseudonym;

/// A record of a log.
pub(super) enum LoggedRecord {
    /// A record of an exchange.
    Exchange(Box<ExchangeRecord>),
    /// A process has begun to write at this time.
    Start(Timestamp),
}

/// A record of an exchange. Records of one decision follow each other in the log, others lie between them.
pub(super) struct ExchangeRecord {
    /// Time at which it was written.
    pub(super) time: Timestamp,
    pub(super) decision: Ulid,
    /// The day that determines the pseudonyms; `None` for that of the exchange's first record.
    pub(super) day: Option<Arc<str>>,
    /// The circumstances, in the first record.
    pub(super) head: Option<LoggedHead>,
    pub(super) position: u64,
    pub(super) stale: bool,
    pub(super) disclosure: Option<LoggedDisclosure>,
    /// The outcome, if nothing follows.
    pub(super) end: Option<String>,
    /// True for a correction. It takes back no disclosure.
    pub(super) corrects: bool,
}

/// The circumstances of an exchange.
pub(super) struct LoggedHead {
    /// Start of the exchange.
    pub(super) time: Timestamp,
    pub(super) recipient: Arc<str>,
    pub(super) actor: Option<Pseudonym>,
    pub(super) purpose: Arc<str>,
    pub(super) declared: Option<String>,
    pub(super) case: Option<String>,
    pub(super) route: Arc<str>,
    pub(super) operation: Arc<str>,
    pub(super) policy: Arc<str>,
    pub(super) factors: LoggedFactors,
    /// Absent in logs of version 0.1.0.
    pub(super) gateway: Option<Arc<str>>,
}

/// The factors of a decision with the names of their verdicts.
pub(super) type LoggedFactors = Arc<[(Arc<str>, Arc<str>)]>;

/// The disclosures of an answer or a part of it.
#[derive(Default)]
pub(super) struct LoggedDisclosure {
    pub(super) records: u64,
    pub(super) withheld_records: u64,
    /// Each with the number of fields.
    pub(super) categories: Vec<(Arc<LoggedRuling>, u64)>,
    /// Those about whom something personal left.
    pub(super) subjects: Vec<Pseudonym>,
    /// Those about whom nothing personal left.
    pub(super) withheld_subjects: Vec<Pseudonym>,
}

/// A category with its form, basis, reason, rules and clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoggedRuling {
    pub(super) category: Arc<str>,
    pub(super) form: Arc<str>,
    pub(super) basis: Option<Arc<str>>,
    pub(super) reason: Option<Arc<str>>,
    pub(super) rules: Vec<Arc<str>>,
    pub(super) clauses: Vec<Arc<str>>,
}

/// Name in place of a category, for fields that no mapping classifies.
pub(super) const UNCLASSIFIED: &str = "unclassified";
