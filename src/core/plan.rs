//! A strategy is a list of steps. Blue-green and canary differ only in the list.

use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A named recipe for a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Traffic in growing shares, judged at each of them.
    Canary,
    /// All traffic at once, then watched.
    BlueGreen,
}

impl Strategy {
    /// Both.
    pub const ALL: [Strategy; 2] = [Strategy::Canary, Strategy::BlueGreen];

    /// The name on the command line, in labels and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Strategy::Canary => "canary",
            Strategy::BlueGreen => "blue-green",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// When the user's own commands run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before green is started: a migration that both versions can live with.
    BeforeStart,
    /// Green is healthy and has had no users.
    BeforeShift,
    /// Green has passed at its last share.
    AfterShift,
    /// Green is the new blue and the old one is gone: what only the old one needed may be removed.
    AfterPromotion,
    /// Blue has everything again.
    AfterRollback,
}

impl Moment {
    /// All moments, in the order of a rollout.
    pub const ALL: [Moment; 5] = [
        Moment::BeforeStart,
        Moment::BeforeShift,
        Moment::AfterShift,
        Moment::AfterPromotion,
        Moment::AfterRollback,
    ];

    /// The name in the file and in narration.
    pub const fn name(self) -> &'static str {
        match self {
            Moment::BeforeStart => "before-start",
            Moment::BeforeShift => "before-shift",
            Moment::AfterShift => "after-shift",
            Moment::AfterPromotion => "after-promotion",
            Moment::AfterRollback => "after-rollback",
        }
    }
}

/// One thing that a rollout does and then waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "step")]
pub enum Step {
    /// Start green; done when it is healthy.
    Start,
    /// Send green requests of our own, so that no user waits for cold caches; done when they were sent.
    Warm,
    /// Check green out of band; done when every check passed.
    Smoke,
    /// Send green this share; done when the judge passes after `hold`.
    Shift {
        /// Green's share.
        weight: Weight,
        /// The shortest time at this share.
        hold: Duration,
        /// The longest time at this share: then the policies decide.
        deadline: Duration,
    },
    /// Run the user's own commands; done when all have succeeded.
    Hooks {
        /// The moment of the commands.
        at: Moment,
    },
    /// Done when a person approves.
    Approve,
    /// Green is the new blue; the old one is kept warm for a while, drained and released.
    Retire,
}

impl Step {
    /// The name in narration, labels and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            Step::Start => "start",
            Step::Warm => "warm",
            Step::Smoke => "smoke",
            Step::Shift { .. } => "shift",
            Step::Hooks { .. } => "hooks",
            Step::Approve => "approve",
            Step::Retire => "retire",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Shift { weight, .. } => write!(f, "shift {weight}"),
            Step::Hooks { at } => write!(f, "hooks {}", at.name()),
            other => f.write_str(other.name()),
        }
    }
}

/// What to do when a share's deadline passes and the evidence shows neither harm nor safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Undecided {
    /// Stay at this share until a person decides or the whole rollout's deadline passes.
    Hold,
    /// Go on, if enough requests were seen.
    Promote,
    /// Go back to blue.
    Rollback,
}

/// What to do when the judge finds green worse, or when unproven evidence leans worse at a share's deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnWorse {
    /// Go back to blue.
    #[default]
    Rollback,
    /// Stay at this share and wait for a person, once.
    Pause,
    /// Report it and go on: a dry run of the judge.
    Report,
}

/// The steps of one rollout, the time limits, and the policies for missing or undecided evidence.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe that this plan came from.
    pub strategy: Strategy,
    /// The steps, first to last.
    pub steps: Vec<Step>,
    /// The longest time for each step that is not a share (start, warm, smoke).
    pub step_deadline: Duration,
    /// The longest wait for a person's approval.
    pub approve_deadline: Duration,
    /// The longest time from the start to the promotion.
    pub deadline: Duration,
    /// The longest wait for the requests in flight on a released pool.
    pub drain: Duration,
    /// How long blue stays warm after the promotion, for a quick rollback.
    pub keep_blue: Duration,
    /// Blue's share while a green with the whole share is under suspicion; none: blue's past alone decides.
    #[serde(default = "no_challenge")]
    pub challenge: Weight,
    /// Time in an equal share in which slowness of a small share is confirmed, once more while green leans worse there;
    /// zero: a small share convicts.
    #[serde(default)]
    pub confirm: Duration,
    /// Time in which a raised share grows to its weight; part of the share's shortest and longest time.
    #[serde(default)]
    pub ramp: Duration,
    /// Whether green's latency is compared with a fresh copy of blue's release.
    #[serde(default)]
    pub baseline: bool,
    /// When the judge finds green worse.
    #[serde(default)]
    pub on_worse: OnWorse,
    /// At a share's deadline with evidence that shows neither harm nor safety.
    pub on_inconclusive: Undecided,
    /// At a share's deadline with too few requests for a verdict.
    pub on_no_data: Undecided,
    /// Green requests in a step below which there is no data.
    pub step_requests_min: u64,
    /// Green requests in the whole rollout below which the last share has no data.
    pub total_requests_min: u64,
}

/// The value for plans from before this setting.
fn no_challenge() -> Weight {
    Weight::NONE
}

impl Plan {
    /// The index of the last share, if the plan has one.
    pub fn last_shift(&self) -> Option<usize> {
        self.steps
            .iter()
            .rposition(|step| matches!(step, Step::Shift { .. }))
    }
}
