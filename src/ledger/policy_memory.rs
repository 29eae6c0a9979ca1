//! The record of policies: the versions of policy packs that were in force, and the time of their first sight.
//!
//! The ledger stores the texts without reading them, so that a later start can compare the policies it is about to
//! put in force with the earlier ones. Invariant: a recorded time of first sight never changes.

use std::collections::BTreeMap;

use jiff::Timestamp;
use jiff::civil::Date;

/// A digest of the texts of a version.
pub type PolicyDigest = [u8; 32];

/// The record of policies. A place is a set of routes with one policy, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyMemory {
    /// The time at which a gateway first saw each version.
    pub first_seen: BTreeMap<PolicyDigest, Timestamp>,
    /// The texts of the versions that are listed at any place.
    pub texts: BTreeMap<PolicyDigest, String>,
    /// The versions by the name of the place at which they apply.
    pub places: BTreeMap<String, PolicyPlace>,
}

/// The versions that a gateway last put in force at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlace {
    /// The latest instant at which the gateway determined the version in force.
    pub loaded: Timestamp,
    /// The version in force at that instant and the pending ones, each with its effective date.
    pub versions: Vec<(PolicyDigest, Date)>,
}

impl PolicyMemory {
    /// True if no policy was ever in force.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}
