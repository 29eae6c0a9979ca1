//! Everything that a recipient receives at best: by route and purpose, the fields and their forms, with a sample of invented
//! values.
//!
//! It holds no secret, nothing about another recipient, and no name that only the operator uses, such as that of a route.

use std::sync::Arc;

use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use super::example_record::example;
use super::purposes::request_at_best;
use crate::decision::{
    AdmissionRequest, Admitted, Decisions, LegalReference, OperationForecast, Permit, RecipientFacts,
};
use crate::disclosure::record::ExchangeMode;
use crate::exchange::route::{MappedField, QueryParameter, Recipient, Route, Scrubbing};
use crate::exchange::{Snapshot, observe};
use crate::scrub::{Framing, JudgedRecord, Pseudonyms, RecordMapping, RecordPolicy, Scrubber};
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, SubjectId};

/// A route as the recipient sees it for purposes with the same result.
#[derive(Debug)]
pub(super) struct ReceivedRoute<'s> {
    pub(super) route: &'s Route,
    pub(super) methods: Vec<&'s Method>,
    /// The purposes, in the order of the vocabulary. Empty: everything leaves while the route is observed, and nothing
    /// afterwards.
    pub(super) purposes: Vec<PurposeId>,
    pub(super) result: RouteResult,
    /// True until the last day on which the route is observed.
    pub(super) is_observed: bool,
}

/// The content of the answers of a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RouteResult {
    /// `None`: the answers pass unread.
    pub(super) fields: Option<Vec<FieldResult>>,
    /// The parameters of the query that pass, each with its values if they are listed.
    pub(super) query: Vec<(String, Vec<String>)>,
    /// An invented answer: of the API, and as the recipient receives it.
    pub(super) sample: Option<Sample>,
    /// True if an answer with a withheld field is refused.
    pub(super) is_whole: bool,
    /// True if something leaves under a registered case only.
    pub(super) needs_case: bool,
    /// True if fields that the mapping lacks leave; `None`: there are no such fields.
    pub(super) releases_unclassified: Option<bool>,
}

/// A field and its most revealing form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FieldResult {
    pub(super) path: String,
    pub(super) categories: Vec<CategoryId>,
    pub(super) form: Form,
    /// True if it depends on the person, who can only have it withheld or made less exact.
    pub(super) depends: bool,
}

/// An invented answer before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) before: String,
    pub(super) after: String,
}

/// Returns the routes that the recipient can use, for the purposes that are wanted. Purposes with the same result share a view.
pub(super) fn routes<'s>(
    snapshot: &'s Snapshot,
    recipient: &'s Recipient,
    is_wanted: impl Fn(PurposeId) -> bool,
    now: Timestamp,
) -> Vec<ReceivedRoute<'s>> {
    let facts = hypothetical_facts(recipient);
    let mut views: Vec<ReceivedRoute<'s>> = Vec::new();
    for route in snapshot.routes.iter() {
        let decisions = snapshot.packs.get(route.pack).and_then(|versions| versions.in_force(now));
        let Some(decisions) = decisions else { continue };
        let is_observed = observe::mode(route, recipient, decisions, now) == ExchangeMode::Observe;
        let asking = RouteQuestion { snapshot, facts: &facts, route, decisions };
        let first = views.len();
        for purpose in decisions.pack().vocabulary().purposes().preorder() {
            if !is_wanted(purpose) {
                continue;
            }
            let Some((methods, result)) = asking.answer(purpose) else { continue };
            let of_route = views.iter_mut().skip(first);
            let mut same = of_route.filter(|view| view.methods == methods && view.result == result);
            match same.next() {
                Some(view) => view.purposes.push(purpose),
                None => {
                    views.push(ReceivedRoute {
                        route,
                        methods,
                        purposes: vec![purpose],
                        result,
                        is_observed,
                    });
                }
            }
        }
        if is_observed && views.len() == first {
            let methods = route.methods.iter().collect();
            let result = RouteResult::default();
            views.push(ReceivedRoute { route, methods, purposes: Vec::new(), result, is_observed });
        }
    }
    views
}

/// Returns the recipient's facts as if it were not suspended and its agreement had not ended: the page says both itself.
fn hypothetical_facts(recipient: &Recipient) -> Arc<RecipientFacts> {
    let facts =
        if recipient.agreement.is_some() { &recipient.in_agreement } else { &recipient.without_agreement };
    Arc::new(RecipientFacts { suspended: false, ..RecipientFacts::clone(facts) })
}

/// The question for which purposes a recipient can use a route.
struct RouteQuestion<'s, 'q> {
    snapshot: &'s Snapshot,
    facts: &'q Arc<RecipientFacts>,
    route: &'s Route,
    decisions: &'q Decisions,
}

impl<'s> RouteQuestion<'s, '_> {
    fn answer(&self, purpose: PurposeId) -> Option<(Vec<&'s Method>, RouteResult)> {
        let RouteQuestion { route, decisions, .. } = *self;
        let pack = decisions.pack();
        let classes = route.classes();
        let mut foresight = OperationForecast::new(pack);
        let mut works = |method: &&Method| {
            let request = self.request(purpose, method);
            request.is_some_and(|request| {
                foresight.carries_out(&request, classes, route.path_names()) == Ok(true)
            })
        };
        let methods: Vec<&Method> = route.methods.iter().filter(|method| works(method)).collect();
        let request = self.request(purpose, methods.first()?)?;
        // The answer of every method is judged as a disclosure.
        let answer = AdmissionRequest { operation: Operation::Disclose, ..request };
        let admitted = decisions.admit_once(&answer, classes).ok()?;
        let needs_case = answer.legal_reference != LegalReference::None;
        let scrubbing = route.scrubbing.as_ref();
        let result = RouteResult {
            fields: scrubbing.map(|scrubbing| fields(scrubbing, &admitted)),
            query: query(route, &admitted),
            sample: scrubbing
                .filter(|scrubbing| can_be_shown(route, scrubbing))
                .and_then(|scrubbing| sample(scrubbing, &admitted)),
            is_whole: scrubbing.is_some_and(Scrubbing::is_all_or_nothing),
            needs_case,
            // A case names categories, so it covers no field that has none.
            releases_unclassified: scrubbing
                .filter(|scrubbing| scrubbing.whole_body.is_none())
                .map(|scrubbing| scrubbing.plan.releases_unclassified() && !needs_case),
        };
        Some((methods, result))
    }

    /// Returns the question to the policy; `None` if the route does not serve the purpose.
    fn request(&self, purpose: PurposeId, method: &Method) -> Option<AdmissionRequest> {
        let RouteQuestion { snapshot, facts, route, decisions } = *self;
        request_at_best(snapshot, facts, route, decisions.pack().vocabulary(), (purpose, method))
    }
}

fn fields(scrubbing: &Scrubbing, admitted: &Admitted) -> Vec<FieldResult> {
    let words = admitted.pack().vocabulary();
    let result = |field: &MappedField| {
        let is_somebodys = field.categories.iter().any(|category| words.has_owner(*category));
        let form = match field.without_subject && is_somebodys {
            true => Form::Removed,
            false => field
                .categories
                .iter()
                .map(|category| admitted.best(*category))
                .max()
                .unwrap_or(Form::Removed),
        };
        let form = scrubbing.form_left(form);
        FieldResult {
            path: field.path.clone(),
            categories: field.categories.clone(),
            form,
            depends: is_somebodys && form != Form::Removed,
        }
    };
    scrubbing.fields.iter().map(result).collect()
}

/// Returns the parameters that pass, in the order of their names.
fn query(route: &Route, admitted: &Admitted) -> Vec<(String, Vec<String>)> {
    let is_seen =
        |categories: &[CategoryId]| categories.iter().all(|category| admitted.best(*category) == Form::Clear);
    let passing = route.query.iter().filter_map(|(name, parameter)| match parameter {
        QueryParameter::Any(categories) => is_seen(categories).then(|| (name.clone(), Vec::new())),
        QueryParameter::Listed(values) => {
            let seen = values.iter().filter(|(_, categories)| is_seen(categories));
            let mut seen: Vec<String> = seen.map(|(value, _)| value.clone()).collect();
            seen.sort_unstable();
            (!seen.is_empty()).then(|| (name.clone(), seen))
        }
    });
    let mut passing: Vec<(String, Vec<String>)> = passing.collect();
    passing.sort_unstable();
    passing
}

/// True if an invented answer has the shape of a true one: one JSON text, whose strings are not JSON themselves, and whose
/// records are not rows with columns.
fn can_be_shown(route: &Route, scrubbing: &Scrubbing) -> bool {
    let is_plain = |record: &RecordMapping| {
        record.columns.is_none() && record.fields.iter().all(|field| !field.embedded)
    };
    scrubbing.whole_body.is_none()
        && route.media_types.framing != Some(Framing::Rows)
        && scrubbing.records.iter().all(is_plain)
}

/// Returns an invented answer, and what the scrubber leaves of it. `None` if no field has a plain path.
fn sample(scrubbing: &Scrubbing, admitted: &Admitted) -> Option<Sample> {
    let before = example(&scrubbing.fields, admitted.pack().vocabulary());
    if before.is_null() {
        return None;
    }
    // The pseudonyms are invented, too: the key is known.
    let forms = Pseudonyms::new([0; 32]).for_recipient("");
    let plan = Arc::clone(&scrubbing.plan);
    let mut scrubber = Scrubber::for_trial(plan, forms, scrubbing.limits, Framing::default());
    let mut policy = SamplePolicy { scrubbing, admitted };
    let mut left = Vec::new();
    scrubber.feed(before.to_string().as_bytes(), &mut policy, &mut left).ok()?;
    scrubber.finish(&mut policy, &mut left).ok()?;
    let after = match serde_json::from_slice::<Value>(&left) {
        Ok(after) => serde_json::to_string_pretty(&after).ok()?,
        Err(_) => String::new(),
    };
    Some(Sample { before: serde_json::to_string_pretty(&before).ok()?, after })
}

/// Releases of an invented record as much as could leave about anybody.
struct SamplePolicy<'s> {
    scrubbing: &'s Scrubbing,
    admitted: &'s Admitted,
}

impl RecordPolicy for SamplePolicy<'_> {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let set = self.scrubbing.records.get(record.set);
        // The example need not hold the id of a person.
        let is_about_somebody = set.is_some_and(|set| !set.subjects.is_empty())
            || record.subjects.is_some_and(|ids: &[SubjectId]| !ids.is_empty());
        if is_about_somebody { self.admitted.most_revealing() } else { self.admitted.no_subject() }
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, _: &Permit, _: &[u32]) {}

    fn account_outside(&mut self, _: &Permit, _: &[u32]) {}
}

impl RouteResult {
    /// True if nothing can leave but containers.
    pub(super) fn is_empty(&self) -> bool {
        let withheld = |fields: &Vec<FieldResult>| fields.iter().all(|field| field.form == Form::Removed);
        self.fields.as_ref().is_some_and(withheld)
    }
}
