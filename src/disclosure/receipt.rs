//! Receipts: proof that a decision is on record, for the recipient or anybody else who has the verifier's key.
//!
//! A receipt has the leaves of the decision's entries and of the entries to which they refer, each with its inclusion proof
//! (RFC 6962, 2.1.1) in the tree of a signed checkpoint. Invariants: a receipt shows no detail of an entry, so no person, no
//! count, no factor and no actor; a proof is given away only after it was checked against the checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tlog_tiles::{Hash, check_record, record_hash};
use ulid::Ulid;

use super::entry::{DecodedHead, Entry, EntryKind, NameTable, decode_detail, decode_head};
use super::questions::{QuestionedLog, entries_of};
use super::read::fold::SearchEffort;
use super::storage::{LogReader, ReadError};
use super::terms::TermCache;
use crate::vocabulary::time_of;

/// Proof that a decision is on record.
#[derive(Clone, Debug, Serialize)]
pub struct DecisionReceipt {
    /// The decision's id.
    pub decision: String,
    /// The origin of the log.
    pub origin: String,
    /// The checkpoint, a signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// The entries of the decision, oldest first.
    pub entries: Vec<ProvenEntry>,
    /// The entries to which they refer: the beginning of the day and the names.
    pub references: Vec<ProvenEntry>,
}

/// An entry with the proof that it is in the tree of the checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct ProvenEntry {
    /// The index of the entry.
    pub index: u64,
    /// The leaf, in base64.
    pub leaf: String,
    /// The hashes of the inclusion proof from the leaf to the root, in base64.
    pub proof: Vec<String>,
    /// The head that the leaf encodes, with the names instead of their numbers.
    pub head: Value,
}

/// The state of a decision's receipt.
#[derive(Debug)]
pub enum ReceiptState {
    /// The receipt.
    Proven(Box<DecisionReceipt>),
    /// The decision is on record, and the next checkpoint will cover it.
    Pending,
    /// The decision was made on a day that is no longer in the log.
    Pruned,
    /// No log has the decision.
    Unknown,
}

/// Finds a decision in one of the logs and proves it.
///
/// # Errors
/// [`ReadError`] if the decision may be in a log that cannot be read, or that a bounded search does not read to its end.
pub fn find(logs: &[QuestionedLog], decision: Ulid, effort: SearchEffort) -> Result<ReceiptState, ReadError> {
    let (mut state, mut failure) = (ReceiptState::Unknown, None);
    for log in logs {
        match find_in(log, decision, effort) {
            Ok(ReceiptState::Unknown) => {}
            Ok(ReceiptState::Pruned) => state = ReceiptState::Pruned,
            Ok(found) => return Ok(found),
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if matches!(state, ReceiptState::Unknown) => Err(error),
        _ => Ok(state),
    }
}

/// True if one of the logs has deleted the day of a decision, which its id states. No entry is sought.
///
/// # Errors
/// [`ReadError`] if no log has, and one cannot be read.
pub fn is_pruned(logs: &[QuestionedLog], decision: Ulid) -> Result<bool, ReadError> {
    let mut failure = None;
    for log in logs {
        match LogReader::open(&log.folder).and_then(|mut log| is_pruned_in(&mut log, decision)) {
            Ok(true) => return Ok(true),
            Ok(false) => {}
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(false), Err)
}

fn is_pruned_in(log: &mut LogReader, decision: Ulid) -> Result<bool, ReadError> {
    let first = log.begin();
    let is_cut = first > 0 && first < log.size();
    Ok(is_cut && time_of(decision) < TermCache::default().place(log, first)?.day.begin())
}

fn find_in(log: &QuestionedLog, decision: Ulid, effort: SearchEffort) -> Result<ReceiptState, ReadError> {
    let (mut log, entries) = entries_of(log, decision, effort)?;
    if !entries.is_empty() {
        let made = receipt(&mut log, decision, &entries)?;
        return Ok(made.map_or(ReceiptState::Pending, |made| ReceiptState::Proven(Box::new(made))));
    }
    Ok(if is_pruned_in(&mut log, decision)? { ReceiptState::Pruned } else { ReceiptState::Unknown })
}

/// A leaf in memory.
struct ReadLeaf {
    index: u64,
    leaf: Vec<u8>,
}

/// Reads the leaves of a receipt and their names.
struct ReceiptBuilder<'l> {
    log: &'l mut LogReader,
    terms: TermCache,
    /// Entries that others refer to.
    references: BTreeMap<u64, Vec<u8>>,
}

/// Returns the receipt of the entries of a decision, oldest first; `None` if the log's checkpoint does not cover all of them
/// yet.
///
/// # Errors
/// [`ReadError`], also if an entry does not belong to the decision or is not what the tree says.
pub fn receipt(
    log: &mut LogReader,
    decision: Ulid,
    entries: &[u64],
) -> Result<Option<DecisionReceipt>, ReadError> {
    let Some(checkpoint) = log.checkpoint().cloned() else { return Ok(None) };
    if entries.is_empty() || entries.iter().any(|entry| *entry >= checkpoint.size) {
        return Ok(None);
    }
    let folder = log.folder().to_owned();
    let damaged = || ReadError::Damaged(folder.clone());
    let mut builder = ReceiptBuilder { log, terms: TermCache::default(), references: BTreeMap::new() };
    let mut own = Vec::new();
    let mut before = None;
    for index in entries {
        let Entry { leaf, detail } = builder.entry(*index)?;
        let head = decode_head(&leaf).map_err(|_| damaged())?;
        let detail = decode_detail(head.kind, &detail).map_err(|_| damaged())?;
        // Only the detail tells parts of one record, which follow each other, from records that do. Without it they count as parts.
        let follows = before
            .replace((*index, head.kind))
            .is_some_and(|(before, kind)| before.checked_add(1) == Some(*index) && kind == head.kind);
        if detail.map_or(follows, |detail| detail.part() > 1) {
            // The number of parts says how many people the record names.
            continue;
        }
        if head.id != Some(decision) {
            return Err(damaged());
        }
        let shown = builder.describe(*index, &head)?;
        own.push((ReadLeaf { index: *index, leaf }, shown));
    }
    let mut others = Vec::new();
    for (index, leaf) in std::mem::take(&mut builder.references) {
        let shown = builder.describe(index, &decode_head(&leaf).map_err(|_| damaged())?)?;
        others.push((ReadLeaf { index, leaf }, shown));
    }
    let prove = |(leaf, head)| proven(builder.log, &folder, leaf, head, checkpoint.size, checkpoint.root);
    Ok(Some(DecisionReceipt {
        decision: decision.to_string(),
        origin: checkpoint.origin,
        checkpoint: checkpoint.note,
        entries: own.into_iter().map(prove).collect::<Result<_, _>>()?,
        references: others.into_iter().map(prove).collect::<Result<_, _>>()?,
    }))
}

fn proven(
    log: &LogReader,
    folder: &Path,
    ReadLeaf { index, leaf }: ReadLeaf,
    head: Value,
    size: u64,
    root: [u8; 32],
) -> Result<ProvenEntry, ReadError> {
    let proof = log.prove_inclusion(index, size)?;
    check_record(&proof, size, Hash(root), index, record_hash(&leaf))
        .map_err(|_| ReadError::Damaged(folder.to_owned()))?;
    Ok(ProvenEntry {
        index,
        leaf: STANDARD.encode(leaf),
        proof: proof.iter().map(|hash| STANDARD.encode(hash.0)).collect(),
        head,
    })
}

impl ReceiptBuilder<'_> {
    fn damaged(&self) -> ReadError {
        ReadError::Damaged(self.log.folder().to_owned())
    }

    fn entry(&mut self, index: u64) -> Result<Entry, ReadError> {
        self.log.entry(index)?.ok_or_else(|| self.damaged())
    }

    /// Adds an entry that another one refers to.
    fn add_reference(&mut self, index: u64) -> Result<(), ReadError> {
        let leaf = self.entry(index)?.leaf;
        self.references.insert(index, leaf);
        Ok(())
    }

    /// Returns a head as JSON.
    fn describe(&mut self, index: u64, head: &DecodedHead<'_>) -> Result<Value, ReadError> {
        let mut members = Map::new();
        members.insert("kind".to_owned(), head.kind.name().into());
        match head.kind {
            EntryKind::Name => {
                members.insert("table".to_owned(), json!(head.table.map(NameTable::name)));
                members.insert("text".to_owned(), json!(head.text));
            }
            EntryKind::Day => {
                members.insert("date".to_owned(), json!(head.date));
                members.insert("gateway".to_owned(), json!(head.gateway));
            }
            _ => self.describe_exchange(index, head, &mut members)?,
        }
        Ok(Value::Object(members))
    }

    fn describe_exchange(
        &mut self,
        index: u64,
        head: &DecodedHead<'_>,
        members: &mut Map<String, Value>,
    ) -> Result<(), ReadError> {
        let place = self.terms.place(self.log, index)?;
        self.add_reference(place.day_start)?;
        members.insert("time".to_owned(), json!(place.day.time(head)));
        members.insert("decision".to_owned(), json!(head.id.map(|id| id.to_string())));
        for (table, number) in head.numbers() {
            self.add_reference(place.defining(head.base, number).ok_or_else(|| self.damaged())?)?;
            let name = self.terms.name(self.log, &place, head.base, table, number)?;
            if table != NameTable::Code {
                members.insert(table.name().to_owned(), (*name).into());
            }
        }
        if let Some(operation) = head.operation {
            members.insert("operation".to_owned(), operation.name().into());
        }
        let outcome = self.terms.outcome(self.log, &place, head)?;
        if let Some(outcome) = outcome {
            members.insert("outcome".to_owned(), outcome.into());
        }
        if let Some(entry) = head.continues {
            members.insert("continues".to_owned(), entry.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use jiff::civil::date;
    use ring::signature::{ED25519, UnparsedPublicKey};
    use sha2::{Digest, Sha256};

    use super::*;
    use crate::disclosure::questions::tests::WrittenLog;
    use crate::disclosure::record::{Disclosure, Outcome, Record, Verdict};
    use crate::keys::Pseudonym;

    fn sha256(parts: &[&[u8]]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        parts.iter().for_each(|part| hasher.update(part));
        hasher.finalize().into()
    }

    /// RFC 9162, 2.1.3.2, which is RFC 6962, 2.1.1 as an algorithm.
    fn is_included(index: u64, size: u64, leaf: &[u8], proof: &[Vec<u8>], root: &[u8]) -> bool {
        let (mut node, mut last) = (index, size - 1);
        let mut hash = sha256(&[&[0], leaf]);
        for sibling in proof {
            if last == 0 {
                return false;
            }
            if node % 2 == 1 || node == last {
                hash = sha256(&[&[1], sibling, &hash]);
                while node.is_multiple_of(2) && node != 0 {
                    (node, last) = (node >> 1, last >> 1);
                }
            } else {
                hash = sha256(&[&[1], &hash, sibling]);
            }
            (node, last) = (node >> 1, last >> 1);
        }
        last == 0 && hash == *root
    }

    /// Checks the signature of a note under a verifier key and returns the size and the root.
    fn open_checkpoint(note: &str, key: &str) -> Option<(u64, Vec<u8>)> {
        let (name, rest) = key.split_once('+')?;
        let (id, encoded) = rest.split_once('+')?;
        let public = STANDARD.decode(encoded).ok()?;
        let (text, signatures) = note.rsplit_once("\n\n")?;
        let text = format!("{text}\n");
        let line = signatures.lines().find_map(|line| line.strip_prefix(&format!("\u{2014} {name} ")))?;
        let signature = STANDARD.decode(line).ok()?;
        let (key_id, signature) = signature.split_at_checked(4)?;
        let hex: String = key_id.iter().map(|byte| format!("{byte:02x}")).collect();
        // The first byte of the key is the algorithm: 1 is Ed25519.
        let (1, public) = (*public.first()?, public.get(1..)?) else { return None };
        UnparsedPublicKey::new(&ED25519, public)
            .verify(text.as_bytes(), signature)
            .ok()
            .filter(|()| hex == id)?;
        let mut lines = text.lines();
        (lines.next()? == name).then_some(())?;
        Some((lines.next()?.parse().ok()?, STANDARD.decode(lines.next()?).ok()?))
    }

    fn verify(receipt: &Value, key: &str) -> bool {
        let Some((size, root)) = open_checkpoint(receipt["checkpoint"].as_str().unwrap(), key) else {
            return false;
        };
        let entries = receipt["entries"].as_array().unwrap().iter();
        entries.chain(receipt["references"].as_array().unwrap()).all(|entry| {
            let decode = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
            let proof: Vec<Vec<u8>> = entry["proof"].as_array().unwrap().iter().map(decode).collect();
            is_included(entry["index"].as_u64().unwrap(), size, &decode(&entry["leaf"]), &proof, &root)
        })
    }

    /// Checks that nothing of the details is shown, neither as text nor in the leaves.
    fn assert_shows_no_detail(receipt: &Value, people: &[Pseudonym]) {
        let mut shown = receipt.to_string().into_bytes();
        let entries = receipt["entries"].as_array().unwrap().iter();
        for entry in entries.chain(receipt["references"].as_array().unwrap()) {
            shown.extend(STANDARD.decode(entry["leaf"].as_str().unwrap()).unwrap());
        }
        let shows = |hidden: &[u8]| memchr::memmem::find(&shown, hidden).is_some();
        for person in people {
            assert!(!shows(person.bytes()) && !shows(person.to_string().as_bytes()));
        }
        for hidden in
            ["registration-of-the-recipient", "dpv:CustomerSupport", "C-2026-17", "factors", "records"]
        {
            assert!(!shows(hidden.as_bytes()), "{hidden}");
        }
    }

    #[test]
    fn a_verifier_of_rfc_6962_accepts_a_receipt_which_shows_no_detail() {
        let mut log = WrittenLog::begin(date(2026, 11, 29));
        let mut decisions = Vec::new();
        for number in 0..700 {
            let mut head = log.head(if number % 2 == 0 { "acme" } else { "globex" }, number);
            head.actor = Some(log.person(7));
            head.declared = Some("dpv:CustomerSupport".into());
            head.case = Some("C-2026-17".into());
            head.factors.push(("registration-of-the-recipient", Verdict::Permits));
            let decision = head.decision;
            let subjects = [log.person(1)].into_iter().collect();
            let disclosure = Disclosure { records: 77, subjects, ..Disclosure::default() };
            let record = match number % 50 {
                3 => Record::Refusal(Arc::new(head), "no-rule-permits"),
                _ => Record::Exchange(Arc::new(head), disclosure),
            };
            let mut entries = vec![log.write(&record) - 1];
            if number % 50 == 7 {
                entries.push(
                    log.write(&Record::Correction { decision, outcome: Outcome::Aborted, disclosure: None })
                        - 1,
                );
            }
            decisions.push((decision, entries));
        }
        let mut reader = log.reader();
        assert!(
            receipt(&mut reader, decisions[0].0, &decisions[0].1).unwrap().is_none(),
            "not published yet"
        );
        log.publish();
        reader.refresh().unwrap();
        let signer = log.keys.log_signing_key("gateway-1/5f2c09ab").unwrap();
        let another = log.keys.log_signing_key("gateway-1/5f2c09ac").unwrap();
        let day = log.keys.subject_pseudonyms().epoch("2026-11-29");
        let people: Vec<_> = [1, 7].map(|number| log.person(number).pseudonym(&day)).into_iter().collect();
        for (number, (decision, entries)) in decisions.iter().enumerate().step_by(3) {
            let made = receipt(&mut reader, *decision, entries).unwrap().unwrap();
            let mut made = serde_json::to_value(made).unwrap();
            assert!(verify(&made, &signer.verifier_key()) && !verify(&made, &another.verifier_key()));
            let head = &made["entries"][0]["head"];
            assert_eq!(head["recipient"], if number % 2 == 0 { "acme" } else { "globex" });
            assert_eq!(
                (&head["decision"], &head["purpose"]),
                (&decision.to_string().into(), &"support".into())
            );
            let last = made["entries"].as_array().unwrap().last().unwrap();
            let outcome = match number % 50 {
                3 => "refused:no-rule-permits",
                7 => "aborted",
                _ => "released",
            };
            assert_eq!(last["head"]["outcome"], outcome, "{number}");
            assert_shows_no_detail(&made, &people);
            // Another leaf is not in the tree.
            let mut leaf = STANDARD.decode(made["entries"][0]["leaf"].as_str().unwrap()).unwrap();
            leaf[5] ^= 1;
            made["entries"][0]["leaf"] = STANDARD.encode(leaf).into();
            assert!(!verify(&made, &signer.verifier_key()));
        }
        let (other, entries) = (decisions[1].0, &decisions[0].1);
        assert!(receipt(&mut reader, other, entries).is_err(), "entries of another decision");
    }
}
