//! False rollbacks in every world, one line for each: green equals blue, through the shipped chooser, machine and judge.

use crate::cold::{self, Cold, With};
use crate::{RATES, Size, assignment, grid, rollout, seed, shared, users};
use shifter::core::weight::Weight;
use shifter::simulate::worlds::patterns::{Chooser, Setting};
use shifter::simulate::worlds::schedule::{End, Settled, settle, wilson};
use shifter::simulate::worlds::users::{Population, Simulation};
use shifter::simulate::worlds::world::World;
use std::io::Write;

/// Prints it. A cell ends when it is settled, at `--rollouts` at the latest.
pub(crate) fn equal(size: &Size) {
    println!("### False rollbacks in every world, green equals blue\n");
    println!(
        "A cell ends when a likelihood ratio of 10,000 says that fewer than 1 % go back, or at {} rollouts. In brackets the upper end of the 95 % Wilson interval.",
        size.rollouts
    );
    let mut table = Table {
        size,
        rates: &[],
        head: String::new(),
        sum: Sum::default(),
    };
    whole(&mut table);
    impatient(&mut table);
    shares(&mut table);
    patterns(&mut table);
    sticky(&mut table);
    cold(&mut table);
    outside(&mut table);
    let sum = table.sum;
    println!(
        "\n{} cells, {} rollouts, {} went back; not settled as below 1 %: {}; above 1 %: {}.",
        sum.cells, sum.of, sum.back, sum.open, sum.above
    );
}

#[derive(Default)]
struct Sum {
    cells: u64,
    of: u64,
    back: u64,
    open: u64,
    above: u64,
}

struct Table<'a> {
    size: &'a Size,
    /// Requests a second of the columns of this part.
    rates: &'a [f64],
    /// What stands above this part, until its first line is printed.
    head: String,
    sum: Sum,
}

impl<'a> Table<'a> {
    /// A part of the table begins.
    fn part(&mut self, title: &str, rates: &'a [f64]) {
        let columns: String = rates
            .iter()
            .map(|rate| format!(" {rate} req/s |"))
            .collect();
        let rule = "---|".repeat(rates.len());
        self.head = format!("\n**{title}**\n\n| world |{columns}\n|---|{rule}\n");
        self.rates = rates;
    }

    /// The cells of one world: whether the rollout of this rate and number goes back.
    fn line(&mut self, name: &str, back: impl Fn(f64, u64) -> bool + Sync) {
        if !name.contains(&self.size.only) {
            return;
        }
        print!("{}| {name} |", std::mem::take(&mut self.head));
        for rate in self.rates {
            if *rate > self.size.rate_max {
                print!(" not run |");
                continue;
            }
            let most = self.size.rollouts;
            let cell = settle(self.size.threads, most, |run| back(*rate, run));
            self.sum.cells += 1;
            self.sum.of += cell.of;
            self.sum.back += cell.back;
            self.sum.open += u64::from(!cell.below);
            self.sum.above += u64::from(cell.back * 100 > cell.of);
            print!(" {} |", told(&cell));
            let _ = std::io::stdout().flush();
        }
        println!();
    }
}

fn told(cell: &Settled) -> String {
    let (_, high) = wilson(cell.back, cell.of);
    let open = if cell.below { "" } else { ", open" };
    format!("{} of {} [{:.2}%{open}]", cell.back, cell.of, 100.0 * high)
}

fn whole(table: &mut Table) {
    let size = table.size;
    table.part(
        "Whole rollouts of the default canary; an incident begins at any time",
        &RATES,
    );
    for world in World::ALL {
        table.line(world.name(), |rate, run| {
            rollout::goes_back(size, (world, 0.01), rate, run)
        });
    }
}

fn impatient(table: &mut Table) {
    let size = table.size;
    table.part(
        "Users who give up, of both versions: whole rollouts",
        &RATES,
    );
    for world in [World::Wave, World::SharedBursts, World::PrivateBursts] {
        for leaving in [0.05, 0.3] {
            let name = format!("{:.0} % leave, {}", 100.0 * leaving, world.name());
            table.line(&name, |rate, run| {
                rollout::goes_back(size, (world, leaving), rate, run)
            });
        }
    }
}

fn shares(table: &mut Table) {
    let size = table.size;
    table.part("The judge alone, 15 min at one share", &grid::RATES);
    for world in grid::WORLDS {
        for weight in grid::SHARES {
            let name = format!("{}, {} %", world.name(), 100.0 * weight);
            table.line(&name, |rate, run| {
                grid::one(size, world, weight, rate, run).end == End::RolledBack
            });
        }
    }
}

fn patterns(table: &mut Table) {
    let size = table.size;
    table.part(
        "Traffic that repeats itself, each pattern in turn: 5 min at one share",
        &assignment::RATES,
    );
    for (name, patterns) in assignment::worlds() {
        for percent in assignment::SHARES {
            let name = format!("{name}; {percent} %");
            table.line(&name, |rate, run| {
                let setting = Setting {
                    rate,
                    share: Weight::percent(percent).unwrap_or(Weight::NONE),
                    seconds: assignment::SECONDS,
                    chooser: Chooser::Shipped,
                };
                let pattern = patterns[run as usize % patterns.len()];
                pattern.goes_back(&setting, &size.policy, seed(12, run))
            });
        }
    }
}

fn sticky(table: &mut Table) {
    let size = table.size;
    table.part("Sticky users: 5 min each at 5, 50 and 95 %", &RATES);
    for (name, population) in users::populations() {
        for users in users::USERS {
            let name = format!("{name}; {users} users");
            table.line(&name, |rate, run| {
                let population = Population {
                    users,
                    rate,
                    ..population
                };
                let found =
                    Simulation::new(population, seed(20, run)).run(&users::SHARES, &size.policy);
                found.by_users.is_some()
            });
        }
    }
}

fn cold(table: &mut Table) {
    let size = table.size;
    const FEW: [f64; 2] = [40.0, 200.0];
    table.part("Pools that are cold for a while: whole rollouts", &FEW);
    for (name, cold) in [
        ("colder the smaller the share", Cold::Idle),
        ("25 s to get used to more requests", Cold::Raised),
    ] {
        for (beside, with) in [("blue", With::Confirmed), ("a baseline", With::Baseline)] {
            let name = format!("{name}; beside {beside}");
            table.line(&name, |rate, run| {
                cold::goes_back(size, cold, with, rate, run)
            });
        }
    }
}

fn outside(table: &mut Table) {
    let size = table.size;
    table.part(
        "Something outside, with switchbacks: whole rollouts",
        &shared::RATES,
    );
    for (name, kind) in shared::NONE {
        table.line(name, |rate, run| shared::goes_back(size, kind, rate, run));
    }
}
