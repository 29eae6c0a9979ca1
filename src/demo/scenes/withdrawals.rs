//! Consents that end while somebody is looking. They change the ledger, so they are played last.

use super::Credential::ServiceDesk;
use super::{Ask, Scene, Step, Tell, customer, scene, without};
use crate::demo::expectation::Expectation;
use crate::demo::people::{Person, cast, person};
use crate::demo::subjects;

pub(super) fn scenes() -> Vec<Scene> {
    let (changing, leaving, staying) = (person(cast::CHANGING), person(cast::LEAVING), person(cast::STAYING));
    let withdraws = |who: &Person| Tell { subject: who.id(), event: subjects::withdrawal() };
    let marketing = |number| customer(number).by(ServiceDesk).for_("direct-marketing");
    let seen = |who: &Person| Expectation::released().is("/name", who.name()).is("/email", who.email());
    let unseen = |who: &Person| without(Expectation::released(), who).present("/status");
    let rest = unseen_in_list(&leaving).is(&format!("/items/{}/email", cast::STAYING - 1), staying.email());
    vec![
        scene(
            "A withdrawal is in force with its acknowledgement",
            "P-6a, G-6.5b",
            "first name and contact, then nothing",
            [
                Step::Ask(marketing(cast::CHANGING), seen(&changing)),
                Step::Tell(withdraws(&changing)),
                Step::Ask(marketing(cast::CHANGING), unseen(&changing)),
            ],
        ),
        scene(
            "The list of 10,000 is being read; one near the end withdraws",
            "P-6a, P-6d",
            "not one byte of that person in the rest; the next in the list is there",
            [
                Step::Ask(marketing(cast::LEAVING), seen(&leaving)),
                Step::AskMeanwhile {
                    ask: Ask::get("/customers?pace=20").by(ServiceDesk).for_("direct-marketing"),
                    after: 300_000,
                    tell: withdraws(&leaving),
                    expected: rest,
                },
            ],
        ),
    ]
}

fn unseen_in_list(who: &Person) -> Expectation {
    let (family, email) = (who.family(), who.email());
    without(Expectation::released(), who).not_after_mark(family).not_after_mark(&email)
}
