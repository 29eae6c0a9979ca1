//! A TOML file that somebody wrote, read with a finding for everything that is not understood.
//!
//! It belongs to no stratum: it knows keys, types and places, and nothing of what they mean.
//! Invariant: a key that nobody asked for is a finding, and the first mistake never hides the second.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use jiff::civil::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::finding::{Finding, Source, nearest};

/// A value with its place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub at: Range<usize>,
}

/// The text of one file, parsed, and what was found while reading it.
#[derive(Debug)]
pub struct Document<'a> {
    source: &'a Source,
    tree: Spanned<DeTable<'a>>,
    findings: RefCell<Vec<Finding>>,
}

impl<'a> Document<'a> {
    /// Parses as much as can be parsed; what cannot is a finding.
    pub fn parse(source: &'a Source) -> Document<'a> {
        let (tree, errors) = DeTable::parse_recoverable(source.text());
        let findings = errors
            .iter()
            .map(|error| {
                let finding = Finding::error(format!("not TOML: {}", error.message()));
                match error.span() {
                    Some(span) => finding.at(source, span),
                    None => finding,
                }
            })
            .collect();
        Document { source, tree, findings: RefCell::new(findings) }
    }

    /// The top of the file; `what` names it in findings ("a pack").
    pub fn root(&self, what: &str) -> Fields<'_> {
        Fields {
            document: self,
            what: what.to_owned(),
            table: self.tree.get_ref(),
            at: 0..self.source.text().len().min(1),
            asked: BTreeSet::new(),
        }
    }

    /// Adds a finding at a place of this file.
    pub fn find(&self, finding: Finding, at: Range<usize>) {
        self.findings.borrow_mut().push(finding.at(self.source, at));
    }

    /// Everything found so far.
    pub fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}

/// One table of a document, read key by key.
#[derive(Debug)]
pub struct Fields<'d> {
    document: &'d Document<'d>,
    what: String,
    table: &'d DeTable<'d>,
    at: Range<usize>,
    asked: BTreeSet<&'static str>,
}

impl<'d> Fields<'d> {
    /// Where the table stands.
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    fn value(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.asked.insert(key);
        let value = self.table.get(key)?;
        Some(Item { document: self.document, name: key.to_owned(), value })
    }

    pub fn text(&mut self, key: &'static str) -> Option<At<&'d str>> {
        self.value(key)?.text()
    }

    /// A text that has to be there.
    pub fn needed_text(&mut self, key: &'static str) -> Option<At<&'d str>> {
        if !self.table.contains_key(key) {
            self.missing(key);
        }
        self.text(key)
    }

    pub fn missing(&self, key: &str) {
        let finding = Finding::error(format!("{} has no `{key}`", self.what)).label("missing here");
        self.document.find(finding, self.at());
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.value(key)?.flag()
    }

    pub fn number(&mut self, key: &'static str) -> Option<At<u32>> {
        self.value(key)?.number()
    }

    pub fn date(&mut self, key: &'static str) -> Option<At<Date>> {
        self.value(key)?.date()
    }

    /// A list of texts; empty where the key is absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<At<&'d str>> {
        self.value(key).map(|item| item.texts()).unwrap_or_default()
    }

    /// The item itself, where a key may hold several types.
    pub fn item(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.value(key)
    }

    /// A table read key by key.
    pub fn fields(&mut self, key: &'static str, what: &str) -> Option<Fields<'d>> {
        self.value(key)?.fields(what)
    }

    /// A table whose keys are names: each with its item.
    pub fn entries(&mut self, key: &'static str) -> Vec<(At<&'d str>, Item<'d>)> {
        self.value(key).map(|item| item.entries()).unwrap_or_default()
    }

    /// An array of tables (`[[key]]`).
    pub fn tables(&mut self, key: &'static str, what: &str) -> Vec<Fields<'d>> {
        let Some(item) = self.value(key) else { return Vec::new() };
        item.list("an array of tables").into_iter().filter_map(|item| item.fields(what)).collect()
    }

    /// Reports every key that nobody asked for. The last thing done with a table.
    pub fn end(self) {
        for (key, _) in self.table.iter() {
            if !self.asked.contains(key.get_ref().as_ref()) {
                let name = key.get_ref();
                let finding =
                    Finding::error(format!("unknown key `{name}` in {}", self.what)).label("unknown");
                let finding = match nearest(name, self.asked.iter().copied()) {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint(format!("known: {}", join(self.asked.iter().copied()))),
                };
                self.document.find(finding, key.span());
            }
        }
    }
}

/// One value of a document.
#[derive(Debug)]
pub struct Item<'d> {
    document: &'d Document<'d>,
    name: String,
    value: &'d Spanned<DeValue<'d>>,
}

impl<'d> Item<'d> {
    pub fn at(&self) -> Range<usize> {
        self.value.span()
    }

    fn wrong(&self, wanted: &str) {
        let found = self.value.get_ref().type_str();
        let finding = Finding::error(format!("`{}` wants {wanted}, not a value of type {found}", self.name));
        self.document.find(finding.label(format!("wants {wanted}")), self.at());
    }

    pub fn text(&self) -> Option<At<&'d str>> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong("a text");
        }
        Some(At { value: text?, at: self.at() })
    }

    pub fn flag(&self) -> Option<bool> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong("true or false");
        }
        flag
    }

    /// A whole number from 0 to 2³²−1.
    pub fn number(&self) -> Option<At<u32>> {
        let number = self
            .value
            .get_ref()
            .as_integer()
            .and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        if number.is_none() {
            self.wrong("a whole number, not negative");
        }
        Some(At { value: number?, at: self.at() })
    }

    /// A date without time (`2027-06-30`), written as such or as a text.
    pub fn date(&self) -> Option<At<Date>> {
        let date = match self.value.get_ref() {
            DeValue::Datetime(date) => date.to_string().parse().ok(),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        if date.is_none() {
            self.wrong("a date such as 2027-06-30");
        }
        Some(At { value: date?, at: self.at() })
    }

    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub fn fields(&self, what: &str) -> Option<Fields<'d>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table");
            return None;
        };
        let at = self.value.span();
        Some(Fields { document: self.document, what: what.to_owned(), table, at, asked: BTreeSet::new() })
    }

    pub fn entries(&self) -> Vec<(At<&'d str>, Item<'d>)> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table");
            return Vec::new();
        };
        let entry = |(key, value): (&'d Spanned<toml::de::DeString<'d>>, &'d Spanned<DeValue<'d>>)| {
            let name = key.get_ref().as_ref();
            (
                At { value: name, at: key.span() },
                Item { document: self.document, name: name.to_owned(), value },
            )
        };
        table.iter().map(entry).collect()
    }

    fn list(&self, wanted: &str) -> Vec<Item<'d>> {
        let Some(array) = self.value.get_ref().as_array() else {
            self.wrong(wanted);
            return Vec::new();
        };
        array.iter().map(|value| Item { document: self.document, name: self.name.clone(), value }).collect()
    }

    pub fn texts(&self) -> Vec<At<&'d str>> {
        self.list("a list of texts").iter().filter_map(Item::text).collect()
    }
}

/// Names for a hint: `a`, `b`, `c`.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_of_a_file_is_reported_at_once() {
        let source = Source::new("x.toml", "title = 1\ntitel = \"a\"\n[sub]\nday = \"soon\"\n");
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        assert_eq!(root.text("title"), None);
        if let Some(mut sub) = root.fields("sub", "`sub`") {
            assert_eq!(sub.date("day"), None);
            sub.end();
        }
        assert_eq!(root.needed_text("name"), None);
        root.end();
        let messages: Vec<String> = document.into_findings().iter().map(ToString::to_string).collect();
        assert_eq!(messages.len(), 4, "{messages:?}");
        assert!(messages.iter().any(|message| message.contains("unknown key `titel`")), "{messages:?}");
    }
}
