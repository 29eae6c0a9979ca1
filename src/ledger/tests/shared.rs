//! Several ledgers over one store, as gateways that share a server.

use super::*;
use crate::ledger::store::shared::{
    Application, GatewayDescription, RegisteredGateway, Renewal, SharedStore,
};

/// A short lease, so that the tests that wait for its end are quick.
const TERM: Duration = Duration::from_millis(400);

/// The connection of one gateway to the shared store. It can be cut, and appends can be held back.
struct Line {
    store: Arc<MemoryStore>,
    cut: AtomicBool,
    held: AtomicBool,
    answer: Mutex<HistoryAnswer>,
    changed: Condvar,
}

/// The state of the next answer to a question for histories.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HistoryAnswer {
    /// It arrives at once.
    Prompt,
    /// It will not arrive before [`Line::release_answer`].
    Held,
    /// The store has given it, and it has not arrived.
    OnTheWay,
}

impl Line {
    fn answer(&self) -> Result<&MemoryStore, StoreError> {
        match self.cut.load(Ordering::SeqCst) {
            true => Err(StoreError::transient("asking the store", "no answer")),
            false => Ok(&self.store),
        }
    }

    fn hold_next_answer(&self) {
        *self.answer.lock().unwrap() = HistoryAnswer::Held;
    }

    /// Returns when the store has given the answer that is held.
    fn wait_for_answer(&self) {
        let answer = self.answer.lock().unwrap();
        drop(self.changed.wait_while(answer, |answer| *answer != HistoryAnswer::OnTheWay).unwrap());
    }

    fn release_answer(&self) {
        *self.answer.lock().unwrap() = HistoryAnswer::Prompt;
        self.changed.notify_all();
    }

    fn deliver(&self) {
        let mut answer = self.answer.lock().unwrap();
        if *answer == HistoryAnswer::Held {
            *answer = HistoryAnswer::OnTheWay;
            self.changed.notify_all();
            drop(self.changed.wait_while(answer, |answer| *answer == HistoryAnswer::OnTheWay).unwrap());
        }
    }
}

impl Store for Line {
    fn id(&self) -> Result<Option<LedgerId>, StoreError> {
        self.answer()?.id()
    }

    fn take_id(&self, id: LedgerId) -> Result<(), StoreError> {
        self.answer()?.take_id(id)
    }

    fn append(&self, known: &KnownHistory, sequence: &mut Sequencing<'_>) -> Result<Appended, StoreError> {
        while self.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.answer()?.append(known, sequence)
    }

    fn follow(&self, known: &KnownHistory, limit: usize) -> Result<Continuation, StoreError> {
        self.answer()?.follow(known, limit)
    }

    fn histories(&self, entities: &[StoredEntity]) -> Result<Vec<StoredHistory>, StoreError> {
        let histories = self.answer()?.histories(entities);
        self.deliver();
        histories
    }

    fn log_secrets(&self, entities: &[StoredEntity]) -> Result<Vec<Option<StoredSecret>>, StoreError> {
        self.answer()?.log_secrets(entities)
    }

    fn find_repeated(
        &self,
        keys: &[IdempotencyDigest],
    ) -> Result<HashMap<IdempotencyDigest, (StoredEvent, RequestDigest)>, StoreError> {
        self.answer()?.find_repeated(keys)
    }

    fn entity_ids(&self, kind: EntityKind, namespace: Option<&str>) -> Result<Vec<SmolStr>, StoreError> {
        self.answer()?.entity_ids(kind, namespace)
    }

    fn events_with(
        &self,
        part: &str,
        from: Position,
        before: Position,
        limit: usize,
    ) -> Result<Vec<(StoredEntity, StoredEvent)>, StoreError> {
        self.answer()?.events_with(part, from, before, limit)
    }

    fn case_ids(&self) -> Result<Vec<Arc<str>>, StoreError> {
        self.answer()?.case_ids()
    }

    fn scan(&self, each: &mut dyn FnMut(&StoredEntity, StoredEvent) -> bool) -> Result<(), StoreError> {
        self.answer()?.scan(each)
    }

    fn history_end(&self) -> Result<KnownHistory, StoreError> {
        self.answer()?.history_end()
    }

    fn accept_history(&self, until: Position, now: Timestamp) -> Result<(), StoreError> {
        self.answer()?.accept_history(until, now)
    }

    fn losses(&self) -> Result<Vec<LossOfEvents>, StoreError> {
        self.answer()?.losses()
    }

    fn policies(&self) -> Result<PolicyMemory, StoreError> {
        self.answer()?.policies()
    }

    fn remember_policies(&self, memory: &PolicyMemory) -> Result<(), StoreError> {
        self.answer()?.remember_policies(memory)
    }

    fn notice_store(&self) -> &dyn NoticeStore {
        self.store.notice_store()
    }

    fn recipients(&self) -> Result<BTreeSet<Arc<str>>, StoreError> {
        self.answer()?.recipients()
    }

    fn shared(&self) -> Option<&dyn SharedStore> {
        Some(self)
    }
}

impl SharedStore for Line {
    fn register(&self, gateway: &GatewayDescription) -> Result<(), StoreError> {
        self.answer()?.register(gateway)
    }

    fn renew(&self, instance: Ulid, applied: Position) -> Result<Renewal, StoreError> {
        self.answer()?.renew(instance, applied)
    }

    fn renew_excluding_writers(
        &self,
        instance: Ulid,
        known: &KnownHistory,
        apply: &mut Application<'_>,
    ) -> Result<Renewal, StoreError> {
        self.answer()?.renew_excluding_writers(instance, known, apply)
    }

    fn leave(&self, instance: Ulid) -> Result<(), StoreError> {
        self.answer()?.leave(instance)
    }

    fn confirmed(&self) -> Result<Position, StoreError> {
        self.answer()?.confirmed()
    }

    fn identity(&self) -> Result<u64, StoreError> {
        self.answer()?.identity()
    }

    fn gateways(&self) -> Result<Vec<RegisteredGateway>, StoreError> {
        self.answer()?.gateways()
    }

    fn report_loss(&self, until: Position, now: Timestamp) -> Result<KnownHistory, StoreError> {
        self.answer()?.report_loss(until, now)
    }

    fn begin_copy(&self, end: Position) -> Result<(), StoreError> {
        self.answer()?.begin_copy(end)
    }

    fn complete_copy(&self, end: Position) -> Result<(), StoreError> {
        self.answer()?.complete_copy(end)
    }

    fn wait_for_events(&self, at_most: Duration) {
        self.store.wait_for_events(at_most);
    }
}

fn description(name: &str) -> GatewayDescription {
    GatewayDescription {
        instance: Ulid::generate(),
        name: Arc::from(name),
        lease: TERM,
        version: Arc::from("test"),
        namespaces: [0; 32],
        recipients: vec![Arc::from(format!("recipient-of-{name}"))],
        packs: Vec::new(),
    }
}

/// A gateway with its connection.
pub(super) struct Member {
    pub(super) ledger: Arc<Ledger>,
    line: Arc<Line>,
}

impl Member {
    pub(super) fn join(store: &Arc<MemoryStore>, keys: &Keys, name: &str) -> Member {
        let line = Arc::new(Line {
            store: Arc::clone(store),
            cut: AtomicBool::new(false),
            answer: Mutex::new(HistoryAnswer::Prompt),
            changed: Condvar::new(),
            held: AtomicBool::new(false),
        });
        let ledger =
            Ledger::with_store(Arc::clone(&line) as Arc<dyn Store>, keys, Arc::new(Fixture)).unwrap();
        ledger.join(description(name)).unwrap();
        Member { ledger, line }
    }

    fn is_current(&self) -> bool {
        self.ledger.freshness() == Freshness::Current
    }

    pub(super) async fn until_current(&self) {
        until(|| self.is_current()).await;
    }

    fn cut(&self, cut: bool) {
        self.line.cut.store(cut, Ordering::SeqCst);
    }
}

pub(super) async fn two() -> (Arc<MemoryStore>, Member, Member) {
    let store = Arc::new(MemoryStore::shared_by_gateways());
    let keys = keys();
    let (one, two) = (Member::join(&store, &keys, "one"), Member::join(&store, &keys, "two"));
    one.until_current().await;
    two.until_current().await;
    (store, one, two)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_in_force_on_every_gateway_once_it_is_everywhere() {
    let (_store, one, two) = two().await;
    for round in 0..50 {
        let name = format!("p{round}");
        let given = append(&one.ledger, &name, GIVE).await.unwrap().unwrap();
        assert!(one.ledger.in_force_everywhere(given).await);
        assert_eq!(status(&two.ledger, &name), Some(ConsentStatus::Given));
        let withdrawn = append(&two.ledger, &name, WITHDRAW).await.unwrap().unwrap();
        assert_eq!(status(&two.ledger, &name), Some(ConsentStatus::Withdrawn), "here at once");
        assert!(two.ledger.in_force_everywhere(withdrawn).await);
        assert_eq!(status(&one.ledger, &name), Some(ConsentStatus::Withdrawn));
    }
    assert!(one.ledger.reach(two.ledger.position(), TERM).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_gateway_is_stale_after_its_term_and_current_soon_after_it_is_back() {
    let (_store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    until(|| status(&two.ledger, "alice").is_some()).await;
    two.cut(true);
    let cut = std::time::Instant::now();
    let withdrawn = append(&one.ledger, "alice", WITHDRAW).await.unwrap().unwrap();
    assert!(one.ledger.in_force_everywhere(withdrawn).await);
    assert!(!two.is_current(), "its lease is over before the barrier is");
    assert!(cut.elapsed() >= TERM / 2, "the barrier waited for the lease");
    assert_eq!(status(&two.ledger, "alice"), Some(ConsentStatus::Given), "it knows no better");
    let current = |freshness| freshness == Freshness::Current;
    let alice = two.ledger.fingerprints().subject(&id("alice"));
    assert!(two.ledger.hand_out(two.ledger.epoch(), &[alice], current, || ()).is_none());
    assert!(!two.ledger.reach(withdrawn.position, Duration::from_millis(20)).await);
    two.cut(false);
    two.until_current().await;
    assert_eq!(status(&two.ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_known_nothing_and_one_that_does_not_take_part_are_not_current() {
    let store = Arc::new(MemoryStore::shared_by_gateways());
    let keys = keys();
    let visitor = Ledger::with_store(Arc::clone(&store) as Arc<dyn Store>, &keys, Arc::new(Fixture)).unwrap();
    append(&visitor, "alice", GIVE).await.unwrap().unwrap();
    assert_eq!(visitor.freshness(), Freshness::Unknown);
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_at_two_gateways_at_once_are_accepted_on_the_whole_history() {
    let (_store, one, two) = two().await;
    tell(&one.ledger, CASE).await.unwrap();
    let approve = |ledger: &Arc<Ledger>, by: &str| {
        let line = format!(r#"{{"case":"C-7","kind":"case-approved","approver":"{by}"}}"#);
        let ledger = Arc::clone(ledger);
        tokio::spawn(async move { tell(&ledger, &line).await })
    };
    let (first, again) = (approve(&one.ledger, "ada"), approve(&two.ledger, "ada"));
    let outcomes = [first.await.unwrap(), again.await.unwrap()];
    let refused = Err(AppendError::Conflict(Conflict::ApprovedBefore));
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    assert!(outcomes.contains(&refused), "{outcomes:?}");

    // One idempotency key at both: recorded once, and both get its acknowledgement.
    for round in 0..100 {
        let key = format!("k{round}");
        let send = |ledger: &Arc<Ledger>| {
            let (ledger, key) = (Arc::clone(ledger), key.clone());
            tokio::spawn(
                async move { ledger.append(&person("alice"), draft(WITHDRAW), Some(&key), now()).await },
            )
        };
        let (a, b) = (send(&one.ledger), send(&two.ledger));
        let (a, b) = (a.await.unwrap().unwrap(), b.await.unwrap().unwrap());
        assert_eq!((a.event, a.position), (b.event, b.position), "{round}");
        assert!(a.repeated != b.repeated && a.position > Position(0));
    }
    let reused = two.ledger.append(&person("alice"), draft(GIVE), Some("k3"), now()).await;
    assert_eq!(reused, Err(AppendError::KeyReused));
}

/// The first report is accepted again when it is appended, as another event. The repetition was accepted before that, on
/// the same history.
#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_acknowledged_with_an_event_that_is_durable() {
    let (store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    one.line.held.store(true, Ordering::SeqCst);
    let send = |name: &'static str, key| {
        let ledger = Arc::clone(&one.ledger);
        tokio::spawn(async move { ledger.append(&person(name), draft(WITHDRAW), Some(key), now()).await })
    };
    let first = send("alice", "k");
    until(|| status(&one.ledger, "alice") == Some(ConsentStatus::Withdrawn)).await;
    let others = append(&two.ledger, "alice", r#"{"kind":"notice","notice":"n"}"#).await.unwrap().unwrap();
    assert!(one.ledger.reach(others.position, Duration::from_secs(10)).await);
    let (again, later) = (send("alice", "k"), send("bob", "k"));
    // Reports are accepted in their order.
    until(|| status(&one.ledger, "bob") == Some(ConsentStatus::Withdrawn)).await;
    one.line.held.store(false, Ordering::SeqCst);
    let (first, again) = (first.await.unwrap().unwrap(), again.await.unwrap().unwrap());
    assert_eq!((again.event, again.position, again.repeated), (first.event, first.position, true));
    later.await.unwrap().unwrap();
    let events = store.histories(&[StoredEntity::of(&person("alice"))]).unwrap();
    assert!(events[0].events.iter().any(|stored| stored.id == again.event));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_gateway_folds_the_same_history_to_the_same_state() {
    let (store, one, two) = two().await;
    let mut writers = Vec::new();
    for writer in 0..8_usize {
        let ledger = Arc::clone(if writer % 2 == 0 { &one.ledger } else { &two.ledger });
        writers.push(tokio::spawn(async move {
            for n in 0..60_usize {
                let text = match (writer + n) % 4 {
                    0 => GIVE,
                    1 => WITHDRAW,
                    2 => r#"{"kind":"fact","facts":{"region":"US","minor":false}}"#,
                    _ => r#"{"kind":"objection","purpose":"marketing"}"#,
                };
                append(&ledger, &format!("p{}", n % 5), text).await.unwrap().unwrap();
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let last = store.history_end().unwrap().position;
    assert_eq!(last, Position(8 * 60), "positions are dense");
    for member in [&one, &two] {
        assert!(member.ledger.reach(last, Duration::from_secs(10)).await);
    }
    let folded =
        Ledger::with_store(Arc::clone(&store) as Arc<dyn Store>, &keys(), Arc::new(Fixture)).unwrap();
    for n in 0..5 {
        let name = id(&format!("p{n}"));
        let state = folded.subject(&name).1;
        assert!(state.is_some());
        assert_eq!(one.ledger.subject(&name).1, state, "p{n}");
        assert_eq!(two.ledger.subject(&name).1, state, "p{n}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_without_an_answer_is_read_back() {
    let (_store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    one.cut(true);
    assert_eq!(append(&one.ledger, "alice", WITHDRAW).await.unwrap(), Err(AppendError::Unavailable));
    assert_eq!(append(&one.ledger, "stranger", WITHDRAW).await.unwrap(), Err(AppendError::Unavailable));
    one.cut(false);
    one.until_current().await;
    // The withdrawal did not become durable, so the consent counts again, as on the other gateway.
    until(|| status(&one.ledger, "alice") == Some(ConsentStatus::Given)).await;
    until(|| one.ledger.subject(&id("stranger")).1.is_none()).await;
    assert!(append(&one.ledger, "alice", WITHDRAW).await.unwrap().is_ok(), "the ledger goes on");
    until(|| status(&two.ledger, "alice") == Some(ConsentStatus::Withdrawn)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_history_closes_every_gateway_until_it_is_accepted_and_withdrawals_are_recorded_again() {
    let (store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    append(&one.ledger, "bob", GIVE).await.unwrap().unwrap();
    let kept = one.ledger.position();
    let withdrawn = append(&one.ledger, "alice", WITHDRAW).await.unwrap().unwrap();
    let granted = append(&two.ledger, "carol", GIVE).await.unwrap().unwrap();
    until(|| one.ledger.position() == granted.position && two.ledger.position() == granted.position).await;

    store.lose_after(kept);
    for member in [&one, &two] {
        until(|| member.ledger.freshness() == Freshness::Unknown).await;
        until(|| status(&member.ledger, "carol").is_none()).await;
        until(|| status(&member.ledger, "alice") == Some(ConsentStatus::Withdrawn)).await;
    }
    let history = one.ledger.archive().history(&person("alice")).unwrap();
    let withdrawals = history.iter().filter(|past| past.event.kind.name() == "consent-withdrawn");
    assert_eq!(withdrawals.count(), 1, "recorded again, once");
    assert!(history.iter().all(|past| past.position != withdrawn.position), "no position is used twice");
    tokio::time::sleep(2 * TERM).await;
    assert!(!one.is_current() && !two.is_current(), "closed until somebody accepts the loss");
    assert!(append(&two.ledger, "bob", WITHDRAW).await.unwrap().is_ok(), "withdrawals are still recorded");

    store.accept_history(granted.position, now()).unwrap();
    tokio::time::sleep(TERM).await;
    assert!(
        !one.is_current(),
        "the record of the loss has a position of its own, which is the one to accept"
    );
    store.accept_history(one.ledger.lost_history().unwrap(), now()).unwrap();
    one.until_current().await;
    two.until_current().await;
    assert_eq!(status(&one.ledger, "bob"), Some(ConsentStatus::Withdrawn));
    assert_eq!(status(&one.ledger, "carol"), None, "the grant is lost");
    assert_eq!((one.ledger.subject_count(), two.ledger.subject_count()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_another_live_gateway_knows_is_known() {
    let (_store, one, two) = two().await;
    one.ledger.set_recipients([Arc::from("recipient-of-one")]);
    let about = |name: &str| format!(r#"{{"recipient":"{name}","kind":"suspended"}}"#);
    // The gateways look at each other once a second.
    let until_accepted = async |name: &str| {
        for _ in 0..200 {
            if tell(&one.ledger, &about(name)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("`{name}` did not become known");
    };
    tell(&one.ledger, &about("recipient-of-one")).await.unwrap();
    until_accepted("recipient-of-two").await;
    assert!(tell(&one.ledger, &about("recipient-of-three")).await.is_err());
    until(|| two.ledger.is_suspended("recipient-of-two")).await;
    let recipients = vec![Arc::from("recipient-of-three")];
    two.ledger.describe(GatewayDescription { recipients, ..description("two") });
    until_accepted("recipient-of-three").await;
    assert_eq!(one.ledger.other_gateways().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_leaves_delays_nobody() {
    let (_store, one, two) = two().await;
    let given = append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    tokio::task::spawn_blocking(move || drop(two)).await.unwrap();
    let began = std::time::Instant::now();
    assert!(one.ledger.in_force_everywhere(given).await);
    assert!(began.elapsed() < TERM);
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_tell_the_lease_the_other_gateways_failures_and_a_loss() {
    let (store, one, two) = two().await;
    let figures = || one.ledger.figures();
    let given = append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    let lease = figures().lease_remaining.unwrap();
    assert!(lease > Duration::ZERO && lease <= TERM, "{lease:?}");
    assert_eq!((figures().position, figures().store_failures), (given.position, 0));
    until(|| figures().gateways == 2).await;
    drop(tokio::task::spawn_blocking(move || drop(two)));
    until(|| figures().gateways == 1).await;

    one.cut(true);
    until(|| figures().lease_remaining == Some(Duration::ZERO)).await;
    assert!(figures().store_failures > 0 && !figures().history_lost);
    one.cut(false);
    one.until_current().await;

    store.lose_after(Position(0));
    until(|| figures().history_lost).await;
    assert_eq!(figures().lease_remaining, Some(Duration::ZERO));
    tokio::time::sleep(2 * TERM).await;
    assert!(figures().history_lost, "nobody has accepted it");
    store.accept_history(one.ledger.lost_history().unwrap(), now()).unwrap();
    until(|| !figures().history_lost).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_an_embedded_ledger_have_no_lease() {
    let store = Arc::new(MemoryStore::new());
    let ledger = Ledger::with_store(store, &keys(), Arc::new(Fixture)).unwrap();
    append(&ledger, "alice", GIVE).await.unwrap().unwrap();
    let figures = ledger.figures();
    assert_eq!((figures.position, figures.lease_remaining, figures.gateways), (Position(1), None, 1));
    assert!(figures.store_failures == 0 && !figures.history_lost);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_answer_stops_no_other_thread_and_is_not_used_once_it_is_outdated() {
    let (_store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    until(|| two.ledger.position() == one.ledger.position()).await;
    two.line.hold_next_answer();
    let objected = append(&two.ledger, "alice", r#"{"kind":"objection","purpose":"analytics"}"#);
    let line = Arc::clone(&two.line);
    tokio::task::spawn_blocking(move || line.wait_for_answer()).await.unwrap();
    // The answer that is on the way does not know the withdrawal. The follower goes on meanwhile.
    let withdrawn = append(&one.ledger, "alice", WITHDRAW).await.unwrap().unwrap();
    assert!(two.ledger.reach(withdrawn.position, TERM / 2).await);
    assert!(one.ledger.in_force_everywhere(withdrawn).await);
    assert!(two.is_current());
    two.line.release_answer();
    assert!(objected.await.unwrap().unwrap().changed);
    assert_eq!(status(&two.ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failover_without_a_loss_the_gateways_go_on() {
    let (store, one, two) = two().await;
    append(&one.ledger, "alice", GIVE).await.unwrap().unwrap();
    until(|| status(&two.ledger, "alice").is_some()).await;
    for member in [&one, &two] {
        member.cut(true);
    }
    store.fail_over();
    tokio::time::sleep(TERM).await;
    for member in [&one, &two] {
        member.cut(false);
        member.until_current().await;
        assert_eq!(status(&member.ledger, "alice"), Some(ConsentStatus::Given));
    }
    let withdrawn = append(&two.ledger, "alice", WITHDRAW).await.unwrap().unwrap();
    assert!(two.ledger.in_force_everywhere(withdrawn).await);
    assert_eq!(status(&one.ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert_eq!(one.ledger.lost_history(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_gateways_that_read_ids_differently_the_later_one_stops() {
    let (store, one, two) = two().await;
    let other = Ledger::with_store(Arc::clone(&store) as Arc<dyn Store>, &keys(), Arc::new(Fixture)).unwrap();
    other.join(GatewayDescription { namespaces: [1; 32], ..description("other") }).unwrap();
    until(|| !other.healthy()).await;
    tokio::time::sleep(TERM).await;
    assert!(one.ledger.healthy() && two.ledger.healthy());
}
