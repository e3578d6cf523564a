//! The controller's view of Docker: turns observed containers into pools. Nothing here decides about a rollout: the
//! state machine gets observations as events.

use crate::config::Service;
use crate::control::controller::Controller;
use crate::control::messages::sentence;
use crate::core::plan::Step;
use crate::core::rollout::Event;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::names::Moving;
use crate::driver::docker::watcher::{self, ContainerUpdate, Found, Selector, Wants, WatchTarget};
use crate::driver::docker::{Container, Engine, EngineError, Spoken};
use crate::store::Clock;
use crate::store::NoteKind;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// The longest wait for the engine before the first request is served.
const PATIENCE: Duration = Duration::from_secs(5);

/// Number of updates that may wait.
const MAILBOX: usize = 16;

/// The connection to Docker, with what is known of its containers.
pub(in crate::control) struct DockerWatcher {
    /// The engine.
    pub(in crate::control) engine: Engine,
    /// The name of the journal, which marks the containers of this shifter.
    pub(in crate::control) instance: String,
    /// Why the engine's state is unknown at present.
    pub(in crate::control) lost: Option<String>,
    /// The engine that was reported to answer, and its API version.
    spoken: Option<Spoken>,
    /// The services that containers describe by their labels.
    pub(in crate::control) labelled: Vec<Service>,
    /// Problems of such labels that were reported.
    pub(in crate::control) told: ReportedProblems,
    wants: watch::Sender<Wants>,
    news: mpsc::Receiver<ContainerUpdate>,
    out: Option<mpsc::Sender<ContainerUpdate>>,
}

impl DockerWatcher {
    /// An engine that has not been queried yet.
    pub(in crate::control) fn new(host: Option<String>, instance: String) -> DockerWatcher {
        let (out, news) = mpsc::channel(MAILBOX);
        DockerWatcher {
            engine: Engine::new(host),
            instance,
            lost: None,
            spoken: None,
            labelled: vec![],
            told: ReportedProblems::default(),
            wants: watch::Sender::default(),
            news,
            out: Some(out),
        }
    }

    /// Starts to follow the containers' events.
    pub(in crate::control) fn follow(&mut self) {
        if let Some(out) = self.out.take() {
            tokio::spawn(watcher::follow(
                self.engine.clone(),
                self.wants.subscribe(),
                out,
            ));
        }
    }

    /// The next update; pending forever without Docker.
    pub(in crate::control) async fn news(&mut self) -> ContainerUpdate {
        match self.news.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// The owner mark for the containers of a rollout.
    pub(in crate::control) fn owner(&self, service: &str, rollout: i64) -> Owner {
        Owner {
            instance: self.instance.clone(),
            service: service.to_owned(),
            rollout,
            baseline: false,
        }
    }
}

/// The state of one service's containers.
#[derive(Default)]
pub struct ObservedContainers {
    /// The containers of blue and green when last seen; `None` before.
    pub containers: [Option<Vec<Container>>; 2],
    /// Why a pool has ended, according to the engine.
    pub fallen: [Option<String>; 2],
    /// A rollout waits to learn whether its containers are still the same.
    pub(in crate::control) restart_due: bool,
    /// The pools of a rollout as they were saved, until they are seen again.
    pub(in crate::control) resumed: Option<[crate::core::table::Pool; 2]>,
    /// Whether a cleanup is due.
    pub(in crate::control) sweep_due: bool,
    /// When a cleanup is due without another reason.
    pub(in crate::control) next_sweep: Option<Instant>,
    pub(in crate::control) raising: Option<AbortHandle>,
    /// The containers of the baseline when last seen; `None` before.
    pub(in crate::control) baseline: Option<Vec<Container>>,
    /// Why the baseline has ended, according to the engine.
    pub(in crate::control) baseline_fallen: Option<String>,
    pub(in crate::control) copying: Option<AbortHandle>,
    pub(in crate::control) sweeping: Option<AbortHandle>,
    /// Whether a cleanup has succeeded since the process began.
    pub(in crate::control) swept: bool,
    /// Reported problems of the cleanup.
    pub(in crate::control) unswept: ReportedProblems,
    /// The highest rollout number under which another journal created containers of this service.
    pub(in crate::control) highest: i64,
    /// Containers with names on a network that are being changed.
    pub(in crate::control) moving: Moving,
    /// Why found containers are not used: they belong to several Compose projects.
    pub(in crate::control) mixed: [Option<String>; 2],
    told: [ReportedProblems; 2],
    /// Reported backends with an address that may belong to another container.
    pub(in crate::control) doubts: ReportedProblems,
}

impl Controller {
    /// Looks for the containers once before any listener opens, so that the first request finds its pool.
    pub async fn locate(&mut self) {
        let engine = self.watcher.engine.clone();
        if self.config.docker.discovery {
            let news = patiently(watcher::labelled(&engine)).await;
            let news = news.map_or_else(ContainerUpdate::Lost, ContainerUpdate::Labelled);
            self.on_docker_update(news, Clock::now());
        }
        self.want();
        let pools = self.watcher.wants.borrow().pools.clone();
        if !pools.is_empty() {
            let news = patiently(watcher::look(&engine, &pools)).await;
            self.on_docker_update(
                news.map_or_else(ContainerUpdate::Lost, ContainerUpdate::Seen),
                Clock::now(),
            );
        }
        self.show();
    }

    /// Tells the watcher which containers to look for.
    pub(in crate::control) fn want(&mut self) {
        let watcher = &self.watcher;
        let pools: Vec<WatchTarget> = self
            .services
            .iter()
            .flat_map(|state| {
                let baseline = state
                    .baseline_place(watcher)
                    .map(|place| (Color::Blue, Some(place)));
                let places = state.places(watcher).into_iter().flatten();
                Color::BOTH
                    .into_iter()
                    .zip(places)
                    .chain(baseline)
                    .filter_map(|(color, place)| {
                        Some(WatchTarget {
                            service: state.route.service.clone(),
                            color,
                            by: place?.by,
                        })
                    })
            })
            .collect();
        let labelled = self.config.docker.discovery;
        let wants = Wants { pools, labelled };
        self.watcher.wants.send_if_modified(|present| {
            let news = *present != wants;
            *present = wants;
            news
        });
    }

    /// Takes an update: observed containers, or that there are none to observe.
    pub(in crate::control) fn on_docker_update(&mut self, news: ContainerUpdate, now: Time) {
        let was_lost = self.watcher.lost.is_some();
        match news {
            ContainerUpdate::Lost(why) => {
                if !was_lost {
                    let text = format!(
                        "{} Traffic goes on where it is, and nothing advances",
                        sentence(&why)
                    );
                    self.timeline.tell("", None, NoteKind::Trouble, text);
                }
                self.watcher.lost = Some(why);
            }
            ContainerUpdate::Labelled(containers) => {
                self.tell_the_version();
                self.discover(&containers);
            }
            ContainerUpdate::Seen(found) => {
                self.watcher.lost = None;
                self.tell_the_version();
                if was_lost {
                    let text = "Docker answers again".to_owned();
                    self.timeline.tell("", None, NoteKind::State, text);
                }
                self.place(found, now);
            }
        }
        self.metrics
            .docker_connected
            .set(i64::from(self.watcher.lost.is_none()));
    }

    /// Reports which engine answers, and the API version in use: at the start, and when another engine answers.
    fn tell_the_version(&mut self) {
        let spoken = self.watcher.engine.spoken();
        if spoken.is_none() || spoken == self.watcher.spoken {
            return;
        }
        if let Some(Spoken { engine, api }) = &spoken {
            let text = format!("{engine} answers; it is asked by version {api} of its API");
            self.timeline.tell("", None, NoteKind::State, text);
        }
        self.watcher.spoken = spoken;
    }

    fn place(&mut self, found: Vec<Found>, now: Time) {
        let (mut changed, mut seen) = (vec![], vec![]);
        for found in found {
            let service = &found.want.service;
            let Some(i) = self.service_named(service) else {
                continue;
            };
            if let Some(other) = self.services[i].settle_baseline(&self.watcher, &found) {
                changed.extend(other.then_some(i));
                continue;
            }
            let color = found.want.color;
            let places = self.services[i].places(&self.watcher);
            let Some(Some(place)) =
                places.map(|[blue, green]| if color == Color::Blue { blue } else { green })
            else {
                continue;
            };
            // Other containers are wanted by now.
            if place.by != found.want.by {
                continue;
            }
            if self.promoted_is_gone(i, color, &place.by, &found.containers) {
                continue;
            }
            seen.push((i, color));
            let state = &mut self.services[i];
            let alone = color == Color::Blue && state.run.is_none();
            let gone = alone && state.docker.fallen[color.index()].is_some();
            if state.settle(color, &place, found) {
                changed.push(i);
            }
            let back = gone && state.docker.fallen[color.index()].is_none();
            let troubles = state.new_troubles(color, &place);
            let (service, id) = (
                state.route.service.clone(),
                state.run.as_ref().map(|run| run.saved.id),
            );
            for text in troubles {
                self.timeline.tell(&service, id, NoteKind::Trouble, text);
            }
            if back {
                let text = "a container of it runs again".to_owned();
                self.timeline.tell(&service, id, NoteKind::State, text);
            }
        }
        if !changed.is_empty() {
            self.publish();
        }
        self.trust(&seen);
        for i in changed {
            self.remember(i);
        }
        for i in 0..self.services.len() {
            if self.services[i].docker.restart_due {
                self.restart_where_seen(i, now);
            }
        }
    }

    /// The promoted containers were removed from outside: blue is again what the file names.
    fn promoted_is_gone(
        &mut self,
        i: usize,
        color: Color,
        by: &Selector,
        containers: &[Container],
    ) -> bool {
        let state = &mut self.services[i];
        let gone = color == Color::Blue
            && containers.is_empty()
            && matches!(by, Selector::Ids(_))
            && state.run.is_none();
        if !gone {
            return false;
        }
        let saved = std::mem::take(&mut state.saved.running);
        let service = state.route.service.clone();
        let written = self
            .timeline
            .journal
            .save_service(&service, &self.services[i].saved);
        if self.timeline.watch(written).is_err() {
            self.services[i].saved.running = saved;
            return false;
        }
        let text = "the container that was promoted is not there any more; blue is again what the configuration names".to_owned();
        self.timeline.tell(&service, None, NoteKind::Trouble, text);
        self.want();
        true
    }

    /// Saves blue's address and Compose project, for a start without an answer from Docker or with several projects.
    fn remember(&mut self, i: usize) {
        let state = &mut self.services[i];
        let blue = &state.route.blue;
        let project = state.project().or_else(|| state.saved.project.clone());
        let known = state.saved.known.as_ref() == Some(blue) && state.saved.project == project;
        if state.run.is_some() || blue.backends.is_empty() || known {
            return;
        }
        state.saved.known = Some(blue.clone());
        state.saved.project = project;
        let written = self
            .timeline
            .journal
            .save_service(&state.route.service, &state.saved);
        let _ = self.timeline.watch(written);
    }

    /// Tells the state machine whether Docker's state is known.
    pub(in crate::control) fn look_at_docker(&mut self, i: usize, now: Time) {
        let state = &self.services[i];
        let Some(run) = &state.run else { return };
        let blind =
            state.is_docker() && (self.watcher.lost.is_some() || !state.sighted(&self.watcher));
        // A green that is still to be created cannot be seen, and is not missed.
        let starting =
            run.trial.rollout().step() == Some(&Step::Start) && self.watcher.lost.is_none();
        let blind = blind && !starting;
        if run.trial.rollout().blind() != blind {
            self.handle_event(i, Event::Blind(blind), now);
        }
    }
}

async fn patiently<T>(look: impl Future<Output = Result<T, EngineError>>) -> Result<T, String> {
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!(
            "Docker did not answer within {} s",
            PATIENCE.as_secs()
        )),
    }
}

/// Problems that were reported: each is reported when it appears, not at each pass.
#[derive(Default)]
pub(in crate::control) struct ReportedProblems(Vec<String>);

impl ReportedProblems {
    /// Of all current problems, those that were not reported yet.
    pub(in crate::control) fn fresh(&mut self, all: Vec<String>) -> Vec<String> {
        let fresh = all.iter().filter(|text| !self.0.contains(text)).cloned();
        let fresh = fresh.collect();
        self.0 = all;
        fresh
    }
}

impl ObservedContainers {
    /// Stops a running cleanup, which does not know the new state; it is repeated later.
    pub(in crate::control) fn stop_sweeping(&mut self) {
        if let Some(task) = self.sweeping.take() {
            task.abort();
            self.sweep_due = true;
        }
    }

    /// Stops creating green's containers.
    pub(in crate::control) fn stop_raising(&mut self) {
        if let Some(task) = self.raising.take() {
            task.abort();
        }
        self.sweep_due = true;
    }

    /// Of a pool's problems, those that were not reported yet.
    pub(in crate::control) fn untold(&mut self, color: Color, all: Vec<String>) -> Vec<String> {
        self.told[color.index()].fresh(all)
    }
}
