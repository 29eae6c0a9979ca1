//! The views of recipients of the demonstration's routes, compared with what `scrub` gives to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::schema::Components;
use super::{Config, SpecFiles, Timestamp, observed_routes, read_json_files, view};
use crate::cli::error::CliError;
use crate::cli::scrub::offline::{OfflineRequest, scrub_with};
use crate::config;

const CUSTOMERS: &str = include_str!("../../demo/routes/customers.toml");
const TICKETS: &str = include_str!("../../demo/routes/tickets.toml");

/// A configuration with two routes of customers and one of tickets, and two recipients.
struct Demonstration {
    _folder: TempDir,
    config: Config,
}

impl Demonstration {
    fn new(more: &str) -> Demonstration {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("purposegate.toml");
        let policy = concat!(env!("CARGO_MANIFEST_DIR"), "/policies/one-partner-360");
        let recipient = |name: &str, kind: &str, purposes: &str, digit: &str| {
            format!(
                "[[recipient]]\nname = \"{name}\"\nkind = \"{kind}\"\ncountry = \"DE\"\npurposes = [{purposes}]\n\
                 agreement = {{ reference = \"A-1\" }}\ncredentials = [{{ api-key = \"sha256:{}\" }}]\n",
                digit.repeat(64)
            )
        };
        let text = format!(
            "policy = {policy:?}\n[listener]\naddress = \"127.0.0.1:0\"\n\
             [[upstream]]\nname = \"company\"\nurl = \"http://127.0.0.1:9\"\n{}{}{CUSTOMERS}{TICKETS}{more}",
            recipient(
                "desk",
                "employee",
                "\"customer-support\", \"direct-marketing\", \"trend-analysis\"",
                "1"
            ),
            recipient("resale", "reselling-partner", "\"reseller-follow-up\"", "2"),
        );
        std::fs::write(&file, text).unwrap();
        let (config, findings) = config::load(&file);
        let config = config.unwrap_or_else(|| panic!("{findings:#?}"));
        Demonstration { _folder: folder, config }
    }

    fn view(&self, recipient: &str, purpose: &str, document: &Value) -> Result<Value, CliError> {
        let files = SpecFiles::new(vec![(String::new(), document.clone())]);
        view(&self.config, recipient, purpose, &files, Timestamp::now())
    }

    /// Returns what `scrub` gives of a body about a person with these facts.
    fn scrubbed(&self, request: &OfflineRequest<'_>, body: &Value) -> Value {
        let mut out = Vec::new();
        scrub_with(&self.config, request, None, body.to_string().as_bytes(), &mut out, |_| ()).unwrap();
        serde_json::from_slice(&out).unwrap()
    }
}

fn text(format: Option<&str>) -> Value {
    let mut schema = json!({ "type": "string", "minLength": 1 });
    if let Some(format) = format {
        schema["format"] = json!(format);
    }
    schema
}

/// The schemas of a ticket: a person, a comment that contains comments, and the ticket itself.
fn ticket_schemas() -> (Value, Value, Value) {
    let person = json!({ "type": "object", "properties": { "id": text(None), "name": text(None), "email": text(None) } });
    let comment = json!({ "type": "object", "required": ["public"], "properties": {
        "author": { "$ref": "#/components/schemas/Person" }, "body": text(None), "public": { "type": "boolean" },
        "answers": { "type": "array", "items": { "$ref": "#/components/schemas/Comment" } },
    } });
    let ticket = json!({
        "allOf": [
            { "type": "object", "required": ["id"], "properties": { "id": text(None), "state": text(None), "priority": text(None) } },
            { "type": "object", "properties": {
                "subject": text(None), "description": text(None),
                "requester": { "oneOf": [{ "$ref": "#/components/schemas/Person" }, { "type": "null" }] },
                "assignee": { "$ref": "#/components/schemas/Person" },
                "comments": { "type": "array", "items": { "$ref": "#/components/schemas/Comment" } },
            } },
        ],
    });
    (person, comment, ticket)
}

/// The document of the API behind the gateway.
fn document() -> Value {
    let address = json!({ "type": "object", "required": ["street", "country"], "properties": {
        "street": text(None), "postal_code": text(None), "city": text(None), "country": text(None),
    } });
    let names = [
        "id",
        "name",
        "phone",
        "company",
        "job_title",
        "language",
        "time_zone",
        "support_notes",
        "accessibility_needs",
    ];
    let mut properties: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), text(None))).collect();
    properties.extend([
        ("status".to_owned(), json!({ "type": "string", "enum": ["active", "closed"] })),
        ("created_at".to_owned(), text(Some("date-time"))),
        ("email".to_owned(), text(Some("email"))),
        ("date_of_birth".to_owned(), text(Some("date"))),
        ("address".to_owned(), json!({ "$ref": "#/components/schemas/Address" })),
        ("login".to_owned(), json!({ "type": "object", "required": ["username"], "properties": {
            "username": text(None), "password_hash": text(None), "security_question": text(None), "last_ip": text(Some("ipv4")),
        } })),
        ("card".to_owned(), json!({ "type": "object", "properties": { "brand": text(None), "last4": text(None) } })),
        ("usage".to_owned(), json!({ "type": "object", "properties": { "sessions_30d": { "type": "integer" } } })),
        ("internal_score".to_owned(), json!({ "type": "number", "minimum": 0 })),
    ]);
    let required: Vec<&String> = properties.keys().collect();
    let customer = json!({ "type": "object", "required": required, "properties": properties,
        "additionalProperties": false, "example": { "internal_score": 1 } });
    let list = json!({ "type": "object", "required": ["total", "items", "next"], "properties": {
        "total": { "type": "integer" },
        "items": { "type": "array", "minItems": 1, "items": { "$ref": "#/components/schemas/Customer" } },
        "next": { "type": "string" },
    } });
    let (person, comment, ticket) = ticket_schemas();
    let answer = |schema: &str| {
        json!({
            "200": { "description": "The answer.", "content": { "application/json": { "schema": { "$ref": format!("#/components/schemas/{schema}") } } } },
            "404": { "description": "No.", "content": { "text/plain": {} } },
        })
    };
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "$ref": "#/components/schemas/Id" } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Company", "version": "7" },
        "servers": [{ "url": "https://internal.example/v9" }],
        "paths": {
            "/customers": { "get": { "operationId": "listCustomers", "responses": answer("CustomerList"), "parameters": [
                { "name": "pace", "in": "query", "schema": { "type": "string" } },
                { "name": "email", "in": "query", "schema": { "type": "string" } },
                { "name": "X-Internal", "in": "header", "schema": { "type": "string" } },
            ] } },
            "/customers/{id}": {
                "parameters": [id],
                "get": { "operationId": "getCustomer", "responses": answer("Customer") },
                "delete": { "operationId": "deleteCustomer", "responses": { "204": { "description": "Gone." } } },
            },
            "/tickets/{number}": { "get": { "operationId": "getTicket", "responses": answer("Ticket") } },
            "/internal": { "get": { "operationId": "internal", "responses": answer("Customer") } },
        },
        "components": { "schemas": {
            "Id": { "type": "string" }, "Address": address, "Customer": customer, "CustomerList": list,
            "Person": person, "Comment": comment, "Ticket": ticket, "Secret": { "type": "string" },
        } },
    })
}

fn customer() -> Value {
    json!({
        "id": "c-1", "status": "active", "created_at": "2021-04-19T08:12:44Z", "name": "Ada Byron",
        "email": "ada@example.org", "phone": "+49 30 901820", "date_of_birth": "1980-12-10",
        "address": { "street": "Weg 1", "postal_code": "10115", "city": "Berlin", "country": "DE" },
        "company": "Engines Ltd", "job_title": "Analyst", "language": "en", "time_zone": "Europe/Berlin",
        "login": { "username": "ada", "password_hash": "x", "security_question": "y", "last_ip": "192.0.2.1" },
        "card": { "brand": "visa", "last4": "4242" }, "usage": { "sessions_30d": 4 }, "support_notes": "A call.",
        "accessibility_needs": "screen reader", "internal_score": 0.73,
    })
}

fn ticket() -> Value {
    let person =
        |id: &str, name: &str| json!({ "id": id, "name": name, "email": format!("{id}@example.org") });
    json!({
        "id": "t-1", "state": "open", "priority": "high", "subject": "An invoice", "description": "It is late.",
        "requester": person("c-1", "Ada"), "assignee": person("e-1", "Ben"),
        "comments": [{ "author": person("e-1", "Ben"), "body": "Asked.", "public": true, "answers": [] }],
    })
}

/// Facts about people, for some of whom nothing personal leaves.
const PEOPLE: [Option<&str>; 6] = [
    None,
    Some("{}"),
    Some(r#"{"consents": {"direct-marketing": "given"}, "relations": ["service-signup"], "region": "EEA"}"#),
    Some(r#"{"erased": true}"#),
    Some(r#"{"minor": true}"#),
    Some(r#"{"restricted": true, "objections": ["trend-analysis"]}"#),
];

/// Returns the schema of the answers of an operation, without a reference at its top.
fn answer_schema<'v>(view: &'v Value, path: &str) -> &'v Value {
    resolved(view, &view["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"])
}

fn resolved<'v>(view: &'v Value, schema: &'v Value) -> &'v Value {
    match schema["$ref"].as_str() {
        Some(reference) => resolved(view, view.pointer(reference.trim_start_matches('#')).unwrap()),
        None => schema,
    }
}

/// Collects the described members of a schema, `allOf` and `anyOf` included, and those that are required.
fn members<'v>(view: &'v Value, schema: &'v Value) -> (BTreeMap<&'v str, &'v Value>, BTreeSet<&'v str>) {
    let schema = resolved(view, schema);
    let own = schema["properties"].as_object().into_iter().flatten();
    let mut properties: BTreeMap<&str, &Value> = own.map(|(name, schema)| (name.as_str(), schema)).collect();
    let mut required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for part in ["allOf", "anyOf"].iter().flat_map(|keyword| schema[*keyword].as_array()).flatten() {
        let (more, also) = members(view, part);
        properties.extend(more);
        required.extend(also);
    }
    (properties, required)
}

/// Checks that a value that left is described, with its form, and notes the paths that were seen.
fn check(
    view: &Value,
    schema: &Value,
    left: &Value,
    original: &Value,
    path: &str,
    seen: &mut BTreeSet<String>,
) {
    seen.insert(path.to_owned());
    match left {
        Value::Object(object) => {
            let (properties, required) = members(view, schema);
            for name in required {
                assert!(object.contains_key(name), "{path}.{name} is required and absent");
            }
            if properties.is_empty() {
                return;
            }
            for (name, value) in object {
                let schema =
                    properties.get(name.as_str()).unwrap_or_else(|| panic!("{path}.{name} is not described"));
                check(view, schema, value, &original[name], &format!("{path}.{name}"), seen);
            }
        }
        Value::Array(elements) => {
            let items = &resolved(view, schema)["items"];
            for (at, element) in elements.iter().enumerate() {
                check(view, items, element, &original[at], &format!("{path}[*]"), seen);
            }
        }
        scalar => {
            let schema = resolved(view, schema);
            let form =
                schema["x-data-form"].as_str().unwrap_or_else(|| panic!("{path} has no form: {schema}"));
            // The generalised form of an address keeps the country.
            if form != "generalised" {
                assert_eq!(form == "clear", scalar == original, "{path} is {form}: {scalar}");
            }
        }
    }
}

/// Collects the paths of all described scalars.
fn described(view: &Value, schema: &Value, path: &str, depth: usize, into: &mut BTreeSet<String>) {
    let resolved = resolved(view, schema);
    let (properties, _) = members(view, resolved);
    if resolved.get("x-data-form").is_some() && properties.is_empty() {
        into.insert(path.to_owned());
    }
    for (name, schema) in properties.into_iter().filter(|_| depth < 6) {
        described(view, schema, &format!("{path}.{name}"), depth + 1, into);
    }
    if let Some(items) = resolved.get("items").filter(|_| depth < 6) {
        described(view, items, &format!("{path}[*]"), depth + 1, into);
    }
}

/// Checks that every reference leads somewhere, and returns how many there are.
fn check_references(view: &Value, value: &Value) -> usize {
    let own = value.get("$ref").and_then(Value::as_str).map_or(0, |reference| {
        assert!(view.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        1
    });
    let inner = match value {
        Value::Object(members) => members.values().map(|inner| check_references(view, inner)).sum(),
        Value::Array(elements) => elements.iter().map(|inner| check_references(view, inner)).sum(),
        _ => 0,
    };
    own + inner
}

#[test]
fn every_field_that_scrub_releases_is_described_with_its_form_and_no_other() {
    let demonstration = Demonstration::new("");
    let mut differ = BTreeSet::new();
    for (recipient, purpose) in [
        ("desk", "customer-support"),
        ("desk", "direct-marketing"),
        ("desk", "trend-analysis"),
        ("resale", "reseller-follow-up"),
    ] {
        let view = demonstration.view(recipient, purpose, &document()).unwrap();
        assert!(check_references(&view, &view) > 5);
        let list = json!({ "total": 1, "items": [customer()], "next": "x" });
        for (route, path, body) in [
            ("customer", "/customers/{id}", customer()),
            ("customers", "/customers", list),
            ("ticket", "/tickets/{number}", ticket()),
        ] {
            let schema = answer_schema(&view, path);
            let mut seen = BTreeSet::new();
            for person in PEOPLE {
                let request = OfflineRequest { route, recipient, purpose, subject: person };
                let left = demonstration.scrubbed(&request, &body);
                check(&view, schema, &left, &body, "$", &mut seen);
            }
            let mut all = BTreeSet::new();
            described(&view, schema, "$", 0, &mut all);
            // A person to whom the reseller is related receives what is described; comments have no answers here.
            let unseen: Vec<&String> =
                all.difference(&seen).filter(|path| !path.contains(".answers")).collect();
            assert_eq!(unseen, [""; 0], "{recipient} {purpose} {route}: {seen:#?}");
        }
        differ.insert(view["components"]["schemas"]["Customer"].to_string());
    }
    // Direct marketing and the partner's follow-up release the same fields of customers.
    assert_eq!(differ.len(), 3, "the desk's support and the partner see two documents");
}

#[test]
fn operations_parameters_and_constraints_are_those_of_the_recipient() {
    let demonstration = Demonstration::new("");
    let view = demonstration.view("desk", "customer-support", &document()).unwrap();
    let paths: Vec<&String> = view["paths"].as_object().unwrap().keys().collect();
    assert_eq!(paths, ["/customers", "/customers/{id}", "/tickets/{number}"]);
    assert!(view["paths"]["/customers/{id}"].get("delete").is_none(), "the route serves GET only");
    assert_eq!(view.get("servers"), None);
    let list = &view["paths"]["/customers"]["get"];
    let parameters: Vec<&str> =
        list["parameters"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(parameters, ["data-purpose", "pace"]);
    let statuses: Vec<&String> = list["responses"].as_object().unwrap().keys().collect();
    for status in ["200", "403", "404", "422", "503", "default"] {
        assert!(statuses.iter().any(|known| *known == status), "{status}");
    }
    let schemas = &view["components"]["schemas"];
    assert!(schemas.get("Secret").is_none() && schemas.get("Id").is_some());
    let customer = &schemas["Customer"];
    assert_eq!(customer["required"], json!(["status", "created_at"]));
    assert!(customer.get("example").is_none());
    for gone in ["internal_score", "accessibility_needs"] {
        assert!(customer["properties"].get(gone).is_none(), "{gone}");
    }
    let login: Vec<&String> =
        customer["properties"]["login"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(login, ["username"]);
    assert_eq!(customer["properties"]["email"]["format"], "email");
    assert_eq!(customer["properties"]["status"]["enum"], json!(["active", "closed"]));
    // Another form has no format.
    let view = demonstration.view("desk", "trend-analysis", &document()).unwrap();
    let email = &view["components"]["schemas"]["Customer"]["properties"]["email"];
    assert_eq!((&email["x-data-form"], email.get("format")), (&json!("pseudonymised"), None));
    assert!(email["description"].as_str().unwrap().contains("`pseudonymised`"));
    // A comment of a comment is not a record of the mapping.
    let comment = &view["components"]["schemas"]["Comment"];
    assert_eq!(comment["properties"].as_object().unwrap().get("answers"), None);
}

#[test]
fn placeholders_and_version_3_0_are_described() {
    let route = "[[route]]\nname = \"nulls\"\nupstream = \"company\"\npath = \"/nulls\"\nsubject = \"@.id\"\n\
                 removed-as = \"null\"\n[route.fields]\n\"@.id\" = \"subject-identifier\"\n\"@.visits\" = \"product-usage\"\n\
                 \"@.open\" = \"non-personal\"\n";
    let demonstration = Demonstration::new(route);
    let schema = json!({ "type": "object", "additionalProperties": false, "required": ["open", "visits"], "properties": {
        "id": { "type": "integer" }, "visits": { "type": "integer", "maximum": 9 }, "open": { "type": "boolean" }, "gone": {},
    } });
    let document = json!({
        "openapi": "3.0.3", "info": { "title": "Nulls", "version": "1" },
        "paths": { "/nulls": { "get": { "responses": { "200": { "description": "", "content": {
            "application/json": { "schema": schema }, "text/csv": { "schema": { "type": "string" } },
        } } } } } },
    });
    let view = demonstration.view("desk", "trend-analysis", &document).unwrap();
    let content = &view["paths"]["/nulls"]["get"]["responses"]["200"]["content"];
    assert!(content.get("text/csv").is_none());
    let schema = &content["application/json"]["schema"];
    assert_eq!(schema["required"], json!(["open"]));
    assert!(schema.get("additionalProperties").is_none() && schema["properties"].get("gone").is_none());
    let id = &schema["properties"]["id"];
    assert_eq!(id["anyOf"][1], json!({ "enum": [null] }));
    assert_eq!(
        (id["anyOf"][0]["x-data-form"].as_str(), id["anyOf"][0].get("type")),
        (Some("pseudonymised"), None)
    );
}

#[test]
fn a_document_in_several_files_gives_the_same_view_as_one() {
    let demonstration = Demonstration::new("");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("parts")).unwrap();
    let write = |name: &str, content: &str| std::fs::write(folder.path().join(name), content).unwrap();
    write(
        "api.yaml",
        "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths: {/customers: {$ref: 'parts/paths.yaml#/list'}}\n",
    );
    write(
        "parts/paths.yaml",
        "list:\n  get:\n    responses:\n      '200':\n        description: d\n        content:\n          application/json:\n            schema:\n              type: object\n              properties:\n                items: {type: array, items: {$ref: '../customer.yaml'}}\n",
    );
    write(
        "customer.yaml",
        "type: object\nproperties:\n  id: {type: string}\n  email: {$ref: '#/$defs/mail'}\n  manager: {$ref: 'customer.yaml'}\n$defs: {mail: {type: string, format: email}}\n",
    );
    let files = SpecFiles::new(read_json_files(&folder.path().join("api.yaml")).unwrap());
    let several = view(&demonstration.config, "desk", "customer-support", &files, Timestamp::now()).unwrap();
    let one = json!({
        "openapi": "3.1.0", "info": { "title": "t", "version": "1" },
        "paths": { "/customers": { "get": { "responses": { "200": { "description": "d", "content": { "application/json": { "schema":
            { "type": "object", "properties": { "items": { "type": "array", "items": { "$ref": "#/components/schemas/customer.yaml" } } } }
        } } } } } } },
        "components": { "schemas": {
            "customer.yaml": { "type": "object", "properties": {
                "id": { "type": "string" }, "email": { "$ref": "#/components/schemas/mail" },
                "manager": { "$ref": "#/components/schemas/customer.yaml" },
            } },
            "mail": { "type": "string", "format": "email" },
        } },
    });
    let one = demonstration.view("desk", "customer-support", &one).unwrap();
    assert_eq!(several, one, "{several:#}\n{one:#}");
    assert!(several.to_string().contains("\"email\""), "{several:#}");
    write("customer.yaml", "properties: {a: {$ref: '../../secret.yaml'}}");
    let refused = read_json_files(&folder.path().join("api.yaml")).unwrap_err();
    assert!(refused.to_string().contains("not below the folder"), "{refused}");
}

#[test]
fn an_api_of_which_nothing_is_served_is_refused() {
    let demonstration = Demonstration::new("");
    let refused = demonstration.view("resale", "customer-support", &document()).unwrap_err();
    assert!(
        matches!(&refused, CliError::Refused(why) if why.ends_with("purpose-not-permitted")),
        "{refused:?}"
    );
    let other = json!({ "openapi": "3.1.0", "info": {}, "paths": { "/other": { "get": {} } } });
    let refused = demonstration.view("desk", "customer-support", &other).unwrap_err();
    assert!(matches!(&refused, CliError::Refused(why) if why.contains("no route")), "{refused:?}");
    for unusable in [
        json!({ "swagger": "2.0" }),
        json!([]),
        json!({ "openapi": "3.1.0", "paths": { "/customers": { "$ref": "#/paths/~1customers" } } }),
        json!({ "openapi": "3.1.0", "paths": { "/customers": { "$ref": "other.yaml#/x" } } }),
    ] {
        let error = demonstration.view("desk", "customer-support", &unusable).unwrap_err();
        assert!(matches!(error, CliError::Unusable(_)), "{unusable}: {error:?}");
    }
    for (recipient, purpose) in [("nobody", "customer-support"), ("desk", "no-purpose")] {
        let error = demonstration.view(recipient, purpose, &document()).unwrap_err();
        assert!(matches!(error, CliError::Unusable(_)), "{error:?}");
    }
}

#[test]
fn a_reference_in_data_is_copied_as_data() {
    let files = SpecFiles::new(vec![(String::new(), json!({ "openapi": "3.1.0" }))]);
    let schema = json!({
        "default": { "$ref": "#/nothing" },
        "enum": [{ "$ref": "x.yaml" }],
        "properties": { "default": { "type": "string" }, "enum": { "type": "integer" } },
    });
    assert_eq!(Components::new(&files).copy(&schema).unwrap(), schema);
}

#[test]
fn observed_routes_are_named_for_whom_they_are_observed() {
    let route = |name: &str, mode: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nupstream = \"company\"\npath = \"/{name}/{{id}}\"\nsubject = \"@.id\"\n\
             purposes = [\"customer-support\"]\n{mode}fields = {{ \"@.id\" = \"subject-identifier\" }}\n"
        )
    };
    let mode = "mode = \"observe\"\nobserve-until = 2999-01-31\n";
    let demonstration = Demonstration::new(&[route("watched", mode), route("enforced", "")].concat());
    let answer = json!({ "content": { "application/json": { "schema": { "type": "object", "properties": { "id": text(None) } } } } });
    let item = json!({ "get": { "responses": { "200": answer } } });
    let document =
        json!({ "openapi": "3.1.0", "paths": { "/watched/{key}": item.clone(), "/enforced/{key}": item } });
    let view = demonstration.view("desk", "customer-support", &document).unwrap();
    let observed = |recipient: &str| {
        let found = observed_routes(&demonstration.config, recipient, &view, Timestamp::now());
        found.into_iter().map(|(route, until)| format!("{route} {until}")).collect::<Vec<_>>()
    };
    assert_eq!(observed("desk"), ["watched 2999-01-31"]);
    assert_eq!(observed("resale"), [""; 0]);
}

const PHOTO: &str = "[[route]]\nname = \"photo\"\nupstream = \"company\"\npath = \"/photos/{id}\"\nbody = \"photo\"\nsubject = \"{id}\"\n";

#[test]
fn a_body_that_is_one_field_is_there_for_those_who_may_have_it() {
    let demonstration = Demonstration::new(PHOTO);
    let schema = json!({ "type": "string", "format": "binary" });
    let document = json!({
        "openapi": "3.1.0", "info": { "title": "t", "version": "1" },
        "paths": { "/photos/{id}": { "get": { "responses": {
            "200": { "description": "d", "content": { "image/jpeg": { "schema": schema } } },
        } } } },
    });
    let content = |recipient, purpose| {
        let view = demonstration.view(recipient, purpose, &document).ok()?;
        view.pointer("/paths/~1photos~1{id}/get/responses/200/content").cloned()
    };
    let there = json!({ "image/jpeg": { "schema": schema } });
    assert_eq!(content("desk", "customer-support"), Some(there));
    assert_eq!(content("resale", "reseller-follow-up"), None);
}

#[test]
fn a_body_that_is_one_field_is_scrubbed_offline_as_a_whole() {
    let demonstration = Demonstration::new(PHOTO);
    let scrubbed = |subject| {
        let (recipient, purpose) = ("desk", "customer-support");
        let request = OfflineRequest { route: "photo", recipient, purpose, subject };
        let mut out = Vec::new();
        scrub_with(&demonstration.config, &request, None, &b"\xff\xd8 no JSON"[..], &mut out, |_| ())
            .map(|()| out)
    };
    assert_eq!(scrubbed(Some("{}")).unwrap(), b"\xff\xd8 no JSON");
    for withheld in [Some(r#"{"restricted": true}"#), None] {
        assert!(scrubbed(withheld).is_err(), "{withheld:?}");
    }
}
