//! The program from outside, over real sockets: one binary, so that it is linked once.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub
)]

mod acme;
mod affinity;
mod answers;
mod asked;
mod baseline;
mod content;
mod corpus;
mod counted;
mod crash;
mod dashboard_queries;
mod docker;
mod downgrade;
mod edge;
mod handover;
mod http2;
mod identity;
mod lost;
mod metrics;
mod mirror;
mod observed;
mod own;
mod probes;
mod process;
mod prometheus;
mod proxy;
mod reaper;
mod reload;
mod rollback;
mod routing;
mod sources;
mod sticky;
mod streams;
mod support;
mod switchback;
mod tls;
mod unjudged;
mod unusable;
mod upstreams;
mod verdicts;
