//! A pack at a glance: recipient kinds × purposes × data categories.

mod html;
mod table;

use serde::Serialize;

pub use html::html;
pub use table::table;

use super::facts::Facts;
use super::pack::Pack;
use super::search::{Search, Worked};
use crate::vocabulary::{CategoryId, Form, KindId, PurposeId};

/// Everything a pack ever releases.
#[derive(Clone, Debug, Serialize)]
pub struct Matrix {
    pub title: String,
    pub version: String,
    /// One for each kind, or for several kinds that receive the same.
    pub sections: Vec<Section>,
    pub clauses: Vec<CitedClause>,
}

/// What the recipients of some kinds receive.
#[derive(Clone, Debug, Serialize)]
pub struct Section {
    pub kinds: Vec<String>,
    /// The categories that any purpose releases to them, beyond what is not personal.
    pub categories: Vec<String>,
    pub rows: Vec<Row>,
}

/// One purpose, and what leaves for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    pub purpose: String,
    /// In the order of the section's categories.
    pub entries: Vec<Option<Entry>>,
}

/// What leaves of one category.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub category: String,
    /// The most revealing form.
    pub form: Form,
    pub basis: Option<&'static str>,
    pub rules: Vec<String>,
    pub clauses: Vec<String>,
    /// What has to hold of the person or the request; empty where it leaves unless something stands against it.
    pub needs: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct CitedClause {
    pub id: String,
    pub title: String,
}

/// Works the matrix out. What is about no person, and leaves for every purpose alike, is left out.
pub fn matrix(pack: &Pack) -> Matrix {
    let words = pack.vocabulary();
    let mut search = Search::new(pack.rulebook());
    let mut sections: Vec<Section> = Vec::new();
    for kind in words.kinds().in_order() {
        let section = section(pack, &mut search, kind);
        match sections
            .iter_mut()
            .find(|known| known.rows == section.rows && known.categories == section.categories)
        {
            Some(known) => known.kinds.extend(section.kinds),
            None => sections.push(section),
        }
    }
    let clause =
        |clause: &super::Clause| CitedClause { id: clause.id.to_string(), title: clause.title.clone() };
    Matrix {
        title: pack.manifest().title.clone(),
        version: pack.manifest().version.clone(),
        sections,
        clauses: pack.manifest().clauses.iter().map(clause).collect(),
    }
}

fn section(pack: &Pack, search: &mut Search<'_>, kind: KindId) -> Section {
    let words = pack.vocabulary();
    let personal: Vec<CategoryId> =
        words.categories().in_order().into_iter().filter(|&id| is_somebodys(pack, id)).collect();
    let mut rows: Vec<(PurposeId, Vec<Option<Entry>>)> = Vec::new();
    for purpose in words.purposes().in_order() {
        let entries = personal.iter().map(|&category| entry(pack, search, (kind, purpose, category)));
        let entries: Vec<Option<Entry>> = entries.collect();
        if entries.iter().any(Option::is_some) {
            rows.push((purpose, entries));
        }
    }
    let used: Vec<bool> = (0..personal.len())
        .map(|at| rows.iter().any(|(_, entries)| entries.get(at).is_some_and(Option::is_some)))
        .collect();
    let rows = rows.into_iter().map(|(purpose, entries)| {
        let entries = entries.into_iter().zip(&used).filter(|(_, used)| **used).map(|(entry, _)| entry);
        Row { purpose: words.purposes().name(purpose).to_owned(), entries: entries.collect() }
    });
    let categories = personal.iter().zip(&used).filter(|(_, used)| **used);
    Section {
        kinds: vec![words.kinds().name(kind).to_owned()],
        rows: rows.collect(),
        categories: categories.map(|(&category, _)| words.categories().name(category).to_owned()).collect(),
    }
}

fn is_somebodys(pack: &Pack, category: CategoryId) -> bool {
    let tree = pack.vocabulary().categories();
    let roots = ["personal", "service-data"].into_iter().filter_map(|name| tree.find(name));
    roots.into_iter().any(|root| tree.within(category, root))
}

fn entry(pack: &Pack, search: &mut Search<'_>, point: (KindId, PurposeId, CategoryId)) -> Option<Entry> {
    let (kind, purpose, category) = point;
    let words = pack.vocabulary();
    let rulebook = pack.rulebook();
    let slice: Worked = search.slice(kind, purpose, category);
    let best = rulebook.best(kind, purpose, category);
    let usual = rulebook.judge(kind, purpose, category, Facts::default());
    let (verdict, needs) = if usual.form == best && best != Form::Removed {
        (usual, String::new())
    } else {
        let circumstances = slice.releases()?;
        (rulebook.judge(kind, purpose, category, circumstances.facts), circumstances.unusual().words(words))
    };
    let rules: Vec<_> = verdict.rules.iter().filter_map(|&at| rulebook.rule(at)).collect();
    let mut clauses: Vec<String> =
        rules.iter().flat_map(|rule| &rule.clauses).map(ToString::to_string).collect();
    clauses.dedup();
    Some(Entry {
        category: words.categories().name(category).to_owned(),
        form: verdict.form,
        basis: verdict.basis.map(|basis| basis.name()),
        rules: rules.iter().map(|rule| rule.id.to_string()).collect(),
        clauses,
        needs,
    })
}

/// The letter of a form, for those who see no colours.
pub(super) const fn letter(form: Form) -> &'static str {
    match form {
        Form::Clear => "C",
        Form::Masked => "M",
        Form::Generalised => "G",
        Form::Pseudonymised => "P",
        Form::Removed => "–",
    }
}
