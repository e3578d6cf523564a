//! The commands of people and tools, and their execution.

use crate::control::controller::{Controller, Reply};
use crate::control::drill::Drill;
use crate::control::handle::{
    Answer, CommandError, CommandOutcome, ControlCommand, Message, Query, RolloutRequest,
};
use crate::control::run::Run;
use crate::control::service_state::ServiceState;
use crate::control::waiting::Waiting;
use crate::core::rollout::{Event, Phase};
use crate::core::weight::Weight;
use crate::store::Clock;
use crate::store::NoteKind;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

impl Controller {
    pub(super) fn take(&mut self, message: Message) {
        match message {
            Message::ControlCommand {
                service,
                order,
                reply,
            } => self.order(service.as_deref(), order, reply),
            Message::Query { query, reply } => {
                let _ = reply.send(self.answer(&query));
            }
            Message::Warmed { rollout, text } => self.task_ended(rollout, text, Event::Warmed),
            Message::Smoked {
                rollout,
                result,
                text,
            } => {
                self.task_ended(rollout, text, Event::Smoked(result));
            }
            Message::Hooked { rollout, result } => self.hooked(rollout, result),
            Message::Measured {
                rollout,
                mark,
                source,
                reading,
            } => self.measured(rollout, mark, source, reading),
            Message::Used { rollout, looks } => self.used(rollout, looks),
            Message::Raised { rollout, result } => self.raised(rollout, result),
            Message::Copied { rollout, result } => self.copied(rollout, result),
            Message::Said {
                service,
                rollout,
                kind,
                text,
            } => self.timeline.tell(&service, Some(rollout), kind, text),
            Message::Fetched { service, fetched } => self.fetched(&service, fetched),
            Message::Swept {
                service,
                retired,
                result,
            } => self.swept(&service, &retired, result),
            Message::Stop { .. } => {}
        }
    }

    /// The index of the service of a rollout under way; `None` when it has ended.
    pub(super) fn rolls_out(&self, rollout: i64) -> Option<usize> {
        let mine = |state: &ServiceState| {
            state
                .run
                .as_ref()
                .is_some_and(|run| run.saved.id == rollout)
        };
        self.services.iter().position(mine)
    }

    fn task_ended(&mut self, rollout: i64, text: String, event: Event) {
        let Some(i) = self.rolls_out(rollout) else {
            return;
        };
        let service = self.services[i].route.service.clone();
        self.timeline
            .tell(&service, Some(rollout), NoteKind::Check, text);
        self.handle_event(i, event, Clock::now());
    }

    fn hooked(&mut self, rollout: i64, result: Result<(), String>) {
        if let Some(i) = self.rolls_out(rollout) {
            self.handle_event(i, Event::Hooked(result), Clock::now());
        }
    }

    /// Answers a command, after publishing its changes for the next query.
    pub(super) fn reply(&mut self, to: Reply, answer: Result<CommandOutcome, CommandError>) {
        self.show();
        let _ = to.send(answer);
    }

    fn order(&mut self, service: Option<&str>, order: ControlCommand, reply: Reply) {
        if order == ControlCommand::Reload {
            let answer = self.reload();
            self.reply(reply, answer);
            return;
        }
        let i = match self.find(service) {
            Ok(i) => i,
            Err(refusal) => {
                let _ = reply.send(Err(refusal));
                return;
            }
        };
        match order {
            ControlCommand::Run(ask) => self.order_run(i, ask, reply),
            ControlCommand::Drill => self.order_drill(i, reply),
            other => {
                let answer = self.order_verb(i, other);
                self.reply(reply, answer);
            }
        }
    }

    fn order_run(&mut self, i: usize, ask: RolloutRequest, reply: Reply) {
        let now = Clock::now();
        let service = self.services[i].route.service.clone();
        if self
            .drills
            .iter()
            .any(|(drill, _)| drill.service == service)
        {
            let _ = reply.send(Err(CommandError::NotNow(format!(
                "a drill of `{service}` is under way; it ends within seconds, then ask again"
            ))));
            return;
        }
        if let Some(run) = &self.services[i].run {
            let promoted = *run.trial.rollout().phase() == Phase::Promoted;
            let (id, drain) = (run.saved.id, run.trial.rollout().plan().drain.as_secs());
            if matches!(run.trial.rollout().phase(), Phase::RollingBack { .. }) && !ask.supersede {
                let _ = reply.send(Err(CommandError::NotNow(format!(
                    "rollout {id} of `{service}` is on its way back to blue: what is in flight on green has up to {drain} s. Ask again then, or with --supersede, which waits for it"
                ))));
                return;
            }
            if !promoted && !ask.supersede {
                let _ = reply.send(Err(CommandError::Busy {
                    service,
                    rollout: run.saved.id,
                }));
                return;
            }
            let _ = self.apply_event(i, Event::Superseded, now);
        }
        if self.services[i].run.is_none() && !self.unseen(i) {
            let answer = self.begin(i, &ask);
            self.reply(reply, answer);
            return;
        }
        // The newest command counts.
        let older = self.waiting.iter().position(|w| w.service == service);
        if let Some(older) = older.map(|at| self.waiting.swap_remove(at)) {
            let _ = older.reply.send(Err(CommandError::NotNow(
                "a newer order to run took its place".to_owned(),
            )));
        }
        self.waiting.push(Waiting {
            service,
            ask,
            reply,
            idle_since: None,
        });
    }

    fn order_verb(
        &mut self,
        i: usize,
        order: ControlCommand,
    ) -> Result<CommandOutcome, CommandError> {
        let now = Clock::now();
        let service = self.services[i].route.service.clone();
        let Some(run) = &self.services[i].run else {
            return self.order_at_rest(i, &order);
        };
        let id = run.saved.id;
        let event = match order {
            ControlCommand::Promote => Event::Promote,
            ControlCommand::Approve => Event::Approve,
            ControlCommand::Pause => Event::Pause,
            ControlCommand::Resume => Event::Resume,
            ControlCommand::SetWeight(weight) => Event::SetWeight(weight),
            ControlCommand::Abort => Event::Abort("aborted by a person".to_owned()),
            _ => Event::Abort("rolled back by a person".to_owned()),
        };
        if let Some(answer) = Controller::refused(run, &order, &event) {
            return answer;
        }
        if order == (ControlCommand::Rollback { keep: true }) {
            self.keep_running(i);
        }
        let named = match order {
            ControlCommand::Promote => Some("promote"),
            ControlCommand::Approve => Some("approve"),
            ControlCommand::Resume => Some("resume"),
            _ => None,
        };
        if let Some(named) = named {
            let text = format!("`{named}` by a person");
            self.timeline
                .tell(&service, Some(id), NoteKind::Order, text);
        }
        self.apply_event(i, event, now)
            .map_err(|error| CommandError::Unrecorded(error.to_string()))?;
        let text = match &self.services[i].run {
            Some(run) => format!(
                "{service}: {}, weight {}",
                run.trial.rollout().phase_kind().name(),
                self.services[i].route.weight
            ),
            None => format!("{service}: done"),
        };
        Ok(CommandOutcome::of(id, text))
    }

    /// The answer to a command that is not carried out; `None` when it is.
    fn refused(
        run: &Run,
        order: &ControlCommand,
        event: &Event,
    ) -> Option<Result<CommandOutcome, CommandError>> {
        if let Some(why) = run.trial.rollout().refuses(event) {
            // A repeated command for what already happens is no error.
            let settled = matches!(
                order,
                ControlCommand::Rollback { .. } | ControlCommand::Abort
            );
            return Some(match settled {
                true => Ok(CommandOutcome::of(run.saved.id, why.to_owned())),
                false => Err(CommandError::NotNow(why.to_owned())),
            });
        }
        if matches!(event, Event::Abort(_)) && run.trial.rollout().stranded() {
            let service = &run.settings.name;
            return Some(Err(CommandError::NotNow(format!(
                "blue has no healthy backend and green serves: going back would leave no one to answer. Bring blue back, or accept green with `shifter promote {service}`; to send users to blue all the same, `shifter set-weight 0 {service}` first"
            ))));
        }
        None
    }

    /// A command for a service without a rollout.
    fn order_at_rest(
        &self,
        i: usize,
        order: &ControlCommand,
    ) -> Result<CommandOutcome, CommandError> {
        let service = &self.services[i].route.service;
        if !matches!(
            order,
            ControlCommand::Rollback { .. } | ControlCommand::Abort
        ) {
            return Err(CommandError::NotNow(format!(
                "no rollout of `{service}` is under way; start one with `shifter run {service}`"
            )));
        }
        // A repeated command for what has happened is no error.
        match self.services[i].went_back() {
            Some(rollout) => Ok(CommandOutcome::of(
                rollout,
                format!("{service}: blue serves everything already"),
            )),
            None => Err(CommandError::NotNow(format!(
                "no rollout of `{service}` is under way and no old version is warm; blue serves everything"
            ))),
        }
    }

    pub(super) fn find(&self, service: Option<&str>) -> Result<usize, CommandError> {
        let known = || {
            let names: Vec<String> = self
                .services
                .iter()
                .map(|state| format!("`{}`", state.route.service))
                .collect();
            names.join(", ")
        };
        match service {
            Some(name) => self
                .service_named(name)
                .ok_or_else(|| CommandError::NoSuchService {
                    name: name.to_owned(),
                    known: known(),
                }),
            None if self.services.len() == 1 => Ok(0),
            None => Err(CommandError::WhichService { known: known() }),
        }
    }

    fn answer(&mut self, query: &Query) -> Result<Answer, CommandError> {
        let journal = &self.timeline.journal;
        let answer = match query {
            Query::Rollouts { service, limit } => journal
                .rollouts(service.as_deref(), *limit)
                .map(Answer::Rollouts),
            Query::Rollout(id) => journal
                .rollout(*id)
                .map(|found| Answer::Rollout(found.map(Box::new))),
            Query::Notes {
                after,
                rollout,
                limit,
            } => journal.notes(*after, *rollout, *limit).map(Answer::Notes),
            Query::Seconds(id) => {
                self.flush();
                self.timeline.journal.seconds(*id).map(Answer::Seconds)
            }
        };
        answer.map_err(|error| CommandError::Unrecorded(error.to_string()))
    }

    // ---- drills

    fn order_drill(&mut self, i: usize, reply: Reply) {
        let state = &mut self.services[i];
        if let Some(run) = &state.run {
            let busy = CommandError::Busy {
                service: state.route.service.clone(),
                rollout: run.saved.id,
            };
            let _ = reply.send(Err(busy));
            return;
        }
        let service = state.route.service.clone();
        if self
            .drills
            .iter()
            .any(|(drill, _)| drill.service == service)
        {
            let _ = reply.send(Err(CommandError::NotNow("a drill is under way".to_owned())));
            return;
        }
        state.route.green = Some(state.route.blue.clone());
        state.route.weight = Weight::ALL;
        state.route.mark += 1;
        let asked = Instant::now();
        self.publish();
        self.drills.push((Drill::new(service, asked), reply));
    }

    pub(super) fn advance_drills(&mut self) {
        let drills = std::mem::take(&mut self.drills);
        for (drill, reply) in drills {
            let snapshot = self.board.snapshot();
            let service = drill.service.clone();
            let at = self.service_named(&service);
            let (Some(published), Some(i)) = (snapshot.service(&service), at) else {
                continue;
            };
            let state = &mut self.services[i];
            if !drill.ripe() {
                self.drills.push((drill, reply));
                continue;
            }
            let in_flight = published.pools[1]
                .iter()
                .map(|backend| backend.in_flight.load(Relaxed))
                .sum();
            state.drop_green();
            state.route.mark += 1;
            let asked = Instant::now();
            self.publish();
            let report = drill.report(asked, in_flight);
            let text = format!("drill: {}", report.line());
            self.timeline
                .tell(&service, None, NoteKind::Drill, text.clone());
            let receipt = CommandOutcome {
                rollout: None,
                text,
                drill: Some(report),
            };
            self.reply(reply, Ok(receipt));
        }
    }
}
