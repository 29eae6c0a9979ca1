//! Folds the events of an entity into the state that is in force.
//!
//! Pure: takes events and the purpose tree, returns a state. Invariants: the order in which events arrive does not
//! matter, only their `at`; of two events at the same time, the one that discloses less counts; an additional
//! restrictive event never discloses more.
//!
//! Consent follows the purpose tree: a refusal or withdrawal ends the earlier grants at its purpose and below it; a
//! grant never ends a refusal at a more specific purpose. A refusal stays beside a later grant that
//! has an end or an addressee: it counts again once the grant has expired, and it goes on to end the earlier grants to
//! others for this addressee. The decision compares their order.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::decision::{
    Addressee, Consent, ConsentStatus, Controller, Extracted, Objection, Origins, Relation, Subject,
};
use crate::ledger::event::Event;
use crate::ledger::kinds::{EventEffect, EventKind};
use crate::ledger::payload::{FactPatch, Patch};
use crate::ledger::terms::{TermList, TermLookup};
use crate::vocabulary::{CategoryId, Origin, PurposeId};

/// Folds the events of one data subject.
pub fn subject<'a>(events: impl IntoIterator<Item = &'a Event>, terms: &dyn TermLookup) -> Subject {
    let mut fold = SubjectFold::new(terms);
    let events = in_order(events);
    let mut only_refusals = true;
    for event in events {
        only_refusals &= !event.kind.makes_known();
        fold.apply(event);
    }
    Subject { only_refusals, ..fold.finish() }
}

/// Folds the events of one controller.
pub fn controller<'a>(events: impl IntoIterator<Item = &'a Event>, terms: &dyn TermLookup) -> Controller {
    let mut instructions: Vec<PurposeId> = Vec::new();
    let mut ended: Vec<PurposeId> = Vec::new();
    let mut closed_since = None;
    for event in in_order(events) {
        match &event.kind {
            EventKind::Instruction { purpose } => {
                ended.retain(|end| end != purpose);
                instructions.push(*purpose);
            }
            // Ends the instructions for the purpose and those below it, as a withdrawal does with consents. An instruction
            // for a purpose above it goes on without this one.
            EventKind::InstructionEnded { purpose } => {
                instructions.retain(|instructed| !terms.purpose_within(*instructed, *purpose));
                insert(&mut ended, *purpose);
            }
            // No event reopens an account, so the first closing counts.
            EventKind::AccountClosed => closed_since = closed_since.or(Some(event.at)),
            _ => {}
        }
    }
    let instructions = instructions.into_iter().flat_map(|purpose| without_ended(purpose, &ended, terms));
    Controller { instructions: sorted(instructions.collect()), closed_since }
}

/// Returns the purposes that an instruction covers without those for which it ended. For a declared parent an end at any
/// descendant counts, as a refusal does: the parent is not among them.
fn without_ended(instructed: PurposeId, ended: &[PurposeId], terms: &dyn TermLookup) -> Vec<PurposeId> {
    let within = |inner: PurposeId, outer: PurposeId| terms.purpose_within(inner, outer);
    let below: Vec<PurposeId> = ended.iter().copied().filter(|end| within(*end, instructed)).collect();
    if below.is_empty() {
        return vec![instructed];
    }
    let names = terms.all_terms(TermList::Purposes);
    let remains = |purpose: &PurposeId| {
        within(*purpose, instructed)
            && !below.iter().any(|end| within(*end, *purpose) || within(*purpose, *end))
    };
    let remaining: Vec<PurposeId> =
        names.iter().filter_map(|name| terms.purpose(name)).filter(remains).collect();
    // Each stands for all below it.
    let is_top =
        |purpose: &PurposeId| !remaining.iter().any(|above| above != purpose && within(*purpose, *above));
    remaining.iter().copied().filter(is_top).collect()
}

/// True if a recipient is suspended after these events.
pub(in crate::ledger) fn suspended<'a>(events: impl IntoIterator<Item = &'a Event>) -> bool {
    suspension(events).is_some()
}

/// Returns the event since which a recipient is suspended; `None` if it is not. A repetition changes nothing.
pub(in crate::ledger) fn suspension<'a>(events: impl IntoIterator<Item = &'a Event>) -> Option<&'a Event> {
    in_order(events).into_iter().fold(None, |since, event| match event.kind {
        EventKind::Suspended => since.or(Some(event)),
        EventKind::Resumed => None,
        _ => since,
    })
}

/// True if a person has lifted the last objection that a signal recorded, or has consented after it, and has not
/// objected or refused since (see [`crate::ledger::Ledger::has_overridden_signal`]).
pub(in crate::ledger) fn has_overridden_signal<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    purpose: PurposeId,
    channel: &str,
    now: Timestamp,
    terms: &dyn TermLookup,
) -> bool {
    let touches =
        |other: PurposeId| terms.purpose_within(other, purpose) || terms.purpose_within(purpose, other);
    let (mut signalled, mut overridden) = (false, false);
    for event in in_order(events) {
        match &event.kind {
            EventKind::Objection { purpose: to }
                if *to == purpose && event.provenance.channel.as_deref() == Some(channel) =>
            {
                (signalled, overridden) = (true, false);
            }
            EventKind::ObjectionLifted { purpose } if touches(*purpose) => overridden = signalled,
            EventKind::ConsentGiven { purpose, until, .. }
                if touches(*purpose) && until.is_none_or(|until| now < until) =>
            {
                overridden = signalled;
            }
            EventKind::Objection { purpose }
            | EventKind::ObjectionUpheld { purpose }
            | EventKind::ConsentRefused { purpose, .. }
            | EventKind::ConsentWithdrawn { purpose, .. }
                if touches(*purpose) =>
            {
                overridden = false;
            }
            _ => {}
        }
    }
    overridden
}

/// Sorts events by time. At equal times restrictive events come last, so that they prevail, and a consent with an end
/// comes before one without, which it shortens.
pub(in crate::ledger) fn in_order<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<&'a Event> {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|event| {
        let turn = match event.kind.effect() {
            EventEffect::Mixed => 0,
            EventEffect::Permissive | EventEffect::Neutral => 1,
            EventEffect::Restrictive => 2,
        };
        (event.at, turn)
    });
    events
}

/// A consent with the time of its event. `status` is never `Expired` here.
struct DatedConsent {
    purpose: PurposeId,
    to: Addressee,
    status: ConsentStatus,
    until: Option<Timestamp>,
    at: Timestamp,
    /// See [`Consent::overridden`].
    overridden: bool,
}

struct DatedObjection {
    purpose: PurposeId,
    upheld: bool,
    at: Timestamp,
}

/// A fact with the time from which it counts. Two different values at the same time become the value that discloses the
/// least.
struct DatedFact<T> {
    known: Option<(Timestamp, T)>,
    least: T,
}

impl<T: PartialEq + Clone> DatedFact<T> {
    fn new(least: T) -> DatedFact<T> {
        DatedFact { known: None, least }
    }

    fn set(&mut self, at: Timestamp, value: T) {
        match &mut self.known {
            Some((since, known)) if *since == at => {
                if *known != value {
                    known.clone_from(&self.least);
                }
            }
            known => *known = Some((at, value)),
        }
    }

    fn value(self) -> Option<T> {
        self.known.map(|(_, value)| value)
    }
}

struct SubjectFold<'n> {
    terms: &'n dyn TermLookup,
    consents: Vec<DatedConsent>,
    objections: Vec<DatedObjection>,
    opt_outs: Vec<Arc<str>>,
    restricted: Option<Timestamp>,
    erased: bool,
    refused_categories: Vec<CategoryId>,
    relations: Vec<Relation>,
    /// Ends of relations to one recipient: exceptions from a relation to none.
    ended_relations: Vec<Relation>,
    region: DatedFact<Extracted<Arc<str>>>,
    country: DatedFact<Extracted<Arc<str>>>,
    minor: DatedFact<bool>,
    transfer_consent: DatedFact<bool>,
    origin: DatedFact<Origin>,
    origin_of: BTreeMap<CategoryId, DatedFact<Origin>>,
}

impl<'n> SubjectFold<'n> {
    fn new(terms: &'n dyn TermLookup) -> SubjectFold<'n> {
        SubjectFold {
            terms,
            consents: Vec::new(),
            objections: Vec::new(),
            opt_outs: Vec::new(),
            restricted: None,
            erased: false,
            refused_categories: Vec::new(),
            relations: Vec::new(),
            ended_relations: Vec::new(),
            region: DatedFact::new(Extracted::Unreadable),
            country: DatedFact::new(Extracted::Unreadable),
            minor: DatedFact::new(true),
            transfer_consent: DatedFact::new(false),
            // The origin that permits the least (G-2c).
            origin: DatedFact::new(Origin::Referral),
            origin_of: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        let at = event.at;
        match &event.kind {
            EventKind::ConsentGiven { purpose, to, until } => self.give(*purpose, to, *until, at),
            EventKind::ConsentRefused { purpose, to } => {
                self.refuse(*purpose, to, ConsentStatus::Refused, at);
            }
            EventKind::ConsentWithdrawn { purpose, to } => {
                self.refuse(*purpose, to, ConsentStatus::Withdrawn, at);
            }
            EventKind::Objection { purpose } => self.object(*purpose, false, at),
            EventKind::ObjectionUpheld { purpose } => self.object(*purpose, true, at),
            // A refusal of consent is not an objection, so lifting an objection does not lift the refusal. Only a
            // consent replaces a refusal.
            EventKind::ObjectionLifted { purpose } => self.end_objections(*purpose),
            EventKind::ObjectionOverridden { purpose } => {
                self.end_objections(*purpose);
                self.override_refusals(*purpose);
            }
            EventKind::OptOut { recipient } => insert(&mut self.opt_outs, recipient.clone()),
            EventKind::OptOutLifted { recipient } => self.opt_outs.retain(|out| out != recipient),
            EventKind::Restriction => self.restricted = Some(at),
            EventKind::RestrictionLifted => self.restricted = None,
            EventKind::Erasure => self.erased = true,
            EventKind::CategoryRefused { category } => insert(&mut self.refused_categories, *category),
            EventKind::CategoryAllowed { category } => {
                self.refused_categories.retain(|refused| refused != category);
            }
            EventKind::Relation { relation, recipient } => {
                self.relate(Relation { relation: *relation, recipient: recipient.clone() });
            }
            EventKind::RelationEnded { relation, recipient } => {
                self.end_relation(Relation { relation: *relation, recipient: recipient.clone() });
            }
            EventKind::Fact { facts } | EventKind::Correction { facts } => self.apply_facts(facts, at),
            EventKind::Notice
            | EventKind::LogSecretErased
            | EventKind::RequestReceived { .. }
            | EventKind::RequestAnswered { .. }
            | EventKind::Instruction { .. }
            | EventKind::InstructionEnded { .. }
            | EventKind::AccountClosed
            | EventKind::Suspended
            | EventKind::Resumed
            | EventKind::CaseRegistered { .. }
            | EventKind::CaseApproved { .. }
            | EventKind::CaseEnded => {}
        }
    }

    fn give(&mut self, purpose: PurposeId, to: &Addressee, until: Option<Timestamp>, at: Timestamp) {
        let is_given = |known: &DatedConsent| known.status == ConsentStatus::Given;
        let mut until = until;
        if let Some(known) = self.find_consent(purpose, to, is_given)
            && known.at == at
        {
            // Two consents at the same time: the shorter one counts.
            until = known.until.into_iter().chain(until).min();
        }
        // A refusal towards everybody has removed the consents that it ended, so a consent without an end lifts it for
        // good. After one with an end it counts again. A refusal towards one addressee has not removed the earlier
        // consents to others, so it is kept to end them for this addressee.
        let lifts_refusal = until.is_none() && *to == Addressee::Anyone;
        let (to, status) = (to.clone(), ConsentStatus::Given);
        let said = DatedConsent { purpose, to, status, until, at, overridden: false };
        self.put_consent(said, |known| lifts_refusal || is_given(known));
    }

    fn refuse(&mut self, purpose: PurposeId, to: &Addressee, status: ConsentStatus, at: Timestamp) {
        let terms = self.terms;
        self.consents.retain(|known| {
            let ended = known.status == ConsentStatus::Given
                && terms.purpose_within(known.purpose, purpose)
                && covers(to, &known.to, terms);
            !ended
        });
        let is_withdrawal = |known: &DatedConsent| known.status == ConsentStatus::Withdrawn;
        let mut status = status;
        if let Some(known) = self.find_consent(purpose, to, is_withdrawal)
            && known.at == at
        {
            status = ConsentStatus::Withdrawn;
        }
        let said = DatedConsent { purpose, to: to.clone(), status, until: None, at, overridden: false };
        self.put_consent(said, |_| true);
    }

    fn find_consent(
        &self,
        purpose: PurposeId,
        to: &Addressee,
        is_sought: impl Fn(&DatedConsent) -> bool,
    ) -> Option<&DatedConsent> {
        let mut consents = self.consents.iter();
        consents.find(|known| known.purpose == purpose && known.to == *to && is_sought(known))
    }

    /// Adds a statement in place of those about the same purpose and addressee that it replaces.
    fn put_consent(&mut self, said: DatedConsent, replaces: impl Fn(&DatedConsent) -> bool) {
        self.consents
            .retain(|known| known.purpose != said.purpose || known.to != said.to || !replaces(known));
        self.consents.push(said);
    }

    fn object(&mut self, purpose: PurposeId, upheld: bool, at: Timestamp) {
        match self.objections.iter_mut().find(|known| known.purpose == purpose) {
            // An objection that was upheld stays upheld when it is repeated.
            Some(known) => (known.upheld, known.at) = (known.upheld || upheld, at),
            None => self.objections.push(DatedObjection { purpose, upheld, at }),
        }
    }

    fn end_objections(&mut self, purpose: PurposeId) {
        self.objections.retain(|objection| objection.purpose != purpose);
    }

    /// Marks the refusals so far as overridden. A later refusal counts again.
    fn override_refusals(&mut self, purpose: PurposeId) {
        let refusals = self.consents.iter_mut().filter(|said| said.status != ConsentStatus::Given);
        refusals.filter(|said| said.purpose == purpose).for_each(|said| said.overridden = true);
    }

    /// Adds a relation. Only one to the same recipient takes back the end of a relation to this recipient.
    fn relate(&mut self, relation: Relation) {
        self.ended_relations.retain(|ended| *ended != relation);
        insert(&mut self.relations, relation);
    }

    fn end_relation(&mut self, ended: Relation) {
        self.relations.retain(|known| {
            known.relation != ended.relation
                || (ended.recipient.is_some() && known.recipient != ended.recipient)
        });
        if ended.recipient.is_some() {
            insert(&mut self.ended_relations, ended);
        }
    }

    fn apply_facts(&mut self, facts: &FactPatch, at: Timestamp) {
        let FactPatch { region, country, minor, transfer_consent, origin, origin_of } = facts;
        apply_place(&mut self.region, region, at);
        apply_place(&mut self.country, country, at);
        if let Some(minor) = minor {
            self.minor.set(at, *minor);
        }
        if let Some(consent) = transfer_consent {
            self.transfer_consent.set(at, *consent);
        }
        if let Some(origin) = origin {
            self.origin.set(at, *origin);
        }
        for (category, origin) in origin_of {
            self.origin_of
                .entry(*category)
                .or_insert_with(|| DatedFact::new(Origin::Referral))
                .set(at, *origin);
        }
    }

    fn finish(self) -> Subject {
        let consents_since_restriction = self.since_restriction();
        let is_place_of_two_times = self.is_place_of_two_times();
        let ranks = Ranks::of(&self.consents, &self.objections);
        let mut consents: Vec<_> = self
            .consents
            .into_iter()
            .map(|said| Consent {
                order: Some(ranks.rank(said.at, said.status != ConsentStatus::Given)),
                purpose: said.purpose,
                to: said.to,
                status: said.status,
                until: said.until,
                overridden: said.overridden,
            })
            .collect();
        consents.sort_by_cached_key(|consent| (consent.purpose, addressee_key(&consent.to)));
        let mut objections: Vec<_> = self
            .objections
            .into_iter()
            .map(|objected| Objection {
                purpose: objected.purpose,
                upheld: objected.upheld,
                order: Some(ranks.rank(objected.at, true)),
            })
            .collect();
        objections.sort_by_key(|objection| objection.purpose);
        let by_recipient =
            |a: &Relation, b: &Relation| (a.relation, &a.recipient).cmp(&(b.relation, &b.recipient));
        let mut relations = self.relations;
        relations.sort_by(by_recipient);
        let mut ended_relations = self.ended_relations;
        ended_relations.sort_by(by_recipient);
        // Without a relation to no recipient there is nothing to except from.
        ended_relations.retain(|ended| {
            relations.iter().any(|known| known.relation == ended.relation && known.recipient.is_none())
        });
        Subject {
            consents,
            consents_since_restriction,
            objections,
            opt_outs: sorted(self.opt_outs),
            restricted: self.restricted.is_some(),
            erased: self.erased,
            minor: self.minor.value().unwrap_or(false),
            is_place_of_two_times,
            country: self.country.value().unwrap_or_default(),
            region: self.region.value().unwrap_or_default(),
            relations,
            ended_relations,
            origins: origins(self.origin, self.origin_of),
            transfer_consent: self.transfer_consent.value().unwrap_or(false),
            refused_categories: sorted(self.refused_categories),
            only_refusals: false,
        }
    }

    /// See [`Subject::is_place_of_two_times`].
    fn is_place_of_two_times(&self) -> bool {
        match (&self.country.known, &self.region.known) {
            (Some((of_country, Extracted::Known(country))), Some((of_region, Extracted::Known(region)))) => {
                of_country != of_region && self.terms.region(country).as_ref() != Some(region)
            }
            _ => false,
        }
    }

    /// Returns the purposes that the person consented to after processing was restricted (G-6.8d). The list can express
    /// neither an addressee nor an end, so it contains only purposes of consents that are given to anyone and do not
    /// end.
    fn since_restriction(&self) -> Vec<PurposeId> {
        let Some(restricted) = self.restricted else { return Vec::new() };
        let open = self.consents.iter().filter(|said| {
            said.status == ConsentStatus::Given
                && said.at > restricted
                && said.to == Addressee::Anyone
                && said.until.is_none()
        });
        sorted(open.map(|said| said.purpose).collect())
    }
}

/// True if a refusal towards `refused` ends a grant towards `granted`. A refusal towards a recipient kind does not end
/// a grant to a recipient by name, whose kind is not known here. The decision knows the kind and compares the order of
/// the two.
fn covers(refused: &Addressee, granted: &Addressee, terms: &dyn TermLookup) -> bool {
    match (refused, granted) {
        (Addressee::Anyone, _) => true,
        (Addressee::Kind(refused), Addressee::Kind(granted)) => terms.kind_within(*granted, *refused),
        (Addressee::Recipient(refused), Addressee::Recipient(granted)) => refused == granted,
        (Addressee::Kind(_), Addressee::Anyone | Addressee::Recipient(_))
        | (Addressee::Recipient(_), Addressee::Anyone | Addressee::Kind(_)) => false,
    }
}

fn apply_place(fact: &mut DatedFact<Extracted<Arc<str>>>, said: &Patch<Arc<str>>, at: Timestamp) {
    match said {
        Patch::Unchanged => {}
        Patch::Unknown => fact.set(at, Extracted::Absent),
        Patch::Known(place) => fact.set(at, Extracted::Known(place.clone())),
        Patch::Undecided => fact.set(at, Extracted::Unreadable),
    }
}

fn origins(all: DatedFact<Origin>, of: BTreeMap<CategoryId, DatedFact<Origin>>) -> Origins {
    let mut exact = Vec::new();
    for (category, fact) in of {
        let Some((at, origin)) = fact.known else { continue };
        match &all.known {
            // A later origin of all data replaces the origin of the category.
            Some((since, _)) if *since > at => {}
            Some((since, general)) if *since == at && *general != origin => {
                exact.push((category, Origin::Referral));
            }
            _ => exact.push((category, origin)),
        }
    }
    let all = all.value().unwrap_or(Origins::default().default);
    // An entry that equals the general origin still counts beside one of an ancestor. Without any other it says nothing.
    if exact.iter().all(|(_, origin)| *origin == all) {
        exact.clear();
    }
    Origins { default: all, by_category: exact }
}

/// The order of grants and refusals without their times. Consecutive events of the same direction share a rank, because
/// only the order of a grant and a refusal matters. People with the same decisions then have equal [`Subject`]s, and
/// share one state in the index, whatever the times of their events.
struct Ranks(Vec<(Timestamp, bool, u32)>);

impl Ranks {
    fn of(consents: &[DatedConsent], objections: &[DatedObjection]) -> Ranks {
        let mut moments: Vec<_> = consents
            .iter()
            .map(|said| (said.at, said.status != ConsentStatus::Given))
            .chain(objections.iter().map(|objected| (objected.at, true)))
            .collect();
        moments.sort_unstable();
        moments.dedup();
        let mut rank = 0;
        let mut before = None;
        let ranked = moments.into_iter().map(|(at, withholds)| {
            rank += u32::from(before.is_some_and(|before| before != withholds));
            before = Some(withholds);
            (at, withholds, rank)
        });
        Ranks(ranked.collect())
    }

    fn rank(&self, at: Timestamp, withholds: bool) -> u32 {
        let found = self.0.binary_search_by_key(&(at, withholds), |(at, withholds, _)| (*at, *withholds));
        found.ok().and_then(|at| self.0.get(at)).map_or(0, |(_, _, rank)| *rank)
    }
}

fn addressee_key(to: &Addressee) -> (u8, u16, Option<Arc<str>>) {
    match to {
        Addressee::Anyone => (0, 0, None),
        Addressee::Kind(kind) => (1, kind.0, None),
        Addressee::Recipient(name) => (2, 0, Some(name.clone())),
    }
}

fn insert<T: PartialEq>(list: &mut Vec<T>, value: T) {
    if !list.contains(&value) {
        list.push(value);
    }
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

#[cfg(test)]
mod tests;
