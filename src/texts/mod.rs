//! The pages that people receive: their languages, their sentences, and the HTML around them.
//!
//! English and German are built in. The configuration adds languages and replaces sentences. The module knows neither who
//! receives a page nor what a page is about. Invariants: a page has every sentence, in English if its language lacks one; every
//! value in a page is escaped; a page loads nothing.

mod german;
mod html_page;
mod negotiation;
mod sentence;

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

pub use html_page::{HtmlPage, escaped};
pub use negotiation::is_tag;
pub use sentence::{MAX_SENTENCE_BYTES, Sentence};

use crate::vocabulary::{TermId, Tree, Vocabulary};

/// The language of sentences that another language lacks.
const ENGLISH: &str = "en";
const GERMAN: &str = "de";

/// Languages that are written from right to left, by their first subtag.
const RIGHT_TO_LEFT: [&str; 9] = ["ar", "ckb", "dv", "fa", "he", "ps", "ug", "ur", "yi"];

/// The kinds of terms that have titles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TermKind {
    /// A purpose.
    Purpose,
    /// A data category.
    Category,
    /// A kind of recipients.
    RecipientKind,
    /// A relation of a person.
    Relation,
}

impl TermKind {
    /// All kinds.
    pub const ALL: [TermKind; 4] =
        [TermKind::Purpose, TermKind::Category, TermKind::RecipientKind, TermKind::Relation];

    /// Name of the table of titles in the configuration.
    pub const fn table(self) -> &'static str {
        match self {
            TermKind::Purpose => "purposes",
            TermKind::Category => "categories",
            TermKind::RecipientKind => "recipient-kinds",
            TermKind::Relation => "relations",
        }
    }
}

/// The sentences and titles of one language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LanguageTexts {
    /// The language tag (BCP 47).
    pub tag: String,
    /// Its sentences.
    pub sentences: HashMap<Sentence, String>,
    /// The titles of terms.
    pub titles: HashMap<(TermKind, String), String>,
}

impl LanguageTexts {
    /// Returns the sentence in this language, or in the built-in one of this tag.
    fn sentence(&self, sentence: Sentence) -> Option<&str> {
        let own = self.sentences.get(&sentence).map(String::as_str);
        own.or_else(|| match &*self.tag {
            ENGLISH => Some(sentence.english()),
            GERMAN => Some(sentence.german()),
            _ => None,
        })
    }

    /// Returns the sentences that it lacks.
    pub fn missing(&self) -> impl Iterator<Item = Sentence> {
        Sentence::ALL.iter().copied().filter(|sentence| self.sentence(*sentence).is_none())
    }

    fn title(&self, kind: TermKind, id: &str) -> Option<&str> {
        let own = self.titles.get(&(kind, id.to_owned())).map(String::as_str);
        own.or_else(|| german::title(kind, id).filter(|_| self.tag == GERMAN))
    }
}

/// The languages of the pages, and whose pages they are.
#[derive(Debug)]
pub struct PageTexts {
    /// English first.
    languages: Vec<LanguageTexts>,
    default: usize,
    organisation: Option<String>,
}

impl Default for PageTexts {
    fn default() -> PageTexts {
        PageTexts::new(Vec::new(), ENGLISH, None)
    }
}

impl PageTexts {
    /// The built-in languages with those of a configuration. `default` is the tag of the language for readers who ask for none
    /// of them; English if there is no such language. `organisation` is the name of the controller.
    pub fn new(configured: Vec<LanguageTexts>, default: &str, organisation: Option<String>) -> PageTexts {
        let built_in = |tag: &str| LanguageTexts { tag: tag.to_owned(), ..LanguageTexts::default() };
        let mut languages = vec![built_in(ENGLISH), built_in(GERMAN)];
        for texts in configured {
            match languages.iter_mut().find(|known| known.tag.eq_ignore_ascii_case(&texts.tag)) {
                Some(known) => *known = LanguageTexts { tag: known.tag.clone(), ..texts },
                None => languages.push(texts),
            }
        }
        let position = |tag: &str| languages.iter().position(|known| known.tag.eq_ignore_ascii_case(tag));
        let default = position(default).unwrap_or_default();
        PageTexts { languages, default, organisation }
    }

    /// The name of the controller, if the configuration has it.
    pub fn organisation(&self) -> Option<&str> {
        self.organisation.as_deref()
    }

    /// The tags of all languages.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.languages.iter().map(|language| &*language.tag)
    }

    /// Returns the language for an `Accept-Language`; several headers are joined by commas.
    pub fn for_header(self: &Arc<Self>, accept_language: &str) -> PageLanguage {
        let tags: Vec<&str> = self.tags().collect();
        let at = negotiation::lookup(accept_language, &tags, self.default).unwrap_or(self.default);
        PageLanguage { texts: Arc::clone(self), at }
    }

    /// Returns a language by its tag; the default one without a tag, `None` for an unknown one.
    pub fn named(self: &Arc<Self>, tag: Option<&str>) -> Option<PageLanguage> {
        let at = match tag {
            None => self.default,
            Some(tag) => self.tags().position(|known| known.eq_ignore_ascii_case(tag))?,
        };
        Some(PageLanguage { texts: Arc::clone(self), at })
    }
}

/// The language of one page.
#[derive(Clone, Debug)]
pub struct PageLanguage {
    texts: Arc<PageTexts>,
    at: usize,
}

impl PageLanguage {
    fn language(&self) -> Option<&LanguageTexts> {
        self.texts.languages.get(self.at)
    }

    /// The texts of all languages.
    pub fn texts(&self) -> &PageTexts {
        &self.texts
    }

    /// The language tag, for `lang` and `Content-Language`.
    pub fn tag(&self) -> &str {
        self.language().map_or(ENGLISH, |language| &language.tag)
    }

    /// The direction in which it is written, for `dir`.
    pub fn direction(&self) -> &'static str {
        let first = self.tag().split('-').next().unwrap_or_default();
        let is_right_to_left = RIGHT_TO_LEFT.iter().any(|tag| tag.eq_ignore_ascii_case(first));
        if is_right_to_left { "rtl" } else { "ltr" }
    }

    /// Returns a sentence as plain text.
    pub fn plain(&self, sentence: Sentence, values: &[(&str, &str)]) -> String {
        sentence::fill(self.own(sentence).unwrap_or_else(|| self.english(sentence)), values)
    }

    /// Returns a sentence as HTML, marked as English if the language lacks it.
    pub fn html(&self, sentence: Sentence, values: &[(&str, &str)]) -> String {
        match self.own(sentence) {
            Some(own) => escaped(&sentence::fill(own, values)),
            None => {
                let english = escaped(&sentence::fill(self.english(sentence), values));
                format!("<span lang=\"{ENGLISH}\" dir=\"ltr\">{english}</span>")
            }
        }
    }

    fn own(&self, sentence: Sentence) -> Option<&str> {
        self.language()?.sentence(sentence)
    }

    fn english(&self, sentence: Sentence) -> &str {
        let english = self.texts.languages.first().and_then(|english| english.sentence(sentence));
        english.unwrap_or_else(|| sentence.english())
    }

    /// Returns the title of a term: in this language, or as the vocabulary has it; the id for a term that it does not have.
    pub fn title(&self, kind: TermKind, id: &str, words: &Vocabulary) -> String {
        let own = self.language().and_then(|language| language.title(kind, id));
        let of_vocabulary = || match kind {
            TermKind::Purpose => title_in(words.purposes(), id),
            TermKind::Category => title_in(words.categories(), id),
            TermKind::RecipientKind => title_in(words.kinds(), id),
            TermKind::Relation => title_in(words.relations(), id),
        };
        own.map(str::to_owned).or_else(of_vocabulary).unwrap_or_else(|| id.to_owned())
    }

    /// Returns a day.
    pub fn date(&self, day: Date) -> String {
        let months = self.plain(Sentence::Months, &[]);
        let month = months.split(',').nth(usize::from(day.month().unsigned_abs()).saturating_sub(1));
        let (number, year) = (day.day().to_string(), day.year().to_string());
        let month = month.unwrap_or_default().trim();
        self.plain(Sentence::Date, &[("day", &number), ("month", month), ("year", &year)])
    }

    /// Returns the day of an instant, UTC.
    pub fn day(&self, time: Timestamp) -> String {
        self.date(time.to_zoned(TimeZone::UTC).date())
    }

    /// Returns an instant to the minute, UTC.
    pub fn moment(&self, time: Timestamp) -> String {
        let clock = time.strftime("%H:%M").to_string();
        self.plain(Sentence::Moment, &[("date", &self.day(time)), ("time", &clock)])
    }
}

fn title_in<I: TermId>(tree: &Tree<I>, id: &str) -> Option<String> {
    tree.find(id).and_then(|found| tree.term(found)).map(|term| term.title.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn french() -> LanguageTexts {
        LanguageTexts {
            tag: "fr".to_owned(),
            sentences: HashMap::from([
                (Sentence::OptOutStop, "Arrêter <b>".to_owned()),
                (Sentence::OptOutQuestion, "Plus de publicité de {organisation} ?".to_owned()),
            ]),
            titles: HashMap::from([((TermKind::Purpose, "marketing".to_owned()), "Publicité".to_owned())]),
        }
    }

    #[test]
    fn a_language_that_lacks_a_sentence_has_the_english_one() {
        let german = LanguageTexts {
            tag: "DE".to_owned(),
            sentences: HashMap::from([(Sentence::OptOutStop, "Schluss".to_owned())]),
            ..LanguageTexts::default()
        };
        let texts = Arc::new(PageTexts::new(vec![french(), german], "fr", Some("A & B".to_owned())));
        let page = texts.for_header("fr-FR, en;q=0.2");
        assert_eq!((page.tag(), page.direction()), ("fr", "ltr"));
        assert_eq!(page.html(Sentence::OptOutStop, &[]), "Arrêter &lt;b&gt;");
        let values = [("organisation", "A & <i>B</i>")];
        assert_eq!(
            page.html(Sentence::OptOutQuestion, &values),
            "Plus de publicité de A &amp; &lt;i&gt;B&lt;/i&gt; ?"
        );
        assert_eq!(
            page.html(Sentence::OptOutKeep, &[]),
            "<span lang=\"en\" dir=\"ltr\">Change nothing</span>"
        );
        assert_eq!(french().missing().count(), Sentence::ALL.len() - 2);
        let page = texts.for_header("de");
        assert_eq!(page.plain(Sentence::OptOutStop, &[]), "Schluss", "a built-in sentence is replaced");
        assert_eq!(page.plain(Sentence::OptOutKeep, &[]), "Nichts ändern");
        assert_eq!(texts.for_header("").tag(), "fr", "the default");
        assert_eq!(texts.for_header("es").tag(), "fr");
        assert_eq!(texts.named(None).unwrap().tag(), "fr");
        assert_eq!(texts.named(Some("En")).unwrap().tag(), "en");
        assert!(texts.named(Some("es")).is_none());
        assert_eq!(texts.tags().collect::<Vec<_>>(), ["en", "de", "fr"]);
    }

    #[test]
    fn terms_have_the_title_of_the_language_or_of_the_vocabulary() {
        let words = Vocabulary::standard();
        let texts = Arc::new(PageTexts::new(vec![french()], "en", None));
        let title = |tag, id| texts.named(Some(tag)).unwrap().title(TermKind::Purpose, id, &words);
        assert_eq!(title("fr", "marketing"), "Publicité");
        assert_eq!(title("fr", "survey"), "Survey");
        assert_eq!(title("de", "survey"), "Umfrage");
        assert_eq!(title("de", "gone"), "gone");
    }

    #[test]
    fn days_are_written_as_the_language_writes_them() {
        let texts = Arc::new(PageTexts::default());
        let time: Timestamp = "2026-03-09T23:59:59Z".parse().unwrap();
        let written = |tag| {
            let page = texts.named(Some(tag)).unwrap();
            (page.day(time), page.moment(time))
        };
        assert_eq!(written("en"), ("9 March 2026".to_owned(), "9 March 2026, 23:59 UTC".to_owned()));
        assert_eq!(written("de"), ("9. März 2026".to_owned(), "9. März 2026, 23:59 Uhr (UTC)".to_owned()));
        let hebrew = LanguageTexts { tag: "he".to_owned(), ..LanguageTexts::default() };
        let texts = Arc::new(PageTexts::new(vec![hebrew], "he", None));
        assert_eq!(texts.for_header("").direction(), "rtl");
    }
}
