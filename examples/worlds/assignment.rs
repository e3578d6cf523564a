//! False rollbacks where the traffic has a pattern: green equals blue, and chance alone should tell them apart.

use crate::{Size, seed};
use shifter::core::weight::Weight;
use shifter::simulate::worlds::patterns::{Chooser, Pattern, Setting};
use shifter::simulate::worlds::schedule::many;

pub(crate) const RATES: [f64; 3] = [30.0, 100.0, 300.0];
pub(crate) const SHARES: [u16; 2] = [5, 50];
pub(crate) const SECONDS: usize = 300;

/// Name, and the patterns of which each is so many rollouts.
pub(crate) fn worlds() -> Vec<(String, Vec<Pattern>)> {
    let mut all = Vec::new();
    for slow in [false, true] {
        for closed in [false, true] {
            for clients in [1, 2, 4] {
                let patterns = (2..=400).map(|period| Pattern::Periodic {
                    period,
                    clients,
                    closed,
                    slow,
                });
                let name = format!(
                    "one of 2 to 400 {}, {clients} {}, {}",
                    if slow { "slow" } else { "fails" },
                    if clients == 1 { "client" } else { "clients" },
                    if closed { "closed loop" } else { "paced" }
                );
                all.push((name, patterns.collect()));
            }
        }
    }
    let pages = (5..=89).map(|requests| Pattern::Pages { requests });
    all.push(("page of 5 to 89, one fails".into(), pages.collect()));
    let services = (2..=89).map(|period| Pattern::TwoServices { period });
    all.push(("two services, one client".into(), services.collect()));
    for (name, first) in [
        ("the first fifth fails", true),
        ("every fifth fails", false),
    ] {
        let batches = vec![Pattern::Batch { first }; 100];
        all.push((format!("batch each 30 s, {name}"), batches));
    }
    let monitors = (1..=5).map(|pollers| Pattern::Monitors { pollers });
    let monitors: Vec<_> = monitors.cycle().take(100).collect();
    all.push(("monitors ask most, users fail 5 %".into(), monitors));
    all
}

/// Prints it: each pattern is one rollout, or more where `--rollouts` is a multiple of 2000.
pub(crate) fn patterns(size: &Size) {
    let times = (size.rollouts / 2_000).max(1);
    println!(
        "### False rollbacks where the traffic has a pattern, green equals blue: 5 min at one share\n"
    );
    println!(
        "Rolled back of all rollouts, {times} for each pattern{}.\n",
        if size.golden {
            "; in brackets with newcomers by the golden ratio, as before"
        } else {
            ""
        }
    );
    print!("| traffic | green's share |");
    for rate in RATES {
        print!(" {rate} req/s |");
    }
    println!("\n|---|---|---|---|---|");
    let mut sums = [(0, 0); 2];
    for (name, patterns) in worlds() {
        if !name.contains(&size.only) {
            continue;
        }
        for percent in SHARES {
            print!("| {name} | {percent} % |");
            for rate in RATES {
                let mut counted = |chooser, sum: usize| {
                    let setting = Setting {
                        rate,
                        share: Weight::percent(percent).unwrap_or(Weight::NONE),
                        seconds: SECONDS,
                        chooser,
                    };
                    let runs = times * patterns.len() as u64;
                    let back = many(size.threads, runs, |run| {
                        let pattern = patterns[(run / times) as usize];
                        pattern.goes_back(&setting, &size.policy, seed(12, run))
                    });
                    let hits = back.into_iter().filter(|back| *back).count() as u64;
                    sums[sum].0 += hits;
                    sums[sum].1 += runs;
                    format!("{hits} of {runs}")
                };
                print!(" {}", counted(Chooser::Shipped, 0));
                if size.golden {
                    print!(" ({})", counted(Chooser::Golden, 1));
                }
                print!(" |");
            }
            println!();
        }
    }
    let [(now, of), (before, all)] = sums;
    print!("\nIn all {now} of {of}");
    if size.golden {
        print!(", by the golden ratio {before} of {all}");
    }
    println!(".");
}
