//! How records hold together: each line carries a hash over itself and everything before it, and a
//! tag under the log's key that only its owner can make.
//!
//! The hash needs no key, so that anybody can check a log for accidents; a rewrite of the whole log
//! shows only under the key, and a tail that was cut off only against a checkpoint kept elsewhere.
//! A line is `{"n":NUMBER,BODY,"chain":"64 hex","tag":"32 hex"}`.

use super::object_writer::RecordBody;

/// `,"chain":"…","tag":"…"}` without the line's end.
const SEAL: usize = r#","chain":""#.len() + 64 + r#"","tag":""#.len() + 32 + r#""}"#.len();

/// Bytes that a line has around its body at most: the number, the seal and the line's end.
pub(super) const MAX_OVERHEAD: usize = r#"{"n":18446744073709551615,"#.len() + SEAL + 1;

/// The hash over a record and all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain(blake3::Hash);

impl Chain {
    /// Before the first record.
    pub(super) const BEGIN: Chain = Chain(blake3::Hash::from_bytes([0; 32]));

    /// One spelling only: digits in lower case.
    pub(super) fn parse(hex: &str) -> Option<Chain> {
        let chain = Chain(blake3::Hash::from_hex(hex).ok()?);
        (chain.to_hex() == hex).then_some(chain)
    }

    pub(super) fn to_hex(self) -> String {
        self.0.to_hex().to_string()
    }

    /// The chain after a record: the line up to its seal.
    fn next(self, unsealed: &[u8]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes()).update(unsealed);
        Chain(hasher.finalize())
    }

    /// The tag that shows who sealed the record: 128 bits of it count.
    fn tag(self, key: &[u8; 32]) -> blake3::Hash {
        blake3::keyed_hash(key, self.0.as_bytes())
    }
}

/// Appends a record as a sealed line; returns the chain after it.
pub(super) fn seal(
    into: &mut Vec<u8>,
    before: Chain,
    number: u64,
    body: &RecordBody,
    key: &[u8; 32],
) -> Chain {
    let begin = into.len();
    for part in [br#"{"n":"#, itoa::Buffer::new().format(number).as_bytes(), b",", body] {
        into.extend_from_slice(part);
    }
    let chain = before.next(into.get(begin..).unwrap_or_default());
    let (hex, tag) = (chain.0.to_hex(), chain.tag(key).to_hex());
    for part in [",\"chain\":\"", hex.as_str(), "\",\"tag\":\"", shortened(&tag), "\"}\n"] {
        into.extend_from_slice(part.as_bytes());
    }
    chain
}

/// The part of a tag's digits that stands in a line.
fn shortened(digits: &str) -> &str {
    digits.get(..32).unwrap_or_default()
}

/// A line taken apart. What it says is not yet believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedLine<'l> {
    pub(super) number: u64,
    unsealed: &'l [u8],
    pub(super) chain: Chain,
    tag: &'l str,
}

impl<'l> SealedLine<'l> {
    /// Takes a line, without its end, apart.
    pub(super) fn parse(line: &'l [u8]) -> Option<SealedLine<'l>> {
        let (unsealed, seal) = line.split_at_checked(line.len().checked_sub(SEAL)?)?;
        let seal = std::str::from_utf8(seal).ok()?;
        let rest = seal.strip_prefix(r#","chain":""#)?;
        let (chain, rest) = rest.split_at_checked(64)?;
        let tag = rest.strip_prefix(r#"","tag":""#)?.strip_suffix(r#""}"#)?;
        let after = unsealed.strip_prefix(br#"{"n":"#)?;
        let digits = after.get(..after.iter().position(|byte| *byte == b',')?)?;
        let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(SealedLine { number, unsealed, chain: Chain::parse(chain)?, tag })
    }

    /// Whether this is the record that follows `before`.
    pub(super) fn follows(&self, before: Chain) -> bool {
        before.next(self.unsealed) == self.chain
    }

    /// Whether the log's owner sealed it.
    pub(super) fn is_tagged(&self, key: &[u8; 32]) -> bool {
        shortened(&self.chain.tag(key).to_hex()) == self.tag
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_is_taken_apart_and_follows_only_its_predecessor() {
        let key = [7; 32];
        let mut lines = Vec::new();
        let first = seal(&mut lines, Chain::BEGIN, 0, &br#""kind":"a""#.to_vec(), &key);
        let second = seal(&mut lines, first, 1, &br#""kind":"b""#.to_vec(), &key);
        let lines: Vec<_> = lines.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let (one, two) = (SealedLine::parse(lines[0]).unwrap(), SealedLine::parse(lines[1]).unwrap());
        assert_eq!((one.number, two.number, two.chain), (0, 1, second));
        assert!(one.follows(Chain::BEGIN) && two.follows(first));
        assert!(!two.follows(Chain::BEGIN) && !one.follows(second));
        assert!(one.is_tagged(&key) && !one.is_tagged(&[8; 32]));
        let value: serde_json::Value = serde_json::from_slice(lines[1]).unwrap();
        assert_eq!((value["n"].as_u64(), value["kind"].as_str()), (Some(1), Some("b")));
    }

    #[test]
    fn every_changed_byte_shows() {
        let key = [7; 32];
        let mut line = Vec::new();
        seal(&mut line, Chain::BEGIN, 12, &br#""kind":"a","x":"y""#.to_vec(), &key);
        line.pop();
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                let holds = SealedLine::parse(&changed)
                    .is_some_and(|sealed| sealed.follows(Chain::BEGIN) && sealed.is_tagged(&key));
                assert!(!holds, "byte {at}, bit {bit}");
            }
        }
        assert!(SealedLine::parse(b"").is_none() && SealedLine::parse(&line[..40]).is_none());
    }
}
