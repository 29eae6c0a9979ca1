//! Reads `[namespace.NAME]`: the rules by which ids of a namespace are read in routes, tokens and the ledger.
//!
//! A route's `normalise` is a short form for the rule of its namespace. Invariant: all declarations about one namespace
//! are equal, so that the order in which they are read does not matter.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::Part;
use crate::document::{At, Document, Fields, Item};
use crate::finding::Finding;
use crate::vocabulary::{DEFAULT_NAMESPACE, IdRule, MAX_ID_BYTES, Namespaces, Normalization};

/// Values of `normalise`.
const STEPS: [(&str, Normalization); 4] = [
    ("exact", Normalization { trim: false, lowercase: false, nfc: false }),
    ("trim", Normalization { trim: true, lowercase: false, nfc: false }),
    ("lowercase", Normalization { trim: false, lowercase: true, nfc: false }),
    ("nfc", Normalization { trim: false, lowercase: false, nfc: true }),
];

/// The declaration of one table on how the ids of a namespace are normalised.
#[derive(Debug)]
struct NormaliseDeclaration<'d> {
    normalise: Normalization,
    /// The table: "route `customers`".
    by: String,
    document: &'d Document<'d>,
    at: Range<usize>,
}

/// All declarations about one namespace.
#[derive(Debug, Default)]
struct NamespaceDeclarations<'d> {
    statements: Vec<NormaliseDeclaration<'d>>,
    extract: Option<(At<&'d str>, &'d Document<'d>)>,
}

/// The declarations of all tables, by the name of the namespace.
#[derive(Debug, Default)]
struct DeclaredNamespaces<'d> {
    rules: BTreeMap<&'d str, NamespaceDeclarations<'d>>,
    /// Namespaces of the ids in records, paths and tokens.
    in_use: BTreeSet<&'d str>,
}

/// Reads the rules of all namespaces, from the sections of the first file and the short forms in all files. Returns them
/// with the names of all namespaces in which events have an effect. The default namespace is one of these unless only
/// others are in use.
pub(super) fn read_all(parts: &mut [Part<'_>]) -> (Namespaces, BTreeSet<Arc<str>>) {
    let mut all = DeclaredNamespaces::default();
    if let Some(main) = parts.first_mut() {
        for (name, item) in main.fields.entries("namespace") {
            section(main.fields.document(), &name, &item, &mut all);
        }
    }
    for part in parts {
        for (key, what) in [("schema", "a schema"), ("route", "a route")] {
            for mut fields in part.fields.tables(key, what) {
                let name = fields.text("name").map_or("?", |name| name.value);
                let by = format!("{key} `{name}`");
                short_forms(&mut fields, &by, &mut all);
                if key == "route" {
                    for mut set in fields.tables("records", "a record set") {
                        short_forms(&mut set, &by, &mut all);
                    }
                }
            }
        }
        for mut recipient in part.fields.tables("recipient", "a recipient") {
            for mut credential in recipient.tables("credentials", "a credential") {
                if let Some(mut token) = credential.fields("jwt", "`jwt`") {
                    claims(&mut token, &mut all);
                }
            }
        }
    }
    if all.in_use.is_empty() {
        all.in_use.insert(DEFAULT_NAMESPACE);
    }
    let named = all.rules.keys().chain(&all.in_use).map(|name| Arc::from(*name)).collect();
    let rules = all.rules.iter().filter_map(|(name, said)| Some((Arc::from(*name), said.rule()?)));
    (Namespaces::new(rules), named)
}

fn section<'d>(
    document: &'d Document<'d>,
    name: &At<&'d str>,
    item: &Item<'d>,
    all: &mut DeclaredNamespaces<'d>,
) {
    check_name(document, name);
    let by = format!("`[namespace.{}]`", name.value);
    let Some(mut fields) = item.fields(&by) else { return };
    let said = all.rules.entry(name.value).or_default();
    let normalise = fields.item("normalise");
    said.extract = fields.text("extract").map(|pattern| (pattern, document));
    fields.end();
    if let Some(item) = normalise {
        said.statements.push(NormaliseDeclaration { normalise: steps(&item), by, document, at: item.at() });
    }
}

/// Reads the short forms in `subject` and `controller` of a table.
fn short_forms<'d>(table: &mut Fields<'d>, by: &str, all: &mut DeclaredNamespaces<'d>) {
    let document = table.document();
    for key in ["subject", "controller"] {
        let sources = table.item(key).map(|item| item.items()).unwrap_or_default();
        for source in sources {
            if !source.is_table() {
                all.in_use.insert(DEFAULT_NAMESPACE);
                continue;
            }
            let Some(mut source) = source.fields("where an id is found") else { continue };
            let namespace = source.text("namespace").map_or(DEFAULT_NAMESPACE, |name| name.value);
            all.in_use.insert(namespace);
            let Some(item) = source.item("normalise") else { continue };
            let statement =
                NormaliseDeclaration { normalise: steps(&item), by: by.to_owned(), document, at: item.at() };
            all.rules.entry(namespace).or_default().statements.push(statement);
        }
    }
}

/// Reads the namespaces of the claims that identify the holder of a token.
fn claims<'d>(token: &mut Fields<'d>, all: &mut DeclaredNamespaces<'d>) {
    for key in ["subject-claim", "controller-claim"] {
        let Some(item) = token.item(key) else { continue };
        let namespace = match item.is_table() {
            true => item.fields("an identity claim").and_then(|mut claim| claim.text("namespace")),
            false => None,
        };
        all.in_use.insert(namespace.map_or(DEFAULT_NAMESPACE, |name| name.value));
    }
}

/// Reads one step, or a list of steps whose order does not matter.
fn steps(item: &Item<'_>) -> Normalization {
    item.items().iter().filter_map(|item| item.choice(&STEPS)).fold(Normalization::default(), |all, step| {
        Normalization {
            trim: all.trim || step.trim,
            lowercase: all.lowercase || step.lowercase,
            nfc: all.nfc || step.nfc,
        }
    })
}

impl NamespaceDeclarations<'_> {
    /// Returns the rule. `None` if the pattern cannot be used, which is a finding.
    fn rule(&self) -> Option<IdRule> {
        let first = self.statements.first();
        let normalise = first.map_or_else(Normalization::default, |first| first.normalise);
        if let Some(first) = first {
            for other in self.statements.iter().filter(|other| other.normalise != normalise) {
                let words =
                    format!("{} and {} normalise the ids of one namespace differently", first.by, other.by);
                let finding = Finding::error("namespace-rules-differ", words).label("says something else");
                let hint = "one person has one id at every door: say it once, in `[namespace.NAME]`, and take it out \
                            of the routes";
                other.document.find(finding.hint(hint), other.at.clone());
            }
        }
        let extract = self.extract.as_ref().map(|(pattern, document)| (pattern.value, document, pattern));
        match IdRule::new(normalise, extract.map(|(pattern, ..)| pattern)) {
            Ok(rule) => Some(rule),
            Err(fault) => {
                let (_, document, pattern) = extract?;
                let finding = Finding::error("bad-id-pattern", format!("`extract` cannot be used: {fault}"));
                let hint =
                    "a regular expression with one group, which is the id; other groups are written `(?:…)`";
                document.find(finding.hint(hint), pattern.at.clone());
                None
            }
        }
    }
}

/// Reports a name that the ledger cannot store.
pub(super) fn check_name(document: &Document<'_>, name: &At<&str>) {
    if name.value.is_empty() || name.value.len() > MAX_ID_BYTES {
        let finding = Finding::error("bad-namespace-name", "this is not the name of a namespace");
        let hint = format!("at least one letter and at most {MAX_ID_BYTES} bytes");
        document.find(finding.label("empty, or too long").hint(hint), name.at.clone());
    }
}
