//! The process that serves: binds sockets over an assembled configuration, reloads it, and drains at the end.
//!
//! It decides nothing about exchanges: the layer handles each request, with the state that [`crate::assembly`] made.
//! Invariants: a reload that fails changes nothing ([`reload`]); after a stop no connection is accepted, and exchanges
//! under way end within the drain time. A stop can be announced ([`Stop::announce`]): then the gateway serves on for the
//! time of the notice, so that load balancers and clients go elsewhere before anything is refused.

mod acceptor;
mod admin;
mod authzen;
mod checkpoint_sinks;
mod client_access;
mod client_certificate;
mod connection;
mod connection_life;
mod connection_limit;
mod console;
mod delivery_rate;
mod gateway_end;
pub(crate) mod http_client;
mod inherited_sockets;
mod issuer_keys;
mod listener;
mod notices;
mod plaintext;
mod probes;
mod proxy_protocol;
mod rated_stream;
mod record_push;
mod reload;
mod service_manager;
mod stage;
mod status;
mod trace_export;
mod transport;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower::Layer;

use self::acceptor::Acceptor;
use self::admin::AdminApi;
use self::checkpoint_sinks::{CheckpointSinks, LAST_DELIVERY_TIME};
use self::connection_limit::ConnectionLimit;
use self::console::{Console, ConsoleClock};
pub use self::inherited_sockets::{InheritedSocketError, InheritedSockets};
use self::issuer_keys::IssuerKeyFetchers;
use self::listener::Listener;
use self::notices::NoticeTask;
use self::probes::ProbesListener;
use self::record_push::{DeniedAuthorization, RecordPush};
use self::reload::{CertificateSender, ListenerCertificates, Reloader, RestartOnly, export_certificate_ends};
pub use self::service_manager::ServiceManager;
pub use self::stage::Stop;
use self::stage::{Stage, advance, reached};
use self::status::ProcessStatus;
use self::trace_export::{FLUSH_TIME, TraceExport, TraceSettings};
pub use self::trace_export::{TraceSettingsError, VARIABLES as TRACE_VARIABLES};
use self::transport::{TransportFailures, TransportSetup};
pub use self::upstream::UpstreamError;
use self::upstream::Upstreams;
use crate::assembly::{self, AssemblyError, predecessor};
use crate::config::descriptors::{self, DescriptorBudget, MAX_PROBE_CONNECTIONS, connections_per_address};
use crate::config::memory::ProcessMemory;
use crate::config::{self, AuditSection, Config, DrainSection, ListenerSection, TlsError, WatchList};
use crate::disclosure::index::IndexFollower;
use crate::exchange::concurrency::ConcurrencyLimit;
use crate::exchange::{ListenerContext, SharedState};
use crate::finding::{self, Finding, Severity};
use crate::layer::PurposeLayer;
use crate::ledger::Freshness;

/// Time between two searches for outdated files of the access log.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// Time for requests to the admin API to end after the last exchange.
const ADMIN_CLOSE_TIME: Duration = Duration::from_secs(10);

/// Time between two looks at the freshness of the ledger while a successor starts.
const FRESHNESS_POLL: Duration = Duration::from_millis(5);

/// Maximum time for which a successor waits for a current ledger before it accepts connections.
const MAX_FRESHNESS_WAIT: Duration = Duration::from_secs(10);

/// The reason why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys, ledger, logs or policies cannot be assembled.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// A certificate or key of a listener cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// The configuration has errors since the predecessor ended.
    #[error("the configuration cannot be read again: {0}")]
    Configuration(String),
    /// Keys, ledger and logs cannot be opened because of a mistake in the program.
    #[error("opening ledger and log panicked: {0}")]
    Panicked(tokio::task::JoinError),
    /// A socket that was handed over cannot be used.
    #[error(transparent)]
    Inherited(#[from] InheritedSocketError),
    /// The system has no random numbers for the keys of the console.
    #[error("no random numbers: {0}")]
    Random(#[from] getrandom::Error),
    /// The environment asks for traces in a way that is not supported.
    #[error(transparent)]
    Traces(#[from] TraceSettingsError),
    /// The server for records wants an authorization that cannot be read.
    #[error(transparent)]
    Push(#[from] DeniedAuthorization),
    /// A file of an upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// A socket cannot be bound, most likely because its port is in use or privileged.
    #[error("cannot listen on {address}, the address of `{section}`: {cause}", cause = bind_cause(.source))]
    Bind {
        /// The section of the configuration that has the address.
        section: &'static str,
        /// The configured address.
        address: SocketAddr,
        /// The error of the system.
        source: std::io::Error,
    },
}

/// A gateway that is bound to its addresses and does not accept connections yet.
#[derive(Debug)]
pub struct Gateway {
    reloader: Reloader,
    listeners: Vec<Listener>,
    admin: AdminApi,
    console: Console,
    admin_acceptor: Acceptor,
    probes: Option<ProbesListener>,
    drain: DrainSection,
    stage: watch::Sender<Stage>,
    manager: ServiceManager,
    /// Keeps the indexes of the disclosure logs. `None` if there can be no thread: questions read the logs.
    index: Option<IndexFollower>,
    sinks: CheckpointSinks,
    /// Tells recipients of erasures, corrections and restrictions.
    notices: NoticeTask,
    /// Sends exchanges on record to a server, if one is configured.
    push: Option<RecordPush>,
    /// Sends traces. `None` if exchanges are not traced.
    traces: Option<TraceExport>,
}

impl Gateway {
    /// Opens keys, ledger and logs, and binds the sockets. Blocks while files are read.
    ///
    /// # Errors
    /// [`StartError`]: the first part that cannot be opened or bound.
    pub async fn bind(config: Config) -> Result<Gateway, StartError> {
        Gateway::bind_as_service(config, ServiceManager::none(), InheritedSockets::default()).await
    }

    /// As [`Gateway::bind`], for a process that a service manager has started: it is told of the start, of reloads and of the
    /// end, and the sockets that it handed over are used. If there are such sockets, a predecessor may still serve; the gateway
    /// waits until that one has closed ledger and log.
    ///
    /// # Errors
    /// As [`Gateway::bind`]; and if a socket has an address that is not configured.
    pub async fn bind_as_service(
        config: Config,
        manager: ServiceManager,
        inherited: InheritedSockets,
    ) -> Result<Gateway, StartError> {
        tracing::info!(gateway = &*config.name, version = env!("CARGO_PKG_VERSION"), "starting");
        let has_predecessor = !inherited.is_empty();
        let config = if has_predecessor { after_predecessor(config, manager).await? } else { config };
        let restart_only = RestartOnly::of(&config);
        let (file, drain, sections) = (config.file.clone(), config.drain, config.listeners.clone());
        let addresses = SocketAddresses::of(&config);
        let inherited = inherited.assign(&addresses.all())?;
        let (upstream_sections, admin_section) = (config.upstreams.clone(), config.admin.clone());
        let issuers = config.issuers.clone();
        let audit = config.audit.clone();
        let watch_list = watch::Sender::new(config.watch_list.clone());
        let traces = TraceSettings::read(|name| std::env::var(name).ok(), &config.name)?;
        manager.status("opening ledger and log");
        let assembled = tokio::task::spawn_blocking(move || assembly::assemble(config));
        let shared = manager.during_start(assembled).await.map_err(StartError::Panicked)??;
        if has_predecessor {
            wait_until_current(&shared).await;
        }
        shared.metrics.observe_process().map_err(AssemblyError::from)?;
        let traces = traces.map(|settings| TraceExport::start(settings, &shared)).transpose()?;
        let index = follow_logs(&audit, &shared);
        let notices = NoticeTask::start(Arc::clone(&shared)).await;
        let issuer_keys = IssuerKeyFetchers::start(issuers, shared.metrics.clone());
        let sinks = CheckpointSinks::start(audit.checkpoints, &shared.log, &shared.metrics);
        let push = audit.push.map(|section| RecordPush::start(section, &shared)).transpose()?;
        let upstreams = Upstreams::new(&upstream_sections, shared.metrics.clone())?;
        export_certificate_ends(&shared.metrics, &sections);
        let stage = watch::Sender::new(Stage::Serving);
        let status = ProcessStatus::new(Arc::clone(&shared), stage.subscribe());
        let Sockets { public, admin, probes } = addresses.bind(inherited).await?;
        let (listeners, certificates) = listeners(public, &sections, &shared)?;
        let refused = |name: &str| shared.metrics.connections_refused.with_label_values(&[name]);
        let admin_acceptor = Acceptor::new(admin, admin::connection_limit(refused("admin")));
        let probes = probes.map(|socket| {
            let limit = ConnectionLimit::new(MAX_PROBE_CONNECTIONS, refused("probes"));
            ProbesListener::new(socket, limit, status.clone())
        });
        let admin = AdminApi::new(Arc::clone(&shared), status, &admin_section)?;
        let console = Console::new(admin.clone(), ConsoleClock::of_machine())?;
        let reloader = Reloader {
            file,
            restart_only,
            shared,
            upstreams,
            certificates,
            admin: admin.clone(),
            issuer_keys,
            watch_list,
        };
        Ok(Gateway {
            reloader,
            listeners,
            admin,
            console,
            admin_acceptor,
            probes,
            drain,
            stage,
            manager,
            index,
            sinks,
            notices,
            push,
            traces,
        })
    }

    /// Returns the public addresses in the order of the configuration, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.address().ok()).collect()
    }

    /// Returns the admin address. `None` if the system no longer knows the socket's address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_acceptor.address().ok()
    }

    /// Returns the address of the probes listener. `None` if the configuration has none.
    pub fn probes_address(&self) -> Option<SocketAddr> {
        self.probes.as_ref().and_then(|probes| probes.address().ok())
    }

    /// Returns the files whose changes can change the configuration, now and after each reload.
    pub fn watch_list(&self) -> watch::Receiver<WatchList> {
        self.reloader.watch_list.subscribe()
    }

    /// Returns the state that exchanges share: ledger, logs, metrics.
    pub fn shared_state(&self) -> Arc<SharedState> {
        Arc::clone(&self.reloader.shared)
    }

    /// Returns a handle that stops the gateway.
    pub fn stop(&self) -> Stop {
        Stop::new(self.stage.clone())
    }

    /// Serves until [`Stop::stop`] or the end of the notice of [`Stop::announce`], then drains. Each item of `reload` makes it
    /// read the configuration again.
    pub async fn run(self, reload: mpsc::Receiver<()>) {
        self.log_addresses();
        let Gateway {
            reloader,
            listeners,
            admin,
            console,
            admin_acceptor,
            probes,
            drain,
            stage,
            manager,
            index,
            sinks,
            notices,
            push,
            traces,
        } = self;
        let shared = Arc::clone(&reloader.shared);
        let mut serving = JoinSet::new();
        for listener in listeners {
            let service = PurposeLayer::new(Arc::clone(&shared)).layer(reloader.upstreams.clone());
            serving.spawn(listener.run(service, stage.subscribe()));
        }
        tokio::spawn(console.clone().keep_history(stage.subscribe()));
        let admin_serving = tokio::spawn(admin.run(admin_acceptor, stage.subscribe(), console.router()));
        let probes_serving = probes.map(|probes| tokio::spawn(probes.run(stage.subscribe())));
        let status = ProcessStatus::new(Arc::clone(&shared), stage.subscribe());
        tokio::spawn(manager.tell_readiness(status.clone(), stage.subscribe()));
        let watchdog = tokio::spawn(manager.reset_watchdog(status));
        serve_until_announced(reloader, reload, stage.subscribe(), manager).await;
        let closing = ADMIN_CLOSE_TIME * 2 + LAST_DELIVERY_TIME + FLUSH_TIME;
        let longest = drain.notice.saturating_add(drain.exchanges).saturating_add(closing);
        manager.stopping("drain notice: not ready, still serving", longest);
        give_notice(&stage, drain.notice).await;
        tracing::info!("draining");
        manager.status("draining: exchanges under way end");
        shared.begin_drain();
        let began = Instant::now();
        let drain_end = began.checked_add(drain.exchanges).unwrap_or(began);
        let drained =
            tokio::time::timeout(drain.exchanges, async { while serving.join_next().await.is_some() {} })
                .await;
        if drained.is_err() {
            tracing::warn!("the drain time is over: exchanges under way are cut");
        }
        serving.shutdown().await;
        advance(&stage, Stage::Closing);
        // The admin API records events until the end: a request that it has accepted is answered.
        if tokio::time::timeout(ADMIN_CLOSE_TIME, admin_serving).await.is_err() {
            tracing::warn!("requests to the admin API are cut");
        }
        drop(probes_serving);
        let _ = shared.log.flush().await;
        let counted = Arc::clone(&shared);
        let _ = tokio::task::spawn_blocking(move || counted.circumstances.write()).await;
        drop(notices);
        drop(push);
        // It ends after the batch that it is about to index.
        drop(index);
        // A closed log does not respond.
        watchdog.abort();
        close_log(&shared, drain_end).await;
        // A successor waits for the ledger, and not for a sink that does not answer.
        drop(shared);
        sinks.finish(LAST_DELIVERY_TIME).await;
        if let Some(traces) = traces {
            traces.finish().await;
        }
        tracing::info!("stopped");
    }

    fn log_addresses(&self) {
        for address in self.addresses() {
            tracing::info!(%address, "listening");
        }
        if let Some(address) = self.admin_address() {
            tracing::info!(%address, "admin listening");
        }
        if let Some(address) = self.probes_address() {
            tracing::info!(%address, "probes listening");
        }
    }
}

/// Starts to keep the indexes of this gateway's log and of those that its reports read.
fn follow_logs(audit: &AuditSection, shared: &SharedState) -> Option<IndexFollower> {
    let AuditSection { directory, index, logs, .. } = audit;
    let folders = [directory].into_iter().chain(logs.iter().map(|log| &log.path)).cloned().collect();
    let people = shared.metrics.recipient_people.clone();
    let report = move |recipient: &str, count: u64| {
        people.with_label_values(&[recipient]).set(i64::try_from(count).unwrap_or(i64::MAX));
    };
    let started = IndexFollower::start(index.clone(), folders, Box::new(report));
    started
        .inspect_err(|error| tracing::warn!(%error, "there is no thread for the index of the disclosure log"))
        .ok()
}

/// Closes the disclosure log, and tells the ledger how far it goes. Records that cannot be written are tried until this instant.
async fn close_log(shared: &Arc<SharedState>, drain_end: Instant) {
    let shared = Arc::clone(shared);
    let close = move || {
        shared.log.close_by(drain_end);
        notices::state_size(&shared)
    };
    if let Ok(Err(error)) = tokio::task::spawn_blocking(close).await {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "the ledger does not know the last entries of the disclosure log");
    }
}

/// Reloads and prunes until the gateway is asked to end.
async fn serve_until_announced(
    reloader: Reloader,
    mut reload: mpsc::Receiver<()>,
    mut stage: watch::Receiver<Stage>,
    manager: ServiceManager,
) {
    let shared = Arc::clone(&reloader.shared);
    let reloader = Arc::new(reloader);
    let mut prune = tokio::time::interval(PRUNE_INTERVAL);
    loop {
        tokio::select! {
            _ = prune.tick() => {
                shared.access_log.prune(Timestamp::now());
                continue;
            }
            () = reached(&mut stage, Stage::DrainNotice) => return,
            Some(()) = reload.recv() => {}
        }
        manager.reloading();
        // Compiling policies takes long enough to delay exchanges on the same worker.
        let reloader = Arc::clone(&reloader);
        let reloaded = tokio::task::spawn_blocking(move || reloader.reload()).await;
        if reloaded.is_err() {
            shared.metrics.policy_reload.with_label_values(&["failed"]).inc();
            tracing::error!("the reload panicked: restart the gateway");
        }
        manager.ready(match reloaded {
            Ok(true) => "serving",
            Ok(false) | Err(_) => "serving by the earlier configuration: the last reload failed",
        });
    }
}

/// Serves on until the notice is over, or until the gateway is asked to stop at once.
async fn give_notice(stage: &watch::Sender<Stage>, notice: Duration) {
    let mut draining = stage.subscribe();
    if *draining.borrow() < Stage::Draining && !notice.is_zero() {
        tracing::info!(?notice, "drain notice: not ready, still serving");
        let _ = tokio::time::timeout(notice, reached(&mut draining, Stage::Draining)).await;
    }
    advance(stage, Stage::Draining);
}

/// Makes the public listeners of their sockets, and shares out the limit of open files and the memory among them.
fn listeners(
    sockets: Vec<TcpListener>,
    sections: &[ListenerSection],
    shared: &SharedState,
) -> Result<(Vec<Listener>, ListenerCertificates), StartError> {
    let max_exchanges = sections.iter().map(|section| section.limits.max_exchanges).sum();
    let budget = DescriptorBudget::new(descriptors::raise_limit(), sections.len(), max_exchanges);
    let budget = budget.within(ProcessMemory::of_system(), sections.len());
    let mut listeners = Vec::new();
    let mut certificates = Vec::new();
    for (socket, section) in sockets.into_iter().zip(sections) {
        let certificate = match &section.tls {
            Some(tls) => Some(CertificateSender::new(tls.server.clone()?)),
            None => None,
        };
        let tls = certificate.as_ref().map(CertificateSender::subscribe);
        certificates.extend(certificate.map(|certificate| (section.address, certificate)));
        let limits = &section.limits;
        let context = ListenerContext {
            authorities: section.authorities.clone(),
            request_timeout: limits.request_timeout,
            response_timeout: limits.response_timeout,
            min_body_rate: limits.min_body_rate,
            exchanges: ConcurrencyLimit::new(
                budget.listener_exchanges(limits.max_exchanges, max_exchanges),
                limits.max_exchanges_per_recipient,
            ),
        };
        let label = section.address.to_string();
        let setup = TransportSetup {
            proxy_protocol: section.proxy_protocol,
            trusted_proxies: section.trusted_proxies.clone(),
            tls,
            failures: TransportFailures::new(&shared.metrics.connections_failed, &label),
        };
        let refused = shared.metrics.connections_refused.with_label_values(&[&*label]);
        let per_address = limits.max_connections_per_address;
        let per_address = per_address.unwrap_or(connections_per_address(budget.connections));
        let limit = ConnectionLimit::new(budget.connections, refused)
            .per_address(per_address, section.trusted_proxies.clone());
        listeners.push(Listener::new(Acceptor::new(socket, limit), context, limits.clone(), setup));
    }
    Ok((listeners, certificates))
}

/// The addresses of the gateway's sockets.
#[derive(Debug)]
struct SocketAddresses {
    public: Vec<SocketAddr>,
    admin: SocketAddr,
    probes: Option<SocketAddr>,
}

/// The bound sockets, as in [`SocketAddresses`].
#[derive(Debug)]
struct Sockets {
    public: Vec<TcpListener>,
    admin: TcpListener,
    probes: Option<TcpListener>,
}

impl SocketAddresses {
    fn of(config: &Config) -> SocketAddresses {
        SocketAddresses {
            public: config.listeners.iter().map(|listener| listener.address).collect(),
            admin: config.admin.address,
            probes: config.probes.as_ref().map(|probes| probes.address),
        }
    }

    fn all(&self) -> Vec<SocketAddr> {
        self.public.iter().copied().chain([self.admin]).chain(self.probes).collect()
    }

    /// Binds the addresses in the order of [`SocketAddresses::all`], except where a socket was handed over.
    async fn bind(&self, inherited: Vec<Option<std::net::TcpListener>>) -> Result<Sockets, StartError> {
        let mut inherited = inherited.into_iter();
        let mut public = Vec::new();
        for address in &self.public {
            public.push(take_or_bind(inherited.next().flatten(), "[listener]", *address).await?);
        }
        let admin = take_or_bind(inherited.next().flatten(), "[admin]", self.admin).await?;
        let probes = match self.probes {
            Some(address) => Some(take_or_bind(inherited.next().flatten(), "[probes]", address).await?),
            None => None,
        };
        Ok(Sockets { public, admin, probes })
    }
}

/// Waits until the gateway knows the ledger, so that no waiting request is refused for it. An embedded ledger is known at once.
async fn wait_until_current(shared: &SharedState) {
    let current = async {
        while shared.ledger.freshness() != Freshness::Current {
            tokio::time::sleep(FRESHNESS_POLL).await;
        }
    };
    if tokio::time::timeout(MAX_FRESHNESS_WAIT, current).await.is_err() {
        tracing::warn!("the ledger is not current: requests that rest on it are refused");
    }
}

/// Waits until the predecessor has closed ledger and log. Returns the configuration as it is then: what was read before may
/// permit what has been withdrawn since.
async fn after_predecessor(config: Config, manager: ServiceManager) -> Result<Config, StartError> {
    let waiting = tokio::task::spawn_blocking(move || {
        let waited = predecessor::wait(&config, || {
            tracing::info!("waiting for the predecessor");
            manager.status("waiting for the predecessor");
        });
        if !waited {
            return Ok(config);
        }
        let (config, findings) = config::load(&config.file);
        config.ok_or_else(|| StartError::Configuration(error_lines(&findings)))
    });
    manager.during_start(waiting).await.map_err(StartError::Panicked)?
}

/// Returns the errors among findings, in one line.
fn error_lines(findings: &[Finding]) -> String {
    let errors = findings.iter().filter(|finding| finding.is_error()).map(Finding::line);
    errors.collect::<Vec<_>>().join("; ")
}

async fn take_or_bind(
    inherited: Option<std::net::TcpListener>,
    section: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, StartError> {
    let socket = match inherited {
        Some(socket) => TcpListener::from_std(socket),
        None => TcpListener::bind(address).await,
    };
    socket.map_err(|source| StartError::Bind { section, address, source })
}

/// Returns why a socket cannot be bound, in words where the system's are not enough.
fn bind_cause(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => "another process has the port".to_owned(),
        _ => error.to_string(),
    }
}

/// Writes a finding to the log. Once the gateway starts, standard error holds log lines only.
pub fn log_finding(finding: &Finding) {
    let finding::FindingReport { code, severity, message, file, line, column: _, label: _, excerpt: _, hint } =
        finding.report();
    let place = file.zip(line).map(|(file, line)| format!("{file}:{line}"));
    match severity {
        Severity::Error => tracing::error!(code, place, hint, "{message}"),
        Severity::Warning => tracing::warn!(code, place, hint, "{message}"),
        Severity::Acknowledged => tracing::debug!(code, place, hint, "{message}"),
    }
}

#[cfg(test)]
mod tests;
