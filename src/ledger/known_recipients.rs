//! Checks that new events only name recipients of the configuration.
//!
//! An event about an unknown name would be acknowledged without any effect. Recorded events are accepted with any name,
//! because a recipient may have been removed from the configuration since.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::entity::Entity;
use super::event_json::EventError;
use super::kinds::EventKind;
use super::terms::nearest_term;

/// The recipients of the configuration. Every name is accepted until they are set.
#[derive(Default)]
pub(super) struct KnownRecipients {
    own: RwLock<Option<BTreeSet<Arc<str>>>>,
    /// The recipients in the configurations of the other gateways that share the ledger.
    of_others: RwLock<BTreeSet<Arc<str>>>,
}

impl KnownRecipients {
    /// Sets the recipients of the configuration.
    pub(super) fn set(&self, names: impl IntoIterator<Item = Arc<str>>) {
        let names = names.into_iter().collect();
        *self.own.write().unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// Sets the recipients that other gateways know.
    pub(super) fn set_of_others(&self, names: BTreeSet<Arc<str>>) {
        *self.of_others.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Returns the name of a recipient if another gateway knows it.
    pub(super) fn of_others(&self, name: &str) -> Option<Arc<str>> {
        self.of_others.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Checks the recipient that an event is about, and the recipient that it names.
    ///
    /// # Errors
    /// [`EventError::UnknownRecipient`].
    pub(super) fn check(&self, entity: &Entity, kind: &EventKind) -> Result<(), EventError> {
        let registered = self.own.read().unwrap_or_else(PoisonError::into_inner);
        let Some(registered) = &*registered else { return Ok(()) };
        let about = match entity {
            Entity::Recipient(name) => Some(name),
            Entity::Subject(_) | Entity::Controller(_) | Entity::Case(_) => None,
        };
        let of_others = self.of_others.read().unwrap_or_else(PoisonError::into_inner);
        let is_known = |name: &Arc<str>| registered.contains(name) || of_others.contains(name);
        match about.into_iter().chain(kind.recipient()).find(|name| !is_known(name)) {
            None => Ok(()),
            Some(unknown) => {
                let nearest = nearest_term(unknown, registered.iter().map(|name| &**name));
                Err(EventError::UnknownRecipient { nearest: nearest.map(str::to_owned) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::event_json;
    use crate::ledger::terms::fixture::Fixture;

    #[test]
    fn an_unknown_recipient_in_any_kind_of_event_is_an_error_with_the_nearest_known_one() {
        let registered = KnownRecipients::default();
        let check = |text: String| {
            let (entity, draft) = event_json::parse_line(text.as_bytes(), &Fixture).unwrap();
            registered.check(&entity, &draft.kind)
        };
        let events = |name: &str| {
            [
                format!(r#"{{"subject":"1","kind":"opt-out","recipient":"{name}"}}"#),
                format!(r#"{{"subject":"1","kind":"opt-out-lifted","recipient":"{name}"}}"#),
                format!(
                    r#"{{"subject":"1","kind":"consent-given","purpose":"marketing","recipient":"{name}"}}"#
                ),
                format!(
                    r#"{{"subject":"1","kind":"consent-refused","purpose":"marketing","recipient":"{name}"}}"#
                ),
                format!(
                    r#"{{"subject":"1","kind":"consent-withdrawn","purpose":"marketing","recipient":"{name}"}}"#
                ),
                format!(
                    r#"{{"subject":"1","kind":"relation","relation":"integration-enabled","recipient":"{name}"}}"#
                ),
                format!(
                    r#"{{"subject":"1","kind":"relation-ended","relation":"integration-enabled","recipient":"{name}"}}"#
                ),
                format!(r#"{{"recipient":"{name}","kind":"suspended"}}"#),
                format!(r#"{{"recipient":"{name}","kind":"resumed"}}"#),
                format!(
                    r#"{{"case":"C-1","kind":"case-registered","recipient":"{name}","purpose":"security","subjects":["a"],"categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"r"}}"#
                ),
            ]
        };
        assert!(events("anything").into_iter().all(|event| check(event).is_ok()), "no recipients are set");
        registered.set([Arc::from("acme-news"), Arc::from("globex")]);
        for event in events("acme-news") {
            assert_eq!(check(event), Ok(()));
        }
        for unknown in ["Acme-News", "acme-news ", " ACME-NEWS", "acme", "acme-nwes"] {
            for event in events(unknown) {
                let nearest = Some("acme-news".to_owned());
                assert_eq!(check(event), Err(EventError::UnknownRecipient { nearest }), "{unknown}");
            }
        }
        for event in events("initech") {
            assert_eq!(check(event), Err(EventError::UnknownRecipient { nearest: None }));
        }
    }
}
