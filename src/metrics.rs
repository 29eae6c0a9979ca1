//! Declares every metric. Labels come from configured names only, never from a request.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus::core::{Collector, Desc};
#[cfg(target_os = "linux")]
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Histogram buckets in seconds, from a tenth of a millisecond to half a minute.
const DURATIONS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0];

macro_rules! metrics {
    ($($field:ident: $kind:ident = $name:literal [$($label:literal),*] $help:literal;)+) => {
        /// The process's metrics and the registry that exposes them. A clone is another handle to the same ones.
        #[derive(Clone, Debug)]
        pub struct Metrics(Arc<MetricSet>);

        /// The members of [`Metrics`].
        #[derive(Debug)]
        pub struct MetricSet {
            registry: Registry,
            /// Held while the metrics are read.
            reading: Mutex<()>,
            $(#[doc = $help] pub $field: $kind,)+
        }

        impl Metrics {
            /// Name, Prometheus type and labels of every metric.
            pub const DECLARED: &'static [(&'static str, &'static str, &'static [&'static str])] =
                &[$((concat!("purposegate_", $name), <$kind as MetricKind>::TYPE, &[$($label),*]),)+];

            /// Name and help of every metric.
            pub const HELP: &'static [(&'static str, &'static str)] =
                &[$((concat!("purposegate_", $name), $help),)+];

            /// Creates and registers every metric.
            ///
            /// # Errors
            /// If two metrics have the same name, which a test rules out.
            pub fn new() -> Result<Metrics, prometheus::Error> {
                let registry = Registry::new();
                $(
                    let $field = <$kind as MetricKind>::declare(concat!("purposegate_", $name), $help, &[$($label),*])?;
                    registry.register(Box::new($field.clone()))?;
                )+
                Ok(Metrics(Arc::new(MetricSet { registry, reading: Mutex::default(), $($field,)+ })))
            }
        }
    };
}

metrics! {
    requests: IntCounterVec = "requests_total" ["route", "recipient", "purpose", "outcome"]
        "Exchanges by outcome: released, refused, aborted.";
    refusals: IntCounterVec = "refusals_total" ["code", "recipient"]
        "Refusals by problem code.";
    unknown_subjects: IntCounterVec = "unknown_subjects_total" ["route"]
        "Records whose subject is not in the ledger, or that have no usable subject.";
    fields: IntCounterVec = "fields_total" ["route", "purpose", "category", "form"]
        "Classified fields by the form in which they left; removed if they were withheld.";
    records: IntCounterVec = "records_total" ["route", "purpose", "outcome"]
        "Records by outcome: released, or withheld if nothing personal of them left.";
    request_duration: HistogramVec = "request_duration_seconds" ["route"]
        "Time from the request's head to the last byte of the answer.";
    overhead: HistogramVec = "overhead_seconds" ["route"]
        "Time spent in the gateway, without waiting for the upstream or the recipient.";
    body_bytes: IntCounterVec = "body_bytes_total" ["route", "direction"]
        "Bytes of answers read from the upstream (in) and released (out).";
    unclassified_fields: IntCounterVec = "unclassified_fields_total" ["route"]
        "Fields that no mapping classifies.";
    would_withhold: IntCounterVec = "would_withhold_total" ["route", "category", "reason"]
        "On observed routes: fields that enforcing would withhold, by category; whole exchanges that it would refuse, with an empty category.";
    upstream_requests: IntCounterVec = "upstream_requests_total" ["upstream", "status_class"]
        "Answers of upstreams by status class; error if there was no answer.";
    upstream_failures: IntCounterVec = "upstream_failures_total" ["upstream", "code"]
        "Exchanges refused because of an upstream, by problem code: unreachable, timeout, unreadable.";
    upstream_endpoints: IntGaugeVec = "upstream_endpoints" ["upstream", "state"]
        "Addresses of upstreams by state: healthy, ejected, unhealthy.";
    upstream_ejections: IntCounterVec = "upstream_ejections_total" ["upstream"]
        "Ejections of addresses of upstreams after failures in a row.";
    certificate_not_after: IntGaugeVec = "certificate_not_after_timestamp_seconds" ["listener"]
        "When the certificate of a listener expires, in Unix time.";
    crl_next_update: IntGaugeVec = "crl_next_update_timestamp_seconds" ["listener"]
        "When the first revocation list of a listener expires, in Unix time.";
    issuer_keys_age: GaugeVec = "issuer_keys_age_seconds" ["issuer"]
        "Time since the keys of a token issuer were fetched; +Inf if they never were.";
    issuer_refresh: IntCounterVec = "issuer_refresh_total" ["issuer", "outcome"]
        "Fetches of the keys of a token issuer: changed, confirmed or failed.";
    ledger_events: IntCounterVec = "ledger_events_total" ["kind"]
        "Events appended to the ledger.";
    ledger_subjects: IntGauge = "ledger_subjects" []
        "Subjects the ledger knows.";
    ledger_staleness: Gauge = "ledger_staleness_seconds" []
        "Age of this gateway's copy of the ledger while it is stale; 0 while it is not, +Inf if nothing is known.";
    ledger_position: IntGauge = "ledger_position" []
        "Position of the last event that is in force in this gateway.";
    ledger_lease_remaining: Gauge = "ledger_lease_remaining_seconds" []
        "Time until this gateway's copy of the ledger is stale, if it hears nothing; 0 while it is stale, +Inf with the embedded ledger.";
    ledger_gateways: IntGauge = "ledger_gateways" []
        "Gateways that use the ledger, as this gateway sees it, itself included.";
    ledger_store_failures: IntCounter = "ledger_store_failures_total" []
        "Operations on the ledger's store that failed.";
    ledger_history_lost: IntGauge = "ledger_history_lost" []
        "1 while a loss of events waits for `purposegate ledger accept-history`; 0 otherwise.";
    withdrawal_effect: Histogram = "withdrawal_effect_seconds" []
        "Time from the receipt of a restrictive event by this gateway to its effect in this gateway.";
    everywhere_effect: Histogram = "everywhere_effect_seconds" []
        "Time from the receipt of a request with `wait=everywhere` until its events were in force in every gateway, or the wait was given up.";
    audit_records: IntCounter = "audit_records_total" []
        "Records appended to the disclosure log.";
    audit_refusals_dropped: IntCounter = "audit_refusals_dropped_total" []
        "Refusals of which the disclosure log states only the number: they arrived faster than they could be written.";
    audit_append: Histogram = "audit_append_seconds" []
        "Time to append a record to the disclosure log, until it is as durable as configured.";
    recipient_people: IntGaugeVec = "recipient_people" ["recipient"]
        "People about whom a recipient received something since midnight (UTC).";
    audit_checkpoint_age: Gauge = "audit_checkpoint_age_seconds" []
        "Time for which the disclosure log has had records that its last checkpoint does not cover; 0 if it covers all.";
    audit_day_ahead: Gauge = "audit_day_ahead_seconds" []
        "Time by which the beginning of the disclosure log's day is after the clock, because a clock was ahead when it began; 0 if it is not.";
    circumstances_write_failures: IntCounter = "circumstances_write_failures_total" []
        "Failed writes of counted circumstances; a stop loses the counts since the last one that succeeded.";
    audit_checkpoint_sink_failures: IntCounterVec = "audit_checkpoint_sink_failures_total" ["sink"]
        "Checkpoints of the disclosure log that a sink did not take, by kind: log, file, webhook, witness.";
    push_lag: AgeGauge = "push_lag_seconds" []
        "Time since the end of the oldest exchange on record that was not pushed yet; 0 if all were.";
    push_records: IntCounter = "push_records_total" []
        "Exchanges on record that were pushed.";
    push_failures: IntCounter = "push_failures_total" []
        "Attempts to push exchanges on record that failed; they are repeated.";
    push_deleted_entries: IntCounter = "push_deleted_entries_total" []
        "Entries of the disclosure log that were deleted before they were pushed.";
    traced_exchanges: IntCounterVec = "traced_exchanges_total" ["outcome"]
        "Traced exchanges by outcome: exported; queue-full or export-failed if their spans were dropped.";
    rejected_spans: IntCounter = "rejected_spans_total" []
        "Spans that the collector dropped of batches that it took.";
    policy_info: IntGaugeVec = "policy_info" ["pack", "version", "revision"]
        "1 for each policy pack in force.";
    policy_reload: IntCounterVec = "policy_reload_total" ["outcome"]
        "Reloads of configuration and policy: loaded or failed.";
    admin_refusals: IntCounterVec = "admin_refusals_total" ["code"]
        "Requests to the admin API that were refused before they reached a resource, by problem code.";
    connections_refused: IntCounterVec = "connections_refused_total" ["listener"]
        "Connections refused because the maximum number was open, by the listener's address, or admin, or probes.";
    connections_failed: IntCounterVec = "connections_failed_total" ["listener", "reason"]
        "Connections closed before HTTP began: untrusted-proxy, proxy-header, http-on-tls-port, tls-handshake.";
    held_bytes: IntGaugeVec = "held_bytes" ["recipient"]
        "Bytes of bodies that the gateway holds for the exchanges of a recipient.";
    subject_requests_open: IntGauge = "subject_requests_open" []
        "Data subject requests that are open.";
    subject_requests_overdue: IntGauge = "subject_requests_overdue" []
        "Data subject requests past their due date.";
    notices_open: IntGauge = "notices_open" []
        "Notices to recipients about data that were erased, corrected or restricted, which wait for delivery or for a person.";
    notices_overdue: IntGauge = "notices_overdue" []
        "Notices to recipients that are open for longer than `notice-limit`.";
    notice_searches_incomplete: IntGauge = "notice_searches_incomplete" []
        "Erasures, corrections and restrictions for which a disclosure log does not show yet who had received the data.";
    minor_records: IntCounterVec = "minor_records_total" ["route"]
        "Records about a minor.";
    closed_account_records: IntCounterVec = "closed_account_records_total" ["route"]
        "Records of accounts closed for longer than the second period of `account-closed-after`, which the upstream should have deleted.";
    policy_divergences: IntGauge = "policy_divergences" []
        "Cached decisions that differed from a fresh evaluation; anything but 0 is an alarm.";
    retention_withheld: IntCounterVec = "retention_withheld_total" ["route"]
        "Records with data withheld because they are older than their retention period.";
    build_info: IntGaugeVec = "build_info" ["version"]
        "Always 1, with the version as label.";
}

impl Deref for Metrics {
    type Target = MetricSet;

    fn deref(&self) -> &MetricSet {
        &self.0
    }
}

impl Metrics {
    /// Counts an event that was appended to the ledger. `effect` is the time from its receipt to its effect, for events that
    /// withhold.
    pub fn count_event(&self, kind: &str, effect: Option<Duration>) {
        self.ledger_events.with_label_values(&[kind]).inc();
        if let Some(time) = effect {
            self.withdrawal_effect.observe(time.as_secs_f64());
        }
    }

    /// Creates every counter that an alert uses, and those of rare events, with the value 0, so that the first event is an
    /// increase. Counters are created for each code, each upstream, each route and each kind of event, never for all combinations.
    pub fn start_at_zero<'n>(
        &self,
        codes: impl Iterator<Item = &'static str>,
        upstreams: impl Iterator<Item = (&'n str, &'n str)>,
        routes: impl Iterator<Item = &'n str>,
        kinds: &[&str],
    ) {
        for kind in kinds {
            self.ledger_events.with_label_values(&[kind]);
        }
        for outcome in ["loaded", "failed"] {
            self.policy_reload.with_label_values(&[outcome]);
        }
        for code in codes {
            // The label `recipient` stays empty, because alerts sum over recipients.
            self.refusals.with_label_values(&[code, ""]);
        }
        for (upstream, code) in upstreams {
            self.upstream_failures.with_label_values(&[upstream, code]);
            self.upstream_requests.with_label_values(&[upstream, "error"]);
        }
        let of_routes = [
            &self.unknown_subjects,
            &self.unclassified_fields,
            &self.minor_records,
            &self.closed_account_records,
            &self.retention_withheld,
        ];
        for route in routes {
            of_routes.into_iter().for_each(|counter| drop(counter.with_label_values(&[route])));
        }
    }

    /// Adds the metrics of the process, where the system has them: memory, open files, processor time, time of the start.
    ///
    /// # Errors
    /// If they were added before.
    pub fn observe_process(&self) -> Result<(), prometheus::Error> {
        #[cfg(target_os = "linux")]
        self.registry.register(Box::new(ProcessCollector::for_self()))?;
        Ok(())
    }

    /// Returns all metrics in Prometheus' text format. `set` sets those that are counted elsewhere; no other call of this function
    /// reads them between their reset and their new value.
    ///
    /// # Errors
    /// If a metric cannot be encoded.
    pub fn expose(&self, set: impl FnOnce(&MetricSet)) -> Result<String, prometheus::Error> {
        let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        set(self);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A gauge with the time since an instant, in seconds, at the moment when the metrics are read; 0 without an instant.
#[derive(Clone, Debug)]
pub struct AgeGauge {
    gauge: Gauge,
    since: Arc<Mutex<Option<Timestamp>>>,
}

impl AgeGauge {
    /// Sets the instant.
    pub fn set_since(&self, since: Option<Timestamp>) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }
}

impl Collector for AgeGauge {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        let age = since.map_or(0.0, |since| Timestamp::now().duration_since(since).as_secs_f64());
        self.gauge.set(age.max(0.0));
        self.gauge.collect()
    }
}

/// A type of metric that can be created from its name, help and labels.
trait MetricKind: Sized {
    /// The type in Prometheus' text format.
    const TYPE: &'static str;

    /// Creates the metric.
    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error>;
}

impl MetricKind for IntCounterVec {
    const TYPE: &'static str = "counter";

    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        IntCounterVec::new(Opts::new(name, help), labels)
    }
}

impl MetricKind for GaugeVec {
    const TYPE: &'static str = "gauge";

    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        GaugeVec::new(Opts::new(name, help), labels)
    }
}

impl MetricKind for IntGaugeVec {
    const TYPE: &'static str = "gauge";

    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        IntGaugeVec::new(Opts::new(name, help), labels)
    }
}

impl MetricKind for IntGauge {
    const TYPE: &'static str = "gauge";

    fn declare(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        IntGauge::new(name, help)
    }
}

impl MetricKind for IntCounter {
    const TYPE: &'static str = "counter";

    fn declare(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        IntCounter::new(name, help)
    }
}

impl MetricKind for Gauge {
    const TYPE: &'static str = "gauge";

    fn declare(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Gauge::new(name, help)
    }
}

impl MetricKind for AgeGauge {
    const TYPE: &'static str = "gauge";

    fn declare(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Ok(AgeGauge { gauge: Gauge::new(name, help)?, since: Arc::default() })
    }
}

impl MetricKind for HistogramVec {
    const TYPE: &'static str = "histogram";

    fn declare(name: &str, help: &str, labels: &[&str]) -> Result<Self, prometheus::Error> {
        HistogramVec::new(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()), labels)
    }
}

impl MetricKind for Histogram {
    const TYPE: &'static str = "histogram";

    fn declare(name: &str, help: &str, _: &[&str]) -> Result<Self, prometheus::Error> {
        Histogram::with_opts(HistogramOpts::new(name, help).buckets(DURATIONS.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_metrics_register_under_unique_names() {
        let metrics = Metrics::new().expect("names are unique");
        metrics.build_info.with_label_values(&["0"]).set(1);
        let text = metrics.expose(|_| ()).expect("encodes");
        assert!(text.contains("purposegate_build_info{version=\"0\"} 1"), "{text}");
        assert!(text.contains("# TYPE purposegate_audit_append_seconds histogram"), "{text}");
        assert!(text.contains("# TYPE purposegate_push_lag_seconds gauge"), "{text}");
    }

    #[test]
    fn readers_at_the_same_time_see_neither_a_reset_nor_twice_the_total() {
        let metrics = Metrics::new().unwrap();
        let set = |set: &MetricSet, within: &dyn Fn()| {
            set.audit_records.reset();
            within();
            set.audit_records.inc_by(5);
        };
        let (send, other) = std::sync::mpsc::channel();
        let texts = std::thread::scope(|scope| {
            let first = metrics.expose(|metric_set| {
                set(metric_set, &|| {
                    let (metrics, send) = (&metrics, send.clone());
                    scope.spawn(move || {
                        send.send(metrics.expose(|metric_set| set(metric_set, &|| ())).unwrap()).unwrap();
                    });
                    assert!(
                        other.recv_timeout(Duration::from_millis(200)).is_err(),
                        "it waits for the first"
                    );
                });
            });
            [first.unwrap(), other.recv().unwrap()]
        });
        for text in texts {
            assert!(text.contains("\npurposegate_audit_records_total 5\n"), "{text}");
        }
    }

    #[test]
    fn an_age_grows_while_nothing_is_set() {
        let metrics = Metrics::new().unwrap();
        let lag = || -> f64 {
            let text = metrics.expose(|_| ()).unwrap();
            let line = text.lines().find_map(|line| line.strip_prefix("purposegate_push_lag_seconds "));
            line.unwrap().parse().unwrap()
        };
        assert_eq!(lag(), 0.0);
        metrics.push_lag.set_since(Some(Timestamp::now() - Duration::from_secs(100)));
        let first = lag();
        assert!(first >= 100.0 && lag() > first);
        metrics.push_lag.set_since(Some(Timestamp::now() + Duration::from_secs(100)));
        assert_eq!(lag(), 0.0, "an exchange that ends in the future is not late");
        metrics.push_lag.set_since(None);
        assert_eq!(lag(), 0.0);
    }
}
