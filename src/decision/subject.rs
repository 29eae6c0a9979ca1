//! The state of a data subject and the facts that a record states itself.
//!
//! A [`Subject`] is the state after supersession: the ledger folds events into it, and a scenario states it directly.
//! Times are kept only as the order of events (`order`), so that subjects in the same state are equal whatever their
//! times were, and share one cache entry.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::vocabulary::{CategoryId, KindId, Origin, PurposeId, RelationId};

/// The recipients for whom a consent or refusal counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Addressee {
    /// Every recipient.
    Anyone,
    /// Recipients of this kind, including its descendants.
    Kind(KindId),
    /// The recipient of this name.
    Recipient(Arc<str>),
}

/// A statement of a data subject about a purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConsentStatus {
    /// The subject consented.
    Given,
    /// The subject refused consent.
    Refused,
    /// The subject withdrew a consent.
    Withdrawn,
    /// A consent has expired.
    Expired,
}

/// A consent, refusal or withdrawal that is in force. Of a purpose and addressee there can be a refusal and a later
/// consent: the refusal counts again once the consent has expired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Consent {
    /// The purpose.
    pub purpose: PurposeId,
    /// The recipients for whom it counts.
    pub to: Addressee,
    /// The statement.
    pub status: ConsentStatus,
    /// The instant at which a given consent expires.
    pub until: Option<Timestamp>,
    /// Rank among this subject's events, oldest first; `None` if no times are known.
    pub order: Option<u32>,
    /// True for a refusal or withdrawal that was overridden with a recorded reason: it is still no consent, but no
    /// longer counts as an objection.
    pub overridden: bool,
}

/// An objection that is in force. Lifted and overridden objections are not kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Objection {
    /// The purpose objected to.
    pub purpose: PurposeId,
    /// True if the objection was upheld.
    pub upheld: bool,
    /// Rank among this subject's events. `None` if no times are known: the objection then prevails over any
    /// consent.
    pub order: Option<u32>,
}

/// A relation that is in force, bound to one recipient or to none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Relation {
    /// The relation.
    pub relation: RelationId,
    /// The recipient's name.
    pub recipient: Option<Arc<str>>,
}

/// The origins of the subject's data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origins {
    /// The origin of every category that `by_category` does not name.
    pub default: Origin,
    /// Origins of single categories, each including its descendants.
    pub by_category: Vec<(CategoryId, Origin)>,
}

impl Default for Origins {
    fn default() -> Self {
        Origins { default: Origin::OwnStatement, by_category: Vec::new() }
    }
}

/// The state of one data subject.
///
/// `Debug` prints only the type's name, and there is no `Display`: nothing about a person reaches a log.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Consents, refusals and withdrawals.
    pub consents: Vec<Consent>,
    /// Purposes to which the subject consented after the restriction began.
    pub consents_since_restriction: Vec<PurposeId>,
    /// Objections.
    pub objections: Vec<Objection>,
    /// Names of the recipients from which the subject opted out.
    pub opt_outs: Vec<Arc<str>>,
    /// True if processing is restricted (GDPR Art. 18).
    pub restricted: bool,
    /// True if the data were erased (GDPR Art. 17).
    pub erased: bool,
    /// True if the subject is a minor.
    pub minor: bool,
    /// The ISO code of the subject's country. Unreadable: two were stated for the same instant.
    pub country: Extracted<Arc<str>>,
    /// The subject's region. Unreadable: two were stated for the same instant.
    pub region: Extracted<Arc<str>>,
    /// True if country and region were stated for different instants and are not known to agree: the older one may no longer
    /// hold.
    pub is_place_of_two_times: bool,
    /// Relations.
    pub relations: Vec<Relation>,
    /// Recipients for which a relation ended that is bound to none.
    pub ended_relations: Vec<Relation>,
    /// The origin or origins of the data.
    pub origins: Origins,
    /// True if there is explicit consent to transfers to third countries, with evidence.
    pub transfer_consent: bool,
    /// Optional categories that the subject refused.
    pub refused_categories: Vec<CategoryId>,
    /// True if only refusals are known: refusing, or taking a refusal back, does not make a subject known.
    pub only_refusals: bool,
}

impl Subject {
    /// Returns when the next consent expires. Decisions made before then must be made again.
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

/// The treatment of records whose subject the ledger does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownSubject {
    /// Nothing personal of the record leaves.
    #[default]
    Withhold,
    /// The record is judged as that of a person about whom no statement is recorded.
    NoFacts,
}

/// The state of a controller of service data (a customer).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Controller {
    /// Purposes (modules) for which the controller has given an instruction.
    pub instructions: Vec<PurposeId>,
    /// When the controller's account was closed.
    pub closed_since: Option<Timestamp>,
}

/// A fact extracted from a record. An unreadable fact takes the value that discloses less.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Extracted<T> {
    /// The route maps no such fact, or the record does not contain it.
    #[default]
    Absent,
    /// The value.
    Known(T),
    /// The fact is present, but has the wrong type, is out of range or occurs twice.
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

/// Facts extracted from the record itself (`[route.facts]`).
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct RecordFacts {
    /// The person's country.
    pub country: Extracted<Arc<str>>,
    /// The person's region.
    pub region: Extracted<Arc<str>>,
    /// The person's date of birth.
    pub birth_date: Extracted<jiff::civil::Date>,
    /// When the account was closed.
    pub account_closed: Extracted<Timestamp>,
    /// Where the data came from.
    pub origin: Extracted<Origin>,
    /// When the record was created.
    pub created: Extracted<Timestamp>,
}

impl<T> Extracted<T> {
    fn is_unreadable(&self) -> bool {
        matches!(self, Extracted::Unreadable)
    }

    /// Returns the fact, or `Absent` if it is unreadable.
    fn readable(self) -> Extracted<T> {
        if self.is_unreadable() { Extracted::Absent } else { self }
    }
}

impl RecordFacts {
    /// Returns these facts without the unreadable ones, or `None` if all are readable.
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
