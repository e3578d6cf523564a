//! Containers: what runs, what is to run, and the calls to the engine that take one to the other.
//!
//! [`clone`] makes green's settings from blue's, [`labels`] say what is ours: both pure, so that what
//! would be created can be shown before anything is. [`engine`] asks the engine.

pub mod clone;
pub mod engine;
pub mod labels;
