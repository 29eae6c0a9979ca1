//! Requests that are refused with a problem document before the company API is asked.

use http::Method;

use super::Credential::{Registrar, Reseller, ServiceDesk, Unregistered};
use super::{Scene, SceneRequest, customer, customer_without_credential, one_request};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    [credentials(), purposes(), targets()].concat()
}

fn refused(title: &'static str, request: SceneRequest, status: u16, code: &'static str) -> Scene {
    let expected = Expectation::refused(status, code).excludes(person(cast::CONSENTING).family());
    one_request(title, "", request, expected)
}

/// A request for Marta's record, without credential and purpose.
fn marta() -> SceneRequest {
    customer_without_credential(cast::CONSENTING)
}

fn credentials() -> Vec<Scene> {
    let support = || marta().with_purpose("customer-support");
    vec![
        refused("No credential", support(), 401, "credential-missing"),
        refused(
            "An API key that belongs to no recipient",
            support().with_credential(Unregistered),
            401,
            "credential-invalid",
        ),
        refused(
            "Two credentials of different recipients",
            support().with_credential(Registrar).with_credential(ServiceDesk),
            401,
            "credential-invalid",
        ),
    ]
}

fn purposes() -> Vec<Scene> {
    let desk = |purpose| customer(cast::CONSENTING, ServiceDesk, purpose);
    let reseller = |purpose| customer(cast::CONSENTING, Reseller, purpose);
    vec![
        refused("No purpose", marta().with_credential(ServiceDesk), 400, "purpose-missing"),
        refused("Two purposes", desk("customer-support, survey"), 400, "purpose-malformed"),
        refused("An unknown purpose", desk("curiosity"), 400, "purpose-unknown"),
        refused(
            "A legal basis in the place of a purpose",
            desk("legitimate-interest"),
            400,
            "legal-basis-as-purpose",
        ),
        refused(
            "A purpose that the recipient is not registered for",
            reseller("customer-support"),
            403,
            "purpose-not-permitted",
        ),
        refused(
            "The sale of data, although somebody registered it",
            reseller("data-sale"),
            403,
            "no-rule-permits",
        ),
    ]
}

fn targets() -> Vec<Scene> {
    let search = format!("/customers?email={}", person(cast::CONSENTING).email());
    let delete = customer(cast::CONSENTING, ServiceDesk, "customer-support");
    vec![
        refused(
            "A search by a field that the purpose does not show",
            SceneRequest::get(search).with_credential(ServiceDesk).with_purpose("trend-analysis"),
            422,
            "query-on-withheld-field",
        ),
        refused(
            "A method that the route does not serve",
            SceneRequest { method: Method::DELETE, ..delete },
            405,
            "method-not-allowed",
        ),
        refused(
            "A path without a route",
            SceneRequest::get("/salaries").with_credential(ServiceDesk).with_purpose("customer-support"),
            404,
            "not-found",
        ),
    ]
}
