//! The bounds of a listener: numbers of exchanges and connections, and times.

use std::time::Duration;

use crate::config::memory::ProcessMemory;
use crate::document::Fields;
use crate::exchange::exchanges_per_recipient;

/// Default time for a request's body to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// The bounds of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// Maximum number of exchanges under way.
    pub max_exchanges: usize,
    /// Maximum number of exchanges of one recipient under way.
    pub max_exchanges_per_recipient: usize,
    /// Maximum number of open connections of one client address. `None`: a quarter of those that there are.
    pub max_connections_per_address: Option<usize>,
}

pub(super) fn read(fields: &mut Fields<'_>) -> ListenerLimits {
    let mut number = |key| Some(usize::try_from(fields.number(key)?.value).unwrap_or(usize::MAX));
    let max_exchanges = number("max-exchanges").unwrap_or_else(|| ProcessMemory::of_system().exchanges());
    let each = number("max-exchanges-per-recipient");
    let max_connections_per_address = number("max-connections-per-address");
    ListenerLimits {
        request_timeout: fields.duration("request-timeout").unwrap_or(REQUEST_TIMEOUT),
        max_exchanges,
        max_exchanges_per_recipient: each.unwrap_or(exchanges_per_recipient(max_exchanges)),
        max_connections_per_address,
    }
}
