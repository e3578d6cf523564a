//! Where containers live: what a pool is made of.
//!
//! So far there is one way: fixed addresses that somebody else starts and stops.

pub mod docker;
pub mod fixed;
