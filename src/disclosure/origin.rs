//! Names of logs and of the keys that sign their checkpoints (C2SP signed-note, tlog-cosignature).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Maximum length of an origin in bytes: cosignatures have a byte for it.
const MAX_ORIGIN: usize = 255;

/// Type byte of Ed25519 keys that sign notes, as logs do.
const SIGNER: u8 = 1;

/// Type byte of Ed25519 keys that cosign checkpoints, as witnesses do.
pub(super) const COSIGNER: u8 = 4;

/// True if a log can have this origin: it is the first line of each checkpoint and the name of the key.
pub fn is_origin(text: &str) -> bool {
    text.len() <= MAX_ORIGIN && signed_note::is_key_name_valid(text) && !text.chars().any(char::is_control)
}

/// True if the text is the verifier key of a log (Ed25519), `name+id+base64`.
pub fn is_verifier_key(text: &str) -> bool {
    read_verifier_key(text).is_some_and(|(_, _, key_type, _)| key_type == SIGNER)
}

/// Reads a verifier key: its name, its id, its type and the public key.
pub(super) fn read_verifier_key(text: &str) -> Option<(&str, u32, u8, [u8; 32])> {
    let (name, rest) = text.split_once('+')?;
    let (id, key) = rest.split_once('+')?;
    let encoded = STANDARD.decode(key).ok()?;
    let (key_type, public) = encoded.split_first()?;
    let public = <[u8; 32]>::try_from(public).ok()?;
    let expected = signed_note::key_id(name, &encoded);
    let is_known = is_origin(name) && id == format!("{expected:08x}");
    is_known.then_some((name, expected, *key_type, public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_name_of_a_key() {
        for origin in ["gateway-1/5f2c09ab", "example.org/log", &"x".repeat(255)] {
            assert!(is_origin(origin), "{origin}");
        }
        for other in ["", "a b", "a+b", "a\u{a0}b", "a\u{7}b", &"x".repeat(256)] {
            assert!(!is_origin(other), "{other}");
        }
    }

    #[test]
    fn a_verifier_key_has_the_id_of_its_name_and_key() {
        // The example of C2SP signed-note.
        let known = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert!(is_verifier_key(known));
        assert!(!is_verifier_key(&known.replace("PeterNeumann", "PeterNeuman")));
        assert!(!is_verifier_key(&known.replace("c74f20a3", "C74F20A3")), "one spelling");
        let encode = |key_type: u8, length: usize| {
            let key: Vec<u8> = std::iter::once(key_type).chain(vec![7; length]).collect();
            format!("w+{:08x}+{}", signed_note::key_id("w", &key), STANDARD.encode(&key))
        };
        assert_eq!(read_verifier_key(&encode(4, 32)).unwrap().2, COSIGNER);
        for other in [encode(4, 32), encode(1, 31), encode(1, 0), "data/keys".to_owned(), String::new()] {
            assert!(!is_verifier_key(&other), "{other}");
        }
    }
}
