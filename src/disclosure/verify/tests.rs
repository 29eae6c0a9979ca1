//! Verification of logs that storage and encoder wrote.

mod edits;
mod faults;
mod tails;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use ulid::Ulid;

use super::*;
use crate::disclosure::entry::{BUNDLE, DayStart, Encoder, Entry, ProcessStart, PruningRecord};
use crate::disclosure::record::{
    CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, ExchangeReference, Outcome, Record, Verdict,
};
use crate::disclosure::storage::journal::{JournalReader, untagged_journal};
use crate::disclosure::storage::{Storage, StorageSettings};
use crate::keys::{Keys, LoggedPerson};
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, IdReader, Operation};

const ORIGIN: &str = "gateway-1/5f2c09ab";

/// A log that is being written.
struct Writer {
    storage: Storage,
    encoder: Encoder,
    keys: Keys,
    kept: u64,
    exchanges: u64,
}

fn now(day: Date) -> Timestamp {
    day.at(12, 0, 0, 0).in_tz("UTC").unwrap().timestamp()
}

fn day(number: i8) -> Date {
    jiff::civil::date(2026, 11, number)
}

impl Writer {
    /// Begins a log, or continues one on a day that it has begun.
    fn open(folder: &Path, keys: &Keys, day: Date, unclean: bool) -> Writer {
        let signer = keys.log_signing_key(ORIGIN).unwrap();
        let settings = StorageSettings { folder: folder.to_owned(), signer, outside: Vec::new() };
        let (storage, recovered) = Storage::open(settings).unwrap();
        let encoder = Encoder::new(keys.subject_pseudonyms());
        let kept = recovered.kept_checkpoints;
        let mut writer = Writer { storage, encoder, keys: keys.clone(), kept, exchanges: recovered.size };
        match recovered.day_start < recovered.size {
            true => writer.encoder.continue_day(day, recovered.day_start, 0),
            false => writer.begin_day(day),
        }
        let offset = writer.storage.size() - writer.storage.day_start();
        let torn_bytes = recovered.torn_bytes;
        let members =
            ProcessStart { gateway: "gateway-1", version: "0.2.0", unclean, torn_bytes, former: None };
        writer.append(|encoder, out| encoder.start(offset, &members, now(day), out));
        writer
    }

    fn append(&mut self, encode: impl FnOnce(&mut Encoder, &mut Vec<Entry>)) {
        let mut out = Vec::new();
        encode(&mut self.encoder, &mut out);
        self.storage.append(&out).unwrap();
    }

    fn begin_day(&mut self, day: Date) {
        let (checkpoints, pseudonym_key) = (self.kept, self.keys.pseudonym_check());
        let first = self.storage.size();
        let members = DayStart { first, gateway: "gateway-1", checkpoints, pseudonym_key, ledger: None };
        self.append(|encoder, out| encoder.begin_day(day, &members, out));
    }

    fn record(&mut self, record: &Record) {
        let offset = self.storage.size() - self.storage.day_start();
        self.append(|encoder, out| encoder.encode(record, now(encoder.day()), offset, out));
    }

    fn head(&mut self) -> Arc<ExchangeHead> {
        self.exchanges += 1;
        Arc::new(ExchangeHead {
            decision: Ulid::from_parts(1_795_000_000_000 + self.exchanges, 7),
            recipient: "acme".into(),
            actor: None,
            holder: None,
            purpose: "direct-marketing".into(),
            declared: None,
            case: Some("2026-017".into()),
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "1".into(),
            position: Position(3),
            stale: false,
            factors: [("registration", Verdict::Permits)].into_iter().collect(),
            mode: ExchangeMode::Enforce,
            would_refuse: None,
            trace: None,
        })
    }

    fn disclosure(&self, people: usize) -> Disclosure {
        let person = |number: usize| {
            let id = IdReader::default().read(&format!("person-{number}")).unwrap();
            LoggedPerson::unknown(self.keys.fingerprints().subject(&id))
        };
        let category = |name: &str| CategoryDisclosure {
            category: Some(name.into()),
            form: Form::Clear,
            basis: Some(Basis::Consent),
            reason: None,
            rules: Arc::new(["marketing".into()]),
            clauses: Arc::new(["G-6.4b".into()]),
            fields: 2,
            would: None,
        };
        Disclosure {
            position: Position(3),
            records: people as u64,
            subjects: (0..people).map(person).collect(),
            categories: vec![category("email"), category("name")],
            ..Disclosure::default()
        }
    }

    fn exchange(&mut self) {
        let (head, disclosure) = (self.head(), self.disclosure(1));
        self.record(&Record::Exchange(head, disclosure));
    }

    /// Writes an exchange of each shape.
    fn each_shape(&mut self) {
        self.exchange();
        let head = self.head();
        self.record(&Record::Refusal(head, "purpose-missing"));
        let head = self.head();
        let decision = head.decision;
        let (first, many) = (self.disclosure(1), self.disclosure(6000));
        self.record(&Record::Intent(Arc::clone(&head)));
        self.record(&Record::Window { exchange: ExchangeReference::First(head), disclosure: first });
        self.record(&Record::Window { exchange: ExchangeReference::Later(decision), disclosure: many });
        self.record(&Record::Close { decision, outcome: Outcome::Aborted });
        let outcome = Outcome::Refused("ledger-stale");
        let disclosure = Some(self.disclosure(2));
        self.record(&Record::Correction { decision, outcome, disclosure });
        self.record(&Record::SecretErasure { secrets: 1, reason: "delivered" });
    }

    /// Ends the day and begins another one.
    fn next_day(&mut self, day: Date) {
        let missing = self.storage.size().next_multiple_of(BUNDLE) - self.storage.size();
        self.append(|encoder, out| encoder.padding(missing, out));
        self.storage.end_day().unwrap();
        self.kept += 1;
        self.begin_day(day);
    }

    fn prune(&mut self, below: u64) {
        let record = PruningRecord { below, ..PruningRecord::default() };
        self.append(|encoder, out| encoder.pruning(record, now(encoder.day()), out));
        self.storage.prune(below).unwrap();
    }

    fn stop(mut self) {
        self.append(|encoder, out| encoder.stop(now(encoder.day()), out));
        self.storage.close().unwrap();
    }
}

/// Returns the key that verifies the logs of these keys.
fn verifier(keys: &Keys) -> VerifierKey {
    keys.log_signing_key(ORIGIN).unwrap().verifier_key().parse().unwrap()
}

/// Returns the path of the last journal.
fn last_journal(folder: &Path) -> PathBuf {
    let journals = std::fs::read_dir(folder.join("journal")).unwrap();
    journals.map(|entry| entry.unwrap().path()).max().unwrap()
}

/// Writes the last journal in the format without tags, with these further entries. Returns the number of entries before them.
fn remove_tags(folder: &Path, further: &[Entry]) -> u64 {
    let path = last_journal(folder);
    let (mut reader, edge) = JournalReader::open(&path).unwrap().unwrap();
    let mut entries: Vec<Entry> = std::iter::from_fn(|| reader.next().unwrap()).collect();
    let before = reader.index();
    entries.extend(further.iter().cloned());
    std::fs::write(path, untagged_journal(&edge, entries)).unwrap();
    before
}

fn check(folder: &Path, key: &VerifierKey) -> VerificationReport {
    verify(folder, KnownLog { key: Some(key), ..KnownLog::default() }, &mut |_| ()).unwrap()
}

/// A cleanly stopped log of so many exchanges on each day, of which the days before the third last are pruned.
fn written(days: &[usize]) -> (tempfile::TempDir, Keys) {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let mut writer = Writer::open(folder.path(), &keys, day(1), false);
    for (number, exchanges) in (1..).zip(days) {
        if number > 1 {
            writer.next_day(day(number));
        }
        writer.each_shape();
        (0..*exchanges).for_each(|_| writer.exchange());
    }
    let kept = writer.kept;
    if kept > 2 {
        let below = std::fs::read_dir(folder.path().join("checkpoints")).unwrap();
        let mut sizes: Vec<u64> =
            below.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect();
        sizes.sort_unstable();
        writer.prune(sizes[sizes.len() - 2]);
    }
    writer.stop();
    (folder, keys)
}

#[test]
fn logs_that_were_stopped_cleanly_have_no_finding() {
    for days in [&[0][..], &[300], &[10, 0], &[600, 5, 700], &[3, 2, 5, 300]] {
        let (folder, keys) = written(days);
        let report = check(folder.path(), &verifier(&keys));
        assert_eq!(report.findings, [] as [String; 0], "{days:?}");
        let expected: &[&str] = match days.len() {
            4 => &["entries 0 to 511 are past their retention and deleted"],
            _ => &[],
        };
        assert_eq!(report.remarks, expected, "{days:?}");
        assert_eq!(report.origin.as_deref(), Some(ORIGIN));
        let checkpoint = SignedCheckpoint::parse(report.checkpoint.unwrap().as_bytes()).unwrap();
        assert_eq!(published_entries(folder.path()), Some(checkpoint.size()));
        assert!(!checkpoint.size().is_multiple_of(BUNDLE));
    }
}
