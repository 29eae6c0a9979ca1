//! The bounds of a listener: numbers of exchanges and connections, times and rates.

use std::time::Duration;

use crate::config::memory::ProcessMemory;
use crate::document::Fields;
use crate::exchange::exchanges_per_recipient;

/// Default maximum number of requests of one connection.
const REQUESTS: usize = 10_000;
/// Default maximum age of a connection.
const CONNECTION_AGE: Duration = Duration::from_secs(60 * 60);
/// Default time for a request's body to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// Default time for a response to leave.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// Default minimum rate of bodies, in bytes per second.
const BODY_RATE: usize = 256;

/// The bounds of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerLimits {
    /// Time for a request's body to arrive.
    pub request_timeout: Duration,
    /// Time from a request's head to the last byte of its response, unless the response may have no end.
    pub response_timeout: Duration,
    /// Minimum rate of the bodies of requests and responses, in bytes per second; 0: none.
    pub min_body_rate: usize,
    /// Maximum number of exchanges under way.
    pub max_exchanges: usize,
    /// Maximum number of exchanges of one recipient under way.
    pub max_exchanges_per_recipient: usize,
    /// Maximum number of open connections of one client address. `None`: a quarter of those that there are.
    pub max_connections_per_address: Option<usize>,
    /// Maximum number of requests of one connection.
    pub max_requests_per_connection: usize,
    /// Time after which a connection takes no more requests.
    pub max_connection_age: Duration,
}

pub(super) fn read(fields: &mut Fields<'_>) -> ListenerLimits {
    let mut number = |key| Some(usize::try_from(fields.number(key)?.value).unwrap_or(usize::MAX));
    let max_exchanges = number("max-exchanges").unwrap_or_else(|| ProcessMemory::of_system().exchanges());
    let each = number("max-exchanges-per-recipient");
    let max_connections_per_address = number("max-connections-per-address");
    let max_requests_per_connection = number("max-requests-per-connection").unwrap_or(REQUESTS);
    ListenerLimits {
        request_timeout: fields.duration("request-timeout").unwrap_or(REQUEST_TIMEOUT),
        response_timeout: fields.duration("response-timeout").unwrap_or(RESPONSE_TIMEOUT),
        min_body_rate: fields.size("min-body-rate").unwrap_or(BODY_RATE),
        max_exchanges,
        max_exchanges_per_recipient: each.unwrap_or(exchanges_per_recipient(max_exchanges)),
        max_connections_per_address,
        max_requests_per_connection,
        max_connection_age: fields.duration("max-connection-age").unwrap_or(CONNECTION_AGE),
    }
}
