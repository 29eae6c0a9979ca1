//! The admin API: health, metrics, the ledger's events, data subjects, cases, access evaluations, and the loaded
//! configuration.
//!
//! It has no authentication of its own, so it is bound to the loopback only, and pages of other sites are refused.
//! Every wait, body and number of connections has a bound.

mod case;
mod event;
mod problem;
mod request;
mod status;
mod subject;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::Value;
use tokio_io_timeout::TimeoutStream;

use self::problem::AdminProblem;
use self::request::{AdminRequest, read_body};
use super::acceptor::Acceptor;
use super::authzen::{self, MalformedRequest};
use super::connection::{HEAD_TIME, STALL_TIME};
use crate::exchange::{SharedState, position};
use crate::ledger::{self, AppendError, Entity};

/// Maximum size of a request for access evaluations, in bytes.
const MAX_EVALUATIONS_BYTES: usize = 1 << 20;

/// Serves the admin API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct AdminApi {
    shared: Arc<SharedState>,
    draining: Arc<AtomicBool>,
}

type AdminResponse = Response<Full<Bytes>>;

impl AdminApi {
    pub(super) fn new(shared: Arc<SharedState>) -> AdminApi {
        AdminApi { shared, draining: Arc::default() }
    }

    /// Makes `/readyz` fail from now on, so that load balancers stop sending requests.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Serves all connections. Never returns.
    pub(super) async fn run(self, acceptor: Acceptor) {
        loop {
            let (stream, _, permit) = acceptor.accept().await;
            let admin = self.clone();
            tokio::spawn(async move {
                let _permit = permit;
                let mut stream = TimeoutStream::new(stream);
                stream.set_write_timeout(Some(STALL_TIME));
                let service = service_fn(move |request: Request<Incoming>| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.respond(request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .serve_connection(TokioIo::new(Box::pin(stream)), service);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "admin connection ended");
                }
            });
        }
    }

    async fn respond(&self, request: Request<Incoming>) -> AdminResponse {
        match AdminRequest::read(&request) {
            Ok(head) => self.route(head, request).await.unwrap_or_else(AdminProblem::into_response),
            Err(problem) => problem.into_response(),
        }
    }

    async fn route(
        &self,
        head: AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        self.reach_position(&head, request.headers()).await?;
        let segments: Vec<&str> = head.segments.iter().map(String::as_str).collect();
        // hyper drops the body of a response to HEAD.
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        match segments.as_slice() {
            ["healthz"] if is_get => Ok(response(StatusCode::OK, "text/plain", "ok\n".to_owned())),
            ["readyz"] if is_get => Ok(self.readiness().await),
            ["metrics"] if is_get => self.metrics(),
            ["v1", "subjects", id, rest @ ..] => self.route_subject(&head, request, id, rest).await,
            ["v1", "controllers", id, "events"] => {
                let entity = Entity::Controller(head.person(id, self.shared.ledger.terms())?);
                self.append(&head, request, entity).await
            }
            ["v1", "recipients", name, "events"] => {
                let entity = Entity::Recipient(self.recipient(name)?);
                self.append(&head, request, entity).await
            }
            ["v1", "cases", rest @ ..] => self.route_case(&head, request, rest).await,
            ["v1", "requests"] if is_get => Ok(self.requests()),
            ["v1", "events:batch"] => self.import(&head, request).await,
            ["v1", "decisions", id] if is_get => self.decision(id).await,
            ["v1", "policies"] if is_get => Ok(ok(&self.policies())),
            ["v1", "recipients"] if is_get => Ok(ok(&self.recipients())),
            ["v1", "routes"] if is_get => Ok(ok(&self.routes())),
            ["access", "v1", "evaluation"] => self.access(&head, request, authzen::evaluation).await,
            ["access", "v1", "evaluations"] => self.access(&head, request, authzen::evaluations).await,
            [".well-known", "authzen-configuration"] if is_get => {
                let authority = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                let authority = authority.ok_or_else(AdminProblem::not_found)?;
                Ok(ok(&authzen::configuration(&format!("http://{authority}"))))
            }
            _ => Err(AdminProblem::not_found()),
        }
    }

    /// Waits until this gateway knows the event that the request's `Ledger-Position` names, for at most `max-staleness`.
    /// The number of connections bounds the number of waits.
    async fn reach_position(&self, head: &AdminRequest, headers: &HeaderMap) -> Result<(), AdminProblem> {
        let is_about_the_process =
            matches!(head.segments.iter().map(String::as_str).next(), Some("healthz" | "readyz" | "metrics"));
        if is_about_the_process {
            return Ok(());
        }
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

    /// Routes `/v1/subjects/ID` and the paths below it.
    async fn route_subject(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
        id: &str,
        rest: &[&str],
    ) -> Result<AdminResponse, AdminProblem> {
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        let person = || head.person(id, self.shared.ledger.terms());
        match rest {
            [] if is_get => self.subject(person()?).await,
            ["disclosures"] if is_get => self.disclosures(person()?).await,
            ["report"] if is_get => self.report(person()?, head.html).await,
            ["opt-out-link"] if is_get => self.opt_out_link(&person()?),
            ["events"] if is_get => self.history(Entity::Subject(person()?)).await,
            ["events"] => self.append(head, request, Entity::Subject(person()?)).await,
            ["requests"] => {
                let entity = Entity::Subject(person()?);
                self.append_of_kind(head, request, entity, "request-received").await
            }
            ["answers"] => {
                let entity = Entity::Subject(person()?);
                self.append_of_kind(head, request, entity, "request-answered").await
            }
            _ => Err(AdminProblem::not_found()),
        }
    }

    /// Routes `/v1/cases` and the paths below it.
    async fn route_case(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
        rest: &[&str],
    ) -> Result<AdminResponse, AdminProblem> {
        let is_get = matches!(head.method, Method::GET | Method::HEAD);
        match rest {
            [] if is_get => self.cases().await,
            [] => self.register_case(head, request).await,
            [id] if is_get => self.case(ledger::case_id(id)?).await,
            [id, "approve"] => {
                let entity = Entity::Case(ledger::case_id(id)?);
                self.append_of_kind(head, request, entity, "case-approved").await
            }
            [id, "end"] => {
                let entity = Entity::Case(ledger::case_id(id)?);
                self.append_of_kind(head, request, entity, "case-ended").await
            }
            _ => Err(AdminProblem::not_found()),
        }
    }

    /// Answers an access evaluation (OpenID AuthZEN 1.0). The response repeats the request's `X-Request-ID`.
    async fn access(
        &self,
        head: &AdminRequest,
        request: Request<Incoming>,
        evaluate: fn(&SharedState, &[u8], Timestamp) -> Result<Value, MalformedRequest>,
    ) -> Result<AdminResponse, AdminProblem> {
        head.require_post()?;
        if !self.shared.ledger.healthy() {
            return Err(AppendError::Unavailable.into());
        }
        let id = request.headers().get("x-request-id").cloned();
        let body = read_body(request, MAX_EVALUATIONS_BYTES).await?;
        let evaluation = evaluate(&self.shared, &body, Timestamp::now())
            .map_err(|error| AdminProblem::malformed(error.to_string()))?;
        let mut response = ok(&evaluation);
        if let Some(id) = id {
            response.headers_mut().insert("x-request-id", id);
        }
        Ok(response)
    }

    /// Returns the record of a decision in the disclosure logs.
    async fn decision(&self, id: &str) -> Result<AdminResponse, AdminProblem> {
        match self.shared.logged_decision(id.to_owned()).await {
            Ok(Some(record)) => Ok(ok(&record)),
            Ok(None) => Err(AdminProblem::not_found()),
            Err(error) => Err(AdminProblem::log_unreadable(&error)),
        }
    }
}

fn ok(value: &Value) -> AdminResponse {
    response(StatusCode::OK, "application/json", value.to_string())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> AdminResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
