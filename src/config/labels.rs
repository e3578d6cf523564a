//! A service that a container's labels describe, checked like one of the file.

use crate::config::file::Config;
use crate::config::parse::error::Problem;
use crate::config::parse::raw::Many;
use crate::config::service::containers::{Containers, Find, label};
use crate::config::service::health::RawHealth;
use crate::config::service::pools::PoolSpec;
use crate::config::service::{self, RawService, Service};
use crate::core::table::Color;
use std::collections::HashSet;
use std::path::Path;
use toml::Spanned;

/// A service's settings from labels; everything else is as in a file that does not mention it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labelled {
    /// Its name.
    pub name: String,
    /// The hosts, with commas between them.
    pub hosts: Option<String>,
    /// The path prefixes, with commas between them.
    pub paths: Option<String>,
    /// The path of its health check.
    pub health: Option<String>,
    /// The protocol of its containers, as `protocol` in the file.
    pub protocol: Option<String>,
    /// The network by which its containers are reached.
    pub network: Option<String>,
    /// The ports inside of blue's and of green's containers; `None` where no container has the label.
    pub ports: [Option<u16>; 2],
}

impl Labelled {
    /// The service.
    ///
    /// # Errors
    /// The text says what is wrong with a label, and how to fix it.
    pub fn service(&self) -> Result<Service, String> {
        let text = |text: &String| Spanned::new(0..0, text.clone());
        let list = |all: &String| Many {
            span: 0..0,
            items: all
                .split(',')
                .map(|one| Spanned::new(0..0, one.trim().to_owned()))
                .collect(),
        };
        let pool = |color: Color| {
            self.ports[color.index()].map(|port| {
                PoolSpec::Containers(Containers {
                    find: Find::Pool(self.name.clone(), color),
                    port,
                    network: self.network.clone(),
                })
            })
        };
        let raw = RawService {
            hosts: self.hosts.as_ref().map(list),
            paths: self.paths.as_ref().map(list),
            protocol: self.protocol.as_ref().map(text),
            health: RawHealth {
                path: self.health.as_ref().map(text),
                ..RawHealth::default()
            },
            ..RawService::default()
        };
        if let Some(network) = &self.network {
            label(&text(network), "shifter.network").map_err(words)?;
        }
        let blue = pool(Color::Blue).or_else(|| pool(Color::Green));
        let pools = (
            blue.ok_or("no container of it is there")?,
            pool(Color::Green),
        );
        service::of_pools(&text(&self.name), &raw, pools, Path::new("")).map_err(words)
    }
}

fn words(problem: Problem) -> String {
    format!("{} ({})", problem.what, problem.help)
}

impl Config {
    /// This configuration with more services; those in the file, with their hosts and paths, take precedence.
    ///
    /// The second value names the services that were left out, and says why.
    pub fn with(&self, more: Vec<Service>) -> (Config, Vec<String>) {
        let (mut all, mut left_out) = (self.clone(), vec![]);
        let mut taken = HashSet::new();
        let routes = |service: &Service| {
            let hosts = service.hosts.iter().cloned();
            let paths = service.paths.clone();
            let pairs = hosts.flat_map(move |host| {
                let paths = paths.clone();
                paths.into_iter().map(move |path| (host.clone(), path))
            });
            pairs.collect::<Vec<_>>()
        };
        taken.extend(self.services.iter().flat_map(routes));
        for service in more {
            let name = &service.name;
            if self.service(name).is_some() {
                left_out.push(format!(
                    "`{name}` is in the configuration file; the labels that describe it too are not used"
                ));
                continue;
            }
            let wanted = routes(&service);
            if let Some((host, path)) = wanted.iter().find(|route| taken.contains(*route)) {
                left_out.push(format!(
                    "`{name}` is not served: host {host} with path {path} is another service's. Give its container the label shifter.hosts or shifter.paths"
                ));
                continue;
            }
            taken.extend(wanted);
            all.services.push(service);
        }
        (all, left_out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::service::hosts::Host;

    fn labelled(name: &str, hosts: &str) -> Labelled {
        Labelled {
            name: name.to_owned(),
            hosts: Some(hosts.to_owned()),
            ports: [Some(3000), None],
            ..Labelled::default()
        }
    }

    #[test]
    fn a_service_by_labels_is_as_one_in_a_file() {
        let by_label = labelled("api", "a.example.com, *.example.org").service();
        let by_label = by_label.expect("a service");
        let text = "[service.api]\nhosts = [\"a.example.com\", \"*.example.org\"]\nblue = { label = \"x\", port = 3000 }\n";
        let mut by_file = Config::parse("t.toml", text).expect("a configuration");
        let mut by_file = by_file.services.remove(0);
        by_file.blue = by_label.blue.clone();
        assert_eq!(by_label, by_file);
        assert_eq!(by_label.hosts[1], Host::Below(".example.org".to_owned()));
    }

    #[test]
    fn what_is_wrong_with_a_label_is_said() {
        let wrong = labelled("api", "exa mple").service().expect_err("a space");
        assert!(
            wrong.contains("exa mple") && wrong.contains("api.example.com"),
            "{wrong}"
        );
        let wrong = labelled("API!", "a").service().expect_err("a name");
        assert!(wrong.contains("cannot name a service"), "{wrong}");
    }

    #[test]
    fn the_file_wins() {
        let file = "[service.api]\nhosts = [\"a.example.com\"]\nblue = \"127.0.0.1:1\"\n";
        let file = Config::parse("t.toml", file).expect("a configuration");
        let more = [
            "api b.example.com",
            "web a.example.com",
            "docs d.example.com",
            "late d.example.com",
        ];
        let more = more.map(|line| {
            let (name, host) = line.split_once(' ').expect("two words");
            labelled(name, host).service().expect("a service")
        });
        let (all, left_out) = file.with(more.to_vec());
        let names: Vec<&str> = all.services.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["api", "docs"]);
        assert_eq!(all.services[0], file.services[0]);
        assert_eq!(left_out.len(), 3, "{left_out:?}");
        assert!(left_out[1].contains("a.example.com") && left_out[1].contains("shifter.hosts"));
    }
}
