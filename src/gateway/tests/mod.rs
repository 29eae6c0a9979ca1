//! Whole exchanges through the layer and the state of a gateway, without sockets.

mod differential;
mod exchange_records;
mod fixture;
mod observed_exchanges;
mod recipient_lookups;
mod stale_exchanges;
