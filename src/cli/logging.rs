//! Where log lines go: to stderr, written by a thread of its own, so that nothing waits for whoever reads it.
//!
//! What is not read in time is dropped, and how much that was is said as soon as lines are read again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Bytes of lines that wait to be written.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// At the end of the process, for the last lines to be written.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts logging: `PURPOSEGATE_LOG` filters, `PURPOSEGATE_LOG_FORMAT=json` makes lines JSON. What waits is
/// written when the returned value is dropped.
pub(super) fn start(default: &str) -> LoggingGuard {
    let is_json = is_json();
    let asked = std::env::var("PURPOSEGATE_LOG").unwrap_or_default();
    let (filter, unusable) = filter(&asked, default);
    // The watcher of files says each event that it sees. With the log in a watched folder each such line
    // would cause the next.
    let filter = match "notify=warn".parse() {
        Ok(quiet) => filter.add_directive(quiet),
        Err(_) => filter,
    };
    let (lines, logging) = QueueWriter::start(io::stderr(), is_json);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        // It would say on stderr that stderr cannot be written, and panic.
        .log_internal_errors(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    drop(if is_json { builder.json().try_init() } else { builder.try_init() });
    if unusable {
        tracing::error!(
            used = default,
            "PURPOSEGATE_LOG is neither a level (error, warn, info, debug, trace, off) nor a list of directives"
        );
    }
    let format = std::env::var("PURPOSEGATE_LOG_FORMAT").unwrap_or_default();
    if !is_json && !["", "text"].contains(&format.as_str()) {
        tracing::error!(used = "text", "PURPOSEGATE_LOG_FORMAT is neither `json` nor `text`");
    }
    // The standard hook writes to stderr itself and would wait for its reader. A panic's words may hold
    // anything, so only its place is said.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
    logging
}

/// The filter that is asked for. Where it cannot be read it is the default, and true stands beside it. A word
/// that is no level would be taken for the name of a module, and by itself nothing else would ever be said.
fn filter(asked: &str, default: &str) -> (EnvFilter, bool) {
    let is_meant = |directive: &str| {
        let word = directive.trim();
        word.contains(['=', ':', '['])
            || word.starts_with("purposegate")
            || word.parse::<LevelFilter>().is_ok()
    };
    if asked.trim().is_empty() {
        return (EnvFilter::new(default), false);
    }
    match EnvFilter::try_new(asked) {
        Ok(filter) if asked.split(',').any(is_meant) => (filter, false),
        _ => (EnvFilter::new(default), true),
    }
}

/// Whether log lines are JSON.
pub(super) fn is_json() -> bool {
    std::env::var("PURPOSEGATE_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

enum Message {
    Line(Vec<u8>),
    /// To be answered when everything before it is written.
    Flush(Sender<()>),
}

/// Takes lines and never waits.
#[derive(Clone, Debug)]
struct QueueWriter {
    to: Sender<Message>,
    counts: Arc<QueueCounts>,
}

#[derive(Debug, Default)]
struct QueueCounts {
    /// Bytes that wait.
    waiting: AtomicUsize,
    /// Lines since the last one that was written.
    dropped: AtomicU64,
}

/// Writes what waits when it is dropped.
#[derive(Debug)]
pub(super) struct LoggingGuard {
    to: Sender<Message>,
}

impl QueueWriter {
    fn start(out: impl Write + Send + 'static, is_json: bool) -> (QueueWriter, LoggingGuard) {
        let (to, from) = mpsc::channel();
        let counts = Arc::new(QueueCounts::default());
        let written = Arc::clone(&counts);
        // Without the thread every line is dropped, and the process runs.
        let _ = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&from, out, &written, is_json));
        (QueueWriter { to: to.clone(), counts }, LoggingGuard { to })
    }
}

/// Writes lines until nobody sends any more.
fn write_all(from: &Receiver<Message>, mut out: impl Write, counts: &QueueCounts, is_json: bool) {
    for message in from {
        match message {
            Message::Line(line) => {
                // stderr that cannot be written ends nothing.
                let _ = out.write_all(&line);
                counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
                let dropped = counts.dropped.swap(0, Ordering::AcqRel);
                if dropped > 0 {
                    let _ = out.write_all(dropped_line(dropped, is_json).as_bytes());
                }
            }
            Message::Flush(done) => drop(done.send(())),
        }
    }
}

fn dropped_line(dropped: u64, is_json: bool) -> String {
    let time = jiff::Timestamp::now();
    const WORDS: &str = "lines of the log were dropped: nobody read them in time";
    if is_json {
        let fields = serde_json::json!({ "message": WORDS, "dropped": dropped });
        let line = serde_json::json!({ "timestamp": time.to_string(), "level": "WARN", "fields": fields });
        return format!("{line}\n");
    }
    format!("{time}  WARN {WORDS} dropped={dropped}\n")
}

impl Write for QueueWriter {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.counts.waiting.fetch_add(line.len(), Ordering::AcqRel);
        let is_full = waiting.saturating_add(line.len()) > MAX_QUEUED_BYTES;
        if is_full || self.to.send(Message::Line(line.to_vec())).is_err() {
            self.counts.waiting.fetch_sub(line.len(), Ordering::AcqRel);
            self.counts.dropped.fetch_add(1, Ordering::AcqRel);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for QueueWriter {
    type Writer = QueueWriter;

    fn make_writer(&'a self) -> QueueWriter {
        self.clone()
    }
}

impl Drop for LoggingGuard {
    fn drop(&mut self) {
        let (done, is_done) = mpsc::channel();
        if self.to.send(Message::Flush(done)).is_ok() {
            let _ = is_done.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes each line when it is told to.
    struct Reluctant {
        go: Receiver<()>,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Reluctant {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.go.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_log_that_nobody_reads_stops_nothing_and_says_later_what_is_missing() {
        let (go, told) = mpsc::channel();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let out = Reluctant { go: told, written: Arc::clone(&written) };
        let (mut lines, logging) = QueueWriter::start(out, false);
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        for _ in 0..(MAX_QUEUED_BYTES / line.len() + 7) {
            lines.write_all(&line).unwrap();
        }
        assert!(lines.counts.waiting.load(Ordering::SeqCst) <= MAX_QUEUED_BYTES);
        // From now on everything is read.
        drop(go);
        drop(logging);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.contains(" WARN lines of the log were dropped: nobody read them in time dropped=7\n"));
        assert_eq!(text.lines().count(), MAX_QUEUED_BYTES / line.len() + 1);
    }

    #[test]
    fn a_filter_that_would_silence_everything_by_a_slip_is_not_used() {
        for (asked, used, unusable) in [
            ("", "info", false),
            (" ", "info", false),
            ("warning", "info", true),
            ("verbose", "info", true),
            ("nonsense,verbose", "info", true),
            ("purposegate=loud", "info", true),
            ("WARN", "warn", false),
            ("off", "off", false),
            ("info,purposegate::ledger=debug", "purposegate::ledger=debug,info", false),
        ] {
            let (filter, is_unusable) = filter(asked, "info");
            assert_eq!((filter.to_string().as_str(), is_unusable), (used, unusable), "{asked:?}");
        }
    }

    #[test]
    fn what_was_dropped_is_said_as_json_too() {
        let line: serde_json::Value = serde_json::from_str(&dropped_line(3, true)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["dropped"]), (&"WARN".into(), &3.into()));
    }
}
