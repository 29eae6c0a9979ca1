//! Clients that change the ledger: directly in its file if no gateway uses it, or else through the admin API of the running
//! gateway, so that an event is in force in the gateway's memory, too.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Request, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::error::{CliError, unusable_error};
use super::ledger_location::LedgerLocation;
use crate::assembly::history;
use crate::assembly::ledger_store::{self, OpenStoreError};
use crate::config::tls_client::ClientTlsFiles;
use crate::gateway::http_client::{HttpClient, HttpLimits, HttpUrl};
use crate::keys::Keys;
use crate::ledger::store::shared::{CLOCK_DRIFT, MAX_LEASE, SharedStore};
use crate::ledger::{
    self, Acknowledgement, AppendError, Batch, Entity, FileError, Ledger, LineResult, Position, PositionMark,
    Store,
};
use crate::vocabulary::SubjectId;

/// Bounds of one response of the admin API. The largest one answers a batch of an import, line by line.
const ANSWER_LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(60), max_body: 64 << 20 };

/// Time between two questions whether an event is in force on all gateways.
const CONFIRMATION_POLL: Duration = Duration::from_millis(50);

/// The outcome of a line of an import, or the reason why it was rejected.
pub(super) type LineOutcome = Result<ImportedLine, String>;

/// A line of an import that the ledger has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ImportedLine {
    /// True if it was recorded before.
    pub(super) again: bool,
    /// True if it changes the state in force.
    pub(super) changed: bool,
}

/// A client that changes the ledger.
pub(super) trait LedgerClient {
    /// Records one event, and returns the answer of the admin API. `spelled` is the entity's id as it was typed, because a
    /// gateway parses it itself.
    ///
    /// # Errors
    /// [`CliError`].
    fn record(&mut self, entity: &Entity, spelled: &str, event: &Value) -> Result<Value, CliError>;

    /// Records the lines of a chunk of a batch, and calls `report` with the number and the outcome of each.
    ///
    /// # Errors
    /// [`CliError`] if the outcome of the lines is unknown.
    fn import(
        &mut self,
        lines: &[u8],
        batch: Batch<'_>,
        report: &mut dyn FnMut(u64, LineOutcome),
    ) -> Result<(), CliError>;
}

/// Gets a resource from the admin API of a running gateway.
///
/// # Errors
/// [`CliError::Unusable`].
pub(super) fn get(admin: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), CliError> {
    let gateway = GatewayClient::new(admin)?;
    let request = Request::get(path).body(Bytes::new()).map_err(|error| gateway.unreachable(&error))?;
    gateway.answer(request)
}

fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Unusable(format!("cannot start the runtime: {error}")))
}

impl LedgerLocation<'_> {
    /// Opens the ledger to change it. Creates it and its keys if they do not exist.
    ///
    /// # Errors
    /// [`CliError::Unusable`].
    pub(super) fn client(&self) -> Result<Box<dyn LedgerClient>, CliError> {
        let keys = ledger_store::open_keys(self.keys, &self.ledger.url, self.log);
        let keys = keys.map_err(|error| unusable_error(&error))?;
        open(self, &keys)
    }
}

/// Opens the ledger, or a client of the gateway that locks its file.
///
/// # Errors
/// [`CliError::Unusable`].
fn open(location: &LedgerLocation<'_>, keys: &Keys) -> Result<Box<dyn LedgerClient>, CliError> {
    let runtime = runtime()?;
    let store = match ledger_store::open(location.ledger, keys) {
        Ok(store) => store,
        Err(OpenStoreError::File(FileError::InUse(_))) => {
            return Ok(Box::new(GatewayClient::new(location.admin)?));
        }
        Err(error) => return Err(unusable_error(&error)),
    };
    let ledger = Ledger::with_store(Arc::clone(&store), keys, Arc::clone(&location.names));
    let ledger = ledger.map_err(|error| unusable_error(&error))?;
    let mark_name = location.ledger.url.mark_name();
    let known = history::last_known_position_in(location.log, location.keys, &mark_name);
    let known = known.map_err(|error| unusable_error(&error))?;
    history::compare(ledger.position(), known).map_err(|error| CliError::Unusable(error.to_string()))?;
    if let Ok(mark) = PositionMark::open(location.keys, &mark_name) {
        ledger.set_position_mark(mark);
    }
    let of_gateways = store.shared().map(SharedStore::gateways).transpose();
    let of_gateways = of_gateways.map_err(|error| unusable_error(&error))?.into_iter().flatten();
    let of_gateways = of_gateways.flat_map(|gateway| gateway.description.recipients);
    ledger.set_recipients(location.recipients.iter().cloned().chain(of_gateways));
    ledger.set_namespaces(location.namespaces.iter().cloned());
    Ok(Box::new(DirectClient { ledger, store, runtime }))
}

/// Prints the answer to an event, and a message if the event had no effect.
///
/// # Errors
/// If writing fails.
pub(super) fn print_answer(answer: &Value, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    writeln!(out, "{answer}")?;
    if answer.get("changed").and_then(Value::as_bool) == Some(false) {
        writeln!(err, "purposegate: recorded; the state in force is the same as before")?;
    }
    Ok(0)
}

/// A client that writes to the store itself. This process decides nothing, so it holds no lease.
struct DirectClient {
    ledger: Arc<Ledger>,
    store: Arc<dyn Store>,
    runtime: Runtime,
}

impl DirectClient {
    /// Waits until an event is in force on all gateways that share the ledger, at most as long as a lease can last. Returns
    /// where it is in force, as the admin API does. An embedded ledger that this process can write to has no gateway.
    fn in_force(&self, position: Position) -> &'static str {
        let Some(shared) = self.store.shared() else { return "here" };
        let deadline = Instant::now() + MAX_LEASE.mul_f64(CLOCK_DRIFT) + CONFIRMATION_POLL;
        loop {
            if shared.confirmed().is_ok_and(|confirmed| confirmed >= position) {
                return "everywhere";
            }
            if Instant::now() >= deadline {
                return "here";
            }
            std::thread::sleep(CONFIRMATION_POLL);
        }
    }
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
            "position": self.ledger.position_token(recorded.position),
            "durable": true,
            "in_force": self.in_force(recorded.position),
            "changed": recorded.changed,
        }))
    }

    fn import(
        &mut self,
        lines: &[u8],
        batch: Batch<'_>,
        report: &mut dyn FnMut(u64, LineOutcome),
    ) -> Result<(), CliError> {
        let report = |LineResult { line, outcome }| {
            let done = |Acknowledgement { repeated: again, changed, .. }| ImportedLine { again, changed };
            report(line, outcome.map(done).map_err(|error| error.to_string()));
        };
        self.runtime.block_on(self.ledger.import(lines, batch, Timestamp::now(), report));
        if self.ledger.healthy() {
            Ok(())
        } else {
            Err(CliError::Unusable(AppendError::Unavailable.to_string()))
        }
    }
}

/// A client of the admin API of a gateway that uses the ledger.
#[derive(Debug)]
struct GatewayClient {
    admin: SocketAddr,
    http: HttpClient,
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
        report: &mut dyn FnMut(u64, LineOutcome),
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
                .map_err(|_| CliError::Unusable("cannot read the answer of the gateway".to_owned()))?;
            report(line, error.map_or(Ok(ImportedLine { again, changed }), Err));
        }
        Ok(())
    }
}

/// Returns the path and the body of the admin API for an event.
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
    fn new(admin: SocketAddr) -> Result<GatewayClient, CliError> {
        let url: HttpUrl = format!("http://{admin}").parse().map_err(|error| unusable_error(&error))?;
        let http = HttpClient::new(url, &ClientTlsFiles::default(), ANSWER_LIMITS);
        Ok(GatewayClient { admin, http: http.map_err(|error| unusable_error(&error))?, runtime: runtime()? })
    }

    fn post(&self, path: &str, key: Option<&str>, body: Vec<u8>) -> Result<(StatusCode, Bytes), CliError> {
        let mut request = Request::post(path).header(CONTENT_TYPE, "application/json");
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Bytes::from(body)).map_err(|error| self.unreachable(&error))?;
        self.answer(request)
    }

    fn answer(&self, request: Request<Bytes>) -> Result<(StatusCode, Bytes), CliError> {
        let answer = self.runtime.block_on(self.http.send(request));
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        Ok((answer.status(), answer.into_body()))
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> CliError {
        let admin = self.admin;
        CliError::Unusable(format!(
            "another process uses the ledger, and no gateway answers at the admin address {admin} ({error}): \
             stop that process, or give its admin address with --admin"
        ))
    }

    fn refusal(&self, status: StatusCode, problem: &Value) -> CliError {
        let said = problem.get("detail").and_then(Value::as_str);
        let text =
            said.map_or_else(|| format!("the gateway at {} answered {status}", self.admin), str::to_owned);
        if status.is_client_error() { CliError::Refused(text) } else { CliError::Unusable(text) }
    }
}

/// Escapes a text for a path segment or a query value: every byte but the unreserved ones of RFC 3986.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_characters_are_escaped() {
        assert_eq!(percent_encoded("c-1.x_~"), "c-1.x_~");
        assert_eq!(percent_encoded("a/b?c=ü;&%"), "a%2Fb%3Fc%3D%C3%BC%3B%26%25");
    }
}
