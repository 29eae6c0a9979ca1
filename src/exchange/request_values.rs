//! The values of one request, to find echoes of them in the upstream's error.
//!
//! A route that maps members of errors keeps a copy of the request's body while it is forwarded, up to [`MAX_COPIED`] bytes.
//! The copy holds what the upstream has received so far, which is all that it can echo. Of the head it keeps the parts, which
//! are shared and not copied; they are read only if there is an error. Invariant: a request that cannot be compared completely
//! has no values, and then nothing of the error leaves.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Uri};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use unicode_normalization::UnicodeNormalization;

use super::memory::{HeldBytes, MemoryBudget};
use super::path;

/// Maximum bytes of a body that is compared with the error. Nothing of the error to a longer one leaves.
const MAX_COPIED: usize = 64 * 1024;
/// Maximum bytes of all values in the form in which they are compared: a letter can be many there (U+FDFA). Nothing of the error to a
/// request with more leaves.
const MAX_COMPARED: usize = 2 * MAX_COPIED;

const TRACEPARENT: &str = "traceparent";

/// The form of a request's body, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyForm {
    /// JSON.
    Json,
    /// `application/x-www-form-urlencoded`.
    Urlencoded,
    /// Any other: its values are unknown.
    Unknown,
}

/// The parts of a request that the upstream can echo.
pub struct EchoedRequest {
    target: Uri,
    /// The decoded parameters of the path.
    parameters: Vec<(String, String)>,
    form: BodyForm,
    account: HeldAccount,
    sent: Mutex<SentParts>,
}

/// The parts that the upstream receives.
#[derive(Default)]
struct SentParts {
    /// The values of the head's fields.
    fields: Vec<HeaderValue>,
    body: CopiedBody,
}

#[derive(Default)]
struct CopiedBody {
    bytes: Vec<u8>,
    /// True if there is more of the body than the copy has.
    exceeds: bool,
    /// `None` before the first byte.
    held: Option<HeldBytes>,
}

/// The budget and the recipient that account for a body.
pub(super) struct HeldAccount {
    pub(super) budget: Arc<MemoryBudget>,
    pub(super) recipient: Arc<str>,
}

/// Prints the type's name only: values of a request can be personal data.
impl fmt::Debug for EchoedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EchoedRequest")
    }
}

impl EchoedRequest {
    /// The request with its head: its target, the decoded parameters of its path, and the fields of `forwarded`, which the
    /// upstream gets. `account` accounts for the body.
    pub(super) fn new(
        parts: &Parts,
        forwarded: &HeaderMap,
        parameters: &[(String, String)],
        account: HeldAccount,
    ) -> EchoedRequest {
        // Random hexadecimal digits, in which each code would be found at some time. No text of them is a code.
        let fields = forwarded.iter().filter(|(name, _)| *name != TRACEPARENT);
        let fields = fields.map(|(_, value)| value.clone()).collect();
        EchoedRequest {
            target: parts.uri.clone(),
            parameters: parameters.to_vec(),
            form: body_form(parts),
            account,
            sent: Mutex::new(SentParts { fields, body: CopiedBody::default() }),
        }
    }

    /// Adds the value of a field that the upstream gets beside those of the forwarded head, such as a key of the gateway's own.
    pub(crate) fn add_field(&self, value: &HeaderValue) {
        self.sent().fields.push(value.clone());
    }

    /// Copies a chunk of the body before it is forwarded.
    pub(crate) fn push(&self, chunk: &[u8]) {
        let mut sent = self.sent();
        let body = &mut sent.body;
        if body.exceeds || chunk.is_empty() {
            return;
        }
        if self.form == BodyForm::Unknown || body.bytes.len() + chunk.len() > MAX_COPIED {
            (body.exceeds, body.bytes) = (true, Vec::new());
        } else {
            body.bytes.extend_from_slice(chunk);
        }
        let HeldAccount { budget, recipient } = &self.account;
        let held = body.held.get_or_insert_with(|| budget.hold(recipient, false));
        held.set(body.bytes.capacity());
    }

    /// Returns the values of path parameters and of the query, decoded, and those of the head's fields; `None` if one does not
    /// decode.
    fn values_of_head(&self, fields: &[HeaderValue]) -> Option<Vec<String>> {
        let of_path = self.parameters.iter().map(|(_, value)| Some(value.clone()));
        let of_query = pairs(self.target.query().unwrap_or_default()).map(|(_, value)| value);
        of_path.chain(of_query).chain(fields.iter().flat_map(values_of_field)).collect()
    }

    /// Reads the values. `is_name` is true for names of members that are no value. `None` if a value may be missing.
    pub(super) fn values(&self, is_name: impl Fn(&str) -> bool) -> Option<RequestValues> {
        let sent = self.sent();
        let SentParts { fields, body } = &*sent;
        if body.exceeds {
            return None;
        }
        let mut found = FoundValues { values: self.values_of_head(fields)?, names: Vec::new() };
        let text = std::str::from_utf8(&body.bytes).ok()?;
        match self.form {
            _ if body.bytes.is_empty() => {}
            BodyForm::Json => {
                let mut json = serde_json::Deserializer::from_str(text);
                ValueCollector(&mut found).deserialize(&mut json).ok()?;
                json.end().ok()?;
            }
            BodyForm::Urlencoded => {
                for (name, value) in pairs(text) {
                    found.names.push(name?);
                    found.values.push(value?);
                }
            }
            BodyForm::Unknown => return None,
        }
        let FoundValues { mut values, names } = found;
        values.extend(names.into_iter().filter(|name| !is_name(name)));
        let mut read = RequestValues::default();
        values.iter().for_each(|value| read.add(value));
        // As it was sent, too: a number is read as another spelling of itself.
        read.add_numbers(text);
        Some(read).filter(|read| read.joined.len() <= MAX_COMPARED)
    }

    fn sent(&self) -> MutexGuard<'_, SentParts> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the value of a field, and of a credential (RFC 9110, section 11.4) also what follows its scheme: the token, or the user
/// and the password (RFC 7617). `None` for a value that is not text, or does not decode.
fn values_of_field(value: &HeaderValue) -> Vec<Option<String>> {
    let Ok(text) = std::str::from_utf8(value.as_bytes()) else { return vec![None] };
    let mut values = vec![Some(text.to_owned())];
    if let Some((scheme, credential)) = text.split_once(' ') {
        let credential = credential.trim();
        values.push(Some(credential.to_owned()));
        if scheme.eq_ignore_ascii_case("basic") {
            let decoded =
                STANDARD.decode(credential).ok().and_then(|decoded| String::from_utf8(decoded).ok());
            match decoded {
                Some(decoded) => values.extend(decoded.splitn(2, ':').map(|part| Some(part.to_owned()))),
                None => values.push(None),
            }
        }
    }
    values
}

fn body_form(parts: &Parts) -> BodyForm {
    let mut types = parts.headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (types.next(), types.next());
    if second.is_some() || parts.headers.contains_key(CONTENT_ENCODING) {
        return BodyForm::Unknown;
    }
    let Some(first) = first else { return BodyForm::Json };
    let Ok(text) = first.to_str() else { return BodyForm::Unknown };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "application/json" => BodyForm::Json,
        "application/x-www-form-urlencoded" => BodyForm::Urlencoded,
        other if other.starts_with("application/") && other.ends_with("+json") => BodyForm::Json,
        _ => BodyForm::Unknown,
    }
}

/// Returns the decoded names and values of a query or a form; `None` in place of one that does not decode.
fn pairs(text: &str) -> impl Iterator<Item = (Option<String>, Option<String>)> {
    text.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (path::form_meaning(name), path::form_meaning(value))
    })
}

/// The values of a request, in a form that is alike for all their spellings.
#[derive(Default)]
pub struct RequestValues {
    /// Each value.
    values: HashSet<String>,
    /// All values, one after the other.
    joined: String,
    /// The digits of each value, and each number, one after the other.
    digits: String,
    /// Each number, without leading zeros.
    numbers: HashSet<String>,
    /// True if there is a digit of another script, which is not compared.
    has_other_digits: bool,
}

/// Prints the type's name only.
impl fmt::Debug for RequestValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RequestValues")
    }
}

/// Letters of a value from which on it is an echo as a part of a word, too.
const MIN_PART: usize = 3;

impl RequestValues {
    fn add(&mut self, value: &str) {
        self.add_numbers(value);
        let decoded = value.contains('%').then(|| path::meaning(value)).flatten();
        for spelling in [Some(value), decoded.as_deref()].into_iter().flatten() {
            let alike = alike(spelling);
            if alike.is_empty() {
                continue;
            }
            self.digits.push('\n');
            self.digits.extend(alike.chars().filter(char::is_ascii_digit));
            self.has_other_digits |= alike.chars().any(|letter| letter.is_numeric() && !letter.is_ascii());
            self.add_numbers(&alike);
            self.joined.push('\n');
            self.joined.push_str(&alike);
            self.values.insert(alike);
        }
    }

    fn add_numbers(&mut self, text: &str) {
        for number in numbers(text) {
            self.digits.push('\n');
            self.digits.push_str(number);
            self.numbers.insert(without_zeros(number).to_owned());
        }
    }

    /// True if the request has a number. One of two digits or more is found in a longer number, too.
    pub(super) fn has_number(&self, number: &str) -> bool {
        let number = without_zeros(number);
        let is_part = number.len() > 1 && self.digits.contains(number);
        self.has_other_digits || is_part || self.numbers.contains(number)
    }

    /// True if the request has this value, in any spelling.
    pub(super) fn has_value(&self, text: &str) -> bool {
        self.values.contains(&alike(text))
    }

    /// True if a text occurs in a value, a value in the text, or a number of the text anywhere in the request.
    pub(super) fn overlaps(&self, text: &str) -> bool {
        let alike = alike(text);
        if alike.is_empty() || self.joined.contains(&*alike) {
            return true;
        }
        let parts = (0..alike.len()).flat_map(|from| (from + MIN_PART..=alike.len()).map(move |to| from..to));
        let mut parts = parts.filter_map(|part| alike.get(part));
        let mut words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        parts.any(|part| self.values.contains(part))
            || words.any(|word| self.has_value(word))
            || numbers(text).any(|number| self.has_number(number))
    }
}

/// Returns the runs of digits in a text.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_digit()).filter(|run| !run.is_empty())
}

fn without_zeros(number: &str) -> &str {
    number.trim_start_matches('0')
}

/// Returns the letters and digits of a text, without case, accents, compatibility forms and everything between them.
fn alike(text: &str) -> String {
    text.nfkd().filter(|letter| letter.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The values and the names of members of a JSON text.
#[derive(Default)]
struct FoundValues {
    values: Vec<String>,
    names: Vec<String>,
}

/// Collects all values, those of duplicate names, too.
struct ValueCollector<'f>(&'f mut FoundValues);

impl<'de> DeserializeSeed<'de> for ValueCollector<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ValueCollector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.values.push(value.to_string());
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.values.push(value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.values.push(value.to_string());
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.values.push(value.to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.0.values.push(value.to_owned());
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        while elements.next_element_seed(ValueCollector(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            self.0.names.push(name);
            members.next_value_seed(ValueCollector(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use http::Request;

    use super::*;

    fn account() -> HeldAccount {
        let gauges = prometheus::IntGaugeVec::new(prometheus::Opts::new("held", "Bytes"), &["recipient"]);
        HeldAccount { budget: MemoryBudget::new(1 << 20, 1 << 20, gauges.unwrap()), recipient: "acme".into() }
    }

    /// Accounts for a body.
    pub(in crate::exchange) fn held() -> HeldBytes {
        let HeldAccount { budget, recipient } = account();
        budget.hold(&recipient, false)
    }

    /// Returns the copy of a request with this query, content type and body, and one path parameter.
    pub(in crate::exchange) fn copied(query: &str, content_type: &str, body: &[u8]) -> EchoedRequest {
        let request = Request::post(format!("/people/p-9{query}"))
            .header("content-type", content_type)
            .header("idempotency-key", "order-of-Lee")
            .header("x-forwarded-for", "192.0.2.25")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        let parts = request.body(()).unwrap().into_parts().0;
        let parameters = [("id".to_owned(), "p-9".to_owned())];
        let copy = EchoedRequest::new(&parts, &parts.headers, &parameters, account());
        body.chunks(7).for_each(|chunk| copy.push(chunk));
        copy
    }

    fn values(query: &str, content_type: &str, body: &str) -> Option<RequestValues> {
        copied(query, content_type, body.as_bytes()).values(|name| ["name", "email"].contains(&name))
    }

    const JSON: &str = "application/json";
    const FORM: &str = "application/x-www-form-urlencoded";

    #[test]
    fn a_value_is_found_in_each_of_its_spellings() {
        let read = values("?q=M%C3%BCller+AG", JSON, r#"{"name": "Jane D\u006fe", "n": 42}"#).unwrap();
        for value in
            ["jane doe", "JANE-DOE", "jane_doe", "Mueller", "muller.ag", "ＪａｎｅＤｏｅ", "p9", "P-9"]
        {
            assert_eq!(read.has_value(value), value != "Mueller", "{value}");
        }
        for echo in ["doe", "JaneDoe.exists", "x-jane-doe", "code42", "E_042", "er"] {
            assert!(read.overlaps(echo), "{echo}");
        }
        for other in ["taken", "E-43", "unknown_field"] {
            assert!(!read.overlaps(other), "{other}");
        }
    }

    #[test]
    fn names_of_members_count_only_if_they_are_unknown() {
        let read = values("", JSON, r#"{"name": 1, "smith": {"email": true}}"#).unwrap();
        assert!(!read.has_value("name") && !read.has_value("email") && read.has_value("Smith"));
        let read = values("", FORM, "email=a%40b.example&smith=1+2").unwrap();
        assert!(read.has_value("a@b.example") && read.has_value("SMITH") && read.has_value("12"));
        assert!(!read.has_value("email"));
    }

    #[test]
    fn parts_of_numbers_are_found() {
        let read =
            values("", JSON, r#"{"iban": "DE89 3704 0044 0532 0130 00", "n": 7, "z": "042"}"#).unwrap();
        for echo in ["account_number_3000", "a.013000", "E7", "E-007", "42", "x_0042"] {
            assert!(read.overlaps(echo), "{echo}");
        }
        assert!(!read.overlaps("E-43") && !read.overlaps("E3"), "3 is no number of the request");
        let read = values("", JSON, r#"{"n": "٤٢"}"#).unwrap();
        assert!(read.has_number("55") && !read.overlaps("required"));
    }

    #[test]
    fn fields_of_the_head_are_values() {
        let read = values("", JSON, "").unwrap();
        for echo in ["lee", "order_of_lee", "192", "E-25"] {
            assert!(read.overlaps(echo), "{echo}");
        }
        assert!(read.has_value("order-of-lee") && !read.overlaps("E-8448"), "a trace is no value");
        let request = Request::post("/").header("x-name", HeaderValue::from_bytes(b"J\xe4ne").unwrap());
        let parts = request.body(()).unwrap().into_parts().0;
        assert!(EchoedRequest::new(&parts, &parts.headers, &[], account()).values(|_| true).is_none());
    }

    #[test]
    fn fields_that_the_gateway_adds_are_values() {
        let copy = copied("", JSON, b"{}");
        copy.add_field(&HeaderValue::from_static("Bearer tenant-key-77"));
        let read = copy.values(|_| true).unwrap();
        for echo in ["tenant_key", "E-77", "bearer", "x.BEARERTENANTKEY77"] {
            assert!(read.overlaps(echo), "{echo}");
        }
        assert!(!read.overlaps("taken"));
        // The user is `acme`, the password `s3cret-of-acme`.
        for credential in ["Bearer acme", "Basic YWNtZTpzM2NyZXQtb2YtYWNtZQ=="] {
            let copy = copied("", JSON, b"{}");
            copy.add_field(&HeaderValue::from_static(credential));
            assert!(copy.values(|_| true).unwrap().overlaps("acme_limit"), "{credential}");
        }
        // Not UTF-8, and not Base64.
        for credential in ["Basic bfxsbGVyOnMzY3JldA==", "basic YWNtZTpzM2NyZXQtb2YtYWNtZQ"] {
            let copy = copied("", JSON, b"{}");
            copy.add_field(&HeaderValue::from_static(credential));
            assert!(copy.values(|_| true).is_none(), "{credential}");
        }
    }

    #[test]
    fn memory_is_accounted_for_bodies_only() {
        let is_held = |body: &[u8]| {
            let copy = copied("?q=jane", JSON, body);
            copy.sent().body.held.is_some()
        };
        assert!(!is_held(b"") && is_held(b"{}"));
    }

    #[test]
    fn values_that_grow_beyond_the_bound_are_not_compared() {
        let long = |count| format!("\"{}\"", "\u{fdfa}".repeat(count));
        assert!(values("", JSON, &long(20_000)).is_none());
        assert!(values("", JSON, &long(1_000)).is_some());
    }

    #[test]
    fn both_values_of_a_duplicate_name_count() {
        let read = values("", JSON, r#"{"name": "Jane", "name": "Anna", "n": 1042.0, "m": 17e3}"#).unwrap();
        for value in ["jane", "anna", "1042", "17000"] {
            assert!(read.has_value(value), "{value}");
        }
    }

    #[test]
    fn a_value_with_percent_signs_counts_decoded_too() {
        let read = values("", JSON, r#"{"name": "J%61ne"}"#).unwrap();
        assert!(read.has_value("jane") && read.has_value("J%61ne"));
    }

    #[test]
    fn a_request_without_a_body_has_the_values_of_its_head() {
        assert!(values("", "image/png", "").is_some(), "whatever its media type would be");
        let read = values("?q=jane", JSON, "").unwrap();
        assert!(read.has_value("Jane") && read.has_value("p-9"));
    }

    #[test]
    fn a_request_that_cannot_be_compared_has_no_values() {
        for (content_type, body) in [
            ("text/plain", "jane"),
            ("multipart/form-data; boundary=x", "--x--"),
            (JSON, "{\"name\": \"jane\""),
            (JSON, "{} {}"),
            (JSON, "jane"),
            (FORM, "name=%FF"),
            (JSON, &format!("\"{}\"", "x".repeat(MAX_COPIED))),
            (JSON, &"[".repeat(1000)),
        ] {
            assert!(values("", content_type, body).is_none(), "{content_type}");
        }
        assert!(copied("", JSON, b"\"\xff\"").values(|_| false).is_none());
        assert!(values("", JSON, &format!("\"{}\"", "x".repeat(1000))).is_some());
    }

    #[test]
    fn a_coded_body_cannot_be_compared() {
        let request = Request::post("/").header("content-encoding", "gzip").body(()).unwrap();
        assert_eq!(body_form(&request.into_parts().0), BodyForm::Unknown);
        let request = Request::post("/").header("content-type", JSON).header("content-type", FORM);
        assert_eq!(body_form(&request.body(()).unwrap().into_parts().0), BodyForm::Unknown);
    }
}
