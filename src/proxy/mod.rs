//! How a request moves: the data plane, on Pingora.
//!
//! [`route`] finds the service, [`pin`] the caller's point, [`choice`] and [`balance`] the backend.
//! [`gateway`] is what happens at each of Pingora's turning points, [`record`] what is known about a
//! request under way and how its end is counted. [`live`] is what the board published, in the shape
//! that requests read. [`listener`] opens and closes the doors, [`probe`] asks backends how they are.

pub mod balance;
pub mod choice;
pub mod clocked;
pub mod descriptors;
pub mod forward;
pub mod gateway;
pub mod handshake;
pub mod listener;
pub mod live;
pub mod pin;
pub mod probe;
pub mod record;
pub mod reply;
pub mod route;
pub mod upgrade;

pub use listener::{BindError, Stopped, bind};

use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::clocked::HEADER_DEADLINE;
use crate::proxy::gateway::Gateway;
use crate::proxy::listener::Doors;
use crate::proxy::probe::Probes;
use crate::store::Board;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

/// A data plane that serves users.
pub struct Proxy {
    doors: Doors,
    _probes: Probes,
    lame_duck: Duration,
    deadline: Duration,
}

impl Proxy {
    /// Serves what the board publishes, on listeners that [`bind`] made.
    ///
    /// It moves requests on the runtime that it is called on.
    ///
    /// # Errors
    /// When the runtime does not take a listener, or no client for health checks can be made.
    pub fn start(
        board: &Arc<Board>,
        config: &Config,
        metrics: &Arc<Metrics>,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Proxy> {
        let gateway = Gateway::new(board.clone(), metrics.clone());
        Ok(Proxy {
            _probes: Probes::start(board)?,
            doors: Doors::open(
                gateway,
                board.clone(),
                metrics,
                listeners,
                config,
                HEADER_DEADLINE,
            )?,
            lame_duck: config.proxy.shutdown.lame_duck,
            deadline: config.proxy.shutdown.deadline,
        })
    }

    /// Connections of users that are open.
    pub fn connections(&self) -> usize {
        self.doors.connections()
    }

    /// Stops without losing a request: see [`Doors::stop`].
    pub async fn stop(self) -> Stopped {
        self.doors.stop(self.lame_duck, self.deadline).await
    }
}
