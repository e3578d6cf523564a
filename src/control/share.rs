//! What begins anew when green gets another share: the evidence, and the limits that latency is held against.

use crate::control::ward::Ward;
use crate::core::probes::Probes;
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
        let now = Clock::now();
        let blue = &self.histories[Color::Blue.index()];
        let Some(run) = &mut self.run else { return };
        self.route.ceilings = run.trial.judge().policy().slo.latency;
        run.step_spans = Default::default();
        run.usage.restart();
        let past = run.trial.remember_routes(weight, &self.usual);
        past.iter().for_each(|line| run.record(line));
        let lines = run.trial.start_share(weight, blue, now);
        if lines.is_empty() {
            return;
        }
        self.route.limits = run.trial.limits();
        if let Some(prober) = &mut run.prober {
            prober.start_share(run.trial.probes().and_then(Probes::limits), now);
        }
        lines.iter().for_each(|line| run.record(line));
    }

    /// Freezes the limits of this share when blue has enough samples; true when they are new.
    pub fn freeze_limits(&mut self) -> bool {
        let blue = &self.histories[Color::Blue.index()];
        let Some(run) = &mut self.run else {
            return false;
        };
        let Some(line) = run.trial.freeze(blue) else {
            return false;
        };
        self.route.limits = run.trial.limits();
        run.record(&line);
        true
    }
}
