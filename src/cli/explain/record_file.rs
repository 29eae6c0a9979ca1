//! Reads a file with a record or a whole answer, by the route's mapping, and decides about its records as the gateway does.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::decision_recorder::DecisionRecorder;
use crate::cli::error::CliError;
use crate::exchange::route::{Route, Scrubbing};
use crate::scrub::{Framing, Pseudonyms, RecordMapping, Scrubber};

/// Maximum number of bytes of the file.
const MAX_INPUT_BYTES: u64 = 64 << 20;

/// Decides about every record in a file, which holds a whole answer or a single record.
///
/// # Errors
/// [`CliError::Unusable`] if the file cannot be read or has no record.
pub(super) fn read(
    file: &Path,
    route: &Route,
    scrubbing: &Scrubbing,
    parameters: &[(&str, &str)],
    recorder: &mut DecisionRecorder<'_>,
) -> Result<(), CliError> {
    let unusable = |why: &dyn std::fmt::Display| CliError::Unusable(format!("{}: {why}", file.display()));
    if scrubbing.whole_body.is_some() {
        return Err(unusable(&"the whole body is one field on this route: leave out `--record`"));
    }
    // A pipe or a device has no length, so the bytes that are read are limited.
    let opened = File::open(file).map_err(|error| unusable(&error))?;
    let mut bytes = Vec::new();
    opened.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unusable(&error))?;
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        return Err(unusable(&format!("more than {MAX_INPUT_BYTES} bytes")));
    }
    scrub(&bytes, route, scrubbing, parameters, recorder).map_err(|error| unusable(&error))?;
    if recorder.has_records() || recorder.error.is_some() {
        return recorder.error.take().map_or(Ok(()), Err);
    }
    let paths: Vec<&str> = scrubbing.records.iter().map(|set| set.path.as_str()).collect();
    let wrapped_record = match &scrubbing.records[..] {
        [set] => wrapped(&bytes, set),
        _ => None,
    };
    let Some(answer) = wrapped_record else {
        let paths = paths.join("`, `");
        return Err(unusable(&format!(
            "there is no record: the route has its records at `{paths}` of a whole answer"
        )));
    };
    recorder.clear();
    scrub(&answer, route, scrubbing, parameters, recorder).map_err(|error| unusable(&error))?;
    recorder.error.take().map_or(Ok(()), Err)
}

/// Scrubs a body and drops the output.
fn scrub(
    bytes: &[u8],
    route: &Route,
    scrubbing: &Scrubbing,
    parameters: &[(&str, &str)],
    recorder: &mut DecisionRecorder<'_>,
) -> Result<(), crate::scrub::Unreadable> {
    let forms = Pseudonyms::new([0; 32]).for_recipient("");
    let framing = match route.media_types.framing.unwrap_or_default() {
        // A route of tables can answer JSON as well. No table with the columns of a mapping begins like this.
        Framing::Rows if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) => Framing::Document,
        framing => framing,
    };
    let plan = Arc::clone(&scrubbing.plan);
    let mut scrubber = Scrubber::new(plan, forms, parameters, scrubbing.limits, framing);
    let mut out = Vec::new();
    scrubber.feed(bytes, recorder, &mut out)?;
    out.clear();
    scrubber.finish(recorder, &mut out)
}

/// Wraps a single record in an answer, so that the route finds it at the path of its records. Returns `None` if the text is
/// not an object, or if the path holds more than names and `[*]`.
fn wrapped(bytes: &[u8], set: &RecordMapping) -> Option<Vec<u8>> {
    let record: Value = serde_json::from_slice(bytes).ok().filter(Value::is_object)?;
    let mut rest = set.path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("[*]") {
            steps.push(None);
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('.')?;
        let end = named.find(['.', '[']).unwrap_or(named.len());
        let (name, after) = named.split_at_checked(end)?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || !name.bytes().all(is_plain) {
            return None;
        }
        steps.push(Some(name));
        rest = after;
    }
    // An object with the first name of the path is an answer without records.
    if steps.first().copied().flatten().is_some_and(|first| record.get(first).is_some()) {
        return None;
    }
    // The text is kept, because parsing and rendering it would lose duplicate names.
    let mut text = std::str::from_utf8(bytes).ok()?.trim().to_owned();
    for step in steps.iter().rev() {
        text = match step {
            Some(name) => format!("{{\"{name}\":{text}}}"),
            None => format!("[{text}]"),
        };
    }
    Some(text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_record_is_wrapped_in_an_answer() {
        let at = |path: &str, record: &str| {
            let set = RecordMapping { path: path.to_owned(), ..RecordMapping::default() };
            wrapped(record.as_bytes(), &set).map(|bytes| String::from_utf8(bytes).unwrap())
        };
        let record = r#"{"id":1,"id":2}"#;
        assert_eq!(at("$", record).as_deref(), Some(record));
        assert_eq!(at("$.items[*]", record).unwrap(), r#"{"items":[{"id":1,"id":2}]}"#);
        assert_eq!(at("$[*].customer", record).unwrap(), r#"[{"customer":{"id":1,"id":2}}]"#);
        for (path, record) in [
            ("$.items[*]", r#"{"items":[]}"#),
            ("$..items[*]", record),
            ("$.items[?@.a]", record),
            ("$['a b']", record),
            ("$.items[*]", "[1]"),
            ("$", "{"),
        ] {
            assert_eq!(at(path, record), None, "{path} {record}");
        }
    }
}
