//! What the log records of an exchange, and how a record is written.
//!
//! Invariant: no value of a field, no path, query, address or id of a person is in a record:
//! people are keyed pseudonyms, everything else is a word from the configuration or the policy.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use crate::keys::{EpochPseudonyms, Fingerprint, Pseudonym, random};
use crate::ledger::Position;
use crate::vocabulary::{Basis, Form, Operation};

/// What is about to happen: recorded while the upstream is called.
#[derive(Clone, Debug)]
pub struct Intent<'a> {
    /// The decision's id, a ULID.
    pub decision: String,
    pub time: Timestamp,
    /// The recipient's configured name.
    pub recipient: Arc<str>,
    /// Who of the recipient's people asks, where its credential says so.
    pub actor: Option<Fingerprint>,
    /// The accepted purpose; empty where none was.
    pub purpose: String,
    /// The purpose as the request declared it.
    pub declared: Option<Cow<'a, str>>,
    pub case: Option<Cow<'a, str>>,
    pub route: Arc<str>,
    pub operation: Operation,
    /// The revision of the policy that decided.
    pub policy: Arc<str>,
    pub position: Position,
    /// Each thing that had to agree, and what it said.
    pub factors: Cow<'a, [(&'static str, Verdict)]>,
}

/// What a factor says to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Permits,
    Refuses,
}

/// What one window of the answer discloses.
#[derive(Clone, Debug, Default)]
pub struct Window<'a> {
    pub position: Position,
    pub records: u64,
    pub withheld_records: u64,
    pub subjects: Cow<'a, [Fingerprint]>,
    /// Those of them of whom nothing personal left.
    pub untouched: Vec<Fingerprint>,
    pub categories: Vec<Left<'a>>,
}

/// How fields of one category left.
#[derive(Clone, Debug)]
pub struct Left<'a> {
    pub category: Cow<'a, str>,
    pub form: Form,
    pub basis: Option<Basis>,
    pub rules: Arc<[Arc<str>]>,
    pub clauses: Arc<[Arc<str>]>,
    pub fields: u64,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Released,
    /// With the problem's code.
    Refused(&'static str),
    /// The recipient went away or the answer was cut.
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

/// The epoch of a person's pseudonym: the UTC date on which the exchange began. Sorts as it passes.
pub(super) fn epoch(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).date().to_string()
}

/// The inside of a record's JSON object, without its number and its chain: `"kind":…,…`.
pub(super) type Body = Vec<u8>;

/// What every record of an exchange begins with.
#[derive(Serialize)]
struct Head<'a> {
    kind: &'static str,
    decision: &'a str,
    time: Timestamp,
    /// So that a record, once deleted, cannot be guessed from its hash.
    salt: Salt,
}

pub(super) fn intent(intent: &Intent<'_>, outcome: Option<Outcome>, pseudonyms: &EpochPseudonyms) -> Body {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        recipient: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        actor: Option<&'a str>,
        purpose: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        declared: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        case: Option<&'a str>,
        route: &'a str,
        operation: Operation,
        policy: &'a str,
        position: u64,
        #[serde(serialize_with = "as_map")]
        factors: &'a [(&'static str, Verdict)],
        #[serde(skip_serializing_if = "Option::is_none")]
        outcome: Option<String>,
    }
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
        factors,
    } = intent;
    let actor = actor.map(|actor| pseudonyms.of(actor));
    let kind = if outcome.is_some() { "refusal" } else { "intent" };
    inside(&Written {
        head: Head { kind, decision, time: *time, salt: Salt::new() },
        recipient,
        actor: actor.as_ref().map(Pseudonym::as_str),
        purpose,
        declared: declared.as_deref(),
        case: case.as_deref(),
        route,
        operation: *operation,
        policy,
        position: position.0,
        factors,
        outcome: outcome.map(|outcome| outcome.to_string()),
    })
}

pub(super) fn window(
    decision: &str,
    time: Timestamp,
    window: &Window<'_>,
    pseudonyms: &EpochPseudonyms,
) -> Body {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        position: u64,
        records: u64,
        withheld_records: u64,
        categories: Vec<WrittenLeft<'a>>,
        subjects: People<'a>,
        #[serde(skip_serializing_if = "People::is_empty")]
        withheld_subjects: People<'a>,
    }
    let Window { position, records, withheld_records, subjects, untouched, categories } = window;
    inside(&Written {
        head: Head { kind: "window", decision, time, salt: Salt::new() },
        position: position.0,
        records: *records,
        withheld_records: *withheld_records,
        categories: categories.iter().map(WrittenLeft::from).collect(),
        subjects: People { subjects, pseudonyms },
        withheld_subjects: People { subjects: untouched, pseudonyms },
    })
}

pub(super) fn close(decision: &str, time: Timestamp, outcome: Outcome) -> Body {
    #[derive(Serialize)]
    struct Written<'a> {
        #[serde(flatten)]
        head: Head<'a>,
        outcome: String,
    }
    inside(&Written {
        head: Head { kind: "close", decision, time, salt: Salt::new() },
        outcome: outcome.to_string(),
    })
}

#[derive(Serialize)]
struct WrittenLeft<'a> {
    category: &'a str,
    form: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    basis: Option<Basis>,
    rules: &'a [Arc<str>],
    clauses: &'a [Arc<str>],
    fields: u64,
}

impl<'a> From<&'a Left<'_>> for WrittenLeft<'a> {
    fn from(left: &'a Left<'_>) -> Self {
        let Left { category, form, basis, rules, clauses, fields } = left;
        WrittenLeft { category, form: *form, basis: *basis, rules, clauses, fields: *fields }
    }
}

/// The bulk of a window's record: written straight from the fingerprints, nothing kept in between.
struct People<'a> {
    subjects: &'a [Fingerprint],
    pseudonyms: &'a EpochPseudonyms,
}

impl People<'_> {
    fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }
}

impl Serialize for People<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.subjects.len()))?;
        for subject in self.subjects {
            list.serialize_element(self.pseudonyms.of(*subject).as_str())?;
        }
        list.end()
    }
}

fn as_map<S: Serializer>(pairs: &[(&'static str, Verdict)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, verdict) in pairs {
        map.serialize_entry(name, verdict)?;
    }
    map.end()
}

/// The inside of an object. Words and numbers always serialise; nothing would be an empty record,
/// which reading refuses.
pub(super) fn inside(record: &impl Serialize) -> Body {
    // Most records fit.
    let mut text = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut text, record).is_err() || text.len() < 2 {
        return Vec::new();
    }
    text.pop();
    text.remove(0);
    text
}

/// 128 random bits, as 32 digits.
struct Salt([u8; 32]);

impl Salt {
    /// Without randomness a record is still right, only easier to guess once deleted.
    fn new() -> Salt {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits = random::bits().unwrap_or_else(|_| {
            tracing::warn!("the system gives no random bytes for a record's salt");
            0
        });
        let mut digits = [b'0'; 32];
        for (place, digit) in digits.iter_mut().enumerate() {
            let nibble = (bits >> (place * 4)) as usize & 15;
            *digit = DIGITS.get(nibble).copied().unwrap_or(b'0');
        }
        Salt(digits)
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Always ASCII.
        serializer.serialize_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
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
            factors: vec![("registration", Verdict::Permits), ("route", Verdict::Permits)].into(),
        }
    }

    pub(in crate::disclosure) fn left(category: &'static str, form: Form, fields: u64) -> Left<'static> {
        let basis = (form != Form::Removed).then_some(Basis::Consent);
        let (rules, clauses) = ([Arc::from("r-1")].into(), [Arc::from("G-6.4b")].into());
        Left { category: category.into(), form, basis, rules, clauses, fields }
    }

    fn read(body: &Body) -> Value {
        let text = format!("{{{}}}", std::str::from_utf8(body).unwrap());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn an_intent_holds_what_was_asked() {
        let keys = Keys::random().unwrap();
        let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
        let id = crate::scrub::SubjectId { namespace: Some("https://id.example".into()), id: "kim".into() };
        let actor = keys.fingerprints().actor(&id);
        let written = read(&intent(&Intent { actor: Some(actor), ..sample("D1") }, None, &pseudonyms));
        assert_eq!(written["actor"], pseudonyms.of(actor).as_str());
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
    fn a_window_names_people_by_the_pseudonyms_of_its_epoch_and_has_its_own_salt() {
        let keys = Keys::random().unwrap();
        let person = keys.fingerprints().recipient("x");
        let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
        let given = Window {
            subjects: vec![person].into(),
            categories: vec![left("email", Form::Masked, 3)],
            ..Window::default()
        };
        let time = Timestamp::UNIX_EPOCH;
        let (one, two) =
            (read(&window("D1", time, &given, &pseudonyms)), read(&window("D1", time, &given, &pseudonyms)));
        assert_eq!(one["subjects"][0], pseudonyms.of(person).as_str());
        assert_eq!(one["categories"][0]["form"], "masked");
        assert_eq!(one["categories"][0]["basis"], "consent");
        assert_ne!(one["salt"], two["salt"]);
        assert_eq!(one["salt"].as_str().unwrap().len(), 32);
    }
}
