//! Comma-separated values with a header (RFC 4180): the table is parsed, and written again.
//!
//! The module does not interpret a row. It is given a function that scrubs one JSON text: an object whose members are
//! the fields of the row, under the names in the header. Invariants: nothing of a table leaves except the names of
//! listed columns and the values that the scrubbed object of a row has for them; a withheld value leaves an empty
//! field, so that later columns keep their positions. A column is identified by its name, never by its position.

use serde_json::{Map, Value};

use super::unreadable::{BYTE_ORDER_MARK, BodyFault, Limits, Unreadable};

/// The part of a field that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum FieldState {
    /// The beginning of a field, or a field without quotes.
    #[default]
    Plain,
    /// A field between quotes.
    Quoted,
    /// After a quote in a quoted field. It ends the field, or is the first of two quotes that denote one.
    Closed,
    /// After the carriage return at the end of a row.
    Returned,
}

/// A column of the table.
#[derive(Clone, Debug)]
struct Column {
    name: String,
    /// True if the column leaves.
    leaves: bool,
}

/// The parser of a table. Chunks may end anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The number of bytes of the body that were taken.
    taken: u64,
    /// The number of bytes of the body before the current row.
    at: u64,
    field_state: FieldState,
    /// The number of bytes of the byte order mark that were taken.
    mark: usize,
    /// The number of bytes of the current row.
    held: usize,
    /// The fields of the current row. The last one may be incomplete.
    fields: Vec<Vec<u8>>,
    /// The columns; `None` before the header was read.
    columns: Option<Vec<Column>>,
    /// True if the body has no known length, so that its end may be a broken connection.
    unknown_length: bool,
}

impl Rows {
    /// Declares that the end of the body may be a broken connection. A last row without a line break is then refused,
    /// because it may be cut: the beginning of an id could be another person's id.
    pub(super) fn set_unknown_length(&mut self) {
        self.unknown_length = true;
    }

    /// Returns the number of bytes of the row that has not ended.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Takes the next bytes of the table, and writes the rows that end in them. `scrub` appends the part of a row's object
    /// that may leave. Only `listed` columns leave; all columns leave if that is `None`.
    ///
    /// # Errors
    /// Returns an error if this is not a table, if a row is longer than the bound or does not have as many fields as
    /// the header, and the errors of `scrub`.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        last: bool,
        listed: Option<&[String]>,
        limits: &Limits,
        out: &mut Vec<u8>,
        mut scrub: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        for &byte in chunk {
            if self.take_mark(byte)? {
                continue;
            }
            let ends = self.push(byte)?;
            self.taken += 1;
            self.held += 1;
            if self.held > limits.record || self.fields.len() > limits.members {
                return Err(self.unreadable(BodyFault::TooLong));
            }
            if ends {
                self.end_row(listed, out, &mut scrub)?;
            }
        }
        if !last {
            return Ok(());
        }
        match self.field_state {
            FieldState::Quoted => Err(self.unreadable(BodyFault::Truncated)),
            FieldState::Returned => Err(self.unreadable(BodyFault::Malformed)),
            FieldState::Plain | FieldState::Closed if self.held > 0 && self.unknown_length => {
                Err(self.unreadable(BodyFault::Truncated))
            }
            // The last row needs no line break.
            FieldState::Plain | FieldState::Closed if self.held > 0 => self.end_row(listed, out, &mut scrub),
            FieldState::Plain | FieldState::Closed if self.columns.is_none() => {
                Err(self.unreadable(BodyFault::Truncated))
            }
            FieldState::Plain | FieldState::Closed => Ok(()),
        }
    }

    fn unreadable(&self, fault: BodyFault) -> Unreadable {
        Unreadable { fault, at: self.at }
    }

    /// Takes a byte of the byte order mark at the beginning of the body. Returns false if the byte is not part of one.
    fn take_mark(&mut self, byte: u8) -> Result<bool, Unreadable> {
        let position = usize::try_from(self.taken).unwrap_or(usize::MAX);
        let is_marked = position > 0 && position == self.mark;
        match BYTE_ORDER_MARK.get(position) {
            Some(expected) if *expected == byte && (position == 0 || is_marked) => {
                (self.taken, self.at, self.mark) = (self.taken + 1, self.taken + 1, self.mark + 1);
                Ok(true)
            }
            Some(_) if is_marked => Err(self.unreadable(BodyFault::NotUtf8)),
            Some(_) | None => Ok(false),
        }
    }

    /// Takes one byte of a row. Returns true if it ends the row.
    fn push(&mut self, byte: u8) -> Result<bool, Unreadable> {
        if self.fields.is_empty() {
            self.fields.push(Vec::new());
        }
        let malformed = Unreadable { fault: BodyFault::Malformed, at: self.at };
        let begins = self.fields.last().is_some_and(Vec::is_empty);
        let mut ends = false;
        self.field_state = match (self.field_state, byte) {
            (FieldState::Quoted, b'"') => FieldState::Closed,
            (FieldState::Closed, b'"') => {
                self.push_byte(byte);
                FieldState::Quoted
            }
            (FieldState::Quoted, _) => {
                self.push_byte(byte);
                FieldState::Quoted
            }
            (FieldState::Plain, b'"') if begins => FieldState::Quoted,
            (FieldState::Plain | FieldState::Closed, b',') => {
                self.fields.push(Vec::new());
                FieldState::Plain
            }
            (FieldState::Plain | FieldState::Closed, b'\r') => FieldState::Returned,
            (_, b'\n') => {
                ends = true;
                FieldState::Plain
            }
            // A quote in a field without quotes, a byte after the closing quote, or a carriage return that ends no row.
            (FieldState::Plain, b'"') | (FieldState::Closed | FieldState::Returned, _) => {
                return Err(malformed);
            }
            (FieldState::Plain, _) => {
                self.push_byte(byte);
                FieldState::Plain
            }
        };
        Ok(ends)
    }

    fn push_byte(&mut self, byte: u8) {
        if let Some(field) = self.fields.last_mut() {
            field.push(byte);
        }
    }

    /// Scrubs and writes the current row, or reads it as the header.
    fn end_row(
        &mut self,
        listed: Option<&[String]>,
        out: &mut Vec<u8>,
        scrub: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let fields = std::mem::take(&mut self.fields);
        let not_utf8 = self.unreadable(BodyFault::NotUtf8);
        let texts: Vec<String> =
            fields.into_iter().map(String::from_utf8).collect::<Result<_, _>>().map_err(|_| not_utf8)?;
        match &self.columns {
            None => self.read_header(texts, listed, out)?,
            Some(columns) if columns.len() == texts.len() => {
                let names = columns.iter().map(|column| column.name.clone());
                let row: Map<String, Value> = names.zip(texts.into_iter().map(Value::String)).collect();
                let mut scrubbed = Vec::new();
                let text = Value::Object(row).to_string();
                scrub(text.as_bytes(), &mut scrubbed)
                    .map_err(|unreadable| Unreadable { at: self.at, ..unreadable })?;
                // If the row is removed as a whole, every field is empty.
                let left: Map<String, Value> = serde_json::from_slice(&scrubbed).unwrap_or_default();
                let leaving = columns.iter().filter(|column| column.leaves);
                write_row(
                    leaving.map(|column| left.get(&column.name).map(field_text).unwrap_or_default()),
                    out,
                );
            }
            Some(_) => return Err(self.unreadable(BodyFault::Malformed)),
        }
        (self.at, self.held) = (self.taken, 0);
        Ok(())
    }

    /// Reads and writes the header.
    ///
    /// Two columns of the same name are refused, because parsers disagree about which of them counts. A header without any
    /// column that leaves is refused as well: it belongs to another table, has another separator, or is an error page,
    /// and an empty answer would hide that.
    fn read_header(
        &mut self,
        names: Vec<String>,
        listed: Option<&[String]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Unreadable> {
        let mut columns: Vec<Column> = Vec::with_capacity(names.len());
        for name in names {
            let leaves = listed.is_none_or(|listed| listed.contains(&name));
            columns.push(Column { name, leaves });
        }
        let mut sorted: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
            return Err(self.unreadable(BodyFault::DuplicateName));
        }
        if !columns.iter().any(|column| column.leaves) {
            return Err(self.unreadable(BodyFault::OtherColumns));
        }
        write_row(columns.iter().filter(|column| column.leaves).map(|column| column.name.clone()), out);
        self.columns = Some(columns);
        Ok(())
    }
}

/// Returns the column that a path of a mapping selects: `@.name` or `@['name']`. In a table, each row is a record.
pub(super) fn selected_column(path: &str) -> Option<String> {
    let path = path.strip_prefix('@').or_else(|| path.strip_prefix('$'))?;
    let quoted =
        |quote: char| path.strip_prefix('[')?.strip_suffix(']')?.strip_prefix(quote)?.strip_suffix(quote);
    let (name, special) = match path.strip_prefix('.') {
        Some(name) => (name, &['.', '[', '*', ' '][..]),
        None => (quoted('\'').or_else(|| quoted('"'))?, &['\'', '"', '\\'][..]),
    };
    (!name.contains(special)).then(|| name.to_owned())
}

/// Returns a value as the text of a field.
fn field_text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Writes a row, if it has at least one field.
fn write_row(fields: impl Iterator<Item = String>, out: &mut Vec<u8>) {
    let mut fields = fields.peekable();
    if fields.peek().is_none() {
        return;
    }
    while let Some(field) = fields.next() {
        if field.contains(['"', ',', '\r', '\n']) {
            out.push(b'"');
            out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(field.as_bytes());
        }
        if fields.peek().is_some() {
            out.push(b',');
        }
    }
    out.extend_from_slice(b"\r\n");
}
