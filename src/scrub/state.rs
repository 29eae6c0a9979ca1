//! The states of a plan's automaton: everything that names and positions on the way from the root say about a
//! node.
//!
//! The states are data. [`super::automaton`] builds them and moves between them.

/// The number of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct StateId(pub(super) u32);

/// The state in which nothing is selected and nothing is captured, here or below.
pub(super) const DEAD: StateId = StateId(0);

/// The record that begins at a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum RecordStart {
    #[default]
    None,
    /// A record of this set.
    Of(usize),
    /// Several sets claim the node, so the record has no usable subject.
    Disputed,
}

impl RecordStart {
    /// Adds the claim of another set.
    pub(super) fn and(self, set: usize) -> RecordStart {
        match self {
            RecordStart::None => RecordStart::Of(set),
            RecordStart::Of(one) if one == set => self,
            RecordStart::Of(_) | RecordStart::Disputed => RecordStart::Disputed,
        }
    }
}

/// A query, and how many of its segments led to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct QueryPosition {
    pub(super) query: u16,
    pub(super) segment: u16,
}

/// Everything that is known about a node in this state. Queries are given by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) start: RecordStart,
    /// Field queries that select the node.
    pub(super) fields: Vec<u16>,
    /// Field queries that select the node if a condition holds.
    pub(super) maybe_fields: Vec<u16>,
    /// Captures that select the node.
    pub(super) captures: Vec<u16>,
    /// Positions of queries whose next segment is a condition. They have to be evaluated from here.
    pub(super) anchors: Vec<QueryPosition>,
    /// The node has to be held whole.
    pub(super) held: bool,
    /// A string here is, or may be, embedded JSON.
    pub(super) embedded: bool,
    /// The node is part of the document's skeleton: it is on the path to records, so it stays as an empty
    /// container even if no record is in it.
    pub(super) skeleton: bool,
    /// A query goes on below the node.
    pub(super) relevant_below: bool,
}

/// The properties of a state that are read for every node, in one machine word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StateFlags {
    /// No field selects the node, no record begins there, and it is not part of the skeleton.
    pub(super) plain: bool,
    /// At least one capture selects the node.
    pub(super) captures: bool,
    /// See [`State::embedded`].
    pub(super) embedded: bool,
    /// See [`State::relevant_below`].
    pub(super) relevant_below: bool,
    /// See [`State::held`].
    pub(super) held: bool,
}

impl From<&State> for StateFlags {
    fn from(state: &State) -> StateFlags {
        StateFlags {
            plain: state.fields.is_empty() && state.start == RecordStart::None && !state.skeleton,
            captures: !state.captures.is_empty(),
            embedded: state.embedded,
            relevant_below: state.relevant_below,
            held: state.held,
        }
    }
}
