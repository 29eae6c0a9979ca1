//! The admin listener: health, metrics, the ledger's events, what is loaded. On the loopback only.

mod case;
mod subject;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio_io_timeout::TimeoutStream;

use super::acceptor::Acceptor;
use super::authzen;
use super::connection::{HEAD_TIME, STALL_TIME};
use crate::disclosure;
use crate::exchange::{SharedState, Versions, path};
use crate::ledger::{self, AppendError, Entity, LineResult};

/// Bytes of one event.
const MAX_EVENT: usize = ledger::MAX_EVENT_BYTES;
/// Bytes of one batch of events.
const MAX_BATCH: usize = 64 << 20;
/// Bytes of a request for access evaluations.
const MAX_EVALUATIONS_BYTES: usize = 1 << 20;
/// For a request to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(30);

/// Serves the admin API. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct AdminApi {
    shared: Arc<SharedState>,
    draining: Arc<AtomicBool>,
}

type AdminResponse = Response<Full<Bytes>>;

/// What the admin API answers when it cannot do what was asked (RFC 9457).
#[derive(Debug)]
struct AdminProblem {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl AdminProblem {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> AdminProblem {
        AdminProblem { status, code, detail: detail.into() }
    }

    fn not_found() -> AdminProblem {
        AdminProblem::new(StatusCode::NOT_FOUND, "not-found", "there is nothing here")
    }

    fn answer(self) -> AdminResponse {
        let body = json!({
            "type": format!("urn:purposegate:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        response(self.status, "application/problem+json", body.to_string())
    }
}

impl From<AppendError> for AdminProblem {
    fn from(error: AppendError) -> Self {
        let detail = error.to_string();
        match error {
            AppendError::Event(_) | AppendError::Future => {
                AdminProblem::new(StatusCode::BAD_REQUEST, "event-malformed", detail)
            }
            AppendError::Conflict(ledger::Conflict::CaseUnknown) => {
                AdminProblem::new(StatusCode::NOT_FOUND, "not-found", detail)
            }
            AppendError::Conflict(_) => AdminProblem::new(StatusCode::CONFLICT, "event-conflict", detail),
            AppendError::KeyReused => {
                AdminProblem::new(StatusCode::CONFLICT, "idempotency-key-reused", detail)
            }
            AppendError::Unavailable => {
                AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, "ledger-unavailable", detail)
            }
        }
    }
}

impl From<ledger::EventError> for AdminProblem {
    fn from(error: ledger::EventError) -> Self {
        AdminProblem::new(StatusCode::BAD_REQUEST, "event-malformed", error.to_string())
    }
}

impl From<ledger::StoreError> for AdminProblem {
    fn from(_: ledger::StoreError) -> Self {
        AdminProblem::new(StatusCode::SERVICE_UNAVAILABLE, "ledger-unavailable", "the ledger cannot be read")
    }
}

impl AdminApi {
    pub(super) fn new(shared: Arc<SharedState>) -> AdminApi {
        AdminApi { shared, draining: Arc::default() }
    }

    /// From now on `/readyz` says no, so that load balancers look elsewhere.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) async fn run(self, acceptor: Acceptor) {
        loop {
            let (stream, _, place) = acceptor.accept().await;
            let admin = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let mut stream = TimeoutStream::new(stream);
                stream.set_write_timeout(Some(STALL_TIME));
                let service = service_fn(move |request: Request<Incoming>| {
                    let admin = admin.clone();
                    async move { Ok::<_, Infallible>(admin.answer(request).await) }
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

    async fn answer(&self, request: Request<Incoming>) -> AdminResponse {
        let asked = AdminRequest::read(&request);
        match asked {
            Ok(asked) => self.route(asked, request).await.unwrap_or_else(AdminProblem::answer),
            Err(fault) => fault.answer(),
        }
    }

    async fn route(
        &self,
        asked: AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        let segments: Vec<&str> = asked.segments.iter().map(String::as_str).collect();
        let names = self.shared.ledger.terms();
        // hyper sends the head alone of what answers HEAD.
        let get = matches!(asked.method, Method::GET | Method::HEAD);
        match segments.as_slice() {
            ["healthz"] if get => Ok(response(StatusCode::OK, "text/plain", "ok\n".to_owned())),
            ["readyz"] if get => Ok(self.readiness().await),
            ["metrics"] if get => self.metrics(),
            ["v1", "subjects", id] if get => self.show(asked.person(id, names)?).await,
            ["v1", "subjects", id, "disclosures"] if get => self.disclosures(asked.person(id, names)?).await,
            ["v1", "subjects", id, "report"] if get => {
                self.report(asked.person(id, names)?, asked.html).await
            }
            ["v1", "requests"] if get => Ok(self.requests()),
            ["v1", "subjects", id, "opt-out-link"] if get => self.opt_out_link(&asked.person(id, names)?),
            ["v1", "subjects", id, "requests"] => {
                let entity = Entity::Subject(asked.person(id, names)?);
                self.append_of_kind(&asked, request, entity, "request-received").await
            }
            ["v1", "subjects", id, "answers"] => {
                let entity = Entity::Subject(asked.person(id, names)?);
                self.append_of_kind(&asked, request, entity, "request-answered").await
            }
            ["v1", "subjects", id, "events"] if get => {
                self.history(Entity::Subject(asked.person(id, names)?)).await
            }
            ["v1", "subjects", id, "events"] => {
                let entity = Entity::Subject(asked.person(id, names)?);
                self.append(&asked, request, entity).await
            }
            ["v1", "controllers", id, "events"] => {
                let entity = Entity::Controller(asked.person(id, names)?);
                self.append(&asked, request, entity).await
            }
            ["v1", "recipients", name, "events"] => {
                let entity = Entity::Recipient(self.registered(name)?);
                self.append(&asked, request, entity).await
            }
            ["v1", "cases"] if get => self.cases().await,
            ["v1", "cases"] => self.register_case(&asked, request).await,
            ["v1", "cases", id] if get => self.case(ledger::case_id(id)?).await,
            ["v1", "cases", id, "approve"] => {
                self.append_of_kind(&asked, request, Entity::Case(ledger::case_id(id)?), "case-approved")
                    .await
            }
            ["v1", "cases", id, "end"] => {
                self.append_of_kind(&asked, request, Entity::Case(ledger::case_id(id)?), "case-ended").await
            }
            ["access", "v1", "evaluation"] => self.access(&asked, request, authzen::evaluation).await,
            ["access", "v1", "evaluations"] => self.access(&asked, request, authzen::evaluations).await,
            [".well-known", "authzen-configuration"] if get => {
                let authority = request.headers().get(HOST).and_then(|host| host.to_str().ok());
                let authority = authority.ok_or_else(AdminProblem::not_found)?;
                Ok(ok(&authzen::configuration(&format!("http://{authority}"))))
            }
            ["v1", "events:batch"] => self.batch(&asked, request).await,
            ["v1", "decisions", id] if get => self.decision(id).await,
            ["v1", "policies"] if get => Ok(ok(&self.policies())),
            ["v1", "recipients"] if get => Ok(ok(&self.recipients())),
            ["v1", "routes"] if get => Ok(ok(&self.routes())),
            _ => Err(AdminProblem::not_found()),
        }
    }

    async fn readiness(&self) -> AdminResponse {
        let ledger = self.shared.ledger.check_store().await;
        let log = self.shared.log.healthy();
        let draining = self.draining.load(Ordering::Relaxed);
        let ready = ledger && log && !draining;
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let body =
            json!({ "ready": ready, "ledger": ledger, "audit": log, "policy": true, "draining": draining });
        response(status, "application/json", body.to_string())
    }

    fn metrics(&self) -> Result<AdminResponse, AdminProblem> {
        let metrics = &self.shared.metrics;
        let (requests, now) = (self.shared.ledger.requests(), Timestamp::now());
        let overdue = requests.iter().filter(|request| request.is_overdue(now)).count();
        metrics.subject_requests_open.set(i64::try_from(requests.len()).unwrap_or(i64::MAX));
        metrics.subject_requests_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
        metrics.policy_info.reset();
        for version in self.shared.snapshot().packs.iter().filter_map(|pack| pack.in_force(Timestamp::now()))
        {
            let (manifest, revision) = (version.pack().manifest(), version.pack().revision());
            metrics.policy_info.with_label_values(&[&*manifest.title, &manifest.version, revision]).set(1);
        }
        let versions = self.shared.snapshot();
        let divergences = versions.packs.iter().flat_map(Versions::iter).map(|version| version.divergences());
        metrics.policy_divergences.set(i64::try_from(divergences.sum::<u64>()).unwrap_or(i64::MAX));
        metrics.ledger_subjects.set(i64::try_from(self.shared.ledger.subject_count()).unwrap_or(i64::MAX));
        metrics.audit_records.reset();
        metrics.audit_records.inc_by(self.shared.log.records_written());
        let text = metrics.expose().map_err(|_| {
            AdminProblem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "metrics-unavailable",
                "the metrics cannot be encoded",
            )
        })?;
        Ok(response(StatusCode::OK, "text/plain; version=0.0.4", text))
    }

    /// Asks the ledger's file beside the exchanges and not between them: a disk can be slow.
    async fn read_ledger<T: Send + 'static>(
        &self,
        read: impl FnOnce(&ledger::Archive) -> Result<T, ledger::StoreError> + Send + 'static,
    ) -> Result<T, AdminProblem> {
        let ledger = Arc::clone(&self.shared.ledger);
        match tokio::task::spawn_blocking(move || read(ledger.archive())).await {
            Ok(read) => Ok(read?),
            Err(_) => Err(AppendError::Unavailable.into()),
        }
    }

    async fn show(&self, subject: crate::vocabulary::SubjectId) -> Result<AdminResponse, AdminProblem> {
        let shown = self.read_ledger(move |archive| archive.show(&subject, None, Timestamp::now())).await?;
        shown.map(|state| ok(&Value::Object(state))).ok_or_else(AdminProblem::not_found)
    }

    async fn history(&self, entity: Entity) -> Result<AdminResponse, AdminProblem> {
        let ledger = &self.shared.ledger;
        let events: Vec<Value> = self
            .read_ledger(move |archive| archive.history(&entity))
            .await?
            .iter()
            .map(|past| {
                let mut event = ledger::write(&past.event, ledger.terms());
                event.insert("event".to_owned(), past.id.to_string().into());
                event.insert("position".to_owned(), past.position.0.into());
                Value::Object(event)
            })
            .collect();
        if events.is_empty() { Err(AdminProblem::not_found()) } else { Ok(ok(&Value::Array(events))) }
    }

    /// An event whose kind the path says.
    async fn append_of_kind(
        &self,
        asked: &AdminRequest,
        request: Request<Incoming>,
        entity: Entity,
        kind: &str,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = asked.event(request).await?;
        let body = if body.is_empty() { Bytes::from_static(b"{}") } else { body };
        let draft = ledger::parse_of_kind(&body, kind, entity.kind(), self.shared.ledger.terms())?;
        self.record(asked, key, &entity, draft).await
    }

    async fn append(
        &self,
        asked: &AdminRequest,
        request: Request<Incoming>,
        entity: Entity,
    ) -> Result<AdminResponse, AdminProblem> {
        let (key, body) = asked.event(request).await?;
        let draft = ledger::parse(&body, entity.kind(), self.shared.ledger.terms())?;
        self.record(asked, key, &entity, draft).await
    }

    async fn record(
        &self,
        asked: &AdminRequest,
        key: Option<String>,
        entity: &Entity,
        draft: ledger::EventDraft,
    ) -> Result<AdminResponse, AdminProblem> {
        Ok(ok(&Value::Object(self.append_event(asked, key, entity, draft).await?)))
    }

    /// Records an event; the answer says that it is durable and in force.
    async fn append_event(
        &self,
        asked: &AdminRequest,
        key: Option<String>,
        entity: &Entity,
        draft: ledger::EventDraft,
    ) -> Result<Map<String, Value>, AdminProblem> {
        let kind = draft.kind.name();
        let withholds =
            !matches!(draft.kind.effect(), ledger::EventEffect::Permissive | ledger::EventEffect::Neutral);
        let recorded = self.shared.ledger.append(entity, draft, key.as_deref(), Timestamp::now()).await?;
        self.shared.metrics.ledger_events.with_label_values(&[kind]).inc();
        if withholds {
            self.shared.metrics.withdrawal_effect.observe(asked.received.elapsed().as_secs_f64());
        }
        // One gateway owns an embedded ledger: here is everywhere.
        let in_force = if asked.wait_everywhere { "everywhere" } else { "here" };
        let mut answer = Map::from_iter([
            ("event".to_owned(), recorded.event.to_string().into()),
            ("position".to_owned(), recorded.position.0.into()),
            ("durable".to_owned(), true.into()),
            ("in_force".to_owned(), in_force.into()),
            ("changed".to_owned(), recorded.changed.into()),
        ]);
        if recorded.repeated {
            answer.insert("again".to_owned(), true.into());
        }
        Ok(answer)
    }

    /// An access evaluation (OpenID AuthZEN 1.0); the request's id goes back with the answer.
    async fn access(
        &self,
        asked: &AdminRequest,
        request: Request<Incoming>,
        evaluate: fn(&SharedState, &[u8], Timestamp) -> Result<Value, authzen::MalformedRequest>,
    ) -> Result<AdminResponse, AdminProblem> {
        asked.require_post()?;
        if !self.shared.ledger.healthy() {
            return Err(AppendError::Unavailable.into());
        }
        let id = request.headers().get("x-request-id").cloned();
        let body = read(request, MAX_EVALUATIONS_BYTES).await?;
        let answer = evaluate(&self.shared, &body, Timestamp::now()).map_err(|why| {
            AdminProblem::new(StatusCode::BAD_REQUEST, "request-malformed", why.to_string())
        })?;
        let mut answer = ok(&answer);
        if let Some(id) = id {
            answer.headers_mut().insert("x-request-id", id);
        }
        Ok(answer)
    }

    async fn batch(
        &self,
        asked: &AdminRequest,
        request: Request<Incoming>,
    ) -> Result<AdminResponse, AdminProblem> {
        asked.require_post()?;
        let key = text_header(request.headers(), "idempotency-key")?;
        let body = read(request, MAX_BATCH).await?;
        let batch = ledger::Batch {
            from: asked.from,
            name: key.as_deref(),
            keep_unknown_recipients: asked.keep_unknown_recipients,
        };
        let mut results = String::new();
        let tell = |result: LineResult| results.push_str(&result_line(&result));
        self.shared.ledger.import(&body, batch, Timestamp::now(), tell).await;
        Ok(response(StatusCode::OK, "application/x-ndjson", results))
    }

    async fn decision(&self, id: &str) -> Result<AdminResponse, AdminProblem> {
        // An answer's closing record is not waited for by the answer; whoever asks for it has seen its end.
        self.shared.log.flush().await;
        let (folder, id) = (self.shared.log.folder().to_owned(), id.to_owned());
        let found = tokio::task::spawn_blocking(move || disclosure::decision(&folder, &id, true)).await;
        match found {
            Ok(Ok(Some(record))) => Ok(ok(&record)),
            Ok(Ok(None)) => Err(AdminProblem::not_found()),
            Ok(Err(_)) | Err(_) => Err(AdminProblem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "audit-unavailable",
                "the disclosure log cannot be read",
            )),
        }
    }

    fn registered(&self, name: &str) -> Result<Arc<str>, AdminProblem> {
        let snapshot = self.shared.snapshot();
        let found = snapshot.recipients.iter().find(|recipient| &*recipient.name == name);
        found.map(|recipient| Arc::clone(&recipient.name)).ok_or_else(|| {
            let names = snapshot.recipients.iter().map(|recipient| &*recipient.name);
            let nearest = ledger::nearest_term(name, names).map(str::to_owned);
            let detail = ledger::EventError::UnknownRecipient { nearest }.to_string();
            AdminProblem::new(StatusCode::NOT_FOUND, "not-found", detail)
        })
    }

    fn policies(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let now = Timestamp::now();
        let mut versions = Vec::new();
        for pack in &snapshot.packs {
            let in_force = pack.in_force(now).map(|version| Arc::clone(version.pack()));
            versions.extend(pack.iter().map(|version| {
                let pack = version.pack();
                let manifest = pack.manifest();
                json!({
                    "pack": manifest.title,
                    "version": manifest.version,
                    "revision": &**pack.revision(),
                    "announced": manifest.announced.to_string(),
                    "effective": manifest.effective.to_string(),
                    "in_force": in_force.as_ref().is_some_and(|in_force| Arc::ptr_eq(in_force, pack)),
                    "contact": manifest.contact,
                })
            }));
        }
        Value::Array(versions)
    }

    fn recipients(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let recipients = snapshot.recipients.iter().map(|recipient| {
            let until = recipient.agreement.as_ref().and_then(|agreement| agreement.until);
            json!({
                "name": &*recipient.name,
                "revision": &*snapshot.revision,
                "suspended": recipient.in_agreement.suspended || self.shared.ledger.is_suspended(&recipient.name),
                "agreement": recipient.agreement.is_some(),
                "agreement_until": until.map(|until| until.to_string()),
            })
        });
        recipients.collect()
    }

    fn routes(&self) -> Value {
        let snapshot = self.shared.snapshot();
        let routes = snapshot.routes.iter().map(|route| {
            let methods: Vec<&str> = route.methods.iter().map(Method::as_str).collect();
            json!({
                "name": &*route.name,
                "revision": &*snapshot.revision,
                "path": route.pattern,
                "methods": methods,
                "upstream": &*route.upstream,
                "personal": route.scrubbing.is_some(),
            })
        });
        routes.collect()
    }
}

fn result_line(result: &LineResult) -> String {
    let value = match &result.outcome {
        Ok(recorded) => json!({
            "line": result.line,
            "event": recorded.event.to_string(),
            "position": recorded.position.0,
            "again": recorded.repeated,
            "changed": recorded.changed,
        }),
        Err(error) => json!({ "line": result.line, "error": error.to_string() }),
    };
    format!("{value}\n")
}

/// The head of an admin request.
struct AdminRequest {
    received: Instant,
    method: Method,
    segments: Vec<String>,
    namespace: Option<String>,
    wait_everywhere: bool,
    /// A page for people in the place of JSON.
    html: bool,
    /// The number of a batch's first line.
    from: u64,
    /// A batch may name recipients that the configuration does not have.
    keep_unknown_recipients: bool,
}

/// Whether a page on another site may have sent this: browsers say from where, and a name that somebody
/// points at this address (DNS rebinding) is none that this listener goes by.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let is_own = |host: &str| {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
    };
    let texts =
        |name| headers.get_all(name).iter().map(|value: &HeaderValue| value.to_str().unwrap_or_default());
    let own_origin = texts(HOST).next().map(|host| format!("http://{host}")).unwrap_or_default();
    !texts(HOST).all(is_own) || !texts(ORIGIN).all(|origin| origin.eq_ignore_ascii_case(&own_origin))
}

impl AdminRequest {
    fn read(request: &Request<Incoming>) -> Result<AdminRequest, AdminProblem> {
        if is_cross_site(request.headers()) {
            return Err(AdminProblem::new(
                StatusCode::FORBIDDEN,
                "request-foreign",
                "this listener is asked by an IP address or as localhost, and not from another site's page",
            ));
        }
        let malformed = || {
            AdminProblem::new(
                StatusCode::BAD_REQUEST,
                "request-malformed",
                "the path or the query cannot be read",
            )
        };
        let decoded = |text: &str| path::meaning(text).ok_or_else(malformed);
        let segments = request.uri().path().split('/').skip(1).map(decoded).collect::<Result<_, _>>()?;
        let mut asked = AdminRequest {
            received: Instant::now(),
            method: request.method().clone(),
            segments,
            namespace: None,
            wait_everywhere: false,
            html: false,
            from: 1,
            keep_unknown_recipients: false,
        };
        for parameter in
            request.uri().query().unwrap_or_default().split('&').filter(|parameter| !parameter.is_empty())
        {
            match parameter.split_once('=') {
                Some(("namespace", name)) => asked.namespace = Some(decoded(name)?),
                Some(("wait", "everywhere")) => asked.wait_everywhere = true,
                Some(("format", "html")) => asked.html = true,
                Some(("format", "json")) => asked.html = false,
                Some(("keep-unknown-recipients", "true")) => asked.keep_unknown_recipients = true,
                Some(("from", number)) => asked.from = number.parse().map_err(|_| malformed())?,
                _ => return Err(malformed()),
            }
        }
        Ok(asked)
    }

    /// Whom an id in the path means, in the namespace that the query names.
    fn person(
        &self,
        id: &str,
        names: &dyn ledger::TermLookup,
    ) -> Result<crate::vocabulary::SubjectId, AdminProblem> {
        Ok(ledger::person(id, self.namespace.as_deref(), names)?)
    }

    /// The idempotency key and the body of a request that records an event.
    async fn event(&self, request: Request<Incoming>) -> Result<(Option<String>, Bytes), AdminProblem> {
        self.require_post()?;
        let key = text_header(request.headers(), "idempotency-key")?;
        Ok((key, read(request, MAX_EVENT).await?))
    }

    fn require_post(&self) -> Result<(), AdminProblem> {
        if self.method == Method::POST {
            return Ok(());
        }
        Err(AdminProblem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-not-allowed",
            "events are sent with POST",
        ))
    }
}

async fn read(request: Request<Incoming>, max: usize) -> Result<Bytes, AdminProblem> {
    let body = Limited::new(request.into_body(), max).collect();
    match tokio::time::timeout(REQUEST_TIME, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(AdminProblem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("at most {max} bytes are accepted"),
        )),
        Ok(Err(_)) => {
            Err(AdminProblem::new(StatusCode::BAD_REQUEST, "request-malformed", "the body ended early"))
        }
        Err(_) => Err(AdminProblem::new(
            StatusCode::REQUEST_TIMEOUT,
            "request-timeout",
            "the body did not arrive in time",
        )),
    }
}

fn text_header(headers: &HeaderMap, name: &str) -> Result<Option<String>, AdminProblem> {
    let text = headers.get(name).map(|value| value.to_str().map(str::to_owned)).transpose();
    text.map_err(|_| {
        AdminProblem::new(StatusCode::BAD_REQUEST, "request-malformed", format!("`{name}` is not ASCII"))
    })
}

fn ok(value: &Value) -> AdminResponse {
    response(StatusCode::OK, "application/json", value.to_string())
}

fn response(status: StatusCode, content_type: &'static str, body: String) -> AdminResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    response
}
