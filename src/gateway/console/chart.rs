//! Bar charts as SVG. The template draws; this module says where.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Width of a chart in its own units. The template has the height.
const WIDTH: usize = 760;
/// Left edge of the bars; left of it stand the numbers of the axis.
const LEFT: usize = 72;
/// Lower edge of the bars; below stand the times.
const BOTTOM: usize = 162;
/// Distance between the parts of a bar: their colours alone do not tell them apart.
const GAP: usize = 1;
/// Upper edge of the highest bar, but for gaps and parts that are higher than their number.
const TOP: usize = 16;
/// Number of times below the bars.
const TIMES: usize = 6;

/// A chart of stacked bars.
#[derive(Debug)]
pub(super) struct BarChart {
    /// The id of the description within the page.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: String,
    /// Class and name of each part, from below.
    pub(super) parts: Vec<(&'static str, &'static str)>,
    pub(super) bars: Vec<BarPart>,
    pub(super) lines: Vec<AxisLine>,
    pub(super) times: Vec<(usize, String)>,
    pub(super) rows: Vec<ChartRow>,
    /// The length of a period in words.
    pub(super) period: String,
}

/// One part of a bar.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BarPart {
    pub(super) class: &'static str,
    pub(super) x: usize,
    pub(super) y: usize,
    pub(super) width: usize,
    pub(super) height: usize,
}

/// A horizontal line with its number.
#[derive(Debug)]
pub(super) struct AxisLine {
    pub(super) y: usize,
    pub(super) label: u64,
}

/// One period in the table below a chart.
#[derive(Debug)]
pub(super) struct ChartRow {
    pub(super) time: String,
    pub(super) values: Vec<u64>,
}

impl BarChart {
    /// Draws periods that begin at these times.
    pub(super) fn new<const N: usize>(
        (id, title): (&'static str, &'static str),
        parts: [(&'static str, &'static str); N],
        periods: &[(Timestamp, [u64; N])],
        length: Duration,
    ) -> BarChart {
        let highest = periods.iter().map(|(_, values)| values.iter().sum()).max().unwrap_or(0);
        let scale = top_of_scale(highest);
        let step = (WIDTH - LEFT) / periods.len().max(1);
        let mut bars = Vec::new();
        for (at, (_, values)) in periods.iter().enumerate() {
            let (mut counted, mut top) = (0_u64, 0);
            for ((class, _), value) in parts.iter().zip(values).filter(|(_, value)| **value > 0) {
                counted += value;
                let lower = if top == 0 { 0 } else { top + GAP };
                // One refusal beside hundreds of releases is seen, too.
                top = height_of(counted, scale).max(lower + 1);
                let width = step.saturating_sub(2).clamp(1, 40);
                let (x, y) = (LEFT + at * step, BOTTOM.saturating_sub(top));
                bars.push(BarPart { class, x, y, width, height: top - lower });
            }
        }
        let totals: Vec<String> = parts
            .iter()
            .enumerate()
            .map(|(part, (_, name))| {
                let sum: u64 = periods.iter().filter_map(|(_, values)| values.get(part)).sum();
                format!("{sum} {name}")
            })
            .collect();
        let every = periods.len().div_ceil(TIMES).max(1);
        let times = periods.iter().enumerate().step_by(every);
        BarChart {
            id,
            title,
            description: format!(
                "{} in {} periods of {}",
                totals.join(", "),
                periods.len(),
                in_words(length)
            ),
            parts: parts.to_vec(),
            bars,
            lines: [0, scale / 2, scale]
                .map(|label| AxisLine { y: BOTTOM - height_of(label, scale), label })
                .into(),
            times: times.map(|(at, (time, _))| (LEFT + at * step, clock_time(*time))).collect(),
            rows: periods
                .iter()
                .rev()
                .map(|(time, values)| ChartRow { time: clock_time(*time), values: values.to_vec() })
                .collect(),
            period: in_words(length),
        }
    }

    /// True if nothing was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }
}

/// Returns the height of a number of counted things.
fn height_of(count: u64, scale: u64) -> usize {
    let full = u64::try_from(BOTTOM - TOP).unwrap_or(0);
    usize::try_from(u128::from(count) * u128::from(full) / u128::from(scale.max(1))).unwrap_or(0)
}

/// Returns the number at the top of the axis: one, two or five times a power of ten, and even.
fn top_of_scale(highest: u64) -> u64 {
    let powers = (0..19).map(|power| 10_u64.pow(power));
    let steps = powers.flat_map(|power| [1, 2, 5].map(|factor| power.saturating_mul(factor)));
    steps
        .filter(|step| *step >= 2)
        .map(|step| step + step % 2)
        .find(|step| *step >= highest)
        .unwrap_or(u64::MAX)
}

fn in_words(length: Duration) -> String {
    match length.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

fn clock_time(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_stand_on_each_other_within_the_chart() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let periods = [(at(0), [3, 1]), (at(10), [0, 0]), (at(20), [10, 10])];
        let chart = BarChart::new(
            ("c", "t"),
            [("released", "a"), ("refused", "b")],
            &periods,
            Duration::from_secs(10),
        );
        assert_eq!(chart.bars.len(), 4);
        assert_eq!(chart.description, "13 a, 11 b in 3 periods of 10 s");
        let [low, high] = [&chart.bars[2], &chart.bars[3]];
        assert_eq!((high.y + high.height + GAP, low.y + low.height, high.y), (low.y, BOTTOM, TOP));
        assert!(chart.bars.iter().all(|bar| bar.x + bar.width <= WIDTH));
        assert_eq!(
            chart.rows.iter().map(|row| row.time.as_str()).collect::<Vec<_>>(),
            ["00:00:20", "00:00:10", "00:00:00"]
        );
    }

    #[test]
    fn everything_that_was_counted_has_a_bar_of_its_own() {
        let periods = [(Timestamp::UNIX_EPOCH, [500, 1, 1]), (Timestamp::UNIX_EPOCH, [0, 1, 0])];
        let parts = [("released", "a"), ("refused", "b"), ("aborted", "c")];
        let bars = BarChart::new(("c", "t"), parts, &periods, Duration::from_secs(10)).bars;
        assert_eq!(bars.len(), 4);
        assert!(bars.iter().all(|bar| bar.height > 0), "{bars:?}");
        for (below, above) in [(&bars[0], &bars[1]), (&bars[1], &bars[2])] {
            assert_eq!(above.y + above.height + GAP, below.y, "{bars:?}");
        }
    }

    #[test]
    fn the_axis_ends_at_a_round_number_that_holds_every_bar() {
        for (highest, top) in
            [(0, 2), (2, 2), (3, 6), (7, 10), (11, 20), (99, 100), (101, 200), (4_001, 5_000)]
        {
            assert_eq!(top_of_scale(highest), top);
        }
        assert!(top_of_scale(u64::MAX) == u64::MAX);
        let nothing = BarChart::new(("c", "t"), [("released", "a")], &[], Duration::from_secs(10));
        assert!(nothing.is_empty() && nothing.times.is_empty());
    }
}
