//! Paths of a proposal: RFC 9535 with names, `[*]` for elements, `.*` for the values of a map, `..` for recursion.

use std::fmt::{self, Write};
use std::sync::Arc;

/// Maximum number of steps of a path that is read.
const MAX_STEPS: usize = 256;

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PathStep {
    /// The member with this name. It is shared, because each leaf below it has the step in its path.
    Member(Arc<str>),
    /// All elements of an array.
    Elements,
    /// All values of a map whose names are ids.
    Values,
    /// The next step is taken from the node and from everything below it.
    Descend,
}

/// A path without its root.
pub(crate) type Steps = Vec<PathStep>;

/// Writes a path from its root, `$` or `@`.
pub(crate) fn render(root: char, steps: &[PathStep]) -> String {
    let mut text = String::from(root);
    let mut deep = false;
    for step in steps {
        // Writing to a string cannot fail.
        let _ = match step {
            PathStep::Descend => {
                deep = true;
                continue;
            }
            PathStep::Member(name) if is_shorthand(name) => {
                text.push_str(if deep { ".." } else { "." });
                text.write_str(name)
            }
            PathStep::Member(name) => {
                text.push_str(if deep { ".." } else { "" });
                write!(text, "['{}']", Quoted(name))
            }
            PathStep::Elements => write!(text, "{}[*]", if deep { ".." } else { "" }),
            PathStep::Values => write!(text, "{}*", if deep { ".." } else { "." }),
        };
        deep = false;
    }
    text
}

/// True if a name can be written after a dot (RFC 9535, 2.5.1.1).
fn is_shorthand(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// A name between single quotes.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\'' | '\\' => write!(f, "\\{c}")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Reads a path with names, positions and wildcards. A position counts as `[*]`. Returns `None` for other selectors.
pub(crate) fn parse(text: &str) -> Option<Steps> {
    let mut rest = text.strip_prefix(['$', '@'])?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() >= MAX_STEPS {
            return None;
        }
        if let Some(after) = rest.strip_prefix("..") {
            steps.push(PathStep::Descend);
            rest = after;
            if !rest.starts_with('[') {
                rest = shorthand(rest, &mut steps)?;
                continue;
            }
        }
        rest = match rest.strip_prefix('.') {
            Some(after) => shorthand(after, &mut steps)?,
            None => bracketed(rest.strip_prefix('[')?, &mut steps)?,
        };
    }
    Some(steps)
}

/// Reads a name or `*` after a dot. Returns the rest.
fn shorthand<'t>(text: &'t str, steps: &mut Steps) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix('*') {
        steps.push(PathStep::Values);
        return Some(rest);
    }
    let length = text.find(['.', '[']).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(length)?;
    steps.push(PathStep::Member(Some(name).filter(|name| !name.is_empty())?.into()));
    Some(rest)
}

/// Reads a selector after `[`. Returns the rest after `]`.
fn bracketed<'t>(text: &'t str, steps: &mut Steps) -> Option<&'t str> {
    if let Some(rest) = text.strip_prefix("*]") {
        steps.push(PathStep::Elements);
        return Some(rest);
    }
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (index, rest) = text.split_once(']')?;
        index.parse::<i64>().ok()?;
        steps.push(PathStep::Elements);
        return Some(rest);
    };
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            steps.push(PathStep::Member(name.into()));
            return text.get(at + 1..)?.strip_prefix(']');
        }
        if c != '\\' {
            name.push(c);
            continue;
        }
        name.push(match chars.next()?.1 {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let digits: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                // A surrogate stands for a character that no name of a field needs.
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            other => other,
        });
    }
    None
}

/// Replaces each selector in brackets that is no name by `[*]`: the classifier looks at names only.
pub fn without_conditions(path: &str) -> String {
    let mut plain = String::new();
    let mut rest = path;
    while let Some(at) = rest.find('[') {
        let (before, bracketed) = rest.split_at(at);
        plain.push_str(before);
        let end = closing_bracket(bracketed).unwrap_or(bracketed.len());
        let (selector, after) = bracketed.split_at(end);
        plain.push_str(if selector.starts_with("['") || selector.starts_with("[\"") {
            selector
        } else {
            "[*]"
        });
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// Returns the offset after the bracket that closes the first one. Brackets in quotes do not count.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth <= 1 => return Some(at + c.len_utf8()),
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_of_a_record_path_become_elements() {
        for (path, plain) in [
            ("$.items[*]", "$.items[*]"),
            ("$.items[?@.kind == 'a]' && @.x[0]].inner[-1]", "$.items[*].inner[*]"),
            ("$['a[b]'][\"c\"][0:2]", "$['a[b]'][\"c\"][*]"),
            ("$", "$"),
            ("$.a[", "$.a[*]"),
        ] {
            assert_eq!(without_conditions(path), plain);
        }
    }

    #[test]
    fn a_path_is_read_as_it_is_written() {
        for text in [
            "$",
            "@.id",
            "@.a.b[*].c",
            "$.map.*.x",
            "@['first name'].x",
            "@['it\\'s']",
            "@.manager..name",
            "@.a..['b-c']",
        ] {
            let root = text.chars().next().unwrap();
            assert_eq!(render(root, &parse(text).unwrap()), text);
        }
        assert_eq!(render('$', &parse("$['a']['b'][3]").unwrap()), "$.a.b[*]");
        for text in ["", "a", "$.", "$[?@.a]", "$['a'", "$[1:2]", "$x"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(render('@', &[PathStep::Member("a\nb".into())]), "@['a\\u000ab']");
    }
}
