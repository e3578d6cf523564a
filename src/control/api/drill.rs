//! The drill, a rehearsal of a rollback: blue's own backends as green, up and back, measured.
//!
//! No user can be harmed by it, because both colours are the same backends.

use crate::core::stats::SpanStats;
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// The measurements of a drill.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillReport {
    /// Milliseconds from the decision until every new request went to green.
    pub up_ms: f64,
    /// Milliseconds from the decision until every new request went to blue.
    pub back_ms: f64,
    /// Requests that green got in between.
    pub green_requests: u64,
    /// Failed requests, of those in `green_requests`.
    pub green_failed: u64,
    /// Requests that were still in flight at the way back; they ended where they were.
    pub in_flight_at_return: i64,
}

impl DrillReport {
    /// One line for people.
    pub fn line(&self) -> String {
        if self.green_requests == 0 {
            return "no request came while green was up: the switch itself took its way, but nothing was rehearsed. Try again under traffic".to_owned();
        }
        format!(
            "up in {:.2} ms, back in {:.2} ms; green served {} requests ({} failed), {} were in flight at the way back and ended where they were",
            self.up_ms,
            self.back_ms,
            self.green_requests,
            self.green_failed,
            self.in_flight_at_return
        )
    }
}

/// Requests after which a drill ends.
const ENOUGH: u64 = 200;

/// The longest that a drill waits for requests.
const PATIENCE: Duration = Duration::from_secs(3);

/// A drill under way.
pub(crate) struct Drill {
    /// The name of the service.
    pub(crate) service: String,
    up: Instant,
    up_ms: f64,
    seen: SpanStats,
}

impl Drill {
    /// A drill with a way up that was requested at `asked` and has just been published.
    pub(crate) fn new(service: String, asked: Instant) -> Drill {
        Drill {
            service,
            up: Instant::now(),
            up_ms: millis(asked),
            seen: SpanStats::default(),
        }
    }

    /// Adds green's counts.
    pub(crate) fn see(&mut self, span: &SpanStats) {
        self.seen.merge(span);
    }

    /// Whether there were enough requests, or it took too long.
    pub(crate) fn ripe(&self) -> bool {
        self.seen.requests >= ENOUGH || self.up.elapsed() >= PATIENCE
    }

    /// The measurements, right after the way back was published.
    pub(crate) fn report(self, asked: Instant, in_flight: i64) -> DrillReport {
        DrillReport {
            up_ms: self.up_ms,
            back_ms: millis(asked),
            green_requests: self.seen.requests,
            green_failed: self.seen.failed,
            in_flight_at_return: in_flight,
        }
    }
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}
