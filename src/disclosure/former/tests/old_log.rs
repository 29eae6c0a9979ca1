//! Writes logs as earlier versions of the program did.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::chain::{Chain, SealedLine, Sealer};
use super::super::checkpoint::Checkpoint;
use super::super::segment::SegmentLine;
use super::super::{head, segment};
use crate::keys::Keys;

/// An old log in a folder.
pub(crate) struct OldLog {
    folder: PathBuf,
    sealer: Sealer,
    pseudonym_key: String,
    chain: Chain,
    number: u64,
    segment: PathBuf,
}

/// The id of every old log of the tests.
const LOG: &str = "00112233445566778899aabbccddeeff";

impl OldLog {
    /// Begins a log with the first segment of a process, or continues one with the segment of another process.
    pub(crate) fn begin(folder: &Path, keys: &Keys, time: Timestamp) -> OldLog {
        let mut log = OldLog {
            folder: folder.to_owned(),
            sealer: Sealer::new(keys.log_tags(), "gateway-1"),
            pseudonym_key: keys.pseudonym_check().iter().map(|byte| format!("{byte:02x}")).collect(),
            chain: Chain::BEGIN,
            number: 0,
            segment: PathBuf::new(),
        };
        std::fs::create_dir_all(folder).unwrap();
        for present in segment::list_segments(folder).unwrap() {
            log.read(&present);
        }
        log.segment("start", time);
        log
    }

    /// Continues the last segment of a log, with keys that may be others.
    pub(crate) fn resume(folder: &Path, keys: &Keys) -> OldLog {
        let mut log = OldLog {
            folder: folder.to_owned(),
            sealer: Sealer::new(keys.log_tags(), "gateway-1"),
            pseudonym_key: String::new(),
            chain: Chain::BEGIN,
            number: 0,
            segment: PathBuf::new(),
        };
        for present in segment::list_segments(folder).unwrap() {
            log.read(&present);
            log.segment = present.path;
        }
        log
    }

    /// Reads how far a segment goes.
    fn read(&mut self, present: &segment::Segment) {
        let mut lines = segment::read_lines(&present.path).unwrap();
        while let Some(SegmentLine::Complete(line)) = lines.next().unwrap() {
            let line = SealedLine::parse(line).unwrap();
            (self.chain, self.number) = (line.chain, line.number + 1);
        }
    }

    /// Begins a segment: `start` for a process, or `rotation`.
    pub(crate) fn segment(&mut self, why: &str, time: Timestamp) {
        self.segment = self.folder.join(segment::file_name(self.number));
        self.push(
            "segment",
            time,
            json!({
                "log": LOG, "format": segment::FORMAT, "previous": self.chain.to_hex(), "why": why,
                "pseudonym_key": self.pseudonym_key,
            }),
        );
    }

    /// Appends a record.
    pub(crate) fn push(&mut self, kind: &str, time: Timestamp, members: Value) {
        let Value::Object(members) = members else { panic!("no object: {members}") };
        let mut body = format!(r#""kind":"{kind}","time":"{time}""#);
        for (name, value) in members {
            body.push_str(&format!(",{}:{value}", Value::from(name)));
        }
        let mut line = Vec::new();
        self.chain = self.sealer.seal(&mut line, self.chain, self.number, body.as_bytes());
        self.number += 1;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.segment).unwrap();
        file.write_all(&line).unwrap();
    }

    /// Appends an intent.
    pub(crate) fn intent(&mut self, decision: &str, time: Timestamp) {
        self.push("intent", time, circumstances(decision).into());
    }

    /// Appends a refusal.
    pub(crate) fn refusal(&mut self, decision: &str, time: Timestamp) {
        let mut members = circumstances(decision);
        members.insert("outcome".to_owned(), "refused:no-rule-permits".into());
        self.push("refusal", time, members.into());
    }

    /// Appends a window about people, given by their pseudonyms. Nothing left about those in `withheld`.
    pub(crate) fn window(
        &mut self,
        decision: &str,
        time: Timestamp,
        subjects: &[String],
        withheld: &[String],
    ) {
        let category = json!({
            "category": "email", "form": "clear", "basis": "consent", "rules": ["r-1"], "clauses": ["G-6.4b"],
            "fields": 2,
        });
        let everybody: Vec<&String> = subjects.iter().chain(withheld).collect();
        let members = json!({
            "decision": decision, "position": 9, "records": everybody.len(), "withheld_records": withheld.len(),
            "categories": [category], "subjects": everybody, "withheld_subjects": withheld,
        });
        self.push("window", time, members);
    }

    /// Appends the end of an exchange.
    pub(crate) fn close(&mut self, decision: &str, time: Timestamp, outcome: &str) {
        self.push("close", time, json!({ "decision": decision, "outcome": outcome }));
    }

    /// Ends the process, and returns the checkpoint that the log's head states.
    pub(crate) fn stop(&mut self, time: Timestamp) -> Checkpoint {
        self.push("stop", time, json!({}));
        let reached = Checkpoint { log: LOG.to_owned(), records: self.number, chain: self.chain.to_hex() };
        std::fs::write(head::path(&self.folder).unwrap(), serde_json::to_vec(&reached).unwrap()).unwrap();
        reached
    }
}

fn circumstances(decision: &str) -> Map<String, Value> {
    let members = json!({
        "decision": decision, "recipient": "acme", "purpose": "direct-marketing",
        "declared": "dpv:DirectMarketing", "route": "customers", "operation": "disclose",
        "policy": "one-partner-360@1", "position": 7, "factors": { "registration": "permits" },
    });
    members.as_object().cloned().unwrap()
}
