//! The output of `shifter check` on containers: those that each service would have, and their problems.

use crate::config::{Config, PoolSpec};
use crate::core::table::Color;
use crate::driver::docker::watcher::{self, Found, WatchTarget};
use crate::driver::docker::{self, Engine, EngineError, labels, members, pools};
use std::time::Duration;

/// Timeout of the engine: a check of the file must not hang on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line for each pool of containers with problems, and one where Docker cannot be queried; none where no service has
/// containers.
pub(super) fn troubles(config: &Config) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return vec![] };
    let engine = Engine::new(config.docker.host.clone());
    let all: Vec<(WatchTarget, pools::Target)> = config.services.iter().flat_map(wants).collect();
    if all.is_empty() {
        return vec![];
    }
    let wanted: Vec<WatchTarget> = all.iter().map(|(want, _)| want.clone()).collect();
    let looked = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, async {
            let found = watcher::look(&engine, &wanted).await?;
            let mut lines = vec![];
            for ((_, place), found) in all.iter().zip(found) {
                let like = lookalikes(&engine, place, &found).await?;
                lines.extend(of_a_pool(place, found, &like));
            }
            Ok::<_, EngineError>(lines)
        })
        .await
    });
    match looked {
        Ok(Ok(lines)) => lines,
        Ok(Err(error)) => vec![format!("the containers were not looked at: {error}")],
        Err(_) => vec![format!(
            "the containers were not looked at: Docker did not answer within {} s",
            PATIENCE.as_secs()
        )],
    }
}

fn wants(service: &crate::config::Service) -> Vec<(WatchTarget, pools::Target)> {
    // Services described by labels are unknown before the containers were queried.
    if !matches!(service.blue, PoolSpec::Containers(_)) {
        return vec![];
    }
    let places = pools::places(service, &[], None).into_iter().flatten();
    Color::BOTH
        .into_iter()
        .zip(places)
        .filter_map(|(color, place)| {
            let place = place?;
            let want = WatchTarget {
                service: service.name.clone(),
                color,
                by: place.by.clone(),
            };
            Some((want, place))
        })
        .collect()
}

/// Running containers that may be a blue that is not there, in words; empty where it is there.
async fn lookalikes(
    engine: &Engine,
    place: &pools::Target,
    found: &Found,
) -> Result<String, EngineError> {
    if !found.containers.is_empty() || found.want.color == Color::Green {
        return Ok(String::new());
    }
    let mut running = engine.running_on(place.network.as_deref()).await?;
    running.retain(|one| !one.labels.contains_key(labels::MANAGED));
    let like = docker::lookalikes::of(&place.by, None, "", &running);
    Ok(docker::lookalikes::told(&like))
}

/// The problems of a pool, a line each; `like` names containers that may be a missing blue.
fn of_a_pool(place: &pools::Target, found: Found, like: &str) -> Vec<String> {
    let (service, color) = (found.want.service, found.want.color);
    let nothing = found.containers.is_empty();
    let (containers, mixed) = members::of_one_project(&place.by, found.containers, None);
    let mut lines = pools::unreachable(place, &containers);
    lines.extend(members::troubles(&containers));
    lines.extend(mixed);
    lines.extend(pools::unexposed(place, &containers));
    if nothing && color == Color::Blue {
        lines.push(match like {
            "" => "no container of it is there now; it has users from the first rollout on, or when one is started".to_owned(),
            like => format!("no container of it is there now. Did you mean {like}?"),
        });
    }
    let line = |text: String| format!("{service}, {color}: {text}");
    lines.into_iter().map(line).collect()
}
