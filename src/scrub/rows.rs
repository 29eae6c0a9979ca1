//! Comma-separated values with a header (RFC 4180): the table is split into rows, and each row is scrubbed as a JSON object.
//!
//! The module does not decide about a row. It spells the row as one JSON text, an object whose members are the cells under
//! the names in the header (a string, or `null` for an empty cell), and is given a function that scrubs this text.
//! Invariants: nothing of a table leaves but the names of columns that leave, and the values that the scrubbed object of a
//! row has for them; a cell whose value stays leaves byte for byte; a withheld value leaves an empty cell, so that later
//! columns keep their positions. A column is identified by its name, never by its position. The output does not depend on
//! the chunks.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use memchr::{memchr, memchr3};
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::lex::unquoted;
use super::mapping::{Mapping, Unclassified};
use super::query::{self, Anchor};
use super::unreadable::{BYTE_ORDER_MARK, BodyFault, Limits, Unreadable};

/// The columns that the mapping of a route names.
#[derive(Clone, Debug, Default)]
pub(super) struct MappedColumns {
    /// The columns of fields, sorted. Only these leave.
    fields: Vec<String>,
    /// The columns of fields, data subjects, controllers and facts. A header without one of them belongs to another
    /// table.
    needed: Vec<String>,
    /// True if the other columns leave as well.
    releases_all: bool,
}

impl MappedColumns {
    /// Collects the columns of a mapping. A path that selects no column by its name (a path into a list, a wildcard) has
    /// none: it is for JSON that the route answers as well.
    pub(super) fn new(mapping: &Mapping) -> MappedColumns {
        let (mut fields, mut needed) = (Vec::new(), Vec::new());
        for set in &mapping.records {
            // Each row is a document.
            let is_row =
                matches!(query::read(&set.path), Ok((Anchor::Document, path)) if path.segments.is_empty());
            let columns = |path: &str| match query::read(path) {
                Ok((anchor, path)) if is_row || anchor == Anchor::Document => {
                    path.member_names().unwrap_or_default().into_iter().map(str::to_owned).collect()
                }
                Ok(_) | Err(_) => Vec::new(),
            };
            fields.extend(set.fields.iter().flat_map(|field| columns(&field.path)));
            let sources = set.subjects.iter().chain(&set.controller).map(|source| &source.path);
            let captures = sources.chain(set.facts.iter().map(|(_, path)| path));
            needed.extend(captures.flat_map(|path| columns(path)));
        }
        fields.sort_unstable();
        needed.extend(fields.iter().cloned());
        needed.sort_unstable();
        needed.dedup();
        MappedColumns { fields, needed, releases_all: mapping.unclassified == Unclassified::Release }
    }

    /// Returns the columns of a table without a mapping: all of them leave.
    pub(super) fn without_mapping() -> MappedColumns {
        MappedColumns { releases_all: true, ..MappedColumns::default() }
    }

    fn leaves(&self, name: &str) -> bool {
        self.releases_all || self.fields.binary_search_by(|field| field.as_str().cmp(name)).is_ok()
    }
}

/// Reads a table without a mapping, and visits each row as a JSON object on a line of its own.
///
/// # Errors
/// Returns an error if this is not a table. The rows before the fault were visited.
pub fn visit_rows(body: &[u8], limits: &Limits, mut visit: impl FnMut(&[u8])) -> Result<(), Unreadable> {
    let every = MappedColumns::without_mapping();
    Rows::default().feed(body, true, &every, limits, &mut Vec::new(), |line, _| {
        visit(line);
        Ok(())
    })
}

/// The part of a cell that the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum CellState {
    /// The beginning of a cell, or a cell without quotes.
    #[default]
    Plain,
    /// A cell between quotes.
    Quoted,
    /// After a quote in a quoted cell. It ends the cell, or is the first of two quotes that denote one.
    Closed,
    /// After a quoted cell and a carriage return. A line feed ends the row.
    Returned,
}

/// A column of the table.
#[derive(Debug)]
struct Column {
    name: String,
    /// The name as a JSON string.
    spelled: String,
    /// True if the column leaves.
    leaves: bool,
}

/// A row as it came, without its line break.
#[derive(Clone, Debug, Default)]
struct RawRow {
    bytes: Vec<u8>,
    /// The ends of the cells that are complete.
    ends: Vec<usize>,
}

impl RawRow {
    /// Returns the offset at which the current cell begins: after the comma that ended the cell before.
    fn cell_start(&self) -> usize {
        self.ends.last().map_or(0, |end| end + 1)
    }

    /// Returns the cells as they came.
    fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|end| end + 1));
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// The parser of a table. Chunks may end anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The number of bytes of the body that were taken.
    taken: u64,
    /// The number of bytes of the body before the current row.
    at: u64,
    cell_state: CellState,
    /// The current row. It may be incomplete.
    row: RawRow,
    /// The columns; `None` before the header was read.
    columns: Option<Arc<[Column]>>,
    /// The header that leaves with the first row: a table whose first row is unreadable is refused as a whole.
    header: Vec<u8>,
    /// True if the body has no known length, so that its end may be a broken connection.
    unknown_length: bool,
}

impl Rows {
    /// Declares that the end of the body may be a broken connection. A last row without a line break is then refused,
    /// because it may be cut: the beginning of an id could be another person's id.
    pub(super) fn set_unknown_length(&mut self) {
        self.unknown_length = true;
    }

    /// Returns the number of bytes that are held: those of the row that has not ended, and those of a header without a row.
    pub(super) fn held(&self) -> usize {
        self.row.bytes.len() + self.header.len()
    }

    /// Takes the next bytes of the table, and writes the rows that end in them. `scrub` appends the part of a row's object
    /// that may leave.
    ///
    /// # Errors
    /// Returns an error if this is not a table with the columns of the mapping, if a row is longer than the bound or does
    /// not have as many cells as the header, and the errors of `scrub`.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        last: bool,
        mapped: &MappedColumns,
        limits: &Limits,
        out: &mut Vec<u8>,
        mut scrub: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let mut rest = chunk;
        loop {
            let taken = self.take(rest, limits);
            let Some(after) = taken.map_err(|fault| self.unreadable(fault))? else { break };
            rest = after;
            let line_break: &[u8] = match self.row.bytes.pop_if(|byte| *byte == b'\r') {
                Some(_) => b"\r\n",
                None => b"\n",
            };
            self.end_row(line_break, mapped, limits, out, &mut scrub)?;
        }
        if last { self.finish(mapped, limits, out, &mut scrub) } else { Ok(()) }
    }

    fn finish(
        &mut self,
        mapped: &MappedColumns,
        limits: &Limits,
        out: &mut Vec<u8>,
        scrub: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let is_empty = self.taken == self.at || self.columns.is_none() && self.row.bytes == BYTE_ORDER_MARK;
        match self.cell_state {
            CellState::Returned => return Err(self.unreadable(BodyFault::Malformed)),
            CellState::Quoted => return Err(self.unreadable(BodyFault::Truncated)),
            CellState::Plain | CellState::Closed if is_empty && self.columns.is_some() => {}
            CellState::Plain | CellState::Closed if is_empty || self.unknown_length => {
                return Err(self.unreadable(BodyFault::Truncated));
            }
            // The last row needs no line break.
            CellState::Plain | CellState::Closed => self.end_row(b"", mapped, limits, out, scrub)?,
        }
        // The header of a table without rows.
        out.append(&mut self.header);
        Ok(())
    }

    fn unreadable(&self, fault: BodyFault) -> Unreadable {
        Unreadable { fault, at: self.at }
    }

    /// Takes bytes up to the end of the row. Returns the bytes after its line feed; `None` if the row has not ended.
    fn take<'c>(&mut self, mut rest: &'c [u8], limits: &Limits) -> Result<Option<&'c [u8]>, BodyFault> {
        loop {
            // The next byte that changes the state.
            let next = match self.cell_state {
                CellState::Plain => memchr3(b',', b'"', b'\n', rest),
                CellState::Quoted => memchr(b'"', rest),
                CellState::Closed | CellState::Returned => (!rest.is_empty()).then_some(0),
            };
            let length = next.map_or(rest.len(), |before| before + 1);
            // A row that is too long is reported first, so that the fault does not depend on the chunks.
            if self.row.bytes.len() + length > limits.record {
                return Err(BodyFault::TooLong);
            }
            self.taken += length as u64;
            let before = rest.get(..next.unwrap_or(length)).unwrap_or_default();
            self.row.bytes.extend_from_slice(before);
            let Some(&byte) = next.and_then(|next| rest.get(next)) else { return Ok(None) };
            rest = rest.get(length..).unwrap_or_default();
            self.cell_state = match (self.cell_state, byte) {
                (CellState::Plain | CellState::Closed, b',') => {
                    self.end_cell(limits)?;
                    CellState::Plain
                }
                (CellState::Plain | CellState::Closed | CellState::Returned, b'\n') => {
                    self.cell_state = CellState::Plain;
                    return Ok(Some(rest));
                }
                (CellState::Plain, b'"') if self.begins_cell() => CellState::Quoted,
                (CellState::Quoted, _) => CellState::Closed,
                (CellState::Closed, b'"') => CellState::Quoted,
                (CellState::Closed, b'\r') => CellState::Returned,
                // A quote in a cell without quotes, a byte after the closing quote, or a carriage return that ends no row.
                (CellState::Plain | CellState::Closed | CellState::Returned, _) => {
                    return Err(BodyFault::Malformed);
                }
            };
            self.row.bytes.push(byte);
        }
    }

    /// True if the current cell has no byte yet. Before the first cell of the header, a byte order mark is dropped.
    fn begins_cell(&mut self) -> bool {
        if self.columns.is_none() && self.row.ends.is_empty() && self.row.bytes == BYTE_ORDER_MARK {
            self.row.bytes.clear();
        }
        self.row.bytes.len() == self.row.cell_start()
    }

    fn end_cell(&mut self, limits: &Limits) -> Result<(), BodyFault> {
        self.row.ends.push(self.row.bytes.len());
        if self.row.ends.len() > limits.members { Err(BodyFault::TooManyMembers) } else { Ok(()) }
    }

    /// Scrubs and writes the current row, or reads it as the header.
    fn end_row(
        &mut self,
        line_break: &[u8],
        mapped: &MappedColumns,
        limits: &Limits,
        out: &mut Vec<u8>,
        scrub: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let at = self.at;
        let unreadable = |fault| Unreadable { fault, at };
        if self.columns.is_none() && self.row.bytes.starts_with(BYTE_ORDER_MARK) {
            let mark = BYTE_ORDER_MARK.len();
            self.row.bytes.drain(..mark);
            self.row.ends.iter_mut().for_each(|end| *end -= mark);
        }
        self.end_cell(limits).map_err(unreadable)?;
        check_bytes(&self.row).map_err(unreadable)?;
        match &self.columns {
            None => {
                let columns = read_header(&self.row, mapped).map_err(unreadable)?;
                write_header(&self.row, &columns, line_break, &mut self.header);
                self.columns = Some(columns);
            }
            Some(columns) => {
                let object = RowObject::spell(&self.row, columns, limits).map_err(unreadable)?;
                let mut scrubbed = Vec::new();
                scrub(&object.text, &mut scrubbed).map_err(|fault| Unreadable { at, ..fault })?;
                out.append(&mut self.header);
                let row = LeavingRow { row: &self.row, columns, object: &object, out };
                row.write(&scrubbed).map_err(unreadable)?;
                out.extend_from_slice(line_break);
            }
        }
        self.row.clear();
        self.at = self.taken;
        Ok(())
    }
}

/// Checks the bytes of the cells. A carriage return in a cell without quotes ends the row for some parsers, and a zero byte
/// ends the text for others.
fn check_bytes(row: &RawRow) -> Result<(), BodyFault> {
    let has_return = |cell: &[u8]| cell.first() != Some(&b'"') && memchr(b'\r', cell).is_some();
    let returns = memchr(b'\r', &row.bytes).is_some() && row.cells().any(has_return);
    if returns || memchr(0, &row.bytes).is_some() { Err(BodyFault::Malformed) } else { Ok(()) }
}

/// Reads the header.
///
/// Two columns of the same name are refused, because parsers disagree about which of them counts. A header without a column
/// of the mapping is refused as well: it belongs to another table, has another separator, or is an error page. So is a header
/// of which no column leaves, because an empty answer would hide that.
fn read_header(row: &RawRow, mapped: &MappedColumns) -> Result<Arc<[Column]>, BodyFault> {
    let columns = row.cells().map(|cell| {
        let name = String::from_utf8(cell_text(cell)).map_err(|_| BodyFault::NotUtf8)?;
        let spelled = Value::from(name.as_str()).to_string();
        Ok(Column { leaves: mapped.leaves(&name), name, spelled })
    });
    let columns = columns.collect::<Result<Arc<[Column]>, BodyFault>>()?;
    let mut sorted: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
    sorted.sort_unstable();
    if sorted.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return Err(BodyFault::DuplicateName);
    }
    let is_missing = |name: &String| sorted.binary_search(&name.as_str()).is_err();
    if mapped.needed.iter().any(is_missing) || !columns.iter().any(|column| column.leaves) {
        return Err(BodyFault::OtherColumns);
    }
    Ok(columns)
}

/// Writes the names of the columns that leave, as they came.
fn write_header(row: &RawRow, columns: &[Column], line_break: &[u8], out: &mut Vec<u8>) {
    let leaving = row.cells().zip(columns).filter(|(_, column)| column.leaves);
    for (number, (cell, _)) in leaving.enumerate() {
        if number > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cell);
    }
    out.extend_from_slice(line_break);
}

/// Returns the text of a cell without its quotes.
fn cell_text(cell: &[u8]) -> Vec<u8> {
    let (inner, is_quoted) = without_quotes(cell);
    let mut text = inner.to_vec();
    if is_quoted {
        // Two quotes denote one.
        let mut is_first = false;
        text.retain(|byte| {
            is_first = *byte == b'"' && !is_first;
            *byte != b'"' || is_first
        });
    }
    text
}

/// Returns the bytes between the quotes of a quoted cell, and true; all bytes of another cell.
fn without_quotes(cell: &[u8]) -> (&[u8], bool) {
    let inner = cell.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    inner.map_or((cell, false), |inner| (inner, true))
}

/// A row as a JSON object.
#[derive(Debug)]
struct RowObject {
    /// The object and a line feed.
    text: Vec<u8>,
    /// The places of the values in the text, in the order of the columns.
    values: Vec<Range<usize>>,
}

impl RowObject {
    /// Spells the row as an object. An empty cell is `null`: a table has no other way to say that there is no value.
    fn spell(row: &RawRow, columns: &[Column], limits: &Limits) -> Result<RowObject, BodyFault> {
        if row.ends.len() != columns.len() {
            return Err(BodyFault::Malformed);
        }
        let mut text = Vec::with_capacity(2 * row.bytes.len());
        let mut values = Vec::with_capacity(columns.len());
        for (cell, column) in row.cells().zip(columns) {
            text.push(if values.is_empty() { b'{' } else { b',' });
            text.extend_from_slice(column.spelled.as_bytes());
            text.push(b':');
            let start = text.len();
            spell_cell(cell, &mut text);
            values.push(start..text.len());
            if text.len() > limits.record {
                return Err(BodyFault::TooLong);
            }
        }
        text.extend_from_slice(b"}\n");
        Ok(RowObject { text, values })
    }

    fn value(&self, column: usize) -> Option<&[u8]> {
        self.values.get(column).and_then(|place| self.text.get(place.clone()))
    }
}

/// Appends a cell as a JSON string; `null` if it is empty.
fn spell_cell(cell: &[u8], text: &mut Vec<u8>) {
    let (mut rest, is_quoted) = without_quotes(cell);
    if rest.is_empty() {
        return text.extend_from_slice(b"null");
    }
    text.push(b'"');
    while let Some(plain) = rest.iter().position(|byte| matches!(byte, 0..0x20 | b'"' | b'\\')) {
        text.extend_from_slice(rest.get(..plain).unwrap_or_default());
        let byte = rest.get(plain).copied().unwrap_or_default();
        match byte {
            b'"' | b'\\' => text.extend_from_slice(&[b'\\', byte]),
            b'\n' => text.extend_from_slice(b"\\n"),
            b'\r' => text.extend_from_slice(b"\\r"),
            b'\t' => text.extend_from_slice(b"\\t"),
            _ => text.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        }
        // Two quotes denote one.
        let length = if byte == b'"' && is_quoted { 2 } else { 1 };
        rest = rest.get(plain + length..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    text.push(b'"');
}

/// Writes the cells of a row that leave.
struct LeavingRow<'a> {
    row: &'a RawRow,
    columns: &'a [Column],
    object: &'a RowObject,
    out: &'a mut Vec<u8>,
}

impl LeavingRow<'_> {
    /// Writes the row by its scrubbed object. If the object was removed as a whole, every cell is empty.
    fn write(self, scrubbed: &[u8]) -> Result<(), BodyFault> {
        let scrubbed = scrubbed.trim_ascii();
        let mut left: Vec<Option<&[u8]>> = vec![None; self.columns.len()];
        if !scrubbed.is_empty() && scrubbed != b"null" {
            let mut reader = serde_json::Deserializer::from_slice(scrubbed);
            let members = LeftMembers { columns: self.columns, left: &mut left };
            let read = reader.deserialize_map(members).and_then(|()| reader.end());
            // This cannot be: scrubbing an object leaves an object. Nothing leaves then.
            read.map_err(|_| BodyFault::Malformed)?;
        }
        let leaving = self.columns.iter().filter(|column| column.leaves).count();
        let begins = self.out.len();
        let cells = self.row.cells().zip(self.columns).zip(left);
        let cells = cells.enumerate().filter(|(_, ((_, column), _))| column.leaves);
        for (number, (at, ((cell, _), value))) in cells.enumerate() {
            if number > 0 {
                self.out.push(b',');
            }
            match value {
                Some(value) if self.object.value(at) == Some(value) => self.out.extend_from_slice(cell),
                Some(value) => write_cell(value, self.out),
                None => {}
            }
            // A line without any byte is no row for most parsers.
            if leaving == 1 && self.out.len() == begins && self.object.value(at) != value {
                self.out.extend_from_slice(b"\"\"");
            }
        }
        Ok(())
    }
}

/// Reads the values that a scrubbed row has, by column. Members that are no columns are ignored.
struct LeftMembers<'l, 's> {
    columns: &'l [Column],
    left: &'l mut [Option<&'s [u8]>],
}

impl<'s> Visitor<'s> for LeftMembers<'_, 's> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scrubbed row")
    }

    fn visit_map<A: MapAccess<'s>>(self, mut members: A) -> Result<(), A::Error> {
        let mut next = 0;
        while let Some(column) = members.next_key_seed(ColumnName { columns: self.columns, next })? {
            match self.left.get_mut(column) {
                Some(left) => {
                    *left = Some(members.next_value::<&'s RawValue>()?.get().as_bytes());
                    next = column + 1;
                }
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Reads the name of a member as the number of its column, from `next` on, because scrubbing keeps the order of members.
/// Another name has the number after the last column.
struct ColumnName<'l> {
    columns: &'l [Column],
    next: usize,
}

impl<'s> DeserializeSeed<'s> for ColumnName<'_> {
    type Value = usize;

    fn deserialize<D: serde::Deserializer<'s>>(self, reader: D) -> Result<usize, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for ColumnName<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a column")
    }

    fn visit_str<E>(self, name: &str) -> Result<usize, E> {
        let mut later = self.columns.iter().skip(self.next);
        Ok(later.position(|column| column.name == name).map_or(self.columns.len(), |at| self.next + at))
    }
}

/// Writes a JSON value as a cell, in quotes where it needs them.
fn write_cell(value: &[u8], out: &mut Vec<u8>) {
    let text = match value.first() {
        Some(b'"') => unquoted(value),
        _ if value == b"null" => return,
        Some(_) | None => value.into(),
    };
    if text.iter().any(|byte| matches!(byte, b'"' | b',' | b'\r' | b'\n')) {
        out.push(b'"');
        for byte in text.iter() {
            out.extend(std::iter::repeat_n(*byte, if *byte == b'"' { 2 } else { 1 }));
        }
        out.push(b'"');
    } else {
        out.extend_from_slice(&text);
    }
}
