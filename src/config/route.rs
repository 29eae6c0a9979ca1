//! Reads `[[schema]]` and `[[route]]`: the upstream of each request, and the mapping of its response to data categories.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::{CONTENT_DISPOSITION, CONTENT_LOCATION, LINK, LOCATION, SET_COOKIE};
use http::{HeaderName, Method};
use jiff::Timestamp;
use jiff::civil::Date;

use super::Part;
use super::broad_categories::{Audience, CategoryComparison};
use super::error_mapping::{self, ErrorRoute};
use super::lints;
use super::mapping::{LocatedMapping, PathPlace};
use super::observe;
use super::pack::Packs;
use super::request;
use super::section::{ConfiguredUpstreams, UniqueNames};
use super::stale;
use super::terms::PackTerms;
use super::whole_body;
use crate::document::{At, Document, Fields, Item};
use crate::exchange::cors::Cors;
use crate::exchange::error_mapping::ErrorMapping;
use crate::exchange::media_type::MediaTypes;
use crate::exchange::response;
use crate::exchange::route::{
    self, MappedField, OnWithheld, Recipient, Route, Routes, Scrubbing, UnknownSubject, Unroutable,
};
use crate::exchange::unclassified::UnclassifiedPaths;
use crate::finding::Finding;
use crate::scrub::{
    DuplicateKeys, FieldMapping, Framing, Limits, Mapping, MappingFault, Plan, RecordMapping, Redaction,
    RemovedAs, SubjectSource, Unclassified, selects_by_position, selects_in_row,
};
use crate::vocabulary::{Operation, PurposeId};

/// Default of `max-deny-body`: maximum size of a body that is held whole (`withheld = "deny"`), in bytes.
const MAX_DENY_BODY: usize = 8 << 20;
/// Default of `max-request-body`, in bytes.
const MAX_REQUEST_BODY: usize = 10 << 20;

/// Methods that a route can serve. HEAD is implied by GET.
const METHODS: [(&str, Method); 6] = [
    ("GET", Method::GET),
    ("HEAD", Method::HEAD),
    ("POST", Method::POST),
    ("PUT", Method::PUT),
    ("PATCH", Method::PATCH),
    ("DELETE", Method::DELETE),
];

/// Keys that describe a record set. A route with one of them has a record set of its own beside its `[[route.records]]`.
const KEYS_OF_A_RECORD_SET: [&str; 7] =
    ["columns", "controller", "facts", "fields", "record", "schema", "subject"];

/// Schemas by name.
type Schemas<'d> = HashMap<&'d str, LocatedMapping<'d>>;

/// Reads the routes of all files, with the schemas that they name.
pub(super) fn read_all(
    parts: &mut [Part<'_>],
    packs: &mut Packs,
    upstreams: &ConfiguredUpstreams,
    recipients: &[Arc<Recipient>],
    purpose_header: &HeaderName,
    now: Timestamp,
) -> Routes {
    let comparison = CategoryComparison::default();
    let schemas = schemas(parts, &packs.terms(0));
    let mut routes = Routes::default();
    let mut names = UniqueNames::of("route");
    let mut written = 0;
    for part in parts.iter_mut() {
        for mut fields in part.fields.tables("route", "a route") {
            written += 1;
            fields.allow();
            let path = fields.item("path").map_or(fields.at(), |item| item.at());
            let document = fields.document();
            let pack = packs.load_named_in(part.folder, &mut fields).unwrap_or(0);
            let words = packs.terms(pack);
            let audience =
                Audience { packs: packs.versions(pack), recipients, purposes: None, comparison: &comparison };
            let schemas = &schemas;
            let reading =
                RouteReader { document, fields, schemas, words, upstreams, audience, purpose_header, now };
            let Some(route) = reading.read(pack, &mut names) else { continue };
            if let Err(unroutable) = routes.add(Arc::new(route)) {
                document.find(unroutable_finding(unroutable), path);
            }
        }
    }
    if let Some(part) = parts.first().filter(|_| written == 0) {
        let finding =
            Finding::warning("no-route", "there is no `[[route]]`: every request is answered with 404");
        let finding = finding.label("in this file").hint("add a route for each path of your API");
        part.fields.document().find(finding, part.fields.at());
    }
    routes
}

fn schemas<'d>(parts: &mut [Part<'d>], words: &PackTerms<'_>) -> Schemas<'d> {
    let mut names = UniqueNames::of("schema");
    let mut schemas = Schemas::new();
    for mut fields in parts.iter_mut().flat_map(|part| part.fields.tables("schema", "a schema")) {
        fields.allow();
        let name = fields.needed_text("name");
        let written = LocatedMapping::default().read(&mut fields, words);
        if let Some(name) = name {
            names.add(fields.document(), &name);
            schemas.insert(name.value, written);
        }
        fields.end();
    }
    schemas
}

fn unroutable_finding(unroutable: Unroutable) -> Finding {
    match unroutable {
        Unroutable::Collides(other) => Finding::error("route-collision", format!("this route collides with `{other}`"))
            .label("serves the same requests")
            .hint("give one of them another path or other methods: a request must have one route"),
        Unroutable::Pattern(why) => Finding::error("bad-path-pattern", format!("this is not a path pattern: {why}"))
            .hint(
                "write `/` and segments in ASCII, `{parameter}` for one segment, `{*rest}` at the end for all that \
                 follow",
            ),
    }
}

/// Returns all paths of a record set except the one that selects it.
fn paths(set: &RecordMapping) -> impl Iterator<Item = &String> {
    let sources = set.subjects.iter().chain(&set.controller).map(|source| &source.path);
    let fields = set.fields.iter().map(|field| &field.path);
    sources.chain(fields).chain(set.facts.iter().map(|(_, path)| path))
}

/// Header fields of answers in which APIs name what the answer is about. They are not decided with the body.
const HEADERS_ABOUT_PEOPLE: [HeaderName; 5] =
    [CONTENT_DISPOSITION, CONTENT_LOCATION, LINK, LOCATION, SET_COOKIE];

/// Reads one route table.
struct RouteReader<'r, 'd> {
    document: &'d Document<'d>,
    fields: Fields<'d>,
    schemas: &'r Schemas<'d>,
    words: PackTerms<'r>,
    upstreams: &'r ConfiguredUpstreams,
    audience: Audience<'r>,
    purpose_header: &'r HeaderName,
    now: Timestamp,
}

impl<'r, 'd> RouteReader<'r, 'd> {
    fn read(mut self, pack: usize, names: &mut UniqueNames) -> Option<Route> {
        let name = self.fields.needed_text("name");
        let pattern = self.fields.needed_text("path");
        let upstream = self.upstream();
        let methods = self.methods();
        let purposes = self.fields.item("purposes");
        let purposes = purposes.map(|item| self.words.purposes(self.document, &item.texts()));
        let (operation, delete_body) = self.operation(&methods);
        let personal = self.personal(name.as_ref());
        let pattern_text = pattern.as_ref().map_or("", |pattern| pattern.value);
        let mut scrubbing =
            self.scrubbing(personal, name.as_ref(), pattern_text, purposes.as_deref(), &methods);
        lints::check_route(&mut self.fields);
        let query = request::query(&mut self.fields, self.document, &self.words);
        let request_headers = request::headers(&mut self.fields, self.purpose_header);
        let hide_existence = self.fields.flag("hide-existence") == Some(true);
        let route = ErrorRoute {
            name: name.as_ref().map_or("?", |name| name.value),
            pattern: pattern_text,
            personal,
            hides_existence: hide_existence,
            query: &query,
        };
        let errors = self.errors(&route, scrubbing.as_mut());
        let forward_purpose = self.fields.flag("forward-purpose") == Some(true);
        let forward_credential = request::forward_credential(&mut self.fields);
        let decides_by_field =
            personal && scrubbing.as_ref().is_some_and(|scrubbing| scrubbing.whole_body.is_none());
        let answer_headers = self.answer_headers(decides_by_field);
        self.warn_of_shown_existence(hide_existence && personal, scrubbing.as_ref(), operation, &methods);
        let cors = self.cors(&methods, &request_headers, &answer_headers);
        let media_types = self.media_types();
        let stale_for = stale::read(&mut self.fields);
        let observe_until = self.observe_until(name.as_ref(), purposes.as_deref());
        let max_request_body = self.fields.size("max-request-body").unwrap_or(MAX_REQUEST_BODY);
        self.fields.end();
        let name = names.add(self.document, &name?);
        let upstream = upstream?;
        let mapped = scrubbing?;
        let (scrubbing, unread) = if personal { (Some(mapped), None) } else { (None, Some(mapped)) };
        Some(Route {
            name,
            upstream: Arc::clone(&upstream.name),
            upstream_server: upstream.only_server(),
            upstream_is_backup: upstream.backup,
            recipient_header: upstream.recipient_header.clone(),
            upstream_idle_timeout: upstream.idle_timeout,
            upstream_body_timeout: upstream.body_timeout,
            pack,
            methods,
            pattern: pattern?.value.to_owned(),
            purposes,
            operation,
            scrubbing,
            path_mapping: unread,
            errors,
            media_types,
            query,
            hide_existence,
            answer_headers,
            request_headers,
            forward_purpose,
            forward_credential,
            delete_body,
            cors,
            stale_for,
            observe_until,
            max_request_body,
            fault_log: route::fault_log_limit(),
            unclassified: UnclassifiedPaths::new(Timestamp::now()),
        })
    }

    /// Reads `operation`, and `request-body`: true if a DELETE may have a body.
    fn operation(&mut self, methods: &[Method]) -> (Option<Operation>, bool) {
        let operations: Vec<_> =
            Operation::ALL.iter().map(|operation| (operation.name(), *operation)).collect();
        let written = self.fields.item("operation");
        let operation = written.as_ref().and_then(|item| item.choice(&operations));
        let delete_body = request::delete_body(&mut self.fields, methods);
        if let Some(item) = written.filter(|_| operation == Some(Operation::Disclose)) {
            request::warn_body_selectors(self.document, &item, methods, delete_body);
        }
        (operation, delete_body)
    }

    /// Warns if a route hides the existence of records, and its answers to reads do not.
    fn warn_of_shown_existence(
        &mut self,
        hides: bool,
        scrubbing: Option<&Scrubbing>,
        operation: Option<Operation>,
        methods: &[Method],
    ) {
        let strips = scrubbing.is_some_and(|scrubbing| scrubbing.on_withheld == OnWithheld::Strip);
        let mut operations =
            methods.iter().map(|method| operation.unwrap_or_else(|| route::operation_of(method)));
        if !hides || !strips || !operations.any(|operation| operation == Operation::Disclose) {
            return;
        }
        let Some(item) = self.fields.item("hide-existence") else { return };
        let message = "a record of which everything is withheld leaves as an empty object, one that does not exist as 404";
        let finding =
            Finding::warning("hide-existence-without-deny", message).label("hides no record from readers");
        let hint =
            "add `withheld = \"deny\"`; or acknowledge this if only changes of a record are to look alike";
        self.document.find(finding.hint(hint), item.at());
    }

    fn errors(&mut self, route: &ErrorRoute<'_>, scrubbing: Option<&mut Scrubbing>) -> Option<ErrorMapping> {
        let written = error_mapping::read(&mut self.fields, &self.words);
        written?.compile(route, scrubbing?, &self.words)
    }

    fn observe_until(&mut self, name: Option<&At<&str>>, purposes: Option<&[PurposeId]>) -> Option<Date> {
        let observed = observe::ObservedAudience {
            route: name.map_or("?", |name| name.value),
            recipients: self.audience.recipients,
            purposes,
            vocabulary: self.words.vocabulary,
        };
        observe::read(&mut self.fields, &observed, self.now)
    }

    fn upstream(&mut self) -> Option<&'r super::UpstreamSection> {
        let name = self.fields.needed_text("upstream")?;
        let found = self.upstreams.all.iter().find(|upstream| *upstream.name == *name.value);
        if found.is_none() && !self.upstreams.names.contains(name.value) {
            let known = self.upstreams.names.iter();
            self.document.find_unknown(
                "unknown-upstream",
                "upstream",
                &name,
                known,
                "add an `[[upstream]]` with this name",
            );
        }
        found
    }

    fn methods(&mut self) -> Vec<Method> {
        let Some(item) = self.fields.item("methods") else { return vec![Method::GET] };
        item.items().iter().filter_map(|item| item.choice(&METHODS)).collect()
    }

    /// True if responses are scrubbed, which is the default. A route that turns it off is a warning.
    fn personal(&mut self, name: Option<&At<&str>>) -> bool {
        let Some(item) = self.fields.item("personal") else { return true };
        let personal = item.flag() != Some(false);
        if !personal {
            let name = name.map_or("?", |name| name.value);
            let finding = Finding::warning(
                "route-not-personal",
                format!("route `{name}` is not personal: its answers pass through unread"),
            );
            let hint = "take this out as soon as an answer of it can hold anything about a person";
            self.document.find(finding.label("passes through unread").hint(hint), item.at());
        }
        personal
    }

    /// Reads `answer-headers`. `warns` is true if the body is decided field by field, and these are not.
    fn answer_headers(&mut self, warns: bool) -> Vec<HeaderName> {
        let mut headers = Vec::new();
        for name in self.fields.texts("answer-headers") {
            let parsed = name.value.parse();
            if parsed.as_ref().is_ok_and(|header| warns && HEADERS_ABOUT_PEOPLE.contains(header)) {
                let message = format!("`{}` can tell about a person, and leaves undecided", name.value);
                let finding =
                    Finding::warning("answer-header-undecided", message).label("leaves as it comes");
                let hint = "take it out, or acknowledge this if it never names anybody: what it says is not on record";
                self.document.find(finding.hint(hint), name.at.clone());
            }
            match parsed {
                Ok(header) if response::can_pass(&header) => headers.push(header),
                Ok(_) => {
                    let finding =
                        Finding::error("bad-answer-header", format!("`{}` cannot pass as it is", name.value));
                    let hint = "it describes the body that the upstream had, or is the gateway's own";
                    self.document.find(finding.hint(hint), name.at);
                }
                Err(_) => self
                    .document
                    .find(Finding::error("bad-header-name", "this is not a header name"), name.at),
            }
        }
        headers
    }

    /// Reads `framing`, the framing of responses whose media type does not determine it, and `media-types`, the media
    /// types that leave under their own name.
    fn media_types(&mut self) -> MediaTypes {
        let framing = self.fields.choice("framing", &[("lines", Framing::Lines), ("csv", Framing::Rows)]);
        let mut listed = Vec::new();
        for name in self.fields.texts("media-types") {
            let is_token = |part: &str| {
                let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte);
                !part.is_empty() && part.bytes().all(is_letter)
            };
            match name.value.split_once('/') {
                // RFC 6838, 4.2.
                Some((kind, subtype)) if is_token(kind) && is_token(subtype) => {
                    listed.push(name.value.to_ascii_lowercase());
                }
                _ => {
                    let finding = Finding::error("bad-media-type", "this is not a media type");
                    let hint =
                        "write it without parameters, for example `application/vnd.example.order+json`";
                    self.document.find(finding.hint(hint), name.at);
                }
            }
        }
        let words = [("refuse", false), ("ignore", true)];
        let ignores_no_transform = self.fields.choice("no-transform", &words) == Some(true);
        MediaTypes { framing, listed, ignores_no_transform }
    }

    fn cors(
        &mut self,
        methods: &[Method],
        request_headers: &[HeaderName],
        answer_headers: &[HeaderName],
    ) -> Option<Cors> {
        let cors =
            request::cors(&mut self.fields, methods, request_headers, answer_headers, self.purpose_header)?;
        request::warn_upstream_cors(self.document, &self.fields.texts("answer-headers"));
        Some(cors)
    }

    /// Reads `unclassified`. Unclassified fields are removed by default; a route that releases them is a warning.
    fn unclassified(&mut self, name: Option<&At<&str>>) -> Unclassified {
        let words = [("remove", Unclassified::Remove), ("release", Unclassified::Release)];
        let Some(item) = self.fields.item("unclassified") else { return Unclassified::Remove };
        let unclassified = item.choice(&words).unwrap_or_default();
        if unclassified == Unclassified::Release {
            let name = name.map_or("?", |name| name.value);
            let finding = Finding::warning(
                "unclassified-released",
                format!("route `{name}` releases fields that nothing classifies"),
            );
            let hint = "they leave without a legal basis, on your word that they tell nothing about anybody; classify \
                        what the upstream sends, as `non-personal` where it is, and take this out";
            self.document.find(finding.label("releases whatever the upstream adds").hint(hint), item.at());
        }
        unclassified
    }

    fn scrubbing(
        &mut self,
        personal: bool,
        name: Option<&At<&str>>,
        pattern: &str,
        purposes: Option<&[PurposeId]>,
        methods: &[Method],
    ) -> Option<Scrubbing> {
        let body = whole_body::read(&mut self.fields, &self.words, methods);
        let is_field = body.is_some();
        let unclassified = self.unclassified(name);
        let duplicates = [("refuse", DuplicateKeys::Refuse), ("treat-alike", DuplicateKeys::TreatAlike)];
        let redaction = [("silent", Redaction::Silent), ("rfc9537", Redaction::Rfc9537)];
        let redaction = self.fields.choice("redaction", &redaction).unwrap_or_default();
        let removed_as = self.removed_as(redaction);
        let sets = body.map_or_else(|| self.record_sets(personal), |body| vec![body]);
        let mapping = Mapping {
            records: sets.iter().map(|set| set.mapping.clone()).collect(),
            unclassified,
            removed_as,
            duplicate_keys: self.fields.choice("duplicate-keys", &duplicates).unwrap_or_default(),
            events: self.events(),
            redact: self
                .fields
                .item("redact")
                .map_or_else(Vec::new, |item| self.words.categories(self.document, &item)),
            redaction,
            withhold_echoes: self.fields.flag("withhold-echoes") == Some(true),
        };
        let unknown = [("withhold", UnknownSubject::Withhold), ("no-facts", UnknownSubject::NoFacts)];
        let unknown_subject = self.fields.choice("unknown-subject", &unknown).unwrap_or_default();
        if personal && unknown_subject == UnknownSubject::NoFacts {
            check_subject_only_in_path(&sets);
        }
        if personal {
            check_controller_only_in_path(&sets);
        }
        let max_body = self.fields.size("max-deny-body").unwrap_or(MAX_DENY_BODY);
        let withheld = [("strip", OnWithheld::Strip), ("deny", OnWithheld::Deny { max_body })];
        let withheld = self.fields.choice("withheld", &withheld).unwrap_or(OnWithheld::Strip);
        let withheld = if is_field { OnWithheld::Deny { max_body } } else { withheld };
        let mut limits = Limits::default();
        limits.record = self.fields.size("max-record").unwrap_or(limits.record);
        if let Some(name) = name.filter(|_| personal) {
            let table = (self.document, self.fields.at());
            let releases = mapping.unclassified == Unclassified::Release;
            lints::check_records(&sets, &self.words, name.value, table, releases);
            lints::check_retention(&sets, self.audience.packs);
            Audience { purposes, ..self.audience }.warn(&sets);
        }
        let places: Vec<PathPlace<'d>> = sets.into_iter().flat_map(|set| set.places).collect();
        check_parameters(&places, pattern);
        self.by_position(&mapping, &places);
        let framing = self.fields.item("framing").filter(Item::is_text).and_then(|item| item.text());
        if framing.is_some_and(|framing| framing.value == "csv") {
            warn_outside_of_rows(&mapping, &places);
        }
        let plan = self.compile(&mapping, &places)?;
        let fields = mapping.records.iter().flat_map(|set| mapped(set, &mapping.records)).collect();
        let (words, records) = (self.words.vocabulary, mapping.records);
        let mut scrubbing = Scrubbing::new(plan, words, unknown_subject, withheld, limits, fields, records);
        if is_field {
            scrubbing.whole_body = scrubbing.plan.document_path().nodes().map(|node| node.class).next();
        }
        Some(scrubbing)
    }

    /// Warns about paths that identify the elements of a row by position: in a table without a header nobody notices when
    /// the order changes. In a table with a header, removed elements must leave `null`.
    fn by_position(&self, mapping: &Mapping, places: &[PathPlace<'d>]) {
        let is_in_table = |path: &str| {
            let tables = mapping.records.iter().filter(|set| set.columns.is_some());
            tables.flat_map(paths).any(|known| known == path)
        };
        for place in
            places.iter().filter(|place| selects_by_position(&place.path) && !is_in_table(&place.path))
        {
            let finding = Finding::warning(
                "row-by-position",
                format!("`{}` tells the elements of a row by their position", place.path),
            );
            let hint = "where the rows have a header, name it: `columns = { path = \"$.columns\", names = [\"id\", \"email\"] }`, \
                        and write `@.email`: rows in another order are refused then";
            place.document.find(finding.label("whatever stands there").hint(hint), place.at.clone());
        }
        let columns = mapping.records.iter().find_map(|set| set.columns.as_ref());
        if let Some(columns) = columns.filter(|_| mapping.removed_as != RemovedAs::Null) {
            // The first place is that of `columns` itself; the header can be a field, too.
            if let Some(place) = places.iter().find(|place| place.path == columns.path) {
                let finding = Finding::error(
                    "columns-need-null",
                    "`columns` needs `removed-as = \"null\"` on its route",
                );
                let hint = "elsewhere the elements of a row close up where one is removed, and stand under another column";
                place.document.find(finding.label("rows of a table").hint(hint), place.at.clone());
            }
        }
    }

    fn removed_as(&mut self, redaction: Redaction) -> RemovedAs {
        let words = [("omit", RemovedAs::Omit), ("null", RemovedAs::Null), ("empty", RemovedAs::Empty)];
        let Some(item) = self.fields.item("removed-as") else { return RemovedAs::Omit };
        let Some(removed_as) = item.choice(&words) else { return RemovedAs::Omit };
        if redaction == Redaction::Rfc9537 && removed_as != RemovedAs::Omit {
            let finding = Finding::error(
                "removed-as-needs-omit",
                "`removed-as` must be `omit` on a route with `redaction = \"rfc9537\"`",
            )
            .label("leaves something where the answer says that it was removed");
            let hint =
                "take this out: `null` and `\"\"` are no handle, and no property of a jCard (RFC 9083)";
            self.document.find(finding.hint(hint), item.at());
        }
        removed_as
    }

    /// Reads `events`, the types of server-sent events that leave. A type is one line of the stream.
    fn events(&mut self) -> Vec<String> {
        let (names, wrong): (Vec<_>, Vec<_>) = self
            .fields
            .texts("events")
            .into_iter()
            .partition(|name| !name.value.is_empty() && !name.value.contains(['\r', '\n']));
        for name in wrong {
            let finding = Finding::error("bad-event-type", "this is not the type of an event")
                .label("empty, or several lines");
            self.document.find(finding.hint("write what stands after `event:` in the stream"), name.at);
        }
        names.into_iter().map(|name| name.value.to_owned()).collect()
    }

    /// Reads the record set that the route itself describes, and those of its `[[route.records]]`.
    fn record_sets(&mut self, personal: bool) -> Vec<LocatedMapping<'d>> {
        let base = schema(&mut self.fields, self.schemas);
        let mut flat = base.read(&mut self.fields, &self.words);
        let record = self.fields.text("record");
        flat.mapping.path = record.map_or_else(|| "$".to_owned(), |path| flat.path(self.document, path));
        let mut sets = Vec::new();
        for mut fields in self.fields.tables("records", "a record set") {
            let path = fields.needed_text("path");
            let base = schema(&mut fields, self.schemas);
            let mut set = base.read(&mut fields, &self.words);
            fields.end();
            let Some(path) = path else { continue };
            set.mapping.path = set.path(self.document, path);
            sets.push(set);
        }
        // Even a record set without fields and subject has an effect: the innermost record decides what of it leaves.
        if sets.is_empty() || KEYS_OF_A_RECORD_SET.into_iter().any(|key| self.fields.item(key).is_some()) {
            if personal && !sets.is_empty() {
                self.warn_without_fields(&flat.mapping, &sets);
            }
            sets.insert(0, flat);
        }
        sets
    }

    /// Warns about a controller, columns or facts of the route itself that are those of no field, because each of its
    /// `[[route.records]]` has its own.
    fn warn_without_fields(&mut self, flat: &RecordMapping, others: &[LocatedMapping<'d>]) {
        let states_any = flat.controller.is_some() || flat.columns.is_some() || !flat.facts.is_empty();
        // A field that is selected from the root can stand outside of the other records.
        let from_root = |field: &FieldMapping| field.path.starts_with('$');
        let any_from_root = || others.iter().flat_map(|set| &set.mapping.fields).any(from_root);
        let may_release = !flat.fields.is_empty() || (!flat.subjects.is_empty() && any_from_root());
        if flat.path != "$" || may_release || !states_any {
            return;
        }
        let mut written = ["columns", "controller", "facts", "schema"].into_iter();
        let Some((key, item)) = written.find_map(|key| Some((key, self.fields.item(key)?))) else { return };
        let finding = Finding::warning(
            "record-set-without-fields",
            format!("`{key}` of the route itself is for none of its `[[route.records]]`"),
        );
        let hint = "each record set has its own `subject`, `controller`, `columns` and `facts`: write them in every \
                    `[[route.records]]` that they are about, or in a `[[schema]]` that these name";
        self.document.find(finding.label("is for a record without a field").hint(hint), item.at());
    }

    fn compile(&self, mapping: &Mapping, places: &[PathPlace<'d>]) -> Option<Arc<Plan>> {
        let errors = match Plan::compile(mapping, self.words.vocabulary) {
            Ok(plan) => return Some(Arc::new(plan)),
            Err(errors) => errors,
        };
        // A field without a category was reported when its categories were read.
        for error in errors.iter().filter(|error| error.fault != MappingFault::NoCategory) {
            for place in places.iter().filter(|place| place.path == error.path) {
                let finding =
                    Finding::error("bad-path", format!("`{}` cannot be used: {}", error.path, error.fault));
                let hint = "paths are RFC 9535: `@.name` within the record, `$.name` from the document";
                place.document.find(finding.hint(hint), place.at.clone());
            }
        }
        None
    }
}

/// Warns about parameters that the path of the route does not have.
fn check_parameters(places: &[PathPlace<'_>], pattern: &str) {
    let known: Vec<String> = route::pattern_parameters(pattern).map(|name| format!("{{{name}}}")).collect();
    for place in places.iter().filter(|place| place.path.starts_with('{') && !known.contains(&place.path)) {
        let finding = Finding::warning(
            "no-such-parameter",
            format!("the route's path has no parameter `{}`", place.path),
        );
        let hint = "without it nobody knows whose record it is, and nothing personal leaves";
        place.document.find(finding.label("is never there").hint(hint), place.at.clone());
    }
}

/// Warns about paths of a route of tables that select nothing in a row: in a table each row is a document, whose members are
/// its columns.
fn warn_outside_of_rows(mapping: &Mapping, places: &[PathPlace<'_>]) {
    for place in places.iter().filter(|place| !place.path.starts_with('{')) {
        let is_set =
            |set: &&RecordMapping| set.path == place.path || paths(set).any(|path| *path == place.path);
        let mut sets = mapping.records.iter().filter(is_set).peekable();
        // The names of a table within JSON are a path of their own.
        let is_in_row = sets.peek().is_some()
            && sets.all(|set| {
                let embedded =
                    set.fields.iter().filter(|field| field.embedded).map(|field| field.path.as_str());
                set.path == "$" && (place.path == "$" || selects_in_row(&place.path, embedded))
            });
        if !is_in_row {
            let finding =
                Finding::warning("not-a-column", format!("`{}` is no column of a table", place.path));
            let hint = "each row is a record of its own, with its columns as members: no `record`, and `@.email` for the \
                        column `email`; acknowledge this where the path is for JSON that the route answers as well";
            place.document.find(finding.label("selects nothing in a row").hint(hint), place.at.clone());
        }
    }
}

/// Finds record sets whose subject only the path names, so that the recipient spells the id. With `no-facts` an unknown
/// person counts as one without events. If the upstream takes `042` for 42 and the ledger does not know `042`, the record
/// of 42 would leave in spite of the events about 42.
fn check_subject_only_in_path(sets: &[LocatedMapping<'_>]) {
    for located in sets {
        let (set, places) = (&located.mapping, &located.places);
        // An optional id can be absent, and an absent id names nobody.
        let is_in_record = |source: &SubjectSource| !source.path.starts_with('{') && !source.optional;
        if set.subjects.iter().any(is_in_record) {
            continue;
        }
        for source in set.subjects.iter().filter(|source| source.path.starts_with('{')) {
            let Some(place) = places.iter().find(|place| place.path == source.path) else { continue };
            let words = format!(
                "`unknown-subject = \"no-facts\"` needs more than `{}`, which the recipient spells",
                source.path
            );
            let finding = Finding::error("no-facts-by-path-alone", words);
            let hint = format!(
                "name the id in the record, too: `subject = [\"{}\", \"@.id\"]`; or take out `no-facts`",
                source.path
            );
            place
                .document
                .find(finding.label("another spelling is nobody known").hint(hint), place.at.clone());
        }
    }
}

/// Finds record sets whose controller only the path names: an account that the ledger does not know counts as open.
fn check_controller_only_in_path(sets: &[LocatedMapping<'_>]) {
    for located in sets {
        let (set, places) = (&located.mapping, &located.places);
        let Some(controller) = set.controller.as_ref().filter(|source| source.path.starts_with('{')) else {
            continue;
        };
        let Some(place) = places.iter().find(|place| place.path == controller.path) else { continue };
        let words =
            format!("whose account it is, is told by `{}`, which the recipient spells", controller.path);
        let finding = Finding::warning("controller-by-path-alone", words);
        let hint = "a spelling that the upstream takes for a closed account and the ledger for nobody known counts as \
                    open: name it in the record, `controller = \"@.account_id\"`";
        place.document.find(finding.label("another spelling is nobody known").hint(hint), place.at.clone());
    }
}

/// Returns the fields of a record set, with paths from the root of the document.
fn mapped(set: &RecordMapping, sets: &[RecordMapping]) -> impl Iterator<Item = MappedField> {
    set.fields.iter().map(|field| {
        let path = match field.path.strip_prefix('@') {
            Some(within) => format!("{}{within}", set.path),
            None => field.path.clone(),
        };
        let without_subject = set.is_without_subject(&field.path, sets);
        MappedField { path, categories: field.categories.clone(), without_subject }
    })
}

/// Returns the mapping of the schema that a table names; an empty one if it names none.
fn schema<'d>(fields: &mut Fields<'d>, schemas: &Schemas<'d>) -> LocatedMapping<'d> {
    let Some(name) = fields.text("schema") else { return LocatedMapping::default() };
    let found = schemas.get(name.value);
    if found.is_none() {
        let known = schemas.keys().copied();
        fields.document().find_unknown(
            "unknown-schema",
            "schema",
            &name,
            known,
            "add a `[[schema]]` with this name",
        );
    }
    found.cloned().unwrap_or_default()
}
