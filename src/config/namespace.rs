//! `[namespace.NAME]`: how the ids of a namespace are read, for routes, tokens and the ledger alike.
//!
//! A route's `normalise` is a short form for the rule of its namespace. Invariant: whoever says something
//! about a namespace says the same, so that a rule does not depend on who is asked first.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::Part;
use crate::document::{At, Document, Fields, Item};
use crate::finding::Finding;
use crate::vocabulary::{DEFAULT_NAMESPACE, IdRule, MAX_ID_BYTES, Namespaces, Normalization};

/// The steps by their words.
const STEPS: [(&str, Normalization); 4] = [
    ("exact", Normalization { trim: false, lowercase: false, nfc: false }),
    ("trim", Normalization { trim: true, lowercase: false, nfc: false }),
    ("lowercase", Normalization { trim: false, lowercase: true, nfc: false }),
    ("nfc", Normalization { trim: false, lowercase: false, nfc: true }),
];

/// What one table says about how the ids of a namespace are normalised.
#[derive(Debug)]
struct NormaliseDeclaration<'d> {
    normalise: Normalization,
    /// Who says it: "route `customers`".
    by: String,
    document: &'d Document<'d>,
    at: Range<usize>,
}

/// What is said about one namespace.
#[derive(Debug, Default)]
struct NamespaceDeclarations<'d> {
    statements: Vec<NormaliseDeclaration<'d>>,
    extract: Option<(At<&'d str>, &'d Document<'d>)>,
}

/// What all tables say, by the name of the namespace.
#[derive(Debug, Default)]
struct DeclaredNamespaces<'d> {
    rules: BTreeMap<&'d str, NamespaceDeclarations<'d>>,
    /// The namespaces of the ids that records, paths and tokens have.
    in_use: BTreeSet<&'d str>,
}

/// The rules of all namespaces: of the first file's sections, and of the short forms in every file. Beside
/// them the names of all namespaces that can have any effect; the default one is among them unless only
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

/// The short forms in `subject` and `controller` of a table.
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

/// The namespaces of the claims that say who the holder of a token is.
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

/// One step or a list of them; their order does not matter.
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
    /// `None` where it cannot be told; a finding says why.
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

/// A name that the ledger can keep.
pub(super) fn check_name(document: &Document<'_>, name: &At<&str>) {
    if name.value.is_empty() || name.value.len() > MAX_ID_BYTES {
        let finding = Finding::error("bad-namespace-name", "this is not the name of a namespace");
        let hint = format!("at least one letter and at most {MAX_ID_BYTES} bytes");
        document.find(finding.label("empty, or too long").hint(hint), name.at.clone());
    }
}
