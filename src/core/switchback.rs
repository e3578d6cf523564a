//! Does green harm blue? Blue is compared with itself, with green and without it, in windows in random order.
//!
//! Windows come in pairs. In one window of each pair, drawn by chance, green has its share; in the other one
//! its requests are served by blue. Only the requests of *blue's own callers* are compared, those that blue
//! would serve in either window: they are the same part of the callers in both, so a heavy user that is pinned to
//! blue, or a rule that sends some paths there, is in both windows alike.
//!
//! **Why this is valid.** The null hypothesis is Fisher's sharp one: what blue answers its own callers in the two
//! windows of a pair does not depend on which of them green has its share in. Then the two windows' counts are
//! fixed before the draw, whatever happens outside (incidents, drift, bursts, a day's ramp), and "the worse window
//! is the one with green" is a fair coin, independent of the past and of how far the two windows lie apart. The
//! bet of a pair, a part `lambda` of the wealth, may therefore depend on the distance: the wealth is multiplied by
//! `1 + s * lambda(|z|)` with `s` = +1, -1, or 0 for a tie; its expectation is 1. So it is a nonnegative
//! martingale, and so is the weighted average over metrics and bets. By Ville's inequality (1939) it ever reaches
//! `1 / a` with a probability of at most `a`, however often it is looked at and whenever the switchback ends.
//! (Randomisation tests: Fisher 1935; switchback experiments: Bojinov, Simchi-Levi, Zhao, arXiv 2009.00148;
//! testing by betting: Shafer, arXiv 1903.06991.)
//!
//! What it is paid with: a part of the judge's evidence of harm, taken at the moment of the suspicion
//! ([`crate::core::judge::Judge::stake`]), so that both together send a harmless green back at most once in `1 / alpha`.
//!
//! **Assumptions.** The draw is unknown to traffic (a keyed hash of the rollout's secret salt). A window leaves
//! nothing behind that outlives the `settle` seconds at the begin of the next. In windows without green blue serves
//! all requests: more load makes it slower if anything, which works against a conviction. A blue that is *faster* with
//! more load (caches, connections that sleep) breaks this at a few requests per second; so a window needs some requests
//! to count, and green is not suspected where blue has a small share.

use crate::core::judge::Metric;
use crate::core::judge::words::{against_one, percent, times};
use crate::core::stats::{Margin, QUANTILES, SpanStats};
use crate::core::time::shown;
use crate::core::weight::{Weight, salted};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The largest parts of the wealth that a pair may cost. Two bets, because one error must not cost everything.
pub const BETS: [f64; 2] = [0.8, 0.98];

/// Requests that each window of a pair needs for its errors, p50, p90 and p99 to be compared.
const LEAST_REQUESTS: [u64; 4] = [10, 30, 30, 100];

/// Standard deviations of a sample quantile of a normal distribution, in those of the sample's mean: p50, p90, p99.
const QUANTILE_SPREAD: [f64; 3] = [1.2533, 1.7094, 3.7335];

/// Spread of the logarithm of latency (half a bucket) below which the histogram cannot resolve it.
const SPREAD_MIN: f64 = 0.05;

/// The settings of a switchback.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Seconds of a window.
    pub window: u64,
    /// Seconds at the start of each window that are left out, while requests in flight end and queues drain.
    pub settle: u64,
    /// Highest number of pairs of windows.
    pub pairs: u32,
    /// Difference of blue's latency between the windows of a pair from which it counts.
    pub latency: Margin,
    /// Ratio of blue's error rates between the windows of a pair from which it counts.
    pub error_ratio: f64,
    /// Difference of blue's error rates (as shares, 0 to 1) from which it counts.
    pub error_share: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            window: 10,
            settle: 3,
            pairs: 16,
            latency: Margin {
                ratio: 0.10,
                millis: 1.0,
            },
            error_ratio: 1.10,
            error_share: 0.001,
        }
    }
}

/// The state of a switchback after a second.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Within a window.
    Same,
    /// The next window begins.
    Next,
    /// Green harms blue.
    Convicted {
        /// The reason, in numbers.
        reason: String,
    },
    /// Nothing was proven: an outside cause slows or fails both.
    Cleared {
        /// The reason, in numbers.
        reason: String,
    },
}

/// The result of one pair of windows for one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Tally {
    worse: u32,
    better: u32,
}

/// One switchback: the windows, blue's statistics in them, and the evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Switchback {
    settings: Settings,
    share: Weight,
    weights: [f64; 4],
    ln_stake: f64,
    ln_limit: f64,
    seed: u64,
    window: u32,
    seconds: u64,
    current: SpanStats,
    first: Option<SpanStats>,
    wealth: [[f64; BETS.len()]; 4],
    tallies: [Tally; 4],
    seen: [SpanStats; 2],
}

impl Switchback {
    /// Begins with the first window, while green has this share.
    ///
    /// `weights` are those of the metrics, `ln_stake` is the stake and `ln_limit` the evidence that convicts (natural
    /// logarithms, in nats). The order of the windows follows from `seed`, which must be secret and differ for each
    /// switchback.
    pub fn new(
        settings: Settings,
        share: Weight,
        weights: [f64; 4],
        (ln_stake, ln_limit): (f64, f64),
        seed: u64,
    ) -> Switchback {
        Switchback {
            settings,
            share,
            weights,
            ln_stake,
            ln_limit,
            seed,
            window: 0,
            seconds: 0,
            current: SpanStats::default(),
            first: None,
            wealth: [[1.0; BETS.len()]; 4],
            tallies: Default::default(),
            seen: Default::default(),
        }
    }

    /// Whether green has its share in the present window.
    pub fn green_on(&self) -> bool {
        let with_first = salted(u64::from(self.window / 2), self.seed) >> 63 == 1;
        with_first == self.window.is_multiple_of(2)
    }

    /// The current window, from 1, and the highest number of windows.
    pub fn progress(&self) -> (u32, u32) {
        (self.window + 1, 2 * self.settings.pairs)
    }

    /// Blue's statistics in all windows so far, with green and without.
    pub fn seen(&self) -> SpanStats {
        let mut all = self.seen[0].clone();
        all.merge(&self.seen[1]);
        all
    }

    /// Natural logarithm of the evidence that green harms blue, times the stake, in nats.
    pub fn ln_e(&self) -> f64 {
        self.ln_stake + self.mean(|wealth, _| wealth).ln()
    }

    /// The evidence if every remaining pair were won whole, in nats.
    fn ln_best(&self) -> f64 {
        let done = (self.window / 2).min(self.settings.pairs);
        let left = (self.settings.pairs - done) as i32;
        self.ln_stake
            + self
                .mean(|wealth, bet| wealth * (1.0 + bet).powi(left))
                .ln()
    }

    fn mean(&self, of: impl Fn(f64, f64) -> f64) -> f64 {
        let metrics = self.wealth.iter().zip(self.weights);
        let mean = |wealth: &[f64; BETS.len()]| {
            let bets = wealth.iter().zip(BETS);
            bets.map(|(wealth, bet)| of(*wealth, bet)).sum::<f64>() / BETS.len() as f64
        };
        metrics.map(|(wealth, weight)| weight * mean(wealth)).sum()
    }

    /// Takes the statistics of blue's own callers over `seconds` seconds of the current window.
    ///
    /// After [`Standing::Next`], [`Switchback::green_on`] says whether green has its share in the next window.
    pub fn second(&mut self, blue: &SpanStats, seconds: u64) -> Standing {
        if self.seconds >= self.settings.settle {
            self.current.merge(blue);
        }
        self.seconds += seconds;
        if self.seconds < self.settings.window {
            return Standing::Same;
        }
        let on = self.green_on();
        let window = std::mem::take(&mut self.current);
        self.seen[usize::from(on)].merge(&window);
        self.seconds = 0;
        self.window += 1;
        match self.first.take() {
            None => self.first = Some(window),
            Some(first) if on => self.pair(&window, &first),
            Some(first) => self.pair(&first, &window),
        }
        if self.ln_e() >= self.ln_limit {
            let reason = self.words();
            Standing::Convicted { reason }
        } else if self.ln_best() < self.ln_limit {
            let reason = self.excuse();
            Standing::Cleared { reason }
        } else {
            Standing::Next
        }
    }

    /// Takes a pair: blue's statistics with green, and without it.
    fn pair(&mut self, with: &SpanStats, without: &SpanStats) {
        for metric in Metric::ALL {
            let Some(z) = self.settings.difference(metric, with, without) else {
                continue;
            };
            let m = metric as usize;
            let tally = &mut self.tallies[m];
            *(if z > 0.0 {
                &mut tally.worse
            } else {
                &mut tally.better
            }) += 1;
            for (wealth, bet) in self.wealth[m].iter_mut().zip(BETS) {
                // Odd in z: the bet depends on |z| alone, the draw decides whether it is won.
                *wealth *= 1.0 + bet * (z / 2.0).tanh();
            }
        }
    }

    /// The metric with most weight.
    fn leading(&self) -> Metric {
        let weight = |metric: Metric| {
            let m = metric as usize;
            self.weights[m] * self.wealth[m].iter().sum::<f64>()
        };
        let most = Metric::ALL
            .into_iter()
            .max_by(|a, b| weight(*a).total_cmp(&weight(*b)));
        most.unwrap_or(Metric::Err)
    }

    /// `blue is 6.2x slower (p50 16 -> 103 ms) while green has 50%: in 11 of 11 pairs of windows (evidence 370:1)`.
    fn words(&self) -> String {
        let metric = self.leading();
        let [without, with] = &self.seen;
        let Tally { worse, better } = self.tallies[metric as usize];
        let what = match metric.level() {
            None => format!(
                "blue fails more ({} -> {} errors)",
                percent(without.failure_rate()),
                percent(with.failure_rate())
            ),
            Some(level) => {
                let q = QUANTILES[level];
                let (without, with) = (without.latency.quantile(q), with.latency.quantile(q));
                let ratio = with / without;
                let slower = match ratio {
                    r if r >= 1.95 => format!("{} slower", times(r)),
                    r => format!("{} slower", percent(r - 1.0)),
                };
                format!(
                    "blue is {slower} ({} {} -> {} ms)",
                    metric.name(),
                    millis(without),
                    millis(with)
                )
            }
        };
        let pairs = worse + better;
        let evidence = against_one(self.ln_e());
        let share = self.share;
        format!(
            "{what} while green has {share}: in {worse} of {pairs} pairs of windows (evidence {evidence})"
        )
    }

    fn excuse(&self) -> String {
        let metric = self.leading();
        let Tally { worse, better } = self.tallies[metric as usize];
        let (pairs, all) = (worse + better, self.window / 2);
        match pairs {
            0 => {
                format!("blue does the same without green: no difference in {all} pairs of windows")
            }
            _ => format!(
                "blue does no better without green: worse with it in {worse} of {all} pairs of windows, better in {better}"
            ),
        }
    }
}

fn millis(value: f64) -> String {
    if value >= 9.95 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

impl Settings {
    /// Pairs that convict a green with plain harm: each of them is won nearly whole.
    const PLAIN: u32 = 12;

    /// What can be found with a plan, and how long that takes; `rps` are the service's requests per second.
    pub fn outlook(&self, rps: Option<f64>) -> String {
        let pairs = Settings::PLAIN.min(self.pairs);
        let takes = Duration::from_secs(2 * self.window * u64::from(pairs));
        let longest = Duration::from_secs(2 * self.window * u64::from(self.pairs));
        let mut text = format!(
            "where green makes blue slower by more than {:.0}% + {:.0} ms (one machine or database for both): back about {} after the suspicion, by {pairs} pairs of windows; what comes from outside holds the rollout up for at most {}",
            100.0 * self.latency.ratio,
            self.latency.millis,
            shown(takes),
            shown(longest),
        );
        // Requests of a window in an equal share.
        let counted = rps.map(|rps| 0.5 * rps * (self.window - self.settle) as f64);
        let [_, median, .., slowest] = LEAST_REQUESTS;
        match counted {
            Some(counted) if counted < median as f64 => text.push_str(
                "; at this traffic a window has too few requests to compare latency: only errors are compared",
            ),
            Some(counted) if counted < slowest as f64 => {
                text.push_str("; at this traffic a window has too few requests to compare p99");
            }
            _ => {}
        }
        text
    }

    /// How far blue with green is above blue without, in standard deviations; `None` where the difference is too
    /// small to count, or where a window has too few requests.
    ///
    /// Swapping the two changes only the sign: validity rests on this.
    pub fn difference(&self, metric: Metric, with: &SpanStats, without: &SpanStats) -> Option<f64> {
        match metric.level() {
            None => self.failures(with, without),
            Some(level) => self.slowness(level, with, without),
        }
    }

    fn failures(&self, with: &SpanStats, without: &SpanStats) -> Option<f64> {
        let (n, m) = (with.requests, without.requests);
        if n.min(m) < LEAST_REQUESTS[0] {
            return None;
        }
        let (p, q) = (with.failure_rate(), without.failure_rate());
        let above = |one: f64, other: f64| one > self.error_ratio * other + self.error_share;
        if !above(p, q) && !above(q, p) {
            return None;
        }
        let pooled = ((with.failed + without.failed) as f64 + 0.5) / ((n + m) as f64 + 1.0);
        let variance = pooled * (1.0 - pooled).max(1e-9) * (1.0 / n as f64 + 1.0 / m as f64);
        Some((p - q) / variance.sqrt())
    }

    fn slowness(&self, level: usize, with: &SpanStats, without: &SpanStats) -> Option<f64> {
        let (n, m) = (with.latency.count(), without.latency.count());
        if n.min(m) < LEAST_REQUESTS[level + 1] {
            return None;
        }
        let quantile = QUANTILES[level];
        let (p, q) = (
            with.latency.quantile(quantile),
            without.latency.quantile(quantile),
        );
        if p <= self.latency.above(q) && q <= self.latency.above(p) {
            return None;
        }
        let mut both = with.latency.clone();
        both.merge(&without.latency);
        // The 90 % quantile of a normal distribution lies 1.2816 deviations above the median.
        let spread = ((both.quantile(0.9) / both.quantile(0.5)).ln() / 1.2816).max(SPREAD_MIN);
        let error = QUANTILE_SPREAD[level] * spread * (1.0 / n as f64 + 1.0 / m as f64).sqrt();
        Some((p / q).ln() / error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHTS: [f64; 4] = [0.5, 0.15, 0.15, 0.20];
    const HALF: Weight = match Weight::percent(50) {
        Some(half) => half,
        None => Weight::NONE,
    };

    struct Rng(u64);

    impl Rng {
        fn uniform(&mut self) -> f64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1u64 << 53) as f64
        }
    }

    fn blue(rng: &mut Rng, requests: u64, millis: f64, failing: f64) -> SpanStats {
        let mut stats = SpanStats::default();
        for _ in 0..requests {
            stats.requests += 1;
            if rng.uniform() < failing {
                stats.failed += 1;
            } else {
                let spread = (0.5 * (rng.uniform() + rng.uniform() + rng.uniform() - 1.5)).exp();
                stats.latency.record((1_000.0 * millis * spread) as u64);
            }
        }
        stats
    }

    /// The end of a switchback in a world that gives blue's milliseconds and error rate.
    fn ends(seed: u64, mut world: impl FnMut(u64, bool) -> (f64, f64)) -> (Standing, u64, f64) {
        let mut rng = Rng(seed * 2 + 1);
        let settings = Settings::default();
        let mut switchback = Switchback::new(
            settings,
            HALF,
            WEIGHTS,
            (-0.5, 100f64.ln()),
            salted(seed, 7),
        );
        for second in 1.. {
            let (millis, failing) = world(second, switchback.green_on());
            let seen = blue(&mut rng, 25, millis, failing);
            match switchback.second(&seen, 1) {
                Standing::Same | Standing::Next => {}
                end => return (end, second, switchback.ln_e()),
            }
        }
        unreachable!()
    }

    fn convicted(end: &Standing) -> bool {
        matches!(end, Standing::Convicted { .. })
    }

    #[test]
    fn harm_is_convicted_with_words() {
        let (end, seconds, _) = ends(1, |_, on| if on { (103.0, 0.001) } else { (16.0, 0.001) });
        let Standing::Convicted { reason } = end else {
            panic!("{end:?}")
        };
        assert!(seconds <= 240, "{seconds}");
        assert!(
            reason.starts_with("blue is 6.") && reason.contains("x slower (p"),
            "{reason}"
        );
        assert!(reason.contains("pairs of windows (evidence "), "{reason}");
        let (end, _, _) = ends(2, |_, on| (16.0, if on { 0.10 } else { 0.001 }));
        let Standing::Convicted { reason } = end else {
            panic!("{end:?}")
        };
        assert!(reason.starts_with("blue fails more (0"), "{reason}");
    }

    #[test]
    fn a_fifth_slower_is_found_in_most_runs() {
        let found = (0..200)
            .filter(|&seed| convicted(&ends(seed, |_, on| (if on { 19.2 } else { 16.0 }, 0.0)).0))
            .count();
        assert!(found >= 100, "{found} of 200");
    }

    #[test]
    fn what_happens_outside_convicts_at_most_as_often_as_was_staked() {
        // A stake of 0.6 that convicts at 100: at most 0.6 %.
        type World = fn(u64, bool) -> (f64, f64);
        let worlds: [World; 4] = [
            |_, _| (16.0, 0.001),
            |second, _| (if second > 25 { 60.0 } else { 16.0 }, 0.05),
            |second, _| (16.0 * (1.0 + second as f64 / 60.0), 0.01),
            |second, _| (if second % 17 < 8 { 16.0 } else { 40.0 }, 0.01),
        ];
        for (at, world) in worlds.into_iter().enumerate() {
            let back = (0..600)
                .filter(|&seed| convicted(&ends(seed, world).0))
                .count();
            assert!(back <= 12, "world {at}: {back} of 600");
        }
    }

    #[test]
    fn the_wealth_is_a_martingale_whatever_the_windows_hold() {
        // Over all orders of four pairs the mean wealth is exactly what was staked.
        let settings = Settings::default();
        let mut rng = Rng(99);
        let windows: Vec<[SpanStats; 2]> = (0..4)
            .map(|pair| {
                let wild =
                    |rng: &mut Rng, at: u64| blue(rng, 60 + 40 * at, 10.0 + 7.0 * at as f64, 0.1);
                [wild(&mut rng, pair), wild(&mut rng, 3 - pair)]
            })
            .collect();
        let mut mean = 0.0;
        for order in 0..16u32 {
            let mut switchback = Switchback::new(settings, HALF, WEIGHTS, (0.0, f64::INFINITY), 0);
            for (pair, [a, b]) in windows.iter().enumerate() {
                match order >> pair & 1 {
                    0 => switchback.pair(a, b),
                    _ => switchback.pair(b, a),
                }
            }
            mean += switchback.ln_e().exp() / 16.0;
        }
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
    }

    #[test]
    fn a_pair_has_green_in_one_of_its_windows_and_the_order_is_drawn() {
        let mut switchback = Switchback::new(Settings::default(), HALF, WEIGHTS, (0.0, 100.0), 5);
        let mut firsts = 0;
        for pair in 0..1_000 {
            switchback.window = 2 * pair;
            let first = switchback.green_on();
            switchback.window += 1;
            assert_ne!(first, switchback.green_on());
            firsts += u32::from(first);
        }
        assert!((430..570).contains(&firsts), "{firsts}");
    }

    #[test]
    fn it_ends_when_it_cannot_be_won_any_more() {
        let (end, seconds, _) = ends(3, |_, on| if on { (16.0, 0.0) } else { (40.0, 0.0) });
        assert!(matches!(end, Standing::Cleared { .. }), "{end:?}");
        assert!(seconds < 16 * 20, "{seconds}: that is to the last pair");
        let mut switchback = Switchback::new(Settings::default(), HALF, WEIGHTS, (0.0, 4.6), 5);
        let mut seconds = 0;
        let reason = loop {
            seconds += 1;
            match switchback.second(&SpanStats::default(), 1) {
                Standing::Cleared { reason } => break reason,
                Standing::Convicted { reason } => panic!("{reason}"),
                _ => {}
            }
        };
        assert!(seconds <= 320, "{seconds}");
        assert!(reason.contains("no difference in "), "{reason}");
    }

    #[test]
    fn a_plan_is_told_what_can_be_found() {
        let settings = Settings::default();
        let text = settings.outlook(Some(50.0));
        assert!(
            text.contains("more than 10% + 1 ms") && text.contains("about 4m after"),
            "{text}"
        );
        assert!(!text.contains("at this traffic"), "{text}");
        assert!(settings.outlook(Some(20.0)).ends_with("to compare p99"));
        assert!(
            settings
                .outlook(Some(5.0))
                .ends_with("only errors are compared")
        );
    }

    #[test]
    fn the_begin_of_a_window_is_left_out() {
        let mut switchback = Switchback::new(Settings::default(), HALF, WEIGHTS, (0.0, 4.6), 5);
        let mut rng = Rng(3);
        for second in 0..10 {
            let millis = if second < 3 { 500.0 } else { 10.0 };
            switchback.second(&blue(&mut rng, 20, millis, 0.0), 1);
        }
        let seen = switchback.seen();
        assert_eq!(seen.requests, 140);
        assert!(seen.latency.quantile(0.99) < 30.0);
    }
}
