//! Names of fields: those that a mapping knows, as an error names a field by them.

use std::collections::HashSet;

use super::code;

/// Maximum letters of the name of a field with its path.
const MAX_NAME: usize = 128;
/// Maximum digits of a position in a path. A longer number can be an id.
const MAX_POSITION: usize = 3;

/// Letters between the names of a path: those of JSONPath, of a JSON Pointer and of its URI fragment.
const SEPARATORS: [char; 9] = ['.', '/', '[', ']', '\'', '"', '$', '#', '@'];

/// Names of the route's own mapping.
#[derive(Debug, Default)]
pub(super) struct KnownNames {
    /// In lower case.
    names: HashSet<String>,
    /// The words of the names, in lower case.
    words: HashSet<String>,
}

impl KnownNames {
    pub(super) fn add(&mut self, name: &str) {
        self.words.extend(code::split(name).map(str::to_lowercase));
        self.names.insert(name.to_lowercase());
    }

    /// True for the name of a field, as the mapping writes it or in another case.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(&name.to_lowercase())
    }

    /// True for a word of a name, in lower case.
    pub(super) fn has_word(&self, word: &str) -> bool {
        self.words.contains(word)
    }

    /// Returns the names and positions of a path (`email`, `address.city`, `/items/0/email`); `None` if a part of it is
    /// unknown.
    pub(super) fn read<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        if text.len() > MAX_NAME {
            return None;
        }
        if self.has(text) {
            return Some(vec![text]);
        }
        let parts: Vec<&str> = text.split(SEPARATORS).filter(|part| !part.is_empty()).collect();
        let is_position = |part: &str| {
            part == "*" || (part.len() <= MAX_POSITION && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let is_path = parts.iter().all(|part| self.has(part) || is_position(part))
            && parts.iter().any(|part| self.has(part));
        is_path.then_some(parts)
    }
}

/// Returns the names of members in a JSONPath, without those in a filter.
pub(super) fn member_names(path: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = path.trim_start_matches(['$', '@']);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            if !name.is_empty() && name != "*" {
                names.push(name.to_owned());
            }
            rest = after;
        } else if first == '[' {
            let (inside, after) = bracket(rest);
            names.extend(quoted_names(inside));
            rest = after;
        } else {
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    names
}

/// True if a path selects by names and wildcards alone: it has neither a filter nor a position.
pub fn is_unconditional(path: &str) -> bool {
    let mut rest = path;
    while let Some(at) = rest.find('[') {
        let (inside, after) = bracket(rest.get(at..).unwrap_or_default());
        let selectors = inside.trim();
        let is_names = selectors.starts_with(['\'', '"']) && !selectors.contains('?');
        if !is_names && selectors != "*" {
            return false;
        }
        rest = after;
    }
    true
}

/// Splits a text that begins with a bracket into the content of the bracket and the text after it.
fn bracket(text: &str) -> (&str, &str) {
    let (mut depth, mut quote, mut is_escaped) = (0_u32, None, false);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            _ if is_escaped => is_escaped = false,
            (Some(_), '\\') => is_escaped = true,
            (Some(open), letter) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, '[') => depth += 1,
            (None, ']') if depth <= 1 => {
                let inside = text.get(1..at).unwrap_or_default();
                return (inside, text.get(at + 1..).unwrap_or_default());
            }
            (None, ']') => depth -= 1,
            (None, _) => {}
        }
    }
    (text.get(1..).unwrap_or_default(), "")
}

/// Returns the names in the content of a bracket: `'a', "b"`. Names with an escape are left out.
fn quoted_names(inside: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = inside.trim_start();
    while let Some(quote) = rest.chars().next().filter(|letter| ['\'', '"'].contains(letter)) {
        let Some((name, after)) = rest.get(1..).and_then(|rest| rest.split_once(quote)) else { break };
        if name.contains('\\') {
            break;
        }
        names.push(name.to_owned());
        rest = after.trim_start().strip_prefix(',').unwrap_or_default().trim_start();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_from_paths() {
        for (path, names) in [
            ("$.items[*]", vec!["items"]),
            ("@.address.postal_code", vec!["address", "postal_code"]),
            ("$..name", vec!["name"]),
            ("@['e mail', \"b\"][0]['c']", vec!["e mail", "b", "c"]),
            ("@.a[?@.jane == 'x]'].b", vec!["a", "b"]),
            ("@['it\\'s'].b", vec!["b"]),
            ("@", vec![]),
            ("$.*.c", vec!["c"]),
            ("@.straße", vec!["straße"]),
            ("@.a[", vec!["a"]),
        ] {
            assert_eq!(member_names(path), names, "{path}");
        }
    }

    #[test]
    fn a_filter_or_a_position_is_a_condition() {
        for path in ["$.errors[*].field", "$..field", "$['a', \"b\"][*]", "$", "$.*"] {
            assert!(is_unconditional(path), "{path}");
        }
        for path in [
            "$.errors[0]",
            "$.errors[?@.a == 1].b",
            "$.errors[1:2]",
            "$.errors[-1]",
            "$['a', ?@.b]",
            "$[",
            "$[*, 0]",
        ] {
            assert!(!is_unconditional(path), "{path}");
        }
    }

    #[test]
    fn a_path_of_known_names_and_short_positions_is_read() {
        let mut known = KnownNames::default();
        ["email", "address", "e mail", "birthDate"].iter().for_each(|name| known.add(name));
        for text in [
            "email",
            "Email",
            "e mail",
            "address.email",
            "/address/0/email",
            "#/address",
            "$.address[*].email",
            "address[12].email",
            "$['address']",
        ] {
            assert!(known.read(text).is_some(), "{text}");
        }
        for text in [
            "",
            "0",
            "*",
            "jane",
            "jane.email",
            "email.jane@example.org",
            "address.4711.email",
            "address email",
            "email:",
            "émail",
            "e%6Dail",
            "birth",
            &"email.".repeat(30),
        ] {
            assert!(known.read(text).is_none(), "{text}");
        }
        assert!(known.has_word("birth") && known.has_word("date") && !known.has_word("jane"));
    }
}
