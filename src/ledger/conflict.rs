//! Events that cannot follow what is known about their entity: refused when they are taken in, so
//! that whoever reports one hears of it.
//!
//! Pure. It is for people and no safeguard: what is in force is folded so that such an event would
//! grant nothing anyway.

use super::event::Event;
use super::kinds::EventKind;

/// Why an event cannot follow the known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Conflict {
    #[error(
        "a case with this id is registered already; a case is never changed: end it and register another"
    )]
    CaseKnown,
    #[error("no case is registered under this id")]
    CaseUnknown,
    #[error("this approver has approved the case before: the second approval is somebody else's")]
    ApprovedBefore,
    #[error("no request of this kind is open")]
    NoOpenRequest,
}

/// Checks one event against those that are known about its entity.
///
/// # Errors
/// [`Conflict`].
pub(super) fn check<'e>(
    kind: &EventKind,
    mut known: impl Iterator<Item = &'e Event> + Clone,
) -> Result<(), Conflict> {
    match kind {
        // Whatever is known: an approval of something else must not count for this.
        EventKind::CaseRegistered { .. } if known.next().is_some() => Err(Conflict::CaseKnown),
        EventKind::CaseApproved { .. } | EventKind::CaseEnded if !known.clone().any(is_registration) => {
            Err(Conflict::CaseUnknown)
        }
        EventKind::CaseApproved { approver } => {
            let again = known.any(|event| {
                matches!(&event.kind, EventKind::CaseApproved { approver: before } if before.normalized() == approver.normalized())
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
        _ => Ok(()),
    }
}

fn is_registration(event: &Event) -> bool {
    matches!(event.kind, EventKind::CaseRegistered { .. })
}
