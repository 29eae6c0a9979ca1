//! Replaces parts of kept text by a marker: personal identifiers such as e-mail addresses (`redact`), and
//! values that the same record withholds elsewhere (`withhold-echoes`).
//!
//! The module does not decide which values are withheld, and it only ever removes text. Escapes,
//! percent-encoding and look-alike characters do not hide a value from the search ([`normalize`]).

mod escapes;
mod identifiers;
mod normalize;
mod value_echo;

use std::ops::Range;

use super::lex::unquoted;
use super::unreadable::BodyFault;
use normalize::NormalizedText;
use value_echo::{EchoSearcher, WithheldValues};

/// The text that replaces each match.
pub(super) const MARKER: &str = "[redacted]";

/// Collects the values that a record withholds.
#[derive(Debug, Default)]
pub(super) struct SearchTerms {
    withheld: WithheldValues,
}

impl SearchTerms {
    /// Adds the value of a node that is dropped or changed.
    pub(super) fn add(&mut self, value: &[u8]) {
        match value.first() {
            Some(b'"') => self.withheld.add(&unquoted(value)),
            Some(b'-' | b'0'..=b'9') => self.withheld.add(value),
            // `true`, `false` and `null` occur too often to identify anything.
            Some(_) | None => {}
        }
    }

    /// Adds the name of a member that is dropped.
    pub(super) fn add_name(&mut self, denoted: &[u8]) {
        self.withheld.add(denoted);
    }

    /// Builds the search for these values.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooCostly`] if there are too many values.
    pub(super) fn redactor(self) -> Result<TextRedactor, BodyFault> {
        Ok(TextRedactor { echo: self.withheld.searcher()?, found: Vec::new() })
    }
}

/// Searches kept text and replaces the matches.
#[derive(Debug)]
pub(super) struct TextRedactor {
    echo: Option<EchoSearcher>,
    found: Vec<Range<usize>>,
}

impl TextRedactor {
    /// Returns the scalar with its matches replaced, or `None` if it has no match. A number that matches becomes
    /// `null`. If `redacts` is true, personal identifiers match as well.
    ///
    /// # Errors
    /// [`BodyFault::TooCostly`] if the search has too many matches.
    pub(super) fn redact(&mut self, value: &[u8], redacts: bool) -> Result<Option<String>, BodyFault> {
        let string = value.first() == Some(&b'"');
        if !string && !matches!(value.first(), Some(b'-' | b'0'..=b'9')) {
            return Ok(None);
        }
        let denoted = if string { unquoted(value) } else { value.into() };
        self.find(&denoted, redacts)?;
        if self.found.is_empty() {
            return Ok(None);
        }
        Ok(Some(if string { self.with_markers(&denoted) } else { "null".to_owned() }))
    }

    /// True if there are withheld values to search for.
    pub(super) fn has_terms(&self) -> bool {
        self.echo.is_some()
    }

    /// True if a text has a match.
    ///
    /// # Errors
    /// [`BodyFault::TooCostly`] if the search has too many matches.
    pub(super) fn is_found_in(&mut self, denoted: &[u8], redacts: bool) -> Result<bool, BodyFault> {
        self.find(denoted, redacts)?;
        Ok(!self.found.is_empty())
    }

    fn find(&mut self, denoted: &[u8], redacts: bool) -> Result<(), BodyFault> {
        self.found.clear();
        if let Some(echo) = &mut self.echo {
            echo.find(denoted, &mut self.found)?;
        }
        if redacts {
            let normalized = NormalizedText::new(denoted);
            if normalized.is_opaque() {
                self.found.push(0..denoted.len());
            }
            if normalized.bytes() != denoted {
                // A text that normalisation changes may be an identifier in its original spelling.
                identifiers::find(denoted, &mut self.found);
            }
            let from = self.found.len();
            identifiers::find(normalized.bytes(), &mut self.found);
            for span in self.found.iter_mut().skip(from) {
                *span = normalized.origin(span);
            }
            if let Some(untagged) = normalized.without_tags() {
                let from = self.found.len();
                identifiers::emails(untagged.bytes(), &mut self.found);
                for span in self.found.iter_mut().skip(from) {
                    *span = untagged.origin(span);
                }
            }
        }
        Ok(())
    }

    /// Returns the text as a JSON string with a marker in the place of each match.
    fn with_markers(&mut self, denoted: &[u8]) -> String {
        self.found.sort_unstable_by_key(|span| span.start);
        let mut text = Vec::with_capacity(denoted.len());
        let mut done = 0;
        for span in &self.found {
            if span.start >= done || text.is_empty() {
                text.extend_from_slice(denoted.get(done..span.start).unwrap_or_default());
                text.extend_from_slice(MARKER.as_bytes());
            }
            done = done.max(span.end);
        }
        text.extend_from_slice(denoted.get(done..).unwrap_or_default());
        // A lone surrogate cannot be written as UTF-8. The marker then replaces the whole text.
        let text = std::str::from_utf8(&text).unwrap_or(MARKER);
        serde_json::Value::from(text).to_string()
    }
}
