//! Masks passwords in the excerpts of configuration files that findings show.
//!
//! An excerpt also shows the lines around its finding, so every finding near a password would print it. The masked text
//! is as long as the text itself, so the places of findings count in both.

/// Schemes after which a password is masked even without `//`, in the way of a typing error.
const SCHEMES: [&str; 2] = ["postgres:", "postgresql:"];

/// Returns the text with asterisks in place of passwords: those in the user part of a URL, and values of `password`.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let mut hidden = hidden_ranges(line);
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
