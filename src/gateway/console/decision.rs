//! One decision: what left in which form, and why.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::Console;
use super::chrome::{Chrome, StateChip, html};
use super::clause_words::ClauseWords;
use super::decisions::outcome_chip;
use super::filters;
use super::json_text::{number, short_time, text, texts};
use super::next_step::next_step;
use super::problem_page::PageProblem;
use super::visitor::Visitor;
use super::withheld_step::withheld_step;
use crate::disclosure::record::ExchangeMode;
use crate::exchange::Versions;
use crate::gateway::admin::act::PendingAct;
use crate::gateway::admin::request::{NoParameters, PathText, QueryOf};

#[derive(Template)]
#[template(path = "decision.html")]
struct DecisionPage {
    chrome: Chrome,
    view: DecisionView,
    shows_routes: bool,
    may_try: bool,
}

/// A decision as the page shows it.
#[derive(Debug)]
struct DecisionView {
    id: String,
    time: String,
    outcome: StateChip,
    /// The next step after a refusal.
    next_step: Option<&'static str>,
    route: String,
    recipient: String,
    purpose: String,
    /// Name and value of further members.
    members: Vec<(&'static str, String)>,
    categories: Vec<CategoryLine>,
    /// True if the exchange was observed: nothing was withheld, and lines say what enforcing would have done.
    is_observed: bool,
    /// The problem code with which enforcing would have refused the exchange.
    would_refuse: String,
    factors: Vec<(String, String)>,
    people: usize,
    withheld_people: usize,
}

/// One category in one form.
#[derive(Debug)]
struct CategoryLine {
    category: String,
    form: String,
    fields: u64,
    basis: String,
    reason: String,
    rules: String,
    clauses: Vec<(String, String)>,
    next_step: &'static str,
    /// The form in which enforcing would have released the fields, and the reason if it would have withheld them.
    would: Option<(String, String)>,
}

impl DecisionView {
    fn of(record: &Value, words: &ClauseWords) -> DecisionView {
        let outcome = text(record, "outcome");
        let members = [
            ("recipient", "recipient"),
            ("accepted purpose", "purpose"),
            ("declared purpose", "declared"),
            ("operation", "operation"),
            ("case", "case"),
            ("actor", "actor"),
            ("policy revision", "policy"),
            ("ledger position", "position"),
            ("mode", "mode"),
            ("gateway", "gateway"),
            ("trace", "trace"),
            ("records", "records"),
            ("records withheld", "withheld_records"),
        ];
        let members = members.map(|(name, member)| (name, text(record, member)));
        let of_member = |member: &str| record.get(member).and_then(Value::as_array).map_or(0, Vec::len);
        let factors = record.get("factors").and_then(Value::as_object).into_iter().flatten();
        DecisionView {
            id: text(record, "decision"),
            time: short_time(&text(record, "time")),
            next_step: outcome.strip_prefix("refused:").map(next_step),
            outcome: outcome_chip(&outcome),
            route: text(record, "route"),
            recipient: text(record, "recipient"),
            purpose: text(record, "purpose"),
            members: members.into_iter().filter(|(_, value)| !value.is_empty()).collect(),
            categories: category_lines(record, words),
            is_observed: text(record, "mode") == ExchangeMode::Observe.name(),
            would_refuse: record.get("would").map(|would| text(would, "refused")).unwrap_or_default(),
            factors: factors
                .map(|(name, verdict)| (name.clone(), verdict.as_str().unwrap_or_default().to_owned()))
                .collect(),
            people: of_member("subjects"),
            withheld_people: of_member("withheld_subjects"),
        }
    }
}

fn category_lines(record: &Value, words: &ClauseWords) -> Vec<CategoryLine> {
    let categories = record.get("categories").and_then(Value::as_object).into_iter().flatten();
    let entries = categories.flat_map(|(name, entries)| {
        entries.as_array().into_iter().flatten().map(move |entry| (name.as_str(), entry))
    });
    let line = |(category, entry): (&str, &Value)| {
        let reason = text(entry, "reason");
        CategoryLine {
            category: category.to_owned(),
            form: text(entry, "form"),
            fields: number(entry, "fields"),
            basis: text(entry, "basis"),
            next_step: if reason.is_empty() { "" } else { withheld_step(&reason) },
            reason,
            rules: texts(entry, "rules").join(", "),
            clauses: words.of(&texts(entry, "clauses")),
            would: entry.get("would").map(|would| (text(would, "form"), text(would, "reason"))),
        }
    };
    entries.map(line).collect()
}

/// Shows a decision.
pub(super) async fn decision(
    State(console): State<Console>,
    visitor: Visitor,
    act: PendingAct,
    PathText(id): PathText,
    _: QueryOf<NoParameters>,
) -> Result<Response, PageProblem> {
    let record = console.admin.read_decision(&act, id, None).await?;
    let snapshot = console.admin.shared.snapshot();
    let versions = snapshot.packs.iter().flat_map(Versions::iter).map(|version| version.pack());
    let words = ClauseWords::of_packs(versions.filter(|_| visitor.may("GET", "/v1/policies")));
    let page = DecisionPage {
        chrome: console.chrome(&visitor, "Decision", "/console/decisions"),
        view: DecisionView::of(&record, &words),
        shows_routes: visitor.may_see("/console/routes"),
        may_try: visitor.may_see("/console/try"),
    };
    Ok(html(&page))
}
