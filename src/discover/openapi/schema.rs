//! Expands a schema into the structure of the bodies that it describes.
//!
//! References are followed within the set of documents. A schema that contains itself ends in a repetition, which becomes a
//! path with `..`. The nodes of one body are bounded; they are expanded level by level, so that what is cut off lies deepest.

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::documents::{DocumentSet, Place};
use crate::discover::effort;
use crate::discover::path::{PathStep, Steps};
use crate::discover::tree::SampleNode;
use crate::discover::types::JsonType;

/// Maximum depth of one body.
const MAX_BODY_DEPTH: usize = 24;
/// Maximum number of references and compositions between a schema and its content.
const MAX_HOPS: usize = 32;
/// Maximum number of schemas that are merged into one body, for each of its nodes: references and compositions.
const MERGES_PER_NODE: usize = 16;

/// A schema that waits to be expanded.
struct Pending {
    schema: Place,
    steps: Steps,
    /// The schemas that were referred to on the way from the root, each with the depth at which it stands.
    above: Rc<[(Place, usize)]>,
    /// True if it is below an alternative.
    in_alternative: bool,
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
        nodes_left: limit.saturating_sub(1),
        merges_left: limit.saturating_mul(MERGES_PER_NODE),
        merged: HashMap::new(),
        declared: HashMap::new(),
        in_alternative: false,
    };
    expansion.queue.push_back(Pending {
        schema,
        steps: Steps::new(),
        above: Rc::default(),
        in_alternative: false,
    });
    while let Some(pending) = expansion.queue.pop_front() {
        expansion.origins.entry(pending.steps.clone()).or_default().push(pending.schema);
        expansion.merged.clear();
        expansion.in_alternative = pending.in_alternative;
        let declares = expansion.merge(pending.schema, &pending.steps, &pending.above, 0);
        let of_path = expansion.declared.entry(pending.steps).or_default();
        of_path.always |= declares && !pending.in_alternative;
        of_path.in_alternative |= declares && pending.in_alternative;
        of_path.missing |= !declares && pending.in_alternative;
    }
    for (steps, of_path) in std::mem::take(&mut expansion.declared) {
        if of_path.in_alternative && of_path.missing && !of_path.always {
            expansion.node(&steps).schema.is_declared_in_part = true;
        }
    }
    expansion.root.close_schema();
    (expansion.root, expansion.origins)
}

struct Expansion<'d> {
    documents: &'d DocumentSet,
    root: SampleNode,
    origins: SchemaOrigins,
    queue: VecDeque<Pending>,
    nodes_left: usize,
    merges_left: usize,
    declared: HashMap<Steps, Declarations>,
    /// True while schemas of an alternative (`oneOf`, `anyOf`) are merged.
    in_alternative: bool,
    /// The schemas that were merged into the present node, and if they declare a category. Each counts once, however many ways
    /// lead to it.
    merged: HashMap<Place, bool>,
}

/// The declarations of categories for the values at one path.
#[derive(Clone, Copy, Default)]
struct Declarations {
    /// True if a schema that holds in any case declares one.
    always: bool,
    /// True if a schema of an alternative declares one.
    in_alternative: bool,
    /// True if a schema of an alternative declares none.
    missing: bool,
}

impl Expansion<'_> {
    fn node(&mut self, steps: &[PathStep]) -> &mut SampleNode {
        effort::count(steps.len());
        steps.iter().fold(&mut self.root, |node, step| node.below_mut(step))
    }

    /// Adds what a schema says to the node at a path, and queues the schemas below it. Returns true if it declares a category for
    /// each of its values.
    fn merge(&mut self, schema: Place, steps: &Steps, above: &[(Place, usize)], hops: usize) -> bool {
        if let Some(declares) = self.merged.get(&schema) {
            return *declares;
        }
        if hops > MAX_HOPS || self.merges_left == 0 {
            self.node(steps).schema.is_open = true;
            return false;
        }
        self.merged.insert(schema, false);
        effort::count(1 + above.len());
        self.merges_left -= 1;
        let mut declares = self.hints(schema, steps);
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
                return declares;
            }
            let title = reference.rsplit(['/', '#']).next().unwrap_or_default().to_owned();
            self.node(steps).schema.title.get_or_insert(title.into());
            let inside: Vec<_> = above.iter().copied().chain([(target, steps.len())]).collect();
            declares |= self.merge(target, steps, &inside, hops + 1);
        }
        for part in self.parts(schema, "allOf") {
            declares |= self.merge(part, steps, above, hops + 1);
        }
        for keyword in ["oneOf", "anyOf"] {
            declares |= self.merge_alternatives(self.parts(schema, keyword), steps, above, hops, declares);
        }
        self.structure(schema, steps, above);
        self.merged.insert(schema, declares);
        declares
    }

    fn parts(&self, schema: Place, keyword: &str) -> Vec<Place> {
        let parts = self.documents.member(schema, keyword);
        parts.map(|parts| self.documents.elements(parts)).unwrap_or_default()
    }

    /// Unites alternatives. Returns true if each of them declares a category. Unless the schema around them does
    /// (`is_declared`), what one of them declares is no word about the others.
    fn merge_alternatives(
        &mut self,
        parts: Vec<Place>,
        steps: &Steps,
        above: &[(Place, usize)],
        hops: usize,
        is_declared: bool,
    ) -> bool {
        // `null` has no category.
        let is_null = |part: &Place| self.documents.text(*part, "type") == Some("null");
        let (null, parts): (Vec<Place>, Vec<Place>) = parts.into_iter().partition(is_null);
        let outside = self.in_alternative;
        self.in_alternative |= parts.len() > 1;
        let mut merge = |part: Place| self.merge(part, steps, above, hops + 1);
        for part in null {
            merge(part);
        }
        let declaring: Vec<bool> = parts.into_iter().map(merge).collect();
        self.in_alternative = outside;
        let (any, all) = (declaring.contains(&true), !declaring.contains(&false));
        if any && !all && !is_declared {
            self.node(steps).schema.is_declared_in_part = true;
        }
        any && all
    }

    /// Queues the members, the elements and the values of a schema, as long as nodes are left.
    fn structure(&mut self, schema: Place, steps: &Steps, above: &[(Place, usize)]) {
        let mut below = self.below(schema);
        if below.is_empty() {
            return;
        }
        let room = if steps.len() < MAX_BODY_DEPTH { self.nodes_left } else { 0 };
        let is_cut = below.len() > room;
        below.truncate(room);
        self.nodes_left -= below.len();
        let node = self.node(steps);
        node.schema.is_open |= is_cut;
        for (step, _) in &below {
            let kind = if *step == PathStep::Elements { JsonType::Array } else { JsonType::Object };
            node.types.insert(kind);
            node.below_mut(step);
        }
        let above: Rc<[(Place, usize)]> = above.into();
        let in_alternative = self.in_alternative;
        self.queue.extend(below.into_iter().map(|(step, schema)| {
            let steps = steps.iter().cloned().chain([step]).collect();
            Pending { schema, steps, above: Rc::clone(&above), in_alternative }
        }));
    }

    /// Returns the schemas of the members, the elements and the values of a schema.
    fn below(&self, schema: Place) -> Vec<(PathStep, Place)> {
        let documents = self.documents;
        let member = |name| documents.member(schema, name);
        let mut below: Vec<(PathStep, Place)> = Vec::new();
        if let Some(properties) = member("properties") {
            let members = documents.members(properties);
            below.extend(members.map(|(name, member)| (PathStep::Member(name.into()), member)));
        }
        below.extend(member("items").map(|items| (PathStep::Elements, items)));
        let tuple = member("prefixItems").map(|items| documents.elements(items));
        below.extend(tuple.into_iter().flatten().map(|item| (PathStep::Elements, item)));
        let values = member("additionalProperties").filter(|values| documents.is_schema(*values));
        below.extend(values.map(|values| (PathStep::Values, values)));
        let patterns = member("patternProperties").map(|patterns| documents.members(patterns));
        below.extend(patterns.into_iter().flatten().map(|(_, values)| (PathStep::Values, values)));
        below
    }

    /// Notes types, format, examples and declared categories. Returns true if the schema declares a category.
    fn hints(&mut self, schema: Place, steps: &[PathStep]) -> bool {
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
        let Some(declared) = documents.member(schema, CATEGORY) else { return false };
        let names: Vec<&str> = match documents.scalar(declared) {
            Some(name) => vec![name],
            None => {
                documents.elements(declared).into_iter().filter_map(|name| documents.scalar(name)).collect()
            }
        };
        for name in &names {
            if !node.schema.categories.iter().any(|known| known == name) {
                node.schema.categories.push((*name).to_owned());
            }
        }
        !names.is_empty()
    }
}

/// The member of a schema that declares the data category of its values: a word or a list of words.
pub(super) const CATEGORY: &str = "x-data-category";

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::discover::openapi::{OpenApiDocument, ReadReferenced};

    struct RefusedFiles;

    impl ReadReferenced for RefusedFiles {
        fn read(&mut self, path: &str) -> Result<String, String> {
            Err(path.to_owned())
        }
    }

    /// Proposes for `GET /products`, whose answers have a schema, and returns paths with their first categories.
    fn proposed(rest: &str, schema: &str) -> Vec<(String, String)> {
        let text = format!(
            "{rest}\nopenapi: 3.1.0\npaths: {{/products: {{get: {{responses: {{'200': {{content: {{application/json: \
             {{schema: {schema}}}}}}}}}}}}}}}"
        );
        let proposal = OpenApiDocument::read(text, &mut RefusedFiles).unwrap().propose();
        let fields = proposal.routes.iter().flat_map(|route| route.fields.iter());
        fields.map(|field| (field.path.clone(), field.categories.concat())).collect()
    }

    #[test]
    fn what_a_schema_leaves_open_is_not_released() {
        let fields = proposed(
            "",
            "{type: object, properties: {sku: {type: string}, extra: {}, parts: {type: [object, 'null']}, \
             gone: {$ref: '#/nothing'}, state: {enum: [a, b]}}}",
        );
        let paths: Vec<&str> = fields.iter().map(|(path, _)| &**path).collect();
        assert_eq!(paths, ["@.sku", "@.state"], "{fields:?}");
        let personal = proposed("", "{type: object, properties: {email: {}}}");
        assert_eq!(personal, [("@.email".to_owned(), "email".to_owned())]);
    }

    #[test]
    fn a_declaration_of_one_alternative_is_no_word_about_the_others() {
        let declared = "{type: string, x-data-category: non-personal}";
        let address = "{type: string, format: email}";
        let both = "non-personalemail";
        for (contact, expected) in [
            (format!("{{oneOf: [{declared}, {address}]}}"), both),
            (format!("{{anyOf: [{address}, {{allOf: [{declared}]}}]}}"), both),
            (format!("{{allOf: [{{oneOf: [{declared}, {address}]}}]}}"), both),
            (format!("{{oneOf: [{declared}, {{type: 'null'}}]}}"), "non-personal"),
            (format!("{{oneOf: [{declared}, {declared}]}}"), "non-personal"),
            (format!("{{allOf: [{declared}, {address}]}}"), "non-personal"),
            (format!("{{x-data-category: name, oneOf: [{{type: string}}, {address}]}}"), "name"),
        ] {
            let fields = proposed("", &format!("{{properties: {{contact: {contact}}}}}"));
            assert_eq!(fields, [("@.contact".to_owned(), expected.to_owned())], "{contact}");
        }
        // The alternatives are the objects around it.
        let of = |contact: &str| format!("{{properties: {{contact: {contact}}}}}");
        for (schema, expected) in [
            (format!("{{oneOf: [{}, {}]}}", of(declared), of(address)), both),
            (format!("{{allOf: [{}, {{oneOf: [{}, {{}}]}}]}}", of(declared), of(address)), "non-personal"),
            (format!("{{allOf: [{}, {}]}}", of(declared), of(address)), "non-personal"),
        ] {
            assert_eq!(proposed("", &schema), [("@.contact".to_owned(), expected.to_owned())], "{schema}");
        }
    }

    #[test]
    fn operations_with_the_same_answers_share_their_fields() {
        let answer =
            "responses: {'200': {content: {application/json: {schema: {$ref: '#/components/schemas/S'}}}}}";
        let text = format!(
            "openapi: 3.1.0\npaths: {{/zzyzx: {{get: {{{answer}}}}}, '/quux/{{id}}': {{put: {{{answer}}}}}, \
             '/users/{{id}}': {{get: {{{answer}}}}}}}\ncomponents: {{schemas: {{S: {{properties: {{email: {{type: string}}}}}}}}}}"
        );
        let routes = OpenApiDocument::read(text, &mut RefusedFiles).unwrap().propose().routes;
        let [first, second, of_user] = routes.as_slice() else { panic!("{routes:?}") };
        assert!(Arc::ptr_eq(&first.fields, &second.fields));
        let paths = [first, second, of_user].map(|route| route.path.as_deref());
        assert_eq!(paths, [Some("/zzyzx"), Some("/quux/{id}"), Some("/users/{id}")]);
        assert_eq!(
            (&*second.methods, &of_user.subject),
            (&["PUT".to_owned()][..], &Some("@.email".to_owned()))
        );
    }

    #[test]
    fn what_is_cut_off_is_not_released() {
        let many = (0..4000).map(|number| format!("p{number}: {{type: string}}"));
        let many = many.collect::<Vec<_>>().join(", ");
        let fields = proposed(
            "",
            &format!(
                "{{properties: {{sku: {{type: string}}, lines: {{type: [object, 'null'], properties: {{{many}}}}}}}}}"
            ),
        );
        assert!(fields.len() > 2000 && fields.len() < 4000);
        assert!(fields.iter().all(|(path, _)| path != "@.lines" && path != "@.lines.p3999"));
        let deep =
            (0..30).fold("{type: string}".to_owned(), |inner, _| format!("{{properties: {{a: {inner}}}}}"));
        assert_eq!(proposed("", &deep), [], "the deepest object is cut off");
    }

    #[test]
    fn a_composition_of_the_same_schemas_takes_few_steps() {
        let levels: String = (0..31)
            .rev()
            .map(|at| format!("s{at}: &s{at} {{allOf: [*s{0}, *s{0}], anyOf: [*s{0}]}}\n", at + 1))
            .collect();
        let rest = format!("s31: &s31 {{properties: {{email: {{type: string}}}}}}\n{levels}");
        let mut fields = Vec::new();
        let steps = effort::of(|| fields = proposed(&rest, "*s0"));
        assert_eq!(fields, [("@.email".to_owned(), "email".to_owned())]);
        assert!(steps < 20_000, "{steps}");
    }
}
