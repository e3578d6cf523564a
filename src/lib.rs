//! shifter: blue-green and canary rollouts that judge themselves.

pub mod core;
