//! A JSON Web Key Set (RFC 7517): the public keys of a token issuer, and the choice among them for a token.
//!
//! Invariant: a key verifies only algorithms of its own kind, so that a token cannot choose how it is verified.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Header};

/// Maximum number of keys of one issuer: each may be tried for a token that names no key.
pub const MAX_KEYS: usize = 16;

/// The keys of one issuer.
pub struct KeySet {
    keys: Vec<IssuerKey>,
    /// Digest of the text, by which a change is noticed.
    digest: [u8; 32],
}

impl std::fmt::Debug for KeySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeySet").field("keys", &self.keys.len()).finish_non_exhaustive()
    }
}

/// Reason for which a key set cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is not a key set.
    #[error("this is not a JSON Web Key Set (RFC 7517)")]
    Unreadable,
    /// It holds a symmetric key.
    #[error("the key set holds a shared secret: anybody who can verify a token could sign one")]
    SharedSecret,
    /// It holds no usable key.
    #[error("the key set holds no key that can verify a signature (RSA, P-256, P-384 or Ed25519)")]
    NoKey,
    /// It holds more keys than are tried.
    #[error("the key set holds more than {MAX_KEYS} keys")]
    TooMany,
}

impl KeySet {
    /// Reads a published key set.
    ///
    /// # Errors
    /// [`KeySetError`]
    pub fn parse(text: &str) -> Result<KeySet, KeySetError> {
        let set: JwkSet = serde_json::from_str(text).map_err(|_| KeySetError::Unreadable)?;
        let mut keys = Vec::new();
        for key in &set.keys {
            keys.extend(IssuerKey::read(key)?);
        }
        match keys.len() {
            0 => Err(KeySetError::NoKey),
            1..=MAX_KEYS => Ok(KeySet { keys, digest: *blake3::hash(text.as_bytes()).as_bytes() }),
            _ => Err(KeySetError::TooMany),
        }
    }

    /// Number of keys.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// True if both were read from the same text.
    pub(super) fn is_same(&self, other: &KeySet) -> bool {
        self.digest == other.digest
    }

    /// True if the token names a key that is not in the set.
    pub(super) fn lacks_key_of(&self, header: &Header) -> bool {
        header.kid.is_some() && self.keys.iter().all(|key| key.id != header.kid)
    }

    /// Returns the keys that a token with this header may be signed with.
    pub(super) fn fitting<'k>(&'k self, header: &'k Header) -> impl Iterator<Item = &'k DecodingKey> {
        let named = |key: &&IssuerKey| header.kid.is_none() || key.id == header.kid;
        let fits = |key: &&IssuerKey| {
            key.algorithms.contains(&header.alg)
                && key.algorithm.as_ref().is_none_or(|only| *only == format!("{:?}", header.alg))
        };
        self.keys.iter().filter(named).filter(fits).map(|key| &key.key)
    }
}

struct IssuerKey {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    /// The algorithm that the key set names for this key.
    algorithm: Option<String>,
    key: DecodingKey,
}

const RSA: &[Algorithm] = &[
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
];

impl IssuerKey {
    /// Reads a key for signatures; `None` for a key of another use or of an unknown kind.
    fn read(key: &Jwk) -> Result<Option<IssuerKey>, KeySetError> {
        if matches!(&key.common.public_key_use, Some(purpose) if *purpose != PublicKeyUse::Signature) {
            return Ok(None);
        }
        let algorithms = match &key.algorithm {
            AlgorithmParameters::RSA(_) => RSA,
            AlgorithmParameters::EllipticCurve(parameters) => match parameters.curve {
                EllipticCurve::P256 => &[Algorithm::ES256],
                EllipticCurve::P384 => &[Algorithm::ES384],
                _ => return Ok(None),
            },
            AlgorithmParameters::OctetKeyPair(parameters) if parameters.curve == EllipticCurve::Ed25519 => {
                &[Algorithm::EdDSA]
            }
            AlgorithmParameters::OctetKey(_) => return Err(KeySetError::SharedSecret),
            _ => return Ok(None),
        };
        let decoding = DecodingKey::from_jwk(key).map_err(|_| KeySetError::Unreadable)?;
        let algorithm = key.common.key_algorithm.as_ref().map(ToString::to_string);
        Ok(Some(IssuerKey { id: key.common.key_id.clone(), algorithms, algorithm, key: decoding }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn only_published_keys_for_signatures_make_a_key_set() {
        let read = |key_set: &Value| KeySet::parse(&key_set.to_string()).map(|_| ()).unwrap_err();
        assert_eq!(read(&json!({})), KeySetError::Unreadable);
        assert_eq!(read(&json!({ "keys": [] })), KeySetError::NoKey);
        assert_eq!(read(&json!({ "keys": [{ "kty": "oct", "k": "c2VjcmV0" }] })), KeySetError::SharedSecret);
        let encryption = json!({ "kty": "OKP", "crv": "Ed25519", "use": "enc", "x": "AAAA" });
        assert_eq!(read(&json!({ "keys": [encryption] })), KeySetError::NoKey);
        let many = vec![json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }); MAX_KEYS + 1];
        assert_eq!(read(&json!({ "keys": many })), KeySetError::TooMany);
    }
}
