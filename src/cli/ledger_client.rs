//! The two ways to change a ledger from the shell: directly where no gateway has it, else through
//! the running gateway's admin API, so that what is changed is in force in its memory too.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::error::{CliError, with_causes};
use super::ledger_location::{LedgerLocation, unusable_error};
use crate::assembly::history;
use crate::keys::Keys;
use crate::ledger::{
    self, Acknowledgement, AppendError, Batch, Entity, FileError, Ledger, LedgerOpenError, LineResult,
    PositionMark,
};
use crate::vocabulary::SubjectId;

/// How long the admin API may take for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of a line of an import, or what is wrong with it.
pub type LineOutcome = Result<ImportedLine, String>;

/// A line of an import that is in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportedLine {
    /// It was recorded before.
    pub again: bool,
    /// What is in force differs after it.
    pub changed: bool,
}

/// A way to change the ledger.
pub trait LedgerClient {
    /// Records one event; what the admin API answers. `spelled` is the entity's id as it was typed: a
    /// gateway reads it itself.
    ///
    /// # Errors
    /// [`CliError`].
    fn record(&mut self, entity: &Entity, spelled: &str, event: &Value) -> Result<Value, CliError>;

    /// Records the lines of a part of a batch and tells the outcome of each by its number.
    ///
    /// # Errors
    /// [`CliError`], where not even the outcome of the lines is known.
    fn import(
        &mut self,
        lines: &[u8],
        batch: Batch<'_>,
        tell: &mut dyn FnMut(u64, LineOutcome),
    ) -> Result<(), CliError>;
}

/// Asks the admin API of a running gateway for a resource.
///
/// # Errors
/// [`CliError::Unusable`].
pub(super) fn get(admin: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), CliError> {
    let gateway = GatewayClient { admin, runtime: runtime()? };
    let request = Request::builder().method(Method::GET).uri(path).header(HOST, admin.to_string());
    let request = request.body(Full::default()).map_err(|error| gateway.unreachable(&error))?;
    gateway.answer(request)
}

fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Unusable(format!("the runtime cannot be started: {error}")))
}

impl LedgerLocation<'_> {
    /// Opens the ledger to change it. One that is not there yet is made, and its keys too.
    pub(super) fn client(&self) -> Result<Box<dyn LedgerClient>, CliError> {
        let keys = Keys::open_or_create(self.keys, &[self.ledger]).map_err(|error| unusable_error(&error))?;
        open(self, &keys)
    }
}

/// Opens the way: the ledger itself, or the admin API of the gateway that has it.
///
/// # Errors
/// [`CliError::Unusable`].
pub(super) fn open(place: &LedgerLocation<'_>, keys: &Keys) -> Result<Box<dyn LedgerClient>, CliError> {
    let runtime = runtime()?;
    match Ledger::open(place.ledger, keys, Arc::clone(&place.names)) {
        Ok(ledger) => {
            let known = history::last_known_position_in(place.log, place.keys, place.ledger);
            let known = known.map_err(|error| CliError::Unusable(with_causes(&error)))?;
            history::compare(ledger.position(), known)
                .map_err(|error| CliError::Unusable(error.to_string()))?;
            if let Ok(mark) = PositionMark::open(place.keys, place.ledger) {
                ledger.set_position_mark(mark);
            }
            ledger.set_recipients(place.recipients.iter().cloned());
            ledger.set_namespaces(place.namespaces.iter().cloned());
            Ok(Box::new(DirectClient { ledger, runtime }))
        }
        Err(LedgerOpenError::File(FileError::InUse(_))) => {
            Ok(Box::new(GatewayClient { admin: place.admin, runtime }))
        }
        Err(error) => Err(CliError::Unusable(with_causes(&error))),
    }
}

/// This process has the ledger.
#[derive(Debug)]
struct DirectClient {
    ledger: Arc<Ledger>,
    runtime: Runtime,
}

impl LedgerClient for DirectClient {
    fn record(&mut self, entity: &Entity, _: &str, event: &Value) -> Result<Value, CliError> {
        let refused = |error: &dyn std::error::Error| CliError::Refused(error.to_string());
        let draft = ledger::parse(event.to_string().as_bytes(), entity.kind(), self.ledger.terms())
            .map_err(|error| refused(&error))?;
        let recorded = self.runtime.block_on(self.ledger.append(entity, draft, None, Timestamp::now()));
        let recorded = recorded.map_err(|error| match error {
            AppendError::Unavailable => CliError::Unusable(error.to_string()),
            AppendError::Event(_)
            | AppendError::Conflict(_)
            | AppendError::Future
            | AppendError::KeyReused => refused(&error),
        })?;
        Ok(json!({
            "event": recorded.event.to_string(),
            "position": recorded.position.0,
            "durable": true,
            "in_force": "here",
            "changed": recorded.changed,
        }))
    }

    fn import(
        &mut self,
        lines: &[u8],
        batch: Batch<'_>,
        tell: &mut dyn FnMut(u64, LineOutcome),
    ) -> Result<(), CliError> {
        let tell = |LineResult { line, outcome }| {
            let done = |Acknowledgement { repeated: again, changed, .. }| ImportedLine { again, changed };
            tell(line, outcome.map(done).map_err(|error| error.to_string()));
        };
        self.runtime.block_on(self.ledger.import(lines, batch, Timestamp::now(), tell));
        if self.ledger.healthy() {
            Ok(())
        } else {
            Err(CliError::Unusable(AppendError::Unavailable.to_string()))
        }
    }
}

/// A running gateway has the ledger.
#[derive(Debug)]
struct GatewayClient {
    admin: SocketAddr,
    runtime: Runtime,
}

impl LedgerClient for GatewayClient {
    fn record(&mut self, entity: &Entity, spelled: &str, event: &Value) -> Result<Value, CliError> {
        let (path, event) = request(entity, spelled, event);
        let (status, body) = self.post(&path, None, event.to_string().into_bytes())?;
        let answer: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() { Ok(answer) } else { Err(self.refusal(status, &answer)) }
    }

    fn import(
        &mut self,
        lines: &[u8],
        batch: Batch<'_>,
        tell: &mut dyn FnMut(u64, LineOutcome),
    ) -> Result<(), CliError> {
        #[derive(Deserialize)]
        struct LineReport {
            line: u64,
            #[serde(default)]
            again: bool,
            #[serde(default)]
            changed: bool,
            error: Option<String>,
        }
        let Batch { from, name, keep_unknown_recipients } = batch;
        let keep = if keep_unknown_recipients { "&keep-unknown-recipients=true" } else { "" };
        let (status, body) =
            self.post(&format!("/v1/events:batch?from={from}{keep}"), name, lines.to_vec())?;
        if !status.is_success() {
            return Err(self.refusal(status, &serde_json::from_slice(&body).unwrap_or(Value::Null)));
        }
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let LineReport { line, again, changed, error } = serde_json::from_slice(line)
                .map_err(|_| CliError::Unusable("the gateway's answer cannot be read".to_owned()))?;
            tell(line, error.map_or(Ok(ImportedLine { again, changed }), Err));
        }
        Ok(())
    }
}

/// The path and the body with which the admin API takes an event.
fn request(entity: &Entity, spelled: &str, event: &Value) -> (String, Value) {
    let of_person = |sort: &str, person: &SubjectId| {
        let path = format!("/v1/{sort}/{}/events", percent_encoded(spelled));
        match person.namespace() {
            Some(namespace) => format!("{path}?namespace={}", percent_encoded(namespace)),
            None => path,
        }
    };
    let mut event = event.clone();
    let path = match entity {
        Entity::Subject(person) => of_person("subjects", person),
        Entity::Controller(person) => of_person("controllers", person),
        Entity::Recipient(name) => format!("/v1/recipients/{}/events", percent_encoded(name)),
        Entity::Case(id) => match event.get("kind").and_then(Value::as_str) {
            Some("case-registered") => {
                if let Some(event) = event.as_object_mut() {
                    event.insert("case".to_owned(), (&**id).into());
                }
                "/v1/cases".to_owned()
            }
            Some("case-approved") => format!("/v1/cases/{}/approve", percent_encoded(id)),
            _ => format!("/v1/cases/{}/end", percent_encoded(id)),
        },
    };
    (path, event)
}

impl GatewayClient {
    fn post(&self, path: &str, key: Option<&str>, body: Vec<u8>) -> Result<(StatusCode, Bytes), CliError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, self.admin.to_string())
            .header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Full::new(Bytes::from(body))).map_err(|error| self.unreachable(&error))?;
        self.answer(request)
    }

    fn answer(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), CliError> {
        self.runtime.block_on(async {
            tokio::time::timeout(ANSWER_TIMEOUT, send(self.admin, request))
                .await
                .map_err(|error| self.unreachable(&error))?
                .map_err(|error| self.unreachable(&*error))
        })
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> CliError {
        let admin = self.admin;
        CliError::Unusable(format!(
            "another process has the ledger, and no gateway answers at the admin address {admin} ({error}): \
             stop that process, or name its admin address with --admin"
        ))
    }

    fn refusal(&self, status: StatusCode, problem: &Value) -> CliError {
        let said = problem.get("detail").and_then(Value::as_str);
        let text =
            said.map_or_else(|| format!("the gateway at {} answers {status}", self.admin), str::to_owned);
        if status.is_client_error() { CliError::Refused(text) } else { CliError::Unusable(text) }
    }
}

async fn send(
    admin: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answered = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, body))
    };
    // The connection ends with the answer.
    tokio::select! {
        biased;
        answer = answered => answer,
        ended = connection => Err(ended.err().map_or_else(|| "the connection was closed".into(), Into::into)),
    }
}

/// A path segment or query value with everything escaped that could be something else (RFC 3986).
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_one_path_segment() {
        assert_eq!(percent_encoded("c-1.x_~"), "c-1.x_~");
        assert_eq!(percent_encoded("a/b?c=ü;&%"), "a%2Fb%3Fc%3D%C3%BC%3B%26%25");
    }

    #[test]
    fn an_error_is_told_with_its_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct OuterError(#[source] std::fmt::Error);
        let text = with_causes(&OuterError(std::fmt::Error));
        assert_eq!(text, format!("outer: {}", std::fmt::Error));
    }
}
