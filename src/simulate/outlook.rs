//! The statements of `shifter plan` on its steps: how soon they show a worse green, and how rollouts end.

use crate::core::judge::Policy;
use crate::core::outcome::Outcome;
use crate::core::outcome::OutcomeKind;
use crate::core::plan::Plan;
use crate::core::time::span;
use crate::core::weight::Weight;
use crate::simulate::forecast::{self, End, World};
use serde::Serialize;
use std::time::Duration;

/// How many more percent of a worse green's requests fail, in percentage points.
pub(crate) const WORSE: [f64; 2] = [0.9, 4.9];

/// Multiple of its deadline for which a share that cannot decide is simulated, to say what it would take.
const LONGER: u32 = 8;

/// The median in milliseconds where none is measured.
pub(crate) const USUAL_MS: f64 = 40.0;

/// The traffic of the service.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Traffic {
    pub(crate) rps: f64,
    pub(crate) error_percent: f64,
    pub(crate) median_ms: f64,
    pub(crate) measured: bool,
}

impl Traffic {
    /// The simulated world with a green that fails `more` percentage points more.
    pub(crate) fn world(self, more: f64) -> World {
        let blue = self.error_percent / 100.0;
        World {
            rps: self.rps,
            blue_errors: blue,
            green_errors: (blue + more / 100.0).min(1.0),
            median_ms: self.median_ms,
        }
    }
}

/// How soon one share shows one regression, before its deadline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Sight {
    /// Percentage of such greens that are found.
    pub(crate) found_percent: f64,
    /// Seconds after which half of all such greens are found.
    pub(crate) half_seconds: Option<f64>,
    /// Seconds after which nine of ten are found.
    pub(crate) most_seconds: Option<f64>,
}

/// The outcomes of rollouts with one kind of green.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Outlook {
    /// Green's share of failed requests, in percent.
    pub(crate) green_percent: f64,
    /// Percentage that is promoted.
    pub(crate) promoted_percent: f64,
    /// Percentage that goes back because nothing was proven in time.
    pub(crate) inconclusive_percent: f64,
    /// Percentage that is rolled back.
    pub(crate) rolled_back_percent: f64,
    /// Percentage that waits for a person.
    pub(crate) waiting_percent: f64,
    /// Median of the seconds from green's first share to the end.
    pub(crate) half_seconds: f64,
    /// 90th percentile of the seconds from green's first share to the end.
    pub(crate) most_seconds: f64,
}

/// The value below which this part of the values lies; the values are sorted.
fn part(sorted: &[f64], part: f64) -> Option<f64> {
    let at = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(at.saturating_sub(1)).copied()
}

/// The outcomes of rollouts by this plan.
pub(crate) fn of(plan: &Plan, policy: &Policy, world: World) -> Outlook {
    let ends = forecast::rollouts(plan, policy, world);
    let share = |kind: Option<OutcomeKind>| {
        let kind_of = |end: &End| end.outcome.as_ref().map(Outcome::kind);
        let so = ends.iter().filter(|end| kind_of(end) == kind);
        100.0 * so.count() as f64 / ends.len().max(1) as f64
    };
    let mut seconds: Vec<f64> = ends.iter().map(|end| end.seconds as f64).collect();
    seconds.sort_by(f64::total_cmp);
    Outlook {
        green_percent: 100.0 * world.green_errors,
        promoted_percent: share(Some(OutcomeKind::Promoted)),
        inconclusive_percent: share(Some(OutcomeKind::Inconclusive)),
        rolled_back_percent: share(Some(OutcomeKind::RolledBack)),
        waiting_percent: share(None),
        half_seconds: part(&seconds, 0.5).unwrap_or(0.0),
        most_seconds: part(&seconds, 0.9).unwrap_or(0.0),
    }
}

/// How soon this share shows the regression.
pub(crate) fn sight(policy: &Policy, world: World, share: Weight, longest: Duration) -> Sight {
    let all = forecast::share(policy, world, share, longest);
    let mut found: Vec<f64> = all.iter().flatten().map(|&at| at as f64).collect();
    found.sort_by(f64::total_cmp);
    // A green that is not found counts as later than all that are.
    let of_all = |wanted: f64| {
        part(
            &found,
            wanted * all.len() as f64 / found.len().max(1) as f64,
        )
    };
    Sight {
        found_percent: 100.0 * found.len() as f64 / all.len().max(1) as f64,
        half_seconds: of_all(0.5),
        most_seconds: of_all(0.9),
    }
}

/// What would let a step detect a regression before its deadline.
pub(crate) fn mend(policy: &Policy, world: World, share: Weight, deadline: Duration) -> String {
    let longer = deadline * LONGER;
    let Some(most) = sight(policy, world, share, longer).most_seconds else {
        return format!(
            "not even a deadline of {} would do",
            span(longer.as_secs_f64())
        );
    };
    let time = span((most / 60.0).ceil() * 60.0);
    let wider = (100.0 * share.ratio() * most / deadline.as_secs_f64()).ceil();
    let longer = format!("a deadline of {time}");
    // Up to this share both versions have enough requests; green's requests decide.
    if wider <= 50.0 && wider > share.ratio() * 100.0 {
        format!("{longer}, or a share of about {wider}%, would do")
    } else {
        format!("{longer} would do; a larger share alone would not")
    }
}

impl Outlook {
    pub(crate) fn words(&self) -> String {
        let kinds = [
            (self.promoted_percent, "promoted"),
            (self.rolled_back_percent, "rolled back"),
            (self.inconclusive_percent, "undecided and taken off"),
            (self.waiting_percent, "left to a person"),
        ];
        let kinds: Vec<String> = kinds
            .into_iter()
            .filter(|(share, _)| *share > 0.0)
            .map(|(share, what)| format!("{what} {share:.0}%"))
            .collect();
        format!(
            "{}; half within {}, nine of ten within {}",
            kinds.join(", "),
            span(self.half_seconds),
            span(self.most_seconds)
        )
    }
}

impl Sight {
    pub(crate) fn words(&self) -> String {
        match (self.half_seconds, self.most_seconds) {
            (Some(half), Some(most)) => {
                format!(
                    "half seen within {}, nine of ten within {}",
                    span(half),
                    span(most)
                )
            }
            (Some(half), None) => format!(
                "half seen within {}, {:.0}% before its deadline",
                span(half),
                self.found_percent
            ),
            (None, _) => format!("only {:.0}% seen before its deadline", self.found_percent),
        }
    }
}
