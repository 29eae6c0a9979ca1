//! Events that contradict the recorded ones. They are refused, so that the sender learns of the mistake.
//!
//! Pure. This check only informs senders; safety does not depend on it, because the fold does not let such an event
//! grant anything.

use super::event::Event;
use super::kinds::EventKind;
use super::secret_history;

/// A contradiction between an event and the recorded ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    /// A case is registered under the id already.
    #[error(
        "a case with this id is registered already; a case cannot be changed: end it and register another"
    )]
    CaseKnown,
    /// No case is registered under the id.
    #[error("no case is registered under this id")]
    CaseUnknown,
    /// The approver has approved the case before.
    #[error("this approver has approved the case before: the second approval must be somebody else's")]
    ApprovedBefore,
    /// No request for this right is open.
    #[error("no request of this kind is open")]
    NoOpenRequest,
    /// No erasure is on record after which the log secret was not deleted yet.
    #[error("no erasure is on record that waits for the deletion of the log secret")]
    NoErasure,
}

/// Checks an event against the recorded events of its entity.
///
/// # Errors
/// [`Conflict`].
pub(super) fn check<'e>(
    event: &Event,
    mut known: impl Iterator<Item = &'e Event> + Clone,
) -> Result<(), Conflict> {
    match &event.kind {
        // Any earlier event is a conflict: an approval given before the registration must not count for it.
        EventKind::CaseRegistered { .. } if known.next().is_some() => Err(Conflict::CaseKnown),
        EventKind::CaseApproved { .. } | EventKind::CaseEnded if !known.clone().any(is_registration) => {
            Err(Conflict::CaseUnknown)
        }
        EventKind::CaseApproved { approver } => {
            let is_verified = event.has_verified_approver();
            let again = known.any(|before| {
                // An approval under the name of somebody who was not signed in does not keep that person from approving.
                let counts = before.has_verified_approver() || !is_verified;
                counts && matches!(&before.kind, EventKind::CaseApproved { approver: other } if other.normalized() == approver.normalized())
            });
            if again { Err(Conflict::ApprovedBefore) } else { Ok(()) }
        }
        EventKind::RequestAnswered { right } => {
            let mut open = false;
            for event in known {
                match &event.kind {
                    EventKind::RequestReceived { right: asked } if asked == right => open = true,
                    EventKind::RequestAnswered { right: answered } if answered == right => open = false,
                    _ => {}
                }
            }
            if open { Ok(()) } else { Err(Conflict::NoOpenRequest) }
        }
        EventKind::LogSecretErased if secret_history::erased_since(known.clone()).is_none() => {
            Err(Conflict::NoErasure)
        }
        _ => Ok(()),
    }
}

fn is_registration(event: &Event) -> bool {
    matches!(event.kind, EventKind::CaseRegistered { .. })
}
