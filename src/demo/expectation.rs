//! What a scene expects of an answer, as something that can be checked.
//!
//! Pure: an answer is a value here, however it was fetched. Invariant: an expectation that says
//! nothing about the status does not exist, so that a refusal never passes for a release.

use std::fmt::Write as _;

use serde_json::Value;

/// What came back.
#[derive(Clone, Debug)]
pub struct ReceivedResponse {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says. A connection that was cut leaves this false.
    pub complete: bool,
    /// How many bytes of the body had arrived when the event in the middle was acknowledged.
    pub event_offset: Option<usize>,
}

impl ReceivedResponse {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON: {error}"))
    }

    /// The code of a problem document, if it is one.
    fn problem(&self) -> Option<String> {
        let media_type = self.header("content-type")?;
        let code = self.json().ok()?.get("code")?.as_str()?.to_owned();
        media_type.starts_with("application/problem+json").then_some(code)
    }

    /// `403 purpose-not-permitted`, `200, 1834 bytes`.
    pub fn summary(&self) -> String {
        let cut = if self.complete { "" } else { ", cut off" };
        match self.problem() {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{}, {} bytes{cut}", self.status, self.body.len()),
        }
    }
}

/// One thing that must hold.
#[derive(Clone, Debug)]
enum Claim {
    /// The value at a JSON pointer.
    Is(String, Value),
    /// Something stands there.
    Present(String),
    /// Nothing stands there.
    Absent(String),
    /// A text stands there, and it is not this one.
    Replaced(String, String),
    /// The text occurs in the body.
    Somewhere(String),
    /// The text occurs neither in the body nor in a header.
    Nowhere(String),
    /// The text does not occur after the mark.
    NotAfterMark(String),
    Header(&'static str, String),
    /// The answer was cut off: its end is missing and the recipient can tell.
    Cut,
}

/// Everything that one answer must be.
#[derive(Clone, Debug)]
pub struct Expectation {
    status: u16,
    problem: Option<&'static str>,
    claims: Vec<Claim>,
}

impl Expectation {
    /// A release: 200, whole, JSON.
    pub fn released() -> Expectation {
        Expectation { status: 200, problem: None, claims: Vec::new() }
    }

    /// A refusal with this status and problem code.
    pub fn refused(status: u16, code: &'static str) -> Expectation {
        Expectation { status, problem: Some(code), claims: Vec::new() }
    }

    /// An answer that began as a release and was cut off.
    pub fn truncated() -> Expectation {
        Expectation { status: 200, problem: None, claims: vec![Claim::Cut] }
    }

    fn and(mut self, claim: Claim) -> Expectation {
        self.claims.push(claim);
        self
    }

    #[must_use]
    pub fn equals(self, pointer: &str, value: impl Into<Value>) -> Expectation {
        self.and(Claim::Is(pointer.to_owned(), value.into()))
    }

    #[must_use]
    pub fn present(self, pointer: &str) -> Expectation {
        self.and(Claim::Present(pointer.to_owned()))
    }

    #[must_use]
    pub fn absent(self, pointer: &str) -> Expectation {
        self.and(Claim::Absent(pointer.to_owned()))
    }

    /// A text stands at the pointer (a pseudonym, a year) and is not `clear`, which occurs nowhere.
    #[must_use]
    pub fn replaced(self, pointer: &str, clear: &str) -> Expectation {
        self.and(Claim::Replaced(pointer.to_owned(), clear.to_owned())).excludes(clear)
    }

    #[must_use]
    pub fn contains(self, text: &str) -> Expectation {
        self.and(Claim::Somewhere(text.to_owned()))
    }

    #[must_use]
    pub fn excludes(self, text: &str) -> Expectation {
        self.and(Claim::Nowhere(text.to_owned()))
    }

    #[must_use]
    pub fn excludes_after_event(self, text: &str) -> Expectation {
        self.and(Claim::NotAfterMark(text.to_owned()))
    }

    #[must_use]
    pub fn header(self, name: &'static str, begins: &str) -> Expectation {
        self.and(Claim::Header(name, begins.to_owned()))
    }

    /// `403 purpose-not-permitted`, `200 and 14 more`: the status, and how many things must hold beside it.
    pub fn summary(&self) -> String {
        match self.problem {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{} and {} more", self.status, self.claims.len()),
        }
    }

    /// Whether the answer must break off.
    pub fn is_truncated(&self) -> bool {
        self.claims.iter().any(|claim| matches!(claim, Claim::Cut))
    }

    /// The first text that must not occur after the mark.
    pub fn excluded_after_event(&self) -> Option<&str> {
        self.claims.iter().find_map(|claim| match claim {
            Claim::NotAfterMark(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Whether the answer is as expected.
    ///
    /// # Errors
    /// Everything that is not, one sentence each. They may quote the answer: here all people are invented.
    pub fn check(&self, answer: &ReceivedResponse) -> Result<(), String> {
        let mut wrong: Vec<String> = Vec::new();
        if answer.status != self.status {
            wrong.push(format!("status is {}", answer.summary()));
        }
        if answer.problem().as_deref() != self.problem {
            wrong.push(match self.problem {
                Some(code) => format!("not a problem document with code `{code}`"),
                None => "a problem document".to_owned(),
            });
        }
        let cut = self.is_truncated();
        if !cut && !answer.complete {
            wrong.push("the answer was cut off".to_owned());
        }
        let json = answer.json();
        if let (false, Err(error)) = (cut, &json) {
            wrong.push(error.clone());
        }
        let json = json.unwrap_or(Value::Null);
        wrong.extend(self.claims.iter().filter_map(|claim| claim.violation(answer, &json)));
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }
}

impl Claim {
    fn violation(&self, answer: &ReceivedResponse, json: &Value) -> Option<String> {
        match self {
            Claim::Is(pointer, value) => {
                let found = json.pointer(pointer);
                (found != Some(value)).then(|| format!("{pointer} is {}, not {value}", shown(found)))
            }
            Claim::Present(pointer) => {
                json.pointer(pointer).is_none().then(|| format!("{pointer} is missing"))
            }
            Claim::Absent(pointer) => {
                json.pointer(pointer).map(|found| format!("{pointer} is there: {}", shown(Some(found))))
            }
            Claim::Replaced(pointer, clear) => match json.pointer(pointer) {
                Some(Value::String(text)) if text != clear && !text.is_empty() => None,
                found => Some(format!("{pointer} is {}, not a replacement", shown(found))),
            },
            Claim::Somewhere(text) => (!occurs(text, &answer.body)).then(|| format!("`{text}` is missing")),
            Claim::Nowhere(text) => {
                let heads = answer.headers.iter().any(|(_, value)| value.contains(text.as_str()));
                (heads || occurs(text, &answer.body)).then(|| format!("`{text}` got out"))
            }
            Claim::NotAfterMark(text) => match answer.event_offset.and_then(|mark| answer.body.get(mark..)) {
                None => Some("nothing happened while the answer was read".to_owned()),
                Some([]) => Some("the answer had ended before the event".to_owned()),
                Some(rest) => occurs(text, rest).then(|| format!("`{text}` got out after the event")),
            },
            Claim::Header(name, begins) => match answer.header(name) {
                Some(value) if value.starts_with(begins.as_str()) => None,
                found => Some(format!("header {name} is {found:?}")),
            },
            Claim::Cut => answer.complete.then(|| "the answer was not cut off".to_owned()),
        }
    }
}

fn occurs(text: &str, bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// A found value, short enough for a table.
fn shown(found: Option<&Value>) -> String {
    let Some(found) = found else { return "missing".to_owned() };
    let text = found.to_string();
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        let _ = write!(short, "…");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, media_type: &str, body: &str) -> ReceivedResponse {
        ReceivedResponse {
            status,
            headers: vec![("content-type".into(), media_type.into())],
            body: body.into(),
            complete: true,
            event_offset: None,
        }
    }

    fn good() -> ReceivedResponse {
        answer(200, "application/json", r#"{"a":{"b":1},"who":"pn_x","last":"Zed"}"#)
    }

    #[test]
    fn what_holds_passes() {
        let expected = Expectation::released()
            .equals("/a/b", 1)
            .present("/a")
            .absent("/a/c")
            .replaced("/who", "Zoe")
            .contains("Zed")
            .header("content-type", "application/json");
        assert_eq!(expected.check(&good()), Ok(()));
    }

    #[test]
    fn each_claim_can_fail() {
        let claims = [
            Expectation::refused(200, "not-found"),
            Expectation::released().equals("/a/b", 2),
            Expectation::released().present("/z"),
            Expectation::released().absent("/a/b"),
            Expectation::released().replaced("/last", "Zed"),
            Expectation::released().replaced("/a", "Zed"),
            Expectation::released().contains("nobody"),
            Expectation::released().excludes("Zed"),
            Expectation::released().excludes("application/"),
            Expectation::released().excludes_after_event("anything"),
            Expectation::released().header("data-purpose-applied", ""),
            Expectation::truncated(),
        ];
        for expected in claims {
            assert!(expected.check(&good()).is_err(), "{expected:?}");
        }
    }

    #[test]
    fn a_refusal_never_passes_for_a_release() {
        let refusal = answer(403, "application/problem+json", r#"{"code":"no-rule-permits"}"#);
        assert_eq!(refusal.summary(), "403 no-rule-permits");
        assert_eq!(Expectation::refused(403, "no-rule-permits").check(&refusal), Ok(()));
        assert!(Expectation::released().absent("/name").check(&refusal).is_err());
        let posing = answer(200, "application/problem+json", r#"{"code":"no-rule-permits"}"#);
        assert!(Expectation::released().check(&posing).is_err());
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_release() {
        let broken = ReceivedResponse { complete: false, body: br#"{"items":[{"a":1},"#.to_vec(), ..good() };
        assert!(Expectation::released().check(&broken).is_err());
        assert_eq!(Expectation::truncated().excludes("Zed").check(&broken), Ok(()));
    }

    #[test]
    fn the_mark_divides_what_left_before_from_what_left_after() {
        let expected = Expectation::released().excludes_after_event("Zed");
        assert_eq!(expected.check(&ReceivedResponse { event_offset: Some(37), ..good() }), Ok(()));
        assert!(expected.check(&ReceivedResponse { event_offset: Some(10), ..good() }).is_err());
        assert!(
            expected.check(&ReceivedResponse { event_offset: Some(good().body.len()), ..good() }).is_err()
        );
    }
}
