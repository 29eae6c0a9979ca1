//! Disclosure cases in a ledger.

use super::*;

fn approval(by: &str) -> String {
    format!(r#"{{"case":"C-7","kind":"case-approved","approver":"{by}"}}"#)
}

#[tokio::test]
async fn a_case_is_in_force_from_its_second_approval_and_survives_reopen_and_export() {
    let folder = tempfile::tempdir().unwrap();
    let (path, keys) = (folder.path().join("ledger.db"), keys());
    let in_force = |ledger: &Ledger| ledger.case("C-7").is_some_and(|case| case.is_in_force(now()));
    let ledger = open(&path, &keys);
    tell(&ledger, CASE).await.unwrap();
    tell(&ledger, &approval("ada")).await.unwrap();
    assert!(!in_force(&ledger));
    tell(&ledger, &approval("ben")).await.unwrap();
    assert!(in_force(&ledger) && !in_force(&open(&folder.path().join("other.db"), &keys)));
    drop(ledger);
    let ledger = open(&path, &keys);
    assert!(in_force(&ledger));
    let shown = ledger.archive().cases(now()).unwrap();
    assert_eq!(shown.len(), 1);
    assert_eq!(
        shown[0]["approvers"],
        serde_json::json!([{ "name": "ada", "verified": false }, { "name": "ben", "verified": false }])
    );
    assert_eq!(shown[0]["state"], "in-force");

    let mut lines = String::new();
    let write = |line: &str| {
        lines.push_str(&format!("{line}\n"));
        Ok(())
    };
    ledger.archive().export(write).unwrap().unwrap();
    let other = open(&folder.path().join("other.db"), &keys);
    let results = import(&other, &lines, None, now()).await;
    assert!(results.iter().all(|result| result.outcome.is_ok()), "{results:?}");
    assert!(in_force(&other));
    let again = import(&other, &lines, None, now()).await;
    assert!(again.iter().all(|result| result.outcome.as_ref().is_ok_and(|recorded| recorded.repeated)));
}

#[tokio::test]
async fn contradicting_events_are_refused_and_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    assert_eq!(tell(&ledger, &approval("ada")).await, Err(AppendError::Conflict(Conflict::CaseUnknown)));
    let end = r#"{"case":"C-7","kind":"case-ended"}"#;
    assert_eq!(tell(&ledger, end).await, Err(AppendError::Conflict(Conflict::CaseUnknown)));
    tell(&ledger, CASE).await.unwrap();
    assert_eq!(tell(&ledger, CASE).await, Err(AppendError::Conflict(Conflict::CaseKnown)));
    tell(&ledger, &approval("Ada")).await.unwrap();
    let again = tell(&ledger, &approval("ada ")).await;
    assert_eq!(again, Err(AppendError::Conflict(Conflict::ApprovedBefore)));
    assert_eq!(tell(&ledger, &approval("Ada.")).await, again);
    for unlike in ["\u{410}da", "Ada\u{200b}", "J\u{fc}rgen", "..", "Ada (2)"] {
        let refused = tell(&ledger, &approval(unlike)).await;
        assert!(
            matches!(refused, Err(AppendError::Event(EventError::InvalidMember { member: "approver", .. }))),
            "{unlike}"
        );
    }
    assert_eq!(ledger.position(), Position(2));
}

#[tokio::test]
async fn the_end_of_a_case_is_a_change_that_withholds_and_its_approval_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = open(&folder.path().join("ledger.db"), &keys());
    tell(&ledger, CASE).await.unwrap();
    let case = [ledger.fingerprints().case("C-7")];
    let before = ledger.epoch();
    tell(&ledger, &approval("ada")).await.unwrap();
    tell(&ledger, &approval("ben")).await.unwrap();
    assert!(!ledger.changed_since(before, &case));
    tell(&ledger, r#"{"case":"C-7","kind":"case-ended"}"#).await.unwrap();
    assert!(ledger.changed_since(before, &case));
    assert_eq!(ledger.hand_out(before, &case, |_| true, || ()), None);
    assert_eq!(ledger.case("C-7").unwrap().status(now()), CaseStatus::Ended);
}
