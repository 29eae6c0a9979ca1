//! Runs the compliance suite of RFC 9535 (`cts.json` of jsonpath-standard/jsonpath-compliance-test-suite) if
//! `JSONPATH_COMPLIANCE_SUITE` is its path. Removal by a valid query must leave the document without the listed nodes;
//! an invalid query must be refused.

use std::collections::BTreeSet;

use purposegate::scrub::{Framing, Limits, Remover};
use serde_json::Value;

/// A step of a normalized path (RFC 9535, 2.7).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Name(String),
    Index(usize),
}

fn steps(path: &str) -> Vec<Step> {
    let mut rest = path.strip_prefix('$').unwrap();
    let mut steps = Vec::new();
    while let Some(inside) = rest.strip_prefix('[') {
        let Some(quoted) = inside.strip_prefix('\'') else {
            let (index, after) = inside.split_once(']').unwrap();
            steps.push(Step::Index(index.parse().unwrap()));
            rest = after;
            continue;
        };
        let mut escaped = false;
        let ends = |(_, char): &(usize, char)| {
            let ends = *char == '\'' && !escaped;
            escaped = *char == '\\' && !escaped;
            ends
        };
        let (end, _) = quoted.char_indices().find(ends).unwrap();
        // Converts the single-quoted name to a JSON string.
        let json = quoted[..end].replace('"', "\\\"").replace("\\'", "'");
        steps.push(Step::Name(serde_json::from_str(&format!("\"{json}\"")).unwrap()));
        rest = quoted[end..].strip_prefix("']").unwrap();
    }
    steps
}

/// Returns a value without the removed nodes; `None` if it is one of them.
fn without(value: &Value, path_here: &mut Vec<Step>, removed: &BTreeSet<Vec<Step>>) -> Option<Value> {
    if removed.contains(path_here) {
        return None;
    }
    let mut stays = |step: Step, child: &Value| {
        path_here.push(step);
        let stays = without(child, path_here, removed);
        path_here.pop();
        stays
    };
    Some(match value {
        Value::Array(elements) => {
            let kept = elements.iter().enumerate();
            kept.filter_map(|(at, element)| stays(Step::Index(at), element)).collect()
        }
        Value::Object(members) => {
            let kept = members.iter();
            let kept = kept
                .filter_map(|(name, value)| Some((name.clone(), stays(Step::Name(name.clone()), value)?)));
            Value::Object(kept.collect())
        }
        scalar => scalar.clone(),
    })
}

/// Removes the nodes of a query from a document that is fed in chunks.
fn scrubbed(query: &str, document: &[u8], chunk: usize) -> Value {
    let mut remover = Remover::new(&[query.to_owned()], Limits::default(), Framing::Document).unwrap();
    let mut rest = Vec::new();
    for chunk in document.chunks(chunk) {
        remover.feed(chunk, &mut rest).unwrap();
    }
    remover.finish(&mut rest).unwrap();
    serde_json::from_slice(&rest).unwrap()
}

#[test]
fn removal_agrees_with_the_compliance_suite() {
    let Some(file) = std::env::var_os("JSONPATH_COMPLIANCE_SUITE") else {
        eprintln!("skipped: JSONPATH_COMPLIANCE_SUITE does not say where cts.json is");
        return;
    };
    let suite: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let cases = suite["tests"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let query = case["selector"].as_str().unwrap();
        if case["invalid_selector"] == true {
            let remover = Remover::new(&[query.to_owned()], Limits::default(), Framing::Document);
            assert!(remover.is_err(), "{case}");
            continue;
        }
        // Where the result depends on the order of members, the suite lists several.
        let listed = case.get("results_paths").and_then(Value::as_array);
        let listed = listed.map_or_else(|| vec![case["result_paths"].clone()], Vec::clone);
        let expected: Vec<Value> = listed
            .iter()
            .map(|paths| {
                let paths = paths.as_array().unwrap().iter();
                let removed = paths.map(|path| steps(path.as_str().unwrap())).collect();
                without(&case["document"], &mut Vec::new(), &removed).unwrap_or_default()
            })
            .collect();
        let document = case["document"].to_string();
        for chunk in [1, usize::MAX] {
            let rest = scrubbed(query, document.as_bytes(), chunk);
            assert!(expected.contains(&rest), "{case}\n{rest}");
        }
    }
}
