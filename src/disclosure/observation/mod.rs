//! Observes what was disclosed: day by day, to whom, for which purpose, which categories, about how many people.
//!
//! It feeds the comparison with the record of processing activities (GDPR Art. 30) and the gauges of the gateway. It reads
//! every entry of the days it is asked for. Invariant: people are only counted.

mod people;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use jiff::civil::Date;
use ulid::Ulid;

pub use people::PeopleCounter;

use super::entry::{
    DecodedDetail, DecodedHead, EntryKind, NameTable, RecordedOutcome, decode_detail, decode_head,
};
use super::storage::{LogReader, ReadError};
use super::terms::{EntryPlace, TermCache};
use crate::keys::Pseudonym;
use crate::vocabulary::Form;

/// Number of exchanges that are remembered for a correction that may follow.
const MAX_RECENT: usize = 1 << 16;

/// Maximum number of declared purposes that are kept of one recipient and day: recipients choose them.
const MAX_DECLARED: usize = 32;

/// The exchanges of one day with one recipient for one purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObservedExchanges {
    /// Number of exchanges that were not refused at once.
    pub exchanges: u64,
    /// The number of refusals by problem code.
    pub refused: BTreeMap<String, u64>,
    /// The number of exchanges in observe mode that enforcing would have refused at once, by problem code.
    pub would_refuse: BTreeMap<String, u64>,
    /// The purposes that requests declared which were refused, or would have been.
    pub declared: BTreeSet<String>,
    /// The number of fields that left, by category.
    pub categories: BTreeMap<String, u64>,
}

impl ObservedExchanges {
    /// Adds the exchanges of another day or log.
    pub fn add(&mut self, other: &ObservedExchanges) {
        let ObservedExchanges { exchanges, refused, would_refuse, declared, categories } = other;
        self.exchanges += exchanges;
        for (sum, more) in [
            (&mut self.refused, refused),
            (&mut self.would_refuse, would_refuse),
            (&mut self.categories, categories),
        ] {
            for (name, count) in more {
                *sum.entry(name.clone()).or_default() += count;
            }
        }
        let room = MAX_DECLARED.saturating_sub(self.declared.len());
        self.declared.extend(declared.iter().take(room).cloned());
    }
}

/// One day of a log.
#[derive(Clone, Debug, Default)]
pub struct ObservedDay {
    /// The exchanges by recipient and accepted purpose.
    pub exchanges: BTreeMap<(Arc<str>, Arc<str>), ObservedExchanges>,
    /// The people about whom something left, by recipient.
    pub people: BTreeMap<Arc<str>, PeopleCounter>,
}

/// The recipient and the purpose of an exchange.
type ExchangeParties = (Arc<str>, Arc<str>);

/// Observes the entries of a log, in their order.
#[derive(Debug, Default)]
pub struct Observer {
    terms: TermCache,
    /// Exchanges that have not ended.
    open: HashMap<Ulid, ExchangeParties>,
    recent: HashMap<Ulid, ExchangeParties>,
    order: VecDeque<Ulid>,
    /// The days that were observed.
    pub days: BTreeMap<Date, ObservedDay>,
}

impl Observer {
    /// Observes the entry at an index.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn add(&mut self, log: &mut LogReader, index: u64) -> Result<(), ReadError> {
        // Pruned meanwhile.
        let Some(entry) = log.entry(index)? else { return Ok(()) };
        let damaged = |log: &LogReader| ReadError::Damaged(log.folder().to_owned());
        let head = decode_head(&entry.leaf).map_err(|_| damaged(log))?;
        match head.kind {
            EntryKind::Day => {
                self.days.entry(head.day().ok_or_else(|| damaged(log))?).or_default();
            }
            EntryKind::Start => self.open.clear(),
            EntryKind::Exchange
            | EntryKind::Refusal
            | EntryKind::Intent
            | EntryKind::Window
            | EntryKind::Close
            | EntryKind::Correction => {
                let detail = decode_detail(head.kind, &entry.detail).map_err(|_| damaged(log))?;
                let place = self.terms.place(log, index)?;
                self.add_exchange(log, &place, &head, &detail.unwrap_or_default())?;
            }
            EntryKind::Padding
            | EntryKind::Stop
            | EntryKind::Name
            | EntryKind::Ruling
            | EntryKind::Factors
            | EntryKind::Act
            | EntryKind::SecretErasure
            | EntryKind::Notice
            | EntryKind::Pruning
            | EntryKind::Resume
            | EntryKind::DetailDeletion
            | EntryKind::DroppedRefusals => {}
        }
        Ok(())
    }

    fn add_exchange(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
        detail: &DecodedDetail<'_>,
    ) -> Result<(), ReadError> {
        let Some(decision) = head.id else { return Ok(()) };
        let Some(parties) = self.parties(log, place, head, decision)? else { return Ok(()) };
        let refusal = match (head.kind, head.outcome) {
            (EntryKind::Refusal, Some(RecordedOutcome::Refused(code))) => {
                Some(self.terms.name(log, place, head.base, NameTable::Code, code)?)
            }
            _ => None,
        };
        let mut categories = Vec::new();
        for category in &detail.categories {
            let ruling = self.terms.ruling(log, place, head.base, category.ruling)?;
            if *ruling.form != *Form::Removed.name() {
                categories.push((ruling, category.fields));
            }
        }
        let observed = self.days.entry(place.day.date).or_default();
        if !detail.subjects.is_empty() {
            let people = observed.people.entry(Arc::clone(&parties.0)).or_default();
            detail.subjects.iter().for_each(|bytes| people.add(&Pseudonym::from_bytes(*bytes)));
        }
        let exchanges = observed.exchanges.entry(parties).or_default();
        for (ruling, fields) in categories {
            let known = exchanges.categories.get_mut(&*ruling.category);
            match known {
                Some(known) => *known += fields,
                None => drop(exchanges.categories.insert(ruling.category.to_string(), fields)),
            }
        }
        let begins = head.begins_exchange(0);
        // Of a refusal that comes later, a part of the answer would have left.
        let would_refuse = detail.would.filter(|_| begins && refusal.is_none());
        if refusal.is_some() || would_refuse.is_some() {
            let room = MAX_DECLARED.saturating_sub(exchanges.declared.len());
            exchanges.declared.extend(detail.declared.map(str::to_owned).into_iter().take(room));
        }
        if let Some(code) = would_refuse {
            *exchanges.would_refuse.entry(code.to_owned()).or_default() += 1;
        }
        match refusal {
            Some(code) => *exchanges.refused.entry(code.to_string()).or_default() += 1,
            None => exchanges.exchanges += u64::from(begins),
        }
        Ok(())
    }

    /// Returns the parties of an exchange; `None` if it began before the entries that were observed.
    fn parties(
        &mut self,
        log: &mut LogReader,
        place: &EntryPlace,
        head: &DecodedHead<'_>,
        decision: Ulid,
    ) -> Result<Option<ExchangeParties>, ReadError> {
        if !head.has_circumstances() {
            let open = self.open.get(&decision).or_else(|| self.recent.get(&decision)).cloned();
            if head.kind == EntryKind::Close {
                self.open.remove(&decision);
            }
            return Ok(open);
        }
        let mut name = |table, number| self.terms.name_or_empty(log, place, head.base, table, number);
        let parties = (name(NameTable::Recipient, head.recipient)?, name(NameTable::Purpose, head.purpose)?);
        if matches!(head.kind, EntryKind::Intent | EntryKind::Window) {
            self.open.insert(decision, parties.clone());
        } else if head.kind == EntryKind::Exchange {
            self.recent.insert(decision, parties.clone());
            self.order.push_back(decision);
            if self.order.len() > MAX_RECENT
                && let Some(oldest) = self.order.pop_front()
            {
                self.recent.remove(&oldest);
            }
        }
        Ok(Some(parties))
    }
}

/// Observes days of a log, from the entry `first` on.
///
/// # Errors
/// [`ReadError`].
pub fn observe(
    log: &mut LogReader,
    sought: &Range<Date>,
    first: u64,
) -> Result<BTreeMap<Date, ObservedDay>, ReadError> {
    let mut observer = Observer::default();
    let days = log.days().to_vec();
    for (number, start) in days.iter().enumerate() {
        let day = observer.terms.place(log, *start)?.day.date;
        let end = days.get(number + 1).copied().unwrap_or(log.size());
        if sought.contains(&day) {
            (first.max(*start)..end).try_for_each(|index| observer.add(log, index))?;
        }
    }
    Ok(observer.days)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;

    use super::*;
    use crate::disclosure::questions::tests::WrittenLog;
    use crate::disclosure::record::{
        CategoryDisclosure, Disclosure, ExchangeMode, ExchangeReference, Outcome, Record,
    };
    use crate::vocabulary::Basis;

    fn category(name: &str, form: Form, fields: u64) -> CategoryDisclosure {
        CategoryDisclosure {
            category: Some(name.into()),
            form,
            basis: (form != Form::Removed).then_some(Basis::Contract),
            reason: None,
            rules: [].into(),
            clauses: [].into(),
            fields,
            would: None,
        }
    }

    #[test]
    fn a_day_is_observed_by_recipient_and_purpose() {
        let mut log = WrittenLog::begin(date(2026, 11, 28));
        let disclosure = |log: &WrittenLog, people: Range<u64>, fields| Disclosure {
            subjects: people.map(|person| log.person(person)).collect(),
            withheld_subjects: [log.person(99)].into_iter().collect(),
            categories: vec![category("email", Form::Clear, fields), category("name", Form::Removed, 7)],
            ..Disclosure::default()
        };
        for (number, recipient) in [(1, "acme"), (2, "acme"), (3, "globex")] {
            let head = Arc::new(log.head(recipient, number));
            let record = Record::Exchange(head, disclosure(&log, 0..3, 1));
            log.write(&record);
        }
        let mut refused = log.head("acme", 4);
        (refused.purpose, refused.declared) = ("".into(), Some("data-sale".into()));
        log.write(&Record::Refusal(Arc::new(refused), "purpose-not-permitted"));
        // Two observed ones that enforcing would refuse, one of them too late.
        for (number, at_once) in [(8, true), (9, false)] {
            let mut head = log.head("watched", number);
            head.mode = ExchangeMode::Observe;
            (head.purpose, head.declared) = ("".into(), Some("data-sale".into()));
            let decision = head.decision;
            let exchange = ExchangeReference::First(Arc::new(head));
            let would_refuse = at_once.then_some("purpose-not-permitted");
            log.write(&Record::Window {
                exchange,
                disclosure: Disclosure { would_refuse, ..Disclosure::default() },
            });
            let exchange = ExchangeReference::Later(decision);
            let disclosure =
                Disclosure { would_refuse: Some("purpose-not-permitted"), ..Disclosure::default() };
            log.write(&Record::Window { exchange, disclosure });
            log.write(&Record::Close { decision, outcome: Outcome::Released });
        }
        // A streaming answer, and a correction that discloses more.
        let streaming = log.head("globex", 5);
        let decision = streaming.decision;
        let first = ExchangeReference::First(Arc::new(streaming));
        let record = Record::Window { exchange: first, disclosure: disclosure(&log, 2..5, 1) };
        log.write(&record);
        let exchange = ExchangeReference::Later(decision);
        let record = Record::Window { exchange, disclosure: disclosure(&log, 4..6, 2) };
        log.write(&record);
        log.write(&Record::Close { decision, outcome: Outcome::Released });
        let released = log.head("acme", 1).decision;
        let more = Some(disclosure(&log, 7..8, 4));
        log.write(&Record::Correction { decision: released, outcome: Outcome::Aborted, disclosure: more });
        log.next_day();
        let head = Arc::new(log.head("acme", 6));
        let record = Record::Exchange(head, disclosure(&log, 0..1, 1));
        log.write(&record);
        let mut reader = log.reader();
        let days = observe(&mut reader, &(date(2026, 11, 28)..date(2026, 11, 29)), 0).unwrap();
        assert_eq!(days.keys().copied().collect::<Vec<_>>(), [date(2026, 11, 28)]);
        let day = &days[&date(2026, 11, 28)];
        let people = |recipient: &str| day.people[recipient].count();
        assert_eq!((people("acme"), people("globex")), (4, 6));
        let of = |recipient: &str, purpose: &str| day.exchanges[&(recipient.into(), purpose.into())].clone();
        let acme = of("acme", "support");
        assert_eq!((acme.exchanges, acme.categories), (2, BTreeMap::from([("email".to_owned(), 6)])));
        let globex = of("globex", "support");
        assert_eq!((globex.exchanges, globex.categories["email"]), (2, 4));
        let refused = of("acme", "");
        assert_eq!((refused.exchanges, refused.refused["purpose-not-permitted"]), (0, 1));
        assert_eq!(refused.declared.into_iter().collect::<Vec<_>>(), ["data-sale"]);
        let watched = of("watched", "");
        assert_eq!((watched.exchanges, watched.refused.len()), (2, 0));
        assert_eq!(watched.would_refuse, BTreeMap::from([("purpose-not-permitted".to_owned(), 1)]));
        assert_eq!(watched.declared.into_iter().collect::<Vec<_>>(), ["data-sale"]);
        let both = observe(&mut reader, &(date(2026, 11, 1)..date(2026, 12, 1)), 0).unwrap();
        assert_eq!(both[&date(2026, 11, 29)].people["acme"].count(), 1);
    }
}
