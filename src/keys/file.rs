//! The key file on disk: permissions, format, atomic creation.
//!
//! Permissions are checked as on Unix. This module does not know what the keys are for.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{Keys, KeysError};

const HEADING: &str = "purposegate keys 1";

/// The maximum length of a key file that is read, in bytes.
const MAX_BYTES: u64 = 4096;

/// The user id of root.
const ROOT: u32 = 0;

/// Reads a key file. Refuses a file that other users may read.
pub(super) fn read(path: &Path) -> Result<Keys, KeysError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeysError::Missing(path.to_owned()),
        _ => io(path, "open", source),
    })?;
    // The metadata come from the open file, not from the path, so that the file that is checked is the file that is
    // read.
    let metadata = file.metadata().map_err(|source| io(path, "examine", source))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if is_exposed(mode, metadata.uid(), rustix::process::geteuid().as_raw()) {
        return Err(KeysError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|source| io(path, "read", source))?;
    parse(&text).map_err(|(line, problem)| KeysError::Malformed { path: path.to_owned(), line, problem })
}

/// True if users other than the process's own can read or write a file with this mode and owner. The group may read a file
/// of root that an unprivileged process uses, as for PostgreSQL's server key: Kubernetes mounts secrets as root, and the
/// process can only read them by its group.
fn is_exposed(mode: u32, owner: u32, user: u32) -> bool {
    let of_others = if owner == ROOT && user != ROOT { 0o037 } else { 0o077 };
    mode & of_others != 0
}

/// Writes a temporary file and links it to `path`. A link never replaces a file, so the first of two processes wins.
pub(super) fn create(path: &Path, keys: &Keys) -> Result<(), KeysError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    std::fs::create_dir_all(&folder).map_err(|source| io(path, "create the directory of", source))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let written = write(&beside, keys).and_then(|()| match std::fs::hard_link(&beside, path) {
        Err(source) if source.kind() != ErrorKind::AlreadyExists => Err(source),
        _ => File::open(&folder)?.sync_all(),
    });
    // The temporary file is removed after a failure, too, so that no second copy of the keys remains.
    let removed = std::fs::remove_file(&beside);
    written.and(removed).map_err(|source| io(path, "create", source))
}

fn write(path: &Path, keys: &Keys) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let hex = |key: &[u8; 32]| blake3::Hash::from_bytes(*key).to_hex();
    writeln!(file, "{HEADING}")?;
    writeln!(
        file,
        "# Back this file up in another place than the ledger and the disclosure log, which depend on it."
    )?;
    writeln!(file, "pseudonym = {}", hex(&keys.pseudonym))?;
    writeln!(file, "ledger = {}", hex(&keys.ledger))?;
    writeln!(file, "log = {}", hex(&keys.log))?;
    file.sync_all()
}

fn parse(text: &str) -> Result<Keys, (usize, &'static str)> {
    let mut lines = (1..).zip(text.lines());
    match lines.next() {
        Some((_, HEADING)) => {}
        _ => return Err((1, "does not begin with `purposegate keys 1`")),
    }
    let (mut pseudonym, mut ledger, mut log) = (None, None, None);
    let mut last = 1;
    for (number, line) in lines {
        last = number;
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, key) = line.split_once('=').ok_or((number, "is not `name = key`"))?;
        let place = match name.trim() {
            "pseudonym" => &mut pseudonym,
            "ledger" => &mut ledger,
            "log" => &mut log,
            _ => return Err((number, "is not a key of this version")),
        };
        let key = blake3::Hash::from_hex(key.trim()).map_err(|_| (number, "the key is not 64 hex digits"))?;
        if place.replace(*key.as_bytes()).is_some() {
            return Err((number, "the key occurs twice"));
        }
    }
    match (pseudonym, ledger, log) {
        (Some(pseudonym), Some(ledger), Some(log)) => Ok(Keys { pseudonym, ledger, log }),
        _ => Err((last, "the file ends, but a key is missing (pseudonym, ledger, log)")),
    }
}

fn io(path: &Path, operation: &'static str, source: std::io::Error) -> KeysError {
    KeysError::Io { path: path.to_owned(), operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(keys: [&str; 3]) -> String {
        format!("{HEADING}\n# note\n\npseudonym = {}\nledger = {}\nlog = {}\n", keys[0], keys[1], keys[2])
    }

    #[test]
    fn a_written_file_is_read_back_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/keys");
        let keys = Keys::random().unwrap();
        create(&path, &keys).unwrap();
        assert_eq!(read(&path).unwrap().log, keys.log);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let first = Keys::random().unwrap();
        create(&path, &first).unwrap();
        create(&path, &Keys::random().unwrap()).unwrap();
        assert_eq!(read(&path).unwrap().ledger, first.ledger);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        create(&path, &Keys::random().unwrap()).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(error, KeysError::Exposed { .. }), "{error}");
        }
    }

    #[test]
    fn the_group_may_read_a_file_of_root_that_another_user_needs() {
        let (root, gateway, other) = (0, 65532, 1000);
        for mode in [0o400, 0o440, 0o600, 0o640] {
            assert!(!is_exposed(mode, root, gateway), "{mode:o}");
        }
        for mode in [0o444, 0o660, 0o644, 0o641] {
            assert!(is_exposed(mode, root, gateway), "{mode:o}");
        }
        for owner in [gateway, other] {
            assert!(is_exposed(0o440, owner, gateway) && !is_exposed(0o400, owner, gateway));
        }
        assert!(is_exposed(0o440, root, root));
    }

    #[test]
    fn an_error_in_a_malformed_file_names_the_line() {
        let key = "ab".repeat(32);
        assert!(parse(&text([&key, &key, &key])).is_ok());
        let cases = [
            (String::new(), 1),
            ("purposegate keys 2\n".to_owned(), 1),
            (text([&key, "abc", &key]), 5),
            (text([&key, &key, &key]) + &format!("log = {key}\n"), 7),
            (text([&key, &key, &key]) + "admin = 1\n", 7),
            (text([&key, &key, &key]) + "nonsense\n", 7),
            (format!("{HEADING}\nlog = {key}\n"), 2),
        ];
        for (text, line) in cases {
            assert_eq!(parse(&text).map(|_| ()).unwrap_err().0, line, "{text}");
        }
    }
}
