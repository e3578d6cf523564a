//! The origin of a rollout's green: from the file, or copied from blue with another image.

use crate::config::{self, PoolSpec};
use crate::control::api::command::CommandError;
use crate::control::api::message::{Message, TaskResult};
use crate::control::report::messages::sentence;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::plan::Plan;
use crate::core::rollout::Event;
use crate::core::table::{Color, Pool};
use crate::driver::docker::create::{self, Raise, Said};
use crate::driver::docker::pools;
use crate::driver::static_pools;

/// The inputs of a rollout.
pub(in crate::control) struct RolloutInputs {
    pub(in crate::control) blue: Pool,
    pub(in crate::control) green: Pool,
    /// The image to create green from.
    pub(in crate::control) image: Option<String>,
    pub(in crate::control) plan: Plan,
    /// Number of members that green is to have.
    pub(in crate::control) members: usize,
}

/// Blue and green of a rollout that is to begin.
pub(in crate::control) fn inputs(
    state: &ServiceState,
    lost: Option<&str>,
    context: &TaskContext,
    plan: Plan,
    image: Option<&str>,
) -> Result<RolloutInputs, CommandError> {
    let service = &state.route.service;
    if !state.is_docker() {
        return of_addresses(state, plan, image);
    }
    if let Some(why) = lost {
        return Err(CommandError::NotNow(format!(
            "{} Nothing was changed",
            sentence(why)
        )));
    }
    if !state.sighted(context) {
        return Err(CommandError::NotNow(format!(
            "the containers of `{service}` have not been seen yet; try again in a moment"
        )));
    }
    let slots = matches!(state.settings.green, Some(PoolSpec::Containers(_)));
    match (image, &state.settings.green) {
        (Some(_), _) if slots => Err(CommandError::NotNow(format!(
            "`{service}` has containers as green: start the new version there, and leave --image out. To let shifter make green, remove `green` from [service.{service}]"
        ))),
        (None, Some(PoolSpec::Containers(_))) => of_a_slot(state, plan, context),
        (Some(image), _) => of_an_image(state, plan, image, context),
        (None, Some(PoolSpec::Image(image))) => of_an_image(state, plan, image, context),
        (None, _) => Err(CommandError::NotNow(format!(
            "`{service}` has no green: name the new version's image: `shifter run {service} --image NAME:TAG`"
        ))),
    }
}

fn of_a_slot(
    state: &ServiceState,
    plan: Plan,
    context: &TaskContext,
) -> Result<RolloutInputs, CommandError> {
    let service = &state.route.service;
    let places = state.places(context).into_iter().flatten();
    let place = places.skip(Color::Green.index()).flatten().next();
    let seen = state.docker.containers[Color::Green.index()].as_deref();
    let (Some(place), Some(containers)) = (place, seen) else {
        return Err(CommandError::NotNow(format!("`{service}` has no green")));
    };
    let green = pools::pool(&place, containers, "green");
    if green.backends.is_empty() {
        let there = pools::unreachable(&place, containers);
        let why = match there.first() {
            Some(why) => why.clone(),
            None => "start the new version there first".to_owned(),
        };
        return Err(CommandError::NotNow(format!(
            "no container of `{service}`'s green runs: {why}"
        )));
    }
    Ok(RolloutInputs {
        blue: state.route.blue.clone(),
        members: green.backends.len(),
        green,
        image: None,
        plan,
    })
}

fn of_an_image(
    state: &ServiceState,
    plan: Plan,
    image: &str,
    context: &TaskContext,
) -> Result<RolloutInputs, CommandError> {
    let service = &state.route.service;
    let image = config::image(image).map_err(|why| {
        CommandError::NotNow(format!("--image is \"{image}\", {why}: write NAME:TAG"))
    })?;
    if matches!(&state.settings.blue, PoolSpec::Containers(blue) if blue.is_swarm()) {
        return Err(CommandError::NotNow(format!(
            "`{service}` is a Swarm service, and Swarm makes its containers: start the new version as a second service, and name it: green = {{ swarm = \"{service}-green\", port = 3000, network = \"…\" }}"
        )));
    }
    if !context.may_manage() {
        return Err(CommandError::NotNow(format!(
            "shifter may not make containers: `access` of [docker] is \"{}\". Set it to \"manage\", or start green yourself and name it: green = {{ container = \"{service}-green\", port = 3000 }}",
            context.access.name()
        )));
    }
    let blue = state.docker.containers[Color::Blue.index()]
        .as_deref()
        .unwrap_or_default();
    let running = blue
        .iter()
        .filter(|container| container.state.serves())
        .count();
    let first = running == 0;
    let replicas = state
        .settings
        .copy
        .replicas
        .map_or(running.max(1), |n| n as usize);
    Ok(RolloutInputs {
        blue: state.route.blue.clone(),
        green: Pool {
            release: image.clone(),
            backends: vec![],
        },
        image: Some(image),
        plan: if first {
            ServiceState::first_plan(plan)
        } else {
            plan
        },
        members: replicas,
    })
}

/// Creates green where shifter manages it; containers of an earlier attempt of this rollout are used.
pub(in crate::control) fn start(state: &mut ServiceState, context: &TaskContext) {
    let (Some(run), Some(own)) = (&state.run, context.mailbox()) else {
        return;
    };
    let Some(image) = run.image.clone() else {
        return;
    };
    let (service, rollout) = (state.route.service.clone(), run.saved.id);
    let blue = state.docker.containers[Color::Blue.index()]
        .as_deref()
        .unwrap_or_default();
    // A running container shows more of blue's settings than a stopped one.
    let like = blue.iter().find(|one| one.state.serves()).or(blue.first());
    let places = state.places(context);
    let order = Raise {
        owner: context.owner(&service, rollout),
        image,
        like: like.map(|container| container.id.clone()),
        network: state.network(),
        copying: state.settings.copy.clone(),
        replicas: u32::try_from(run.members).unwrap_or(1),
        strict: run.strict,
        absent: places
            .filter(|_| !run.first)
            .and_then(|[blue, _]| Some(blue?.by)),
    };
    let engine = context.engine.clone();
    let task = tokio::spawn(async move {
        // The message is dropped if the mailbox is full: a line is dispensable, the work must not wait for it.
        let say = |said: Said| drop(own.try_send(Message::of_making(&service, rollout, said)));
        let raised = create::raise(&engine, &order, say).await;
        let result = raised.map_err(|error| error.to_string());
        let _ = own
            .send(Message::Ended {
                rollout,
                result: TaskResult::Raised(result),
            })
            .await;
    });
    if let Some(before) = state.docker.raising.replace(task.abort_handle()) {
        before.abort();
    }
}

/// Green's containers run, or could not be started: then green is lost.
pub(in crate::control) fn started(
    state: &mut ServiceState,
    result: Result<(), String>,
) -> Option<Event> {
    state.docker.raising = None;
    let color = Color::Green;
    result.err().map(|what| Event::Lost { color, what })
}

fn of_addresses(
    state: &ServiceState,
    plan: Plan,
    image: Option<&str>,
) -> Result<RolloutInputs, CommandError> {
    let service = &state.route.service;
    if image.is_some() {
        return Err(CommandError::NotNow(format!(
            "`{service}` has addresses as blue, and shifter makes containers only beside containers: blue = {{ container = \"{service}\", port = 3000 }} in [service.{service}]"
        )));
    }
    let (blue, green) = static_pools::pools(&state.settings, &state.saved.running);
    let Some(green) = green else {
        return Err(CommandError::NotNow(format!(
            "`{service}` has no green: add `green = [\"IP:PORT\"]` to [service.{service}], and `shifter reload` where one runs"
        )));
    };
    Ok(RolloutInputs {
        blue,
        members: green.backends.len(),
        green,
        image: None,
        plan,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Access;
    use crate::control::service::fixture::{ADDRESSES, CONTAINERS, Fixture, running};

    fn refused(fixture: &Fixture, lost: Option<&str>, image: Option<&str>) -> Option<String> {
        let plan = fixture.state.plan(None);
        let found = inputs(&fixture.state, lost, &fixture.context, plan, image);
        found.err().map(|error| error.to_string())
    }

    #[test]
    fn a_rollout_that_cannot_begin_is_refused_with_a_remedy() {
        let addresses = Fixture::at_rest(ADDRESSES);
        assert_eq!(
            refused(&addresses, Some("no engine"), None),
            None,
            "asks no engine"
        );
        let lone = Fixture::at_rest("[service.app]\nblue = \"127.0.0.1:1\"\n");
        let mut seen = Fixture::at_rest(CONTAINERS);
        seen.state.docker.containers[0] = Some(vec![running("one")]);
        let mut barred = Fixture::at_rest(CONTAINERS);
        barred.state.docker.containers[0] = Some(vec![running("one")]);
        barred.context.access = Access::Discover;
        let unseen = Fixture::at_rest(CONTAINERS);
        for (fixture, lost, image, words) in [
            (&addresses, None, Some("app:2"), "has addresses as blue"),
            (&lone, None, None, "has no green: add `green"),
            (
                &seen,
                Some("it is silent"),
                Some("app:2"),
                "it is silent. Nothing was changed",
            ),
            (&unseen, None, Some("app:2"), "have not been seen yet"),
            (&seen, None, None, "name the new version's image"),
            (&seen, None, Some("no image"), "--image is \"no image\""),
            (
                &barred,
                None,
                Some("app:2"),
                "shifter may not make containers",
            ),
        ] {
            let told = refused(fixture, lost, image).unwrap_or_default();
            assert!(told.contains(words), "{words}: {told:?}");
        }
        assert_eq!(refused(&seen, None, Some("app:2")), None);
    }

    #[test]
    fn a_first_version_is_not_compared_and_others_get_as_many_members_as_blue() {
        let members = |containers: Vec<_>| {
            let mut fixture = Fixture::at_rest(CONTAINERS);
            fixture.state.docker.containers[0] = Some(containers);
            let plan = fixture.state.plan(None);
            let found = inputs(&fixture.state, None, &fixture.context, plan, Some("app:2"));
            let found = found.unwrap_or_else(|error| panic!("{error}"));
            let shifts = found
                .plan
                .steps
                .iter()
                .any(|step| step.to_string().starts_with("shift"));
            (found.members, shifts)
        };
        assert_eq!(members(vec![]), (1, false));
        assert_eq!(members(vec![running("a")]), (1, true));
        assert_eq!(members(vec![running("a"), running("b")]), (2, true));
    }
}
