//! The expected response to a request of the demonstration, in words for a reader and as checks for the program.
//!
//! The module does no I/O: a response is a value here. Invariant: every expectation has a status, so a refusal never
//! passes for a release.

use std::fmt::Write as _;

use serde_json::Value;

/// A response as it was received.
#[derive(Clone, Debug)]
pub(super) struct ReceivedResponse {
    pub(super) status: u16,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// True if the body ended as its framing says; false if the connection was cut before.
    pub(super) complete: bool,
    /// Bytes of the body that had arrived when the event that was sent meanwhile was acknowledged.
    pub(super) event_offset: Option<usize>,
}

impl ReceivedResponse {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Parses the body as JSON.
    pub(super) fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is not JSON: {error}"))
    }

    /// Returns the code of a problem document, if the response is one.
    fn problem(&self) -> Option<String> {
        let media_type = self.header("content-type")?;
        let code = self.json().ok()?.get("code")?.as_str()?.to_owned();
        media_type.starts_with("application/problem+json").then_some(code)
    }

    /// Summarises the response: `403 purpose-not-permitted`, `200, 1834 bytes`.
    pub(super) fn summary(&self) -> String {
        let cut = if self.complete { "" } else { ", cut off" };
        match self.problem() {
            Some(code) => format!("{} {code}", self.status),
            None => format!("{}, {} bytes{cut}", self.status, self.body.len()),
        }
    }
}

/// One property that the response must have.
#[derive(Clone, Debug)]
enum Claim {
    /// The JSON pointer holds this value.
    Equals(String, Value),
    /// The JSON pointer holds a value.
    Present(String),
    /// The JSON pointer holds no value.
    Absent(String),
    /// The JSON pointer holds a text other than this one.
    Replaced(String, String),
    /// The text occurs in the body.
    Contains(String),
    /// The text occurs neither in the body nor in a header.
    Excludes(String),
    /// The text does not occur in the part of the body that arrived after the event.
    ExcludesAfterEvent(String),
    /// The header begins with this text.
    Header(&'static str, String),
    /// The body was cut off, and the recipient can tell.
    Truncated,
}

/// The status and all properties that one response must have.
#[derive(Clone, Debug)]
pub(super) struct Expectation {
    status: u16,
    problem: Option<&'static str>,
    /// The content in words; for a refusal, additional words or none.
    content: &'static str,
    claims: Vec<Claim>,
}

impl Expectation {
    /// Expects a release: status 200 and a complete JSON body. `content` describes the body in words.
    pub(super) fn released(content: &'static str) -> Expectation {
        Expectation { status: 200, problem: None, content, claims: Vec::new() }
    }

    /// Expects a refusal with this status and problem code.
    pub(super) fn refused(status: u16, code: &'static str) -> Expectation {
        Expectation { status, problem: Some(code), content: "", claims: Vec::new() }
    }

    /// Expects a release that is cut off before its end.
    pub(super) fn truncated(content: &'static str) -> Expectation {
        Expectation { status: 200, problem: None, content, claims: vec![Claim::Truncated] }
    }

    /// Adds words to a refusal.
    #[must_use]
    pub(super) fn with_content(self, content: &'static str) -> Expectation {
        Expectation { content, ..self }
    }

    fn and(mut self, claim: Claim) -> Expectation {
        self.claims.push(claim);
        self
    }

    /// Expects this value at the JSON pointer.
    #[must_use]
    pub(super) fn equals(self, pointer: &str, value: impl Into<Value>) -> Expectation {
        self.and(Claim::Equals(pointer.to_owned(), value.into()))
    }

    /// Expects a value at the JSON pointer.
    #[must_use]
    pub(super) fn present(self, pointer: &str) -> Expectation {
        self.and(Claim::Present(pointer.to_owned()))
    }

    /// Expects no value at the JSON pointer.
    #[must_use]
    pub(super) fn absent(self, pointer: &str) -> Expectation {
        self.and(Claim::Absent(pointer.to_owned()))
    }

    /// Expects another text than `clear` at the JSON pointer (a pseudonym, a year), and `clear` nowhere.
    #[must_use]
    pub(super) fn replaced(self, pointer: &str, clear: &str) -> Expectation {
        self.and(Claim::Replaced(pointer.to_owned(), clear.to_owned())).excludes(clear)
    }

    /// Expects the text in the body.
    #[must_use]
    pub(super) fn contains(self, text: &str) -> Expectation {
        self.and(Claim::Contains(text.to_owned()))
    }

    /// Expects the text neither in the body nor in a header.
    #[must_use]
    pub(super) fn excludes(self, text: &str) -> Expectation {
        self.and(Claim::Excludes(text.to_owned()))
    }

    /// Expects that the text does not occur in the body after the event was acknowledged.
    #[must_use]
    pub(super) fn excludes_after_event(self, text: &str) -> Expectation {
        self.and(Claim::ExcludesAfterEvent(text.to_owned()))
    }

    /// Expects a header that begins with this text.
    #[must_use]
    pub(super) fn header(self, name: &'static str, begins: &str) -> Expectation {
        self.and(Claim::Header(name, begins.to_owned()))
    }

    /// Describes the expected response to a reader: `refused, 403 purpose-not-permitted`, or the content of a release.
    pub(super) fn words(&self) -> String {
        match (self.problem, self.content) {
            (None, content) => content.to_owned(),
            (Some(code), "") => format!("refused, {} {code}", self.status),
            (Some(code), content) => format!("refused, {} {code}: {content}", self.status),
        }
    }

    /// True if the body must be cut off.
    pub(super) fn is_truncated(&self) -> bool {
        self.claims.iter().any(|claim| matches!(claim, Claim::Truncated))
    }

    /// Returns the first text that must not occur after the event.
    pub(super) fn excluded_after_event(&self) -> Option<&str> {
        self.claims.iter().find_map(|claim| match claim {
            Claim::ExcludesAfterEvent(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Checks a response.
    ///
    /// # Errors
    /// Every difference, separated by semicolons. They may quote the response, since all people are invented.
    pub(super) fn check(&self, response: &ReceivedResponse) -> Result<(), String> {
        let mut differences: Vec<String> = Vec::new();
        if response.status != self.status {
            differences.push(format!("the response is {}, not {}", response.summary(), self.status));
        }
        if response.problem().as_deref() != self.problem {
            differences.push(match self.problem {
                Some(code) => format!("the response is not a problem document with code `{code}`"),
                None => "the response is a problem document".to_owned(),
            });
        }
        let truncated = self.is_truncated();
        if !truncated && !response.complete {
            differences.push("the response was cut off".to_owned());
        }
        let json = response.json();
        if let (false, Err(error)) = (truncated, &json) {
            differences.push(error.clone());
        }
        let json = json.unwrap_or(Value::Null);
        differences.extend(self.claims.iter().filter_map(|claim| claim.violation(response, &json)));
        if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
    }
}

impl Claim {
    /// Describes the violation of the claim by the response; `None` if it does not.
    fn violation(&self, response: &ReceivedResponse, json: &Value) -> Option<String> {
        match self {
            Claim::Equals(pointer, value) => {
                let found = json.pointer(pointer);
                (found != Some(value)).then(|| format!("{pointer} is {}, not {value}", abbreviated(found)))
            }
            Claim::Present(pointer) => {
                json.pointer(pointer).is_none().then(|| format!("{pointer} is missing"))
            }
            Claim::Absent(pointer) => json
                .pointer(pointer)
                .map(|found| format!("{pointer} is {}, not absent", abbreviated(Some(found)))),
            Claim::Replaced(pointer, clear) => match json.pointer(pointer) {
                Some(Value::String(text)) if text != clear && !text.is_empty() => None,
                found => Some(format!("{pointer} is {}, not a replacement", abbreviated(found))),
            },
            Claim::Contains(text) => (!occurs(text, &response.body)).then(|| format!("`{text}` is missing")),
            Claim::Excludes(text) => {
                let in_headers = response.headers.iter().any(|(_, value)| value.contains(text.as_str()));
                (in_headers || occurs(text, &response.body)).then(|| format!("`{text}` was disclosed"))
            }
            Claim::ExcludesAfterEvent(text) => {
                match response.event_offset.and_then(|offset| response.body.get(offset..)) {
                    None => Some("no event was recorded while the response was read".to_owned()),
                    Some([]) => Some("the response had ended before the event".to_owned()),
                    Some(rest) => {
                        occurs(text, rest).then(|| format!("`{text}` was disclosed after the event"))
                    }
                }
            }
            Claim::Header(name, begins) => match response.header(name) {
                Some(value) if value.starts_with(begins.as_str()) => None,
                found => Some(format!("header {name} is {found:?}")),
            },
            Claim::Truncated => response.complete.then(|| "the response was not cut off".to_owned()),
        }
    }
}

fn occurs(text: &str, bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, text.as_bytes()).is_some()
}

/// Renders a value in at most 61 characters.
fn abbreviated(found: Option<&Value>) -> String {
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

    fn response(status: u16, media_type: &str, body: &str) -> ReceivedResponse {
        ReceivedResponse {
            status,
            headers: vec![("content-type".into(), media_type.into())],
            body: body.into(),
            complete: true,
            event_offset: None,
        }
    }

    fn release() -> ReceivedResponse {
        response(200, "application/json", r#"{"a":{"b":1},"who":"pn_x","last":"Zed"}"#)
    }

    fn released() -> Expectation {
        Expectation::released("a name")
    }

    #[test]
    fn a_response_with_every_claimed_property_passes() {
        let expected = released()
            .equals("/a/b", 1)
            .present("/a")
            .absent("/a/c")
            .replaced("/who", "Zoe")
            .contains("Zed")
            .header("content-type", "application/json");
        assert_eq!(expected.check(&release()), Ok(()));
    }

    #[test]
    fn each_claim_can_fail() {
        let claims = [
            Expectation::refused(200, "not-found"),
            released().equals("/a/b", 2),
            released().present("/z"),
            released().absent("/a/b"),
            released().replaced("/last", "Zed"),
            released().replaced("/a", "Zed"),
            released().contains("nobody"),
            released().excludes("Zed"),
            released().excludes("application/"),
            released().excludes_after_event("anything"),
            released().header("data-purpose-applied", ""),
            Expectation::truncated("half a list"),
        ];
        for expected in claims {
            assert!(expected.check(&release()).is_err(), "{expected:?}");
        }
    }

    #[test]
    fn a_refusal_never_passes_for_a_release() {
        let refusal = response(403, "application/problem+json", r#"{"code":"no-rule-permits"}"#);
        assert_eq!(refusal.summary(), "403 no-rule-permits");
        assert_eq!(Expectation::refused(403, "no-rule-permits").check(&refusal), Ok(()));
        assert!(released().absent("/name").check(&refusal).is_err());
        let with_status_200 = response(200, "application/problem+json", r#"{"code":"no-rule-permits"}"#);
        assert!(released().check(&with_status_200).is_err());
    }

    #[test]
    fn a_truncated_response_never_passes_for_a_release() {
        let broken =
            ReceivedResponse { complete: false, body: br#"{"items":[{"a":1},"#.to_vec(), ..release() };
        assert!(released().check(&broken).is_err());
        assert_eq!(Expectation::truncated("half a list").excludes("Zed").check(&broken), Ok(()));
    }

    #[test]
    fn only_bytes_after_the_event_count_for_it() {
        let expected = released().excludes_after_event("Zed");
        assert_eq!(expected.check(&ReceivedResponse { event_offset: Some(37), ..release() }), Ok(()));
        assert!(expected.check(&ReceivedResponse { event_offset: Some(10), ..release() }).is_err());
        let at_end = Some(release().body.len());
        assert!(expected.check(&ReceivedResponse { event_offset: at_end, ..release() }).is_err());
    }

    #[test]
    fn an_expectation_is_described_in_words() {
        assert_eq!(released().equals("/a", 1).words(), "a name");
        let refusal = Expectation::refused(403, "no-rule-permits");
        assert_eq!(refusal.words(), "refused, 403 no-rule-permits");
        let why = refusal.with_content("data are not sold");
        assert_eq!(why.words(), "refused, 403 no-rule-permits: data are not sold");
    }
}
