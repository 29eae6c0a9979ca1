//! People as the disclosure log names them.
//!
//! A person has a random log secret in the ledger. A pseudonym is a keyed hash of the secret and the day, so that it cannot
//! be recomputed once the secret is deleted, whatever keys and candidate ids somebody has. A person whom the ledger does
//! not know has no secret; its pseudonym is a keyed hash of the fingerprint under a key of the day.

use std::fmt;

use super::{EpochPseudonyms, Fingerprint, KeysError, Pseudonym, random};

/// The random secret of one person, kept in the ledger until an erasure is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LogSecret([u8; 16]);

impl LogSecret {
    /// Makes a secret of these bytes, which must be random.
    pub fn from_bytes(bytes: [u8; 16]) -> LogSecret {
        LogSecret(bytes)
    }

    /// Makes a random secret.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn random() -> Result<LogSecret, KeysError> {
        random::bits().map(|bits| LogSecret(bits.to_le_bytes())).map_err(KeysError::Random)
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

/// Secrets for people whose log secret was deleted: different in each process, and stored nowhere.
///
/// A person whose data were erased may still occur in answers of the upstream, and the log counts what it withheld. Under
/// the fingerprint, such an entry would name the person to everybody who has the keys and the id.
#[derive(Clone)]
pub struct UnstoredSecrets {
    key: [u8; 32],
}

impl fmt::Debug for UnstoredSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnstoredSecrets")
    }
}

impl UnstoredSecrets {
    /// Makes secrets that nobody can compute again.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn random() -> Result<UnstoredSecrets, KeysError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(KeysError::Random)?;
        Ok(UnstoredSecrets { key })
    }

    /// Returns the secret of a person.
    pub fn of(&self, fingerprint: Fingerprint) -> LogSecret {
        let mut secret = [0; 16];
        let hash = blake3::keyed_hash(&self.key, &fingerprint.bytes());
        secret.iter_mut().zip(hash.as_bytes()).for_each(|(place, byte)| *place = *byte);
        LogSecret(secret)
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
