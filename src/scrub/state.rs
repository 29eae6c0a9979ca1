//! The states of a plan's automaton. A state holds everything that follows from the names and positions on the path
//! from the root to a node.
//!
//! The module holds only data. [`super::automaton`] builds the states and moves between them.

/// The number of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Several record sets select the node, so the record has no usable subject.
    Disputed,
}

impl RecordStart {
    /// Adds a record set that selects the node.
    pub(super) fn and(self, set: usize) -> RecordStart {
        match self {
            RecordStart::None => RecordStart::Of(set),
            RecordStart::Of(one) if one == set => self,
            RecordStart::Of(_) | RecordStart::Disputed => RecordStart::Disputed,
        }
    }
}

/// A query, and the number of its segments that are matched on the path to a node.
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
    /// Positions of queries whose next segment is a condition. The rest of each query is evaluated from this node.
    pub(super) anchors: Vec<QueryPosition>,
    /// True if the node has to be held until it is whole.
    pub(super) held: bool,
    /// True if a string in this state is embedded JSON.
    pub(super) embedded: bool,
    /// True if the node is part of the document's skeleton: it is on the path to records, so it stays as an empty
    /// container even if no record is in it.
    pub(super) skeleton: bool,
    /// True if a query continues below the node, or if the node is a record, whose members have to be decided one by one.
    pub(super) relevant_below: bool,
}

/// The properties of a state that are read for every node, in one machine word.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StateFlags {
    /// True if no field selects the node, no record begins there, and it is not part of the skeleton.
    pub(super) plain: bool,
    /// True if at least one capture selects the node.
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
