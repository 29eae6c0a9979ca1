//! Many events at once, one JSON object a line, each with its own outcome.
//!
//! An import that was interrupted is simply started again: importing lines once more leaves in force
//! what posting them in that order would, but for what only grants. That is recorded once, so that
//! starting again does not grant anew what was taken back meanwhile. A repeated line that withholds,
//! or a repeated fact, is recorded again where it changes what is in force (see [`super::once`]).
//!
//! A line with a time of its own says all about itself and is the same line whoever sends it. One
//! without is the same within a batch that has a name. Files are one batch: one that was mended is the
//! same to whoever mended it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::oneshot;

use super::Ledger;
use super::event::EventDraft;
use super::event_json::{self, EventError};
use super::idempotency::{self, KeySource};
use super::kinds::EventEffect;
use super::outcome::{Acknowledgement, AppendError};
use super::terms::TermLookup;

/// What the names of batches begin with that are files; then comes a digest, where the file has one.
pub const FILE_BATCH: &str = "purposegate-import";

/// How many lines wait for the disk together.
const MAX_IN_FLIGHT: usize = 1024;

/// Before the text of a file from Windows.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the lines of a text are a part of.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'b> {
    /// The number of the first line.
    pub from: u64,
    /// An idempotency key, or [`FILES`].
    pub name: Option<&'b str>,
    /// Records events about recipients that the configuration does not have: an export may name former
    /// ones.
    pub keep_unknown_recipients: bool,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Batch { from: 1, name: None, keep_unknown_recipients: false }
    }
}

/// The outcome of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineResult {
    /// As numbered by the caller.
    pub line: u64,
    pub outcome: Result<Acknowledgement, LineError>,
}

/// Why a line was not recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// How long a worker of the runtime is kept before others have their turn.
const MAX_WORK: Duration = Duration::from_millis(1);

type Receipt = oneshot::Receiver<Result<Acknowledgement, AppendError>>;

impl Ledger {
    /// Records the lines of a text and tells the outcome of each, in order, once it is durable. Empty
    /// lines are left out, and so is a byte order mark. A ledger that fails on the way fails every
    /// later line.
    pub async fn import(
        &self,
        text: &[u8],
        batch: Batch<'_>,
        now: Timestamp,
        mut tell: impl FnMut(LineResult),
    ) {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut waiting: VecDeque<(u64, Receipt)> = VecDeque::new();
        let mut working = Instant::now();
        for (line, text) in (batch.from..).zip(text.split(|byte| *byte == b'\n')) {
            // Lines that do not parse wait for nothing: millions of them would keep a worker for seconds.
            if working.elapsed() > MAX_WORK {
                tokio::task::yield_now().await;
                working = Instant::now();
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            if waiting.len() == MAX_IN_FLIGHT
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
        batch: Batch<'_>,
        now: Timestamp,
    ) -> Result<Receipt, LineError> {
        let (entity, draft) = event_json::parse_line(text, self.terms())?;
        self.check(&entity, &draft.kind, batch.keep_unknown_recipients)?;
        let key = line_key(line, text, &draft, batch.name, self.terms());
        let once = key.map(|key| self.idempotency(&entity, &key, KeySource::Line, &draft));
        Ok(self.submit(&entity, draft, once, now).await?)
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
    draft: &EventDraft,
    batch: Option<&str>,
    terms: &dyn TermLookup,
) -> Option<String> {
    let (line, said);
    let parts: &[&[u8]] = if draft.at.is_some() {
        &[text.trim_ascii()]
    } else {
        let batch = batch?;
        let changes_nothing = draft.kind.effect() == EventEffect::Neutral;
        if batch.starts_with(FILE_BATCH) && !changes_nothing {
            // By what it says, not by how it is spelled.
            said = idempotency::canonical_text(draft, terms);
            &[FILE_BATCH.as_bytes(), b"\n", said.as_bytes()]
        } else if batch == FILE_BATCH {
            // What came through a pipe has no name.
            return None;
        } else {
            line = number.to_le_bytes();
            &[&line, batch.as_bytes(), b"\n", text.trim_ascii()]
        }
    };
    let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 import line");
    for part in parts {
        hasher.update(part);
    }
    Some(format!("import:{}", hasher.finalize().to_hex()))
}
