//! Notifications to the service manager that started the process, by the protocol of systemd's `sd_notify`. Without a
//! notify socket nothing is sent.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;

use super::stage::{Stage, reached};
use super::status::ProcessStatus;
use crate::log_limit::LogLimit;

/// Time between two looks at the readiness before the service manager is told that the gateway serves.
const READINESS_POLL: Duration = Duration::from_millis(50);
/// Time between two extensions of the start while the gateway opens ledger and log.
const EXTENSION_INTERVAL: Duration = Duration::from_secs(10);
/// Time of each of these extensions.
const EXTENSION: Duration = Duration::from_secs(30);

/// The service manager of this process, if there is one.
#[derive(Clone, Copy, Debug)]
pub struct ServiceManager {
    has_socket: bool,
    /// Time without a notification after which the service manager restarts the process.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// Returns the service manager that the environment names (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub fn from_env() -> ServiceManager {
        let has_socket = std::env::var_os("NOTIFY_SOCKET").is_some();
        ServiceManager { has_socket, watchdog: sd_notify::watchdog_enabled().filter(|_| has_socket) }
    }

    /// No service manager.
    pub fn none() -> ServiceManager {
        ServiceManager { has_socket: false, watchdog: None }
    }

    fn notify(self, states: &[NotifyState<'_>]) {
        static CANNOT_NOTIFY: LogLimit = LogLimit::new();
        if !self.has_socket {
            return;
        }
        if let Err(error) = sd_notify::notify(states)
            && let Some(count) = CANNOT_NOTIFY.admit()
        {
            tracing::warn!(%error, count, "the service manager cannot be notified");
        }
    }

    /// Describes the state of the process in words.
    pub(super) fn status(self, words: &str) {
        self.notify(&[NotifyState::Status(words)]);
    }

    /// Tells that a reload begins.
    pub(super) fn reloading(self) {
        // Since version 253 systemd compares this time with that of its request.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.notify(&[NotifyState::Reloading, now, NotifyState::Status("reloading")]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    /// Tells that a start or a reload has ended.
    pub(super) fn ready(self, words: &str) {
        self.notify(&[NotifyState::Ready, NotifyState::Status(words)]);
    }

    /// Tells that the process stops, within `time` at most.
    pub(super) fn stopping(self, words: &str, time: Duration) {
        self.notify(&[NotifyState::Stopping, NotifyState::Status(words), extension(time)]);
    }

    /// Runs the start of the process, and asks for more time as long as it takes.
    pub(super) async fn during_start<T>(self, start: impl Future<Output = T>) -> T {
        let mut start = std::pin::pin!(start);
        loop {
            tokio::select! {
                done = start.as_mut() => return done,
                () = tokio::time::sleep(EXTENSION_INTERVAL) => self.notify(&[extension(EXTENSION)]),
            }
        }
    }

    /// Tells that the gateway serves, once it is ready. Returns then, or when the gateway ends.
    pub(super) async fn tell_readiness(self, status: ProcessStatus, mut stage: watch::Receiver<Stage>) {
        if !self.has_socket {
            return;
        }
        let ready = async {
            while !status.readiness().await.0.is_success() {
                tokio::time::sleep(READINESS_POLL).await;
            }
        };
        tokio::select! {
            () = ready => self.ready("serving"),
            () = reached(&mut stage, Stage::DrainNotice) => {}
        }
    }

    /// Resets the watchdog at half of its time, as long as this runtime, the ledger's threads and the log's thread work.
    /// Returns only without a watchdog.
    pub(super) async fn reset_watchdog(self, status: ProcessStatus) {
        let Some(interval) = self.watchdog.map(|time| time / 2).filter(|time| !time.is_zero()) else {
            return;
        };
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            if tokio::time::timeout(interval, status.responds()).await.unwrap_or(false) {
                self.notify(&[NotifyState::Watchdog]);
            } else {
                tracing::error!("ledger or log do not respond: the watchdog is not reset");
            }
        }
    }
}

fn extension(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}
