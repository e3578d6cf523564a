//! Worlds that the judge is measured in: traffic rougher than that of a forecast, with faults, patterns and users.
//!
//! Only with the feature `worlds`: for the example `worlds` and the statistical tests, and no part of the program. Equal seeds give
//! equal results.

pub mod canary;
pub mod fault;
mod latency;
pub mod patterns;
pub mod schedule;
pub mod traffic;
pub mod users;
pub mod world;
