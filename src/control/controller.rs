//! The loop that moves rollouts: counts, health, orders and time in; actions out.

use crate::config::{Config, Service};
use crate::control::crash;
use crate::control::dock::Dock;
use crate::control::drill::Drill;
use crate::control::handle::{Handle, Mail, Receipt, Refusal};
use crate::control::ledger::Ledger;
use crate::control::orders::Ask;
use crate::control::view::View;
use crate::control::ward::{Ward, grows};
use crate::control::{health, narrate};
use crate::core::rollout::{Action, Event};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::core::weight::Weight;
use crate::driver::fixed;
use crate::metrics::Metrics;
use crate::store::board::Published;
use crate::store::journal::{Journal, JournalError};
use crate::store::window::Reading;
use crate::store::{Board, Clock};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How often the loop looks at the world. The judge is fed whole seconds, whatever this is.
const LOOK: Duration = Duration::from_millis(100);

/// How often recorded seconds, and the age of a rollout, are written.
const FLUSH: Duration = Duration::from_secs(10);

/// Orders that may wait in the mailbox.
const MAILBOX: usize = 64;

/// Where the answer to an order goes.
pub(super) type Reply = oneshot::Sender<Result<Receipt, Refusal>>;

/// A rollout that waits for the end of the one before it, and for a look at the containers.
pub(super) struct Waiting {
    pub(super) service: String,
    pub(super) ask: Ask,
    pub(super) reply: Reply,
    /// Since when no rollout is in its way.
    pub(super) idle_since: Option<Instant>,
}

impl Waiting {
    /// Since when no rollout is in its way: from the first call on.
    pub(super) fn idle(&mut self) -> Instant {
        *self.idle_since.get_or_insert_with(Instant::now)
    }
}

/// The one writer of the table and of the journal.
pub struct Controller {
    pub(super) board: Arc<Board>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) ledger: Ledger,
    /// What is served: the file's services, and those that containers describe.
    pub(super) config: Arc<Config>,
    /// What the file says.
    pub(super) file: Arc<Config>,
    pub(super) config_file: Option<PathBuf>,
    pub(super) wards: Vec<Ward>,
    /// Rollouts that wait until the one before them has drained: at most one for each service.
    pub(super) waiting: Vec<Waiting>,
    pub(super) drills: Vec<(Drill, Reply)>,
    pub(super) mailbox: mpsc::Receiver<Mail>,
    pub(super) own: mpsc::WeakSender<Mail>,
    pub(super) dock: Dock,
    pub(super) view: Arc<ArcSwap<View>>,
    pub(super) started: Instant,
    pub(super) flushed: Instant,
}

impl Controller {
    /// Loads what was saved and publishes the first table, so that the first request is routed by it.
    ///
    /// `findings` are lines to tell about the state that was found.
    ///
    /// What cannot be read is told and treated as unknown: blue serves.
    pub fn new(
        board: Arc<Board>,
        metrics: Arc<Metrics>,
        journal: Journal,
        config: Arc<Config>,
        config_file: Option<PathBuf>,
        findings: Vec<String>,
    ) -> (Controller, Handle) {
        let (sender, mailbox) = mpsc::channel(MAILBOX);
        let mut ledger = Ledger::new(journal);
        let view = Arc::new(ArcSwap::from_pointee(View::default()));
        let instance = ledger.journal.instance();
        let instance = ledger.watch(instance).unwrap_or_default();
        let handle = Handle {
            mailbox: sender.clone(),
            view: view.clone(),
            notes: ledger.notes(),
        };
        let mut controller = Controller {
            board,
            metrics,
            ledger,
            config: config.clone(),
            file: config.clone(),
            config_file,
            wards: vec![],
            waiting: vec![],
            drills: vec![],
            mailbox,
            own: sender.downgrade(),
            dock: Dock::new(config.docker.host.clone(), instance),
            view,
            started: Instant::now(),
            flushed: Instant::now(),
        };
        for finding in findings {
            controller.ledger.tell("", None, "state", finding);
        }
        for service in &config.services {
            let ward = controller.ward_of(service);
            controller.wards.push(ward);
        }
        for i in 0..controller.wards.len() {
            controller.resume(i);
        }
        controller.publish();
        controller.show();
        (controller, handle)
    }

    /// Where the service of this name is.
    pub(super) fn ward_named(&self, service: &str) -> Option<usize> {
        let mut wards = self.wards.iter();
        wards.position(|ward| ward.route.service == service)
    }

    /// A service as it is remembered.
    pub(super) fn ward_of(&mut self, service: &Service) -> Ward {
        self.metrics.service(&service.name);
        let saved = self.ledger.journal.service(&service.name);
        let saved = self.ledger.watch(saved).ok().flatten().unwrap_or_default();
        if !fixed::names(service, &saved.running) {
            let text = format!(
                "{} was promoted, and the configuration names it neither as blue nor as green; the configured blue serves",
                saved.running.join(", ")
            );
            self.ledger.tell(&service.name, None, "trouble", text);
        }
        Ward::new(Arc::new(service.clone()), saved)
    }

    /// Runs until it is told to stop or nobody can ask any more.
    pub async fn run(mut self) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let now = Clock::now();
        for i in 0..self.wards.len() {
            self.restart_where_seen(i, now);
        }
        self.dock.follow();
        let board = self.board.clone();
        loop {
            tokio::select! {
                mail = self.mailbox.recv() => match mail {
                    Some(Mail::Stop { done }) => {
                        self.look();
                        self.clear_away().await;
                        self.flush();
                        let _ = done.send(());
                        return;
                    }
                    Some(mail) => self.take(mail),
                    None => return,
                },
                news = self.dock.news() => self.hear(news, Clock::now()),
                _ = look.tick() => {}
                () = board.health_changed.notified() => {}
            }
            self.look();
        }
    }

    // ---- what happens by itself

    fn look(&mut self) {
        let now = Clock::now();
        self.doubt(now);
        for i in 0..self.wards.len() {
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

    /// Feeds one service everything that was seen since the last look.
    fn watch(&mut self, i: usize, now: Time) {
        let snapshot = self.board.snapshot();
        let Some(published) = snapshot.services.get(i).cloned() else {
            return;
        };
        if !self.board.draining() {
            self.let_go(i, &published, now);
        }
        let ward = &mut self.wards[i];
        let reading = ward.read(&published, now);
        let service = &ward.route.service;
        if let Some((drill, _)) = self
            .drills
            .iter_mut()
            .find(|(drill, _)| drill.service == *service)
        {
            drill.see(&reading.spans[Color::Green.index()]);
        }
        let fresh = !reading.ticks.is_empty();
        if fresh && (ward.freeze_limits() | ward.freeze_fairly(&reading)) {
            self.publish();
        }
        self.probe(i, &published, now);
        let verdict = self.wards[i].judge(&reading);
        self.tell_findings(i);
        if let Some(run) = &self.wards[i].run {
            published
                .window
                .users()
                .time(run.trial.judge().hears_latency());
        }
        self.ask_sources(i, now);
        self.ask_usage(i, now);
        let ward = &self.wards[i];
        if let Some(verdict) = &verdict {
            self.metrics
                .service(&ward.route.service)
                .evaluated(verdict.kind());
        }
        if ward.run.is_none() {
            if let Some((kind, text)) = health::turn(&mut self.wards[i], &published) {
                let service = self.wards[i].route.service.clone();
                self.ledger.tell(&service, None, kind, text);
            }
            return;
        }
        let run = self.wards[i].run.as_mut();
        let mut events = run.map_or_else(Vec::new, |run| std::mem::take(&mut run.pending));
        events.extend(health::events(&mut self.wards[i], &published, now));
        events.extend(self.beside(i, &reading));
        events.extend(verdict.map(Event::Judged));
        if health::drained(&self.wards[i], &published) {
            events.push(Event::Drained);
        }
        events.push(Event::Tick);
        for event in events {
            self.happen(i, event, now);
        }
    }

    /// Whether green harms blue: events for the machine, and what people are told.
    fn beside(&mut self, i: usize, reading: &Reading) -> Vec<Event> {
        let events = self.wards[i].beside(reading);
        let ward = &self.wards[i];
        let Some(run) = &ward.run else { return events };
        let (id, service) = (run.saved.id, &ward.route.service);
        for event in &events {
            let text = match event {
                Event::Suspected(why) => format!(
                    "{why}: green's requests go to green and to blue in turn, to see whether green harms blue"
                ),
                Event::Cleared(why) => format!("it is not green: {why}; the rollout goes on"),
                _ => continue,
            };
            self.ledger.tell(service, Some(id), "verdict", text);
        }
        events
    }

    /// What is still open on a pool that is on its way out ends, and people are told how much that is.
    fn let_go(&mut self, i: usize, published: &Published, now: Time) {
        let ward = &self.wards[i];
        let Some((color, open, within)) = health::farewell(ward, published, now) else {
            return;
        };
        if open > 0 {
            let (id, service) = (
                ward.run.as_ref().map(|run| run.saved.id),
                &ward.route.service,
            );
            let text = format!(
                "{color} is on its way out: {open} requests are still open on it, and WebSockets are closed one by one within {} s",
                within.as_secs()
            );
            self.ledger.tell(service, id, "drain", text);
        }
    }

    /// Something happened by itself. A change that cannot be recorded is not made, and tried again later.
    pub(super) fn happen(&mut self, i: usize, event: Event, now: Time) {
        if let Some(run) = &mut self.wards[i].run
            && run.trial.rollout().defers(&event)
        {
            // Told again when it can be seen what runs.
            run.pending.push(event);
            return;
        }
        let again = !matches!(
            event,
            Event::Tick | Event::Judged(_) | Event::Window { .. } | Event::Drained
        );
        let kept = again.then(|| event.clone());
        if self.drive(i, event, now).is_err()
            && let (Some(event), Some(run)) = (kept, &mut self.wards[i].run)
        {
            run.pending.push(event);
        }
    }

    // ---- the one way in which a rollout changes

    /// Gives the machine an event and performs what it says: up is recorded first, down is done first.
    pub(super) fn drive(&mut self, i: usize, event: Event, now: Time) -> Result<(), JournalError> {
        let present = self.wards[i].route.weight;
        let Some(run) = &mut self.wards[i].run else {
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
        let grounds = |verdict| narrate::grounds(verdict, run.trial.line(verdict), grown, by_hand);
        let evidence = run.trial.verdict().map(grounds);
        let shrinks = actions
            .iter()
            .any(|action| matches!(action, Action::SetWeight(weight) if *weight < present));
        let id = run.saved.id;
        if shrinks && !grows(&actions, present) {
            let decided = Instant::now();
            self.perform_all(i, &actions);
            self.tell_way_back(i, decided.elapsed());
            crash::point("back.after-publish");
            let saved = self.save(i, now);
            let _ = self.ledger.watch(saved);
        } else {
            crash::point("act.before-save");
            let saved = self.save(i, now);
            if let Err(error) = self.ledger.watch(saved) {
                if let Some(run) = &mut self.wards[i].run {
                    run.trial.revert(before);
                }
                return Err(error);
            }
            crash::point("act.after-save");
            self.perform_all(i, &actions);
        }
        self.tell_baseline(i, before.baseline(), why);
        self.narrate(i, id, &before, evidence.as_deref(), lost);
        self.close_if_finished(i, now);
        Ok(())
    }

    pub(super) fn perform_all(&mut self, i: usize, actions: &[Action]) {
        for action in actions {
            crash::point("act.before-publish");
            self.perform(i, action);
            crash::point("act.after-publish");
        }
    }

    fn perform(&mut self, i: usize, action: &Action) {
        let ward = &mut self.wards[i];
        match action {
            Action::StartGreen => {
                if ward.route.green.is_none() {
                    ward.route.green = fixed::pools(&ward.settings, &ward.saved.running).1;
                }
                self.publish();
                self.mirror_anew(i);
                self.start_green(i);
            }
            Action::StartBaseline => self.start_baseline(i),
            Action::StopBaseline => {
                ward.drop_baseline();
                self.publish();
            }
            Action::WarmGreen => self.start_warm_up(i),
            Action::SmokeGreen => self.start_smoke(i),
            Action::RunHooks(at) => self.run_hooks(i, *at),
            Action::SetWeight(weight) => {
                let before = ward.weigh(*weight);
                self.publish();
                if before == Weight::NONE {
                    self.tell_mirrored(i);
                }
                // The restart policy follows a promotion, and a way back from it.
                let ward = &mut self.wards[i];
                let settled = !ward.promoted_containers().is_empty() || *weight == Weight::NONE;
                ward.docker.sweep_due |= settled && ward.is_docker();
            }
            Action::Window { green } => {
                ward.withhold(!green);
                self.publish();
            }
            Action::SwapRoles => {
                ward.swap_roles();
                self.publish();
            }
            // Fixed addresses are stopped by somebody else; containers are swept away, once it is recorded.
            Action::StopBlue => ward.docker.sweep_due = true,
            Action::StopGreen => {
                ward.drop_green();
                self.publish();
            }
        }
    }

    pub(super) fn save(&mut self, i: usize, now: Time) -> Result<(), JournalError> {
        let ward = &self.wards[i];
        let Some(saved) = ward.saved_rollout(now) else {
            return Ok(());
        };
        let finished = ward
            .run
            .as_ref()
            .is_some_and(|run| run.trial.rollout().finished());
        if !finished {
            return self.ledger.journal.save_rollout(&saved);
        }
        let promoted = saved.outcome.as_deref() == Some("promoted");
        let service = if promoted {
            ward.promoted()
        } else {
            ward.saved.clone()
        };
        crash::point("swap.before-save");
        self.ledger.journal.end_rollout(&saved, &service)?;
        crash::point("swap.after-save");
        Ok(())
    }
}
