//! Sends each exchange on record to a server, once it has ended: lines of JSON in a `POST`.
//!
//! It follows the log and replaces nothing of it. Invariants: an exchange never waits for the server; the server gets each
//! exchange at least once, in the order in which they ended, also after an outage and over restarts, because the place in the log
//! is stored only after the server has accepted what comes before it; nothing is dropped, but what the log deletes before it
//! is sent. No error quotes a body, a header field or a URL.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::Timestamp;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::checkpoint_sinks::replace;
use super::http_client::{HttpClient, HttpLimits, PostError};
use crate::config::{PushSection, SinkServer};
use crate::disclosure::read::ended::{
    BatchBounds, EndedBatch, ExchangeFollower, FollowedPlace, without_people,
};
use crate::disclosure::{LogSource, ReadError};
use crate::exchange::SharedState;
use crate::log_limit::LogLimit;
use crate::metrics::Metrics;

/// Bounds of one request. The body of the answer is not used.
const LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(20), max_body: 64 << 10 };

/// Bounds of a batch: well below 1 MiB, which is the maximum of many servers.
const BOUNDS: BatchBounds = BatchBounds { exchanges: 500, bytes: 512 << 10, entries: 10_000 };

/// Time between two looks at the log.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time to the second attempt to send a batch. It doubles with each further one, up to [`MAX_RETRY`].
const RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(60);

/// Maximum time for which the server can ask to be left alone.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(600);

/// Minimum time between two places that are stored though nothing was pushed.
const PLACE_PERIOD: Duration = Duration::from_secs(60);

/// Period in which one warning is written.
const WARNING_PERIOD: Duration = Duration::from_secs(60);

/// Maximum size of the file with the place, in bytes: that of a place with some ten thousand exchanges under way.
const MAX_PLACE_BYTES: u64 = 1 << 20;

/// The task. It ends when this is dropped; the next start goes on where it was.
#[derive(Debug)]
pub(super) struct RecordPush {
    task: JoinHandle<()>,
}

impl Drop for RecordPush {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The file with the value of `Authorization`, which this process is not permitted to read.
#[derive(Debug, thiserror::Error)]
#[error("{} with the `authorization` of `[audit.push]` cannot be read: permission denied", .0.display())]
pub struct DeniedAuthorization(PathBuf);

/// Reason for which a batch is not sent, or not accepted.
#[derive(Debug, thiserror::Error)]
enum PushError {
    #[error("the log cannot be read: {0}")]
    Read(#[from] ReadError),
    #[error("reading was interrupted: {0}")]
    Interrupted(#[from] JoinError),
    #[error("{0}")]
    Post(#[from] PostError),
}

impl RecordPush {
    /// Starts to send the exchanges of this gateway's log from the stored place on. Needs a runtime.
    ///
    /// # Errors
    /// [`DeniedAuthorization`].
    pub(super) fn start(
        section: PushSection,
        shared: &SharedState,
    ) -> Result<RecordPush, DeniedAuthorization> {
        let PushSection { server, authorization, denied, subjects, place } = section;
        if let Some(file) = denied {
            return Err(DeniedAuthorization(file));
        }
        let SinkServer { url, tls, ca: _ } = server;
        let log = shared.log.source().clone();
        let stored = stored_place(&place);
        let push = Push {
            client: HttpClient::with_tls(url, tls, LIMITS),
            authorization,
            follower: Some(ExchangeFollower::new(log.clone(), stored.clone(), subjects)),
            log,
            subjects,
            place,
            metrics: shared.metrics.clone(),
            last_read: Timestamp::now(),
            stored,
            last_stored: None,
        };
        Ok(RecordPush { task: tokio::spawn(push.run()) })
    }
}

/// Reads the stored place; without one that can be used, everything that the log has is sent.
fn stored_place(path: &Path) -> FollowedPlace {
    let read = || -> std::io::Result<FollowedPlace> {
        if std::fs::metadata(path)?.len() > MAX_PLACE_BYTES {
            return Err(std::io::Error::other("it is too large"));
        }
        serde_json::from_slice(&std::fs::read(path)?).map_err(std::io::Error::other)
    };
    match read() {
        Ok(place) => place,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => FollowedPlace::default(),
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "the place up to which records were pushed cannot be read: all that the log has are sent");
            FollowedPlace::default()
        }
    }
}

struct Push {
    client: HttpClient,
    authorization: Option<HeaderValue>,
    /// `None` while it reads, and after a read that panicked.
    follower: Option<ExchangeFollower>,
    log: LogSource,
    subjects: bool,
    place: PathBuf,
    metrics: Metrics,
    /// The time of the last look at the log.
    last_read: Timestamp,
    /// The place in the file.
    stored: FollowedPlace,
    last_stored: Option<Instant>,
}

impl Push {
    async fn run(mut self) {
        loop {
            match self.read().await {
                Ok(batch) => {
                    self.last_read = Timestamp::now();
                    let more = batch.more;
                    self.deliver(batch).await;
                    if more {
                        continue;
                    }
                }
                Err(error) => {
                    self.metrics.push_failures.inc();
                    self.metrics.push_lag.set_since(Some(self.last_read));
                    report(&error);
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Reads the next batch.
    async fn read(&mut self) -> Result<EndedBatch, PushError> {
        let mut follower = match self.follower.take() {
            Some(follower) => follower,
            None => ExchangeFollower::new(self.log.clone(), stored_place(&self.place), self.subjects),
        };
        let (follower, batch) = tokio::task::spawn_blocking(move || {
            let batch = follower.read(BOUNDS);
            (follower, batch)
        })
        .await?;
        self.follower = Some(follower);
        Ok(batch?)
    }

    /// Sends a batch until the server accepts it, and stores the place after it. A server to which it is too large gets smaller
    /// parts, and then a single exchange without its people, so that one exchange does not hold up all later ones.
    async fn deliver(&mut self, batch: EndedBatch) {
        let EndedBatch { lines, oldest, deleted, more, .. } = batch;
        if oldest.is_some() {
            self.metrics.push_lag.set_since(oldest);
        }
        if deleted > 0 {
            self.metrics.push_deleted_entries.inc_by(deleted);
            tracing::warn!(deleted, "entries of the disclosure log were deleted before they were pushed");
        }
        let (mut rest, mut size, mut retry, mut shortened) = (&lines[..], lines.len(), RETRY, None);
        while !rest.is_empty() {
            let (part, after) = rest.split_at(size.min(rest.len()));
            let sent = shortened.as_ref().map_or(part, std::slice::from_ref);
            let Err(error) = self.send(body(sent)).await else {
                self.metrics.push_records.inc_by(part.len() as u64);
                (rest, retry, shortened) = (after, RETRY, None);
                continue;
            };
            self.metrics.push_failures.inc();
            let asked = error.retry_after();
            let is_too_large = error.status() == Some(StatusCode::PAYLOAD_TOO_LARGE);
            report(&error.into());
            match part {
                [line] if is_too_large && shortened.is_none() => {
                    shortened = without_people(line);
                    if shortened.is_some() {
                        continue;
                    }
                }
                [_, _, ..] if is_too_large => {
                    size = part.len().div_ceil(2);
                    continue;
                }
                _ => {}
            }
            tokio::time::sleep(asked.map_or(retry, |asked| asked.clamp(retry, MAX_RETRY_AFTER))).await;
            retry = (retry * 2).min(MAX_RETRY);
        }
        if !more {
            self.metrics.push_lag.set_since(None);
        }
        // Without this, entries that hold nothing to push would count as not pushed when they are deleted.
        let is_due = self.last_stored.is_none_or(|stored| stored.elapsed() >= PLACE_PERIOD);
        if !lines.is_empty() || deleted > 0 || is_due {
            self.store_place().await;
        }
    }

    async fn send(&self, body: Bytes) -> Result<(), PostError> {
        let mut headers =
            HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"))]);
        headers.extend(self.authorization.iter().map(|value| (AUTHORIZATION, value.clone())));
        self.client.post(headers, body).await
    }

    /// Stores the place after the exchanges that the server has.
    async fn store_place(&mut self) {
        let Some(place) = self.follower.as_ref().map(ExchangeFollower::place) else { return };
        // The beginning of a log is where reading begins without a place.
        if place == self.stored || place.next == 0 {
            return;
        }
        self.last_stored = Some(Instant::now());
        let (path, stored) = (self.place.clone(), place.clone());
        let write = move || {
            let text = serde_json::to_string(&place).map_err(std::io::Error::other)?;
            replace(&path, &text)
        };
        let written = tokio::task::spawn_blocking(write).await;
        let Err(error) = written.unwrap_or_else(|error| Err(std::io::Error::other(error))) else {
            self.stored = stored;
            return;
        };
        static FAILURES: LogLimit = LogLimit::per_period(1, WARNING_PERIOD);
        if let Some(count) = FAILURES.admit() {
            let path = self.place.display();
            tracing::warn!(count, %path, %error, "the place up to which records were pushed cannot be stored: after a restart they are sent again");
        }
    }
}

/// Writes exchanges one a line.
fn body(lines: &[String]) -> Bytes {
    let mut body = lines.join("\n");
    body.push('\n');
    Bytes::from(body)
}

fn report(error: &PushError) {
    static FAILURES: LogLimit = LogLimit::per_period(1, WARNING_PERIOD);
    if let Some(count) = FAILURES.admit() {
        tracing::warn!(count, %error, "records of the disclosure log are not pushed; they are sent again");
    }
}
