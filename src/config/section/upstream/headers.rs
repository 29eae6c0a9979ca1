//! Header fields of requests to an upstream: configured values, also from files and the environment, and the recipient's
//! name.
//!
//! Invariant: a value is in no finding and in no `Debug` output.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::header::{HeaderName, HeaderValue};

use crate::config::Part;
use crate::config::files::existing;
use crate::document::{At, Fields, Item};
use crate::exchange::request_head::never_configured;
use crate::finding::Finding;

/// Maximum number of configured header fields of one upstream.
const MAX_HEADERS: usize = 32;
/// Maximum length of a file with a value, in bytes.
const MAX_VALUE_BYTES: u64 = 16 * 1024;

/// Configured header fields. Each value is marked as sensitive, so that its `Debug` does not show it.
#[derive(Clone, Debug, Default)]
pub struct UpstreamHeaders {
    /// Name and value of each field.
    pub fields: Vec<(HeaderName, HeaderValue)>,
    /// Files that values were read from.
    pub files: Vec<PathBuf>,
    /// A file that this user has no permission to read. The gateway does not start without it.
    pub denied: Option<PathBuf>,
}

/// The reason why there is no value.
pub(in crate::config::section) enum ValueError {
    /// A finding tells it already.
    Reported,
    /// A reason that quotes nothing of the value.
    Because(String),
    Denied(PathBuf),
}

/// Reads `headers`.
pub(super) fn read(part: &Part<'_>, fields: &mut Fields<'_>, purpose_header: &HeaderName) -> UpstreamHeaders {
    let (document, mut headers) = (fields.document(), UpstreamHeaders::default());
    let entries = fields.entries("headers");
    if let Some((name, _)) = entries.get(MAX_HEADERS) {
        let words = format!("an upstream has at most {MAX_HEADERS} `headers`");
        document.find(Finding::error("bad-upstream-header", words), name.at.clone());
    }
    for (name, item) in entries.into_iter().take(MAX_HEADERS) {
        let field = field_name(fields, &name, purpose_header);
        match value(part, &item, &mut headers.files) {
            Ok(mut value) => {
                value.set_sensitive(true);
                headers.fields.extend(field.map(|field| (field, value)));
            }
            Err(ValueError::Reported) => {}
            Err(ValueError::Because(why)) => {
                let words = format!("the header `{}` has no usable value: {why}", name.value);
                document.find(Finding::error("bad-upstream-header", words).label("no value"), item.at());
            }
            Err(ValueError::Denied(file)) => {
                let words = format!("{} cannot be read: permission denied", file.display());
                let finding = Finding::warning("unreadable-upstream-header", words);
                let hint = "the gateway does not start without it; other commands do not need it";
                document.find(finding.label("not for this user").hint(hint), item.at());
                headers.denied = Some(file);
            }
        }
    }
    headers
}

fn field_name(fields: &Fields<'_>, name: &At<&str>, purpose_header: &HeaderName) -> Option<HeaderName> {
    let parsed = name.value.parse::<HeaderName>().map_err(|_| "it is no name of a field");
    let checked = parsed.and_then(|parsed| match never_configured(&parsed, purpose_header) {
        Some(why) => Err(why),
        None => Ok(parsed),
    });
    checked
        .map_err(|why| {
            let words = format!("`{}` cannot be a header of an upstream: {why}", name.value);
            fields.document().find(Finding::error("bad-upstream-header", words), name.at.clone());
        })
        .ok()
}

/// Reads the value of one field, and notes the file that it is from.
pub(in crate::config::section) fn value(
    part: &Part<'_>,
    item: &Item<'_>,
    files: &mut Vec<PathBuf>,
) -> Result<HeaderValue, ValueError> {
    if !item.is_table() {
        return header_value(item.text().ok_or(ValueError::Reported)?.value.as_bytes());
    }
    let mut source = item.fields("the value of a header").ok_or(ValueError::Reported)?;
    let (file, variable) = (source.text("file"), source.text("env"));
    source.end();
    match (file, variable) {
        (Some(file), None) => {
            let hint = "it holds the value and nothing else";
            let path = existing(part, &file, hint).ok_or(ValueError::Reported)?;
            files.push(path.clone());
            match read_file(&path) {
                Ok(bytes) => header_value(trimmed(&bytes)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    Err(ValueError::Denied(path))
                }
                Err(error) => Err(ValueError::Because(format!("{} cannot be read: {error}", path.display()))),
            }
        }
        (None, Some(variable)) => match std::env::var(variable.value) {
            Ok(text) => header_value(text.as_bytes()),
            Err(std::env::VarError::NotPresent) => {
                Err(ValueError::Because(format!("the environment has no variable `{}`", variable.value)))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(ValueError::Because(format!("the variable `{}` is not a text", variable.value)))
            }
        },
        _ => Err(ValueError::Because("write a text, `{ file = \"…\" }` or `{ env = \"…\" }`".to_owned())),
    }
}

/// Reads a file of at most [`MAX_VALUE_BYTES`].
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_VALUE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_VALUE_BYTES {
        return Err(io::Error::other(format!("it has more than {MAX_VALUE_BYTES} bytes")));
    }
    Ok(bytes)
}

/// Returns the text of a file without one final line end.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Checks a value: visible characters of ASCII, with blanks only between them.
fn header_value(bytes: &[u8]) -> Result<HeaderValue, ValueError> {
    let is_inner = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    let is_edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let is_text = is_edge(bytes.first()) && is_edge(bytes.last()) && bytes.iter().all(is_inner);
    let value = is_text.then(|| HeaderValue::from_bytes(bytes).ok()).flatten();
    value.ok_or_else(|| {
        let why = "it must be one line of printable ASCII, not empty, without blanks at its ends";
        ValueError::Because(why.to_owned())
    })
}

/// The names of all recipients that cannot be the value of a header field.
#[derive(Debug)]
pub(super) struct RecipientNames {
    unsendable: Vec<String>,
}

impl RecipientNames {
    /// Collects the names from the tables of all files.
    pub(super) fn of(parts: &mut [Part<'_>]) -> RecipientNames {
        let tables = parts.iter_mut().flat_map(|part| part.fields.tables("recipient", "a recipient"));
        let names = tables.filter_map(|mut table| Some(table.text("name")?.value.to_owned()));
        RecipientNames { unsendable: names.filter(|name| header_value(name.as_bytes()).is_err()).collect() }
    }
}

/// Reads `recipient-header`.
pub(super) fn recipient_header(
    fields: &mut Fields<'_>,
    purpose_header: &HeaderName,
    recipients: &RecipientNames,
) -> Option<HeaderName> {
    let named = fields.text("recipient-header")?;
    let header = field_name(fields, &named, purpose_header)?;
    if let Some(name) = recipients.unsendable.first() {
        let words = format!("the recipient `{name}` cannot be named in a header");
        let finding = Finding::error("bad-upstream-header", words);
        let hint = "a value is printable ASCII: rename the recipient, or take `recipient-header` out";
        fields.document().find(finding.hint(hint), named.at);
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_final_line_end_is_not_part_of_a_value() {
        for (text, value) in
            [("key", "key"), ("key\n", "key"), ("key\r\n", "key"), ("key\n\n", "key\n"), ("\n", "")]
        {
            assert_eq!(trimmed(text.as_bytes()), value.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn a_value_is_one_line_of_printable_ascii() {
        for text in ["Bearer abc", "a", "a\tb", "~!"] {
            assert!(header_value(text.as_bytes()).is_ok(), "{text:?}");
        }
        for text in ["", " a", "a ", "a\nb", "a\r\nx: y", "ä", "a\0b", "\t"] {
            assert!(header_value(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
