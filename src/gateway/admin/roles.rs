//! Which roles may use which resource. A resource without a rule is not served.
//!
//! The table follows data minimisation: a role reads about people only what its task needs. `operator` runs the process and
//! reads nothing about people. `read` reads what is loaded, decisions (they have pseudonyms), and yes or no to single
//! questions (AuthZEN); the reasons tell facts about the person, so they need a role that may read these. `ledger` writes what people chose and reads it back. `privacy` answers people, so it reads what was
//! disclosed about them and cannot change what may be disclosed. `cases` reads and changes the cases, which name people.
//! `docs/admin-api.md` shows the table; a test compares.

use http::Method;

use crate::config::AdminRole;

/// A resource, the methods by which a rule permits it, and the roles.
#[derive(Debug)]
pub(in crate::gateway) struct ResourceRule {
    /// `GET` (which includes `HEAD`) or `POST`.
    pub(in crate::gateway) method: &'static str,
    /// Path as the router has it.
    pub(in crate::gateway) path: &'static str,
    pub(in crate::gateway) access: ResourceAccess,
    /// True if the use of the resource is an act on record, with its reason: it shows what is on record about people.
    pub(in crate::gateway) is_act: bool,
}

/// Who may use a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum ResourceAccess {
    /// Anyone, without a credential.
    Anyone,
    /// Every actor that is signed in.
    SignedIn,
    /// Actors with one of these roles.
    Roles(&'static [AdminRole]),
}

const READ: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Read]);
const READ_OR_PRIVACY: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Read, AdminRole::Privacy]);
const READ_OR_OPERATOR: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Read, AdminRole::Operator]);
const LEDGER: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Ledger]);
const LEDGER_OR_PRIVACY: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Ledger, AdminRole::Privacy]);
const LEDGER_OR_OPERATOR: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Ledger, AdminRole::Operator]);
const PRIVACY: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Privacy]);
const CASES: ResourceAccess = ResourceAccess::Roles(&[AdminRole::Cases]);

const fn get(path: &'static str, access: ResourceAccess) -> ResourceRule {
    ResourceRule { method: "GET", path, access, is_act: false }
}

const fn post(path: &'static str, access: ResourceAccess) -> ResourceRule {
    ResourceRule { method: "POST", path, access, is_act: false }
}

/// A resource whose use is an act on record.
const fn act(path: &'static str, access: ResourceAccess) -> ResourceRule {
    ResourceRule { method: "GET", path, access, is_act: true }
}

/// All resources. [`super::AdminApi::router`] has their handlers.
pub(super) const RESOURCES: &[ResourceRule] = &[
    get("/healthz", ResourceAccess::Anyone),
    get("/readyz", ResourceAccess::Anyone),
    get("/metrics", READ_OR_OPERATOR),
    get("/v1/policies", READ_OR_OPERATOR),
    get("/v1/recipients", READ_OR_OPERATOR),
    get("/v1/recipients/{name}/page", READ_OR_OPERATOR),
    get("/v1/routes", READ_OR_OPERATOR),
    get("/v1/routes/{name}/unclassified", READ_OR_OPERATOR),
    act("/v1/subjects/{id}", LEDGER_OR_PRIVACY),
    act("/v1/subjects/{id}/events", LEDGER_OR_PRIVACY),
    post("/v1/subjects/{id}/events", LEDGER),
    act("/v1/subjects/{id}/disclosures", PRIVACY),
    act("/v1/subjects/{id}/report", PRIVACY),
    act("/v1/subjects/{id}/opt-out-link", PRIVACY),
    post("/v1/subjects/{id}/requests", PRIVACY),
    post("/v1/subjects/{id}/answers", PRIVACY),
    act("/v1/requests", PRIVACY),
    act("/v1/requests/answered", PRIVACY),
    act("/v1/notices", PRIVACY),
    ResourceRule { method: "POST", ..act("/v1/notices/{id}/delivered", PRIVACY) },
    post("/v1/controllers/{id}/events", LEDGER),
    post("/v1/recipients/{name}/events", LEDGER_OR_OPERATOR),
    post("/v1/events:batch", LEDGER),
    act("/v1/cases", CASES),
    post("/v1/cases", CASES),
    act("/v1/cases/{id}", CASES),
    post("/v1/cases/{id}/approve", CASES),
    post("/v1/cases/{id}/end", CASES),
    act("/v1/decisions", READ_OR_PRIVACY),
    act("/v1/decisions/{id}", READ_OR_PRIVACY),
    act("/v1/decisions/{id}/receipt", READ_OR_PRIVACY),
    get("/v1/circumstances", READ_OR_OPERATOR),
    post("/access/v1/evaluation", READ),
    post("/access/v1/evaluations", READ),
    get("/.well-known/authzen-configuration", READ_OR_OPERATOR),
    get("/openapi.json", ResourceAccess::SignedIn),
];

/// Returns the rule for a method and a path of the router.
pub(in crate::gateway) fn rule(method: &Method, path: &str) -> Option<&'static ResourceRule> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    RESOURCES.iter().find(|rule| rule.path == path && *method == rule.method)
}

/// Returns the methods of a path, as in `Allow`; empty if there is no such resource.
pub(super) fn allowed_methods(path: &str) -> Vec<&'static str> {
    let rules = RESOURCES.iter().filter(|rule| rule.path == path);
    let methods = rules.flat_map(|rule| match rule.method {
        "GET" => &["GET", "HEAD"][..],
        _ => &["POST"],
    });
    methods.copied().collect()
}
