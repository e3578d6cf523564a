//! Services that containers describe by their labels come and change; the file takes precedence.

use crate::config::{Config, Service};
use crate::control::report::entry::Entry;
use crate::control::report::problems::ReportedProblems;
use crate::driver::docker::{Container, discovery};
use crate::store::NoteKind;

/// The services that containers describe by their labels.
#[derive(Default)]
pub(in crate::control) struct DiscoveredServices {
    known: Vec<Service>,
    told: ReportedProblems,
}

impl DiscoveredServices {
    /// Takes services from labels; returns the configuration of file and labels, and new problems of such labels.
    ///
    /// A service without containers any more stays, without backends, until a reload. A busy one stays as it was: a
    /// rollout keeps the pools that it began with.
    pub(in crate::control) fn take(
        &mut self,
        containers: &[Container],
        file: &Config,
        busy: impl Fn(&str) -> bool,
    ) -> (Config, Vec<Entry>) {
        let (mut services, mut troubles) = discovery::services(containers);
        for known in &self.known {
            match services.iter_mut().find(|one| one.name == known.name) {
                Some(service) if busy(&known.name) => *service = known.clone(),
                Some(_) => {}
                None => services.push(known.clone()),
            }
        }
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let (new, left_out) = file.with(services.clone());
        troubles.extend(left_out);
        self.known = services;
        let fresh = self.told.fresh(troubles).into_iter();
        let entry = |text| Entry::new(NoteKind::Trouble, text);
        (new, fresh.map(entry).collect())
    }

    /// The services that continue under a new file: those that are still there.
    pub(in crate::control) fn still(
        &self,
        file: &Config,
        there: impl Fn(&str) -> bool,
    ) -> Vec<Service> {
        let all = self.known.iter();
        all.filter(|_| file.docker.discovery)
            .filter(|service| there(&service.name))
            .cloned()
            .collect()
    }

    /// Keeps only these services.
    pub(in crate::control) fn keep(&mut self, services: Vec<Service>) {
        self.known = services;
    }
}

/// The lines on services that a new configuration has and the old one had not.
pub(in crate::control) fn found(new: &Config, old: &Config) -> Vec<(String, Entry)> {
    let all = new.services.iter();
    let fresh = all.filter(|one| old.service(&one.name).is_none());
    fresh
        .map(|one| {
            let hosts: Vec<String> = one.hosts.iter().map(ToString::to_string).collect();
            let hosts = hosts.join(", ");
            let text = format!("found by the labels of its containers, for {hosts}");
            (one.name.clone(), Entry::new(NoteKind::Config, text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{running, texts};

    /// A container that describes a service by its labels.
    fn labelled(service: &str, port: &str) -> Container {
        let mut one = running(service);
        let host = format!("{service}.test");
        for (key, value) in [
            ("shifter.service", service),
            ("shifter.hosts", host.as_str()),
            ("shifter.port", port),
        ] {
            one.labels.insert(key.to_owned(), value.to_owned());
        }
        one
    }

    fn file() -> Config {
        let text = "[docker]\ndiscovery = true\n[service.app]\nhosts = [\"app.test\"]\nblue = \"127.0.0.1:1\"\n";
        Config::parse("t.toml", text).expect("a configuration")
    }

    fn names(config: &Config) -> Vec<&str> {
        config
            .services
            .iter()
            .map(|one| one.name.as_str())
            .collect()
    }

    #[test]
    fn services_come_by_their_labels_and_stay_until_a_reload() {
        let (file, mut all) = (file(), DiscoveredServices::default());
        let (new, told) = all.take(&[labelled("api", "80")], &file, |_| false);
        assert_eq!((names(&new), texts(&told)), (vec!["app", "api"], vec![]));
        let lines = found(&new, &file);
        assert_eq!(lines[0].0, "api");
        assert_eq!(
            lines[0].1.text,
            "found by the labels of its containers, for api.test"
        );
        assert_eq!(found(&new, &new), []);
        let (still, _) = all.take(&[], &file, |_| false);
        assert_eq!(names(&still), ["app", "api"]);
        assert_eq!(all.still(&file, |_| true).len(), 1);
        assert_eq!(all.still(&file, |_| false), []);
        all.keep(vec![]);
        let (gone, _) = all.take(&[], &file, |_| false);
        assert_eq!(names(&gone), ["app"]);
    }

    #[test]
    fn a_busy_service_keeps_its_settings() {
        let (file, mut all) = (file(), DiscoveredServices::default());
        let (first, _) = all.take(&[labelled("api", "80")], &file, |_| false);
        let (busy, _) = all.take(&[labelled("api", "81")], &file, |name| name == "api");
        assert_eq!(busy.services, first.services);
        let (free, _) = all.take(&[labelled("api", "81")], &file, |_| false);
        assert_ne!(free.services, first.services);
    }

    #[test]
    fn a_problem_of_labels_is_told_once() {
        let (file, mut all) = (file(), DiscoveredServices::default());
        let bad = [labelled("api", "eighty")];
        let (new, told) = all.take(&bad, &file, |_| false);
        assert_eq!((names(&new), told.len()), (vec!["app"], 1));
        assert_eq!(told[0].kind, NoteKind::Trouble);
        assert_eq!(all.take(&bad, &file, |_| false).1, []);
    }
}
