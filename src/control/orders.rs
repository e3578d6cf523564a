//! The commands of people and tools, and their execution.

use crate::control::api::command::{
    Answer, CommandError, CommandOutcome, ControlCommand, Query, RolloutRequest,
};
use crate::control::api::message::{Message, Reply};
use crate::control::controller::Controller;
use crate::control::docker::cleanup;
use crate::control::effects::Effects;
use crate::control::results;
use crate::control::service::refusal;
use crate::control::service::state::ServiceState;
use crate::control::waiting::Obstacle;
use crate::core::rollout::Event;
use crate::core::table::Color;
use crate::store::Clock;
use crate::store::NoteKind;
use std::time::Instant;

impl Controller {
    /// Handles one message. Results of a rollout that has ended are dropped.
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
            Message::Said {
                service,
                rollout,
                kind,
                text,
            } => self.timeline.tell(&service, Some(rollout), kind, text),
            Message::Fetched { service, fetched } => {
                self.of_service(&service, |state| cleanup::fetched(state, fetched))
            }
            Message::Swept {
                service,
                retired,
                result,
            } => self.of_service(&service, |state| {
                cleanup::ended(state, &retired, result, Instant::now())
            }),
            Message::Ended { rollout, result } => {
                let mine = |state: &ServiceState| {
                    state
                        .run
                        .as_ref()
                        .is_some_and(|run| run.saved.id == rollout)
                };
                if let Some(i) = self.services.iter().position(mine) {
                    let now = Clock::now();
                    let ended = self.ended_requests(i);
                    let effects = results::take(&mut self.services[i], result, ended, now);
                    self.apply(i, effects, now);
                }
            }
            Message::Stop { .. } => {}
        }
    }

    /// Lets a service take something, if it is still there.
    fn of_service(&mut self, service: &str, take: impl FnOnce(&mut ServiceState) -> Effects) {
        if let Some(i) = self.service_named(service) {
            let effects = take(&mut self.services[i]);
            self.apply(i, effects, Clock::now());
        }
    }

    /// The requests that each version of a service has ended.
    fn ended_requests(&self, i: usize) -> [u64; 2] {
        let metrics = self.metrics.service(&self.services[i].route.service);
        Color::BOTH.map(|color| metrics.pool(color).ended())
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
        if self.is_drilled(&service) {
            let _ = reply.send(Err(CommandError::NotNow(format!(
                "a drill of `{service}` is under way; it ends within seconds, then ask again"
            ))));
            return;
        }
        if let Some(run) = &self.services[i].run {
            if let Some(refusal) = refusal::of_another(run, &ask) {
                let _ = reply.send(Err(refusal));
                return;
            }
            let _ = self.apply_event(i, Event::Superseded, now);
        }
        if self.services[i].run.is_none() && !self.unseen(i) {
            let answer = self.begin(i, &ask);
            self.reply(reply, answer);
            return;
        }
        self.waiting.put(service, ask, reply);
    }

    /// What a rollout of this service has in its way.
    fn obstacle(&self, service: &str) -> Obstacle {
        match self.service_named(service) {
            Some(i) if self.services[i].run.is_some() => Obstacle::Rollout,
            Some(i) if self.unseen(i) => Obstacle::Unseen,
            _ => Obstacle::Nothing,
        }
    }

    /// Whether the engine answers and has not named the containers of this service's pools yet.
    fn unseen(&self, i: usize) -> bool {
        let state = &self.services[i];
        state.is_docker() && self.watcher.lost.is_none() && !state.sighted(&self.context)
    }

    /// Begins the waiting rollouts that can start now.
    pub(super) fn start_waiting(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting);
        let ready = waiting.take_ready(Instant::now(), |service| self.obstacle(service));
        self.waiting = waiting;
        for waiting in ready {
            let answer = match self.find(Some(&waiting.service)) {
                Ok(i) => self.begin(i, &waiting.ask),
                Err(refusal) => Err(refusal),
            };
            self.reply(waiting.reply, answer);
        }
    }

    fn order_verb(
        &mut self,
        i: usize,
        order: ControlCommand,
    ) -> Result<CommandOutcome, CommandError> {
        let now = Clock::now();
        let service = self.services[i].route.service.clone();
        let Some(run) = &self.services[i].run else {
            return refusal::at_rest(&self.services[i], &order);
        };
        let id = run.saved.id;
        let event = match order {
            ControlCommand::Promote => Event::Promote,
            ControlCommand::Approve => Event::Approve,
            ControlCommand::Pause => Event::Pause,
            ControlCommand::Resume => Event::Resume,
            ControlCommand::SetWeight(weight) => Event::SetWeight(weight),
            ControlCommand::Abort => Event::Abort("aborted by a person".to_owned()),
            ControlCommand::Rollback { .. } => Event::Abort("rolled back by a person".to_owned()),
            ControlCommand::Run(_) | ControlCommand::Drill | ControlCommand::Reload => {
                return Err(CommandError::NotNow(
                    "this command is no verb of a rollout".to_owned(),
                ));
            }
        };
        if let Some(answer) = refusal::of_rollout(run, &order, &event) {
            return answer;
        }
        if order == (ControlCommand::Rollback { keep: true }) {
            let kept = cleanup::keep_running(&mut self.services[i], jiff::Timestamp::now());
            self.apply(i, kept, now);
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
}
