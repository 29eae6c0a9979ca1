//! Short keyed hashes that replace ids of people: fingerprints in memory, pseudonyms in the disclosure log.
//!
//! Keyed BLAKE3 over a prefix-free encoding, cut to 96 bits: among 100 million people, two share a fingerprint with a
//! probability of about 6e-14, and an entry of the index stays at 16 bytes. Without the key, neither a fingerprint nor
//! a pseudonym can be computed from an id, so a list of candidate ids does not reveal who is in a log.

use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smallvec::SmallVec;
use ulid::Ulid;

use crate::vocabulary::{ActorId, SubjectId};

/// The kind of id that a fingerprint stands for. Ids of different kinds never have the same encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Domain {
    Subject = 0,
    Controller = 1,
    Recipient = 2,
    Actor = 3,
    Case = 4,
}

/// A keyed 96-bit hash of the id of a data subject, a controller, a recipient, an actor of a recipient, or a case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint([u32; 3]);

impl Fingerprint {
    /// Returns the bits.
    pub(super) fn bytes(self) -> [u8; 12] {
        let [a, b, c] = self.0.map(u32::to_le_bytes);
        let mut bytes = [0; 12];
        for (place, byte) in bytes.iter_mut().zip(a.into_iter().chain(b).chain(c)) {
            *place = byte;
        }
        bytes
    }
}

/// Feeds 64 of the 96 bits to the hasher. They are uniformly distributed.
impl Hash for Fingerprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let [a, b, _] = self.0;
        state.write_u64(u64::from(a) << 32 | u64::from(b));
    }
}

/// A hasher that returns the bits of a fingerprint unchanged: a fingerprint is a keyed hash already.
#[derive(Clone, Copy, Debug, Default)]
pub struct FingerprintHasher(u64);

impl Hasher for FingerprintHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    /// Not used by fingerprints, which write one word. Correct for other keys.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = word;
    }
}

/// Builds the hasher for maps and sets whose keys are fingerprints.
pub type BuildFingerprintHasher = BuildHasherDefault<FingerprintHasher>;

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// Computes fingerprints under the ledger's key.
#[derive(Clone)]
pub struct Fingerprints {
    key: [u8; 32],
}

impl fmt::Debug for Fingerprints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprints")
    }
}

impl Fingerprints {
    pub(super) fn new(key: [u8; 32]) -> Fingerprints {
        Fingerprints { key }
    }

    /// Returns the fingerprint of a data subject.
    pub fn subject(&self, subject: &SubjectId) -> Fingerprint {
        self.of(Domain::Subject, subject.namespace().map(|name| &**name), subject.id())
    }

    /// Returns the fingerprint of a controller.
    pub fn controller(&self, controller: &SubjectId) -> Fingerprint {
        self.of(Domain::Controller, controller.namespace().map(|name| &**name), controller.id())
    }

    /// Returns the fingerprint of a data subject in a former spelling, to find disclosures that were recorded under it.
    pub fn subject_as_spelled(&self, namespace: Option<&str>, spelled: &str) -> Fingerprint {
        self.of(Domain::Subject, namespace, spelled)
    }

    /// Returns the fingerprint of an actor: an individual who acts for a recipient. The namespace is the issuer of the
    /// actor's token.
    pub fn actor(&self, actor: &ActorId) -> Fingerprint {
        self.of(Domain::Actor, Some(&actor.issuer), &actor.id)
    }

    /// Returns the fingerprint of a recipient.
    pub fn recipient(&self, name: &str) -> Fingerprint {
        self.of(Domain::Recipient, None, name)
    }

    /// Returns the fingerprint of a disclosure case.
    pub fn case(&self, id: &str) -> Fingerprint {
        self.of(Domain::Case, None, id)
    }

    fn of(&self, domain: Domain, namespace: Option<&str>, id: &str) -> Fingerprint {
        // Hashed in one call: an incremental hasher costs more than hashing so few bytes.
        let mut text: SmallVec<[u8; 128]> = SmallVec::new();
        text.extend_from_slice(&[domain as u8, u8::from(namespace.is_some())]);
        if let Some(namespace) = namespace {
            text.extend_from_slice(&(namespace.len() as u64).to_le_bytes());
            text.extend_from_slice(namespace.as_bytes());
        }
        text.extend_from_slice(id.as_bytes());
        let hash = blake3::keyed_hash(&self.key, &text);
        let mut words = [0; 3];
        for (word, bytes) in words.iter_mut().zip(hash.as_bytes().as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Fingerprint(words)
    }
}

/// The pseudonym of a person in the disclosure log: 96 bits, printed as 16 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym([u8; 12]);

impl Pseudonym {
    /// Reads a pseudonym from the log.
    pub fn from_bytes(bytes: [u8; 12]) -> Pseudonym {
        Pseudonym(bytes)
    }

    /// Returns the bits.
    pub fn bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pseudonym")
    }
}

/// Computes the pseudonyms of the disclosure log. A person has a different pseudonym in each epoch.
#[derive(Clone)]
pub struct SubjectPseudonyms {
    key: [u8; 32],
}

impl fmt::Debug for SubjectPseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubjectPseudonyms")
    }
}

impl SubjectPseudonyms {
    pub(super) fn new(key: [u8; 32]) -> SubjectPseudonyms {
        SubjectPseudonyms { key }
    }

    /// Returns the function for one epoch. The epoch may be any text; the log uses the UTC date.
    #[must_use]
    pub fn epoch(&self, epoch: &str) -> EpochPseudonyms {
        EpochPseudonyms { key: *blake3::keyed_hash(&self.key, epoch.as_bytes()).as_bytes() }
    }

    /// Returns the function for one act. Each act has pseudonyms of its own: an act about a person often comes just before an event
    /// about the same person, whose time the ledger keeps, and must not lead from there to other entries of the day.
    #[must_use]
    pub fn act(&self, act: Ulid) -> EpochPseudonyms {
        self.epoch(&format!("act {act}"))
    }
}

/// Computes the pseudonyms of one epoch (see [`SubjectPseudonyms::epoch`]).
#[derive(Clone)]
pub struct EpochPseudonyms {
    key: [u8; 32],
}

impl fmt::Debug for EpochPseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochPseudonyms")
    }
}

impl EpochPseudonyms {
    /// Returns the pseudonym of a person whom the ledger does not know.
    pub fn of(&self, fingerprint: Fingerprint) -> Pseudonym {
        self.hash(&fingerprint.bytes())
    }

    /// Returns the pseudonym of a person with this log secret. The lengths of secrets and fingerprints differ, so no secret
    /// has the pseudonym of a fingerprint.
    pub(super) fn of_secret(&self, secret: &[u8; 16]) -> Pseudonym {
        self.hash(secret)
    }

    fn hash(&self, input: &[u8]) -> Pseudonym {
        let hash = blake3::keyed_hash(&self.key, input);
        let mut bits = [0; 12];
        bits.iter_mut().zip(hash.as_bytes()).for_each(|(bit, byte)| *bit = *byte);
        Pseudonym(bits)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::keys::Keys;
    use crate::vocabulary::Namespaces;

    fn id(namespace: Option<&str>, id: &str) -> SubjectId {
        Namespaces::default().reader(namespace).read_recorded(id)
    }

    #[test]
    fn different_people_have_different_fingerprints() {
        let fingerprints = Keys::random().unwrap().fingerprints();
        let ids = [
            id(None, "a"),
            id(Some(""), "a"),
            id(Some("a"), ""),
            id(None, ""),
            id(Some("a"), "b"),
            id(None, "ab"),
        ];
        let subjects: HashSet<_> = ids.iter().map(|id| fingerprints.subject(id)).collect();
        assert_eq!(subjects.len(), ids.len());
        assert!(ids.iter().all(|id| !subjects.contains(&fingerprints.controller(id))));
        assert!(!subjects.contains(&fingerprints.recipient("a")));
        let spelled = fingerprints.subject_as_spelled(Some("a"), "b");
        assert_eq!(spelled, fingerprints.subject(&id(Some("a"), "b")));
    }

    #[test]
    fn a_pseudonym_is_stable_within_an_epoch_and_differs_between_epochs() {
        let keys = Keys::random().unwrap();
        let person = keys.fingerprints().subject(&id(None, "c-1"));
        let pseudonyms = keys.subject_pseudonyms();
        let name = pseudonyms.epoch("2026-11-21").of(person);
        assert_eq!(name, keys.subject_pseudonyms().epoch("2026-11-21").of(person));
        assert_ne!(name, pseudonyms.epoch("2026-11-22").of(person));
        assert_eq!(name.to_string().len(), 16);
        assert!(
            name.to_string().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        );
    }

    #[test]
    fn pseudonyms_use_all_digits() {
        let keys = Keys::random().unwrap();
        let (fingerprints, epoch) = (keys.fingerprints(), keys.subject_pseudonyms().epoch("e"));
        let mut seen = HashSet::new();
        for n in 0..1000 {
            seen.extend(epoch.of(fingerprints.recipient(&n.to_string())).to_string().into_bytes());
        }
        assert_eq!(seen.len(), 64);
    }
}
