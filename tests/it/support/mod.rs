//! Raw sockets, scripted backends, a data plane without a controller, and the whole program as a process.

pub mod apps;
pub mod backend;
pub mod client;
pub mod docker;
pub mod escaped;
pub mod fake;
pub mod filter;
pub mod frames;
pub mod h2;
pub mod load;
pub mod nginx;
pub mod rig;
pub mod shifter;
pub mod strict;
pub mod tls;
pub mod websocket;

use std::time::{Duration, Instant};

/// No test waits longer for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds; says what it waited for when it never does.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
