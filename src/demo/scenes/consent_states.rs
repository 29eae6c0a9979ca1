//! The same request for different people: each person's own consents, objections and facts decide.

use super::Credential::{Reseller, ServiceDesk};
use super::{Scene, SceneRequest, SceneStep, customer, one_request, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, id, person};

/// People whose name and contact the mailing does not receive.
const WITHOUT_MARKETING: [u32; 7] = [
    cast::NEVER_ASKED,
    cast::WITHDRAWN,
    cast::ERASED,
    cast::RESTRICTED,
    cast::MINOR,
    cast::OBJECTING,
    cast::UNKNOWN,
];

pub(super) fn scenes() -> Vec<Scene> {
    let mut scenes = vec![mailing(), shop_flag(), objection()];
    scenes.extend(nothing_personal());
    scenes.extend([reseller_limits(), refused_phone(), gift_orders(), directory()]);
    scenes
}

fn mailing() -> Scene {
    let at = |number: u32, member: &str| format!("/items/{}/{member}", number - 1);
    let marta = person(cast::CONSENTING);
    let expected =
        Expectation::released("name and contact of those who consented; the status alone of everybody else");
    let mut expected = expected
        .equals("/total", 10_000)
        .equals(&at(cast::CONSENTING, "name"), marta.name())
        .equals(&at(cast::CONSENTING, "email"), marta.email())
        .absent(&at(cast::CONSENTING, "id"))
        .equals(&at(cast::STAYING, "name"), person(cast::STAYING).name())
        .present(&at(cast::UNKNOWN, "status"));
    for number in WITHOUT_MARKETING {
        expected = without_identity(expected, &person(number)).present(&at(number, "status"));
    }
    let request =
        SceneRequest::get("/customers").with_credential(ServiceDesk).with_purpose("direct-marketing");
    one_request(
        "A mailing to 10,000 people: each by their own consent",
        "G-6.4b",
        request.long_answer(),
        expected,
    )
}

fn shop_flag() -> Scene {
    let expected = Expectation::released("nothing personal: the ledger decides, not the shop's flag");
    let request = SceneRequest::get(format!("/shop/customers/{}", id(cast::WITHDRAWN)))
        .with_credential(ServiceDesk)
        .with_purpose("direct-marketing");
    one_request(
        "The shop's own flag says yes, but the person has withdrawn",
        "",
        request,
        without_identity(expected, &person(cast::WITHDRAWN)).equals("/customer/state", "enabled"),
    )
}

fn objection() -> Scene {
    let henrik = person(cast::OBJECTING);
    let notice = Expectation::released("name and contact")
        .equals("/name", henrik.name())
        .equals("/email", henrik.email())
        .absent("/usage");
    scene(
        "No advertising after an objection, but the notice that a contract needs",
        "G-6.6a",
        [
            SceneStep::Request(
                customer(cast::OBJECTING, ServiceDesk, "direct-marketing"),
                nothing_of(cast::OBJECTING, "nothing personal"),
            ),
            SceneStep::Request(customer(cast::OBJECTING, ServiceDesk, "essential-notice"), notice),
        ],
    )
}

/// Expects the record with its status and without the person.
fn nothing_of(number: u32, content: &'static str) -> Expectation {
    without_identity(Expectation::released(content), &person(number)).present("/status").absent("/name")
}

/// Scenes with people whose personal data are withheld, even for support.
fn nothing_personal() -> Vec<Scene> {
    let unsupported = |title, clause, number, content| {
        let request = customer(number, ServiceDesk, "customer-support");
        one_request(title, clause, request, nothing_of(number, content))
    };
    vec![
        unsupported("A minor", "G-ch", cast::MINOR, "nothing personal, even for support"),
        unsupported(
            "Somebody whose data were erased",
            "G-6.8c",
            cast::ERASED,
            "nothing personal, although the API still has the record",
        ),
        unsupported(
            "Somebody whose data are restricted",
            "G-6.8d",
            cast::RESTRICTED,
            "nothing personal while the restriction lasts",
        ),
        unsupported(
            "Somebody whom the ledger does not know",
            "G-3a",
            cast::UNKNOWN,
            "nothing personal: without a record of the person nothing leaves",
        ),
    ]
}

fn reseller_limits() -> Scene {
    let request = |number| customer(number, Reseller, "reseller-follow-up");
    scene(
        "Somebody who opted out of this reseller, and somebody in another region",
        "G-6.7e, G-6.7f",
        [
            SceneStep::Request(
                request(cast::OPTED_OUT),
                nothing_of(cast::OPTED_OUT, "nothing personal: opted out"),
            ),
            SceneStep::Request(
                request(cast::OVERSEAS),
                nothing_of(cast::OVERSEAS, "nothing personal: another region than the reseller's"),
            ),
        ],
    )
}

fn refused_phone() -> Scene {
    let femke = person(cast::NO_PHONE);
    let expected = Expectation::released("everything for support but the phone number")
        .equals("/email", femke.email())
        .absent("/phone")
        .excludes(&femke.phone());
    let request = customer(cast::NO_PHONE, ServiceDesk, "customer-support");
    one_request("Somebody who does not want to be called", "G-6.6b", request, expected)
}

fn gift_orders() -> Scene {
    let marta = person(cast::CONSENTING);
    let expected = Expectation::released("buyer and receiver of the gift, each by their own state");
    let expected = expected
        .equals("/orders/0/customer/name", marta.name())
        .equals("/orders/2/customer/name", person(cast::NEVER_ASKED).name())
        .equals("/orders/1/id", "o-4102")
        .absent("/orders/1/customer/name")
        .equals("/orders/3/gift/to/name", marta.name())
        .absent("/orders/3/customer/name");
    let hidden = [cast::ERASED, cast::MINOR, cast::UNKNOWN].map(person);
    let request = SceneRequest::get("/orders").with_credential(ServiceDesk).with_purpose("order-fulfilment");
    one_request(
        "Orders with a gift inside: two people in one record",
        "G-6.4d",
        request,
        hidden.iter().fold(expected, without_identity),
    )
}

fn directory() -> Scene {
    let expected = Expectation::released("users with their contact; nothing of the restricted one")
        .equals("/Resources/0/displayName", person(cast::CONSENTING).name())
        .equals("/Resources/2/active", true)
        .equals("/Resources/3/phoneNumbers/0/value", person(cast::NO_PHONE).phone());
    let request =
        SceneRequest::get("/scim/Users").with_credential(ServiceDesk).with_purpose("account-management");
    one_request(
        "A SCIM directory for account management",
        "G-6.4d",
        request,
        without_identity(expected, &person(cast::RESTRICTED)),
    )
}
