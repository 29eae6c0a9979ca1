//! The pages of the documentation form a book: links and anchors have targets, and each page is in the summary.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;

use crate::documents::{read, repository};

/// Folders that hold no page of ours.
const FOREIGN: [&str; 2] = ["target", "node_modules"];
const SUMMARY: &str = "docs/SUMMARY.md";

/// Returns every page (`*.md`) of the repository, as a path in it.
pub(crate) fn pages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![repository().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && (!name.starts_with('.') || name == ".github") && !FOREIGN.contains(&&*name) {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.insert(path.strip_prefix(repository()).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    assert!(found.len() >= 30, "{found:?}");
    found
}

/// Returns a page without its fenced blocks.
pub(crate) fn without_blocks(page: &str) -> String {
    let mut fence: Option<&str> = None;
    let mut kept = String::new();
    for line in page.lines() {
        let start = line.trim_start();
        match fence {
            Some(mark) if start.starts_with(mark) => fence = None,
            Some(_) => {}
            None if start.starts_with("```") => fence = Some("```"),
            None => kept.extend([line, "\n"]),
        }
    }
    kept
}

/// Returns a page with the content of inline code left out.
fn without_code(page: &str) -> String {
    Regex::new("``[^`]+(?:`[^`]+)*``|`[^`]+`").unwrap().replace_all(page, "``").into_owned()
}

/// Returns the targets of the links of a page.
fn targets(page: &str) -> Vec<String> {
    let text = without_code(&without_blocks(page));
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    link.captures_iter(&text).map(|found| found[1].to_owned()).collect()
}

/// Returns the anchors of a page as GitHub makes them: letters and digits in lower case, `-` and `_`, a hyphen for each
/// space, and a number after an anchor that occurs again.
pub(crate) fn anchors(page: &str) -> BTreeSet<String> {
    let heading = Regex::new("^#{1,6} +(.+?)[ #]*$").unwrap();
    let link = Regex::new(r"\[([^\]]*)\]\([^)]*\)").unwrap();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for title in without_blocks(page).lines().filter_map(|line| Some(heading.captures(line)?[1].to_owned())) {
        let title = link.replace_all(&title, "$1").to_lowercase();
        let kept = title.chars().filter(|char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'));
        let anchor = kept.collect::<String>().replace(' ', "-");
        let before = seen.entry(anchor.clone()).or_default();
        found.insert(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
        *before += 1;
    }
    found
}

#[test]
fn anchors_are_those_of_the_forge() {
    let page = "# A `b`: c_d\n```sh\n# no heading\n```\n## [E f](g.md)\n## E f\n## §1 – Größe\n";
    let expected = ["a-b-c_d", "e-f", "e-f-1", "1--größe"];
    assert_eq!(anchors(page), expected.map(str::to_owned).into());
}

#[test]
fn links_in_code_do_not_count() {
    let page = "[a](b.md) `[c](d.md)` [`e`](f.md#g)\n```toml\nx = \"[h](i.md)\"\n```\n";
    assert_eq!(targets(page), ["b.md", "f.md#g"]);
}

#[test]
fn every_link_of_every_page_has_a_target() {
    let mut links = 0;
    let mut wrong = Vec::new();
    for name in pages() {
        let page = read(&name);
        let file = repository().join(&name);
        for target in targets(&page).iter().filter(|target| !target.contains("://")) {
            links += 1;
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            let there = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let is_page = there.extension().is_some_and(|extension| extension == "md");
            let has_anchor = || anchors(&std::fs::read_to_string(&there).unwrap()).contains(anchor);
            let is_found = there.exists() && (anchor.is_empty() || (is_page && has_anchor()));
            if !is_found {
                wrong.push(format!("{name} links to {target}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(links >= 150, "{links}");
}

#[test]
fn every_page_of_the_book_is_in_its_summary_once() {
    let mut listed = targets(&read(SUMMARY));
    listed.sort();
    let pages = pages();
    let in_book = pages.iter().filter_map(|name| name.strip_prefix("docs/"));
    let in_book: Vec<&str> = in_book.filter(|name| *name != "SUMMARY.md").collect();
    assert_eq!(listed, in_book);
}

/// Returns the files below a folder whose name ends so.
fn files_below(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files_below(&path, end)
            } else if path.to_string_lossy().ends_with(end) {
                vec![path]
            } else {
                Vec::new()
            }
        })
        .collect()
}

/// Returns the links of a book that lead nowhere.
fn dead_links(book: &Path) -> Vec<String> {
    let link = Regex::new(r#"(?:href|src)="([^"]*)""#).unwrap();
    let mut dead = Vec::new();
    for file in files_below(book, ".html") {
        let text = std::fs::read_to_string(&file).unwrap();
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            if target.contains(':') || path.starts_with('/') {
                continue;
            }
            let there = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            let there = if there.is_dir() { there.join("index.html") } else { there };
            let has_anchor = || {
                std::fs::read_to_string(&there).is_ok_and(|text| text.contains(&format!("id=\"{anchor}\"")))
            };
            let is_found = there.exists() && (anchor.is_empty() || has_anchor());
            if !is_found {
                dead.push(format!("{}: {target}", file.display()));
            }
        }
    }
    dead
}

/// Builds the book, where there is a program for it: `MDBOOK` names it, or the search path has it.
#[test]
fn the_book_can_be_built_and_its_links_lead_somewhere() {
    let program = std::env::var_os("MDBOOK").unwrap_or_else(|| "mdbook".into());
    if let Err(error) = Command::new(&program).arg("--version").output() {
        eprintln!("SKIPPED: the book is not built, mdbook does not run: {error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let book = folder.path().join("book");
    let ran = Command::new(&program)
        .args(["build", "-d", book.to_str().unwrap(), "docs"])
        .current_dir(repository())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && !words.contains("WARN") && !words.contains("ERROR"), "{words}");
    let dead = dead_links(&book);
    assert!(dead.is_empty(), "{dead:#?}");
}
