//! Compares access evaluations with exchanges over random people: the evaluation of a category must equal the release
//! of the same field of the same person's record in the disclosure log.
//!
//! `PURPOSEGATE_DIFFERENTIAL=100000` runs so many comparisons instead of a few thousand.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::{Ready, ready};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tower::{Layer, Service};

use crate::access_log::AccessLog;
use crate::assembly::snapshot;
use crate::config;
use crate::disclosure::{self, Durability, ExchangeFilter, Log, LogSettings};
use crate::exchange::SharedState;
use crate::exchange::pages::opt_out_state::OptOut;
use crate::exchange::upstream_fault::UpstreamFault;
use crate::gateway::authzen::{self, EvaluationDetail};
use crate::keys::Keys;
use crate::layer::PurposeLayer;
use crate::layer::request_body::RequestBody;
use crate::ledger::{Batch, Ledger, VocabularyTerms};
use crate::metrics::Metrics;
use crate::scrub::Pseudonyms;

/// Default number of comparisons.
const COMPARISONS: usize = 5000;
/// Categories of one record that are asked for.
const ASKED_AT_ONCE: usize = 10;
const PEOPLE: u64 = 400;

const KINDS: [&str; 7] = [
    "employee",
    "affiliate",
    "marketing-partner",
    "reselling-partner",
    "payment-processor",
    "public-authority",
    "business-partner",
];
const COUNTRIES: [&str; 4] = ["DE", "US", "JP", "CH"];
/// Drawn half of the time, so that much is permitted.
const USUAL_PURPOSES: [&str; 6] = [
    "customer-support",
    "account-management",
    "direct-marketing",
    "service-provision",
    "reseller-follow-up",
    CASE_PURPOSE,
];
const USUAL_CATEGORIES: [&str; 6] = ["name", "email", "phone", "postal-address", "job-title", "service-data"];
const CASE_PURPOSE: &str = "law-enforcement";

/// Numbers that look random and are the same each time (xorshift64).
struct Xorshift(u64);

impl Xorshift {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    fn of<'t>(&mut self, all: &'t [String]) -> &'t str {
        &all[self.below(all.len() as u64) as usize]
    }

    fn either<'t>(&mut self, usual: &[&'t str], all: &'t [String]) -> &'t str {
        if self.one_in(2) { self.word(usual) } else { self.of(all) }
    }

    fn word<'t>(&mut self, all: &[&'t str]) -> &'t str {
        all[self.below(all.len() as u64) as usize]
    }
}

/// The words that questions and events are made of.
struct TestTerms {
    purposes: Vec<String>,
    categories: Vec<String>,
    relations: Vec<String>,
    recipients: Vec<String>,
}

/// A key that is presented, and its hash as it is registered.
fn key(recipient: &str) -> (String, String) {
    let key = format!("pgk_test_{recipient}");
    let hash: String = Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    (key, hash)
}

fn configuration(words: &TestTerms) -> String {
    let pack = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
    let mut text = format!(
        "policy = {:?}\n[listener]\naddress = \"127.0.0.1:0\"\n[[upstream]]\nname = \"api\"\nurl = \"http://127.0.0.1:9\"\n",
        pack.display().to_string()
    );
    for (number, recipient) in words.recipients.iter().enumerate() {
        let kind = KINDS[number % KINDS.len()];
        let country = COUNTRIES[(number / 2) % COUNTRIES.len()];
        let mut registered: Vec<&String> = words
            .purposes
            .iter()
            .enumerate()
            .filter(|(at, _)| (at + number) % 3 != 0)
            .map(|(_, name)| name)
            .collect();
        registered.retain(|name| *name != CASE_PURPOSE || kind == "public-authority");
        let agreement = if number % 5 == 4 { "" } else { "agreement = {}\n" };
        let safeguard = if number % 3 == 0 { "" } else { "safeguard = \"standard-contractual-clauses\"\n" };
        let hash = key(recipient).1;
        let _ = writeln!(
            text,
            "[[recipient]]\nname = \"{recipient}\"\nkind = \"{kind}\"\ncountry = \"{country}\"\npurposes = {registered:?}\n{agreement}{safeguard}credentials = [{{ api-key = \"sha256:{hash}\" }}]"
        );
    }
    let mut fields = String::new();
    for category in &words.categories {
        let _ = writeln!(fields, "\"@['{category}']\" = \"{category}\"");
    }
    let _ = write!(
        text,
        "[[schema]]\nname = \"person\"\nsubject = [\"{{person}}\", \"@.id\"]\ncontroller = \"{{account}}\"\n[schema.fields]\n{fields}"
    );
    for (name, more) in [("plain", ""), ("open", "unknown-subject = \"no-facts\"\n"), ("backup", "")] {
        let upstream = if name == "backup" { "backup" } else { "api" };
        let _ = write!(
            text,
            "[[route]]\nname = \"{name}\"\nupstream = \"{upstream}\"\npath = \"/{name}/{{person}}/{{account}}\"\nmethods = [\"GET\", \"PUT\"]\nschema = \"person\"\n{more}"
        );
    }
    text.push_str("[[upstream]]\nname = \"backup\"\nurl = \"http://127.0.0.1:9\"\nbackup = true\n");
    text
}

/// One line of somebody's history.
fn event(dice: &mut Xorshift, words: &TestTerms, person: u64) -> Value {
    let purpose = dice.of(&words.purposes).to_owned();
    let recipient = dice.of(&words.recipients).to_owned();
    let category = dice.of(&words.categories).to_owned();
    let relation = dice.of(&words.relations).to_owned();
    let mut event = match dice.below(16) {
        0..=2 => json!({ "kind": "consent-given", "purpose": purpose }),
        3 => json!({ "kind": "consent-given", "purpose": purpose, "recipient": recipient }),
        4 => json!({ "kind": "consent-refused", "purpose": purpose }),
        5 => json!({ "kind": "consent-withdrawn", "purpose": purpose }),
        6 | 7 => json!({ "kind": "objection", "purpose": purpose }),
        8 => json!({ "kind": "objection-upheld", "purpose": purpose }),
        9 => json!({ "kind": "opt-out", "recipient": recipient }),
        10 => json!({ "kind": dice.word(&["restriction", "restriction-lifted", "erasure"]) }),
        11 => json!({ "kind": "category-refused", "category": category }),
        12 => json!({ "kind": "relation", "relation": relation }),
        13 => json!({ "kind": "fact", "facts": { "minor": dice.one_in(2) } }),
        14 => {
            json!({ "kind": "fact", "facts": { "origin": dice.word(&["self", "event", "referral", "reselling-partner"]) } })
        }
        _ => json!({ "kind": "fact", "facts": { "country": dice.word(&COUNTRIES) } }),
    };
    if event["kind"] == "consent-given" && dice.one_in(3) {
        event["valid-until"] = json!("2999-01-01T00:00:00Z");
    }
    event["subject"] = json!(format!("p-{person}"));
    event["at"] = json!(format!("2026-01-{:02}T{:02}:00:00Z", 1 + dice.below(28), dice.below(24)));
    event
}

/// Everybody's history. Some people have no events, and some have only refusals.
fn histories(dice: &mut Xorshift, words: &TestTerms) -> String {
    let mut lines = String::new();
    for person in 0..PEOPLE {
        for _ in 0..dice.below(7) {
            let _ = writeln!(lines, "{}", event(dice, words, person));
        }
    }
    for account in 0..4 {
        let purpose = dice.of(&words.purposes);
        let _ = writeln!(
            lines,
            "{}",
            json!({ "controller": format!("a-{account}"), "kind": "instruction", "purpose": purpose, "at": "2026-01-01T00:00:00Z" })
        );
    }
    let _ = writeln!(
        lines,
        "{}",
        json!({ "controller": "a-3", "kind": "account-closed", "at": "2026-01-02T00:00:00Z" })
    );
    lines
}

/// An upstream that has every category of the person that its path names.
#[derive(Clone)]
struct Api(Arc<Vec<String>>);

impl Service<Request<RequestBody<Full<Bytes>>>> for Api {
    type Response = Response<Full<Bytes>>;
    type Error = UpstreamFault;
    type Future = Ready<Result<Self::Response, UpstreamFault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), UpstreamFault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody<Full<Bytes>>>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let mut named = path.rsplit('/');
        let (account, person) = (named.next().unwrap(), named.next().unwrap());
        let mut record = json!({ "id": person, "account": account });
        for category in &*self.0 {
            record[category] = json!("Ada Adler, 1980-02-03");
        }
        let answer = Response::builder().header("content-type", "application/json");
        ready(Ok(answer.body(Full::new(Bytes::from(record.to_string()))).unwrap()))
    }
}

/// One exchange: its question, and the access evaluations of its categories.
struct EvaluatedExchange {
    question: String,
    operation: &'static str,
    evaluations: Vec<(String, Value)>,
    refusal: Option<String>,
}

async fn shared(folder: &Path, words: &TestTerms, dice: &mut Xorshift) -> Arc<SharedState> {
    let file = folder.join("purposegate.toml");
    std::fs::write(&file, configuration(words)).unwrap();
    let (loaded, findings) = config::load(&file);
    let config = loaded.unwrap_or_else(|| panic!("{findings:#?}"));
    let keys = Keys::random().unwrap();
    let vocabulary = Arc::clone(&config.vocabulary);
    let names = Arc::new(VocabularyTerms::new(vocabulary, Arc::default()));
    let ledger = Ledger::open(&folder.join("ledger.db"), &keys, names).unwrap();
    let (mut taken, mut lines) = (0, histories(dice, words));
    for (id, recipient) in
        words.recipients.iter().enumerate().filter(|(at, _)| KINDS[at % KINDS.len()] == "public-authority")
    {
        let subjects: Vec<String> = (0..PEOPLE).step_by(3).map(|person| format!("p-{person}")).collect();
        let _ = writeln!(
            lines,
            "{}",
            json!({
                "case": format!("C-{id}"), "kind": "case-registered", "recipient": recipient, "purpose": CASE_PURPOSE,
                "subjects": subjects, "categories": ["contact"], "end": "2999-01-01T00:00:00Z", "reference": "r",
            })
        );
        for approver in ["ada", "ben"] {
            let _ = writeln!(
                lines,
                "{}",
                json!({ "case": format!("C-{id}"), "kind": "case-approved", "approver": approver })
            );
        }
    }
    let all = lines.lines().count();
    let batch = Batch { from: 1, name: None, keep_unknown_recipients: true, ..Batch::default() };
    ledger
        .import(lines.as_bytes(), batch, Timestamp::now(), |line| taken += usize::from(line.outcome.is_ok()))
        .await;
    // Some lines are rejected, because their words do not fit their kind of event.
    assert!(taken * 10 > all * 7, "{taken} of {all} lines were taken");
    let settings = LogSettings {
        folder: folder.join("audit"),
        gateway: "gateway-1".to_owned(),
        durability: Durability::Batched,
        retention: Duration::from_secs(1 << 30),
        origin: None,
        ledger: None,
        known_checkpoints: Vec::new(),
    };
    let log = Log::open(settings, &keys).unwrap();
    let pseudonyms = Pseudonyms::new(keys.pseudonym());
    let opt_out = OptOut::new(keys.opt_out_links());
    let metrics = Metrics::new().unwrap();
    Arc::new(SharedState::new(
        snapshot(config),
        ledger,
        Arc::new(log),
        metrics,
        pseudonyms,
        AccessLog::default(),
        opt_out,
    ))
}

fn words() -> TestTerms {
    let standard = crate::vocabulary::Vocabulary::standard();
    let purposes = standard.purposes();
    let categories = standard.categories();
    let relations = standard.relations();
    TestTerms {
        purposes: purposes.ids().map(|id| purposes.name(id).to_owned()).collect(),
        categories: categories.ids().map(|id| categories.name(id).to_owned()).collect(),
        relations: relations.ids().map(|id| relations.name(id).to_owned()).collect(),
        recipients: (0..14).map(|number| format!("r-{number}")).collect(),
    }
}

#[tokio::test]
#[allow(clippy::too_many_lines, reason = "one experiment: its steps share most of their state")]
#[allow(clippy::print_stderr, reason = "the number of comparisons is the result of a long run")]
async fn an_access_evaluation_says_of_random_people_what_the_gate_does() {
    let comparisons = std::env::var("PURPOSEGATE_DIFFERENTIAL").ok().and_then(|number| number.parse().ok());
    let comparisons: usize = comparisons.unwrap_or(COMPARISONS);
    let folder = tempfile::tempdir().unwrap();
    let (words, mut dice) = (words(), Xorshift(0x9e37_79b9_7f4a_7c15));
    let shared = shared(folder.path(), &words, &mut dice).await;
    let mut gate = PurposeLayer::new(Arc::clone(&shared)).layer(Api(Arc::new(words.categories.clone())));
    let usual =
        USUAL_CATEGORIES.map(|name| words.categories.iter().find(|known| *known == name).unwrap().as_str());
    let mut asked: HashMap<String, EvaluatedExchange> = HashMap::new();
    for _ in 0..comparisons.div_ceil(ASKED_AT_ONCE) {
        let recipient = dice.of(&words.recipients).to_owned();
        let purpose = dice.either(&USUAL_PURPOSES, &words.purposes).to_owned();
        let route = dice.word(&["plain", "open", "backup"]);
        let (method, operation) =
            if dice.one_in(3) { (Method::PUT, "alter") } else { (Method::GET, "disclose") };
        // A few people have no events.
        let person = format!("p-{}", dice.below(PEOPLE + 40));
        let account = format!("a-{}", dice.below(5));
        let case = format!("C-{}", dice.of(&words.recipients).trim_start_matches("r-"));
        let request = Request::builder()
            .method(method)
            .uri(format!("/{route}/{person}/{account}"))
            .header("host", "api.example.org")
            .header("authorization", format!("Bearer {}", key(&recipient).0))
            .header("data-purpose", format!("{purpose};case=\"{case}\""))
            .body(Full::new(Bytes::new()))
            .unwrap();
        let answer = gate.call(request).await.unwrap();
        let applied =
            answer.headers().get("data-purpose-applied").map(|value| value.to_str().unwrap().to_owned());
        let problem = answer.status() != 200;
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let (decision, refusal) = match applied.as_deref().and_then(|applied| applied.split('"').nth(1)) {
            Some(decision) if !problem => (decision.to_owned(), None),
            _ => {
                let problem: Value = serde_json::from_slice(&body).unwrap();
                (
                    problem["decision"].as_str().unwrap().to_owned(),
                    problem["code"].as_str().map(str::to_owned),
                )
            }
        };
        let question = format!("{operation} {recipient} {purpose} {route} {person} {account} {case}");
        // An operation is carried out if it is permitted for any category of the route, which maps all.
        let categories: Vec<String> = match operation {
            "disclose" => {
                (0..ASKED_AT_ONCE).map(|_| dice.either(&usual, &words.categories).to_owned()).collect()
            }
            _ => words.categories.clone(),
        };
        let evaluations = json!({
            "subject": { "type": "recipient", "id": recipient },
            "action": { "name": purpose, "properties": { "operation": operation } },
            "context": { "route": route, "case": case },
            "evaluations": categories.iter().map(|category| json!({
                "resource": {
                    "type": "data-category", "id": category,
                    "properties": { "subject": person, "controller": account },
                },
            })).collect::<Vec<_>>(),
        });
        let (body, detail) = (evaluations.to_string(), EvaluationDetail::Reasons);
        let answers =
            authzen::evaluations(&shared, body.as_bytes(), detail, Timestamp::now()).unwrap().answer;
        let answers = answers["evaluations"].as_array().unwrap().clone();
        let evaluations = categories.into_iter().zip(answers).collect();
        asked.insert(decision, EvaluatedExchange { question, operation, evaluations, refusal });
    }
    shared.log.flush().await.unwrap();
    let (mut compared, mut permitted, mut differences) = (0, 0, Vec::new());
    let (mut carried_out, mut refused) = (0, 0);
    let compare = |record: Value| {
        let Some(EvaluatedExchange { question, operation, evaluations, refusal }) =
            asked.remove(record["decision"].as_str().unwrap())
        else {
            return Ok(());
        };
        if operation != "disclose" {
            compared += 1;
            let mut decisions = evaluations.iter().map(|(_, evaluation)| evaluation["decision"] == true);
            let is_permitted = decisions.any(|decision| decision);
            if is_permitted == refusal.is_some() {
                differences.push(format!("{question}: {refusal:?}, evaluations {evaluations:?}"));
            }
            (carried_out, refused) = match is_permitted {
                true => (carried_out + 1, refused),
                false => (carried_out, refused + usize::from(refusal.as_deref() == Some("subject-withheld"))),
            };
            return Ok(());
        }
        for (category, evaluation) in evaluations {
            compared += 1;
            let context = &evaluation["context"];
            let gate = match &refusal {
                Some(code) => (json!("removed"), Value::Null, json!(code)),
                None => {
                    let entries = record["categories"][&category].as_array().unwrap();
                    assert_eq!(entries.len(), 1, "{record}");
                    let entry = |member: &str| entries[0].get(member).cloned().unwrap_or(Value::Null);
                    (entry("form"), entry("basis"), entry("reason"))
                }
            };
            let member = |member: &str| context.get(member).cloned().unwrap_or(Value::Null);
            permitted += usize::from(evaluation["decision"] == true);
            let is_consistent = (evaluation["decision"] == true) == (member("form") != "removed");
            if gate != (member("form"), member("basis"), member("reason")) || !is_consistent {
                differences.push(format!("{question} {category}: {gate:?}, evaluation {evaluation}"));
            }
        }
        Ok(())
    };
    disclosure::fold(shared.log.folder(), &ExchangeFilter::default(), true, compare).unwrap();
    assert!(asked.is_empty(), "each exchange is on the log");
    assert!(compared * 10 >= comparisons * 6, "{compared}");
    assert!(carried_out > 2 && refused > 2, "{carried_out} carried out, {refused} refused for the person");
    assert!(permitted * 20 > compared, "{permitted} of {compared} were permitted: this compares little");
    assert!(
        differences.is_empty(),
        "{} of {compared}: {:#?}",
        differences.len(),
        &differences[..differences.len().min(10)]
    );
    eprintln!("{compared} comparisons, {permitted} permitted, no difference");
}
