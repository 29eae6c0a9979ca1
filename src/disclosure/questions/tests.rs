//! Tests of questions against a log of random exchanges and the list of them.

#[cfg(feature = "sqlite")]
mod large;
mod pages;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::civil::{Date, date};
use jiff::{SignedDuration, Timestamp};
use ulid::Ulid;

use super::candidates::{Candidate, CandidateSearch, CandidateStep, SearchPlace};
use super::*;
use crate::disclosure::entry::{DayStart, Encoder, Entry, ProcessStart, PruningRecord};
use crate::disclosure::read::decoded_log::DecodedLog;
use crate::disclosure::record::{
    CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, ExchangeReference, Outcome, Record,
};
use crate::disclosure::storage::{LogReader, Storage, StorageSettings};
use crate::keys::{Fingerprint, Keys, LoggedPerson};
use crate::ledger::Position;
use crate::vocabulary::Operation;

/// A log that a test writes.
pub(in crate::disclosure) struct WrittenLog {
    pub(in crate::disclosure) folder: tempfile::TempDir,
    pub(in crate::disclosure) index: tempfile::TempDir,
    pub(in crate::disclosure) keys: Keys,
    storage: Option<Storage>,
    encoder: Encoder,
    checkpoints: u64,
    pub(in crate::disclosure) now: Timestamp,
    out: Vec<Entry>,
    origin: &'static str,
}

impl WrittenLog {
    /// Begins a log on a day.
    pub(in crate::disclosure) fn begin(day: Date) -> WrittenLog {
        WrittenLog::begin_as("gateway-1/5f2c09ab", day)
    }

    /// Begins the log of a gateway on a day.
    pub(in crate::disclosure) fn begin_as(origin: &'static str, day: Date) -> WrittenLog {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let mut log = WrittenLog {
            index: tempfile::tempdir().unwrap(),
            encoder: Encoder::new(keys.subject_pseudonyms()),
            storage: None,
            checkpoints: 0,
            now: day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp(),
            out: Vec::new(),
            origin,
            folder,
            keys,
        };
        log.open();
        log.begin_day(day);
        log.start();
        log
    }

    /// Copies the folder.
    pub(in crate::disclosure) fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        copy_folder(self.folder.path(), copy.path());
        copy
    }

    /// Copies the folder, and begins a process that writes the copy.
    pub(in crate::disclosure) fn fork(&self) -> WrittenLog {
        let mut fork = WrittenLog {
            folder: self.copy(),
            index: tempfile::tempdir().unwrap(),
            keys: self.keys.clone(),
            encoder: Encoder::new(self.keys.subject_pseudonyms()),
            storage: None,
            checkpoints: self.checkpoints,
            now: self.now,
            out: Vec::new(),
            origin: self.origin,
        };
        fork.open();
        let day = self.encoder.day();
        let begin = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let time = u64::try_from(self.now.duration_since(begin).as_millis()).unwrap();
        let first = fork.storage().day_start();
        fork.encoder.continue_day(day, first, time);
        fork.start();
        fork
    }

    fn open(&mut self) {
        let settings = StorageSettings {
            folder: self.folder.path().to_owned(),
            signer: self.keys.log_signing_key(self.origin).unwrap(),
            outside: Vec::new(),
        };
        self.storage = Some(Storage::open(settings).unwrap().0);
    }

    fn storage(&mut self) -> &mut Storage {
        self.storage.as_mut().unwrap()
    }

    fn offset(&mut self) -> u64 {
        let storage = self.storage();
        storage.size() - storage.day_start()
    }

    fn append(&mut self) -> u64 {
        let entries = std::mem::take(&mut self.out);
        self.storage().append(&entries).unwrap();
        self.storage().size()
    }

    fn begin_day(&mut self, day: Date) {
        let members = DayStart {
            first: self.storage().size(),
            gateway: "g",
            checkpoints: self.checkpoints,
            pseudonym_key: [0; 16],
            ledger: None,
        };
        self.encoder.begin_day(day, &members, &mut self.out);
        self.append();
    }

    fn start(&mut self) {
        let members =
            ProcessStart { gateway: "g", version: "0", unclean: false, torn_bytes: 0, former: None };
        let (offset, now) = (self.offset(), self.now);
        self.encoder.start(offset, &members, now, &mut self.out);
        self.append();
    }

    /// Begins another process, without a stop of the one before.
    pub(in crate::disclosure) fn restart(&mut self) {
        self.storage = None;
        self.open();
        self.start();
    }

    /// Appends the entries of a record and returns the number of entries of the log.
    pub(in crate::disclosure) fn write(&mut self, record: &Record) -> u64 {
        let (offset, now) = (self.offset(), self.now);
        self.encoder.encode(record, now, offset, &mut self.out);
        self.append()
    }

    pub(in crate::disclosure) fn publish(&mut self) {
        self.storage().publish().unwrap();
    }

    /// Ends the day and begins the next one.
    pub(in crate::disclosure) fn next_day(&mut self) {
        let padding = self.storage().size().next_multiple_of(256) - self.storage().size();
        self.encoder.padding(padding, &mut self.out);
        self.append();
        self.storage().end_day().unwrap();
        self.checkpoints += 1;
        let day = self.encoder.day().tomorrow().unwrap();
        self.now = day.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        self.begin_day(day);
    }

    /// Removes the days before the one that begins with this entry.
    pub(in crate::disclosure) fn prune(&mut self, below: u64) {
        let (now, record) = (self.now, PruningRecord { below, ..PruningRecord::default() });
        self.encoder.pruning(record, now, &mut self.out);
        self.append();
        self.storage().prune(below).unwrap();
    }

    pub(in crate::disclosure) fn reader(&self) -> LogReader {
        LogReader::open(self.folder.path()).unwrap()
    }

    pub(in crate::disclosure) fn person(&self, number: u64) -> LoggedPerson {
        LoggedPerson::unknown(self.fingerprint(number))
    }

    pub(in crate::disclosure) fn fingerprint(&self, number: u64) -> Fingerprint {
        self.keys.fingerprints().recipient(&number.to_string())
    }

    /// Returns the head of an exchange that begins now.
    pub(in crate::disclosure) fn head(&self, recipient: &str, random: u128) -> ExchangeHead {
        ExchangeHead {
            decision: Ulid::from_parts(u64::try_from(self.now.as_millisecond()).unwrap(), random),
            recipient: recipient.into(),
            actor: None,
            holder: None,
            purpose: "support".into(),
            declared: None,
            case: None,
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "p@1".into(),
            position: Position(1),
            stale: false,
            factors: [].into_iter().collect(),
            mode: ExchangeMode::Enforce,
            would_refuse: None,
            trace: None,
        }
    }

    /// Brings the index up to date.
    #[cfg(feature = "sqlite")]
    pub(in crate::disclosure) fn update_index(&self) {
        use crate::disclosure::index::Indexer;
        let mut log = self.reader();
        let mut indexer = Indexer::open(self.index.path(), &log).unwrap();
        loop {
            let (again, more) = indexer.update(&mut log).unwrap();
            indexer = again;
            if !more {
                return;
            }
        }
    }
}

/// Copies a folder with everything in it.
pub(in crate::disclosure) fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Random numbers from a seed (SplitMix64).
struct RandomNumbers(u64);

impl RandomNumbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below this one.
    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }
}

/// An exchange as the test knows it.
#[derive(Clone, Debug)]
struct KnownExchange {
    head: ExchangeHead,
    people: Vec<u64>,
    entries: usize,
    /// Empty if it is open.
    outcome: String,
    first: u64,
}

/// Writes random exchanges, and keeps the list of them.
struct RandomLog {
    log: WrittenLog,
    random: RandomNumbers,
    known: Vec<KnownExchange>,
    /// Places of exchanges that are open.
    open: Vec<usize>,
    /// The categories of each disclosure.
    categories: Vec<CategoryDisclosure>,
}

impl RandomLog {
    fn begin(seed: u64) -> RandomLog {
        let log = WrittenLog::begin(date(2026, 11, 27));
        RandomLog {
            log,
            random: RandomNumbers(seed),
            known: Vec::new(),
            open: Vec::new(),
            categories: Vec::new(),
        }
    }

    fn disclosure(&mut self) -> (Disclosure, Vec<u64>) {
        let people: Vec<u64> = (0..self.random.below(4)).map(|_| self.random.below(50) as u64).collect();
        let subjects = people.iter().map(|person| self.log.person(*person)).collect();
        let categories = self.categories.clone();
        (Disclosure { records: 1, subjects, categories, ..Disclosure::default() }, people)
    }

    fn begin_exchange(&mut self) {
        let recipient = ["acme", "globex", "initech"][self.random.below(3)];
        let mut head = self.log.head(recipient, u128::from(self.random.next()));
        if self.random.below(10) == 0 {
            head.case = Some(format!("C-{}", self.random.below(5)).into());
        }
        head.purpose = ["support", "billing", ""][self.random.below(3)].into();
        let arc = Arc::new(head.clone());
        let (disclosure, mut people) = self.disclosure();
        let (record, outcome) = match self.random.below(10) {
            0 => (Record::Refusal(arc, "no-rule-permits"), "refused:no-rule-permits"),
            1 => (Record::Intent(arc), ""),
            2 => (Record::Window { exchange: ExchangeReference::First(arc), disclosure }, ""),
            _ => (Record::Exchange(arc, disclosure), "released"),
        };
        if matches!(record, Record::Refusal(..) | Record::Intent(_)) {
            people.clear();
        }
        let first = self.log.write(&record) - 1;
        if outcome.is_empty() {
            self.open.push(self.known.len());
        }
        self.known.push(KnownExchange { head, people, entries: 1, outcome: outcome.to_owned(), first });
    }

    fn continue_exchange(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let place = self.random.below(self.open.len());
        let number = self.open[place];
        let decision = self.known[number].head.decision;
        self.known[number].entries += 1;
        if self.random.below(2) == 0 {
            let (disclosure, people) = self.disclosure();
            self.log.write(&Record::Window { exchange: ExchangeReference::Later(decision), disclosure });
            self.known[number].people.extend(people);
        } else {
            self.log.write(&Record::Close { decision, outcome: Outcome::Released });
            self.known[number].outcome = "released".to_owned();
            self.open.swap_remove(place);
        }
    }

    fn correct(&mut self) {
        let released: Vec<usize> =
            (0..self.known.len()).filter(|number| self.known[*number].outcome == "released").collect();
        let Some(number) = released.get(self.random.below(released.len().max(1))) else { return };
        let decision = self.known[*number].head.decision;
        self.log.write(&Record::Correction { decision, outcome: Outcome::Aborted, disclosure: None });
        self.known[*number].entries += 1;
        self.known[*number].outcome = "aborted".to_owned();
    }

    fn step(&mut self) {
        self.log.now += SignedDuration::from_millis(self.random.below(5) as i64);
        match self.random.below(1000) {
            0..700 => self.begin_exchange(),
            700..940 => self.continue_exchange(),
            940..980 => self.correct(),
            980..990 => self.log.publish(),
            990..995 => {
                self.log.publish();
                #[cfg(feature = "sqlite")]
                self.log.update_index();
            }
            995..998 => {
                self.log.restart();
                for number in self.open.drain(..) {
                    self.known[number].outcome = "aborted".to_owned();
                }
            }
            _ => self.log.next_day(),
        }
    }

    /// Asks for the candidates of a question, in pages of this length.
    fn ask(&self, question: &LogQuestion, person: Option<u64>, page: usize) -> Vec<Candidate> {
        let pseudonyms = self.log.keys.subject_pseudonyms();
        let fingerprint = person.map(|person| self.log.fingerprint(person));
        let names = |day: Date| {
            fingerprint.iter().map(|one| pseudonyms.epoch(&day.to_string()).of(*one)).collect::<Vec<_>>()
        };
        let (mut found, mut below) = (Vec::new(), u64::MAX);
        loop {
            let mut log = DecodedLog::new(self.log.reader());
            #[cfg(feature = "sqlite")]
            let index =
                crate::disclosure::index::LogIndex::open(self.log.index.path(), log.reader().origin())
                    .unwrap();
            let mut search = CandidateSearch::new(
                &mut log,
                #[cfg(feature = "sqlite")]
                index,
                question,
                person.is_some().then_some(&names),
                SearchPlace { below, ..SearchPlace::NEWEST },
                u64::MAX,
            );
            for _ in 0..page {
                match search.next().unwrap() {
                    CandidateStep::Found(candidate) => {
                        below = candidate.entries[0];
                        found.push(candidate);
                    }
                    CandidateStep::Paused(_) | CandidateStep::End => return found,
                }
            }
        }
    }
}

/// Each exchange that answers the question is a candidate, with all its entries, in the order of the log.
fn check(random: &RandomLog, question: &LogQuestion, person: Option<u64>, page: usize) {
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let answers = |known: &&KnownExchange| {
        is(&question.recipient, &known.head.recipient)
            && is(&question.purpose, &known.head.purpose)
            && is(&question.case, known.head.case.as_deref().unwrap_or_default())
            && is(&question.outcome, &known.outcome)
            && question.decision.is_none_or(|decision| decision == known.head.decision)
            && person.is_none_or(|person| known.people.contains(&person))
    };
    let found = random.ask(question, person, page);
    assert!(found.is_sorted_by(|one, other| one.entries[0] > other.entries[0]), "{question:?}");
    let by_decision: HashMap<Ulid, &Candidate> = found.iter().map(|found| (found.decision, found)).collect();
    assert_eq!(by_decision.len(), found.len());
    for known in random.known.iter().filter(answers) {
        let candidate = by_decision.get(&known.head.decision);
        let candidate = candidate.unwrap_or_else(|| panic!("{question:?} {person:?}: {known:?} is missing"));
        assert_eq!(
            (candidate.entries.len(), candidate.entries[0]),
            (known.entries, known.first),
            "{known:?}"
        );
        let has_no_end = known.outcome.is_empty();
        assert!(!(has_no_end && candidate.process_ended), "{known:?}");
    }
}

#[test]
fn every_exchange_that_answers_a_question_is_found_with_all_its_entries() {
    for seed in 0..4 {
        let mut random = RandomLog::begin(seed);
        for round in 0..3 {
            for _ in 0..500 {
                random.step();
            }
            if round == 2 {
                random.log.publish();
            }
            let page = 1 + random.random.below(400);
            let of = |recipient: Option<&str>, purpose: Option<&str>, outcome: Option<&str>| LogQuestion {
                recipient: recipient.map(str::to_owned),
                purpose: purpose.map(str::to_owned),
                outcome: outcome.map(str::to_owned),
                ..LogQuestion::default()
            };
            check(&random, &LogQuestion::default(), None, page);
            check(&random, &of(Some("acme"), None, None), None, page);
            check(&random, &of(Some("globex"), Some("billing"), None), None, page);
            check(&random, &of(None, Some(""), Some("aborted")), None, page);
            check(&random, &of(None, None, Some("released")), None, page);
            check(&random, &of(None, None, Some("refused:no-rule-permits")), None, page);
            check(
                &random,
                &LogQuestion { case: Some("C-3".to_owned()), ..LogQuestion::default() },
                None,
                page,
            );
            let decision = Some(random.known[random.known.len() / 3].head.decision);
            check(&random, &LogQuestion { decision, ..LogQuestion::default() }, None, page);
            for person in [0, 7, 49] {
                check(&random, &LogQuestion::default(), Some(person), page);
                check(&random, &of(Some("initech"), None, None), Some(person), page);
            }
        }
    }
}

#[test]
#[cfg(feature = "sqlite")]
fn an_index_finds_little_more_than_the_answers() {
    let mut random = RandomLog::begin(99);
    for _ in 0..3000 {
        random.step();
    }
    random.log.publish();
    random.log.update_index();
    let of_seven = random.known.iter().filter(|known| known.people.contains(&7)).count();
    assert_eq!(random.ask(&LogQuestion::default(), Some(7), usize::MAX).len(), of_seven);
    let aborted = random.known.iter().filter(|known| known.outcome == "aborted").count();
    let question = LogQuestion { outcome: Some("aborted".to_owned()), ..LogQuestion::default() };
    // The index knows that an exchange is open, and not that its process has died since.
    let found = random.ask(&question, None, usize::MAX).len();
    assert!((aborted..=aborted + random.open.len()).contains(&found), "{found}");
    assert!(of_seven > 10 && aborted > 10);
}

#[test]
#[cfg(feature = "sqlite")]
fn an_index_of_another_log_or_of_pruned_days_is_built_again_or_pruned() {
    use crate::disclosure::index::{Indexer, LogIndex};
    let mut random = RandomLog::begin(5);
    let mut days = Vec::new();
    for _ in 0..4 {
        for _ in 0..300 {
            random.begin_exchange();
        }
        random.log.next_day();
        days.push(random.log.storage().day_start());
    }
    random.log.publish();
    random.log.update_index();
    let state = |random: &RandomLog| {
        let log = random.log.reader();
        LogIndex::open(random.log.index.path(), log.origin()).unwrap().unwrap().state().clone()
    };
    assert!(state(&random).fits(&random.log.reader()));
    random.log.prune(days[1]);
    random.known.retain(|known| known.first >= days[1]);
    check(&random, &LogQuestion::default(), Some(7), 1000);
    random.log.update_index();
    assert_eq!(state(&random).first, days[1]);
    check(&random, &LogQuestion::default(), Some(7), 1000);
    // A log under the same origin with other entries.
    let mut other = RandomLog::begin(6);
    for _ in 0..1500 {
        other.begin_exchange();
    }
    other.log.publish();
    std::mem::swap(&mut other.log.index, &mut random.log.index);
    let log = other.log.reader();
    assert!(!state(&other).fits(&log));
    check(&other, &LogQuestion::default(), Some(7), 1000);
    other.log.update_index();
    assert!(state(&other).fits(&log));
    check(&other, &LogQuestion::default(), Some(7), 1000);
    let indexer = Indexer::open(other.log.index.path(), &log).unwrap();
    assert_eq!(indexer.clear().unwrap().size(), 0);
}

/// The exchanges of an answer in pages are those of the fold, newest first.
#[test]
fn an_answer_in_pages_has_each_exchange_as_the_fold_has_it() {
    let mut random = RandomLog::begin(21);
    for _ in 0..900 {
        random.step();
    }
    random.log.publish();
    let mut folded = HashMap::new();
    crate::disclosure::fold(random.log.folder.path(), &Default::default(), true, |exchange| {
        folded.insert(exchange["decision"].as_str().unwrap().to_owned(), exchange);
        Ok(())
    })
    .unwrap();
    let logs = [QuestionedLog {
        folder: random.log.folder.path().to_owned(),
        index: Some(random.log.index.path().to_owned()),
        running: true,
    }];
    for outcome in [None, Some("aborted"), Some("released")] {
        let question = LogQuestion { outcome: outcome.map(str::to_owned), ..LogQuestion::default() };
        let (mut found, mut cursor) = (Vec::new(), AnswerCursor::default());
        loop {
            let page = answer(&question, &logs, &cursor, 1 + random.random.below(90)).unwrap();
            assert_eq!((page.logs.len(), page.logs[0].since), (1, Some(date(2026, 11, 27))));
            found.extend(page.exchanges);
            let Some(next) = page.next else { break };
            cursor = AnswerCursor::parse(&next.text()).unwrap();
            // The log grows meanwhile.
            let head = Arc::new(random.log.head("late", u128::from(random.random.next())));
            random.log.write(&Record::Exchange(head, Disclosure::default()));
        }
        let known =
            random.known.iter().filter(|known| outcome.is_none_or(|outcome| outcome == known.outcome));
        let expected: Vec<_> =
            known.rev().map(|known| folded[&known.head.decision.to_string()].clone()).collect();
        let old: Vec<_> = found.into_iter().filter(|exchange| exchange["recipient"] != "late").collect();
        assert_eq!(old, expected);
    }
    let missing = QuestionedLog { folder: "/none".into(), index: None, running: false };
    let page =
        answer(&LogQuestion::default(), &[logs[0].clone(), missing.clone()], &AnswerCursor::default(), 3)
            .unwrap();
    assert!(page.exchanges.len() == 3 && page.logs[1].fault.is_some());
    assert!(answer(&LogQuestion::default(), &[missing], &AnswerCursor::default(), 3).is_err());
}

/// An account with the index is the one that the whole log gives.
#[test]
#[cfg(feature = "sqlite")]
fn an_account_with_an_index_is_that_of_the_whole_log() {
    use crate::disclosure::{LogSource, accounting};
    use crate::vocabulary::{Basis, Form};
    let mut random = RandomLog::begin(31);
    random.categories = vec![CategoryDisclosure {
        category: Some("email".into()),
        form: Form::Clear,
        basis: Some(Basis::Consent),
        reason: None,
        rules: [].into(),
        clauses: [].into(),
        fields: 1,
        would: None,
    }];
    for _ in 0..1500 {
        random.step();
    }
    let source = LogSource::new(random.log.folder.path(), &random.log.keys);
    let mut found = 0;
    for person in 0..50 {
        let person = [random.log.person(person)];
        let account = accounting(&source, &person).unwrap();
        let indexed = source.clone().with_index(random.log.index.path());
        assert_eq!(accounting(&indexed, &person).unwrap(), account);
        found += account.len();
    }
    assert!(found > 500, "{found}");
}
