//! What is in force, folded from what happened.
//!
//! Pure: events and the purpose tree in, state out. Invariants: the order in which events arrive
//! does not matter, only their `at`; at equal times the one that discloses less counts; one more
//! restrictive event never discloses more.
//!
//! The rules are those of consent along the purpose tree: a refusal or withdrawal ends the earlier
//! grants at its purpose and below; a grant never ends a refusal at a more specific purpose.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::event::{Event, Facts, Said};
use super::kinds::{Effect, What};
use super::names::Names;
use crate::decision::{Addressee, Consent, ConsentStatus, Controller, Objection, Origins, Relation, Subject};
use crate::vocabulary::{CategoryId, Origin, PurposeId};

/// Folds the events of one data subject.
pub fn subject<'a>(events: impl IntoIterator<Item = &'a Event>, names: &dyn Names) -> Subject {
    let mut fold = Fold::new(names);
    let events = in_order(events);
    let mut only_refusals = true;
    for event in events {
        only_refusals &= !event.what.makes_known();
        fold.apply(event);
    }
    Subject { only_refusals, ..fold.finish() }
}

/// Folds the events of one controller.
pub fn controller<'a>(events: impl IntoIterator<Item = &'a Event>, names: &dyn Names) -> Controller {
    let mut instructions: Vec<PurposeId> = Vec::new();
    let mut closed_since = None;
    for event in in_order(events) {
        match &event.what {
            What::Instruction { purpose } => instructions.push(*purpose),
            // As a withdrawal does: at the purpose and below.
            What::InstructionEnded { purpose } => {
                instructions.retain(|instructed| !names.purpose_within(*instructed, *purpose));
            }
            // Nothing opens an account again, so the first closing counts: closed the longest.
            What::AccountClosed => closed_since = closed_since.or(Some(event.at)),
            _ => {}
        }
    }
    instructions.sort_unstable();
    instructions.dedup();
    Controller { instructions, closed_since }
}

/// Whether a recipient is suspended after these events.
pub(super) fn suspended<'a>(events: impl IntoIterator<Item = &'a Event>) -> bool {
    in_order(events).into_iter().fold(false, |suspended, event| match event.what {
        What::Suspended => true,
        What::Resumed => false,
        _ => suspended,
    })
}

/// Whether a person has chosen otherwise since a signal last objected for them (see
/// [`super::Ledger::has_overridden_signal`]).
pub(super) fn has_overridden_signal<'a>(
    events: impl IntoIterator<Item = &'a Event>,
    purpose: PurposeId,
    channel: &str,
    now: Timestamp,
    names: &dyn Names,
) -> bool {
    let touches =
        |other: PurposeId| names.purpose_within(other, purpose) || names.purpose_within(purpose, other);
    let (mut signalled, mut overridden) = (false, false);
    for event in in_order(events) {
        match &event.what {
            What::Objection { purpose: to }
                if *to == purpose && event.attached.channel.as_deref() == Some(channel) =>
            {
                (signalled, overridden) = (true, false);
            }
            What::ObjectionLifted { purpose } if touches(*purpose) => overridden = signalled,
            What::ConsentGiven { purpose, until, .. }
                if touches(*purpose) && until.is_none_or(|until| now < until) =>
            {
                overridden = signalled;
            }
            What::Objection { purpose }
            | What::ObjectionUpheld { purpose }
            | What::ConsentRefused { purpose, .. }
            | What::ConsentWithdrawn { purpose, .. }
                if touches(*purpose) =>
            {
                overridden = false;
            }
            _ => {}
        }
    }
    overridden
}

/// By time; at equal times what grants comes first, so that what withholds has the last word.
pub(super) fn in_order<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<&'a Event> {
    let mut events: Vec<_> = events.into_iter().collect();
    events.sort_by_key(|event| (event.at, event.what.effect() == Effect::Restrictive));
    events
}

/// A consent with the time it was said; `status` is never `Expired` here.
struct Spoken {
    purpose: PurposeId,
    to: Addressee,
    status: ConsentStatus,
    until: Option<Timestamp>,
    at: Timestamp,
    /// See [`Consent::overridden`].
    overridden: bool,
}

struct Objected {
    purpose: PurposeId,
    upheld: bool,
    at: Timestamp,
}

/// A fact and since when it holds; two values at one time make the one that discloses less.
struct Fact<T> {
    known: Option<(Timestamp, T)>,
    least: T,
}

impl<T: PartialEq + Clone> Fact<T> {
    fn new(least: T) -> Fact<T> {
        Fact { known: None, least }
    }

    fn say(&mut self, at: Timestamp, value: T) {
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

struct Fold<'n> {
    names: &'n dyn Names,
    consents: Vec<Spoken>,
    objections: Vec<Objected>,
    opt_outs: Vec<Arc<str>>,
    restricted: Option<Timestamp>,
    erased: bool,
    refused_categories: Vec<CategoryId>,
    relations: Vec<Relation>,
    region: Fact<Option<Arc<str>>>,
    country: Fact<Option<Arc<str>>>,
    minor: Fact<bool>,
    transfer_consent: Fact<bool>,
    origin: Fact<Origin>,
    origin_of: BTreeMap<CategoryId, Fact<Origin>>,
}

impl<'n> Fold<'n> {
    fn new(names: &'n dyn Names) -> Fold<'n> {
        Fold {
            names,
            consents: Vec::new(),
            objections: Vec::new(),
            opt_outs: Vec::new(),
            restricted: None,
            erased: false,
            refused_categories: Vec::new(),
            relations: Vec::new(),
            region: Fact::new(None),
            country: Fact::new(None),
            minor: Fact::new(true),
            transfer_consent: Fact::new(false),
            // Of all origins the one that allows least (G-2c).
            origin: Fact::new(Origin::Referral),
            origin_of: BTreeMap::new(),
        }
    }

    fn apply(&mut self, event: &Event) {
        let at = event.at;
        match &event.what {
            What::ConsentGiven { purpose, to, until } => self.give(*purpose, to, *until, at),
            What::ConsentRefused { purpose, to } => self.refuse(*purpose, to, ConsentStatus::Refused, at),
            What::ConsentWithdrawn { purpose, to } => self.refuse(*purpose, to, ConsentStatus::Withdrawn, at),
            What::Objection { purpose } => self.object(*purpose, false, at),
            What::ObjectionUpheld { purpose } => self.object(*purpose, true, at),
            // A refusal is no objection that could be taken back: only a consent takes its place.
            What::ObjectionLifted { purpose } => self.end_objections(*purpose),
            What::ObjectionOverridden { purpose } => {
                self.end_objections(*purpose);
                self.override_refusals(*purpose);
            }
            What::OptOut { recipient } => insert(&mut self.opt_outs, recipient.clone()),
            What::OptOutLifted { recipient } => self.opt_outs.retain(|out| out != recipient),
            What::Restriction => self.restricted = Some(at),
            What::RestrictionLifted => self.restricted = None,
            What::Erasure => self.erased = true,
            What::CategoryRefused { category } => insert(&mut self.refused_categories, *category),
            What::CategoryAllowed { category } => {
                self.refused_categories.retain(|refused| refused != category)
            }
            What::Relation { relation, recipient } => {
                insert(&mut self.relations, Relation { relation: *relation, recipient: recipient.clone() });
            }
            What::RelationEnded { relation, recipient } => self.relations.retain(|known| {
                known.relation != *relation || (recipient.is_some() && known.recipient != *recipient)
            }),
            What::Fact { facts } | What::Correction { facts } => self.learn(facts, at),
            What::Notice
            | What::RequestReceived { .. }
            | What::RequestAnswered { .. }
            | What::Instruction { .. }
            | What::InstructionEnded { .. }
            | What::AccountClosed
            | What::Suspended
            | What::Resumed
            | What::CaseRegistered { .. }
            | What::CaseApproved { .. }
            | What::CaseEnded => {}
        }
    }

    fn give(&mut self, purpose: PurposeId, to: &Addressee, until: Option<Timestamp>, at: Timestamp) {
        let mut until = until;
        if let Some(known) = self.known_consent(purpose, to)
            && known.at == at
            && known.status == ConsentStatus::Given
        {
            // Given twice at one time: the shorter one counts.
            until = known.until.into_iter().chain(until).min();
        }
        let (to, status) = (to.clone(), ConsentStatus::Given);
        self.put_consent(Spoken { purpose, to, status, until, at, overridden: false });
    }

    fn refuse(&mut self, purpose: PurposeId, to: &Addressee, status: ConsentStatus, at: Timestamp) {
        let names = self.names;
        self.consents.retain(|known| {
            let ended = known.status == ConsentStatus::Given
                && names.purpose_within(known.purpose, purpose)
                && covers(to, &known.to, names);
            !ended
        });
        let mut status = status;
        if let Some(known) = self.known_consent(purpose, to)
            && known.at == at
            && known.status == ConsentStatus::Withdrawn
        {
            status = ConsentStatus::Withdrawn;
        }
        self.put_consent(Spoken { purpose, to: to.clone(), status, until: None, at, overridden: false });
    }

    fn known_consent(&self, purpose: PurposeId, to: &Addressee) -> Option<&Spoken> {
        self.consents.iter().find(|known| known.purpose == purpose && known.to == *to)
    }

    fn put_consent(&mut self, said: Spoken) {
        self.consents.retain(|known| known.purpose != said.purpose || known.to != said.to);
        self.consents.push(said);
    }

    fn object(&mut self, purpose: PurposeId, upheld: bool, at: Timestamp) {
        match self.objections.iter_mut().find(|known| known.purpose == purpose) {
            // An objection that was upheld stays so when it is repeated.
            Some(known) => (known.upheld, known.at) = (known.upheld || upheld, at),
            None => self.objections.push(Objected { purpose, upheld, at }),
        }
    }

    fn end_objections(&mut self, purpose: PurposeId) {
        self.objections.retain(|objection| objection.purpose != purpose);
    }

    /// What was said so far; who refuses again is heard again.
    fn override_refusals(&mut self, purpose: PurposeId) {
        let refusals = self.consents.iter_mut().filter(|said| said.status != ConsentStatus::Given);
        refusals.filter(|said| said.purpose == purpose).for_each(|said| said.overridden = true);
    }

    fn learn(&mut self, facts: &Facts, at: Timestamp) {
        let Facts { region, country, minor, transfer_consent, origin, origin_of } = facts;
        learn_place(&mut self.region, region, at);
        learn_place(&mut self.country, country, at);
        if let Some(minor) = minor {
            self.minor.say(at, *minor);
        }
        if let Some(consent) = transfer_consent {
            self.transfer_consent.say(at, *consent);
        }
        if let Some(origin) = origin {
            self.origin.say(at, *origin);
        }
        for (category, origin) in origin_of {
            self.origin_of.entry(*category).or_insert_with(|| Fact::new(Origin::Referral)).say(at, *origin);
        }
    }

    fn finish(self) -> Subject {
        let consents_since_restriction = self.since_restriction();
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
        let mut relations = self.relations;
        relations.sort_by(|a, b| (a.relation, &a.recipient).cmp(&(b.relation, &b.recipient)));
        Subject {
            consents,
            consents_since_restriction,
            objections,
            opt_outs: sorted(self.opt_outs),
            restricted: self.restricted.is_some(),
            erased: self.erased,
            minor: self.minor.value().unwrap_or(false),
            country: self.country.value().flatten(),
            region: self.region.value().flatten(),
            relations,
            origins: origins(self.origin, self.origin_of),
            transfer_consent: self.transfer_consent.value().unwrap_or(false),
            refused_categories: sorted(self.refused_categories),
            only_refusals: false,
        }
    }

    /// What opens a purpose although processing is restricted (G-6.8d). The list has no room for
    /// whom a consent is bound to or when it ends, so only unbound ones without an end are in it.
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

/// Whether a refusal towards `refused` ends a grant towards `granted`. A refusal towards a kind
/// leaves a grant to a recipient by name, whose kind is not known here: the decision, which knows
/// it, goes by the order of the two.
fn covers(refused: &Addressee, granted: &Addressee, names: &dyn Names) -> bool {
    match (refused, granted) {
        (Addressee::Anyone, _) => true,
        (Addressee::Kind(refused), Addressee::Kind(granted)) => names.kind_within(*granted, *refused),
        (Addressee::Recipient(refused), Addressee::Recipient(granted)) => refused == granted,
        (Addressee::Kind(_), Addressee::Anyone | Addressee::Recipient(_))
        | (Addressee::Recipient(_), Addressee::Anyone | Addressee::Kind(_)) => false,
    }
}

fn learn_place(fact: &mut Fact<Option<Arc<str>>>, said: &Said<Arc<str>>, at: Timestamp) {
    match said {
        Said::Nothing => {}
        Said::Unknown => fact.say(at, None),
        Said::Known(place) => fact.say(at, Some(place.clone())),
    }
}

fn origins(all: Fact<Origin>, of: BTreeMap<CategoryId, Fact<Origin>>) -> Origins {
    let mut exact = Vec::new();
    for (category, fact) in of {
        let Some((at, origin)) = fact.known else { continue };
        match &all.known {
            // A later word about everything is a word about this category too.
            Some((since, _)) if *since > at => {}
            Some((since, general)) if *since == at && *general != origin => {
                exact.push((category, Origin::Referral))
            }
            _ => exact.push((category, origin)),
        }
    }
    let all = all.value().unwrap_or(Origins::default().default);
    exact.retain(|(_, origin)| *origin != all);
    Origins { default: all, by_category: exact }
}

/// The order of grants and objections without their times: consecutive ones that pull the same
/// way share a rank, since only what comes before or after its opposite matters. People with the
/// same state then have equal [`Subject`]s, whenever they said it.
struct Ranks(Vec<(Timestamp, bool, u32)>);

impl Ranks {
    fn of(consents: &[Spoken], objections: &[Objected]) -> Ranks {
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
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
