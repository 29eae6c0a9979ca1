//! `[[schema]]` and `[[route]]`: which requests go where, and what their answers hold.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use http::{HeaderName, Method};

use super::mapping::{self, Written};
use super::recipient::purposes;
use super::section::{choice, report_twins};
use super::{Config, Part, pack, unit};
use crate::finding::{At, Finding, Table, nearest};
use crate::layer::route::{Route, Scrubbing, UnknownSubject, Unroutable, Withheld};
use crate::policy::Pack;
use crate::scrub::{DuplicateKeys, Limits, Mapping, Plan, RemovedAs, Unclassified};
use crate::vocabulary::{Operation, Vocabulary};

/// Bytes of a body that is held whole (`withheld = "deny"`).
const MAX_DENY_BODY: usize = 8 << 20;
/// Bytes of a request's body.
const MAX_REQUEST_BODY: usize = 10 << 20;

/// Methods a route can serve; HEAD comes with GET.
const METHODS: [(&str, Method); 6] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];

/// Reads every schema and route of every file into the configuration.
pub(super) fn read_all(parts: &[Part<'_>], packs: &mut pack::Packs, config: &mut Config) {
    let Some(default) = packs.get(0) else { return };
    let mut schemas = HashMap::new();
    for part in parts {
        for table in part.table.tables("schema") {
            let name = table.required_text("name");
            let written = mapping::read(&table, default.vocabulary(), None);
            table.report_unknown();
            if let Some(name) = name {
                schemas.insert(name.value, written);
            }
        }
    }
    for part in parts {
        for table in part.table.tables("route") {
            let route = Reading { part, table: &table, schemas: &schemas, config }.read(packs);
            table.report_unknown();
            let Some(route) = route else { continue };
            if let Err(unroutable) = config.routes.add(Arc::new(route)) {
                report_unroutable(&table, unroutable);
            }
        }
    }
    if let Some(part) = parts.first() {
        report_twins(part.table.findings(), config.routes.iter().map(|route| &route.name), "route");
        if config.routes.iter().next().is_none() && !part.table.findings().any_error() {
            let finding = Finding::warning("there is no `[[route]]`: every request is answered with 404");
            part.table.findings().push(finding.hint("add a route for each path of your API"));
        }
    }
}

fn report_unroutable(table: &Table<'_>, unroutable: Unroutable) {
    let span = table.value("path").map_or(table.span(), toml::Spanned::span);
    let finding = match unroutable {
        Unroutable::Collides(other) => table
            .error(span, format!("this route collides with `{other}`"))
            .label("serves the same requests")
            .hint("give one of them another path or other methods: a request must have one route"),
        Unroutable::Pattern(why) => table
            .error(span, format!("this is not a path pattern: {why}"))
            .hint("write segments, `{parameter}` for one segment, `{*rest}` at the end for all that follow"),
    };
    table.findings().push(finding);
}

/// One route table being read.
struct Reading<'r, 'd> {
    part: &'r Part<'d>,
    table: &'r Table<'d>,
    schemas: &'r HashMap<String, Written>,
    config: &'r Config,
}

impl Reading<'_, '_> {
    fn read(&self, packs: &mut pack::Packs) -> Option<Route> {
        let table = self.table;
        let name = table.required_text("name");
        let pattern = table.required_text("path");
        let upstream = table.required_text("upstream").and_then(|upstream| self.upstream(&upstream));
        let methods = self.methods();
        let pack_position = match table.text("policy") {
            Some(folder) => packs.load(self.part, folder)?,
            None => 0,
        };
        let pack = packs.get(pack_position)?;
        let purposes = purposes(table, "purposes", pack.vocabulary());
        let operations: Vec<(&str, Option<Operation>)> =
            Operation::ALL.iter().map(|operation| (operation.name(), Some(*operation))).collect();
        let operation = choice(table, "operation", &operations, None);
        let personal = table.flag("personal").is_none_or(|at| at.value);
        let scrubbing = self.scrubbing(&pack);
        let query = self.query(&pack);
        let hide_existence = table.flag("hide-existence").is_some_and(|at| at.value);
        let forward_purpose = table.flag("forward-purpose").is_some_and(|at| at.value);
        let answer_headers = self.answer_headers();
        let max_request_body = unit::size(table, "max-request-body", MAX_REQUEST_BODY);
        let name: Arc<str> = Arc::from(name?.value);
        if !personal {
            let finding = Finding::warning(format!("route `{name}` is not personal: its answers pass through unread"));
            table.findings().push(finding.at(table.source(), table.span()).label("passes through unread"));
        }
        let upstream = upstream?;
        Some(Route {
            name,
            upstream: Arc::clone(&upstream.name),
            upstream_is_backup: upstream.backup,
            upstream_idle: upstream.idle_timeout,
            pack: pack_position,
            methods,
            pattern: pattern?.value,
            purposes,
            operation,
            scrubbing: if personal { Some(scrubbing?) } else { None },
            query,
            hide_existence,
            answer_headers,
            forward_purpose,
            max_request_body,
        })
    }

    fn upstream(&self, name: &At<String>) -> Option<&super::Upstream> {
        let upstreams = &self.config.upstreams;
        let found = upstreams.iter().find(|upstream| *upstream.name == *name.value);
        if found.is_none() {
            let finding = self.table.error(name.span.clone(), format!("there is no upstream `{}`", name.value));
            let near = nearest(&name.value, upstreams.iter().map(|upstream| &*upstream.name));
            self.table.findings().push(match near {
                Some(near) => finding.hint(format!("did you mean `{near}`?")),
                None => finding.hint("add an `[[upstream]]` with this name"),
            });
        }
        found
    }

    fn methods(&self) -> Vec<Method> {
        let Some(names) = self.table.texts("methods") else { return vec![Method::GET] };
        let known = names.iter().filter_map(|name| {
            let found = METHODS.iter().find(|(word, _)| *word == name.value).map(|(_, method)| method.clone());
            if found.is_none() {
                let finding = self.table.error(name.span.clone(), format!("`{}` is not a method of a route", name.value));
                self.table.findings().push(finding.hint("GET, HEAD, POST, PUT, PATCH, DELETE"));
            }
            found
        });
        known.collect()
    }

    fn answer_headers(&self) -> Vec<HeaderName> {
        let names = self.table.texts("answer-headers").unwrap_or_default();
        let known = names.iter().filter_map(|name| {
            let header = name.value.parse::<HeaderName>().ok();
            if header.is_none() {
                self.table.findings().push(self.table.error(name.span.clone(), "this is not a header name"));
            }
            header
        });
        known.collect()
    }

    fn query(&self, pack: &Pack) -> HashMap<String, Vec<crate::vocabulary::CategoryId>> {
        let Some(query) = self.table.table("query") else { return HashMap::new() };
        query
            .entries()
            .map(|(name, value)| (name.value.to_owned(), mapping::categories(&query, value, pack.vocabulary())))
            .collect()
    }

    fn scrubbing(&self, pack: &Pack) -> Option<Scrubbing> {
        let table = self.table;
        let schema = table.text("schema").and_then(|schema| {
            let found = self.schemas.get(&schema.value);
            if found.is_none() {
                let finding = table.error(schema.span.clone(), format!("there is no schema `{}`", schema.value));
                let near = nearest(&schema.value, self.schemas.keys().map(String::as_str));
                table.findings().push(match near {
                    Some(near) => finding.hint(format!("did you mean `{near}`?")),
                    None => finding.hint("add a `[[schema]]` with this name"),
                });
            }
            found
        });
        let vocabulary = pack.vocabulary();
        let mut flat = mapping::read(table, vocabulary, schema);
        let record = table.text("record");
        flat.mapping.path = record.as_ref().map_or_else(|| "$".to_owned(), |record| record.value.clone());
        flat.places.extend(record.map(|record| (record.value, record.span)));
        let mut sets = vec![flat];
        for record in table.tables("records") {
            let path = record.required_text("path");
            let mut written = mapping::read(&record, vocabulary, None);
            record.report_unknown();
            if let Some(path) = path {
                written.mapping.path.clone_from(&path.value);
                written.places.push((path.value, path.span));
                sets.push(written);
            }
        }
        if sets.len() > 1 && sets.first().is_some_and(|flat| flat.mapping.fields.is_empty() && flat.mapping.subjects.is_empty()) {
            // Only `[[route.records]]` are written: there is no flat record set.
            sets.remove(0);
        }
        let unclassified = [("remove", Unclassified::Remove), ("release", Unclassified::Release)];
        let removed_as = [("omit", RemovedAs::Omit), ("null", RemovedAs::Null), ("empty", RemovedAs::Empty)];
        let duplicates = [("refuse", DuplicateKeys::Refuse), ("treat-alike", DuplicateKeys::TreatAlike)];
        let places: Vec<(String, Range<usize>)> = sets.iter().flat_map(|set| set.places.clone()).collect();
        let mapping = Mapping {
            records: sets.into_iter().map(|set| set.mapping).collect(),
            unclassified: choice(table, "unclassified", &unclassified, Unclassified::Remove),
            removed_as: choice(table, "removed-as", &removed_as, RemovedAs::Omit),
            duplicate_keys: choice(table, "duplicate-keys", &duplicates, DuplicateKeys::Refuse),
        };
        let unknown = [("withhold", UnknownSubject::Withhold), ("no-facts", UnknownSubject::NoFacts)];
        let unknown_subject = choice(table, "unknown-subject", &unknown, UnknownSubject::Withhold);
        let max_body = unit::size(table, "max-deny-body", MAX_DENY_BODY);
        let withheld = [("strip", Withheld::Strip), ("deny", Withheld::Deny { max_body })];
        let withheld = choice(table, "withheld", &withheld, Withheld::Strip);
        let limits = Limits { record: unit::size(table, "max-record", Limits::default().record), ..Limits::default() };
        let plan = self.compile(&mapping, vocabulary, &places)?;
        Some(Scrubbing::new(plan, vocabulary, unknown_subject, withheld, limits))
    }

    fn compile(
        &self,
        mapping: &Mapping,
        vocabulary: &Vocabulary,
        places: &[(String, Range<usize>)],
    ) -> Option<Arc<Plan>> {
        match Plan::compile(mapping, vocabulary) {
            Ok(plan) => Some(Arc::new(plan)),
            Err(errors) => {
                for error in errors {
                    let place = places.iter().find(|(path, _)| *path == error.path);
                    let span = place.map_or_else(|| self.table.span(), |(_, span)| span.clone());
                    let finding = self.table.error(span, format!("`{}` cannot be used: {}", error.path, error.fault));
                    self.table.findings().push(finding.hint("paths are RFC 9535: `@.name` within the record, `$.name` from the document"));
                }
                None
            }
        }
    }
}
