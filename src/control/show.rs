//! What others see of the controller: the table, the view, the recording.

use crate::control::controller::Controller;
use crate::control::view::{API_VERSION, ServiceView, View};
use crate::control::{expose, narrate};
use crate::core::rollout::{Outcome, Phase, Rollout};
use crate::core::table::{Color, Table};
use crate::core::weight::Weight;
use crate::store::Clock;
use std::sync::Arc;
use std::time::{Duration, Instant};

impl Controller {
    /// How long it took until blue had everything again; a challenge takes green nothing for good.
    pub(super) fn tell_way_back(&self, i: usize, took: Duration) {
        let route = &self.wards[i].route;
        if route.weight == Weight::NONE {
            let metrics = self.metrics.service(&route.service);
            metrics.rolled_back_in(took.as_secs_f64());
        }
    }

    /// Publishes what the wards want; when this returns, new requests are routed by it.
    pub(super) fn publish(&mut self) {
        let routes = self.wards.iter().map(|ward| ward.route.clone()).collect();
        let table = Table { version: 0, routes };
        let version = self
            .board
            .publish(table, Some(self.config.clone()), Clock::now());
        self.metrics.routing_version(version);
        for ward in &self.wards {
            self.metrics
                .service(&ward.route.service)
                .set_weight(ward.route.weight.ratio());
        }
    }

    /// Writes what can wait: recorded seconds and the age of rollouts.
    pub(super) fn flush(&mut self) {
        self.flushed = Instant::now();
        let now = Clock::now();
        for i in 0..self.wards.len() {
            let Some(run) = &mut self.wards[i].run else {
                continue;
            };
            let finished = run.trial.rollout().finished();
            let written = self.ledger.journal.record_seconds(run.saved.id, &run.lines);
            if self.ledger.watch(written).is_err() {
                continue;
            }
            run.lines.clear();
            if !finished {
                let saved = self.save(i, now);
                let _ = self.ledger.watch(saved);
            }
        }
    }

    /// Puts what there is to see where status and metrics are read.
    pub(super) fn show(&mut self) {
        let now = Clock::now();
        let snapshot = self.board.snapshot();
        let services: Vec<_> = self
            .wards
            .iter()
            .enumerate()
            .map(|(i, ward)| {
                let metrics = self.metrics.service(&ward.route.service);
                let upgraded = Color::BOTH.map(|color| metrics.pool(color).upgraded.get());
                ServiceView {
                    mirror: self.mirrored(i),
                    ..ward.view(snapshot.services.get(i), upgraded, now)
                }
            })
            .collect();
        for (ward, published) in self.wards.iter().zip(&snapshot.services) {
            expose::expose(&self.metrics.service(&ward.route.service), ward, published);
        }
        self.metrics
            .state_writable
            .set(i64::from(self.ledger.trouble().is_none()));
        self.view.store(Arc::new(View {
            api_version: API_VERSION.to_owned(),
            shifter_version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs_f64(),
            table_version: snapshot.table.version,
            trouble: self
                .ledger
                .trouble()
                .or(self.dock.lost.as_deref())
                .map(str::to_owned),
            draining: self.board.draining(),
            services,
        }));
    }

    /// Says what became of a rollout by one event.
    pub(super) fn narrate(
        &mut self,
        i: usize,
        id: i64,
        before: &Rollout,
        evidence: Option<&str>,
        lost: Option<(Color, String)>,
    ) {
        let ward = &self.wards[i];
        let Some(run) = &ward.run else { return };
        let service = ward.route.service.clone();
        let accused = narrate::accusation(before, run.trial.rollout());
        let said = narrate::change(before, run.trial.rollout(), evidence);
        let going = |rollout: &Rollout| matches!(rollout.phase(), Phase::RollingBack { .. });
        let goes_back = going(run.trial.rollout()) && !going(before);
        let asked = matches!(run.trial.rollout().outcome(), Some(Outcome::Stopped { .. }));
        let relieved = before.degraded() && !run.trial.rollout().degraded();
        if said.as_ref().is_some_and(|said| said.kind == "verdict") && !asked {
            self.last_words(i);
        }
        let is_accused = accused.is_some();
        if let Some(accused) = accused {
            self.ledger
                .tell(&service, Some(id), accused.kind, accused.text);
        }
        if let Some((Color::Blue, what)) = lost {
            let text = format!("DEGRADED: {what}; whatever answers serves, and nothing advances");
            self.ledger.tell(&service, Some(id), "health", text);
        }
        if relieved {
            let text = "blue answers again: no longer DEGRADED".to_owned();
            self.ledger.tell(&service, Some(id), "state", text);
        }
        if let Some(said) = said {
            self.ledger.tell(&service, Some(id), said.kind, said.text);
        }
        if goes_back || is_accused {
            self.keep_evidence(i);
        }
    }
}
