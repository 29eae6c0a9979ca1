//! `policy explain`: why something leaves or not, and what would have to change.

use purposegate::cli::output::ExitStatus;

use super::{PACKS, pack, policy};

/// Runs `policy explain` for text, with further arguments.
fn explained(kind: &str, purpose: &str, more: &[&str]) -> (ExitStatus, String, String) {
    let folder = pack(PACKS[0]);
    let arguments =
        ["explain", "--policy", folder.to_str().unwrap(), "--recipient-kind", kind, "--purpose", purpose];
    policy(&[&arguments, more].concat())
}

#[test]
fn a_wide_category_is_explained_by_the_descendant_that_decides() {
    let (_, out, words) = policy(&[
        "explain",
        "--policy",
        pack(PACKS[0]).to_str().unwrap(),
        "--recipient-kind",
        "payment-processor",
        "--purpose",
        "payment",
        "--format",
        "json",
    ]);
    let explained: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
    let of = |name: &str| {
        let mut lines = explained["categories"].as_array().unwrap().iter();
        lines.find(|line| line["category"] == name).unwrap().clone()
    };
    let (wide, narrow) = (of("payment"), of("billing"));
    assert_eq!((&wide["form"], &wide["may_hold"]), (&"removed".into(), &"payment-card-number".into()));
    assert_eq!((&narrow["form"], &narrow["may_hold"]), (&"clear".into(), &serde_json::Value::Null));
}

#[test]
fn days_in_an_explanation_count_back_from_today() {
    let form = |days: u32| {
        let subject = format!("{{\"account-closed-days\":{days}}}");
        let folder = pack("one-partner-360");
        let (_, out, words) = policy(&[
            "explain",
            "--policy",
            folder.to_str().unwrap(),
            "--recipient-kind",
            "employee",
            "--purpose",
            "customer-support",
            "--subject-json",
            &subject,
            "--format",
            "json",
        ]);
        let explained: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
        let categories = explained["categories"].as_array().unwrap().iter();
        let mut own = categories.filter(|one| one["category"] == "service-data");
        own.next().unwrap()["form"].as_str().unwrap().to_owned()
    };
    assert_eq!([form(0), form(89), form(91)], ["clear", "clear", "removed"]);
}

#[test]
fn explain_names_the_nearest_rule_and_what_it_lacked() {
    let (outcome, out, _) = policy(&[
        "explain",
        "--policy",
        pack(PACKS[0]).to_str().unwrap(),
        "--recipient-kind",
        "marketing-partner",
        "--purpose",
        "dpv:DirectMarketing",
        "--format",
        "json",
    ]);
    assert_eq!(outcome, ExitStatus::Success);
    let explanation: serde_json::Value = serde_json::from_str(&out).unwrap();
    let of = |name: &str| {
        let categories = explanation["categories"].as_array().unwrap();
        categories.iter().find(|line| line["category"] == name).unwrap().clone()
    };
    assert_eq!(of("email")["form"], "removed");
    assert_eq!(of("email")["nearest"][0]["rule"], "marketing-partner");
    assert_eq!(
        of("email")["nearest"][0]["lacks"][0],
        "needs consent for `direct-marketing`; the ledger has none"
    );
    assert_eq!(of("aggregate")["basis"], "not-personal");
    let lacks = of("phone")["nearest"][0]["lacks"].to_string();
    assert!(lacks.contains("is for `staff`"), "{lacks}");
}

#[test]
fn an_explanation_names_rules_of_the_same_kind_or_purpose_and_groups_equal_lines() {
    let (outcome, out, _) = explained("reselling-partner", "reseller-follow-up", &[]);
    assert_eq!(outcome, ExitStatus::Success);
    assert!(!out.contains("staff"), "{out}");
    let lines: Vec<&str> = out.lines().collect();
    let at = lines.iter().position(|line| line.contains("`name`, `contact`, `company`")).unwrap();
    assert!(lines[at].starts_with("removed"), "{out}");
    assert!(lines[at + 1].contains("near: reseller ["), "{out}");
    assert!(
        lines[at + 2].contains(
            "would have to change: the relation `product-download`; or the relation `service-signup`"
        ),
        "{out}"
    );
    assert!(out.contains("no rule for this kind or for this purpose releases `personal` but"), "{out}");
    assert!(lines.len() < 10, "{out}");

    // For another purpose the rules of this kind and the one for staff are near, and nothing suffices.
    let (_, out, _) = explained("reselling-partner", "customer-support", &["--category", "email"]);
    assert!(out.contains("removed       `email`"), "{out}");
    assert!(
        out.contains(
            "nothing: no rule releases it to this kind for this purpose, only for `reseller-follow-up`"
        ),
        "{out}"
    );
}

#[test]
fn only_the_requested_categories_are_explained() {
    let (_, out, _) =
        explained("employee", "direct-marketing", &["--category", "location", "--category", "email"]);
    assert!(out.contains("`location`") && out.contains("`email`") && !out.contains("`usage`"), "{out}");
    let json = ["--category", "email", "--format", "json"];
    let (_, out, _) = explained("employee", "direct-marketing", &json);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["categories"].as_array().unwrap().len(), 1);
    let changes = &told["categories"][0]["changes"];
    assert_eq!(changes[0][0]["what"], "consent", "{told}");
    let (outcome, _, words) = explained("employee", "direct-marketing", &["--category", "emial"]);
    assert_eq!(outcome, ExitStatus::Unusable);
    assert!(words.contains("did you mean `email`?"), "{words}");
}

/// The named changes suffice: the test applies them and asks again.
#[test]
fn required_changes_may_combine_several_facts() {
    let person = r#"{"erased":false,"restricted":true,"region":"EEA","consents":{"marketing":"withdrawn"}}"#;
    let recipient = r#"{"country":"US"}"#;
    let facts =
        ["--subject-json", person, "--recipient-json", recipient, "--format", "json", "--category", "email"];
    let (_, out, words) = explained("marketing-partner", "direct-marketing", &facts);
    let told: serde_json::Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{words}"));
    let alternatives = told["categories"][0]["changes"].as_array().unwrap();
    let kinds = |changes: &serde_json::Value| -> Vec<String> {
        changes.as_array().unwrap().iter().map(|change| change["what"].as_str().unwrap().to_owned()).collect()
    };
    let kinds: Vec<Vec<String>> = alternatives.iter().map(kinds).collect();
    assert_eq!(kinds, [["consent", "region"], ["consent", "safeguard"]]);
    assert!(alternatives[0][0]["text"].as_str().unwrap().contains("after the restriction began"), "{told}");
    let enough = [
        "--subject-json",
        r#"{"region":"EEA","consents":{"marketing":"given"}}"#,
        "--recipient-json",
        r#"{"country":"US","safeguard":"standard-contractual-clauses"}"#,
        "--category",
        "email",
    ];
    let (_, out, _) = explained("marketing-partner", "direct-marketing", &enough);
    assert!(out.contains("clear         `email`: consent"), "{out}");
}

#[test]
fn a_category_with_a_never_released_descendant_suggests_a_narrower_one() {
    let (_, out, _) = explained("payment-processor", "payment", &["--category", "payment"]);
    assert!(
        out.contains("a narrower category in the mapping") && out.contains("`payment-card-number`"),
        "{out}"
    );
}

#[test]
fn an_unknown_kind_gets_a_suggestion() {
    let (outcome, _, words) = explained("reseller", "reseller-follow-up", &[]);
    assert_eq!(outcome, ExitStatus::Unusable);
    assert!(words.contains("did you mean `reselling-partner`?"), "{words}");
    let (_, _, words) = explained("staff", "customer-support", &[]);
    assert!(
        words.contains("`staff` is a group") && words.contains("`employee`, `contractor`, `affiliate`"),
        "{words}"
    );
}

#[test]
fn an_operation_is_explained_separately_from_its_answer() {
    let alter = |request: &str, person: &str| {
        explained(
            "data-subject",
            "rectification",
            &["--request-json", request, "--subject-json", person, "--category", "email"],
        )
    };
    let own = r#"{"operation":"alter","subject-is-recipient":true}"#;
    let (outcome, out, _) = alter(own, "{}");
    assert_eq!(outcome, ExitStatus::Success, "{out}");
    assert!(out.contains("`alter` is carried out"), "{out}");
    let (outcome, out, _) = alter(r#"{"operation":"alter"}"#, "{}");
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("`alter` is not carried out")
            && out.contains("a request by the person whom the record is about"),
        "{out}"
    );
    let (_, out, _) = explained(
        "event-organiser",
        "event-management",
        &["--request-json", r#"{"operation":"destroy"}"#, "--category", "email"],
    );
    assert!(
        out.contains("no-rule-permits")
            && out.contains("nothing: no rule of this policy ever permits `destroy`"),
        "{out}"
    );
}

#[test]
fn an_operation_without_a_rule_names_the_purposes_that_have_one() {
    let destroy = r#"{"operation":"destroy","subject-is-recipient":true}"#;
    for (kind, purpose, elsewhere) in [
        ("data-subject", "access", "`erasure`"),
        ("employee", "security", "`service-provision`"),
        ("customer-administrator", "access", "`service-provision`"),
    ] {
        for category in [&["--category", "name"][..], &[]] {
            let (outcome, out, _) =
                explained(kind, purpose, &[&["--request-json", destroy], category].concat());
            assert_eq!(outcome, ExitStatus::Findings);
            let told: Vec<&str> = out
                .lines()
                .filter(|line| line.contains("permits `destroy`") && line.contains("nothing: "))
                .collect();
            assert!(!told.is_empty() && !out.contains("policy ever permits"), "{out}");
            for line in told {
                assert!(line.contains("for this purpose, only for ") && line.contains(elsewhere), "{out}");
            }
        }
    }
}

#[test]
fn a_refusal_before_the_rules_states_the_required_changes_and_no_prohibition() {
    let destroy = r#"{"operation":"destroy","subject-is-recipient":true}"#;
    for (kind, purpose) in [("data-subject", "access"), ("employee", "security")] {
        let (_, out, _) = explained(kind, purpose, &["--request-json", destroy, "--category", "name"]);
        assert!(out.contains(": would release, but the request is refused: no-rule-permits"), "{out}");
        assert!(!out.contains("a prohibition wins"), "{out}");
    }
    let (_, out, _) = explained("public-authority", "court-order", &["--category", "aggregate"]);
    assert!(out.contains("refused before anything is read: legal-reference-missing: "), "{out}");
    assert!(out.contains("would have to change: a registered case"), "{out}");
    assert!(out.contains(": would release, but the request is refused: legal-reference-missing"), "{out}");
    // Several refusals follow each other, and no rule exists for the purpose behind them.
    let refused = |kind, purpose, recipient| {
        let (_, out, _) = explained(kind, purpose, &["--recipient-json", recipient, "--format", "json"]);
        serde_json::from_str::<serde_json::Value>(&out).unwrap()
    };
    let told = refused("public-authority", "court-order", r#"{"suspended":true}"#);
    assert_eq!(told["refused"], "recipient-suspended");
    let changes = told["refusal"]["changes"][0].as_array().unwrap();
    let changes: Vec<&str> = changes.iter().map(|change| change["what"].as_str().unwrap()).collect();
    assert_eq!(changes, ["suspension", "case"]);
    // If the rules permit the operation, only the refusal is an obstacle.
    let alter = ["--request-json", r#"{"operation":"alter"}"#, "--recipient-json", r#"{"suspended":true}"#];
    let (_, out, _) =
        explained("employee", "account-management", &[&alter[..], &["--category", "name"]].concat());
    assert_eq!(out.matches("would have to change").count(), 1, "{out}");
    let (_, out, _) = explained("employee", "account-management", &alter);
    assert!(!out.contains("a narrower category"), "{out}");
    // Data withheld by a prohibition are still reported as prohibited.
    let (_, out, _) = explained("employee", "account-management", &["--category", "password"]);
    assert!(out.contains("would release, but a prohibition wins"), "{out}");
}

#[test]
fn an_operation_is_explained_by_the_facts_about_the_person() {
    for (fact, reason) in [
        ("erased", "no erasure of"),
        ("restricted", "the restriction of"),
        ("minor", "a person who is of age"),
    ] {
        let person = format!("{{\"{fact}\":true}}");
        let alter = ["--request-json", r#"{"operation":"alter"}"#, "--subject-json", &person];
        for category in [&["--category", "name"][..], &[]] {
            let (outcome, out, _) = explained("employee", "account-management", &[&alter, category].concat());
            assert_eq!(outcome, ExitStatus::Findings);
            let why = out.lines().skip_while(|line| !line.contains("`alter` is not carried out")).nth(1);
            assert!(why.unwrap().contains(&format!("would have to change: {reason}")), "{out}");
        }
    }
}

#[test]
fn an_operation_is_explained_for_the_requested_categories() {
    let alter = |categories: &[&str]| {
        let request = ["--request-json", r#"{"operation":"alter"}"#];
        explained("employee", "account-management", &[&request, categories].concat())
    };
    let (outcome, out, _) = alter(&["--category", "password"]);
    assert_eq!(outcome, ExitStatus::Findings);
    assert!(
        out.contains("`alter` is not carried out")
            && out.contains("nothing: no rule of this policy ever permits `alter` of these categories"),
        "{out}"
    );
    for categories in
        [&["--category", "password", "--category", "name"][..], &["--category", "aggregate"], &[]]
    {
        let (outcome, out, _) = alter(categories);
        assert_eq!(outcome, ExitStatus::Success, "{out}");
        assert!(out.contains("`alter` is carried out"), "{out}");
    }
}
