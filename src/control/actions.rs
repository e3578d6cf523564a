//! The only way in which a rollout changes: an event for the state machine, and the actions that follow from it.

use crate::control::checks::{hooks, smoke, warm};
use crate::control::controller::Controller;
use crate::control::crash;
use crate::control::docker::{copy, green};
use crate::control::report::change::Cause;
use crate::control::report::messages;
use crate::control::service::state::grows;
use crate::core::outcome::OutcomeKind;
use crate::core::rollout::{Action, Event};
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::driver::static_pools;
use crate::store::journal::JournalError;
use std::time::Instant;

impl Controller {
    /// Handles an event without a command. A change that cannot be recorded is not made, and is tried again later.
    pub(super) fn handle_event(&mut self, i: usize, event: Event, now: Time) {
        if let Some(run) = &mut self.services[i].run
            && run.trial.rollout().defers(&event)
        {
            // Repeated when Docker's state is known again.
            run.pending.push(event);
            return;
        }
        let again = !matches!(
            event,
            Event::Tick | Event::Judged(_) | Event::Window { .. } | Event::Drained
        );
        let kept = again.then(|| event.clone());
        if self.apply_event(i, event, now).is_err()
            && let (Some(event), Some(run)) = (kept, &mut self.services[i].run)
        {
            run.pending.push(event);
        }
    }

    /// Gives the state machine an event and performs its actions: growth is recorded first, a reduction is done first.
    pub(super) fn apply_event(
        &mut self,
        i: usize,
        event: Event,
        now: Time,
    ) -> Result<(), JournalError> {
        let present = self.services[i].route.weight;
        let Some(run) = &mut self.services[i].run else {
            return Ok(());
        };
        let before = run.trial.rollout().clone();
        let by_hand = event == Event::Promote;
        let cause = Cause::of(&event);
        let actions = run.trial.on(event, now);
        run.reached = run.trial.rollout().step_index().unwrap_or(run.reached);
        if *run.trial.rollout() == before && actions.is_empty() {
            return Ok(());
        }
        let grown = grows(&actions, present);
        let grounds = |verdict| messages::grounds(verdict, run.trial.line(verdict), grown, by_hand);
        let evidence = run.trial.verdict().map(grounds);
        let shrinks = actions
            .iter()
            .any(|action| matches!(action, Action::SetWeight(weight) if *weight < present));
        if shrinks && !grows(&actions, present) {
            let decided = Instant::now();
            self.execute_all(i, &actions);
            self.tell_way_back(i, decided.elapsed());
            crash::point("back.after-publish");
            let saved = self.save(i, now);
            let _ = self.timeline.watch(saved);
        } else {
            crash::point("act.before-save");
            let saved = self.save(i, now);
            if let Err(error) = self.timeline.watch(saved) {
                if let Some(run) = &mut self.services[i].run {
                    run.trial.revert(before);
                }
                return Err(error);
            }
            crash::point("act.after-save");
            self.execute_all(i, &actions);
        }
        self.narrate(i, &before, evidence.as_deref(), cause);
        self.close_if_finished(i, now);
        Ok(())
    }

    pub(super) fn execute_all(&mut self, i: usize, actions: &[Action]) {
        for action in actions {
            crash::point("act.before-publish");
            self.execute(i, action);
            crash::point("act.after-publish");
        }
    }

    fn execute(&mut self, i: usize, action: &Action) {
        let state = &mut self.services[i];
        match action {
            Action::StartGreen => {
                if state.route.green.is_none() {
                    state.route.green =
                        static_pools::pools(&state.settings, &state.saved.running).1;
                }
                self.publish();
                let state = &mut self.services[i];
                let metrics = self.metrics.service(&state.route.service);
                state.mirror.restart(metrics.mirror.counts());
                green::start(state, &self.context);
            }
            Action::StartBaseline => {
                let begun = state.begin_baseline();
                let copied = begun.is_some() && state.is_docker();
                self.tell_all(i, begun);
                if copied {
                    copy::start(&mut self.services[i], &self.context);
                }
            }
            Action::StopBaseline => {
                state.drop_baseline();
                self.publish();
            }
            Action::WarmGreen => warm::start(state, &self.context),
            Action::SmokeGreen => smoke::start(state, &self.context),
            Action::RunHooks(at) => hooks::start(state, *at, &self.context),
            Action::SetWeight(weight) => {
                let before = state.weigh(*weight);
                self.publish();
                if before == Weight::NONE {
                    let state = &self.services[i];
                    let counts = self.metrics.service(&state.route.service).mirror.counts();
                    let mirrored = state.mirrored(&counts);
                    self.tell_all(i, mirrored);
                }
                // The restart policy changes with a promotion, and with a rollback after it.
                let state = &mut self.services[i];
                let settled = !state.promoted_containers().is_empty() || *weight == Weight::NONE;
                state.docker.sweep_due |= settled && state.is_docker();
            }
            Action::Window { green } => {
                state.withhold(!green);
                self.publish();
            }
            Action::SwapRoles => {
                state.swap_roles();
                self.publish();
            }
            // Fixed addresses are stopped elsewhere; containers are removed by the cleanup, once it is recorded.
            Action::StopBlue => state.docker.sweep_due = true,
            Action::StopGreen => {
                state.drop_green();
                self.publish();
            }
        }
    }

    pub(super) fn save(&mut self, i: usize, now: Time) -> Result<(), JournalError> {
        let state = &self.services[i];
        let Some(saved) = state.saved_rollout(now) else {
            return Ok(());
        };
        let finished = state
            .run
            .as_ref()
            .is_some_and(|run| run.trial.rollout().finished());
        if !finished {
            return self.timeline.journal.save_rollout(&saved);
        }
        let promoted = saved.outcome.as_deref() == Some(OutcomeKind::Promoted.name());
        let service = if promoted {
            state.promoted()
        } else {
            state.saved.clone()
        };
        crash::point("swap.before-save");
        self.timeline.journal.end_rollout(&saved, &service)?;
        crash::point("swap.after-save");
        Ok(())
    }
}
