//! Time of scrubbing: a list of people under real decisions, the bare engine, and common alternatives (a DOM, with and
//! without JSONPath; `serde_json` that parses and discards is the lower bound).
//!
//! One thread, chunks of 32 KiB, full validation. Compare figures of one run only. At the end all candidates run in
//! turns, and the ratios are printed.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark may fail by panicking"
)]

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use jiff::Timestamp;
use jsonpath_rust::query::queryable::Queryable;
use purposegate::config::pack::read_pack;
use purposegate::decision::{
    AdmissionRequest, Admitted, Classes, Controller, Decisions, Extracted, LegalReference, Permit,
    RecipientFacts, Relationship, Subject,
};
use purposegate::policy::Pack;
use purposegate::scrub::{
    FieldMapping, Framing, JudgedRecord, Limits, Mapping, Plan, Pseudonyms, RecordMapping, RecordPolicy,
    Remover, Scrubber, SubjectSource, SurveyVisitor, UnclassifiedValue, survey_unclassified,
};
use purposegate::vocabulary::{IdReader, Operation, Safeguard};
use sonic_rs::JsonValueMutTrait as _;

const CHUNK: usize = 32 << 10;

/// Returns a list of people as the API of a shop has it: about 600 bytes for each, two bytes in seven of them structure.
fn list(people: usize) -> Vec<u8> {
    let mut text = String::from("{\"items\":[");
    for id in 0..people {
        let comma = if id == 0 { "" } else { "," };
        write!(
            text,
            "{comma}{{\"id\":{id},\"name\":\"Jane Doe {id}\",\"email\":\"jane.doe{id}@example.org\",\
             \"phone\":\"+49 151 {id:07}\",\"active\":true,\"score\":{}.5,\"address\":{{\"street\":\"Main Street {id}\",\
             \"city\":\"Springfield\",\"zip\":\"{id:05}\",\"country\":\"US\"}},\"dob\":\"1984-05-06\",\
             \"tags\":[\"a\",\"b\",\"vip\"],\"prefs\":{{\"lang\":\"en\",\"tz\":\"Europe/Berlin\",\"news\":false,\"n\":[1,2,3,4]}},\
             \"orders\":[{{\"id\":1,\"total\":12.50,\"sku\":\"A-1\"}},{{\"id\":2,\"total\":7.25,\"sku\":\"B-2\"}}],\
             \"card\":{{\"number\":\"4242424242424242\",\"exp\":\"12/29\"}},\"note\":\"a short note about nothing much\",\
             \"created\":\"2024-01-02T03:04:05Z\",\"ip\":\"192.0.2.{}\",\"status\":\"ok\"}}",
            id % 100,
            id % 255,
        )
        .unwrap();
    }
    text.push_str("]}");
    text.into_bytes()
}

/// Returns the people of [`list`] as NDJSON and as a table, with the members that are scalars.
fn texts_and_table(people: usize) -> (Vec<u8>, Vec<u8>) {
    let list: serde_json::Value = serde_json::from_slice(&list(people)).unwrap();
    let (mut texts, mut table) = (Vec::new(), Vec::new());
    for person in list["items"].as_array().unwrap() {
        let members = person.as_object().unwrap().iter();
        let scalars: Vec<(&String, &serde_json::Value)> =
            members.filter(|(_, value)| !value.is_object() && !value.is_array()).collect();
        let line = |cells: Vec<String>| cells.join(",") + "\n";
        if table.is_empty() {
            table.extend(line(scalars.iter().map(|(name, _)| (*name).clone()).collect()).into_bytes());
        }
        let text =
            |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        table.extend(line(scalars.iter().map(|(_, value)| text(value)).collect()).into_bytes());
        let object: serde_json::Map<_, _> =
            scalars.into_iter().map(|(name, value)| (name.clone(), text(value).into())).collect();
        texts.extend((serde_json::Value::Object(object).to_string() + "\n").into_bytes());
    }
    (texts, table)
}

fn mapping(pack: &Pack) -> Mapping {
    let category = |name: &str| vec![pack.vocabulary().categories().find(name).unwrap()];
    let fields = [
        ("@.id", "subject-identifier"),
        ("@.name", "name"),
        ("@.email", "email"),
        ("@.phone", "phone"),
        ("@.address", "postal-address"),
        ("@.dob", "date-of-birth"),
        ("@.card", "payment-card-number"),
        ("@.ip", "ip-address"),
        ("@.orders", "product-usage"),
        ("@.status", "non-personal"),
        ("@.active", "non-personal"),
        ("@.tags", "non-personal"),
        ("@.prefs", "non-personal"),
        ("@.created", "non-personal"),
    ];
    let field = |(path, name): (&str, &str)| FieldMapping {
        path: path.to_owned(),
        categories: category(name),
        embedded: false,
    };
    let subject = SubjectSource { path: "@.id".into(), ids: IdReader::default(), optional: false };
    let people = RecordMapping {
        path: "$.items[*]".into(),
        subjects: vec![subject],
        fields: fields.map(field).into(),
        ..RecordMapping::default()
    };
    Mapping { records: vec![people], ..Mapping::default() }
}

/// Decides every record as one person, whose decision is memoised, so that the time is that of scrubbing.
struct OnePerson {
    admitted: Admitted,
    person: Subject,
}

impl RecordPolicy for OnePerson {
    fn record_permit(&mut self, record: &JudgedRecord<'_>) -> Permit {
        let (controller, relationship) = (Controller::default(), Relationship::default());
        self.admitted.judge(&self.person, &controller, record.facts, relationship, Timestamp::UNIX_EPOCH)
    }

    fn document_permit(&mut self) -> Permit {
        self.admitted.no_subject()
    }

    fn account(&mut self, permit: &Permit, fields: &[u32]) {
        black_box((permit, fields));
    }

    fn account_outside(&mut self, permit: &Permit, fields: &[u32]) {
        black_box((permit, fields));
    }
}

fn admitted(pack: &Arc<Pack>, plan: &Plan, kind: &str, purpose: &str) -> Admitted {
    let words = pack.vocabulary();
    let purpose = words.purposes().find(purpose).unwrap();
    let recipient = RecipientFacts {
        name: "acme".into(),
        kind: words.kinds().find(kind).unwrap(),
        country: None,
        region: Some("EEA".into()),
        purposes: vec![purpose],
        agreement: true,
        safeguard: Safeguard::None,
        suspended: false,
    };
    let asking = AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: "EEA".into(),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    };
    let sets: Vec<_> = plan.classes().iter().map(|class| class.categories.clone()).collect();
    let classes = Classes::new(sets, plan.releases_unclassified());
    Decisions::new(Arc::clone(pack)).admit(&asking, &classes).unwrap()
}

fn scrubbing(c: &mut Criterion) {
    let body = list(16_000);
    let pack =
        Arc::new(read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360")).unwrap());
    let plan = Arc::new(Plan::compile(&mapping(&pack), pack.vocabulary()).unwrap());
    let forms = Pseudonyms::new([7; 32]).for_recipient("acme");
    let mut group = group(c, "scrub a list of people", &body);
    for (kind, purpose) in [
        ("employee", "customer-support"),
        ("email-provider", "campaign-delivery"),
        ("employee", "trend-analysis"),
    ] {
        let person = Subject { region: Extracted::Known("EEA".into()), ..Subject::default() };
        let mut judge = OnePerson { admitted: admitted(&pack, &plan, kind, purpose), person };
        let mut out = Vec::with_capacity(1 << 20);
        group.bench_function(format!("{kind}, {purpose}"), |b| {
            b.iter(|| {
                let (plan, forms) = (Arc::clone(&plan), forms.clone());
                let mut scrubber = Scrubber::new(plan, forms, &[], Limits::default(), Framing::Document);
                for chunk in body.chunks(CHUNK) {
                    scrubber.feed(chunk, &mut judge, &mut out).unwrap();
                    black_box(&out);
                    out.clear();
                }
                scrubber.finish(&mut judge, &mut out).unwrap();
            });
        });
    }
    group.finish();
}

/// The same people as NDJSON and as a table, one record a line in both.
fn scrubbing_rows(c: &mut Criterion) {
    let (texts, table) = texts_and_table(16_000);
    let pack =
        Arc::new(read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360")).unwrap());
    let mut people = mapping(&pack);
    for set in &mut people.records {
        set.path = "$".into();
        set.fields.retain(|field| {
            !["@.address", "@.card", "@.orders", "@.tags", "@.prefs"].contains(&&*field.path)
        });
    }
    let plan = Arc::new(Plan::compile(&people, pack.vocabulary()).unwrap());
    let forms = Pseudonyms::new([7; 32]).for_recipient("acme");
    for (name, framing, body) in [("NDJSON", Framing::Lines, &texts), ("a table", Framing::Rows, &table)] {
        let mut group = group(c, &format!("scrub {name}"), body);
        for (kind, purpose) in [("employee", "customer-support"), ("employee", "trend-analysis")] {
            let person = Subject { region: Extracted::Known("EEA".into()), ..Subject::default() };
            let mut judge = OnePerson { admitted: admitted(&pack, &plan, kind, purpose), person };
            let mut out = Vec::with_capacity(1 << 20);
            group.bench_function(format!("{kind}, {purpose}"), |b| {
                b.iter(|| {
                    let (plan, forms) = (Arc::clone(&plan), forms.clone());
                    let mut scrubber = Scrubber::new(plan, forms, &[], Limits::default(), framing);
                    for chunk in body.chunks(CHUNK) {
                        scrubber.feed(chunk, &mut judge, &mut out).unwrap();
                        black_box(&out);
                        out.clear();
                    }
                    scrubber.finish(&mut judge, &mut out).unwrap();
                });
            });
        }
        group.finish();
    }
}

/// Counts what a survey of unclassified values visits.
#[derive(Default)]
struct VisitCount(usize);

impl SurveyVisitor for VisitCount {
    fn record(&mut self, _: Option<usize>) {}

    fn value(&mut self, _: &UnclassifiedValue<'_>) {
        self.0 += 1;
    }
}

/// The second reading of a body for its unclassified paths, which the gateway does a few times a second on each route.
fn surveying(c: &mut Criterion) {
    let body = list(200);
    let pack =
        Arc::new(read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360")).unwrap());
    let plan = Plan::compile(&mapping(&pack), pack.vocabulary()).unwrap();
    let mut group = group(c, "survey a list of 200 people", &body);
    group.bench_function("unclassified values", |b| {
        b.iter(|| {
            let mut count = VisitCount::default();
            survey_unclassified(&plan, Framing::Document, &body, &mut count);
            assert!(black_box(count.0) > 0);
        });
    });
    group.finish();
}

/// The five members of each element that all candidates remove.
const MEMBERS: [&str; 5] = ["email", "phone", "address", "card", "ip"];

fn of_each_element() -> Vec<String> {
    MEMBERS.iter().map(|name| format!("$.items[*].{name}")).collect()
}

/// Runs the bare engine as a stream: output leaves after each chunk.
fn stream(queries: &[String], body: &[u8]) {
    let mut out = Vec::with_capacity(2 * CHUNK);
    let mut remover = Remover::new(queries, Limits::default(), Framing::Document).unwrap();
    for chunk in body.chunks(CHUNK) {
        remover.feed(chunk, &mut out).unwrap();
        black_box(&out);
        out.clear();
    }
    remover.finish(&mut out).unwrap();
}

fn serde_json_by_hand(body: &[u8]) -> Vec<u8> {
    let mut value: serde_json::Value = serde_json::from_slice(body).unwrap();
    for element in value["items"].as_array_mut().unwrap() {
        let members = element.as_object_mut().unwrap();
        MEMBERS.iter().for_each(|name| drop(members.remove(*name)));
    }
    serde_json::to_vec(&value).unwrap()
}

fn sonic_rs_by_hand(body: &[u8]) -> Vec<u8> {
    let mut value: sonic_rs::Value = sonic_rs::from_slice(body).unwrap();
    for element in value["items"].as_array_mut().unwrap().iter_mut() {
        let members = element.as_object_mut().unwrap();
        MEMBERS.iter().for_each(|name| drop(members.remove(name)));
    }
    sonic_rs::to_vec(&value).unwrap()
}

fn parse_and_discard(body: &[u8]) {
    black_box(serde_json::from_slice::<serde::de::IgnoredAny>(black_box(body)).unwrap());
}

/// Runs `jq` as a process, including its start. Returns false if it is not installed.
fn jq(file: &Path) -> bool {
    let members = MEMBERS.map(|name| format!(".{name}")).join(", ");
    let mut jq = Command::new("jq");
    let stdin = std::fs::File::open(file).unwrap();
    jq.arg("-c").arg(format!("del(.items[] | {members})")).stdin(stdin).stdout(Stdio::null());
    jq.status().is_ok_and(|status| status.success())
}

fn removing(c: &mut Criterion) {
    let body = list(16_000);
    let mut group = group(c, "remove five members of each", &body);
    let children = of_each_element();
    let descendants: Vec<String> = MEMBERS.iter().map(|name| format!("$..{name}")).collect();
    let filtered: Vec<String> =
        MEMBERS.iter().map(|name| format!("$.items[?@.status=='ok'].{name}")).collect();
    for (name, queries) in
        [("children", &children), ("descendants", &descendants), ("under a filter", &filtered)]
    {
        group.bench_function(name, |b| b.iter(|| stream(queries, &body)));
    }
    group.bench_function("serde_json DOM by hand", |b| b.iter(|| serde_json_by_hand(&body)));
    group.bench_function("serde_json, parsed and discarded", |b| b.iter(|| parse_and_discard(&body)));
    group.finish();

    // jsonpath-rust is too slow for the long list: it builds a path as text for every node that it visits.
    let body = list(500);
    let mut group = self::group(c, "remove five members of each, short list", &body);
    group.bench_function("children", |b| {
        b.iter(|| {
            let mut out = Vec::with_capacity(body.len());
            let mut remover = Remover::new(&children, Limits::default(), Framing::Document).unwrap();
            remover.feed(&body, &mut out).and_then(|()| remover.finish(&mut out)).unwrap();
            out
        });
    });
    group.bench_function("serde_json DOM with jsonpath-rust", |b| {
        b.iter(|| {
            let mut value: serde_json::Value = serde_json::from_slice(&body).unwrap();
            for query in &children {
                value.delete_by_path(query).unwrap();
            }
            serde_json::to_vec(&value).unwrap()
        });
    });
    group.finish();
}

/// Runs all candidates in turns, so that changing conditions of the machine affect all of them alike.
fn ratios(_: &mut Criterion) {
    // Only `cargo bench` passes this argument; `cargo test --all-targets` runs a short form, whose figures say nothing.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let (people, rounds) = if is_bench { (16_000, 7) } else { (160, 1) };
    let (body, queries) = (list(people), of_each_element());
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &body).unwrap();
    let ours = || {
        stream(&queries, &body);
        true
    };
    let others: [(&str, &dyn Fn() -> bool); 4] = [
        ("serde_json, parsed and discarded", &|| {
            parse_and_discard(&body);
            true
        }),
        ("sonic-rs DOM by hand", &|| !sonic_rs_by_hand(&body).is_empty()),
        ("serde_json DOM by hand", &|| !serde_json_by_hand(&body).is_empty()),
        ("jq", &|| jq(file.path())),
    ];
    // Only the second of two runs counts. The first one finds the caches of the candidate before.
    let timed = |run: &dyn Fn() -> bool| {
        run();
        let began = Instant::now();
        run().then(|| began.elapsed().as_secs_f64())
    };
    let mut found = vec![Vec::new(); others.len()];
    for _ in 0..rounds {
        let Some(ours) = timed(&ours) else { return };
        for ((_, run), found) in others.iter().zip(&mut found) {
            found.extend(timed(run).map(|time| time / ours));
        }
    }
    for ((name, _), mut found) in others.into_iter().zip(found) {
        found.sort_by(f64::total_cmp);
        match found.get(found.len() / 2) {
            Some(ratio) => println!("{ratio:6.2} times the time of the bare engine: {name}"),
            None => println!("not installed: {name}"),
        }
    }
}

fn group<'c>(
    c: &'c mut Criterion,
    name: &str,
    body: &[u8],
) -> BenchmarkGroup<'c, criterion::measurement::WallTime> {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Bytes(body.len() as u64));
    group.sample_size(20).measurement_time(Duration::from_secs(5));
    group
}

criterion_group!(benches, scrubbing, scrubbing_rows, surveying, removing, ratios);
criterion_main!(benches);
