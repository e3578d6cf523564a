//! Services that containers describe by their labels come and change; the file takes precedence.

use crate::config::{Config, Service};
use crate::control::controller::Controller;
use crate::driver::docker::{Container, discovery};
use crate::store::NoteKind;

impl Controller {
    /// Takes services from labels. A service without containers any more stays, without backends, until a reload.
    pub(super) fn discover(&mut self, containers: &[Container]) {
        let (mut services, mut troubles) = discovery::services(containers);
        for known in &self.watcher.labelled {
            match services.iter_mut().find(|one| one.name == known.name) {
                // A rollout keeps the pools that it began with.
                Some(service) if self.is_busy(&known.name) => *service = known.clone(),
                Some(_) => {}
                None => services.push(known.clone()),
            }
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let (new, left_out) = self.file.with(services.clone());
        troubles.extend(left_out);
        for text in self.watcher.told.fresh(troubles) {
            self.timeline.tell("", None, NoteKind::Trouble, text);
        }
        self.watcher.labelled = services;
        if new.services == self.config.services {
            return;
        }
        let known = |name: &str| self.config.service(name).is_some();
        let fresh = new.services.iter().filter(|one| !known(&one.name));
        let texts = fresh.map(|one| {
            let hosts: Vec<String> = one.hosts.iter().map(ToString::to_string).collect();
            let hosts = hosts.join(", ");
            let text = format!("found by the labels of its containers, for {hosts}");
            (one.name.clone(), text)
        });
        let texts: Vec<(String, String)> = texts.collect();
        self.serve(new);
        for (service, text) in texts {
            self.timeline.tell(&service, None, NoteKind::Config, text);
        }
    }

    /// The labelled services that continue under a new file: those that have containers, as far as they were looked at,
    /// or are in use.
    pub(super) fn still_labelled(&self, file: &Config) -> Vec<Service> {
        let there = |service: &&Service| {
            let Some(i) = self.service_named(&service.name) else {
                return true;
            };
            let seen = &self.services[i].docker.containers;
            let unseen = seen.iter().all(Option::is_none);
            let mut pools = seen.iter().flatten();
            self.is_busy(&service.name) || unseen || pools.any(|pool| !pool.is_empty())
        };
        let all = self.watcher.labelled.iter();
        all.filter(|_| file.docker.discovery)
            .filter(there)
            .cloned()
            .collect()
    }

    fn is_busy(&self, service: &str) -> bool {
        let run = self
            .service_named(service)
            .and_then(|i| self.services[i].run.as_ref());
        let mut drills = self.drills.iter();
        run.is_some() || drills.any(|(drill, _)| drill.service == service)
    }
}
