//! One route: what each field is, and to whom it can leave.

use std::cmp::Reverse;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use jiff::Timestamp;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::counted::counted_by;
use super::filters;
use super::problem_page::PageProblem;
use super::routes::{methods, mode};
use super::unclassified::UnclassifiedView;
use super::visitor::Visitor;
use crate::decision::{AdmissionRequest, LegalReference, UnknownSubject};
use crate::exchange::ledger_policy::recipient_facts;
use crate::exchange::route::{MappedField, OnWithheld, Recipient, Route, RouteRequest, Scrubbing};
use crate::exchange::{SharedState, Snapshot};
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};
use crate::scrub::SubjectSource;
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, Vocabulary};

/// Maximum number of recipients and purposes that are evaluated for a page.
const MAX_EVALUATED: usize = 400;

#[derive(Template)]
#[template(path = "route.html")]
struct RoutePage {
    chrome: Chrome,
    view: RouteView,
    shows_decisions: bool,
}

/// A route as the page shows it.
#[derive(Debug)]
struct RouteView {
    name: String,
    methods: String,
    pattern: String,
    upstream: String,
    mode: StateChip,
    /// For an observed route: category, reason and number of fields that enforcing would have withheld.
    would_withhold: Vec<(String, String, u64)>,
    pack: String,
    purposes: Option<Vec<String>>,
    /// Settings of the mapping, in words.
    settings: Vec<(&'static str, String)>,
    record_sets: Vec<RecordSetView>,
    fields: Vec<MappedFieldLine>,
    is_personal: bool,
    unclassified: UnclassifiedView,
    /// True if not every recipient was evaluated.
    is_cut: bool,
}

/// A record set of the mapping.
#[derive(Debug)]
struct RecordSetView {
    path: String,
    subjects: String,
    controller: String,
}

/// A mapped field, and who can receive it.
#[derive(Debug)]
struct MappedFieldLine {
    path: String,
    categories: String,
    leaves: Vec<LeavesTo>,
}

/// The recipients that can receive a field for a purpose, in the most revealing form.
#[derive(Debug, PartialEq, Eq)]
struct LeavesTo {
    form: &'static str,
    /// Names of recipients, each with its purposes.
    to: Vec<(Arc<str>, Vec<String>)>,
}

/// Shows a route.
pub(super) async fn route(
    State(console): State<Console>,
    visitor: Visitor,
    PathText(name): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let shared = Arc::clone(&console.admin.shared);
    let snapshot = shared.snapshot();
    let route = snapshot.routes.iter().find(|route| *route.name == *name).cloned();
    let route = route.ok_or_else(AdminProblem::not_found)?;
    // Each recipient and purpose is an evaluation of the policy.
    let evaluate = move || RouteView::of(&shared, &snapshot, &route, Timestamp::now());
    let view = console.memory.threads.compute(evaluate).await?;
    Ok(html(&RoutePage {
        chrome: console.chrome(&visitor, format!("Route {name}"), "/console/routes"),
        view,
        shows_decisions: visitor.may_see("/console/decisions"),
    }))
}

impl RouteView {
    fn of(shared: &SharedState, snapshot: &Snapshot, route: &Route, now: Timestamp) -> RouteView {
        let words = snapshot.words();
        let version = snapshot.packs.get(route.pack).and_then(|versions| versions.in_force(now));
        let mapping = route.mapping();
        let (forms, is_cut) = possible_forms(shared, snapshot, route, now);
        let name_of = |purpose: &PurposeId| words.purposes().name(*purpose).to_owned();
        let fields = mapping.map_or(&[][..], |mapping| &mapping.fields);
        RouteView {
            name: route.name.to_string(),
            methods: methods(route),
            pattern: route.pattern.clone(),
            upstream: route.upstream.to_string(),
            mode: mode(route, now),
            would_withhold: would_withhold(shared, route),
            pack: version.map(|version| version.pack().manifest().title.clone()).unwrap_or_default(),
            purposes: route.purposes.as_ref().map(|purposes| purposes.iter().map(name_of).collect()),
            settings: mapping.map(settings).unwrap_or_default(),
            record_sets: mapping.map(record_sets).unwrap_or_default(),
            fields: fields.iter().map(|field| field_line(field, &words, &forms)).collect(),
            is_personal: route.scrubbing.is_some(),
            unclassified: UnclassifiedView::of(route),
            is_cut,
        }
    }
}

/// Returns what enforcing would have withheld since the start, the most frequent first.
fn would_withhold(shared: &SharedState, route: &Route) -> Vec<(String, String, u64)> {
    let counted = counted_by(&shared.metrics.would_withhold, ["route", "category", "reason"]);
    let own = counted.into_iter().filter(|([of, _, _], count)| **of == *route.name && *count > 0);
    let mut lines: Vec<_> = own.map(|([_, category, reason], count)| (category, reason, count)).collect();
    lines.sort_by_key(|(_, _, count)| Reverse(*count));
    lines
}

/// Returns the settings that decide about what the mapping does not say.
fn settings(mapping: &Scrubbing) -> Vec<(&'static str, String)> {
    let unclassified = match mapping.plan.releases_unclassified() {
        true => "leave, and are on record as unclassified",
        false => "are removed",
    };
    let unknown = match mapping.unknown_subject {
        UnknownSubject::Withhold => "their data are withheld",
        UnknownSubject::NoFacts => "they count as people without any choice",
    };
    let withheld = match mapping.on_withheld {
        OnWithheld::Strip => "is removed, and the rest leaves",
        OnWithheld::Deny { .. } => "has the whole answer refused",
    };
    vec![
        ("unclassified fields", unclassified.to_owned()),
        ("people whom the ledger does not know", unknown.to_owned()),
        ("what may not leave", withheld.to_owned()),
    ]
}

fn record_sets(mapping: &Scrubbing) -> Vec<RecordSetView> {
    let paths = |sources: &mut dyn Iterator<Item = &SubjectSource>| {
        sources.map(|source| source.path.as_str()).collect::<Vec<_>>().join(", ")
    };
    let view = |set: &crate::scrub::RecordMapping| RecordSetView {
        path: set.path.clone(),
        subjects: paths(&mut set.subjects.iter()),
        controller: paths(&mut set.controller.iter()),
    };
    mapping.records.iter().map(view).collect()
}

/// The most revealing form of each category for one recipient and purpose.
struct PossibleForms {
    recipient: Arc<str>,
    purpose: String,
    form: Box<dyn Fn(CategoryId) -> Form>,
}

/// Returns the forms for each recipient and each of its purposes that the route serves; also true if there are more than are
/// evaluated.
fn possible_forms(
    shared: &SharedState,
    snapshot: &Snapshot,
    route: &Route,
    now: Timestamp,
) -> (Vec<PossibleForms>, bool) {
    let Some(decisions) = snapshot.packs.get(route.pack).and_then(|versions| versions.in_force(now)) else {
        return (Vec::new(), false);
    };
    let words = decisions.pack().vocabulary();
    let method = route.default_method();
    let served = |recipient: &Arc<Recipient>| {
        let usable = recipient.usable_purposes(None, words);
        let usable = usable.into_iter().filter(|purpose| route.serves_purpose(words, *purpose));
        usable.map(|purpose| (Arc::clone(recipient), purpose)).collect::<Vec<_>>()
    };
    let mut asked = snapshot.recipients.iter().flat_map(served);
    let mut forms = Vec::new();
    for (recipient, purpose) in asked.by_ref().take(MAX_EVALUATED) {
        let request = RouteRequest {
            recipient: recipient_facts(&shared.ledger, &recipient, now),
            purpose,
            method: &method,
            exporter_region: &snapshot.exporter_region,
            // Forms that can leave at best, under a case that covers everything where one is needed.
            legal_reference: LegalReference::widest(words, recipient.in_agreement.kind, purpose),
        };
        let Ok(request) = route.admission_request(words, request) else { continue };
        // The answer of every method is judged as a disclosure.
        let request = AdmissionRequest { operation: Operation::Disclose, ..request };
        let Ok(best) = decisions.best_forms(&request) else { continue };
        let known: Vec<(CategoryId, Form)> =
            words.categories().ids().map(|category| (category, best(category))).collect();
        let form = move |category| {
            known.iter().find(|(of, _)| *of == category).map_or(Form::Removed, |(_, form)| *form)
        };
        forms.push(PossibleForms {
            recipient: Arc::clone(&recipient.name),
            purpose: words.purposes().name(purpose).to_owned(),
            form: Box::new(form),
        });
    }
    (forms, asked.next().is_some())
}

fn field_line(field: &MappedField, words: &Vocabulary, forms: &[PossibleForms]) -> MappedFieldLine {
    let names: Vec<&str> =
        field.categories.iter().map(|category| words.categories().name(*category)).collect();
    let is_about_nobody =
        field.without_subject && field.categories.iter().any(|category| words.has_owner(*category));
    let mut leaves: Vec<LeavesTo> = Vec::new();
    for PossibleForms { recipient, purpose, form } in forms.iter().filter(|_| !is_about_nobody) {
        // The categories of a field leave together, in the strictest form.
        let form = field.categories.iter().map(|category| form(*category)).max().unwrap_or(Form::Removed);
        if form == Form::Removed {
            continue;
        }
        let at = leaves.iter().position(|known| known.form == form.name()).unwrap_or(leaves.len());
        if at == leaves.len() {
            leaves.push(LeavesTo { form: form.name(), to: Vec::new() });
        }
        let Some(LeavesTo { to, .. }) = leaves.get_mut(at) else { continue };
        match to.iter_mut().find(|(known, _)| known == recipient) {
            Some((_, purposes)) => purposes.push(purpose.clone()),
            None => to.push((Arc::clone(recipient), vec![purpose.clone()])),
        }
    }
    MappedFieldLine { path: field.path.clone(), categories: names.join(" + "), leaves }
}
