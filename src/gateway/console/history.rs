//! Figures of this gateway since it started, for the charts: a ring of samples in memory.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::counted::counted_by;
use crate::exchange::SharedState;

/// Time between two samples.
pub(super) const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum number of samples: four hours. Beyond it the oldest is dropped. They take 80 KiB.
const MAX_SAMPLES: usize = 1440;
/// Maximum number of bars of a chart.
const MAX_BARS: usize = 48;

/// Counters at one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FigureSample {
    pub(super) at: Timestamp,
    /// Exchanges that released something, were refused, or ended early.
    pub(super) exchanges: [u64; 3],
    /// Records that were released, or withheld because nothing personal of them left.
    pub(super) records: [u64; 2],
}

impl FigureSample {
    fn of(shared: &SharedState, at: Timestamp) -> FigureSample {
        let exchanges = counted_by(&shared.metrics.requests, ["outcome"]);
        let records = counted_by(&shared.metrics.records, ["outcome"]);
        let exchanges_with = |outcome: &str| exchanges.get(&[outcome.to_owned()]).copied().unwrap_or(0);
        let records_with = |outcome: &str| records.get(&[outcome.to_owned()]).copied().unwrap_or(0);
        FigureSample {
            at,
            exchanges: ["released", "refused", "aborted"].map(exchanges_with),
            records: ["released", "withheld"].map(records_with),
        }
    }

    fn since(&self, earlier: &FigureSample) -> FigureSample {
        let [released, refused, aborted] = self.exchanges;
        let [records, withheld] = self.records;
        FigureSample {
            at: earlier.at,
            exchanges: [
                released.saturating_sub(earlier.exchanges[0]),
                refused.saturating_sub(earlier.exchanges[1]),
                aborted.saturating_sub(earlier.exchanges[2]),
            ],
            records: [
                records.saturating_sub(earlier.records[0]),
                withheld.saturating_sub(earlier.records[1]),
            ],
        }
    }
}

/// The ring of samples.
#[derive(Debug, Default)]
pub(super) struct FigureHistory {
    samples: VecDeque<FigureSample>,
}

/// Figures of consecutive periods of the same length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FigurePeriods {
    /// Length of a period.
    pub(super) length: Duration,
    /// Increases in each period, which begins at its `at`.
    pub(super) periods: Vec<FigureSample>,
}

impl FigureHistory {
    /// Notes the counters as they are now.
    pub(super) fn take_sample(&mut self, shared: &SharedState) {
        self.push(FigureSample::of(shared, Timestamp::now()));
    }

    fn push(&mut self, sample: FigureSample) {
        if self.samples.len() >= MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// Returns the increases up to now, in at most [`MAX_BARS`] periods.
    pub(super) fn periods(&self, shared: &SharedState, now: Timestamp) -> FigurePeriods {
        self.periods_until(FigureSample::of(shared, now))
    }

    fn periods_until(&self, last: FigureSample) -> FigurePeriods {
        let samples: Vec<FigureSample> = self.samples.iter().copied().chain([last]).collect();
        let intervals = samples.len().saturating_sub(1);
        let merged =
            [1, 3, 6, 30].into_iter().find(|merged| intervals.div_ceil(*merged) <= MAX_BARS).unwrap_or(30);
        // The last period may be shorter than the others.
        let starts = samples.iter().step_by(merged);
        let ends = samples.iter().skip(merged).step_by(merged).chain(samples.last());
        let periods = starts.zip(ends).map(|(start, end)| end.since(start)).take(intervals.div_ceil(merged));
        FigurePeriods {
            length: SAMPLE_INTERVAL.saturating_mul(u32::try_from(merged).unwrap_or(1)),
            periods: periods.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(number: i64) -> FigureSample {
        let count = u64::try_from(number).unwrap();
        FigureSample {
            at: Timestamp::from_second(number * 10).unwrap(),
            exchanges: [count, 2 * count, 0],
            records: [count, 0],
        }
    }

    #[test]
    fn periods_hold_every_increase_once() {
        for taken in [0, 1, 5, 48, 49, 200, 1440, 3000] {
            let mut history = FigureHistory::default();
            (0..taken).for_each(|number| history.push(sample(number)));
            assert!(history.samples.len() <= MAX_SAMPLES);
            let oldest = history.samples.front().map_or(taken, |first| first.at.as_second() / 10);
            let FigurePeriods { length, periods } = history.periods_until(sample(taken));
            assert!(periods.len() <= MAX_BARS, "{taken}: {}", periods.len());
            let increase: u64 = periods.iter().map(|period| period.exchanges[0]).sum();
            assert_eq!(increase, u64::try_from(taken - oldest).unwrap(), "{taken}");
            let starts: Vec<i64> = periods.iter().map(|period| period.at.as_second()).collect();
            let seconds = i64::try_from(length.as_secs()).unwrap();
            assert!(starts.windows(2).all(|two| two[1] - two[0] == seconds), "{taken}: {starts:?}");
        }
    }
}
