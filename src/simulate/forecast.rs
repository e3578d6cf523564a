//! The likely course of a rollout at some traffic: the plan, the state machine and the judge, on simulated seconds.
//!
//! Requests come by a Poisson process, fall on green as the proxy's newcomers do, and fail independently of each other;
//! times are lognormal with a slow kind among them. Real traffic is rougher, so a real rollout takes rather longer.
//! Equal arguments give equal results.

use crate::core::analysis::{self, Course, Evidence, Past, Share};
use crate::core::judge::{Policy, Terms, Verdict};
use crate::core::newcomer::Newcomers;
use crate::core::plan::{Plan, Step};
use crate::core::stats::{Histogram, History, Limits, PoolCounts, SpanStats, Tick};
use crate::core::weight::Weight;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Binomial, Distribution, Poisson};
use std::time::Duration;

pub use crate::core::analysis::End;

/// Kinds of requests: their share, and their typical time in medians. Most services have a few slow requests.
const KINDS: [(f64, f64); 2] = [(0.97, 1.0), (0.03, 5.0)];

/// Sigma of the logarithm of a time, for each kind.
const SPREAD: f64 = 0.5;

/// Number of requests in blue's histogram: enough for its 99th percentile.
const SAMPLES: u64 = 20_000;

/// The fewest and the most runs.
const RUNS: (u64, u64) = (20, 100);

/// Simulated seconds of all runs together above which there are fewer runs.
const SECONDS_MAX: u64 = 360_000;

/// The assumptions about traffic and both versions.
#[derive(Clone, Copy, Debug)]
pub struct World {
    /// Requests per second, of both versions together.
    pub rps: f64,
    /// Share of blue's requests that fail, 0 to 1.
    pub blue_errors: f64,
    /// Share of green's requests that fail, 0 to 1.
    pub green_errors: f64,
    /// Median of both versions' times to the first byte, in milliseconds.
    pub median_ms: f64,
}

/// Simulated rollouts of this plan: a hundred, fewer where they may last for hours.
pub fn rollouts(plan: &Plan, policy: &Policy, world: World) -> Vec<End> {
    let past = past(&world);
    let deadline = |step: &Step| match step {
        Step::Shift { deadline, .. } => *deadline,
        _ => Duration::ZERO,
    };
    let longest = plan.steps.iter().map(deadline).sum();
    many(runs(longest), |seed| {
        rollout(plan, policy, world, &past, seed)
    })
}

/// Simulates 20 to 100 judges at one share beside blue, for at most `longest`: the seconds after which each found green
/// worse, if it did.
pub fn share(policy: &Policy, world: World, share: Weight, longest: Duration) -> Vec<Option<u64>> {
    let past = past(&world);
    many(runs(longest), |seed| {
        let mut evidence = Evidence::new(policy.by_requests(), false).without_intervals();
        let mut traffic = Traffic::new(world, seed);
        let beside = Share {
            weight: share,
            last: false,
            blue_can_answer: false,
            terms: Terms {
                raised: true,
                ..Terms::default()
            },
        };
        let blue = Past {
            history: &past,
            kept: None,
        };
        evidence.start_share(beside, &blue);
        (1..=longest.as_secs()).find(|_| {
            let tick = traffic.counts(share, evidence.limits());
            let (verdict, _) = evidence.second(&tick);
            matches!(verdict, Verdict::Fail { .. })
        })
    })
}

/// The number of runs: enough for a 90th percentile, and within some seconds of computing.
fn runs(longest: Duration) -> u64 {
    (SECONDS_MAX / longest.as_secs().max(1)).clamp(RUNS.0, RUNS.1)
}

fn rollout(plan: &Plan, policy: &Policy, world: World, past: &History, seed: u64) -> End {
    let course = Course::new(plan, &policy.by_requests(), past.clone());
    course.run(&mut Traffic::new(world, seed)).0
}

/// Ten minutes of an average blue.
fn past(world: &World) -> History {
    let mut latency = Histogram::default();
    for (share, medians) in KINDS {
        let requests = (SAMPLES as f64 * share) as u64;
        for n in 0..requests {
            let q = (n as f64 + 0.5) / requests as f64;
            let millis = world.median_ms * medians * (SPREAD * normal_quantile(q)).exp();
            latency.record((millis * 1_000.0) as u64);
        }
    }
    let mut history = History::default();
    history.push(&SpanStats {
        requests: SAMPLES,
        failed: (SAMPLES as f64 * world.blue_errors) as u64,
        latency,
        ..SpanStats::default()
    });
    history
}

fn normal_quantile(q: f64) -> f64 {
    std::f64::consts::SQRT_2 * statrs::function::erf::erf_inv(2.0 * q - 1.0)
}

/// The traffic of one rollout.
struct Traffic {
    world: World,
    rng: Xoshiro256PlusPlus,
    newcomers: Newcomers,
}

impl analysis::World for Traffic {
    /// Blue's past does not change: it is average throughout.
    fn second(&mut self, share: Weight, limits: Option<Limits>, _: &mut History) -> Tick {
        self.counts(share, limits)
    }
}

impl Traffic {
    fn new(world: World, seed: u64) -> Traffic {
        Traffic {
            world,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            newcomers: Newcomers::new(seed),
        }
    }

    fn counts(&mut self, share: Weight, limits: Option<Limits>) -> Tick {
        let poisson = Poisson::new(self.world.rps);
        let arrived = poisson.map_or(0, |poisson| poisson.sample(&mut self.rng) as u64);
        let green = self.newcomers.on_green(arrived, share);
        let limits = limits.map(|limits| [(limits.blue, limits.blue), (limits.fail, limits.pass)]);
        let [blue_limits, green_limits] = match limits {
            Some([blue, green]) => [Some(blue), Some(green)],
            None => [None, None],
        };
        Tick {
            blue: self.pool(arrived - green, self.world.blue_errors, blue_limits),
            green: self.pool(green, self.world.green_errors, green_limits),
        }
    }

    fn pool(
        &mut self,
        requests: u64,
        errors: f64,
        limits: Option<([u64; 3], [u64; 3])>,
    ) -> PoolCounts {
        let failed = self.binomial(requests, errors);
        let mut tick = PoolCounts {
            requests,
            failed,
            timed: requests - failed,
            ..PoolCounts::default()
        };
        if let Some((fail, pass)) = limits {
            self.slow(tick.timed, fail, &mut tick.slow_fail);
            self.slow(tick.timed, pass, &mut tick.slow_pass);
        }
        tick
    }

    /// Requests above each of three growing limits: those above one limit are among those above the one before.
    fn slow(&mut self, timed: u64, limits: [u64; 3], slow: &mut [u64; 3]) {
        let (mut left, mut share) = (timed, 1.0);
        for (limit, slow) in limits.into_iter().zip(slow) {
            let above = self.above(limit as f64 / 1_000.0);
            left = self.binomial(left, (above / share).min(1.0));
            share = above.max(f64::MIN_POSITIVE);
            *slow = left;
        }
    }

    /// The chance that a request takes more than `millis` milliseconds.
    fn above(&self, millis: f64) -> f64 {
        let beyond = |(share, medians): (f64, f64)| {
            let z = (millis / (self.world.median_ms * medians)).ln() / SPREAD;
            share * 0.5 * statrs::function::erf::erfc(z / std::f64::consts::SQRT_2)
        };
        KINDS.into_iter().map(beyond).sum()
    }

    fn binomial(&mut self, n: u64, p: f64) -> u64 {
        let binomial = Binomial::new(n, p.clamp(0.0, 1.0));
        binomial.map_or(0, |binomial| binomial.sample(&mut self.rng))
    }
}

/// Runs `one` for each of `runs` seeds, with the results in the order of the seeds.
pub(crate) fn many<T: Send>(runs: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let part = runs.div_ceil(cores as u64).max(1);
    let one = &one;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..runs)
            .step_by(part as usize)
            .map(|first| {
                let mine = first..(first + part).min(runs);
                scope.spawn(move || mine.map(one).collect::<Vec<T>>())
            })
            .collect();
        let parts = parts.into_iter();
        parts
            .flat_map(|part| part.join().unwrap_or_default())
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::core::outcome::Outcome;

    fn ends(more: &str, green_errors: f64) -> Vec<End> {
        let text = format!("[service.a]\nblue = \"127.0.0.1:1\"\ngreen = \"127.0.0.1:2\"\n{more}");
        let config = Config::parse("x.toml", &text).unwrap_or_else(|error| panic!("{error}"));
        let service = &config.services[0];
        let world = World {
            rps: 500.0,
            blue_errors: 0.001,
            green_errors,
            median_ms: 40.0,
        };
        rollouts(&service.plan(None), &service.policy(), world)
    }

    #[test]
    fn a_good_green_is_promoted_and_a_bad_one_goes_back() {
        let every_step = "steps = [{ weight = 5 }, { approve = true }, { weight = 50 }, { weight = 100 }]\nsmoke = [{ path = \"/\" }]\nwarmup = { paths = [\"/\"] }\nhooks = [{ at = \"before-shift\", exec = [\"true\"] }]\n";
        for more in ["", "strategy = \"blue-green\"\n", every_step] {
            let good = ends(more, 0.001);
            assert!(
                good.iter()
                    .all(|end| end.outcome == Some(Outcome::Promoted)),
                "{more}{good:?}"
            );
            let bad = ends(more, 0.05);
            let back = |end: &&End| matches!(end.outcome, Some(Outcome::RolledBack { .. }));
            assert!(bad.iter().filter(back).count() >= 97, "{more}{bad:?}");
            assert!(bad.iter().all(|end| end.seconds < 120), "{more}{bad:?}");
        }
    }

    #[test]
    fn equal_questions_get_equal_answers() {
        let seconds = |ends: Vec<End>| ends.iter().map(|end| end.seconds).collect::<Vec<_>>();
        assert_eq!(seconds(ends("", 0.01)), seconds(ends("", 0.01)));
    }

    #[test]
    fn what_waits_for_a_person_is_not_simulated_until_the_last_deadline() {
        let ends = ends(
            "on_worse = \"pause\"\non_inconclusive = \"hold\"\non_no_data = \"hold\"\ndeadline = \"168h\"\n",
            0.05,
        );
        assert!(ends.iter().all(|end| end.outcome.is_none()), "{ends:?}");
        assert!(ends.iter().all(|end| end.seconds < 3_600), "{ends:?}");
    }
}
