//! Time of a decision: a memoised one, one for a new combination of facts, the counting of its circumstances, and the loading of
//! a policy pack.

#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use prometheus::IntCounter;
use purposegate::circumstances::{CircumstanceCounter, CountedExchange, WindowCircumstances};
use purposegate::config::pack::{read_pack, sources};
use purposegate::decision::circumstance::RecordPeople;
use purposegate::decision::{
    Addressee, AdmissionRequest, Admitted, Classes, Consent, ConsentStatus, Controller, Decisions, Extracted,
    LegalReference, Objection, PersonFacts, RecipientFacts, RecordFacts, Relationship, Subject,
    UnknownSubject,
};
use purposegate::policy::Pack;
use purposegate::vocabulary::{CategoryId, Operation, Safeguard};

/// The twenty data categories of a customer record.
const CATEGORIES: [&str; 20] = [
    "name",
    "email",
    "phone",
    "postal-address",
    "date-of-birth",
    "company",
    "job-title",
    "country",
    "language",
    "billing",
    "payment-card-summary",
    "product-usage",
    "website-activity",
    "ip-address",
    "support-content",
    "subject-identifier",
    "photo",
    "service-data",
    "aggregate",
    "non-personal",
];

fn pack() -> Pack {
    read_pack(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360")).unwrap()
}

fn asking(pack: &Pack, kind: &str, purpose: &str) -> AdmissionRequest {
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
    AdmissionRequest {
        recipient: Arc::new(recipient),
        purpose,
        operation: Operation::Disclose,
        exporter_region: "EEA".into(),
        upstream_backup: false,
        legal_reference: LegalReference::None,
    }
}

fn classes(pack: &Pack) -> Classes {
    let category = |name: &str| pack.vocabulary().categories().find(name).unwrap();
    let sets: Vec<Vec<CategoryId>> = CATEGORIES.iter().map(|name| vec![category(name)]).collect();
    Classes::new(sets, false)
}

fn subject(pack: &Pack) -> Subject {
    let purpose = |name: &str| pack.vocabulary().purposes().find(name).unwrap();
    let consent = |name: &str, order| Consent {
        purpose: purpose(name),
        to: Addressee::Anyone,
        status: ConsentStatus::Given,
        until: None,
        order: Some(order),
        overridden: false,
    };
    Subject {
        consents: vec![consent("marketing", 1), consent("website-statistics", 2)],
        objections: vec![Objection { purpose: purpose("survey"), upheld: false, order: Some(3) }],
        region: Extracted::Known("EEA".into()),
        ..Subject::default()
    }
}

fn judge(admitted: &Admitted, subject: &Subject) {
    let (controller, record) = (Controller::default(), RecordFacts::default());
    black_box(admitted.judge(subject, &controller, &record, Relationship::default(), Timestamp::UNIX_EPOCH));
}

fn decisions(c: &mut Criterion) {
    let pack = Arc::new(pack());
    let (classes, subject) = (classes(&pack), subject(&pack));
    let remembered = Decisions::new(Arc::clone(&pack));
    for (kind, purpose) in [("marketing-partner", "direct-marketing"), ("employee", "customer-support")] {
        let asking = asking(&pack, kind, purpose);
        let admitted = remembered.admit(&asking, &classes).unwrap();
        c.bench_function(&format!("known/{kind}"), |b| b.iter(|| judge(&admitted, black_box(&subject))));
        c.bench_function(&format!("new combination of 20 categories/{kind}"), |b| {
            // Each iteration starts with an empty memo, so that the same facts are new.
            let fresh = || Decisions::new(Arc::clone(&pack)).admit(&asking, &classes).unwrap();
            b.iter_batched(fresh, |admitted| judge(&admitted, black_box(&subject)), BatchSize::SmallInput);
        });
        c.bench_function(&format!("admit/{kind}"), |b| {
            b.iter(|| black_box(remembered.admit(&asking, &classes)));
        });
    }
}

/// Counting circumstances: what it adds to each record while a window is judged, and to each window when it is recorded.
fn counting(c: &mut Criterion) {
    let pack = Arc::new(pack());
    let asking = asking(&pack, "employee", "customer-support");
    let admitted = Arc::new(Decisions::new(Arc::clone(&pack)).admit(&asking, &classes(&pack)).unwrap());
    let facts = |known: Option<&Subject>| {
        let (controller, record) = (Controller::default(), RecordFacts::default());
        let relationship = Relationship::default();
        let now = Timestamp::UNIX_EPOCH;
        admitted
            .judge_person_with_facts(known, UnknownSubject::Withhold, &controller, &record, relationship, now)
            .1
    };
    let people = [facts(Some(&subject(&pack))), facts(Some(&Subject::default())), facts(None)];
    let fields = [1_u32; CATEGORIES.len()];
    let count = |window: &mut WindowCircumstances, facts: &PersonFacts| {
        let number = window.number(RecordPeople::from_iter([facts.clone()]));
        window.begin(number);
        window.end(black_box(&fields));
    };
    let mut group = c.benchmark_group("counting circumstances");
    let mut window = WindowCircumstances::default();
    group.bench_function("a record", |b| b.iter(|| count(&mut window, black_box(&people[1]))));
    let folder = tempfile::tempdir().unwrap();
    let failures = IntCounter::new("failures", "Failures.").unwrap();
    let counter = CircumstanceCounter::start(folder.path().join("counts"), failures);
    let (route, region): (Arc<str>, Arc<str>) = ("customers".into(), "EEA".into());
    let exchange = CountedExchange {
        admitted: Some(&admitted),
        route: &route,
        operation: Operation::Disclose,
        exporter_region: &region,
    };
    let mut window = WindowCircumstances::default();
    people.iter().for_each(|facts| count(&mut window, facts));
    group.bench_function("a window with people in three states", |b| {
        b.iter(|| counter.count(exchange, black_box(&window)));
    });
    group.finish();
}

fn loading(c: &mut Criterion) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/one-partner-360");
    let sources = sources(&folder).unwrap();
    let mut group = c.benchmark_group("loading");
    group.sample_size(10);
    group.bench_function("one-partner-360", |b| b.iter(|| black_box(Pack::load(&sources).unwrap())));
}

criterion_group!(benches, decisions, counting, loading);
criterion_main!(benches);
