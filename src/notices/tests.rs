//! Tests of inquiries and notices, on a store in memory and with a clock of their own.

use std::collections::BTreeSet;

use super::*;
use crate::keys::Keys;
use crate::ledger::store::memory::MemoryStore;
use crate::ledger::{Store, VocabularyTerms, parse_line};
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
    Receiver { recipient: Arc::from(recipient), categories, first: start(), last: start(), name, channel }
}

fn id() -> Option<PersonName> {
    Some(PersonName::Id("alice".to_owned()))
}

/// Looks for events and claims what is due.
fn claim(notices: &Notices, now: Timestamp) -> (Vec<Inquiry>, Vec<Notice>) {
    notices.watch(now).unwrap();
    let (mut inquiries, mut claimed) = (Vec::new(), Vec::new());
    for one in notices.claim(now).unwrap() {
        match one {
            Claimed::Inquiry(inquiry) => inquiries.push(inquiry),
            Claimed::Notice(notice) => claimed.push(notice),
        }
    }
    (inquiries, claimed)
}

fn one_inquiry(notices: &Notices, now: Timestamp) -> Inquiry {
    let (mut inquiries, _) = claim(notices, now);
    assert_eq!(inquiries.len(), 1);
    inquiries.pop().unwrap()
}

fn rows(ledger: &Ledger) -> usize {
    let rows = ledger.notice_store().notices(None, None, MAX_NOTICE_ROWS).unwrap();
    rows.iter().filter(|row| row.id != Ulid::nil()).count()
}

#[tokio::test]
async fn an_erasure_that_nobody_has_to_be_told_ends_with_the_deletion_of_the_log_secret() {
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    assert_eq!(inquiry.state.event, NoticeEvent::Erasure);
    assert_eq!(claim(&notices, start()).0.len(), 0, "it is claimed");
    assert!(notices.found(&mut inquiry, Vec::new(), true, start()).unwrap().is_empty());
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::EraseSecret("delivered"));
    // The process ends here. The next one comes to the same step.
    let mut inquiry = one_inquiry(&notices, later(1));
    notices.found(&mut inquiry, Vec::new(), true, later(1)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::EraseSecret("delivered"));
    ledger.erase_log_secret(&inquiry.person, later(1)).await.unwrap();
    notices.secret_erased(&mut inquiry, later(1)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::Ended);
    assert_eq!(rows(&ledger), 0);
    let again = Notices::new(Arc::clone(&ledger), LIMIT);
    assert_eq!(claim(&again, later(2)).0.len(), 0);
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
        let (_, mut sent) = claim(&notices, now);
        assert_eq!(sent.len(), 1);
        assert_eq!(notices.attempted(sent.pop().unwrap(), false, now).unwrap().map(|_| ()), None);
        let almost = after(now, Duration::from_secs(wait - 1));
        assert_eq!(claim(&notices, almost).1.len(), 0);
        now = after(now, Duration::from_secs(wait));
    }
    let sent = claim(&notices, now).1.pop().unwrap();
    assert_eq!(&*sent.recipient(), "acme");
    let settled = notices.attempted(sent, true, now).unwrap().unwrap();
    assert_eq!(settled.state.status, NoticeStatus::Delivered);

    // A recipient reads and acknowledges only its own notices, and each once.
    let (feed, next) = notices.list(Some("beta"), None, 10).unwrap();
    assert!(feed.len() == 1 && next.is_none());
    assert_eq!(feed[0].state.data()["person"], serde_json::json!({ "pseudonym": "pn_x" }));
    assert_eq!(notices.list(Some("gamma"), None, 10).unwrap().0.len(), 0, "it has no feed");
    for (recipient, is_own) in [("gamma", false), ("beta", true), ("beta", false)] {
        assert_eq!(notices.acknowledge(recipient, feed[0].id(), now).unwrap().is_some(), is_own);
    }
    let (manual, _) = notices.list(None, None, 10).unwrap();
    let recipients: BTreeSet<Arc<str>> = manual.iter().map(Notice::recipient).collect();
    assert_eq!(recipients, ["delta", "gamma"].map(Arc::from).into());
    for notice in &manual {
        assert!(notices.told_by_person(notice.id(), now).unwrap().is_some());
        assert!(notices.told_by_person(notice.id(), now).unwrap().is_none());
    }

    // The last of them makes the inquiry due at once.
    let mut inquiry = one_inquiry(&notices, now);
    assert!(inquiry.state.complete);
    assert_eq!(notices.next_step(&mut inquiry, now).unwrap(), InquiryStep::EraseSecret("delivered"));
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
    ledger.erase_log_secret(&inquiry.person, later(10)).await.unwrap();
    notices.secret_erased(&mut inquiry, later(10)).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::Wait);

    // After 30 days a person has to tell it.
    let sent = claim(&notices, later(29)).1.pop().unwrap();
    assert!(notices.attempted(sent, false, later(29)).unwrap().is_none());
    let sent = claim(&notices, later(31)).1.pop().unwrap();
    let expired = notices.attempted(sent, false, later(31)).unwrap().unwrap();
    assert_eq!((expired.state.status, expired.state.channel), (NoticeStatus::Expired, Channel::Manual));
    assert!(expired.is_open());
    assert_eq!(claim(&notices, later(60)).1.len(), 0);
    for notice in notices.list(None, None, 10).unwrap().0 {
        notices.told_by_person(notice.id(), later(61)).unwrap().unwrap();
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
    let notice = notices.list(Some("acme"), None, 1).unwrap().0.pop().unwrap();
    notices.acknowledge("acme", notice.id(), start()).unwrap().unwrap();
    let mut inquiry = one_inquiry(&notices, later(1));
    assert!(!inquiry.state.complete);
    let both = vec![receiver("acme", Channel::Feed, id()), receiver("beta", Channel::Feed, id())];
    let begun = notices.found(&mut inquiry, both, true, later(1)).unwrap();
    assert_eq!(begun.iter().map(Notice::recipient).collect::<Vec<_>>(), [Arc::from("beta")]);
    assert_eq!(notices.next_step(&mut inquiry, later(1)).unwrap(), InquiryStep::Wait);
    // A log that is never read again does not keep the log secret for good.
    let (ledger, notices) = fresh();
    tell(&ledger, ERASURE, start()).await;
    let mut inquiry = one_inquiry(&notices, start());
    notices.found(&mut inquiry, Vec::new(), false, start()).unwrap();
    assert_eq!(notices.next_step(&mut inquiry, start()).unwrap(), InquiryStep::Wait);
    assert_eq!(notices.next_step(&mut inquiry, later(10)).unwrap(), InquiryStep::EraseSecret("delivered"));
}

#[tokio::test]
async fn corrections_and_restrictions_are_told_once_by_one_of_two_gateways() {
    let store = Arc::new(MemoryStore::new());
    let ledger = ledger(&store);
    let correction = r#"{"subject":"bob","kind":"correction","facts":{"country":"DE"}}"#;
    tell(&ledger, correction, start()).await;
    let (one, two) = (Notices::new(Arc::clone(&ledger), LIMIT), Notices::new(Arc::clone(&ledger), LIMIT));
    assert_eq!(claim(&one, start()).0.len(), 0, "what was recorded before is not told");
    tell(&ledger, correction, later(1)).await;
    tell(&ledger, r#"{"subject":"bob","kind":"restriction"}"#, later(1)).await;
    tell(&ledger, r#"{"subject":"bob","kind":"objection","purpose":"marketing"}"#, later(1)).await;
    one.watch(later(1)).unwrap();
    two.watch(later(1)).unwrap();
    let mut claimed = claim(&one, later(1)).0;
    assert_eq!(claim(&two, later(1)).0.len(), 0);
    let events: Vec<&str> = claimed.iter().map(|inquiry| inquiry.state.event.name()).collect();
    assert!(events.len() == 2 && events.contains(&"correction") && events.contains(&"restriction"));
    for inquiry in &mut claimed {
        assert_eq!(inquiry.person, IdReader::default().read("bob").unwrap());
        one.found(inquiry, Vec::new(), true, later(1)).unwrap();
        assert_eq!(one.next_step(inquiry, later(1)).unwrap(), InquiryStep::Ended);
    }
    assert_eq!(claim(&Notices::new(Arc::clone(&ledger), LIMIT), later(2)).0.len(), 0);
    assert_eq!(rows(&ledger), 0);
}
