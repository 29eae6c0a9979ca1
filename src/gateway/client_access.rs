//! The end of the access that a client certificate, or its absence, gave to a connection: the certificate expires, or the
//! listener's authorities and revocation lists no longer accept it.

use std::future::pending;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::config::{ClientAuthority, TlsServer};

/// Maximum wait before the wall clock is read again, as it may be set meanwhile.
const CLOCK_CHECK: Duration = Duration::from_secs(60);

/// The access of a TLS connection.
#[derive(Debug)]
pub(super) struct ClientAccess {
    /// TLS configuration of the listener, with the authorities whose certificates are accepted now.
    pub(super) tls: watch::Receiver<TlsServer>,
    /// Authorities that accepted the client.
    pub(super) authority: Option<ClientAuthority>,
    /// The client's chain of certificates; empty if it has shown none.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// End of the client's certificate.
    pub(super) until: Option<Timestamp>,
}

impl ClientAccess {
    /// Returns when the client would no longer be accepted.
    pub(super) async fn ends(self) {
        let ClientAccess { mut tls, mut authority, chain, until } = self;
        loop {
            // A list that expires may be another authority's.
            let list_expires =
                authority.as_ref().and_then(|authority| authority.next_expiry(Timestamp::now()));
            tokio::select! {
                () = instant_reached(until, Timestamp::now) => return,
                () = instant_reached(list_expires, Timestamp::now) => {}
                changed = tls.changed() => match changed {
                    Err(_) => return instant_reached(until, Timestamp::now).await,
                    Ok(()) => {
                        let now = tls.borrow_and_update().client_authority.clone();
                        if now == authority {
                            continue;
                        }
                        authority = now;
                    }
                }
            }
            if !is_accepted(authority.as_ref(), &chain) {
                return;
            }
        }
    }
}

fn is_accepted(authority: Option<&ClientAuthority>, chain: &[CertificateDer<'_>]) -> bool {
    match authority {
        Some(authority) => authority.accepts(chain, Timestamp::now()),
        None => chain.is_empty(),
    }
}

/// Returns when the wall clock reaches `until`.
async fn instant_reached(until: Option<Timestamp>, now: impl Fn() -> Timestamp) {
    let Some(until) = until else { return pending().await };
    loop {
        match Duration::try_from(until.duration_since(now())) {
            Ok(left) if !left.is_zero() => sleep(left.min(CLOCK_CHECK)).await,
            _ => return,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::PathBuf;
    use std::pin::pin;
    use std::time::SystemTime;

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    };

    use super::*;
    use crate::config::{TlsFiles, tls_server};

    const HOUR: Duration = Duration::from_secs(3600);

    /// An authority with a listener that accepts its certificates.
    pub(in crate::gateway) struct TestAuthority {
        folder: tempfile::TempDir,
        issuer: Issuer<'static, KeyPair>,
    }

    /// A client certificate.
    pub(in crate::gateway) struct TestClient {
        pub(in crate::gateway) chain: Vec<CertificateDer<'static>>,
        serial: SerialNumber,
    }

    impl TestAuthority {
        pub(in crate::gateway) fn new() -> TestAuthority {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.distinguished_name.push(DnType::CommonName, "test authority");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = params.self_signed(&key).unwrap();
            let folder = tempfile::tempdir().unwrap();
            std::fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
            std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
            TestAuthority { folder, issuer: Issuer::new(params, key) }
        }

        pub(in crate::gateway) fn client(&self) -> TestClient {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            let serial = SerialNumber::from(100);
            params.serial_number = Some(serial.clone());
            let certificate = params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap();
            TestClient { chain: vec![certificate.der().clone()], serial }
        }

        /// Writes a revocation list that was issued an hour before `next_update`.
        fn revoke(
            &self,
            name: &str,
            serials: &[&SerialNumber],
            next_update: SystemTime,
            in_pem: bool,
        ) -> PathBuf {
            let revoked = |serial: &&SerialNumber| RevokedCertParams {
                serial_number: (*serial).clone(),
                revocation_time: (SystemTime::now() - HOUR).into(),
                reason_code: None,
                invalidity_date: None,
            };
            let list = CertificateRevocationListParams {
                this_update: (next_update - 2 * HOUR).into(),
                next_update: next_update.into(),
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs: serials.iter().map(revoked).collect(),
                key_identifier_method: KeyIdMethod::Sha256,
            };
            let list = list.signed_by(&self.issuer).unwrap();
            let path = self.folder.path().join(name);
            let bytes = if in_pem { list.pem().unwrap().into_bytes() } else { list.der().to_vec() };
            std::fs::write(&path, bytes).unwrap();
            path
        }

        /// Returns the configuration of a listener that accepts this authority's certificates.
        pub(in crate::gateway) fn server(&self, client_required: bool, crls: &[PathBuf]) -> TlsServer {
            let file = |name: &str| self.folder.path().join(name);
            let files = TlsFiles {
                certificate: file("ca.pem"),
                key: file("key.pem"),
                client_ca: Some(file("ca.pem")),
                crls: crls.to_vec(),
                client_required,
            };
            tls_server(&files).unwrap()
        }
    }

    /// Returns true if the access ends when the listener changes.
    async fn ends(begun: &TlsServer, chain: &[CertificateDer<'static>], changed: &TlsServer) -> bool {
        let tls = watch::Sender::new(begun.clone());
        let access = ClientAccess {
            tls: tls.subscribe(),
            authority: begun.client_authority.clone(),
            chain: chain.to_vec(),
            until: None,
        };
        let mut ends = pin!(access.ends());
        assert!(futures_util::poll!(ends.as_mut()).is_pending());
        tls.send_replace(changed.clone());
        futures_util::poll!(ends.as_mut()).is_ready()
    }

    #[tokio::test]
    async fn a_reload_ends_the_access_of_clients_that_it_no_longer_accepts() {
        let (own, other) = (TestAuthority::new(), TestAuthority::new());
        let client = own.client();
        let begun = own.server(false, &[]);
        for (chain, changed, expected) in [
            (&client.chain[..], own.server(true, &[]), false),
            (&client.chain, other.server(false, &[]), true),
            (&[], other.server(false, &[]), false),
            (&[], own.server(true, &[]), true),
        ] {
            assert_eq!(ends(&begun, chain, &changed).await, expected);
        }
        // An authority is added.
        let both =
            [&own, &other].map(|authority| std::fs::read(authority.folder.path().join("ca.pem")).unwrap());
        std::fs::write(own.folder.path().join("ca.pem"), both.concat()).unwrap();
        let both = own.server(false, &[]);
        assert_ne!(both.client_authority, begun.client_authority);
        assert!(!ends(&begun, &client.chain, &both).await);
        // Client certificates are accepted no longer.
        let none = TlsServer { client_authority: None, ..begun.clone() };
        assert!(ends(&begun, &client.chain, &none).await);
        assert!(!ends(&begun, &[], &none).await);
    }

    #[tokio::test]
    async fn a_revoked_certificate_is_no_longer_accepted() {
        let (own, other) = (TestAuthority::new(), TestAuthority::new());
        let (client, revoked) = (own.client(), SerialNumber::from(7));
        let begun = own.server(false, &[]);
        let (now, soon) = (SystemTime::now(), SystemTime::now() + HOUR);
        for in_pem in [true, false] {
            let list = |name: &str, serials: &[&SerialNumber], end| own.revoke(name, serials, end, in_pem);
            let clean = list("clean", &[&revoked], soon);
            let current = list("current", &[&revoked, &client.serial], soon + HOUR);
            let expired = list("expired", &[], now - HOUR);
            let foreign = other.revoke("foreign", &[], soon, in_pem);
            for (lists, expected) in [
                (&[clean.clone()][..], false),
                (std::slice::from_ref(&current), true),
                // The newest list of an authority counts, whatever their order.
                (&[clean.clone(), current.clone()], true),
                (&[current.clone(), clean.clone()], true),
                (&[expired.clone(), clean.clone()], false),
                // The status is not known.
                (&[expired], true),
                (&[foreign], true),
            ] {
                assert_eq!(
                    ends(&begun, &client.chain, &own.server(false, lists)).await,
                    expected,
                    "{lists:?}"
                );
                assert!(!ends(&begun, &[], &own.server(false, lists)).await, "without a certificate");
            }
        }
    }

    #[tokio::test]
    async fn access_ends_when_the_revocation_list_expires() {
        let own = TestAuthority::new();
        let list = own.revoke("list", &[], SystemTime::now() + Duration::from_secs(2), true);
        let begun = own.server(false, &[list]);
        let tls = watch::Sender::new(begun.clone());
        let access = |chain| ClientAccess {
            tls: tls.subscribe(),
            authority: begun.client_authority.clone(),
            chain,
            until: None,
        };
        let mut anonymous = pin!(access(Vec::new()).ends());
        assert!(futures_util::poll!(anonymous.as_mut()).is_pending());
        access(own.client().chain).ends().await;
        assert!(futures_util::poll!(anonymous.as_mut()).is_pending());
    }

    #[tokio::test]
    async fn the_end_of_a_certificate_is_measured_by_the_wall_clock() {
        let at = |second| Timestamp::from_second(second).unwrap();
        instant_reached(Some(at(100)), || at(100)).await;
        let mut later = pin!(instant_reached(Some(at(100)), || at(99)));
        assert!(futures_util::poll!(later.as_mut()).is_pending());
        let mut never = pin!(instant_reached(None, || at(100)));
        assert!(futures_util::poll!(never.as_mut()).is_pending());
    }
}
