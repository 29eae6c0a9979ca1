//! Client certificates that must not be accepted: a corpus of bad ones, and revocation lists.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use purposegate::config::{self, roots};
use purposegate::credentials::development;
use purposegate::finding::Finding;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::fixtures::{CUSTOMER_ROUTES, NOTICE, person};
use crate::gateway::{TestGateway, base};
use crate::http;
use crate::upstream::Upstream;

const NAME: &str = "partner.example";
const DAY: Duration = Duration::from_secs(86_400);

/// An authority, and the certificates between its own and those of its clients, the nearest first.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
    between: Vec<CertificateDer<'static>>,
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    pub(crate) fn root(name: &str) -> Authority {
        let (params, key) = (authority_params(name), KeyPair::generate().unwrap());
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { issuer: Issuer::new(params, key), pem, between: Vec::new() }
    }

    /// An authority below this one.
    fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let (mut params, key) = (authority_params(name), KeyPair::generate().unwrap());
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let between = [vec![certificate.der().clone()], self.between.clone()].concat();
        Authority { issuer: Issuer::new(params, key), pem: String::new(), between }
    }

    fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Client {
        let (mut params, key) = (CertificateParams::new(Vec::new()).unwrap(), KeyPair::generate().unwrap());
        params.subject_alt_names = vec![SanType::DnsName(NAME.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = [vec![certificate.der().clone()], self.between.clone()].concat();
        Client { chain, key: PrivateKeyDer::try_from(key.serialize_der()).unwrap() }
    }

    /// Writes a revocation list that was issued two days before it expires.
    pub(crate) fn revoke(&self, file: &Path, serials: &[u64], expires: SystemTime) {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: (SystemTime::now() - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: (expires - 2 * DAY).into(),
            next_update: expires.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(file, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
    }
}

struct Client {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

struct Listener {
    _upstream: Upstream,
    gateway: TestGateway,
    certificates: tempfile::TempDir,
}

/// The configuration of a listener that accepts certificates of `ca.pem` in this folder, with further keys of its TLS.
fn listener(upstream: &Upstream, folder: &Path, keys: &str) -> String {
    let file = |name: &str| folder.join(name);
    let tls = format!(
        "[listener.tls]\ncertificate = {:?}\nkey = {:?}\nclient-ca = {:?}\n{keys}\n[admin]",
        file("server.pem"),
        file("server.key"),
        file("clients.pem")
    );
    let partner = format!(
        "[[recipient]]\nname = \"partner\"\nkind = \"employee\"\ncountry = \"DE\"\npurposes = [\"customer-support\"]\ncredentials = [{{ certificate = \"{NAME}\" }}]\n"
    );
    format!("{}{partner}{CUSTOMER_ROUTES}", base(upstream.address).replace("[admin]", &tls))
}

impl Listener {
    fn start(certificates: tempfile::TempDir, roots: &[&Authority], keys: &str) -> Listener {
        let upstream = Upstream::start();
        upstream.json("/customers/p-1", &person("p-1"));
        development::make(certificates.path(), &[]).unwrap();
        let pem: String = roots.iter().map(|root| root.pem.as_str()).collect();
        std::fs::write(certificates.path().join("clients.pem"), pem).unwrap();
        let gateway = TestGateway::start(&listener(&upstream, certificates.path(), keys));
        gateway.record_event("p-1", NOTICE);
        Listener { _upstream: upstream, gateway, certificates }
    }

    /// The status of the answer to a client; 0 if TLS refused it.
    fn ask(&self, client: &Client) -> u16 {
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&self.certificates.path().join("ca.pem")).unwrap())
            .with_client_auth_cert(client.chain.clone(), client.key.clone_key())
            .unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut stream = rustls::StreamOwned::new(connection, http::connect(self.gateway.address));
        let request = "GET /customers/p-1 HTTP/1.1\r\nhost: localhost\r\ndata-purpose: customer-support\r\nconnection: close\r\n\r\n";
        let mut answer = Vec::new();
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_end(&mut answer);
        http::parse(&answer).status
    }
}

#[test]
fn bad_client_certificates_are_refused() {
    let root = Authority::root("root");
    let listener = Listener::start(tempfile::tempdir().unwrap(), &[&root], "");
    let now = SystemTime::now();
    let same = |_: &mut CertificateParams| {};
    let below = root.below("below", same);
    for (client, what) in [(root.client(same), "of the root"), (below.client(same), "below the root")] {
        assert_eq!(listener.ask(&client), 200, "{what}");
    }
    let mut forged = root.client(same);
    let mut der = forged.chain[0].to_vec();
    *der.last_mut().unwrap() ^= 1;
    forged.chain[0] = der.into();
    let deep = (0..8).fold(root.below("deep", same), |above, at| above.below(&format!("deep {at}"), same));
    let constrained = |names: NameConstraints| {
        root.below("constrained", |params| params.name_constraints = Some(names)).client(same)
    };
    let subtree = |name: &str| vec![GeneralSubtree::DnsName(name.to_owned())];
    for (client, what) in [
        (root.client(|params| params.not_after = (now - DAY).into()), "expired"),
        (root.client(|params| params.not_before = (now + DAY).into()), "not yet valid"),
        (
            root.client(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            "for servers",
        ),
        (root.client(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "of an authority"),
        (Authority::root("another").client(same), "of another authority"),
        (Authority::root("root").client(same), "of another authority of the same name"),
        (root.below("below", |params| params.is_ca = IsCa::ExplicitNoCa).client(same), "issuer without CA"),
        (root.below("below", |params| params.is_ca = IsCa::NoCa).client(same), "issuer without constraints"),
        (root.below("below", |params| params.not_after = (now - DAY).into()).client(same), "expired issuer"),
        (
            root.below("first", |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)))
                .below("second", same)
                .client(same),
            "longer path than permitted",
        ),
        (deep.client(same), "too deep"),
        (
            constrained(NameConstraints {
                permitted_subtrees: subtree("other.example"),
                excluded_subtrees: Vec::new(),
            }),
            "name that is not permitted",
        ),
        (
            constrained(NameConstraints { permitted_subtrees: Vec::new(), excluded_subtrees: subtree(NAME) }),
            "excluded name",
        ),
        (forged, "forged signature"),
    ] {
        assert_eq!(listener.ask(&client), 0, "{what}");
    }
    // The certificate is accepted, and the name identifies nobody.
    let name = |name: &str| vec![SanType::DnsName(name.try_into().unwrap())];
    for names in [name("partner.example\0.evil.example"), name("partner.example."), Vec::new()] {
        let client = root.client(|params| {
            params.distinguished_name.push(DnType::CommonName, NAME);
            params.subject_alt_names = names.clone();
        });
        assert_eq!(listener.ask(&client), 401, "{names:?}");
    }
    let metrics = listener.gateway.metrics();
    let counted =
        "purposegate_connections_failed_total{listener=\"127.0.0.1:0\",reason=\"tls-handshake\"} 14";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn only_certificates_that_are_known_not_to_be_revoked_are_accepted() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let certificates = tempfile::tempdir().unwrap();
    let list = certificates.path().join("root.crl");
    root.revoke(&list, &[7], SystemTime::now() + DAY);
    let keys = format!("crl = [{list:?}]");
    let listener = Listener::start(certificates, &[&root, &other], &keys);
    let numbered = |authority: &Authority, number: u64| {
        authority.client(|params| params.serial_number = Some(SerialNumber::from(number)))
    };
    let below = root.below("below", |params| params.serial_number = Some(SerialNumber::from(9)));
    for (client, expected, what) in [
        (numbered(&root, 8), 200, "not revoked"),
        (numbered(&root, 7), 0, "revoked"),
        (numbered(&other, 8), 0, "of an authority without a list"),
        (numbered(&below, 8), 0, "of an issuer without a list"),
    ] {
        assert_eq!(listener.ask(&client), expected, "{what}");
    }
    let metrics = listener.gateway.metrics();
    assert!(metrics.contains("purposegate_crl_next_update_timestamp_seconds{listener=\"127.0.0.1:0\"} "));
}

#[test]
fn certificates_are_refused_after_the_list_has_expired() {
    let root = Authority::root("root");
    let certificates = tempfile::tempdir().unwrap();
    let list = certificates.path().join("root.crl");
    root.revoke(&list, &[], SystemTime::now() - DAY);
    let listener = Listener::start(certificates, &[&root], &format!("crl = [{list:?}]"));
    assert_eq!(listener.ask(&root.client(|_| {})), 0);
}

#[test]
fn check_finds_lists_that_make_certificates_unusable() {
    let (root, other) = (Authority::root("root"), Authority::root("other"));
    let folder = tempfile::tempdir().unwrap();
    development::make(folder.path(), &[]).unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("clients.pem"), format!("{}{}", root.pem, other.pem)).unwrap();
    root.revoke(&file("root.crl"), &[], SystemTime::now() + DAY);
    other.revoke(&file("other.crl"), &[], SystemTime::now() + DAY);
    other.revoke(&file("expired.crl"), &[], SystemTime::now() - DAY);
    std::fs::write(file("empty.crl"), "").unwrap();
    let upstream = Upstream::start();
    let found = |lists: &[&str]| {
        let lists: Vec<_> = lists.iter().map(|list| file(list)).collect();
        let text = listener(&upstream, folder.path(), &format!("crl = {lists:?}"));
        std::fs::write(file("purposegate.toml"), text).unwrap();
        let (_, findings) = config::load(&file("purposegate.toml"));
        let said = findings.iter().filter(|finding| finding.is_error() || finding.is_warning());
        let of_tls = ["crl-expired", "authority-without-crl", "bad-tls", "no-such-file", "missing-key"];
        said.map(Finding::code).filter(|code| of_tls.contains(code)).collect::<Vec<_>>()
    };
    assert_eq!(found(&[]), [""; 0]);
    assert_eq!(found(&["root.crl", "other.crl"]), [""; 0]);
    assert_eq!(found(&["root.crl"]), ["authority-without-crl"]);
    assert_eq!(found(&["root.crl", "expired.crl"]), ["crl-expired"]);
    assert_eq!(found(&["root.crl", "other.crl", "empty.crl"]), ["bad-tls"]);
    assert_eq!(found(&["root.crl", "ca.pem"]), ["bad-tls"]);
    assert_eq!(found(&["root.crl", "none.crl"]), ["no-such-file"]);
}
