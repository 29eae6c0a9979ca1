//! Export of a pack for other Cedar tools: the generated schema, the rules as they are evaluated, the entities.
//!
//! Editors, validators and analysers understand Cedar but not this program. The export contains the rules exactly
//! as the gateway evaluates them: annotations are desugared to conditions, and the rules of the base are included.
//! Invariant: the rules validate strictly against the schema, and the entities conform to it.

use std::fmt::Write as _;

use super::cedar_model::{CedarModel, schema};
use super::pack::Pack;

/// One pack in the file formats of Cedar.
#[derive(Clone, Debug)]
pub struct CedarFiles {
    /// Content of `schema.cedarschema`.
    pub schema: String,
    /// Content of `policies.cedar`: the rules in the order of the pack.
    pub policies: String,
    /// Content of `entities.json`: a recipient of each kind, the kinds with their groups, the categories.
    /// Purposes are actions and are part of the schema.
    pub entities: String,
}

impl CedarFiles {
    /// Generates the files of a pack.
    ///
    /// # Errors
    /// Returns Cedar's message if the entities cannot be generated or written. That would be a bug in this
    /// program.
    pub fn of(pack: &Pack) -> Result<CedarFiles, String> {
        let heading = heading(pack);
        let entities = CedarModel::new(pack.vocabulary())?.entities;
        let mut json = Vec::new();
        entities.write_to_json(&mut json).map_err(|error| error.to_string())?;
        Ok(CedarFiles {
            schema: format!("{heading}\n{}", schema(pack.vocabulary())),
            policies: format!("{heading}{}", policies(pack)),
            entities: String::from_utf8(json).map_err(|error| error.to_string())?,
        })
    }
}

/// Returns comments that name the pack and its revision.
fn heading(pack: &Pack) -> String {
    let manifest = pack.manifest();
    // A line break in the title would end the comment.
    let title = manifest.title.split_whitespace().collect::<Vec<_>>().join(" ");
    format!(
        "// {title}, version {}, revision {}\n// Written by `purposegate policy schema`; edit the pack.\n",
        manifest.version.split_whitespace().collect::<Vec<_>>().join(" "),
        pack.revision()
    )
}

fn policies(pack: &Pack) -> String {
    let mut text = String::new();
    let mut file = None;
    for rule in pack.rulebook().rules() {
        let name = rule.location().source.name();
        if file != Some(name) {
            let _ = write!(text, "\n// --- {}\n", name.rsplit('/').next().unwrap_or_default());
            file = Some(name);
        }
        let _ = write!(text, "\n{}\n", rule.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Source;

    const MANIFEST: &str = "title = \"T\\nforbid (principal, action, resource);\"\nversion = \"1\"\n\
        announced = 2026-01-01\neffective = 2026-01-01\ncontact = \"c\"\n[bases]\nconsent = \"c\"\n\
        [[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    const RULES: &str = "@id(\"asked\") @clause(\"C\") @basis(\"consent\")\n\
        permit (principal in Kind::\"staff\", action, resource == Category::\"email\");\n\
        @id(\"erased\") @clause(\"C\") forbid (principal, action, resource) when { context.erased };\n";

    #[test]
    fn rules_are_exported_desugared_and_titles_stay_within_their_comment() {
        let pack =
            Pack::load(&[Source::new("p/pack.toml", MANIFEST), Source::new("p/rules.cedar", RULES)]).unwrap();
        let files = CedarFiles::of(&pack).unwrap();
        let meant = "when { context.consent == \"given\" }\nwhen { context.objection == \"none\" };";
        assert!(files.policies.contains(meant), "{}", files.policies);
        assert!(files.policies.contains("// --- rules.cedar\n"), "{}", files.policies);
        assert!(files.policies.starts_with("// T forbid (principal, action, resource);, version 1, "));
        let consents = "consent: String, // none, given, refused, withdrawn, expired\n";
        assert!(files.schema.contains(consents), "{}", files.schema);
    }
}
