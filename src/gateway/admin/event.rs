//! Events of the ledger: recorded, imported, listed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request, State};
use bytes::Bytes;
use http::HeaderName;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use utoipa::openapi::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::AdminApi;
use super::authentication::Actor;
use super::openapi::problems::{BatchProblems, EventProblems};
use super::openapi::{IdempotencyHeader, PositionHeader};
use super::problem::{AdminCode, AdminProblem};
use super::request::{
    AccountPath, BoundedBody, IdempotencyKey, PathText, PersonPath, QueryOf, REQUEST_TIME, Received,
    RecipientPath,
};
use crate::ledger::{self, Acknowledgement, AppendError, Entity, EventDraft, Ledger, LineResult};

/// Maximum size of a batch of events, in bytes.
const MAX_BATCH: usize = 64 << 20;
/// Maximum time that `wait=everywhere` waits for other gateways.
const EVERYWHERE_TIME: Duration = REQUEST_TIME;

/// The answer to an event.
pub(in crate::gateway) type Acknowledged = Result<Json<Map<String, Value>>, AdminProblem>;

/// The query of a request that records an event.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in crate::gateway) struct EventQuery {
    /// Wait until the event is in force on every gateway.
    #[param(inline, nullable = false)]
    wait: Option<WaitFor>,
}

/// The query of a request that records an event about a person or an account.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonEventQuery {
    /// Namespace of the id in the path.
    #[param(min_length = 1, nullable = false)]
    namespace: Option<String>,
    /// Wait until the event is in force on every gateway.
    #[param(inline, nullable = false)]
    wait: Option<WaitFor>,
}

impl PersonEventQuery {
    /// Separates the namespace, which belongs to the path.
    fn split(self) -> (Option<String>, EventQuery) {
        (self.namespace, EventQuery { wait: self.wait })
    }
}

/// The query of a batch.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchQuery {
    /// Wait until all events are in force on every gateway.
    #[param(inline, nullable = false)]
    wait: Option<WaitFor>,
    /// Number of the first line.
    #[serde(default = "first_line")]
    #[param(schema_with = whole_number)]
    from: u64,
    /// Events can name recipients that the configuration does not have.
    #[serde(default, rename = "keep-unknown-recipients")]
    keep_unknown_recipients: bool,
}

/// Returns the schema of a `u64`.
fn whole_number() -> Object {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0_usize)).maximum(Some(usize::MAX)).build()
}

fn first_line() -> u64 {
    1
}

/// The gateways that an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum WaitFor {
    Everywhere,
}

/// The body of a request that records an event, and what is known from its head.
pub(in crate::gateway) struct EventBody {
    pub(super) actor: Actor,
    pub(super) key: Option<String>,
    pub(super) body: Bytes,
    received: Instant,
}

impl EventBody {
    /// The event of a form. A repetition with the same key is the same event.
    pub(in crate::gateway) fn of_form(actor: Actor, key: String, event: &Value) -> EventBody {
        EventBody { actor, key: Some(key), body: event.to_string().into(), received: Instant::now() }
    }
}

impl<S: Send + Sync> FromRequest<S> for EventBody {
    type Rejection = AdminProblem;

    async fn from_request(request: Request, state: &S) -> Result<EventBody, AdminProblem> {
        let (mut parts, body) = request.into_parts();
        let IdempotencyKey(key) = IdempotencyKey::from_request_parts(&mut parts, state).await?;
        let Received(received) = Received::from_request_parts(&mut parts, state).await?;
        let actor = Actor::from_request_parts(&mut parts, state).await?;
        let request = Request::from_parts(parts, body);
        let BoundedBody(body) =
            BoundedBody::<{ ledger::MAX_EVENT_BYTES }>::from_request(request, state).await?;
        Ok(EventBody { actor, key, body, received })
    }
}

/// Records an event about a person.
#[utoipa::path(
    post, path = "/v1/subjects/{id}/events", operation_id = "recordSubjectEvent", tag = "events",
    params(PersonPath, PersonEventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/SubjectEvent"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn about_subject(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonEventQuery>,
    event: EventBody,
) -> Acknowledged {
    let (namespace, query) = query.split();
    let person = Entity::Subject(admin.person(&id, namespace.as_deref())?);
    admin.append_any(&query, event, person).await
}

/// Records an event about the account of a customer.
#[utoipa::path(
    post, path = "/v1/controllers/{id}/events", operation_id = "recordControllerEvent", tag = "events",
    params(AccountPath, PersonEventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/ControllerEvent"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn about_controller(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonEventQuery>,
    event: EventBody,
) -> Acknowledged {
    let (namespace, query) = query.split();
    let account = Entity::Controller(admin.person(&id, namespace.as_deref())?);
    admin.append_any(&query, event, account).await
}

/// Suspends or resumes a recipient.
#[utoipa::path(
    post, path = "/v1/recipients/{name}/events", operation_id = "recordRecipientEvent", tag = "events",
    params(RecipientPath, EventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/RecipientEvent"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn about_recipient(
    State(admin): State<AdminApi>,
    PathText(name): PathText,
    QueryOf(query): QueryOf<EventQuery>,
    event: EventBody,
) -> Acknowledged {
    let recipient = Entity::Recipient(admin.recipient(&name)?);
    admin.append_any(&query, event, recipient).await
}

/// Records a request of a person.
#[utoipa::path(
    post, path = "/v1/subjects/{id}/requests", operation_id = "recordRequest", tag = "subjects",
    params(PersonPath, PersonEventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/Request"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn request_received(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonEventQuery>,
    event: EventBody,
) -> Acknowledged {
    let (namespace, query) = query.split();
    let person = Entity::Subject(admin.person(&id, namespace.as_deref())?);
    admin.append_of_kind(&query, event, person, "request-received").await
}

/// Records the answer to a request of a person.
#[utoipa::path(
    post, path = "/v1/subjects/{id}/answers", operation_id = "recordAnswer", tag = "subjects",
    params(PersonPath, PersonEventQuery, IdempotencyHeader, PositionHeader),
    request_body = ref("#/components/schemas/Answer"),
    responses((status = 200, description = "The event is durable and in force.", body = ref("#/components/schemas/Acknowledgement")), EventProblems)
)]
pub(super) async fn request_answered(
    State(admin): State<AdminApi>,
    PathText(id): PathText,
    QueryOf(query): QueryOf<PersonEventQuery>,
    event: EventBody,
) -> Acknowledged {
    let (namespace, query) = query.split();
    let person = Entity::Subject(admin.person(&id, namespace.as_deref())?);
    admin.append_of_kind(&query, event, person, "request-answered").await
}

/// Imports a batch of events, and returns a result for each line.
#[utoipa::path(
    post, path = "/v1/events:batch", operation_id = "importEvents", tag = "events",
    params(BatchQuery, IdempotencyHeader, PositionHeader),
    request_body(content = ref("#/components/schemas/EventLines"), content_type = "application/x-ndjson"),
    responses((status = 200, description = "One result a line.", body = ref("#/components/schemas/LineResults"), content_type = "application/x-ndjson"), BatchProblems)
)]
pub(super) async fn batch(
    State(admin): State<AdminApi>,
    actor: Actor,
    QueryOf(query): QueryOf<BatchQuery>,
    IdempotencyKey(key): IdempotencyKey,
    Received(received): Received,
    BoundedBody(body): BoundedBody<MAX_BATCH>,
) -> ([(HeaderName, &'static str); 1], String) {
    let batch = ledger::Batch {
        from: query.from,
        name: key.as_deref(),
        keep_unknown_recipients: query.keep_unknown_recipients,
        sender: actor.sender(),
    };
    let mut results = Vec::new();
    let ledger = &admin.shared.ledger;
    let report = |result: LineResult| {
        if let (Some(event), Ok(recorded)) = (result.event, &result.outcome)
            && !recorded.repeated
        {
            let time = event.withholds.then(|| received.elapsed());
            admin.shared.metrics.count_event(event.kind, time);
        }
        results.push(result);
    };
    ledger.import(&body, batch, Timestamp::now(), report).await;
    let recorded = results.iter().filter_map(|result| result.outcome.as_ref().ok());
    let in_force = match (query.wait, recorded.max_by_key(|recorded| recorded.position)) {
        (Some(WaitFor::Everywhere), Some(last)) => Some(admin.reach_everywhere(received, *last).await),
        _ => None,
    };
    let lines: String = results.iter().map(|result| result_line(result, ledger, in_force)).collect();
    ([(CONTENT_TYPE, "application/x-ndjson")], lines)
}

impl AdminApi {
    /// Reads the ledger's file on a thread of its own: a slow disk must not delay exchanges.
    pub(in crate::gateway) async fn read_ledger<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ledger::Archive) -> Result<T, ledger::StoreError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        let ledger = Arc::clone(&self.shared.ledger);
        match tokio::task::spawn_blocking(move || read(ledger.archive())).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(AppendError::Unavailable.into()),
        }
    }

    /// Returns all events about an entity, in the order of their positions.
    pub(super) async fn history(&self, entity: Entity) -> Result<Json<Value>, AdminProblem> {
        let events = self.events_about(entity).await?;
        if events.is_empty() { Err(AdminProblem::not_found()) } else { Ok(Json(Value::Array(events))) }
    }

    /// Returns all events about an entity, in the order of their positions; empty if there are none.
    pub(in crate::gateway) async fn events_about(&self, entity: Entity) -> Result<Vec<Value>, AdminProblem> {
        let ledger = &self.shared.ledger;
        let stored = self.read_ledger(move |archive| archive.history(&entity)).await?;
        let events = stored.iter().map(|stored| {
            let mut event = ledger::write(&stored.event, ledger.terms());
            event.insert("event".to_owned(), stored.id.to_string().into());
            event.insert("position".to_owned(), stored.position.0.into());
            Value::Object(event)
        });
        Ok(events.collect())
    }

    /// Records an event that somebody entered in a form.
    pub(in crate::gateway) async fn record_form(&self, event: EventBody, entity: &Entity) -> Acknowledged {
        let draft = ledger::parse(&event.body, entity.kind(), self.shared.ledger.terms())?;
        self.append(&EventQuery { wait: None }, event, entity, draft).await
    }

    /// Records an event whose kind the path implies.
    pub(super) async fn append_of_kind(
        &self,
        query: &EventQuery,
        event: EventBody,
        entity: Entity,
        kind: &str,
    ) -> Acknowledged {
        let body: &[u8] = if event.body.is_empty() { b"{}" } else { &event.body };
        let draft = ledger::parse_of_kind(body, kind, entity.kind(), self.shared.ledger.terms())?;
        self.append(query, event, &entity, draft).await
    }

    /// Records an event of any kind.
    async fn append_any(&self, query: &EventQuery, event: EventBody, entity: Entity) -> Acknowledged {
        let draft = ledger::parse(&event.body, entity.kind(), self.shared.ledger.terms())?;
        self.append(query, event, &entity, draft).await
    }

    /// Records an event. Returns the acknowledgement: the event is durable and in force.
    pub(super) async fn append(
        &self,
        query: &EventQuery,
        event: EventBody,
        entity: &Entity,
        mut draft: EventDraft,
    ) -> Acknowledged {
        event.actor.sender().sign(&mut draft)?;
        let kind = draft.kind.name();
        let withholds = draft.kind.withholds();
        let key = event.key.as_deref();
        let recorded = self.shared.ledger.append(entity, draft, key, Timestamp::now()).await?;
        if !recorded.repeated {
            self.shared.metrics.count_event(kind, withholds.then(|| event.received.elapsed()));
        }
        let in_force = match query.wait {
            None => InForce::Here,
            Some(WaitFor::Everywhere) => self.reach_everywhere(event.received, recorded).await,
        };
        let mut acknowledgement = Map::from_iter([
            ("event".to_owned(), recorded.event.to_string().into()),
            ("position".to_owned(), self.shared.ledger.position_token(recorded.position).into()),
            ("durable".to_owned(), true.into()),
            ("in_force".to_owned(), in_force.name().into()),
            ("changed".to_owned(), recorded.changed.into()),
        ]);
        if recorded.repeated {
            acknowledgement.insert("again".to_owned(), true.into());
        }
        Ok(Json(acknowledgement))
    }

    /// Waits until an event is in force everywhere.
    async fn reach_everywhere(&self, received: Instant, recorded: Acknowledgement) -> InForce {
        let in_force = wait_everywhere(&self.shared.ledger, recorded, EVERYWHERE_TIME).await;
        self.shared.metrics.everywhere_effect.observe(received.elapsed().as_secs_f64());
        in_force
    }

    /// Returns the recipient of this name that this gateway, or another one of the ledger, has in its configuration.
    pub(in crate::gateway) fn recipient(&self, name: &str) -> Result<Arc<str>, AdminProblem> {
        let snapshot = self.shared.snapshot();
        let found = snapshot.recipients.iter().find(|recipient| &*recipient.name == name);
        let found = found.map(|recipient| Arc::clone(&recipient.name));
        found.or_else(|| self.shared.ledger.recipient_of_others(name)).ok_or_else(|| {
            let names = snapshot.recipients.iter().map(|recipient| &*recipient.name);
            let nearest = ledger::nearest_term(name, names).map(str::to_owned);
            let detail = ledger::EventError::UnknownRecipient { nearest }.to_string();
            AdminProblem::new(AdminCode::NotFound, detail)
        })
    }
}

/// The gateways in which an event is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InForce {
    /// At least this one.
    Here,
    /// All of the ledger.
    Everywhere,
}

impl InForce {
    fn name(self) -> &'static str {
        match self {
            InForce::Here => "here",
            InForce::Everywhere => "everywhere",
        }
    }
}

/// Waits until an event is in force everywhere, for at most this time.
async fn wait_everywhere(ledger: &Ledger, recorded: Acknowledgement, at_most: Duration) -> InForce {
    match tokio::time::timeout(at_most, ledger.in_force_everywhere(recorded)).await {
        Ok(true) => InForce::Everywhere,
        Ok(false) | Err(_) => InForce::Here,
    }
}

fn result_line(result: &LineResult, ledger: &Ledger, in_force: Option<InForce>) -> String {
    let mut value = match &result.outcome {
        Ok(recorded) => json!({
            "line": result.line,
            "event": recorded.event.to_string(),
            "position": ledger.position_token(recorded.position),
            "again": recorded.repeated,
            "changed": recorded.changed,
        }),
        Err(error) => json!({ "line": result.line, "error": error.to_string() }),
    };
    if let (Some(members), Some(in_force), Ok(_)) = (value.as_object_mut(), in_force, &result.outcome) {
        members.insert("in_force".to_owned(), in_force.name().into());
    }
    format!("{value}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::flow::tests::TestState;

    #[tokio::test]
    async fn everywhere_is_said_only_when_every_gateway_confirmed() {
        let state = TestState::new("").await;
        let gateway = &*state.shared.ledger;
        let line = br#"{"subject":"alice","kind":"erasure"}"#;
        let (person, draft) = ledger::parse_line(line, gateway.terms()).unwrap();
        let recorded = gateway.append(&person, draft, None, Timestamp::now()).await.unwrap();
        assert_eq!(wait_everywhere(gateway, recorded, EVERYWHERE_TIME).await, InForce::Everywhere);
        gateway.assume_unconfirmed();
        let at_most = Duration::from_millis(20);
        assert_eq!(wait_everywhere(gateway, recorded, at_most).await, InForce::Here);
    }
}
