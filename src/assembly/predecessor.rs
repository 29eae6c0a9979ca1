//! Waits for the process that serves before this one: a restart without a gap starts the successor first.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::config::{Config, LedgerUrl};
use crate::disclosure;
#[cfg(feature = "sqlite")]
use crate::ledger::SqliteStore;

/// Time between two looks at the locks.
const POLL: Duration = Duration::from_millis(5);
/// Time beyond the drain of the predecessor, in which it closes ledger and log.
const CLOSE_TIME: Duration = Duration::from_secs(30);

/// Waits until no other process has the ledger's file or the folder of the disclosure log locked, for at most as long as a stop
/// of this configuration takes and a little longer. Calls `waiting` once if it has to wait. Afterwards opening them succeeds, or
/// fails with the reason. Returns true if it had to wait.
///
/// It only looks at the locks, so of several successors one goes on and the others fail.
pub fn wait(config: &Config, waiting: impl FnOnce()) -> bool {
    if !is_there(config) {
        return false;
    }
    waiting();
    let longest = config.drain.notice.saturating_add(config.drain.exchanges).saturating_add(CLOSE_TIME);
    let began = Instant::now();
    while began.elapsed() < longest && is_there(config) {
        sleep(POLL);
    }
    true
}

/// True if another process uses the ledger's file or the log. An error is for the code that opens them.
fn is_there(config: &Config) -> bool {
    let uses_ledger = match &config.ledger.url {
        #[cfg(feature = "sqlite")]
        LedgerUrl::Sqlite(file) => SqliteStore::is_in_use(file).unwrap_or(false),
        // Gateways share a ledger in PostgreSQL.
        _ => false,
    };
    uses_ledger || disclosure::in_use(&config.audit.directory).unwrap_or(false)
}
