//! Reads names of members: splits them into words in any style, and finds the phrases of the dictionary in them.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ops::Deref;
use std::rc::Rc;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;

use super::effort;

mod split;

use split::{plain_words, with_e};

/// The dictionary as it is written.
const WORDS: &str = include_str!("words.toml");
/// Words of a name that are joined to find a phrase.
const MAX_PHRASE: usize = 5;
/// Letters of a word from which on it may be a compound (`mitarbeiternummer`).
const MIN_COMPOUND: usize = 6;
/// First words of a count.
const NUMBER_OF: [&str; 8] = ["num", "nb", "count", "anzahl", "n", "aantal", "antal", "liczba"];
/// Words of an amount of money.
const AMOUNTS: [&str; 37] = [
    "canone",
    "deposito",
    "kaution",
    "amount",
    "amounts",
    "total",
    "subtotal",
    "price",
    "cost",
    "tax",
    "fee",
    "fees",
    "discount",
    "discounts",
    "balance",
    "paid",
    "spent",
    "refunded",
    "betrag",
    "summe",
    "montant",
    "importe",
    "importo",
    "bedrag",
    "kwota",
    "valor",
    "prix",
    "precio",
    "prezzo",
    "prijs",
    "preis",
    "cena",
    "tip",
    "gross",
    "net",
    "charged",
    "prime",
];
/// Letters of each part of a compound.
const MIN_PART: usize = 3;

/// Where a phrase has its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PhraseScope {
    /// In every name.
    OfAnybody,
    /// In an object about a person, or in a record about one.
    OfAPerson,
}

/// The sort of entity that a noun names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noun {
    Person,
    /// A person in the part of somebody who makes or looks after a thing.
    Author,
    Record,
    Thing,
    Organisation,
    /// A word that names no entity: what it holds belongs to the object around it.
    Context,
}

/// The kind of value that the last words of a name announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    Id,
    Link,
    Count,
    State,
    Time,
    Amount,
    Text,
}

/// How strongly the name of a member says that its object is a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Evidence {
    Strong,
    /// Things have such members, too.
    Weak,
}

/// The meanings of a phrase.
#[derive(Clone, Default)]
struct DictionaryEntry {
    category: Option<(&'static str, PhraseScope)>,
    noun: Option<Noun>,
    heads: Vec<Head>,
    evidence: Option<Evidence>,
    is_neutral: bool,
    is_flag: bool,
}

/// Phrases without blanks, and what they mean.
struct NameDictionary(HashMap<String, DictionaryEntry>);

/// Words that are ordinary as names of members and mean nothing for a category.
static ORDINARY: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let table = WORDS.parse::<toml::Table>().unwrap_or_default();
    let words = table.get("words").and_then(|words| words.get("ordinary")).and_then(toml::Value::as_array);
    words.into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())).collect()
});

/// Words of the dictionary that are given names as well.
const GIVEN_NAMES: [&str; 6] = ["iris", "sid", "rut", "nir", "lang", "page"];

static DICTIONARY: LazyLock<NameDictionary> = LazyLock::new(|| NameDictionary::read(WORDS));

impl NameDictionary {
    /// Reads the table. The unit tests check that it is well-formed; what is not is left out.
    fn read(text: &'static str) -> NameDictionary {
        let mut dictionary = NameDictionary(HashMap::new());
        let Ok(table) = text.parse::<toml::Table>() else { return dictionary };
        let phrases = |table: &toml::Table, key: &str| -> Vec<String> {
            let list = table.get(key).and_then(toml::Value::as_array);
            list.into_iter().flatten().filter_map(|word| Some(word.as_str()?.replace(' ', ""))).collect()
        };
        let categories = table.get("category").and_then(toml::Value::as_array);
        for category in categories.into_iter().flatten().filter_map(toml::Value::as_table) {
            let Some(name) = category.get("name").and_then(toml::Value::as_str) else { continue };
            let name: &'static str = Box::leak(name.to_owned().into_boxed_str());
            for (key, scope) in
                [("of-anybody", PhraseScope::OfAnybody), ("of-a-person", PhraseScope::OfAPerson)]
            {
                for phrase in phrases(category, key) {
                    dictionary.entry(phrase).category.get_or_insert((name, scope));
                }
            }
        }
        let nouns = [
            ("person", Noun::Person),
            ("author", Noun::Author),
            ("record", Noun::Record),
            ("thing", Noun::Thing),
            ("organisation", Noun::Organisation),
            ("context", Noun::Context),
        ];
        let heads = [
            ("id", Head::Id),
            ("link", Head::Link),
            ("count", Head::Count),
            ("state", Head::State),
            ("time", Head::Time),
            ("amount", Head::Amount),
            ("text", Head::Text),
        ];
        let section = |name: &str| table.get(name).and_then(toml::Value::as_table);
        for (key, noun) in nouns {
            for phrase in section("entities").map(|table| phrases(table, key)).unwrap_or_default() {
                dictionary.entry(phrase).noun.get_or_insert(noun);
            }
        }
        for (key, evidence) in [("strong", Evidence::Strong), ("weak", Evidence::Weak)] {
            for phrase in section("signature").map(|table| phrases(table, key)).unwrap_or_default() {
                dictionary.entry(phrase).evidence.get_or_insert(evidence);
            }
        }
        for (key, head) in heads {
            for phrase in section("heads").map(|table| phrases(table, key)).unwrap_or_default() {
                dictionary.entry(phrase).heads.push(head);
            }
        }
        for phrase in section("heads").map(|table| phrases(table, "neutral")).unwrap_or_default() {
            dictionary.entry(phrase).is_neutral = true;
        }
        for phrase in section("heads").map(|table| phrases(table, "flag")).unwrap_or_default() {
            dictionary.entry(phrase).is_flag = true;
        }
        dictionary
    }

    fn entry(&mut self, phrase: String) -> &mut DictionaryEntry {
        self.0.entry(phrase).or_default()
    }

    fn get(&self, words: &[String]) -> Option<&DictionaryEntry> {
        match words {
            [] => None,
            [one] => self.0.get(one),
            several => self.0.get(&several.concat()),
        }
    }

    /// Splits a word that is not in the dictionary into two that are.
    fn compound(&self, word: &str) -> Option<[String; 2]> {
        if word.len() < MIN_COMPOUND || !word.is_ascii() || self.0.contains_key(word) {
            return None;
        }
        (MIN_PART..=word.len().saturating_sub(MIN_PART)).rev().find_map(|at| {
            let (left, right) = word.split_at_checked(at)?;
            // German and Dutch join words with `s`, `n` or `en`.
            let stem = ["", "s", "n", "en", "e"].iter().find_map(|joint| {
                left.strip_suffix(joint).filter(|stem| stem.len() >= MIN_PART && self.0.contains_key(*stem))
            })?;
            self.0.contains_key(right).then(|| [stem.to_owned(), right.to_owned()])
        })
    }
}

/// A phrase that was found in a name.
#[derive(Clone, Copy)]
pub(super) struct FoundCategory {
    pub(super) category: &'static str,
    pub(super) scope: PhraseScope,
    start: usize,
    end: usize,
}

/// Readings that are kept for names that occur again. Each name is read several times for one proposal.
const MAX_KEPT_READINGS: usize = 400_000;

thread_local! {
    static KEPT_READINGS: RefCell<HashMap<String, NameReading>> = RefCell::default();
}

/// The words of a name, and what the dictionary says about them.
#[derive(Clone)]
pub(super) struct NameReading(Rc<ReadName>);

/// Forgets the readings of a proposal that is done.
pub(super) fn forget_readings() {
    KEPT_READINGS.with_borrow_mut(|kept| *kept = HashMap::new());
}

impl Deref for NameReading {
    type Target = ReadName;

    fn deref(&self) -> &ReadName {
        &self.0
    }
}

impl NameReading {
    /// Reads a name. The same names occur in every record, so readings are kept.
    pub(super) fn new(name: &str) -> NameReading {
        KEPT_READINGS.with_borrow_mut(|kept| {
            if let Some(reading) = kept.get(name) {
                return reading.clone();
            }
            effort::count(1);
            let reading = NameReading(Rc::new(ReadName::new(name)));
            if kept.len() < MAX_KEPT_READINGS {
                kept.insert(name.to_owned(), reading.clone());
            }
            reading
        })
    }
}

/// A name that was read.
pub(super) struct ReadName {
    words: Vec<String>,
    /// The words without blanks.
    joined: String,
    /// The category whose phrase is nearest to the end.
    pub(super) category: Option<FoundCategory>,
    noun: Option<(Noun, usize, usize)>,
    /// The kinds of value that the last words announce.
    pub(super) heads: Vec<Head>,
    /// The first word of the phrase that announces it.
    head_start: usize,
}

impl ReadName {
    fn new(name: &str) -> ReadName {
        let words = words(name);
        let joined = words.concat();
        let mut reading =
            ReadName { words, joined, category: None, noun: None, heads: Vec::new(), head_start: 0 };
        let mut head_start = reading.words.len();
        for (start, end, entry) in windows(&reading.words) {
            let length = end - start;
            if let Some((category, scope)) = entry.category {
                let found = FoundCategory { category, scope, start, end };
                let is_better = reading.category.is_none_or(|best| {
                    (end, length) > (best.end, best.end - best.start)
                        || (scope == PhraseScope::OfAnybody
                            && best.scope == PhraseScope::OfAPerson
                            && end + 1 >= best.end
                            && start <= best.start)
                });
                if is_better {
                    reading.category = Some(found);
                }
            }
            if let Some(noun) = entry.noun {
                let is_better = reading.noun.is_none_or(|(known, from, to)| {
                    known == Noun::Context || (noun != Noun::Context && (end, length) > (to, to - from))
                });
                if is_better {
                    reading.noun = Some((noun, start, end));
                }
            }
            let at_end = end == without_digits(&reading.words).len();
            if at_end && !entry.heads.is_empty() && start < head_start {
                head_start = start;
                reading.heads.clone_from(&entry.heads);
            }
        }
        reading.head_start = head_start;
        let is_number = reading.words.first().is_some_and(|first| NUMBER_OF.contains(&first.as_str()));
        if is_number && reading.words.len() > 1 {
            (reading.heads, reading.head_start) = (vec![Head::Count], 0);
        }
        reading
    }

    /// How strongly the name says that its object is a person.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        DICTIONARY.0.get(&self.joined)?.evidence
    }

    /// True if the last words announce a state, a count or a time, and begin before the phrase of the category or the noun.
    pub(super) fn is_time_or_state(&self) -> bool {
        let is_other = [Head::State, Head::Count, Head::Time].into_iter().any(|head| self.has_head(head));
        let category = self.category.map(|found| found.start);
        let noun = self.noun.filter(|(noun, _, _)| *noun != Noun::Context).map(|(_, start, _)| start);
        let specific = category.into_iter().chain(noun).max();
        is_other && specific.is_none_or(|start| self.head_start < start)
    }

    /// True if a word of an amount is in the name, and the name is not that of an id, a count, a rate or a time.
    pub(super) fn is_amount(&self) -> bool {
        let amount = self.words.iter().any(|word| AMOUNTS.contains(&word.as_str()));
        let other = [Head::Id, Head::Link].into_iter().any(|head| self.has_head(head))
            && !self.has_head(Head::Amount);
        let never = [
            "count",
            "rate",
            "rates",
            "id",
            "ids",
            "lines",
            "line",
            "type",
            "class",
            "weight",
            "items",
            "results",
            "pages",
            "code",
            "codes",
            "currency",
            "display",
            "included",
            "exempt",
            "at",
            "qty",
            "quantity",
            "ordered",
            "option",
            "options",
            "elevation",
            "gain",
            "time",
            "distance",
            "status",
            "category",
            "provider",
            "name",
            "date",
            "by",
            "method",
            "in",
            "include",
            "rule",
            "rules",
        ];
        let counts_people = matches!(self.noun, Some((Noun::Person | Noun::Author, ..))) && self.is_plural();
        let excluded = counts_people || self.words.iter().any(|word| never.contains(&word.as_str()));
        amount && !other && !excluded
    }

    /// True if the last word is a plural.
    pub(super) fn is_plural(&self) -> bool {
        self.words.last().is_some_and(|word| word.ends_with('s') && !word.ends_with("ss"))
    }

    /// Returns the noun nearest to the end, and the words after it.
    pub(super) fn noun(&self) -> Option<(Noun, &[String])> {
        let (noun, _, end) = self.noun?;
        Some((noun, self.words.get(end..).unwrap_or_default()))
    }

    /// True if a noun ends the name, or only words follow that name no entity.
    pub(super) fn ends_in_noun(&self) -> Option<Noun> {
        let (noun, rest) = self.noun()?;
        let is_open = |word: &String| {
            is_digits(word)
                || DICTIONARY
                    .0
                    .get(word)
                    .is_some_and(|entry| entry.noun == Some(Noun::Context) || entry.is_neutral)
        };
        rest.iter().all(is_open).then_some(noun)
    }

    /// True if the phrase of the category ends the name, or only words follow it that do not change its meaning.
    pub(super) fn category_is_head(&self) -> bool {
        let Some(found) = self.category else { return false };
        let rest = self.words.get(found.end..).unwrap_or_default();
        rest.iter()
            .all(|word| is_digits(word) || DICTIONARY.0.get(word).is_some_and(|entry| entry.is_neutral))
    }

    /// True if another noun stands before the phrase of the category.
    pub(super) fn category_noun(&self) -> Option<Noun> {
        let found = self.category?;
        let (noun, _, end) = self.noun?;
        (end <= found.start && noun != Noun::Context).then_some(noun)
    }

    /// The phrase of the category, for a reason.
    pub(super) fn category_phrase(&self) -> String {
        let found = self.category.and_then(|found| self.words.get(found.start..found.end));
        found.unwrap_or_default().join(" ")
    }

    /// True if the dictionary knows no word of the name.
    pub(super) fn is_unknown(&self) -> bool {
        !self.words.iter().any(|word| DICTIONARY.0.contains_key(word) || ORDINARY.contains(word))
    }

    /// True if all words are ordinary ones, such as a unit or a color.
    pub(super) fn is_ordinary_word(&self) -> bool {
        !self.words.is_empty() && self.words.iter().all(|word| ORDINARY.contains(word))
    }

    /// True for a name such as `c07` or `cf_10028`, which tells nothing but a number.
    pub(super) fn is_opaque(&self) -> bool {
        self.is_unknown() && self.words.iter().any(|word| is_digits(word))
    }

    /// True if the name begins with a word such as `is` or `has`.
    pub(super) fn is_flag(&self) -> bool {
        let first = self.words.first().and_then(|word| DICTIONARY.0.get(word));
        self.words.len() > 1 && first.is_some_and(|entry| entry.is_flag)
    }

    /// True if the last words announce this kind of value.
    pub(super) fn has_head(&self, head: Head) -> bool {
        self.heads.contains(&head)
    }

    /// True if a word is in the name.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.iter().any(|known| known == word)
    }

    /// True if one of these words is in the name.
    pub(super) fn has_any_word(&self, words: &[&str]) -> bool {
        self.words.iter().any(|known| words.contains(&known.as_str()))
    }

    /// Returns the words that are no numbers, separated by blanks.
    #[cfg(feature = "cli")]
    pub(super) fn without_numbers(&self) -> String {
        let words: Vec<&str> =
            self.words.iter().map(String::as_str).filter(|word| !is_digits(word)).collect();
        words.join(" ")
    }

    /// True if the name has exactly these words, joined.
    pub(super) fn is(&self, joined: &str) -> bool {
        self.joined == joined
    }

    /// True if the name is one of these, joined.
    pub(super) fn is_any(&self, joined: &[&str]) -> bool {
        joined.contains(&self.joined.as_str())
    }
}

/// True if the dictionary knows a word of a name.
pub(super) fn is_known(name: &str) -> bool {
    let words = words(name);
    words.iter().any(|word| ORDINARY.contains(word)) || windows(&words).next().is_some()
}

/// True if a name says of which category its value is, in phrases of the dictionary alone.
pub(super) fn is_of_category(name: &str) -> bool {
    let words = words(name);
    let found: Vec<_> = windows(&words).collect();
    let is_covered = |at: usize| found.iter().any(|(start, end, _)| (*start..*end).contains(&at));
    (0..words.len()).all(is_covered)
        && found.iter().any(|(_, _, entry)| entry.category.is_some())
        && !is_given_name(&words)
}

/// True if the dictionary knows all words of a name. Digits count as known.
pub(super) fn is_ordinary(name: &str) -> bool {
    let words = words(name);
    let found: Vec<_> = windows(&words).collect();
    let is_covered = |(at, word): (usize, &String)| {
        is_digits(word)
            || ORDINARY.contains(word)
            || found.iter().any(|(start, end, _)| (*start..*end).contains(&at))
    };
    !words.is_empty() && words.iter().enumerate().all(is_covered) && !is_given_name(&words)
}

fn is_given_name(words: &[String]) -> bool {
    matches!(words, [one] if GIVEN_NAMES.contains(&one.as_str()))
}

/// Returns the noun of a word such as `Patient` or `checkout.session`, the value of a member that names a type.
pub(super) fn noun_of_type(text: &str) -> Option<Noun> {
    let last = text.rsplit([':', '/', '#']).next().unwrap_or(text);
    NameReading::new(last).ends_in_noun().filter(|noun| *noun != Noun::Context)
}

/// Returns the phrases of the dictionary in a name, as ranges of its words.
fn windows(words: &[String]) -> impl Iterator<Item = (usize, usize, &'static DictionaryEntry)> {
    (0..words.len()).flat_map(move |start| {
        (start + 1..=words.len().min(start + MAX_PHRASE)).filter_map(move |end| {
            let entry = DICTIONARY.get(words.get(start..end)?)?;
            Some((start, end, entry))
        })
    })
}

fn is_digits(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_digits(words: &[String]) -> &[String] {
    match words {
        [rest @ .., last] if is_digits(last) && !rest.is_empty() => rest,
        words => words,
    }
}

/// Splits a name into words in lower case without accents. An umlaut becomes its vowel, or that and an `e`, whichever the
/// dictionary knows: `größe` is `groesse`, `kön` is `kon`.
fn words(name: &str) -> Vec<String> {
    let is_umlaut = |c: char| matches!(c, 'ä' | 'ö' | 'ü' | 'Ä' | 'Ö' | 'Ü');
    let name: String = name.nfc().collect();
    let plain = plain_words(&name);
    let joined = match name.contains(is_umlaut) {
        true => plain_words(&name.chars().map(with_e).collect::<String>()),
        false => Vec::new(),
    };
    let knows = |word: &str| DICTIONARY.0.contains_key(word) || DICTIONARY.compound(word).is_some();
    let chosen = plain.into_iter().enumerate().map(|(at, word)| match joined.get(at) {
        Some(joined) if !knows(&word) && knows(joined) => joined.clone(),
        _ => word,
    });
    let split = |word: String| match DICTIONARY.compound(&word) {
        Some(parts) => parts.to_vec(),
        None => vec![word],
    };
    chosen.flat_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn names_are_split_in_every_style() {
        for name in
            ["first_name", "firstName", "FirstName", "first-name", "first.name", "FIRST_NAME", "firstname"]
        {
            let reading = NameReading::new(name);
            assert_eq!(reading.category.unwrap().category, "name", "{name}");
        }
        assert_eq!(words("HTTPServerName"), ["http", "server", "name"]);
        assert_eq!(words("Prénom"), ["prenom"]);
        assert_eq!(words("Größe"), ["groesse"]);
        assert_eq!(words("födelsedatum"), ["fodelsedatum"]);
        assert_eq!(words("doğum_tarihi_ıl"), ["dogum", "tarihi", "il"]);
        assert_eq!(words("mitarbeiternummer"), ["mitarbeiternummer"]);
        assert_eq!(words("kundenname"), ["kunden", "name"]);
    }

    #[test]
    fn the_table_is_well_formed_and_its_categories_are_in_the_vocabulary() {
        let table: toml::Table = WORDS.parse().unwrap();
        let vocabulary = Vocabulary::standard();
        for category in table["category"].as_array().unwrap() {
            let name = category["name"].as_str().unwrap();
            let id = vocabulary.categories().find(name).unwrap_or_else(|| panic!("{name}"));
            assert!(vocabulary.is_personal(id), "{name}");
            for key in category.as_table().unwrap().keys() {
                assert!(["name", "of-anybody", "of-a-person"].contains(&key.as_str()), "{key}");
            }
        }
        for phrase in DICTIONARY.0.keys() {
            let is_plain = phrase.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
            assert!(is_plain, "{phrase}");
        }
    }

    #[test]
    fn the_phrase_nearest_to_the_end_counts() {
        let category = |name: &str| NameReading::new(name).category.map(|found| found.category);
        assert_eq!(category("customer_email_address"), Some("email"));
        assert_eq!(category("geburtsdatum"), Some("date-of-birth"));
        assert_eq!(category("shipping_address_phone"), Some("phone"));
        assert!(!NameReading::new("email_verified").category_is_head());
        assert!(NameReading::new("phone_number").category_is_head());
        assert_eq!(NameReading::new("order_id").noun().map(|(noun, _)| noun), Some(Noun::Record));
        assert!(is_of_category("email") && is_of_category("customerPhone") && is_of_category("geburtsdatum"));
        for ordinary in ["billing", "shippingAddress", "line1", "sha256", "@type", "openingHours", "monday"] {
            assert!(is_ordinary(ordinary), "{ordinary}");
        }
        for name in ["alice", "jdoe2", "AdaLovelace", "iris", "alice_email", "@ada", ""] {
            assert!(!is_ordinary(name), "{name}");
        }
        assert!(!is_of_category("iris"), "a given name");
        assert!(!is_of_category("alice") && !is_of_category("alice_email") && !is_of_category("count"));
        assert_eq!(noun_of_type("urn:ietf:params:scim:schemas:core:2.0:User"), Some(Noun::Person));
    }
}
