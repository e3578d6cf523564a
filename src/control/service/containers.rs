//! A service with pools of containers: which containers, and how they become its entry in the table.

use crate::config::{Ask, PoolSpec};
use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::phase::Phase;
use crate::core::plan::{Plan, Step};
use crate::core::rollout::Event;
use crate::core::table::Color;
use crate::core::weight::Weight;
use crate::driver::docker::members;
use crate::driver::docker::pools::{self, Target};
use crate::driver::docker::watcher::{Found, Selector, WatchTarget};
use crate::driver::docker::{Container, State};
use crate::driver::static_pools;
use crate::store::NoteKind;
use std::net::SocketAddr;
use std::time::Duration;

/// What observed containers of one pool come to.
#[derive(Debug, Default, PartialEq)]
pub(in crate::control) struct Settled {
    /// The table changes by it.
    pub(in crate::control) changed: bool,
    /// Problems that were not told yet, and that blue is back.
    pub(in crate::control) entries: Vec<Entry>,
}

impl ServiceState {
    /// Whether the service's pools are containers.
    pub fn is_docker(&self) -> bool {
        matches!(self.settings.blue, PoolSpec::Containers(_))
    }

    /// The network in the file by which the containers are reached.
    pub(in crate::control) fn network(&self) -> Option<String> {
        match &self.settings.blue {
            PoolSpec::Containers(blue) => blue.network.clone(),
            _ => None,
        }
    }

    /// Green's addresses.
    pub(in crate::control) fn green_addresses(&self) -> Vec<SocketAddr> {
        let green = self.route.green.iter().flat_map(|pool| &pool.backends);
        green.map(|backend| backend.addr).collect()
    }

    /// The network by which green is reached: the one in the file, else green's first.
    pub(in crate::control) fn network_of_green(&self) -> Option<String> {
        let first = || {
            let green = self.docker.containers[Color::Green.index()].as_ref()?;
            let (network, _) = green.first()?.addresses.first()?;
            Some(network.clone())
        };
        self.network().or_else(first)
    }

    /// Where to find the service's containers; `None` for fixed addresses.
    pub(in crate::control) fn places(&self, context: &TaskContext) -> Option<[Option<Target>; 2]> {
        let made = self.run.as_ref().filter(|run| run.image.is_some());
        let owner = made.map(|run| context.owner(&self.route.service, run.saved.id));
        pools::places(&self.settings, &self.saved.running, owner.as_ref())
    }

    /// The pools of this service that the engine is asked for.
    pub(in crate::control) fn watch_targets(&self, context: &TaskContext) -> Vec<WatchTarget> {
        let target = |color: Color, place: Target| WatchTarget {
            service: self.route.service.clone(),
            color,
            by: place.by,
        };
        let pools = self.places(context).into_iter().flatten();
        let pools = Color::BOTH.into_iter().zip(pools);
        let pools = pools.filter_map(|(color, place)| Some(target(color, place?)));
        let baseline = self.baseline_place(context);
        pools
            .chain(baseline.map(|place| target(Color::Blue, place)))
            .collect()
    }

    /// Where a pool's containers are, if they are still the ones that were looked for.
    pub(in crate::control) fn place_of(
        &self,
        context: &TaskContext,
        found: &Found,
    ) -> Option<Target> {
        let [blue, green] = self.places(context)?;
        let place = match found.want.color {
            Color::Blue => blue,
            Color::Green => green,
        };
        place.filter(|place| place.by == found.want.by)
    }

    /// Whether the promoted containers were removed from outside.
    pub(in crate::control) fn promoted_is_gone(&self, place: &Target, found: &Found) -> bool {
        found.want.color == Color::Blue
            && found.containers.is_empty()
            && matches!(place.by, Selector::Ids(_))
            && self.run.is_none()
    }

    /// Takes the observed containers of a pool, with what is to be told of them.
    pub(in crate::control) fn take_containers(&mut self, place: &Target, found: Found) -> Settled {
        let color = found.want.color;
        let alone = color == Color::Blue && self.run.is_none();
        let was_gone = alone && self.docker.fallen[color.index()].is_some();
        let changed = self.settle(color, place, found);
        let back = was_gone && self.docker.fallen[color.index()].is_none();
        let troubles = self.new_troubles(color, place).into_iter();
        let mut entries: Vec<Entry> = troubles
            .map(|text| Entry::new(NoteKind::Trouble, text))
            .collect();
        if back {
            entries.push(Entry::new(NoteKind::State, "a container of it runs again"));
        }
        Settled { changed, entries }
    }

    /// Takes blue's address and Compose project, for a start without an answer from Docker or with several projects;
    /// true when they are new and have to be recorded.
    pub(in crate::control) fn remember(&mut self) -> bool {
        let blue = &self.route.blue;
        let project = self.project().or_else(|| self.saved.project.clone());
        let known = self.saved.known.as_ref() == Some(blue) && self.saved.project == project;
        if self.run.is_some() || blue.backends.is_empty() || known {
            return false;
        }
        self.saved.known = Some(blue.clone());
        self.saved.project = project;
        true
    }

    /// The event for the state machine when it becomes known or unknown what runs; `lost` while the engine is silent.
    pub(in crate::control) fn blindness(&self, context: &TaskContext, lost: bool) -> Option<Event> {
        let run = self.run.as_ref()?;
        let blind = self.is_docker() && (lost || !self.sighted(context));
        // A green that is still to be created cannot be seen, and is not missed.
        let starting = run.trial.rollout().step() == Some(&Step::Start) && !lost;
        let blind = blind && !starting;
        (run.trial.rollout().blind() != blind).then_some(Event::Blind(blind))
    }

    /// The container name of a backend.
    pub(in crate::control) fn container_of(&self, color: Color, backend: &str) -> Option<String> {
        let mut seen = self.docker.containers[color.index()].iter().flatten();
        let found = seen.find(|container| pools::identity(container) == backend)?;
        Some(found.name.clone())
    }

    /// Whether every pool that is wanted has been seen.
    pub(in crate::control) fn sighted(&self, context: &TaskContext) -> bool {
        let places = self.places(context).into_iter().flatten();
        places
            .zip(&self.docker.containers)
            .all(|(place, seen)| place.is_none() || seen.is_some())
    }

    /// Takes the observed containers of a pool; true when the table changes by it.
    pub(in crate::control) fn settle(
        &mut self,
        color: Color,
        place: &Target,
        found: Found,
    ) -> bool {
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
    pub(in crate::control) fn same_as_before(&mut self) -> bool {
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
    pub(in crate::control) fn new_troubles(&mut self, color: Color, place: &Target) -> Vec<String> {
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
    pub(in crate::control) fn project(&self) -> Option<String> {
        let blue = self.docker.containers[Color::Blue.index()].as_deref()?;
        match members::projects(blue).as_slice() {
            [project] => Some((*project).to_owned()),
            _ => None,
        }
    }

    /// Ids of the containers of a green with the whole share, while blue is kept warm.
    pub(in crate::control) fn promoted_containers(&self) -> Vec<String> {
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
    pub(in crate::control) fn serving(&self) -> Vec<String> {
        let blue = self.docker.containers[Color::Blue.index()].iter().flatten();
        let mut ids: Vec<String> = blue.map(|container| container.id.clone()).collect();
        ids.extend(self.saved.running.iter().cloned());
        ids
    }

    /// The plan for a service's first version: there is no version to compare with, so it is checked, and serves.
    pub(in crate::control) fn first_plan(mut plan: Plan) -> Plan {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{CONTAINERS, Fixture, container, running, texts};
    use crate::core::time::Time;
    use serde_json::json;

    /// Takes these containers as the pool's, as the engine would name them.
    fn take(fixture: &mut Fixture, color: Color, containers: Vec<Container>) -> Settled {
        let targets = fixture.state.watch_targets(&fixture.context);
        let target = targets.into_iter().find(|target| target.color == color);
        let found = Found {
            want: target.expect("a target"),
            containers,
            began: std::time::Instant::now(),
        };
        let place = fixture.state.place_of(&fixture.context, &found);
        fixture
            .state
            .take_containers(&place.expect("a place"), found)
    }

    fn exited(id: &str) -> Container {
        container(
            id,
            json!({ "Running": false, "ExitCode": 1, "StartedAt": "now" }),
        )
    }

    #[test]
    fn blue_without_a_rollout_falls_and_comes_back() {
        let mut fixture = Fixture::at_rest(CONTAINERS);
        let settled = take(&mut fixture, Color::Blue, vec![running("one")]);
        assert_eq!((settled.changed, settled.entries.len()), (true, 0));
        let settled = take(&mut fixture, Color::Blue, vec![running("one")]);
        assert_eq!(settled, Settled::default(), "nothing new");
        let settled = take(&mut fixture, Color::Blue, vec![exited("one")]);
        assert!(settled.changed && texts(&settled.entries)[0].starts_with("blue's container one"));
        let settled = take(&mut fixture, Color::Blue, vec![exited("one")]);
        assert_eq!(settled, Settled::default(), "told once");
        let settled = take(&mut fixture, Color::Blue, vec![running("one")]);
        assert_eq!(texts(&settled.entries), ["a container of it runs again"]);
    }

    #[test]
    fn what_is_remembered_of_blue_is_recorded_once_and_not_in_a_rollout() {
        let mut fixture = Fixture::at_rest(CONTAINERS);
        assert!(!fixture.state.remember(), "nothing was seen");
        take(&mut fixture, Color::Blue, vec![running("one")]);
        assert!(fixture.state.remember());
        assert!(!fixture.state.remember());
        let mut rolling = Fixture::shifting(CONTAINERS, Time(0));
        take(&mut rolling, Color::Blue, vec![running("one")]);
        assert!(!rolling.state.remember());
    }

    #[test]
    fn the_state_machine_is_blind_while_the_engine_or_a_pool_is_not_seen() {
        let mut fixture = Fixture::starting(CONTAINERS);
        let blindness = |fixture: &Fixture, lost| fixture.state.blindness(&fixture.context, lost);
        assert_eq!(
            blindness(&fixture, false),
            None,
            "green is still to be made"
        );
        assert_eq!(blindness(&fixture, true), Some(Event::Blind(true)));
        fixture.drive(Event::Ready, Time(0));
        assert_eq!(blindness(&fixture, false), Some(Event::Blind(true)));
        take(&mut fixture, Color::Blue, vec![running("one")]);
        assert_eq!(blindness(&fixture, false), None);
        fixture.drive(Event::Blind(true), Time(1));
        assert_eq!(blindness(&fixture, true), None, "it knows");
        assert_eq!(blindness(&fixture, false), Some(Event::Blind(false)));
    }

    #[test]
    fn a_green_of_which_a_container_fell_has_fallen() {
        let place = |fixture: &Fixture| {
            let [blue, _] = fixture.state.places(&fixture.context).expect("places");
            blue.expect("a place")
        };
        let mut fixture = Fixture::shifting(CONTAINERS, Time(0));
        let before = [running("a"), running("b")];
        let restarted = container("b", json!({ "Running": true, "StartedAt": "later" }));
        let ill =
            json!({ "Running": true, "StartedAt": "now", "Health": { "Status": "unhealthy" } });
        for (now, words) in [
            (vec![running("a"), running("b")], None),
            (vec![running("a")], Some("green's container b was removed")),
            (
                vec![running("a"), restarted],
                Some("green's container b was restarted"),
            ),
            (
                vec![running("a"), exited("b")],
                Some("green's container b exited"),
            ),
            (
                vec![running("a"), container("b", ill)],
                Some("green's container b"),
            ),
        ] {
            fixture.state.run.as_mut().expect("a rollout").ready = true;
            fixture.state.docker.containers[1] = Some(before.to_vec());
            let fallen = fixture.state.fall(Color::Green, &place(&fixture), &now);
            match words {
                None => assert_eq!(fallen, None),
                Some(words) => assert!(
                    fallen
                        .as_deref()
                        .is_some_and(|told| told.starts_with(words)),
                    "{fallen:?}"
                ),
            }
        }
    }
}
