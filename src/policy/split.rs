//! Splits a file of rules into its statements.
//!
//! Statements are parsed one by one, so that a syntax error in one does not hide the errors in the others.

use std::ops::Range;

/// Returns the spans of the statements of a file, each up to its semicolon, without leading white space and
/// comments.
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
    // Text after the last semicolon is an incomplete statement; Cedar reports what is missing.
    ranges.extend(start.map(|start| start..text.trim_end().len()));
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn semicolons_in_strings_and_comments_end_no_statement() {
        let text = "// a; b\n@id(\"x;\\\";y\")\npermit (principal); // c;\n\nforbid(a)\n;\npermit";
        let found: Vec<&str> =
            split_statements(text).into_iter().filter_map(|range| text.get(range)).collect();
        assert_eq!(found, ["@id(\"x;\\\";y\")\npermit (principal);", "forbid(a)\n;", "permit"]);
    }
}
