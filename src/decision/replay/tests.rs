//! Replays of counted circumstances under packs and mappings that differ in one place.

use serde_json::{Value, json};

use super::*;
use crate::decision::testing::{one_partner, one_partner_and, one_partner_saying};

fn line(change: impl FnOnce(&mut Value)) -> CircumstanceLine {
    let mut line = json!({
        "day": "2026-11-28", "route": "customers", "recipient": "support", "kind": "employee",
        "purpose": "customer-support", "operation": "disclose", "pack": one_partner().manifest().title,
        "subject": {}, "request": {}, "recipient_facts": { "purposes": ["customer-support"], "country": "DE" },
        "categories": ["email", "name", "unclassified"], "records": 30,
    });
    change(&mut line);
    CircumstanceLine::from_json(line).unwrap()
}

fn merged(key: &str, records: u64) -> CircumstanceLine {
    CircumstanceLine::from_json(json!({ "day": "2026-11-29", "route": "customers", key: records })).unwrap()
}

const NO_EMAIL: &str = r#"@id("no-email") @clause("G-3b")
    forbid (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"email");"#;

#[test]
fn a_new_prohibition_changes_the_records_that_it_reaches() {
    let other_purpose = |line: &mut Value| {
        line["purpose"] = json!("direct-marketing");
        line["recipient_facts"]["purposes"] = json!(["direct-marketing"]);
    };
    let lines = || {
        vec![
            line(|_| {}),
            line(|line| (line["day"], line["records"]) = (json!("2026-11-29"), json!(11))),
            line(|line| line["categories"] = json!(["name"])),
            line(other_purpose),
            line(|line| line["pack"] = json!("another")),
            line(|line| line["purpose"] = json!("no-such-purpose")),
            merged("other", 7),
            merged("rare", 3),
        ]
    };
    let report = replay_policies(one_partner(), one_partner_and(NO_EMAIL), lines());
    assert!(!report.shows_no_change());
    assert_eq!((report.days, report.records, report.changed), (2, 101, 41));
    let [group] = report.groups.as_slice() else { panic!("{report:?}") };
    assert_eq!(
        (&*group.recipient, &*group.purpose, &*group.route),
        ("support", "customer-support", "customers")
    );
    assert_eq!((group.records, group.changed), (71, 41));
    let [change] = group.changes.as_slice() else { panic!("{group:?}") };
    assert_eq!(
        (change.fields.as_slice(), change.records, change.records_a_day),
        (&["email".to_owned()][..], 41, 20.5)
    );
    assert!(!change.more && change.old.form == Form::Clear && !change.old.rules.is_empty());
    assert_eq!(
        (change.new.form, &*change.new.rules[0], &*change.new.clauses[0]),
        (Form::Removed, "no-email", "G-3b")
    );
    assert_eq!((report.other["customers"], report.rare["customers"]), (7, 3));
    let reasons: Vec<(&str, u64)> =
        report.unevaluated.iter().map(|one| (one.reason.as_str(), one.records)).collect();
    let [(another, 30), (unknown, 30)] = reasons[..] else { panic!("{reasons:?}") };
    assert!(another.contains("another") && unknown.contains("no-such-purpose"), "{reasons:?}");
    let text = report.to_text();
    assert!(text.contains("  - email  clear -> removed  41 records, 20.5 a day"), "{text}");
    assert!(
        text.contains("new: `no-email` (G-3b)") && text.contains("rare: 3 records on customers"),
        "{text}"
    );
    assert!(text.contains("41 of 101 records change, in 2 days"), "{text}");

    let back = replay_policies(one_partner_and(NO_EMAIL), one_partner(), lines());
    assert!(back.groups[0].changes[0].more && back.changed == 41);
    let none = replay_policies(one_partner(), one_partner(), lines());
    assert!(none.groups.is_empty() && none.records == 101 && none.changed == 0);
    assert!(!none.shows_no_change(), "some records could not be evaluated");
    let one = ReplayReport { days: 1, records: 1, rare: [("customers".to_owned(), 1)].into(), ..none };
    let lines: Vec<String> = one.to_text().lines().map(str::to_owned).collect();
    assert_eq!(lines[0], "0 of 1 record change, in 1 day");
    assert!(lines.contains(&"rare: 1 record on customers".to_owned()), "{lines:?}");
}

#[test]
fn a_refused_request_and_facts_that_were_not_recorded_are_named() {
    // The old version does not compare the account of an employee's request.
    let rule = r#"@id("open-only") @clause("G-3b")
        forbid (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"email")
        when { context.account != "open" };"#;
    let report = replay_policies(one_partner(), one_partner_and(rule), [line(|_| {})]);
    assert_eq!((report.changed, report.records), (0, 30));
    assert_eq!(report.unrecorded_facts.get("account"), Some(&30));
    assert!(report.to_text().contains("`account`, which 30 records do not state"), "{}", report.to_text());

    let lapsed = line(|line| line["recipient_facts"]["suspended"] = json!(true));
    let report = replay_policies(one_partner(), one_partner_saying("contact = ", "contact = "), [lapsed]);
    assert!(report.shows_no_change() && report.records == 30);
}

#[test]
fn facts_that_the_rules_in_force_did_not_compare_are_named_whatever_old_compares() {
    let rule = r#"@id("open-only") @clause("G-3b")
        forbid (principal in Kind::"employee", action == Action::"customer-support", resource in Category::"email")
        when { context.account != "open" };"#;
    let both = [one_partner_and(rule), one_partner_and(rule)];
    let counted_by = |pack: Arc<Pack>| {
        let mut replay = PolicyReplay::new(pack);
        let seen = match line(|_| {}).of {
            LineOf::Seen(seen) => *seen,
            other => panic!("{other:?}"),
        };
        let compared = replay.decide(&seen, &seen.categories, false).unwrap().compared;
        line(|line| line["compares"] = json!(compared))
    };
    let replay = |line| {
        let [old, new] = both.clone();
        replay_policies(old, new, [line])
    };
    let report = replay(counted_by(one_partner()));
    assert_eq!(report.unrecorded_facts.get("account"), Some(&30), "{report:?}");
    assert!(!report.shows_no_change() && report.changed == 0, "{report:?}");
    let [old, _] = both.clone();
    let report = replay(counted_by(old));
    assert!(report.unrecorded_facts.is_empty() && report.shows_no_change(), "{report:?}");
}

#[test]
fn a_replay_that_evaluates_nothing_does_not_show_that_nothing_changes() {
    let unknown = || line(|line| line["purpose"] = json!("no-such-purpose"));
    let another = || line(|line| line["pack"] = json!("another"));
    for lines in
        [vec![], vec![unknown()], vec![another()], vec![line(|_| {}), another()], vec![merged("rare", 3)]]
    {
        let report = replay_policies(one_partner(), one_partner(), lines);
        assert!(!report.shows_no_change() && report.changed == 0, "{report:?}");
    }
    let report = replay_policies(one_partner(), one_partner(), [line(|_| {}), merged("rare", 3)]);
    assert!(report.shows_no_change());
}

#[test]
fn a_mapping_changes_the_fields_whose_categories_differ() {
    let field = |path: &str, old: &str, new: &str| RemappedField {
        route: "customers".to_owned(),
        path: path.to_owned(),
        old: old.to_owned(),
        new: new.to_owned(),
    };
    let remapped = |packs| RemappedRoute {
        fields: vec![
            field("$.dob", UNCLASSIFIED, "email"),
            field("$.email", "email", "password"),
            field("$.plan", "billing", "password"),
        ],
        uncompared: Vec::new(),
        packs,
        releases_unclassified: false,
    };
    let replay = |packs| {
        let same = RemappedRoute { fields: Vec::new(), ..remapped(packs) };
        let routes = [("customers", remapped(packs)), ("orders", same)];
        let routes = routes.map(|(name, route)| (name.to_owned(), route)).into();
        let on = |route: &str| line(|line| line["route"] = json!(route));
        let lines = [line(|_| {}), on("orders"), on("removed")];
        replay_mapping([&[one_partner()], &[one_partner()]], &routes, lines)
    };
    let report = replay(Some([0, 0]));
    let [unevaluated] = report.unevaluated.as_slice() else { panic!("{report:?}") };
    assert!(unevaluated.reason.contains("`removed`") && unevaluated.records == 30, "{unevaluated:?}");
    let text = report.to_text();
    assert!(text.contains("only fields whose categories differ are compared"), "{text}");
    assert_eq!((report.records, report.changed, report.mapping.as_ref().unwrap().len()), (60, 30, 3));
    let [group] = report.groups.as_slice() else { panic!("{report:?}") };
    let changes: BTreeMap<&str, (bool, Form, Form)> = group
        .changes
        .iter()
        .map(|change| (change.fields[0].as_str(), (change.more, change.old.form, change.new.form)))
        .collect();
    assert_eq!(changes["$.dob (unclassified -> email)"], (true, Form::Removed, Form::Clear));
    assert_eq!(changes["$.email (email -> password)"], (false, Form::Clear, Form::Removed));
    assert_eq!(changes.len(), 2, "no record has billing data: {changes:?}");
    let report = replay(None);
    let unevaluated: u64 = report.unevaluated.iter().map(|one| one.records).sum();
    assert_eq!((report.records, report.changed, unevaluated), (30, 0, 60));
}

#[test]
fn fields_are_one_change_only_if_they_are_of_the_same_records() {
    let seen = |categories: Value| match line(|line| line["categories"] = categories).of {
        LineOf::Seen(seen) => *seen,
        other => panic!("{other:?}"),
    };
    let released = FieldOutcome { form: Form::Clear, reason: None, ..FieldOutcome::refused("x") };
    let mut report = ReplayReport::default();
    for (fields, records) in [(&["email"][..], 30), (&["name"], 30), (&["city", "phone"], 30)] {
        let outcome = |field: FieldOutcome| RecordOutcome {
            fields: vec![field; fields.len()],
            compared: BTreeSet::new(),
        };
        let names: Vec<String> = fields.iter().map(|field| (*field).to_owned()).collect();
        let (before, after) = (outcome(released.clone()), outcome(FieldOutcome::refused("x")));
        report.compare(&seen(json!(fields)), records, &names, Ok(before), Ok(after));
    }
    let report = report.finish();
    let mut fields: Vec<&[String]> =
        report.groups[0].changes.iter().map(|change| change.fields.as_slice()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        [&["city".to_owned(), "phone".to_owned()][..], &["email".to_owned()], &["name".to_owned()]]
    );
}

#[test]
fn counts_of_a_file_do_not_overflow() {
    let most = |day: &str| {
        let day = json!(day);
        line(|line| (line["day"], line["records"]) = (day, json!(u64::MAX)))
    };
    let other = |key| [merged(key, u64::MAX), merged(key, 1)];
    let lines = [[most("2026-11-28"), most("2026-11-29")], other("other"), other("rare")].concat();
    let lines = [lines, vec![line(|line| line["pack"] = json!("another")); 2], vec![line(|_| {})]].concat();
    let report = replay_policies(one_partner(), one_partner_and(NO_EMAIL), lines);
    assert_eq!((report.records, report.changed), (u64::MAX, u64::MAX));
    assert_eq!((report.other["customers"], report.rare["customers"]), (u64::MAX, u64::MAX));
}

#[test]
fn lines_are_read_as_json_lines_and_as_an_array() {
    let lines = vec![line(|_| {}), merged("other", 7), merged("rare", 1)];
    let texts: Vec<String> = lines.iter().map(|line| line.to_json().to_string()).collect();
    assert_eq!(CircumstanceLine::read_all(&format!("{}\n\n", texts.join("\n"))).unwrap(), lines);
    assert_eq!(CircumstanceLine::read_all(&format!(" [{}]", texts.join(","))).unwrap(), lines);
    for (text, error) in [
        ("{\"day\":\"2026-11-29\",\"route\":\"r\",\"other\":1}\n{}", "line 2: `day` is missing"),
        ("{\"day\":\"today\"}", "line 1: `day`"),
        ("{\"day\":\"2026-11-29\",\"rare\":1}", "line 1: `route` is missing"),
        ("{\"day\":\"2026-11-29\",\"records\":1,\"name\":\"Ada\"}", "unknown field `name`"),
    ] {
        let got = CircumstanceLine::read_all(text).unwrap_err();
        assert!(got.contains(error), "{got}");
    }
}
