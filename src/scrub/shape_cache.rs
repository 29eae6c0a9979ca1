//! Caches the member prefixes (comma, name, colon, white space) of earlier objects, as inline caches in JavaScript
//! engines do for the shapes of objects.
//!
//! Objects of a list nearly always have the same members in the same order, with the same spacing. The prefixes form
//! a tree: an object is a path that starts at the entry of the member that contains it and goes from member to
//! member. A prefix that is found in its place in the tree need not be tokenized, hashed or looked up, and its name
//! cannot be a duplicate, because all names of a path differ. An object leaves the tree if the tree is full, if the
//! object is very large, or if the bytes end inside of a prefix; the rest of its names are read one by one.
//!
//! Invariant: the cache never changes a result. A cached prefix equals, byte for byte, one that was found to be
//! well-formed in the same place.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::decision_cache::DecisionCache;
use super::state::{DEAD, StateId};

/// The greatest number of entries of one tree.
const MAX_ENTRIES: usize = 512;
/// The greatest number of entries of a tree that is shared with later bodies. A larger one has objects of many kinds,
/// which are unlikely to come again.
const MAX_SHARED_ENTRIES: usize = 128;
/// The greatest number of cached members of one object. Each new name is compared with all earlier names of the
/// object.
const MAX_MEMBERS: u8 = 64;
/// The greatest number of prefixes that are compared at one place in the tree.
const MAX_ALTERNATIVES: usize = 4;
/// The greatest length, in bytes, of a cached prefix.
const MAX_PREFIX: usize = 32;

/// One member of a cached object. Other entries are given by their number; zero stands for none.
#[derive(Clone, Copy, Debug)]
struct ShapeEntry {
    /// The bytes between the previous value, or the opening bracket, and this member's value.
    prefix: [u8; MAX_PREFIX],
    /// The length of the prefix.
    length: u8,
    /// The offset of the name in the prefix.
    name: u8,
    /// The number of members up to this one, itself included.
    member_count: u8,
    /// The hash of the name.
    hash: u64,
    /// The state of the object.
    container: StateId,
    /// The state of the member.
    state: StateId,
    /// The previous member of the object.
    previous: u32,
    /// Another member that was found in the same place.
    alternative: u32,
    /// A member that was found after this one.
    next: u32,
    /// A first member that was found in an object inside of this member's value.
    first_child: u32,
}

/// The path of one object through the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShapePath {
    /// The entry of the member that contains the object.
    owner: u32,
    /// The entry of the object's last member.
    last: u32,
    /// The first entry to compare with the next member.
    next: u32,
    /// True if all members of the object so far are in the tree.
    pub(super) cached: bool,
}

impl ShapePath {
    /// Returns the path around the document.
    pub(super) fn document() -> ShapePath {
        ShapePath { owner: 0, last: 0, next: 0, cached: true }
    }
}

/// A prefix that was found in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownPrefix {
    /// The offset of the name.
    pub(super) name: usize,
    /// The offset of the value.
    pub(super) value: usize,
    /// The state of the member.
    pub(super) state: StateId,
}

/// A prefix that was tokenized.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewPrefix<'a> {
    pub(super) text: &'a [u8],
    /// The offset of the name in the text.
    pub(super) name: usize,
    pub(super) hash: u64,
    pub(super) container: StateId,
    pub(super) state: StateId,
}

/// The cache of one body.
#[derive(Clone, Debug, Default)]
pub(super) struct ShapeCache {
    /// The first entry stands for the document.
    entries: Vec<ShapeEntry>,
    /// The decisions about records, by the shape of the record.
    pub(super) decisions: DecisionCache,
}

/// The cache that the walk over each body of one plan starts with. It holds states of that plan, so it is useless for
/// other plans.
#[derive(Debug, Default)]
pub(super) struct SharedShapes(ArcSwap<ShapeCache>);

impl SharedShapes {
    /// Returns the cache to start a body with.
    pub(super) fn load(&self) -> Arc<ShapeCache> {
        self.0.load_full()
    }

    /// Stores the cache of a body, if it has new entries and is not too large.
    pub(super) fn store(&self, shapes: &Arc<ShapeCache>) {
        let known = self.0.load();
        let has_more =
            shapes.entries.len() > known.entries.len() || shapes.decisions.len() > known.decisions.len();
        if has_more && shapes.entries.len() <= MAX_SHARED_ENTRIES {
            self.0.store(Arc::clone(shapes));
        }
    }
}

impl ShapeCache {
    /// Returns the path of a new object inside of a container: inside of the last member if the container is an
    /// object, or inside of an array.
    #[inline(always)]
    pub(super) fn child_path(&self, path: &ShapePath, array: bool) -> ShapePath {
        match (path.cached, array) {
            (true, true) => self.path_inside(path.owner),
            (true, false) => self.path_inside(path.last),
            (false, _) => ShapePath { owner: 0, last: 0, next: 0, cached: false },
        }
    }

    #[inline(always)]
    fn path_inside(&self, owner: u32) -> ShapePath {
        let next = self.entries.get(owner as usize).map_or(0, |owner| owner.first_child);
        ShapePath { owner, last: 0, next, cached: true }
    }

    /// Returns the prefix at `at`, directly after a value or an opening bracket, if it is cached in this place. Advances
    /// the path.
    #[inline(always)]
    pub(super) fn match_prefix(
        &self,
        path: &mut ShapePath,
        container: StateId,
        bytes: &[u8],
        at: usize,
    ) -> Option<KnownPrefix> {
        let mut number = path.next;
        let here = bytes.get(at..)?.first_chunk::<MAX_PREFIX>()?;
        for _ in 0..MAX_ALTERNATIVES {
            if number == 0 {
                return None;
            }
            let entry = self.entries.get(number as usize)?;
            if entry.matches(here) && entry.container == container {
                path.last = number;
                path.next = entry.next;
                let (name, value) = (at + usize::from(entry.name), at + usize::from(entry.length));
                return Some(KnownPrefix { name, value, state: entry.state });
            }
            number = entry.alternative;
        }
        None
    }

    /// True if a name is on the path of this object.
    pub(super) fn contains_name(&self, path: &ShapePath, hash: u64) -> bool {
        self.name_hashes(path).any(|name| name == hash)
    }

    /// Adds a prefix whose name is not on the path, and advances the path. Returns false if the prefix cannot be
    /// cached.
    pub(super) fn insert(&mut self, path: &mut ShapePath, new: NewPrefix<'_>) -> bool {
        if self.entries.is_empty() {
            self.entries.push(ShapeEntry::document());
        }
        let members = self.entries.get(path.last as usize).map_or(0, |last| last.member_count);
        let Some(mut entry) = ShapeEntry::new(new).filter(|_| members < MAX_MEMBERS) else { return false };
        let known = self.alternatives(path.next).find(|(_, known)| {
            (known.prefix, known.length, known.container) == (entry.prefix, entry.length, entry.container)
        });
        if let Some((number, known)) = known {
            (path.last, path.next) = (number, known.next);
            return true;
        }
        if self.entries.len() >= MAX_ENTRIES {
            return false;
        }
        let number = self.entries.len() as u32;
        entry.previous = path.last;
        entry.member_count = members + 1;
        let place = match path.last {
            0 => self.entries.get_mut(path.owner as usize).map(|owner| &mut owner.first_child),
            last => self.entries.get_mut(last as usize).map(|last| &mut last.next),
        };
        if let Some(place) = place {
            entry.alternative = std::mem::replace(place, number);
        }
        self.entries.push(entry);
        (path.last, path.next) = (number, 0);
        true
    }

    /// Returns the hashes of an object's names, the last name first.
    pub(super) fn name_hashes(&self, path: &ShapePath) -> impl Iterator<Item = u64> {
        let mut number = path.last;
        std::iter::from_fn(move || {
            let entry = self.entries.get(number as usize).filter(|_| number != 0)?;
            number = entry.previous;
            Some(entry.hash)
        })
    }

    /// Returns an entry and the alternatives to it.
    fn alternatives(&self, mut number: u32) -> impl Iterator<Item = (u32, &ShapeEntry)> {
        std::iter::from_fn(move || {
            let here = number;
            let entry = self.entries.get(here as usize).filter(|_| here != 0)?;
            number = entry.alternative;
            Some((here, entry))
        })
    }
}

impl ShapeEntry {
    fn new(new: NewPrefix<'_>) -> Option<ShapeEntry> {
        let mut prefix = [0; MAX_PREFIX];
        prefix.get_mut(..new.text.len())?.copy_from_slice(new.text);
        Some(ShapeEntry {
            prefix,
            length: u8::try_from(new.text.len()).ok()?,
            name: u8::try_from(new.name).ok()?,
            member_count: 0,
            hash: new.hash,
            container: new.container,
            state: new.state,
            previous: 0,
            alternative: 0,
            next: 0,
            first_child: 0,
        })
    }

    fn document() -> ShapeEntry {
        ShapeEntry {
            prefix: [0; MAX_PREFIX],
            length: 0,
            name: 0,
            member_count: 0,
            hash: 0,
            container: DEAD,
            state: DEAD,
            previous: 0,
            alternative: 0,
            next: 0,
            first_child: 0,
        }
    }

    /// True if `here` begins with the prefix. Compares words of eight bytes.
    #[inline(always)]
    fn matches(&self, here: &[u8; MAX_PREFIX]) -> bool {
        let mut left = u32::from(self.length);
        for (here, own) in here.as_chunks::<8>().0.iter().zip(self.prefix.as_chunks::<8>().0) {
            let differ = u64::from_le_bytes(*here) ^ u64::from_le_bytes(*own);
            if left <= 8 {
                return differ.trailing_zeros() >= left * 8;
            }
            if differ != 0 {
                return false;
            }
            left -= 8;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: StateId = StateId(3);

    /// Reads the names of an object. Returns cached names in capitals, and `!` where the object leaves the cache.
    fn read(shapes: &mut ShapeCache, names: &[&str]) -> String {
        let mut path = shapes.child_path(&ShapePath::document(), true);
        let mut out = String::new();
        for name in names {
            let comma = if out.is_empty() { "" } else { ", " };
            let mut bytes = format!("{comma}\"{name}\": ").into_bytes();
            let length = bytes.len();
            bytes.extend([b' '; MAX_PREFIX]);
            if let Some(prefix) = shapes.match_prefix(&mut path, STATE, &bytes, 0) {
                assert_eq!(prefix, KnownPrefix { name: comma.len(), value: length, state: StateId(7) });
                out += &name.to_uppercase();
                continue;
            }
            let hash = crate::scrub::lex::hash(name.as_bytes());
            let new = NewPrefix {
                text: &bytes[..length],
                name: comma.len(),
                hash,
                container: STATE,
                state: StateId(7),
            };
            if shapes.contains_name(&path, hash) || !shapes.insert(&mut path, new) {
                return out + "!";
            }
            out += name;
        }
        out
    }

    #[test]
    fn a_prefix_is_found_in_the_place_where_it_was_inserted() {
        let mut shapes = ShapeCache::default();
        let long = "a-name-of-six-and-twenty-b";
        for (names, out) in [
            (&["id", "name", long][..], format!("idname{long}")),
            (&["id", "name", long], format!("IDNAME{}", long.to_uppercase())),
            (&["id", long], format!("ID{long}")),
            (&["id", long], format!("ID{}", long.to_uppercase())),
            (&["id", "name", long, "more"], format!("IDNAME{}more", long.to_uppercase())),
            (&["i"], "i".to_owned()),
            (&["idx"], "idx".to_owned()),
            (&["id", "x", "id"], "IDx!".to_owned()),
            (&["id", "x", "x"], "IDX!".to_owned()),
            (&["a-name-that-is-longer-than-a-cached-prefix"], "!".to_owned()),
        ] {
            assert_eq!(read(&mut shapes, names), out, "{names:?}");
        }
    }

    #[test]
    fn the_tree_is_bounded() {
        let mut shapes = ShapeCache::default();
        for first in 0..2_000 {
            read(&mut shapes, &[&first.to_string()]);
        }
        assert_eq!(shapes.entries.len(), MAX_ENTRIES);
        let many: Vec<String> = (0..100).map(|name| format!("n{name}")).collect();
        let out = read(&mut ShapeCache::default(), &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(out.ends_with("n63!"), "{out}");
    }

    #[test]
    fn a_prefix_that_could_not_be_compared_is_not_inserted_twice() {
        let mut shapes = ShapeCache::default();
        let new = |hash| NewPrefix { text: b"\"id\":", name: 0, hash, container: STATE, state: STATE };
        for _ in 0..3 {
            let mut path = ShapePath::document();
            path = shapes.child_path(&path, true);
            assert!(shapes.insert(&mut path, new(1)));
            assert_eq!(path.last, 1);
        }
        let mut path = shapes.child_path(&ShapePath::document(), true);
        assert!(shapes.match_prefix(&mut path, STATE, b"\"id\":1", 0).is_none(), "too close to the end");
        let text = [b"\"id\":".as_slice(), &[b'1'; MAX_PREFIX]].concat();
        assert!(
            shapes.match_prefix(&mut path, StateId(4), &text, 0).is_none(),
            "another state is another place"
        );
        assert!(shapes.match_prefix(&mut path, STATE, &text, 0).is_some());
    }
}
