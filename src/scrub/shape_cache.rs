//! What came before, to recognise the same again without reading it letter by letter.
//!
//! Objects of a list nearly always have the same members in the same order, spaced alike. What led
//! to each member's value (comma, name, colon, white space) is kept as a tree: an object is a path
//! from its container's entry, member by member. A lead that stands where the tree has it needs
//! neither be scanned nor hashed nor looked up, and its name cannot be a duplicate: all names of a
//! path differ. Whoever leaves the tree (it is full, the object is very large, the bytes were cut
//! there) is read the long way from there on. It only ever saves work: what is recognised is equal
//! byte for byte to what was read, and found well-formed, in the same place.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::decision_cache::DecisionCache;
use super::state::{DEAD, StateId};

/// Entries of the tree; a body with more kinds of objects is read the long way.
const MAX_ENTRIES: usize = 512;
/// Entries that are kept from one body to the next: what an answer of the route nearly always has.
const MAX_SHARED_ENTRIES: usize = 128;
/// Members of one object that are kept; each new one is compared with all before it.
const MAX_MEMBERS: u8 = 64;
/// Leads tried at one place.
const MAX_ALTERNATIVES: usize = 4;
/// Longest lead kept.
const MAX_PREFIX: usize = 32;

/// One member of an object that came.
#[derive(Clone, Copy, Debug)]
struct ShapeEntry {
    /// What stood between the value before (or the bracket) and this value.
    prefix: [u8; MAX_PREFIX],
    length: u8,
    /// Where in it the name begins.
    name: u8,
    /// Members before it, itself included.
    member_count: u8,
    /// The name's hash.
    hash: u64,
    /// The container's state, and the member's.
    container: StateId,
    state: StateId,
    /// The member before it in its object; none before the first.
    previous: u32,
    /// Another member that came in the same place.
    alternative: u32,
    /// What came after it.
    next: u32,
    /// What came first in the objects that it holds.
    first_child: u32,
}

/// How far an object went along the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShapePath {
    /// The entry of the member that holds the object.
    owner: u32,
    /// The entry of its last member.
    last: u32,
    next: u32,
    /// Whether all its members are in the tree.
    pub(super) cached: bool,
}

impl ShapePath {
    /// Around the document's own container.
    pub(super) fn document() -> ShapePath {
        ShapePath { owner: 0, last: 0, next: 0, cached: true }
    }
}

/// A lead that was recognised: where its name and its value begin, and its member's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KnownPrefix {
    pub(super) name: usize,
    pub(super) value: usize,
    pub(super) state: StateId,
}

/// A lead that was read the long way.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewPrefix<'a> {
    pub(super) text: &'a [u8],
    /// Where in it the name begins.
    pub(super) name: usize,
    pub(super) hash: u64,
    pub(super) container: StateId,
    pub(super) state: StateId,
}

/// What came before, over one body.
#[derive(Clone, Debug, Default)]
pub(super) struct ShapeCache {
    /// The first stands for the document. Zero is no entry anywhere else.
    entries: Vec<ShapeEntry>,
    /// Records that were decided.
    pub(super) decisions: DecisionCache,
}

/// What came in earlier bodies of one plan, for the next to begin with. States are the plan's, so
/// nothing of it means anything elsewhere.
#[derive(Debug, Default)]
pub(super) struct SharedShapes(ArcSwap<ShapeCache>);

impl SharedShapes {
    pub(super) fn load(&self) -> Arc<ShapeCache> {
        self.0.load_full()
    }

    /// Keeps what a body has added, unless its objects were of many kinds.
    pub(super) fn store(&self, habits: &Arc<ShapeCache>) {
        let known = self.0.load();
        let more =
            habits.entries.len() > known.entries.len() || habits.decisions.len() > known.decisions.len();
        if more && habits.entries.len() <= MAX_SHARED_ENTRIES {
            self.0.store(Arc::clone(habits));
        }
    }
}

impl ShapeCache {
    /// The path of an object that stands where `path` is, in its last member or (of an array) in it.
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

    /// The lead at `at` (straight after a value or an opening bracket) if it came in this place.
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

    /// Whether a name has come in this object.
    pub(super) fn contains_name(&self, path: &ShapePath, hash: u64) -> bool {
        self.name_hashes(path).any(|name| name == hash)
    }

    /// Keeps a lead whose name has not come in this object. `false`: it cannot be kept.
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

    /// The hashes of an object's names, the last first.
    pub(super) fn name_hashes(&self, path: &ShapePath) -> impl Iterator<Item = u64> {
        let mut number = path.last;
        std::iter::from_fn(move || {
            let entry = self.entries.get(number as usize).filter(|_| number != 0)?;
            number = entry.previous;
            Some(entry.hash)
        })
    }

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
        let mut lead = [0; MAX_PREFIX];
        lead.get_mut(..new.text.len())?.copy_from_slice(new.text);
        Some(ShapeEntry {
            prefix: lead,
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

    /// Whether `here` begins with the lead, compared in words of eight bytes.
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
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATE: StateId = StateId(3);

    /// Reads an object's names: recognised ones in capitals, `!` where the path ends.
    fn read(habits: &mut ShapeCache, names: &[&str]) -> String {
        let mut path = habits.child_path(&ShapePath::document(), true);
        let mut out = String::new();
        for name in names {
            let comma = if out.is_empty() { "" } else { ", " };
            let mut bytes = format!("{comma}\"{name}\": ").into_bytes();
            let length = bytes.len();
            bytes.extend([b' '; MAX_PREFIX]);
            if let Some(lead) = habits.match_prefix(&mut path, STATE, &bytes, 0) {
                assert_eq!(lead, KnownPrefix { name: comma.len(), value: length, state: StateId(7) });
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
            if habits.contains_name(&path, hash) || !habits.insert(&mut path, new) {
                return out + "!";
            }
            out += name;
        }
        out
    }

    #[test]
    fn what_came_in_the_same_place_is_recognised() {
        let mut habits = ShapeCache::default();
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
            (&["a-name-that-is-longer-than-what-is-kept"], "!".to_owned()),
        ] {
            assert_eq!(read(&mut habits, names), out, "{names:?}");
        }
    }

    #[test]
    fn the_tree_is_bounded() {
        let mut habits = ShapeCache::default();
        for first in 0..2_000 {
            read(&mut habits, &[&first.to_string()]);
        }
        assert_eq!(habits.entries.len(), MAX_ENTRIES);
        let many: Vec<String> = (0..100).map(|name| format!("n{name}")).collect();
        let out = read(&mut ShapeCache::default(), &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(out.ends_with("n63!"), "{out}");
    }

    #[test]
    fn what_could_not_be_compared_is_not_kept_twice() {
        let mut habits = ShapeCache::default();
        let new = |hash| NewPrefix { text: b"\"id\":", name: 0, hash, container: STATE, state: STATE };
        for _ in 0..3 {
            let mut path = ShapePath::document();
            path = habits.child_path(&path, true);
            assert!(habits.insert(&mut path, new(1)));
            assert_eq!(path.last, 1);
        }
        let mut path = habits.child_path(&ShapePath::document(), true);
        assert!(habits.match_prefix(&mut path, STATE, b"\"id\":1", 0).is_none(), "too near to the end");
        let text = [b"\"id\":".as_slice(), &[b'1'; MAX_PREFIX]].concat();
        assert!(
            habits.match_prefix(&mut path, StateId(4), &text, 0).is_none(),
            "another state is another place"
        );
        assert!(habits.match_prefix(&mut path, STATE, &text, 0).is_some());
    }
}
