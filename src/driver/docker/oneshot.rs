//! A container that runs once beside green, to check it from its own network.

use crate::config::Pull;
use crate::driver::docker::clone::Spec;
use crate::driver::docker::engine::{Engine, EngineError};
use crate::driver::docker::labels::Owner;
use bollard::models::{ContainerCreateBody, HostConfig};
use std::collections::BTreeMap;
use std::time::Duration;

/// Lines of its output that are reported.
const LINES: usize = 20;

/// The container to run.
#[derive(Clone, Debug)]
pub struct OneShot {
    /// The owner mark, with the rollout.
    pub owner: Owner,
    /// Its number among the check containers of that rollout.
    pub number: usize,
    /// The image.
    pub image: String,
    /// The command instead of the image's own; empty: the image's.
    pub command: Vec<String>,
    /// The network that it shares with green.
    pub network: Option<String>,
    /// When the image is fetched.
    pub pull: Pull,
    /// The longest wait for its end.
    pub limit: Duration,
}

/// Runs it to its end and removes it; returns its exit status, and the end of its output.
///
/// # Errors
/// When it cannot be run, or does not end in time.
pub async fn run(engine: &Engine, order: &OneShot) -> Result<(i64, String), EngineError> {
    let spec = spec(order);
    // A container left by a crash would hold the name.
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
    // If this fails, the next cleanup removes it.
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
