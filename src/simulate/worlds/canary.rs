//! The product's own rollout on simulated traffic: plan, machine and judge, run by `core::analysis`.

use crate::config::Config;
use crate::core::analysis::{self, Course};
use crate::core::judge::{Cause, Policy};
use crate::core::plan::{Plan, Step, Strategy};
use crate::core::rollout::Outcome;
use crate::core::stats::{History, Limits, Tick};
use crate::core::weight::Weight;
use crate::simulate::worlds::traffic::Traffic;

/// How one rollout ended.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What became of it.
    pub outcome: Outcome,
    /// Seconds from green's first share to the end.
    pub at: u64,
    /// Green's requests until then.
    pub green: u64,
    /// Green's share in the end, in percent.
    pub share: u16,
    /// Why it failed, if it did.
    pub cause: Option<Cause>,
    /// A share was left at its deadline, by policy and not by evidence.
    pub silent: bool,
    /// Green's failed requests until then.
    pub failed: u64,
    /// How often blue was asked whether it does better.
    pub challenges: u32,
    /// Seconds in which blue had something back.
    pub shared: u64,
}

/// The plan of a canary whose last share leaves so many percent on blue; where it is none, blue's past alone decides.
///
/// # Panics
///
/// Where the configuration refuses that percentage.
pub fn plan(holdback: u16) -> Plan {
    configured(Strategy::Canary, holdback, 0)
}

/// The plan of a blue-green rollout that keeps `holdback` percent on blue and gives it `challenge` percent back under suspicion.
///
/// # Panics
///
/// Where the configuration refuses these percentages.
pub fn blue_green(holdback: u16, challenge: u16) -> Plan {
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
pub fn longest(plan: &Plan) -> usize {
    let deadline = |step: &Step| match step {
        Step::Shift { deadline, .. } => deadline.as_secs() as usize,
        _ => 0,
    };
    plan.steps.iter().map(deadline).sum()
}

/// Runs one rollout to its end, after ten minutes of blue alone.
pub fn canary(traffic: &mut Traffic, plan: &Plan, policy: &Policy) -> Ending {
    let past = traffic.blue_alone();
    let (end, trial) = Course::new(plan, &traffic.judged_by(policy), past).run(traffic);
    Ending {
        outcome: end
            .outcome
            .unwrap_or_else(|| unreachable!("every share has a deadline")),
        at: end.seconds,
        green: end.green.0,
        share: end.share.as_basis_points() / 100,
        cause: trial.judge().cause(),
        silent: end.silent,
        failed: end.green.1,
        challenges: end.challenges,
        shared: end.challenged_seconds,
    }
}

impl analysis::World for Traffic {
    fn second(&mut self, share: Weight, limits: Option<Limits>, past: &mut History) -> Tick {
        self.set_limits(limits);
        self.second_kept(share.ratio(), past)
    }
}
