//! Reads a TOML file and reports every key and every value that no reader accepts.
//!
//! The module belongs to no stratum: it handles keys, types and places in the text, and does not interpret them.
//! Invariant: a key that no reader asked for is a finding, and one mistake never hides another.

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
    /// The value.
    pub value: T,
    /// Byte range in the text.
    pub at: Range<usize>,
}

/// The parsed text of one file, and the findings so far.
#[derive(Debug)]
pub struct Document<'a> {
    source: &'a Source,
    tree: Spanned<DeTable<'a>>,
    /// The findings, each with its place.
    findings: RefCell<Vec<(Range<usize>, Finding)>>,
    scopes: RefCell<Vec<AllowScope>>,
}

/// A table with an `allow`, and the codes that it acknowledges.
#[derive(Debug)]
struct AllowScope {
    /// Places of the table's keys and values; `None` for the root table, which covers everything that no other scope
    /// covers.
    spans: Option<Vec<Range<usize>>>,
    allowed: Vec<At<&'static str>>,
}

impl AllowScope {
    fn holds(&self, place: &Range<usize>) -> bool {
        let within = |span: &Range<usize>| span.start <= place.start && place.end <= span.end;
        self.spans.as_ref().is_some_and(|spans| spans.iter().any(within))
    }
}

/// The `allow` at the top of a file, as far as it lists warnings that are found only after the file was read.
#[derive(Clone, Debug, Default)]
pub struct DeferredAllow(Vec<DeferredCode>);

/// A code in a [`DeferredAllow`].
#[derive(Clone, Debug)]
struct DeferredCode {
    code: &'static str,
    /// The finding that the `allow` acknowledges nothing.
    unused: Finding,
}

impl DeferredAllow {
    /// True if the `allow` acknowledges warnings with this code.
    pub fn allows(&self, code: &str) -> bool {
        self.0.iter().any(|allowed| allowed.code == code)
    }

    /// Acknowledges the warnings that the `allow` lists. Returns a finding for each code that it lists, that is one of
    /// `checked`, and that none of the warnings has. A code that was not checked for may have warnings that nobody has found.
    pub fn acknowledge(&self, findings: &mut [Finding], checked: &[&str]) -> Vec<Finding> {
        let mut used = BTreeSet::new();
        for finding in findings.iter_mut().filter(|finding| finding.is_warning()) {
            if self.allows(finding.code()) {
                finding.acknowledge();
                used.insert(finding.code());
            }
        }
        let unused =
            self.0.iter().filter(|allowed| checked.contains(&allowed.code) && !used.contains(allowed.code));
        unused.map(|allowed| allowed.unused.clone()).collect()
    }
}

impl<'a> Document<'a> {
    /// Parses as much as possible. Syntax errors become findings.
    pub fn parse(source: &'a Source) -> Document<'a> {
        let (tree, errors) = DeTable::parse_recoverable(source.text());
        let document = Document { source, tree, findings: RefCell::default(), scopes: RefCell::default() };
        for error in errors {
            let finding = Finding::error("not-toml", format!("not TOML: {}", error.message().trim()));
            document.find(finding, error.span().unwrap_or(0..0));
        }
        document
    }

    /// Returns the root table; `what` names it in findings ("a pack").
    pub fn root(&self, what: &str) -> Fields<'_> {
        Fields {
            document: self,
            what: what.to_owned(),
            table: self.tree.get_ref(),
            at: self.top(),
            known_keys: BTreeSet::new(),
        }
    }

    /// Place of findings about the file as a whole.
    fn top(&self) -> Range<usize> {
        0..self.source.text().len().min(1)
    }

    /// Adds a finding at a place of this file. The same finding at the same place is added only once.
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

    /// Adds a finding about an unknown name. The hint is the nearest known name, or else `otherwise`.
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

    /// True if a finding so far is an error.
    pub fn has_error(&self) -> bool {
        self.findings.borrow().iter().any(|(_, finding)| finding.is_error())
    }

    /// Returns all findings in the order of the file. A warning named by an `allow` is acknowledged. An `allow`
    /// that acknowledges nothing yields a warning. If the file has an error, it yields none, because the error
    /// could hide the warning that the `allow` names.
    pub fn into_findings(self) -> Vec<Finding> {
        self.into_findings_before(&[]).0
    }

    /// Returns the same findings, for a file about which warnings with the codes `later` can be found afterwards. An
    /// `allow` of such a code at the top of the file is returned instead of being judged.
    pub fn into_findings_before(self, later: &[&str]) -> (Vec<Finding>, DeferredAllow) {
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
        let has_error = findings.iter().any(|(_, finding)| finding.is_error());
        let mut deferred = DeferredAllow::default();
        for scope in &scopes {
            for code in scope.allowed.iter().filter(|code| !used.contains(&code.at.start)) {
                let unused = Finding::warning("allow-unused", format!("no warning here is `{}`", code.value));
                let hint = "remove it: it would hide a later warning";
                let unused = unused.at(source, code.at.clone()).label("acknowledges nothing").hint(hint);
                if scope.spans.is_none() && later.contains(&code.value) {
                    deferred.0.push(DeferredCode { code: code.value, unused });
                } else if !has_error {
                    findings.push((code.at.clone(), unused));
                }
            }
        }
        findings.sort_by_key(|(place, _)| place.start);
        (findings.into_iter().map(|(_, finding)| finding).collect(), deferred)
    }
}

/// Collects the places of a table and of everything in it.
fn spans(table: &DeTable<'_>, found: &mut Vec<Range<usize>>) {
    for (key, value) in table.iter() {
        found.push(key.span());
        spans_of_value(value, found);
    }
}

/// Collects the places of a value and of everything in it.
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
    known_keys: BTreeSet<&'static str>,
}

impl<'d> Fields<'d> {
    /// Place of the table.
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// The document of the table.
    pub fn document(&self) -> &'d Document<'d> {
        self.document
    }

    fn value(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.known_keys.insert(key);
        let value = self.table.get(key)?;
        Some(Item { document: self.document, name: key.to_owned(), value })
    }

    /// Reads a text. Returns `None` if the key is absent. If the value is not a text, adds a finding and returns
    /// `None`.
    pub fn text(&mut self, key: &'static str) -> Option<At<&'d str>> {
        self.value(key)?.text()
    }

    /// Reads a text, and adds a finding if the key is absent.
    pub fn needed_text(&mut self, key: &'static str) -> Option<At<&'d str>> {
        if !self.table.contains_key(key) {
            self.missing(key);
        }
        self.text(key)
    }

    /// Adds the finding that a key is missing.
    pub fn missing(&self, key: &str) {
        let finding =
            Finding::error("missing-key", format!("{} has no `{key}`", self.what)).label("missing here");
        self.document.find(finding, self.at());
    }

    /// Reads `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.value(key)?.flag()
    }

    /// Reads a whole number from 0 to 2³²−1.
    pub fn number(&mut self, key: &'static str) -> Option<At<u32>> {
        self.value(key)?.number()
    }

    /// Reads a date without time.
    pub fn date(&mut self, key: &'static str) -> Option<At<Date>> {
        self.value(key)?.date()
    }

    /// Reads a number of bytes, with or without a binary unit (`"8MiB"`).
    pub fn size(&mut self, key: &'static str) -> Option<usize> {
        self.value(key)?.size()
    }

    /// Reads a duration: a number and a unit (`"500ms"`, `"400d"`).
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.value(key)?.duration()
    }

    /// Reads one word of a closed list.
    pub fn choice<T: Clone>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.value(key)?.choice(words)
    }

    /// Reads a list of texts; empty if the key is absent.
    pub fn texts(&mut self, key: &'static str) -> Vec<At<&'d str>> {
        self.value(key).map(|item| item.texts()).unwrap_or_default()
    }

    /// Returns the value itself, for keys that may have several types.
    pub fn item(&mut self, key: &'static str) -> Option<Item<'d>> {
        self.value(key)
    }

    /// Reads a table with known keys.
    pub fn fields(&mut self, key: &'static str, what: &str) -> Option<Fields<'d>> {
        self.value(key)?.fields(what)
    }

    /// Reads a table whose keys are names. Returns each name with its value.
    pub fn entries(&mut self, key: &'static str) -> Vec<(At<&'d str>, Item<'d>)> {
        self.value(key).map(|item| item.entries()).unwrap_or_default()
    }

    /// Reads an array of tables (`[[key]]`); a single table (`[key]`) is an array of one.
    pub fn tables(&mut self, key: &'static str, what: &str) -> Vec<Fields<'d>> {
        let items = self.value(key).map(|item| item.items()).unwrap_or_default();
        items.iter().filter_map(|item| item.fields(what)).collect()
    }

    /// Reads `allow`: the codes of the warnings about this table that are acknowledged. Errors cannot be
    /// acknowledged.
    pub fn allow(&mut self) {
        let document = self.document;
        let mut allowed = Vec::new();
        for code in self.texts("allow") {
            if let Some(known) = finding::WARNINGS.iter().find(|known| **known == code.value) {
                allowed.push(At { value: *known, at: code.at });
            } else if finding::ERRORS.contains(&code.value) {
                let words = format!("`{}` is an error and cannot be acknowledged", code.value);
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

    /// Reports every key that was not read. Call it last.
    pub fn end(self) {
        for (key, _) in self.table.iter() {
            if !self.known_keys.contains(key.get_ref().as_ref()) {
                let name = key.get_ref();
                let finding = Finding::error("unknown-key", format!("unknown key `{name}` in {}", self.what))
                    .label("unknown");
                let hint = suggestion(name, self.known_keys.iter().copied())
                    .unwrap_or_else(|| format!("known: {}", join(self.known_keys.iter().copied())));
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
    /// Place of the value.
    pub fn at(&self) -> Range<usize> {
        self.value.span()
    }

    /// Adds the finding that the value has the wrong type.
    fn wrong(&self, wanted: &str, hint: &str) {
        let found = self.value.get_ref().type_str();
        let finding = Finding::error("wrong-type", format!("`{}` must be {wanted}", self.name));
        self.document.find(finding.label(format!("found: {found}")).hint(hint), self.at());
    }

    /// Returns the value as a text.
    pub fn text(&self) -> Option<At<&'d str>> {
        let text = self.value.get_ref().as_str();
        if text.is_none() {
            self.wrong("a text", "write a text in quotation marks");
        }
        Some(At { value: text?, at: self.at() })
    }

    /// Returns the value as `true` or `false`.
    pub fn flag(&self) -> Option<bool> {
        let flag = self.value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong("a flag", "`true` or `false`, without quotation marks");
        }
        flag
    }

    /// Returns a whole number from 0 to 2³²−1.
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

    /// Returns a text, a whole number or a boolean as a JSON value.
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

    /// Returns a date without time (`2027-06-30`), written as a TOML date or as a text.
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

    /// Returns a number of bytes, written as a whole number or as a text such as `"64KiB"`.
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

    /// Returns a duration such as `"2s"`; a day is 24 hours.
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

    /// Returns the value for one word of a closed list.
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

    /// True if the value is a table.
    pub fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    /// True if the value is a text.
    pub fn is_text(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// True if the value is a list.
    pub fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// Returns a table with known keys; `what` names it in findings.
    pub fn fields(&self, what: &str) -> Option<Fields<'d>> {
        let Some(table) = self.value.get_ref().as_table() else {
            self.wrong("a table", "keys and values: `{ key = value }`, or a section of its own");
            return None;
        };
        let at = self.value.span();
        Some(Fields {
            document: self.document,
            what: what.to_owned(),
            table,
            at,
            known_keys: BTreeSet::new(),
        })
    }

    /// Returns the entries of a table whose keys are names.
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

    /// Returns the elements of a list; any other value is a list of one.
    pub fn items(&self) -> Vec<Item<'d>> {
        let item = |value| Item { document: self.document, name: self.name.clone(), value };
        match self.value.get_ref().as_array() {
            Some(array) => array.iter().map(item).collect(),
            None => vec![item(self.value)],
        }
    }

    /// Returns a list of texts; a single text is a list of one.
    pub fn texts(&self) -> Vec<At<&'d str>> {
        self.items().iter().filter_map(Item::text).collect()
    }
}

/// Parses a date exactly like `2027-06-30`. The date parser alone would accept a time of day or a zone and drop it
/// silently.
fn full_date(text: &str) -> Option<Date> {
    let is_date = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_date.then(|| text.parse().ok())?
}

/// Parses `"65536"`, `"64 KiB"`, `"8MiB"` or `"1GiB"`.
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

/// Joins names for a hint: `a`, `b`, `c`.
pub fn join<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
