//! Commands that write packs, or write packs down for other tools.

use std::path::{Path, PathBuf};
use std::process::Command;

use cedar_policy::{Entities, PolicySet, Schema, ValidationMode, Validator};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Exit status, standard output and standard error of `purposegate policy …`.
fn policy(arguments: &[&str]) -> (i32, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_purposegate")).arg("policy").args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What another tool makes of the files in a folder: how many policies there are. Mistakes fail the test.
fn validated(folder: &Path) -> usize {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (schema, warnings) = Schema::from_cedarschema_str(&read("schema.cedarschema")).unwrap();
    assert_eq!(warnings.count(), 0);
    let policies: PolicySet = read("policies.cedar").parse().unwrap();
    Entities::from_json_str(&read("entities.json"), Some(&schema)).unwrap();
    let result = Validator::new(schema).validate(&policies, ValidationMode::Strict);
    assert_eq!(result.validation_errors().count() + result.validation_warnings().count(), 0, "{result}");
    policies.policies().count()
}

#[test]
fn other_cedar_tools_accept_the_schema_and_the_rules() {
    for name in ["one-partner-360", "perspectium"] {
        let (folder, out) = (policies().join(name), tempfile::tempdir().unwrap());
        let (folder, out) = (folder.to_str().unwrap(), out.path().join("cedar"));
        let (status, printed, words) =
            policy(&["schema", "--policy", folder, "--out", out.to_str().unwrap()]);
        assert_eq!((status, printed.as_str()), (0, ""), "{words}");
        assert!(validated(&out) > 30, "{name}");
        // What is printed is the same two texts.
        let (status, printed, _) = policy(&["schema", "--policy", folder]);
        assert_eq!(status, 0);
        for file in ["schema.cedarschema", "policies.cedar"] {
            let text = std::fs::read_to_string(out.join(file)).unwrap();
            assert!(printed.contains(&format!("// ===== {file} =====\n{text}")), "{name}: {file}");
        }
    }
}

#[test]
fn the_schema_is_not_written_into_a_pack() {
    let folder = policies().join("perspectium");
    let (status, _, words) =
        policy(&["schema", "--policy", folder.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(words.contains("folder-holds-pack") || words.contains("holds a policy pack"), "{words}");
    assert!(!folder.join("policies.cedar").exists());
}
