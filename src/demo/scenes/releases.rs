//! The fields that each recipient receives for its purpose.

use super::Credential::{PaymentProcessor, Registrar, Reseller, ServiceDesk};
use super::{Scene, SceneRequest, customer, one_request, without_identity};
use crate::demo::expectation::Expectation;
use crate::demo::people::{cast, person};

pub(super) fn scenes() -> Vec<Scene> {
    vec![support(), trends(), domain_registration(), reseller_follow_up(), payment(), support_ticket()]
}

fn support() -> Scene {
    let marta = person(cast::CONSENTING);
    let expected = Expectation::released(
        "contact, card summary and notes; no password, IP address, health or unclassified field",
    );
    let expected = expected
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
    let request = customer(cast::CONSENTING, ServiceDesk, "customer-support");
    one_request("The service desk helps a customer", "G-6.4f", request, expected)
}

fn trends() -> Scene {
    let marta = person(cast::CONSENTING);
    let year = marta.birth_date().split('-').next().unwrap_or_default().to_owned();
    let expected = Expectation::released(
        "usage in clear; year of birth and country alone; pseudonyms for name, e-mail and phone",
    );
    let expected = expected
        .replaced("/name", &marta.name())
        .replaced("/email", &marta.email())
        .replaced("/id", &marta.id())
        .present("/usage/sessions_30d")
        .equals("/date_of_birth", year)
        .equals("/address", serde_json::json!({"country": marta.country()}))
        .excludes(&marta.street())
        .absent("/company");
    let request = customer(cast::CONSENTING, ServiceDesk, "trend-analysis");
    one_request("The same person in a study of trends", "G-6.4i", request, expected)
}

fn domain_registration() -> Scene {
    let registrant = person(cast::REGISTRANT);
    let expected = Expectation::released(
        "the registrant's name, address, e-mail and phone; nothing of the technical contact",
    );
    let expected = expected
        .equals("/ldhName", "brandtner.example")
        .contains(&registrant.name())
        .contains(&registrant.email())
        .contains(&registrant.street())
        .contains(&registrant.phone())
        .excludes(&registrant.username())
        .excludes("\"org\"");
    let expected = without_identity(expected, &person(cast::NEVER_ASKED));
    let request = SceneRequest::get("/rdap/domain/brandtner.example")
        .with_credential(Registrar)
        .with_purpose("domain-registration");
    one_request("A registrar registers a domain (client certificate)", "G-6.7d", request, expected)
}

fn reseller_follow_up() -> Scene {
    let chiara = person(cast::DOWNLOADER);
    let expected = Expectation::released("name, contact and company")
        .equals("/name", chiara.name())
        .equals("/phone", chiara.phone())
        .present("/company")
        .absent("/date_of_birth")
        .absent("/usage")
        .absent("/support_notes")
        .excludes(&chiara.birth_date());
    let request = customer(cast::DOWNLOADER, Reseller, "reseller-follow-up");
    one_request("A reseller follows up a download in its own region", "G-6.7e", request, expected)
}

fn payment() -> Scene {
    let expected = Expectation::released(
        "billing address and the card's last digits; neither the name nor the card number",
    );
    let expected = expected
        .present("/default_payment_method/card/last4")
        .present("/default_payment_method/billing_details/address/line1")
        .absent("/name")
        .absent("/phone")
        .absent("/metadata/referred_by")
        .absent("/default_payment_method/card/fingerprint")
        .excludes("4000 0000 0000");
    let request = SceneRequest::get(format!("/payments/customers/{}", person(cast::CONSENTING).id()))
        .with_credential(PaymentProcessor)
        .with_purpose("payment-processing");
    one_request("The payment processor takes a payment", "G-6.7b", request, expected)
}

fn support_ticket() -> Scene {
    let caller = person(cast::NEVER_ASKED);
    let expected = Expectation::released("the text and both people; not the IP address of the caller")
        .equals("/requester/name", caller.name())
        .equals("/assignee/name", "Wanda Helpdesk")
        .contains("Cannot reach my invoice")
        .absent("/requester/ip_address")
        .excludes(&caller.ip_address())
        .header("data-purpose-applied", "customer-support");
    let request = SceneRequest::get("/tickets/T-1042")
        .with_credential(ServiceDesk)
        .with_purpose("customer-support;case=\"T-1042\"");
    one_request("A support ticket, with its number in the purpose", "G-6.4f", request, expected)
}
