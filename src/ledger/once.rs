//! What makes two reports the same event: an `Idempotency-Key`, or a line of an import.
//!
//! Pure. A repetition grants nothing anew: what was granted may have been taken back since. It is
//! recorded anew where it withholds something that is no longer in force, so that no repetition is
//! acknowledged as in force and is not.

use jiff::Timestamp;

use super::event::{Draft, Event, Facts, Sort};
use super::in_force::InForce;
use super::kinds::{Effect, What};
use super::names::Names;
use super::store::{Asked, OnceKey, StoredEntity};
use super::written;
use crate::decision::ConsentStatus;

/// What a repetition of an event is recognised by.
#[derive(Clone, Debug)]
pub(super) struct Once {
    pub(super) key: OnceKey,
    /// The same key under earlier spellings of the entity's id.
    pub(super) former: Vec<OnceKey>,
    pub(super) asked: Asked,
    pub(super) by: By,
}

/// Where the key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// The sender's `Idempotency-Key`: a repetition is the same message, sent again.
    Sender,
    /// The line itself: a repetition says the same again, so of facts the last one counts.
    Line,
}

impl Once {
    /// Digests a key, which counts for one entity, and what is asked under it. `entity` is how the entity is
    /// stored, `former` how it was.
    pub(super) fn new(
        entity: &StoredEntity,
        former: &[StoredEntity],
        key: &str,
        by: By,
        draft: &Draft,
        names: &dyn Names,
    ) -> Once {
        let asked = blake3::derive_key("purposegate 2026 v1 idempotent event", said(draft, names).as_bytes());
        let former = former.iter().map(|entity| Once::digest(entity, key)).collect();
        Once { key: Once::digest(entity, key), former, asked: short(&asked), by }
    }

    fn digest(entity: &StoredEntity, key: &str) -> OnceKey {
        let sort = match entity.sort {
            Sort::Subject => 0,
            Sort::Controller => 1,
            Sort::Recipient => 2,
            Sort::Case => 3,
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
pub(super) fn said(draft: &Draft, names: &dyn Names) -> String {
    let event = Event {
        what: draft.what.clone(),
        at: draft.at.unwrap_or(Timestamp::MIN),
        attached: draft.attached.clone(),
    };
    serde_json::Value::Object(written::write(&event, names)).to_string()
}

fn short(hash: &[u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.iter_mut().zip(hash).for_each(|(to, from)| *to = *from);
    short
}

/// Whether a repetition is recorded anew. `with` tells what would be in force with an event.
pub(super) fn is_recorded_anew(
    once: &Once,
    event: &Event,
    before: &InForce,
    with: impl Fn(&Event) -> InForce,
) -> bool {
    let changes = |event: &Event| with(event) != *before;
    match (event.what.effect(), &event.what) {
        (Effect::Permissive | Effect::Nothing, _) => false,
        (Effect::Restrictive, _) => changes(event),
        (Effect::Either, What::Fact { facts } | What::Correction { facts }) => match once.by {
            By::Line => changes(event),
            // The same message again: only what is certain to withhold.
            By::Sender => {
                let facts = facts.certain_to_withhold();
                facts != Facts::default() && changes(&Event { what: What::Fact { facts }, ..event.clone() })
            }
        },
        // A consent that ends: where it shortens the one in force.
        (Effect::Either, What::ConsentGiven { purpose, to, until: Some(until) }) => {
            before.consent(*purpose, to).is_some_and(|known| {
                known.status == ConsentStatus::Given && known.until.is_none_or(|known| known > *until)
            })
        }
        (Effect::Either, _) => changes(event),
    }
}
