//! A ledger that answers before everything is in memory.

use super::*;

/// Opens a ledger over the disk whose scan does not get on until [`Disk::unblock_scan`].
fn over_blocked(disk: &Arc<Disk>) -> Arc<Ledger> {
    disk.state.lock().unwrap().scan_blocked = true;
    over(disk)
}

impl Disk {
    fn unblock_scan(&self) {
        self.state.lock().unwrap().scan_blocked = false;
        self.changed.notify_all();
    }
}

async fn prepared() -> Arc<Disk> {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    for name in ["alice", "bob", "carol"] {
        append(&ledger, name, GIVE).await.unwrap().unwrap();
    }
    tell(&ledger, r#"{"controller":"c","kind":"instruction","purpose":"invoicing"}"#).await.unwrap();
    tell(&ledger, r#"{"recipient":"acme","kind":"suspended"}"#).await.unwrap();
    tell(&ledger, CASE).await.unwrap();
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_memory_yet_is_read_from_the_store() {
    let disk = prepared().await;
    let ledger = over_blocked(&disk);
    assert_eq!(ledger.subject_count(), 0, "nobody is in memory");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given));
    assert!(ledger.subject(&id("nobody")).1.is_none());
    assert!(ledger.controller(&id("c")).1.is_some() && ledger.controller(&id("d")).1.is_none());
    assert!(ledger.is_suspended("acme") && ledger.case("C-7").is_some(), "known from the start");
    assert_eq!(ledger.subject_count(), 1, "an answer stays in memory");
    disk.unblock_scan();
    until(|| ledger.subject_count() == 3).await;
    assert!(ledger.healthy());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_secret_of_whoever_has_events_is_known_while_the_ledger_is_loaded() {
    let disk = prepared().await;
    let ledger = over(&disk);
    append(&ledger, "dora", r#"{"kind":"request-received","right":"access"}"#).await.unwrap().unwrap();
    let known = ["alice", "dora"].map(|name| ledger.person(&id(name)).0);
    assert!(known.iter().all(|person| person.secret.is_some()));
    drop(ledger);
    let ledger = over_blocked(&disk);
    let loading = ["alice", "dora"].map(|name| ledger.person(&id(name)));
    assert!(loading[0].1.is_some() && loading[1].1.is_none(), "who has only asked is not known");
    assert_eq!(loading.map(|(person, _)| person.secret), known.map(|person| person.secret));
    // In memory from the first look-up on.
    disk.state.lock().unwrap().unreadable = true;
    assert_eq!(ledger.person(&id("dora")).0.secret, known[1].secret);
    // A person who cannot be read may have a secret: the name is none that anybody can compute.
    let unread = ledger.person(&id("bob")).0;
    disk.state.lock().unwrap().unreadable = false;
    let stored = ledger.person(&id("bob")).0;
    assert!(unread.secret.is_some() && unread.secret != stored.secret && stored.secret.is_some());
    disk.unblock_scan();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_during_the_scan_is_not_undone_by_it() {
    let disk = prepared().await;
    let ledger = over_blocked(&disk);
    assert_eq!(status(&ledger, "bob"), Some(ConsentStatus::Given));
    for name in ["alice", "bob"] {
        append(&ledger, name, WITHDRAW).await.unwrap().unwrap();
    }
    append(&ledger, "dora", GIVE).await.unwrap().unwrap();
    disk.unblock_scan();
    until(|| ledger.subject_count() == 4).await;
    for (name, expected) in [
        ("alice", ConsentStatus::Withdrawn),
        ("bob", ConsentStatus::Withdrawn),
        ("carol", ConsentStatus::Given),
        ("dora", ConsentStatus::Given),
    ] {
        assert_eq!(status(&ledger, name), Some(expected), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_on_a_state_that_could_not_be_read() {
    let disk = prepared().await;
    let ledger = over_blocked(&disk);
    disk.state.lock().unwrap().unreadable = true;
    let epoch = ledger.epoch();
    let (fingerprint, known) = ledger.subject(&id("alice"));
    assert!(known.is_none());
    assert_eq!(ledger.failed_reads(), 1, "for decisions that are not handed out");
    assert_eq!(ledger.hand_out(epoch, &[fingerprint], |_| true, || ()), None);
    disk.state.lock().unwrap().unreadable = false;
    let epoch = ledger.epoch();
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Given), "the next attempt reads it");
    assert_eq!(ledger.hand_out(epoch, &[fingerprint], |_| true, || ()), Some(()));
    disk.unblock_scan();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_dropped_during_the_scan_ends_it() {
    let disk = prepared().await;
    let ledger = over_blocked(&disk);
    let dropped = tokio::task::spawn_blocking(move || drop(ledger));
    disk.unblock_scan();
    tokio::time::timeout(Duration::from_secs(10), dropped).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_that_only_the_ledger_names_are_reported_when_all_is_known() {
    let disk = prepared().await;
    let ledger = over_blocked(&disk);
    let (tell, told) = std::sync::mpsc::channel();
    ledger.report_unregistered(Vec::new(), move |names| tell.send(names.to_vec()).unwrap());
    assert!(told.try_recv().is_err());
    disk.unblock_scan();
    let names = tokio::task::spawn_blocking(move || told.recv_timeout(Duration::from_secs(10)));
    assert_eq!(names.await.unwrap().unwrap(), [Arc::from("acme"), Arc::from("court")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_during_the_scan_is_asked_again() {
    let disk = prepared().await;
    disk.state.lock().unwrap().failing_scans = 2;
    let ledger = over_blocked(&disk);
    disk.unblock_scan();
    until(|| ledger.subject_count() == 3).await;
    assert!(ledger.healthy());
    append(&ledger, "alice", WITHDRAW).await.unwrap().unwrap();
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}
