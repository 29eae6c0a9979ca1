//! The state in force as JSON, with the members of a scenario's `subject`.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::terms::TermLookup;
use crate::decision::{Addressee, Consent, ConsentStatus, Controller, Extracted, Origins, Relation, Subject};

/// Returns the state of a data subject as JSON, but for what follows from the history alone. A place that was stated twice for
/// one instant is null. A consent that has ended by `now` is shown as `expired`.
pub fn subject_json(subject: &Subject, now: Timestamp, terms: &dyn TermLookup) -> Map<String, Value> {
    let Subject {
        consents,
        consents_since_restriction,
        objections,
        opt_outs,
        restricted,
        erased,
        minor,
        country,
        region,
        is_place_of_two_times: _,
        relations,
        ended_relations,
        origins,
        transfer_consent,
        refused_categories,
        only_refusals: _,
    } = subject;
    let latest = consents.iter().filter(|consent| !gives_way(consent, consents, now));
    let consents = latest.map(|consent| consent_json(consent, now, terms));
    let objections = objections
        .iter()
        .map(|objection| bound(terms.purpose_name(objection.purpose), objection.upheld.then_some("upheld")));
    let relation =
        |one: &Relation| Value::from(bound(terms.relation_name(one.relation), one.recipient.as_deref()));
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("consents", Value::Object(consents.collect()));
    put(
        "consents-since-restriction",
        consents_since_restriction.iter().map(|purpose| terms.purpose_name(*purpose)).collect(),
    );
    put("objections", objections.collect());
    put("opt-outs", opt_outs.iter().map(|name| &**name).collect());
    put("restricted", (*restricted).into());
    put("erased", (*erased).into());
    put("minor", (*minor).into());
    for (name, place) in [("region", region), ("country", country)] {
        let place = match place {
            Extracted::Absent => continue,
            Extracted::Known(place) => (&**place).into(),
            Extracted::Unreadable => Value::Null,
        };
        put(name, place);
    }
    put("relations", relations.iter().map(relation).collect());
    if !ended_relations.is_empty() {
        put("relations-ended", ended_relations.iter().map(relation).collect());
    }
    put("origin", origins_json(origins, terms));
    put("transfer-consent", (*transfer_consent).into());
    put(
        "refused-categories",
        refused_categories.iter().map(|category| terms.category_name(*category)).collect(),
    );
    shown
}

/// True if something else is shown that the person said about the same purpose to the same addressee: a consent until it
/// ends, and then the refusal before it.
fn gives_way(consent: &Consent, all: &[Consent], now: Timestamp) -> bool {
    let is_given = |consent: &Consent| consent.status == ConsentStatus::Given;
    let mut others = all.iter().filter(|other| other.purpose == consent.purpose && other.to == consent.to);
    match is_given(consent) {
        true => has_ended(consent, now) && others.any(|other| !is_given(other)),
        false => others.any(|other| is_given(other) && !has_ended(other, now)),
    }
}

fn has_ended(consent: &Consent, now: Timestamp) -> bool {
    consent.until.is_some_and(|until| until <= now)
}

/// Returns a consent as a member of the JSON object `consents`: the name is the purpose with the addressee, the value
/// is the status.
fn consent_json(consent: &Consent, now: Timestamp, terms: &dyn TermLookup) -> (String, Value) {
    let to = match &consent.to {
        Addressee::Anyone => None,
        Addressee::Kind(kind) => Some(terms.kind_name(*kind)),
        Addressee::Recipient(name) => Some(&**name),
    };
    let status = match consent.status {
        ConsentStatus::Given if has_ended(consent, now) => "expired",
        ConsentStatus::Given => "given",
        ConsentStatus::Refused => "refused",
        ConsentStatus::Withdrawn => "withdrawn",
        ConsentStatus::Expired => "expired",
    };
    (bound(terms.purpose_name(consent.purpose), to), Value::from(status))
}

/// Returns a name, followed by the name of its addressee if there is one: `marketing:acme`.
fn bound(name: &str, to: Option<&str>) -> String {
    match to {
        Some(to) => format!("{name}:{to}"),
        None => name.to_owned(),
    }
}

/// Returns one origin for all data, or an object of categories and origins. In the object, the default origin is that of
/// the root category `personal`.
fn origins_json(origins: &Origins, terms: &dyn TermLookup) -> Value {
    if origins.by_category.is_empty() {
        return origins.default.name().into();
    }
    let of = origins
        .by_category
        .iter()
        .map(|(category, origin)| (terms.category_name(*category).to_owned(), Value::from(origin.name())));
    let mut of: Map<_, _> = of.collect();
    of.entry("personal").or_insert(origins.default.name().into());
    Value::Object(of)
}

/// Returns the state of a controller as JSON.
pub fn controller_json(
    controller: &Controller,
    now: Timestamp,
    terms: &dyn TermLookup,
) -> Map<String, Value> {
    let Controller { instructions, closed_since } = controller;
    let mut shown = Map::new();
    let instructions: Vec<_> = instructions.iter().map(|purpose| terms.purpose_name(*purpose)).collect();
    shown.insert("instructions".to_owned(), json!(instructions));
    if let Some(closed) = closed_since {
        // Completed days, as the rules count them.
        let days = now.duration_since(*closed).as_hours().max(0) / 24;
        shown.insert("account-closed-days".to_owned(), days.into());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::entity::EntityKind;
    use crate::ledger::event::Event;
    use crate::ledger::terms::fixture::Fixture;
    use crate::ledger::{event_json, fold_controller, fold_subject};

    fn events(sort: EntityKind, texts: &[&str]) -> Vec<Event> {
        let read = |text: &&str| {
            let draft = event_json::parse(text.as_bytes(), sort, &Fixture).unwrap();
            Event {
                kind: draft.kind,
                at: draft.at.unwrap_or(Timestamp::UNIX_EPOCH),
                provenance: draft.provenance,
            }
        };
        texts.iter().map(read).collect()
    }

    #[test]
    fn the_state_of_a_subject_has_the_members_of_a_scenario() {
        let events = events(
            EntityKind::Subject,
            &[
                r#"{"kind":"consent-given","purpose":"marketing","recipient-kind":"employee"}"#,
                r#"{"kind":"consent-given","purpose":"analytics","recipient":"acme","valid-until":"2026-01-01T00:00:00Z"}"#,
                r#"{"kind":"consent-withdrawn","purpose":"direct-marketing"}"#,
                r#"{"kind":"objection-upheld","purpose":"security"}"#,
                r#"{"kind":"objection","purpose":"analytics"}"#,
                r#"{"kind":"opt-out","recipient":"acme"}"#,
                r#"{"kind":"relation","relation":"integration-enabled","recipient":"acme"}"#,
                r#"{"kind":"relation","relation":"domain-registrant"}"#,
                r#"{"kind":"relation-ended","relation":"domain-registrant","recipient":"globex"}"#,
                r#"{"kind":"category-refused","category":"photo"}"#,
                r#"{"kind":"fact","facts":{"region":"EEA","country":"fr","origin":{"email":"social"}}}"#,
            ],
        );
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        let shown = Value::Object(subject_json(&fold_subject(&events, &Fixture), now, &Fixture));
        let expected = json!({
            "consents": {"marketing:employee": "given", "analytics:acme": "expired", "direct-marketing": "withdrawn"},
            "consents-since-restriction": [],
            "objections": ["analytics", "security:upheld"],
            "opt-outs": ["acme"],
            "restricted": false,
            "erased": false,
            "minor": false,
            "region": "EEA",
            "country": "FR",
            "relations": ["domain-registrant", "integration-enabled:acme"],
            "relations-ended": ["domain-registrant:globex"],
            "origin": {"personal": "self", "email": "social"},
            "transfer-consent": false,
            "refused-categories": ["photo"],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_refusal_is_shown_once_the_consent_after_it_has_ended() {
        let events = events(
            EntityKind::Subject,
            &[
                r#"{"kind":"consent-refused","purpose":"marketing","at":"2025-01-01T00:00:00Z"}"#,
                r#"{"kind":"consent-given","purpose":"marketing","at":"2025-02-01T00:00:00Z","valid-until":"2026-01-01T00:00:00Z"}"#,
            ],
        );
        let state = fold_subject(&events, &Fixture);
        for (now, status) in [("2025-12-31T23:59:59Z", "given"), ("2026-01-01T00:00:00Z", "refused")] {
            let shown = subject_json(&state, now.parse().unwrap(), &Fixture);
            assert_eq!(shown["consents"], json!({"marketing": status}), "{now}");
        }
    }

    #[test]
    fn the_state_of_a_controller_has_instructions_and_days_since_closing() {
        let events = events(
            EntityKind::Controller,
            &[
                r#"{"kind":"instruction","purpose":"invoicing"}"#,
                r#"{"kind":"account-closed","at":"2026-01-01T00:00:00Z"}"#,
            ],
        );
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let shown = Value::Object(controller_json(&fold_controller(&events, &Fixture), now, &Fixture));
        assert_eq!(shown, json!({"instructions": ["invoicing"], "account-closed-days": 59}));
    }
}
