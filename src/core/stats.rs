//! Observed traffic: counts per second, a latency histogram, and blue's recent past.

use crate::core::answers::AnswerTick;
use crate::core::users::UserTick;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Latency levels that are judged: the quantiles of blue at which green is compared.
pub const QUANTILES: [f64; 3] = [0.50, 0.90, 0.99];

/// Samples of blue that a limit or a baseline needs to be meaningful.
pub const SAMPLES_MIN: u64 = 200;

/// The quantile of blue at which the time until the last byte is compared.
pub const LAST_BYTE_QUANTILE: f64 = 0.90;

/// Highest limit of the last byte, in milliseconds.
const LAST_BYTE_MAX: f64 = 9_000.0;

/// Highest failure rate that is tolerated beyond blue's own, where blue has hardly a past.
const UNKNOWN_RATE: f64 = 0.05;

/// One pool's counts over one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolCounts {
    /// Requests that ended in this second and count (client-caused ends do not).
    pub requests: u64,
    /// Requests that the pool failed, of those in `requests`.
    pub failed: u64,
    /// Requests that *started* in the second now finalised and did not fail: the latency sample.
    pub timed: u64,
    /// Requests in `timed` above the FAIL limit of each level (blue: above its own quantile).
    pub slow_fail: [u64; 3],
    /// Requests in `timed` above the PASS limit of each level (blue: above its own quantile).
    pub slow_pass: [u64; 3],
    /// Requests in `timed` above the absolute limit of each level, where there is one.
    #[serde(default)]
    pub slow_slo: [u64; 3],
    /// Requests in `timed` above [`Limits::gross`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub slow_gross: u64,
    /// The counts by users, where users are pinned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<UserTick>,
    /// The counts of answers. Where users are pinned: of answers to newcomers.
    #[serde(default, skip_serializing_if = "AnswerTick::is_empty")]
    pub answers: AnswerTick,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Both pools' counts over one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// The version that runs now.
    pub blue: PoolCounts,
    /// The version that is to replace it.
    pub green: PoolCounts,
}

/// Latency limits in microseconds, frozen at the start of a step from blue's recent past.
///
/// A request is slow at level `j` when it took longer than `blue[j]` on blue, or longer than
/// `fail[j]` (`pass[j]`) on green. Frozen limits are predictable, so a sequential test stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Blue's own quantiles d_j, in microseconds.
    pub blue: [u64; 3],
    /// `1.10 d_j + 1 ms`, in microseconds: beyond it green is worse.
    pub fail: [u64; 3],
    /// `1.50 d_j + 10 ms`, in the last step `1.25 d_j + 5 ms`, in microseconds: within it green is good enough.
    pub pass: [u64; 3],
    /// Limits of the time until the last byte in microseconds, blue's and green's, where that is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_byte: Option<[u64; 2]>,
}

/// Absolute limits of latency in microseconds, one for each of [`QUANTILES`], where there are some.
pub type Ceilings = [Option<u64>; 3];

/// How far green's latency may lie above blue's: a ratio and milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Margin {
    /// Share of blue's quantile: 0.10 allows a tenth more.
    pub ratio: f64,
    /// Milliseconds on top.
    pub millis: f64,
}

impl Margin {
    /// A margin of this ratio and `millis` milliseconds on top.
    pub const fn of(ratio: f64, millis: f64) -> Margin {
        Margin { ratio, millis }
    }

    /// The limit in milliseconds that lies this margin above `millis`.
    pub fn above(&self, millis: f64) -> f64 {
        (1.0 + self.ratio) * millis + self.millis
    }
}

impl Limits {
    /// Limits for a green that serves alone: blue has no slow requests to count.
    pub fn alone(limits: [u64; 3]) -> Limits {
        Limits {
            blue: limits,
            fail: limits,
            pass: limits,
            last_byte: None,
        }
    }

    /// Freezes limits from blue's histogram; `None` below [`SAMPLES_MIN`] samples.
    pub fn freeze(blue: &Histogram, fail: Margin, pass: Margin) -> Option<Limits> {
        if blue.count() < SAMPLES_MIN {
            return None;
        }
        let quantiles = QUANTILES.map(|q| blue.quantile(q));
        let above = |margin: Margin| quantiles.map(|d| micros(margin.above(d)));
        Some(Limits {
            blue: quantiles.map(micros),
            fail: above(fail),
            pass: above(pass),
            last_byte: None,
        })
    }

    /// These limits with those of the time until the last byte, from blue's histogram of it; unchanged below
    /// [`SAMPLES_MIN`] samples.
    ///
    /// An answer is waited for 10 s, so green's limit is at most 9 s, and blue's lies the same margin below it.
    pub fn with_last_byte(self, blue: &Histogram, margin: Margin) -> Limits {
        let last_byte = (blue.count() >= SAMPLES_MIN).then(|| {
            let most = (LAST_BYTE_MAX - margin.millis).max(0.0) / (1.0 + margin.ratio);
            let own = blue.quantile(LAST_BYTE_QUANTILE).min(most);
            [own, margin.above(own)].map(micros)
        });
        Limits { last_byte, ..self }
    }

    /// Seconds after which the last byte of an answer that started in a second has come or is late, at most 10.
    pub fn last_byte_seconds(&self) -> u64 {
        settle_seconds(self.last_byte.into_iter().flatten())
    }

    /// Seconds after which every request that started in a second is either done or slow, at most 10.
    pub fn settle_seconds(&self) -> u64 {
        settle_seconds(self.fail.iter().chain(&self.pass).copied())
    }

    /// Microseconds above which a request of either pool is grossly slow: ten times blue's median, and at most 9 s.
    pub fn gross(&self) -> u64 {
        (10 * self.blue[0]).min(9_000_000)
    }
}

/// Seconds after which a request that started in a second is either done or above all of these limits, at most 10.
pub fn settle_seconds(limits: impl Iterator<Item = u64>) -> u64 {
    let longest = limits.max().unwrap_or(0);
    (longest.div_ceil(1_000_000) + 1).min(10)
}

fn micros(millis: f64) -> u64 {
    (millis * 1_000.0).round().max(0.0) as u64
}

/// A log histogram of latency: bucket `i` covers `[2^(i/8)/32, 2^((i+1)/8)/32)` milliseconds.
///
/// Eight buckets per octave from 1/32 ms to about two hours; one bucket is 9 % wide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    buckets: Vec<u64>,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            buckets: vec![0; Histogram::BUCKETS],
        }
    }
}

impl Histogram {
    /// Number of buckets.
    pub const BUCKETS: usize = 176;

    /// The bucket of a latency in microseconds.
    pub fn bucket(micros: u64) -> usize {
        let at = ((micros.max(1) as f64 * 0.032).log2() * 8.0).floor();
        (at.max(0.0) as usize).min(Histogram::BUCKETS - 1)
    }

    /// Counts `times` requests of one bucket.
    pub fn add(&mut self, bucket: usize, times: u64) {
        if let Some(slot) = self.buckets.get_mut(bucket) {
            *slot += times;
        }
    }

    /// Counts one request with this latency in microseconds.
    pub fn record(&mut self, micros: u64) {
        self.add(Histogram::bucket(micros), 1);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Histogram) {
        for (slot, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *slot += more;
        }
    }

    /// The histogram without the counts of `some`, which are of some of the same requests.
    pub fn without(&self, some: &Histogram) -> Histogram {
        let pairs = self.buckets.iter().zip(&some.buckets);
        Histogram {
            buckets: pairs.map(|(all, some)| all.saturating_sub(*some)).collect(),
        }
    }

    /// Number of requests in each bucket.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// Number of requests.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The latency in milliseconds below which a share `q` (0..=1) lies: geometric interpolation in the bucket.
    ///
    /// An empty histogram returns its upper end.
    pub fn quantile(&self, q: f64) -> f64 {
        let target = q * self.count() as f64;
        let mut below = 0.0;
        for (i, &count) in self.buckets.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && below + count >= target {
                return 2f64.powf((i as f64 + (target - below) / count) / 8.0) / 32.0;
            }
            below += count;
        }
        2f64.powf(Histogram::BUCKETS as f64 / 8.0) / 32.0
    }
}

/// The statistics of one pool over a span: for display, baselines and the harm cap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanStats {
    /// Requests that count.
    pub requests: u64,
    /// Requests that the pool failed, of those in `requests`.
    pub failed: u64,
    /// Time to first byte of the requests that did not fail.
    pub latency: Histogram,
    /// Time to last byte of the whole answers, where that is compared.
    #[serde(default)]
    pub last_byte: Histogram,
}

impl SpanStats {
    /// Adds another span.
    pub fn merge(&mut self, other: &SpanStats) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.latency.merge(&other.latency);
        self.last_byte.merge(&other.last_byte);
    }

    /// Share of requests that failed, 0 where there was none.
    pub fn failure_rate(&self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            self.failed as f64 / self.requests as f64
        }
    }
}

/// The last ten minutes of a pool, minute by minute.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct History {
    minutes: VecDeque<SpanStats>,
    seconds: u64,
}

impl History {
    const MINUTES: usize = 10;

    /// Adds one second.
    pub fn push(&mut self, second: &SpanStats) {
        if self.seconds.is_multiple_of(60) {
            self.minutes.push_back(SpanStats::default());
            if self.minutes.len() > Self::MINUTES {
                self.minutes.pop_front();
            }
        }
        self.seconds += 1;
        if let Some(minute) = self.minutes.back_mut() {
            minute.merge(second);
        }
    }

    /// The minutes, oldest first; the last one may not be over yet.
    pub fn minutes(&self) -> impl Iterator<Item = &SpanStats> {
        self.minutes.iter()
    }

    /// The whole history as one span.
    pub fn total(&self) -> SpanStats {
        let mut total = SpanStats::default();
        for minute in &self.minutes {
            total.merge(minute);
        }
        total
    }

    /// Seconds in the history, at most 600.
    pub fn seconds(&self) -> u64 {
        self.seconds.min(60 * Self::MINUTES as u64)
    }

    /// The baseline that convicts a green that serves alone (`docs/judgement.md`): `None` for latency without enough
    /// samples.
    pub fn baseline(&self) -> Baseline {
        self.baseline_within(&Slack::CONVICTING)
    }

    /// The baseline that raises suspicion of a green that serves alone: a wrong suspicion costs little, so it tolerates
    /// less.
    pub fn suspicion(&self) -> Baseline {
        self.baseline_within(&Slack::SUSPECTING)
    }

    fn baseline_within(&self, slack: &Slack) -> Baseline {
        let total = self.total();
        let busy = || self.minutes.iter().filter(|minute| minute.requests >= 100);
        let worst_failures = busy().map(SpanStats::failure_rate).fold(0.0, f64::max);
        let plain = (total.failed + 1) as f64 / (total.requests + 1) as f64;
        // Blue has hardly a past: an unknown rate is not taken for half broken.
        let most = if total.requests < SAMPLES_MIN {
            UNKNOWN_RATE + 1.5 * total.failure_rate()
        } else {
            0.5
        };
        let limits = (total.latency.count() >= SAMPLES_MIN).then(|| {
            QUANTILES.map(|q| {
                let worst = busy()
                    .filter(|minute| minute.latency.count() >= 100)
                    .map(|minute| minute.latency.quantile(q))
                    .fold(total.latency.quantile(q), f64::max);
                micros(slack.times_latency * worst + slack.plus_millis)
            })
        });
        Baseline {
            failure_rate: (slack.times_failures * worst_failures.max(plain) + slack.plus_failures)
                .min(most.min(0.5)),
            limits,
        }
    }
}

/// How much worse than the worst minute of blue's past is tolerated.
struct Slack {
    times_failures: f64,
    plus_failures: f64,
    times_latency: f64,
    plus_millis: f64,
}

impl Slack {
    const CONVICTING: Slack = Slack {
        times_failures: 1.5,
        plus_failures: 0.005,
        times_latency: 1.25,
        plus_millis: 5.0,
    };
    const SUSPECTING: Slack = Slack {
        times_failures: 1.2,
        plus_failures: 0.001,
        times_latency: 1.10,
        plus_millis: 1.0,
    };
}

/// Blue's past as a fixed control: the rates that a green serving alone must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Tolerated failure rate p0, 0 to 1.
    pub failure_rate: f64,
    /// Latency limits in microseconds; `1 - QUANTILES[j]` of green may lie above.
    pub limits: Option<[u64; 3]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(requests: u64, failed: u64) -> f64 {
        let mut history = History::default();
        history.push(&SpanStats {
            requests,
            failed,
            ..SpanStats::default()
        });
        history.baseline().failure_rate
    }

    #[test]
    fn what_is_not_known_of_blue_is_not_held_to_be_half_broken() {
        assert!((History::default().baseline().failure_rate - 0.05).abs() < 1e-12);
        assert!((rate(10, 0) - 0.05).abs() < 1e-12);
        assert!(rate(150, 0) < 0.05, "what is known counts");
        assert!((rate(100, 20) - (1.5 * 21.0 / 101.0 + 0.005)).abs() < 1e-12);
        assert!(rate(10, 10) <= 0.5);
    }
}
