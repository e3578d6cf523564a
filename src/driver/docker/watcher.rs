//! Watches the containers of all pools: they are looked up again whenever an event concerns one.
//!
//! Events only trigger; what counts is the result of a lookup. They are subscribed before the lookup, and a lookup
//! every half minute finds what no event reported. The end of the event stream says nothing about the containers:
//! their state is unknown until the engine answers again.

use crate::core::table::Color;
use crate::driver::docker::container::Container;
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::labels::{self, DISCOVERED};
use crate::driver::docker::tasks;
use futures::StreamExt;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// The interval of lookups without an event.
const RESYNC: Duration = Duration::from_secs(30);

/// The interval where tasks of Swarm are wanted: changes on another node cause no event here.
const RESYNC_TASKS: Duration = Duration::from_secs(2);

/// Delay of a second lookup after the subscription: events during the subscription may be lost.
const SETTLE: Duration = Duration::from_secs(1);

/// The first and the longest wait before a lost engine is queried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(300), Duration::from_secs(5));

/// What the watcher looks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wants {
    /// The pools.
    pub pools: Vec<WatchTarget>,
    /// Whether to look for containers with labels of shifter, too.
    pub labelled: bool,
}

/// The containers of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchTarget {
    /// The service.
    pub service: String,
    /// The pool.
    pub color: Color,
    /// How its containers are found.
    pub by: Selector,
}

/// How the containers of a pool are selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// By their full ids.
    Ids(Vec<String>),
    /// By name.
    Names(Vec<String>),
    /// By all of these labels.
    Labels(Vec<String>),
    /// By their own labels: this pool of this service.
    Pool(String, Color),
    /// The tasks of a Swarm service that its overlay network knows.
    Tasks {
        /// The service.
        service: String,
        /// The network.
        network: String,
    },
}

/// The result of a lookup for one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The pool that was looked for.
    pub want: WatchTarget,
    /// The containers that exist, running or not.
    pub containers: Vec<Container>,
    /// When the lookup began.
    pub began: std::time::Instant,
}

/// A message of the watcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerUpdate {
    /// The containers with labels of shifter.
    Labelled(Vec<Container>),
    /// The current containers.
    Seen(Vec<Found>),
    /// The state is unknown from now on; the text says why.
    Lost(String),
}

/// Looks once for the containers with labels of shifter.
///
/// # Errors
/// When the engine does not answer.
pub async fn labelled(engine: &Engine) -> Result<Vec<Container>, EngineError> {
    replicas(engine, &[DISCOVERED.to_owned()]).await
}

/// All containers with these labels, without single runs of Compose services (`docker compose run`), which have them too.
async fn replicas(engine: &Engine, labels: &[String]) -> Result<Vec<Container>, EngineError> {
    let mut found = engine.labelled(labels).await?;
    found.retain(|container| !labels::one_off(&container.labels));
    Ok(found)
}

/// Looks up the containers once.
///
/// # Errors
/// When the engine does not answer.
pub async fn look(engine: &Engine, wants: &[WatchTarget]) -> Result<Vec<Found>, EngineError> {
    let began = std::time::Instant::now();
    let each = wants.iter().map(|want| async {
        let containers = match &want.by {
            Selector::Labels(labels) => replicas(engine, labels).await?,
            Selector::Pool(service, color) => {
                let mut found = replicas(engine, &[format!("{DISCOVERED}={service}")]).await?;
                found.retain(|container| labels::pool_of(&container.labels) == Some(*color));
                found
            }
            Selector::Tasks { service, network } => {
                let known = engine.tasks(service, network).await?;
                let here = engine.labelled(&[tasks::label(service)]).await?;
                tasks::join(network, &known, here)
            }
            Selector::Ids(names) | Selector::Names(names) => {
                let all = names.iter().map(|name| engine.find(name));
                let found = futures::future::try_join_all(all).await?;
                found.into_iter().flatten().collect()
            }
        };
        Ok(Found {
            want: want.clone(),
            containers,
            began,
        })
    });
    futures::future::try_join_all(each).await
}

/// Looks up the containers at each event, until the receiver is gone. Without wants the engine is never queried.
pub async fn follow(
    engine: Engine,
    mut wants: watch::Receiver<Wants>,
    news: mpsc::Sender<ContainerUpdate>,
) {
    let mut wait = BACKOFF.0;
    loop {
        if *wants.borrow() == Wants::default() {
            if wants.changed().await.is_err() {
                return;
            }
            continue;
        }
        let why = match watch_while_it_answers(&engine, &mut wants, &news, &mut wait).await {
            Ok(()) => return,
            Err(why) => why,
        };
        // The end of the events alone means nothing; an engine that also does not answer is lost.
        if let Err(error) = engine.ping().await {
            let error = error.to_string();
            let text = if error == why {
                error
            } else {
                format!("{error} ({why})")
            };
            if news.send(ContainerUpdate::Lost(text)).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// Returns when the receiver is gone; an error when the engine is lost.
async fn watch_while_it_answers(
    engine: &Engine,
    wants: &mut watch::Receiver<Wants>,
    news: &mpsc::Sender<ContainerUpdate>,
    wait: &mut Duration,
) -> Result<(), String> {
    let (poke, mut poked) = mpsc::channel(1);
    let events = engine.events().await.map_err(|error| error.to_string())?;
    let mut events = Box::pin(events);
    // Events are drained as they come, also during a lookup: one trigger stands for all of them.
    let mut pump = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            match event {
                Ok(_) => {
                    let _ = poke.try_send(());
                }
                Err(error) => return error.to_string(),
            }
        }
        "the events ended".to_owned()
    });
    let _stop = AbortOnDrop(pump.abort_handle());
    let mut due = Instant::now() + SETTLE;
    loop {
        let wanted = wants.borrow_and_update().clone();
        let tasks = wanted
            .pools
            .iter()
            .any(|want| matches!(want.by, Selector::Tasks { .. }));
        let every = if tasks { RESYNC_TASKS } else { RESYNC };
        due = due.min(Instant::now() + every);
        if wanted.labelled {
            let found = labelled(engine).await.map_err(|error| error.to_string())?;
            if news.send(ContainerUpdate::Labelled(found)).await.is_err() {
                return Ok(());
            }
        }
        let found = look(engine, &wanted.pools)
            .await
            .map_err(|error| error.to_string())?;
        *wait = BACKOFF.0;
        if news.send(ContainerUpdate::Seen(found)).await.is_err() {
            return Ok(());
        }
        tokio::select! {
            ended = &mut pump => return Err(ended.unwrap_or_else(|error| error.to_string())),
            Some(()) = poked.recv() => {}
            () = tokio::time::sleep_until(due) => due = Instant::now() + every,
            changed = wants.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
