//! A whole rollout on simulated seconds, run by the code that the product runs.

use super::{RecordedLine, Trial};
use crate::core::baseline::Places;
use crate::core::judge::{Policy, Verdict};
use crate::core::plan::{Plan, Step};
use crate::core::rollout::{Action, Event, Outcome, Phase, Rollout};
use crate::core::source::Sources;
use crate::core::stats::{Histogram, History, Limits, SpanStats, Tick};
use crate::core::switchback::Settings;
use crate::core::table::Ramp;
use crate::core::time::Time;
use crate::core::weight::Weight;

/// A source of simulated seconds.
pub trait World {
    /// The next second with this share on green, slow requests counted against these limits.
    ///
    /// What blue did is added to its past, where the world keeps one.
    fn second(&mut self, share: Weight, limits: Option<Limits>, past: &mut History) -> Tick;

    /// A window of a switchback begins or ends: in it, blue serves the requests that were assigned to green.
    fn withhold(&mut self, _withheld: bool) {}

    /// The places of the line that a baseline serves in the next second.
    fn beside(&mut self, _baseline: Option<Places>) {}

    /// The times to first byte of the baseline's answers in the last second, where there is a baseline.
    fn baseline(&mut self) -> Option<Histogram> {
        None
    }

    /// Statistics of blue's own requests in the last second, where the world knows them: without them no switchback
    /// begins.
    fn blue(&mut self) -> Option<SpanStats> {
        None
    }
}

/// How a simulated rollout ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The outcome; a promotion counts from its decision. `None` while the rollout waits for a person.
    pub outcome: Option<Outcome>,
    /// Seconds since green's first share.
    pub seconds: u64,
    /// A share ended at its deadline by policy, without proof.
    pub silent: bool,
    /// How often the rollout went back to blue to confirm a suspicion.
    pub challenges: u32,
    /// Seconds in which blue had a share again to confirm a suspicion.
    pub challenged_seconds: u64,
    /// How often green was suspected to harm blue.
    pub switchbacks: u32,
    /// Seconds of switchbacks.
    pub switched_seconds: u64,
    /// Green's requests, and how many of them failed.
    pub green: (u64, u64),
    /// Green's last share above 0.
    pub share: Weight,
    /// Lines of the recording; empty unless they were requested.
    pub lines: Vec<RecordedLine>,
}

/// A rollout under way on simulated seconds.
///
/// What comes before the shares and between them takes no time, and persons approve at once.
#[derive(Clone, Debug)]
pub struct Course {
    trial: Trial,
    past: History,
    actions: Vec<Action>,
    /// The routed weight, and the steps by which it grows.
    weight: Weight,
    ramp: Option<Ramp>,
    withheld: bool,
    salt: u64,
    /// The simulated second, and the seconds before green's first share.
    second: u64,
    unexposed: u64,
    recorded: bool,
    undecided: bool,
    end: End,
}

impl Course {
    /// Begins a rollout with what is known of blue's past.
    pub fn new(plan: &Plan, policy: &Policy, past: History) -> Course {
        let (rollout, actions) = Rollout::start(plan.clone(), Time(0));
        let trial = Trial::new(rollout, policy.clone(), false, Sources::default());
        Course {
            trial: trial.without_intervals(),
            past,
            actions,
            weight: Weight::NONE,
            ramp: None,
            withheld: false,
            salt: 0,
            second: 0,
            unexposed: 0,
            recorded: false,
            undecided: false,
            end: End {
                outcome: None,
                seconds: 0,
                silent: false,
                challenges: 0,
                challenged_seconds: 0,
                switchbacks: 0,
                switched_seconds: 0,
                green: (0, 0),
                share: Weight::NONE,
                lines: vec![],
            },
        }
    }

    /// Enables the search for harm that green does to blue; the order of the windows follows from `salt`.
    pub fn switch_back(mut self, settings: Settings, salt: u64) -> Course {
        self.trial.switch_back(Some(settings));
        self.salt = salt;
        self
    }

    /// Keeps the lines of the recording.
    pub fn recorded(mut self) -> Course {
        self.recorded = true;
        self
    }

    /// The rollout with its evidence.
    pub fn trial(&self) -> &Trial {
        &self.trial
    }

    /// Runs the rollout to its end; returns the rollout with its evidence at that moment.
    pub fn run(mut self, world: &mut impl World) -> (End, Trial) {
        loop {
            self.act();
            let rollout = self.trial.rollout();
            let over = rollout.outcome().is_some() || self.waits();
            if over {
                self.end.outcome = rollout.outcome().cloned();
                self.end.seconds = self.second - self.unexposed;
                return (self.end, self.trial);
            }
            self.next(world);
        }
    }

    fn now(&self) -> Time {
        Time(1_000 * self.second)
    }

    /// Does the actions of the state machine. What takes no time here is done at once.
    fn act(&mut self) {
        let now = self.now();
        while let Some(at) = self.actions.iter().position(|one| done(one).is_some()) {
            let Some(event) = done(&self.actions.remove(at)) else {
                continue;
            };
            let more = self.trial.on(event, now);
            self.actions.extend(more);
        }
        let more = self.trial.on(Event::Approve, now);
        self.actions.extend(more);
        for action in std::mem::take(&mut self.actions) {
            if let Action::Window { green } = action {
                self.withheld = !green;
            }
            if let Action::SetWeight(weight) = action {
                self.end.challenges += u32::from(self.trial.rollout().challenged());
                if weight > Weight::NONE {
                    self.end.share = weight;
                }
                let before = std::mem::replace(&mut self.weight, weight);
                self.withheld = false;
                let over = self.trial.rollout().plan().ramp;
                let grows = weight > before && before > Weight::NONE && !over.is_zero();
                self.ramp = grows.then_some(Ramp {
                    from: before,
                    since: now,
                    over,
                });
                let lines = self.trial.start_share(before, weight, &self.past, now);
                self.record(lines);
            }
        }
    }

    fn next(&mut self, world: &mut impl World) {
        self.second += 1;
        let now = self.now();
        if !self.trial.judges() {
            self.unexposed = self.second;
            self.actions = self.trial.on(Event::Tick, now);
            return;
        }
        let frozen = self.trial.freeze(&self.past);
        self.record(frozen);
        let weight = self
            .ramp
            .map_or(self.weight, |ramp| ramp.at(self.weight, now));
        world.withhold(self.withheld);
        world.beside(self.trial.rollout().places(weight));
        let tick = world.second(weight, self.trial.limits(), &mut self.past);
        if let Some(times) = world.baseline() {
            let line = self.trial.freeze_fairly(&times);
            self.record(line);
        }
        if !self.withheld {
            self.end.green.0 += tick.green.requests;
            self.end.green.1 += tick.green.failed;
        }
        self.end.challenged_seconds += u64::from(self.trial.rollout().challenged());
        let line = self.trial.second(&tick, 1);
        self.record(line);
        let before = self.trial.rollout().switching().is_some();
        self.end.switched_seconds += u64::from(before);
        if let Some(blue) = world.blue() {
            let (events, line) = self.trial.beside(&blue, 1, self.salt);
            self.record(line);
            for event in events {
                self.end.switchbacks += u32::from(matches!(event, Event::Suspected(_)));
                let more = self.trial.on(event, now);
                self.actions.extend(more);
            }
        }
        let (mut undecided, mut judged) = (false, false);
        if let Some(verdict) = self.trial.verdict().cloned() {
            judged = true;
            undecided = matches!(verdict, Verdict::NoData | Verdict::Inconclusive { .. });
            let more = self.trial.on(Event::Judged(verdict), now);
            self.actions.extend(more);
        }
        let more = self.trial.on(Event::Tick, now);
        self.actions.extend(more);
        // The verdict of this second was given after the deadline, and moved nothing.
        self.undecided = judged && self.is_late() && self.actions.is_empty();
        let moves = |action: &Action| !matches!(action, Action::Window { .. });
        self.end.silent |= undecided && self.actions.iter().any(moves);
    }

    fn record(&mut self, lines: impl IntoIterator<Item = RecordedLine>) {
        if self.recorded {
            self.end.lines.extend(lines);
        }
    }

    /// Whether the rollout waits for a person, or for more evidence after the deadline of its share.
    fn waits(&self) -> bool {
        let paused = matches!(self.trial.rollout().phase(), Phase::Paused { .. });
        self.undecided || paused
    }

    /// Whether the share's time is over. A switchback and an equal share have their own time, which the deadline does
    /// not cut.
    fn is_late(&self) -> bool {
        let rollout = self.trial.rollout();
        let apart = rollout.switching().is_some() || rollout.confirming();
        match rollout.step() {
            Some(Step::Shift { deadline, .. }) => {
                !apart && self.now().since(rollout.since()) > *deadline
            }
            _ => false,
        }
    }
}

/// The event that ends an action that takes no time here.
fn done(action: &Action) -> Option<Event> {
    match action {
        Action::StartBaseline => Some(Event::BaselineReady),
        Action::StartGreen => Some(Event::Ready),
        Action::WarmGreen => Some(Event::Warmed),
        Action::SmokeGreen => Some(Event::Smoked(Ok(()))),
        Action::RunHooks(_) => Some(Event::Hooked(Ok(()))),
        Action::SetWeight(_)
        | Action::Window { .. }
        | Action::SwapRoles
        | Action::StopBlue
        | Action::StopBaseline
        | Action::StopGreen => None,
    }
}
