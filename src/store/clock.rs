//! The process's monotonic clock, the only one that decisions are made by.

use crate::core::time::Time;
use std::sync::OnceLock;
use std::time::Instant;

static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// The monotonic clock of this process.
#[derive(Clone, Copy, Debug)]
pub struct Clock;

impl Clock {
    /// Milliseconds since the process first asked.
    pub fn now() -> Time {
        Clock::at(Instant::now())
    }

    /// A known instant on the same clock; zero for instants before the first question.
    pub fn at(instant: Instant) -> Time {
        let origin = *ORIGIN.get_or_init(Instant::now);
        let millis = instant.saturating_duration_since(origin).as_millis();
        Time(u64::try_from(millis).unwrap_or(u64::MAX))
    }
}
