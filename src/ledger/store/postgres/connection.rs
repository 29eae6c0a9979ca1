//! Connections to the server, and the threads that drive them.
//!
//! The store has a small runtime of its own, because its methods block and are called from plain threads. Invariants:
//! every operation ends within its time limit, because a connection that froze reports no error; a connection on which an
//! operation failed is not used again; every connection has the session settings below, whatever the server, the
//! database or the role has by default.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use deadpool_postgres::{Client, Connect, Manager, ManagerConfig, Object, Pool, RecyclingMethod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Config, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{PostgresError, PostgresFailure};
use crate::ledger::store::StoreError;

/// Maximum number of pooled connections. One more listens.
const MAX_CONNECTIONS: usize = 8;

/// Minimum time limit of an exchange with the server, for machines under load.
const MIN_EXCHANGE: Duration = Duration::from_millis(250);

/// Minimum time limit for making events durable.
const MIN_COMMIT: Duration = Duration::from_secs(2);

/// The server of a ledger, and the way to it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// Addresses, database, role and password.
    pub server: Config,
    /// The connector. With it the server has to encrypt the connection, without it nothing is encrypted.
    pub tls: Option<MakeRustlsConnect>,
    /// The term of this gateway's leases, from which the time limits follow.
    pub lease: Duration,
}

impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("tls", &self.tls.is_some())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// The time limits of operations.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimeLimits {
    /// A question and its answer. A gateway renews its lease when a quarter of it is used up; if the answer does not come
    /// within half of it, there is time for another attempt on a new connection.
    pub(super) exchange: Duration,
    /// The wait for the lock on the head of the ledger.
    pub(super) lock: Duration,
    /// The time for which the server lets a transaction wait for a writer that holds this lock.
    pub(super) hold: Duration,
    /// Making a batch of events durable, or reading the histories of one.
    pub(super) batch: Duration,
    /// Reading a page of a long result.
    pub(super) read: Duration,
}

impl TimeLimits {
    /// Returns the time limits for a lease term.
    pub(super) fn for_lease(lease: Duration) -> TimeLimits {
        TimeLimits {
            exchange: (lease / 2).max(MIN_EXCHANGE),
            lock: (lease / 2).max(MIN_EXCHANGE),
            hold: lease / 4,
            batch: (lease * 2).max(MIN_COMMIT),
            read: Duration::from_secs(30),
        }
    }
}

/// The connections of a store.
pub(super) struct Connections {
    runtime: Option<Runtime>,
    handle: Handle,
    pool: Pool,
    connector: ServerConnector,
    /// Number of failures of connections.
    breaks: AtomicU64,
    pub(super) limits: TimeLimits,
}

impl Connections {
    /// Starts the runtime. Connects to nothing yet.
    ///
    /// # Errors
    /// [`PostgresError::Threads`].
    pub(super) fn new(options: PostgresOptions) -> Result<Connections, PostgresError> {
        let PostgresOptions { mut server, tls, lease } = options;
        let limits = TimeLimits::for_lease(lease);
        server.application_name("purposegate").target_session_attrs(TargetSessionAttrs::ReadWrite);
        // The default is to go on without encryption if the server has none.
        server.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        server.connect_timeout(limits.exchange).tcp_user_timeout(limits.batch);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("ledger-postgres")
            .enable_all()
            .build()
            .map_err(PostgresError::Threads)?;
        let connector = ServerConnector { server, tls, limits, warnings: Arc::default() };
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(connector.server.clone(), connector.clone(), recycling);
        // Without time-outs, which `operate` sets, building the pool cannot fail.
        let pool = Pool::builder(manager).max_size(MAX_CONNECTIONS).build();
        let pool = pool.map_err(|error| PostgresError::Threads(std::io::Error::other(error.to_string())))?;
        let handle = runtime.handle().clone();
        Ok(Connections { handle, runtime: Some(runtime), pool, connector, breaks: AtomicU64::new(0), limits })
    }

    /// Returns the means to connect outside of the pool.
    pub(super) fn connector(&self) -> &ServerConnector {
        &self.connector
    }

    /// Returns the pool, for a task beside the operations.
    pub(super) fn pool(&self) -> Pool {
        self.pool.clone()
    }

    /// Runs a task beside the operations, until the store is dropped.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }

    /// Waits for a future on this thread. Does not panic in a runtime's context, although the runtime's worker is then
    /// blocked.
    pub(super) fn wait<F: Future>(&self, future: F) -> F::Output {
        let _context = self.handle.enter();
        // The worker of another runtime has a budget, which nobody would renew here.
        let mut future = pin!(tokio::task::coop::unconstrained(future));
        let waker = Waker::from(Arc::new(WaitingThread(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// Takes a connection from the pool.
    ///
    /// # Errors
    /// [`PostgresFailure`].
    pub(super) async fn take(&self, deadline: Deadline) -> Result<Client, PostgresFailure> {
        let taken = deadline.bound(async {
            self.pool.get().await.map_err(|error| match error {
                deadpool_postgres::PoolError::Backend(error) => error.into(),
                error => PostgresFailure::Connection(error.to_string()),
            })
        });
        let taken = taken.await;
        // A time-out is no break: all connections may be in use.
        if let Err(failure) = &taken
            && !matches!(failure, PostgresFailure::TimedOut(_))
        {
            self.note(failure);
        }
        taken
    }

    /// Ends a connection on which an operation failed. If the connection is at fault, the idle ones are ended, too: they
    /// were probably cut at the same time, and each would cost the next operation its time limit.
    pub(super) fn discard(&self, client: Client, failure: &PostgresFailure) {
        drop(Object::take(client));
        self.note(failure);
    }

    fn note(&self, failure: &PostgresFailure) {
        if failure.concerns_connection() {
            self.breaks.fetch_add(1, Ordering::SeqCst);
            self.pool.retain(|_, _| false);
        }
    }

    /// Runs an operation on a connection and waits for it, for at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn operate<T>(
        &self,
        doing: &'static str,
        limit: Duration,
        operation: impl AsyncFnOnce(&mut Client) -> Result<T, PostgresFailure>,
    ) -> Result<T, StoreError> {
        let deadline = Deadline::after(limit);
        let attempt = async {
            let mut client = self.take(deadline).await?;
            let done = deadline.bound(operation(&mut client)).await;
            if let Err(failure) = &done {
                self.discard(client, failure);
            }
            done
        };
        self.wait(attempt).map_err(|failure: PostgresFailure| failure.during(doing))
    }

    /// Returns the number of connections that broke or froze. It only grows.
    pub(super) fn breaks(&self) -> u64 {
        self.breaks.load(Ordering::SeqCst)
    }

    /// Returns the number of warnings that the server has sent. It only grows.
    pub(super) fn warnings(&self) -> u64 {
        self.connector.warnings.load(Ordering::SeqCst)
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime waits for its threads, and panics in the context of another one.
            runtime.shutdown_background();
        }
    }
}

/// Wakes the thread that waits for a future.
struct WaitingThread(Thread);

impl Wake for WaitingThread {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The instant by which an operation has to end.
#[derive(Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    /// Returns the deadline of an operation that begins now.
    pub(super) fn after(limit: Duration) -> Deadline {
        Deadline { at: Instant::now() + limit, limit }
    }

    /// Bounds a future by the deadline.
    ///
    /// # Errors
    /// [`PostgresFailure::TimedOut`], or the failure of the future.
    pub(super) async fn bound<T>(
        self,
        future: impl Future<Output = Result<T, PostgresFailure>>,
    ) -> Result<T, PostgresFailure> {
        timeout_at(self.at, future).await.unwrap_or(Err(PostgresFailure::TimedOut(self.limit)))
    }
}

/// Connects to the server and prepares the session.
#[derive(Clone)]
pub(super) struct ServerConnector {
    server: Config,
    tls: Option<MakeRustlsConnect>,
    limits: TimeLimits,
    warnings: Arc<AtomicU64>,
}

/// The messages that the server sends on its own.
pub(super) type ServerMessages = Box<dyn FnMut(&mut Context<'_>) -> Poll<Option<MessageResult>> + Send>;

type MessageResult = Result<AsyncMessage, tokio_postgres::Error>;

impl ServerConnector {
    /// Connects with other demands on the server than [`TargetSessionAttrs::ReadWrite`], to find out why there is none
    /// that meets them.
    pub(super) fn to_any_server(&self) -> ServerConnector {
        let mut any = self.clone();
        any.server.target_session_attrs(TargetSessionAttrs::Any);
        any
    }

    /// Connects without session settings. The caller has to poll the messages, or nothing is sent and received.
    ///
    /// # Errors
    /// An error of the client.
    pub(super) async fn open(
        &self,
    ) -> Result<(tokio_postgres::Client, ServerMessages), tokio_postgres::Error> {
        match &self.tls {
            None => {
                let (client, connection) = self.server.connect(NoTls).await?;
                Ok((client, messages(connection)))
            }
            Some(tls) => {
                let (client, connection) = self.server.connect(tls.clone()).await?;
                Ok((client, messages(connection)))
            }
        }
    }

    /// Connects, drives the connection by a task and prepares the session.
    ///
    /// # Errors
    /// An error of the client.
    pub(super) async fn session(
        &self,
    ) -> Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, mut messages) = self.open().await?;
        let warnings = Arc::clone(&self.warnings);
        let task = tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|context| messages(context)).await {
                if let AsyncMessage::Notice(notice) = message
                    && notice.parsed_severity().is_none_or(|severity| severity == Severity::Warning)
                {
                    tracing::warn!(sqlstate = notice.code().code(), "PostgreSQL sent a warning");
                    warnings.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        client.batch_execute(&session_settings(&self.limits)).await?;
        Ok((client, task))
    }
}

fn messages<S, T>(mut connection: Connection<S, T>) -> ServerMessages
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::new(move |context: &mut Context<'_>| connection.poll_message(context))
}

impl Connect for ServerConnector {
    fn connect(
        &self,
        _: &Config,
    ) -> Pin<
        Box<
            dyn Future<Output = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>>
                + Send
                + '_,
        >,
    > {
        Box::pin(self.session())
    }
}

/// Returns the statement that prepares a session.
fn session_settings(limits: &TimeLimits) -> String {
    let (lock, hold, read) = (limits.lock.as_millis(), limits.hold.as_millis(), limits.read.as_millis());
    // `remote_apply` is stricter than `on`; everything else is laxer.
    // With `row_security` off, a policy on a table is an error instead of a result with fewer rows.
    // Plans that were cached while the tables were small would scan them whole, so scans are priced out.
    format!(
        "SELECT set_config('synchronous_commit',
             CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);
         SET search_path = pg_catalog; SET TimeZone = 'UTC'; SET row_security = off;
         SET default_transaction_isolation = 'read committed';
         SET jit = off; SET enable_seqscan = off;
         SET lock_timeout = {lock}; SET statement_timeout = {read};
         SET idle_in_transaction_session_timeout = {hold}; SET tcp_user_timeout = {hold};
         SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
    )
}
