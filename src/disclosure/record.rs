//! Defines what the log records: each [`Record`] becomes one entry of the log, or several consecutive ones.
//!
//! Invariant: a record holds no field value, path, query, address or id of a person. People are fingerprints and log
//! secrets, which the log's thread replaces by the pseudonyms of the day; everything else is a term from the configuration
//! or the policy, or what the recipient declared.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;
use ulid::Ulid;

use crate::decision::Reason;
use crate::keys::LoggedPerson;
use crate::ledger::Position;
use crate::traces::TraceId;
use crate::vocabulary::{Basis, Form, Operation};

/// A record, as it is handed to the log.
#[derive(Clone, Debug)]
pub enum Record {
    /// An exchange is about to happen: its operation changes data, or the log records every intent.
    Intent(Arc<ExchangeHead>),
    /// A whole exchange in one record, before its first byte leaves: it is released.
    Exchange(Arc<ExchangeHead>, Disclosure),
    /// A part of an answer, before it leaves. The first one of an exchange without an intent carries the head.
    Window {
        /// The exchange.
        exchange: ExchangeReference,
        /// The disclosures of the part.
        disclosure: Disclosure,
    },
    /// The end of an exchange that has windows or an intent.
    Close {
        /// The decision's id.
        decision: Ulid,
        /// The outcome.
        outcome: Outcome,
    },
    /// An exchange that was recorded as released has ended otherwise. It never takes back a disclosure.
    Correction {
        /// The decision's id.
        decision: Ulid,
        /// The outcome.
        outcome: Outcome,
        /// The disclosures beyond the first record, if the answer was judged again.
        disclosure: Option<Disclosure>,
    },
    /// A refusal, in one record.
    Refusal(Arc<ExchangeHead>, &'static str),
    /// An administrative act.
    Act(ActRecord),
    /// The log secret of an erased person was deleted. It does not say whose.
    SecretErasure {
        /// The number of secrets that were deleted.
        secrets: u64,
        /// The reason: every notice was delivered, or `notice-limit` is over.
        reason: &'static str,
    },
    /// Refusals that are not recorded, because they arrived faster than they could be written.
    DroppedRefusals {
        /// The number of refusals, which is not 0.
        refusals: u64,
    },
    /// A recipient was told of an erasure, a correction or a restriction (GDPR Art. 19), or could not be told.
    Notice(NoticeRecord),
}

/// The exchange of a window.
#[derive(Clone, Debug)]
pub enum ExchangeReference {
    /// The first record of the exchange.
    First(Arc<ExchangeHead>),
    /// The exchange is on record under this decision.
    Later(Ulid),
}

/// The mode in which an exchange is decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ExchangeMode {
    /// Data that may not leave are withheld.
    #[default]
    Enforce,
    /// Everything is decided and recorded, and nothing is withheld.
    Observe,
}

impl ExchangeMode {
    /// Returns the name in logs and answers.
    pub const fn name(self) -> &'static str {
        match self {
            ExchangeMode::Enforce => "enforce",
            ExchangeMode::Observe => "observe",
        }
    }
}

/// The circumstances of an exchange.
#[derive(Clone, Debug)]
pub struct ExchangeHead {
    /// The decision's id. It contains the time at which the request arrived.
    pub decision: Ulid,
    /// The recipient's configured name.
    pub recipient: Arc<str>,
    /// The individual who acts for the recipient, if the credential names one.
    pub actor: Option<LoggedPerson>,
    /// The person or the account that the caller is, if each caller of the recipient is another one.
    pub holder: Option<LoggedPerson>,
    /// The accepted purpose; empty if none was accepted.
    pub purpose: Arc<str>,
    /// The purpose as the request declared it.
    pub declared: Option<Arc<str>>,
    /// The case that the request cites.
    pub case: Option<Arc<str>>,
    /// The route's configured name.
    pub route: Arc<str>,
    /// The operation that the request performs on the data.
    pub operation: Operation,
    /// The revision of the policy that decided.
    pub policy: Arc<str>,
    /// The last ledger position that was in force.
    pub position: Position,
    /// True if the exchange was admitted on what was last known, because the ledger was stale.
    pub stale: bool,
    /// Each factor of the decision with its verdict.
    pub factors: SmallVec<[(&'static str, Verdict); 12]>,
    /// The mode in which it is decided.
    pub mode: ExchangeMode,
    /// The problem code with which enforcing would have refused an observed exchange.
    pub would_refuse: Option<&'static str>,
    /// The id of the gateway's trace, if exchanges are traced.
    pub trace: Option<TraceId>,
}

/// The verdict of one factor on an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The factor permits the exchange.
    Permits,
    /// The factor refuses the exchange.
    Refuses,
}

/// The outcome of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was sent completely.
    Released,
    /// The exchange was refused, with this problem code.
    Refused(&'static str),
    /// The recipient disconnected or the answer was cut short.
    Aborted,
}

impl Outcome {
    /// Returns the class: `released`, `refused` or `aborted`.
    pub const fn class(self) -> &'static str {
        match self {
            Outcome::Released => "released",
            Outcome::Refused(_) => "refused",
            Outcome::Aborted => "aborted",
        }
    }

    /// Returns the problem code of a refusal, and the class of another outcome.
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Refused(code) => code,
            Outcome::Released | Outcome::Aborted => self.class(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Refused(code) => write!(f, "{}:{code}", self.class()),
            Outcome::Released | Outcome::Aborted => f.write_str(self.class()),
        }
    }
}

/// The disclosures of a whole answer or a part of it.
#[derive(Clone, Debug, Default)]
pub struct Disclosure {
    /// The last ledger position that was in force.
    pub position: Position,
    /// True if something was judged on what was last known, because the ledger was stale.
    pub stale: bool,
    /// Number of records of the answer.
    pub records: u64,
    /// Number of records of which nothing personal left.
    pub withheld_records: u64,
    /// The data subjects about whom something personal left.
    pub subjects: SmallVec<[LoggedPerson; 1]>,
    /// The data subjects about whom nothing personal left.
    pub withheld_subjects: SmallVec<[LoggedPerson; 1]>,
    /// The categories, by form and reason.
    pub categories: Vec<CategoryDisclosure>,
    /// The problem code with which enforcing would have refused an observed exchange.
    pub would_refuse: Option<&'static str>,
}

/// The form in which fields of one category left, or the reason for which they were withheld.
#[derive(Clone, Debug)]
pub struct CategoryDisclosure {
    /// Its name in the vocabulary; `None` for fields that nothing classifies.
    pub category: Option<Arc<str>>,
    /// The form; [`Form::Removed`] if the fields were withheld.
    pub form: Form,
    /// The legal basis; absent if the fields were withheld or unclassified.
    pub basis: Option<Basis>,
    /// Reason for which the fields were withheld.
    pub reason: Option<Reason>,
    /// Ids of the rules that decided.
    pub rules: Arc<[Arc<str>]>,
    /// The clauses that those rules cite.
    pub clauses: Arc<[Arc<str>]>,
    /// Number of fields.
    pub fields: u64,
    /// The release that enforcing would have made, if the exchange is observed.
    pub would: Option<WouldRelease>,
}

/// The release that enforcing would have made of the fields of one category.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WouldRelease {
    /// The form; [`Form::Removed`] if the fields would have been withheld.
    pub form: Form,
    /// The legal basis. It was not applied. Data about nobody have the basis `not-personal`, also if they would have been
    /// withheld: it tells them from personal data.
    pub basis: Option<Basis>,
    /// Reason for which the fields would have been withheld.
    pub reason: Option<Reason>,
    /// Ids of the rules that decided.
    pub rules: Arc<[Arc<str>]>,
    /// The clauses that those rules cite.
    pub clauses: Arc<[Arc<str>]>,
}

impl CategoryDisclosure {
    /// Name in place of a category, for fields that nothing classifies.
    pub const UNCLASSIFIED: &'static str = "unclassified";
}

/// The use of a resource of the admin API that shows what is on record about a person.
#[derive(Clone, Debug)]
pub struct ActRecord {
    /// The act's id. It contains the time of the request.
    pub act: Ulid,
    /// The name of the actor, if one is signed in.
    pub actor: Option<Arc<str>>,
    /// The role by which the actor may use the resource.
    pub role: Option<&'static str>,
    /// The resource, as a template without ids.
    pub resource: &'static str,
    /// The person whom the resource is about.
    pub subject: Option<LoggedPerson>,
    /// The decision that the resource is about.
    pub decision: Option<Ulid>,
    /// Why, in the actor's words.
    pub reason: Option<Arc<str>>,
}

/// Maximum length of a reason, in characters.
const MAX_REASON: usize = 500;

/// The text cannot be the reason of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is empty, begins with a space, is longer than {} characters or has control characters", MAX_REASON)]
pub struct UnfitReason;

/// Checks the reason of an act, as somebody gives it.
///
/// # Errors
/// [`UnfitReason`].
pub fn check_reason(reason: &str) -> Result<(), UnfitReason> {
    let begins = reason.starts_with(|first: char| !first.is_whitespace());
    let is_fit = begins && !reason.chars().any(char::is_control) && reason.chars().count() <= MAX_REASON;
    if is_fit { Ok(()) } else { Err(UnfitReason) }
}

/// One attempt to tell a recipient that data which it received were erased, corrected or restricted.
///
/// It names no person: the ledger keeps the time of an erasure for good, the record follows it closely, and a pseudonym would lead
/// from both to what was disclosed about the person. As long as the inquiry is open, the notice's id leads to the person.
#[derive(Clone, Debug)]
pub struct NoticeRecord {
    /// The notice's id.
    pub notice: Ulid,
    /// The recipient's configured name.
    pub recipient: Arc<str>,
    /// The event: `erasure`, `correction` or `restriction`.
    pub event: &'static str,
    /// The way: `webhook` or `feed`.
    pub channel: &'static str,
    /// The outcome: `delivered`, `acknowledged`, `manual` or `expired`.
    pub outcome: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_has_a_name_and_a_class() {
        for (outcome, name, class, text) in [
            (Outcome::Released, "released", "released", "released"),
            (Outcome::Aborted, "aborted", "aborted", "aborted"),
            (Outcome::Refused("ledger-stale"), "ledger-stale", "refused", "refused:ledger-stale"),
        ] {
            assert_eq!((outcome.name(), outcome.class(), &*outcome.to_string()), (name, class, text));
        }
    }

    #[test]
    fn a_reason_is_a_line_of_text() {
        for fit in ["x", "request of 3 March", &"ä".repeat(MAX_REASON)] {
            assert_eq!(check_reason(fit), Ok(()), "{fit}");
        }
        for unfit in ["", " ", " x", "\u{a0}x", "a\nb", "a\u{85}", &"x".repeat(MAX_REASON + 1)] {
            assert_eq!(check_reason(unfit), Err(UnfitReason), "{unfit:?}");
        }
    }
}
