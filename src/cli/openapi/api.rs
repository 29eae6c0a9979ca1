//! The API as one recipient sees it: the operations that a route serves for it, with the parameters that pass and the
//! answers that leave.

use std::sync::Arc;

use http::Method;
use serde_json::{Map, Value, json};

use super::field_view::RouteFieldView;
use super::schema::{Components, SchemaRewriter};
use super::spec_files::SpecFiles;
use crate::cli::error::CliError;
use crate::config::Config;
use crate::decision::{
    AdmissionRequest, Admitted, Decisions, Denial, LegalReference, OperationForecast, RecipientFacts,
};
use crate::exchange::Refusal;
use crate::exchange::route::{MatchedRoute, QueryParameter, Recipient, Route, RouteRequest};
use crate::policy::Pack;
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId};

/// Methods of operations in a document.
pub(super) const METHODS: [(&str, Method); 6] = [
    ("get", Method::GET),
    ("head", Method::HEAD),
    ("post", Method::POST),
    ("put", Method::PUT),
    ("patch", Method::PATCH),
    ("delete", Method::DELETE),
];
/// Request headers that go upstream on every route and that a document can describe as parameters.
const FORWARDED: [&str; 5] =
    ["accept-language", "idempotency-key", "x-request-id", "traceparent", "tracestate"];
/// Stands for a path parameter when a path is routed.
const PARAMETER: &str = "0";
/// Name of the component that describes refusals.
const PROBLEM: &str = "GatewayProblem";
/// Name of the security scheme.
const CREDENTIAL: &str = "recipientCredential";

/// The recipient, the purpose, and everything that its view depends on.
pub(super) struct Viewer<'c> {
    pub(super) config: &'c Config,
    pub(super) recipient: &'c Recipient,
    /// The name of the purpose, as the recipient declares it.
    pub(super) purpose: &'c str,
    pub(super) purpose_id: PurposeId,
    /// The facts about the recipient today.
    pub(super) facts: Arc<RecipientFacts>,
    /// Returns the pack in force for a route.
    pub(super) pack: &'c dyn Fn(&Route) -> Option<&'c Arc<Pack>>,
}

/// The result: the document, or the reason why no operation is in it.
pub(super) enum ApiView {
    Document(Value),
    /// No operation of the document is served; the refusal, if a route was found.
    Nothing(Option<&'static str>),
}

/// A route that serves an operation, and what is admitted on it.
struct Served {
    route: Arc<Route>,
    admitted: Admitted,
}

impl<'c> Viewer<'c> {
    /// Returns the API as the recipient sees it.
    ///
    /// # Errors
    /// [`CliError::Unusable`] if the document is no OpenAPI document of version 3.0 or 3.1, or cannot be followed.
    pub(super) fn view(&self, files: &SpecFiles) -> Result<ApiView, CliError> {
        let document = files.first();
        let version = document.get("openapi").and_then(Value::as_str).unwrap_or_default();
        if !version.starts_with("3.0.") && !version.starts_with("3.1.") {
            return Err(CliError::Unusable("this is no OpenAPI document of version 3.0 or 3.1".to_owned()));
        }
        let mut components = Components::new(files);
        let (mut paths, mut tags, mut refused) = (Map::new(), Vec::new(), None);
        let items = document.get("paths").and_then(Value::as_object);
        for (path, item) in items.into_iter().flatten() {
            let item = components.resolve(item)?;
            for (name, method) in &METHODS {
                let Some(operation) = item.get(*name) else { continue };
                let (served_at, served) = match self.serve(document, item, path, method) {
                    Ok(served) => served,
                    Err(why) => {
                        refused = refused.or(why);
                        continue;
                    }
                };
                let operation = self.operation(&mut components, item, operation, method, &served)?;
                tags.extend(operation.get("tags").and_then(Value::as_array).into_iter().flatten().cloned());
                let at = paths.entry(served_at).or_insert_with(|| json!({}));
                at.as_object_mut().map(|at| at.insert((*name).to_owned(), operation));
            }
        }
        if paths.is_empty() {
            return Ok(ApiView::Nothing(refused));
        }
        let described = document.get("tags").and_then(Value::as_array).into_iter().flatten();
        let described: Vec<&Value> =
            described.filter(|tag| tag.get("name").is_some_and(|name| tags.contains(name))).collect();
        let mut schemas = components.into_schemas();
        schemas.insert(PROBLEM.to_owned(), problem_schema());
        let mut view = json!({
            "openapi": version,
            "info": self.info(document),
            "security": [{ CREDENTIAL: [] }],
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": { CREDENTIAL: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The recipient's API key or token. A client certificate is accepted instead where the gateway asks for one.",
                } },
            },
        });
        if let Some(view) = view.as_object_mut().filter(|_| !described.is_empty()) {
            view.insert("tags".to_owned(), json!(described));
        }
        Ok(ApiView::Document(view))
    }

    fn info(&self, document: &Value) -> Value {
        let of_api = |name: &str| document.pointer(&format!("/info/{name}")).and_then(Value::as_str);
        let (recipient, purpose) = (&*self.recipient.name, self.purpose);
        json!({
            "title": of_api("title").unwrap_or("API"),
            "version": of_api("version").unwrap_or("0"),
            "description": format!(
                "The API as the recipient `{recipient}` sees it for the purpose `{purpose}`. Fields that never leave are not described; \
                 `x-data-form` says in which form a field leaves at best."
            ),
            "x-data-recipient": recipient,
            "x-data-purpose": purpose,
        })
    }

    /// Finds the route of an operation, and admits a request to it. Returns the path at which the gateway serves the operation.
    ///
    /// # Errors
    /// The refusal, if there is a route.
    fn serve(
        &self,
        document: &Value,
        item: &Value,
        path: &str,
        method: &Method,
    ) -> Result<(String, Served), Option<&'static str>> {
        let prefixes = std::iter::once(String::new()).chain(server_paths(item)).chain(server_paths(document));
        let mut candidates = prefixes.map(|prefix| format!("{prefix}{path}"));
        let routed = |path: String| {
            let matched = self.config.routes.find(&sample_path(&path), method).ok()?;
            Some((path, matched))
        };
        let (path, MatchedRoute { route, .. }) = candidates.find_map(routed).ok_or(None)?;
        let pack = (self.pack)(&route).ok_or(None)?;
        let request = RouteRequest {
            recipient: Arc::clone(&self.facts),
            purpose: self.purpose_id,
            method,
            exporter_region: &self.config.exporter_region,
            legal_reference: LegalReference::None,
        };
        let denied = |denial: Denial| Some(denial.name());
        let request = route.admission_request(pack.vocabulary(), request).map_err(denied)?;
        let classes = route.classes();
        let mut forecast = OperationForecast::new(pack);
        if !forecast.carries_out(&request, classes, route.path_names()).map_err(denied)? {
            return Err(Some(Refusal::SubjectWithheld.code()));
        }
        // The answer is judged as a disclosure, whatever the operation.
        let answer = AdmissionRequest { operation: Operation::Disclose, ..request };
        let decisions = Decisions::new(Arc::clone(pack));
        let admitted = decisions.admit_once(&answer, classes).map_err(denied)?;
        Ok((path, Served { route, admitted }))
    }

    fn operation(
        &self,
        components: &mut Components<'_>,
        item: &Value,
        operation: &Value,
        method: &Method,
        served: &Served,
    ) -> Result<Value, CliError> {
        let kept = ["tags", "summary", "description", "operationId", "deprecated"];
        let kept = kept.iter().filter_map(|name| Some(((*name).to_owned(), operation.get(*name)?.clone())));
        let mut view: Map<String, Value> = kept.collect();
        view.insert("parameters".to_owned(), self.parameters(components, item, operation, served)?);
        let has_body = *method != Method::GET && *method != Method::HEAD;
        if let Some(body) = operation.get("requestBody").filter(|_| has_body) {
            view.insert("requestBody".to_owned(), request_body(components, body)?);
        }
        let mut responses = Map::new();
        let described = operation.get("responses").and_then(Value::as_object);
        for (status, response) in described.into_iter().flatten() {
            let response = components.resolve(response)?;
            if status.starts_with('2') {
                responses.insert(status.clone(), self.response(components, response, served)?);
            }
        }
        if let Some(response) = operation.pointer("/responses/default").filter(|_| responses.is_empty()) {
            let response = components.resolve(response)?;
            responses.insert("200".to_owned(), self.response(components, response, served)?);
        }
        responses.extend(refusals(served.route.query.is_empty()));
        view.insert("responses".to_owned(), Value::Object(responses));
        Ok(Value::Object(view))
    }

    /// Returns the parameters that pass, and the purpose header.
    fn parameters(
        &self,
        components: &mut Components<'_>,
        item: &Value,
        operation: &Value,
        served: &Served,
    ) -> Result<Value, CliError> {
        let lists = [operation.get("parameters"), item.get("parameters")];
        let mut known: Vec<(String, String)> = Vec::new();
        let mut parameters = vec![json!({
            "name": self.config.purpose_header.as_str(),
            "in": "header",
            "required": true,
            "description": format!("The purpose of the request, an RFC 9651 item. This document is for `{}`.", self.purpose),
            "schema": { "type": "string", "maxLength": 256, "default": self.purpose },
        })];
        for parameter in lists.into_iter().flatten().filter_map(Value::as_array).flatten() {
            let parameter = components.resolve(parameter)?;
            let text = |name: &str| parameter.get(name).and_then(Value::as_str).unwrap_or_default();
            let (name, place) = (text("name"), text("in"));
            let key = (name.to_ascii_lowercase(), place.to_owned());
            // The operation's own parameter replaces that of the path.
            if known.contains(&key) {
                continue;
            }
            known.push(key);
            let listed = match place {
                "path" => None,
                "query" => match passing_values(&served.route, &served.admitted, name) {
                    PassingValues::None => continue,
                    PassingValues::Any => None,
                    PassingValues::Listed(values) => Some(values),
                },
                "header" if passes_header(&served.route, name) => None,
                _ => continue,
            };
            let mut copied = components.copy(parameter)?;
            if let (Some(values), Some(copied)) = (listed, copied.as_object_mut()) {
                copied.remove("content");
                copied.insert("schema".to_owned(), json!({ "type": "string", "enum": values }));
            }
            parameters.push(copied);
        }
        Ok(parameters.into())
    }

    /// Returns a success as it leaves.
    fn response(
        &self,
        components: &mut Components<'_>,
        response: &Value,
        served: &Served,
    ) -> Result<Value, CliError> {
        let route = &served.route;
        let mut headers = Map::new();
        headers.insert(
            "Data-Purpose-Applied".to_owned(),
            json!({ "description": "The accepted purpose, with the id of the decision.", "schema": { "type": "string" } }),
        );
        let described = response.get("headers").and_then(Value::as_object);
        for (name, header) in described.into_iter().flatten() {
            if route.answer_headers.iter().any(|known| known.as_str().eq_ignore_ascii_case(name)) {
                let header = components.resolve(header)?;
                headers.insert(name.clone(), components.copy(header)?);
            }
        }
        let description = response.get("description").and_then(Value::as_str).unwrap_or_default();
        let mut view = json!({ "description": description, "headers": headers });
        let mut content = Map::new();
        let described = response.get("content").and_then(Value::as_object);
        for (media_type, body) in described.into_iter().flatten() {
            let schema = body.get("schema").cloned().unwrap_or_else(|| json!({}));
            let schema = match &route.scrubbing {
                None => Some(components.copy(&schema)?),
                Some(scrubbing) if scrubbing.whole_body.is_some() => {
                    let point = (self.facts.kind, self.purpose_id);
                    let view = RouteFieldView::new(scrubbing, &served.admitted, point);
                    // The body leaves as it is, or the request is refused.
                    if view.at(&scrubbing.plan.document_path()).best() != Form::Clear {
                        continue;
                    }
                    Some(components.copy(&schema)?)
                }
                Some(_) if !is_json(media_type) => continue,
                Some(scrubbing) => {
                    let point = (self.facts.kind, self.purpose_id);
                    let view = RouteFieldView::new(scrubbing, &served.admitted, point);
                    SchemaRewriter { components, view: &view, route: &route.name }
                        .rewrite_document(&schema)?
                }
            };
            // Nothing of the document leaves: `null` stands for it.
            let schema = schema.unwrap_or_else(|| json!({ "enum": [null] }));
            content.insert(media_type.clone(), json!({ "schema": schema }));
        }
        if let Some(view) = view.as_object_mut().filter(|_| !content.is_empty()) {
            view.insert("content".to_owned(), Value::Object(content));
        }
        Ok(view)
    }
}

/// The values of a query parameter that pass.
enum PassingValues {
    None,
    Any,
    Listed(Vec<String>),
}

/// Returns the values of a query parameter that the recipient may send: their categories may leave in clear.
fn passing_values(route: &Route, admitted: &Admitted, name: &str) -> PassingValues {
    let passes =
        |categories: &[CategoryId]| categories.iter().all(|category| admitted.best(*category) == Form::Clear);
    match route.query.get(name) {
        Some(QueryParameter::Any(categories)) if passes(categories) => PassingValues::Any,
        Some(QueryParameter::Listed(values)) => {
            let passing = values.iter().filter(|(_, categories)| passes(categories));
            let mut passing: Vec<String> = passing.map(|(value, _)| value.clone()).collect();
            passing.sort_unstable();
            if passing.is_empty() { PassingValues::None } else { PassingValues::Listed(passing) }
        }
        Some(QueryParameter::Any(_)) | None => PassingValues::None,
    }
}

fn passes_header(route: &Route, name: &str) -> bool {
    let listed = route.request_headers.iter().any(|header| header.as_str().eq_ignore_ascii_case(name));
    listed || FORWARDED.iter().any(|header| header.eq_ignore_ascii_case(name))
}

fn request_body(components: &mut Components<'_>, body: &Value) -> Result<Value, CliError> {
    let body = components.resolve(body)?;
    let mut view = Map::new();
    for name in ["description", "required"] {
        view.extend(body.get(name).map(|value| (name.to_owned(), value.clone())));
    }
    let mut content = Map::new();
    for (media_type, body) in body.get("content").and_then(Value::as_object).into_iter().flatten() {
        let schema = components.copy(body.get("schema").unwrap_or(&Value::Bool(true)))?;
        content.insert(media_type.clone(), json!({ "schema": schema }));
    }
    view.insert("content".to_owned(), Value::Object(content));
    Ok(Value::Object(view))
}

/// Returns the paths of the servers of a document or a path item.
fn server_paths(of: &Value) -> Vec<String> {
    let servers = of.get("servers").and_then(Value::as_array).into_iter().flatten();
    let urls = servers.filter_map(|server| server.get("url")?.as_str());
    let path = |url: &str| {
        let after_authority = url
            .split_once("://")
            .map_or(url, |(_, rest)| rest.find('/').map_or("", |at| rest.get(at..).unwrap_or_default()));
        after_authority.trim_end_matches('/').to_owned()
    };
    urls.map(path).filter(|path| path.starts_with('/')).collect()
}

/// Returns a path of the template, to be routed.
pub(super) fn sample_path(template: &str) -> String {
    let mut sample = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((_, after)) = after.split_once('}') else { break };
        sample.push_str(before);
        sample.push_str(PARAMETER);
        rest = after;
    }
    sample.push_str(rest);
    sample
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || essence.ends_with("+json")
        || essence == "*/*"
        || essence == "application/*"
}

/// Returns the refusals of the gateway, by status.
fn refusals(takes_no_query: bool) -> Vec<(String, Value)> {
    const STATUSES: [u16; 8] = [400, 401, 403, 404, 429, 502, 503, 504];
    let query = (!takes_no_query).then_some(422);
    let content = json!({ "application/problem+json": { "schema": { "$ref": format!("#/components/schemas/{PROBLEM}") } } });
    let mut responses: Vec<(String, Value)> = STATUSES
        .into_iter()
        .chain(query)
        .map(|status| {
            let codes = Refusal::ALL.iter().filter(|refusal| refusal.status().as_u16() == status);
            let codes: Vec<String> = codes.map(|refusal| format!("`{}`", refusal.code())).collect();
            (status.to_string(), json!({ "description": codes.join(", "), "content": content }))
        })
        .collect();
    let other = "Every other refusal. The upstream's errors keep their status and not their body; some routes map members of it (`upstream`).";
    responses.push(("default".to_owned(), json!({ "description": other, "content": content })));
    responses
}

fn problem_schema() -> Value {
    json!({
        "type": "object",
        "description": "A problem document (RFC 9457).",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string", "description": "`urn:purposegate:problem:CODE`." },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
            "code": { "type": "string", "description": "A stable code." },
            "decision": { "type": "string", "description": "The id of the decision." },
            "contact": { "type": "string", "description": "Who answers questions." },
            "permitted_purposes": { "type": "array", "items": { "type": "string" } },
            "retry_after": { "type": "integer", "description": "Seconds." },
            "upstream": { "description": "Members of the upstream's error that its route maps: names of fields and short codes." },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_routed_with_a_sample() {
        assert_eq!(sample_path("/a/{id}/b/{name}.json"), "/a/0/b/0.json");
        assert_eq!(sample_path("/a"), "/a");
        assert_eq!(sample_path("/a/{id"), "/a/{id");
    }

    #[test]
    fn the_paths_of_servers_are_prefixes() {
        let document = json!({ "servers": [
            { "url": "https://api.example.org/v1/" }, { "url": "/v2" }, { "url": "https://api.example.org" }, { "url": "https://h/" },
        ] });
        assert_eq!(server_paths(&document), ["/v1", "/v2"]);
    }

    #[test]
    fn json_media_types_are_known() {
        for json in ["application/json", "application/hal+json", "Application/JSON; charset=utf-8", "*/*"] {
            assert!(is_json(json), "{json}");
        }
        assert!(!is_json("text/csv") && !is_json("application/jsonl"));
    }
}
