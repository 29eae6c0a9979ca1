//! Disclosure cases: registered, approved, ended, listed.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::{AdminApi, AdminProblem, AdminRequest, AdminResponse, ok};
use crate::ledger::{self, Entity};

impl AdminApi {
    pub(super) async fn cases(&self) -> Result<AdminResponse, AdminProblem> {
        let cases = self.read_ledger(|archive| archive.cases(Timestamp::now())).await?;
        Ok(ok(&cases.into_iter().map(Value::Object).collect()))
    }

    pub(super) async fn case(&self, id: Arc<str>) -> Result<AdminResponse, AdminProblem> {
        let case = self.read_ledger(move |archive| archive.case(&id, Timestamp::now())).await?;
        case.map(|case| ok(&Value::Object(case))).ok_or_else(AdminProblem::not_found)
    }

    /// One without an id of its own gets one.
    pub(super) async fn register_case(
        &self,
        asked: &AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = asked.event(request).await?;
        let names = self.shared.ledger.terms();
        let (entity, draft) = ledger::parse_case(&body, fresh_id(key.as_deref()), names)?;
        let case = match &entity {
            Entity::Case(id) => Value::from(&**id),
            Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => Value::Null,
        };
        let mut answer = self.append_event(asked, key, &entity, draft).await?;
        answer.insert("case".to_owned(), case);
        Ok(ok(&Value::Object(answer)))
    }
}

/// An id for a case without one; a repetition under the same idempotency key means the same case.
fn fresh_id(key: Option<&str>) -> String {
    match key {
        None => Ulid::generate().to_string(),
        Some(key) => {
            let mut hasher = blake3::Hasher::new_derive_key("purposegate 2026 v1 case id");
            hasher.update(key.as_bytes()).finalize().to_hex().to_string()
        }
    }
}
