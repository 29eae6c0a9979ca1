//! `audit processing`: the record of processing activities (GDPR Art. 30) of the packs in force.

use std::io::{self, Write};

use serde_json::json;

use crate::cli::Format;
use crate::policy::{Activity, Pack};

/// Prints the activities of each pack: a line of JSON or a paragraph of text for each.
///
/// # Errors
/// If writing fails.
pub(in crate::cli) fn print(packs: &[&Pack], format: Format, out: &mut dyn Write) -> io::Result<u8> {
    for pack in packs {
        let manifest = pack.manifest();
        match format {
            Format::Json => {
                for activity in &manifest.processing {
                    let Activity { purpose, basis, categories, recipients, origin, retention, transfers } =
                        activity;
                    let line = json!({
                        "pack": manifest.title, "version": manifest.version,
                        "purpose": purpose, "basis": basis.name(), "categories": categories,
                        "recipients": recipients, "origin": origin, "retention": retention, "transfers": transfers,
                    });
                    writeln!(out, "{line}")?;
                }
            }
            Format::Text => {
                writeln!(
                    out,
                    "{}, version {}\ncontact: {}",
                    manifest.title, manifest.version, manifest.contact
                )?;
                for activity in &manifest.processing {
                    paragraph(activity, out)?;
                }
            }
        }
    }
    Ok(0)
}

fn paragraph(activity: &Activity, out: &mut dyn Write) -> io::Result<()> {
    let Activity { purpose, basis, categories, recipients, origin, retention, transfers } = activity;
    writeln!(out, "\n{purpose} ({})", basis.name())?;
    writeln!(out, "  categories  {}", categories.join(", "))?;
    writeln!(out, "  recipients  {}", recipients.join(", "))?;
    writeln!(out, "  origin      {origin}")?;
    writeln!(out, "  kept        {retention}")?;
    writeln!(out, "  transfers   {transfers}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::pack::read_pack;

    #[test]
    fn each_activity_has_the_members_of_article_30() {
        let pack = read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/perspectium")).unwrap();
        let printed = |format| {
            let mut out = Vec::new();
            print(&[&pack], format, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let lines: Vec<serde_json::Value> =
            printed(Format::Json).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), pack.manifest().processing.len());
        for line in &lines {
            for member in ["purpose", "basis", "categories", "recipients", "origin", "retention", "transfers"]
            {
                assert!(
                    line.get(member).is_some_and(|value| *value != json!("") && *value != json!([])),
                    "{line}"
                );
            }
        }
        let text = printed(Format::Text);
        assert!(lines.iter().all(|line| text.contains(line["purpose"].as_str().unwrap())), "{text}");
    }
}
