//! How long a silent TCP connection is believed in, on both sides.

use std::time::Duration;

/// TCP asks a silent connection whether it lives after this time,
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);

/// and so often, before it is given up.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
