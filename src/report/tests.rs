//! Reports and lists of disclosures from ledgers and logs of tests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::civil::Date;
use smallvec::{SmallVec, smallvec};
use ulid::Ulid;

use super::*;
use crate::disclosure::entry::{EntryKind, decode_head};
use crate::disclosure::record::{CategoryDisclosure, Disclosure, ExchangeHead, ExchangeMode, Record};
use crate::disclosure::storage::LogReader;
use crate::disclosure::{Durability, Log, LogSettings};
use crate::keys::{Keys, LoggedPerson};
use crate::ledger::store::memory::MemoryStore;
use crate::ledger::store::shared::{GatewayDescription, SharedStore as _};
use crate::ledger::{LogOnRecord, Position, Store as _, VocabularyTerms};
use crate::vocabulary::{Basis, Form, Namespaces, Operation, Vocabulary};

fn exchange(person: LoggedPerson) -> Record {
    let head = ExchangeHead {
        decision: Ulid::generate(),
        recipient: "acme".into(),
        actor: None,
        holder: None,
        purpose: "support".into(),
        declared: None,
        case: None,
        route: "customers".into(),
        operation: Operation::Disclose,
        policy: "1".into(),
        position: Position(3),
        stale: false,
        factors: SmallVec::new(),
        mode: ExchangeMode::Enforce,
        would_refuse: None,
        trace: None,
    };
    let category = CategoryDisclosure {
        category: Some("email".into()),
        form: Form::Clear,
        basis: Some(Basis::Consent),
        reason: None,
        rules: Arc::new(["r".into()]),
        clauses: Arc::new(["c".into()]),
        fields: 1,
        would: None,
    };
    let disclosure = Disclosure {
        records: 1,
        subjects: smallvec![person],
        categories: vec![category],
        ..Disclosure::default()
    };
    Record::Exchange(Arc::new(head), disclosure)
}

fn open(folder: &tempfile::TempDir, keys: &Keys) -> Log {
    let settings = LogSettings {
        folder: folder.path().join("audit"),
        gateway: "gateway-1".to_owned(),
        durability: Durability::BeforeRelease,
        retention: Duration::MAX,
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    };
    Log::open(settings, keys).unwrap()
}

fn archive(store: &Arc<MemoryStore>) -> Archive {
    let terms = VocabularyTerms::new(Arc::new(Vocabulary::standard()), Arc::new(Namespaces::default()));
    Archive::new(Arc::clone(store) as _, Arc::new(terms)).unwrap()
}

fn sources<'s>(archive: &'s Archive, logs: &'s [LogSource], retired: &'s [String]) -> ReportSources<'s> {
    ReportSources { archive, logs, packs: &[], recipients: &[], retired, namespaces: &[] }
}

#[test]
fn a_report_names_the_namespace_of_the_id_where_there_are_several() {
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (log, archive) = (open(&folder, &keys), archive(&Arc::new(MemoryStore::new())));
    // A log that is not there: a report is written about somebody of whom nothing is known.
    let logs = [log.source().clone(), LogSource::new(&folder.path().join("gone"), &keys)];
    let namespace = |namespace: Option<&str>, names: &[&str]| {
        let names: Vec<Arc<str>> = names.iter().copied().map(Arc::from).collect();
        let sources = ReportSources { namespaces: &names, ..sources(&archive, &logs, &[]) };
        let person = Namespaces::default().reader(namespace).read_recorded("alice");
        let report = report(&person, &sources, Timestamp::UNIX_EPOCH).unwrap().unwrap();
        serde_json::to_value(&report).unwrap().get("namespace").cloned()
    };
    assert_eq!(namespace(None, &["crm", "default"]), Some("default".into()));
    assert_eq!(namespace(Some("crm"), &["crm", "default"]), Some("crm".into()));
    assert_eq!(namespace(Some("crm"), &["default"]), Some("crm".into()), "no longer in use");
    assert_eq!(namespace(None, &["default"]), None);
    assert_eq!(namespace(Some("crm"), &["crm"]), None);
}

#[test]
fn an_extent_never_states_more_than_was_read() {
    const REPORTS: usize = 40;
    let (folder, keys) = (tempfile::tempdir().unwrap(), Keys::random().unwrap());
    let (log, archive) = (open(&folder, &keys), archive(&Arc::new(MemoryStore::new())));
    let logs = [log.source().clone()];
    let sources = sources(&archive, &logs, &[]);
    let alice = Namespaces::default().reader(None).read_recorded("alice");
    let person = LoggedPerson::unknown(keys.fingerprints().subject(&alice));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                runtime.block_on(log.append(exchange(person))).unwrap();
            }
        });
        let reports: Vec<_> =
            (0..REPORTS).map(|_| disclosures(&alice, &sources, Timestamp::UNIX_EPOCH).unwrap()).collect();
        is_over.store(true, Ordering::Relaxed);
        let mut reader = LogReader::open(log.folder()).unwrap();
        for DisclosureList { disclosures: disclosed, logs, .. } in reports {
            let size = usize::try_from(logs[0].size).unwrap();
            let stated = reader.entries(0).take(size).filter(|entry| {
                let (_, entry) = entry.as_ref().unwrap();
                decode_head(&entry.leaf).unwrap().kind == EntryKind::Exchange
            });
            let stated = stated.count();
            assert!(disclosed.len() >= stated, "{} of {stated} in {size} entries", disclosed.len());
        }
    });
}

#[test]
fn a_report_is_complete_only_with_the_logs_of_all_gateways() {
    let store = Arc::new(MemoryStore::shared_by_gateways());
    let archive = archive(&store);
    let (keys, folder) = (Keys::random().unwrap(), tempfile::tempdir().unwrap());
    let log = open(&folder, &keys);
    let origin = LogExtent::of_folder(log.folder()).unwrap().origin.unwrap();
    let copy = folder.path().join("copy");
    let copied = std::process::Command::new("cp").arg("-r").args([log.folder(), &*copy]).status().unwrap();
    assert!(copied.success());
    let logs = [log.folder(), &*copy].map(|folder| LogSource::new(folder, &keys));
    let person = Namespaces::default().reader(None).read_recorded("alice");
    // Returns the faults of a list from so many logs.
    let faults_of = |number: usize, retired: &[String], now| {
        let logs = &logs[..number];
        let sources = sources(&archive, logs, retired);
        let list = disclosures(&person, &sources, now).unwrap();
        let faults: Vec<String> = list.logs.iter().filter_map(|log| log.fault.clone()).collect();
        assert_eq!(list.complete, faults.is_empty());
        faults
    };
    let faults = || faults_of(1, &[], Timestamp::UNIX_EPOCH);
    let gateway = |number: u128| GatewayDescription {
        instance: Ulid::from(number),
        name: Arc::from(format!("gateway-{number}")),
        lease: Duration::from_secs(2),
        version: Arc::from("test"),
        namespaces: [0; 32],
        recipients: Vec::new(),
        packs: Vec::new(),
    };
    let join = |number| {
        store.register(&gateway(number)).unwrap();
        store.renew(Ulid::from(number), Position::default()).unwrap();
    };
    let state = |origin: &str, gateway: &str, size, lost: Option<Timestamp>| {
        let record = LogOnRecord {
            origin: origin.to_owned(),
            gateway: gateway.to_owned(),
            folder: "/data/audit".to_owned(),
            size,
            since: Date::constant(1970, 1, 1),
            until: Timestamp::UNIX_EPOCH,
            retention: 60,
            lost,
            former: false,
        };
        ledger::record_log(store.notice_store(), origin, |_| Some(record.clone())).unwrap();
    };
    join(1);
    assert!(faults()[0].starts_with("the gateway `gateway-1` runs"));
    state(&origin, "gateway-1", 1000, None);
    assert!(faults()[0].contains("1000 entries from 1970-01-01") && faults()[0].contains("up to entry"));
    state(&origin, "gateway-1", 1, None);
    assert_eq!(faults(), [""; 0]);
    join(2);
    assert!(faults()[0].starts_with("the gateway `gateway-2` runs"));
    state("gateway-2/x", "gateway-2", 7, None);
    assert!(faults()[0].contains("`gateway-2/x` of gateway `gateway-2`, 7 entries from 1970-01-01"));
    store.leave(Ulid::from(2_u128)).unwrap();
    let unread = faults();
    assert!(unread.len() == 1 && unread[0].ends_with("list it in `[audit] logs`"), "{unread:?}");
    assert_eq!(faults_of(2, &[], Timestamp::UNIX_EPOCH), unread, "a copy is no other log");
    assert_eq!(faults_of(1, &["gateway-2/x".to_owned()], Timestamp::UNIX_EPOCH), [""; 0]);
    state("gateway-2/x", "gateway-2", 7, Some(Timestamp::UNIX_EPOCH));
    assert!(faults()[0].contains("is lost"));
    let later = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(61);
    assert_eq!(faults_of(1, &[], later), [""; 0], "it would have been deleted by now");
}
