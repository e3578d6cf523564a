//! The loop that moves rollouts: takes counts, health, commands and time; performs actions.

use crate::config::{Config, Service};
use crate::control::crash;
use crate::control::docker_watcher::DockerWatcher;
use crate::control::drill::Drill;
use crate::control::handle::{CommandError, CommandOutcome, Handle, Message};
use crate::control::health;
use crate::control::messages;
use crate::control::service_state::{ServiceState, grows};
use crate::control::timeline::Timeline;
use crate::control::view::View;
use crate::control::waiting::Waiting;
use crate::core::outcome::OutcomeKind;
use crate::core::rollout::{Action, Event};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::driver::static_pools;
use crate::metrics::Metrics;
use crate::store::NoteKind;
use crate::store::journal::{Journal, JournalError};
use crate::store::window::Reading;
use crate::store::{Clock, SharedState};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Interval of the loop. The judge gets whole seconds, whatever the interval.
const LOOK: Duration = Duration::from_millis(100);

/// How often recorded seconds, and the age of a rollout, are written.
const FLUSH: Duration = Duration::from_secs(10);

/// Number of messages that may wait in the mailbox.
const MAILBOX: usize = 64;

/// The channel for the answer to a command.
pub(super) type Reply = oneshot::Sender<Result<CommandOutcome, CommandError>>;

/// The one writer of the table and of the journal.
pub struct Controller {
    pub(super) board: Arc<SharedState>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) timeline: Timeline,
    /// The served configuration: the file's services, and those that containers describe by labels.
    pub(super) config: Arc<Config>,
    /// The configuration of the file.
    pub(super) file: Arc<Config>,
    pub(super) config_file: Option<PathBuf>,
    pub(super) services: Vec<ServiceState>,
    /// Rollouts that wait until the one before them has drained: at most one for each service.
    pub(super) waiting: Vec<Waiting>,
    pub(super) drills: Vec<(Drill, Reply)>,
    pub(super) mailbox: mpsc::Receiver<Message>,
    pub(super) own: mpsc::WeakSender<Message>,
    pub(super) watcher: DockerWatcher,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) started: Instant,
    pub(super) flushed: Instant,
}

impl Controller {
    /// Loads the saved state and publishes the first table, so that the first request is routed by it.
    ///
    /// `findings` are lines to report about the state that was found.
    ///
    /// State that cannot be read is reported and treated as unknown: blue serves.
    pub fn new(
        board: Arc<SharedState>,
        metrics: Arc<Metrics>,
        journal: Journal,
        config: Arc<Config>,
        config_file: Option<PathBuf>,
        findings: Vec<String>,
    ) -> (Controller, Handle) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let mut timeline = Timeline::new(journal);
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        let instance = timeline.journal.instance();
        let instance = timeline.watch(instance).unwrap_or_default();
        let handle = Handle {
            mailbox: sender.clone(),
            view: view.clone(),
            notes: timeline.notes(),
        };
        let mut controller = Controller {
            board,
            metrics,
            timeline,
            config: config.clone(),
            file: config.clone(),
            config_file,
            services: vec![],
            waiting: vec![],
            drills: vec![],
            mailbox,
            own: sender.downgrade(),
            watcher: DockerWatcher::new(config.docker.host.clone(), instance),
            view,
            started: Instant::now(),
            flushed: Instant::now(),
        };
        for finding in findings {
            controller.timeline.tell("", None, NoteKind::State, finding);
        }
        for service in &config.services {
            let state = controller.load_service(service);
            controller.services.push(state);
        }
        for i in 0..controller.services.len() {
            controller.resume(i);
        }
        controller.publish();
        controller.show();
        (controller, handle)
    }

    /// The index of the service with this name.
    pub(super) fn service_named(&self, service: &str) -> Option<usize> {
        let mut services = self.services.iter();
        services.position(|state| state.route.service == service)
    }

    /// A service with its saved state.
    pub(super) fn load_service(&mut self, service: &Service) -> ServiceState {
        self.metrics.service(&service.name);
        let saved = self.timeline.journal.service(&service.name);
        let saved = self
            .timeline
            .watch(saved)
            .ok()
            .flatten()
            .unwrap_or_default();
        if !static_pools::names(service, &saved.running) {
            let text = format!(
                "{} was promoted, and the configuration names it neither as blue nor as green; the configured blue serves",
                saved.running.join(", ")
            );
            self.timeline
                .tell(&service.name, None, NoteKind::Trouble, text);
        }
        ServiceState::new(Arc::new(service.clone()), saved)
    }

    /// Runs until it is told to stop or no handle is left.
    pub async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let now = Clock::now();
        for i in 0..self.services.len() {
            self.restart_where_seen(i, now);
        }
        self.watcher.follow();
        let board = self.board.clone();
        loop {
            tokio::select! {
                message = self.mailbox.recv() => match message {
                    Some(Message::Stop { done }) => {
                        self.look();
                        self.clear_away().await;
                        self.flush();
                        let _ = done.send(());
                        return;
                    }
                    Some(message) => self.take(message),
                    None => return,
                },
                news = self.watcher.news() => self.on_docker_update(news, Clock::now()),
                _ = look.tick() => {}
                () = board.health_changed.notified() => {}
            }
            self.look();
        }
    }

    // ---- what happens without a command

    fn look(&mut self) {
        let now = Clock::now();
        self.doubt(now);
        for i in 0..self.services.len() {
            self.look_at_docker(i, now);
            self.watch(i, now);
        }
        self.advance_drills();
        self.start_waiting();
        self.want();
        self.sweep();
        if self.flushed.elapsed() >= FLUSH {
            self.flush();
        }
        self.show();
    }

    /// Gives one service everything that was observed since the last pass.
    fn watch(&mut self, i: usize, now: Time) {
        let snapshot = self.board.snapshot();
        let Some(published) = snapshot.services.get(i).cloned() else {
            return;
        };
        if !self.board.draining() {
            self.let_go(i, &published, now);
        }
        let state = &mut self.services[i];
        let reading = state.read(&published, now);
        let service = &state.route.service;
        if let Some((drill, _)) = self
            .drills
            .iter_mut()
            .find(|(drill, _)| drill.service == *service)
        {
            drill.see(&reading.spans[Color::Green.index()]);
        }
        let fresh = !reading.ticks.is_empty();
        if fresh && (state.freeze_limits() | state.freeze_fairly(&reading)) {
            self.publish();
        }
        self.probe(i, &published, now);
        let verdict = self.services[i].judge(&reading);
        self.tell_findings(i);
        if let Some(run) = &self.services[i].run {
            published
                .window
                .users()
                .time(run.trial.judge().hears_latency());
        }
        self.ask_sources(i, now);
        self.ask_usage(i, now);
        let state = &self.services[i];
        if let Some(verdict) = &verdict {
            self.metrics
                .service(&state.route.service)
                .evaluated(verdict.kind());
        }
        if state.run.is_none() {
            if let Some((kind, text)) = health::turn(&mut self.services[i], &published) {
                let service = self.services[i].route.service.clone();
                self.timeline.tell(&service, None, kind, text);
            }
            return;
        }
        let run = self.services[i].run.as_mut();
        let mut events = run.map_or_else(Vec::new, |run| std::mem::take(&mut run.pending));
        events.extend(health::events(&mut self.services[i], &published, now));
        events.extend(self.beside(i, &reading));
        events.extend(verdict.map(Event::Judged));
        if health::drained(&self.services[i], &published) {
            events.push(Event::Drained);
        }
        events.push(Event::Tick);
        for event in events {
            self.handle_event(i, event, now);
        }
    }

    /// Checks whether green harms blue: returns events for the state machine, and reports to people.
    fn beside(&mut self, i: usize, reading: &Reading) -> Vec<Event> {
        let events = self.services[i].beside(reading);
        let state = &self.services[i];
        let Some(run) = &state.run else { return events };
        let (id, service) = (run.saved.id, &state.route.service);
        for event in &events {
            let text = match event {
                Event::Suspected(why) => format!(
                    "{why}: green's requests go to green and to blue in turn, to see whether green harms blue"
                ),
                Event::Cleared(why) => format!("it is not green: {why}; the rollout goes on"),
                _ => continue,
            };
            self.timeline
                .tell(service, Some(id), NoteKind::Verdict, text);
        }
        events
    }

    /// Handles an event without a command. A change that cannot be recorded is not made, and is tried again later.
    pub(super) fn handle_event(&mut self, i: usize, event: Event, now: Time) {
        if let Some(run) = &mut self.services[i].run
            && run.trial.rollout().defers(&event)
        {
            // Repeated when Docker's state is known again.
            run.pending.push(event);
            return;
        }
        let again = !matches!(
            event,
            Event::Tick | Event::Judged(_) | Event::Window { .. } | Event::Drained
        );
        let kept = again.then(|| event.clone());
        if self.apply_event(i, event, now).is_err()
            && let (Some(event), Some(run)) = (kept, &mut self.services[i].run)
        {
            run.pending.push(event);
        }
    }

    // ---- the only way in which a rollout changes

    /// Gives the state machine an event and performs its actions: growth is recorded first, a reduction is done first.
    pub(super) fn apply_event(
        &mut self,
        i: usize,
        event: Event,
        now: Time,
    ) -> Result<(), JournalError> {
        let present = self.services[i].route.weight;
        let Some(run) = &mut self.services[i].run else {
            return Ok(());
        };
        let before = run.trial.rollout().clone();
        let by_hand = event == Event::Promote;
        let lost = match &event {
            Event::Lost { color, what } => Some((*color, what.clone())),
            _ => None,
        };
        let why = match &event {
            Event::BaselineLost(why) => Some(why.clone()),
            _ => None,
        };
        let actions = run.trial.on(event, now);
        run.reached = run.trial.rollout().step_index().unwrap_or(run.reached);
        if *run.trial.rollout() == before && actions.is_empty() {
            return Ok(());
        }
        let grown = grows(&actions, present);
        let grounds = |verdict| messages::grounds(verdict, run.trial.line(verdict), grown, by_hand);
        let evidence = run.trial.verdict().map(grounds);
        let shrinks = actions
            .iter()
            .any(|action| matches!(action, Action::SetWeight(weight) if *weight < present));
        let id = run.saved.id;
        if shrinks && !grows(&actions, present) {
            let decided = Instant::now();
            self.execute_all(i, &actions);
            self.tell_way_back(i, decided.elapsed());
            crash::point("back.after-publish");
            let saved = self.save(i, now);
            let _ = self.timeline.watch(saved);
        } else {
            crash::point("act.before-save");
            let saved = self.save(i, now);
            if let Err(error) = self.timeline.watch(saved) {
                if let Some(run) = &mut self.services[i].run {
                    run.trial.revert(before);
                }
                return Err(error);
            }
            crash::point("act.after-save");
            self.execute_all(i, &actions);
        }
        self.tell_baseline(i, before.baseline(), why);
        self.narrate(i, id, &before, evidence.as_deref(), lost);
        self.close_if_finished(i, now);
        Ok(())
    }

    pub(super) fn execute_all(&mut self, i: usize, actions: &[Action]) {
        for action in actions {
            crash::point("act.before-publish");
            self.execute(i, action);
            crash::point("act.after-publish");
        }
    }

    fn execute(&mut self, i: usize, action: &Action) {
        let state = &mut self.services[i];
        match action {
            Action::StartGreen => {
                if state.route.green.is_none() {
                    state.route.green =
                        static_pools::pools(&state.settings, &state.saved.running).1;
                }
                self.publish();
                self.mirror_anew(i);
                self.start_green(i);
            }
            Action::StartBaseline => self.start_baseline(i),
            Action::StopBaseline => {
                state.drop_baseline();
                self.publish();
            }
            Action::WarmGreen => self.start_warm_up(i),
            Action::SmokeGreen => self.start_smoke(i),
            Action::RunHooks(at) => self.run_hooks(i, *at),
            Action::SetWeight(weight) => {
                let before = state.weigh(*weight);
                self.publish();
                if before == Weight::NONE {
                    self.tell_mirrored(i);
                }
                // The restart policy changes with a promotion, and with a rollback after it.
                let state = &mut self.services[i];
                let settled = !state.promoted_containers().is_empty() || *weight == Weight::NONE;
                state.docker.sweep_due |= settled && state.is_docker();
            }
            Action::Window { green } => {
                state.withhold(!green);
                self.publish();
            }
            Action::SwapRoles => {
                state.swap_roles();
                self.publish();
            }
            // Fixed addresses are stopped elsewhere; containers are removed by the cleanup, once it is recorded.
            Action::StopBlue => state.docker.sweep_due = true,
            Action::StopGreen => {
                state.drop_green();
                self.publish();
            }
        }
    }

    pub(super) fn save(&mut self, i: usize, now: Time) -> Result<(), JournalError> {
        let state = &self.services[i];
        let Some(saved) = state.saved_rollout(now) else {
            return Ok(());
        };
        let finished = state
            .run
            .as_ref()
            .is_some_and(|run| run.trial.rollout().finished());
        if !finished {
            return self.timeline.journal.save_rollout(&saved);
        }
        let promoted = saved.outcome.as_deref() == Some(OutcomeKind::Promoted.name());
        let service = if promoted {
            state.promoted()
        } else {
            state.saved.clone()
        };
        crash::point("swap.before-save");
        self.timeline.journal.end_rollout(&saved, &service)?;
        crash::point("swap.after-save");
        Ok(())
    }
}
