//! Checks what can be checked of names and comments in `src`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use proc_macro2::TokenTree;

use crate::source;

/// Words that an item's or a sentence's description does not begin with: the reader looks for what it is or does.
const OPENINGS: [&str; 3] = ["What", "Whether", "Whoever"];

/// The names of the types that tokens define. Associated types of traits and implementations are none.
fn types(tokens: &[TokenTree], in_impl: bool, found: &mut Vec<String>) {
    let word = |at: usize| match tokens.get(at) {
        Some(TokenTree::Ident(word)) => word.to_string(),
        _ => String::new(),
    };
    let mut header = String::new();
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Ident(ident) => match ident.to_string().as_str() {
                "struct" | "enum" | "union" | "trait" => {
                    found.push(word(at + 1));
                    header = ident.to_string();
                }
                "type" if !in_impl => found.push(word(at + 1)),
                "impl" | "mod" | "fn" => header = ident.to_string(),
                "terms" => found.extend(type_of_list(&tokens[at + 1..])),
                _ => {}
            },
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                types(&inner, ["impl", "trait"].contains(&header.as_str()), found);
            }
            _ => {}
        }
    }
}

/// The name of the type that `terms!(…)` defines: the first word after its attributes.
fn type_of_list(after: &[TokenTree]) -> Option<String> {
    let [TokenTree::Punct(_), TokenTree::Group(list), ..] = after else { return None };
    list.stream().into_iter().find_map(|token| match token {
        TokenTree::Ident(name) => Some(name.to_string()),
        _ => None,
    })
}

#[test]
fn no_type_name_is_defined_twice() {
    let mut defined: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for file in source::files(&source::root()) {
        let mut found = Vec::new();
        if !file.components().any(|part| Path::new(&part).with_extension("").as_os_str() == "tests") {
            types(&source::tokens(&std::fs::read_to_string(&file).unwrap()), false, &mut found);
        }
        for name in found {
            defined.entry(name).or_default().push(file.clone());
        }
    }
    // `$type as u8` in a macro defines nothing.
    defined.retain(|name, _| name.starts_with(char::is_uppercase));
    assert!(defined.len() > 300 && defined.contains_key("Reason"), "are types still found?");
    defined.retain(|_, files| files.len() > 1);
    assert!(defined.is_empty(), "one name for several types: {defined:#?}");
}

/// The lines of a file's comments, each with its number and without its slashes.
fn comments(code: &str) -> impl Iterator<Item = (usize, &str)> {
    code.lines().enumerate().filter_map(|(number, line)| {
        let text = line.trim_start().strip_prefix("//")?.trim_start_matches(['/', '!']);
        Some((number + 1, text.trim()))
    })
}

/// True if a sentence of the line begins with one of the openings; the line before ends with `before`.
fn has_opening(before: &str, line: &str) -> bool {
    let begins = |text: &str| {
        OPENINGS.iter().any(|word| text.strip_prefix(word).is_some_and(|rest| rest.starts_with(' ')))
    };
    let is_first = before.is_empty() || before.ends_with(['.', ':']);
    (is_first && begins(line)) || line.split(". ").skip(1).any(begins)
}

#[test]
fn sentences_of_comments_begin_with_a_verb_or_a_noun() {
    let mut found = Vec::new();
    for file in source::files(&source::root()) {
        let code = std::fs::read_to_string(&file).unwrap();
        let (mut before, mut at) = ("", 0);
        for (number, line) in comments(&code) {
            if has_opening(if number == at + 1 { before } else { "" }, line) {
                found.push(format!("{}:{number}: {line}", file.display()));
            }
            (before, at) = (line, number);
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn an_opening_is_seen_where_a_sentence_begins() {
    assert!(has_opening("", "Whether it is."));
    assert!(has_opening("One.", "What it is."));
    assert!(has_opening("", "One thing. Whoever asks."));
    assert!(!has_opening("It says", "What it is."));
    assert!(!has_opening("", "Whatever comes. It says What it is."));
}
