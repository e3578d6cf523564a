//! Gross harm: how soon it is found, with and without grants for what lasts, and that a pause convicts nothing.

use crate::{Size, delay, seed, share};
use shifter::core::analysis::Evidence;
use shifter::core::judge::Policy;
use shifter::core::stats::PoolCounts;
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{End, Run, drive, many, start, steady};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

const ERRORS: [f64; 7] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9];
/// Requests a second and green's share: 5, 20 and 100 green requests a second.
const TRAFFIC: [(f64, f64); 6] = [
    (100.0, 0.05),
    (400.0, 0.05),
    (2_000.0, 0.05),
    (10.0, 0.5),
    (40.0, 0.5),
    (200.0, 0.5),
];
const SECONDS: usize = 600;
/// A pause begins here; it lasts three seconds.
const PAUSE: f64 = 120.0;

/// The guard without grants: every second of errors and of latency has the same allowance.
fn plain(policy: &Policy) -> Policy {
    Policy {
        persistence: 0,
        mild_rho: policy.rho,
        mild_burst: policy.burst_high,
        ..policy.clone()
    }
}

fn one(run: u64, policy: &Policy, (rate, weight): (f64, f64), errors: f64) -> Run {
    let fault = Fault {
        green_errors: errors,
        ..Fault::NONE
    };
    let mut traffic = Traffic::new(seed(12, run), rate, SECONDS, World::Wave, fault);
    let mut judge = Evidence::new(policy.clone(), false).without_intervals();
    drive(&mut traffic, &mut judge, weight, steady(SECONDS as u64))
}

/// A green that equals blue and fails everything for three seconds, from some part of a second on.
fn paused(run: u64, policy: &Policy, (rate, weight): (f64, f64)) -> Run {
    let mut traffic = Traffic::new(seed(13, run), rate, SECONDS, World::Wave, Fault::NONE);
    let mut judge = Evidence::new(policy.clone(), false).without_intervals();
    let begin = PAUSE + (run % 10) as f64 / 10.0;
    let mut green = 0;
    start(&mut judge, &mut traffic, weight, false);
    for second in 0..200 {
        let mut tick = traffic.second(weight);
        let (from, to) = (second as f64, second as f64 + 1.0);
        let part = (to.min(begin + 3.0) - from.max(begin)).clamp(0.0, 1.0);
        if part > 0.0 {
            let requests = tick.green.requests;
            let failed = (requests as f64 * part).round() as u64;
            tick.green = PoolCounts {
                requests,
                failed: failed.max(tick.green.failed),
                timed: requests - failed.max(tick.green.failed),
                ..PoolCounts::default()
            };
        }
        green += tick.green.requests;
        judge.second(&tick);
        if judge.judge().cause().is_some() {
            let end = End::RolledBack;
            return Run {
                end,
                at: second + 1,
                green,
            };
        }
    }
    Run {
        end: End::Undecided,
        at: 200,
        green,
    }
}

/// Prints it.
pub(crate) fn gross(size: &Size) {
    let rollouts = (size.rollouts / 5).max(20);
    println!(
        "### Seconds to rollback by green's share of errors (blue 0.1 %), one share, AR world\n"
    );
    println!(
        "{rollouts} rollouts in each cell, median / 95th percentile: without grants for what lasts (`persistence = 0`), and with. The last line: green fails everything for three seconds, from any part of a second on, and is as good as blue else: rolled back within 80 s (95 % Wilson interval), {} rollouts.\n",
        size.rollouts
    );
    print!("| errors |");
    for (rate, weight) in TRAFFIC {
        print!(" {} % of {rate} req/s |", 100.0 * weight);
    }
    println!("\n|---|---|---|---|---|---|---|");
    let policies = [plain(&size.policy), size.policy.clone()];
    for errors in ERRORS {
        print!("| {} % |", 100.0 * errors);
        for traffic in TRAFFIC {
            let [before, after] = policies.each_ref().map(|policy| {
                delay(&many(size.threads, rollouts, |run| {
                    one(run, policy, traffic, errors)
                }))
            });
            print!(" {before}; {after} |");
        }
        println!();
    }
    print!("| pause |");
    for traffic in TRAFFIC {
        let [before, after] = policies.each_ref().map(|policy| {
            let runs = many(size.threads, size.rollouts, |run| {
                paused(run, policy, traffic)
            });
            share(&runs, End::RolledBack)
        });
        print!(" {before}; {after} |");
    }
    println!();
}
