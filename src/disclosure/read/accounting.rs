//! Reads from the log what was disclosed about one person (right of access, G-6.8a; GDPR Art. 15(1)(c)).
//!
//! It reveals nothing about anybody else: other people in an answer are only counted. Invariant: the result contains at
//! least everything that was disclosed about the person. It may contain more, because the log records categories by
//! window: a category counts as disclosed about every person in the window about whom anything left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
#[cfg(feature = "sqlite")]
use jiff::civil::Date;
use serde::Serialize;
use ulid::Ulid;

use super::decoded_log;
use super::deleted_details::{DeletedDetails, Deletions};
use super::exchange_records::ExchangeRecords;
use super::fold::day_of;
#[cfg(feature = "sqlite")]
use super::former_records::{self, FormerRecords};
use super::model::{LoggedDisclosure, LoggedExchangeRecord, LoggedHead, LoggedRecord};
use super::source::{LogSource, pseudonyms_on};
#[cfg(feature = "sqlite")]
use crate::disclosure::index::LogIndex;
#[cfg(feature = "sqlite")]
use crate::disclosure::questions::LogQuestion;
#[cfg(feature = "sqlite")]
use crate::disclosure::questions::candidates::{CandidateSearch, CandidateStep, SearchPlace};
use crate::disclosure::storage::ReadError;
use crate::keys::{LoggedPerson, Pseudonym, SubjectPseudonyms};
use crate::vocabulary::Form;

/// An exchange that disclosed something about the person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AccountedExchange {
    /// Start of the exchange.
    pub time: Timestamp,
    /// The decision's id.
    pub decision: String,
    /// The recipient's configured name.
    pub recipient: String,
    /// The accepted purpose.
    pub purpose: String,
    /// The case that the request cited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    /// The categories that left in the windows in which something about the person left.
    pub categories: BTreeSet<AccountedCategory>,
    /// Number of people about whom something left in the same window: the largest such number of the exchange's
    /// windows. The categories are those of all these people.
    pub people: usize,
    /// The route's configured name.
    #[serde(skip)]
    pub route: String,
    /// The categories of which something was withheld in those windows.
    #[serde(skip)]
    pub withheld: BTreeSet<String>,
    /// The categories that left in those windows and are not personal.
    #[serde(skip)]
    pub not_personal: BTreeSet<AccountedCategory>,
    /// The first position of the ledger on which one of those windows was judged; 0 if one does not state it.
    #[serde(skip)]
    pub position: u64,
}

/// A data category that was disclosed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AccountedCategory {
    /// Its name in the vocabulary.
    pub category: String,
    /// The form in which it left.
    pub form: String,
    /// The legal basis; absent for fields that nothing classifies, and in observed exchanges.
    pub basis: Option<String>,
}

/// An exchange that has not ended yet.
struct OpenExchange {
    head: LoggedHead,
    people: usize,
    categories: BTreeSet<AccountedCategory>,
    withheld: BTreeSet<String>,
    not_personal: BTreeSet<AccountedCategory>,
    position: Option<u64>,
}

/// The disclosures about a person.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// The exchanges, oldest first.
    pub exchanges: Vec<AccountedExchange>,
    /// The details of the log that were deleted: what they disclosed about the person is missing.
    pub deleted: Vec<DeletedDetails>,
}

/// Returns everything that was disclosed about a person, oldest first, as far as its details were not deleted ([`account`]).
///
/// # Errors
/// The same as of [`account`].
pub fn accounting(log: &LogSource, person: &[LoggedPerson]) -> Result<Vec<AccountedExchange>, ReadError> {
    account(log, person).map(|account| account.exchanges)
}

/// Returns everything that was disclosed about a person, and which details were deleted. A person whose id has several
/// spellings is given by each, with fingerprints made with [`LogSource::fingerprints`]; each is sought by its log secret, if it
/// has one, and by its fingerprint.
///
/// # Errors
/// [`ReadError`] if a file cannot be read, or if the person cannot be found in the log ([`LogSource::check`]).
pub fn account(log: &LogSource, person: &[LoggedPerson]) -> Result<Account, ReadError> {
    log.check()?;
    #[cfg(feature = "sqlite")]
    if let Some(account) = indexed_account(log, person)? {
        return Ok(account);
    }
    let deleted = match decoded_log::open(log.folder())? {
        Some(mut decoded) => {
            let deletions = Deletions::of(
                &mut decoded,
                #[cfg(feature = "sqlite")]
                None,
            )?;
            deletions.describe(&mut decoded, None)?
        }
        None => Vec::new(),
    };
    let mut accounts = Accounts::new(log, person);
    for record in ExchangeRecords::open(log.folder(), None, log.place().tags)? {
        accounts.add(record?);
    }
    Ok(Account { exchanges: accounts.finish(), deleted })
}

/// Accounts with the index, which finds the exchanges about the person; `None` if there is none that fits the log.
#[cfg(feature = "sqlite")]
fn indexed_account(log: &LogSource, person: &[LoggedPerson]) -> Result<Option<Account>, ReadError> {
    let Some(folder) = log.index() else { return Ok(None) };
    let Some(mut decoded) = decoded_log::open(log.folder())? else { return Ok(None) };
    let Some(index) = LogIndex::open_fitting(folder, decoded.reader())? else { return Ok(None) };
    let mut deletions = Deletions::of(&mut decoded, Some(&index))?;
    let mut accounts = Accounts::new(log, person);
    let segments = former_records::segments(log.folder(), None)?;
    for record in FormerRecords::new(segments, log.place().tags) {
        accounts.add(record?);
    }
    accounts.end_open();
    let names = |day: Date| pseudonyms_on(&day.to_string(), person, log.pseudonyms());
    let question = LogQuestion::default();
    let newest = SearchPlace::NEWEST;
    decoded.collect_without_detail();
    let mut search =
        CandidateSearch::new(&mut decoded, Some(index), &question, Some(&names), newest, u64::MAX);
    while let CandidateStep::Found(candidate) = search.next()? {
        for record in candidate.records(search.log())? {
            accounts.add(LoggedRecord::Exchange(Box::new(record)));
        }
        accounts.end_open();
    }
    drop(search);
    // The details may have been removed after the entries were indexed.
    decoded.take_without_detail().into_iter().for_each(|entry| deletions.add(entry));
    let deleted = deletions.describe(&mut decoded, None)?;
    Ok(Some(Account { exchanges: accounts.finish(), deleted }))
}

/// The disclosures about a person, as far as records have been read.
struct Accounts<'a> {
    person: &'a [LoggedPerson],
    pseudonyms: &'a SubjectPseudonyms,
    /// A person has a different pseudonym each day.
    names: HashMap<Arc<str>, Vec<Pseudonym>>,
    open: BTreeMap<Ulid, OpenExchange>,
    disclosed: Vec<AccountedExchange>,
}

impl<'a> Accounts<'a> {
    fn new(log: &'a LogSource, person: &'a [LoggedPerson]) -> Accounts<'a> {
        Accounts {
            person,
            pseudonyms: log.pseudonyms(),
            names: HashMap::new(),
            open: BTreeMap::new(),
            disclosed: Vec::new(),
        }
    }

    fn add(&mut self, record: LoggedRecord) {
        let mut record = match record {
            LoggedRecord::Exchange(record) => *record,
            // The previous process died. The data of its open exchanges count as disclosed, because they may have left.
            LoggedRecord::Start(_) => return self.end_open(),
        };
        let decision = record.decision;
        if let Some(head) = record.head.take() {
            self.open.entry(decision).or_insert_with(|| OpenExchange::begin(head));
        }
        let Some(exchange) = self.open.get_mut(&decision) else { return };
        let LoggedExchangeRecord { day, disclosure, end, corrects, position, .. } = record;
        if let Some(disclosure) = disclosure {
            let day = day.unwrap_or_else(|| day_of(exchange.head.time));
            let names = self
                .names
                .entry(day)
                .or_insert_with_key(|day| pseudonyms_on(day, self.person, self.pseudonyms));
            exchange.add(&disclosure, position, names);
        }
        if let Some(outcome) = end
            && let Some(ended) = self.open.remove_entry(&decision)
            // A refused exchange disclosed nothing. A correction takes back no disclosure.
            && (corrects || !outcome.starts_with("refused"))
        {
            self.disclosed.extend(OpenExchange::into_accounted(ended));
        }
    }

    /// Counts the data of open exchanges as disclosed, because they may have left.
    fn end_open(&mut self) {
        let ended = std::mem::take(&mut self.open).into_iter();
        self.disclosed.extend(ended.filter_map(OpenExchange::into_accounted));
    }

    /// Returns the disclosures, oldest first.
    fn finish(mut self) -> Vec<AccountedExchange> {
        self.end_open();
        self.disclosed.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
        self.disclosed
    }
}

impl OpenExchange {
    fn begin(head: LoggedHead) -> OpenExchange {
        OpenExchange {
            head,
            people: 0,
            categories: BTreeSet::new(),
            withheld: BTreeSet::new(),
            not_personal: BTreeSet::new(),
            position: None,
        }
    }

    /// Adds a disclosure if it disclosed something about the person.
    fn add(&mut self, disclosure: &LoggedDisclosure, position: u64, names: &[Pseudonym]) {
        let LoggedDisclosure { subjects, categories, .. } = disclosure;
        if !subjects.iter().any(|subject| names.contains(subject)) {
            return;
        }
        self.position = Some(self.position.map_or(position, |first| first.min(position)));
        let people: BTreeSet<&Pseudonym> = subjects.iter().collect();
        self.people = self.people.max(people.len());
        for (ruling, _) in categories {
            if *ruling.form == *Form::Removed.name() {
                self.withheld.insert(ruling.category.to_string());
                continue;
            }
            let is_about_nobody = ruling.is_about_nobody();
            let left = if is_about_nobody { &mut self.not_personal } else { &mut self.categories };
            left.insert(AccountedCategory {
                category: ruling.category.to_string(),
                form: ruling.form.to_string(),
                basis: ruling.basis.as_deref().map(str::to_owned),
            });
        }
    }

    fn into_accounted((decision, exchange): (Ulid, OpenExchange)) -> Option<AccountedExchange> {
        let OpenExchange { head, people, categories, withheld, not_personal, position } = exchange;
        let disclosed = AccountedExchange {
            time: head.time,
            decision: decision.to_string(),
            recipient: head.recipient.to_string(),
            purpose: head.purpose.to_string(),
            case: head.case,
            categories,
            people,
            route: head.route.to_string(),
            withheld,
            not_personal,
            position: position.unwrap_or(0),
        };
        Some(disclosed).filter(|disclosed| !disclosed.categories.is_empty())
    }
}
