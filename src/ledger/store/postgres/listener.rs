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
pub(super) struct Doorbell {
    rung: Mutex<bool>,
    ringing: Condvar,
}

impl Doorbell {
    /// Ends the present wait, or the next one if nobody waits.
    pub(super) fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ringing.notify_all();
    }

    /// Waits until [`Doorbell::ring`], for at most this time.
    pub(super) fn wait(&self, at_most: Duration) {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ringing.wait_timeout_while(rung, at_most, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

/// Listens as long as the store exists.
pub(super) async fn listen(connector: ServerConnector, limits: TimeLimits, doorbell: Arc<Doorbell>) {
    loop {
        let Err(failure) = listen_once(&connector, &limits, &doorbell).await;
        tracing::debug!(error = %failure, "the connection that waits for notifications of PostgreSQL ended");
        tokio::time::sleep(RETRY).await;
    }
}

async fn listen_once(
    connector: &ServerConnector,
    limits: &TimeLimits,
    doorbell: &Doorbell,
) -> Result<std::convert::Infallible, PostgresFailure> {
    let opened = Deadline::after(limits.exchange).bound(async { Ok(connector.open().await?) });
    let (client, mut messages) = opened.await?;
    let ask = async |messages: &mut ServerMessages, statement| {
        let answered = Deadline::after(limits.exchange)
            .bound(async { Ok::<_, PostgresFailure>(client.batch_execute(statement).await?) });
        tokio::select! {
            answered = answered => answered,
            failure = receive(messages, doorbell) => Err(failure),
        }
    };
    ask(&mut messages, "LISTEN purposegate").await?;
    doorbell.ring();
    loop {
        tokio::select! {
            () = tokio::time::sleep(SILENCE) => ask(&mut messages, "SELECT 1").await?,
            failure = receive(&mut messages, doorbell) => return Err(failure),
        }
    }
}

/// Receives messages until the connection ends.
async fn receive(messages: &mut ServerMessages, doorbell: &Doorbell) -> PostgresFailure {
    loop {
        match poll_fn(|context| messages(context)).await {
            Some(Ok(AsyncMessage::Notification(_))) => doorbell.ring(),
            Some(Ok(_)) => {}
            Some(Err(error)) => return error.into(),
            None => return PostgresFailure::Connection("the server closed the connection".to_owned()),
        }
    }
}
