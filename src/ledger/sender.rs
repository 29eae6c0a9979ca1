//! Who sends an event, and so counts as having recorded it.

use std::sync::Arc;

use super::entity::EntityKind;
use super::event::EventDraft;
use super::event_json::EventError;
use super::kinds::EventKind;
use super::payload::RecordedBy;

/// The sender of an event.
#[derive(Clone, Copy, Debug, Default)]
pub enum EventSender<'s> {
    /// Somebody who can write to the ledger itself. An event keeps the `recorded-by` of an export.
    #[default]
    Owner,
    /// Somebody who is not signed in. A `recorded-by` of the event is kept as unverified.
    Unknown,
    /// An actor of the admin API, whose name replaces a `recorded-by` of the event.
    SignedIn {
        /// The name of the actor.
        name: &'s Arc<str>,
        /// True if the actor may register, approve and end cases.
        cases: bool,
    },
}

/// The sender may not record the event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SenderError {
    /// The sender may not change cases.
    #[error("events about cases need the role `cases`")]
    CaseNotPermitted,
    /// The approval is by somebody else than the sender.
    #[error(transparent)]
    Approver(#[from] EventError),
}

impl EventSender<'_> {
    /// Sets who recorded the event.
    ///
    /// # Errors
    /// [`SenderError`] if the sender may not record the event.
    pub fn sign(self, draft: &mut EventDraft) -> Result<(), SenderError> {
        let recorded_by = &mut draft.provenance.recorded_by;
        match self {
            EventSender::Owner => Ok(()),
            EventSender::Unknown => {
                if let Some(recorded_by) = recorded_by {
                    recorded_by.verified = false;
                }
                Ok(())
            }
            EventSender::SignedIn { name, cases } => {
                *recorded_by = Some(RecordedBy { name: Arc::clone(name), verified: true });
                check_case(&draft.kind, name, cases)
            }
        }
    }
}

/// Two approvals come from two people only if nobody can approve for somebody else.
fn check_case(kind: &EventKind, name: &str, cases: bool) -> Result<(), SenderError> {
    if kind.entity_kind() == EntityKind::Case && !cases {
        return Err(SenderError::CaseNotPermitted);
    }
    match kind {
        EventKind::CaseApproved { approver } if !approver.is(name) => {
            let problem = "is somebody else than who is signed in: leave it out";
            Err(EventError::invalid("approver", problem).into())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::event_json::parse_line;
    use crate::ledger::terms::fixture::Fixture;

    fn signed(line: &str, sender: EventSender<'_>) -> Result<Option<RecordedBy>, SenderError> {
        let (_, mut draft) = parse_line(line.as_bytes(), &Fixture).unwrap();
        sender.sign(&mut draft).map(|()| draft.provenance.recorded_by)
    }

    #[test]
    fn nobody_records_under_the_name_of_somebody_else() {
        let by = |name: &str, verified| Some(RecordedBy { name: name.into(), verified });
        let given = r#"{"subject":"p","kind":"erasure","recorded-by":{"name":"kim","verified":true}}"#;
        assert_eq!(signed(given, EventSender::Owner), Ok(by("kim", true)));
        assert_eq!(signed(given, EventSender::Unknown), Ok(by("kim", false)));
        let name = Arc::from("sync");
        let sync = EventSender::SignedIn { name: &name, cases: false };
        assert_eq!(signed(given, sync), Ok(by("sync", true)));
        let plain = r#"{"subject":"p","kind":"erasure"}"#;
        assert_eq!(signed(plain, EventSender::Unknown), Ok(None));
        assert_eq!(signed(plain, sync), Ok(by("sync", true)));
    }

    #[test]
    fn only_the_signed_in_approver_with_the_role_approves() {
        let approval = |by: &str| format!(r#"{{"case":"C-1","kind":"case-approved","approver":"{by}"}}"#);
        let name = Arc::from("ada.adler");
        let with = |cases| EventSender::SignedIn { name: &name, cases };
        assert!(signed(&approval("Ada Adler"), with(true)).is_ok());
        assert!(matches!(signed(&approval("ben"), with(true)), Err(SenderError::Approver(_))));
        assert_eq!(signed(&approval("ada.adler"), with(false)), Err(SenderError::CaseNotPermitted));
        assert_eq!(signed(&approval("ben"), EventSender::Unknown), Ok(None));
    }
}
