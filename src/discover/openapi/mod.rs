//! Proposes mappings from an OpenAPI document (3.0, 3.1): one route for each operation.
//!
//! The document is read as a tree: what the reader does not know stays as it is. Only successful answers in JSON count.

mod annotate;
mod documents;
mod references;
mod schema;
mod source;

pub use annotate::AnnotatedDocument;
pub use documents::{MAX_FILES, MAX_TOTAL_BYTES, ReadReferenced, ReferenceError};
pub use references::{holds_names, is_data_keyword};
pub use source::{MAX_DOCUMENT_BYTES, SourceError};

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;

use serde_json::Value;

use self::documents::{DocumentSet, Place};
use self::schema::SchemaOrigins;
use super::name::{NameReading, forget_readings, is_known};
use super::proposal::{RouteHints, propose_walked};
use super::subject::path_subject;
use super::tree::SampleNode;
use super::types::{Proposal, ProposedRoute};
use super::walk::{ProposalWalk, walk};

/// Methods of operations, in the order of a path item.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];
/// Number of nodes that the bodies of a document share. Each has at least [`MIN_BODY_NODES`].
const SHARED_NODES: usize = 300_000;
/// Number of nodes of one body that are expanded in every document.
const MIN_BODY_NODES: usize = 150;
/// Maximum number of nodes of one body.
const MAX_BODY_NODES: usize = 3000;
/// Maximum number of leaves of the bodies that are kept for operations with the same answers.
const MAX_KEPT_LEAVES: usize = 300_000;
/// Maximum number of schemas of the answers of one operation: one for each success and media type.
const MAX_ANSWERS: usize = 16;

/// The reason why an OpenAPI document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// The document does not parse.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that it refers to cannot be used.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A document is nested too deep, or its aliases stand for too many nodes.
    #[error("it is nested too deep, or its aliases are too many")]
    TooLarge,
    /// It is another kind of document.
    #[error("this is no OpenAPI document of version 3.0 or 3.1: `openapi` is missing or of another version")]
    NotOpenApi,
    /// It describes no answer in JSON.
    #[error("the document describes no successful answer in JSON")]
    NoAnswers,
}

/// One operation with the schemas of its answers.
struct DescribedOperation {
    hints: RouteHints,
    schemas: Vec<Place>,
}

/// The structure of the answers of operations, with its classified leaves.
struct WalkedBody {
    body: SampleNode,
    origins: SchemaOrigins,
    walk: ProposalWalk,
    /// The proposed routes by the path parameter that names a person: nothing else of an operation's path changes them.
    routes: RefCell<HashMap<Option<String>, Rc<[ProposedRoute]>>>,
}

impl WalkedBody {
    /// True if the answer itself is a field. Its place in the document is the reference of one operation.
    fn is_value(&self) -> bool {
        self.walk.leaves.first().is_some_and(|leaf| leaf.steps.is_empty())
    }

    /// Returns the routes of an operation with this body, and true if no operation before it had the same. They have the path
    /// and the methods of the first operation.
    fn routes(&self, hints: &RouteHints) -> (Rc<[ProposedRoute]>, bool) {
        let subject = hints.path.as_deref().and_then(path_subject);
        match self.routes.borrow_mut().entry(subject) {
            Entry::Occupied(known) => (Rc::clone(known.get()), false),
            Entry::Vacant(unknown) => {
                let routes = propose_walked(&self.body, &self.walk, hints).into();
                (Rc::clone(unknown.insert(routes)), true)
            }
        }
    }
}

/// Bodies by their schemas, with references followed, and by the title that says what they are about. Many operations answer
/// with the same body.
#[derive(Default)]
struct WalkedBodies {
    bodies: HashMap<(Vec<Place>, String), Rc<WalkedBody>>,
    leaves: usize,
}

/// An OpenAPI document with its operations.
pub struct OpenApiDocument {
    documents: DocumentSet,
    operations: Vec<DescribedOperation>,
}

impl std::fmt::Debug for OpenApiDocument {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenApiDocument")
    }
}

impl OpenApiDocument {
    /// Reads a document and the files that it refers to.
    ///
    /// # Errors
    /// [`OpenApiError`].
    pub fn read(text: String, reader: &mut dyn ReadReferenced) -> Result<OpenApiDocument, OpenApiError> {
        let documents = DocumentSet::load(text, reader)?;
        let root = documents.root().ok_or(OpenApiError::NotOpenApi)?;
        let version = documents.text(root, "openapi").unwrap_or_default();
        if !["3.0", "3.1"].iter().any(|known| version.starts_with(known)) {
            return Err(OpenApiError::NotOpenApi);
        }
        let paths = documents.member(root, "paths");
        let mut operations = Vec::new();
        for (path, item) in paths.into_iter().flat_map(|paths| documents.members(paths)) {
            let item = followed(&documents, item);
            for method in METHODS {
                let Some(operation) = documents.member(item, method) else { continue };
                let schemas = answer_schemas(&documents, operation);
                if !schemas.is_empty() {
                    operations.push(DescribedOperation { hints: hints(path, method), schemas });
                }
            }
        }
        if operations.is_empty() {
            return Err(OpenApiError::NoAnswers);
        }
        Ok(OpenApiDocument { documents, operations })
    }

    /// Proposes the mapping of each operation.
    pub fn propose(&self) -> Proposal {
        let mut routes = Vec::new();
        let mut bodies = WalkedBodies::default();
        for operation in &self.operations {
            let (proposed, _) = self.body(operation, &mut bodies).routes(&operation.hints);
            routes.extend(proposed.iter().map(|route| ProposedRoute {
                path: operation.hints.path.clone(),
                methods: operation.hints.methods.clone(),
                ..route.clone()
            }));
        }
        forget_readings();
        Proposal { routes }
    }

    /// Returns the structure of the answers of an operation with its classified leaves. Numbers in a title say nothing.
    fn body(&self, operation: &DescribedOperation, bodies: &mut WalkedBodies) -> Rc<WalkedBody> {
        // Words that the dictionary does not know say nothing.
        let title = operation.hints.title.as_deref().filter(|title| is_known(title));
        let title = title.map(|title| NameReading::new(title).without_numbers()).unwrap_or_default();
        let named = operation.schemas.iter().map(|schema| self.named(*schema)).collect();
        let key = (named, title);
        if let Some(known) = bodies.bodies.get(&key).filter(|known| !known.is_value()) {
            return Rc::clone(known);
        }
        let (body, origins) = self.expand(operation);
        let walk = walk(&body, Some(&key.1).filter(|title| !title.is_empty()).map(String::as_str));
        bodies.leaves += walk.leaves.len();
        if bodies.leaves > MAX_KEPT_LEAVES {
            *bodies = WalkedBodies { leaves: walk.leaves.len(), ..WalkedBodies::default() };
        }
        let walked = Rc::new(WalkedBody { body, origins, walk, routes: RefCell::default() });
        bodies.bodies.insert(key, Rc::clone(&walked));
        walked
    }

    /// Returns the schema that a schema names, if it says nothing else. Each operation has its own reference to it.
    fn named(&self, schema: Place) -> Place {
        let is_reference = self.documents.members(schema).all(|(name, _)| name == "$ref");
        if is_reference { followed(&self.documents, schema) } else { schema }
    }

    /// Returns the structure of the answers of an operation.
    fn expand(&self, operation: &DescribedOperation) -> (SampleNode, SchemaOrigins) {
        let limit = (SHARED_NODES / self.operations.len().max(1)).clamp(MIN_BODY_NODES, MAX_BODY_NODES);
        let mut body = SampleNode::default();
        let mut origins = SchemaOrigins::new();
        for schema in &operation.schemas {
            let (node, places) = schema::expand(&self.documents, *schema, limit);
            body.merge(node);
            for (steps, places) in places {
                let known = origins.entry(steps).or_default();
                known.extend(places);
                known.dedup();
            }
        }
        (body, origins)
    }

    /// Returns the document with the proposed category at the schema of each field.
    pub fn annotate(&self) -> AnnotatedDocument {
        annotate::annotate(self)
    }
}

/// Follows a reference, at most once.
fn followed(documents: &DocumentSet, place: Place) -> Place {
    let target = documents.text(place, "$ref").and_then(|reference| documents.resolve(place, reference));
    target.unwrap_or(place)
}

/// Returns the schemas of the successful answers in JSON of an operation, each once.
fn answer_schemas(documents: &DocumentSet, operation: Place) -> Vec<Place> {
    let responses = documents.member(operation, "responses");
    let successes = responses
        .into_iter()
        .flat_map(|responses| documents.members(responses))
        .filter(|(status, _)| status.starts_with('2'));
    let mut schemas: Vec<Place> = Vec::new();
    for (_, response) in successes {
        let content = documents.member(followed(documents, response), "content");
        for (media, answer) in content.into_iter().flat_map(|content| documents.members(content)) {
            let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let is_json = media == "application/json"
                || media.ends_with("+json")
                || media == "*/*"
                || media == "application/*";
            let schema = documents.member(answer, "schema").filter(|_| is_json);
            schemas.extend(schema.filter(|schema| !schemas.contains(schema)));
        }
    }
    schemas.truncate(MAX_ANSWERS);
    schemas
}

fn hints(path: &str, method: &str) -> RouteHints {
    let fixed = path.split('/').rfind(|segment| !segment.is_empty() && !segment.starts_with('{'));
    RouteHints {
        title: fixed.map(str::to_owned),
        path: Some(path.to_owned()),
        methods: vec![method.to_ascii_uppercase()],
        ..RouteHints::default()
    }
}

/// Reads a document and the files that it refers to, as JSON values by their paths. The path of the document itself is empty.
/// Each reference is written as the path of a file, `#` and a pointer.
///
/// # Errors
/// [`OpenApiError`].
pub fn read_files(
    text: String,
    reader: &mut dyn ReadReferenced,
) -> Result<Vec<(String, Value)>, OpenApiError> {
    let documents = DocumentSet::load(text, reader)?;
    documents.to_json().ok_or(OpenApiError::TooLarge)
}
