//! Where a request goes: service, rule, sticky assignment, colour and backend, by the published
//! state.

pub mod affinity;
pub mod authority;
pub mod connection_memory;
pub mod cookie_signature;
pub mod decision;
pub mod failover;
pub mod load_balancer;
pub mod newcomers;
pub mod router;
pub mod rules;
pub mod snapshot;
pub mod sticky;
pub mod unjudged;
