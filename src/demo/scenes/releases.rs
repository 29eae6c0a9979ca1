//! What each recipient receives for its purpose.

use super::Credential::{PaymentProcessor, Registrar, Reseller, ServiceDesk};
use super::{Scene, SceneRequest, SceneStep, customer, scene, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    let marta = person(cast::CONSENTING);
    let support = Expectation::released()
        .equals("/name", marta.name())
        .equals("/email", marta.email())
        .present("/card/last4")
        .equals("/login/username", marta.username())
        .absent("/login/password_hash")
        .absent("/login/last_ip")
        .absent("/accessibility_needs")
        .absent("/internal_score")
        .excludes("argon2")
        .excludes(&marta.ip_address())
        .header("data-purpose-applied", "customer-support");
    let trends = Expectation::released()
        .replaced("/name", &marta.name())
        .replaced("/email", &marta.email())
        .replaced("/id", &marta.id())
        .present("/usage/sessions_30d")
        .equals("/date_of_birth", marta.birth_date().split('-').next().unwrap_or_default())
        .equals("/address", serde_json::json!({"country": marta.country()}))
        .excludes(&marta.street())
        .absent("/company");
    let registrant = person(cast::REGISTRANT);
    let domain = Expectation::released()
        .equals("/ldhName", "brandtner.example")
        .contains(&registrant.name())
        .contains(&registrant.email())
        .contains(&registrant.street())
        .contains(&registrant.phone())
        .excludes(&registrant.username())
        .excludes("\"org\"");
    let domain = without_identity(domain, &person(cast::NEVER_ASKED));
    let chiara = person(cast::DOWNLOADER);
    let follow_up = Expectation::released()
        .equals("/name", chiara.name())
        .equals("/phone", chiara.phone())
        .present("/company")
        .absent("/date_of_birth")
        .absent("/usage")
        .absent("/support_notes")
        .excludes(&chiara.birth_date());
    let payment = Expectation::released()
        .present("/default_payment_method/card/last4")
        .present("/default_payment_method/billing_details/address/line1")
        .absent("/name")
        .absent("/phone")
        .absent("/metadata/referred_by")
        .absent("/default_payment_method/card/fingerprint")
        .excludes("4000 0000 0000");
    let caller = person(cast::NEVER_ASKED);
    let ticket = Expectation::released()
        .equals("/requester/name", caller.name())
        .equals("/assignee/name", "Wanda Helpdesk")
        .contains("Cannot reach my invoice")
        .absent("/requester/ip_address")
        .excludes(&caller.ip_address());
    vec![
        scene(
            "The service desk helps a customer",
            "G-6.4f",
            "contact, card summary and notes; no password, no IP address, no health, nothing unclassified",
            [SceneStep::Request(
                customer(cast::CONSENTING).with_credential(ServiceDesk).with_purpose("customer-support"),
                support,
            )],
        ),
        scene(
            "The same person for a study of trends",
            "G-6.4i",
            "use in clear, birth date and address coarse, whoever it is under pseudonyms",
            [SceneStep::Request(
                customer(cast::CONSENTING).with_credential(ServiceDesk).with_purpose("trend-analysis"),
                trends,
            )],
        ),
        scene(
            "A registrar registers a domain (client certificate)",
            "G-6.7d",
            "the registrant's name, address, e-mail and phone; nothing of the technical contact",
            [SceneStep::Request(
                SceneRequest::get("/rdap/domain/brandtner.example")
                    .with_credential(Registrar)
                    .with_purpose("domain-registration"),
                domain,
            )],
        ),
        scene(
            "A reseller follows up a download in its own region",
            "G-6.7e",
            "name, contact, company",
            [SceneStep::Request(
                customer(cast::DOWNLOADER).with_credential(Reseller).with_purpose("reseller-follow-up"),
                follow_up,
            )],
        ),
        scene(
            "The payment processor takes a payment",
            "G-6.7b",
            "billing and the card's last digits; no name beside it, never the card number",
            [SceneStep::Request(
                SceneRequest::get(format!("/payments/customers/{}", marta.id()))
                    .with_credential(PaymentProcessor)
                    .with_purpose("payment-processing"),
                payment,
            )],
        ),
        scene(
            "A support ticket, under its own number",
            "G-6.4f",
            "the text and both people; not the address the call came from",
            [SceneStep::Request(
                SceneRequest::get("/tickets/T-1042")
                    .with_credential(ServiceDesk)
                    .with_purpose("customer-support;case=\"T-1042\""),
                ticket.header("data-purpose-applied", "customer-support"),
            )],
        ),
    ]
}
