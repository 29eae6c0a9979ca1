//! The key file: the secrets that the ledger, the disclosure log and pseudonyms rest on.
//!
//! It knows a small text format and how to derive a key for one use from a kept one. It refuses to
//! know what is done with them. Invariants: a file that others may read is not used; a file is
//! made whole or not at all, and never over an existing one; no key is ever printed.
//!
//! ```text
//! purposegate keys 1
//! pseudonym = 64 hex digits
//! ledger = 64 hex digits
//! log = 64 hex digits
//! ```

mod file;
mod fingerprint;
mod link;
pub mod random;

use std::fmt;
use std::path::{Path, PathBuf};

pub use fingerprint::{
    BuildFingerprintHasher, EpochPseudonyms, Fingerprint, Fingerprints, Pseudonym, SubjectPseudonyms,
};
pub use link::OptOutLinks;

/// Domain separation (BLAKE3 `derive_key`): application, version, use. Changing one orphans what was
/// stored under it.
mod context {
    pub(super) const PSEUDONYM: &str = "purposegate 2026 v1 field pseudonyms";
    pub(super) const FINGERPRINT: &str = "purposegate 2026 v1 ledger fingerprints";
    pub(super) const LEDGER_CHECK: &str = "purposegate 2026 v1 ledger key check";
    pub(super) const OPT_OUT_LINK: &str = "purposegate 2026 v1 opt-out links";
    pub(super) const OPT_OUT_NONCE: &str = "purposegate 2026 v1 opt-out nonces";
    pub(super) const PSEUDONYM_CHECK: &str = "purposegate 2026 v1 pseudonym key check";
    pub(super) const LOG_TAG: &str = "purposegate 2026 v1 log tags";
    pub(super) const LOG_SUBJECT: &str = "purposegate 2026 v1 log subject pseudonyms";
}

/// The three kept keys.
#[derive(Clone)]
pub struct Keys {
    pseudonym: [u8; 32],
    ledger: [u8; 32],
    log: [u8; 32],
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// Why there are no keys. Names the file, never its content.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error("the key file {path} does not exist", path = .0.display())]
    Missing(PathBuf),
    #[error(
        "the key file {path} does not exist, but {sealed} was written under one",
        path = .path.display(), sealed = .sealed.display()
    )]
    Lost { path: PathBuf, sealed: PathBuf },
    #[error("the key file {path} can be read by others (mode {mode:04o}): `chmod 600` it", path = .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    #[error("the key file {path}, line {line}: {what}", path = .path.display())]
    Malformed { path: PathBuf, line: usize, what: &'static str },
    #[error("the key file {path} cannot be {doing}", path = .path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
}

impl Keys {
    /// Reads the key file.
    pub fn open(path: &Path) -> Result<Keys, KeysError> {
        file::read(path)
    }

    /// Reads the key file, or makes one (mode 0600) where none exists.
    ///
    /// `sealed` names what is written under the keys (ledger file, log folder): where one of them
    /// exists already the keys are lost, and new ones would only hide it.
    pub fn open_or_create(path: &Path, sealed: &[&Path]) -> Result<Keys, KeysError> {
        match file::read(path) {
            Err(KeysError::Missing(_)) => {}
            read => return read,
        }
        if let Some(sealed) = sealed.iter().find(|sealed| holds_something(sealed)) {
            return Err(KeysError::Lost { path: path.to_owned(), sealed: sealed.to_path_buf() });
        }
        file::create(path, &Keys::random()?)?;
        // Read back rather than trusted: another process may have been first.
        file::read(path)
    }

    /// Fresh keys that no file holds: for what lives no longer than the process.
    pub fn random() -> Result<Keys, KeysError> {
        let fresh = || -> Result<[u8; 32], KeysError> {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(KeysError::Random)?;
            Ok(key)
        };
        Ok(Keys { pseudonym: fresh()?, ledger: fresh()?, log: fresh()? })
    }

    /// The key of the pseudonyms that fields leave as; bind it to a recipient before use.
    pub fn pseudonym(&self) -> [u8; 32] {
        blake3::derive_key(context::PSEUDONYM, &self.pseudonym)
    }

    /// Stored in the disclosure log, so that pseudonyms do not change unnoticed: a recipient would take the
    /// same person for another.
    pub fn pseudonym_check(&self) -> [u8; 16] {
        check(blake3::derive_key(context::PSEUDONYM_CHECK, &self.pseudonym))
    }

    /// Makes the fingerprints under which the ledger keeps people in memory.
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints::new(blake3::derive_key(context::FINGERPRINT, &self.ledger))
    }

    /// Stored in the ledger, so that it opens under the keys it was made with and no others.
    pub fn ledger_check(&self) -> [u8; 16] {
        check(blake3::derive_key(context::LEDGER_CHECK, &self.ledger))
    }

    /// Makes and opens the tokens of opt-out links. They last as long as the ledger's key, which is
    /// never replaced.
    pub fn opt_out_links(&self) -> OptOutLinks {
        let key = |context| blake3::derive_key(context, &self.ledger);
        OptOutLinks::new(key(context::OPT_OUT_LINK), key(context::OPT_OUT_NONCE))
    }

    /// Authenticates the chain of the disclosure log.
    pub fn log_tags(&self) -> [u8; 32] {
        blake3::derive_key(context::LOG_TAG, &self.log)
    }

    /// Makes the pseudonyms under which the disclosure log names people.
    ///
    /// They rest on fingerprints, so on the ledger's key too: a log and its key alone do not say
    /// who somebody is.
    pub fn subject_pseudonyms(&self) -> SubjectPseudonyms {
        SubjectPseudonyms::new(blake3::derive_key(context::LOG_SUBJECT, &self.log))
    }
}

fn check(key: [u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    blake3::Hasher::new_keyed(&key).update(b"check").finalize_xof().fill(&mut short);
    short
}

fn holds_something(path: &Path) -> bool {
    match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => path.exists(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_stay_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let made = Keys::open_or_create(&path, &[]).unwrap();
        let again = Keys::open_or_create(&path, &[]).unwrap();
        assert_eq!(made.ledger_check(), again.ledger_check());
        assert_ne!(made.ledger_check(), Keys::random().unwrap().ledger_check());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn lost_keys_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.db");
        std::fs::write(&ledger, "x").unwrap();
        let path = folder.path().join("keys");
        let error = Keys::open_or_create(&path, &[&folder.path().join("none"), &ledger]).unwrap_err();
        assert!(matches!(error, KeysError::Lost { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", Keys::random().unwrap()), "Keys");
    }

    #[test]
    fn each_use_has_its_own_key() {
        let keys = Keys::random().unwrap();
        assert_ne!(keys.log_tags(), keys.pseudonym());
    }
}
