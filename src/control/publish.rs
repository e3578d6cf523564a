//! The controller's outputs: the table, the view, the recording.

use crate::control::api::view::{API_VERSION, ServiceView, View};
use crate::control::controller::Controller;
use crate::control::docker::evidence::{self, Recorded};
use crate::control::report::change::{Cause, Change};
use crate::control::service::{baseline, gauges};
use crate::core::rollout::Rollout;
use crate::core::table::{Color, Table};
use crate::core::weight::Weight;
use crate::store::Clock;
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
                    mirror: state.mirror.view(&metrics.mirror.counts()),
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
        before: &Rollout,
        line: Option<&str>,
        cause: Cause,
    ) {
        let state = &self.services[i];
        let Some(run) = &state.run else { return };
        let (after, why) = (run.trial.rollout(), cause.baseline_lost.clone());
        let baseline = baseline::change(before.baseline(), after, why);
        let change = Change::of(before, after, line, cause);
        if change.last_words {
            evidence::last_words(state, &self.context);
        }
        self.tell_all(i, baseline.into_iter().chain(change.entries));
        if change.evidence {
            self.keep_evidence(i);
        }
    }

    /// Keeps the evidence on a green that is released.
    fn keep_evidence(&mut self, i: usize) {
        let state = &self.services[i];
        let Some(run) = state.run.as_ref().filter(|_| state.is_docker()) else {
            return;
        };
        let rollout = run.saved.id;
        self.flush();
        let journal = &self.timeline.journal;
        let recorded = Recorded {
            seconds: journal.seconds(rollout).unwrap_or_default(),
            notes: journal.notes(0, Some(rollout), 10_000).unwrap_or_default(),
        };
        let all = self.config.state.join("evidence");
        evidence::keep(&self.services[i], &all, recorded, &self.context);
    }
}
