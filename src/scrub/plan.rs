//! A route's mapping, compiled: what to do at every node of a body, known before the first byte.
//!
//! Refuses to know subjects, permits and bytes. Everything that can be wrong with a mapping is said
//! here, all of it at once. Invariant: a class that a node can have is listed in [`Plan::classes`],
//! or one with more categories is, of which as many must be permitted; so a permit over those
//! classes says something about every node.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use super::automaton::{Automaton, AutomatonBuilder, State, StateId};
use super::evaluate::OnDuplicateName;
use super::forms::{ValueContext, ValueKind};
use super::habits::SharedShapes;
use super::mapping::{
    DuplicateKeys, FactKey, FieldMapping, Mapping, Redaction, RemovedAs, SubjectSource, Unclassified,
};
use super::query::{self, Anchor, MappingFault, Query, QuerySegment};
use super::rows;
use crate::decision::ClassId;
use crate::vocabulary::{CategoryId, IdReader, Regions, Vocabulary};

/// Most classes of one plan: a permit holds a release for each.
const MAX_CLASSES: usize = 2048;
/// Most paths with conditions that may meet at one node and have all their combinations foreseen.
const MAX_COMBINED: usize = 8;

/// One of a plan's distinct sets of data categories. No category: unclassified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Class {
    /// Sorted, without duplicates.
    pub categories: Vec<CategoryId>,
}

/// The class of what nothing classifies.
pub const UNCLASSIFIED: ClassId = ClassId(0);

/// A class that no permit knows, and that is removed therefore.
pub(super) const UNKNOWN_CLASS: ClassId = ClassId(u16::MAX);

/// A path of a mapping that does not load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    /// The path as it is written.
    pub path: String,
    pub fault: MappingFault,
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.path, self.fault)
    }
}

impl std::error::Error for MappingError {}

/// What a query is for.
#[derive(Clone, Debug)]
pub(super) enum QueryRole {
    /// Each node it selects is a record of this set.
    Record(usize),
    /// What it selects holds these categories, and may be JSON in a string.
    Field { categories: Vec<CategoryId>, embedded: bool },
    /// What it selects says something about a record of the set that reads it.
    Capture,
}

/// Where an id comes from.
#[derive(Clone, Debug)]
pub(super) struct IdSource {
    pub(super) origin: IdOrigin,
    pub(super) ids: IdReader,
    /// Nothing there is nobody. Otherwise it is somebody who is not told.
    pub(super) optional: bool,
    /// Of an optional source: the ways to the id, the nearest last. Who is there without an id is
    /// somebody unknown.
    pub(super) ancestors: Vec<Capture>,
    /// Each node that the last of them selects has one id at most.
    pub(super) one_each: bool,
}

/// The header that a table must have.
#[derive(Clone, Debug)]
pub(super) struct TableHeader {
    pub(super) capture: Capture,
    pub(super) names: Vec<String>,
    /// What holds one table each, its header and its rows, where there can be several.
    pub(super) tables: Option<Capture>,
    /// How many steps of the header's way lead to several nodes, where there can be several tables
    /// beside it: none of them says which header is which table's.
    pub(super) scattered: usize,
}

#[derive(Clone, Debug)]
pub(super) enum IdOrigin {
    Body(Capture),
    /// A path parameter of the request.
    Parameter(Box<str>),
}

/// A query whose nodes are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capture {
    pub(super) query: u16,
    pub(super) anchor: Anchor,
    /// Two nodes can only mean that a name occurs twice.
    pub(super) singular: bool,
}

/// A record set.
#[derive(Clone, Debug, Default)]
pub(super) struct RecordSet {
    pub(super) header: Option<TableHeader>,
    pub(super) subjects: Vec<IdSource>,
    pub(super) controller: Option<IdSource>,
    pub(super) facts: Vec<(FactKey, Capture)>,
    /// Relative queries of the role [`Role::Field`].
    pub(super) fields: Vec<u16>,
    /// Captures are looked up from each record rather than while reading: because a condition is
    /// involved, or because a record can lie within another of the same set.
    pub(super) evaluated: bool,
}

impl RecordSet {
    fn captures(&self) -> impl Iterator<Item = Capture> {
        let of = |source: &IdSource| match source.origin {
            IdOrigin::Body(capture) => Some(capture),
            IdOrigin::Parameter(_) => None,
        };
        let sources = || self.subjects.iter().chain(&self.controller);
        let on_the_way = sources().flat_map(|source| source.ancestors.iter().copied());
        let facts = self.facts.iter().map(|(_, capture)| *capture);
        sources().filter_map(of).chain(on_the_way).chain(facts)
    }

    /// The relative queries that the automaton walks.
    pub(super) fn walked(&self) -> impl Iterator<Item = u16> {
        let relative = |capture: &Capture| capture.anchor == Anchor::Record;
        let captures = self.captures().filter(relative).filter(|_| !self.evaluated);
        self.fields.iter().copied().chain(captures.map(|capture| capture.query))
    }
}

/// A compiled mapping.
#[derive(Debug)]
pub struct Plan {
    pub(super) queries: Vec<Query>,
    pub(super) roles: Vec<QueryRole>,
    pub(super) sets: Vec<RecordSet>,
    pub(super) automaton: Automaton,
    /// The class that each state's certain fields make, where there are any.
    state_classes: Vec<Option<ClassId>>,
    /// The whole document is held: some query looks at it from the root.
    pub(super) holds_document: bool,
    /// What is held is recorded node for node, because queries are evaluated over it.
    pub(super) evaluates: bool,
    /// Whether a string is JSON may hang on a condition.
    pub(super) may_embed: bool,
    pub(super) unclassified: Unclassified,
    pub(super) removed_as: RemovedAs,
    pub(super) duplicate_keys: DuplicateKeys,
    /// Of conditions on repeated names.
    pub(super) on_duplicate: OnDuplicateName,
    /// Types of server-sent events that leave, beside those without one.
    pub(super) events: Vec<String>,
    /// Columns of a table that may leave at all: those that a path names.
    pub(super) columns: Vec<String>,
    /// The document says what of it was redacted.
    pub(super) explains: bool,
    /// What stays is looked through: for what reaches a person, or for what the record withholds.
    pub(super) conceals: bool,
    /// The latter.
    pub(super) withholds_echoes: bool,
    /// What is held is noted node for node, whether or not a query goes on there.
    pub(super) indexes_all: bool,
    /// For each class whether what it holds is looked through for what reaches a person.
    redacts: Vec<bool>,
    /// The regions that records can name.
    pub(super) regions: Regions,
    /// What its bodies are like.
    pub(super) shapes: SharedShapes,
    classes: Vec<Class>,
    /// For each class the category that its values' forms go by, and the kind of that.
    kinds: Vec<(ValueKind, Arc<str>)>,
    class_ids: HashMap<Vec<CategoryId>, ClassId>,
    /// The class of what has none of its own: all categories there are.
    fallback_class: ClassId,
}

impl Plan {
    /// Compiles a mapping whose categories are of this vocabulary.
    ///
    /// # Errors
    /// Every path that does not load, in the order of the mapping.
    pub fn compile(mapping: &Mapping, vocabulary: &Vocabulary) -> Result<Plan, Vec<MappingError>> {
        let mut draft = PlanBuilder::default();
        for record in &mapping.records {
            draft.record(record);
        }
        let mut plan = draft.finish(mapping.unclassified, mapping.removed_as, mapping.duplicate_keys)?;
        plan.kinds = plan.classes.iter().map(|class| kind(class, vocabulary)).collect();
        plan.regions = vocabulary.regions().clone();
        plan.events.clone_from(&mapping.events);
        let fields = mapping.records.iter().flat_map(|record| &record.fields);
        plan.columns = fields.filter_map(|field| rows::selected_column(&field.path)).collect();
        if mapping.duplicate_keys == DuplicateKeys::TreatAlike {
            plan.on_duplicate = OnDuplicateName::Unreadable;
        }
        plan.withholds_echoes = mapping.withhold_echoes;
        let tree = vocabulary.categories();
        let redacts = |class: &Class| {
            class.categories.iter().any(|&id| mapping.redact.iter().any(|&above| tree.within(id, above)))
        };
        plan.redacts = plan.classes.iter().map(redacts).collect();
        plan.conceals = plan.withholds_echoes || plan.redacts.contains(&true);
        plan.indexes_all |= plan.conceals;
        plan.explains = mapping.redaction == Redaction::Rfc9537;
        if plan.explains {
            // It says of what it removes that it is not there.
            plan.removed_as = RemovedAs::Omit;
        }
        plan.holds_document |= plan.explains;
        plan.indexes_all |= plan.explains;
        Ok(plan)
    }

    /// The plan that removes what the queries select and keeps the rest.
    pub(super) fn removing(queries: &[String]) -> Result<Plan, Vec<MappingError>> {
        let mut draft = PlanBuilder::default();
        for text in queries {
            match query::read(text) {
                // The number of the category does not matter: whatever has one goes.
                Ok((Anchor::Document, query)) => {
                    draft.add(
                        query,
                        QueryRole::Field { categories: vec![CategoryId(0)], embedded: false },
                        Anchor::Document,
                    );
                }
                Ok((Anchor::Record, _)) => draft.fail(text, MappingFault::NotFromDocument),
                Err(fault) => draft.fail(text, fault),
            }
        }
        let plan = draft.finish(Unclassified::Release, RemovedAs::Omit, DuplicateKeys::TreatAlike)?;
        Ok(Plan { on_duplicate: OnDuplicateName::ConditionHolds, ..plan })
    }

    /// Whether what reaches a person is taken out of what a class holds.
    #[inline(always)]
    pub(super) fn redacts(&self, class: ClassId) -> bool {
        self.redacts.get(usize::from(class.0)).copied().unwrap_or(false)
    }

    /// Whether what nothing classifies leaves.
    pub fn releases_unclassified(&self) -> bool {
        self.unclassified == Unclassified::Release
    }

    /// The distinct sets of categories that a node can have; the first is the empty one, of what
    /// nothing classifies. [`ClassId`]s are positions in this list.
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// The class that the certain fields of a state make.
    #[inline(always)]
    pub(super) fn state_class(&self, state: StateId) -> Option<ClassId> {
        self.state_classes.get(state.0 as usize).copied().flatten()
    }

    /// The class of a node in this state that evaluated queries select besides.
    pub(super) fn class_of(&self, state: &State, evaluated: impl Iterator<Item = u16>) -> ClassId {
        let certain = state.fields.iter().copied();
        let categories = union(certain.clone().chain(evaluated).filter_map(|query| self.categories(query)));
        if let Some(class) = self.class_ids.get(&categories) {
            return *class;
        }
        let maybe = state.maybe_fields.iter().copied();
        let widest = union(certain.chain(maybe).filter_map(|query| self.categories(query)));
        self.class_ids.get(&widest).copied().unwrap_or(self.fallback_class)
    }

    /// What the forms of a class's values go by.
    pub(super) fn value_context<'a>(&'a self, class: ClassId, name: Option<&'a [u8]>) -> ValueContext<'a> {
        match self.kinds.get(usize::from(class.0)) {
            Some((kind, category)) => ValueContext { kind: *kind, category, name },
            None => ValueContext { kind: ValueKind::Other, category: "", name },
        }
    }

    fn categories(&self, query: u16) -> Option<&[CategoryId]> {
        categories(&self.roles, query)
    }

    /// Whether what a query selects is JSON in a string.
    pub(super) fn is_embedded(&self, query: u16) -> bool {
        matches!(self.role(query), Some(QueryRole::Field { embedded: true, .. }))
    }

    pub(super) fn query(&self, number: u16) -> Option<&Query> {
        self.queries.get(usize::from(number))
    }

    pub(super) fn role(&self, number: u16) -> Option<&QueryRole> {
        self.roles.get(usize::from(number))
    }
}

/// The first of a class's categories that has a kind of its own (or descends from one that has);
/// the first of all if none has. So `email` beside `service-data` is an e-mail address, and has the
/// pseudonym that it has elsewhere. What has two kinds is changed as what has none: hidden whole.
fn kind(class: &Class, vocabulary: &Vocabulary) -> (ValueKind, Arc<str>) {
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
    let is_one = specific.all(|(other, _)| other == kind);
    (if is_one { kind } else { ValueKind::Other }, category)
}

fn categories(roles: &[QueryRole], query: u16) -> Option<&[CategoryId]> {
    match roles.get(usize::from(query))? {
        QueryRole::Field { categories, .. } => Some(categories),
        QueryRole::Record(_) | QueryRole::Capture => None,
    }
}

fn union<'a>(sets: impl Iterator<Item = &'a [CategoryId]>) -> Vec<CategoryId> {
    let mut all: Vec<CategoryId> = sets.flatten().copied().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// A plan in the making.
#[derive(Default)]
struct PlanBuilder {
    queries: Vec<Query>,
    roles: Vec<QueryRole>,
    sets: Vec<RecordSet>,
    document: Vec<u16>,
    errors: Vec<MappingError>,
    whole: bool,
    /// The columns of the record set that is being read.
    columns: Vec<String>,
}

impl PlanBuilder {
    fn fail(&mut self, path: &str, fault: MappingFault) {
        self.errors.push(MappingError { path: path.to_owned(), fault });
    }

    fn add(&mut self, query: Query, role: QueryRole, anchor: Anchor) -> u16 {
        let number = u16::try_from(self.queries.len()).unwrap_or(u16::MAX);
        let from_root = anchor == Anchor::Document;
        self.whole |= from_root && query.reads_root();
        // A capture from the document is looked up in it, not walked.
        if from_root && !matches!(role, QueryRole::Capture) {
            self.document.push(number);
        }
        self.queries.push(query);
        self.roles.push(role);
        number
    }

    fn record(&mut self, mapping: &super::mapping::RecordMapping) {
        let number = self.sets.len();
        let mut set = RecordSet::default();
        let mut rows = None;
        match query::read(&mapping.path) {
            Ok((Anchor::Document, query)) => {
                set.evaluated = query.reads_root()
                    || query.segments.iter().any(|segment| segment.descendant || !segment.is_forward());
                rows = mapping.columns.is_some().then(|| query.clone());
                self.add(query, QueryRole::Record(number), Anchor::Document);
            }
            Ok((Anchor::Record, _)) => self.fail(&mapping.path, MappingFault::NotFromDocument),
            Err(fault) => self.fail(&mapping.path, fault),
        }
        if let Some(columns) = &mapping.columns {
            set.header = match query::read(&columns.path) {
                Ok((Anchor::Record, _)) => {
                    self.fail(&columns.path, MappingFault::NotFromDocument);
                    None
                }
                Ok(_) | Err(_) => {
                    let capture = self.capture(&columns.path);
                    capture.zip(rows).map(|(capture, rows)| {
                        let (tables, scattered) = self.tables(&rows, capture);
                        TableHeader { capture, names: columns.names.clone(), tables, scattered }
                    })
                }
            };
            self.columns.clone_from(&columns.names);
        }
        for FieldMapping { path, categories, embedded } in &mapping.fields {
            if categories.is_empty() {
                self.fail(path, MappingFault::NoCategory);
            }
            match self.read(path) {
                Ok((anchor, query)) => {
                    let categories = union([categories.as_slice()].into_iter());
                    let field = self.add(query, QueryRole::Field { categories, embedded: *embedded }, anchor);
                    if anchor == Anchor::Record {
                        set.fields.push(field);
                    }
                }
                Err(fault) => self.fail(path, fault),
            }
        }
        for source in &mapping.subjects {
            set.subjects.extend(self.source(source));
        }
        set.controller = mapping.controller.as_ref().and_then(|source| self.source(source));
        for (key, path) in &mapping.facts {
            set.facts.extend(self.capture(path).map(|capture| (*key, capture)));
        }
        let conditional = |capture: Capture| {
            self.queries.get(usize::from(capture.query)).is_some_and(Query::is_conditional)
        };
        let conditional = set.captures().any(conditional);
        set.evaluated |= conditional;
        self.columns.clear();
        self.sets.push(set);
    }

    /// Reads a path of the record set: in a table its first name is that of a column.
    fn read(&self, path: &str) -> Result<(Anchor, Query), MappingFault> {
        let (anchor, mut query) = query::read(path)?;
        if anchor == Anchor::Record && !self.columns.is_empty() {
            query.resolve_columns(&self.columns)?;
        }
        Ok((anchor, query))
    }

    /// What holds a table's rows and its header, as far as their ways are one, if it can be several; and how
    /// many steps of the header's way beyond lead to several nodes, if those of the rows do so as well.
    fn tables(&mut self, rows: &Query, header: Capture) -> (Option<Capture>, usize) {
        let Some(columns) = self.queries.get(usize::from(header.query)).cloned() else { return (None, 0) };
        // The last step is to the rows of one table.
        let to_rows = rows.segments.split_last().map_or(&[][..], |(_, before)| before);
        let steps = to_rows.iter().zip(&columns.segments);
        let common = steps.take_while(|(one, other)| one.is_same(other)).count();
        let several =
            |segments: &[QuerySegment]| segments.iter().filter(|segment| !segment.is_singular()).count();
        let beyond = |segments: &[QuerySegment]| segments.get(common..).map_or(0, several);
        let scattered = if beyond(to_rows) > 0 { beyond(&columns.segments) } else { 0 };
        let way = Query { segments: to_rows.iter().take(common).cloned().collect() };
        let tables = (!way.is_singular()).then(|| Capture {
            query: self.add(way, QueryRole::Capture, Anchor::Document),
            anchor: Anchor::Document,
            singular: false,
        });
        (tables, scattered)
    }

    fn source(&mut self, source: &SubjectSource) -> Option<IdSource> {
        let from = match source.path.strip_prefix('{') {
            Some(rest) => match rest.strip_suffix('}') {
                Some(name) if !name.is_empty() => IdOrigin::Parameter(name.into()),
                _ => {
                    self.fail(&source.path, MappingFault::Parameter);
                    return None;
                }
            },
            None => IdOrigin::Body(self.capture(&source.path)?),
        };
        let (on_the_way, one_each) = match &from {
            IdOrigin::Body(capture) if source.optional => self.on_the_way(*capture),
            IdOrigin::Body(_) | IdOrigin::Parameter(_) => (Vec::new(), false),
        };
        Some(IdSource {
            origin: from,
            ids: source.ids.clone(),
            optional: source.optional,
            ancestors: on_the_way,
            one_each,
        })
    }

    /// The ways to what a capture selects, and whether each node at the last of them has one at most.
    fn on_the_way(&mut self, capture: Capture) -> (Vec<Capture>, bool) {
        let Some(query) = self.queries.get(usize::from(capture.query)).cloned() else {
            return (Vec::new(), false);
        };
        let ways = (1..query.segments.len()).map(|length| {
            let way = Query { segments: query.segments.iter().take(length).cloned().collect() };
            let singular = way.is_singular();
            Capture {
                query: self.add(way, QueryRole::Capture, capture.anchor),
                anchor: capture.anchor,
                singular,
            }
        });
        (ways.collect(), query.segments.last().is_some_and(QuerySegment::is_singular))
    }

    fn capture(&mut self, path: &str) -> Option<Capture> {
        match self.read(path) {
            Ok((anchor, query)) => {
                // It may stand anywhere in the document, before the record or after it.
                self.whole |= anchor == Anchor::Document;
                let singular = query.is_singular();
                Some(Capture { query: self.add(query, QueryRole::Capture, anchor), anchor, singular })
            }
            Err(fault) => {
                self.fail(path, fault);
                None
            }
        }
    }

    fn finish(
        self,
        unclassified: Unclassified,
        removed_as: RemovedAs,
        duplicate_keys: DuplicateKeys,
    ) -> Result<Plan, Vec<MappingError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut sets = self.sets;
        let builder = AutomatonBuilder {
            queries: &self.queries,
            roles: &self.roles,
            sets: &sets,
            document: &self.document,
        };
        let automaton = match builder.determinise() {
            Some(automaton) => automaton,
            None => {
                let automaton = builder.hold_everything();
                // It says of nothing what it is.
                sets.iter_mut().for_each(|set| set.evaluated = true);
                automaton
            }
        };
        let classes = enumerate_classes(&automaton, &self.roles);
        let class_ids: HashMap<_, _> =
            (0..).map(ClassId).zip(&classes).map(|(id, class)| (class.categories.clone(), id)).collect();
        let all = union((0..).zip(&self.roles).filter_map(|(query, _)| categories(&self.roles, query)));
        let widest = class_ids.get(&all).copied().unwrap_or(UNKNOWN_CLASS);
        let class = |state: &State| {
            if state.fields.is_empty() {
                return None;
            }
            let categories = union(state.fields.iter().filter_map(|&query| categories(&self.roles, query)));
            Some(class_ids.get(&categories).copied().unwrap_or(widest))
        };
        let state_classes = automaton.states.iter().map(class).collect();
        let may_embed = automaton.states.iter().flat_map(|state| &state.maybe_fields).any(|&query| {
            matches!(self.roles.get(usize::from(query)), Some(QueryRole::Field { embedded: true, .. }))
        });
        let evaluates = self.whole
            || sets.iter().any(|set| set.evaluated)
            || automaton.states.iter().any(|state| !state.anchors.is_empty());
        Ok(Plan {
            queries: self.queries,
            roles: self.roles,
            sets,
            automaton,
            state_classes,
            holds_document: self.whole,
            evaluates,
            may_embed,
            unclassified,
            removed_as,
            duplicate_keys,
            on_duplicate: OnDuplicateName::Impossible,
            events: Vec::new(),
            columns: Vec::new(),
            explains: false,
            conceals: false,
            withholds_echoes: false,
            regions: Regions::default(),
            shapes: SharedShapes::default(),
            indexes_all: evaluates,
            redacts: Vec::new(),
            classes,
            kinds: Vec::new(),
            class_ids,
            fallback_class: widest,
        })
    }
}

/// The classes a node can have: what is certain in a state, with what is maybe. Of a few paths that
/// may meet every combination; of many each by itself and in pairs, and all together, which is what
/// the rest of the combinations count as.
fn enumerate_classes(automaton: &Automaton, roles: &[QueryRole]) -> Vec<Class> {
    let mut foreseen = ClassList::default();
    let mut seen = HashSet::new();
    let all = roles.iter().filter_map(|role| match role {
        QueryRole::Field { categories, .. } => Some(categories.as_slice()),
        QueryRole::Record(_) | QueryRole::Capture => None,
    });
    for state in &automaton.states {
        let certain = union(state.fields.iter().filter_map(|&query| categories(roles, query)));
        let mut maybe: Vec<&[CategoryId]> =
            state.maybe_fields.iter().filter_map(|&query| categories(roles, query)).collect();
        maybe.sort_unstable();
        maybe.dedup();
        if !seen.insert((certain.clone(), maybe.clone())) {
            continue;
        }
        let with = |chosen: &[&[CategoryId]]| union(chosen.iter().copied().chain([certain.as_slice()]));
        foreseen.add(with(&[]));
        foreseen.add(with(&maybe));
        if maybe.len() <= MAX_COMBINED {
            for choice in 1..1u32 << maybe.len() {
                let bits = maybe.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
                foreseen.add(with(&bits.map(|(_, set)| *set).collect::<Vec<_>>()));
            }
            continue;
        }
        maybe.iter().for_each(|one| foreseen.add(with(&[one])));
        for (at, one) in maybe.iter().enumerate() {
            if foreseen.full {
                break;
            }
            maybe.iter().skip(at + 1).for_each(|other| foreseen.add(with(&[one, other])));
        }
    }
    foreseen.finish(union(all))
}

/// Classes in the making.
struct ClassList {
    classes: Vec<Class>,
    known: HashSet<Vec<CategoryId>>,
    /// Some did not fit in.
    full: bool,
}

impl Default for ClassList {
    fn default() -> Self {
        ClassList { classes: vec![Class::default()], known: HashSet::from([Vec::new()]), full: false }
    }
}

impl ClassList {
    fn add(&mut self, categories: Vec<CategoryId>) {
        // One is kept free for what stands for the rest.
        if self.classes.len() + 1 >= MAX_CLASSES {
            self.full |= !self.known.contains(&categories);
        } else if self.known.insert(categories.clone()) {
            self.classes.push(Class { categories });
        }
    }

    fn finish(mut self, all: Vec<CategoryId>) -> Vec<Class> {
        if self.full && !self.known.contains(&all) {
            self.classes.push(Class { categories: all });
        }
        self.classes
    }
}
