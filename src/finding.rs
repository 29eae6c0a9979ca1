//! What is wrong with a file that somebody wrote: the diagnostic of everything that loads.
//!
//! It belongs to no stratum: it knows text and spans, and nothing of what they mean.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode, SourceSpan};

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
    message: String,
    label: String,
    hint: Option<String>,
    severity: Severity,
    place: Option<Box<Place>>,
}

#[derive(Clone, Debug)]
struct Place {
    source: NamedSource<Arc<str>>,
    span: SourceSpan,
}

impl Finding {
    /// An error: what it stands in does not load.
    pub fn error(message: impl Into<String>) -> Finding {
        Finding::new(message, Severity::Error)
    }

    /// Loads, and is worth a look.
    pub fn warning(message: impl Into<String>) -> Finding {
        Finding::new(message, Severity::Warning)
    }

    fn new(message: impl Into<String>, severity: Severity) -> Finding {
        Finding { message: message.into(), label: "here".into(), hint: None, severity, place: None }
    }

    /// The place, as a byte range of the source's text.
    #[must_use]
    pub fn at(mut self, source: &Source, range: Range<usize>) -> Finding {
        let source = NamedSource::new(source.name(), Arc::clone(&source.text));
        self.place = Some(Box::new(Place { source, span: range.into() }));
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
        let Some(place) = &self.place else { return self.message.clone() };
        let before = place.source.inner().get(..place.span.offset()).unwrap_or_default();
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        format!("{}:{line}: {}", place.source.name(), self.message)
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Diagnostic for Finding {
    fn severity(&self) -> Option<Severity> {
        Some(self.severity)
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

/// The nearest of `known` to a misspelt word, for a hint: at most one slip in three letters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
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
        let finding =
            Finding::error("unknown key `listner`").at(&source, 1..8).hint("did you mean `listener`?");
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
