//! Routes and recipients as a request walks them: compiled at load, immutable.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use governor::DefaultDirectRateLimiter;
use http::{HeaderName, HeaderValue, Method};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{Refusal, path};
pub use crate::decision::UnknownSubject;
use crate::decision::{Classes, PathNames, RecipientFacts};
use crate::exchange::cors::Cors;
use crate::exchange::media_type::MediaTypes;
use crate::exchange::upstream_fault::UpstreamFault;
use crate::log_limit::LogLimit;
use crate::scrub::{Limits, Plan, RecordMapping};
use crate::vocabulary::{CategoryId, Operation, PurposeId, Vocabulary};

/// What becomes of an answer of which something is withheld.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnWithheld {
    /// The rest leaves.
    Strip,
    /// Nothing leaves; the body is held up to this many bytes to find out.
    Deny { max_body: usize },
}

/// The mapping of a route: how the answers of a personal one are scrubbed, and whom the path names.
#[derive(Debug)]
pub struct Scrubbing {
    pub plan: Arc<Plan>,
    /// The plan's classes as the policy is asked about them.
    pub classes: Classes,
    /// Per class of fields: whether one of its categories tells about a person, or can where nothing
    /// classifies it and it leaves.
    pub personal: Vec<bool>,
    pub unknown_subject: UnknownSubject,
    pub on_withheld: OnWithheld,
    pub limits: Limits,
    /// What is mapped, as it is told to recipients.
    pub fields: Vec<MappedField>,
    /// The mapping as it is written.
    pub records: Vec<RecordMapping>,
}

/// One mapped path, from the document on, and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedField {
    pub path: String,
    pub categories: Vec<CategoryId>,
    /// It stands in a record without a subject, or outside of every record: nothing personal of it leaves.
    pub without_subject: bool,
}

impl Scrubbing {
    /// Whether an answer of which something is withheld is withheld as a whole.
    pub fn is_all_or_nothing(&self) -> bool {
        matches!(self.on_withheld, OnWithheld::Deny { .. })
    }

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
        // What nothing classifies can tell about a person where it leaves.
        let unclassified = plan.releases_unclassified();
        let personal = sets.iter();
        let personal =
            personal.map(|set| set.iter().any(is_personal) || (set.is_empty() && unclassified)).collect();
        let classes = Classes::new(sets, unclassified);
        Scrubbing { plan, classes, personal, unknown_subject, on_withheld: withheld, limits, fields, records }
    }
}

/// A query parameter that passes, with what it tells about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryParameter {
    /// Every value tells about the same categories.
    Any(Vec<CategoryId>),
    /// These values pass and no other, each (decoded) with its own categories.
    Listed(HashMap<String, Vec<CategoryId>>),
}

/// One route.
#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    /// The upstream's name.
    pub upstream: Arc<str>,
    pub upstream_is_backup: bool,
    /// Time between two chunks of the upstream's body.
    pub upstream_idle_timeout: Duration,
    /// Time that all of an upstream's body is waited for, together.
    pub upstream_body_timeout: Duration,
    /// Position in the snapshot's list of packs.
    pub pack: usize,
    pub methods: Vec<Method>,
    pub pattern: String,
    /// The purposes it serves (each with its children); all where it says nothing.
    pub purposes: Option<Vec<PurposeId>>,
    /// In place of the one that follows from the method.
    pub operation: Option<Operation>,
    /// `None`: not personal, passes through unread.
    pub scrubbing: Option<Scrubbing>,
    /// The mapping of a route that is not personal: its answers are not read by it, whom a request's path names is.
    pub path_mapping: Option<Scrubbing>,
    /// What it says about the media types of its answers.
    pub media_types: MediaTypes,
    /// The query parameters that pass.
    pub query: HashMap<String, QueryParameter>,
    pub hide_existence: bool,
    pub answer_headers: Vec<HeaderName>,
    /// Fields of a request that go on beside those that always do.
    pub request_headers: Vec<HeaderName>,
    pub forward_purpose: bool,
    /// Whether a DELETE may have a body.
    pub delete_body: bool,
    /// The origins whose pages may ask, where there are any.
    pub cors: Option<Cors>,
    /// Bytes of a request's body.
    pub max_request_body: usize,
    /// How much was said of its upstream of late.
    pub fault_log: LogLimit,
}

/// The limit of log lines about faults of a route's upstream: a broken upstream does not fill a disk.
pub fn fault_log_limit() -> LogLimit {
    LogLimit::per_period(10, Duration::from_secs(60))
}

/// The names of the parameters of a path pattern.
pub fn pattern_parameters(pattern: &str) -> impl Iterator<Item = &str> {
    let braced = pattern.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
    braced.map(|name| name.trim_start_matches('*'))
}

impl Route {
    /// What a method does on this route.
    pub fn operation(&self, method: &Method) -> Operation {
        self.operation.unwrap_or(match *method {
            Method::POST => Operation::Collect,
            Method::PUT | Method::PATCH => Operation::Alter,
            Method::DELETE => Operation::Destroy,
            _ => Operation::Disclose,
        })
    }

    /// What is written of whom it is about, whether its answers are scrubbed or pass unread.
    pub fn mapping(&self) -> Option<&Scrubbing> {
        self.scrubbing.as_ref().or(self.path_mapping.as_ref())
    }

    /// Whom its path names, as its mapping reads it.
    pub fn path_names(&self) -> PathNames {
        let names = self.mapping().map(|scrubbing| scrubbing.plan.identifies_by_path());
        let (subject, controller) = names.unwrap_or_default();
        PathNames { subject, controller }
    }

    /// Tells the operator why a response of the upstream does not leave, within the limit of the route.
    pub(crate) fn warn(&self, fault: UpstreamFault, decision: &str) {
        let Some(count) = self.fault_log.admit() else { return };
        tracing::warn!(
            route = %self.name,
            upstream = %self.upstream,
            code = fault.refusal().code(),
            cause = %fault,
            decision,
            unsaid = count - 1,
            "an answer of the upstream does not leave"
        );
    }

    /// True if the body of the upstream's response decides about the head that leaves.
    pub(crate) fn depends_on_body(&self) -> bool {
        let scrubbing = self.scrubbing.as_ref();
        scrubbing.is_some_and(|scrubbing| scrubbing.is_all_or_nothing() || self.hide_existence)
    }

    /// Whether the route is for a purpose: one that it names or one below.
    pub fn serves_purpose(&self, words: &Vocabulary, purpose: PurposeId) -> bool {
        let within = |served: &PurposeId| words.purposes().within(purpose, *served);
        self.purposes.as_ref().is_none_or(|purposes| purposes.iter().any(within))
    }

    fn serves(&self, method: &Method) -> bool {
        // HEAD is answered from our own view of what GET would give.
        self.methods.contains(method) || (*method == Method::HEAD && self.methods.contains(&Method::GET))
    }
}

/// How much of what was withheld a recipient is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WithheldReport {
    #[default]
    None,
    Counts,
    Paths,
}

/// One registered recipient.
#[derive(Debug)]
pub struct Recipient {
    pub name: Arc<str>,
    /// As the policy sees it while its agreement is in force.
    pub in_agreement: Arc<RecipientFacts>,
    /// As the policy sees it without one.
    pub without_agreement: Arc<RecipientFacts>,
    pub agreement: Option<Agreement>,
    pub report: WithheldReport,
    /// Requests of this recipient over time, where they are bounded.
    pub rate: Option<DefaultDirectRateLimiter>,
}

/// An agreement with a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The last day it is in force, UTC; without one it does not end.
    pub until: Option<Date>,
}

impl Recipient {
    /// The purposes that it can declare with a credential: the registered ones, or the one that is locked.
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

    /// When the agreement that is in force on this day ends.
    pub fn agreement_ends(&self, today: Date) -> Option<Timestamp> {
        let until = self.agreement.as_ref()?.until.filter(|until| today <= *until)?;
        let after = until.tomorrow().ok()?;
        TimeZone::UTC.to_timestamp(after.at(0, 0, 0, 0)).ok()
    }

    /// The recipient's facts on this day.
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
    /// The routes of one pattern, by the slot that `by_path` leads to.
    slots: Vec<Vec<Arc<Route>>>,
    slot_of: HashMap<String, usize>,
    /// Whether a route lists origins.
    lists_origins: bool,
}

/// A route that an earlier one shadows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unroutable {
    /// This route serves the same paths with the same method.
    Collides(String),
    /// The pattern is not one, with the reason.
    Pattern(String),
}

/// The route of a request, with the values of its path parameters (decoded).
#[derive(Debug)]
pub struct MatchedRoute {
    pub route: Arc<Route>,
    pub parameters: Vec<(String, String)>,
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    /// [`Unroutable`] where an earlier route serves the same requests or the pattern is malformed.
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

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.all.iter()
    }

    /// The route that says which origins may send a request: the one that serves it or, where none does, one at
    /// this path that lists the origin. `None` where it lists no origins.
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

    /// The methods that a path knows, as `Allow` has them; empty where it is no route's.
    pub fn allowed_methods(&self, path: &str) -> String {
        let Ok(matched) = self.by_path.at(path) else { return String::new() };
        let served = self.slots.get(*matched.value).map_or(&[][..], Vec::as_slice);
        let known = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let known = known.iter().filter(|method| served.iter().any(|route| route.serves(method)));
        known.map(Method::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The route for a screened path and a method.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::MethodNotAllowed`]; [`Refusal::RequestMalformed`] where a
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
