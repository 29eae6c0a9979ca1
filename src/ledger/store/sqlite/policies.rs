//! The record of policies in a SQLite file.

use rusqlite::{Connection, params};

use super::rows::parsed;
use crate::ledger::policy_memory::{PolicyDigest, PolicyMemory, PolicyPlace};

pub(super) const TABLES: &str = "
    CREATE TABLE policy_versions (
        digest BLOB PRIMARY KEY,
        first_seen TEXT NOT NULL,
        texts TEXT -- only of versions at a place
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE policy_places (
        place TEXT NOT NULL,
        digest BLOB NOT NULL,
        effective TEXT NOT NULL,
        loaded TEXT NOT NULL,
        PRIMARY KEY (place, digest)
    ) STRICT, WITHOUT ROWID;
";

/// Reads the record of policies. It is empty if the file has an earlier version without one.
pub(super) fn read(reader: &Connection) -> rusqlite::Result<PolicyMemory> {
    let there = "SELECT count(*) FROM sqlite_schema WHERE name = 'policy_places'";
    let mut memory = PolicyMemory::default();
    if reader.query_row(there, [], |row| row.get::<_, i64>(0))? == 0 {
        return Ok(memory);
    }
    let mut versions = reader.prepare("SELECT digest, first_seen, texts FROM policy_versions")?;
    let mut rows = versions.query([])?;
    while let Some(row) = rows.next()? {
        let digest: PolicyDigest = row.get(0)?;
        memory.first_seen.insert(digest, parsed(row, 1)?);
        let texts: Option<String> = row.get(2)?;
        memory.texts.extend(texts.map(|texts| (digest, texts)));
    }
    let mut places = reader.prepare("SELECT place, digest, effective, loaded FROM policy_places")?;
    let mut rows = places.query([])?;
    while let Some(row) = rows.next()? {
        let loaded = parsed(row, 3)?;
        let place = memory.places.entry(row.get(0)?);
        let place = place.or_insert_with(|| PolicyPlace { loaded, versions: Vec::new() });
        place.versions.push((row.get(1)?, parsed(row, 2)?));
    }
    Ok(memory)
}

/// Merges `memory` into the record: times of first sight on record stay, the places that `memory` lists get its
/// versions, and texts of versions at no place are dropped.
pub(super) fn write(writer: &mut Connection, memory: &PolicyMemory) -> rusqlite::Result<()> {
    let transaction = writer.transaction()?;
    {
        let mut version = transaction.prepare(
            "INSERT INTO policy_versions (digest, first_seen, texts) VALUES (?1, ?2, ?3)
             ON CONFLICT (digest) DO UPDATE SET texts = coalesce(excluded.texts, texts)",
        )?;
        for (digest, first_seen) in &memory.first_seen {
            version.execute(params![digest, first_seen.to_string(), memory.texts.get(digest)])?;
        }
        let mut clear = transaction.prepare("DELETE FROM policy_places WHERE place = ?1")?;
        let mut stand = transaction.prepare(
            "INSERT INTO policy_places (place, digest, effective, loaded) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (place, PolicyPlace { loaded, versions }) in &memory.places {
            clear.execute([place])?;
            for (digest, effective) in versions {
                stand.execute(params![place, digest, effective.to_string(), loaded.to_string()])?;
            }
        }
    }
    transaction.execute(
        "UPDATE policy_versions SET texts = NULL WHERE digest NOT IN (SELECT digest FROM policy_places)",
        [],
    )?;
    transaction.commit()
}
