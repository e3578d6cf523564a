//! Docker beside the controller: what is seen of the containers becomes pools. Nothing here decides about a rollout: what is seen is told to the machine as events.

use crate::config::Service;
use crate::control::controller::Controller;
use crate::core::plan::Step;
use crate::core::rollout::Event;
use crate::core::table::Color;
use crate::core::time::Time;
use crate::driver::docker::labels::Owner;
use crate::driver::docker::names::Moving;
use crate::driver::docker::roster::{self, By, Found, News, Want, Wants};
use crate::driver::docker::{Container, Engine, EngineError, Spoken};
use crate::store::Clock;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

/// The longest wait for the engine before the first request is served.
const PATIENCE: Duration = Duration::from_secs(5);

/// News that may wait.
const MAILBOX: usize = 16;

/// The way to Docker.
pub(super) struct Dock {
    /// The engine.
    pub(super) engine: Engine,
    /// The name of the journal, which marks what is ours.
    pub(super) instance: String,
    /// Why nothing is known at present.
    pub(super) lost: Option<String>,
    /// Which engine was told to answer, and by which version of its API.
    spoken: Option<Spoken>,
    /// The services that containers describe by their labels.
    pub(super) labelled: Vec<Service>,
    /// What was told of such labels.
    pub(super) told: Told,
    wants: watch::Sender<Wants>,
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
            spoken: None,
            labelled: vec![],
            told: Told::default(),
            wants: watch::Sender::default(),
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
            baseline: false,
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
    pub(super) next_sweep: Option<Instant>,
    pub(super) raising: Option<AbortHandle>,
    /// The containers of the baseline as they were seen last; `None` before.
    pub(super) baseline: Option<Vec<Container>>,
    /// Why the baseline has ended, as the engine told it.
    pub(super) baseline_fallen: Option<String>,
    pub(super) copying: Option<AbortHandle>,
    pub(super) sweeping: Option<AbortHandle>,
    /// A sweep has ended well since the process began.
    pub(super) swept: bool,
    /// What a sweep could not do.
    pub(super) unswept: Told,
    /// The highest number of a rollout that another journal made containers of this service by.
    pub(super) highest: i64,
    /// Containers whose names on a network are being changed.
    pub(super) moving: Moving,
    /// Why containers that were found are not taken: they belong to several Compose projects.
    pub(super) mixed: [Option<String>; 2],
    told: [Told; 2],
    /// Of backends whose address may be another's.
    pub(super) doubts: Told,
}

impl Controller {
    /// Looks once before anything listens, so that the first request finds its pool.
    pub async fn locate(&mut self) {
        let engine = self.dock.engine.clone();
        if self.config.docker.discovery {
            let news = patiently(roster::labelled(&engine)).await;
            let news = news.map_or_else(News::Lost, News::Labelled);
            self.hear(news, Clock::now());
        }
        self.want();
        let pools = self.dock.wants.borrow().pools.clone();
        if !pools.is_empty() {
            let news = patiently(roster::look(&engine, &pools)).await;
            self.hear(news.map_or_else(News::Lost, News::Seen), Clock::now());
        }
        self.show();
    }

    /// Tells the roster whom it is to look for.
    pub(super) fn want(&mut self) {
        let dock = &self.dock;
        let pools: Vec<Want> = self
            .wards
            .iter()
            .flat_map(|ward| {
                let baseline = ward
                    .baseline_place(dock)
                    .map(|place| (Color::Blue, Some(place)));
                let places = ward.places(dock).into_iter().flatten();
                Color::BOTH
                    .into_iter()
                    .zip(places)
                    .chain(baseline)
                    .filter_map(|(color, place)| {
                        Some(Want {
                            service: ward.route.service.clone(),
                            color,
                            by: place?.by,
                        })
                    })
            })
            .collect();
        let labelled = self.config.docker.discovery;
        let wants = Wants { pools, labelled };
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
                    let end = if why.ends_with(['?', ')']) { "" } else { "." };
                    let text =
                        format!("{why}{end} Traffic goes on where it is, and nothing advances");
                    self.ledger.tell("", None, "trouble", text);
                }
                self.dock.lost = Some(why);
            }
            News::Labelled(containers) => {
                self.tell_the_version();
                self.discover(&containers);
            }
            News::Seen(found) => {
                self.dock.lost = None;
                self.tell_the_version();
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

    /// Says which engine answers, and by which version of its API it is asked: at the start, and when another one answers.
    fn tell_the_version(&mut self) {
        let spoken = self.dock.engine.spoken();
        if spoken.is_none() || spoken == self.dock.spoken {
            return;
        }
        if let Some(Spoken { engine, api }) = &spoken {
            let text = format!("{engine} answers; it is asked by version {api} of its API");
            self.ledger.tell("", None, "state", text);
        }
        self.dock.spoken = spoken;
    }

    fn place(&mut self, found: Vec<Found>, now: Time) {
        let (mut changed, mut seen) = (vec![], vec![]);
        for found in found {
            let service = &found.want.service;
            let Some(i) = self.ward_named(service) else {
                continue;
            };
            if let Some(other) = self.wards[i].settle_baseline(&self.dock, &found) {
                changed.extend(other.then_some(i));
                continue;
            }
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
            seen.push((i, color));
            let ward = &mut self.wards[i];
            let alone = color == Color::Blue && ward.run.is_none();
            let gone = alone && ward.docker.fallen[color.index()].is_some();
            if ward.settle(color, &place, found) {
                changed.push(i);
            }
            let back = gone && ward.docker.fallen[color.index()].is_none();
            let troubles = ward.new_troubles(color, &place);
            let (service, id) = (
                ward.route.service.clone(),
                ward.run.as_ref().map(|run| run.saved.id),
            );
            for text in troubles {
                self.ledger.tell(&service, id, "trouble", text);
            }
            if back {
                let text = "a container of it runs again".to_owned();
                self.ledger.tell(&service, id, "state", text);
            }
        }
        if !changed.is_empty() {
            self.publish();
        }
        self.trust(&seen);
        for i in changed {
            self.remember(i);
        }
        for i in 0..self.wards.len() {
            if self.wards[i].docker.restart_due {
                self.restart_where_seen(i, now);
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

    /// Where blue is now, and of which project, for a start at which Docker does not answer or several projects are there.
    fn remember(&mut self, i: usize) {
        let ward = &mut self.wards[i];
        let blue = &ward.route.blue;
        let project = ward.project().or_else(|| ward.saved.project.clone());
        let known = ward.saved.known.as_ref() == Some(blue) && ward.saved.project == project;
        if ward.run.is_some() || blue.backends.is_empty() || known {
            return;
        }
        ward.saved.known = Some(blue.clone());
        ward.saved.project = project;
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
        let starting = run.trial.rollout().step() == Some(&Step::Start) && self.dock.lost.is_none();
        let blind = blind && !starting;
        if run.trial.rollout().blind() != blind {
            self.happen(i, Event::Blind(blind), now);
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

/// What was told already: a trouble is told when it comes, not at each look.
#[derive(Default)]
pub(super) struct Told(Vec<String>);

impl Told {
    /// Of all troubles that there are now, those that were not told yet.
    pub(super) fn fresh(&mut self, all: Vec<String>) -> Vec<String> {
        let fresh = all.iter().filter(|text| !self.0.contains(text)).cloned();
        let fresh = fresh.collect();
        self.0 = all;
        fresh
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

    /// Of a pool's troubles, those that were not told yet.
    pub(super) fn untold(&mut self, color: Color, all: Vec<String>) -> Vec<String> {
        self.told[color.index()].fresh(all)
    }
}
