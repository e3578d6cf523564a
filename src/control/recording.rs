//! What the judge was fed, second by second: enough to judge a rollout again, byte for byte.

use crate::core::judge::{Control, Judge, Policy, Verdict};
use crate::core::probes;
use crate::core::stats::{Limits, Tick};
use serde::{Deserialize, Serialize};

/// One recorded line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A rollout's first line: the margins that it was judged by.
    Policy(Box<Policy>),
    /// A share began.
    Start {
        /// The last share of the plan.
        last: bool,
        /// What green is compared with.
        control: Control,
        /// Its weight in basis points.
        weight: u16,
    },
    /// The latency limits were frozen.
    Limits(Limits),
    /// One second's counts, and what the judge said after them.
    Second {
        /// The counts.
        tick: Tick,
        /// The verdict.
        verdict: Verdict,
    },
    /// The same of requests of shifter's own.
    Probed {
        /// The counts.
        tick: Tick,
        /// The verdict.
        verdict: Verdict,
    },
    /// Their latency limits were frozen.
    ProbeLimits(Limits),
}

/// Where a second judgement differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Index of the recorded line.
    pub at: usize,
    /// What was said then.
    pub recorded: Verdict,
    /// What is said now.
    pub replayed: Verdict,
}

/// One judge's seconds, judged again.
#[derive(Debug)]
pub struct Replay {
    /// Seconds judged.
    pub seconds: usize,
    /// The first second with a final verdict: index and verdict, as recorded.
    pub recorded: Option<(usize, Verdict)>,
    /// The same, as judged now.
    pub replayed: Option<(usize, Verdict)>,
    /// Where they differ.
    pub differences: Vec<Difference>,
    /// The judge at the end: its report has the evidence.
    pub judge: Judge,
}

/// A rollout judged again.
#[derive(Debug)]
pub struct Again {
    /// By users' requests.
    pub users: Replay,
    /// By probes; no seconds where there were none.
    pub probes: Replay,
}

/// Judges recorded lines again, with the recorded policy of users' judge or with another one.
pub fn replay(lines: &[Line], policy: Option<Policy>) -> Again {
    let recorded_policy = lines.iter().find_map(|line| match line {
        Line::Policy(policy) => Some((**policy).clone()),
        _ => None,
    });
    let first = policy.clone().or(recorded_policy).unwrap_or_default();
    let mut again = Again {
        users: Replay::new(first.clone()),
        probes: Replay::new(probes::beside(&first)),
    };
    for (at, line) in lines.iter().enumerate() {
        match line {
            // A restart begins with fresh evidence.
            Line::Policy(recorded) => {
                let policy = policy.clone().unwrap_or_else(|| (**recorded).clone());
                again.probes.judge = Judge::new(probes::beside(&policy));
                again.users.judge = Judge::new(policy);
            }
            Line::Start { last, control, .. } => {
                again.users.judge.start_step(*last, *control);
                again.probes.judge.start_step(*last, Control::Concurrent);
            }
            Line::Limits(limits) => again.users.judge.set_limits(Some(*limits)),
            Line::ProbeLimits(limits) => again.probes.judge.set_limits(Some(*limits)),
            Line::Second { tick, verdict } => again.users.second(at, tick, verdict),
            Line::Probed { tick, verdict } => again.probes.second(at, tick, verdict),
        }
    }
    again
}

impl Replay {
    fn new(policy: Policy) -> Replay {
        Replay {
            seconds: 0,
            recorded: None,
            replayed: None,
            differences: vec![],
            judge: Judge::new(policy),
        }
    }

    fn second(&mut self, at: usize, tick: &Tick, recorded: &Verdict) {
        self.judge.tick(tick);
        self.seconds += 1;
        let replayed = self.judge.verdict();
        let fails = |verdict: &Verdict| matches!(verdict, Verdict::Fail { .. });
        if self.recorded.is_none() && fails(recorded) {
            self.recorded = Some((self.seconds, recorded.clone()));
        }
        if self.replayed.is_none() && fails(&replayed) {
            self.replayed = Some((self.seconds, replayed.clone()));
        }
        if *recorded != replayed {
            self.differences.push(Difference {
                at,
                recorded: recorded.clone(),
                replayed,
            });
        }
    }
}
