//! A service for unit tests: with a rollout, checked backends and containers, without an engine, a socket or a clock.

use crate::config::{Access, Config};
use crate::control::api::message::Message;
use crate::control::report::entry::Entry;
use crate::control::service::state::ServiceState;
use crate::control::tasks::context::TaskContext;
use crate::core::rollout::{Action, Event, Rollout};
use crate::core::table::{Backend, Color, Pool, Table};
use crate::core::time::Time;
use crate::driver::docker::Container;
use crate::driver::docker::Engine;
use crate::store::SharedState;
use crate::store::journal::{SavedRollout, SavedService};
use crate::store::shared_state::{BackendState, Health, PublishedService};
use std::sync::Arc;
use tokio::sync::mpsc;

/// The number of the rollout.
pub(in crate::control) const ROLLOUT: i64 = 7;

/// Pools of two addresses.
pub(in crate::control) const ADDRESSES: &str = "[service.app]\nblue = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\ngreen = [\"127.0.0.1:3\", \"127.0.0.1:4\"]\n";

/// Pools of containers.
pub(in crate::control) const CONTAINERS: &str =
    "[service.app]\nblue = { container = \"app\", port = 80 }\n";

/// A service, and the table that it is published in.
pub(in crate::control) struct Fixture {
    pub(in crate::control) state: ServiceState,
    pub(in crate::control) context: TaskContext,
    board: SharedState,
    _mailbox: mpsc::Sender<Message>,
}

impl Fixture {
    /// A service without a rollout.
    pub(in crate::control) fn at_rest(text: &str) -> Fixture {
        let config = Config::parse("t.toml", text).expect("a configuration");
        let service = Arc::new(config.services[0].clone());
        let (mailbox, _) = mpsc::channel(1);
        let context = TaskContext::new(
            mailbox.downgrade(),
            Engine::new(None),
            Access::Manage,
            "test".to_owned(),
        );
        let fixture = Fixture {
            state: ServiceState::new(service, SavedService::default()),
            context,
            board: SharedState::new(Arc::new(config)),
            _mailbox: mailbox,
        };
        fixture.publish();
        fixture
    }

    /// A service with a rollout that has just begun.
    pub(in crate::control) fn starting(text: &str) -> Fixture {
        let mut fixture = Fixture::at_rest(text);
        let state = &mut fixture.state;
        let green = match state.is_docker() {
            true => pool(&["10.0.0.3:80"]),
            false => pool(&["127.0.0.1:3", "127.0.0.1:4"]),
        };
        state.prepare_route(green);
        let (rollout, _) = Rollout::start(state.plan(None), Time(0));
        let saved = SavedRollout {
            id: ROLLOUT,
            service: state.route.service.clone(),
            started_at: String::new(),
            ended_at: None,
            strategy: "canary".to_owned(),
            from: "1".to_owned(),
            to: "2".to_owned(),
            outcome: None,
            reason: None,
            state: String::new(),
            evidence: None,
        };
        state.begin(saved, rollout, &[], false, 0);
        fixture.publish();
        fixture
    }

    /// A service with a green that has its first users since this time.
    pub(in crate::control) fn shifting(text: &str, now: Time) -> Fixture {
        let mut fixture = Fixture::starting(text);
        fixture.drive(Event::Ready, now);
        assert!(fixture.state.route.weight.as_basis_points() > 0);
        fixture
    }

    /// Gives the state machine an event; green's share follows.
    pub(in crate::control) fn drive(&mut self, event: Event, now: Time) {
        let run = self.state.run.as_mut().expect("a rollout");
        for action in run.trial.on(event, now) {
            if let Action::SetWeight(weight) = action {
                self.state.weigh(weight);
            }
        }
        self.publish();
    }

    fn publish(&self) {
        let routes = vec![self.state.route.clone()];
        let table = Table { version: 0, routes };
        self.board.publish(table, None, Time(0));
    }

    /// The service as it is published.
    pub(in crate::control) fn published(&self) -> Arc<PublishedService> {
        self.board.snapshot().services[0].clone()
    }

    /// The backends of a pool.
    pub(in crate::control) fn backends(&self, color: Color) -> Vec<Arc<BackendState>> {
        self.published().pools[color.index()].clone()
    }

    /// Sets the health of the backends of a pool, in their order.
    pub(in crate::control) fn check(&self, color: Color, health: &[Health]) {
        let backends = self.backends(color);
        assert_eq!(backends.len(), health.len());
        for (backend, health) in backends.iter().zip(health) {
            self.board.set_health(backend, *health);
        }
    }
}

/// A pool of these addresses.
pub(in crate::control) fn pool(addresses: &[&str]) -> Pool {
    let backend = |addr: &&str| Backend {
        id: (*addr).to_owned(),
        addr: addr.parse().expect("an address"),
    };
    Pool {
        release: "2".to_owned(),
        backends: addresses.iter().map(backend).collect(),
    }
}

/// A container in this state of the engine.
pub(in crate::control) fn container(id: &str, state: serde_json::Value) -> Container {
    let inspect = serde_json::json!({
        "Id": id, "Name": format!("/{id}"), "State": state, "Config": { "Image": "app:1" },
        "NetworkSettings": { "Networks": { "net": { "IPAddress": "10.0.0.3" } } }
    });
    Container::of(&serde_json::from_value(inspect).expect("an answer")).expect("a container")
}

/// A container that runs.
pub(in crate::control) fn running(id: &str) -> Container {
    container(
        id,
        serde_json::json!({ "Running": true, "StartedAt": "now" }),
    )
}

/// The texts of lines.
pub(in crate::control) fn texts(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}
