//! How a rollout moves: reads counts, asks the judge, performs the actions of the state machine.
//!
//! The controller has a thread and a runtime of its own, so that a slow disk or a panic in it can
//! never hold up traffic. It talks to the data plane only through the store.
//!
//! # Layout
//!
//! The files here are the [`Controller`], in parts: the loop, commands, the start and the end of a rollout, reload, and what
//! is published. It alone writes the table and the journal. The folders are components that do not know it: they own their
//! state, and say by [`effects::Effects`] what is to follow. From top to bottom, each names only what is below it:
//!
//! | folder | content |
//! |---|---|
//! | `docker` | following containers, making green and the baseline, cleanup, evidence |
//! | `checks` | what green must pass before it gets users: warm-up, smoke checks, hooks |
//! | `service` | one service: its entry in the table, its rollout, its health |
//! | `signals` | what tells about green besides users' requests: probes, sources, resource usage, mirrored requests |
//! | `tasks` | what background work needs: the mailbox, the engine, programs, addresses |
//! | `report` | what people are told, and the timeline that keeps it |
//! | `api` | what the rest of the process may ask and see |

mod actions;
pub mod api;
mod apply;
pub mod checks;
pub mod controller;
pub mod crash;
pub mod docker;
mod drills;
pub mod effects;
mod finish;
mod observe;
mod orders;
pub mod publish;
mod reload;
pub mod report;
mod results;
mod resume;
pub mod service;
pub mod signals;
pub mod tasks;
mod waiting;

pub use api::command::{
    Answer, CommandError, CommandOutcome, ControlCommand, Query, RolloutRequest,
};
pub use api::handle::Handle;
pub use api::{drill, view};
pub use controller::Controller;
pub use report::timeline;
pub use service::state::RunState;
