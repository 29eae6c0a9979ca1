//! Counters of the process, summed over the labels that a page does not show.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::proto::{Metric, MetricFamily};

/// Returns the sums of a counter, by the values of some of its labels. Values are whole numbers.
pub(super) fn counted_by<const N: usize>(
    counter: &impl Collector,
    labels: [&str; N],
) -> BTreeMap<[String; N], u64> {
    let mut sums = BTreeMap::new();
    for metric in counter.collect().iter().flat_map(MetricFamily::get_metric) {
        let key = labels.map(|label| value(metric, label));
        *sums.entry(key).or_default() += count(metric.get_counter().get_value());
    }
    sums
}

/// Returns the sum of a counter.
pub(super) fn total(counter: &impl Collector) -> u64 {
    counted_by(counter, []).into_values().sum()
}

fn value(metric: &Metric, label: &str) -> String {
    let found = metric.get_label().iter().find(|pair| pair.name() == label);
    found.map(|pair| pair.value().to_owned()).unwrap_or_default()
}

/// Converts the value of a counter that is only increased by one.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a count is not negative and below 2^53"
)]
fn count(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn counts_are_summed_over_the_labels_that_are_left_out() {
        let metrics = Metrics::new().unwrap();
        for (route, recipient, outcome, count) in
            [("a", "x", "released", 2), ("b", "x", "released", 3), ("a", "y", "refused", 4)]
        {
            metrics.requests.with_label_values(&[route, recipient, "p", outcome]).inc_by(count);
        }
        let by_outcome = counted_by(&metrics.requests, ["outcome"]);
        let sums: Vec<(&str, u64)> = by_outcome.iter().map(|([of], sum)| (of.as_str(), *sum)).collect();
        assert_eq!(sums, [("refused", 4), ("released", 5)]);
        assert_eq!(total(&metrics.requests), 9);
    }
}
