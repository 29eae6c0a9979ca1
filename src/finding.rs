//! Findings: the diagnostics about files that are loaded, such as configuration and policy packs.
//!
//! The module belongs to no stratum: it handles text and spans, and does not interpret them.

mod codes;
mod masking;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use serde::Serialize;

pub use codes::{ERRORS, STATE_WARNINGS, WARNINGS};

/// A text with the name under which it was read.
#[derive(Clone, Debug)]
pub struct Source {
    name: Arc<str>,
    text: Arc<str>,
    /// The text of which findings show excerpts. As long as `text`.
    shown: Arc<str>,
}

impl Source {
    /// Creates a source.
    pub fn new(name: impl Into<Arc<str>>, text: impl Into<Arc<str>>) -> Source {
        let text = text.into();
        Source { name: name.into(), shown: Arc::clone(&text), text }
    }

    /// Masks passwords in the excerpts that findings show.
    #[must_use]
    pub fn with_masked_passwords(self) -> Source {
        Source { shown: masking::masked(&self.text).into(), ..self }
    }

    /// The path as the operator wrote it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// An error or a warning about a file, with its location and a hint.
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

/// A place in a text.
#[derive(Clone, Debug)]
struct SourceLocation {
    source: NamedSource<Arc<str>>,
    span: SourceSpan,
}

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file loads, but a part of it can never take effect or is probably unintended.
    Warning,
    /// A warning that an `allow` acknowledges: it is counted but not printed.
    Acknowledged,
}

/// A finding in parts, for programs.
#[derive(Clone, Debug, Serialize)]
pub struct FindingReport<'f> {
    /// The stable code.
    pub code: &'static str,
    /// The severity.
    pub severity: Severity,
    /// The message.
    pub message: &'f str,
    /// Name of the file; absent if the finding has no place.
    pub file: Option<&'f str>,
    /// Line number, counted from 1.
    pub line: Option<usize>,
    /// Column in characters, counted from 1.
    pub column: Option<usize>,
    /// The words for what is marked at this place.
    pub label: &'f str,
    /// The line of the file, with secrets masked; absent if the finding has no place.
    pub excerpt: Option<&'f str>,
    /// The hint: how to correct the mistake.
    pub hint: Option<&'f str>,
}

impl Finding {
    /// Creates an error with a code of [`ERRORS`]: the file does not load.
    pub fn error(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(code, message, Severity::Error)
    }

    /// Creates a warning with a code of [`WARNINGS`]: the file loads.
    pub fn warning(code: &'static str, message: impl Into<String>) -> Finding {
        Finding::new(code, message, Severity::Warning)
    }

    fn new(code: &'static str, message: impl Into<String>, severity: Severity) -> Finding {
        Finding { code, message: message.into(), label: "here".into(), hint: None, severity, place: None }
    }

    /// The stable code of this kind of finding, for `allow` and for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// Marks a warning as acknowledged. An error stays an error.
    pub(crate) fn acknowledge(&mut self) {
        if self.severity == Severity::Warning {
            self.severity = Severity::Acknowledged;
        }
    }

    /// Sets the place, as a byte range of the source's text.
    #[must_use]
    pub fn at(mut self, source: &Source, range: Range<usize>) -> Finding {
        let source = NamedSource::new(source.name(), Arc::clone(&source.shown));
        self.place = Some(Box::new(SourceLocation { source, span: range.into() }));
        self
    }

    /// True if the finding has a place.
    pub fn has_place(&self) -> bool {
        self.place.is_some()
    }

    /// Replaces the message.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Finding {
        Finding { message: message.into(), ..self }
    }

    /// Sets the label of the marked excerpt.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Finding {
        self.label = label.into();
        self
    }

    /// Sets the hint: how to correct the mistake.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// Formats the finding on one line, with file and line number.
    pub fn line(&self) -> String {
        match self.report() {
            FindingReport { file: Some(file), line: Some(line), message, .. } => {
                format!("{file}:{line}: {message}")
            }
            FindingReport { message, .. } => message.to_owned(),
        }
    }

    /// Returns the finding in parts, for programs.
    pub fn report(&self) -> FindingReport<'_> {
        let place = self.place.as_ref();
        let before = place.map(|place| place.source.inner().get(..place.span.offset()).unwrap_or_default());
        let line = before.map(|before| before.bytes().filter(|byte| *byte == b'\n').count() + 1);
        let last_line = before.map(|before| before.rsplit('\n').next().unwrap_or_default());
        let excerpt = place.zip(last_line).map(|(place, begin)| {
            let from = place.span.offset() - begin.len();
            place.source.inner().get(from..).and_then(|rest| rest.lines().next()).unwrap_or_default()
        });
        FindingReport {
            code: self.code,
            severity: self.severity,
            message: &self.message,
            file: place.map(|place| place.source.name()),
            line,
            column: last_line.map(|text| text.chars().count() + 1),
            label: &self.label,
            excerpt,
            hint: self.hint.as_deref(),
        }
    }

    /// True for an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// True for a warning that is not acknowledged.
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

/// Maximum number of names in a hint.
const MAX_NEAR: usize = 5;
/// Maximum length in bytes of a word for which near names are searched. A request can trigger the search, so its
/// cost is bounded.
const MAX_MISSPELT: usize = 64;

/// Returns a hint that suggests the nearest of the `known` names for an unknown word, if there is one.
pub fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let near = near_matches(word, known);
    let (last, others) = near.split_last()?;
    Some(match others {
        [] => format!("did you mean `{last}`?"),
        others => format!("did you mean `{}` or `{last}`?", others.join("`, `")),
    })
}

/// Maximum number of names that are listed for a word that resembles none.
const MAX_LISTED: usize = 9;

/// As [`suggestion`]. If no name is near and they are few, the hint lists them.
pub fn suggestion_or_list<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    let list = || (1..=MAX_LISTED).contains(&known.len()).then(|| format!("it has `{}`", known.join("`, `")));
    suggestion(word, known.iter().copied()).or_else(list)
}

/// Returns the `known` name that is nearest to a misspelt word. If several are equally near, returns the first.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    near_matches(word, known).into_iter().next()
}

/// Returns the `known` names that a misspelt word may mean. The kinds of similarity are tried in this order; the
/// first one that matches counts:
///
/// * another spelling (`Customer_Support`);
/// * a typing error (at most one in three letters);
/// * one of the name's parts (`partner` for `business-partner`);
/// * all of the name's parts and more (`email-address` for `email`);
/// * a typing error in one of the parts (`reseller` for `reselling-partner`).
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

/// Minimum length in bytes of a hyphenated part that is compared with a misspelt word: short parts resemble too
/// many words.
const MIN_PART: usize = 6;

/// Returns the distance between a word and the nearest long part of a name, if it is small.
fn slips_in_a_part(word: &str, name: &str) -> Option<usize> {
    let parts = name.split('-').filter(|part| part.len() >= MIN_PART);
    let slips = parts.map(|part| (distance(word, part), part.chars().count() / 3));
    slips.filter(|(slips, bound)| slips <= bound).map(|(slips, _)| slips).min()
}

/// Converts a word to lower case, with its parts joined by hyphens.
fn fold(word: &str) -> Cow<'_, str> {
    let folded = |c: char| !c.is_uppercase() && c != '_' && c != ' ';
    match word.chars().all(folded) {
        true => Cow::Borrowed(word),
        false => Cow::Owned(word.to_lowercase().replace(['_', ' '], "-")),
    }
}

/// True if the hyphenated parts of `inner` occur consecutively among those of `outer`.
fn contains_parts(outer: &str, inner: &str) -> bool {
    !inner.is_empty() && format!("-{outer}-").contains(&format!("-{inner}-"))
}

/// Returns the number of typing errors between two words: an extra letter, a missing letter, a wrong letter or two
/// adjacent letters swapped (the optimal string alignment distance).
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
            // The last two letters of one are those of the other, swapped.
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
    fn nearest_finds_a_typing_error_and_nothing_far_away() {
        let known = ["direct-marketing", "billing", "hosting"];
        assert_eq!(nearest("direct-marketting", known), Some("direct-marketing"));
        assert_eq!(nearest("billling", known), Some("billing"));
        assert_eq!(nearest("weather", known), None);
    }

    #[test]
    fn a_few_names_are_listed_for_a_word_that_resembles_none() {
        let listed = suggestion_or_list("nobody", ["support", "reseller"]);
        assert_eq!(listed.as_deref(), Some("it has `support`, `reseller`"));
        let near = suggestion_or_list("suport", ["support", "reseller"]);
        assert_eq!(near.as_deref(), Some("did you mean `support`?"));
        assert_eq!(suggestion_or_list("nobody", []), None);
        assert_eq!(suggestion_or_list("nobody", ["support"; 10]), None);
    }

    #[test]
    fn nearest_allows_one_typing_error_in_a_short_word() {
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
    fn distance_counts_typing_errors() {
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
