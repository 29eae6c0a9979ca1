//! What one version of a pack releases and another does not, found by evaluation and not by text.
//!
//! Complete over the vocabulary and over the facts that the rules of either version compare.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde::Serialize;

use super::pack::Pack;
use super::search::{Circumstances, Given, Outcome, Search, Worked, outcomes};
use crate::finding::Finding;
use crate::vocabulary::{CategoryId, Form, KindId, PurposeId, Vocabulary};

/// How the release of some categories differs for one recipient kind and purpose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: String,
    pub purpose: String,
    pub categories: Vec<String>,
    pub old: Form,
    pub new: Form,
    /// The plainest circumstances under which it does; empty where they do not matter.
    pub when: String,
}

impl Change {
    /// Whether the new version discloses more.
    pub fn is_more(&self) -> bool {
        self.new < self.old
    }
}

/// What differs (kind in vocabulary order, purpose, more or less, forms, circumstances), and for which categories.
type Found = BTreeMap<(usize, String, bool, Form, Form, String), Vec<String>>;

/// Every change from one version to another.
///
/// # Errors
/// Where the two cannot be compared: a relation of one stands in the place of another's.
pub fn changes(old: &Pack, new: &Pack) -> Result<Vec<Change>, Finding> {
    comparable(old.vocabulary(), new.vocabulary())?;
    let (mut of_old, mut of_new) = (Search::new(old.rulebook()), Search::new(new.rulebook()));
    let mut found = Found::new();
    for (kind, purpose, category) in names(old, new) {
        let before = slice(&mut of_old, old.vocabulary(), (&kind, &purpose, &category));
        let after = slice(&mut of_new, new.vocabulary(), (&kind, &purpose, &category));
        for (circumstances, old_form, new_form) in differences(&before, &after) {
            let when = circumstances.words(new.vocabulary());
            let place = new.vocabulary().kinds().find(&kind).map_or(usize::MAX, KindId::index);
            let key = (place, format!("{kind}\0{purpose}"), new_form < old_form, old_form, new_form, when);
            found.entry(key).or_default().push(category.clone());
        }
    }
    let change =
        |((_, who, _, old, new, when), categories): ((_, String, bool, Form, Form, String), Vec<String>)| {
            let (kind, purpose) = who.split_once('\0').unwrap_or((&who, ""));
            Change { kind: kind.to_owned(), purpose: purpose.to_owned(), categories, old, new, when }
        };
    Ok(found.into_iter().map(change).collect())
}

fn comparable(old: &Vocabulary, new: &Vocabulary) -> Result<(), Finding> {
    let names = |words: &Vocabulary| {
        words.relations().terms().map(|(_, term)| term.id.to_string()).collect::<Vec<_>>()
    };
    match names(old).iter().zip(&names(new)).find(|(old, new)| old != new) {
        Some((old, new)) => {
            let finding = Finding::error(
                "packs-differ-in-words",
                format!("the relation `{old}` of the one version stands where the other has `{new}`"),
            );
            Err(finding
                .hint("add relations at the end of the vocabulary, and leave the others where they are"))
        }
        None => Ok(()),
    }
}

/// Every kind, purpose and category that either version knows.
fn names(old: &Pack, new: &Pack) -> Vec<(String, String, String)> {
    fn both<'a>(old: impl Iterator<Item = &'a str>, new: impl Iterator<Item = &'a str>) -> Vec<String> {
        let mut names: Vec<String> = new.map(str::to_owned).collect();
        names.extend(
            old.filter(|name| !names.iter().any(|known| known == name))
                .map(str::to_owned)
                .collect::<Vec<_>>(),
        );
        names
    }
    let (old, new) = (old.vocabulary(), new.vocabulary());
    let kinds = both(old.kinds().terms().map(|(_, t)| &*t.id), new.kinds().terms().map(|(_, t)| &*t.id));
    let purposes =
        both(old.purposes().terms().map(|(_, t)| &*t.id), new.purposes().terms().map(|(_, t)| &*t.id));
    let categories =
        both(old.categories().terms().map(|(_, t)| &*t.id), new.categories().terms().map(|(_, t)| &*t.id));
    let mut names = Vec::with_capacity(kinds.len() * purposes.len() * categories.len());
    for kind in &kinds {
        for purpose in &purposes {
            names.extend(categories.iter().map(|category| (kind.clone(), purpose.clone(), category.clone())));
        }
    }
    names
}

/// The slice by names; a name that the version does not know releases nothing.
fn slice(
    search: &mut Search<'_>,
    words: &Vocabulary,
    (kind, purpose, category): (&str, &str, &str),
) -> Worked {
    let point: Option<(KindId, PurposeId, CategoryId)> = (|| {
        Some((words.kinds().find(kind)?, words.purposes().find(purpose)?, words.categories().find(category)?))
    })();
    point.map_or_else(Worked::default, |(kind, purpose, category)| search.slice(kind, purpose, category))
}

/// One difference for each pair of forms: the one whose circumstances are plainest.
fn differences(old: &Worked, new: &Worked) -> Vec<(Circumstances, Form, Form)> {
    if old.is_same_as(new) {
        return Vec::new();
    }
    let mut found: Vec<(Circumstances, Form, Form)> = Vec::new();
    let mut visit = |circumstances: Circumstances, outcomes: &[Outcome]| {
        if let [before, after] = outcomes
            && before.form != after.form
        {
            let plain = circumstances.unusual();
            match found.iter_mut().find(|(_, old, new)| (*old, *new) == (before.form, after.form)) {
                Some((known, _, _)) if plain.count() < known.count() => *known = plain,
                Some(_) => {}
                None => found.push((plain, before.form, after.form)),
            }
        }
        ControlFlow::<()>::Continue(())
    };
    let given = |slice| Given { slice, given: Circumstances::default() };
    let _ = outcomes(&[given(old), given(new)], Circumstances::default(), &mut visit);
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::finding::Source;

    const MANIFEST: &str = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\n\
        contact = \"c\"\n[bases]\nconsent = \"c\"\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    const HOSTING: &str = "@id(\"hosting\") @clause(\"C\") @basis(\"contract\") permit (principal in Kind::\"hosting-provider\", \
        action == Action::\"hosting\", resource in Category::\"contact\");";
    const ERASED: &str =
        "@id(\"erased\") @clause(\"C\") forbid (principal, action, resource) when { context.erased };";

    fn pack(rules: &[&str]) -> Pack {
        let rules = rules.join("\n");
        Pack::load(&[Source::new("pack.toml", MANIFEST), Source::new("rules.cedar", rules)]).unwrap()
    }

    #[test]
    fn changes_are_found_by_what_leaves_and_not_by_text() {
        let old = pack(&[HOSTING, ERASED]);
        assert_eq!(
            changes(&old, &pack(&[ERASED, &HOSTING.replace("\"hosting\") @c", "\"renamed\") @c")])).unwrap(),
            []
        );
        let stricter = changes(&pack(&[HOSTING]), &old).unwrap();
        let [change] = stricter.as_slice() else { unreachable!("{stricter:?}") };
        assert_eq!(change.categories, ["contact", "email", "phone", "postal-address"]);
        assert_eq!(
            (change.old, change.new, change.when.as_str()),
            (Form::Clear, Form::Removed, "erased = true")
        );
        assert!(!change.is_more());
        let looser = changes(&old, &pack(&[HOSTING])).unwrap();
        assert!(looser.iter().all(Change::is_more) && looser.len() == 1);
    }
}
