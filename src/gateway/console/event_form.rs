//! Forms that record an event about a person: their fields, and the event that somebody entered.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Console;
use super::opened_people::random_text;
use super::problem_page::FormProblem;
use super::visitor::Visitor;
use crate::ledger::{Right, TermList};
use crate::vocabulary::Origin;

/// Resources of the API that take what the forms send.
const EVENTS: &str = "/v1/subjects/{id}/events";
const REQUESTS: &str = "/v1/subjects/{id}/requests";
/// Name of the field that makes a repeated form one event.
pub(super) const ONCE: &str = "once";
/// Maximum number of recipients of a selection. A longer one helps nobody, and a page has several.
pub(super) const MAX_OFFERED: usize = 200;
/// Maximum length of [`ONCE`], in bytes.
const MAX_ONCE: usize = 64;
/// Members of an event that are texts.
const TEXTS: [&str; 10] = [
    "kind",
    "purpose",
    "recipient",
    "recipient-kind",
    "category",
    "relation",
    "right",
    "notice",
    "channel",
    "evidence",
];
/// Members of an event that are times.
const TIMES: [&str; 2] = ["at", "valid-until"];
/// Members of `facts` that are texts. `unknown` is the value of one that is no longer known.
const FACTS: [&str; 3] = ["country", "region", "origin"];
/// Members of `facts` that are true or false.
const FLAGS: [&str; 2] = ["minor", "transfer-consent"];

/// The fields of a form by name.
pub(super) type EnteredFields = BTreeMap<String, String>;

/// Kinds of events that have the same fields.
#[derive(Debug)]
pub(super) struct EventGroup {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    /// The last segment of the path that takes the form.
    pub(super) action: &'static str,
    /// Names of the kinds, each with its meaning.
    pub(super) kinds: &'static [(&'static str, &'static str)],
    pub(super) fields: Vec<EventField>,
    /// The value of [`ONCE`].
    pub(super) once: String,
    /// A remark below the title; empty if there is none.
    pub(super) remark: &'static str,
    /// The kind that was chosen; empty if the form is new.
    pub(super) chosen: String,
}

impl EventGroup {
    /// True if the form is for this kind of event.
    pub(super) fn has(&self, kind: &str) -> bool {
        self.kinds.iter().any(|(known, _)| *known == kind)
    }

    /// Fills in what somebody entered, and marks the fields that the problem names.
    pub(super) fn fill(&mut self, entered: &EnteredFields, problem: &FormProblem) {
        self.chosen = entered.get("kind").cloned().unwrap_or_default();
        for field in &mut self.fields {
            field.value = entered.get(field.name).cloned().unwrap_or_default();
            field.is_invalid = problem.names(field.name);
        }
    }
}

/// A field of a form.
#[derive(Debug)]
pub(super) struct EventField {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The values of a selection; empty for a text.
    pub(super) choices: Vec<String>,
    /// `text`, or `datetime-local` for a time.
    pub(super) input: &'static str,
    pub(super) is_required: bool,
    /// The value that was entered before.
    pub(super) value: String,
    /// True if the value cannot be recorded.
    pub(super) is_invalid: bool,
}

fn choice(name: &'static str, label: &'static str, choices: Vec<String>) -> EventField {
    let (is_required, is_invalid) = (false, false);
    EventField { name, label, choices, input: "text", is_required, value: String::new(), is_invalid }
}

fn entry(name: &'static str, label: &'static str) -> EventField {
    choice(name, label, Vec::new())
}

impl EventField {
    fn required(self) -> EventField {
        EventField { is_required: true, ..self }
    }

    fn time(self) -> EventField {
        EventField { input: "datetime-local", ..self }
    }
}

/// Terms that the fields offer.
#[derive(Debug)]
pub(super) struct FormTerms {
    pub(super) purposes: Vec<String>,
    pub(super) categories: Vec<String>,
    kinds: Vec<String>,
    relations: Vec<String>,
    refusable: Vec<String>,
    /// See [`offered_recipients`].
    pub(super) recipients: Vec<String>,
}

impl FormTerms {
    pub(super) fn of(console: &Console, visitor: &Visitor) -> FormTerms {
        let terms = console.admin.shared.ledger.terms();
        let all = |list| terms.all_terms(list).into_iter().map(str::to_owned).collect::<Vec<String>>();
        let categories = all(TermList::Categories);
        let mut refusable = categories.clone();
        refusable.retain(|name| terms.category(name).is_some_and(|category| terms.refusable(category)));
        FormTerms {
            purposes: all(TermList::Purposes),
            categories,
            kinds: all(TermList::Kinds),
            relations: all(TermList::Relations),
            refusable,
            recipients: offered_recipients(console, visitor),
        }
    }

    fn purpose(&self) -> EventField {
        choice("purpose", "Purpose", self.purposes.clone()).required()
    }

    fn recipient(&self, label: &'static str) -> EventField {
        choice("recipient", label, self.recipients.clone())
    }
}

/// Returns the names of the recipients that a form offers. None if the roles do not permit the list, or if there are too many
/// for a selection: the field is a text then.
pub(super) fn offered_recipients(console: &Console, visitor: &Visitor) -> Vec<String> {
    let snapshot = console.admin.shared.snapshot();
    if snapshot.recipients.len() > MAX_OFFERED || !visitor.may("GET", "/v1/recipients") {
        return Vec::new();
    }
    snapshot.recipients.iter().map(|recipient| recipient.name.to_string()).collect()
}

/// Returns the forms for a person that the visitor may send.
///
/// # Errors
/// If the system has no random numbers.
pub(super) fn event_groups(
    console: &Console,
    visitor: &Visitor,
) -> Result<Vec<EventGroup>, getrandom::Error> {
    let terms = FormTerms::of(console, visitor);
    let mut groups = Vec::new();
    if visitor.may("POST", EVENTS) {
        groups.extend(choices_of_people(&terms)?);
        groups.extend(facts_and_ends(&terms)?);
    }
    if visitor.may("POST", REQUESTS) {
        groups.extend(requests()?);
    }
    Ok(groups)
}

fn group(
    id: &'static str,
    title: &'static str,
    kinds: &'static [(&'static str, &'static str)],
    fields: Vec<EventField>,
) -> Result<EventGroup, getrandom::Error> {
    let common = [
        entry("channel", "Channel: letter, call, …"),
        entry("evidence", "Evidence: where the proof is"),
        entry("at", "Counts from (UTC), now if empty").time(),
    ];
    let fields = fields.into_iter().chain(common).collect();
    let once = random_text::<16>()?;
    Ok(EventGroup { id, title, action: "events", kinds, fields, once, remark: "", chosen: String::new() })
}

/// Returns the forms for what a person chose.
fn choices_of_people(terms: &FormTerms) -> Result<Vec<EventGroup>, getrandom::Error> {
    let consent = [
        terms.purpose(),
        choice("recipient-kind", "To a kind of recipients", terms.kinds.clone()),
        terms.recipient("Or to one recipient"),
        entry("valid-until", "A given consent ends (UTC)").time(),
        entry("notice", "Version of the notice shown"),
    ];
    let objection = vec![terms.purpose()];
    let category = choice("category", "Data category", terms.refusable.clone()).required();
    Ok(vec![
        group(
            "consent",
            "Consent",
            &[("consent-given", "given"), ("consent-refused", "refused"), ("consent-withdrawn", "withdrawn")],
            consent.into(),
        )?,
        EventGroup {
            remark: "An objection is overridden with the evidence of compelling legitimate grounds only.",
            ..group(
                "objection",
                "Objection",
                &[
                    ("objection", "the person objects"),
                    ("objection-lifted", "the person takes it back"),
                    ("objection-upheld", "accepted after examination"),
                    ("objection-overridden", "overridden by compelling grounds"),
                ],
                objection,
            )?
        },
        group(
            "opt-out",
            "Opt-out",
            &[("opt-out", "opts out"), ("opt-out-lifted", "takes it back")],
            vec![terms.recipient("Recipient").required()],
        )?,
        group(
            "category",
            "Data category",
            &[("category-refused", "refused"), ("category-allowed", "allowed again")],
            vec![category],
        )?,
        group(
            "notice",
            "Notice",
            &[("notice", "the person was shown a privacy notice")],
            vec![entry("notice", "Version of the notice").required()],
        )?,
    ])
}

/// Returns the forms for facts, relations, restriction and erasure.
fn facts_and_ends(terms: &FormTerms) -> Result<Vec<EventGroup>, getrandom::Error> {
    let yes_or_no = || vec!["yes".to_owned(), "no".to_owned()];
    let origins = Origin::ALL.iter().map(|origin| origin.name().to_owned()).collect();
    let facts = [
        entry("country", "Country (ISO 3166-1), or unknown"),
        entry("region", "Region, or unknown"),
        choice("minor", "Minor", yes_or_no()),
        choice("transfer-consent", "Consents to transfers to third countries", yes_or_no()),
        choice("origin", "Origin of the data", origins),
    ];
    let relation = vec![
        choice("relation", "Relation", terms.relations.clone()).required(),
        terms.recipient("To one recipient"),
    ];
    Ok(vec![
        group(
            "relation",
            "Relation",
            &[("relation", "stands in a relation"), ("relation-ended", "the relation ended")],
            relation,
        )?,
        EventGroup {
            remark: "Only what you enter changes. Consent to transfers needs evidence.",
            ..group(
                "facts",
                "Facts and corrections",
                &[("fact", "became known"), ("correction", "was recorded wrongly")],
                facts.into(),
            )?
        },
        group(
            "restriction",
            "Restriction of processing",
            &[("restriction", "begins"), ("restriction-lifted", "ends")],
            Vec::new(),
        )?,
        EventGroup {
            remark: "It cannot be undone. The next page asks again.",
            ..group("erasure", "Erasure", &[("erasure", "the data are erased")], Vec::new())?
        },
    ])
}

/// Returns the forms for requests of the person.
fn requests() -> Result<Vec<EventGroup>, getrandom::Error> {
    let names = || Right::ALL.iter().map(|right| right.name().to_owned()).collect();
    let right = || choice("right", "Right", names()).required();
    Ok(vec![
        EventGroup {
            action: "requests",
            remark: "It is due 30 days after it was received. A request alone changes nothing about disclosures.",
            ..group("request", "Request of the person", &[("request-received", "received")], vec![right()])?
        },
        EventGroup {
            action: "answers",
            ..group("answer", "Answer to a request", &[("request-answered", "answered")], vec![right()])?
        },
    ])
}

/// Returns the event that somebody entered. An empty field is absent.
pub(super) fn entered_event(entered: &EnteredFields) -> Value {
    let given = |name: &str| entered.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let mut event = Map::new();
    for name in TEXTS {
        event.extend(given(name).map(|text| (name.to_owned(), Value::from(text))));
    }
    for name in TIMES {
        event.extend(given(name).map(|text| (name.to_owned(), Value::from(in_utc(text)))));
    }
    let mut facts = Map::new();
    for name in FACTS {
        let fact = |text: &str| if text == "unknown" { Value::Null } else { Value::from(text) };
        facts.extend(given(name).map(|text| (name.to_owned(), fact(text))));
    }
    for name in FLAGS {
        // Another word is refused as no truth value.
        let fact = |text: &str| match text {
            "yes" => Value::Bool(true),
            "no" => Value::Bool(false),
            other => Value::from(other),
        };
        facts.extend(given(name).map(|text| (name.to_owned(), fact(text))));
    }
    if !facts.is_empty() {
        event.insert("facts".to_owned(), facts.into());
    }
    Value::Object(event)
}

/// Returns a time that a browser enters without zone (`2026-11-29T15:00`) as one in UTC. Another text is left as it is.
pub(super) fn in_utc(text: &str) -> String {
    match text.len() {
        16 => format!("{text}:00Z"),
        19 => format!("{text}Z"),
        _ => text.to_owned(),
    }
}

/// Returns the idempotency key of a form; `None` if it has none that the console can have made.
pub(super) fn form_key(entered: &EnteredFields) -> Option<String> {
    let once = entered.get(ONCE).filter(|once| !once.is_empty() && once.len() <= MAX_ONCE)?;
    Some(format!("console:{once}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entered(fields: &[(&str, &str)]) -> EnteredFields {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_event_has_what_was_entered() {
        let event = entered_event(&entered(&[
            ("form-token", "x"),
            ("once", "y"),
            ("kind", "consent-given"),
            ("purpose", " survey "),
            ("recipient", ""),
            ("valid-until", "2027-01-01T00:00"),
            ("at", "2026-01-01T00:00:00Z"),
        ]));
        let expected = json!({
            "kind": "consent-given", "purpose": "survey", "valid-until": "2027-01-01T00:00:00Z",
            "at": "2026-01-01T00:00:00Z",
        });
        assert_eq!(event, expected);
        let facts = entered(&[("kind", "fact"), ("country", "unknown"), ("minor", "no"), ("region", "EEA")]);
        let expected = json!({"kind": "fact", "facts": {"country": null, "minor": false, "region": "EEA"}});
        assert_eq!(entered_event(&facts), expected);
    }

    #[test]
    fn a_form_without_a_key_of_the_console_has_none() {
        assert_eq!(form_key(&entered(&[("once", "abc")])).as_deref(), Some("console:abc"));
        assert_eq!(form_key(&entered(&[])), None);
        assert_eq!(form_key(&entered(&[("once", "")])), None);
        assert_eq!(form_key(&entered(&[("once", &"x".repeat(65))])), None);
    }
}
