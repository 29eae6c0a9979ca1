//! The process that serves: binds sockets over an assembled configuration, reloads it, and drains at the end.
//!
//! It decides nothing about exchanges: each request goes to the layer over the state that [`crate::assembly`] made.
//! Invariant: a reload that fails changes nothing.

mod acceptor;
mod admin;
mod authzen;
mod client_certificate;
mod connection;
#[cfg(test)]
mod differential;
mod listener;
mod plaintext;
mod upstreams;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::Layer;

use self::acceptor::Acceptor;
use self::admin::AdminApi;
use self::listener::Listener;
use self::upstreams::Upstreams;
use crate::assembly::{self, AssemblyError};
use crate::config::descriptors::{self, DescriptorBudget, MAX_ADMIN_CONNECTIONS};
use crate::config::{self, Config, TlsError, TlsServer};
use crate::exchange::concurrency::ConcurrencyLimit;
use crate::exchange::{ListenerContext, SharedState};
use crate::finding::{self, Finding, Severity};
use crate::layer::PurposeLayer;
use crate::metrics::Metrics;

/// How often old files of the access log are looked for.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60 * 60);

/// What keeps a gateway from starting.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Assembly(#[from] AssemblyError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] TlsError),
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: std::io::Error },
}

/// A gateway that is bound to its addresses and does not accept yet.
#[derive(Debug)]
pub struct Gateway {
    reloader: Reloader,
    listeners: Vec<Listener>,
    admin: AdminApi,
    admin_acceptor: Acceptor,
    drain: Duration,
    stop: watch::Sender<bool>,
}

/// A listener's certificate, which a reload reads again.
type CertificateSender = watch::Sender<TlsServer>;

/// Tells a running gateway to stop; dropping it does not.
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// No new connections; exchanges under way end, within the drain time.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Gateway {
    /// Opens keys, ledger and log, and binds the sockets.
    ///
    /// # Errors
    /// [`StartError`]: the first thing that cannot be opened.
    pub async fn bind(config: Config) -> Result<Gateway, StartError> {
        let upstreams = Upstreams::new(&config.upstreams);
        let restart_only = RestartOnly::of(&config);
        let (file, drain) = (config.file.clone(), config.drain);
        let (sections, admin_address) = (config.listeners.clone(), config.admin.address);
        let shared = assembly::assemble(config)?;
        let metrics = &shared.metrics;
        show_certificates(metrics, &sections);
        let stop = watch::Sender::new(false);

        let max_exchanges = sections.iter().map(|listener| listener.max_exchanges).sum();
        let budget = DescriptorBudget::new(descriptors::raise_limit(), sections.len(), max_exchanges);
        let refused = |listener: &str| metrics.connections_refused.with_label_values(&[listener]);

        let mut listeners = Vec::new();
        let mut certificates = Vec::new();
        for listener in &sections {
            let socket = bind(listener.address).await?;
            let certificate = match &listener.tls {
                Some(tls) => Some(CertificateSender::new(tls.server.clone()?)),
                None => None,
            };
            let tls = certificate.as_ref().map(CertificateSender::subscribe);
            certificates.extend(certificate.map(|certificate| (listener.address, certificate)));
            let listening = ListenerContext {
                authorities: listener.authorities.clone(),
                request_timeout: listener.request_timeout,
                exchanges: ConcurrencyLimit::new(
                    budget.listener_exchanges(listener.max_exchanges, max_exchanges),
                    listener.max_exchanges_per_recipient,
                ),
            };
            let acceptor = Acceptor::new(socket, budget.connections, refused(&listener.address.to_string()));
            listeners.push(Listener::new(acceptor, listening, tls));
        }
        let admin_socket = bind(admin_address).await?;
        let admin_acceptor = Acceptor::new(admin_socket, MAX_ADMIN_CONNECTIONS, refused("admin"));
        let admin = AdminApi::new(Arc::clone(&shared));
        let reloader = Reloader { file, restart_only, shared, upstreams, certificates };
        Ok(Gateway { reloader, listeners, admin, admin_acceptor, drain, stop })
    }

    /// The public addresses, in the order of the configuration, with the ports that were chosen for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.address().ok()).collect()
    }

    /// The admin address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_acceptor.address().ok()
    }

    /// What the exchanges share: the ledger, the log, the metrics.
    pub fn shared_state(&self) -> Arc<SharedState> {
        Arc::clone(&self.reloader.shared)
    }

    pub fn stop(&self) -> Stop {
        Stop(self.stop.clone())
    }

    /// Serves until told to stop, then drains. `reload` yields whenever the configuration is to be read again.
    pub async fn run(self, mut reload: tokio::sync::mpsc::Receiver<()>) {
        let Gateway { reloader, listeners, admin, admin_acceptor, drain, stop } = self;
        let shared = Arc::clone(&reloader.shared);
        let mut stopped = stop.subscribe();
        let mut serving = JoinSet::new();
        for listener in listeners {
            if let Ok(address) = listener.address() {
                tracing::info!(%address, "listening");
            }
            let gate = PurposeLayer::new(Arc::clone(&shared)).layer(reloader.upstreams.clone());
            serving.spawn(listener.run(gate, stop.subscribe()));
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
            // Policies are compiled beside the exchanges, not between them.
            let renewing = Arc::clone(&reloader);
            if tokio::task::spawn_blocking(move || renewing.reload()).await.is_err() {
                shared.metrics.policy_reload.with_label_values(&["failed"]).inc();
                tracing::error!("the reload broke off: restart the gateway");
            }
        }
        admin.drain();
        tracing::info!("draining");
        let drained =
            tokio::time::timeout(drain, async { while serving.join_next().await.is_some() {} }).await;
        if drained.is_err() {
            tracing::warn!("exchanges were cut: the drain time is over");
        }
        serving.shutdown().await;
        admin_serving.abort();
        shared.log.flush().await;
        tracing::info!("stopped");
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
}

/// What a reload reads and what it replaces.
#[derive(Debug)]
struct Reloader {
    file: PathBuf,
    restart_only: RestartOnly,
    shared: Arc<SharedState>,
    upstreams: Upstreams,
    /// Of the listeners that speak TLS, by their addresses in the configuration.
    certificates: Vec<(SocketAddr, CertificateSender)>,
}

/// What only a start applies, section by section, to tell when a reload finds it changed.
#[derive(Debug, PartialEq, Eq)]
struct RestartOnly([(&'static str, String); 7]);

impl RestartOnly {
    fn of(config: &Config) -> RestartOnly {
        let listener = |listener: &config::ListenerSection| {
            let config::ListenerSection {
                address,
                authorities,
                request_timeout,
                max_exchanges,
                max_exchanges_per_recipient: max_exchanges_each,
                tls,
            } = listener;
            let exchanges = (max_exchanges, max_exchanges_each);
            format!("{address} {authorities:?} {request_timeout:?} {exchanges:?} {}", tls.is_some())
        };
        RestartOnly([
            ("listener", config.listeners.iter().map(listener).collect::<Vec<_>>().join("; ")),
            ("admin", format!("{:?}", config.admin)),
            ("ledger", format!("{:?}", config.ledger)),
            ("audit", format!("{:?}", config.audit)),
            ("access-log", format!("{:?}", config.access_log)),
            ("keys", format!("{:?}", config.keys.path)),
            ("drain", format!("{:?}", config.drain)),
        ])
    }

    /// The sections that are not the same in another configuration.
    fn differences<'s>(&'s self, other: &'s RestartOnly) -> impl Iterator<Item = &'static str> + 's {
        let pairs = self.0.iter().zip(&other.0);
        pairs.filter(|(own, other)| own != other).map(|((section, _), _)| *section)
    }
}

impl Reloader {
    /// A reload that fails changes nothing.
    fn reload(&self) {
        let outcome = match self.try_reload() {
            Ok(()) => "loaded",
            Err(why) => {
                tracing::error!(%why, "reload failed; what was loaded stays in force");
                "failed"
            }
        };
        self.shared.metrics.policy_reload.with_label_values(&[outcome]).inc();
        tracing::info!(outcome, "reload");
    }

    fn try_reload(&self) -> Result<(), String> {
        let Reloader { file, restart_only, shared, upstreams, certificates } = self;
        let (config, findings) = config::load(file);
        let config = config.ok_or_else(|| {
            findings
                .iter()
                .filter(|finding| finding.is_error())
                .map(Finding::line)
                .collect::<Vec<_>>()
                .join("; ")
        })?;
        findings.iter().filter(|finding| finding.is_warning()).for_each(log_finding);
        let reloaded =
            reloaded_certificates(certificates, &config.listeners).map_err(|error| error.to_string())?;
        assembly::accept(shared, &config).map_err(|error| error.to_string())?;
        for section in restart_only.differences(&RestartOnly::of(&config)) {
            tracing::warn!(section, "changed: a restart applies it");
        }
        for (certificate, server) in reloaded {
            certificate.send_replace(server);
        }
        show_certificates(&shared.metrics, &config.listeners);
        // Before the routes that name them.
        upstreams.replace(&config.upstreams);
        assembly::apply(shared, config);
        Ok(())
    }
}

/// Writes a finding to the log: standard error holds nothing else once the gateway starts.
pub fn log_finding(finding: &Finding) {
    let finding::FindingReport { code, severity, message, file, line, column: _, hint } = finding.report();
    let place = file.zip(line).map(|(file, line)| format!("{file}:{line}"));
    match severity {
        Severity::Error => tracing::error!(code, place, hint, "{message}"),
        Severity::Warning => tracing::warn!(code, place, hint, "{message}"),
        Severity::Acknowledged => tracing::debug!(code, place, hint, "{message}"),
    }
}

/// Says when the certificate of each listener expires.
fn show_certificates(metrics: &Metrics, listeners: &[config::ListenerSection]) {
    for listener in listeners {
        let ends = listener.tls.as_ref().and_then(|tls| tls.not_after);
        let address = listener.address.to_string();
        if let Some(ends) = ends {
            metrics.certificate_not_after.with_label_values(&[&*address]).set(ends);
        }
    }
}

/// The certificate of each listener as the configuration has it now. One that is no longer there, or without TLS,
/// goes on as it is until a restart.
fn reloaded_certificates<'c>(
    certificates: &'c [(SocketAddr, CertificateSender)],
    listeners: &[config::ListenerSection],
) -> Result<Vec<(&'c CertificateSender, TlsServer)>, TlsError> {
    let same = certificates.iter().enumerate().filter_map(|(at, (address, certificate))| {
        // Several may have port 0.
        let before = certificates.iter().take(at).filter(|(other, _)| other == address).count();
        let mut there =
            listeners.iter().filter(|listener| listener.address == *address && listener.tls.is_some());
        let listener = there.nth(before)?;
        let server = listener.tls.as_ref()?.server.as_ref();
        Some(server.map(|server| (certificate, server.clone())).map_err(Clone::clone))
    });
    same.collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustls::ServerConfig;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;

    fn server() -> TlsServer {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        TlsServer { config: Arc::new(config), client_authority: None }
    }

    #[test]
    fn a_listener_gets_its_own_certificate_wherever_it_stands() {
        let files = config::TlsFiles {
            certificate: "c".into(),
            key: "k".into(),
            client_ca: None,
            client_required: false,
        };
        let listener = |port: u16, server: Option<&TlsServer>| config::ListenerSection {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            authorities: Vec::new(),
            request_timeout: Duration::ZERO,
            max_exchanges: 1,
            max_exchanges_per_recipient: 1,
            tls: server.map(|server| config::ListenerTls {
                files: files.clone(),
                server: Ok(server.clone()),
                not_after: None,
            }),
        };
        let bound = |port: u16| (SocketAddr::from(([127, 0, 0, 1], port)), CertificateSender::new(server()));
        let certificates = [bound(1), bound(2)];
        let (one, two) = (server(), server());
        let get = |listeners: &[config::ListenerSection]| {
            let reloaded_certificates = reloaded_certificates(&certificates, listeners).unwrap();
            let is = |(_, own): &(SocketAddr, CertificateSender)| {
                let found =
                    reloaded_certificates.iter().find(|(certificate, _)| std::ptr::eq(*certificate, own))?;
                Some(if Arc::ptr_eq(&found.1.config, &one.config) { 1 } else { 2 })
            };
            certificates.each_ref().map(is)
        };
        let (first, second) = (listener(1, Some(&one)), listener(2, Some(&two)));
        assert_eq!(get(&[first.clone(), second.clone()]), [Some(1), Some(2)]);
        assert_eq!(get(&[second.clone(), first.clone()]), [Some(1), Some(2)]);
        assert_eq!(get(&[listener(3, Some(&one)), second]), [None, Some(2)]);
        assert_eq!(get(&[listener(2, None), first]), [Some(1), None]);
    }
}
