//! Requests of a person that cannot be met now.

use crate::core::event::Event;
use crate::core::phase::Phase;
use crate::core::plan::Step;
use crate::core::rollout::Rollout;

/// Why green's share cannot grow now.
const BLIND: &str = "Docker does not answer, so what runs is unknown: green gets no more until it does. `shifter rollback` works";

impl Rollout {
    /// Why a person's request cannot be met now; `None` when it can.
    pub fn refuses(&self, event: &Event) -> Option<&'static str> {
        let (step, paused) = match &self.phase {
            Phase::Running { step } => (*step, false),
            Phase::Paused { step } => (*step, true),
            Phase::Promoted => {
                return match event {
                    Event::Abort(_) => None,
                    _ => Some("green is promoted already; only `shifter rollback` is left"),
                };
            }
            Phase::RollingBack { .. } => return Some("the rollout is going back to blue already"),
            Phase::Finished { .. } => return Some("the rollout is over"),
        };
        let fit = self.fit_to_serve(step);
        match event {
            Event::Promote | Event::Approve | Event::Resume if self.blind() => Some(BLIND),
            Event::SetWeight(weight) if self.blind() && *weight > self.weight => Some(BLIND),
            Event::Approve if !matches!(self.plan.steps.get(step), Some(Step::Approve)) => {
                Some("no step waits for an approval")
            }
            Event::Approve if paused => Some("the rollout is paused; resume it first"),
            Event::Promote | Event::SetWeight(_) if !fit => {
                Some("green has not passed its checks yet; no user may see it")
            }
            Event::Pause if paused => Some("the rollout is paused already"),
            Event::Resume if !paused => Some("the rollout is not paused"),
            _ => None,
        }
    }
}
