//! Compiles the report that one person receives about themselves: the right of access (G-6.8a; GDPR Art. 15).
//!
//! It combines the ledger's state and events, the packs' records of processing and the accounting of disclosures into
//! one value. It does not know to whom the report is sent. Invariants: the report contains nothing about anybody
//! else, and no disclosure under a case that is still confidential.

mod accounting_form;
mod html;
pub mod processing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

pub use accounting_form::{DisclosureAccounting, RepeatedDisclosures, accounting_of};
pub use html::{ReportPage, html};

use crate::decision::RecipientFacts;
use crate::disclosure::questions::{LogExtent, LogRelation};
use crate::disclosure::{self, Account, AccountedExchange, LogSource, ReadError};
use crate::ledger::{self, Archive, Entity, StoreError};
use crate::policy::Pack;
use crate::vocabulary::{CategoryId, DEFAULT_NAMESPACE, SubjectId, Vocabulary};

/// The inputs of a report.
pub struct ReportSources<'s> {
    /// The ledger.
    pub archive: &'s Archive,
    /// The disclosure logs of all gateways that may have disclosed something about the person.
    pub logs: &'s [LogSource],
    /// The policy packs that are in force.
    pub packs: &'s [Arc<Pack>],
    /// The registered recipients. The log may name others that are no longer registered.
    pub recipients: &'s [ReportedRecipient],
    /// The origins of logs that an operator has retired.
    pub retired: &'s [String],
    /// The namespaces of the configuration, by their names.
    pub namespaces: &'s [Arc<str>],
}

impl ReportSources<'_> {
    /// Returns the name of the namespace of a person's id, unless it is the only one.
    fn namespace_of(&self, person: &SubjectId) -> Option<String> {
        let own = person.namespace().map_or(DEFAULT_NAMESPACE, |name| name);
        self.namespaces.iter().any(|name| **name != *own).then(|| own.to_owned())
    }
}

/// A registered recipient, as a report names it.
#[derive(Clone, Debug)]
pub struct ReportedRecipient {
    /// Its facts for the policy.
    pub facts: Arc<RecipientFacts>,
    /// Its legal name, if the configuration has one.
    pub legal_name: Option<Arc<str>>,
    /// Its address, if the configuration has one.
    pub address: Option<Arc<str>>,
    /// How to reach it, if the configuration says so.
    pub contact: Option<Arc<str>>,
}

impl std::fmt::Debug for ReportSources<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sources")
    }
}

/// An error that keeps a report from being compiled.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Ledger(#[from] StoreError),
    /// The disclosure log cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
}

/// The report. Its names are those of the vocabulary.
#[derive(Clone, Serialize)]
pub struct SubjectReport {
    /// The person's id.
    pub subject: String,
    /// The namespace of the id, if the configuration has another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Time at which the report was compiled.
    pub made: Timestamp,
    /// The contact of each pack.
    pub contacts: BTreeSet<String>,
    /// The state that is in force; `None` if the ledger does not know the person.
    pub state: Option<Map<String, Value>>,
    /// The recorded events about the person, as they were recorded, but without who recorded them: that is personal data of
    /// somebody else (CJEU C-579/21).
    pub events: Vec<Map<String, Value>>,
    /// The origins of the data of each category.
    pub sources: Vec<DataSource>,
    /// The record of processing activities.
    pub processing: Vec<Processing>,
    /// The retention period of each category that has one.
    pub retention: Vec<RetentionPeriod>,
    /// The disclosures, oldest first, and the logs from which they are.
    #[serde(flatten)]
    pub disclosed: DisclosureList,
}

/// The disclosures about a person, and the logs that have them.
#[derive(Clone, Debug, Serialize)]
pub struct DisclosureList {
    /// False if a log could not be read, is lost, is that of a gateway with another ledger, or lacks details that were deleted:
    /// disclosures may be missing.
    pub complete: bool,
    /// The logs that were read.
    pub logs: Vec<LogExtent>,
    /// The disclosures, oldest first.
    pub disclosures: Vec<ReportedDisclosure>,
}

impl std::fmt::Debug for SubjectReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Report")
    }
}

/// The origins of the data of one category.
#[derive(Clone, Debug, Serialize)]
pub struct DataSource {
    /// The category's name.
    pub category: String,
    /// The category's title.
    pub title: String,
    /// The origins that the record of processing states.
    pub origins: BTreeSet<String>,
}

/// One processing activity of the record of processing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Processing {
    /// The purpose's name.
    pub purpose: String,
    /// The purpose's title.
    pub title: String,
    /// The legal basis.
    pub basis: &'static str,
    /// The title that the pack gives to this basis.
    pub basis_title: String,
    /// The categories that are processed.
    pub categories: Vec<TitledTerm>,
    /// The kinds of recipients.
    pub recipients: Vec<TitledTerm>,
    /// Origin of the data.
    pub origin: String,
    /// Retention of the data, in the words of the record of processing.
    pub retention: String,
    /// Transfers to third countries.
    pub transfers: String,
}

/// A term of the vocabulary with its title.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TitledTerm {
    /// The term's name.
    pub id: String,
    /// The title that people read.
    pub title: String,
}

/// The retention period of a category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RetentionPeriod {
    /// The category's name.
    pub category: String,
    /// The category's title.
    pub title: String,
    /// The period in days.
    pub days: i64,
}

/// One disclosure about the person.
#[derive(Clone, Debug, Serialize)]
pub struct ReportedDisclosure {
    /// The exchange in the disclosure log.
    #[serde(flatten)]
    pub disclosed: AccountedExchange,
    /// The purpose's title.
    pub purpose_title: String,
    /// The recipient's legal name, or its configured name if there is no other (GDPR Art. 15(1)(c), CJEU C-154/21).
    pub recipient_name: String,
    /// The recipient's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_address: Option<String>,
    /// How to reach the recipient: an e-mail address, a telephone number or a URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_contact: Option<String>,
    /// The recipient's kind; absent if the recipient is no longer registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_kind: Option<TitledTerm>,
    /// The recipient's country.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_country: Option<Arc<str>>,
    /// The corrections and erasures since: the recipient may hold data that are wrong or should not exist (GDPR Art. 19).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed_since: Vec<LaterChange>,
}

/// An event by which data of a person were corrected or erased.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LaterChange {
    /// The kind: `correction` or `erasure`.
    pub event: &'static str,
    /// The time from which it counts.
    pub at: Timestamp,
}

/// Compiles the report about a person. Returns `None` if nothing is known about the person and nothing was disclosed.
///
/// # Errors
/// [`ReportError`].
pub fn report(
    person: &SubjectId,
    sources: &ReportSources<'_>,
    now: Timestamp,
) -> Result<Option<SubjectReport>, ReportError> {
    let ReportSources { archive, packs, .. } = *sources;
    let state = archive.show(person, None, now)?;
    let disclosed = disclosures(person, sources, now)?;
    // A log that cannot be read may hold a disclosure.
    if state.is_none() && disclosed.disclosures.is_empty() && disclosed.complete {
        return Ok(None);
    }
    let history = archive.history(&Entity::Subject(person.clone()))?;
    let processing = processing(packs);
    Ok(Some(SubjectReport {
        subject: person.id().to_string(),
        namespace: sources.namespace_of(person),
        made: now,
        contacts: packs.iter().map(|pack| pack.manifest().contact.clone()).collect(),
        state,
        events: history.iter().map(|past| event_for_person(&past.event, archive.terms())).collect(),
        sources: origins(&processing),
        processing,
        retention: retention(packs),
        disclosed,
    }))
}

fn event_for_person(event: &ledger::Event, terms: &dyn ledger::TermLookup) -> Map<String, Value> {
    let mut members = ledger::write(event, terms);
    members.remove("recorded-by");
    members
}

/// Returns what was disclosed about the person, except under cases that are still confidential. A log that cannot be read, or
/// that names people by the secrets of another ledger, makes the list incomplete, and so does a gateway whose log is not listed,
/// or a log on record that is lost.
///
/// # Errors
/// [`ReportError`] if the ledger or every log cannot be read.
pub fn disclosures(
    person: &SubjectId,
    sources: &ReportSources<'_>,
    now: Timestamp,
) -> Result<DisclosureList, ReportError> {
    let confidential = sources.archive.confidential_cases(now)?;
    let ledger = sources.archive.ledger_id()?;
    // Before the logs are read: a gateway may state meanwhile that its log has grown.
    let known = sources.archive.known_logs()?.without(sources.retired);
    let (mut all, mut logs, mut failure, mut is_read) = (Vec::new(), Vec::new(), None, false);
    // Taken first: a log that grows meanwhile is read at least as far.
    let extents: Vec<_> = sources.logs.iter().map(|log| LogExtent::of_people(log.folder(), ledger)).collect();
    let read = sources.logs.iter().zip(&extents);
    let relations =
        LogRelation::of_logs(read.map(|(log, extent)| Some(log.folder()).zip(extent.as_ref().ok())));
    for ((log, extent), LogRelation { is_copy, fork }) in sources.logs.iter().zip(extents).zip(relations) {
        if is_copy {
            continue;
        }
        let spellings = sources.archive.logged_persons(person, log.fingerprints())?;
        match extent.and_then(|extent| Ok((disclosure::account(log, &spellings)?, extent))) {
            Ok((Account { exchanges, deleted }, extent)) => {
                is_read = true;
                all.extend(exchanges);
                logs.push(extent.with_fork(fork).without_details(&deleted));
            }
            Err(error) => {
                logs.push(LogExtent::unreadable(&error));
                failure = Some(error);
            }
        }
    }
    LogExtent::compare(&mut logs, &known, None, now);
    let complete = logs.iter().all(|log| log.fault.is_none());
    if let Some(error) = failure.filter(|_| !is_read) {
        return Err(error.into());
    }
    all.sort_by(|a, b| (a.time, &a.decision).cmp(&(b.time, &b.decision)));
    // Of an old log and its copy, which have no origin, and of a log and its fork, each exchange counts once.
    all.dedup();
    all.retain(|one| {
        let cited = one.case.as_ref().and_then(|case| confidential.get(case.as_str()));
        cited.is_none_or(|case| !case.covers(&one.recipient, &one.purpose, sources.archive.terms()))
    });
    let history = sources.archive.history(&Entity::Subject(person.clone()))?;
    let change = |past: &ledger::PastEvent| {
        let event = past.event.kind.name();
        CHANGES.contains(&event).then_some(LaterChange { event, at: past.event.at })
    };
    let changes: Vec<LaterChange> = history.iter().filter_map(change).collect();
    let disclosures = all.into_iter().map(|one| described(one, sources, &changes)).collect();
    Ok(DisclosureList { complete, logs, disclosures })
}

/// Kinds of events after which a recipient may hold data that are wrong or should not exist.
const CHANGES: [&str; 2] = ["correction", "erasure"];

/// The title in place of a purpose, of an observed exchange that has none.
const NO_PURPOSE: &str = "no purpose that we know was stated";

fn described(
    disclosed: AccountedExchange,
    sources: &ReportSources<'_>,
    changes: &[LaterChange],
) -> ReportedDisclosure {
    let recipient = sources.recipients.iter().find(|known| *known.facts.name == *disclosed.recipient);
    let title = |words: &Vocabulary| {
        words.purposes().term(words.purposes().find(&disclosed.purpose)?).map(|term| term.title.clone())
    };
    let legal_name = recipient.and_then(|known| known.legal_name.as_deref());
    ReportedDisclosure {
        purpose_title: match disclosed.purpose.as_str() {
            "" => NO_PURPOSE.to_owned(),
            name => find_in_packs(sources.packs, title).unwrap_or_else(|| name.to_owned()),
        },
        recipient_name: legal_name.unwrap_or(&disclosed.recipient).to_owned(),
        recipient_address: recipient.and_then(|known| known.address.as_deref()).map(str::to_owned),
        recipient_contact: recipient.and_then(|known| known.contact.as_deref()).map(str::to_owned),
        recipient_kind: recipient.and_then(|known| {
            find_in_packs(sources.packs, |words| words.kinds().term(known.facts.kind).map(titled))
        }),
        recipient_country: recipient.and_then(|known| known.facts.country.clone()),
        changed_since: changes.iter().filter(|change| change.at > disclosed.time).cloned().collect(),
        disclosed,
    }
}

/// Returns the first result among the packs' vocabularies.
fn find_in_packs<T>(packs: &[Arc<Pack>], find: impl Fn(&Vocabulary) -> Option<T>) -> Option<T> {
    packs.iter().find_map(|pack| find(pack.vocabulary()))
}

fn titled(term: &crate::vocabulary::Term) -> TitledTerm {
    TitledTerm { id: term.id.to_string(), title: term.title.clone() }
}

/// Returns the records of processing of all packs without duplicates.
fn processing(packs: &[Arc<Pack>]) -> Vec<Processing> {
    let mut all: Vec<Processing> = Vec::new();
    for pack in packs {
        let words = pack.vocabulary();
        let plain = |id: &String| TitledTerm { id: id.clone(), title: id.clone() };
        let category = |id: &String| {
            let tree = words.categories();
            tree.find(id).and_then(|found| tree.term(found)).map_or_else(|| plain(id), titled)
        };
        let recipient = |id: &String| {
            let tree = words.kinds();
            tree.find(id).and_then(|found| tree.term(found)).map_or_else(|| plain(id), titled)
        };
        let in_full = |text: &str| with_clause_titles(text, pack);
        for activity in &pack.manifest().processing {
            let purposes = words.purposes();
            let purpose = purposes.find(&activity.purpose).and_then(|found| purposes.term(found));
            let basis = pack.manifest().bases.iter().find(|stated| stated.basis == activity.basis);
            let line = Processing {
                purpose: activity.purpose.clone(),
                title: purpose.map_or_else(|| activity.purpose.clone(), |term| term.title.clone()),
                basis: activity.basis.name(),
                basis_title: basis
                    .map_or_else(|| activity.basis.name().to_owned(), |stated| stated.title.clone()),
                categories: activity.categories.iter().map(category).collect(),
                recipients: activity.recipients.iter().map(recipient).collect(),
                // A title may have a semicolon, which separates origins.
                origin: activity
                    .origin
                    .split(';')
                    .map(|origin| in_full(origin).replace(';', ","))
                    .collect::<Vec<_>>()
                    .join(";"),
                retention: in_full(&activity.retention),
                transfers: in_full(&activity.transfers),
            };
            if !all.contains(&line) {
                all.push(line);
            }
        }
    }
    all
}

/// Replaces each id of a clause in a text by the title of the clause: the id means nothing to a person.
fn with_clause_titles(text: &str, pack: &Pack) -> String {
    let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '.';
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|letter| !is_of_id(letter)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(if word == 0 { first.len_utf8() } else { word });
        // An id may stand at the end of a sentence.
        let trimmed = word.trim_end_matches(['.', '-']);
        let found = [word, trimmed].into_iter().filter(|id| is_distinct(id)).find_map(|id| {
            let clause = pack.manifest().clause(id)?;
            Some((&clause.title, word.strip_prefix(id).unwrap_or_default()))
        });
        match found {
            Some((title, tail)) => {
                written.push_str(title);
                written.push_str(tail);
            }
            None => written.push_str(word),
        }
        rest = after;
    }
    written
}

/// True if the id of a clause cannot be a word or a number of prose, such as the 3 of "3 years".
fn is_distinct(id: &str) -> bool {
    let has = |is: fn(&char) -> bool| id.chars().any(|letter| is(&letter));
    id.contains(['-', '.']) || has(char::is_ascii_digit) && has(char::is_ascii_alphabetic)
}

/// Returns the origins of each category according to the record of processing.
fn origins(processing: &[Processing]) -> Vec<DataSource> {
    let mut by_category: BTreeMap<&str, DataSource> = BTreeMap::new();
    for line in processing {
        for TitledTerm { id, title } in &line.categories {
            let source = by_category.entry(id).or_insert_with(|| DataSource {
                category: id.clone(),
                title: title.clone(),
                origins: BTreeSet::new(),
            });
            source.origins.extend(line.origin.split(';').map(|origin| origin.trim().to_owned()));
        }
    }
    by_category.into_values().collect()
}

/// Returns the retention periods of all packs without duplicates.
fn retention(packs: &[Arc<Pack>]) -> Vec<RetentionPeriod> {
    let mut all: Vec<RetentionPeriod> = Vec::new();
    for pack in packs {
        let tree = pack.vocabulary().categories();
        let title = |category: CategoryId| {
            tree.term(category).map_or_else(|| tree.name(category).to_owned(), |term| term.title.clone())
        };
        for (category, period) in &pack.manifest().retention {
            let days = period.as_hours() / 24;
            let kept =
                RetentionPeriod { category: tree.name(*category).to_owned(), title: title(*category), days };
            if !all.contains(&kept) {
                all.push(kept);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use jiff::civil::Date;
    use smallvec::{SmallVec, smallvec};
    use ulid::Ulid;

    use super::*;
    use crate::disclosure::entry::{EntryKind, decode_head};
    use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, Record};
    use crate::disclosure::storage::LogReader;
    use crate::disclosure::{Durability, Log, LogSettings};
    use crate::finding::Source;
    use crate::keys::{Keys, LoggedPerson};
    use crate::ledger::store::memory::MemoryStore;
    use crate::ledger::store::shared::{GatewayDescription, SharedStore as _};
    use crate::ledger::{LogOnRecord, Position, Store as _, VocabularyTerms};
    use crate::vocabulary::{Basis, Form, Namespaces, Operation};

    fn exchange(person: LoggedPerson) -> Record {
        let head = ExchangeHead {
            decision: Ulid::generate(),
            recipient: "acme".into(),
            actor: None,
            purpose: "support".into(),
            declared: None,
            case: None,
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "1".into(),
            position: Position(3),
            stale: false,
            factors: SmallVec::new(),
            mode: ExchangeMode::Enforce,
            would_refuse: None,
            trace: None,
        };
        let category = CategoryDisclosure {
            category: Some("email".into()),
            form: Form::Clear,
            basis: Some(Basis::Consent),
            reason: None,
            rules: Arc::new(["r".into()]),
            clauses: Arc::new(["c".into()]),
            fields: 1,
            would: None,
        };
        let disclosure = Disclosure {
            records: 1,
            subjects: smallvec![person],
            categories: vec![category],
            ..Disclosure::default()
        };
        Record::Exchange(Arc::new(head), disclosure)
    }

    fn open(folder: &tempfile::TempDir, keys: &Keys) -> Log {
        let settings = LogSettings {
            folder: folder.path().join("audit"),
            gateway: "gateway-1".to_owned(),
            durability: Durability::BeforeRelease,
            retention: Duration::MAX,
            origin: None,
            ledger: None,
            known_checkpoints: Vec::new(),
        };
        Log::open(settings, keys).unwrap()
    }

    fn archive(store: &Arc<MemoryStore>) -> Archive {
        let terms = VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::new(Namespaces::default()));
        Archive::new(Arc::clone(store) as _, Arc::new(terms)).unwrap()
    }

    fn sources<'s>(archive: &'s Archive, logs: &'s [LogSource], retired: &'s [String]) -> ReportSources<'s> {
        ReportSources { archive, logs, packs: &[], recipients: &[], retired, namespaces: &[] }
    }

    #[test]
    fn a_report_names_the_namespace_of_the_id_where_there_are_several() {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let (log, archive) = (open(&folder, &keys), archive(&Arc::new(MemoryStore::new())));
        // A log that is not there: a report is written about somebody of whom nothing is known.
        let logs = [log.source().clone(), LogSource::new(&folder.path().join("gone"), &keys)];
        let namespace = |namespace: Option<&str>, names: &[&str]| {
            let names: Vec<Arc<str>> = names.iter().copied().map(Arc::from).collect();
            let sources = ReportSources { namespaces: &names, ..sources(&archive, &logs, &[]) };
            let person = Namespaces::default().reader(namespace).read_recorded("alice");
            let report = report(&person, &sources, Timestamp::UNIX_EPOCH).unwrap().unwrap();
            serde_json::to_value(&report).unwrap().get("namespace").cloned()
        };
        assert_eq!(namespace(None, &["crm", "default"]), Some("default".into()));
        assert_eq!(namespace(Some("crm"), &["crm", "default"]), Some("crm".into()));
        assert_eq!(namespace(Some("crm"), &["default"]), Some("crm".into()), "no longer in use");
        assert_eq!(namespace(None, &["default"]), None);
        assert_eq!(namespace(Some("crm"), &["crm"]), None);
    }

    /// A pack with these clauses.
    fn pack_with(clauses: &[(&str, &str)]) -> Pack {
        let clauses: String = clauses
            .iter()
            .map(|(id, title)| format!("[[clauses]]\nid = {id:?}\ntitle = {title:?}\nkept = \"by-rules\"\n"))
            .collect();
        let manifest = format!(
            "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-05\neffective = 2026-01-05\ncontact = \"c\"\n\
             [bases]\ncontract = \"c\"\n{clauses}"
        );
        let rule = r#"@id("r") @clause("G-6.7d") @basis("contract") permit (principal, action == Action::"hosting",
            resource in Category::"contact");"#;
        let files = [Source::new("pack.toml", manifest), Source::new("rules.cedar", rule)];
        Pack::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
    }

    #[test]
    fn ids_of_clauses_are_replaced_by_their_titles() {
        let pack = pack_with(&[
            ("G-6.7d", "Registration of domains"),
            ("G-6.7", "Sharing"),
            ("P-14", "Notice"),
            ("D1", "Deletion"),
            ("privacy", "Privacy"),
            ("3", "Three"),
        ]);
        for (text, expected) in [
            ("as G-6.7d says", "as Registration of domains says"),
            ("see G-6.7.", "see Sharing."),
            ("see G-6.7, P-14 and D1;", "see Sharing, Notice and Deletion;"),
            ("(P-14)", "(Notice)"),
            ("P-14-", "Notice-"),
            // Longer words and others' ids are no ids of this pack.
            ("G-6.7e, XG-6.7, P-145, P-1", "G-6.7e, XG-6.7, P-145, P-1"),
            ("g-6.7", "g-6.7"),
            // A word or a number of prose is no id, whatever clauses there are.
            ("privacy for 3 years", "privacy for 3 years"),
            ("ü\u{301} – P-14 – 1.5 €", "ü\u{301} – Notice – 1.5 €"),
            ("", ""),
            (".-", ".-"),
        ] {
            assert_eq!(with_clause_titles(text, &pack), expected, "{text}");
        }
    }

    #[test]
    fn an_extent_never_states_more_than_was_read() {
        const REPORTS: usize = 40;
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let (log, archive) = (open(&folder, &keys), archive(&Arc::new(MemoryStore::new())));
        let logs = [log.source().clone()];
        let sources = sources(&archive, &logs, &[]);
        let alice = Namespaces::default().reader(None).read_recorded("alice");
        let person = LoggedPerson::unknown(keys.fingerprints().subject(&alice));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    runtime.block_on(log.append(exchange(person))).unwrap();
                }
            });
            let reports: Vec<_> =
                (0..REPORTS).map(|_| disclosures(&alice, &sources, Timestamp::UNIX_EPOCH).unwrap()).collect();
            is_over.store(true, Ordering::Relaxed);
            let mut reader = LogReader::open(log.folder()).unwrap();
            for DisclosureList { disclosures: disclosed, logs, .. } in reports {
                let size = usize::try_from(logs[0].size).unwrap();
                let stated = reader.entries(0).take(size).filter(|entry| {
                    let (_, entry) = entry.as_ref().unwrap();
                    decode_head(&entry.leaf).unwrap().kind == EntryKind::Exchange
                });
                let stated = stated.count();
                assert!(disclosed.len() >= stated, "{} of {stated} in {size} entries", disclosed.len());
            }
        });
    }

    #[test]
    fn a_report_is_complete_only_with_the_logs_of_all_gateways() {
        let store = Arc::new(MemoryStore::shared_by_gateways());
        let archive = archive(&store);
        let (keys, folder) = (Keys::random().unwrap(), tempfile::tempdir().unwrap());
        let log = open(&folder, &keys);
        let origin = LogExtent::of_folder(log.folder()).unwrap().origin.unwrap();
        let copy = folder.path().join("copy");
        let copied =
            std::process::Command::new("cp").arg("-r").args([log.folder(), &*copy]).status().unwrap();
        assert!(copied.success());
        let logs = [log.folder(), &*copy].map(|folder| LogSource::new(folder, &keys));
        let person = Namespaces::default().reader(None).read_recorded("alice");
        // Returns the faults of a list from so many logs.
        let faults_of = |number: usize, retired: &[String], now| {
            let logs = &logs[..number];
            let sources = sources(&archive, logs, retired);
            let list = disclosures(&person, &sources, now).unwrap();
            let faults: Vec<String> = list.logs.iter().filter_map(|log| log.fault.clone()).collect();
            assert_eq!(list.complete, faults.is_empty());
            faults
        };
        let faults = || faults_of(1, &[], Timestamp::UNIX_EPOCH);
        let gateway = |number: u128| GatewayDescription {
            instance: Ulid::from(number),
            name: Arc::from(format!("gateway-{number}")),
            lease: Duration::from_secs(2),
            version: Arc::from("test"),
            namespaces: [0; 32],
            recipients: Vec::new(),
            packs: Vec::new(),
        };
        let join = |number| {
            store.register(&gateway(number)).unwrap();
            store.renew(Ulid::from(number), Position::default()).unwrap();
        };
        let state = |origin: &str, gateway: &str, size, lost: Option<Timestamp>| {
            let record = LogOnRecord {
                origin: origin.to_owned(),
                gateway: gateway.to_owned(),
                folder: "/data/audit".to_owned(),
                size,
                since: Date::constant(1970, 1, 1),
                until: Timestamp::UNIX_EPOCH,
                retention: 60,
                lost,
                former: false,
            };
            ledger::record_log(store.notice_store(), origin, |_| Some(record.clone())).unwrap();
        };
        join(1);
        assert!(faults()[0].starts_with("the gateway `gateway-1` runs"));
        state(&origin, "gateway-1", 1000, None);
        assert!(faults()[0].contains("1000 entries from 1970-01-01") && faults()[0].contains("up to entry"));
        state(&origin, "gateway-1", 1, None);
        assert_eq!(faults(), [""; 0]);
        join(2);
        assert!(faults()[0].starts_with("the gateway `gateway-2` runs"));
        state("gateway-2/x", "gateway-2", 7, None);
        assert!(faults()[0].contains("`gateway-2/x` of gateway `gateway-2`, 7 entries from 1970-01-01"));
        store.leave(Ulid::from(2_u128)).unwrap();
        let unread = faults();
        assert!(unread.len() == 1 && unread[0].ends_with("list it in `[audit] logs`"), "{unread:?}");
        assert_eq!(faults_of(2, &[], Timestamp::UNIX_EPOCH), unread, "a copy is no other log");
        assert_eq!(faults_of(1, &["gateway-2/x".to_owned()], Timestamp::UNIX_EPOCH), [""; 0]);
        state("gateway-2/x", "gateway-2", 7, Some(Timestamp::UNIX_EPOCH));
        assert!(faults()[0].contains("is lost"));
        let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(61);
        assert_eq!(faults_of(1, &[], later), [""; 0], "it would have been deleted by now");
    }
}
