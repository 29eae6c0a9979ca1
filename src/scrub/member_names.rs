//! The names met so far in the objects that are open, to tell when one comes twice.
//!
//! Refuses to keep names: their hashes are kept, 64 bits each. Two names with one hash would have
//! an honest body refused once in 2^64; nothing is ever released for it.

use std::collections::HashSet;

/// Objects with more members than this have their names in a set.
const MAX_LINEAR: usize = 48;

/// The names of one object: where they begin in the common list, and a summary that is nearly
/// always enough.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ObjectNames {
    from: u32,
    /// One bit for each name; a bit that is not set is a name not met.
    summary: u64,
}

/// The names of all open objects, innermost last.
#[derive(Clone, Debug, Default)]
pub(super) struct MemberNames {
    hashes: Vec<u64>,
    /// Sets of the large ones among the open objects, by where they begin; innermost last.
    large: Vec<(u32, HashSet<u64>)>,
}

impl MemberNames {
    pub(super) fn open(&self) -> ObjectNames {
        ObjectNames { from: self.hashes.len() as u32, summary: 0 }
    }

    /// Notes a name of the innermost object. Tells whether it had come before.
    #[inline(always)]
    pub(super) fn insert(&mut self, seen: &mut ObjectNames, hash: u64) -> bool {
        let bit = 1u64 << (hash >> 58);
        let maybe = seen.summary & bit != 0;
        seen.summary |= bit;
        let count = self.hashes.len() - seen.from as usize;
        let repeated = if count >= MAX_LINEAR {
            self.insert_in_set(*seen, hash)
        } else {
            maybe && self.hashes.get(seen.from as usize..).is_some_and(|names| names.contains(&hash))
        };
        self.hashes.push(hash);
        repeated
    }

    #[cold]
    fn insert_in_set(&mut self, seen: ObjectNames, hash: u64) -> bool {
        if self.large.last().is_none_or(|(from, _)| *from != seen.from) {
            let names = self.hashes.get(seen.from as usize..).unwrap_or_default();
            self.large.push((seen.from, names.iter().copied().collect()));
        }
        self.large.last_mut().is_some_and(|(_, set)| !set.insert(hash))
    }

    /// How many names the innermost object has had.
    pub(super) fn count(&self, seen: &ObjectNames) -> usize {
        self.hashes.len() - seen.from as usize
    }

    /// Forgets the innermost object.
    pub(super) fn close(&mut self, seen: &ObjectNames) {
        self.hashes.truncate(seen.from as usize);
        if self.large.last().is_some_and(|(from, _)| *from >= seen.from) {
            self.large.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_repeated_within_one_object_only() {
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
