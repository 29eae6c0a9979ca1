//! General properties of the walk, on random documents, queries, mappings and chunks.
//!
//! Oracles compute the expected result over the document as a tree. One is our own and keeps order and repeated names;
//! for the meaning of queries, `serde_json_path` and `jsonpath-rust` are references.

mod oracle;

use std::collections::BTreeSet;

use jsonpath_rust::JsonPath as _;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;
use serde_json_path::{JsonPath, PathElement};

use self::oracle::Oracle;
use super::removal::remove_in;
use super::*;

/// A document with order and repeated names. Scalars are JSON text.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    Scalar(String),
    Array(Vec<Doc>),
    Object(Vec<(String, Doc)>),
}

/// The path to a node: positions among the children.
pub(super) type NodePath = Vec<usize>;

impl Doc {
    fn children(&self) -> Vec<&Doc> {
        match self {
            Doc::Scalar(_) => Vec::new(),
            Doc::Array(elements) => elements.iter().collect(),
            Doc::Object(members) => members.iter().map(|(_, member)| member).collect(),
        }
    }

    fn at(&self, node_path: &[usize]) -> &Doc {
        node_path.iter().fold(self, |doc, &child| doc.children()[child])
    }

    fn is_container(&self) -> bool {
        !matches!(self, Doc::Scalar(_))
    }

    fn node_paths(&self) -> Vec<NodePath> {
        let mut all = vec![Vec::new()];
        for (at, child) in self.children().into_iter().enumerate() {
            all.extend(child.node_paths().into_iter().map(|node_path| [&[at][..], &node_path].concat()));
        }
        all
    }

    fn repeats_a_name(&self) -> bool {
        let distinct = match self {
            Doc::Object(members) => members.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(),
            Doc::Scalar(_) | Doc::Array(_) => self.children().len(),
        };
        distinct < self.children().len() || self.children().into_iter().any(Doc::repeats_a_name)
    }

    /// Returns the text of the document. `noise` chooses white space and spellings of names.
    pub(super) fn text(&self, noise: &mut impl Iterator<Item = u8>) -> String {
        if let Doc::Scalar(text) = self {
            return text.clone();
        }
        let mut out = String::new();
        for (at, child) in self.children().into_iter().enumerate() {
            if at > 0 {
                out += &format!("{},", space(noise));
            }
            out += space(noise);
            if let Doc::Object(members) = self {
                out += &spelled(&members[at].0, noise.next().unwrap_or(0));
                out += &format!("{}:{}", space(noise), space(noise));
            }
            out += &child.text(noise);
        }
        out += space(noise);
        if let Doc::Array(_) = self { format!("[{out}]") } else { format!("{{{out}}}") }
    }
}

fn space(noise: &mut impl Iterator<Item = u8>) -> &'static str {
    &" \n\t"[..usize::from(noise.next().unwrap_or(0) % 3)]
}

fn spelled(name: &str, how: u8) -> String {
    match (how % 5, name.chars().next()) {
        (0, Some(first)) => format!("\"\\u{:04x}{}\"", u32::from(first), &name[first.len_utf8()..]),
        _ => serde_json::to_string(name).unwrap(),
    }
}

/// Removes the white space between tokens.
fn compact(text: &str) -> String {
    let (mut out, mut inside, mut escaped) = (String::new(), false, false);
    for char in text.chars() {
        if inside || !char.is_ascii_whitespace() {
            out.push(char);
        }
        inside ^= char == '"' && !escaped;
        escaped = char == '\\' && !escaped;
    }
    out
}

/// Returns the compact text of the nodes that a predicate keeps, with names spelled plainly.
fn pruned(doc: &Doc, node_path: &mut NodePath, keep: &dyn Fn(&[usize]) -> bool) -> Option<String> {
    if !keep(node_path) {
        return None;
    }
    let mut parts = Vec::new();
    for (at, child) in doc.children().into_iter().enumerate() {
        node_path.push(at);
        if let Some(text) = pruned(child, node_path, keep) {
            parts.push(match doc {
                Doc::Object(members) => format!("{}:{text}", serde_json::to_string(&members[at].0).unwrap()),
                _ => text,
            });
        }
        node_path.pop();
    }
    Some(match doc {
        Doc::Scalar(text) => text.clone(),
        Doc::Array(_) => format!("[{}]", parts.join(",")),
        Doc::Object(_) => format!("{{{}}}", parts.join(",")),
    })
}

const NAMES: &[&str] = &["a", "b", "c", "d e", "", "é"];

pub(super) fn doc(distinct: bool) -> impl Strategy<Value = Doc> {
    let scalar =
        select(vec!["0", "1", "2", "-1.5", "1e1", "true", "false", "null", "\"x\"", "\"yy\"", "\"\""]);
    let leaf = scalar.prop_map(|text| Doc::Scalar(text.to_owned()));
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let members = vec((select(NAMES.to_vec()), inner.clone()), 0..6).prop_map(move |members| {
            let mut seen = BTreeSet::new();
            let fresh = members.into_iter().filter(|(name, _)| seen.insert(*name) || !distinct);
            Doc::Object(fresh.map(|(name, member)| (name.to_owned(), member)).collect())
        });
        // Lists of equal elements exercise the shape cache.
        let alike = (inner.clone(), inner.clone(), 2usize..4)
            .prop_map(|(one, other, times)| Doc::Array([vec![one; times], vec![other]].concat()));
        prop_oneof![vec(inner, 0..5).prop_map(Doc::Array), members.clone(), members, alike]
    })
}

/// Chooses white space and spellings: mostly none, as programs write JSON.
pub(super) fn noise() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![Just(vec![3]), Just(vec![1]), vec(any::<u8>(), 64)]
}

pub(super) fn chunk() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..40, 40usize..400, Just(usize::MAX)]
}

#[derive(Clone, Debug)]
enum Choice {
    Name(&'static str),
    Wildcard,
    Index(i64),
    Slice(Option<i64>, Option<i64>, Option<i64>),
    Filter(&'static str),
}

#[derive(Clone, Debug)]
pub(super) struct Step {
    descendant: bool,
    choices: Vec<Choice>,
}

impl Step {
    fn text(&self) -> String {
        let bound = |bound: &Option<i64>| bound.map_or(String::new(), |bound| bound.to_string());
        let choice = |choice: &Choice| match choice {
            Choice::Name(name) => format!("'{name}'"),
            Choice::Wildcard => "*".to_owned(),
            Choice::Index(index) => index.to_string(),
            Choice::Slice(start, end, step) => format!("{}:{}:{}", bound(start), bound(end), bound(step)),
            Choice::Filter(filter) => format!("?{filter}"),
        };
        let choices: Vec<String> = self.choices.iter().map(choice).collect();
        format!("{}[{}]", if self.descendant { ".." } else { "" }, choices.join(","))
    }
}

pub(super) const FILTERS: &[&str] = &[
    "@.a",
    "!@.b",
    "@.b > 0",
    "@ == 'x'",
    "@ != 1",
    "@.a == @.b",
    "@.a <= 1 && @.b",
    "@['a','b'] || @.c == null",
    "length(@) > 1",
    "count(@.*) == 1",
    "value(@..a) == 1",
    "match(@.a, 'x|y.')",
    "search(@, 'y')",
    "@[?@ > 1]",
    "@[0] < @[1]",
    "@..b",
    // `@[-1] == 2` is missing: serde_json_path selects nothing for it in an array of one element.
    "@[1] == 2",
    "@[-1]",
];
const ROOT_FILTERS: &[&str] = &["@.a == $.b", "$..c", "@ == $[0]"];

fn step(filters: &'static [&'static str]) -> impl Strategy<Value = Step> {
    let bound = || prop_oneof![Just(None), (-3i64..4).prop_map(Some)];
    let choice = prop_oneof![
        8 => select(NAMES.to_vec()).prop_map(Choice::Name),
        4 => Just(Choice::Wildcard),
        2 => (-2i64..3).prop_map(Choice::Index),
        1 => Just(Choice::Index(300)),
        2 => (bound(), bound(), bound()).prop_map(|(start, end, step)| Choice::Slice(start, end, step)),
        if filters.is_empty() { 0 } else { 4 } => select(if filters.is_empty() { &["@"] } else { filters }.to_vec()).prop_map(Choice::Filter),
    ];
    (prop::bool::weighted(0.25), vec(choice, 1..3))
        .prop_map(|(descendant, choices)| Step { descendant, choices })
}

pub(super) fn steps(filters: &'static [&'static str]) -> impl Strategy<Value = Vec<Step>> {
    vec(step(filters), 0..4)
}

pub(super) fn text(steps: &[Step]) -> String {
    steps.iter().map(Step::text).collect()
}

/// Evaluates a query without filters. Repeated names are allowed.
fn selected(doc: &Doc, steps: &[Step]) -> BTreeSet<NodePath> {
    let mut node_paths = BTreeSet::from([Vec::new()]);
    for step in steps {
        let mut next = BTreeSet::new();
        for node_path in &node_paths {
            let from: Vec<NodePath> = if step.descendant {
                doc.at(node_path)
                    .node_paths()
                    .into_iter()
                    .map(|below| [&node_path[..], &below].concat())
                    .collect()
            } else {
                vec![node_path.clone()]
            };
            for node_path in from {
                for choice in &step.choices {
                    let node = doc.at(&node_path);
                    let length = node.children().len() as i64;
                    let chosen: Vec<i64> = match (choice, node) {
                        (Choice::Name(name), Doc::Object(members)) => {
                            (0..length).filter(|&at| members[at as usize].0 == *name).collect()
                        }
                        (Choice::Wildcard, Doc::Object(_) | Doc::Array(_)) => (0..length).collect(),
                        (Choice::Index(index), Doc::Array(_)) => {
                            vec![if *index < 0 { index + length } else { *index }]
                        }
                        (Choice::Slice(start, end, step), Doc::Array(_)) => {
                            let step = step.unwrap_or(1);
                            let normal = |bound: i64| if bound < 0 { bound + length } else { bound };
                            let (first, stop) = if step >= 0 {
                                (start.map_or(0, normal).max(0), end.map_or(length, normal).min(length))
                            } else {
                                (
                                    start.map_or(length - 1, normal).min(length - 1),
                                    end.map_or(-1, normal).max(-1),
                                )
                            };
                            let mut at = first;
                            let mut chosen = Vec::new();
                            while step != 0 && (if step > 0 { at < stop } else { at > stop }) {
                                chosen.push(at);
                                at += step;
                            }
                            chosen
                        }
                        _ => Vec::new(),
                    };
                    let inside = chosen.into_iter().filter(|at| (0..length).contains(at));
                    next.extend(inside.map(|at| [&node_path[..], &[at as usize]].concat()));
                }
            }
        }
        node_paths = next;
    }
    node_paths
}

/// Returns the nodes that `serde_json_path` selects in a document without repeated names.
pub(super) fn selected_by_peer(doc: &Doc, value: &Value, query: &str) -> BTreeSet<NodePath> {
    let path = JsonPath::parse(query).unwrap();
    let located = path.query_located(value);
    let node_path = |elements: Vec<&PathElement<'_>>| {
        let mut doc = doc;
        let mut node_path = Vec::new();
        for element in elements {
            let child = match (element, doc) {
                (PathElement::Index(index), _) => *index,
                (PathElement::Name(name), Doc::Object(members)) => {
                    members.iter().position(|(own, _)| own == name).unwrap()
                }
                _ => panic!("a name in an array"),
            };
            node_path.push(child);
            doc = doc.children()[child];
        }
        node_path
    };
    located.locations().map(|location| node_path(location.iter().collect())).collect()
}

fn is_within(node_path: &[usize], node_paths: &BTreeSet<NodePath>) -> bool {
    (0..=node_path.len()).any(|length| node_paths.contains(&node_path[..length]))
}

/// Returns the document without the nodes at these paths.
fn without(doc: &Doc, gone: &BTreeSet<NodePath>) -> String {
    pruned(doc, &mut Vec::new(), &|node_path| !is_within(node_path, gone))
        .unwrap_or_else(|| "null".to_owned())
}

pub(super) fn plain(doc: &Doc) -> String {
    without(doc, &BTreeSet::new())
}

/// Returns scrubbed text with names spelled plainly.
fn normal(text: &[u8]) -> String {
    let text = compact(std::str::from_utf8(text).unwrap());
    // Documents of these tests have escapes in the first letter of names only.
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\\u") {
        out += &rest[..at];
        out.push(char::from_u32(u32::from_str_radix(&rest[at + 2..at + 6], 16).unwrap()).unwrap());
        rest = &rest[at + 6..];
    }
    out + rest
}

/// True if `rest` is `text` with some bytes left out.
fn is_subsequence(rest: &[u8], text: &[u8]) -> bool {
    let mut text = text.iter();
    rest.iter().all(|byte| text.any(|other| other == byte))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// Names, positions, slices and wildcards, in any document, with repeated names.
    #[test]
    fn names_and_positions_remove_what_the_oracle_selects(
        doc in doc(false),
        queries in vec(steps(&[]), 1..4),
        noise in noise(),
        chunk in chunk(),
    ) {
        let text_of = doc.text(&mut noise.iter().copied().cycle());
        let texts: Vec<String> = queries.iter().map(|steps| format!("${}", text(steps))).collect();
        let gone: BTreeSet<NodePath> = queries.iter().flat_map(|steps| selected(&doc, steps)).collect();
        let out = remove_in(&texts.iter().map(String::as_str).collect::<Vec<_>>(), text_of.as_bytes(), chunk).unwrap();
        prop_assert_eq!(normal(&out), without(&doc, &gone), "{:?} {}", texts, text_of);
        prop_assert!(gone.contains(&Vec::new()) || is_subsequence(&out, text_of.as_bytes()));
        if gone.is_empty() {
            prop_assert_eq!(out, text_of.into_bytes());
        }
    }

    /// All selectors of RFC 9535, compared with `serde_json_path`.
    #[test]
    fn conditions_remove_what_the_reference_selects(
        doc in doc(true),
        queries in vec(prop_oneof![3 => steps(FILTERS), 1 => steps(ROOT_FILTERS)], 1..3),
        noise in noise(),
        chunk in chunk(),
    ) {
        let text_of = doc.text(&mut noise.iter().copied().cycle());
        let value: Value = serde_json::from_str(&text_of).unwrap();
        let texts: Vec<String> = queries.iter().map(|steps| format!("${}", text(steps))).collect();
        let gone: BTreeSet<NodePath> =
            texts.iter().flat_map(|query| selected_by_peer(&doc, &value, query)).collect();
        let out = remove_in(&texts.iter().map(String::as_str).collect::<Vec<_>>(), text_of.as_bytes(), chunk).unwrap();
        prop_assert_eq!(normal(&out), without(&doc, &gone), "{:?} {}", texts, text_of);
    }

    /// The references and our own oracle agree on queries without conditions.
    #[test]
    fn the_oracles_agree(doc in doc(true), steps in steps(&[])) {
        let value: Value = serde_json::from_str(&plain(&doc)).unwrap();
        let query = format!("${}", text(&steps));
        let ours = selected(&doc, &steps);
        prop_assert_eq!(&ours, &selected_by_peer(&doc, &value, &query));
        let theirs: BTreeSet<String> = value.query_only_path(&query).unwrap().into_iter().collect();
        prop_assert_eq!(ours.len(), theirs.len(), "{} {}", query, value);
    }

    /// Chunk boundaries change neither the output nor the fault of a damaged body.
    #[test]
    fn chunk_boundaries_do_not_matter(
        doc in doc(false),
        query in steps(FILTERS),
        noise in noise(),
        damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut body = doc.text(&mut noise.iter().copied().cycle()).into_bytes();
        if let Some((at, byte)) = damage {
            let at = at.index(body.len());
            body[at] = byte;
        }
        let queries = [format!("${}", text(&query))];
        let mut whole = Remover::new(&queries, Limits::default(), Framing::Document).unwrap();
        let mut expected = Vec::new();
        let result = whole.feed(&body, &mut expected).and_then(|()| whole.finish(&mut expected));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(body.len() + 1)).collect();
        places.push(body.len());
        places.sort_unstable();
        let mut remover = Remover::new(&queries, Limits::default(), Framing::Document).unwrap();
        let mut out = Vec::new();
        let mut from = 0;
        let mut cut_result = Ok(());
        for to in places {
            cut_result = cut_result.and_then(|()| remover.feed(&body[from..to], &mut out));
            from = to;
        }
        let cut_result = cut_result.and_then(|()| remover.finish(&mut out));
        prop_assert_eq!(cut_result, result, "{:?}", String::from_utf8_lossy(&body));
        if result.is_ok() {
            prop_assert_eq!(out, expected);
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&body).is_ok());
        }
    }

    /// A body is refused for a repeated name exactly if it has one.
    #[test]
    fn repeated_names_are_refused(doc in doc(false), noise in noise(), chunk in chunk()) {
        let body = doc.text(&mut noise.iter().copied().cycle());
        let plan = Arc::new(compile(&mapping(vec![record("$..a", &[], &[])])).unwrap());
        let mut policy = TestPolicy::new(&plan, |_, _| Form::Clear);
        let result = scrub_in(&plan, &mut policy, body.as_bytes(), chunk, Limits::default());
        let fault = result.err().map(|(unreadable, _)| unreadable.fault);
        prop_assert_eq!(fault, doc.repeats_a_name().then_some(BodyFault::DuplicateName), "{}", body);
    }

    /// With random mappings, a scalar leaves exactly if the innermost record's permit releases the class of its nearest
    /// classified ancestor. If the body is truncated, nothing else leaves.
    #[test]
    fn the_innermost_permit_decides_every_scalar(
        doc in doc(true),
        sets in vec((steps(FILTERS), vec((steps(FILTERS), select(CATEGORIES.to_vec())), 0..3), select(vec!["['a']", "[*]", "..['a']", "[0]", "[?@ != 0]"])), 1..4),
        document in vec((steps(FILTERS), select(CATEGORIES.to_vec())), 0..2),
        secret in any::<u64>(),
        unclassified in select(vec![Unclassified::Remove, Unclassified::Release]),
        noise in noise(),
        chunk in chunk(),
        short in any::<prop::sample::Index>(),
    ) {
        let doc = &numbered(&doc, &mut 10);
        let value: Value = serde_json::from_str(&plain(doc)).unwrap();
        let mut records = Vec::new();
        for (path, fields, subject) in &sets {
            let mut set = record(&format!("${}", text(path)), &[&format!("@{subject}")], &[]);
            set.fields = fields.iter().map(|(steps, id)| field(&(&format!("@{}", text(steps)), id))).collect();
            records.push(set);
        }
        for (steps, id) in &document {
            records[0].fields.push(field(&(&format!("${}", text(steps)), id)));
        }
        let mapping = Mapping { unclassified, ..mapping(records) };
        let plan = Arc::new(compile(&mapping).unwrap());
        let rule = move |decided: Option<&DecidedRecord>, id: CategoryId| {
            let who = format!("{:?} {:?}", decided.map(|record| (&record.subjects, record.set)), id);
            if (lex::hash(who.as_bytes()) ^ secret).is_multiple_of(3) { Form::Removed } else { Form::Clear }
        };
        let oracle = Oracle::new(doc, &value, &mapping, &rule);
        let expected = oracle.text();

        let body = doc.text(&mut noise.iter().copied().cycle()).into_bytes();
        let mut policy = TestPolicy::new(&plan, rule);
        let out = scrub_in(&plan, &mut policy, &body, chunk, Limits::default()).unwrap();
        prop_assert_eq!(normal(&out), expected.clone(), "{:#?} {}", mapping, String::from_utf8_lossy(&body));

        // The second run uses decisions that the first run cached.
        let mut again = TestPolicy::new(&plan, rule);
        let repeated = scrub_in(&plan, &mut again, &body, usize::MAX, Limits::default()).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(&repeated), String::from_utf8_lossy(&out));
        let counted = |policy: &TestPolicy| {
            let classes = 0..plan.classes().len();
            classes.map(|class| policy.fields.iter().map(|fields| fields[class]).sum()).collect::<Vec<u32>>()
        };
        prop_assert_eq!(counted(&again), counted(&policy));
        prop_assert_eq!(&again.records, &policy.records);

        let cut = short.index(body.len());
        let mut policy = TestPolicy::new(&plan, rule);
        let out = match scrub_in(&plan, &mut policy, &body[..cut], chunk, Limits::default()) {
            Ok(out) | Err((_, out)) => out,
        };
        let numbers = |text: &str| -> BTreeSet<String> {
            text.split(|char: char| !char.is_ascii_digit()).map(str::to_owned).collect()
        };
        // A number as the whole document is exempt: truncated, it is another number.
        if doc.is_container() {
            let out = normal(&out);
            prop_assert!(numbers(&out).is_subset(&numbers(&expected)), "{} {}", out, expected);
        }
    }
}

/// Replaces every scalar by a different number.
fn numbered(doc: &Doc, next: &mut u32) -> Doc {
    match doc {
        Doc::Scalar(_) => {
            *next += 1;
            Doc::Scalar(next.to_string())
        }
        Doc::Array(elements) => Doc::Array(elements.iter().map(|element| numbered(element, next)).collect()),
        Doc::Object(members) => {
            Doc::Object(members.iter().map(|(name, member)| (name.clone(), numbered(member, next))).collect())
        }
    }
}
