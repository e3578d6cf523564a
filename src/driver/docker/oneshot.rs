//! A container that runs once beside green, to look at it as its neighbours do.

use crate::config::Pull;
use crate::driver::docker::clone::Spec;
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::labels::Owner;
use bollard::models::{ContainerCreateBody, HostConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines of its output that are told.
const LINES: usize = 20;

/// What is to be run.
#[derive(Clone, Debug)]
pub struct OneShot {
    /// For which rollout.
    pub owner: Owner,
    /// Its number among the containers of that rollout that check.
    pub number: usize,
    /// The image.
    pub image: String,
    /// Instead of the image's own command; empty: that one.
    pub command: Vec<String>,
    /// The network that it shares with green.
    pub network: Option<String>,
    /// Whether the image may be fetched.
    pub pull: Pull,
    /// The longest wait for its end.
    pub limit: Duration,
}

/// Runs it to its end and takes it away: its exit code, and the last of what it wrote.
///
/// # Errors
/// When it cannot be run, or does not end in time.
pub async fn run(engine: &Engine, order: &OneShot) -> Result<(i64, String), EngineError> {
    let spec = spec(order);
    // One of before a crash would have the name.
    if let Some(left) = engine.find(&spec.name).await?
        && order.owner.checks(&left.labels)
    {
        take_away(engine, &left.id).await?;
    }
    if engine.image(&order.image).await.is_err() && order.pull != Pull::Never {
        engine.pull(&order.image, None, |_, _| {}).await?;
    }
    let (id, _) = engine.create(&spec).await?;
    let ran = async {
        engine.start(&id).await?;
        let code = engine.wait(&id, order.limit).await?;
        Ok((code, engine.last_lines(&id, LINES).await?))
    };
    let result = ran.await;
    // What is left here the next sweep finds.
    let _ = take_away(engine, &id).await;
    result
}

async fn take_away(engine: &Engine, id: &str) -> Result<(), EngineError> {
    engine.stop(id, Some(Duration::ZERO)).await?;
    engine.remove(id).await
}

fn spec(order: &OneShot) -> Spec {
    let owner = &order.owner;
    Spec {
        name: format!("{}-{}-check-{}", owner.service, owner.rollout, order.number),
        body: ContainerCreateBody {
            image: Some(order.image.clone()),
            cmd: (!order.command.is_empty()).then(|| order.command.clone()),
            labels: Some(owner.labels_of_check()),
            host_config: Some(HostConfig {
                network_mode: order.network.clone(),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        },
        platform: None,
        networks: BTreeMap::new(),
        remarks: vec![],
    }
}
