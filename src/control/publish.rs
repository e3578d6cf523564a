//! The controller's outputs: the table, the view, the recording.

use crate::control::controller::Controller;
use crate::control::gauges;
use crate::control::messages;
use crate::control::view::{API_VERSION, ServiceView, View};
use crate::core::rollout::{Outcome, Phase, Rollout};
use crate::core::table::{Color, Table};
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::NoteKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Controller {
    /// Records how long it took until blue had the whole share; a challenge does not count as a rollback.
    pub(in crate::control) fn tell_way_back(&self, i: usize, took: Duration) {
        let route = &self.services[i].route;
        if route.weight == Weight::NONE {
            let metrics = self.metrics.service(&route.service);
            metrics.rolled_back_in(took.as_secs_f64());
        }
    }

    /// Publishes the routes of all services; when this returns, new requests are routed by them.
    pub(in crate::control) fn publish(&mut self) {
        let routes = self
            .services
            .iter()
            .map(|state| state.route.clone())
            .collect();
        let table = Table { version: 0, routes };
        let version = self
            .board
            .publish(table, Some(self.config.clone()), Clock::now());
        self.metrics.routing_version(version);
        for state in &self.services {
            self.metrics
                .service(&state.route.service)
                .set_weight(state.route.weight.ratio());
        }
    }

    /// Writes what can wait: recorded seconds and the age of rollouts.
    pub(in crate::control) fn flush(&mut self) {
        self.flushed = Instant::now();
        let now = Clock::now();
        for i in 0..self.services.len() {
            let Some(run) = &mut self.services[i].run else {
                continue;
            };
            let finished = run.trial.rollout().finished();
            let written = self
                .timeline
                .journal
                .record_seconds(run.saved.id, &run.lines);
            if self.timeline.watch(written).is_err() {
                continue;
            }
            run.lines.clear();
            if !finished {
                let saved = self.save(i, now);
                let _ = self.timeline.watch(saved);
            }
        }
    }

    /// Updates what the status API and the metrics show.
    pub(in crate::control) fn show(&mut self) {
        let now = Clock::now();
        let snapshot = self.board.snapshot();
        let services: Vec<_> = self
            .services
            .iter()
            .enumerate()
            .map(|(i, state)| {
                let metrics = self.metrics.service(&state.route.service);
                let upgraded = Color::BOTH.map(|color| metrics.pool(color).upgraded.get());
                ServiceView {
                    mirror: self.mirrored(i),
                    ..state.view(snapshot.services.get(i), upgraded, now)
                }
            })
            .collect();
        for (state, published) in self.services.iter().zip(&snapshot.services) {
            gauges::expose(
                &self.metrics.service(&state.route.service),
                state,
                published,
            );
        }
        self.metrics
            .state_writable
            .set(i64::from(self.timeline.trouble().is_none()));
        self.view.store(Arc::new(View {
            api_version: API_VERSION.to_owned(),
            shifter_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            config: self
                .config_file
                .as_deref()
                .map(|file| std::path::absolute(file).unwrap_or_else(|_| file.to_owned()))
                .map(|file| file.display().to_string()),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            table_version: snapshot.table.version,
            trouble: self
                .timeline
                .trouble()
                .or(self.watcher.lost.as_deref())
                .map(str::to_owned),
            draining: self.board.draining(),
            services,
        }));
    }

    /// Reports the change of a rollout by one event.
    pub(in crate::control) fn narrate(
        &mut self,
        i: usize,
        id: i64,
        before: &Rollout,
        evidence: Option<&str>,
        lost: Option<(Color, String)>,
    ) {
        let state = &self.services[i];
        let Some(run) = &state.run else { return };
        let service = state.route.service.clone();
        let accused = messages::accusation(before, run.trial.rollout());
        let said = messages::change(before, run.trial.rollout(), evidence);
        let going = |rollout: &Rollout| matches!(rollout.phase(), Phase::RollingBack { .. });
        let goes_back = going(run.trial.rollout()) && !going(before);
        let asked = matches!(run.trial.rollout().outcome(), Some(Outcome::Stopped { .. }));
        let relieved = before.degraded() && !run.trial.rollout().degraded();
        if said
            .as_ref()
            .is_some_and(|said| said.kind == NoteKind::Verdict)
            && !asked
        {
            self.last_words(i);
        }
        let is_accused = accused.is_some();
        if let Some(accused) = accused {
            self.timeline
                .tell(&service, Some(id), accused.kind, accused.text);
        }
        if let Some((Color::Blue, what)) = lost {
            let text = format!("DEGRADED: {what}; whatever answers serves, and nothing advances");
            self.timeline
                .tell(&service, Some(id), NoteKind::Health, text);
        }
        if relieved {
            let text = "blue answers again: no longer DEGRADED".to_owned();
            self.timeline
                .tell(&service, Some(id), NoteKind::State, text);
        }
        if let Some(said) = said {
            self.timeline.tell(&service, Some(id), said.kind, said.text);
        }
        if goes_back || is_accused {
            self.keep_evidence(i);
        }
    }
}
