//! `[texts.LANGUAGE]`: the sentences of the pages that people receive, in further languages or in other words.

use super::Part;
use super::terms::PackTerms;
use crate::document::{At, Document, Item};
use crate::finding::{Finding, suggestion};
use crate::texts::{LanguageTexts, PageTexts, Sentence, TermKind, is_tag};
use crate::vocabulary::{VOCABULARY_HINT, Vocabulary};

/// Maximum number of languages of a configuration.
const MAX_LANGUAGES: usize = 64;
/// Maximum number of sentences that a finding names.
const MAX_NAMED: usize = 20;
/// Maximum length of the title of a term in bytes.
const MAX_TITLE_BYTES: usize = 200;

/// Reads the languages of the first file. `default` is the tag of the default language, `organisation` the name of whose
/// pages they are.
pub(super) fn read(
    part: &mut Part<'_>,
    words: &PackTerms<'_>,
    default: Option<At<&str>>,
    organisation: Option<String>,
) -> PageTexts {
    let document = part.fields.document();
    let mut languages: Vec<LanguageTexts> = Vec::new();
    for (tag, item) in part.fields.entries("texts") {
        if !is_tag(tag.value) {
            let finding = Finding::error("bad-language", format!("`{}` is not a language", tag.value));
            let hint = "a language tag such as `fr` or `pt-BR` (BCP 47)";
            document.find(finding.label("not a language tag").hint(hint), tag.at.clone());
            continue;
        }
        let is_known = |known: &LanguageTexts| known.tag.eq_ignore_ascii_case(tag.value);
        if languages.len() >= MAX_LANGUAGES || languages.iter().any(is_known) {
            let finding = Finding::error("bad-language", format!("`{}` is one language too many", tag.value));
            let hint = format!("each language once, and {MAX_LANGUAGES} at most");
            document.find(finding.hint(hint), tag.at.clone());
            continue;
        }
        let texts = language(document, tag.value, &item, words.vocabulary);
        check_missing(document, &tag, &texts);
        languages.push(texts);
    }
    let default = default.filter(|default| !default.value.is_empty());
    let texts = PageTexts::new(languages, default.as_ref().map_or("en", |tag| tag.value), organisation);
    if let Some(default) = default
        && !texts.tags().any(|known| known.eq_ignore_ascii_case(default.value))
    {
        let hint = format!("add `[texts.{}]`", default.value);
        document.find_unknown("unknown-language", "language", &default, texts.tags(), &hint);
    }
    texts
}

/// Reads the table of one language.
fn language(document: &Document<'_>, tag: &str, item: &Item<'_>, words: &Vocabulary) -> LanguageTexts {
    let mut texts = LanguageTexts { tag: tag.to_owned(), ..LanguageTexts::default() };
    for (key, item) in item.entries() {
        if let Some(kind) = TermKind::ALL.into_iter().find(|kind| kind.table() == key.value) {
            titles(document, kind, &item, words, &mut texts);
            continue;
        }
        let Some(sentence) = Sentence::parse(key.value) else {
            let known = Sentence::ALL.iter().map(|sentence| sentence.key());
            let known = known.chain(TermKind::ALL.iter().map(|kind| kind.table()));
            document.find_unknown("unknown-text", "text", &key, known, "docs/pages.md lists the texts");
            continue;
        };
        let Some(text) = item.text() else { continue };
        if let Some(fault) = sentence.fault(text.value) {
            let finding =
                Finding::error("bad-text", format!("the text `{}` cannot be used: {fault}", key.value));
            let hint = format!("in English it is: {}", sentence.english());
            document.find(finding.hint(hint), text.at);
            continue;
        }
        texts.sentences.insert(sentence, text.value.to_owned());
    }
    texts
}

/// Reads the titles of terms of one kind.
fn titles(
    document: &Document<'_>,
    kind: TermKind,
    item: &Item<'_>,
    words: &Vocabulary,
    texts: &mut LanguageTexts,
) {
    let known: Vec<&str> = match kind {
        TermKind::Purpose => words.purposes().terms().map(|(_, term)| &*term.id).collect(),
        TermKind::Category => words.categories().terms().map(|(_, term)| &*term.id).collect(),
        TermKind::RecipientKind => words.kinds().terms().map(|(_, term)| &*term.id).collect(),
        TermKind::Relation => words.relations().terms().map(|(_, term)| &*term.id).collect(),
    };
    for (id, item) in item.entries() {
        let Some(title) = item.text() else { continue };
        if !known.contains(&id.value) {
            let hint = suggestion(id.value, known.iter().copied());
            let hint = hint.unwrap_or_else(|| VOCABULARY_HINT.to_owned());
            let finding = Finding::error(
                "unknown-text",
                format!("there is no term `{}` in `{}`", id.value, kind.table()),
            );
            document.find(finding.label("unknown").hint(hint), id.at);
        } else if title.value.trim().is_empty() || title.value.len() > MAX_TITLE_BYTES {
            let finding = Finding::error("bad-text", format!("the title of `{}` cannot be used", id.value));
            document.find(finding.hint(format!("a text of 1 to {MAX_TITLE_BYTES} bytes")), title.at);
        } else {
            texts.titles.insert((kind, id.value.to_owned()), title.value.to_owned());
        }
    }
}

/// Names the sentences that a language lacks: its pages have them in English.
fn check_missing(document: &Document<'_>, tag: &At<&str>, texts: &LanguageTexts) {
    // The rest of a built-in language is built in.
    if PageTexts::default().tags().any(|known| known.eq_ignore_ascii_case(&texts.tag)) {
        return;
    }
    let missing: Vec<&str> = texts.missing().map(Sentence::key).collect();
    if missing.is_empty() {
        return;
    }
    let named = missing.iter().take(MAX_NAMED).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    let more = match missing.len().saturating_sub(MAX_NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let finding = Finding::warning(
        "texts-missing",
        format!(
            "the language `{}` lacks sentences, and pages have them in English: {named}{more}",
            tag.value
        ),
    );
    document.find(finding.label("incomplete").hint("docs/pages.md lists all sentences"), tag.at.clone());
}
