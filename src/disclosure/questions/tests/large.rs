//! A large log: the size of its index, the time to build it, and the time to the first answer.
//!
//! `PURPOSEGATE_QUESTIONS=10000000 cargo test --release --lib questions::tests::large -- --nocapture` asks a log of so many
//! exchanges instead of a few thousand, and prints the figures.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::SignedDuration;
use jiff::civil::date;
use ulid::Ulid;

use super::{RandomNumbers, WrittenLog};
use crate::disclosure::questions::{Answer, AnswerCursor, LogQuestion, QuestionedLog, answer};
use crate::disclosure::record::{CategoryDisclosure, Disclosure, Record};
use crate::disclosure::{LogSource, accounting, index};
use crate::vocabulary::{Basis, Form};

/// Number of exchanges without the variable.
const USUAL: u64 = 6_000;

/// Number of questions of each sort.
const QUESTIONS: usize = 200;

/// Maximum size of the index for each entry.
const MAX_INDEX_BYTES: u64 = 200;

/// Maximum time for the first answer, with which the 99th percentile of the long form is compared.
const MAX_ANSWER_TIME: Duration = Duration::from_millis(50);

/// Exchanges with 40 recipients about a million people, over ten days.
struct LargeLog {
    log: WrittenLog,
    exchanges: u64,
    random: RandomNumbers,
    decisions: Vec<Ulid>,
}

impl LargeLog {
    fn write(exchanges: u64) -> LargeLog {
        let mut large = LargeLog {
            log: WrittenLog::begin(date(2026, 11, 20)),
            exchanges,
            random: RandomNumbers(1),
            decisions: Vec::new(),
        };
        let categories = large.categories();
        let pace = SignedDuration::from_millis(i64::try_from(86_400_000 * 10 / exchanges).unwrap().max(1));
        for number in 0..exchanges {
            if number > 0 && number % exchanges.div_ceil(10) == 0 {
                large.log.next_day();
            }
            large.log.now += pace;
            large.exchange(number, &categories);
            if number % 4096 == 0 {
                large.log.publish();
            }
        }
        large.log.publish();
        large
    }

    fn categories(&self) -> Vec<CategoryDisclosure> {
        let category = |number: u64| CategoryDisclosure {
            category: Some(format!("category-{number}").into()),
            form: Form::Clear,
            basis: Some(Basis::Contract),
            reason: None,
            rules: [Arc::from("rule")].into(),
            clauses: [Arc::from("G-6.4b")].into(),
            fields: 1,
            would: None,
        };
        (0..8).map(category).collect()
    }

    fn exchange(&mut self, number: u64, categories: &[CategoryDisclosure]) {
        let recipient = format!("recipient-{}", self.random.below(40));
        let random = u128::from(self.random.next());
        let mut head = self.log.head(&recipient, random);
        head.purpose = ["support", "billing", "registration"][self.random.below(3)].into();
        head.route = format!("route-{}", self.random.below(5)).into();
        if number.is_multiple_of(1000) {
            head.case = Some(format!("C-{number}").into());
        }
        if self.decisions.len() < QUESTIONS
            && number.is_multiple_of((self.exchanges / QUESTIONS as u64).max(1))
        {
            self.decisions.push(head.decision);
        }
        let person = self.random.below(usize::try_from(self.exchanges / 10).unwrap()) as u64;
        let subjects = [self.log.person(person)].into_iter().collect();
        let disclosure =
            Disclosure { records: 1, subjects, categories: categories.to_vec(), ..Disclosure::default() };
        self.log.write(&Record::Exchange(Arc::new(head), disclosure));
    }

    fn questioned(&self) -> QuestionedLog {
        let index = Some(self.log.index.path().to_owned());
        QuestionedLog { folder: self.log.folder.path().to_owned(), index, running: true }
    }

    fn ask(&self, question: &LogQuestion) -> Answer {
        answer(question, &[self.questioned()], &AnswerCursor::default(), 50).unwrap()
    }
}

/// Returns the median and the 99th percentile of the times of questions.
fn times(mut ask: impl FnMut(usize)) -> [Duration; 2] {
    let time = |number| {
        let began = Instant::now();
        ask(number);
        began.elapsed()
    };
    let mut times: Vec<Duration> = (0..QUESTIONS).map(time).collect();
    times.sort_unstable();
    [times[QUESTIONS / 2], times[QUESTIONS * 99 / 100]]
}

#[allow(clippy::print_stdout, reason = "the long form prints its figures")]
#[test]
fn an_index_is_small_and_questions_are_answered_at_once() {
    let given = std::env::var("PURPOSEGATE_QUESTIONS").ok().and_then(|number| number.parse().ok());
    let exchanges: u64 = given.unwrap_or(USUAL);
    let large = LargeLog::write(exchanges);
    let began = Instant::now();
    let (entries, bytes) = index::build(large.log.index.path(), large.log.folder.path(), |_, _| {}).unwrap();
    let built = began.elapsed();
    assert_eq!(entries, large.log.reader().size());
    println!(
        "{exchanges} exchanges, {entries} entries: {} bytes an entry, {:?} an exchange",
        bytes / entries,
        built / u32::try_from(exchanges).unwrap()
    );
    // A database of a few pages is not representative.
    assert!(exchanges < 100_000 || bytes / entries <= MAX_INDEX_BYTES, "{bytes} bytes");
    let mut slowest = Duration::ZERO;
    let mut measure = |name: &str, ask: &mut dyn FnMut(usize)| {
        let [median, p99] = times(ask);
        println!("{name}: median {median:?}, p99 {p99:?}");
        slowest = slowest.max(p99);
    };
    measure("all", &mut |_| assert_eq!(large.ask(&LogQuestion::default()).exchanges.len(), 50));
    measure("by recipient", &mut |number| {
        let recipient = Some(format!("recipient-{}", number % 40));
        let answer = large.ask(&LogQuestion { recipient: recipient.clone(), ..LogQuestion::default() });
        assert!(
            answer.exchanges.iter().all(|exchange| exchange["recipient"] == *recipient.as_ref().unwrap())
        );
        assert_eq!(answer.exchanges.len(), 50);
    });
    measure("by purpose and route", &mut |number| {
        let route = Some(format!("route-{}", number % 5));
        let question = LogQuestion { purpose: Some("billing".to_owned()), route, ..LogQuestion::default() };
        assert_eq!(large.ask(&question).exchanges.len(), 50);
    });
    measure("by outcome, without an answer", &mut |_| {
        let outcome = Some("aborted".to_owned());
        assert!(large.ask(&LogQuestion { outcome, ..LogQuestion::default() }).exchanges.is_empty());
    });
    measure("by case", &mut |number| {
        let number = number as u64 * 1000 % exchanges.next_multiple_of(1000).min(exchanges);
        let case = Some(format!("C-{}", number - number % 1000));
        assert_eq!(large.ask(&LogQuestion { case, ..LogQuestion::default() }).exchanges.len(), 1);
    });
    measure("by decision", &mut |number| {
        let decision = Some(large.decisions[number % large.decisions.len()]);
        assert_eq!(large.ask(&LogQuestion { decision, ..LogQuestion::default() }).exchanges.len(), 1);
    });
    let mut disclosures = 0;
    measure("by person", &mut |number| {
        let person = [large.log.person(number as u64 * 7 % (exchanges / 10))];
        let log = LogSource::new(large.log.folder.path(), &large.log.keys);
        disclosures += accounting(&log.with_index(large.log.index.path()), &person).unwrap().len();
    });
    assert!(disclosures > 5 * QUESTIONS, "{disclosures}");
    assert!(given.is_none() || slowest <= MAX_ANSWER_TIME, "{slowest:?}");
}
