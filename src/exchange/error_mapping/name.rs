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

#[cfg(test)]
mod tests {
    use super::*;

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
