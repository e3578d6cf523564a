//! A container: what it was made with, how it is, and how the engine shows it.

use crate::support::fake::image::Image;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// Docker's word for never.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// What it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Exited,
}

impl Status {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// A container.
#[derive(Clone, Debug)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub status: Status,
    /// Its networks, with its address there while it runs.
    pub networks: BTreeMap<String, Option<Ipv4Addr>>,
    /// The names that it was given there.
    pub aliases: BTreeMap<String, Vec<String>>,
    /// The address of a network that it was taken off: its process listens there still.
    pub left: BTreeMap<String, Ipv4Addr>,
    /// Files that were copied into it, or written by it.
    pub files: Vec<String>,
    pub pid: Option<u32>,
    /// Somebody stopped it: the engine does not start it again by itself.
    pub by_hand: bool,
    /// The kernel killed it for want of memory.
    pub out_of_memory: bool,
    pub health: Option<Health>,
    pub exit_code: i64,
    pub error: String,
    pub restarts: u32,
    pub started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    config: Value,
    host: Value,
    image: String,
}

/// What its health check says.
#[derive(Clone, Debug, Default)]
pub struct Health {
    pub status: String,
    pub streak: u64,
    pub output: String,
    pub code: i64,
    /// Whether a check has been run since the start.
    pub checked: bool,
}

/// The fields of `over` laid over those of `base`; what is null says nothing.
fn laid_over(base: Value, over: &Value) -> Value {
    let (mut base, over) = match (base, over) {
        (base, Value::Null) => return base,
        (Value::Object(base), Value::Object(over)) => (base, over),
        (_, over) => return over.clone(),
    };
    for (name, value) in over {
        if !value.is_null() {
            base.insert(name.clone(), value.clone());
        }
    }
    Value::Object(base)
}

fn words(value: &Value) -> Vec<String> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(|word| Some(word.as_str()?.to_owned()))
        .collect()
}

impl Container {
    /// A container as it is created from `body`, the JSON of `POST /containers/create`.
    pub fn new(name: String, image: &Image, body: &Value) -> Container {
        let id = format!(
            "{:032x}{:032x}",
            rand::random::<u128>(),
            rand::random::<u128>()
        );
        let host = json!({ "NetworkMode": "default", "AutoRemove": false, "Memory": 0, "RestartPolicy": { "Name": "no", "MaximumRetryCount": 0 } });
        let host = laid_over(host, &body["HostConfig"]);
        let named = body["NetworkingConfig"]["EndpointsConfig"].as_object();
        let mut networks: Vec<String> = named
            .into_iter()
            .flatten()
            .map(|(name, _)| name.clone())
            .collect();
        if networks.is_empty() {
            networks.extend(host["NetworkMode"].as_str().map(str::to_owned));
        }
        let aliases =
            |(name, endpoint): (&String, &Value)| (name.clone(), words(&endpoint["Aliases"]));
        let aliases = named.into_iter().flatten().map(aliases).collect();
        Container {
            aliases,
            left: BTreeMap::new(),
            files: vec![],
            config: config(&id, image, body),
            id,
            name,
            status: Status::Created,
            networks: networks.into_iter().map(|name| (name, None)).collect(),
            pid: None,
            by_hand: false,
            out_of_memory: false,
            health: None,
            exit_code: 0,
            error: String::new(),
            restarts: 0,
            started_at: None,
            finished_at: None,
            host,
            image: image.id(),
        }
    }

    pub fn runs(&self) -> bool {
        matches!(self.status, Status::Running | Status::Paused)
    }

    /// Whether it has each of these labels, as `name=value` or `name`.
    pub fn labelled(&self, labels: &[String]) -> bool {
        labels.iter().all(|wanted| {
            let (name, value) = wanted.split_once('=').unwrap_or((wanted, ""));
            let found = self.config["Labels"][name].as_str();
            found.is_some_and(|found| value.is_empty() || found == value)
        })
    }

    pub fn env(&self) -> Vec<(String, String)> {
        let pair = |entry: &String| {
            let (name, value) = entry.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        words(&self.config["Env"]).iter().filter_map(pair).collect()
    }

    /// Entrypoint and arguments.
    pub fn command(&self) -> Vec<String> {
        let mut command = words(&self.config["Entrypoint"]);
        command.extend(words(&self.config["Cmd"]));
        command
    }

    /// The command of its health check, its interval in nanoseconds and its retries.
    pub fn healthcheck(&self) -> Option<(Vec<String>, u64, u64)> {
        let check = self.config["Healthcheck"].as_object()?;
        let test = words(&check["Test"]);
        let number = |name: &str| check.get(name).and_then(Value::as_u64);
        let command = test.strip_prefix(&["CMD".to_owned()])?.to_vec();
        Some((command, number("Interval")?, number("Retries").unwrap_or(3)))
    }

    /// The id of its image.
    pub fn image(&self) -> &str {
        &self.image
    }

    pub fn restart_policy(&self) -> &str {
        self.host["RestartPolicy"]["Name"]
            .as_str()
            .unwrap_or_default()
    }

    pub fn set_restart_policy(&mut self, policy: &Value) {
        self.host["RestartPolicy"] = policy.clone();
    }

    /// Takes note of its end.
    pub fn ended(&mut self, how: ExitStatus) {
        let code = how.code().or(how.signal().map(|signal| 128 + signal));
        self.exit_code = i64::from(code.unwrap_or_default());
        self.finished_at = Some(Timestamp::now());
        self.pid = None;
        self.networks
            .values_mut()
            .for_each(|address| *address = None);
        self.status = Status::Exited;
    }

    /// Whether it has ended, and the engine is to start it again.
    pub fn comes_back(&self) -> bool {
        let wanted = match self.restart_policy() {
            "always" | "unless-stopped" => true,
            "on-failure" => self.exit_code != 0,
            _ => false,
        };
        wanted && self.status == Status::Exited && !self.by_hand
    }

    /// As `GET /containers/{}/json` shows it.
    pub fn inspect(&self) -> Value {
        let time = |time: Option<Timestamp>| time.map_or(NEVER.to_owned(), |time| time.to_string());
        let network = |(name, address): (&String, &Option<Ipv4Addr>)| {
            let address = address.map_or(String::new(), |address| address.to_string());
            let mut aliases = self.aliases.get(name).cloned().unwrap_or_default();
            aliases.push(self.short().to_owned());
            let endpoint = json!({ "Aliases": aliases, "NetworkID": name, "IPAddress": address });
            (name.clone(), endpoint)
        };
        let networks: Map<String, Value> = self.networks.iter().map(network).collect();
        let mut state = json!({
            "Status": self.status.name(),
            // While the engine waits to start it again it still says `Running`.
            "Running": self.runs() || self.status == Status::Restarting,
            "Paused": self.status == Status::Paused,
            "Restarting": self.status == Status::Restarting,
            "OOMKilled": self.out_of_memory,
            "Dead": false,
            "Pid": self.pid.unwrap_or_default(),
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": time(self.started_at),
            "FinishedAt": time(self.finished_at),
        });
        if let Some(health) = &self.health {
            let last = json!({ "ExitCode": health.code, "Output": health.output });
            let log = if health.checked { vec![last] } else { vec![] };
            state["Health"] =
                json!({ "Status": health.status, "FailingStreak": health.streak, "Log": log });
        }
        json!({
            "Id": self.id,
            "Name": format!("/{}", self.name),
            "Image": self.image,
            "RestartCount": self.restarts,
            "State": state,
            "Config": self.config,
            "HostConfig": self.host,
            "NetworkSettings": { "Networks": networks },
            "Mounts": [],
        })
    }

    /// As `GET /containers/json` lists it.
    pub fn summary(&self) -> Value {
        json!({
            "Id": self.id,
            "Names": [format!("/{}", self.name)],
            "Image": self.config["Image"],
            "ImageID": self.image,
            "Labels": self.config["Labels"],
            "State": self.status.name(),
        })
    }

    /// What Docker calls it on its networks.
    pub fn short(&self) -> &str {
        &self.id[..12]
    }
}

/// The settings: what was asked for, laid over the image's as Docker does.
fn config(id: &str, image: &Image, body: &Value) -> Value {
    let defaults = image.config();
    let mut config = laid_over(defaults.clone(), body);
    let named = words(&body["Env"]);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let own: Vec<String> = named.iter().map(|entry| name(entry)).collect();
    let mut env = named;
    env.extend(
        words(&defaults["Env"])
            .into_iter()
            .filter(|entry| !own.contains(&name(entry))),
    );
    config["Env"] = json!(env);
    // An entrypoint of one's own takes the image's command away; `[""]` takes the entrypoint away.
    if !body["Entrypoint"].is_null() {
        config["Cmd"] = body["Cmd"].clone();
        if words(&body["Entrypoint"]) == [""] {
            config["Entrypoint"] = Value::Null;
        }
    }
    config["Healthcheck"] = match &body["Healthcheck"] {
        Value::Null => defaults["Healthcheck"].clone(),
        own => laid_over(defaults["Healthcheck"].clone(), own),
    };
    config["Labels"] = match &body["Labels"] {
        Value::Null => json!({}),
        labels => labels.clone(),
    };
    if config["Hostname"].as_str().is_none_or(str::is_empty) {
        config["Hostname"] = json!(id[..12]);
    }
    let fields = config.as_object_mut().unwrap();
    fields.remove("HostConfig");
    fields.remove("NetworkingConfig");
    config
}
