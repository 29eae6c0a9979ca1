//! Facts about an invented person, as somebody types them in the form of *try a decision*.

use jiff::Timestamp;
use toml::{Table, Value};

use crate::decision::scenario::{ScenarioFacts, ScenarioReader};
use crate::document::Document;
use crate::finding::{Finding, Source};
use crate::policy::Pack;

/// The fields of the form. Lists are separated by commas. The names are those of a scenario's `subject`.
#[derive(Clone, Debug, Default)]
pub(super) struct HandFacts {
    pub(super) country: String,
    pub(super) consents: String,
    pub(super) refused: String,
    pub(super) objections: String,
    pub(super) relations: String,
    pub(super) refused_categories: String,
    pub(super) minor: Option<String>,
    pub(super) restricted: Option<String>,
    pub(super) erased: Option<String>,
}

impl HandFacts {
    /// Returns the boxes with their names, and true for those that are ticked.
    pub(super) fn boxes(&self) -> [(&'static str, bool); 3] {
        [
            ("minor", self.minor.is_some()),
            ("restricted", self.restricted.is_some()),
            ("erased", self.erased.is_some()),
        ]
    }

    /// Returns the facts in the terms of a pack.
    ///
    /// # Errors
    /// One line for each word that the pack does not know.
    pub(super) fn read(&self, pack: &Pack, now: Timestamp) -> Result<ScenarioFacts, Vec<String>> {
        let text = toml::to_string(&self.table()).map_err(|error| vec![error.to_string()])?;
        let source = Source::new("the facts", text);
        let document = Document::parse(&source);
        let facts = ScenarioReader::new(pack, &document, now).subject(document.root("the person"));
        let findings = document.into_findings();
        if findings.is_empty() { Ok(facts) } else { Err(findings.iter().map(in_words).collect()) }
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        if !self.country.trim().is_empty() {
            table.insert("country".to_owned(), self.country.trim().into());
        }
        let consents = listed(&self.consents).map(|purpose| (purpose, "given"));
        let refused = listed(&self.refused).map(|purpose| (purpose, "refused"));
        let consents: Table =
            consents.chain(refused).map(|(purpose, status)| (purpose.to_owned(), status.into())).collect();
        table.insert("consents".to_owned(), consents.into());
        for (key, list) in [
            ("objections", &self.objections),
            ("relations", &self.relations),
            ("refused-categories", &self.refused_categories),
        ] {
            let list: Vec<Value> = listed(list).map(Value::from).collect();
            table.insert(key.to_owned(), list.into());
        }
        for (key, is_set) in self.boxes() {
            table.insert(key.to_owned(), is_set.into());
        }
        table
    }
}

/// Returns a finding with its hint. Its place is in a text that nobody has written.
fn in_words(finding: &Finding) -> String {
    let report = finding.report();
    match report.hint {
        Some(hint) => format!("{}; {hint}", report.message),
        None => report.message.to_owned(),
    }
}

fn listed(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::testing::one_partner;

    fn facts(change: impl FnOnce(&mut HandFacts)) -> Result<ScenarioFacts, Vec<String>> {
        let mut facts = HandFacts::default();
        change(&mut facts);
        facts.read(&one_partner(), Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn nothing_typed_is_an_unremarkable_person() {
        let facts = facts(|_| {}).unwrap();
        assert_eq!(facts.subject, ScenarioFacts::unremarkable().subject);
    }

    #[test]
    fn words_are_those_of_the_pack() {
        let known = facts(|facts| {
            facts.consents = " direct-marketing , ".to_owned();
            facts.minor = Some("on".to_owned());
        });
        let known = known.unwrap();
        assert_eq!((known.subject.consents.len(), known.subject.minor), (1, true));
        let unknown = facts(|facts| facts.objections = "direct-marketin".to_owned()).unwrap_err();
        assert!(unknown.len() == 1 && unknown[0].contains("direct-marketin"), "{unknown:?}");
        assert!(facts(|facts| facts.relations = "\"\n[x]".to_owned()).is_err(), "quoted, and unknown");
    }
}
