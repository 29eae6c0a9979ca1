//! Consents that end while somebody is looking. They change the ledger, so they are played last.

use super::Credential::ServiceDesk;
use super::{Scene, SceneEvent, SceneRequest, SceneStep, customer, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{SamplePerson, cast, person};
use crate::demo::sample_events;

pub(super) fn scenes() -> Vec<Scene> {
    let (changing, leaving, staying) = (person(cast::CHANGING), person(cast::LEAVING), person(cast::STAYING));
    let withdraws = |who: &SamplePerson| SceneEvent { subject: who.id(), event: sample_events::withdrawal() };
    let marketing = |number| customer(number).with_credential(ServiceDesk).with_purpose("direct-marketing");
    let seen = |who: &SamplePerson| {
        Expectation::released().equals("/name", who.name()).equals("/email", who.email())
    };
    let unseen = |who: &SamplePerson| without_identity(Expectation::released(), who).present("/status");
    let rest =
        unseen_in_list(&leaving).equals(&format!("/items/{}/email", cast::STAYING - 1), staying.email());
    vec![
        scene(
            "A withdrawal is in force with its acknowledgement",
            "P-6a, G-6.5b",
            "first name and contact, then nothing",
            [
                SceneStep::Request(marketing(cast::CHANGING), seen(&changing)),
                SceneStep::Event(withdraws(&changing)),
                SceneStep::Request(marketing(cast::CHANGING), unseen(&changing)),
            ],
        ),
        scene(
            "The list of 10,000 is being read; one near the end withdraws",
            "P-6a, P-6d",
            "not one byte of that person in the rest; the next in the list is there",
            [
                SceneStep::Request(marketing(cast::LEAVING), seen(&leaving)),
                SceneStep::RequestWithEvent {
                    ask: SceneRequest::get("/customers?pace=20")
                        .with_credential(ServiceDesk)
                        .with_purpose("direct-marketing"),
                    after: 300_000,
                    tell: withdraws(&leaving),
                    expected: rest,
                },
            ],
        ),
    ]
}

fn unseen_in_list(who: &SamplePerson) -> Expectation {
    let (family, email) = (who.family(), who.email());
    without_identity(Expectation::released(), who).excludes_after_event(family).excludes_after_event(&email)
}
