//! Checkpoints: the size and the root of the tree in a signed note (C2SP tlog-checkpoint).
//!
//! Invariant: a note is accepted only in the one form in which it is written; a second spelling of the same checkpoint is
//! not a checkpoint.

use signed_note::Note;
use tlog_tiles::{Checkpoint as CheckpointText, Hash};

use super::layout::MAX_NOTE_BYTES;
use crate::keys::LogSigner;

/// A published checkpoint of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedCheckpoint {
    /// The log's origin.
    pub origin: String,
    /// Number of entries.
    pub size: u64,
    /// The root of the tree.
    pub root: [u8; 32],
    /// The signed note, as it is written to files.
    pub note: String,
}

impl PublishedCheckpoint {
    /// Signs a checkpoint.
    pub(crate) fn sign(signer: &LogSigner, size: u64, root: [u8; 32]) -> Option<PublishedCheckpoint> {
        let text = CheckpointText::new(signer.origin(), size, Hash(root), "").ok()?;
        let note = signer.sign(std::str::from_utf8(&text.to_bytes()).ok()?)?;
        Some(PublishedCheckpoint { origin: signer.origin().to_owned(), size, root, note })
    }

    /// Reads a note strictly. Does not check its signatures.
    pub fn parse(note: &[u8]) -> Option<PublishedCheckpoint> {
        if note.len() as u64 > MAX_NOTE_BYTES {
            return None;
        }
        let parsed = Note::from_bytes(note).ok().filter(|parsed| parsed.to_bytes() == note)?;
        let text = CheckpointText::from_bytes(parsed.text()).ok()?;
        let canonical = text.to_bytes() == parsed.text();
        let note = String::from_utf8(note.to_vec()).ok()?;
        canonical.then(|| PublishedCheckpoint {
            origin: text.origin().to_owned(),
            size: text.size(),
            root: text.hash().0,
            note,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;

    #[test]
    fn one_spelling_of_a_checkpoint_is_accepted() {
        let signer = Keys::random().unwrap().log_signing_key("gateway-1/00").unwrap();
        let made = PublishedCheckpoint::sign(&signer, 300, [7; 32]).unwrap();
        let note = made.note.clone();
        assert_eq!(PublishedCheckpoint::parse(note.as_bytes()), Some(made));
        for other in [
            note.replace("\n300\n", "\n0300\n"),
            note.replace("\n300\n", "\n+300\n"),
            note.trim_end().to_owned(),
            format!("{note}\n"),
            note.replace("=\n\n", "\n\n"),
            note.replace("BwcHBwc=", "BwcHBwd="),
            format!("\n{note}"),
            String::new(),
        ] {
            assert_ne!(other, note);
            assert_eq!(PublishedCheckpoint::parse(other.as_bytes()), None, "{other}");
        }
    }
}
