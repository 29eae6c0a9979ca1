//! Defines what the log records about an exchange, and writes the records.
//!
//! Invariant: a record holds no field value, path, query, address or id of a person. People are keyed pseudonyms;
//! everything else is a term from the configuration or the policy.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::object_writer::{ObjectWriter, RecordBody};
use crate::decision::Reason;
use crate::keys::{EpochPseudonyms, Fingerprint};
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, Operation};

/// An exchange that is about to happen, recorded while the upstream is called.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The decision's id, a ULID.
    pub decision: String,
    /// Time at which the request arrived.
    pub time: Timestamp,
    /// The recipient's configured name.
    pub recipient: Arc<str>,
    /// The individual who acts for the recipient, if the credential names one.
    pub actor: Option<Fingerprint>,
    /// The accepted purpose; empty if none was accepted.
    pub purpose: String,
    /// The purpose as the request declared it.
    pub declared: Option<Cow<'a, str>>,
    /// The case that the request cites.
    pub case: Option<Cow<'a, str>>,
    /// The route's configured name.
    pub route: Arc<str>,
    /// The operation that the request performs on the data.
    pub operation: Operation,
    /// The revision of the policy that decided.
    pub policy: Arc<str>,
    /// The last ledger position that was in force.
    pub position: Position,
    /// True if the exchange was admitted on what was last known, because the ledger was stale.
    pub stale: bool,
    /// Each factor of the decision with its verdict.
    pub factors: Cow<'a, [(&'static str, Verdict)]>,
}

/// The verdict of one factor on an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The factor permits the exchange.
    Permits,
    /// The factor refuses the exchange.
    Refuses,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Verdict::Permits => "permits",
            Verdict::Refuses => "refuses",
        }
    }
}

/// The disclosures of one window of an answer.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    /// The last ledger position that was in force.
    pub position: Position,
    /// True if something of the window was judged on what was last known, because the ledger was stale.
    pub stale: bool,
    /// Number of records in the window.
    pub records: u64,
    /// Number of records of which nothing personal left.
    pub withheld_records: u64,
    /// The data subjects of the window's records.
    pub subjects: Cow<'a, [Fingerprint]>,
    /// Those of `subjects` about whom nothing personal left.
    pub withheld_subjects: Vec<Fingerprint>,
    /// The categories in the window, by form and reason.
    pub categories: Vec<DisclosedCategory<'a>>,
}

/// The form in which fields of one category left, or the reason for which they were withheld.
#[derive(Clone, Debug)]
pub struct DisclosedCategory<'a> {
    /// Its name in the vocabulary, or [`DisclosedCategory::UNCLASSIFIED`].
    pub category: Cow<'a, str>,
    /// The form; [`Form::Removed`] if the fields were withheld.
    pub form: Form,
    /// The legal basis; absent if the fields were withheld or unclassified.
    pub basis: Option<Basis>,
    /// Reason for which the fields were withheld.
    pub reason: Option<Reason>,
    /// Ids of the rules that decided.
    pub rules: Arc<[Arc<str>]>,
    /// The clauses that those rules cite.
    pub clauses: Arc<[Arc<str>]>,
    /// Number of fields.
    pub fields: u64,
}

impl DisclosedCategory<'_> {
    /// Name in place of a category, for fields that no mapping classifies.
    pub const UNCLASSIFIED: &'static str = "unclassified";
}

/// The outcome of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer was sent completely.
    Released,
    /// The exchange was refused, with this problem code.
    Refused(&'static str),
    /// The recipient disconnected or the answer was cut short.
    Aborted,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Outcome::Released => f.write_str("released"),
            Outcome::Refused(code) => write!(f, "refused:{code}"),
            Outcome::Aborted => f.write_str("aborted"),
        }
    }
}

/// Returns the epoch of a person's pseudonym: the UTC date on which the exchange began. Epochs sort chronologically.
pub(super) fn epoch(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).date().to_string()
}

pub(super) fn intent(
    intent: &Intent<'_>,
    outcome: Option<Outcome>,
    pseudonyms: &EpochPseudonyms,
) -> RecordBody {
    let Intent {
        decision,
        time,
        recipient,
        actor,
        purpose,
        declared,
        case,
        route,
        operation,
        policy,
        position,
        stale,
        factors,
    } = intent;
    let kind = if outcome.is_some() { "refusal" } else { "intent" };
    let mut members = ObjectWriter::begin_record(kind, ("decision", decision), *time);
    members.text("recipient", recipient);
    if let Some(actor) = actor {
        members.word("actor", &pseudonyms.of(*actor).to_string());
    }
    members.text("purpose", purpose);
    if let Some(declared) = declared {
        members.text("declared", declared);
    }
    if let Some(case) = case {
        members.text("case", case);
    }
    members.text("route", route);
    members.word("operation", operation.name());
    members.text("policy", policy);
    members.number("position", position.0);
    if *stale {
        members.flag("stale");
    }
    members.object("factors", |members| {
        for (name, verdict) in factors.iter() {
            members.word(name, verdict.name());
        }
    });
    if let Some(outcome) = outcome {
        members.text("outcome", &outcome.to_string());
    }
    members.into_body()
}

pub(super) fn window(
    decision: &str,
    time: Timestamp,
    window: &Window<'_>,
    pseudonyms: &EpochPseudonyms,
) -> RecordBody {
    let Window {
        position,
        stale,
        records,
        withheld_records,
        subjects,
        withheld_subjects: untouched,
        categories,
    } = window;
    let mut members = ObjectWriter::begin_record("window", ("decision", decision), time);
    members.number("position", position.0);
    if *stale {
        members.flag("stale");
    }
    members.number("records", *records);
    members.number("withheld_records", *withheld_records);
    members.list("categories", categories, |members, left| {
        let DisclosedCategory { category, form, basis, reason, rules, clauses, fields } = left;
        members.in_braces(|members| {
            members.text("category", category);
            members.word("form", form.name());
            if let Some(basis) = basis {
                members.word("basis", basis.name());
            }
            if let Some(reason) = reason {
                members.word("reason", reason.name());
            }
            members.list("rules", rules.iter(), |members, rule| members.string(rule));
            members.list("clauses", clauses.iter(), |members, clause| members.string(clause));
            members.number("fields", *fields);
        });
    });
    members.pseudonyms("subjects", subjects, pseudonyms);
    if !untouched.is_empty() {
        members.pseudonyms("withheld_subjects", untouched, pseudonyms);
    }
    members.into_body()
}

pub(super) fn close(decision: &str, time: Timestamp, outcome: Outcome) -> RecordBody {
    let mut members = ObjectWriter::begin_record("close", ("decision", decision), time);
    members.text("outcome", &outcome.to_string());
    members.into_body()
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::Value;

    use super::*;
    use crate::keys::Keys;

    pub(in crate::disclosure) fn sample(decision: &str) -> Intent<'static> {
        Intent {
            decision: decision.to_owned(),
            time: "2026-11-21T23:59:59.5Z".parse().unwrap(),
            recipient: "acme".into(),
            actor: None,
            purpose: "direct-marketing".into(),
            declared: Some("dpv:DirectMarketing".into()),
            case: None,
            route: "customers".into(),
            operation: Operation::Disclose,
            policy: "one-partner-360@1".into(),
            position: Position(7),
            stale: false,
            factors: vec![("registration", Verdict::Permits), ("route", Verdict::Permits)].into(),
        }
    }

    pub(in crate::disclosure) fn disclosed_category(
        category: &'static str,
        form: Form,
        fields: u64,
    ) -> DisclosedCategory<'static> {
        let basis = (form != Form::Removed).then_some(Basis::Consent);
        let reason = (form == Form::Removed).then_some(Reason::Prohibited);
        let (rules, clauses) = ([Arc::from("r-1")].into(), [Arc::from("G-6.4b")].into());
        DisclosedCategory { category: category.into(), form, basis, reason, rules, clauses, fields }
    }

    fn read(body: &RecordBody) -> Value {
        let text = format!("{{{}}}", std::str::from_utf8(body).unwrap());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_intent_records_the_request() {
        let keys = Keys::random().unwrap();
        let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
        let id = crate::vocabulary::ActorId { issuer: "https://id.example".into(), id: "kim".into() };
        let actor = keys.fingerprints().actor(&id);
        let written = read(&intent(&Intent { actor: Some(actor), ..sample("D1") }, None, &pseudonyms));
        assert_eq!(written["actor"], pseudonyms.of(actor).to_string());
        assert_eq!(written["kind"], "intent");
        assert_eq!(written["purpose"], "direct-marketing");
        assert_eq!(written["factors"]["route"], "permits");
        assert_eq!(written["operation"], "disclose");
        assert!(written.get("case").is_none() && written.get("outcome").is_none());
        let outcome = Some(Outcome::Refused("no-rule-permits"));
        let refused = read(&intent(&sample("D1"), outcome, &pseudonyms));
        assert_eq!(
            (&refused["kind"], &refused["outcome"]),
            (&"refusal".into(), &"refused:no-rule-permits".into())
        );
    }

    #[test]
    fn declared_text_stays_one_member_on_one_line() {
        let pseudonyms = Keys::random().unwrap().subject_pseudonyms().epoch("2026-11-21");
        for odd in ["", "\"", "\\", "a\"},\"kind\":\"close", "\n", "\0", "\u{7f}", "\u{2028}", "ä", "\u{1f}x"]
        {
            let asked = Intent { declared: Some(odd.into()), case: Some(odd.into()), ..sample("D1") };
            let body = intent(&asked, None, &pseudonyms);
            let (members, value) = (read(&body).as_object().unwrap().len(), read(&body));
            assert_eq!((&value["declared"], &value["case"]), (&odd.into(), &odd.into()));
            assert_eq!((members, body.contains(&b'\n')), (13, false));
        }
    }

    #[test]
    fn a_window_uses_the_pseudonyms_of_its_epoch_and_a_fresh_salt() {
        let keys = Keys::random().unwrap();
        let person = keys.fingerprints().recipient("x");
        let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
        let given = Window {
            subjects: vec![person].into(),
            categories: vec![disclosed_category("email", Form::Masked, 3)],
            ..Window::default()
        };
        let time = Timestamp::UNIX_EPOCH;
        let (one, two) =
            (read(&window("D1", time, &given, &pseudonyms)), read(&window("D1", time, &given, &pseudonyms)));
        assert_eq!(one["subjects"][0], pseudonyms.of(person).to_string());
        assert_eq!(one["categories"][0]["form"], "masked");
        assert_eq!(one["categories"][0]["basis"], "consent");
        assert_ne!(one["salt"], two["salt"]);
        assert_eq!(one["salt"].as_str().unwrap().len(), 32);
    }
}
