//! Gross slowness: requests that take more than ten times blue's median. They count from the first second of a raised
//! share, where all other latency waits for its grace; in green's first share they wait, too.

use super::words::{counted, milliseconds};
use super::{Metric, Policy};
use crate::core::sequential::{Block, FailProcess};
use crate::core::stats::{Limits, Tick};
use serde::{Deserialize, Serialize};

/// The evidence that green is grossly slow more often than blue: one limit for both, tolerated odds as for errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Gross {
    fail: FailProcess,
    open: Block,
    seen: Block,
}

/// The result on gross slowness. Counts are of the whole rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrossFinding {
    /// Blue's requests while it served beside green.
    pub blue_requests: u64,
    /// Blue's grossly slow requests.
    pub blue_bad: u64,
    /// Green's requests.
    pub green_requests: u64,
    /// Green's grossly slow requests.
    pub green_bad: u64,
    /// Evidence that green is worse, as a natural logarithm, in nats.
    pub ln_e: f64,
}

impl GrossFinding {
    /// Green against blue, for people: `green 92% above ten times blue's median (52 ms) (46 of 50) against blue 0% (0 of 950)`.
    pub(super) fn words(&self, limits: Option<&Limits>) -> String {
        let (green, green_of) = counted(self.green_bad, self.green_requests);
        let (blue, blue_of) = counted(self.blue_bad, self.blue_requests);
        let limit = limits.map_or_else(String::new, |limits| {
            format!(" ({})", milliseconds(limits.gross()))
        });
        format!(
            "green {green} above ten times blue's median{limit} ({green_of}) against blue {blue} ({blue_of})"
        )
    }
}

impl Gross {
    pub(super) fn new(policy: &Policy) -> Gross {
        let err = Metric::Err as usize;
        let (odds, ppm) = (policy.omega0[err], policy.delta0_ppm[err]);
        Gross {
            fail: FailProcess::new(policy.betting(Metric::Err), odds, ppm),
            open: Block::default(),
            seen: Block::default(),
        }
    }

    /// Takes a second beside blue; a block closes once each pool had a request in it.
    pub(super) fn tick(&mut self, tick: &Tick) {
        let bad = |slow: u64, timed: u64| slow.min(timed);
        let second = Block {
            seconds: 1,
            blue: tick.blue.timed,
            blue_bad: bad(tick.blue.slow_gross, tick.blue.timed),
            green: tick.green.timed,
            green_bad: bad(tick.green.slow_gross, tick.green.timed),
        };
        super::metric_test::add(&mut self.seen, &second);
        super::metric_test::add(&mut self.open, &second);
        if self.open.blue > 0 && self.open.green > 0 {
            self.fail.block(&self.open);
            self.open = Block::default();
        }
    }

    /// Another share begins: an open block would mix two shares.
    pub(super) fn start_share(&mut self) {
        self.open = Block::default();
    }

    pub(super) fn ln_e(&self) -> f64 {
        self.fail.ln_e()
    }

    pub(super) fn finding(&self) -> GrossFinding {
        GrossFinding {
            blue_requests: self.seen.blue,
            blue_bad: self.seen.blue_bad,
            green_requests: self.seen.green,
            green_bad: self.seen.green_bad,
            ln_e: self.ln_e(),
        }
    }
}
