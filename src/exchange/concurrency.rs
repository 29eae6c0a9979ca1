//! Places that are shared out: a number for all holders together, and one for each, so that no single
//! holder can take all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places by holder. A holder without a place has no entry, so there are never more entries than places.
#[derive(Debug)]
pub struct ConcurrencyLimit<K> {
    all: Arc<Semaphore>,
    max_each: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitReached {
    /// All places are taken.
    Total,
    /// The holder has as many as one may have.
    PerHolder,
}

impl<K: Clone + Eq + Hash> ConcurrencyLimit<K> {
    /// `max` places together, `max_each` for one holder.
    pub fn new(max: usize, max_each: usize) -> Arc<ConcurrencyLimit<K>> {
        let all = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(ConcurrencyLimit { all, max_each, held: Mutex::default() })
    }

    /// Takes a place for a holder, without waiting.
    ///
    /// # Errors
    /// [`Full`] where there is none.
    pub fn acquire(self: &Arc<Self>, holder: &K) -> Result<ConcurrencyPermit<K>, LimitReached> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| LimitReached::Total)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(holder).copied().unwrap_or(0);
        if own >= self.max_each {
            return Err(LimitReached::PerHolder);
        }
        held.insert(holder.clone(), own + 1);
        Ok(ConcurrencyPermit { _permit: permit, places: Arc::clone(self), holder: holder.clone() })
    }
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub struct ConcurrencyPermit<K: Eq + Hash> {
    _permit: OwnedSemaphorePermit,
    places: Arc<ConcurrencyLimit<K>>,
    holder: K,
}

impl<K: Eq + Hash> Drop for ConcurrencyPermit<K> {
    fn drop(&mut self) {
        let mut held = self.places.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.holder) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(held.remove(&self.holder)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn nobody_takes_all_places_and_all_of_them_come_back() {
        let places = ConcurrencyLimit::new(3, 2);
        let own: Vec<_> = (0..2).map(|_| places.acquire(&"a").unwrap()).collect();
        assert_eq!(places.acquire(&"a").unwrap_err(), LimitReached::PerHolder);
        let other = places.acquire(&"b").unwrap();
        assert_eq!(places.acquire(&"c").unwrap_err(), LimitReached::Total);
        drop(other);
        let _third = places.acquire(&"c").unwrap();
        drop(own);
        assert_eq!(places.held.lock().unwrap().len(), 1, "only those that hold one are remembered");
        let _again = (places.acquire(&"a").unwrap(), places.acquire(&"a").unwrap());
    }
}
