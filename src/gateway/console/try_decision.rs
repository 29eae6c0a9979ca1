//! *Try a decision*: what a recipient would receive about a person, why, and what would change it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::Deserialize;

use super::Console;
use super::chrome::{Chrome, html};
use super::event_form::MAX_OFFERED;
use super::filters;
use super::hand_facts::HandFacts;
use super::page_rule::may;
use super::problem_page::{FormProblem, PageProblem};
use super::screen::FormOf;
use super::subject::given;
use super::trial::{TrialResult, TriedPerson, TriedRequest};
use super::visitor::Visitor;
use crate::exchange::Snapshot;
use crate::exchange::pages::example_record::example;
use crate::exchange::route::{Recipient, Route};
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::QueryOf;
use crate::vocabulary::SubjectId;

/// The resource of the API that shows the state of a person.
const SUBJECT: &str = "/v1/subjects/{id}";

#[derive(Template)]
#[template(path = "try.html")]
struct TryPage {
    chrome: Chrome,
    form: TryForm,
    /// Names and kinds; empty if there are too many for a selection.
    recipients: Vec<(String, String)>,
    purposes: Vec<String>,
    routes: Vec<(String, String)>,
    /// True if the roles permit to read about people.
    may_name_person: bool,
    /// Why nothing was decided.
    problems: Vec<String>,
    result: Option<TrialResult>,
}

/// The choice of a recipient, a purpose and a route, as links to the page have it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TryQuery {
    recipient: String,
    purpose: String,
    route: String,
}

/// The form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct TryForm {
    recipient: String,
    purpose: String,
    route: String,
    /// The id of a real person; empty for an invented one.
    subject: String,
    namespace: String,
    reason: String,
    record: String,
    country: String,
    consents: String,
    refused: String,
    objections: String,
    relations: String,
    #[serde(rename = "refused-categories")]
    refused_categories: String,
    minor: Option<String>,
    restricted: Option<String>,
    erased: Option<String>,
}

impl TryForm {
    fn facts(&self) -> HandFacts {
        HandFacts {
            country: self.country.clone(),
            consents: self.consents.clone(),
            refused: self.refused.clone(),
            objections: self.objections.clone(),
            relations: self.relations.clone(),
            refused_categories: self.refused_categories.clone(),
            minor: self.minor.clone(),
            restricted: self.restricted.clone(),
            erased: self.erased.clone(),
        }
    }
}

/// Shows the form.
pub(super) async fn form(
    State(console): State<Console>,
    visitor: Visitor,
    QueryOf(TryQuery { recipient, purpose, route }): QueryOf<TryQuery>,
) -> Response {
    let form = TryForm { recipient, purpose, route, ..TryForm::default() };
    console.try_page(&visitor, form, Vec::new(), None)
}

/// Decides, and shows the result below the form. The id of a person is in the body of the request, and in no URL.
pub(super) async fn decide(
    State(console): State<Console>,
    visitor: Visitor,
    FormOf(mut form): FormOf<TryForm>,
) -> Result<Response, PageProblem> {
    let snapshot = console.admin.shared.snapshot();
    let person = match console.real_person(&visitor, &form).await {
        Ok(person) => person,
        Err(problem) => {
            let FormProblem { status, words } = FormProblem::of(problem)?;
            return Ok((status, console.try_page(&visitor, form, vec![words], None)).into_response());
        }
    };
    let now = Timestamp::now();
    let request = match tried_request(&snapshot, &mut form, person, now) {
        Ok(request) => request,
        Err(problems) => return Ok(console.try_page(&visitor, form, problems, None)),
    };
    let shared = Arc::clone(&console.admin.shared);
    let decide = move || request.decide(&shared, &snapshot, now);
    let result = console.memory.threads.compute(decide).await??;
    Ok(console.try_page(&visitor, form, Vec::new(), Some(result)))
}

impl Console {
    /// Returns the person whom the form names, after the act is on record with its reason.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the same person.
    async fn real_person(
        &self,
        visitor: &Visitor,
        form: &TryForm,
    ) -> Result<Option<SubjectId>, AdminProblem> {
        if form.subject.trim().is_empty() {
            return Ok(None);
        }
        let person = self.admin.person(form.subject.trim(), given(&form.namespace).as_deref())?;
        self.record_look(visitor, SUBJECT, &person, given(&form.reason).as_deref()).await?;
        Ok(Some(person))
    }

    fn try_page(
        &self,
        visitor: &Visitor,
        form: TryForm,
        problems: Vec<String>,
        result: Option<TrialResult>,
    ) -> Response {
        let snapshot = self.admin.shared.snapshot();
        let words = snapshot.words();
        let recipient = |recipient: &Arc<Recipient>| {
            (recipient.name.to_string(), words.kinds().name(recipient.in_agreement.kind).to_owned())
        };
        let offered = snapshot.recipients.iter().filter(|_| snapshot.recipients.len() <= MAX_OFFERED);
        let personal = snapshot.routes.iter().filter(|route| route.scrubbing.is_some());
        let purposes = words.purposes().preorder().into_iter();
        let title = if problems.is_empty() { "Try a decision" } else { "Error: Try a decision" };
        html(&TryPage {
            chrome: self.chrome(visitor, title, "/console/try"),
            recipients: offered.map(recipient).collect(),
            purposes: purposes.map(|purpose| words.purposes().name(purpose).to_owned()).collect(),
            routes: personal.map(|route| (route.name.to_string(), route.pattern.clone())).collect(),
            may_name_person: visitor.actor.as_ref().is_some_and(|actor| may(actor, "GET", SUBJECT)),
            form,
            problems,
            result,
        })
    }
}

/// Reads the request from the form. An empty record is replaced by an invented one.
fn tried_request(
    snapshot: &Snapshot,
    form: &mut TryForm,
    person: Option<SubjectId>,
    now: Timestamp,
) -> Result<TriedRequest, Vec<String>> {
    let one = |problem: &str| vec![problem.to_owned()];
    let recipient = snapshot.recipients.iter().find(|known| *known.name == *form.recipient);
    let recipient = recipient.cloned().ok_or_else(|| one("Choose a recipient."))?;
    let route: Option<&Arc<Route>> = snapshot.routes.iter().find(|known| *known.name == *form.route);
    let route = route.cloned().ok_or_else(|| one("Choose a route."))?;
    let scrubbing = route.scrubbing.as_ref().ok_or_else(|| one("The answers of this route pass unread."))?;
    let decisions = snapshot.packs.get(route.pack).and_then(|versions| versions.in_force(now));
    let pack = decisions.ok_or_else(|| one("No version of the route's policy is in force."))?.pack();
    let words = pack.vocabulary();
    let purpose = words.declared_purpose(&form.purpose).map_err(|_| one("Choose a purpose."))?;
    if !route.serves_purpose(words, purpose) {
        return Err(one(
            "The route does not serve this purpose: the request would be refused as `purpose-not-permitted`.",
        ));
    }
    if form.record.trim().is_empty() {
        form.record = serde_json::to_string_pretty(&example(&scrubbing.fields, words)).unwrap_or_default();
    }
    let person = match person {
        Some(person) => TriedPerson::Real(person),
        None => TriedPerson::Invented(Box::new(form.facts().read(pack, now)?)),
    };
    Ok(TriedRequest { recipient, purpose, record: form.record.clone(), person, route })
}
