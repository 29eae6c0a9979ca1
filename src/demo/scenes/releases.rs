//! What each recipient receives for its purpose.

use super::Credential::{PaymentProcessor, Registrar, Reseller, ServiceDesk};
use super::{Ask, Scene, Step, customer, scene, without};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    let marta = person(cast::CONSENTING);
    let support = Expectation::released()
        .is("/name", marta.name())
        .is("/email", marta.email())
        .present("/card/last4")
        .is("/login/username", marta.username())
        .absent("/login/password_hash")
        .absent("/login/last_ip")
        .absent("/accessibility_needs")
        .absent("/internal_score")
        .nowhere("argon2")
        .nowhere(&marta.ip_address())
        .header("data-purpose-applied", "customer-support");
    let trends = Expectation::released()
        .replaced("/name", &marta.name())
        .replaced("/email", &marta.email())
        .replaced("/id", &marta.id())
        .present("/usage/sessions_30d")
        .is("/date_of_birth", marta.birth_date().split('-').next().unwrap_or_default())
        .is("/address", serde_json::json!({"country": marta.country()}))
        .nowhere(&marta.street())
        .absent("/company");
    let registrant = person(cast::REGISTRANT);
    let domain = Expectation::released()
        .is("/ldhName", "brandtner.example")
        .somewhere(&registrant.name())
        .somewhere(&registrant.email())
        .somewhere(&registrant.street())
        .somewhere(&registrant.phone())
        .nowhere(&registrant.username())
        .nowhere("\"org\"");
    let domain = without(domain, &person(cast::NEVER_ASKED));
    let chiara = person(cast::DOWNLOADER);
    let follow_up = Expectation::released()
        .is("/name", chiara.name())
        .is("/phone", chiara.phone())
        .present("/company")
        .absent("/date_of_birth")
        .absent("/usage")
        .absent("/support_notes")
        .nowhere(&chiara.birth_date());
    let payment = Expectation::released()
        .present("/default_payment_method/card/last4")
        .present("/default_payment_method/billing_details/address/line1")
        .absent("/name")
        .absent("/phone")
        .absent("/metadata/referred_by")
        .absent("/default_payment_method/card/fingerprint")
        .nowhere("4000 0000 0000");
    let caller = person(cast::NEVER_ASKED);
    let ticket = Expectation::released()
        .is("/requester/name", caller.name())
        .is("/assignee/name", "Wanda Helpdesk")
        .somewhere("Cannot reach my invoice")
        .absent("/requester/ip_address")
        .nowhere(&caller.ip_address());
    vec![
        scene(
            "The service desk helps a customer",
            "G-6.4f",
            "contact, card summary and notes; no password, no IP address, no health, nothing unclassified",
            [Step::Ask(customer(cast::CONSENTING).by(ServiceDesk).for_("customer-support"), support)],
        ),
        scene(
            "The same person for a study of trends",
            "G-6.4i",
            "use in clear, birth date and address coarse, whoever it is under pseudonyms",
            [Step::Ask(customer(cast::CONSENTING).by(ServiceDesk).for_("trend-analysis"), trends)],
        ),
        scene(
            "A registrar registers a domain (client certificate)",
            "G-6.7d",
            "the registrant's name, address, e-mail and phone; nothing of the technical contact",
            [Step::Ask(
                Ask::get("/rdap/domain/brandtner.example").by(Registrar).for_("domain-registration"),
                domain,
            )],
        ),
        scene(
            "A reseller follows up a download in its own region",
            "G-6.7e",
            "name, contact, company",
            [Step::Ask(customer(cast::DOWNLOADER).by(Reseller).for_("reseller-follow-up"), follow_up)],
        ),
        scene(
            "The payment processor takes a payment",
            "G-6.7b",
            "billing and the card's last digits; no name beside it, never the card number",
            [Step::Ask(
                Ask::get(format!("/payments/customers/{}", marta.id()))
                    .by(PaymentProcessor)
                    .for_("payment-processing"),
                payment,
            )],
        ),
        scene(
            "A support ticket, under its own number",
            "G-6.4f",
            "the text and both people; not the address the call came from",
            [Step::Ask(
                Ask::get("/tickets/T-1042").by(ServiceDesk).for_("customer-support;case=\"T-1042\""),
                ticket.header("data-purpose-applied", "customer-support"),
            )],
        ),
    ]
}
