//! Recognises repetitions of an event, by an `Idempotency-Key` or by the line of an import.
//!
//! Pure. A repetition never grants again, because the grant may have been taken back since. It is recorded again if it
//! withholds something that is not withheld any more. Otherwise a restriction would be acknowledged as in force without
//! being in force.

use jiff::Timestamp;

use super::entity_state::EntityState;
use super::event::{Event, EventDraft};
use super::event_json;
use super::kinds::{EventEffect, EventKind};
use super::payload::{FactPatch, Provenance};
use super::store::{IdempotencyDigest, RequestDigest, StoredEntity};
use super::terms::TermLookup;

/// The key by which repetitions of an event are recognised.
#[derive(Clone, Debug)]
pub(super) struct Idempotency {
    pub(super) key: IdempotencyDigest,
    /// Digests of the same key under former spellings of the entity's id.
    pub(super) former: Vec<IdempotencyDigest>,
    pub(super) request: RequestDigest,
    pub(super) source: KeySource,
}

/// The source of an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// The header `Idempotency-Key`. A repetition is the same message, sent again.
    Sender,
    /// The line of an import. A repetition is a new statement with the same content, so that of several facts the last
    /// line counts.
    Line,
}

impl Idempotency {
    /// Digests a key together with its entity, and the request. `entity` is the present spelling of the entity, `former`
    /// are its former spellings.
    pub(super) fn new(
        entity: &StoredEntity,
        former: &[StoredEntity],
        key: &str,
        source: KeySource,
        draft: &EventDraft,
        terms: &dyn TermLookup,
    ) -> Idempotency {
        let request = blake3::derive_key(
            "purposegate 2026 v1 idempotent event",
            canonical_text(draft, terms).as_bytes(),
        );
        let former = former.iter().map(|entity| Idempotency::digest(entity, key)).collect();
        Idempotency { key: Idempotency::digest(entity, key), former, request: short(&request), source }
    }

    /// Returns the digests under which the event may be recorded: that of the present spelling first.
    pub(super) fn keys(&self) -> impl Iterator<Item = IdempotencyDigest> {
        [self.key].into_iter().chain(self.former.iter().copied())
    }

    fn digest(entity: &StoredEntity, key: &str) -> IdempotencyDigest {
        let (namespace, id) = (entity.namespace.as_deref(), entity.id.as_str());
        let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 idempotency key");
        hasher.update(&[entity.kind.code(), u8::from(namespace.is_some())]);
        for part in [namespace.unwrap_or_default(), id, key] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        short(hasher.finalize().as_bytes())
    }
}

/// Returns the content of a draft as JSON in a canonical form.
pub(super) fn canonical_text(draft: &EventDraft, terms: &dyn TermLookup) -> String {
    let event = Event {
        kind: draft.kind.clone(),
        at: draft.at.unwrap_or(Timestamp::MIN),
        // The same event, sent again with another credential, is the same event.
        provenance: Provenance { recorded_by: None, ..draft.provenance.clone() },
    };
    serde_json::Value::Object(event_json::write(&event, terms)).to_string()
}

fn short(hash: &[u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    short
}

/// True if a repetition must be recorded again. `with` returns the state that would be in force with an event.
pub(super) fn must_record_again(
    once: &Idempotency,
    event: &Event,
    before: &EntityState,
    with: impl Fn(&Event) -> EntityState,
) -> bool {
    let changes = |event: &Event| with(event) != *before;
    match (event.kind.effect(), &event.kind) {
        (EventEffect::Permissive | EventEffect::Neutral, _) => false,
        (EventEffect::Restrictive, _) => changes(event),
        (EventEffect::Mixed, EventKind::Fact { facts } | EventKind::Correction { facts }) => {
            match once.source {
                KeySource::Line => changes(event),
                // The same message, sent again: only the facts that are certain to withhold count.
                KeySource::Sender => {
                    let facts = facts.certain_to_withhold();
                    facts != FactPatch::default()
                        && changes(&Event { kind: EventKind::Fact { facts }, ..event.clone() })
                }
            }
        }
        // A consent with an end: it counts if it ends before the one in force.
        (EventEffect::Mixed, EventKind::ConsentGiven { purpose, to, until: Some(until) }) => {
            let given = before.given_consent(*purpose, to);
            given.is_some_and(|known| known.until.is_none_or(|known| known > *until))
        }
        (EventEffect::Mixed, _) => changes(event),
    }
}
