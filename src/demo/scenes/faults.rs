//! A company API that fails: nothing leaves that the gateway could not read.

use super::Credential::ServiceDesk;
use super::{Scene, SceneRequest, one_request, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    let marta = person(cast::CONSENTING);
    let fault = |title, target: &str, expected| {
        let request = SceneRequest::get(target).with_credential(ServiceDesk).with_purpose("customer-support");
        one_request(title, "", request, expected)
    };
    let refused = |status, code, content| {
        without_identity(Expectation::refused(status, code).with_content(content), &marta)
    };
    let truncated = Expectation::truncated(
        "200, cut off so that nobody takes the list for a complete one; nothing of the unreadable part",
    );
    vec![
        fault(
            "The API's JSON ends in the middle",
            "/broken",
            refused(502, "upstream-unreadable", "not a byte of it"),
        ),
        fault(
            "The API answers with a table instead of JSON",
            "/csv",
            refused(502, "upstream-unreadable", "not a byte of it"),
        ),
        fault(
            "The API fails and quotes a customer in its error",
            "/error",
            refused(500, "upstream-refused", "the API's status, without its body and its reason phrase"),
        ),
        fault(
            "The API does not answer",
            "/slow",
            refused(504, "upstream-timeout", "after one second, the timeout of this route"),
        ),
        fault(
            "The API breaks after most of a list has left",
            "/broken/late",
            truncated.contains(&marta.name()).excludes("%PDF"),
        ),
    ]
}
