//! Cache of the pages of purposes, one for each snapshot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;

use crate::vocabulary::PurposeId;

/// Maximum number of cached pages of a snapshot.
const MAX_PAGES: usize = 256;

/// Everything that a page of purposes depends on within a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PageKey {
    pub(super) recipient: Arc<str>,
    pub(super) locked: Option<PurposeId>,
    pub(super) in_agreement: bool,
    /// The revision of each pack that is in force.
    pub(super) packs: Vec<Option<Arc<str>>>,
    /// The number of routes that are observed now. It tells the sets apart, because the days on which they end are fixed.
    pub(super) observed_routes: usize,
}

/// Cache of the pages of purposes. Making a page evaluates the policy for every category of every route.
#[derive(Debug, Default)]
pub struct PurposePages(Mutex<HashMap<PageKey, Arc<OnceLock<Bytes>>>>);

impl PurposePages {
    pub(super) fn get(&self, key: PageKey, make: impl FnOnce() -> Bytes) -> Bytes {
        let page = {
            let mut pages = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if pages.len() >= MAX_PAGES && !pages.contains_key(&key) {
                pages.clear();
            }
            Arc::clone(pages.entry(key).or_default())
        };
        // Concurrent requests for the same page wait for the first one.
        page.get_or_init(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_made_once_for_each_key_and_the_cache_is_bounded() {
        let pages = PurposePages::default();
        let key = |recipient: usize, in_agreement| PageKey {
            recipient: recipient.to_string().into(),
            locked: None,
            in_agreement,
            packs: vec![None],
            observed_routes: 0,
        };
        let made = std::cell::Cell::new(0);
        let get = |key| {
            pages.get(key, || {
                made.set(made.get() + 1);
                Bytes::from_static(b"{}")
            })
        };
        for _ in 0..3 {
            get(key(1, true));
        }
        assert_eq!(made.get(), 1);
        get(key(1, false));
        assert_eq!(made.get(), 2, "an agreement that ends makes another page");
        for recipient in 0..3 * MAX_PAGES {
            get(key(recipient, true));
            assert!(pages.0.lock().unwrap().len() <= MAX_PAGES);
        }
    }
}
