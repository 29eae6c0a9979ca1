//! Reads a log from its beginning to its end and checks everything on the way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use tlog_tiles::Hash;

use super::bundle::{LogFiles, ReadBundle, first_difference};
use super::files::{self, HASH_LENGTH, Series, TreeFile, WIDTH};
use super::inventory::Inventory;
use super::note::{SignedCheckpoint, VerifierKey};
use super::report::{KnownLog, VerificationReport};
use super::rules::EntryRules;
use super::snapshot::{LogSnapshot, ReadJournal};
use super::unsigned::UnsignedEntries;
use crate::disclosure::storage::layout::{DURABLE_TEMPORARY, MAX_NOTE_BYTES, TEMPORARY};
use crate::disclosure::storage::tree::RightEdge;

/// Number of bundles that are read ahead.
const AHEAD: usize = 4;

/// Number of successive bundles that are sought in vain. A forged size would otherwise keep the verification busy for ever.
const MAX_MISSING: u32 = 100;

/// Number of bundles between two reports of progress.
const BUNDLES_PER_PROGRESS: u64 = 16;

/// Checks the signatures of a note, see [`SignedCheckpoint::check`].
type SignatureCheck = fn(&SignedCheckpoint, &VerifierKey) -> Result<(), &'static str>;

/// A checkpoint that the tree must agree with.
#[derive(Debug)]
struct KnownRoot {
    name: String,
    root: [u8; 32],
}

/// The state of a verification.
pub(super) struct Pass<'k> {
    pub(super) folder: PathBuf,
    pub(super) known: KnownLog<'k>,
    origin: Result<String, String>,
    checkpoint: Option<Result<SignedCheckpoint, String>>,
    pub(super) files: Arc<LogFiles>,
    inventory: Inventory,
    /// The index of the first entry that was not pruned.
    pub(super) begin: u64,
    /// The size of the tree that was published.
    pub(super) published: u64,
    pub(super) journals: Vec<ReadJournal>,
    pub(super) is_running: bool,
    /// The entries that no checkpoint covers.
    pub(super) unsigned: UnsignedEntries,
    /// The checkpoints that were not compared yet, by their sizes.
    heads: BTreeMap<u64, Vec<KnownRoot>>,
    /// The size of the last checkpoint that agrees with the tree.
    agreed: u64,
    /// Number of checkpoints that do not agree with the tree.
    disagreeing: usize,
    /// The tree of the full bundles so far; `None` after one whose hashes are not known.
    pub(super) edge: Option<RightEdge>,
    /// The hashes of the leaves after the last full bundle.
    pub(super) open: Vec<u8>,
    /// The first entries of the journals.
    firsts: BTreeSet<u64>,
    /// The tree before each journal.
    pub(super) edges: HashMap<u64, RightEdge>,
    pub(super) rules: EntryRules,
    pub(super) report: VerificationReport,
}

impl<'k> Pass<'k> {
    /// Begins with the files of a log.
    pub(super) fn begin(folder: &Path, snapshot: LogSnapshot, known: KnownLog<'k>) -> Pass<'k> {
        let published = snapshot.published();
        let LogSnapshot { origin, checkpoint, files, inventory, begin, journals, is_running } = snapshot;
        Pass {
            folder: folder.to_owned(),
            known,
            origin,
            checkpoint,
            files,
            inventory,
            begin,
            published,
            firsts: journals.iter().map(|journal| journal.first).collect(),
            journals,
            is_running,
            unsigned: UnsignedEntries::default(),
            heads: BTreeMap::new(),
            agreed: 0,
            disagreeing: 0,
            edge: Some(RightEdge::default()),
            open: Vec::new(),
            edges: HashMap::new(),
            rules: EntryRules::begin(begin),
            report: VerificationReport::default(),
        }
    }

    /// Checks the names of the files, and the origin.
    pub(super) fn check_names(&mut self) {
        for path in std::mem::take(&mut self.inventory.unknown) {
            let is_temporary = path == TEMPORARY || path == DURABLE_TEMPORARY;
            let hint = match is_temporary {
                true => {
                    ": it is left over from a write that was interrupted; start the gateway, or remove it"
                }
                false => "",
            };
            let finding = format!("{path}: not part of the log{hint}");
            self.report.find_unless(is_temporary && self.is_running, finding);
        }
        match &self.origin {
            Ok(origin) => {
                self.report.origin = Some(origin.clone());
                if let Some(expected) = self.known.origin.filter(|expected| expected != origin) {
                    self.report.find(format!("origin: is `{origin}`, where `{expected}` is expected"));
                }
                if self.known.key.is_some_and(|key| key.name() != origin) {
                    self.report.find(format!("origin: is `{origin}`, and the key is of another log"));
                }
            }
            Err(fault) => self.report.find(format!("origin: {fault}")),
        }
    }

    /// Checks the notes of the checkpoints.
    pub(super) fn check_notes(&mut self) {
        if self.known.key.is_none() {
            let finding =
                "signatures were not checked, because the log's key is not known: give --key or --config";
            self.report.find(finding.to_owned());
        }
        match self.checkpoint.take() {
            Some(Ok(checkpoint)) => {
                if self.add_head("checkpoint".to_owned(), &checkpoint, SignedCheckpoint::check)
                    && self.known.key.is_some()
                {
                    self.report.checkpoint = Some(checkpoint.note().to_owned());
                }
                self.checkpoint = Some(Ok(checkpoint));
            }
            Some(Err(fault)) => {
                self.report.find(format!("checkpoint: {fault}"));
                self.checkpoint = Some(Err(fault));
            }
            None => {}
        }
        for size in self.inventory.kept.clone() {
            let name = format!("checkpoints/{size}");
            let note = match files::read(&self.folder.join(&name), MAX_NOTE_BYTES) {
                Ok(Some(bytes)) => SignedCheckpoint::parse(&bytes).map_err(str::to_owned),
                Ok(None) => Err("is missing".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            match note {
                Ok(note) if note.size() == size => {
                    self.add_head(name, &note, SignedCheckpoint::check);
                }
                Ok(_) => self.report.find(format!("{name}: has another size than its name")),
                Err(fault) => self.report.find(format!("{name}: {fault}")),
            }
        }
        if let Some(since) = self.known.since {
            self.add_head("the earlier checkpoint".to_owned(), since, SignedCheckpoint::check_cosigned);
        }
    }

    /// Adds a checkpoint to those that the tree must agree with. Returns true if its note is right.
    fn add_head(&mut self, name: String, checkpoint: &SignedCheckpoint, check: SignatureCheck) -> bool {
        if self.origin.as_ref().is_ok_and(|origin| origin != checkpoint.origin()) {
            self.report.find(format!("{name}: belongs to another log (`{}`)", checkpoint.origin()));
            return false;
        }
        let checked = self.known.key.map_or(Ok(()), |key| check(checkpoint, key));
        if let Err(fault) = checked {
            self.report.find(format!("{name}: {fault}"));
        }
        let head = KnownRoot { name, root: *checkpoint.root() };
        self.heads.entry(checkpoint.size()).or_default().push(head);
        checked.is_ok()
    }

    /// Checks the tree and the entries that were published.
    pub(super) fn check_published(&mut self, progress: &mut dyn FnMut(u64)) {
        self.keep_edge();
        self.compare(0, &[]);
        self.read_pruned();
        let (first, last) = (self.begin / WIDTH, self.published.div_ceil(WIDTH));
        let (files, published) = (Arc::clone(&self.files), self.published);
        std::thread::scope(|scope| {
            let (sender, bundles) = mpsc::sync_channel(AHEAD);
            scope.spawn(move || {
                let mut missing = 0;
                for number in first..last {
                    let width = (published - number * WIDTH).min(WIDTH);
                    let bundle = files.bundle(number, width);
                    missing = if bundle.hashes.is_none() { missing + 1 } else { 0 };
                    if sender.send(bundle).is_err() || missing == MAX_MISSING {
                        return;
                    }
                }
            });
            for bundle in bundles {
                if bundle.number.is_multiple_of(BUNDLES_PER_PROGRESS) {
                    progress(bundle.number * WIDTH - self.begin);
                }
                self.check_bundle(bundle);
            }
        });
        let read = self.rules.next();
        if read < published {
            self.report.find(format!(
                "entries {read} to {} were not read: too many bundles are missing",
                published - 1
            ));
            self.edge = None;
            self.rules.skip_to(published);
        }
        progress(published - self.begin);
        let partial: Vec<_> = self.edge.iter().flat_map(RightEdge::partial_tiles).collect();
        let partial: Vec<_> = partial.into_iter().map(|(name, tile)| (name, tile.to_vec())).collect();
        for (name, tile) in partial {
            self.compare_tile(&name, &tile);
        }
    }

    /// Continues the tree with the bundles that were pruned: their roots are in the tiles of level 1.
    fn read_pruned(&mut self) {
        let pruned = self.begin / WIDTH;
        let of_level = Series::Tile(1).elements(self.published);
        for number in 0..pruned.div_ceil(WIDTH) {
            let width = (of_level - number * WIDTH).min(WIDTH);
            let mut findings = Vec::new();
            let tile = self.files.tile(TreeFile { series: Series::Tile(1), number, width }, &mut findings);
            self.report.find_all(findings);
            let count = (pruned - number * WIDTH).min(WIDTH);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            match &tile {
                Some(tile) => {
                    tile.as_chunks::<32>().0.iter().take(count).for_each(|root| self.push_full(Hash(*root)));
                }
                None => {
                    self.edge = None;
                    return;
                }
            }
        }
    }

    fn check_bundle(&mut self, bundle: ReadBundle) {
        let ReadBundle { number, width, leaves, details, digests, hashes, root, findings } = bundle;
        self.report.find_all(findings);
        let begin = number * WIDTH;
        match &leaves {
            None => self.rules.skip_to(begin + width),
            Some(leaves) => {
                for at in 0..usize::try_from(width).unwrap_or(0) {
                    let detail = details.as_ref().and_then(|details| details.get(at)).zip(digests.get(at));
                    self.rules.check(leaves.get(at).unwrap_or_default(), detail, &mut self.report);
                }
            }
        }
        let Some(hashes) = hashes else {
            self.edge = None;
            return;
        };
        let within: Vec<u64> = self.heads.range(begin + 1..begin + width).map(|(size, _)| *size).collect();
        for size in within {
            let length = usize::try_from((size - begin) * HASH_LENGTH).unwrap_or(0);
            self.compare(size, hashes.get(..length).unwrap_or_default());
        }
        match root {
            Some(root) => self.push_full(root),
            None => {
                self.compare(begin + width, &hashes);
                self.open = hashes;
            }
        }
    }

    /// Appends a full bundle to the tree, and compares the tiles that it completes.
    pub(super) fn push_full(&mut self, root: Hash) {
        let Some(edge) = &mut self.edge else { return };
        let full = edge.push_root(root);
        let size = edge.bundles() * WIDTH;
        if size <= self.published {
            for (name, tile) in full {
                self.compare_tile(&name, &tile);
            }
        }
        self.keep_edge();
        self.compare(size, &[]);
    }

    /// Remembers the tree if a journal begins here.
    fn keep_edge(&mut self) {
        if let Some(edge) = &self.edge
            && self.firsts.contains(&(edge.bundles() * WIDTH))
        {
            self.edges.insert(edge.bundles() * WIDTH, edge.clone());
        }
    }

    /// Compares a tile of an upper level with the roots of the tiles below it.
    fn compare_tile(&mut self, name: &str, computed: &[u8]) {
        let Some(file) = TreeFile::parse(name) else { return };
        let mut findings = Vec::new();
        let tile = self.files.tile(file, &mut findings);
        self.report.find_all(findings);
        if let Some(at) = first_difference(tile.as_deref(), Some(computed)) {
            self.report.find(format!("{name}: hash {at} disagrees with the level below"));
        }
    }

    /// Compares the checkpoints of this size with the tree, whose last leaves are `open`.
    pub(super) fn compare(&mut self, size: u64, open: &[u8]) {
        let Some(edge) = &self.edge else { return };
        let Some(heads) = self.heads.remove(&size) else { return };
        let (root, begin) = (edge.root(open), self.agreed);
        for KnownRoot { name, root: stated } in heads {
            if stated == root {
                self.agreed = self.agreed.max(size);
                continue;
            }
            self.disagreeing += 1;
            if self.disagreeing == 1 {
                let last = size.saturating_sub(1);
                self.report.find(format!(
                    "{name}: entries {begin} to {last} are not those for which it was made; the entries before them are"
                ));
            }
        }
    }

    /// Checks what can be checked only at the end, and returns the result.
    pub(super) fn finish(mut self) -> VerificationReport {
        self.rules.finish(self.is_running, &mut self.report);
        self.report.entries = self.rules.next() - self.begin;
        if self.disagreeing > 1 {
            self.report.find(format!(
                "{} later checkpoints do not agree with the tree either",
                self.disagreeing - 1
            ));
        }
        self.check_end();
        self.check_kept();
        self.check_pruning();
        std::mem::take(&mut self.rules.deletions).check(self.begin, &mut self.report);
        self.check_surplus();
        self.report
    }

    fn check_end(&mut self) {
        let end = self.rules.next();
        let mut heads = std::mem::take(&mut self.heads);
        let beyond = heads.split_off(&end.saturating_add(1));
        // Without the edge a finding already says why nothing further was compared.
        if self.edge.is_some() {
            self.find_not_compared(heads);
        }
        for (size, heads) in beyond {
            for KnownRoot { name, .. } in heads {
                // A day can end while the log is read.
                let is_excused = self.is_running && name.starts_with("checkpoints/");
                let finding = format!("{name}: has {size} entries; the log ends after {end}");
                self.report.find_unless(is_excused, finding);
            }
        }
        let has_tree =
            self.begin > 0 || !self.inventory.surplus.is_empty() || !self.inventory.kept.is_empty();
        if self.checkpoint.is_none() && (has_tree || self.rules.is_stopped()) {
            self.report.find("checkpoint: is missing".to_owned());
        }
        let unsigned = std::mem::take(&mut self.unsigned);
        unsigned.judge(end.saturating_sub(self.published), &mut self.report);
        if self.is_running {
            self.report.remark("a gateway is writing this log");
        } else if end > self.begin && !self.rules.is_stopped() {
            self.report.remark(
                "the log does not end with a stop: the process died, or the end was removed (compare with a checkpoint, --since)",
            );
        }
    }

    /// Reports the checkpoints within the tree that nothing could be compared with: the hashes of the leaves in their last
    /// bundle were deleted.
    fn find_not_compared(&mut self, heads: BTreeMap<u64, Vec<KnownRoot>>) {
        let begin = self.begin;
        for (size, heads) in heads {
            for KnownRoot { name, .. } in heads {
                self.report.find(format!(
                    "{name}: cannot be compared: it has {size} entries, and those up to {begin} are deleted; use one of the end of a day, or one with {begin} entries or more"
                ));
            }
        }
    }

    /// Checks that a checkpoint is kept for the beginning of each day, and no other.
    fn check_kept(&mut self) {
        let kept: BTreeSet<u64> = self.inventory.kept.iter().copied().collect();
        let days: BTreeSet<u64> = self.rules.days.iter().copied().filter(|day| *day > 0).collect();
        let end = self.rules.next();
        for day in days.difference(&kept) {
            self.report.find(format!("checkpoints/{day}: is missing, although a day begins at entry {day}"));
        }
        for size in kept.difference(&days).filter(|size| (self.begin..end).contains(*size)) {
            self.report.find(format!("checkpoints/{size}: no day begins at entry {size}"));
        }
        for (index, stated) in std::mem::take(&mut self.rules.stated_checkpoints) {
            let found = kept.range(..=index).count() as u64;
            if found != stated {
                self.report.find(format!(
                    "entry {index}: states that {stated} checkpoints are kept; there are {found} up to it"
                ));
            }
        }
    }

    /// Checks that the log states the deletion of what is missing at its beginning.
    fn check_pruning(&mut self) {
        let begin = self.begin;
        let stated = self.rules.prunings.iter().filter(|pruning| pruning.index < self.published);
        let below: BTreeSet<u64> = stated.map(|pruning| pruning.below).collect();
        if begin > 0 && !below.contains(&begin) {
            self.report.find(format!(
                "entries 0 to {} are missing, and no entry states that they were deleted",
                begin - 1
            ));
        } else if begin > 0 {
            self.report.remark(format!("entries 0 to {} are past their retention and deleted", begin - 1));
        }
        if below.last().is_some_and(|last| *last > begin) {
            let finding = "expired entries are not all deleted: start the gateway, which finishes it";
            self.report.find_unless(self.is_running, finding.to_owned());
        }
    }

    /// Judges tiles and bundles that the tree of the checkpoint does not have.
    fn check_surplus(&mut self) {
        for file in std::mem::take(&mut self.inventory.surplus) {
            let finding = format!(
                "{}: does not belong to the checkpoint; start the gateway, or remove it",
                file.path()
            );
            self.report.find_unless(self.is_running, finding);
        }
    }
}
