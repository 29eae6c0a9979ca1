//! Reads `errors` of a `[[route]]`: the members of the upstream's error body that a recipient may see.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::mapping::PathPlace;
use super::terms::PackTerms;
use crate::document::{Document, Fields, Item};
use crate::exchange::error_mapping::{ErrorMapping, ListedCodes, has_code_form};
use crate::exchange::route::{QueryParameter, Scrubbing, pattern_parameters};
use crate::finding::Finding;
use crate::scrub::{
    FieldMapping, Mapping, MappingError, MappingFault, Plan, RecordMapping, selects_by_condition,
};
use crate::vocabulary::CategoryId;

/// The table `errors` as it is written.
pub(super) struct WrittenErrors<'d> {
    document: &'d Document<'d>,
    at: Range<usize>,
    fields: Vec<FieldMapping>,
    places: Vec<PathPlace<'d>>,
    /// The codes that are listed for each of the fields.
    codes: Vec<HashSet<String>>,
}

/// The route that the members belong to.
pub(super) struct ErrorRoute<'r> {
    pub(super) name: &'r str,
    pub(super) pattern: &'r str,
    pub(super) personal: bool,
    pub(super) hides_existence: bool,
    pub(super) query: &'r HashMap<String, QueryParameter>,
}

/// Reads the table. `None` if the route has none.
pub(super) fn read<'d>(fields: &mut Fields<'d>, words: &PackTerms<'_>) -> Option<WrittenErrors<'d>> {
    let document = fields.document();
    let item = fields.item("errors")?;
    let mut written =
        WrittenErrors { document, at: item.at(), fields: Vec::new(), places: Vec::new(), codes: Vec::new() };
    for (path, item) in item.entries() {
        let (categories, codes) = written.member(&item, words);
        let at = path.at.clone();
        written.places.push(PathPlace { path: path.value.to_owned(), document, at: path.at });
        if selects_by_condition(path.value) {
            let finding =
                Finding::error("bad-error-path", format!("`{}` selects by a condition", path.value));
            let hint = "paths of `errors` have names, `*` and `..` only: `$.errors[*].field`";
            document.find(finding.label("a filter or a position").hint(hint), at);
            continue;
        }
        let path = path.value.to_owned();
        written.fields.push(FieldMapping { path, categories, embedded: false });
        written.codes.push(codes);
    }
    Some(written)
}

impl WrittenErrors<'_> {
    /// Reads the categories of a member, or a table with `category` and `codes`. A category that is about somebody is a finding.
    fn member(&self, item: &Item<'_>, words: &PackTerms<'_>) -> (Vec<CategoryId>, HashSet<String>) {
        let mut codes = HashSet::new();
        let mut table = if item.is_table() { item.fields("a member of an error") } else { None };
        let written = match &mut table {
            None => words.categories(self.document, item),
            Some(table) => {
                codes = self.codes(table);
                let category = table.item("category");
                if category.is_none() {
                    table.missing("category");
                }
                category.map_or_else(Vec::new, |item| words.categories(self.document, &item))
            }
        };
        if let Some(table) = table {
            table.end();
        }
        if let Some(personal) = written.iter().find(|category| words.vocabulary.has_owner(**category)) {
            let name = words.vocabulary.categories().name(*personal);
            let finding =
                Finding::error("error-member-personal", format!("`{name}` of an error never leaves"))
                    .label("about somebody");
            let hint = "nobody knows whom an error is about: map members that are `non-personal`, and leave out the others";
            self.document.find(finding.hint(hint), item.at());
        }
        (written, codes)
    }

    /// Reads `codes`. A text that is no code, such as a name with a space, is a finding.
    fn codes(&self, table: &mut Fields<'_>) -> HashSet<String> {
        let mut codes = HashSet::new();
        for code in table.texts("codes") {
            if has_code_form(code.value) {
                codes.insert(code.value.to_owned());
                continue;
            }
            let finding = Finding::error("bad-error-code", format!("`{}` is no code", code.value));
            let hint = "a code has up to 40 letters and digits, with `.`, `_` or `-` between them";
            self.document.find(finding.label("not in the form of a code").hint(hint), code.at);
        }
        codes
    }

    /// Compiles the members, and adds their classes to the route's mapping.
    pub(super) fn compile(
        self,
        route: &ErrorRoute<'_>,
        scrubbing: &mut Scrubbing,
        words: &PackTerms<'_>,
    ) -> Option<ErrorMapping> {
        self.check(route, scrubbing);
        let paths: Vec<String> = self.fields.iter().map(|field| field.path.clone()).collect();
        let plan = match plan_of(self.fields.clone(), words) {
            Ok(plan) => plan,
            Err(errors) => {
                for error in errors.iter().filter(|error| error.fault != MappingFault::NoCategory) {
                    for place in self.places.iter().filter(|place| place.path == error.path) {
                        let message = format!("`{}` cannot be used: {}", error.path, error.fault);
                        let finding = Finding::error("bad-path", message);
                        let hint = "paths of `errors` are RFC 9535: `$.errors[*].field`";
                        place.document.find(finding.hint(hint), place.at.clone());
                    }
                }
                return None;
            }
        };
        // A code passes only where it is listed: each list has a plan of its path alone.
        let listed = self.fields.into_iter().zip(self.codes).filter(|(_, codes)| !codes.is_empty());
        let listed = listed
            .map(|(field, codes)| Some(ListedCodes { plan: plan_of(vec![field], words).ok()?, codes }))
            .collect::<Option<Vec<_>>>()?;
        let classes = plan.classes().iter().map(|class| class.categories.clone());
        let classes: Vec<_> = classes
            .map(|categories| scrubbing.add_class(categories, words.vocabulary))
            .collect::<Option<_>>()?;
        let mut errors = ErrorMapping::new(plan, classes, &paths, listed);
        scrubbing.records.iter().for_each(|set| errors.add_names_of(set));
        let parameters = route.query.keys().map(String::as_str).chain(pattern_parameters(route.pattern));
        parameters.for_each(|name| errors.add_name(name));
        Some(errors)
    }

    fn check(&self, route: &ErrorRoute<'_>, scrubbing: &Scrubbing) {
        let name = route.name;
        if !route.personal {
            let finding = Finding::error(
                "errors-without-mapping",
                format!("route `{name}` is not personal: its errors pass through unread"),
            );
            let hint = "take out `errors`, or `personal = false`";
            self.document.find(finding.label("maps members that pass anyway").hint(hint), self.at.clone());
        } else if scrubbing.fields.is_empty() {
            let finding = Finding::warning(
                "errors-without-fields",
                format!("route `{name}` maps no field: of its errors only short codes leave"),
            );
            let hint =
                "the names of fields are those of the route's own mapping: add `[route.fields]` or `schema`";
            self.document.find(finding.label("knows no name of a field").hint(hint), self.at.clone());
        }
        if route.hides_existence {
            let finding = Finding::error(
                "errors-disclose-existence",
                format!("members of errors can say what route `{name}` hides"),
            );
            let hint = "take out `errors` or `hide-existence`: `already_exists` tells that there is a record";
            self.document.find(finding.label("beside `hide-existence`").hint(hint), self.at.clone());
        }
    }
}

/// Compiles the plan of these members.
fn plan_of(fields: Vec<FieldMapping>, words: &PackTerms<'_>) -> Result<Plan, Vec<MappingError>> {
    let record = RecordMapping { path: "$".to_owned(), fields, ..RecordMapping::default() };
    Plan::compile(&Mapping { records: vec![record], ..Mapping::default() }, words.vocabulary)
}
