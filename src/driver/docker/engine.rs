//! The calls to the engine, each with a timeout and with errors that say what to do.
//!
//! Containers are named by their whole id once they are found: a name can move to another container,
//! and an address moves at every restart.

use crate::driver::docker::clone::Spec;
use crate::driver::docker::container::Container;
use crate::driver::docker::exec;
use crate::driver::docker::fault::{CALL, said};
use crate::driver::docker::near;
use crate::driver::docker::spoken::{Line, Spoken};
use crate::driver::docker::tasks::{self, Task};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerInspectResponse, ContainerSummary, ContainerUpdateBody, EventMessage, ExecConfig,
    RestartPolicy,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, EventsOptions, InspectContainerOptions, InspectNetworkOptions,
    ListContainersOptions, LogsOptions, RemoveContainerOptions, RenameContainerOptions,
    StartContainerOptions, StatsOptionsBuilder, StopContainerOptions, WaitContainerOptions,
};
use futures::{Stream, StreamExt, TryStreamExt};
use std::collections::HashMap;
use std::future::Future;
use std::time::Duration;

pub use crate::driver::docker::fault::EngineError;

/// How much longer than the container's own stop timeout a stop call may take: some engines kill when the client
/// disconnects.
const STOP_SLACK: Duration = Duration::from_secs(30);

/// How long one call waits for a container that must never be killed; the next cleanup waits again.
const STOP_UNLIMITED: Duration = Duration::from_secs(3600);

/// The events of a container that may change whether and where it serves.
const EVENTS: [&str; 14] = [
    "start",
    "restart",
    "die",
    "stop",
    "kill",
    "destroy",
    "health_status",
    "oom",
    "pause",
    "unpause",
    "rename",
    "create",
    "connect",
    "disconnect",
];

/// A Docker engine: the one at `host`, else the one that the command line uses.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    line: Line,
}

impl Engine {
    /// An engine that has not been queried yet.
    pub fn new(host: Option<String>) -> Engine {
        Engine {
            line: Line::new(host),
        }
    }

    /// A client for one call, with the newest API version that both sides know.
    pub(super) async fn docker(&self) -> Result<Docker, EngineError> {
        self.line.docker().await
    }

    /// The engine that answered, and the API version in use; `None` before the first query.
    pub fn spoken(&self) -> Option<Spoken> {
        self.line.spoken()
    }

    /// Checks that the engine answers with a known API version.
    ///
    /// # Errors
    /// When it does not answer, or permission is missing.
    pub async fn ping(&self) -> Result<(), EngineError> {
        // Another engine may answer now.
        self.line.agree().await?;
        let docker = self.docker().await?;
        call("answer", docker.ping()).await.map(drop)
    }

    /// Resource usage of a container: memory in bytes without what the system would reclaim at once (the page cache),
    /// and CPU time since it was started, in nanoseconds.
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn usage(&self, id: &str) -> Result<(u64, u64), EngineError> {
        let docker = self.docker().await?;
        let options = StatsOptionsBuilder::new().stream(false).one_shot(true);
        let mut all = std::pin::pin!(docker.stats(id, Some(options.build())));
        let next = async { all.next().await.unwrap_or(Err(Error::RequestTimeoutError)) };
        let stats = call("tell what a container takes", next).await?;
        let memory = stats.memory_stats.unwrap_or_default();
        let details = memory.stats.unwrap_or_default();
        // Control groups version 2, else version 1.
        let files = ["inactive_file", "total_inactive_file"];
        let files = files.iter().find_map(|name| details.get(*name));
        let taken = memory.usage.unwrap_or(0);
        let cpu = stats.cpu_stats.and_then(|cpu| cpu.cpu_usage);
        Ok((
            taken.saturating_sub(files.copied().unwrap_or(0)),
            cpu.and_then(|cpu| cpu.total_usage).unwrap_or(0),
        ))
    }

    /// The full data of the container with this name or id.
    ///
    /// # Errors
    /// When there is none, or the engine gives no answer.
    pub async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, EngineError> {
        if !plausible(name) {
            return Err(EngineError::Missing(format!(
                "`{name}` cannot be the name of a container: letters, digits, `_`, `.` and `-` can"
            )));
        }
        let docker = self.docker().await?;
        let options = None::<InspectContainerOptions>;
        let seen = call(
            "look at a container",
            docker.inspect_container(name, options),
        )
        .await?;
        // A name that looks like an id also matches other containers with an id that begins with it.
        let named = crate::driver::docker::clone::name_of(&seen) == name;
        let meant = named || seen.id.as_deref() == Some(name);
        if meant {
            Ok(seen)
        } else {
            Err(EngineError::Missing(format!("No such container: {name}")))
        }
    }

    /// The container with this name or id; `None` when there is none. One that cannot be read is [`State::Unreadable`].
    ///
    /// [`State::Unreadable`]: crate::driver::docker::State::Unreadable
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn find(&self, name: &str) -> Result<Option<Container>, EngineError> {
        match self.inspect(name).await {
            Ok(seen) => Ok(Container::of(&seen).map(near::first)),
            Err(EngineError::Missing(_)) => Ok(None),
            Err(EngineError::Unreadable(_, why)) => {
                let name = name.to_owned();
                Ok(Some(Container::unreadable(name.clone(), name, why)))
            }
            Err(error) => Err(error),
        }
    }

    /// All containers with these labels, running or not, oldest first.
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn labelled(&self, labels: &[String]) -> Result<Vec<Container>, EngineError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some([("label".to_owned(), labels.to_vec())].into()),
            ..ListContainersOptions::default()
        };
        self.listed(options).await
    }

    /// The containers that run on this network, oldest first; `None`: on any.
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn running_on(&self, network: Option<&str>) -> Result<Vec<Container>, EngineError> {
        let network = network.map(|name| ("network".to_owned(), vec![name.to_owned()]));
        let options = ListContainersOptions {
            filters: Some(network.into_iter().collect()),
            ..ListContainersOptions::default()
        };
        self.listed(options).await
    }

    async fn listed(&self, options: ListContainersOptions) -> Result<Vec<Container>, EngineError> {
        let docker = self.docker().await?;
        let listed = call("list containers", docker.list_containers(Some(options))).await?;
        let mut found = vec![];
        for summary in listed.iter().rev() {
            // The list may lag behind; only inspecting each container is reliable.
            let Some(id) = &summary.id else { continue };
            let seen = self.find(id).await?;
            found.extend(seen.map(|seen| match seen.unread {
                Some(_) => listed_only(seen, summary),
                None => seen,
            }));
        }
        Ok(found)
    }

    /// The tasks of a Swarm service that an overlay network knows, on all nodes.
    ///
    /// # Errors
    /// When there is no such network on this host, or the engine gives no answer.
    pub async fn tasks(&self, service: &str, network: &str) -> Result<Vec<Task>, EngineError> {
        let docker = self.docker().await?;
        let options = InspectNetworkOptions {
            verbose: true,
            ..InspectNetworkOptions::default()
        };
        let asked = docker.inspect_network(network, Some(options));
        let seen = call("look at a network", asked).await?;
        Ok(tasks::read(&seen.services.unwrap_or_default(), service))
    }

    /// Creates a container, on all its networks, without starting it: its id, and the engine's warnings.
    ///
    /// # Errors
    /// When the name is taken, the image is missing or the engine refuses; no part of it remains then.
    pub async fn create(&self, spec: &Spec) -> Result<(String, Vec<String>), EngineError> {
        let docker = self.docker().await?;
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name)
            .platform(spec.platform.as_deref().unwrap_or_default())
            .build();
        let asked = docker.create_container(Some(options), spec.body.clone());
        let made = call("create a container", asked).await?;
        let id = made.id;
        for (network, endpoint) in &spec.networks {
            if let Err(error) = self.connect(&id, network, endpoint.clone()).await {
                // A partly created container is of no use.
                let _ = self.remove(&id).await;
                return Err(error);
            }
        }
        Ok((id, made.warnings))
    }

    /// Starts a container; does nothing if it runs already.
    ///
    /// # Errors
    /// When it cannot be started: a port in use, a command that does not exist.
    pub async fn start(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let asked = docker.start_container(id, None::<StartContainerOptions>);
        call("start a container", asked).await
    }

    /// Stops a container and waits for it, at most `grace` before it is killed (`None`: it is never killed); does
    /// nothing if it is stopped already. See [`Container::stop_grace`].
    ///
    /// # Errors
    /// When the engine does not confirm that it stopped.
    pub async fn stop(&self, id: &str, grace: Option<Duration>) -> Result<(), EngineError> {
        let options = StopContainerOptions {
            t: Some(grace.map_or(-1, |grace| {
                i32::try_from(grace.as_secs()).unwrap_or(i32::MAX)
            })),
            signal: None,
        };
        let limit = grace.unwrap_or(STOP_UNLIMITED) + STOP_SLACK;
        let patient = self.docker().await?.with_timeout(limit);
        let asked = patient.stop_container(id, Some(options));
        within(limit, "stop a container", asked).await
    }

    /// Renames a container.
    ///
    /// # Errors
    /// When the name is taken.
    pub async fn rename(&self, id: &str, name: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let options = RenameContainerOptions {
            name: name.to_owned(),
        };
        call("rename a container", docker.rename_container(id, options)).await
    }

    /// Waits until a container has ended; returns its exit status.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn wait(&self, id: &str, limit: Duration) -> Result<i64, EngineError> {
        let docker = self.docker().await?.with_timeout(limit);
        let asked = async {
            match docker
                .wait_container(id, None::<WaitContainerOptions>)
                .next()
                .await
            {
                Some(Ok(ended)) => Ok(ended.status_code),
                Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(code),
                Some(Err(error)) => Err(error),
                None => Err(Error::RequestTimeoutError),
            }
        };
        within(limit, "wait for the end of a container", asked).await
    }

    /// Removes a stopped container, with its anonymous volumes, which could not be found any more. Only for
    /// containers that shifter created.
    ///
    /// # Errors
    /// When it runs.
    pub async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let options = RemoveContainerOptions {
            v: true,
            ..RemoveContainerOptions::default()
        };
        let asked = docker.remove_container(id, Some(options));
        call("remove a container", asked).await
    }

    /// Changes a container's restart policy.
    ///
    /// # Errors
    /// When the engine refuses.
    pub async fn restart_policy(&self, id: &str, policy: RestartPolicy) -> Result<(), EngineError> {
        let docker = self.docker().await?;
        let change = ContainerUpdateBody {
            restart_policy: Some(policy),
            ..ContainerUpdateBody::default()
        };
        call("change a container", docker.update_container(id, change)).await
    }

    /// The last lines that a container wrote, on either stream.
    ///
    /// # Errors
    /// When the engine gives no answer.
    pub async fn last_lines(&self, id: &str, lines: usize) -> Result<String, EngineError> {
        let docker = self.docker().await?;
        let options = LogsOptions {
            stdout: true,
            stderr: true,
            tail: lines.to_string(),
            ..LogsOptions::default()
        };
        let all = async {
            docker
                .logs(id, Some(options))
                .map_ok(LogOutput::into_bytes)
                .try_collect::<Vec<_>>()
                .await
        };
        let chunks = within(CALL, "show a container's log", all).await?;
        Ok(String::from_utf8_lossy(&chunks.concat()).into_owned())
    }

    /// Runs a command in a container; returns its exit status, and the end of its output.
    ///
    /// # Errors
    /// When it cannot be run, or does not end in time.
    pub async fn exec(
        &self,
        id: &str,
        command: &[String],
        limit: Duration,
    ) -> Result<(i64, String), EngineError> {
        let docker = self.docker().await?;
        let config = ExecConfig {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..ExecConfig::default()
        };
        let ran = async {
            let exec = docker.create_exec(id, config).await?.id;
            exec::run(&docker, &exec).await
        };
        within(limit, "run a command in a container", ran).await
    }

    /// The events of containers from now on; the stream ends with the engine, and then nothing is known: the engine
    /// that answers next may have another version.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<EventMessage, EngineError>> + use<>, EngineError> {
        self.line.agree().await?;
        let docker = self.docker().await?;
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        let filters = HashMap::from([
            // One event of a kind unknown to bollard would end the stream.
            ("type".to_owned(), list(&["container", "network"])),
            ("event".to_owned(), list(&EVENTS)),
        ]);
        let options = EventsOptions {
            filters: Some(filters),
            ..EventsOptions::default()
        };
        let events = docker.events(Some(options));
        Ok(events.map_err(|error| said("tell what happens", &error)))
    }
}

pub(super) async fn call<T>(
    what: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    within(CALL, what, asked).await
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    asked: impl Future<Output = Result<T, Error>>,
) -> Result<T, EngineError> {
    match tokio::time::timeout(limit, asked).await {
        Err(_) => Err(EngineError::Late {
            seconds: limit.as_secs(),
            what,
        }),
        Ok(answer) => answer.map_err(|error| said(what, &error)),
    }
}

/// The list's data of a container that cannot be inspected.
fn listed_only(unreadable: Container, listed: &ContainerSummary) -> Container {
    let name = listed.names.iter().flatten().next();
    Container {
        name: name.map_or(unreadable.name, |name| {
            name.trim_start_matches('/').to_owned()
        }),
        image: listed.image.clone().unwrap_or_default(),
        labels: listed.labels.clone().unwrap_or_default(),
        ..unreadable
    }
}

/// Docker's rule for names; other characters would become part of the request's path.
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
