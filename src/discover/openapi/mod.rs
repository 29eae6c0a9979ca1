//! Proposes mappings from an OpenAPI document (3.0, 3.1): one route for each operation.
//!
//! The document is read as a tree: what the reader does not know stays as it is. Only successful answers in JSON count.

mod annotate;
mod documents;
mod schema;
mod source;

pub use documents::{MAX_FILES, ReadReferenced, ReferenceError};
pub use source::{ItemId, MAX_DOCUMENT_BYTES, SourceDocument, SourceError};

use self::documents::{DocumentSet, Place};
use self::schema::SchemaOrigins;
use super::proposal::{RouteHints, propose_route};
use super::tree::SampleNode;
use super::types::Proposal;

/// Methods of operations, in the order of a path item.
const METHODS: [&str; 6] = ["get", "head", "post", "put", "patch", "delete"];
/// Number of nodes that the bodies of a document share. Each has at least [`MIN_BODY_NODES`].
const SHARED_NODES: usize = 300_000;
/// Number of nodes of one body that are expanded in every document.
const MIN_BODY_NODES: usize = 150;
/// Maximum number of nodes of one body.
const MAX_BODY_NODES: usize = 3000;

/// The reason why an OpenAPI document cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenApiError {
    /// The document does not parse.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A file that it refers to cannot be used.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// It is another kind of document.
    #[error("this is no OpenAPI document of version 3.0 or 3.1: `openapi` is missing or of another version")]
    NotOpenApi,
    /// It describes no answer in JSON.
    #[error("the document describes no successful answer in JSON")]
    NoAnswers,
}

/// One operation with the structure of its answers.
struct Operation {
    hints: RouteHints,
    body: SampleNode,
    origins: SchemaOrigins,
}

/// An OpenAPI document with the structure of the answers of each operation.
pub struct OpenApiDocument {
    documents: DocumentSet,
    operations: Vec<Operation>,
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
        let documents = DocumentSet::load(SourceDocument::parse(text)?, reader)?;
        let root = documents.root().ok_or(OpenApiError::NotOpenApi)?;
        let version = documents.text(root, "openapi").unwrap_or_default();
        if !["3.0", "3.1"].iter().any(|known| version.starts_with(known)) {
            return Err(OpenApiError::NotOpenApi);
        }
        let mut operations = Vec::new();
        let paths = documents.member(root, "paths").map(|paths| documents.members(paths)).unwrap_or_default();
        let mut described: Vec<(Box<str>, &str, Place)> = Vec::new();
        for (path, item) in paths {
            let item = followed(&documents, item);
            let of_method = |method| Some((path.clone(), method, documents.member(item, method)?));
            described.extend(METHODS.into_iter().filter_map(of_method));
        }
        let limit = (SHARED_NODES / described.len().max(1)).clamp(MIN_BODY_NODES, MAX_BODY_NODES);
        for (path, method, operation) in described {
            operations.extend(read_operation(&documents, &path, method, operation, limit));
        }
        if operations.is_empty() {
            return Err(OpenApiError::NoAnswers);
        }
        Ok(OpenApiDocument { documents, operations })
    }

    /// Proposes the mapping of each operation.
    pub fn propose(&self) -> Proposal {
        let routes =
            self.operations.iter().flat_map(|operation| propose_route(&operation.body, &operation.hints));
        Proposal { routes: routes.collect() }
    }

    /// Returns the text of the document with the proposed category at the schema of each field, and the number of fields
    /// that have no place of their own: routes disagree about them, or they are in another file.
    pub fn annotate(&self) -> (String, usize) {
        annotate::annotate(self)
    }
}

/// Follows a reference, at most once.
fn followed(documents: &DocumentSet, place: Place) -> Place {
    let target = documents.text(place, "$ref").and_then(|reference| documents.resolve(place, reference));
    target.unwrap_or(place)
}

fn read_operation(
    documents: &DocumentSet,
    path: &str,
    method: &str,
    operation: Place,
    limit: usize,
) -> Option<Operation> {
    let responses = documents.member(operation, "responses")?;
    let mut body = SampleNode::default();
    let mut origins = SchemaOrigins::new();
    let mut has_answer = false;
    for (status, response) in documents.members(responses) {
        if !status.starts_with('2') {
            continue;
        }
        let response = followed(documents, response);
        let content = documents
            .member(response, "content")
            .map(|content| documents.members(content))
            .unwrap_or_default();
        for (media, answer) in content {
            let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            let is_json = media == "application/json"
                || media.ends_with("+json")
                || media == "*/*"
                || media == "application/*";
            let Some(schema) = documents.member(answer, "schema").filter(|_| is_json) else { continue };
            let (node, places) = schema::expand(documents, schema, limit);
            body.merge(node);
            for (steps, places) in places {
                let known = origins.entry(steps).or_default();
                known.extend(places);
                known.dedup();
            }
            has_answer = true;
        }
    }
    let fixed = path.split('/').rfind(|segment| !segment.is_empty() && !segment.starts_with('{'));
    let hints = RouteHints {
        title: fixed.map(str::to_owned),
        path: Some(path.to_owned()),
        methods: vec![method.to_ascii_uppercase()],
        ..RouteHints::default()
    };
    has_answer.then_some(Operation { hints, body, origins })
}
