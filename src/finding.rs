//! What is wrong with a file that somebody wrote: the diagnostic of everything that loads.
//!
//! It belongs to no stratum: it knows text and spans, and nothing of what they mean.

mod codes;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use serde::Serialize;

pub use codes::{ERRORS, WARNINGS};

/// A text with the name it was read under.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
}

impl Source {
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Source {
        Source { name: name.into(), text: text.into() }
    }

    /// The path as the operator wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// One thing that is wrong (or worth knowing) about a file, with the place and a hint.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Finding {
    code: &'static str,
    message: String,
    label: String,
    hint: Option<String>,
    severity: Severity,
    place: Option<Box<SourceLocation>>,
}

#[derive(Clone, Debug)]
struct SourceLocation {
    source: NamedSource<Arc<str>>,
    span: SourceSpan,
}

/// The weight of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file loads, and something in it can never work or can surprise.
    Warning,
    /// A warning that an `allow` beside it acknowledges: it is counted and not printed.
    Acknowledged,
}

/// One finding as a program reads it.
#[derive(Clone, Debug, Serialize)]
pub struct FindingReport<'f> {
    pub code: &'static str,
    pub severity: Severity,
    pub message: &'f str,
    pub file: Option<&'f str>,
    /// Counted from 1.
    pub line: Option<usize>,
    /// In characters, counted from 1.
    pub column: Option<usize>,
    pub hint: Option<&'f str>,
}

impl Finding {
    /// An error, with its code of [`ERRORS`]: what it stands in does not load.
    pub fn error(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(code, message, Severity::Error)
    }

    /// A warning, with its code of [`WARNINGS`]: loads, and is worth a look.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(code, message, Severity::Warning)
    }

    fn new(code: &'static str, message: impl Into<String>, severity: Severity) -> Finding {
        Finding { code, message: message.into(), label: "here".into(), hint: None, severity, place: None }
    }

    /// The stable name of this kind of finding, for `allow` and for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Marks a warning as acknowledged; an error stays one.
    pub(crate) fn acknowledge(&mut self) {
        if self.severity == Severity::Warning {
            self.severity = Severity::Acknowledged;
        }
    }

    /// The place, as a byte range of the source's text.
    #[must_use]
    pub fn at(mut self, source: &Source, range: Range<usize>) -> Finding {
        let source = NamedSource::new(source.name(), Arc::clone(&source.text));
        self.place = Some(Box::new(SourceLocation { source, span: range.into() }));
        self
    }

    /// The words beside the marked excerpt.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Finding {
        self.label = label.into();
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// On one line, with the file and the line that it is about.
    pub fn line(&self) -> String {
        match self.report() {
            FindingReport { file: Some(file), line: Some(line), message, .. } => {
                format!("{file}:{line}: {message}")
            }
            FindingReport { message, .. } => message.to_owned(),
        }
    }

    /// The finding in parts, for a program.
    pub fn report(&self) -> FindingReport<'_> {
        let place = self.place.as_ref();
        let before = place.map(|place| place.source.inner().get(..place.span.offset()).unwrap_or_default());
        let line = before.map(|before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
        let last_line = before.map(|before| before.rsplit('\n').next().unwrap_or_default());
        FindingReport {
            code: self.code,
            severity: self.severity,
            message: &self.message,
            file: place.map(|place| place.source.name()),
            line,
            column: last_line.map(|text| text.chars().count() + 1),
            hint: self.hint.as_deref(),
        }
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// True for a warning that nothing acknowledges.
    pub fn is_warning(&self) -> bool {
        self.severity == Severity::Warning
    }
}

impl Diagnostic for Finding {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
            Severity::Acknowledged => miette::Severity::Advice,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.place.as_ref().map(|place| &place.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let place = self.place.as_ref()?;
        let label = LabeledSpan::new_primary_with_span(Some(self.label.clone()), place.span);
        Some(Box::new(std::iter::once(label)))
    }
}

/// Words that a hint names at most.
const MAX_NEAR: usize = 5;
/// Bytes of a word that others are compared with: finding the nearest takes time, and a request may ask for it.
const MAX_MISSPELT: usize = 64;

/// The hint to a word that is none of `known`: the nearest of them, where there is one.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = near_matches(word, known);
    let (last, others) = near.split_last()?;
    Some(match others {
        [] => format!("did you mean `{last}`?"),
        others => format!("did you mean `{}` or `{last}`?", others.join("`, `")),
    })
}

/// The nearest of `known` to a misspelt word; the first of several.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near_matches(word, known).into_iter().next()
}

/// Those of `known` that a misspelt word may mean, the best kind of likeness alone: another spelling
/// (`Customer_Support`), a slip of the keyboard (at most one in three letters), one of its words
/// (`partner` for `business-partner`), more than its words (`email-address` for `email`), or a slip in one of its
/// words (`reseller` for `reselling-partner`).
fn near_matches<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    if word.len() > MAX_MISSPELT {
        return Vec::new();
    }
    let folded = fold(word);
    let known: Vec<(&str, Cow<'_, str>)> =
        known.into_iter().map(|candidate| (candidate, fold(candidate))).collect();
    if let Some((candidate, _)) = known.iter().find(|(_, candidate)| *candidate == folded) {
        return vec![candidate];
    }
    let slips = known.iter().map(|(name, candidate)| (distance(&folded, candidate), *name));
    let slips = slips.filter(|(distance, name)| *distance <= (name.chars().count() / 3).max(1));
    if let Some((_, name)) = slips.min_by_key(|(distance, _)| *distance) {
        return vec![name];
    }
    let mut longer =
        known.iter().filter(|(_, candidate)| contains_parts(candidate, &folded)).map(|(name, _)| *name);
    let longer: Vec<&str> = longer.by_ref().take(MAX_NEAR).collect();
    if !longer.is_empty() {
        return longer;
    }
    let shorter =
        known.iter().filter(|(_, candidate)| contains_parts(&folded, candidate)).map(|(name, _)| *name);
    if let Some(shorter) = shorter.max_by_key(|name| name.len()) {
        return vec![shorter];
    }
    let parts =
        known.iter().filter_map(|(name, candidate)| Some((slips_in_a_part(&folded, candidate)?, *name)));
    let mut parts: Vec<(usize, &str)> = parts.collect();
    parts.sort_by_key(|(slips, _)| *slips);
    let least = parts.first().map(|(slips, _)| *slips);
    let nearest = parts.into_iter().take_while(|(slips, _)| Some(*slips) == least);
    nearest.map(|(_, name)| name).take(MAX_NEAR).collect()
}

/// Bytes of the shortest hyphenated part that a misspelt word is compared with: short ones are near to anything.
const MIN_PART: usize = 6;

/// How many slips lie between a word and the nearest long part of a name, where they are few.
fn slips_in_a_part(word: &str, name: &str) -> Option<usize> {
    let parts = name.split('-').filter(|part| part.len() >= MIN_PART);
    let slips = parts.map(|part| (distance(word, part), part.chars().count() / 3));
    slips.filter(|(slips, bound)| slips <= bound).map(|(slips, _)| slips).min()
}

/// A word in small letters, its parts joined by hyphens.
fn fold(word: &str) -> Cow<'_, str> {
    let folded = |c: char| !c.is_uppercase() && c != '_' && c != ' ';
    match word.chars().all(folded) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(word.to_lowercase().replace(['_', ' '], "-")),
    }
}

/// True if the hyphenated parts of `inner` stand one after the other among those of `outer`.
fn contains_parts(outer: &str, inner: &str) -> bool {
    !inner.is_empty() && format!("-{outer}-").contains(&format!("-{inner}-"))
}

/// How many slips of the keyboard lie between two words: a letter too many, too few, another one, or
/// two neighbours swapped (the optimal string alignment distance).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut before = row.clone();
    let mut last = None;
    for (i, from) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (j, to) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX - 1);
            let edited =
                (cell(&row, j) + usize::from(from != *to)).min(cell(&row, j + 1) + 1).min(cell(&next, j) + 1);
            // The last two letters of both, the other way round.
            let swapped = j > 0 && last == Some(*to) && b.get(j - 1) == Some(&from);
            next.push(if swapped { edited.min(cell(&before, j - 1) + 1) } else { edited });
        }
        before = std::mem::replace(&mut row, next);
        last = Some(from);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_a_typing_slip_and_nothing_far_away() {
        let known = ["direct-marketing", "billing", "hosting"];
        assert_eq!(nearest("direct-marketting", known), Some("direct-marketing"));
        assert_eq!(nearest("billling", known), Some("billing"));
        assert_eq!(nearest("weather", known), None);
    }

    #[test]
    fn nearest_forgives_one_slip_in_a_short_word_and_no_more() {
        let known = ["name", "email", "phone", "ip-address"];
        for (slip, meant) in [
            ("emial", "email"),
            ("emal", "email"),
            ("e-mail", "email"),
            ("nmae", "name"),
            ("phonne", "phone"),
        ] {
            assert_eq!(nearest(slip, known), Some(meant), "{slip}");
        }
        assert_eq!(nearest("ip-adrress", known), Some("ip-address"));
        assert_eq!(nearest("elami", known), None);
        assert_eq!(nearest("nick", known), None);
    }

    #[test]
    fn near_words_share_a_spelling_or_a_part() {
        let kinds =
            ["employee", "reselling-partner", "marketing-partner", "business-partner", "hosting-provider"];
        assert_eq!(
            suggestion("partner", kinds).as_deref(),
            Some("did you mean `reselling-partner`, `marketing-partner` or `business-partner`?")
        );
        assert_eq!(suggestion("Employee", kinds).as_deref(), Some("did you mean `employee`?"));
        assert_eq!(
            suggestion("Hosting_Provider", kinds).as_deref(),
            Some("did you mean `hosting-provider`?")
        );
        assert_eq!(
            suggestion("business-partner-emea", kinds).as_deref(),
            Some("did you mean `business-partner`?")
        );
        assert_eq!(suggestion("art", kinds), None, "a part of a word is not one of its words");
        assert_eq!(suggestion("", kinds), None);
    }

    #[test]
    fn a_report_counts_lines_and_characters_from_one() {
        let source = Source::new("gate.toml", "a = 1\nä = 2\n");
        let finding = Finding::warning("no-route", "x").at(&source, 9..10);
        let report = finding.report();
        assert_eq!((report.file, report.line, report.column), (Some("gate.toml"), Some(2), Some(3)));
        let nowhere = Finding::error("not-toml", "x");
        assert_eq!((nowhere.report().file, nowhere.report().line), (None, None));
    }

    #[test]
    fn an_error_cannot_be_acknowledged() {
        let (mut error, mut warning) = (Finding::error("not-toml", "x"), Finding::warning("no-route", "x"));
        error.acknowledge();
        warning.acknowledge();
        assert!(error.is_error() && !warning.is_warning());
    }

    #[test]
    fn distance_counts_slips() {
        for (a, b, slips) in [
            ("", "", 0),
            ("", "ab", 2),
            ("ab", "", 2),
            ("ab", "ba", 1),
            ("abc", "acb", 1),
            ("abcd", "badc", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn a_finding_shows_the_place_and_the_hint() {
        let source = Source::new("gate.toml", "[listner]\n");
        let finding = Finding::error("unknown-key", "unknown key `listner`")
            .at(&source, 1..8)
            .hint("did you mean `listener`?");
        assert_eq!(finding.line(), "gate.toml:1: unknown key `listner`");
        let mut text = String::new();
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none())
            .render_report(&mut text, &finding)
            .expect("renders");
        assert!(
            text.contains("gate.toml") && text.contains("listner") && text.contains("did you mean"),
            "{text}"
        );
    }
}
