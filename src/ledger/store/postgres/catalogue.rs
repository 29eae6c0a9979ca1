//! Compares the tables of the database with what the version of the schema has.
//!
//! A table that lost its unique index, or that a trigger rewrites, would break promises of the ledger in silence.

use std::collections::BTreeMap;

use tokio_postgres::Client;

use super::error::{PostgresError, PostgresFailure};
use super::tables::{EVENT_COLUMNS, PARTITION_UNIQUE, PARTITIONS, TABLES};

/// A table of the database.
#[derive(Default)]
struct FoundTable {
    /// `(type, NOT NULL)` by the column's name.
    columns: BTreeMap<String, (String, bool)>,
    /// Columns of each valid unique index without a condition.
    unique: Vec<String>,
    is_logged: bool,
    is_partition: bool,
    has_triggers: bool,
    has_policies: bool,
}

/// Compares all tables.
///
/// # Errors
/// [`PostgresError::Changed`], or [`PostgresError::Failed`].
pub(super) async fn compare(client: &Client, is_newer: bool) -> Result<(), PostgresError> {
    let found = read(client).await.map_err(PostgresError::while_doing("reading the catalogue"))?;
    for shape in TABLES {
        compare_table(&found, shape.name, shape.columns, shape.unique, is_newer)?;
    }
    for part in 0..PARTITIONS {
        let name = format!("events_{part}");
        let table = compare_table(&found, &name, EVENT_COLUMNS, PARTITION_UNIQUE, is_newer)?;
        if !table.is_partition {
            return changed(&name, "is not a partition of `events`".to_owned());
        }
    }
    Ok(())
}

fn changed<T>(table: &str, difference: String) -> Result<T, PostgresError> {
    Err(PostgresError::Changed { object: format!("the table `purposegate.{table}`"), difference })
}

fn compare_table<'f>(
    found: &'f BTreeMap<String, FoundTable>,
    name: &str,
    columns: &[(&str, &str, bool)],
    unique: &[&str],
    is_newer: bool,
) -> Result<&'f FoundTable, PostgresError> {
    let Some(table) = found.get(name) else { return changed(name, "is missing".to_owned()) };
    for (column, expected_type, is_required) in columns {
        match table.columns.get(*column) {
            None => return changed(name, format!("has no column `{column}`")),
            Some((found_type, found_required)) => {
                if found_type != expected_type {
                    let difference =
                        format!("has `{column}` with the type {found_type} instead of {expected_type}");
                    return changed(name, difference);
                }
                if found_required != is_required {
                    let difference = if *is_required { "without" } else { "with" };
                    return changed(name, format!("has `{column}` {difference} NOT NULL"));
                }
            }
        }
    }
    let is_known = |column: &String| columns.iter().any(|(known, ..)| known == column);
    if let Some(column) = table.columns.keys().find(|column| !is_known(column))
        && !is_newer
    {
        return changed(name, format!("has a column `{column}`"));
    }
    if let Some(columns) = unique.iter().find(|columns| !table.unique.iter().any(|found| found == *columns)) {
        return changed(name, format!("has no valid unique index on ({columns})"));
    }
    if !table.is_logged {
        return changed(name, "is not logged (UNLOGGED): its rows are lost in a crash".to_owned());
    }
    if table.has_triggers || table.has_policies {
        return changed(name, "has a trigger, a rule or row security".to_owned());
    }
    Ok(table)
}

async fn read(client: &Client) -> Result<BTreeMap<String, FoundTable>, PostgresFailure> {
    let mut tables: BTreeMap<String, FoundTable> = BTreeMap::new();
    let query = "
        SELECT c.relname::text, c.relpersistence = 'p', c.relispartition, c.relrowsecurity,
               c.relhasrules OR EXISTS (SELECT FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal)
        FROM pg_class c WHERE c.relnamespace = 'purposegate'::regnamespace AND c.relkind IN ('r', 'p')";
    for row in client.query(query, &[]).await? {
        let table = FoundTable {
            is_logged: row.try_get(1)?,
            is_partition: row.try_get(2)?,
            has_policies: row.try_get(3)?,
            has_triggers: row.try_get(4)?,
            ..FoundTable::default()
        };
        tables.insert(row.try_get(0)?, table);
    }
    let query = "
        SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod), a.attnotnull
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'purposegate'::regnamespace AND c.relkind IN ('r', 'p')
            AND a.attnum > 0 AND NOT a.attisdropped";
    for row in client.query(query, &[]).await? {
        if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
            table.columns.insert(row.try_get(1)?, (row.try_get(2)?, row.try_get(3)?));
        }
    }
    let query = "
        SELECT c.relname::text, (
            SELECT string_agg(a.attname, ', ' ORDER BY k.n)
            FROM unnest(i.indkey::smallint[]) WITH ORDINALITY AS k (attnum, n)
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        )
        FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
        WHERE c.relnamespace = 'purposegate'::regnamespace AND c.relkind IN ('r', 'p')
            AND i.indisunique AND i.indisvalid AND i.indislive AND i.indimmediate
            AND i.indpred IS NULL AND i.indexprs IS NULL";
    for row in client.query(query, &[]).await? {
        if let Some(table) = tables.get_mut(row.try_get::<_, &str>(0)?) {
            table.unique.push(row.try_get(1)?);
        }
    }
    Ok(tables)
}

/// Checks that the role has all privileges that the program needs.
///
/// # Errors
/// [`PostgresError::Privilege`], or [`PostgresError::Failed`].
pub(super) async fn check_privileges(client: &Client) -> Result<(), PostgresError> {
    let query = "
        SELECT p.name FROM unnest($2::text[]) AS p (name)
        WHERE NOT has_table_privilege(format('purposegate.%I', $1::text), p.name)";
    for shape in TABLES {
        let privileges: Vec<&str> = shape.privileges.split(", ").collect();
        let missing = client.query(query, &[&shape.name, &privileges]).await;
        let missing = missing.map_err(PostgresError::while_doing("reading the privileges of the role"))?;
        if !missing.is_empty() {
            let grant = format!("GRANT {} ON purposegate.{} TO …", shape.privileges, shape.name);
            return Err(PostgresError::Privilege { grant });
        }
    }
    Ok(())
}
