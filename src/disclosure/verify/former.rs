//! Verifies the old log that a log continues: its segments were moved into a folder of the new log.

use std::io;

use super::inventory::FORMER;
use super::pass::Pass;
use crate::disclosure::entry::FormerLogEnd;
use crate::disclosure::former::{Checkpoint, MovedLog, TagKey, verify_moved};

impl Pass<'_> {
    /// Checks the old log, if there is one.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn check_former(&mut self) -> io::Result<()> {
        let folder = self.folder.join(FORMER);
        let end = self.rules.former.take().map(|FormerLogEnd { log, records, chain }| Checkpoint {
            log,
            records,
            chain: blake3::Hash::from_bytes(chain).to_hex().to_string(),
        });
        // Without an entry about its deletion, all of it is kept.
        let first = self.rules.former_first.unwrap_or(Some(0));
        if !folder.is_dir() {
            if end.is_some() && first.is_some() {
                self.report.find(format!("{FORMER}: is missing, and no entry states that it was deleted"));
            }
            return Ok(());
        }
        if self.begin > 0 {
            // The old log is older than the first day, and is deleted before it.
            self.report.find(format!(
                "{FORMER}: is not part of the log: the old log was deleted before the entries that are deleted now"
            ));
            return Ok(());
        }
        let Some(first) = first else {
            if !self.is_running {
                self.report.find(format!(
                    "{FORMER}: an entry states that it was deleted: start the gateway, or remove it"
                ));
            }
            return Ok(());
        };
        let tags = self.known.keys.map(TagKey::of);
        let moved = MovedLog { end: end.as_ref(), first, is_running: self.is_running };
        let report = verify_moved(&folder, tags, moved)?;
        self.report.find_all(report.findings.into_iter().map(|finding| format!("{FORMER}: {finding}")));
        self.report.remarks.extend(report.remarks.into_iter().map(|remark| format!("{FORMER}: {remark}")));
        match (&end, &report.checkpoint) {
            (Some(stated), Some(found)) if found.records > stated.records => self.report.find(format!(
                "{FORMER}: has {} records; the log that continues it states {}",
                found.records, stated.records
            )),
            (None, _) => {
                self.report.find(format!("{FORMER}: no entry states that this log continues an old one"));
            }
            _ => {}
        }
        Ok(())
    }
}
