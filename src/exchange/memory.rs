//! The memory that exchanges hold: one budget for all recipients, and a share of it for each.
//!
//! Bodies are held in two ways. A streamed body is held in windows, and a recipient that reads slowly makes its window
//! wait. Windows shrink when there are many, down to [`MIN_WINDOW`], so a streamed body never needs more memory than
//! there is: the upstream is read no further. A body or a record that leaves only as a whole cannot wait so, and is
//! refused if it needs more than the share.
//!
//! The counters are updated after the bytes arrived, and exchanges of several threads do not wait for each other. So the
//! sums can exceed a bound by one chunk of each exchange.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;

use prometheus::{IntGauge, IntGaugeVec};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::concurrency::LimitReached;

/// Maximum bytes of a window.
pub(crate) const MAX_WINDOW: usize = 1 << 20;
/// Bytes of a window if many bodies are streamed: one chunk of an upstream.
pub(crate) const MIN_WINDOW: usize = 64 * 1024;
/// Bytes that every exchange can hold, whatever the others hold: a window of [`MIN_WINDOW`] that one more chunk exceeds,
/// before and after it was scrubbed.
pub(crate) const MIN_HELD: usize = 4 * MIN_WINDOW;
/// Maximum bytes that all windows above [`MIN_WINDOW`] hold together.
const MAX_IN_WINDOWS: usize = 8 << 20;
/// Smallest share of one recipient: a body of the default `max-deny-body` fits, before and after it was scrubbed.
const MIN_SHARE: usize = 32 << 20;

/// Default of the budget if nothing is known of the machine's memory.
pub const DEFAULT_MEMORY: usize = 256 << 20;

/// Default share of one recipient: a quarter of the budget.
pub fn memory_per_recipient(memory: usize) -> usize {
    (memory / 4).max(MIN_SHARE).min(memory)
}

/// Counters of held bytes: of all exchanges, or of those of one recipient.
#[derive(Debug, Default)]
struct HeldCounters {
    /// Bytes held.
    bytes: AtomicUsize,
    /// Bytes of them that windows hold.
    in_windows: AtomicUsize,
    /// Number of bodies that are streamed.
    streamed: AtomicUsize,
}

impl HeldCounters {
    fn add(&self, bytes: usize, in_windows: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.in_windows.fetch_add(in_windows, Ordering::Relaxed);
    }

    fn subtract(&self, bytes: usize, in_windows: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.in_windows.fetch_sub(in_windows, Ordering::Relaxed);
    }

    /// Bytes for which a window has room, if all windows may hold `in_windows` and all bodies `max`.
    fn window_room(&self, in_windows: usize, max: usize) -> usize {
        let free = in_windows.saturating_sub(self.in_windows.load(Ordering::Relaxed));
        let share = free / self.streamed.load(Ordering::Relaxed).max(1);
        share.min(max.saturating_sub(self.bytes.load(Ordering::Relaxed)))
    }
}

/// The bytes that the exchanges of one recipient hold.
#[derive(Debug)]
struct RecipientAccount {
    counters: HeldCounters,
    /// One permit for each body of which a chunk may be scrubbed. The others wait outside of the runtime's queue, so that the
    /// many chunks of one recipient do not stand before the first of another.
    scrubbing: Arc<Semaphore>,
    gauge: IntGauge,
}

/// A budget of the bytes that exchanges hold.
#[derive(Debug)]
pub struct MemoryBudget {
    max: usize,
    max_each: usize,
    /// Maximum number of bodies of one recipient of which a chunk is scrubbed at the same time: as many as there are
    /// processors, so that a recipient alone can use all of them.
    max_scrubbing: usize,
    all: HeldCounters,
    /// By the recipient's name. Names come from the configuration, so their number is bounded.
    accounts: Mutex<HashMap<Arc<str>, Arc<RecipientAccount>>>,
    gauges: IntGaugeVec,
}

impl MemoryBudget {
    /// A budget of `max` bytes together and `max_each` for one recipient. `gauges` shows what each recipient holds.
    pub fn new(max: usize, max_each: usize, gauges: IntGaugeVec) -> Arc<MemoryBudget> {
        let (all, accounts) = (HeldCounters::default(), Mutex::default());
        let max_scrubbing = available_parallelism().map_or(1, NonZeroUsize::get);
        Arc::new(MemoryBudget { max, max_each, max_scrubbing, all, accounts, gauges })
    }

    /// Checks that an exchange of this recipient can begin.
    ///
    /// # Errors
    /// [`LimitReached`] if the budget or the recipient's share is used up.
    pub(crate) fn admit(&self, recipient: &Arc<str>) -> Result<(), LimitReached> {
        if self.all.bytes.load(Ordering::Relaxed) >= self.max {
            return Err(LimitReached::Total);
        }
        let account = self.account(recipient);
        let is_used_up = account.counters.bytes.load(Ordering::Relaxed) >= self.max_each;
        if is_used_up { Err(LimitReached::PerHolder) } else { Ok(()) }
    }

    /// Accounts for a body of this recipient. `is_streamed` is true for a body that leaves in windows.
    pub(crate) fn hold(self: &Arc<Self>, recipient: &Arc<str>, is_streamed: bool) -> HeldBytes {
        let account = self.account(recipient);
        let streamed = usize::from(is_streamed);
        self.all.streamed.fetch_add(streamed, Ordering::Relaxed);
        account.counters.streamed.fetch_add(streamed, Ordering::Relaxed);
        HeldBytes { budget: Arc::clone(self), account, bytes: 0, is_streamed }
    }

    fn account(&self, recipient: &Arc<str>) -> Arc<RecipientAccount> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(recipient) {
            return Arc::clone(account);
        }
        let gauge = self.gauges.with_label_values(&[&**recipient]);
        let account = Arc::new(RecipientAccount {
            counters: HeldCounters::default(),
            scrubbing: Arc::new(Semaphore::new(self.max_scrubbing)),
            gauge,
        });
        accounts.insert(Arc::clone(recipient), Arc::clone(&account));
        account
    }
}

/// The bytes that one body holds. Dropping it gives them back.
#[derive(Debug)]
pub(crate) struct HeldBytes {
    budget: Arc<MemoryBudget>,
    account: Arc<RecipientAccount>,
    bytes: usize,
    is_streamed: bool,
}

impl HeldBytes {
    /// Sets the number of bytes that the body holds now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let counters = [&self.budget.all, &self.account.counters];
        let in_windows = |bytes| if self.is_streamed { bytes } else { 0 };
        if let Some(more) = bytes.checked_sub(self.bytes) {
            counters.iter().for_each(|counters| counters.add(more, in_windows(more)));
            self.account.gauge.add(signed(more));
        } else {
            let less = self.bytes.saturating_sub(bytes);
            counters.iter().for_each(|counters| counters.subtract(less, in_windows(less)));
            self.account.gauge.sub(signed(less));
        }
        self.bytes = bytes;
    }

    /// Waits until a chunk of the body may be scrubbed. `None` never occurs: the semaphore is not closed.
    pub(crate) fn turn(&self) -> impl Future<Output = Option<OwnedSemaphorePermit>> + Send + use<> {
        let turn = Arc::clone(&self.account.scrubbing).acquire_owned();
        async move { turn.await.ok() }
    }

    /// Checks that the body can hold this many more bytes, which cannot leave before others arrive.
    ///
    /// # Errors
    /// [`LimitReached`] if they exceed the budget or the recipient's share.
    pub(crate) fn check_room(&self, more: usize) -> Result<(), LimitReached> {
        if self.bytes.saturating_add(more) <= MIN_HELD {
            return Ok(());
        }
        let exceeds =
            |counters: &HeldCounters, max| counters.bytes.load(Ordering::Relaxed).saturating_add(more) > max;
        if exceeds(&self.budget.all, self.budget.max) {
            Err(LimitReached::Total)
        } else if exceeds(&self.account.counters, self.budget.max_each) {
            Err(LimitReached::PerHolder)
        } else {
            Ok(())
        }
    }

    /// Maximum bytes of the window: fewer if there is little memory left, or if many bodies are streamed whose recipients
    /// read slowly.
    pub(crate) fn max_window(&self) -> usize {
        let MemoryBudget { max, max_each, all, .. } = &*self.budget;
        let own = &self.account.counters;
        let in_windows = MAX_IN_WINDOWS.min(*max / 4);
        let room = all.window_room(in_windows, *max);
        // Half of the windows are for other recipients.
        let room = room.min(own.window_room((in_windows / 2).min(*max_each), *max_each));
        // A window is held before and after it is scrubbed.
        (room / 2).clamp(MIN_WINDOW, MAX_WINDOW)
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.set(0);
        let streamed = usize::from(self.is_streamed);
        for counters in [&self.budget.all, &self.account.counters] {
            counters.streamed.fetch_sub(streamed, Ordering::Relaxed);
        }
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    const MIB: usize = 1 << 20;

    fn budget(max: usize, max_each: usize) -> Arc<MemoryBudget> {
        let gauges = IntGaugeVec::new(Opts::new("held_bytes", "Bytes"), &["recipient"]).unwrap();
        MemoryBudget::new(max, max_each, gauges)
    }

    #[test]
    fn one_recipient_cannot_use_up_the_budget() {
        let budget = budget(64 * MIB, 16 * MIB);
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let mut body = budget.hold(&one, false);
        body.set(15 * MIB);
        assert_eq!((body.check_room(MIB), budget.admit(&one)), (Ok(()), Ok(())));
        assert_eq!(body.check_room(2 * MIB), Err(LimitReached::PerHolder));
        body.set(16 * MIB);
        assert_eq!(budget.admit(&one), Err(LimitReached::PerHolder));
        assert_eq!(budget.admit(&other), Ok(()));
        let small = budget.hold(&one, false);
        assert_eq!(small.check_room(MIN_HELD), Ok(()), "an exchange under way goes on");
        assert_eq!(budget.gauges.with_label_values(&["one"]).get(), 16 << 20);
        drop(body);
        assert_eq!(budget.admit(&one), Ok(()));
        assert_eq!(budget.gauges.with_label_values(&["one"]).get(), 0);
    }

    #[test]
    fn all_recipients_together_cannot_exceed_the_budget() {
        let budget = budget(64 * MIB, 16 * MIB);
        let held: Vec<HeldBytes> = (0..4)
            .map(|n| {
                let mut body = budget.hold(&format!("r-{n}").into(), false);
                body.set(16 * MIB);
                body
            })
            .collect();
        let new: Arc<str> = "new".into();
        assert_eq!(budget.admit(&new), Err(LimitReached::Total));
        assert_eq!(budget.hold(&new, false).check_room(MIB), Err(LimitReached::Total));
        drop(held);
        assert_eq!(budget.admit(&new), Ok(()));
    }

    /// Fills each body up to its window, as if nobody read.
    #[test]
    fn windows_shrink_when_there_are_many() {
        let budget = budget(1024 * MIB, 256 * MIB);
        let recipients: Vec<Arc<str>> = (0..4).map(|n| format!("r-{n}").into()).collect();
        let mut bodies = Vec::new();
        for n in 0..1000 {
            let mut body = budget.hold(&recipients[n % 4], true);
            let window = body.max_window();
            assert!((MIN_WINDOW..=MAX_WINDOW).contains(&window));
            assert!(n > 0 || window == MAX_WINDOW, "a single body has a whole window");
            body.set(2 * window);
            bodies.push(body);
        }
        let held = budget.all.bytes.load(Ordering::Relaxed);
        assert!(held <= MAX_IN_WINDOWS + 1000 * 2 * MIN_WINDOW, "{held}");
        drop(bodies);
        assert_eq!(budget.hold(&recipients[0], true).max_window(), MAX_WINDOW);
        assert_eq!(budget.all.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn slow_recipients_do_not_shrink_the_windows_of_others_to_the_minimum() {
        let budget = budget(1024 * MIB, 256 * MIB);
        let bodies: Vec<HeldBytes> = (0..10)
            .map(|_| {
                let mut body = budget.hold(&"slow".into(), true);
                body.set(2 * body.max_window());
                body
            })
            .collect();
        let other = budget.hold(&"other".into(), true).max_window();
        assert!(other > 2 * MIN_WINDOW, "{other}");
        drop(bodies);
    }

    #[test]
    fn the_default_share_has_room_for_one_large_body() {
        assert_eq!(memory_per_recipient(1 << 30), 256 << 20);
        assert_eq!(memory_per_recipient(64 << 20), 32 << 20);
        assert_eq!(memory_per_recipient(16 << 20), 16 << 20);
    }
}
