//! The event that each verb of `consent` records, in the JSON format of the admin API.

use serde_json::{Map, Value};

use super::verb::{ConsentArgs, ConsentVerb, PurposeArgs};
use crate::cli::arguments::{EventDetails, SubjectArgs};
use crate::cli::error::CliError;

/// Returns the person and the event of a verb that records one.
///
/// # Errors
/// [`CliError::Unusable`] for a verb that records no event.
pub(super) fn event(verb: ConsentVerb) -> Result<(SubjectArgs, Map<String, Value>), CliError> {
    let mut event = Map::new();
    let mut put = |member: &str, value: Option<String>| {
        if let Some(value) = value {
            event.insert(member.to_owned(), value.into());
        }
    };
    let kind = |kind: &str| Some(kind.to_owned());
    let (person, details) = match verb {
        ConsentVerb::Give { consent, valid_until } => {
            put("kind", kind("consent-given"));
            put("valid-until", valid_until.map(|time| time.to_string()));
            consent.put(&mut put)
        }
        ConsentVerb::Refuse(consent) => {
            put("kind", kind("consent-refused"));
            consent.put(&mut put)
        }
        ConsentVerb::Withdraw(consent) => {
            put("kind", kind("consent-withdrawn"));
            consent.put(&mut put)
        }
        ConsentVerb::Object { person, purpose, details } => {
            put("kind", kind("objection"));
            put("purpose", purpose.name());
            (person, details)
        }
        ConsentVerb::OptOut { person, recipient, details } => {
            put("kind", kind("opt-out"));
            put("recipient", Some(recipient));
            (person, details)
        }
        ConsentVerb::Restrict { person, details } => {
            put("kind", kind("restriction"));
            (person, details)
        }
        ConsentVerb::Lift { person, objection, opt_out, details } => {
            put(
                "kind",
                kind(match (&objection, &opt_out) {
                    (Some(_), _) => "objection-lifted",
                    (None, Some(_)) => "opt-out-lifted",
                    (None, None) => "restriction-lifted",
                }),
            );
            put("purpose", objection);
            put("recipient", opt_out);
            (person, details)
        }
        ConsentVerb::Erase { person, details } => {
            put("kind", kind("erasure"));
            (person, details)
        }
        ConsentVerb::Fact { person, facts, details } => {
            put("kind", kind("fact"));
            event.insert("facts".to_owned(), Value::Object(facts.into_iter().collect()));
            (person, details)
        }
        ConsentVerb::Show { .. } | ConsentVerb::Import { .. } | ConsentVerb::Export => {
            return Err(CliError::Unusable("this verb records no event".to_owned()));
        }
    };
    Ok((person, details.add_to(event)))
}

impl ConsentArgs {
    /// Puts the purpose and the recipients, and returns the other arguments.
    fn put(self, put: &mut impl FnMut(&str, Option<String>)) -> (SubjectArgs, EventDetails) {
        let ConsentArgs { person, purpose, recipient, recipient_kind, details } = self;
        put("purpose", purpose.name());
        put("recipient", recipient);
        put("recipient-kind", recipient_kind);
        (person, details)
    }
}

impl PurposeArgs {
    fn name(self) -> Option<String> {
        self.purpose.or(self.by_name)
    }
}
