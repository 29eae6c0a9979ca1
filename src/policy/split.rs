//! A file of rules cut into its statements, each with its place.
//!
//! One statement at a time goes to Cedar, so that a mistake in one does not hide those in the others.

use std::ops::Range;

/// The statements of a file, each up to its semicolon, without leading space and comments.
pub(super) fn split_statements(text: &str) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = None;
    let mut rest = text.char_indices().peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '/' if rest.peek().is_some_and(|&(_, next)| next == '/') => {
                while rest.next().is_some_and(|(_, c)| c != '\n') {}
            }
            '"' => {
                start.get_or_insert(at);
                while let Some((_, c)) = rest.next() {
                    match c {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            ';' => ranges.extend(start.take().map(|start| start..at + 1)),
            c if c.is_whitespace() => {}
            _ => {
                start.get_or_insert(at);
            }
        }
    }
    // What follows the last semicolon is no statement; Cedar says what is missing.
    ranges.extend(start.map(|start| start..text.trim_end().len()));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_end_nothing() {
        let text = "// a; b\n@id(\"x;\\\";y\")\npermit (principal); // c;\n\nforbid(a)\n;\npermit";
        let found: Vec<&str> =
            split_statements(text).into_iter().filter_map(|range| text.get(range)).collect();
        assert_eq!(found, ["@id(\"x;\\\";y\")\npermit (principal);", "forbid(a)\n;", "permit"]);
    }
}
