//! `scrub --remove`: removes the nodes that JSONPath queries select.
//!
//! It streams: only values that a filter or an index from the end depends on are held, up to [`MAX_HELD_BYTES`].

use std::io::{Read, Write};

use super::{ScrubError, pump};
use crate::scrub::{Framing, Limits, Remover};

/// Maximum number of bytes that are held. The process works for a single user, so the limit is higher than a gateway's.
const MAX_HELD_BYTES: usize = 64 << 20;

/// Copies JSON from `input` to `output` without the nodes that the queries select. Every occurrence of a duplicate name is
/// treated alike. Output that was decided before an error is written.
///
/// # Errors
/// [`ScrubError`]. All queries are parsed before the input is read.
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
    fn selected_nodes_are_removed() {
        let (result, out) =
            removed(&["$..email", "$[?@.secret]"], r#"[{"email":1,"id":2},{"secret":1},{"a":{"email":3}}]"#);
        assert!(result.is_ok());
        assert_eq!(out, r#"[{"id":2},{"a":{}}]"#);
    }

    #[test]
    fn every_wrong_query_is_reported_and_nothing_is_read() {
        let (result, out) = removed(&["$.a[", "$.fine", "@.b", "c"], "not even JSON");
        let words = result.unwrap_err().to_string();
        assert!(words.contains("`$.a[`") && words.contains("`@.b`") && words.contains("`c`"), "{words}");
        assert!(out.is_empty());
    }

    #[test]
    fn malformed_json_is_reported_with_its_offset() {
        let (result, out) = removed(&["$.a"], r#"{"b":1,"a":x}"#);
        assert_eq!(result.unwrap_err().to_string(), "the input cannot be read: malformed at byte 11");
        assert_eq!(out, r#"{"b":1"#);
    }

    /// A list that is generated while it is read.
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
            into[..element.len()].copy_from_slice(element);
            Ok(element.len())
        }
    }

    #[test]
    fn a_stream_may_be_longer_than_the_memory_limit() {
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
