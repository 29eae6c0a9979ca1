//! `scrub --remove`: the bare engine between two pipes.
//!
//! Streams: nothing is held but what a filter or a position counted from the end needs, and of
//! that no more than [`HELD`] bytes.

use std::io::{Read, Write};

use super::{ScrubError, pump};
use crate::scrub::{Framing, Limits, Remover};

/// Longest value that is held for a filter. Nobody else's memory is at stake here, so it is more
/// generous than a gateway's record bound.
const MAX_HELD_BYTES: usize = 64 << 20;
/// Copies JSON from `input` to `output` without what the queries select. Every occurrence of a
/// repeated name is treated alike. What was decided before an error is written.
///
/// # Errors
/// [`ScrubError`]; queries are read, all of them, before the input is.
pub(super) fn remove(
    queries: &[String],
    framing: Framing,
    input: impl Read,
    output: impl Write,
) -> Result<(), ScrubError> {
    let limits = Limits { record: MAX_HELD_BYTES, ..Limits::default() };
    let mut remover = Remover::new(queries, limits, framing).map_err(ScrubError::Queries)?;
    pump(input, output, |step, out| match step {
        Some(piece) => remover.feed(piece, out),
        None => remover.finish(out),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;

    use super::*;

    fn removed(queries: &[&str], input: &str) -> (Result<(), ScrubError>, String) {
        let queries: Vec<String> = queries.iter().map(|query| (*query).to_owned()).collect();
        let mut out = Vec::new();
        let result = remove(&queries, Framing::Document, input.as_bytes(), &mut out);
        (result, String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_is_selected_goes() {
        let (result, out) =
            removed(&["$..email", "$[?@.secret]"], r#"[{"email":1,"id":2},{"secret":1},{"a":{"email":3}}]"#);
        assert!(result.is_ok());
        assert_eq!(out, r#"[{"id":2},{"a":{}}]"#);
    }

    #[test]
    fn all_wrong_queries_are_named_and_nothing_is_read() {
        let (result, out) = removed(&["$.a[", "$.fine", "@.b", "c"], "not even JSON");
        let words = result.unwrap_err().to_string();
        assert!(words.contains("`$.a[`") && words.contains("`@.b`") && words.contains("`c`"), "{words}");
        assert!(out.is_empty());
    }

    #[test]
    fn input_that_is_not_json_is_told_by_place() {
        let (result, out) = removed(&["$.a"], r#"{"b":1,"a":x}"#);
        assert_eq!(result.unwrap_err().to_string(), "the input cannot be read: malformed at byte 11");
        assert_eq!(out, r#"{"b":1"#);
    }

    /// A list that is made while it is read.
    struct Endless {
        left: u64,
    }

    impl Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let element: &[u8] = match self.left {
                0 => return Ok(0),
                1 => b"{}]",
                _ => br#"{"name":"Somebody","email":"somebody@example.org","tags":["a","b"]},"#,
            };
            self.left -= 1;
            into.get_mut(..element.len()).unwrap().copy_from_slice(element);
            Ok(element.len())
        }
    }

    #[test]
    fn a_stream_is_as_long_as_it_likes() {
        struct ByteCounter(u64);
        impl Write for ByteCounter {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len() as u64;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let input = io::Cursor::new(b"[").chain(Endless { left: 100_001 });
        let mut count = ByteCounter(0);
        remove(&["$[*].email".to_owned()], Framing::Document, input, &mut count).unwrap();
        assert_eq!(count.0, 1 + 100_000 * br#"{"name":"Somebody","tags":["a","b"]},"#.len() as u64 + 3);
    }
}
