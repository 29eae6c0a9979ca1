//! The records of one exchange on the disclosure log.
//!
//! An exchange has one record where one is enough. If its answer is whole before anything leaves, the record says before the
//! first byte that it is released; a correction follows only if it ends otherwise. The first record of an answer that leaves
//! window by window carries the head, and a closing record follows. An operation that changes data has an intent first, before
//! the upstream sees the request. A refusal is one record.
//!
//! Invariant: the log never says less than has left. Each record of a disclosure is as durable as configured before the
//! disclosure leaves, and none takes back an earlier one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::SharedState;
use super::route::Recipient;
use crate::disclosure::record::{Disclosure, ExchangeHead, ExchangeReference, Outcome, Record};
use crate::disclosure::{Durability, LogError};
use crate::vocabulary::Operation;

/// The share of an answer that a disclosure describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// All of it: nothing has left before, and nothing follows.
    Whole,
    /// A part of it.
    Part,
}

/// The records that the log has of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    /// None.
    Nothing,
    /// An intent or windows: a closing record follows.
    Begun,
    /// One that says that the whole answer is released.
    Whole {
        /// True if a correction says that it was judged again.
        is_corrected: bool,
    },
    /// All that it will have.
    Ended,
}

/// The records of one exchange. If it is dropped before the exchange has ended, the exchange ends as aborted, because the
/// recipient went away.
pub(super) struct ExchangeRecord {
    shared: Arc<SharedState>,
    recipient: Arc<Recipient>,
    head: Arc<ExchangeHead>,
    recorded: Mutex<Recorded>,
}

/// Prints the state alone: a head can hold what the recipient declared.
impl std::fmt::Debug for ExchangeRecord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ExchangeRecord").field(&*self.recorded()).finish()
    }
}

impl ExchangeRecord {
    pub(super) fn new(
        shared: Arc<SharedState>,
        recipient: Arc<Recipient>,
        head: ExchangeHead,
    ) -> ExchangeRecord {
        ExchangeRecord { shared, recipient, head: Arc::new(head), recorded: Mutex::new(Recorded::Nothing) }
    }

    /// True while the log has no record of the exchange.
    pub(super) fn is_unrecorded(&self) -> bool {
        *self.recorded() == Recorded::Nothing
    }

    /// True if the log has an intent or windows, so that the exchange gets a closing record.
    pub(super) fn is_begun(&self) -> bool {
        *self.recorded() == Recorded::Begun
    }

    /// Records that the exchange is about to happen. Returns when the record is durable; that of an operation that changes
    /// nothing need only be as durable as configured. `would_refuse` is the code with which enforcing would refuse it.
    ///
    /// # Errors
    /// [`LogError`]: the upstream may not see the request.
    pub(super) async fn record_intent(&self, would_refuse: Option<&'static str>) -> Result<(), LogError> {
        let durability = match self.head.operation {
            Operation::Disclose => self.shared.log.durability(),
            Operation::Collect | Operation::Alter | Operation::Destroy => Durability::BeforeRelease,
        };
        let before = *self.recorded();
        let mut head = self.head_now();
        if would_refuse != head.would_refuse {
            Arc::make_mut(&mut head).would_refuse = would_refuse;
        }
        self.append(Record::Intent(head), durability, before, Recorded::Begun).await
    }

    /// Records a disclosure before it leaves. Returns when the record is as durable as configured.
    ///
    /// # Errors
    /// [`LogError`]: it may not leave.
    pub(super) async fn disclose(&self, disclosure: Disclosure, extent: Extent) -> Result<(), LogError> {
        let decision = self.head.decision;
        let before = *self.recorded();
        let (record, recorded) = match (before, extent) {
            (Recorded::Nothing, Extent::Whole) => {
                let record = Record::Exchange(self.head_now(), disclosure);
                (record, Recorded::Whole { is_corrected: false })
            }
            (Recorded::Nothing, Extent::Part) => {
                let exchange = ExchangeReference::First(self.head_now());
                (Record::Window { exchange, disclosure }, Recorded::Begun)
            }
            (Recorded::Begun, _) => {
                let exchange = ExchangeReference::Later(decision);
                (Record::Window { exchange, disclosure }, Recorded::Begun)
            }
            (Recorded::Whole { .. }, _) => {
                let (outcome, disclosure) = (Outcome::Released, Some(disclosure));
                (Record::Correction { decision, outcome, disclosure }, Recorded::Whole { is_corrected: true })
            }
            (Recorded::Ended, _) => return Err(LogError),
        };
        self.append(record, self.shared.log.durability(), before, recorded).await
    }

    /// Appends a record to those of the state `before`. Cancel safety: the record is queued, and the exchange counts as
    /// recorded, in one step. Dropped earlier, the log has nothing of the record; dropped later, its end is recorded, too.
    async fn append(
        &self,
        record: Record,
        durability: Durability,
        before: Recorded,
        recorded: Recorded,
    ) -> Result<(), LogError> {
        let prepared = self.shared.log.prepare(record, durability).await?;
        let appended = {
            let mut state = self.recorded();
            if *state != before {
                // The exchange has ended meanwhile.
                return Err(LogError);
            }
            *state = recorded;
            prepared.append()
        };
        let appended = appended.await;
        if appended.is_err() {
            // The log does not have the record, or it accepts nothing any more.
            let mut state = self.recorded();
            if *state == recorded {
                *state = before;
            }
        }
        appended
    }

    /// Records that the answer was judged again and that less leaves than one record of all of it says.
    pub(super) fn record_reduction(&self) {
        let is_said = {
            let mut recorded = self.recorded();
            let is_said = *recorded != Recorded::Whole { is_corrected: false };
            if !is_said {
                *recorded = Recorded::Whole { is_corrected: true };
            }
            is_said
        };
        if !is_said {
            self.correct(Outcome::Released);
        }
    }

    /// Records how the exchange ended, without waiting: each disclosure is on record already. Returns false if it had ended
    /// before.
    pub(super) fn end(&self, outcome: Outcome) -> bool {
        let recorded = std::mem::replace(&mut *self.recorded(), Recorded::Ended);
        let log = &self.shared.log;
        match (recorded, outcome) {
            (Recorded::Ended, _) => return false,
            (Recorded::Nothing, Outcome::Refused(code)) => log.refuse(self.head_now(), code),
            // Nothing has left, since a disclosure is recorded before it leaves.
            (Recorded::Nothing, Outcome::Released | Outcome::Aborted) => {}
            (Recorded::Begun, outcome) => {
                log.append_detached(Record::Close { decision: self.head.decision, outcome });
            }
            (Recorded::Whole { .. }, Outcome::Released) => {}
            (Recorded::Whole { .. }, outcome) => self.correct(outcome),
        }
        true
    }

    fn correct(&self, outcome: Outcome) {
        let decision = self.head.decision;
        self.shared.log.append_detached(Record::Correction { decision, outcome, disclosure: None });
    }

    /// Returns the head with the holder as the disclosure log names it now: its log secret may have been made or deleted since
    /// the exchange began.
    fn head_now(&self) -> Arc<ExchangeHead> {
        let mut head = Arc::clone(&self.head);
        let holder = head.holder.map(|holder| self.shared.ledger.logged_person(holder));
        if holder != head.holder {
            Arc::make_mut(&mut head).holder = holder;
        }
        head
    }

    fn recorded(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        if self.end(Outcome::Aborted) {
            self.recipient.cancellations.count();
        }
    }
}
