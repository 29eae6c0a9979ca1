//! Expands a schema into the structure of the bodies that it describes.
//!
//! References are followed within the set of documents. A schema that contains itself ends in a repetition, which becomes a
//! path with `..`. The nodes of one body are bounded; they are expanded level by level, so that what is cut off lies deepest.

use std::collections::{HashMap, VecDeque};

use super::documents::{DocumentSet, Place};
use crate::discover::path::{PathStep, Steps};
use crate::discover::tree::SampleNode;
use crate::discover::types::JsonType;

/// Maximum depth of one body.
const MAX_BODY_DEPTH: usize = 24;
/// Maximum number of references and compositions between a schema and its content.
const MAX_HOPS: usize = 32;

/// A schema that waits to be expanded.
struct Pending {
    schema: Place,
    steps: Steps,
    /// The schemas that were referred to on the way from the root, each with the depth at which it stands.
    above: Vec<(Place, usize)>,
}

/// The places of the schemas from which a leaf comes, by its path.
pub(super) type SchemaOrigins = HashMap<Steps, Vec<Place>>;

/// Expands the schema of a body, up to a number of nodes.
pub(super) fn expand(documents: &DocumentSet, schema: Place, limit: usize) -> (SampleNode, SchemaOrigins) {
    let mut expansion = Expansion {
        documents,
        root: SampleNode::default(),
        origins: SchemaOrigins::new(),
        queue: VecDeque::new(),
        nodes: 0,
    };
    expansion.queue.push_back(Pending { schema, steps: Steps::new(), above: Vec::new() });
    while let Some(pending) = expansion.queue.pop_front() {
        if expansion.nodes >= limit {
            break;
        }
        expansion.nodes += 1;
        expansion.origins.entry(pending.steps.clone()).or_default().push(pending.schema);
        expansion.merge(pending.schema, &pending.steps, &pending.above, 0);
    }
    (expansion.root, expansion.origins)
}

struct Expansion<'d> {
    documents: &'d DocumentSet,
    root: SampleNode,
    origins: SchemaOrigins,
    queue: VecDeque<Pending>,
    nodes: usize,
}

impl Expansion<'_> {
    fn node(&mut self, steps: &[PathStep]) -> &mut SampleNode {
        steps.iter().fold(&mut self.root, |node, step| node.below_mut(step))
    }

    /// Adds what a schema says to the node at a path, and queues the schemas below it.
    fn merge(&mut self, schema: Place, steps: &Steps, above: &[(Place, usize)], hops: usize) {
        if hops > MAX_HOPS {
            return;
        }
        self.hints(schema, steps);
        if let Some(reference) = self.documents.text(schema, "$ref")
            && let Some(target) = self.documents.resolve(schema, reference)
        {
            if let Some((_, depth)) = above.iter().find(|(known, _)| *known == target) {
                // At the same depth it is a reference to itself, which says nothing.
                if *depth < steps.len() {
                    let node = self.node(steps);
                    node.schema.repeats.get_or_insert(steps.len() - depth);
                    node.types.insert(JsonType::Object);
                }
                return;
            }
            let title = reference.rsplit(['/', '#']).next().unwrap_or_default().to_owned();
            self.node(steps).schema.title.get_or_insert(title.into());
            let inside: Vec<_> = above.iter().copied().chain([(target, steps.len())]).collect();
            self.merge(target, steps, &inside, hops + 1);
        }
        for keyword in ["allOf", "oneOf", "anyOf"] {
            let parts = self.documents.member(schema, keyword);
            for part in parts.map(|parts| self.documents.elements(parts)).unwrap_or_default() {
                self.merge(part, steps, above, hops + 1);
            }
        }
        self.structure(schema, steps, above);
    }

    /// Queues the members, the elements and the values of a schema.
    fn structure(&mut self, schema: Place, steps: &Steps, above: &[(Place, usize)]) {
        if steps.len() >= MAX_BODY_DEPTH {
            return;
        }
        let mut below: Vec<(PathStep, Place)> = Vec::new();
        if let Some(properties) = self.documents.member(schema, "properties") {
            let members = self.documents.members(properties);
            below.extend(members.into_iter().map(|(name, member)| (PathStep::Member(name), member)));
        }
        if let Some(items) = self.documents.member(schema, "items") {
            below.push((PathStep::Elements, items));
        }
        let tuple = self.documents.member(schema, "prefixItems").map(|items| self.documents.elements(items));
        below.extend(tuple.into_iter().flatten().map(|item| (PathStep::Elements, item)));
        if let Some(values) = self
            .documents
            .member(schema, "additionalProperties")
            .filter(|values| self.documents.is_schema(*values))
        {
            below.push((PathStep::Values, values));
        }
        let patterns = self
            .documents
            .member(schema, "patternProperties")
            .map(|patterns| self.documents.members(patterns));
        below.extend(patterns.into_iter().flatten().map(|(_, values)| (PathStep::Values, values)));
        for (step, schema) in below {
            let kind = if step == PathStep::Elements { JsonType::Array } else { JsonType::Object };
            let node = self.node(steps);
            node.types.insert(kind);
            node.below_mut(&step);
            let steps = steps.iter().cloned().chain([step]).collect();
            self.queue.push_back(Pending { schema, steps, above: above.to_vec() });
        }
    }

    /// Notes types, format, examples and declared categories.
    fn hints(&mut self, schema: Place, steps: &[PathStep]) {
        let documents = self.documents;
        let node = self.node(steps);
        node.count += 1;
        let types = documents.member(schema, "type");
        let names = types.map(|types| match documents.scalar(types) {
            Some(name) => vec![name],
            None => documents.elements(types).into_iter().filter_map(|name| documents.scalar(name)).collect(),
        });
        for kind in names.into_iter().flatten().filter_map(JsonType::from_name) {
            node.types.insert(kind);
        }
        if let Some(format) = documents.text(schema, "format") {
            node.schema.format.get_or_insert(format.into());
        }
        if let Some(values) = documents.member(schema, "enum").map(|values| documents.elements(values)) {
            node.schema.is_enumeration = true;
            values
                .into_iter()
                .filter_map(|value| documents.scalar(value))
                .for_each(|value| node.values.observe(value));
        }
        let examples = documents
            .member(schema, "examples")
            .map(|examples| documents.elements(examples))
            .unwrap_or_default();
        let single = ["example", "const"].into_iter().filter_map(|name| documents.member(schema, name));
        single
            .chain(examples)
            .filter_map(|value| documents.scalar(value))
            .for_each(|value| node.values.observe(value));
        if let Some(declared) = documents.member(schema, CATEGORY) {
            let names = match documents.scalar(declared) {
                Some(name) => vec![name],
                None => documents
                    .elements(declared)
                    .into_iter()
                    .filter_map(|name| documents.scalar(name))
                    .collect(),
            };
            for name in names {
                if !node.schema.categories.iter().any(|known| known == name) {
                    node.schema.categories.push(name.to_owned());
                }
            }
        }
    }
}

/// The member of a schema that declares the data category of its values: a word or a list of words.
pub(super) const CATEGORY: &str = "x-data-category";
