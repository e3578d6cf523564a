//! The baseline of a rollout: started with green, watched, and released. [`core::baseline`] explains its purpose.
//!
//! [`core::baseline`]: crate::core::baseline

use crate::config::PoolSpec;
use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::baseline::Standing;
use crate::core::rollout::{Event, Rollout};
use crate::core::table::Pool;
use crate::core::time::Time;
use crate::driver::docker::pools::{self, Target};
use crate::driver::docker::watcher::{Found, Selector};
use crate::driver::docker::{Container, State};
use crate::driver::static_pools;
use crate::store::NoteKind;
use crate::store::shared_state::{BackendState, Health, PublishedService};
use crate::store::window::Reading;

impl ServiceState {
    /// The event for the state machine that follows from the checks of the baseline.
    pub(in crate::control) fn baseline_event(
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
    pub(in crate::control) fn freeze_fairly(&mut self, reading: &Reading) -> bool {
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
    pub(in crate::control) fn drop_baseline(&mut self) {
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
}

/// The methods for baselines in containers.
impl ServiceState {
    /// Whether a baseline exists, or is being created.
    pub(in crate::control) fn has_baseline(&self) -> bool {
        let run = self.run.as_ref();
        run.is_some_and(|run| run.trial.rollout().baseline().present())
    }

    /// Where to find the containers of the baseline, while there is one.
    pub(in crate::control) fn baseline_place(&self, context: &TaskContext) -> Option<Target> {
        let (run, PoolSpec::Containers(blue)) = (self.run.as_ref()?, &self.settings.blue) else {
            return None;
        };
        let owner = context
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
    pub(in crate::control) fn settle_baseline(
        &mut self,
        context: &TaskContext,
        found: &Found,
    ) -> Option<bool> {
        let place = self.baseline_place(context)?;
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

impl ServiceState {
    /// Takes the baseline that already runs at an address of its own, where there is one; the line on its start.
    pub(in crate::control) fn begin_baseline(&mut self) -> Option<Entry> {
        self.run.as_ref()?;
        if self.route.baseline.is_none() {
            self.route.baseline = static_pools::baseline(&self.settings);
        }
        let at = self.route.baseline.as_ref();
        let at = at.map_or_else(String::new, |pool| format!(" at {}", pool.release));
        let text = format!(
            "green's latency is compared with a baseline, a fresh copy of blue's release ({}){at}",
            self.route.blue.release
        );
        Some(Entry::new(NoteKind::Phase, text))
    }

    /// The loss of a saved baseline that the configuration places elsewhere by now.
    pub(in crate::control) fn misplaced_baseline(&self) -> Option<Event> {
        let why = "the configuration puts it elsewhere by now";
        (!self.knows_baseline()).then(|| Event::BaselineLost(why.to_owned()))
    }
}

/// The line on the change of the baseline by one event; `what` is why it was lost, where the event says so.
pub(in crate::control) fn change(
    before: Standing,
    rollout: &Rollout,
    what: Option<String>,
) -> Option<Entry> {
    let text = match (before, rollout.baseline()) {
        (Standing::Starting, Standing::Serving) => {
            "the baseline is healthy: it gets as large a share as green".to_owned()
        }
        (Standing::Starting | Standing::Serving, Standing::Lost) => lost(rollout, what),
        _ => return None,
    };
    Some(Entry::new(NoteKind::Health, text))
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
