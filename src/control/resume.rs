//! How a rollout begins, and how it goes on after the process has ended in the middle of it.

use crate::config::PoolSpec;
use crate::control::controller::Controller;
use crate::control::green::Beginning;
use crate::control::handle::{Mail, Receipt, Refusal};
use crate::control::orders::Ask;
use crate::control::ward::{RunState, Ward};
use crate::control::{crash, ledger, smoke, warm};
use crate::core::answers::Expected;
use crate::core::rollout::{Event, Rollout};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::journal::SavedRollout;
use std::net::SocketAddr;
use std::time::Duration;

impl Controller {
    pub(super) fn begin(&mut self, i: usize, ask: &Ask) -> Result<Receipt, Refusal> {
        let now = Clock::now();
        let ward = &self.wards[i];
        let service = ward.route.service.clone();
        let begin = self.beginning(i, ward.plan(ask.strategy), ask.image.as_deref())?;
        let Beginning { blue, green, .. } = &begin;
        let name = begin.plan.strategy.name();
        let (from, to) = (&blue.release, &green.release);
        let expected = expected(&ask.expect);
        let text = format!("{name} of {service}: {from} → {to}{expected}");
        // What another journal made has the numbers up to there.
        let mut saved = fresh(ward.docker.highest + 1, &service, name, from, to);
        let (rollout, actions) = Rollout::start(begin.plan, now);
        let ward = &mut self.wards[i];
        ward.docker.stop_sweeping();
        let idle = ward.route.clone();
        ward.route.green = Some(begin.green.clone());
        ward.route.weight = Weight::NONE;
        ward.route.mark += 1;
        ward.route.salt = rand::random();
        ward.route.epoch += 1;
        let state = RunState {
            rollout: rollout.clone(),
            age_ms: 0,
            blue: begin.blue,
            green: begin.green,
            baseline: None,
            salt: ward.route.salt,
            epoch: ward.route.epoch,
            past: None,
            reference: None,
            image: begin.image.clone(),
            members: begin.members,
            expect: ask.expect.clone(),
        };
        saved.state = serde_json::to_string(&state).unwrap_or_default();
        crash::point("begin.before-save");
        let begun = self.ledger.journal.begin_rollout(&mut saved);
        if let Err(error) = self.ledger.watch(begun) {
            self.wards[i].route = idle;
            return Err(Refusal::Unrecorded(error.to_string()));
        }
        crash::point("begin.after-save");
        let id = saved.id;
        let ward = &mut self.wards[i];
        ward.route.rollout = id.unsigned_abs();
        ward.begin(saved, rollout, &ask.expect, false, 0);
        if let Some(run) = &mut ward.run {
            (run.image, run.members) = (begin.image, begin.members);
            run.strict = ask.strict;
        }
        self.want();
        self.ledger.tell(&service, Some(id), "start", text.clone());
        self.perform_all(i, &actions);
        Ok(Receipt {
            rollout: Some(id),
            text,
            drill: None,
        })
    }

    /// Takes up a rollout that was under way when the process ended; it is routed as saved before anything listens.
    pub(super) fn resume(&mut self, i: usize) {
        let now = Clock::now();
        let service = &self.wards[i].route.service;
        let found = self.ledger.journal.unfinished(service);
        let Ok(Some(saved)) = self.ledger.watch(found) else {
            return;
        };
        let Ok(state) = serde_json::from_str::<RunState>(&saved.state) else {
            tracing::error!(
                rollout = saved.id,
                "the saved rollout cannot be read; blue serves"
            );
            return;
        };
        let recorded = self.ledger.journal.next_second(saved.id);
        let recorded = self.ledger.watch(recorded).unwrap_or_default();
        let ward = &mut self.wards[i];
        let mut rollout = state.rollout;
        rollout.revive(Duration::from_millis(state.age_ms), now);
        let weight = rollout.weight();
        ward.route.blue = state.blue;
        ward.route.green = Some(state.green);
        ward.route.baseline = state.baseline;
        ward.route.salt = state.salt;
        ward.route.epoch = state.epoch;
        ward.route.weight = weight;
        ward.route.rollout = saved.id.unsigned_abs();
        let ready = weight > Weight::NONE;
        ward.begin(saved, rollout, &state.expect, ready, recorded);
        if let Some(run) = &mut ward.run {
            run.trial.keep(state.past);
            run.trial.keep_reference(state.reference);
            (run.image, run.members) = (state.image, state.members);
        }
        ward.docker.restart_due = ward.is_docker();
        if ward.is_docker() {
            ward.docker.resumed = Some([
                ward.route.blue.clone(),
                ward.route.green.clone().unwrap_or_default(),
            ]);
        }
    }

    /// Goes on with a rollout that was under way, once its containers have been seen.
    pub(super) fn restart_where_seen(&mut self, i: usize, now: Time) {
        let ward = &mut self.wards[i];
        if ward.docker.restart_due && !ward.sighted(&self.dock) {
            return;
        }
        ward.docker.restart_due = false;
        self.restart(i, now);
    }

    fn restart(&mut self, i: usize, now: Time) {
        let ward = &mut self.wards[i];
        if ward.run.is_none() {
            return;
        }
        let same = ward.same_as_before();
        let Some(run) = &ward.run else { return };
        let (service, id) = (ward.route.service.clone(), run.saved.id);
        let text = if same {
            format!(
                "shifter restarted at weight {}; the step begins anew with fresh evidence",
                ward.route.weight
            )
        } else {
            "shifter restarted and the configured backends are other ones".to_owned()
        };
        self.ledger.tell(&service, Some(id), "state", text);
        self.happen(i, Event::Restarted { same }, now);
        self.restart_baseline(i, now);
    }

    pub(super) fn start_warm_up(&mut self, i: usize) {
        let ward = &self.wards[i];
        let (Some(run), Some(own)) = (&ward.run, self.own.upgrade()) else {
            return;
        };
        let spec = run.settings.warmup.clone();
        let (rollout, host) = (run.saved.id, ward.settings.own_host());
        // A baseline is to be as warm as green, and no warmer.
        let baseline = ward.route.baseline.iter().flat_map(|pool| &pool.backends);
        let mut backends = green_addresses(ward);
        backends.extend(baseline.map(|backend| backend.addr));
        let way = (ward.settings.protocol, ward.settings.tls.clone());
        tokio::spawn(async move {
            let text = match spec {
                Some(spec) => warm::warm(spec, way, host, backends).await,
                None => "the configuration has no warm-up any more".to_owned(),
            };
            let _ = own.send(Mail::Warmed { rollout, text }).await;
        });
    }

    pub(super) fn start_smoke(&mut self, i: usize) {
        let ward = &self.wards[i];
        let (Some(run), Some(own)) = (&ward.run, self.own.upgrade()) else {
            return;
        };
        let rollout = run.saved.id;
        let containers = ward.docker.containers[Color::Green.index()]
            .iter()
            .flatten();
        let green = smoke::Target {
            host: ward.settings.own_host(),
            protocol: ward.settings.protocol,
            tls: ward.settings.tls.clone(),
            backends: green_addresses(ward),
            containers: containers
                .map(|one| (one.name.clone(), one.id.clone()))
                .collect(),
            engine: self.dock.engine.clone(),
            owner: self.dock.owner(&ward.route.service, rollout),
            network: network_of_green(ward),
            pull: ward.settings.copy.pull,
        };
        let checks = run.settings.smoke.clone();
        tokio::spawn(async move {
            let (result, text) = match smoke::smoke(&checks, &green).await {
                Ok(text) => (Ok(()), text),
                Err(text) => (Err(text.clone()), text),
            };
            let _ = own
                .send(Mail::Smoked {
                    rollout,
                    result,
                    text,
                })
                .await;
        });
    }
}

fn green_addresses(ward: &Ward) -> Vec<SocketAddr> {
    let green = ward.route.green.iter().flat_map(|pool| &pool.backends);
    green.map(|backend| backend.addr).collect()
}

/// The network on which green is reached: the one of the file, else green's first.
fn network_of_green(ward: &Ward) -> Option<String> {
    if let PoolSpec::Containers(blue) = &ward.settings.blue
        && blue.network.is_some()
    {
        return blue.network.clone();
    }
    let mut green = ward.docker.containers[Color::Green.index()]
        .iter()
        .flatten();
    let (network, _) = green.next()?.addresses.first()?;
    Some(network.clone())
}

/// What is said of changes on purpose.
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

/// A rollout that has no number yet, which is to be `least` at least.
fn fresh(least: i64, service: &str, strategy: &str, from: &str, to: &str) -> SavedRollout {
    SavedRollout {
        id: least,
        service: service.to_owned(),
        started_at: ledger::now(),
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
