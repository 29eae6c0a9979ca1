//! The tokens that callers hand on to say which event a decision must already know (`Ledger-Position`).
//!
//! A token holds a position and a keyed hash of it (BLAKE3). It is no secret and grants nothing; the hash keeps a caller
//! from making exchanges wait for a position that the ledger never gave. Invariants: without the key, nobody can make a
//! token; the comparison of hashes takes the same time wherever they differ.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake3::{Hash, OUT_LEN};

/// The version of the token's format.
const VERSION: u8 = 1;

/// Bytes of the version and the position, which are authenticated.
const HEADER: usize = 1 + size_of::<u64>();

/// The length of every token, in characters.
const TOKEN_LENGTH: usize = ((HEADER + OUT_LEN) * 4).div_ceil(3);

/// Makes and reads the tokens of ledger positions.
#[derive(Clone)]
pub struct PositionTokens {
    key: [u8; 32],
}

impl fmt::Debug for PositionTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PositionTokens")
    }
}

impl PositionTokens {
    pub(super) fn new(key: [u8; 32]) -> PositionTokens {
        PositionTokens { key }
    }

    /// Returns the token of a position.
    pub fn token(&self, position: u64) -> String {
        let mut token = Vec::with_capacity(HEADER + OUT_LEN);
        token.push(VERSION);
        token.extend_from_slice(&position.to_be_bytes());
        let hash = blake3::keyed_hash(&self.key, &token);
        token.extend_from_slice(hash.as_bytes());
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Returns the position of a token, or `None` if the token was not made under this key.
    pub fn position(&self, token: &[u8]) -> Option<u64> {
        if token.len() != TOKEN_LENGTH {
            return None;
        }
        let token = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (authenticated, hash) = token.split_first_chunk::<HEADER>()?;
        let hash = Hash::from_bytes(hash.try_into().ok()?);
        let [version, position @ ..] = *authenticated;
        // `Hash` compares in constant time.
        let is_authentic = blake3::keyed_hash(&self.key, authenticated) == hash;
        (is_authentic && version == VERSION).then(|| u64::from_be_bytes(position))
    }
}

#[cfg(test)]
mod tests {
    use crate::keys::Keys;

    #[test]
    fn a_token_reads_as_its_position_under_its_own_key_only() {
        let (keys, others) = (Keys::random().unwrap(), Keys::random().unwrap());
        for position in [0, 1, 77, u64::MAX] {
            let token = keys.position_tokens().token(position);
            assert_eq!(keys.position_tokens().position(token.as_bytes()), Some(position));
            assert_eq!(others.position_tokens().position(token.as_bytes()), None);
            assert!(token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        }
    }

    #[test]
    fn a_changed_token_is_none() {
        let tokens = Keys::random().unwrap().position_tokens();
        let token = tokens.token(77).into_bytes();
        for at in 0..token.len() {
            for letter in *b"AZaz09-_ =" {
                let mut changed = token.clone();
                changed[at] = letter;
                assert!(changed == token || tokens.position(&changed).is_none(), "{at} {letter}");
            }
        }
        for other in [&b""[..], b"77", &token[1..], &[&token[..], b"A"].concat()] {
            assert_eq!(tokens.position(other), None);
        }
    }
}
