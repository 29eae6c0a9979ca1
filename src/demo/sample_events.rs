//! The consents and other events that the demonstration's ledger starts with.
//!
//! Each event is a JSON object in the batch format of the admin API. Some people have no event on purpose: nothing
//! personal leaves about a person whom the ledger does not know.

use serde_json::{Value, json};

use super::people::{POPULATION, cast, id, scatter};

/// A person's consent to marketing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarketingConsent {
    /// Given and in force.
    Consents,
    /// Never asked for; the person was informed.
    NeverAsked,
    Refused,
    Withdrew,
    /// The ledger has no event about the person.
    Unknown,
}

/// Returns the consent of a person at the start. Six in ten have given it.
pub(super) fn marketing_consent(number: u32) -> MarketingConsent {
    match number {
        cast::CONSENTING | cast::CHANGING | cast::LEAVING | cast::STAYING => MarketingConsent::Consents,
        // These three consented once, but restriction, minority and erasure outweigh it.
        cast::RESTRICTED | cast::MINOR | cast::ERASED => MarketingConsent::Consents,
        cast::WITHDRAWN => MarketingConsent::Withdrew,
        cast::UNKNOWN => MarketingConsent::Unknown,
        1..=20 => MarketingConsent::NeverAsked,
        _ => match scatter(number) % 100 {
            0..60 => MarketingConsent::Consents,
            60..80 => MarketingConsent::NeverAsked,
            80..90 => MarketingConsent::Refused,
            90..97 => MarketingConsent::Withdrew,
            _ => MarketingConsent::Unknown,
        },
    }
}

/// Returns all events, subject by subject, those of a subject in the order of their time.
pub(super) fn events() -> impl Iterator<Item = Value> {
    (1..=POPULATION).flat_map(events_of).chain([notice("e-014")])
}

fn notice(subject: &str) -> Value {
    json!({"subject": subject, "kind": "notice", "notice": "privacy-2025-01", "channel": "web", "at": "2025-01-07T09:00:00Z"})
}

/// Returns a withdrawal of the consent to marketing, with the time of its arrival.
pub(super) fn withdrawal() -> Value {
    json!({"kind": "consent-withdrawn", "purpose": "marketing", "channel": "web"})
}

fn events_of(number: u32) -> Vec<Value> {
    let subject = id(number);
    let about = |kind: &str, at: &str, more: Value| {
        let mut event = json!({"subject": subject, "kind": kind, "at": at});
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        event
    };
    let marketing = |kind, at| about(kind, at, json!({"purpose": "marketing", "notice": "privacy-2025-01"}));
    let given = || marketing("consent-given", "2025-01-07T09:05:00Z");

    let mut events = match marketing_consent(number) {
        MarketingConsent::Unknown => return Vec::new(),
        MarketingConsent::Consents => vec![notice(&subject), given()],
        MarketingConsent::NeverAsked => vec![notice(&subject)],
        MarketingConsent::Refused => {
            vec![notice(&subject), marketing("consent-refused", "2025-01-07T09:05:00Z")]
        }
        MarketingConsent::Withdrew => {
            vec![notice(&subject), given(), marketing("consent-withdrawn", "2025-06-30T17:45:00Z")]
        }
    };
    let downloaded = || about("relation", "2025-03-01T12:00:00Z", json!({"relation": "product-download"}));
    match number {
        cast::ERASED => events.push(about("erasure", "2025-05-02T08:00:00Z", json!({}))),
        cast::RESTRICTED => events.push(about("restriction", "2025-05-02T08:00:00Z", json!({}))),
        cast::MINOR => events.push(about("fact", "2025-02-01T08:00:00Z", json!({"facts": {"minor": true}}))),
        cast::OBJECTING => {
            events.push(about("objection", "2025-04-11T10:00:00Z", json!({"purpose": "marketing"})));
        }
        cast::DOWNLOADER | cast::OVERSEAS => events.push(downloaded()),
        cast::OPTED_OUT => {
            events.push(downloaded());
            events.push(about("opt-out", "2025-03-09T10:00:00Z", json!({"recipient": "north-resale"})));
        }
        cast::REGISTRANT => {
            let relation = json!({"relation": "domain-registrant", "recipient": "acme-domains"});
            events.push(about("relation", "2025-02-14T09:26:53Z", relation));
        }
        cast::NO_PHONE => {
            events.push(about("category-refused", "2025-03-21T10:00:00Z", json!({"category": "phone"})));
        }
        _ => {}
    }
    events
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn every_event_has_subject_kind_and_time() {
        let mut kinds: HashMap<String, usize> = HashMap::new();
        for event in events() {
            assert!(event["subject"].is_string() && event["at"].is_string(), "{event}");
            *kinds.entry(event["kind"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        assert!(kinds["consent-given"] > 5_500 && kinds["consent-refused"] > 500, "{kinds:?}");
        assert_eq!((kinds["erasure"], kinds["restriction"], kinds["opt-out"]), (1, 1, 1));
    }

    #[test]
    fn the_unknown_person_has_no_event() {
        assert!(events().all(|event| event["subject"] != id(cast::UNKNOWN)));
    }
}
