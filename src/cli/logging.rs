//! Writes log lines to stderr in a thread of their own, so that nothing waits for the reader of stderr.
//!
//! The queue is bounded. Lines that do not fit are dropped, and their number is logged when a line is written again.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Maximum number of bytes in the queue.
const MAX_QUEUED_BYTES: usize = 1 << 20;
/// Time for the last lines at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts logging. `PURPOSEGATE_LOG` is the filter; `PURPOSEGATE_LOG_FORMAT=json` makes the lines JSON. Dropping the returned
/// guard writes the queued lines.
pub(super) fn start(default: &str) -> LoggingGuard {
    let is_json = is_json();
    let asked = std::env::var("PURPOSEGATE_LOG").unwrap_or_default();
    let (filter, unusable) = filter(&asked, default);
    // The file watcher logs each event. If the log is in a watched folder, each such line would cause the next one. rustls
    // warns about what clients send, without a bound; connections that fail are counted instead.
    let quiet = ["notify=warn", "rustls=error"].iter().filter_map(|directive| directive.parse().ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    let (lines, logging) = QueueWriter::start(io::stderr(), is_json);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        // Otherwise the subscriber reports on stderr that stderr cannot be written, and panics.
        .log_internal_errors(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_target(false);
    // In tests, a second start in one process has no effect.
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
    // The standard hook writes to stderr itself and would wait for its reader. The message of a panic may hold personal data,
    // so only the place is logged.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
    logging
}

/// Parses a filter. Returns the default filter and true if the text is unusable: a word that is not a level would be read as
/// the name of a module, and alone it would silence everything.
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

/// True if log lines are JSON.
pub(super) fn is_json() -> bool {
    std::env::var("PURPOSEGATE_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

enum Message {
    Line(Vec<u8>),
    /// A request that is answered when all lines before it are written.
    Flush(Sender<()>),
}

/// Queues lines without waiting.
#[derive(Clone, Debug)]
struct QueueWriter {
    to: Sender<Message>,
    counts: Arc<QueueCounts>,
}

#[derive(Debug, Default)]
struct QueueCounts {
    /// Bytes in the queue.
    waiting: AtomicUsize,
    /// Lines dropped since the last line was written.
    dropped: AtomicU64,
}

/// Writes the queued lines when it is dropped.
#[derive(Debug)]
pub(super) struct LoggingGuard {
    to: Sender<Message>,
}

impl QueueWriter {
    fn start(out: impl Write + Send + 'static, is_json: bool) -> (QueueWriter, LoggingGuard) {
        let (to, from) = mpsc::channel();
        let counts = Arc::new(QueueCounts::default());
        let written = Arc::clone(&counts);
        // If the thread cannot be started, every line is dropped, and the process continues.
        let _ = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&from, out, &written, is_json));
        (QueueWriter { to: to.clone(), counts }, LoggingGuard { to })
    }
}

/// Writes lines until all senders are dropped.
fn write_all(from: &Receiver<Message>, mut out: impl Write, counts: &QueueCounts, is_json: bool) {
    for message in from {
        match message {
            Message::Line(line) => {
                // The process continues if stderr cannot be written.
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
    const WORDS: &str = "lines of the log were dropped because stderr was not read in time";
    if is_json {
        let fields = serde_json::json!({ "message": WORDS, "dropped": dropped });
        let line = serde_json::json!({ "timestamp": time.to_string(), "level": "WARN", "fields": fields });
        return format!("{line}\n");
    }
    format!("{time}  WARN {WORDS} dropped={dropped}\n")
}

impl Write for QueueWriter {
    /// Queues one line: the subscriber makes one call for each.
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
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Writes each line after a signal.
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
    fn lines_that_nobody_reads_are_dropped_and_counted() {
        let (go, signal) = mpsc::channel();
        let written: Arc<Mutex<Vec<u8>>> = Arc::default();
        let out = Reluctant { go: signal, written: Arc::clone(&written) };
        let (mut lines, logging) = QueueWriter::start(out, false);
        let line = [[b'x'; 1023].as_slice(), b"\n"].concat();
        for _ in 0..(MAX_QUEUED_BYTES / line.len() + 7) {
            lines.write_all(&line).unwrap();
        }
        assert!(lines.counts.waiting.load(Ordering::SeqCst) <= MAX_QUEUED_BYTES);
        // From now on everything is written.
        drop(go);
        drop(logging);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(
            text.contains(
                " WARN lines of the log were dropped because stderr was not read in time dropped=7\n"
            )
        );
        assert_eq!(text.lines().count(), MAX_QUEUED_BYTES / line.len() + 1);
    }

    #[test]
    fn an_unusable_filter_is_replaced_by_the_default() {
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
    fn dropped_lines_are_reported_as_json() {
        let line: serde_json::Value = serde_json::from_str(&dropped_line(3, true)).unwrap();
        assert_eq!((&line["level"], &line["fields"]["dropped"]), (&"WARN".into(), &3.into()));
    }
}
