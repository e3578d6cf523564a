//! The baseline in the state machine: it starts with green, green waits for it, and its loss ends nothing.
//!
//! Its share follows from green's ([`Places::beside`]), so no action carries it. It is removed when it is lost and
//! when the rollout ends, whatever the outcome.

use crate::core::baseline::{Places, Standing};
use crate::core::rollout::{Action, Event, Rollout};
use crate::core::time::Time;
use crate::core::weight::Weight;

impl Rollout {
    /// The state of the baseline.
    pub fn baseline(&self) -> Standing {
        self.baseline
    }

    /// The part of the line that the baseline serves beside a green of this share; `None` where it serves none.
    pub fn places(&self, share: Weight) -> Option<Places> {
        let serves = self.baseline == Standing::Serving;
        serves.then(|| Places::beside(share)).flatten()
    }

    /// Starts the baseline with green, where the plan has one.
    pub(super) fn start_baseline(&mut self) -> Vec<Action> {
        if !self.plan.baseline {
            return vec![];
        }
        self.baseline = Standing::Starting;
        vec![Action::StartBaseline]
    }

    /// Handles an event of the baseline.
    pub(super) fn on_baseline(&mut self, event: &Event) -> Vec<Action> {
        match (event, self.baseline) {
            (Event::BaselineReady, Standing::Starting) => {
                self.baseline = Standing::Serving;
                vec![]
            }
            (Event::BaselineLost(_), standing) if standing.present() => {
                self.baseline = Standing::Lost;
                vec![Action::StopBaseline]
            }
            _ => vec![],
        }
    }

    /// Green is healthy. It waits for the baseline for at most half of its own start deadline.
    pub(super) fn ready(&mut self, step: usize, now: Time) -> Vec<Action> {
        if self.baseline != Standing::Starting {
            return self.enter(step + 1, now);
        }
        if 2 * now.since(self.since) < self.plan.step_deadline {
            return vec![];
        }
        let why = "it was not healthy in time".to_owned();
        let mut actions = self.on_baseline(&Event::BaselineLost(why));
        actions.extend(self.enter(step + 1, now));
        actions
    }

    /// Ends the baseline with the rollout.
    pub(super) fn end_baseline(&mut self) -> Option<Action> {
        let present = self.baseline.present();
        self.baseline = Standing::Absent;
        present.then_some(Action::StopBaseline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::plan::{OnWorse, Plan, Step, Strategy, Undecided};
    use std::time::Duration;

    fn plan() -> Plan {
        let seconds = Duration::from_secs;
        let shift = |percent| Step::Shift {
            weight: Weight::percent(percent).unwrap(),
            hold: seconds(1),
            deadline: seconds(100),
        };
        Plan {
            strategy: Strategy::Canary,
            steps: vec![Step::Start, shift(5), shift(100), Step::Retire],
            step_deadline: seconds(60),
            approve_deadline: seconds(60),
            deadline: seconds(600),
            drain: seconds(1),
            keep_blue: seconds(0),
            challenge: Weight::NONE,
            confirm: seconds(120),
            ramp: Duration::ZERO,
            baseline: true,
            on_worse: OnWorse::Rollback,
            on_inconclusive: Undecided::Rollback,
            on_no_data: Undecided::Rollback,
            step_requests_min: 1,
            total_requests_min: 1,
        }
    }

    const FIVE: Weight = match Weight::percent(5) {
        Some(five) => five,
        None => Weight::NONE,
    };

    fn lost() -> Event {
        Event::BaselineLost("it exited".to_owned())
    }

    #[test]
    fn green_waits_for_the_baseline_and_its_loss_ends_nothing() {
        let (mut rollout, begun) = Rollout::start(plan(), Time(0));
        assert_eq!(begun, [Action::StartBaseline, Action::StartGreen]);
        assert_eq!(rollout.on(Event::Ready, Time(1_000)), []);
        assert_eq!(rollout.places(FIVE), None, "it does not serve yet");
        assert_eq!(rollout.on(Event::BaselineReady, Time(2_000)), []);
        let share = rollout.on(Event::Ready, Time(3_000));
        assert_eq!(share, [Action::SetWeight(FIVE)]);
        assert_eq!(rollout.places(FIVE), Places::beside(FIVE));
        assert_eq!(rollout.on(lost(), Time(4_000)), [Action::StopBaseline]);
        assert_eq!(rollout.on(lost(), Time(5_000)), [], "once");
        assert_eq!((rollout.weight(), rollout.places(FIVE)), (FIVE, None));
    }

    #[test]
    fn a_baseline_that_does_not_come_is_given_up() {
        for event in [Event::Ready, lost()] {
            let (mut rollout, _) = Rollout::start(plan(), Time(0));
            rollout.on(Event::Ready, Time(29_000));
            let given_up = rollout.on(event, Time(30_000));
            assert_eq!(given_up.first(), Some(&Action::StopBaseline));
            rollout.on(Event::Ready, Time(31_000));
            assert_eq!(rollout.weight(), FIVE);
            assert_eq!(rollout.baseline(), Standing::Lost);
        }
    }

    #[test]
    fn every_end_takes_it_away() {
        let begin = || {
            let (mut rollout, _) = Rollout::start(plan(), Time(0));
            rollout.on(Event::BaselineReady, Time(0));
            rollout.on(Event::Ready, Time(0));
            rollout
        };
        let mut back = begin();
        back.on(Event::Abort("a person".to_owned()), Time(1_000));
        assert!(back.baseline().present(), "it drains with green");
        let ended = back.on(Event::Drained, Time(2_000));
        assert_eq!(ended, [Action::StopBaseline, Action::StopGreen]);
        let mut on = begin();
        on.on(Event::Promote, Time(1_000));
        on.on(Event::Promote, Time(2_000));
        let ended = on.on(Event::Drained, Time(3_000));
        let swap = [Action::StopBaseline, Action::SwapRoles, Action::StopBlue];
        assert_eq!(ended, swap);
        for rollout in [back, on] {
            assert!(rollout.finished() && !rollout.baseline().present());
        }
    }
}
