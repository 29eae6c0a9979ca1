//! Imports and exports.

use proptest::bool::weighted;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

#[tokio::test]
async fn unknown_recipients_are_refused_unless_an_import_keeps_them() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    ledger.set_recipients([Arc::from("acme-news"), Arc::from("globex")]);
    let out = |name: &str| draft(&format!(r#"{{"kind":"opt-out","recipient":"{name}"}}"#));
    let refused = ledger.append(&person("alice"), out("Acme-News"), None, now()).await.unwrap_err();
    assert!(refused.to_string().contains("did you mean `acme-news`?"), "{refused}");
    ledger.append(&person("alice"), out("acme-news"), None, now()).await.unwrap();
    let lines = r#"{"subject":"bob","kind":"opt-out","recipient":"initech"}
{"subject":"bob","kind":"opt-out","recipient":"acme-news"}
{"recipient":"initech","kind":"suspended"}"#;
    let results = import(&ledger, lines, None, now()).await;
    assert_eq!(results.iter().map(|result| result.outcome.is_ok()).collect::<Vec<_>>(), [false, true, false]);
    let mut results = Vec::new();
    let batch = Batch { keep_unknown_recipients: true, ..Batch::default() };
    ledger.import(lines.as_bytes(), batch, now(), |result| results.push(result)).await;
    assert!(results.iter().all(|result| result.outcome.is_ok()));
    assert!(ledger.is_suspended("initech"));
    // Recorded events are accepted with any recipient.
    drop(ledger);
    let ledger = over(&disk);
    let named = |configured: &[&str]| {
        let (tell, told) = std::sync::mpsc::channel();
        let configured = configured.iter().map(|name| Arc::from(*name)).collect();
        ledger.report_unregistered(configured, move |names| tell.send(names.to_vec()).unwrap());
        told.recv().unwrap()
    };
    assert_eq!(named(&["globex"]), [Arc::from("acme-news"), Arc::from("initech")]);
    assert_eq!(named(&["acme-news", "initech"]), []);
}

#[tokio::test]
async fn the_number_of_the_first_line_can_be_any() {
    let disk = Arc::new(Disk::default());
    let ledger = over(&disk);
    let batch = Batch { from: u64::MAX, ..Batch::default() };
    let mut lines = Vec::new();
    ledger.import(b"{}\n{}\n{}", batch, now(), |result| lines.push(result.line)).await;
    assert_eq!(lines, [u64::MAX; 3]);
}

#[tokio::test]
async fn an_import_reports_each_line_and_can_be_started_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let file = [
        r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","at":"2026-01-01T00:00:00Z"}"#,
        "",
        r#"{"subject":"bob","kind":"consent-given","purpose":"world-domination"}"#,
        "not json",
        r#"{"controller":"acct","namespace":"crm","kind":"account-closed","at":"2026-02-01T00:00:00Z"}"#,
        r#"{"recipient":"acme","kind":"suspended","at":"2026-02-01T00:00:00Z"}"#,
        r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing","at":"2026-02-01T00:00:00Z"}"#,
    ]
    .join("\n");
    let ledger = open(&path, &keys);
    let first = import(&ledger, &file, None, now()).await;
    let lines: Vec<_> = first.iter().map(|result| (result.line, result.outcome.is_ok())).collect();
    assert_eq!(lines, [(1, true), (3, false), (4, false), (5, true), (6, true), (7, true)]);
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(ledger.is_suspended("acme"));
    let later = now() + SignedDuration::from_hours(1);
    let again = import(&ledger, &file, None, later).await;
    assert!(again.iter().filter_map(|result| result.outcome.as_ref().ok()).all(|recorded| recorded.repeated));
    assert_eq!(ledger.position(), Position(4));

    let mut exported = Vec::new();
    let write = |line: &str| {
        exported.push(line.to_owned());
        Ok(())
    };
    ledger.archive().export(write).unwrap().unwrap();
    assert_eq!(exported.len(), 4);
    let copy = open(&folder.path().join("copy.db"), &keys);
    assert!(
        import(&copy, &exported.join("\n"), None, later).await.iter().all(|result| result.outcome.is_ok())
    );
    assert!(copy.subject(&id("alice")).1 == ledger.subject(&id("alice")).1);
}

#[tokio::test]
async fn an_import_started_again_restores_no_grant_and_repeats_withdrawals() {
    let ledger = over(&Arc::default());
    let give = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
    let withdraw = r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing"}"#;
    let again = |results: Vec<LineResult>| results[0].outcome.as_ref().unwrap().repeated;
    assert!(!again(import(&ledger, give, Some("file"), now()).await));
    assert!(!again(import(&ledger, withdraw, Some("other"), now()).await));
    assert!(again(import(&ledger, give, Some("file"), now()).await), "the same batch");
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
    assert!(!again(import(&ledger, give, Some("next month"), now()).await), "another batch");
    assert!(
        !again(import(&ledger, withdraw, Some("other"), now()).await),
        "a withdrawal is recorded each time it changes something"
    );
    assert_eq!(status(&ledger, "alice"), Some(ConsentStatus::Withdrawn));
}

#[tokio::test]
async fn a_byte_order_mark_and_crlf_are_accepted() {
    let ledger = over(&Arc::default());
    let give = r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#;
    let results =
        import(&ledger, &format!("\u{feff}{give}\r\n\r\n{give}\r\n"), Some(FILE_BATCH), now()).await;
    let lines: Vec<_> = results.iter().map(|result| (result.line, result.outcome.is_ok())).collect();
    assert_eq!(lines, [(1, true), (3, true)]);
    assert_eq!(ledger.position(), Position(1), "the same line twice");
}

#[tokio::test(flavor = "current_thread")]
async fn lines_that_do_not_parse_let_other_tasks_run() {
    let ledger = over(&Arc::default());
    let turns = Arc::new(AtomicUsize::new(0));
    let counting = tokio::spawn({
        let turns = Arc::clone(&turns);
        async move {
            loop {
                turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        }
    });
    let text = "nonsense\n".repeat(200_000);
    let mut bad = 0;
    ledger
        .import(text.as_bytes(), Batch::default(), now(), |result| {
            bad += usize::from(result.outcome.is_err());
        })
        .await;
    assert_eq!(bad, 200_000);
    assert!(turns.load(Ordering::SeqCst) > 3, "other tasks ran");
    counting.abort();
}

/// Lines about one person, without their times: events that can be repeated, contradicted or taken back.
const LINES: &[&str] = &[
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing"}"#,
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","valid-until":"2027-01-01T00:00:00Z"}"#,
    r#"{"subject":"alice","kind":"consent-given","purpose":"marketing","valid-until":"2028-01-01T00:00:00Z"}"#,
    r#"{"subject":"alice","kind":"consent-withdrawn","purpose":"marketing"}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"region":"EEA"}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"region":"US","minor":false}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"minor":true,"country":"DE"}}"#,
    r#"{"subject":"alice","kind":"correction","facts":{"origin":"referral"}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"origin":"self","region":null}}"#,
    r#"{"subject":"alice","kind":"fact","facts":{"origin":{"email":"social"}}}"#,
    r#"{"subject":"alice","kind":"objection","purpose":"analytics"}"#,
    r#"{"subject":"alice","kind":"objection-lifted","purpose":"analytics"}"#,
    r#"{"subject":"alice","kind":"opt-out","recipient":"acme"}"#,
    r#"{"subject":"alice","kind":"opt-out-lifted","recipient":"acme"}"#,
    r#"{"subject":"alice","kind":"relation","relation":"domain-registrant"}"#,
    r#"{"subject":"alice","kind":"relation-ended","relation":"domain-registrant"}"#,
    r#"{"subject":"alice","kind":"restriction"}"#,
    r#"{"subject":"alice","kind":"restriction-lifted"}"#,
    r#"{"subject":"alice","kind":"request-received","right":"access"}"#,
    r#"{"subject":"alice","kind":"notice","notice":"n"}"#,
];

/// Times of events: before and within the tolerance for clocks, now, and ahead, within the tolerance and beyond.
const TIMES: &[&str] = &[
    "2026-01-01T00:00:00Z",
    "2026-02-01T00:00:00Z",
    "2026-11-21T11:58:00Z",
    "2026-11-21T11:59:00Z",
    "2026-11-21T11:59:30Z",
    "2026-11-21T12:00:00Z",
    "2026-11-21T12:00:30Z",
    "2026-11-21T12:01:30Z",
    "2026-12-24T00:00:00Z",
];

/// Returns a line of [`LINES`], with a time of [`TIMES`] or without one.
fn line(line: usize, time: Option<usize>) -> String {
    match (LINES[line], time) {
        (line, None) => line.to_owned(),
        (line, Some(time)) => format!(r#"{},"at":"{}"}}"#, line.strip_suffix('}').unwrap(), TIMES[time]),
    }
}

/// A few lines, and the order in which they are reported, many of them repeatedly. The flag ends a file.
fn reported_lines() -> impl Strategy<Value = Vec<(String, bool)>> {
    let some_lines = vec((0..LINES.len(), option::of(0..TIMES.len())), 1..6);
    (some_lines, vec((any::<Index>(), weighted(0.2)), 1..16)).prop_map(|(lines, order)| {
        let reported = order.into_iter().map(|(which, is_last_of_its_file)| {
            let (of, time) = lines[which.index(lines.len())];
            (line(of, time), is_last_of_its_file)
        });
        reported.collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(384))]

    #[test]
    fn importing_lines_equals_posting_them_except_for_repeated_grants(lines in reported_lines()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (imported, posted) = (over(&Arc::default()), over(&Arc::default()));
            let state = |ledger: &Ledger| {
                let shown = ledger.archive().show(&id("alice"), None, now()).unwrap();
                shown.map(|mut shown| {
                    shown.remove("position");
                    shown
                })
            };
            let ends = |ledger: &Ledger| {
                let subject = ledger.subject(&id("alice")).1?;
                let given = subject.consents.iter().find(|consent| consent.status == ConsentStatus::Given)?;
                Some(given.until.unwrap_or(Timestamp::MAX))
            };
            let mut recorded = BTreeSet::new();
            let (mut file, mut expected) = (String::new(), Vec::new());
            for (at, (text, is_last_of_its_file)) in lines.iter().enumerate() {
                file.push_str(&format!("{text}\n"));
                let (entity, draft) = parse_line(text.as_bytes(), &Fixture).unwrap();
                let repeated = recorded.contains(text);
                let given_again = match (draft.kind.effect(), &draft.kind) {
                    (EventEffect::Permissive, _) => repeated,
                    (_, EventKind::ConsentGiven { until, .. }) => repeated && ends(&posted) <= *until,
                    _ => false,
                };
                // A grant that is dated too far ahead is refused.
                let is_recorded = given_again || posted.append(&entity, draft, None, now()).await.is_ok();
                if is_recorded {
                    recorded.insert(text);
                }
                expected.push(is_recorded);
                if *is_last_of_its_file || at + 1 == lines.len() {
                    let name = format!("{FILE_BATCH}:{at}");
                    let results = import(&imported, &std::mem::take(&mut file), Some(&name), now()).await;
                    let outcomes: Vec<bool> = results.iter().map(|result| result.outcome.is_ok()).collect();
                    assert_eq!(outcomes, std::mem::take(&mut expected));
                }
            }
            assert_eq!(state(&imported), state(&posted));
            assert!(imported.subject(&id("alice")).1 == posted.subject(&id("alice")).1);
            assert_eq!(ends(&imported), ends(&posted));
            let rights = |ledger: &Ledger| ledger.requests().iter().map(|open| open.right).collect::<Vec<_>>();
            assert_eq!(rights(&imported), rights(&posted));
        });
    }
}
