//! Results that take long to compute: each is computed once, and few at a time.
//!
//! A request that ends early does not end its computation: whoever asks again waits for it.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use crate::gateway::admin::problem::{AdminCode, AdminProblem};

/// Maximum number of computations at a time, so that exchanges keep the processors. The others wait: one for
/// each key, and else one for each connection, of which the listener has a maximum.
const AT_A_TIME: usize = 2;
/// Maximum number of results that are kept of each kind. Beyond it all are dropped.
pub(super) const MAX_KEPT: usize = 8;

/// The threads that pages may use.
#[derive(Clone, Debug)]
pub(super) struct PageThreads(Arc<Semaphore>);

impl Default for PageThreads {
    fn default() -> PageThreads {
        PageThreads(Arc::new(Semaphore::new(AT_A_TIME)))
    }
}

impl PageThreads {
    /// Computes on a thread of its own, as soon as one is free. A computation that has begun keeps its thread to its end.
    ///
    /// # Errors
    /// An [`AdminProblem`] if the computation panics.
    pub(super) async fn compute<T: Send + 'static>(
        &self,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, AdminProblem> {
        let permit = Arc::clone(&self.0).acquire_owned().await.map_err(|_| failed())?;
        let work = move || {
            let result = compute();
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| failed())
    }
}

/// A result, once there is one; `None` if the computation panicked.
type PendingResult<T> = Shared<BoxFuture<'static, Option<Arc<T>>>>;

/// Results by their key.
pub(super) struct Computed<T>(Mutex<HashMap<String, PendingResult<T>>>);

impl<T> Default for Computed<T> {
    fn default() -> Computed<T> {
        Computed(Mutex::default())
    }
}

impl<T> fmt::Debug for Computed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Computed<T> {
    /// Returns the result of a key. It is computed if nobody has asked for it before.
    ///
    /// # Errors
    /// As [`PageThreads::compute`].
    pub(super) async fn get(
        &self,
        key: &str,
        threads: &PageThreads,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Arc<T>, AdminProblem> {
        let pending = self.pending(key, threads, compute);
        if let Some(result) = pending.await {
            return Ok(result);
        }
        self.results().remove(key);
        Err(failed())
    }

    fn pending(
        &self,
        key: &str,
        threads: &PageThreads,
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> PendingResult<T> {
        let mut results = self.results();
        if let Some(known) = results.get(key) {
            return known.clone();
        }
        if results.len() >= MAX_KEPT {
            results.clear();
        }
        let threads = threads.clone();
        // A task of its own: it goes on if the request ends early.
        let task = tokio::spawn(async move { threads.compute(compute).await.ok().map(Arc::new) });
        let pending = task.map(|computed| computed.ok().flatten()).boxed().shared();
        results.insert(key.to_owned(), pending.clone());
        pending
    }

    fn results(&self) -> MutexGuard<'_, HashMap<String, PendingResult<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed() -> AdminProblem {
    AdminProblem::new(AdminCode::ReportUnavailable, "the page cannot be computed")
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_result_is_computed_once_however_many_ask() {
        let (computed, threads) = (Computed::<usize>::default(), PageThreads::default());
        let (begun, go_on) = (Arc::new(AtomicUsize::new(0)), mpsc::channel::<()>());
        let (release, wait) = (go_on.0, Arc::new(Mutex::new(go_on.1)));
        let ask = || {
            let (begun, wait) = (Arc::clone(&begun), Arc::clone(&wait));
            computed.get("a", &threads, move || {
                begun.fetch_add(1, Ordering::SeqCst);
                wait.lock().unwrap().recv().ok();
                7
            })
        };
        // One who asks and goes away.
        {
            let mut left = std::pin::pin!(ask());
            assert!(futures_util::poll!(left.as_mut()).is_pending());
        }
        drop(release);
        let all = join_all((0..20).map(|_| ask())).await;
        assert!(all.into_iter().all(|result| *result.unwrap() == 7));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn few_are_computed_at_a_time() {
        let (computed, threads) = (Computed::<()>::default(), PageThreads::default());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let ask = async |key: usize| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            let compute = move || {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::yield_now();
                now.fetch_sub(1, Ordering::SeqCst);
            };
            computed.get(&key.to_string(), &threads, compute).await
        };
        for result in join_all((0..100).map(ask)).await {
            result.unwrap();
        }
        assert!((1..=AT_A_TIME).contains(&most.load(Ordering::SeqCst)));
        assert!(computed.0.lock().unwrap().len() <= MAX_KEPT);
    }
}
