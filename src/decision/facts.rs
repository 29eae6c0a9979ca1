//! Derives the facts that rules compare from what is known about a person, a record and a request.
//!
//! Invariant: a fact that cannot be determined, or on which two sources disagree, takes the value that discloses
//! less.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use smallvec::SmallVec;

use super::admission::{AdmissionRequest, LegalReference, RecipientFacts, needs_case};
use super::consent::EffectiveConsent;
use super::subject::{Controller, Extracted, RecordFacts, Relation, Subject};
use crate::policy::{AccountFact, Fact, FactSet, Facts, Pack, retention_period};
use crate::vocabulary::region::{is_in_eea, may_overlap_eea};
use crate::vocabulary::{CategoryId, EEA, Operation, Origin, PurposeId, Regions, RelationId, Vocabulary};

/// How the recipient relates to the person that the record is about. The identity is the authenticated one, never a
/// parameter of the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relationship {
    /// True if the recipient is the person.
    pub subject_is_recipient: bool,
    /// True if the recipient is the controller of the record's account.
    pub controller_is_recipient: bool,
    /// True if the case of [`AdmissionRequest::legal_reference`] names this person and is in force.
    pub named_in_case: bool,
}

/// The facts that can differ by category.
pub(super) const PER_CATEGORY: [Fact; 4] =
    [Fact::Origin, Fact::Refused, Fact::PastRetention, Fact::LegalReference];

/// The categories whose facts differ from those of the record as a whole.
pub(super) type Overrides = SmallVec<[(CategoryId, Facts); 4]>;

/// The facts that stay the same during one exchange.
#[derive(Clone, Debug)]
pub(super) struct RequestFacts {
    pub(super) recipient: Arc<RecipientFacts>,
    pub(super) purpose: PurposeId,
    pub(super) region: Option<Arc<str>>,
    pub(super) exporter_in_eea: bool,
    pub(super) legal_reference: LegalReference,
    /// True if personal data may leave only under a case.
    needs_case: bool,
    /// Retention periods that replace the pack's.
    retention: Option<RetentionPeriods>,
    facts: Facts,
}

/// Retention periods by category.
pub(super) type RetentionPeriods = Arc<[(CategoryId, SignedDuration)]>;

/// Everything on which the decision about one record may depend.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordContext<'a> {
    pub(super) subject: &'a Subject,
    pub(super) controller: &'a Controller,
    pub(super) record: &'a RecordFacts,
    pub(super) relationship: Relationship,
    pub(super) now: Timestamp,
}

impl RequestFacts {
    pub(super) fn new(pack: &Pack, request: &AdmissionRequest) -> RequestFacts {
        let recipient = Arc::clone(&request.recipient);
        let region = recipient.region(pack.vocabulary().regions());
        let facts = Facts::default()
            .with_operation(Operation::Disclose)
            .with_safeguard(recipient.safeguard)
            // A person whose location is unknown may be in the EEA.
            .with_flag(Fact::LeavesEea, region.as_deref() != Some(EEA))
            .with_flag(Fact::Backup, request.upstream_backup);
        let exporter_in_eea = may_overlap_eea(&request.exporter_region);
        RequestFacts {
            recipient,
            purpose: request.purpose,
            region,
            exporter_in_eea,
            legal_reference: request.legal_reference.clone(),
            needs_case: needs_case(pack.vocabulary(), request.recipient.kind, request.purpose),
            retention: None,
            facts,
        }
    }

    /// Returns the facts with other retention periods than the pack's.
    pub(super) fn with_retention(self, retention: RetentionPeriods) -> RequestFacts {
        RequestFacts { retention: Some(retention), ..self }
    }

    pub(super) fn retention<'a>(&'a self, pack: &'a Pack) -> &'a [(CategoryId, SignedDuration)] {
        self.retention.as_deref().unwrap_or(&pack.manifest().retention)
    }

    /// Returns the facts of the request alone, for data without a subject. A case names people, so it does
    /// not apply.
    pub(super) fn request_facts(&self) -> Facts {
        self.facts
    }

    /// True if this recipient needs a case for a category and the cited case does not cover it.
    pub(super) fn is_outside_case(&self, vocabulary: &Vocabulary, category: CategoryId) -> bool {
        self.needs_case
            && !self.legal_reference.covers(vocabulary, category)
            && vocabulary.governs_operations(category)
    }

    fn has_case(&self, relationship: Relationship) -> bool {
        relationship.named_in_case && self.legal_reference != LegalReference::None
    }

    /// Returns the facts in `mask` about one record.
    pub(super) fn record_facts(&self, pack: &Pack, mask: FactSet, about: &RecordContext<'_>) -> Facts {
        let RecordContext { subject, controller, record, relationship, now } = *about;
        let vocabulary = pack.vocabulary();
        let purpose = self.purpose;
        let recipient = &self.recipient;
        let standing =
            EffectiveConsent { vocabulary, subject, recipient: &recipient.name, kind: recipient.kind, now };
        let mut facts = self
            .facts
            .with_flag(Fact::Restricted, subject.restricted)
            .with_flag(Fact::Erased, subject.erased)
            .with_flag(Fact::TransferConsent, subject.transfer_consent)
            .with_flag(Fact::OptedOut, subject.opt_outs.contains(&recipient.name))
            .with_flag(Fact::Minor, is_minor(pack, subject, record, now))
            .with_flag(Fact::OwnData, relationship.subject_is_recipient)
            .with_flag(Fact::OwnAccount, relationship.controller_is_recipient)
            .with_flag(Fact::LegalReference, self.has_case(relationship))
            .with_origin(subject.origins.default);
        if mask.contains(Fact::Consent) {
            facts = facts.with_consent(standing.consent(purpose));
        }
        let says_no = !(subject.objections.is_empty() && subject.consents.is_empty());
        if mask.contains(Fact::Objection) && says_no {
            facts = facts.with_objection(standing.objection(purpose));
        }
        if mask.contains(Fact::ConsentedSinceRestriction) && !subject.consents_since_restriction.is_empty() {
            let since = standing.consented_since_restriction(purpose);
            facts = facts.with_flag(Fact::ConsentedSinceRestriction, since);
        }
        if mask.contains(Fact::Instructed) {
            let mut instructions = controller.instructions.iter();
            let instructed = instructions.any(|&module| vocabulary.purposes().within(purpose, module));
            facts = facts.with_flag(Fact::Instructed, instructed);
        }
        if mask.contains(Fact::Account) {
            facts = facts.with_account(account_state(pack, controller, record, now));
        }
        if mask.contains(Fact::LeavesEea) || mask.contains(Fact::SameRegion) {
            let whereabouts = SubjectLocation::of(subject, record, vocabulary.regions());
            let in_eea = self.region.as_deref() == Some(EEA);
            facts = facts
                .with_flag(Fact::LeavesEea, !in_eea && (self.exporter_in_eea || whereabouts.may_be_in_eea()))
                .with_flag(Fact::SameRegion, whereabouts.is_in(self.region.as_deref()));
        }
        for bound in &subject.relations {
            let holds = match &bound.recipient {
                Some(name) => *name == recipient.name,
                None => {
                    let is_ended = |ended: &Relation| {
                        ended.relation == bound.relation && ended.recipient.as_ref() == Some(&recipient.name)
                    };
                    !vocabulary.is_bound_only(bound.relation) && !subject.ended_relations.iter().any(is_ended)
                }
            };
            if holds {
                facts = facts.with_flag(Fact::Relation(RelationId(bound.relation.0)), true);
            }
        }
        facts
    }

    /// Returns the facts in `mask` that differ by category, for these categories.
    pub(super) fn category_overrides(
        &self,
        pack: &Pack,
        mask: FactSet,
        about: &RecordContext<'_>,
        categories: &[CategoryId],
    ) -> Overrides {
        let RecordContext { subject, record, relationship, now, .. } = *about;
        let mut overrides = Overrides::new();
        let origins = mask.contains(Fact::Origin)
            && (!subject.origins.by_category.is_empty() || record.origin != Extracted::Absent);
        let refusals = mask.contains(Fact::Refused) && !subject.refused_categories.is_empty();
        let ages = mask.contains(Fact::PastRetention)
            && record.created != Extracted::Absent
            && !self.retention(pack).is_empty();
        let case = mask.contains(Fact::LegalReference) && self.has_case(relationship);
        let narrow_case = case && self.legal_reference != LegalReference::Everything;
        if !(origins || refusals || ages || narrow_case) {
            return overrides;
        }
        let vocabulary = pack.vocabulary();
        let tree = vocabulary.categories();
        let record_facts =
            Facts::default().with_origin(subject.origins.default).with_flag(Fact::LegalReference, case);
        for &category in categories {
            let mut facts = record_facts;
            if origins {
                facts = facts.with_origin(origin(pack, subject, record, category));
            }
            if refusals {
                // A field of a parent category may hold the refused data.
                let mut refused = subject.refused_categories.iter();
                facts = facts
                    .with_flag(Fact::Refused, refused.any(|&refused| tree.on_same_branch(category, refused)));
            }
            if ages {
                let past = is_past_retention(self.retention(pack), vocabulary, record, category, now);
                facts = facts.with_flag(Fact::PastRetention, past);
            }
            if narrow_case {
                let covered = self.legal_reference.covers(vocabulary, category);
                facts = facts.with_flag(Fact::LegalReference, covered);
            }
            if facts != record_facts {
                overrides.push((category, facts));
            }
        }
        overrides
    }
}

/// The location of a person according to every source that states one.
#[derive(Debug)]
struct SubjectLocation(SmallVec<[StatedLocation; 2]>);

/// The location that one source states.
#[derive(Debug)]
struct StatedLocation {
    may_be_in_eea: bool,
    /// `None` if it could not be read; it then equals no region.
    region: Option<Arc<str>>,
}

impl StatedLocation {
    /// An unknown location may be in the EEA.
    const UNKNOWN: StatedLocation = StatedLocation { may_be_in_eea: true, region: None };

    fn of(country: Extracted<&str>, region: Extracted<&str>, regions: &Regions) -> Option<StatedLocation> {
        let by_label = |label: &str| StatedLocation {
            may_be_in_eea: may_overlap_eea(label),
            region: Some(label.into()),
        };
        Some(match (country, region) {
            (Extracted::Absent, Extracted::Absent) => return None,
            (Extracted::Unreadable, _) | (_, Extracted::Unreadable) => StatedLocation::UNKNOWN,
            (Extracted::Known(country), Extracted::Known(label)) if regions.contradict(country, label) => {
                StatedLocation::UNKNOWN
            }
            (_, Extracted::Known(label)) => by_label(label),
            (Extracted::Known(country), Extracted::Absent) => match regions.of_country(country) {
                Some(region) => StatedLocation { may_be_in_eea: is_in_eea(country), region: Some(region) },
                None => StatedLocation::UNKNOWN,
            },
        })
    }
}

impl SubjectLocation {
    fn of(subject: &Subject, record: &RecordFacts, regions: &Regions) -> SubjectLocation {
        let by_ledger = if subject.is_place_of_two_times && !agree(&subject.country, &subject.region, regions)
        {
            Some(StatedLocation::UNKNOWN)
        } else {
            StatedLocation::of(subject.country.as_deref(), subject.region.as_deref(), regions)
        };
        let by_record = StatedLocation::of(record.country.as_deref(), record.region.as_deref(), regions);
        let mut places: SmallVec<[StatedLocation; 2]> = by_ledger.into_iter().chain(by_record).collect();
        if places.is_empty() {
            places.push(StatedLocation::UNKNOWN);
        }
        SubjectLocation(places)
    }

    fn may_be_in_eea(&self) -> bool {
        self.0.iter().any(|place| place.may_be_in_eea)
    }

    /// True if every source states this region.
    fn is_in(&self, region: Option<&str>) -> bool {
        region.is_some() && self.0.iter().all(|place| place.region.as_deref() == region)
    }
}

/// True if a source states no place that can be relied on, or none states one.
pub(super) fn is_place_unknown(subject: &Subject, record: &RecordFacts, regions: &Regions) -> bool {
    SubjectLocation::of(subject, record, regions).0.iter().any(|place| place.region.is_none())
}

/// True unless a country and a region are known and the region is not the country's.
fn agree(country: &Extracted<Arc<str>>, region: &Extracted<Arc<str>>, regions: &Regions) -> bool {
    match (country, region) {
        (Extracted::Known(country), Extracted::Known(label)) => {
            regions.of_country(country).as_ref() == Some(label)
        }
        _ => true,
    }
}

/// True if the person is a minor according to the ledger, or according to a birth date in the record and the pack's
/// age, on the date that has been reached everywhere on Earth.
fn is_minor(pack: &Pack, subject: &Subject, record: &RecordFacts, now: Timestamp) -> bool {
    let by_record = match record.birth_date {
        Extracted::Absent => false,
        Extracted::Unreadable => true,
        Extracted::Known(born) => is_under_age(born, pack.manifest().of_age, now),
    };
    subject.minor || by_record
}

fn is_under_age(born: Date, of_age: u8, now: Timestamp) -> bool {
    // The last place on Earth to reach a date is twelve hours behind UTC.
    let today = now.to_zoned(TimeZone::fixed(Offset::constant(-12))).date();
    (today.year() - i16::from(of_age), today.month(), today.day()) < (born.year(), born.month(), born.day())
}

/// The kinds of data that the upstream should no longer hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OverdueData {
    /// True if the person is a minor (G-ch).
    pub minor: bool,
    /// True if the account has been closed for longer than the pack's second period (G-4b).
    pub closed_account: bool,
    /// True if data of some category are older than its retention period (P-8, G-3f).
    pub retention: bool,
}

impl OverdueData {
    /// Merges the overdue data of another person of the same record.
    pub fn merge(&mut self, other: OverdueData) {
        let OverdueData { minor, closed_account, retention } = other;
        self.minor |= minor;
        self.closed_account |= closed_account;
        self.retention |= retention;
    }

    pub(super) fn of(
        pack: &Pack,
        request_facts: &RequestFacts,
        subject: &Subject,
        controller: &Controller,
        record: &RecordFacts,
        categories: &[CategoryId],
        now: Timestamp,
    ) -> OverdueData {
        let (periods, vocabulary) = (request_facts.retention(pack), pack.vocabulary());
        let dated = record.created != Extracted::Absent && !periods.is_empty();
        let is_past = |&category: &CategoryId| is_past_retention(periods, vocabulary, record, category, now);
        OverdueData {
            minor: is_minor(pack, subject, record, now),
            closed_account: is_purge_overdue(pack, controller, record, now),
            retention: dated && categories.iter().any(is_past),
        }
    }
}

/// Returns the state of the controller's account. If the ledger and the record disagree, the longer time since the
/// closing counts. A closing date that cannot be read counts as longer ago than every period.
fn account_state(pack: &Pack, controller: &Controller, record: &RecordFacts, now: Timestamp) -> AccountFact {
    let after = &pack.manifest().account_closed_after;
    let closed = |closed: Timestamp| account_state_after(now.duration_since(closed), after);
    // An account that somebody reported as closed is closed, even if a fast clock dated the report ahead of ours.
    let by_ledger =
        controller.closed_since.map_or(AccountFact::Open, |at| closed(at).max(AccountFact::Closed));
    let by_record = match record.account_closed {
        Extracted::Absent => AccountFact::Open,
        Extracted::Known(at) => closed(at),
        Extracted::Unreadable => account_state_after(SignedDuration::MAX, after),
    };
    by_ledger.max(by_record)
}

/// Returns the state of an account that has been closed for this time, under the pack's periods.
fn account_state_after(duration: SignedDuration, after: &[SignedDuration]) -> AccountFact {
    if duration < SignedDuration::ZERO {
        return AccountFact::Open;
    }
    match after.iter().filter(|&&period| duration > period).count() {
        0 => AccountFact::Closed,
        1 => AccountFact::PurgeDue,
        _ => AccountFact::PurgeOverdue,
    }
}

/// True if an account is known to have been closed for longer than the pack's second period. An unreadable date is no
/// reason for an alarm.
fn is_purge_overdue(pack: &Pack, controller: &Controller, record: &RecordFacts, now: Timestamp) -> bool {
    let after = &pack.manifest().account_closed_after;
    let overdue = |closed: Timestamp| {
        account_state_after(now.duration_since(closed), after) == AccountFact::PurgeOverdue
    };
    controller.closed_since.is_some_and(overdue)
        || matches!(record.account_closed, Extracted::Known(closed) if overdue(closed))
}

/// Returns the origin of one category. If several origins are possible, returns the one that permits least.
fn origin(pack: &Pack, subject: &Subject, record: &RecordFacts, category: CategoryId) -> Origin {
    let tree = pack.vocabulary().categories();
    let named = subject.origins.by_category.iter();
    let mut named: SmallVec<[(CategoryId, Origin); 4]> =
        named.filter(|(of, _)| tree.on_same_branch(*of, category)).copied().collect();
    // A statement for the category itself, or for an ancestor, replaces the general origin.
    let is_said = named.iter().any(|(of, _)| tree.within(category, *of));
    if !is_said {
        named.push((category, subject.origins.default));
    }
    let by_record = match record.origin {
        Extracted::Absent => None,
        Extracted::Known(origin) => Some(origin),
        Extracted::Unreadable => Some(Origin::Referral),
    };
    let all = named.into_iter().map(|(_, origin)| origin).chain(by_record);
    all.max_by_key(|origin| restrictiveness(*origin)).unwrap_or(Origin::Referral)
}

/// Ranks origins by how much they restrict the use of data: data from a referral may be used only to answer one
/// request (G-2c).
const fn restrictiveness(origin: Origin) -> u8 {
    match origin {
        Origin::Referral => 2,
        Origin::ResellingPartner | Origin::FederatedSignIn => 1,
        Origin::OwnStatement
        | Origin::Automatic
        | Origin::Event
        | Origin::Social
        | Origin::Published
        | Origin::Customer => 0,
    }
}

fn is_past_retention(
    periods: &[(CategoryId, SignedDuration)],
    vocabulary: &Vocabulary,
    record: &RecordFacts,
    category: CategoryId,
    now: Timestamp,
) -> bool {
    let Some(period) = retention_period(periods, vocabulary, category) else { return false };
    match record.created {
        Extracted::Absent => false,
        Extracted::Unreadable => true,
        // A date in the future is not plausible.
        Extracted::Known(created) => {
            let age = now.duration_since(created);
            age > period || age < -SignedDuration::from_hours(24)
        }
    }
}

#[cfg(test)]
mod tests;
