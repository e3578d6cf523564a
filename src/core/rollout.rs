//! The rollout state machine: events in, actions out. The only place that decides.
//!
//! It has no clock, no I/O and no randomness, so a year of rollouts can be simulated in a second.
//! The controller feeds it events and performs the returned actions; every action is safe to repeat.

use crate::core::baseline::Standing;
use crate::core::judge::Verdict;
use crate::core::plan::{Plan, Step};
use crate::core::table::Color;
use crate::core::time::{Time, shown};
use crate::core::weight::Weight;
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod baseline;
mod blame;
mod reading;
mod refusal;
mod switching;
mod verdict;

pub use crate::core::event::{Action, Event};
pub use crate::core::outcome::Outcome;
pub use crate::core::phase::Phase;
pub use switching::{SHARE_MAX, Switching};

/// How long a promoted green may take to recover after blue, when both were down. Blue has its requests meanwhile.
const RETURN: Duration = Duration::from_secs(30);

/// One attempt to replace blue by green.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    plan: Plan,
    phase: Phase,
    weight: Weight,
    /// When the phase or step was entered.
    since: Time,
    /// When the rollout was started, or restarted.
    started: Time,
    /// Time spent before the last restart: clocks do not survive a process, durations do.
    spent: Duration,
    /// Green has had a share of the users' requests.
    exposed: bool,
    /// Blue has no healthy backend: nothing may advance, and a rollback would help no user.
    blue_down: bool,
    /// Green has no healthy backend: it may not become the new blue.
    #[serde(default)]
    green_down: bool,
    /// Both were down together (the engine restarted) and blue has been back since then: a promoted green has
    /// [`RETURN`] to recover, too.
    #[serde(default)]
    blue_back: Option<Time>,
    /// Since when Docker's state is unknown: nothing may advance, a rollback is always possible.
    #[serde(default)]
    blind: Option<Time>,
    /// A green with the whole share is under suspicion: blue has a small share again, to show whether it does better.
    #[serde(default)]
    challenged: bool,
    /// Since when slowness of a small share is being confirmed in an equal share.
    #[serde(default)]
    confirming: Option<Time>,
    /// Slowness was looked for in an equal share in this step, and was not confirmed.
    #[serde(default)]
    confirmed: bool,
    /// The outcome of the judge's verdict, where the plan does not let it end the rollout.
    #[serde(default)]
    accused: Option<Outcome>,
    /// Green's requests go to green and to blue in turn, to see whether green harms blue.
    #[serde(default)]
    switching: Option<Switching>,
    /// The fresh copy of blue's release that green's latency is compared with.
    #[serde(default)]
    baseline: Standing,
}

impl Rollout {
    /// Starts a rollout.
    pub fn start(plan: Plan, now: Time) -> (Rollout, Vec<Action>) {
        let mut rollout = Rollout {
            plan,
            phase: Phase::Running { step: 0 },
            weight: Weight::NONE,
            since: now,
            started: now,
            spent: Duration::ZERO,
            exposed: false,
            blue_down: false,
            green_down: false,
            blue_back: None,
            blind: None,
            challenged: false,
            confirming: None,
            confirmed: false,
            accused: None,
            switching: None,
            baseline: Standing::Absent,
        };
        let actions = rollout.enter(0, now);
        (rollout, actions)
    }

    /// Takes one event and returns the actions to take.
    pub fn on(&mut self, event: Event, now: Time) -> Vec<Action> {
        let switched = self.switching.is_some();
        match event {
            Event::Lost { color, .. } => {
                *self.down(color) = true;
                self.end_switching(now);
            }
            Event::Back(color) => {
                *self.down(color) = false;
                self.blue_back = self.blue_back.filter(|_| color == Color::Blue);
            }
            Event::Blind(blind) => self.look_away(blind, now),
            Event::BaselineReady | Event::BaselineLost(_) => return self.on_baseline(&event),
            _ => {}
        }
        let mut actions = match self.phase.clone() {
            Phase::Running { step } => self.on_under_way(step, false, event, now),
            Phase::Paused { step } => self.on_under_way(step, true, event, now),
            Phase::Promoted => self.on_promoted(event, now),
            Phase::RollingBack { outcome } => self.on_rolling_back(outcome, &event, now),
            Phase::Finished { .. } => vec![],
        };
        self.restore(switched, &mut actions);
        actions
    }

    /// Makes a saved rollout ready for a new process with a new clock.
    ///
    /// `age` is [`Rollout::age`] at the time of saving.
    pub fn revive(&mut self, age: Duration, now: Time) {
        self.spent = age;
        self.started = now;
        self.since = now;
        (self.blue_down, self.green_down, self.blind) = (false, false, None);
        self.blue_back = None;
        self.confirming = None;
        self.switching = None;
    }

    /// A step under way while Docker's state was unknown starts anew afterwards: its time does not count.
    fn look_away(&mut self, blind: bool, now: Time) {
        if blind {
            self.end_switching(now);
        }
        if self.blind() && !blind {
            self.since = now;
        }
        self.blind = blind.then(|| self.blind.unwrap_or(now));
    }

    fn down(&mut self, color: Color) -> &mut bool {
        match color {
            Color::Blue => &mut self.blue_down,
            Color::Green => &mut self.green_down,
        }
    }

    /// Only green serves users: it keeps them until blue is back or a person decides.
    pub fn stranded(&self) -> bool {
        self.blue_down && !self.green_down && self.weight > Weight::NONE
    }

    fn on_under_way(&mut self, step: usize, paused: bool, event: Event, now: Time) -> Vec<Action> {
        if self.refuses(&event).is_some() {
            return vec![];
        }
        match event {
            Event::Abort(reason) => self.roll_back(Outcome::Stopped { reason }, now),
            Event::Superseded => {
                let reason = "superseded by a newer version".to_owned();
                self.roll_back(Outcome::Stopped { reason }, now)
            }
            // Beside a dead blue nothing is compared; evidence and deadlines are checked again later.
            Event::Judged(_) if self.blue_down => vec![],
            Event::Tick if self.stranded() => vec![],
            Event::Tick if self.blind() => self.wait_for_sight(now),
            event if self.overlooks(&event) => vec![],
            Event::Lost {
                color: Color::Green,
                what,
            } => self.roll_back(self.unfit(what), now),
            Event::Smoked(Err(reason)) => self.roll_back(self.unfit(reason), now),
            Event::Hooked(Err(reason)) => self.roll_back(self.stopped_by(reason), now),
            Event::Judged(Verdict::Fail { reason }) => {
                self.end_switching(now);
                let over = !paused && !self.blind() && self.held(step, now);
                self.condemn(step, paused, self.worse(reason), over, now)
            }
            Event::Restarted { same: false } => {
                let reason = "the backends changed while shifter was away".to_owned();
                self.roll_back(Outcome::Stopped { reason }, now)
            }
            Event::Restarted { same: true } if paused => vec![Action::SetWeight(self.weight)],
            // Nothing was proven while the process was down: blue keeps its share.
            Event::Restarted { same: true } if self.challenged => {
                self.since = now;
                vec![Action::SetWeight(self.weight)]
            }
            Event::Restarted { same: true } => self.enter_again(step, now),
            Event::Promote => self.promote(step, now),
            Event::Pause => self.pause(step, now),
            Event::SetWeight(weight) => self.set_weight(step, weight, now),
            Event::Resume => self.enter_again(step, now),
            Event::Tick if self.age(now) >= self.plan.deadline => {
                let reason = format!("not decided within {}", shown(self.plan.deadline));
                self.roll_back(Outcome::Inconclusive { reason }, now)
            }
            _ if paused => vec![],
            Event::Suspected(_) => self.suspect(now),
            Event::Window { green } => self.next_window(green),
            Event::Cleared(_) => {
                self.end_switching(now);
                vec![]
            }
            // The switchback's time does not count, and half of its evidence is gathered without green.
            _ if self.switching.is_some() => vec![],
            event => self.on_step(step, event, now),
        }
    }

    /// Whether this share has had its shortest time.
    fn held(&self, step: usize, now: Time) -> bool {
        let spent = now.since(self.since);
        matches!(&self.plan.steps[step], Step::Shift { hold, .. } if spent >= *hold)
    }

    fn wait_for_sight(&mut self, now: Time) -> Vec<Action> {
        let limit = self.plan.step_deadline;
        if self.blind.is_none_or(|since| now.since(since) < limit) {
            return vec![];
        }
        let reason = format!("Docker did not answer for {}", shown(limit));
        self.roll_back(Outcome::Inconclusive { reason }, now)
    }

    fn on_step(&mut self, step: usize, event: Event, now: Time) -> Vec<Action> {
        let spent = now.since(self.since);
        match (&self.plan.steps[step], event) {
            (Step::Start, Event::Ready) => self.ready(step, now),
            (Step::Warm, Event::Warmed)
            | (Step::Smoke, Event::Smoked(Ok(())))
            | (Step::Hooks { .. }, Event::Hooked(Ok(())))
            | (Step::Approve, Event::Approve) => self.enter(step + 1, now),
            (Step::Shift { .. }, Event::Judged(verdict)) if self.confirming.is_some() => {
                self.confirm(step, &verdict, now)
            }
            (Step::Shift { hold, deadline, .. }, Event::Judged(verdict)) => {
                let (held, late) = (spent >= *hold, spent >= *deadline);
                self.on_verdict(step, &verdict, held, late, now)
            }
            (waiting @ (Step::Start | Step::Warm | Step::Smoke), Event::Tick)
                if spent >= self.plan.step_deadline =>
            {
                let limit = shown(self.plan.step_deadline);
                let reason = match waiting {
                    Step::Start => format!("green was not healthy within {limit}"),
                    Step::Warm => format!("the warm-up did not end within {limit}"),
                    _ => format!("the smoke checks did not end within {limit}"),
                };
                self.roll_back(self.unfit(reason), now)
            }
            (Step::Hooks { at }, Event::Tick) if spent >= self.plan.step_deadline => {
                let (at, limit) = (at.name(), shown(self.plan.step_deadline));
                let reason = format!("the hooks {at} did not end within {limit}");
                self.roll_back(self.stopped_by(reason), now)
            }
            (Step::Approve, Event::Tick) if spent >= self.plan.approve_deadline => {
                let limit = shown(self.plan.approve_deadline);
                let reason = format!("no approval within {limit}");
                self.roll_back(Outcome::Inconclusive { reason }, now)
            }
            _ => vec![],
        }
    }

    /// Whether a promoted green has not recovered in time after both were down.
    fn is_late(&self, now: Time) -> bool {
        let back = self.blue_back.filter(|_| !self.blue_down && !self.blind());
        back.is_some_and(|back| now.since(back) >= RETURN)
    }

    fn on_promoted(&mut self, event: Event, now: Time) -> Vec<Action> {
        let warm_over = now.since(self.since) >= self.plan.keep_blue;
        let drain_over = now.since(self.since) >= self.plan.keep_blue + self.plan.drain;
        match event {
            Event::Abort(reason) => {
                let reason = after_promotion(&reason);
                self.roll_back(Outcome::Stopped { reason }, now)
            }
            Event::Lost {
                color: Color::Green,
                what,
            } if !self.blue_down => {
                let reason = after_promotion(&what);
                self.roll_back(Outcome::RolledBack { reason }, now)
            }
            Event::Back(Color::Blue) if self.green_down => {
                self.blue_back = Some(now);
                vec![]
            }
            Event::Tick if self.green_down && self.is_late(now) => {
                let reason = format!(
                    "blue is back since {}, and no backend of green is healthy yet",
                    shown(RETURN)
                );
                self.roll_back(Outcome::RolledBack { reason }, now)
            }
            Event::Restarted { .. } => {
                self.since = now;
                vec![Action::SetWeight(Weight::ALL)]
            }
            // A dead green cannot become blue, and one in an unknown state may be dead.
            _ if self.green_down || self.blind() => vec![],
            Event::Superseded => self.retire(),
            Event::Drained if warm_over => self.retire(),
            Event::Tick if drain_over => self.retire(),
            _ => vec![],
        }
    }

    /// The pool that is being released by now: requests still open on it must end.
    pub fn leaving(&self, now: Time) -> Option<Color> {
        let warm_over = now.since(self.since) >= self.plan.keep_blue;
        match self.phase {
            Phase::RollingBack { .. } => Some(Color::Green),
            Phase::Promoted if warm_over && !self.green_down && !self.blind() => Some(Color::Blue),
            _ => None,
        }
    }

    fn on_rolling_back(&mut self, outcome: Outcome, event: &Event, now: Time) -> Vec<Action> {
        let drain_over = now.since(self.since) >= self.plan.drain;
        match event {
            Event::Drained => {}
            Event::Tick if drain_over => {}
            Event::Restarted { .. } => {
                self.since = now;
                return vec![Action::SetWeight(Weight::NONE)];
            }
            _ => return vec![],
        }
        self.phase = Phase::Finished { outcome };
        let baseline = self.end_baseline();
        baseline.into_iter().chain([Action::StopGreen]).collect()
    }

    fn enter(&mut self, step: usize, now: Time) -> Vec<Action> {
        self.phase = Phase::Running { step };
        self.since = now;
        self.challenged = false;
        (self.confirming, self.confirmed) = (None, false);
        self.switching = None;
        match self.plan.steps.get(step) {
            Some(Step::Start) => {
                let baseline = self.start_baseline();
                [baseline, vec![Action::StartGreen]].concat()
            }
            Some(Step::Warm) => vec![Action::WarmGreen],
            Some(Step::Smoke) => vec![Action::SmokeGreen],
            Some(Step::Hooks { at }) => vec![Action::RunHooks(*at)],
            Some(Step::Approve) => vec![],
            Some(Step::Shift { weight, .. }) => {
                let weight = *weight;
                self.route(weight)
            }
            Some(Step::Retire) | None => {
                self.phase = Phase::Promoted;
                self.route(Weight::ALL)
            }
        }
    }

    /// Repeats a step's work, and routes the decided share again.
    fn enter_again(&mut self, step: usize, now: Time) -> Vec<Action> {
        let mut actions = self.enter(step, now);
        if !actions
            .iter()
            .any(|action| matches!(action, Action::SetWeight(_)))
        {
            actions.insert(0, Action::SetWeight(self.weight));
        }
        actions
    }

    /// Skips to the last share, where green stays judged; beside a dead blue nothing is compared, and green is accepted.
    fn promote(&mut self, step: usize, now: Time) -> Vec<Action> {
        match self.plan.last_shift() {
            Some(last) if last > step && !self.stranded() => self.enter(last, now),
            _ => self.enter(self.plan.steps.len(), now),
        }
    }

    fn pause(&mut self, step: usize, now: Time) -> Vec<Action> {
        self.phase = Phase::Paused { step };
        self.since = now;
        self.switching = None;
        vec![]
    }

    fn set_weight(&mut self, step: usize, weight: Weight, now: Time) -> Vec<Action> {
        self.phase = Phase::Paused { step };
        self.since = now;
        self.challenged = false;
        self.confirming = None;
        self.switching = None;
        self.route(weight)
    }

    fn route(&mut self, weight: Weight) -> Vec<Action> {
        self.weight = weight;
        self.exposed |= weight > Weight::NONE;
        vec![Action::SetWeight(weight)]
    }

    fn retire(&mut self) -> Vec<Action> {
        self.phase = Phase::Finished {
            outcome: Outcome::Promoted,
        };
        let baseline = self.end_baseline().into_iter();
        baseline
            .chain([Action::SwapRoles, Action::StopBlue])
            .collect()
    }

    fn roll_back(&mut self, outcome: Outcome, now: Time) -> Vec<Action> {
        self.phase = Phase::RollingBack { outcome };
        self.since = now;
        self.challenged = false;
        self.confirming = None;
        self.switching = None;
        self.route(Weight::NONE)
    }

    /// Whether every check before the first share has passed.
    fn fit_to_serve(&self, step: usize) -> bool {
        let served = match self.plan.steps.get(step) {
            Some(Step::Shift { .. } | Step::Approve | Step::Retire) => true,
            Some(Step::Hooks { .. }) => self.exposed,
            _ => false,
        };
        served
            && self.plan.steps[..step].contains(&Step::Start)
            && !self.plan.steps[step..]
                .iter()
                .any(|later| matches!(later, Step::Start | Step::Warm | Step::Smoke))
    }
}

/// The reason of a way back that begins when green was promoted already: history has one outcome for each rollout.
fn after_promotion(reason: &str) -> String {
    format!("{reason}, after green was promoted")
}
