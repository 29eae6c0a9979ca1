//! Compiles the queries of a plan to one deterministic automaton over names and positions.
//!
//! A state holds everything that follows from the names and positions on the path from the root to a node: the record
//! that begins there, the class, and the captures that select the node. It also holds a mark if a query continues
//! below. The automaton cannot decide conditions (filters, and positions counted from the end). If a condition
//! applies to the children of a node, the state has an *anchor*, from which [`super::evaluate`] continues over the
//! held value. Below the anchor, every selection that depends on the condition is marked *maybe*. Invariant: a
//! selection that is not *maybe* is exact. A *maybe* selection only causes more work (a value is held, a class is
//! enumerated); it never decides about a node.
//!
//! The automaton is built once, when a plan is compiled. The subset construction is eager and bounded.

use std::collections::{BTreeSet, HashMap};

use super::lex;
use super::query::{Query, QuerySegment, Selector};
use super::record_set::{QueryRole, RecordSet};
use super::state::{DEAD, QueryPosition, RecordStart, State, StateFlags, StateId};

/// The greatest number of states and of transitions. If the automaton would be larger, the document is held whole and every
/// query is evaluated. Each wildcard after `..` can double the number of states.
const MAX_STATES: usize = 1 << 12;
const MAX_CELLS: usize = 1 << 21;

/// The automaton of a plan.
#[derive(Clone, Debug)]
pub(super) struct Automaton {
    names: NameIndex,
    /// The number of positions that have a column each. All later positions share one column.
    last_index: u32,
    /// The number of columns.
    width: usize,
    /// The transitions, one row per state.
    next: Vec<StateId>,
    pub(super) states: Vec<State>,
    flags: Vec<StateFlags>,
    pub(super) root: StateId,
}

impl Automaton {
    fn new(
        names: NameIndex,
        last_index: u32,
        width: usize,
        next: Vec<StateId>,
        states: Vec<State>,
        root: StateId,
    ) -> Automaton {
        let mark = |state: &State| StateFlags {
            plain: state.fields.is_empty() && state.start == RecordStart::None && !state.skeleton,
            captures: !state.captures.is_empty(),
            embedded: state.embedded,
            relevant_below: state.relevant_below,
            held: state.held,
        };
        let marks = states.iter().map(mark).collect();
        Automaton { names, last_index, width, next, states, flags: marks, root }
    }

    /// Returns the state of a member of a container in the state `from`. `hash` is the hash of the decoded name.
    #[inline(always)]
    pub(super) fn member(&self, from: StateId, name: &[u8], hash: u64) -> StateId {
        self.step(from, self.names.column(name, hash))
    }

    /// Returns the state of an element of a container in the state `from`.
    #[inline(always)]
    pub(super) fn element(&self, from: StateId, index: u32) -> StateId {
        self.step(from, self.names.count + 1 + index.min(self.last_index) as usize)
    }

    /// Returns the state of a member with this name.
    pub(super) fn named_member(&self, from: StateId, name: &str) -> StateId {
        self.member(from, name.as_bytes(), lex::hash(name.as_bytes()))
    }

    /// Returns the states that members can have: those of all names in queries, and that of every other name.
    pub(super) fn members(&self, from: StateId) -> impl Iterator<Item = StateId> {
        (0..=self.names.count).map(move |column| self.step(from, column))
    }

    /// Returns the states that elements can have.
    pub(super) fn elements(&self, from: StateId) -> impl Iterator<Item = StateId> {
        (0..=self.last_index).map(move |index| self.element(from, index))
    }

    /// True if a query contains the name.
    pub(super) fn mentions(&self, name: &[u8], hash: u64) -> bool {
        self.names.column(name, hash) < self.names.count
    }

    #[inline(always)]
    fn step(&self, from: StateId, column: usize) -> StateId {
        self.next.get(from.0 as usize * self.width + column).copied().unwrap_or(DEAD)
    }

    /// Returns the flags of a state.
    #[inline(always)]
    pub(super) fn flags(&self, id: StateId) -> StateFlags {
        self.flags.get(id.0 as usize).copied().unwrap_or_default()
    }

    /// Returns a state.
    #[inline(always)]
    pub(super) fn state(&self, id: StateId) -> &State {
        const NOTHING: &State = &State {
            start: RecordStart::None,
            fields: Vec::new(),
            maybe_fields: Vec::new(),
            captures: Vec::new(),
            anchors: Vec::new(),
            held: false,
            embedded: false,
            skeleton: false,
            relevant_below: false,
        };
        self.states.get(id.0 as usize).unwrap_or(NOTHING)
    }
}

/// The names that queries contain, numbered.
///
/// This is a separate hash table, because the check for duplicates has already computed the hash of a name that is
/// looked up.
#[derive(Clone, Debug, Default)]
struct NameIndex {
    count: usize,
    /// The slots of the hash table (open addressing, at most half full): the hash and the number of a name.
    slots: Vec<Option<(u64, u32)>>,
    texts: Vec<Box<str>>,
}

impl NameIndex {
    fn new(texts: Vec<Box<str>>) -> NameIndex {
        let mut slots = vec![None; (texts.len() * 2).next_power_of_two().max(2)];
        for (number, text) in (0..).zip(&texts) {
            let hash = lex::hash(text.as_bytes());
            let free = probes(hash, slots.len()).find(|&at| slots.get(at).is_some_and(Option::is_none));
            if let Some(slot) = free.and_then(|at| slots.get_mut(at)) {
                *slot = Some((hash, number));
            }
        }
        NameIndex { count: texts.len(), slots, texts }
    }

    /// Returns the number of a name, or the number of names if no query contains it.
    #[inline(always)]
    fn column(&self, name: &[u8], hash: u64) -> usize {
        for at in probes(hash, self.slots.len()) {
            match self.slots.get(at) {
                Some(&Some((same, number))) => {
                    let number = number as usize;
                    if same == hash && self.texts.get(number).is_some_and(|text| text.as_bytes() == name) {
                        return number;
                    }
                }
                Some(None) | None => break,
            }
        }
        self.count
    }
}

/// Returns the slots where a hash may be, in order.
#[inline(always)]
fn probes(hash: u64, slots: usize) -> impl Iterator<Item = usize> {
    let mask = slots.wrapping_sub(1);
    (0..slots).map(move |step| (hash as usize).wrapping_add(step) & mask)
}

/// One thread of the nondeterministic automaton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Thread {
    at: QueryPosition,
    /// True if a condition on the path to the node is undecided.
    maybe: bool,
    /// True if the last step stayed in a descendant segment, so that the node need not be on the path to a selected
    /// node.
    stayed: bool,
}

/// A step from a container to a child.
#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Name(&'a str),
    /// A name that no query contains.
    OtherName,
    Index(u32),
    /// A position after all those with a column of their own.
    LaterIndex(u32),
}

/// Builds the automaton of these queries.
pub(super) struct AutomatonBuilder<'a> {
    pub(super) queries: &'a [Query],
    pub(super) roles: &'a [QueryRole],
    pub(super) sets: &'a [RecordSet],
    /// The queries that start at the root of the document.
    pub(super) document: &'a [u16],
}

impl AutomatonBuilder<'_> {
    /// Returns an automaton that holds the document whole: the root, where every query is evaluated, and one state for
    /// everything below.
    pub(super) fn hold_everything(&self) -> Automaton {
        let anchors = self.document.iter().map(|&query| QueryPosition { query, segment: 0 }).collect();
        let fields = |role: &QueryRole| matches!(role, QueryRole::Field { .. });
        let all_fields: Vec<u16> =
            (0..).zip(self.roles).filter(|(_, role)| fields(role)).map(|(query, _)| query).collect();
        let below = State { relevant_below: true, maybe_fields: all_fields, ..State::default() };
        let root = State { anchors, held: true, ..below.clone() };
        let next = vec![DEAD, DEAD, StateId(2), StateId(2), StateId(2), StateId(2)];
        Automaton::new(
            NameIndex::new(Vec::new()),
            0,
            2,
            next,
            vec![State::default(), root, below],
            StateId(1),
        )
    }

    /// Returns the names in the queries, and the number of positions that they distinguish.
    fn alphabet(&self) -> (Vec<Box<str>>, u32) {
        let mut names = BTreeSet::new();
        let mut last = 0;
        let selectors =
            self.queries.iter().flat_map(|query| &query.segments).flat_map(|step| &step.selectors);
        for selector in selectors.filter(|selector| selector.is_forward()) {
            match selector {
                Selector::Name(name) => {
                    names.insert(name.clone());
                }
                Selector::Index(index) => last = last.max(*index),
                Selector::Slice { start, end, .. } => {
                    last = last.max(start.unwrap_or(0)).max(end.unwrap_or(0));
                }
                Selector::Wildcard | Selector::Filter(_) => {}
            }
        }
        (names.into_iter().collect(), u32::try_from(last).unwrap_or(0) + 1)
    }

    /// Builds the automaton by subset construction. Returns `None` if it would be too large.
    pub(super) fn determinise(&self) -> Option<Automaton> {
        let (texts, last_index) = self.alphabet();
        let steps: Vec<Step<'_>> = texts
            .iter()
            .map(|name| Step::Name(name))
            .chain([Step::OtherName])
            .chain((0..last_index).map(Step::Index))
            .chain([Step::LaterIndex(last_index)])
            .collect();
        let width = steps.len();
        let start = self.close(self.document.iter().map(|&query| Thread {
            at: QueryPosition { query, segment: 0 },
            maybe: false,
            stayed: false,
        }));
        let mut known: HashMap<Vec<Thread>, StateId> =
            HashMap::from([(Vec::new(), DEAD), (start.clone(), StateId(1))]);
        let mut sets = vec![Vec::new(), start];
        let mut next = vec![DEAD; width];
        let mut at = 1;
        while let Some(threads) = sets.get(at).cloned() {
            for &step in &steps {
                let reached = self.close(threads.iter().flat_map(|thread| self.advance(*thread, step)));
                let fresh = StateId(u32::try_from(sets.len()).ok()?);
                let id = *known.entry(reached).or_insert_with_key(|key| {
                    sets.push(key.clone());
                    fresh
                });
                next.push(id);
            }
            at += 1;
            if sets.len() > MAX_STATES || sets.len() * width > MAX_CELLS {
                return None;
            }
        }
        let states = sets.iter().map(|threads| self.describe(threads)).collect();
        // Without queries the root is the dead state.
        let root = known.get(sets.get(1)?).copied()?;
        Some(Automaton::new(NameIndex::new(texts), last_index, width, next, states, root))
    }

    fn query(&self, at: QueryPosition) -> Option<&Query> {
        self.queries.get(usize::from(at.query))
    }

    /// Returns the next segment of a thread, and true if names and positions alone decide it.
    fn segment(&self, at: QueryPosition) -> Option<(&QuerySegment, bool)> {
        let query = self.query(at)?;
        let segment = query.segments.get(usize::from(at.segment))?;
        Some((segment, segment.is_forward() && !query.reads_root()))
    }

    /// Returns the threads to which a thread moves with a step.
    fn advance(&self, thread: Thread, step: Step<'_>) -> impl Iterator<Item = Thread> + use<> {
        let (mut stay, mut go) = (None, None);
        if let Some((segment, forward)) = self.segment(thread.at) {
            let maybe = thread.maybe || !forward;
            if segment.descendant {
                stay = Some(Thread { maybe, stayed: true, ..thread });
            }
            if segment.selectors.iter().any(|selector| may_select(selector, step)) {
                let at = QueryPosition { segment: thread.at.segment + 1, ..thread.at };
                go = Some(Thread { at, maybe, stayed: false });
            }
        }
        stay.into_iter().chain(go)
    }

    /// Returns the threads of a node, sorted: those that reached it, and those of the record that begins there, if
    /// any. A thread that is implied by another thread is left out.
    fn close(&self, reached: impl Iterator<Item = Thread>) -> Vec<Thread> {
        let mut all: BTreeSet<Thread> = BTreeSet::new();
        let mut open: Vec<Thread> = reached.collect();
        while let Some(thread) = open.pop() {
            if !all.insert(thread) || self.segment(thread.at).is_some() {
                continue;
            }
            let Some(QueryRole::Record(set)) = self.roles.get(usize::from(thread.at.query)) else { continue };
            let Some(set) = self.sets.get(*set) else { continue };
            open.extend(set.walked().map(|query| Thread {
                at: QueryPosition { query, segment: 0 },
                maybe: thread.maybe,
                stayed: false,
            }));
        }
        let is_implied = |thread: &Thread| {
            [(false, false), (false, true), (true, false), (true, true)]
                .into_iter()
                .map(|(maybe, stayed)| Thread { maybe, stayed, ..*thread })
                .take_while(|other| other != thread)
                .any(|other| other.maybe <= thread.maybe && all.contains(&other))
        };
        all.iter().filter(|thread| !is_implied(thread)).copied().collect()
    }

    /// Returns the state of a node that these threads reached.
    fn describe(&self, threads: &[Thread]) -> State {
        let mut state = State::default();
        for thread in threads {
            let role = self.roles.get(usize::from(thread.at.query));
            match self.segment(thread.at) {
                Some((segment, forward)) => {
                    state.relevant_below = true;
                    if !thread.maybe && !forward {
                        state.anchors.push(thread.at);
                        state.held |= segment.counts_from_the_end()
                            || self.query(thread.at).is_some_and(Query::reads_root);
                    }
                    let to_record = matches!(role, Some(QueryRole::Record(_)));
                    state.skeleton |= to_record && !thread.maybe && !thread.stayed;
                }
                None => match role {
                    Some(QueryRole::Field { embedded: true, .. }) if !thread.maybe => {
                        state.fields.push(thread.at.query);
                        state.embedded = true;
                        state.held = true;
                    }
                    Some(QueryRole::Record(set)) if !thread.maybe => state.start = state.start.and(*set),
                    Some(QueryRole::Field { .. }) if !thread.maybe => state.fields.push(thread.at.query),
                    Some(QueryRole::Field { .. }) => state.maybe_fields.push(thread.at.query),
                    Some(QueryRole::Capture) if !thread.maybe => state.captures.push(thread.at.query),
                    Some(QueryRole::Record(_) | QueryRole::Capture) | None => {}
                },
            }
            state.held |= thread.maybe;
        }
        // A record stays as a container. Its members are decided also if no query leads to them: nobody's record leaves empty.
        let is_record = state.start != RecordStart::None;
        state.held |= is_record;
        state.relevant_below |= is_record;
        state
    }
}

/// True if a selector selects the child that a step leads to, or if it does so under a condition.
fn may_select(selector: &Selector, step: Step<'_>) -> bool {
    match step {
        Step::Name(name) => match selector {
            Selector::Name(own) => &**own == name,
            other => other.selects_members(),
        },
        Step::OtherName => !matches!(selector, Selector::Name(_)) && selector.selects_members(),
        Step::Index(index) | Step::LaterIndex(index) => match selector {
            Selector::Index(own) if selector.is_forward() => *own == i64::from(index),
            Selector::Slice { start, end, .. } if selector.is_forward() => {
                start.unwrap_or(0) <= i64::from(index) && end.is_none_or(|end| i64::from(index) < end)
            }
            other => other.selects_elements(),
        },
    }
}
