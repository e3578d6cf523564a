//! Recorded lines, judged again.

use super::{Evidence, RecordedLine};
use crate::core::judge::{Judge, Policy, Verdict};
use serde::Serialize;

/// Where a second judgement differs from the recorded one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Index of the recorded line.
    pub at: usize,
    /// The verdict then.
    pub recorded: Verdict,
    /// The verdict now.
    pub replayed: Verdict,
}

/// The seconds of one judge, judged again.
#[derive(Debug, Default)]
pub struct Replay {
    /// Seconds judged.
    pub seconds: usize,
    /// The first second in which green failed: number of the second from 1, and verdict, as recorded.
    pub recorded: Option<(usize, Verdict)>,
    /// The first second in which green failed: number of the second from 1, and verdict, as judged now.
    pub replayed: Option<(usize, Verdict)>,
    /// Where they differ.
    pub differences: Vec<Difference>,
}

/// A rollout judged again.
#[derive(Debug)]
pub struct Again {
    /// By users' requests.
    pub users: Replay,
    /// By probes; no seconds where there were none.
    pub probes: Replay,
    /// The judges at the end.
    pub evidence: Evidence,
}

impl Again {
    /// The judge of users' requests at the end: its report has the evidence.
    pub fn judge(&self) -> &Judge {
        self.evidence.judge()
    }
}

/// Judges recorded lines again, with the recorded policy of users' judge or with another one.
pub fn replay(lines: &[RecordedLine], policy: Option<Policy>) -> Again {
    let mut again = Again {
        users: Replay::default(),
        probes: Replay::default(),
        evidence: Evidence::new(policy.clone().unwrap_or_default(), true),
    };
    for (at, line) in lines.iter().enumerate() {
        let other = match (line, &policy) {
            (RecordedLine::Policy(_), Some(policy)) => {
                Some(RecordedLine::Policy(Box::new(policy.clone())))
            }
            _ => None,
        };
        let said = again.evidence.take(other.as_ref().unwrap_or(line));
        let (replay, recorded) = match line {
            RecordedLine::Second { verdict, .. } => (&mut again.users, verdict),
            RecordedLine::Probed { verdict, .. } => (&mut again.probes, verdict),
            _ => continue,
        };
        if let Some(said) = said {
            replay.second(at, recorded, said);
        }
    }
    again
}

impl Replay {
    fn second(&mut self, at: usize, recorded: &Verdict, replayed: Verdict) {
        self.seconds += 1;
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
