//! The process's monotonic clock, the only clock for decisions.

use crate::core::time::Time;
use std::sync::OnceLock;
use std::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// The monotonic clock of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Milliseconds since the first call in this process.
    pub fn now() -> Time {
        Clock::at(Instant::now())
    }

    /// A known instant on this clock; zero for instants before the first call.
    pub fn at(instant: Instant) -> Time {
        let origin = *ORIGIN.get_or_init(Instant::now);
        let millis = instant.saturating_duration_since(origin).as_millis();
        Time(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
