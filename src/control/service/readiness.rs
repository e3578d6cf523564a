//! The condition that green's start waits for, in words.

use crate::control::service::state::ServiceState;
use crate::core::plan::Step;
use crate::core::table::Color;
use crate::core::time::{Time, span};
use crate::driver::docker::{Container, State};
use crate::store::shared_state::{BackendState, Health};
use std::sync::Arc;

/// What is missing until green is ready; `None` where no rollout is in its first step. `green` is the published pool.
pub(in crate::control) fn missing(
    state: &ServiceState,
    green: &[Arc<BackendState>],
    now: Time,
) -> Option<String> {
    let run = state.run.as_ref()?;
    if run.trial.rollout().step() != Some(&Step::Start) {
        return None;
    }
    let seen = state.docker.containers[Color::Green.index()].as_deref();
    let containers = seen.unwrap_or_default();
    if state.is_docker() && containers.len() < run.members {
        return Some(format!(
            "{} of {} containers of green are there",
            containers.len(),
            run.members
        ));
    }
    let failing = green.iter().find_map(|backend| {
        let why = backend.ill()?;
        Some(format!("{} fails its check: {why}", backend.addr))
    });
    let engine = containers.iter().find_map(unwell);
    if let Some(why) = failing.or(engine) {
        return Some(why);
    }
    if green.iter().any(|backend| backend.health() != Health::Up) {
        return Some("green is not checked yet".to_owned());
    }
    let (min_ready, since) = (run.settings.health.min_ready, run.well_since?);
    (now.since(since) < min_ready).then(|| {
        format!(
            "green is healthy, and has to stay so for {} (`min_ready`)",
            span(min_ready.as_secs_f64())
        )
    })
}

/// Why the engine does not count a container as healthy.
fn unwell(one: &Container) -> Option<String> {
    let why = match one.state {
        State::Running => return None,
        State::Starting => "has not passed its HEALTHCHECK yet".to_owned(),
        ref other => other.to_string(),
    };
    Some(format!("{} {why}", one.name))
}
