//! The admin API: health, metrics, the ledger's events, data subjects, cases, access evaluations, and the loaded
//! configuration.
//!
//! Invariants: every request but those for health is by a known actor who has a role for the resource ([`roles`]), unless
//! no credential is configured, which needs a loopback address; a resource without a rule is not served; requests of pages
//! of other sites are refused; every wait, body and number of connections has a bound.
#![allow(unused_qualifications, reason = "the attribute `utoipa::path` writes them")]

mod access;
pub(super) mod act;
pub(super) mod answer_headers;
pub(super) mod authentication;
pub(super) mod case;
mod circumstance;
mod connection;
pub(super) mod decision;
pub(super) mod event;
pub(super) mod notice;
mod openapi;
pub(super) mod page_language;
pub(super) mod person_request;
pub(super) mod problem;
mod recipient_page;
pub(super) mod request;
pub(super) mod roles;
mod status;
mod subject;
#[cfg(test)]
pub(super) mod tests;
mod unclassified;

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::{Extension, Router};
use http::HeaderMap;
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::act::PendingAct;
use self::authentication::{Actor, AdminAccess, AdminPeer};
pub(super) use self::connection::connection_limit;
use self::problem::AdminProblem;
use self::request::{Navigation, Received, refuse_cross_site};
use self::roles::{ResourceAccess, allowed_methods, rule};
use super::acceptor::Acceptor;
use super::gateway_end::GatewayEnd;
use super::stage::{Stage, reached};
use super::status::ProcessStatus;
use super::transport::TransportFailures;
use crate::config::{AdminSection, TlsError, TlsServer};
use crate::exchange::{SharedState, position};
use crate::ledger;
use crate::vocabulary::SubjectId;

/// Resources about the process: they answer whatever the ledger knows.
const PROCESS_RESOURCES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Serves the admin API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct AdminApi {
    pub(super) shared: Arc<SharedState>,
    pub(super) status: ProcessStatus,
    pub(super) access: Arc<ArcSwap<AdminAccess>>,
    /// The TLS configuration for new connections. `None`: plaintext.
    tls: Option<Arc<watch::Sender<TlsServer>>>,
    /// True if other machines can reach the listener.
    is_exposed: bool,
}

/// The parts of the admin API that a reload replaces.
#[derive(Debug)]
pub(super) struct AdminReplacement {
    access: AdminAccess,
    tls: Option<TlsServer>,
}

/// A reload of `[admin]` that needs a restart.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminReloadError {
    /// The certificate, key or client CA cannot be read.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Without actors everybody who reaches the listener could do everything.
    #[error(
        "`[admin]` has neither tokens nor certificates any more: only a restart opens the admin API to everybody on the loopback"
    )]
    NoActors,
}

impl AdminApi {
    /// Makes the API of a listener that is bound to the address of the section.
    ///
    /// # Errors
    /// [`TlsError`] if its certificate or key cannot be used.
    pub(super) fn new(
        shared: Arc<SharedState>,
        status: ProcessStatus,
        section: &AdminSection,
    ) -> Result<AdminApi, TlsError> {
        let tls = tls(section)?.map(|server| Arc::new(watch::Sender::new(server)));
        Ok(AdminApi {
            shared,
            status,
            access: Arc::new(ArcSwap::from_pointee(AdminAccess::new(section))),
            tls,
            is_exposed: !section.address.ip().is_loopback(),
        })
    }

    /// Reads what a reload replaces. Nothing changes yet.
    ///
    /// # Errors
    /// [`AdminReloadError`].
    pub(super) fn replacement(&self, section: &AdminSection) -> Result<AdminReplacement, AdminReloadError> {
        // An operator who removes the last credential wants to close the API, not to open it to everybody.
        if section.actors.is_empty() && (self.is_exposed || self.needs_credentials()) {
            return Err(AdminReloadError::NoActors);
        }
        Ok(AdminReplacement { access: AdminAccess::new(section), tls: tls(section)? })
    }

    /// Replaces actors, authorities, rate and certificates. Requests under way go on.
    pub(super) fn replace(&self, replacement: AdminReplacement) {
        let AdminReplacement { access, tls } = replacement;
        self.access.store(Arc::new(access));
        if let Some((sender, server)) = self.tls.as_ref().zip(tls) {
            sender.send_replace(server);
        }
    }

    /// Accepts connections until the gateway closes. Then waits until the requests under way are answered. `pages` are
    /// served beside the API.
    pub(super) async fn run(self, acceptor: Acceptor, stage: watch::Receiver<Stage>, pages: Router) {
        let tls = self.tls.clone();
        let failures = TransportFailures::new(&self.shared.metrics.connections_failed, "admin");
        let router = self.router().merge(pages);
        let mut closing = stage.clone();
        loop {
            let (stream, address, permit) = tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = reached(&mut closing, Stage::Closing) => break,
            };
            let tls = tls.as_ref().map(|tls| tls.borrow().clone());
            let failures = failures.clone();
            let (router, end) = (router.clone(), GatewayEnd::new(stage.clone(), Stage::Closing));
            tokio::spawn(async move {
                connection::serve(stream, address, (tls, &failures), router, end).await;
                drop(permit);
            });
        }
        acceptor.close().await;
    }

    /// Returns the routes of all resources.
    fn router(self) -> Router {
        Router::from(routes())
            .fallback(not_found)
            .layer(middleware::from_fn_with_state(self.clone(), screen))
            .layer(middleware::map_response(answer_headers::add))
            .with_state(self)
    }

    /// True if requests need a credential.
    pub(super) fn needs_credentials(&self) -> bool {
        self.access.load().needs_credentials()
    }

    /// Waits until this gateway knows the event that the request's `Ledger-Position` names, for at most `max-staleness`.
    /// The number of connections bounds the number of waits.
    pub(super) async fn reach_position(&self, headers: &HeaderMap) -> Result<(), AdminProblem> {
        let SharedState { ledger, .. } = &*self.shared;
        let required = position::required(headers, ledger)
            .map_err(|malformed| AdminProblem::malformed(malformed.to_string()))?;
        match required {
            Some(required) if !ledger.reach(required, self.shared.snapshot().max_staleness).await => {
                Err(AdminProblem::ledger_stale())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Reads the id of a person or an account, in the namespace that the query names.
    pub(super) fn person(&self, id: &str, namespace: Option<&str>) -> Result<SubjectId, AdminProblem> {
        Ok(ledger::person(id, namespace, self.shared.ledger.terms())?)
    }

    /// Returns the person whom an event on record names. Its id may predate the present rules for ids.
    fn recorded_person(&self, id: &str, namespace: Option<&str>) -> SubjectId {
        self.shared.ledger.terms().namespaces().reader(namespace).read_recorded(id)
    }
}

/// Returns the routes of all resources, with their description.
fn routes() -> OpenApiRouter<AdminApi> {
    OpenApiRouter::default()
        .routes(routes!(openapi::description))
        .routes(routes!(status::healthz))
        .routes(routes!(status::readyz))
        .routes(routes!(status::metrics))
        .routes(routes!(status::policies))
        .routes(routes!(status::recipients))
        .routes(routes!(recipient_page::recipient_page))
        .routes(routes!(status::routes))
        .routes(routes!(unclassified::unclassified))
        .routes(routes!(subject::subject))
        .routes(routes!(subject::history, event::about_subject))
        .routes(routes!(subject::disclosures))
        .routes(routes!(subject::report))
        .routes(routes!(subject::opt_out_link))
        .routes(routes!(event::request_received))
        .routes(routes!(event::request_answered))
        .routes(routes!(person_request::requests))
        .routes(routes!(person_request::answered))
        .routes(routes!(notice::notices))
        .routes(routes!(notice::delivered))
        .routes(routes!(event::about_controller))
        .routes(routes!(event::about_recipient))
        .routes(routes!(event::batch))
        .routes(routes!(case::cases, case::register))
        .routes(routes!(case::case))
        .routes(routes!(case::approve))
        .routes(routes!(case::end))
        .routes(routes!(decision::decisions))
        .routes(routes!(decision::decision))
        .routes(routes!(decision::receipt))
        .routes(routes!(circumstance::circumstances))
        .routes(routes!(access::evaluation))
        .routes(routes!(access::evaluations))
        .routes(routes!(access::configuration))
}

/// Returns the TLS configuration of the listener: HTTP/1.1 is the only protocol.
fn tls(section: &AdminSection) -> Result<Option<TlsServer>, TlsError> {
    let Some(tls) = &section.tls else { return Ok(None) };
    let mut server = tls.server.clone()?;
    let mut config = (*server.config).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.config = Arc::new(config);
    Ok(Some(server))
}

/// Checks each request before the handler of its resource.
async fn screen(
    State(admin): State<AdminApi>,
    Extension(peer): Extension<AdminPeer>,
    mut request: Request,
    next: Next,
) -> Result<Response, AdminProblem> {
    let received = Received(Instant::now());
    let admitted = admin.admit(&request, &peer);
    let act = admitted.inspect_err(|problem| {
        admin.shared.metrics.admin_refusals.with_label_values(&[problem.code()]).inc();
    })?;
    if !PROCESS_RESOURCES.contains(&act.rule.path) {
        admin.reach_position(request.headers()).await?;
    }
    let extensions = request.extensions_mut();
    extensions.insert(received);
    extensions.insert(act.actor.clone());
    // Without the rule's word a handler cannot record an act, and shows nothing.
    if act.rule.is_act {
        extensions.insert(act);
    }
    Ok(next.run(request).await)
}

impl AdminApi {
    /// Returns the use of a resource, if the sender may use it. An unknown path tells nothing to somebody who is not
    /// signed in.
    fn admit(&self, request: &Request, peer: &AdminPeer) -> Result<PendingAct, AdminProblem> {
        let access = self.access.load();
        let (headers, own) = (request.headers(), Navigation::FromOwnPages);
        refuse_cross_site(headers, peer.is_encrypted, &access.authorities, own)?;
        let path = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let rule = path.and_then(|path| rule(request.method(), path));
        if let Some(rule) = rule.filter(|rule| rule.access == ResourceAccess::Anyone) {
            return Ok(PendingAct { actor: Actor::default(), role: None, rule });
        }
        let actor = access.authenticate(request.headers(), peer)?;
        let Some(rule) = rule else {
            let allowed = path.map(allowed_methods).unwrap_or_default();
            return Err(match allowed.is_empty() {
                true => AdminProblem::not_found(),
                false => AdminProblem::method_not_allowed(&allowed),
            });
        };
        let role = actor.role_for(rule)?;
        Ok(PendingAct { actor, role, rule })
    }
}

async fn not_found() -> AdminProblem {
    AdminProblem::not_found()
}
