//! `policy schema`: exports a pack for other Cedar tools.

use std::io::{self, Write};
use std::path::Path;

use crate::cli::findings::unusable;
use crate::cli::output::ExitStatus;
use crate::config::pack::read_pack;
use crate::finding::Finding;
use crate::policy::export::CedarFiles;

/// File names, as in the examples of Cedar's own tools.
const SCHEMA: &str = "schema.cedarschema";
const POLICIES: &str = "policies.cedar";
const ENTITIES: &str = "entities.json";

/// Prints the schema and the rules, each below a heading; or writes them and the entities to a folder.
pub(super) fn write(
    policy: &Path,
    folder: Option<&Path>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<ExitStatus> {
    let files = read_pack(policy).and_then(|pack| {
        let wrong = |error| {
            vec![Finding::error(
                "bad-vocabulary",
                format!("the vocabulary cannot be expressed as Cedar entities: {error}"),
            )]
        };
        CedarFiles::of(&pack).map_err(wrong)
    });
    let CedarFiles { schema, policies, entities } = match files {
        Ok(files) => files,
        Err(findings) => return unusable(&findings, err),
    };
    let Some(folder) = folder else {
        // Two texts, because Cedar has no file format that holds both a schema and policies.
        writeln!(out, "// ===== {SCHEMA} =====\n{schema}\n// ===== {POLICIES} =====\n{policies}")?;
        return Ok(ExitStatus::Success);
    };
    if folder.join("pack.toml").exists() {
        let message = format!("{} holds a policy pack", folder.display());
        let hint = "the files would become rules of that pack; name another folder";
        return unusable(&[Finding::error("folder-holds-pack", message).hint(hint)], err);
    }
    let files = [(SCHEMA, schema), (POLICIES, policies), (ENTITIES, entities)];
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| files.iter().try_for_each(|(name, text)| std::fs::write(folder.join(name), text)));
    if let Err(error) = written {
        let message = format!("cannot write to {}: {error}", folder.display());
        return unusable(&[Finding::error("unwritable-folder", message)], err);
    }
    writeln!(err, "wrote {SCHEMA}, {POLICIES} and {ENTITIES} to {}", folder.display())?;
    Ok(ExitStatus::Success)
}
