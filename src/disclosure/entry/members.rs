//! Writes the members of heads and details.

use std::sync::Arc;

use super::cbor::MapWriter;
use super::dictionary::{FactorList, Ruling};
use super::schema::{DetailKey, HeadKey};
use crate::decision::Reason;
use crate::disclosure::record::{ExchangeMode, Outcome, Verdict, WouldRelease};
use crate::keys::{EpochPseudonyms, LoggedPerson, random};
use crate::vocabulary::Basis;

/// Maximum length of a name in bytes. Longer ones are cut; the configuration has none that is nearly as long.
pub(super) const MAX_NAME: usize = 4096;

/// Maximum length of a text in a detail, in bytes.
pub(super) const MAX_TEXT: usize = 4096;

/// Maximum length of the declared purpose and of the case, in bytes: that of the request's header.
pub(super) const MAX_DECLARED: usize = 256;

/// Maximum number of bytes that a ruling spends on its rules, and on its clauses; an observed one also on those of enforcing,
/// instead of its own. The rest is cut.
const MAX_LIST: usize = 24 << 10;

/// Number of bytes that most details need.
const TYPICAL_DETAIL: usize = 192;

/// Returns the longest prefix that is at most `max` bytes long.
pub(super) fn cut(text: &str, max: usize) -> &str {
    (0..=max.min(text.len())).rev().find_map(|end| text.get(..end)).unwrap_or_default()
}

/// Begins a detail with its salt. Without random bytes the salt is zero, and the entry is not written
/// ([`super::Entry::is_salted`]).
pub(super) fn begin_detail() -> MapWriter {
    let salt = random::bits().unwrap_or(0);
    let mut bytes = Vec::with_capacity(TYPICAL_DETAIL);
    bytes.extend_from_slice(&salt.to_le_bytes());
    MapWriter::begin(bytes)
}

/// Returns a detail without members.
pub(super) fn empty_detail() -> Vec<u8> {
    begin_detail().finish()
}

/// Returns the number of an outcome in an entry.
pub(super) const fn outcome_number(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Released => 0,
        Outcome::Refused(_) => 1,
        Outcome::Aborted => 2,
    }
}

/// Returns the number of a mode in an entry; `None` if it is not written.
pub(super) const fn mode_number(mode: ExchangeMode) -> Option<u64> {
    match mode {
        ExchangeMode::Enforce => None,
        ExchangeMode::Observe => Some(1),
    }
}

/// Returns the number of a verdict in an entry.
const fn verdict_number(verdict: Verdict) -> u64 {
    match verdict {
        Verdict::Permits => 0,
        Verdict::Refuses => 1,
    }
}

impl MapWriter {
    pub(super) fn head_text(&mut self, key: HeadKey, text: &str) {
        self.text(key.number(), cut(text, MAX_NAME));
    }

    pub(super) fn head_number(&mut self, key: HeadKey, number: u64) {
        self.unsigned(key.number(), number);
    }

    pub(super) fn head_count(&mut self, key: HeadKey, count: u64) {
        self.count(key.number(), count);
    }

    pub(super) fn detail_count(&mut self, key: DetailKey, count: u64) {
        self.count(key.number(), count);
    }

    /// Writes a text of at most `max` bytes, or no member.
    pub(super) fn detail_text(&mut self, key: DetailKey, text: Option<&str>, max: usize) {
        if let Some(text) = text {
            self.text(key.number(), cut(text, max));
        }
    }

    /// Writes the pseudonym of a person, or no member.
    pub(super) fn person(&mut self, key: DetailKey, person: Option<&LoggedPerson>, day: &EpochPseudonyms) {
        if let Some(person) = person {
            self.bytes(key.number(), person.pseudonym(day).bytes());
        }
    }

    /// Writes the pseudonyms of people, or no member if there is none.
    pub(super) fn people(&mut self, key: DetailKey, people: &[LoggedPerson], day: &EpochPseudonyms) {
        if people.is_empty() {
            return;
        }
        self.begin_bytes(key.number(), people.len() * 12);
        for person in people {
            self.append(person.pseudonym(day).bytes());
        }
    }

    fn names(&mut self, key: DetailKey, names: &[Arc<str>]) {
        let mut left = MAX_LIST;
        let fits = names.iter().take_while(|name| {
            let length = cut(name, MAX_NAME).len() + 3;
            left = left.saturating_sub(length);
            left > 0
        });
        let names: Vec<&Arc<str>> = fits.collect();
        self.begin_array(key.number(), names.len());
        for name in names {
            self.text_element(cut(name, MAX_NAME));
        }
    }
}

/// Returns the detail of an entry that defines a ruling.
pub(super) fn ruling_detail(ruling: &Ruling) -> Vec<u8> {
    let Ruling { category, form, basis, reason, rules, clauses, would } = ruling;
    let mut detail = begin_detail();
    detail.detail_text(DetailKey::Category, category.as_deref(), MAX_TEXT);
    detail.detail_text(DetailKey::Form, Some(form.name()), MAX_TEXT);
    detail.detail_text(DetailKey::Basis, basis.map(Basis::name), MAX_TEXT);
    detail.detail_text(DetailKey::Reason, reason.map(Reason::name), MAX_TEXT);
    detail.names(DetailKey::Rules, rules);
    detail.names(DetailKey::Clauses, clauses);
    if let Some(WouldRelease { form, basis, reason, rules, clauses }) = would {
        detail.detail_text(DetailKey::WouldForm, Some(form.name()), MAX_TEXT);
        detail.detail_text(DetailKey::WouldBasis, basis.map(Basis::name), MAX_TEXT);
        detail.detail_text(DetailKey::WouldReason, reason.map(Reason::name), MAX_TEXT);
        detail.names(DetailKey::WouldRules, rules);
        detail.names(DetailKey::WouldClauses, clauses);
    }
    detail.finish()
}

/// Returns the detail of an entry that defines a list of factors.
pub(super) fn factors_detail(factors: &FactorList) -> Vec<u8> {
    let mut detail = begin_detail();
    detail.begin_array(DetailKey::Verdicts.number(), factors.len());
    for (name, verdict) in factors {
        detail.array_element(2);
        detail.text_element(cut(name, MAX_DECLARED));
        detail.element(verdict_number(*verdict));
    }
    detail.finish()
}
