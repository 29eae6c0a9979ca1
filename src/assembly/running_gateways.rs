//! Tells gateways that run from those that were killed.
//!
//! A gateway that was killed leaves its lease on record, and a process that has just started cannot know how old that lease is.
//! So it watches the record: a lease that is renewed belongs to a gateway that runs, and any other is over after its term.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ledger::StoreError;
use crate::ledger::store::shared::{CLOCK_DRIFT, GatewayDescription, MAX_LEASE, RegisteredGateway};

/// Time between two looks at the record.
const POLL: Duration = Duration::from_millis(50);

/// Returns the gateways among those that `concerns` selects which run, as `look` reads the record. Empty after the leases of
/// all of them are over; not empty as soon as one of them has renewed its lease. Calls `waiting` once if it has to wait.
///
/// # Errors
/// [`StoreError`] of `look`.
pub fn find_running(
    look: &dyn Fn() -> Result<Vec<RegisteredGateway>, StoreError>,
    concerns: &dyn Fn(&GatewayDescription) -> bool,
    waiting: &mut dyn FnMut(&[RegisteredGateway]),
) -> Result<Vec<GatewayDescription>, StoreError> {
    let live = || -> Result<Vec<RegisteredGateway>, StoreError> {
        let gateways = look()?;
        Ok(gateways.into_iter().filter(|gateway| gateway.live && concerns(&gateway.description)).collect())
    };
    let first = live()?;
    if first.is_empty() {
        return Ok(Vec::new());
    }
    waiting(&first);
    let deadline = Instant::now() + MAX_LEASE.mul_f64(CLOCK_DRIFT) + POLL;
    loop {
        sleep(POLL);
        let present = live()?;
        let has_renewed = |gateway: &RegisteredGateway| {
            let before = first.iter().find(|seen| seen.description.instance == gateway.description.instance);
            before.is_none_or(|seen| seen.renewed != gateway.renewed)
        };
        if present.is_empty() || present.iter().any(has_renewed) || Instant::now() >= deadline {
            return Ok(present.into_iter().map(|gateway| gateway.description).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;

    use jiff::Timestamp;
    use ulid::Ulid;

    use super::*;
    use crate::ledger::Position;

    fn gateway(name: &str, renewed: i64, live: bool) -> RegisteredGateway {
        let description = GatewayDescription {
            instance: Ulid::from(name.len() as u128),
            name: Arc::from(name),
            lease: Duration::from_secs(2),
            version: Arc::from("1"),
            namespaces: [1; 32],
            recipients: Vec::new(),
            packs: Vec::new(),
        };
        let renewed = Timestamp::from_millisecond(renewed).unwrap();
        RegisteredGateway { description, applied: Position(1), renewed, live }
    }

    /// Returns the names of those that run, and the number of waits. `record` has the gateways at each look.
    fn found(record: &dyn Fn(i64) -> Vec<RegisteredGateway>) -> (Vec<String>, u32) {
        let (looks, mut waits) = (Cell::new(0), 0);
        let look = || {
            looks.set(looks.get() + 1);
            Ok(record(looks.get()))
        };
        let running = find_running(&look, &|other| &*other.name != "other", &mut |_| waits += 1).unwrap();
        (running.iter().map(|gateway| gateway.name.to_string()).collect(), waits)
    }

    #[test]
    fn only_a_gateway_that_renews_its_lease_runs() {
        assert_eq!(found(&|_| vec![gateway("other", 1, true), gateway("over", 1, false)]), (Vec::new(), 0));
        let killed = |look| vec![gateway("killed", 1, look < 4)];
        assert_eq!(found(&killed), (Vec::new(), 1));
        let both = |look| vec![gateway("killed", 1, true), gateway("running", look / 3, true)];
        assert_eq!(found(&both), (vec!["killed".to_owned(), "running".to_owned()], 1));
        let came = |look| if look < 3 { killed(look) } else { vec![gateway("new", 1, true)] };
        assert_eq!(found(&came), (vec!["new".to_owned()], 1));
    }
}
