//! Creates green or a baseline: the image is fetched, blue's settings are copied onto it, the copies are started.
//!
//! Safe to repeat: containers of an earlier attempt of the same rollout are found by their labels and used.

use crate::config::{Copying, Pull};
use crate::driver::docker::clone::{self, Changes, CloneError, Spec};
use crate::driver::docker::container::{Container, State};
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::images::{self, Image, Room};
use crate::driver::docker::injected::Injected;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::lookalikes;
use crate::driver::docker::portrait;
use crate::driver::docker::watcher::Selector;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, EndpointSettings, HostConfig, NetworkingConfig,
    RestartPolicy, RestartPolicyNameEnum,
};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use thiserror::Error;

/// The request to create containers.
#[derive(Clone, Debug)]
pub struct Raise {
    /// The owner mark, with the purpose.
    pub owner: Owner,
    /// The image, with its tag.
    pub image: String,
    /// The container with the settings to copy; `None`: the service's first version.
    pub like: Option<String>,
    /// The network, where there is no container to take it from.
    pub network: Option<String>,
    /// The differences.
    pub copying: Copying,
    /// Number of containers.
    pub replicas: u32,
    /// Refuse to start with too little memory.
    pub strict: bool,
    /// How blue is selected, where none of it is there and it was not stated that this is the first version: then it is
    /// not started beside what may be blue.
    pub absent: Option<Selector>,
}

/// A report during the creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line for people.
    Line(String),
    /// This image was fetched; it was not on the host before.
    Fetched {
        /// Its id.
        id: String,
        /// The requested reference.
        image: String,
    },
}

/// Why green was not created. Its containers are removed again, unless they run.
#[derive(Debug, Error)]
pub enum RaiseError {
    /// The engine refuses or does not answer.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Blue cannot be copied.
    #[error(transparent)]
    Clone(#[from] CloneError),
    /// The image is not on the host and must not be fetched.
    #[error(
        "the image {0} is not on this host, and `pull` is \"never\": `docker pull {0}`, or set `pull` of [service.{1}.copy]"
    )]
    NoImage(String, String),
    /// The image could not be fetched.
    #[error("the image {0} could not be fetched: {1}. Does `docker pull {0}` work?")]
    Pull(String, EngineError),
    /// The name belongs to a container that this shifter did not create.
    #[error(
        "the name {0} belongs to the container {1}, which this shifter did not make: rename or remove it"
    )]
    NameTaken(String, String),
    /// There is too little memory for two versions.
    #[error("{0}. --strict was given")]
    TooLittle(String),
    /// Blue is not there, and containers run that may be it.
    #[error(
        "{wanted} is there, which [service.{service}] has as blue, but these run: {found}. If one of them is blue, name it: `blue = {{ container = \"{first}\", … }}`, then `shifter reload` where one serves. If this is the first version of {service}, say so: --first"
    )]
    Lookalikes {
        /// The selection without a match.
        wanted: String,
        /// The service.
        service: String,
        /// The containers with their images.
        found: String,
        /// The name of the first one.
        first: String,
    },
    /// A rollout with this number existed that is not recorded any more.
    #[error(
        "{0} runs {1} and is marked as made by rollout {2}, which this journal does not know: `docker rm -f {0}`, then try again"
    )]
    OtherImage(String, String, i64),
    /// There is no container to copy.
    #[error("no container of blue is there to copy")]
    NoBlue,
    /// The container was created and cannot be started.
    #[error("{0} could not be started: {1}")]
    Start(String, EngineError),
}

/// Creates green, or its missing containers; `say` gets reports for people.
///
/// # Errors
/// When it cannot be created; the message says why and what to do.
pub async fn raise(engine: &Engine, raise: &Raise, say: impl Fn(Said)) -> Result<(), RaiseError> {
    let present = engine.labelled(&raise.owner.selector()).await?;
    let other = |one: &&Container| one.image != raise.image && !raise.owner.baseline;
    if let Some(other) = present.iter().find(other) {
        return Err(RaiseError::OtherImage(
            other.name.clone(),
            other.image.clone(),
            raise.owner.rollout,
        ));
    }
    let names: Vec<String> = (1..=raise.replicas)
        .map(|n| name(&raise.owner, n, raise.replicas))
        .collect();
    let missing: Vec<&String> = names
        .iter()
        .filter(|name| !present.iter().any(|container| container.name == **name))
        .collect();
    let mut platform = None;
    let line = |text: String| say(Said::Line(text));
    if present.is_empty() {
        lookalikes::refuse(engine, raise).await?;
    }
    if !missing.is_empty() {
        platform = prepare(engine, raise, missing.len(), &say).await?;
    }
    for (i, name) in missing.into_iter().enumerate() {
        let (mut spec, remarks) = specify(engine, raise, name).await?;
        spec.platform.clone_from(&platform);
        let warnings = create(engine, raise, &spec).await?;
        // For a copy of blue these remarks are the same as for green, and not repeated.
        if i == 0 && !raise.owner.baseline {
            remarks.into_iter().for_each(line);
            let warnings = warnings.iter();
            warnings.for_each(|warning| line(format!("Docker warns: {warning}")));
        }
    }
    let made = engine.labelled(&raise.owner.selector()).await?;
    if let (Some(blue), Some(green)) = (&raise.like, made.first())
        && !raise.owner.baseline
        && let Ok(difference) = portrait::difference(engine, blue, &green.id).await
    {
        line(format!(
            "the images differ in\n    {}",
            difference.trim().replace('\n', "\n    ")
        ));
    }
    for container in made {
        if container.state == State::Created {
            start(engine, &container).await?;
        }
    }
    Ok(())
}

/// Reports shortages and what green will lack, and fetches the image; returns the platform to request, where it is not
/// the engine's own.
async fn prepare(
    engine: &Engine,
    raise: &Raise,
    greens: usize,
    say: &impl Fn(Said),
) -> Result<Option<String>, RaiseError> {
    let line = |text: String| say(Said::Line(text));
    let room = engine.room().await?;
    let blue = blue(engine, raise).await?;
    for why in short(raise, &room, &blue, greens) {
        if raise.strict {
            return Err(RaiseError::TooLittle(why));
        }
        line(format!("{why}. --strict refuses then"));
    }
    let files = blue
        .injected
        .told()
        .filter(|_| blue.injected.secrets.is_empty());
    files.into_iter().for_each(line);
    if room.rootless && !raise.owner.baseline {
        line("the engine runs without root, in a network of its own: where its containers' addresses cannot be reached from here, green is never healthy. shifter then has to run in a container on their network".to_owned());
    }
    let platform = images::foreign(&blue.platform, &room.platform);
    fetch(engine, raise, platform.as_deref(), &room, say).await?;
    Ok(platform)
}

/// Blue's data that predict what green needs.
#[derive(Default)]
struct Blue {
    memory: i64,
    /// Size of its image in bytes.
    size: i64,
    platform: String,
    /// Files in the container that green will not have.
    injected: Injected,
}

async fn blue(engine: &Engine, raise: &Raise) -> Result<Blue, EngineError> {
    let Some(like) = &raise.like else {
        return Ok(Blue::default());
    };
    let seen = match engine.inspect(like).await {
        Ok(seen) => seen,
        Err(EngineError::Missing(_)) => return Ok(Blue::default()),
        Err(error) => return Err(error),
    };
    // A container that is gone has no data.
    let image = engine
        .image(seen.image.as_deref().unwrap_or_default())
        .await;
    let image = image.unwrap_or_default();
    let host = seen.host_config.as_ref();
    Ok(Blue {
        memory: host.and_then(|host| host.memory).unwrap_or_default(),
        size: image.size,
        platform: images::platform_of_container(&seen).unwrap_or(image.platform),
        injected: match raise.owner.baseline {
            true => Injected::default(),
            false => engine.injected(&seen).await,
        },
    })
}

/// The shortages, and what green will lack.
fn short(raise: &Raise, room: &Room, blue: &Blue, greens: usize) -> Vec<String> {
    let mut short = vec![];
    let wanted = blue
        .memory
        .saturating_mul(i64::try_from(greens).unwrap_or(1));
    let who = if raise.owner.baseline {
        "the baseline"
    } else {
        "green"
    };
    if let Some(free) = room.memory.filter(|free| wanted > *free) {
        short.push(format!(
            "{who} may want {} of memory, and {} is free: what runs may be killed",
            megabytes(wanted),
            megabytes(free)
        ));
    }
    if let Some((folder, free)) = room.disk.as_ref().filter(|(_, free)| blue.size > *free) {
        short.push(format!(
            "blue's image holds {}, and {} is free in {folder}: green's may not fit (`docker image prune`)",
            megabytes(blue.size),
            megabytes(*free)
        ));
    }
    short.extend(
        blue.injected
            .told()
            .filter(|_| !blue.injected.secrets.is_empty()),
    );
    short
}

fn name(owner: &Owner, n: u32, all: u32) -> String {
    let (service, rollout) = (&owner.service, owner.rollout);
    let what = if owner.baseline { "-baseline" } else { "" };
    // A container name has at least two characters, and a service's may have one.
    if all == 1 {
        format!("{service}-{rollout}{what}")
    } else {
        format!("{service}-{rollout}{what}-{n}")
    }
}

/// Fetches the image where needed; reports an image that was not on the host before.
async fn fetch(
    engine: &Engine,
    raise: &Raise,
    platform: Option<&str>,
    room: &Room,
    say: &impl Fn(Said),
) -> Result<(), RaiseError> {
    let before = match engine.image(&raise.image).await {
        Ok(image) => Some(image),
        Err(EngineError::Missing(_)) => None,
        Err(error) => return Err(error.into()),
    };
    // An image for another platform does not count.
    let fits = |image: &Image| platform.is_none_or(|wanted| image.platform == wanted);
    let here = before.as_ref().is_some_and(fits);
    match raise.copying.pull {
        Pull::Never if !here => {
            let service = raise.owner.service.clone();
            return Err(RaiseError::NoImage(raise.image.clone(), service));
        }
        Pull::Never => return Ok(()),
        Pull::Missing if here => return Ok(()),
        Pull::Missing | Pull::Always => {}
    }
    let room = match &room.disk {
        Some((folder, free)) => format!("; {} is free in {folder}", megabytes(*free)),
        None => String::new(),
    };
    let begun = std::time::Instant::now();
    let mut told = begun;
    let progress = |done: i64, all: i64| {
        if told.elapsed() >= Duration::from_secs(2) {
            told = std::time::Instant::now();
            let (done, all) = (megabytes(done), megabytes(all));
            say(Said::Line(format!(
                "fetching {}: {done} of {all}{room}",
                raise.image
            )));
        }
    };
    let fetched = engine.pull(&raise.image, platform, progress).await;
    fetched.map_err(|error| RaiseError::Pull(raise.image.clone(), error))?;
    let seconds = begun.elapsed().as_secs_f64();
    say(Said::Line(format!(
        "fetched {} in {seconds:.1} s{room}",
        raise.image
    )));
    let after = engine.image(&raise.image).await?;
    if before.is_none_or(|before| before.id != after.id) {
        say(Said::Fetched {
            id: after.id,
            image: raise.image.clone(),
        });
    }
    Ok(())
}

fn megabytes(bytes: i64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// The container to create, with remarks for people.
async fn specify(
    engine: &Engine,
    raise: &Raise,
    name: &str,
) -> Result<(Spec, Vec<String>), RaiseError> {
    let Some(like) = &raise.like else {
        return Ok((first(raise, name), vec![]));
    };
    let blue: ContainerInspectResponse = engine.inspect(like).await?;
    // By its id: a tag may have moved since blue was started.
    let image = engine
        .image(blue.image.as_deref().unwrap_or_default())
        .await?
        .config;
    let changes = Changes {
        image: raise.image.clone(),
        name: name.to_owned(),
        env: raise.copying.env.clone(),
        aliases: raise.copying.aliases.clone(),
        hostname: raise.copying.hostname,
        names: raise.copying.names,
    };
    let spec = clone::clone(&blue, &image, &changes, &raise.owner, raise.copying.compose)?;
    let remarks = spec.remarks.clone();
    Ok((spec, remarks))
}

/// The specification of a service's first version, without a container to copy.
fn first(raise: &Raise, name: &str) -> Spec {
    let env = raise
        .copying
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let endpoint = EndpointSettings {
        aliases: (!raise.copying.aliases.is_empty()).then(|| raise.copying.aliases.clone()),
        ..EndpointSettings::default()
    };
    let policy = |name| RestartPolicy {
        name: Some(name),
        maximum_retry_count: None,
    };
    let mut labels = raise.owner.labels("");
    labels.extend(
        raise
            .owner
            .restart_label(Some(&policy(RestartPolicyNameEnum::UNLESS_STOPPED))),
    );
    Spec {
        name: name.to_owned(),
        body: ContainerCreateBody {
            image: Some(raise.image.clone()),
            env: Some(env.collect()),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: raise.network.clone(),
                restart_policy: Some(policy(RestartPolicyNameEnum::NO)),
                ..HostConfig::default()
            }),
            networking_config: raise.network.clone().map(|network| NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network, endpoint)])),
            }),
            ..ContainerCreateBody::default()
        },
        platform: None,
        networks: BTreeMap::new(),
        remarks: vec![],
    }
}

/// Creates copies of blue as it is, with exactly the image that it runs.
///
/// # Errors
/// When they cannot be created; the message says why and what to do.
pub async fn copy(engine: &Engine, order: Raise, say: impl Fn(Said)) -> Result<(), RaiseError> {
    let blue = match &order.like {
        Some(like) => engine.inspect(like).await?,
        None => return Err(RaiseError::NoBlue),
    };
    let order = Raise {
        // By its id: a tag may have moved since blue was started.
        image: blue.image.unwrap_or_default(),
        owner: order.owner.of_baseline(),
        copying: Copying {
            pull: Pull::Never,
            env: BTreeMap::new(),
            aliases: vec![],
            ..order.copying
        },
        ..order
    };
    raise(engine, &order, say).await
}

/// Creates one container; returns the engine's warnings.
async fn create(engine: &Engine, raise: &Raise, spec: &Spec) -> Result<Vec<String>, RaiseError> {
    let error = match engine.create(spec).await {
        Ok((_, warnings)) => return Ok(warnings),
        Err(error) => error,
    };
    // Podman answers 500 where Docker answers 409: the holder of the name is looked up in any case.
    match engine.find(&spec.name).await {
        Ok(Some(holder))
            if raise.owner.owns(&holder.labels) && raise.owner.made(&holder.labels) =>
        {
            Ok(vec![])
        }
        Ok(Some(holder)) if matches!(error, EngineError::Taken(_)) => {
            let id = holder.id.get(..12).unwrap_or(&holder.id).to_owned();
            Err(RaiseError::NameTaken(spec.name.clone(), id))
        }
        _ => Err(error.into()),
    }
}

/// Starts a container of ours; removes it again if it cannot be started.
async fn start(engine: &Engine, container: &Container) -> Result<(), RaiseError> {
    match engine.start(&container.id).await {
        Ok(()) => Ok(()),
        Err(error @ (EngineError::Refused(..) | EngineError::Missing(_))) => {
            let _ = engine.remove(&container.id).await;
            Err(RaiseError::Start(container.name.clone(), error))
        }
        Err(error) => Err(error.into()),
    }
}
