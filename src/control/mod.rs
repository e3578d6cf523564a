//! How a rollout moves: reads counts, asks the judge, performs what the machine decides.
//!
//! The controller has a thread and a runtime of its own, so that a slow disk or a panic in it can
//! never hold up traffic. It talks to the data plane only through the store.

mod baseline;
mod clear;
mod containers;
pub mod controller;
pub mod crash;
mod discover;
pub mod dock;
pub mod drill;
mod endpoint;
mod evidence;
pub mod expose;
mod finish;
mod green;
pub mod handle;
pub mod health;
mod hooks;
mod identity;
pub mod ledger;
pub mod mirrored;
pub mod narrate;
mod orders;
mod probes;
mod program;
mod reload;
mod resume;
pub mod run;
mod share;
mod show;
pub mod smoke;
mod sources;
mod told;
mod usage;
pub mod view;
pub mod ward;
pub mod warm;

pub use controller::Controller;
pub use handle::{Answer, Handle, Order, Query, Receipt, Refusal};
