//! Harm that green does to blue: both versions share a processor, a disk, a database. Whole rollouts with switchbacks.
//!
//! Green answers as blue does, always. In the worlds with harm both are slower, or fail more, while green has a share; in
//! the others something outside does that. Requests are simulated one by one.

use crate::peers::Peers;
use crate::{SECONDS, Size, many, seed, wilson};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Poisson, StandardNormal};
use shifter::core::analysis::{self, Course};
use shifter::core::rollout::Outcome;
use shifter::core::stats::{Histogram, History, Limits, PoolCounts, SpanStats, Tick};
use shifter::core::switchback::Settings;
use shifter::core::weight::Weight;
use shifter::simulate::worlds::canary;

/// What happens, to both versions alike.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Latency times 1 + this, while green has a share.
    Slower(f64),
    /// The same in proportion to the share.
    Proportional(f64),
    /// So many errors instead of 0.1 %, while green has a share.
    Failing(f64),
    /// Nothing.
    Nothing,
    /// From the second at which green gets half: latency times 1 + this, whoever serves.
    Incident(f64),
    /// An outside that wanders: the logarithm of latency is an AR(1) with this innovation, 0.9 of it kept each 10 s.
    Wanders(f64),
    /// Every 120 s for 8 s: 5 % errors, three times the latency.
    Bursts,
    /// A day in half an hour: from 0.2 to 1.8 times the requests, with latency that follows.
    Day,
}

const HARM: [(&str, Kind); 4] = [
    ("+20 % latency", Kind::Slower(0.2)),
    ("+100 % latency", Kind::Slower(1.0)),
    ("+100 % latency times the share", Kind::Proportional(1.0)),
    ("errors 0.1 -> 2 %", Kind::Failing(0.02)),
];
pub(crate) const NONE: [(&str, Kind); 6] = [
    ("nothing happens", Kind::Nothing),
    ("incident +100 % at the raise", Kind::Incident(1.0)),
    ("incident +20 % at the raise", Kind::Incident(0.2)),
    ("AR, 10 % each 10 s", Kind::Wanders(0.1)),
    ("shared bursts", Kind::Bursts),
    ("a day's ramp", Kind::Day),
];
pub(crate) const RATES: [f64; 2] = [50.0, 500.0];

struct Machine {
    rng: Xoshiro256PlusPlus,
    kind: Kind,
    rate: f64,
    second: u64,
    raised: bool,
    wave: f64,
    withheld: bool,
    own: SpanStats,
    /// Requests of users while green harmed them.
    harmed: u64,
}

impl Machine {
    fn new(kind: Kind, rate: f64, seed: u64) -> Machine {
        Machine {
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            kind,
            rate,
            second: 0,
            raised: false,
            wave: 0.0,
            withheld: false,
            own: SpanStats::default(),
            harmed: 0,
        }
    }

    /// Factor of latency, share of errors, factor of traffic, with this much of the requests on green.
    fn now(&mut self, green: f64) -> (f64, f64, f64) {
        let (mut slower, mut failing, mut traffic) = (1.0, 0.001, 1.0);
        let on = f64::from(u8::from(green > 0.0));
        match self.kind {
            Kind::Slower(by) => slower += by * on,
            Kind::Proportional(by) => slower += by * green,
            Kind::Failing(share) if on > 0.0 => failing = share,
            Kind::Failing(_) | Kind::Nothing => {}
            Kind::Incident(by) => slower += by * f64::from(u8::from(self.raised)),
            Kind::Wanders(by) => {
                if self.second.is_multiple_of(10) {
                    let z: f64 = StandardNormal.sample(&mut self.rng);
                    self.wave = 0.9 * self.wave + by * z;
                }
                slower *= self.wave.exp();
            }
            Kind::Bursts if self.second % 120 < 8 => (slower, failing) = (3.0, 0.05),
            Kind::Bursts => {}
            Kind::Day => {
                let hour = self.second as f64 / 1_800.0 * std::f64::consts::TAU;
                traffic = 1.0 - 0.8 * hour.cos();
                slower *= 1.0 + 0.2 * (traffic - 1.0);
            }
        }
        (slower, failing, traffic)
    }

    fn ten_minutes(&mut self) -> History {
        let mut past = History::default();
        for _ in 0..600 {
            self.draw(0.0, None, &mut past);
        }
        past
    }

    fn draw(&mut self, share: f64, limits: Option<Limits>, past: &mut History) -> Tick {
        self.second += 1;
        self.raised |= share >= 0.5;
        let green = if self.withheld { 0.0 } else { share };
        let (slower, failing, traffic) = self.now(green);
        let drawn = Poisson::new(self.rate * traffic).map_or(0.0, |law| law.sample(&mut self.rng));
        let harms = matches!(
            self.kind,
            Kind::Slower(_) | Kind::Proportional(_) | Kind::Failing(_)
        );
        self.harmed += if harms && green > 0.0 {
            drawn as u64
        } else {
            0
        };
        self.own = SpanStats::default();
        let mut tick = Tick::default();
        for _ in 0..drawn as u64 {
            let is_green = self.rng.random::<f64>() < share;
            let pool = if is_green {
                &mut tick.green
            } else {
                &mut tick.blue
            };
            pool.requests += 1;
            let failed = self.rng.random::<f64>() < failing;
            pool.failed += u64::from(failed);
            if !is_green {
                self.own.requests += 1;
                self.own.failed += u64::from(failed);
            }
            if failed {
                continue;
            }
            let z: f64 = StandardNormal.sample(&mut self.rng);
            let middle = if self.rng.random::<f64>() < 0.03 {
                200.0
            } else {
                40.0
            };
            let micros = (1_000.0 * middle * slower * (0.4 * z).exp()) as u64;
            count(pool, is_green, micros, limits);
            if !is_green {
                self.own.latency.add(Histogram::bucket(micros), 1);
            }
        }
        past.push(&self.own);
        tick
    }
}

fn count(pool: &mut PoolCounts, green: bool, micros: u64, limits: Option<Limits>) {
    pool.timed += 1;
    let Some(limits) = limits else { return };
    let (fail, pass) = match green {
        true => (limits.fail, limits.pass),
        false => (limits.blue, limits.blue),
    };
    for level in 0..3 {
        pool.slow_fail[level] += u64::from(micros > fail[level]);
        pool.slow_pass[level] += u64::from(micros > pass[level]);
    }
}

impl analysis::World for Machine {
    fn second(&mut self, share: Weight, limits: Option<Limits>, past: &mut History) -> Tick {
        self.draw(share.ratio(), limits, past)
    }

    fn withhold(&mut self, withheld: bool) {
        self.withheld = withheld;
    }

    fn blue(&mut self) -> Option<SpanStats> {
        Some(self.own.clone())
    }
}

struct One {
    back: bool,
    /// It went back because of what green does to blue.
    harm: bool,
    promoted: bool,
    seconds: u64,
    harmed: u64,
    switchbacks: u32,
    switched: u64,
}

/// Whether a whole rollout goes back, for whatever reason.
pub(crate) fn goes_back(size: &Size, kind: Kind, rate: f64, run: u64) -> bool {
    one(size, kind, rate, run).back
}

fn one(size: &Size, kind: Kind, rate: f64, run: u64) -> One {
    let mut machine = Machine::new(kind, rate, seed(15, run));
    let past = machine.ten_minutes();
    let plan = canary::plan(5);
    let course =
        Course::new(&plan, &size.policy, past).switch_back(Settings::default(), seed(16, run));
    let (end, trial) = course.run(&mut machine);
    One {
        back: matches!(end.outcome, Some(Outcome::RolledBack { .. })),
        harm: trial.harm().is_some(),
        promoted: end.outcome == Some(Outcome::Promoted),
        seconds: end.seconds,
        harmed: machine.harmed,
        switchbacks: end.switchbacks,
        switched: end.switched_seconds,
    }
}

/// In how many of these runs Argo, Flagger and Kayenta go back: 15 minutes at 5 %, 15 minutes at 50 %.
fn peers(
    kind: Kind,
    rate: f64,
    run: u64,
    margins: (shifter::core::stats::Margin, shifter::core::stats::Margin),
) -> [bool; 3] {
    let mut machine = Machine::new(kind, rate, seed(15, run));
    let mut past = machine.ten_minutes();
    let (mut peers, mut back) = (Peers::default(), [false; 3]);
    let mut limits = None;
    for second in 1..=SECONDS {
        if second == 1 || second == SECONDS / 2 + 1 {
            limits = Limits::freeze(&past.total().latency, margins.0, margins.1);
            peers.next_share();
        }
        let share = if second <= SECONDS / 2 { 0.05 } else { 0.5 };
        let tick = machine.draw(share, limits, &mut past);
        let said = peers.second(second, &tick);
        back.iter_mut()
            .zip(said)
            .for_each(|(back, said)| *back |= said);
    }
    back
}

fn share(hits: usize, of: usize) -> String {
    let (low, high) = wilson(hits as u64, of as u64);
    format!(
        "{:.1}% [{:.1}, {:.1}]",
        100.0 * hits as f64 / of as f64,
        100.0 * low,
        100.0 * high
    )
}

fn middle(mut values: Vec<u64>) -> String {
    values.sort_unstable();
    values
        .get(values.len() / 2)
        .map_or("-".to_owned(), u64::to_string)
}

fn row(size: &Size, name: &str, kind: Kind, rate: f64, rollouts: u64) {
    let runs = many(size.threads, rollouts, |run| one(size, kind, rate, run));
    let count = |of: &dyn Fn(&One) -> bool| runs.iter().filter(|run| of(run)).count();
    let harm = || runs.iter().filter(|run| run.harm && run.back);
    let margins = (size.policy.lat_fail, size.policy.lat_pass);
    let few = (rollouts / 10).max(10);
    let others = many(size.threads, few, |run| peers(kind, rate, run, margins));
    let found = |rule: usize| others.iter().filter(|back| back[rule]).count();
    let all = runs.len();
    println!(
        "| {name} | {rate} | {} | {} | {} | {} | {} | {:.2} | {:.0} | {} / {} / {} of {few} |",
        share(count(&|run| run.harm && run.back), all),
        share(count(&|run| run.back && !run.harm), all),
        share(count(&|run| run.promoted), all),
        middle(harm().map(|run| run.seconds).collect()),
        middle(harm().map(|run| run.harmed).collect()),
        runs.iter()
            .map(|run| f64::from(run.switchbacks))
            .sum::<f64>()
            / all as f64,
        runs.iter().map(|run| run.switched as f64).sum::<f64>() / all as f64,
        found(0),
        found(1),
        found(2),
    );
}

pub(crate) fn shared(size: &Size) {
    let rollouts = (size.rollouts / 10).max(20);
    println!(
        "### Harm that green does to blue: whole rollouts of the default canary, with switchbacks\n"
    );
    println!(
        "{rollouts} rollouts in each cell, 95 % Wilson intervals; medians of those found; switchbacks and their seconds are means of all. The rules of others: 15 min at 5 %, 15 min at 50 %.\n"
    );
    for (title, cases) in [
        ("green harms both", &HARM[..]),
        ("nothing is green's fault", &NONE[..]),
    ] {
        println!("**{title}**\n");
        println!(
            "| world | req/s | convicted of harm | back otherwise | promoted | seconds from the first share | requests harmed | switchbacks | seconds in them | back by Argo / Flagger / Kayenta |\n|---|---|---|---|---|---|---|---|---|---|"
        );
        for (name, kind) in cases.iter().filter(|(name, _)| name.contains(&size.only)) {
            for rate in RATES {
                row(size, name, *kind, rate, rollouts);
            }
        }
        println!();
    }
}
