//! Commands that a service cannot follow now, and the answers to them.

use crate::control::api::command::{CommandError, CommandOutcome, ControlCommand, RolloutRequest};
use crate::control::service::run::Run;
use crate::control::service::state::ServiceState;
use crate::core::rollout::{Event, Phase};

/// The answer to a command on a rollout that is not carried out; `None` when it is.
pub(in crate::control) fn of_rollout(
    run: &Run,
    order: &ControlCommand,
    event: &Event,
) -> Option<Result<CommandOutcome, CommandError>> {
    if let Some(why) = run.trial.rollout().refuses(event) {
        // A repeated command for what already happens is no error.
        return Some(match takes_back(order) {
            true => Ok(CommandOutcome::of(run.saved.id, why.to_owned())),
            false => Err(CommandError::NotNow(why.to_owned())),
        });
    }
    if matches!(event, Event::Abort(_)) && run.trial.rollout().stranded() {
        let service = &run.settings.name;
        return Some(Err(CommandError::NotNow(format!(
            "blue has no healthy backend and green serves: going back would leave no one to answer. Bring blue back, or accept green with `shifter promote {service}`; to send users to blue all the same, `shifter set-weight 0 {service}` first"
        ))));
    }
    None
}

/// The answer to a command for a service without a rollout.
pub(in crate::control) fn at_rest(
    state: &ServiceState,
    order: &ControlCommand,
) -> Result<CommandOutcome, CommandError> {
    let service = &state.route.service;
    if !takes_back(order) {
        return Err(CommandError::NotNow(format!(
            "no rollout of `{service}` is under way; start one with `shifter run {service}`"
        )));
    }
    // A repeated command for what has happened is no error.
    match state.went_back() {
        Some(rollout) => Ok(CommandOutcome::of(
            rollout,
            format!("{service}: blue serves everything already"),
        )),
        None => Err(CommandError::NotNow(format!(
            "no rollout of `{service}` is under way and no old version is warm; blue serves everything"
        ))),
    }
}

/// Why no other rollout can take the place of the one under way now.
pub(in crate::control) fn of_another(run: &Run, ask: &RolloutRequest) -> Option<CommandError> {
    let (id, service) = (run.saved.id, &run.saved.service);
    let rollout = run.trial.rollout();
    if ask.supersede || *rollout.phase() == Phase::Promoted {
        return None;
    }
    if matches!(rollout.phase(), Phase::RollingBack { .. }) {
        let drain = rollout.plan().drain.as_secs();
        return Some(CommandError::NotNow(format!(
            "rollout {id} of `{service}` is on its way back to blue: what is in flight on green has up to {drain} s. Ask again then, or with --supersede, which waits for it"
        )));
    }
    Some(CommandError::Busy {
        service: service.clone(),
        rollout: id,
    })
}

fn takes_back(order: &ControlCommand) -> bool {
    matches!(
        order,
        ControlCommand::Rollback { .. } | ControlCommand::Abort
    )
}
