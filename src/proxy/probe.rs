//! Active checks: are the members of all pools well, green's before it has a share included.

use crate::config::{Config, Health as Spec, Host};
use crate::proxy::descriptors;
use crate::store::board::{BackendState, Board, Health, Snapshot};
use http::header::HOST;
use reqwest::redirect::Policy;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::MissedTickBehavior;

/// Checks every backend that the board names, until it is dropped.
pub struct Probes {
    _following: JoinSet<()>,
}

/// One backend and how it is checked.
#[derive(Clone)]
struct Target {
    backend: Arc<BackendState>,
    spec: Spec,
    host: String,
}

impl Target {
    fn same(&self, other: &Target) -> bool {
        Arc::ptr_eq(&self.backend, &other.backend)
            && self.spec == other.spec
            && self.host == other.host
    }
}

impl Probes {
    /// Starts checks for what is published, and follows.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn start(board: &Arc<Board>) -> std::io::Result<Probes> {
        let client = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            // A kept connection would not show that new ones are refused.
            .pool_max_idle_per_host(0)
            .user_agent(concat!(
                "shifter/",
                env!("CARGO_PKG_VERSION"),
                " (health check)"
            ))
            .build()
            .map_err(std::io::Error::other)?;
        let (sender, snapshots) = watch::channel(board.snapshot());
        board.follow(move |snapshot| {
            sender.send_replace(snapshot.clone());
        });
        let mut following = JoinSet::new();
        following.spawn(follow(Arc::downgrade(board), client, snapshots));
        Ok(Probes {
            _following: following,
        })
    }
}

type Key = (String, String);

async fn follow(
    board: std::sync::Weak<Board>,
    client: reqwest::Client,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
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
            let task = tasks.spawn(watch_over(
                Arc::downgrade(&board),
                client.clone(),
                target.clone(),
            ));
            running.insert(key, (target, task));
        }
        while tasks.try_join_next().is_some() {}
        if snapshots.changed().await.is_err() {
            return;
        }
    }
}

fn targets(snapshot: &Snapshot) -> HashMap<Key, Target> {
    let mut targets = HashMap::new();
    for published in &snapshot.services {
        let name = &published.route.service;
        let Some(spec) = snapshot
            .config
            .service(name)
            .map(|service| service.health.clone())
        else {
            continue;
        };
        for backend in published.pools.iter().flatten() {
            let host = host(&snapshot.config, name, backend.addr);
            let target = Target {
                backend: backend.clone(),
                spec: spec.clone(),
                host,
            };
            targets.insert((name.clone(), backend.id.clone()), target);
        }
    }
    targets
}

/// The `Host` to ask with: the service's first exact one, else the backend's address.
fn host(config: &Config, service: &str, addr: SocketAddr) -> String {
    let hosts = config
        .service(service)
        .map(|service| service.hosts.as_slice())
        .unwrap_or_default();
    let exact = hosts.iter().find_map(|host| match host {
        Host::Exact(name) => Some(name.clone()),
        _ => None,
    });
    exact.unwrap_or_else(|| addr.to_string())
}

async fn watch_over(board: std::sync::Weak<Board>, client: reqwest::Client, target: Target) {
    let mut tally = Tally {
        health: target.backend.health(),
        good: 0,
        bad: 0,
    };
    let mut ticks = tokio::time::interval(target.spec.interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Without a descriptor nothing was learnt.
        let Some(well) = check(&client, &target).await else {
            continue;
        };
        let Some(board) = board.upgrade() else { return };
        if let Some(health) = tally.count(well, &target.spec) {
            log::info!(
                "backend {} is {}",
                target.backend.id,
                if health == Health::Up { "up" } else { "down" }
            );
            board.set_health(&target.backend, health);
        }
    }
}

/// Whether the backend is well; `None` when we could not ask.
async fn check(client: &reqwest::Client, target: &Target) -> Option<bool> {
    let spec = &target.spec;
    let mut addr = target.backend.addr;
    addr.set_port(spec.port.unwrap_or(addr.port()));
    let answered = async {
        match &spec.path {
            None => match TcpStream::connect(addr).await {
                Err(error) if descriptors::exhausted(&error) => None,
                connected => Some(connected.is_ok()),
            },
            // The body is not read: the connection closes with the answer.
            Some(path) => {
                let request = client.get(format!("http://{addr}{path}"));
                match request.header(HOST, &target.host).send().await {
                    Err(error) if is_ours(&error) => None,
                    answer => {
                        let good = |code| (200..400).contains(&code);
                        Some(answer.is_ok_and(|answer| good(answer.status().as_u16())))
                    }
                }
            }
        }
    };
    tokio::time::timeout(spec.timeout, answered)
        .await
        .unwrap_or(Some(false))
}

/// Whether a failed request has the want of descriptors somewhere below.
fn is_ours(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(descriptors::exhausted)
        {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Checks in a row.
#[derive(Debug)]
struct Tally {
    health: Health,
    good: u32,
    bad: u32,
}

impl Tally {
    /// Counts a check; `Some` when the backend's health is another one now.
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
            path: None,
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
