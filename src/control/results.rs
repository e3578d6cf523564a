//! What the results of a rollout's tasks come to.

use crate::control::api::message::TaskResult;
use crate::control::docker::{copy, green};
use crate::control::effects::Effects;
use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::core::rollout::Event;
use crate::core::time::Time;
use crate::store::NoteKind;

/// Takes the result of a task of this service's rollout; `ended` is the number of requests that each version has ended.
pub(in crate::control) fn take(
    state: &mut ServiceState,
    result: TaskResult,
    ended: [u64; 2],
    now: Time,
) -> Effects {
    let checked = |text: String, event| Effects {
        entries: vec![Entry::new(NoteKind::Check, text)],
        events: vec![event],
        ..Effects::default()
    };
    let event = match result {
        TaskResult::Warmed { text } => return checked(text, Event::Warmed),
        TaskResult::Smoked { result, text } => return checked(text, Event::Smoked(result)),
        TaskResult::Measured {
            mark,
            source,
            reading,
        } => {
            let entry = state.measured(mark, source, reading);
            return entry.map_or_else(Effects::default, Effects::from);
        }
        TaskResult::Used(looks) => return state.used(looks, ended, now).into(),
        TaskResult::Hooked(result) => Some(Event::Hooked(result)),
        TaskResult::Raised(result) => green::started(state, result),
        TaskResult::Copied(result) => copy::started(state, result),
    };
    event.map_or_else(Effects::default, Effects::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{CONTAINERS, Fixture};
    use crate::core::source::Reading;
    use crate::core::table::Color;

    #[test]
    fn each_result_leads_to_its_event_and_its_line() {
        let why = || "no such image".to_owned();
        let lost = Event::Lost {
            color: Color::Green,
            what: why(),
        };
        let warmed = TaskResult::Warmed { text: why() };
        let smoked = TaskResult::Smoked {
            result: Err(why()),
            text: why(),
        };
        let stale = TaskResult::Measured {
            mark: u64::MAX,
            source: 0,
            reading: Reading::Good,
        };
        for (n, (result, lines, events)) in [
            (warmed, 1, vec![Event::Warmed]),
            (smoked, 1, vec![Event::Smoked(Err(why()))]),
            (TaskResult::Hooked(Ok(())), 0, vec![Event::Hooked(Ok(()))]),
            (TaskResult::Raised(Ok(())), 0, vec![]),
            (TaskResult::Raised(Err(why())), 0, vec![lost]),
            (TaskResult::Copied(Ok(())), 0, vec![]),
            (
                TaskResult::Copied(Err(why())),
                0,
                vec![Event::BaselineLost(why())],
            ),
            (stale, 0, vec![]),
        ]
        .into_iter()
        .enumerate()
        {
            let mut fixture = Fixture::starting(CONTAINERS);
            let effects = take(&mut fixture.state, result, [0; 2], Time(0));
            assert_eq!(effects.entries.len(), lines, "case {n}");
            assert!(
                effects
                    .entries
                    .iter()
                    .all(|one| one.kind == NoteKind::Check)
            );
            assert_eq!(effects.events, events, "case {n}");
        }
    }
}
