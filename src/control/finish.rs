//! The work at the end of a rollout: hooks, metrics, the view that stays, the copy of the journal.

use crate::control::checks::hooks;
use crate::control::controller::Controller;
use crate::control::crash;
use crate::core::outcome::OutcomeKind;
use crate::core::plan::Moment;
use crate::core::time::Time;
use crate::store::NoteKind;

impl Controller {
    /// Closes the rollout of a service, if it has ended.
    pub(super) fn close_if_finished(&mut self, i: usize, now: Time) {
        let finished = self.services[i]
            .run
            .as_ref()
            .is_some_and(|run| run.trial.rollout().finished());
        if !finished {
            return;
        }
        crash::point("end.after-save");
        self.flush();
        let run = self.services[i].run.as_ref();
        let outcome = run.and_then(|run| Some(run.trial.rollout().outcome()?.kind()));
        let moment = match outcome {
            Some(OutcomeKind::Promoted) => Moment::AfterPromotion,
            _ => Moment::AfterRollback,
        };
        hooks::start(&self.services[i], moment, &self.context);
        let state = &mut self.services[i];
        if let Some(run) = state.run.take() {
            let view = run.view(now);
            if let Some(outcome) = outcome {
                let service = self.metrics.service(&state.route.service);
                service.rollout_ended(&view.strategy, outcome, view.age_seconds);
            }
            state.last = Some(view);
        }
        // The file also applies to backends that changed while shifter was not running.
        let before = state.route.blue.clone();
        state.adopt(state.settings.clone());
        if state.route.blue != before {
            let text = format!("{} serves, as configured", state.route.blue.release);
            let service = state.route.service.clone();
            self.publish();
            self.timeline.tell(&service, None, NoteKind::Config, text);
        }
        let copied = self.timeline.journal.keep_copy();
        let _ = self.timeline.watch(copied);
    }
}
