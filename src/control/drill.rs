//! The rehearsal of a rollback: blue's own backends as green, up and back, measured.
//!
//! No user can be harmed by it, because both colours are the same backends.

use serde::{Deserialize, Serialize};

/// What a drill measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DrillReport {
    /// Milliseconds from the decision until every new request went to green.
    pub up_ms: f64,
    /// Milliseconds from the decision until every new request went to blue.
    pub back_ms: f64,
    /// Requests that green was given in between.
    pub green_requests: u64,
    /// Of these, failed ones.
    pub green_failed: u64,
    /// Requests that were still under way at the way back; they ended where they were.
    pub in_flight_at_return: i64,
}

impl DrillReport {
    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "up in {:.2} ms, back in {:.2} ms; green served {} requests ({} failed), {} were in flight at the way back and ended where they were",
            self.up_ms, self.back_ms, self.green_requests, self.green_failed, self.in_flight_at_return
        )
    }
}
