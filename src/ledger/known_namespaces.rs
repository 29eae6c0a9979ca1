//! Checks that new events only name namespaces of the configuration.
//!
//! An event about a person in a namespace that no record, path or token uses would be acknowledged without any effect.
//! Recorded events are accepted with any namespace, because a route may have been removed since.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use super::entity::Entity;
use super::event_json::EventError;
use super::kinds::EventKind;
use super::terms::nearest_term;
use crate::vocabulary::{DEFAULT_NAMESPACE, SubjectId};

/// The namespaces of the configuration. Every name is accepted until they are set.
#[derive(Default)]
pub(super) struct KnownNamespaces(RwLock<Option<BTreeSet<Arc<str>>>>);

impl KnownNamespaces {
    /// Sets the namespaces of the configuration.
    pub(super) fn set(&self, names: impl IntoIterator<Item = Arc<str>>) {
        let names = names.into_iter().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(names);
    }

    /// Returns the names, in their order; none before they are set.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().flatten().cloned().collect()
    }

    /// Checks the namespaces of the people that an event is about.
    ///
    /// # Errors
    /// [`EventError::UnknownNamespace`], [`EventError::NamespaceMissing`].
    pub(super) fn check(&self, entity: &Entity, kind: &EventKind) -> Result<(), EventError> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = &*known else { return Ok(()) };
        let people: &[SubjectId] = match (entity, kind) {
            (Entity::Subject(person) | Entity::Controller(person), _) => std::slice::from_ref(person),
            (_, EventKind::CaseRegistered { registration }) => &registration.subjects,
            _ => &[],
        };
        let name = |person: &SubjectId| person.namespace().cloned();
        let unknown = people
            .iter()
            .map(name)
            .find(|name| !known.contains(name.as_deref().unwrap_or(DEFAULT_NAMESPACE)));
        let Some(unknown) = unknown else { return Ok(()) };
        let Some(unknown) = unknown else {
            let all: Vec<&str> = known.iter().map(|name| &**name).collect();
            return Err(EventError::NamespaceMissing { known: all.join("`, `") });
        };
        let nearest = nearest_term(&unknown, known.iter().map(|name| &**name));
        Err(EventError::UnknownNamespace { nearest: nearest.map(str::to_owned) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::event_json;
    use crate::ledger::terms::fixture::Fixture;

    #[test]
    fn an_unknown_namespace_is_an_error_with_the_nearest_known_one() {
        let namespaces = KnownNamespaces::default();
        let check = |text: String| {
            let (entity, draft) = event_json::parse_line(text.as_bytes(), &Fixture).unwrap();
            namespaces.check(&entity, &draft.kind)
        };
        let events = |namespace: &str| {
            [
                format!(r#"{{"subject":"1","namespace":"{namespace}","kind":"erasure"}}"#),
                format!(r#"{{"controller":"1","namespace":"{namespace}","kind":"account-closed"}}"#),
                format!(
                    r#"{{"case":"C-1","kind":"case-registered","recipient":"court","purpose":"security","subjects":[{{"id":"a","namespace":"email"}},{{"id":"a","namespace":"{namespace}"}}],"categories":["email"],"end":"2027-01-01T00:00:00Z","reference":"r"}}"#
                ),
            ]
        };
        assert!(events("anything").into_iter().all(|event| check(event).is_ok()), "no namespaces are set");
        namespaces.set([Arc::from("email"), Arc::from("crm")]);
        for event in events("email") {
            assert_eq!(check(event), Ok(()));
        }
        for unknown in ["Email", " email", "EMAIL", "emial"] {
            for event in events(unknown) {
                let nearest = Some("email".to_owned());
                assert_eq!(check(event), Err(EventError::UnknownNamespace { nearest }), "{unknown}");
            }
        }
        for event in events("default") {
            let known = "crm`, `email".to_owned();
            assert_eq!(check(event), Err(EventError::NamespaceMissing { known }));
        }
        assert_eq!(check(r#"{"recipient":"acme","kind":"suspended"}"#.to_owned()), Ok(()));
        namespaces.set([Arc::from(DEFAULT_NAMESPACE)]);
        assert_eq!(check(r#"{"subject":"1","kind":"erasure"}"#.to_owned()), Ok(()));
    }
}
