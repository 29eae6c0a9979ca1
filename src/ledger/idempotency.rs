//! What makes two reports the same event: an `Idempotency-Key`, or a line of an import.
//!
//! Pure. A repetition grants nothing anew: what was granted may have been taken back since. It is
//! recorded anew where it withholds something that is no longer in force, so that no repetition is
//! acknowledged as in force and is not.

use jiff::Timestamp;

use super::entity::EntityKind;
use super::entity_state::EntityState;
use super::event::{Event, EventDraft};
use super::event_json;
use super::kinds::{EventEffect, EventKind};
use super::payload::FactPatch;
use super::store::{IdempotencyDigest, RequestDigest, StoredEntity};
use super::terms::TermLookup;
use crate::decision::ConsentStatus;

/// What a repetition of an event is recognised by.
#[derive(Clone, Debug)]
pub(super) struct Idempotency {
    pub(super) key: IdempotencyDigest,
    /// The same key under earlier spellings of the entity's id.
    pub(super) former: Vec<IdempotencyDigest>,
    pub(super) request: RequestDigest,
    pub(super) source: KeySource,
}

/// Where the key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeySource {
    /// The sender's `Idempotency-Key`: a repetition is the same message, sent again.
    Sender,
    /// The line itself: a repetition says the same again, so of facts the last one counts.
    Line,
}

impl Idempotency {
    /// Digests a key, which counts for one entity, and what is asked under it. `entity` is how the entity is
    /// stored, `former` how it was.
    pub(super) fn new(
        entity: &StoredEntity,
        former: &[StoredEntity],
        key: &str,
        by: KeySource,
        draft: &EventDraft,
        terms: &dyn TermLookup,
    ) -> Idempotency {
        let asked = blake3::derive_key(
            "purposegate 2026 v1 idempotent event",
            canonical_text(draft, terms).as_bytes(),
        );
        let former = former.iter().map(|entity| Idempotency::digest(entity, key)).collect();
        Idempotency { key: Idempotency::digest(entity, key), former, request: short(&asked), source: by }
    }

    fn digest(entity: &StoredEntity, key: &str) -> IdempotencyDigest {
        let sort = match entity.kind {
            EntityKind::Subject => 0,
            EntityKind::Controller => 1,
            EntityKind::Recipient => 2,
            EntityKind::Case => 3,
        };
        let (namespace, id) = (entity.namespace.as_deref(), entity.id.as_str());
        let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 idempotency key");
        hasher.update(&[sort, u8::from(namespace.is_some())]);
        for part in [namespace.unwrap_or_default(), id, key] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        short(hasher.finalize().as_bytes())
    }
}

/// What a draft says, in one spelling.
pub(super) fn canonical_text(draft: &EventDraft, terms: &dyn TermLookup) -> String {
    let event = Event {
        kind: draft.kind.clone(),
        at: draft.at.unwrap_or(Timestamp::MIN),
        provenance: draft.provenance.clone(),
    };
    serde_json::Value::Object(event_json::write(&event, terms)).to_string()
}

fn short(hash: &[u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    short
}

/// Whether a repetition is recorded anew. `with` tells what would be in force with an event.
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
                // The same message again: only what is certain to withhold.
                KeySource::Sender => {
                    let facts = facts.certain_to_withhold();
                    facts != FactPatch::default()
                        && changes(&Event { kind: EventKind::Fact { facts }, ..event.clone() })
                }
            }
        }
        // A consent that ends: where it shortens the one in force.
        (EventEffect::Mixed, EventKind::ConsentGiven { purpose, to, until: Some(until) }) => {
            before.consent(*purpose, to).is_some_and(|known| {
                known.status == ConsentStatus::Given && known.until.is_none_or(|known| known > *until)
            })
        }
        (EventEffect::Mixed, _) => changes(event),
    }
}
