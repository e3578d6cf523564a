//! The containers of blue and green, and their pools: from the file and the saved state.

use crate::config::{Containers, Find, PoolSpec, Service};
use crate::core::table::{Backend, Pool};
use crate::driver::docker::container::Container;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::members;
use crate::driver::docker::watcher::Selector;

/// The containers of one pool, and how to reach them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How they are found.
    pub by: Selector,
    /// The port inside the container.
    pub port: u16,
    /// The network; `None`: any.
    pub network: Option<String>,
}

/// Digits of the short form of a container's id.
const SHORT_ID: usize = 12;

/// Blue and green of a service: `running` is what was promoted, empty when the file's blue serves; `made`
/// is the rollout that creates green. `None` for a service of fixed addresses.
pub fn places(
    service: &Service,
    running: &[String],
    made: Option<&Owner>,
) -> Option<[Option<Target>; 2]> {
    let PoolSpec::Containers(blue) = &service.blue else {
        return None;
    };
    let slot = match &service.green {
        Some(PoolSpec::Containers(green)) if swapped(service, running) => {
            return Some([Some(place(green)), Some(place(blue))]);
        }
        Some(PoolSpec::Containers(green)) => Some(place(green)),
        _ => None,
    };
    let reached = |by| Target {
        by,
        port: blue.port,
        network: blue.network.clone(),
    };
    let serving = if running.is_empty() {
        place(blue)
    } else {
        reached(Selector::Ids(running.to_vec()))
    };
    let green = made.map(|owner| reached(Selector::Labels(owner.selector())));
    Some([Some(serving), slot.or(green)])
}

/// The state to save when green's `containers` serve from now on: ids, or the slot in the file.
pub fn running(service: &Service, before: &[String], containers: &[Container]) -> Vec<String> {
    match &service.green {
        Some(green @ PoolSpec::Containers(_)) if !swapped(service, before) => {
            vec![green.to_string()]
        }
        Some(PoolSpec::Containers(_)) => vec![],
        _ => containers
            .iter()
            .map(|container| container.id.clone())
            .collect(),
    }
}

/// Whether the slot that the file calls green serves.
fn swapped(service: &Service, running: &[String]) -> bool {
    service
        .green
        .as_ref()
        .is_some_and(|green| running == [green.to_string()])
}

fn place(spec: &Containers) -> Target {
    Target {
        by: match &spec.find {
            Find::Names(names) => Selector::Names(names.clone()),
            Find::Labels(labels) => Selector::Labels(labels.clone()),
            Find::Pool(service, color) => Selector::Pool(service.clone(), *color),
            Find::Swarm(service) => Selector::Tasks {
                service: service.clone(),
                network: spec.network.clone().unwrap_or_default(),
            },
        },
        port: spec.port,
        network: spec.network.clone(),
    }
}

/// The pool of the containers that run and can be reached; `release` is its name when there are none.
pub fn pool(place: &Target, containers: &[Container], release: &str) -> Pool {
    let mut images: Vec<&str> = containers
        .iter()
        .map(|found| found.image.as_str())
        .collect();
    images.sort_unstable();
    images.dedup();
    // The image of a task on another node is unknown.
    images.retain(|image| !image.is_empty());
    let taking = members::taking(containers);
    Pool {
        release: if images.is_empty() {
            release.to_owned()
        } else {
            images.join(",")
        },
        backends: taking
            .filter_map(|found| {
                Some(Backend {
                    id: identity(found),
                    addr: found.address(place.network.as_deref(), place.port)?,
                })
            })
            .collect(),
    }
}

/// Running containers that cannot be reached, each with a fix.
pub fn unreachable(place: &Target, containers: &[Container]) -> Vec<String> {
    let serving = containers.iter().filter(|found| found.state.serves());
    let lost = serving.filter(|found| {
        found
            .address(place.network.as_deref(), place.port)
            .is_none()
    });
    lost.map(|found| {
        let (name, port) = (&found.name, place.port);
        if let Some(other) = found.mode.strip_prefix("container:") {
            return format!("{name} lives in the network of {other}: name that container instead");
        }
        match (found.mode.as_str(), place.network.as_deref(), found.addresses.as_slice()) {
            ("host", ..) => format!("{name} runs in the host's network and has no address of its own: name the address, [\"127.0.0.1:{port}\"], or run it on a network (docker network create)"),
            ("none", ..) => format!("{name} was started with --network none, and nothing reaches it: run it on a network (docker network create)"),
            (_, None, _) => format!("{name} is on no network: `docker network connect NETWORK {name}`"),
            (_, Some(wanted), []) => format!("{name} is on no network: `docker network connect {wanted} {name}`"),
            (_, Some(wanted), others) => {
                let others: Vec<&str> = others.iter().map(|(name, _)| name.as_str()).collect();
                format!(
                    "{name} is on {}, and not on {wanted}: `docker network connect {wanted} {name}`",
                    others.join(", ")
                )
            }
        }
    })
    .collect()
}

/// Containers that expose ports, and not the one that is configured: a line each. What is exposed need not be what an
/// app listens on, so this is a hint.
pub fn unexposed(place: &Target, containers: &[Container]) -> Vec<String> {
    let other = containers
        .iter()
        .filter(|found| !found.ports.is_empty() && !found.ports.contains(&place.port));
    other
        .map(|found| {
            let ports: Vec<String> = found.ports.iter().map(ToString::to_string).collect();
            format!(
                "`port` is {}, and {} exposes {}: does the app listen on {0}?",
                place.port,
                found.name,
                ports.join(", ")
            )
        })
        .collect()
}

/// The backend id of a container: a restart makes it another backend, whatever its address.
pub fn identity(container: &Container) -> String {
    let id = &container.id;
    let short = id.get(..SHORT_ID).unwrap_or(id);
    format!("{short}@{}", container.started_at)
}

/// Whether two pools are the same containers; `strictly`: without a restart in between.
pub fn same(one: &Pool, other: &Pool, strictly: bool) -> bool {
    let ids = |pool: &Pool| {
        let mut ids: Vec<String> = pool
            .backends
            .iter()
            .map(|backend| match backend.id.split_once('@') {
                Some((id, _)) if !strictly => id.to_owned(),
                _ => backend.id.clone(),
            })
            .collect();
        ids.sort_unstable();
        ids
    };
    ids(one) == ids(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::driver::docker::container::State;

    fn service(pools: &str) -> Service {
        let text = format!("[service.api]\n{pools}\n");
        let config = Config::parse("t.toml", &text).expect("a configuration");
        config.services[0].clone()
    }

    fn container(id: &str, state: State) -> Container {
        Container {
            id: format!("{id}-0123456789abcdef"),
            name: id.to_owned(),
            image: "api:1.0".to_owned(),
            started_at: "T1".to_owned(),
            finished_at: String::new(),
            state,
            labels: Default::default(),
            restart: String::new(),
            memory: 0,
            stop_timeout: None,
            ports: vec![],
            mode: String::new(),
            starved: false,
            unchecked: false,
            addresses: vec![("net".to_owned(), "10.0.0.3".parse().expect("an address"))],
            unread: None,
        }
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn blue_is_who_was_promoted_else_who_the_file_names() {
        let api = service("blue = { container = \"api\", port = 3000, network = \"net\" }");
        let owner = Owner {
            instance: "here".to_owned(),
            service: "api".to_owned(),
            rollout: 7,
            baseline: false,
        };
        let [blue, green] = places(&api, &[], None).expect("containers");
        assert_eq!(
            blue.map(|place| place.by),
            Some(Selector::Names(words(&["api"])))
        );
        assert_eq!(green, None);
        let [blue, green] = places(&api, &words(&["0123"]), Some(&owner)).expect("containers");
        assert_eq!(
            blue.map(|place| place.by),
            Some(Selector::Ids(words(&["0123"])))
        );
        let green = green.expect("green");
        assert_eq!(green.by, Selector::Labels(owner.selector()));
        assert_eq!((green.port, green.network.as_deref()), (3000, Some("net")));
        let promoted = container("new", State::Running);
        assert_eq!(running(&api, &[], &[promoted]), ["new-0123456789abcdef"]);
        assert_eq!(places(&service("blue = \"127.0.0.1:1\""), &[], None), None);
    }

    #[test]
    fn two_slots_take_turns() {
        let api = service(
            "blue = { container = \"b1\", port = 1 }\ngreen = { container = \"g1\", port = 2 }",
        );
        let names = |running: &[String]| {
            places(&api, running, None)
                .expect("containers")
                .map(|place| place.expect("a place").port)
        };
        let first = running(&api, &[], &[]);
        assert_eq!((names(&[]), names(&first)), ([1, 2], [2, 1]));
        assert_eq!(running(&api, &first, &[]), [""; 0]);
    }

    #[test]
    fn a_promoted_copy_serves_also_when_the_file_names_a_green_since() {
        let api = service(
            "blue = { container = \"b1\", port = 1 }\ngreen = { container = \"g1\", port = 2 }",
        );
        let copy = words(&["0123"]);
        let [blue, green] = places(&api, &copy, None).expect("containers");
        assert_eq!(
            blue.map(|place| place.by),
            Some(Selector::Ids(copy.clone()))
        );
        let named = Some(Selector::Names(words(&["g1"])));
        assert_eq!(green.map(|place| place.by), named);
        assert_eq!(running(&api, &copy, &[]), ["g1"]);
    }

    #[test]
    fn a_pool_has_those_that_run_where_they_can_be_reached() {
        let api = service("blue = { container = [\"a1\", \"b1\"], port = 3000 }");
        let [place, _] = places(&api, &[], None).expect("containers");
        let mut place = place.expect("blue");
        let exited = State::Exited {
            code: 1,
            out_of_memory: false,
            restarting: false,
            why: String::new(),
        };
        let all = [container("a1", State::Running), container("b1", exited)];
        let found = pool(&place, &all, "api");
        assert_eq!(found.release, "api:1.0");
        assert_eq!(found.backends.len(), 1);
        assert_eq!(found.backends[0].id, "a1-012345678@T1");
        assert_eq!(found.backends[0].addr.to_string(), "10.0.0.3:3000");
        assert_eq!(unreachable(&place, &all), [""; 0]);
        place.network = Some("proxy".to_owned());
        assert_eq!(pool(&place, &all, "api").backends, []);
        let told = unreachable(&place, &all).join("\n");
        assert!(
            told.contains("on net") && told.contains("docker network connect proxy a1"),
            "{told}"
        );
        assert_eq!(pool(&place, &[], "api").release, "api");
    }

    #[test]
    fn a_port_that_is_not_exposed_is_told_where_others_are() {
        let api = service("blue = { container = \"a1\", port = 3000 }");
        let [place, _] = places(&api, &[], None).expect("containers");
        let place = place.expect("blue");
        for (ports, told) in [
            (vec![], None),
            (vec![80, 3000], None),
            (
                vec![80, 443],
                Some("`port` is 3000, and a1 exposes 80, 443: does the app listen on 3000?"),
            ),
        ] {
            let one = Container {
                ports,
                ..container("a1", State::Running)
            };
            let lines = unexposed(&place, &[one]);
            assert_eq!(lines.first().map(String::as_str), told);
        }
    }

    #[test]
    fn a_container_without_an_address_is_told_with_the_way_out_of_its_kind() {
        let api = service("blue = { container = \"a1\", port = 3000 }");
        let [place, _] = places(&api, &[], None).expect("containers");
        let mut place = place.expect("blue");
        for (mode, network, told) in [
            ("host", None, "[\"127.0.0.1:3000\"]"),
            ("none", None, "--network none"),
            ("container:db", None, "name that container instead"),
            (
                "web",
                None,
                "is on no network: `docker network connect NETWORK a1`",
            ),
            (
                "web",
                Some("web"),
                "is on no network: `docker network connect web a1`",
            ),
        ] {
            let alone = Container {
                mode: mode.to_owned(),
                addresses: vec![],
                ..container("a1", State::Running)
            };
            place.network = network.map(str::to_owned);
            let text = unreachable(&place, &[alone]).join("\n");
            assert!(text.contains(told), "{mode}: {text}");
            assert!(!text.contains("not on a network"), "{text}");
        }
    }

    #[test]
    fn a_restart_makes_another_backend_of_the_same_container() {
        let pool = |ids: &[&str]| Pool {
            release: String::new(),
            backends: ids
                .iter()
                .map(|id| Backend {
                    id: (*id).to_owned(),
                    addr: "10.0.0.3:80".parse().expect("an address"),
                })
                .collect(),
        };
        assert!(same(&pool(&["a@1", "b@1"]), &pool(&["b@1", "a@1"]), true));
        assert!(!same(&pool(&["a@1"]), &pool(&["a@2"]), true));
        assert!(same(&pool(&["a@1"]), &pool(&["a@2"]), false));
        assert!(!same(&pool(&["a@1"]), &pool(&["b@1"]), false));
    }
}
