//! TLS to an upstream: authorities, client certificate and the name that the server's certificate must have.

use std::fmt;
use std::ops::Range;
#[cfg(feature = "gateway")]
use std::sync::Arc;

#[cfg(feature = "gateway")]
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::urls::{UpstreamOrigin, UpstreamUrls, host};
use crate::config::Part;
use crate::config::files::existing;
#[cfg(feature = "gateway")]
use crate::config::tls::TlsError;
use crate::config::tls_client::ClientTlsFiles;
use crate::document::{At, Document, Fields};
use crate::finding::Finding;

/// Hint for files of TLS.
const FILES: &str =
    "`ca`, `client-certificate` and `client-key` are PEM files; the key is that of the first certificate";

/// TLS to an upstream: the files, and their content when they were read.
#[derive(Clone)]
pub struct UpstreamTls {
    /// Paths of the files.
    pub files: ClientTlsFiles,
    /// The TLS configuration made of the files, with HTTP/2 and HTTP/1.1 by ALPN. An error is also a finding.
    #[cfg(feature = "gateway")]
    pub client: Result<Arc<ClientConfig>, TlsError>,
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamTls").field("files", &self.files).finish_non_exhaustive()
    }
}

/// The keys that only an upstream with `https://` has.
struct TlsKeys<'d> {
    ca: Option<At<&'d str>>,
    certificate: Option<At<&'d str>>,
    key: Option<At<&'d str>>,
    server_name: Option<At<&'d str>>,
}

/// Reads the keys about TLS. Returns the origins with the name that each certificate must have.
pub(super) fn read(
    part: &Part<'_>,
    fields: &mut Fields<'_>,
    urls: Option<&UpstreamUrls>,
) -> (Option<UpstreamTls>, Vec<UpstreamOrigin>) {
    let keys = TlsKeys {
        ca: fields.text("ca"),
        certificate: fields.text("client-certificate"),
        key: fields.text("client-key"),
        server_name: fields.text("server-name"),
    };
    let Some(urls) = urls else { return (None, Vec::new()) };
    if !urls.is_https {
        report_unused(fields.document(), keys);
        let plaintext = |authority| UpstreamOrigin { authority, server_name: None };
        return (None, urls.authorities.iter().cloned().map(plaintext).collect());
    }
    let names = server_names(fields.document(), urls, keys.server_name.as_ref());
    let origins = urls.authorities.iter().cloned().zip(names);
    let origins = origins.map(|(authority, name)| UpstreamOrigin { authority, server_name: Some(name) });
    let origins = origins.collect();
    (files(part, fields, keys).and_then(|files| build(fields.document(), files, &urls.at)), origins)
}

/// Reports keys that have no effect on an upstream without TLS.
fn report_unused(document: &Document<'_>, keys: TlsKeys<'_>) {
    let TlsKeys { ca, certificate, key, server_name } = keys;
    for (name, value) in
        [("ca", ca), ("client-certificate", certificate), ("client-key", key), ("server-name", server_name)]
    {
        let Some(value) = value else { continue };
        let finding = Finding::error("misplaced-key", format!("`{name}` has no effect without TLS"));
        let hint = "write `https://` in the URL, or take the key out";
        document.find(finding.label("no effect").hint(hint), value.at);
    }
}

/// Returns the name that the certificate of each address must have: `server-name`, or the URL's host.
fn server_names(
    document: &Document<'_>,
    urls: &UpstreamUrls,
    configured: Option<&At<&str>>,
) -> Vec<ServerName<'static>> {
    let name = |text: &str, at: &Range<usize>| {
        let name = ServerName::try_from(text.to_owned()).ok();
        if name.is_none() {
            let words = format!("no certificate can be for the name `{text}`");
            let hint = "write a host name or an IP address, without port: `server-name = \"crm.internal\"`";
            document.find(Finding::error("bad-server-name", words).hint(hint), at.clone());
        }
        name
    };
    match configured {
        Some(configured) => {
            let name = name(configured.value, &configured.at);
            urls.authorities.iter().filter_map(|_| name.clone()).collect()
        }
        None => urls.authorities.iter().filter_map(|authority| name(host(authority), &urls.at)).collect(),
    }
}

/// Returns the paths of the files. `None` if one is missing.
fn files(part: &Part<'_>, fields: &Fields<'_>, keys: TlsKeys<'_>) -> Option<ClientTlsFiles> {
    match (&keys.certificate, &keys.key) {
        (Some(_), None) => fields.missing("client-key"),
        (None, Some(_)) => fields.missing("client-certificate"),
        _ => {}
    }
    let [ca, certificate, key] = [keys.ca, keys.certificate, keys.key]
        .map(|file| file.map(|file| existing(part, &file, "it is a PEM file")));
    let are_there = ![&ca, &certificate, &key].contains(&&Some(None));
    let identity = certificate.flatten().zip(key.flatten());
    are_there.then_some(ClientTlsFiles { ca: ca.flatten(), identity })
}

#[cfg(feature = "gateway")]
fn build(document: &Document<'_>, files: ClientTlsFiles, at: &Range<usize>) -> Option<UpstreamTls> {
    let client = crate::config::tls_client::client(&files).map(|client| {
        let mut client = ClientConfig::clone(&client);
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(client)
    });
    if let Err(error) = &client {
        let words = format!("TLS to the upstream cannot be set up: {error}");
        // A user who works on the ledger or tries a mapping need not be able to read the gateway's key.
        let finding = match error.denied {
            true => Finding::warning("unreadable-tls", words),
            false => Finding::error("bad-tls", words),
        };
        document.find(finding.label("to this upstream").hint(FILES), at.clone());
    }
    Some(UpstreamTls { files, client })
}

/// Without the gateway nothing connects to an upstream.
#[cfg(not(feature = "gateway"))]
fn build(_: &Document<'_>, files: ClientTlsFiles, _: &Range<usize>) -> Option<UpstreamTls> {
    let _ = FILES;
    Some(UpstreamTls { files })
}
