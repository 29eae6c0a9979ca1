//! Seals records into a hash chain: each line carries a hash over itself and everything before it, and a tag under
//! the log's key that only the key's owner can compute.
//!
//! The hash needs no key, so anybody can check a log for accidental damage. A rewrite of the whole log is found only
//! with the key, and a removed end only with a checkpoint kept elsewhere. A line is
//! `{"n":NUMBER,BODY,"gateway":"NAME","chain":"64 hex","tag":"32 hex"}`.

/// Length of `,"chain":"…","tag":"…"}`, without the line feed.
const SEAL: usize = r#","chain":""#.len() + 64 + r#"","tag":""#.len() + 32 + r#""}"#.len();

/// Hash over a record and all records before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chain(blake3::Hash);

impl Chain {
    /// The chain value before the first record.
    pub(super) const BEGIN: Chain = Chain(blake3::Hash::from_bytes([0; 32]));

    /// Parses 64 hexadecimal digits. Accepts lower case only, so that each value has one spelling.
    pub(super) fn parse(hex: &str) -> Option<Chain> {
        let chain = Chain(blake3::Hash::from_hex(hex).ok()?);
        (chain.to_hex() == hex).then_some(chain)
    }

    pub(super) fn to_hex(self) -> String {
        self.0.to_hex().to_string()
    }

    pub(super) fn to_bytes(self) -> [u8; 32] {
        *self.0.as_bytes()
    }

    /// Returns the chain value after a record, given its line up to the seal.
    fn next(self, unsealed: &[u8]) -> Chain {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes()).update(unsealed);
        Chain(hasher.finalize())
    }

    /// Computes the tag that proves who sealed the record; 128 bits of it are stored.
    fn tag(self, key: &[u8; 32]) -> blake3::Hash {
        blake3::keyed_hash(key, self.0.as_bytes())
    }
}

/// Seals the records of one writer, as earlier versions did. Each record has the name of the writer's gateway as its last
/// member.
#[cfg(test)]
pub(super) struct Sealer {
    key: [u8; 32],
    /// `,"gateway":"…"`.
    gateway: Vec<u8>,
}

#[cfg(test)]
impl Sealer {
    /// Creates a sealer with the key of the log's tags.
    pub(super) fn new(key: [u8; 32], gateway: &str) -> Sealer {
        Sealer { key, gateway: format!(",\"gateway\":{}", serde_json::Value::from(gateway)).into_bytes() }
    }

    /// Appends a record as a sealed line and returns the chain value after it.
    pub(super) fn seal(&self, into: &mut Vec<u8>, before: Chain, number: u64, body: &[u8]) -> Chain {
        let begin = into.len();
        for part in [br#"{"n":"#, itoa::Buffer::new().format(number).as_bytes(), b",", body, &self.gateway] {
            into.extend_from_slice(part);
        }
        let chain = before.next(into.get(begin..).unwrap_or_default());
        let (hex, tag) = (chain.0.to_hex(), chain.tag(&self.key).to_hex());
        for part in [",\"chain\":\"", hex.as_str(), "\",\"tag\":\"", shortened(&tag), "\"}\n"] {
            into.extend_from_slice(part.as_bytes());
        }
        chain
    }
}

/// Returns the digits of a tag that are stored in a line.
fn shortened(digits: &str) -> &str {
    digits.get(..32).unwrap_or_default()
}

/// A parsed line. Its hash and tag are not verified yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct SealedLine<'l> {
    pub(super) number: u64,
    unsealed: &'l [u8],
    pub(super) chain: Chain,
    tag: &'l str,
}

impl<'l> SealedLine<'l> {
    /// Parses a line without its line feed.
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

    /// True if this record follows the chain value `before`.
    pub(super) fn follows(&self, before: Chain) -> bool {
        before.next(self.unsealed) == self.chain
    }

    /// True if the record was sealed with this key.
    pub(super) fn is_tagged(&self, key: &[u8; 32]) -> bool {
        shortened(&self.chain.tag(key).to_hex()) == self.tag
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_parses_and_follows_only_its_predecessor() {
        let (key, mut lines) = ([7; 32], Vec::new());
        let sealer = Sealer::new(key, "gate\"way");
        let first = sealer.seal(&mut lines, Chain::BEGIN, 0, br#""kind":"a""#);
        let second = sealer.seal(&mut lines, first, 1, br#""kind":"b""#);
        let lines: Vec<_> = lines.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').collect();
        let (one, two) = (SealedLine::parse(lines[0]).unwrap(), SealedLine::parse(lines[1]).unwrap());
        assert_eq!((one.number, two.number, two.chain), (0, 1, second));
        assert!(one.follows(Chain::BEGIN) && two.follows(first));
        assert!(!two.follows(Chain::BEGIN) && !one.follows(second));
        assert!(one.is_tagged(&key) && !one.is_tagged(&[8; 32]));
        let value: serde_json::Value = serde_json::from_slice(lines[1]).unwrap();
        assert_eq!((value["n"].as_u64(), value["kind"].as_str()), (Some(1), Some("b")));
        assert_eq!(value["gateway"], "gate\"way");
    }

    #[test]
    fn every_changed_bit_is_detected() {
        let key = [7; 32];
        let mut line = Vec::new();
        Sealer::new(key, "g").seal(&mut line, Chain::BEGIN, 12, br#""kind":"a","x":"y""#);
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
