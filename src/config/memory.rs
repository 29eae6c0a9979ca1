//! The memory that this process may use, and the bounds that follow from it.

use std::path::{Path, PathBuf};

use crate::exchange::MAX_EXCHANGES;
use crate::exchange::memory::{DEFAULT_MEMORY, MIN_HELD};

/// Smallest and largest default of the memory for bodies.
const BODIES: (u64, u64) = (64 << 20, 1 << 30);
/// Bytes that one connection can take without an exchange: buffers for heads, TLS, and its task.
const CONNECTION: u64 = 100 * 1024;

/// The memory that this process may use. Bodies may take a quarter of it, and connections another quarter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProcessMemory(Option<u64>);

impl ProcessMemory {
    /// Reads the limit of the control group, or else the size of the machine's memory.
    pub(crate) fn of_system() -> ProcessMemory {
        let of_machine = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
        ProcessMemory(of_control_group().into_iter().chain(of_machine).min())
    }

    fn quarter(self) -> Option<u64> {
        self.0.map(|memory| memory / 4)
    }

    /// Returns the default of the memory for bodies.
    pub(super) fn for_bodies(self) -> usize {
        let (min, max) = BODIES;
        let quarter = self.quarter().and_then(|quarter| usize::try_from(quarter.clamp(min, max)).ok());
        quarter.unwrap_or(DEFAULT_MEMORY)
    }

    /// Returns the default limit of concurrent exchanges of a listener.
    pub(super) fn exchanges(self) -> usize {
        let possible = self.quarter().map_or(u64::MAX, |quarter| quarter / MIN_HELD as u64);
        usize::try_from(possible).unwrap_or(usize::MAX).clamp(1, MAX_EXCHANGES)
    }

    /// Returns the number of connections of all listeners for which there is memory.
    pub(super) fn connections(self) -> u64 {
        self.quarter().map_or(u64::MAX, |quarter| quarter / CONNECTION)
    }

    /// The memory, in MiB.
    pub(super) fn mebibytes(self) -> u64 {
        self.0.unwrap_or(u64::MAX) >> 20
    }
}

/// Returns the limit of the process's control group or of one above it, whichever is the smallest.
fn of_control_group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(unified_group(&groups)?.strip_prefix('/')?);
    let folders = own.ancestors().take_while(|folder| folder.starts_with(root)).map(PathBuf::from);
    let limits = folders.filter_map(|folder| std::fs::read_to_string(folder.join("memory.max")).ok());
    // A group without a limit has the text `max`.
    limits.filter_map(|limit| limit.trim().parse::<u64>().ok()).min()
}

/// Returns the path of the group in the unified hierarchy (cgroup v2).
fn unified_group(groups: &str) -> Option<&str> {
    groups.lines().find_map(|line| line.strip_prefix("0::"))
}

/// Returns `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_linux_are_read() {
        assert_eq!(total("MemTotal:       24540116 kB\nMemFree:  1 kB\n"), Some(24_540_116 << 10));
        assert_eq!(total("MemFree: 1 kB\n"), None);
        assert_eq!(
            unified_group("1:name=systemd:/x\n0::/system.slice/gateway.service\n"),
            Some("/system.slice/gateway.service")
        );
        assert_eq!(unified_group("1:memory:/x\n"), None);
    }

    #[test]
    fn bounds_follow_from_memory() {
        let of = |mebibytes: u64| ProcessMemory(Some(mebibytes << 20));
        let bounds =
            |memory: ProcessMemory| (memory.for_bodies() >> 20, memory.exchanges(), memory.connections());
        assert_eq!(bounds(of(128)), (64, 128, 327));
        assert_eq!(bounds(of(512)), (128, 512, 1310));
        assert_eq!(bounds(of(24 << 10)), (1024, MAX_EXCHANGES, 62_914));
        assert_eq!(bounds(ProcessMemory(None)), (256, MAX_EXCHANGES, u64::MAX));
    }
}
