//! What is known of one service's containers, and of a baseline.

use crate::control::report::problems::ReportedProblems;
use crate::core::stats::Histogram;
use crate::core::table::{Color, Pool};
use crate::core::time::Time;
use crate::driver::docker::Container;
use crate::driver::docker::names::Moving;
use crate::store::window::Reading;
use std::collections::VecDeque;
use std::time::Instant;
use tokio::task::AbortHandle;

/// Seconds covered by the rate in the view.
const RECENT: usize = 10;

/// The observed state of the baseline of one rollout.
#[derive(Debug, Default)]
pub struct ObservedBaseline {
    /// Since when all of the baseline has been healthy without a break.
    pub(in crate::control) well_since: Option<Time>,
    /// The times of its answers in the last seconds.
    pub(in crate::control) recent: VecDeque<Histogram>,
}

impl ObservedBaseline {
    /// Adds a reading.
    pub fn read(&mut self, reading: &Reading) {
        if reading.ticks.is_empty() {
            return;
        }
        self.recent.push_back(reading.baseline.clone());
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }
}

/// The state of one service's containers.
#[derive(Default)]
pub struct ObservedContainers {
    /// The containers of blue and green when last seen; `None` before.
    pub containers: [Option<Vec<Container>>; 2],
    /// Why a pool has ended, according to the engine.
    pub fallen: [Option<String>; 2],
    /// A rollout waits for a look that tells whether its containers were replaced.
    pub(in crate::control) restart_due: bool,
    /// The pools of a rollout as they were saved, until they are seen again.
    pub(in crate::control) resumed: Option<[Pool; 2]>,
    /// Whether a cleanup is due.
    pub(in crate::control) sweep_due: bool,
    /// When a cleanup is due without another reason.
    pub(in crate::control) next_sweep: Option<Instant>,
    pub(in crate::control) raising: Option<AbortHandle>,
    /// The containers of the baseline when last seen; `None` before.
    pub(in crate::control) baseline: Option<Vec<Container>>,
    /// Why the baseline has ended, according to the engine.
    pub(in crate::control) baseline_fallen: Option<String>,
    pub(in crate::control) copying: Option<AbortHandle>,
    pub(in crate::control) sweeping: Option<AbortHandle>,
    /// Whether a cleanup has succeeded since the process began.
    pub(in crate::control) swept: bool,
    /// Reported problems of the cleanup.
    pub(in crate::control) unswept: ReportedProblems,
    /// The highest rollout number under which another journal created containers of this service.
    pub(in crate::control) highest: i64,
    /// Containers with names on a network that are being changed.
    pub(in crate::control) moving: Moving,
    /// Why found containers are not used: they belong to several Compose projects.
    pub(in crate::control) mixed: [Option<String>; 2],
    told: [ReportedProblems; 2],
    /// Reported backends with an address that may belong to another container.
    pub(in crate::control) doubts: ReportedProblems,
}

impl ObservedContainers {
    /// Whether a pool has containers, or none was looked at yet.
    pub(in crate::control) fn may_be_there(&self) -> bool {
        let unseen = self.containers.iter().all(Option::is_none);
        let mut pools = self.containers.iter().flatten();
        unseen || pools.any(|pool| !pool.is_empty())
    }

    /// Stops a running cleanup, which does not know the new state; it is repeated later.
    pub(in crate::control) fn stop_sweeping(&mut self) {
        if let Some(task) = self.sweeping.take() {
            task.abort();
            self.sweep_due = true;
        }
    }

    /// Stops creating green's containers.
    pub(in crate::control) fn stop_raising(&mut self) {
        if let Some(task) = self.raising.take() {
            task.abort();
        }
        self.sweep_due = true;
    }

    /// Of a pool's problems, those that were not reported yet.
    pub(in crate::control) fn untold(&mut self, color: Color, all: Vec<String>) -> Vec<String> {
        self.told[color.index()].fresh(all)
    }
}
