//! The entries of the log: how records are written and read.
//!
//! An entry is a leaf of the Merkle tree and a detail. The *leaf* is a deterministic CBOR map: the public head and a
//! commitment, the SHA-256 of the detail. The *detail* is a random salt and a deterministic CBOR map. A receipt shows
//! leaves; details can be deleted without a change of the tree. `docs/disclosure-log.cddl` is the schema.
//!
//! A name, a ruling or a list of factors is written once in an entry of its own. Other entries refer to it by a number:
//! its distance from the entry at `day start + base`. So a reader resolves a number with one access, without an index.
//!
//! Invariants:
//! * The leaf has no pseudonym of a person, no count, no factor, no actor, and nothing that the recipient wrote.
//! * Each entry has a commitment with 128 random bits, so no leaf or detail can be guessed from a hash.
//! * The decoder accepts exactly one encoding of each entry.
//! * A leaf and a detail have at most 65,535 bytes.

mod cbor;
mod decode;
mod dictionary;
mod encoder;
mod leaf;
mod members;
mod parts;
mod recorded_heads;
mod schema;
#[cfg(test)]
pub(in crate::disclosure) mod tests;

pub use decode::{DecodedCategory, DecodedDetail, DecodedHead, RecordedOutcome, decode_detail, decode_head};
pub use encoder::{DayStart, DetailDeletionRecord, Encoder, FormerLogEnd, ProcessStart, PruningRecord};
pub use schema::{DetailKey, EntryKind, HeadKey, NameTable};

use sha2::{Digest, Sha256};

/// Maximum length of a leaf or a detail in bytes: the framing of bundles has 16 bits for it.
pub const MAX_ENTRY: usize = u16::MAX as usize;

/// Length of the random salt at the start of a detail, in bytes.
pub const SALT: usize = 16;

/// Number of entries in a full bundle.
pub const BUNDLE: u64 = 256;

/// An entry as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The entry of the tree: a deterministic CBOR map.
    pub leaf: Vec<u8>,
    /// The salt and a deterministic CBOR map. Empty if it was deleted.
    pub detail: Vec<u8>,
}

impl Entry {
    /// False if the salt is zero: the operating system provided no random bytes for it.
    pub fn is_salted(&self) -> bool {
        self.detail.first_chunk::<SALT>().is_some_and(|salt| *salt != [0; SALT])
    }
}

/// Returns the commitment to a detail, which the leaf contains.
pub fn commitment(detail: &[u8]) -> [u8; 32] {
    Sha256::digest(detail).into()
}

/// An error in the encoding of an entry. It quotes nothing of the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EntryError(pub(crate) &'static str);
