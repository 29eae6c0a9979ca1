//! Pages about the recipient itself: its purposes, the fields that it would receive, and its own decisions.
//!
//! The pages contain no personal data and disclose nothing about another recipient. The recipient's registration
//! determines the detail in which they report withheld fields.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::cache::PageKey;
use super::notices::FeedRequest;
use crate::decision::{AdmissionRequest, Decisions, LegalReference, OperationForecast, RecipientFacts};
use crate::disclosure::receipt::ReceiptState;
use crate::disclosure::record::ExchangeMode;
use crate::disclosure::{FoundDecision, SearchEffort};
use crate::exchange::observe;
use crate::exchange::route::{MappedField, Recipient, Route, RouteRequest, Scrubbing, WithheldReport};
use crate::exchange::{Holder, Refusal, Requester, SharedState, Snapshot};
use crate::log_limit::LogLimit;
use crate::vocabulary::{CategoryId, Form, PurposeId, Vocabulary};

pub(super) const PURPOSES: &str = "/.well-known/data-purposes";
pub(super) const DECISIONS: &str = "/.well-known/data-purposes/decisions/";
const RECEIPT: &str = "/receipt";

/// The effort of a look-up: about a second for entries without an index.
const LOOKUP_EFFORT: SearchEffort = SearchEffort::Bounded(1 << 20);

/// One of the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    /// The recipient's purposes.
    Purposes,
    /// One of its decisions, by id.
    Decision(String),
    /// The proof that one of its decisions is on record.
    Receipt(String),
    /// Its feed of notices.
    Notices(FeedRequest),
}

impl Page {
    /// Returns the page at a path.
    pub(crate) fn at(path: &str, query: Option<&str>) -> Option<Page> {
        if path == PURPOSES {
            return Some(Page::Purposes);
        }
        if let Some(request) = FeedRequest::at(path, query) {
            return Some(Page::Notices(request));
        }
        let decision = path.strip_prefix(DECISIONS)?;
        let (id, is_receipt) = match decision.strip_suffix(RECEIPT) {
            Some(id) => (id, true),
            None => (decision, false),
        };
        let id = Some(id).filter(|id| !id.is_empty() && !id.contains('/'))?.to_owned();
        Some(if is_receipt { Page::Receipt(id) } else { Page::Decision(id) })
    }
}

/// Returns the page of [`purposes`], made once for each recipient and locked purpose.
pub(crate) fn purposes_page(
    snapshot: &Snapshot,
    recipient: &Recipient,
    facts: &Arc<RecipientFacts>,
    locked: Option<PurposeId>,
    now: Timestamp,
) -> Bytes {
    let in_force = |pack: usize| snapshot.packs.get(pack).and_then(|versions| versions.in_force(now));
    let revision = |pack| in_force(pack).map(|version| Arc::clone(version.pack().revision()));
    let key = PageKey {
        recipient: Arc::clone(&recipient.name),
        locked,
        in_agreement: facts.agreement,
        packs: (0..snapshot.packs.len()).map(revision).collect(),
        observed_routes: snapshot.routes.iter().filter(|route| route.observes(now)).count(),
    };
    let decisions = |route: &Route| in_force(route.pack).cloned();
    snapshot
        .purpose_pages
        .get(key, || Bytes::from(purposes(snapshot, recipient, facts, locked, decisions, now).to_string()))
}

/// Returns the recipient's purposes and, by route and purpose, the fields that it would receive, each in the most
/// revealing form: the state of a person can only reduce it, and so can the case that a purpose needs. A locked
/// credential receives its one purpose only. A route that is observed for the recipient says so.
fn purposes(
    snapshot: &Snapshot,
    recipient: &Recipient,
    facts: &Arc<RecipientFacts>,
    locked: Option<PurposeId>,
    decisions: impl Fn(&Route) -> Option<Arc<Decisions>>,
    now: Timestamp,
) -> Value {
    let mut routes = Vec::new();
    let mut served: Vec<PurposeId> = Vec::new();
    for route in snapshot.routes.iter() {
        let Some(decisions) = decisions(route) else { continue };
        let usable = UsablePurposes { snapshot, facts, locked, route, decisions: &decisions };
        let (purposes, methods) = usable.entries(&mut served);
        let is_observed = observe::mode(route, recipient, &decisions, now) == ExchangeMode::Observe;
        if purposes.is_empty() && !is_observed {
            continue;
        }
        let is_listed = |method: &&Method| is_observed || methods.contains(method);
        let methods: Vec<&str> = route.methods.iter().filter(is_listed).map(Method::as_str).collect();
        let mut entry = json!({
            "route": &*route.name, "path": route.pattern, "methods": methods, "purposes": purposes,
        });
        if let Some(entry) = entry.as_object_mut().filter(|_| is_observed) {
            // Everything leaves, whatever is listed: the fields are those of enforcing.
            entry.insert("mode".to_owned(), ExchangeMode::Observe.name().into());
            let until = route.observe_until.map(|day| day.to_string());
            entry.insert("observe_until".to_owned(), json!(until));
        }
        routes.push(entry);
    }
    let words = snapshot.words();
    let tree = words.purposes();
    let leads_somewhere =
        |registered: &PurposeId| served.iter().any(|purpose| tree.within(*purpose, *registered));
    let registered = recipient.usable_purposes(locked, &words);
    let registered: Vec<&str> = registered
        .iter()
        .filter(|purpose| leads_somewhere(purpose))
        .map(|purpose| tree.name(*purpose))
        .collect();
    json!({ "recipient": &*recipient.name, "purposes": registered, "routes": routes })
}

/// The purposes for which a recipient can use a route.
struct UsablePurposes<'p> {
    snapshot: &'p Snapshot,
    facts: &'p Arc<RecipientFacts>,
    locked: Option<PurposeId>,
    route: &'p Route,
    decisions: &'p Arc<Decisions>,
}

impl<'p> UsablePurposes<'p> {
    /// Returns an entry for each purpose, and the methods of all of them. Adds the purposes to `served`.
    fn entries(&self, served: &mut Vec<PurposeId>) -> (Vec<Value>, Vec<&'p Method>) {
        let UsablePurposes { snapshot, facts, locked, route, decisions } = *self;
        let words = decisions.pack().vocabulary();
        let tree = words.purposes();
        let mut foresight = OperationForecast::new(decisions.pack());
        let (mut purposes, mut methods) = (Vec::new(), Vec::new());
        for purpose in tree.preorder() {
            if locked.is_some_and(|locked| locked != purpose) {
                continue;
            }
            let asking = |method: &Method| request_at_best(snapshot, facts, route, words, (purpose, method));
            // Methods that would be refused are not listed.
            let mut works = |method: &&Method| {
                asking(method).is_some_and(|asked| can_be_done(&mut foresight, &asked, route))
            };
            let working: Vec<&Method> = route.methods.iter().filter(&mut works).collect();
            let Some(asked) = working.first().and_then(|first| asking(first)) else { continue };
            let Ok(best) = decisions.best_forms(&asked) else { continue };
            let fields = fields_of(route, words, best);
            let names: Vec<&str> = working.iter().map(|method| method.as_str()).collect();
            let mut entry = json!({ "purpose": tree.name(purpose), "methods": names });
            match (fields, entry.as_object_mut()) {
                (Some(fields), Some(entry)) => entry.insert("fields".to_owned(), fields),
                (None, Some(entry)) => entry.insert("personal".to_owned(), json!(false)),
                (_, None) => None,
            };
            if asked.legal_reference != LegalReference::None
                && let Some(entry) = entry.as_object_mut()
            {
                entry.insert("case".to_owned(), json!("required"));
            }
            methods.extend(working);
            served.push(purpose);
            purposes.push(entry);
        }
        (purposes, methods)
    }
}

/// Returns the request about which a page asks; `None` if the route does not serve the purpose. Where the recipient needs a case,
/// the request cites one that covers everything.
pub(super) fn request_at_best(
    snapshot: &Snapshot,
    facts: &Arc<RecipientFacts>,
    route: &Route,
    words: &Vocabulary,
    (purpose, method): (PurposeId, &Method),
) -> Option<AdmissionRequest> {
    let request = RouteRequest {
        recipient: Arc::clone(facts),
        purpose,
        method,
        exporter_region: &snapshot.exporter_region,
        legal_reference: LegalReference::widest(words, facts.kind, purpose),
    };
    route.admission_request(words, request).ok()
}

/// True if the operation may be permitted for some data subject.
fn can_be_done(foresight: &mut OperationForecast<'_>, asking: &AdmissionRequest, route: &Route) -> bool {
    foresight.carries_out(asking, route.classes(), route.path_names()) == Ok(true)
}

/// Returns the fields of a route that can leave, each in its most revealing form; `None` if its responses pass unread.
fn fields_of(route: &Route, words: &Vocabulary, best: impl Fn(CategoryId) -> Form) -> Option<Value> {
    let lacks_subject = |field: &&MappedField| {
        field.without_subject && field.categories.iter().any(|category| words.has_owner(*category))
    };
    let scrubbing = route.scrubbing.as_ref()?;
    let fields = scrubbing.fields.iter().filter(|field| !lacks_subject(field)).filter_map(|field| {
        let forms = field.categories.iter().map(|category| best(*category));
        let form = scrubbing.form_left(forms.max()?);
        (form != Form::Removed).then(|| json!({ "path": field.path, "form": form }))
    });
    Some(fields.collect())
}

/// Returns one of the caller's own decisions, in the detail that the recipient's registration permits.
///
/// # Errors
/// [`Refusal::NotFound`] for a decision that does not exist or is not the caller's; [`Refusal::Overloaded`] if too
/// many are looked up at a time; [`Refusal::AuditUnavailable`] if the log cannot be read.
pub(crate) async fn decision_page(
    shared: &SharedState,
    snapshot: &Snapshot,
    requester: &Requester,
    id: String,
) -> Result<Value, Refusal> {
    let recipient = &requester.recipient;
    let _permit = shared.lookups.acquire(&recipient.name).map_err(|_| Refusal::Overloaded)?;
    let record = own_decision(shared, requester, id).await?.ok_or(Refusal::NotFound)?;
    let route = record.get("route").and_then(Value::as_str);
    let route = route.and_then(|name| snapshot.routes.iter().find(|route| *route.name == *name));
    Ok(decision_json(&record, recipient.report, route, &snapshot.words()))
}

/// Returns the record of one of the caller's own decisions; `None` if no log has the decision.
async fn own_decision(
    shared: &SharedState,
    requester: &Requester,
    id: String,
) -> Result<Option<Value>, Refusal> {
    let found = shared.logged_decision(id, LOOKUP_EFFORT).await.map_err(|error| log_unreadable(&error))?;
    let Some(FoundDecision { record, holder }) = found else { return Ok(None) };
    let recipient = record.get("recipient").and_then(Value::as_str).unwrap_or_default();
    // The log of a gateway with other keys names people differently, so its decisions are not found to be theirs.
    let pseudonyms = shared.log.source().pseudonyms();
    let is_holders = |caller: Holder<'_>| {
        holder.is_some_and(|holder| holder.is(&caller.logged(&shared.ledger), pseudonyms))
    };
    if requester.is_own(recipient, is_holders) { Ok(Some(record)) } else { Err(Refusal::NotFound) }
}

fn log_unreadable(error: &(dyn std::error::Error + 'static)) -> Refusal {
    static UNREADABLE: LogLimit = LogLimit::new();
    if let Some(count) = UNREADABLE.admit() {
        tracing::warn!(count, error, "a disclosure log cannot be read: a decision was not found");
    }
    Refusal::AuditUnavailable
}

/// Returns the proof that one of the caller's own decisions is on record.
///
/// # Errors
/// As [`decision_page`]; [`Refusal::ReceiptPending`] before the next checkpoint; [`Refusal::DecisionPruned`] if the log no
/// longer holds the day of the decision, whoever's it was.
pub(crate) async fn receipt_page(
    shared: &SharedState,
    requester: &Requester,
    id: String,
) -> Result<Bytes, Refusal> {
    let _permit = shared.lookups.acquire(&requester.recipient.name).map_err(|_| Refusal::Overloaded)?;
    let decision = Ulid::from_string(&id).map_err(|_| Refusal::NotFound)?;
    if own_decision(shared, requester, id).await?.is_none() {
        // Nothing is sought for an id that may be invented.
        let is_pruned = shared.is_pruned(decision).await.map_err(|error| log_unreadable(&error))?;
        return Err(if is_pruned { Refusal::DecisionPruned } else { Refusal::NotFound });
    }
    match shared.receipt(decision, LOOKUP_EFFORT).await.map_err(|error| log_unreadable(&error))? {
        ReceiptState::Proven(receipt) => {
            serde_json::to_vec(&receipt).map(Bytes::from).map_err(|_| Refusal::AuditUnavailable)
        }
        ReceiptState::Pending => Err(Refusal::ReceiptPending),
        ReceiptState::Pruned => Err(Refusal::DecisionPruned),
        ReceiptState::Unknown => Err(Refusal::NotFound),
    }
}

fn decision_json(
    record: &Value,
    report: WithheldReport,
    route: Option<&Arc<Route>>,
    words: &Vocabulary,
) -> Value {
    let members: &[&str] = match report {
        WithheldReport::None => &["decision", "time", "purpose", "case", "route", "operation", "outcome"],
        WithheldReport::Counts | WithheldReport::Paths => &[
            "decision",
            "time",
            "purpose",
            "case",
            "route",
            "operation",
            "outcome",
            "records",
            "withheld_records",
        ],
    };
    let member = |name: &&str| Some(((*name).to_owned(), record.get(*name)?.clone()));
    let mut page: Map<String, Value> = members.iter().filter_map(member).collect();
    if report == WithheldReport::None {
        return Value::Object(page);
    }
    let mut forms = Map::new();
    let none = Map::new();
    let categories = record.get("categories").and_then(Value::as_object).unwrap_or(&none);
    let is_removed = |entry: &Value| entry.get("form") == Some(&json!(Form::Removed));
    for (category, entries) in categories {
        // Fields are counted by form alone, because counts by reason would disclose something about the people.
        let mut counted: Vec<(&Value, u64)> = Vec::new();
        for entry in entries.as_array().into_iter().flatten() {
            let form = entry.get("form").unwrap_or(&Value::Null);
            let fields = entry.get("fields").and_then(Value::as_u64).unwrap_or(0);
            match counted.iter_mut().find(|(known, _)| *known == form) {
                Some((_, known)) => *known += fields,
                None => counted.push((form, fields)),
            }
        }
        if !counted.is_empty() {
            let counted = counted.into_iter().map(|(form, fields)| json!({ "form": form, "fields": fields }));
            forms.insert(category.clone(), counted.collect());
        }
    }
    page.insert("categories".to_owned(), Value::Object(forms));
    if report == WithheldReport::Paths {
        let removed =
            categories.iter().filter(|(_, entries)| entries.as_array().into_iter().flatten().any(is_removed));
        let removed: Vec<CategoryId> =
            removed.filter_map(|(name, _)| words.categories().find(name)).collect();
        let withheld = route.and_then(|route| route.scrubbing.as_ref()).into_iter().flat_map(|of| &of.fields);
        let withheld =
            withheld.filter(|field| field.categories.iter().any(|category| removed.contains(category)));
        page.insert("withheld_paths".to_owned(), withheld.map(|field| json!(field.path)).collect());
    }
    Value::Object(page)
}

/// Counts of withheld records and fields of one response, for [`WithheldReport`].
#[derive(Debug, Default)]
pub(crate) struct WithheldCounts {
    records: u64,
    fields: u64,
    classes: std::collections::BTreeSet<usize>,
}

impl WithheldCounts {
    pub(crate) fn add_records(&mut self, records: u64) {
        self.records += records;
    }

    pub(crate) fn add_fields(&mut self, class: usize, fields: u64) {
        if fields > 0 {
            self.fields += fields;
            self.classes.insert(class);
        }
    }

    /// Returns the trailer's value, an RFC 9651 dictionary: `records=2, fields=17, paths=("$.items[*].name")`.
    pub(crate) fn value(&self, report: WithheldReport, scrubbing: Option<&Scrubbing>) -> Option<String> {
        let counts = format!("records={}, fields={}", self.records, self.fields);
        match report {
            WithheldReport::None => None,
            WithheldReport::Counts => Some(counts),
            WithheldReport::Paths => {
                let fields = scrubbing.into_iter().flat_map(|scrubbing| &scrubbing.fields);
                let of_field = |field: &&MappedField| {
                    let sets = self.classes.iter().filter_map(|class| scrubbing?.classes.sets().get(*class));
                    sets.into_iter().any(|set| field.categories.iter().all(|category| set.contains(category)))
                };
                let withheld = fields.filter(of_field);
                let paths: Vec<String> = withheld.filter_map(|field| quoted(&field.path)).collect();
                Some(format!("{counts}, paths=({})", paths.join(" ")))
            }
        }
    }
}

/// Returns a String of RFC 9651; `None` for a text that it cannot hold.
fn quoted(text: &str) -> Option<String> {
    let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    printable.then(|| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}
