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
use super::return_page::{self, SIGN_IN};
use super::session::{self, SessionKey};
use super::visitor::Visitor;
use crate::credentials::KeyHash;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::authentication::{Actor, AdminPeer};
use crate::gateway::admin::problem::{AdminCode, AdminProblem};
use crate::gateway::admin::request::{BoundedBody, Navigation, refuse_cross_site, scheme};

/// Maximum size of a form, in bytes.
const MAX_FORM_BYTES: usize = 64 * 1024;

/// Lets a request through to its page, or answers it.
pub(super) async fn screen(
    State(console): State<Console>,
    Extension(peer): Extension<AdminPeer>,
    mut request: Request,
    next: Next,
) -> Response {
    let (known, admitted) = console.admit(&mut request, &peer);
    let response = match admitted {
        Err(problem) => console.refused(problem),
        Ok(PageAdmission::SignIn) => Redirect::to(&return_page::path_for(&request)).into_response(),
        Ok(PageAdmission::PageOfForm) => Redirect::to(page_of_form(request.uri().path())).into_response(),
        Ok(PageAdmission::Page) if request.method() == Method::POST => {
            match console.checked_form(request, &known.owner).await {
                Ok(request) => next.run(request).await,
                Err(problem) => console.refused(problem),
            }
        }
        Ok(PageAdmission::Page) => next.run(request).await,
    };
    console.with_problem_page(response, &known)
}

impl Console {
    /// Attaches the visitor and the act of a page to its request. Also returns the owner of what may be shown instead.
    fn admit(
        &self,
        request: &mut Request,
        peer: &AdminPeer,
    ) -> (Visitor, Result<PageAdmission, AdminProblem>) {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let access = path.and_then(|path| page_rule::access(request.method(), path));
        if let Err(foreign) = self.refuse_foreign(request, peer, access) {
            return (Visitor::stranger(), Err(foreign));
        }
        let session = self.session(request.headers(), peer);
        let owner = session.map_or(FormOwner::Process, |(key, _)| FormOwner::Session(key));
        let visitor = match self.visitor(session, peer) {
            Ok(visitor) => visitor,
            // A session that opens nothing can be ended, too.
            Err(_) if matches!(access, Some(Access::OwnSession)) && session.is_some() => {
                Some(Visitor { actor: None, owner })
            }
            Err(problem) => return (Visitor { actor: None, owner }, Err(problem)),
        };
        let known = visitor.clone().unwrap_or_else(Visitor::stranger);
        (known, attach(request, access, visitor))
    }

    /// Refuses a request that a page of another site may have sent.
    fn refuse_foreign(
        &self,
        request: &Request,
        peer: &AdminPeer,
        access: Option<Access>,
    ) -> Result<(), AdminProblem> {
        let writes_act = matches!(access, Some(Access::Resource(rule)) if rule.is_act);
        let navigation = if writes_act { Navigation::FromOwnPages } else { Navigation::FromAnySite };
        let authorities = &self.admin.access.load().authorities;
        refuse_cross_site(request.headers(), peer.is_encrypted, authorities, navigation)?;
        if request.method() == Method::POST { check_origin(request.headers(), peer) } else { Ok(()) }
    }

    /// Returns the session of a request, and the hash of its token.
    fn session(&self, headers: &HeaderMap, peer: &AdminPeer) -> Option<(SessionKey, KeyHash)> {
        let access = self.admin.access.load();
        let id = session::id_of(headers, peer.is_encrypted).filter(|_| access.needs_credentials())?;
        let mut sessions = self.sessions();
        let (key, token) = sessions.find(id, self.memory.clock.now())?;
        if access.knows_token(&token) {
            return Some((key, token));
        }
        sessions.end(&key);
        None
    }

    /// Returns the person who sends a request; `None` if nobody has signed in. A session is used by a person who may use it.
    fn visitor(
        &self,
        session: Option<(SessionKey, KeyHash)>,
        peer: &AdminPeer,
    ) -> Result<Option<Visitor>, AdminProblem> {
        let access = self.admin.access.load();
        if !access.needs_credentials() {
            return Ok(Some(Visitor { actor: Some(Actor::default()), owner: FormOwner::Process }));
        }
        if let Some((key, token)) = session {
            let actor = access.authenticate_session(Some(&token), peer)?;
            self.sessions().renew(&key, self.memory.clock.now());
            return Ok(Some(Visitor { actor: Some(actor), owner: FormOwner::Session(key) }));
        }
        if !access.knows_certificate(peer) {
            return Ok(None);
        }
        let actor = access.authenticate_session(None, peer)?;
        let owner = actor.name().map_or(FormOwner::Process, |name| FormOwner::Certificate(name.clone()));
        Ok(Some(Visitor { actor: Some(actor), owner }))
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
        let tokens = &self.memory.form_tokens;
        // The form to sign in was made for nobody. Meanwhile somebody may have signed in on another page.
        let is_nobodys = parts.uri.path() == SIGN_IN && tokens.accepts(&FormOwner::Process, &token);
        if !is_nobodys && !tokens.accepts(owner, &token) {
            return Err(foreign("the form is older than your session or this process: open its page again"));
        }
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    fn refused(&self, problem: AdminProblem) -> Response {
        self.admin.shared.metrics.admin_refusals.with_label_values(&[problem.code()]).inc();
        PageProblem(problem).into_response()
    }
}

/// The answer to an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageAdmission {
    /// The page at its path.
    Page,
    /// The page to sign in.
    SignIn,
    /// The path takes a form only: the page that has it.
    PageOfForm,
}

/// Attaches the visitor and the act of a page to its request.
fn attach(
    request: &mut Request,
    access: Option<Access>,
    visitor: Option<Visitor>,
) -> Result<PageAdmission, AdminProblem> {
    let Some(visitor) = visitor else {
        return Ok(match access {
            Some(Access::Anyone) => PageAdmission::Page,
            _ => PageAdmission::SignIn,
        });
    };
    let Some(access) = access else {
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let allowed = path.map(page_rule::allowed_methods).unwrap_or_default();
        // Somebody reloads a page that answered a form, or comes back to it after signing in.
        return match allowed.as_slice() {
            ["POST"] if matches!(*request.method(), Method::GET | Method::HEAD) => {
                Ok(PageAdmission::PageOfForm)
            }
            allowed => Err(AdminProblem::method_not_allowed(allowed)),
        };
    };
    if let (Access::Resource(rule) | Access::Outline(rule), Some(actor)) = (access, visitor.actor.clone()) {
        let role = actor.role_for(rule)?;
        // As for the API: without the rule's word a page cannot record an act, and names nobody.
        if rule.is_act && matches!(access, Access::Resource(_)) {
            request.extensions_mut().insert(PendingAct { actor, role, rule });
        }
    }
    request.extensions_mut().insert(visitor);
    Ok(PageAdmission::Page)
}

/// Returns the path of the page with the form that a path takes: the path above it.
fn page_of_form(path: &str) -> &str {
    path.rsplit_once('/').map(|(page, _)| page).filter(|page| !page.is_empty()).unwrap_or("/")
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
