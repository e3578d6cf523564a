//! Signals on green besides users' requests: probes, other sources, resource usage, mirrored requests.
//!
//! Each decides when to ask and what an answer comes to; none knows the service or the controller. `service` says
//! when they are asked.

pub mod mirrored;
pub mod probes;
pub mod sources;
pub mod usage;
