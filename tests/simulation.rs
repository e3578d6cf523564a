//! Drives rollouts with seeded random events and checks what must always hold.
//!
//! Replay one failure: `SHIFTER_SEED=17 cargo test --test simulation`. How many seeds:
//! `SHIFTER_SEEDS`. The invariants are those of the design: I1 no growth without proof, I2 bad news
//! takes green off in the same call, I3 blue stays until green has everything, I4 nothing is stopped
//! with requests in flight before its drain time, I5 every rollout ends and silence leads to blue,
//! I6 no share is left before its hold, I7 what is routed is what was decided, I8 evidence is used
//! only from the share that it was made under (a switchback's time is none at its share), I12 equal events give equal decisions, I13 nothing is
//! stopped that this rollout does not own. And where blue has nobody, only a person takes a green that
//! lives away from the users, and a dead green never becomes the new blue. While nobody can see what runs,
//! green never grows and blue is never retired.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::too_many_lines)]

use shifter::core::baseline::Standing;
use shifter::core::judge::Verdict;
use shifter::core::outcome::OutcomeKind;
use shifter::core::plan::{Moment, OnWorse, Plan, Step, Strategy, Undecided};
use shifter::core::rollout::{Action, Event, Outcome, Phase, Rollout};
use shifter::core::table::Color;
use shifter::core::time::Time;
use shifter::core::weight::Weight;
use std::time::Duration;

#[test]
fn every_seed_keeps_the_invariants() {
    let seeds: Vec<u64> = match std::env::var("SHIFTER_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let many = std::env::var("SHIFTER_SEEDS")
                .ok()
                .and_then(|n| n.parse().ok());
            (0..many.unwrap_or(20_000)).collect()
        }
    };
    let mut ended = std::collections::BTreeMap::new();
    let all = seeds.len() > 1;
    for seed in seeds {
        let outcome = World::new(seed).run();
        *ended.entry(outcome.name()).or_insert(0u32) += 1;
    }
    println!("{ended:?}");
    if all {
        for name in OutcomeKind::ALL.iter().map(|kind| kind.name()) {
            assert!(ended.contains_key(name), "no seed ends {name}: {ended:?}");
        }
    }
}

#[test]
fn a_silent_world_ends_on_blue() {
    for seed in 0..500 {
        let mut world = World::new(seed);
        for _ in 0..200_000 {
            world.now = Time(world.now.0 + 1_000);
            let actions = world.rollout.on(Event::Tick, world.now);
            world.perform(&actions);
            if world.rollout.finished() {
                break;
            }
        }
        assert!(world.rollout.finished(), "seed {seed}: {:?}", world.rollout);
        assert_ne!(
            world.rollout.outcome(),
            Some(&Outcome::Promoted),
            "seed {seed}: silence promoted"
        );
        assert_eq!(world.routed, Weight::NONE);
    }
}

#[test]
fn silence_with_verdicts_of_no_data_never_promotes_unless_the_policy_says_so() {
    for seed in 0..2_000 {
        let mut world = World::new(seed);
        let promotes = world.rollout.plan().on_no_data == Undecided::Promote;
        for _ in 0..200_000 {
            world.now = Time(world.now.0 + 1_000);
            for event in [
                Event::Ready,
                Event::Warmed,
                Event::Smoked(Ok(())),
                Event::Judged(Verdict::NoData),
                Event::Tick,
            ] {
                let actions = world.rollout.on(event, world.now);
                world.perform(&actions);
            }
            if world.rollout.outcome().is_some() {
                break;
            }
        }
        let promoted = world.rollout.outcome() == Some(&Outcome::Promoted);
        assert!(!promoted || promotes, "seed {seed}: {:?}", world.rollout);
    }
}

#[test]
fn a_plan_that_holds_for_ever_ends_at_the_whole_deadline() {
    let undecided = || {
        Event::Judged(Verdict::Inconclusive {
            leaning_worse: false,
            step_requests: 1_000,
            total_requests: 1_000,
        })
    };
    for seed in 0..500 {
        let mut plan = random_plan(&mut Rng(seed * 2 + 1));
        plan.on_inconclusive = Undecided::Hold;
        plan.approve_deadline = plan.deadline * 2;
        let deadline = plan.deadline;
        let (mut rollout, _) = Rollout::start(plan, Time(0));
        for second in 1..=deadline.as_secs() + 1 {
            let now = Time(second * 1_000);
            for event in [
                Event::Ready,
                Event::Warmed,
                Event::Smoked(Ok(())),
                undecided(),
                Event::Tick,
            ] {
                rollout.on(event, now);
            }
        }
        assert_eq!(rollout.step_index(), None, "seed {seed}: {rollout:?}");
        assert_eq!(rollout.weight(), Weight::NONE, "seed {seed}");
    }
}

/// A rollout, the pools as the actions left them, and a virtual clock.
struct World {
    seed: u64,
    rng: Rng,
    now: Time,
    rollout: Rollout,
    /// A second machine that is fed the same: it must always agree (I12).
    twin: Rollout,
    blue: bool,
    green: bool,
    green_ours: bool,
    in_flight: [u32; 2],
    routed: Weight,
    /// A window of a switchback: blue serves the requests that were assigned to green.
    withheld: bool,
    /// The baseline runs; lost, it never serves again.
    baseline: bool,
    baseline_ready: bool,
    /// Since when a switchback runs, and how long those of this share took.
    switching: Option<Time>,
    switched: Duration,
    /// Since when both have an equal share, so that slowness of a small one is looked at.
    confirming: Option<Time>,
    blue_down: bool,
    green_down: bool,
    blind: bool,
    entered: Time,
    released: Time,
    fit: bool,
    /// Raised at each change of the share: evidence carries the one that it was made under.
    mark: u64,
}

/// What the world knew just before an event.
struct Before {
    weight: Weight,
    step: Option<usize>,
    shift: Option<(Duration, Duration)>,
    paused: bool,
    /// Time of this share that was no switchback.
    spent: Duration,
    switching: bool,
    ended: bool,
    promoted: bool,
    blue_down: bool,
    accused: bool,
    confirmed: bool,
}

impl World {
    fn new(seed: u64) -> World {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let plan = random_plan(&mut rng);
        let (rollout, actions) = Rollout::start(plan, Time(0));
        let mut world = World {
            seed,
            rng,
            now: Time(0),
            twin: rollout.clone(),
            rollout,
            blue: true,
            green: false,
            green_ours: false,
            in_flight: [0; 2],
            routed: Weight::NONE,
            withheld: false,
            baseline: false,
            baseline_ready: false,
            switching: None,
            switched: Duration::ZERO,
            confirming: None,
            blue_down: false,
            green_down: false,
            blind: false,
            entered: Time(0),
            released: Time(0),
            fit: false,
            mark: 0,
        };
        world.perform(&actions);
        world
    }

    fn run(mut self) -> Outcome {
        for turn in 0..20_000 {
            if let Phase::Finished { outcome } = self.rollout.phase() {
                return outcome.clone();
            }
            // In some worlds little happens for long: there the deadlines are what decides.
            let pace = if self.seed.is_multiple_of(3) { 40 } else { 1 };
            self.now = Time(self.now.0 + self.rng.below(4_000) * pace);
            self.traffic();
            let (event, mark) = self.random_event();
            // I8: a verdict reaches the machine only if its evidence was made under the present share.
            if matches!(event, Event::Judged(_)) && mark != self.mark {
                continue;
            }
            self.step(turn, &event);
        }
        panic!(
            "seed {}: no end after 20 000 events: {:?}",
            self.seed, self.rollout
        );
    }

    fn step(&mut self, turn: u32, event: &Event) {
        let before = self.before();
        match event {
            Event::Lost {
                color: Color::Blue, ..
            } => self.blue_down = true,
            Event::Back(Color::Blue) => self.blue_down = false,
            Event::Lost {
                color: Color::Green,
                ..
            } => self.green_down = true,
            Event::Back(Color::Green) => self.green_down = false,
            Event::Blind(blind) => self.blind = *blind,
            Event::BaselineReady => self.baseline_ready |= self.baseline,
            Event::BaselineLost(_) => self.baseline_ready = false,
            Event::Smoked(Ok(())) if matches!(self.rollout.step(), Some(Step::Smoke)) => {
                self.fit = true
            }
            _ => {}
        }
        let actions = self.rollout.on(event.clone(), self.now);
        let same = self.twin.on(event.clone(), self.now);
        let at = format!(
            "seed {} turn {turn} event {event:?}: {:?}",
            self.seed, self.rollout
        );
        assert_eq!(actions, same, "I12 equal events give equal decisions; {at}");
        self.check_stops(event, &actions, &before, &at);
        self.perform(&actions);
        self.check(event, &before, &at);
        let since = self.rollout.since();
        let anew = since == self.now && (!before.switching || restarts(event));
        if self.rollout.step_index() != before.step || anew {
            (self.entered, self.switched) = (self.now, Duration::ZERO);
        }
        let equal = self.rollout.confirming();
        self.confirming = equal.then(|| self.confirming.unwrap_or(self.now));
        match (self.rollout.switching(), self.switching) {
            (Some(_), None) => self.switching = Some(self.now),
            (None, Some(since)) => {
                let since = Time(since.0.max(self.entered.0));
                self.switched += self.now.since(since);
                self.switching = None;
            }
            _ => {}
        }
        let ending = matches!(
            self.rollout.phase(),
            Phase::RollingBack { .. } | Phase::Promoted
        );
        if ending && !(before.ended || before.promoted) {
            self.released = self.now;
        }
        if ending && matches!(event, Event::Restarted { .. }) {
            self.released = self.now;
        }
    }

    /// Time at this share in which it was judged: without switchbacks.
    fn spent(&self) -> Duration {
        let running = self.switching.map(|since| self.now.since(since));
        let others = self.switched + running.unwrap_or_default();
        self.now.since(self.entered).saturating_sub(others)
    }

    fn before(&self) -> Before {
        Before {
            weight: self.rollout.weight(),
            step: self.rollout.step_index(),
            shift: match self.rollout.step() {
                Some(Step::Shift { hold, deadline, .. }) => Some((*hold, *deadline)),
                _ => None,
            },
            paused: matches!(self.rollout.phase(), Phase::Paused { .. }),
            spent: self.spent(),
            switching: self.rollout.switching().is_some(),
            ended: matches!(self.rollout.phase(), Phase::RollingBack { .. }),
            promoted: *self.rollout.phase() == Phase::Promoted,
            blue_down: self.blue_down,
            accused: self.rollout.accused().is_some(),
            confirmed: self.rollout.confirmed(),
        }
    }

    fn check(&self, event: &Event, before: &Before, at: &str) {
        assert_eq!(
            self.routed,
            self.rollout.weight(),
            "I7 what is routed is what was decided; {at}"
        );
        let by_person = matches!(
            event,
            Event::Approve | Event::Promote | Event::Resume | Event::SetWeight(_)
        );
        let proven = match event {
            Event::Judged(Verdict::Pass) | Event::Smoked(Ok(())) => true,
            // Without checks of its own a plan's first share follows from health or the warm-up.
            Event::Ready | Event::Warmed => before.weight == Weight::NONE,
            // The last share was passed before the hooks after it.
            Event::Hooked(Ok(())) => true,
            Event::Judged(verdict @ (Verdict::Inconclusive { .. } | Verdict::NoData)) => {
                self.policy_promotes(verdict, before)
            }
            // Slowness of a small share is looked at in an equal one.
            Event::Judged(Verdict::Unconfirmed { .. }) => {
                self.only_told(before) || self.confirms_fairly()
            }
            Event::Judged(Verdict::BlueFails { .. }) => false,
            Event::Judged(_) => self.only_told(before),
            _ => false,
        };
        assert!(
            self.rollout.weight() <= before.weight || proven || by_person,
            "I1 exposure grew without proof; {at}"
        );
        if self.rollout.weight() > Weight::NONE && self.rollout.plan().steps.contains(&Step::Smoke)
        {
            assert!(
                self.fit,
                "I1 users saw green before the checks passed; {at}"
            );
        }
        let stranded = self.blue_down && !self.green_down && before.weight > Weight::NONE;
        let decided_by_itself = matches!(
            event,
            Event::Judged(_) | Event::Tick | Event::Drained | Event::Approve
        );
        if stranded && decided_by_itself && before.step.is_some() {
            assert!(
                self.routed > Weight::NONE,
                "the only pool that serves was taken away; {at}"
            );
        }
        if self.blind {
            assert!(
                self.rollout.weight() <= before.weight,
                "green grew while nobody knew what runs; {at}"
            );
            let retired = before.promoted && self.rollout.finished();
            assert!(
                !retired,
                "blue was retired while nobody knew what runs; {at}"
            );
        }
        if before.promoted && self.green_down {
            let lives = matches!(self.rollout.phase(), Phase::Finished { .. });
            assert!(!lives, "a dead green became the new blue; {at}");
        }
        let due = *event == Event::Tick && !stranded && !self.blind;
        if due && self.rollout.age(self.now) >= self.rollout.plan().deadline {
            assert_eq!(
                self.rollout.step_index(),
                None,
                "I5 the whole rollout's deadline has passed; {at}"
            );
        }
        self.check_suspicion(event, before, at);
        self.check_switchback(event, before, at);
        self.check_baseline(event, before, at);
        self.check_dry_run(event, before, at);
        self.check_confirmation(event, before, at);
        let under_way = before.step.is_some();
        let bad = match event {
            Event::Judged(Verdict::Fail { .. }) => {
                under_way && !self.blue_down && self.rollout.plan().on_worse == OnWorse::Rollback
            }
            Event::Abort(_) | Event::Superseded => under_way,
            Event::Smoked(Err(_))
            | Event::Hooked(Err(_))
            | Event::Lost {
                color: Color::Green,
                ..
            } => under_way,
            _ => false,
        };
        if bad {
            assert_eq!(
                self.routed,
                Weight::NONE,
                "I2 bad news takes green off at once; {at}"
            );
            assert!(
                matches!(self.rollout.phase(), Phase::RollingBack { .. }),
                "I2; {at}"
            );
        }
        assert!(
            self.blue || self.routed == Weight::ALL || self.rollout.finished(),
            "I3 blue is gone too early; {at}"
        );
        if let (Some((hold, _)), Some(step)) = (before.shift, before.step) {
            let forward = self.rollout.step_index().is_some_and(|now| now > step)
                || (*self.rollout.phase() == Phase::Promoted && !before.promoted);
            let held = before.spent >= hold;
            assert!(
                !forward || held || by_person,
                "I6 a share was left too early; {at}"
            );
            assert!(
                !forward || by_person || !(before.blue_down || self.blue_down),
                "nothing advances by itself while blue is down; {at}"
            );
            assert!(
                !forward || by_person || !before.paused,
                "nothing advances by itself while paused; {at}"
            );
        }
    }

    /// An equal share is no more than a half, and no more than the plan gives green at some time.
    fn confirms_fairly(&self) -> bool {
        let plan = self.rollout.plan();
        let planned = plan
            .steps
            .iter()
            .any(|step| matches!(step, Step::Shift { weight, .. } if *weight >= self.routed));
        let half = self.routed <= Weight::percent(50).unwrap();
        self.rollout.confirming() && planned && half && !plan.confirm.is_zero()
    }

    /// An equal share is taken once in a step, for a bounded time, and never ends a rollout before the share's deadline.
    fn check_confirmation(&self, event: &Event, before: &Before, at: &str) {
        if let (Some(step), Event::Judged(Verdict::Unconfirmed { .. })) = (before.step, event) {
            let late = before
                .shift
                .is_some_and(|(_, deadline)| before.spent >= deadline);
            let ended = self.rollout.step_index() != Some(step);
            assert!(
                !ended || late,
                "slowness of a small share alone ended it; {at}"
            );
            let again = before.confirmed && self.rollout.confirming();
            assert!(!again, "an equal share was taken twice; {at}");
        }
        let said = matches!(
            event,
            Event::Judged(Verdict::Inconclusive { .. } | Verdict::NoData)
        );
        let leaning = matches!(event, Event::Judged(verdict) if verdict.leans_worse());
        let deaf = before.paused || before.switching || self.blind || self.blue_down;
        if let (Some(since), true, false) = (self.confirming, said, deaf) {
            let longer = if leaning { 2 } else { 1 };
            let over = self.now.since(since) >= self.rollout.plan().confirm * longer;
            let ended = !self.rollout.confirming();
            assert!(
                ended || !over,
                "an equal share went on after its time; {at}"
            );
        }
        let passed = matches!(event, Event::Judged(Verdict::Pass));
        if let (Some(since), true, false) = (self.confirming, passed, deaf) {
            let half = self.now.since(since) >= self.rollout.plan().confirm / 2;
            let ended = !self.rollout.confirming();
            assert_eq!(ended, half, "a pass counts from half of the time on; {at}");
        }
        if self.rollout.confirmed() && !before.confirmed {
            let Some(Step::Shift { weight, .. }) = self.rollout.step() else {
                panic!("confirmed outside of a share; {at}");
            };
            assert_eq!(self.routed, *weight, "the share of the plan is back; {at}");
        }
    }

    /// The plan keeps the judge from ending it: a dry run, or a person was asked and went on.
    fn only_told(&self, before: &Before) -> bool {
        match self.rollout.plan().on_worse {
            OnWorse::Rollback => false,
            OnWorse::Pause => before.accused,
            OnWorse::Report => true,
        }
    }

    /// Where the judge has no say nothing that it finds ends a rollout, and all of it is told.
    fn check_dry_run(&self, event: &Event, before: &Before, at: &str) {
        let on_worse = self.rollout.plan().on_worse;
        if on_worse == OnWorse::Rollback {
            assert_eq!(self.rollout.accused(), None, "accused and not ended; {at}");
            return;
        }
        let Event::Judged(Verdict::Fail { .. }) = event else {
            return;
        };
        if before.step.is_none() || before.blue_down || self.blue_down {
            return;
        }
        assert!(self.rollout.accused().is_some(), "it was not told; {at}");
        let rolled_back = matches!(self.rollout.phase(), Phase::RollingBack { .. });
        assert!(!rolled_back, "a judge without a say ended it; {at}");
        let asks = on_worse == OnWorse::Pause && !before.accused;
        if asks || before.paused {
            let paused = matches!(self.rollout.phase(), Phase::Paused { .. });
            assert!(paused, "a person was not asked; {at}");
            assert_eq!(self.routed, before.weight, "green's share changed; {at}");
        }
    }

    /// Suspicion starts a challenge, and ends no rollout before the share's deadline.
    fn check_suspicion(&self, event: &Event, before: &Before, at: &str) {
        if self.rollout.challenged() {
            let rest = self.rollout.plan().challenge.rest();
            assert_eq!(self.routed, rest, "a challenge is blue's share; {at}");
        }
        let Event::Judged(Verdict::Suspect { .. }) = event else {
            return;
        };
        let late = before
            .shift
            .is_some_and(|(_, deadline)| before.spent >= deadline);
        let ended = self.rollout.step_index() != before.step;
        assert!(!ended || late, "suspicion alone ended it; {at}");
        assert!(
            self.routed <= before.weight || (late && self.only_told(before)),
            "suspicion gave green more; {at}"
        );
    }

    /// A switchback takes green's requests away for some seconds, and changes nothing else.
    fn check_switchback(&self, event: &Event, before: &Before, at: &str) {
        let switching = self.rollout.switching();
        let withheld = switching.is_some_and(|switching| !switching.green);
        assert_eq!(self.withheld, withheld, "I7 the windows too; {at}");
        if switching.is_some() {
            let running = matches!(self.rollout.phase(), Phase::Running { .. });
            let shift = matches!(self.rollout.step(), Some(Step::Shift { .. }));
            assert!(running && shift, "a switchback outside of a share; {at}");
            assert!(
                !self.blue_down && !self.green_down && !self.blind,
                "a switchback with a pool that is lost or unseen; {at}"
            );
        }
        if matches!(
            event,
            Event::Suspected(_) | Event::Window { .. } | Event::Cleared(_)
        ) {
            assert_eq!(
                self.routed, before.weight,
                "a suspicion changed the share; {at}"
            );
            assert_eq!(self.rollout.step_index(), before.step, "or the step; {at}");
        }
        let judged =
            matches!(event, Event::Judged(verdict) if !matches!(verdict, Verdict::Fail { .. }));
        if before.switching && judged {
            assert_eq!(self.routed, before.weight, "judged in a switchback; {at}");
            assert_eq!(self.rollout.step_index(), before.step, "judged; {at}");
        }
    }

    /// A baseline has green's share while it serves, none when it is lost, ends nothing, and outlives no rollout.
    fn check_baseline(&self, event: &Event, before: &Before, at: &str) {
        let places = self.rollout.places(self.routed);
        assert!(
            places.is_none() || self.baseline && self.baseline_ready,
            "a baseline that is not there has a share; {at}"
        );
        let share = places.map_or(0, |places| places.share().as_basis_points());
        let green = self.routed.as_basis_points();
        let small = (1..=4_000).contains(&green);
        if self.baseline && self.baseline_ready && small {
            assert_eq!(share, green, "the baseline's share is green's; {at}");
        }
        assert!(share <= green, "the baseline has more than green; {at}");
        let waits = self.rollout.baseline() == Standing::Starting;
        assert!(
            !waits || self.routed == Weight::NONE,
            "users see green before its baseline; {at}"
        );
        if matches!(event, Event::BaselineReady | Event::BaselineLost(_)) {
            assert_eq!(self.routed, before.weight, "it changed green's share; {at}");
            assert_eq!(self.rollout.step_index(), before.step, "or the step; {at}");
        }
        let over = self.rollout.finished();
        assert!(!over || !self.baseline, "a baseline is left behind; {at}");
    }

    fn policy_promotes(&self, verdict: &Verdict, before: &Before) -> bool {
        let plan = self.rollout.plan();
        let Some((_, deadline)) = before.shift else {
            return false;
        };
        if before.spent < deadline {
            return false;
        }
        let policy = match verdict {
            Verdict::Inconclusive {
                leaning_worse: true,
                ..
            } => return self.only_told(before),
            Verdict::Inconclusive {
                step_requests,
                total_requests,
                ..
            } => {
                let last = plan.last_shift() == before.step;
                let enough = if last {
                    *total_requests >= plan.total_requests_min
                } else {
                    *step_requests >= plan.step_requests_min
                };
                if enough {
                    plan.on_inconclusive
                } else {
                    plan.on_no_data
                }
            }
            _ => plan.on_no_data,
        };
        policy == Undecided::Promote
    }

    fn check_stops(&self, event: &Event, actions: &[Action], before: &Before, at: &str) {
        for action in actions {
            let color = match action {
                Action::StopBlue => Color::Blue,
                Action::StopGreen => Color::Green,
                _ => continue,
            };
            let plan = self.rollout.plan();
            let waited = self.now.since(self.released);
            let drain = match color {
                Color::Blue => plan.keep_blue + plan.drain,
                Color::Green => plan.drain,
            };
            // A newer green ends the wait for the old blue; the driver still lets its requests finish.
            let superseded = color == Color::Blue && *event == Event::Superseded;
            assert!(
                self.in_flight[color.index()] == 0 || waited >= drain || superseded,
                "I4 {color} was stopped with requests in flight; {at}"
            );
            match color {
                Color::Blue => assert!(self.routed == Weight::ALL && before.promoted, "I3; {at}"),
                Color::Green => assert!(self.routed == Weight::NONE && before.ended, "I4; {at}"),
            }
            // Before green was started there is nothing to stop.
            let ours = color == Color::Blue || self.green_ours || !self.green;
            assert!(ours, "I13 stopped what this rollout did not start; {at}");
        }
    }

    fn perform(&mut self, actions: &[Action]) {
        for action in actions {
            match action {
                Action::StartGreen => (self.green, self.green_ours) = (true, true),
                Action::WarmGreen | Action::SmokeGreen | Action::RunHooks(_) => {}
                Action::SetWeight(weight) => {
                    self.routed = *weight;
                    self.withheld = false;
                    self.mark += 1;
                }
                Action::Window { green } => {
                    self.withheld = !green;
                    self.mark += 1;
                }
                Action::SwapRoles => {}
                Action::StopBlue => self.blue = false,
                Action::StopGreen => self.green = false,
                Action::StartBaseline => (self.baseline, self.baseline_ready) = (true, false),
                Action::StopBaseline => self.baseline = false,
            }
        }
    }

    /// Requests come and go; in a world where they hang, a pool drains only by its deadline.
    fn traffic(&mut self) {
        let hangs = self.seed.is_multiple_of(5);
        for color in Color::BOTH {
            let share = match color {
                Color::Green => self.routed,
                Color::Blue => self.routed.rest(),
            };
            let count = &mut self.in_flight[color.index()];
            if share > Weight::NONE {
                *count = 1 + self.rng.below(9) as u32;
            } else if !hangs && self.rng.below(3) == 0 {
                *count = 0;
            }
        }
    }

    fn random_event(&mut self) -> (Event, u64) {
        let mark = if self.rng.below(4) == 0 {
            self.mark.wrapping_sub(1)
        } else {
            self.mark
        };
        let person = || "a person".to_owned();
        if let Some(verdict) = self.on_equal_share() {
            return (Event::Judged(verdict), mark);
        }
        let event = match self.rng.below(146) {
            0 => Event::Abort(person()),
            1 => Event::Lost {
                color: Color::Green,
                what: "green exited".into(),
            },
            2 => Event::Judged(Verdict::Fail {
                reason: "error rate".into(),
            }),
            3 => Event::Smoked(Err("500 from /health".into())),
            4 => Event::Restarted { same: true },
            5 => Event::Restarted {
                same: self.rng.below(4) > 0,
            },
            6 => Event::Superseded,
            7 | 8 => Event::Pause,
            9..=12 => Event::Resume,
            13 => Event::Promote,
            14 => Event::SetWeight(Weight::percent(self.rng.below(101) as u16).unwrap()),
            15 | 16 => Event::Lost {
                color: Color::Blue,
                what: "blue exited".into(),
            },
            17..=21 => Event::Back(Color::Blue),
            22 => Event::Back(Color::Green),
            23 => Event::Blind(true),
            24..=27 => Event::Blind(false),
            28 => Event::Hooked(Err("exit code 1".into())),
            29 => Event::Hooked(Ok(())),
            30..=32 => Event::Smoked(Ok(())),
            33..=42 => Event::Ready,
            43..=46 => Event::Hooked(Ok(())),
            47..=50 => Event::Warmed,
            51..=65 => Event::Judged(Verdict::Pass),
            66..=75 => Event::Judged(Verdict::Inconclusive {
                leaning_worse: self.rng.below(6) == 0,
                step_requests: self.rng.below(60),
                total_requests: self.rng.below(400),
            }),
            76 => Event::Judged(Verdict::BlueFails {
                reason: "blue itself fails".into(),
                green_too: self.rng.below(2) == 0,
                step_requests: self.rng.below(60),
                total_requests: self.rng.below(400),
            }),
            77 | 78 => Event::Judged(Verdict::NoData),
            79 | 95..=97 => Event::Judged(Verdict::Unconfirmed {
                reason: "slower in a small share".into(),
            }),
            80..=82 => Event::Judged(Verdict::Suspect {
                reason: "worse than blue's past".into(),
            }),
            83 | 84 => Event::Approve,
            85..=94 => return (self.drained(), mark),
            120..=123 => Event::Suspected("blue is slower than its past".into()),
            124..=132 => Event::Window {
                green: self.rng.below(2) == 0,
            },
            133..=135 => Event::Cleared("blue does no better without green".into()),
            136..=143 => Event::BaselineReady,
            144 | 145 => Event::BaselineLost("the baseline exited".into()),
            _ => Event::Tick,
        };
        (event, mark)
    }

    /// What is rare otherwise: verdicts in an equal share and after one.
    fn on_equal_share(&mut self) -> Option<Verdict> {
        let taken = self.rollout.confirming() || self.rollout.confirmed();
        // Some judges lean worse all through an equal share.
        let leaning = self.rollout.plan().deadline.as_secs().is_multiple_of(4);
        let stubborn = leaning && self.rollout.confirming() && self.rng.below(8) > 0;
        if !stubborn && (!taken || self.rng.below(3) > 0) {
            return None;
        }
        Some(match self.rng.below(4) {
            0 if !stubborn => Verdict::Pass,
            1 if !stubborn => Verdict::Unconfirmed {
                reason: "slower in a small share".into(),
            },
            _ => Verdict::Inconclusive {
                leaning_worse: true,
                step_requests: self.rng.below(60),
                total_requests: self.rng.below(400),
            },
        })
    }

    /// The controller says so only when it is so.
    fn drained(&self) -> Event {
        let color = match self.rollout.phase() {
            Phase::RollingBack { .. } => Color::Green,
            Phase::Promoted => Color::Blue,
            _ => return Event::Drained,
        };
        if self.in_flight[color.index()] == 0 {
            Event::Drained
        } else {
            Event::Tick
        }
    }
}

/// These begin a share anew and end a switchback at once; others only end it.
fn restarts(event: &Event) -> bool {
    matches!(
        event,
        Event::Resume
            | Event::SetWeight(_)
            | Event::Pause
            | Event::Promote
            | Event::Restarted { .. }
    )
}

fn random_plan(rng: &mut Rng) -> Plan {
    let seconds = |n: u64| Duration::from_secs(n);
    let hold = seconds(rng.below(20));
    let deadline = hold + seconds(20 + rng.below(200));
    let shift = |percent: u16| Step::Shift {
        weight: Weight::percent(percent).unwrap(),
        hold,
        deadline,
    };
    let blue_green = rng.below(2) == 0;
    let mut steps = vec![];
    let hooks = rng.below(4) == 0;
    let at = |at| Step::Hooks { at };
    steps.extend(hooks.then_some(at(Moment::BeforeStart)));
    steps.push(Step::Start);
    if rng.below(2) == 0 {
        steps.push(Step::Warm);
    }
    if rng.below(3) > 0 {
        steps.push(Step::Smoke);
    }
    steps.extend(hooks.then_some(at(Moment::BeforeShift)));
    match (blue_green, rng.below(3)) {
        (true, 0) => steps.push(shift(95)),
        (true, _) => steps.push(shift(100)),
        (false, 0) => steps.extend([shift(5), Step::Approve, shift(50), shift(100)]),
        (false, _) => steps.extend([shift(5), shift(50), shift(100)]),
    }
    steps.extend(hooks.then_some(at(Moment::AfterShift)));
    steps.push(Step::Retire);
    let undecided = |n: u64| match n {
        0 => Undecided::Hold,
        1 => Undecided::Promote,
        _ => Undecided::Rollback,
    };
    Plan {
        strategy: if blue_green {
            Strategy::BlueGreen
        } else {
            Strategy::Canary
        },
        steps,
        step_deadline: seconds(60 + rng.below(200)),
        approve_deadline: seconds(60 + rng.below(500)),
        deadline: seconds(600 + rng.below(2_000)),
        drain: seconds(1 + rng.below(60)),
        keep_blue: seconds(rng.below(120)),
        on_worse: match rng.below(6) {
            0 => OnWorse::Pause,
            1 => OnWorse::Report,
            _ => OnWorse::Rollback,
        },
        on_inconclusive: undecided(rng.below(3)),
        on_no_data: undecided(rng.below(4)),
        step_requests_min: 30,
        total_requests_min: 200,
        challenge: Weight::percent(10 * rng.below(3) as u16).unwrap(),
        confirm: seconds(30 * rng.below(4)),
        ramp: Duration::ZERO,
        baseline: rng.below(2) == 0,
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }
}
