//! The records of an exchange, as reports and accounts need them: with names, and the same for old and new logs.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::disclosure::entry::DecodedDetail;
use crate::disclosure::record::{CategoryDisclosure, ExchangeMode};
use crate::keys::{LoggedPerson, Pseudonym, SubjectPseudonyms};
use crate::traces::TraceId;
use crate::vocabulary::Basis;

/// A record of a log.
pub(in crate::disclosure) enum LoggedRecord {
    /// A record of an exchange.
    Exchange(Box<LoggedExchangeRecord>),
    /// A process has begun to write at this time.
    Start(Timestamp),
}

/// A record of an exchange. Records of one decision follow each other in the log, others lie between them.
pub(in crate::disclosure) struct LoggedExchangeRecord {
    /// Time at which it was written.
    pub(in crate::disclosure) time: Timestamp,
    pub(in crate::disclosure) decision: Ulid,
    /// The day that determines the pseudonyms; `None` for that of the exchange's first record.
    pub(in crate::disclosure) day: Option<Arc<str>>,
    /// The circumstances, in the first record.
    pub(in crate::disclosure) head: Option<LoggedHead>,
    pub(in crate::disclosure) position: u64,
    pub(in crate::disclosure) stale: bool,
    pub(in crate::disclosure) disclosure: Option<LoggedDisclosure>,
    /// The outcome, if nothing follows.
    pub(in crate::disclosure) end: Option<String>,
    /// True for a correction. It takes back no disclosure.
    pub(in crate::disclosure) corrects: bool,
    /// The problem code with which enforcing would have refused an observed exchange.
    pub(in crate::disclosure) would_refuse: Option<String>,
    /// True if its detail was deleted.
    pub(in crate::disclosure) has_no_detail: bool,
}

/// The circumstances of an exchange.
pub(in crate::disclosure) struct LoggedHead {
    /// Start of the exchange.
    pub(in crate::disclosure) time: Timestamp,
    pub(in crate::disclosure) recipient: Arc<str>,
    pub(in crate::disclosure) actor: Option<Pseudonym>,
    /// Absent in old logs.
    pub(in crate::disclosure) holder: Option<LoggedHolder>,
    pub(in crate::disclosure) purpose: Arc<str>,
    pub(in crate::disclosure) declared: Option<String>,
    pub(in crate::disclosure) case: Option<String>,
    pub(in crate::disclosure) route: Arc<str>,
    pub(in crate::disclosure) operation: Arc<str>,
    pub(in crate::disclosure) policy: Arc<str>,
    pub(in crate::disclosure) factors: LoggedFactors,
    /// Absent in logs of version 0.1.0.
    pub(in crate::disclosure) gateway: Option<Arc<str>>,
    pub(in crate::disclosure) mode: ExchangeMode,
    /// True in an old log that is read without the key of its tags.
    pub(in crate::disclosure) has_unchecked_tags: bool,
    /// The id of the trace, if exchanges were traced.
    pub(in crate::disclosure) trace: Option<TraceId>,
}

/// The person or the account that the caller of an exchange was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedHolder {
    pub(in crate::disclosure) pseudonym: Pseudonym,
    /// The day that determines the pseudonym.
    pub(in crate::disclosure) day: Arc<str>,
}

impl LoggedHolder {
    /// True if it is this person or account. A person may be on record from before the ledger knew them.
    pub fn is(&self, holder: &LoggedPerson, pseudonyms: &SubjectPseudonyms) -> bool {
        let (unknown, day) = (LoggedPerson::unknown(holder.fingerprint), pseudonyms.epoch(&self.day));
        [*holder, unknown].iter().any(|name| name.pseudonym(&day) == self.pseudonym)
    }
}

/// The factors of a decision with the names of their verdicts.
pub(in crate::disclosure) type LoggedFactors = Arc<[(Arc<str>, Arc<str>)]>;

/// The disclosures of an answer or a part of it.
#[derive(Default)]
pub(in crate::disclosure) struct LoggedDisclosure {
    pub(in crate::disclosure) records: u64,
    pub(in crate::disclosure) withheld_records: u64,
    /// Each with the number of fields.
    pub(in crate::disclosure) categories: Vec<(Arc<LoggedRuling>, u64)>,
    /// Those about whom something personal left.
    pub(in crate::disclosure) subjects: Vec<Pseudonym>,
    /// Those about whom nothing personal left.
    pub(in crate::disclosure) withheld_subjects: Vec<Pseudonym>,
}

/// A category with its form, basis, reason, rules and clauses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disclosure) struct LoggedRuling {
    pub(in crate::disclosure) category: Arc<str>,
    pub(in crate::disclosure) form: Arc<str>,
    pub(in crate::disclosure) basis: Option<Arc<str>>,
    pub(in crate::disclosure) reason: Option<Arc<str>>,
    pub(in crate::disclosure) rules: Vec<Arc<str>>,
    pub(in crate::disclosure) clauses: Vec<Arc<str>>,
    /// The release that enforcing would have made, if the exchange was observed.
    pub(in crate::disclosure) would: Option<LoggedWouldRelease>,
}

/// The release that enforcing would have made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::disclosure) struct LoggedWouldRelease {
    pub(in crate::disclosure) form: Arc<str>,
    /// It was not applied.
    pub(in crate::disclosure) basis: Option<Arc<str>>,
    pub(in crate::disclosure) reason: Option<Arc<str>>,
    pub(in crate::disclosure) rules: Vec<Arc<str>>,
    pub(in crate::disclosure) clauses: Vec<Arc<str>>,
}

impl LoggedRuling {
    /// Reads a ruling from the detail of the entry that defines it; `None` if it has no form.
    pub(in crate::disclosure) fn of(detail: &DecodedDetail<'_>) -> Option<LoggedRuling> {
        let texts = |texts: &[&str]| texts.iter().map(|text| Arc::from(*text)).collect();
        let would = |form: &str| LoggedWouldRelease {
            form: form.into(),
            basis: detail.would_basis.map(Arc::from),
            reason: detail.would_reason.map(Arc::from),
            rules: texts(&detail.would_rules),
            clauses: texts(&detail.would_clauses),
        };
        Some(LoggedRuling {
            category: detail.category.unwrap_or(CategoryDisclosure::UNCLASSIFIED).into(),
            form: detail.form?.into(),
            basis: detail.basis.map(Arc::from),
            reason: detail.reason.map(Arc::from),
            rules: texts(&detail.rules),
            clauses: texts(&detail.clauses),
            would: detail.would_form.map(would),
        })
    }

    /// True if the fields were about nobody: they left on the basis `not-personal`, or would have.
    pub(in crate::disclosure) fn is_about_nobody(&self) -> bool {
        let basis = self.would.as_ref().map_or(&self.basis, |would| &would.basis);
        basis.as_deref() == Some(Basis::NotPersonal.name())
    }
}

impl LoggedWouldRelease {
    /// Returns the members as operators read them. No basis is stated, because none was applied.
    pub(in crate::disclosure) fn to_json(&self) -> Value {
        let LoggedWouldRelease { form, basis: _, reason, rules, clauses } = self;
        let texts = |texts: &[Arc<str>]| texts.iter().map(|text| Value::from(&**text)).collect::<Vec<_>>();
        json!({
            "form": &**form,
            "rules": texts(rules),
            "clauses": texts(clauses),
            "reason": reason.as_deref(),
        })
    }
}
