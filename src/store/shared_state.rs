//! The routing table in memory, with the state that outlives one table: windows and backends.

use crate::config::Config;
use crate::core::identity::Identity;
use crate::core::table::{Color, Pool, Route, Table};
use crate::core::time::Time;
use crate::store::key::Key;
use crate::store::users::Users;
use crate::store::window::Window;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// The result of active checks on a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Not checked yet.
    Unknown,
    /// Answers.
    Up,
    /// Does not answer.
    Down,
}

/// One backend as both planes see it; it outlives the tables that name it.
#[derive(Debug)]
pub struct BackendState {
    /// The identity of the backend.
    pub id: String,
    /// The address that it listens on.
    pub addr: SocketAddr,
    /// Requests in flight on it, upgraded connections included.
    pub in_flight: AtomicI64,
    /// Failures in a row seen in traffic, for passive ejection.
    pub failures_in_a_row: AtomicU32,
    /// Until when passive ejection keeps new requests away, in milliseconds of the process's clock.
    pub ejected_until: AtomicU64,
    health: AtomicU8,
    /// Why the last check failed.
    ill: Mutex<Option<String>>,
    gone: AtomicBool,
    identity: Mutex<Identity>,
    /// The result of `identity`, for the request path.
    doubted: AtomicBool,
    leaving: watch::Sender<Option<Duration>>,
}

impl BackendState {
    /// A backend that was not checked yet.
    pub fn new(id: &str, addr: SocketAddr) -> BackendState {
        BackendState {
            id: id.to_owned(),
            addr,
            in_flight: AtomicI64::new(0),
            failures_in_a_row: AtomicU32::new(0),
            ejected_until: AtomicU64::new(0),
            health: AtomicU8::new(Health::Unknown as u8),
            ill: Mutex::default(),
            gone: AtomicBool::new(false),
            identity: Mutex::default(),
            doubted: AtomicBool::new(false),
            leaving: watch::Sender::new(None),
        }
    }

    /// The result of active checks.
    pub fn health(&self) -> Health {
        match self.health.load(Ordering::Relaxed) {
            1 => Health::Up,
            2 => Health::Down,
            _ => Health::Unknown,
        }
    }

    /// Why the last check failed, if it did.
    pub fn ill(&self) -> Option<String> {
        let ill = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        ill.clone()
    }

    /// Sets why the last check failed; `None`: it succeeded.
    pub fn found(&self, ill: Option<&String>) {
        let mut known = self.ill.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref() != ill {
            *known = ill.cloned();
        }
    }

    /// Whether no table names it any more: its address may belong to another container by now.
    pub fn gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Whether it was unhealthy when it was removed: it will not answer its open requests.
    pub fn lost(&self) -> bool {
        self.gone() && (self.health() == Health::Down || self.doubted())
    }

    /// Whether another container may have its address by now: no new connection may be made to it.
    pub fn doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed)
    }

    /// Adds evidence on whether its address still is its own, or reads it.
    pub fn identify<T>(&self, evidence: impl FnOnce(&mut Identity) -> T) -> T {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = evidence(&mut identity);
        self.doubted.store(identity.doubted(), Ordering::Relaxed);
        answer
    }

    /// The time within which upgraded connections on it must end; `None` while it stays.
    pub fn leaving(&self) -> watch::Receiver<Option<Duration>> {
        self.leaving.subscribe()
    }

    /// Sets the time within which upgraded connections on it must end, or that it stays; true when it changed.
    pub fn let_go(&self, within: Option<Duration>) -> bool {
        self.leaving.send_if_modified(|known| {
            let news = *known != within;
            *known = within;
            news
        })
    }

    /// Whether a new request may be sent to it: not down, not doubted, and not ejected.
    pub fn usable(&self, now: Time) -> bool {
        self.health() != Health::Down
            && !self.doubted()
            && self.ejected_until.load(Ordering::Relaxed) <= now.0
    }
}

/// One service as published: its entry, the counters to use, and its backends.
#[derive(Debug)]
pub struct PublishedService {
    /// The entry of the table.
    pub route: Route,
    /// Where requests routed by this entry are counted.
    pub window: Arc<Window>,
    /// The backends of blue and green.
    pub pools: [Vec<Arc<BackendState>>; 2],
    /// The backends of the baseline, where there is one: they serve users of blue with a copy of blue's release.
    pub baseline: Vec<Arc<BackendState>>,
}

impl PublishedService {
    /// Every backend, the baseline's last.
    pub fn backends(&self) -> impl Iterator<Item = &Arc<BackendState>> {
        self.pools.iter().flatten().chain(&self.baseline)
    }
}

/// All services as published, with the configuration to serve them under.
#[derive(Debug)]
pub struct PublishedState {
    /// The table.
    pub table: Arc<Table>,
    /// The configuration.
    pub config: Arc<Config>,
    /// The key that signs cookies, where the configuration has no secret for it.
    pub key: Arc<Key>,
    /// One entry for each route of the table, in its order.
    pub services: Vec<Arc<PublishedService>>,
}

impl PublishedState {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&Arc<PublishedService>> {
        self.services
            .iter()
            .find(|service| service.route.service == name)
    }
}

type Follower = Box<dyn Fn(&Arc<PublishedState>) + Send + Sync>;

/// The memory that both planes share.
pub struct SharedState {
    snapshot: ArcSwap<PublishedState>,
    /// Held while publishing, so that followers see states in order.
    publishing: Mutex<Publishing>,
    /// Wakes the controller when a backend's health changed.
    pub health_changed: Notify,
    draining: AtomicBool,
}

#[derive(Default)]
struct Publishing {
    followers: Vec<Follower>,
    backends: HashMap<(String, String), Arc<BackendState>>,
}

impl SharedState {
    /// An empty table under a configuration, with a key for the lifetime of the process.
    pub fn new(config: Arc<Config>) -> SharedState {
        SharedState::keyed(config, Key::random())
    }

    /// An empty table under a configuration, with a key that is kept.
    pub fn keyed(config: Arc<Config>, key: Key) -> SharedState {
        let snapshot = PublishedState {
            table: Arc::default(),
            config,
            key: Arc::new(key),
            services: vec![],
        };
        SharedState {
            snapshot: ArcSwap::from_pointee(snapshot),
            publishing: Mutex::default(),
            health_changed: Notify::new(),
            draining: AtomicBool::new(false),
        }
    }

    /// The current published state.
    pub fn snapshot(&self) -> Arc<PublishedState> {
        self.snapshot.load_full()
    }

    /// Calls `follower` with the current published state, and with each later one before `publish` returns.
    pub fn follow(&self, follower: impl Fn(&Arc<PublishedState>) + Send + Sync + 'static) {
        let mut publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        follower(&self.snapshot.load_full());
        publishing.followers.push(Box::new(follower));
    }

    /// Publishes a table (its version is set here) and perhaps a new configuration with it.
    ///
    /// When it returns, every follower routes new requests by it.
    pub fn publish(&self, mut table: Table, config: Option<Arc<Config>>, now: Time) -> u64 {
        let mut publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let old = self.snapshot.load_full();
        table.version = old.table.version + 1;
        let services = table
            .routes
            .iter()
            .map(|route| publishing.service(route, old.service(&route.service), now))
            .collect();
        publishing.forget_unused(&table);
        let version = table.version;
        let config = config.unwrap_or_else(|| old.config.clone());
        let snapshot = Arc::new(PublishedState {
            table: Arc::new(table),
            config,
            key: old.key.clone(),
            services,
        });
        self.snapshot.store(snapshot.clone());
        for follower in &publishing.followers {
            follower(&snapshot);
        }
        version
    }

    /// Sets the result of active checks, and wakes the controller when it changed.
    pub fn set_health(&self, backend: &BackendState, health: Health) {
        if backend.health.swap(health as u8, Ordering::Relaxed) != health as u8 {
            self.health_changed.notify_one();
        }
    }

    /// Whether the process is draining: answers then have `Connection: close`.
    pub fn draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Starts draining.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Requests in flight on all backends.
    pub fn in_flight(&self) -> i64 {
        let publishing = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        publishing
            .backends
            .values()
            .map(|backend| backend.in_flight.load(Ordering::Relaxed))
            .sum()
    }
}

impl Publishing {
    fn service(
        &mut self,
        route: &Route,
        old: Option<&Arc<PublishedService>>,
        now: Time,
    ) -> Arc<PublishedService> {
        let window = match old {
            Some(old) if old.window.counts_for(route) => old.window.clone(),
            _ => {
                let users = Users::under(route, old.map(|old| old.window.users()));
                let fresh = Window::new(route.mark, route.limits, route.ceilings, now);
                let compared = route.places(route.weight).is_some();
                let fresh = fresh.of(users).beside(compared);
                Arc::new(fresh.after(old.map(|old| &*old.window)))
            }
        };
        let mut states = |pool: Option<&Pool>| {
            let backends = pool.map(|pool| pool.backends.as_slice());
            backends
                .unwrap_or_default()
                .iter()
                .map(|backend| {
                    let key = (route.service.clone(), backend.id.clone());
                    let known = self.backends.entry(key);
                    let fresh = || Arc::new(BackendState::new(&backend.id, backend.addr));
                    let state = known.or_insert_with(fresh);
                    if state.addr != backend.addr {
                        // A container that was connected to its network again: its former address may belong to another
                        // one.
                        state.gone.store(true, Ordering::Relaxed);
                        *state = fresh();
                    }
                    let named = old.is_some_and(|old| {
                        let mut named = old.backends();
                        named.any(|named| Arc::ptr_eq(named, state))
                    });
                    if !named {
                        // It was not checked while no table named it.
                        state.health.store(Health::Unknown as u8, Ordering::Relaxed);
                    }
                    state.clone()
                })
                .collect()
        };
        let pools = Color::BOTH.map(|color| states(route.pool(color)));
        Arc::new(PublishedService {
            route: route.clone(),
            window,
            pools,
            baseline: states(route.baseline.as_ref()),
        })
    }

    /// Drops backends that no table names any more, once their last request has ended.
    fn forget_unused(&mut self, table: &Table) {
        self.backends.retain(|(service, id), backend| {
            let named = table.route(service).is_some_and(|route| {
                Color::BOTH
                    .iter()
                    .filter_map(|color| route.pool(*color))
                    .chain(route.baseline.as_ref())
                    .any(|pool| pool.backends.iter().any(|named| named.id == *id))
            });
            backend.gone.store(!named, Ordering::Relaxed);
            named || backend.in_flight.load(Ordering::Relaxed) > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::table::Backend;

    fn table(green: bool) -> Table {
        let pool = |addr: &str| Pool {
            release: addr.to_owned(),
            backends: vec![Backend {
                id: addr.to_owned(),
                addr: addr.parse().expect("an address"),
            }],
        };
        let route = Route {
            green: green.then(|| pool("127.0.0.1:2")),
            ..Route::at_rest("app", pool("127.0.0.1:1"))
        };
        Table {
            version: 0,
            routes: vec![route],
        }
    }

    #[test]
    fn a_backend_that_comes_again_is_checked_again() {
        let config = Config::parse("t.toml", "[service.app]\nblue = \"127.0.0.1:1\"\n");
        let board = SharedState::new(Arc::new(config.expect("a configuration")));
        board.publish(table(true), None, Time(0));
        let green = board.snapshot().services[0].pools[1][0].clone();
        board.set_health(&green, Health::Up);
        board.publish(table(true), None, Time(1));
        assert_eq!(green.health(), Health::Up);
        // An earlier request keeps it in memory.
        green.in_flight.store(1, Ordering::Relaxed);
        board.publish(table(false), None, Time(2));
        assert!(green.gone());
        board.publish(table(true), None, Time(3));
        let again = board.snapshot().services[0].pools[1][0].clone();
        assert!(Arc::ptr_eq(&green, &again), "its request is still counted");
        assert_eq!(again.health(), Health::Unknown);
        assert!(!again.gone());
    }
}
