//! The state of one service in the controller: its entry in the table, its evidence, its rollout.

use crate::config::{PoolSpec, Service};
use crate::control::api::view::RolloutView;
use crate::control::report::timeline;
use crate::control::service::observed::ObservedContainers;
use crate::control::service::run::Run;
use crate::control::signals::mirrored::MirrorCounter;
use crate::core::answers::Expected;
use crate::core::judge::{Policy, Reference, Verdict};
use crate::core::outcome::OutcomeKind;
use crate::core::plan::Plan;
use crate::core::rollout::{Action, Outcome, Rollout};
use crate::core::routes::Usual;
use crate::core::stats::{Baseline, History, SpanStats};
use crate::core::table::{Color, Pool, Route};
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::driver::docker::pools;
use crate::driver::static_pools;
use crate::store::journal::{SavedRollout, SavedService};
use crate::store::shared_state::PublishedService;
use crate::store::window::{Cursor, Reading, Window};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// Seconds covered by the rates in the view.
const RECENT: usize = 10;

/// The state that must survive a crash for a rollout to continue: all but the evidence, which starts anew.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunState {
    /// The state machine.
    pub rollout: Rollout,
    /// Its age when this was saved, in milliseconds.
    pub age_ms: u64,
    /// Blue's pool when this was saved.
    pub blue: Pool,
    /// Green's pool when this was saved.
    pub green: Pool,
    /// The baseline's pool when this was saved.
    #[serde(default)]
    pub baseline: Option<Pool>,
    /// The salt of the line.
    pub salt: u64,
    /// The epoch of cookies.
    pub epoch: u32,
    /// Blue's past, for a green that serves alone.
    #[serde(default)]
    pub past: Option<Baseline>,
    /// Blue's statistics before green's first share, where they are known.
    #[serde(default)]
    pub reference: Option<Reference>,
    /// The image of green's containers, where shifter makes them.
    #[serde(default)]
    pub image: Option<String>,
    /// Number of members that green is to have.
    #[serde(default)]
    pub members: usize,
    /// Refuse to start with too little memory for two versions.
    #[serde(default)]
    pub strict: bool,
    /// It was stated that this is the first version.
    #[serde(default)]
    pub first: bool,
    /// What green changes on purpose: only reported in this rollout, not judged.
    #[serde(default)]
    pub expect: Vec<Expected>,
}

/// One service.
pub struct ServiceState {
    /// The settings; a reload replaces them between rollouts.
    pub settings: Arc<Service>,
    /// The service's entry in the table.
    pub route: Route,
    /// The state kept between rollouts.
    pub saved: SavedService,
    /// The rollout under way.
    pub run: Option<Run>,
    /// Whether the serving pool has no healthy member, and that was logged.
    pub lost: bool,
    /// The last rollout that ended.
    pub last: Option<RolloutView>,
    /// The state of the service's containers, where its pools are containers.
    pub docker: ObservedContainers,
    /// Counts of mirrored requests to greens before this one.
    pub mirror: MirrorCounter,
    pub(in crate::control) histories: [History; 2],
    pub(in crate::control) recent: VecDeque<[SpanStats; 2]>,
    /// Requests of the last minutes, by route and by agent.
    pub(in crate::control) usual: Usual,
    reader: Option<(Arc<Window>, Cursor)>,
}

impl ServiceState {
    /// A service without a rollout, with its saved state.
    pub fn new(settings: Arc<Service>, saved: SavedService) -> ServiceState {
        let known = saved.known.clone();
        let blue = match known.filter(|_| !matches!(settings.blue, PoolSpec::Addresses(_))) {
            Some(known) => known,
            None => static_pools::pools(&settings, &saved.running).0,
        };
        let route = Route {
            epoch: saved.epoch,
            ..Route::at_rest(&settings.name, blue)
        };
        ServiceState {
            settings,
            route,
            saved,
            run: None,
            lost: false,
            last: None,
            docker: ObservedContainers::default(),
            mirror: MirrorCounter::default(),
            histories: Default::default(),
            recent: VecDeque::new(),
            usual: Usual::default(),
            reader: None,
        }
    }

    /// Takes new settings; a rollout under way keeps its plan and its pools.
    ///
    /// Where another latency or other failures count from now on, blue's past is not comparable and is dropped.
    pub fn adopt(&mut self, settings: Arc<Service>) {
        let counts = |one: &Service| (one.judgement.latency, one.judgement.count_4xx);
        if counts(&settings) != counts(&self.settings) {
            self.histories = Default::default();
        }
        let green_of =
            |one: &Service| pools::places(one, &self.saved.running, None).map(|[_, green]| green);
        let same_green = green_of(&settings) == green_of(&self.settings);
        if self.run.is_none() && !same_green {
            self.docker.containers[Color::Green.index()] = None;
        }
        if settings.blue != self.settings.blue {
            // Another pool may be of another Compose project.
            self.saved.project = None;
        }
        self.settings = settings;
        // For containers the file alone does not give the pool.
        if self.run.is_none() && !self.is_docker() {
            self.route.blue = static_pools::pools(&self.settings, &self.saved.running).0;
        }
    }

    /// The plan that a rollout of this service would follow.
    pub fn plan(&self, strategy: Option<crate::core::plan::Strategy>) -> Plan {
        self.settings.plan(strategy)
    }

    /// The judge's policy from the settings.
    pub fn policy(&self) -> Policy {
        self.settings.policy()
    }

    /// Sets a new green without a share; counts, draws and cookies of a new rollout begin.
    pub(in crate::control) fn prepare_route(&mut self, green: Pool) {
        self.route.green = Some(green);
        self.route.weight = Weight::NONE;
        self.route.mark += 1;
        self.route.salt = rand::random();
        self.route.epoch += 1;
    }

    /// Begins a rollout's evidence.
    ///
    /// `recorded` is the number of its lines that are in the journal already.
    pub fn begin(
        &mut self,
        saved: SavedRollout,
        rollout: Rollout,
        expect: &[Expected],
        ready: bool,
        recorded: i64,
    ) {
        let settings = self.settings.clone();
        let policy = self.policy().expecting(expect);
        let mut run = Run::new(saved, rollout, settings, policy, ready, recorded);
        run.expect = expect.to_vec();
        self.histories[Color::Green.index()] = History::default();
        self.recent.clear();
        self.run = Some(run);
    }

    /// The state that must be saved to continue after a crash.
    pub fn state(&self, now: Time) -> Option<RunState> {
        let run = self.run.as_ref()?;
        Some(RunState {
            rollout: run.trial.rollout().clone(),
            age_ms: u64::try_from(run.trial.rollout().age(now).as_millis()).unwrap_or(u64::MAX),
            blue: self.route.blue.clone(),
            green: self.route.green.clone().unwrap_or_default(),
            baseline: self.route.baseline.clone(),
            salt: self.route.salt,
            epoch: self.route.epoch,
            past: run.trial.past(self.blue_history()).known(),
            reference: run.trial.reference(),
            image: run.image.clone(),
            members: run.members,
            strict: run.strict,
            first: run.first,
            expect: run.expect.clone(),
        })
    }

    /// Reads the counts since the last call and distributes them.
    pub fn read(&mut self, published: &PublishedService, now: Time) -> Reading {
        let window = &published.window;
        let known = self
            .reader
            .as_ref()
            .is_some_and(|(held, _)| Arc::ptr_eq(held, window));
        if !known {
            self.reader = Some((window.clone(), Cursor::new(window)));
        }
        let Some((held, cursor)) = &mut self.reader else {
            return Reading::default();
        };
        let reading = cursor.read(held, now);
        if reading.ticks.is_empty() {
            return reading;
        }
        for color in Color::BOTH {
            let share = match color {
                Color::Blue => self.route.weight.rest(),
                Color::Green => self.route.weight,
            };
            let diverted = color == Color::Green && self.route.withheld;
            if share > Weight::NONE && !diverted {
                self.histories[color.index()].push(&reading.spans[color.index()]);
            }
        }
        let seconds = reading.ticks.len() as u64;
        self.usual.push(&reading.groups, &reading.sample, seconds);
        self.recent.push_back(reading.spans.clone());
        // After a late wake-up one span covers several seconds; the rates are right again within a second.
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        reading
    }

    /// Feeds the judge; returns the verdict when there is something new to act on.
    pub fn judge(&mut self, reading: &Reading) -> Option<Verdict> {
        let run = self.run.as_mut()?;
        if !run.trial.judges() || reading.ticks.is_empty() {
            return None;
        }
        // In these windows blue serves green's requests: no evidence about green.
        if run.trial.withheld() {
            return None;
        }
        for color in Color::BOTH {
            run.step_spans[color.index()].merge(&reading.spans[color.index()]);
        }
        run.trial
            .blame(reading.faults[Color::Green.index()].clone());
        let green = self.route.green.as_ref();
        let members = green.map_or(0, |pool| pool.backends.len());
        let routes = run.trial.routes(&reading.groups);
        let contents = run.trial.contents(&reading.contents);
        let counted = routes.iter().chain(&contents);
        counted.for_each(|line| run.record(line));
        let mut verdict = None;
        for tick in &reading.ticks {
            let line = run.trial.second(tick, members)?;
            run.record(&line);
            verdict = run.trial.verdict().cloned();
        }
        verdict
    }

    /// The state to save when green becomes the new blue.
    pub fn promoted(&self) -> SavedService {
        let Some(green) = &self.route.green else {
            return self.saved.clone();
        };
        if !self.is_docker() {
            return SavedService {
                running: static_pools::running(&self.settings, green),
                ..self.saved.clone()
            };
        }
        let [blue, new] = &self.docker.containers;
        let new = new.as_deref().unwrap_or_default();
        let made = self.run.as_ref().is_some_and(|run| run.image.is_some());
        // Containers that shifter does not create, it does not stop either.
        let replaced = blue.iter().flatten().filter(|_| made);
        let mut retired = self.saved.retired.clone();
        retired.extend(replaced.map(|container| container.id.clone()));
        SavedService {
            running: pools::running(&self.settings, &self.saved.running, new),
            retired,
            known: Some(green.clone()),
            ..self.saved.clone()
        }
    }

    /// Makes green the new blue.
    pub fn swap_roles(&mut self) {
        self.route.baseline = None;
        self.saved = self.promoted();
        self.docker.containers.swap(0, 1);
        self.docker.fallen = Default::default();
        self.docker.containers[Color::Green.index()] = None;
        self.docker.sweep_due = true;
        if let Some(green) = self.route.green.take() {
            self.route.blue = green;
        }
        (self.route.weight, self.route.ramp) = (Weight::NONE, None);
        self.route.rollout = 0;
        self.histories.swap(0, 1);
        self.usual.forget_pools();
        self.histories[Color::Green.index()] = History::default();
    }

    /// Blue serves alone again.
    pub fn drop_green(&mut self) {
        self.route.green = None;
        // A slot in the file is watched also without a rollout: its observed state stays valid.
        if !matches!(self.settings.green, Some(PoolSpec::Containers(_))) {
            self.docker.containers[Color::Green.index()] = None;
        }
        self.docker.fallen[Color::Green.index()] = None;
        self.docker.stop_raising();
        (self.route.weight, self.route.ramp) = (Weight::NONE, None);
        self.route.rollout = 0;
        self.histories[Color::Green.index()] = History::default();
    }

    /// The number of the last rollout, when it went back to blue.
    pub fn went_back(&self) -> Option<i64> {
        let last = self.last.as_ref()?;
        let promoted = last.outcome_kind() == Some(OutcomeKind::Promoted);
        (!promoted).then_some(last.id)
    }

    /// The current record of the rollout.
    pub fn saved_rollout(&self, now: Time) -> Option<SavedRollout> {
        let run = self.run.as_ref()?;
        let mut saved = run.saved.clone();
        let outcome = run.trial.rollout().outcome();
        saved.outcome = outcome.map(|outcome| outcome.name().to_owned());
        saved.reason = outcome.and_then(Outcome::reason).map(str::to_owned);
        saved.ended_at = run.trial.rollout().finished().then(timeline::now);
        saved.state = serde_json::to_string(&self.state(now)?).ok()?;
        saved.evidence = serde_json::to_string(&run.trial.report()).ok();
        Some(saved)
    }

    /// Recent failures and rates of blue, for plans.
    pub fn blue_history(&self) -> &History {
        &self.histories[Color::Blue.index()]
    }
}

/// Whether an action increases green's share: such actions are recorded before they are performed.
pub fn grows(actions: &[Action], present: Weight) -> bool {
    actions
        .iter()
        .any(|action| matches!(action, Action::SetWeight(weight) if *weight > present))
}
