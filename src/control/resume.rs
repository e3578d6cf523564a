//! The start of a rollout, and its continuation after the process has ended in the middle of it.

use crate::config::PoolSpec;
use crate::control::controller::Controller;
use crate::control::green::RolloutInputs;
use crate::control::handle::RolloutRequest;
use crate::control::handle::{CommandError, CommandOutcome, Message};
use crate::control::service_state::{RunState, ServiceState};
use crate::control::timeline;
use crate::control::{crash, smoke, warm};
use crate::core::answers::Expected;
use crate::core::rollout::{Event, Rollout};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::NoteKind;
use crate::store::journal::SavedRollout;
use std::net::SocketAddr;
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
        let begin = self.beginning(i, state.plan(ask.strategy), ask.image.as_deref())?;
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
        if state.docker.restart_due && !state.sighted(&self.watcher) {
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
        self.restart_baseline(i, now);
    }

    pub(super) fn start_warm_up(&mut self, i: usize) {
        let state = &self.services[i];
        let (Some(run), Some(own)) = (&state.run, self.own.upgrade()) else {
            return;
        };
        let spec = run.settings.warmup.clone();
        let (rollout, host) = (run.saved.id, state.settings.own_host());
        // A baseline is to be as warm as green, and no warmer.
        let baseline = state.route.baseline.iter().flat_map(|pool| &pool.backends);
        let mut backends = green_addresses(state);
        backends.extend(baseline.map(|backend| backend.addr));
        let way = (state.settings.protocol, state.settings.tls.clone());
        tokio::spawn(async move {
            let text = match spec {
                Some(spec) => warm::warm(spec, way, host, backends).await,
                None => "the configuration has no warm-up any more".to_owned(),
            };
            let _ = own.send(Message::Warmed { rollout, text }).await;
        });
    }

    pub(super) fn start_smoke(&mut self, i: usize) {
        let state = &self.services[i];
        let (Some(run), Some(own)) = (&state.run, self.own.upgrade()) else {
            return;
        };
        let rollout = run.saved.id;
        let containers = state.docker.containers[Color::Green.index()]
            .iter()
            .flatten();
        let green = smoke::Target {
            host: state.settings.own_host(),
            protocol: state.settings.protocol,
            tls: state.settings.tls.clone(),
            backends: green_addresses(state),
            containers: containers
                .map(|one| (one.name.clone(), one.id.clone()))
                .collect(),
            engine: self.watcher.engine.clone(),
            owner: self.watcher.owner(&state.route.service, rollout),
            network: network_of_green(state),
            pull: state.settings.copy.pull,
        };
        let checks = run.settings.smoke.clone();
        tokio::spawn(async move {
            let (result, text) = match smoke::smoke(&checks, &green).await {
                Ok(text) => (Ok(()), text),
                Err(text) => (Err(text.clone()), text),
            };
            let _ = own
                .send(Message::Smoked {
                    rollout,
                    result,
                    text,
                })
                .await;
        });
    }
}

fn green_addresses(state: &ServiceState) -> Vec<SocketAddr> {
    let green = state.route.green.iter().flat_map(|pool| &pool.backends);
    green.map(|backend| backend.addr).collect()
}

/// The network by which green is reached: the one in the file, else green's first.
fn network_of_green(state: &ServiceState) -> Option<String> {
    if let PoolSpec::Containers(blue) = &state.settings.blue
        && blue.network.is_some()
    {
        return blue.network.clone();
    }
    let mut green = state.docker.containers[Color::Green.index()]
        .iter()
        .flatten();
    let (network, _) = green.next()?.addresses.first()?;
    Some(network.clone())
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
