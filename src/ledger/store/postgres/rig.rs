//! Private PostgreSQL servers for tests.
//!
//! The file uses the standard library only, so that the tests of `tests/suite` include it, too. A server runs in a folder
//! of its own, in memory where the system has `/dev/shm`, so that its synchronous commits are quick. It listens on a Unix
//! socket and on a free port of the loopback interface, and does not run as root. A shell waits for the end of the test
//! process, however it ends, stops the server by its process id and removes the folder.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// The oldest supported version.
const MIN_VERSION: u32 = 15;

/// Waits for the end of standard input, stops the server in the folder `$1` and removes the folder.
const SUPERVISOR: &str = r#"
cat >/dev/null
trap 'umount "$1/data" 2>/dev/null; rm -rf "$1"' EXIT
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
runs() {
    [ -n "$pid" ] || return 1
    if [ -d /proc/self ]; then [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; else kill -0 "$pid" 2>/dev/null; fi
}
if runs "$1"; then kill -CONT "$pid"; kill -QUIT "$pid"; fi
n=0
while runs "$1" && [ $n -lt 100 ]; do sleep 0.1; n=$((n + 1)); done
"#;

/// A server.
pub(crate) struct PostgresServer {
    binaries: PathBuf,
    folder: PathBuf,
    port: u16,
    /// User and group of the server, if the tests run as root.
    account: Option<(u32, u32)>,
    settings: Vec<String>,
    /// Variables of the server's environment.
    environment: Vec<(String, String)>,
    server: Mutex<Option<Child>>,
    supervisor: Child,
}

impl PostgresServer {
    /// Returns the server that the tests of this process share; each creates a database of its own. `None`, with a message,
    /// if PostgreSQL is not installed.
    pub(crate) fn shared() -> Option<&'static PostgresServer> {
        static SHARED: OnceLock<Option<PostgresServer>> = OnceLock::new();
        SHARED.get_or_init(|| PostgresServer::start(&[])).as_ref()
    }

    /// Starts a server with these settings (`name=value`). `None`, with a message, if PostgreSQL is not installed.
    pub(crate) fn start(settings: &[&str]) -> Option<PostgresServer> {
        PostgresServer::start_in(settings, Vec::new())
    }

    /// Starts a server with these settings and with these variables of its environment.
    pub(crate) fn start_in(settings: &[&str], environment: Vec<(String, String)>) -> Option<PostgresServer> {
        let mut server = PostgresServer::prepare(settings)?;
        server.environment = environment;
        server.run();
        Some(server)
    }

    /// Starts a server with these settings whose disk is a file system of its own, with this number of MiB. `None`, with a
    /// message, if it cannot be mounted.
    pub(crate) fn start_on_small_disk(settings: &[&str], mebibytes: u32) -> Option<PostgresServer> {
        let server = PostgresServer::allocate(&in_memory(), settings)?;
        let data = server.data();
        std::fs::create_dir(&data).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=0700"), "none"]).arg(&data);
        if !mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
            skip("tests of a full disk of PostgreSQL, because this user cannot mount a file system");
            return None;
        }
        if let Some((user, group)) = server.account {
            chown(&data, Some(user), Some(group)).unwrap();
        }
        server.initialize(&["--wal-segsize=1"]);
        server.run();
        Some(server)
    }

    /// Starts a standby that follows this server.
    pub(crate) fn start_follower(&self) -> PostgresServer {
        let settings: Vec<&str> = self.settings.iter().map(String::as_str).collect();
        let follower = PostgresServer::allocate(&in_memory(), &settings).unwrap();
        let mut copy = follower.command("pg_basebackup");
        copy.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf", "--username=postgres"]);
        copy.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string()]);
        let output = copy.arg("-D").arg(follower.data()).output().unwrap();
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        follower.run();
        follower
    }

    /// Waits until a standby of this server has everything that this server has.
    pub(crate) fn wait_for_follower(&self, follower: &PostgresServer) {
        let end = self.psql("postgres", "SELECT pg_current_wal_insert_lsn()");
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{end}'");
        let began = Instant::now();
        while follower.psql("postgres", &reached) != "t" {
            assert!(began.elapsed() < Duration::from_secs(60), "the standby does not follow");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Makes a standby accept writes.
    pub(crate) fn promote(&self) {
        assert_eq!(self.psql("postgres", "SELECT pg_promote()"), "t");
    }

    /// Runs a shell command with the programs of this server in its path and its address in its environment.
    pub(crate) fn run_shell(&self, folder: &Path, command: &str) {
        let mut shell = Command::new("sh");
        let path = std::env::var("PATH").unwrap_or_default();
        shell.arg("-ec").arg(command).current_dir(folder).stdin(Stdio::null());
        shell.env("PATH", format!("{}:{path}", self.binaries.display()));
        shell.env("PGHOST", &self.folder).env("PGPORT", self.port.to_string()).env("PGUSER", "postgres");
        let output = shell.output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a server with its data in a new folder below `parent`.
    pub(crate) fn start_on(parent: &Path, settings: &[&str]) -> Option<PostgresServer> {
        let server = PostgresServer::allocate(parent, settings)?;
        server.initialize(&[]);
        server.run();
        Some(server)
    }

    /// Starts a server that accepts only reads, as a standby does.
    pub(crate) fn start_standby() -> Option<PostgresServer> {
        let server = PostgresServer::prepare(&[])?;
        std::fs::write(server.folder.join("data/standby.signal"), "").unwrap();
        server.run();
        Some(server)
    }

    fn prepare(settings: &[&str]) -> Option<PostgresServer> {
        let server = PostgresServer::allocate(&in_memory(), settings)?;
        server.initialize(&[]);
        Some(server)
    }

    /// Makes the folder of a server, without data.
    fn allocate(parent: &Path, settings: &[&str]) -> Option<PostgresServer> {
        let Some(binaries) = find_binaries() else {
            skip("tests with PostgreSQL, because PostgreSQL 15 or later is not installed");
            return None;
        };
        let (folder, account) = create_folder(parent);
        let mut supervisor = Command::new("sh");
        supervisor.args(["-c", SUPERVISOR, "supervisor"]).arg(&folder).stdin(Stdio::piped()).process_group(0);
        let supervisor = supervisor.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let (environment, server) = (Vec::new(), Mutex::new(None));
        Some(PostgresServer { binaries, folder, port, account, settings, environment, server, supervisor })
    }

    fn initialize(&self, options: &[&str]) {
        let mut initdb = self.command("initdb");
        initdb.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=trust", "--username=postgres"]);
        let output = initdb.args(options).arg("-D").arg(self.data()).output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the folder of the server's data.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the server after [`PostgresServer::kill`].
    pub(crate) fn run(&self) {
        let data = self.folder.join("data");
        let log = std::fs::File::options().append(true).create(true).open(self.folder.join("log")).unwrap();
        let mut command = self.command("postgres");
        command.arg("-D").arg(&data).arg("-k").arg(&self.folder).args(["-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
        // In the folder, so that nothing is left of it after a kill.
        command.args(["-c", "dynamic_shared_memory_type=mmap"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        command.envs(self.environment.iter().cloned());
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let mut server = self.server.lock().unwrap();
        let server = server.insert(command.spawn().unwrap());
        let began = Instant::now();
        while self.try_psql("postgres", "SELECT 1").is_err() {
            // After a kill it does not start before all earlier processes are gone.
            if server.try_wait().unwrap().is_some() {
                *server = command.spawn().unwrap();
            }
            let log = || std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends all processes of the server at once (SIGKILL), as a crash of its machine would.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
        if let Some(mut server) = self.server.lock().unwrap().take() {
            server.wait().unwrap();
        }
    }

    /// Stops all processes of the server, which keep their connections.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets the server go on after [`PostgresServer::freeze`].
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// Sends a signal to the process group of the server. Each child process of PostgreSQL leads a session of its own, so
    /// the signal is sent to each of them, too.
    fn signal(&self, signal: &str) {
        let Some(id) = self.server.lock().unwrap().as_ref().map(Child::id) else { return };
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        let ids = std::iter::once(id.to_string()).chain(children.split_whitespace().map(str::to_owned));
        Command::new("kill").arg(format!("-{signal}")).args(ids).stderr(Stdio::null()).status().unwrap();
    }

    /// Creates a database with a new name, and returns the name. `options` follow `CREATE DATABASE name`.
    pub(crate) fn create_database(&self, options: &str) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("ledger_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} {options}"));
        name
    }

    /// Runs statements as the superuser `postgres` and returns the result, one row a line.
    pub(crate) fn psql(&self, database: &str, sql: &str) -> String {
        self.try_psql(database, sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs statements as [`PostgresServer::psql`] does, and returns the error message if one fails.
    pub(crate) fn try_psql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", database]);
        psql.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-c", sql]);
        let output = psql.stdin(Stdio::null()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    /// Returns the port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder of the Unix socket.
    pub(crate) fn socket_folder(&self) -> &Path {
        &self.folder
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.stdin(Stdio::null()).current_dir(&self.folder).env_remove("LANG");
        if let Some((user, group)) = self.account {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.thaw();
        if let Some(mut server) = self.server.lock().unwrap().take() {
            // At once, but the server removes its shared memory.
            Command::new("kill").args(["-QUIT", &server.id().to_string()]).status().unwrap();
            let _ = server.wait();
        }
        drop(self.supervisor.stdin.take());
        let _ = self.supervisor.wait();
    }
}

/// Says which tests are skipped, directly, because the test harness keeps what `eprintln!` prints.
fn skip(what: &str) {
    std::io::stderr().write_all(format!("SKIPPED: {what}\n").as_bytes()).unwrap();
}

/// Returns the folder with the programs of the newest installed version.
fn find_binaries() -> Option<PathBuf> {
    let installed = Command::new("pg_config").arg("--bindir").output().ok().map(|output| output.stdout);
    let installed = installed.and_then(|folder| String::from_utf8(folder).ok());
    let mut folders: Vec<PathBuf> = installed.iter().map(|folder| PathBuf::from(folder.trim())).collect();
    for versions in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let entries = std::fs::read_dir(versions).into_iter().flatten();
        folders.extend(entries.map(|entry| entry.unwrap().path().join("bin")));
    }
    let found = folders.into_iter().filter_map(|folder| {
        let is_complete = ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).exists());
        let output = is_complete.then(|| Command::new(folder.join("postgres")).arg("--version").output())?;
        let version = String::from_utf8(output.ok()?.stdout).ok()?;
        let number = version.split(' ').find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
        Some((number.split('.').next()?.trim().parse::<u32>().ok()?, folder))
    });
    found.filter(|(version, _)| *version >= MIN_VERSION).max().map(|(_, folder)| folder)
}

/// Creates a folder for a server, and determines the account that the server runs under.
/// Returns a folder in memory where the system has one.
fn in_memory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn create_folder(parent: &Path) -> (PathBuf, Option<(u32, u32)>) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("pg-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = parent.join(name);
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    if std::fs::metadata(&folder).unwrap().uid() != 0 {
        return (folder, None);
    }
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap();
    let account = |name: &str| {
        let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let (user, group) = account("postgres").or_else(|| account("nobody")).unwrap();
    chown(&folder, Some(user), Some(group)).unwrap();
    (folder, Some((user, group)))
}
