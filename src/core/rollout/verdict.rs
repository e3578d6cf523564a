//! The actions that follow from the judge's verdicts on a share.

use crate::core::judge::Verdict;
use crate::core::outcome::Outcome;
use crate::core::plan::{OnWorse, Step, Undecided};
use crate::core::rollout::{Action, Rollout};
use crate::core::time::Time;
use crate::core::weight::Weight;

/// The share in which slowness of a small share is confirmed or not.
const EQUAL: Weight = match Weight::percent(50) {
    Some(half) => half,
    None => Weight::ALL,
};

impl Rollout {
    /// The actions on a verdict that is not a failed one: [`Rollout::condemn`] handles those.
    pub(super) fn on_verdict(
        &mut self,
        step: usize,
        verdict: &Verdict,
        held: bool,
        late: bool,
        now: Time,
    ) -> Vec<Action> {
        let last = self.plan.last_shift() == Some(step);
        match verdict {
            Verdict::Fail { .. } => vec![],
            Verdict::Unconfirmed { .. } if late => self.lean_worse(step, now),
            Verdict::Unconfirmed { .. } => self.start_confirming(now),
            Verdict::Pass if held => self.enter(step + 1, now),
            Verdict::Pass if self.challenged => self.clear(),
            Verdict::Suspect { .. } if late => self.lean_worse(step, now),
            Verdict::Suspect { .. } => self.challenge(),
            Verdict::Inconclusive {
                leaning_worse: true,
                ..
            } if late => self.lean_worse(step, now),
            Verdict::Inconclusive {
                step_requests,
                total_requests,
                ..
            } if late => {
                let (policy, enough) = self.policy_on(last, *step_requests, *total_requests);
                self.on_undecided(policy, step, enough, now)
            }
            Verdict::BlueFails {
                reason,
                green_too,
                step_requests,
                total_requests,
            } if late => {
                let (policy, _) = self.policy_on(last, *step_requests, *total_requests);
                self.beside_a_bad_blue(policy, *green_too, reason, now)
            }
            Verdict::NoData if late => self.on_undecided(self.plan.on_no_data, step, false, now),
            _ => vec![],
        }
    }

    /// The plan's policy at the deadline without a decision, by green's requests, and whether they are enough.
    fn policy_on(&self, last: bool, in_step: u64, in_total: u64) -> (Undecided, bool) {
        let enough = if last {
            in_total >= self.plan.total_requests_min
        } else {
            in_step >= self.plan.step_requests_min
        };
        let policy = if enough {
            self.plan.on_inconclusive
        } else {
            self.plan.on_no_data
        };
        (policy, enough)
    }

    /// No policy promotes where blue fails grossly. A green that fails too is rolled back; a healthy one does not lose
    /// its users to a failing blue, unless the plan says so: it stays at its share.
    fn beside_a_bad_blue(
        &mut self,
        policy: Undecided,
        green_too: bool,
        reason: &str,
        now: Time,
    ) -> Vec<Action> {
        match policy {
            Undecided::Rollback => {}
            Undecided::Promote if green_too => {}
            Undecided::Promote | Undecided::Hold => return vec![],
        }
        let reason = reason.to_owned();
        self.roll_back(Outcome::Inconclusive { reason }, now)
    }

    /// This is no proven regression, so it is not called one; but undecided evidence that leans worse is no pass.
    fn lean_worse(&mut self, step: usize, now: Time) -> Vec<Action> {
        let reason = "nothing was proven in time, and green leans worse".to_owned();
        self.condemn(step, false, Outcome::Inconclusive { reason }, true, now)
    }

    /// The judge is against green: the plan says whether that ends the rollout. `over` when the share's
    /// time is up and a plan that only reports may go on.
    ///
    /// After a person was asked once and went on, it is only reported.
    pub(super) fn condemn(
        &mut self,
        step: usize,
        paused: bool,
        outcome: Outcome,
        over: bool,
        now: Time,
    ) -> Vec<Action> {
        let asked = self.accused.is_some() || paused;
        match self.plan.on_worse {
            OnWorse::Rollback => return self.roll_back(outcome, now),
            OnWorse::Pause if !asked => {
                self.accused = Some(outcome);
                return self.pause(step, now);
            }
            OnWorse::Pause | OnWorse::Report => {}
        }
        if !matches!(self.accused, Some(Outcome::RolledBack { .. })) {
            self.accused = Some(outcome);
        }
        if over {
            self.enter(step + 1, now)
        } else if self.challenged && !paused {
            self.clear()
        } else {
            vec![]
        }
    }

    /// Gives both versions about the same share for a while: slowness of a small share may come from its size.
    fn start_confirming(&mut self, now: Time) -> Vec<Action> {
        let share = self.equal_share();
        if self.confirmed
            || self.accused.is_some()
            || share <= self.weight
            || self.plan.confirm.is_zero()
        {
            return vec![];
        }
        self.confirming = Some(now);
        self.route(share)
    }

    /// The equal share: half of the requests, and no more than the plan's largest share of green.
    fn equal_share(&self) -> Weight {
        let weight = |step: &Step| match step {
            Step::Shift { weight, .. } => Some(*weight),
            _ => None,
        };
        let most = self.plan.steps.iter().filter_map(weight).max();
        most.unwrap_or_default().min(EQUAL)
    }

    /// The verdict in the equal share: a failure ends the rollout as everywhere; a pass, or the end of the time,
    /// leads back to the share of the plan.
    ///
    /// A slowness between the two margins passes and fails by the same requests, and a pass has no allowance of evidence
    /// a second to wait for: so it counts from half of the time on. Where green leans worse in the equal share too, it
    /// has the time once more.
    pub(super) fn confirm(&mut self, step: usize, verdict: &Verdict, now: Time) -> Vec<Action> {
        let since = self.confirming.unwrap_or(now);
        let spent = now.since(since);
        let leans = Verdict::leans_worse(verdict);
        let over = spent >= self.plan.confirm * if leans { 2 } else { 1 };
        let cleared = *verdict == Verdict::Pass && spent >= self.plan.confirm / 2;
        if !cleared && !over {
            return vec![];
        }
        let Step::Shift { weight, .. } = self.plan.steps[step] else {
            return vec![];
        };
        (self.confirming, self.confirmed) = (None, true);
        self.route(weight)
    }

    /// Gives blue a small share for as long as green is under suspicion: beside each other, whatever
    /// happens outside happens to both.
    fn challenge(&mut self) -> Vec<Action> {
        let heard = self.accused.is_some();
        let whole = self.weight == Weight::ALL;
        if self.challenged || heard || !whole || self.plan.challenge == Weight::NONE {
            return vec![];
        }
        self.challenged = true;
        let share = self.plan.challenge.rest();
        self.route(share)
    }

    /// Green did as well as blue: it gets the whole share again.
    fn clear(&mut self) -> Vec<Action> {
        self.challenged = false;
        self.route(Weight::ALL)
    }

    fn on_undecided(
        &mut self,
        policy: Undecided,
        step: usize,
        enough: bool,
        now: Time,
    ) -> Vec<Action> {
        match policy {
            Undecided::Hold => vec![],
            Undecided::Promote => self.enter(step + 1, now),
            Undecided::Rollback => {
                let reason = if enough {
                    "neither harm nor safety was shown in time"
                } else {
                    "too little was seen to judge green by"
                };
                self.roll_back(
                    Outcome::Inconclusive {
                        reason: reason.to_owned(),
                    },
                    now,
                )
            }
        }
    }
}
