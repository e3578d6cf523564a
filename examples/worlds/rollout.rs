//! Tables of whole rollouts as the product makes them: default plan, machine and judge together.

use crate::{RATES, Size, seed};
use shifter::core::judge::{Cause, Policy};
use shifter::core::plan::Plan;
use shifter::core::rollout::Outcome;
use shifter::simulate::worlds::canary::{Ending, canary, longest, plan};
use shifter::simulate::worlds::fault::Fault;
use shifter::simulate::worlds::schedule::{many, wilson};
use shifter::simulate::worlds::traffic::Traffic;
use shifter::simulate::worlds::world::World;

/// Where the shared incident begins.
#[derive(Clone, Copy, PartialEq)]
enum Incident {
    /// 15 min after green's first share, as in the analysis.
    Middle,
    /// Any second of the first 30 min, all alike.
    Anywhere,
}

struct Setting<'a> {
    size: &'a Size,
    plan: Plan,
    incident: Incident,
    policy: Policy,
}

impl<'a> Setting<'a> {
    fn new(size: &'a Size) -> Setting<'a> {
        Setting {
            size,
            plan: plan(size.holdback),
            incident: Incident::Middle,
            policy: size.policy.clone(),
        }
    }

    fn run(
        &self,
        table: u64,
        rollouts: u64,
        (world, fault): (World, Fault),
        rate: f64,
    ) -> Vec<Ending> {
        many(self.size.threads, rollouts, |run| {
            let mut traffic =
                Traffic::new(seed(table, run), rate, longest(&self.plan), world, fault);
            traffic.incident_at(match self.incident {
                Incident::Middle => 900,
                Incident::Anywhere => (run * 1_800 / rollouts) as usize,
            });
            canary(&mut traffic, &self.plan, &self.policy)
        })
    }
}

fn is(outcome: &str) -> impl Fn(&&Ending) -> bool {
    move |ending| ending.outcome.name() == outcome
}

const BAD: &str = "rolled_back";
const UNPROVEN: &str = "inconclusive";

fn count(endings: &[Ending], wanted: impl Fn(&&Ending) -> bool) -> u64 {
    endings.iter().filter(wanted).count() as u64
}

fn interval(hits: u64, of: usize) -> String {
    let (low, high) = wilson(hits, of as u64);
    let percent = 100.0 * hits as f64 / of as f64;
    format!("{percent:.2}% [{:.2}, {:.2}]", 100.0 * low, 100.0 * high)
}

fn percent(hits: u64, of: usize) -> String {
    format!("{:.1}%", 100.0 * hits as f64 / of as f64)
}

/// The value below which so many in a hundred of `values` lie; beyond them lie `endless` more.
fn quantile(mut values: Vec<u64>, endless: usize, hundredths: usize) -> String {
    values.sort_unstable();
    let rank = ((values.len() + endless) * hundredths).div_ceil(100);
    values
        .get(rank.saturating_sub(1))
        .map_or("-".to_owned(), u64::to_string)
}

fn seconds(endings: &[Ending]) -> String {
    let at: Vec<u64> = endings.iter().map(|ending| ending.at).collect();
    format!("{} / {}", quantile(at.clone(), 0, 50), quantile(at, 0, 95))
}

/// Whether a whole rollout of the default canary goes back where green is blue's equal and so many clients leave.
pub(crate) fn goes_back(size: &Size, (world, leaving): (World, f64), rate: f64, run: u64) -> bool {
    let plan = plan(size.holdback);
    let mut traffic = Traffic::new(seed(5, run), rate, longest(&plan), world, Fault::NONE);
    traffic.leaving = leaving;
    traffic.incident_at((run * 137 % 1_800) as usize);
    canary(&mut traffic, &plan, &size.policy).outcome.name() == BAD
}

/// Healthy rollouts: how they end, and why those that go back do.
pub(crate) fn healthy(size: &Size) {
    println!("### Whole rollouts, green equals blue: false rollbacks\n");
    println!(
        "{} rollouts in each cell, 95 % Wilson interval. `any time`: the incident begins anywhere in the first 30 min, otherwise after 15 min. The last share is 95 %, as by default; `nothing held back`: it is 100 % and judged by blue's past (`holdback = 0`).\n",
        size.rollouts
    );
    println!("| world | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|");
    let mut setting = Setting::new(size);
    let mut details = Vec::new();
    let worlds = World::ALL
        .into_iter()
        .map(|world| (world, Incident::Middle, 5));
    let more = [
        (World::ClustersCounted, Incident::Middle, 5),
        (World::Incident, Incident::Anywhere, 5),
        (World::Incident, Incident::Middle, 0),
        (World::Incident, Incident::Anywhere, 0),
    ];
    let all = worlds.chain(more);
    for (world, incident, holdback) in all.filter(|(world, ..)| world.name().contains(&size.only)) {
        setting.incident = incident;
        setting.plan = plan(holdback);
        let when = if incident == Incident::Anywhere {
            ", any time"
        } else {
            ""
        };
        let held = if holdback == 0 {
            ", nothing held back"
        } else {
            ""
        };
        let name = format!("{}{when}{held}", world.name());
        print!("| {name} |");
        for rate in RATES {
            let endings = setting.run(5, size.rollouts, (world, Fault::NONE), rate);
            print!(" {} |", interval(count(&endings, is(BAD)), endings.len()));
            details.push(ends(&name, rate, &endings));
        }
        println!();
    }
    println!("\n### Whole rollouts, green equals blue: how they end\n");
    println!(
        "Proven: every share was left on evidence. By policy: at some deadline nothing leaned worse, and enough was seen. Inconclusive: blue is kept; at 5, 50 and 100 %. Rolled back: by the outage guard or by evidence, at 5, 50 and 100 %. Seconds: to the end, median / 95th percentile.\n"
    );
    println!(
        "| world | req/s | promoted, proven | promoted by policy | inconclusive | at 5, 50, 100 % | rolled back | guard | evidence at 5, 50, 100 % | seconds |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for line in details {
        println!("{line}");
    }
}

fn ends(name: &str, rate: f64, endings: &[Ending]) -> String {
    let of = endings.len();
    let promoted = |silent| {
        count(endings, |ending| {
            ending.outcome == Outcome::Promoted && ending.silent == silent
        })
    };
    let shares = |wanted: &dyn Fn(&&Ending) -> bool| {
        let at = |share: u16| count(endings, |ending| wanted(ending) && ending.share == share);
        format!("{}, {}, {}", at(5), at(50), at(95) + at(100))
    };
    let by = |cause| move |ending: &&Ending| is(BAD)(ending) && ending.cause == Some(cause);
    let columns = [
        name.to_owned(),
        rate.to_string(),
        percent(promoted(false), of),
        percent(promoted(true), of),
        percent(count(endings, is(UNPROVEN)), of),
        shares(&is(UNPROVEN)),
        count(endings, is(BAD)).to_string(),
        count(endings, by(Cause::Outage)).to_string(),
        shares(&by(Cause::Evidence)),
        seconds(endings),
    ];
    format!("| {} |", columns.join(" | "))
}

/// Rollouts of a worse green: how soon it is found.
pub(crate) fn worse(size: &Size) {
    let rollouts = (size.rollouts / 5).max(20);
    println!(
        "### Whole rollouts, green worse from the start, AR world, {} % held back in the last share\n",
        size.holdback
    );
    println!(
        "{rollouts} rollouts in each cell: median / 95th percentile of the seconds to rollback (a miss is endless); median of green's requests until then (where found); then, where not all are rolled back, inconclusive (blue is kept, too) and promoted.\n"
    );
    println!("| regression | 5 req/s | 50 req/s | 500 req/s |\n|---|---|---|---|");
    let setting = Setting::new(size);
    for fault in Fault::ALL {
        print!("| {} |", fault.name);
        for rate in RATES {
            let endings = setting.run(6, rollouts, (World::Wave, fault), rate);
            print!(" {} |", found(&endings));
        }
        println!();
    }
}

fn found(endings: &[Ending]) -> String {
    let bad = || endings.iter().filter(is(BAD));
    let at: Vec<u64> = bad().map(|ending| ending.at).collect();
    let green: Vec<u64> = bad().map(|ending| ending.green).collect();
    let missed = endings.len() - at.len();
    let delay = format!(
        "{} / {}",
        quantile(at.clone(), missed, 50),
        quantile(at, missed, 95)
    );
    let mut text = format!("{delay}; {}", quantile(green, 0, 50));
    if missed > 0 {
        let unproven = percent(count(endings, is(UNPROVEN)), endings.len());
        let promoted = percent(count(endings, is("promoted")), endings.len());
        text.push_str(&format!("; inconclusive {unproven}, promoted {promoted}"));
    }
    text
}

/// What another line for "leans worse" at a deadline would change.
pub(crate) fn leaning(size: &Size) {
    let rollouts = (size.rollouts / 5).max(20);
    let amber = size.policy.amber;
    println!("### Evidence above which a share that is over goes back to blue: {amber} and 5\n");
    println!(
        "{rollouts} rollouts in each cell: rolled back, inconclusive, promoted; with {amber}, then with 5. Cells in which no deadline is reached are left out.\n"
    );
    println!("| world | green | req/s | {amber} | 5 |\n|---|---|---|---|---|");
    let healthy = World::ALL.into_iter().map(|world| (world, Fault::NONE));
    let bad = Fault::ALL.into_iter().map(|fault| (World::Wave, fault));
    for (world, fault) in healthy.chain(bad) {
        for rate in [5.0, 50.0] {
            let endings = [amber, 5.0].map(|lean| {
                let policy = Policy {
                    amber: lean,
                    ..size.policy.clone()
                };
                let setting = Setting {
                    policy,
                    ..Setting::new(size)
                };
                setting.run(7, rollouts, (world, fault), rate)
            });
            let deadline = |ending: &&Ending| ending.silent;
            if endings.iter().all(|endings| count(endings, deadline) == 0) {
                continue;
            }
            let [now, then] = endings.map(|endings| {
                let part = |outcome| percent(count(&endings, is(outcome)), endings.len());
                format!("{}, {}, {}", part(BAD), part(UNPROVEN), part("promoted"))
            });
            let green = if fault == Fault::NONE {
                "as blue"
            } else {
                fault.name
            };
            println!("| {} | {green} | {rate} | {now} | {then} |", world.name());
        }
    }
}
