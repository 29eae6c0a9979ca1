//! The structure of the dashboards in `deploy/grafana`: ids, places, variables, units, metrics, links. Grafana itself does not
//! run here; `dashboard_expressions` evaluates what the panels ask.

use std::collections::BTreeSet;

use purposegate::metrics::Metrics;
use serde_json::{Value, json};

use crate::book;
use crate::documents::{self, read};

/// Each dashboard with its uid, by which others link to it.
pub(crate) const DASHBOARDS: [(&str, &str); 2] =
    [("operators", "purposegate-operators"), ("privacy", "purposegate-privacy")];

/// A panel of which an expression returns nothing in the tests says after these words what it needs.
pub(crate) const NEEDS: &str = "Needs: ";

/// Units of Grafana that the panels use.
const UNITS: [&str; 7] = ["Bps", "bytes", "cps", "none", "percentunit", "reqps", "s"];

/// The units that suit what an expression returns.
fn units_of(expression: &str) -> &'static [&'static str] {
    let has = |text: &str| expression.contains(text);
    if has(" / ") {
        // A mean is the quotient of two rates of one histogram.
        return if has("_seconds_sum{") { &["s"] } else { &["percentunit", "none"] };
    }
    let is_rate = has("rate(");
    match expression {
        _ if has("histogram_quantile(") => &["s"],
        _ if has("count by (") || has("increase(") => &["none"],
        _ if is_rate && has("_bytes_total{") => &["Bps"],
        // Seconds of a processor in a second.
        _ if is_rate && has("process_cpu_seconds_total{") => &["none"],
        _ if is_rate => &["reqps", "cps"],
        _ if has("_bytes{") => &["bytes"],
        _ if has("_seconds{") => &["s"],
        _ => &["none"],
    }
}

/// Variables that filter by a label of the same name.
const FILTERS: [&str; 4] = ["instance", "route", "recipient", "purpose"];

/// Metrics of the gateway that no dashboard shows. Each needs a reason here.
const NOT_SHOWN: [&str; 0] = [];

pub(crate) fn dashboard(name: &str) -> Value {
    serde_json::from_str(&read(&format!("deploy/grafana/{name}.json"))).unwrap()
}

/// The panels of a dashboard, rows included.
fn panels(dashboard: &Value) -> &[Value] {
    dashboard["panels"].as_array().unwrap()
}

/// The panels that show something.
pub(crate) fn charts(dashboard: &Value) -> impl Iterator<Item = &Value> {
    panels(dashboard).iter().filter(|panel| panel["type"] != "row")
}

/// The expressions of a panel, each with the pattern of its legend.
pub(crate) fn targets(panel: &Value) -> impl Iterator<Item = (&str, &str)> {
    panel["targets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|target| (target["expr"].as_str().unwrap(), target["legendFormat"].as_str().unwrap_or_default()))
}

pub(crate) fn title(panel: &Value) -> &str {
    panel["title"].as_str().unwrap()
}

/// Each metric that an expression names, with the text of its selector. Panics at one without a selector.
fn selectors(expression: &str) -> Vec<(&str, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_metric = |word: &str| {
        ["up", "ALERTS"].contains(&word) || word.starts_with("purposegate_") || word.starts_with("process_")
    };
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(start) = expression[at..].find(is_name).map(|start| at + start) {
        let length = expression[start..].find(|c| !is_name(c)).unwrap_or(expression.len() - start);
        at = start + length;
        let word = &expression[start..at];
        if is_metric(word) {
            let selector = expression[at..].strip_prefix('{').and_then(|rest| rest.split_once('}'));
            let (selector, _) = selector.unwrap_or_else(|| panic!("{word} has no selector: {expression}"));
            at += selector.len();
            found.push((word, selector));
        }
    }
    found
}

/// The labels of a metric, and of the target that Prometheus scrapes. `None` if there is no such metric.
pub(crate) fn labels_of(name: &str) -> Option<BTreeSet<&'static str>> {
    let of_target = ["instance", "job"];
    let no_more: &[&str] = &[];
    let own = match name {
        "up" => Some(no_more),
        "ALERTS" => Some(&["alertname", "alertstate", "severity", "recipient"][..]),
        _ if documents::PROCESS_METRICS.contains(&name) => Some(no_more),
        _ => {
            let declared = |name: &str| {
                Metrics::DECLARED.iter().find(|(declared, kind, _)| name == *declared && *kind != "histogram")
            };
            let of_histogram = || {
                let (name, suffix) = name.rsplit_once('_')?;
                let histogram = Metrics::DECLARED
                    .iter()
                    .find(|(declared, kind, _)| name == *declared && *kind == "histogram")?;
                ["bucket", "sum", "count"].contains(&suffix).then_some(histogram)
            };
            declared(name).or_else(of_histogram).map(|(.., labels)| *labels)
        }
    }?;
    Some(own.iter().copied().chain(of_target).collect())
}

#[test]
fn ids_uids_and_titles_of_the_dashboards_stay() {
    let mut lines = Vec::new();
    for (name, uid) in DASHBOARDS {
        let dashboard = dashboard(name);
        assert_eq!(dashboard["uid"], uid);
        assert!(
            dashboard.get("id").is_none_or(Value::is_null),
            "an id is given by the Grafana that imports it"
        );
        lines.push(format!("{uid}: {}", title(&dashboard)));
        let mut ids = BTreeSet::new();
        for panel in panels(&dashboard) {
            let id = panel["id"].as_u64().unwrap();
            assert!(id > 0 && ids.insert(id), "{name}: {id} is the id of two panels");
            lines.push(format!("{id:4} {}", title(panel)));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn panels_do_not_overlap() {
    for (name, _) in DASHBOARDS {
        let dashboard = dashboard(name);
        let place = |panel: &Value| {
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(w > 0 && h > 0 && x + w <= 24, "{name}: {}", title(panel));
            (x..x + w, y..y + h)
        };
        for (at, panel) in panels(&dashboard).iter().enumerate() {
            let (x, y) = place(panel);
            for other in &panels(&dashboard)[at + 1..] {
                let (other_x, other_y) = place(other);
                let apart = x.end <= other_x.start
                    || other_x.end <= x.start
                    || y.end <= other_y.start
                    || other_y.end <= y.start;
                assert!(apart, "{name}: `{}` and `{}`", title(panel), title(other));
            }
        }
    }
}

/// Calls `found` with each object that has this member, at every depth.
fn each_member<'v>(value: &'v Value, key: &str, found: &mut dyn FnMut(&'v Value)) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found(member);
                }
                each_member(member, key, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| each_member(item, key, found)),
        _ => {}
    }
}

#[test]
fn every_query_goes_to_the_data_source_of_the_variable() {
    let chosen = json!({ "type": "prometheus", "uid": "${datasource}" });
    for (name, uid) in DASHBOARDS {
        let dashboard = dashboard(name);
        each_member(&dashboard, "datasource", &mut |source| assert_eq!(source, &chosen, "{name}"));
        each_member(&dashboard, "uid", &mut |found| {
            assert!(*found == uid || *found == "${datasource}", "{name}: {found}");
        });
        for panel in charts(&dashboard) {
            assert_eq!(panel["datasource"], chosen, "{name}: {}", title(panel));
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty() && targets.iter().all(|target| target["datasource"] == chosen));
            let references: BTreeSet<&str> =
                targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
            assert_eq!(references.len(), targets.len(), "{name}: {}", title(panel));
        }
        let variables = dashboard["templating"]["list"].as_array().unwrap();
        let of_type = |kind: &str| {
            let found = variables.iter().filter(|variable| variable["type"] == kind);
            found.map(|variable| variable["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            (of_type("datasource"), of_type("query")),
            (vec!["datasource".to_owned()], FILTERS.map(str::to_owned).to_vec())
        );
        for variable in variables.iter().filter(|variable| variable["type"] == "query") {
            assert_eq!(variable["datasource"], chosen);
            // `.*` also matches a label that is empty or missing, a list of all values does not.
            assert_eq!(
                (&variable["includeAll"], &variable["multi"], &variable["allValue"]),
                (&json!(true), &json!(true), &json!(".*"))
            );
        }
    }
}

#[test]
fn panels_have_known_units_and_say_what_to_do() {
    let anchors = book::anchors(&read("docs/alerts.md"));
    let mut linked = BTreeSet::new();
    for (name, _) in DASHBOARDS {
        let dashboard = dashboard(name);
        let mut used = BTreeSet::new();
        for panel in charts(&dashboard) {
            let place = format!("{name}: {}", title(panel));
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap();
            assert!(UNITS.contains(&unit), "{place}: {unit}");
            for (expression, _) in targets(panel) {
                let suitable = units_of(expression);
                assert!(suitable.contains(&unit), "{place}: {unit}, not {suitable:?}: {expression}");
            }
            used.insert(unit.to_owned());
            let kind = panel["type"].as_str().unwrap();
            assert!(["timeseries", "stat", "table"].contains(&kind), "{place}: {kind}");
            let description = panel["description"].as_str().unwrap();
            assert!(description.len() > 60 && description.ends_with('.'), "{place}: {description}");
            assert!(description.matches(NEEDS).count() <= 1, "{place}");
            let texts = [description, title(panel)].join(" ");
            assert!(!texts.contains('$'), "{place}: Grafana replaces variables in texts");
            for link in panel["links"].as_array().into_iter().flatten() {
                let anchor = link["url"].as_str().unwrap().strip_prefix("${docs:raw}/alerts.md#");
                let anchor = anchor.unwrap_or_else(|| panic!("{place}: {link}"));
                assert!(anchors.contains(anchor), "{place}: docs/alerts.md has no {anchor}");
                linked.insert(anchor.to_owned());
            }
        }
        assert!(used.len() >= 3, "{name}: {used:?}");
    }
    for (alert, _) in documents::alerts() {
        let shown = linked.contains(&alert.to_lowercase());
        assert!(shown, "no panel links to {alert}");
    }
}

#[test]
fn the_dashboards_show_every_metric_and_name_no_other() {
    let mut shown = BTreeSet::new();
    for (name, _) in DASHBOARDS {
        let dashboard = dashboard(name);
        for panel in charts(&dashboard) {
            let place = format!("{name}: {}", title(panel));
            for (expression, _) in targets(panel) {
                for (metric, selector) in selectors(expression) {
                    let labels =
                        labels_of(metric).unwrap_or_else(|| panic!("{place}: there is no metric {metric}"));
                    shown.insert(metric.to_owned());
                    let used = selector.split(", ").map(|matcher| matcher.split(['=', '!']).next().unwrap());
                    for label in used {
                        assert!(labels.contains(label), "{place}: {metric} has no label {label}");
                    }
                    for filter in
                        FILTERS.iter().filter(|filter| labels.contains(**filter) && metric != "ALERTS")
                    {
                        let matcher = format!("{filter}=~\"${filter}\"");
                        assert!(selector.contains(&matcher), "{place}: {metric} is not filtered by {filter}");
                    }
                }
            }
        }
    }
    for (metric, ..) in Metrics::DECLARED {
        let is_shown = shown.iter().any(|name| {
            name.strip_prefix(metric).is_some_and(|rest| ["", "_bucket", "_sum", "_count"].contains(&rest))
        });
        assert_eq!(is_shown, !NOT_SHOWN.contains(metric), "{metric}");
    }
    for metric in documents::PROCESS_METRICS {
        assert!(shown.contains(metric), "{metric}");
    }
}
