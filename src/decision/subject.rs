//! What is in force about one data subject, and what a record says of itself.
//!
//! A [`Subject`] is the state after supersession: the ledger folds events into it, a scenario
//! writes it down. Time is kept only as an order of events (`order`), so that subjects with the
//! same state are equal however different their clocks were, and can share one entry in memory.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::vocabulary::{CategoryId, KindId, Origin, PurposeId, RelationId};

/// To whom a consent is bound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addressee {
    /// Counts for every recipient.
    Anyone,
    /// Counts for recipients of this kind and its children.
    Kind(KindId),
    /// Counts for the recipient of this name.
    Recipient(Arc<str>),
}

/// What the subject last said about a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentStatus {
    Given,
    Refused,
    Withdrawn,
    Expired,
}

/// One consent, refusal or withdrawal in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consent {
    pub purpose: PurposeId,
    pub to: Addressee,
    pub status: ConsentStatus,
    /// A given consent counts as expired from this instant on.
    pub until: Option<Timestamp>,
    /// Rank among this subject's events, oldest first; `None` where no times are known.
    pub order: Option<u32>,
    /// True of a refusal or withdrawal that was overridden with a recorded reason: it is still no consent,
    /// but does not count as an objection any more.
    pub overridden: bool,
}

/// One objection in force (a lifted or overridden one is not kept).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Objection {
    pub purpose: PurposeId,
    pub upheld: bool,
    /// Rank among this subject's events; `None` where no times are known: then it holds against any consent.
    pub order: Option<u32>,
}

/// A relation in force, bound to one recipient or to none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    pub relation: RelationId,
    pub recipient: Option<Arc<str>>,
}

/// Where the subject's data came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origins {
    /// For every category that `of` does not name.
    pub default: Origin,
    pub by_category: Vec<(CategoryId, Origin)>,
}

impl Default for Origins {
    fn default() -> Self {
        Origins { default: Origin::OwnStatement, by_category: Vec::new() }
    }
}

/// The state of one data subject.
///
/// `Debug` prints the type's name only and there is no `Display`: nothing about a person reaches a log.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    pub consents: Vec<Consent>,
    /// Purposes consented to after the restriction began.
    pub consents_since_restriction: Vec<PurposeId>,
    pub objections: Vec<Objection>,
    /// Names of recipients opted out of.
    pub opt_outs: Vec<Arc<str>>,
    pub restricted: bool,
    pub erased: bool,
    pub minor: bool,
    pub country: Option<Arc<str>>,
    pub region: Option<Arc<str>>,
    pub relations: Vec<Relation>,
    pub origins: Origins,
    /// Explicit consent to a transfer, with evidence.
    pub transfer_consent: bool,
    pub refused_categories: Vec<CategoryId>,
    /// Nothing is known of them but what withholds: saying no, or taking it back, makes nobody known.
    pub only_refusals: bool,
}

impl Subject {
    /// When the next consent ends by itself: from then on what was decided has to be asked again.
    pub fn next_consent_expiry(&self, now: Timestamp) -> Option<Timestamp> {
        let ends = self.consents.iter().filter(|consent| consent.status == ConsentStatus::Given);
        ends.filter_map(|consent| consent.until).filter(|until| *until > now).min()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subject")
    }
}

/// What becomes of records whose subject the ledger does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownSubject {
    /// Nothing personal of them leaves.
    #[default]
    Withhold,
    /// They are judged as somebody who has said nothing yet.
    NoFacts,
}

/// The state of a controller of service data (the customer).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Purposes (modules) the controller has instructed.
    pub instructions: Vec<PurposeId>,
    pub closed_since: Option<Timestamp>,
}

/// A fact that was mapped: read, or present and unreadable (then it takes the value that discloses less).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extracted<T> {
    /// The route maps no such fact, or the record does not carry it.
    #[default]
    Absent,
    Known(T),
    /// Present, but of the wrong type, out of range or duplicated.
    Unreadable,
}

impl Extracted<Arc<str>> {
    pub(super) fn as_deref(&self) -> Extracted<&str> {
        match self {
            Extracted::Absent => Extracted::Absent,
            Extracted::Known(text) => Extracted::Known(text),
            Extracted::Unreadable => Extracted::Unreadable,
        }
    }
}

/// Facts read from the record itself (`[route.facts]`).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RecordFacts {
    pub country: Extracted<Arc<str>>,
    pub region: Extracted<Arc<str>>,
    pub birth_date: Extracted<jiff::civil::Date>,
    pub account_closed: Extracted<Timestamp>,
    pub origin: Extracted<Origin>,
    pub created: Extracted<Timestamp>,
}

impl<T> Extracted<T> {
    fn is_unreadable(&self) -> bool {
        matches!(self, Extracted::Unreadable)
    }

    /// The fact, or none where it cannot be read.
    fn readable(self) -> Extracted<T> {
        if self.is_unreadable() { Extracted::Absent } else { self }
    }
}

impl RecordFacts {
    /// These facts without those that cannot be read; `None` where each can be.
    pub(super) fn readable(&self) -> Option<RecordFacts> {
        let RecordFacts { country, region, birth_date, account_closed, origin, created } = self;
        let unreadable = country.is_unreadable()
            || region.is_unreadable()
            || birth_date.is_unreadable()
            || account_closed.is_unreadable()
            || origin.is_unreadable()
            || created.is_unreadable();
        unreadable.then(|| RecordFacts {
            country: country.clone().readable(),
            region: region.clone().readable(),
            birth_date: birth_date.readable(),
            account_closed: account_closed.readable(),
            origin: origin.readable(),
            created: created.readable(),
        })
    }
}

impl fmt::Debug for RecordFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecordFacts")
    }
}
