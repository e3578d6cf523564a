//! A data plane with a board, and no controller: tests publish what they want routed.

use crate::support::eventually;
use shifter::config::Config;
use shifter::core::stats::Histogram;
use shifter::core::table::{Color, Route, Table};
use shifter::core::users::UserTick;
use shifter::core::weight::Weight;
use shifter::metrics::Metrics;
use shifter::proxy::{Listeners, Proxy, Stopped};
use shifter::store::shared_state::BackendState;
use shifter::store::window::Cursor;
use shifter::store::{Clock, SharedState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

pub struct Rig {
    pub addr: SocketAddr,
    tls: Option<SocketAddr>,
    pub board: Arc<SharedState>,
    pub metrics: Arc<Metrics>,
    pub proxy: Option<Proxy>,
    pub table: Table,
}

/// What the judge would read of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    pub requests: u64,
    pub failed: u64,
}

/// Pools as TOML lists, of one service `app` that answers for everything.
pub fn pools(blue: &[SocketAddr], green: &[SocketAddr]) -> String {
    let list = |addrs: &[SocketAddr]| {
        let quoted: Vec<String> = addrs.iter().map(|addr| format!("\"{addr}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let green = if green.is_empty() {
        String::new()
    } else {
        format!("green = {}\n", list(green))
    };
    format!("[service.app]\nblue = {}\n{green}", list(blue))
}

/// Checks so rare that only the first one happens.
pub const RARE_CHECKS: &str = "[service.app.health]\ninterval = \"1h\"\n";

impl Rig {
    /// One service `app`; `more` is TOML that follows its pools.
    pub async fn app(blue: &[SocketAddr], green: &[SocketAddr], more: &str) -> Rig {
        Rig::start(&format!("{}{more}\n{RARE_CHECKS}", pools(blue, green))).await
    }

    /// A data plane on a free port; all weights are 0.
    pub async fn start(toml: &str) -> Rig {
        let config =
            Arc::new(Config::parse("test.toml", toml).unwrap_or_else(|error| panic!("{error:?}")));
        let routes = config
            .services
            .iter()
            .map(|service| Route {
                service: service.name.clone(),
                rollout: 0,
                blue: service.blue.pool(),
                green: service.green.as_ref().map(|green| green.pool()),
                weight: Weight::NONE,
                ramp: None,
                salt: 7,
                epoch: 1,
                limits: None,
                ceilings: Default::default(),
                withheld: false,
                baseline: None,
                mark: 1,
            })
            .collect();
        let table = Table { version: 0, routes };
        let board = Arc::new(SharedState::new(config.clone()));
        board.publish(table.clone(), None, Clock::now());
        let metrics = Arc::new(Metrics::new().unwrap());
        let any = "127.0.0.1:0".parse().unwrap();
        let wanted = 1 + usize::from(config.proxy.tls.is_some());
        let listeners = shifter::proxy::bind(&vec![any; wanted], Listeners::default()).unwrap();
        let at = |i: usize| listeners.all.get(i).map(|one| one.local_addr().unwrap());
        let (addr, tls) = (at(0).unwrap(), at(1));
        let proxy = Proxy::start(&board, &config, &metrics, listeners).unwrap();
        Rig {
            addr,
            tls,
            board,
            metrics,
            proxy: Some(proxy),
            table,
        }
    }

    /// Where it listens with TLS.
    pub fn tls(&self) -> SocketAddr {
        self.tls.expect("a [proxy.tls]")
    }

    /// Publishes a change of the service `app`.
    pub fn publish(&mut self, change: impl FnOnce(&mut Route)) {
        let route = self
            .table
            .routes
            .iter_mut()
            .find(|route| route.service == "app")
            .unwrap();
        change(route);
        self.board.publish(self.table.clone(), None, Clock::now());
    }

    pub fn weigh(&mut self, percent: u16) {
        self.publish(|route| route.weight = Weight::percent(percent).unwrap());
    }

    /// What the judge would have read of a pool of `app` by now.
    pub fn judged(&self, color: Color) -> Judged {
        let snapshot = self.board.snapshot();
        let window = &snapshot.service("app").unwrap().window;
        let later = Clock::now().after(Duration::from_secs(2));
        let span = &Cursor::new(window).read(window, later).spans[color.index()];
        Judged {
            requests: span.requests,
            failed: span.failed,
        }
    }

    /// What the judge would have read of a pool's users by now; reading takes them away.
    pub fn users(&self, color: Color) -> UserTick {
        let snapshot = self.board.snapshot();
        let window = &snapshot.service("app").unwrap().window;
        let later = Clock::now().after(Duration::from_secs(1));
        let tick = Cursor::new(window).read(window, later).ticks.remove(0);
        match color {
            Color::Blue => tick.blue.users.unwrap(),
            Color::Green => tick.green.users.unwrap(),
        }
    }

    /// The times of a pool's requests so far, as the judge has them; reading takes them away.
    pub fn latency(&self, color: Color) -> Histogram {
        let snapshot = self.board.snapshot();
        let window = &snapshot.service("app").unwrap().window;
        let later = Clock::now().after(Duration::from_secs(2));
        let reading = Cursor::new(window).read(window, later);
        reading.spans[color.index()].latency.clone()
    }

    /// Waits until so many requests of a pool were counted.
    pub async fn judged_to_be(&self, color: Color, requests: u64, failed: u64) {
        let expected = Judged { requests, failed };
        let mut last = self.judged(color);
        let deadline = std::time::Instant::now() + crate::support::PATIENCE;
        while last != expected {
            assert!(
                std::time::Instant::now() < deadline,
                "{color}: {last:?}, not {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
            last = self.judged(color);
        }
    }

    /// The value of one series, by its whole name with labels.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.render();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}"))
            .parse()
            .unwrap()
    }

    /// Failed attempts of a pool, by reason.
    pub fn errors(&self, color: Color, reason: &str) -> f64 {
        self.metric(&format!(
            "shifter_upstream_errors_total{{pool=\"{color}\",reason=\"{reason}\",service=\"app\"}}"
        ))
    }

    pub async fn idle(&self) {
        eventually("nothing is in flight", || self.board.in_flight() == 0).await;
    }

    /// Waits until green has no request left.
    pub async fn idle_green(&self) {
        let green = self.board.snapshot().service("app").unwrap().pools[1].clone();
        let busy = |backend: &Arc<BackendState>| backend.in_flight.load(Ordering::SeqCst) > 0;
        eventually("green is idle", || !green.iter().any(busy)).await;
    }

    pub async fn stop(&mut self) -> Stopped {
        self.proxy.take().unwrap().stop().await
    }
}
