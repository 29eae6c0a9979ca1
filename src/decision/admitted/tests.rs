use std::sync::Arc;

use super::*;
use crate::decision::testing::{one_partner, one_partner_and, one_partner_saying};
use crate::decision::{
    Addressee, Consent, ConsentStatus, Extracted, LegalReference, Objection, OperationForecast, PathNames,
    RecipientFacts,
};
use crate::vocabulary::{EEA, Operation, Safeguard};

/// Admits a request about one person on a route with these classes.
fn admitted(
    decisions: &Decisions,
    kind: &str,
    purpose: &str,
    classes: &[&[&str]],
    unclassified: bool,
) -> Admitted {
    let request = admission_request(decisions, kind, purpose);
    let vocabulary = decisions.pack().vocabulary();
    let category = |name: &&str| vocabulary.categories().find(name).unwrap();
    let sets: Vec<Vec<CategoryId>> = classes.iter().map(|set| set.iter().map(category).collect()).collect();
    decisions.admit(&request, &Classes::new(sets, unclassified)).unwrap()
}

fn admission_request(decisions: &Decisions, kind: &str, purpose: &str) -> AdmissionRequest {
    let vocabulary = decisions.pack().vocabulary();
    let purpose = vocabulary.purposes().find(purpose).unwrap();
    let recipient = RecipientFacts {
        name: "acme".into(),
        kind: vocabulary.kinds().find(kind).unwrap(),
        country: None,
        region: Some(EEA.into()),
        purposes: vec![purpose],
        agreement: true,
        safeguard: Safeguard::None,
        suspended: false,
    };
    AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: EEA.into(),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    }
}

fn consented(decisions: &Decisions, purpose: &str, until: Option<Timestamp>) -> Subject {
    let purpose = decisions.pack().vocabulary().purposes().find(purpose).unwrap();
    let to = Addressee::Anyone;
    let (status, order, overridden) = (ConsentStatus::Given, Some(1), false);
    let consent = Consent { purpose, to, status, until, order, overridden };
    Subject { consents: vec![consent], region: Extracted::Known(EEA.into()), ..Subject::default() }
}

fn forms(permit: &Permit) -> Vec<Form> {
    permit.releases().iter().map(|release| release.form).collect()
}

fn judge(admitted: &Admitted, subject: &Subject, now: Timestamp) -> Permit {
    let (controller, record) = (Controller::default(), RecordFacts::default());
    admitted.judge(subject, &controller, &record, Relationship::default(), now)
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

#[test]
fn every_category_of_a_field_must_be_permitted() {
    let decisions = Decisions::new(one_partner());
    let classes: &[&[&str]] =
        &[&["email"], &["billing"], &["email", "billing"], &["email", "aggregate"], &["aggregate"]];
    let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", classes, false);
    let permit = judge(&admitted, &consented(&decisions, "marketing", None), NOW);
    use Form::{Clear, Removed};
    assert_eq!(forms(&permit), [Clear, Removed, Removed, Clear, Clear]);
    let [email, billing, _, mixed, aggregate] = permit.releases() else { unreachable!() };
    assert_eq!(email.rules.iter().map(|rule| &**rule).collect::<Vec<_>>(), ["marketing-partner"]);
    assert_eq!(
        email.clauses.iter().map(|clause| &**clause).collect::<Vec<_>>(),
        ["G-6.7b", "G-6.4b", "G-3b"]
    );
    assert_eq!(email.basis, Some(Basis::Consent));
    assert_eq!(mixed.basis, Some(Basis::Consent), "the personal category determines the basis");
    assert_eq!(aggregate.basis, Some(Basis::NotPersonal));
    assert_eq!((billing.basis, billing.rules.len()), (None, 0));
}

fn reasons(permit: &Permit) -> Vec<Option<&'static str>> {
    permit.releases().iter().map(|release| release.reason.map(Reason::name)).collect()
}

#[test]
fn unclassified_fields_leave_only_if_the_route_releases_them() {
    let decisions = Decisions::new(one_partner());
    let (form, reason) = ([Form::Removed], [Some("unclassified")]);
    let route = admitted(&decisions, "employee", "customer-support", &[&[]], false);
    let known = judge(&route, &Subject::default(), NOW);
    assert_eq!((forms(&known).as_slice(), reasons(&known).as_slice()), (&form[..], &reason[..]));
    let nobodys = route.no_subject();
    assert_eq!((forms(&nobodys).as_slice(), reasons(&nobodys).as_slice()), (&form[..], &reason[..]));
    let released =
        judge(&admitted(&decisions, "employee", "customer-support", &[&[]], true), &Subject::default(), NOW);
    assert_eq!(forms(&released), [Form::Clear]);
    let [release] = released.releases() else { unreachable!() };
    assert_eq!((release.basis, release.reason, release.rules.len()), (None, None, 0));
}

#[test]
fn unclassified_fields_are_withheld_from_restricted_erased_refusing_and_unknown_subjects() {
    let decisions = Decisions::new(one_partner());
    let vocabulary = decisions.pack().vocabulary();
    let route = admitted(&decisions, "employee", "customer-support", &[&[], &["email"]], true);
    let subject = |change: &dyn Fn(&mut Subject)| {
        let mut subject = Subject::default();
        change(&mut subject);
        subject
    };
    let phone = vocabulary.categories().find("phone").unwrap();
    for (who, subject, reason) in [
        ("erased", subject(&|subject| subject.erased = true), "prohibited"),
        ("restricted", subject(&|subject| subject.restricted = true), "prohibited"),
        ("a minor", subject(&|subject| subject.minor = true), "prohibited"),
        ("opted out", subject(&|subject| subject.opt_outs = vec!["acme".into()]), "refused"),
        ("refused a category", subject(&|subject| subject.refused_categories = vec![phone]), "refused"),
    ] {
        let permit = judge(&route, &subject, NOW);
        assert_eq!((permit.form(ClassId(0)), reasons(&permit)[0]), (Form::Removed, Some(reason)), "{who}");
        assert!(!permit.releases()[0].rules.is_empty(), "{who}");
    }
    let record =
        RecordFacts { birth_date: Extracted::Known("2020-02-03".parse().unwrap()), ..Default::default() };
    let (controller, relationship) = (Controller::default(), Relationship::default());
    let now = "2026-06-15T00:00:00Z".parse().unwrap();
    let of = |known: Option<&Subject>, unknown, record: &RecordFacts| {
        let permit = route.judge_person(known, unknown, &controller, record, relationship, now);
        (permit.form(ClassId(0)), reasons(&permit)[0])
    };
    use UnknownSubject::{NoFacts, Withhold};
    let nothing = RecordFacts::default();
    assert_eq!(of(None, Withhold, &nothing), (Form::Removed, Some("unknown-subject")));
    assert_eq!(of(None, NoFacts, &nothing), (Form::Clear, None));
    assert_eq!(of(None, NoFacts, &record), (Form::Removed, Some("prohibited")), "a minor by the record");
    let unreadable = RecordFacts { birth_date: Extracted::Unreadable, ..RecordFacts::default() };
    assert_eq!(of(Some(&Subject::default()), Withhold, &unreadable), (Form::Removed, Some("unreadable")));
    let refuses = Subject { only_refusals: true, ..Subject::default() };
    assert_eq!(of(Some(&refuses), Withhold, &nothing), (Form::Removed, Some("unknown-subject")));
    assert_eq!(reasons(&route.no_subject()), [Some("no-subject"); 2]);
    assert!(route.withholds(ClassId(0), Form::Removed), "with `withheld = \"deny\"` nothing leaves");
}

#[test]
fn unclassified_fields_of_an_erased_person_never_leave() {
    let decisions = Decisions::new(one_partner());
    // The pack's own prohibition excepts these purposes.
    let route = admitted(&decisions, "data-subject", "data-subject-request", &[&[]], true);
    let erased = Subject { erased: true, ..Subject::default() };
    assert_eq!(forms(&judge(&route, &erased, NOW)), [Form::Removed]);
    assert_eq!(forms(&judge(&route, &Subject::default(), NOW)), [Form::Clear]);
}

#[test]
fn a_case_does_not_cover_unclassified_fields() {
    let decisions = Decisions::new(one_partner());
    let mut request = admission_request(&decisions, "public-authority", "court-order");
    request.legal_reference = LegalReference::Everything;
    let route = decisions.admit(&request, &Classes::new(vec![vec![]], true)).unwrap();
    let relationship = Relationship { named_in_case: true, ..Relationship::default() };
    let (subject, controller, record) = (Subject::default(), Controller::default(), RecordFacts::default());
    let permit = route.judge(&subject, &controller, &record, relationship, NOW);
    assert_eq!((forms(&permit), reasons(&permit)), (vec![Form::Removed], vec![Some("unclassified")]));
}

#[test]
fn withheld_classes_have_a_reason() {
    let decisions = Decisions::new(one_partner());
    let vocabulary = decisions.pack().vocabulary();
    let classes: &[&[&str]] = &[&["email"], &["password"]];
    let route = admitted(&decisions, "marketing-partner", "direct-marketing", classes, false);
    let purpose = |name: &str| vocabulary.purposes().find(name).unwrap();
    let said = |status| {
        let to = Addressee::Anyone;
        let purpose = purpose("direct-marketing");
        Consent { purpose, to, status, until: None, order: Some(1), overridden: false }
    };
    let subject = |consents: Vec<Consent>| Subject { consents, ..Subject::default() };
    let given = subject(vec![said(ConsentStatus::Given)]);
    let objection = Objection { purpose: purpose("marketing"), upheld: false, order: Some(2) };
    for (why, subject, reason) in [
        ("never asked", subject(vec![]), "no-rule"),
        ("withdrew", subject(vec![said(ConsentStatus::Withdrawn)]), "refused"),
        ("refused", subject(vec![said(ConsentStatus::Refused)]), "refused"),
        ("expired", subject(vec![said(ConsentStatus::Expired)]), "no-rule"),
        ("objected", Subject { objections: vec![objection.clone()], ..given.clone() }, "refused"),
        ("opted out", Subject { opt_outs: vec!["acme".into()], ..given.clone() }, "refused"),
        ("erased", Subject { erased: true, ..given.clone() }, "prohibited"),
        (
            "erased and objected",
            Subject { erased: true, objections: vec![objection], ..given.clone() },
            "prohibited",
        ),
    ] {
        let permit = judge(&route, &subject, NOW);
        assert_eq!(permit.form(ClassId(0)), Form::Removed, "{why}");
        assert_eq!(reasons(&permit), [Some(reason), Some("no-rule")], "{why}");
    }
    assert_eq!(reasons(&judge(&route, &given, NOW)), [None, Some("no-rule")]);
    let unreadable = RecordFacts { birth_date: Extracted::Unreadable, ..RecordFacts::default() };
    let (controller, relationship) = (Controller::default(), Relationship::default());
    let permit = route.judge(&given, &controller, &unreadable, relationship, NOW);
    assert_eq!(reasons(&permit), [Some("unreadable"), Some("no-rule")]);
    let unknown = route.judge_person(
        None,
        UnknownSubject::Withhold,
        &controller,
        &RecordFacts::default(),
        relationship,
        NOW,
    );
    assert_eq!(reasons(&unknown)[0], Some("unknown-subject"));
}

#[test]
fn refusals_alone_do_not_make_a_person_known() {
    let decisions = Decisions::new(one_partner());
    let route = admitted(&decisions, "employee", "customer-support", &[&["email"], &["non-personal"]], false);
    let refuses = Subject { only_refusals: true, ..Subject::default() };
    let (controller, record, relationship) =
        (Controller::default(), RecordFacts::default(), Relationship::default());
    let of = |unknown| {
        forms(&route.judge_person(Some(&refuses), unknown, &controller, &record, relationship, NOW))
    };
    assert_eq!(of(UnknownSubject::Withhold), [Form::Removed, Form::Clear]);
    assert_eq!(of(UnknownSubject::NoFacts), [Form::Clear, Form::Clear]);
}

#[test]
fn admit_once_decides_alike_and_caches_nothing() {
    let decisions = Decisions::new(one_partner());
    let request = admission_request(&decisions, "employee", "customer-support");
    let vocabulary = decisions.pack().vocabulary();
    let classes = Classes::new(vec![vec![vocabulary.categories().find("email").unwrap()]], false);
    let once = decisions.admit_once(&request, &classes).unwrap();
    assert_eq!(decisions.slices.len(), 0);
    let route = decisions.admit(&request, &classes).unwrap();
    for subject in [Subject::default(), Subject { erased: true, ..Subject::default() }] {
        assert!(judge(&once, &subject, NOW).is_equivalent(&judge(&route, &subject, NOW)));
    }
}

#[test]
fn a_field_is_judged_for_the_never_released_categories_below_it() {
    let decisions = Decisions::new(one_partner());
    let vocabulary = decisions.pack().vocabulary();
    let classes: &[&[&str]] = &[
        &["payment"],
        &["billing"],
        &["payment", "billing"],
        &["personal"],
        &["contact"],
        &["name", "payment"],
    ];
    use Form::{Clear, Removed};
    for (kind, purpose, contact) in
        [("payment-processor", "payment", Removed), ("employee", "customer-support", Clear)]
    {
        let request = admission_request(&decisions, kind, purpose);
        let route = admitted(&decisions, kind, purpose, classes, false);
        let permit = judge(&route, &Subject::default(), NOW);
        assert_eq!(forms(&permit), [Removed, Clear, Removed, Removed, contact, Removed], "{kind}");
        let foreseen = decisions.best_forms(&request).unwrap();
        for name in ["payment", "personal"] {
            let category = vocabulary.categories().find(name).unwrap();
            assert_eq!((route.best(category), foreseen(category)), (Removed, Removed), "{kind} {name}");
        }
        assert!(!route.withholds(ClassId(0), Removed), "nobody's record would have it");
    }
    let alter = AdmissionRequest {
        operation: Operation::Alter,
        ..admission_request(&decisions, "employee", "customer-support")
    };
    let category = |name: &&str| vocabulary.categories().find(name).unwrap();
    let sets: Vec<Vec<CategoryId>> = classes.iter().map(|set| set.iter().map(category).collect()).collect();
    let done = decisions.admit_operation(&alter, &Classes::new(sets, false)).unwrap();
    let permit = judge(&done, &Subject::default(), NOW);
    assert_eq!(forms(&permit), [Removed, Clear, Removed, Removed, Clear, Removed]);
}

#[test]
fn a_record_past_its_retention_counts_only_if_that_withholds_something() {
    let kept = "\n[retention]\nemail = \"365d\"\n";
    let decisions = Decisions::new(one_partner_saying("\n[retention]\n", kept));
    let made =
        |day: &str| RecordFacts { created: Extracted::Known(day.parse().unwrap()), ..Default::default() };
    let (old, young) = (made("2020-01-01T00:00:00Z"), made("2026-06-01T00:00:00Z"));
    let now = "2026-06-15T00:00:00Z".parse().unwrap();
    let counts = |purpose: &str, subject: Option<&Subject>, record: &RecordFacts| {
        let route = admitted(&decisions, "employee", purpose, &[&["email"], &["name"]], false);
        let (controller, relationship) = (Controller::default(), Relationship::default());
        route.overdue(subject, &controller, record, relationship, now).retention
    };
    let known = Subject { region: Extracted::Known(EEA.into()), ..Subject::default() };
    assert!(counts("customer-support", Some(&known), &old) && counts("customer-support", None, &old));
    assert!(!counts("customer-support", Some(&known), &young));
    let erased = Subject { erased: true, ..known.clone() };
    assert!(!counts("customer-support", Some(&erased), &old), "withheld for another reason");
    assert!(!counts("legal-obligation", Some(&known), &old), "may be used for longer");
}

#[test]
fn only_data_about_no_person_leave_without_a_subject() {
    let decisions = Decisions::new(one_partner());
    let classes: &[&[&str]] = &[
        &["email"],
        &["service-data"],
        &["published"],
        &["aggregate"],
        &["non-personal"],
        &["aggregate", "email"],
    ];
    let admitted = admitted(&decisions, "employee", "customer-support", classes, false);
    use Form::{Clear, Removed};
    assert_eq!(forms(&admitted.no_subject()), [Removed, Removed, Removed, Clear, Clear, Removed]);
    assert_eq!(
        forms(&judge(&admitted, &Subject::default(), NOW)),
        [Clear, Clear, Clear, Clear, Clear, Clear]
    );
}

#[test]
fn data_about_no_person_are_judged_by_the_facts_of_the_recipient() {
    let pack = one_partner_and(
        r#"@id("numbers-stay") @clause("G-tr")
        forbid (principal, action, resource in Category::"aggregate")
        when { context.leaves_eea && context.safeguard == "none" };"#,
    );
    let decisions = Decisions::new(pack);
    let vocabulary = decisions.pack().vocabulary();
    let classes = Classes::new(vec![vec![vocabulary.categories().find("aggregate").unwrap()]], false);
    let form = |region: Option<&str>, safeguard: Safeguard| {
        let request = admission_request(&decisions, "employee", "customer-support");
        let recipient = RecipientFacts {
            region: region.map(Arc::from),
            safeguard,
            ..RecipientFacts::clone(&request.recipient)
        };
        let request = AdmissionRequest { recipient: Arc::new(recipient), ..request };
        forms(&decisions.admit(&request, &classes).unwrap().no_subject())
    };
    use Form::{Clear, Removed};
    for _ in 0..2 {
        assert_eq!(form(Some("US"), Safeguard::StandardContractualClauses), [Clear]);
        assert_eq!(form(Some("US"), Safeguard::None), [Removed]);
        assert_eq!(form(None, Safeguard::None), [Removed]);
        assert_eq!(form(Some(EEA), Safeguard::None), [Clear]);
    }
}

#[test]
fn unread_answers_share_a_slice_and_best_forms_caches_none() {
    let decisions = Decisions::new(one_partner());
    let request = admission_request(&decisions, "employee", "customer-support");
    for _ in 0..3 {
        decisions.admit(&request, Classes::unread()).unwrap();
    }
    assert_eq!(decisions.slices.len(), 1);
    let foreseen = decisions.best_forms(&request).unwrap();
    assert_eq!(decisions.slices.len(), 1);
    let admitted = decisions.admit(&request, Classes::unread()).unwrap();
    for category in decisions.pack().vocabulary().categories().preorder() {
        assert_eq!(foreseen(category), admitted.best(category));
    }
}

#[test]
fn a_case_releases_its_categories_about_the_people_it_names() {
    let decisions = Decisions::new(one_partner());
    let vocabulary = decisions.pack().vocabulary();
    let category = |name: &str| vocabulary.categories().find(name).unwrap();
    let mut request = admission_request(&decisions, "public-authority", "court-order");
    let names = [&["email"][..], &["contact"], &["phone"], &["name"], &["health"], &["email", "name"]];
    let sets: Vec<Vec<CategoryId>> =
        names.iter().map(|set| set.iter().map(|name| category(name)).collect()).collect();
    let classes = Classes::new(sets, false);
    let judged = |request: &AdmissionRequest, named_in_case: bool| {
        let admitted = decisions.admit(request, &classes).unwrap();
        let relationship = Relationship { named_in_case, ..Relationship::default() };
        let (subject, controller, record) =
            (Subject::default(), Controller::default(), RecordFacts::default());
        forms(&admitted.judge(&subject, &controller, &record, relationship, NOW))
    };
    assert_eq!(decisions.admit(&request, &classes).unwrap_err(), Denial::LegalReferenceMissing);
    use Form::{Clear, Removed};
    request.legal_reference = LegalReference::Everything;
    assert_eq!(judged(&request, true), [Clear; 6]);
    assert_eq!(judged(&request, false), [Removed; 6]);
    let of = |named: &[&str]| LegalReference::Categories(named.iter().map(|name| category(name)).collect());
    request.legal_reference = of(&["contact"]);
    assert_eq!(judged(&request, true), [Clear, Clear, Clear, Removed, Removed, Removed], "and its children");
    assert_eq!(judged(&request, false), [Removed; 6]);
    let admitted = decisions.admit(&request, &classes).unwrap();
    assert_eq!(forms(&admitted.no_subject()), [Removed; 6]);
    let best = ["phone", "name", "non-personal"].map(|name| admitted.best(category(name)));
    assert_eq!(best, [Clear, Removed, Clear], "nobody may be looked for by what the case does not cover");
    request.legal_reference = of(&["email", "special"]);
    assert_eq!(judged(&request, true), [Clear, Removed, Removed, Removed, Clear, Removed], "not its parent");
}

#[test]
fn the_widest_case_counts_in_a_forecast_if_the_path_names_the_person() {
    let rule = r#"@id("orders") @clause("G-4c") @basis("legal-obligation")
        permit (principal in Kind::"public-authority", action in Action::"legal", resource in Category::"personal")
        when { context.operation == "alter" && context.legal_reference };"#;
    let pack = one_partner_and(rule);
    let decisions = Decisions::new(Arc::clone(&pack));
    let of_staff = admission_request(&decisions, "employee", "customer-support");
    let uncited = AdmissionRequest {
        operation: Operation::Alter,
        ..admission_request(&decisions, "public-authority", "law-enforcement")
    };
    let widest = |request: &AdmissionRequest| {
        LegalReference::widest(pack.vocabulary(), request.recipient.kind, request.purpose)
    };
    assert_eq!((widest(&of_staff), widest(&uncited)), (LegalReference::None, LegalReference::Everything));
    let cited = AdmissionRequest { legal_reference: widest(&uncited), ..uncited.clone() };
    let email = pack.vocabulary().categories().find("email").unwrap();
    let classes = Classes::new(vec![vec![email]], false);
    let mut forecast = OperationForecast::new(&pack);
    let mut carries_out =
        |request, subject| forecast.carries_out(request, &classes, PathNames { subject, controller: false });
    assert_eq!(carries_out(&cited, true), Ok(true));
    assert_eq!(carries_out(&cited, false), Ok(false), "a case names people");
    assert_eq!(carries_out(&uncited, true), Err(Denial::LegalReferenceMissing));
}

#[test]
fn a_cached_decision_depends_on_the_facts_and_the_time() {
    let decisions = Decisions::new(one_partner());
    let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", &[&["email"]], false);
    let until = Timestamp::from_second(10).unwrap();
    let subject = consented(&decisions, "direct-marketing", Some(until));
    for _ in 0..3 {
        assert_eq!(forms(&judge(&admitted, &subject, NOW)), [Form::Clear]);
        assert_eq!(forms(&judge(&admitted, &subject, until)), [Form::Removed], "expired");
        let objected = Subject { restricted: true, ..subject.clone() };
        assert_eq!(forms(&judge(&admitted, &objected, NOW)), [Form::Removed]);
    }
    assert_eq!(admitted.slice.cache.len(), 3);
    // A fact that no rule of the slice compares is not part of the key.
    let irrelevant = Subject { transfer_consent: true, ..subject };
    judge(&admitted, &irrelevant, NOW);
    assert_eq!(admitted.slice.cache.len(), 3);
}

#[test]
fn cached_decisions_are_checked_and_the_stricter_one_applies() {
    let decisions = Decisions::new(one_partner());
    let admitted = admitted(&decisions, "marketing-partner", "direct-marketing", &[&["email"]], false);
    let (with, without) = (consented(&decisions, "marketing", None), Subject::default());
    let clear = judge(&admitted, &with, NOW);
    judge(&admitted, &without, NOW);
    // Corrupts the cache: what was withheld is cached as released.
    for mut known in admitted.slice.cache.iter_mut() {
        *known.value_mut() = clear.clone();
    }
    for _ in 0..=CHECK_INTERVAL {
        judge(&admitted, &without, NOW);
    }
    assert_eq!(decisions.divergences(), 1);
    assert_eq!(forms(&judge(&admitted, &without, NOW)), [Form::Removed]);
}

#[test]
fn strictest_takes_the_least_revealing_form_of_each_class() {
    let permit = |forms: &[Form]| Permit::of(forms);
    let least = |permits: &[Permit]| forms(&Permit::strictest(permits));
    use Form::{Clear, Masked, Removed};
    assert_eq!(least(&[permit(&[Clear, Removed]), permit(&[Masked, Clear])]), [Masked, Removed]);
    assert_eq!(least(&[permit(&[Clear, Clear])]), [Clear, Clear]);
    assert_eq!(least(&[permit(&[Clear, Clear]), permit(&[Clear])]), [Clear], "a class one does not know");
    assert_eq!(least(&[]), []);
}

#[test]
fn the_cache_is_bounded() {
    let decisions = Decisions::new(one_partner());
    let admitted = admitted(&decisions, "employee", "customer-support", &[&["email"]], false);
    let permit = judge(&admitted, &Subject::default(), NOW);
    let categories: Vec<CategoryId> = decisions.pack().vocabulary().categories().ids().collect();
    for number in 0..MAX_CACHED_DECISIONS {
        let facts = Facts::default().with(Fact::Consent, u8::try_from(number % 5).unwrap());
        let overrides = categories.iter().enumerate().filter(|(at, _)| number >> (at % 13) & 1 == 1);
        let overrides = overrides.map(|(_, &category)| (category, facts)).collect();
        admitted.slice.cache.insert(DecisionKey { facts, overrides }, permit.clone());
    }
    let erased = Subject { erased: true, ..Subject::default() };
    judge(&admitted, &erased, NOW);
    assert!(admitted.slice.cache.len() <= MAX_CACHED_DECISIONS);
}
