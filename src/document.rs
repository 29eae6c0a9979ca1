//! A TOML file that somebody wrote, read with a finding for everything that is not understood.
//!
//! It belongs to no stratum: it knows keys, types and places, and nothing of what they mean.
//! Invariant: a key that nobody asked for is a finding, and the first mistake never hides the second.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{Span, SpanRelativeTo};
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
    /// Each with the byte it begins at.
    findings: RefCell<Vec<(usize, Finding)>>,
}

impl<'a> Document<'a> {
    /// Parses as much as can be parsed; what cannot is a finding.
    pub fn parse(source: &'a Source) -> Document<'a> {
        let (tree, errors) = DeTable::parse_recoverable(source.text());
        let document = Document { source, tree, findings: RefCell::default() };
        for error in errors {
            let finding = Finding::error(format!("not TOML: {}", error.message().trim()));
            document.find(finding, error.span().unwrap_or(0..0));
        }
        document
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

    /// Adds a finding at a place of this file; the same one at the same place only once.
    pub fn find(&self, finding: Finding, at: Range<usize>) {
        let mut findings = self.findings.borrow_mut();
        let words = finding.to_string();
        if !findings.iter().any(|(start, earlier)| *start == at.start && earlier.to_string() == words) {
            findings.push((at.start, finding.at(self.source, at)));
        }
    }

    /// Adds the finding that a name is none of those there are, with the nearest of them, or else
    /// with what there is to do.
    pub fn find_unknown<'n>(
        &self,
        what: &str,
        name: &At<&str>,
        known: impl IntoIterator<Item = &'n str>,
        otherwise: &str,
    ) {
        let hint = nearest(name.value, known)
            .map_or_else(|| otherwise.to_owned(), |near| format!("did you mean `{near}`?"));
        let finding = Finding::error(format!("there is no {what} `{}`", name.value));
        self.find(finding.label("unknown").hint(hint), name.at.clone());
    }

    /// Everything found so far, in the order of the file.
    pub fn into_findings(self) -> Vec<Finding> {
        let mut findings = self.findings.into_inner();
        findings.sort_by_key(|(start, _)| *start);
        findings.into_iter().map(|(_, finding)| finding).collect()
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

    /// Bytes, with or without a binary unit (`"8MiB"`).
    pub fn size(&mut self, key: &'static str) -> Option<usize> {
        self.value(key)?.size()
    }

    /// A number and a unit (`"500ms"`, `"400d"`).
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.value(key)?.duration()
    }

    /// One of a closed list of words.
    pub fn choice<T: Clone>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.value(key)?.choice(words)
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

    /// An array of tables (`[[key]]`); a single table (`[key]`) is an array of one.
    pub fn tables(&mut self, key: &'static str, what: &str) -> Vec<Fields<'d>> {
        let items = self.value(key).map(|item| item.items()).unwrap_or_default();
        items.iter().filter_map(|item| item.fields(what)).collect()
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

    fn wrong(&self, wanted: &str, hint: &str) {
        let found = self.value.get_ref().type_str();
        let finding = Finding::error(format!("`{}` wants {wanted}", self.name));
        self.document.find(finding.label(format!("this {found} is none")).hint(hint), self.at());
    }

    pub fn text(&self) -> Option<At<&'d str>> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong("a text", "text stands in quotation marks");
        }
        Some(At { value: text?, at: self.at() })
    }

    pub fn flag(&self) -> Option<bool> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong("a flag", "`true` or `false`, without quotation marks");
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
            self.wrong("a whole number", "digits without quotation marks, not negative");
        }
        Some(At { value: number?, at: self.at() })
    }

    /// A text, a whole number or a truth value, as JSON has them.
    pub fn scalar(&self) -> Option<serde_json::Value> {
        let value = match self.value.get_ref() {
            DeValue::String(text) => Some(text.as_ref().into()),
            DeValue::Boolean(flag) => Some((*flag).into()),
            DeValue::Integer(number) => {
                i64::from_str_radix(number.as_str(), number.radix()).ok().map(Into::into)
            }
            _ => None,
        };
        if value.is_none() {
            self.wrong("one value", "a text, a whole number, `true` or `false`");
        }
        value
    }

    /// A date without time (`2027-06-30`), written as such or as a text.
    pub fn date(&self) -> Option<At<Date>> {
        let date = match self.value.get_ref() {
            DeValue::Datetime(date) => date.to_string().parse().ok(),
            DeValue::String(text) => text.parse().ok(),
            _ => None,
        };
        if date.is_none() {
            self.wrong("a date", "year, month, day: `2027-06-30`");
        }
        Some(At { value: date?, at: self.at() })
    }

    /// Bytes: a whole number, or a text such as `"64KiB"`.
    pub fn size(&self) -> Option<usize> {
        let size = match self.value.get_ref() {
            DeValue::Integer(number) => usize::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => bytes(text),
            _ => None,
        };
        if size.is_none() {
            self.wrong(
                "a size",
                "bytes, or a number with a unit: `65536`, `\"64KiB\"`, `\"8MiB\"`, `\"1GiB\"`",
            );
        }
        size
    }

    /// A duration such as `"2s"`; a day is 24 hours.
    pub fn duration(&self) -> Option<Duration> {
        let duration = self.value.get_ref().as_str().and_then(|text| {
            let span = text.parse::<Span>().ok()?;
            let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
            Duration::try_from(duration).ok()
        });
        if duration.is_none() {
            self.wrong("a duration", "a number and a unit: `\"500ms\"`, `\"2s\"`, `\"400d\"`");
        }
        duration
    }

    /// One of a closed list of words.
    pub fn choice<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text.value).map(|(_, value)| value.clone());
        if found.is_none() {
            let known = words.iter().map(|(word, _)| *word);
            let hint = match nearest(text.value, known.clone()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", join(known)),
            };
            let finding = Finding::error(format!("`{}` cannot be `{}`", self.name, text.value));
            self.document.find(finding.hint(hint), text.at);
        }
        found
    }

    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    pub fn fields(&self, what: &str) -> Option<Fields<'d>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table", "keys and values: `{ key = value }`, or a section of its own");
            return None;
        };
        let at = self.value.span();
        Some(Fields { document: self.document, what: what.to_owned(), table, at, asked: BTreeSet::new() })
    }

    pub fn entries(&self) -> Vec<(At<&'d str>, Item<'d>)> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table", "keys and values: `{ key = value }`, or a section of its own");
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

    /// The elements of a list; anything else is a list of one.
    pub fn items(&self) -> Vec<Item<'d>> {
        let item = |value| Item { document: self.document, name: self.name.clone(), value };
        match self.value.get_ref().as_array() {
            Some(array) => array.iter().map(item).collect(),
            None => vec![item(self.value)],
        }
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&self) -> Vec<At<&'d str>> {
        self.items().iter().filter_map(Item::text).collect()
    }
}

/// `"65536"`, `"64 KiB"`, `"8MiB"`, `"1GiB"`.
fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.trim().replace('_', "").parse::<usize>().ok()?.checked_mul(factor)
}

/// Names for a hint: `a`, `b`, `c`.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(document: Document<'_>) -> Vec<String> {
        document.into_findings().iter().map(ToString::to_string).collect()
    }

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
        assert_eq!(
            messages(document),
            [
                "a test has no `name`",
                "`title` wants a text",
                "unknown key `titel` in a test",
                "`day` wants a date",
            ]
        );
    }

    #[test]
    fn quantities_have_units() {
        let text =
            "a = 65536\nb = \"64KiB\"\nc = \"8 MiB\"\nd = \"1_000\"\ne = \"500ms\"\nf = \"400d\"\ng = 7\n";
        let source = Source::new("x.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        let sizes = ["a", "b", "c", "d"].map(|key| root.size(key));
        assert_eq!(sizes, [Some(65536), Some(65536), Some(8 << 20), Some(1000)]);
        assert_eq!(root.duration("e"), Some(Duration::from_millis(500)));
        assert_eq!(root.duration("f"), Some(Duration::from_secs(400 * 86400)));
        assert_eq!(root.number("g").map(|at| at.value), Some(7));
        root.end();
        assert_eq!(messages(document), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_quantity_is_a_finding() {
        let text = "a = -1\nb = \"8MB\"\nc = \"99999999999GiB\"\nd = 2\ne = \"soon\"\nf = \"-2s\"\ng = -7\n";
        let source = Source::new("x.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        assert_eq!(["a", "b", "c"].map(|key| root.size(key)), [None; 3]);
        assert_eq!(["d", "e", "f"].map(|key| root.duration(key)), [None; 3]);
        assert_eq!(root.number("g"), None);
        root.end();
        assert_eq!(messages(document).len(), 7);
    }

    #[test]
    fn one_is_a_list_of_one() {
        let source = Source::new("x.toml", "a = \"x\"\nb = [\"x\", 1]\n[c]\nd = 1\n[[e]]\n[[e]]\n");
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        assert_eq!((root.texts("a").len(), root.texts("b").len()), (1, 1));
        assert_eq!((root.tables("c", "c").len(), root.tables("e", "e").len()), (1, 2));
        root.end();
        assert_eq!(messages(document), ["`b` wants a text"]);
    }
}
