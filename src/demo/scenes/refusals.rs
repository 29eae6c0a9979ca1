//! Requests that get a problem document, and upstreams that misbehave.

use http::Method;

use super::Credential::{Registrar, Reseller, ServiceDesk, Unregistered};
use super::{Ask, Scene, Step, customer, scene, without};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    let one = |title, outcome, ask: Ask, status, code| {
        let expected = Expectation::refused(status, code).nowhere(person(cast::CONSENTING).family());
        scene(title, "refusal", outcome, [Step::Ask(ask, expected)])
    };
    let marta = || customer(cast::CONSENTING);
    vec![
        one("No credential", "401", marta().for_("customer-support"), 401, "credential-missing"),
        one(
            "A key that nobody registered",
            "401",
            marta().by(Unregistered).for_("customer-support"),
            401,
            "credential-invalid",
        ),
        one(
            "Two credentials that name different recipients",
            "401",
            marta().by(Registrar).by(ServiceDesk).for_("customer-support"),
            401,
            "credential-invalid",
        ),
        one("No purpose", "400", marta().by(ServiceDesk), 400, "purpose-missing"),
        one(
            "Two purposes",
            "400",
            marta().by(ServiceDesk).for_("customer-support, survey"),
            400,
            "purpose-malformed",
        ),
        one(
            "A purpose nobody knows",
            "400",
            marta().by(ServiceDesk).for_("curiosity"),
            400,
            "purpose-unknown",
        ),
        one(
            "A legal basis in the place of a purpose",
            "400",
            marta().by(ServiceDesk).for_("legitimate-interest"),
            400,
            "legal-basis-as-purpose",
        ),
        one(
            "A purpose the recipient is not registered for",
            "403",
            marta().by(Reseller).for_("customer-support"),
            403,
            "purpose-not-permitted",
        ),
        one(
            "Data are not sold, even where somebody registered it",
            "403 (G-1)",
            marta().by(Reseller).for_("data-sale"),
            403,
            "no-rule-permits",
        ),
        one(
            "Searching by a field instead of reading it",
            "422",
            Ask::get(format!("/customers?email={}", person(cast::CONSENTING).email()))
                .by(ServiceDesk)
                .for_("trend-analysis"),
            422,
            "query-on-withheld-field",
        ),
        one(
            "A method that the route does not have",
            "405",
            Ask { method: Method::DELETE, ..marta().by(ServiceDesk).for_("customer-support") },
            405,
            "method-not-allowed",
        ),
        one(
            "No such route",
            "404",
            Ask::get("/salaries").by(ServiceDesk).for_("customer-support"),
            404,
            "not-found",
        ),
    ]
}

/// An upstream that breaks must not break the promise.
pub(super) fn faults() -> Vec<Scene> {
    let marta = person(cast::CONSENTING);
    let fault = |title, outcome, target: &str, expected| {
        scene(
            title,
            "P-12",
            outcome,
            [Step::Ask(Ask::get(target).by(ServiceDesk).for_("customer-support"), without(expected, &marta))],
        )
    };
    vec![
        fault(
            "The upstream's JSON ends in the middle",
            "502, and not a byte of it",
            "/broken",
            Expectation::refused(502, "upstream-unreadable"),
        ),
        fault(
            "The upstream answers with a table instead of JSON",
            "502, and not a byte of it",
            "/csv",
            Expectation::refused(502, "upstream-unreadable"),
        ),
        fault(
            "The upstream fails and quotes a customer in its error",
            "its status; neither its body nor its reason",
            "/error",
            Expectation::refused(500, "upstream-refused"),
        ),
        fault(
            "The upstream does not answer",
            "504 after the second that this route waits",
            "/slow",
            Expectation::refused(504, "upstream-timeout"),
        ),
        scene(
            "The upstream breaks after most of a list has left",
            "P-12",
            "the answer is cut off, so that nobody takes it for whole; nothing of the unreadable part",
            [Step::Ask(
                Ask::get("/broken/late").by(ServiceDesk).for_("customer-support"),
                Expectation::cut().somewhere(&marta.name()).nowhere("%PDF"),
            )],
        ),
    ]
}
