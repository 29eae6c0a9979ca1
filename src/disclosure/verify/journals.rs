//! Compares the journals with the bundles, and continues the verification with what is only in them.
//!
//! No checkpoint covers what is only in a journal, and its tags can be checked by the holder of the key file alone. Without
//! that key, a torn write is told from a whole one, and an entry that somebody else has appended is not told from one of the
//! gateway; the next start tells them apart before it signs anything.

use std::io;

use sha2::{Digest, Sha256};
use tlog_tiles::{Hash, Tile, record_hash};

use super::bundle::BundleParts;
use super::files::{Series, TreeFile, WIDTH};
use super::pass::Pass;
use super::snapshot::ReadJournal;
use crate::disclosure::entry::Entry;
use crate::disclosure::storage::journal::{JournalReader, TagState};
use crate::disclosure::storage::layout::journal_path;
use crate::keys::{JournalTags, LogSigner};

/// Maximum number of entries after the checkpoint of which hashes are kept, for journals that overlap.
const MAX_TAIL: usize = 1 << 20;

/// The entries that a journal repeats, as they were read before.
#[derive(Default)]
struct Repeated {
    /// The bundle that was read last: its number, its leaves and its details.
    bundle: Option<(u64, Option<BundleParts>, Option<BundleParts>)>,
    /// The hashes of the entries after the checkpoint: of the leaf and of the detail.
    tail: Vec<(Hash, [u8; 32])>,
}

impl Pass<'_> {
    /// Checks the journals.
    ///
    /// # Errors
    /// If one cannot be read.
    pub(super) fn check_journals(&mut self) -> io::Result<()> {
        let journals = std::mem::take(&mut self.journals);
        let signer = self.signer();
        let tags = signer.as_ref().map(LogSigner::journal_tags);
        if journals.is_empty() {
            self.report.find("journal: is missing".to_owned());
        }
        let firsts: Vec<u64> = journals.iter().map(|journal| journal.first).collect();
        let mut repeated = Repeated::default();
        for (at, ReadJournal { first, content, length }) in journals.into_iter().enumerate() {
            let name = journal_path(first);
            let Some((mut reader, edge)) = content.filter(|(reader, _)| reader.index() == first) else {
                self.report.find(format!("{name}: its header is damaged"));
                continue;
            };
            if tags.is_some_and(|tags| reader.tag_state(tags) == TagState::Wrong) {
                self.report.find(format!("{name}: its header was not written with the log's keys"));
            }
            if first > self.rules.next() {
                self.report.find(format!("entries {} to {} are missing", self.rules.next(), first - 1));
                self.edge = None;
                self.rules.skip_to(first);
            }
            if self.edges.get(&first).is_some_and(|known| *known != edge) {
                self.report.find(format!("{name}: its header states other hashes than the tiles"));
            }
            self.read_journal(&name, (&mut reader, length), tags, &mut repeated)?;
            self.check_journal_end(&name, &reader, length, firsts.get(at + 1).copied())?;
        }
        Ok(())
    }

    /// Returns the keys of the log, if the caller knows them. A caller can have the keys of another log with the verifier key
    /// of this one.
    fn signer(&self) -> Option<LogSigner> {
        let signer = self.known.keys?.log_signing_key(self.report.origin.as_deref()?).ok()?;
        let is_its_key = self.known.key.is_some_and(|key| key.to_string() == signer.verifier_key());
        is_its_key.then_some(signer)
    }

    /// Reads a journal up to a length.
    fn read_journal(
        &mut self,
        name: &str,
        (reader, length): (&mut JournalReader, u64),
        tags: Option<&JournalTags>,
        repeated: &mut Repeated,
    ) -> io::Result<()> {
        let (mut disagrees, mut is_foreign, has_tags) = (false, false, reader.has_tags());
        while reader.offset() < length {
            let index = reader.index();
            let Some(entry) = reader.next()? else { return Ok(()) };
            let tag = tags.map(|tags| reader.tag_state(tags));
            if !is_foreign && tag == Some(TagState::Wrong) {
                self.report.find(format!("{name}: entry {index} was not written with the log's keys"));
                is_foreign = true;
            } else if !is_foreign && !has_tags && index >= self.published {
                self.report.find(format!(
                    "{name}: is that of an earlier version, and no checkpoint covers its entries from {index} on: a clean stop signs all of them, and a start refuses them"
                ));
                is_foreign = true;
            }
            let hashes = || (record_hash(&entry.leaf), Sha256::digest(&entry.detail).into());
            let is_right = if index < self.published {
                self.is_in_bundle(index, &entry, repeated)
            } else if index < self.rules.next() {
                let at = usize::try_from(index - self.published).ok();
                at.and_then(|at| repeated.tail.get(at)).is_none_or(|known| *known == hashes())
            } else {
                let hashes = hashes();
                if repeated.tail.len() < MAX_TAIL {
                    repeated.tail.push(hashes);
                }
                self.continue_with(&entry, hashes);
                self.unsigned.add(tag == Some(TagState::Valid), self.rules.time());
                true
            };
            if !is_right && !disagrees {
                self.report.find(format!("{name}: entry {index} disagrees with its bundle"));
                disagrees = true;
            }
        }
        Ok(())
    }

    /// True if an entry is in its bundle, or the bundle cannot be read, which is a finding of its own.
    fn is_in_bundle(&self, index: u64, entry: &Entry, repeated: &mut Repeated) -> bool {
        let number = index / WIDTH;
        if repeated.bundle.as_ref().is_none_or(|(known, _, _)| *known != number) {
            let width = (self.published - number * WIDTH).min(WIDTH);
            let file = |series| TreeFile { series, number, width };
            let read = |series| self.files.frames(file(series), &mut Vec::new());
            repeated.bundle = Some((number, read(Series::Entries), read(Series::Details)));
        }
        let Some((_, leaves, details)) = &repeated.bundle else { return true };
        let at = usize::try_from(index % WIDTH).unwrap_or(0);
        let is_same = |frames: &Option<BundleParts>, part: &[u8]| {
            frames.as_ref().is_none_or(|frames| frames.get(at).is_some_and(|known| known == part))
        };
        is_same(leaves, &entry.leaf) && is_same(details, &entry.detail)
    }

    /// Continues the tree and the rules with an entry that is in no bundle yet.
    fn continue_with(&mut self, entry: &Entry, (leaf, digest): (Hash, [u8; 32])) {
        self.rules.check(&entry.leaf, Some((&entry.detail, &digest)), &mut self.report);
        self.open.extend_from_slice(&leaf.0);
        let size = self.rules.next();
        if size.is_multiple_of(WIDTH) {
            let open = std::mem::take(&mut self.open);
            self.push_full(Tile::subtree_hash(&open));
        } else {
            let open = std::mem::take(&mut self.open);
            self.compare(size, &open);
            self.open = open;
        }
    }

    /// Checks that a journal of `length` bytes ends where it must. `next` is the first entry of the journal after it.
    ///
    /// # Errors
    /// If it cannot be read.
    fn check_journal_end(
        &mut self,
        name: &str,
        reader: &JournalReader,
        length: u64,
        next: Option<u64>,
    ) -> io::Result<()> {
        let (end, torn) = (reader.index(), length.saturating_sub(reader.offset()));
        let must_reach = next.unwrap_or(self.published);
        let behind = if torn > 0 { self.frame_behind(name, reader, length)? } else { None };
        if let Some(later) = behind {
            self.report.find(format!(
                "{name}: entry {end} is damaged: whole entries follow it, among them entry {later}, so it is no interrupted write"
            ));
        } else if end < must_reach {
            let finding =
                format!("{name}: ends or is damaged at entry {end}; it must reach entry {must_reach}");
            self.report.find_unless(self.is_running, finding);
        } else if torn > 0 && (next.is_some() || self.rules.is_stopped()) {
            let finding = format!("{name}: {torn} bytes follow entry {}", end.saturating_sub(1));
            self.report.find_unless(self.is_running, finding);
        } else if torn > 0 && !self.is_running {
            self.report.remark(format!(
                "{name}: ends with {torn} bytes of an unfinished write, which the next start of the gateway cuts off"
            ));
        }
        Ok(())
    }

    /// Returns the index of a whole entry behind the end of what could be read. A process that writes the log may have removed
    /// the journal meanwhile.
    fn frame_behind(&self, name: &str, reader: &JournalReader, length: u64) -> io::Result<Option<u64>> {
        match reader.frame_behind(&self.folder.join(name), length) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            found => found,
        }
    }
}
