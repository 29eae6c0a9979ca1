//! The token in an opt-out link of an e-mail: the encrypted id of the person.
//!
//! ChaCha20-Poly1305 (RFC 8439) over the padded id. The nonce is a keyed hash of the plaintext, so the link of a person is
//! always the same and no nonce is used for two plaintexts. Invariants: without the key, nobody can make a link or read
//! its id; a link does not expire, it is valid as long as the key file exists.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::vocabulary::{MAX_ID_BYTES, Namespaces, SubjectId};

/// The version of the token's format. It is authenticated together with the id.
const VERSION: u8 = 1;

/// Ids are padded to a multiple of this many bytes, so that the length of a link reveals little.
const PADDING: usize = 32;

/// The maximum length of a token, in characters: base64 of an id and the name of its namespace.
const MAX_TOKEN: usize = (2 * MAX_ID_BYTES + 2 * PADDING + NONCE_LEN + 32).div_ceil(3) * 4;

/// Makes and opens the tokens of opt-out links.
pub struct OptOutLinks {
    sealing: [u8; 32],
    nonces: [u8; 32],
}

impl fmt::Debug for OptOutLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OptOutLinks")
    }
}

impl OptOutLinks {
    pub(super) fn new(sealing: [u8; 32], nonces: [u8; 32]) -> OptOutLinks {
        OptOutLinks { sealing, nonces }
    }

    /// Returns the key of the cipher. Never `None`: the key has the length that the cipher needs.
    fn sealing(&self) -> Option<LessSafeKey> {
        Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &self.sealing).ok()?))
    }

    /// Returns the token of a person's link, or `None` for an id that is longer than the ledger accepts.
    pub fn token(&self, person: &SubjectId) -> Option<String> {
        let mut sealed = encode(person)?;
        let nonce = self.nonce(&sealed);
        let aad = Aad::from([VERSION]);
        let unique = Nonce::assume_unique_for_key(nonce);
        self.sealing()?.seal_in_place_append_tag(unique, aad, &mut sealed).ok()?;
        let mut token = vec![VERSION];
        token.extend_from_slice(&nonce);
        token.append(&mut sealed);
        let token = URL_SAFE_NO_PAD.encode(token);
        (token.len() <= MAX_TOKEN).then_some(token)
    }

    /// Returns the person of a token, read by the present rules for ids, which may be newer than the link. `None` if the
    /// token was not made under this key, or was modified.
    pub fn person(&self, token: &str, namespaces: &Namespaces) -> Option<SubjectId> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = token.split_first()?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        if *version != VERSION {
            return None;
        }
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.sealing()?.open_in_place(nonce, Aad::from([VERSION]), &mut sealed).ok()?;
        let (namespace, id) = decode(opened)?;
        Some(namespaces.reader(namespace).read_recorded(id))
    }

    fn nonce(&self, text: &[u8]) -> [u8; NONCE_LEN] {
        let mut nonce = [0; NONCE_LEN];
        blake3::Hasher::new_keyed(&self.nonces).update(text).finalize_xof().fill(&mut nonce);
        nonce
    }
}

/// Encodes a person: the length of the namespace plus one (0: no namespace), the length of the id, both texts, zeros.
fn encode(person: &SubjectId) -> Option<Vec<u8>> {
    let namespace = person.namespace().map(|name| &**name);
    let namespace_length =
        namespace.map_or(Some(0), |name| u16::try_from(name.len()).ok()?.checked_add(1))?;
    let mut text = Vec::new();
    text.extend_from_slice(&namespace_length.to_le_bytes());
    text.extend_from_slice(&u16::try_from(person.id().len()).ok()?.to_le_bytes());
    text.extend_from_slice(namespace.unwrap_or_default().as_bytes());
    text.extend_from_slice(person.id().as_bytes());
    text.resize(text.len().next_multiple_of(PADDING), 0);
    Some(text)
}

/// Decodes namespace and id, as they were when the link was made.
fn decode(text: &[u8]) -> Option<(Option<&str>, &str)> {
    let (namespace_length, rest) = text.split_first_chunk::<2>()?;
    let (id_length, rest) = rest.split_first_chunk::<2>()?;
    let namespace_length = usize::from(u16::from_le_bytes(*namespace_length));
    let (namespace, rest) = rest.split_at_checked(namespace_length.saturating_sub(1))?;
    let (id, _padding) = rest.split_at_checked(usize::from(u16::from_le_bytes(*id_length)))?;
    let namespace = std::str::from_utf8(namespace).ok()?;
    Some(((namespace_length > 0).then_some(namespace), std::str::from_utf8(id).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Keys;
    use crate::vocabulary::{IdRule, Normalization};

    fn person(namespace: Option<&str>, id: &str) -> SubjectId {
        Namespaces::default().reader(namespace).read_recorded(id)
    }

    #[test]
    fn a_token_opens_to_its_person_and_does_not_contain_the_id() {
        let links = Keys::random().unwrap().opt_out_links();
        let mut seen = std::collections::HashSet::new();
        for person in [
            person(None, "ada@example.org"),
            person(Some("crm"), "ada@example.org"),
            person(Some(""), "ada@example.org"),
            person(Some("crmada"), "@example.org"),
            person(None, "Zoë"),
            person(Some(&"n".repeat(512)), &"i".repeat(512)),
        ] {
            let token = links.token(&person).unwrap();
            assert_eq!(links.token(&person).unwrap(), token, "always the same");
            assert!(links.person(&token, &Namespaces::default()).unwrap() == person);
            assert!(seen.insert(token.clone()));
            let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
            assert!(!bytes.windows(3).any(|window| window == b"ada"));
        }
        let length = |id: &str| links.token(&person(None, id)).unwrap().len();
        assert_eq!(length("a"), length("abcdefghijklmnop"), "the length reveals little");
        assert!(links.token(&person(None, &"i".repeat(2000))).is_none());
    }

    #[test]
    fn a_link_from_before_a_rule_for_ids_opens_to_the_person_under_the_rule() {
        let links = Keys::random().unwrap().opt_out_links();
        let token = links.token(&person(Some("email"), "Ada@Example.org")).unwrap();
        let normalise = Normalization { lowercase: true, ..Normalization::default() };
        let email = IdRule::new(normalise, Some("^(.+@.+)$")).unwrap();
        let today = Namespaces::new([("email".into(), email)]);
        let opened = links.person(&token, &today).unwrap();
        assert!(opened == today.reader(Some("email")).read("ada@example.org").unwrap());
        let token = links.token(&person(Some("email"), "no address")).unwrap();
        assert_eq!(links.person(&token, &today).unwrap().id(), "no address", "no link is lost");
    }

    #[test]
    fn a_token_is_valid_as_long_as_the_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let links = || Keys::open_or_create(&folder.path().join("keys"), &[]).unwrap().opt_out_links();
        let token = links().token(&person(None, "ada")).unwrap();
        assert!(links().person(&token, &Namespaces::default()).unwrap() == person(None, "ada"));
    }

    #[test]
    fn a_modified_token_or_one_of_another_key_does_not_open() {
        let links = Keys::random().unwrap().opt_out_links();
        let token = links.token(&person(None, "ada")).unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(
                links.person(&URL_SAFE_NO_PAD.encode(&changed), &Namespaces::default()).is_none(),
                "byte {at}"
            );
            assert!(
                links.person(&URL_SAFE_NO_PAD.encode(&bytes[..at]), &Namespaces::default()).is_none(),
                "cut at {at}"
            );
        }
        for other in ["", "AQ", "not base64 at all!", &format!("{token}="), &"A".repeat(MAX_TOKEN + 1)] {
            assert!(links.person(other, &Namespaces::default()).is_none(), "{other}");
        }
        assert!(Keys::random().unwrap().opt_out_links().person(&token, &Namespaces::default()).is_none());
    }
}
