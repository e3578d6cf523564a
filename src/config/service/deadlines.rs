//! The longest times: `step_deadline`, `approve_deadline`, `deadline`.

use crate::config::parse::duration::{LONG, duration, minutes, shown};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::Check;
use crate::core::plan::{Plan, Step};
use std::time::Duration;

/// The longest time for a start, a warm-up, a smoke check.
const STEP_DEADLINE: Duration = minutes(5);

/// The longest wait for a person's approval.
const APPROVE_DEADLINE: Duration = minutes(24 * 60);

/// The shortest deadline of a whole rollout.
pub(crate) const DEADLINE: Duration = minutes(120);

/// The longest time for a step that is not a share.
pub(crate) fn step_deadline(raw: &Value<Scalar>) -> Check<Duration> {
    let default = STEP_DEADLINE;
    duration("step_deadline", raw, LONG, default)
}

/// The longest wait for an approval.
pub(crate) fn approve_deadline(raw: &Value<Scalar>) -> Check<Duration> {
    let default = APPROVE_DEADLINE;
    duration("approve_deadline", raw, LONG, default)
}

/// The longest time of a whole rollout.
pub(crate) fn whole_deadline(raw: &Value<Scalar>) -> Check<Option<Duration>> {
    match raw {
        None => Ok(None),
        given => duration("deadline", given, LONG, DEADLINE).map(Some),
    }
}

/// Checks that the shortest times together fit into the whole.
pub(crate) fn fits_deadline(plan: &Plan, given: &Value<Scalar>) -> Check<()> {
    let hold = |step: &Step| match step {
        Step::Shift { hold, .. } => *hold,
        _ => Duration::ZERO,
    };
    let least = plan
        .steps
        .iter()
        .map(hold)
        .fold(Duration::ZERO, Duration::saturating_add);
    match given {
        Some(raw) if least > plan.deadline => Err(Problem::at(
            raw.span(),
            format!(
                "`deadline` is {}, and the holds alone take {}",
                shown(plan.deadline),
                shown(least)
            ),
            "too short",
            format!(
                "write more than \"{}\", or leave it out: then it is long enough for the steps",
                shown(least)
            ),
        )),
        _ => Ok(()),
    }
}
