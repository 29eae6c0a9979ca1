//! Tests of inquiries and notices, on a store in memory and with a clock of their own.

use std::collections::BTreeSet;

use super::*;
use crate::keys::Keys;
use crate::ledger::store::memory::MemoryStore;
use crate::ledger::{AppendError, KnownLogs, LogOnRecord, Store, VocabularyTerms, parse_line};
use crate::vocabulary::{IdReader, Namespaces, Vocabulary};

const LIMIT: Duration = Duration::from_secs(10 * 24 * 3600);
const ERASURE: &str = r#"{"subject":"alice","kind":"erasure"}"#;

fn ledger(store: &Arc<MemoryStore>) -> Arc<Ledger> {
    let terms = VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::new(Namespaces::default()));
    let keys = Keys::random().unwrap();
    Ledger::with_store(Arc::clone(store) as Arc<dyn Store>, &keys, Arc::new(terms)).unwrap()
}

fn fresh() -> (Arc<Ledger>, Notices) {
    let ledger = ledger(&Arc::new(MemoryStore::new()));
    let notices = Notices::new(Arc::clone(&ledger), LIMIT);
    (ledger, notices)
}

async fn tell(ledger: &Ledger, line: &str, now: Timestamp) {
    let (entity, draft) = parse_line(line.as_bytes(), ledger.terms()).unwrap();
    ledger.append(&entity, draft, None, now).await.unwrap();
}

fn start() -> Timestamp {
    "2026-11-29T12:00:00Z".parse().unwrap()
}

fn later(days: i64) -> Timestamp {
    start().checked_add(jiff::SignedDuration::from_hours(24 * days)).unwrap()
}

fn receiver(recipient: &str, channel: Channel, name: Option<PersonName>) -> Receiver {
    let categories = vec!["email".to_owned(), "name".to_owned()];
    let (recipient, identity) = (Arc::from(recipient), None);
    Receiver { recipient, categories, first: start(), last: start(), name, channel, identity }
}

fn id() -> Option<PersonName> {
    Some(PersonName::Id("alice".to_owned()))
}

fn seconds(time: Timestamp, seconds: u64) -> Timestamp {
    clock::after(time, Duration::from_secs(seconds))
}

/// Claims the notices that are due.
fn claim_notices(notices: &Notices, now: Timestamp) -> Vec<Notice> {
    let mut claimed = Vec::new();
    for recipient in notices.due_recipients(&[], now).unwrap() {
        while let Some(notice) = notices.claim_notice(&recipient, now).unwrap() {
            claimed.push(notice);
        }
    }
    claimed
}

/// Claims the inquiries that are due.
fn claim_inquiries(notices: &Notices, now: Timestamp) -> Vec<Inquiry> {
    std::iter::from_fn(|| notices.claim_inquiry(now).unwrap()).collect()
}

/// Looks for events, and claims the inquiry that is due once answers under way are on record.
fn one_inquiry(notices: &Notices, now: Timestamp) -> Inquiry {
    notices.watch(now).unwrap();
    let mut inquiries = claim_inquiries(notices, clock::after(now, clock::MARGIN));
    assert_eq!(inquiries.len(), 1);
    inquiries.pop().unwrap()
}

/// Puts the outcomes on record that the disclosure log lacks. Returns the notices that are to be sent.
fn record_outcomes(notices: &Notices, now: Timestamp) -> Vec<Notice> {
    let (unrecorded, due): (Vec<_>, Vec<_>) =
        claim_notices(notices, now).into_iter().partition(|notice| notice.state.unrecorded);
    unrecorded.into_iter().for_each(|notice| notices.recorded(notice, now).unwrap());
    due
}

/// Notes that the recipient of a notice was told, and that this is on record.
fn settle(notices: &Notices, told: Option<ToldNotice>, now: Timestamp) {
    match told.expect("the recipient was told") {
        ToldNotice::Unrecorded(notice) => notices.recorded(*notice, now).unwrap(),
        ToldNotice::Recorded => panic!("it was on record before"),
    }
}

fn rows(ledger: &Ledger) -> usize {
    let rows = ledger.notice_store().notices(None, None, MAX_NOTICE_ROWS).unwrap();
    rows.iter().filter(|row| row.id.timestamp_ms() > 0).count()
}

#[tokio::test]
async fn an_erasure_that_nobody_has_to_be_told_ends_with_the_deletion_of_the_log_secret() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    assert_eq!(inquiry.state.event, NoticeEvent::Erasure);
    assert_eq!(claim_inquiries(&notices, seconds(start(), 4)).len(), 0, "it is claimed");
    assert!(notices.found(&mut inquiry, Vec::new(), true, start()).unwrap().is_empty());
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::EraseSecret("delivered"));
    // The process ends here. The next one comes to the same step.
    let mut inquiry = one_inquiry(&notices, later(1));
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::EraseSecret("delivered"));
    ledger.erase_log_secret(&inquiry.person, inquiry.id(), later(1)).await.unwrap();
    // The process ends before the deletion is on record.
    let mut inquiry = one_inquiry(&notices, later(2));
    assert_eq!(notices.next_step(&mut inquiry, later(2)).unwrap(), InquiryStep::RecordErasure("delivered"));
    notices.secret_recorded(&mut inquiry, later(2)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(2)).unwrap(), InquiryStep::Ended);
    assert_eq!(rows(&ledger), 0);
    let again = Notices::new(Arc::clone(&ledger), LIMIT);
    again.watch(later(3)).unwrap();
    assert_eq!(claim_inquiries(&again, later(4)).len(), 0);
}

#[tokio::test]
async fn an_inquiry_waits_for_answers_under_way_and_for_its_event() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    notices.watch(start()).unwrap();
    assert_eq!(claim_inquiries(&notices, seconds(start(), 2)).len(), 0);
    let mut inquiry = claim_inquiries(&notices, seconds(start(), 3)).pop().unwrap();
    assert!(notices.begin_search(&mut inquiry, seconds(start(), 3)).unwrap());
    assert_eq!(notices.asked_position().unwrap(), 1, "the other gateways are asked");
    // This gateway does not know the event yet: another one has begun the inquiry.
    inquiry.state.position = 2;
    assert!(!notices.begin_search(&mut inquiry, seconds(start(), 3)).unwrap());
    assert_eq!(claim_inquiries(&notices, seconds(start(), 4)).len(), 1, "it looks again soon");
}

#[tokio::test]
async fn the_log_secret_is_deleted_when_every_recipient_was_told() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    let receivers = vec![
        receiver("acme", Channel::Webhook, id()),
        receiver("beta", Channel::Feed, Some(PersonName::Pseudonym("pn_x".to_owned()))),
        receiver("gamma", Channel::Manual, id()),
        // It knows the person by no name that can be told.
        receiver("delta", Channel::Webhook, None),
    ];
    let begun = notices.found(&mut inquiry, receivers, true, start()).unwrap();
    let channels: Vec<Channel> = begun.iter().map(|notice| notice.state.channel).collect();
    assert_eq!(channels, [Channel::Webhook, Channel::Feed, Channel::Manual, Channel::Manual]);
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.count(start()).unwrap(), NoticeCounts { open: 4, overdue: 0 });
    assert_eq!(notices.count(later(11)).unwrap(), NoticeCounts { open: 4, overdue: 4 });

    // The webhook fails twice, each time with a longer wait.
    let mut now = start();
    for wait in [10, 20] {
        let mut sent = record_outcomes(&notices, now);
        assert_eq!(sent.len(), 1);
        notices.failed(sent.pop().unwrap(), now).unwrap();
        assert_eq!(claim_notices(&notices, seconds(now, wait - 1)).len(), 0);
        now = seconds(now, wait);
    }
    let sent = claim_notices(&notices, now).pop().unwrap();
    assert_eq!((&*sent.recipient(), sent.state.attempts), ("acme", 2));
    let delivered = notices.delivered(sent, now).unwrap().unwrap();
    assert!(delivered.state.outcome() == "delivered" && !delivered.is_open());
    notices.recorded(delivered, now).unwrap();

    // A recipient reads and acknowledges only its own notices.
    let (feed, next) = notices.feed("beta", None, 10).unwrap();
    assert!(feed.len() == 1 && next.is_none());
    assert_eq!(feed[0].state.data()["person"], serde_json::json!({ "pseudonym": "pn_x" }));
    assert_eq!(notices.feed("gamma", None, 10).unwrap().0.len(), 0, "it has no feed");
    let beta = feed[0].id();
    assert!(notices.acknowledge("gamma", beta, now).unwrap().is_none());
    settle(&notices, notices.acknowledge("beta", beta, now).unwrap(), now);
    assert!(matches!(notices.acknowledge("beta", beta, now).unwrap(), Some(ToldNotice::Recorded)));
    assert!(notices.acknowledge("gamma", beta, now).unwrap().is_none());
    let (manual, _) = notices.list(None, None, 10).unwrap();
    let recipients: BTreeSet<Arc<str>> = manual.iter().map(Notice::recipient).collect();
    assert_eq!(recipients, ["delta", "gamma"].map(Arc::from).into());
    for notice in &manual {
        assert!(notices.acknowledge(&notice.recipient(), notice.id(), now).unwrap().is_none());
        settle(&notices, notices.told_by_person(notice.id(), now).unwrap(), now);
    }

    // The last of them makes the inquiry due at once.
    let mut inquiry = claim_inquiries(&notices, now).pop().unwrap();
    assert!(inquiry.state.complete);
    assert_eq!(notices.next_step(&mut inquiry, now).unwrap(), InquiryStep::EraseSecret("delivered"));
    ledger.erase_log_secret(&inquiry.person, inquiry.id(), now).await.unwrap();
    notices.secret_recorded(&mut inquiry, now).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, now).unwrap(), InquiryStep::Ended);
    // A recipient that got no answer acknowledges again. Nothing about the person is kept for that.
    assert!(matches!(notices.acknowledge("beta", beta, later(1)).unwrap(), Some(ToldNotice::Recorded)));
    let kept = ledger.notice_store().notices(None, None, MAX_NOTICE_ROWS).unwrap();
    // The id of the inquiry follows from that of the event, and the times of the events are known.
    assert_eq!(ledger.notice_store().notices_of(inquiry.id()).unwrap(), []);
    let midnight = clock::day_of(now);
    for row in kept.iter().filter(|row| row.id.timestamp_ms() > 0) {
        assert!(
            row.due == clock::NEVER || row.due == clock::after(midnight, clock::KEPT_AFTER_END),
            "{row:?}"
        );
        let made = time_of(row.id);
        assert!(made == midnight || made == Timestamp::from_millisecond(2).unwrap(), "{made}");
        assert!(!row.state.contains("T12:"), "{}", row.state);
    }
    assert!(!kept.iter().any(|row| row.state.contains("alice") || row.state.contains("pn_x")), "{kept:?}");
    assert_eq!((rows(&ledger), notices.count(now).unwrap().open), (2, 0));
    assert_eq!(claim_inquiries(&notices, later(8)).len(), 0);
    assert_eq!(rows(&ledger), 0);
    assert!(notices.acknowledge("beta", beta, later(8)).unwrap().is_none());
}

#[tokio::test]
async fn the_log_secret_is_deleted_at_the_limit_and_notices_go_on() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    let receivers = vec![receiver("acme", Channel::Webhook, id()), receiver("gamma", Channel::Manual, id())];
    notices.found(&mut inquiry, receivers, true, start()).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Wait);
    let mut inquiry = one_inquiry(&notices, later(9));
    assert_eq!(notices.next_step(&mut inquiry, later(9)).unwrap(), InquiryStep::Wait);
    let mut inquiry = one_inquiry(&notices, later(10));
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::EraseSecret("notice-limit"));
    ledger.erase_log_secret(&inquiry.person, inquiry.id(), later(10)).await.unwrap();
    notices.secret_recorded(&mut inquiry, later(10)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::Wait);

    // After 30 days a person has to tell it.
    let sent = record_outcomes(&notices, later(29)).pop().unwrap();
    assert!(!Notices::is_expired(&sent, later(29)));
    notices.failed(sent, later(29)).unwrap();
    let sent = record_outcomes(&notices, later(31)).pop().unwrap();
    assert!(Notices::is_expired(&sent, later(31)));
    let expired = notices.expire(sent, later(31)).unwrap().unwrap();
    assert_eq!((expired.state.outcome(), expired.state.channel), ("expired", Channel::Manual));
    notices.recorded(expired, later(31)).unwrap();
    assert_eq!(claim_notices(&notices, later(60)).len(), 0);
    let open = notices.list(None, None, 10).unwrap().0;
    assert_eq!(open.len(), 2);
    for notice in open {
        settle(&notices, notices.told_by_person(notice.id(), later(61)).unwrap(), later(61));
    }
    let mut inquiry = one_inquiry(&notices, later(61));
    assert_eq!(notices.next_step(&mut inquiry, later(61)).unwrap(), InquiryStep::Ended);
    assert_eq!(rows(&ledger), 0);
}

#[tokio::test]
async fn an_inquiry_that_could_not_read_a_log_is_repeated_and_tells_nobody_twice() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    let first = vec![receiver("acme", Channel::Feed, id())];
    assert_eq!(notices.found(&mut inquiry, first, false, start()).unwrap().len(), 1);
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Wait);
    assert_eq!((notices.count_incomplete().unwrap(), notices.is_complete()), (1, false));
    let notice = notices.feed("acme", None, 1).unwrap().0.pop().unwrap();
    settle(&notices, notices.acknowledge("acme", notice.id(), start()).unwrap(), start());
    let mut inquiry = one_inquiry(&notices, later(1));
    assert!(!inquiry.state.complete);
    let both = vec![receiver("acme", Channel::Feed, id()), receiver("beta", Channel::Feed, id())];
    let begun = notices.found(&mut inquiry, both, true, later(1)).unwrap();
    assert_eq!(begun.iter().map(Notice::recipient).collect::<Vec<_>>(), [Arc::from("beta")]);
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::Wait);
    assert_eq!((notices.count_incomplete().unwrap(), notices.is_complete()), (0, true));
    // A log that is never read again does not keep the log secret for good.
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, Vec::new(), false, start()).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.next_step(&mut inquiry, later(9)).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::EraseSecret("notice-limit"));
}

#[tokio::test]
async fn corrections_and_restrictions_are_told_once_by_one_of_two_gateways() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    let correction = r#"{"subject":"bob","kind":"correction","facts":{"country":"DE"}}"#;
    tell(&ledger, correction, start()).await;
    let (one, two) = (Notices::new(Arc::clone(&ledger), LIMIT), Notices::new(Arc::clone(&ledger), LIMIT));
    one.watch(start()).unwrap();
    assert_eq!(claim_inquiries(&one, later(1)).len(), 0, "what was recorded before is not told");
    tell(&ledger, correction, later(1)).await;
    tell(&ledger, r#"{"subject":"bob","kind":"restriction"}"#, later(1)).await;
    tell(&ledger, r#"{"subject":"bob","kind":"objection","purpose":"marketing"}"#, later(1)).await;
    one.watch(later(1)).unwrap();
    two.watch(later(1)).unwrap();
    let due = seconds(later(1), 3);
    let mut claimed = claim_inquiries(&one, due);
    assert_eq!(claim_inquiries(&two, due).len(), 0);
    let events: Vec<&str> = claimed.iter().map(|inquiry| inquiry.state.event.name()).collect();
    assert!(events.len() == 2 && events.contains(&"correction") && events.contains(&"restriction"));
    for inquiry in &mut claimed {
        assert_eq!(inquiry.person, IdReader::default().read("bob").unwrap());
        one.found(inquiry, Vec::new(), true, due).unwrap();
        assert_eq!(one.next_step(inquiry, due).unwrap(), InquiryStep::Ended);
    }
    let again = Notices::new(Arc::clone(&ledger), LIMIT);
    again.watch(later(2)).unwrap();
    assert_eq!(claim_inquiries(&again, later(3)).len(), 0);
    assert_eq!(rows(&ledger), 0);
}

#[tokio::test]
async fn corrections_that_state_the_same_time_are_told_each() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    for country in ["DE", "FR"] {
        let facts = format!(r#"{{"country":"{country}"}}"#);
        let line =
            format!(r#"{{"subject":"bob","kind":"correction","at":"2026-11-29T00:00:00Z","facts":{facts}}}"#);
        tell(&ledger, &line, start()).await;
        let mut inquiry = one_inquiry(&notices, start());
        assert_eq!(inquiry.state.at, "2026-11-29T00:00:00Z".parse().unwrap());
        notices.found(&mut inquiry, Vec::new(), true, start()).unwrap();
        assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Ended);
    }
}

/// The position up to which events were read is written with the inquiries: a process that ends in between leaves none of
/// both, and what was told is not told again.
#[tokio::test]
async fn events_that_were_read_are_not_read_again() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    tell(&ledger, ERASURE, start()).await;
    notices.watch(start()).unwrap();
    let all = || ledger.notice_store().notices(None, None, MAX_NOTICE_ROWS).unwrap();
    let before = all();
    for _ in 0..3 {
        notices.watch(later(1)).unwrap();
    }
    assert_eq!(all(), before, "a look writes nothing");
    // A gateway that reads the same events as another one writes nothing either.
    let store = ledger.notice_store();
    let inquiries: Vec<NoticeRow> = before.iter().filter(|row| row.open).cloned().collect();
    assert_eq!(inquiries.len(), 1);
    assert!(store.remove_inquiry(inquiries[0].id, inquiries[0].version, &[]).unwrap());
    let position = before.iter().find(|row| row.id == Ulid::nil()).unwrap().clone();
    notices.write_begun(inquiries, position).unwrap();
    assert_eq!(rows(&ledger), 0);
}

#[tokio::test]
async fn a_second_erasure_has_its_own_inquiry_and_the_last_one_deletes_the_secret() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    tell(&ledger, ERASURE, start()).await;
    let mut first = one_inquiry(&notices, start());
    notices.found(&mut first, vec![receiver("acme", Channel::Feed, id())], true, start()).unwrap();
    assert_eq!(notices.next_step(&mut first, start()).unwrap(), InquiryStep::Wait);
    // Something leaves to beta in spite of the erasure, and the person asks again.
    tell(&ledger, ERASURE, later(1)).await;
    notices.watch(later(1)).unwrap();
    let due = seconds(later(1), 3);
    let mut inquiries = claim_inquiries(&notices, due);
    let mut second = inquiries.pop().unwrap();
    assert!(second.state.position > first.state.position);
    let both = vec![receiver("acme", Channel::Feed, id()), receiver("beta", Channel::Feed, id())];
    assert_eq!(notices.found(&mut second, both, true, due).unwrap().len(), 2);
    assert_eq!(notices.next_step(&mut second, due).unwrap(), InquiryStep::Wait);
    // The notices of the second are acknowledged first. The secret waits for the first one.
    for recipient in ["acme", "beta"] {
        let own = notices.feed(recipient, None, 10).unwrap().0;
        let of_second = own.iter().find(|notice| notice.row.inquiry == second.row.id).unwrap().id();
        settle(&notices, notices.acknowledge(recipient, of_second, due).unwrap(), due);
    }
    let mut second = claim_inquiries(&notices, due).pop().unwrap();
    assert_eq!(notices.next_step(&mut second, due).unwrap(), InquiryStep::Wait);
    let of_first = notices.feed("acme", None, 10).unwrap().0.pop().unwrap();
    settle(&notices, notices.acknowledge("acme", of_first.id(), later(2)).unwrap(), later(2));
    let mut claimed = claim_inquiries(&notices, later(2));
    let at = claimed.iter().position(|inquiry| inquiry.row.id == of_first.row.inquiry).unwrap();
    let mut first = claimed.remove(at);
    assert_eq!(notices.next_step(&mut first, later(2)).unwrap(), InquiryStep::Ended, "the later one deletes");
    let mut second = claimed.pop().unwrap_or_else(|| claim_inquiries(&notices, later(2)).pop().unwrap());
    assert_eq!(notices.next_step(&mut second, later(2)).unwrap(), InquiryStep::EraseSecret("delivered"));
}

#[tokio::test]
async fn a_correction_that_is_open_keeps_the_log_secret() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    tell(&ledger, r#"{"subject":"alice","kind":"correction","facts":{"country":"DE"}}"#, start()).await;
    let mut correction = one_inquiry(&notices, start());
    notices.found(&mut correction, Vec::new(), false, start()).unwrap();
    assert_eq!(notices.next_step(&mut correction, start()).unwrap(), InquiryStep::Wait);
    tell(&ledger, ERASURE, start()).await;
    let mut erasure = one_inquiry(&notices, start());
    notices.found(&mut erasure, Vec::new(), true, start()).unwrap();
    assert_eq!(notices.next_step(&mut erasure, start()).unwrap(), InquiryStep::Wait);
    let mut correction = claim_inquiries(&notices, seconds(start(), 60)).pop().unwrap();
    notices.found(&mut correction, Vec::new(), true, start()).unwrap();
    assert_eq!(notices.next_step(&mut correction, seconds(start(), 60)).unwrap(), InquiryStep::Ended);
    let mut erasure = claim_inquiries(&notices, seconds(start(), 60)).pop().unwrap();
    let step = notices.next_step(&mut erasure, seconds(start(), 60)).unwrap();
    assert_eq!(step, InquiryStep::EraseSecret("delivered"));
}

#[tokio::test]
async fn a_notice_that_closes_meanwhile_loses_no_step_of_its_inquiry() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, vec![receiver("acme", Channel::Feed, id())], true, start()).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::EraseSecret("notice-limit"));
    ledger.erase_log_secret(&inquiry.person, inquiry.id(), later(10)).await.unwrap();
    let notice = notices.feed("acme", None, 1).unwrap().0.pop().unwrap();
    settle(&notices, notices.acknowledge("acme", notice.id(), later(10)).unwrap(), later(10));
    notices.secret_recorded(&mut inquiry, later(10)).unwrap();
    let mut inquiry = claim_inquiries(&notices, later(11)).pop().unwrap();
    assert_eq!(inquiry.state.secret, SecretDeletion::Recorded, "one record of one deletion");
    assert_eq!(notices.next_step(&mut inquiry, later(11)).unwrap(), InquiryStep::Ended);
}

/// A search can take longer than its claim. Its result is not told again after another gateway has ended the inquiry, and
/// leaves no notice behind that nothing removes.
#[tokio::test]
async fn a_search_that_ends_after_its_inquiry_begins_no_notice() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut slow = one_inquiry(&notices, start());
    let mut inquiry = one_inquiry(&notices, later(1));
    let receivers = || vec![receiver("acme", Channel::Webhook, id())];
    assert_eq!(notices.found(&mut inquiry, receivers(), true, later(1)).unwrap().len(), 1);
    notices.next_step(&mut inquiry, later(1)).unwrap();
    // The other gateway has begun the notice.
    let mut second = slow.clone();
    assert!(notices.found(&mut second, receivers(), true, later(1)).is_err());
    for notice in claim_notices(&notices, later(1)) {
        let told = notices.delivered(notice, later(1)).unwrap().unwrap();
        notices.recorded(told, later(1)).unwrap();
    }
    let mut inquiry = one_inquiry(&notices, later(2));
    assert_eq!(notices.next_step(&mut inquiry, later(2)).unwrap(), InquiryStep::EraseSecret("delivered"));
    ledger.erase_log_secret(&inquiry.person, inquiry.id(), later(2)).await.unwrap();
    notices.secret_recorded(&mut inquiry, later(2)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(2)).unwrap(), InquiryStep::Ended);
    assert_eq!(rows(&ledger), 0);
    assert!(notices.found(&mut slow, receivers(), true, later(2)).is_err());
    assert_eq!(rows(&ledger), 0);
}

/// Nobody is found any more in a log under a secret that was deleted: a later search of it shows nothing.
#[tokio::test]
async fn a_search_is_not_complete_after_the_log_secret_was_deleted() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    tell(&ledger, ERASURE, start()).await;
    let mut erasure = one_inquiry(&notices, start());
    notices.found(&mut erasure, Vec::new(), false, start()).unwrap();
    notices.next_step(&mut erasure, start()).unwrap();
    tell(&ledger, r#"{"subject":"alice","kind":"correction","facts":{"country":"DE"}}"#, later(9)).await;
    notices.watch(later(9)).unwrap();
    let mut inquiries = claim_inquiries(&notices, later(10));
    inquiries.sort_by_key(|inquiry| inquiry.state.position);
    let [erasure, correction] = &mut inquiries[..] else { panic!("two inquiries") };
    notices.found(correction, Vec::new(), false, later(10)).unwrap();
    assert_eq!(notices.next_step(correction, later(10)).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.next_step(erasure, later(10)).unwrap(), InquiryStep::EraseSecret("notice-limit"));
    ledger.erase_log_secret(&erasure.person, erasure.id(), later(10)).await.unwrap();
    notices.secret_recorded(erasure, later(10)).unwrap();
    // The log that was not readable is there again.
    let is_correction = |inquiry: &Inquiry| inquiry.state.event == NoticeEvent::Correction;
    let mut correction = claim_inquiries(&notices, later(11)).into_iter().find(is_correction).unwrap();
    notices.found(&mut correction, Vec::new(), true, later(11)).unwrap();
    assert!(!correction.state.complete);
    assert_eq!(notices.next_step(&mut correction, later(11)).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.count_incomplete().unwrap(), 2);
    // An event after the deletion is about other disclosures.
    tell(&ledger, r#"{"subject":"alice","kind":"restriction"}"#, later(12)).await;
    notices.watch(later(12)).unwrap();
    let found = |inquiry: &mut Inquiry| {
        notices.found(inquiry, Vec::new(), true, later(13)).unwrap();
        (inquiry.state.event, inquiry.state.complete)
    };
    let mut states: Vec<_> = claim_inquiries(&notices, later(13)).iter_mut().map(found).collect();
    states.sort_by_key(|(event, _)| event.name());
    let [correction, erasure, restriction] =
        [NoticeEvent::Correction, NoticeEvent::Erasure, NoticeEvent::Restriction];
    assert_eq!(states, [(correction, false), (erasure, false), (restriction, true)]);
}

/// Both are late, so neither waits for the other. One of them deletes the secret.
#[tokio::test]
async fn two_inquiries_that_delete_the_log_secret_at_once_record_it_once() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    tell(&ledger, ERASURE, start()).await;
    tell(&ledger, ERASURE, seconds(start(), 1)).await;
    notices.watch(seconds(start(), 1)).unwrap();
    let mut inquiries = claim_inquiries(&notices, later(11));
    let (mut one, mut other) = (inquiries.pop().unwrap(), inquiries.pop().unwrap());
    for inquiry in [&mut one, &mut other] {
        let step = notices.next_step(inquiry, later(11)).unwrap();
        assert_eq!(step, InquiryStep::EraseSecret("notice-limit"));
    }
    ledger.erase_log_secret(&one.person, one.id(), later(11)).await.unwrap();
    let refused = ledger.erase_log_secret(&other.person, other.id(), later(11)).await;
    assert!(matches!(refused, Err(AppendError::Conflict(_))));
    // Both gateways end here, before the record.
    let steps = claim_inquiries(&notices, later(12)).into_iter().map(|mut inquiry| {
        let step = notices.next_step(&mut inquiry, later(12)).unwrap();
        (inquiry.id(), step)
    });
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(|(id, _)| *id != one.id());
    let expected = [(one.id(), InquiryStep::RecordErasure("notice-limit")), (other.id(), InquiryStep::Ended)];
    assert_eq!(steps, expected);
}

#[tokio::test]
async fn an_outcome_is_recorded_by_somebody_before_the_notice_is_closed() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, vec![receiver("acme", Channel::Feed, id())], true, start()).unwrap();
    notices.next_step(&mut inquiry, start()).unwrap();
    let notice = notices.feed("acme", None, 1).unwrap().0.pop().unwrap();
    let told = notices.acknowledge("acme", notice.id(), start()).unwrap();
    assert!(matches!(told, Some(ToldNotice::Unrecorded(_))));
    // The disclosure log cannot be written, and the process ends. The recipient repeats its request.
    let again = notices.acknowledge("acme", notice.id(), start()).unwrap();
    assert!(matches!(again, Some(ToldNotice::Unrecorded(_))));
    assert_eq!(notices.feed("acme", None, 1).unwrap().0.len(), 0, "it is told");
    assert_eq!(claim_inquiries(&notices, seconds(start(), 30)).len(), 0, "the inquiry goes on");
    let left = claim_notices(&notices, later(1)).pop().unwrap();
    assert_eq!((left.state.unrecorded, left.state.outcome()), (true, "acknowledged"));
    notices.recorded(left, later(1)).unwrap();
    let mut inquiry = claim_inquiries(&notices, later(1)).pop().unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::EraseSecret("delivered"));
}

#[tokio::test]
async fn a_notice_follows_the_channel_of_the_configuration() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, vec![receiver("acme", Channel::Webhook, id())], true, start()).unwrap();
    let mut now = start();
    let mut moved_to = |channel: Channel| {
        now = seconds(now, 1);
        notices.revisit(|_| channel, now).unwrap();
        let notice = claim_notices(&notices, now).pop().unwrap();
        assert_ne!(notice.state.channel, channel);
        let left = notices.move_to(notice, channel, now).unwrap();
        notices.revisit(|_| channel, seconds(now, 1)).unwrap();
        left.map(|notice| (notice.state.outcome(), notices.recorded(notice, now).unwrap()).0)
    };
    assert_eq!(moved_to(Channel::Feed), None);
    assert_eq!(notices.feed("acme", None, 1).unwrap().0.len(), 1);
    assert_eq!(claim_notices(&notices, later(29)).len(), 0, "it waits for the recipient");
    assert_eq!(moved_to(Channel::Manual), Some("manual"));
    assert_eq!(notices.feed("acme", None, 1).unwrap().0.len(), 0);
    assert_eq!(moved_to(Channel::Webhook), None);
    assert_eq!(claim_notices(&notices, seconds(start(), 4)).len(), 1, "it is sent");
    // Nobody reads the feed: a person has to tell the recipient after 30 days.
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, vec![receiver("acme", Channel::Feed, id())], true, start()).unwrap();
    assert_eq!(claim_notices(&notices, later(29)).len(), 0);
    assert!(Notices::is_expired(&claim_notices(&notices, later(31)).pop().unwrap(), later(31)));
}

#[tokio::test]
async fn due_notices_to_one_recipient_do_not_hide_those_to_others() {
    let (ledger, notices) = fresh();
    notices.watch(start()).unwrap();
    for number in 0..3 {
        tell(&ledger, &format!(r#"{{"subject":"p-{number}","kind":"erasure"}}"#), start()).await;
        let mut inquiry = one_inquiry(&notices, start());
        let mut receivers = vec![receiver("slow", Channel::Webhook, id())];
        if number == 2 {
            receivers.push(receiver("acme", Channel::Webhook, id()));
        }
        notices.found(&mut inquiry, receivers, true, seconds(start(), number)).unwrap();
    }
    let now = seconds(start(), 10);
    let slow: Arc<str> = Arc::from("slow");
    assert_eq!(notices.due_recipients(&[], now).unwrap(), [Arc::clone(&slow), Arc::from("acme")]);
    assert_eq!(notices.due_recipients(&[slow], now).unwrap(), [Arc::from("acme")]);
    assert!(notices.claim_notice("acme", now).unwrap().is_some());
    assert!(notices.claim_notice("acme", now).unwrap().is_none());
}

#[tokio::test]
async fn a_log_of_another_gateway_is_complete_only_if_that_is_known() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let state = one_inquiry(&notices, start()).state;
    let log = |size, last: Option<u64>, is_stopped| SearchedLog {
        origin: "gateway-2/x".to_owned(),
        size,
        last: last.map(|after| seconds(start(), after)),
        is_stopped,
    };
    let known = |running: &[&str]| {
        let on_record = |(origin, gateway, size): (&str, &str, u64)| LogOnRecord {
            origin: origin.to_owned(),
            gateway: gateway.to_owned(),
            folder: "/data/audit".to_owned(),
            size,
            since: jiff::civil::date(2026, 11, 1),
            until: start(),
            retention: u64::MAX,
            lost: None,
            former: false,
        };
        KnownLogs {
            logs: [("gateway-1/x", "gateway-1", 7), ("gateway-2/x", "gateway-2", 7)].map(on_record).into(),
            running: running.iter().map(|name| Arc::from(*name)).collect(),
            is_shared: true,
        }
    };
    let has_if =
        |log: &SearchedLog, running: &[&str]| notices.has_everything(&state, log, &known(running)).unwrap();
    let has = |log: &SearchedLog| has_if(log, &["gateway-1"]);
    // The gateway has stated nothing: only the end of the log tells.
    assert!(!has(&log(0, None, false)) && !has(&log(9, Some(60), false)));
    assert!(has(&log(9, Some(61), false)), "later than any lease");
    assert!(has(&log(9, Some(0), true)), "it has stopped");
    assert!(!has(&log(6, Some(0), true)), "a copy from before it ran the last time");
    for running in ["gateway-2", "gateway-3"] {
        let of_running = |log: &SearchedLog| has_if(log, &["gateway-1", running]);
        let is_known = running == "gateway-3";
        assert_eq!(of_running(&log(9, Some(61), false)), is_known, "its clock may be ahead");
        assert_eq!(of_running(&log(9, Some(0), true)), is_known, "it has started again");
    }
    let other = SearchedLog { origin: "of another version".to_owned(), ..log(9, Some(0), true) };
    assert!(has(&other) && !has_if(&other, &["gateway-3"]), "it may be that of the gateway");
    let stated = |position, size| {
        let state = |known: &LogStatement| LogStatement { position, size, ..known.clone() };
        notices.state_log("gateway-2/x", state).unwrap();
    };
    // It runs, and has not stated anything about this event.
    stated(state.position - 1, 8);
    assert!(!has(&log(9, Some(3), false)) && has(&log(8, Some(3), true)));
    assert!(!has(&log(7, Some(0), true)), "a copy from before it started again");
    stated(state.position, 12);
    assert!(has(&log(12, Some(0), false)), "it is idle");
    assert!(!has(&log(11, Some(0), false)) && !has(&log(11, Some(61), false)), "a copy");
}

#[tokio::test]
async fn a_search_asks_for_the_latest_position() {
    let (_, notices) = fresh();
    assert_eq!(notices.asked_position().unwrap(), 0);
    for (position, asked) in [(5, 5), (3, 5), (8, 8)] {
        notices.ask_for_statements(position).unwrap();
        assert_eq!(notices.asked_position().unwrap(), asked);
    }
    assert!(notices.log_statement("gateway-2/x").unwrap().is_none());
}

#[test]
fn a_setting_is_in_force_since_it_was_first_seen() {
    let settings = |epoch: &str| [("epoch".to_owned(), epoch.to_owned())].into();
    let first = Naming::default().updated(&settings("1"), start());
    let same = first.updated(&settings("1"), later(1));
    assert_eq!(same.since("epoch", "1"), Some(start()));
    let second = same.updated(&settings("2"), later(2));
    assert_eq!((second.since("epoch", "1"), second.since("epoch", "2")), (None, Some(later(2))));
    let back = second.updated(&settings("1"), later(3));
    assert_eq!(back.since("epoch", "1"), Some(later(3)), "the time in between is not known to be");
    assert_eq!(back.since("route a", "1"), None);
}

#[tokio::test]
async fn what_left_in_spite_of_the_event_is_not_told() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let state = one_inquiry(&notices, start()).state;
    let position = state.position;
    assert!(state.is_after(later(1), position));
    assert!(!state.is_after(later(1), position - 1), "a gateway that did not know the event");
    assert!(!state.is_after(seconds(start(), 60), position), "it had begun with what was known before");
}

/// The times of the events are those of their ids, which have the present time.
#[tokio::test]
async fn the_time_begins_at_the_end_of_what_is_on_record_if_a_clock_is_wrong() {
    let (ledger, notices) = fresh();
    let now = Timestamp::now();
    let days = |time: Timestamp, days: i64| time + jiff::SignedDuration::from_hours(24 * days);
    let wrong = [days(now, -3000), days(now, -2), days(now, 2), days(now, 3000)];
    let begins = |clock| notices.first_time(clock).unwrap();
    assert_eq!(wrong.map(begins), wrong, "nothing is on record");
    tell(&ledger, ERASURE, now).await;
    let event = begins(wrong[0]);
    assert!((0..=60).contains(&event.duration_since(now).as_secs()));
    let close = seconds(event, 20 * 3600);
    assert_eq!(begins(close), close, "a clock that may be right");
    assert_eq!(wrong.map(begins), [event; 4]);
}

#[tokio::test]
async fn a_first_clock_neither_puts_off_nor_ends_what_has_begun() {
    let (ledger, notices) = fresh();
    let begun = Timestamp::now() + jiff::SignedDuration::from_hours(24 * 5);
    tell(&ledger, ERASURE, begun).await;
    let mut inquiry = one_inquiry(&notices, begun);
    let told = notices.found(&mut inquiry, vec![receiver("acme", Channel::Webhook, id())], true, begun);
    let notice = &told.unwrap()[0];
    for days in [-3000, -10, 10, 3000] {
        let first = notices.first_time(begun + jiff::SignedDuration::from_hours(24 * days)).unwrap();
        assert!(!Notices::is_expired(notice, first) && !notices.is_overdue(notice, first), "{days}");
        assert_eq!(notices.due_recipients(&[], first).unwrap().len(), 1, "{days}");
    }
    // A clock that was ahead when an earlier inquiry began, and has been set since.
    let ahead = begun + jiff::SignedDuration::from_hours(24 * 3000);
    tell(&ledger, r#"{"subject":"bob","kind":"erasure"}"#, begun).await;
    notices.watch(ahead).unwrap();
    tell(&ledger, r#"{"subject":"carol","kind":"erasure"}"#, begun).await;
    notices.watch(begun).unwrap();
    assert_eq!(notices.first_time(begun).unwrap(), begun);
}
