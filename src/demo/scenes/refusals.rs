//! Requests that get a problem document, and upstreams that misbehave.

use http::Method;

use super::Credential::{Registrar, Reseller, ServiceDesk, Unregistered};
use super::{Scene, SceneRequest, SceneStep, customer, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    let one = |title, outcome, ask: SceneRequest, status, code| {
        let expected = Expectation::refused(status, code).excludes(person(cast::CONSENTING).family());
        scene(title, "refusal", outcome, [SceneStep::Request(ask, expected)])
    };
    let marta = || customer(cast::CONSENTING);
    vec![
        one("No credential", "401", marta().with_purpose("customer-support"), 401, "credential-missing"),
        one(
            "A key that nobody registered",
            "401",
            marta().with_credential(Unregistered).with_purpose("customer-support"),
            401,
            "credential-invalid",
        ),
        one(
            "Two credentials that name different recipients",
            "401",
            marta().with_credential(Registrar).with_credential(ServiceDesk).with_purpose("customer-support"),
            401,
            "credential-invalid",
        ),
        one("No purpose", "400", marta().with_credential(ServiceDesk), 400, "purpose-missing"),
        one(
            "Two purposes",
            "400",
            marta().with_credential(ServiceDesk).with_purpose("customer-support, survey"),
            400,
            "purpose-malformed",
        ),
        one(
            "A purpose nobody knows",
            "400",
            marta().with_credential(ServiceDesk).with_purpose("curiosity"),
            400,
            "purpose-unknown",
        ),
        one(
            "A legal basis in the place of a purpose",
            "400",
            marta().with_credential(ServiceDesk).with_purpose("legitimate-interest"),
            400,
            "legal-basis-as-purpose",
        ),
        one(
            "A purpose the recipient is not registered for",
            "403",
            marta().with_credential(Reseller).with_purpose("customer-support"),
            403,
            "purpose-not-permitted",
        ),
        one(
            "Data are not sold, even where somebody registered it",
            "403 (G-1)",
            marta().with_credential(Reseller).with_purpose("data-sale"),
            403,
            "no-rule-permits",
        ),
        one(
            "Searching by a field instead of reading it",
            "422",
            SceneRequest::get(format!("/customers?email={}", person(cast::CONSENTING).email()))
                .with_credential(ServiceDesk)
                .with_purpose("trend-analysis"),
            422,
            "query-on-withheld-field",
        ),
        one(
            "A method that the route does not have",
            "405",
            SceneRequest {
                method: Method::DELETE,
                ..marta().with_credential(ServiceDesk).with_purpose("customer-support")
            },
            405,
            "method-not-allowed",
        ),
        one(
            "No such route",
            "404",
            SceneRequest::get("/salaries").with_credential(ServiceDesk).with_purpose("customer-support"),
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
            [SceneStep::Request(
                SceneRequest::get(target).with_credential(ServiceDesk).with_purpose("customer-support"),
                without_identity(expected, &marta),
            )],
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
            [SceneStep::Request(
                SceneRequest::get("/broken/late")
                    .with_credential(ServiceDesk)
                    .with_purpose("customer-support"),
                Expectation::truncated().contains(&marta.name()).excludes("%PDF"),
            )],
        ),
    ]
}
