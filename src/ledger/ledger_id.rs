//! The id of a ledger.

use std::fmt;

use crate::keys::{KeysError, random};

/// A random number that each ledger has from its first start. A copy of a ledger and a restored backup keep it, as they keep
/// the log secrets of people. A disclosure log states it, so that nobody looks for people in the log of another ledger, where
/// they have other secrets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LedgerId([u8; 16]);

impl LedgerId {
    /// Returns the id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> LedgerId {
        LedgerId(bytes)
    }

    /// Returns a new id.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn random() -> Result<LedgerId, KeysError> {
        random::bits().map(|bits| LedgerId(bits.to_le_bytes())).map_err(KeysError::Random)
    }

    /// Returns the bytes.
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LedgerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LedgerId({:032x})", u128::from_be_bytes(self.0))
    }
}
