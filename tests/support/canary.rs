//! The product's own rollout on simulated traffic: the default plan, the machine and the judge.
//!
//! What the controller does around them is done here as it does it: limits are frozen from blue's last ten
//! minutes when a share begins, and a green that has everything is compared with these minutes.

use super::worlds::Traffic;
use shifter::config::Config;
use shifter::core::judge::{Cause, Control, Judge, Policy, Verdict};
use shifter::core::plan::{Plan, Step, Strategy};
use shifter::core::rollout::{Action, Event, Outcome, Rollout};
use shifter::core::stats::{History, Limits};
use shifter::core::time::Time;
use shifter::core::weight::Weight;

/// How one rollout ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) outcome: Outcome,
    /// Seconds since green's first share.
    pub(crate) at: u64,
    /// Green's requests until then.
    pub(crate) green: u64,
    /// Green's share in the end, in percent.
    pub(crate) share: u16,
    /// Why it failed, if it did.
    pub(crate) cause: Option<Cause>,
    /// A share was left at its deadline, by policy and not by evidence.
    pub(crate) silent: bool,
}

/// The plan of a service for which two addresses are set, and the percentage that stays on blue.
pub(crate) fn plan(holdback: u16) -> Plan {
    let text = format!(
        "[service.app]\nblue = \"127.0.0.1:3001\"\ngreen = \"127.0.0.1:3002\"\nholdback = {holdback}\n"
    );
    let config = Config::parse("simulated.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    config.services[0].plan(Some(Strategy::Canary))
}

/// The most seconds that the shares of a plan may take.
pub(crate) fn longest(plan: &Plan) -> usize {
    let deadline = |step: &Step| match step {
        Step::Shift { deadline, .. } => deadline.as_secs() as usize,
        _ => 0,
    };
    plan.steps.iter().map(deadline).sum()
}

/// Runs one rollout to its end.
///
/// `lean` is the evidence of harm above which a share that is over goes back to blue; the product has
/// `policy.amber` there.
pub(crate) fn canary(traffic: &mut Traffic, plan: &Plan, policy: &Policy, lean: f64) -> Ending {
    let mut history = traffic.blue_alone();
    let mut judge = Judge::new(policy.clone());
    let (mut rollout, _) = Rollout::start(plan.clone(), Time(0));
    let mut actions = rollout.on(Event::Ready, Time(0));
    let (mut limits, mut share) = (None, Weight::NONE);
    let (mut green, mut silent) = (0, false);
    for second in 1.. {
        for action in actions {
            let Action::SetWeight(weight) = action else {
                continue;
            };
            share = weight;
            let last = rollout.step_index() == plan.last_shift();
            judge.start_step(last, control(weight, &history));
            limits = None;
        }
        if limits.is_none() {
            limits = freeze(share, &history, &judge);
            judge.set_limits(limits);
            traffic.limits(limits);
        }
        let tick = traffic.second_kept(share.ratio(), &mut history);
        green += tick.green.requests;
        judge.tick(&tick);
        let mut verdict = judge.verdict();
        if let Verdict::Inconclusive { leaning_worse, .. } = &mut verdict {
            *leaning_worse = judge.ln_e() > lean.ln();
        }
        let undecided = !matches!(verdict, Verdict::Pass | Verdict::Fail { .. });
        let now = Time(1_000 * second);
        actions = rollout.on(Event::Judged(verdict), now);
        actions.extend(rollout.on(Event::Tick, now));
        silent |= undecided && !actions.is_empty();
        if let Some(outcome) = rollout.outcome() {
            return Ending {
                outcome: outcome.clone(),
                at: second,
                green,
                share: share.as_basis_points() / 100,
                cause: judge.cause(),
                silent,
            };
        }
    }
    unreachable!("every share has a deadline")
}

fn control(weight: Weight, history: &History) -> Control {
    if weight == Weight::ALL {
        Control::History(history.baseline())
    } else {
        Control::Concurrent
    }
}

fn freeze(weight: Weight, history: &History, judge: &Judge) -> Option<Limits> {
    if weight == Weight::ALL {
        let alone = |limits| Limits {
            blue: limits,
            fail: limits,
            pass: limits,
        };
        return history.baseline().limits.map(alone);
    }
    let (fail, pass) = judge.margins();
    Limits::freeze(&history.total().latency, fail, pass)
}
