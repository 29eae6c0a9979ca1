//! Creates credentials: API keys for recipients, and certificates for development.
//!
//! It generates and hashes credentials. It does not know whom they identify or how they are printed.

mod api_key;
#[cfg(feature = "cli")]
pub mod development;

pub use api_key::NewKey;
use sha2::{Digest, Sha256};

/// SHA-256 hash of a whole API key.
pub type KeyHash = [u8; 32];

/// Returns the hash under which an API key is registered.
pub fn hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}
