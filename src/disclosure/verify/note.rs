//! Verifier keys and signed checkpoints (C2SP signed-note and tlog-checkpoint), decoded strictly.
//!
//! Invariant: each checkpoint has one spelling. A note that is not byte for byte the encoding of its content is refused, so
//! that no change of a file goes unnoticed.

use std::fmt;
use std::str::FromStr;

use signed_note::{Signature, StandardVerifier, Verifier};
use tlog_tiles::{Checkpoint as TreeHead, Hash};

use crate::disclosure::{is_origin, is_verifier_key};

/// Maximum number of signatures on a checkpoint: that of the log and those of its witnesses.
const MAX_SIGNATURES: usize = 32;

/// The public key of a log or a witness, as `audit key` prints it: `NAME+KEYID+BASE64`.
#[derive(Clone)]
pub struct VerifierKey {
    text: String,
    verifier: StandardVerifier,
}

impl VerifierKey {
    /// Returns the name in the key: the origin of the log whose checkpoints it verifies.
    pub fn name(&self) -> &str {
        self.verifier.name()
    }
}

/// The error of a text that is no verifier key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no verifier key (NAME+KEYID+BASE64, as `audit key` prints it): {0}")]
pub struct VerifierKeyError(String);

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<VerifierKey, VerifierKeyError> {
        let text = text.trim();
        if !is_verifier_key(text) {
            return Err(VerifierKeyError("it is malformed".to_owned()));
        }
        let verifier = StandardVerifier::new(text).map_err(|error| VerifierKeyError(error.to_string()))?;
        Ok(VerifierKey { text: text.to_owned(), verifier })
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifierKey").field(&self.text).finish()
    }
}

/// A checkpoint whose encoding is right. Its signatures are not verified yet.
#[derive(Clone, Debug)]
pub struct SignedCheckpoint {
    /// The whole note.
    note: String,
    /// The part that is signed.
    text: Vec<u8>,
    signatures: Vec<Signature>,
    origin: String,
    size: u64,
    root: Hash,
}

impl SignedCheckpoint {
    /// Decodes a note.
    ///
    /// # Errors
    /// The rule that the note breaks, as the end of a sentence about it.
    pub fn parse(bytes: &[u8]) -> Result<SignedCheckpoint, &'static str> {
        let note = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8")?;
        let (head, signatures) = note.split_once("\n\n").ok_or("is not a signed note")?;
        let [origin, size, root] = head.split('\n').collect::<Vec<_>>()[..] else {
            return Err("does not consist of origin, size and root");
        };
        let size = size.parse().map_err(|_| "has no decimal size")?;
        let root = Hash::parse_hash(root).map_err(|_| "has no canonical root hash")?;
        if !is_origin(origin) {
            return Err("has no valid origin");
        }
        let head = TreeHead::new(origin, size, root, "").map_err(|_| "has no valid origin")?;
        let lines = signatures.strip_suffix('\n').ok_or("does not end with a line feed")?;
        if lines.split('\n').count() > MAX_SIGNATURES {
            return Err("has too many signatures");
        }
        let signatures = lines.split('\n').map(|line| Signature::from_bytes(line.as_bytes()));
        let signatures: Vec<_> =
            signatures.collect::<Result<_, _>>().map_err(|_| "has a malformed signature line")?;
        let text = head.to_bytes();
        let mut encoded = text.clone();
        encoded.push(b'\n');
        encoded.extend(signatures.iter().flat_map(Signature::to_bytes));
        if encoded != bytes {
            return Err("is not in its canonical encoding");
        }
        Ok(SignedCheckpoint {
            note: note.to_owned(),
            text,
            signatures,
            origin: origin.to_owned(),
            size,
            root,
        })
    }

    /// Returns the whole note.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Returns the origin of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the number of entries of the tree.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the root of the tree.
    pub fn root(&self) -> &[u8; 32] {
        &self.root.0
    }

    /// Checks that the note has one signature, by the key of the log.
    ///
    /// # Errors
    /// The rule that the signatures break, as the end of a sentence about the note.
    pub(super) fn check(&self, key: &VerifierKey) -> Result<(), &'static str> {
        match self.signatures.as_slice() {
            [_] => self.check_cosigned(key),
            _ => Err("has more than the one signature of the log"),
        }
    }

    /// Checks that the first signature is that of the log. Cosignatures of witnesses may follow.
    ///
    /// # Errors
    /// As [`SignedCheckpoint::check`].
    pub(super) fn check_cosigned(&self, key: &VerifierKey) -> Result<(), &'static str> {
        let of_log = |signature: &&Signature| {
            (signature.name(), signature.id()) == (key.verifier.name(), key.verifier.key_id())
        };
        let signature =
            self.signatures.first().filter(of_log).ok_or("is not signed by the key of the log")?;
        match key.verifier.verify(&self.text, signature.signature()) {
            true => Ok(()),
            false => Err("has a wrong signature"),
        }
    }
}

/// Splits a text into the notes that it consists of, as `audit verify` prints them for several logs.
pub fn split_notes(text: &str) -> Vec<&str> {
    let (mut notes, mut begin, mut signed, mut at) = (Vec::new(), 0, false, 0);
    for line in text.split_inclusive('\n') {
        let is_signature = line.starts_with('—');
        if signed && !is_signature {
            notes.extend(text.get(begin..at));
            begin = at;
        }
        signed = is_signature;
        at += line.len();
    }
    notes.extend(text.get(begin..).filter(|rest| !rest.is_empty()));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn an_earlier_checkpoint_may_be_cosigned() {
        let keys = Keys::random().unwrap();
        let signer = keys.log_signing_key("gateway-1/00").unwrap();
        let key = signer.verifier_key().parse().unwrap();
        let text = format!("gateway-1/00\n7\n{}\n", Hash([7; 32]));
        let note = signer.sign(&text).unwrap();
        let witness = Signature::new("witness.example/w1".to_owned(), 9, vec![7; 72]).unwrap();
        let witness = String::from_utf8(witness.to_bytes()).unwrap();
        let parse = |note: &str| SignedCheckpoint::parse(note.as_bytes()).unwrap();
        let cosigned = parse(&format!("{note}{witness}"));
        assert_eq!((cosigned.check_cosigned(&key), cosigned.check(&key).is_err()), (Ok(()), true));
        assert_eq!((parse(&note).check_cosigned(&key), parse(&note).check(&key)), (Ok(()), Ok(())));
        let (head, own) = note.split_once("\n\n").unwrap();
        for other in [format!("{head}\n\n{witness}"), format!("{head}\n\n{witness}{own}")] {
            assert!(parse(&other).check_cosigned(&key).is_err(), "{other}");
        }
    }

    #[test]
    fn printed_notes_are_split_at_their_ends() {
        let keys = Keys::random().unwrap();
        let notes = ["a/1", "b/2"].map(|origin| {
            keys.log_signing_key(origin).unwrap().sign(&format!("{origin}\n0\n{}\n", Hash([0; 32]))).unwrap()
        });
        assert_eq!(split_notes(&notes.concat()), notes);
        assert_eq!(split_notes(""), [""; 0]);
    }
}
