//! Makes credentials: API keys for recipients, and certificates for development.
//!
//! It knows how a credential is generated and hashed, and nothing of whom it identifies (see
//! `exchange::caller`) or how it is printed (see `cli`).

mod api_key;
#[cfg(feature = "cli")]
pub mod development;

pub use api_key::NewKey;
use sha2::{Digest, Sha256};

/// The SHA-256 of a whole presented key.
pub type KeyHash = [u8; 32];

/// Returns the hash under which a presented key is registered.
pub fn hash(key: &[u8]) -> KeyHash {
    Sha256::digest(key).into()
}
