//! The progress of long work on a terminal: a bar with percentage and time left.
//!
//! It is drawn on stderr, and only if that is a terminal: a file or a pipe gets the lines of the verb and nothing else.
//! Invariant: the bar is removed before the verb prints its result.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Number of times a second that the bar is drawn.
const DRAWS_PER_SECOND: u8 = 10;

/// The work to be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkUnit {
    Bytes,
    Entries,
    Events,
    Mutants,
}

impl WorkUnit {
    /// Returns the template of indicatif for a bar, with a known total or without.
    fn template(self, has_total: bool) -> &'static str {
        match (self, has_total) {
            (WorkUnit::Bytes, true) => "{percent:>3} % [{bar:30}] {bytes} of {total_bytes}, {eta} left",
            (WorkUnit::Bytes, false) => "{bytes} in {elapsed}",
            (WorkUnit::Entries, true) => {
                "{percent:>3} % [{bar:30}] {human_pos} of {human_len} entries, {eta} left"
            }
            (WorkUnit::Entries, false) => "{human_pos} entries in {elapsed}",
            (WorkUnit::Events, true) => {
                "{percent:>3} % [{bar:30}] {human_pos} of {human_len} events, {eta} left"
            }
            (WorkUnit::Events, false) => "{human_pos} events in {elapsed}",
            (WorkUnit::Mutants, true) => {
                "{percent:>3} % [{bar:30}] {human_pos} of {human_len} changes, {eta} left"
            }
            (WorkUnit::Mutants, false) => "{human_pos} changes in {elapsed}",
        }
    }
}

/// The progress of one task. Nothing is drawn where stderr is no terminal.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a task, which may have a known amount of work.
    pub(super) fn begin(unit: WorkUnit, total: Option<u64>) -> Progress {
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND),
            false => ProgressDrawTarget::hidden(),
        };
        Progress::on(target, unit, total)
    }

    fn on(target: ProgressDrawTarget, unit: WorkUnit, total: Option<u64>) -> Progress {
        let bar = ProgressBar::with_draw_target(total, target);
        if let Ok(style) = ProgressStyle::with_template(unit.template(total.is_some())) {
            bar.set_style(style.progress_chars("=> "));
        }
        Progress { bar }
    }

    /// True if a bar is drawn, so that lines about the progress are not needed.
    pub(super) fn is_drawn(&self) -> bool {
        !self.bar.is_hidden()
    }

    /// Shows the amount of work that is done.
    pub(super) fn set(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// Shows that one more piece is done.
    pub(super) fn advance(&self) {
        self.bar.inc(1);
    }

    /// Runs a function that prints lines; the bar is out of the way meanwhile.
    pub(super) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps the last line.
    #[derive(Clone, Debug, Default)]
    struct LastLine(Arc<Mutex<String>>);

    impl TermLike for LastLine {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.0.lock().unwrap().clear();
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_has_a_percentage_and_is_removed_at_the_end() {
        for (unit, total, words) in [
            (WorkUnit::Bytes, Some(4 << 20), &[" 25 %", "1.00 MiB of 4.00 MiB", " left"][..]),
            (WorkUnit::Events, Some(4 << 20), &[" 25 %", "1,048,576 of 4,194,304 events"]),
            (WorkUnit::Mutants, Some(4 << 20), &[" 25 %", "changes"]),
            (WorkUnit::Bytes, None, &["1.00 MiB in"]),
        ] {
            let terminal = LastLine::default();
            let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
            let progress = Progress::on(target, unit, total);
            assert!(progress.is_drawn());
            progress.set(1 << 20);
            progress.bar.force_draw();
            let drawn = terminal.0.lock().unwrap().clone();
            assert!(words.iter().all(|word| drawn.contains(word)), "{drawn}");
            drop(progress);
            assert_eq!(*terminal.0.lock().unwrap(), "");
        }
    }
}
