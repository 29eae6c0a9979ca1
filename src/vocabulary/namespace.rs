//! Normalization of ids: several spellings of one id in one namespace yield the same id, by the rule of the
//! namespace.
//!
//! Invariants: if an id that a rule returned is read again, the rule returns it unchanged or rejects it. A text
//! that is empty, too long or does not match the pattern is not an id. Errors never contain the id.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};
use smol_str::SmolStr;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// Maximum length of the id of a data subject or controller, and of the name of a namespace, in bytes.
pub const MAX_ID_BYTES: usize = 512;

/// Maximum size of a compiled pattern in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// Normalization steps of an id, always in this order: NFC, trimming, the pattern of the rule, lower case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Normalization {
    /// Removes white space (Unicode `White_Space`) at both ends.
    pub trim: bool,
    /// Converts to lower case (Unicode, without locale: `str::to_lowercase`).
    pub lowercase: bool,
    /// Converts to Unicode normalization form C.
    pub nfc: bool,
}

/// The rule of one namespace. The default rule accepts an id as it is spelled.
#[derive(Clone, Debug, Default)]
pub struct IdRule {
    normalise: Normalization,
    /// The only capture group is the id.
    extract: Option<Regex>,
}

impl PartialEq for IdRule {
    fn eq(&self, other: &IdRule) -> bool {
        self.normalise == other.normalise && self.pattern() == other.pattern()
    }
}

impl Eq for IdRule {}

/// Reason why a text is not an id. Never contains the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The id is empty or too long.
    #[error("is empty or longer than {MAX_ID_BYTES} bytes")]
    Length,
    /// The text does not match the pattern.
    #[error("does not match the pattern of its namespace")]
    Pattern,
}

/// Reason why a pattern cannot extract an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// It is not a regular expression.
    #[error("this is not a regular expression: {0}")]
    Syntax(String),
    /// It has this number of capture groups instead of one.
    #[error("the pattern has {0} groups; it needs exactly one, which is the id")]
    Groups(usize),
    /// It is too large when compiled.
    #[error("the pattern is too large")]
    TooLarge,
}

impl IdRule {
    /// Makes a rule. If ids are converted to lower case, the pattern ignores case.
    ///
    /// # Errors
    /// [`PatternError`] if the pattern is not a regular expression, is too large, or does not have exactly one
    /// capture group.
    pub fn new(normalise: Normalization, extract: Option<&str>) -> Result<IdRule, PatternError> {
        let extract = extract.map(|pattern| compile(pattern, normalise.lowercase)).transpose()?;
        Ok(IdRule { normalise, extract })
    }

    /// True if the rule accepts every id of a valid length as it is spelled.
    pub fn is_exact(&self) -> bool {
        self.normalise == Normalization::default() && self.extract.is_none()
    }

    /// Returns the pattern as it was written.
    pub fn pattern(&self) -> Option<&str> {
        self.extract.as_ref().map(Regex::as_str)
    }

    /// Returns the normalization steps, without the pattern.
    pub fn normalise(&self) -> Normalization {
        self.normalise
    }

    /// Returns the id that a spelling stands for.
    ///
    /// # Errors
    /// [`IdError`]; also if reading the extracted id again would yield a different id.
    pub(super) fn read(&self, spelled: &str) -> Result<SmolStr, IdError> {
        let id = self.apply(spelled)?;
        if self.extract.is_some() && *id != *spelled && matches!(self.apply(&id), Ok(again) if again != id) {
            return Err(IdError::Pattern);
        }
        Ok(SmolStr::new(id))
    }

    /// Returns the id for a spelling that was recorded before this rule was configured. A text that does not match
    /// the pattern is taken as an id that was already extracted, so that no recorded statement is lost.
    pub(super) fn read_recorded(&self, spelled: &str) -> SmolStr {
        if let Ok(id) = self.read(spelled) {
            return id;
        }
        let kept = check_length(self.normalised(Cow::Borrowed(spelled))).unwrap_or(Cow::Borrowed(spelled));
        // In lower case it may match the pattern.
        self.read(&kept).unwrap_or_else(|_| SmolStr::new(&kept))
    }

    fn apply<'s>(&self, spelled: &'s str) -> Result<Cow<'s, str>, IdError> {
        let text = check_length(Cow::Borrowed(spelled))?;
        let Some(pattern) = &self.extract else { return check_length(self.normalised(text)) };
        let text = self.trimmed(self.composed(text));
        let groups = pattern.captures(&text).ok_or(IdError::Pattern)?;
        let id = groups.get(1).ok_or(IdError::Pattern)?.as_str();
        let id = if id.len() == text.len() { text } else { Cow::Owned(id.to_owned()) };
        check_length(self.normalised(id))
    }

    /// Applies every step except the pattern. NFC is applied twice: lower case can decompose a character.
    fn normalised<'s>(&self, text: Cow<'s, str>) -> Cow<'s, str> {
        self.composed(self.lowered(self.trimmed(self.composed(text))))
    }

    fn composed<'s>(&self, text: Cow<'s, str>) -> Cow<'s, str> {
        if !self.normalise.nfc || text.is_ascii() || is_nfc(&text) {
            text
        } else {
            Cow::Owned(text.nfc().collect())
        }
    }

    fn trimmed<'s>(&self, text: Cow<'s, str>) -> Cow<'s, str> {
        match text {
            text if !self.normalise.trim => text,
            Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
            Cow::Owned(text) => {
                let trimmed = text.trim();
                if trimmed.len() == text.len() { Cow::Owned(text) } else { Cow::Owned(trimmed.to_owned()) }
            }
        }
    }

    fn lowered<'s>(&self, text: Cow<'s, str>) -> Cow<'s, str> {
        let is_lower = |byte: u8| byte.is_ascii() && !byte.is_ascii_uppercase();
        if !self.normalise.lowercase || text.bytes().all(is_lower) {
            text
        } else {
            Cow::Owned(text.to_lowercase())
        }
    }
}

fn check_length(id: Cow<'_, str>) -> Result<Cow<'_, str>, IdError> {
    if id.is_empty() || id.len() > MAX_ID_BYTES { Err(IdError::Length) } else { Ok(id) }
}

fn compile(pattern: &str, ignore_case: bool) -> Result<Regex, PatternError> {
    let built = RegexBuilder::new(pattern)
        .case_insensitive(ignore_case)
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES)
        .build();
    let pattern = built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
        error => PatternError::Syntax(error.to_string()),
    })?;
    match pattern.captures_len() {
        2 => Ok(pattern),
        groups => Err(PatternError::Groups(groups.saturating_sub(1))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const FHIR: &str = "^(?:(?:.*/)?Patient/)?([^/]+)(?:/_history/[^/]+)?$";

    fn rule(words: &str, extract: Option<&str>) -> IdRule {
        let has = |word| words.split(' ').any(|one| one == word);
        let normalise = Normalization { trim: has("trim"), lowercase: has("lowercase"), nfc: has("nfc") };
        IdRule::new(normalise, extract).unwrap()
    }

    fn read(rule: &IdRule, spelled: &str) -> Option<String> {
        rule.read(spelled).ok().map(String::from)
    }

    #[test]
    fn the_default_rule_accepts_an_id_as_it_is_spelled() {
        let exact = IdRule::default();
        assert!(exact.is_exact());
        for id in ["Ada", " Ada ", "e\u{301}", "\0", &"x".repeat(MAX_ID_BYTES)] {
            assert_eq!(read(&exact, id).as_deref(), Some(id));
        }
        assert_eq!(exact.read(""), Err(IdError::Length));
        assert_eq!(exact.read(&"x".repeat(MAX_ID_BYTES + 1)), Err(IdError::Length));
    }

    #[test]
    fn each_step_changes_only_what_it_names() {
        assert_eq!(read(&rule("trim", None), "\u{2003} Ada\u{a0}\n").as_deref(), Some("Ada"));
        assert_eq!(read(&rule("trim", None), "Ada B").as_deref(), Some("Ada B"));
        assert_eq!(
            read(&rule("trim", None), "\u{200b}Ada").as_deref(),
            Some("\u{200b}Ada"),
            "no white space"
        );
        assert_eq!(rule("trim", None).read(" \t"), Err(IdError::Length));
        assert_eq!(read(&rule("lowercase", None), " Ada@X.ORG").as_deref(), Some(" ada@x.org"));
        assert_eq!(read(&rule("nfc", None), "Zoe\u{308}").as_deref(), Some("Zoë"));
        assert_eq!(read(&rule("nfc", None), "Zoë").as_deref(), Some("Zoë"));
        let all = rule("trim lowercase nfc", None);
        assert_eq!(read(&all, " ZOE\u{308} ").as_deref(), Some("zoë"));
        let long = "\u{130}".repeat(MAX_ID_BYTES / 2);
        assert_eq!(all.read(&long), Err(IdError::Length), "the normalized id is measured as well");
    }

    /// Lower case follows Unicode without locale: a dotted capital I keeps its dot, and a capital sigma becomes a
    /// final one at the end of a word.
    #[test]
    fn lower_case_is_independent_of_locale() {
        let lower = rule("lowercase nfc", None);
        assert_eq!(read(&lower, "I").as_deref(), Some("i"));
        assert_eq!(read(&lower, "\u{130}").as_deref(), Some("i\u{307}"));
        assert_eq!(read(&lower, "ΟΔΟΣ").as_deref(), Some("οδος"));
        assert_eq!(read(&lower, "\u{130}\u{323}").as_deref(), Some("\u{1ecb}\u{307}"), "composed again");
    }

    #[test]
    fn a_pattern_extracts_the_id_and_other_texts_are_rejected() {
        let fhir = rule("", Some(FHIR));
        for spelled in ["17", "Patient/17", "https://fhir.example.org/r4/Patient/17", "Patient/17/_history/3"]
        {
            assert_eq!(read(&fhir, spelled).as_deref(), Some("17"), "{spelled}");
        }
        for spelled in ["Group/17", "Patient/", "Patient/17/x", "17/", "/17", ""] {
            assert_eq!(read(&fhir, spelled), None, "{spelled}");
        }
        assert_eq!(read(&fhir, "patient/17"), None);
        let lower = rule("lowercase", Some(FHIR));
        assert_eq!(read(&lower, "PATIENT/A-17").as_deref(), Some("a-17"), "case does not count");
        let digits = rule("", Some("[0-9]+(?:\\.([0-9]+))?"));
        assert_eq!(digits.read("17"), Err(IdError::Pattern), "the group matches nothing");
        let unanchored = rule("", Some("([0-9]+)"));
        assert_eq!(read(&unanchored, "crm-17-x").as_deref(), Some("17"), "anchored as it is written");
    }

    #[test]
    fn an_extracted_part_that_reads_as_another_id_is_rejected() {
        let peels = rule("", Some("^a?(.+)$"));
        assert_eq!(read(&peels, "ab").as_deref(), Some("b"));
        assert_eq!(read(&peels, "aab"), None);
        let peels_all = rule("", Some("^a?(.*)$"));
        assert_eq!(read(&peels_all, "aa").as_deref(), Some("a"), "read again it is empty, hence no other id");
        assert_eq!(peels_all.read("a"), Err(IdError::Length));
        assert_eq!(peels_all.read_recorded("aa"), "a");
        assert_eq!(peels_all.read_recorded("a"), "a");
        let needs_prefix = rule("", Some("^crm-(.+)$"));
        assert_eq!(read(&needs_prefix, "crm-17").as_deref(), Some("17"));
        assert_eq!(read(&needs_prefix, "17"), None);
        assert_eq!(read(&needs_prefix, "crm-crm-17"), None);
        assert_eq!(needs_prefix.read_recorded("17"), "17", "kept, although no request can name it");
        assert_eq!(needs_prefix.read_recorded("crm-17"), "17");
        assert_eq!(rule("trim", None).read_recorded("  "), "  ");
    }

    #[test]
    fn a_pattern_has_one_group_and_a_maximum_size() {
        let fault = |pattern| IdRule::new(Normalization::default(), Some(pattern)).unwrap_err();
        assert_eq!(fault("17"), PatternError::Groups(0));
        assert_eq!(fault("(a)(b)"), PatternError::Groups(2));
        assert!(matches!(fault("("), PatternError::Syntax(_)));
        assert!(matches!(fault("(?=a)(b)"), PatternError::Syntax(_)), "linear time only");
        assert_eq!(fault(r"((?:\pL{1000}){1000})"), PatternError::TooLarge);
    }

    fn any_rule() -> impl Strategy<Value = IdRule> {
        let patterns = [
            None,
            Some(FHIR),
            Some("^crm-(.+)$"),
            Some("^a?(.+)$"),
            Some("([0-9]+)"),
            Some("^(?:\\s*Σ)?(.*)$"),
            Some("^([A-Z]+)"),
        ];
        (any::<(bool, bool, bool)>(), 0..patterns.len()).prop_map(move |((trim, lowercase, nfc), at)| {
            IdRule::new(Normalization { trim, lowercase, nfc }, patterns[at]).unwrap()
        })
    }

    fn any_spelling() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,12}",
            "[ \u{a0}\u{2000}aAbσΣςİıſK\u{1e9e}\u{345}\u{307}\u{323}\u{301}eE가\u{1100}\u{1161}0-9/-]{0,10}",
            "(https://x/)?(Patient/|crm-|a){0,2}[ a-zA-Z0-9\u{308}]{0,5}(/_history/[0-9])?",
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn reading_an_id_again_changes_nothing(rule in any_rule(), spelled in any_spelling()) {
            if let Ok(id) = rule.read(&spelled) {
                let again = rule.read(&id);
                // An extracted id need not match the pattern itself.
                prop_assert!(again == Ok(id.clone()) || rule.extract.is_some() && again.is_err());
                prop_assert_eq!(rule.read_recorded(&id), id.clone());
                prop_assert_eq!(rule.read_recorded(&spelled), id);
            }
            let recorded = rule.read_recorded(&spelled);
            prop_assert_eq!(rule.read_recorded(&recorded), recorded);
        }
    }
}
