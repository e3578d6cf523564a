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
