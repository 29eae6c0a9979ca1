//! The state in force about a person, in words: what it means, and the event from which it follows.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::chrome::StateChip;
use super::json_text::{short_time, text, texts};

/// A part of the state that differs from that of an unremarkable person.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StateLine {
    pub(super) term: String,
    pub(super) state: StateChip,
    pub(super) words: &'static str,
    /// The event from which it follows; empty if several have led to it.
    pub(super) why: String,
}

/// Returns the lines of a state, as the API returns it, and of the events about the person.
pub(super) fn state_lines(state: &Map<String, Value>, history: &[Value]) -> Vec<StateLine> {
    let state = &Value::Object(state.clone());
    let lines = [
        ended(state, history),
        consents(state, history),
        refusals(state, history),
        relations(state, history),
        facts(state, history),
    ];
    lines.into_iter().flatten().collect()
}

fn line(term: impl Into<String>, state: StateChip, words: &'static str, why: String) -> StateLine {
    StateLine { term: term.into(), state, words, why }
}

fn is_set(state: &Value, member: &str) -> bool {
    state.get(member).and_then(Value::as_bool).unwrap_or(false)
}

fn ended(state: &Value, history: &[Value]) -> Vec<StateLine> {
    let mut lines = Vec::new();
    if is_set(state, "erased") {
        let words = "The data are erased (GDPR Art. 17). No event lifts it.";
        lines.push(line("erasure", StateChip::bad("erased"), words, because(history, "erasure", |_| true)));
    }
    if is_set(state, "restricted") {
        let words = "Processing is restricted (GDPR Art. 18): only what a rule permits despite it can leave.";
        let why = because(history, "restriction", |_| true);
        lines.push(line("restriction", StateChip::bad("restricted"), words, why));
        lines.extend(texts(state, "consents-since-restriction").into_iter().map(|purpose| {
            let words = "The person consented after the restriction began: this counts despite it.";
            let why = because(history, "consent-given", |event| text(event, "purpose") == purpose);
            line(purpose.clone(), StateChip::good("despite the restriction"), words, why)
        }));
    }
    lines
}

fn consents(state: &Value, history: &[Value]) -> Vec<StateLine> {
    let consents = state.get("consents").and_then(Value::as_object).into_iter().flatten();
    let consent = |(name, status): (&String, &Value)| {
        let status = status.as_str().unwrap_or_default();
        let (state, words, kind) = match status {
            "given" => (StateChip::good("given"), "What rests on this consent can leave.", "consent-given"),
            "refused" => (
                StateChip::bad("refused"),
                "The person said no: nothing that rests on this consent leaves.",
                "consent-refused",
            ),
            "withdrawn" => (
                StateChip::bad("withdrawn"),
                "Nothing that rests on this consent leaves any more.",
                "consent-withdrawn",
            ),
            _ => (
                StateChip::warn("expired"),
                "It has ended: nothing leaves on it until the person consents again.",
                "consent-given",
            ),
        };
        let why = because(history, kind, |event| bound(event, "purpose") == *name);
        line(format!("consent: {name}"), state, words, why)
    };
    consents.map(consent).collect()
}

fn refusals(state: &Value, history: &[Value]) -> Vec<StateLine> {
    let objections = texts(state, "objections").into_iter().map(|name| match name.strip_suffix(":upheld") {
        Some(purpose) => {
            let why = because(history, "objection-upheld", |event| text(event, "purpose") == purpose);
            let words = "The organisation examined the objection (GDPR Art. 21) and accepted it.";
            line(format!("objection: {purpose}"), StateChip::bad("upheld"), words, why)
        }
        None => {
            let why = because(history, "objection", |event| text(event, "purpose") == name);
            let words = "The person objects (GDPR Art. 21): rules that an objection stops permit nothing.";
            line(format!("objection: {name}"), StateChip::bad("objects"), words, why)
        }
    });
    let opt_outs = texts(state, "opt-outs").into_iter().map(|name| {
        let why = because(history, "opt-out", |event| text(event, "recipient") == name);
        let words = "The person does not want disclosures to this recipient.";
        line(format!("opt-out: {name}"), StateChip::bad("opted out"), words, why)
    });
    let categories = texts(state, "refused-categories").into_iter().map(|name| {
        let why = because(history, "category-refused", |event| text(event, "category") == name);
        let words = "The person refused the disclosure of this data category.";
        line(format!("category: {name}"), StateChip::bad("refused"), words, why)
    });
    objections.chain(opt_outs).chain(categories).collect()
}

fn relations(state: &Value, history: &[Value]) -> Vec<StateLine> {
    let relation = |name: String| {
        let why = because(history, "relation", |event| bound(event, "relation") == name);
        let words = "Rules that need this relation can permit.";
        line(format!("relation: {name}"), StateChip::good("in force"), words, why)
    };
    let ended = |name: String| {
        let why = because(history, "relation-ended", |event| bound(event, "relation") == name);
        let words = "For this recipient rules that need this relation permit nothing.";
        line(format!("relation: {name}"), StateChip::bad("ended"), words, why)
    };
    let relations = texts(state, "relations").into_iter().map(relation);
    relations.chain(texts(state, "relations-ended").into_iter().map(ended)).collect()
}

fn facts(state: &Value, history: &[Value]) -> Vec<StateLine> {
    let because_fact = |member: &str| {
        let says = |event: &Value| event.get("facts").is_some_and(|facts| facts.get(member).is_some());
        latest(history, |event| matches!(&*text(event, "kind"), "fact" | "correction") && says(event))
    };
    let mut lines = Vec::new();
    if is_set(state, "minor") {
        let words = "The rules for minors apply.";
        lines.push(line("minor", StateChip::warn("yes"), words, because_fact("minor")));
    }
    if is_set(state, "transfer-consent") {
        let words = "The person consents to transfers to third countries (GDPR Art. 49(1)(a)).";
        let why = because_fact("transfer-consent");
        lines.push(line("transfer consent", StateChip::good("given"), words, why));
    }
    for member in ["country", "region"] {
        let value = text(state, member);
        if !value.is_empty() {
            let words = "Residence decides which regional rules apply.";
            lines.push(line(member, StateChip::good(value), words, because_fact(member)));
        }
    }
    let origin = text(state, "origin");
    if !origin.is_empty() && origin != "self" {
        let words = "The data are not all from the person.";
        lines.push(line("origin", StateChip::warn(origin), words, because_fact("origin")));
    }
    lines
}

/// Returns the name of a term of an event with its addressee, as the state has it.
fn bound(event: &Value, member: &str) -> String {
    let name = text(event, member);
    let to = ["recipient", "recipient-kind"].map(|member| text(event, member)).concat();
    if to.is_empty() { name } else { format!("{name}:{to}") }
}

fn because(history: &[Value], kind: &str, is_cause: impl Fn(&Value) -> bool) -> String {
    latest(history, |event| text(event, "kind") == kind && is_cause(event))
}

/// Returns the latest event for which this holds, in words; empty if there is none.
fn latest(history: &[Value], is_cause: impl Fn(&Value) -> bool) -> String {
    let time = |event: &&Value| text(event, "at").parse::<Timestamp>().ok();
    let cause = history.iter().filter(|event| is_cause(event)).max_by_key(time);
    let Some(cause) = cause else { return String::new() };
    let channel = text(cause, "channel");
    let by = if channel.is_empty() { channel } else { format!(", by {channel}") };
    format!("{}, {}{by}", text(cause, "kind"), short_time(&text(cause, "at")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_line_names_the_event_from_which_it_follows() {
        let state = json!({
            "consents": {"marketing:acme": "withdrawn", "survey": "given"}, "restricted": true, "minor": true,
            "consents-since-restriction": ["survey"], "objections": ["research:upheld", "profiling"],
            "opt-outs": ["acme"], "refused-categories": ["photo"], "relations": ["customer"],
            "relations-ended": ["customer:acme"], "country": "DE", "origin": "self", "erased": false, "transfer-consent": false,
        });
        let history = [
            json!({"kind": "consent-given", "purpose": "survey", "at": "2026-01-01T00:00:00Z"}),
            json!({"kind": "consent-withdrawn", "purpose": "marketing", "recipient": "acme", "at": "2026-02-01T00:00:00Z", "channel": "letter"}),
            json!({"kind": "consent-given", "purpose": "survey", "at": "2026-03-01T00:00:00.5Z"}),
            json!({"kind": "objection-upheld", "purpose": "research", "at": "2026-03-02T00:00:00Z"}),
            json!({"kind": "correction", "facts": {"country": "DE"}, "at": "2026-03-03T00:00:00Z"}),
            json!({"kind": "relation-ended", "relation": "customer", "recipient": "acme", "at": "2026-03-04T00:00:00Z"}),
        ];
        let lines = state_lines(state.as_object().unwrap(), &history);
        let why = |term: &str| &*lines.iter().find(|line| line.term == term).unwrap().why;
        assert_eq!(why("consent: marketing:acme"), "consent-withdrawn, 2026-02-01 00:00:00, by letter");
        assert_eq!(why("consent: survey"), "consent-given, 2026-03-01 00:00:00");
        assert_eq!(why("objection: research"), "objection-upheld, 2026-03-02 00:00:00");
        assert_eq!(why("country"), "correction, 2026-03-03 00:00:00");
        assert_eq!(why("relation: customer:acme"), "relation-ended, 2026-03-04 00:00:00");
        assert_eq!(why("minor"), "", "no event says so");
        assert_eq!(lines.len(), 12, "{lines:?}");
    }

    #[test]
    fn an_unremarkable_person_has_no_line() {
        let state = json!({"consents": {}, "objections": [], "restricted": false, "origin": "self"});
        assert_eq!(state_lines(state.as_object().unwrap(), &[]), []);
    }
}
