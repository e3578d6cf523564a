//! The loop that moves rollouts: takes counts, health, commands and time; performs actions.

use crate::config::{Config, Service};
use crate::control::api::drill::Drill;
use crate::control::api::handle::Handle;
use crate::control::api::message::{Message, Reply};
use crate::control::api::view::View;
use crate::control::docker::discovery::DiscoveredServices;
use crate::control::docker::watcher::DockerWatcher;
use crate::control::report::timeline::Timeline;
use crate::control::service::state::ServiceState;
use crate::control::service::{health, identity, told};
use crate::control::tasks::context::TaskContext;
use crate::control::waiting::WaitingRollouts;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::driver::docker::Engine;
use crate::driver::static_pools;
use crate::metrics::Metrics;
use crate::store::journal::Journal;
use crate::store::{Clock, NoteKind, SharedState};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Interval of the loop. The judge gets whole seconds, whatever the interval.
const LOOK: Duration = Duration::from_millis(100);

/// How often recorded seconds, and the age of a rollout, are written.
const FLUSH: Duration = Duration::from_secs(10);

/// Number of messages that may wait in the mailbox.
const MAILBOX: usize = 64;

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
    pub(super) waiting: WaitingRollouts,
    pub(super) drills: Vec<(Drill, Reply)>,
    pub(super) mailbox: mpsc::Receiver<Message>,
    /// What tasks are started with.
    pub(super) context: TaskContext,
    /// The services that containers describe by labels.
    pub(super) discovered: DiscoveredServices,
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
        let engine = Engine::new(config.docker.host.clone());
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
            waiting: WaitingRollouts::default(),
            drills: vec![],
            mailbox,
            watcher: DockerWatcher::new(engine.clone()),
            context: TaskContext::new(sender.downgrade(), engine, config.docker.access, instance),
            discovered: DiscoveredServices::default(),
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
            let lost = self.watcher.lost.is_some();
            if let Some(blind) = self.services[i].blindness(&self.context, lost) {
                self.handle_event(i, blind, now);
            }
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

    /// While the engine is silent, an address that refuses may be another container's.
    fn doubt(&mut self, now: Time) {
        if self.watcher.lost.is_none() {
            return;
        }
        let snapshot = self.board.snapshot();
        for (i, published) in snapshot.services.iter().enumerate() {
            if let Some(state) = self.services.get_mut(i) {
                let doubted = identity::doubt(state, published, now);
                self.tell_all(i, doubted);
            }
        }
    }

    /// Gives one service everything that was observed since the last pass.
    fn watch(&mut self, i: usize, now: Time) {
        let snapshot = self.board.snapshot();
        let Some(published) = snapshot.services.get(i).cloned() else {
            return;
        };
        if !self.board.draining() {
            let released = health::release(&self.services[i], &published, now);
            self.tell_all(i, released);
        }
        let state = &mut self.services[i];
        let reading = state.read(&published, now);
        let service = state.route.service.clone();
        let drills = self.drills.iter_mut();
        for (drill, _) in drills.filter(|(drill, _)| drill.service == service) {
            drill.see(&reading.spans[Color::Green.index()]);
        }
        let fresh = !reading.ticks.is_empty();
        if fresh && (state.freeze_limits() | state.freeze_fairly(&reading)) {
            self.publish();
        }
        let state = &mut self.services[i];
        state.probe(&published, now);
        let verdict = state.judge(&reading);
        let findings = state.run.as_mut().map(told::findings);
        if let Some(run) = &state.run {
            let judge = run.trial.judge();
            published.window.users().time(judge.hears_latency());
        }
        state.ask_sources(&self.context, now);
        if self.watcher.lost.is_none() {
            state.ask_usage(&self.context, now);
        }
        self.tell_all(i, findings.into_iter().flatten());
        if let Some(verdict) = &verdict {
            let metrics = self.metrics.service(&service);
            metrics.evaluated(verdict.kind());
        }
        let (entries, events) = self.services[i].observe(&published, &reading, verdict, now);
        self.tell_all(i, entries);
        for event in events {
            self.handle_event(i, event, now);
        }
    }
}
