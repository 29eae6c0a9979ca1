//! Data that many tests share: events, customers, and the routes that serve them.

use crate::gateway::{TestGateway, start_with_routes};
use crate::upstream::Upstream;

/// An event that makes a person known to the ledger.
pub(crate) const KNOWN: &str = r#"{"kind": "fact", "facts": {"region": "EEA"}}"#;

/// A privacy notice was given; makes a person known, too.
pub(crate) const NOTICE: &str = r#"{"kind": "notice", "notice": "v1"}"#;

/// Consent to direct marketing.
pub(crate) const CONSENT: &str =
    r#"{"kind": "consent-given", "purpose": "direct-marketing", "notice": "v1"}"#;

/// The record of the customer `c-1`.
pub(crate) const CUSTOMER: &str =
    r#"{"id": "c-1", "name": "Ada Example", "email": "ada@example.org", "status": "active"}"#;

/// The schema of [`CUSTOMER`].
pub(crate) const CUSTOMER_SCHEMA: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.id" = "subject-identifier"
"@.name" = "name"
"@.email" = "email"
"@.status" = "non-personal"
"#;

/// Routes to one customer of [`person`], to a list of them, and to answers that are not personal.
pub(crate) const CUSTOMER_ROUTES: &str = r#"
[[schema]]
name = "customer"
subject = "@.id"
[schema.fields]
"@.id" = "non-personal"
"@.name" = "name"
"@.email" = "email"
"@.password" = "password"
"@.status" = "non-personal"

[[route]]
name = "customer"
upstream = "crm"
methods = ["GET", "POST"]
path = "/customers/{id}"
schema = "customer"

[[route]]
name = "customers"
upstream = "crm"
path = "/customers"
record = "$.items[*]"
schema = "customer"
[route.fields]
"$.total" = "aggregate"

[[route]]
name = "open"
upstream = "crm"
path = "/open"
personal = false
"#;

/// Starts an upstream and a gateway with [`CUSTOMER_ROUTES`].
pub(crate) fn start_customer_gateway() -> (Upstream, TestGateway) {
    start_with_routes(CUSTOMER_ROUTES)
}

/// The record of a made-up person. Its values contain the id, so that a test can find them in any output.
pub(crate) fn person(id: &str) -> String {
    format!(
        r#"{{"id": "{id}", "name": "Name-{id}", "email": "{id}@example.org", "password": "pw-{id}", "status": "active", "extra": "x-{id}"}}"#
    )
}
