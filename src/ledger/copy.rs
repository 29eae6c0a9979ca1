//! Copies a ledger from one store to another: events with their positions, ids, times and idempotency keys, accepted
//! losses, log secrets, notices, the record of policies, and the id.
//!
//! The copy goes page by page, so memory has a bound. The target has to be empty; a copy that broke off is not resumed.

use super::digest::pages;
use super::store::{
    Appended, EventRow, KnownHistory, LedgerTail, LossOfEvents, MAX_NOTICE_ROWS, Position, SecretChange,
    Store, StoreError, StoredEntity,
};

/// An error that ends a copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// One of the stores failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target has events already.
    #[error("the target is not empty: it ends at position {0}")]
    NotEmpty(Position),
    /// The source lost events, and nobody has accepted it yet.
    #[error(
        "the ledger to copy lost events up to position {0}: accept the loss first, `purposegate ledger accept-history`"
    )]
    NotAccepted(Position),
    /// The source lacks events whose loss is not on record.
    #[error("the ledger to copy has no event at position {0}, and its loss is not on record")]
    Missing(Position),
    /// Somebody else wrote to the target.
    #[error("another process wrote to the target during the copy")]
    TargetInUse,
}

/// Copies the ledger of `from` to `to`, and calls `progress` with the number of events so far. Returns the history that was
/// copied. `from` is not changed. No gateway that shares `to` gets a lease before the copy is whole.
///
/// # Errors
/// [`CopyError`]. The events that were copied before stay in `to`, where no gateway gets a lease then.
pub fn copy(
    from: &dyn Store,
    to: &dyn Store,
    progress: &mut dyn FnMut(u64),
) -> Result<KnownHistory, CopyError> {
    let end = to.history_end()?.position;
    if end != Position::default() || !to.policies()?.first_seen.is_empty() {
        return Err(CopyError::NotEmpty(end));
    }
    let losses = from.losses()?;
    if let Some(loss) = losses.iter().find(|loss| loss.accepted.is_none()) {
        return Err(CopyError::NotAccepted(loss.until));
    }
    let end = from.history_end()?.position;
    if let Some(shared) = to.shared() {
        shared.begin_copy(end)?;
    }
    let mut target = CopyTarget { to, known: KnownHistory::default(), losses: losses.into_iter().peekable() };
    let mut events = 0;
    let copied = pages(from, &mut |mut rows: Vec<EventRow>| {
        events += rows.len() as u64;
        put_secrets(from, &mut rows)?;
        while !rows.is_empty() {
            let first = rows.first().map_or(Position::default(), |row| row.stored.position);
            let run = (first.0..).zip(&rows).take_while(|(next, row)| row.stored.position.0 == *next).count();
            let rest = rows.split_off(run);
            target.skip_to(first)?;
            target.append(&rows)?;
            rows = rest;
        }
        progress(events);
        Ok::<_, CopyError>(())
    })?;
    target.skip_to(Position(copied.position.0 + 1))?;
    copy_notices(from, to)?;
    if let Some(id) = from.id()? {
        to.take_id(id)?;
    }
    to.remember_policies(&from.policies()?)?;
    if let Some(shared) = to.shared() {
        shared.complete_copy(end)?;
    }
    Ok(copied)
}

/// Adds the log secrets that the people have now. A row that deleted a secret deletes none in the target.
fn put_secrets(from: &dyn Store, rows: &mut [EventRow]) -> Result<(), StoreError> {
    let entities: Vec<StoredEntity> = rows.iter().map(|row| row.entity.clone()).collect();
    for (row, secret) in rows.iter_mut().zip(from.log_secrets(&entities)?) {
        row.log_secret = secret.map_or(SecretChange::Keep, SecretChange::Make);
    }
    Ok(())
}

fn copy_notices(from: &dyn Store, to: &dyn Store) -> Result<(), CopyError> {
    let mut after = None;
    loop {
        let mut rows = from.notice_store().notices(None, after, MAX_NOTICE_ROWS)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(last.id);
        rows.iter_mut().for_each(|row| row.version = 1);
        if !to.notice_store().write_notices(&rows)? {
            return Err(CopyError::TargetInUse);
        }
    }
}

/// The store to copy to, and the accepted losses that are to be recorded there.
struct CopyTarget<'s, L: Iterator<Item = LossOfEvents>> {
    to: &'s dyn Store,
    /// The history that was copied so far.
    known: KnownHistory,
    losses: std::iter::Peekable<L>,
}

impl<L: Iterator<Item = LossOfEvents>> CopyTarget<'_, L> {
    /// Records the losses before the event at `next`, so that it gets its position.
    fn skip_to(&mut self, next: Position) -> Result<(), CopyError> {
        while let Some(loss) = self.losses.next_if(|loss| loss.until < next) {
            if let Some(accepted) = loss.accepted {
                self.to.accept_history(loss.until, accepted)?;
            }
            self.known.position = self.known.position.max(loss.until);
        }
        let expected = Position(self.known.position.0 + 1);
        if expected == next { Ok(()) } else { Err(CopyError::Missing(expected)) }
    }

    fn append(&mut self, rows: &[EventRow]) -> Result<(), CopyError> {
        let mut in_use = false;
        let appended = self.to.append(&self.known, &mut |LedgerTail { last, missed }| {
            in_use = last != self.known.position || !missed.is_empty();
            Ok(if in_use { Vec::new() } else { rows.to_vec() })
        })?;
        if in_use || appended != Appended::Durable {
            return Err(CopyError::TargetInUse);
        }
        if let Some(last) = rows.last() {
            self.known = KnownHistory::ending_with(&last.stored);
        }
        Ok(())
    }
}
