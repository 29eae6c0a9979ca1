//! Notices in a SQLite file.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};
use ulid::Ulid;

use super::rows::parsed;
use crate::ledger::store::{DueRows, MAX_NOTICE_ROWS, NoticeCounts, NoticeRow, first_id};

pub(super) const TABLE: &str = "
    CREATE TABLE notices (
        id TEXT PRIMARY KEY,
        inquiry TEXT NOT NULL,
        recipient TEXT NOT NULL,      -- '' for an inquiry
        due INTEGER NOT NULL,         -- in milliseconds
        is_open INTEGER NOT NULL,
        version INTEGER NOT NULL,
        state TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX notices_due ON notices (due) WHERE is_open = 1;
    CREATE INDEX notices_inquiry ON notices (inquiry);
    CREATE INDEX notices_recipient ON notices (recipient, id);
";

const COLUMNS: &str = "SELECT id, inquiry, recipient, due, is_open, version, state FROM notices";

fn row(row: &Row<'_>) -> rusqlite::Result<NoticeRow> {
    let out_of_range = |column| rusqlite::Error::IntegralValueOutOfRange(column, 0);
    let recipient = row.get_ref(2)?.as_str()?;
    Ok(NoticeRow {
        id: parsed(row, 0)?,
        inquiry: parsed(row, 1)?,
        recipient: (!recipient.is_empty()).then(|| Arc::from(recipient)),
        due: Timestamp::from_millisecond(row.get(3)?).map_err(|_| out_of_range(3))?,
        open: row.get(4)?,
        version: u64::try_from(row.get::<_, i64>(5)?).map_err(|_| out_of_range(5))?,
        state: row.get(6)?,
    })
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_NOTICE_ROWS)).unwrap_or(i64::MAX)
}

pub(super) fn list(
    reader: &Connection,
    recipient: Option<&str>,
    after: Option<Ulid>,
    limit: usize,
) -> rusqlite::Result<Vec<NoticeRow>> {
    let of_one = if recipient.is_some() { "recipient = ?3" } else { "?3 = ''" };
    let query = format!("{COLUMNS} WHERE id > ?1 AND {of_one} ORDER BY id LIMIT ?2");
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let mut query = reader.prepare_cached(&query)?;
    query.query_map(params![after, number(limit), recipient.unwrap_or_default()], row)?.collect()
}

pub(super) fn one(reader: &Connection, id: Ulid) -> rusqlite::Result<Option<NoticeRow>> {
    let mut query = reader.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    query.query_row([id.to_string()], row).optional()
}

pub(super) fn of_inquiry(reader: &Connection, inquiry: Ulid) -> rusqlite::Result<Vec<NoticeRow>> {
    let mut query = reader.prepare_cached(&format!("{COLUMNS} WHERE inquiry = ?1 ORDER BY id"))?;
    query.query_map([inquiry.to_string()], row)?.collect()
}

pub(super) fn due(
    reader: &Connection,
    now: Timestamp,
    sought: DueRows<'_>,
    limit: usize,
) -> rusqlite::Result<Vec<NoticeRow>> {
    let (condition, names) = match sought {
        DueRows::Inquiries => ("recipient = ?3", String::new()),
        DueRows::NoticesTo(recipient) => ("recipient = ?3", recipient.to_owned()),
        DueRows::NoticesExcept(except) => {
            let names: Vec<&str> = except.iter().map(|name| &**name).collect();
            let condition = "recipient <> '' AND recipient NOT IN (SELECT value FROM json_each(?3))";
            (condition, serde_json::Value::from(names).to_string())
        }
    };
    let query = format!("{COLUMNS} WHERE is_open = 1 AND due <= ?1 AND {condition} ORDER BY due LIMIT ?2");
    let mut query = reader.prepare_cached(&query)?;
    query.query_map(params![now.as_millisecond(), number(limit), names], row)?.collect()
}

fn number_in(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0))
}

pub(super) fn count_to(reader: &Connection) -> rusqlite::Result<BTreeMap<Arc<str>, u64>> {
    let query =
        "SELECT recipient, count(*) FROM notices WHERE is_open = 1 AND recipient <> '' GROUP BY recipient";
    let mut query = reader.prepare_cached(query)?;
    query.query_map([], |row| Ok((Arc::from(row.get_ref(0)?.as_str()?), number_in(row, 1)?)))?.collect()
}

pub(super) fn count(reader: &Connection, before: Timestamp) -> rusqlite::Result<NoticeCounts> {
    let query = "SELECT count(*), count(*) FILTER (WHERE id < ?1) FROM notices
                 WHERE is_open = 1 AND recipient <> ''";
    reader.prepare_cached(query)?.query_row([first_id(before).to_string()], |row| {
        Ok(NoticeCounts { open: number_in(row, 0)?, overdue: number_in(row, 1)? })
    })
}

pub(super) fn write(writer: &mut Connection, rows: &[NoticeRow]) -> rusqlite::Result<bool> {
    let transaction = writer.transaction()?;
    if !put(&transaction, rows)? {
        return Ok(false);
    }
    transaction.commit()?;
    Ok(true)
}

/// Writes rows within the caller's transaction. Returns false if somebody else wrote one of them.
fn put(transaction: &Connection, rows: &[NoticeRow]) -> rusqlite::Result<bool> {
    let mut write = transaction.prepare_cached(
        "INSERT INTO notices (id, inquiry, recipient, due, is_open, version, state)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET due = excluded.due, is_open = excluded.is_open,
             version = excluded.version, state = excluded.state
         WHERE notices.version = excluded.version - 1",
    )?;
    let mut is_known = transaction.prepare_cached("SELECT count(*) > 0 FROM notices WHERE id = ?1")?;
    for NoticeRow { id, inquiry, recipient, due, open, version, state } in rows {
        let (id, inquiry) = (id.to_string(), inquiry.to_string());
        if *version > 1 && !is_known.query_row([&id], |row| row.get::<_, bool>(0))? {
            return Ok(false);
        }
        let recipient = recipient.as_deref().unwrap_or_default();
        let version = i64::try_from(*version).unwrap_or(i64::MAX);
        let due = due.as_millisecond();
        if write.execute(params![id, inquiry, recipient, due, open, version, state])? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) fn remove(
    writer: &mut Connection,
    inquiry: Ulid,
    version: u64,
    rows: &[NoticeRow],
) -> rusqlite::Result<bool> {
    let (id, version) = (inquiry.to_string(), i64::try_from(version).unwrap_or(i64::MAX));
    let transaction = writer.transaction()?;
    let own = "DELETE FROM notices WHERE id = ?1 AND version = ?2";
    if transaction.execute(own, params![id, version])? == 0 {
        return Ok(false);
    }
    transaction.execute("DELETE FROM notices WHERE inquiry = ?1", [id])?;
    put(&transaction, rows)?;
    transaction.commit()?;
    Ok(true)
}
