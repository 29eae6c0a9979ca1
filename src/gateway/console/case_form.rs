//! The form that registers a case.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value, json};

use super::Console;
use super::case_event::event_of;
use super::chrome::{Chrome, html};
use super::event_form::{EnteredFields, FormTerms, in_utc};
use super::filters;
use super::filters::encode;
use super::json_text::text;
use super::opened_people::random_text;
use super::problem_page::PageProblem;
use super::screen::FormOf;
use super::subject::{given, no_random};
use super::visitor::Visitor;
use crate::gateway::admin::event::EventQuery;
use crate::gateway::admin::problem::AdminProblem;
use crate::gateway::admin::request::{NoParameters, QueryOf};

/// Prefix of the names of the boxes of categories.
const CATEGORY: &str = "category:";
/// Members of a registration that are texts, and have the names of their fields.
const TEXTS: [&str; 4] = ["case", "recipient", "purpose", "reference"];
/// Members that are times.
const TIMES: [&str; 2] = ["end", "confidential-until"];

#[derive(Template)]
#[template(path = "case_form.html")]
struct NewCasePage {
    chrome: Chrome,
    /// The reason why nothing was registered.
    problem: Option<String>,
    once: String,
    entered: EnteredFields,
    /// Empty if there are too many for a selection.
    recipients: Vec<String>,
    purposes: Vec<String>,
    categories: Vec<String>,
}

impl NewCasePage {
    fn entered(&self, name: &str) -> &str {
        self.entered.get(name).map(String::as_str).unwrap_or_default()
    }

    fn has(&self, category: &str) -> bool {
        self.entered.contains_key(&format!("{CATEGORY}{category}"))
    }
}

/// Shows the form.
pub(super) async fn form(
    State(console): State<Console>,
    visitor: Visitor,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    console.case_form(&visitor, EnteredFields::new(), None)
}

/// Registers a case. A form that cannot be accepted is shown again, with what was entered.
pub(super) async fn register(
    State(console): State<Console>,
    visitor: Visitor,
    FormOf(entered): FormOf<EnteredFields>,
) -> Result<Response, PageProblem> {
    let event = event_of(&visitor, &entered, &registration(&entered))?;
    match console.admin.register_case(&EventQuery::default(), event).await {
        Ok(acknowledged) => {
            let id = text(&Value::Object(acknowledged.0), "case");
            Ok(Redirect::to(&format!("/console/cases/{}", encode(&id))).into_response())
        }
        Err(problem) => console.case_form(&visitor, entered, Some(&problem)),
    }
}

impl Console {
    fn case_form(
        &self,
        visitor: &Visitor,
        entered: EnteredFields,
        problem: Option<&AdminProblem>,
    ) -> Result<Response, PageProblem> {
        let terms = FormTerms::of(self, visitor);
        let title = if problem.is_some() { "Error: New case" } else { "New case" };
        let mut response = html(&NewCasePage {
            chrome: self.chrome(visitor, title, "/console/cases"),
            problem: problem.map(|problem| problem.detail().to_owned()),
            // Another form: an idempotency key stands for one content.
            once: random_text::<16>().map_err(no_random)?,
            entered,
            recipients: terms.recipients,
            purposes: terms.purposes,
            categories: terms.categories,
        });
        if let Some(problem) = problem {
            *response.status_mut() = problem.status();
        }
        Ok(response)
    }
}

/// Returns the registration that somebody entered. An empty field is absent.
fn registration(entered: &EnteredFields) -> Value {
    let filled = |name: &str| entered.get(name).and_then(|text| given(text));
    let mut members = Map::new();
    for name in TEXTS {
        members.extend(filled(name).map(|text| (name.to_owned(), Value::from(text))));
    }
    for name in TIMES {
        members.extend(filled(name).map(|text| (name.to_owned(), Value::from(in_utc(&text)))));
    }
    let namespace = filled("namespace");
    let person = |id: &str| match &namespace {
        None => Value::from(id),
        Some(namespace) => json!({ "id": id, "namespace": namespace }),
    };
    let subjects = entered.get("subjects").map(String::as_str).unwrap_or_default().lines();
    let subjects = subjects.map(str::trim).filter(|id| !id.is_empty()).map(person);
    members.insert("subjects".to_owned(), subjects.collect());
    let categories = entered.keys().filter_map(|name| name.strip_prefix(CATEGORY));
    members.insert("categories".to_owned(), categories.collect());
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_has_what_was_entered() {
        let fields = [
            ("form-token", "x"),
            ("once", "y"),
            ("case", ""),
            ("recipient", " court "),
            ("purpose", "legal"),
            ("subjects", "42\r\n\r\n 43 \n"),
            ("namespace", ""),
            ("category:name", "yes"),
            ("category:contact", "yes"),
            ("end", "2027-03-31T00:00"),
            ("reference", "12-O-4/26"),
            ("confidential-until", ""),
        ];
        let mut entered: EnteredFields =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let expected = json!({
            "recipient": "court", "purpose": "legal", "subjects": ["42", "43"], "categories": ["contact", "name"],
            "end": "2027-03-31T00:00:00Z", "reference": "12-O-4/26",
        });
        assert_eq!(registration(&entered), expected);
        entered.insert("namespace".to_owned(), "crm".to_owned());
        let people = json!([{ "id": "42", "namespace": "crm" }, { "id": "43", "namespace": "crm" }]);
        assert_eq!(registration(&entered)["subjects"], people);
    }
}
