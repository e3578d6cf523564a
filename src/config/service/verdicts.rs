//! What a verdict leads to, or none: `on_worse`, `on_inconclusive`, `on_no_data`, and what counts as no data.

use crate::config::parse::error::Problem;
use crate::config::parse::raw::{Text, Value};
use crate::config::parse::value::{self, Check};
use crate::core::plan::{OnWorse, Undecided};

pub(crate) const WORSE: [(&str, OnWorse); 3] = [
    ("rollback", OnWorse::Rollback),
    ("pause", OnWorse::Pause),
    ("report", OnWorse::Report),
];

const UNDECIDED: [(&str, Undecided); 3] = [
    ("promote", Undecided::Promote),
    ("hold", Undecided::Hold),
    ("rollback", Undecided::Rollback),
];

/// The purpose of the program.
pub(crate) const ON_WORSE: OnWorse = OnWorse::Rollback;

/// Enough requests and nothing leans worse: go on.
const ON_INCONCLUSIVE: Undecided = Undecided::Promote;

/// Missing data never promotes.
const ON_NO_DATA: Undecided = Undecided::Rollback;

/// Below it a share has no data.
const STEP_REQUESTS_MIN: u64 = 30;

/// Below it the last share has no data.
pub(crate) const TOTAL_REQUESTS_MIN: u64 = 200;

/// What too little evidence leads to.
pub(crate) fn on_inconclusive(raw: &Text) -> Check<Undecided> {
    value::choice("on_inconclusive", raw, &UNDECIDED, ON_INCONCLUSIVE)
}

/// What too few requests lead to: never to a promotion.
pub(crate) fn on_no_data(raw: &Text) -> Check<Undecided> {
    let chosen = value::choice("on_no_data", raw, &UNDECIDED, ON_NO_DATA)?;
    match raw {
        Some(text) if chosen == Undecided::Promote => Err(Problem::at(
            text.span(),
            "`on_no_data` is \"promote\": silence never promotes",
            "not here",
            "write \"rollback\" or \"hold\"; a person can still promote with `shifter promote`",
        )),
        _ => Ok(chosen),
    }
}

/// The requests of a share below which there is no data.
pub(crate) fn step_requests_min(raw: &Value<i64>) -> Check<u64> {
    requests("step_requests_min", raw, STEP_REQUESTS_MIN)
}

pub(crate) fn requests(key: &str, raw: &Value<i64>, default: u64) -> Check<u64> {
    value::number(key, raw, 1..=1_000_000_000, default)
}
