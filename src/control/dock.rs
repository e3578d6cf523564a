//! Docker beside the controller: what is seen of the containers becomes pools, and what nobody needs is
//! cleared away. Nothing here decides about a rollout: what is seen is told to the machine as events.

use crate::config::Access;
use crate::control::controller::Controller;
use crate::control::handle::Mail;
use crate::core::plan::Step;
use crate::core::rollout::{Event, Outcome};
use crate::core::table::Color;
use crate::core::time::Time;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::roster::{self, By, Found, News, Want};
use crate::driver::docker::sweep::{self, Keep};
use crate::driver::docker::{Container, Engine};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// The longest wait for the engine before the first request is served.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether something is to be cleared away.
const SWEEP: Duration = Duration::from_secs(60);

/// When a sweep that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long the end of the process waits for a last sweep.
const LAST_SWEEP: Duration = Duration::from_secs(10);

/// News that may wait.
const MAILBOX: usize = 16;

/// Lines of a dead container's log that are told.
const LAST_LINES: usize = 5;

/// The way to Docker.
pub(super) struct Dock {
    /// The engine.
    pub(super) engine: Engine,
    /// The id of the state folder, which marks what is ours.
    pub(super) instance: String,
    /// Why nothing is known at present.
    pub(super) lost: Option<String>,
    wants: watch::Sender<Vec<Want>>,
    news: mpsc::Receiver<News>,
    out: Option<mpsc::Sender<News>>,
}

impl Dock {
    /// An engine that nobody has asked yet.
    pub(super) fn new(host: Option<String>, instance: String) -> Dock {
        let (out, news) = mpsc::channel(MAILBOX);
        Dock {
            engine: Engine::new(host),
            instance,
            lost: None,
            wants: watch::Sender::new(vec![]),
            news,
            out: Some(out),
        }
    }

    /// Begins to follow what happens to the containers.
    pub(super) fn follow(&mut self) {
        if let Some(out) = self.out.take() {
            tokio::spawn(roster::follow(
                self.engine.clone(),
                self.wants.subscribe(),
                out,
            ));
        }
    }

    /// The next news; for ever silent without Docker.
    pub(super) async fn news(&mut self) -> News {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// Who makes the containers of a rollout.
    pub(super) fn owner(&self, service: &str, rollout: i64) -> Owner {
        Owner {
            instance: self.instance.clone(),
            service: service.to_owned(),
            rollout,
        }
    }
}

/// What one service has to do with Docker.
#[derive(Default)]
pub struct Seen {
    /// The containers of blue and green as they were seen last; `None` before.
    pub containers: [Option<Vec<Container>>; 2],
    /// Why a pool has ended, as the engine told it.
    pub fallen: [Option<String>; 2],
    /// A rollout waits to hear whether its containers are still the same.
    pub(super) restart_due: bool,
    /// The pools of a rollout as they were saved, until they are seen again.
    pub(super) resumed: Option<[crate::core::table::Pool; 2]>,
    /// Something is to be cleared away.
    pub(super) sweep_due: bool,
    /// When a sweep is due that nothing asked for.
    next_sweep: Option<Instant>,
    pub(super) raising: Option<AbortHandle>,
    sweeping: Option<AbortHandle>,
    told: Vec<String>,
}

impl Controller {
    /// Looks once before anything listens, so that the first request finds its pool.
    pub async fn locate(&mut self) {
        self.want();
        let wants = self.dock.wants.borrow().clone();
        if wants.is_empty() {
            return;
        }
        let look = roster::look(&self.dock.engine, &wants);
        let news = match tokio::time::timeout(PATIENCE, look).await {
            Ok(Ok(found)) => News::Seen(found),
            Ok(Err(error)) => News::Lost(error.to_string()),
            Err(_) => News::Lost(format!(
                "Docker did not answer within {} s",
                PATIENCE.as_secs()
            )),
        };
        self.hear(news, crate::store::Clock::now());
        self.show();
    }

    /// Tells the roster whom it is to look for.
    pub(super) fn want(&mut self) {
        let dock = &self.dock;
        let wants: Vec<Want> = self
            .wards
            .iter()
            .flat_map(|ward| {
                let places = ward.places(dock).into_iter().flatten();
                Color::BOTH
                    .into_iter()
                    .zip(places)
                    .filter_map(|(color, place)| {
                        Some(Want {
                            service: ward.route.service.clone(),
                            color,
                            by: place?.by,
                        })
                    })
            })
            .collect();
        self.dock.wants.send_if_modified(|present| {
            let news = *present != wants;
            *present = wants;
            news
        });
    }

    /// Takes what was seen, or that nothing can be.
    pub(super) fn hear(&mut self, news: News, now: Time) {
        let was_lost = self.dock.lost.is_some();
        match news {
            News::Lost(why) => {
                if !was_lost {
                    let text = format!("{why}. Traffic goes on where it is, and nothing advances");
                    self.ledger.tell("", None, "trouble", text);
                }
                self.dock.lost = Some(why);
            }
            News::Seen(found) => {
                self.dock.lost = None;
                if was_lost {
                    let text = "Docker answers again".to_owned();
                    self.ledger.tell("", None, "state", text);
                }
                self.place(found, now);
            }
        }
        self.metrics
            .docker_connected
            .set(i64::from(self.dock.lost.is_none()));
    }

    fn place(&mut self, found: Vec<Found>, now: Time) {
        let mut changed = vec![];
        for found in found {
            let service = &found.want.service;
            let Some(i) = self
                .wards
                .iter()
                .position(|ward| ward.route.service == *service)
            else {
                continue;
            };
            let color = found.want.color;
            let places = self.wards[i].places(&self.dock);
            let Some(Some(place)) =
                places.map(|[blue, green]| if color == Color::Blue { blue } else { green })
            else {
                continue;
            };
            // Somebody else is wanted by now.
            if place.by != found.want.by {
                continue;
            }
            if self.promoted_is_gone(i, color, &place.by, &found.containers) {
                continue;
            }
            let ward = &mut self.wards[i];
            if ward.settle(color, &place, found.containers) {
                changed.push(i);
            }
            let troubles = ward.new_troubles(color, &place);
            let (service, id) = (
                ward.route.service.clone(),
                ward.run.as_ref().map(|run| run.saved.id),
            );
            for text in troubles {
                self.ledger.tell(&service, id, "trouble", text);
            }
        }
        if !changed.is_empty() {
            self.publish();
        }
        for i in changed {
            self.remember(i);
        }
        for i in 0..self.wards.len() {
            if self.wards[i].docker.restart_due && self.wards[i].sighted(&self.dock) {
                self.wards[i].docker.restart_due = false;
                self.restart(i, now);
            }
        }
    }

    /// Whoever was promoted has been removed by somebody: blue is again who the file says.
    fn promoted_is_gone(
        &mut self,
        i: usize,
        color: Color,
        by: &By,
        containers: &[Container],
    ) -> bool {
        let ward = &mut self.wards[i];
        let gone = color == Color::Blue
            && containers.is_empty()
            && matches!(by, By::Ids(_))
            && ward.run.is_none();
        if !gone {
            return false;
        }
        let saved = std::mem::take(&mut ward.saved.running);
        let service = ward.route.service.clone();
        let written = self
            .ledger
            .journal
            .save_service(&service, &self.wards[i].saved);
        if self.ledger.watch(written).is_err() {
            self.wards[i].saved.running = saved;
            return false;
        }
        let text = "the container that was promoted is not there any more; blue is again who the configuration names".to_owned();
        self.ledger.tell(&service, None, "trouble", text);
        self.want();
        true
    }

    /// Where blue is now, for a start at which Docker does not answer.
    fn remember(&mut self, i: usize) {
        let ward = &mut self.wards[i];
        let blue = &ward.route.blue;
        if ward.run.is_some() || blue.backends.is_empty() || ward.saved.known.as_ref() == Some(blue)
        {
            return;
        }
        ward.saved.known = Some(blue.clone());
        let written = self
            .ledger
            .journal
            .save_service(&ward.route.service, &ward.saved);
        let _ = self.ledger.watch(written);
    }

    /// Lets the machine know whether anything can be known.
    pub(super) fn look_at_docker(&mut self, i: usize, now: Time) {
        let ward = &self.wards[i];
        let Some(run) = &ward.run else { return };
        let blind = ward.is_docker() && (self.dock.lost.is_some() || !ward.sighted(&self.dock));
        // A green that is still to be made cannot be seen, and is not missed.
        let starting = run.rollout.step() == Some(&Step::Start) && self.dock.lost.is_none();
        let blind = blind && !starting;
        if run.rollout.blind() != blind {
            self.happen(i, Event::Blind(blind), now);
        }
    }

    /// How green's containers stand at the end of a rollout, and their last lines; nobody waits for them.
    pub(super) fn last_words(&mut self, i: usize) {
        let ward = &self.wards[i];
        let (Some(run), Some(own)) = (&ward.run, self.own.upgrade()) else {
            return;
        };
        if run.rollout.outcome() == Some(&Outcome::Promoted) {
            return;
        }
        let (service, rollout) = (ward.route.service.clone(), run.saved.id);
        let green = ward.docker.containers[Color::Green.index()]
            .iter()
            .flatten();
        for container in green.cloned() {
            let (engine, own, service) = (self.dock.engine.clone(), own.clone(), service.clone());
            tokio::spawn(async move {
                let lines = engine.last_lines(&container.id, LAST_LINES).await;
                let lines = lines.unwrap_or_else(|error| error.to_string());
                let (name, state) = (&container.name, &container.state);
                let text = match lines.trim() {
                    "" => format!("{name} {state}; it wrote nothing to its log"),
                    lines => {
                        let lines = lines.replace('\n', "\n    ");
                        format!("{name} {state}; the last lines of its log:\n    {lines}")
                    }
                };
                let kind = "log";
                let said = Mail::Said {
                    service,
                    rollout,
                    kind,
                    text,
                };
                let _ = own.send(said).await;
            });
        }
    }

    // ---- clearing away

    /// Stops and removes what nobody needs any more, where that is due.
    pub(super) fn sweep(&mut self) {
        if self.config.docker.access < Access::Manage || self.dock.lost.is_some() {
            return;
        }
        for i in 0..self.wards.len() {
            let (ward, dock) = (&self.wards[i], &self.dock);
            let seen = &ward.docker;
            let late = seen.next_sweep.is_none_or(|next| Instant::now() >= next);
            let due = seen.sweep_due || late;
            if !ward.is_docker()
                || !due
                || seen.sweeping.is_some()
                || !ward.sighted(dock)
                || seen.restart_due
            {
                continue;
            }
            let Some(own) = self.own.upgrade() else {
                return;
            };
            let keep = self.keep(i);
            let (engine, service) = (dock.engine.clone(), ward.route.service.clone());
            let task = tokio::spawn(async move {
                let result = sweep::sweep(&engine, &keep)
                    .await
                    .map_err(|error| error.to_string());
                let _ = own.send(Mail::Swept { service, result }).await;
            });
            let seen = &mut self.wards[i].docker;
            seen.sweeping = Some(task.abort_handle());
            (seen.sweep_due, seen.next_sweep) = (false, Some(Instant::now() + SWEEP));
        }
    }

    /// What of a service is to stay.
    fn keep(&self, i: usize) -> Keep {
        let ward = &self.wards[i];
        let rollout = ward.run.as_ref().map_or(0, |run| run.saved.id);
        Keep {
            owner: self.dock.owner(&ward.route.service, rollout),
            serving: ward.serving(),
            retired: ward.saved.retired.clone(),
            keep_green: ward.settings.keep_green,
            grace: ward.settings.drain,
        }
    }

    /// Before the end: what is to be cleared away is not left running where that takes no longer than a moment.
    pub(super) async fn clear_away(&mut self) {
        if self.config.docker.access < Access::Manage || self.dock.lost.is_some() {
            return;
        }
        for i in 0..self.wards.len() {
            let seen = &mut self.wards[i].docker;
            seen.stop_sweeping();
            if !seen.sweep_due || !self.wards[i].sighted(&self.dock) {
                continue;
            }
            let keep = self.keep(i);
            let sweep = sweep::sweep(&self.dock.engine, &keep);
            let result = match tokio::time::timeout(LAST_SWEEP, sweep).await {
                Ok(result) => result.map_err(|error| error.to_string()),
                Err(_) => Err("there was no time left".to_owned()),
            };
            let service = keep.owner.service.clone();
            self.swept(&service, result);
        }
    }

    /// What a sweep did.
    pub(super) fn swept(&mut self, service: &str, result: Result<Vec<String>, String>) {
        let Some(i) = self
            .wards
            .iter()
            .position(|ward| ward.route.service == service)
        else {
            return;
        };
        self.wards[i].docker.sweeping = None;
        match result {
            Ok(lines) => {
                for line in lines {
                    self.ledger.tell(service, None, "containers", line);
                }
                let ward = &mut self.wards[i];
                if !std::mem::take(&mut ward.saved.retired).is_empty() {
                    let written = self.ledger.journal.save_service(service, &ward.saved);
                    let _ = self.ledger.watch(written);
                }
            }
            Err(why) => {
                self.wards[i].docker.next_sweep = Some(Instant::now() + AGAIN);
                let text =
                    format!("not everything could be cleared away, and is tried again: {why}");
                self.ledger.tell(service, None, "trouble", text);
            }
        }
    }
}

impl Seen {
    /// A sweep of before does not know what comes now; it is repeated later.
    pub(super) fn stop_sweeping(&mut self) {
        if let Some(task) = self.sweeping.take() {
            task.abort();
            self.sweep_due = true;
        }
    }

    /// Green is not wanted any more.
    pub(super) fn stop_raising(&mut self) {
        if let Some(task) = self.raising.take() {
            task.abort();
        }
        self.sweep_due = true;
    }

    /// Of these, what was not told yet.
    pub(super) fn untold(&mut self, all: Vec<String>) -> Vec<String> {
        let fresh = all
            .iter()
            .filter(|text| !self.told.contains(text))
            .cloned()
            .collect();
        self.told = all;
        fresh
    }
}
