//! shifter's decisions, as plain values. No I/O, no clock, no randomness, no threads.
//!
//! Thousands of rollouts per second can be simulated with this code.

pub mod analysis;
pub mod answers;
pub mod baseline;
pub mod class;
pub mod contents;
pub mod event;
pub mod fault;
pub mod fnv;
pub mod identity;
pub mod judge;
pub mod limit;
pub mod monitors;
pub mod newcomer;
pub mod outcome;
pub mod path;
pub mod phase;
pub mod plan;
pub mod probes;
pub mod rollout;
pub mod routes;
pub mod seat;
pub mod sequential;
pub mod source;
pub mod stats;
pub mod switchback;
pub mod table;
pub mod time;
pub mod usage;
pub mod users;
pub mod weight;
