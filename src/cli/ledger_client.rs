//! Clients that change the ledger: directly in its file if no gateway uses it, or else through the admin API of a gateway, so
//! that an event is in force in the gateway's memory, too.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::admin_client::{AdminClient, percent_encoded, runtime, with_query};
use super::arguments::SubjectArgs;
use super::error::{CliError, unusable_error};
use super::ledger_location::LedgerLocation;
use crate::assembly::history;
use crate::assembly::ledger_store::{self, OpenStoreError};
use crate::keys::Keys;
use crate::ledger::store::shared::{CLOCK_DRIFT, MAX_LEASE, SharedStore};
use crate::ledger::{
    self, Acknowledgement, AppendError, Batch, Entity, FileError, Ledger, LineResult, Position, PositionMark,
    Store, TermLookup,
};

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

/// The person or the case that an event is about, as it was typed: a gateway reads ids by its own rules.
#[derive(Clone, Copy, Debug)]
pub(super) enum EventTarget<'t> {
    /// A person.
    Subject(&'t SubjectArgs),
    /// A case, by its id.
    Case(&'t str),
}

impl EventTarget<'_> {
    /// Returns the entity by the rules of a configuration.
    fn entity(self, terms: &dyn TermLookup) -> Result<Entity, CliError> {
        match self {
            EventTarget::Subject(person) => person.id(terms).map(Entity::Subject),
            EventTarget::Case(id) => {
                let id = ledger::case_id(id).map_err(|error| CliError::Refused(error.to_string()))?;
                Ok(Entity::Case(id))
            }
        }
    }

    /// Returns the path of the admin API at which the event is recorded. Requests of people have a path of their own, since
    /// those who answer them need not be allowed to record choices.
    fn path(self, event: &Value) -> String {
        let kind = event.get("kind").and_then(Value::as_str).unwrap_or_default();
        match (self, kind) {
            (EventTarget::Subject(person), "request-received") => person.path("/requests", &[]),
            (EventTarget::Subject(person), "request-answered") => person.path("/answers", &[]),
            (EventTarget::Subject(person), _) => person.path("/events", &[]),
            (EventTarget::Case(_), "case-registered") => "/v1/cases".to_owned(),
            (EventTarget::Case(id), "case-approved") => format!("/v1/cases/{}/approve", percent_encoded(id)),
            (EventTarget::Case(id), _) => format!("/v1/cases/{}/end", percent_encoded(id)),
        }
    }

    /// Returns the body of the request. A case that is registered has its id there.
    fn body(self, event: &Value) -> String {
        let mut event = event.clone();
        let is_registered = event.get("kind").is_some_and(|kind| kind == "case-registered");
        if let (EventTarget::Case(id), true, Some(members)) = (self, is_registered, event.as_object_mut()) {
            members.insert("case".to_owned(), id.into());
        }
        event.to_string()
    }
}

/// A client that changes the ledger.
pub(super) trait LedgerClient {
    /// Records one event, and returns the answer of the admin API.
    ///
    /// # Errors
    /// [`CliError`].
    fn record(&mut self, target: EventTarget<'_>, event: &Value) -> Result<Value, CliError>;

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
    let store = match ledger_store::open(location.ledger, keys) {
        Ok(store) => store,
        Err(OpenStoreError::File(FileError::InUse(_))) => {
            return Ok(Box::new(location.admin.client()?));
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
    Ok(Box::new(DirectClient { ledger, store, runtime: runtime()? }))
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
    fn record(&mut self, target: EventTarget<'_>, event: &Value) -> Result<Value, CliError> {
        let refused = |error: &dyn std::error::Error| CliError::Refused(error.to_string());
        let entity = &target.entity(self.ledger.terms())?;
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
        let report = |LineResult { line, event: _, outcome }| {
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

impl LedgerClient for AdminClient {
    fn record(&mut self, target: EventTarget<'_>, event: &Value) -> Result<Value, CliError> {
        let answer = self.post(&target.path(event), None, target.body(event).into_bytes())?;
        self.read_json(&answer)
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
        let Batch { from, name, keep_unknown_recipients, sender: _ } = batch;
        let keep = keep_unknown_recipients.then_some("true");
        let from = from.to_string();
        let parameters = [("from", Some(from.as_str())), ("keep-unknown-recipients", keep)];
        let path = with_query("/v1/events:batch".to_owned(), &parameters);
        let body = self.post(&path, name, lines.to_vec())?;
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let LineReport { line, again, changed, error } = self.read_json(line)?;
            report(line, error.map_or(Ok(ImportedLine { again, changed }), Err));
        }
        Ok(())
    }
}
