//! Encodes records as entries. It keeps the state of the writer: the day, the base and the dictionary.
//!
//! It is a pure function of its inputs, apart from the salts: it reads no clock and no file. Invariant: after a write
//! that failed, the writer calls [`Encoder::resume`]; otherwise later entries would refer to names that were not written.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ulid::Ulid;

use super::Entry;
use super::cbor::MapWriter;
use super::dictionary::Dictionary;
use super::leaf::{NumberedHead, NumberedOutcome, bare_entry, begin_leaf};
use super::members::{MAX_DECLARED, MAX_TEXT, begin_detail, factors_detail, mode_number, ruling_detail};
use super::parts::{DisclosurePart, split};
use super::recorded_heads::{LATE, RecordedHeads};
use super::schema::{DetailKey, EntryKind, HeadKey, NameTable};
use crate::disclosure::record::{
    ActRecord, Disclosure, ExchangeHead, ExchangeReference, NoticeRecord, Outcome, Record,
};
use crate::keys::{EpochPseudonyms, SubjectPseudonyms};

/// The first entry of a day.
#[derive(Clone, Debug)]
pub struct DayStart<'a> {
    /// Its index.
    pub first: u64,
    /// The gateway's name.
    pub gateway: &'a str,
    /// The number of checkpoints of earlier days that are kept.
    pub checkpoints: u64,
    /// The check value of the key of the pseudonyms that recipients receive.
    pub pseudonym_key: [u8; 16],
    /// The id of the ledger whose log secrets name people, if it is known.
    pub ledger: Option<[u8; 16]>,
}

/// The members of the first entry of a process.
#[derive(Clone, Debug)]
pub struct ProcessStart<'a> {
    /// The gateway's name.
    pub gateway: &'a str,
    /// The version of the program.
    pub version: &'a str,
    /// True if the previous process ended without a stop.
    pub unclean: bool,
    /// Bytes of an incomplete write that were cut off when the log was opened.
    pub torn_bytes: u64,
    /// The end of the old log, if this is the first start of a log that continues one.
    pub former: Option<FormerLogEnd>,
}

/// The end of an old log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormerLogEnd {
    /// The old log's id.
    pub log: String,
    /// The number of its records.
    pub records: u64,
    /// Its last chain value.
    pub chain: [u8; 32],
}

/// States which entries are about to be deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruningRecord {
    /// The index of the first entry that is not deleted.
    pub below: u64,
    /// The number of segments of the old log that are deleted.
    pub former_segments: u64,
    /// The number of the first record of the old log that is kept, if segments of it are deleted and others are kept.
    pub former_first: Option<u64>,
}

/// States which details are about to be deleted: those of entries about exchanges, acts and notices in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DetailDeletionRecord<'r> {
    /// The index of the first entry of the range.
    pub from: u64,
    /// The index after the last entry of the range.
    pub below: u64,
    /// The number of details that are deleted in the range.
    pub details: u64,
    /// Why they are deleted.
    pub reason: &'r str,
}

/// Encodes records as entries.
pub struct Encoder {
    pseudonyms: SubjectPseudonyms,
    day: Date,
    /// The pseudonyms of the day.
    epoch: EpochPseudonyms,
    /// Milliseconds since 1970 at the start of the day.
    day_start: i64,
    /// The time of the last entry, in milliseconds since the start of the day.
    time: u64,
    /// The offset of the entry with which the process or the resumption began; 0 if the process began with the day.
    base: u64,
    gateway: String,
    dictionary: Dictionary,
    /// The index of the first entry of the day.
    first_of_day: u64,
    heads: RecordedHeads,
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoder").field("day", &self.day).finish_non_exhaustive()
    }
}

/// Returns the first instant of a day (UTC), in milliseconds since 1970.
pub(super) fn start_of(day: Date) -> i64 {
    day.to_zoned(TimeZone::UTC).map_or(0, |start| start.timestamp().as_millisecond())
}

impl Encoder {
    /// Creates an encoder. Begin or continue a day before anything is encoded.
    pub fn new(pseudonyms: SubjectPseudonyms) -> Encoder {
        let day = Date::ZERO;
        Encoder {
            epoch: pseudonyms.epoch(&day.to_string()),
            pseudonyms,
            day,
            day_start: start_of(day),
            time: 0,
            base: 0,
            gateway: String::new(),
            dictionary: Dictionary::default(),
            first_of_day: 0,
            heads: RecordedHeads::default(),
        }
    }

    /// Returns the day of the entries.
    pub fn day(&self) -> Date {
        self.day
    }

    /// Continues a day that another process began with the entry `first`. `time` is that of the last entry
    /// ([`super::DecodedHead::time`]). A start must follow.
    pub fn continue_day(&mut self, day: Date, first: u64, time: u64) {
        self.first_of_day = first;
        self.epoch = self.pseudonyms.epoch(&day.to_string());
        self.day = day;
        self.day_start = start_of(day);
        self.time = time;
        self.forget(0);
    }

    /// Begins a day with its first entry.
    pub fn begin_day(&mut self, day: Date, members: &DayStart<'_>, out: &mut Vec<Entry>) {
        let DayStart { first, gateway, checkpoints, pseudonym_key, ledger } = members;
        self.heads.forget_whole(self.first_of_day);
        self.continue_day(day, *first, 0);
        self.gateway = (*gateway).to_owned();
        out.push(bare_entry(EntryKind::Day, self.time, |leaf| {
            leaf.head_text(HeadKey::Date, &day.to_string());
            leaf.head_text(HeadKey::Gateway, gateway);
            leaf.head_count(HeadKey::Checkpoints, *checkpoints);
            leaf.bytes(HeadKey::PseudonymKey.number(), pseudonym_key);
            if let Some(ledger) = ledger {
                leaf.bytes(HeadKey::Ledger.number(), ledger);
            }
        }));
    }

    /// Begins a process. `offset` is the index of the entry minus that of the day's first entry.
    pub fn start(&mut self, offset: u64, members: &ProcessStart<'_>, now: Timestamp, out: &mut Vec<Entry>) {
        let ProcessStart { gateway, version, unclean, torn_bytes, former } = members;
        // After the day's first entry nothing can have been defined: its own offset is as good.
        self.forget(if offset == 1 { 0 } else { offset });
        self.heads.clear();
        self.gateway = (*gateway).to_owned();
        out.push(bare_entry(EntryKind::Start, self.advance(now), |leaf| {
            leaf.head_text(HeadKey::Gateway, gateway);
            leaf.head_text(HeadKey::Version, version);
            leaf.flag(HeadKey::Unclean.number(), *unclean);
            leaf.head_count(HeadKey::TornBytes, *torn_bytes);
            if let Some(FormerLogEnd { log, records, chain }) = former {
                leaf.head_text(HeadKey::FormerLog, log);
                leaf.head_number(HeadKey::FormerRecords, *records);
                leaf.bytes(HeadKey::FormerChain.number(), chain);
            }
        }));
    }

    /// Notes that everything that was encoded is written.
    pub fn written(&mut self) {
        self.heads.written();
    }

    /// Notes that a write failed: the log has so many entries. Call it before a day begins and before [`Encoder::resume`].
    pub fn roll_back(&mut self, size: u64) {
        self.heads.roll_back(size);
    }

    /// Goes on after a failed write, which happened at `since`. `offset` is as in [`Encoder::start`].
    pub fn resume(&mut self, offset: u64, since: Timestamp, now: Timestamp, out: &mut Vec<Entry>) {
        self.forget(offset);
        let since = u64::try_from(since.as_millisecond()).unwrap_or(0);
        out.push(bare_entry(EntryKind::Resume, self.advance(now), |leaf| {
            leaf.head_text(HeadKey::Gateway, &self.gateway);
            leaf.head_number(HeadKey::Since, since);
        }));
    }

    /// Ends a process.
    pub fn stop(&mut self, now: Timestamp, out: &mut Vec<Entry>) {
        out.push(bare_entry(EntryKind::Stop, self.advance(now), |_| {}));
    }

    /// Appends so many entries without a meaning. They fill the last bundle of a day.
    pub fn padding(&mut self, entries: u64, out: &mut Vec<Entry>) {
        out.extend((0..entries).map(|_| bare_entry(EntryKind::Padding, self.time, |_| {})));
    }

    /// States which entries are about to be deleted.
    pub fn pruning(&mut self, record: PruningRecord, now: Timestamp, out: &mut Vec<Entry>) {
        let PruningRecord { below, former_segments, former_first } = record;
        out.push(bare_entry(EntryKind::Pruning, self.advance(now), |leaf| {
            leaf.head_number(HeadKey::Below, below);
            leaf.head_count(HeadKey::FormerSegments, former_segments);
            leaf.head_count(HeadKey::FormerFirst, former_first.unwrap_or(0));
        }));
    }

    /// States which details are about to be deleted.
    pub fn detail_deletion(
        &mut self,
        record: DetailDeletionRecord<'_>,
        now: Timestamp,
        out: &mut Vec<Entry>,
    ) {
        let DetailDeletionRecord { from, below, details, reason } = record;
        let mut detail = begin_detail();
        detail.detail_text(DetailKey::Reason, Some(reason), MAX_TEXT);
        let detail = detail.finish();
        let mut leaf = begin_leaf(EntryKind::DetailDeletion, self.advance(now), &detail);
        leaf.head_number(HeadKey::Below, below);
        leaf.head_number(HeadKey::From, from);
        leaf.head_number(HeadKey::Details, details);
        out.push(Entry { leaf: leaf.finish(), detail });
    }

    /// Appends the entries of names that have no number yet, then those of the record. The first entry that is appended
    /// gets the index `offset`, counted from the day's first entry.
    pub fn encode(&mut self, record: &Record, now: Timestamp, offset: u64, out: &mut Vec<Entry>) {
        self.dictionary.limit();
        let time = self.advance(now);
        let Encoder { pseudonyms, epoch, base, dictionary, first_of_day, heads, .. } = self;
        let terms = Terms { dictionary, next: offset - *base, time, out };
        let (base, first_of_day) = (*base, *first_of_day);
        RecordEncoder { pseudonyms, epoch, base, time, terms, first_of_day, heads }.encode(record);
    }

    /// Forgets the dictionary: numbers now count from the entry at `base`.
    fn forget(&mut self, base: u64) {
        self.base = base;
        self.dictionary.clear();
    }

    /// Returns the time of an entry, which is never before that of an earlier entry.
    fn advance(&mut self, now: Timestamp) -> u64 {
        let since = now.as_millisecond().saturating_sub(self.day_start);
        self.time = self.time.max(u64::try_from(since).unwrap_or(0));
        self.time
    }
}

/// Numbers terms, and writes the entries that define them.
struct Terms<'e> {
    dictionary: &'e mut Dictionary,
    /// The number that the next entry gets.
    next: u64,
    time: u64,
    out: &'e mut Vec<Entry>,
}

impl Terms<'_> {
    fn name(&mut self, table: NameTable, text: &Arc<str>) -> u64 {
        let Terms { dictionary, next, time, out } = self;
        dictionary.name(table, text, |table, text| define(next, out, name_entry(*time, table, text)))
    }

    fn outcome(&mut self, outcome: Outcome) -> NumberedOutcome {
        let Terms { dictionary, next, time, out } = self;
        let code = match outcome {
            Outcome::Refused(code) => {
                Some(dictionary.code(code, |table, text| define(next, out, name_entry(*time, table, text))))
            }
            Outcome::Released | Outcome::Aborted => None,
        };
        NumberedOutcome { outcome, code }
    }

    fn head(&mut self, head: &ExchangeHead) -> NumberedHead {
        let purpose = (!head.purpose.is_empty()).then(|| self.name(NameTable::Purpose, &head.purpose));
        NumberedHead {
            recipient: self.name(NameTable::Recipient, &head.recipient),
            purpose,
            route: self.name(NameTable::Route, &head.route),
            operation: head.operation,
            policy: self.name(NameTable::Policy, &head.policy),
            factors: self.factors(head),
        }
    }

    fn factors(&mut self, head: &ExchangeHead) -> u64 {
        let Terms { dictionary, next, time, out } = self;
        dictionary.factors(&head.factors, |list| {
            define(next, out, defining_entry(EntryKind::Factors, *time, factors_detail(list)))
        })
    }

    /// Numbers the rulings of a disclosure. Each number comes with the number of fields.
    fn rulings(&mut self, disclosure: &Disclosure) -> Vec<(u64, u64)> {
        let Terms { dictionary, next, time, out } = self;
        let number = |category| {
            dictionary.ruling(category, |ruling| {
                define(next, out, defining_entry(EntryKind::Ruling, *time, ruling_detail(ruling)))
            })
        };
        let mut number = number;
        disclosure.categories.iter().map(|category| (number(category), category.fields)).collect()
    }
}

/// Appends an entry that defines a number, and returns the number.
fn define(next: &mut u64, out: &mut Vec<Entry>, entry: Entry) -> u64 {
    let number = *next;
    *next += 1;
    out.push(entry);
    number
}

fn name_entry(time: u64, table: NameTable, text: &str) -> Entry {
    bare_entry(EntryKind::Name, time, |leaf| {
        leaf.head_number(HeadKey::Table, u64::from(table.number()));
        leaf.head_text(HeadKey::Text, text);
    })
}

fn defining_entry(kind: EntryKind, time: u64, detail: Vec<u8>) -> Entry {
    Entry { leaf: begin_leaf(kind, time, &detail).finish(), detail }
}

/// Encodes one record.
struct RecordEncoder<'e> {
    pseudonyms: &'e SubjectPseudonyms,
    epoch: &'e EpochPseudonyms,
    base: u64,
    time: u64,
    terms: Terms<'e>,
    first_of_day: u64,
    heads: &'e mut RecordedHeads,
}

/// The head of an entry of an exchange.
struct ExchangeLeaf<'r> {
    kind: EntryKind,
    decision: Ulid,
    /// The circumstances, in the first entry of an exchange, and in its first window of a later day.
    head: Option<&'r ExchangeHead>,
    /// The last entry of an earlier day that has the circumstances.
    continues: Option<u64>,
    outcome: Option<Outcome>,
}

impl RecordEncoder<'_> {
    fn encode(mut self, record: &Record) {
        let of_head = |kind, head: &Arc<ExchangeHead>| (kind, head.decision);
        match record {
            Record::Intent(head) => {
                let (kind, decision) = of_head(EntryKind::Intent, head);
                let leaf = ExchangeLeaf { kind, decision, head: Some(head), continues: None, outcome: None };
                let entry = self.exchange(&leaf, None);
                self.heads.note(Arc::clone(head), entry);
            }
            Record::Exchange(head, disclosure) => {
                let (kind, decision) = of_head(EntryKind::Exchange, head);
                let outcome = Some(Outcome::Released);
                let leaf = ExchangeLeaf { kind, decision, head: Some(head), continues: None, outcome };
                let entry = self.exchange(&leaf, Some(disclosure));
                if self.time >= LATE {
                    self.heads.note_whole(Arc::clone(head), entry);
                }
            }
            Record::Refusal(head, code) => {
                let (kind, decision) = of_head(EntryKind::Refusal, head);
                let outcome = Some(Outcome::Refused(code));
                let leaf = ExchangeLeaf { kind, decision, head: Some(head), continues: None, outcome };
                self.exchange(&leaf, None);
            }
            Record::Window { exchange, disclosure } => self.window(exchange, disclosure),
            Record::Close { decision, outcome } => {
                let (kind, decision, outcome) = (EntryKind::Close, *decision, Some(*outcome));
                self.exchange(&ExchangeLeaf { kind, decision, head: None, continues: None, outcome }, None);
                self.heads.end(decision);
            }
            Record::Correction { decision, outcome, disclosure } => {
                let disclosure = disclosure.as_ref().filter(|given| !self.disclosed_later(*decision, given));
                let (kind, decision, outcome) = (EntryKind::Correction, *decision, Some(*outcome));
                let leaf = ExchangeLeaf { kind, decision, head: None, continues: None, outcome };
                self.exchange(&leaf, disclosure);
            }
            Record::Act(act) => self.act(act),
            Record::SecretErasure { secrets, reason } => {
                let mut detail = begin_detail();
                detail.detail_text(DetailKey::Reason, Some(reason), MAX_TEXT);
                detail.unsigned(DetailKey::Secrets.number(), *secrets);
                self.push(EntryKind::SecretErasure, detail, |_| {});
            }
            Record::DroppedRefusals { refusals } => {
                self.terms.out.push(bare_entry(EntryKind::DroppedRefusals, self.time, |leaf| {
                    leaf.head_count(HeadKey::Refusals, *refusals);
                }));
            }
            Record::Notice(notice) => self.notice(notice),
        }
    }

    /// Appends the entries of a window.
    fn window(&mut self, exchange: &ExchangeReference, disclosure: &Disclosure) {
        let (decision, head, continues) = match exchange {
            ExchangeReference::First(head) => (head.decision, Some(Arc::clone(head)), None),
            ExchangeReference::Later(decision) => {
                let (head, entry) = self.heads.of_earlier_day(*decision, self.first_of_day).unzip();
                (*decision, head, entry)
            }
        };
        let kind = EntryKind::Window;
        let leaf = ExchangeLeaf { kind, decision, head: head.as_deref(), continues, outcome: None };
        let entry = self.exchange(&leaf, Some(disclosure));
        if let Some(head) = head {
            self.heads.note(head, entry);
        }
    }

    /// Appends a window with what was disclosed beyond an exchange that an earlier day has as a whole: only a window can have the
    /// circumstances again. Returns false, and appends nothing, if the exchange is not known to be such a one.
    fn disclosed_later(&mut self, decision: Ulid, disclosure: &Disclosure) -> bool {
        let Some((head, entry)) = self.heads.of_earlier_day(decision, self.first_of_day) else {
            return false;
        };
        let (kind, continues) = (EntryKind::Window, Some(entry));
        let leaf = ExchangeLeaf { kind, decision, head: Some(&head), continues, outcome: None };
        let entry = self.exchange(&leaf, Some(disclosure));
        self.heads.note_whole(head, entry);
        true
    }

    /// Appends an entry of these members.
    fn push(&mut self, kind: EntryKind, detail: MapWriter, members: impl FnOnce(&mut MapWriter)) {
        let detail = detail.finish();
        let mut leaf = begin_leaf(kind, self.time, &detail);
        members(&mut leaf);
        self.terms.out.push(Entry { leaf: leaf.finish(), detail });
    }

    /// Appends the entries of an exchange: one for each part of the disclosure. Returns the index of the first one.
    fn exchange(&mut self, leaf: &ExchangeLeaf<'_>, disclosure: Option<&Disclosure>) -> u64 {
        let head = leaf.head.map(|head| (self.terms.head(head), head));
        let outcome = leaf.outcome.map(|outcome| self.terms.outcome(outcome));
        let rulings = disclosure.map(|disclosure| self.terms.rulings(disclosure)).unwrap_or_default();
        let parts = split(disclosure, &rulings);
        let of = parts.len();
        for (at, part) in parts.iter().enumerate() {
            let first = at == 0;
            let mut detail =
                exchange_detail(head.filter(|_| first), disclosure.filter(|_| first), part, self.epoch);
            if of > 1 {
                // In the detail: their number says how many people the record names.
                detail.detail_count(DetailKey::Part, at as u64 + 1);
                detail.detail_count(DetailKey::Parts, of as u64);
            }
            // Not again on a later day: the log secret may have been made or deleted since.
            if let Some((_, head)) = head.filter(|_| first && leaf.continues.is_none()) {
                detail.person(DetailKey::Holder, head.holder.as_ref(), self.epoch);
            }
            let base = self.base;
            self.push(leaf.kind, detail, |members| {
                members.head_count(HeadKey::Base, base);
                members.bytes(HeadKey::Id.number(), &leaf.decision.to_bytes());
                if let Some((numbered, _)) = head.filter(|_| first) {
                    members.circumstances(&numbered);
                }
                if let Some(outcome) = outcome {
                    members.outcome(outcome);
                }
                if let Some(entry) = leaf.continues.filter(|_| first) {
                    members.head_number(HeadKey::Continues, entry);
                }
            });
        }
        // The terms were defined before.
        self.first_of_day + self.base + self.terms.next
    }

    fn act(&mut self, act: &ActRecord) {
        let ActRecord { act: id, actor, role, resource, subject, decision, reason } = act;
        let mut detail = begin_detail();
        detail.detail_text(DetailKey::Reason, reason.as_deref(), MAX_TEXT);
        detail.detail_text(DetailKey::Administrator, actor.as_deref(), MAX_TEXT);
        detail.detail_text(DetailKey::Role, *role, MAX_TEXT);
        detail.detail_text(DetailKey::Resource, Some(resource), MAX_TEXT);
        detail.person(DetailKey::Subject, subject.as_ref(), &self.pseudonyms.act(*id));
        if let Some(decision) = decision {
            detail.bytes(DetailKey::OfDecision.number(), &decision.to_bytes());
        }
        self.push(EntryKind::Act, detail, |leaf| leaf.bytes(HeadKey::Id.number(), &id.to_bytes()));
    }

    fn notice(&mut self, record: &NoticeRecord) {
        let NoticeRecord { notice, recipient, event, channel, outcome } = record;
        let recipient = self.terms.name(NameTable::Recipient, recipient);
        let mut detail = begin_detail();
        detail.detail_text(DetailKey::Event, Some(event), MAX_TEXT);
        detail.detail_text(DetailKey::Channel, Some(channel), MAX_TEXT);
        detail.detail_text(DetailKey::Result, Some(outcome), MAX_TEXT);
        let base = self.base;
        self.push(EntryKind::Notice, detail, |leaf| {
            leaf.head_count(HeadKey::Base, base);
            leaf.bytes(HeadKey::Id.number(), &notice.to_bytes());
            leaf.head_number(HeadKey::Recipient, recipient);
        });
    }
}

/// Writes the detail of an entry of an exchange. The first part has the members of the head and the counts.
fn exchange_detail(
    head: Option<(NumberedHead, &ExchangeHead)>,
    disclosure: Option<&Disclosure>,
    part: &DisclosurePart<'_>,
    epoch: &EpochPseudonyms,
) -> MapWriter {
    let DisclosurePart { categories, subjects, withheld_subjects } = part;
    let position = head.map_or(0, |(_, head)| head.position.0);
    let position = position.max(disclosure.map_or(0, |disclosure| disclosure.position.0));
    let stale = head.is_some_and(|(_, head)| head.stale) || disclosure.is_some_and(|given| given.stale);
    let mut detail = begin_detail();
    detail.detail_count(DetailKey::Position, position);
    detail.flag(DetailKey::Stale.number(), stale);
    detail.detail_count(DetailKey::Records, disclosure.map_or(0, |given| given.records));
    detail.detail_count(DetailKey::WithheldRecords, disclosure.map_or(0, |given| given.withheld_records));
    if !categories.is_empty() {
        detail.begin_array(DetailKey::Categories.number(), categories.len());
        for (ruling, fields) in *categories {
            detail.array_element(2);
            detail.element(*ruling);
            detail.element(*fields);
        }
    }
    detail.people(DetailKey::Subjects, subjects, epoch);
    detail.people(DetailKey::WithheldSubjects, withheld_subjects, epoch);
    if let Some((NumberedHead { factors, .. }, head)) = head {
        detail.unsigned(DetailKey::Factors.number(), factors);
        detail.person(DetailKey::Actor, head.actor.as_ref(), epoch);
        detail.detail_text(DetailKey::Declared, head.declared.as_deref(), MAX_DECLARED);
        detail.detail_text(DetailKey::Case, head.case.as_deref(), MAX_DECLARED);
        if let Some(mode) = mode_number(head.mode) {
            detail.unsigned(DetailKey::Mode.number(), mode);
        }
    }
    let would = disclosure.and_then(|given| given.would_refuse);
    let would = would.or(head.and_then(|(_, head)| head.would_refuse));
    detail.detail_text(DetailKey::Would, would, MAX_DECLARED);
    if let Some(trace) = head.and_then(|(_, head)| head.trace) {
        detail.bytes(DetailKey::Trace.number(), &trace.bytes());
    }
    detail
}
