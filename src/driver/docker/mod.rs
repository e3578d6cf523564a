//! Containers: what runs, what is to run, and the calls to the engine that take one to the other.
//!
//! [`clone`] makes green's settings from blue's, [`labels`] say what is ours, [`container`] reads what
//! the engine shows: all pure, so that what would be done can be shown before anything is. [`engine`]
//! asks the engine; [`roster`] follows who is there, [`raise`] makes green, [`sweep`] clears away.

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
