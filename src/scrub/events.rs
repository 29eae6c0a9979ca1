//! Server-sent events (HTML standard, 9.2) whose data is JSON: the stream is parsed, and written again.
//!
//! The module does not parse JSON. It is given a function that scrubs one text. An event is held until the empty line
//! that dispatches it, and then leaves at once. Invariant: nothing of the upstream's stream leaves except scrubbed data, a
//! type that the route lists, and a reconnection time. Ids and comments are free text: an id is removed, and a comment
//! leaves empty, because comments keep connections open.

use memchr::memchr2;

use super::unreadable::{BYTE_ORDER_MARK, BodyFault, Limits, Unreadable};

/// The greatest reconnection time that leaves, in milliseconds: one hour. A greater number could encode other data.
const MAX_RETRY: u32 = 3_600_000;

/// Data that is not JSON and leaves as it is, if an event has no other data: empty data, which keeps a connection
/// open, and the marker that ends a stream in OpenAI's API and similar APIs.
const PLAIN_DATA: [&[u8]; 2] = [b"", b"[DONE]"];

/// An event that is not dispatched yet.
#[derive(Clone, Debug, Default)]
struct PendingEvent {
    /// The number of bytes of the body before it.
    at: u64,
    /// The data lines, joined by line feeds; `None` if there was no data line.
    data: Option<Vec<u8>>,
    /// The type of the event.
    name: Vec<u8>,
    /// The reconnection time in milliseconds.
    retry: Option<u32>,
}

/// The parser of an event stream. Chunks may end anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct EventStream {
    /// The number of bytes of the body that were taken.
    taken: u64,
    /// The line that is not complete yet.
    line: Vec<u8>,
    /// True if the last line ended with a carriage return, so that a line feed that follows belongs to it.
    returned: bool,
    /// True if at least one line was complete.
    begun: bool,
    event: PendingEvent,
}

impl EventStream {
    /// Takes the next bytes of the stream, and writes the events that end in them. `scrub` appends the part of an event's
    /// data that may leave.
    ///
    /// # Errors
    /// Returns [`BodyFault::TooLong`] if an event is longer than the bound, and the errors of `scrub`.
    pub(super) fn feed(
        &mut self,
        chunk: &[u8],
        names: &[String],
        limits: &Limits,
        out: &mut Vec<u8>,
        mut scrub: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.returned) && first == b'\n' {
                let is_between_events = self.held() == 0;
                self.skip(&mut rest, 1);
                if is_between_events {
                    self.event.at = self.taken;
                }
                continue;
            }
            let end = memchr2(b'\r', b'\n', rest);
            self.line.extend_from_slice(rest.get(..end.unwrap_or(rest.len())).unwrap_or_default());
            let held = self.line.len() + self.event.name.len() + self.event.data.as_ref().map_or(0, Vec::len);
            if held > limits.record {
                return Err(self.unreadable(BodyFault::TooLong));
            }
            let Some(end) = end else {
                self.taken += rest.len() as u64;
                break;
            };
            self.returned = rest.get(end) == Some(&b'\r');
            self.skip(&mut rest, end + 1);
            let line = std::mem::take(&mut self.line);
            self.end_line(&line, names, out, &mut scrub)?;
            // The buffer is reused.
            self.line = line;
            self.line.clear();
        }
        Ok(())
    }

    /// Returns the number of bytes of the event that is not dispatched yet.
    pub(super) fn held(&self) -> usize {
        usize::try_from(self.taken.saturating_sub(self.event.at)).unwrap_or(usize::MAX)
    }

    fn skip(&mut self, rest: &mut &[u8], by: usize) {
        *rest = rest.get(by..).unwrap_or_default();
        self.taken += by as u64;
    }

    fn unreadable(&self, fault: BodyFault) -> Unreadable {
        Unreadable { fault, at: self.event.at }
    }

    fn end_line(
        &mut self,
        line: &[u8],
        names: &[String],
        out: &mut Vec<u8>,
        scrub: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let begun = std::mem::replace(&mut self.begun, true);
        let line = if begun { line } else { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) };
        if line.is_empty() {
            let event = PendingEvent { at: self.taken, ..PendingEvent::default() };
            return std::mem::replace(&mut self.event, event).dispatch(names, out, scrub);
        }
        let (field, value) = match line.iter().position(|&byte| byte == b':') {
            Some(0) => {
                out.extend_from_slice(b":\n\n");
                return Ok(());
            }
            Some(colon) => {
                let value = line.get(colon + 1..).unwrap_or_default();
                (line.get(..colon).unwrap_or_default(), value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => match &mut self.event.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.event.data = Some(value.to_vec()),
            },
            b"event" => {
                self.event.name.clear();
                self.event.name.extend_from_slice(value);
            }
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                let time = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                self.event.retry = time.filter(|time| *time <= MAX_RETRY).or(self.event.retry);
            }
            // An id, or a field that the standard does not define.
            _ => {}
        }
        Ok(())
    }
}

impl PendingEvent {
    /// Writes the event, if it has data and a type that the route lists. A reconnection time is written in any case.
    fn dispatch(
        self,
        names: &[String],
        out: &mut Vec<u8>,
        scrub: &mut impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Unreadable>,
    ) -> Result<(), Unreadable> {
        let named = !self.name.is_empty() && self.name != b"message";
        let known = !named || names.iter().any(|name| name.as_bytes() == self.name);
        let mut scrubbed = Vec::new();
        if let Some(data) = self.data.as_ref().filter(|data| known && PLAIN_DATA.contains(&data.as_slice())) {
            scrubbed.extend_from_slice(data);
        } else if let Some(data) = self.data.as_ref().filter(|_| known) {
            scrub(data, &mut scrubbed).map_err(|unreadable| Unreadable { at: self.at, ..unreadable })?;
        }
        if let Some(retry) = self.retry {
            out.extend_from_slice(format!("retry: {retry}\n").as_bytes());
        }
        let has_data = self.data.is_some() && known;
        if has_data {
            if named {
                out.extend_from_slice(b"event: ");
                out.extend_from_slice(&self.name);
                out.push(b'\n');
            }
            for line in scrubbed.split(|&byte| byte == b'\n') {
                out.extend_from_slice(b"data: ");
                out.extend_from_slice(line);
                out.push(b'\n');
            }
        }
        if has_data || self.retry.is_some() {
            out.push(b'\n');
        }
        Ok(())
    }
}
