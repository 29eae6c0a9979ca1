//! The names in a client's certificate.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::layer::identity::PeerNames;

/// The names of a verified client certificate: its subject alternative names, never its common name.
pub(super) fn peer_names(certificate: &CertificateDer<'_>) -> PeerNames {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return PeerNames::default() };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return PeerNames::default() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(name) | GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => Some(*name),
        _ => None,
    });
    // A NUL inside a name has fooled comparisons before (Envoy CVE-2026-47778).
    PeerNames(names.filter(|name| !name.contains('\0')).map(str::to_owned).collect())
}
