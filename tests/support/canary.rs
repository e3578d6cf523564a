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
    /// Green's failed requests until then.
    pub(crate) failed: u64,
    /// How often blue was asked whether it does better.
    pub(crate) challenges: u32,
    /// Seconds in which blue had something back.
    pub(crate) shared: u64,
}

/// The plan of a canary whose last share leaves so many percent on blue; where it is none, blue's past alone decides.
pub(crate) fn plan(holdback: u16) -> Plan {
    configured(Strategy::Canary, holdback, 0)
}

/// The plan of a blue-green rollout that keeps `holdback` percent on blue and gives it `challenge` percent back under suspicion.
pub(crate) fn blue_green(holdback: u16, challenge: u16) -> Plan {
    configured(Strategy::BlueGreen, holdback, challenge)
}

fn configured(strategy: Strategy, holdback: u16, challenge: u16) -> Plan {
    let text = format!(
        "[service.app]\nblue = \"127.0.0.1:3001\"\ngreen = \"127.0.0.1:3002\"\nholdback = {holdback}\nchallenge = {challenge}\n"
    );
    let config = Config::parse("simulated.toml", &text).unwrap_or_else(|error| panic!("{error}"));
    config.services[0].plan(Some(strategy))
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
    let mut judge = Judge::new(traffic.judged_by(policy)).without_intervals();
    let (mut rollout, _) = Rollout::start(plan.clone(), Time(0));
    let mut actions = rollout.on(Event::Ready, Time(0));
    let (mut limits, mut share) = (None, Weight::NONE);
    let mut compared = Control::Concurrent;
    let (mut green, mut silent) = (0, false);
    let (mut failed, mut challenges, mut shared) = (0, 0, 0);
    for second in 1.. {
        for action in actions {
            let Action::SetWeight(weight) = action else {
                continue;
            };
            share = weight;
            let last = rollout.step_index() == plan.last_shift();
            challenges += u32::from(rollout.challenged());
            compared = control(weight, plan, &history);
            judge.start_step(last, compared);
            limits = None;
        }
        if limits.is_none() {
            limits = freeze(&compared, &history, &judge);
            judge.set_limits(limits);
            traffic.limits(limits);
        }
        let tick = traffic.second_kept(share.ratio(), &mut history);
        green += tick.green.requests;
        failed += tick.green.failed;
        shared += u64::from(rollout.challenged());
        judge.tick(&tick);
        let mut verdict = judge.verdict();
        if let Verdict::Inconclusive { leaning_worse, .. } = &mut verdict {
            *leaning_worse = judge.ln_e() > lean.ln();
        }
        let undecided = !matches!(
            verdict,
            Verdict::Pass | Verdict::Fail { .. } | Verdict::Suspect { .. }
        );
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
                failed,
                challenges,
                shared,
            };
        }
    }
    unreachable!("every share has a deadline")
}

fn control(weight: Weight, plan: &Plan, history: &History) -> Control {
    match weight {
        Weight::ALL if plan.challenge > Weight::NONE => Control::Suspicion(history.suspicion()),
        Weight::ALL => Control::History(history.baseline()),
        _ => Control::Concurrent,
    }
}

fn freeze(control: &Control, history: &History, judge: &Judge) -> Option<Limits> {
    if let Some(past) = control.past() {
        return past.limits.map(Limits::alone);
    }
    let (fail, pass) = judge.margins();
    Limits::freeze(&history.total().latency, fail, pass)
}
