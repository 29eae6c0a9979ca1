//! Writes values in the forms masked, generalised and pseudonymised.
//!
//! The module does not know the recipient's purpose or the policy: the caller gives the form and the kind of value
//! that the category holds. Every JSON value has a result in every form. `null` stays `null`. In an array or object
//! every scalar changes, while names and structure stay; a generalised address keeps only its country and region.
//! A value that a form cannot make less revealing is hidden whole: a string becomes `"***"`, a number or a boolean
//! `null`.

mod generalise;
mod mask;
mod pseudonym;
mod value_kind;

pub use pseudonym::Pseudonyms;
pub(super) use value_kind::{ValueKind, is_coarse_address_part};

use std::fmt;

use super::lex::unquoted;
use super::lex::{self, Scan};
use crate::vocabulary::Form;
use pseudonym::RecipientKey;

/// The text that replaces a string that is hidden whole.
const HIDDEN: &str = "***";

/// The context of a value that its forms depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueContext<'a> {
    pub(super) kind: ValueKind,
    /// The category. Equal values of two categories have different pseudonyms.
    pub(super) category: &'a str,
    /// The member's name, unless the value is an element.
    pub(super) name: Option<&'a [u8]>,
}

/// Writes the forms of values for one recipient.
#[derive(Clone, Debug, Default)]
pub struct Forms {
    key: Option<RecipientKey>,
}

impl Forms {
    /// Makes forms without a key. Values that should be pseudonymised are removed instead.
    pub fn without_pseudonyms() -> Forms {
        Forms::default()
    }

    /// Returns the pseudonym of an id in a category, as it leaves in place of a string or a number. `None` without a key.
    pub fn pseudonym_of(&self, category: &str, id: &str) -> Option<String> {
        let pseudonym = self.key.as_ref()?.pseudonym(category, id.as_bytes());
        Some(String::from_utf8_lossy(&pseudonym).into_owned())
    }

    /// Returns the form that can be made in place of this one: without a key, `Removed` instead of `Pseudonymised`.
    pub(super) fn feasible(&self, form: Form) -> Form {
        match form {
            Form::Pseudonymised if self.key.is_none() => Form::Removed,
            Form::Clear | Form::Masked | Form::Generalised | Form::Pseudonymised | Form::Removed => form,
        }
    }

    /// Writes a JSON value in a form.
    pub(super) fn write(&self, form: Form, context: ValueContext<'_>, value: &[u8], out: &mut Vec<u8>) {
        match value.first() {
            Some(b'{' | b'[') => self.write_within(form, context, value, out),
            Some(_) | None => self.write_scalar(form, context, value, out),
        }
    }

    fn write_scalar(&self, form: Form, context: ValueContext<'_>, value: &[u8], out: &mut Vec<u8>) {
        match form {
            Form::Clear => out.extend_from_slice(value),
            _ if value == b"null" => out.extend_from_slice(value),
            Form::Masked => {
                let text = |text: &str, into: &mut JsonStringWriter<'_>| mask::text(context.kind, text, into);
                if mask::is_text(context.kind, value) {
                    write_text(value, text, out);
                } else {
                    write_changed(value, text, |_| None, out);
                }
            }
            Form::Generalised
                if context.kind == ValueKind::Address && context.name.is_some_and(is_coarse_address_part) =>
            {
                out.extend_from_slice(value);
            }
            Form::Generalised => {
                let text =
                    |text: &str, into: &mut JsonStringWriter<'_>| generalise::text(context.kind, text, into);
                write_changed(value, text, |number| generalise::number(context.kind, number), out);
            }
            Form::Pseudonymised => {
                let pseudonym =
                    |denoted: &[u8]| Some(self.key.as_ref()?.pseudonym(context.category, denoted));
                let written = match value.first() {
                    Some(b'"') => pseudonym(&unquoted(value)),
                    Some(b'-' | b'0'..=b'9') => pseudonym(value),
                    // A boolean has only two values, so that a pseudonym would disclose it.
                    Some(_) | None => None,
                };
                match written {
                    Some(pseudonym) => {
                        out.push(b'"');
                        out.extend_from_slice(&pseudonym);
                        out.push(b'"');
                    }
                    None => out.extend_from_slice(b"null"),
                }
            }
            Form::Removed => out.extend_from_slice(b"null"),
        }
    }

    /// Writes a container in which every scalar changes. The tokenizer validated the text earlier. If a token is
    /// invalid nevertheless, writing stops there.
    fn write_within(&self, form: Form, context: ValueContext<'_>, value: &[u8], out: &mut Vec<u8>) {
        let part_of_address = form == Form::Generalised && context.kind == ValueKind::Address;
        // For each open container: true if it is an object, and true if a child was written.
        let mut open: Vec<(bool, bool)> = Vec::new();
        let mut name: Option<(usize, usize)> = None;
        // The start of the current child's prefix: comma, white space and name.
        let mut prefix = 0;
        let mut at = 0;
        while let Some(&byte) = value.get(at) {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' | b',' | b':' => {
                    at += 1;
                    continue;
                }
                b'}' | b']' => {
                    out.extend_from_slice(value.get(prefix..at + 1).unwrap_or_default());
                    open.pop();
                    at += 1;
                    prefix = at;
                    name = None;
                    continue;
                }
                _ => {}
            }
            let Some(end) = token_end(value, at) else { return };
            let in_object = open.last().is_some_and(|(object, _)| *object);
            if in_object && name.is_none() {
                name = Some((at, end));
                at = end;
                continue;
            }
            let spelled = name.take().and_then(|(from, to)| value.get(from..to));
            let denoted = spelled.map(unquoted);
            let context = ValueContext { name: denoted.as_deref(), ..context };
            let container = matches!(byte, b'{' | b'[');
            let drops = part_of_address
                && in_object
                && !container
                && !context.name.is_some_and(is_coarse_address_part);
            if drops {
                prefix = end;
                at = end;
                continue;
            }
            let written = open.last().is_none_or(|(_, written)| *written);
            let from = if written { prefix } else { lex::after_comma(value, prefix) };
            out.extend_from_slice(value.get(from..at).unwrap_or_default());
            if let Some((_, written)) = open.last_mut() {
                *written = true;
            }
            if container {
                out.push(byte);
                open.push((byte == b'{', false));
            } else {
                self.write_scalar(form, context, value.get(at..end).unwrap_or_default(), out);
            }
            prefix = end;
            at = end;
        }
    }
}

/// Writes a scalar that `text` or `number` changes. Hides the value if they return `None`.
fn write_changed(
    value: &[u8],
    text: impl Fn(&str, &mut JsonStringWriter<'_>) -> Option<()>,
    number: impl Fn(&str) -> Option<String>,
    out: &mut Vec<u8>,
) {
    match value.first() {
        Some(b'"') => write_text(&unquoted(value), text, out),
        Some(b'-' | b'0'..=b'9') => {
            let number = std::str::from_utf8(value).ok().and_then(number);
            out.extend_from_slice(number.as_deref().unwrap_or("null").as_bytes());
        }
        Some(_) | None => out.extend_from_slice(b"null"),
    }
}

/// Writes the text that `write` produces as a JSON string, or hides the string whole. A string with a lone
/// surrogate is always hidden whole.
fn write_text(text: &[u8], write: impl Fn(&str, &mut JsonStringWriter<'_>) -> Option<()>, out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    let text = std::str::from_utf8(text).ok();
    if text.and_then(|text| write(text, &mut JsonStringWriter(out))).is_none() {
        out.truncate(start);
        out.extend_from_slice(HIDDEN.as_bytes());
    }
    out.push(b'"');
}

/// Writes text with the escapes of a JSON string.
struct JsonStringWriter<'o>(&'o mut Vec<u8>);

impl fmt::Write for JsonStringWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let escapes = |byte| matches!(byte, 0..0x20 | b'"' | b'\\');
        // Without an early exit the compiler vectorises this loop.
        if text.bytes().fold(false, |found, byte| found | escapes(byte)) {
            let spelled = serde_json::Value::from(text).to_string();
            let inner = spelled.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            self.0.extend_from_slice(inner.unwrap_or_default().as_bytes());
        } else {
            self.0.extend_from_slice(text.as_bytes());
        }
        Ok(())
    }
}

/// Returns the end of the scalar at `at`, or of the bracket that opens a container.
fn token_end(value: &[u8], at: usize) -> Option<usize> {
    let scan = match value.get(at)? {
        b'{' | b'[' => Scan::Whole(at + 1),
        b'"' => lex::string(value, at + 1, &mut false),
        b't' | b'n' => Scan::Whole(at + 4),
        b'f' => Scan::Whole(at + 5),
        _ => lex::number(value, at, true),
    };
    match scan {
        Scan::Whole(end) => Some(end),
        Scan::Partial(_) | Scan::Wrong(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(super) fn written(form: Form, kind: ValueKind, value: &str) -> String {
        let forms = Pseudonyms::new([7; 32]).for_recipient("r");
        let mut out = Vec::new();
        forms.write(form, ValueContext { kind, category: "c", name: None }, value.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_scalar_of_a_container_changes() {
        let value = r#" {"a": ["x@y.org", 1, null, true], "b" : {"\"": "jo@y.org" }, "c":[ ] }"#.trim();
        assert_eq!(
            written(Form::Masked, ValueKind::Email, value),
            r#"{"a": ["***@y.org", null, null, null], "b" : {"\"": "j***@y.org" }, "c":[ ] }"#
        );
    }

    #[test]
    fn a_generalised_address_keeps_country_and_region() {
        for (value, left) in [
            (
                r#"{"street":"S 1","city":"C","state":"CA","country":"US","zip":9}"#,
                r#"{"state":"CA","country":"US"}"#,
            ),
            (r#"{"city":"C","geo":{"lat":1.5}}"#, r#"{"geo":{}}"#),
            (r#"[{"country":"US"},{ "x":1 }]"#, r#"[{"country":"US"},{ }]"#),
            (r#"{"country":["US"],"line":["a"]}"#, r#"{"country":["***"],"line":["***"]}"#),
            ("\"Street 1, Town\"", "\"***\""),
            ("12", "null"),
        ] {
            assert_eq!(written(Form::Generalised, ValueKind::Address, value), left, "{value}");
        }
    }

    /// Checks the table of docs/policy-packs.md.
    #[test]
    fn forms_are_as_documented() {
        let guide = include_str!("../../../docs/policy-packs.md");
        let table = guide.split_once("| category | value | `masked` | `generalised` |").unwrap().1;
        let mut rows = 0;
        for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
            let [categories, value, masked, generalised] = cells[..] else { panic!("{row}") };
            let code = |cell: &str| cell.trim_matches('`').to_owned();
            for category in categories.split(", ").map(code) {
                let kind = ValueKind::of(&category);
                assert_eq!(written(Form::Masked, kind, &code(value)), code(masked), "{row}");
                assert_eq!(written(Form::Generalised, kind, &code(value)), code(generalised), "{row}");
                rows += usize::from(kind != ValueKind::Other);
            }
        }
        assert_eq!(rows, 10, "each category with a kind of its own has an example");
    }

    #[test]
    fn pseudonyms_need_a_key() {
        assert_eq!(Forms::without_pseudonyms().feasible(Form::Pseudonymised), Form::Removed);
        assert_eq!(Forms::without_pseudonyms().feasible(Form::Masked), Form::Masked);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            ".{0,12}".prop_map(Into::into),
            "[0-9a-f:.@/ -]{0,20}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map(".{0,6}", inner, 0..4)
                    .prop_map(|members| members.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// Every value has a JSON result of the same type, and a masked or pseudonymised string differs from the
        /// original.
        #[test]
        fn every_value_has_a_result_in_every_form(value in json(), kind in proptest::sample::select(ValueKind::ALL.to_vec())) {
            for form in [Form::Masked, Form::Generalised, Form::Pseudonymised] {
                let text = written(form, kind, &value.to_string());
                let out: serde_json::Value = serde_json::from_str(&text).unwrap();
                prop_assert_eq!(out.is_object(), value.is_object());
                prop_assert_eq!(out.is_array(), value.is_array());
                prop_assert_eq!(&text, &written(form, kind, &value.to_string()));
                if let (Some(before), Form::Masked | Form::Pseudonymised) = (value.as_str(), form) {
                    prop_assert!(before == HIDDEN || out.as_str() != Some(before));
                }
            }
        }
    }
}
