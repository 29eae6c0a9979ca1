//! Acknowledgements: repetitions, and whether an event changed anything.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_recorded_once_per_idempotency_key() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    let alice = person("alice");
    let first = ledger.append(&alice, draft(GIVE), Some("k"), now()).await.unwrap();
    let later = now() + SignedDuration::from_secs(5);
    let again = ledger.append(&alice, draft(GIVE), Some("k"), later).await.unwrap();
    assert_eq!(again, Acknowledgement { repeated: true, changed: false, ..first });
    assert_eq!(ledger.append(&alice, draft(WITHDRAW), Some("k"), now()).await, Err(AppendError::KeyReused));
    let bob = ledger.append(&person("bob"), draft(GIVE), Some("k"), now()).await.unwrap();
    assert!(!bob.repeated, "a key counts for one person");

    // Two reports at once, neither durable: the second is acknowledged together with the first.
    disk.block();
    let spawn = || {
        let (ledger, alice) = (Arc::clone(&ledger), alice.clone());
        tokio::spawn(async move { ledger.append(&alice, draft(WITHDRAW), Some("k2"), now()).await })
    };
    let one = spawn();
    disk.wait_for_append();
    let two = spawn();
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!two.is_finished());
    disk.unblock();
    let (one, two) = (one.await.unwrap().unwrap(), two.await.unwrap().unwrap());
    assert_eq!((one.event, one.repeated, two.repeated), (two.event, false, true));
}

#[tokio::test]
async fn an_acknowledgement_tells_if_the_event_changed_the_state() {
    let ledger = over(&Arc::default());
    let alice = person("alice");
    for (text, changed) in [
        (r#"{"kind":"notice","notice":"n"}"#, true),
        (r#"{"kind":"notice","notice":"n"}"#, false),
        (GIVE, true),
        (GIVE, false),
        (r#"{"kind":"consent-given","purpose":"marketing","valid-until":"2027-01-01T00:00:00Z"}"#, true),
        (WITHDRAW, true),
        (WITHDRAW, false),
        (r#"{"kind":"objection-lifted","purpose":"marketing"}"#, false),
        (r#"{"kind":"opt-out","recipient":"acme"}"#, true),
        (r#"{"kind":"opt-out","recipient":"acme"}"#, false),
        (r#"{"kind":"fact","facts":{"region":"EEA","minor":false}}"#, true),
        (r#"{"kind":"correction","facts":{"region":"EEA"}}"#, false),
        (r#"{"kind":"fact","facts":{"region":"US"}}"#, true),
        (r#"{"kind":"relation-ended","relation":"domain-registrant"}"#, false),
        (r#"{"kind":"request-received","right":"access"}"#, true),
        (r#"{"kind":"request-received","right":"access"}"#, false),
        (r#"{"kind":"erasure"}"#, true),
        (r#"{"kind":"erasure"}"#, false),
    ] {
        let recorded = ledger.append(&alice, draft(text), None, now()).await.unwrap();
        assert_eq!(recorded.changed, changed, "{text}");
    }
    for (line, changed) in [
        (r#"{"recipient":"acme","kind":"resumed"}"#, false),
        (r#"{"recipient":"acme","kind":"suspended"}"#, true),
        (r#"{"recipient":"acme","kind":"suspended"}"#, false),
        (r#"{"controller":"c","kind":"instruction","purpose":"invoicing"}"#, true),
        (r#"{"controller":"c","kind":"account-closed"}"#, true),
        (r#"{"controller":"c","kind":"account-closed"}"#, false),
        (CASE, true),
        (r#"{"case":"C-7","kind":"case-approved","approver":"ada"}"#, true),
    ] {
        assert_eq!(tell(&ledger, line).await.unwrap().changed, changed, "{line}");
    }
}

#[tokio::test]
async fn a_repetition_is_recorded_again_if_it_withholds_what_is_no_longer_withheld() {
    let ledger = over(&Arc::default());
    let alice = person("alice");
    let send =
        async |text: &str, key: Option<&str>| ledger.append(&alice, draft(text), key, now()).await.unwrap();
    let until = |time: &str| {
        format!(r#"{{"kind":"consent-given","purpose":"marketing","valid-until":"{time}T00:00:00Z"}}"#)
    };
    send(GIVE, Some("g")).await;
    let first = send(WITHDRAW, Some("w")).await;
    assert!(send(GIVE, Some("g")).await.repeated, "a consent is not given anew by a repetition");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    let again = send(WITHDRAW, Some("w")).await;
    assert_eq!((again.event, again.repeated, again.changed), (first.event, true, false));

    send(GIVE, None).await;
    let anew = send(WITHDRAW, Some("w")).await;
    assert!(!anew.repeated && anew.changed && anew.event != first.event);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(send(WITHDRAW, Some("w")).await.repeated);

    // A consent with an end is recorded again if it shortens the one in force.
    assert!(send(&until("2027-06-01"), Some("u")).await.changed);
    send(&until("2027-01-01"), None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.repeated);
    send(GIVE, None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.changed);
    send(WITHDRAW, None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.repeated);
    send(&until("2028-01-01"), None).await;
    assert!(send(&until("2027-06-01"), Some("u")).await.changed, "the withdrawal is on record beside it");
    send(WITHDRAW, None).await;

    // A fact is recorded again as far as it is certain to withhold.
    let child = r#"{"kind":"fact","facts":{"minor":true,"country":"DE"}}"#;
    assert!(send(child, Some("f")).await.changed);
    assert!(send(child, Some("f")).await.repeated);
    send(r#"{"kind":"fact","facts":{"minor":false,"country":"US"}}"#, Some("f2")).await;
    assert!(send(child, Some("f")).await.changed);
    assert!(send(r#"{"kind":"fact","facts":{"minor":false,"country":"US"}}"#, Some("f2")).await.repeated);
    assert!(ledger.subject(&id("alice")).1.unwrap().minor);
}

const OVERRIDDEN: &str = r#"{"kind":"objection-overridden","purpose":"analytics","evidence":"memo"}"#;

#[tokio::test]
async fn an_override_does_not_end_what_is_recorded_after_it() {
    let analytics = |kind: &str| format!(r#"{{"kind":"{kind}","purpose":"analytics"}}"#);
    let day = |day: i64| now() - SignedDuration::from_hours(24 * (30 - day));
    let is_opposed = |ledger: &Ledger| {
        let state = ledger.subject(&id("alice")).1.unwrap();
        let refusals = state.consents.iter().filter(|said| said.status != ConsentStatus::Given);
        !state.objections.is_empty() || refusals.filter(|said| !said.overridden).count() > 0
    };
    let told = async |events: &[(&str, i64)]| {
        let ledger = over(&Arc::default());
        let mut changed = Vec::new();
        for (text, at) in events {
            let dated = EventDraft { at: Some(day(*at)), ..draft(text) };
            changed.push(ledger.append(&person("alice"), dated, None, now()).await.unwrap().changed);
        }
        (ledger, changed)
    };
    for kind in ["objection", "objection-upheld", "consent-refused", "consent-withdrawn"] {
        let no = analytics(kind);
        let (ledger, changed) = told(&[(&no, 2), (OVERRIDDEN, 10)]).await;
        assert!(!is_opposed(&ledger) && changed == [true, true], "{kind}");
        // A letter of the first day, which nobody had read when the override was recorded.
        let late = EventDraft { at: Some(day(1)), ..draft(&no) };
        assert!(ledger.append(&person("alice"), late, None, now()).await.unwrap().changed, "{kind}");
        assert!(is_opposed(&ledger), "{kind}");
        let history = ledger.archive().history(&person("alice")).unwrap();
        assert_eq!(history[2].event.at, day(10), "{kind}: it counts from the time of the override");
        let again = EventDraft { at: Some(day(11)), ..draft(OVERRIDDEN) };
        ledger.append(&person("alice"), again, None, now()).await.unwrap();
        assert!(!is_opposed(&ledger), "{kind}: weighed now");
    }
    // An override of something else, and one that the letter follows, leave its time alone.
    let (objection, lifted) = (analytics("objection"), analytics("objection-lifted"));
    for before in [OVERRIDDEN.replace("analytics", "security"), OVERRIDDEN.to_owned()] {
        let at = if before == OVERRIDDEN { 3 } else { 10 };
        let (ledger, _) = told(&[(&before, at), (&objection, 4)]).await;
        assert!(is_opposed(&ledger), "{before}");
        assert_eq!(ledger.archive().history(&person("alice")).unwrap()[1].event.at, day(4), "{before}");
    }
    // Lifting is the person's own act: it counts by its time.
    for lifted_at in [5, 12] {
        let (ledger, changed) = told(&[(&lifted, lifted_at), (OVERRIDDEN, 10), (&objection, 4)]).await;
        assert!(!is_opposed(&ledger) && !changed[2], "{lifted_at}");
    }
}

#[tokio::test]
async fn a_repetition_of_an_overridden_objection_is_not_recorded_again() {
    let ledger = over(&Arc::default());
    let earlier = now() - SignedDuration::from_hours(48);
    let objection =
        EventDraft { at: Some(earlier), ..draft(r#"{"kind":"objection","purpose":"analytics"}"#) };
    let send =
        async |draft: EventDraft, key| ledger.append(&person("alice"), draft, key, now()).await.unwrap();
    assert!(send(objection.clone(), Some("o")).await.changed);
    assert!(send(draft(OVERRIDDEN), None).await.changed);
    assert!(send(objection, Some("o")).await.repeated);
    assert_eq!(ledger.subject(&id("alice")).1.unwrap().objections, []);
}

#[tokio::test]
async fn events_that_only_withhold_make_nobody_known() {
    let known = async |texts: &[&str]| {
        let ledger = over(&Arc::default());
        for text in texts {
            ledger.append(&person("alice"), draft(text), None, now()).await.unwrap();
        }
        ledger.subject(&id("alice")).1.is_some_and(|subject| !subject.only_refusals)
    };
    for text in [
        WITHDRAW,
        r#"{"kind":"objection","purpose":"marketing"}"#,
        r#"{"kind":"objection-lifted","purpose":"marketing"}"#,
        r#"{"kind":"opt-out","recipient":"acme"}"#,
        r#"{"kind":"opt-out-lifted","recipient":"acme"}"#,
        r#"{"kind":"restriction-lifted"}"#,
        r#"{"kind":"category-allowed","category":"phone"}"#,
        r#"{"kind":"relation-ended","relation":"domain-registrant"}"#,
        r#"{"kind":"fact","facts":{"transfer-consent":false}}"#,
        r#"{"kind":"fact","facts":{"region":null}}"#,
        r#"{"kind":"fact","facts":{"country":null,"minor":true}}"#,
        r#"{"kind":"correction","facts":{"minor":true}}"#,
        r#"{"kind":"fact","facts":{"origin":"referral"}}"#,
        r#"{"kind":"fact","facts":{"origin":{"email":"referral"}}}"#,
        r#"{"kind":"request-received","right":"access"}"#,
    ] {
        assert!(!known(&[text]).await, "{text}");
        assert!(!known(&[text, text]).await, "{text}");
    }
    assert!(
        !known(&[
            WITHDRAW,
            r#"{"kind":"objection","purpose":"analytics"}"#,
            r#"{"kind":"objection-lifted","purpose":"analytics"}"#
        ])
        .await
    );
    for text in [
        GIVE,
        r#"{"kind":"notice","notice":"n"}"#,
        r#"{"kind":"relation","relation":"domain-registrant"}"#,
        r#"{"kind":"fact","facts":{"region":"EEA"}}"#,
        r#"{"kind":"fact","facts":{"minor":false}}"#,
        r#"{"kind":"fact","facts":{"minor":true,"country":"DE"}}"#,
        r#"{"kind":"correction","facts":{"origin":"social"}}"#,
    ] {
        assert!(known(&[text]).await, "{text}");
    }
}

#[tokio::test]
async fn controllers_and_subjects_of_the_same_id_are_separate() {
    let ledger = over(&Arc::default());
    let instruct =
        parse(br#"{"kind":"instruction","purpose":"invoicing"}"#, EntityKind::Controller, &Fixture).unwrap();
    ledger.append(&Entity::Controller(id("acct-1")), instruct, None, now()).await.unwrap();
    assert_eq!(ledger.controller(&id("acct-1")).1.unwrap().instructions.len(), 1);
    assert!(ledger.subject(&id("acct-1")).1.is_none() && ledger.controller(&id("acct-2")).1.is_none());
}
