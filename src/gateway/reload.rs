//! Reloads the configuration of a running gateway.
//!
//! Invariant: a reload that fails changes nothing. So every step that can fail comes first. The last of these steps
//! makes the ledger remember the policies as in force.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::watch;

use super::admin::AdminApi;
use super::issuer_keys::IssuerKeyFetchers;
use super::upstream::Upstreams;
use super::{error_lines, log_finding};
use crate::assembly;
use crate::config::{
    self, AccessLogSection, AuditSection, Config, DrainSection, LedgerSection, LimitsSection,
    ListenerSection, ProbesSection, TlsError, TlsServer, WatchList,
};
use crate::exchange::SharedState;
use crate::metrics::Metrics;

/// Sends a listener its TLS configuration again when a reload has read it.
pub(super) type CertificateSender = watch::Sender<TlsServer>;

/// The certificates of the listeners with TLS, by their addresses in the configuration.
pub(super) type ListenerCertificates = Vec<(SocketAddr, CertificateSender)>;

/// The configuration file, and the parts of the gateway that a reload replaces.
#[derive(Debug)]
pub(super) struct Reloader {
    pub(super) file: PathBuf,
    pub(super) restart_only: RestartOnly,
    pub(super) shared: Arc<SharedState>,
    pub(super) upstreams: Upstreams,
    pub(super) certificates: ListenerCertificates,
    pub(super) issuer_keys: IssuerKeyFetchers,
    pub(super) admin: AdminApi,
    /// The files to watch, as the last reading of the configuration found them.
    pub(super) watch_list: watch::Sender<WatchList>,
}

impl Reloader {
    /// Reads the configuration again. Blocks. The outcome is logged and counted. Returns false if nothing has changed because
    /// of an error.
    pub(super) fn reload(&self) -> bool {
        let outcome = match self.try_reload() {
            Ok(()) => "loaded",
            Err(why) => {
                tracing::error!(%why, "reload failed; the configuration that was loaded before stays in force");
                "failed"
            }
        };
        self.shared.metrics.policy_reload.with_label_values(&[outcome]).inc();
        tracing::info!(outcome, "reload");
        outcome == "loaded"
    }

    fn try_reload(&self) -> Result<(), String> {
        let Reloader { file, restart_only, shared, upstreams, certificates, admin, issuer_keys, watch_list } =
            self;
        let (loaded, findings) = config::load_or_watch(file);
        // Before anything fails: a change of what was read now can mend it, and so can a file that was read before and is gone.
        watch_list.send_modify(|list| match &loaded {
            Ok(config) => list.clone_from(&config.watch_list),
            Err(looked_for) => list.extend(looked_for.clone()),
        });
        let config = loaded.map_err(|_| error_lines(&findings))?;
        findings.iter().filter(|finding| finding.is_warning()).for_each(log_finding);
        let reloaded =
            reloaded_certificates(certificates, &config.listeners).map_err(|error| error.to_string())?;
        let prepared = upstreams.prepare(&config.upstreams).map_err(|error| error.to_string())?;
        let admin_replacement = admin.replacement(&config.admin).map_err(|error| error.to_string())?;
        assembly::accept(shared, &config).map_err(|error| error.to_string())?;
        for section in restart_only.changed_sections(&RestartOnly::of(&config)) {
            tracing::warn!(section, "changed: the change needs a restart");
        }
        for (certificate, server) in reloaded {
            certificate.send_replace(server);
        }
        export_certificate_ends(&shared.metrics, &config.listeners);
        admin.replace(admin_replacement);
        // The upstreams are replaced before the snapshot, whose routes name them.
        upstreams.replace(prepared);
        let issuers = config.issuers.clone();
        issuer_keys.pass_on_keys(&issuers);
        assembly::apply(shared, config);
        issuer_keys.replace(issuers);
        Ok(())
    }
}

/// The settings that only a restart applies. A reload compares them to report a change.
#[derive(Debug)]
pub(super) struct RestartOnly {
    name: Arc<str>,
    limits: LimitsSection,
    listeners: Vec<ListenerSection>,
    /// Address of the admin listener, and whether it has TLS.
    admin: (SocketAddr, bool),
    ledger: LedgerSection,
    audit: AuditSection,
    access_log: Option<AccessLogSection>,
    keys: PathBuf,
    drain: DrainSection,
    probes: Option<ProbesSection>,
}

impl RestartOnly {
    pub(super) fn of(config: &Config) -> RestartOnly {
        RestartOnly {
            name: Arc::clone(&config.name),
            limits: config.limits,
            listeners: config.listeners.clone(),
            admin: (config.admin.address, config.admin.tls.is_some()),
            ledger: config.ledger.clone(),
            audit: config.audit.clone(),
            access_log: config.access_log.clone(),
            keys: config.keys.path.clone(),
            drain: config.drain,
            probes: config.probes.clone(),
        }
    }

    /// Returns the sections that differ from `other`.
    fn changed_sections(&self, other: &RestartOnly) -> impl Iterator<Item = &'static str> {
        let sections = [
            ("deployment.name", self.name != other.name),
            ("limits", self.limits != other.limits),
            ("listener", !self.listeners.iter().map(settings).eq(other.listeners.iter().map(settings))),
            ("admin.address, admin.tls", self.admin != other.admin),
            ("ledger", self.ledger != other.ledger),
            ("audit", self.audit != other.audit),
            ("access-log", self.access_log != other.access_log),
            ("keys", self.keys != other.keys),
            ("drain", self.drain != other.drain),
            ("probes", self.probes != other.probes),
        ];
        sections.into_iter().filter_map(|(section, is_changed)| is_changed.then_some(section))
    }
}

/// Returns the settings of a listener except its certificate, which is reloaded.
fn settings(section: &ListenerSection) -> impl PartialEq + '_ {
    let ListenerSection { address, authorities, limits, proxy_protocol, trusted_proxies, tls } = section;
    (address, authorities, limits, proxy_protocol, trusted_proxies, tls.is_some())
}

/// Sets the metrics that tell when the certificate of each listener ends, and its first revocation list.
pub(super) fn export_certificate_ends(metrics: &Metrics, sections: &[ListenerSection]) {
    for section in sections {
        let Some(tls) = &section.tls else { continue };
        let address = section.address.to_string();
        if let Some(ends) = tls.not_after {
            metrics.certificate_not_after.with_label_values(&[&*address]).set(ends);
        }
        let authority = tls.server.as_ref().ok().and_then(|server| server.client_authority.as_ref());
        let ends = authority.and_then(|authority| authority.lists.iter().map(|list| list.next_update).min());
        if let Some(ends) = ends {
            metrics.crl_next_update.with_label_values(&[&*address]).set(ends.as_second());
        }
    }
}

/// Returns the TLS configuration of each listener as it is in the configuration now. A listener that the configuration
/// no longer has, or has without TLS, keeps its certificate until a restart.
fn reloaded_certificates<'c>(
    certificates: &'c [(SocketAddr, CertificateSender)],
    sections: &[ListenerSection],
) -> Result<Vec<(&'c CertificateSender, TlsServer)>, TlsError> {
    let reloaded = certificates.iter().enumerate().filter_map(|(at, (address, certificate))| {
        // Several listeners can have port 0, and with it the same address.
        let earlier = certificates.iter().take(at).filter(|(other, _)| other == address).count();
        let mut sections =
            sections.iter().filter(|section| section.address == *address && section.tls.is_some());
        let server = sections.nth(earlier)?.tls.as_ref()?.server.as_ref();
        Some(server.map(|server| (certificate, server.clone())).map_err(Clone::clone))
    });
    reloaded.collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls::ServerConfig;
    use rustls::server::ResolvesServerCertUsingSni;

    use super::*;
    use crate::exchange::TrustedProxies;

    fn server() -> TlsServer {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        TlsServer { config: Arc::new(config), client_authority: None }
    }

    #[test]
    fn a_reload_matches_certificates_to_listeners_by_address() {
        let files = config::TlsFiles {
            certificate: "c".into(),
            key: "k".into(),
            client_ca: None,
            crls: Vec::new(),
            client_required: false,
        };
        let limits = config::ListenerLimits {
            request_timeout: Duration::ZERO,
            response_timeout: Duration::ZERO,
            min_body_rate: 0,
            max_exchanges: 1,
            max_exchanges_per_recipient: 1,
            max_connections_per_address: None,
            max_requests_per_connection: 1,
            max_connection_age: Duration::ZERO,
        };
        let listener = |port: u16, server: Option<&TlsServer>| ListenerSection {
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            authorities: Vec::new(),
            limits: limits.clone(),
            proxy_protocol: false,
            trusted_proxies: TrustedProxies::default(),
            tls: server.map(|server| config::ListenerTls {
                files: files.clone(),
                server: Ok(server.clone()),
                not_after: None,
            }),
        };
        let bound = |port: u16| (SocketAddr::from(([127, 0, 0, 1], port)), CertificateSender::new(server()));
        let certificates = [bound(1), bound(2)];
        let (one, two) = (server(), server());
        let get = |listeners: &[ListenerSection]| {
            let reloaded = reloaded_certificates(&certificates, listeners).unwrap();
            let is = |(_, own): &(SocketAddr, CertificateSender)| {
                let found = reloaded.iter().find(|(certificate, _)| std::ptr::eq(*certificate, own))?;
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
