//! The listener at which this machine asks a gateway for its readiness, for `health`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::files::FileText;
use super::{Part, section};
use crate::document::Document;
use crate::exchange::caller::Credentials;
use crate::finding::Finding;

/// A listener that serves `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusEndpoint {
    /// Its address, for this machine.
    pub address: SocketAddr,
    /// PEM file of its certificate. `None`: plaintext.
    pub certificate: Option<PathBuf>,
}

/// Returns the listener of `[probes]`, or else of `[admin]`. An address that stands for all interfaces is replaced by the
/// loopback of its family. No other section is read, so that this needs no policy, no key and no ledger.
///
/// # Errors
/// The findings about the file and these sections.
pub fn status_endpoint(file: &Path) -> Result<StatusEndpoint, Vec<Finding>> {
    let main = FileText::read(file).map_err(|finding| vec![finding])?;
    let document = Document::parse(&main.source);
    let mut part = Part { fields: document.root("the configuration"), folder: main.folder() };
    let admin = section::admin(&mut part, &Credentials::default());
    let probes = section::probes(&mut part, &[], &admin);
    let endpoint = match probes {
        Some(probes) => StatusEndpoint { address: local(probes.address), certificate: None },
        None => {
            let certificate = admin.tls.as_ref().map(|tls| tls.files.certificate.clone());
            StatusEndpoint { address: local(admin.address), certificate }
        }
    };
    drop(part);
    let errors: Vec<Finding> = document.into_findings().into_iter().filter(Finding::is_error).collect();
    if errors.is_empty() { Ok(endpoint) } else { Err(errors) }
}

fn local(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_asked_before_admin_and_on_the_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        let asked = |text: &str| {
            std::fs::write(&file, text).unwrap();
            status_endpoint(&file)
                .map(|endpoint| endpoint.address.to_string())
                .map_err(|findings| findings[0].code())
        };
        // The policy does not exist, and a key is unknown: neither is read.
        let other = "policy = \"nowhere\"\nunknown = 1\n";
        assert_eq!(asked(other).unwrap(), "127.0.0.1:9901");
        assert_eq!(asked(&format!("{other}[admin]\naddress = \"[::1]:7\"\n")).unwrap(), "[::1]:7");
        assert_eq!(asked("[probes]\naddress = \"0.0.0.0:9902\"\n").unwrap(), "127.0.0.1:9902");
        assert_eq!(asked("[probes]\naddress = \"[::]:9902\"\n").unwrap(), "[::1]:9902");
        assert_eq!(asked("[probes]\naddress = \"10.0.0.7:9902\"\n").unwrap(), "10.0.0.7:9902");
        assert_eq!(asked("[probes]\naddress = \"nowhere\"\n").unwrap_err(), "bad-address");
        assert_eq!(asked("[probes]\n").unwrap_err(), "missing-key");
        std::fs::remove_file(&file).unwrap();
        assert_eq!(status_endpoint(&file).unwrap_err()[0].code(), "unreadable-file");
    }
}
