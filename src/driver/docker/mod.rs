//! Containers: their state, the desired state, and the calls to the engine that lead from one to the other.
//!
//! [`clone`] makes green's settings from blue's, [`labels`] mark the containers of this shifter, [`container`] reads
//! the engine's answers: all without I/O, so that actions can be shown before they are done. [`engine`] makes the
//! calls; [`watcher`] follows the containers, [`create`] creates green, [`cleanup`] removes what is no longer needed.

pub mod cleanup;
pub mod clone;
pub mod container;
mod context;
pub mod create;
pub mod credentials;
pub mod discovery;
mod endpoints;
pub mod engine;
mod exec;
mod fault;
mod host_settings;
pub mod images;
mod injected;
pub mod labels;
pub mod lookalikes;
pub mod members;
pub mod names;
mod near;
mod network;
pub mod oneshot;
mod podman;
pub mod pools;
pub mod portrait;
pub mod spoken;
pub mod strangers;
pub mod tasks;
pub mod watcher;

#[cfg(test)]
mod fates;

pub use container::{Container, State};
pub use engine::{Engine, EngineError};
pub use spoken::Spoken;
