//! Finds the name by which a recipient knows a person.
//!
//! A notice must not tell a recipient more than it has. So it has the id only where the id left in clear or came from the
//! recipient, and the recipient's pseudonym only where that left.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::disclosure::AccountedExchange;
use crate::exchange::route::{Route, Scrubbing};
use crate::exchange::{SharedState, Snapshot};
use crate::notices::PersonName;
use crate::scrub::{RecordMapping, SubjectSource};
use crate::vocabulary::{CategoryId, Form, SubjectId, Vocabulary};

/// How the id of a person left a route.
enum LeftAs {
    /// In clear, or the recipient had it before.
    Clear,
    /// As the pseudonym of the id in this category.
    Pseudonym(String),
}

/// Returns the name by which a recipient knows a person, given what it received. `None` if there is none, or if the routes of
/// the configuration are not those of the exchanges any more.
pub(super) fn name(
    shared: &SharedState,
    snapshot: &Snapshot,
    recipient: &str,
    person: &SubjectId,
    exchanges: &[AccountedExchange],
) -> Option<PersonName> {
    let mut pseudonym = None;
    for exchange in exchanges {
        let Some(route) = snapshot.routes.iter().find(|route| *route.name == *exchange.route) else {
            continue;
        };
        match left_as(snapshot, route, person, exchange) {
            Some(LeftAs::Clear) => return Some(PersonName::Id(person.id().to_string())),
            Some(LeftAs::Pseudonym(category)) => pseudonym = Some(category),
            None => {}
        }
    }
    // A pseudonym is that of the id as it stood in the answer, which the rule of the namespace may have changed.
    let is_exact = has_no_rule(shared, person);
    let category = pseudonym.filter(|_| is_exact)?;
    let epoch = snapshot.pseudonym_epoch.as_deref();
    let forms = shared.pseudonyms.epoch(epoch).for_recipient(recipient);
    forms.pseudonym_of(&category, person.id()).map(PersonName::Pseudonym)
}

/// True if ids in the person's namespace stand in answers as the ledger has them.
fn has_no_rule(shared: &SharedState, person: &SubjectId) -> bool {
    let mut ruled = shared.ledger.terms().namespaces().with_rules();
    !ruled.any(|namespace| namespace == person.namespace())
}

/// Returns how the person's id left in an exchange.
fn left_as(
    snapshot: &Snapshot,
    route: &Arc<Route>,
    person: &SubjectId,
    exchange: &AccountedExchange,
) -> Option<LeftAs> {
    let words = snapshot.words();
    let scrubbing = route.scrubbing.as_ref()?;
    let sources = scrubbing
        .records
        .iter()
        .flat_map(|record| record.subjects.iter().map(move |source| (record, source)));
    let mut pseudonym = None;
    for (record, source) in
        sources.filter(|(_, source)| source.ids.placeholder().namespace() == person.namespace())
    {
        match source_left_as(scrubbing, record, source, &words, exchange) {
            Some(LeftAs::Clear) => return Some(LeftAs::Clear),
            other => pseudonym = pseudonym.or(other),
        }
    }
    pseudonym
}

fn source_left_as(
    scrubbing: &Scrubbing,
    record: &RecordMapping,
    source: &SubjectSource,
    words: &Vocabulary,
    exchange: &AccountedExchange,
) -> Option<LeftAs> {
    if source.path.starts_with('{') {
        // The recipient named the person in the path.
        return Some(LeftAs::Clear);
    }
    let Some(categories) = classification(record, &source.path) else {
        return scrubbing.plan.releases_unclassified().then_some(LeftAs::Clear);
    };
    let personal: Vec<&str> = categories
        .iter()
        .filter(|category| words.has_owner(**category))
        .map(|category| words.categories().name(*category))
        .collect();
    // A category may have left in several forms: of one person in clear, of another one not. Only a single form is certain.
    let only_form = |category: &str| -> Option<String> {
        let forms: BTreeSet<&str> = exchange
            .categories
            .iter()
            .filter(|left| left.category == category)
            .map(|left| left.form.as_str())
            .collect();
        let mut forms = forms.into_iter();
        let form = forms.next().filter(|_| !exchange.withheld.contains(category))?;
        forms.next().is_none().then(|| form.to_owned())
    };
    let forms: Vec<Option<String>> = personal.iter().map(|category| only_form(category)).collect();
    let is = |form: Form| forms.iter().all(|left| left.as_deref() == Some(form.name()));
    match personal.as_slice() {
        _ if is(Form::Clear) => Some(LeftAs::Clear),
        [category] if is(Form::Pseudonymised) && categories.len() == 1 => {
            Some(LeftAs::Pseudonym((*category).to_owned()))
        }
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
