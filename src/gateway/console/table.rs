//! Tables of the pages: columns, rows and cells, with one template for all of them.

use askama::Template;
use askama::filters::HtmlSafe;

use super::chrome::StateChip;

/// A table. On small screens each row is a block, and each cell has the name of its column.
#[derive(Debug, Template)]
#[template(path = "table.html")]
pub(super) struct DataTable {
    columns: Vec<TableColumn>,
    /// Rows with as many cells as there are columns. The first cell is the row's heading.
    rows: Vec<Vec<TableCell>>,
}

impl HtmlSafe for DataTable {}

impl DataTable {
    pub(super) fn new(columns: Vec<TableColumn>, rows: Vec<Vec<TableCell>>) -> DataTable {
        DataTable { columns, rows }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns the cells of a row, each with its column.
    fn cells<'t>(&'t self, row: &'t [TableCell]) -> impl Iterator<Item = (&'t TableColumn, &'t TableCell)> {
        self.columns.iter().zip(row)
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableColumn {
    name: &'static str,
    /// The class of its cells: `n` for numbers, `t` for times, or empty.
    class: &'static str,
}

impl TableColumn {
    pub(super) fn text(name: &'static str) -> TableColumn {
        TableColumn { name, class: "" }
    }

    pub(super) fn number(name: &'static str) -> TableColumn {
        TableColumn { name, class: "n" }
    }

    /// A column of times or days. Its name says in which zone they are.
    pub(super) fn time(name: &'static str) -> TableColumn {
        TableColumn { name, class: "t" }
    }
}

/// The content of a cell, or a sentence with links.
#[derive(Debug, Default, Template)]
#[template(path = "cell.html")]
pub(super) struct TableCell {
    content: Vec<CellPart>,
}

impl HtmlSafe for TableCell {}

/// A part of a cell.
#[derive(Debug)]
enum CellPart {
    Text(String),
    /// A remark in a soft colour.
    Quiet(String),
    /// A line of its own.
    Line(String),
    /// A remark on a line of its own.
    QuietLine(String),
    Code(String),
    Chip(StateChip),
    Link {
        path: String,
        text: String,
    },
    /// A category that left, its form and its basis.
    Left {
        category: String,
        form: String,
        basis: String,
    },
    Form(Box<RowForm>),
}

/// A form with one button in a row.
#[derive(Debug)]
pub(super) struct RowForm {
    pub(super) action: &'static str,
    pub(super) form_token: String,
    pub(super) fields: Vec<(&'static str, String)>,
    pub(super) button: &'static str,
    /// The accessible name of the button: it begins with its words, and says which row it is.
    pub(super) label: String,
}

impl TableCell {
    pub(super) fn text(text: impl Into<String>) -> TableCell {
        TableCell::default().and_text(text)
    }

    pub(super) fn quiet(text: impl Into<String>) -> TableCell {
        TableCell::default().and(CellPart::Quiet(text.into()))
    }

    /// A text, or a remark in its place if it is empty.
    pub(super) fn text_or(text: impl Into<String>, if_empty: &str) -> TableCell {
        let text = text.into();
        if text.is_empty() { TableCell::quiet(if_empty) } else { TableCell::text(text) }
    }

    pub(super) fn chip(chip: StateChip) -> TableCell {
        TableCell::default().and(CellPart::Chip(chip))
    }

    pub(super) fn link(path: impl Into<String>, text: impl Into<String>) -> TableCell {
        TableCell::default().and_link(path, text)
    }

    /// A link if there is a path, or the text alone.
    pub(super) fn link_if(path: Option<String>, text: impl Into<String>) -> TableCell {
        match path {
            Some(path) => TableCell::link(path, text),
            None => TableCell::text(text),
        }
    }

    pub(super) fn form(form: RowForm) -> TableCell {
        TableCell::default().and(CellPart::Form(Box::new(form)))
    }

    pub(super) fn lines(lines: impl IntoIterator<Item = String>) -> TableCell {
        TableCell { content: lines.into_iter().map(CellPart::Line).collect() }
    }

    fn and(mut self, part: CellPart) -> TableCell {
        self.content.push(part);
        self
    }

    pub(super) fn and_text(self, text: impl Into<String>) -> TableCell {
        self.and(CellPart::Text(text.into()))
    }

    pub(super) fn and_code(self, text: impl Into<String>) -> TableCell {
        self.and(CellPart::Code(text.into()))
    }

    pub(super) fn and_link(self, path: impl Into<String>, text: impl Into<String>) -> TableCell {
        self.and(CellPart::Link { path: path.into(), text: text.into() })
    }

    /// Adds a remark on a line of its own, unless it is empty.
    pub(super) fn and_quiet_line(self, text: impl Into<String>) -> TableCell {
        let text = text.into();
        if text.is_empty() { self } else { self.and(CellPart::QuietLine(text)) }
    }

    pub(super) fn and_left(self, (category, form, basis): (String, String, String)) -> TableCell {
        self.and(CellPart::Left { category, form, basis })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.content.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_name_of_its_column_and_is_text() {
        let columns = vec![TableColumn::text("recipient"), TableColumn::number("people")];
        let name = TableCell::link("/x?a=1&b=2", "<b>").and_quiet_line("").and_quiet_line("'");
        let table = DataTable::new(columns, vec![vec![name, TableCell::text("7")]]);
        let html = table.to_string();
        let row = "<th role=\"rowheader\" scope=\"row\" data-term=\"recipient\"><a href=\"/x?a=1&#38;b=2\">&#60;b&#62;</a>\
                   <span class=\"clause why\">&#39;</span></th>";
        assert!(html.contains(row), "{html}");
        assert!(html.contains("<td role=\"cell\" data-term=\"people\" class=\"n\">7</td>"), "{html}");
        assert!(html.contains("<th role=\"columnheader\" scope=\"col\" class=\"n\">people</th>"), "{html}");
        assert!(DataTable::new(Vec::new(), Vec::new()).is_empty() && TableCell::default().is_empty());
    }
}
