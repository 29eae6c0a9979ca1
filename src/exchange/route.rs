//! Routes and recipients, compiled at load and immutable.
//!
//! Neither holds credentials or a policy: a route refers to a pack, and a credential refers to a recipient.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use ulid::Ulid;

use super::caller::HolderKind;
use super::cancellation::CancellationLimit;
use super::error_mapping::ErrorMapping;
use super::{Refusal, path};
pub use crate::decision::UnknownSubject;
use crate::decision::{
    AdmissionRequest, ClassId, Classes, Denial, LegalReference, PathNames, RecipientFacts,
};
use crate::exchange::cors::Cors;
use crate::exchange::media_type::MediaTypes;
use crate::exchange::unclassified::UnclassifiedPaths;
use crate::exchange::upstream_fault::UpstreamFault;
use crate::log_limit::LogLimit;
use crate::scrub::{Limits, Plan, RecordMapping};
use crate::traces::TraceId;
use crate::vocabulary::{CategoryId, Form, Operation, PurposeId, Vocabulary};

/// The treatment of a response with withheld fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnWithheld {
    /// The rest leaves.
    Strip,
    /// Nothing leaves.
    Deny {
        /// Maximum bytes of a body, which is held until its end.
        max_body: usize,
    },
}

/// The mapping of a route: the plan for scrubbing its responses, and the people that its path names.
#[derive(Debug)]
pub struct Scrubbing {
    /// The compiled plan of the scrubber.
    pub plan: Arc<Plan>,
    /// The class of a body that is one field, and is not read; `None`: bodies are JSON.
    pub whole_body: Option<ClassId>,
    /// The classes of the plan, as the policy decides on them.
    pub classes: Classes,
    /// For each class of fields: true if one of its categories is personal, or if nothing classifies it and it leaves.
    pub personal: Vec<bool>,
    /// The treatment of subjects that the ledger does not know.
    pub unknown_subject: UnknownSubject,
    /// The treatment of a response with withheld fields.
    pub on_withheld: OnWithheld,
    /// The bounds of the scrubber.
    pub limits: Limits,
    /// The mapped fields, as the pages for recipients list them.
    pub fields: Vec<MappedField>,
    /// The mapping as the configuration has it.
    pub records: Vec<RecordMapping>,
}

/// One mapped path and its categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedField {
    /// The path from the root of the document.
    pub path: String,
    /// The categories of the field.
    pub categories: Vec<CategoryId>,
    /// True for a field of a record without a subject, or outside of every record: nothing personal of it leaves.
    pub without_subject: bool,
}

impl Scrubbing {
    /// True if a response with a withheld field is withheld as a whole.
    pub fn is_all_or_nothing(&self) -> bool {
        matches!(self.on_withheld, OnWithheld::Deny { .. })
    }

    /// Returns the form in which a field leaves that is decided to leave in `form`: a body that is one field leaves whole or
    /// not at all.
    pub fn form_left(&self, form: Form) -> Form {
        if self.whole_body.is_some() && form != Form::Clear { Form::Removed } else { form }
    }

    /// Returns the class of fields of these categories, which the mapping may not have yet: no node of a body is in it.
    pub fn add_class(&mut self, mut categories: Vec<CategoryId>, vocabulary: &Vocabulary) -> Option<ClassId> {
        categories.sort_unstable();
        categories.dedup();
        let mut sets = self.classes.sets().to_vec();
        let known = sets.iter().position(|set| *set == categories);
        let at = known.unwrap_or(sets.len());
        if known.is_none() {
            self.personal.push(categories.iter().any(|category| vocabulary.has_owner(*category)));
            sets.push(categories);
            self.classes = Classes::new(sets, self.plan.releases_unclassified());
        }
        u16::try_from(at).ok().map(ClassId)
    }

    /// A mapping from its parts; the classes are those of the plan.
    pub fn new(
        plan: Arc<Plan>,
        vocabulary: &Vocabulary,
        unknown_subject: UnknownSubject,
        withheld: OnWithheld,
        limits: Limits,
        fields: Vec<MappedField>,
        records: Vec<RecordMapping>,
    ) -> Scrubbing {
        let is_personal = |category: &CategoryId| vocabulary.has_owner(*category);
        let sets: Vec<Vec<CategoryId>> =
            plan.classes().iter().map(|class| class.categories.clone()).collect();
        // Unclassified fields can be personal if they leave.
        let unclassified = plan.releases_unclassified();
        let personal = sets.iter();
        let personal =
            personal.map(|set| set.iter().any(is_personal) || (set.is_empty() && unclassified)).collect();
        let classes = Classes::new(sets, unclassified);
        let whole_body = None;
        Scrubbing {
            plan,
            whole_body,
            classes,
            personal,
            unknown_subject,
            on_withheld: withheld,
            limits,
            fields,
            records,
        }
    }
}

/// A query parameter that passes, with the categories that it discloses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryParameter {
    /// Any value passes; all have the same categories.
    Any(Vec<CategoryId>),
    /// Only these (decoded) values pass, each with its own categories.
    Listed(HashMap<String, Vec<CategoryId>>),
}

/// A request to a route, as far as the route does not determine it.
#[derive(Clone, Debug)]
pub struct RouteRequest<'a> {
    /// The recipient.
    pub recipient: Arc<RecipientFacts>,
    /// The declared purpose.
    pub purpose: PurposeId,
    /// The method.
    pub method: &'a Method,
    /// The region from which this gateway exports (`deployment.exporter-region`).
    pub exporter_region: &'a Arc<str>,
    /// The scope of the cited case, if it is in force for this recipient and purpose.
    pub legal_reference: LegalReference,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// The configured name.
    pub name: Arc<str>,
    /// The name of the upstream.
    pub upstream: Arc<str>,
    /// Host and port of the upstream, if it has one address.
    pub upstream_server: Option<(Arc<str>, u16)>,
    /// True if the upstream is a backup.
    pub upstream_is_backup: bool,
    /// Header field that tells the upstream the recipient's name.
    pub recipient_header: Option<HeaderName>,
    /// Maximum time between two chunks of the upstream's body.
    pub upstream_idle_timeout: Duration,
    /// Maximum time that the gateway waits for all chunks of an upstream's body together.
    pub upstream_body_timeout: Duration,
    /// Position in the snapshot's list of packs.
    pub pack: usize,
    /// The methods that it serves; `HEAD` is served wherever `GET` is.
    pub methods: Vec<Method>,
    /// The path pattern, with `{parameters}`.
    pub pattern: String,
    /// The purposes that it serves, each with its children; `None`: all purposes.
    pub purposes: Option<Vec<PurposeId>>,
    /// The operation, if it does not follow from the method.
    pub operation: Option<Operation>,
    /// The mapping of a personal route; `None`: responses pass unread.
    pub scrubbing: Option<Scrubbing>,
    /// The mapping of a route that is not personal: it only finds the people that the path of a request names.
    pub path_mapping: Option<Scrubbing>,
    /// The members of the upstream's errors that pass.
    pub errors: Option<ErrorMapping>,
    /// The rules for the media types of its responses.
    pub media_types: MediaTypes,
    /// The query parameters that pass.
    pub query: HashMap<String, QueryParameter>,
    /// True if a withheld record looks like an absent one.
    pub hide_existence: bool,
    /// Response headers of the upstream that leave.
    pub answer_headers: Vec<HeaderName>,
    /// Request headers that are forwarded beside those that always are.
    pub request_headers: Vec<HeaderName>,
    /// True if the accepted purpose is forwarded to the upstream.
    pub forward_purpose: bool,
    /// True if the recipient's credential for the gateway is forwarded to the upstream.
    pub forward_credential: bool,
    /// True if a DELETE may have a body.
    pub delete_body: bool,
    /// The rules for cross-origin requests, if the route lists origins.
    pub cors: Option<Cors>,
    /// Maximum age of the knowledge of the ledger on which releases that rest on a contract, and `security`, go on while
    /// the ledger is stale; `None`: they stop, too.
    pub stale_for: Option<Duration>,
    /// The last day (UTC) on which exchanges are observed; `None`: they are enforced.
    pub observe_until: Option<Date>,
    /// Maximum bytes of a request's body.
    pub max_request_body: usize,
    /// Bounds the log lines about faults of its upstream.
    pub fault_log: LogLimit,
    /// The paths in its answers that nothing classifies.
    pub unclassified: UnclassifiedPaths,
}

/// Returns the limit of log lines about faults of a route's upstream, so that a broken upstream does not fill a disk.
pub fn fault_log_limit() -> LogLimit {
    LogLimit::per_period(10, Duration::from_secs(60))
}

/// Returns the first instant (UTC) after a day; `None` for the last day that there is.
pub fn after(day: Date) -> Option<Timestamp> {
    TimeZone::UTC.to_timestamp(day.tomorrow().ok()?.at(0, 0, 0, 0)).ok()
}

/// Returns the names of the parameters of a path pattern.
pub fn pattern_parameters(pattern: &str) -> impl Iterator<Item = &str> {
    let braced = pattern.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    braced.map(|name| name.trim_start_matches('*'))
}

/// Returns the operation of a method on a route that states none.
pub fn operation_of(method: &Method) -> Operation {
    match *method {
        Method::POST => Operation::Collect,
        Method::PUT | Method::PATCH => Operation::Alter,
        Method::DELETE => Operation::Destroy,
        _ => Operation::Disclose,
    }
}

impl Route {
    /// Returns the operation of a method on this route.
    pub fn operation(&self, method: &Method) -> Operation {
        self.operation.unwrap_or_else(|| operation_of(method))
    }

    /// Returns the method of a request for which none is given: GET, or else the first that the route serves.
    pub fn default_method(&self) -> Method {
        let get = self.methods.iter().find(|method| **method == Method::GET);
        get.or(self.methods.first()).cloned().unwrap_or(Method::GET)
    }

    /// Returns the classes of the fields of its responses, as the policy decides on them.
    pub fn classes(&self) -> &Classes {
        self.scrubbing.as_ref().map_or(Classes::unread(), |scrubbing| &scrubbing.classes)
    }

    /// Returns the question to the policy that a request to this route asks. The route is asked first: the policy does not know
    /// the purposes that a route serves.
    ///
    /// # Errors
    /// [`Denial::PurposeNotPermitted`] if the route does not serve the purpose.
    pub fn admission_request(
        &self,
        words: &Vocabulary,
        request: RouteRequest<'_>,
    ) -> Result<AdmissionRequest, Denial> {
        match self.serves_purpose(words, request.purpose) {
            true => Ok(self.assumed_admission_request(request)),
            false => Err(Denial::PurposeNotPermitted),
        }
    }

    /// As [`Route::admission_request`], as if the route served the purpose: an explanation goes on after a refusal.
    pub fn assumed_admission_request(&self, request: RouteRequest<'_>) -> AdmissionRequest {
        let RouteRequest { recipient, purpose, method, exporter_region, legal_reference } = request;
        AdmissionRequest {
            recipient,
            purpose,
            operation: self.operation(method),
            exporter_region: Arc::clone(exporter_region),
            upstream_backup: self.upstream_is_backup,
            legal_reference,
        }
    }

    /// Returns the mapping of a personal route, or the path mapping of another route.
    pub fn mapping(&self) -> Option<&Scrubbing> {
        self.scrubbing.as_ref().or(self.path_mapping.as_ref())
    }

    /// Returns the kinds of people that its path names, according to the mapping.
    pub fn path_names(&self) -> PathNames {
        let names = self.mapping().map(|scrubbing| scrubbing.plan.identifies_by_path());
        let (subject, controller) = names.unwrap_or_default();
        PathNames { subject, controller }
    }

    /// Returns the instant from which the route is enforced, if it is observed before.
    pub fn observation_ends(&self) -> Option<Timestamp> {
        after(self.observe_until?)
    }

    /// True if exchanges of the controller's own organisation are observed at this instant: everything is decided, and
    /// nothing is withheld.
    pub fn observes(&self, now: Timestamp) -> bool {
        self.observation_ends().is_some_and(|end| now < end)
    }

    /// Logs the reason why there is no response of the upstream, or why it does not leave, within the route's limit of log lines.
    pub(crate) fn warn(&self, fault: UpstreamFault, decision: Ulid, trace: Option<TraceId>) {
        let Some(count) = self.fault_log.admit() else { return };
        let refusal = fault.refusal();
        let message = match refusal {
            Refusal::UpstreamUnreachable => "the upstream gives no answer",
            Refusal::UpstreamTimeout => "the answer of the upstream does not come in time",
            _ => "an answer of the upstream does not leave",
        };
        tracing::warn!(
            route = %self.name,
            upstream = %self.upstream,
            code = refusal.code(),
            cause = %fault,
            %decision,
            trace = trace.map(tracing::field::display),
            unsaid = count - 1,
            "{message}"
        );
    }

    /// Logs the reason why an observed response cannot be judged, within the route's limit of log lines.
    pub(crate) fn warn_observed(&self, fault: UpstreamFault, decision: Ulid, trace: Option<TraceId>) {
        let Some(count) = self.fault_log.admit() else { return };
        tracing::warn!(
            route = %self.name,
            upstream = %self.upstream,
            cause = %fault,
            %decision,
            trace = trace.map(tracing::field::display),
            unsaid = count - 1,
            "an answer of the upstream cannot be read, and leaves because the route is observed"
        );
    }

    /// True if the head that leaves depends on the body of the upstream's response.
    pub(crate) fn depends_on_body(&self) -> bool {
        let scrubbing = self.scrubbing.as_ref();
        scrubbing.is_some_and(|scrubbing| scrubbing.is_all_or_nothing() || self.hide_existence)
    }

    /// True if the route serves a purpose: one that it lists, or a child of one.
    pub fn serves_purpose(&self, words: &Vocabulary, purpose: PurposeId) -> bool {
        let within = |served: &PurposeId| words.purposes().within(purpose, *served);
        self.purposes.as_ref().is_none_or(|purposes| purposes.iter().any(within))
    }

    fn serves(&self, method: &Method) -> bool {
        // HEAD is served wherever GET is.
        self.methods.contains(method) || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// The detail in which withheld fields are reported to a recipient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithheldReport {
    /// Nothing.
    #[default]
    None,
    /// The number of records and fields.
    Counts,
    /// The numbers and the paths of the fields.
    Paths,
}

impl WithheldReport {
    /// All details.
    pub const ALL: [WithheldReport; 3] =
        [WithheldReport::None, WithheldReport::Counts, WithheldReport::Paths];

    /// Returns the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            WithheldReport::None => "none",
            WithheldReport::Counts => "counts",
            WithheldReport::Paths => "paths",
        }
    }
}

/// The server that gets notices to a recipient (Standard Webhooks).
#[derive(Clone)]
pub struct NoticeWebhook {
    /// Its URL, which was checked.
    pub url: String,
    /// The key of the signatures. `None`: it is computed from the key file.
    pub secret: Option<Arc<[u8]>>,
    /// PEM file with the authorities of its certificate. `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
}

impl Debug for NoticeWebhook {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("NoticeWebhook").field("url", &self.url).finish_non_exhaustive()
    }
}

/// How a recipient is told of erasures, corrections and restrictions of what it received (GDPR Art. 19).
#[derive(Clone, Debug, Default)]
pub enum Notify {
    /// A person tells it.
    #[default]
    Manual,
    /// It reads its feed.
    Feed,
    /// The gateway sends a request.
    Webhook(NoticeWebhook),
}

/// A recipient as people and reports name it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientContact {
    /// The name in law.
    pub legal_name: Option<Arc<str>>,
    /// The postal address.
    pub address: Option<Arc<str>>,
    /// An e-mail address, a telephone number or a URL.
    pub contact: Option<Arc<str>>,
}

/// One registered recipient.
#[derive(Debug)]
pub struct Recipient {
    /// The configured name.
    pub name: Arc<str>,
    /// The kind of holder that its credentials have to name.
    pub holder: HolderKind,
    /// The facts for the policy while its agreement is in force.
    pub in_agreement: Arc<RecipientFacts>,
    /// The facts for the policy without an agreement in force.
    pub without_agreement: Arc<RecipientFacts>,
    /// The agreement with the recipient.
    pub agreement: Option<Agreement>,
    /// The detail in which withheld fields are reported to it.
    pub report: WithheldReport,
    /// The rate limit of its requests, if it has one.
    pub rate: Option<DefaultDirectRateLimiter>,
    /// The limit of exchanges that it cancels.
    pub cancellations: CancellationLimit,
    /// How it is told of erasures, corrections and restrictions.
    pub notify: Notify,
    /// How people and reports name it.
    pub contact: RecipientContact,
}

/// An agreement with a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// Its type, for people.
    pub agreement_type: Option<Arc<str>>,
    /// Its reference, for people.
    pub reference: Option<Arc<str>>,
    /// The last day on which it is in force, UTC; `None`: it does not end.
    pub until: Option<Date>,
}

impl Recipient {
    /// Returns a digest of who the recipient is, as far as the configuration says: its legal name and its country. Another one can
    /// get the name of a recipient that is no longer registered.
    pub fn identity(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for text in [&self.contact.legal_name, &self.in_agreement.country] {
            let text = text.as_deref().unwrap_or_default();
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// Returns the purposes that it can declare with a credential: all registered ones, or the one that is locked.
    pub fn usable_purposes(&self, locked: Option<PurposeId>, words: &Vocabulary) -> Vec<PurposeId> {
        let registered = &self.in_agreement.purposes;
        match locked {
            None => registered.to_vec(),
            Some(locked) => {
                let covered = registered.iter().any(|purpose| words.purposes().within(locked, *purpose));
                if covered { vec![locked] } else { Vec::new() }
            }
        }
    }

    /// Returns the instant at which the agreement that is in force on this day ends.
    pub fn agreement_ends(&self, today: Date) -> Option<Timestamp> {
        let until = self.agreement.as_ref()?.until.filter(|until| today <= *until)?;
        after(until)
    }

    /// Returns the recipient's facts on this day.
    pub fn facts(&self, today: Date) -> &Arc<RecipientFacts> {
        let in_force = self
            .agreement
            .as_ref()
            .is_some_and(|agreement| agreement.until.is_none_or(|until| today <= until));
        if in_force { &self.in_agreement } else { &self.without_agreement }
    }
}

/// All routes, found by path and method.
#[derive(Debug, Default)]
pub struct Routes {
    all: Vec<Arc<Route>>,
    by_path: matchit::Router<usize>,
    /// The routes of each pattern. `by_path` maps a path to its slot here.
    slots: Vec<Vec<Arc<Route>>>,
    slot_of: HashMap<String, usize>,
    /// True if a route lists origins.
    lists_origins: bool,
}

/// Reason for which a route cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unroutable {
    /// The named route serves the same paths with the same method.
    Collides(String),
    /// The pattern is malformed, with the reason.
    Pattern(String),
}

/// The route of a request, and the path parameters.
pub struct MatchedRoute {
    /// The route.
    pub route: Arc<Route>,
    /// Name and decoded value of each path parameter.
    pub parameters: Vec<(String, String)>,
}

/// Omits the parameters, which can name a person.
impl Debug for MatchedRoute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("MatchedRoute").field("route", &self.route.name).finish_non_exhaustive()
    }
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    /// [`Unroutable`] if an earlier route serves the same requests or the pattern is malformed.
    pub fn add(&mut self, route: Arc<Route>) -> Result<(), Unroutable> {
        let slot = match self.slot_of.get(&route.pattern) {
            Some(slot) => *slot,
            None => self.add_slot(&route.pattern)?,
        };
        if let Some(served) = self.slots.get_mut(slot) {
            let shadows =
                |other: &&Arc<Route>| other.methods.iter().any(|method| route.methods.contains(method));
            if let Some(other) = served.iter().find(shadows) {
                return Err(Unroutable::Collides(other.name.to_string()));
            }
            served.push(Arc::clone(&route));
        }
        self.lists_origins |= route.cors.is_some();
        self.all.push(route);
        Ok(())
    }

    fn add_slot(&mut self, pattern: &str) -> Result<usize, Unroutable> {
        path::screen_pattern(pattern).map_err(|fault| Unroutable::Pattern(fault.to_string()))?;
        let slot = self.slots.len();
        self.by_path.insert(pattern, slot).map_err(|error| match error {
            matchit::InsertError::Conflict { with } => {
                let named = self.all.iter().find(|route| route.pattern == with);
                Unroutable::Collides(named.map_or(with, |route| route.name.to_string()))
            }
            other => Unroutable::Pattern(other.to_string()),
        })?;
        self.slots.push(Vec::new());
        self.slot_of.insert(pattern.to_owned(), slot);
        Ok(slot)
    }

    /// All routes, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }

    /// Returns the route with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Route>> {
        self.all.iter().find(|route| *route.name == *name)
    }

    /// Continues the collection of unclassified paths of routes whose mapping is the same in `before`.
    pub(super) fn continue_surveys(&self, before: &Routes) {
        let records = |route: &Route| route.scrubbing.as_ref().map(|scrubbing| scrubbing.records.clone());
        for route in &self.all {
            if let Some(before) = before.named(&route.name).filter(|before| records(before) == records(route))
            {
                route.unclassified.continue_from(&before.unclassified);
            }
        }
    }

    /// Returns the route that decides which origins may send a request: the route that serves the request; if there is
    /// none, a route at this path that lists the origin. `None` if that route lists no origins.
    pub fn cross_origin_route(
        &self,
        path: &str,
        method: &Method,
        origin: Option<&HeaderValue>,
    ) -> Option<&Arc<Route>> {
        if !self.lists_origins {
            return None;
        }
        let served = self.slots.get(*self.by_path.at(path).ok()?.value)?;
        let lists = |route: &&Arc<Route>| {
            route.cors.as_ref().zip(origin).is_some_and(|(cors, origin)| cors.lists(origin))
        };
        match served.iter().find(|route| route.serves(method)) {
            Some(route) => Some(route).filter(|route| route.cors.is_some()),
            None => served.iter().find(lists),
        }
    }

    /// Returns the methods that a path serves, as the value of `Allow`; empty if no route has the path.
    pub fn allowed_methods(&self, path: &str) -> String {
        let Ok(matched) = self.by_path.at(path) else { return String::new() };
        let served = self.slots.get(*matched.value).map_or(&[][..], Vec::as_slice);
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let known = known.iter().filter(|method| served.iter().any(|route| route.serves(method)));
        known.map(Method::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Finds the route for a screened path and a method.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::MethodNotAllowed`]; [`Refusal::RequestMalformed`] if a
    /// parameter does not decode to UTF-8.
    pub fn find(&self, path: &str, method: &Method) -> Result<MatchedRoute, Refusal> {
        let matched = self.by_path.at(path).map_err(|_| Refusal::NotFound)?;
        let served = self.slots.get(*matched.value).map_or(&[][..], Vec::as_slice);
        let route = served.iter().find(|route| route.serves(method)).ok_or(Refusal::MethodNotAllowed)?;
        let parameters = matched
            .params
            .iter()
            .map(|(name, value)| Some((name.to_owned(), path::meaning(value)?)))
            .collect::<Option<_>>()
            .ok_or(Refusal::RequestMalformed)?;
        Ok(MatchedRoute { route: Arc::clone(route), parameters })
    }
}
