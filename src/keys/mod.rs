//! The key file: the secrets of the ledger, the disclosure log and the pseudonyms.
//!
//! This module reads and writes the file and derives one key for each use. It does not know what the derived keys protect.
//! Invariants: a file that others may read is not used; a file is created completely or not at all, and never replaces an
//! existing one; no key is ever printed.
//!
//! ```text
//! purposegate keys 1
//! pseudonym = 64 hex digits
//! ledger = 64 hex digits
//! log = 64 hex digits
//! ```

mod file;
mod fingerprint;
mod journal_tags;
mod link;
mod log_signer;
mod logged_person;
mod position;
pub mod random;
mod webhook;

use std::fmt;
use std::path::{Path, PathBuf};

pub use fingerprint::{
    BuildFingerprintHasher, EpochPseudonyms, Fingerprint, Fingerprints, Pseudonym, SubjectPseudonyms,
};
pub use journal_tags::JournalTags;
pub use link::OptOutLinks;
pub use log_signer::{InvalidOrigin, LogSigner, SignatureState};
pub use logged_person::{LogSecret, LoggedPerson, UnstoredSecrets};
pub use position::PositionTokens;
pub use webhook::WebhookSecrets;

/// Contexts for domain separation (BLAKE3 `derive_key`): application, version, use. Changing a context makes everything
/// that was stored under it unusable.
mod context {
    pub(super) const PSEUDONYM: &str = "purposegate 2026 v1 field pseudonyms";
    pub(super) const FINGERPRINT: &str = "purposegate 2026 v1 ledger fingerprints";
    pub(super) const LEDGER_CHECK: &str = "purposegate 2026 v1 ledger key check";
    pub(super) const OPT_OUT_LINK: &str = "purposegate 2026 v1 opt-out links";
    pub(super) const OPT_OUT_NONCE: &str = "purposegate 2026 v1 opt-out nonces";
    pub(super) const PSEUDONYM_CHECK: &str = "purposegate 2026 v1 pseudonym key check";
    pub(super) const POSITION_TOKEN: &str = "purposegate 2026 v1 ledger position tokens";
    pub(super) const WEBHOOK_SECRET: &str = "purposegate 2026 v1 notice webhook secrets";
    pub(super) const LOG_TAG: &str = "purposegate 2026 v1 log tags";
    pub(super) const LOG_SIGNATURE: &str = "purposegate 2026 v1 log checkpoint signatures";
    pub(super) const LOG_JOURNAL: &str = "purposegate 2026 v1 log journal tags";
    pub(super) const LOG_SUBJECT: &str = "purposegate 2026 v1 log subject pseudonyms";
}

/// The three keys of the key file. `Debug` prints the type's name only.
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

/// An error that keeps the keys from being read or created. The messages name the file, never its content.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum KeysError {
    /// The key file does not exist.
    #[error("the key file {path} does not exist", path = .0.display())]
    Missing(PathBuf),
    /// The key file does not exist, but something was written under its keys.
    #[error(
        "the key file {path} does not exist, but {sealed} was written under one",
        path = .path.display(), sealed = .sealed.display()
    )]
    Lost { path: PathBuf, sealed: PathBuf },
    /// Other users may read the key file.
    #[error("the key file {path} can be read by others (mode {mode:04o}): `chmod 600` it", path = .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// A line of the key file is wrong.
    #[error("the key file {path}, line {line}: {problem}", path = .path.display())]
    Malformed { path: PathBuf, line: usize, problem: &'static str },
    /// An operation on the key file failed.
    #[error("cannot {operation} the key file {path}", path = .path.display())]
    Io { path: PathBuf, operation: &'static str, source: std::io::Error },
    /// The system's random number generator failed.
    #[error("the system provides no random bytes")]
    Random(#[source] getrandom::Error),
}

impl Keys {
    /// Reads the key file.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open(path: &Path) -> Result<Keys, KeysError> {
        file::read(path)
    }

    /// Reads the key file, or creates one (mode 0600) if none exists.
    ///
    /// `sealed` lists the paths of everything that is written under the keys (ledger file, log directory). If one of them
    /// exists without a key file, the keys are lost, and new keys would only hide the loss.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open_or_create(path: &Path, sealed: &[&Path]) -> Result<Keys, KeysError> {
        if let Some(keys) = Keys::open_unless_new(path, sealed)? {
            return Ok(keys);
        }
        file::create(path, &Keys::random()?)?;
        // Read back: another process may have created the file first.
        file::read(path)
    }

    /// As [`Keys::open_or_create`], but returns `None` where that would create the key file.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn open_unless_new(path: &Path, sealed: &[&Path]) -> Result<Option<Keys>, KeysError> {
        match file::read(path) {
            Err(KeysError::Missing(_)) => {}
            read => return read.map(Some),
        }
        match sealed.iter().find(|sealed| holds_something(sealed)) {
            Some(sealed) => Err(KeysError::Lost { path: path.to_owned(), sealed: sealed.to_path_buf() }),
            None => Ok(None),
        }
    }

    /// Returns new keys that are in no file, for data that are lost when the process ends.
    ///
    /// # Errors
    /// [`KeysError::Random`].
    pub fn random() -> Result<Keys, KeysError> {
        let fresh = || -> Result<[u8; 32], KeysError> {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(KeysError::Random)?;
            Ok(key)
        };
        Ok(Keys { pseudonym: fresh()?, ledger: fresh()?, log: fresh()? })
    }

    /// Returns the key for pseudonymised fields. Derive one key for each recipient from it before use.
    pub fn pseudonym(&self) -> [u8; 32] {
        blake3::derive_key(context::PSEUDONYM, &self.pseudonym)
    }

    /// Returns the check value of the pseudonym key. The disclosure log stores it, so that a changed key is noticed: with
    /// other pseudonyms, a recipient would take the same person for another one.
    pub fn pseudonym_check(&self) -> [u8; 16] {
        check(blake3::derive_key(context::PSEUDONYM_CHECK, &self.pseudonym))
    }

    /// Returns the function that computes the fingerprints by which the ledger keeps people in memory.
    pub fn fingerprints(&self) -> Fingerprints {
        Fingerprints::new(blake3::derive_key(context::FINGERPRINT, &self.ledger))
    }

    /// Returns the check value of the ledger's key. The ledger stores it, so that it opens only under its own keys.
    pub fn ledger_check(&self) -> [u8; 16] {
        check(blake3::derive_key(context::LEDGER_CHECK, &self.ledger))
    }

    /// Returns the cipher that makes and opens the tokens of opt-out links. Tokens are valid as long as the ledger's key,
    /// which is never replaced.
    pub fn opt_out_links(&self) -> OptOutLinks {
        let key = |context| blake3::derive_key(context, &self.ledger);
        OptOutLinks::new(key(context::OPT_OUT_LINK), key(context::OPT_OUT_NONCE))
    }

    /// Returns the authenticator that makes and reads the tokens of ledger positions. All gateways of one ledger have its
    /// key, so each reads the tokens of the others.
    pub fn position_tokens(&self) -> PositionTokens {
        PositionTokens::new(blake3::derive_key(context::POSITION_TOKEN, &self.ledger))
    }

    /// Returns the function that computes the secrets of webhooks whose configuration names none. They are valid as long as the
    /// ledger's key, which is never replaced.
    pub fn webhook_secrets(&self) -> WebhookSecrets {
        WebhookSecrets::new(blake3::derive_key(context::WEBHOOK_SECRET, &self.ledger))
    }

    /// Returns the key that authenticates the chain of the disclosure log.
    pub fn log_tags(&self) -> [u8; 32] {
        blake3::derive_key(context::LOG_TAG, &self.log)
    }

    /// Returns the keys that sign the checkpoints and authenticate the journal of the disclosure log with this origin.
    ///
    /// # Errors
    /// [`InvalidOrigin`].
    pub fn log_signing_key(&self, origin: &str) -> Result<LogSigner, InvalidOrigin> {
        let material = [self.log.as_slice(), origin.as_bytes()].concat();
        let tags = JournalTags::new(blake3::derive_key(context::LOG_JOURNAL, &material));
        LogSigner::new(origin, &blake3::derive_key(context::LOG_SIGNATURE, &material), tags)
    }

    /// Returns the function that computes the pseudonyms by which the disclosure log names people.
    ///
    /// Pseudonyms are computed from fingerprints and so depend on the ledger's key, too: the log and its key alone do not
    /// identify anybody.
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
mod tests {
    use super::*;

    #[test]
    fn keys_are_created_once_and_read_afterwards() {
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
    fn a_look_at_the_key_file_creates_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (path, ledger) = (folder.path().join("deep/keys"), folder.path().join("ledger.db"));
        assert!(Keys::open_unless_new(&path, &[&ledger]).unwrap().is_none());
        std::fs::write(&ledger, "x").unwrap();
        let error = Keys::open_unless_new(&path, &[&ledger]).unwrap_err();
        assert!(matches!(error, KeysError::Lost { .. }), "{error}");
        assert!(!folder.path().join("deep").exists());
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
