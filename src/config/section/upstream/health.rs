//! `health`: active checks of the addresses of an upstream.

use std::ops::Range;
use std::time::Duration;

use http::uri::PathAndQuery;

use crate::document::{Document, Fields, Item};
use crate::finding::Finding;

/// Shortest time between two checks.
const MIN_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of checks in a row that change the state of an address.
const MAX_CHECKS: u32 = 100;

/// `health`: a request that tells whether an address of an upstream is usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckSection {
    /// Path, and query if there is one, on the upstream's host.
    pub path: PathAndQuery,
    /// Time between two checks.
    pub interval: Duration,
    /// Time from the connection to the head of the answer.
    pub timeout: Duration,
    /// Status codes of an address that is usable. Empty: 200 to 299.
    pub expected: Vec<u16>,
    /// Failed checks in a row after which an address is not used.
    pub unhealthy_after: u32,
    /// Passed checks in a row after which it is used again.
    pub healthy_after: u32,
}

impl HealthCheckSection {
    /// True if the status is that of a usable address.
    pub fn expects(&self, status: u16) -> bool {
        match self.expected.is_empty() {
            true => (200..300).contains(&status),
            false => self.expected.contains(&status),
        }
    }
}

/// Reads `health`.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<HealthCheckSection> {
    let mut fields = fields.fields("health", "`health`")?;
    let document = fields.document();
    let path = fields.needed_text("path").and_then(|path| {
        let parsed = path.value.starts_with('/').then(|| path.value.parse::<PathAndQuery>().ok()).flatten();
        if parsed.is_none() {
            find(document, "`path` is not a path", "write one that begins with `/`", path.at);
        }
        parsed
    });
    let interval = duration(&mut fields, "interval", Duration::from_secs(5));
    let timeout = duration(&mut fields, "timeout", Duration::from_secs(2));
    let expected = expected(&mut fields);
    let unhealthy_after = count(&mut fields, "unhealthy-after", 3);
    let healthy_after = count(&mut fields, "healthy-after", 2);
    fields.end();
    Some(HealthCheckSection { path: path?, interval, timeout, expected, unhealthy_after, healthy_after })
}

fn find(document: &Document<'_>, words: &str, hint: &str, at: Range<usize>) {
    document.find(Finding::error("bad-health-check", words).hint(hint), at);
}

fn duration(fields: &mut Fields<'_>, key: &'static str, default: Duration) -> Duration {
    let Some(item) = fields.item(key) else { return default };
    let Some(duration) = item.duration() else { return default };
    if duration < MIN_INTERVAL {
        let words = format!("`{key}` is shorter than {} ms", MIN_INTERVAL.as_millis());
        find(fields.document(), &words, "checks should not be a load of their own", item.at());
    }
    duration.max(MIN_INTERVAL)
}

fn count(fields: &mut Fields<'_>, key: &'static str, default: u32) -> u32 {
    let Some(number) = fields.number(key) else { return default };
    if !(1..=MAX_CHECKS).contains(&number.value) {
        let words = format!("`{key}` is not between 1 and {MAX_CHECKS}");
        find(fields.document(), &words, "it is a number of checks in a row", number.at);
    }
    number.value.clamp(1, MAX_CHECKS)
}

fn expected(fields: &mut Fields<'_>) -> Vec<u16> {
    let Some(item) = fields.item("expected") else { return Vec::new() };
    let numbers: Vec<_> = item.items().iter().filter_map(Item::number).collect();
    let is_status = |number: &u32| (200..600).contains(number);
    for number in numbers.iter().filter(|number| !is_status(&number.value)) {
        let words = "this is not the status of an answer";
        find(fields.document(), words, "a number from 200 to 599", number.at.clone());
    }
    numbers.iter().filter_map(|number| u16::try_from(number.value).ok()).collect()
}
