//! The page of a list: a filter, a table, the way on, and what to do where there is nothing.

use askama::Template;

use super::chrome::Chrome;
use super::filters;
use super::pager::Pager;
use super::table::{DataTable, TableCell};

/// A page with one list.
#[derive(Template)]
#[template(path = "list.html")]
pub(super) struct ListView {
    pub(super) chrome: Chrome,
    pub(super) lead: &'static str,
    pub(super) filter: ListFilter,
    /// Warnings above the list, each with its beginning in bold.
    pub(super) banners: Vec<(&'static str, String)>,
    pub(super) heading: &'static str,
    /// Says which rows of the list these are.
    pub(super) extent: String,
    /// A sentence above the list; it may be empty.
    pub(super) intro: TableCell,
    pub(super) table: DataTable,
    /// Stands in place of a list without rows, and says what to do.
    pub(super) empty: TableCell,
    /// Stands below a list with rows; empty if there is nothing to say.
    pub(super) remark: &'static str,
    pub(super) pager: Pager,
}

/// The form that narrows a list.
#[derive(Debug)]
pub(super) struct ListFilter {
    pub(super) action: &'static str,
    pub(super) fields: Vec<FilterField>,
}

/// A field of the form.
#[derive(Debug)]
pub(super) struct FilterField {
    name: &'static str,
    label: &'static str,
    value: String,
    /// Values of a selection with their words; empty for a text.
    choices: Vec<(String, String)>,
}

impl FilterField {
    pub(super) fn text(name: &'static str, label: &'static str, value: &str) -> FilterField {
        FilterField { name, label, value: value.to_owned(), choices: Vec::new() }
    }

    /// A selection of values with their words. A value that is not offered, but filters, is one of them, too.
    pub(super) fn choice(
        name: &'static str,
        label: &'static str,
        value: &str,
        choices: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> FilterField {
        let choices = choices.into_iter().map(|(value, words)| (value.into(), words.into()));
        let mut choices: Vec<(String, String)> = choices.collect();
        if choices.iter().all(|(offered, _)| offered != value) {
            choices.push((value.to_owned(), value.to_owned()));
        }
        FilterField { choices, ..FilterField::text(name, label, value) }
    }

    /// A selection of names, or a text if none can be offered.
    pub(super) fn name(
        name: &'static str,
        label: &'static str,
        value: &str,
        names: &[String],
    ) -> FilterField {
        if names.is_empty() {
            return FilterField::text(name, label, value);
        }
        let names = names.iter().map(|name| (name.as_str(), name.as_str()));
        FilterField::choice(name, label, value, [("", "all")].into_iter().chain(names))
    }
}

/// Returns the path of a list with what narrows it. An empty text does not narrow it.
pub(super) fn filtered(path: &str, members: &[(&str, &str)]) -> String {
    let members = members.iter().filter(|(_, value)| !value.is_empty());
    let members: Vec<String> =
        members.map(|(name, value)| format!("{name}={}", filters::encode(value))).collect();
    if members.is_empty() { path.to_owned() } else { format!("{path}?{}", members.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_what_narrows_the_list() {
        let path = filtered("/x", &[("recipient", "a&b"), ("purpose", ""), ("outcome", "refused:c")]);
        assert_eq!(path, "/x?recipient=a%26b&outcome=refused%3Ac");
        assert_eq!(filtered("/x", &[("purpose", "")]), "/x");
    }

    #[test]
    fn a_name_that_is_not_offered_stays_chosen() {
        let names = ["a".to_owned(), "b".to_owned()];
        let choices = |value: &str| FilterField::name("n", "N", value, &names).choices.len();
        assert_eq!((choices(""), choices("a"), choices("former")), (3, 3, 4));
        assert!(FilterField::name("n", "N", "a", &[]).choices.is_empty());
    }
}
