use super::*;
use crate::finding::Source;

const MANIFEST: &str = "title = \"T\"\nversion = \"1\"\nannounced = 2026-01-01\neffective = 2026-01-01\n\
    contact = \"c\"\n[bases]\nconsent = \"c\"\ncontract = \"c\"\nlegal-obligation = \"l\"\nlegitimate-interest = \"i\"\n\
    [[clauses]]\nid = \"C\"\ntitle = \"t\"\nkept = \"by-rules\"\n";
const HOSTING: &str = "@id(\"hosting\") @clause(\"C\") @basis(\"contract\") permit (principal in Kind::\"hosting-provider\", \
    action == Action::\"hosting\", resource in Category::\"contact\");";
const STAFF: &str = "@id(\"staff\") @clause(\"C\") @basis(\"contract\") permit (principal in Kind::\"staff\", \
    action in Action::\"service-provision\", resource in Category::\"personal\");";
const ERASED: &str =
    "@id(\"erased\") @clause(\"C\") forbid (principal, action, resource) when { context.erased };";

fn pack_of(manifest: &str, rules: &[&str]) -> Pack {
    let files = [Source::new("pack.toml", manifest), Source::new("rules.cedar", rules.join("\n"))];
    Pack::load(&files).unwrap_or_else(|findings| panic!("{findings:?}"))
}

fn pack(rules: &[&str]) -> Pack {
    pack_of(MANIFEST, rules)
}

/// Loads a pack with these lines at the beginning of `pack.toml`, or appended if they are tables.
fn stated(lines: &str) -> Pack {
    let manifest = match lines.starts_with('[') {
        true => format!("{MANIFEST}{lines}\n"),
        false => format!("{lines}\n{MANIFEST}"),
    };
    pack_of(&manifest, &[HOSTING])
}

fn difference(old: &Pack, new: &Pack) -> Difference {
    Difference::of(old, new).unwrap()
}

#[test]
fn changes_are_found_by_evaluation_and_not_by_text() {
    let old = pack(&[HOSTING, ERASED]);
    let renamed = pack(&[ERASED, &HOSTING.replace("\"hosting\") @c", "\"renamed\") @c")]);
    assert!(difference(&old, &renamed).is_empty());
    let stricter = difference(&pack(&[HOSTING]), &old).changes;
    let [change] = stricter.as_slice() else { unreachable!("{stricter:?}") };
    assert_eq!(change.categories, ["contact", "email", "phone", "postal-address"]);
    assert_eq!((change.old, change.new, change.when.as_str()), (Form::Clear, Form::Removed, "erased = true"));
    assert_eq!((change.cause.rule.as_str(), change.cause.role), ("erased", Role::WithholdsNow));
    assert!(!change.is_more());
    let looser = difference(&old, &pack(&[HOSTING])).changes;
    let [change] = looser.as_slice() else { unreachable!("{looser:?}") };
    assert!(change.is_more() && change.cause.role == Role::WithheldBefore);
}

#[test]
fn the_changes_of_one_rule_form_one_block() {
    let old = pack(&[HOSTING, STAFF, ERASED]);
    let removed = difference(&old, &pack(&[HOSTING, STAFF]));
    assert!(removed.changes.len() > 10, "{}", removed.changes.len());
    assert_eq!(
        removed.to_text(),
        format!(
            "+ `erased` (C) forbade before\n\
             \x20   hosting-provider for hosting: contact  removed -> clear  when erased = true\n\
             \x20   staff for service-provision: personal  removed -> clear  when erased = true\n\
             {} more, 0 less\n",
            removed.changes.len()
        )
    );
    let added = difference(&pack(&[HOSTING]), &pack(&[HOSTING, STAFF]));
    assert_eq!(added.to_text().lines().count(), 3, "{}", added.to_text());
    assert!(added.to_text().starts_with("+ `staff` (C) permits now\n"));
}

#[test]
fn a_release_on_another_basis_is_a_change() {
    let resting_on = |basis: &str| pack(&[&HOSTING.replace("contract", basis)]);
    let found = difference(&pack(&[HOSTING]), &resting_on("legal-obligation"));
    let line = "    hosting-provider for hosting: contact  clear on contract -> legal-obligation\n";
    assert_eq!(found.to_text(), format!("+ `hosting` (C) rests on another basis\n{line}1 more, 0 less\n"));
    // The change back counts as well: bases of equal rank are different promises.
    assert_eq!(difference(&resting_on("legal-obligation"), &pack(&[HOSTING])).more, 1);
    // Consent can be withdrawn: less is released, and on a stricter basis.
    let consent = difference(&pack(&[HOSTING]), &resting_on("consent"));
    assert!(consent.more == 0 && consent.less > 0, "{}", consent.to_text());
    assert!(difference(&resting_on("consent"), &pack(&[HOSTING])).more > 0);
}

#[test]
fn a_basis_that_differs_only_under_some_circumstances_is_found() {
    let sometimes =
        HOSTING.replace("\"hosting\") @c", "\"minors\") @c").replace(");", ") when { context.minor };");
    let lawful = sometimes.replace("contract", "legal-obligation");
    let found = difference(&pack(&[&sometimes, HOSTING]), &pack(&[&lawful, HOSTING]));
    assert_eq!(found.more, 1, "{}", found.to_text());
    assert!(found.to_text().contains("when minor = true"), "{}", found.to_text());
}

#[test]
fn operations_are_compared() {
    let destroys = "@id(\"destroys\") @clause(\"C\") @basis(\"contract\") permit (principal in Kind::\"staff\", \
        action in Action::\"service-provision\", resource in Category::\"contact\") when { context.operation == \"destroy\" };";
    let found = difference(&pack(&[STAFF]), &pack(&[STAFF, destroys]));
    let text = found.to_text();
    assert!(text.contains("staff destroy for service-provision: contact  refused -> carried out"), "{text}");
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn settings_outside_the_rules_are_compared() {
    let none = stated("");
    let more = |old: &Pack, new: &Pack, words: &str| {
        let forth = difference(old, new);
        assert!(forth.to_text().contains(&format!("+ {words}")), "{words}: {}", forth.to_text());
        assert_eq!((forth.more, forth.less), (1, 0), "{}", forth.to_text());
        let back = difference(new, old);
        assert_eq!((back.more, back.less), (0, 1), "{}", back.to_text());
    };
    let kept = |days: u32| stated(&format!("[retention]\nwebsite-activity = \"{days}d\""));
    more(&kept(30), &kept(3650), "`retention` of website-activity: 30d -> 3650d");
    more(&kept(30), &none, "`retention` of website-activity: 30d -> no limit");
    let log = |days: u32| stated(&format!("access-log-limit = \"{days}d\""));
    more(&log(15), &log(16), "`access-log-limit`: 15d -> 16d");
    more(&log(15), &none, "`access-log-limit`: 15d -> no limit");
    let notice = |days: u32| stated(&format!("notice-business-days = {days}"));
    more(&notice(30), &notice(29), "`notice-business-days`: 30 -> 29");
    let never = |names: &str| stated(&format!("never-released = [{names}]"));
    let both = never("\"credential\", \"payment-card-number\"");
    more(&both, &never("\"credential\""), "`never-released` of payment-card-number: listed -> not listed");
    more(
        &stated("[switches]\nglobal-privacy-control = true"),
        &none,
        "`switches.global-privacy-control`: true -> false",
    );
    let of_age = |years: u32| stated(&format!("of-age = {years}"));
    more(&of_age(18), &of_age(16), "`of-age`: 18 -> 16");
    let closed = |periods: &str| stated(&format!("account-closed-after = [{periods}]"));
    more(
        &closed("\"90d\", \"120d\""),
        &closed("\"90d\", \"150d\""),
        "`account-closed-after`: 90d, 120d -> 90d, 150d",
    );
    more(&closed("\"90d\""), &none, "`account-closed-after`: 90d -> never");
    more(&none, &stated("[regions]\nUS = \"AMER\""), "`regions` of US: US -> AMER");
    let regions = difference(&none, &stated("[regions]\nUS = \"AMER\"\nCA = \"AMER\""));
    assert_eq!((regions.more, regions.less), (2, 0));
}

#[test]
fn dropping_a_base_lists_the_rules_that_forbade() {
    let based = stated("extends = \"standard\"");
    let found = difference(&based, &stated(""));
    let text = found.to_text();
    assert!(
        text.contains("+ `extends`: standard -> nothing\n") && text.contains("forbade before\n"),
        "{text}"
    );
    assert!(found.less == 0 && text.lines().count() < 60, "{text}");
    assert_eq!(difference(&stated(""), &based).more, 0);
}

#[test]
fn another_contact_is_shown_and_does_not_count_as_more() {
    let found = difference(&stated(""), &stated("controller-contact = \"them\""));
    assert_eq!(found.to_text(), "- `controller-contact`: none -> \"them\"\n0 more, 1 less\n");
}

#[test]
fn dropping_a_future_holiday_counts_as_more() {
    let holidays = |days: &str| stated(&format!("holidays = [{days}]"));
    let (past, to_come) = ("2025-12-25", "2026-12-25");
    let both = holidays(&format!("{past}, {to_come}"));
    assert!(difference(&both, &holidays(to_come)).is_empty());
    assert_eq!(difference(&both, &holidays(past)).more, 1);
    assert!(difference(&holidays(past), &both).is_empty());
}

#[test]
fn a_kind_that_must_cite_a_case_for_fewer_purposes_is_found() {
    let cites = |purpose: &str| {
        let cites = format!("legal-reference-for = \"{purpose}\"\n");
        let cites = if purpose.is_empty() { "" } else { &cites };
        stated(&format!(
            "[[vocabulary.kinds]]\nid = \"bailiff\"\ntitle = \"t\"\ndescription = \"d\"\n{cites}"
        ))
    };
    let key = "`vocabulary.kinds.legal-reference-for` of bailiff";
    let more = |old: &str, new: &str| {
        let found = difference(&cites(old), &cites(new));
        let line = |name: &str| if name.is_empty() { "none".to_owned() } else { name.to_owned() };
        let words = format!("{key}: {} -> {}", line(old), line(new));
        assert!(found.to_text().contains(&words), "{words}: {}", found.to_text());
        found.more
    };
    assert_eq!(more("legal", "court-order"), 1);
    assert_eq!(more("legal", "marketing"), 1);
    assert_eq!(more("legal", ""), 1);
    assert_eq!(more("court-order", "legal"), 0);
    assert_eq!(more("", "legal"), 0);
}

#[test]
fn changed_relations_and_objections_are_found() {
    let relation = |bound: bool| {
        let table =
            "[[vocabulary.relations]]\nid = \"sponsor\"\ntitle = \"t\"\ndescription = \"d\"\nbound-only =";
        stated(&format!("{table} {bound}"))
    };
    // A prohibition may depend on the relation.
    assert_eq!(difference(&relation(true), &relation(false)).more, 1);
    assert_eq!(difference(&relation(false), &relation(true)).more, 1);
    let purpose = |covers: &str| {
        let table = "[[vocabulary.purposes]]\nid = \"letters\"\ntitle = \"t\"\ndescription = \"d\"\n\
            parent = \"marketing\"\nobjection-also-covers =";
        stated(&format!("{table} [{covers}]"))
    };
    let [none, beside, above] = ["", "\"essential-notice\"", "\"marketing\""].map(purpose);
    assert_eq!(difference(&none, &beside).more, 0);
    assert!(difference(&beside, &none).more > 0);
    // A consent to marketing then counts as more specific than the objection to letters.
    assert_eq!(difference(&none, &above).more, 1);
}
