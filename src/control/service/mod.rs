//! One service as the controller knows it: its entry in the table, its rollout, its containers, and their health.
//!
//! Nothing here publishes or records: functions change the state of one service and return what is to follow.

pub mod baseline;
pub mod containers;
#[cfg(test)]
pub(in crate::control) mod fixture;
pub mod gauges;
pub mod health;
pub mod identity;
pub mod observed;
pub mod readiness;
pub mod refusal;
pub mod run;
pub mod signals;
pub mod state;
pub mod status;
pub mod step;
pub mod told;
