//! The program from outside, over real sockets: one binary, so that it is linked once.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::too_many_lines,
    unreachable_pub
)]

mod crash;
mod dashboard_queries;
mod docker;
mod lost;
mod metrics;
mod observed;
mod process;
mod prometheus;
mod proxy;
mod reload;
mod rollback;
mod support;
mod upstreams;
mod verdicts;
