//! Which versions of the policy packs were in force, and since when each is known.
//!
//! The texts are opaque here: the ledger keeps them so that whoever opens it can compare what is to be in
//! force with what was. Invariant: a first sight that is on record never moves.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

/// A digest of the texts of a version.
pub type PolicyDigest = [u8; 32];

/// What the ledger remembers of the policy packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyMemory {
    /// When a gateway first saw each version.
    pub first_seen: BTreeMap<PolicyDigest, Timestamp>,
    /// The texts of the versions that stand at any place.
    pub texts: BTreeMap<PolicyDigest, String>,
    /// By the name of the place where they hold.
    pub places: BTreeMap<String, PolicyPlace>,
}

/// What a gateway last put in force at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlace {
    /// The latest instant at which it looked which version is in force.
    pub loaded: Timestamp,
    /// The version in force then, and those that waited, with their effective dates.
    pub versions: Vec<(PolicyDigest, Date)>,
}

impl PolicyMemory {
    /// Whether no policy was ever in force.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
