//! Active health checks of the members of all pools; green's are checked before it has a share,
//! too.

use crate::config::{Ask, BackendTls, Health as Spec, Protocol};
use crate::proxy::limits::file_descriptors;
use crate::proxy::upstream::grpc;
use crate::store::Clock;
use crate::store::shared_state::{BackendState, Health, PublishedState, SharedState};
use crate::visit::{Question, Way};
use http::Method;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

/// Checks every backend that the shared state names, until it is dropped.
pub struct Checks {
    _following: JoinSet<()>,
}

/// One backend and how it is checked.
#[derive(Clone)]
struct Target {
    backend: Arc<BackendState>,
    spec: Spec,
    protocol: Protocol,
    tls: Option<BackendTls>,
    way: Way,
    host: String,
}

impl Target {
    fn same(&self, other: &Target) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
            && self.spec == other.spec
            && self.protocol == other.protocol
            && self.tls == other.tls
            && self.host == other.host
    }
}

impl Checks {
    /// Starts checks of the published backends, and follows what is published.
    pub fn start(board: &Arc<SharedState>) -> Checks {
        let (sender, snapshots) = watch::channel(board.snapshot());
        board.follow(move |snapshot| {
            sender.send_replace(snapshot.clone());
        });
        let mut following = JoinSet::new();
        following.spawn(follow(Arc::downgrade(board), snapshots));
        Checks {
            _following: following,
        }
    }
}

const AGENT: &str = concat!("shifter/", env!("CARGO_PKG_VERSION"), " (health check)");

type Key = (String, String);

async fn follow(
    board: std::sync::Weak<SharedState>,
    mut snapshots: watch::Receiver<Arc<PublishedState>>,
) {
    let mut tasks = JoinSet::new();
    let mut running: HashMap<Key, (Target, AbortHandle)> = HashMap::new();
    loop {
        let mut wanted = targets(&snapshots.borrow_and_update());
        running.retain(|key, (target, task)| {
            let stays = wanted.get(key).is_some_and(|wanted| wanted.same(target));
            if stays {
                wanted.remove(key);
            } else {
                task.abort();
            }
            stays
        });
        for (key, target) in wanted {
            let Some(board) = board.upgrade() else { return };
            let task = tasks.spawn(watch_over(Arc::downgrade(&board), target.clone()));
            running.insert(key, (target, task));
        }
        while tasks.try_join_next().is_some() {}
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn targets(snapshot: &PublishedState) -> HashMap<Key, Target> {
    let mut targets = HashMap::new();
    for published in &snapshot.services {
        let name = &published.route.service;
        let Some(service) = snapshot.config.service(name) else {
            continue;
        };
        let protocol = match &service.health.ask {
            Ask::Grpc(_) => Protocol::H2,
            _ => service.protocol,
        };
        let way = match Way::new(protocol, service.tls.as_ref()) {
            Ok(way) => way,
            Err(error) => {
                log::error!("the members of `{name}` cannot be checked: {error}");
                continue;
            }
        };
        for backend in published.backends() {
            let target = Target {
                backend: backend.clone(),
                spec: service.health.clone(),
                protocol: service.protocol,
                tls: service.tls.clone(),
                way: way.clone(),
                host: service.own_host(),
            };
            targets.insert((name.clone(), backend.id.clone()), target);
        }
    }
    targets
}

async fn watch_over(board: std::sync::Weak<SharedState>, target: Target) {
    let mut tally = Tally {
        health: target.backend.health(),
        good: 0,
        bad: 0,
    };
    let mut ticks = tokio::time::interval(target.spec.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Without a file descriptor, the check says nothing.
        let Some(checked) = check(&target).await else {
            continue;
        };
        if checked.is_err() && is_container(&target) && refuses(&target).await {
            let now = Clock::now();
            target.backend.identify(|identity| identity.refused(now));
        }
        target.backend.found(checked.as_ref().err());
        let Some(board) = board.upgrade() else { return };
        if let Some(health) = tally.count(checked.is_ok(), &target.spec) {
            let id = &target.backend.id;
            match checked {
                Ok(()) => log::info!("backend {id} is up"),
                Err(why) => log::info!("backend {id} is down: {why}"),
            }
            board.set_health(&target.backend, health);
        }
    }
}

/// Whether the backend is healthy, and why not; `None` when there was no file descriptor for the
/// check.
async fn check(target: &Target) -> Option<Result<(), String>> {
    let spec = &target.spec;
    let mut addr = target.backend.addr;
    addr.set_port(spec.port.unwrap_or(addr.port()));
    let answered = async {
        match &spec.ask {
            Ask::Connect => target.way.knock(addr).await.map(|()| Ok(())),
            Ask::Path(path) => good(target, addr, path).await,
            Ask::Grpc(service) => serving(target, addr, service).await,
        }
    };
    match tokio::time::timeout(spec.timeout, answered).await {
        Err(_) => Some(Err(format!(
            "no answer within {} ms",
            spec.timeout.as_millis()
        ))),
        Ok(Err(error)) if file_descriptors::exhausted(&error) => None,
        Ok(Err(error)) => Some(Err(error.to_string())),
        Ok(Ok(judged)) => Some(judged),
    }
}

/// Whether the target's address may become another backend's: a fixed address is the backend itself, and is
/// not checked a second time.
fn is_container(target: &Target) -> bool {
    target.backend.id != target.backend.addr.to_string()
}

/// Whether no connection is accepted where the backend serves: a check may fail for many other
/// reasons.
async fn refuses(target: &Target) -> bool {
    let connected = TcpStream::connect(target.backend.addr);
    match tokio::time::timeout(target.spec.timeout, connected).await {
        Ok(Ok(_)) => false,
        Ok(Err(error)) => !file_descriptors::exhausted(&error),
        Err(_) => true,
    }
}

/// Whether a path answers 200 to 399; the body is not read.
async fn good(target: &Target, addr: SocketAddr, path: &str) -> io::Result<Result<(), String>> {
    let question = Question::get(path, &target.host).with("user-agent", AGENT);
    Ok(match target.way.ask(addr, question).await?.status() {
        200..400 => Ok(()),
        status => Err(format!("{path} answers {status}")),
    })
}

/// Whether a gRPC service reports SERVING.
async fn serving(target: &Target, addr: SocketAddr, name: &str) -> io::Result<Result<(), String>> {
    let wrong = || Err("its gRPC health check does not say SERVING".to_owned());
    let Some(body) = grpc::health_request(name) else {
        return Ok(wrong());
    };
    let question = Question {
        method: Method::POST,
        body: body.into(),
        ..Question::get("/grpc.health.v1.Health/Check", &target.host)
    };
    let question = question
        .with("content-type", "application/grpc")
        .with("te", "trailers")
        .with("user-agent", AGENT);
    let mut answer = target.way.ask(addr, question).await?;
    let mut body = vec![];
    while let Ok(Some(part)) = answer.part().await
        && body.len() <= grpc::SERVING.len()
    {
        body.extend_from_slice(&part);
    }
    Ok(if body == grpc::SERVING {
        Ok(())
    } else {
        wrong()
    })
}

/// The results of checks in a row.
#[derive(Debug)]
struct Tally {
    health: Health,
    good: u32,
    bad: u32,
}

impl Tally {
    /// Counts a check; `Some` when the backend's health has changed.
    fn count(&mut self, well: bool, spec: &Spec) -> Option<Health> {
        if well {
            (self.good, self.bad) = (self.good.saturating_add(1), 0);
        } else {
            (self.good, self.bad) = (0, self.bad.saturating_add(1));
        }
        let health = match self.health {
            Health::Unknown | Health::Down if self.good >= spec.rise => Health::Up,
            Health::Unknown | Health::Up if self.bad >= spec.fall => Health::Down,
            same => same,
        };
        (health != self.health).then(|| {
            self.health = health;
            health
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rise_and_fall_are_counted_in_a_row() {
        let spec = Spec {
            ask: Ask::Connect,
            host: None,
            port: None,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            min_ready: Duration::ZERO,
        };
        let mut tally = Tally {
            health: Health::Unknown,
            good: 0,
            bad: 0,
        };
        let mut said = |checks: &str| -> Vec<Option<Health>> {
            checks
                .chars()
                .map(|check| tally.count(check == '+', &spec))
                .collect()
        };
        assert_eq!(said("+-+"), [None; 3], "once is not twice in a row");
        assert_eq!(said("+"), [Some(Health::Up)]);
        assert_eq!(said("--+--"), [None; 5]);
        assert_eq!(said("-"), [Some(Health::Down)]);
        assert_eq!(said("-+-+"), [None; 4]);
        assert_eq!(said("++"), [Some(Health::Up), None]);
    }
}
