//! Reading events.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use deadpool_postgres::Client;
use futures_util::future::join;
use smol_str::SmolStr;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::connection::Connections;
use super::error::PostgresFailure;
use super::rows::{
    bigint, digest, event_id, from_column, position, sort, stored_entity, stored_event, to_column,
};
use super::tables::VERSION;
use crate::keys::LogSecret;
use crate::ledger::entity::EntityKind;
use crate::ledger::store::{
    Continuation, EventRow, IdempotencyDigest, KnownHistory, Position, RequestDigest, SecretChange,
    StoreError, StoredEntity, StoredEvent, StoredHistory, StoredSecret,
};

/// Maximum number of rows of a page of a long result.
const PAGE: i64 = 4096;

/// The end of the ledger, as the head row says.
#[derive(Debug)]
pub(super) struct LedgerHead {
    /// The end of the history.
    pub(super) end: KnownHistory,
    /// The last position of a loss that nobody has accepted.
    pub(super) lost: Option<Position>,
}

/// The columns of a [`LedgerHead`].
pub(super) const HEAD_COLUMNS: &str = "position, last_event_position, last_event_id, lost, compatible_from";

impl LedgerHead {
    /// Reads the [`HEAD_COLUMNS`], which begin at column `first`.
    ///
    /// # Errors
    /// [`PostgresFailure::Migrated`] if this program cannot use the schema any more.
    pub(super) fn read(row: &Row, first: usize) -> Result<LedgerHead, PostgresFailure> {
        let compatible_from: i32 = row.try_get(first + 4)?;
        if compatible_from > VERSION {
            return Err(PostgresFailure::Migrated(compatible_from));
        }
        let last_event = match row.try_get::<_, Option<&str>>(first + 2)? {
            None => None,
            Some(id) => Some((position(row, first + 1)?, event_id(id)?)),
        };
        let lost = row.try_get::<_, Option<i64>>(first + 3)?;
        Ok(LedgerHead {
            end: KnownHistory { position: position(row, first)?, last_event },
            lost: lost.map(|until| Position(u64::try_from(until).unwrap_or_default())),
        })
    }
}

/// Returns the head of the ledger.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn head(client: &Client) -> Result<LedgerHead, PostgresFailure> {
    let query = format!("SELECT {HEAD_COLUMNS} FROM purposegate.ledger_head");
    let row = client.query_opt(&client.prepare_cached(&query).await?, &[]).await?;
    LedgerHead::read(&row.ok_or(PostgresFailure::Damaged("the head row is missing"))?, 0)
}

/// Checks the keys, the version and the last event.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn check_intact(client: &Client, key_check: &[u8; 16]) -> Result<(), PostgresFailure> {
    let query = format!(
        "SELECT {HEAD_COLUMNS}, l.key_check, h.last_event_id IS NULL OR EXISTS (
             SELECT FROM purposegate.events e WHERE e.position = h.last_event_position AND e.event_id = h.last_event_id
         )
         FROM purposegate.ledger_head h, purposegate.ledger l"
    );
    let row = client.query_opt(&client.prepare_cached(&query).await?, &[]).await?;
    let row = row.ok_or(PostgresFailure::Damaged("the head row is missing"))?;
    LedgerHead::read(&row, 0)?;
    if row.try_get::<_, &[u8]>(5)? != key_check.as_slice() {
        return Err(PostgresFailure::Damaged("the database has a ledger of other keys now"));
    }
    if !row.try_get::<_, bool>(6)? {
        return Err(PostgresFailure::Damaged("the last event is missing"));
    }
    Ok(())
}

/// Reads the events after a known history, at most `limit`. One statement, so that everything is from one snapshot.
const FOLLOW: &str = "
    SELECT h.position, h.last_event_position, h.last_event_id, h.lost, h.compatible_from,
           k.position, k.event_id,
           e.sort, e.namespace, e.id, e.position, e.event_id, e.recorded, e.event, e.once, e.asked
    FROM purposegate.ledger_head h
    LEFT JOIN LATERAL (
        SELECT position, event_id FROM purposegate.events
        WHERE position <= $1 ORDER BY position DESC LIMIT 1
    ) k ON true
    LEFT JOIN LATERAL (
        SELECT * FROM purposegate.events
        WHERE h.position > $1 AND position > $1 ORDER BY position LIMIT $2
    ) e ON true
    ORDER BY e.position";

/// Returns the events after `known`, at most `limit`.
///
/// # Errors
/// [`PostgresFailure`]; also if a position is missing without a recorded loss.
pub(super) async fn follow(
    client: &Client,
    known: &KnownHistory,
    limit: usize,
) -> Result<Continuation, PostgresFailure> {
    let statement = client.prepare_cached(FOLLOW).await?;
    let (from, limit) = (bigint(known.position), i64::try_from(limit).unwrap_or(i64::MAX));
    let rows = client.query(&statement, &[&from, &limit]).await?;
    let first = rows.first().ok_or(PostgresFailure::Damaged("the head row is missing"))?;
    let head = LedgerHead::read(first, 0)?.end.position;
    let last_known = match first.try_get::<_, Option<&str>>(6)? {
        None => None,
        Some(id) => Some((position(first, 5)?, event_id(id)?)),
    };
    if head < known.position || last_known != known.last_event {
        return Ok(Continuation::Diverges { head });
    }
    let mut events = Vec::with_capacity(rows.len());
    for row in &rows {
        if row.try_get::<_, Option<i16>>(7)?.is_some() {
            events.push(event_row(row)?);
        }
    }
    let is_complete = i64::try_from(events.len()).is_ok_and(|count| count < limit);
    let holes = holes(known.position, &events, is_complete.then_some(head));
    if !holes.is_empty() {
        check_holes(client, &holes).await?;
    }
    Ok(Continuation::Continues { head, events })
}

fn event_row(row: &Row) -> Result<EventRow, PostgresFailure> {
    let idempotency = match (row.try_get::<_, Option<&[u8]>>(14)?, row.try_get::<_, Option<&[u8]>>(15)?) {
        (Some(once), Some(asked)) => Some((digest(once)?, digest(asked)?)),
        _ => None,
    };
    Ok(EventRow {
        entity: stored_entity(row, 7)?,
        stored: stored_event(row, 10)?,
        idempotency,
        log_secret: SecretChange::Keep,
    })
}

/// The positions after the first and before the second.
type Hole = (Position, Position);

/// Returns where positions are missing after `from`, up to `end` if the events are all that there are.
fn holes(from: Position, events: &[EventRow], end: Option<Position>) -> Vec<Hole> {
    let after_end = end.map(|end| Position(end.0.saturating_add(1)));
    let positions = events.iter().map(|row| row.stored.position).chain(after_end);
    let mut before = from;
    let mut holes = Vec::new();
    for next in positions {
        if before.0.checked_add(1) != Some(next.0) {
            holes.push((before, next));
        }
        before = next;
    }
    holes
}

/// Checks that recorded losses explain holes. A hole without one means that somebody removed events.
async fn check_holes(client: &Client, holes: &[Hole]) -> Result<(), PostgresFailure> {
    let query = "SELECT behind, until FROM purposegate.losses ORDER BY behind, until";
    let rows = client.query(&client.prepare_cached(query).await?, &[]).await?;
    let mut losses = Vec::with_capacity(rows.len());
    for row in &rows {
        losses.push((position(row, 0)?, position(row, 1)?));
    }
    let is_explained = |&(before, next): &Hole| {
        let mut covered = before;
        for &(behind, until) in &losses {
            if behind <= covered {
                covered = covered.max(until);
            }
        }
        covered.0.saturating_add(1) >= next.0
    };
    if holes.iter().all(is_explained) {
        Ok(())
    } else {
        Err(PostgresFailure::Damaged("events are missing, and no loss is on record that explains it"))
    }
}

/// Reads log secrets. `OFFSET 0` as in [`histories`].
const SECRETS: &str = "
    SELECT k.n, s.secret, s.since
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (namespace, id, n)
    CROSS JOIN LATERAL (
        SELECT secret, since FROM purposegate.log_secrets WHERE namespace = k.namespace AND id = k.id OFFSET 0
    ) s";

/// Returns the log secrets of people.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn log_secrets(
    client: &Client,
    entities: &[StoredEntity],
) -> Result<Vec<Option<StoredSecret>>, PostgresFailure> {
    let statement = client.prepare_cached(SECRETS).await?;
    let people = (0_i64..).zip(entities).filter(|(_, entity)| entity.kind == EntityKind::Subject);
    let (mut namespaces, mut ids, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (number, person) in people {
        namespaces.push(namespace(person.namespace.as_deref()));
        ids.push(to_column(&person.id));
        numbers.push(number);
    }
    let mut secrets = vec![None; entities.len()];
    for row in &client.query(&statement, &[&namespaces, &ids, &numbers]).await? {
        let number = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or(usize::MAX);
        let secret = LogSecret::from_bytes(digest(row.try_get(1)?)?);
        if let Some(place) = secrets.get_mut(number) {
            *place = Some(StoredSecret { secret, since: position(row, 2)? });
        }
    }
    Ok(secrets)
}

/// Returns the events of each entity, ordered by position, and the log secrets of people.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn histories(
    client: &Client,
    entities: &[StoredEntity],
) -> Result<Vec<StoredHistory>, PostgresFailure> {
    // `OFFSET 0` keeps the planner from joining the tables as a whole.
    let query = "
        SELECT k.n, e.position, e.event_id, e.recorded, e.event
        FROM unnest($1::smallint[], $2::text[], $3::text[]) WITH ORDINALITY AS k (sort, namespace, id, n)
        CROSS JOIN LATERAL (
            SELECT position, event_id, recorded, event FROM purposegate.events
            WHERE sort = k.sort AND namespace = k.namespace AND id = k.id OFFSET 0
        ) e
        ORDER BY k.n, e.position";
    let sorts: Vec<i16> = entities.iter().map(|entity| sort(entity.kind)).collect();
    let namespaces: Vec<_> = entities.iter().map(|entity| namespace(entity.namespace.as_deref())).collect();
    let ids: Vec<_> = entities.iter().map(|entity| to_column(&entity.id)).collect();
    let statement = client.prepare_cached(query).await?;
    client.prepare_cached(SECRETS).await?;
    // The server gets both at once, the events first: whoever has an event that was read has its secret then, too.
    let parameters: [&(dyn ToSql + Sync); 3] = [&sorts, &namespaces, &ids];
    let (rows, secrets) = join(client.query(&statement, &parameters), log_secrets(client, entities)).await;
    let rows = rows?;
    let mut histories: Vec<StoredHistory> =
        secrets?.into_iter().map(|log_secret| StoredHistory { events: Vec::new(), log_secret }).collect();
    for row in &rows {
        let number = usize::try_from(row.try_get::<_, i64>(0)?).unwrap_or_default();
        if let Some(history) = histories.get_mut(number.wrapping_sub(1)) {
            history.events.push(stored_event(row, 1)?);
        }
    }
    Ok(histories)
}

/// Returns a namespace as the column holds it.
pub(super) fn namespace(namespace: Option<&str>) -> std::borrow::Cow<'_, str> {
    to_column(namespace.unwrap_or_default())
}

/// Returns the events that were recorded under these idempotency keys.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn find_repeated(
    client: &Client,
    keys: &[IdempotencyDigest],
) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, PostgresFailure> {
    let query = "
        SELECT f.once, e.asked, e.position, e.event_id, e.recorded, e.event
        FROM unnest($1::bytea[]) AS k (once)
        CROSS JOIN LATERAL (
            SELECT once, position FROM purposegate.event_keys WHERE once = k.once OFFSET 0
        ) f
        CROSS JOIN LATERAL (
            SELECT * FROM purposegate.events WHERE position = f.position OFFSET 0
        ) e";
    let keys: Vec<&[u8]> = keys.iter().map(<[u8; 16]>::as_slice).collect();
    let mut repeated = HashMap::new();
    for row in &client.query(&client.prepare_cached(query).await?, &[&keys]).await? {
        let (once, asked) = (digest(row.try_get(0)?)?, digest(row.try_get(1)?)?);
        repeated.insert(once, (stored_event(row, 2)?, asked));
    }
    Ok(repeated)
}

/// Returns the ids of all entities of a kind, in one namespace, ordered.
///
/// # Errors
/// [`StoreError`].
pub(super) fn entity_ids(
    connections: &Connections,
    kind: EntityKind,
    of_namespace: Option<&str>,
) -> Result<Vec<SmolStr>, StoreError> {
    let query = "
        SELECT DISTINCT id FROM purposegate.events
        WHERE sort = $1 AND namespace = $2 AND id > $3 ORDER BY id LIMIT $4";
    let namespace = namespace(of_namespace);
    let mut ids: Vec<SmolStr> = Vec::new();
    loop {
        let after = ids.last().map_or_else(String::new, |id| to_column(id).into_owned());
        let parameters: [&(dyn ToSql + Sync); 4] = [&sort(kind), &namespace, &after, &PAGE];
        let page = connections.operate("reading the ids of a namespace", connections.limits.read, {
            async |client| {
                let rows = client.query(&client.prepare_cached(query).await?, &parameters).await?;
                let ids = rows.iter().map(|row| Ok(SmolStr::new(from_column(row.try_get(0)?))));
                ids.collect::<Result<Vec<SmolStr>, PostgresFailure>>()
            }
        })?;
        if page.is_empty() {
            return Ok(ids);
        }
        ids.extend(page);
    }
}

/// Passes every event to `each`, all events of one entity in a row and ordered by position.
///
/// # Errors
/// [`StoreError`].
pub(super) fn scan(
    connections: &Connections,
    each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool,
) -> Result<(), StoreError> {
    let query = "
        SELECT sort, namespace, id, position, event_id, recorded, event FROM purposegate.events
        WHERE (sort, namespace, id, position) > ($1, $2, $3, $4)
        ORDER BY sort, namespace, id, position LIMIT $5";
    let mut after: Option<(StoredEntity, Position)> = None;
    loop {
        let (sort, namespace, id, last) = match &after {
            None => (0, namespace(None), to_column(""), 0),
            Some((entity, last)) => (
                sort(entity.kind),
                namespace(entity.namespace.as_deref()),
                to_column(&entity.id),
                bigint(*last),
            ),
        };
        let parameters: [&(dyn ToSql + Sync); 5] = [&sort, &namespace, &id, &last, &PAGE];
        let page = connections.operate("reading all events", connections.limits.read, async |client| {
            let rows = client.query(&client.prepare_cached(query).await?, &parameters).await?;
            let events = rows.iter().map(|row| Ok((stored_entity(row, 0)?, stored_event(row, 3)?)));
            events.collect::<Result<Vec<_>, PostgresFailure>>()
        })?;
        let Some((entity, stored)) = page.last() else { return Ok(()) };
        after = Some((entity.clone(), stored.position));
        for (entity, stored) in page {
            if !each(&entity, stored) {
                return Ok(());
            }
        }
    }
}

/// Returns the events about people whose text contains `part`, newest first: those from one position up to the one before
/// another. At most `limit`.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn with_part(
    client: &Client,
    part: &str,
    (from, before): (Position, Position),
    limit: usize,
) -> Result<Vec<(StoredEntity, StoredEvent)>, PostgresFailure> {
    let query = "
        SELECT sort, namespace, id, position, event_id, recorded, event FROM purposegate.events
        WHERE position >= $1 AND position < $2 AND sort = $3 AND strpos(event, $4) > 0
        ORDER BY position DESC LIMIT $5";
    let (people, limit) = (sort(EntityKind::Subject), i64::try_from(limit).unwrap_or(i64::MAX));
    let parameters: [&(dyn ToSql + Sync); 5] = [&bigint(from), &bigint(before), &people, &part, &limit];
    let rows = client.query(&client.prepare_cached(query).await?, &parameters).await?;
    rows.iter().map(|row| Ok((stored_entity(row, 0)?, stored_event(row, 3)?))).collect()
}

/// Returns the recipients that any event names or is about.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn recipients(client: &Client) -> Result<BTreeSet<Arc<str>>, PostgresFailure> {
    let query = "SELECT name FROM purposegate.recipients";
    let rows = client.query(&client.prepare_cached(query).await?, &[]).await?;
    rows.iter().map(|row| Ok(Arc::from(from_column(row.try_get(0)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_positions_are_found_between_events_and_at_the_end() {
        let rows = |positions: &[u64]| -> Vec<EventRow> {
            let row = |position: &u64| EventRow {
                entity: StoredEntity { kind: EntityKind::Case, namespace: None, id: SmolStr::new("C-1") },
                stored: StoredEvent {
                    position: Position(*position),
                    id: ulid::Ulid::nil(),
                    recorded: jiff::Timestamp::UNIX_EPOCH,
                    event: String::new(),
                },
                idempotency: None,
                log_secret: SecretChange::Keep,
            };
            positions.iter().map(row).collect()
        };
        let found = |from, positions: &[u64], end: Option<u64>| -> Vec<(u64, u64)> {
            let holes = holes(Position(from), &rows(positions), end.map(Position));
            holes.into_iter().map(|(before, next)| (before.0, next.0)).collect()
        };
        assert!(found(0, &[], Some(0)).is_empty());
        assert!(found(4, &[5, 6], Some(6)).is_empty());
        assert!(found(4, &[5, 6], None).is_empty(), "there are more events than were read");
        assert_eq!(found(4, &[6], Some(6)), [(4, 6)]);
        assert_eq!(found(4, &[5, 8], Some(9)), [(5, 8), (8, 10)]);
        assert_eq!(found(4, &[], Some(7)), [(4, 8)]);
    }
}
