//! The start of a rollout, and its continuation after the process has ended in the middle of it.

use crate::control::api::command::{CommandError, CommandOutcome, RolloutRequest};
use crate::control::controller::Controller;
use crate::control::crash;
use crate::control::docker::green::{self, RolloutInputs};
use crate::control::report::timeline;
use crate::control::service::state::RunState;
use crate::core::answers::Expected;
use crate::core::rollout::{Event, Rollout};
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::NoteKind;
use crate::store::journal::SavedRollout;
use std::time::Duration;

impl Controller {
    pub(super) fn begin(
        &mut self,
        i: usize,
        ask: &RolloutRequest,
    ) -> Result<CommandOutcome, CommandError> {
        let now = Clock::now();
        let state = &self.services[i];
        let service = state.route.service.clone();
        let (lost, plan) = (self.watcher.lost.as_deref(), state.plan(ask.strategy));
        let begin = green::inputs(state, lost, &self.context, plan, ask.image.as_deref())?;
        let RolloutInputs { blue, green, .. } = &begin;
        let name = begin.plan.strategy.name();
        let (from, to) = (&blue.release, &green.release);
        let expected = expected(&ask.expect);
        let text = format!("{name} of {service}: {from} → {to}{expected}");
        // Another journal has used the rollout numbers up to this one.
        let mut saved = fresh(state.docker.highest + 1, &service, name, from, to);
        let (rollout, actions) = Rollout::start(begin.plan, now);
        let state = &mut self.services[i];
        state.docker.stop_sweeping();
        let idle = state.route.clone();
        state.prepare_route(begin.green.clone());
        let kept = RunState {
            rollout: rollout.clone(),
            age_ms: 0,
            blue: begin.blue,
            green: begin.green,
            baseline: None,
            salt: state.route.salt,
            epoch: state.route.epoch,
            past: None,
            reference: None,
            image: begin.image.clone(),
            members: begin.members,
            strict: ask.strict,
            first: ask.first,
            expect: ask.expect.clone(),
        };
        saved.state = serde_json::to_string(&kept).unwrap_or_default();
        crash::point("begin.before-save");
        let begun = self.timeline.journal.begin_rollout(&mut saved);
        if let Err(error) = self.timeline.watch(begun) {
            self.services[i].route = idle;
            return Err(CommandError::Unrecorded(error.to_string()));
        }
        crash::point("begin.after-save");
        let id = saved.id;
        let state = &mut self.services[i];
        state.route.rollout = id.unsigned_abs();
        state.begin(saved, rollout, &ask.expect, false, 0);
        if let Some(run) = &mut state.run {
            (run.image, run.members) = (begin.image, begin.members);
            (run.strict, run.first) = (ask.strict, ask.first);
        }
        self.want();
        self.timeline
            .tell(&service, Some(id), NoteKind::Start, text.clone());
        self.execute_all(i, &actions);
        Ok(CommandOutcome::of(id, text))
    }

    /// Resumes a rollout that was under way when the process ended; it is routed as saved before any listener opens.
    pub(super) fn resume(&mut self, i: usize) {
        let now = Clock::now();
        let service = &self.services[i].route.service;
        let found = self.timeline.journal.unfinished(service);
        let Ok(Some(saved)) = self.timeline.watch(found) else {
            return;
        };
        let Ok(kept) = serde_json::from_str::<RunState>(&saved.state) else {
            tracing::error!(
                rollout = saved.id,
                "the saved rollout cannot be read; blue serves"
            );
            return;
        };
        let recorded = self.timeline.journal.next_second(saved.id);
        let recorded = self.timeline.watch(recorded).unwrap_or_default();
        let state = &mut self.services[i];
        let mut rollout = kept.rollout;
        rollout.revive(Duration::from_millis(kept.age_ms), now);
        let weight = rollout.weight();
        state.route.blue = kept.blue;
        state.route.green = Some(kept.green);
        state.route.baseline = kept.baseline;
        state.route.salt = kept.salt;
        state.route.epoch = kept.epoch;
        state.route.weight = weight;
        state.route.rollout = saved.id.unsigned_abs();
        let ready = weight > Weight::NONE;
        state.begin(saved, rollout, &kept.expect, ready, recorded);
        if let Some(run) = &mut state.run {
            run.trial.keep(kept.past);
            run.trial.keep_reference(kept.reference);
            (run.image, run.members) = (kept.image, kept.members);
            (run.strict, run.first) = (kept.strict, kept.first);
        }
        state.docker.restart_due = state.is_docker();
        if state.is_docker() {
            state.docker.resumed = Some([
                state.route.blue.clone(),
                state.route.green.clone().unwrap_or_default(),
            ]);
        }
    }

    /// Continues a rollout that was under way, once its containers have been seen.
    pub(super) fn restart_where_seen(&mut self, i: usize, now: Time) {
        let state = &mut self.services[i];
        if state.docker.restart_due && !state.sighted(&self.context) {
            return;
        }
        state.docker.restart_due = false;
        self.restart(i, now);
    }

    fn restart(&mut self, i: usize, now: Time) {
        let state = &mut self.services[i];
        if state.run.is_none() {
            return;
        }
        let same = state.same_as_before();
        let Some(run) = &state.run else { return };
        let (service, id) = (state.route.service.clone(), run.saved.id);
        let text = if same {
            format!(
                "shifter restarted at weight {}; the step begins anew with fresh evidence",
                state.route.weight
            )
        } else {
            "shifter restarted and the configured backends are other ones".to_owned()
        };
        self.timeline
            .tell(&service, Some(id), NoteKind::State, text);
        self.handle_event(i, Event::Restarted { same }, now);
        if let Some(lost) = self.services[i].misplaced_baseline() {
            self.handle_event(i, lost, now);
        }
    }
}

/// The text on changes on purpose.
fn expected(expect: &[Expected]) -> String {
    let names: Vec<_> = expect.iter().map(|one| one.name()).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!(
            "; expected to change, told and not judged: {}",
            names.join(", ")
        ),
    }
}

/// A rollout without a number yet, which is to be at least `least`.
fn fresh(least: i64, service: &str, strategy: &str, from: &str, to: &str) -> SavedRollout {
    SavedRollout {
        id: least,
        service: service.to_owned(),
        started_at: timeline::now(),
        ended_at: None,
        strategy: strategy.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
        outcome: None,
        reason: None,
        state: String::new(),
        evidence: None,
    }
}
