//! What a green that has everything is compared with: blue's past, a blue that keeps a little or gets copies, or a blue that is asked under suspicion.

use crate::{RATES, Size, seed};
use shifter::core::rollout::Outcome;
use shifter::simulate::worlds::canary::{Ending, blue_green, canary, longest};
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{many, wilson};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// The controls that are compared: name, percent that stay on blue, percent that blue gets back under suspicion,
/// whether what blue has is copies of requests that green answers.
const CONTROLS: [(&str, u16, u16, bool); 7] = [
    ("past", 0, 0, false),
    ("holdback 5 %", 5, 0, false),
    ("mirror 5 %", 5, 0, true),
    ("mirror 25 %", 25, 0, true),
    ("challenge 10 %", 0, 10, false),
    ("challenge 25 %", 0, 25, false),
    ("challenge 50 %", 0, 50, false),
];

fn runs(
    size: &Size,
    (_, holdback, challenge, mirrors): (&str, u16, u16, bool),
    (world, fault): (World, Fault),
    rate: f64,
    rollouts: u64,
) -> Vec<Ending> {
    let plan = blue_green(holdback, challenge);
    many(size.threads, rollouts, |run| {
        let mut traffic = Traffic::new(seed(8, run), rate, longest(&plan), world, fault);
        traffic.mirrors = mirrors;
        // Any second of the first ten minutes, all alike.
        traffic.incident_at((run * 600 / rollouts) as usize);
        canary(&mut traffic, &plan, &size.policy)
    })
}

fn median(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    values
        .get(values.len() / 2)
        .map_or("-".to_owned(), u64::to_string)
}

fn rolled_back(ending: &&Ending) -> bool {
    matches!(ending.outcome, Outcome::RolledBack { .. })
}

/// A good green: false rollbacks, and how often blue was asked. A bad one: when it is found, and at what cost.
pub(crate) fn cutover(size: &Size) {
    println!(
        "### All requests on green at once, {} s watched: what it is compared with\n",
        longest(&blue_green(0, 10))
    );
    println!(
        "{} rollouts in each cell. Green equals blue: rolled back (95 % Wilson interval); rollouts in which blue was asked; seconds in which it had a share, mean. The incident begins anywhere in the first ten minutes.\n",
        size.rollouts
    );
    println!("| world | control | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|");
    let wanted = |world: &World| world.name().contains(&size.only);
    for world in World::ALL.into_iter().chain([World::Wave]).filter(wanted) {
        for control in CONTROLS {
            print!("| {} | {} |", world.name(), control.0);
            for rate in RATES {
                let all = runs(size, control, (world, Fault::NONE), rate, size.rollouts);
                let of = all.len() as u64;
                let bad = all.iter().filter(rolled_back).count() as u64;
                let (low, high) = wilson(bad, of);
                let percent = |hits: u64| 100.0 * hits as f64 / of as f64;
                let asked = all.iter().filter(|ending| ending.challenges > 0).count() as u64;
                let shared: u64 = all.iter().map(|ending| ending.shared).sum();
                print!(
                    " {:.2}% [{:.2}, {:.2}]; {:.1}%; {:.0} s |",
                    percent(bad),
                    100.0 * low,
                    100.0 * high,
                    percent(asked),
                    shared as f64 / of as f64
                );
            }
            println!();
        }
    }
    worse(size);
}

fn worse(size: &Size) {
    let rollouts = (size.rollouts / 5).max(20);
    println!(
        "\n{rollouts} rollouts in each cell, AR world. Green worse from the start: rolled back; median seconds to it; users whose request failed on green until the end, median; promoted.\n"
    );
    println!("| regression | control | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|---|");
    for fault in Fault::ALL {
        for control in CONTROLS {
            print!("| {} | {} |", fault.name, control.0);
            for rate in RATES {
                let all = runs(size, control, (World::Wave, fault), rate, rollouts);
                let bad: Vec<u64> = all
                    .iter()
                    .filter(rolled_back)
                    .map(|ending| ending.at)
                    .collect();
                let promoted = all
                    .iter()
                    .filter(|ending| ending.outcome == Outcome::Promoted)
                    .count();
                print!(
                    " {:.0}%; {} s; {}; {:.0}% |",
                    100.0 * bad.len() as f64 / all.len() as f64,
                    median(bad),
                    median(all.iter().map(|ending| ending.failed).collect()),
                    100.0 * promoted as f64 / all.len() as f64
                );
            }
            println!();
        }
    }
}
