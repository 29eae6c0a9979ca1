//! States how far the own disclosure log is complete, and since when people are named in answers as they are now; and once a
//! minute how many entries it has, so that a start finds out if they are gone.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{DeliveryError, blocking, naming};
use crate::disclosure::EndOfLog;
use crate::exchange::{SharedState, Snapshot};
use crate::ledger::{self, LogOnRecord, StoreError};
use crate::notices::LogStatement;

/// Time between two statements of the size.
const SIZE_INTERVAL: Duration = Duration::from_secs(60);

/// The statement about the own log, as far as this process has made it.
#[derive(Debug, Default)]
pub(super) struct OwnLog {
    /// The configuration that it was made with.
    snapshot: Option<Arc<Snapshot>>,
    /// The last position about which it was made.
    position: u64,
    /// The last statement of the size, and its time.
    sized: Option<(u64, Instant)>,
}

impl OwnLog {
    /// States the size of the log, if it is time and it has grown.
    pub(super) async fn state_size(&mut self, shared: &Arc<SharedState>) -> Result<(), DeliveryError> {
        let known = self.sized.as_ref();
        if known.is_some_and(|(_, stated)| stated.elapsed() < SIZE_INTERVAL) {
            return Ok(());
        }
        let size = published_size(shared);
        if known.is_none_or(|(known, _)| *known != size) {
            blocking(shared, |shared, _| state_size(shared)).await?;
        }
        self.sized = Some((size, Instant::now()));
        Ok(())
    }

    /// Replaces the statement, if a search asks for that or the configuration is another one.
    pub(super) async fn state(&mut self, shared: &Arc<SharedState>) -> Result<(), DeliveryError> {
        let snapshot = shared.snapshot();
        let is_new = self.snapshot.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &snapshot));
        let asked = blocking(shared, |_, notices| notices.asked_position()).await?;
        let applied = shared.ledger.position().0;
        let position = (asked > self.position && applied >= asked).then_some(asked);
        if !is_new && position.is_none() {
            return Ok(());
        }
        // The records of everything that left before the position was in force are queued.
        shared.log.flush().await.map_err(|_| DeliveryError::Log)?;
        let folder = shared.log.folder().to_owned();
        let end = tokio::task::spawn_blocking(move || EndOfLog::of_folder(&folder)).await??;
        let Some(EndOfLog { origin, size, .. }) = end else { return Ok(()) };
        let settings = naming::settings(&snapshot);
        let now = Timestamp::now();
        blocking(shared, move |_, notices| {
            notices.state_log(&origin, |known| LogStatement {
                position: position.unwrap_or(known.position).max(known.position),
                size: size.max(known.size),
                naming: known.naming.updated(&settings, now),
            })
        })
        .await?;
        self.position = self.position.max(position.unwrap_or(0));
        self.snapshot = Some(snapshot);
        Ok(())
    }
}

fn published_size(shared: &SharedState) -> u64 {
    shared.log.checkpoints().borrow().as_ref().map_or(0, |checkpoint| checkpoint.size)
}

/// States in the ledger how many entries the log has published, which are durable. Blocks.
///
/// # Errors
/// [`StoreError`].
pub(in crate::gateway) fn state_size(shared: &SharedState) -> Result<(), StoreError> {
    let Some(checkpoint) = shared.log.checkpoints().borrow().clone() else { return Ok(()) };
    ledger::record_log(shared.ledger.notice_store(), &checkpoint.origin, |known| {
        let known = known.filter(|known| known.size < checkpoint.size)?;
        Some(LogOnRecord { size: checkpoint.size, until: Timestamp::now(), ..known })
    })
}
