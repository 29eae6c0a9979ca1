//! Random edits of every file of a cleanly stopped log are found, also of one with a journal of the format without tags, and of
//! one that somebody has locked. Of a log whose process died, an edit is found or leaves a beginning of what was written.
//!
//! `PURPOSEGATE_TAMPERING` is the number of edits, 10,000 without it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use super::*;
use crate::disclosure::storage::LogReader;

/// Number of edits in the short form.
const EDITS: u64 = 10_000;

/// A generator of numbers (xorshift64*). Its seed is printed with a failure.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % end.max(1)
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| u8::try_from(self.next() >> 56).unwrap()).collect()
    }

    fn one_of<'i, T>(&mut self, items: &'i [T]) -> &'i T {
        &items[self.below(items.len())]
    }
}

/// The state of a log that is edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SampleState {
    /// It was stopped cleanly.
    Stopped,
    /// It was stopped cleanly by a version whose journal has no tags.
    StoppedUntagged,
    /// It was stopped cleanly, and somebody holds the lock of a process that writes it.
    Locked,
    /// Its process died with entries that no checkpoint covers.
    Died,
}

/// A log to edit.
struct Sample {
    state: SampleState,
    folder: tempfile::TempDir,
    outside: tempfile::TempDir,
    keys: Keys,
    key: VerifierKey,
    lock: Option<File>,
    /// The entries that are left.
    entries: Vec<(u64, Entry)>,
    published: u64,
    /// The content of each file.
    files: BTreeMap<String, Vec<u8>>,
    /// Contents that a file had earlier.
    earlier: Vec<(String, Vec<u8>)>,
    forger: Keys,
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(below) = folders.pop() {
        for entry in std::fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else {
                found.insert(path.to_str().unwrap().to_owned(), std::fs::read(entry.path()).unwrap());
            }
        }
    }
    found
}

impl Sample {
    fn written(days: &[usize], state: SampleState) -> Sample {
        let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
        let mut earlier = Vec::new();
        let mut keep = |folder: &Path| earlier.extend(contents(folder));
        let mut writer = Writer::open(folder.path(), &keys, day(1), false);
        for (number, exchanges) in (1..).zip(days) {
            if number > 1 {
                writer.next_day(day(number));
                keep(folder.path());
            }
            writer.each_shape();
            for _ in 0..*exchanges {
                writer.exchange();
                writer.storage.publish().unwrap();
                keep(folder.path());
            }
            writer.stop();
            keep(folder.path());
            writer = Writer::open(folder.path(), &keys, day(number), false);
        }
        if days.len() > 2 {
            writer.prune(BUNDLE);
        }
        match state {
            SampleState::Died => {
                writer.storage.publish().unwrap();
                (0..3).for_each(|_| writer.exchange());
                writer.storage.sync().unwrap();
                drop(writer);
            }
            _ => writer.stop(),
        }
        if state == SampleState::StoppedUntagged {
            remove_tags(folder.path(), &[]);
        }
        let files = contents(folder.path());
        earlier.retain(|(path, content)| files.get(path).is_some_and(|now| now != content));
        let outside = tempfile::tempdir().unwrap();
        let key = verifier(&keys);
        let mut reader = LogReader::open(folder.path()).unwrap();
        let entries = reader.entries(0).map(Result::unwrap).collect();
        let (published, forger) = (reader.published(), Keys::random().unwrap());
        let lock = None;
        let mut sample =
            Sample { state, folder, outside, keys, key, lock, entries, published, files, earlier, forger };
        sample.lock();
        sample
    }

    /// Locks the log as a process does that writes it.
    fn lock(&mut self) {
        if self.state == SampleState::Locked {
            let origin = File::open(self.folder.path().join("origin")).unwrap();
            origin.lock().unwrap();
            self.lock = Some(origin);
        }
    }

    fn findings(&self) -> Vec<String> {
        let known = KnownLog { key: Some(&self.key), keys: Some(&self.keys), ..KnownLog::default() };
        verify_waiting(Duration::ZERO, self.folder.path(), known, &mut |_| ()).unwrap().findings
    }

    /// True if an edit is found. Without the key file, the end that no checkpoint covers can be any other one.
    fn is_found(&self) -> bool {
        if !self.findings().is_empty() {
            return true;
        }
        if self.state != SampleState::Died {
            return false;
        }
        let mut reader = LogReader::open(self.folder.path()).unwrap();
        let left: Vec<(u64, Entry)> = reader.entries(0).map(Result::unwrap).collect();
        reader.size() >= self.published && self.entries.starts_with(&left)
    }

    fn write(&self, path: &str, content: &[u8]) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Gives each of these files its content again.
    fn restore(&mut self, touched: &[String]) {
        for path in touched {
            let at = self.folder.path().join(path);
            if at.symlink_metadata().is_ok() {
                std::fs::remove_file(&at).unwrap();
            }
            // Folders that the edit has made, and no others: those of the log are not empty, or are made again.
            for folder in at.ancestors().skip(1).take_while(|folder| *folder != self.folder.path()) {
                if std::fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            if let Some(content) = self.files.get(path) {
                self.write(path, content);
            }
        }
        if touched.iter().any(|path| path == "origin") {
            self.lock();
        }
    }

    /// Edits the log. Returns the edit's description and the paths that it touched.
    fn edit(&self, random: &mut Random) -> (String, Vec<String>) {
        let paths: Vec<&String> = self.files.keys().collect();
        let path = (*random.one_of(&paths)).clone();
        match random.below(20) {
            0 => {
                std::fs::remove_file(self.folder.path().join(&path)).unwrap();
                ("delete".to_owned(), vec![path])
            }
            1 => self.rename(path, random),
            2 => {
                let target = self.outside.path().join("target");
                std::fs::write(&target, &self.files[&path]).unwrap();
                let at = self.folder.path().join(&path);
                std::fs::remove_file(&at).unwrap();
                std::os::unix::fs::symlink(target, at).unwrap();
                ("replace by a link".to_owned(), vec![path])
            }
            3 => {
                let (other, content) = self.swapped(&path, random);
                self.write(&path, &content);
                self.write(&other, &self.files[&path]);
                (format!("exchange with {other}"), vec![path, other])
            }
            4 => {
                let (path, content) = random.one_of(&self.earlier);
                self.write(path, content);
                ("replay an earlier content".to_owned(), vec![path.clone()])
            }
            5..=7 => {
                let notes: Vec<&&String> =
                    paths.iter().filter(|path| path.starts_with("checkpoint")).collect();
                let path = (**random.one_of(&notes)).clone();
                let (what, note) = self.forged_note(&path, random);
                self.write(&path, &note);
                (what, vec![path])
            }
            _ => {
                let (what, content) = edited(&self.files[&path], random);
                self.write(&path, &content);
                (what, vec![path])
            }
        }
    }

    /// Returns another path, and its content.
    fn swapped(&self, path: &str, random: &mut Random) -> (String, Vec<u8>) {
        let others: Vec<_> = self.files.iter().filter(|(_, content)| **content != self.files[path]).collect();
        let (other, content) = random.one_of(&others);
        ((*other).clone(), (*content).clone())
    }

    /// Moves a file to another name that a file of a log can have, or to none such.
    fn rename(&self, path: String, random: &mut Random) -> (String, Vec<String>) {
        let mut names =
            vec![format!("{path}.bak"), format!("{path}~"), "tmp".to_owned(), "detail/009".to_owned()];
        names.extend(
            ["tile/0/000.p/9", "tile/1/001", "tile/entries/x001/000", "checkpoints/1024"].map(str::to_owned),
        );
        names.extend(["journal/00000000000000001024", "former", "notes/x"].map(str::to_owned));
        names.extend(self.files.keys().filter(|other| **other != path).cloned());
        let to = random.one_of(&names).clone();
        // A file that is gone shows as such; a copy under another name shows as one too many.
        if random.below(2) == 0 || self.files.contains_key(&to) {
            std::fs::remove_file(self.folder.path().join(&path)).unwrap();
        }
        self.write(&to, &self.files[&path]);
        (format!("move or copy to {to}"), vec![path, to])
    }

    fn forged_note(&self, path: &str, random: &mut Random) -> (String, Vec<u8>) {
        let note = String::from_utf8(self.files[path].clone()).unwrap();
        let (text, signature) = note.split_once("\n\n").unwrap();
        let others = self.forger.log_signing_key(ORIGIN).unwrap();
        let forged = others.sign(&format!("{text}\n")).unwrap();
        let (_, forged_line) = forged.split_once("\n\n").unwrap();
        let (before, last) = signature.rsplit_once(' ').unwrap();
        let (what, note) = match random.below(8) {
            0 => ("another key", forged),
            1 => ("a second signature", format!("{note}{forged_line}")),
            2 => ("a first signature", format!("{text}\n\n{forged_line}{signature}")),
            3 => ("the signature twice", format!("{note}{signature}")),
            4 => ("a root with other spare bits", format!("{}\n\n{signature}", with_spare_bits(text))),
            5 => (
                "a signature with other spare bits",
                format!("{text}\n\n{before} {}\n", with_spare_bits(last.trim_end())),
            ),
            6 => ("no padding", note.replacen('=', "", 1)),
            _ => ("a longer size", text.replacen('\n', "\n0", 1) + "\n\n" + signature),
        };
        (format!("forge: {what}"), note.into_bytes())
    }
}

/// Changes bits of base64 that stand for nothing: in the last digit before one `=`.
fn with_spare_bits(base64: &str) -> String {
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (digits, last) = base64.strip_suffix('=').unwrap().split_at(base64.len() - 2);
    let at = DIGITS.find(last).unwrap();
    format!("{digits}{}=", DIGITS.get(at + 1..at + 2).unwrap())
}

/// Returns another content.
fn edited(content: &[u8], random: &mut Random) -> (String, Vec<u8>) {
    loop {
        let mut edited = content.to_vec();
        let (at, other) = (random.below(content.len()), random.below(content.len()));
        let length = 1 + random.below(16);
        let (what, end) = (random.below(8), (at + length).min(content.len()));
        let what = match what {
            0 | 1 => {
                edited[at] ^= 1 << random.below(8);
                format!("flip a bit of byte {at}")
            }
            2 => {
                edited[at..end].copy_from_slice(&random.bytes(end - at));
                format!("overwrite bytes {at} to {end}")
            }
            3 => {
                edited.drain(at..end);
                format!("delete bytes {at} to {end}")
            }
            4 => {
                edited.splice(at..at, random.bytes(length));
                format!("insert {length} bytes at {at}")
            }
            5 => {
                edited.truncate(if random.below(8) == 0 { 0 } else { at });
                format!("truncate to {}", edited.len())
            }
            6 => {
                edited.extend(random.bytes(length));
                format!("append {length} bytes")
            }
            _ => {
                edited.swap(at, other);
                format!("exchange bytes {at} and {other}")
            }
        };
        if edited != content {
            return (what, edited);
        }
    }
}

#[test]
fn every_edit_of_a_log_is_found() {
    use SampleState::{Died, Locked, Stopped, StoppedUntagged};
    let edits: u64 = std::env::var("PURPOSEGATE_TAMPERING").map_or(EDITS, |edits| edits.parse().unwrap());
    let samples = [
        (&[2][..], Stopped),
        (&[5, 3][..], Stopped),
        (&[3, 2, 4][..], Stopped),
        (&[3, 4][..], StoppedUntagged),
        (&[4, 3][..], Locked),
        (&[4, 3][..], Died),
    ];
    std::thread::scope(|scope| {
        for (days, state) in samples {
            scope.spawn(move || edit_one_log(days, state, edits.div_ceil(samples.len() as u64)));
        }
    });
}

fn edit_one_log(days: &[usize], state: SampleState, edits: u64) {
    let mut sample = Sample::written(days, state);
    assert_eq!(sample.findings(), [] as [String; 0], "{state:?}");
    let seed = u64::from_le_bytes(*Keys::random().unwrap().pseudonym_check().first_chunk().unwrap()) | 1;
    let mut random = Random(seed);
    for number in 0..edits {
        let (what, touched) = sample.edit(&mut random);
        assert!(
            sample.is_found(),
            "edit {number} of {days:?}, {state:?}, with seed {seed}: {what} of {touched:?} is not found"
        );
        sample.restore(&touched);
    }
    assert_eq!(contents(sample.folder.path()), sample.files, "each edit was undone");
    assert_eq!(sample.findings(), [] as [String; 0]);
}
