//! Limits of latency beside a baseline.
//!
//! A share begins with limits from blue's pool, so that gross slowness is seen at once. The baseline is colder than that
//! pool, as green is, and above limits of a warm pool both would have nearly all of their requests: then a green that is
//! slower still has no more of them. So the limits are frozen once more, from the baseline's own times after the grace of
//! latency. The new limits depend on the past only, and hold for requests that begin later: the evidence stays valid.

use crate::core::judge::Judge;
use crate::core::stats::Histogram;

/// The baseline's times in one share, until its limits are frozen from them.
#[derive(Clone, Debug, Default)]
pub(super) struct Fair {
    times: Histogram,
    frozen: bool,
}

impl Fair {
    /// Adds times; returns all so far when they are needed: once, beside a baseline, after the latency grace.
    pub(super) fn add(&mut self, judge: &Judge, times: &Histogram) -> Option<&Histogram> {
        if self.frozen || !judge.terms().baseline || !judge.hears_latency() {
            return None;
        }
        self.times.merge(times);
        Some(&self.times)
    }

    /// Notes that the limits have been frozen.
    pub(super) fn freeze(&mut self) {
        *self = Fair {
            times: Histogram::default(),
            frozen: true,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Evidence, Past, RecordedLine, Share};
    use super::*;
    use crate::core::judge::{Policy, Terms};
    use crate::core::stats::{History, SpanStats, Tick};
    use crate::core::weight::Weight;

    fn times(millis: u64, many: u64) -> Histogram {
        let mut times = Histogram::default();
        times.add(Histogram::bucket(1_000 * millis), many);
        times
    }

    /// A share of 5 % beside a warm blue.
    fn share(baseline: bool) -> (Evidence, History) {
        let mut blue = History::default();
        blue.push(&SpanStats {
            requests: 1_000,
            failed: 0,
            latency: times(5, 1_000),
            ..SpanStats::default()
        });
        let mut evidence = Evidence::new(Policy::default(), false);
        let past = Past {
            history: &blue,
            kept: None,
        };
        let share = Share {
            weight: Weight::percent(5).unwrap(),
            last: false,
            blue_can_answer: false,
            terms: Terms {
                raised: true,
                baseline,
                ..Terms::default()
            },
        };
        evidence.start_share(share, &past);
        (evidence, blue)
    }

    #[test]
    fn limits_are_those_of_a_copy_as_cold_as_green_once_it_has_had_its_grace() {
        let (mut evidence, _) = share(true);
        let warm = evidence.limits().unwrap();
        assert!(warm.blue[0] < 6_000, "{warm:?}");
        assert_eq!(
            evidence.freeze_fairly(&times(500, 1_000)),
            None,
            "its grace"
        );
        while !evidence.judge().hears_latency() {
            evidence.second(&Tick::default());
        }
        assert_eq!(evidence.freeze_fairly(&times(12, 199)), None, "too few");
        let line = evidence.freeze_fairly(&times(12, 1)).unwrap();
        let RecordedLine::Limits(cold) = line else {
            panic!("{line:?}")
        };
        assert_eq!(evidence.limits(), Some(cold));
        assert!((11_000..14_000).contains(&cold.blue[0]), "{cold:?}");
        assert_eq!(evidence.freeze_fairly(&times(500, 1_000)), None, "once");
    }

    #[test]
    fn without_a_baseline_they_stay() {
        let (mut evidence, _) = share(false);
        while !evidence.judge().hears_latency() {
            evidence.second(&Tick::default());
        }
        assert_eq!(evidence.freeze_fairly(&times(12, 1_000)), None);
    }
}
