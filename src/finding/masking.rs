//! Masks passwords, and the headers of upstreams, in the excerpts of configuration files that findings show.
//!
//! An excerpt also shows the lines around its finding, so every finding near a password would print it. The masked text
//! is as long as the text itself, so the places of findings count in both.

/// Schemes after which a password is masked even without `//`, in the way of a typing error.
const SCHEMES: [&str; 2] = ["postgres:", "postgresql:"];

/// Keys in `headers` whose values are no secrets but name the place of one.
const PLACES: [&str; 2] = ["file", "env"];

/// Returns the text with asterisks in place of passwords: those in the user part of a URL, values of `password`, and values
/// in the `headers` of an upstream.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut in_headers = false;
    for line in text.split_inclusive('\n') {
        let mut hidden = hidden_ranges(line);
        let trimmed = line.trim_start();
        if trimmed.starts_with('[') {
            in_headers = trimmed.starts_with("[upstream.headers");
        }
        if let Some(begin) = if in_headers { Some(0) } else { headers_begin(line) } {
            hidden.extend(header_values(line, begin));
        }
        hidden.sort_unstable();
        let mut shown_until = 0;
        for (begin, end) in hidden.into_iter().filter(|(begin, end)| begin < end) {
            masked.push_str(line.get(shown_until..begin).unwrap_or_default());
            let begin = begin.max(shown_until);
            masked.extend(std::iter::repeat_n('*', end.saturating_sub(begin)));
            shown_until = end.max(shown_until);
        }
        masked.push_str(line.get(shown_until..).unwrap_or_default());
    }
    masked
}

/// Returns the place after the key `headers` with an inline table, or after a dotted key `headers.NAME`.
fn headers_begin(line: &str) -> Option<usize> {
    let before = line.len() - line.trim_start().len();
    let rest = line.get(before..)?.strip_prefix("headers")?;
    let is_table =
        rest.starts_with('.') || rest.trim_start().strip_prefix('=')?.trim_start().starts_with('{');
    is_table.then_some(before + "headers".len())
}

/// Returns the byte ranges of the texts that a line assigns from `begin` on, but for the names of places.
fn header_values(line: &str, begin: usize) -> Vec<(usize, usize)> {
    let mut ranges = Vec::new();
    let mut at = begin;
    while let Some(equals) = line.get(at..).and_then(|rest| rest.find('=')).map(|found| at + found) {
        let key = line.get(..equals).unwrap_or_default().trim_end().trim_end_matches(['"', '\'']);
        let key = key.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').next();
        let value = line.get(equals + 1..).unwrap_or_default();
        let opening = value.len() - value.trim_start().len();
        at = equals + 1 + opening;
        let Some(quote) = value.trim_start().chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            continue;
        };
        let text = line.get(at + 1..).unwrap_or_default();
        let end = at + 1 + closing(text, quote);
        if !key.is_some_and(|key| PLACES.contains(&key)) {
            ranges.push((at + 1, end));
        }
        at = end;
    }
    ranges
}

/// Returns the length of a text up to the quote that closes it; a backslash escapes the quote of a basic string.
fn closing(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            '\n' | '\r' => return at,
            _ if escaped => escaped = false,
            '\\' if quote == '"' => escaped = true,
            char if char == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// Returns the byte ranges of a line that hold passwords.
fn hidden_ranges(line: &str) -> Vec<(usize, usize)> {
    let line = line.trim_end_matches(['\r', '\n']);
    let lower = line.to_ascii_lowercase();
    let after = |word: &'static str| lower.match_indices(word).map(move |(at, _)| at + word.len());
    let urls = SCHEMES.iter().flat_map(|scheme| after(scheme)).chain(after("://"));
    let in_urls = urls.filter_map(|begin| user_password(line, begin));
    in_urls.chain(after("password").filter_map(|begin| assigned(line, begin))).collect()
}

/// Returns the range between the first colon and the last `@` of a URL's rest, which begins at `begin`. The password may
/// hold characters that a URL would have to escape, so the path does not end the search.
fn user_password(line: &str, begin: usize) -> Option<(usize, usize)> {
    let rest = line.get(begin..)?;
    let rest = rest.split(['"', '\'']).next()?;
    let at = rest.rfind('@')?;
    let colon = rest.get(..at)?.find(':')?;
    Some((begin + colon + 1, begin + at))
}

/// Returns the range of the value in `password = "…"`, or in `password=…` of a URL. `begin` is the end of the word.
fn assigned(line: &str, begin: usize) -> Option<(usize, usize)> {
    let rest = line.get(begin..)?;
    let value = rest.trim_start_matches(['"', '\'']).trim_start().strip_prefix('=')?.trim_start();
    let (quote, value) = match value.strip_prefix(['"', '\'']) {
        Some(quoted) => (value.get(..1), quoted),
        None => (None, value),
    };
    if value.starts_with('=') {
        return None;
    }
    let begin = line.len() - value.len();
    let length = match quote {
        Some(quote) => value.rfind(quote),
        None => value.find(['&', '"', '\'', ' ']),
    };
    Some((begin, begin + length.unwrap_or(value.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_masked_wherever_it_stands() {
        for (line, shown) in [
            ("url = \"postgres://u:secret@h/db\"", "url = \"postgres://u:******@h/db\""),
            ("url = \"postgres://u:se/c@r?#t@h/db\"\n", "url = \"postgres://u:*********@h/db\"\n"),
            ("url = 'PostgreSQL:u:secret@h'", "url = 'PostgreSQL:u:******@h'"),
            ("url = \"postgre://u:secret@h\" # x@y", "url = \"postgre://u:******@h\" # x@y"),
            (
                "url = \"postgres://u@h/db?password=secret&sslmode=require\"",
                "url = \"postgres://u@h/db?password=******&sslmode=require\"",
            ),
            ("password = \"secret\"", "password = \"******\""),
            ("'password'='sec\"ret'", "'password'='*******'"),
            ("# postgres://u:secret@h", "# postgres://u:******@h"),
            ("a = \"p://u:ä@h\"\nb = 1\n", "a = \"p://u:**@h\"\nb = 1\n"),
        ] {
            assert_eq!(masked(line), shown);
            assert_eq!(masked(line).len(), line.len());
        }
    }

    #[test]
    fn values_of_headers_are_masked_but_not_where_they_are() {
        for (text, shown) in [
            (
                "headers = { authorization = \"Bearer s\", x-key = { file = \"f\" }, 'x-e' = 'a=b' }\nname = \"crm\"\n",
                "headers = { authorization = \"********\", x-key = { file = \"f\" }, 'x-e' = '***' }\nname = \"crm\"\n",
            ),
            ("  headers.x-key = \"s\\\"t\" # c", "  headers.x-key = \"****\" # c"),
            (
                "[upstream.headers]\nx-key = \"s\"\ny = { env = \"E\" }\n[[route]]\nname = \"a\"",
                "[upstream.headers]\nx-key = \"*\"\ny = { env = \"E\" }\n[[route]]\nname = \"a\"",
            ),
            ("request-headers = [\"x-a\"]\nheaders = \"x\"", "request-headers = [\"x-a\"]\nheaders = \"x\""),
            ("headers = { x = \"open\n", "headers = { x = \"****\n"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn other_text_stays() {
        for line in [
            "url = \"postgres://u@h:5432/db\"",
            "url = \"http://127.0.0.1:9000/a\"",
            "password-file = \"secrets/ledger\"",
            "context.password == \"x\"",
            "\"@.email\" = \"email\" # the password",
        ] {
            assert_eq!(masked(line), line);
        }
    }
}
