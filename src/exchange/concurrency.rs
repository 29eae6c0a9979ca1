//! Places that are shared out: a number for all holders together, and one for each, so that no single
//! holder can take all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places by holder. A holder without a place has no entry, so there are never more entries than places.
#[derive(Debug)]
pub struct Places<K> {
    all: Arc<Semaphore>,
    max_each: usize,
    held: Mutex<HashMap<K, usize>>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// All places are taken.
    All,
    /// The holder has as many as one may have.
    Own,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// `max` places together, `max_each` for one holder.
    pub fn new(max: usize, max_each: usize) -> Arc<Places<K>> {
        let all = Arc::new(Semaphore::new(max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Places { all, max_each, held: Mutex::default() })
    }

    /// Takes a place for a holder, without waiting.
    ///
    /// # Errors
    /// [`Full`] where there is none.
    pub fn take(self: &Arc<Self>, holder: &K) -> Result<Place<K>, Full> {
        let permit = Arc::clone(&self.all).try_acquire_owned().map_err(|_| Full::All)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.get(holder).copied().unwrap_or(0);
        if own >= self.max_each {
            return Err(Full::Own);
        }
        held.insert(holder.clone(), own + 1);
        Ok(Place { _permit: permit, places: Arc::clone(self), holder: holder.clone() })
    }
}

/// A place that is given back when this is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    _permit: OwnedSemaphorePermit,
    places: Arc<Places<K>>,
    holder: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
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
        let places = Places::new(3, 2);
        let own: Vec<_> = (0..2).map(|_| places.take(&"a").unwrap()).collect();
        assert_eq!(places.take(&"a").unwrap_err(), Full::Own);
        let other = places.take(&"b").unwrap();
        assert_eq!(places.take(&"c").unwrap_err(), Full::All);
        drop(other);
        let _third = places.take(&"c").unwrap();
        drop(own);
        assert_eq!(places.held.lock().unwrap().len(), 1, "only those that hold one are remembered");
        let _again = (places.take(&"a").unwrap(), places.take(&"a").unwrap());
    }
}
