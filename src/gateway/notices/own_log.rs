//! States how far the own disclosure log is complete, and since when people are named in answers as they are now.

use std::sync::Arc;

use jiff::Timestamp;

use super::{DeliveryError, blocking, naming};
use crate::disclosure::EndOfLog;
use crate::exchange::{SharedState, Snapshot};
use crate::notices::LogStatement;

/// The statement about the own log, as far as this process has made it.
#[derive(Debug, Default)]
pub(super) struct OwnLog {
    /// The configuration that it was made with.
    snapshot: Option<Arc<Snapshot>>,
    /// The last position about which it was made.
    position: u64,
}

impl OwnLog {
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
        shared.log.flush().await;
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
