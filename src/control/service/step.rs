//! What starts anew when green gets another share: the evidence, and the latency limits.

use crate::control::service::state::ServiceState;
use crate::core::probes::Probes;
use crate::core::rollout::Event;
use crate::core::stats::SpanStats;
use crate::core::table::{Color, Ramp};
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::window::Reading;

impl ServiceState {
    /// Sets green's share from now on; returns the one before it.
    pub fn weigh(&mut self, weight: Weight) -> Weight {
        let before = std::mem::replace(&mut self.route.weight, weight);
        let back = weight == Weight::NONE && before > Weight::NONE;
        self.route.epoch += u32::from(back);
        self.route.withheld = false;
        self.saved.epoch = self.route.epoch;
        self.route.ramp = self.ramp(before, weight);
        self.start_share(before, weight);
        before
    }

    /// Feeds the statistics of blue's own callers, to see whether green harms blue; events for the state machine.
    pub fn beside(&mut self, reading: &Reading) -> Vec<Event> {
        let all = &reading.spans[Color::Blue.index()];
        // A baseline is colder than blue's pool was before, and green does not cause that.
        let blue = SpanStats {
            latency: all.latency.without(&reading.baseline),
            ..all.clone()
        };
        let seconds = reading.ticks.len() as u64;
        let salt = self.route.salt;
        let Some(run) = self.run.as_mut().filter(|_| seconds > 0) else {
            return vec![];
        };
        let (events, line) = run.trial.beside(&blue, seconds, salt);
        line.iter().for_each(|line| run.record(line));
        events
    }

    /// Begins a window of a switchback: green's requests are served by blue, or by green again.
    ///
    /// Green's share, its users and their cookies stay; the counts of each window are separate.
    pub fn withhold(&mut self, withheld: bool) {
        self.route.withheld = withheld;
        self.route.mark += 1;
    }

    /// How a raised share grows. The first share begins at once: it is the smallest.
    fn ramp(&self, before: Weight, weight: Weight) -> Option<Ramp> {
        let over = self.run.as_ref()?.trial.rollout().plan().ramp;
        let grows = weight > before && before > Weight::NONE && !over.is_zero();
        grows.then(|| Ramp {
            from: before,
            since: Clock::now(),
            over,
        })
    }

    /// Starts a share: its evidence starts anew, with limits frozen from blue's past where there is enough of it.
    pub(in crate::control) fn start_share(&mut self, before: Weight, weight: Weight) {
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
        let lines = run.trial.start_share(before, weight, blue, now);
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
