//! One exchange from its header to its end: Pingora's callbacks, headers, retries, classification, counting.

pub mod attempt;
pub mod classify;
pub mod content;
pub mod context;
pub mod edge;
pub mod exchange;
pub mod failure;
pub mod gateway;
pub mod headers;
pub mod identity;
pub mod mirror;
pub mod reply;
pub mod stream_kind;
pub mod tunnel_drain;
pub mod unprocessed;
