//! The names of the members of all open objects, to detect duplicates.
//!
//! Only 64-bit hashes of names are kept. Two different names with the same hash would cause a valid body to be refused,
//! with a probability of 2^-64 per pair; they never cause anything to be released.

use std::collections::HashSet;

/// The greatest number of names of an object that are compared one by one. The names of a larger object are put in a
/// hash set.
const MAX_LINEAR: usize = 48;

/// The names of one object: their place in the list of all names, and a summary that usually suffices to tell that a
/// name is new.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ObjectNames {
    from: u32,
    /// One bit for each name, given by its hash. If the bit of a name is clear, the name is new.
    summary: u64,
}

/// The names of all open objects, the innermost object's last.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberNames {
    hashes: Vec<u64>,
    /// The sets of large open objects, each with the object's `from`; the innermost object's last.
    large: Vec<(u32, HashSet<u64>)>,
}

impl MemberNames {
    /// Opens an object.
    pub(super) fn open(&self) -> ObjectNames {
        ObjectNames { from: self.hashes.len() as u32, summary: 0 }
    }

    /// Adds a name to the innermost object. Returns true if the name is a duplicate.
    #[inline(always)]
    pub(super) fn insert(&mut self, object: &mut ObjectNames, hash: u64) -> bool {
        let bit = 1u64 << (hash >> 58);
        let may_be_duplicate = object.summary & bit != 0;
        object.summary |= bit;
        let count = self.hashes.len() - object.from as usize;
        let is_duplicate = if count >= MAX_LINEAR {
            self.insert_in_set(*object, hash)
        } else {
            may_be_duplicate
                && self.hashes.get(object.from as usize..).is_some_and(|names| names.contains(&hash))
        };
        self.hashes.push(hash);
        is_duplicate
    }

    #[cold]
    fn insert_in_set(&mut self, object: ObjectNames, hash: u64) -> bool {
        if self.large.last().is_none_or(|(from, _)| *from != object.from) {
            let names = self.hashes.get(object.from as usize..).unwrap_or_default();
            self.large.push((object.from, names.iter().copied().collect()));
        }
        self.large.last_mut().is_some_and(|(_, set)| !set.insert(hash))
    }

    /// Returns the number of names in the innermost object.
    pub(super) fn count(&self, object: &ObjectNames) -> usize {
        self.hashes.len() - object.from as usize
    }

    /// Closes the innermost object and forgets its names.
    pub(super) fn close(&mut self, object: &ObjectNames) {
        self.hashes.truncate(object.from as usize);
        if self.large.last().is_some_and(|(from, _)| *from >= object.from) {
            self.large.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_duplicate_within_one_object_only() {
        let mut names = MemberNames::default();
        let mut outer = names.open();
        for hash in 0..1000u64 {
            let hash = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            assert!(!names.insert(&mut outer, hash));
            let mut inner = names.open();
            for again in 0..60u64 {
                assert!(!names.insert(&mut inner, again << 58 ^ again));
            }
            assert!(names.insert(&mut inner, 7 << 58 ^ 7));
            names.close(&inner);
        }
        assert!(names.insert(&mut outer, 0x9e37_79b9_7f4a_7c15));
        assert_eq!(names.count(&outer), 1001);
        names.close(&outer);
        let mut fresh = names.open();
        assert!(!names.insert(&mut fresh, 0x9e37_79b9_7f4a_7c15));
    }
}
