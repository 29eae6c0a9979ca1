//! Fetches the keys that token issuers publish (`jwks-uri`), one task for each issuer.
//!
//! Invariants: a fetch that fails leaves the keys as they were, and their lifetime runs on; an issuer is asked at most once
//! in [`MIN_INTERVAL`] because of a token. The tasks end when this is dropped.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use tokio::task::JoinSet;

use super::http_client::{HttpClient, HttpError, HttpLimits};
use crate::config::IssuerSection;
use crate::exchange::caller::key_set::{KeySet, KeySetError};
use crate::exchange::caller::published_keys::{KeyChange, PublishedKeys};
use crate::ledger::boot_time;
use crate::metrics::Metrics;

/// Bounds of one answer of an issuer.
const ANSWER_LIMITS: HttpLimits = HttpLimits { time: Duration::from_secs(10), max_body: 256 << 10 };
/// Time between two fetches that tokens cause whose key is not in force.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// Time to the next fetch after the first failure; it doubles with each further one, up to the refresh time.
const RETRY_TIME: Duration = Duration::from_secs(5);
/// Number of doublings of [`RETRY_TIME`].
const MAX_DOUBLINGS: u32 = 10;

/// The fetching tasks of the configuration in force.
#[derive(Debug)]
pub(super) struct IssuerKeyFetchers {
    metrics: Metrics,
    running: Mutex<RunningFetchers>,
}

#[derive(Debug, Default)]
struct RunningFetchers {
    sections: Vec<IssuerSection>,
    /// The tasks end when the set is dropped.
    tasks: JoinSet<()>,
}

impl IssuerKeyFetchers {
    /// Starts a task for each issuer whose keys are fetched.
    pub(super) fn start(sections: Vec<IssuerSection>, metrics: Metrics) -> IssuerKeyFetchers {
        let fetchers = IssuerKeyFetchers { metrics, running: Mutex::default() };
        fetchers.replace(sections);
        fetchers
    }

    /// Gives the issuers of a new configuration the keys that are known of them.
    pub(super) fn pass_on_keys(&self, sections: &[IssuerSection]) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys that an earlier task fetched from now on would be lost.
        running.tasks.abort_all();
        for section in sections {
            let is_same = |known: &&IssuerSection| {
                known.url == section.url && known.jwks_uri == section.jwks_uri && known.ca == section.ca
            };
            if let Some(known) = running.sections.iter().find(is_same) {
                section.keys.adopt(&known.keys);
            }
        }
    }

    /// Ends the tasks, and starts one for each of these issuers.
    pub(super) fn replace(&self, sections: Vec<IssuerSection>) {
        let mut tasks = JoinSet::new();
        for section in &sections {
            tasks.spawn(KeyFetcher::new(section, self.metrics.clone()).run());
        }
        // Dropping the earlier set aborts its tasks.
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = RunningFetchers { sections, tasks };
    }
}

/// Fetches the keys of one issuer.
struct KeyFetcher {
    issuer: Arc<str>,
    http: HttpClient,
    keys: Arc<PublishedKeys>,
    refresh: Duration,
    min_interval: Duration,
    /// Failures since the last success.
    failures: u32,
    /// True if keys were in force after the last fetch.
    had_keys: bool,
    metrics: Metrics,
}

/// Reason for which keys were not fetched.
#[derive(Debug, thiserror::Error)]
enum FetchKeysError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the answer has the status {0}; redirects are not followed")]
    Status(StatusCode),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl KeyFetcher {
    fn new(section: &IssuerSection, metrics: Metrics) -> KeyFetcher {
        let IssuerSection { url, jwks_uri, refresh, tls, ca: _, keys } = section;
        for outcome in ["changed", "confirmed", "failed"] {
            metrics.issuer_refresh.with_label_values(&[&**url, outcome]);
        }
        KeyFetcher {
            issuer: Arc::clone(url),
            http: HttpClient::with_tls(jwks_uri.clone(), tls.clone(), ANSWER_LIMITS),
            keys: Arc::clone(keys),
            refresh: *refresh,
            min_interval: MIN_INTERVAL,
            failures: 0,
            had_keys: false,
            metrics,
        }
    }

    /// Fetches again and again. Keys that a reload passed on are not fetched before their time.
    async fn run(mut self) {
        let known = self.keys.age(boot_time());
        let mut wait = known.map_or(Duration::ZERO, |age| self.refresh.saturating_sub(age));
        loop {
            self.wait(wait).await;
            let fetched = self.fetch().await;
            self.report(&fetched);
            self.failures = if fetched.is_ok() { 0 } else { self.failures.saturating_add(1) };
            wait = with_jitter(self.next_wait());
        }
    }

    /// Waits for this time, or less if the key of a token is not in force. The time of a suspension does not count here; after
    /// it, a token asks for the keys whose lifetime it has ended.
    async fn wait(&self, time: Duration) {
        let quiet = self.min_interval.min(time);
        tokio::time::sleep(quiet).await;
        tokio::select! {
            () = tokio::time::sleep(time.saturating_sub(quiet)) => {}
            () = self.keys.unknown_key() => {}
        }
    }

    fn next_wait(&self) -> Duration {
        let Some(doublings) = self.failures.checked_sub(1) else { return self.refresh };
        RETRY_TIME.saturating_mul(1 << doublings.min(MAX_DOUBLINGS)).min(self.refresh)
    }

    async fn fetch(&self) -> Result<KeyChange, FetchKeysError> {
        let request = Request::get(self.http.url().target()).header(ACCEPT, "application/json");
        let request = request.body(Bytes::new()).map_err(|error| HttpError::Broken(error.to_string()))?;
        let answer = self.http.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchKeysError::Status(answer.status()));
        }
        let text = std::str::from_utf8(answer.body()).map_err(|_| KeySetError::Unreadable)?;
        Ok(self.keys.replace(KeySet::parse(text)?, boot_time()))
    }

    /// Counts and logs the outcome.
    fn report(&mut self, fetched: &Result<KeyChange, FetchKeysError>) {
        let issuer = &*self.issuer;
        let known = self.keys.in_force(boot_time()).map(|keys| keys.count());
        let outcome = match fetched {
            Ok(KeyChange::Changed) => {
                tracing::info!(issuer, keys = known, "the keys of a token issuer have changed");
                "changed"
            }
            Ok(KeyChange::Confirmed) => {
                if self.failures > 0 {
                    tracing::info!(issuer, "the keys of a token issuer can be fetched again");
                }
                "confirmed"
            }
            Err(error) => {
                self.report_failure(error, known.is_some());
                "failed"
            }
        };
        self.metrics.issuer_refresh.with_label_values(&[issuer, outcome]).inc();
        self.had_keys = known.is_some();
    }

    /// Logs a failure at a high level if it is the first one in a row, or the first one without keys.
    fn report_failure(&self, error: &FetchKeysError, has_keys: bool) {
        let issuer = &*self.issuer;
        let is_news = self.failures == 0 || self.had_keys != has_keys;
        match (is_news, has_keys) {
            (true, true) => {
                tracing::warn!(issuer, %error, "the keys of a token issuer cannot be fetched; the known ones stay in force");
            }
            (true, false) => {
                tracing::error!(issuer, %error, "no keys of a token issuer: its tokens are refused until they are fetched");
            }
            (false, _) => tracing::debug!(issuer, %error, "the keys of a token issuer cannot be fetched"),
        }
    }
}

/// Spreads the fetches of several gateways: nine to eleven tenths of the time.
fn with_jitter(time: Duration) -> Duration {
    let mut random = [0; 1];
    // Without random bits there is no jitter.
    let spread = getrandom::fill(&mut random).map_or(128, |()| u32::from(random[0]));
    time.saturating_mul(230 + spread / 5).checked_div(256).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn key_set(x: &str) -> String {
        json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k", "x": x }] }).to_string()
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
    }

    /// Answers one connection after the other with these answers, and with the last one from then on.
    async fn issuer(answers: Vec<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for at in 0.. {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answers[at.min(answers.len() - 1)].as_bytes()).await;
            }
        });
        address
    }

    fn section(address: SocketAddr, refresh: Duration) -> IssuerSection {
        IssuerSection {
            url: "https://id.example.org".into(),
            jwks_uri: format!("http://{address}/keys").parse().unwrap(),
            refresh,
            tls: None,
            ca: None,
            keys: Arc::new(PublishedKeys::new(Duration::from_secs(3600))),
        }
    }

    fn fetcher(section: &IssuerSection) -> KeyFetcher {
        KeyFetcher::new(section, Metrics::new().unwrap())
    }

    #[tokio::test]
    async fn an_answer_that_cannot_be_used_keeps_the_known_keys() {
        let good = answer("200 OK", "", &key_set("AAAA"));
        let large = format!("{}{}", key_set("AAAA"), " ".repeat(256 << 10));
        let unusable = [
            answer("302 Found", "location: http://127.0.0.1:1/\r\n", ""),
            answer("500 Internal Server Error", "", &key_set("BBBB")),
            answer("200 OK", "", &large),
            answer("200 OK", "", r#"{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}"#),
            answer("200 OK", "", r#"{"keys": []}"#),
            answer("200 OK", "", "<html>"),
            "SSH-2.0-OpenSSH\r\n".to_owned(),
        ];
        let count = unusable.len();
        let address = issuer([vec![good.clone()], unusable.into(), vec![good]].concat()).await;
        let section = section(address, Duration::from_secs(600));
        let mut fetcher = fetcher(&section);
        assert_eq!(fetcher.fetch().await.unwrap(), KeyChange::Changed);
        for at in 0..count {
            let failed = fetcher.fetch().await;
            assert!(failed.is_err(), "{at}");
            fetcher.report(&failed);
            assert_eq!(section.keys.in_force(boot_time()).unwrap().count(), 1, "{at}");
        }
        assert_eq!(fetcher.fetch().await.unwrap(), KeyChange::Confirmed);
        let failures =
            fetcher.metrics.issuer_refresh.with_label_values(&["https://id.example.org", "failed"]);
        assert_eq!(failures.get(), count as u64);
    }

    #[tokio::test]
    async fn failures_are_retried_sooner_than_the_refresh_time() {
        let section = section(([127, 0, 0, 1], 9).into(), Duration::from_secs(60));
        let mut fetcher = fetcher(&section);
        let waits = [0, 1, 2, 3, 4, 5, 50].map(|failures| {
            fetcher.failures = failures;
            fetcher.next_wait().as_secs()
        });
        assert_eq!(waits, [60, 5, 10, 20, 40, 60, 60]);
        for _ in 0..100 {
            let spread = with_jitter(Duration::from_secs(1000)).as_secs();
            assert!((890..=1110).contains(&spread), "{spread}");
        }
    }

    #[tokio::test]
    async fn a_reload_passes_on_the_keys_of_the_same_issuer() {
        let address = issuer(vec![answer("200 OK", "", &key_set("AAAA"))]).await;
        let first = section(address, Duration::from_secs(600));
        let keys = Arc::clone(&first.keys);
        let fetchers = IssuerKeyFetchers::start(vec![first], Metrics::new().unwrap());
        while keys.age(boot_time()).is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let again = section(address, Duration::from_secs(600));
        let elsewhere = section(([127, 0, 0, 1], 9).into(), Duration::from_secs(600));
        fetchers.pass_on_keys(&[again.clone(), elsewhere.clone()]);
        assert!(again.keys.in_force(boot_time()).is_some());
        assert!(elsewhere.keys.in_force(boot_time()).is_none());
        fetchers.replace(vec![again]);
        assert_eq!(fetchers.running.lock().unwrap().sections.len(), 1);
    }
}
