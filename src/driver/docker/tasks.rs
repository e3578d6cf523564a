//! The tasks of a Swarm service: its overlay network's list for all nodes, joined with the containers of this node.
//!
//! The network's list is the one that Swarm's own load balancing uses: a task is added when it is
//! healthy, and removed before it is told to stop (moby, `libnetwork`: `EnableService`, `DisableService`).

use crate::driver::docker::container::{Container, State};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

/// One task, as an overlay network knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// `service.slot.id`: also the name of its container.
    pub name: String,
    /// Its address on that network.
    pub ip: IpAddr,
}

/// The label of every container of a service.
pub fn label(service: &str) -> String {
    format!("com.docker.swarm.service.name={service}")
}

/// Reads the tasks from the services in the answer to `GET /networks/NAME?verbose=true`.
pub fn read(services: &HashMap<String, Value>, service: &str) -> Vec<Task> {
    let tasks = services
        .get(service)
        .and_then(|service| service.get("Tasks")?.as_array());
    tasks
        .into_iter()
        .flatten()
        .filter_map(|task| {
            Some(Task {
                name: task.get("Name")?.as_str()?.to_owned(),
                ip: task.get("EndpointIP")?.as_str()?.parse().ok()?,
            })
        })
        .collect()
}

/// The tasks that the network knows; and where a slot has none of them, the last one that ended on this node, for its
/// error text.
pub fn join(network: &str, known: &[Task], here: Vec<Container>) -> Vec<Container> {
    let mut last: BTreeMap<String, Container> = BTreeMap::new();
    let mut found = vec![];
    for task in known {
        let local = here.iter().find(|container| container.name == task.name);
        found.push(local.cloned().unwrap_or_else(|| elsewhere(network, task)));
    }
    for container in here {
        let slot = slot(&container.name).to_owned();
        let newer = last
            .get(&slot)
            .is_none_or(|other| other.started_at < container.started_at);
        if newer && !known.iter().any(|task| self::slot(&task.name) == slot) {
            last.insert(slot, container);
        }
    }
    // A task that runs and is not in the list yet is not healthy yet.
    found.extend(last.into_values().filter(|one| !one.state.serves()));
    found
}

/// A task on another node: only its address is known.
fn elsewhere(network: &str, task: &Task) -> Container {
    Container {
        id: task.name.rsplit('.').next().unwrap_or_default().to_owned(),
        name: task.name.clone(),
        image: String::new(),
        started_at: String::new(),
        finished_at: String::new(),
        state: State::Running,
        labels: HashMap::new(),
        restart: String::new(),
        memory: 0,
        stop_timeout: None,
        ports: vec![],
        mode: String::new(),
        starved: false,
        unchecked: false,
        addresses: vec![(network.to_owned(), task.ip)],
        unread: None,
    }
}

/// `service.slot` of a task's name.
fn slot(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn task(name: &str, ip: &str) -> Task {
        Task {
            name: name.to_owned(),
            ip: ip.parse().expect("an address"),
        }
    }

    fn local(name: &str, started_at: &str, state: State) -> Container {
        Container {
            id: format!("container of {name}"),
            image: "app:1".to_owned(),
            started_at: started_at.to_owned(),
            state,
            ..elsewhere("net", &task(name, "10.0.0.9"))
        }
    }

    fn exited(code: i64) -> State {
        State::Exited {
            code,
            out_of_memory: false,
            restarting: false,
            why: String::new(),
        }
    }

    fn ids(found: &[Container]) -> Vec<&str> {
        found.iter().map(|one| one.id.as_str()).collect()
    }

    #[test]
    fn the_networks_answer_is_read_as_engines_give_it() {
        let answer = json!({ "api": { "VIP": "10.0.0.2", "Tasks": [
            { "Name": "api.1.x", "EndpointID": "e", "EndpointIP": "10.0.0.3", "Info": { "Host IP": "1.2.3.4" } },
            { "Name": "api.2.y", "EndpointIP": "" },
            { "EndpointIP": "10.0.0.5" }
        ] }, "web": { "Tasks": null } });
        let services: HashMap<String, Value> = serde_json::from_value(answer).expect("services");
        assert_eq!(read(&services, "api"), [task("api.1.x", "10.0.0.3")]);
        assert_eq!(read(&services, "web"), []);
        assert_eq!(read(&services, "db"), []);
    }

    #[test]
    fn a_task_of_another_node_is_known_by_its_own_id() {
        let known = [task("api.1.aaa", "10.0.0.3"), task("api.2.bbb", "10.0.0.4")];
        let found = join(
            "net",
            &known,
            vec![local("api.1.aaa", "T1", State::Running)],
        );
        assert_eq!(ids(&found), ["container of api.1.aaa", "bbb"]);
        assert_eq!(
            found[1].address(Some("net"), 80),
            "10.0.0.4:80".parse().ok()
        );
    }

    #[test]
    fn who_is_not_in_the_networks_list_gets_no_requests() {
        let here = vec![
            local("api.1.old", "T1", exited(1)),
            local("api.1.new", "T2", State::Running),
        ];
        assert_eq!(
            join("net", &[], here.clone()),
            [],
            "not well yet, or told to stop"
        );
        let known = [task("api.1.new", "10.0.0.3")];
        assert_eq!(ids(&join("net", &known, here)), ["container of api.1.new"]);
    }

    #[test]
    fn the_last_words_of_a_slot_that_has_nobody_are_kept() {
        let here = vec![
            local("api.1.b", "T2", exited(3)),
            local("api.1.a", "T1", exited(1)),
            local("api.2.c", "T1", State::Running),
        ];
        let found = join("net", &[task("api.2.c", "10.0.0.3")], here);
        assert_eq!(
            ids(&found),
            ["container of api.2.c", "container of api.1.b"]
        );
    }
}
