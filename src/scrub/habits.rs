//! The names that came before, to recognise the same ones without reading them letter by letter.
//!
//! Objects of a list nearly always have the same members in the same order. What followed what is
//! kept as a tree: an object is a path from its container's entry, member by member. A name that
//! stands where the tree has it needs neither be scanned nor hashed nor looked up, and it cannot be
//! a duplicate: all names of a path differ. Whoever leaves the tree (it is full, the object is very
//! large) is read the long way from there on. It only ever saves work: what is recognised is equal
//! byte for byte to what was read before.

use super::automaton::StateId;

/// Entries of the tree; a body with more kinds of objects is read the long way.
const MOST_ENTRIES: usize = 512;
/// Members of one object that are kept; each new one is compared with all before it.
const MOST_MEMBERS: u8 = 64;
/// Names tried at one place.
const MOST_TRIED: usize = 4;
/// Longest name kept, with its quotes.
const LONGEST: usize = 32;

/// One member of an object that came.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The name as it is spelled, quotes included.
    spelled: [u8; LONGEST],
    length: u8,
    /// Members before it, itself included.
    members: u8,
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

/// What came before, over one body.
#[derive(Clone, Debug, Default)]
pub(super) struct Habits {
    /// The first stands for the document. Zero is no entry anywhere else.
    entries: Vec<Entry>,
}

impl Habits {
    /// The path of the document's own container.
    pub(super) fn root(&self) -> Path {
        self.enter(0)
    }

    /// The path of an object that stands where `path` is, in its last member or (of an array) in it.
    pub(super) fn within(&self, path: &Path, array: bool) -> Path {
        match (path.known, array) {
            (true, true) => self.enter(path.owner),
            (true, false) => self.enter(path.last),
            (false, _) => Path { owner: 0, last: 0, next: 0, known: false },
        }
    }

    fn enter(&self, owner: u32) -> Path {
        let next = self.entries.get(owner as usize).map_or(0, |owner| owner.inside);
        Path { owner, last: 0, next, known: true }
    }

    /// The name at `at` if it is one that came in this place: where it ends, and its member's state.
    #[inline(always)]
    pub(super) fn recognise(
        &self,
        path: &mut Path,
        container: StateId,
        bytes: &[u8],
        at: usize,
    ) -> Option<(usize, StateId)> {
        let mut number = path.next;
        let here = bytes.get(at..)?.first_chunk::<LONGEST>()?;
        for _ in 0..MOST_TRIED {
            if number == 0 {
                return None;
            }
            let entry = self.entries.get(number as usize)?;
            if entry.container == container && entry.is_spelled(here) {
                path.last = number;
                path.next = entry.after;
                return Some((at + usize::from(entry.length), entry.state));
            }
            number = entry.instead;
        }
        None
    }

    /// Keeps a name that was read the long way. `false`: it cannot be kept, or it came in this object
    /// before; the path ends here.
    pub(super) fn learn(
        &mut self,
        path: &mut Path,
        container: StateId,
        spelled: &[u8],
        hash: u64,
        state: StateId,
    ) -> bool {
        if self.entries.is_empty() {
            self.entries.push(Entry::new(&[], 0, DOCUMENT, DOCUMENT));
        }
        let repeated = self.names(path).any(|name| name == hash);
        let members = self.entries.get(path.last as usize).map_or(0, |last| last.members);
        let full = self.entries.len() >= MOST_ENTRIES || members >= MOST_MEMBERS || spelled.len() > LONGEST;
        if repeated || full {
            path.known = false;
            return false;
        }
        let number = self.entries.len() as u32;
        let mut entry = Entry::new(spelled, hash, container, state);
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
        path.last = number;
        path.next = 0;
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
}

const DOCUMENT: StateId = super::automaton::DEAD;

impl Entry {
    fn new(spelled: &[u8], hash: u64, container: StateId, state: StateId) -> Entry {
        let mut kept = [0; LONGEST];
        kept.iter_mut().zip(spelled).for_each(|(to, from)| *to = *from);
        Entry {
            spelled: kept,
            length: spelled.len() as u8,
            members: 0,
            hash,
            container,
            state,
            before: 0,
            instead: 0,
            after: 0,
            inside: 0,
        }
    }

    /// Whether `here` begins with the name. Eight bytes at a time: names are short.
    #[inline(always)]
    fn is_spelled(&self, here: &[u8; LONGEST]) -> bool {
        let mut left = usize::from(self.length);
        let words = here.as_chunks::<8>().0.iter().zip(self.spelled.as_chunks::<8>().0);
        for (here, own) in words {
            let differ = u64::from_le_bytes(*here) ^ u64::from_le_bytes(*own);
            if left <= 8 {
                return left == 0 || differ << (64 - 8 * left) == 0;
            }
            if differ != 0 {
                return false;
            }
            left -= 8;
        }
        left == 0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STATE: StateId = StateId(3);

    /// Reads an object's names: recognised ones in capitals, `!` where the path ends.
    fn read(habits: &mut Habits, names: &[&str]) -> String {
        let mut path = habits.root();
        let mut out = String::new();
        for name in names {
            let mut bytes = format!("\"{name}\"").into_bytes();
            let spelled = bytes.len();
            bytes.extend([b' '; LONGEST]);
            match habits.recognise(&mut path, STATE, &bytes, 0) {
                Some((end, state)) => {
                    assert_eq!((end, state), (spelled, StateId(7)));
                    out += &name.to_uppercase();
                }
                None if habits.learn(&mut path, STATE, &bytes[..spelled], crate::scrub::lex::hash(name.as_bytes()), StateId(7)) => {
                    out += name;
                }
                None => return out + "!",
            }
        }
        out
    }

    #[test]
    fn what_came_in_the_same_place_is_recognised() {
        let mut habits = Habits::default();
        let long = "a-name-of-eight-and-twenty-b";
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
    fn another_state_is_another_place() {
        let mut habits = Habits::default();
        read(&mut habits, &["id"]);
        let mut path = habits.root();
        let bytes = [b"\"id\"".as_slice(), &[b' '; LONGEST]].concat();
        assert!(habits.recognise(&mut path, StateId(4), &bytes, 0).is_none());
        assert!(habits.recognise(&mut path, STATE, &bytes[..8], 0).is_none(), "too near to the end");
    }
}
