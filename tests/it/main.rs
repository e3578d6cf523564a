//! The program from outside, over real sockets: one binary, so that it is linked once.

// Helpers of tests are tests too: a fault in them is a failed test.
#![allow(clippy::unwrap_used, clippy::expect_used, unreachable_pub)]

mod crash;
mod lost;
mod process;
mod proxy;
mod support;
