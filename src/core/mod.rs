//! What shifter decides, as plain values. No I/O, no clock, no randomness, no threads.
//!
//! Everything here can be simulated for thousands of rollouts a second, and is.

pub mod analysis;
pub mod class;
pub mod event;
pub mod fault;
pub mod judge;
pub mod monitors;
pub mod outcome;
pub mod phase;
pub mod plan;
pub mod probes;
pub mod rollout;
pub mod routes;
pub mod sequential;
pub mod source;
pub mod stats;
pub mod table;
pub mod time;
pub mod usage;
pub mod weight;
