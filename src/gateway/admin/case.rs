//! Disclosure cases: registered and listed. Approving and ending one are events.
//!
//! A case names people, so who reads a case is on record.

use std::ops::Range;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::AdminApi;
use super::act::{ActObject, PendingAct, check_reason};
use super::event::{Acknowledged, EventBody, EventQuery};
use super::openapi::problems::{EventProblems, PersonProblems, StoredPeopleProblems};
use super::openapi::{IdempotencyHeader, PositionHeader};
use super::problem::AdminProblem;
use super::request::{CasePath, PathText, QueryOf, ReasonQuery};
use crate::ledger::{self, Archive, Entity};
use crate::vocabulary::SubjectId;

/// The member of a case that names the people.
const SUBJECTS: &str = "subjects";

/// A registered case. Its people are shown by [`AdminApi::look_at_people`] alone.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct RegisteredCase {
    /// All members but `subjects`.
    pub(in crate::gateway) outline: Value,
    people: Vec<Value>,
}

impl RegisteredCase {
    fn of(mut case: Map<String, Value>) -> RegisteredCase {
        let people = match case.remove(SUBJECTS) {
            Some(Value::Array(people)) => people,
            _ => Vec::new(),
        };
        RegisteredCase { outline: Value::Object(case), people }
    }

    /// Returns the number of people that the case names.
    pub(in crate::gateway) fn people_count(&self) -> usize {
        self.people.len()
    }
}

/// Lists all disclosure cases.
#[utoipa::path(
    get, path = "/v1/cases", operation_id = "listCases", tag = "cases",
    params(ReasonQuery, PositionHeader),
    responses((status = 200, description = "The cases, ordered by id.", body = ref("#/components/schemas/Cases")), StoredPeopleProblems)
)]
pub(super) async fn cases(
    State(admin): State<AdminApi>,
    act: PendingAct,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    admin.record_act(&act, ActObject::Worklist, query.reason.as_deref()).await?;
    let cases = admin.read_ledger(|archive| archive.cases(Timestamp::now())).await?;
    Ok(Json(cases.into_iter().map(Value::Object).collect()))
}

/// Returns one disclosure case.
#[utoipa::path(
    get, path = "/v1/cases/{id}", operation_id = "getCase", tag = "cases",
    params(CasePath, ReasonQuery, PositionHeader),
    responses((status = 200, description = "The case.", body = ref("#/components/schemas/Case")), PersonProblems)
)]
pub(super) async fn case(
    State(admin): State<AdminApi>,
    act: PendingAct,
    PathText(id): PathText,
    QueryOf(query): QueryOf<ReasonQuery>,
) -> Result<Json<Value>, AdminProblem> {
    let case = admin.case_of(&id).await?;
    let people = admin.look_at_people(&act, &case, 0..case.people_count(), query.reason.as_deref()).await?;
    let people = Value::from(people.to_vec());
    let mut outline = case.outline;
    if let Some(members) = outline.as_object_mut() {
        members.insert(SUBJECTS.to_owned(), people);
    }
    Ok(Json(outline))
}

/// Registers a disclosure case. If the body has no id, one is made.
#[utoipa::path(
    post, path = "/v1/cases", operation_id = "registerCase", tag = "cases",
    params(EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/CaseRegistration"),
    responses((status = 200, description = "The case is registered.", body = ref("#/components/schemas/CaseAcknowledgement")), EventProblems)
)]
pub(super) async fn register(
    State(admin): State<AdminApi>,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    admin.register_case(&query, event).await
}

/// Records that somebody approves of a disclosure case: the actor that is signed in, or else the `approver` of the body.
#[utoipa::path(
    post, path = "/v1/cases/{id}/approve", operation_id = "approveCase", tag = "cases",
    params(CasePath, EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/Approval"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn approve(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    admin.approve_case(&id, &query, event).await
}

/// Ends a disclosure case.
#[utoipa::path(
    post, path = "/v1/cases/{id}/end", operation_id = "endCase", tag = "cases",
    params(CasePath, EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/CaseEnd"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn end(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    admin.end_case(&id, &query, event).await
}

impl AdminApi {
    /// Returns a case.
    pub(in crate::gateway) async fn case_of(&self, id: &str) -> Result<RegisteredCase, AdminProblem> {
        let case = self.cases_of(vec![ledger::case_id(id)?]).await?.pop().flatten();
        case.ok_or_else(AdminProblem::not_found)
    }

    /// Returns some of the people of a case, after the look at each of them is on record.
    ///
    /// # Errors
    /// An [`AdminProblem`] as the API's for the case without a reason, or if the looks cannot be recorded.
    pub(in crate::gateway) async fn look_at_people<'c>(
        &self,
        act: &PendingAct,
        case: &'c RegisteredCase,
        range: Range<usize>,
        reason: Option<&str>,
    ) -> Result<&'c [Value], AdminProblem> {
        let people = case.people.get(range).unwrap_or_default();
        let ids: Vec<SubjectId> = people.iter().map(|person| self.person_of_case(person)).collect();
        // A case without people names nobody, and its use is an act all the same.
        check_reason(&act.actor, ActObject::People, reason)?;
        self.record_looks(act, ids.iter().map(ActObject::Person), reason).await?;
        Ok(people)
    }

    /// Returns a person of a case. The id may predate the present rules for ids.
    fn person_of_case(&self, person: &Value) -> SubjectId {
        let member = |name: &str| person.get(name).and_then(Value::as_str);
        let id = person.as_str().or_else(|| member("id")).unwrap_or_default();
        self.recorded_person(id, member("namespace"))
    }

    /// Returns the cases of these ids; `None` for an id under which none is registered.
    pub(in crate::gateway) async fn cases_of(
        &self,
        ids: Vec<Arc<str>>,
    ) -> Result<Vec<Option<RegisteredCase>>, AdminProblem> {
        let now = Timestamp::now();
        let read = move |archive: &Archive| {
            ids.iter().map(|id| archive.case(id, now)).collect::<Result<Vec<_>, _>>()
        };
        let cases = self.read_ledger(read).await?;
        Ok(cases.into_iter().map(|case| case.map(RegisteredCase::of)).collect())
    }

    /// Registers a case. The acknowledgement has its id.
    pub(in crate::gateway) async fn register_case(
        &self,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let fresh = fresh_id(event.key.as_deref());
        let (entity, draft) = ledger::parse_case(&event.body, fresh, self.shared.ledger.terms())?;
        let case = match &entity {
            Entity::Case(id) => Value::from(&**id),
            Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => Value::Null,
        };
        let Json(mut acknowledgement) = self.append(query, event, &entity, draft).await?;
        acknowledgement.insert("case".to_owned(), case);
        Ok(Json(acknowledgement))
    }

    /// Records an approval: by the actor that is signed in, or else by the `approver` of the body.
    pub(in crate::gateway) async fn approve_case(
        &self,
        id: &str,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let case = Entity::Case(ledger::case_id(id)?);
        let body: &[u8] = if event.body.is_empty() { b"{}" } else { &event.body };
        let signed_in = event.actor.name().map(|name| &**name);
        let draft = ledger::parse_approval(body, signed_in, self.shared.ledger.terms())?;
        self.append(query, event, &case, draft).await
    }

    /// Ends a case before its time.
    pub(in crate::gateway) async fn end_case(
        &self,
        id: &str,
        query: &EventQuery,
        event: EventBody,
    ) -> Acknowledged {
        let case = Entity::Case(ledger::case_id(id)?);
        self.append_of_kind(query, event, case, "case-ended").await
    }
}

/// Makes an id for a case. Requests with the same idempotency key get the same id, so that a repeated request means the
/// same case.
fn fresh_id(key: Option<&str>) -> String {
    match key {
        None => Ulid::generate().to_string(),
        Some(key) => {
            let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 case id");
            hasher.update(key.as_bytes()).finalize().to_hex().to_string()
        }
    }
}
