//! Waits for notifications of the server, so that a gateway need not wait for its next poll.
//!
//! A notification only saves time. One that was sent while the connection was lost never arrives, so the waiting thread is
//! also woken after each connection, once the server listens.

use std::future::poll_fn;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio_postgres::AsyncMessage;

use super::connection::{Deadline, ServerConnector, ServerMessages, TimeLimits};
use super::error::PostgresFailure;

/// The time between two attempts to connect.
const RETRY: Duration = Duration::from_millis(250);

/// The time after which a silent connection is examined.
const SILENCE: Duration = Duration::from_secs(5);

/// Tells a waiting thread that other gateways may have appended events.
#[derive(Debug, Default)]
pub(super) struct NewEventsSignal {
    raised: Mutex<bool>,
    change: Condvar,
}

impl NewEventsSignal {
    /// Ends the present wait, or the next one if nobody waits.
    pub(super) fn raise(&self) {
        *self.raised.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.change.notify_all();
    }

    /// Waits until [`NewEventsSignal::raise`], for at most this time.
    pub(super) fn wait(&self, at_most: Duration) {
        let raised = self.raised.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.change.wait_timeout_while(raised, at_most, |raised| !*raised);
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *raised = false;
    }
}

/// Listens as long as the store exists.
pub(super) async fn listen(connector: ServerConnector, limits: TimeLimits, signal: Arc<NewEventsSignal>) {
    loop {
        let Err(failure) = listen_once(&connector, &limits, &signal).await;
        tracing::debug!(error = %failure, "the connection that waits for notifications of PostgreSQL ended");
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    connector: &ServerConnector,
    limits: &TimeLimits,
    signal: &NewEventsSignal,
) -> Result<std::convert::Infallible, PostgresFailure> {
    let opened = Deadline::after(limits.exchange).bound(async { Ok(connector.open().await?) });
    let (client, mut messages) = opened.await?;
    let ask = async |messages: &mut ServerMessages, statement| {
        let answered = Deadline::after(limits.exchange)
            .bound(async { Ok::<_, PostgresFailure>(client.batch_execute(statement).await?) });
        tokio::select! {
            answered = answered => answered,
            failure = receive(messages, signal) => Err(failure),
        }
    };
    ask(&mut messages, "LISTEN purposegate").await?;
    signal.raise();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SILENCE) => ask(&mut messages, "SELECT 1").await?,
            failure = receive(&mut messages, signal) => return Err(failure),
        }
    }
}

/// Receives messages until the connection ends.
async fn receive(messages: &mut ServerMessages, signal: &NewEventsSignal) -> PostgresFailure {
    loop {
        match poll_fn(|context| messages(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => signal.raise(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return PostgresFailure::Connection("the server closed the connection".to_owned()),
        }
    }
}
