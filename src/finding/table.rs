//! A TOML table read key by key, every mistake collected.
//!
//! serde stops at the first mistake; an operator wants them all in one go. So a table is asked for
//! its keys one after the other, each answer is a value with its place or `None` with a finding,
//! and what nobody asked for is an unknown key.

use std::cell::RefCell;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Finding, Source, nearest};

/// Where mistakes gather.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<Finding>>);

impl Findings {
    pub fn push(&self, finding: Finding) {
        self.0.borrow_mut().push(finding);
    }

    pub fn extend(&self, findings: impl IntoIterator<Item = Finding>) {
        self.0.borrow_mut().extend(findings);
    }

    pub fn any_error(&self) -> bool {
        self.0.borrow().iter().any(Finding::is_error)
    }

    pub fn into_vec(self) -> Vec<Finding> {
        self.0.into_inner()
    }
}

/// A value with its place in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

impl<T> At<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> At<U> {
        At { value: f(self.value), span: self.span }
    }
}

/// One table of a document.
#[derive(Debug)]
pub struct Table<'d> {
    source: &'d Source,
    findings: &'d Findings,
    entries: &'d DeTable<'d>,
    span: Range<usize>,
    known: RefCell<Vec<&'static str>>,
}

impl<'d> Table<'d> {
    /// The whole document's table. Syntax errors become findings; what could be read is read.
    pub fn document(source: &'d Source, findings: &'d Findings) -> Spanned<DeTable<'d>> {
        let (table, errors) = DeTable::parse_recoverable(source.text());
        for error in errors {
            let finding = Finding::error(error.message().trim().to_owned()).label("not TOML");
            findings.push(match error.span() {
                Some(span) => finding.at(source, span),
                None => finding.at(source, 0..0),
            });
        }
        table
    }

    pub fn new(source: &'d Source, findings: &'d Findings, table: &'d Spanned<DeTable<'d>>) -> Table<'d> {
        Table::over(source, findings, table.get_ref(), table.span())
    }

    fn over(source: &'d Source, findings: &'d Findings, entries: &'d DeTable<'d>, span: Range<usize>) -> Table<'d> {
        Table { source, findings, entries, span, known: RefCell::default() }
    }

    pub fn source(&self) -> &'d Source {
        self.source
    }

    pub fn findings(&self) -> &'d Findings {
        self.findings
    }

    /// The place of the table itself, for what is missing in it.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// The value as TOML has it, of whatever type.
    pub fn value(&self, key: &'static str) -> Option<&'d Spanned<DeValue<'d>>> {
        self.known.borrow_mut().push(key);
        self.entries.get(key)
    }

    pub fn text(&self, key: &'static str) -> Option<At<String>> {
        let value = self.value(key)?;
        self.as_text(value)
    }

    pub fn required_text(&self, key: &'static str) -> Option<At<String>> {
        self.require(key)?;
        self.text(key)
    }

    pub fn flag(&self, key: &'static str) -> Option<At<bool>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(At { value: *flag, span: value.span() }),
            _ => self.mistyped(value, "true or false"),
        }
    }

    pub fn integer(&self, key: &'static str) -> Option<At<u64>> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number {
            Some(number) => Some(At { value: number, span: value.span() }),
            None => self.mistyped(value, "a whole number, not negative"),
        }
    }

    /// A list of strings; a single string is a list of one.
    pub fn texts(&self, key: &'static str) -> Option<Vec<At<String>>> {
        let value = self.value(key)?;
        self.as_texts(value)
    }

    pub fn table(&self, key: &'static str) -> Option<Table<'d>> {
        let value = self.value(key)?;
        self.as_table(value, "a table")
    }

    /// An array of tables; a single table is an array of one.
    pub fn tables(&self, key: &'static str) -> Vec<Table<'d>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Array(items) => {
                items.iter().filter_map(|item| self.as_table(item, "a table")).collect()
            }
            _ => self.as_table(value, "a table or an array of tables").into_iter().collect(),
        }
    }

    /// Every entry, for a table whose keys are names that the operator chose.
    pub fn entries(&self) -> impl Iterator<Item = (At<&'d str>, &'d Spanned<DeValue<'d>>)> {
        self.entries
            .iter()
            .map(|(key, value)| (At { value: key.get_ref().as_ref(), span: key.span() }, value))
    }

    pub fn as_text(&self, value: &'d Spanned<DeValue<'d>>) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.to_string(), span: value.span() }),
            _ => self.mistyped(value, "a string"),
        }
    }

    pub fn as_texts(&self, value: &'d Spanned<DeValue<'d>>) -> Option<Vec<At<String>>> {
        match value.get_ref() {
            DeValue::String(_) => self.as_text(value).map(|text| vec![text]),
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.as_text(item)).collect()),
            _ => self.mistyped(value, "a string or a list of strings"),
        }
    }

    pub fn as_table(&self, value: &'d Spanned<DeValue<'d>>, wanted: &str) -> Option<Table<'d>> {
        match value.get_ref() {
            DeValue::Table(entries) => Some(Table::over(self.source, self.findings, entries, value.span())),
            _ => self.mistyped(value, wanted),
        }
    }

    /// A finding at a place in this table's source.
    pub fn error(&self, span: Range<usize>, message: impl Into<String>) -> Finding {
        Finding::error(message).at(self.source, span)
    }

    /// Reports every key that nobody asked for.
    pub fn report_unknown(&self) {
        let known = self.known.borrow();
        for key in self.entries.keys() {
            let word: &str = key.get_ref();
            if known.contains(&word) {
                continue;
            }
            let finding = self.error(key.span(), format!("unknown key `{word}`")).label("not a key of this table");
            self.findings.push(match nearest(word, known.iter().copied()) {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint(format!("the keys here are: {}", known.join(", "))),
            });
        }
    }

    fn require(&self, key: &'static str) -> Option<()> {
        self.known.borrow_mut().push(key);
        if self.entries.contains_key(key) {
            return Some(());
        }
        let finding = self.error(self.span(), format!("`{key}` is missing")).label("in this table");
        self.findings.push(finding);
        None
    }

    fn mistyped<T>(&self, value: &Spanned<DeValue<'_>>, wanted: &str) -> Option<T> {
        let found = value.get_ref().type_str();
        let finding = self.error(value.span(), format!("expected {wanted}, found {found}")).label("of another type");
        self.findings.push(finding);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_found_in_one_go() {
        let source = Source::new("x.toml", "adress = 1\nsize = \"big\"\n[tls]\nkey = 4\n");
        let findings = Findings::default();
        let document = Table::document(&source, &findings);
        let table = Table::new(&source, &findings, &document);
        assert!(table.text("address").is_none());
        assert!(table.integer("size").is_none());
        let tls = table.table("tls").expect("is a table");
        assert!(tls.required_text("certificate").is_none());
        assert!(tls.text("key").is_none());
        tls.report_unknown();
        table.report_unknown();
        let messages: Vec<String> = findings.into_vec().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "expected a whole number, not negative, found string",
                "`certificate` is missing",
                "expected a string, found integer",
                "unknown key `adress`",
            ]
        );
    }
}
