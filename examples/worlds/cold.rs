//! Pools that are colder the smaller their share, with a baseline and without: whole rollouts of the default canary.
//!
//! A pool that was not asked for a while answers its next request more slowly (caches, connections, workers that sleep).
//! Requests are simulated one by one and placed by the product's own newcomers.

use crate::{Size, many, seed, wilson};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Poisson, StandardNormal};
use shifter::core::analysis::{self, Course};
use shifter::core::baseline::Places;
use shifter::core::newcomer::newcomer;
use shifter::core::rollout::Outcome;
use shifter::core::stats::{Histogram, History, Limits, PoolCounts, SpanStats, Tick};
use shifter::core::weight::Weight;
use shifter::simulate::worlds::canary;
use std::time::Duration;

/// Microseconds of a warm answer at the median, and how much more a cold one takes.
const WARM: f64 = 5_000.0;
const COLD: f64 = 7_000.0;

/// A pool is cold when so many of the others' requests fit between two of its own: at 5 % mostly, at 50 % never.
const IDLE: f64 = 12.0;

/// Seconds that a pool needs to get used to half as many requests again, or more, and how much slower it is meanwhile.
const USED: f64 = 25.0;
const UNUSED: f64 = 2.0;

/// What makes a pool slow for a while.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cold {
    /// It was not asked for the time of [`IDLE`] requests.
    Idle,
    /// It has more requests than before.
    Raised,
}

struct Pools {
    rng: Xoshiro256PlusPlus,
    salt: u64,
    arrived: u64,
    rate: f64,
    /// Green's answers take so much more.
    slower: f64,
    cold: Cold,
    /// When each pool was asked last: blue's own, green, the baseline.
    asked: [f64; 3],
    /// The share that each pool had last, and since when it has more.
    had: [(f64, f64); 3],
    second: f64,
    places: Option<Places>,
    times: Histogram,
    /// Requests of green at a time when it had more than 5 %.
    widely: u64,
}

impl Pools {
    fn new(cold: Cold, rate: f64, slower: f64, run: u64) -> Pools {
        Pools {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed(21, run)),
            salt: seed(22, run).wrapping_mul(0x9E37_79B9_7F4A_7C15),
            arrived: 0,
            rate,
            slower,
            cold,
            asked: [f64::NEG_INFINITY; 3],
            had: [(0.0, f64::NEG_INFINITY); 3],
            second: 0.0,
            places: None,
            times: Histogram::default(),
            widely: 0,
        }
    }

    fn ten_minutes(&mut self) -> History {
        let mut past = History::default();
        for _ in 0..600 {
            self.draw(Weight::NONE, None, &mut past);
        }
        past
    }

    /// Microseconds that this pool takes for a request at this time.
    fn answer(&mut self, pool: usize, at: f64) -> u64 {
        let warm = match self.cold {
            Cold::Idle if at - self.asked[pool] > IDLE / self.rate => WARM + COLD,
            Cold::Raised if at - self.had[pool].1 < USED => WARM * UNUSED,
            _ => WARM,
        };
        self.asked[pool] = at;
        let slower = if pool == 1 { self.slower } else { 1.0 };
        let z: f64 = StandardNormal.sample(&mut self.rng);
        (warm * slower * (0.1 * z).exp()) as u64
    }

    /// Notes since when a pool has at least half as many requests again.
    fn note(&mut self, share: Weight) {
        let beside = self.places.map_or(0.0, |_| share.ratio());
        let shares = [1.0 - share.ratio() - beside, share.ratio(), beside];
        for ((had, since), now) in self.had.iter_mut().zip(shares) {
            if now > 1.5 * *had {
                *since = self.second;
            }
            *had = now;
        }
    }

    fn draw(&mut self, share: Weight, limits: Option<Limits>, past: &mut History) -> Tick {
        self.note(share);
        let drawn = Poisson::new(self.rate).map_or(0.0, |law| law.sample(&mut self.rng));
        let mut times: Vec<f64> = (0..drawn as u64).map(|_| self.rng.random()).collect();
        times.sort_by(f64::total_cmp);
        let (mut tick, mut blue) = (Tick::default(), SpanStats::default());
        self.times = Histogram::default();
        for at in times {
            let point = newcomer(self.arrived, self.salt);
            self.arrived += 1;
            let copied = self.places.is_some_and(|places| places.cover(point));
            let pool = match share.covers(point) {
                true => 1,
                false if copied => 2,
                false => 0,
            };
            let micros = self.answer(pool, self.second + at);
            let failed = self.rng.random::<f64>() < 0.001;
            let counts = if pool == 1 {
                &mut tick.green
            } else {
                &mut tick.blue
            };
            counts.requests += 1;
            counts.failed += u64::from(failed);
            let bucket = Histogram::bucket(micros);
            if pool != 1 {
                blue.requests += 1;
                blue.failed += u64::from(failed);
                blue.latency.add(bucket, 1);
            }
            if pool == 2 {
                self.times.add(bucket, 1);
            }
            if !failed && (pool > 0 || self.places.is_none()) {
                count(counts, pool == 1, micros, limits);
            }
        }
        if share.as_basis_points() > 500 {
            self.widely += tick.green.requests;
        }
        self.second += 1.0;
        past.push(&blue);
        tick
    }
}

fn count(pool: &mut PoolCounts, green: bool, micros: u64, limits: Option<Limits>) {
    pool.timed += 1;
    let Some(limits) = limits else { return };
    let (fail, pass) = match green {
        true => (limits.fail, limits.pass),
        false => (limits.blue, limits.blue),
    };
    pool.slow_gross += u64::from(micros > limits.gross());
    for level in 0..3 {
        pool.slow_fail[level] += u64::from(micros > fail[level]);
        pool.slow_pass[level] += u64::from(micros > pass[level]);
    }
}

impl analysis::World for Pools {
    fn second(&mut self, share: Weight, limits: Option<Limits>, past: &mut History) -> Tick {
        self.draw(share, limits, past)
    }

    fn beside(&mut self, baseline: Option<Places>) {
        self.places = baseline;
    }

    fn baseline(&mut self) -> Option<Histogram> {
        self.places.map(|_| self.times.clone())
    }
}

/// What green's latency is compared with.
#[derive(Clone, Copy)]
pub(crate) enum With {
    /// Blue's pool, and a small share convicts.
    Blue,
    /// Blue's pool, and slowness of a small share is confirmed.
    Confirmed,
    Baseline,
}

struct One {
    back: bool,
    promoted: bool,
    seconds: u64,
    widely: u64,
}

/// Whether a green that is blue's equal goes back.
pub(crate) fn goes_back(size: &Size, cold: Cold, with: With, rate: f64, run: u64) -> bool {
    one(size, cold, with, (rate, 1.0), run).back
}

fn one(size: &Size, cold: Cold, with: With, (rate, slower): (f64, f64), run: u64) -> One {
    let mut pools = Pools::new(cold, rate, slower, run);
    let past = pools.ten_minutes();
    let (mut plan, mut policy) = (canary::plan(5), size.policy.clone());
    match with {
        With::Blue => (plan.confirm, policy.fair_share) = (Duration::ZERO, 0.0),
        With::Confirmed => {}
        With::Baseline => plan.baseline = true,
    }
    let (end, _) = Course::new(&plan, &policy, past).run(&mut pools);
    One {
        back: matches!(end.outcome, Some(Outcome::RolledBack { .. })),
        promoted: end.outcome == Some(Outcome::Promoted),
        seconds: end.seconds,
        widely: pools.widely,
    }
}

pub(crate) fn cold(size: &Size) {
    let rollouts = (size.rollouts / 10).max(20);
    println!("### Pools that are colder the smaller their share\n");
    println!(
        "{rollouts} whole rollouts of the default canary in each cell (95 % Wilson intervals, medians of those that went back). A pool that was not asked for the time of {IDLE:.0} requests takes 12 ms instead of 5.\n"
    );
    println!(
        "| green | req/s | compared with | sent back | promoted | seconds until then | green's requests above 5 % until then |\n|---|---|---|---|---|---|---|"
    );
    for (name, slower) in [("as blue", 1.0), ("+50 % slower", 1.5)] {
        for rate in [40.0, 200.0] {
            for (what, with) in [
                ("blue, `confirm = \"0s\"`", With::Blue),
                ("blue, confirmed (default)", With::Confirmed),
                ("a baseline", With::Baseline),
            ] {
                let runs = many(size.threads, rollouts, |run| {
                    one(size, Cold::Idle, with, (rate, slower), run)
                });
                let of = runs.len() as u64;
                let share = |hits: usize| {
                    let (low, high) = wilson(hits as u64, of);
                    let percent = 100.0 * hits as f64 / of as f64;
                    format!("{percent:.1}% [{:.1}, {:.1}]", 100.0 * low, 100.0 * high)
                };
                let back = || runs.iter().filter(|run| run.back);
                let middle = |mut values: Vec<u64>| {
                    values.sort_unstable();
                    let middle = values.get(values.len() / 2);
                    middle.map_or("-".to_owned(), u64::to_string)
                };
                println!(
                    "| {name} | {rate} | {what} | {} | {} | {} | {} |",
                    share(back().count()),
                    share(runs.iter().filter(|run| run.promoted).count()),
                    middle(back().map(|run| run.seconds).collect()),
                    middle(back().map(|run| run.widely).collect()),
                );
            }
        }
    }
    println!();
}
