//! A service with pools of containers: which containers, and how they become its entry in the table.

use crate::config::{Ask, PoolSpec};
use crate::control::docker_watcher::DockerWatcher;
use crate::control::service_state::ServiceState;
use crate::core::phase::Phase;
use crate::core::plan::{Plan, Step};
use crate::core::table::Color;
use crate::core::weight::Weight;
use crate::driver::docker::members;
use crate::driver::docker::pools::{self, Target};
use crate::driver::docker::watcher::Found;
use crate::driver::docker::{Container, State};
use crate::driver::static_pools;
use std::time::Duration;

impl ServiceState {
    /// Whether the service's pools are containers.
    pub fn is_docker(&self) -> bool {
        matches!(self.settings.blue, PoolSpec::Containers(_))
    }

    /// The network in the file by which the containers are reached.
    pub(super) fn network(&self) -> Option<String> {
        match &self.settings.blue {
            PoolSpec::Containers(blue) => blue.network.clone(),
            _ => None,
        }
    }

    /// Where to find the service's containers; `None` for fixed addresses.
    pub(super) fn places(&self, watcher: &DockerWatcher) -> Option<[Option<Target>; 2]> {
        let made = self.run.as_ref().filter(|run| run.image.is_some());
        let owner = made.map(|run| watcher.owner(&self.route.service, run.saved.id));
        pools::places(&self.settings, &self.saved.running, owner.as_ref())
    }

    /// The container name of a backend.
    pub(super) fn container_of(&self, color: Color, backend: &str) -> Option<String> {
        let mut seen = self.docker.containers[color.index()].iter().flatten();
        let found = seen.find(|container| pools::identity(container) == backend)?;
        Some(found.name.clone())
    }

    /// Whether every pool that is wanted has been seen.
    pub(super) fn sighted(&self, watcher: &DockerWatcher) -> bool {
        let places = self.places(watcher).into_iter().flatten();
        places
            .zip(&self.docker.containers)
            .all(|(place, seen)| place.is_none() || seen.is_some())
    }

    /// Takes the observed containers of a pool; true when the table changes by it.
    pub(super) fn settle(&mut self, color: Color, place: &Target, found: Found) -> bool {
        let green = self.route.green.as_ref();
        let release = match color {
            Color::Blue => self.route.blue.release.clone(),
            Color::Green => green.map_or_else(String::new, |pool| pool.release.clone()),
        };
        let before = self.docker.containers[color.index()].as_deref();
        let before = before.unwrap_or_default();
        let containers = members::as_last_seen(found.containers, before);
        let containers = self
            .docker
            .moving
            .as_before(found.began, containers, before);
        let served = self.saved.project.as_deref();
        let (containers, mixed) = members::of_one_project(&place.by, containers, served);
        self.docker.mixed[color.index()] = mixed;
        let pool = pools::pool(place, &containers, &release);
        self.docker.fallen[color.index()] = self.fall(color, place, &containers);
        self.docker.containers[color.index()] = Some(containers);
        let present = match color {
            Color::Blue => &mut self.route.blue,
            Color::Green => match &mut self.route.green {
                // A slot that waits for its rollout is watched, and not routed to.
                Some(green) if self.run.is_some() => green,
                _ => return false,
            },
        };
        let changed = *present != pool;
        *present = pool;
        changed
    }

    /// Why a pool has ended, as far as the engine says.
    fn fall(&self, color: Color, place: &Target, containers: &[Container]) -> Option<String> {
        let unreachable = pools::unreachable(place, containers);
        let serving = containers.iter().filter(|one| one.state.serves()).count();
        if serving > 0 && unreachable.len() == serving {
            // For blue this is reported when it is found; for green it is the reason of the rollback.
            return unreachable.into_iter().next();
        }
        if color == Color::Blue {
            return (serving == 0).then(|| ended(color, containers));
        }
        let run = self.run.as_ref()?;
        // A promoted version may be restarted, as blue may.
        if *run.trial.rollout().phase() == Phase::Promoted {
            return (serving == 0).then(|| ended(color, containers));
        }
        let before = self.docker.containers[color.index()].iter().flatten();
        let mut before = before.filter(|container| container.state.serves());
        // The container was restarted, or is gone.
        let lost = before.find(|old| {
            let now = containers.iter().find(|now| now.id == old.id);
            now.is_none_or(|now| now.started_at != old.started_at)
        });
        if let Some(lost) = lost {
            let how = match containers.iter().find(|now| now.id == lost.id) {
                Some(now) if now.state.fallen() => now.state.to_string(),
                Some(_) => "was restarted".to_owned(),
                None => "was removed".to_owned(),
            };
            return Some(format!("{}'s container {} {how}", Color::Green, lost.name));
        }
        let fallen = containers.iter().find(|container| container.state.fallen());
        let ill = containers
            .iter()
            .find(|container| run.ready && matches!(container.state, State::Unhealthy { .. }));
        fallen
            .or(ill)
            .map(|one| format!("{}'s container {} {}", Color::Green, one.name, one.state))
    }

    /// Whether a rollout that was under way finds the backends of its last state.
    pub(super) fn same_as_before(&mut self) -> bool {
        if !self.is_docker() {
            let (blue, green) = static_pools::pools(&self.settings, &self.saved.running);
            return self.route.blue == blue && self.route.green == green;
        }
        let Some([blue, green]) = self.docker.resumed.take() else {
            return true;
        };
        // Blue may have been restarted and is still blue; a restarted green is not the one that was judged.
        let same_green = self.route.weight == Weight::NONE
            || self
                .route
                .green
                .as_ref()
                .is_some_and(|present| pools::same(present, &green, true));
        pools::same(&self.route.blue, &blue, false) && same_green
    }

    /// Whether all of green's containers exist and are healthy, as far as the engine knows.
    ///
    /// Where the service has a check of its own, this does not wait for the engine's check: Podman without
    /// systemd never starts it.
    pub fn green_is_well(&self) -> bool {
        if !self.is_docker() {
            return true;
        }
        let Some(run) = &self.run else { return false };
        let asked = run.settings.health.ask != Ask::Connect;
        let well = |one: &Container| match one.state {
            State::Running => true,
            State::Starting => asked && one.unchecked,
            _ => false,
        };
        let containers = self.docker.containers[Color::Green.index()].as_deref();
        containers.is_some_and(|all| all.len() >= run.members && all.iter().all(well))
    }

    /// Problems of a pool's containers that were not reported yet.
    pub(super) fn new_troubles(&mut self, color: Color, place: &Target) -> Vec<String> {
        let seen = self.docker.containers[color.index()].as_deref();
        let seen = seen.unwrap_or_default();
        let mut troubles = pools::unreachable(place, seen);
        troubles.extend(members::troubles(seen));
        troubles.extend(self.docker.mixed[color.index()].clone());
        // Users and checks may notice an end before the engine reports it: then this is the reason.
        let lost = match &self.run {
            Some(run) => run.lost[color.index()],
            None => color == Color::Blue,
        };
        if lost {
            troubles.extend(self.docker.fallen[color.index()].clone());
        }
        self.docker.untold(color, troubles)
    }

    /// The Compose project of blue's containers, where they belong to one.
    pub(super) fn project(&self) -> Option<String> {
        let blue = self.docker.containers[Color::Blue.index()].as_deref()?;
        match members::projects(blue).as_slice() {
            [project] => Some((*project).to_owned()),
            _ => None,
        }
    }

    /// Ids of the containers of a green with the whole share, while blue is kept warm.
    pub(super) fn promoted_containers(&self) -> Vec<String> {
        let made = self.run.as_ref().filter(|run| run.image.is_some());
        let promoted = made.is_some_and(|run| *run.trial.rollout().phase() == Phase::Promoted);
        let green = self.docker.containers[Color::Green.index()]
            .iter()
            .flatten();
        let ids = green
            .filter(|_| promoted)
            .map(|container| container.id.clone());
        ids.collect()
    }

    /// Ids of the serving containers.
    pub(super) fn serving(&self) -> Vec<String> {
        let blue = self.docker.containers[Color::Blue.index()].iter().flatten();
        let mut ids: Vec<String> = blue.map(|container| container.id.clone()).collect();
        ids.extend(self.saved.running.iter().cloned());
        ids
    }

    /// The plan for a service's first version: there is no version to compare with, so it is checked, and serves.
    pub(super) fn first_plan(mut plan: Plan) -> Plan {
        plan.steps
            .retain(|step| !matches!(step, Step::Shift { .. }));
        plan.keep_blue = Duration::ZERO;
        plan.drain = Duration::ZERO;
        plan.baseline = false;
        plan
    }
}

fn ended(color: Color, containers: &[Container]) -> String {
    match containers.first() {
        Some(one) => format!("{color}'s container {} {}", one.name, one.state),
        None => format!("{color} has no container"),
    }
}
