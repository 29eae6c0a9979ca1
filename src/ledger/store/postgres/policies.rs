//! The record of policies in PostgreSQL. Several gateways write it.

use deadpool_postgres::Client;

use super::error::PostgresFailure;
use super::rows::{digest, from_column, to_column};
use crate::ledger::policy_memory::{PolicyMemory, PolicyPlace};

/// Reads the record of policies.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn read(client: &mut Client) -> Result<PolicyMemory, PostgresFailure> {
    let isolation = tokio_postgres::IsolationLevel::RepeatableRead;
    let transaction = client.build_transaction().isolation_level(isolation).read_only(true).start().await?;
    let mut memory = PolicyMemory::default();
    let query = "SELECT digest, first_seen, texts FROM purposegate.policy_versions";
    for row in transaction.query(query, &[]).await? {
        let digest = digest(row.try_get(0)?)?;
        memory.first_seen.insert(digest, parsed(row.try_get(1)?)?);
        let texts: Option<&str> = row.try_get(2)?;
        memory.texts.extend(texts.map(|texts| (digest, from_column(texts).into_owned())));
    }
    let query =
        "SELECT place, digest, effective, loaded FROM purposegate.policy_places ORDER BY place, digest";
    for row in transaction.query(query, &[]).await? {
        let loaded = parsed(row.try_get(3)?)?;
        let place = memory.places.entry(from_column(row.try_get(0)?).into_owned());
        let place = place.or_insert_with(|| PolicyPlace { loaded, versions: Vec::new() });
        place.versions.push((digest(row.try_get(1)?)?, parsed(row.try_get(2)?)?));
    }
    transaction.commit().await?;
    Ok(memory)
}

fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, PostgresFailure> {
    text.parse().map_err(|_| PostgresFailure::Damaged("a time in the record of policies does not read"))
}

/// Merges `memory` into the record: times of first sight on record stay, the places that `memory` lists get its
/// versions, and texts of versions at no place are dropped.
///
/// # Errors
/// [`PostgresFailure`].
pub(super) async fn write(client: &mut Client, memory: &PolicyMemory) -> Result<(), PostgresFailure> {
    let transaction = client.transaction().await?;
    // One writer after the other, so that no place gets the versions of two.
    transaction.execute("SELECT 1 FROM purposegate.ledger FOR UPDATE", &[]).await?;
    let version = "
        INSERT INTO purposegate.policy_versions AS known (digest, first_seen, texts) VALUES ($1, $2, $3)
        ON CONFLICT (digest) DO UPDATE SET texts = coalesce(excluded.texts, known.texts)";
    let version = transaction.prepare(version).await?;
    for (digest, first_seen) in &memory.first_seen {
        let texts = memory.texts.get(digest).map(|texts| to_column(texts));
        transaction.execute(&version, &[&digest.as_slice(), &first_seen.to_string(), &texts]).await?;
    }
    let place = "
        INSERT INTO purposegate.policy_places (place, digest, effective, loaded) VALUES ($1, $2, $3, $4)";
    let insert = transaction.prepare(place).await?;
    for (place, PolicyPlace { loaded, versions }) in &memory.places {
        let place = to_column(place);
        transaction.execute("DELETE FROM purposegate.policy_places WHERE place = $1", &[&place]).await?;
        for (digest, effective) in versions {
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&place, &digest.as_slice(), &effective.to_string(), &loaded.to_string()];
            transaction.execute(&insert, &parameters).await?;
        }
    }
    let clear = "
        UPDATE purposegate.policy_versions SET texts = NULL
        WHERE texts IS NOT NULL AND digest NOT IN (SELECT digest FROM purposegate.policy_places)";
    transaction.execute(clear, &[]).await?;
    Ok(transaction.commit().await?)
}
