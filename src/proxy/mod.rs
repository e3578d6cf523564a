//! How a request moves: the data plane, on Pingora.
//!
//! [`route`] finds the service, [`decide`] says where a request of it goes: by [`rule`], or by the caller's
//! point, which [`pin`] knows; [`choice`], [`balance`] and `affinity` find the backend;
//! [`guest`] is what a connection remembers of a newcomer.
//! [`gateway`] is what happens at each of Pingora's turning points, [`record`] what is known about a
//! request under way and how its end is counted, [`content`] which answers are compared. [`live`] is what the board published, in the shape
//! that requests read. [`http1`] and [`strict`] let only one reading of HTTP/1 through, [`edge`] is what
//! all users share. [`listener`] opens and closes the doors, [`checks`] asks backends how they are,
//! [`identity`] keeps requests from an address that may be another's.

pub mod access;
pub mod acme;
mod affinity;
pub mod alarm;
pub mod attempt;
pub mod balance;
pub mod bind;
pub mod budget;
pub mod checks;
pub mod choice;
mod classify;
pub mod clocked;
pub mod content;
pub mod crowd;
pub mod cut;
pub mod decide;
pub mod descriptors;
pub mod edge;
pub mod exchange;
mod failing;
pub mod forward;
pub mod gateway;
pub mod grammar;
pub mod grpc;
pub mod guest;
pub mod handshake;
pub mod http1;
pub mod identity;
pub mod lasting;
pub mod listener;
pub mod live;
pub mod mirror;
pub mod newcomers;
pub mod pace;
pub mod pin;
pub mod preamble;
pub mod record;
pub mod reply;
pub mod route;
pub mod rule;
pub mod scribe;
pub mod seal;
pub mod secure;
pub mod spoken;
pub mod strict;
pub mod tls;
pub mod tunnel;
pub mod unjudged;
mod unprocessed;
pub mod upgrade;
pub mod wire;

pub use bind::{BindError, Listeners, bind};
pub use listener::Stopped;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::checks::Checks;
use crate::proxy::edge::Edge;
use crate::proxy::gateway::Gateway;
use crate::proxy::listener::Doors;
use crate::store::Board;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// A data plane that serves users.
pub struct Proxy {
    doors: Doors,
    edge: Arc<Edge>,
    _checks: Checks,
    lame_duck: Duration,
    deadline: Duration,
}

impl Proxy {
    /// Serves what the board publishes, on listeners that [`bind`] made.
    ///
    /// It moves requests on the runtime that it is called on.
    ///
    /// # Errors
    /// When the runtime does not take a listener, no client for health checks can be made, or the access
    /// log cannot be opened.
    pub fn start(
        board: &Arc<Board>,
        config: &Config,
        metrics: &Arc<Metrics>,
        listeners: Listeners,
    ) -> io::Result<Proxy> {
        let edge = Arc::new(Edge::new(metrics.clone(), config.log.access.as_ref())?);
        let gateway = Gateway::new(board.clone(), metrics.clone(), edge.clone());
        Ok(Proxy {
            edge,
            _checks: Checks::start(board),
            doors: Doors::open(gateway, board.clone(), metrics, listeners, config)?,
            lame_duck: config.proxy.shutdown.lame_duck,
            deadline: config.proxy.shutdown.deadline,
        })
    }

    /// Connections of users that are open.
    pub fn connections(&self) -> usize {
        self.doors.connections()
    }

    /// Opens the access log's file anew.
    pub fn reopen_log(&self) {
        self.edge.reopen();
    }

    /// The listeners themselves, for a successor.
    pub fn listeners(&self) -> &Listeners {
        self.doors.listeners()
    }

    /// Ends behind a successor that serves already: see [`Doors::leave`].
    pub async fn leave(self) -> Stopped {
        self.doors.leave(self.lame_duck, self.deadline).await
    }

    /// Stops without losing a request: see [`Doors::stop`].
    pub async fn stop(self) -> Stopped {
        self.doors.stop(self.lame_duck, self.deadline).await
    }
}
