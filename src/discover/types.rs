//! The types of a proposal: paths with their types come in, routes with classified fields go out.

use std::sync::Arc;

/// A type of JSON values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonType {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl JsonType {
    /// All types.
    pub const ALL: [JsonType; 6] = [
        JsonType::Null,
        JsonType::Boolean,
        JsonType::Number,
        JsonType::String,
        JsonType::Array,
        JsonType::Object,
    ];

    /// Returns the name as in JSON Schema.
    pub fn name(self) -> &'static str {
        match self {
            JsonType::Null => "null",
            JsonType::Boolean => "boolean",
            JsonType::Number => "number",
            JsonType::String => "string",
            JsonType::Array => "array",
            JsonType::Object => "object",
        }
    }

    /// Returns the type with a name of JSON Schema. `integer` is a number.
    pub fn from_name(name: &str) -> Option<JsonType> {
        match name {
            "integer" => Some(JsonType::Number),
            _ => JsonType::ALL.into_iter().find(|kind| kind.name() == name),
        }
    }
}

/// A set of types of JSON values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct JsonTypes(u8);

impl JsonTypes {
    /// Adds a type.
    pub fn insert(&mut self, kind: JsonType) {
        self.0 |= 1 << kind as u8;
    }

    /// True if the set holds a type.
    pub fn contains(self, kind: JsonType) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Returns the types of both sets.
    #[must_use]
    pub fn union(self, other: JsonTypes) -> JsonTypes {
        JsonTypes(self.0 | other.0)
    }

    /// True if the set holds no type.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if the set holds no other types than these.
    pub fn is_within(self, kinds: &[JsonType]) -> bool {
        self.0 & !kinds.iter().copied().collect::<JsonTypes>().0 == 0
    }

    /// Returns the types of the set.
    pub fn iter(self) -> impl Iterator<Item = JsonType> {
        JsonType::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl FromIterator<JsonType> for JsonTypes {
    fn from_iter<I: IntoIterator<Item = JsonType>>(kinds: I) -> JsonTypes {
        let mut set = JsonTypes::default();
        kinds.into_iter().for_each(|kind| set.insert(kind));
        set
    }
}

/// A path at which values were seen, without any value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedPath {
    /// The path from the document's root (RFC 9535) with names, `[*]` and `.*`. A position in brackets counts as `[*]`.
    pub path: String,
    /// The types of the values.
    pub types: JsonTypes,
    /// The number of values.
    pub count: u64,
}

/// A mapping that is proposed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Proposal {
    /// One entry for each record set of each route.
    pub routes: Vec<ProposedRoute>,
}

/// One record set of one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProposedRoute {
    /// The path pattern of the route, if it is known.
    pub path: Option<String>,
    /// The methods of the route.
    pub methods: Vec<String>,
    /// The framing of the answers, as the key `framing` has it: `csv` if the samples are tables.
    pub framing: Option<&'static str>,
    /// The path of the records; `$` if the document is one record.
    pub record: String,
    /// The path of the data subject's id, or a path parameter `{name}`.
    pub subject: Option<String>,
    /// The fields. Routes with the same answers share them.
    pub fields: Arc<[ProposedField]>,
}

/// A field with its proposed categories.
#[derive(Clone, Debug, PartialEq)]
pub struct ProposedField {
    /// The path: `@…` within the record, `$…` outside.
    pub path: String,
    /// The categories of the vocabulary. All of them apply.
    pub categories: Vec<String>,
    /// The confidence, from 0 to 1. Below 0.5 the category is a guess.
    pub confidence: f64,
    /// The reason. It quotes no value.
    pub reason: String,
}
