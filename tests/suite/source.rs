//! Reads the crate's source files as tokens, without comments and without items under `#[cfg(test)]`, for the tests
//! of its structure.
//!
//! Tokens rather than a syntax tree: paths in the arguments of macros count, too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Returns the directory `src`.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Returns every Rust file below a directory, or the file itself.
pub(crate) fn files(below: &Path) -> Vec<PathBuf> {
    if below.is_file() {
        return vec![below.to_owned()];
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(below).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
        .into_iter()
        .filter(|path| path.is_dir() || path.extension().is_some_and(|extension| extension == "rs"))
        .flat_map(|path| files(&path))
        .collect()
}

/// The tokens of a file outside of tests.
pub(crate) fn tokens(code: &str) -> Vec<TokenTree> {
    without_tests(TokenStream::from_str(code).expect("a file of tokens").into_iter().collect())
}

/// Every path that code names: `crate::ledger::Ledger`, also out of a grouped import.
pub(crate) fn paths(tokens: &[TokenTree]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(tokens, "", &mut |path, _| {
        found.insert(path);
    });
    found
}

/// What imports bring into scope: the path by the name under which it is known.
pub(crate) fn imports(tokens: &[TokenTree]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(word) if word == "use" => {
                let end = tokens[at..]
                    .iter()
                    .position(|token| is_punct(token, ';'))
                    .map_or(0, |length| at + length);
                collect(&tokens[at + 1..end.max(at + 1)], "", &mut |path, name| {
                    found.insert(name, path.strip_suffix("::self").map_or(path.clone(), str::to_owned));
                });
            }
            TokenTree::Group(group) => {
                found.extend(imports(&group.stream().into_iter().collect::<Vec<_>>()));
            }
            _ => {}
        }
    }
    found
}

/// Drops the items under `#[cfg(test)]`, at every depth.
fn without_tests(tokens: Vec<TokenTree>) -> Vec<TokenTree> {
    let mut kept = Vec::with_capacity(tokens.len());
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        let attribute = match (&token, tokens.peek()) {
            (TokenTree::Punct(hash), Some(TokenTree::Group(group)))
                if hash.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
            {
                group.stream().to_string().replace(' ', "")
            }
            _ => String::new(),
        };
        if attribute == "cfg(test)" {
            tokens.next();
            skip_item(&mut tokens);
            continue;
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let inner = without_tests(group.stream().into_iter().collect()).into_iter().collect();
                TokenTree::Group(proc_macro2::Group::new(group.delimiter(), inner))
            }
            other => other,
        });
    }
    kept
}

/// Consumes one item: up to its `;`, or its body in braces. An import's braces are no body.
fn skip_item(tokens: &mut std::iter::Peekable<std::vec::IntoIter<TokenTree>>) {
    let mut import = false;
    for token in tokens {
        match token {
            TokenTree::Ident(word) if word == "use" => import = true,
            TokenTree::Group(body) if body.delimiter() == Delimiter::Brace && !import => return,
            end if is_punct(&end, ';') => return,
            _ => {}
        }
    }
}

fn is_punct(token: &TokenTree, sign: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == sign)
}

/// Hands each path of `tokens`, with `prefix` before it, to `found`, with the name under which an import makes it known.
fn collect(tokens: &[TokenTree], prefix: &str, found: &mut dyn FnMut(String, String)) {
    let is_colons = |at: usize| {
        let colon = |at: usize| tokens.get(at).is_some_and(|token| is_punct(token, ':'));
        colon(at) && colon(at + 1)
    };
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Group(group) => {
                collect(&group.stream().into_iter().collect::<Vec<_>>(), "", found);
            }
            TokenTree::Ident(first) => {
                let (mut path, mut name) = (format!("{prefix}{first}"), first.to_string());
                while is_colons(at) {
                    match tokens.get(at + 2) {
                        Some(TokenTree::Ident(next)) => {
                            path = format!("{path}::{next}");
                            if next != "self" {
                                name = next.to_string();
                            }
                        }
                        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                            let inner: Vec<_> = group.stream().into_iter().collect();
                            collect_group(&inner, &path, found);
                        }
                        _ => break,
                    }
                    at += 3;
                }
                if let (Some(TokenTree::Ident(word)), Some(TokenTree::Ident(alias))) =
                    (tokens.get(at), tokens.get(at + 1))
                    && word == "as"
                {
                    name = alias.to_string();
                    at += 2;
                }
                found(path, name);
            }
            _ => {}
        }
    }
}

/// The paths of an import's braces; `self` stands for what is before them.
fn collect_group(tokens: &[TokenTree], before: &str, found: &mut dyn FnMut(String, String)) {
    let own = before.rsplit("::").next().unwrap_or(before).to_owned();
    collect(tokens, &format!("{before}::"), &mut |path: String, name: String| {
        if name == "self" { found(before.to_owned(), own.clone()) } else { found(path, name) }
    });
}
