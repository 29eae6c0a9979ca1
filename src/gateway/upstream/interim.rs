//! Counts the interim responses (1xx) to one HTTP/1.1 request. hyper itself drops any number of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Request;
use tokio::sync::Notify;

use super::frames::MAX_INTERIM;
use super::request::OutgoingBody;

#[derive(Debug, Default)]
pub(super) struct InterimCounter {
    count: AtomicU64,
    /// Notified once there are too many.
    pub(super) over: Notify,
}

impl InterimCounter {
    pub(super) fn of(request: &mut Request<OutgoingBody>) -> Arc<InterimCounter> {
        let interim = Arc::<InterimCounter>::default();
        let counting = Arc::clone(&interim);
        hyper::ext::on_informational(request, move |_| {
            counting.count.fetch_add(1, Ordering::Relaxed);
            if counting.is_over() {
                counting.over.notify_one();
            }
        });
        interim
    }

    pub(super) fn is_over(&self) -> bool {
        self.count.load(Ordering::Relaxed) > MAX_INTERIM
    }
}
