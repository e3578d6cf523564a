//! Measures the judge on simulated traffic: `cargo run --release --features worlds --example worlds -- [TABLE...]`.
//!
//! What is simulated is in `src/simulate/worlds`. `equal`: false rollbacks in every world, one table; a cell ends when it is settled that they are below 1 %.
//! Whole rollouts, by the product's plan and machine: `healthy` (green equals blue: false rollbacks), `worse`
//! (how soon a worse green is found), `lean` (what another line for "leans worse" would change); `rollout` is
//! the first two. The judge on a fixed schedule: `aa` (false rollbacks), `detect` (delays), `alone` (all
//! requests on green at once); `fixed` is these three. `cutover`: what a green that has everything is compared with;
//! `routes`: one page that breaks alone; `answers`: redirects, 4xx, clients that leave, the last byte; `peers`: the rules of other tools on the same seconds; `shared`: harm that green does to blue; `grid`: false rollbacks at 5 rates and 3 shares; `gross`: how soon 1 to 90 % errors are found, with grants for what lasts and without; `plan`: what `shifter plan` predicts beside what happens;
//! `patterns`: false rollbacks where the traffic repeats itself; `cold`: pools that are colder the smaller their share, with a baseline and without.
//! `users` and `worse-users` (together `sticky`): sticky users, by users and by requests. All without a name.
//! `--rollouts N` sets the number for each cell of `healthy` and `aa` (2000), the others follow; `--threads N`
//! (1); `--rho X` sets what evidence a second may add; `--only WORLD` leaves `healthy` and `grid` with worlds so named; `--rate-max R` leaves out cells of `equal` with more requests a second;
//! `--holdback P` keeps P % on blue in the last share of `worse` and `lean`; `--golden` adds to `patterns` what the golden ratio does;
//! `--latency-odds X` tolerates that odds ratio of slow requests (1); `--answers-share X` gives `answers` that part of the evidence (0.04).

mod answers;
mod assignment;
mod cold;
mod cutover;
mod equal;
mod forecast;
mod grid;
mod gross;
mod peers;
mod rollout;
mod routes;
mod shared;
mod users;

use shifter::core::analysis::Evidence;
use shifter::core::judge::Policy;
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{End, Run, alone, drive, fixed, many, steady, wilson};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;
use std::process::ExitCode;
use std::time::Instant;

const SECONDS: usize = 1_800;
const RATES: [f64; 3] = [5.0, 50.0, 500.0];

struct Size {
    rollouts: u64,
    threads: usize,
    policy: Policy,
    /// Part of the names of the worlds that are wanted.
    only: String,
    /// The highest rate of `equal`, in requests a second: its cells take a time that grows with the rate.
    rate_max: f64,
    /// Percentage that stays on blue in the last share of `worse` and `lean`.
    holdback: u16,
    /// `patterns` with the golden ratio beside what is shipped.
    golden: bool,
}

type Table = (&'static str, &'static str, fn(&Size));

/// Name, group, what prints it.
const TABLES: [Table; 19] = [
    ("equal", "", equal::equal),
    ("healthy", "rollout", rollout::healthy),
    ("worse", "rollout", rollout::worse),
    ("lean", "", rollout::leaning),
    ("cutover", "", cutover::cutover),
    ("peers", "", peers::peers),
    ("shared", "", shared::shared),
    ("cold", "", cold::cold),
    ("grid", "", grid::grid),
    ("gross", "", gross::gross),
    ("routes", "", routes::routes),
    ("answers", "", answers::answers),
    ("plan", "", forecast::forecast),
    ("patterns", "", assignment::patterns),
    ("users", "sticky", users::users),
    ("worse-users", "sticky", users::worse_users),
    ("aa", "fixed", false_rollbacks),
    ("detect", "fixed", detection),
    ("alone", "fixed", green_alone),
];

fn main() -> ExitCode {
    let (size, wanted) = match arguments(std::env::args().skip(1)) {
        Ok(read) => read,
        Err(problem) => {
            eprintln!(
                "worlds: {problem}\nusage: worlds [equal|rollout|healthy|worse|lean|cutover|peers|shared|cold|grid|gross|routes|answers|plan|patterns|sticky|users|worse-users|fixed|aa|detect|alone]... [--rollouts N] [--threads N] [--rho X] [--only WORLD] [--rate-max R] [--holdback PERCENT] [--golden] [--latency-odds X] [--answers-share X]"
            );
            return ExitCode::from(2);
        }
    };
    for (name, group, print) in TABLES {
        if wanted.is_empty()
            || wanted
                .iter()
                .any(|wanted| wanted == name || wanted == group)
        {
            let start = Instant::now();
            print(&size);
            let (took, threads) = (start.elapsed().as_secs_f64(), size.threads);
            eprintln!("{name}: {took:.0} s on {threads} threads");
            println!();
        }
    }
    ExitCode::SUCCESS
}

fn arguments(mut given: impl Iterator<Item = String>) -> Result<(Size, Vec<String>), String> {
    let policy = Policy::default();
    let (mut size, mut wanted) = (
        Size {
            rollouts: 2_000,
            threads: 1,
            policy,
            only: String::new(),
            rate_max: f64::INFINITY,
            holdback: 5,
            golden: false,
        },
        Vec::new(),
    );
    while let Some(argument) = given.next() {
        let mut number = |least: f64| {
            let number = given.next().and_then(|n| n.parse::<f64>().ok());
            number
                .filter(|n| *n >= least)
                .ok_or(format!("{argument} wants a number from {least} on"))
        };
        match argument.as_str() {
            "--rollouts" => size.rollouts = number(1.0)? as u64,
            "--threads" => size.threads = number(1.0)? as usize,
            "--rate-max" => size.rate_max = number(0.1)?,
            "--only" => {
                size.only = given
                    .next()
                    .ok_or("--only wants a part of a world's name")?
            }
            "--holdback" => size.holdback = number(0.0)? as u16,
            "--rho" => size.policy.rho = number(0.01)?,
            "--answers-share" => size.policy.answers_share = number(0.0)?,
            "--golden" => size.golden = true,
            "--latency-odds" => {
                let odds = number(1.0)?;
                size.policy.omega0 = [size.policy.omega0[0], odds, odds, odds];
            }
            name if TABLES
                .iter()
                .any(|(table, group, _)| name == *table || name == *group) =>
            {
                wanted.push(argument);
            }
            _ => return Err(format!("unknown: {argument}")),
        }
    }
    Ok((size, wanted))
}

fn judge(size: &Size, world: World) -> Evidence {
    Evidence::new(world.judged_by(&size.policy), false).without_intervals()
}

fn seed(table: u64, run: u64) -> u64 {
    table * 1_000_000 + run
}

fn false_rollbacks(size: &Size) {
    // False rollbacks of the analysis, in percent, at 5, 50 and 500 requests a second.
    const BEFORE: [[f64; 3]; 8] = [
        [0.0, 0.0, 0.0],
        [0.0, 0.0, 0.0],
        [0.2, 0.0, 0.0],
        [0.0, 1.1, 0.0],
        [0.2, 0.0, 0.0],
        [0.0, 0.3, 0.5],
        [2.7, 7.0, 7.5],
        [0.3, 0.0, 0.0],
    ];
    println!("### False rollbacks, green equals blue: 15 min at 5 %, 15 min at 50 %\n");
    println!(
        "{} rollouts in each cell, 95 % Wilson interval; in brackets the analysis (1,000, 1,000 and 200 rollouts).\n",
        size.rollouts
    );
    println!("| world | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|");
    for (world, before) in World::ALL.into_iter().zip(BEFORE) {
        print!("| {} |", world.name());
        for (rate, before) in RATES.into_iter().zip(before) {
            let runs = many(size.threads, size.rollouts, |run| {
                let mut traffic = Traffic::new(seed(1, run), rate, SECONDS, world, Fault::NONE);
                drive(
                    &mut traffic,
                    &mut judge(size, world),
                    0.05,
                    fixed(SECONDS as u64),
                )
            });
            print!(" {} ({before:.1}%) |", share(&runs, End::RolledBack));
        }
        println!();
    }
}

/// `0.1% [0.0, 0.4]`: the share of rollouts that ended so.
fn share(runs: &[Run], end: End) -> String {
    let (hits, of) = (
        runs.iter().filter(|run| run.end == end).count() as u64,
        runs.len() as u64,
    );
    let (low, high) = wilson(hits, of);
    let percent = 100.0 * hits as f64 / of as f64;
    format!("{percent:.2}% [{:.2}, {:.2}]", 100.0 * low, 100.0 * high)
}

/// `median / p95, miss x%` of the seconds to rollback; a miss counts as endless.
fn delay(runs: &[Run]) -> String {
    let mut at: Vec<u64> = runs
        .iter()
        .map(|r| {
            if r.end == End::RolledBack {
                r.at
            } else {
                u64::MAX
            }
        })
        .collect();
    at.sort_unstable();
    let found = at.iter().filter(|at| **at < u64::MAX).count();
    let seconds = |at: Option<&u64>| match at {
        Some(&at) if at < u64::MAX => at.to_string(),
        _ => "-".to_owned(),
    };
    let median = seconds(at.get(found.saturating_sub(1) / 2).filter(|_| found > 0));
    let late = seconds(at.get((runs.len() * 95).div_ceil(100).saturating_sub(1)));
    let missed = 100.0 * (runs.len() - found) as f64 / runs.len() as f64;
    if found < runs.len() {
        format!("{median} / {late}, miss {missed:.0}%")
    } else {
        format!("{median} / {late}")
    }
}

/// The median number of green requests before a rollback.
fn cost(runs: &[Run]) -> String {
    let found = runs.iter().filter(|run| run.end == End::RolledBack);
    let mut green: Vec<u64> = found.map(|run| run.green).collect();
    green.sort_unstable();
    green
        .get(green.len() / 2)
        .map_or("-".to_owned(), u64::to_string)
}

fn detection(size: &Size) {
    const BEFORE: [[&str; 3]; 7] = [
        ["18 / 25", "5 / 8", "5 / 5"],
        ["1405 / -, miss 57%", "488 / 920", "76 / 121"],
        ["378 / 883", "44 / 81", "16 / 20"],
        ["1666 / -, miss 97%", "1439 / -, miss 33%", "480 / 917"],
        ["816 / 1092", "130 / 221", "51 / 61"],
        ["1503 / -, miss 55%", "644 / 974", "130 / 332"],
        ["1558 / -, miss 53%", "608 / 908", "106 / 153"],
    ];
    let rollouts = (size.rollouts / 5).max(20);
    println!(
        "### Seconds to rollback, green worse from the start: 15 min at 5 %, 15 min at 50 %, AR world\n"
    );
    println!(
        "Median (of those found) / 95th percentile (of all), {rollouts} rollouts in each cell; in brackets the analysis (60, 24 and 20 rollouts); then the median number of green requests before the rollback.\n"
    );
    println!("| regression | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|");
    for (fault, before) in Fault::ALL.into_iter().zip(BEFORE) {
        print!("| {} |", fault.name);
        for (rate, before) in RATES.into_iter().zip(before) {
            let runs = many(size.threads, rollouts, |run| {
                let mut traffic = Traffic::new(seed(2, run), rate, SECONDS, World::Wave, fault);
                drive(
                    &mut traffic,
                    &mut judge(size, World::Wave),
                    0.05,
                    fixed(SECONDS as u64),
                )
            });
            print!(" {} ({before}); {} |", delay(&runs), cost(&runs));
        }
        println!();
    }
}

fn green_alone(size: &Size) {
    let rollouts = (size.rollouts / 10).max(20);
    println!(
        "### All requests on green at once: compared with blue's past, or with 5 % held back on blue\n"
    );
    println!(
        "{rollouts} rollouts in each cell. False rollbacks within 30 min; seconds to rollback (median / 95th percentile) within 10 min, AR world.\n"
    );
    println!("| case | control | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|");
    let healthy = [
        World::Iid,
        World::Wave,
        World::SharedBursts,
        World::PrivateBursts,
        World::Incident,
    ]
    .map(|world| (world, Fault::NONE, SECONDS));
    let worse = Fault::ALL.map(|fault| (World::Wave, fault, 600));
    for (world, fault, seconds) in healthy.into_iter().chain(worse) {
        for history in [true, false] {
            let is_healthy = fault == Fault::NONE;
            let case = if is_healthy { world.name() } else { fault.name };
            print!(
                "| {case} | {} |",
                if history { "past" } else { "5 % on blue" }
            );
            for rate in RATES {
                let runs = many(size.threads, rollouts, |run| {
                    let mut traffic = Traffic::new(seed(4, run), rate, seconds, world, fault);
                    if history {
                        alone(&mut traffic, &mut judge(size, world), seconds as u64)
                    } else {
                        drive(
                            &mut traffic,
                            &mut judge(size, world),
                            0.95,
                            steady(seconds as u64),
                        )
                    }
                });
                print!(
                    " {} |",
                    if is_healthy {
                        share(&runs, End::RolledBack)
                    } else {
                        delay(&runs)
                    }
                );
            }
            println!();
        }
    }
}
