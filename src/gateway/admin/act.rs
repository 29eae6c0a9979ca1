//! Acts on record: each use of a resource that shows what is on record about a person is written to the disclosure log, with
//! its reason, before the answer leaves.

use axum::extract::FromRequestParts;
use futures_util::future::try_join_all;
use http::request::Parts;
use ulid::Ulid;

use super::AdminApi;
use super::authentication::Actor;
use super::problem::{AdminCode, AdminProblem};
use super::roles::ResourceRule;
use crate::config::AdminRole;
use crate::disclosure::LogError;
use crate::disclosure::record::{self, ActRecord, Record};
use crate::vocabulary::SubjectId;

/// Maximum number of looks that one request writes at once.
const MAX_LOOKS_AT_ONCE: usize = 64;

/// The use of a resource by an actor, not yet on record.
#[derive(Clone, Debug)]
pub(in crate::gateway) struct PendingAct {
    pub(in crate::gateway) actor: Actor,
    pub(in crate::gateway) role: Option<AdminRole>,
    pub(in crate::gateway) rule: &'static ResourceRule,
}

impl<S: Send + Sync> FromRequestParts<S> for PendingAct {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<PendingAct, AdminProblem> {
        // There for every rule that says so: a test uses the resource of each.
        parts.extensions.get().cloned().ok_or_else(AdminProblem::not_found)
    }
}

/// The object of an act.
#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) enum ActObject<'a> {
    Person(&'a SubjectId),
    /// A person about whom an access evaluation tells facts. Programs ask, by a protocol that has no place for a reason.
    EvaluatedPerson(&'a SubjectId),
    Decision(&'a str),
    /// A list of decisions. The records have pseudonyms only.
    Decisions,
    /// Something that names people: notices to recipients, answered requests, a case. The record of a notice names nobody, and
    /// neither does this act.
    People,
    /// The list of the cases, or of the open requests. It is on record, but clerks work from it all day: a reason is not needed.
    Worklist,
}

impl AdminApi {
    /// Writes an act to the disclosure log. Call it before reading what the resource shows.
    ///
    /// # Errors
    /// An [`AdminProblem`] if a reason is missing or cannot be accepted, or the log cannot be written.
    pub(in crate::gateway) async fn record_act(
        &self,
        act: &PendingAct,
        object: ActObject<'_>,
        reason: Option<&str>,
    ) -> Result<(), AdminProblem> {
        self.shared.log.append(self.act_record(act, object, reason)?).await.map_err(unrecorded)
    }

    /// Writes the look at each of these people to the disclosure log. Call it before showing any of them.
    ///
    /// # Errors
    /// As [`AdminApi::record_act`].
    pub(in crate::gateway) async fn record_looks(
        &self,
        act: &PendingAct,
        people: impl IntoIterator<Item = ActObject<'_>>,
        reason: Option<&str>,
    ) -> Result<(), AdminProblem> {
        let people: Vec<ActObject<'_>> = people.into_iter().collect();
        for some in people.chunks(MAX_LOOKS_AT_ONCE) {
            let records = some.iter().map(|person| self.act_record(act, *person, reason));
            let records = records.collect::<Result<Vec<Record>, AdminProblem>>()?;
            let appended = records.into_iter().map(|record| self.shared.log.append(record));
            try_join_all(appended).await.map_err(unrecorded)?;
        }
        Ok(())
    }

    fn act_record(
        &self,
        act: &PendingAct,
        object: ActObject<'_>,
        reason: Option<&str>,
    ) -> Result<Record, AdminProblem> {
        let PendingAct { actor, role, rule } = act;
        let reason = given(reason);
        check_reason(actor, object, reason)?;
        let (subject, decision) = match object {
            ActObject::Person(person) | ActObject::EvaluatedPerson(person) => {
                (Some(self.shared.ledger.person(person).0), None)
            }
            // Another text is no decision, and nothing is shown.
            ActObject::Decision(id) => (None, Ulid::from_string(id).ok()),
            ActObject::Decisions | ActObject::People | ActObject::Worklist => (None, None),
        };
        Ok(Record::Act(ActRecord {
            act: Ulid::generate(),
            actor: actor.name().cloned(),
            role: role.map(AdminRole::name),
            resource: rule.path,
            subject,
            decision,
            reason: reason.map(Into::into),
        }))
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the signature that `map_err` needs")]
fn unrecorded(error: LogError) -> AdminProblem {
    AdminProblem::new(AdminCode::AuditUnavailable, format!("the act cannot be recorded: {error}"))
}

/// Returns the reason if there is one: a parameter without a value, or with blanks alone, gives none.
fn given(reason: Option<&str>) -> Option<&str> {
    reason.filter(|reason| !reason.trim().is_empty())
}

/// Checks what the `reason` of the API's description demands.
///
/// # Errors
/// An [`AdminProblem`] if a reason is missing or cannot be accepted.
pub(in crate::gateway) fn check_reason(
    actor: &Actor,
    object: ActObject<'_>,
    reason: Option<&str>,
) -> Result<(), AdminProblem> {
    // A record of a decision has pseudonyms only.
    let needs_reason = matches!(object, ActObject::Person(_) | ActObject::People);
    let is_needed = actor.name().is_some() && needs_reason;
    match given(reason) {
        None if !is_needed => Ok(()),
        None => Err(AdminProblem::new(
            AdminCode::ReasonMissing,
            "add `?reason=…`: why you look at what is on record about a person; it is recorded",
        )),
        Some(reason) => {
            record::check_reason(reason).map_err(|unfit| AdminProblem::malformed(format!("`reason` {unfit}")))
        }
    }
}
