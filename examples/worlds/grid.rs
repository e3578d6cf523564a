//! False rollbacks over rates and shares: the judge alone, a quarter of an hour at one share.

use crate::{Size, judge, seed, share};
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{Run, drive, many, steady};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

pub(crate) const RATES: [f64; 5] = [1.0, 5.0, 50.0, 500.0, 5_000.0];
pub(crate) const SHARES: [f64; 3] = [0.01, 0.05, 0.5];
const SECONDS: usize = 900;
pub(crate) const WORLDS: [World; 7] = [
    World::Iid,
    World::Wave,
    World::SharedBursts,
    World::PrivateBursts,
    World::Day,
    World::OtherRoutes,
    World::ClustersSticky,
];

/// Prints it; the false rollbacks are those of [`shifter::simulate::worlds::schedule::End::RolledBack`].
pub(crate) fn grid(size: &Size) {
    println!("### False rollbacks, green equals blue: 15 min at one share\n");
    println!(
        "{} rollouts in each cell, looked at each second, 95 % Wilson interval.\n",
        size.rollouts
    );
    print!("| world | green's share |");
    for rate in RATES {
        print!(" {rate} req/s |");
    }
    println!("\n|---|---|---|---|---|---|---|");
    for world in WORLDS {
        // A whole name means this world alone: "AR" is part of others.
        let exact = WORLDS.iter().any(|one| one.name() == size.only);
        let wanted = if exact {
            world.name() == size.only
        } else {
            world.name().contains(&size.only)
        };
        if !wanted {
            continue;
        }
        for weight in SHARES {
            print!("| {} | {} % |", world.name(), 100.0 * weight);
            for rate in RATES {
                let runs = cell(size, world, weight, rate);
                print!(" {} |", share(&runs, crate::End::RolledBack));
            }
            println!();
        }
    }
}

fn cell(size: &Size, world: World, weight: f64, rate: f64) -> Vec<Run> {
    many(size.threads, size.rollouts, |run| {
        one(size, world, weight, rate, run)
    })
}

/// One rollout of this table.
pub(crate) fn one(size: &Size, world: World, weight: f64, rate: f64, run: u64) -> Run {
    let mut traffic = Traffic::new(seed(10, run), rate, SECONDS, world, Fault::NONE);
    drive(
        &mut traffic,
        &mut judge(size, world),
        weight,
        steady(SECONDS as u64),
    )
}
