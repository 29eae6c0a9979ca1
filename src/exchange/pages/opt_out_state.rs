//! Keys and limits of the opt-out links.

use std::num::NonZeroU32;
use std::sync::Arc;

use governor::{DefaultDirectRateLimiter, Quota};

use crate::exchange::Refusal;
use crate::exchange::concurrency::ConcurrencyLimit;
use crate::keys::OptOutLinks;
use crate::vocabulary::SubjectId;

/// Maximum number of objections whose body is awaited at a time. Objections need no credential, so they have a limit of
/// their own, separate from that of exchanges.
const MAX_POSTS: usize = 256;
/// Maximum number of awaited objections for one link, so that the holder of one link cannot keep others from objecting.
const MAX_POSTS_PER_LINK: usize = 4;

/// Maximum number of objections recorded per second, and in one burst. Only readable links of people who have not
/// objected yet count, so a flood of other requests cannot keep others from objecting.
const PER_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// The state of the opt-out links: their keys and limits.
#[derive(Debug)]
pub struct OptOut {
    /// Makes and reads the links.
    pub links: OptOutLinks,
    rate: DefaultDirectRateLimiter,
    pub(super) posts: Arc<ConcurrencyLimit<SubjectId>>,
}

impl OptOut {
    /// The state for links with these keys.
    pub fn new(links: OptOutLinks) -> OptOut {
        let rate = DefaultDirectRateLimiter::direct(Quota::per_second(PER_SECOND));
        OptOut { links, rate, posts: ConcurrencyLimit::new(MAX_POSTS, MAX_POSTS_PER_LINK) }
    }

    /// Counts one objection against the rate.
    ///
    /// # Errors
    /// [`Refusal::TooManyRequests`] beyond it.
    pub(super) fn check_rate(&self) -> Result<(), Refusal> {
        self.rate.check().map_err(|_| Refusal::TooManyRequests)
    }
}
