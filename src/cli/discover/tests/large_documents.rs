//! Large documents: the number of steps grows in proportion to the document, and 10 MB take seconds.
//!
//! `cargo test --release --lib large_documents -- --ignored --nocapture` prints the time for each form with documents of 10 MB.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::discover::openapi::{OpenApiDocument, ReadReferenced};
use crate::discover::{KnownRecords, Samples, effort};

/// Length of the shorter documents, in bytes.
const BYTES: usize = 120_000;
/// Length of the documents whose time is printed.
const LONG_BYTES: usize = 10_000_000;
/// Levels of the deepest sample: the reader takes no more.
const LEVELS: usize = 120;

/// Operations of a document whose schemas have alternatives.
const ROOTS: usize = 10;

/// A pseudo-random number below a bound.
fn scattered(number: usize, below: usize) -> usize {
    (number.wrapping_mul(2_654_435_761) >> 7) % below
}

/// Joins parts until the text has a length.
fn parts(bytes: usize, part: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(bytes + 1000);
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        text.push_str(if number == 0 { "" } else { "," });
        text.push_str(&part(number));
    }
    text
}

fn records(bytes: usize) -> String {
    let record = |n: usize| {
        format!(
            r#"{{"id":{n},"name":"Ada Example {n}","email":"ada{n}@example.org","phone":"+49 170 {n}","status":"active",
            "created_at":"2024-05-02T10:00:00Z","address":{{"street":"{n} Main St","city":"Bonn","postal_code":"53113"}},
            "orders":[{{"id":"ord_{n}a{n}","total":12.5,"currency":"EUR","url":"https://api.example.org/orders/ord_{n}a{n}"}}]}}"#
        )
    };
    format!(r#"{{"items":[{}],"total":1}}"#, parts(bytes, record))
}

fn different_keys(bytes: usize) -> String {
    let word = |n: usize| ["alpha", "beta", "gamma"][n % 3];
    format!(
        "{{{}}}",
        parts(bytes, |n| format!(r#""setting {n} of {}":"value {n} {}""#, word(n), "y".repeat(60)))
    )
}

fn deep_objects(bytes: usize) -> String {
    let nested = |n: usize| {
        format!(
            r#""v{n}":{}{{"email":"a@b.example"}}{}"#,
            r#"{"a":"#.repeat(LEVELS - 4),
            "}".repeat(LEVELS - 4)
        )
    };
    format!("{{{}}}", parts(bytes, nested))
}

fn deep_maps(bytes: usize) -> String {
    let nested = |n: usize| {
        format!(
            r#""{n}":{}{{"email":"a@b.example"}}{}"#,
            r#"{"7":"#.repeat(LEVELS - 4),
            "}".repeat(LEVELS - 4)
        )
    };
    format!("{{{}}}", parts(bytes, nested))
}

fn lists_of_people(bytes: usize) -> String {
    let group = |n: usize| {
        format!(
            r#""group {n}q":{{"label":"x","members":[{{"id":{n},"first_name":"Ada","last_name":"Example","email":"a{n}@example.org"}}]}}"#
        )
    };
    format!(r#"{{"size":1,"depth":2,"groups":{{{}}}}}"#, parts(bytes, group))
}

fn map_of_different_objects(bytes: usize) -> String {
    let entry = |n: usize| {
        format!(
            r#""{n}":{{"id":{n},"w{n}q":"x{n}","email":"a{n}@example.org","sub":{{"1":{{"a":1}},"2":{{"c{n}z":2}}}}}}"#
        )
    };
    format!("{{{}}}", parts(bytes, entry))
}

/// A kind of document: its name, and what makes one of about so many bytes.
type DocumentKind = (&'static str, fn(usize) -> String);

const SAMPLES: [DocumentKind; 6] = [
    ("a list of records", records),
    ("an object with different keys", different_keys),
    ("deep objects", deep_objects),
    ("deep maps", deep_maps),
    ("many lists of people", lists_of_people),
    ("a map of different objects", map_of_different_objects),
];

fn specification(schemas: serde_json::Map<String, Value>, roots: usize) -> String {
    let operation = |n: usize| {
        let schema = json!({ "$ref": format!("#/components/schemas/S{n}") });
        let content = json!({ "application/json": { "schema": schema } });
        (format!("/s/{n}"), json!({ "get": { "responses": { "200": { "content": content } } } }))
    };
    let paths: serde_json::Map<String, Value> = (0..roots).map(operation).collect();
    json!({ "openapi": "3.0.3", "paths": paths, "components": { "schemas": schemas } }).to_string()
}

/// Schemas of 550 bytes that refer to each other in circles.
fn cyclic(bytes: usize, operations_percent: usize) -> String {
    let schemas = bytes / 550;
    let schema = |n: usize| {
        let link =
            |k: usize| json!({ "$ref": format!("#/components/schemas/S{}", scattered(n * 4 + k, schemas)) });
        let properties = json!({
            "id": { "type": "string" }, "email": { "type": "string", "format": "email" }, "name": { "type": "string" },
            "created_at": { "type": "string", "format": "date-time" }, "status": { "type": "string", "enum": ["a", "b"] },
            "first": link(0), "second": link(1), "third": link(2), "list": { "type": "array", "items": link(3) },
        });
        (format!("S{n}"), json!({ "type": "object", "properties": properties }))
    };
    specification((0..schemas).map(schema).collect(), (schemas * operations_percent / 100).max(1))
}

fn cyclic_schemas(bytes: usize) -> String {
    cyclic(bytes, 2)
}

fn an_operation_for_each_second_schema(bytes: usize) -> String {
    cyclic(bytes, 50)
}

/// Alternatives of alternatives: the number of ways through them multiplies.
fn alternatives(bytes: usize) -> String {
    let schemas = bytes / 420;
    let schema = |n: usize| {
        let other =
            |k: usize| json!({ "$ref": format!("#/components/schemas/S{}", scattered(n * 8 + k, schemas)) });
        let own = json!({ "type": "object", "properties": { format!("p{n}"): { "type": "string" }, "email": { "type": "string" } } });
        let all: Vec<Value> = (0..8).map(other).chain([own]).collect();
        (format!("S{n}"), json!({ "oneOf": all }))
    };
    specification((0..schemas).map(schema).collect(), ROOTS)
}

fn many_alternatives(bytes: usize) -> String {
    let schemas = bytes / 160;
    let one = |n: usize| {
        let properties = json!({ format!("p{n}"): { "type": "string" }, "email": { "type": "string" } });
        (format!("A{n}"), json!({ "type": "object", "properties": properties }))
    };
    let all: Vec<Value> =
        (0..schemas).map(|n| json!({ "$ref": format!("#/components/schemas/A{n}") })).collect();
    let all = (0..ROOTS).map(|n| {
        (
            format!("S{n}"),
            if n == 0 { json!({ "oneOf": all }) } else { json!({ "$ref": "#/components/schemas/S0" }) },
        )
    });
    specification((0..schemas).map(one).chain(all).collect(), ROOTS)
}

/// Operations whose answers have one of a few schemas.
fn many_paths(bytes: usize) -> String {
    let page = |n: usize| {
        let members = (0..20).map(|k| (format!("member{k}"), json!({ "type": "string" })));
        let mut properties: serde_json::Map<String, Value> = members.collect();
        properties.insert("email".to_owned(), json!({ "type": "string" }));
        properties.insert(
            "next".to_owned(),
            json!({ "$ref": format!("#/components/schemas/S{}", (n + 1) % ROOTS) }),
        );
        (format!("S{n}"), json!({ "type": "object", "properties": properties }))
    };
    let schemas: serde_json::Map<String, Value> = (0..ROOTS).map(page).collect();
    let operation = |n: usize| {
        let reference = format!("#/components/schemas/S{}", n % ROOTS);
        format!(
            r#""/resource{n}/{{id}}":{{"get":{{"summary":"{}","responses":{{"200":{{"content":{{"application/json":{{"schema":{{"$ref":"{reference}"}}}}}}}}}}}}}}"#,
            "x".repeat(200)
        )
    };
    let components = json!({ "schemas": schemas });
    format!(r#"{{"openapi":"3.1.0","components":{components},"paths":{{{}}}}}"#, parts(bytes, operation))
}

/// Flat schemas, and an operation for each of them.
fn many_schemas(bytes: usize) -> String {
    let schemas = bytes / 1000;
    let schema = |n: usize| {
        let members = (0..20).map(|k| (format!("member {k} of {n}"), json!({ "type": "string" })));
        (format!("S{n}"), json!({ "properties": members.collect::<serde_json::Map<_, _>>() }))
    };
    specification((0..schemas).map(schema).collect(), schemas)
}

/// Each schema is the next one with a member more.
fn a_chain_of_compositions(bytes: usize) -> String {
    let schemas = bytes / 200;
    let schema = |n: usize| {
        let own =
            json!({ "properties": { format!("p{n}"): { "type": "string" }, "email": { "type": "string" } } });
        let next = json!({ "$ref": format!("#/components/schemas/S{}", n + 1) });
        let keyword = ["allOf", "oneOf", "anyOf"][n % 3];
        (format!("S{n}"), json!({ keyword: [next, own] }))
    };
    specification((0..schemas).map(schema).collect(), (schemas / 20).max(ROOTS))
}

/// Compositions within each other, down to the greatest depth of a document.
fn nested_compositions(bytes: usize) -> String {
    // Fewer than the hops that are followed.
    let levels = 28;
    let nested = |n: usize| {
        format!(
            r#""S{n}":{}{{"properties":{{"email":{{"type":"string"}}}},"description":"{}"}}{}"#,
            r#"{"allOf":["#.repeat(levels),
            "y".repeat(2000),
            "]}".repeat(levels)
        )
    };
    let paths = (0..ROOTS).map(|n| {
        format!(
            r##""/s/{n}":{{"get":{{"responses":{{"200":{{"content":{{"application/json":{{"schema":{{"$ref":"#/components/schemas/S{n}"}}}}}}}}}}}}}}"##
        )
    });
    let paths = paths.collect::<Vec<_>>().join(",");
    format!(
        r#"{{"openapi":"3.0.3","paths":{{{paths}}},"components":{{"schemas":{{{}}}}}}}"#,
        parts(bytes, nested)
    )
}

fn many_examples(bytes: usize) -> String {
    let schemas = bytes / 1100;
    let schema = |n: usize| {
        let examples: Vec<Value> =
            (0..20).map(|k| json!({ "id": n, "email": format!("a{k}@example.org") })).collect();
        let texts: Vec<String> = (0..20).map(|k| format!("ada{k}@example.org")).collect();
        let properties =
            json!({ "id": { "type": "integer" }, "contact": { "type": "string", "examples": texts } });
        (format!("S{n}"), json!({ "type": "object", "examples": examples, "properties": properties }))
    };
    specification((0..schemas).map(schema).collect(), (schemas / 2).max(1))
}

/// The operations of [`many_paths`], each with a schema of its own, in YAML.
fn many_paths_in_yaml(bytes: usize) -> String {
    let mut text = "openapi: 3.1.0\npaths:\n".to_owned();
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        text += &format!(
            "  /resource{n}/{{id}}:\n    get:\n      summary: The resource ü {n}\n      responses:\n        '200':\n          \
             content:\n            application/json:\n              schema:\n                type: object\n                \
             properties:\n                  id: {{type: integer}}\n                  email:\n                    \
             type: string\n                    example: ada@example.org\n                  member{n}: {{type: string}}\n"
        );
    }
    text
}

const SPECIFICATIONS: [DocumentKind; 10] = [
    ("cyclic schemas", cyclic_schemas),
    ("an operation for each second schema", an_operation_for_each_second_schema),
    ("alternatives of alternatives", alternatives),
    ("many alternatives", many_alternatives),
    ("many paths", many_paths),
    ("many schemas", many_schemas),
    ("a chain of compositions", a_chain_of_compositions),
    ("nested compositions", nested_compositions),
    ("many examples", many_examples),
    ("many paths in YAML", many_paths_in_yaml),
];

struct NoFiles;

impl ReadReferenced for NoFiles {
    fn read(&mut self, path: &str) -> Result<String, String> {
        Err(format!("{path} is not there"))
    }
}

fn propose_sample(sample: &str) -> usize {
    // As for a configured route, so that the unclassified part is sought, too.
    let mut samples = Samples::of_route(&KnownRecords::default());
    samples.add(sample.as_bytes()).unwrap();
    samples.add_unclassified(sample.as_bytes()).unwrap();
    samples.propose().routes.iter().map(|route| route.fields.len()).sum()
}

fn propose_specification(text: String) -> usize {
    let document = OpenApiDocument::read(text, &mut NoFiles).unwrap();
    document.propose().routes.iter().map(|route| route.fields.len()).sum()
}

/// Checks that a document of twice the length takes about twice as many steps.
fn assert_linear(name: &str, steps: impl Fn(usize) -> (usize, usize)) {
    let [(short, less), (long, more)] = [BYTES, 2 * BYTES].map(steps);
    let growth = more as f64 / less as f64;
    let longer = long as f64 / short as f64;
    assert!(less > 100 && growth < longer * 1.3, "{name}: {less} steps for {short} bytes, {more} for {long}");
}

#[test]
fn the_steps_for_a_sample_grow_in_proportion_to_its_length() {
    for (name, make) in SAMPLES {
        assert_linear(name, |bytes| {
            let sample = make(bytes);
            (sample.len(), effort::of(|| assert!(propose_sample(&sample) > 0, "{name}")))
        });
    }
}

#[test]
fn the_steps_for_an_openapi_document_grow_in_proportion_to_its_length() {
    for (name, make) in SPECIFICATIONS {
        assert_linear(name, |bytes| {
            let text = make(bytes);
            (text.len(), effort::of(|| assert!(propose_specification(text) > 0, "{name}")))
        });
    }
}

/// Time that this thread was on a processor (Linux). Other programs on the machine do not lengthen it.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = statistics.split_whitespace().next().and_then(|first| first.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

#[test]
#[ignore = "it prints times; the tests above compare the steps"]
fn large_documents_take_seconds() {
    let print = |name: &str, text: String, propose: fn(String) -> usize| {
        let (length, began, worked) = (text.len(), Instant::now(), processor_time());
        let fields = propose(text);
        let (elapsed, worked) = (began.elapsed(), processor_time().saturating_sub(worked));
        #[allow(clippy::print_stderr, reason = "the time is the result of a long run")]
        {
            let [elapsed, worked] = [elapsed, worked].map(|time| time.as_secs_f64());
            eprintln!(
                "{name}: {length} bytes, {fields} fields, {elapsed:.1} s, {worked:.1} s on a processor"
            );
        }
    };
    for (name, make) in SAMPLES {
        print(name, make(LONG_BYTES), |text| propose_sample(&text));
    }
    for (name, make) in SPECIFICATIONS {
        print(name, make(LONG_BYTES), propose_specification);
    }
}
