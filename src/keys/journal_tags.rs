//! The key that authenticates the journal of one disclosure log.
//!
//! Like the key that signs checkpoints it is derived from the log key of the key file and the log's origin, so a frame of
//! another log has another tag. Invariant: the key is never printed.

use std::fmt;

use blake3::Hash;

/// Computes the tags of a journal's header and frames (BLAKE3 in keyed mode). `Hash` compares in constant time.
#[derive(Clone)]
pub struct JournalTags {
    key: [u8; 32],
}

impl fmt::Debug for JournalTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JournalTags")
    }
}

impl JournalTags {
    pub(super) fn new(key: [u8; 32]) -> JournalTags {
        JournalTags { key }
    }

    /// Returns the tag of a header.
    pub fn header(&self, header: &[u8]) -> Hash {
        self.tag(b"header", &[], header)
    }

    /// Returns the tag of the frame that holds the entry at an index.
    pub fn frame(&self, index: u64, content: &[u8]) -> Hash {
        self.tag(b"frame:", &index.to_be_bytes(), content)
    }

    /// Returns the tag of a part. The names of the parts have the same length, so no header is a frame.
    fn tag(&self, part: &[u8; 6], index: &[u8], content: &[u8]) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(part).update(index).update(content);
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use crate::keys::Keys;

    #[test]
    fn a_tag_depends_on_the_keys_the_origin_the_part_the_index_and_the_content() {
        let tags_of = |keys: &Keys, origin| keys.log_signing_key(origin).unwrap().journal_tags().clone();
        let keys = Keys::random().unwrap();
        let tags = tags_of(&keys, "gateway-1/00");
        let tag = tags.frame(7, b"content");
        assert_eq!(tags_of(&keys, "gateway-1/00").frame(7, b"content"), tag);
        let others = [
            tags_of(&Keys::random().unwrap(), "gateway-1/00").frame(7, b"content"),
            tags_of(&keys, "gateway-1/01").frame(7, b"content"),
            tags.frame(8, b"content"),
            tags.frame(7, b"contend"),
            tags.header(b"content"),
            tags.header(&[&7_u64.to_be_bytes(), b"content".as_slice()].concat()),
        ];
        assert!(others.iter().all(|other| *other != tag));
        assert_eq!(format!("{tags:?}"), "JournalTags");
    }
}
