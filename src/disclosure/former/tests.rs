//! Tests of the log as a whole: its guarantees, its queries and its recovery after a crash.

mod disk;
mod retention;
mod several;
mod tampering;

use serde_json::Value;

use super::record::tests::{disclosed_category, sample};
use super::*;
use crate::keys::Fingerprint;
use crate::vocabulary::Form;

/// A folder for a log inside a temporary folder, in which the log's head stands.
struct Folder {
    path: PathBuf,
    _outer: tempfile::TempDir,
}

impl Folder {
    fn path(&self) -> &Path {
        &self.path
    }
}

fn folder() -> Folder {
    let outer = tempfile::tempdir().unwrap();
    let path = outer.path().join("audit");
    std::fs::create_dir(&path).unwrap();
    Folder { path, _outer: outer }
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const GATEWAY: &str = "gateway-1";

fn open(folder: &Path, keys: &Keys) -> Log {
    Log::open(folder, keys, GATEWAY, Durability::BeforeRelease, YEAR).unwrap()
}

fn id(n: u64) -> String {
    ulid::Ulid::from_parts(1_763_769_599_500, u128::from(n)).to_string()
}

fn person(keys: &Keys, name: &str) -> Fingerprint {
    keys.fingerprints().recipient(name)
}

/// Records an intent and waits until it is as durable as configured.
fn intend(log: &Log, intent: Intent<'_>) -> impl Future<Output = Result<Entry, LogError>> + Send + use<> {
    let queued = log.intent(intent);
    async move {
        let (entry, queued) = queued.await?;
        queued.durable().await?;
        Ok(entry)
    }
}

fn window(keys: &Keys, people: &[&str], fields: u64) -> Window<'static> {
    Window {
        position: crate::ledger::Position(9),
        stale: false,
        records: people.len() as u64,
        withheld_records: 1,
        withheld_subjects: Vec::new(),
        subjects: people.iter().map(|name| person(keys, name)).collect(),
        categories: vec![
            disclosed_category("email", Form::Clear, fields),
            disclosed_category("phone", Form::Removed, 1),
        ],
    }
}

async fn exchange(log: &Log, keys: &Keys, n: u64) {
    let entry = intend(log, sample(&id(n))).await.unwrap();
    log.window(&entry, &window(keys, &["alice", "bob"], 2)).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();
}

/// Writes a log of five exchanges and closes it.
async fn written(folder: &Path, keys: &Keys) {
    let log = open(folder, keys);
    for n in 0..5 {
        exchange(&log, keys, n).await;
    }
}

fn shown(folder: &Path, filter: &ExchangeFilter, running: bool) -> Vec<Value> {
    let mut shown = Vec::new();
    fold(folder, filter, running, |value| {
        shown.push(value);
        Ok(())
    })
    .unwrap();
    shown
}

fn check(folder: &Path, keys: &Keys, since: Option<&Checkpoint>) -> VerificationReport {
    verify(folder, Some(&keys.log_tags()), since).unwrap()
}

fn only_file(folder: &Path) -> PathBuf {
    let segments = segment::list_segments(folder).unwrap();
    assert_eq!(segments.len(), 1);
    segments[0].path.clone()
}

#[tokio::test]
async fn accounting_lists_what_left_in_the_windows_about_the_person() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice", "bob", "alice"], 2)).await.unwrap();
    let carols = Window {
        categories: vec![disclosed_category("name", Form::Masked, 1)],
        ..window(&keys, &["carol"], 1)
    };
    log.window(&entry, &carols).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();
    let withheld = intend(&log, sample(&id(2))).await.unwrap();
    let nothing = Window {
        categories: vec![disclosed_category("email", Form::Removed, 1)],
        ..window(&keys, &["bob"], 1)
    };
    log.window(&withheld, &nothing).await.unwrap();
    log.close(withheld, Outcome::Released).await.unwrap();
    let refused = intend(&log, sample(&id(3))).await.unwrap();
    log.window(&refused, &window(&keys, &["bob"], 1)).await.unwrap();
    log.close(refused, Outcome::Refused("recipient-suspended")).await.unwrap();
    let cut = intend(&log, Intent { case: Some("C-7".into()), ..sample(&id(4)) }).await.unwrap();
    log.window(&cut, &window(&keys, &["bob"], 1)).await.unwrap();
    log.close(cut, Outcome::Aborted).await.unwrap();
    let open = intend(&log, sample(&id(5))).await.unwrap();
    let of_alice =
        Window { withheld_subjects: vec![person(&keys, "bob")], ..window(&keys, &["alice", "bob"], 1) };
    log.window(&open, &of_alice).await.unwrap();
    log.flush().await;

    let of = |name: &str| accounting(log.source(), &[person(&keys, name)]).unwrap();
    let (alice, bob, carol) = (of("alice"), of("bob"), of("carol"));
    let decisions =
        |list: &[AccountedExchange]| list.iter().map(|one| one.decision.clone()).collect::<Vec<_>>();
    assert_eq!(decisions(&alice), [id(1), id(5)]);
    assert_eq!(decisions(&bob), [id(1), id(4)], "aborted, it may have left; refused, it did not");
    assert_eq!((alice[0].people, alice[1].people, carol[0].people), (2, 1, 1));
    let spellings = [person(&keys, "alice"), person(&keys, "bob")];
    let both = accounting(log.source(), &spellings).unwrap();
    assert_eq!(decisions(&both), [id(1), id(4), id(5)], "under any spelling, and each exchange once");
    let folded = decision(folder.path(), &id(5), true).unwrap().unwrap();
    assert_eq!(folded["subjects"].as_array().unwrap().len(), 2);
    let bobs = log.pseudonyms().epoch("2026-11-21").of(person(&keys, "bob"));
    assert_eq!(folded["withheld_subjects"], serde_json::json!([bobs.to_string()]));
    let categories = |one: &AccountedExchange| {
        one.categories.iter().map(|left| (left.category.clone(), left.form.clone())).collect::<Vec<_>>()
    };
    assert_eq!(categories(&alice[0]), [("email".to_owned(), "clear".to_owned())]);
    assert_eq!(categories(&carol[0]), [("name".to_owned(), "masked".to_owned())]);
    assert_eq!(bob[1].case.as_deref(), Some("C-7"));
    assert_eq!(of("dora"), []);
}

#[tokio::test]
async fn the_records_of_an_exchange_are_folded_into_one() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice", "bob"], 2)).await.unwrap();
    log.window(&entry, &window(&keys, &["bob", "carol"], 3)).await.unwrap();
    let in_flight = decision(folder.path(), &id(1), true).unwrap().unwrap();
    assert_eq!(in_flight["outcome"], Value::Null);
    log.close_detached(entry, Outcome::Released);
    log.refused(&sample(&id(2)), "no-rule-permits");
    log.flush().await;

    let shown = shown(folder.path(), &ExchangeFilter::default(), true);
    assert_eq!(shown.len(), 2);
    let whole = &shown[0];
    assert_eq!(*whole, decision(folder.path(), &id(1), true).unwrap().unwrap());
    assert_eq!(whole["decision"], id(1));
    assert_eq!((&whole["outcome"], &whole["gateway"]), (&"released".into(), &GATEWAY.into()));
    assert_eq!(
        (&whole["records"], &whole["withheld_records"], &whole["position"]),
        (&4.into(), &2.into(), &9.into())
    );
    assert_eq!(whole["subjects"].as_array().unwrap().len(), 3);
    let email = &whole["categories"]["email"];
    assert_eq!(
        (email.as_array().unwrap().len(), &email[0]["fields"], &email[0]["basis"]),
        (1, &5.into(), &"consent".into())
    );
    assert_eq!(whole["categories"]["phone"][0]["form"], "removed");
    assert_eq!((&shown[1]["outcome"], &shown[1]["records"]), (&"refused:no-rule-permits".into(), &0.into()));
    assert_eq!(decision(folder.path(), &id(3), true).unwrap(), None);
    assert_eq!(decision(folder.path(), "../../etc/passwd", true).unwrap(), None);
}

#[tokio::test]
async fn exchanges_are_filtered_by_recipient_purpose_person_and_time() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    exchange(&log, &keys, 1).await;
    let other = Intent {
        recipient: "globex".into(),
        time: "2026-11-22T00:00:01Z".parse().unwrap(),
        ..sample(&id(2))
    };
    let entry = intend(&log, other).await.unwrap();
    log.window(&entry, &window(&keys, &["alice"], 1)).await.unwrap();
    log.close(entry, Outcome::Released).await.unwrap();

    let count = |filter| shown(folder.path(), &filter, true).len();
    assert_eq!(count(ExchangeFilter::default()), 2);
    assert_eq!(
        count(ExchangeFilter { recipient: Some("globex".to_owned()), ..ExchangeFilter::default() }),
        1
    );
    assert_eq!(count(ExchangeFilter { purpose: Some("hosting".to_owned()), ..ExchangeFilter::default() }), 0);
    assert_eq!(
        count(ExchangeFilter {
            since: Some("2026-11-22T00:00:00Z".parse().unwrap()),
            ..ExchangeFilter::default()
        }),
        1
    );
    let about = |name| ExchangeFilter {
        subject: Some((vec![person(&keys, name)], keys.subject_pseudonyms())),
        ..ExchangeFilter::default()
    };
    assert_eq!(count(about("alice")), 2, "under another pseudonym each day");
    assert_eq!(count(about("bob")), 1);
    assert_eq!(count(about("carol")), 0);
}

#[tokio::test]
async fn acknowledged_records_survive_a_crash() {
    let (folder, left, keys) = (folder(), folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let entry = intend(&log, sample(&id(1))).await.unwrap();
    log.window(&entry, &window(&keys, &["alice"], 1)).await.unwrap();
    // A copy of the file at this moment, followed by an incomplete record.
    let file = only_file(folder.path());
    let copy = left.path().join(file.file_name().unwrap());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.extend_from_slice(br#"{"n":3,"kind":"clo"#);
    std::fs::write(&copy, bytes).unwrap();
    assert_eq!(check(left.path(), &keys, None).findings.len(), 1);

    let revived = open(left.path(), &keys);
    assert_eq!(
        shown(left.path(), &ExchangeFilter::default(), true)[0]["outcome"],
        "aborted",
        "its process is gone"
    );
    assert_eq!(decision(left.path(), &id(1), true).unwrap().unwrap()["outcome"], "aborted");
    exchange(&revived, &keys, 2).await;
    drop(revived);
    let report = check(left.path(), &keys, None);
    assert_eq!((report.findings.as_slice(), report.segments), (&[] as &[String], 2));
    let opening = segment::read_header(&segment::list_segments(left.path()).unwrap()[1]).unwrap();
    assert_eq!((opening.unclean, opening.torn_bytes), (true, Some(18)));
}

#[tokio::test]
async fn a_log_goes_on_under_another_name_and_every_record_names_its_writer() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let renamed = Log::open(folder.path(), &keys, "gateway-2", Durability::BeforeRelease, YEAR).unwrap();
    exchange(&renamed, &keys, 7).await;
    renamed.refused(&sample(&id(8)), "no-rule-permits");
    drop(renamed);
    let mut names = Vec::new();
    export(folder.path(), None, |line| {
        let line: Value = serde_json::from_slice(line)?;
        names.push(line["gateway"].as_str().unwrap().to_owned());
        Ok(())
    })
    .unwrap();
    names.dedup();
    assert_eq!(names, [GATEWAY, "gateway-2"]);
    let of = |n| decision(folder.path(), &id(n), false).unwrap().unwrap()["gateway"].clone();
    assert_eq!((of(1), of(7), of(8)), (GATEWAY.into(), "gateway-2".into(), "gateway-2".into()));
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
}

#[tokio::test]
async fn a_segment_without_a_complete_record_is_removed_at_the_next_start() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let next = check(folder.path(), &keys, None).checkpoint.unwrap().records;
    std::fs::write(folder.path().join(segment::file_name(next)), b"{\"n\":").unwrap();
    drop(open(folder.path(), &keys));
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 5);
}

#[tokio::test]
async fn a_log_has_one_writer_and_one_set_of_keys() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = open(folder.path(), &keys);
    let again = |keys: &Keys| Log::open(folder.path(), keys, GATEWAY, Durability::Batched, YEAR).map(|_| ());
    assert!(matches!(again(&keys), Err(OpenLogError::InUse(_))));
    drop(log);
    assert!(matches!(again(&Keys::random().unwrap()), Err(OpenLogError::OtherKeys(_))));
    again(&keys).unwrap();
}

#[tokio::test]
async fn a_broken_log_is_not_continued() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    written(folder.path(), &keys).await;
    let file = only_file(folder.path());
    let text = std::fs::read_to_string(&file).unwrap().replacen("acme", "acmE", 1);
    std::fs::write(&file, text).unwrap();
    let error = Log::open(folder.path(), &keys, GATEWAY, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::Inconsistent { record: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_folder_where_nothing_can_be_written_is_an_error() {
    let keys = Keys::random().unwrap();
    let error = Log::open(Path::new("/proc/audit"), &keys, GATEWAY, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::Io { .. }), "{error}");
}

#[tokio::test]
async fn batched_records_are_accepted_at_once_and_written_soon() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let log = Log::open(folder.path(), &keys, GATEWAY, Durability::Batched, YEAR).unwrap();
    for n in 0..50 {
        exchange(&log, &keys, n).await;
    }
    drop(log);
    assert_eq!(shown(folder.path(), &ExchangeFilter::default(), false).len(), 50);
    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
}

/// Version 0.1.0 wrote no reasons, no pseudonym key, no gateway and no head.
#[tokio::test]
async fn a_log_of_version_0_1_0_is_read_verified_and_continued() {
    let (folder, keys) = (folder(), Keys::random().unwrap());
    let opening = format!(
        r#""kind":"segment","time":"2026-11-21T23:59:00Z","log":"ab","format":1,"previous":"{}","why":"start""#,
        chain::Chain::BEGIN.to_hex()
    );
    let withheld = |rules: &str, clauses: &str| {
        format!(
            r#"{{"category":"email","form":"removed","rules":[{rules}],"clauses":[{clauses}],"fields":1}}"#
        )
    };
    let window = format!(
        r#""kind":"window","decision":"{}","time":"2026-11-21T23:59:59.6Z","salt":"00","position":9,"records":2,"withheld_records":2,"categories":[{},{}],"subjects":["a","b"]"#,
        id(1),
        withheld(r#""erased""#, r#""G-6.8c","G-3f""#),
        withheld("", "")
    );
    let pseudonyms = keys.subject_pseudonyms().epoch("2026-11-21");
    let bodies = [
        opening.into_bytes(),
        record::intent(&sample(&id(1)), None, &pseudonyms),
        window.into_bytes(),
        record::close(&id(1), "2026-11-21T23:59:59.7Z".parse().unwrap(), Outcome::Released),
        br#""kind":"stop","time":"2026-11-21T23:59:59.8Z""#.to_vec(),
    ];
    let (mut lines, mut link) = (Vec::new(), chain::Chain::BEGIN);
    let sealer = chain::Sealer::without_gateway(keys.log_tags());
    for (number, body) in (0..).zip(&bodies) {
        link = sealer.seal(&mut lines, link, number, body);
    }
    std::fs::write(folder.path().join(segment::file_name(0)), lines).unwrap();

    assert_eq!(check(folder.path(), &keys, None).findings, [] as [String; 0]);
    let shown = decision(folder.path(), &id(1), false).unwrap().unwrap();
    let entry = |rules: &[&str], clauses: &[&str]| serde_json::json!({ "form": "removed", "basis": null, "rules": rules, "clauses": clauses, "fields": 1 });
    let entries = serde_json::json!([entry(&["erased"], &["G-6.8c", "G-3f"]), entry(&[], &[])]);
    assert_eq!((&shown["categories"]["email"], &shown["gateway"]), (&entries, &Value::Null));
    let log = open(folder.path(), &keys);
    exchange(&log, &keys, 2).await;
    drop(log);
    let report = check(folder.path(), &keys, None);
    assert_eq!((report.findings.as_slice(), report.segments), (&[] as &[String], 2));
}

#[tokio::test]
async fn another_pseudonym_key_is_refused() {
    let (folder, outer) = (folder(), tempfile::tempdir().unwrap());
    let file = outer.path().join("keys");
    let keys = Keys::open_or_create(&file, &[]).unwrap();
    written(folder.path(), &keys).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().find(|line| line.starts_with("pseudonym")).unwrap();
    std::fs::write(&file, text.replace(line, &format!("pseudonym = {}", "ab".repeat(32)))).unwrap();
    let exchanged = Keys::open(&file).unwrap();
    let error = Log::open(folder.path(), &exchanged, GATEWAY, Durability::Batched, YEAR).unwrap_err();
    assert!(matches!(error, OpenLogError::OtherPseudonyms(_)), "{error}");
    std::fs::write(&file, text).unwrap();
    drop(open(folder.path(), &Keys::open(&file).unwrap()));
}
