//! Who asks: a recipient, by API key or by client certificate.
//!
//! It knows hashes of keys and names of certificates, never a key. Two credentials of one request
//! must name the same recipient.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, header};
use sha2::{Digest, Sha256};

use super::Refusal;
use crate::vocabulary::PurposeId;

/// Header names that carry a credential; removed before the upstream.
pub const CREDENTIAL_HEADERS: [HeaderName; 3] =
    [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, HeaderName::from_static("x-api-key")];

/// SHA-256 of a whole presented key.
pub type KeyHash = [u8; 32];

/// The hash under which a presented key is registered.
pub fn hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}

/// What a credential stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Position in the snapshot's list of recipients.
    pub recipient: usize,
    /// The one purpose the credential is locked to.
    pub locked: Option<PurposeId>,
}

/// The names (URI, DNS, e-mail) in a verified client certificate's subject alternative name.
#[derive(Clone, Debug, Default)]
pub struct PeerNames(pub Arc<[String]>);

/// All registered credentials.
#[derive(Debug, Default)]
pub struct Credentials {
    keys: HashMap<KeyHash, Caller>,
    certificates: HashMap<String, Caller>,
}

impl Credentials {
    /// Registers a key's hash; the earlier caller where it was registered before.
    pub fn register_key(&mut self, hash: KeyHash, caller: Caller) -> Option<Caller> {
        self.keys.insert(hash, caller)
    }

    /// Registers a certificate's name; the earlier caller where it was registered before.
    pub fn register_certificate(&mut self, name: String, caller: Caller) -> Option<Caller> {
        self.certificates.insert(name, caller)
    }

    /// Who presents these credentials.
    ///
    /// # Errors
    /// [`Refusal::CredentialMissing`] where there is none, [`Refusal::CredentialInvalid`] where one is
    /// unknown or two disagree. A verified certificate that nobody registered names nobody.
    pub fn identify(&self, headers: &HeaderMap, peer: Option<&PeerNames>) -> Result<Caller, Refusal> {
        let mut caller: Option<Caller> = None;
        for key in presented_keys(headers) {
            let named = self.keys.get(&hash(key?)).ok_or(Refusal::CredentialInvalid)?;
            caller = Some(agree(caller, *named)?);
        }
        for name in peer.into_iter().flat_map(|names| names.0.iter()) {
            if let Some(named) = self.certificates.get(name) {
                caller = Some(agree(caller, *named)?);
            }
        }
        caller.ok_or(Refusal::CredentialMissing)
    }
}

/// Two credentials name the same recipient; a purpose that one is locked to locks both.
fn agree(earlier: Option<Caller>, named: Caller) -> Result<Caller, Refusal> {
    let Some(earlier) = earlier else { return Ok(named) };
    let locks_agree = earlier.locked.is_none() || named.locked.is_none() || earlier.locked == named.locked;
    if earlier.recipient != named.recipient || !locks_agree {
        return Err(Refusal::CredentialInvalid);
    }
    Ok(Caller { recipient: named.recipient, locked: earlier.locked.or(named.locked) })
}

fn presented_keys(headers: &HeaderMap) -> impl Iterator<Item = Result<&[u8], Refusal>> {
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn registered() -> Credentials {
        let mut credentials = Credentials::default();
        credentials.register_key(hash(b"pgk_a_1"), Caller { recipient: 0, locked: None });
        credentials.register_key(hash(b"pgk_b_1"), Caller { recipient: 1, locked: Some(PurposeId(3)) });
        credentials.register_certificate("spiffe://x/a".into(), Caller { recipient: 0, locked: None });
        credentials
    }

    fn ask(headers: &[(&'static str, &str)], peer: &[&str]) -> Result<Caller, Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        let names = PeerNames(peer.iter().map(ToString::to_string).collect());
        registered().identify(&map, Some(&names))
    }

    #[test]
    fn a_key_or_a_certificate_names_the_recipient() {
        let staff = Ok(Caller { recipient: 0, locked: None });
        assert_eq!(ask(&[("authorization", "Bearer pgk_a_1")], &[]), staff);
        assert_eq!(ask(&[("x-api-key", "pgk_a_1")], &[]), staff);
        assert_eq!(ask(&[], &["spiffe://x/a"]), staff);
        assert_eq!(ask(&[("x-api-key", "pgk_a_1")], &["spiffe://x/a"]), staff);
        assert_eq!(ask(&[("x-api-key", "pgk_a_1")], &["spiffe://x/unregistered"]), staff);
        assert_eq!(ask(&[("x-api-key", "pgk_b_1")], &[]).unwrap().locked, Some(PurposeId(3)));
    }

    #[test]
    fn unknown_or_contradicting_credentials_name_nobody() {
        let invalid = Err(Refusal::CredentialInvalid);
        assert_eq!(ask(&[], &[]), Err(Refusal::CredentialMissing));
        assert_eq!(ask(&[], &["spiffe://x/unregistered"]), Err(Refusal::CredentialMissing));
        assert_eq!(ask(&[("x-api-key", "pgk_c_1")], &["spiffe://x/a"]), invalid);
        assert_eq!(ask(&[("x-api-key", "pgk_b_1")], &["spiffe://x/a"]), invalid);
        assert_eq!(ask(&[("x-api-key", "pgk_b_1"), ("authorization", "Bearer pgk_a_1")], &[]), invalid);
        assert_eq!(ask(&[("authorization", "Basic YTpi")], &[]), invalid);
        assert_eq!(ask(&[("authorization", "Bearer")], &[]), invalid);
    }
}
