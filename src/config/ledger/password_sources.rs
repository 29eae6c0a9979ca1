//! Finds the password for a PostgreSQL ledger: in a file, in the URL, in the environment (`PGPASSWORD`), or in the
//! password file of libpq (`PGPASSFILE`).
//!
//! Invariant: a password is in no error and in no `Debug` output, and neither is a line of a file that may hold one.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::password::Password;
use super::postgres_url::{PostgresHost, PostgresUrl};

/// Maximum length of a file with a password, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Folders of Unix sockets for which a password file can say `localhost`: the defaults of PostgreSQL and of its packages.
const DEFAULT_SOCKET_FOLDERS: [&str; 3] = ["/tmp", "/run/postgresql", "/var/run/postgresql"];

/// An error that keeps a password from being read. The messages name the file and nothing in it.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the fields are")]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("the password file {path} cannot be read", path = .path.display())]
    Io { path: PathBuf, source: io::Error },
    /// The file of `password-file` does not have exactly one line.
    #[error("the password file {path} must hold the password and nothing else, on one line", path = .0.display())]
    NotOneLine(PathBuf),
    /// Others can read the file of `PGPASSFILE`.
    #[error("the password file {path} can be read by others (mode {mode:04o}): `chmod 600` it", path = .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// `PGPASSWORD` is not UTF-8.
    #[error("PGPASSWORD is not UTF-8")]
    NotText,
    /// `PGPASSFILE` has several passwords for one ledger.
    #[error("the password file {path} has different passwords for the hosts of the ledger", path = .0.display())]
    Ambiguous(PathBuf),
}

impl PostgresUrl {
    /// Finds the password: in the file that the configuration names, in the URL, in `PGPASSWORD`, in the file that
    /// `PGPASSFILE` names; the first that there is. `None`: the server gets none. `environment` returns the value of an
    /// environment variable.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn find_password(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Password>, PasswordError> {
        if let Some(file) = &self.password_file {
            return read_whole(file).map(Some);
        }
        if let Some(password) = &self.password {
            return Ok(Some(password.clone()));
        }
        if let Some(password) = environment("PGPASSWORD").filter(|password| !password.is_empty()) {
            let text = password.into_string().map_err(|_| PasswordError::NotText)?;
            return Ok(Some(Password::new(text)));
        }
        match environment("PGPASSFILE").filter(|path| !path.is_empty()) {
            Some(path) => self.find_in(&PathBuf::from(path)),
            None => Ok(None),
        }
    }

    /// Looks the ledger's hosts up in a password file of libpq.
    fn find_in(&self, path: &Path) -> Result<Option<Password>, PasswordError> {
        let (file, mode) = open(path)?;
        if mode & 0o077 != 0 {
            return Err(PasswordError::Exposed { path: path.to_owned(), mode });
        }
        let text = read(path, file)?;
        let lookup = |host| find_entry(&text, host, &self.database, &self.user);
        let mut found: Option<Password> = None;
        for password in self.hosts.iter().filter_map(lookup) {
            match &found {
                Some(known) if *known != password => return Err(PasswordError::Ambiguous(path.to_owned())),
                _ => found = Some(password),
            }
        }
        Ok(found)
    }
}

fn open(path: &Path) -> Result<(File, u32), PasswordError> {
    let io = |source| PasswordError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io)?;
    // The mode comes from the open file, so that the file that is checked is the file that is read.
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    Ok((file, mode))
}

fn read(path: &Path, file: File) -> Result<String, PasswordError> {
    let mut text = String::new();
    let read = file.take(MAX_FILE_BYTES).read_to_string(&mut text);
    read.map_err(|source| PasswordError::Io { path: path.to_owned(), source })?;
    Ok(text)
}

/// Reads a file that holds one password. A line end after it does not count.
fn read_whole(path: &Path) -> Result<Password, PasswordError> {
    let text = read(path, open(path)?.0)?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(PasswordError::NotOneLine(path.to_owned()));
    }
    Ok(Password::new(line.to_owned()))
}

/// True if users other than the owner and the group can read a file. `false` if it cannot be examined.
pub(super) fn is_world_readable(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// Returns the password of the first line `host:port:database:user:password` that matches. `*` matches anything; a
/// backslash escapes a colon or a backslash; lines that begin with `#` are comments.
fn find_entry(text: &str, host: &PostgresHost, database: &str, user: &str) -> Option<Password> {
    let port = host.port().to_string();
    let is_host = |field: &str| match host {
        PostgresHost::Tcp { host, .. } => field == host,
        PostgresHost::Unix { folder, .. } => {
            let is_default = DEFAULT_SOCKET_FOLDERS.iter().any(|default| folder == Path::new(default));
            folder == Path::new(field) || field == "localhost" && is_default
        }
    };
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let (host, rest) = field(line);
        let (entry_port, rest) = field(rest?);
        let (entry_database, rest) = field(rest?);
        let (entry_user, rest) = field(rest?);
        let (password, _) = field(rest?);
        let matches = (host == "*" || is_host(&host))
            && [(&entry_port, port.as_str()), (&entry_database, database), (&entry_user, user)]
                .iter()
                .all(|(entry, own)| *entry == "*" || entry == own);
        (matches && !password.is_empty()).then(|| Password::new(password))
    })
}

/// Reads a field up to an unescaped colon. Returns it without escapes, and the rest of the line if there is one.
fn field(line: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut chars = line.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            ':' => return (field, line.get(at + 1..)),
            // As in libpq, a backslash makes any next character literal.
            '\\' => field.extend(chars.next().map(|(_, escaped)| escaped)),
            char => field.push(char),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> PostgresUrl {
        PostgresUrl::parse(url).unwrap()
    }

    fn file(folder: &tempfile::TempDir, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn revealed(found: Result<Option<Password>, PasswordError>) -> Option<String> {
        found.unwrap().map(|password| password.reveal().to_owned())
    }

    #[test]
    fn the_first_source_that_there_is_counts() {
        let folder = tempfile::tempdir().unwrap();
        let pgpass = file(&folder, "pgpass", "*:*:*:*:from-passfile\n", 0o600);
        let own = file(&folder, "own", "from file\n", 0o600);
        let passfile = |name: &str| (name == "PGPASSFILE").then(|| pgpass.clone().into());
        let both = |name: &str| match name {
            "PGPASSWORD" => Some("from-environment".into()),
            name => passfile(name),
        };
        let mut ledger = server("u:from-url@h/d");
        ledger.password_file = Some(own);
        assert_eq!(revealed(ledger.find_password(both)).as_deref(), Some("from file"));
        ledger.password_file = None;
        assert_eq!(revealed(ledger.find_password(both)).as_deref(), Some("from-url"));
        ledger.password = None;
        assert_eq!(revealed(ledger.find_password(both)).as_deref(), Some("from-environment"));
        assert_eq!(revealed(ledger.find_password(passfile)).as_deref(), Some("from-passfile"));
        assert_eq!(revealed(ledger.find_password(|_| None)), None);
    }

    #[test]
    fn a_password_file_of_libpq_is_read_as_libpq_reads_it() {
        let text = "# h:5432:d:u:comment\nother:*:*:*:other\nh:5432:d:u\nh:6432:d:u:by-port\nh:*:a\\:b:u:by\\:database\n\
                    h:*:d:v:by-user:rest\n/sock:5432:*:u:socket\nlocalhost:5432:*:u:local\n\\*:*:*:*:star\n";
        for (url, password) in [
            ("u@h:6432/d", Some("by-port")),
            ("u@h/a%3Ab", Some("by:database")),
            ("v@h/d", Some("by-user")),
            ("u@h/d", Some("star")),
            ("u@/d?host=/sock", Some("socket")),
            ("u@/d?host=/tmp", Some("local")),
            ("u@localhost/d", Some("local")),
        ] {
            let server = server(url);
            let found = find_entry(text, &server.hosts[0], &server.database, &server.user);
            assert_eq!(found.as_ref().map(Password::reveal), password, "{url}");
        }
        let nothing = server("u@h/d");
        assert_eq!(find_entry("other:*:*:*:x\nh:*:*:*:\n", &nothing.hosts[0], "d", "u"), None);
    }

    #[test]
    fn a_password_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for mode in [0o640, 0o604, 0o644] {
            let path = file(&folder, "pgpass", "*:*:*:*:sesame\n", mode);
            let error =
                server("u@h/d").find_password(|name| (name == "PGPASSFILE").then(|| path.clone().into()));
            let error = error.unwrap_err();
            assert!(matches!(error, PasswordError::Exposed { .. }), "{error}");
        }
    }

    #[test]
    fn hosts_with_different_passwords_are_an_error_and_no_error_has_a_password() {
        let folder = tempfile::tempdir().unwrap();
        let pgpass = file(&folder, "pgpass", "a:*:*:*:sesame1\nb:*:*:*:sesame2\n", 0o600);
        let by_passfile = |name: &str| (name == "PGPASSFILE").then(|| pgpass.clone().into());
        let ambiguous = server("u@a,b/d").find_password(by_passfile).unwrap_err();
        assert!(matches!(ambiguous, PasswordError::Ambiguous(_)));
        assert_eq!(revealed(server("u@a,c/d").find_password(by_passfile)).as_deref(), Some("sesame1"));
        let mut errors = vec![ambiguous];
        for text in ["sesame\nsesame\n", "", "\n", "sesame\0"] {
            let mut server = server("u@h/d");
            server.password_file = Some(file(&folder, "own", text, 0o600));
            errors.push(server.find_password(|_| None).unwrap_err());
        }
        let mut missing = server("u@h/d");
        missing.password_file = Some(folder.path().join("none"));
        errors.push(missing.find_password(|_| None).unwrap_err());
        for error in errors {
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
        }
        assert_eq!(format!("{:?}", Password::new("sesame".to_owned())), "Password");
    }
}
