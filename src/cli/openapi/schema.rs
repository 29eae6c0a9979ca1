//! Rewrites the schemas of answers for one recipient: fields that never leave are gone, those that depend on the person are
//! optional, and fields in another form lose the constraints that only the clear value meets.
//!
//! A schema is rewritten for each place in the answers of a route, because the same component can be classified differently
//! in two of them. A place in which a component was rewritten before refers to that result, so recursive schemas end.
//! Keywords that could contradict what is taken away (`not`, `if`, examples, discriminators) are left out.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::field_view::{FieldView, Presence, RouteFieldView};
use super::spec_files::SpecFiles;
use crate::cli::error::CliError;
use crate::discover::openapi::{holds_names, is_data_keyword};
use crate::scrub::{PathCursor, RemovedAs};
use crate::vocabulary::Form;

/// Greatest nesting of schemas without a reference.
const MAX_DEPTH: usize = 128;
/// Maximum schemas that are rewritten, references included.
const MAX_SCHEMAS: usize = 200_000;

/// Keywords that are copied for every value.
const ANNOTATIONS: [&str; 9] = [
    "type",
    "title",
    "description",
    "nullable",
    "readOnly",
    "writeOnly",
    "deprecated",
    "x-data-category",
    "maxItems",
];
/// Keywords that are copied for a value that leaves as it is.
const CONSTRAINTS: [&str; 14] = [
    "format",
    "pattern",
    "enum",
    "const",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "contentEncoding",
    "contentMediaType",
    "maxProperties",
];

/// A rewritten component.
#[derive(Clone, Debug)]
enum Component {
    /// It is being rewritten, so a schema within it refers to it.
    Begun,
    Done(Presence),
}

/// The components of the resulting document.
pub(super) struct Components<'d> {
    files: &'d SpecFiles,
    is_version_3_0: bool,
    schemas: Map<String, Value>,
    /// The names of rewritten components, by pointer, route and path.
    rewritten: HashMap<(String, String, PathCursor), (String, Component)>,
    /// The names of components that are copied as they are, by pointer.
    copied: HashMap<String, String>,
    count: usize,
}

impl<'d> Components<'d> {
    pub(super) fn new(files: &'d SpecFiles) -> Components<'d> {
        let version = files.first().get("openapi").and_then(Value::as_str).unwrap_or_default();
        Components {
            files,
            is_version_3_0: version.starts_with("3.0"),
            schemas: Map::new(),
            rewritten: HashMap::new(),
            copied: HashMap::new(),
            count: 0,
        }
    }

    pub(super) fn into_schemas(self) -> Map<String, Value> {
        self.schemas
    }

    /// Follows references from an object of the document, and returns the object that has none.
    ///
    /// # Errors
    /// [`CliError::Unusable`] if a reference leads nowhere or in a circle.
    pub(super) fn resolve<'v>(&self, mut value: &'v Value) -> Result<&'v Value, CliError>
    where
        'd: 'v,
    {
        for _ in 0..MAX_DEPTH {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            value = self.files.target(reference)?;
        }
        Err(CliError::Unusable("a reference of the document leads to itself".to_owned()))
    }

    /// Copies a schema as it is, with the components that it refers to.
    ///
    /// # Errors
    /// As [`Components::resolve`].
    pub(super) fn copy(&mut self, schema: &Value) -> Result<Value, CliError> {
        match schema {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    return self.copy_component(reference);
                }
                let mut copied = Map::new();
                for (name, value) in members.iter().filter(|(name, _)| !is_dropped_from_copies(name)) {
                    let value = match value {
                        // The keys of these are names of members, not keywords.
                        // In data `$ref` is a member like any other.
                        data if is_data_keyword(name) => data.clone(),
                        Value::Object(named) if holds_names(name) => {
                            let named = named.iter().map(|(name, one)| Ok((name.clone(), self.copy(one)?)));
                            Value::Object(named.collect::<Result<_, CliError>>()?)
                        }
                        other => self.copy(other)?,
                    };
                    copied.insert(name.clone(), value);
                }
                Ok(Value::Object(copied))
            }
            Value::Array(elements) => {
                let copied = elements.iter().map(|element| self.copy(element));
                copied.collect::<Result<_, _>>().map(Value::Array)
            }
            scalar => Ok(scalar.clone()),
        }
    }

    fn copy_component(&mut self, reference: &str) -> Result<Value, CliError> {
        if let Some(name) = self.copied.get(reference) {
            return Ok(reference_to(name));
        }
        let target = self.files.target(reference)?;
        let name = self.new_name(reference);
        self.copied.insert(reference.to_owned(), name.clone());
        self.charge()?;
        let copied = self.copy(target)?;
        self.schemas.insert(name.clone(), copied);
        Ok(reference_to(&name))
    }

    /// Reserves the name of a component: that of the original, or one with a number.
    fn new_name(&mut self, reference: &str) -> String {
        let last = reference.trim_end_matches('#').rsplit('/').next().unwrap_or_default();
        let base: String = last
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
            .collect();
        let base = if base.is_empty() { "Schema".to_owned() } else { base };
        let numbered = (2..).map(|number| format!("{base}_{number}"));
        let free = std::iter::once(base.clone()).chain(numbered);
        let name = free.into_iter().find(|name| !self.schemas.contains_key(name)).unwrap_or(base);
        self.schemas.insert(name.clone(), Value::Bool(true));
        name
    }

    fn charge(&mut self) -> Result<(), CliError> {
        self.count += 1;
        if self.count > MAX_SCHEMAS {
            return Err(CliError::Unusable(format!("the document has more than {MAX_SCHEMAS} schemas")));
        }
        Ok(())
    }
}

/// True for parts of a request's schema that are left out: examples and unknown extensions.
fn is_dropped_from_copies(name: &str) -> bool {
    matches!(name, "example" | "examples" | "discriminator" | "$schema" | "$id" | "$anchor" | "externalDocs")
        || (name.starts_with("x-") && name != "x-data-category")
}

fn reference_to(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// Rewrites the schemas of the answers of one route.
pub(super) struct SchemaRewriter<'r, 'd> {
    pub(super) components: &'r mut Components<'d>,
    pub(super) view: &'r RouteFieldView<'r>,
    /// The name of the route.
    pub(super) route: &'r str,
}

/// A rewritten schema, and the presence of its values. `None` if they never leave.
type Rewritten = Result<Option<(Value, Presence)>, CliError>;

impl SchemaRewriter<'_, '_> {
    /// Rewrites the schema of whole answers.
    ///
    /// # Errors
    /// [`CliError::Unusable`] for a reference that cannot be followed, and beyond the bounds.
    pub(super) fn rewrite_document(&mut self, schema: &Value) -> Result<Option<Value>, CliError> {
        let path = self.view.scrubbing.plan.document_path();
        Ok(self.rewrite(schema, &path, 0)?.map(|(schema, _)| schema))
    }

    fn rewrite(&mut self, schema: &Value, path: &PathCursor, depth: usize) -> Rewritten {
        self.components.charge()?;
        if depth > MAX_DEPTH {
            return Err(CliError::Unusable(format!("schemas are nested deeper than {MAX_DEPTH}")));
        }
        let plan = &self.view.scrubbing.plan;
        let ends_here = !plan.continues_below(path) && !plan.is_structure(path);
        if ends_here && self.view.at(path).presence == Presence::Never {
            // Everything below has the same class.
            return Ok(None);
        }
        let nothing = Map::new();
        let members = schema.as_object().unwrap_or(&nothing);
        if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
            return self.rewrite_component(reference, path);
        }
        if is_container(members) {
            self.rewrite_container(members, path, depth)
        } else {
            Ok(self.rewrite_value(members, path))
        }
    }

    fn rewrite_component(&mut self, reference: &str, path: &PathCursor) -> Rewritten {
        let key = (reference.to_owned(), self.route.to_owned(), path.clone());
        match self.components.rewritten.get(&key) {
            Some((name, Component::Begun)) => return Ok(Some((reference_to(name), Presence::Sometimes))),
            Some((_, Component::Done(Presence::Never))) => return Ok(None),
            Some((name, Component::Done(presence))) => return Ok(Some((reference_to(name), *presence))),
            None => {}
        }
        let target = self.components.files.target(reference)?;
        let name = self.components.new_name(reference);
        self.components.rewritten.insert(key.clone(), (name.clone(), Component::Begun));
        let rewritten = self.rewrite(target, path, 0)?;
        let (schema, presence) = match rewritten {
            Some((schema, presence)) => (Some(schema), presence),
            None => (None, Presence::Never),
        };
        match schema {
            Some(schema) => drop(self.components.schemas.insert(name.clone(), schema)),
            None => drop(self.components.schemas.remove(&name)),
        }
        self.components.rewritten.insert(key, (name.clone(), Component::Done(presence)));
        Ok((presence != Presence::Never).then(|| (reference_to(&name), presence)))
    }

    /// Rewrites the schema of a scalar, or of a value about which the schema says nothing.
    fn rewrite_value(&self, members: &Map<String, Value>, path: &PathCursor) -> Option<(Value, Presence)> {
        let view = self.view.at(path);
        if view.presence == Presence::Never {
            // Something in an object without described members can leave.
            let may_hold_fields =
                !members.contains_key("type") && self.view.scrubbing.plan.continues_below(path);
            return may_hold_fields.then(|| (annotated(members, None), Presence::Sometimes));
        }
        let mut schema = annotated(members, view.is_clear().then_some(&CONSTRAINTS[..]));
        if let Some(schema) = schema.as_object_mut() {
            if !view.is_clear() {
                loosen(schema, self.components.is_version_3_0);
            }
            describe(schema, &view);
        }
        Some((self.with_placeholder(schema, view.presence), view.presence))
    }

    fn rewrite_container(
        &mut self,
        members: &Map<String, Value>,
        path: &PathCursor,
        depth: usize,
    ) -> Rewritten {
        let plan = &self.view.scrubbing.plan;
        let own = self.view.at(path);
        let is_structure = plan.is_structure(path);
        let continues = plan.continues_below(path);
        let constraints = own.is_clear() && own.presence != Presence::Never;
        let mut schema = annotated(members, constraints.then_some(&["format", "maxProperties"][..]));
        let Some(into) = schema.as_object_mut() else { return Ok(None) };
        let content = self.rewrite_members(members, path, depth, into)?;
        let content = content.max(self.rewrite_elements(members, path, depth, into)?);
        let content = content.max(self.rewrite_alternatives(members, path, depth, into)?);
        let is_described = ["properties", "items", "prefixItems", "allOf", "oneOf", "anyOf"];
        let is_described = is_described.iter().any(|keyword| members.contains_key(*keyword));
        let presence = match own.presence {
            Presence::Never if is_structure => Presence::Always,
            Presence::Never if !is_described && continues => Presence::Sometimes,
            Presence::Never => content,
            own => own,
        };
        if presence == Presence::Never {
            return Ok(None);
        }
        if own.presence != Presence::Never {
            describe(into, &own);
        }
        let is_kept = is_structure || presence == Presence::Always;
        let schema = if is_kept { schema } else { self.with_placeholder(schema, presence) };
        Ok(Some((schema, presence)))
    }

    /// Rewrites the members of an object. Returns the greatest presence that they give to it.
    fn rewrite_members(
        &mut self,
        members: &Map<String, Value>,
        path: &PathCursor,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<Presence, CliError> {
        let plan = &self.view.scrubbing.plan;
        let required = members.get("required").and_then(Value::as_array);
        let required: Vec<&str> = required.into_iter().flatten().filter_map(Value::as_str).collect();
        let mut always: Vec<&str> = Vec::new();
        let mut content = Presence::Never;
        let properties = members.get("properties").and_then(Value::as_object);
        let mut kept = Map::new();
        for (name, property) in properties.into_iter().flatten() {
            let of_member = plan.member_path(path, name);
            let is_generalised = |view: FieldView| view.forms.iter().all(|form| *form == Form::Generalised);
            if plan.is_fine_address_part(&of_member, name) && is_generalised(self.view.at(&of_member)) {
                continue;
            }
            let Some((property, presence)) = self.rewrite(property, &of_member, depth + 1)? else {
                continue;
            };
            let is_required = required.contains(&name.as_str()) && presence == Presence::Always;
            always.extend(is_required.then_some(name.as_str()));
            content = content.max(if is_required { Presence::Always } else { Presence::Sometimes });
            kept.insert(name.clone(), property);
        }
        // A required member that another schema of an `allOf` describes.
        let elsewhere =
            required.iter().filter(|name| !properties.is_some_and(|all| all.contains_key(**name)));
        always.extend(
            elsewhere.filter(|name| self.view.at(&plan.member_path(path, name)).presence == Presence::Always),
        );
        if properties.is_some() {
            into.insert("properties".to_owned(), Value::Object(kept));
        }
        if !always.is_empty() {
            into.insert("required".to_owned(), always.into());
        }
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            let Some(further) = members.get(keyword) else { continue };
            if *further == Value::Bool(false) {
                // A placeholder stands for a member that is gone.
                if plan.removed_as() == RemovedAs::Omit {
                    into.insert(keyword.to_owned(), Value::Bool(false));
                }
            } else if let Some((further, _)) =
                self.rewrite(further, &plan.any_member_path(path), depth + 1)?
            {
                content = content.max(Presence::Sometimes);
                into.insert(keyword.to_owned(), further);
            }
        }
        let patterns = members.get("patternProperties").and_then(Value::as_object);
        let mut kept = Map::new();
        for (pattern, property) in patterns.into_iter().flatten() {
            if let Some((property, _)) = self.rewrite(property, &plan.any_member_path(path), depth + 1)? {
                content = content.max(Presence::Sometimes);
                kept.insert(pattern.clone(), property);
            }
        }
        if !kept.is_empty() {
            into.insert("patternProperties".to_owned(), Value::Object(kept));
        }
        Ok(content)
    }

    /// Rewrites the elements of an array. An array that nothing classifies is gone if it is empty.
    fn rewrite_elements(
        &mut self,
        members: &Map<String, Value>,
        path: &PathCursor,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<Presence, CliError> {
        let path = self.view.scrubbing.plan.element_path(path);
        let Some(items) = members.get("items").or_else(|| members.get("prefixItems")) else {
            return Ok(Presence::Never);
        };
        // Elements move up where one is removed, so a position says nothing about its schema.
        let elements: Vec<&Value> = match items {
            Value::Array(positions) => positions.iter().collect(),
            one => vec![one],
        };
        let mut kept = Vec::new();
        for element in elements {
            kept.extend(self.rewrite(element, &path, depth + 1)?.map(|(element, _)| element));
        }
        let items = match kept.len() {
            0 => return Ok(Presence::Never),
            1 => kept.remove(0),
            _ => json!({ "anyOf": kept }),
        };
        into.insert("items".to_owned(), items);
        Ok(Presence::Sometimes)
    }

    /// Rewrites what an object also is, or can be. Two alternatives can be equal afterwards, so `oneOf` becomes `anyOf`.
    fn rewrite_alternatives(
        &mut self,
        members: &Map<String, Value>,
        path: &PathCursor,
        depth: usize,
        into: &mut Map<String, Value>,
    ) -> Result<Presence, CliError> {
        let mut content = Presence::Never;
        for (keyword, kept_as) in [("allOf", "allOf"), ("anyOf", "anyOf"), ("oneOf", "anyOf")] {
            let Some(schemas) = members.get(keyword).and_then(Value::as_array) else { continue };
            let mut kept = Vec::new();
            for schema in schemas {
                // `null` beside something else says that the value can be absent.
                if schema.get("type").is_some_and(|name| name == "null") {
                    kept.push((schema.clone(), Presence::Never));
                    continue;
                }
                kept.extend(self.rewrite(schema, path, depth + 1)?);
            }
            let presences = || kept.iter().map(|(_, presence)| *presence);
            let Some(most) = presences().max().filter(|most| *most != Presence::Never) else { continue };
            let is_certain = keyword == "allOf" || presences().all(|presence| presence == Presence::Always);
            content = content.max(if is_certain { most } else { Presence::Sometimes });
            let schemas: Vec<Value> = kept.into_iter().map(|(schema, _)| schema).collect();
            if into.contains_key(kept_as) {
                let both = into.entry("allOf").or_insert_with(|| json!([]));
                both.as_array_mut().into_iter().for_each(|both| both.push(json!({ kept_as: schemas })));
            } else {
                into.insert(kept_as.to_owned(), schemas.into());
            }
        }
        Ok(content)
    }

    /// Adds the value that stands in place of a removed one.
    fn with_placeholder(&self, schema: Value, presence: Presence) -> Value {
        let removed = match self.view.scrubbing.plan.removed_as() {
            RemovedAs::Omit => return schema,
            RemovedAs::Null => json!([null]),
            RemovedAs::Empty => json!(["", [], {}, null]),
        };
        if presence != Presence::Sometimes {
            return schema;
        }
        // In OpenAPI 3.0 a value is `null` only where the schema with a type says so; `enum` alone has no type.
        json!({ "anyOf": [schema, { "enum": removed }] })
    }
}

/// True if a schema describes objects, arrays, or several schemas together.
fn is_container(members: &Map<String, Value>) -> bool {
    const KEYWORDS: [&str; 7] =
        ["properties", "items", "prefixItems", "allOf", "oneOf", "anyOf", "additionalProperties"];
    let is_type = |name: &Value| name == "object" || name == "array";
    let has_type = members.get("type").is_some_and(|types| match types {
        Value::Array(types) => types.iter().any(is_type),
        one => is_type(one),
    });
    has_type || KEYWORDS.iter().any(|keyword| members.contains_key(*keyword))
}

/// Copies the keywords that hold for every value, and these constraints.
fn annotated(members: &Map<String, Value>, constraints: Option<&[&str]>) -> Value {
    let is_kept = |name: &str| {
        ANNOTATIONS.contains(&name) || constraints.is_some_and(|constraints| constraints.contains(&name))
    };
    let kept = members.iter().filter(|(name, _)| is_kept(name));
    Value::Object(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Permits the types that other forms have: a changed string is a string; a number or a boolean can become a string or
/// `null`.
fn loosen(schema: &mut Map<String, Value>, is_version_3_0: bool) {
    let types: Vec<String> = match schema.get("type") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return,
    };
    if types.iter().all(|one| one == "string" || one == "null") {
        return;
    }
    if is_version_3_0 {
        // A schema of this version has one type; without a type it permits all.
        schema.remove("type");
        schema.remove("nullable");
        return;
    }
    let more = ["string", "null"].map(str::to_owned);
    let mut all: Vec<String> = types.into_iter().chain(more).collect();
    all.sort_unstable();
    all.dedup();
    schema.insert("type".to_owned(), all.into());
}

/// Says in which form a field leaves, and if that depends on the person.
fn describe(schema: &mut Map<String, Value>, view: &FieldView) {
    let best = view.best();
    schema.insert("x-data-form".to_owned(), best.name().into());
    let others: Vec<&str> = view.forms.iter().skip(1).map(|form| form.name()).collect();
    let mut said = Vec::new();
    if best != Form::Clear {
        said.push(format!("Leaves in the form `{}`.", best.name()));
    }
    if !others.is_empty() {
        said.push(format!("For some people the form is `{}`.", others.join("` or `")));
    }
    if view.presence == Presence::Sometimes {
        said.push("Absent where the policy or the person's choices withhold it.".to_owned());
    }
    if said.is_empty() {
        return;
    }
    let description = schema.get("description").and_then(Value::as_str).unwrap_or_default().trim_end();
    let separator = if description.is_empty() { "" } else { "\n\n" };
    let description = format!("{description}{separator}{}", said.join(" "));
    schema.insert("description".to_owned(), description.into());
}
