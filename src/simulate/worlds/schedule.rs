//! Rollouts of simulated traffic on a fixed schedule, the judge alone: one, or thousands on some threads.

use crate::core::analysis::{Evidence, RecordedLine};
use crate::core::judge::{Control, Judge, Verdict};
use crate::core::stats::Limits;
use crate::core::weight::Weight;
use crate::simulate::worlds::traffic::Traffic;

/// What a schedule wants next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decision {
    /// Nothing changes.
    Stay,
    /// Another share, from the next second on.
    Step {
        /// Green's share, 0 to 1.
        weight: f64,
        /// Whether it is the last share of the schedule.
        last: bool,
    },
    /// The rollout is over.
    End(End),
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Green was judged to be worse.
    RolledBack,
    /// The time was over.
    Undecided,
}

/// How one rollout went.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Whether it was rolled back.
    pub end: End,
    /// Seconds since the start.
    pub at: u64,
    /// Green's requests until then.
    pub green: u64,
}

/// Runs one rollout beside blue from share `first`; `schedule` sees each second's verdict and decides.
pub fn drive(
    traffic: &mut Traffic,
    evidence: &mut Evidence,
    first: f64,
    mut schedule: impl FnMut(u64, &Verdict, &Judge) -> Decision,
) -> Run {
    let (mut weight, mut green) = (first, 0);
    start(evidence, traffic, first, false);
    for second in 1.. {
        let tick = traffic.second(weight);
        green += tick.green.requests;
        let (verdict, _) = evidence.second(&tick);
        match schedule(second, &verdict, evidence.judge()) {
            Decision::Stay => {}
            Decision::End(end) => {
                return Run {
                    end,
                    at: second,
                    green,
                };
            }
            Decision::Step { weight: next, last } => {
                weight = next;
                start(evidence, traffic, next, last);
            }
        }
    }
    unreachable!("a schedule ends")
}

fn line(weight: f64, last: bool, control: Control) -> RecordedLine {
    let weight = Weight::from_percent(100.0 * weight).unwrap_or(Weight::ALL);
    RecordedLine::Start {
        last,
        control,
        weight: weight.as_basis_points(),
        // A fixed schedule has no equal share to confirm slowness in.
        terms: Default::default(),
    }
}

/// Begins a share beside blue (0 to 1), with limits frozen from what the traffic keeps of blue's past.
pub fn start(evidence: &mut Evidence, traffic: &mut Traffic, weight: f64, last: bool) {
    evidence.take(&line(weight, last, Control::Concurrent));
    let limits = traffic.freeze(evidence.judge().margins());
    if let Some(limits) = limits {
        evidence.take(&RecordedLine::Limits(limits));
    }
}

/// Runs one rollout with all requests on green at once, compared with blue's past, for so many seconds.
pub fn alone(traffic: &mut Traffic, evidence: &mut Evidence, seconds: u64) -> Run {
    let baseline = traffic.past().baseline();
    evidence.take(&line(1.0, true, Control::History(baseline)));
    if let Some(limits) = baseline.limits {
        evidence.take(&RecordedLine::Limits(Limits::alone(limits)));
        traffic.limit_to(limits);
    }
    let mut green = 0;
    for second in 1..=seconds {
        let tick = traffic.second(1.0);
        green += tick.green.requests;
        if let (Verdict::Fail { .. }, _) = evidence.second(&tick) {
            return Run {
                end: End::RolledBack,
                at: second,
                green,
            };
        }
    }
    Run {
        end: End::Undecided,
        at: seconds,
        green,
    }
}

/// The schedule of so many seconds, half at the first share, half at 50 %, whatever the evidence says for green.
pub fn fixed(seconds: u64) -> impl FnMut(u64, &Verdict, &Judge) -> Decision {
    move |second, verdict, _| match verdict {
        Verdict::Fail { .. } => Decision::End(End::RolledBack),
        _ if second == seconds => Decision::End(End::Undecided),
        _ if second == seconds / 2 => Decision::Step {
            weight: 0.5,
            last: true,
        },
        _ => Decision::Stay,
    }
}

/// The schedule of so many seconds at the first share.
pub fn steady(seconds: u64) -> impl FnMut(u64, &Verdict, &Judge) -> Decision {
    move |second, verdict, _| match verdict {
        Verdict::Fail { .. } => Decision::End(End::RolledBack),
        _ if second == seconds => Decision::End(End::Undecided),
        _ => Decision::Stay,
    }
}

/// Runs `runs` independent rollouts on some threads, in order of their number.
pub fn many<T: Send>(threads: usize, runs: u64, one: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let threads = threads.max(1) as u64;
    std::thread::scope(|scope| {
        let one = &one;
        let handles: Vec<_> = (0..threads)
            .map(|thread| {
                let mine = (thread..runs).step_by(threads as usize);
                scope.spawn(move || mine.map(|run| (run, one(run))).collect::<Vec<_>>())
            })
            .collect();
        let mut all: Vec<(u64, T)> = handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_default())
            .collect();
        all.sort_by_key(|(run, _)| *run);
        all.into_iter().map(|(_, outcome)| outcome).collect()
    })
}

/// Of how many rollouts how many went back, and whether that settles the question of [`settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Rollouts that went back.
    pub back: u64,
    /// All rollouts.
    pub of: u64,
    /// Below 1 %, with an error of at most one in ten thousand.
    pub below: bool,
}

/// Runs rollouts until it is settled that fewer than 1 % of them go back, at most `most`.
///
/// The question is put by a likelihood ratio of 0.1 % to 1 % (Wald 1945), which may be looked at at any time: a cell in which
/// 1 % or more go back ends early with a chance of at most 1e-4. Without a single one that takes 1,024 rollouts; each that
/// goes back costs 253 more. Rollouts are run in blocks, so that the answer does not depend on the number of threads.
pub fn settle(threads: usize, most: u64, back: impl Fn(u64) -> bool + Sync) -> Settled {
    const BLOCK: u64 = 128;
    let good = (0.999f64 / 0.99).ln();
    let bad = 0.1f64.ln();
    let (mut hits, mut of) = (0, 0);
    let below = |hits: u64, of: u64| hits as f64 * bad + (of - hits) as f64 * good >= 1e4f64.ln();
    while of < most && !below(hits, of) {
        let block = BLOCK.min(most - of);
        let ended = many(threads, block, |run| back(of + run));
        hits += ended.into_iter().filter(|back| *back).count() as u64;
        of += block;
    }
    Settled {
        back: hits,
        of,
        below: below(hits, of),
    }
}

/// The 95 % interval of a share, `hits` of `of`, from 0 to 1 (Wilson 1927).
pub fn wilson(hits: u64, of: u64) -> (f64, f64) {
    let (n, p, z) = (of.max(1) as f64, hits as f64 / of.max(1) as f64, 1.96f64);
    let scale = 1.0 + z * z / n;
    let middle = (p + z * z / 2.0 / n) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / 4.0 / n / n).sqrt() / scale;
    ((middle - half).max(0.0), (middle + half).min(1.0))
}
