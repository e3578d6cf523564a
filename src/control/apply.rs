//! Where effects are carried out: lines are told, state is recorded, events are handled, cleanups run.

use crate::control::controller::Controller;
use crate::control::docker::cleanup;
use crate::control::effects::Effects;
use crate::control::report::entry::Entry;
use crate::core::time::Time;
use crate::store::Clock;
use std::time::Instant;

impl Controller {
    /// Carries out what a component's work leads to.
    pub(super) fn apply(&mut self, i: usize, effects: Effects, now: Time) {
        self.tell_all(i, effects.entries);
        if effects.save {
            self.save_service(i);
        }
        for event in effects.events {
            self.handle_event(i, event, now);
        }
    }

    /// Writes lines about a service to the timeline.
    pub(super) fn tell_all(&mut self, i: usize, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.tell(i, entry);
        }
    }

    /// Writes a line about a service to the timeline.
    pub(super) fn tell(&mut self, i: usize, entry: Entry) {
        let state = &self.services[i];
        let run = state.run.as_ref().filter(|_| !entry.of_service);
        let rollout = run.map(|run| run.saved.id);
        let service = &state.route.service;
        self.timeline.tell(service, rollout, entry.kind, entry.text);
    }

    /// Writes lines about this process to the timeline.
    pub(super) fn tell_process(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for entry in entries {
            self.timeline.tell("", None, entry.kind, entry.text);
        }
    }

    /// Records the state of a service between rollouts; false where that fails.
    pub(super) fn save_service(&mut self, i: usize) -> bool {
        let state = &self.services[i];
        let journal = &self.timeline.journal;
        let written = journal.save_service(&state.route.service, &state.saved);
        self.timeline.watch(written).is_ok()
    }

    /// Starts the cleanups that are due.
    pub(super) fn sweep(&mut self) {
        if !self.context.may_manage() || self.watcher.lost.is_some() {
            return;
        }
        let now = Instant::now();
        for i in 0..self.services.len() {
            if cleanup::due(&self.services[i], &self.context, now) {
                let images = self.too_many_images(i);
                cleanup::start(&mut self.services[i], images, &self.context, now);
            }
        }
    }

    /// Before the process ends: runs the due cleanups.
    pub(super) async fn clear_away(&mut self) {
        if !self.context.may_manage() || self.watcher.lost.is_some() {
            return;
        }
        for i in 0..self.services.len() {
            let images = self.too_many_images(i);
            let state = &mut self.services[i];
            state.docker.stop_sweeping();
            if !state.docker.sweep_due || !state.sighted(&self.context) {
                continue;
            }
            let keep = cleanup::keep(state, images, &self.context);
            let result = cleanup::last(&self.context.engine, &keep).await;
            let state = &mut self.services[i];
            let ended = cleanup::ended(state, &keep.retired, result, Instant::now());
            self.apply(i, ended, Clock::now());
        }
    }

    fn too_many_images(&self, i: usize) -> Vec<String> {
        cleanup::too_many_images(&self.services, i, self.config.docker.keep_images)
    }
}
