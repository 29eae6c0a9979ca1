//! `pseudonymised`: the same for the same value and recipient, and to nobody else of any use.
//!
//! Keyed BLAKE3 (a PRF under a secret key) over the category and the value as it denotes, under a
//! key that is derived for each recipient: two recipients that put their data together find no two
//! pseudonyms alike. A new key, or an epoch of another name, begins anew.

use std::fmt;

const PREFIX: &[u8; 3] = b"pn_";
/// Characters that show the hash: 130 bits of it.
const CHARACTERS: usize = 26;
const LENGTH: usize = PREFIX.len() + CHARACTERS;
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The secret behind the pseudonyms of one deployment and epoch.
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
    /// From the key file's key for this use.
    pub fn new(key: [u8; 32]) -> Pseudonyms {
        Pseudonyms { key }
    }

    /// The pseudonyms of an epoch: none of them is one of another epoch. The unnamed one is the first.
    #[must_use]
    pub fn epoch(&self, name: Option<&str>) -> Pseudonyms {
        match name {
            None => self.clone(),
            Some(name) => {
                let mut hasher = blake3::Hasher::new_keyed(&self.key);
                // No recipient's name begins with a zero byte, so no recipient's key is an epoch's.
                Pseudonyms { key: *hasher.update(b"\0epoch ").update(name.as_bytes()).finalize().as_bytes() }
            }
        }
    }

    /// The forms that one recipient receives.
    pub fn for_recipient(&self, name: &str) -> super::Forms {
        let key = *blake3::keyed_hash(&self.key, name.as_bytes()).as_bytes();
        super::Forms { key: Some(RecipientKey { key }) }
    }
}

/// One recipient's key.
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
    /// `pn_` and 26 characters.
    pub(super) fn pseudonym(&self, category: &str, value: &[u8]) -> [u8; LENGTH] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        // The length keeps a category's name and the value apart.
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
#[allow(clippy::unwrap_used)]
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
    fn epochs_share_no_pseudonym() {
        let all = Pseudonyms::new([7; 32]);
        let of =
            |epoch: Option<&str>| all.epoch(epoch).for_recipient("a").key.unwrap().pseudonym("email", b"x");
        assert_eq!(of(Some("2027")), of(Some("2027")));
        let epochs = [of(None), of(Some("2026")), of(Some("2027")), of(Some(""))];
        let distinct: std::collections::HashSet<_> = epochs.iter().collect();
        assert_eq!(distinct.len(), epochs.len());
    }

    #[test]
    fn one_value_has_one_pseudonym_and_another_for_every_recipient() {
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
    fn what_has_too_few_values_has_no_pseudonym() {
        assert_eq!(written(Form::Pseudonymised, ValueKind::Other, "true"), "null");
        assert_eq!(written(Form::Pseudonymised, ValueKind::Other, "null"), "null");
    }

    #[test]
    fn secrets_have_no_debug() {
        let debug =
            format!("{:?} {:?}", Pseudonyms::new([7; 32]), Pseudonyms::new([7; 32]).for_recipient("r"));
        assert!(!debug.contains('7'), "{debug}");
    }
}
