//! Consents that are withdrawn between two requests and during a response. They change the ledger, so they come last.

use super::Credential::ServiceDesk;
use super::{Scene, SceneEvent, SceneRequest, SceneStep, customer, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{SamplePerson, cast, person};
use crate::demo::sample_events;

/// Bytes of the list that are read before the withdrawal: an early part, so the person's record has not left yet.
const READ_BEFORE_WITHDRAWAL: usize = 300_000;

pub(super) fn scenes() -> Vec<Scene> {
    vec![between_two_requests(), during_a_response()]
}

/// Name and e-mail of a person who has not withdrawn yet. Without it, an absence later would show nothing.
fn contact_of(who: &SamplePerson) -> Expectation {
    Expectation::released("name and e-mail").equals("/name", who.name()).equals("/email", who.email())
}

fn withdrawal_of(who: &SamplePerson) -> SceneEvent {
    SceneEvent { subject: who.id(), event: sample_events::withdrawal() }
}

fn between_two_requests() -> Scene {
    let mirela = person(cast::CHANGING);
    let marketing = || customer(cast::CHANGING, ServiceDesk, "direct-marketing");
    let after = Expectation::released("nothing personal");
    scene(
        "A withdrawal is in force with its acknowledgement",
        "G-6.5b",
        [
            SceneStep::Request(marketing(), contact_of(&mirela)),
            SceneStep::Event(withdrawal_of(&mirela)),
            SceneStep::Request(marketing(), without_identity(after, &mirela).present("/status")),
        ],
    )
}

fn during_a_response() -> Scene {
    let (leaving, staying) = (person(cast::LEAVING), person(cast::STAYING));
    let expected = Expectation::released(
        "nothing of that person in the rest (0 lines); the next one in the list is there",
    );
    let expected = without_identity(expected, &leaving)
        .excludes_after_event(leaving.family())
        .excludes_after_event(&leaving.email())
        .equals(&format!("/items/{}/email", cast::STAYING - 1), staying.email());
    let list = SceneRequest::get("/customers?pace=20");
    scene(
        "Somebody near the end of a list of 10,000 withdraws while it is being read",
        "",
        [
            SceneStep::Request(
                customer(cast::LEAVING, ServiceDesk, "direct-marketing"),
                contact_of(&leaving),
            ),
            SceneStep::RequestWithEvent {
                request: list.with_credential(ServiceDesk).with_purpose("direct-marketing"),
                after: READ_BEFORE_WITHDRAWAL,
                event: withdrawal_of(&leaving),
                expected,
            },
        ],
    )
}
