//! What one person has said, against what everybody else has said.

use super::Credential::{Reseller, ServiceDesk};
use super::{Scene, SceneRequest, SceneStep, customer, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{SamplePerson, cast, id, person};

pub(super) fn scenes() -> Vec<Scene> {
    let at = |number: u32, member: &str| format!("/items/{}/{member}", number - 1);
    let (marta, objecting) = (person(cast::CONSENTING), person(cast::OBJECTING));
    let mut list = Expectation::released()
        .equals("/total", 10_000)
        .equals(&at(cast::CONSENTING, "name"), marta.name())
        .equals(&at(cast::CONSENTING, "email"), marta.email())
        .absent(&at(cast::CONSENTING, "id"))
        .equals(&at(cast::STAYING, "name"), person(cast::STAYING).name())
        .present(&at(cast::UNKNOWN, "status"));
    for silent in [
        cast::NEVER_ASKED,
        cast::WITHDRAWN,
        cast::ERASED,
        cast::RESTRICTED,
        cast::MINOR,
        cast::OBJECTING,
        cast::UNKNOWN,
    ] {
        list = without_identity(list, &person(silent)).present(&at(silent, "status"));
    }
    let nothing_of = |number| {
        without_identity(Expectation::released(), &person(number)).present("/status").absent("/name")
    };
    let objector = Expectation::released()
        .equals("/name", objecting.name())
        .equals("/email", objecting.email())
        .absent("/usage");
    let buyer = |n: usize, who: &SamplePerson| (format!("/orders/{n}/customer/name"), who.name());
    let (first, first_name) = buyer(0, &marta);
    let (third, third_name) = buyer(2, &person(cast::NEVER_ASKED));
    let orders = Expectation::released()
        .equals(&first, first_name)
        .equals(&third, third_name)
        .equals("/orders/1/id", "o-4102")
        .absent("/orders/1/customer/name")
        .equals("/orders/3/gift/to/name", marta.name())
        .absent("/orders/3/customer/name");
    let orders = [cast::ERASED, cast::MINOR, cast::UNKNOWN].map(person).iter().fold(orders, without_identity);
    let directory = Expectation::released()
        .equals("/Resources/0/displayName", marta.name())
        .equals("/Resources/2/active", true)
        .equals("/Resources/3/phoneNumbers/0/value", person(cast::NO_PHONE).phone());
    let directory = without_identity(directory, &person(cast::RESTRICTED));
    let no_phone = person(cast::NO_PHONE);
    vec![
        scene(
            "A mailing to 10,000 people: each by their own consent",
            "P-2b, G-6.4b",
            "name and contact of those who consented; an empty record for everybody else",
            [SceneStep::Request(
                SceneRequest::get("/customers")
                    .with_credential(ServiceDesk)
                    .with_purpose("direct-marketing")
                    .long_answer(),
                list,
            )],
        ),
        scene(
            "The shop's own flag says yes, the person has withdrawn",
            "P-6a",
            "nothing personal: the ledger decides",
            [SceneStep::Request(
                SceneRequest::get(format!("/shop/customers/{}", id(cast::WITHDRAWN)))
                    .with_credential(ServiceDesk)
                    .with_purpose("direct-marketing"),
                without_identity(Expectation::released(), &person(cast::WITHDRAWN))
                    .equals("/customer/state", "enabled"),
            )],
        ),
        scene(
            "No advertising after an objection, but the notice that a contract needs",
            "G-6.6a",
            "first nothing, then name and contact",
            [
                SceneStep::Request(
                    customer(cast::OBJECTING).with_credential(ServiceDesk).with_purpose("direct-marketing"),
                    nothing_of(cast::OBJECTING),
                ),
                SceneStep::Request(
                    customer(cast::OBJECTING).with_credential(ServiceDesk).with_purpose("essential-notice"),
                    objector,
                ),
            ],
        ),
        scene(
            "Somebody not of age",
            "G-ch",
            "nothing personal, even for support",
            [SceneStep::Request(
                customer(cast::MINOR).with_credential(ServiceDesk).with_purpose("customer-support"),
                nothing_of(cast::MINOR),
            )],
        ),
        scene(
            "Somebody who had their data erased",
            "G-6.8c",
            "nothing personal, though the upstream still has it",
            [SceneStep::Request(
                customer(cast::ERASED).with_credential(ServiceDesk).with_purpose("customer-support"),
                nothing_of(cast::ERASED),
            )],
        ),
        scene(
            "Somebody whose data are restricted",
            "G-6.8d",
            "nothing personal while it lasts",
            [SceneStep::Request(
                customer(cast::RESTRICTED).with_credential(ServiceDesk).with_purpose("customer-support"),
                nothing_of(cast::RESTRICTED),
            )],
        ),
        scene(
            "Somebody the ledger has never heard of",
            "G-3a",
            "nothing personal: what is not known does not leave",
            [SceneStep::Request(
                customer(cast::UNKNOWN).with_credential(ServiceDesk).with_purpose("customer-support"),
                nothing_of(cast::UNKNOWN),
            )],
        ),
        scene(
            "Somebody who opted out of this reseller, and somebody in another region",
            "G-6.7e, G-6.7f",
            "nothing personal of either",
            [
                SceneStep::Request(
                    customer(cast::OPTED_OUT).with_credential(Reseller).with_purpose("reseller-follow-up"),
                    nothing_of(cast::OPTED_OUT),
                ),
                SceneStep::Request(
                    customer(cast::OVERSEAS).with_credential(Reseller).with_purpose("reseller-follow-up"),
                    nothing_of(cast::OVERSEAS),
                ),
            ],
        ),
        scene(
            "Somebody who does not want the telephone used",
            "G-6.6b",
            "everything for support but the number",
            [SceneStep::Request(
                customer(cast::NO_PHONE).with_credential(ServiceDesk).with_purpose("customer-support"),
                Expectation::released()
                    .equals("/email", no_phone.email())
                    .absent("/phone")
                    .excludes(&no_phone.phone()),
            )],
        ),
        scene(
            "Orders, with a gift inside one: two people in one record",
            "G-6.4d",
            "each person by their own state, the buyer and the one who receives the gift",
            [SceneStep::Request(
                SceneRequest::get("/orders").with_credential(ServiceDesk).with_purpose("order-fulfilment"),
                orders,
            )],
        ),
        scene(
            "A SCIM directory for account management",
            "G-6.4d",
            "users with their contact, and nothing of the restricted one",
            [SceneStep::Request(
                SceneRequest::get("/scim/Users")
                    .with_credential(ServiceDesk)
                    .with_purpose("account-management"),
                directory,
            )],
        ),
    ]
}
