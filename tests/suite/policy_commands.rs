//! `policy new` and `policy schema`, and the pack that was written by following the guide.

use std::path::{Path, PathBuf};

use cedar_policy::{Entities, PolicySet, Schema, ValidationMode, Validator};

use crate::program::{Run, run};

fn policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Runs `purposegate policy …`.
fn policy(arguments: &[&str]) -> Run {
    run([&["policy"], arguments].concat())
}

/// Validates the files of a folder with Cedar and returns the number of policies.
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
    for name in ["one-partner-360", "perspectium", "../tests/packs/site-visitors"] {
        let (folder, out) = (policies().join(name), tempfile::tempdir().unwrap());
        let (folder, out) = (folder.to_str().unwrap(), out.path().join("cedar"));
        let (status, printed, words) =
            policy(&["schema", "--policy", folder, "--out", out.to_str().unwrap()]);
        assert_eq!((status, printed.as_str()), (0, ""), "{words}");
        assert!(validated(&out) > 25, "{name}");
        // The same two texts are printed without `--out`.
        let (status, printed, _) = policy(&["schema", "--policy", folder]);
        assert_eq!(status, 0);
        for file in ["schema.cedarschema", "policies.cedar"] {
            let text = std::fs::read_to_string(out.join(file)).unwrap();
            assert!(printed.contains(&format!("// ===== {file} =====\n{text}")), "{name}: {file}");
        }
    }
}

#[test]
fn schema_is_not_written_into_a_pack() {
    let folder = policies().join("perspectium");
    let (status, _, words) =
        policy(&["schema", "--policy", folder.to_str().unwrap(), "--out", folder.to_str().unwrap()]);
    assert_eq!(status, 2);
    assert!(words.contains("folder-holds-pack") || words.contains("holds a policy pack"), "{words}");
    assert!(!folder.join("policies.cedar").exists());
}

/// Creates a pack of this title in a new folder.
fn new_pack(title: &str) -> (tempfile::TempDir, String) {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("policies/acme").to_str().unwrap().to_owned();
    let (status, out, words) =
        policy(&["new", &folder, "--title", title, "--contact", "privacy@acme.example"]);
    assert_eq!((status, out.as_str()), (0, ""), "{words}");
    assert!(words.contains(&format!("purposegate policy test --policy {folder}")), "{words}");
    (outer, folder)
}

#[test]
fn a_new_pack_loads_passes_and_releases_nothing_personal() {
    let title = r#"Acme "Ltd" \ 'Sons': {today} = {contact}, Datenschutzerklärung"#;
    let (outer, folder) = new_pack(title);
    let at = ["--policy", &folder];
    let (status, out, words) = policy(&[&["test"], &at[..]].concat());
    assert_eq!(status, 0, "{out}{words}");
    assert!(out.contains("pass  not-personal not even figures are sold"), "{out}");
    let (status, out, words) = policy(&[&["coverage"], &at[..], &["--mutate"]].concat());
    assert_eq!(status, 0, "{out}{words}");
    assert!(out.contains(": 0 findings\n") && out.ends_with(", 0 survive\n"), "{out}");

    let (status, out, words) = policy(&[&["matrix"], &at[..], &["--format", "json"]].concat());
    assert_eq!(status, 0, "{words}");
    let matrix: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(matrix["title"], title);
    let (_, out, _) = policy(&["vocabulary"]);
    let vocabulary: serde_json::Value = serde_json::from_str(&out).unwrap();
    let purposes = vocabulary["purposes"].as_array().unwrap();
    let kinds = vocabulary["recipient_kinds"].as_array().unwrap();
    // Even the most favourable facts release nothing personal.
    let subject =
        r#"{"consents":{"marketing":"given"},"relations":["service-signup"],"transfer-consent":true}"#;
    let request = r#"{"legal-reference":true,"subject-is-recipient":true,"controller-is-recipient":true}"#;
    for (kind, purpose) in kinds.iter().zip(purposes.iter().cycle().skip(20)) {
        let (kind, purpose) = (kind["id"].as_str().unwrap(), purpose["id"].as_str().unwrap());
        let question = ["explain", "--recipient-kind", kind, "--purpose", purpose, "--format", "json"];
        let facts = ["--subject-json", subject, "--request-json", request];
        let (_, out, words) = policy(&[&question, &at[..], &facts].concat());
        let explained: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
        for line in explained["categories"].as_array().unwrap() {
            let free = ["de-identified", "aggregate", "non-personal"].map(serde_json::Value::from);
            assert!(
                line["form"] == "removed" || free.contains(&line["category"]),
                "{kind} {purpose}: {line}"
            );
        }
    }

    let out = outer.path().join("cedar");
    let (status, _, words) = policy(&[&["schema"], &at[..], &["--out", out.to_str().unwrap()]].concat());
    assert_eq!(status, 0, "{words}");
    assert!(validated(&out) > 10, "the base's rules are among them");
}

#[test]
fn a_new_pack_is_dated_today_and_overwrites_nothing() {
    let (_outer, folder) = new_pack("Acme");
    let file = Path::new(&folder).join("pack.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let pack: toml::Table = text.parse().unwrap();
    let date = |key: &str| pack[key].as_datetime().unwrap().to_string();
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date();
    assert!([today, today.yesterday().unwrap()].iter().any(|day| day.to_string() == date("announced")));
    assert_eq!(date("announced"), date("effective"));
    assert_eq!(pack["contact"].as_str(), Some("privacy@acme.example"));

    let again = ["new", &folder, "--title", "Other", "--contact", "c"];
    let (status, _, words) = policy(&again);
    assert!(status == 2 && words.contains("holds a policy pack already"), "{words}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    std::fs::remove_file(&file).unwrap();
    let (status, _, words) = policy(&again);
    assert!(status == 2 && words.contains("rules.cedar") || words.contains("scenarios"), "{words}");
    assert!(!file.exists());

    for title in ["", "two\nlines"] {
        let (status, _, words) = policy(&["new", &format!("{folder}-2"), "--title", title, "--contact", "c"]);
        assert!(status == 2 && words.contains("one line of text"), "{words}");
    }
    assert!(!Path::new(&format!("{folder}-2")).exists());
}

/// The pack written from docs/policy-packs.md: every scenario passes, coverage has no finding, and scenarios kill every
/// mutant.
#[test]
fn the_pack_written_from_the_guide_has_full_coverage() {
    let folder = policies().join("../tests/packs/site-visitors");
    let folder = folder.to_str().unwrap();
    let (status, out, words) = policy(&["test", "--policy", folder]);
    assert_eq!(status, 0, "{out}{words}");
    let (status, out, words) = policy(&["coverage", "--policy", folder, "--mutate"]);
    assert_eq!(status, 0, "{out}{words}");
    assert!(out.contains(": 0 findings\n") && out.ends_with(", 0 survive\n"), "{out}");
}
