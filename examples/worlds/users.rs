//! Sticky users: false rollbacks and detection, by users and by requests.

use crate::{Size, seed};
use shifter::simulate::worlds::schedule::{many, wilson};
use shifter::simulate::worlds::users::{Detection, Population, Simulation};
use std::io::Write;

pub(crate) const SHARES: [(u16, u64); 3] = [(5, 300), (50, 300), (95, 300)];

/// How users may differ; versions are equal.
pub(crate) fn populations() -> Vec<(&'static str, Population)> {
    let plain = Population::PLAIN;
    let zipf = |zipf| Population { zipf, ..plain };
    let broken = |broken, zipf| Population {
        broken,
        zipf,
        ..plain
    };
    let bot = |fails| Population {
        bot: (0.3, fails),
        errors: [0.0; 2],
        ..plain
    };
    vec![
        ("even activity", zipf(0.0)),
        ("Zipf 1", zipf(1.0)),
        ("Zipf 1.5", zipf(1.5)),
        ("0.5 % of users fail always", broken(0.005, 1.0)),
        ("5 % of users fail always", broken(0.05, 1.0)),
        ("5 % of users fail always, Zipf 1.5", broken(0.05, 1.5)),
        ("a bot makes 30 %, fails always", bot(1.0)),
        ("a bot makes 30 %, fails half", bot(0.5)),
        (
            "users stay 60 s, 5 % fail always",
            Population {
                stay: 60.0,
                ..broken(0.05, 1.0)
            },
        ),
        (
            "half keep no cookie, 5 % fail always",
            Population {
                cookieless: 0.5,
                ..broken(0.05, 1.0)
            },
        ),
        (
            "each failure is tried again 3 times",
            Population {
                retries: 3.0,
                errors: [0.00025; 2],
                ..plain
            },
        ),
    ]
}

pub(crate) const USERS: [usize; 3] = [40, 1_000, 20_000];
const RATES: [f64; 3] = [5.0, 50.0, 500.0];

/// Prints it: equal versions, then worse greens.
pub(crate) fn users(size: &Size) {
    println!("### Sticky users, green equals blue: 5 min at 5 %, at 50 % and at 95 %\n");
    println!(
        "False rollbacks, {} rollouts in each cell (a tenth at 500 req/s), 95 % Wilson interval; in brackets by requests, a failure of a user counted once in ten seconds.\n",
        size.rollouts
    );
    table(
        size,
        "users | how many",
        populations(),
        |rate| part(size, rate),
        falsely,
    );
}

/// A row for each population and number of users, a column for each rate, in it what its rollouts came to.
fn table(
    size: &Size,
    head: &str,
    populations: impl IntoIterator<Item = (&'static str, Population)>,
    rollouts: impl Fn(f64) -> u64,
    told: fn(&[Detection]) -> String,
) {
    println!("| {head} | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|");
    let named = |(name, _): &(&str, Population)| name.contains(&size.only);
    for (name, population) in populations.into_iter().filter(named) {
        for users in USERS {
            print!("| {name} | {users} |");
            for rate in RATES {
                let population = Population {
                    users,
                    rate,
                    ..population
                };
                print!(" {} |", told(&cell(size, population, rollouts(rate))));
                let _ = std::io::stdout().flush();
            }
            println!();
        }
    }
}

fn part(size: &Size, rate: f64) -> u64 {
    if rate > 100.0 {
        (size.rollouts / 10).max(20)
    } else {
        size.rollouts
    }
}

fn cell(size: &Size, population: Population, rollouts: u64) -> Vec<Detection> {
    many(size.threads, rollouts, |run| {
        Simulation::new(population, seed(20, run)).run(&SHARES, &size.policy)
    })
}

fn falsely(runs: &[Detection]) -> String {
    let of = runs.len() as u64;
    let users = runs.iter().filter(|run| run.by_users.is_some()).count() as u64;
    let requests = runs.iter().filter(|run| run.by_requests.is_some()).count() as u64;
    let (low, high) = wilson(users, of);
    let percent = |part: f64| 100.0 * part / of as f64;
    format!(
        "{:.2}% [{:.2}, {:.2}] ({:.1}%)",
        percent(users as f64),
        100.0 * low,
        100.0 * high,
        percent(requests as f64)
    )
}

/// What may be wrong with green.
fn greens() -> [(&'static str, Population); 6] {
    let errors = |green: f64| Population {
        errors: [0.001, green],
        ..Population::PLAIN
    };
    [
        ("errors 0.1 -> 100 %", errors(1.0)),
        ("errors 0.1 -> 20 %", errors(0.2)),
        ("errors 0.1 -> 5 %", errors(0.05)),
        ("errors 0.1 -> 1 %", errors(0.01)),
        (
            "p50 +20 %",
            Population {
                slower: 1.2,
                ..Population::PLAIN
            },
        ),
        (
            "p50 x2",
            Population {
                slower: 2.0,
                ..Population::PLAIN
            },
        ),
    ]
}

/// Worse greens among sticky users.
pub(crate) fn worse_users(size: &Size) {
    let all = (size.rollouts / 10).max(20);
    println!("### Sticky users, green worse from the start: 5 min at 5 %, at 50 % and at 95 %\n");
    println!(
        "Median seconds to rollback of those found, and how many were not; {all} rollouts in each cell (a fifth at 500 req/s); in brackets by requests as before.\n"
    );
    let rollouts = |rate| if rate > 100.0 { (all / 5).max(20) } else { all };
    table(size, "green | how many users", greens(), rollouts, |runs| {
        let by = |of: fn(&Detection) -> Option<u64>| delay(runs.iter().map(of).collect());
        let (users, requests) = (by(|run| run.by_users), by(|run| run.by_requests));
        format!("{users} ({requests})")
    });
}

fn delay(at: Vec<Option<u64>>) -> String {
    let mut found: Vec<u64> = at.iter().copied().flatten().collect();
    found.sort_unstable();
    let missed = 100.0 * (at.len() - found.len()) as f64 / at.len() as f64;
    match found.get(found.len().saturating_sub(1) / 2) {
        None => "never".to_owned(),
        Some(median) if missed == 0.0 => format!("{median}"),
        Some(median) => format!("{median}, miss {missed:.0}%"),
    }
}
