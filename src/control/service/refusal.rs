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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, Fixture, ROLLOUT};
    use crate::core::table::Color;
    use crate::core::time::Time;
    use crate::core::weight::Weight;

    fn back(keep: bool) -> ControlCommand {
        ControlCommand::Rollback { keep }
    }

    fn abort() -> Event {
        Event::Abort("by a person".to_owned())
    }

    fn answer(
        fixture: &Fixture,
        order: &ControlCommand,
        event: &Event,
    ) -> Option<Result<CommandOutcome, CommandError>> {
        of_rollout(fixture.state.run.as_ref().expect("a rollout"), order, event)
    }

    #[test]
    fn without_a_rollout_only_a_repeated_rollback_is_answered() {
        let mut fixture = Fixture::starting(ADDRESSES);
        fixture.drive(abort(), Time(0));
        let run = fixture.state.run.take().expect("a rollout");
        for order in [ControlCommand::Promote, ControlCommand::Pause] {
            let refused = at_rest(&fixture.state, &order).expect_err("no rollout");
            assert!(
                refused
                    .to_string()
                    .starts_with("no rollout of `app` is under way; start")
            );
        }
        assert!(
            at_rest(&fixture.state, &back(false)).is_err(),
            "no old version"
        );
        fixture.state.last = Some(run.view(Time(0)));
        for order in [back(true), ControlCommand::Abort] {
            let done = at_rest(&fixture.state, &order).expect("it has happened");
            assert_eq!(done.rollout, Some(ROLLOUT));
        }
    }

    #[test]
    fn a_repeated_command_is_no_error_and_another_is() {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        assert_eq!(
            answer(&fixture, &back(false), &abort()),
            None,
            "carried out"
        );
        fixture.drive(abort(), Time(0));
        let again = answer(&fixture, &back(false), &abort()).expect("not carried out");
        assert_eq!(again.expect("no error").rollout, Some(ROLLOUT));
        let late = answer(&fixture, &ControlCommand::Promote, &Event::Promote);
        let Some(Err(CommandError::NotNow(why))) = late else {
            panic!("{late:?}")
        };
        assert_eq!(why, "the rollout is going back to blue already");
    }

    #[test]
    fn the_only_pool_that_serves_is_not_taken_away() {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        let (color, what) = (Color::Blue, "it is gone".to_owned());
        fixture.drive(Event::Lost { color, what }, Time(0));
        let refused = answer(&fixture, &back(false), &abort());
        let Some(Err(CommandError::NotNow(why))) = refused else {
            panic!("{refused:?}")
        };
        assert!(why.starts_with("blue has no healthy backend and green serves"));
        let set = ControlCommand::SetWeight(Weight::NONE);
        let event = Event::SetWeight(Weight::NONE);
        assert_eq!(
            answer(&fixture, &set, &event),
            None,
            "a person may all the same"
        );
    }

    #[test]
    fn another_rollout_waits_its_turn() {
        let ask = |supersede| RolloutRequest {
            supersede,
            ..RolloutRequest::default()
        };
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        let refused = |fixture: &Fixture, supersede| {
            of_another(
                fixture.state.run.as_ref().expect("a rollout"),
                &ask(supersede),
            )
        };
        let busy = CommandError::Busy {
            service: "app".to_owned(),
            rollout: ROLLOUT,
        };
        assert_eq!(refused(&fixture, false), Some(busy));
        assert_eq!(refused(&fixture, true), None);
        fixture.drive(abort(), Time(0));
        let why = refused(&fixture, false)
            .expect("on its way back")
            .to_string();
        assert!(why.contains("on its way back to blue"), "{why}");
        assert_eq!(refused(&fixture, true), None);
    }
}
