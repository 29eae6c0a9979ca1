//! The entries that no checkpoint covers yet.
//!
//! A gateway signs what it has written within a second, and a start signs everything before it writes, so few entries are
//! unsigned when a log is read. Somebody who can write the folder but has no key can put an earlier checkpoint in the place of the
//! latest one, and write other entries after it. The tags of the journal show that to the holder of the key file; without it,
//! only the time shows that the unsigned entries span.

use std::time::Duration;

use jiff::Timestamp;

use super::report::VerificationReport;

/// Longest time between the first and the last entry that are not signed, if their tags are not known to be right. Signing
/// can fail for a while, for example on a full disk; the gateway warns of it for as long.
const MAX_SPAN: Duration = Duration::from_secs(60);

/// The entries that no checkpoint covers, as far as they were read.
#[derive(Debug, Default)]
pub(super) struct UnsignedEntries {
    /// Number of those whose tags are known to be right.
    tagged: u64,
    /// The times of the first and the last one.
    times: Option<(Timestamp, Timestamp)>,
}

impl UnsignedEntries {
    /// Adds the next entry. `is_tagged` is true if it was written with the log's keys.
    pub(super) fn add(&mut self, is_tagged: bool, time: Option<Timestamp>) {
        self.tagged += u64::from(is_tagged);
        if let Some(time) = time {
            let (first, _) = self.times.unwrap_or((time, time));
            self.times = Some((first, time));
        }
    }

    /// Judges them. `number` is the number of entries after the latest checkpoint.
    pub(super) fn judge(self, number: u64, report: &mut VerificationReport) {
        report.unsigned = number;
        let entries = match number {
            0 => return,
            1 => "1 entry is not covered by a checkpoint yet".to_owned(),
            number => format!("{number} entries are not covered by a checkpoint yet"),
        };
        if self.tagged == number {
            report.remark(format!("{entries}: the tags show that the key file's holder wrote them"));
            return;
        }
        let span = self.times.map_or(Duration::ZERO, |(first, last)| {
            Duration::try_from(last.duration_since(first)).unwrap_or_default()
        });
        if span > MAX_SPAN {
            let seconds = span.as_secs();
            report.find(format!(
                "{entries}, and they span {seconds} seconds: a gateway signs within a second. Either that has failed for as long, or somebody else has written them; with the key file (--config), their tags tell"
            ));
        } else {
            report
                .remark(format!("{entries}: nothing has signed {}", if number == 1 { "it" } else { "them" }));
        }
    }
}
