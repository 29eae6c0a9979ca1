//! Proposes a mapping for what the running gateway saw in the answers of a route and nothing classifies.

use http::Method;
use serde::Deserialize;

use super::DiscoverArgs;
use super::samples::{configured_route, known_records};
use crate::cli::admin_client::{AdminClient, percent_encoded};
use crate::cli::error::{CliError, print_message};
use crate::discover::{
    JsonType, KnownRecords, ObservedPath, Proposal, propose_for_route, without_conditions,
};

/// The unclassified paths of a route, as the admin API lists them.
#[derive(Debug, Deserialize)]
struct Traffic {
    records: u64,
    paths: Vec<TrafficPath>,
    others: u64,
}

#[derive(Debug, Deserialize)]
struct TrafficPath {
    record: Option<String>,
    path: String,
    types: Vec<String>,
    count: u64,
}

/// A route, as the admin API lists it.
#[derive(Debug, Deserialize)]
struct ListedRoute {
    name: String,
    path: String,
    methods: Vec<String>,
    personal: bool,
}

/// Asks the gateway, and proposes a mapping for the named route, or for each route on which something is unclassified.
///
/// # Errors
/// [`CliError`] if the gateway does not answer or has no such route, or if the configuration does not load.
pub(super) fn propose(arguments: &DiscoverArgs) -> Result<Proposal, CliError> {
    let server = arguments.admin.remote();
    let server = server.ok_or_else(|| CliError::Unusable("--traffic needs --admin".to_owned()))?;
    let client = server.client()?;
    let listed = listed_routes(&client)?;
    if let Some(name) = arguments.route.as_deref() {
        return propose_for(arguments, &client, &listed, name);
    }
    let mut routes = Vec::new();
    for route in listed.iter().filter(|route| route.personal) {
        routes.extend(propose_for(arguments, &client, &listed, &route.name)?.routes);
    }
    Ok(Proposal { routes })
}

fn propose_for(
    arguments: &DiscoverArgs,
    client: &AdminClient,
    listed: &[ListedRoute],
    name: &str,
) -> Result<Proposal, CliError> {
    let resource = format!("/v1/routes/{}/unclassified", percent_encoded(name));
    let none = || CliError::Refused(format!("the gateway has no route `{name}`"));
    let body = client.get(&resource)?.ok_or_else(none)?;
    let traffic: Traffic = client.read_json(&body)?;
    if traffic.paths.is_empty() {
        print_message(&format!(
            "purposegate: the gateway saw nothing unclassified on the route `{name}` ({} records)",
            traffic.records
        ));
        if arguments.route.is_none() {
            return Ok(Proposal { routes: Vec::new() });
        }
    }
    let known = match &arguments.config {
        Some(_) => {
            let route = configured_route(arguments, name)?;
            known_records(&route)
        }
        None => records_of(listed, name, &traffic),
    };
    if traffic.others > 0 {
        print_message(&format!(
            "purposegate: {} values of the route `{name}` are at further paths: classify these first",
            traffic.others
        ));
    }
    let observed: Vec<ObservedPath> = traffic.paths.iter().map(TrafficPath::observed).collect();
    Ok(propose_for_route(&observed, &known))
}

fn listed_routes(client: &AdminClient) -> Result<Vec<ListedRoute>, CliError> {
    let body = client.get("/v1/routes")?.unwrap_or_default();
    client.read_json(&body)
}

/// Returns what the gateway tells about a route. It does not tell the data subjects.
fn records_of(listed: &[ListedRoute], name: &str, traffic: &Traffic) -> KnownRecords {
    let route = listed.iter().find(|route| route.name == name);
    let (path, methods) = route.map_or_else(
        || (String::new(), vec![Method::GET.to_string()]),
        |route| (route.path.clone(), route.methods.clone()),
    );
    let mut records: Vec<(String, Option<String>)> = Vec::new();
    for record in traffic.paths.iter().filter_map(|path| path.record.as_ref()) {
        if !records.iter().any(|(known, _)| known == record) {
            records.push((record.clone(), None));
        }
    }
    KnownRecords { path, methods, records }
}

impl TrafficPath {
    /// Returns the path from the document's root.
    fn observed(&self) -> ObservedPath {
        let path = match (&self.record, self.path.strip_prefix('@')) {
            (Some(record), Some(rest)) => format!("{}{rest}", without_conditions(record)),
            _ => self.path.clone(),
        };
        let types = self.types.iter().filter_map(|name| JsonType::from_name(name)).collect();
        ObservedPath { path, types, count: self.count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_within_a_record_begins_at_the_document() {
        let path = |record: Option<&str>, path: &str| TrafficPath {
            record: record.map(str::to_owned),
            path: path.to_owned(),
            types: vec!["string".to_owned(), "null".to_owned()],
            count: 3,
        };
        let observed = path(Some("$.items[?@.a]"), "@.tel").observed();
        assert_eq!((observed.path.as_str(), observed.count), ("$.items[*].tel", 3));
        assert!(observed.types.contains(JsonType::String) && observed.types.contains(JsonType::Null));
        assert_eq!(path(None, "$.next").observed().path, "$.next");
    }
}
