//! Mutants of small packs with known outcomes.

use super::*;
use crate::policy::mutation::planned_mutations;

const MANIFEST: &str = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\n\
    contact = \"c\"\naccount-closed-after = [\"60d\"]\n\
    [bases]\nconsent = \"c\"\ncontract = \"c\"\nlegitimate-interest = \"c\"\n\
    [[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";

const RULES: &str = r#"
@id("erased") @clause("C") forbid (principal, action, resource)
when { context.erased || context.minor }
unless { action in [Action::"legal", Action::"data-subject-request"] };

@id("purged") @clause("C") forbid (principal, action, resource in Category::"service-data")
when { ["purge-due", "purge-overdue"].contains(context.account) };

@id("abroad") @clause("C") forbid (principal, action, resource)
when { context.leaves_eea && context.safeguard == "none" };

@id("registrar") @clause("C") @basis("contract")
permit (principal in Kind::"domain-registrar", action == Action::"domain-registration", resource)
when { context.relation["domain-registrant"] }
when { resource in [Category::"name", Category::"service-data"] };

@id("reseller") @clause("C") @basis("legitimate-interest")
permit (principal in Kind::"reselling-partner", action == Action::"reseller-follow-up", resource in Category::"contact")
when { context.same_region };

@id("news") @clause("C") @basis("consent")
permit (principal in Kind::"email-provider", action == Action::"product-news", resource in Category::"email");

@id("own-changes") @clause("C") @basis("contract")
permit (principal in Kind::"data-subject", action in Action::"data-subject-request", resource in Category::"contact")
when { ["disclose", "alter"].contains(context.operation) && context.own_data };
"#;

fn pack(rules: &str) -> Arc<Pack> {
    Arc::new(Pack::load(&[Source::new("pack.toml", MANIFEST), Source::new("rules.cedar", rules)]).unwrap())
}

fn read(pack: &Pack, scenarios: &str) -> Vec<Scenario> {
    Scenario::read(&Source::new("scenarios.toml", scenarios), pack).unwrap()
}

/// Returns each change in words with its outcome.
fn tried(pack: &Arc<Pack>, scenarios: &[Scenario]) -> Vec<(String, MutantOutcome)> {
    let trials = MutationTest::new(pack, scenarios);
    let mut trier = trials.runner();
    let tried = planned_mutations(pack).into_iter().map(|planned| trier.run(planned));
    tried
        .map(|(mutant, outcome)| {
            let rule = pack.rulebook().rule(mutant.at).unwrap();
            (format!("{}: {}", rule.id, mutant.change), outcome)
        })
        .collect()
}

fn survivors(tried: &[(String, MutantOutcome)]) -> Vec<(&str, &Survivor)> {
    tried
        .iter()
        .filter_map(|(change, outcome)| match outcome {
            MutantOutcome::Survives(survivor) => Some((change.as_str(), survivor)),
            MutantOutcome::Refused | MutantOutcome::Killed | MutantOutcome::WithoutEffect => None,
        })
        .collect()
}

#[test]
fn the_scenarios_written_for_survivors_kill_them() {
    let pack = pack(RULES);
    let first = tried(&pack, &[]);
    let found = survivors(&first);
    assert!(found.len() > 25, "{found:#?}");
    let scenarios: Vec<String> = found
        .iter()
        .map(|(change, survivor)| {
            survivor.scenario.clone().unwrap_or_else(|| unreachable!("{change}: {survivor:?}"))
        })
        .collect();
    let scenarios = read(&pack, &scenarios.join("\n"));
    let second = tried(&pack, &scenarios);
    assert_eq!(survivors(&second), []);
    let killed =
        |outcome: &MutantOutcome| matches!(outcome, MutantOutcome::Killed | MutantOutcome::Survives(_));
    for ((change, before), (_, after)) in first.iter().zip(&second) {
        assert_eq!(killed(before), killed(after), "{change}: {before:?}, {after:?}");
    }
}

#[test]
fn a_survivor_names_the_place_the_change_and_what_it_does() {
    let pack = pack(RULES);
    let tried = tried(&pack, &[]);
    let of = |words: &str| {
        let (_, outcome) = tried.iter().find(|(change, _)| change == words).unwrap();
        let MutantOutcome::Survives(survivor) = outcome else { unreachable!("{words}: {outcome:?}") };
        (survivor.difference.as_str(), survivor.scenario.as_deref().unwrap())
    };
    let (difference, scenario) = of("registrar: delete `when { context.relation[\"domain-registrant\"] }`");
    assert_eq!(
        difference,
        "domain-registrar for domain-registration: name: removed, and clear with the change"
    );
    assert_eq!(
        scenario,
        "[[scenario]]\nname = \"domain-registrar for domain-registration: name: removed\"\nclause = \"C\"\n\
         purpose = \"domain-registration\"\nrecipient = { kind = \"domain-registrar\" }\n\
         expect = { name = \"removed\" }\n"
    );
    let (_, scenario) = of("purged: delete `\"purge-due\"` from a list");
    assert!(scenario.contains("account-closed-days = 61"), "{scenario}");
    let (_, scenario) = of("reseller: delete `when { context.same_region }`");
    assert!(scenario.contains("subject = { country = \"US\" }"), "{scenario}");
    let (_, scenario) = of("own-changes: delete the conjunct `context.own_data`");
    assert!(scenario.contains("expect = { email = \"removed\" }"), "{scenario}");
    let (difference, scenario) = of("own-changes: delete `\"alter\"` from a list");
    assert!(difference.contains("alter email: carried out, and refused"), "{difference}");
    assert!(scenario.ends_with("carried-out = true\n"), "{scenario}");
}

#[test]
fn ineffective_mutants_have_no_effect_and_unloadable_ones_are_refused() {
    let rules = r#"
@id("hosting") @clause("C") @basis("contract")
permit (principal in Kind::"hosting-provider", action == Action::"hosting", resource in Category::"contact")
when { context.form == "clear" } when { context.operation == "disclose" };
@id("mail") @clause("C") @basis("consent")
permit (principal in Kind::"hosting-provider", action == Action::"backup-and-restore", resource in Category::"contact");
@id("unmet") @clause("C") forbid (principal, action, resource)
when { context.consented_since_restriction } unless { context.restricted };
@id("erased") @clause("C") forbid (principal, action, resource in Category::"contact") when { context.erased };
"#;
    let pack = pack(rules);
    let outcomes = tried(&pack, &[]);
    let of =
        |words: &str| outcomes.iter().find(|(change, _)| change.contains(words)).map(|(_, outcome)| outcome);
    assert_eq!(of("delete `when { context.form"), Some(&MutantOutcome::WithoutEffect));
    assert_eq!(of("delete `when { context.operation"), Some(&MutantOutcome::WithoutEffect));
    // Both rules would then apply, one with contract and one with consent.
    assert_eq!(of("replace `action == Action::\"hosting\"`"), Some(&MutantOutcome::Refused));
    // A consent since a restriction does not occur without a restriction.
    assert_eq!(of("unmet: delete the rule"), Some(&MutantOutcome::WithoutEffect));
    assert!(matches!(of("erased: delete the rule"), Some(MutantOutcome::Survives(_))));
    // No rule covers the categories outside `contact`, so widening the permit releases more.
    assert_eq!(
        of("replace `resource in Category::\"contact\"` by `resource in Category::\"personal\"`")
            .map(|outcome| { matches!(outcome, MutantOutcome::Survives(_)) }),
        Some(true)
    );
}

#[test]
fn a_mutant_is_killed_by_a_scenario_about_its_rule() {
    let pack = pack(RULES);
    let scenarios = read(
        &pack,
        "[[scenario]]\nname = \"n\"\nclause = \"C\"\npurpose = \"domain-registration\"\n\
         recipient = { kind = \"domain-registrar\" }\nsubject = { relations = [\"domain-registrant\"] }\n\
         expect = { name = \"clear\" }\n",
    );
    let tried = tried(&pack, &scenarios);
    let of =
        |words: &str| tried.iter().find(|(change, _)| change.contains(words)).map(|(_, outcome)| outcome);
    assert_eq!(of("registrar: delete the rule"), Some(&MutantOutcome::Killed));
    assert_eq!(of("delete `Category::\"name\"` from a list"), Some(&MutantOutcome::Killed));
    assert!(matches!(of("delete `when { context.relation"), Some(MutantOutcome::Survives(_))));
    assert!(matches!(of("news: delete the rule"), Some(MutantOutcome::Survives(_))));
}
