//! One page that breaks alone: with evidence by route group and without.
//!
//! Requests come by a Poisson process and ask for one of many routes (Zipf); each falls on green by chance. What is
//! simulated is counted as the proxy counts it: the whole, the twenty busiest routes of blue's past, and the rest.

use crate::{RATES, Size, seed};
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand_distr::{Binomial, Distribution, Poisson};
use shifter::core::judge::{Control, Judge, Policy, Verdict};
use shifter::core::routes::{RouteCounts, RoutePast};
use shifter::core::stats::{PoolCounts, Tick};
use shifter::simulate::worlds::schedule::{many, wilson};

/// Routes of the application.
const ROUTES: usize = 60;

/// Seconds at 5 %, then at 50 %, then at 95 %.
const SHARES: [(usize, f64); 3] = [(300, 0.05), (300, 0.50), (600, 0.95)];

/// Seconds of blue's past.
const PAST: f64 = 600.0;

/// One application: how often each route is asked for, and how often it fails.
#[derive(Clone)]
struct App {
    share: Vec<f64>,
    blue: Vec<f64>,
    green: Vec<f64>,
}

impl App {
    /// Routes by Zipf's law, with one error in a thousand on each.
    fn healthy() -> App {
        let weights: Vec<f64> = (1..=ROUTES).map(|n| 1.0 / n as f64).collect();
        let sum: f64 = weights.iter().sum();
        App {
            share: weights.iter().map(|weight| weight / sum).collect(),
            blue: vec![0.001; ROUTES],
            green: vec![0.001; ROUTES],
        }
    }

    /// One more route with this share, which fails so often on green.
    fn broken(share: f64, errors: f64) -> App {
        let mut app = App::healthy();
        for other in &mut app.share {
            *other *= 1.0 - share;
        }
        app.share.push(share);
        app.blue.push(0.001);
        app.green.push(errors);
        app
    }

    /// Every so many routes has errors of its own, on both versions alike.
    fn flawed(every: usize, errors: f64) -> App {
        let mut app = App::healthy();
        for at in (0..ROUTES).step_by(every) {
            (app.blue[at], app.green[at]) = (errors, errors);
        }
        app
    }
}

struct Traffic {
    app: App,
    rate: f64,
    rng: Xoshiro256PlusPlus,
    /// An incident on both: these seconds, this route, so many errors.
    incident: Option<(std::ops::Range<usize>, usize, f64)>,
}

impl Traffic {
    fn new(seed: u64, app: App, rate: f64) -> Traffic {
        Traffic {
            app,
            rate,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            incident: None,
        }
    }

    fn poisson(&mut self, mean: f64) -> u64 {
        if mean <= 0.0 {
            return 0;
        }
        Poisson::new(mean).map_or(0, |law| law.sample(&mut self.rng) as u64)
    }

    fn bad(&mut self, of: u64, p: f64) -> u64 {
        if of == 0 || p <= 0.0 {
            return 0;
        }
        Binomial::new(of, p.min(1.0)).map_or(0, |law| law.sample(&mut self.rng))
    }

    fn past(&mut self) -> Vec<RoutePast> {
        let mut past: Vec<RoutePast> = (0..self.app.share.len())
            .map(|at| {
                let requests = self.poisson(self.rate * PAST * self.app.share[at]);
                RoutePast {
                    route: format!("GET /{at}"),
                    requests,
                    failed: self.bad(requests, self.app.blue[at]),
                }
            })
            .collect();
        past.retain(|one| one.requests > 0);
        past.sort_by_key(|one| std::cmp::Reverse(one.requests));
        past.truncate(20);
        past
    }

    /// A second by route; at low traffic the requests are drawn one by one in effect.
    fn second(&mut self, at: usize, weight: f64) -> (Tick, Vec<RouteCounts>) {
        let mut tick = Tick::default();
        let mut counted = vec![];
        for route in 0..self.app.share.len() {
            let rate = self.rate * self.app.share[route];
            let hit = match &self.incident {
                Some((when, it, errors)) if *it == route && when.contains(&at) => Some(*errors),
                _ => None,
            };
            let errors = [self.app.blue[route], self.app.green[route]];
            let counts = [1.0 - weight, weight].map(|part| self.poisson(rate * part));
            if counts == [0, 0] {
                continue;
            }
            let bad = [0, 1].map(|pool| self.bad(counts[pool], hit.unwrap_or(errors[pool])));
            for (pool, (n, x)) in [&mut tick.blue, &mut tick.green]
                .into_iter()
                .zip(counts.into_iter().zip(bad))
            {
                pool.requests += n;
                pool.failed += x;
            }
            counted.push(RouteCounts {
                route: format!("GET /{route}"),
                counts: [[counts[0], bad[0]], [counts[1], bad[1]]],
            });
        }
        for (pool, slow) in [
            (&mut tick.blue, [0.5, 0.1, 0.01]),
            (&mut tick.green, [0.4, 0.08, 0.008]),
        ] {
            self.time(pool, slow);
        }
        (tick, counted)
    }

    fn time(&mut self, pool: &mut PoolCounts, slow: [f64; 3]) {
        pool.timed = pool.requests - pool.failed;
        pool.slow_fail = slow.map(|p| self.bad(pool.timed, p));
        pool.slow_pass = pool.slow_fail.map(|slow| slow / 2);
    }
}

/// What became of one rollout on a fixed schedule.
struct Ended {
    /// When green was convicted.
    convicted: Option<usize>,
    /// A route was named then.
    named: bool,
    /// At the end of some share it leaned worse.
    leaned: bool,
}

fn run(mut traffic: Traffic, policy: &Policy) -> Ended {
    let mut judge = Judge::new(policy.clone()).without_intervals();
    judge.remember_routes(&traffic.past());
    let mut at = 0;
    let mut leaned = false;
    for (step, (seconds, weight)) in SHARES.into_iter().enumerate() {
        judge.start_step(step + 1 == SHARES.len(), Control::Concurrent);
        for _ in 0..seconds {
            let (tick, counted) = traffic.second(at, weight);
            let second = judge.sort_routes(&counted);
            judge.count_routes(&second);
            judge.tick(&tick);
            at += 1;
            if judge.cause().is_some() {
                let named = judge.report().route.is_some_and(|route| route.heaviest);
                return Ended {
                    convicted: Some(at),
                    named,
                    leaned,
                };
            }
        }
        leaned |= matches!(
            judge.verdict(),
            Verdict::Inconclusive {
                leaning_worse: true,
                ..
            }
        );
    }
    Ended {
        convicted: None,
        named: false,
        leaned,
    }
}

/// The judge with evidence by route, and without.
fn both(policy: &Policy) -> [Policy; 2] {
    let without = Policy {
        routes_share: 0.0,
        routes_amber: 0.0,
        ..policy.clone()
    };
    [policy.clone(), without]
}

fn delays(ended: &[Ended]) -> String {
    let mut at: Vec<usize> = ended.iter().filter_map(|one| one.convicted).collect();
    at.sort_unstable();
    let missed = ended.len() - at.len();
    let rank = |hundredths: usize| {
        let rank = (ended.len() * hundredths).div_ceil(100).saturating_sub(1);
        at.get(rank).map_or("-".to_owned(), usize::to_string)
    };
    let named = ended.iter().filter(|one| one.named).count();
    let silent = ended
        .iter()
        .filter(|one| one.convicted.is_none() && !one.leaned)
        .count();
    let percent = |part: usize| format!("{:.0}%", 100.0 * part as f64 / ended.len() as f64);
    let mut text = format!("{} / {}", rank(50), rank(95));
    if missed > 0 {
        text.push_str(&format!(
            ", missed {}, unnoticed {}",
            percent(missed),
            percent(silent)
        ));
    }
    if named > 0 {
        text.push_str(&format!(", named {}", percent(named)));
    }
    text
}

fn share(ended: &[Ended], wanted: impl Fn(&Ended) -> bool) -> String {
    let hits = ended.iter().filter(|one| wanted(one)).count() as u64;
    let (low, high) = wilson(hits, ended.len() as u64);
    let percent = 100.0 * hits as f64 / ended.len() as f64;
    format!("{percent:.1}% [{:.1}, {:.1}]", 100.0 * low, 100.0 * high)
}

pub(crate) fn routes(size: &Size) {
    let worse = (size.rollouts / 5).max(20);
    println!(
        "### One route of 61 breaks: seconds to conviction with evidence by route, and without\n"
    );
    println!(
        "{worse} rollouts in each cell, 5 min at 5 %, 5 min at 50 %, 10 min at 95 %. Median / 95th percentile (a miss is endless); missed: not convicted; unnoticed: not convicted and at the end of no share leaning worse; named: convicted by the route.\n"
    );
    println!(
        "| route's part | its errors on green | evidence | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|---|"
    );
    for part in [0.001, 0.01, 0.1] {
        for errors in [1.0, 0.2] {
            for (name, policy) in ["by route", "whole"].into_iter().zip(both(&size.policy)) {
                print!("| {:.1}% | {:.0}% | {name} |", 100.0 * part, 100.0 * errors);
                for rate in RATES {
                    let ended = many(size.threads, worse, |n| {
                        run(
                            Traffic::new(seed(11, n), App::broken(part, errors), rate),
                            &policy,
                        )
                    });
                    print!(" {} |", delays(&ended));
                }
                println!();
            }
        }
    }
    println!("\n### Green equals blue: convicted, and leaning worse at the end of a share\n");
    println!("{} rollouts in each cell.\n", size.rollouts);
    println!("| application | evidence | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|");
    let apps = [
        ("0.1 % errors everywhere", App::healthy(), false),
        ("every fifth route 5 % errors", App::flawed(5, 0.05), false),
        ("every second route 50 % errors", App::flawed(2, 0.5), false),
        (
            "the fifth route fails wholly on both for 60 s, then goes on",
            App::healthy(),
            true,
        ),
    ];
    for (app_name, app, incident) in apps {
        for (name, policy) in ["by route", "whole"].into_iter().zip(both(&size.policy)) {
            print!("| {app_name} | {name} |");
            for rate in RATES {
                let ended = many(size.threads, size.rollouts, |n| {
                    let mut traffic = Traffic::new(seed(12, n), app.clone(), rate);
                    let begin = n as usize * 1_140 / size.rollouts as usize;
                    traffic.incident = incident.then_some((begin..begin + 60, 4, 1.0));
                    run(traffic, &policy)
                });
                print!(
                    " {}; leaning {} |",
                    share(&ended, |one| one.convicted.is_some()),
                    share(&ended, |one| one.leaned)
                );
            }
            println!();
        }
    }
}
