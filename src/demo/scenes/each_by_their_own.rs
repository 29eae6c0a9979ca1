//! What one person has said, against what everybody else has said.

use super::Credential::{Reseller, ServiceDesk};
use super::{Ask, Scene, Step, customer, scene, without};
use crate::demo::expectation::Expectation;
use crate::demo::people::{Person, cast, id, person};

pub(super) fn scenes() -> Vec<Scene> {
    let at = |number: u32, member: &str| format!("/items/{}/{member}", number - 1);
    let (marta, objecting) = (person(cast::CONSENTING), person(cast::OBJECTING));
    let mut list = Expectation::released()
        .is("/total", 10_000)
        .is(&at(cast::CONSENTING, "name"), marta.name())
        .is(&at(cast::CONSENTING, "email"), marta.email())
        .absent(&at(cast::CONSENTING, "id"))
        .is(&at(cast::STAYING, "name"), person(cast::STAYING).name())
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
        list = without(list, &person(silent)).present(&at(silent, "status"));
    }
    let nothing_of =
        |number| without(Expectation::released(), &person(number)).present("/status").absent("/name");
    let objector = Expectation::released()
        .is("/name", objecting.name())
        .is("/email", objecting.email())
        .absent("/usage");
    let buyer = |n: usize, who: &Person| (format!("/orders/{n}/customer/name"), who.name());
    let (first, first_name) = buyer(0, &marta);
    let (third, third_name) = buyer(2, &person(cast::NEVER_ASKED));
    let orders = Expectation::released()
        .is(&first, first_name)
        .is(&third, third_name)
        .is("/orders/1/id", "o-4102")
        .absent("/orders/1/customer/name")
        .is("/orders/3/gift/to/name", marta.name())
        .absent("/orders/3/customer/name");
    let orders = [cast::ERASED, cast::MINOR, cast::UNKNOWN].map(person).iter().fold(orders, without);
    let directory = Expectation::released()
        .is("/Resources/0/displayName", marta.name())
        .is("/Resources/2/active", true)
        .is("/Resources/3/phoneNumbers/0/value", person(cast::NO_PHONE).phone());
    let directory = without(directory, &person(cast::RESTRICTED));
    let no_phone = person(cast::NO_PHONE);
    vec![
        scene(
            "A mailing to 10,000 people: each by their own consent",
            "P-2b, G-6.4b",
            "name and contact of those who consented; an empty record for everybody else",
            [Step::Ask(Ask::get("/customers").by(ServiceDesk).for_("direct-marketing").long(), list)],
        ),
        scene(
            "The shop's own flag says yes, the person has withdrawn",
            "P-6a",
            "nothing personal: the ledger decides",
            [Step::Ask(
                Ask::get(format!("/shop/customers/{}", id(cast::WITHDRAWN)))
                    .by(ServiceDesk)
                    .for_("direct-marketing"),
                without(Expectation::released(), &person(cast::WITHDRAWN)).is("/customer/state", "enabled"),
            )],
        ),
        scene(
            "No advertising after an objection, but the notice that a contract needs",
            "G-6.6a",
            "first nothing, then name and contact",
            [
                Step::Ask(
                    customer(cast::OBJECTING).by(ServiceDesk).for_("direct-marketing"),
                    nothing_of(cast::OBJECTING),
                ),
                Step::Ask(customer(cast::OBJECTING).by(ServiceDesk).for_("essential-notice"), objector),
            ],
        ),
        scene(
            "Somebody not of age",
            "G-ch",
            "nothing personal, even for support",
            [Step::Ask(
                customer(cast::MINOR).by(ServiceDesk).for_("customer-support"),
                nothing_of(cast::MINOR),
            )],
        ),
        scene(
            "Somebody who had their data erased",
            "G-6.8c",
            "nothing personal, though the upstream still has it",
            [Step::Ask(
                customer(cast::ERASED).by(ServiceDesk).for_("customer-support"),
                nothing_of(cast::ERASED),
            )],
        ),
        scene(
            "Somebody whose data are restricted",
            "G-6.8d",
            "nothing personal while it lasts",
            [Step::Ask(
                customer(cast::RESTRICTED).by(ServiceDesk).for_("customer-support"),
                nothing_of(cast::RESTRICTED),
            )],
        ),
        scene(
            "Somebody the ledger has never heard of",
            "G-3a",
            "nothing personal: what is not known does not leave",
            [Step::Ask(
                customer(cast::UNKNOWN).by(ServiceDesk).for_("customer-support"),
                nothing_of(cast::UNKNOWN),
            )],
        ),
        scene(
            "Somebody who opted out of this reseller, and somebody in another region",
            "G-6.7e, G-6.7f",
            "nothing personal of either",
            [
                Step::Ask(
                    customer(cast::OPTED_OUT).by(Reseller).for_("reseller-follow-up"),
                    nothing_of(cast::OPTED_OUT),
                ),
                Step::Ask(
                    customer(cast::OVERSEAS).by(Reseller).for_("reseller-follow-up"),
                    nothing_of(cast::OVERSEAS),
                ),
            ],
        ),
        scene(
            "Somebody who does not want the telephone used",
            "G-6.6b",
            "everything for support but the number",
            [Step::Ask(
                customer(cast::NO_PHONE).by(ServiceDesk).for_("customer-support"),
                Expectation::released()
                    .is("/email", no_phone.email())
                    .absent("/phone")
                    .nowhere(&no_phone.phone()),
            )],
        ),
        scene(
            "Orders, with a gift inside one: two people in one record",
            "G-6.4d",
            "each person by their own state, the buyer and the one who receives the gift",
            [Step::Ask(Ask::get("/orders").by(ServiceDesk).for_("order-fulfilment"), orders)],
        ),
        scene(
            "A SCIM directory for account management",
            "G-6.4d",
            "users with their contact, and nothing of the restricted one",
            [Step::Ask(Ask::get("/scim/Users").by(ServiceDesk).for_("account-management"), directory)],
        ),
    ]
}
