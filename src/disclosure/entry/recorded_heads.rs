//! The exchanges of the process that have not ended, each with the entry that has its circumstances.
//!
//! The first disclosure of a later day has the circumstances again: the retention of the first day would otherwise take recipient,
//! purpose and route from all later ones. The end of an exchange that is on record as a whole is not known, so of these only the
//! last ones of a day are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use ulid::Ulid;

use crate::disclosure::record::ExchangeHead;

/// Maximum number of exchanges. Beyond it the oldest are forgotten: their later windows have no circumstances.
const MAX_OPEN: usize = 1 << 16;

/// Maximum number of exchanges that are on record as a whole. Beyond it the oldest are forgotten: a correction of a later day then
/// has no circumstances.
const MAX_WHOLE: usize = 1 << 13;

/// Time of a day in milliseconds from which exchanges that are on record as a whole are kept: two hours before its end.
pub(super) const LATE: u64 = 22 * 60 * 60 * 1000;

/// The circumstances of an exchange that has not ended.
struct RecordedHead {
    head: Arc<ExchangeHead>,
    /// The last entry that has them.
    entry: u64,
    /// The entry that had them before, if the last one may not be written.
    before: Option<u64>,
}

/// The circumstances of the exchanges that have not ended.
#[derive(Default)]
pub(super) struct RecordedHeads {
    open: BTreeMap<Ulid, RecordedHead>,
    /// Exchanges that are on record as a whole.
    whole: BTreeMap<Ulid, RecordedHead>,
    /// Exchanges whose end may not be written.
    ended: Vec<Ulid>,
}

impl RecordedHeads {
    /// Notes that an entry has the circumstances of an exchange.
    pub(super) fn note(&mut self, head: Arc<ExchangeHead>, entry: u64) {
        note(&mut self.open, MAX_OPEN, head, entry);
    }

    /// Notes that an entry has the circumstances of an exchange that is on record as a whole.
    pub(super) fn note_whole(&mut self, head: Arc<ExchangeHead>, entry: u64) {
        note(&mut self.whole, MAX_WHOLE, head, entry);
    }

    /// Forgets exchanges that are on record as a whole by entries before this one.
    pub(super) fn forget_whole(&mut self, before: u64) {
        self.whole.retain(|_, known| known.entry >= before);
    }

    /// Returns the circumstances of an exchange, and the last entry that has them, if that is an entry of an earlier day than
    /// the one that begins with `first_of_day`.
    pub(super) fn of_earlier_day(
        &self,
        decision: Ulid,
        first_of_day: u64,
    ) -> Option<(Arc<ExchangeHead>, u64)> {
        let known = self.open.get(&decision).or_else(|| self.whole.get(&decision));
        let known = known.filter(|known| known.entry < first_of_day)?;
        Some((Arc::clone(&known.head), known.entry))
    }

    /// Notes that an exchange has ended.
    pub(super) fn end(&mut self, decision: Ulid) {
        self.ended.push(decision);
    }

    /// Notes that all entries are written.
    pub(super) fn written(&mut self) {
        for decision in self.ended.drain(..) {
            self.open.remove(&decision);
        }
    }

    /// Forgets the entries that were not written: those from this one on.
    pub(super) fn roll_back(&mut self, size: u64) {
        self.ended.clear();
        for known in [&mut self.open, &mut self.whole] {
            known.retain(|_, known| {
                if known.entry < size {
                    return true;
                }
                let before = known.before.take();
                known.entry = before.unwrap_or(known.entry);
                before.is_some()
            });
        }
    }

    pub(super) fn clear(&mut self) {
        *self = RecordedHeads::default();
    }
}

/// Notes that an entry has the circumstances of an exchange, among at most `max` others.
fn note(noted: &mut BTreeMap<Ulid, RecordedHead>, max: usize, head: Arc<ExchangeHead>, entry: u64) {
    let (decision, before) = (head.decision, noted.get(&head.decision).map(|known| known.entry));
    if before.is_none() && noted.len() >= max {
        noted.pop_first();
    }
    noted.insert(decision, RecordedHead { head, entry, before });
}
