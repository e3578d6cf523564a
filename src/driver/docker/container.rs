//! The state and settings of a container, read from the engine's answer.

use crate::driver::docker::clone::name_of;
use bollard::models::{
    ContainerConfig, ContainerInspectResponse, ContainerState, ContainerStateStatusEnum,
    HealthStatusEnum,
};
use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The engine's default stop timeout in seconds.
const STOP_TIMEOUT: i64 = 10;

/// The start time of a container that was never started.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Bytes of a health check's output that are reported.
const OUTPUT_MAX: usize = 200;

/// The current state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its whole id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image that it was started from, as given at its creation.
    pub image: String,
    /// Start time: with the id, its identity. A restart makes it another backend.
    pub started_at: String,
    /// The time of its last end, RFC 3339.
    pub finished_at: String,
    /// Whether it runs, and may take requests as far as the engine knows.
    pub state: State,
    /// Its labels, set at its creation.
    pub labels: HashMap<String, String>,
    /// The name of its restart policy; empty: none.
    pub restart: String,
    /// Memory limit in bytes; 0: no limit.
    pub memory: i64,
    /// Stop timeout in seconds, where it has one; negative: no limit.
    pub stop_timeout: Option<i64>,
    /// The ports inside that its image or its settings expose.
    pub ports: Vec<u16>,
    /// Its network mode: `host`, `none`, `container:ID`, else a network's name.
    pub mode: String,
    /// Whether the kernel killed one of its processes for lack of memory while it runs on.
    pub starved: bool,
    /// Whether Podman has yet to run its first health check in it: without systemd it never does.
    pub unchecked: bool,
    /// Its addresses, by network.
    pub addresses: Vec<(String, IpAddr)>,
    /// Why the last answer on it could not be read; all other fields are then as last seen.
    pub unread: Option<String>,
}

/// The lifecycle state of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Created, not started.
    Created,
    /// Running, with a health check that has not succeeded yet.
    Starting,
    /// Running, and healthy as far as it is checked.
    Running,
    /// Running, and its health check fails. It may recover.
    Unhealthy {
        /// The output of the last check.
        said: String,
    },
    /// Frozen by `docker pause`.
    Paused,
    /// The engine's answer about it cannot be read; see [`Container::unread`].
    Unreadable,
    /// Not running; `restarting`: the engine will start it again.
    Exited {
        /// The exit status of its first process; 128 plus the signal's number for a signal.
        code: i64,
        /// Whether the kernel killed it for lack of memory.
        out_of_memory: bool,
        /// Whether the engine will start it again.
        restarting: bool,
        /// Why the engine could not run it; empty where it did.
        why: String,
    },
}

impl State {
    fn of(state: &ContainerState) -> State {
        let yes = |flag: Option<bool>| flag == Some(true);
        let health = state.health.as_ref();
        // While the engine waits to start it again it still reports `Running`.
        if yes(state.running) && !yes(state.restarting) {
            if yes(state.paused) {
                return State::Paused;
            }
            return match health.and_then(|health| health.status) {
                Some(HealthStatusEnum::STARTING) => State::Starting,
                Some(HealthStatusEnum::UNHEALTHY) => {
                    let last = health.and_then(|health| health.log.as_ref()?.last());
                    let said = last
                        .and_then(|last| last.output.clone())
                        .unwrap_or_default();
                    let said: String = said.trim().chars().take(OUTPUT_MAX).collect();
                    State::Unhealthy { said }
                }
                _ => State::Running,
            };
        }
        // A container that was never started and is being removed has not ended.
        let never = state.started_at.as_deref() == Some(NEVER);
        if state.status == Some(ContainerStateStatusEnum::CREATED)
            || state.status == Some(ContainerStateStatusEnum::REMOVING) && never
        {
            return State::Created;
        }
        State::Exited {
            code: state.exit_code.unwrap_or_default(),
            // The flag stays until the next start, whatever ended the container then.
            out_of_memory: yes(state.oom_killed) && state.exit_code != Some(0),
            restarting: yes(state.restarting),
            why: state.error.clone().unwrap_or_default(),
        }
    }

    /// Whether a process runs that can take requests, healthy or not.
    pub fn serves(&self) -> bool {
        matches!(
            self,
            State::Starting | State::Running | State::Unhealthy { .. }
        )
    }

    /// Whether the kernel killed it for lack of memory.
    pub fn killed_for_memory(&self) -> bool {
        matches!(
            self,
            State::Exited {
                out_of_memory: true,
                ..
            }
        )
    }

    /// Whether it has ended, or is paused.
    pub fn fallen(&self) -> bool {
        matches!(self, State::Paused | State::Exited { .. })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Created => f.write_str("is not started"),
            State::Starting => f.write_str("is starting"),
            State::Running => f.write_str("runs"),
            State::Unhealthy { said } if said.is_empty() => f.write_str("is unhealthy"),
            State::Unhealthy { said } => write!(f, "is unhealthy: {said}"),
            State::Paused => f.write_str("was paused"),
            State::Unreadable => f.write_str("cannot be read"),
            State::Exited {
                out_of_memory: true,
                ..
            } => f.write_str("was killed for want of memory (OOM)"),
            State::Exited {
                code,
                restarting,
                why,
                ..
            } => {
                write!(f, "exited with code {code}")?;
                match code {
                    _ if !why.is_empty() => write!(f, ": {why}")?,
                    126 | 127 => f.write_str(", its command could not be run")?,
                    129..=192 => write!(f, ", by signal {}", code - 128)?,
                    _ => {}
                }
                if *restarting {
                    f.write_str(", and the engine starts it again")?;
                }
                Ok(())
            }
        }
    }
}

/// Whether the engine behind these settings is Podman: it shows the variables that it set itself.
pub fn of_podman(config: &ContainerConfig) -> bool {
    let mut env = config.env.iter().flatten();
    env.any(|entry| entry == "container=podman")
}

/// The configured stop timeout: Podman shows 0 where there is none.
pub fn stop_timeout(config: &ContainerConfig) -> Option<i64> {
    let asked = |seconds: &i64| *seconds != 0 || !of_podman(config);
    config.stop_timeout.filter(asked)
}

/// The exposed ports, which are written as `3000/tcp`.
fn ports(config: &ContainerConfig) -> Vec<u16> {
    let named = config.exposed_ports.iter().flatten();
    let mut ports: Vec<u16> = named
        .filter_map(|port| port.strip_suffix("/tcp")?.parse().ok())
        .collect();
    ports.sort_unstable();
    ports
}

/// Whether the engine has run a health check in the container since its start.
fn checked(state: &ContainerState) -> bool {
    let log = state.health.as_ref().and_then(|health| health.log.as_ref());
    log.is_some_and(|log| !log.is_empty())
}

impl Container {
    /// Reads a container from `docker inspect`.
    pub fn of(seen: &ContainerInspectResponse) -> Option<Container> {
        let state = seen.state.as_ref()?;
        let config = seen.config.as_ref()?;
        let host = seen.host_config.as_ref();
        let networks = seen
            .network_settings
            .iter()
            .flat_map(|settings| settings.networks.iter().flatten());
        let mut addresses: Vec<(String, IpAddr)> = networks
            .filter_map(|(name, endpoint)| {
                Some((name.clone(), endpoint.ip_address.as_ref()?.parse().ok()?))
            })
            .collect();
        addresses.sort();
        let policy = host.and_then(|host| host.restart_policy.as_ref()?.name);
        Some(Container {
            id: seen.id.clone()?,
            name: name_of(seen),
            image: config.image.clone().unwrap_or_default(),
            started_at: state.started_at.clone().unwrap_or_default(),
            finished_at: state.finished_at.clone().unwrap_or_default(),
            state: State::of(state),
            labels: config.labels.clone().unwrap_or_default(),
            restart: policy.map(|name| name.to_string()).unwrap_or_default(),
            memory: host.and_then(|host| host.memory).unwrap_or_default(),
            stop_timeout: stop_timeout(config),
            ports: ports(config),
            mode: host
                .and_then(|host| host.network_mode.clone())
                .unwrap_or_default(),
            starved: state.oom_killed == Some(true) && state.running == Some(true),
            unchecked: of_podman(config) && !checked(state),
            addresses,
            unread: None,
        })
    }

    /// A container with details that cannot be parsed, so that the others are seen nevertheless.
    pub fn unreadable(id: String, name: String, why: String) -> Container {
        Container {
            id,
            name,
            image: String::new(),
            started_at: String::new(),
            finished_at: String::new(),
            state: State::Unreadable,
            labels: HashMap::new(),
            restart: String::new(),
            memory: 0,
            stop_timeout: None,
            ports: vec![],
            mode: String::new(),
            starved: false,
            unchecked: false,
            addresses: vec![],
            unread: Some(why),
        }
    }

    /// How long it may take to stop before it is killed: its own stop timeout (the engine's default is 10 s), and no
    /// less than `at_least`; `None`: no limit.
    pub fn stop_grace(&self, at_least: Duration) -> Option<Duration> {
        let own = self.stop_timeout.unwrap_or(STOP_TIMEOUT);
        let own = Duration::from_secs(u64::try_from(own).ok()?);
        Some(own.max(at_least))
    }

    /// Moves addresses that are `near` to the front, ordered by the names of their networks.
    pub fn prefer(&mut self, near: impl Fn(IpAddr) -> bool) {
        self.addresses
            .sort_by_key(|(name, ip)| (!near(*ip), name.clone()));
    }

    /// Its address: on the named network, else on the first one, see [`Container::prefer`]; `None` when it has none.
    pub fn address(&self, network: Option<&str>, port: u16) -> Option<SocketAddr> {
        let found = match network {
            Some(name) => self.addresses.iter().find(|(network, _)| network == name),
            None => self.addresses.first(),
        };
        found.map(|(_, ip)| SocketAddr::new(*ip, port))
    }
}

#[cfg(test)]
#[allow(clippy::too_many_lines, reason = "a table of states")]
mod tests {
    use super::*;
    use serde_json::json;

    fn seen(state: serde_json::Value) -> Option<Container> {
        let inspect = json!({
            "Id": "abc", "Name": "/api", "State": state, "Config": { "Image": "app:1.0" },
            "NetworkSettings": { "Networks": { "net": { "IPAddress": "10.0.0.3" }, "none": { "IPAddress": "" } } }
        });
        Container::of(&serde_json::from_value(inspect).expect("an answer"))
    }

    #[test]
    fn a_network_that_shifter_is_on_comes_first() {
        let mut one = seen(json!({"Running": true})).expect("a container");
        let address = |name: &str, ip: &str| (name.to_owned(), ip.parse().expect("an address"));
        one.addresses = vec![address("aaa", "10.1.0.3"), address("web", "10.2.0.3")];
        one.prefer(|ip| ip.to_string().starts_with("10.2."));
        assert_eq!(one.address(None, 80), "10.2.0.3:80".parse().ok());
        assert_eq!(one.address(Some("aaa"), 80), "10.1.0.3:80".parse().ok());
        one.prefer(|_| false);
        assert_eq!(one.address(None, 80), "10.1.0.3:80".parse().ok());
    }

    #[test]
    fn no_container_is_killed_before_its_own_stop_timeout() {
        let mut one = seen(json!({"Running": true})).expect("a container");
        let grace =
            |one: &Container, s| one.stop_grace(Duration::from_secs(s)).map(|g| g.as_secs());
        for (own, at_least, expected) in [
            (None, 0, Some(10)),
            (None, 30, Some(30)),
            (Some(120), 30, Some(120)),
            (Some(1), 30, Some(30)),
            (Some(-1), 30, None),
        ] {
            one.stop_timeout = own;
            assert_eq!(grace(&one, at_least), expected, "{own:?} {at_least}");
        }
    }

    /// Every combination of fields that engines show: status, running, restarting, paused, health.
    #[test]
    fn a_containers_state_is_read_from_what_the_engine_says() {
        let exited = |code, out_of_memory, restarting| State::Exited {
            code,
            out_of_memory,
            restarting,
            why: String::new(),
        };
        let unhealthy = |said: &str| State::Unhealthy {
            said: said.to_owned(),
        };
        let health = |status: &str| json!({"Status": "running", "Running": true, "Health": {"Status": status}});
        let dead = |status: &str, health: &str| json!({"Status": status, "Running": false, "ExitCode": 1, "Health": {"Status": health}});
        let cases = [
            (
                json!({"Status": "running", "Running": true}),
                State::Running,
            ),
            (health("healthy"), State::Running),
            (health("none"), State::Running),
            (health(""), State::Running),
            (health("starting"), State::Starting),
            (health("unhealthy"), unhealthy("")),
            (
                json!({"Running": true, "Health": {"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "old"}, {"ExitCode": 1, "Output": "refused\n"}]}}),
                unhealthy("refused"),
            ),
            (
                json!({"Status": "restarting", "Running": true, "Restarting": true, "ExitCode": 3}),
                exited(3, false, true),
            ),
            (
                json!({"Status": "restarting", "Running": true, "Restarting": true, "ExitCode": 3, "Health": {"Status": "healthy"}}),
                exited(3, false, true),
            ),
            (
                json!({"Status": "restarting", "Running": false, "Restarting": true, "ExitCode": 0}),
                exited(0, false, true),
            ),
            (
                json!({"Status": "paused", "Running": true, "Paused": true}),
                State::Paused,
            ),
            (
                json!({"Status": "paused", "Running": true, "Paused": true, "Health": {"Status": "healthy"}}),
                State::Paused,
            ),
            (
                json!({"Status": "created", "Running": false}),
                State::Created,
            ),
            (
                json!({"Status": "created", "Running": false, "ExitCode": 127}),
                State::Created,
            ),
            (dead("exited", "healthy"), exited(1, false, false)),
            (dead("exited", "starting"), exited(1, false, false)),
            (dead("exited", "unhealthy"), exited(1, false, false)),
            (dead("dead", "none"), exited(1, false, false)),
            (dead("removing", "healthy"), exited(1, false, false)),
            (
                json!({"Status": "removing", "StartedAt": NEVER, "ExitCode": 0}),
                State::Created,
            ),
            (
                json!({"Status": "exited", "ExitCode": 0}),
                exited(0, false, false),
            ),
            (
                json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true}),
                exited(137, true, false),
            ),
            (
                json!({"Status": "exited", "ExitCode": 137, "OOMKilled": false}),
                exited(137, false, false),
            ),
            (
                json!({"Status": "exited", "ExitCode": 0, "OOMKilled": true}),
                exited(0, false, false),
            ),
            (json!({"Status": "running"}), exited(0, false, false)),
            (json!({}), exited(0, false, false)),
        ];
        assert_eq!(cases.len(), 26);
        for (state, expected) in cases {
            let text = state.to_string();
            let found = seen(state).expect("a container").state;
            assert_eq!(found, expected, "{text}");
            assert!(!(found.serves() && found.fallen()), "{text}");
        }
        assert_eq!(Container::of(&ContainerInspectResponse::default()), None);
    }

    #[test]
    fn an_end_is_told_in_words() {
        let told = |code, out_of_memory| {
            State::Exited {
                code,
                out_of_memory,
                restarting: false,
                why: String::new(),
            }
            .to_string()
        };
        assert_eq!(told(3, false), "exited with code 3");
        assert_eq!(told(137, false), "exited with code 137, by signal 9");
        assert!(told(137, true).contains("OOM"));
        assert!(told(127, false).contains("could not be run"));
    }

    #[test]
    fn a_container_is_reached_on_the_network_that_is_named() {
        let container = seen(json!({"Running": true})).expect("a container");
        let here = "10.0.0.3:80".parse().ok();
        assert_eq!(container.address(None, 80), here);
        assert_eq!(container.address(Some("net"), 80), here);
        assert_eq!(container.address(Some("proxy"), 80), None);
    }
}
