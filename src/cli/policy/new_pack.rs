//! `policy new`: writes a policy pack that releases nothing personal, as a starting point for the operator's own pack.
//!
//! Invariant: an existing file is never overwritten.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use jiff::civil::Date;

use crate::cli::findings::unusable;
use crate::cli::output::ExitStatus;
use crate::finding::Finding;

/// Names and templates of the files of a new pack.
const FILES: [(&str, &str); 4] = [
    ("pack.toml", include_str!("template/pack.toml")),
    ("rules.cedar", include_str!("template/rules.cedar")),
    ("scenarios/first.toml", include_str!("template/scenarios.toml")),
    ("scenarios/prohibitions.toml", include_str!("template/prohibitions.toml")),
];

/// Writes the pack, and prints the next steps.
pub(super) fn write(
    folder: &Path,
    title: &str,
    contact: &str,
    today: Date,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let refused = occupied(folder).or_else(|| create(folder, title, contact, today).err());
    if let Some(finding) = refused {
        return unusable(&[finding], err);
    }
    let at = folder.display();
    writeln!(err, "wrote a pack that releases nothing personal to {at}; edit its files, then")?;
    for verb in ["test", "coverage", "matrix"] {
        writeln!(err, "  purposegate policy {verb} --policy {at}")?;
    }
    Ok(ExitStatus::Success)
}

/// Parses an argument that is one line of text.
pub(super) fn one_line(text: &str) -> Result<String, String> {
    let is_line = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if is_line { Ok(text.to_owned()) } else { Err("expected one line of text that is not empty".to_owned()) }
}

/// Returns a finding if the folder has a file of a pack: a manifest, or rules that would become part of the new pack.
fn occupied(folder: &Path) -> Option<Finding> {
    let entries = std::fs::read_dir(folder).ok()?;
    let is_of_pack = |path: &Path| {
        path.extension().is_some_and(|found| found == "cedar")
            || FILES.iter().any(|(name, _)| path.ends_with(name))
            || path.ends_with("scenarios")
    };
    let found = entries.flatten().map(|entry| entry.path()).find(|path| is_of_pack(path))?;
    let message = format!("{} holds a policy pack already", folder.display());
    let hint = format!("there is {}; name another folder", found.display());
    Some(Finding::error("folder-holds-pack", message).hint(hint))
}

fn create(folder: &Path, title: &str, contact: &str, today: Date) -> Result<(), Finding> {
    let quoted = |text: &str| toml::Value::from(text).to_string();
    for (name, template) in FILES {
        let file = folder.join(name);
        let text = fill(template, &quoted(title), &quoted(contact), &today.to_string());
        let written = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
            OpenOptions::new().write(true).create_new(true).open(&file)?.write_all(text.as_bytes())
        });
        if let Err(error) = written {
            let message = format!("cannot write {}: {error}", file.display());
            return Err(Finding::error("unwritable-folder", message));
        }
    }
    Ok(())
}

/// Fills the placeholders of a template. A placeholder is the whole value of a line, so a title that looks like one is not
/// replaced.
fn fill(template: &str, title: &str, contact: &str, today: &str) -> String {
    let mut text = String::with_capacity(template.len());
    for line in template.split_inclusive('\n') {
        text.push_str(&match line.split_once(" = ") {
            Some((key, "{title}\n")) => format!("{key} = {title}\n"),
            Some((key, "{contact}\n")) => format!("{key} = {contact}\n"),
            Some((key, "{today}\n")) => format!("{key} = {today}\n"),
            _ => line.to_owned(),
        });
    }
    text
}
