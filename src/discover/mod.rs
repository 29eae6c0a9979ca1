//! Proposes a field mapping: which fields of an answer are about a person, with a data category, a confidence and a reason for
//! each.
//!
//! Pure: texts and paths come in, a [`Proposal`] goes out. It reads no file and keeps no value: reasons and errors quote none.
//! Invariant: a leaf that stays unsure in a document about people has a confidence below 0.5. Its category is that of a person,
//! unless nothing ties it to one.
//!
//! ```text
//!  samples (JSON)  ──> tree ──┐
//!  paths with types ──> tree ─┼─> walk ──> entity   what is each object about?
//!  OpenAPI document ──> tree ─┘     │      classify name, value ──> category, confidence, reason
//!                                   v
//!                              proposal     record sets, subjects, fields ──> JSON, TOML
//! ```

mod classify;
pub(crate) mod effort;
mod entity;
mod name;
#[cfg(feature = "cli")]
pub mod openapi;
pub(crate) mod path;
mod proposal;
mod subject;
mod tree;
mod types;
mod value;
mod walk;

use serde::de::DeserializeSeed;

pub use path::without_conditions;
pub use types::{JsonType, JsonTypes, ObservedPath, Proposal, ProposedField, ProposedRoute};

use self::proposal::RouteHints;
use self::tree::{SampleNode, SampleReader};

/// Maximum bytes of one sample.
pub const MAX_SAMPLE_BYTES: usize = 64 << 20;

/// The reason why a sample cannot be used. It quotes no part of the sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// It is longer than [`MAX_SAMPLE_BYTES`].
    #[error("the sample has more than {MAX_SAMPLE_BYTES} bytes")]
    TooLong,
    /// It is no JSON text.
    #[error("the sample is not JSON: line {line}, column {column}")]
    NotJson {
        /// The line of the mistake, from 1.
        line: usize,
        /// The column of the mistake, from 1.
        column: usize,
    },
    /// It holds neither an object nor an array.
    #[error("the sample is a single value: an object or an array is needed")]
    NoFields,
}

/// The route of the samples as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownRecords {
    /// The path pattern of the route.
    pub path: String,
    /// The methods of the route.
    pub methods: Vec<String>,
    /// The paths of its record sets, each with the path of its first data subject.
    pub records: Vec<(String, Option<String>)>,
}

/// The merged structure of sample bodies of one route.
#[derive(Default)]
pub struct Samples {
    all: SampleNode,
    /// The part that the mapping of the route does not classify, if there is a route.
    unclassified: Option<SampleNode>,
    known: Option<KnownRecords>,
    path: Option<String>,
    /// True if rows of tables are among the samples.
    is_table: bool,
}

impl std::fmt::Debug for Samples {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Samples")
    }
}

impl Samples {
    /// Samples of a route that classifies some fields. The unclassified part is added by
    /// [`add_unclassified`](Samples::add_unclassified).
    pub fn of_route(known: &KnownRecords) -> Samples {
        Samples {
            all: SampleNode::default(),
            unclassified: Some(SampleNode::default()),
            known: Some(known.clone()),
            path: None,
            is_table: false,
        }
    }

    /// Samples of a route that is not configured yet, with the pattern of its path.
    pub fn of_path(path: &str) -> Samples {
        Samples { path: Some(path.to_owned()), ..Samples::default() }
    }

    /// Adds one sample.
    ///
    /// # Errors
    /// [`SampleError`], if the sample cannot be used.
    pub fn add(&mut self, sample: &[u8]) -> Result<(), SampleError> {
        let fresh = observe(sample)?;
        if !fresh.types.contains(JsonType::Object) && !fresh.types.contains(JsonType::Array) {
            return Err(SampleError::NoFields);
        }
        self.all.merge(fresh);
        Ok(())
    }

    /// Adds one row of a table, as a JSON object.
    ///
    /// # Errors
    /// [`SampleError`], if the row cannot be used.
    pub fn add_row(&mut self, row: &[u8]) -> Result<(), SampleError> {
        self.is_table = true;
        self.add(row)
    }

    /// Adds a sample without what the route classifies. Only what is in it is proposed; the whole sample is evidence.
    ///
    /// # Errors
    /// [`SampleError`], if the text cannot be used.
    pub fn add_unclassified(&mut self, rest: &[u8]) -> Result<(), SampleError> {
        if rest.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        self.unclassified.get_or_insert_default().merge(observe(rest)?);
        Ok(())
    }

    /// Proposes a mapping for all samples together.
    pub fn propose(mut self) -> Proposal {
        self.all.collapse_maps();
        if let Some(unclassified) = &mut self.unclassified {
            unclassified.collapse_like(&self.all);
        }
        let (known, only, path, is_table) = (self.known, self.unclassified, self.path, self.is_table);
        propose_tree(&self.all, &RouteHints { known, only, path, is_table, ..RouteHints::default() })
    }
}

fn observe(sample: &[u8]) -> Result<SampleNode, SampleError> {
    if sample.len() > MAX_SAMPLE_BYTES {
        return Err(SampleError::TooLong);
    }
    let mut node = SampleNode::default();
    let not_json =
        |error: serde_json::Error| SampleError::NotJson { line: error.line(), column: error.column() };
    let mut reader = serde_json::Deserializer::from_slice(sample);
    SampleReader(&mut node).deserialize(&mut reader).map_err(not_json)?;
    reader.end().map_err(not_json)?;
    Ok(node)
}

/// True if the name of a member says of which category its value is. Nothing else is in such a name, so that it is no name of
/// somebody.
pub fn is_name_of_category(name: &str) -> bool {
    name::is_of_category(name)
}

/// True if the name of a member consists of words that names of members often have, and is nobody's name.
pub fn is_ordinary_name(name: &str) -> bool {
    name::is_ordinary(name)
}

/// True if the name of a member is a value: an e-mail address, a telephone number, an IBAN, a UUID, digits, another id.
pub fn is_value(name: &str) -> bool {
    value::is_value_like(name)
}

/// Proposes a mapping for paths at which values were seen. Paths that are no plain paths are left out.
pub fn propose(observed: &[ObservedPath]) -> Proposal {
    propose_tree(&tree_of(observed), &RouteHints::default())
}

/// Proposes a mapping for paths of a configured route at which values were seen.
pub fn propose_for_route(observed: &[ObservedPath], known: &KnownRecords) -> Proposal {
    let hints = RouteHints { known: Some(known.clone()), ..RouteHints::default() };
    propose_tree(&tree_of(observed), &hints)
}

fn propose_tree(root: &SampleNode, hints: &RouteHints) -> Proposal {
    let routes = proposal::propose_route(root, hints);
    name::forget_readings();
    Proposal { routes }
}

fn tree_of(observed: &[ObservedPath]) -> SampleNode {
    let mut root = SampleNode::default();
    for ObservedPath { path, types, count } in observed {
        let Some(steps) = path::parse(path) else { continue };
        let node = steps.iter().fold(&mut root, |node, step| {
            node.types.insert(match step {
                path::PathStep::Elements => JsonType::Array,
                path::PathStep::Member(_) | path::PathStep::Values | path::PathStep::Descend => {
                    JsonType::Object
                }
            });
            node.below_mut(step)
        });
        node.types = node.types.union(*types);
        node.count += count;
        node.has_empty |= types.contains(JsonType::Object) || types.contains(JsonType::Array);
    }
    root
}
