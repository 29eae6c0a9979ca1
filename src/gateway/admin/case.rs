//! Disclosure cases: registered and listed. Approving and ending one are events.

use std::sync::Arc;

use http::Request;
use hyper::body::Incoming;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use super::problem::AdminProblem;
use super::request::AdminRequest;
use super::{AdminApi, AdminResponse, ok};
use crate::ledger::{self, Entity};

impl AdminApi {
    /// Lists all cases.
    pub(super) async fn cases(&self) -> Result<AdminResponse, AdminProblem> {
        let cases = self.read_ledger(|archive| archive.cases(Timestamp::now())).await?;
        Ok(ok(&cases.into_iter().map(Value::Object).collect()))
    }

    /// Returns one case.
    pub(super) async fn case(&self, id: Arc<str>) -> Result<AdminResponse, AdminProblem> {
        let case = self.read_ledger(move |archive| archive.case(&id, Timestamp::now())).await?;
        case.map(|case| ok(&Value::Object(case))).ok_or_else(AdminProblem::not_found)
    }

    /// Registers a case. If the body has no id, one is made.
    pub(super) async fn register_case(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = head.event(request).await?;
        let names = self.shared.ledger.terms();
        let (entity, draft) = ledger::parse_case(&body, fresh_id(key.as_deref()), names)?;
        let case = match &entity {
            Entity::Case(id) => Value::from(&**id),
            Entity::Subject(_) | Entity::Controller(_) | Entity::Recipient(_) => Value::Null,
        };
        let mut acknowledgement = self.append_draft(head, key, &entity, draft).await?;
        acknowledgement.insert("case".to_owned(), case);
        Ok(ok(&Value::Object(acknowledgement)))
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
