//! The state in force of one entity of any kind: for the index, and to determine whether an event changes it.

use jiff::Timestamp;

use super::case::{self, Case};
use super::entity::Entity;
use super::event::Event;
use super::fold;
use super::request::{self, OpenRequest};
use super::secret_history;
use super::terms::TermLookup;
use crate::decision::{Addressee, Consent, ConsentStatus, Controller, Subject};
use crate::keys::Fingerprints;
use crate::vocabulary::PurposeId;

/// The state in force of one entity.
#[derive(Clone, PartialEq)]
pub(super) enum EntityState {
    Subject {
        /// `None`: the ledger does not know the person. A request alone makes nobody known: the person was neither
        /// informed nor asked for consent.
        known: Option<Box<Subject>>,
        requests: Vec<OpenRequest>,
        /// The time of an erasure after which the log secret was not deleted yet.
        erased_since: Option<Timestamp>,
    },
    /// `None`: the ledger does not know the controller.
    Controller(Option<Controller>),
    Recipient {
        suspended: bool,
    },
    Case(Option<Case>),
}

impl EntityState {
    /// Folds the events of an entity. `events` lacks the events that cannot be read, so it may be empty for a person that
    /// the ledger knows.
    pub(super) fn fold<'e>(
        entity: &Entity,
        events: impl Iterator<Item = &'e Event> + Clone,
        terms: &dyn TermLookup,
        fingerprints: &Fingerprints,
    ) -> EntityState {
        match entity {
            Entity::Subject(person) => EntityState::Subject {
                requests: request::open(person, events.clone()),
                erased_since: secret_history::erased_since(events.clone()),
                known: (!request::are_all_requests(events.clone()))
                    .then(|| Box::new(fold::subject(events, terms))),
            },
            Entity::Controller(_) => EntityState::Controller(Some(fold::controller(events, terms))),
            Entity::Recipient(_) => EntityState::Recipient { suspended: fold::suspended(events) },
            Entity::Case(_) => EntityState::Case(case::fold(events, fingerprints)),
        }
    }

    /// Returns the state of an entity without any event.
    pub(super) fn nothing(entity: &Entity) -> EntityState {
        match entity {
            Entity::Subject(_) => {
                EntityState::Subject { known: None, requests: Vec::new(), erased_since: None }
            }
            Entity::Controller(_) => EntityState::Controller(None),
            Entity::Recipient(_) => EntityState::Recipient { suspended: false },
            Entity::Case(_) => EntityState::Case(None),
        }
    }

    /// Returns the consent that is given for exactly this purpose and addressee.
    pub(super) fn given_consent(&self, purpose: PurposeId, to: &Addressee) -> Option<&Consent> {
        let EntityState::Subject { known: Some(subject), .. } = self else { return None };
        subject.consents.iter().find(|consent| {
            consent.purpose == purpose && consent.to == *to && consent.status == ConsentStatus::Given
        })
    }
}
