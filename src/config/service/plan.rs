//! From a service's settings to the steps of a rollout.

use crate::config::service::Service;
use crate::config::service::control::Control;
use crate::config::service::deadlines::DEADLINE;
use crate::config::service::steps::share_deadline;
use crate::core::plan::{Moment, Plan, Step, Strategy};
use crate::core::weight::Weight;
use std::time::Duration;

/// Blue's share during the last watch of a canary.
const CANARY_HOLDBACK: Weight = match Weight::percent(5) {
    Some(share) => share,
    None => Weight::NONE,
};

impl Service {
    /// The steps of a rollout of this service, with its own strategy or another one.
    pub fn plan(&self, strategy: Option<Strategy>) -> Plan {
        let strategy = strategy.unwrap_or(self.strategy);
        let mut steps = self.hooks_at(Moment::BeforeStart);
        steps.push(Step::Start);
        if self.warmup.is_some() {
            steps.push(Step::Warm);
        }
        if !self.smoke.is_empty() {
            steps.push(Step::Smoke);
        }
        steps.extend(self.hooks_at(Moment::BeforeShift));
        let held = self.canary_holdback();
        match strategy {
            Strategy::Canary => {
                steps.extend(self.steps.iter().map(|step| Self::held_back(step, held)))
            }
            Strategy::BlueGreen => steps.push(Step::Shift {
                weight: self.holdback.unwrap_or(Weight::NONE).rest(),
                hold: self.monitor,
                deadline: share_deadline(self.monitor),
            }),
        }
        steps.extend(self.hooks_at(Moment::AfterShift));
        steps.push(Step::Retire);
        steps.iter_mut().for_each(|step| self.ramped(step));
        let deadline = self.deadline.unwrap_or_else(|| self.time_for(&steps));
        Plan {
            strategy,
            steps,
            step_deadline: self.step_deadline,
            approve_deadline: self.approve_deadline,
            deadline,
            drain: self.drain,
            keep_blue: self.keep_blue,
            challenge: self.challenge,
            confirm: self.confirm,
            ramp: self.ramp,
            baseline: self.control != Control::Blue,
            on_worse: self.on_worse,
            on_inconclusive: self.on_inconclusive,
            on_no_data: self.on_no_data,
            step_requests_min: self.step_requests_min,
            total_requests_min: self.total_requests_min,
        }
    }

    fn hooks_at(&self, at: Moment) -> Vec<Step> {
        let any = self.hooks.iter().any(|hook| hook.at == at);
        any.then_some(Step::Hooks { at }).into_iter().collect()
    }

    /// A canary leaves a small share on blue to its end: green's last share is then compared with a blue that
    /// lives through the same incidents, not with blue's past.
    fn canary_holdback(&self) -> Weight {
        let room = CANARY_HOLDBACK.rest();
        let fits = |step: &Step| match step {
            Step::Shift { weight, .. } => *weight < room || *weight == Weight::ALL,
            _ => true,
        };
        match self.holdback {
            Some(holdback) => holdback,
            None if self.steps.iter().all(fits) => CANARY_HOLDBACK,
            None => Weight::NONE,
        }
    }

    /// Only the last share reaches into the held-back share: the check of the file ensures that.
    fn held_back(step: &Step, held: Weight) -> Step {
        match step {
            &Step::Shift {
                weight,
                hold,
                deadline,
            } => Step::Shift {
                weight: weight.min(held.rest()),
                hold,
                deadline,
            },
            other => other.clone(),
        }
    }

    /// Adds the ramp to a share's times: hold and decision count from its end.
    fn ramped(&self, step: &mut Step) {
        if let Step::Shift { hold, deadline, .. } = step {
            *hold += self.ramp;
            *deadline += self.ramp;
        }
    }

    /// A time in which every step can use its own deadline up: then the steps decide, not the whole.
    fn time_for(&self, steps: &[Step]) -> Duration {
        let longest = |step: &Step| match step {
            Step::Shift { deadline, .. } => *deadline,
            Step::Approve => self.approve_deadline,
            Step::Start | Step::Warm | Step::Smoke | Step::Hooks { .. } => self.step_deadline,
            Step::Retire => Duration::ZERO,
        };
        let sum = steps
            .iter()
            .map(longest)
            .fold(Duration::ZERO, Duration::saturating_add);
        sum.max(DEADLINE)
    }
}
