//! What people and tools ask of the controller, and what becomes of it.

use crate::control::controller::{Controller, Reply, Waiting};
use crate::control::drill::Drill;
use crate::control::handle::{Answer, Mail, Order, Query, Receipt, Refusal};
use crate::control::run::Run;
use crate::control::ward::Ward;
use crate::core::answers::Expected;
use crate::core::plan::Strategy;
use crate::core::rollout::{Event, Phase};
use crate::core::weight::Weight;
use crate::store::Clock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// How long an order to run waits for the engine to name the containers of the pools.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// What a rollout is asked to be.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Another recipe than the configured one.
    pub(super) strategy: Option<Strategy>,
    /// The image of green's containers.
    pub(super) image: Option<String>,
    /// Too little memory for two versions is a reason not to begin.
    pub(super) strict: bool,
    /// What green changes on purpose.
    pub(super) expect: Vec<Expected>,
}

impl Controller {
    pub(super) fn take(&mut self, mail: Mail) {
        match mail {
            Mail::Order {
                service,
                order,
                reply,
            } => self.order(service.as_deref(), order, reply),
            Mail::Query { query, reply } => {
                let _ = reply.send(self.answer(&query));
            }
            Mail::Warmed { rollout, text } => self.task_ended(rollout, text, Event::Warmed),
            Mail::Smoked {
                rollout,
                result,
                text,
            } => {
                self.task_ended(rollout, text, Event::Smoked(result));
            }
            Mail::Hooked { rollout, result } => self.hooked(rollout, result),
            Mail::Measured {
                rollout,
                mark,
                source,
                reading,
            } => self.measured(rollout, mark, source, reading),
            Mail::Used { rollout, looks } => self.used(rollout, looks),
            Mail::Raised { rollout, result } => self.raised(rollout, result),
            Mail::Copied { rollout, result } => self.copied(rollout, result),
            Mail::Said {
                service,
                rollout,
                kind,
                text,
            } => self.ledger.tell(&service, Some(rollout), kind, text),
            Mail::Fetched { service, fetched } => self.fetched(&service, fetched),
            Mail::Swept {
                service,
                retired,
                result,
            } => self.swept(&service, &retired, result),
            Mail::Stop { .. } => {}
        }
    }

    /// The service that a rollout under way is of; none when it has ended.
    pub(super) fn rolls_out(&self, rollout: i64) -> Option<usize> {
        let mine = |ward: &Ward| ward.run.as_ref().is_some_and(|run| run.saved.id == rollout);
        self.wards.iter().position(mine)
    }

    fn task_ended(&mut self, rollout: i64, text: String, event: Event) {
        let Some(i) = self.rolls_out(rollout) else {
            return;
        };
        let service = self.wards[i].route.service.clone();
        self.ledger.tell(&service, Some(rollout), "check", text);
        self.happen(i, event, Clock::now());
    }

    fn hooked(&mut self, rollout: i64, result: Result<(), String>) {
        if let Some(i) = self.rolls_out(rollout) {
            self.happen(i, Event::Hooked(result), Clock::now());
        }
    }

    /// Answers an order; what it changed can be seen by whoever asks next.
    fn reply(&mut self, to: Reply, answer: Result<Receipt, Refusal>) {
        self.show();
        let _ = to.send(answer);
    }

    fn order(&mut self, service: Option<&str>, order: Order, reply: Reply) {
        if order == Order::Reload {
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
            Order::Run {
                strategy,
                supersede,
                image,
                strict,
                expect,
            } => {
                let ask = Ask {
                    strategy,
                    image,
                    strict,
                    expect,
                };
                self.order_run(i, ask, supersede, reply);
            }
            Order::Drill => self.order_drill(i, reply),
            other => {
                let answer = self.order_verb(i, other);
                self.reply(reply, answer);
            }
        }
    }

    fn order_run(&mut self, i: usize, ask: Ask, supersede: bool, reply: Reply) {
        let now = Clock::now();
        let service = self.wards[i].route.service.clone();
        if self
            .drills
            .iter()
            .any(|(drill, _)| drill.service == service)
        {
            let _ = reply.send(Err(Refusal::NotNow(format!(
                "a drill of `{service}` is under way; it ends within seconds, then ask again"
            ))));
            return;
        }
        if let Some(run) = &self.wards[i].run {
            let promoted = *run.trial.rollout().phase() == Phase::Promoted;
            let (id, drain) = (run.saved.id, run.trial.rollout().plan().drain.as_secs());
            if matches!(run.trial.rollout().phase(), Phase::RollingBack { .. }) && !supersede {
                let _ = reply.send(Err(Refusal::NotNow(format!(
                    "rollout {id} of `{service}` is on its way back to blue: what is in flight on green has up to {drain} s. Ask again then, or with --supersede, which waits for it"
                ))));
                return;
            }
            if !promoted && !supersede {
                let _ = reply.send(Err(Refusal::Busy {
                    service,
                    rollout: run.saved.id,
                }));
                return;
            }
            let _ = self.drive(i, Event::Superseded, now);
        }
        if self.wards[i].run.is_none() && !self.unseen(i) {
            let answer = self.begin(i, &ask);
            self.reply(reply, answer);
            return;
        }
        // The newest order counts.
        let older = self.waiting.iter().position(|w| w.service == service);
        if let Some(older) = older.map(|at| self.waiting.swap_remove(at)) {
            let _ = older.reply.send(Err(Refusal::NotNow(
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

    /// Whether the engine answers and has not named the containers of this service's pools yet.
    fn unseen(&self, i: usize) -> bool {
        let ward = &self.wards[i];
        ward.is_docker() && self.dock.lost.is_none() && !ward.sighted(&self.dock)
    }

    /// Begins the rollouts that were asked for and had to wait: for the end of another one, or for a look at the containers.
    pub(super) fn start_waiting(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match self.find(Some(&waiting.service)) {
                // The client has gone away meanwhile.
                _ if waiting.reply.is_closed() => {}
                Ok(i) if self.wards[i].run.is_some() => self.waiting.push(waiting),
                Ok(i) if self.unseen(i) && waiting.idle().elapsed() < LOOK_LIMIT => {
                    self.waiting.push(waiting);
                }
                Ok(i) => {
                    let answer = self.begin(i, &waiting.ask);
                    self.reply(waiting.reply, answer);
                }
                Err(refusal) => self.reply(waiting.reply, Err(refusal)),
            }
        }
    }

    fn order_verb(&mut self, i: usize, order: Order) -> Result<Receipt, Refusal> {
        let now = Clock::now();
        let service = self.wards[i].route.service.clone();
        let Some(run) = &self.wards[i].run else {
            return self.order_at_rest(i, &order);
        };
        let id = run.saved.id;
        let event = match order {
            Order::Promote => Event::Promote,
            Order::Approve => Event::Approve,
            Order::Pause => Event::Pause,
            Order::Resume => Event::Resume,
            Order::SetWeight(weight) => Event::SetWeight(weight),
            Order::Abort => Event::Abort("aborted by a person".to_owned()),
            _ => Event::Abort("rolled back by a person".to_owned()),
        };
        if let Some(answer) = Controller::refused(run, &order, &event) {
            return answer;
        }
        if order == (Order::Rollback { keep: true }) {
            self.keep_running(i);
        }
        let named = match order {
            Order::Promote => Some("promote"),
            Order::Approve => Some("approve"),
            Order::Resume => Some("resume"),
            _ => None,
        };
        if let Some(named) = named {
            let text = format!("`{named}` by a person");
            self.ledger.tell(&service, Some(id), "order", text);
        }
        self.drive(i, event, now)
            .map_err(|error| Refusal::Unrecorded(error.to_string()))?;
        let text = match &self.wards[i].run {
            Some(run) => format!(
                "{service}: {}, weight {}",
                run.phase_name(),
                self.wards[i].route.weight
            ),
            None => format!("{service}: done"),
        };
        Ok(Receipt {
            rollout: Some(id),
            text,
            drill: None,
        })
    }

    /// What is answered to an order that is not carried out; `None` when it is.
    fn refused(run: &Run, order: &Order, event: &Event) -> Option<Result<Receipt, Refusal>> {
        if let Some(why) = run.trial.rollout().refuses(event) {
            // Asking twice for what happens already is no mistake worth an error.
            let settled = matches!(order, Order::Rollback { .. } | Order::Abort);
            return Some(match settled {
                true => Ok(Receipt {
                    rollout: Some(run.saved.id),
                    text: why.to_owned(),
                    drill: None,
                }),
                false => Err(Refusal::NotNow(why.to_owned())),
            });
        }
        if matches!(event, Event::Abort(_)) && run.trial.rollout().stranded() {
            let service = &run.settings.name;
            return Some(Err(Refusal::NotNow(format!(
                "blue has no healthy backend and green serves: going back would leave no one to answer. Bring blue back, or accept green with `shifter promote {service}`; to send users to blue all the same, `shifter set-weight 0 {service}` first"
            ))));
        }
        None
    }

    /// A verb for a service that has no rollout.
    fn order_at_rest(&self, i: usize, order: &Order) -> Result<Receipt, Refusal> {
        let service = &self.wards[i].route.service;
        if !matches!(order, Order::Rollback { .. } | Order::Abort) {
            return Err(Refusal::NotNow(format!(
                "no rollout of `{service}` is under way; start one with `shifter run {service}`"
            )));
        }
        // Asking twice for what has happened is no mistake worth an error.
        match self.wards[i].went_back() {
            Some(rollout) => Ok(Receipt {
                rollout: Some(rollout),
                text: format!("{service}: blue serves everything already"),
                drill: None,
            }),
            None => Err(Refusal::NotNow(format!(
                "no rollout of `{service}` is under way and no old version is warm; blue serves everything"
            ))),
        }
    }

    fn find(&self, service: Option<&str>) -> Result<usize, Refusal> {
        let known = || {
            let names: Vec<String> = self
                .wards
                .iter()
                .map(|ward| format!("`{}`", ward.route.service))
                .collect();
            names.join(", ")
        };
        match service {
            Some(name) => self.ward_named(name).ok_or_else(|| Refusal::NoSuchService {
                name: name.to_owned(),
                known: known(),
            }),
            None if self.wards.len() == 1 => Ok(0),
            None => Err(Refusal::WhichService { known: known() }),
        }
    }

    fn answer(&mut self, query: &Query) -> Result<Answer, Refusal> {
        let journal = &self.ledger.journal;
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
                self.ledger.journal.seconds(*id).map(Answer::Seconds)
            }
        };
        answer.map_err(|error| Refusal::Unrecorded(error.to_string()))
    }

    // ---- drills

    fn order_drill(&mut self, i: usize, reply: Reply) {
        let ward = &mut self.wards[i];
        if let Some(run) = &ward.run {
            let busy = Refusal::Busy {
                service: ward.route.service.clone(),
                rollout: run.saved.id,
            };
            let _ = reply.send(Err(busy));
            return;
        }
        let service = ward.route.service.clone();
        if self
            .drills
            .iter()
            .any(|(drill, _)| drill.service == service)
        {
            let _ = reply.send(Err(Refusal::NotNow("a drill is under way".to_owned())));
            return;
        }
        ward.route.green = Some(ward.route.blue.clone());
        ward.route.weight = Weight::ALL;
        ward.route.mark += 1;
        let asked = Instant::now();
        self.publish();
        self.drills.push((Drill::new(service, asked), reply));
    }

    pub(super) fn advance_drills(&mut self) {
        let drills = std::mem::take(&mut self.drills);
        for (drill, reply) in drills {
            let snapshot = self.board.snapshot();
            let service = drill.service.clone();
            let at = self.ward_named(&service);
            let (Some(published), Some(i)) = (snapshot.service(&service), at) else {
                continue;
            };
            let ward = &mut self.wards[i];
            if !drill.ripe() {
                self.drills.push((drill, reply));
                continue;
            }
            let in_flight = published.pools[1]
                .iter()
                .map(|backend| backend.in_flight.load(Relaxed))
                .sum();
            ward.drop_green();
            ward.route.mark += 1;
            let asked = Instant::now();
            self.publish();
            let report = drill.report(asked, in_flight);
            let text = format!("drill: {}", report.line());
            self.ledger.tell(&service, None, "drill", text.clone());
            let receipt = Receipt {
                rollout: None,
                text,
                drill: Some(report),
            };
            self.reply(reply, Ok(receipt));
        }
    }
}
