//! Reads the names and the end of validity of a client certificate. rustls has verified it before.

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::exchange::caller::{CertificateName, PeerCertificate};

/// Returns the subject alternative names of a verified client certificate (never its common name) and the earliest end
/// of validity in `chain`, which begins with the client's own certificate.
///
/// A certificate that does not parse counts as expired and as one without names, so it identifies nobody.
pub(super) fn peer_names(chain: &[CertificateDer<'_>], now: Timestamp) -> PeerCertificate {
    let unreadable = || PeerCertificate { valid_until: Some(Timestamp::MIN), ..PeerCertificate::default() };
    let Some((own, issuers)) = chain.split_first() else { return unreadable() };
    let Ok((_, own)) = X509Certificate::from_der(own) else { return unreadable() };
    // An expired issuer certificate took no part in the verification.
    let issuers = issuers.iter().filter_map(|issuer| Some(end(&X509Certificate::from_der(issuer).ok()?.1)));
    let until = issuers.filter(|end| *end > now).chain([end(&own)]).min();
    PeerCertificate { names: names(&own).into(), valid_until: until }
}

/// Returns the first instant at which a certificate is no longer valid: `notAfter` is its last valid second.
fn end(certificate: &X509Certificate<'_>) -> Timestamp {
    let last = certificate.validity().not_after.timestamp();
    Timestamp::from_second(last.saturating_add(1)).unwrap_or(Timestamp::MAX)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<CertificateName> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let names = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(name) => Some((*name, CertificateName::Uri as fn(String) -> CertificateName)),
        GeneralName::DNSName(name) => Some((*name, CertificateName::Dns as _)),
        GeneralName::RFC822Name(name) => Some((*name, CertificateName::Email as _)),
        _ => None,
    });
    // A NUL inside a name has deceived comparisons in other proxies (Envoy CVE-2026-47778).
    names.filter(|(name, _)| !name.contains('\0')).map(|(name, make)| make(name.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn params(until: (i32, u8, u8)) -> CertificateParams {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.not_after = date_time_ymd(until.0, until.1, until.2);
        params
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn names_are_typed_and_the_earliest_end_of_the_chain_counts() {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = params((2031, 6, 1));
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let mut own = params((2032, 6, 1));
        own.subject_alt_names = vec![
            SanType::URI("spiffe://x/a".try_into().unwrap()),
            SanType::DnsName("partner.example".try_into().unwrap()),
            SanType::Rfc822Name("ops@partner.example".try_into().unwrap()),
            SanType::DnsName("spiffe.example\0.org".try_into().unwrap()),
        ];
        let own = own.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let chain = [own.der().clone(), ca_certificate.der().clone()];

        let alone = peer_names(&chain[..1], at("2030-01-01T00:00:00Z"));
        let names = [
            CertificateName::Uri("spiffe://x/a".to_owned()),
            CertificateName::Dns("partner.example".to_owned()),
            CertificateName::Email("ops@partner.example".to_owned()),
        ];
        assert_eq!(*alone.names, names);
        assert_eq!(alone.valid_until, Some(at("2032-06-01T00:00:01Z")), "valid in its last second");
        let together = peer_names(&chain, at("2030-01-01T00:00:00Z"));
        assert_eq!(together.valid_until, Some(at("2031-06-01T00:00:01Z")));
        let later = peer_names(&chain, at("2032-01-01T00:00:00Z"));
        assert_eq!(
            later.valid_until,
            Some(at("2032-06-01T00:00:01Z")),
            "an issuer that had ended was not needed"
        );
    }

    #[test]
    fn an_unreadable_certificate_has_no_names_and_has_ended() {
        for chain in [&[][..], &[CertificateDer::from(vec![1, 2, 3])]] {
            let peer = peer_names(chain, Timestamp::UNIX_EPOCH);
            assert!(peer.names.is_empty() && peer.valid_until == Some(Timestamp::MIN));
        }
    }
}
