//! What begins anew when green gets another share: the evidence, and the limits that latency is held against.

use crate::control::recording::Line;
use crate::control::ward::Ward;
use crate::core::judge::Control;
use crate::core::stats::Limits;
use crate::core::table::Color;
use crate::core::weight::Weight;
use crate::store::Clock;

impl Ward {
    /// Green has this share from now on; the one before it.
    pub fn weigh(&mut self, weight: Weight) -> Weight {
        let before = std::mem::replace(&mut self.route.weight, weight);
        let back = weight == Weight::NONE && before > Weight::NONE;
        self.route.epoch += u32::from(back);
        self.saved.epoch = self.route.epoch;
        self.start_share(weight);
        before
    }

    /// A share begins: its evidence starts anew, with limits frozen from blue's past where there is enough of it.
    pub fn start_share(&mut self, weight: Weight) {
        self.route.mark += 1;
        self.route.limits = None;
        let Some(control) = self.control(weight) else {
            return;
        };
        let Some(run) = &mut self.run else { return };
        self.route.ceilings = run.judge.policy().slo.latency;
        run.step_spans = Default::default();
        run.verdict = None;
        run.sources.restart(Clock::now());
        run.usage.restart();
        if weight == Weight::NONE || run.rollout.step_index().is_none() {
            return;
        }
        let last = run.rollout.step_index() == run.rollout.plan().last_shift();
        run.record(&Line::Start {
            last,
            control,
            weight: weight.as_basis_points(),
        });
        run.judge.start_step(last, control);
        if let Some(limits) = run
            .prober
            .as_mut()
            .and_then(|prober| prober.start_share(last, Clock::now()))
        {
            run.record(&Line::ProbeLimits(limits));
        }
        self.freeze_limits(weight);
    }

    /// What a green with this share is compared with.
    fn control(&self, weight: Weight) -> Option<Control> {
        let rollout = &self.run.as_ref()?.rollout;
        let asks_blue = rollout.plan().challenge > Weight::NONE && !rollout.degraded();
        Some(match weight {
            Weight::ALL if asks_blue => Control::Suspicion(self.suspicion()),
            Weight::ALL => Control::History(self.baseline()),
            _ => Control::Concurrent,
        })
    }

    /// Freezes the limits of this share when blue has enough samples; true when they are new.
    pub fn freeze_limits(&mut self, weight: Weight) -> bool {
        if weight == Weight::NONE || self.route.limits.is_some() {
            return false;
        }
        let Some(control) = self.control(weight) else {
            return false;
        };
        let history = &self.histories[Color::Blue.index()];
        let Some(run) = &mut self.run else {
            return false;
        };
        let limits = match control.past() {
            Some(past) => past.limits.map(Limits::alone),
            None => {
                let (fail, pass) = run.judge.margins();
                Limits::freeze(&history.total().latency, fail, pass)
            }
        };
        let Some(limits) = limits else { return false };
        self.route.limits = Some(limits);
        run.judge.set_limits(Some(limits));
        run.record(&Line::Limits(limits));
        true
    }
}
