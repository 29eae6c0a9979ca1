//! Reads the paths of a mapping and compiles them to queries, record sets and an automaton.

use super::MappingError;
use crate::scrub::automaton::{Automaton, AutomatonBuilder};
use crate::scrub::class::union;
use crate::scrub::mapping::{Columns, FieldMapping, RecordMapping, SubjectSource};
use crate::scrub::query::{self, Anchor, MappingFault, Query, QuerySegment};
use crate::scrub::record_set::{Capture, IdOrigin, IdSource, QueryRole, RecordSet, TableHeader};
use crate::vocabulary::CategoryId;

/// The part of a plan that is compiled from the paths of the mapping.
pub(super) struct CompiledQueries {
    pub(super) queries: Vec<Query>,
    pub(super) roles: Vec<QueryRole>,
    pub(super) sets: Vec<RecordSet>,
    pub(super) automaton: Automaton,
    /// True if a query reads the document from the root, so that the document has to be held.
    pub(super) reads_document: bool,
}

/// Collects the queries of a mapping, and the mistakes in it.
#[derive(Default)]
pub(super) struct PlanBuilder {
    queries: Vec<Query>,
    roles: Vec<QueryRole>,
    sets: Vec<RecordSet>,
    /// Queries that start at the root, except captures.
    document_queries: Vec<u16>,
    errors: Vec<MappingError>,
    reads_document: bool,
    /// The columns of the record set that is being read; empty if it is no table.
    columns: Vec<String>,
}

impl PlanBuilder {
    /// Adds one record set of a mapping.
    pub(super) fn add_record_set(&mut self, mapping: &RecordMapping) {
        let mut set = RecordSet::default();
        let rows = self.add_record_query(&mapping.path, &mut set);
        if let Some(columns) = &mapping.columns {
            set.header = self.header(columns, rows.as_ref());
            self.columns.clone_from(&columns.names);
        }
        for field in &mapping.fields {
            self.add_field(field, &mut set);
        }
        for source in &mapping.subjects {
            set.subjects.extend(self.id_source(source));
        }
        set.controller = mapping.controller.as_ref().and_then(|source| self.id_source(source));
        for (key, path) in &mapping.facts {
            set.facts.extend(self.capture(path).map(|capture| (*key, capture)));
        }
        let is_conditional = |capture: Capture| {
            self.queries.get(usize::from(capture.query)).is_some_and(Query::is_conditional)
        };
        let any_conditional = set.captures().any(is_conditional);
        set.evaluated |= any_conditional;
        self.columns.clear();
        self.sets.push(set);
    }

    /// Adds a query whose nodes `scrub --remove` removes.
    pub(super) fn add_removal(&mut self, text: &str) {
        match query::read(text) {
            Ok((Anchor::Document, query)) => {
                // The number of the category does not matter: every node with a category is removed.
                let role = QueryRole::Field { categories: vec![CategoryId(0)], embedded: false };
                self.add_query(query, role, Anchor::Document);
            }
            Ok((Anchor::Record, _)) => self.fail(text, MappingFault::NotFromDocument),
            Err(fault) => self.fail(text, fault),
        }
    }

    /// Builds the automaton.
    ///
    /// # Errors
    /// Returns every path that did not load.
    pub(super) fn finish(self) -> Result<CompiledQueries, Vec<MappingError>> {
        if !self.errors.is_empty() {
            return Err(self.errors);
        }
        let mut sets = self.sets;
        let builder = AutomatonBuilder {
            queries: &self.queries,
            roles: &self.roles,
            sets: &sets,
            document: &self.document_queries,
        };
        let automaton = match builder.determinise() {
            Some(automaton) => automaton,
            None => {
                let automaton = builder.hold_everything();
                // This automaton finds no captures.
                sets.iter_mut().for_each(|set| set.evaluated = true);
                automaton
            }
        };
        Ok(CompiledQueries {
            queries: self.queries,
            roles: self.roles,
            sets,
            automaton,
            reads_document: self.reads_document,
        })
    }

    fn fail(&mut self, path: &str, fault: MappingFault) {
        self.errors.push(MappingError { path: path.to_owned(), fault });
    }

    /// Adds a query and returns its number.
    fn add_query(&mut self, query: Query, role: QueryRole, anchor: Anchor) -> u16 {
        let number = u16::try_from(self.queries.len()).unwrap_or(u16::MAX);
        let from_root = anchor == Anchor::Document;
        self.reads_document |= from_root && query.reads_root();
        // A capture from the root is evaluated over the document. The automaton does not follow it.
        if from_root && !matches!(role, QueryRole::Capture) {
            self.document_queries.push(number);
        }
        self.queries.push(query);
        self.roles.push(role);
        number
    }

    /// Adds the query for the records of a set, and returns it.
    fn add_record_query(&mut self, path: &str, set: &mut RecordSet) -> Option<Query> {
        match query::read(path) {
            Ok((Anchor::Document, query)) => {
                set.evaluated = query.reads_root()
                    || query.segments.iter().any(|segment| segment.descendant || !segment.is_forward());
                self.add_query(query.clone(), QueryRole::Record(self.sets.len()), Anchor::Document);
                return Some(query);
            }
            Ok((Anchor::Record, _)) => self.fail(path, MappingFault::NotFromDocument),
            Err(fault) => self.fail(path, fault),
        }
        None
    }

    /// Reads the header of a table whose rows the query `rows` selects.
    fn header(&mut self, columns: &Columns, rows: Option<&Query>) -> Option<TableHeader> {
        if let Ok((Anchor::Record, _)) = query::read(&columns.path) {
            self.fail(&columns.path, MappingFault::NotFromDocument);
            return None;
        }
        let capture = self.capture(&columns.path)?;
        let (tables, scattered) = self.tables(rows?, capture);
        Some(TableHeader { capture, names: columns.names.clone(), tables, scattered })
    }

    fn add_field(&mut self, field: &FieldMapping, set: &mut RecordSet) {
        let FieldMapping { path, categories, embedded } = field;
        if categories.is_empty() {
            self.fail(path, MappingFault::NoCategory);
        }
        match self.read(path) {
            Ok((anchor, query)) => {
                let categories = union([categories.as_slice()].into_iter());
                let role = QueryRole::Field { categories, embedded: *embedded };
                let number = self.add_query(query, role, anchor);
                if anchor == Anchor::Record {
                    set.fields.push(number);
                }
            }
            Err(fault) => self.fail(path, fault),
        }
    }

    /// Reads a path of the record set. In a table, the first name of a relative path is the name of a column.
    fn read(&self, path: &str) -> Result<(Anchor, Query), MappingFault> {
        let (anchor, mut query) = query::read(path)?;
        if anchor == Anchor::Record && !self.columns.is_empty() {
            query.resolve_columns(&self.columns)?;
        }
        Ok((anchor, query))
    }

    /// Returns a capture of the nodes that hold one table each, if there can be several, and the value of
    /// [`TableHeader::scattered`]. The path to these nodes is the longest common prefix of the paths to the rows and
    /// to the header.
    fn tables(&mut self, rows: &Query, header: Capture) -> (Option<Capture>, usize) {
        let Some(columns) = self.queries.get(usize::from(header.query)).cloned() else { return (None, 0) };
        // The last segment selects the rows of one table.
        let to_rows = rows.segments.split_last().map_or(&[][..], |(_, before)| before);
        let segments = to_rows.iter().zip(&columns.segments);
        let common = segments.take_while(|(one, other)| one.is_same(other)).count();
        let plural =
            |segments: &[QuerySegment]| segments.iter().filter(|segment| !segment.is_singular()).count();
        let beyond = |segments: &[QuerySegment]| segments.get(common..).map_or(0, plural);
        let scattered = if beyond(to_rows) > 0 { beyond(&columns.segments) } else { 0 };
        let prefix = Query { segments: to_rows.iter().take(common).cloned().collect() };
        let tables = (!prefix.is_singular()).then(|| Capture {
            query: self.add_query(prefix, QueryRole::Capture, Anchor::Document),
            anchor: Anchor::Document,
            singular: false,
        });
        (tables, scattered)
    }

    fn id_source(&mut self, source: &SubjectSource) -> Option<IdSource> {
        let origin = match source.path.strip_prefix('{') {
            Some(rest) => match rest.strip_suffix('}') {
                Some(name) if !name.is_empty() => IdOrigin::Parameter(name.into()),
                _ => {
                    self.fail(&source.path, MappingFault::Parameter);
                    return None;
                }
            },
            None => IdOrigin::Body(self.capture(&source.path)?),
        };
        let (ancestors, one_each) = match &origin {
            IdOrigin::Body(capture) if source.optional => self.ancestors(*capture),
            IdOrigin::Body(_) | IdOrigin::Parameter(_) => (Vec::new(), false),
        };
        Some(IdSource { origin, ids: source.ids.clone(), optional: source.optional, ancestors, one_each })
    }

    /// Returns the values of [`IdSource::ancestors`] and [`IdSource::one_each`] for an id that this capture
    /// selects.
    fn ancestors(&mut self, capture: Capture) -> (Vec<Capture>, bool) {
        let Some(query) = self.queries.get(usize::from(capture.query)).cloned() else {
            return (Vec::new(), false);
        };
        let prefixes = (1..query.segments.len()).map(|length| {
            let prefix = Query { segments: query.segments.iter().take(length).cloned().collect() };
            let singular = prefix.is_singular();
            let number = self.add_query(prefix, QueryRole::Capture, capture.anchor);
            Capture { query: number, anchor: capture.anchor, singular }
        });
        (prefixes.collect(), query.segments.last().is_some_and(QuerySegment::is_singular))
    }

    fn capture(&mut self, path: &str) -> Option<Capture> {
        match self.read(path) {
            Ok((anchor, query)) => {
                // The node may be anywhere in the document, even after the record, so the document is held.
                self.reads_document |= anchor == Anchor::Document;
                let singular = query.is_singular();
                Some(Capture { query: self.add_query(query, QueryRole::Capture, anchor), anchor, singular })
            }
            Err(fault) => {
                self.fail(path, fault);
                None
            }
        }
    }
}
