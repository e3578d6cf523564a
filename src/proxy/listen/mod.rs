//! Accepting connections: sockets, the SYN filter, the PROXY protocol, draining and stopping.

pub mod bind;
pub mod listener;
pub mod proxy_protocol;
pub mod syn_filter;
