//! shifter: blue-green and canary rollouts that judge themselves.
//!
//! The map of the crate is `ARCHITECTURE.md`; `tests/architecture.rs` holds it against the code.

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod core;
pub mod daemon;
pub mod driver;
pub mod exit;
pub mod metrics;
pub mod proxy;
pub mod simulate;
pub mod store;
pub mod visit;
