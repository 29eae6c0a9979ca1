//! Hands the checkpoints of the disclosure log to those who keep them: the structured log, a file, a webhook, a witness.
//!
//! Invariants: a sink that is down stops nothing and gets the latest checkpoint when it is back; a sink never gets an older
//! checkpoint after a later one; the last checkpoint of a log that is closed is delivered at once. The tasks end when this is
//! dropped. No error quotes a body or a URL.

mod witness;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::witness::WitnessSink;
use super::http_client::{HttpClient, HttpError, HttpLimits, PostError};
use crate::config::{CheckpointSink, SinkServer};
use crate::disclosure::Log;
use crate::disclosure::storage::{PublishedCheckpoint, ReadError};
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;

/// Bounds of one request.
const LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(10), max_body: 64 << 10 };

/// Minimum time between two checkpoints for one sink.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// Time to the next attempt after a failure. It doubles with each further one, up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Maximum time for the last delivery to all sinks.
pub(super) const LAST_DELIVERY_TIME: Duration = Duration::from_secs(10);

/// The checkpoints of a log that is open, or the last one.
type CheckpointReceiver = watch::Receiver<Option<Arc<PublishedCheckpoint>>>;

/// The tasks of the configured sinks.
#[derive(Debug)]
pub(super) struct CheckpointSinks {
    /// The tasks end when the set is dropped.
    tasks: JoinSet<()>,
}

/// Reason for which a sink did not take a checkpoint.
#[derive(Debug, thiserror::Error)]
enum SinkError {
    /// The file cannot be written.
    #[error("the file cannot be written: {0}")]
    File(#[source] std::io::Error),
    /// The server does not take the checkpoint.
    #[error("{0}")]
    Post(#[from] PostError),
    /// The witness gives no answer.
    #[error("{0}")]
    Http(#[from] HttpError),
    /// The witness refuses the checkpoint.
    #[error("the witness answers {0}")]
    Status(StatusCode),
    /// The proof for a witness cannot be made.
    #[error("the log cannot be read: {0}")]
    Read(#[source] ReadError),
    /// A witness knows more of the log than there is.
    #[error("the witness has cosigned {known} entries, and the log has {size}: entries were removed")]
    Shorter {
        /// Number of entries that the witness knows.
        known: u64,
        /// Number of entries of the checkpoint.
        size: u64,
    },
    /// The answer of a witness cannot be used.
    #[error("{0}")]
    Answer(&'static str),
}

/// A sink of checkpoints.
#[derive(Debug)]
enum Sink {
    Log(Duration),
    File(PathBuf),
    Webhook(HttpClient),
    Witness(WitnessSink),
}

impl CheckpointSinks {
    /// Starts a task for each sink.
    pub(super) fn start(sinks: Vec<CheckpointSink>, log: &Log, metrics: &Metrics) -> CheckpointSinks {
        let mut tasks = JoinSet::new();
        for sink in sinks {
            let sink = match sink {
                CheckpointSink::Log(interval) => Sink::Log(interval),
                CheckpointSink::File(path) => Sink::File(path),
                CheckpointSink::Webhook(server) => Sink::Webhook(client(server)),
                CheckpointSink::Witness { server, key } => {
                    Sink::Witness(WitnessSink::new(client(server), key, log.folder()))
                }
            };
            // An alert needs the counter before the first failure.
            metrics.audit_checkpoint_sink_failures.with_label_values(&[sink.kind()]);
            tasks.spawn(run(sink, log.checkpoints(), metrics.clone()));
        }
        CheckpointSinks { tasks }
    }

    /// Waits until each sink took the last checkpoint of the log, which is closed, or failed once more, for at most a time.
    pub(super) async fn finish(mut self, time: Duration) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(time, all).await.is_err() {
            tracing::warn!("a sink did not take the last checkpoint of the disclosure log in time");
        }
    }
}

fn client(SinkServer { url, tls, ca: _ }: SinkServer) -> HttpClient {
    HttpClient::with_tls(url, tls, LIMITS)
}

/// Delivers checkpoints until the log is closed. Its last checkpoint is delivered without waiting, and once.
async fn run(mut sink: Sink, mut checkpoints: CheckpointReceiver, metrics: Metrics) {
    let failures = metrics.audit_checkpoint_sink_failures.with_label_values(&[sink.kind()]);
    let limit = LogLimit::per_period(1, MAX_RETRY);
    let (mut delivered, mut retry, mut is_open) = (None, RETRY, true);
    if let Sink::Log(interval) = sink {
        // A log begins with what the operator looks for: the addresses. Entries wait no longer for it than later ones do.
        is_open = tokio::time::timeout(interval, closed(&mut checkpoints)).await.is_err();
    }
    loop {
        let latest = checkpoints.borrow_and_update().clone();
        let wait = match latest.filter(|latest| delivered != Some(latest.size)) {
            None => None,
            Some(checkpoint) => Some(match sink.deliver(&checkpoint).await {
                Ok(()) => {
                    (delivered, retry) = (Some(checkpoint.size), RETRY);
                    sink.interval()
                }
                Err(error) => {
                    failures.inc();
                    if let Some(count) = limit.admit() {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(count, sink = sink.kind(), error, "a sink does not take checkpoints");
                    }
                    let wait = retry;
                    retry = (retry * 2).min(MAX_RETRY);
                    wait
                }
            }),
        };
        if !is_open {
            return;
        }
        is_open = match wait {
            None => checkpoints.changed().await.is_ok(),
            Some(wait) => tokio::time::timeout(wait, closed(&mut checkpoints)).await.is_err(),
        };
    }
}

/// Returns when the log is closed.
async fn closed(checkpoints: &mut CheckpointReceiver) {
    while checkpoints.changed().await.is_ok() {}
}

impl Sink {
    /// Returns the kind, for metrics and messages.
    fn kind(&self) -> &'static str {
        match self {
            Sink::Log(_) => "log",
            Sink::File(_) => "file",
            Sink::Webhook(_) => "webhook",
            Sink::Witness(_) => "witness",
        }
    }

    /// Returns the time until the next checkpoint.
    fn interval(&self) -> Duration {
        match self {
            Sink::Log(interval) => *interval,
            Sink::File(_) | Sink::Webhook(_) | Sink::Witness(_) => MIN_INTERVAL,
        }
    }

    async fn deliver(&mut self, checkpoint: &PublishedCheckpoint) -> Result<(), SinkError> {
        match self {
            Sink::Log(_) => {
                tell(checkpoint);
                Ok(())
            }
            Sink::File(path) => {
                let (path, note) = (path.clone(), checkpoint.note.clone());
                let written = tokio::task::spawn_blocking(move || replace(&path, &note)).await;
                written.unwrap_or_else(|error| Err(std::io::Error::other(error))).map_err(SinkError::File)
            }
            Sink::Webhook(client) => post(client, checkpoint).await,
            Sink::Witness(witness) => witness.deliver(checkpoint).await,
        }
    }
}

/// Writes a checkpoint to the structured log.
fn tell(checkpoint: &PublishedCheckpoint) {
    let PublishedCheckpoint { origin, size, root, note } = checkpoint;
    let root = STANDARD.encode(root);
    tracing::info!(origin, size, root, note, "checkpoint of the disclosure log");
}

/// Replaces a file: it has the earlier checkpoint or the later one, also after a power failure.
pub(super) fn replace(path: &Path, note: &str) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let beside = path.with_file_name(name);
    let mut file = std::fs::File::create(&beside)?;
    std::io::Write::write_all(&mut file, note.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, path)
}

async fn post(client: &HttpClient, checkpoint: &PublishedCheckpoint) -> Result<(), SinkError> {
    let PublishedCheckpoint { origin, size, root, note } = checkpoint;
    let body = json!({ "origin": origin, "size": size, "root": STANDARD.encode(root), "note": note });
    let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    Ok(client.post(headers, Bytes::from(body.to_string())).await?)
}

#[cfg(test)]
mod tests;
