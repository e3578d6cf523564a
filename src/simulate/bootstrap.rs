//! A recording of two equal versions, judged many times with its seconds in another order.
//!
//! Blocks of ten seconds are drawn with replacement from the shares in which both versions served (a block
//! bootstrap: Künsch 1989), so bursts stay bursts. Where both had half of the requests the
//! failures of a block change sides by chance: equal versions could have had either.

use crate::core::analysis::RecordedLine;
use crate::core::judge::{Cause, Control, Judge, Metric, Policy};
use crate::core::stats::{PoolCounts, Tick};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};

/// Length of a block in seconds.
pub const BLOCK: usize = 10;

/// Basis points of a half.
const HALF: u16 = 5_000;

/// One share in which both versions served.
#[derive(Clone, Debug)]
pub struct Stretch {
    weight: u16,
    last: bool,
    /// Its seconds; the last ones that do not fill a block are left out.
    ticks: Vec<Tick>,
}

/// The shares of a recording in which blue served beside green.
pub fn stretches(lines: &[RecordedLine]) -> Vec<Stretch> {
    let mut all: Vec<Stretch> = vec![];
    let mut beside = false;
    for line in lines {
        match line {
            RecordedLine::Start {
                last,
                control,
                weight,
                ..
            } => {
                beside = *control == Control::Concurrent;
                if beside {
                    all.push(Stretch {
                        weight: *weight,
                        last: *last,
                        ticks: vec![],
                    });
                }
            }
            RecordedLine::Second { tick, .. } if beside => {
                if let Some(stretch) = all.last_mut() {
                    stretch.ticks.push(*tick);
                }
            }
            _ => {}
        }
    }
    for stretch in &mut all {
        stretch.ticks.truncate(stretch.ticks.len() / BLOCK * BLOCK);
    }
    all.retain(|stretch| !stretch.ticks.is_empty());
    all
}

/// Whether one of them is not at a half, where the sides cannot be swapped.
pub fn uneven(stretches: &[Stretch]) -> bool {
    stretches.iter().any(|stretch| stretch.weight != HALF)
}

/// The sum of their seconds.
pub fn seconds(stretches: &[Stretch]) -> usize {
    stretches.iter().map(|stretch| stretch.ticks.len()).sum()
}

// ---- the spread

/// How far two versions differ in one metric.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    /// Requests of blue, the bad ones, requests of green, the bad ones.
    pub counts: [u64; 4],
    /// Variance of green's bad requests in a block relative to the variance by chance alone; `None` without bad
    /// requests, and for latency, where the limit for green's requests is above blue's.
    pub dispersion: Option<f64>,
    /// Number of blocks in which one side had more than chance explains; `None` as for `dispersion`.
    pub bursts: Option<usize>,
}

/// The spread of a metric: within each block green's share of the bad ones is hypergeometric where versions
/// are equal, whatever happens to both.
pub fn spread(stretches: &[Stretch], metric: Metric) -> Spread {
    let mut spread = Spread::default();
    let (mut squares, mut variances, mut bursts) = (0.0, 0.0, 0);
    for block in stretches
        .iter()
        .flat_map(|stretch| stretch.ticks.chunks(BLOCK))
    {
        let mut sum = [0; 4];
        for tick in block {
            for (sum, more) in sum.iter_mut().zip(counts(tick, metric)) {
                *sum += more;
            }
        }
        for (all, more) in spread.counts.iter_mut().zip(sum) {
            *all += more;
        }
        let [n, x, m, y] = sum.map(|count| count as f64);
        let (all, bad) = (n + m, x + y);
        if all < 2.0 {
            continue;
        }
        let off = y - bad * m / all;
        let variance = m * n * bad * (all - bad) / (all * all * (all - 1.0));
        squares += off * off;
        variances += variance;
        bursts += usize::from(off.abs() >= 3.0 && off.abs() > 4.0 * variance.sqrt());
    }
    if metric.level().is_none() && variances > 0.0 {
        (spread.dispersion, spread.bursts) = (Some(squares / variances), Some(bursts));
    }
    spread
}

fn counts(tick: &Tick, metric: Metric) -> [u64; 4] {
    let of = |pool: &PoolCounts| match metric.level() {
        None => [pool.requests, pool.failed.min(pool.requests)],
        Some(level) => [pool.timed, pool.slow_fail[level].min(pool.timed)],
    };
    let ([n, x], [m, y]) = (of(&tick.blue), of(&tick.green));
    [n, x, m, y]
}

// ---- false alarms

/// The result of one rollout of the same seconds in another order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// The highest evidence of harm, as a natural logarithm, in nats.
    pub ln_e: f64,
    /// The metric with most weight when the evidence reached its limit, if it did.
    pub metric: Option<Metric>,
    /// Whether the harm cap or an outage would have ended it, whatever the confidence.
    pub certain: bool,
}

/// Judges `rollouts` reordered rollouts, each as long as the recording. Equal arguments give equal results.
pub fn alarms(stretches: &[Stretch], policy: &Policy, rollouts: u64) -> Vec<Alarm> {
    crate::simulate::forecast::many(rollouts, |seed| {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut judge = Judge::new(policy.by_requests()).without_intervals();
        let (mut certain, mut metric) = (false, None);
        for stretch in stretches {
            judge.start_step(stretch.last, Control::Concurrent);
            for _ in 0..stretch.ticks.len() / BLOCK {
                for tick in draw(stretch, &mut rng) {
                    judge.tick(&tick);
                    if metric.is_none() && judge.ln_e() >= policy.ln_limit() {
                        let report = judge.report();
                        metric = Some(report.blamed).filter(|_| report.broken.is_none());
                    }
                    let cap = policy.max_excess_failures.unwrap_or(u64::MAX) as f64;
                    certain |= judge.excess() > cap || judge.cause() == Some(Cause::Outage);
                }
            }
        }
        Alarm {
            ln_e: judge.report().ln_e_max,
            metric,
            certain,
        }
    })
}

fn draw(stretch: &Stretch, rng: &mut Xoshiro256PlusPlus) -> Vec<Tick> {
    let first = rng.random_range(0..=stretch.ticks.len() - BLOCK);
    let mut block = stretch.ticks[first..first + BLOCK].to_vec();
    if stretch.weight == HALF && rng.random::<bool>() {
        for Tick { blue, green } in &mut block {
            std::mem::swap(&mut blue.requests, &mut green.requests);
            std::mem::swap(&mut blue.failed, &mut green.failed);
            let [blue, green] = [&mut blue.answers, &mut green.answers];
            std::mem::swap(&mut blue.by_request, &mut green.by_request);
        }
    }
    block
}

/// The share of rollouts that would have been rolled back at this confidence.
pub fn share(alarms: &[Alarm], confidence: f64) -> f64 {
    let limit = -(1.0 - confidence).ln();
    let back = alarms
        .iter()
        .filter(|alarm| alarm.certain || alarm.ln_e >= limit);
    back.count() as f64 / alarms.len().max(1) as f64
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::judge::Verdict;
    use rand_distr::{Binomial, Distribution};

    /// Two equal versions at one share of 50 %, 100 requests per second each; now and then one of them alone
    /// fails `burst` of its requests for three seconds.
    pub(crate) fn equal(seconds: u64, burst: f64) -> Vec<RecordedLine> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut lines = vec![
            RecordedLine::Policy(Box::default()),
            RecordedLine::Start {
                last: false,
                control: Control::Concurrent,
                weight: HALF,
                terms: Default::default(),
            },
        ];
        let mut left = [0; 2];
        for _ in 0..seconds {
            let mut pool = |side: usize, rng: &mut Xoshiro256PlusPlus| {
                if rng.random::<f64>() < 1.0 / 120.0 {
                    left[side] = 3;
                }
                let bad = if left[side] > 0 { burst } else { 0.001 };
                left[side] = u32::saturating_sub(left[side], 1);
                PoolCounts {
                    requests: 100,
                    failed: Binomial::new(100, bad.max(0.001)).unwrap().sample(rng),
                    ..PoolCounts::default()
                }
            };
            let (blue, green) = (pool(0, &mut rng), pool(1, &mut rng));
            lines.push(RecordedLine::Second {
                tick: Tick { blue, green },
                verdict: Verdict::NoData,
            });
        }
        lines
    }

    #[test]
    fn chance_alone_has_a_spread_of_one_and_no_false_alarms() {
        let all = stretches(&equal(1_805, 0.0));
        assert_eq!(seconds(&all), 1_800);
        let errors = spread(&all, Metric::Err);
        let dispersion = errors.dispersion.unwrap();
        assert!((0.7..1.4).contains(&dispersion), "{dispersion}");
        assert_eq!(errors.bursts, Some(0));
        assert_eq!(spread(&all, Metric::P99).dispersion, None);
        assert!(share(&alarms(&all, &Policy::default(), 100), 0.99) <= 0.02);
    }

    #[test]
    fn bursts_of_one_side_are_seen_and_cost_false_alarms() {
        let all = stretches(&equal(1_800, 0.5));
        let errors = spread(&all, Metric::Err);
        assert!(
            errors.dispersion.unwrap() > 5.0 && errors.bursts >= Some(10),
            "{errors:?}"
        );
        let alarms = alarms(&all, &Policy::default(), 100);
        let (usual, strict) = (share(&alarms, 0.99), share(&alarms, 0.999_999));
        // A burst of three seconds costs nothing; where one begins within another, the failures last.
        assert!(usual > 0.0 && usual >= strict, "{usual} {strict}");
        let blamed: Vec<Metric> = alarms.iter().filter_map(|alarm| alarm.metric).collect();
        assert!(!blamed.is_empty());
        assert!(
            blamed.iter().all(|metric| *metric == Metric::Err),
            "there is nothing else to blame"
        );
    }

    #[test]
    fn a_share_without_blue_is_left_out() {
        let mut lines = equal(100, 0.0);
        lines.push(RecordedLine::Start {
            last: true,
            control: Control::History(crate::core::stats::Baseline {
                failure_rate: 0.01,
                limits: None,
            }),
            weight: 10_000,
            terms: Default::default(),
        });
        lines.extend(equal(50, 0.0).split_off(2));
        assert_eq!(seconds(&stretches(&lines)), 100);
    }

    #[test]
    fn equal_questions_get_equal_answers() {
        let all = stretches(&equal(300, 0.3));
        assert_eq!(
            alarms(&all, &Policy::default(), 10),
            alarms(&all, &Policy::default(), 10)
        );
    }
}
