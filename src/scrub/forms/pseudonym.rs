//! The form `pseudonymised`: for one recipient, equal values of a category have the same pseudonym.
//!
//! A pseudonym is the keyed BLAKE3 hash (a PRF under a secret key) of the category and the decoded value, under a key
//! derived for the recipient. Two recipients that join their data have no pseudonym in common. A new key or another
//! epoch changes every pseudonym.

use std::fmt;

const PREFIX: &[u8; 3] = b"pn_";
/// The number of characters of the encoded hash, which hold 130 bits.
const CHARACTERS: usize = 26;
const LENGTH: usize = PREFIX.len() + CHARACTERS;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The secret key of one deployment's pseudonyms in one epoch. `Debug` does not show it.
#[derive(Clone)]
pub struct Pseudonyms {
    key: [u8; 32],
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonyms")
    }
}

impl Pseudonyms {
    /// Uses the key that the key file derives for pseudonyms.
    pub fn new(key: [u8; 32]) -> Pseudonyms {
        Pseudonyms { key }
    }

    /// Derives the key of an epoch. Pseudonyms of two epochs have nothing in common. `None` is the first epoch.
    #[must_use]
    pub fn epoch(&self, name: Option<&str>) -> Pseudonyms {
        match name {
            None => self.clone(),
            Some(name) => {
                let mut hasher = blake3::Hasher::new_keyed(&self.key);
                // No recipient's name begins with a zero byte, so an epoch's key differs from every recipient's.
                Pseudonyms { key: *hasher.update(b"\0epoch ").update(name.as_bytes()).finalize().as_bytes() }
            }
        }
    }

    /// Returns the forms for one recipient, with a key of its own.
    pub fn for_recipient(&self, name: &str) -> super::Forms {
        let key = *blake3::keyed_hash(&self.key, name.as_bytes()).as_bytes();
        super::Forms { key: Some(RecipientKey { key }) }
    }
}

/// The key of one recipient.
#[derive(Clone)]
pub(super) struct RecipientKey {
    key: [u8; 32],
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecipientKey")
    }
}

impl RecipientKey {
    /// Returns `pn_` and 26 characters of base32.
    pub(super) fn pseudonym(&self, category: &str, value: &[u8]) -> [u8; LENGTH] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // The length separates the category from the value.
        hasher.update(&(category.len() as u64).to_le_bytes()).update(category.as_bytes()).update(value);
        let hash = hasher.finalize();
        let mut bytes = hash.as_bytes().iter();
        let (mut bits, mut held) = (0u32, 0u32);
        let letters = std::iter::from_fn(|| {
            while held < 5 {
                bits = bits << 8 | u32::from(*bytes.next()?);
                held += 8;
            }
            held -= 5;
            let letter = ALPHABET.get((bits >> held & 31) as usize).copied();
            bits &= (1 << held) - 1;
            letter
        });
        let mut out = [b'a'; LENGTH];
        for (place, letter) in out.iter_mut().zip(PREFIX.iter().copied().chain(letters)) {
            *place = letter;
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scrub::forms::tests::written;
    use crate::scrub::forms::{ValueContext, ValueKind};
    use crate::vocabulary::Form;

    fn pseudonym(key: u8, recipient: &str, category: &str, value: &str) -> String {
        let mut out = Vec::new();
        let kind = ValueContext { kind: ValueKind::Other, category, name: None };
        Pseudonyms::new([key; 32]).for_recipient(recipient).write(
            Form::Pseudonymised,
            kind,
            value.as_bytes(),
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn epochs_have_different_pseudonyms() {
        let all = Pseudonyms::new([7; 32]);
        let of =
            |epoch: Option<&str>| all.epoch(epoch).for_recipient("a").key.unwrap().pseudonym("email", b"x");
        assert_eq!(of(Some("2027")), of(Some("2027")));
        let epochs = [of(None), of(Some("2026")), of(Some("2027")), of(Some(""))];
        let distinct: std::collections::HashSet<_> = epochs.iter().collect();
        assert_eq!(distinct.len(), epochs.len());
    }

    #[test]
    fn pseudonyms_depend_on_key_recipient_category_and_value() {
        let one = pseudonym(1, "a", "email", "\"x\"");
        assert!(one.starts_with("\"pn_") && one.len() == 31, "{one}");
        assert_eq!(one, pseudonym(1, "a", "email", "\"\\u0078\""));
        let others = [
            pseudonym(2, "a", "email", "\"x\""),
            pseudonym(1, "b", "email", "\"x\""),
            pseudonym(1, "a", "phone", "\"x\""),
            pseudonym(1, "a", "email", "\"y\""),
            pseudonym(1, "a", "emailx", "\"\""),
        ];
        for (at, other) in others.iter().enumerate() {
            assert!(*other != one && !others[..at].contains(other));
        }
        assert_eq!(pseudonym(1, "a", "id", "7"), pseudonym(1, "a", "id", "\"7\""), "one id, however spelled");
    }

    #[test]
    fn booleans_and_null_have_no_pseudonym() {
        assert_eq!(written(Form::Pseudonymised, ValueKind::Other, "true"), "null");
        assert_eq!(written(Form::Pseudonymised, ValueKind::Other, "null"), "null");
    }

    #[test]
    fn debug_output_shows_no_key() {
        let debug =
            format!("{:?} {:?}", Pseudonyms::new([7; 32]), Pseudonyms::new([7; 32]).for_recipient("r"));
        assert!(!debug.contains('7'), "{debug}");
    }
}
