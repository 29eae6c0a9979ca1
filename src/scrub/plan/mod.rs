//! The plan of a route: its mapping, compiled before the first byte of a body.
//!
//! A plan holds the queries, the automaton that follows them, the classes that nodes can have, and the options of the
//! mapping. It knows nothing of data subjects, permits and bytes. Compiling reports all mistakes of a mapping at
//! once.

mod builder;

use std::fmt;
use std::sync::Arc;

use self::builder::{CompiledQueries, PlanBuilder};
use super::automaton::Automaton;
use super::class::{Class, ClassTable};
use super::forms::{ValueContext, ValueKind};
use super::mapping::{DuplicateKeys, Mapping, OnDuplicateName, Redaction, RemovedAs, Unclassified};
use super::query::{MappingFault, Query};
use super::record_set::{QueryRole, RecordSet};
use super::rows::MappedColumns;
use super::shape_cache::SharedShapes;
use super::state::{State, StateId};
use super::unreadable::Framing;
use crate::decision::ClassId;
use crate::vocabulary::{CategoryId, Regions, Vocabulary};

/// The error about a path of a mapping that does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// The path as it is written.
    pub path: String,
    /// The mistake in it.
    pub fault: MappingFault,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.fault)
    }
}

impl std::error::Error for MappingError {}

/// The options of a mapping that do not depend on its paths.
#[derive(Debug)]
pub(super) struct PlanOptions {
    pub(super) unclassified: Unclassified,
    pub(super) removed_as: RemovedAs,
    pub(super) duplicate_keys: DuplicateKeys,
    pub(super) on_duplicate: OnDuplicateName,
    /// Types of server-sent events that leave, besides events without a type.
    pub(super) events: Vec<String>,
    /// The columns of a CSV table that the mapping names.
    pub(super) columns: MappedColumns,
    /// True if a value that a record withholds is withheld wherever the record repeats it.
    pub(super) withholds_echoes: bool,
    /// True if the document lists its redactions (RFC 9537).
    pub(super) lists_redactions: bool,
}

impl PlanOptions {
    fn new(mapping: &Mapping) -> PlanOptions {
        let lists_redactions = mapping.redaction == Redaction::Rfc9537;
        PlanOptions {
            unclassified: mapping.unclassified,
            // The list of redactions declares that a removed value is absent, so it has no placeholder.
            removed_as: if lists_redactions { RemovedAs::Omit } else { mapping.removed_as },
            duplicate_keys: mapping.duplicate_keys,
            on_duplicate: match mapping.duplicate_keys {
                DuplicateKeys::Refuse => OnDuplicateName::Impossible,
                DuplicateKeys::TreatAlike => OnDuplicateName::Unreadable,
            },
            events: mapping.events.clone(),
            columns: MappedColumns::new(mapping),
            withholds_echoes: mapping.withhold_echoes,
            lists_redactions,
        }
    }

    /// The options of `scrub --remove`, which keeps everything that no query selects.
    fn for_removal() -> PlanOptions {
        PlanOptions {
            unclassified: Unclassified::Release,
            removed_as: RemovedAs::Omit,
            duplicate_keys: DuplicateKeys::TreatAlike,
            on_duplicate: OnDuplicateName::ConditionHolds,
            events: Vec::new(),
            columns: MappedColumns::without_mapping(),
            withholds_echoes: false,
            lists_redactions: false,
        }
    }
}

/// Properties of a plan's classes that depend on the vocabulary, by class.
#[derive(Debug, Default)]
struct ClassProperties {
    /// For each class, the kind and the category that determine the forms of its values.
    kinds: Vec<(ValueKind, Arc<str>)>,
    /// True if values of the class are searched for personal identifiers.
    redacts: Vec<bool>,
}

impl ClassProperties {
    fn new(classes: &[Class], redact: &[CategoryId], vocabulary: &Vocabulary) -> ClassProperties {
        let tree = vocabulary.categories();
        let redacts = |class: &Class| {
            class.categories.iter().any(|&id| redact.iter().any(|&above| tree.within(id, above)))
        };
        ClassProperties {
            kinds: classes.iter().map(|class| value_kind(class, vocabulary)).collect(),
            redacts: classes.iter().map(redacts).collect(),
        }
    }
}

/// A compiled mapping.
#[derive(Debug)]
pub struct Plan {
    pub(super) queries: Vec<Query>,
    pub(super) roles: Vec<QueryRole>,
    pub(super) sets: Vec<RecordSet>,
    pub(super) automaton: Automaton,
    pub(super) options: PlanOptions,
    /// True if the whole document is held: a query reads it from the root, or it lists its redactions.
    pub(super) holds_document: bool,
    /// True if queries are evaluated over held values.
    pub(super) evaluates: bool,
    /// True if every node of a held value is put in its table, even below nodes where no query continues.
    pub(super) indexes_all: bool,
    /// True if a condition may decide that a string is embedded JSON.
    pub(super) may_embed: bool,
    /// True if kept text is searched: for personal identifiers, for echoes of withheld values, or for both.
    pub(super) conceals: bool,
    /// The regions that facts of records can name.
    pub(super) regions: Regions,
    /// The shapes of objects in earlier bodies.
    pub(super) shapes: SharedShapes,
    classes: ClassTable,
    properties: ClassProperties,
}

impl Plan {
    /// Compiles a mapping whose categories are of this vocabulary.
    ///
    /// # Errors
    /// Returns every path that does not load, in the order of the mapping.
    pub fn compile(mapping: &Mapping, vocabulary: &Vocabulary) -> Result<Plan, Vec<MappingError>> {
        let mut builder = PlanBuilder::default();
        for record in &mapping.records {
            builder.add_record_set(record);
        }
        let compiled = builder.finish()?;
        let classes = ClassTable::new(&compiled.automaton.states, &compiled.roles);
        let properties = ClassProperties::new(classes.all(), &mapping.redact, vocabulary);
        let regions = vocabulary.regions().clone();
        Ok(Plan::new(compiled, PlanOptions::new(mapping), classes, properties, regions))
    }

    /// Compiles a plan that removes what the queries select and keeps the rest.
    ///
    /// # Errors
    /// Returns every query that does not load.
    pub(super) fn removing(queries: &[String]) -> Result<Plan, Vec<MappingError>> {
        let mut builder = PlanBuilder::default();
        for query in queries {
            builder.add_removal(query);
        }
        let compiled = builder.finish()?;
        let classes = ClassTable::new(&compiled.automaton.states, &compiled.roles);
        let (properties, regions) = (ClassProperties::default(), Regions::default());
        Ok(Plan::new(compiled, PlanOptions::for_removal(), classes, properties, regions))
    }

    fn new(
        compiled: CompiledQueries,
        options: PlanOptions,
        classes: ClassTable,
        properties: ClassProperties,
        regions: Regions,
    ) -> Plan {
        let CompiledQueries { queries, roles, sets, automaton, reads_document } = compiled;
        let maybe_fields = automaton.states.iter().flat_map(|state| &state.maybe_fields);
        let mut maybe_roles = maybe_fields.filter_map(|&query| roles.get(usize::from(query)));
        let may_embed = maybe_roles.any(QueryRole::is_embedded);
        let evaluates = reads_document
            || sets.iter().any(|set| set.evaluated)
            || automaton.states.iter().any(|state| !state.anchors.is_empty());
        let conceals = options.withholds_echoes || properties.redacts.contains(&true);
        Plan {
            holds_document: reads_document || options.lists_redactions,
            indexes_all: evaluates || conceals || options.lists_redactions,
            evaluates,
            may_embed,
            conceals,
            queries,
            roles,
            sets,
            automaton,
            options,
            regions,
            shapes: SharedShapes::default(),
            classes,
            properties,
        }
    }

    /// True if values of a class are searched for personal identifiers.
    #[inline(always)]
    pub(super) fn redacts(&self, class: ClassId) -> bool {
        self.properties.redacts.get(usize::from(class.0)).copied().unwrap_or(false)
    }

    /// Returns the replacement of a removed value of a document, or of a cell of a table. A withheld cell has none: an empty
    /// cell is read as `null`, so that `null` would be the value that it had.
    pub(super) fn removed_as_in(&self, framing: Framing) -> RemovedAs {
        if framing == Framing::Rows { RemovedAs::Omit } else { self.options.removed_as }
    }

    /// True if unclassified nodes leave.
    pub fn releases_unclassified(&self) -> bool {
        self.options.unclassified == Unclassified::Release
    }

    /// Returns the distinct sets of categories that a node can have; [`ClassId`]s are positions in this list. The
    /// first is the empty set, the class [`UNCLASSIFIED`](super::UNCLASSIFIED).
    #[inline(always)]
    pub fn classes(&self) -> &[Class] {
        self.classes.all()
    }

    /// Returns the class that the unconditional fields of a state give to a node.
    #[inline(always)]
    pub(super) fn state_class(&self, state: StateId) -> Option<ClassId> {
        self.classes.of_state(state)
    }

    /// Returns the class of a node in this state if the queries `evaluated` select the node as well.
    pub(super) fn class_of(&self, state: &State, evaluated: impl Iterator<Item = u16>) -> ClassId {
        self.classes.of_node(&self.roles, state, evaluated)
    }

    /// Returns the context of a value, from which its forms are made.
    pub(super) fn value_context<'a>(&'a self, class: ClassId, name: Option<&'a [u8]>) -> ValueContext<'a> {
        match self.properties.kinds.get(usize::from(class.0)) {
            Some((kind, category)) => ValueContext { kind: *kind, category, name },
            None => ValueContext { kind: ValueKind::Other, category: "", name },
        }
    }

    /// True if a query selects strings that hold JSON.
    pub(super) fn is_embedded(&self, query: u16) -> bool {
        self.role(query).is_some_and(QueryRole::is_embedded)
    }

    /// Returns the query with this number.
    pub(super) fn query(&self, number: u16) -> Option<&Query> {
        self.queries.get(usize::from(number))
    }

    /// Returns the role of the query with this number.
    pub(super) fn role(&self, number: u16) -> Option<&QueryRole> {
        self.roles.get(usize::from(number))
    }
}

/// Returns the kind and the category that determine the forms of a class's values. The category is the first one that
/// has a kind or inherits one, otherwise the first category. For example, a value with the categories `email` and
/// `service-data` is masked as an e-mail address, and has the same pseudonym as a value that is only `email`. A class
/// with two different kinds has the kind `Other`, so a masked value is hidden whole.
fn value_kind(class: &Class, vocabulary: &Vocabulary) -> (ValueKind, Arc<str>) {
    let tree = vocabulary.categories();
    let kind = |category: CategoryId| {
        let kinds = tree.lineage(category).map(|id| ValueKind::of(tree.name(id)));
        kinds.into_iter().find(|kind| *kind != ValueKind::Other)
    };
    let mut specific =
        class.categories.iter().filter_map(|&category| Some((kind(category)?, tree.shared_name(category))));
    let first =
        || class.categories.first().map_or_else(|| Arc::from(""), |&category| tree.shared_name(category));
    let Some((kind, category)) = specific.next() else { return (ValueKind::Other, first()) };
    let is_unique = specific.all(|(other, _)| other == kind);
    (if is_unique { kind } else { ValueKind::Other }, category)
}
