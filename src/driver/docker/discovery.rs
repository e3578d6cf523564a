//! Services that containers describe by their labels, as users of label-driven proxies expect.

use crate::config::{Labelled, Service};
use crate::core::table::Color;
use crate::driver::docker::container::Container;
use crate::driver::docker::labels::{self, DISCOVERED};
use std::collections::BTreeMap;

/// The services that these containers describe, by name, and the problems of their labels.
pub fn services(containers: &[Container]) -> (Vec<Service>, Vec<String>) {
    let mut by_name: BTreeMap<&str, Vec<&Container>> = BTreeMap::new();
    for container in containers {
        if let Some(name) = container.labels.get(DISCOVERED) {
            by_name.entry(name).or_default().push(container);
        }
    }
    let (mut services, mut troubles) = (vec![], vec![]);
    for (name, members) in by_name {
        match labelled(name, &members).and_then(|labelled| labelled.service()) {
            Ok(service) => services.push(service),
            Err(why) => troubles.push(format!(
                "`{name}` is not served, by the labels of {}: {why}",
                members[0].name
            )),
        }
    }
    (services, troubles)
}

/// The settings of one service from its containers' labels; where they differ, those of the oldest container of blue
/// count.
fn labelled(name: &str, members: &[&Container]) -> Result<Labelled, String> {
    let of = |color: Color| {
        let is = move |one: &&&Container| labels::pool_of(&one.labels) == Some(color);
        members.iter().find(is).copied()
    };
    let (blue, green) = (of(Color::Blue), of(Color::Green));
    let first = blue.or(green).or(members.first().copied());
    let Some(first) = first else {
        return Ok(Labelled::default());
    };
    let label = |key: &str| first.labels.get(&format!("shifter.{key}")).cloned();
    Ok(Labelled {
        name: name.to_owned(),
        hosts: label("hosts"),
        paths: label("paths"),
        health: label("health"),
        protocol: label("protocol"),
        network: label("network"),
        ports: [
            Some(port(blue.unwrap_or(first))?),
            green.map(port).transpose()?,
        ],
    })
}

/// The port by its label, else the only exposed one.
fn port(container: &Container) -> Result<u16, String> {
    let name = &container.name;
    match (
        container.labels.get("shifter.port"),
        container.ports.as_slice(),
    ) {
        (Some(text), _) => match text.trim().parse() {
            Ok(port) if port > 0 => Ok(port),
            _ => Err(format!(
                "shifter.port of {name} is \"{text}\", and a port is 1 to 65535"
            )),
        },
        (None, [port]) => Ok(*port),
        (None, ports) => Err(format!(
            "{name} exposes {} ports, and not one: say which one serves, with the label shifter.port=3000",
            ports.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Containers, Find, PoolSpec};
    use crate::driver::docker::container::State;

    /// A container with these labels, given as `key=value` without `shifter.`.
    fn container(name: &str, own: &[&str], ports: &[u16]) -> Container {
        let labels = own.iter().map(|label| {
            let (key, value) = label.split_once('=').expect("a label");
            (format!("shifter.{key}"), value.to_owned())
        });
        Container {
            id: name.to_owned(),
            name: name.to_owned(),
            image: "app:1".to_owned(),
            started_at: "T1".to_owned(),
            finished_at: String::new(),
            state: State::Running,
            labels: labels.collect(),
            restart: String::new(),
            memory: 0,
            stop_timeout: None,
            ports: ports.to_vec(),
            mode: String::new(),
            starved: false,
            unchecked: false,
            addresses: vec![],
            unread: None,
        }
    }

    fn pool(color: Color, port: u16) -> PoolSpec {
        PoolSpec::Containers(Containers {
            find: Find::Pool("api".to_owned(), color),
            port,
            network: None,
        })
    }

    #[test]
    fn one_label_and_one_port_are_enough() {
        let (services, troubles) = services(&[container("a1", &["service=api"], &[3000])]);
        assert_eq!(troubles, [""; 0]);
        assert_eq!(services[0].blue, pool(Color::Blue, 3000));
        assert_eq!(services[0].green, None);
    }

    #[test]
    fn green_is_a_pool_of_its_own_and_copies_are_none() {
        let mut copy = container("api-7", &["service=api", "port=1"], &[]);
        copy.labels
            .insert(labels::MANAGED.to_owned(), "true".to_owned());
        let green = container("g1", &["service=api", "pool=green", "port=3001"], &[]);
        let blue = container("b1", &["service=api", "hosts=a.b"], &[80]);
        let (services, troubles) = services(&[copy, green, blue]);
        assert_eq!(troubles, [""; 0]);
        assert_eq!(services[0].blue, pool(Color::Blue, 80));
        assert_eq!(services[0].green, Some(pool(Color::Green, 3001)));
        assert_eq!(services[0].hosts[0].to_string(), "a.b");
    }

    #[test]
    fn a_label_that_cannot_be_understood_is_told_and_hurts_nobody_else() {
        let cases: [(&[&str], &[u16], &str); 4] = [
            (&["service=api"], &[], "0 ports"),
            (&["service=api"], &[80, 81], "2 ports"),
            (&["service=api", "port=http"], &[80], "\"http\""),
            (&["service=A b"], &[80], "cannot name a service"),
        ];
        for (own, ports, said) in cases {
            let all = [
                container("c1", own, ports),
                container("w1", &["service=web"], &[80]),
            ];
            let (services, troubles) = services(&all);
            assert_eq!(services.len(), 1);
            assert!(
                troubles[0].contains(said) && troubles[0].contains("c1"),
                "{troubles:?}"
            );
        }
    }
}
