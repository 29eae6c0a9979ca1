//! Events of the ledger: recorded, imported, listed.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::problem::AdminProblem;
use super::request::{AdminRequest, REQUEST_TIME, read_body, text_header};
use super::{AdminApi, AdminResponse, ok, response};
use crate::ledger::{self, Acknowledgement, AppendError, Entity, Ledger, LineResult};
use crate::vocabulary::SubjectId;

/// Maximum size of a batch of events, in bytes.
const MAX_BATCH: usize = 64 << 20;
/// Maximum time that `wait=everywhere` waits for other gateways.
const EVERYWHERE_TIME: Duration = REQUEST_TIME;

impl AdminApi {
    /// Reads the ledger's file on a thread of its own: a slow disk must not delay exchanges.
    pub(super) async fn read_ledger<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ledger::Archive) -> Result<T, ledger::StoreError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        let ledger = Arc::clone(&self.shared.ledger);
        match tokio::task::spawn_blocking(move || read(ledger.archive())).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(AppendError::Unavailable.into()),
        }
    }

    /// Returns the state of a person in the ledger.
    pub(super) async fn subject(&self, subject: SubjectId) -> Result<AdminResponse, AdminProblem> {
        let state = self.read_ledger(move |archive| archive.show(&subject, None, Timestamp::now())).await?;
        state.map(|state| ok(&Value::Object(state))).ok_or_else(AdminProblem::not_found)
    }

    /// Returns all events about an entity, in the order of their positions.
    pub(super) async fn history(&self, entity: Entity) -> Result<AdminResponse, AdminProblem> {
        let ledger = &self.shared.ledger;
        let stored = self.read_ledger(move |archive| archive.history(&entity)).await?;
        let events = stored.iter().map(|stored| {
            let mut event = ledger::write(&stored.event, ledger.terms());
            event.insert("event".to_owned(), stored.id.to_string().into());
            event.insert("position".to_owned(), stored.position.0.into());
            Value::Object(event)
        });
        let events: Vec<Value> = events.collect();
        if events.is_empty() { Err(AdminProblem::not_found()) } else { Ok(ok(&Value::Array(events))) }
    }

    /// Records an event whose kind the path implies.
    pub(super) async fn append_of_kind(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
        entity: Entity,
        kind: &str,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = head.event(request).await?;
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        let draft = ledger::parse_of_kind(&body, kind, entity.kind(), self.shared.ledger.terms())?;
        Ok(ok(&Value::Object(self.append_draft(head, key, &entity, draft).await?)))
    }

    /// Records an event of any kind.
    pub(super) async fn append(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
        entity: Entity,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = head.event(request).await?;
        let draft = ledger::parse(&body, entity.kind(), self.shared.ledger.terms())?;
        Ok(ok(&Value::Object(self.append_draft(head, key, &entity, draft).await?)))
    }

    /// Records an event. Returns the acknowledgement: the event is durable and in force.
    pub(super) async fn append_draft(
        &self,
        head: &AdminRequest,
        key: Option<String>,
        entity: &Entity,
        draft: ledger::EventDraft,
    ) -> Result<Map<String, Value>, AdminProblem> {
        let kind = draft.kind.name();
        let withholds =
            !matches!(draft.kind.effect(), ledger::EventEffect::Permissive | ledger::EventEffect::Neutral);
        let recorded = self.shared.ledger.append(entity, draft, key.as_deref(), Timestamp::now()).await?;
        self.shared.metrics.ledger_events.with_label_values(&[kind]).inc();
        if withholds {
            self.shared.metrics.withdrawal_effect.observe(head.received.elapsed().as_secs_f64());
        }
        let in_force = self.reach(head, recorded).await;
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
        Ok(acknowledgement)
    }

    /// Waits until an event is in force everywhere, if the request asks for it.
    async fn reach(&self, head: &AdminRequest, recorded: Acknowledgement) -> InForce {
        if !head.wait_everywhere {
            return InForce::Here;
        }
        let in_force = wait_everywhere(&self.shared.ledger, recorded, EVERYWHERE_TIME).await;
        self.shared.metrics.everywhere_effect.observe(head.received.elapsed().as_secs_f64());
        in_force
    }

    /// Imports a batch of events. Returns one line for each.
    pub(super) async fn import(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        head.require_post()?;
        let key = text_header(request.headers(), "idempotency-key")?;
        let body = read_body(request, MAX_BATCH).await?;
        let batch = ledger::Batch {
            from: head.from,
            name: key.as_deref(),
            keep_unknown_recipients: head.keep_unknown_recipients,
        };
        let mut results = Vec::new();
        let ledger = &self.shared.ledger;
        ledger.import(&body, batch, Timestamp::now(), |result: LineResult| results.push(result)).await;
        let recorded = results.iter().filter_map(|result| result.outcome.as_ref().ok());
        let in_force = match recorded.max_by_key(|recorded| recorded.position) {
            Some(last) if head.wait_everywhere => Some(self.reach(head, *last).await),
            Some(_) | None => None,
        };
        let lines: String = results.iter().map(|result| result_line(result, ledger, in_force)).collect();
        Ok(response(StatusCode::OK, "application/x-ndjson", lines))
    }

    /// Returns the recipient of this name that this gateway, or another one of the ledger, has in its configuration.
    pub(super) fn recipient(&self, name: &str) -> Result<Arc<str>, AdminProblem> {
        let snapshot = self.shared.snapshot();
        let found = snapshot.recipients.iter().find(|recipient| &*recipient.name == name);
        let found = found.map(|recipient| Arc::clone(&recipient.name));
        found.or_else(|| self.shared.ledger.recipient_of_others(name)).ok_or_else(|| {
            let names = snapshot.recipients.iter().map(|recipient| &*recipient.name);
            let nearest = ledger::nearest_term(name, names).map(str::to_owned);
            let detail = ledger::EventError::UnknownRecipient { nearest }.to_string();
            AdminProblem::new(StatusCode::NOT_FOUND, "not-found", detail)
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
