//! The admin interface: the HTTP API on a unix socket and on TCP, and the client for it.
//!
//! It decides nothing: every change is an order to the controller, every fact comes from the
//! controller.

pub mod api;
pub mod body;
pub mod client;
mod events;
mod extract;
mod guard;
pub mod problem;
pub mod server;

pub use api::App;
pub use client::{Client, ClientError};
pub use server::{BindError, Bound};
