//! Text in columns of a limited width, for a terminal.

/// Splits a text at spaces into lines of at most `width` characters. A longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Cuts a text to `width` characters; the last one of a text that is cut is `…`.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_split_at_spaces() {
        assert_eq!(wrapped("a bc def", 4), ["a bc", "def"]);
        assert_eq!(wrapped("a longest b", 4), ["a", "longest", "b"]);
        assert_eq!(wrapped("", 4), [""]);
    }

    #[test]
    fn a_cut_text_ends_with_an_ellipsis() {
        assert_eq!((cut("Zoë", 3), cut("Zoë A", 4)), ("Zoë".to_owned(), "Zoë…".to_owned()));
    }
}
