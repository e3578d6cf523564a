//! The members of pools: fixed addresses and containers.
//!
//! [`static_pools`]: addresses from the file; their processes are started and stopped outside of shifter. [`docker`]:
//! containers, found by name or label, or created by shifter.

pub mod docker;
pub mod static_pools;
