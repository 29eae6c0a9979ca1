//! The history of a person, a case or a recipient as a table.

use serde::Deserialize;
use serde_json::Value;

use super::chrome::StateChip;
use super::json_text::{named_actor, short_time, text};
use super::list_page::ListPage;
use super::table::{DataTable, TableCell, TableColumn};

/// Members of an event that the table shows in columns of their own, or not at all.
const OWN_COLUMNS: [&str; 8] =
    ["kind", "at", "event", "position", "recorded-by", "channel", "notice", "evidence"];

/// The entity whose history is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HistoryOf {
    Person,
    /// A case. The members of its registration, which names people, are shown elsewhere.
    Case,
    Recipient,
}

/// The query of a page with a history.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HistoryQuery {
    /// The number of the page of the history.
    pub(super) history: usize,
}

/// Returns a page of a history, newest first, given the events in the order of their positions.
pub(super) fn event_page(of: HistoryOf, events: &[Value], page: usize) -> ListPage<Vec<TableCell>> {
    ListPage::of(events.iter().rev(), page, |event| row(of, event))
}

/// Returns the table of a page of a history.
pub(super) fn event_table(of: HistoryOf, rows: Vec<Vec<TableCell>>) -> DataTable {
    let columns = match of {
        HistoryOf::Person => vec![
            TableColumn::time("counts from (UTC)"),
            TableColumn::text("event"),
            TableColumn::text("about"),
            TableColumn::text("came by"),
            TableColumn::text("recorded by"),
        ],
        HistoryOf::Case | HistoryOf::Recipient => vec![
            TableColumn::time("counts from (UTC)"),
            TableColumn::text("event"),
            TableColumn::text("reason"),
            TableColumn::text("recorded by"),
        ],
    };
    DataTable::new(columns, rows)
}

fn row(of: HistoryOf, event: &Value) -> Vec<TableCell> {
    let time = TableCell::text(short_time(&text(event, "at")));
    let words = TableCell::text(words(event));
    let by = TableCell::chip(recorded_by(event));
    match of {
        HistoryOf::Person => vec![time, words, about(event), came_by(event), by],
        HistoryOf::Case | HistoryOf::Recipient => {
            vec![time, words, TableCell::text(text(event, "evidence")), by]
        }
    }
}

fn words(event: &Value) -> String {
    match text(event, "kind").as_str() {
        "case-registered" => "registered".to_owned(),
        "case-approved" => format!("approved by {}", text(event, "approver")),
        "case-ended" => "ended before its time".to_owned(),
        other => other.to_owned(),
    }
}

/// Returns the members that only such events have.
fn about(event: &Value) -> TableCell {
    let members = event.as_object().into_iter().flatten();
    let own = members.filter(|(name, _)| !OWN_COLUMNS.contains(&name.as_str()));
    TableCell::lines(own.map(|(name, _)| format!("{name}: {}", text(event, name))))
}

fn came_by(event: &Value) -> TableCell {
    let provenance = ["channel", "notice", "evidence"].map(|name| (name, text(event, name)));
    let provenance = provenance.iter().filter(|(_, value)| !value.is_empty());
    let texts: Vec<String> = provenance.map(|(name, value)| format!("{name}: {value}")).collect();
    if texts.is_empty() { TableCell::default() } else { TableCell::quiet(texts.join("; ")) }
}

/// Returns who recorded an event.
fn recorded_by(event: &Value) -> StateChip {
    let by = event.get("recorded-by").map(named_actor);
    StateChip::actor(by.as_ref().map(|(name, is_verified)| (&**name, *is_verified)))
}
