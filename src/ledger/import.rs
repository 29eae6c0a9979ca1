//! Imports many events, one JSON object per line, each with its own outcome.
//!
//! An interrupted import can be started again. Importing lines a second time leaves the same state as posting the events
//! in that order, except for events that only grant: they are recorded once, so that a second import does not restore a
//! grant that was taken back meanwhile. A repeated line that withholds, or that states a fact, is recorded again if it
//! changes the state in force (see [`super::idempotency`]).
//!
//! A line with a time is identified by its text alone. A line without a time is identified within its batch, if the batch
//! has a name. All files belong to one batch, so that the unchanged lines of a corrected file are recognised.

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
use super::sender::{EventSender, SenderError};
use super::terms::TermLookup;

/// The prefix of the names of batches that are files. The digest of the file follows; a pipe has none.
pub const FILE_BATCH: &str = "purposegate-import";

/// The maximum number of lines that wait for the disk.
const MAX_IN_FLIGHT: usize = 1024;

/// The UTF-8 byte order mark at the beginning of files from Windows.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The batch that the lines of a text belong to.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'b> {
    /// The number of the first line.
    pub from: u64,
    /// An idempotency key, or a name with the prefix [`FILE_BATCH`].
    pub name: Option<&'b str>,
    /// True to also record events about recipients and namespaces that the configuration does not have. An export may
    /// name former ones.
    pub keep_unknown_recipients: bool,
    /// Who sends the batch.
    pub sender: EventSender<'b>,
}

impl Default for Batch<'_> {
    fn default() -> Self {
        Batch { from: 1, name: None, keep_unknown_recipients: false, sender: EventSender::Owner }
    }
}

/// The outcome of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineResult {
    /// The number of the line; the caller numbers the first one.
    pub line: u64,
    /// The event that the line records. `None` if it is not a valid one.
    pub event: Option<LineEvent>,
    /// The acknowledgement of the event, or the error in the line.
    pub outcome: Result<Acknowledgement, LineError>,
}

/// The event of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LineEvent {
    /// The name of its kind.
    pub kind: &'static str,
    /// True if less can be disclosed once it is in force.
    pub withholds: bool,
}

/// The error that kept a line from being recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The line is not a valid event.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The ledger did not record the event.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The sender may not record the event.
    #[error(transparent)]
    Sender(#[from] SenderError),
}

/// The maximum time for which an import occupies a worker of the runtime before it yields.
const MAX_WORK: Duration = Duration::from_millis(1);

type Receipt = oneshot::Receiver<Result<Acknowledgement, AppendError>>;

impl Ledger {
    /// Records the lines of a text and passes the outcome of each to `report`, in order, once it is durable. Skips empty
    /// lines and a byte order mark. If the ledger fails, every later line fails.
    pub async fn import(
        &self,
        text: &[u8],
        batch: Batch<'_>,
        now: Timestamp,
        mut report: impl FnMut(LineResult),
    ) {
        let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
        let mut waiting: VecDeque<(u64, LineEvent, Receipt)> = VecDeque::new();
        let mut working = Instant::now();
        for (number, text) in (0_u64..).zip(text.split(|byte| *byte == b'\n')) {
            let line = batch.from.saturating_add(number);
            // A line that does not parse does not wait for a receipt. Without this yield, millions of such lines would
            // occupy a worker for seconds.
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
                report(outcome(first).await);
            }
            match self.submit_line(line, text, batch, now).await {
                Ok((event, receipt)) => waiting.push_back((line, event, receipt)),
                Err(error) => {
                    // Outcomes are reported in order, so those of earlier lines come first.
                    for earlier in waiting.drain(..) {
                        report(outcome(earlier).await);
                    }
                    report(LineResult { line, event: None, outcome: Err(error) });
                }
            }
        }
        for waiting in waiting {
            report(outcome(waiting).await);
        }
    }

    async fn submit_line(
        &self,
        line: u64,
        text: &[u8],
        batch: Batch<'_>,
        now: Timestamp,
    ) -> Result<(LineEvent, Receipt), LineError> {
        let (entity, mut draft) = event_json::parse_line(text, self.terms())?;
        batch.sender.sign(&mut draft)?;
        self.check(&entity, &draft.kind, batch.keep_unknown_recipients)?;
        let event = LineEvent { kind: draft.kind.name(), withholds: draft.kind.withholds() };
        let key = line_key(line, text, &draft, batch.name, self.terms());
        let once = key.map(|key| self.idempotency(&entity, &key, KeySource::Line, &draft));
        Ok((event, self.submit(&entity, draft, once, now).await?))
    }
}

async fn outcome((line, event, receipt): (u64, LineEvent, Receipt)) -> LineResult {
    let outcome = receipt.await.unwrap_or(Err(AppendError::Unavailable));
    LineResult { line, event: Some(event), outcome: outcome.map_err(LineError::from) }
}

/// Returns the key that identifies a line (see the module's documentation), or `None` if every repetition of the line
/// is recorded as a new event.
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
            // Identified by its content, not by its spelling.
            said = idempotency::canonical_text(draft, terms);
            &[FILE_BATCH.as_bytes(), b"\n", said.as_bytes()]
        } else if batch == FILE_BATCH {
            // Text from a pipe has no name.
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
