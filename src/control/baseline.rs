//! The baseline of a rollout: started with green, watched, and released. [`core::baseline`] explains its purpose.
//!
//! [`core::baseline`]: crate::core::baseline

use crate::config::{Access, PoolSpec};
use crate::control::controller::Controller;
use crate::control::docker_watcher::DockerWatcher;
use crate::control::handle::Message;
use crate::control::service_state::ServiceState;
use crate::control::view::PoolView;
use crate::core::baseline::Standing;
use crate::core::rollout::{Event, Rollout};
use crate::core::stats::Histogram;
use crate::core::table::{Color, Pool};
use crate::core::time::Time;
use crate::driver::docker::create::{self, Raise, Said};
use crate::driver::docker::pools::{self, Target};
use crate::driver::docker::watcher::{Found, Selector};
use crate::driver::docker::{Container, State};
use crate::driver::static_pools;
use crate::store::Clock;
use crate::store::NoteKind;
use crate::store::shared_state::{BackendState, Health, PublishedService};
use crate::store::window::Reading;
use std::collections::VecDeque;

/// Seconds covered by the rate in the view.
const RECENT: usize = 10;

/// The observed state of the baseline of one rollout.
#[derive(Debug, Default)]
pub struct Seen {
    /// Since when all of the baseline has been healthy without a break.
    well_since: Option<Time>,
    /// The times of its answers in the last seconds.
    recent: VecDeque<Histogram>,
}

impl Seen {
    /// Adds a reading.
    pub fn read(&mut self, reading: &Reading) {
        if reading.ticks.is_empty() {
            return;
        }
        self.recent.push_back(reading.baseline.clone());
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

impl ServiceState {
    /// The event for the state machine that follows from the checks of the baseline.
    pub(super) fn baseline_event(
        &mut self,
        published: &PublishedService,
        now: Time,
    ) -> Option<Event> {
        let min_ready = self.settings.health.min_ready;
        let well = self.baseline_is_well();
        let fallen = self.docker.baseline_fallen.clone();
        let run = self.run.as_mut()?;
        let (pool, seen) = (&published.baseline, &mut run.baseline);
        let is_up = |one: &BackendState| one.health() == Health::Up && !one.doubted();
        let is_down = |one: &BackendState| one.health() == Health::Down || one.doubted();
        let all = !pool.is_empty() && well && pool.iter().all(|one| is_up(one));
        seen.well_since = all.then(|| seen.well_since.unwrap_or(now));
        let since = seen.well_since;
        let standing = run.trial.rollout().baseline();
        if let Some(what) = fallen.filter(|_| standing.present()) {
            return Some(Event::BaselineLost(what));
        }
        match standing {
            Standing::Starting if since.is_some_and(|since| now.since(since) >= min_ready) => {
                Some(Event::BaselineReady)
            }
            Standing::Serving if !pool.is_empty() && pool.iter().all(|one| is_down(one)) => {
                let what = "no backend of the baseline is healthy any more";
                Some(Event::BaselineLost(what.to_owned()))
            }
            _ => None,
        }
    }

    /// Freezes the limits of this share once more, from the baseline's own times; true when they are new.
    pub(super) fn freeze_fairly(&mut self, reading: &Reading) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        run.baseline.read(reading);
        let Some(line) = run.trial.freeze_fairly(&reading.baseline) else {
            return false;
        };
        self.route.limits = run.trial.limits();
        run.record(&line);
        true
    }

    /// Removes the baseline: blue's own pool serves its requests at once, and where green's latency was compared
    /// with it the share's evidence starts anew.
    pub(super) fn drop_baseline(&mut self) {
        let compared = self.route.places(self.route.weight).is_some();
        self.route.baseline = None;
        self.stop_copying();
        if compared {
            let weight = self.route.weight;
            self.start_share(weight, weight);
        }
    }

    /// Whether a baseline that was under way is where the configuration places it.
    fn knows_baseline(&self) -> bool {
        let saved = &self.route.baseline;
        saved.is_none() || self.is_docker() || *saved == static_pools::baseline(&self.settings)
    }

    /// The view of the baseline, while there is one.
    pub(super) fn baseline_view(&self, published: Option<&PublishedService>) -> Option<PoolView> {
        let (pool, run) = (self.route.baseline.as_ref()?, self.run.as_ref()?);
        let mut times = Histogram::default();
        for second in &run.baseline.recent {
            times.merge(second);
        }
        let quantile = |q: f64| (times.count() > 0).then(|| times.quantile(q));
        let states = published.map(|published| published.baseline.as_slice());
        let states = states.unwrap_or_default();
        let backends: Vec<_> = states
            .iter()
            .map(|state| ServiceState::backend_view(state))
            .collect();
        Some(PoolView {
            release: pool.release.clone(),
            in_flight: backends.iter().map(|backend| backend.in_flight).sum(),
            backends,
            requests_per_second: times.count() as f64 / run.baseline.recent.len().max(1) as f64,
            p50_ms: quantile(0.50),
            p95_ms: quantile(0.95),
            p99_ms: quantile(0.99),
            ..PoolView::default()
        })
    }
}

/// The methods for baselines in containers.
impl ServiceState {
    /// Whether a baseline exists, or is being created.
    pub(super) fn has_baseline(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| run.trial.rollout().baseline().present())
    }

    /// Where to find the containers of the baseline, while there is one.
    pub(super) fn baseline_place(&self, watcher: &DockerWatcher) -> Option<Target> {
        let (run, PoolSpec::Containers(blue)) = (self.run.as_ref()?, &self.settings.blue) else {
            return None;
        };
        let owner = watcher
            .owner(&self.route.service, run.saved.id)
            .of_baseline();
        self.has_baseline().then(|| Target {
            by: Selector::Labels(owner.selector()),
            port: blue.port,
            network: blue.network.clone(),
        })
    }

    /// Takes the observed containers of the baseline; returns whether the table changes by it, `None` when another
    /// pool was looked for.
    pub(super) fn settle_baseline(
        &mut self,
        watcher: &DockerWatcher,
        found: &Found,
    ) -> Option<bool> {
        let place = self.baseline_place(watcher)?;
        if place.by != found.want.by {
            return None;
        }
        let seen = &found.containers;
        let pool = Pool {
            release: self.route.blue.release.clone(),
            ..pools::pool(&place, seen, "")
        };
        let serving = self.run.as_ref().map(|run| run.trial.rollout().baseline());
        let known = self.route.baseline.iter().flat_map(|pool| &pool.backends);
        let mut lost = known.filter(|known| !pool.backends.iter().any(|one| one.id == known.id));
        if serving == Some(Standing::Serving) && lost.next().is_some() {
            // With the restart policy `no` no container starts again.
            let ended = seen.iter().find(|one| !one.state.serves());
            self.docker.baseline_fallen = Some(match ended {
                Some(one) => format!("the baseline's container {} {}", one.name, one.state),
                None => "a container of the baseline is gone or was restarted".to_owned(),
            });
        } else {
            let fallen = seen.iter().find(|one| one.state.fallen());
            let words =
                |one: &Container| format!("the baseline's container {} {}", one.name, one.state);
            self.docker.baseline_fallen = fallen.map(words);
        }
        let unreachable = pools::unreachable(&place, seen).into_iter().next();
        self.docker.baseline_fallen = self.docker.baseline_fallen.take().or(unreachable);
        self.docker.baseline = Some(seen.clone());
        let changed = self.route.baseline.as_ref() != Some(&pool);
        self.route.baseline = Some(pool);
        Some(changed)
    }

    /// Whether all of the baseline's containers run and are healthy, as far as the engine knows.
    fn baseline_is_well(&self) -> bool {
        let Some(run) = self.run.as_ref().filter(|_| self.is_docker()) else {
            return true;
        };
        let seen = self.docker.baseline.as_deref();
        seen.is_some_and(|all| {
            all.len() >= run.members && all.iter().all(|one| one.state == State::Running)
        })
    }

    /// Stops creating the baseline's containers: they are no longer wanted.
    fn stop_copying(&mut self) {
        if let Some(task) = self.docker.copying.take() {
            task.abort();
        }
        (self.docker.baseline, self.docker.baseline_fallen) = (None, None);
        self.docker.sweep_due = true;
    }
}

impl Controller {
    /// Starts the copy of blue's release, or begins to check the one that already runs at an address of its own.
    pub(super) fn start_baseline(&mut self, i: usize) {
        let state = &mut self.services[i];
        let Some(run) = &state.run else { return };
        let (service, id) = (state.route.service.clone(), run.saved.id);
        if state.route.baseline.is_none() {
            state.route.baseline = static_pools::baseline(&state.settings);
        }
        let at = state.route.baseline.as_ref();
        let at = at.map_or_else(String::new, |pool| format!(" at {}", pool.release));
        let text = format!(
            "green's latency is compared with a baseline, a fresh copy of blue's release ({}){at}",
            state.route.blue.release
        );
        self.timeline
            .tell(&service, Some(id), NoteKind::Phase, text);
        if self.services[i].is_docker() {
            self.copy_blue(i);
        }
    }

    /// Creates containers like blue's; containers of an earlier attempt of this rollout are used.
    fn copy_blue(&mut self, i: usize) {
        let state = &self.services[i];
        let (Some(run), Some(own)) = (&state.run, self.own.upgrade()) else {
            return;
        };
        let (service, rollout) = (state.route.service.clone(), run.saved.id);
        let blue = state.docker.containers[Color::Blue.index()].as_deref();
        let like = blue
            .unwrap_or_default()
            .iter()
            .find(|one| one.state.serves());
        let order = Raise {
            owner: self.watcher.owner(&service, rollout),
            image: String::new(),
            like: like.map(|container| container.id.clone()),
            network: state.network(),
            copying: state.settings.copy.clone(),
            replicas: u32::try_from(run.members).unwrap_or(1),
            strict: run.strict,
            absent: None,
        };
        let (engine, access) = (self.watcher.engine.clone(), self.config.docker.access);
        let task = tokio::spawn(async move {
            // The message is dropped if the mailbox is full: a line is dispensable, the work must not wait for it.
            let say = |said: Said| drop(own.try_send(Message::of_making(&service, rollout, said)));
            let result = if access < Access::Manage {
                Err(format!(
                    "shifter may not make containers: `access` of [docker] is \"{}\", set it to \"manage\"",
                    access.name()
                ))
            } else {
                let copied = create::copy(&engine, order, say).await;
                copied.map_err(|error| error.to_string())
            };
            let _ = own.send(Message::Copied { rollout, result }).await;
        });
        if let Some(before) = self.services[i].docker.copying.replace(task.abort_handle()) {
            before.abort();
        }
    }

    /// The baseline's containers run, or could not be started.
    pub(super) fn copied(&mut self, rollout: i64, result: Result<(), String>) {
        let Some(i) = self.rolls_out(rollout) else {
            return;
        };
        self.services[i].docker.copying = None;
        if let Err(what) = result {
            self.handle_event(i, Event::BaselineLost(what), Clock::now());
        }
    }

    /// Drops a saved baseline that the configuration places elsewhere by now.
    pub(super) fn restart_baseline(&mut self, i: usize, now: Time) {
        if !self.services[i].knows_baseline() {
            let why = "the configuration puts it elsewhere by now".to_owned();
            self.handle_event(i, Event::BaselineLost(why), now);
        }
    }

    /// Reports the change of the baseline by one event; `what` is why it was lost, where the event says so.
    pub(super) fn tell_baseline(&mut self, i: usize, before: Standing, what: Option<String>) {
        let state = &self.services[i];
        let Some(run) = &state.run else { return };
        let after = run.trial.rollout().baseline();
        let text = match (before, after) {
            (Standing::Starting, Standing::Serving) => {
                "the baseline is healthy: it gets as large a share as green".to_owned()
            }
            (Standing::Starting | Standing::Serving, Standing::Lost) => {
                lost(run.trial.rollout(), what)
            }
            _ => return,
        };
        let (service, id) = (state.route.service.clone(), run.saved.id);
        self.timeline
            .tell(&service, Some(id), NoteKind::Health, text);
    }
}

fn lost(rollout: &Rollout, what: Option<String>) -> String {
    let what = what.unwrap_or_else(|| "it was not healthy in time".to_owned());
    let then = match rollout.weight().as_basis_points() {
        0 => "",
        _ => ", the share begins anew with fresh evidence",
    };
    format!(
        "NO BASELINE: {what}; its requests go to blue, and the rollout goes on as with control = \"blue\"{then}"
    )
}
