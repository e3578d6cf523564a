//! The judges of one rollout, and what green is compared with in a share.

use super::{Fair, RecordedLine};
use crate::core::answers::AnswerKind;
use crate::core::contents::ContentCounts;
use crate::core::judge::{Control, Judge, Policy, Terms, Verdict};
use crate::core::probes::{self, Probes};
use crate::core::routes::{RouteCounts, Usual};
use crate::core::stats::{Baseline, Histogram, History, Limits, SAMPLES_MIN, Tick};
use crate::core::weight::Weight;

/// What is known of blue before a share begins.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Blue's last ten minutes in this process.
    pub history: &'a History,
    /// Blue's past as saved before a restart of the process.
    pub kept: Option<Baseline>,
}

impl Past<'_> {
    /// Blue's past, where there is enough of it: of the last minutes, else the one saved before a restart.
    pub fn known(&self) -> Option<Baseline> {
        self.enough().then(|| self.history.baseline()).or(self.kept)
    }

    /// The baseline that can convict a green that serves alone.
    pub fn baseline(&self) -> Baseline {
        self.known().unwrap_or_else(|| self.history.baseline())
    }

    /// The baseline that can raise suspicion of a green that serves alone.
    pub fn suspicion(&self) -> Baseline {
        let kept = self.kept.filter(|_| !self.enough());
        kept.unwrap_or_else(|| self.history.suspicion())
    }

    fn enough(&self) -> bool {
        self.history.total().requests >= SAMPLES_MIN
    }
}

/// A share that begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Green's weight, above none.
    pub weight: Weight,
    /// The last share of the plan.
    pub last: bool,
    /// Blue can be compared again when a green with the whole share is under suspicion.
    pub blue_can_answer: bool,
    /// How it begins.
    pub terms: Terms,
}

impl Share {
    /// What green is compared with.
    fn control(&self, past: &Past) -> Control {
        match self.weight {
            Weight::ALL if self.blue_can_answer => Control::Suspicion(past.suspicion()),
            Weight::ALL => Control::History(past.baseline()),
            _ => Control::Concurrent,
        }
    }
}

/// The judge of users' requests, the judge of probes, and the latency limits of the present share.
///
/// Every input is a [`RecordedLine`]: the product makes lines and takes them, a replay takes recorded ones.
#[derive(Clone, Debug)]
pub struct Evidence {
    judge: Judge,
    probes: Option<Probes>,
    control: Control,
    limits: Option<Limits>,
    fair: Fair,
}

impl Evidence {
    /// Judges without evidence; `probed` when shifter's own probe requests are judged beside users' requests.
    pub fn new(policy: Policy, probed: bool) -> Evidence {
        let probes = probed.then(|| Probes::new(probes::beside(&policy)));
        Evidence {
            judge: Judge::new(policy),
            probes,
            control: Control::Concurrent,
            limits: None,
            fair: Fair::default(),
        }
    }

    /// Leaves out the intervals of the odds ratio, which serve display only and cost most of the computing time: for
    /// simulations.
    pub fn without_intervals(mut self) -> Evidence {
        self.judge = self.judge.without_intervals();
        self
    }

    /// The judge of users' requests.
    pub fn judge(&self) -> &Judge {
        &self.judge
    }

    /// The judge of probes, where there are probes.
    pub fn probes(&self) -> Option<&Probes> {
        self.probes.as_ref()
    }

    /// The judge of probes, to update what it does not judge: blue's spans and green's faults.
    pub fn probes_mut(&mut self) -> Option<&mut Probes> {
        self.probes.as_mut()
    }

    /// The latency limits of the present share, once they are frozen.
    pub fn limits(&self) -> Option<Limits> {
        self.limits
    }

    /// What green is compared with in the present share.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Takes one recorded line; returns the verdict of the judge that the line is for, after a second.
    pub fn take(&mut self, line: &RecordedLine) -> Option<Verdict> {
        match line {
            RecordedLine::Policy(policy) => {
                *self = Evidence::new((**policy).clone(), self.probes.is_some())
            }
            RecordedLine::Start {
                last,
                control,
                terms,
                ..
            } => {
                self.judge.start_share(*last, *control, *terms);
                self.control = *control;
                self.limits = None;
                self.fair = Fair::default();
                if let Some(probes) = &mut self.probes {
                    probes.start_step(*last);
                }
            }
            RecordedLine::Limits(limits) => {
                self.limits = Some(*limits);
                self.judge.set_limits(Some(*limits));
            }
            RecordedLine::ProbeLimits(limits) => {
                if let Some(probes) = &mut self.probes {
                    probes.set_limits(*limits);
                }
            }
            RecordedLine::Past(past) => self.judge.remember_routes(past),
            RecordedLine::Routes(second) => self.judge.count_routes(second),
            RecordedLine::Contents(second) => self.judge.count_contents(second),
            RecordedLine::Second { tick, .. } => {
                self.judge.tick(tick);
                return Some(self.judge.verdict());
            }
            // A replay lacks blue's counts of the windows: it gives up the staked evidence and takes the recorded
            // result.
            RecordedLine::Suspected { part, .. } => {
                self.stake(*part);
            }
            RecordedLine::Switched { .. } => {}
            RecordedLine::Probed { tick, .. } => {
                return self.probes.as_mut().map(|probes| probes.take(tick).clone());
            }
        }
        None
    }

    /// Begins a share; the lines to record.
    pub fn start_share(&mut self, share: Share, past: &Past) -> Vec<RecordedLine> {
        let mut lines = vec![RecordedLine::Start {
            last: share.last,
            control: share.control(past),
            weight: share.weight.as_basis_points(),
            terms: share.terms,
        }];
        self.take(&lines[0]);
        let probed = self.probes.as_ref().and_then(Probes::limits);
        lines.extend(probed.map(RecordedLine::ProbeLimits));
        lines.extend(self.freeze(past));
        lines
    }

    /// Stakes this part of the evidence of harm on a switchback; returns the natural logarithm of the stake, in nats.
    pub fn stake(&mut self, part: f64) -> f64 {
        self.judge.stake(part)
    }

    /// Freezes the latency limits of this share when blue has enough samples; the line to record when they are new.
    pub fn freeze(&mut self, past: &Past) -> Option<RecordedLine> {
        if self.limits.is_some() {
            return None;
        }
        let limits = match self.control.past() {
            Some(past) => past.limits.map(Limits::alone),
            None => {
                let (fail, pass) = self.judge.margins();
                let total = past.history.total();
                let limits = Limits::freeze(&total.latency, fail, pass);
                let compared = self.judge.policy().compares(AnswerKind::LastByte);
                match compared {
                    true => limits.map(|limits| limits.with_last_byte(&total.last_byte, fail)),
                    false => limits,
                }
            }
        };
        let line = RecordedLine::Limits(limits?);
        self.take(&line);
        Some(line)
    }

    /// Freezes the limits once more, from the baseline's own times, when there are enough of them; the line to record.
    pub fn freeze_fairly(&mut self, baseline: &Histogram) -> Option<RecordedLine> {
        let times = self.fair.add(&self.judge, baseline)?;
        let (fail, pass) = self.judge.margins();
        let line = RecordedLine::Limits(Limits::freeze(times, fail, pass)?);
        self.fair.freeze();
        self.take(&line);
        Some(line)
    }

    /// Tells what blue did by route, once, before green has users; the line to record.
    pub fn remember_routes(&mut self, usual: &Usual) -> Option<RecordedLine> {
        let past = Some(usual.top()).filter(|past| self.judge.knows_no_route() && !past.is_empty());
        let line = RecordedLine::Past(past?);
        self.take(&line);
        Some(line)
    }

    /// Counts the second of users' requests that comes next by route; the line to record.
    pub fn routes(&mut self, counted: &[RouteCounts]) -> Option<RecordedLine> {
        let second = self.judge.sort_routes(counted);
        let line = (!second.counts.is_empty()).then_some(RecordedLine::Routes(second))?;
        self.take(&line);
        Some(line)
    }

    /// Counts the contents of answers in the next second of users' requests; the line to record. A green that serves
    /// alone is not compared.
    pub fn contents(&mut self, counted: &[ContentCounts]) -> Option<RecordedLine> {
        let beside = self.control == Control::Concurrent;
        let second = beside.then(|| self.judge.sort_contents(counted))?;
        let line = (!second.is_empty()).then_some(RecordedLine::Contents(second))?;
        self.take(&line);
        Some(line)
    }

    /// Judges one second of users' requests; the line to record, with the judge's verdict in it.
    pub fn second(&mut self, tick: &Tick) -> (Verdict, RecordedLine) {
        self.judge.tick(tick);
        let verdict = self.judge.verdict();
        let line = RecordedLine::Second {
            tick: *tick,
            verdict: verdict.clone(),
        };
        (verdict, line)
    }

    /// Judges one second of probes; the line to record, none where there are no probes.
    pub fn probe_second(&mut self, tick: &Tick) -> Option<RecordedLine> {
        let verdict = self.probes.as_mut()?.take(tick).clone();
        Some(RecordedLine::Probed {
            tick: *tick,
            verdict,
        })
    }
}
