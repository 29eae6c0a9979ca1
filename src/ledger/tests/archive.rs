//! Earlier states, open requests, and ids whose rules have changed.

use super::*;

#[tokio::test]
async fn an_earlier_state_is_shown_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let given = EventDraft { at: at("2026-01-01T00:00:00Z"), ..draft(GIVE) };
    let withdrawn = EventDraft { at: at("2026-03-01T00:00:00Z"), ..draft(WITHDRAW) };
    ledger.append(&person("alice"), given, None, now()).await.unwrap();
    ledger.append(&person("alice"), withdrawn, None, now()).await.unwrap();
    let show = |time| ledger.archive().show(&id("alice"), time, now()).unwrap();
    assert!(show(at("2025-12-31T00:00:00Z")).is_none());
    let before = show(at("2026-02-01T00:00:00Z")).unwrap();
    assert_eq!((&before["consents"]["marketing"], &before["position"]), (&"given".into(), &1.into()));
    let today = show(None).unwrap();
    assert_eq!((&today["consents"]["marketing"], &today["position"]), (&"withdrawn".into(), &2.into()));
}

#[tokio::test]
async fn requests_are_open_until_they_are_answered_and_make_nobody_known() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let ledger = open(&path, &keys);
    let request = |what: &str| format!(r#"{{"subject":"alice","kind":"request-{what}","right":"access"}}"#);
    let none = tell(&ledger, &request("answered")).await;
    assert_eq!(none, Err(AppendError::Conflict(Conflict::NoOpenRequest)));
    tell(&ledger, &request("received")).await.unwrap();
    tell(&ledger, &request("received")).await.unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 0));
    assert!(ledger.subject(&id("alice")).1.is_none());
    drop(ledger);
    let ledger = open(&path, &keys);
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 0));
    assert_eq!(ledger.archive().requests().unwrap(), ledger.requests());
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (1, 1), "both are known now");
    tell(&ledger, &request("answered")).await.unwrap();
    assert_eq!((ledger.requests().len(), ledger.subject_count()), (0, 1));
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given));
    assert!(ledger.archive().requests().unwrap().is_empty());
}

#[tokio::test]
async fn answered_requests_are_listed_page_by_page_last_first() {
    let ledger = Ledger::with_store(Arc::new(MemoryStore::new()), &keys(), Arc::new(Fixture)).unwrap();
    let asked = |person: &str, what: &str, right: &str, at: &str| {
        format!(r#"{{"subject":"{person}","kind":"request-{what}","right":"{right}","at":"{at}"}}"#)
    };
    for n in 0..5 {
        let person = format!("p-{n}");
        tell(&ledger, &asked(&person, "received", "access", "2026-01-01T00:00:00Z")).await.unwrap();
        tell(&ledger, &asked(&person, "received", "erasure", "2026-01-01T00:00:00Z")).await.unwrap();
        append(&ledger, &person, GIVE).await.unwrap().unwrap();
        tell(&ledger, &asked(&person, "answered", "access", "2026-01-05T00:00:00Z")).await.unwrap();
    }
    tell(&ledger, &asked("p-0", "answered", "erasure", "2026-03-01T00:00:00Z")).await.unwrap();
    let page = |before, limit| {
        let (found, next) = ledger.archive().answered_requests(before, limit).unwrap();
        let shown = |found: &AnsweredRequest| {
            (found.person.id().to_string(), found.right.name(), found.was_overdue())
        };
        (found.iter().map(shown).collect::<Vec<_>>(), next)
    };
    let (first, next) = page(None, 2);
    assert_eq!(first, [("p-0".to_owned(), "erasure", true), ("p-4".to_owned(), "access", false)]);
    let (second, next) = page(next, 2);
    assert_eq!(second.iter().map(|(id, ..)| &**id).collect::<Vec<_>>(), ["p-3", "p-2"]);
    let (third, next) = page(next, 3);
    assert_eq!(third.iter().map(|(id, ..)| &**id).collect::<Vec<_>>(), ["p-1", "p-0"]);
    assert_eq!(next, None);
    assert_eq!(page(Some(Position(1)), 2), (Vec::new(), None));
    assert_eq!(page(Some(Position(u64::MAX)), 2).0.len(), 2);
    assert_eq!(
        ledger.archive().answered_requests(None, 1).unwrap().0[0].json()["answered"],
        "2026-03-01T00:00:00Z"
    );
}

/// Rules for the namespace `email`, or none.
fn language(lowercase: bool) -> Arc<VocabularyTerms> {
    let rule = IdRule::new(Normalization { lowercase, ..Normalization::default() }, None).unwrap();
    let namespaces = Namespaces::new([("email".into(), rule)]);
    Arc::new(VocabularyTerms::new(Arc::new(crate::vocabulary::Vocabulary::standard()), Arc::new(namespaces)))
}

#[allow(clippy::too_many_lines, reason = "one history, read under two configurations")]
#[tokio::test]
async fn ids_that_become_one_person_share_one_history() {
    let (disk, keys) = (Arc::new(Disk::default()), keys());
    let over = |names: &Arc<VocabularyTerms>| {
        Ledger::with_store(
            Arc::clone(&disk) as Arc<dyn Store>,
            &keys,
            Arc::clone(names) as Arc<dyn TermLookup>,
        )
        .unwrap()
    };
    let email =
        |names: &VocabularyTerms, spelled| names.namespaces().reader(Some("email")).read(spelled).unwrap();
    let before = language(false);
    let ledger = over(&before);
    for (spelled, text) in [
        ("Ada", GIVE),
        ("ada", r#"{"kind":"request-received","right":"access"}"#),
        ("ADA", r#"{"kind":"objection","purpose":"analytics"}"#),
        ("bob", GIVE),
        ("ada", WITHDRAW),
    ] {
        let entity = Entity::Subject(email(&before, spelled));
        ledger
            .append(&entity, draft_in(&before, text), (spelled == "Ada").then_some("key"), now())
            .await
            .unwrap();
    }
    let logged = |spelled| ledger.person(&email(&before, spelled)).0.secret.unwrap();
    let secrets = ["Ada", "ada", "ADA"].map(logged);
    let exported = exported_lines(&ledger);
    assert_eq!((ledger.subject_count(), exported.len()), (4, 5));
    drop(ledger);

    let today = language(true);
    let ledger = over(&today);
    let ada = email(&today, "aDa");
    assert_eq!(ledger.subject_count(), 2);
    let (fingerprint, state) = ledger.subject(&ada);
    let state = state.unwrap();
    assert_eq!(state.consents.first().map(|consent| consent.status), Some(ConsentStatus::Withdrawn));
    assert_eq!(state.objections.len(), 1);
    let entity = Entity::Subject(ada.clone());
    let history = ledger.archive().history(&entity).unwrap();
    let positions: Vec<u64> = history.iter().map(|past| past.position.0).collect();
    assert_eq!(positions, [1, 2, 3, 5]);
    assert_eq!(ledger.requests().len(), 1);
    assert_eq!(ledger.archive().requests().unwrap().len(), 1);
    let known = ledger.archive().fingerprints(&ada, ledger.fingerprints());
    assert_eq!(known.len(), 3);
    assert_eq!(known[0], fingerprint);
    assert!(known.contains(&ledger.fingerprints().subject(&email(&before, "Ada"))));
    // The oldest of the three log secrets names the person; all of them are found, and deleted together.
    assert_eq!(ledger.person(&ada).0.secret, Some(secrets[0]));
    let persons = ledger.archive().logged_persons(&ada, ledger.fingerprints()).unwrap();
    let known: Vec<_> = persons.iter().filter_map(|person| person.secret).collect();
    assert!(known.len() == 3 && secrets.iter().all(|secret| known.contains(secret)));
    assert_eq!(persons.len(), 6, "under each fingerprint, too");
    let merged = exported_lines(&ledger);
    assert_eq!(merged.iter().filter(|line| line.contains(r#""subject":"ada""#)).count(), 4);
    assert_eq!(merged.len(), 5);

    // An idempotency key counts for all spellings, and new events belong to the one person.
    let again = ledger.append(&entity, draft_in(&today, GIVE), Some("key"), now()).await;
    assert!(again.is_ok_and(|recorded| recorded.repeated && recorded.position == Position(1)));
    ledger.append(&entity, draft_in(&today, GIVE), None, now()).await.unwrap();
    assert_eq!(ledger.archive().history(&entity).unwrap().len(), 5);
    drop(ledger);
    let ledger = over(&today);
    let state = ledger.subject(&ada).1.unwrap();
    assert_eq!(ledger.person(&ada).0.secret, Some(secrets[0]), "also after a new event");
    ledger.append(&entity, draft_in(&today, r#"{"kind":"erasure"}"#), None, now()).await.unwrap();
    ledger.erase_log_secret(&ada, Ulid::nil(), now()).await.unwrap();
    let persons = ledger.archive().logged_persons(&ada, ledger.fingerprints()).unwrap();
    assert!(persons.iter().all(|person| person.secret.is_none()));
    assert_eq!(state.consents.first().map(|consent| consent.status), Some(ConsentStatus::Given));
    assert!(!ledger.uses_same_terms(&*before) && ledger.uses_same_terms(&*language(true)));
}

fn draft_in(names: &VocabularyTerms, text: &str) -> EventDraft {
    parse(text.as_bytes(), EntityKind::Subject, names).unwrap()
}

fn exported_lines(ledger: &Ledger) -> Vec<String> {
    let mut lines = Vec::new();
    let write = |line: &str| {
        lines.push(line.to_owned());
        Ok(())
    };
    ledger.archive().export(write).unwrap().unwrap();
    lines
}
