//! What is known of blue: its past before the rollout, and what it did since the last share.

use super::Traffic;
use crate::core::stats::{Histogram, History, Limits, Margin, SpanStats, Tick};
use crate::simulate::worlds::latency::{BODY, SIGMA, TAIL};
use rand_distr::{Distribution, StandardNormal};

impl Traffic {
    /// The most requests that limits are frozen from.
    const DRAWN: u64 = 60_000;

    /// Seconds of blue alone that a history is made of.
    const PAST: usize = 600;

    /// Freezes limits from what blue did since the last time; the first time from before the rollout.
    ///
    /// Blue's histogram is drawn anew from the same mixture of seconds instead of being kept, and from no
    /// more than 60,000 requests.
    pub fn freeze(&mut self, (fail, pass): (Margin, Margin)) -> Option<Limits> {
        let mut histogram = Histogram::default();
        if self.limits.is_none() {
            let requests = (self.rate * 300.0).clamp(200.0, 5_000.0) as u64;
            self.draw_into(&mut histogram, requests, 0.0);
        } else {
            let seconds = std::mem::take(&mut self.blue);
            let all: u64 = seconds.iter().map(|(n, _)| n).sum();
            let part = (Self::DRAWN as f64 / all.max(1) as f64).min(1.0);
            for (requests, shift) in seconds {
                let requests = if part < 1.0 {
                    self.binomial(requests, part)
                } else {
                    requests
                };
                self.draw_into(&mut histogram, requests, shift);
            }
        }
        let frozen = Limits::freeze(&histogram, fail, pass);
        let frozen = frozen.map(|limits| limits.with_last_byte(&histogram, fail));
        self.limits = frozen.or(self.limits);
        self.limits
    }

    /// Adds so many of blue's requests, each drawn by itself.
    pub(super) fn draw_into(&mut self, histogram: &mut Histogram, requests: u64, shift: f64) {
        let latency = self.latency(0, shift);
        for _ in 0..requests {
            histogram.record((latency.draw(&mut self.rng) * 1_000.0).round() as u64);
        }
    }

    /// Ten minutes of blue alone, before a green that will have no blue beside it.
    pub fn past(&mut self) -> History {
        let mut history = History::default();
        let incident = std::mem::replace(&mut self.incident, usize::MAX);
        for _ in 0..Self::PAST {
            let moment = self.moment();
            self.at = 0;
            let requests = self.poisson(self.rate);
            let failed = self.binomial(requests, moment.errors[0].min(1.0));
            let mut stats = SpanStats {
                requests,
                failed,
                ..SpanStats::default()
            };
            self.draw_into(&mut stats.latency, requests - failed, moment.shift[0]);
            history.push(&stats);
        }
        self.incident = incident;
        history
    }

    /// Ten minutes of blue alone, of which nothing is spared: retries and bursts go on into what follows.
    pub fn blue_alone(&mut self) -> History {
        let mut history = History::default();
        let incident = std::mem::replace(&mut self.incident, usize::MAX);
        for retries in &mut self.retries {
            retries.resize(retries.len() + Self::PAST, 0);
        }
        for _ in 0..Self::PAST {
            self.second_kept(0.0, &mut history);
        }
        self.since = self.at;
        self.incident = self.since.saturating_add(incident);
        history
    }

    /// [`Traffic::second`], with blue's part kept as the product keeps it.
    pub fn second_kept(&mut self, weight: f64, history: &mut History) -> Tick {
        let tick = self.second(weight);
        let Some((timed, shift)) = self.blue.pop() else {
            return tick;
        };
        if weight < 1.0 {
            let mut stats = SpanStats {
                requests: tick.blue.requests,
                failed: tick.blue.failed,
                ..SpanStats::default()
            };
            self.spread_into(&mut stats.latency, timed, shift);
            // A body comes with its first byte.
            stats.last_byte = stats.latency.clone();
            history.push(&stats);
        }
        tick
    }

    /// Like `draw_into` for blue, straight to the buckets: their borders are even in the logarithm.
    pub(super) fn spread_into(&mut self, histogram: &mut Histogram, requests: u64, shift: f64) {
        let slow = self.binomial(requests, TAIL.0);
        let octave = std::f64::consts::LN_2;
        for (count, middle) in [(requests - slow, BODY.1), (slow, TAIL.1)] {
            let at = 8.0 * ((32.0 * middle).log2() + shift / octave);
            for _ in 0..count {
                let z: f64 = StandardNormal.sample(&mut self.rng);
                let bucket = (at + 8.0 * SIGMA / octave * z).floor().max(0.0);
                histogram.add((bucket as usize).min(Histogram::BUCKETS - 1), 1);
            }
        }
    }
}
