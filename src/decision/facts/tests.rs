use super::*;
use crate::decision::testing::{one_partner, one_partner_saying};
use crate::vocabulary::Safeguard;

fn day(text: &str) -> Timestamp {
    format!("{text}T00:00:00Z").parse().unwrap()
}

fn record(change: impl FnOnce(&mut RecordFacts)) -> RecordFacts {
    let mut record = RecordFacts::default();
    change(&mut record);
    record
}

/// Returns the facts of one record for a recipient in a region.
fn facts(recipient_region: Option<&str>, exporter: &str, subject: &Subject, record: &RecordFacts) -> Facts {
    let pack = one_partner();
    let vocabulary = pack.vocabulary();
    let purpose = vocabulary.purposes().find("reseller-follow-up").unwrap();
    let recipient = RecipientFacts {
        name: "acme".into(),
        kind: vocabulary.kinds().find("reselling-partner").unwrap(),
        country: None,
        region: recipient_region.map(Arc::from),
        purposes: vec![purpose],
        agreement: true,
        safeguard: Safeguard::None,
        suspended: false,
    };
    let request = AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: exporter.into(),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    };
    let controller = Controller::default();
    let about = RecordContext {
        subject,
        controller: &controller,
        record,
        relationship: Relationship::default(),
        now: day("2026-06-15"),
    };
    let every: FactSet = Fact::all(vocabulary.relations().len()).collect();
    RequestFacts::new(&pack, &request).record_facts(&pack, every, &about)
}

fn somebody_in(region: Option<&str>) -> Subject {
    Subject {
        region: region.map_or(Extracted::Absent, |label| Extracted::Known(label.into())),
        ..Subject::default()
    }
}

#[test]
fn an_unknown_region_counts_as_the_eea_and_equals_no_region() {
    let nothing = RecordFacts::default();
    let both = |facts: Facts| (facts.get(Fact::LeavesEea) == 1, facts.get(Fact::SameRegion) == 1);
    assert_eq!(both(facts(Some("US"), "US", &somebody_in(Some("US")), &nothing)), (false, true));
    assert_eq!(
        both(facts(Some("US"), "EEA", &somebody_in(Some("US")), &nothing)),
        (true, true),
        "the exporter"
    );
    assert_eq!(both(facts(Some("US"), "US", &somebody_in(None), &nothing)), (true, false));
    assert_eq!(both(facts(Some("EEA"), "EEA", &somebody_in(None), &nothing)), (false, false));
    assert_eq!(both(facts(None, "EEA", &somebody_in(None), &nothing)), (true, false), "the recipient's");
    let unreadable = record(|record| record.country = Extracted::Unreadable);
    assert_eq!(both(facts(Some("US"), "US", &somebody_in(Some("US")), &unreadable)), (true, false));
    let beside = record(|record| {
        record.region = Extracted::Known("US".into());
        record.country = Extracted::Unreadable;
    });
    assert_eq!(both(facts(Some("US"), "US", &somebody_in(Some("US")), &beside)), (true, false));
    assert_eq!(both(facts(Some("EMEA"), "US", &somebody_in(Some("EMEA")), &nothing)), (true, true));
    assert_eq!(both(facts(Some("US"), "EMEA", &somebody_in(Some("US")), &nothing)), (true, true));
}

#[test]
fn contradicting_country_and_region_count_as_unknown() {
    let nothing = RecordFacts::default();
    let both = |facts: Facts| (facts.get(Fact::LeavesEea) == 1, facts.get(Fact::SameRegion) == 1);
    let german =
        |region: &str| Subject { country: Extracted::Known("DE".into()), ..somebody_in(Some(region)) };
    assert_eq!(both(facts(Some("US"), "US", &german("US"), &nothing)), (true, false));
    assert_eq!(both(facts(Some("EEA"), "US", &german("EEA"), &nothing)), (false, true));
    // Of a country and a label of different times, one is out of date unless they agree.
    let stated_twice = |label: &str| Subject {
        country: Extracted::Known("CA".into()),
        is_place_of_two_times: true,
        ..somebody_in(Some(label))
    };
    assert_eq!(both(facts(Some("US"), "US", &stated_twice("US"), &nothing)), (true, false));
    assert_eq!(both(facts(Some("CA"), "US", &stated_twice("CA"), &nothing)), (false, true));
    // Two labels of one instant are a statement that a record cannot replace.
    let torn = Subject { region: Extracted::Unreadable, ..Subject::default() };
    let american_record = record(|record| record.country = Extracted::Known("US".into()));
    assert_eq!(both(facts(Some("US"), "US", &torn, &american_record)), (true, false));
    let american = Subject { country: Extracted::Known("US".into()), ..somebody_in(Some("EEA")) };
    assert_eq!(both(facts(Some("EEA"), "US", &american, &nothing)), (false, false));
    let recipient = |country: &str, region: &str, regions: &Regions| {
        let recipient = RecipientFacts {
            name: "acme".into(),
            kind: one_partner().vocabulary().kinds().find("reselling-partner").unwrap(),
            country: Some(country.into()),
            region: Some(region.into()),
            purposes: Vec::new(),
            agreement: true,
            safeguard: Safeguard::None,
            suspended: false,
        };
        recipient.region(regions)
    };
    let regions = crate::vocabulary::region::tests::named(&[("JP", "APAC")]);
    assert_eq!(recipient("US", "EEA", &regions), None);
    assert_eq!(recipient("DE", "US", &regions), None);
    assert_eq!(recipient("JP", "AMER", &regions), None);
    assert_eq!(recipient("JP", "APAC", &regions).as_deref(), Some("APAC"));
    assert_eq!(recipient("DE", "EEA", &regions).as_deref(), Some(EEA));
}

#[test]
fn a_creation_date_in_the_future_is_past_retention() {
    let pack = one_partner();
    let vocabulary = pack.vocabulary();
    let category = |name: &str| vocabulary.categories().find(name).unwrap();
    let periods = [(category("usage"), SignedDuration::from_hours(24 * 30))];
    let past = |name: &str, created: &str| {
        let record = record(|record| record.created = Extracted::Known(day(created)));
        is_past_retention(&periods, vocabulary, &record, category(name), day("2026-06-15"))
    };
    for name in ["usage", "website-activity"] {
        assert!(!past(name, "2026-06-14") && !past(name, "2026-06-16") && !past(name, "2026-05-16"));
        assert!(past(name, "2026-06-17") && past(name, "2999-01-01") && past(name, "2026-05-15"));
    }
    assert!(!past("email", "2020-01-01"), "no period is stated for it");
}

#[test]
fn a_relation_to_no_recipient_does_not_count_for_a_recipient_for_which_it_ended() {
    let pack = one_partner();
    let relation = pack.vocabulary().relations().find("product-download").unwrap();
    let with = |recipient: Option<&str>| Relation { relation, recipient: recipient.map(Arc::from) };
    let holds = |relations: Vec<Relation>, ended: Vec<Relation>| {
        let subject = Subject { relations, ended_relations: ended, ..Subject::default() };
        facts(None, "EEA", &subject, &RecordFacts::default()).get(Fact::Relation(relation)) == 1
    };
    assert!(holds(vec![with(None)], vec![]));
    assert!(holds(vec![with(None)], vec![with(Some("other"))]));
    assert!(!holds(vec![with(None)], vec![with(Some("acme"))]));
    assert!(holds(vec![with(None), with(Some("acme"))], vec![with(Some("acme"))]));
}

#[test]
fn the_stricter_of_ledger_and_record_counts() {
    let both = |facts: Facts| (facts.get(Fact::LeavesEea) == 1, facts.get(Fact::SameRegion) == 1);
    let in_germany = record(|record| record.country = Extracted::Known("DE".into()));
    assert_eq!(both(facts(Some("US"), "US", &somebody_in(Some("US")), &in_germany)), (true, false));
    assert_eq!(both(facts(Some("EEA"), "EEA", &somebody_in(Some("US")), &in_germany)), (false, false));
    assert_eq!(both(facts(Some("EEA"), "EEA", &somebody_in(Some("EEA")), &in_germany)), (false, true));
    let born = |date: &str| record(|record| record.birth_date = Extracted::Known(date.parse().unwrap()));
    let minor =
        |subject: &Subject, record: &RecordFacts| facts(None, "EEA", subject, record).get(Fact::Minor) == 1;
    let child = Subject { minor: true, ..Subject::default() };
    assert!(minor(&child, &born("1950-01-01")));
    assert!(minor(&Subject::default(), &born("2020-01-01")));
    assert!(minor(&Subject::default(), &record(|record| record.birth_date = Extracted::Unreadable)));
}

#[test]
fn a_person_is_of_age_once_the_birthday_has_come_everywhere() {
    for (born, now, under_age) in [
        ("2008-06-15", "2026-06-15T00:00:00Z", true),
        ("2008-06-15", "2026-06-15T11:59:59Z", true),
        ("2008-06-15", "2026-06-15T12:00:00Z", false),
        ("2008-02-29", "2026-02-28T23:00:00Z", true),
        ("2008-02-29", "2026-03-01T12:00:00Z", false),
        ("2030-01-01", "2026-06-15T12:00:00Z", true),
    ] {
        assert_eq!(
            is_under_age(born.parse().unwrap(), 18, now.parse().unwrap()),
            under_age,
            "{born} at {now}"
        );
    }
}

#[test]
fn an_account_is_due_for_purging_after_90_days() {
    let pack = one_partner();
    let closed = |since: Option<&str>, record: &RecordFacts| {
        let controller = Controller { closed_since: since.map(day), ..Controller::default() };
        account_state(&pack, &controller, record, day("2026-06-15"))
    };
    let nothing = RecordFacts::default();
    assert_eq!(closed(None, &nothing), AccountFact::Open);
    assert_eq!(closed(Some("2026-06-16"), &nothing), AccountFact::Closed, "by a clock ahead of ours");
    assert_eq!(closed(Some("2026-03-17"), &nothing), AccountFact::Closed, "90 days");
    assert_eq!(closed(Some("2026-03-16"), &nothing), AccountFact::PurgeDue);
    assert_eq!(closed(Some("2026-02-14"), &nothing), AccountFact::PurgeOverdue, "121 days");
    let earlier = record(|record| record.account_closed = Extracted::Known(day("2026-01-01")));
    assert_eq!(closed(Some("2026-06-01"), &earlier), AccountFact::PurgeOverdue);
    let unreadable = record(|record| record.account_closed = Extracted::Unreadable);
    assert_eq!(closed(None, &unreadable), AccountFact::PurgeOverdue);
}

#[test]
fn the_pack_sets_the_periods_after_which_an_account_is_purged() {
    let key = r#"account-closed-after = ["90d", "120d"]"#;
    let (now, unreadable) = (day("2026-06-15"), record(|r| r.account_closed = Extracted::Unreadable));
    for (said, days, fact, of_unreadable) in [
        ("", 200, AccountFact::Closed, AccountFact::Closed),
        (r#"account-closed-after = ["60d"]"#, 60, AccountFact::Closed, AccountFact::PurgeDue),
        (r#"account-closed-after = ["60d"]"#, 200, AccountFact::PurgeDue, AccountFact::PurgeDue),
        (r#"account-closed-after = ["0d", "1d"]"#, 1, AccountFact::PurgeDue, AccountFact::PurgeOverdue),
        (r#"account-closed-after = ["0d", "1d"]"#, 2, AccountFact::PurgeOverdue, AccountFact::PurgeOverdue),
    ] {
        let pack = one_partner_saying(key, said);
        let closed_since = now.checked_sub(SignedDuration::from_hours(24 * days)).ok();
        let controller = Controller { closed_since, ..Controller::default() };
        let of =
            |controller: &Controller, record: &RecordFacts| account_state(&pack, controller, record, now);
        assert_eq!(of(&controller, &RecordFacts::default()), fact, "{said} {days}");
        assert_eq!(of(&Controller::default(), &unreadable), of_unreadable, "{said}");
        assert!(!is_purge_overdue(&pack, &Controller::default(), &unreadable, now), "{said}: no alarm");
        let overdue = is_purge_overdue(&pack, &controller, &RecordFacts::default(), now);
        assert_eq!(overdue, fact == AccountFact::PurgeOverdue, "{said} {days}");
    }
}

#[test]
fn the_pack_sets_the_age_of_majority() {
    let born = record(|record| record.birth_date = Extracted::Known("2010-06-01".parse().unwrap()));
    let minor = |said| {
        let pack = one_partner_saying("of-age = 18", said);
        is_minor(&pack, &Subject::default(), &born, day("2026-06-15"))
    };
    assert!(minor("of-age = 18") && minor("") && minor("of-age = 17"));
    assert!(!minor("of-age = 16"));
}

#[test]
fn the_most_restrictive_of_several_origins_counts() {
    let pack = one_partner();
    let category = |name: &str| pack.vocabulary().categories().find(name).unwrap();
    let of = |named: &[(&str, Origin)], by_record: Extracted<Origin>, asked: &str| {
        let of = named.iter().map(|(name, origin)| (category(name), *origin)).collect();
        let subject =
            Subject { origins: Origins { default: Origin::Event, by_category: of }, ..Subject::default() };
        let record = record(|record| record.origin = by_record);
        origin(&pack, &subject, &record, category(asked))
    };
    use super::super::subject::Origins;
    let absent = Extracted::Absent;
    assert_eq!(of(&[], absent, "email"), Origin::Event);
    assert_eq!(of(&[("email", Origin::Referral)], absent, "email"), Origin::Referral);
    assert_eq!(of(&[("email", Origin::Referral)], absent, "phone"), Origin::Event);
    assert_eq!(of(&[("contact", Origin::Referral)], absent, "phone"), Origin::Referral, "above it");
    assert_eq!(of(&[("email", Origin::Referral)], absent, "contact"), Origin::Referral, "below it");
    let both = [("contact", Origin::OwnStatement), ("email", Origin::Referral)];
    assert_eq!(of(&both, absent, "email"), Origin::Referral, "the general origin or not");
    assert_eq!(of(&[], Extracted::Known(Origin::FederatedSignIn), "email"), Origin::FederatedSignIn);
    assert_eq!(of(&[], Extracted::Unreadable, "email"), Origin::Referral);
}
