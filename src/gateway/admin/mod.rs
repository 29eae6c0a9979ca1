//! The admin API: health, metrics, the ledger's events, data subjects, cases, access evaluations, and the loaded
//! configuration.
//!
//! It has no authentication of its own, so it is bound to the loopback only, and pages of other sites are refused.
//! Every wait, body and number of connections has a bound.
#![allow(unused_qualifications, reason = "the attribute `utoipa::path` writes them")]

mod access;
mod case;
mod decision;
mod event;
mod openapi;
mod problem;
mod request;
mod status;
mod subject;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_util::TryFutureExt;
use http::HeaderMap;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::{AdminCode, AdminProblem};
use self::request::{Received, refuse_cross_site};
use super::acceptor::Acceptor;
use super::connection::{HEAD_TIME, STALL_TIME};
use super::gateway_end::{GatewayEnd, drive_until};
use super::stage::{Stage, reached};
use super::status::ProcessStatus;
use crate::exchange::{SharedState, position};
use crate::ledger;
use crate::vocabulary::SubjectId;

/// Resources about the process: they answer whatever the ledger knows.
const PROCESS_RESOURCES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Serves the admin API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct AdminApi {
    shared: Arc<SharedState>,
    status: ProcessStatus,
}

impl AdminApi {
    pub(super) fn new(shared: Arc<SharedState>, status: ProcessStatus) -> AdminApi {
        AdminApi { shared, status }
    }

    /// Accepts connections until the gateway closes. Then waits until the requests under way are answered.
    pub(super) async fn run(self, acceptor: Acceptor, stage: watch::Receiver<Stage>) {
        let router = self.router();
        let mut closing = stage.clone();
        loop {
            let (stream, _, permit) = tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = reached(&mut closing, Stage::Closing) => break,
            };
            let (router, end) = (router.clone(), GatewayEnd::new(stage.clone(), Stage::Closing));
            tokio::spawn(async move {
                serve(stream, router, end).await;
                drop(permit);
            });
        }
        acceptor.close().await;
    }

    /// Returns the routes of all resources.
    fn router(self) -> Router {
        Router::from(routes())
            .fallback(not_found)
            .method_not_allowed_fallback(method_not_allowed)
            .layer(middleware::from_fn_with_state(self.clone(), screen))
            .with_state(self)
    }

    /// Waits until this gateway knows the event that the request's `Ledger-Position` names, for at most `max-staleness`.
    /// The number of connections bounds the number of waits.
    async fn reach_position(&self, headers: &HeaderMap) -> Result<(), AdminProblem> {
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
    fn person(&self, id: &str, namespace: Option<&str>) -> Result<SubjectId, AdminProblem> {
        Ok(ledger::person(id, namespace, self.shared.ledger.terms())?)
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
        .routes(routes!(status::routes))
        .routes(routes!(subject::subject))
        .routes(routes!(subject::history, event::about_subject))
        .routes(routes!(subject::disclosures))
        .routes(routes!(subject::report))
        .routes(routes!(subject::opt_out_link))
        .routes(routes!(event::request_received))
        .routes(routes!(event::request_answered))
        .routes(routes!(subject::requests))
        .routes(routes!(event::about_controller))
        .routes(routes!(event::about_recipient))
        .routes(routes!(event::batch))
        .routes(routes!(case::cases, case::register))
        .routes(routes!(case::case))
        .routes(routes!(case::approve))
        .routes(routes!(case::end))
        .routes(routes!(decision::decision))
        .routes(routes!(access::evaluation))
        .routes(routes!(access::evaluations))
        .routes(routes!(access::configuration))
}

/// Serves one connection. Every wait for its client has a bound.
async fn serve(stream: TcpStream, router: Router, end: GatewayEnd) {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(STALL_TIME));
    let watched = end.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (answered, end) = (router.clone().oneshot(request.map(Body::new)), watched.clone());
        end.note_request();
        answered.map_ok(move |mut response| {
            end.mark(&mut response);
            response
        })
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .serve_connection(TokioIo::new(Box::pin(stream)), service);
    if let Err(error) = drive_until(connection, end).await {
        tracing::debug!(%error, "admin connection ended");
    }
}

/// Checks each request before the handler of its resource.
async fn screen(
    State(admin): State<AdminApi>,
    mut request: Request,
    next: Next,
) -> Result<Response, AdminProblem> {
    let received = Received(Instant::now());
    refuse_cross_site(request.headers())?;
    let path = request.extensions().get::<MatchedPath>();
    if !path.is_some_and(|path| PROCESS_RESOURCES.contains(&path.as_str())) {
        admin.reach_position(request.headers()).await?;
    }
    request.extensions_mut().insert(received);
    Ok(next.run(request).await)
}

async fn not_found() -> AdminProblem {
    AdminProblem::not_found()
}

/// The router adds `Allow`.
async fn method_not_allowed() -> AdminProblem {
    AdminProblem::new(AdminCode::MethodNotAllowed, "the resource does not have this method; see `Allow`")
}
