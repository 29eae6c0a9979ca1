//! Names of fields: those that a mapping knows, as an error names a field by them.

use std::collections::HashSet;

/// Maximum letters of the name of a field with its path.
const MAX_NAME: usize = 128;
/// Maximum digits of a position in a path. A longer number can be an id.
const MAX_POSITION: usize = 2;
/// Maximum positions of a path. More can be a date or an address.
const MAX_POSITIONS: usize = 2;

/// Beginnings of a path before its first name: of JSONPath, of the URI fragment of a JSON Pointer, and of a JSON Pointer.
const BEGINNINGS: [&str; 3] = ["$.", "#/", "/"];

/// Names of the route's own mapping.
#[derive(Debug, Default)]
pub(super) struct KnownNames(HashSet<String>);

impl KnownNames {
    pub(super) fn add(&mut self, name: &str) {
        self.0.insert(name.to_owned());
    }

    /// True for the name of a field, as the mapping writes it.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// Returns the names and positions of a path (`email`, `address.city`, `/items/0/email`, `items[0].email`); `None` if it is
    /// none, or if a name in it is unknown. A position follows a name.
    pub(super) fn read<'t>(&self, text: &'t str) -> Option<Vec<&'t str>> {
        if text.len() > MAX_NAME {
            return None;
        }
        if self.has(text) {
            return Some(vec![text]);
        }
        let mut rest = BEGINNINGS.iter().find_map(|beginning| text.strip_prefix(beginning)).unwrap_or(text);
        let (mut parts, mut positions, mut is_after_name, mut before) = (Vec::new(), 0, false, '.');
        loop {
            let (part, after) = rest.split_at(rest.find(['.', '/', '[', ']']).unwrap_or(rest.len()));
            let is_position = before != '.' && is_position(part);
            let is_allowed = if is_position {
                is_after_name && positions < MAX_POSITIONS
            } else {
                before != '[' && self.has(part)
            };
            if !is_allowed {
                return None;
            }
            positions += usize::from(is_position);
            is_after_name = !is_position;
            parts.push(part);
            let after = if before == '[' { after.strip_prefix(']')? } else { after };
            let Some(next) = after.chars().next() else { return Some(parts) };
            before = Some(next).filter(|next| ['.', '/', '['].contains(next))?;
            rest = after.get(1..)?;
        }
    }
}

fn is_position(part: &str) -> bool {
    (1..=MAX_POSITION).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
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
        if !is_names(inside) {
            return false;
        }
        rest = after;
    }
    true
}

/// True if the content of a bracket is quoted names and wildcards, with commas between them.
fn is_names(inside: &str) -> bool {
    let mut rest = inside.trim();
    loop {
        let after = match rest.chars().next() {
            Some('*') => rest.get(1..),
            Some(quote @ ('\'' | '"')) => after_quoted(rest, quote),
            _ => None,
        };
        let Some(after) = after.map(str::trim_start) else { return false };
        if after.is_empty() {
            return true;
        }
        let Some(next) = after.strip_prefix(',') else { return false };
        rest = next.trim_start();
    }
}

/// Returns the text after a quoted name, with which `text` begins.
fn after_quoted(text: &str, quote: char) -> Option<&str> {
    let mut is_escaped = false;
    let end = text.char_indices().skip(1).find(|(_, letter)| {
        let ends = *letter == quote && !is_escaped;
        is_escaped = *letter == '\\' && !is_escaped;
        ends
    });
    text.get(end?.0 + 1..)
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
        for path in [
            "$.errors[*].field",
            "$..field",
            "$['a', \"b\"][*]",
            "$",
            "$.*",
            "$['what?']",
            "$[*,'a, 0']",
            "$['it\\'s', 'b']",
        ] {
            assert!(is_unconditional(path), "{path}");
        }
        for path in [
            "$.errors[0]",
            "$.errors[?@.a == 1].b",
            "$.errors[1:2]",
            "$.errors[-1]",
            "$['a', ?@.b]",
            "$.errors['a', 0]",
            "$['a', 1:2]",
            "$['a' 'b']",
            "$['a',]",
            "$['a",
            "$[",
            "$[*, 0]",
        ] {
            assert!(!is_unconditional(path), "{path}");
        }
    }

    #[test]
    fn a_path_of_known_names_and_short_positions_is_read() {
        let mut known = KnownNames::default();
        ["email", "address", "e mail", "birth_date", "customers"].iter().for_each(|name| known.add(name));
        for text in [
            "email",
            "e mail",
            "address.email",
            "/address/0/email",
            "#/address",
            "$.address",
            "address[12].email",
            "address[1]/email/2",
            "address/email[0]",
        ] {
            assert!(known.read(text).is_some(), "{text}");
        }
        for text in [
            "",
            "0",
            "*",
            "jane",
            "Email",
            "EMAIL",
            "jane.email",
            "email.jane@example.org",
            "email@192.168.1.25",
            "email[192.168.1.25]",
            "email.192.168.1.25",
            "birth_date/03/02/80",
            "birth_date[3][2][80]",
            "birth_date[3]/2",
            "birth_date.3",
            "customers/042/email",
            "customers/1/email/2/address/3",
            "0/email",
            "/0/email",
            "[0]",
            "email[0",
            "email]0[",
            "email[0]x",
            "email[]",
            "email[address]",
            "email/",
            "email..address",
            "email#address",
            "@.email",
            "$$.email",
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
    }
}
