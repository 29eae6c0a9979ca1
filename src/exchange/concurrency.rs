//! A limit of concurrent work: one number for all holders together and one for each, so that no single holder can take
//! all permits.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A concurrency limit by holder. A holder without a permit has no entry, so there are never more entries than permits.
#[derive(Debug)]
pub struct ConcurrencyLimit<K> {
    all: Arc<Semaphore>,
    max_each: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// Reason for which there is no permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// All permits are taken.
    Total,
    /// The holder has as many permits as one holder may have.
    PerHolder,
}

impl<K: Clone + Eq + Hash> ConcurrencyLimit<K> {
    /// A limit of `max` permits together and `max_each` for one holder.
    pub fn new(max: usize, max_each: usize) -> Arc<ConcurrencyLimit<K>> {
        let all = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(ConcurrencyLimit { all, max_each, held: Mutex::default() })
    }

    /// Takes a permit for a holder, without waiting.
    ///
    /// # Errors
    /// [`LimitReached`] if there is none.
    pub fn acquire(self: &Arc<Self>, holder: &K) -> Result<ConcurrencyPermit<K>, LimitReached> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| LimitReached::Total)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(holder).copied().unwrap_or(0);
        if own >= self.max_each {
            return Err(LimitReached::PerHolder);
        }
        held.insert(holder.clone(), own + 1);
        Ok(ConcurrencyPermit { _permit: permit, limit: Arc::clone(self), holder: holder.clone() })
    }
}

/// A permit. Dropping it gives it back.
#[derive(Debug)]
pub struct ConcurrencyPermit<K: Eq + Hash> {
    _permit: OwnedSemaphorePermit,
    limit: Arc<ConcurrencyLimit<K>>,
    holder: K,
}

impl<K: Eq + Hash> Drop for ConcurrencyPermit<K> {
    fn drop(&mut self) {
        let mut held = self.limit.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.holder) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.remove(&self.holder)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_holder_takes_all_permits_and_dropped_permits_come_back() {
        let limit = ConcurrencyLimit::new(3, 2);
        let own: Vec<_> = (0..2).map(|_| limit.acquire(&"a").unwrap()).collect();
        assert_eq!(limit.acquire(&"a").unwrap_err(), LimitReached::PerHolder);
        let other = limit.acquire(&"b").unwrap();
        assert_eq!(limit.acquire(&"c").unwrap_err(), LimitReached::Total);
        drop(other);
        let _third = limit.acquire(&"c").unwrap();
        drop(own);
        assert_eq!(limit.held.lock().unwrap().len(), 1, "holders without a permit have no entry");
        let _again = (limit.acquire(&"a").unwrap(), limit.acquire(&"a").unwrap());
    }
}
