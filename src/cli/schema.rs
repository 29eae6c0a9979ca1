//! `purposegate policy schema`: a pack as other Cedar tools read it.

use std::io::{self, Write};
use std::path::Path;

use super::findings::unusable;
use super::output::ExitStatus;
use crate::config::pack::read_pack;
use crate::finding::Finding;
use crate::policy::export::CedarFiles;

/// The names of the files, as Cedar's own tools have them in their examples.
const SCHEMA: &str = "schema.cedarschema";
const POLICIES: &str = "policies.cedar";
const ENTITIES: &str = "entities.json";

/// Prints schema and rules, each below a heading, or writes them and the entities into a folder.
pub(super) fn write(
    policy: &Path,
    folder: Option<&Path>,
    out: &mut dyn Write,
    words: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let files = read_pack(policy).and_then(|pack| {
        let wrong = |error| vec![Finding::error("bad-vocabulary", format!("no Cedar entities: {error}"))];
        CedarFiles::of(&pack).map_err(wrong)
    });
    let CedarFiles { schema, policies, entities } = match files {
        Ok(files) => files,
        Err(findings) => return unusable(&findings, words),
    };
    let Some(folder) = folder else {
        // Two texts: Cedar has no file that holds a schema and policies.
        writeln!(out, "// ===== {SCHEMA} =====\n{schema}\n// ===== {POLICIES} =====\n{policies}")?;
        return Ok(ExitStatus::Success);
    };
    if folder.join("pack.toml").exists() {
        let message = format!("{} holds a policy pack", folder.display());
        let hint = "the files would become rules of it; name another folder";
        return unusable(&[Finding::error("folder-holds-pack", message).hint(hint)], words);
    }
    let files = [(SCHEMA, schema), (POLICIES, policies), (ENTITIES, entities)];
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text)));
    if let Err(error) = written {
        let message = format!("cannot write to {}: {error}", folder.display());
        return unusable(&[Finding::error("unwritable-folder", message)], words);
    }
    writeln!(words, "wrote {SCHEMA}, {POLICIES} and {ENTITIES} to {}", folder.display())?;
    Ok(ExitStatus::Success)
}
