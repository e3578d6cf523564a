//! What `shifter plan` predicts, beside whole rollouts in two worlds.

use crate::{RATES, Size, seed};
use shifter::simulate::forecast;
use shifter::simulate::worlds::canary::{Ending, canary, longest, plan};
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::many;
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// Blue's and green's share of failed requests.
const CASES: [[f64; 2]; 4] = [[0.001, 0.001], [0.001, 0.01], [0.001, 0.05], [0.01, 0.05]];

/// Half and nine of ten.
const PARTS: [f64; 2] = [0.5, 0.9];

/// Prints it.
pub(crate) fn forecast(size: &Size) {
    let rollouts = (size.rollouts / 10).max(20);
    println!("### Seconds to the end of a rollout: predicted by `shifter plan`, and simulated\n");
    println!(
        "Half within / nine of ten within; {rollouts} whole rollouts in each cell; in brackets observed to predicted.\n"
    );
    println!(
        "| blue's errors | green's | req/s | predicted | iid | AR + shared bursts |\n|---|---|---|---|---|---|"
    );
    let (plan, mut ratios) = (plan(size.holdback), vec![]);
    for [blue_errors, green_errors] in CASES {
        for rate in RATES {
            let world = forecast::World {
                rps: rate,
                blue_errors,
                green_errors,
                median_ms: 40.0,
            };
            let ends = forecast::rollouts(&plan, &size.policy, world);
            let predicted = parts(ends.iter().map(|end| end.seconds));
            let [blue, green] = [blue_errors, green_errors].map(|share| 100.0 * share);
            print!("| {blue} % | {green} % | {rate} | {} |", words(predicted));
            for world in [World::Iid, World::SharedBursts] {
                let fault = Fault {
                    blue_errors,
                    green_errors,
                    ..Fault::NONE
                };
                let ends: Vec<Ending> = many(size.threads, rollouts, |run| {
                    let mut traffic =
                        Traffic::new(seed(11, run), rate, longest(&plan), world, fault);
                    canary(&mut traffic, &plan, &size.policy)
                });
                let seen = parts(ends.iter().map(|end| end.at));
                let ratio = [0, 1].map(|i| seen[i] as f64 / predicted[i] as f64);
                print!(" {} ({:.2}, {:.2}) |", words(seen), ratio[0], ratio[1]);
                ratios.extend((world == World::Iid).then_some(ratio));
            }
            println!();
        }
    }
    let beyond = |part: usize| {
        let far = ratios
            .iter()
            .filter(|r| !(1.0 / 1.5..=1.5).contains(&r[part]));
        far.count()
    };
    println!(
        "\nBeyond a factor of 1.5 in the first world: {} of {} halves, {} of {} nine of ten.",
        beyond(0),
        ratios.len(),
        beyond(1),
        ratios.len()
    );
}

fn parts(seconds: impl Iterator<Item = u64>) -> [u64; 2] {
    let mut all: Vec<u64> = seconds.collect();
    all.sort_unstable();
    PARTS.map(|part| all[((part * all.len() as f64).ceil() as usize).saturating_sub(1)])
}

fn words([half, most]: [u64; 2]) -> String {
    format!("{half} / {most}")
}
