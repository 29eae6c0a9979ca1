//! `policy coverage`: ineffective rules, unused periods and surviving mutants.

use purposegate::cli::output::ExitStatus;

use super::policy;

const SUPPORT: &str = r#"
@id("support") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource in Category::"email");
"#;

/// Creates a pack in a temporary folder with these rules and one file of scenarios.
fn small_pack(rules: &str, scenarios: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let manifest = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\ncontact = \"c\"\n\
        [bases]\ncontract = \"c\"\n[[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n\
        [[clauses]]\nid = \"D\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
    std::fs::create_dir(folder.path().join("scenarios")).unwrap();
    for (name, text) in [("pack.toml", manifest), ("rules.cedar", rules), ("scenarios/all.toml", scenarios)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn scenario(clause: &str, kind: &str, expect: &str) -> String {
    let name = expect.replace('"', "");
    format!(
        "[[scenario]]\nname = \"{kind}: {name}\"\nclause = \"{clause}\"\npurpose = \"technical-support\"\n\
         recipient = {{ kind = \"{kind}\" }}\nexpect = {{ {expect} }}\n"
    )
}

#[test]
fn coverage_finds_ineffective_rules_and_irrelevant_scenarios() {
    let rules = format!(
        r#"{SUPPORT}
@id("support-again") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource == Category::"email");
@id("never") @clause("C") @basis("contract")
permit (principal in Kind::"employee", action == Action::"technical-support", resource in Category::"location");
@id("no-location") @clause("D") forbid (principal, action, resource in Category::"location");
"#
    );
    let scenarios = [
        scenario("C", "employee", "email = \"clear\""),
        scenario("C", "employee", "name = \"removed\""),
        scenario("D", "employee", "location = \"removed\""),
        scenario("D", "employee", "email = \"clear\""),
        scenario("C", "collaborator", "non-personal = \"removed\"").replace("technical-support", "mapping"),
    ];
    let folder = small_pack(&rules, &scenarios.concat());
    let (outcome, _, words) = policy(&["coverage", "--policy", folder.path().to_str().unwrap()]);
    assert_eq!(outcome, ExitStatus::Findings);
    for finding in [
        "`never` is a permit that a prohibition always overrides",
        "the rule `support` has no effect",
        "the rule `support-again` has no effect",
        "clause `D` prohibits, and 1 of its scenarios withhold; 2 should",
        "`collaborator: non-personal = removed` cites clause `C` but exercises none of its",
    ] {
        assert!(words.contains(finding), "{finding}\n{words}");
    }
}

#[test]
fn coverage_finds_periods_that_no_rule_uses() {
    let folder = small_pack(SUPPORT, &scenario("C", "employee", "email = \"clear\""));
    let manifest = folder.path().join("pack.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let with = |rules: &str| {
        let text = format!("account-closed-after = [\"90d\"]\n{text}[retention]\nemail = \"30d\"\n");
        std::fs::write(&manifest, text).unwrap();
        std::fs::write(folder.path().join("rules.cedar"), format!("{SUPPORT}{rules}")).unwrap();
        policy(&["coverage", "--policy", folder.path().to_str().unwrap()]).2
    };
    let words = with("");
    for key in ["account-closed-after", "retention"] {
        assert!(
            words.contains(&format!("`{key}` has no effect: no rule reads the fact that it defines")),
            "{key}: {words}"
        );
    }
    let words = with(
        r#"@id("purged") @clause("D") forbid (principal, action, resource) when { context.account == "purge-due" };
        @id("kept") @clause("D") forbid (principal, action, resource) when { context.past_retention };"#,
    );
    assert!(!words.contains("has no effect: no rule"), "{words}");
}

#[test]
fn survivors_are_printed_with_scenarios_to_paste() {
    let shown = scenario("C", "employee", "email = \"clear\"");
    let folder = small_pack(SUPPORT, &shown);
    let mutate = |format: &str| {
        policy(&["coverage", "--policy", folder.path().to_str().unwrap(), "--mutate", "--format", format])
    };
    let (outcome, out, _) = mutate("text");
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("rules.cedar:3: support: replace `action == Action::\"technical-support\"` by"),
        "{out}"
    );
    assert!(out.ends_with("4 mutants, 1 killed, 0 without effect, 3 survive\n"), "{out}");
    let (_, json, _) = mutate("json");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["mutation"]["mutants"], &json["mutation"]["survive"]), (&4.into(), &3.into()));
    // The printed comments and scenarios form a valid file of scenarios; with it no mutant survives.
    let pasted: Vec<&str> = out.lines().take_while(|line| !line.contains(" clauses, ")).collect();
    std::fs::write(folder.path().join("scenarios/more.toml"), pasted.join("\n")).unwrap();
    let (_, out, _) = mutate("text");
    assert!(out.ends_with("4 mutants, 4 killed, 0 without effect, 0 survive\n"), "{out}");
}
