//! What the engine knows and does: containers that are processes of the test app, each on an address of
//! its own of 127.0.0.0/8, given out as Docker does: the lowest that is free.

use crate::support::fake::container::{Container, Status};
use crate::support::fake::events::Events;
use crate::support::fake::image;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::watch;

/// Why the engine does not do what it was asked: the status, and its words.
pub type Refusal = (u16, String);

/// The engine behind the socket.
pub struct Engine {
    pub events: Events,
    pub folder: TempDir,
    /// Its containers' addresses begin so.
    net: [u8; 2],
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Nobody else takes these addresses while this is bound.
    _lease: TcpListener,
}

/// What there is.
#[derive(Default)]
pub struct State {
    /// Oldest first.
    pub containers: Vec<Container>,
    pub networks: Vec<String>,
    /// Images that were fetched.
    pub fetched: BTreeSet<&'static str>,
    /// Commands to be run in containers: whose, and which; then what they wrote and how they ended.
    pub execs: HashMap<String, (String, Vec<String>, i64)>,
    /// The oldest and the newest version of its API that it knows: `1.N`.
    pub apis: (u32, u32),
    /// What a command started in the background keeps its output open.
    pub lingers: bool,
    /// The health checks of images are never run, as by Podman without systemd.
    pub never_checks: bool,
    /// The engine does not run, whatever its containers do.
    pub down: bool,
    /// What the list of containers shows while it lags.
    pub listed: Option<Vec<Container>>,
}

impl State {
    /// The container of this name, or whose id begins so.
    pub fn find(&mut self, name: &str) -> Result<&mut Container, Refusal> {
        let mut all = self.containers.iter_mut();
        let found =
            all.find(|one| one.name == name || !name.is_empty() && one.id.starts_with(name));
        found.ok_or_else(|| (404, format!("No such container: {name}")))
    }

    fn is_free(&self, name: &str) -> Result<(), Refusal> {
        let Some(holder) = self.containers.iter().find(|one| one.name == name) else {
            return Ok(());
        };
        let text = format!(
            "Conflict. The container name \"/{name}\" is already in use by container \"{}\". You have to remove (or rename) that container to be able to reuse that name.",
            holder.id
        );
        Err((409, text))
    }

    fn free_address(&self, network: usize, [a, b]: [u8; 2]) -> Ipv4Addr {
        let taken: BTreeSet<_> = self
            .containers
            .iter()
            .flat_map(|one| one.networks.values().flatten())
            .collect();
        let mut all = (2..=254).map(|host| Ipv4Addr::new(127, a, b + network as u8, host));
        all.find(|address| !taken.contains(address)).unwrap()
    }
}

impl Engine {
    /// An engine with one network.
    pub fn new(network: &str) -> Arc<Engine> {
        let (net, lease) = loop {
            // The last byte leaves room for more networks, the first ones for whoever uses 127.0.0.1.
            let net = [rand::random_range(16..=250), 8 * rand::random_range(0..=30)];
            if let Ok(lease) = TcpListener::bind((Ipv4Addr::new(127, net[0], net[1], 1), 3000)) {
                break (net, lease);
            }
        };
        let state = State {
            networks: vec![network.to_owned()],
            apis: (24, 51),
            ..State::default()
        };
        Arc::new(Engine {
            events: Events::new(),
            folder: tempfile::tempdir().unwrap(),
            net,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            _lease: lease,
        })
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Something was changed: whoever waits looks again.
    pub fn notify(&self) {
        self.changed.send_replace(());
    }

    pub async fn until(&self, holds: impl Fn(&mut State) -> bool) {
        let mut changed = self.changed.subscribe();
        while !holds(&mut self.state()) {
            changed.changed().await.unwrap();
        }
    }

    /// What a container wrote, on either stream.
    pub fn log_of(&self, id: &str) -> PathBuf {
        self.folder.path().join(format!("{id}.log"))
    }

    /// Makes a container from the JSON of `POST /containers/create`; its id.
    pub fn create(&self, name: &str, body: &Value) -> Result<String, Refusal> {
        let mut state = self.state();
        let reference = body["Image"].as_str().unwrap_or_default();
        let image = image::find(reference)
            .filter(|image| !image.remote || state.fetched.contains(image.name));
        let image = image.ok_or_else(|| (404, format!("No such image: {reference}")))?;
        state.is_free(name)?;
        let container = Container::new(name.to_owned(), image, body);
        if container.networks.len() > 1 {
            let names: Vec<&str> = container.networks.keys().map(String::as_str).collect();
            return Err((
                400,
                format!(
                    "Container cannot be connected to network endpoints: {}",
                    names.join(", ")
                ),
            ));
        }
        if let Some(unknown) = container
            .networks
            .keys()
            .find(|name| !state.networks.contains(name))
        {
            return Err((404, format!("network {unknown} not found")));
        }
        let id = container.id.clone();
        state.containers.push(container);
        self.events.tell("create", &id, name);
        Ok(id)
    }

    /// Joins a container to one more network: one that does not run, or one that was there before and has its address again.
    pub fn connect(
        &self,
        network: &str,
        container: &str,
        aliases: Vec<String>,
    ) -> Result<(), Refusal> {
        let mut state = self.state();
        let at = state.networks.iter().position(|known| known == network);
        let at = at.ok_or_else(|| (404, format!("network {network} not found")))?;
        let free = state.free_address(at, self.net);
        let found = state.find(container)?;
        if found.networks.contains_key(network) {
            let text = format!(
                "endpoint with name {} already exists in network {network}",
                found.name
            );
            return Err((403, text));
        }
        let address = match found.runs() {
            true if found.left.get(network) == Some(&free) => Some(free),
            true => {
                let text = "this engine connects no process that listens elsewhere already";
                return Err((501, text.to_owned()));
            }
            false => None,
        };
        found.left.remove(network);
        found.networks.insert(network.to_owned(), address);
        found.aliases.insert(network.to_owned(), aliases);
        let (id, name) = (found.id.clone(), found.name.clone());
        self.events.tell("connect", &id, &name);
        drop(state);
        self.notify();
        Ok(())
    }

    /// Takes a container off a network.
    pub fn disconnect(&self, network: &str, container: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let found = state.find(container)?;
        let Some(address) = found.networks.remove(network) else {
            let text = format!(
                "container {} is not connected to network {network}",
                found.id
            );
            return Err((403, text));
        };
        found.aliases.remove(network);
        found
            .left
            .extend(address.map(|address| (network.to_owned(), address)));
        let (id, name) = (found.id.clone(), found.name.clone());
        self.events.tell("disconnect", &id, &name);
        drop(state);
        self.notify();
        Ok(())
    }

    /// What `GET /networks/{}` shows.
    pub fn network(&self, name: &str) -> Result<Value, Refusal> {
        let state = self.state();
        let at = state.networks.iter().position(|known| known == name);
        let at = at.ok_or_else(|| (404, format!("network {name} not found")))?;
        let [a, b] = self.net;
        let net = format!("127.{a}.{}", b + at as u8);
        let there = state.containers.iter().filter_map(|one| {
            let address = one.networks.get(name)?.as_ref()?;
            let endpoint = json!({ "Name": one.name, "IPv4Address": format!("{address}/24") });
            Some((one.id.clone(), endpoint))
        });
        let there: serde_json::Map<String, Value> = there.collect();
        Ok(json!({
            "Name": name,
            "Driver": "bridge",
            "Scope": "local",
            "IPAM": { "Config": [{ "Subnet": format!("{net}.0/24"), "Gateway": format!("{net}.1") }] },
            "Containers": there,
        }))
    }

    /// Starts a container; false: it ran already.
    pub fn start(self: &Arc<Engine>, name: &str) -> Result<bool, Refusal> {
        let mut state = self.state();
        let found = state.find(name)?;
        if found.runs() {
            return Ok(false);
        }
        let mut container = found.clone();
        for (name, address) in &mut container.networks {
            let network = state
                .networks
                .iter()
                .position(|known| known == name)
                .unwrap_or_default();
            *address = Some(state.free_address(network, self.net));
        }
        let child = match self.spawn(&container, &container.command()) {
            Ok(child) => child,
            Err((code, why)) => {
                let found = state.find(name)?;
                (found.exit_code, found.error) = (code, why.clone());
                return Err((400, why));
            }
        };
        container.pid = child.id();
        container.status = Status::Running;
        container.started_at = Some(jiff::Timestamp::now());
        (container.by_hand, container.out_of_memory) = (false, false);
        container.health = container.healthcheck().map(|_| Default::default());
        self.events.tell("start", &container.id, &container.name);
        self.watch_over(&mut container, child);
        let id = container.id.clone();
        *state.find(&id)? = container;
        drop(state);
        self.notify();
        Ok(true)
    }

    /// Stops a container and waits for its end, at most `grace` before it is killed; false: it did not run.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<bool, Refusal> {
        let id = {
            let mut state = self.state();
            let found = state.find(name)?;
            found.by_hand = true;
            if found.status == Status::Restarting {
                found.status = Status::Exited;
            }
            if !found.runs() {
                return Ok(false);
            }
            found.id.clone()
        };
        self.signal(&id, "TERM");
        if tokio::time::timeout(grace, self.ended(&id)).await.is_err() {
            self.signal(&id, "KILL");
            self.ended(&id).await;
        }
        self.events.tell("stop", &id, name);
        Ok(true)
    }

    /// Gives a container another name.
    pub fn rename(&self, container: &str, name: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        state.is_free(name)?;
        let found = state.find(container)?;
        found.name = name.to_owned();
        self.events.tell("rename", &found.id, name);
        Ok(())
    }

    /// Takes a container away that does not run.
    pub fn remove(&self, name: &str) -> Result<(), Refusal> {
        let mut state = self.state();
        let found = state.find(name)?;
        if found.runs() {
            let text = format!(
                "You cannot remove a running container {}. Stop the container before attempting removal or force remove",
                found.id
            );
            return Err((409, text));
        }
        let (id, name) = (found.id.clone(), found.name.clone());
        state.containers.retain(|one| one.id != id);
        self.events.tell("destroy", &id, &name);
        drop(state);
        self.notify();
        Ok(())
    }

    /// Returns when a container does not run.
    pub async fn ended(&self, id: &str) {
        self.until(|state| !state.find(id).is_ok_and(|one| one.runs()))
            .await;
    }
}
