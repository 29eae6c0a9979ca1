//! File descriptors: as many as the system gives, and shared out so that connections never take those of
//! the log and the ledger.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are asked for at most: what is unlimited would only cost the kernel memory.
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// Connections of one public listener at a time.
const MAX_CONNECTIONS: u64 = 10_000;
/// Below this many connections for each listener, an operator is told.
const FEW_CONNECTIONS: u64 = 1000;
/// Connections of the admin listener at a time.
pub(crate) const MAX_ADMIN_CONNECTIONS: u32 = 64;
/// Kept free for log, ledger, keys, reloads, the runtime and the admin listener's connections.
const RESERVE: u64 = 64 + MAX_ADMIN_CONNECTIONS as u64;

/// The limit of open files that the system allows, as far as it is asked for.
fn allowed() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(MAX_DESCRIPTORS).min(MAX_DESCRIPTORS)
}

/// Raises the limit of open files to what the system allows. Returns the limit that is in force then.
pub(crate) fn raise_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = allowed();
    let own = current.unwrap_or(MAX_DESCRIPTORS);
    if own >= wanted {
        return own;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(_) => own,
    }
}

/// How many connections and exchanges the limit of open files allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// Connections of each public listener at a time.
    pub(crate) connections: u32,
    /// Exchanges of all listeners at a time: each may have a connection to an upstream.
    pub(crate) exchanges: usize,
    limit: u64,
}

impl DescriptorBudget {
    /// Shares out a limit among so many public listeners, whose exchanges together are to be `exchanges`.
    pub(crate) fn new(limit: u64, listeners: usize, exchanges: usize) -> DescriptorBudget {
        let free = limit.saturating_sub(RESERVE.min(limit / 2));
        let upstreams = (exchanges as u64).min(free / 2);
        let connections = (free - upstreams) / (listeners.max(1) as u64);
        DescriptorBudget {
            connections: u32::try_from(connections.clamp(1, MAX_CONNECTIONS)).unwrap_or(u32::MAX),
            exchanges: usize::try_from(upstreams).unwrap_or(usize::MAX),
            limit,
        }
    }

    /// The exchanges of one listener, of whose `own` the listeners together have `all`.
    pub(crate) fn listener_exchanges(&self, own: usize, all: usize) -> usize {
        if self.exchanges >= all { own } else { (self.exchanges.saturating_mul(own) / all).max(1) }
    }

    /// Shares out what the system allows.
    pub(super) fn of_system(listeners: usize, exchanges: usize) -> DescriptorBudget {
        DescriptorBudget::new(allowed(), listeners, exchanges)
    }

    /// What is wrong with it, where it is small.
    pub(super) fn shortage(&self) -> Option<String> {
        let DescriptorBudget { connections, exchanges, limit } = self;
        (u64::from(*connections) < FEW_CONNECTIONS).then(|| {
            format!(
                "the limit of open files ({limit}) allows {connections} connections for each listener and \
                 {exchanges} exchanges at a time"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_never_take_what_the_log_needs() {
        for limit in [200, 256, 1024, 4096, 20_000, 1 << 20] {
            for listeners in [1, 2, 5] {
                let budget = DescriptorBudget::new(limit, listeners, 1024 * listeners);
                let taken = u64::from(budget.connections) * listeners as u64 + budget.exchanges as u64;
                let reserve = RESERVE.min(limit / 2);
                assert!(taken <= (limit - reserve).max(listeners as u64), "{limit} {listeners} {budget:?}");
            }
        }
        let plenty = DescriptorBudget::new(20_000, 1, 1024);
        assert_eq!((plenty.connections, plenty.exchanges, plenty.shortage()), (10_000, 1024, None));
        let shell = DescriptorBudget::new(1024, 1, 1024);
        assert_eq!((shell.connections, shell.exchanges), (448, 448));
        assert!(shell.shortage().is_some_and(|words| words.contains("(1024) allows 448 connections")));
    }
}
