//! Times of events whose senders have wrong clocks.

use super::*;

#[tokio::test]
async fn events_about_the_wrong_entity_or_from_the_future_are_refused() {
    let ledger = over(&Arc::default());
    let suspended = parse(br#"{"kind":"suspended"}"#, EntityKind::Recipient, &Fixture).unwrap();
    let error = ledger.append(&person("alice"), suspended.clone(), None, now()).await.unwrap_err();
    assert!(matches!(error, AppendError::Event(EventError::WrongEntityKind { .. })));
    let future = EventDraft { at: Some(now() + SignedDuration::from_secs(61)), ..draft(GIVE) };
    assert_eq!(ledger.append(&person("alice"), future, None, now()).await, Err(AppendError::Future));
    ledger.append(&Entity::Recipient("acme".into()), suspended, None, now()).await.unwrap();
    assert!(ledger.is_suspended("acme") && !ledger.is_suspended("globex"));
}

#[tokio::test]
async fn a_consent_from_a_fast_clock_does_not_outlast_a_withdrawal() {
    let ledger = over(&Arc::default());
    let ahead = EventDraft { at: Some(now() + SignedDuration::from_secs(30)), ..draft(GIVE) };
    ledger.append(&person("alice"), ahead, None, now()).await.unwrap();
    let soon = now() + SignedDuration::from_secs(1);
    let withdrawal = EventDraft { at: Some(soon), ..draft(WITHDRAW) };
    ledger.append(&person("alice"), withdrawal, None, soon).await.unwrap();
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

fn seconds(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

#[tokio::test]
async fn a_withdrawal_is_in_force_whatever_the_clocks_of_senders_say() {
    // Times of report and of the event: of the consent, then of the withdrawal.
    for (reported, given, asked, withdrawn) in [
        (0, Some(0), 1, Some(80)),
        (0, Some(0), 1, Some(3600 * 24 * 400)),
        (0, Some(55), 1, Some(0)),
        (0, None, 0, Some(-50)),
        (0, Some(0), 0, Some(-60)),
        // Our own clock was fast when the consent was reported.
        (7200, None, 0, None),
        (7200, None, 0, Some(0)),
        (7200, Some(7200), 0, Some(-30)),
        (7200, None, 0, Some(-3600)),
        (7200, None, 0, Some(90)),
    ] {
        let ledger = over(&Arc::default());
        let give = EventDraft { at: given.map(seconds), ..draft(GIVE) };
        ledger.append(&person("alice"), give, None, seconds(reported)).await.unwrap();
        let withdraw = EventDraft { at: withdrawn.map(seconds), ..draft(WITHDRAW) };
        let recorded = ledger.append(&person("alice"), withdraw, None, seconds(asked)).await.unwrap();
        assert!(recorded.changed, "{reported} {given:?} {asked} {withdrawn:?}");
        assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    }
}

#[tokio::test]
async fn an_objection_from_a_fast_clock_does_not_make_a_consent_outlast_a_withdrawal() {
    // Regression: an objection with a future time moved the following consent into the future, past a withdrawal at `now`.
    let ledger = over(&Arc::default());
    let object =
        EventDraft { at: Some(seconds(55)), ..draft(r#"{"kind":"objection","purpose":"analytics"}"#) };
    ledger.append(&person("alice"), object, None, now()).await.unwrap();
    ledger.append(&person("alice"), draft(GIVE), None, now()).await.unwrap();
    let withdraw = EventDraft { at: Some(now()), ..draft(WITHDRAW) };
    assert!(ledger.append(&person("alice"), withdraw, None, now()).await.unwrap().changed);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn no_event_counts_from_the_future_and_a_late_withdrawal_does_not_end_a_newer_consent() {
    let ledger = over(&Arc::default());
    let at = |draft: &str, at: i64| EventDraft { at: Some(seconds(at)), ..self::draft(draft) };
    for (n, kind) in [WITHDRAW, r#"{"kind":"erasure"}"#, r#"{"kind":"fact","facts":{"minor":true}}"#]
        .into_iter()
        .enumerate()
    {
        let name = format!("p{n}");
        assert!(ledger.append(&person(&name), at(kind, 86_400), None, now()).await.unwrap().changed);
        let history = ledger.archive().history(&person(&name)).unwrap();
        assert_eq!(history[0].event.at, now());
    }
    for kind in [GIVE, r#"{"kind":"notice","notice":"n"}"#, r#"{"kind":"fact","facts":{"minor":false}}"#] {
        let refused = ledger.append(&person("bob"), at(kind, 61), None, now()).await;
        assert_eq!(refused, Err(AppendError::Future), "{kind}");
        ledger.append(&person("bob"), at(kind, 60), None, now()).await.unwrap();
    }
    assert!(ledger.archive().history(&person("bob")).unwrap().iter().all(|past| past.event.at <= now()));
    // A withdrawal with an earlier time does not end a later consent, and reports no change.
    let recorded = ledger.append(&person("bob"), at(WITHDRAW, -600), None, now()).await.unwrap();
    assert!(!recorded.changed);
    assert_eq!(status(&ledger, "bob"), Some(ConsentStatus::Given));
}

#[tokio::test]
async fn an_account_is_closed_since_the_time_that_was_reported() {
    let customer = Entity::Controller(id("c"));
    let closed = |at: Option<i64>| {
        let draft = parse(br#"{"kind":"account-closed"}"#, EntityKind::Controller, &Fixture).unwrap();
        EventDraft { at: at.map(seconds), ..draft }
    };
    let instruction =
        parse(br#"{"kind":"instruction","purpose":"invoicing"}"#, EntityKind::Controller, &Fixture).unwrap();
    for (reported, since) in [(Some(-8_000_000), -8_000_000), (Some(-30), -30), (Some(60), 0), (None, 0)] {
        let ledger = over(&Arc::default());
        // Another gateway's clock is two minutes ahead.
        ledger.append(&customer, instruction.clone(), None, seconds(120)).await.unwrap();
        ledger.append(&customer, closed(reported), None, now()).await.unwrap();
        let state = ledger.controller(&id("c")).1.unwrap();
        assert_eq!(state.closed_since, Some(seconds(since)), "{reported:?}");
    }
}

#[tokio::test]
async fn a_fact_counts_from_its_time_however_many_events_one_instant_has() {
    let region = |ledger: &Ledger| match ledger.subject(&id("alice")).1.map(|subject| subject.region.clone())
    {
        Some(Extracted::Known(region)) => Some(region),
        _ => None,
    };
    let (eea, us) =
        (r#"{"kind":"fact","facts":{"region":"EEA"}}"#, r#"{"kind":"fact","facts":{"region":"US"}}"#);
    let dated = |at: i64| EventDraft { at: Some(seconds(at)), ..draft(us) };
    for events in 1..4 {
        let ledger = over(&Arc::default());
        let tell = async |draft: EventDraft| {
            ledger.append(&person("alice"), draft, None, now()).await.unwrap();
            region(&ledger)
        };
        for _ in 0..events {
            assert_eq!(tell(draft(eea)).await.as_deref(), Some("EEA"));
        }
        assert_eq!(tell(dated(-30)).await.as_deref(), Some("EEA"), "{events}: it is older");
        assert_eq!(tell(dated(0)).await.as_deref(), Some("US"), "{events}: as one without a time");
        assert_eq!(tell(draft(eea)).await.as_deref(), Some("EEA"));
        assert_eq!(tell(dated(30)).await.as_deref(), Some("US"), "{events}: from a fast clock");
    }
    // An import has one instant: what is posted meanwhile, with a time before it, counts from that time.
    let ledger = over(&Arc::default());
    let posted = EventDraft { at: Some(seconds(-10)), ..draft(eea) };
    ledger.append(&person("alice"), posted, None, seconds(1)).await.unwrap();
    ledger.append(&person("alice"), dated(-30), None, now()).await.unwrap();
    assert_eq!(region(&ledger).as_deref(), Some("EEA"));
    // The clock was set back: times prove no order, and the recent fact counts.
    let ledger = over(&Arc::default());
    ledger.append(&person("alice"), draft(eea), None, seconds(7200)).await.unwrap();
    ledger.append(&person("alice"), dated(-30), None, now()).await.unwrap();
    assert_eq!(region(&ledger).as_deref(), Some("US"));
}
