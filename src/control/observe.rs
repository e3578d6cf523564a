//! Updates of the engine: observed containers become pools, and services by label come and change.
//!
//! Nothing here decides about a rollout: the state machine gets observations as events.

use crate::control::controller::Controller;
use crate::control::docker::discovery;
use crate::control::report::entry::Entry;
use crate::control::service::identity;
use crate::control::service::state::ServiceState;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::driver::docker::Container;
use crate::driver::docker::watcher::{ContainerUpdate, Found};
use crate::store::{Clock, NoteKind};

impl Controller {
    /// Looks for the containers once before any listener opens, so that the first request finds its pool.
    pub async fn locate(&mut self) {
        if self.config.docker.discovery {
            let news = self.watcher.look_for_labels().await;
            self.on_docker_update(news, Clock::now());
        }
        self.want();
        if let Some(news) = self.watcher.look_for_pools().await {
            self.on_docker_update(news, Clock::now());
        }
        self.show();
    }

    /// Tells the watcher which containers to look for.
    pub(super) fn want(&self) {
        let targets = |state: &ServiceState| state.watch_targets(&self.context);
        let pools = self.services.iter().flat_map(targets).collect();
        self.watcher.watch(pools, self.config.docker.discovery);
    }

    /// Takes an update: observed containers, or that there are none to observe.
    pub(super) fn on_docker_update(&mut self, news: ContainerUpdate, now: Time) {
        match news {
            ContainerUpdate::Lost(why) => {
                let lost = self.watcher.lose(why);
                self.tell_process(lost);
            }
            ContainerUpdate::Labelled(containers) => {
                let version = self.watcher.version();
                self.tell_process(version);
                self.discover(&containers);
            }
            ContainerUpdate::Seen(found) => {
                let answers = self.watcher.answers();
                self.tell_process(answers);
                self.place(found, now);
            }
        }
        self.metrics
            .docker_connected
            .set(i64::from(self.watcher.lost.is_none()));
    }

    fn place(&mut self, found: Vec<Found>, now: Time) {
        let (mut changed, mut seen) = (vec![], vec![]);
        for found in found {
            let Some(i) = self.service_named(&found.want.service) else {
                continue;
            };
            let state = &mut self.services[i];
            if let Some(other) = state.settle_baseline(&self.context, &found) {
                changed.extend(other.then_some(i));
                continue;
            }
            // Other containers may be wanted by now.
            let Some(place) = state.place_of(&self.context, &found) else {
                continue;
            };
            if state.promoted_is_gone(&place, &found) && self.forget_promoted(i) {
                continue;
            }
            seen.push((i, found.want.color));
            let settled = self.services[i].take_containers(&place, found);
            changed.extend(settled.changed.then_some(i));
            self.tell_all(i, settled.entries);
        }
        if !changed.is_empty() {
            self.publish();
        }
        self.trust(&seen);
        for i in changed {
            if self.services[i].remember() {
                self.save_service(i);
            }
        }
        for i in 0..self.services.len() {
            if self.services[i].docker.restart_due {
                self.restart_where_seen(i, now);
            }
        }
    }

    fn trust(&mut self, seen: &[(usize, Color)]) {
        let snapshot = self.board.snapshot();
        for &(i, color) in seen {
            if let Some(published) = snapshot.services.get(i) {
                identity::trust(&mut self.services[i], published, color);
            }
        }
    }

    /// The promoted containers are gone: blue is again what the file names. False where that cannot be recorded.
    fn forget_promoted(&mut self, i: usize) -> bool {
        let saved = std::mem::take(&mut self.services[i].saved.running);
        if !self.save_service(i) {
            self.services[i].saved.running = saved;
            return false;
        }
        let text = "the container that was promoted is not there any more; blue is again what the configuration names";
        self.tell(i, Entry::of_service(NoteKind::Trouble, text));
        self.want();
        true
    }

    /// Takes the services that containers describe by their labels.
    fn discover(&mut self, containers: &[Container]) {
        let mut discovered = std::mem::take(&mut self.discovered);
        let (new, troubles) = discovered.take(containers, &self.file, |name| self.is_busy(name));
        self.discovered = discovered;
        self.tell_process(troubles);
        if new.services == self.config.services {
            return;
        }
        let found = discovery::found(&new, &self.config);
        self.serve(new);
        for (service, entry) in found {
            self.timeline.tell(&service, None, entry.kind, entry.text);
        }
    }

    /// Whether a labelled service has containers, as far as they were looked at, or is in use.
    pub(super) fn is_still_there(&self, service: &str) -> bool {
        let Some(i) = self.service_named(service) else {
            return true;
        };
        self.is_busy(service) || self.services[i].docker.may_be_there()
    }

    fn is_busy(&self, service: &str) -> bool {
        let run = self
            .service_named(service)
            .and_then(|i| self.services[i].run.as_ref());
        run.is_some() || self.is_drilled(service)
    }
}
