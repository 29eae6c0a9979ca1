//! Encoding and decoding gives the record back.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;
use ulid::Ulid;

use super::samples::*;
use crate::decision::Reason;
use crate::disclosure::entry::*;
use crate::disclosure::record::*;
use crate::keys::{EpochPseudonyms, Keys, LoggedPerson, SubjectPseudonyms};
use crate::vocabulary::{Basis, Form};

/// The text as it is recorded: at most 256 bytes.
fn recorded(text: &str) -> &str {
    let mut end = text.len().min(256);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap()
}

struct Expectation<'l> {
    log: &'l MemoryLog,
    pseudonyms: SubjectPseudonyms,
    epoch: EpochPseudonyms,
}

impl Expectation<'_> {
    fn people(&self, people: &[LoggedPerson]) -> Vec<[u8; 12]> {
        people.iter().map(|person| *person.pseudonym(&self.epoch).bytes()).collect()
    }

    fn has_head(&self, head: &DecodedHead<'_>, detail: &DecodedDetail<'_>, given: &ExchangeHead) {
        let name = |number| self.log.name(head, number);
        assert_eq!(head.id, Some(given.decision));
        assert_eq!(name(head.recipient), *given.recipient);
        assert_eq!(name(head.purpose), *given.purpose);
        assert_eq!(name(head.route), *given.route);
        assert_eq!(name(head.policy), *given.policy);
        assert_eq!(head.operation, Some(given.operation));
        assert_eq!(detail.declared, given.declared.as_deref().map(recorded));
        assert_eq!(detail.case, given.case.as_deref().map(recorded));
        assert_eq!(detail.mode, given.mode);
        assert_eq!(detail.trace, given.trace.map(|trace| trace.bytes()));
        assert_eq!(detail.actor, given.actor.map(|actor| actor.pseudonym(&self.epoch)));
        assert_eq!(detail.holder, given.holder.map(|holder| holder.pseudonym(&self.epoch)));
        let (_, factors) = decode(&self.log.entries[(head.base + detail.factors.unwrap()) as usize]);
        let expected: Vec<_> =
            given.factors.iter().map(|(name, verdict)| (*name, *verdict == Verdict::Permits)).collect();
        assert_eq!(factors.verdicts, expected);
    }

    fn has_disclosure(&self, head: &DecodedHead<'_>, detail: &DecodedDetail<'_>, given: &Disclosure) {
        assert_eq!((detail.records, detail.withheld_records), (given.records, given.withheld_records));
        assert_eq!(detail.subjects, self.people(&given.subjects));
        assert_eq!(detail.withheld_subjects, self.people(&given.withheld_subjects));
        assert_eq!(detail.categories.len(), given.categories.len());
        for (category, given) in detail.categories.iter().zip(&given.categories) {
            let (_, ruling) = decode(&self.log.entries[(head.base + category.ruling) as usize]);
            assert_eq!(category.fields, given.fields);
            assert_eq!(ruling.category, given.category.as_deref());
            assert_eq!(ruling.form, Some(given.form.name()));
            assert_eq!(ruling.basis, given.basis.map(Basis::name));
            assert_eq!(ruling.reason, given.reason.map(Reason::name));
            assert_eq!(ruling.rules, given.rules.iter().map(|rule| &**rule).collect::<Vec<_>>());
            assert_eq!(ruling.clauses, given.clauses.iter().map(|clause| &**clause).collect::<Vec<_>>());
            assert_eq!(ruling.would_form, given.would.as_ref().map(|would| would.form.name()));
            let would = given.would.clone().unwrap_or_else(|| WouldRelease {
                form: Form::Clear,
                basis: None,
                reason: None,
                rules: Arc::default(),
                clauses: Arc::default(),
            });
            assert_eq!(ruling.would_basis, would.basis.map(Basis::name));
            assert_eq!(ruling.would_reason, would.reason.map(Reason::name));
            assert_eq!(ruling.would_rules, would.rules.iter().map(|rule| &**rule).collect::<Vec<_>>());
            assert_eq!(ruling.would_clauses, would.clauses.iter().map(|rule| &**rule).collect::<Vec<_>>());
        }
    }

    fn has_outcome(&self, head: &DecodedHead<'_>, given: Outcome) {
        let written = match head.outcome.unwrap() {
            RecordedOutcome::Released => "released".to_owned(),
            RecordedOutcome::Aborted => "aborted".to_owned(),
            RecordedOutcome::Refused(code) => format!("refused:{}", self.log.name(head, Some(code))),
        };
        assert_eq!(written, given.to_string());
    }

    fn is(&self, entry: &Entry, record: &Record) {
        let (head, detail) = decode(entry);
        let stands_at = |position, stale| assert_eq!((detail.position, detail.stale), (position, stale));
        match record {
            Record::Intent(given) => {
                assert_eq!(head.kind, EntryKind::Intent);
                self.has_head(&head, &detail, given);
                stands_at(given.position.0, given.stale);
                assert_eq!(detail.would, given.would_refuse);
            }
            Record::Refusal(given, code) => {
                assert_eq!(head.kind, EntryKind::Refusal);
                self.has_head(&head, &detail, given);
                self.has_outcome(&head, Outcome::Refused(code));
                stands_at(given.position.0, given.stale);
            }
            Record::Exchange(given, disclosed)
            | Record::Window { exchange: ExchangeReference::First(given), disclosure: disclosed } => {
                self.has_head(&head, &detail, given);
                self.has_disclosure(&head, &detail, disclosed);
                assert_eq!(detail.would, disclosed.would_refuse.or(given.would_refuse));
                stands_at(given.position.max(disclosed.position).0, given.stale || disclosed.stale);
                let is_window = matches!(record, Record::Window { .. });
                assert_eq!(head.kind, if is_window { EntryKind::Window } else { EntryKind::Exchange });
                assert_eq!(head.outcome, (!is_window).then_some(RecordedOutcome::Released));
            }
            Record::Window { exchange: ExchangeReference::Later(decision), disclosure } => {
                assert_eq!((head.kind, head.id), (EntryKind::Window, Some(*decision)));
                assert!(!head.has_circumstances());
                self.has_disclosure(&head, &detail, disclosure);
                assert_eq!(detail.would, disclosure.would_refuse);
                stands_at(disclosure.position.0, disclosure.stale);
            }
            Record::Close { decision, outcome } => {
                assert_eq!((head.kind, head.id), (EntryKind::Close, Some(*decision)));
                self.has_outcome(&head, *outcome);
            }
            Record::Correction { decision, outcome, disclosure } => {
                assert_eq!((head.kind, head.id), (EntryKind::Correction, Some(*decision)));
                self.has_outcome(&head, *outcome);
                self.has_disclosure(&head, &detail, &disclosure.clone().unwrap_or_default());
            }
            Record::Act(given) => {
                assert_eq!((head.kind, head.id), (EntryKind::Act, Some(given.act)));
                assert_eq!((detail.role, detail.resource), (given.role, Some(given.resource)));
                assert_eq!(detail.of_decision, given.decision);
                let epoch = self.pseudonyms.act(given.act);
                assert_eq!(detail.subject, given.subject.map(|person| person.pseudonym(&epoch)));
                let written = (detail.administrator, detail.reason);
                assert_eq!(written, (given.actor.as_deref(), given.reason.as_deref()));
            }
            Record::SecretErasure { secrets, reason } => {
                assert_eq!((head.kind, head.id), (EntryKind::SecretErasure, None));
                assert_eq!((detail.secrets, detail.reason), (*secrets, Some(*reason)));
            }
            Record::DroppedRefusals { refusals } => {
                assert_eq!((head.kind, head.refusals), (EntryKind::DroppedRefusals, *refusals));
            }
            Record::Notice(given) => {
                assert_eq!((head.kind, head.id), (EntryKind::Notice, Some(given.notice)));
                assert_eq!(self.log.name(&head, head.recipient), *given.recipient);
                let written = (detail.event, detail.channel, detail.result);
                assert_eq!(written, (Some(given.event), Some(given.channel), Some(given.outcome)));
                assert_eq!(detail.subject, None);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Records are found again, whatever came before, in any process of the day, and after a failed write.
    #[test]
    fn decoding_gives_each_record_back(
        records in prop::collection::vec((any_record(&keys()), 0..2_000_i64, 0..8_u8), 1..20),
    ) {
        let mut log = MemoryLog::new(&keys());
        let mut written = Vec::new();
        let mut defined: HashMap<(u64, Vec<u8>), usize> = HashMap::new();
        let mut base = 0;
        for (record, now, event) in &records {
            let offset = log.entries.len() as u64;
            match event {
                0 => log.start(),
                1 => log.encoder.resume(offset, at(0), at(*now), &mut log.entries),
                _ => {}
            }
            if *event <= 1 {
                base = offset;
            }
            let begin = log.entries.len();
            written.push((log.push(record, at(*now)), record));
            for entry in &log.entries[begin..] {
                let (head, detail) = decode(entry);
                let term = match head.kind {
                    EntryKind::Name => format!("{:?} {:?}", head.table, head.text),
                    EntryKind::Ruling | EntryKind::Factors => format!("{detail:?}"),
                    _ => continue,
                };
                *defined.entry((base, term.into_bytes())).or_default() += 1;
            }
        }
        prop_assert!(defined.values().all(|times| *times == 1), "a term is defined once in a process");
        let times: Vec<u64> = log.entries.iter().map(|entry| decode(entry).0.time).collect();
        prop_assert!(times.is_sorted());
        let pseudonyms = keys().subject_pseudonyms();
        let epoch = pseudonyms.epoch(DAY);
        let expected = Expectation { log: &log, pseudonyms, epoch };
        for (index, record) in written {
            expected.is(&log.entries[index], record);
        }
    }
}

/// The same keys in every case, because a record holds people of these keys.
fn keys() -> Keys {
    static KEYS: std::sync::OnceLock<Keys> = std::sync::OnceLock::new();
    KEYS.get_or_init(|| Keys::random().unwrap()).clone()
}

#[test]
fn a_disclosure_with_many_people_is_several_entries() {
    let keys = keys();
    let epoch = keys.subject_pseudonyms().epoch(DAY);
    for (people, withheld, parts) in
        [(0, 0, 1), (4_900, 0, 1), (5_001, 0, 2), (0, 5_001, 2), (12_345, 4_321, 4), (70_000, 1, 15)]
    {
        let mut log = MemoryLog::new(&keys);
        let everybody: Vec<_> = (0..people + withheld).map(|number| person(&keys, number)).collect();
        let (released, withheld) = everybody.split_at(people as usize);
        let mut given = disclosure(released.iter().copied(), &["email", "name"]);
        given.withheld_subjects = withheld.iter().copied().collect();
        let decision = Ulid::generate();
        let record = Record::Exchange(Arc::new(head(decision)), given);
        let first = log.push(&record, at(5));
        let entries = &log.entries[first..];
        assert_eq!(entries.len(), parts, "{people} people");
        let decoded: Vec<_> = entries.iter().map(decode).collect();
        assert!(entries.iter().all(|entry| entry.leaf.len() <= MAX_ENTRY && entry.detail.len() <= MAX_ENTRY));
        for (at, (head, detail)) in decoded.iter().enumerate() {
            assert_eq!((detail.part(), detail.parts()), (at as u64 + 1, parts as u64));
            assert_eq!((head.kind, head.id), (EntryKind::Exchange, Some(decision)));
            assert_eq!((head.has_circumstances(), !detail.categories.is_empty()), (at == 0, at == 0));
            assert_eq!(detail.records, if at == 0 { people } else { 0 });
        }
        let collect = |of: fn(&DecodedDetail<'_>) -> Vec<[u8; 12]>| {
            decoded.iter().flat_map(|(_, detail)| of(detail)).collect::<Vec<_>>()
        };
        let pseudonyms = |people: &[LoggedPerson]| {
            people.iter().map(|person| *person.pseudonym(&epoch).bytes()).collect::<Vec<_>>()
        };
        assert_eq!(collect(|detail| detail.subjects.to_vec()), pseudonyms(released));
        assert_eq!(collect(|detail| detail.withheld_subjects.to_vec()), pseudonyms(withheld));
    }
}

#[test]
fn the_largest_terms_fit_into_an_entry() {
    let keys = keys();
    let long: Arc<str> = "é".repeat(100_000).into();
    let mut given = disclosure((0..5_000).map(|number| person(&keys, number)), &[]);
    given.categories = (0..10_000)
        .map(|number| CategoryDisclosure {
            category: Some(if number == 0 { Arc::clone(&long) } else { number.to_string().into() }),
            rules: if number == 0 { vec![Arc::clone(&long); 100].into() } else { [].into() },
            clauses: if number == 0 { vec!["x".into(); 100_000].into() } else { [].into() },
            fields: u64::MAX,
            ..category("email", Form::Clear, 0)
        })
        .collect();
    let mut odd = head(Ulid::generate());
    for text in [&mut odd.recipient, &mut odd.purpose, &mut odd.route, &mut odd.policy] {
        *text = Arc::clone(&long);
    }
    (odd.declared, odd.case) = (Some(Arc::clone(&long)), Some(Arc::clone(&long)));
    (odd.actor, odd.holder) = (Some(person(&keys, 1)), Some(person(&keys, 2)));
    odd.position = crate::ledger::Position(u64::MAX);
    let mut log = MemoryLog::new(&keys);
    let first = log.push(&Record::Exchange(odd.into(), given), at(5));
    let act = ActRecord {
        act: Ulid::generate(),
        actor: Some(Arc::clone(&long)),
        role: None,
        resource: "/",
        subject: None,
        decision: None,
        reason: Some(long),
    };
    log.push(&Record::Act(act), at(5));
    let decoded: Vec<_> = log.entries.iter().map(decode).collect();
    assert!(log.entries.iter().all(|entry| entry.leaf.len() <= MAX_ENTRY && entry.detail.len() <= MAX_ENTRY));
    let (categories, people) = decoded[first..].iter().fold((0, 0), |(categories, people), (_, detail)| {
        (categories + detail.categories.len(), people + detail.subjects.len())
    });
    assert_eq!((categories, people), (10_000, 5_000), "nothing is lost");
}

#[test]
fn the_day_and_the_process_are_on_record() {
    let keys = keys();
    let mut log = MemoryLog::new(&keys);
    let (begun, _) = decode(&log.entries[0]);
    assert_eq!((begun.kind, begun.day(), begun.time), (EntryKind::Day, Some(day()), 0));
    assert_eq!((begun.gateway, begun.checkpoints), (Some("gateway-1"), 3));
    assert_eq!(begun.pseudonym_key, Some(keys.pseudonym_check()));
    let former = FormerLogEnd { log: "5f2c".to_owned(), records: 12, chain: [7; 32] };
    let members = ProcessStart {
        gateway: "other",
        version: "1.0.0",
        unclean: true,
        torn_bytes: 17,
        former: Some(former.clone()),
    };
    log.encoder.start(2, &members, at(10), &mut log.entries);
    log.encoder.resume(3, at(20), at(30), &mut log.entries);
    let pruning = PruningRecord { below: 512, former_segments: 2, former_first: Some(9) };
    log.encoder.pruning(pruning, at(25), &mut log.entries);
    let deletion = DetailDeletionRecord { from: 3, below: 9, details: 6, reason: "order of 2026-11-02" };
    log.encoder.detail_deletion(deletion, at(26), &mut log.entries);
    log.encoder.stop(at(40), &mut log.entries);
    log.encoder.padding(249, &mut log.entries);
    assert_eq!(log.entries.len() as u64, BUNDLE);
    let decoded: Vec<_> = log.entries.iter().map(|entry| decode(entry).0).collect();
    let [.., started, resumed, pruned, deleted, stopped] = &decoded[..7] else { unreachable!() };
    assert_eq!((started.version, started.unclean, started.torn_bytes), (Some("1.0.0"), true, 17));
    assert_eq!((started.former_end(), started.gateway), (Some(former), Some("other")));
    assert_eq!((resumed.gateway, resumed.time), (Some("other"), 30));
    assert_eq!(resumed.since, Some(at(20).as_millisecond() as u64));
    assert_eq!((pruned.below, pruned.former_segments, pruned.former_first), (Some(512), 2, Some(9)));
    assert_eq!((deleted.from, deleted.below, deleted.details), (Some(3), Some(9), 6));
    assert_eq!(decode(&log.entries[5]).1.reason, Some("order of 2026-11-02"));
    assert_eq!((pruned.time, stopped.time), (30, 40), "time never decreases");
    assert!(decoded[7..].iter().all(|head| (head.kind, head.time) == (EntryKind::Padding, 40)));
    let leaves: std::collections::HashSet<_> = log.entries.iter().map(|entry| &entry.leaf).collect();
    assert_eq!(leaves.len(), log.entries.len(), "each leaf has its own salt");
}

#[test]
fn a_day_states_its_ledger_or_none() {
    for ledger in [None, Some([9; 16])] {
        let mut encoder = Encoder::new(keys().subject_pseudonyms());
        let (mut out, mut members) =
            (Vec::new(), DayStart { first: 0, gateway: "g", checkpoints: 0, pseudonym_key: [1; 16], ledger });
        encoder.begin_day(day(), &members, &mut out);
        members.ledger = None;
        encoder.begin_day(day(), &members, &mut out);
        let [stated, none] = [&out[0], &out[1]].map(|entry| decode(entry).0.ledger);
        assert_eq!((stated, none), (ledger, None));
    }
}

/// A clock before the day, and one far behind it, neither panic nor go back.
#[test]
fn time_is_clamped_to_the_day() {
    let mut log = MemoryLog::new(&keys());
    for (now, expected) in
        [(at(-5), 0), (jiff::Timestamp::MIN, 0), (at(7), 7), (at(3), 7), (at(90_000_000), 90_000_000)]
    {
        let index = log.push(&Record::Close { decision: Ulid::generate(), outcome: Outcome::Released }, now);
        assert_eq!(decode(&log.entries[index]).0.time, expected);
    }
    log.push(&Record::SecretErasure { secrets: 1, reason: "delivered" }, jiff::Timestamp::MAX);
}

/// A later day states the circumstances again of a disclosure beyond an exchange that is on record as a whole.
#[test]
fn a_correction_of_a_later_day_has_the_circumstances_of_its_exchange() {
    const LATE: i64 = 86_399_000;
    for (time, continues) in [(LATE, true), (LATE - 2 * 3_600_000, false)] {
        let mut log = MemoryLog::new(&keys());
        let given = head(Ulid::generate());
        let decision = given.decision;
        let first = log.push(&Record::Exchange(given.into(), Disclosure::default()), at(time));
        log.encoder.written();
        let members =
            DayStart { first: 512, gateway: "g", checkpoints: 1, pseudonym_key: [1; 16], ledger: None };
        log.encoder.begin_day(day().tomorrow().unwrap(), &members, &mut Vec::new());
        let now = at(86_400_001);
        let correct = |log: &mut MemoryLog, offset, disclosure| {
            let mut out = Vec::new();
            let record = Record::Correction { decision, outcome: Outcome::Released, disclosure };
            log.encoder.encode(&record, now, offset, &mut out);
            let heads = out.iter().map(|entry| decode(entry).0).filter(|head| head.id.is_some());
            heads.map(|head| (head.kind, head.has_circumstances(), head.continues)).collect::<Vec<_>>()
        };
        let correction = (EntryKind::Correction, false, None);
        assert_eq!(correct(&mut log, 1, None), [correction]);
        let window = (EntryKind::Window, true, Some(first as u64));
        let expected = if continues { vec![window, correction] } else { vec![correction] };
        assert_eq!(correct(&mut log, 2, Some(Disclosure::default())), expected);
        assert_eq!(correct(&mut log, 40, Some(Disclosure::default())), [correction], "it has them now");
        // That write fails.
        log.encoder.roll_back(513);
        log.encoder.resume(1, now, now, &mut Vec::new());
        assert_eq!(correct(&mut log, 2, Some(Disclosure::default())), expected);
    }
}

/// A window of a later day has the circumstances again, also if the write of the first such window fails.
#[test]
fn the_first_window_of_a_later_day_has_the_circumstances_of_its_exchange() {
    let mut log = MemoryLog::new(&keys());
    let given = ExchangeHead { holder: Some(person(&keys(), 1)), ..head(Ulid::generate()) };
    let decision = given.decision;
    let window = |exchange| Record::Window { exchange, disclosure: Disclosure::default() };
    let first = log.push(&window(ExchangeReference::First(given.into())), at(1));
    assert!(decode(&log.entries[first]).1.holder.is_some());
    log.encoder.written();
    let members = DayStart { first: 512, gateway: "g", checkpoints: 1, pseudonym_key: [1; 16], ledger: None };
    log.encoder.begin_day(day().tomorrow().unwrap(), &members, &mut Vec::new());
    let (later, now) = (window(ExchangeReference::Later(decision)), at(86_400_001));
    let end = Record::Close { decision, outcome: Outcome::Released };
    let encode = |log: &mut MemoryLog, record: &Record, offset| {
        let mut out = Vec::new();
        log.encoder.encode(record, now, offset, &mut out);
        let (last, detail) = decode(out.last().unwrap());
        assert!(detail.holder.is_none(), "the log secret may have been made or deleted since");
        (last.has_circumstances(), last.continues, out.len() as u64)
    };
    for size in [513, 514] {
        let (has_circumstances, continues, length) = encode(&mut log, &later, size - 512);
        assert!(has_circumstances && length > 1, "the names are defined before");
        assert_eq!(continues, Some(first as u64));
        assert_eq!(encode(&mut log, &later, size - 512 + length), (false, None, 1));
        encode(&mut log, &end, size - 512 + length + 1);
        // Nothing of it is written.
        log.encoder.roll_back(size);
        log.encoder.resume(size - 512, now, now, &mut Vec::new());
    }
    let (_, continues, length) = encode(&mut log, &later, 4);
    assert_eq!(continues, Some(first as u64));
    log.encoder.written();
    assert_eq!(encode(&mut log, &later, 4 + length), (false, None, 1));
    encode(&mut log, &end, 5 + length);
    log.encoder.written();
    log.encoder.begin_day(day().tomorrow().unwrap(), &DayStart { first: 768, ..members }, &mut Vec::new());
    assert_eq!(encode(&mut log, &later, 1).1, None, "the exchange has ended");
}
