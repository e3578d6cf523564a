//! The calls to the engine, each with a deadline and with errors that say what to do.
//!
//! Containers are named by their whole id once they are found: a name can move to another container,
//! and an address moves at every restart.

use crate::driver::docker::clone::{Spec, name_of};
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerStateStatusEnum, HealthStatusEnum, ImageConfig,
    NetworkConnectRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptions,
    StartContainerOptions, StopContainerOptions,
};
use std::error::Error as _;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use thiserror::Error;

/// The longest wait for an answer; bollard's own limit covers the header only.
const CALL: Duration = Duration::from_secs(10);

/// So much longer than the container's own time to stop a stop may take: some engines kill when the caller hangs up.
const STOP_SLACK: Duration = Duration::from_secs(30);

/// Why the engine did not do what it was asked.
#[derive(Debug, Error)]
pub enum EngineError {
    /// Nobody answers.
    #[error("Docker cannot be reached: {0}. Is dockerd running, and does DOCKER_HOST name it?")]
    Unreachable(String),
    /// It is there, and we may not.
    #[error(
        "no permission for Docker's socket: {0}. Run shifter in the group that owns the socket (`usermod -aG docker USER`, or `--group-add` in a container)"
    )]
    Forbidden(String),
    /// No answer in time.
    #[error("Docker did not answer within {} s when asked to {1}", .0.as_secs())]
    Late(Duration, &'static str),
    /// What was named is not there.
    #[error("{0}")]
    Missing(String),
    /// The engine refuses; its own words.
    #[error("Docker could not {0}: {1}")]
    Refused(&'static str, String),
    /// The container has no address that shifter can reach.
    #[error("`{0}` has no address on {1}; connect it with `docker network connect {1} {0}`")]
    NoAddress(String, String),
}

/// A container as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its whole id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The image that it was started from, as it was written.
    pub image: String,
    /// When it was started: with the id, what it is. A restart is another one.
    pub started_at: String,
    /// Whether it runs, and may take requests as far as the engine knows.
    pub state: State,
    /// Its addresses, by network.
    pub addresses: Vec<(String, IpAddr)>,
}

/// What the engine says of a container's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    Created,
    /// Running; with a health check: and not yet well.
    Starting,
    /// Running, and well as far as it is checked.
    Running,
    /// Running, and its health check fails. It may come back.
    Unhealthy,
    /// Not running: exit code, and whether memory was the reason.
    Exited {
        /// The code of its first process; 128 and more by a signal.
        code: i64,
        /// The kernel killed it for want of memory.
        out_of_memory: bool,
    },
}

impl Container {
    /// What is known of a container by `docker inspect`.
    pub fn of(seen: &ContainerInspectResponse) -> Option<Container> {
        let state = seen.state.as_ref()?;
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
        let health = state.health.as_ref().and_then(|health| health.status);
        let running = state.running == Some(true)
            && state.restarting != Some(true)
            && state.paused != Some(true);
        let state = match (running, health) {
            (true, Some(HealthStatusEnum::STARTING)) => State::Starting,
            (true, Some(HealthStatusEnum::UNHEALTHY)) => State::Unhealthy,
            (true, _) => State::Running,
            (false, _) if state.status == Some(ContainerStateStatusEnum::CREATED) => State::Created,
            (false, _) => State::Exited {
                code: state.exit_code.unwrap_or_default(),
                out_of_memory: state.oom_killed == Some(true),
            },
        };
        Some(Container {
            id: seen.id.clone()?,
            name: name_of(seen),
            image: seen.config.as_ref()?.image.clone().unwrap_or_default(),
            started_at: seen.state.as_ref()?.started_at.clone().unwrap_or_default(),
            state,
            addresses,
        })
    }

    /// Where it is reached: on the named network, else on the only one, else on the first by name.
    ///
    /// # Errors
    /// When it has no address there.
    pub fn address(&self, network: Option<&str>, port: u16) -> Result<SocketAddr, EngineError> {
        let found = match network {
            Some(name) => self.addresses.iter().find(|(network, _)| network == name),
            None => self.addresses.first(),
        };
        found
            .map(|(_, ip)| SocketAddr::new(*ip, port))
            .ok_or_else(|| {
                let network = network.unwrap_or("any network").to_owned();
                EngineError::NoAddress(self.name.clone(), network)
            })
    }
}

/// A Docker engine.
#[derive(Clone, Debug)]
pub struct Engine {
    docker: Docker,
}

impl Engine {
    /// The engine at `host` (`unix://` or `tcp://`), else the one that `DOCKER_HOST` names, else the local one.
    ///
    /// It is asked for a sign of life.
    ///
    /// # Errors
    /// When nobody answers there, or we may not ask.
    pub async fn connect(host: Option<&str>) -> Result<Engine, EngineError> {
        let docker = match host {
            Some(host) => Docker::connect_with_host(host),
            None => Docker::connect_with_defaults(),
        };
        let docker = docker.map_err(|error| said("be reached", &error))?;
        let engine = Engine { docker };
        engine.call("answer", engine.docker.ping()).await?;
        Ok(engine)
    }

    /// The container of this name or id.
    ///
    /// # Errors
    /// When there is none, or the engine does not say.
    pub async fn find(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        if !plausible(name) {
            return Err(EngineError::Missing(format!(
                "`{name}` cannot be the name of a container: letters, digits, `_`, `.` and `-` can"
            )));
        }
        let options = None::<InspectContainerOptions>;
        let asked = self.docker.inspect_container(name, options);
        self.call("look at a container", asked).await
    }

    /// The settings of an image that is here.
    ///
    /// # Errors
    /// When it is not here.
    pub async fn image(&self, reference: &str) -> Result<ImageConfig, EngineError> {
        let asked = self.docker.inspect_image(reference);
        let image = self.call("look at an image", asked).await?;
        Ok(image.config.unwrap_or_default())
    }

    /// Makes a container, on all its networks, and does not start it.
    ///
    /// # Errors
    /// When the name is taken, the image is missing or the engine refuses; nothing of it is left then.
    pub async fn create(&self, spec: &Spec) -> Result<String, EngineError> {
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name)
            .build();
        let asked = self
            .docker
            .create_container(Some(options), spec.body.clone());
        let id = self.call("create a container", asked).await?.id;
        for (network, endpoint) in &spec.networks {
            let request = NetworkConnectRequest {
                container: id.clone(),
                endpoint_config: Some(endpoint.clone()),
            };
            let asked = self.docker.connect_network(network, request);
            if let Err(error) = self.call("connect a network", asked).await {
                // Half a container helps nobody.
                let _ = self.remove(&id).await;
                return Err(error);
            }
        }
        Ok(id)
    }

    /// Starts a container; one that runs already is left alone.
    ///
    /// # Errors
    /// When it cannot be started: a port that is taken, a command that is not there.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let asked = self
            .docker
            .start_container(id, None::<StartContainerOptions>);
        self.call("start a container", asked).await
    }

    /// Stops a container and waits for it, at most `grace` before it is killed; one that is stopped is left alone.
    ///
    /// # Errors
    /// When the engine does not say that it stopped.
    pub async fn stop(&self, id: &str, grace: Duration) -> Result<(), EngineError> {
        let options = StopContainerOptions {
            t: i32::try_from(grace.as_secs()).ok(),
            signal: None,
        };
        let patient = self.docker.clone().with_timeout(grace + STOP_SLACK);
        let asked = patient.stop_container(id, Some(options));
        within(grace + STOP_SLACK, "stop a container", asked).await
    }

    /// Removes a container that is stopped.
    ///
    /// # Errors
    /// When it runs.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let asked = self
            .docker
            .remove_container(id, None::<RemoveContainerOptions>);
        self.call("remove a container", asked).await
    }

    async fn call<T>(
        &self,
        what: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, EngineError> {
        within(CALL, what, asked).await
    }
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, asked).await {
        Err(_) => Err(EngineError::Late(limit, what)),
        Ok(answer) => answer.map_err(|error| said(what, &error)),
    }
}

/// What an error means to people.
fn said(what: &'static str, error: &Error) -> EngineError {
    match error {
        Error::DockerResponseServerError {
            status_code: 404,
            message,
        } => EngineError::Missing(message.clone()),
        Error::DockerResponseServerError { message, .. } => {
            EngineError::Refused(what, message.clone())
        }
        Error::RequestTimeoutError => EngineError::Late(CALL, what),
        Error::JsonDataError { message, .. } => EngineError::Refused(what, message.clone()),
        other => {
            let text = deepest(other);
            if text.contains("Permission denied") {
                EngineError::Forbidden(text)
            } else {
                EngineError::Unreachable(text)
            }
        }
    }
}

/// The innermost cause: the outer ones only say that something failed.
fn deepest(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = error.to_string();
        cause = error.source();
    }
    text
}

/// Docker's own rule; anything else would become part of the path of the request.
fn plausible(name: &str) -> bool {
    let first = name
        .bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric());
    let rest = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    first && name.len() >= 2 && name.bytes().all(rest)
}

#[cfg(test)]
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
    fn a_containers_state_is_read_from_what_the_engine_says() {
        let exited = |code, out_of_memory| State::Exited {
            code,
            out_of_memory,
        };
        let cases = [
            (
                json!({"Status": "running", "Running": true}),
                State::Running,
            ),
            (
                json!({"Running": true, "Health": {"Status": "healthy"}}),
                State::Running,
            ),
            (
                json!({"Running": true, "Health": {"Status": "none"}}),
                State::Running,
            ),
            (
                json!({"Running": true, "Health": {"Status": "starting"}}),
                State::Starting,
            ),
            (
                json!({"Running": true, "Health": {"Status": "unhealthy"}}),
                State::Unhealthy,
            ),
            (
                json!({"Running": true, "Restarting": true, "ExitCode": 3}),
                exited(3, false),
            ),
            (json!({"Running": true, "Paused": true}), exited(0, false)),
            (
                json!({"Status": "created", "Running": false}),
                State::Created,
            ),
            (
                json!({"Status": "exited", "ExitCode": 137, "OOMKilled": true}),
                exited(137, true),
            ),
        ];
        for (state, expected) in cases {
            let text = state.to_string();
            assert_eq!(seen(state).expect("a container").state, expected, "{text}");
        }
        assert_eq!(Container::of(&ContainerInspectResponse::default()), None);
    }

    #[test]
    fn a_container_is_reached_on_the_network_that_is_named() {
        let container = seen(json!({"Running": true})).expect("a container");
        let at = |network| {
            container
                .address(network, 80)
                .map_err(|error| error.to_string())
        };
        assert_eq!(at(None), Ok("10.0.0.3:80".parse().expect("an address")));
        assert_eq!(at(Some("net")), at(None));
        let missing = at(Some("proxy")).expect_err("not there");
        assert!(
            missing.contains("docker network connect proxy api"),
            "{missing}"
        );
    }

    #[test]
    fn names_that_would_become_paths_are_not_sent() {
        for name in ["api", "api-7", "a_b.c", "0123456789ab"] {
            assert!(plausible(name), "{name}");
        }
        for name in ["", "a", "../x", "a b", "/api", "-a", "a/b", "a?b"] {
            assert!(!plausible(name), "{name}");
        }
    }
}
