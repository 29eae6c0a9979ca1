//! People as the disclosure log names them.
//!
//! A person has a random log secret in the ledger. A pseudonym is a keyed hash of the secret and the day, so that it cannot
//! be recomputed once the secret is deleted, whatever keys and candidate ids somebody has. A person whom the ledger does
//! not know has no secret; its pseudonym is a keyed hash of the fingerprint under a key of the day.

use std::fmt;

use super::{EpochPseudonyms, Fingerprint, Pseudonym};

/// The random secret of one person, kept in the ledger until an erasure is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogSecret([u8; 16]);

impl LogSecret {
    /// Makes a secret of these bytes, which must be random.
    pub fn from_bytes(bytes: [u8; 16]) -> LogSecret {
        LogSecret(bytes)
    }

    /// Returns the bytes, for the ledger.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for LogSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogSecret")
    }
}

/// A person in a record of the disclosure log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedPerson {
    /// The fingerprint of the id.
    pub fingerprint: Fingerprint,
    /// The log secret; `None` for a person whom the ledger does not know.
    pub secret: Option<LogSecret>,
}

impl LoggedPerson {
    /// A person whom the ledger does not know.
    pub fn unknown(fingerprint: Fingerprint) -> LoggedPerson {
        LoggedPerson { fingerprint, secret: None }
    }

    /// Returns the person's pseudonym on one day.
    pub fn pseudonym(&self, day: &EpochPseudonyms) -> Pseudonym {
        match &self.secret {
            Some(secret) => day.of_secret(secret.bytes()),
            None => day.of(self.fingerprint),
        }
    }
}
