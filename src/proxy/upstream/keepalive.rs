//! TCP keepalive for silent connections, on both sides.

use std::time::Duration;

/// The idle time after which TCP probes a silent connection.
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// The interval of the probes, until the connection is given up.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
