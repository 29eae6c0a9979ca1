//! Which page shows which resource of the admin API. The roles of a page and its act on record are those of the resource.

use http::Method;

use crate::gateway::admin::authentication::Actor;
use crate::gateway::admin::roles::{ResourceRule, rule};

/// A page, and the resource of the API that it shows.
#[derive(Debug)]
pub(super) struct PageRule {
    pub(super) method: &'static str,
    /// Path as the router has it.
    pub(super) path: &'static str,
    access: PageAccess,
}

/// Who may see a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageAccess {
    /// Anyone, without a session.
    Anyone,
    /// Everybody who has a session, even if it opens nothing: it can be ended.
    OwnSession,
    /// Everybody who is signed in. The page leaves out what the roles do not permit.
    SignedIn,
    /// Everybody who may use this resource.
    Resource(&'static str, &'static str),
    /// Everybody who may use this resource. The page leaves out whom it is about, so that looking at it is no act.
    Outline(&'static str, &'static str),
}

/// The access to a page, as the API has it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Access {
    Anyone,
    OwnSession,
    SignedIn,
    Resource(&'static ResourceRule),
    /// The use of the resource is no act.
    Outline(&'static ResourceRule),
}

const fn get(path: &'static str, resource: &'static str) -> PageRule {
    PageRule { method: "GET", path, access: PageAccess::Resource("GET", resource) }
}

const fn post(path: &'static str, resource: &'static str) -> PageRule {
    PageRule { method: "POST", path, access: PageAccess::Resource("POST", resource) }
}

const fn outline(path: &'static str, resource: &'static str) -> PageRule {
    PageRule { method: "GET", path, access: PageAccess::Outline("GET", resource) }
}

/// A form of a page that shows this resource.
const fn form(path: &'static str, access: PageAccess) -> PageRule {
    PageRule { method: "POST", path, access }
}

/// All pages. [`super::Console::router`] has their handlers.
pub(super) const PAGES: &[PageRule] = &[
    PageRule { method: "GET", path: "/", access: PageAccess::SignedIn },
    PageRule { method: "GET", path: "/sign-in", access: PageAccess::Anyone },
    PageRule { method: "POST", path: "/sign-in", access: PageAccess::Anyone },
    PageRule { method: "POST", path: "/sign-out", access: PageAccess::OwnSession },
    get("/console/decisions", "/v1/decisions"),
    get("/console/decisions/{id}", "/v1/decisions/{id}"),
    get("/console/routes", "/v1/routes"),
    get("/console/routes/{name}", "/v1/routes"),
    get("/console/matrix", "/v1/policies"),
    get("/console/matrix/{pack}", "/v1/policies"),
    get("/console/packs", "/v1/policies"),
    get("/console/packs/{name}", "/v1/policies"),
    get("/console/recipients", "/v1/recipients"),
    get("/console/recipients/{name}", "/v1/recipients"),
    post("/console/recipients/{name}/events", "/v1/recipients/{name}/events"),
    post("/console/try", "/access/v1/evaluation"),
    PageRule {
        method: "GET",
        path: "/console/try",
        access: PageAccess::Resource("POST", "/access/v1/evaluation"),
    },
    outline("/console/requests", "/v1/requests"),
    form("/console/requests", PageAccess::Outline("GET", "/v1/requests")),
    outline("/console/notices", "/v1/notices"),
    outline("/console/notices/{id}", "/v1/notices"),
    form("/console/notices/{id}/person", PageAccess::Resource("GET", "/v1/notices")),
    post("/console/notices/{id}/delivered", "/v1/notices/{id}/delivered"),
    outline("/console/cases", "/v1/cases"),
    PageRule { method: "GET", path: "/console/new-case", access: PageAccess::Resource("POST", "/v1/cases") },
    post("/console/new-case", "/v1/cases"),
    outline("/console/cases/{id}", "/v1/cases/{id}"),
    form("/console/cases/{id}/people", PageAccess::Resource("GET", "/v1/cases/{id}")),
    post("/console/cases/{id}/approve", "/v1/cases/{id}/approve"),
    post("/console/cases/{id}/end", "/v1/cases/{id}/end"),
    outline("/console/subjects", "/v1/subjects/{id}"),
    form("/console/subjects", PageAccess::Outline("GET", "/v1/subjects/{id}")),
    get("/console/subjects/{handle}", "/v1/subjects/{id}"),
    get("/console/subjects/{handle}/report", "/v1/subjects/{id}/report"),
    post("/console/subjects/{handle}/events", "/v1/subjects/{id}/events"),
    post("/console/subjects/{handle}/requests", "/v1/subjects/{id}/requests"),
    post("/console/subjects/{handle}/answers", "/v1/subjects/{id}/answers"),
    PageRule { method: "GET", path: "/console/{*path}", access: PageAccess::SignedIn },
];

/// Returns the access to the page at a path of the router; `None` if it has no such method.
pub(super) fn access(method: &Method, path: &str) -> Option<Access> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let page = PAGES.iter().find(|page| page.path == path && *method == page.method)?;
    match page.access {
        PageAccess::Anyone => Some(Access::Anyone),
        PageAccess::OwnSession => Some(Access::OwnSession),
        PageAccess::SignedIn => Some(Access::SignedIn),
        PageAccess::Resource(method, path) => resource(method, path).map(Access::Resource),
        PageAccess::Outline(method, path) => resource(method, path).map(Access::Outline),
    }
}

/// Returns the methods of a path of the router, as in `Allow`.
pub(super) fn allowed_methods(path: &str) -> Vec<&'static str> {
    let pages = PAGES.iter().filter(|page| page.path == path);
    let methods = pages.flat_map(|page| match page.method {
        "GET" => &["GET", "HEAD"][..],
        _ => &["POST"],
    });
    methods.copied().collect()
}

/// Returns the rule of a resource of the API.
pub(super) fn resource(method: &'static str, path: &str) -> Option<&'static ResourceRule> {
    rule(&Method::from_bytes(method.as_bytes()).ok()?, path)
}

/// True if the actor may use a resource of the API.
pub(super) fn may(actor: &Actor, method: &'static str, path: &str) -> bool {
    resource(method, path).is_some_and(|rule| actor.role_for(rule).is_ok())
}

/// True if the actor may see the page at a path of the router.
pub(super) fn may_see(actor: &Actor, path: &str) -> bool {
    match access(&Method::GET, path) {
        None => false,
        Some(Access::Anyone | Access::OwnSession | Access::SignedIn) => true,
        Some(Access::Resource(rule) | Access::Outline(rule)) => actor.role_for(rule).is_ok(),
    }
}

#[cfg(test)]
impl PageRule {
    /// True if a role may see the page.
    pub(super) fn permits(&self, role: crate::config::AdminRole) -> bool {
        use crate::gateway::admin::roles::ResourceAccess;

        match access(&Method::from_bytes(self.method.as_bytes()).unwrap(), self.path).unwrap() {
            Access::Anyone | Access::OwnSession | Access::SignedIn => true,
            Access::Resource(rule) | Access::Outline(rule) => match rule.access {
                ResourceAccess::Anyone | ResourceAccess::SignedIn => true,
                ResourceAccess::Roles(roles) => roles.contains(&role),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::admin::roles::ResourceAccess;

    #[test]
    fn every_page_shows_a_resource_that_the_api_has() {
        for PageRule { method, path, access: rule } in PAGES {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let found = access(&method, path);
            assert!(found.is_some(), "{method} {path}");
            assert_eq!(matches!(found, Some(Access::Resource(_))), matches!(rule, PageAccess::Resource(..)));
            if let Some(Access::Outline(rule)) = found {
                assert!(rule.is_act, "{path} leaves nothing out");
            }
            if let Some(Access::Resource(rule) | Access::Outline(rule)) = found {
                assert!(matches!(rule.access, ResourceAccess::Roles(_)), "{path} shows what needs a role");
            }
        }
        assert!(access(&Method::PUT, "/").is_none());
    }
}
