//! The expected result of scrubbing, computed over the whole document as a tree.

use super::*;

/// Evaluates a mapping over a tree.
pub(super) struct Oracle<'a> {
    doc: &'a Doc,
    unclassified: Unclassified,
    rule: &'a dyn Fn(Option<&DecidedRecord>, CategoryId) -> Form,
    classes: Vec<(NodePath, BTreeSet<CategoryId>)>,
    records: Vec<(NodePath, DecidedRecord)>,
    structure: BTreeSet<NodePath>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(
        doc: &'a Doc,
        value: &Value,
        mapping: &Mapping,
        rule: &'a dyn Fn(Option<&DecidedRecord>, CategoryId) -> Form,
    ) -> Oracle<'a> {
        let mut classes: Vec<(NodePath, BTreeSet<CategoryId>)> = Vec::new();
        let mut classify = |node_path: NodePath, categories: &[CategoryId]| match classes
            .iter_mut()
            .find(|(own, _)| *own == node_path)
        {
            Some((_, set)) => set.extend(categories),
            None => classes.push((node_path, categories.iter().copied().collect())),
        };
        let mut claims: Vec<(NodePath, usize, Option<Vec<String>>)> = Vec::new();
        let mut structure = BTreeSet::new();
        for (number, set) in mapping.records.iter().enumerate() {
            let absolute = set.fields.iter().filter(|field| field.path.starts_with('$'));
            for field in absolute {
                let node_paths = selected_by_peer(doc, value, &field.path);
                node_paths.into_iter().for_each(|node_path| classify(node_path, &field.categories));
            }
            structure.extend(fixed_containers(doc, value, &set.path));
            for node_path in selected_by_peer(doc, value, &set.path) {
                let node = doc.at(&node_path);
                let node_value: Value = serde_json::from_str(&plain(node)).unwrap();
                let below = |path: &str| {
                    let found = selected_by_peer(node, &node_value, &path.replacen('@', "$", 1));
                    found
                        .into_iter()
                        .map(|below| [&node_path[..], &below].concat())
                        .collect::<Vec<NodePath>>()
                };
                for field in set.fields.iter().filter(|field| field.path.starts_with('@')) {
                    below(&field.path)
                        .into_iter()
                        .for_each(|node_path| classify(node_path, &field.categories));
                }
                let subjects = below(&set.subjects[0].path);
                let id = |node_path: &NodePath| match doc.at(node_path) {
                    Doc::Scalar(text) => Some(text.clone()),
                    _ => None,
                };
                let ids: Option<Vec<String>> = subjects.iter().map(id).collect();
                claims.push((node_path.clone(), number, ids.filter(|ids| !ids.is_empty())));
            }
        }
        let mut records: Vec<(NodePath, DecidedRecord)> = Vec::new();
        for (node_path, set, subjects) in &claims {
            let disputed = claims.iter().any(|(other, number, _)| other == node_path && number != set);
            let decided = if disputed {
                DecidedRecord { set: 0, subjects: None, controller: None }
            } else {
                DecidedRecord { set: *set, subjects: subjects.clone(), controller: None }
            };
            records.push((node_path.clone(), decided));
        }
        if !classes.iter().any(|(node_path, _)| node_path.is_empty()) {
            structure.insert(Vec::new());
        }
        Oracle { doc, unclassified: mapping.unclassified, rule, classes, records, structure }
    }

    fn stays_itself(&self, node_path: &[usize]) -> bool {
        let nearest = |length: &usize| self.records.iter().find(|(own, _)| *own == node_path[..*length]);
        let record =
            (0..=node_path.len()).rev().find_map(|length| nearest(&length)).map(|(_, record)| record);
        let class = (0..=node_path.len()).rev().find_map(|length| {
            self.classes.iter().find(|(own, _)| *own == node_path[..length]).map(|(_, set)| set)
        });
        match class {
            Some(set) => set.iter().all(|&id| (self.rule)(record, id) == Form::Clear),
            None => self.unclassified == Unclassified::Release,
        }
    }

    fn stays(&self, node_path: &[usize]) -> bool {
        let node = self.doc.at(node_path);
        let is_skeleton = node.is_container()
            && (self.structure.contains(node_path) || self.records.iter().any(|(own, _)| own == node_path));
        is_skeleton
            || self.stays_itself(node_path)
            || (0..node.children().len()).any(|child| self.stays(&[node_path, &[child]].concat()))
    }

    pub(super) fn text(&self) -> String {
        pruned(self.doc, &mut Vec::new(), &|node_path| self.stays(node_path))
            .unwrap_or_else(|| "null".to_owned())
    }
}

/// Returns the containers on the path to every record: the nodes that the query's segments before the first condition
/// select.
fn fixed_containers(doc: &Doc, value: &Value, path: &str) -> BTreeSet<NodePath> {
    let (_, query) = query::read(path).unwrap();
    let mut points = BTreeSet::new();
    let mut texts = split(path).into_iter();
    let mut prefix = texts.next().unwrap();
    for segment in &query.segments {
        points.extend(selected_by_peer(doc, value, &prefix));
        if query.reads_root() || !segment.is_forward() {
            break;
        }
        prefix += &texts.next().unwrap();
    }
    points
}

/// Splits the text of a query before each segment. Brackets nest in filters.
fn split(path: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0, false);
    for char in path.chars() {
        let begins =
            depth == 0 && !quoted && ((char == '[' && !parts.last().unwrap().ends_with('.')) || char == '.');
        if begins && !(char == '.' && parts.last().unwrap().ends_with('.')) {
            parts.push(String::new());
        }
        quoted ^= char == '\'';
        depth += i32::from(char == '[' && !quoted) - i32::from(char == ']' && !quoted);
        parts.last_mut().unwrap().push(char);
    }
    parts
}
