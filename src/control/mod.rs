//! How a rollout moves: reads counts, asks the judge, performs the actions of the state machine.
//!
//! The controller has a thread and a runtime of its own, so that a slow disk or a panic in it can
//! never hold up traffic. It talks to the data plane only through the store.

mod baseline;
mod clear;
mod containers;
pub mod controller;
pub mod crash;
mod discover;
pub mod docker_watcher;
pub mod drill;
mod endpoint;
mod evidence;
mod finish;
pub mod gauges;
mod green;
pub mod handle;
pub mod health;
mod hooks;
mod identity;
pub mod messages;
pub mod mirrored;
mod orders;
mod probes;
mod program;
pub mod publish;
mod readiness;
mod reload;
mod resume;
pub mod run;
pub mod service_state;
pub mod smoke;
mod sources;
pub mod step;
pub mod timeline;
mod told;
mod usage;
pub mod view;
mod waiting;
pub mod warm;

pub use controller::Controller;
pub use handle::{
    Answer, CommandError, CommandOutcome, ControlCommand, Handle, Query, RolloutRequest,
};
