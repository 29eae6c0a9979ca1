//! Prints every entry as a JSON object, with names in the place of numbers.

use std::io;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::decoded_log::{self, DecodedLog};
use super::exchange_records::earliest_record;
use super::former_records::{self, FormerRecords};
use super::model::{LoggedRuling, LoggedWouldRelease};
use super::source::LogPlace;
use crate::disclosure::entry::{DecodedDetail, DecodedHead, EntryKind, NameTable};
use crate::disclosure::record::ExchangeMode;
use crate::disclosure::storage::ReadError;
use crate::disclosure::terms::EntryPlace;
use crate::keys::Pseudonym;
use crate::vocabulary::Operation;

/// Passes each record of the log to `write` as one JSON object, oldest first: those of an old log as they were written,
/// then each entry with the members of its head and detail.
///
/// # Errors
/// [`ReadError`].
pub fn export(
    LogPlace { folder, index: _, tags }: LogPlace<'_>,
    since: Option<Timestamp>,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ReadError> {
    let mut former = FormerRecords::new(former_records::segments(folder, since)?, tags);
    while let Some(line) = former.next_line() {
        write(&line?).map_err(ReadError::Output)?;
    }
    let Some(mut log) = decoded_log::open(folder)? else { return Ok(()) };
    let first = match since {
        Some(since) => log.first_since(earliest_record(since))?,
        None => log.reader().begin(),
    };
    for index in first..log.reader().size() {
        if let Some(entry) = exported(&mut log, index)? {
            write(&serde_json::to_vec(&entry).map_err(|_| log.damaged())?).map_err(ReadError::Output)?;
        }
    }
    Ok(())
}

/// Returns the entry at an index; `None` if it was pruned.
fn exported(log: &mut DecodedLog, index: u64) -> Result<Option<Map<String, Value>>, ReadError> {
    let Some(entry) = log.entry(index)? else { return Ok(None) };
    let head = log.head(&entry)?;
    let place = log.place(index)?;
    let mut members = Map::new();
    put(&mut members, "index", index);
    put(&mut members, "kind", head.kind.name());
    put(&mut members, "time", json!(place.day.time(&head)));
    add_names(log, &place, &head, &mut members)?;
    add_log_members(&head, &mut members);
    if entry.detail.is_empty() {
        put(&mut members, "detail", "deleted");
    } else {
        let detail = log.detail(head.kind, &entry)?;
        add_detail(log, &place, &head, &detail, &mut members)?;
    }
    Ok(Some(members))
}

fn put(members: &mut Map<String, Value>, name: &str, value: impl Into<Value>) {
    members.insert(name.to_owned(), value.into());
}

fn put_some(members: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        put(members, name, value);
    }
}

fn put_count(members: &mut Map<String, Value>, name: &str, count: u64) {
    put_some(members, name, (count > 0).then_some(count));
}

/// Returns the name of the member with an entry's id.
fn id_member(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Act => "act",
        EntryKind::Notice => "notice",
        _ => "decision",
    }
}

/// Adds the id, the names and the outcome of a head.
fn add_names(
    log: &mut DecodedLog,
    place: &EntryPlace,
    head: &DecodedHead<'_>,
    members: &mut Map<String, Value>,
) -> Result<(), ReadError> {
    put_some(members, id_member(head.kind), head.id.map(|id| id.to_string()));
    for (table, number) in head.numbers() {
        if table != NameTable::Code {
            let name = log.name(place, head.base, table, number)?;
            put(members, table.name(), &*name);
        }
    }
    put_some(members, "operation", head.operation.map(Operation::name));
    put_some(members, "outcome", log.outcome(place, head)?);
    let is_of_exchange = head.has_circumstances() || matches!(head.kind, EntryKind::Act | EntryKind::Notice);
    if is_of_exchange {
        put(members, "gateway", &*log.gateway(place, head.base)?);
    }
    Ok(())
}

/// Adds the members of entries of the log about itself.
fn add_log_members(head: &DecodedHead<'_>, members: &mut Map<String, Value>) {
    put_some(members, "table", head.table.map(NameTable::name));
    put_some(members, "text", head.text);
    put_some(members, "date", head.date);
    put_some(members, "gateway", head.gateway);
    put_count(members, "checkpoints", head.checkpoints);
    put_some(members, "pseudonym_key", head.pseudonym_key.map(|key| hex(&key)));
    put_some(members, "ledger", head.ledger.map(|ledger| hex(&ledger)));
    put_some(members, "version", head.version);
    put_some(members, "unclean", head.unclean.then_some(true));
    put_count(members, "torn_bytes", head.torn_bytes);
    if let Some(former) = head.former_end() {
        put(
            members,
            "former",
            json!({
                "log": former.log, "records": former.records, "chain": hex(&former.chain),
            }),
        );
    }
    let since = head.since.and_then(|since| Timestamp::from_millisecond(i64::try_from(since).ok()?).ok());
    put_some(members, "since", since.map(|since| json!(since)));
    put_some(members, "from", head.from);
    put_some(members, "below", head.below);
    put_count(members, "details", head.details);
    put_count(members, "former_segments", head.former_segments);
    put_some(members, "former_first", head.former_first);
    put_some(members, "continues", head.continues);
    put_count(members, "refusals", head.refusals);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn people(people: &[[u8; 12]]) -> Vec<Value> {
    people.iter().map(|bytes| Pseudonym::from_bytes(*bytes).to_string().into()).collect()
}

/// Adds the members of a detail.
fn add_detail(
    log: &mut DecodedLog,
    place: &EntryPlace,
    head: &DecodedHead<'_>,
    detail: &DecodedDetail<'_>,
    members: &mut Map<String, Value>,
) -> Result<(), ReadError> {
    put_count(members, "position", detail.position);
    put_some(members, "stale", detail.stale.then_some(true));
    if detail.parts() > 1 {
        put(members, "part", detail.part());
        put(members, "parts", detail.parts());
    }
    if matches!(head.kind, EntryKind::Exchange | EntryKind::Window | EntryKind::Correction)
        && detail.part() == 1
    {
        put(members, "records", detail.records);
        put(members, "withheld_records", detail.withheld_records);
        let mut categories = Vec::new();
        for category in &detail.categories {
            let ruling = log.ruling(place, head.base, category.ruling)?;
            categories.push(ruling_members(&ruling, Some(category.fields)));
        }
        put(members, "categories", categories);
    }
    if !detail.subjects.is_empty() {
        put(members, "subjects", people(detail.subjects));
    }
    if !detail.withheld_subjects.is_empty() {
        put(members, "withheld_subjects", people(detail.withheld_subjects));
    }
    if let Some(number) = detail.factors {
        let factors = log.factors(place, head.base, number)?;
        let factors = factors.iter().map(|(name, verdict)| (name.to_string(), Value::from(&**verdict)));
        put(members, "factors", factors.collect::<Map<_, _>>());
    }
    add_texts(head.kind, detail, members);
    Ok(())
}

/// Adds the members that need no other entry.
fn add_texts(kind: EntryKind, detail: &DecodedDetail<'_>, members: &mut Map<String, Value>) {
    put_some(members, "actor", detail.actor.map(|actor| actor.to_string()));
    put_some(members, "holder", detail.holder.map(|holder| holder.to_string()));
    put_some(members, "declared", detail.declared);
    put_some(members, "case", detail.case);
    put_some(members, "mode", (detail.mode != ExchangeMode::Enforce).then(|| detail.mode.name()));
    put_some(members, "would", detail.would.map(|code| json!({ "refused": code })));
    put_some(members, "trace", detail.trace.map(|trace| hex(&trace)));
    match kind {
        EntryKind::Ruling => {
            let Some(ruling) = LoggedRuling::of(detail) else { return };
            members.extend(ruling_members(&ruling, None).as_object().cloned().unwrap_or_default());
        }
        EntryKind::Factors => {
            let verdict = |permits| if permits { "permits" } else { "refuses" };
            let factors =
                detail.verdicts.iter().map(|(name, permits)| ((*name).to_owned(), verdict(*permits).into()));
            put(members, "factors", factors.collect::<Map<String, Value>>());
        }
        _ => put_some(members, "reason", detail.reason),
    }
    // In the JSON of acts the person who administers the gateway is the actor.
    put_some(members, "actor", detail.administrator);
    put_some(members, "role", detail.role);
    put_some(members, "resource", detail.resource);
    put_some(members, "subject", detail.subject.map(|subject| subject.to_string()));
    put_some(members, "of_decision", detail.of_decision.map(|decision| decision.to_string()));
    put_count(members, "secrets", detail.secrets);
    put_some(members, "event", detail.event);
    put_some(members, "channel", detail.channel);
    put_some(members, "result", detail.result);
}

fn ruling_members(ruling: &LoggedRuling, fields: Option<u64>) -> Value {
    let LoggedRuling { category, form, basis, reason, rules, clauses, would } = ruling;
    let texts =
        |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| Value::from(&**text)).collect::<Vec<_>>();
    let mut members = Map::new();
    put(&mut members, "category", &**category);
    put(&mut members, "form", &**form);
    put_some(&mut members, "basis", basis.as_deref());
    put_some(&mut members, "reason", reason.as_deref());
    put(&mut members, "rules", texts(rules));
    put(&mut members, "clauses", texts(clauses));
    put_some(&mut members, "fields", fields);
    put_some(&mut members, "would", would.as_ref().map(LoggedWouldRelease::to_json));
    Value::Object(members)
}
