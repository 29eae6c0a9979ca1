//! What stays of a record is looked through: for what reaches a person (`redact`), and for what the
//! record withholds elsewhere (value echo). What is found is replaced by a marker.
//!
//! Refuses to decide what is withheld: that was decided before. It only ever takes away. Escapes,
//! percent-encoding and look-alikes hide nothing ([`legible`]).

mod escapes;
mod identifiers;
mod normalize;
mod value_echo;

use std::ops::Range;

use super::lex::unquoted;
use super::unreadable::BodyFault;
use normalize::NormalizedText;
use value_echo::{EchoSearcher, WithheldValues};

/// Stands for what was found.
pub(super) const MARKER: &str = "[redacted]";

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct SearchTerms {
    withheld: WithheldValues,
}

impl SearchTerms {
    /// Adds the value of a node that does not leave as it is.
    pub(super) fn add(&mut self, value: &[u8]) {
        match value.first() {
            Some(b'"') => self.withheld.add(&unquoted(value)),
            Some(b'-' | b'0'..=b'9') => self.withheld.add(value),
            // Of the others there are too few to tell anything.
            Some(_) | None => {}
        }
    }

    /// Adds a member's name.
    pub(super) fn add_name(&mut self, denoted: &[u8]) {
        self.withheld.add(denoted);
    }

    /// Begins to look.
    ///
    /// # Errors
    /// If there are too many values.
    pub(super) fn redactor(self) -> Result<TextRedactor, BodyFault> {
        Ok(TextRedactor { echo: self.withheld.searcher()?, found: Vec::new() })
    }
}

/// Looks through values.
#[derive(Debug)]
pub(super) struct TextRedactor {
    echo: Option<EchoSearcher>,
    found: Vec<Range<usize>>,
}

impl TextRedactor {
    /// The scalar as it may leave; none if as it is. `redacts`: what reaches a person goes too.
    ///
    /// # Errors
    /// If the work takes too long.
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

    /// Whether there are values to look for.
    pub(super) fn has_terms(&self) -> bool {
        self.echo.is_some()
    }

    /// Whether what is looked for is in a text.
    ///
    /// # Errors
    /// If the work takes too long.
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
            let legible = NormalizedText::new(denoted);
            if legible.is_opaque() {
                self.found.push(0..denoted.len());
            }
            if legible.bytes() != denoted {
                // What reads like something else may be one as it is spelled.
                identifiers::find(denoted, &mut self.found);
            }
            let from = self.found.len();
            identifiers::find(legible.bytes(), &mut self.found);
            for span in self.found.iter_mut().skip(from) {
                *span = legible.origin(span);
            }
            if let Some(untagged) = legible.without_tags() {
                let from = self.found.len();
                identifiers::emails(untagged.bytes(), &mut self.found);
                for span in self.found.iter_mut().skip(from) {
                    *span = untagged.origin(span);
                }
            }
        }
        Ok(())
    }

    /// The text as JSON with a marker in the place of each stretch that was found.
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
        // Half of a surrogate pair cannot be written: then nothing but the marker is.
        let text = std::str::from_utf8(&text).unwrap_or(MARKER);
        serde_json::Value::from(text).to_string()
    }
}
