//! What the release of one answer needs to know and to keep count of, from the intent on record to
//! the closing one. Dropped without an end, it closes as aborted: the recipient went away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use prometheus::IntCounter;

use super::{Refusal, SharedState, Snapshot};
use crate::access_log::AccessLogLine;
use crate::decision::{Admitted, ClassId, Decisions};
use crate::disclosure::{DisclosedCategory, Entry, LogError, Outcome, Window};
use crate::exchange::caller::Identity;
use crate::exchange::concurrency::ConcurrencyPermit;
use crate::exchange::ledger_policy::{LedgerPolicy, RouteTerms};
use crate::exchange::pages::purposes::WithheldCounts;
use crate::exchange::route::{Route, Scrubbing, WithheldReport};
use crate::exchange::upstream_fault::{ResponseError, UpstreamFault};
use crate::exchange::window::{ReleaseCount, WindowSummary};
use crate::keys::Fingerprint;
use crate::ledger::Epoch;
use crate::log_limit::LogLimit;
use crate::vocabulary::Form;

/// The trailer that says how much was withheld.
pub(crate) const WITHHELD: HeaderName = HeaderName::from_static("data-purpose-withheld");

/// The case that an exchange rests on.
#[derive(Debug)]
pub(crate) struct CitedCase {
    pub(crate) id: Arc<str>,
    /// Changes of the case concern the answer like those of somebody in it.
    pub(crate) fingerprint: Fingerprint,
}

/// One admitted exchange whose answer is on its way.
pub struct Grant {
    gatehouse: Arc<SharedState>,
    route: Arc<Route>,
    recipient: Arc<str>,
    purpose: Arc<str>,
    decisions: Arc<Decisions>,
    admitted: Arc<Admitted>,
    case: Option<CitedCase>,
    /// Taken by whoever closes the exchange.
    entry: Mutex<Option<Entry>>,
    /// One of the exchanges that may be under way.
    _place: ConcurrencyPermit<Arc<str>>,
    began: Instant,
    /// Who the recipient is, where its credential says so.
    identity: Identity,
    /// When what it was admitted under ends, and what it would be told then.
    ends: Option<(Timestamp, Refusal)>,
    /// The recipient in the ledger: its suspension concerns the answer like the change of a person.
    named: Fingerprint,
    /// Of an answer that may have no end: what it began under, as a reload ends it.
    follows: Option<Arc<Snapshot>>,
    /// What the recipient is told in the trailer, and the account that it is told from.
    report: WithheldReport,
    withheld: Mutex<WithheldCounts>,
    /// Nanoseconds spent waiting for the upstream.
    waited: AtomicU64,
    /// Bytes that have left.
    sent: AtomicU64,
    /// Counted chunk by chunk, so looked up once.
    bytes_in: IntCounter,
    bytes_out: IntCounter,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Release").field("route", &self.route.name).finish_non_exhaustive()
    }
}

impl Grant {
    #[allow(clippy::too_many_arguments)] // Each is a fact of the exchange, handed over once.
    pub(crate) fn new(
        gatehouse: Arc<SharedState>,
        route: Arc<Route>,
        recipient: Arc<str>,
        purpose: Arc<str>,
        decisions: Arc<Decisions>,
        admitted: Arc<Admitted>,
        case: Option<CitedCase>,
        entry: Entry,
        place: ConcurrencyPermit<Arc<str>>,
        began: Instant,
        identity: Identity,
        ends: Option<(Timestamp, Refusal)>,
        report: WithheldReport,
        follows: Option<Arc<Snapshot>>,
    ) -> Grant {
        let named = gatehouse.ledger.fingerprints().recipient(&recipient);
        let bytes = |direction| gatehouse.metrics.body_bytes.with_label_values(&[&*route.name, direction]);
        let (bytes_in, bytes_out) = (bytes("in"), bytes("out"));
        Grant {
            gatehouse,
            route,
            recipient,
            purpose,
            decisions,
            admitted,
            case,
            entry: Mutex::new(Some(entry)),
            _place: place,
            began,
            identity,
            ends,
            report,
            named,
            follows,
            withheld: Mutex::new(WithheldCounts::default()),
            waited: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            bytes_in,
            bytes_out,
        }
    }

    /// Who judges the next chunk. `None` on a route that is not personal.
    pub(crate) fn judgement(&self, now: Timestamp) -> Option<LedgerPolicy<'_>> {
        let scrubbing = self.route.scrubbing.as_ref()?;
        let ledger = &self.gatehouse.ledger;
        // Asked for each chunk: a case can end while its answer is on its way.
        let case = self.case.as_ref().and_then(|cited| ledger.case(&cited.id));
        let case = case.filter(|case| case.is_in_force(now));
        let terms = RouteTerms { unknown_subject: scrubbing.unknown_subject, personal: &scrubbing.personal };
        Some(LedgerPolicy::new(ledger, &self.admitted, &self.identity, terms, case, now))
    }

    /// Longest wait for the next chunk of the upstream's body.
    pub(crate) fn upstream_idle(&self) -> Duration {
        self.route.upstream_idle_timeout
    }

    /// Bytes of one record that are held until it is whole, at most.
    pub(crate) fn most_held(&self) -> usize {
        self.route.scrubbing.as_ref().map_or(0, |scrubbing| scrubbing.limits.record)
    }

    /// Whether the answer may have no end.
    pub(crate) fn is_endless(&self) -> bool {
        self.follows.is_some()
    }

    /// Noted before records are judged.
    pub(crate) fn epoch(&self) -> Epoch {
        self.gatehouse.ledger.epoch()
    }

    /// Runs `leave` unless somebody in this account has withdrawn, objected or the like since, or a
    /// consent or the cited case has ended by itself; no such change is acknowledged while it runs.
    pub(crate) fn hand_out<T>(
        &self,
        since: Epoch,
        tally: &WindowSummary,
        leave: impl FnOnce() -> T,
    ) -> Option<T> {
        if tally.valid_until.is_some_and(|end| end <= Timestamp::now()) {
            return None;
        }
        let case = self.case.iter().map(|case| &case.fingerprint);
        let concerned = tally.subjects.iter().chain(&tally.controllers).chain(case).chain([&self.named]);
        self.gatehouse.ledger.hand_out(since, concerned, leave)
    }

    /// Whether anything may leave at this moment: the ledger and the log work, the recipient is not
    /// suspended, its agreement and the policy are still those it was admitted under.
    pub(crate) fn may_leave(&self) -> Result<(), Refusal> {
        if !self.gatehouse.ledger.healthy() {
            return Err(Refusal::LedgerUnavailable);
        }
        if self.gatehouse.ledger.is_suspended(&self.recipient) {
            return Err(Refusal::RecipientSuspended);
        }
        if self.follows.as_ref().is_some_and(|begun| !Arc::ptr_eq(begun, &self.gatehouse.snapshot())) {
            return Err(Refusal::Overloaded);
        }
        match self.ends {
            Some((end, refusal)) if end <= Timestamp::now() => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Whether something of a subject was withheld that a rule could have released.
    pub(crate) fn withholds(&self, tally: &WindowSummary) -> bool {
        tally.released.iter().any(|released| {
            let class = u16::try_from(released.class).map(ClassId).ok();
            class.is_some_and(|class| self.admitted.withholds(class, released.release.form))
        })
    }

    /// Whether an answer of which something is withheld is withheld as a whole.
    pub(crate) fn is_all_or_nothing(&self) -> bool {
        self.route.scrubbing.as_ref().is_some_and(Scrubbing::is_all_or_nothing)
    }

    /// Whether the answer ends in a trailer.
    pub(crate) fn reports(&self) -> bool {
        self.report != WithheldReport::None
    }

    /// The trailer that says how much was withheld.
    pub(crate) fn trailer(&self) -> Option<HeaderMap> {
        let withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        let value = withheld.value(self.report, self.route.scrubbing.as_ref())?;
        Some(HeaderMap::from_iter([(WITHHELD, HeaderValue::try_from(value).ok()?)]))
    }

    /// Counts a wait for the upstream.
    ///
    /// # Errors
    /// [`Cause::BodyTimeout`] where it was waited for too long, all together. What may have no end has this bound as
    /// little.
    pub(crate) fn waited(&self, time: Duration) -> Result<(), UpstreamFault> {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let all = self.waited.fetch_add(time, Ordering::Relaxed).saturating_add(time);
        let is_too_long = !self.is_endless() && Duration::from_nanos(all) > self.route.upstream_body_timeout;
        if is_too_long { Err(UpstreamFault::BodyTimeout) } else { Ok(()) }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.bytes_in.inc_by(bytes as u64);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.bytes_out.inc_by(bytes as u64);
    }

    /// Puts a window on the disclosure log; returns when it is as durable as configured.
    pub(crate) async fn record(&self, tally: &WindowSummary) -> Result<(), Refusal> {
        let began = Instant::now();
        let appended = self.append(tally);
        let recorded = match appended {
            Some(appended) => appended.await.map_err(|_| Refusal::AuditUnavailable),
            None => Err(Refusal::AuditUnavailable),
        };
        self.gatehouse.metrics.audit_append.observe(began.elapsed().as_secs_f64());
        recorded
    }

    /// Hands a window's record to the log.
    fn append(
        &self,
        tally: &WindowSummary,
    ) -> Option<impl Future<Output = Result<(), LogError>> + Send + use<>> {
        self.count(tally);
        let people = tally.distinct_subjects();
        let window = Window {
            position: self.gatehouse.ledger.position(),
            records: tally.records,
            withheld_records: tally.withheld_records,
            categories: self.categories(tally),
            withheld_subjects: tally.withheld_subjects(&people),
            subjects: people,
        };
        let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.as_ref().map(|entry| self.gatehouse.log.window(entry, &window))
    }

    /// Everything left: the closing record.
    pub(crate) fn close(&self) {
        self.finish("released", Outcome::Released);
    }

    /// The answer was cut while it was leaving.
    pub(crate) fn abort(&self, cut: ResponseError) {
        static CUT: LogLimit = LogLimit::new();
        match cut.cause {
            Some(cause) => self.route.warn(cause, self.decision().as_deref()),
            None => {
                if let Some(count) = CUT.admit() {
                    tracing::warn!(route = %self.route.name, code = cut.refusal.code(), count, "answer cut");
                }
            }
        }
        self.finish("aborted", Outcome::Aborted);
    }

    /// Nothing left: the exchange ends in a refusal, which counts itself.
    pub(crate) fn refused(&self, refusal: Refusal) {
        if let Some(entry) = self.take_entry() {
            self.gatehouse.log.close_detached(entry, Outcome::Refused(refusal.code()));
        }
    }

    fn finish(&self, outcome: &'static str, closing: Outcome) {
        let Some(entry) = self.take_entry() else { return };
        self.gatehouse.access_log.write(&AccessLogLine {
            time: Timestamp::now(),
            decision: entry.decision(),
            recipient: &self.recipient,
            purpose: &self.purpose,
            route: &self.route.name,
            outcome,
            milliseconds: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: self.sent.load(Ordering::Relaxed),
        });
        self.gatehouse.log.close_detached(entry, closing);
        let metrics = &self.gatehouse.metrics;
        metrics
            .requests
            .with_label_values(&[&*self.route.name, &self.recipient, &self.purpose, outcome])
            .inc();
        let total = self.began.elapsed();
        let waited = Duration::from_nanos(self.waited.load(Ordering::Relaxed));
        metrics.request_duration.with_label_values(&[&*self.route.name]).observe(total.as_secs_f64());
        metrics
            .overhead
            .with_label_values(&[&*self.route.name])
            .observe(total.saturating_sub(waited).as_secs_f64());
        tracing::debug!(route = %self.route.name, recipient = %self.recipient, purpose = %self.purpose, outcome, "exchange");
    }

    fn decision(&self) -> Option<String> {
        let entry = self.entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.as_ref().map(|entry| entry.decision().to_string())
    }

    fn take_entry(&self) -> Option<Entry> {
        self.entry.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn count(&self, tally: &WindowSummary) {
        let metrics = &self.gatehouse.metrics;
        let (route, purpose) = (&*self.route.name, &*self.purpose);
        let records = |outcome| metrics.records.with_label_values(&[route, purpose, outcome]);
        let released = tally.records.saturating_sub(tally.withheld_records);
        if released > 0 {
            records("released").inc_by(released);
        }
        if tally.withheld_records > 0 {
            records("withheld").inc_by(tally.withheld_records);
        }
        // Rare, and a label's lookup is not free.
        for (metric, counted) in [
            (&metrics.unknown_subjects, tally.unknown_subjects),
            (&metrics.minor_records, tally.minors),
            (&metrics.closed_account_records, tally.closed_accounts),
            (&metrics.retention_withheld, tally.past_retention),
        ] {
            if counted > 0 {
                metric.with_label_values(&[route]).inc_by(counted);
            }
        }
        self.for_each_release(tally, |category, release, fields| match category {
            Some(category) => {
                let labels = [route, purpose, category, release.form.name()];
                metrics.fields.with_label_values(&labels).inc_by(fields);
            }
            None => metrics.unclassified_fields.with_label_values(&[route]).inc_by(fields),
        });
    }

    /// Takes down what the trailer will say of what has left.
    pub(crate) fn report(&self, tally: &WindowSummary) {
        if !self.reports() {
            return;
        }
        let mut withheld = self.withheld.lock().unwrap_or_else(PoisonError::into_inner);
        withheld.add_records(tally.withheld_records);
        for released in tally.released.iter().filter(|released| released.release.form == Form::Removed) {
            withheld.add_fields(released.class, released.fields);
        }
    }

    fn categories(&self, tally: &WindowSummary) -> Vec<DisclosedCategory<'_>> {
        let mut left: Vec<DisclosedCategory<'_>> = Vec::with_capacity(tally.released.len());
        self.for_each_release(tally, |category, release, fields| {
            let category = category.unwrap_or(DisclosedCategory::UNCLASSIFIED);
            let same = |known: &&mut DisclosedCategory| {
                &*known.category == category
                    && (known.form, known.basis, known.reason)
                        == (release.form, release.basis, release.reason)
                    && known.rules == release.rules
            };
            match left.iter_mut().find(same) {
                Some(known) => known.fields += fields,
                None => left.push(DisclosedCategory {
                    category: category.into(),
                    form: release.form,
                    basis: release.basis,
                    reason: release.reason,
                    rules: Arc::clone(&release.rules),
                    clauses: Arc::clone(&release.clauses),
                    fields,
                }),
            }
        });
        left
    }

    /// Each category of each class with each release it met; `None` for what nothing classifies.
    fn for_each_release<'s>(
        &'s self,
        tally: &WindowSummary,
        mut visit: impl FnMut(Option<&'s str>, &crate::decision::ClassRelease, u64),
    ) {
        let Some(scrubbing) = &self.route.scrubbing else { return };
        let vocabulary = self.decisions.pack().vocabulary();
        for ReleaseCount { class, release, fields } in &tally.released {
            let Some(categories) = scrubbing.classes.sets().get(*class) else { continue };
            if categories.is_empty() {
                visit(None, release, *fields);
            }
            for category in categories {
                visit(Some(vocabulary.categories().name(*category)), release, *fields);
            }
        }
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.finish("aborted", Outcome::Aborted);
    }
}
