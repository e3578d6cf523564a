//! Suspicion that green harms blue: both versions share a processor, a disk, a database or a cache.
//!
//! A comparison of green with blue cannot see it: what slows both cancels. So blue beside green is compared with
//! its own past, frozen before green's first share. An outside cause looks the same, so this never convicts:
//! it starts a switchback ([`crate::core::switchback`]), which can tell the two apart. A wrong
//! suspicion costs some minutes, so little slack is left, and no e-value is claimed for it.

use super::Metric;
use super::Policy;
use super::words::{counted, milliseconds, percent};
use crate::core::sequential::{HistoryFail, ln_sum};
use crate::core::stats::{Histogram, History, QUANTILES, SAMPLES_MIN, SpanStats};
use serde::{Deserialize, Serialize};

/// Seconds of blue's past without which there is nothing to compare with.
const SECONDS_MIN: u64 = 20;

/// How far a rate must lie above that of blue's worst minute to count as worse: a ratio and a share of requests.
const SLACK: (f64, f64) = (1.05, 0.001);

/// Blue's rates before green had a share.
///
/// A request is slow at a level when its latency lies above the histogram's bucket that held blue's quantile.
/// The rates are measured at the borders of these buckets, so rounding to buckets does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Share of failed requests that is tolerated.
    pub failures: f64,
    /// The bucket above which a request is slow, for each of [`QUANTILES`].
    pub buckets: [usize; 3],
    /// Shares of slow requests that are tolerated.
    pub slow: [f64; 3],
}

impl Reference {
    /// Freezes blue's last ten minutes; `None` where they hold too little.
    ///
    /// Each rate is that of the worst minute with at least 100 requests, with [`SLACK`].
    pub fn freeze(history: &History) -> Option<Reference> {
        let total = history.total();
        if total.latency.count() < SAMPLES_MIN || history.seconds() < SECONDS_MIN {
            return None;
        }
        let buckets = buckets(&total.latency);
        let busy = || history.minutes().filter(|minute| minute.requests >= 100);
        let worst =
            |rate: &dyn Fn(&SpanStats) -> f64| busy().map(rate).fold(rate(&total), f64::max);
        let unseen = (total.failed + 1) as f64 / (total.requests + 1) as f64;
        Some(Reference {
            failures: no_news(worst(&SpanStats::failure_rate).max(unseen)),
            buckets,
            slow: buckets.map(|bucket| {
                no_news(worst(&|minute: &SpanStats| {
                    share(&minute.latency, bucket).unwrap_or(0.0)
                }))
            }),
        })
    }

    /// The reference after a switchback that did not convict: blue's rates in it are tolerated too, until they get
    /// clearly worse.
    #[must_use]
    pub fn raised(self, seen: &SpanStats) -> Reference {
        let mut raised = self;
        raised.failures = self.failures.max(no_news(CLEARLY * seen.failure_rate()));
        if seen.latency.count() < SAMPLES_MIN {
            return raised;
        }
        let ours = buckets(&seen.latency);
        for (level, bucket) in ours.into_iter().enumerate() {
            raised.buckets[level] = bucket.max(self.buckets[level]);
            let now = share(&seen.latency, raised.buckets[level]).unwrap_or(0.0);
            let now = no_news(CLEARLY * now);
            // Above a higher bucket the old rate was lower than the one tolerated here.
            raised.slow[level] = match bucket > self.buckets[level] {
                true => now,
                false => self.slow[level].max(now),
            };
        }
        raised
    }

    /// The tolerated share of bad requests.
    fn tolerated(&self, metric: Metric) -> f64 {
        metric
            .level()
            .map_or(self.failures, |level| self.slow[level])
    }

    /// The number of requests, and of bad ones among them.
    fn counts(&self, metric: Metric, seen: &SpanStats) -> (u64, u64) {
        match metric.level() {
            None => (seen.requests, seen.failed.min(seen.requests)),
            Some(level) => (
                seen.latency.count(),
                above(&seen.latency, self.buckets[level]),
            ),
        }
    }
}

/// How much worse than in a switchback that cleared green a rate must be to count as worse again.
const CLEARLY: f64 = 1.2;

fn no_news(rate: f64) -> f64 {
    (SLACK.0 * rate + SLACK.1).min(0.95)
}

/// The buckets that hold the quantiles.
fn buckets(latency: &Histogram) -> [usize; 3] {
    QUANTILES.map(|q| Histogram::bucket((1_000.0 * latency.quantile(q)).round() as u64))
}

/// The number of requests in buckets above this one.
fn above(latency: &Histogram, bucket: usize) -> u64 {
    latency.buckets().iter().skip(bucket + 1).sum()
}

fn share(latency: &Histogram, bucket: usize) -> Option<f64> {
    let all = latency.count();
    (all > 0).then(|| above(latency, bucket) as f64 / all as f64)
}

/// Blue beside green against its past, in one share of green's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shared {
    reference: Reference,
    weights: [f64; 4],
    limit: f64,
    tracks: [HistoryFail; 4],
    seen: SpanStats,
}

impl Shared {
    /// Starts a share.
    pub fn new(policy: &Policy, reference: Reference) -> Shared {
        let track =
            |metric| HistoryFail::new(policy.suspicion_betting(), reference.tolerated(metric));
        Shared {
            reference,
            weights: policy.weights,
            limit: policy.suspicion.ln(),
            tracks: Metric::ALL.map(track),
            seen: SpanStats::default(),
        }
    }

    /// The rates that blue is compared with.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Takes blue's statistics over `seconds` seconds.
    pub fn second(&mut self, blue: &SpanStats, seconds: u64) {
        self.seen.merge(blue);
        for (track, metric) in self.tracks.iter_mut().zip(Metric::ALL) {
            let (requests, bad) = self.reference.counts(metric, blue);
            track.block(seconds, requests, bad);
        }
    }

    /// Evidence that blue is worse than its past, in nats: the weighted average of the metrics.
    pub fn ln_e(&self) -> f64 {
        let terms: Vec<f64> = self.weighted().map(|(_, ln_e)| ln_e).collect();
        ln_sum(&terms)
    }

    fn weighted(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        let asked = Metric::ALL.into_iter().zip(self.weights).zip(&self.tracks);
        asked
            .filter(|((_, weight), _)| *weight > 0.0)
            .map(|((metric, weight), track)| (metric, weight.ln() + track.ln_e()))
    }

    /// Why green is suspected to harm blue, if it is.
    pub fn suspicion(&self) -> Option<String> {
        if self.ln_e() < self.limit {
            return None;
        }
        let (metric, _) = self.weighted().max_by(|a, b| a.1.total_cmp(&b.1))?;
        let (requests, bad) = self.reference.counts(metric, &self.seen);
        let (share, counts) = counted(bad, requests);
        let past = percent(self.reference.tolerated(metric));
        Some(match metric.level() {
            None => format!(
                "blue has {share} errors ({counts}) since green's share grew, where its own past allows {past}"
            ),
            Some(level) => {
                let edge = milliseconds(upper(self.reference.buckets[level]));
                format!(
                    "{share} of blue's answers ({counts}) take longer than {edge} since green's share grew, where its own past allows {past}"
                )
            }
        })
    }
}

/// The upper border of a bucket in microseconds.
fn upper(bucket: usize) -> u64 {
    (1_000.0 * 2f64.powf((bucket + 1) as f64 / 8.0) / 32.0).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(requests: u64, failed: u64, millis: f64) -> SpanStats {
        let mut stats = SpanStats {
            requests,
            failed,
            ..SpanStats::default()
        };
        for n in 0..requests - failed {
            // From half to one and a half times the median.
            let spread = 0.5 + n as f64 / (requests - failed) as f64;
            stats.latency.record((1_000.0 * millis * spread) as u64);
        }
        stats
    }

    fn past() -> History {
        let mut history = History::default();
        for n in 0..300 {
            history.push(&second(50, u64::from(n % 20 == 0), 16.0));
        }
        history
    }

    fn suspects(blue: &SpanStats, seconds: u64) -> Option<u64> {
        let reference = Reference::freeze(&past()).unwrap();
        let mut shared = Shared::new(&Policy::default(), reference);
        (1..=seconds).find(|_| {
            shared.second(blue, 1);
            shared.suspicion().is_some()
        })
    }

    #[test]
    fn blue_as_before_is_not_suspicious() {
        assert_eq!(suspects(&second(50, 0, 16.0), 600), None);
        assert_eq!(suspects(&second(25, 0, 16.0), 600), None, "with less load");
    }

    #[test]
    fn a_slower_or_failing_blue_is() {
        let slower = suspects(&second(25, 0, 19.2), 600).unwrap();
        assert!(slower < 120, "a fifth slower: {slower} s");
        let much = suspects(&second(25, 0, 103.0), 600).unwrap();
        assert!(much < 10, "six times slower: {much} s");
        let failing = suspects(&second(50, 1, 16.0), 600).unwrap();
        assert!(failing < 90, "2 % errors: {failing} s");
    }

    #[test]
    fn too_little_past_is_no_reference() {
        let mut history = History::default();
        for _ in 0..19 {
            history.push(&second(50, 0, 16.0));
        }
        assert_eq!(Reference::freeze(&history), None, "19 seconds");
        history.push(&second(50, 0, 16.0));
        assert!(Reference::freeze(&history).is_some());
        let mut history = History::default();
        for _ in 0..100 {
            history.push(&second(1, 0, 16.0));
        }
        assert_eq!(Reference::freeze(&history), None, "100 requests");
    }

    #[test]
    fn what_was_cleared_is_no_news_until_it_gets_clearly_worse() {
        let incident = second(50, 0, 30.0);
        let mut seen = SpanStats::default();
        (0..100).for_each(|_| seen.merge(&incident));
        let reference = Reference::freeze(&past()).unwrap().raised(&seen);
        let policy = Policy::default();
        let mut again = Shared::new(&policy, reference);
        (0..300).for_each(|_| again.second(&incident, 1));
        assert_eq!(again.suspicion(), None);
        (0..60).for_each(|_| again.second(&second(50, 5, 30.0), 1));
        assert!(again.suspicion().is_some_and(|why| why.contains("errors")));
    }

    #[test]
    fn it_says_what_is_worse() {
        let reference = Reference::freeze(&past()).unwrap();
        let mut shared = Shared::new(&Policy::default(), reference);
        (0..10).for_each(|_| shared.second(&second(25, 0, 103.0), 1));
        let why = shared.suspicion().unwrap();
        assert!(
            why.starts_with("100% of blue's answers (250 of 250) take longer than "),
            "{why}"
        );
    }
}
