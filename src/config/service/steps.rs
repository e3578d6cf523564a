//! `steps`: the shares of a canary, and the times around them.

use crate::config::parse::duration::{LONG, duration, minutes, seconds, shown};
use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Scalar, Value};
use crate::config::parse::value::{Check, percent};
use crate::core::plan::Step;
use crate::core::weight::Weight;
use serde::Deserialize;
use std::time::Duration;
use toml::Spanned;

/// Highest number of steps; more are a mistake.
const STEPS_MAX: usize = 50;

const EXAMPLE: &str = "for example: steps = [{ weight = 5, hold = \"1m\" }, { weight = 50 }, { weight = 100, hold = \"2m\" }]";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a step: { weight = 5, hold = \"1m\" } or { approve = true }"
)]
pub(crate) struct RawStep {
    pub(crate) weight: Value<f64>,
    pub(crate) hold: Value<Scalar>,
    pub(crate) deadline: Value<Scalar>,
    pub(crate) approve: Value<bool>,
}

/// The shares of a canary, in percent; the 0 of the usual 0/5/50/100 is green without traffic.
const SHARES: [u16; 3] = [5, 50, 100];

/// The shortest time at a share.
const HOLD: Duration = seconds(60);

/// The shortest time at the last share.
const HOLD_LAST: Duration = seconds(120);

/// The longest time at a share.
const SHARE_DEADLINE: Duration = minutes(15);

/// Time that a longer `hold` gets on top where it has no `deadline` of its own.
const SHARE_SLACK: Duration = minutes(5);

/// The steps of a canary without configured ones.
fn default_steps() -> Vec<Step> {
    let last = SHARES.len() - 1;
    let step = |(i, &percent): (usize, &u16)| {
        let hold = if i == last { HOLD_LAST } else { HOLD };
        let weight = Weight::percent(percent)?;
        Some(Step::Shift {
            weight,
            hold,
            deadline: share_deadline(hold),
        })
    };
    SHARES.iter().enumerate().filter_map(step).collect()
}

/// The longest time at a share with only the shortest configured.
pub(crate) fn share_deadline(hold: Duration) -> Duration {
    SHARE_DEADLINE.max(hold.saturating_add(SHARE_SLACK))
}

/// The shares and approvals, in order.
pub(crate) fn steps(raw: &Value<Vec<Spanned<RawStep>>>) -> Check<Vec<Step>> {
    let Some(list) = raw else {
        return Ok(default_steps());
    };
    let all = list.get_ref();
    if all.len() > STEPS_MAX {
        let what = format!(
            "`steps` has {} entries; at most {STEPS_MAX} are taken",
            all.len()
        );
        return Err(Problem::at(list.span(), what, "this list", EXAMPLE));
    }
    let last_share = all.iter().rposition(|step| step.get_ref().weight.is_some());
    let mut steps = Vec::with_capacity(all.len());
    let mut reached = None;
    for (i, step) in all.iter().enumerate() {
        let Some(share) = one_of_two(step)? else {
            steps.push(Step::Approve);
            continue;
        };
        let weight = percent("weight", share)?;
        rises(weight, reached, share)?;
        reached = Some(weight);
        if weight != Weight::NONE {
            steps.push(shift(step.get_ref(), weight, Some(i) == last_share)?);
        }
    }
    match (last_share.map(|i| &all[i]), reached) {
        (_, Some(Weight::ALL)) => Ok(steps),
        (Some(step), Some(weight)) => Err(Problem::at(
            step.span(),
            format!("the last share is {weight}: green would never have all traffic"),
            "the last share",
            "end with { weight = 100, hold = \"2m\" }",
        )),
        _ => Err(Problem::at(
            list.span(),
            "`steps` has no share",
            "this list",
            EXAMPLE,
        )),
    }
}

/// A share's weight, or `None` for an approval.
fn one_of_two(step: &Spanned<RawStep>) -> Check<Option<&Spanned<f64>>> {
    let raw = step.get_ref();
    let wrong = |what: &str, help: &str| Err(Problem::at(step.span(), what, "this step", help));
    match (&raw.weight, &raw.approve) {
        (Some(weight), None) => Ok(Some(weight)),
        (None, Some(approve)) if !*approve.get_ref() => wrong(
            "`approve = false` is no step",
            "leave this step out, or write { approve = true }",
        ),
        (None, Some(_)) if raw.hold.is_some() || raw.deadline.is_some() => wrong(
            "an approval has no times of its own",
            "write { approve = true } alone; `approve_deadline` of the service says how long it waits",
        ),
        (None, Some(_)) => Ok(None),
        (Some(_), Some(_)) => wrong(
            "a step is a share or an approval, not both",
            "make two of it: { approve = true }, { weight = 50 }",
        ),
        (None, None) => wrong("this step has neither `weight` nor `approve`", EXAMPLE),
    }
}

fn rises(weight: Weight, reached: Option<Weight>, raw: &Spanned<f64>) -> Check<()> {
    match reached {
        Some(before) if weight <= before => Err(Problem::at(
            raw.span(),
            format!("the share {weight} comes after {before}: shares must rise"),
            "does not rise",
            format!(
                "write more than {before}, or leave this step out; going back is the judge's business"
            ),
        )),
        _ => Ok(()),
    }
}

fn shift(raw: &RawStep, weight: Weight, last: bool) -> Check<Step> {
    let usual = if last { HOLD_LAST } else { HOLD };
    let hold = match &raw.deadline {
        // A deadline alone may be shorter than the default hold; then the hold is shortened.
        Some(_) if raw.hold.is_none() => {
            usual.min(duration("deadline", &raw.deadline, LONG, usual)?)
        }
        _ => duration("hold", &raw.hold, LONG, usual)?,
    };
    let deadline = duration("deadline", &raw.deadline, LONG, share_deadline(hold))?;
    if let Some(raw) = &raw.deadline
        && deadline < hold
    {
        return Err(Problem::at(
            raw.span(),
            format!(
                "`deadline` {} is shorter than `hold` {}",
                shown(deadline),
                shown(hold)
            ),
            "ends before the hold",
            format!(
                "`deadline` is the longest time at this share, `hold` the shortest: write at least \"{}\"",
                shown(hold)
            ),
        ));
    }
    Ok(Step::Shift {
        weight,
        hold,
        deadline,
    })
}
