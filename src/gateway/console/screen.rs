//! Checks each request before its page: the host, the session, the role, and for a form where it comes from.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Form, FromRequest, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, Method};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Console;
use super::form_token::FormOwner;
use super::page_rule::{self, Access};
use super::problem_page::PageProblem;
use super::session;
use super::visitor::Visitor;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::authentication::{Actor, AdminPeer};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{BoundedBody, refuse_cross_site, scheme};

/// Maximum size of a form, in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;
/// Path of the page to sign in.
pub(super) const SIGN_IN: &str = "/sign-in";

/// Lets a request through to its page, or answers it.
pub(super) async fn screen(
    State(console): State<Console>,
    Extension(peer): Extension<AdminPeer>,
    mut request: Request,
    next: Next,
) -> Response {
    let visitor = console.visitor(request.headers(), &peer);
    let known = visitor.as_ref().ok().and_then(Clone::clone).unwrap_or_else(Visitor::stranger);
    let admitted = match visitor {
        Ok(visitor) => console.admit(&mut request, &peer, visitor),
        Err(problem) => Err(problem),
    };
    let response = match admitted {
        Err(problem) => console.refused(problem),
        Ok(false) => Redirect::to(SIGN_IN).into_response(),
        Ok(true) if request.method() == Method::POST => {
            match console.checked_form(request, &known.owner).await {
                Ok(request) => next.run(request).await,
                Err(problem) => console.refused(problem),
            }
        }
        Ok(true) => next.run(request).await,
    };
    console.with_problem_page(response, &known)
}

impl Console {
    /// Returns the person who sends a request; `None` if nobody has signed in.
    fn visitor(&self, headers: &HeaderMap, peer: &AdminPeer) -> Result<Option<Visitor>, AdminProblem> {
        let access = self.admin.access.load();
        refuse_cross_site(headers, peer.is_encrypted, &access.authorities)?;
        if !access.needs_credentials() {
            return Ok(Some(Visitor { actor: Some(Actor::default()), owner: FormOwner::Process }));
        }
        let now = self.memory.clock.now();
        let id = session::id_of(headers, peer.is_encrypted);
        if let Some((key, token)) = id.and_then(|id| self.sessions().find(id, now)) {
            if access.knows_token(&token) {
                let actor = access.authenticate_session(Some(&token), peer)?;
                return Ok(Some(Visitor { actor: Some(actor), owner: FormOwner::Session(key) }));
            }
            self.sessions().end(&key);
        }
        if !access.knows_certificate(peer) {
            return Ok(None);
        }
        let actor = access.authenticate_session(None, peer)?;
        let owner = actor.name().map_or(FormOwner::Process, |name| FormOwner::Certificate(name.clone()));
        Ok(Some(Visitor { actor: Some(actor), owner }))
    }

    /// Attaches the visitor and the act of a page to its request. Returns false if somebody has to sign in first.
    fn admit(
        &self,
        request: &mut Request,
        peer: &AdminPeer,
        visitor: Option<Visitor>,
    ) -> Result<bool, AdminProblem> {
        if request.method() == Method::POST {
            check_origin(request.headers(), peer)?;
        }
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let access = path.and_then(|path| page_rule::access(request.method(), path));
        let Some(visitor) = visitor else {
            return Ok(matches!(access, Some(Access::Anyone)));
        };
        let access = access.ok_or_else(|| AdminProblem::method_not_allowed(&["GET", "HEAD"]))?;
        if let (Access::Resource(rule), Some(actor)) = (access, visitor.actor.clone()) {
            let role = actor.role_for(rule)?;
            // As for the API: without the rule's word a page cannot record an act, and shows nothing.
            if rule.is_act {
                request.extensions_mut().insert(PendingAct { actor, role, rule });
            }
        }
        request.extensions_mut().insert(visitor);
        Ok(true)
    }

    /// Checks the form token of a request, and returns the request with its body.
    async fn checked_form(&self, request: Request, owner: &FormOwner) -> Result<Request, AdminProblem> {
        #[derive(Deserialize)]
        struct TokenField {
            #[serde(rename = "form-token", default)]
            token: String,
        }
        let (parts, body) = request.into_parts();
        let whole = Request::from_parts(parts.clone(), body);
        let BoundedBody(body) = BoundedBody::<MAX_FORM_BYTES>::from_request(whole, &()).await?;
        let TokenField { token } = read_form(&parts.headers, &body).await?;
        if !self.memory.form_tokens.accepts(owner, &token) {
            return Err(foreign("the form is older than your session or this process: open its page again"));
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    fn refused(&self, problem: AdminProblem) -> Response {
        self.admin.shared.metrics.admin_refusals.with_label_values(&[problem.code()]).inc();
        PageProblem(problem).into_response()
    }
}

/// Refuses a form unless it comes from a page of this listener. Browsers name the origin of every form.
fn check_origin(headers: &HeaderMap, peer: &AdminPeer) -> Result<(), AdminProblem> {
    // `refuse_cross_site` has compared each origin that is present with the own one.
    let has_origin = headers.get_all(ORIGIN).iter().count() == 1
        && headers.get(ORIGIN).is_some_and(|origin| {
            let scheme = scheme(peer.is_encrypted);
            origin.to_str().is_ok_and(|origin| origin.starts_with(&format!("{scheme}://")))
        });
    let is_same_site = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin");
    if has_origin && is_same_site {
        return Ok(());
    }
    Err(foreign("send forms from a page of this console"))
}

fn foreign(detail: &str) -> AdminProblem {
    AdminProblem::new(AdminCode::RequestForeign, detail)
}

/// The fields of a form, which [`screen`] has checked.
pub(super) struct FormOf<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for FormOf<T> {
    type Rejection = PageProblem;

    async fn from_request(request: Request, _: &S) -> Result<FormOf<T>, PageProblem> {
        let headers = request.headers().clone();
        let BoundedBody(body) = BoundedBody::<MAX_FORM_BYTES>::from_request(request, &()).await?;
        Ok(FormOf(read_form(&headers, &body).await?))
    }
}

/// Reads the fields of a form. The problem repeats nothing of it.
async fn read_form<T: DeserializeOwned>(headers: &HeaderMap, body: &Bytes) -> Result<T, AdminProblem> {
    let mut request = Request::new(Body::from(body.clone()));
    *request.method_mut() = Method::POST;
    request.headers_mut().extend(headers.get(CONTENT_TYPE).map(|kind| (CONTENT_TYPE, kind.clone())));
    let form = Form::<T>::from_request(request, &()).await;
    form.map(|Form(form)| form).map_err(|_| AdminProblem::malformed("the form cannot be read"))
}
