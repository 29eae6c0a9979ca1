//! The members of an upstream's error body that a route maps, so that a recipient sees why a request was refused.
//!
//! An error body has no record and nobody whose choices could be looked up, and APIs put anything into it. So a mapped member
//! leaves only if its value is the name of a field that the route knows, a short code of known words, or a code that the route
//! lists for it, and if the request does not have it.
//! Invariant: every name and every value that leaves was checked; the rest of the body is not copied.

mod code;
mod name;
mod words;

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

pub use self::code::has_code_form;
use self::name::KnownNames;
use super::request_values::{EchoedRequest, RequestValues};
use crate::decision::ClassId;
use crate::scrub::{PathCursor, Plan, RecordMapping, UNCLASSIFIED, names_in};

/// Maximum values that leave of one error.
const MAX_VALUES: usize = 100;
/// Maximum different texts of one error that are compared with the request. No other one leaves.
const MAX_TEXTS: usize = 1000;

/// The compiled `errors` of a route.
#[derive(Debug)]
pub struct ErrorMapping {
    /// Classifies the nodes of an error body.
    plan: Plan,
    /// For each class of the plan, the class of the route's mapping with the same categories.
    classes: Vec<ClassId>,
    /// Names of members in the paths of `errors`, as they are written.
    written: HashSet<String>,
    /// Names of the route's own mapping.
    names: KnownNames,
    /// The codes that the route lists, by the members that may have them.
    listed: Vec<ListedCodes>,
}

/// Codes that the route lists for one path of `errors`.
#[derive(Debug)]
pub struct ListedCodes {
    /// Classifies what the path selects, and nothing else.
    pub plan: Plan,
    /// The codes.
    pub codes: HashSet<String>,
}

/// The mapped members of one error.
#[derive(Default)]
pub struct ErrorMembers {
    /// Objects and arrays on the way to the values, with nothing else in them.
    pub members: Option<Value>,
    /// Number of values, by class of the route's mapping.
    pub counts: Vec<u32>,
}

impl ErrorMapping {
    /// A mapping from its plan. `classes` has the class of the route's mapping for each class of the plan, `paths` are those of
    /// the plan, and `listed` pass beside the codes of known words.
    pub fn new(
        plan: Plan,
        classes: Vec<ClassId>,
        paths: &[String],
        listed: Vec<ListedCodes>,
    ) -> ErrorMapping {
        let written = paths.iter().flat_map(|path| names_in(path)).collect();
        ErrorMapping { plan, classes, written, names: KnownNames::default(), listed }
    }

    /// Adds the names of the members that a record set selects. Facts are left out: the name of a fact (`deceased`) can be a
    /// statement about somebody.
    pub fn add_names_of(&mut self, set: &RecordMapping) {
        let sources = set.subjects.iter().chain(&set.controller).map(|source| &source.path);
        let paths = set.fields.iter().map(|field| &field.path);
        for path in paths.chain(sources).chain([&set.path]).filter(|path| !path.starts_with('{')) {
            names_in(path).iter().for_each(|name| self.names.add(name));
        }
    }

    /// Adds the name of a parameter.
    pub fn add_name(&mut self, name: &str) {
        self.names.add(name);
    }

    /// Reads the values of a request that are compared with the error. `None` if they are not known completely.
    pub fn read_request(&self, request: &EchoedRequest) -> Option<RequestValues> {
        // A name of the mapping is none of the recipient's values, and neither is a word of error codes.
        request.values(|name| self.names.has(name) || code::is_code(name))
    }

    /// Returns the members of an error that may leave. `released` is true for classes of the route's mapping that the policy
    /// releases.
    pub fn members(
        &self,
        body: &Value,
        request: &RequestValues,
        released: impl Fn(ClassId) -> bool,
    ) -> ErrorMembers {
        let counts = vec![0; self.classes.iter().map(|class| usize::from(class.0) + 1).max().unwrap_or(0)];
        let mut selection = Selection {
            mapping: self,
            request,
            released,
            values: 0,
            counts,
            last: None,
            texts: HashMap::new(),
            listed: HashMap::new(),
        };
        let listed = self.listed.iter().map(|listed| listed.plan.document_path()).collect();
        let members = selection.select(body, &ErrorPath { mapped: self.plan.document_path(), listed });
        ErrorMembers { members, counts: selection.counts }
    }

    /// True if a text is the name of a field or a code of known words, and no echo of the request.
    fn passes(&self, text: &str, request: &RequestValues) -> bool {
        if let Some(parts) = self.names.read(text) {
            let is_echo = |part: &str| {
                let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
                request.has_value(part) || (is_number && request.has_number(part))
            };
            return !request.has_value(text) && !parts.into_iter().any(is_echo);
        }
        code::is_code(text) && !request.overlaps(text)
    }

    /// Returns the path of a member.
    fn member_path(&self, path: &ErrorPath, name: &str) -> ErrorPath {
        let listed = self.listed.iter().zip(&path.listed);
        ErrorPath {
            mapped: self.plan.member_path(&path.mapped, name),
            listed: listed.map(|(listed, path)| listed.plan.member_path(path, name)).collect(),
        }
    }

    /// Returns the path of the elements of an array.
    fn element_path(&self, path: &ErrorPath) -> ErrorPath {
        let listed = self.listed.iter().zip(&path.listed);
        ErrorPath {
            mapped: self.plan.element_path(&path.mapped),
            listed: listed.map(|(listed, path)| listed.plan.element_path(path)).collect(),
        }
    }

    /// True if the route lists a text as a code of the members at a path.
    fn lists(&self, text: &str, path: &ErrorPath) -> bool {
        let mut listed = self.listed.iter().zip(&path.listed);
        listed.any(|(listed, path)| listed.codes.contains(text) && certain_class(path).is_some())
    }
}

/// The place of a value in an error.
struct ErrorPath {
    mapped: PathCursor,
    /// The place for each of the listed codes.
    listed: Vec<PathCursor>,
}

/// Returns the class of the nodes at a path; `None` if nothing maps them, or if that is not certain.
fn certain_class(path: &PathCursor) -> Option<ClassId> {
    let mut classes = path.nodes().map(|node| node.class);
    let class = classes.next().filter(|class| *class != UNCLASSIFIED)?;
    classes.all(|other| other == class).then_some(class)
}

/// Prints the type's name only.
impl fmt::Debug for ErrorMembers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ErrorMembers")
    }
}

/// The selection of members of one error.
struct Selection<'s, R> {
    mapping: &'s ErrorMapping,
    request: &'s RequestValues,
    released: R,
    values: usize,
    counts: Vec<u32>,
    /// The class of the last value that leaves.
    last: Option<ClassId>,
    /// The texts that were compared with the request, and the result: a text can occur thousands of times.
    texts: HashMap<String, bool>,
    /// The listed codes that were compared with the request, and the result.
    listed: HashMap<String, bool>,
}

impl<R: Fn(ClassId) -> bool> Selection<'_, R> {
    /// Returns a value without everything that does not leave; `None` if nothing is left. The parser bounds the depth.
    fn select(&mut self, value: &Value, path: &ErrorPath) -> Option<Value> {
        if self.values >= MAX_VALUES {
            return None;
        }
        let mapping = self.mapping;
        match value {
            Value::Object(members) => {
                let mut left = Map::new();
                for (name, value) in members {
                    let is_written = mapping.written.contains(name);
                    if !is_written && !self.passes(name) {
                        continue;
                    }
                    if let Some(value) = self.select(value, &mapping.member_path(path, name)) {
                        if !is_written {
                            // The name is one more value of the error.
                            self.count();
                        }
                        left.insert(name.clone(), value);
                    }
                }
                (!left.is_empty()).then_some(Value::Object(left))
            }
            Value::Array(elements) => {
                let path = mapping.element_path(path);
                let left: Vec<Value> =
                    elements.iter().filter_map(|element| self.select(element, &path)).collect();
                (!left.is_empty()).then_some(Value::Array(left))
            }
            Value::String(text) => self.leaf(value, text, path),
            Value::Number(number) => self.leaf(value, &number.to_string(), path),
            // A flag can state a fact about somebody, and is no code.
            Value::Bool(_) | Value::Null => None,
        }
    }

    fn leaf(&mut self, value: &Value, text: &str, path: &ErrorPath) -> Option<Value> {
        let class = certain_class(&path.mapped)?;
        let class = self.mapping.classes.get(usize::from(class.0)).copied()?;
        let leaves = (self.released)(class) && (self.passes(text) || self.passes_listed(text, path));
        if !leaves {
            return None;
        }
        self.last = Some(class);
        self.count();
        Some(value.clone())
    }

    /// Counts a value that leaves, of the class of the last one.
    fn count(&mut self) {
        self.values += 1;
        let class = self.last.map(|class| usize::from(class.0));
        if let Some(count) = class.and_then(|class| self.counts.get_mut(class)) {
            *count += 1;
        }
    }

    /// True if a text may leave wherever it stands.
    fn passes(&mut self, text: &str) -> bool {
        if let Some(passes) = self.texts.get(text) {
            return *passes;
        }
        if self.texts.len() >= MAX_TEXTS {
            return false;
        }
        let passes = self.mapping.passes(text, self.request);
        self.texts.insert(text.to_owned(), passes);
        passes
    }

    /// True if a text is a code that the route lists for its place. Each is compared with the request once: the same one can occur
    /// thousands of times.
    fn passes_listed(&mut self, text: &str, path: &ErrorPath) -> bool {
        if !self.mapping.lists(text, path) {
            return false;
        }
        if let Some(passes) = self.listed.get(text) {
            return *passes;
        }
        let passes = !self.request.overlaps(text);
        self.listed.insert(text.to_owned(), passes);
        passes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::exchange::request_values::tests::copied;
    use crate::scrub::{FactKey, FieldMapping, Mapping};
    use crate::vocabulary::Vocabulary;

    /// A mapping with these paths of errors, on a route that knows `email`, `birth_date` and `address.city`.
    fn mapping(paths: &[&str]) -> ErrorMapping {
        let vocabulary = Vocabulary::standard();
        let category = vocabulary.categories().find("non-personal").unwrap();
        let field =
            |path: &str| FieldMapping { path: path.to_owned(), categories: vec![category], embedded: false };
        let set = |paths: &[&str]| RecordMapping {
            path: "$".to_owned(),
            fields: paths.iter().map(|path| field(path)).collect(),
            ..RecordMapping::default()
        };
        let records = vec![set(paths)];
        let plan = Plan::compile(&Mapping { records, ..Mapping::default() }, &vocabulary).unwrap();
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let listed = paths.iter().filter(|path| path.ends_with(".code")).map(|path| {
            let records = vec![set(&[path])];
            let plan = Plan::compile(&Mapping { records, ..Mapping::default() }, &vocabulary).unwrap();
            let codes = ["iban_checksum", "1043", "E-1043", "E1980"].map(str::to_owned);
            ListedCodes { plan, codes: HashSet::from(codes) }
        });
        let listed = listed.collect();
        let mut mapping = ErrorMapping::new(plan, vec![UNCLASSIFIED, ClassId(3)], &paths, listed);
        let facts = vec![(FactKey::AccountClosed, "@.deceased".to_owned())];
        mapping.add_names_of(&RecordMapping { facts, ..set(&["@.email", "@.birth_date", "@.address.city"]) });
        mapping.add_name("id");
        mapping
    }

    const REQUEST: &str = r#"{"email": "jane@example.org", "birth_date": "1980-02-03", "address": {"city": "Kiel"}, "age": 42}"#;

    /// Returns the members that leave of an error to [`REQUEST`].
    fn members(paths: &[&str], body: &Value) -> Value {
        let mapping = mapping(paths);
        let copy = copied("?q=Ada+Lovelace", "application/json", REQUEST.as_bytes());
        let request = mapping.read_request(&copy).unwrap();
        mapping.members(body, &request, |class| class == ClassId(3)).members.unwrap_or(Value::Null)
    }

    const FIELDS_AND_CODES: [&str; 2] = ["$.errors[*].field", "$.errors[*].code"];

    #[test]
    fn names_of_the_mapping_and_codes_leave_and_nothing_else() {
        let body = json!({
            "title": "jane@example.org is taken",
            "errors": [
                {"field": "email", "code": "already_exists", "message": "jane@example.org exists", "value": "x"},
                {"field": "address.city", "code": "iban_checksum", "id": 7},
                {"field": "/birth_date", "code": 1043},
                {"field": "iban_checksum", "code": "E-1043"},
                {"message": "required"},
            ],
        });
        let left = json!({"errors": [
            {"field": "email", "code": "already_exists"},
            {"field": "address.city", "code": "iban_checksum"},
            {"field": "/birth_date", "code": 1043},
            {"code": "E-1043"},
        ]});
        assert_eq!(members(&FIELDS_AND_CODES, &body), left);
    }

    #[test]
    fn values_count_by_their_class() {
        let mapping = mapping(&FIELDS_AND_CODES);
        let request = mapping.read_request(&copied("", "application/json", b"")).unwrap();
        let body = json!({"errors": [{"field": "email", "code": "jane"}, {"field": "id"}]});
        let left = mapping.members(&body, &request, |_| true);
        assert_eq!(left.counts, [0, 0, 0, 2]);
        let withheld = mapping.members(&body, &request, |_| false);
        assert_eq!((withheld.members, withheld.counts), (None, vec![0; 4]));
    }

    #[test]
    fn personal_data_in_a_mapped_member_stay() {
        for value in [
            json!("jane@example.org"),
            json!("Jane"),
            json!("Doe"),
            json!("jane.doe"),
            json!("JANE_DOE"),
            json!("email jane@example.org"),
            json!("email: required"),
            json!("email=jane"),
            json!("emаil"),
            json!("ｅmail"),
            json!("e%6dail"),
            json!("amFuZUBleGFtcGxlLm9yZw"),
            json!("6a616e65"),
            json!("gro.elpmaxe@enaj"),
            json!("491512345678"),
            json!("DE89370400440532013000"),
            json!("1980-02-03"),
            json!(491_512_345_678_u64),
            json!(19_800_203),
            json!(-5),
            json!(1.5),
            json!(54.3233),
            json!(true),
            json!(null),
            json!({"jane@example.org": "required"}),
            json!({"Doe": {"x": "required"}}),
            json!(["Jane", ["Doe"]]),
            json!("{\"email\":\"required\"}"),
            json!(""),
            json!("x".repeat(200)),
            json!("email@192.168.1.25"),
            json!("email[192.168.1.25]"),
            json!("birth_date/03/02/80"),
            json!("address/042/email"),
            json!({"type": "Buffer", "data": [74, 97, 110, 101]}),
            json!([74, 97, 110, 101]),
            json!("C-1042"),
            json!("K1042"),
            json!("24103"),
            json!(24_103),
            json!("account_10042"),
            json!({"C-1042": "required"}),
            json!({"10043": "required"}),
            json!({"iban_checksum": "required"}),
            json!("DECEASED"),
            json!("deceased"),
            json!("is_minor"),
            json!("minor_not_allowed"),
            json!("birth_invalid"),
            json!("Begin"),
            json!("an"),
        ] {
            for member in ["field", "code"] {
                let body = json!({"errors": [{member: value.clone()}]});
                assert_eq!(members(&FIELDS_AND_CODES, &body), Value::Null, "{member}: {value}");
            }
        }
    }

    #[test]
    fn echoes_of_the_request_stay_in_each_spelling() {
        for echo in [
            json!("Kiel"),
            json!("KIEL"),
            json!("kiel_invalid"),
            json!("invalid.Kiel"),
            json!("invalidKiel"),
            json!(42),
            json!("42"),
            json!("E42"),
            json!("E-042"),
            json!("error_1980"),
            json!("ERR3"),
            json!("lovelace"),
            json!("p-9"),
            json!("E1980"),
        ] {
            let body = json!({"errors": [{"code": echo.clone()}]});
            assert_eq!(members(&FIELDS_AND_CODES, &body), Value::Null, "{echo}");
        }
    }

    #[test]
    fn a_code_or_a_name_that_the_request_has_as_a_value_stays() {
        let mapping = mapping(&FIELDS_AND_CODES);
        let body = json!({"errors": [{"field": "email", "code": "iban_checksum"}, {"field": "id", "code": "required"}]});
        let left = |request: &str| {
            let copy = copied("", "application/json", request.as_bytes());
            let request = mapping.read_request(&copy).unwrap();
            mapping.members(&body, &request, |_| true).members
        };
        let without = json!({"errors": [{"field": "id", "code": "required"}]});
        assert_eq!(left(r#"{"sort": "E-mail", "note": "the IBAN checksum"}"#), Some(without));
        assert_eq!(left(r#"["IBAN", "id", "email", "is required"]"#), None);
        assert_eq!(left("{}"), Some(body.clone()));
    }

    #[test]
    fn names_of_members_leave_only_if_they_are_known() {
        let body = json!({"errors": {
            "email": ["required"],
            "address.city": ["too_long", "Kiel"],
            "jane@example.org": ["required"],
            "Doe": ["required"],
            "Kiel": "required",
            "unknown_field": "required",
        }});
        let left = json!({"errors": {"email": ["required"], "address.city": ["too_long"], "unknown_field": "required"}});
        assert_eq!(members(&["$.errors.*[*]", "$.errors.*"], &body), left);
        assert_eq!(members(&["$.errors"], &body), left, "a mapped container covers what is below it");
        let mapping = mapping(&["$.errors"]);
        let request = mapping.read_request(&copied("", "application/json", b"")).unwrap();
        let counts = mapping.members(&left, &request, |_| true).counts;
        assert_eq!(counts, [0, 0, 0, 6], "names that the mapping does not write are counted");
    }

    #[test]
    fn nothing_of_an_unmapped_or_empty_body_leaves() {
        for body in
            [json!({"detail": "required"}), json!("required"), json!([]), json!({"errors": []}), json!(null)]
        {
            assert_eq!(members(&FIELDS_AND_CODES, &body), Value::Null);
        }
        let reached = json!({"errors": [{"field": "email"}]});
        assert_eq!(members(&["$..field"], &reached), reached, "a descendant");
        assert_eq!(members(&["$"], &json!("required")), json!("required"));
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let errors: Vec<Value> = (0..MAX_VALUES + 10).map(|_| json!({"code": "required"})).collect();
        let left = members(&FIELDS_AND_CODES, &json!({ "errors": errors }));
        assert_eq!(left["errors"].as_array().unwrap().len(), MAX_VALUES);
    }

    #[test]
    fn the_number_of_compared_texts_is_bounded() {
        let texts = (0..MAX_TEXTS).map(|at| json!({"field": format!("n{at}")}));
        let errors: Vec<Value> = texts.chain([json!({"code": "required"})]).collect();
        assert_eq!(
            members(&FIELDS_AND_CODES, &json!({ "errors": errors[1..] })),
            json!({"errors": [{"code": "required"}]})
        );
        assert_eq!(members(&FIELDS_AND_CODES, &json!({ "errors": errors })), Value::Null);
    }

    #[test]
    fn positions_of_the_request_stay() {
        let body = json!({"errors": [{"field": "address[42].city"}, {"field": "address/2/city"}, {"field": "address[7].city"}]});
        // The request has the numbers 42 and 2.
        assert_eq!(members(&FIELDS_AND_CODES, &body), json!({"errors": [{"field": "address[7].city"}]}));
    }
}
