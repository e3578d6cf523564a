//! The containers of a baseline: created like blue's, beside green.

use crate::config::Access;
use crate::control::api::message::{Message, TaskResult};
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::rollout::Event;
use crate::core::table::Color;
use crate::driver::docker::create::{self, Raise, Said};

/// Creates containers like blue's; containers of an earlier attempt of this rollout are used.
pub(in crate::control) fn start(state: &mut ServiceState, context: &TaskContext) {
    let (Some(run), Some(own)) = (&state.run, context.mailbox()) else {
        return;
    };
    let (service, rollout) = (state.route.service.clone(), run.saved.id);
    let blue = state.docker.containers[Color::Blue.index()].as_deref();
    let like = blue
        .unwrap_or_default()
        .iter()
        .find(|one| one.state.serves());
    let order = Raise {
        owner: context.owner(&service, rollout),
        image: String::new(),
        like: like.map(|container| container.id.clone()),
        network: state.network(),
        copying: state.settings.copy.clone(),
        replicas: u32::try_from(run.members).unwrap_or(1),
        strict: run.strict,
        absent: None,
    };
    let (engine, access) = (context.engine.clone(), context.access);
    let task = tokio::spawn(async move {
        // The message is dropped if the mailbox is full: a line is dispensable, the work must not wait for it.
        let say = |said: Said| drop(own.try_send(Message::of_making(&service, rollout, said)));
        let result = if access < Access::Manage {
            Err(format!(
                "shifter may not make containers: `access` of [docker] is \"{}\", set it to \"manage\"",
                access.name()
            ))
        } else {
            let copied = create::copy(&engine, order, say).await;
            copied.map_err(|error| error.to_string())
        };
        let _ = own
            .send(Message::Ended {
                rollout,
                result: TaskResult::Copied(result),
            })
            .await;
    });
    if let Some(before) = state.docker.copying.replace(task.abort_handle()) {
        before.abort();
    }
}

/// The baseline's containers run, or could not be started: then there is no baseline.
pub(in crate::control) fn started(
    state: &mut ServiceState,
    result: Result<(), String>,
) -> Option<Event> {
    state.docker.copying = None;
    result.err().map(Event::BaselineLost)
}
