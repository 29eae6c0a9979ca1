//! Records for tests, and a log in memory.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use proptest::prelude::*;
use ulid::Ulid;

use crate::decision::Reason;
use crate::disclosure::entry::*;
use crate::disclosure::record::*;
use crate::keys::{Fingerprint, Keys, LogSecret, LoggedPerson};
use crate::ledger::Position;
use crate::traces::TraceId;
use crate::vocabulary::{Basis, Form, Operation};

pub(in crate::disclosure) const DAY: &str = "2026-11-29";

pub(in crate::disclosure) fn day() -> Date {
    DAY.parse().unwrap()
}

/// A time of the day.
pub(in crate::disclosure) fn at(milliseconds: i64) -> Timestamp {
    let start = format!("{DAY}T00:00:00Z").parse::<Timestamp>().unwrap().as_millisecond();
    Timestamp::from_millisecond(start + milliseconds).unwrap()
}

pub(in crate::disclosure) fn person(keys: &Keys, number: u64) -> LoggedPerson {
    let fingerprint: Fingerprint = keys.fingerprints().recipient(&number.to_string());
    let secret = number.is_multiple_of(2).then(|| LogSecret::from_bytes(u128::from(number).to_le_bytes()));
    LoggedPerson { fingerprint, secret }
}

pub(in crate::disclosure) fn head(decision: Ulid) -> ExchangeHead {
    ExchangeHead {
        decision,
        recipient: "acme".into(),
        actor: None,
        holder: None,
        purpose: "customer-support".into(),
        declared: Some("customer-support".into()),
        case: None,
        route: "customers".into(),
        operation: Operation::Disclose,
        policy: "one-partner-360@3f2a91bc".into(),
        position: Position(123_456),
        stale: false,
        factors: [("registration", Verdict::Permits), ("route", Verdict::Permits)].into_iter().collect(),
        mode: ExchangeMode::Enforce,
        would_refuse: None,
        trace: None,
    }
}

pub(in crate::disclosure) fn category(name: &str, form: Form, fields: u64) -> CategoryDisclosure {
    CategoryDisclosure {
        category: Some(name.into()),
        form,
        basis: (form != Form::Removed).then_some(Basis::Contract),
        reason: (form == Form::Removed).then_some(Reason::NoRule),
        rules: [Arc::from(format!("rule-of-{name}"))].into(),
        clauses: [Arc::from("G-6.1b")].into(),
        fields,
        would: None,
    }
}

pub(in crate::disclosure) fn disclosure(
    people: impl IntoIterator<Item = LoggedPerson>,
    names: &[&str],
) -> Disclosure {
    let subjects: smallvec::SmallVec<[LoggedPerson; 1]> = people.into_iter().collect();
    Disclosure {
        position: Position(123_457),
        records: subjects.len() as u64,
        subjects,
        categories: names.iter().map(|name| category(name, Form::Clear, 2)).collect(),
        ..Disclosure::default()
    }
}

/// The entries of one day, and the encoder that wrote them.
pub(in crate::disclosure) struct MemoryLog {
    pub(in crate::disclosure) encoder: Encoder,
    pub(in crate::disclosure) entries: Vec<Entry>,
}

impl MemoryLog {
    /// Begins a day and a process.
    pub(in crate::disclosure) fn new(keys: &Keys) -> MemoryLog {
        let mut log = MemoryLog { encoder: Encoder::new(keys.subject_pseudonyms()), entries: Vec::new() };
        let members = DayStart {
            first: 0,
            gateway: "gateway-1",
            checkpoints: 3,
            pseudonym_key: keys.pseudonym_check(),
            ledger: None,
        };
        log.encoder.begin_day(day(), &members, &mut log.entries);
        log.start();
        log
    }

    pub(in crate::disclosure) fn start(&mut self) {
        let members = ProcessStart {
            gateway: "gateway-1",
            version: "0.2.0",
            unclean: false,
            torn_bytes: 0,
            former: None,
        };
        self.encoder.start(self.entries.len() as u64, &members, at(0), &mut self.entries);
    }

    /// Appends a record and returns the index of its first entry that does not define a term.
    pub(in crate::disclosure) fn push(&mut self, record: &Record, now: Timestamp) -> usize {
        let begin = self.entries.len();
        self.encoder.encode(record, now, begin as u64, &mut self.entries);
        let defines = |kind| matches!(kind, EntryKind::Name | EntryKind::Ruling | EntryKind::Factors);
        let defining = self.entries[begin..].iter().take_while(|entry| defines(decode(entry).0.kind));
        begin + defining.count()
    }

    /// Returns the name with a number in the head at an index.
    pub(in crate::disclosure) fn name(&self, head: &DecodedHead<'_>, number: Option<u64>) -> String {
        let Some(number) = number else { return String::new() };
        let (name, _) = decode(&self.entries[(head.base + number) as usize]);
        name.text.unwrap().to_owned()
    }
}

/// Decodes an entry, and checks its commitment.
pub(in crate::disclosure) fn decode(entry: &Entry) -> (DecodedHead<'_>, DecodedDetail<'_>) {
    let head = decode_head(&entry.leaf).unwrap();
    assert_eq!(head.commitment, commitment(&entry.detail));
    (head, decode_detail(head.kind, &entry.detail).unwrap().unwrap())
}

/// Text as odd as a recipient or an administrator may write it.
pub(in crate::disclosure) fn odd_text() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-z\"\\\\\u{0}\n\u{7f}äé\u{2028}\u{1F600}]{0,40}",
        any::<String>(),
        "[é]{120,300}",
    ]
}

fn people(keys: Keys) -> impl Strategy<Value = Vec<LoggedPerson>> {
    prop::collection::vec((0..50_u64).prop_map(move |number| person(&keys, number)), 0..4)
}

fn would_release() -> impl Strategy<Value = WouldRelease> {
    let parts = (
        prop::sample::select(Form::ALL),
        prop::option::of(prop::sample::select(Basis::ALL)),
        prop::option::of(prop::sample::select(Reason::ALL)),
        prop::collection::vec("[a-z]{0,6}", 0..3),
    );
    parts.prop_map(|(form, basis, reason, rules)| WouldRelease {
        form,
        basis,
        reason,
        rules: rules.iter().map(|rule| Arc::from(rule.as_str())).collect(),
        clauses: rules.iter().rev().map(|rule| Arc::from(rule.as_str())).collect(),
    })
}

/// A problem code with which enforcing would have refused.
fn would_refuse() -> impl Strategy<Value = Option<&'static str>> {
    prop::option::of(prop::sample::select(vec!["purpose-missing", "no-rule-permits"]))
}

fn categories() -> impl Strategy<Value = Vec<CategoryDisclosure>> {
    let one = (
        prop::option::of(prop::sample::select(vec!["email", "name", "address", "billing"])),
        prop::sample::select(Form::ALL),
        prop::option::of(prop::sample::select(Basis::ALL)),
        prop::option::of(prop::sample::select(Reason::ALL)),
        prop::collection::vec("[a-z]{0,6}", 0..3),
        any::<u16>(),
        prop::option::of(would_release()),
    );
    let one = one.prop_map(|(category, form, basis, reason, rules, fields, would)| CategoryDisclosure {
        category: category.map(Arc::from),
        form,
        basis,
        reason,
        rules: rules.iter().map(|rule| Arc::from(rule.as_str())).collect(),
        clauses: rules.iter().rev().map(|rule| Arc::from(rule.as_str())).collect(),
        fields: u64::from(fields),
        would,
    });
    prop::collection::vec(one, 0..6)
}

pub(in crate::disclosure) fn any_disclosure(keys: &Keys) -> impl Strategy<Value = Disclosure> + use<> {
    (
        any::<u32>(),
        any::<bool>(),
        any::<u16>(),
        any::<u16>(),
        people(keys.clone()),
        people(keys.clone()),
        categories(),
        would_refuse(),
    )
        .prop_map(
            |(position, stale, records, withheld, subjects, withheld_subjects, categories, would_refuse)| {
                Disclosure {
                    position: Position(u64::from(position)),
                    stale,
                    records: u64::from(records),
                    withheld_records: u64::from(withheld),
                    subjects: subjects.into_iter().collect(),
                    withheld_subjects: withheld_subjects.into_iter().collect(),
                    categories,
                    would_refuse,
                }
            },
        )
}

pub(in crate::disclosure) fn any_ulid() -> impl Strategy<Value = Ulid> {
    any::<u128>().prop_map(|bits| Ulid::from_bytes(bits.to_be_bytes()))
}

pub(in crate::disclosure) fn any_head(keys: &Keys) -> impl Strategy<Value = ExchangeHead> + use<> {
    let keys = keys.clone();
    let names = ("[a-d]", "[a-d]?", "[a-d]", "[a-d]");
    let texts = (prop::option::of(odd_text()), prop::option::of(odd_text()));
    let operation = prop::sample::select(Operation::ALL);
    let factors = prop::collection::vec(
        (prop::sample::select(vec!["registration", "route", "credential"]), any::<bool>()),
        0..4,
    );
    let mode = prop::sample::select(vec![ExchangeMode::Enforce, ExchangeMode::Observe]);
    let decided = (mode, would_refuse(), prop::option::of(any::<u128>()));
    let who = (prop::option::of(0..9_u64), prop::option::of(0..9_u64), any::<u64>());
    (any_ulid(), names, texts, operation, factors, any::<bool>(), who, decided).prop_map(
        move |(decision, names, texts, operation, factors, stale, (actor, holder, position), decided)| {
            ExchangeHead {
                decision,
                recipient: names.0.into(),
                actor: actor.map(|number| person(&keys, number)),
                holder: holder.map(|number| person(&keys, number)),
                purpose: names.1.into(),
                declared: texts.0.map(Into::into),
                case: texts.1.map(Into::into),
                route: names.2.into(),
                operation,
                policy: names.3.into(),
                position: Position(position),
                stale,
                factors: factors
                    .into_iter()
                    .map(|(name, permits)| (name, if permits { Verdict::Permits } else { Verdict::Refuses }))
                    .collect(),
                mode: decided.0,
                would_refuse: decided.1,
                trace: decided.2.map(TraceId::of_bits),
            }
        },
    )
}

pub(in crate::disclosure) fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop::sample::select(vec![
        Outcome::Released,
        Outcome::Aborted,
        Outcome::Refused("no-rule-permits"),
        Outcome::Refused("subject-withheld"),
    ])
}

fn any_act(keys: &Keys) -> impl Strategy<Value = ActRecord> + use<> {
    let keys = keys.clone();
    let texts = (prop::option::of(odd_text()), prop::option::of(odd_text()));
    (any_ulid(), texts, prop::option::of(0..9_u64), prop::option::of(any_ulid()), any::<bool>()).prop_map(
        move |(act, texts, subject, decision, role)| ActRecord {
            act,
            actor: texts.0.map(Into::into),
            role: role.then_some("privacy"),
            resource: "/v1/subjects/{id}",
            subject: subject.map(|number| person(&keys, number)),
            decision,
            reason: texts.1.map(Into::into),
        },
    )
}

/// A record of any kind.
pub(in crate::disclosure) fn any_record(keys: &Keys) -> impl Strategy<Value = Record> + use<> {
    prop_oneof![
        any_head(keys).prop_map(|head| Record::Intent(head.into())),
        (any_head(keys), any_disclosure(keys)).prop_map(|(head, given)| Record::Exchange(head.into(), given)),
        (any_head(keys), any_disclosure(keys)).prop_map(|(head, disclosure)| Record::Window {
            exchange: ExchangeReference::First(head.into()),
            disclosure,
        }),
        (any_ulid(), any_disclosure(keys)).prop_map(|(decision, disclosure)| Record::Window {
            exchange: ExchangeReference::Later(decision),
            disclosure,
        }),
        (any_ulid(), any_outcome()).prop_map(|(decision, outcome)| Record::Close { decision, outcome }),
        (any_ulid(), any_outcome(), prop::option::of(any_disclosure(keys))).prop_map(
            |(decision, outcome, disclosure)| Record::Correction { decision, outcome, disclosure },
        ),
        any_head(keys).prop_map(|head| Record::Refusal(head.into(), "purpose-not-permitted")),
        any_act(keys).prop_map(Record::Act),
        any::<u64>().prop_map(|secrets| Record::SecretErasure { secrets, reason: "delivered" }),
        (1..=u64::MAX).prop_map(|refusals| Record::DroppedRefusals { refusals }),
        (any_ulid(), "[a-d]").prop_map(|(notice, recipient)| {
            Record::Notice(NoticeRecord {
                notice,
                recipient: recipient.into(),
                event: "erasure",
                channel: "webhook",
                outcome: "delivered",
            })
        }),
    ]
}
