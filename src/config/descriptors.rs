//! The numbers of connections and exchanges that the limit of open files and the memory allow. Connections must never use
//! up the descriptors of log and ledger.

use rustix::process::{Resource, getrlimit};
#[cfg(feature = "gateway")]
use rustix::process::{Rlimit, setrlimit};

use super::memory::ProcessMemory;

/// Maximum number of descriptors to ask for. An unlimited table would only cost memory of the kernel.
const MAX_DESCRIPTORS: u64 = 1 << 20;
/// Maximum number of open connections of one public listener.
const MAX_CONNECTIONS: u64 = 10_000;
/// Number of connections of each listener below which the operator is warned.
const FEW_CONNECTIONS: u64 = 1000;
/// Maximum number of open connections of the admin listener.
pub(crate) const MAX_ADMIN_CONNECTIONS: u32 = 64;
/// Maximum number of open connections of the probes listener.
pub(crate) const MAX_PROBE_CONNECTIONS: u32 = 64;
/// Descriptors reserved for log, ledger, keys, reloads, the runtime, and the connections of the admin and the probes listener.
const RESERVE: u64 = 64 + MAX_ADMIN_CONNECTIONS as u64 + MAX_PROBE_CONNECTIONS as u64;

/// Default limit of open connections of one client address: a quarter of the listener's.
#[cfg(feature = "gateway")]
pub(crate) fn connections_per_address(connections: u32) -> usize {
    (connections as usize).div_ceil(4)
}

/// Returns the limit of open files that the system allows, at most [`MAX_DESCRIPTORS`].
fn allowed() -> u64 {
    getrlimit(Resource::Nofile).maximum.unwrap_or(MAX_DESCRIPTORS).min(MAX_DESCRIPTORS)
}

/// Raises the limit of open files to the one that the system allows. Returns the resulting limit.
#[cfg(feature = "gateway")]
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

/// The numbers of connections and exchanges that the limit of open files allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DescriptorBudget {
    /// Maximum number of open connections of each public listener.
    pub(crate) connections: u32,
    /// Maximum number of exchanges of all listeners: each can have a connection to an upstream.
    pub(crate) exchanges: usize,
    limit: u64,
}

impl DescriptorBudget {
    /// Distributes a limit among `listeners` public listeners with `exchanges` exchanges in total.
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

    /// Returns the exchanges of one listener that is configured for `own` of `all` exchanges.
    #[cfg(feature = "gateway")]
    pub(crate) fn listener_exchanges(&self, own: usize, all: usize) -> usize {
        if self.exchanges >= all { own } else { (self.exchanges.saturating_mul(own) / all).max(1) }
    }

    /// Limits the connections to those for which there is memory.
    #[cfg(feature = "gateway")]
    pub(crate) fn within(self, memory: ProcessMemory, listeners: usize) -> DescriptorBudget {
        let connections = u64::from(self.connections).min(connections_within(memory, listeners));
        DescriptorBudget { connections: u32::try_from(connections).unwrap_or(u32::MAX), ..self }
    }

    /// Distributes the limit that the system allows.
    pub(super) fn of_system(listeners: usize, exchanges: usize) -> DescriptorBudget {
        DescriptorBudget::new(allowed(), listeners, exchanges)
    }

    /// Returns a description of the shortage if there are few connections for each listener.
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

/// Returns the number of connections of each listener for which there is memory.
fn connections_within(memory: ProcessMemory, listeners: usize) -> u64 {
    (memory.connections() / (listeners.max(1) as u64)).max(1)
}

/// Returns a description of the shortage if there is memory for few connections of each listener.
pub(super) fn memory_shortage(memory: ProcessMemory, listeners: usize) -> Option<String> {
    let connections = connections_within(memory, listeners);
    (connections < FEW_CONNECTIONS).then(|| {
        let (mebibytes, exchanges) = (memory.mebibytes(), memory.exchanges());
        format!(
            "the memory ({mebibytes} MiB) allows {connections} connections for each listener, and by default \
             {exchanges} exchanges at a time"
        )
    })
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
        assert_eq!((shell.connections, shell.exchanges), (416, 416));
        assert!(shell.shortage().is_some_and(|words| words.contains("(1024) allows 416 connections")));
    }
}
