//! Simulated rollouts: what a plan can find and how long it takes, and how far two equal versions differ.

pub mod bootstrap;
pub mod forecast;
pub mod outlook;
#[cfg(feature = "worlds")]
pub mod worlds;
