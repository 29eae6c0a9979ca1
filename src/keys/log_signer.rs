//! The keys of one disclosure log: one signs its checkpoints, another one authenticates its journal.
//!
//! They are derived from the log key of the key file and the log's origin, so that they need no file of their own and a log
//! that is renamed or copied under another origin has other keys. The name of the signing key is the origin, as C2SP
//! tlog-checkpoint demands. Invariant: no secret key is printed.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use signed_note::{Note, Signature, StandardVerifier, VerifierList};

use super::JournalTags;

/// The type byte of Ed25519 keys in signed notes.
const ED25519: u8 = 1;

/// The origin is not the name of a key: it is empty or contains a space or a plus sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin may not be empty and may not contain spaces or plus signs")]
pub struct InvalidOrigin;

/// Signs the checkpoints of one disclosure log (Ed25519, C2SP signed-note), and authenticates its journal.
pub struct LogSigner {
    origin: String,
    key: Ed25519KeyPair,
    id: u32,
    /// The type byte and the public key.
    public: Vec<u8>,
    tags: JournalTags,
}

impl fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSigner").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl LogSigner {
    pub(super) fn new(origin: &str, seed: &[u8; 32], tags: JournalTags) -> Result<LogSigner, InvalidOrigin> {
        if !signed_note::is_key_name_valid(origin) || origin.chars().any(char::is_control) {
            return Err(InvalidOrigin);
        }
        // Only a seed of another length is refused.
        let key = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| InvalidOrigin)?;
        let public = [&[ED25519], key.public_key().as_ref()].concat();
        Ok(LogSigner {
            origin: origin.to_owned(),
            id: signed_note::key_id(origin, &public),
            key,
            public,
            tags,
        })
    }

    /// Returns the log's origin, which is the name of the key.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the key with which everybody can check the signatures, `origin+keyid+base64`.
    pub fn verifier_key(&self) -> String {
        format!("{}+{:08x}+{}", self.origin, self.id, STANDARD.encode(&self.public))
    }

    /// Returns the function that authenticates the journal.
    pub fn journal_tags(&self) -> &JournalTags {
        &self.tags
    }

    /// Returns the signed note of a text. A text that is not well-formed (its last line must end) yields `None`.
    pub fn sign(&self, text: &str) -> Option<String> {
        let signature = self.key.sign(text.as_bytes()).as_ref().to_vec();
        let signature = Signature::new(self.origin.clone(), self.id, signature).ok()?;
        String::from_utf8(Note::new(text.as_bytes(), &[signature]).ok()?.to_bytes()).ok()
    }

    /// Returns the state of this key's signature on a note.
    pub fn check(&self, note: &[u8]) -> SignatureState {
        let Ok(note) = Note::from_bytes(note) else { return SignatureState::Wrong };
        let Ok(verifier) = StandardVerifier::new(&self.verifier_key()) else { return SignatureState::Wrong };
        match note.verify(&VerifierList::new(vec![Box::new(verifier)])) {
            Ok(_) => SignatureState::Valid,
            Err(signed_note::NoteError::UnverifiedNote) => SignatureState::OtherKey,
            Err(_) => SignatureState::Wrong,
        }
    }
}

/// The state of a key's signature on a note.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureState {
    /// The key has signed the note.
    Valid,
    /// The note is signed, but not by this key.
    OtherKey,
    /// The signature that names this key is wrong, or the note is malformed.
    Wrong,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn a_signature_is_accepted_by_the_verifier_key_alone() {
        let keys = Keys::random().unwrap();
        let signer = keys.log_signing_key("gateway-1/5f2c").unwrap();
        let note = signer.sign("gateway-1/5f2c\n1\nAAAA\n").unwrap();
        assert_eq!(signer.check(note.as_bytes()), SignatureState::Valid);
        assert_eq!(signer.check(note.replace("\n1\n", "\n2\n").as_bytes()), SignatureState::Wrong);
        assert_eq!(
            keys.log_signing_key("gateway-2/5f2c").unwrap().check(note.as_bytes()),
            SignatureState::OtherKey
        );
        let others = Keys::random().unwrap().log_signing_key("gateway-1/5f2c").unwrap();
        assert_eq!(others.check(note.as_bytes()), SignatureState::OtherKey);
        assert!(StandardVerifier::new(&signer.verifier_key()).is_ok());
    }

    #[test]
    fn an_origin_is_the_name_of_a_key() {
        let keys = Keys::random().unwrap();
        for origin in ["", "a b", "a+b", "a\nb", "a\u{7}b"] {
            assert_eq!(keys.log_signing_key(origin).unwrap_err(), InvalidOrigin, "{origin:?}");
        }
    }
}
