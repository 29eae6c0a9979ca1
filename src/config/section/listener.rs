//! `[[listener]]`: the public listeners and their TLS.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;

use ipnet::IpNet;

use super::address;
use super::listener_limits::{self, ListenerLimits};
use crate::config::descriptors::{self, DescriptorBudget};
use crate::config::files::existing;
use crate::config::memory::ProcessMemory;
use crate::config::tls::{self, TlsError, TlsFiles, TlsServer};
use crate::config::{Host, Part};
use crate::document::{Document, Fields};
use crate::exchange::TrustedProxies;
use crate::finding::Finding;

/// Hint for certificate files that do not exist.
const CERTIFICATES: &str = "`purposegate certs dev --out certs/` makes development certificates";

/// Hint for revocation lists that do not exist.
const REVOCATION_LISTS: &str = "download the list that the authority publishes, and again before its end";

/// `[[listener]]`: a public listener.
#[derive(Clone, Debug)]
pub struct ListenerSection {
    /// Address to bind.
    pub address: SocketAddr,
    /// Authorities that requests can be for. Empty: any.
    pub authorities: Vec<String>,
    /// Bounds of exchanges and connections.
    pub limits: ListenerLimits,
    /// True if each connection begins with a header of the PROXY protocol, version 2.
    pub proxy_protocol: bool,
    /// Proxies that are believed when they state the address of a client.
    pub trusted_proxies: TrustedProxies,
    /// TLS. `None`: plaintext.
    pub tls: Option<ListenerTls>,
}

/// `[listener.tls]`: the files, and their content when they were read.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// Paths of the files.
    pub files: TlsFiles,
    /// The TLS configuration made of the files. An error is also a finding.
    pub server: Result<TlsServer, TlsError>,
    /// End of the certificate's validity, in seconds of Unix time. `None` if it cannot be read.
    pub not_after: Option<i64>,
}

pub(in crate::config) fn listeners(part: &mut Part<'_>, host: Host) -> Vec<ListenerSection> {
    let tables = part.fields.tables("listener", "a listener");
    if tables.is_empty() && host == Host::Gateway {
        let finding = Finding::error("no-listener", "there is no `[listener]`").label("in this file");
        let finding = finding.hint("add `[listener]` with `address = \"127.0.0.1:8080\"`");
        part.fields.document().find(finding, part.fields.at());
    }
    let (document, at) = (part.fields.document(), tables.first().map(Fields::at));
    let listeners: Vec<ListenerSection> =
        tables.into_iter().filter_map(|fields| listener(part, fields)).collect();
    if let Some(at) = at {
        check_capacity(document, at, &listeners);
    }
    listeners
}

/// Warns if descriptors or memory allow few connections.
fn check_capacity(document: &Document<'_>, at: Range<usize>, listeners: &[ListenerSection]) {
    let exchanges = listeners.iter().map(|listener| listener.limits.max_exchanges).sum();
    if let Some(complaint) = DescriptorBudget::of_system(listeners.len(), exchanges).shortage() {
        let hint = "raise it: `ulimit -Hn`, `LimitNOFILE=` of systemd, `nofile` of the container";
        document.find(Finding::warning("few-open-files", complaint).hint(hint), at.clone());
    }
    if let Some(complaint) = descriptors::memory_shortage(ProcessMemory::of_system(), listeners.len()) {
        let hint = "raise the limit of the container or of the unit (`MemoryMax=`), or use a larger machine";
        document.find(Finding::warning("little-memory", complaint).hint(hint), at);
    }
}

fn listener(part: &Part<'_>, mut fields: Fields<'_>) -> Option<ListenerSection> {
    let document = fields.document();
    fields.allow();
    let address = fields.needed_text("address").and_then(|text| address(document, text));
    let authorities = fields.texts("authorities").iter().map(|name| name.value.to_owned()).collect();
    let limits = listener_limits::read(&mut fields);
    let proxy_protocol = fields.flag("proxy-protocol").unwrap_or(false);
    let trusted_proxies = trusted_proxies(&mut fields);
    if proxy_protocol && trusted_proxies.is_empty() {
        fields.missing("trusted-proxies");
    }
    let tls = fields.fields("tls", "`[listener.tls]`");
    let plaintext = tls.is_none();
    let tls = tls.and_then(|fields| listener_tls(part, fields));
    fields.end();
    let address = address?;
    if plaintext && !address.value.ip().is_loopback() {
        let finding =
            Finding::warning("plaintext-listener", "this listener speaks plaintext beyond the loopback");
        let hint = "add `[listener.tls]`: credentials and personal data travel in clear here";
        document.find(finding.label("reached from elsewhere").hint(hint), address.at);
    }
    Some(ListenerSection {
        address: address.value,
        authorities,
        limits,
        proxy_protocol,
        trusted_proxies,
        tls,
    })
}

/// Reads networks (`10.0.0.0/8`) and single addresses.
fn trusted_proxies(fields: &mut Fields<'_>) -> TrustedProxies {
    let document = fields.document();
    let mut networks: Vec<IpNet> = Vec::new();
    for named in fields.texts("trusted-proxies") {
        let network = named.value.parse().or_else(|_| named.value.parse::<IpAddr>().map(IpNet::from));
        let Ok(network) = network else {
            let finding = Finding::error("bad-network", format!("`{}` is not a network", named.value));
            let hint = "write a network such as `10.0.0.0/8` or `fd00::/8`, or one IP address";
            document.find(finding.hint(hint), named.at);
            continue;
        };
        if network.prefix_len() == 0 {
            let finding =
                Finding::warning("everybody-trusted", format!("`{network}` contains every address"));
            let hint = "name the networks of your proxies: every client can state the address that it likes";
            document.find(finding.label("trusts every client").hint(hint), named.at);
        }
        networks.push(network);
    }
    TrustedProxies::new(networks)
}

/// Reads the TLS section of a listener.
pub(super) fn listener_tls(part: &Part<'_>, mut fields: Fields<'_>) -> Option<ListenerTls> {
    let certificate = fields.needed_text("certificate").and_then(|file| existing(part, &file, CERTIFICATES));
    let key = fields.needed_text("key").and_then(|file| existing(part, &file, CERTIFICATES));
    let client_ca = fields.text("client-ca").and_then(|file| existing(part, &file, CERTIFICATES));
    let named = fields.texts("crl");
    let crls: Vec<PathBuf> = named.iter().filter_map(|file| existing(part, file, REVOCATION_LISTS)).collect();
    let words = [("optional", false), ("required", true)];
    let demanded = fields.choice("client-certificate", &words);
    if (demanded == Some(true) || !named.is_empty()) && client_ca.is_none() {
        fields.missing("client-ca");
    }
    let (document, at) = (fields.document(), fields.at());
    fields.end();
    // Without one of the lists, revoked certificates would be accepted.
    let is_complete = crls.len() == named.len();
    let client_required = demanded.unwrap_or(false);
    let files = TlsFiles {
        certificate: certificate?,
        key: key?,
        client_ca,
        crls: Some(crls).filter(|_| is_complete)?,
        client_required,
    };
    let server = tls::server(&files);
    if let Err(error) = &server {
        let words = format!("TLS cannot be set up: {error}");
        // A user who works on the ledger or tries a mapping need not be able to read the gateway's key.
        let finding = match error.denied {
            true => Finding::warning("unreadable-tls", words),
            false => Finding::error("bad-tls", words),
        };
        let hint = "`certificate`, `key` and `client-ca` are PEM files, `crl` PEM or DER; the key is that of the first certificate";
        document.find(finding.label("of this listener").hint(hint), at);
    }
    let not_after = tls::not_after(&files.certificate);
    Some(ListenerTls { files, server, not_after })
}

#[cfg(test)]
impl ListenerTls {
    /// Reads the files.
    pub(crate) fn of_files(files: TlsFiles) -> ListenerTls {
        ListenerTls { server: tls::server(&files), files, not_after: None }
    }
}
