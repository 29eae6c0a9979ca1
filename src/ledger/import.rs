//! Many events at once, one JSON object a line, each with its own outcome.
//!
//! An import that was interrupted is simply started again. A line with a time of its own says all
//! about itself and is recorded once, whoever sends it. Of those without one, what can grant is
//! recorded once for a batch that has a name, so that starting again does not grant anew what was
//! taken back meanwhile, and so is what changes nothing; what withholds is recorded each time. Files
//! are one batch in what they grant: one that was mended is the same to whoever mended it.

use std::collections::VecDeque;

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::event::{Draft, Entity, Event, Facts};
use super::kinds::{Effect, What};
use super::names::Names;
use super::store::{Asked, OnceKey};
use super::written::{self, EventError};
use super::{AppendError, Ledger, Recorded};

/// What the names of batches begin with that are files; then comes a digest, where the file has one.
pub const FILES: &str = "purposegate-import";

/// How many lines wait for the disk together.
const IN_FLIGHT: usize = 1024;

/// The outcome of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineResult {
    /// As numbered by the caller.
    pub line: u64,
    pub outcome: Result<Recorded, LineError>,
}

/// Why a line was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

type Receipt = oneshot::Receiver<Result<Recorded, AppendError>>;

impl Ledger {
    /// Records the lines of a text and tells the outcome of each, in order, once it is durable; the
    /// first has the number `from`. `batch` names what the text is a part of (an idempotency key). Empty lines are left out. A ledger that fails on the way fails every later line.
    pub async fn import(
        &self,
        text: &[u8],
        from: u64,
        batch: Option<&str>,
        now: Timestamp,
        mut tell: impl FnMut(LineResult),
    ) {
        let mut waiting: VecDeque<(u64, Receipt)> = VecDeque::new();
        for (line, text) in (from..).zip(text.split(|byte| *byte == b'\n')) {
            if text.trim_ascii().is_empty() {
                continue;
            }
            if waiting.len() == IN_FLIGHT
                && let Some(first) = waiting.pop_front()
            {
                tell(outcome(first).await);
            }
            match self.submit_line(line, text, batch, now).await {
                Ok(receipt) => waiting.push_back((line, receipt)),
                Err(error) => {
                    // In order: what came before is told first.
                    for earlier in waiting.drain(..) {
                        tell(outcome(earlier).await);
                    }
                    tell(LineResult { line, outcome: Err(error) });
                }
            }
        }
        for waiting in waiting {
            tell(outcome(waiting).await);
        }
    }

    async fn submit_line(
        &self,
        line: u64,
        text: &[u8],
        batch: Option<&str>,
        now: Timestamp,
    ) -> Result<Receipt, LineError> {
        let (entity, draft) = written::parse_line(text, self.names())?;
        let key = line_key(line, text, &draft, batch, self.names());
        Ok(self.submit(&entity, draft, key.as_deref(), now).await?)
    }
}

async fn outcome((line, receipt): (u64, Receipt)) -> LineResult {
    let outcome = receipt.await.unwrap_or(Err(AppendError::Unavailable));
    LineResult { line, outcome: outcome.map_err(LineError::from) }
}

/// What makes a line the same line (see the module's text); `None`: it is another one each time.
fn line_key(
    number: u64,
    text: &[u8],
    draft: &Draft,
    batch: Option<&str>,
    names: &dyn Names,
) -> Option<String> {
    let (line, said);
    let parts: &[&[u8]] = if draft.at.is_some() {
        &[text.trim_ascii()]
    } else {
        let batch = batch?;
        match grants(&draft.what) {
            Some(false) => return None,
            // What came through a pipe has no name.
            None if batch == FILES => return None,
            Some(true) if batch.starts_with(FILES) => {
                // By what it says, not by how it is spelled.
                said = asked(draft, names);
                &[FILES.as_bytes(), b"\n", said.as_bytes()]
            }
            Some(true) | None => {
                line = number.to_le_bytes();
                &[&line, batch.as_bytes(), b"\n", text.trim_ascii()]
            }
        }
    };
    let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 import line");
    for part in parts {
        hasher.update(part);
    }
    Some(format!("import:{}", hasher.finalize().to_hex()))
}

/// Whether an event can grant; `None`: it changes nothing of what is in force.
fn grants(what: &What) -> Option<bool> {
    match (what.effect(), what) {
        (Effect::Nothing, _) => None,
        (Effect::Restrictive, _) => Some(false),
        (Effect::Either, What::Fact { facts } | What::Correction { facts }) => {
            let restrictive = Facts {
                minor: facts.minor.filter(|minor| *minor),
                transfer_consent: facts.transfer_consent.filter(|consent| !*consent),
                ..Facts::default()
            };
            Some(*facts != restrictive)
        }
        (Effect::Either | Effect::Permissive, _) => Some(true),
    }
}

/// Digests of an idempotency key, which counts for one entity, and of what is asked under it.
pub(super) fn once(entity: &Entity, key: &str, draft: &Draft, names: &dyn Names) -> (OnceKey, Asked) {
    let (sort, namespace, id) = match entity {
        Entity::Subject(person) => (0, person.namespace.as_deref(), person.id.as_str()),
        Entity::Controller(person) => (1, person.namespace.as_deref(), person.id.as_str()),
        Entity::Recipient(name) => (2, None, &**name),
        Entity::Case(id) => (3, None, &**id),
    };
    let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 idempotency key");
    hasher.update(&[sort, u8::from(namespace.is_some())]);
    for part in [namespace.unwrap_or_default(), id, key] {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    let asked = blake3::derive_key("purposegate 2026 v1 idempotent event", asked(draft, names).as_bytes());
    (short(hasher.finalize().as_bytes()), short(&asked))
}

/// What a draft says, in one spelling.
fn asked(draft: &Draft, names: &dyn Names) -> String {
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
