//! How a request moves: the data plane, on Pingora.
//!
//! A connection is accepted in [`listen`] and read through the streams of [`downstream`].
//! [`request`] handles one exchange, from its header to its line in the access log. [`routing`]
//! decides where it goes: service, colour and backend. [`upstream`] has what is known of backends
//! and of the connections to them. [`limits`] and [`access_log`] stand beside them.

pub mod access_log;
pub mod downstream;
pub mod limits;
pub mod listen;
pub mod request;
pub mod routing;
pub mod upstream;

pub use listen::bind::{BindError, Listeners, bind};
pub use listen::listener::Stopped;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::listen::listener::Server;
use crate::proxy::request::edge::Edge;
use crate::proxy::request::gateway::Gateway;
use crate::proxy::upstream::health_checks::Checks;
use crate::store::SharedState;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A data plane that serves clients.
pub struct Proxy {
    server: Server,
    edge: Arc<Edge>,
    _checks: Checks,
    lame_duck: Duration,
    deadline: Duration,
}

impl Proxy {
    /// Serves what the shared state publishes, on listeners that [`bind`] made.
    ///
    /// It moves requests on the runtime that it is called on.
    ///
    /// # Errors
    /// When the runtime does not take a listener, no client for health checks can be made, or the access
    /// log cannot be opened.
    pub fn start(
        board: &Arc<SharedState>,
        config: &Config,
        metrics: &Arc<Metrics>,
        listeners: Listeners,
    ) -> io::Result<Proxy> {
        let edge = Arc::new(Edge::new(metrics.clone(), config.log.access.as_ref())?);
        let gateway = Gateway::new(board.clone(), metrics.clone(), edge.clone());
        Ok(Proxy {
            edge,
            _checks: Checks::start(board),
            server: Server::open(gateway, board.clone(), metrics, listeners, config)?,
            lame_duck: config.proxy.shutdown.lame_duck,
            deadline: config.proxy.shutdown.deadline,
        })
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Reopens the file of the access log.
    pub fn reopen_log(&self) {
        self.edge.reopen();
    }

    /// The listeners, for a successor.
    pub fn listeners(&self) -> &Listeners {
        self.server.listeners()
    }

    /// Stops behind a successor that serves already: see [`Server::leave`].
    pub async fn leave(self) -> Stopped {
        self.server.leave(self.lame_duck, self.deadline).await
    }

    /// Stops without losing a request: see [`Server::stop`].
    pub async fn stop(self) -> Stopped {
        self.server.stop(self.lame_duck, self.deadline).await
    }
}
