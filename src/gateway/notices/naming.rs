//! Finds the name by which a recipient knows a person.
//!
//! A notice must not tell a recipient more than it has. So it has the id only where it is certain that the id of this person
//! left in clear or came from the recipient, and the recipient's pseudonym only where that left. It is certain only as far as
//! all places of a route from which the person can come agree, and as the settings were in force when the exchange began. One of
//! them is who the recipient is: another one can have its name now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disclosure::AccountedExchange;
use crate::disclosure::record::CategoryDisclosure;
use crate::exchange::route::Scrubbing;
use crate::exchange::{SharedState, Snapshot};
use crate::notices::{Naming, PersonName};
use crate::scrub::{RecordMapping, SubjectSource};
use crate::vocabulary::{CategoryId, Form, SubjectId, Vocabulary};

/// The setting with the epoch of pseudonyms.
const EPOCH: &str = "epoch";

/// An exchange, and the settings of the gateway that wrote it to its log.
#[derive(Clone, Debug)]
pub(super) struct LoggedExchange {
    pub(super) exchange: AccountedExchange,
    pub(super) naming: Arc<Naming>,
}

/// How the id of a person left a route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LeftAs {
    /// In clear, or the recipient had it before.
    Clear,
    /// As the pseudonym of the id in this category.
    Pseudonym(String),
}

/// The mapping of a route, as far as it tells how ids leave.
#[derive(Clone, Copy)]
struct IdMapping<'m> {
    records: &'m [RecordMapping],
    releases_unclassified: bool,
    words: &'m Vocabulary,
}

impl<'m> IdMapping<'m> {
    fn of(scrubbing: &'m Scrubbing, words: &'m Vocabulary) -> IdMapping<'m> {
        let releases_unclassified = scrubbing.plan.releases_unclassified();
        IdMapping { records: &scrubbing.records, releases_unclassified, words }
    }

    /// Returns a digest of what [`left_as`] reads.
    fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        };
        add(if self.releases_unclassified { "release" } else { "withhold" });
        for record in self.records {
            add("record");
            for source in &record.subjects {
                add("subject");
                add(source.ids.placeholder().namespace().map_or("", |name| name));
                add(&source.path);
            }
            for field in &record.fields {
                add("field");
                add(&field.path);
                for category in &field.categories {
                    add(self.words.categories().name(*category));
                }
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

fn route_setting(route: &str) -> String {
    format!("route {route}")
}

fn recipient_setting(recipient: &str) -> String {
    format!("recipient {recipient}")
}

/// Returns the settings on which the names of people in answers depend.
pub(super) fn settings(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let words = snapshot.words();
    let mapped = snapshot.routes.iter().filter_map(|route| {
        let mapping = IdMapping::of(route.scrubbing.as_ref()?, &words);
        Some((route_setting(&route.name), mapping.digest()))
    });
    let epoch = snapshot.pseudonym_epoch.as_deref().unwrap_or_default();
    let identities =
        snapshot.recipients.iter().map(|known| (recipient_setting(&known.name), known.identity()));
    mapped.chain(identities).chain([(EPOCH.to_owned(), epoch.to_owned())]).collect()
}

/// Returns the name by which a recipient knows a person, given what it received: the id if it has that, or the one pseudonym
/// under which everything about the person left. `None` if neither is certain.
pub(super) fn name(
    shared: &SharedState,
    snapshot: &Snapshot,
    settings: &BTreeMap<String, String>,
    recipient: &str,
    person: &SubjectId,
    exchanges: &[LoggedExchange],
) -> Option<PersonName> {
    let words = snapshot.words();
    let left = exchanges.iter().map(|logged| {
        let route = snapshot.routes.iter().find(|route| *route.name == *logged.exchange.route)?;
        let mapping = IdMapping::of(route.scrubbing.as_ref()?, &words);
        let left = left_as(mapping, person, &logged.exchange)?;
        let is_pseudonym = left != LeftAs::Clear;
        was_in_force(settings, logged, is_pseudonym).then_some(left)
    });
    match only_way(left)? {
        LeftAs::Clear => Some(PersonName::Id(person.id().to_string())),
        // A pseudonym is that of the id as it stood in the answer, which the rule of the namespace may have changed.
        LeftAs::Pseudonym(category) if has_no_rule(shared, person) => {
            let epoch = snapshot.pseudonym_epoch.as_deref();
            let forms = shared.pseudonyms.epoch(epoch).for_recipient(recipient);
            forms.pseudonym_of(&category, person.id()).map(PersonName::Pseudonym)
        }
        LeftAs::Pseudonym(_) => None,
    }
}

/// Returns the way in which all exchanges named the person, or the id if it left in one of them.
fn only_way(exchanges: impl Iterator<Item = Option<LeftAs>>) -> Option<LeftAs> {
    let mut ways: BTreeSet<Option<LeftAs>> = exchanges.collect();
    if ways.contains(&Some(LeftAs::Clear)) {
        return Some(LeftAs::Clear);
    }
    let only = ways.pop_first()?;
    only.filter(|_| ways.is_empty())
}

/// True if the present settings were in force when an exchange began, as far as its gateway has stated.
fn was_in_force(settings: &BTreeMap<String, String>, logged: &LoggedExchange, is_pseudonym: bool) -> bool {
    let route = route_setting(&logged.exchange.route);
    let recipient = recipient_setting(&logged.exchange.recipient);
    let needed = [Some(&*route), Some(&*recipient), is_pseudonym.then_some(EPOCH)];
    needed.into_iter().flatten().all(|setting| {
        let since = settings.get(setting).and_then(|digest| logged.naming.since(setting, digest));
        since.is_some_and(|since| since <= logged.exchange.time)
    })
}

/// True if ids in the person's namespace stand in answers as the ledger has them.
fn has_no_rule(shared: &SharedState, person: &SubjectId) -> bool {
    let mut ruled = shared.ledger.terms().namespaces().with_rules();
    !ruled.any(|namespace| namespace == person.namespace())
}

/// Returns how the person's id left in an exchange, if every source from which the person can come says the same.
fn left_as(mapping: IdMapping<'_>, person: &SubjectId, exchange: &AccountedExchange) -> Option<LeftAs> {
    let sources =
        mapping.records.iter().flat_map(|record| record.subjects.iter().map(move |source| (record, source)));
    let own = sources.filter(|(_, source)| source.ids.placeholder().namespace() == person.namespace());
    let mut ways: BTreeSet<Option<LeftAs>> =
        own.map(|(record, source)| source_left_as(mapping, record, source, exchange)).collect();
    let only = ways.pop_first()?;
    only.filter(|_| ways.is_empty())
}

fn source_left_as(
    mapping: IdMapping<'_>,
    record: &RecordMapping,
    source: &SubjectSource,
    exchange: &AccountedExchange,
) -> Option<LeftAs> {
    if source.path.starts_with('{') {
        // The recipient named the person in the path.
        return Some(LeftAs::Clear);
    }
    // A category may have left in several forms: of one person in clear, of another one not. Only a single form is certain.
    let only_form = |category: &str| -> Option<&str> {
        let left = exchange.categories.iter().chain(&exchange.not_personal);
        let left = left.filter(|left| left.category == category);
        let mut forms: BTreeSet<&str> = left.map(|left| left.form.as_str()).collect();
        let form = forms.pop_first().filter(|_| !exchange.withheld.contains(category))?;
        forms.is_empty().then_some(form)
    };
    let Some(categories) = classification(record, &source.path) else {
        let is_clear = only_form(CategoryDisclosure::UNCLASSIFIED) == Some(Form::Clear.name());
        return (mapping.releases_unclassified && is_clear).then_some(LeftAs::Clear);
    };
    let names: Vec<&str> =
        categories.iter().map(|category| mapping.words.categories().name(*category)).collect();
    let is = |form: Form| names.iter().all(|category| only_form(category) == Some(form.name()));
    match names.as_slice() {
        [] => None,
        _ if is(Form::Clear) => Some(LeftAs::Clear),
        [category] if is(Form::Pseudonymised) => Some(LeftAs::Pseudonym((*category).to_owned())),
        _ => None,
    }
}

/// Returns the categories of the node that a path selects: those of the nearest classified ancestor, or its own.
fn classification<'r>(record: &'r RecordMapping, path: &str) -> Option<&'r [CategoryId]> {
    let is_above = |field: &str| {
        path.strip_prefix(field)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
    };
    let above = record.fields.iter().filter(|field| is_above(&field.path));
    above.max_by_key(|field| field.path.len()).map(|field| field.categories.as_slice())
}

#[cfg(test)]
mod tests;
