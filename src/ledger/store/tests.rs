//! Tests that every store must pass. Each runs against SQLite, against PostgreSQL where it is installed, and against the
//! store in memory.

use super::memory::MemoryStore;
use super::sqlite::SqliteStore;
use super::*;
use crate::ledger::policy_memory::PolicyPlace;

/// Runs `test` against an empty store of each kind.
fn for_each_store(test: impl Fn(&dyn Store)) {
    let folder = tempfile::tempdir().unwrap();
    test(&SqliteStore::open(&folder.path().join("l.db"), &[1; 16]).unwrap());
    test(&MemoryStore::new());
    #[cfg(feature = "postgres")]
    if let Some(store) = postgres::tests::open_empty() {
        test(&store);
    }
}

pub(super) fn subject(namespace: Option<&str>, id: &str) -> Entity {
    Entity::Subject(Namespaces::default().reader(namespace).read(id).unwrap())
}

pub(super) fn new_event(entity: Entity, position: u64, key: Option<IdempotencyDigest>) -> EventRow {
    let stored = StoredEvent {
        position: Position(position),
        id: Ulid::from_parts(position, 7),
        recorded: Timestamp::from_second(1_700_000_000).unwrap(),
        event: format!("{{\"n\":{position}}}"),
    };
    let idempotency = key.map(|key| (key, [9; 16]));
    EventRow { entity: StoredEntity::of(&entity), stored, idempotency, log_secret: SecretChange::Keep }
}

/// Appends rows as a writer that knows the whole history.
pub(super) fn put(store: &dyn Store, rows: &[EventRow]) -> Result<(), StoreError> {
    let known = store.history_end()?;
    let appended = store.append(&known, &mut |tail| {
        assert_eq!((tail.last, tail.missed.len()), (known.position, 0));
        Ok(rows.to_vec())
    })?;
    assert_eq!(appended, Appended::Durable);
    Ok(())
}

pub(super) fn last(store: &dyn Store) -> Position {
    store.history_end().unwrap().position
}

pub(super) fn repeated(store: &dyn Store, key: IdempotencyDigest) -> Option<Position> {
    store.find_repeated(&[key]).unwrap().get(&key).map(|(stored, request)| {
        assert_eq!(*request, [9; 16]);
        stored.position
    })
}

/// Policies with one version, at one place.
pub(super) fn memory(digest: u8, seen: i64, texts: Option<&str>, place: Option<&str>) -> PolicyMemory {
    let (digest, seen) = ([digest; 32], Timestamp::from_second(seen).unwrap());
    let versions = vec![(digest, jiff::civil::date(2026, 1, 5))];
    PolicyMemory {
        first_seen: [(digest, seen)].into(),
        texts: texts.map(|texts| (digest, texts.to_owned())).into_iter().collect(),
        places: place
            .map(|place| (place.to_owned(), PolicyPlace { loaded: seen, versions }))
            .into_iter()
            .collect(),
    }
}

pub(super) fn positions(store: &dyn Store, entity: &Entity) -> Vec<u64> {
    let history = store.histories(&[StoredEntity::of(entity)]).unwrap().pop().unwrap();
    history.events.iter().map(|stored| stored.position.0).collect()
}

#[test]
fn appended_events_are_found_by_entity_namespace_and_idempotency_key() {
    for_each_store(|store| {
        let (alice, crm_alice) = (subject(None, "alice"), subject(Some("crm"), "alice"));
        assert_eq!(last(store), Position(0));
        put(store, &[new_event(alice.clone(), 1, Some([3; 16])), new_event(crm_alice.clone(), 2, None)])
            .unwrap();
        put(store, &[new_event(alice.clone(), 3, None)]).unwrap();
        assert_eq!(last(store), Position(3));
        assert_eq!(positions(store, &alice), [1, 3]);
        assert_eq!(positions(store, &crm_alice), [2]);
        assert!(positions(store, &subject(None, "bob")).is_empty());
        assert_eq!(store.entity_ids(EntityKind::Subject, None).unwrap(), ["alice"]);
        assert_eq!(store.entity_ids(EntityKind::Subject, Some("crm")).unwrap(), ["alice"]);
        assert!(store.entity_ids(EntityKind::Controller, None).unwrap().is_empty());
        assert_eq!(repeated(store, [3; 16]), Some(Position(1)));
        assert_eq!(repeated(store, [4; 16]), None);
        store.check_intact().unwrap();
    });
}

#[test]
fn a_scan_groups_the_events_of_an_entity_and_stops_on_request() {
    for_each_store(|store| {
        let (alice, bob, case) = (subject(None, "alice"), subject(None, "bob"), Entity::Case("C-7".into()));
        let entities = [&bob, &alice, &case, &alice, &bob];
        let batch: Vec<_> =
            (1..).zip(entities).map(|(n, entity)| new_event(entity.clone(), n, None)).collect();
        put(store, &batch).unwrap();
        let mut seen: Vec<(StoredEntity, Vec<u64>)> = Vec::new();
        store
            .scan(&mut |entity, stored| {
                match seen.last_mut() {
                    Some((known, positions)) if known == entity => positions.push(stored.position.0),
                    _ => seen.push((entity.clone(), vec![stored.position.0])),
                }
                true
            })
            .unwrap();
        assert_eq!(seen.len(), 3, "each entity comes once");
        for (entity, expected) in [(&alice, vec![2, 4]), (&bob, vec![1, 5]), (&case, vec![3])] {
            assert!(seen.contains(&(StoredEntity::of(entity), expected)));
        }
        let mut count = 0;
        store
            .scan(&mut |_, _| {
                count += 1;
                count < 2
            })
            .unwrap();
        assert_eq!(count, 2);
        assert_eq!(store.case_ids().unwrap(), [Arc::from("C-7")]);
    });
}

#[test]
fn events_with_a_text_are_found_backwards_within_positions() {
    for_each_store(|store| {
        let (alice, crm, case) =
            (subject(None, "alice"), subject(Some("crm"), "42"), Entity::Case("C-7".into()));
        let text = |n: u64| {
            if n.is_multiple_of(2) { r#"{"kind":"even","n":"\u0000"}"# } else { r#"{"kind":"odd"}"# }
        };
        let rows: Vec<EventRow> = (1..=9)
            .map(|n| {
                let entity = if n == 6 {
                    &case
                } else if n > 4 {
                    &crm
                } else {
                    &alice
                };
                let mut row = new_event(entity.clone(), n, None);
                row.stored.event = text(n).to_owned();
                row
            })
            .collect();
        put(store, &rows).unwrap();
        let found = |part: &str, from: u64, before: u64, limit: usize| {
            let found = store.events_with(part, Position(from), Position(before), limit).unwrap();
            found
                .iter()
                .map(|(entity, stored)| (entity.id.to_string(), stored.position.0))
                .collect::<Vec<_>>()
        };
        let of = |id: &str, position: u64| (id.to_owned(), position);
        let even = r#""kind":"even""#;
        assert_eq!(found(even, 0, 100, 10), [of("42", 8), of("alice", 4), of("alice", 2)], "no case");
        assert_eq!(found(even, 0, 100, 2), [of("42", 8), of("alice", 4)]);
        assert_eq!(found(even, 3, 8, 10), [of("alice", 4)]);
        assert_eq!(found(r#""kind":"odd""#, 9, 9, 10), []);
        assert_eq!(found("'%_", 0, u64::MAX, 10), []);
    });
}

#[test]
fn a_batch_is_stored_whole_or_not_at_all() {
    for_each_store(|store| {
        let alice = subject(None, "alice");
        put(store, &[new_event(alice.clone(), 1, Some([3; 16]))]).unwrap();
        // The second event repeats a position, or an idempotency key.
        for second in [new_event(alice.clone(), 1, None), new_event(alice.clone(), 3, Some([3; 16]))] {
            assert!(put(store, &[new_event(alice.clone(), 2, None), second]).is_err());
            assert_eq!(last(store), Position(1));
            assert_eq!(positions(store, &alice), [1]);
        }
    });
}

#[test]
fn positions_follow_an_accepted_loss() {
    for_each_store(|store| {
        put(store, &[new_event(subject(None, "alice"), 1, None)]).unwrap();
        store.accept_history(Position(20), Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(last(store), Position(20));
        let accepted = Some(Timestamp::UNIX_EPOCH);
        let loss = LossOfEvents { behind: Position(1), until: Position(20), accepted };
        assert_eq!(store.losses().unwrap(), [loss]);
        put(store, &[new_event(subject(None, "alice"), 21, None)]).unwrap();
        assert_eq!(last(store), Position(21));
    });
}

#[test]
fn times_of_first_sight_stay_and_texts_without_a_place_are_dropped() {
    for_each_store(|store| {
        assert!(store.policies().unwrap().is_empty());
        store.remember_policies(&memory(1, 100, Some("one"), Some("default"))).unwrap();
        store.remember_policies(&memory(2, 150, None, None)).unwrap();
        assert_eq!(store.policies().unwrap().places, memory(1, 100, None, Some("default")).places);
        // The second version replaces the first at its place.
        store.remember_policies(&memory(2, 200, Some("two"), Some("default"))).unwrap();
        let known = store.policies().unwrap();
        let seen = |digest: u8| known.first_seen.get(&[digest; 32]).map(|seen| seen.as_second());
        assert_eq!((seen(1), seen(2)), (Some(100), Some(150)));
        assert_eq!(known.texts.into_iter().collect::<Vec<_>>(), [([2; 32], "two".to_owned())]);
        assert_eq!(known.places, memory(2, 200, None, Some("default")).places);
    });
}

#[test]
fn recipients_are_found_wherever_an_event_names_one() {
    for_each_store(|store| {
        let mut named = new_event(subject(None, "alice"), 1, None);
        named.stored.event = r#"{"kind":"opt-out","recipient":"acme"}"#.to_owned();
        let about = new_event(Entity::Recipient(Arc::from("globex")), 2, None);
        put(store, &[named, about, new_event(subject(None, "bob"), 3, None)]).unwrap();
        let recipients: Vec<_> = store.recipients().unwrap().into_iter().collect();
        assert_eq!(recipients, [Arc::from("acme"), Arc::from("globex")]);
    });
}

/// Returns the positions of the events after a known history, or `None` if the histories diverge.
fn followed(store: &dyn Store, known: &KnownHistory, limit: usize) -> Option<Vec<u64>> {
    match store.follow(known, limit).unwrap() {
        Continuation::Continues { head, events } => {
            assert_eq!(head, last(store));
            Some(events.iter().map(|row| row.stored.position.0).collect())
        }
        Continuation::Diverges { head } => {
            assert_eq!(head, last(store));
            None
        }
    }
}

/// Returns the position and id of the event at a position.
fn followed_event(store: &dyn Store, position: u64) -> (Position, Ulid) {
    match store.follow(&KnownHistory::default(), 10).unwrap() {
        Continuation::Continues { events, .. } => {
            let event = events.iter().find(|row| row.stored.position.0 == position).unwrap();
            (event.stored.position, event.stored.id)
        }
        Continuation::Diverges { .. } => panic!(),
    }
}

#[test]
fn a_reader_follows_the_events_in_order_from_any_known_history() {
    for_each_store(|store| {
        let nothing = KnownHistory::default();
        assert_eq!(followed(store, &nothing, 10), Some(vec![]));
        for n in 1..=5 {
            put(store, &[new_event(subject(None, &format!("p{n}")), n, Some([n as u8; 16]))]).unwrap();
        }
        assert_eq!(followed(store, &nothing, 10), Some(vec![1, 2, 3, 4, 5]));
        assert_eq!(followed(store, &nothing, 2), Some(vec![1, 2]));
        let Continuation::Continues { events, .. } = store.follow(&nothing, 3).unwrap() else { panic!() };
        let known = KnownHistory::ending_with(&events[2].stored);
        assert_eq!(followed(store, &known, 10), Some(vec![4, 5]));
        let third = new_event(subject(None, "p3"), 3, Some([3; 16]));
        assert_eq!((events[2].entity.clone(), events[2].idempotency), (third.entity, third.idempotency));
        assert_eq!(events[2].stored.event, third.stored.event);
        store.accept_history(Position(9), Timestamp::UNIX_EPOCH).unwrap();
        let end = store.history_end().unwrap();
        assert_eq!((end.position, followed(store, &end, 10)), (Position(9), Some(vec![])));
        put(store, &[new_event(subject(None, "late"), 10, None)]).unwrap();
        assert_eq!(followed(store, &end, 10), Some(vec![10]));
        assert_eq!(followed(store, &known, 10), Some(vec![4, 5, 10]));
    });
}

#[test]
fn a_history_that_ends_earlier_or_has_another_event_diverges() {
    for_each_store(|store| {
        put(store, &[new_event(subject(None, "alice"), 1, None)]).unwrap();
        put(store, &[new_event(subject(None, "alice"), 2, None)]).unwrap();
        let ahead = KnownHistory { position: Position(3), last_event: None };
        assert_eq!(followed(store, &ahead, 10), None);
        let other =
            KnownHistory { position: Position(2), last_event: Some((Position(2), Ulid::from_parts(1, 1))) };
        assert_eq!(followed(store, &other, 10), None);
        // Positions that were lost there have events here.
        let first = followed_event(store, 1);
        let lost = KnownHistory { position: Position(2), last_event: Some(first) };
        assert_eq!(followed(store, &lost, 10), None);
        let nothing = KnownHistory { position: Position(1), last_event: None };
        assert_eq!(followed(store, &nothing, 10), None);
        let mut called = false;
        let appended = store.append(&other, &mut |_| {
            called = true;
            Ok(Vec::new())
        });
        assert_eq!((appended.unwrap(), called), (Appended::Behind, false));
    });
}

#[test]
fn a_writer_gets_the_events_that_it_missed_and_can_end_its_append() {
    for_each_store(|store| {
        for n in 1..=3 {
            put(store, &[new_event(subject(None, "alice"), n, None)]).unwrap();
        }
        let Continuation::Continues { events, .. } = store.follow(&KnownHistory::default(), 1).unwrap()
        else {
            panic!()
        };
        let known = KnownHistory::ending_with(&events[0].stored);
        let mut missed = Vec::new();
        let refused = store.append(&known, &mut |tail| {
            missed = tail.missed.iter().map(|row| row.stored.position.0).collect();
            Err(StoreError::new("testing", "the sequencing fails"))
        });
        assert!(refused.is_err());
        assert_eq!((missed, last(store)), (vec![2, 3], Position(3)));
        let appended = store.append(&known, &mut |tail| {
            assert_eq!(tail.last, Position(3));
            Ok(vec![new_event(subject(None, "bob"), 4, None)])
        });
        assert_eq!((appended.unwrap(), last(store)), (Appended::Durable, Position(4)));
        assert_eq!(store.append(&known, &mut |_| Ok(Vec::new())).unwrap(), Appended::Durable);
        assert_eq!(last(store), Position(4), "an append of nothing changes nothing");
        let gap = store.append(&known, &mut |_| Ok(vec![new_event(subject(None, "bob"), 6, None)]));
        assert!(gap.is_err(), "positions have no gaps");
    });
}

fn secret(byte: u8, since: u64) -> StoredSecret {
    StoredSecret { secret: LogSecret::from_bytes([byte; 16]), since: Position(since) }
}

/// Returns the first bytes of people's log secrets, once as the store returns them alone and once with the histories.
fn secrets(store: &dyn Store, people: &[&Entity]) -> Vec<Option<(u8, u64)>> {
    let stored: Vec<StoredEntity> = people.iter().map(|person| StoredEntity::of(person)).collect();
    let short =
        |stored: Option<StoredSecret>| stored.map(|stored| (stored.secret.bytes()[0], stored.since.0));
    let alone: Vec<_> = store.log_secrets(&stored).unwrap().into_iter().map(short).collect();
    let histories = store.histories(&stored).unwrap();
    assert_eq!(histories.into_iter().map(|history| short(history.log_secret)).collect::<Vec<_>>(), alone);
    alone
}

#[test]
fn a_log_secret_is_made_once_and_deleted_with_the_event_that_says_so() {
    for_each_store(|store| {
        let (alice, bob, crm_alice) =
            (subject(None, "alice"), subject(None, "bob"), subject(Some("crm"), "alice"));
        let case = Entity::Case("alice".into());
        let everybody = [&alice, &bob, &crm_alice, &case];
        assert_eq!(secrets(store, &everybody), [None; 4]);
        let row = |entity: &Entity, position, log_secret| EventRow {
            log_secret,
            ..new_event(entity.clone(), position, None)
        };
        let make = |byte, since| SecretChange::Make(secret(byte, since));
        let erase = |people: &[&Entity]| {
            SecretChange::Erase(people.iter().map(|person| StoredEntity::of(person)).collect())
        };
        let batch = [
            row(&alice, 1, make(1, 1)),
            row(&alice, 2, make(2, 2)),
            row(&bob, 3, make(3, 3)),
            row(&case, 4, SecretChange::Keep),
        ];
        put(store, &batch).unwrap();
        put(store, &[row(&alice, 5, make(4, 5)), row(&crm_alice, 6, make(6, 6))]).unwrap();
        assert_eq!(secrets(store, &everybody), [Some((1, 1)), Some((3, 3)), Some((6, 6)), None]);
        // Of several spellings all are deleted.
        put(store, &[row(&alice, 7, erase(&[&alice, &crm_alice]))]).unwrap();
        assert_eq!(secrets(store, &everybody), [None, Some((3, 3)), None, None]);
        // Deletion and return in one append, in both orders.
        let batch = [row(&bob, 8, erase(&[&bob])), row(&bob, 9, make(9, 9)), row(&alice, 10, make(10, 10))];
        put(store, &batch).unwrap();
        put(store, &[row(&crm_alice, 11, make(11, 11)), row(&crm_alice, 12, erase(&[&crm_alice]))]).unwrap();
        assert_eq!(secrets(store, &everybody), [Some((10, 10)), Some((9, 9)), None, None]);
        // Nothing changes with an append that fails.
        assert!(put(store, &[row(&alice, 40, erase(&[&alice]))]).is_err());
        assert_eq!(secrets(store, &[&alice]), [Some((10, 10))]);
        // Deletion with another secret at once, which a later event in the same append does not replace.
        let spellings = [&alice, &crm_alice].map(StoredEntity::of).to_vec();
        let replaced = SecretChange::Replace(spellings, secret(13, 13));
        put(store, &[row(&alice, 13, replaced), row(&alice, 14, make(14, 14))]).unwrap();
        assert_eq!(secrets(store, &everybody), [Some((13, 13)), Some((9, 9)), None, None]);
    });
}

fn notice(id: u64, inquiry: u64, recipient: Option<&str>, due: i64) -> NoticeRow {
    NoticeRow {
        id: Ulid::from_parts(id * 1000, 7),
        inquiry: Ulid::from_parts(inquiry * 1000, 7),
        recipient: recipient.map(Arc::from),
        due: Timestamp::from_second(due).unwrap(),
        open: true,
        version: 1,
        state: format!("{{\"n\":{id}}}"),
    }
}

#[test]
fn a_notice_is_written_by_one_gateway_at_a_time_and_removed_with_its_inquiry() {
    for_each_store(|store| {
        let notices = store.notice_store();
        let rows = [
            notice(1, 1, None, 100),
            notice(2, 1, Some("acme"), 50),
            notice(3, 1, Some("beta"), 70),
            notice(4, 4, None, 10),
        ];
        assert!(notices.write_notices(&rows).unwrap());
        assert!(!notices.write_notices(&rows[..1]).unwrap(), "it is there");
        let sought =
            |at, sought| notices.due_notices(Timestamp::from_second(at).unwrap(), sought, 10).unwrap();
        let due = |at| sought(at, DueRows::NoticesExcept(&[]));
        assert_eq!(due(70), [rows[1].clone(), rows[2].clone()]);
        assert_eq!(sought(70, DueRows::Inquiries), rows[3..]);
        assert_eq!(sought(100, DueRows::Inquiries), [rows[3].clone(), rows[0].clone()]);
        assert_eq!(sought(70, DueRows::NoticesTo("beta")), rows[2..3]);
        let except = ["acme".into(), "gone".into()];
        assert_eq!(sought(70, DueRows::NoticesExcept(&except)), rows[2..3]);
        let first = notices.due_notices(Timestamp::from_second(70).unwrap(), DueRows::NoticesExcept(&[]), 1);
        assert_eq!(first.unwrap(), rows[1..2]);
        assert_eq!(notices.notices(None, Some(rows[0].id), 2).unwrap(), rows[1..3]);
        assert_eq!(notices.notices(Some("beta"), None, 10).unwrap(), rows[2..3]);
        assert_eq!(notices.notices(Some(""), None, 10).unwrap(), [rows[0].clone(), rows[3].clone()]);
        assert_eq!(notices.notices_of(rows[0].id).unwrap(), rows[..3]);
        let counts = notices.count_notices(Timestamp::from_second(3).unwrap()).unwrap();
        assert_eq!(counts, NoticeCounts { open: 2, overdue: 1 });
        let to = notices.count_notices_to().unwrap();
        assert_eq!(to, std::collections::BTreeMap::from([(Arc::from("acme"), 1), (Arc::from("beta"), 1)]));

        // Of two gateways that claim a notice, one gets it.
        let claimed = NoticeRow { due: Timestamp::from_second(500).unwrap(), version: 2, ..rows[1].clone() };
        assert!(notices.write_notices(std::slice::from_ref(&claimed)).unwrap());
        assert!(!notices.write_notices(std::slice::from_ref(&claimed)).unwrap());
        let closed = NoticeRow { open: false, version: 2, ..rows[2].clone() };
        assert!(!notices.write_notices(&[closed.clone(), claimed.clone()]).unwrap(), "all or none");
        assert_eq!(notices.notice(rows[2].id).unwrap().as_ref(), Some(&rows[2]));
        assert!(notices.write_notices(std::slice::from_ref(&closed)).unwrap());
        assert_eq!(due(499), []);
        let absent = NoticeRow { version: 5, ..notice(9, 9, None, 1) };
        assert!(!notices.write_notices(&[absent]).unwrap());

        let kept = NoticeRow { open: false, state: "{}".to_owned(), ..rows[1].clone() };
        let written = notices.notices(None, None, 10).unwrap();
        let version = notices.notice(rows[0].id).unwrap().unwrap().version;
        let kept = [rows[0].clone(), kept];
        for other in [version - 1, version + 1] {
            assert!(!notices.remove_inquiry(rows[0].id, other, &kept).unwrap());
        }
        assert_eq!(notices.notices(None, None, 10).unwrap(), written, "somebody else has continued it");
        assert!(notices.remove_inquiry(rows[0].id, version, &kept).unwrap());
        let [inquiry, notice] = kept;
        assert_eq!(notices.notices(None, None, 10).unwrap(), [inquiry, notice, rows[3].clone()]);
        assert!(notices.remove_inquiry(rows[0].id, 1, &[]).unwrap());
        assert!(!notices.remove_inquiry(rows[0].id, 1, &[]).unwrap());
        assert_eq!(notices.notices(None, None, 10).unwrap(), rows[3..]);
        assert_eq!(notices.notice(closed.id).unwrap(), None);
    });
}
