//! shifter: blue-green and canary rollouts that judge themselves.

pub mod config;
pub mod core;
pub mod exit;
