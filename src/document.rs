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

use crate::finding::{self, Finding, Source, suggestion};

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
    /// Each with its place.
    findings: RefCell<Vec<(Range<usize>, Finding)>>,
    scopes: RefCell<Vec<AllowScope>>,
}

/// A table that can hold an `allow`, and the codes that it acknowledges.
#[derive(Debug)]
struct AllowScope {
    /// Where its keys and values stand; `None` for the top of the file, which holds what no other scope does.
    spans: Option<Vec<Range<usize>>>,
    allowed: Vec<At<&'static str>>,
}

impl AllowScope {
    fn holds(&self, place: &Range<usize>) -> bool {
        let within = |span: &Range<usize>| span.start <= place.start && place.end <= span.end;
        self.spans.as_ref().is_some_and(|spans| spans.iter().any(within))
    }
}

impl<'a> Document<'a> {
    /// Parses as much as can be parsed; what cannot is a finding.
    pub fn parse(source: &'a Source) -> Document<'a> {
        let (tree, errors) = DeTable::parse_recoverable(source.text());
        let document = Document { source, tree, findings: RefCell::default(), scopes: RefCell::default() };
        for error in errors {
            let finding = Finding::error("not-toml", format!("not TOML: {}", error.message().trim()));
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
            at: self.top(),
            asked: BTreeSet::new(),
        }
    }

    /// The place of what is about the file as a whole.
    fn top(&self) -> Range<usize> {
        0..self.source.text().len().min(1)
    }

    /// Adds a finding at a place of this file; the same one at the same place only once.
    pub fn find(&self, finding: Finding, at: Range<usize>) {
        let mut findings = self.findings.borrow_mut();
        let words = finding.to_string();
        let same = |(place, earlier): &(Range<usize>, Finding)| {
            place.start == at.start && earlier.to_string() == words
        };
        if !findings.iter().any(same) {
            findings.push((at.clone(), finding.at(self.source, at)));
        }
    }

    /// Adds the finding that a name is none of those there are, with the nearest of them, or else
    /// with what there is to do.
    pub fn find_unknown<'n>(
        &self,
        code: &'static str,
        what: &str,
        name: &At<&str>,
        known: impl IntoIterator<Item = &'n str>,
        otherwise: &str,
    ) {
        let hint = suggestion(name.value, known).unwrap_or_else(|| otherwise.to_owned());
        let finding = Finding::error(code, format!("there is no {what} `{}`", name.value));
        self.find(finding.label("unknown").hint(hint), name.at.clone());
    }

    /// True if something found so far is an error.
    pub fn has_error(&self) -> bool {
        self.findings.borrow().iter().any(|(_, finding)| finding.is_error())
    }

    /// Everything found so far, in the order of the file. A warning that an `allow` names is acknowledged;
    /// an `allow` that names none is a warning itself, where the file has no error that could hide one.
    pub fn into_findings(self) -> Vec<Finding> {
        let (top, source) = (self.top(), self.source);
        let (mut findings, scopes) = (self.findings.into_inner(), self.scopes.into_inner());
        let mut used = BTreeSet::new();
        for (place, finding) in findings.iter_mut().filter(|(_, finding)| finding.is_warning()) {
            let own = scopes.iter().find(|scope| *place != top && scope.holds(place));
            let scope = own.or_else(|| scopes.iter().find(|scope| scope.spans.is_none()));
            let allowed = scope.into_iter().flat_map(|scope| &scope.allowed);
            let code = finding.code();
            for code in allowed.filter(|allowed| allowed.value == code) {
                finding.acknowledge();
                used.insert(code.at.start);
            }
        }
        if !findings.iter().any(|(_, finding)| finding.is_error()) {
            let allowed = scopes.iter().flat_map(|scope| &scope.allowed);
            for code in allowed.filter(|code| !used.contains(&code.at.start)) {
                let finding = Finding::warning("allow-unused", format!("nothing here is `{}`", code.value));
                let hint = "take it out: it would hide the next one";
                let finding = finding.at(source, code.at.clone()).label("acknowledges nothing").hint(hint);
                findings.push((code.at.clone(), finding));
            }
        }
        findings.sort_by_key(|(place, _)| place.start);
        findings.into_iter().map(|(_, finding)| finding).collect()
    }
}

/// The places of a table, and of everything in it.
fn spans(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for (key, value) in table.iter() {
        found.push(key.span());
        spans_of_value(value, found);
    }
}

fn spans_of_value(value: &Spanned<DeValue<'_>>, found: &mut Vec<Range<usize>>) {
    found.push(value.span());
    match value.get_ref() {
        DeValue::Table(table) => spans(table, found),
        DeValue::Array(items) => items.iter().for_each(|item| spans_of_value(item, found)),
        _ => {}
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
        let finding =
            Finding::error("missing-key", format!("{} has no `{key}`", self.what)).label("missing here");
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

    /// Reads `allow`: the codes of warnings about this table that are acknowledged. An error cannot be.
    pub fn allow(&mut self) {
        let document = self.document;
        let mut allowed = Vec::new();
        for code in self.texts("allow") {
            if let Some(known) = finding::WARNINGS.iter().find(|known| **known == code.value) {
                allowed.push(At { value: *known, at: code.at });
            } else if finding::ERRORS.contains(&code.value) {
                let words = format!("`{}` is an error, and cannot be acknowledged", code.value);
                let hint = "`allow` is for warnings: an error keeps the file from loading";
                document.find(Finding::error("error-in-allow", words).hint(hint), code.at);
            } else {
                let otherwise = "`purposegate check` prints the code of each finding";
                let known = finding::WARNINGS.iter().copied();
                document.find_unknown("unknown-finding-code", "finding code", &code, known, otherwise);
            }
        }
        let whole = std::ptr::eq(self.table, document.tree.get_ref());
        let spans = (!whole).then(|| {
            let mut found = vec![self.at()];
            spans(self.table, &mut found);
            found
        });
        document.scopes.borrow_mut().push(AllowScope { spans, allowed });
    }

    /// Reports every key that nobody asked for. The last thing done with a table.
    pub fn end(self) {
        for (key, _) in self.table.iter() {
            if !self.asked.contains(key.get_ref().as_ref()) {
                let name = key.get_ref();
                let finding = Finding::error("unknown-key", format!("unknown key `{name}` in {}", self.what))
                    .label("unknown");
                let hint = suggestion(name, self.asked.iter().copied())
                    .unwrap_or_else(|| format!("known: {}", join(self.asked.iter().copied())));
                self.document.find(finding.hint(hint), key.span());
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
        let finding = Finding::error("wrong-type", format!("`{}` wants {wanted}", self.name));
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
            DeValue::Datetime(date) => full_date(&date.to_string()),
            DeValue::String(text) => full_date(text),
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
            let hint =
                suggestion(text.value, known.clone()).unwrap_or_else(|| format!("one of {}", join(known)));
            let finding =
                Finding::error("unknown-value", format!("`{}` cannot be `{}`", self.name, text.value));
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

/// `2027-06-30`, and nothing else: a time of day or a zone would be dropped without a word.
fn full_date(text: &str) -> Option<Date> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_date.then(|| text.parse().ok())?
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
    fn a_date_has_neither_time_nor_zone() {
        let text = "a = 2027-06-30\nb = \"2027-06-30\"\nc = 9999-12-31\nd = 2027-06-30T12:00:00Z\ne = \"2027-06-30T12:00\"\n\
                    f = \"20270630\"\ng = \"2027-06\"\nh = 12:00:00\n";
        let source = Source::new("x.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        let read = ["a", "b", "c"].map(|key| root.date(key).is_some());
        assert_eq!(read, [true; 3]);
        let refused = ["d", "e", "f", "g", "h"].map(|key| root.date(key).is_some());
        assert_eq!(refused, [false; 5]);
        root.end();
        assert_eq!(messages(document).len(), 5);
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

    /// Reads `[[a]]` tables, each with a warning at its key `x`, and one about the file.
    fn acknowledged(text: &str) -> Vec<(String, bool)> {
        let source = Source::new("x.toml", text);
        let document = Document::parse(&source);
        let mut root = document.root("a test");
        root.allow();
        document.find(Finding::warning("no-route", "of the file"), root.at());
        for mut fields in root.tables("a", "an a") {
            fields.allow();
            if let Some(item) = fields.item("x") {
                document.find(Finding::warning("plaintext-listener", "of x"), item.at());
            }
            if let Some(mut inner) = fields.fields("inner", "`inner`") {
                inner.item("y");
                document.find(Finding::warning("category-too-wide", "of inner"), inner.at());
                inner.end();
            }
            fields.end();
        }
        root.end();
        let findings = document.into_findings();
        findings.iter().map(|finding| (finding.to_string(), finding.is_warning())).collect()
    }

    #[test]
    fn a_warning_is_acknowledged_beside_what_it_is_about() {
        let text = "[[a]]\nx = 1\nallow = [\"plaintext-listener\"]\n[[a]]\nx = 1\n";
        let found = [("of the file", true), ("of x", false), ("of x", true)];
        assert_eq!(acknowledged(text), found.map(|(words, open)| (words.to_owned(), open)));
        let text = "allow = \"no-route\"\n[[a]]\nallow = [\"category-too-wide\"]\n[a.inner]\ny = 1\n";
        let found = [("of the file", false), ("of inner", false)];
        assert_eq!(acknowledged(text), found.map(|(words, open)| (words.to_owned(), open)));
    }

    #[test]
    fn what_acknowledges_nothing_is_found() {
        // What stands at the top is not about the tables below it.
        let found = acknowledged("allow = [\"plaintext-listener\", \"no-route\"]\n[[a]]\nx = 1\n");
        let found: Vec<&str> = found.iter().filter(|found| found.1).map(|found| &*found.0).collect();
        assert_eq!(found, ["nothing here is `plaintext-listener`", "of x"]);
    }

    #[test]
    fn errors_and_unknown_codes_cannot_be_acknowledged() {
        let found = acknowledged("allow = [\"unknown-key\", \"no-rout\"]\n");
        let words: Vec<&str> = found.iter().map(|found| &*found.0).collect();
        assert_eq!(
            words,
            [
                "of the file",
                "`unknown-key` is an error, and cannot be acknowledged",
                "there is no finding code `no-rout`"
            ]
        );
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
