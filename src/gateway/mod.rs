//! The process that serves: binds sockets over an assembled configuration, reloads it, and drains at the end.
//!
//! It decides nothing about exchanges: the layer handles each request, with the state that [`crate::assembly`] made.
//! Invariants: a reload that fails changes nothing ([`reload`]); after a stop no connection is accepted, and exchanges
//! under way end within the drain time.

mod acceptor;
mod admin;
mod authzen;
mod client_certificate;
mod connection;
mod connection_limit;
#[cfg(test)]
mod differential;
pub(crate) mod http_client;
mod listener;
mod plaintext;
mod proxy_protocol;
mod reload;
#[cfg(test)]
mod stale_exchanges;
mod transport;
mod upstreams;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tower::Layer;

use self::acceptor::Acceptor;
use self::admin::AdminApi;
use self::connection_limit::ConnectionLimit;
use self::listener::Listener;
use self::reload::{CertificateSender, Reloader, RestartOnly, export_certificate_ends};
use self::transport::{TransportFailures, TransportSetup};
use self::upstreams::Upstreams;
use crate::assembly::{self, AssemblyError};
use crate::config::descriptors::{self, DescriptorBudget, MAX_ADMIN_CONNECTIONS, connections_per_address};
use crate::config::memory::ProcessMemory;
use crate::config::{Config, ListenerSection, TlsError};
use crate::exchange::concurrency::ConcurrencyLimit;
use crate::exchange::{ListenerContext, SharedState};
use crate::finding::{self, Finding, Severity};
use crate::layer::PurposeLayer;

/// Time between two searches for outdated files of the access log.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The reason why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Keys, ledger, logs or policies cannot be assembled.
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    /// A certificate or key of a listener cannot be used.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    /// A socket cannot be bound, most likely because its port is in use or privileged.
    #[error("cannot listen on {address}: {source}")]
    Bind {
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
    admin_acceptor: Acceptor,
    drain: Duration,
    stop: watch::Sender<bool>,
}

/// Stops a running gateway. Dropping it does not.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Makes [`Gateway::run`] accept no more connections and return as soon as the exchanges under way have ended, or
    /// when the drain time is over.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Gateway {
    /// Opens keys, ledger and logs, and binds the sockets. Blocks while files are read.
    ///
    /// # Errors
    /// [`StartError`]: the first part that cannot be opened or bound.
    pub async fn bind(config: Config) -> Result<Gateway, StartError> {
        tracing::info!(gateway = &*config.name, version = env!("CARGO_PKG_VERSION"), "starting");
        let upstreams = Upstreams::new(&config.upstreams);
        let restart_only = RestartOnly::of(&config);
        let (file, drain) = (config.file.clone(), config.drain);
        let (sections, admin_address) = (config.listeners.clone(), config.admin.address);
        let shared = assembly::assemble(config)?;
        export_certificate_ends(&shared.metrics, &sections);
        let (listeners, certificates) = bind_listeners(&sections, &shared).await?;
        let admin_acceptor = Acceptor::new(
            bind_socket(admin_address).await?,
            ConnectionLimit::new(
                MAX_ADMIN_CONNECTIONS,
                shared.metrics.connections_refused.with_label_values(&["admin"]),
            ),
        );
        let admin = AdminApi::new(Arc::clone(&shared));
        let reloader = Reloader { file, restart_only, shared, upstreams, certificates };
        Ok(Gateway { reloader, listeners, admin, admin_acceptor, drain, stop: watch::Sender::new(false) })
    }

    /// Returns the public addresses in the order of the configuration, with the ports that the system chose for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.address().ok()).collect()
    }

    /// Returns the admin address. `None` if the system no longer knows the socket's address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_acceptor.address().ok()
    }

    /// Returns the state that exchanges share: ledger, logs, metrics.
    pub fn shared_state(&self) -> Arc<SharedState> {
        Arc::clone(&self.reloader.shared)
    }

    /// Returns a handle that stops the gateway.
    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves until [`Stop::stop`], then drains. Each item of `reload` makes it read the configuration again.
    pub async fn run(self, mut reload: mpsc::Receiver<()>) {
        let Gateway { reloader, listeners, admin, admin_acceptor, drain, stop } = self;
        let shared = Arc::clone(&reloader.shared);
        let mut stopped = stop.subscribe();
        let mut serving = JoinSet::new();
        for listener in listeners {
            if let Ok(address) = listener.address() {
                tracing::info!(%address, "listening");
            }
            let service = PurposeLayer::new(Arc::clone(&shared)).layer(reloader.upstreams.clone());
            serving.spawn(listener.run(service, stop.subscribe()));
        }
        if let Ok(address) = admin_acceptor.address() {
            tracing::info!(%address, "admin listening");
        }
        let admin_serving = tokio::spawn(admin.clone().run(admin_acceptor));
        let reloader = Arc::new(reloader);
        let mut prune = tokio::time::interval(PRUNE_INTERVAL);
        loop {
            tokio::select! {
                _ = prune.tick() => {
                    shared.access_log.prune(Timestamp::now());
                    continue;
                }
                _ = stopped.wait_for(|stopped| *stopped) => break,
                Some(()) = reload.recv() => {}
            }
            // Compiling policies takes long enough to delay exchanges on the same worker.
            let reloader = Arc::clone(&reloader);
            if tokio::task::spawn_blocking(move || reloader.reload()).await.is_err() {
                shared.metrics.policy_reload.with_label_values(&["failed"]).inc();
                tracing::error!("the reload panicked: restart the gateway");
            }
        }
        admin.drain();
        tracing::info!("draining");
        let drained =
            tokio::time::timeout(drain, async { while serving.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("the drain time is over: exchanges under way are cut");
        }
        serving.shutdown().await;
        admin_serving.abort();
        shared.log.flush().await;
        tracing::info!("stopped");
    }
}

/// Binds the public listeners, and shares out the limit of open files and the memory among them.
async fn bind_listeners(
    sections: &[ListenerSection],
    shared: &SharedState,
) -> Result<(Vec<Listener>, Vec<(SocketAddr, CertificateSender)>), StartError> {
    let max_exchanges = sections.iter().map(|section| section.limits.max_exchanges).sum();
    let budget = DescriptorBudget::new(descriptors::raise_limit(), sections.len(), max_exchanges);
    let budget = budget.within(ProcessMemory::of_system(), sections.len());
    let mut listeners = Vec::new();
    let mut certificates = Vec::new();
    for section in sections {
        let socket = bind_socket(section.address).await?;
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
        listeners.push(Listener::new(Acceptor::new(socket, limit), context, setup));
    }
    Ok((listeners, certificates))
}

async fn bind_socket(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// Writes a finding to the log. Once the gateway starts, standard error holds log lines only.
pub fn log_finding(finding: &Finding) {
    let finding::FindingReport { code, severity, message, file, line, column: _, hint } = finding.report();
    let place = file.zip(line).map(|(file, line)| format!("{file}:{line}"));
    match severity {
        Severity::Error => tracing::error!(code, place, hint, "{message}"),
        Severity::Warning => tracing::warn!(code, place, hint, "{message}"),
        Severity::Acknowledged => tracing::debug!(code, place, hint, "{message}"),
    }
}
