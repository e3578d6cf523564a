//! The names of a version on its networks: green has blue's names from its promotion on, and loses them in a rollback.
//!
//! An engine changes a container's names on a network only by disconnecting it and connecting it again. Its connections
//! survive that (with about 0.2 s of silence) if it gets its address again, and break if it gets another one. So
//! nothing is done where the address would change. Blue is left as it is and has its names until it is stopped:
//! there is always an answer.

use crate::driver::docker::clone::name_of;
use crate::driver::docker::container::{Container, of_podman};
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::labels;
use crate::driver::docker::network;
use bollard::models::{ContainerInspectResponse, EndpointSettings, NetworkInspect};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Digits of a container's id that an engine uses as a name.
const SHORT_ID: usize = 12;

/// Names by network.
pub type Names = BTreeMap<String, Vec<String>>;

/// Attempts to connect a container again that was disconnected from a network, before that counts as failed, and the
/// wait between them.
const TRIES: u32 = 20;
const WAIT: Duration = Duration::from_millis(250);

/// Containers that are being reconnected to a network: for a moment they have no address there, although they exist.
#[derive(Clone, Debug, Default)]
pub struct Moving(Arc<Mutex<HashMap<String, Option<Instant>>>>);

impl Moving {
    fn note(&self, id: &str, over: Option<Instant>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(id.to_owned(), over);
    }

    /// The containers of a lookup that began at `began`; one that was being reconnected has the addresses it had
    /// `before`.
    pub fn as_before(
        &self,
        began: Instant,
        mut now: Vec<Container>,
        before: &[Container],
    ) -> Vec<Container> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in &mut now {
            match all.get(&one.id) {
                Some(Some(over)) if *over < began => drop(all.remove(&one.id)),
                Some(_) => {
                    let old = before.iter().find(|old| old.id == one.id);
                    if let Some(old) = old.filter(|old| old.addresses.len() > one.addresses.len()) {
                        one.addresses.clone_from(&old.addresses);
                    }
                }
                None => {}
            }
        }
        now
    }
}

/// The names of `blue` that a container made from it is to get, by network; without blue's own short id, and without
/// the names that the new one has `already`.
pub fn inherited(
    blue: &ContainerInspectResponse,
    hostname: Option<&str>,
    already: &[String],
) -> Names {
    let config = blue.config.as_ref();
    let labelled = config.and_then(|config| config.labels.as_ref());
    let earlier = labelled.map(labels::names).unwrap_or_default();
    let made = labelled.is_some_and(|labelled| labelled.contains_key(labels::MANAGED));
    let id = blue.id.as_deref().unwrap_or_default();
    let settings = blue.network_settings.as_ref();
    let networks = settings.and_then(|settings| settings.networks.as_ref());
    let mut all = Names::new();
    for (network, endpoint) in networks.into_iter().flatten() {
        // Names are resolved only on user-defined networks.
        if ["bridge", "host", "none"].contains(&network.as_str()) {
            continue;
        }
        let mut names = endpoint.aliases.clone().unwrap_or_default();
        names.extend(earlier.get(network).into_iter().flatten().cloned());
        names.extend(hostname.map(str::to_owned));
        names.extend((!made).then(|| name_of(blue)));
        let own = |name: &str| name.len() == SHORT_ID && id.starts_with(name);
        names.retain(|name| !name.is_empty() && !own(name) && !already.contains(name));
        names.sort_unstable();
        names.dedup();
        if !names.is_empty() {
            all.insert(network.clone(), names);
        }
    }
    all
}

/// Reports on the names of a service's containers.
#[derive(Debug, Default)]
pub struct Told {
    /// The changes that were made.
    pub done: Vec<String>,
    /// Problems that still exist.
    pub troubles: Vec<String>,
}

/// Gives `container` the names in its labels, or removes them; `known` are the ids of the containers of this
/// service. With `repair` it is connected to a network that it left, because a process may have ended in between.
///
/// # Errors
/// When the engine gives no answer, or does not connect it again.
pub async fn settle(
    engine: &Engine,
    container: &Container,
    wanted: bool,
    known: &[String],
    repair: bool,
    moving: &Moving,
) -> Result<Told, EngineError> {
    let mut told = Told::default();
    let names = labels::names(&container.labels);
    if names.is_empty() || !container.state.serves() {
        return Ok(told);
    }
    let seen = engine.inspect(&container.id).await?;
    for (name, names) in &names {
        let settings = seen.network_settings.as_ref();
        let there = settings.and_then(|settings| settings.networks.as_ref()?.get(name));
        let Some(endpoint) = there else {
            if repair {
                let given = if wanted { names.clone() } else { vec![] };
                let endpoint = EndpointSettings {
                    aliases: Some(given),
                    ..EndpointSettings::default()
                };
                join(engine, &container.id, name, &[endpoint]).await?;
                told.done
                    .push(format!("joined {} to `{name}` again", container.name));
            }
            continue;
        };
        let Some(change) = change(endpoint, names, wanted) else {
            continue;
        };
        let network = engine.network(name).await?;
        let asked_for = labels::given(&container.labels, names);
        if wanted && !asked_for && alone(&network, known) {
            continue;
        }
        if let Some(why) = hindrance(&seen, &network, endpoint) {
            told.troubles
                .extend(wanted.then(|| refused(container, name, names, &why)));
            continue;
        }
        let took = renamed(engine, container, name, [change, again(endpoint)], moving).await?;
        let how = if wanted {
            "answers"
        } else {
            "does not answer any more"
        };
        told.done.push(format!(
            "{} {how} to {} on `{name}` ({took} ms)",
            container.name,
            names.join(", ")
        ));
    }
    Ok(told)
}

fn refused(container: &Container, network: &str, names: &[String], why: &str) -> String {
    let aliases: String = names
        .iter()
        .map(|name| format!("--alias {name} "))
        .collect();
    let (names, one) = (names.join(", "), &container.name);
    format!(
        "{one} does not answer to {names} on `{network}`: {why}. Once the container that does is stopped, nothing answers to {names} there. Let callers on `{network}` ask shifter, or, at a moment when that harms nobody: `docker network disconnect {network} {one} && docker network connect {aliases}{network} {one}`"
    )
}

/// The endpoint with the names, or without them; `None`: it is so already.
fn change(endpoint: &EndpointSettings, names: &[String], wanted: bool) -> Option<EndpointSettings> {
    let present = endpoint.aliases.clone().unwrap_or_default();
    let mut aliases = present.clone();
    if wanted {
        aliases.extend(names.iter().filter(|name| !present.contains(name)).cloned());
    } else {
        aliases.retain(|alias| !names.contains(alias));
    }
    (aliases != present).then(|| EndpointSettings {
        aliases: Some(aliases),
        ..again(endpoint)
    })
}

/// The request for an endpoint as it is. The MAC address is kept, so that neighbours need not look it up again.
fn again(endpoint: &EndpointSettings) -> EndpointSettings {
    EndpointSettings {
        aliases: endpoint.aliases.clone(),
        links: endpoint.links.clone(),
        driver_opts: endpoint.driver_opts.clone(),
        gw_priority: endpoint.gw_priority.filter(|priority| *priority != 0),
        ipam_config: endpoint.ipam_config.clone(),
        mac_address: endpoint.mac_address.clone(),
        ..EndpointSettings::default()
    }
}

/// Whether only the `known` containers, and this process's own, are on a network.
fn alone(network: &NetworkInspect, known: &[String]) -> bool {
    let own = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let own = own.trim();
    let mut others = network.containers.iter().flatten().map(|(id, _)| id);
    others.all(|id| known.contains(id) || own.len() >= 12 && id.starts_with(own))
}

/// Why a container cannot leave a network for a moment without losing connections.
fn hindrance(
    seen: &ContainerInspectResponse,
    network: &NetworkInspect,
    endpoint: &EndpointSettings,
) -> Option<String> {
    if seen.config.as_ref().is_some_and(of_podman) {
        return Some(
            "Podman would give it another address, and its connections would break".to_owned(),
        );
    }
    if network.scope.as_deref() != Some("local") || network.driver.as_deref() != Some("bridge") {
        let driver = network.driver.as_deref().unwrap_or("unknown");
        return Some(format!(
            "on a network of the driver {driver} it may get another address"
        ));
    }
    let fixed = endpoint.ipam_config.as_ref();
    if fixed.is_some_and(|fixed| fixed.ipv4_address.as_ref().is_some_and(|ip| !ip.is_empty())) {
        return None;
    }
    let address = endpoint.ip_address.as_ref().and_then(|ip| ip.parse().ok());
    match address {
        Some(address) if network::keeps(network, address) => None,
        _ => Some(
            "an address below its own is free, which it would get, and its connections would break"
                .to_owned(),
        ),
    }
}

/// Disconnects a container from a network and connects it again; returns the duration in milliseconds. It runs to its
/// end even if the caller stops waiting.
async fn renamed(
    engine: &Engine,
    container: &Container,
    network: &str,
    endpoints: [EndpointSettings; 2],
    moving: &Moving,
) -> Result<u128, EngineError> {
    let (engine, id, network, moving) = (
        engine.clone(),
        container.id.clone(),
        network.to_owned(),
        moving.clone(),
    );
    let task = tokio::spawn(async move {
        let begun = Instant::now();
        moving.note(&id, None);
        let left = engine.disconnect(&id, &network).await;
        // A lost answer leaves the state unknown: it is connected in any case.
        let joined = match left {
            Ok(()) | Err(EngineError::Late { .. } | EngineError::Unreachable(_)) => {
                join(&engine, &id, &network, &endpoints).await
            }
            Err(error) => Err(error),
        };
        moving.note(&id, Some(Instant::now()));
        joined.map(|()| begun.elapsed().as_millis())
    });
    match task.await {
        Ok(took) => took,
        Err(_) => Err(EngineError::Refused(
            "connect a network",
            "the task ended early".to_owned(),
        )),
    }
}

/// Connects a container to a network with the first of these endpoints that the engine accepts.
async fn join(
    engine: &Engine,
    id: &str,
    network: &str,
    endpoints: &[EndpointSettings],
) -> Result<(), EngineError> {
    let mut tries = 0;
    loop {
        let mut last = None;
        for endpoint in endpoints {
            match engine.connect(id, network, endpoint.clone()).await {
                Ok(()) => return Ok(()),
                Err(error) => last = Some(error),
            }
        }
        // The answer may have been lost although the call succeeded.
        if let Ok(seen) = engine.inspect(id).await {
            let settings = seen.network_settings.as_ref();
            let there = settings.and_then(|settings| settings.networks.as_ref()?.get(network));
            if there.is_some() {
                return Ok(());
            }
        }
        tries += 1;
        match last {
            Some(error) if tries >= TRIES => return Err(error),
            _ => tokio::time::sleep(WAIT).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::docker::State;
    use serde_json::json;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn endpoint(aliases: &[&str]) -> EndpointSettings {
        EndpointSettings {
            aliases: Some(words(aliases)),
            links: Some(words(&["db:store"])),
            ip_address: Some("10.0.0.3".to_owned()),
            mac_address: Some("02:42:0a:00:00:03".to_owned()),
            endpoint_id: Some("e".to_owned()),
            ..EndpointSettings::default()
        }
    }

    #[test]
    fn names_are_given_and_taken_and_nothing_else_of_an_endpoint_changes() {
        let names = words(&["api", "backend"]);
        type Case<'a> = (&'a [&'a str], bool, Option<&'a [&'a str]>);
        let cases: [Case; 5] = [
            (
                &["0123456789ab"],
                true,
                Some(&["0123456789ab", "api", "backend"]),
            ),
            (&["api"], true, Some(&["api", "backend"])),
            (&["backend", "api"], true, None),
            (&["own", "api", "backend"], false, Some(&["own"])),
            (&["own"], false, None),
        ];
        for (present, wanted, expected) in cases {
            let changed = change(&endpoint(present), &names, wanted);
            let aliases = changed.as_ref().and_then(|changed| changed.aliases.clone());
            assert_eq!(aliases, expected.map(words), "{present:?} {wanted}");
            if let Some(changed) = changed {
                assert_eq!(changed.links, Some(words(&["db:store"])));
                assert_eq!(changed.mac_address, endpoint(&[]).mac_address);
                assert_eq!((changed.ip_address, changed.endpoint_id), (None, None));
            }
        }
    }

    #[test]
    fn blues_names_are_those_that_it_was_given_and_that_of_a_container_that_a_person_made() {
        let blue = |labels: serde_json::Value| -> ContainerInspectResponse {
            let endpoint = json!({ "Aliases": ["backend", "0123456789ab", "green-alias"] });
            let networks = json!({ "web": endpoint, "bridge": { "Aliases": ["x"] }, "data": {} });
            let seen = json!({ "Id": "0123456789abcdef", "Name": "/api", "Config": { "Labels": labels }, "NetworkSettings": { "Networks": networks } });
            serde_json::from_value(seen).expect("an answer")
        };
        let already = words(&["green-alias"]);
        let of = |labels, hostname| inherited(&blue(labels), hostname, &already);
        let names = |web: &[&str], data: &[&str]| -> Names {
            let all = [("web", web), ("data", data)].into_iter();
            let some = all.filter(|(_, names)| !names.is_empty());
            some.map(|(network, names)| (network.to_owned(), words(names)))
                .collect()
        };
        let theirs = of(json!({}), None);
        assert_eq!(theirs, names(&["api", "backend"], &["api"]));
        assert_eq!(
            of(json!({}), Some("h")),
            names(&["api", "backend", "h"], &["api", "h"])
        );
        // No client uses the container name of a version that shifter created; clients use the names that it was to
        // answer to.
        let ours: HashMap<String, String> = labels::naming(&theirs, "api")
            .into_iter()
            .chain([(labels::MANAGED.to_owned(), "true".to_owned())])
            .collect();
        assert_eq!(of(json!(ours), None), theirs);
        assert!(labels::given(&ours, &theirs["web"]) && !labels::given(&ours, &theirs["data"]));
        assert_eq!(
            of(json!({ labels::MANAGED: "true" }), None),
            names(&["backend"], &[])
        );
    }

    fn network(driver: &str, scope: &str, others: &[(&str, &str)]) -> NetworkInspect {
        let one = |(id, ip): &(&str, &str)| ((*id).to_owned(), json!({ "IPv4Address": ip }));
        let all: serde_json::Map<_, _> = others.iter().map(one).collect();
        let text = json!({ "Driver": driver, "Scope": scope, "Containers": all, "IPAM": { "Config": [{ "Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1" }] } });
        serde_json::from_value(text).expect("a network")
    }

    #[test]
    fn a_container_stays_where_it_would_get_another_address() {
        let both: [(&str, &str); 2] = [("blue", "10.0.0.2/24"), ("green", "10.0.0.3/24")];
        let podman = json!({ "Config": { "Env": ["container=podman"] } });
        let podman = serde_json::from_value(podman).expect("an answer");
        let docker = ContainerInspectResponse::default();
        let cases: [(&ContainerInspectResponse, NetworkInspect, Option<&str>); 5] = [
            (&docker, network("bridge", "local", &both), None),
            (
                &docker,
                network("bridge", "local", &both[1..]),
                Some("below its own is free"),
            ),
            (
                &docker,
                network("overlay", "swarm", &both),
                Some("the driver overlay"),
            ),
            (
                &docker,
                network("macvlan", "local", &both),
                Some("the driver macvlan"),
            ),
            (&podman, network("bridge", "local", &both), Some("Podman")),
        ];
        for (seen, network, expected) in cases {
            let why = hindrance(seen, &network, &endpoint(&[]));
            let fits = match expected {
                Some(part) => why.as_ref().is_some_and(|why| why.contains(part)),
                None => why.is_none(),
            };
            assert!(fits, "{expected:?}: {why:?}");
        }
        let known = words(&["blue", "green"]);
        assert!(alone(&network("bridge", "local", &both), &known));
        assert!(!alone(&network("bridge", "local", &both), &known[1..]));
    }

    #[test]
    fn a_container_on_its_way_has_the_address_that_it_had() {
        let one = |addresses: &[&str]| Container {
            state: State::Running,
            addresses: addresses
                .iter()
                .map(|ip| ("web".to_owned(), ip.parse().expect("an address")))
                .collect(),
            ..Container::unreadable("green".to_owned(), "green".to_owned(), String::new())
        };
        let (before, off, other) = ([one(&["10.0.0.3"])], one(&[]), one(&["10.0.0.4"]));
        let moving = Moving::default();
        let at = |moving: &Moving, began, now: &Container| {
            moving
                .as_before(began, vec![now.clone()], &before)
                .remove(0)
                .addresses
        };
        let began = Instant::now();
        assert_eq!(
            at(&moving, began, &off),
            off.addresses,
            "somebody else took it off"
        );
        moving.note("green", None);
        assert_eq!(at(&moving, began, &off), before[0].addresses);
        moving.note("green", Some(Instant::now()));
        assert_eq!(
            at(&moving, began, &off),
            before[0].addresses,
            "seen in between, told later"
        );
        assert_eq!(at(&moving, began, &other), other.addresses);
        let after = Instant::now() + Duration::from_millis(1);
        assert_eq!(at(&moving, after, &off), off.addresses, "it is over");
        assert_eq!(at(&moving, began, &off), off.addresses);
    }
}
