//! The signatures of tokens, verified by the same cryptography as TLS.
//!
//! The module uses public keys only and cannot sign. `jsonwebtoken` reads the token and makes sure that key and
//! algorithm belong together; ring verifies.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, signature};
use ring::signature::{
    self as scheme, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(ErrorKind::UnsupportedAlgorithm.into()),
    verifier_factory: |algorithm, key| Ok(Box::new(Verifier::new(*algorithm, key)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Installs ring as the provider of `jsonwebtoken`, once for the process. An application that installed another keeps it.
pub(super) fn install() {
    // An error means that another provider is installed.
    let _ = PROVIDER.install_default();
}

struct Verifier {
    algorithm: Algorithm,
    scheme: Scheme,
    key: DecodingKey,
}

#[derive(Clone, Copy)]
enum Scheme {
    Rsa(&'static RsaParameters),
    Curve(&'static dyn VerificationAlgorithm),
}

impl Verifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Verifier, Error> {
        let scheme = match algorithm {
            Algorithm::RS256 => Scheme::Rsa(&scheme::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Scheme::Rsa(&scheme::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Scheme::Rsa(&scheme::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Scheme::Rsa(&scheme::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Scheme::Rsa(&scheme::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Scheme::Rsa(&scheme::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 => Scheme::Curve(&scheme::ECDSA_P256_SHA256_FIXED),
            Algorithm::ES384 => Scheme::Curve(&scheme::ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDSA => Scheme::Curve(&scheme::ED25519),
            // Symmetric keys: anybody who can verify a token could sign one.
            _ => return Err(ErrorKind::UnsupportedAlgorithm.into()),
        };
        Ok(Verifier { algorithm, scheme, key: key.clone() })
    }
}

impl signature::Verifier<Vec<u8>> for Verifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), signature::Error> {
        let holds = match (self.scheme, self.key.kind()) {
            (Scheme::Rsa(scheme), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                RsaPublicKeyComponents { n, e }.verify(scheme, message, signed)
            }
            (Scheme::Curve(scheme), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(scheme, key).verify(message, signed)
            }
            (Scheme::Rsa(_), DecodingKeyKind::SecretOrDer(_))
            | (Scheme::Curve(_), DecodingKeyKind::RsaModulusExponent { .. }) => Err(ring::error::Unspecified),
        };
        holds.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Verifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
