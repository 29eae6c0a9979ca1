//! The caller of a request: a recipient, identified by API key, signed token or client certificate.
//!
//! The registry holds hashes of keys, public keys of issuers and names of certificates, never a key that could be
//! presented. Invariant: all credentials of one request name the same recipient and the same person.

pub mod key_set;
pub mod published_keys;
pub mod registered;
mod signature;
pub mod token;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use jiff::Timestamp;

use self::token::{TokenPattern, Tokens};
use crate::credentials::{KeyHash, hash};
use crate::exchange::Refusal;
use crate::vocabulary::{ActorId, KindId, PurposeId, SubjectId, Tree};

/// Headers that carry a credential. They are forwarded only where a route says so, and `Proxy-Authorization` never.
pub const CREDENTIAL_HEADERS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, HeaderName::from_static("x-api-key")];

/// The recipient that credentials identify, and the terms of the credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// Position in the snapshot's list of recipients.
    pub recipient: usize,
    /// The one purpose that the credential is locked to.
    pub locked_purpose: Option<PurposeId>,
    /// The persons and the controller that the credential names.
    pub identity: Identity,
    /// The end of the credential's validity, if it has one.
    pub valid_until: Option<Timestamp>,
}

/// The kind of holder that the credentials of a recipient have to name. If they name one, each caller of the recipient is
/// another person or acts for another account, and what one received is not for the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    /// The data subject itself.
    DataSubject,
    /// The account whose administrator the caller is.
    CustomerAdministrator,
    /// None: the callers are one recipient.
    Other,
}

impl HolderKind {
    /// Returns the kind of holder that recipients of a kind have.
    pub fn of(kind: KindId, kinds: &Tree<KindId>) -> HolderKind {
        let is = |name| kinds.find(name).is_some_and(|ancestor| kinds.within(kind, ancestor));
        match () {
            () if is("data-subject") => HolderKind::DataSubject,
            () if is("customer-administrator") => HolderKind::CustomerAdministrator,
            () => HolderKind::Other,
        }
    }
}

/// The persons and the controller that the claims of a token name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The data subject that the caller is.
    pub subject: Option<SubjectId>,
    /// The controller that the caller acts for.
    pub controller: Option<SubjectId>,
    /// The member of the recipient's staff that the caller is.
    pub actor: Option<ActorId>,
}

impl Identity {
    /// Combines the identities of two credentials; `None` if they contradict each other.
    fn combine(self, other: Identity) -> Option<Identity> {
        fn either<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
            let agree = one.is_none() || other.is_none() || one == other;
            agree.then(|| one.or(other))
        }
        Some(Identity {
            subject: either(self.subject, other.subject)?,
            controller: either(self.controller, other.controller)?,
            actor: either(self.actor, other.actor)?,
        })
    }
}

/// A name of a client certificate. The type is part of the name, so that an authority for DNS names cannot issue a URI
/// that identifies a recipient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum CertificateName {
    /// A URI, such as a SPIFFE id.
    Uri(String),
    /// A DNS name.
    Dns(String),
    /// An e-mail address.
    Email(String),
}

impl CertificateName {
    /// Reads the name of a registration. Its form determines the type: a text that begins with a scheme is a URI, another
    /// text with an `@` is an e-mail address, any other is a DNS name.
    pub fn of_registration(name: &str) -> CertificateName {
        // RFC 3986, 3.1.
        let is_scheme = |scheme: &str| {
            scheme.starts_with(|first: char| first.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
        };
        match name.split_once(':') {
            Some((scheme, _)) if is_scheme(scheme) => CertificateName::Uri(name.to_owned()),
            _ if name.contains('@') => CertificateName::Email(name.to_owned()),
            _ => CertificateName::Dns(name.to_owned()),
        }
    }
}

/// A verified client certificate: the names in its subject alternative name, and its end. An extension of the request.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificate {
    /// The names of the subject alternative name.
    pub names: Arc<[CertificateName]>,
    /// The first instant at which the certificate is no longer valid.
    pub valid_until: Option<Timestamp>,
}

/// All registered credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    keys: HashMap<KeyHash, Caller>,
    certificates: HashMap<CertificateName, Caller>,
    tokens: Tokens,
}

impl Credentials {
    /// A set without keys and certificates, which accepts tokens of the issuers in `tokens`.
    pub fn new(tokens: Tokens) -> Credentials {
        Credentials { tokens, ..Credentials::default() }
    }

    /// Registers the pattern of a recipient's tokens. Returns the caller of an earlier registration, if there is one.
    pub fn register_token(&mut self, pattern: TokenPattern) -> Option<Caller> {
        self.tokens.register(pattern)
    }

    /// Returns the URL of each token issuer whose keys are fetched, with the time since they were, at this time of the machine.
    /// `None` if there are none yet.
    pub fn issuer_key_ages(&self, machine: Duration) -> impl Iterator<Item = (&str, Option<Duration>)> {
        self.tokens.key_ages(machine)
    }

    /// Registers the hash of a key. Returns the caller of an earlier registration, if there is one.
    pub fn register_key(&mut self, hash: KeyHash, caller: Caller) -> Option<Caller> {
        self.keys.insert(hash, caller)
    }

    /// Registers the name of a certificate. Returns the caller of an earlier registration, if there is one.
    pub fn register_certificate(&mut self, name: CertificateName, caller: Caller) -> Option<Caller> {
        self.certificates.insert(name, caller)
    }

    /// True if a recipient registers a key with this hash.
    pub fn has_key(&self, hash: &KeyHash) -> bool {
        self.keys.contains_key(hash)
    }

    /// Identifies the caller by all credentials of a request.
    ///
    /// # Errors
    /// [`Refusal::CredentialMissing`] if there is none; [`Refusal::CredentialInvalid`] if one is unknown or has
    /// ended, or two disagree. A verified certificate that is not registered is no credential.
    pub fn identify(
        &self,
        headers: &HeaderMap,
        peer: Option<&PeerCertificate>,
        now: Timestamp,
    ) -> Result<Caller, Refusal> {
        let mut caller: Option<Caller> = None;
        for presented in presented_credentials(headers) {
            caller = Some(combine(caller, self.identify_text(presented?, now)?)?);
        }
        if let Some(PeerCertificate { names, valid_until: until }) = peer {
            if until.is_some_and(|until| until <= now) {
                // The certificate was valid when the connection began, and has expired since.
                return Err(Refusal::CredentialInvalid);
            }
            for named in names.iter().filter_map(|name| self.certificates.get(name)) {
                caller = Some(combine(caller, Caller { valid_until: *until, ..named.clone() })?);
            }
        }
        caller.ok_or(Refusal::CredentialMissing)
    }

    /// Identifies a presented credential: as a registered key of any form, or else as a token.
    fn identify_text(&self, presented: &[u8], now: Timestamp) -> Result<Caller, Refusal> {
        if let Some(known) = self.keys.get(&hash(presented)) {
            return Ok(known.clone());
        }
        let text = std::str::from_utf8(presented).map_err(|_| Refusal::CredentialInvalid)?;
        if token::is_token(text) { self.tokens.identify(text, now) } else { Err(Refusal::CredentialInvalid) }
    }
}

/// Combines two credentials of one request, which must name the same recipient. If one of them is locked to a purpose,
/// both are.
///
/// # Errors
/// [`Refusal::CredentialInvalid`] if they disagree.
pub(super) fn combine(earlier: Option<Caller>, named: Caller) -> Result<Caller, Refusal> {
    let Some(earlier) = earlier else { return Ok(named) };
    let locks_agree = earlier.locked_purpose.is_none()
        || named.locked_purpose.is_none()
        || earlier.locked_purpose == named.locked_purpose;
    if earlier.recipient != named.recipient || !locks_agree {
        return Err(Refusal::CredentialInvalid);
    }
    Ok(Caller {
        recipient: named.recipient,
        locked_purpose: earlier.locked_purpose.or(named.locked_purpose),
        identity: earlier.identity.combine(named.identity).ok_or(Refusal::CredentialInvalid)?,
        valid_until: earlier.valid_until.into_iter().chain(named.valid_until).min(),
    })
}

fn presented_credentials(headers: &HeaderMap) -> impl Iterator<Item = Result<&[u8], Refusal>> {
    let bearer = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let bytes = value.as_bytes();
        let (scheme, token) = bytes.split_at_checked(7).ok_or(Refusal::CredentialInvalid)?;
        if scheme.eq_ignore_ascii_case(b"bearer ") {
            Ok(token.trim_ascii())
        } else {
            Err(Refusal::CredentialInvalid)
        }
    });
    let keys = headers.get_all("x-api-key").iter().map(|value| Ok(value.as_bytes()));
    bearer.chain(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registered() -> Credentials {
        let mut credentials = Credentials::default();
        let locked = Caller { recipient: 1, locked_purpose: Some(PurposeId(3)), ..Caller::default() };
        credentials.register_key(hash(b"pgk_a_1"), Caller::default());
        credentials.register_key(hash(b"pgk_b_1"), locked);
        for name in ["spiffe://x/a", "partner.example", "ops@partner.example"] {
            credentials.register_certificate(CertificateName::of_registration(name), Caller::default());
        }
        credentials
    }

    fn identify(headers: &[(&'static str, &str)], peer: &[&str]) -> Result<Caller, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let names = peer.iter().map(|name| CertificateName::of_registration(name)).collect();
        registered().identify(
            &map,
            Some(&PeerCertificate { names, valid_until: None }),
            Timestamp::UNIX_EPOCH,
        )
    }

    #[test]
    fn the_form_of_a_registered_name_determines_its_type() {
        use CertificateName::{Dns, Email, Uri};
        type Make = fn(String) -> CertificateName;
        let cases: [(&str, Make); 9] = [
            ("spiffe://x/a", Uri),
            ("https://user@partner.example/", Uri),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", Uri),
            ("mailto:ops@partner.example", Uri),
            ("ops@partner.example", Email),
            ("\"a:b\"@partner.example", Email),
            ("partner.example", Dns),
            ("*.partner.example", Dns),
            ("1a:b", Dns),
        ];
        for (name, make) in cases {
            assert_eq!(CertificateName::of_registration(name), make(name.to_owned()), "{name}");
        }
    }

    #[test]
    fn a_registered_name_matches_only_names_of_its_type() {
        let matches = |name: CertificateName| {
            let peer = PeerCertificate { names: [name].into(), valid_until: None };
            registered().identify(&HeaderMap::new(), Some(&peer), Timestamp::UNIX_EPOCH).is_ok()
        };
        type Make = fn(String) -> CertificateName;
        let types: [Make; 3] = [CertificateName::Uri, CertificateName::Dns, CertificateName::Email];
        for (name, own) in [("spiffe://x/a", 0), ("partner.example", 1), ("ops@partner.example", 2)] {
            for (at, make) in types.iter().enumerate() {
                assert_eq!(matches(make(name.to_owned())), at == own, "{name} {at}");
            }
        }
    }

    #[test]
    fn a_certificate_is_valid_until_its_end_beside_other_credentials_too() {
        let until = Timestamp::from_second(100).unwrap();
        let names: Arc<[_]> = [CertificateName::of_registration("spiffe://x/a")].into();
        let at = |second: i64, headers: &HeaderMap| {
            let peer = PeerCertificate { names: Arc::clone(&names), valid_until: Some(until) };
            registered().identify(headers, Some(&peer), Timestamp::from_second(second).unwrap())
        };
        let key = HeaderMap::from_iter([("x-api-key".parse().unwrap(), "pgk_a_1".parse().unwrap())]);
        for headers in [&HeaderMap::new(), &key] {
            assert_eq!(at(99, headers).unwrap().valid_until, Some(until));
            assert_eq!(at(100, headers), Err(Refusal::CredentialInvalid));
        }
    }

    #[test]
    fn a_key_or_a_certificate_identifies_the_recipient() {
        let staff = Ok(Caller::default());
        assert_eq!(identify(&[("authorization", "Bearer pgk_a_1")], &[]), staff);
        assert_eq!(identify(&[("x-api-key", "pgk_a_1")], &[]), staff);
        assert_eq!(identify(&[], &["spiffe://x/a"]), staff);
        assert_eq!(identify(&[("x-api-key", "pgk_a_1")], &["spiffe://x/a"]), staff);
        assert_eq!(identify(&[("x-api-key", "pgk_a_1")], &["spiffe://x/unregistered"]), staff);
        assert_eq!(identify(&[("x-api-key", "pgk_b_1")], &[]).unwrap().locked_purpose, Some(PurposeId(3)));
    }

    #[test]
    fn unknown_or_contradicting_credentials_are_invalid() {
        let invalid = Err(Refusal::CredentialInvalid);
        assert_eq!(identify(&[], &[]), Err(Refusal::CredentialMissing));
        assert_eq!(identify(&[], &["spiffe://x/unregistered"]), Err(Refusal::CredentialMissing));
        assert_eq!(identify(&[("x-api-key", "pgk_c_1")], &["spiffe://x/a"]), invalid);
        assert_eq!(identify(&[("x-api-key", "pgk_b_1")], &["spiffe://x/a"]), invalid);
        assert_eq!(identify(&[("x-api-key", "pgk_b_1"), ("authorization", "Bearer pgk_a_1")], &[]), invalid);
        assert_eq!(identify(&[("authorization", "Basic YTpi")], &[]), invalid);
        assert_eq!(identify(&[("authorization", "Bearer")], &[]), invalid);
    }
}
