//! Where containers live: what a pool is made of.
//!
//! [`fixed`]: addresses from the file, whose processes are started and stopped elsewhere. [`docker`]: containers, found by name
//! or label, or made by shifter.

pub mod docker;
pub mod static_pools;
