//! The scenes of the demonstration: what is asked, by whom, for what, and what must come of it.
//!
//! It describes and does nothing: `show` prints the scenes as `curl` lines, `demo --check` plays them.
//! Scenes are played in order; those that change what a person has said come last.

use http::Method;
use serde_json::Value;

use super::expectation::Expectation;
use super::people::{Person, cast, id, person};
use super::subjects;

/// What the caller shows of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// `service-desk`, by API key.
    ServiceDesk,
    /// `north-resale`, by API key.
    Reseller,
    /// `swift-pay`, by API key.
    PaymentProcessor,
    /// `acme-domains`, by client certificate.
    Registrar,
    /// An API key that nobody registered.
    Unregistered,
}

/// One request to the gateway.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub credentials: Vec<Credential>,
    /// The value of `Data-Purpose`, as sent.
    pub purpose: Option<&'static str>,
}

/// One event for the ledger, through the admin API.
#[derive(Clone, Debug)]
pub struct Tell {
    pub subject: String,
    pub event: Value,
}

/// One step of a scene.
#[derive(Clone, Debug)]
pub enum Step {
    Ask(Ask, Expectation),
    Tell(Tell),
    /// The event is sent once `after` bytes of the answer's body have been read; the rest is read when it is acknowledged.
    AskMeanwhile {
        ask: Ask,
        after: usize,
        tell: Tell,
        expected: Expectation,
    },
}

/// One thing to see.
#[derive(Clone, Debug)]
pub struct Scene {
    pub title: &'static str,
    /// The clause it shows, or the issue of a refusal.
    pub clause: &'static str,
    /// What to expect, for people.
    pub outcome: &'static str,
    pub steps: Vec<Step>,
}

impl Ask {
    fn get(target: impl Into<String>) -> Ask {
        Ask { method: Method::GET, target: target.into(), credentials: Vec::new(), purpose: None }
    }

    fn by(mut self, credential: Credential) -> Ask {
        self.credentials.push(credential);
        self
    }

    fn for_(mut self, purpose: &'static str) -> Ask {
        self.purpose = Some(purpose);
        self
    }
}

use Credential::{PaymentProcessor, Registrar, Reseller, ServiceDesk, Unregistered};

fn customer(number: u32) -> Ask {
    Ask::get(format!("/customers/{}", id(number)))
}

fn scene(
    title: &'static str,
    clause: &'static str,
    outcome: &'static str,
    steps: impl Into<Vec<Step>>,
) -> Scene {
    Scene { title, clause, outcome, steps: steps.into() }
}

/// Nothing that says who the person is.
fn without(expected: Expectation, who: &Person) -> Expectation {
    expected.nowhere(who.family()).nowhere(&who.email())
}

/// Every scene, in the order of playing.
pub fn scenes() -> Vec<Scene> {
    [releases(), each_by_their_own(), refusals(), faults(), withdrawals()].concat()
}

fn releases() -> Vec<Scene> {
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
        .present("/date_of_birth")
        .nowhere(&marta.birth_date())
        .present("/address")
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

/// Scenes in which what one person has said makes the difference.
fn each_by_their_own() -> Vec<Scene> {
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
            [Step::Ask(Ask::get("/customers").by(ServiceDesk).for_("direct-marketing"), list)],
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

fn refusals() -> Vec<Scene> {
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
fn faults() -> Vec<Scene> {
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

fn withdrawals() -> Vec<Scene> {
    let (changing, leaving, staying) = (person(cast::CHANGING), person(cast::LEAVING), person(cast::STAYING));
    let withdraws = |who: &Person| Tell { subject: who.id(), event: subjects::withdrawal() };
    let marketing = |number| customer(number).by(ServiceDesk).for_("direct-marketing");
    let seen = |who: &Person| Expectation::released().is("/name", who.name()).is("/email", who.email());
    let unseen = |who: &Person| without(Expectation::released(), who).present("/status");
    let rest = unseen_in_list(&leaving).is(&format!("/items/{}/email", cast::STAYING - 1), staying.email());
    vec![
        scene(
            "A withdrawal is in force with its acknowledgement",
            "P-6a, G-6.5b",
            "first name and contact, then nothing",
            [
                Step::Ask(marketing(cast::CHANGING), seen(&changing)),
                Step::Tell(withdraws(&changing)),
                Step::Ask(marketing(cast::CHANGING), unseen(&changing)),
            ],
        ),
        scene(
            "The list of 10,000 is being read; one near the end withdraws",
            "P-6a, P-6d",
            "not one byte of that person in the rest; the next in the list is there",
            [
                Step::Ask(marketing(cast::LEAVING), seen(&leaving)),
                Step::AskMeanwhile {
                    ask: Ask::get("/customers?pace=20").by(ServiceDesk).for_("direct-marketing"),
                    after: 300_000,
                    tell: withdraws(&leaving),
                    expected: rest,
                },
            ],
        ),
    ]
}

fn unseen_in_list(who: &Person) -> Expectation {
    let (family, email) = (who.family(), who.email());
    without(Expectation::released(), who).not_after_mark(family).not_after_mark(&email)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn there_is_enough_to_see_and_no_title_stands_twice() {
        let scenes = scenes();
        let titles: HashSet<_> = scenes.iter().map(|scene| scene.title).collect();
        assert_eq!(titles.len(), scenes.len());
        assert!(scenes.len() >= 30, "{}", scenes.len());
        assert!(scenes.iter().all(|scene| !scene.steps.is_empty()));
    }

    #[test]
    fn every_recipient_has_a_scene() {
        let used: Vec<_> = scenes()
            .iter()
            .flat_map(|scene| scene.steps.clone())
            .filter_map(|step| match step {
                Step::Ask(ask, _) | Step::AskMeanwhile { ask, .. } => Some(ask.credentials),
                Step::Tell(_) => None,
            })
            .flatten()
            .collect();
        for credential in [ServiceDesk, Reseller, PaymentProcessor, Registrar, Unregistered] {
            assert!(used.contains(&credential), "{credential:?}");
        }
    }

    #[test]
    fn what_a_scene_tells_comes_after_everything_that_it_would_change() {
        let scenes = scenes();
        let first =
            scenes.iter().position(|s| s.steps.iter().any(|step| !matches!(step, Step::Ask(..)))).unwrap();
        let later_ones = scenes.len() - first;
        assert_eq!(later_ones, withdrawals().len());
    }
}
