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

use super::automaton::StateId;
use super::unit::Precedents;

/// Entries of the tree; a body with more kinds of objects is read the long way.
const MOST_ENTRIES: usize = 512;
/// Entries that are kept from one body to the next: what an answer of the route nearly always has.
const MOST_SHARED: usize = 128;
/// Members of one object that are kept; each new one is compared with all before it.
const MOST_MEMBERS: u8 = 64;
/// Leads tried at one place.
const MOST_TRIED: usize = 4;
/// Longest lead kept.
const LONGEST: usize = 32;

/// One member of an object that came.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// What stood between the value before (or the bracket) and this value.
    lead: [u8; LONGEST],
    length: u8,
    /// Where in it the name begins.
    name: u8,
    /// Members before it, itself included.
    members: u8,
    /// The name's hash.
    hash: u64,
    /// The container's state, and the member's.
    container: StateId,
    state: StateId,
    /// The member before it in its object; none before the first.
    before: u32,
    /// Another member that came in the same place.
    instead: u32,
    /// What came after it.
    after: u32,
    /// What came first in the objects that it holds.
    inside: u32,
}

/// How far an object went along the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// The entry of the member that holds the object.
    owner: u32,
    /// The entry of its last member.
    last: u32,
    next: u32,
    /// Whether all its members are in the tree.
    pub(super) known: bool,
}

impl Path {
    /// Around the document's own container.
    pub(super) fn document() -> Path {
        Path { owner: 0, last: 0, next: 0, known: true }
    }
}

/// A lead that was recognised: where its name and its value begin, and its member's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) name: usize,
    pub(super) value: usize,
    pub(super) state: StateId,
}

/// A lead that was read the long way.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewLead<'a> {
    pub(super) text: &'a [u8],
    /// Where in it the name begins.
    pub(super) name: usize,
    pub(super) hash: u64,
    pub(super) container: StateId,
    pub(super) state: StateId,
}

/// What came before, over one body.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// The first stands for the document. Zero is no entry anywhere else.
    entries: Vec<Entry>,
    /// Records that were decided.
    pub(super) precedents: Precedents,
}

/// What came in earlier bodies of one plan, for the next to begin with. States are the plan's, so
/// nothing of it means anything elsewhere.
#[derive(Debug, Default)]
pub(super) struct Usual(ArcSwap<Habits>);

impl Usual {
    pub(super) fn begin(&self) -> Arc<Habits> {
        self.0.load_full()
    }

    /// Keeps what a body has added, unless its objects were of many kinds.
    pub(super) fn keep(&self, habits: &Arc<Habits>) {
        let known = self.0.load();
        let more =
            habits.entries.len() > known.entries.len() || habits.precedents.len() > known.precedents.len();
        if more && habits.entries.len() <= MOST_SHARED {
            self.0.store(Arc::clone(habits));
        }
    }
}

impl Habits {
    /// The path of an object that stands where `path` is, in its last member or (of an array) in it.
    #[inline(always)]
    pub(super) fn within(&self, path: &Path, array: bool) -> Path {
        match (path.known, array) {
            (true, true) => self.enter(path.owner),
            (true, false) => self.enter(path.last),
            (false, _) => Path { owner: 0, last: 0, next: 0, known: false },
        }
    }

    #[inline(always)]
    fn enter(&self, owner: u32) -> Path {
        let next = self.entries.get(owner as usize).map_or(0, |owner| owner.inside);
        Path { owner, last: 0, next, known: true }
    }

    /// The lead at `at` (straight after a value or an opening bracket) if it came in this place.
    #[inline(always)]
    pub(super) fn recognise(
        &self,
        path: &mut Path,
        container: StateId,
        bytes: &[u8],
        at: usize,
    ) -> Option<Lead> {
        let mut number = path.next;
        let here = bytes.get(at..)?.first_chunk::<LONGEST>()?;
        for _ in 0..MOST_TRIED {
            if number == 0 {
                return None;
            }
            let entry = self.entries.get(number as usize)?;
            if entry.is(here) && entry.container == container {
                path.last = number;
                path.next = entry.after;
                let (name, value) = (at + usize::from(entry.name), at + usize::from(entry.length));
                return Some(Lead { name, value, state: entry.state });
            }
            number = entry.instead;
        }
        None
    }

    /// Whether a name has come in this object.
    pub(super) fn has(&self, path: &Path, hash: u64) -> bool {
        self.names(path).any(|name| name == hash)
    }

    /// Keeps a lead whose name has not come in this object. `false`: it cannot be kept.
    pub(super) fn learn(&mut self, path: &mut Path, new: NewLead<'_>) -> bool {
        if self.entries.is_empty() {
            self.entries.push(Entry::document());
        }
        let members = self.entries.get(path.last as usize).map_or(0, |last| last.members);
        let Some(mut entry) = Entry::new(new).filter(|_| members < MOST_MEMBERS) else { return false };
        let known = self.alternatives(path.next).find(|(_, known)| {
            (known.lead, known.length, known.container) == (entry.lead, entry.length, entry.container)
        });
        if let Some((number, known)) = known {
            (path.last, path.next) = (number, known.after);
            return true;
        }
        if self.entries.len() >= MOST_ENTRIES {
            return false;
        }
        let number = self.entries.len() as u32;
        entry.before = path.last;
        entry.members = members + 1;
        let place = match path.last {
            0 => self.entries.get_mut(path.owner as usize).map(|owner| &mut owner.inside),
            last => self.entries.get_mut(last as usize).map(|last| &mut last.after),
        };
        if let Some(place) = place {
            entry.instead = std::mem::replace(place, number);
        }
        self.entries.push(entry);
        (path.last, path.next) = (number, 0);
        true
    }

    /// The hashes of an object's names, the last first.
    pub(super) fn names(&self, path: &Path) -> impl Iterator<Item = u64> {
        let mut number = path.last;
        std::iter::from_fn(move || {
            let entry = self.entries.get(number as usize).filter(|_| number != 0)?;
            number = entry.before;
            Some(entry.hash)
        })
    }

    fn alternatives(&self, mut number: u32) -> impl Iterator<Item = (u32, &Entry)> {
        std::iter::from_fn(move || {
            let here = number;
            let entry = self.entries.get(here as usize).filter(|_| here != 0)?;
            number = entry.instead;
            Some((here, entry))
        })
    }
}

impl Entry {
    fn new(new: NewLead<'_>) -> Option<Entry> {
        let mut lead = [0; LONGEST];
        lead.get_mut(..new.text.len())?.copy_from_slice(new.text);
        Some(Entry {
            lead,
            length: u8::try_from(new.text.len()).ok()?,
            name: u8::try_from(new.name).ok()?,
            members: 0,
            hash: new.hash,
            container: new.container,
            state: new.state,
            before: 0,
            instead: 0,
            after: 0,
            inside: 0,
        })
    }

    fn document() -> Entry {
        let dead = super::automaton::DEAD;
        Entry {
            lead: [0; LONGEST],
            length: 0,
            name: 0,
            members: 0,
            hash: 0,
            container: dead,
            state: dead,
            before: 0,
            instead: 0,
            after: 0,
            inside: 0,
        }
    }

    /// Whether `here` begins with the lead, compared in words of eight bytes.
    #[inline(always)]
    fn is(&self, here: &[u8; LONGEST]) -> bool {
        let mut left = u32::from(self.length);
        for (here, own) in here.as_chunks::<8>().0.iter().zip(self.lead.as_chunks::<8>().0) {
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
    fn read(habits: &mut Habits, names: &[&str]) -> String {
        let mut path = habits.within(&Path::document(), true);
        let mut out = String::new();
        for name in names {
            let comma = if out.is_empty() { "" } else { ", " };
            let mut bytes = format!("{comma}\"{name}\": ").into_bytes();
            let length = bytes.len();
            bytes.extend([b' '; LONGEST]);
            if let Some(lead) = habits.recognise(&mut path, STATE, &bytes, 0) {
                assert_eq!(lead, Lead { name: comma.len(), value: length, state: StateId(7) });
                out += &name.to_uppercase();
                continue;
            }
            let hash = crate::scrub::lex::hash(name.as_bytes());
            let new = NewLead {
                text: &bytes[..length],
                name: comma.len(),
                hash,
                container: STATE,
                state: StateId(7),
            };
            if habits.has(&path, hash) || !habits.learn(&mut path, new) {
                return out + "!";
            }
            out += name;
        }
        out
    }

    #[test]
    fn what_came_in_the_same_place_is_recognised() {
        let mut habits = Habits::default();
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
        let mut habits = Habits::default();
        for first in 0..2_000 {
            read(&mut habits, &[&first.to_string()]);
        }
        assert_eq!(habits.entries.len(), MOST_ENTRIES);
        let many: Vec<String> = (0..100).map(|name| format!("n{name}")).collect();
        let out = read(&mut Habits::default(), &many.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(out.ends_with("n63!"), "{out}");
    }

    #[test]
    fn what_could_not_be_compared_is_not_kept_twice() {
        let mut habits = Habits::default();
        let new = |hash| NewLead { text: b"\"id\":", name: 0, hash, container: STATE, state: STATE };
        for _ in 0..3 {
            let mut path = Path::document();
            path = habits.within(&path, true);
            assert!(habits.learn(&mut path, new(1)));
            assert_eq!(path.last, 1);
        }
        let mut path = habits.within(&Path::document(), true);
        assert!(habits.recognise(&mut path, STATE, b"\"id\":1", 0).is_none(), "too near to the end");
        let text = [b"\"id\":".as_slice(), &[b'1'; LONGEST]].concat();
        assert!(
            habits.recognise(&mut path, StateId(4), &text, 0).is_none(),
            "another state is another place"
        );
        assert!(habits.recognise(&mut path, STATE, &text, 0).is_some());
    }
}
