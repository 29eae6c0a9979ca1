//! Notices in PostgreSQL. Several gateways write them.

use std::collections::BTreeMap;
use std::sync::Arc;

use deadpool_postgres::{Client, Transaction};
use jiff::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use ulid::Ulid;

use super::error::PostgresFailure;
use super::rows::{event_id, from_column, to_column};
use super::table_file::NOTICES;
use crate::ledger::store::{DueRows, MAX_NOTICE_ROWS, NoticeCounts, NoticeRow, first_id};

const COLUMNS: &str = "SELECT id, inquiry, recipient, due, is_open, version, state FROM purposegate.notices";

fn row(row: &Row) -> Result<NoticeRow, PostgresFailure> {
    let recipient = from_column(row.try_get(2)?);
    let damaged = PostgresFailure::Damaged("a notice does not read");
    Ok(NoticeRow {
        id: event_id(row.try_get(0)?)?,
        inquiry: event_id(row.try_get(1)?)?,
        recipient: (!recipient.is_empty()).then(|| Arc::from(recipient)),
        due: Timestamp::from_millisecond(row.try_get(3)?).map_err(|_| damaged)?,
        open: row.try_get(4)?,
        version: u64::try_from(row.try_get::<_, i64>(5)?).unwrap_or_default(),
        state: from_column(row.try_get(6)?).into_owned(),
    })
}

fn number(limit: usize) -> i64 {
    i64::try_from(limit.min(MAX_NOTICE_ROWS)).unwrap_or(i64::MAX)
}

async fn read(
    client: &Client,
    query: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<NoticeRow>, PostgresFailure> {
    let statement = client.prepare_cached(query).await?;
    client.query(&statement, parameters).await?.iter().map(row).collect()
}

pub(super) async fn list(
    client: &Client,
    recipient: Option<&str>,
    after: Option<Ulid>,
    limit: usize,
) -> Result<Vec<NoticeRow>, PostgresFailure> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let limit = number(limit);
    match recipient {
        None => {
            let query = format!("{COLUMNS} WHERE id > $1 ORDER BY id LIMIT $2");
            read(client, &query, &[&after, &limit]).await
        }
        Some(recipient) => {
            let query = format!("{COLUMNS} WHERE id > $1 AND recipient = $3 ORDER BY id LIMIT $2");
            read(client, &query, &[&after, &limit, &to_column(recipient)]).await
        }
    }
}

pub(super) async fn one(client: &Client, id: Ulid) -> Result<Option<NoticeRow>, PostgresFailure> {
    Ok(read(client, &format!("{COLUMNS} WHERE id = $1"), &[&id.to_string()]).await?.pop())
}

pub(super) async fn of_inquiry(client: &Client, inquiry: Ulid) -> Result<Vec<NoticeRow>, PostgresFailure> {
    read(client, &format!("{COLUMNS} WHERE inquiry = $1 ORDER BY id"), &[&inquiry.to_string()]).await
}

pub(super) async fn due(
    client: &Client,
    now: Timestamp,
    sought: DueRows<'_>,
    limit: usize,
) -> Result<Vec<NoticeRow>, PostgresFailure> {
    let (condition, names) = match sought {
        DueRows::Inquiries => ("recipient = ANY ($3)", vec![to_column("")]),
        DueRows::NoticesTo(recipient) => ("recipient = ANY ($3)", vec![to_column(recipient)]),
        DueRows::NoticesExcept(except) => {
            let names = except.iter().map(|name| to_column(name)).collect();
            ("recipient <> '' AND recipient <> ALL ($3)", names)
        }
    };
    let query = format!("{COLUMNS} WHERE is_open AND due <= $1 AND {condition} ORDER BY due LIMIT $2");
    read(client, &query, &[&now.as_millisecond(), &number(limit), &names]).await
}

pub(super) async fn count(client: &Client, before: Timestamp) -> Result<NoticeCounts, PostgresFailure> {
    let query = "SELECT count(*), count(*) FILTER (WHERE id < $1) FROM purposegate.notices
                 WHERE is_open AND recipient <> ''";
    let row =
        client.query_one(&client.prepare_cached(query).await?, &[&first_id(before).to_string()]).await?;
    let count = |column: usize| row.try_get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    Ok(NoticeCounts { open: count(0)?, overdue: count(1)? })
}

pub(super) async fn count_to(client: &Client) -> Result<BTreeMap<Arc<str>, u64>, PostgresFailure> {
    let query = "SELECT recipient, count(*) FROM purposegate.notices WHERE is_open AND recipient <> '' GROUP BY recipient";
    let rows = client.query(&client.prepare_cached(query).await?, &[]).await?;
    let count = |row: &Row| {
        let count = u64::try_from(row.try_get::<_, i64>(1)?).unwrap_or(0);
        Ok((Arc::from(from_column(row.try_get(0)?)), count))
    };
    rows.iter().map(count).collect()
}

pub(super) async fn write(client: &mut Client, rows: &[NoticeRow]) -> Result<bool, PostgresFailure> {
    let transaction = client.transaction().await?;
    let is_written = put(&transaction, rows).await?;
    if is_written {
        transaction.commit().await?;
    } else {
        transaction.rollback().await?;
    }
    Ok(is_written)
}

/// Writes rows within the caller's transaction. Returns false if somebody else wrote one of them.
async fn put(transaction: &Transaction<'_>, rows: &[NoticeRow]) -> Result<bool, PostgresFailure> {
    let insert = "
        INSERT INTO purposegate.notices (id, inquiry, recipient, due, is_open, version, state)
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";
    let update = "
        UPDATE purposegate.notices SET due = $2, is_open = $3, version = $4::bigint, state = $5
        WHERE id = $1 AND version = $4::bigint - 1";
    for NoticeRow { id, inquiry, recipient, due, open, version, state } in rows {
        let (id, inquiry) = (id.to_string(), inquiry.to_string());
        let (due, number) = (due.as_millisecond(), i64::try_from(*version).unwrap_or(i64::MAX));
        let (recipient, state) = (to_column(recipient.as_deref().unwrap_or_default()), to_column(state));
        let written = if *version == 1 {
            transaction.execute(insert, &[&id, &inquiry, &recipient, &due, open, &number, &state]).await?
        } else {
            transaction.execute(update, &[&id, &due, open, &number, &state]).await?
        };
        if written == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn remove(
    client: &mut Client,
    inquiry: Ulid,
    version: u64,
    rows: &[NoticeRow],
) -> Result<bool, PostgresFailure> {
    let (id, version) = (inquiry.to_string(), i64::try_from(version).unwrap_or(i64::MAX));
    let transaction = client.transaction().await?;
    let own = "DELETE FROM purposegate.notices WHERE id = $1 AND version = $2";
    if transaction.execute(own, &[&id, &version]).await? == 0 {
        transaction.rollback().await?;
        return Ok(false);
    }
    transaction.execute("DELETE FROM purposegate.notices WHERE inquiry = $1", &[&id]).await?;
    transaction.batch_execute(&NOTICES.marking()).await?;
    put(&transaction, rows).await?;
    transaction.commit().await?;
    Ok(true)
}
