//! The person who looks at a page. `screen` attaches it to the request.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::form_token::FormOwner;
use super::page_rule;
use crate::gateway::admin::authentication::Actor;

/// The person who looks at a page.
#[derive(Clone, Debug)]
pub(super) struct Visitor {
    /// `None`: nobody has signed in, and only pages for anyone are shown.
    pub(super) actor: Option<Actor>,
    /// The owner of the forms on the page.
    pub(super) owner: FormOwner,
}

impl Visitor {
    pub(super) fn stranger() -> Visitor {
        Visitor { actor: None, owner: FormOwner::Process }
    }

    /// True if the visitor may use a resource of the API.
    pub(super) fn may(&self, method: &'static str, path: &str) -> bool {
        self.actor.as_ref().is_some_and(|actor| page_rule::may(actor, method, path))
    }

    /// True if the visitor may see the page at a path of the router.
    pub(super) fn may_see(&self, path: &str) -> bool {
        self.actor.as_ref().is_some_and(|actor| page_rule::may_see(actor, path))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Infallible> {
        Ok(parts.extensions.get().cloned().unwrap_or_else(Visitor::stranger))
    }
}
