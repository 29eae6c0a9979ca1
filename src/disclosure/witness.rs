//! The text forms of C2SP tlog-witness and tlog-cosignature: what a witness is sent, and what it answers.
//!
//! This module sends nothing. Invariant: a cosignature is accepted only under the configured key, over the very checkpoint
//! that was sent.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};

use super::origin::{COSIGNER, read_verifier_key};

/// Maximum number of hashes in a request.
const MAX_PROOF: usize = 63;

/// Maximum number of signatures in an answer that are looked at.
const MAX_SIGNATURES: usize = 16;

/// The verifier key of a witness (Ed25519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WitnessKey {
    name: String,
    id: u32,
    public: [u8; 32],
}

impl WitnessKey {
    /// Reads a verifier key, `name+id+base64`. `None` if the key is not one of a witness.
    pub fn parse(text: &str) -> Option<WitnessKey> {
        let (name, id, key_type, public) = read_verifier_key(text)?;
        (key_type == COSIGNER).then(|| WitnessKey { name: name.to_owned(), id, public })
    }

    /// Returns the id of the key.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Returns the note with the cosignature from the answer of the witness. `None` if the answer has no valid one.
    pub fn cosigned(&self, note: &str, answer: &str) -> Option<String> {
        let text = note_text(note)?;
        let line = answer.lines().take(MAX_SIGNATURES).find(|line| self.verify(text, line).is_some())?;
        Some(format!("{note}{line}\n"))
    }

    /// Returns the time of a cosignature, in seconds since 1970, if it is valid for the text.
    fn verify(&self, text: &str, line: &str) -> Option<u64> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        let signature = STANDARD.decode(encoded).ok()?;
        let (id, signature) = signature.split_first_chunk::<4>()?;
        let (time, signature) = signature.split_first_chunk::<8>()?;
        if name != self.name || u32::from_be_bytes(*id) != self.id {
            return None;
        }
        let time = u64::from_be_bytes(*time);
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        UnparsedPublicKey::new(&ED25519, self.public).verify(message.as_bytes(), signature).ok()?;
        Some(time)
    }
}

/// Returns the text of a signed note, without its signatures.
fn note_text(note: &str) -> Option<&str> {
    note.get(..note.rfind("\n\n")? + 1)
}

/// Returns the body of `add-checkpoint`: the size that the witness knows, the proof from there, and the signed checkpoint.
/// `None` if the proof is longer than any proof is.
pub fn add_checkpoint_body(known: u64, proof: &[[u8; 32]], note: &str) -> Option<String> {
    if proof.len() > MAX_PROOF {
        return None;
    }
    let mut body = format!("old {known}\n");
    for hash in proof {
        let _ = writeln!(body, "{}", STANDARD.encode(hash));
    }
    body.push('\n');
    body.push_str(note);
    Some(body)
}

/// Reads the answer of a witness that knows another size (409): the size, in decimal, and a line feed.
pub fn known_size(answer: &str) -> Option<u64> {
    let digits = answer.strip_suffix('\n').unwrap_or(answer);
    let is_plain =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if is_plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    const NOTE: &str =
        "example.com/log\n3\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/log AAAAAAAA\n";

    fn witness() -> (Ed25519KeyPair, WitnessKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let encoded = [&[COSIGNER], pair.public_key().as_ref()].concat();
        let id = signed_note::key_id("witness.example/w1", &encoded);
        let text = format!("witness.example/w1+{id:08x}+{}", STANDARD.encode(&encoded));
        (pair, WitnessKey::parse(&text).unwrap())
    }

    fn line(pair: &Ed25519KeyPair, key: &WitnessKey, text: &str, time: u64) -> String {
        let signature = pair.sign(format!("cosignature/v1\ntime {time}\n{text}").as_bytes());
        let bytes = [&key.id.to_be_bytes()[..], &time.to_be_bytes(), signature.as_ref()].concat();
        format!("— {} {}\n", key.name, STANDARD.encode(bytes))
    }

    #[test]
    fn a_cosignature_of_the_witness_is_added_to_the_note() {
        let (pair, key) = witness();
        let text = note_text(NOTE).unwrap();
        assert!(text.ends_with("q2I=\n"));
        let good = line(&pair, &key, text, 1_679_315_147);
        assert_eq!(key.cosigned(NOTE, &good), Some(format!("{NOTE}{good}")));
        let others = format!("— other.example AAAA\n{good}");
        assert_eq!(key.cosigned(NOTE, &others), Some(format!("{NOTE}{good}")), "others are ignored");
    }

    #[test]
    fn an_answer_without_a_valid_cosignature_is_none() {
        let (pair, key) = witness();
        let text = note_text(NOTE).unwrap();
        let of_another = line(&pair, &key, &text.replace("\n3\n", "\n4\n"), 7);
        let renamed = line(&pair, &key, text, 7).replace("w1", "w2");
        let stranger = line(&Ed25519KeyPair::from_seed_unchecked(&[4; 32]).unwrap(), &key, text, 7);
        for answer in ["", "\n", "— a", &of_another, &renamed, &stranger, "— witness.example/w1 AAAA\n"] {
            assert_eq!(key.cosigned(NOTE, answer), None, "{answer}");
        }
    }

    #[test]
    fn requests_and_sizes_have_the_form_of_the_specification() {
        assert_eq!(
            add_checkpoint_body(2, &[[0; 32]], NOTE).unwrap(),
            format!("old 2\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n{NOTE}")
        );
        assert_eq!(add_checkpoint_body(0, &[], "n").unwrap(), "old 0\n\nn");
        assert_eq!(add_checkpoint_body(1, &[[0; 32]; 64], "n"), None);
        assert_eq!(
            (known_size("20852163\n"), known_size("0\n"), known_size("7")),
            (Some(20_852_163), Some(0), Some(7))
        );
        for other in ["", "\n", "07\n", "-1\n", "7\n\n", "99999999999999999999\n"] {
            assert_eq!(known_size(other), None, "{other}");
        }
    }
}
