//! Values with a unit, and paths, as an operator writes them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{Span, SpanRelativeTo};

use crate::finding::Table;

/// A duration such as `2s`, `500ms`, `400d` (a day is 24 hours).
pub(super) fn duration(table: &Table<'_>, key: &'static str, default: Duration) -> Duration {
    let Some(text) = table.text(key) else { return default };
    let parsed = text
        .value
        .parse::<Span>()
        .and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()))
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok());
    parsed.unwrap_or_else(|| {
        let finding = table.error(text.span, format!("`{key}` is not a duration"));
        table.findings().push(finding.hint("write a number and a unit, for example `500ms`, `2s`, `400d`"));
        default
    })
}

/// A size in bytes, such as `1048576`, `"8MiB"`, `"64KiB"`.
pub(super) fn size(table: &Table<'_>, key: &'static str, default: usize) -> usize {
    let Some(value) = table.value(key) else { return default };
    let text = match value.get_ref() {
        toml::de::DeValue::Integer(number) => number.as_str().to_owned(),
        toml::de::DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim();
    let factor = match text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '_') {
        "" | "B" => Some(1),
        "KiB" => Some(1024),
        "MiB" => Some(1024 * 1024),
        "GiB" => Some(1024 * 1024 * 1024),
        _ => None,
    };
    let parsed = digits.replace('_', "").parse::<usize>().ok().zip(factor).and_then(|(n, factor)| n.checked_mul(factor));
    parsed.unwrap_or_else(|| {
        let finding = table.error(value.span(), format!("`{key}` is not a size"));
        table.findings().push(finding.hint("write bytes, or a number with `KiB`, `MiB` or `GiB`"));
        default
    })
}

/// A path, relative to the folder of the file that names it.
pub(super) fn resolve(folder: &Path, path: &str) -> PathBuf {
    folder.join(path)
}

/// A folder, or the working directory where the path of a file names none.
pub(super) fn or_here(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
}

/// The files that an `include` pattern names: a path, or one with `*` in its last part; sorted by name.
pub(super) fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = resolve(folder, pattern);
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(format!("`{pattern}` names no file"));
    };
    let Some((before, after)) = name.split_once('*') else { return Ok(vec![path]) };
    let parent = path.parent().unwrap_or(folder);
    let entries = std::fs::read_dir(parent).map_err(|error| format!("{} cannot be read: {error}", parent.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            path.is_file() && name.len() >= before.len() + after.len() && name.starts_with(before) && name.ends_with(after)
        })
        .collect();
    found.sort();
    Ok(found)
}
