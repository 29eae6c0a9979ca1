//! Sends traces to a collector: OTLP over HTTP, with Protocol Buffers. Off unless the environment names an endpoint.
//!
//! Exchanges that have ended wait in a bounded queue; one task sends them in batches. A collector that does not take a batch
//! is asked again for a while, then the batch is dropped. Of one that it takes it can reject some spans. Invariants: no exchange
//! waits for the collector; what is dropped or rejected is counted; a stop sends what is queued, once, within a bound. No log line
//! quotes a header field, a URL or words of the collector.

mod answer;
mod otlp;
mod protobuf;
mod settings;

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) use self::settings::TraceSettings;
pub use self::settings::{TraceSettingsError, VARIABLES};
use super::http_client::{HttpClient, HttpLimits, PostError};
use crate::config::TlsError;
use crate::config::tls_client::ClientTlsFiles;
use crate::exchange::SharedState;
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;
use crate::traces::{FinishedExchange, FinishedExchanges, QueueBounds, Tracer};

/// Maximum size of the body of the collector's answer that is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Time to the second attempt to send a batch. It doubles with each further one, up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(16);

/// Time after which a batch that the collector does not take is dropped.
const MAX_DELIVERY_TIME: Duration = Duration::from_secs(60);

/// Maximum time to send what is queued when the gateway stops.
pub(super) const FLUSH_TIME: Duration = Duration::from_secs(5);

/// Period in which one warning about the collector is written.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Outcomes of traced exchanges, as their metric names them.
const EXPORTED: &str = "exported";
const QUEUE_FULL: &str = "queue-full";
const EXPORT_FAILED: &str = "export-failed";

/// The task that sends traces. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct TraceExport {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl TraceExport {
    /// Traces exchanges from now on. Needs a runtime. Blocks while the authorities of the collector are read.
    ///
    /// # Errors
    /// [`TlsError`] if TLS to the collector cannot be set up.
    pub(super) fn start(settings: TraceSettings, shared: &SharedState) -> Result<TraceExport, TlsError> {
        let TraceSettings { sampler, queue, batch, timeout, ref certificate, ref identity, .. } = settings;
        let files = ClientTlsFiles { ca: certificate.clone(), identity: identity.clone() };
        let limits = HttpLimits { time: timeout, max_body: MAX_ANSWER };
        let client = HttpClient::new(settings.endpoint.clone(), &files, limits)?;
        let metrics = &shared.metrics;
        for outcome in [EXPORTED, EXPORT_FAILED] {
            metrics.traced_exchanges.with_label_values(&[outcome]);
        }
        let dropped = metrics.traced_exchanges.with_label_values(&[QUEUE_FULL]);
        let (tracer, finished) = Tracer::new(sampler, QueueBounds { capacity: queue, batch }, dropped);
        shared.trace(tracer);
        tracing::info!(collector = settings.endpoint.authority(), "exchanges are traced");
        let (stop, stopping) = watch::channel(false);
        let exporter = Exporter { settings, client, finished, stopping, metrics: metrics.clone() };
        Ok(TraceExport { stop, task: tokio::spawn(exporter.run()) })
    }

    /// Sends what is queued, for at most [`FLUSH_TIME`].
    pub(super) async fn finish(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(FLUSH_TIME, &mut self.task).await.is_err() {
            tracing::warn!("the collector did not take the last traces in time");
        }
    }
}

impl Drop for TraceExport {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// True if the collector may accept later what it did not take.
fn is_temporary(error: &PostError) -> bool {
    error.status().is_none_or(|status| matches!(status.as_u16(), 429 | 502 | 503 | 504))
}

struct Exporter {
    settings: TraceSettings,
    client: HttpClient,
    finished: FinishedExchanges,
    /// Becomes true when the gateway stops.
    stopping: watch::Receiver<bool>,
    metrics: Metrics,
}

impl Exporter {
    async fn run(mut self) {
        let mut batch = Vec::with_capacity(self.settings.batch);
        while self.fill(&mut batch).await {
            self.deliver(&batch).await;
            batch.clear();
        }
    }

    /// Waits for exchanges: until the batch is full, the time since the first one is over, or the gateway stops. Returns
    /// false if none are left.
    async fn fill(&mut self, batch: &mut Vec<FinishedExchange>) -> bool {
        let deadline = loop {
            tokio::select! {
                first = self.finished.first() => match first {
                    Some(first) => {
                        batch.push(first);
                        break Instant::now() + self.settings.delay;
                    }
                    None => return false,
                },
                // Afterwards the queue ends when it is empty.
                () = stopped(&mut self.stopping), if !self.finished.is_closed() => self.finished.close(),
            }
        };
        tokio::select! {
            _ = tokio::time::timeout_at(deadline, self.finished.filled()) => {}
            () = stopped(&mut self.stopping) => {}
        }
        while batch.len() < self.settings.batch {
            let Some(next) = self.finished.take() else { break };
            batch.push(next);
        }
        true
    }

    /// Sends a batch until the collector takes it or it is dropped. Once the gateway stops, there is one attempt.
    async fn deliver(&mut self, batch: &[FinishedExchange]) {
        let request = Bytes::from(self.compressed(otlp::encode(&self.settings.resource, batch)));
        let (began, mut retry) = (Instant::now(), RETRY);
        let outcome = loop {
            let error = match self.send(request.clone()).await {
                Ok(answer) => {
                    self.count_rejected(answer.as_deref().unwrap_or_default(), batch.len());
                    break EXPORTED;
                }
                Err(error) => error,
            };
            report(&error);
            let wait = error.retry_after().unwrap_or(retry).max(retry).min(MAX_DELIVERY_TIME);
            let is_over = !is_temporary(&error) || began.elapsed() + wait > MAX_DELIVERY_TIME;
            if is_over || *self.stopping.borrow() {
                break EXPORT_FAILED;
            }
            retry = (retry * 2).min(MAX_RETRY);
            // A stop ends the wait.
            let _ = tokio::time::timeout(wait, stopped(&mut self.stopping)).await;
        };
        self.metrics.traced_exchanges.with_label_values(&[outcome]).inc_by(batch.len() as u64);
    }

    /// Counts the spans that the collector rejected of a batch that it took. They are not sent again, as OTLP demands.
    fn count_rejected(&self, answer: &[u8], exchanges: usize) {
        static REJECTIONS: LogLimit = LogLimit::per_period(1, WARNING_PERIOD);
        let sent = exchanges as u64 * otlp::MAX_SPANS;
        let rejected = answer::rejected_spans(answer).min(sent);
        if rejected == 0 {
            return;
        }
        self.metrics.rejected_spans.inc_by(rejected);
        if let Some(count) = REJECTIONS.admit() {
            tracing::warn!(count, "the collector rejects spans of a batch that it takes");
        }
    }

    /// Sends a batch. Returns the answer if it is whole.
    async fn send(&self, body: Bytes) -> Result<Option<Bytes>, PostError> {
        let mut headers = HeaderMap::from_iter(self.settings.headers.iter().cloned());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        if self.settings.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        self.client.post_for_answer(headers, body).await
    }

    fn compressed(&self, message: Vec<u8>) -> Vec<u8> {
        if !self.settings.gzip {
            return message;
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        // Writing to memory does not fail.
        let _ = encoder.write_all(&message);
        encoder.finish().unwrap_or_default()
    }
}

/// Returns when the gateway stops.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error says that nobody can ask to stop any more, because the task is about to be ended.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn report(error: &PostError) {
    static FAILURES: LogLimit = LogLimit::per_period(1, WARNING_PERIOD);
    if let Some(count) = FAILURES.admit() {
        tracing::warn!(count, %error, "the collector does not take traces");
    }
}
