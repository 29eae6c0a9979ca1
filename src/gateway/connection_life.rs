//! The number of requests and the age after which a connection takes no more requests, so that no connection lives for
//! ever: a load balancer can distribute its clients anew, and memory of long connections is returned.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::keys::random;

/// Fraction by which ages differ, so that connections that began together do not end together.
const JITTER_PERCENT: u32 = 10;

/// The requests and the time that a connection has left.
#[derive(Debug)]
pub(super) struct ConnectionLife {
    requests_left: AtomicUsize,
    used_up: Notify,
    /// `None`: beyond what the clock can count.
    ends: Option<Instant>,
}

impl ConnectionLife {
    /// A connection that begins now, with about this age and this number of requests.
    pub(super) fn new(max_requests: usize, max_age: Duration) -> ConnectionLife {
        let random = u32::from(random::bits().unwrap_or(0) as u16);
        let ends = Instant::now().checked_add(jittered(max_age, random));
        ConnectionLife { requests_left: AtomicUsize::new(max_requests), used_up: Notify::new(), ends }
    }

    /// Counts a request. True for the last one that the connection takes, and for those that were on their way.
    pub(super) fn count_request(&self) -> bool {
        let left = |left: usize| Some(left.saturating_sub(1));
        let before = self.requests_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).unwrap_or(0);
        let is_last = before <= 1;
        if is_last {
            self.used_up.notify_one();
        }
        is_last
    }

    /// Returns when the connection takes no more requests.
    pub(super) async fn over(&self) {
        let aged = async {
            match self.ends {
                Some(ends) => sleep_until(ends).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.used_up.notified() => {}
            () = aged => {}
        }
    }
}

/// Returns an age that differs from `age` by up to [`JITTER_PERCENT`]; `random` is below 65,536.
fn jittered(age: Duration, random: u32) -> Duration {
    let least = (age / 100).saturating_mul(100 - JITTER_PERCENT);
    least.saturating_add((age / 100 * (2 * JITTER_PERCENT) / 65_536).saturating_mul(random))
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_connection_is_over_after_its_last_request_or_its_age() {
        let life = ConnectionLife::new(3, HOUR);
        assert_eq!([life.count_request(), life.count_request()], [false, false]);
        let mut over = pin!(life.over());
        assert!(futures_util::poll!(over.as_mut()).is_pending());
        assert!(life.count_request() && life.count_request());
        over.await;
        let (began, short) = (Instant::now(), Duration::from_millis(100));
        ConnectionLife::new(usize::MAX, short).over().await;
        assert!(began.elapsed() >= short * 9 / 10);
        let unlimited = ConnectionLife::new(usize::MAX, Duration::MAX);
        assert!(futures_util::poll!(pin!(unlimited.over())).is_pending());
    }

    #[test]
    fn ages_differ_by_a_tenth() {
        let (least, most) = (jittered(HOUR, 0), jittered(HOUR, 65_535));
        assert_eq!(least, HOUR * 9 / 10);
        assert!(most > HOUR * 109 / 100 && most <= HOUR * 11 / 10);
    }
}
