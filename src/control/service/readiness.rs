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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, container, running};
    use crate::core::rollout::Event;
    use serde_json::json;

    fn said(fixture: &Fixture, now: u64) -> Option<String> {
        missing(&fixture.state, &fixture.backends(Color::Green), Time(now))
    }

    #[test]
    fn nothing_is_missing_where_nothing_starts() {
        assert_eq!(said(&Fixture::at_rest(ADDRESSES), 0), None);
        let mut fixture = Fixture::starting(ADDRESSES);
        assert!(said(&fixture, 0).is_some());
        fixture.drive(Event::Ready, Time(0));
        assert_eq!(said(&fixture, 0), None, "it has started");
    }

    #[test]
    fn what_the_checks_say_is_told() {
        let text = format!("{ADDRESSES}health = {{ min_ready = \"5s\" }}\n");
        let mut fixture = Fixture::starting(&text);
        let unchecked = "green is not checked yet";
        assert_eq!(said(&fixture, 0).as_deref(), Some(unchecked));
        let why = "got 503".to_owned();
        fixture.backends(Color::Green)[1].found(Some(&why));
        let failing = "127.0.0.1:4 fails its check: got 503";
        assert_eq!(said(&fixture, 0).as_deref(), Some(failing));
        fixture.backends(Color::Green)[1].found(None);
        fixture.check(Color::Green, &[Health::Up, Health::Up]);
        fixture.state.run.as_mut().expect("a rollout").well_since = Some(Time(1_000));
        let soon = said(&fixture, 5_999).expect("not yet");
        assert!(soon.contains("has to stay so for 5"), "{soon}");
        assert_eq!(said(&fixture, 6_000), None);
    }

    #[test]
    fn what_the_engine_says_is_told() {
        let mut fixture = Fixture::starting(CONTAINERS);
        fixture.state.run.as_mut().expect("a rollout").members = 2;
        fixture.check(Color::Green, &[Health::Up]);
        let starting = json!({ "Running": true, "Health": { "Status": "starting" } });
        let exited = json!({ "Running": false, "ExitCode": 3 });
        for (containers, words) in [
            (None, "0 of 2 containers of green are there"),
            (Some(vec![running("a")]), "1 of 2 containers"),
            (
                Some(vec![running("a"), container("b", starting)]),
                "b has not passed its HEALTHCHECK yet",
            ),
            (Some(vec![running("a"), container("b", exited)]), "b exited"),
        ] {
            fixture.state.docker.containers[1] = containers;
            let told = said(&fixture, 0).expect("something is missing");
            assert!(told.starts_with(words), "{told}");
        }
    }
}
