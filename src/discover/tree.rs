//! The merged structure of one or several documents: names, types and shapes of values, without positions.
//!
//! Elements of an array are merged into one node, and so are the values of a map whose names are ids.

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::effort;
use super::path::PathStep;
use super::types::{JsonType, JsonTypes};
use super::value::{ValueShapes, is_value_like};

/// Number of names from which on an object that only holds objects with the same members is a map.
const MIN_UNIFORM: usize = 3;
/// Members that two objects under names with digits share, so that they are values of a map.
const MIN_MEMBERS_OF_PAIR: usize = 3;

/// The types, shapes and members of the values at one path.
#[derive(Clone, Default)]
pub(super) struct SampleNode {
    pub(super) types: JsonTypes,
    pub(super) count: u64,
    /// Shapes of the scalars at this path.
    pub(super) values: ValueShapes,
    /// In boxes, because a table has room for several, and most objects of a deep document have one.
    members: HashMap<Box<str>, Box<SampleNode>>,
    /// The place among the members of its parent, in the order of first occurrence.
    position: usize,
    /// The elements, if it is an array.
    pub(super) elements: Option<Box<SampleNode>>,
    /// The values of the members whose names are ids. Members with other names stay.
    pub(super) map: Option<Box<Map>>,
    /// True if an empty array or object occurred.
    pub(super) has_empty: bool,
    /// Statements of a schema about this node.
    pub(super) schema: SchemaHints,
}

/// A map whose names are ids or other values.
#[derive(Clone, Default)]
pub(super) struct Map {
    pub(super) keys: ValueShapes,
    pub(super) values: SampleNode,
}

/// Statements of a schema about a node, beside its type.
#[derive(Clone, Default)]
pub(super) struct SchemaHints {
    /// Categories that the document declares (`x-data-category`).
    pub(super) categories: Vec<String>,
    /// True if they are declared for some of the alternatives only: the other values are something else, or not known.
    pub(super) is_declared_in_part: bool,
    /// `format`.
    pub(super) format: Option<Box<str>>,
    /// The name of the schema, or another word that says what the node is about.
    pub(super) title: Option<Box<str>>,
    /// True if the values are one of a list (`enum`), so that they are states rather than texts.
    pub(super) is_enumeration: bool,
    /// The number of levels up to the object whose structure begins again here.
    pub(super) repeats: Option<usize>,
    /// True if a schema leaves open what is in it, or if a part of it was cut off.
    pub(super) is_open: bool,
}

impl SampleNode {
    /// Returns the member with a name. Adds it if it is missing.
    pub(super) fn member_mut(&mut self, name: &str) -> &mut SampleNode {
        let position = self.members.len();
        let new = || Box::new(SampleNode { position, ..SampleNode::default() });
        self.members.entry(name.into()).or_insert_with(new)
    }

    /// Returns the members in the order of their first occurrence.
    pub(super) fn members(&self) -> Vec<(&str, &SampleNode)> {
        let mut members: Vec<_> = self.members.iter().map(|(name, node)| (&**name, &**node)).collect();
        members.sort_unstable_by_key(|(_, node)| node.position);
        members
    }

    /// Returns the members in any order: most evidence does not depend on it.
    pub(super) fn unordered_members(&self) -> impl Iterator<Item = (&str, &SampleNode)> {
        self.members.iter().map(|(name, node)| (&**name, &**node))
    }

    /// True if it has members.
    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    /// Returns the member with a name.
    pub(super) fn member(&self, name: &str) -> Option<&SampleNode> {
        self.members.get(name).map(|member| &**member)
    }

    /// Returns the node below a step.
    pub(super) fn below(&self, step: &PathStep) -> Option<&SampleNode> {
        match step {
            PathStep::Member(name) => self.member(name),
            PathStep::Elements => self.elements.as_deref(),
            PathStep::Values => self.map.as_ref().map(|map| &map.values),
            PathStep::Descend => None,
        }
    }

    /// Returns the node at a path.
    pub(super) fn at(&self, steps: &[PathStep]) -> Option<&SampleNode> {
        steps.iter().try_fold(self, |node, step| node.below(step))
    }

    /// True if there is a scalar or an empty container at a path.
    pub(super) fn has_leaf(&self, steps: &[PathStep]) -> bool {
        let Some((first, rest)) = steps.split_first() else { return self.has_empty || !self.is_container() };
        effort::count(1);
        *first == PathStep::Descend || self.below(first).is_some_and(|below| below.has_leaf(rest))
    }

    /// Returns the node below a step. Adds it if it is missing.
    pub(super) fn below_mut(&mut self, step: &PathStep) -> &mut SampleNode {
        match step {
            PathStep::Member(name) => self.member_mut(name),
            PathStep::Elements | PathStep::Descend => self.elements.get_or_insert_default(),
            PathStep::Values => &mut self.map.get_or_insert_default().values,
        }
    }

    /// True if it has members, elements or values.
    pub(super) fn is_container(&self) -> bool {
        !self.members.is_empty() || self.elements.is_some() || self.map.is_some()
    }

    /// True if it has scalars, or nothing is known about it.
    pub(super) fn has_scalars(&self) -> bool {
        let scalars = [JsonType::String, JsonType::Number, JsonType::Boolean, JsonType::Null];
        scalars.into_iter().any(|scalar| self.types.contains(scalar)) || self.types.is_empty()
    }

    /// True if nothing was added yet.
    fn is_new(&self) -> bool {
        let SchemaHints { categories, is_declared_in_part, format, title, is_enumeration, repeats, is_open } =
            &self.schema;
        let has_hints = !categories.is_empty()
            || *is_declared_in_part
            || format.is_some()
            || title.is_some()
            || *is_enumeration
            || *is_open
            || repeats.is_some();
        self.count == 0
            && self.types.is_empty()
            && self.values.is_empty()
            && !self.is_container()
            && !self.has_empty
            && !has_hints
    }

    /// Merges another node of the same path.
    pub(super) fn merge(&mut self, other: SampleNode) {
        effort::count(1);
        if self.is_new() {
            *self = SampleNode { position: self.position, ..other };
            return;
        }
        // Two answers, of which one declares nothing.
        let is_declared = |node: &SampleNode| !node.schema.categories.is_empty();
        let is_mixed = self.count > 0 && other.count > 0 && is_declared(self) != is_declared(&other);
        self.schema.is_declared_in_part |= other.schema.is_declared_in_part || is_mixed;
        self.types = self.types.union(other.types);
        self.count += other.count;
        self.values.merge(other.values);
        self.has_empty |= other.has_empty;
        for (name, member) in in_order(other.members) {
            self.member_mut(&name).merge(member);
        }
        if let Some(elements) = other.elements {
            self.elements.get_or_insert_default().merge(*elements);
        }
        if let Some(other) = other.map {
            let map = self.map.get_or_insert_default();
            map.keys.merge(other.keys);
            map.values.merge(other.values);
        }
        let SchemaHints {
            categories,
            is_declared_in_part: _,
            format,
            title,
            is_enumeration,
            repeats,
            is_open,
        } = other.schema;
        for category in categories {
            if !self.schema.categories.contains(&category) {
                self.schema.categories.push(category);
            }
        }
        self.schema.format = self.schema.format.take().or(format);
        self.schema.title = self.schema.title.take().or(title);
        self.schema.is_enumeration |= is_enumeration;
        self.schema.is_open |= is_open;
        self.schema.repeats = self.schema.repeats.or(repeats);
    }

    /// Turns objects whose names are values into maps, from the leaves up.
    pub(super) fn collapse_maps(&mut self) {
        self.members.values_mut().for_each(|member| member.collapse_maps());
        let inner = self.elements.as_deref_mut();
        inner
            .into_iter()
            .chain(self.map.as_mut().map(|map| &mut map.values))
            .for_each(SampleNode::collapse_maps);
        // A single name that is a value must not be printed, however many others there are.
        if self.is_uniform() {
            self.move_to_map(|_| true);
        } else {
            self.move_to_map(is_value_like);
        }
    }

    /// Leaves out nodes that no schema described, and marks those of which a schema leaves the content open.
    #[cfg(feature = "cli")]
    pub(super) fn close_schema(&mut self) {
        self.members.retain(|_, member| member.count > 0);
        self.elements.take_if(|elements| elements.count == 0);
        self.map.take_if(|map| map.values.count == 0);
        let holds_more = self.types.contains(JsonType::Object) || self.types.contains(JsonType::Array);
        let says_nothing = self.types.is_empty()
            && self.values.is_empty()
            && self.schema.format.is_none()
            && !self.schema.is_enumeration;
        self.schema.is_open |= !self.is_container() && (holds_more || says_nothing);
        let inner = self.elements.as_deref_mut().into_iter();
        let members = self.members.values_mut().map(|member| &mut **member);
        inner
            .chain(self.map.as_mut().map(|map| &mut map.values))
            .chain(members)
            .for_each(SampleNode::close_schema);
    }

    /// Turns objects into maps where they are maps in another tree.
    pub(super) fn collapse_like(&mut self, model: &SampleNode) {
        effort::count(1);
        if let Some(known) = &model.map
            && self.is_container()
        {
            self.move_to_map(|name| model.member(name).is_none());
            if let Some(map) = &mut self.map {
                map.values.collapse_like(&known.values);
            }
        }
        for (name, member) in &mut self.members {
            if let Some(known) = model.member(name) {
                member.collapse_like(known);
            }
        }
        if let (Some(elements), Some(known)) = (&mut self.elements, &model.elements) {
            elements.collapse_like(known);
        }
    }

    /// Merges the members with certain names into the values of a map.
    fn move_to_map(&mut self, belongs: impl Fn(&str) -> bool) {
        let moved = in_order(self.members.extract_if(|name, _| belongs(name)).collect());
        if moved.is_empty() {
            return;
        }
        let map = self.map.get_or_insert_default();
        for (name, member) in moved {
            map.keys.observe(&name);
            map.values.merge(member);
        }
    }

    /// True if all members are objects with the same two or more members, under names that are no words.
    fn is_uniform(&self) -> bool {
        let names = |node: &SampleNode| {
            let mut names: Vec<Box<str>> = node.members.keys().cloned().collect();
            names.sort_unstable();
            names
        };
        let Some(first) = self.members.values().next() else { return false };
        let expected = names(first);
        let has_digit = |name: &str| name.bytes().any(|byte| byte.is_ascii_digit());
        let is_pair = self.members.len() == 2
            && expected.len() >= MIN_MEMBERS_OF_PAIR
            && self.members.keys().all(|name| has_digit(name));
        (is_pair || self.members.len() >= MIN_UNIFORM)
            && expected.len() >= 2
            && self.members.iter().all(|(name, member)| {
                names(member) == expected
                    && !super::name::is_known(name)
                    && !member.types.contains(JsonType::Array)
            })
    }
}

/// Returns members in the order of their first occurrence.
fn in_order(members: HashMap<Box<str>, Box<SampleNode>>) -> Vec<(Box<str>, SampleNode)> {
    let mut members: Vec<_> = members.into_iter().map(|(name, member)| (name, *member)).collect();
    members.sort_unstable_by_key(|(_, member)| member.position);
    members
}

/// Reads one JSON text into a node.
pub(super) struct SampleReader<'n>(pub(super) &'n mut SampleNode);

impl<'de> DeserializeSeed<'de> for SampleReader<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.0.count += 1;
        deserializer.deserialize_any(self)
    }
}

impl SampleReader<'_> {
    fn number(self, text: &str) {
        self.0.types.insert(JsonType::Number);
        self.0.values.observe(text);
    }
}

impl<'de> Visitor<'de> for SampleReader<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.types.insert(JsonType::Null);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.0.types.insert(JsonType::Boolean);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.number(&value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.number(&value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.number(&value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.types.insert(JsonType::String);
        self.0.values.observe(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        self.0.types.insert(JsonType::Array);
        let mut is_empty = true;
        loop {
            let mut fresh = SampleNode::default();
            let into = match &mut self.0.elements {
                Some(known) => &mut **known,
                None => &mut fresh,
            };
            if elements.next_element_seed(SampleReader(into))?.is_none() {
                break;
            }
            is_empty = false;
            if self.0.elements.is_none() {
                self.0.elements = Some(Box::new(fresh));
            }
        }
        self.0.has_empty |= is_empty;
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        self.0.types.insert(JsonType::Object);
        let mut is_empty = true;
        while let Some(name) = members.next_key::<String>()? {
            is_empty = false;
            members.next_value_seed(SampleReader(self.0.member_mut(&name)))?;
        }
        self.0.has_empty |= is_empty;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::observe;
    use crate::discover::path::parse;

    fn tree(sample: &str) -> SampleNode {
        observe(sample.as_bytes()).unwrap()
    }

    fn collapsed(sample: &str) -> SampleNode {
        let mut node = tree(sample);
        node.collapse_maps();
        node
    }

    fn names(node: &SampleNode) -> Vec<&str> {
        node.members().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn elements_are_merged_and_members_keep_the_order_of_their_first_occurrence() {
        let root = tree(r#"[{"b":1,"a":"x"},{"c":null,"a":2},[],{}]"#);
        let elements = root.elements.as_deref().unwrap();
        assert_eq!((root.count, elements.count), (1, 4));
        assert_eq!(names(elements), ["b", "a", "c"]);
        let a = elements.member("a").unwrap();
        assert_eq!(a.types.iter().collect::<Vec<_>>(), [JsonType::Number, JsonType::String]);
        assert!(elements.has_empty && !root.has_empty);
    }

    #[test]
    fn objects_become_maps_if_their_names_are_values() {
        for (sample, is_map) in [
            (r#"{"7731":{"a":1},"7732":{"a":2}}"#, true),
            (r#"{"ada@example.org":true}"#, true),
            // Objects with the same members under names that are no words.
            (r#"{"kxq":{"a":1,"b":2},"vwz":{"a":1,"b":2},"qjx":{"a":1,"b":2}}"#, true),
            (r#"{"kxq":{"a":1,"b":2},"vwz":{"a":1,"b":2},"qjx":{"a":1}}"#, false),
            (r#"{"home":{"a":1,"b":2},"billing":{"a":1,"b":2},"phone":{"a":1,"b":2}}"#, false),
            // Two are enough if their names have digits, and more members agree.
            (r#"{"R_1kq":{"a":1,"b":2,"c":3},"R_3zp":{"a":1,"b":2,"c":3}}"#, true),
            (r#"{"R_1kq":{"a":1,"b":2},"R_3zp":{"a":1,"b":2}}"#, false),
            (r#"{"kxq":{"a":1,"b":2,"c":3},"vwz":{"a":1,"b":2,"c":3}}"#, false),
            (r#"{"id":"7731"}"#, false),
            ("{}", false),
        ] {
            let node = collapsed(sample);
            assert_eq!(node.map.is_some(), is_map, "{sample}");
            assert_eq!(node.members().is_empty(), is_map || sample == "{}", "{sample}");
        }
        // One name that is a value is enough, and the other members stay.
        for sample in [
            r#"{"2024-01-01":1,"2024-01-02":2,"2024-01-03":2,"2024-01-04":2,"total":5}"#,
            r#"{"ada@example.org":1,"total":5}"#,
        ] {
            let node = collapsed(sample);
            assert!(node.map.is_some() && names(&node) == ["total"], "{sample}");
        }
        let nested = collapsed(r#"{"1":{"2":{"a":1}},"3":{"4":{"b":2}}}"#);
        let inner = nested.at(&parse("$.*.*").unwrap()).unwrap();
        assert_eq!(names(inner), ["a", "b"]);
    }

    #[test]
    fn a_part_of_a_document_has_its_maps_where_the_document_has_them() {
        let whole = collapsed(r#"{"x":{"7731":{"a":1,"b":2},"7732":{"a":1}},"list":[{"y":{"1":true}}]}"#);
        // The rest has one name of the map, and would not be a map by itself.
        let mut rest = tree(r#"{"x":{"kind":{"b":2}},"list":[{"y":{"other":true}}]}"#);
        rest.collapse_like(&whole);
        let has = |path: &str| rest.has_leaf(&parse(path).unwrap());
        assert!(has("$.x.*.b") && has("$.list[*].y.*"));
        assert!(!has("$.x.*.a") && !has("$.z") && !has("$.x"));
        let whole = collapsed(r#"{"7731":1,"7732":2,"total":3}"#);
        let mut rest = tree(r#"{"7731":1,"total":3}"#);
        rest.collapse_like(&whole);
        assert!(rest.map.is_some() && names(&rest) == ["total"]);
    }

    #[test]
    fn merging_two_trees_is_the_same_as_reading_both() {
        let samples = [r#"{"a":[1,{"b":"x"}],"c":{}}"#, r#"{"c":{"d":null},"a":{"e":true}}"#];
        let mut merged = tree(samples[0]);
        merged.merge(tree(samples[1]));
        let mut read = tree(samples[0]);
        let mut reader = serde_json::Deserializer::from_str(samples[1]);
        SampleReader(&mut read).deserialize(&mut reader).unwrap();
        for path in ["$", "$.a", "$.a[*]", "$.a[*].b", "$.a.e", "$.c", "$.c.d"] {
            let at = |node: &SampleNode| {
                let found = node.at(&parse(path).unwrap()).unwrap();
                let all: Vec<String> = names(found).into_iter().map(str::to_owned).collect();
                (found.types, found.count, found.has_empty, all)
            };
            assert_eq!(at(&merged), at(&read), "{path}");
        }
        let mut first = SampleNode::default();
        first.merge(tree(samples[0]));
        assert_eq!(names(&first), ["a", "c"]);
    }
}
