//! The table of `demo --check`: expected and received responses side by side.

use std::fmt::Write as _;

use super::expectation::{Expectation, ReceivedResponse};
use super::text::wrapped;

/// Characters in a line of the table, which fits a terminal of 100 columns.
const WIDTH: usize = 100;
const VERDICT: usize = 6;
const TITLE: usize = 30;
const EXPECTED: usize = 34;
const RECEIVED: usize = WIDTH - VERDICT - TITLE - EXPECTED - 4;

/// The outcome of one request of a scene.
#[derive(Clone, Debug)]
pub(super) struct CheckRow {
    pub(super) title: &'static str,
    pub(super) expected: String,
    pub(super) received: String,
    /// The differences between the two, if there are any.
    pub(super) failure: Option<String>,
}

impl CheckRow {
    /// Compares a response, or the reason why there is none, with the expectation.
    pub(super) fn new(
        title: &'static str,
        expected: &Expectation,
        response: Result<&ReceivedResponse, &str>,
    ) -> CheckRow {
        let (received, failure) = match response {
            Ok(response) => (response.summary(), expected.check(response).err()),
            Err(failure) => ("no response".to_owned(), Some(failure.to_owned())),
        };
        CheckRow { title, expected: expected.words(), received, failure }
    }
}

/// Renders the rows, and below them how many are as expected.
pub(super) fn table(rows: &[CheckRow]) -> String {
    let mut text = String::new();
    let mut line = |verdict: &str, title: &str, expected: &str, received: &str| {
        let line = format!("{verdict:VERDICT$}{title:TITLE$}  {expected:EXPECTED$}  {received}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    line("", "scene", "expected", "received");
    for CheckRow { title, expected, received, failure } in rows {
        let verdict = if failure.is_none() { "ok" } else { "WRONG" };
        let cells = [wrapped(title, TITLE), wrapped(expected, EXPECTED), wrapped(received, RECEIVED)];
        let height = cells.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let [title, expected, received] = [0, 1, 2]
                .map(|column| cells.get(column).and_then(|cell| cell.get(at)).map_or("", String::as_str));
            line(if at == 0 { verdict } else { "" }, title, expected, received);
        }
        for failure in failure.iter().flat_map(|failure| wrapped(failure, WIDTH - VERDICT - 2)) {
            line("", &format!("  {failure}"), "", "");
        }
    }
    let failed = rows.iter().filter(|row| row.failure.is_some()).count();
    let _ = writeln!(text, "{} as expected, {failed} not", rows.len() - failed);
    text
}

#[cfg(test)]
mod tests {
    use super::super::scenes::{SceneStep, sections};
    use super::*;

    #[test]
    fn a_wrong_row_says_why() {
        let expected = Expectation::refused(404, "not-found");
        let rows = [CheckRow::new("one", &expected, Err("connection refused"))];
        let text = table(&rows);
        assert!(text.contains("WRONG one") && text.contains("\n        connection refused\n"), "{text}");
        assert!(text.contains("refused, 404 not-found"), "{text}");
        assert!(text.ends_with("0 as expected, 1 not\n"));
    }

    #[test]
    fn the_table_fits_100_columns() {
        let steps = sections().into_iter().flat_map(|section| section.scenes).flat_map(|scene| {
            let title = scene.title;
            scene.steps.into_iter().map(move |step| (title, step))
        });
        let rows: Vec<CheckRow> = steps
            .filter_map(|(title, step)| match step {
                SceneStep::Request(_, expected) | SceneStep::RequestWithEvent { expected, .. } => {
                    Some(CheckRow::new(title, &expected, Err(&"no connection ".repeat(20))))
                }
                SceneStep::Event(_) => None,
            })
            .collect();
        assert!(rows.len() >= 30);
        let text = table(&rows);
        let too_long: Vec<_> = text.lines().filter(|line| line.chars().count() > WIDTH).collect();
        assert!(too_long.is_empty(), "{too_long:#?}");
    }
}
