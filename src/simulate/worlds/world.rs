//! Worlds that both pools live in.

use crate::core::judge::{Policy, Unit};

/// What both pools live through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// Requests independent of each other.
    Iid,
    /// A shared slow wave of latency (AR(1), 15 %), as in all worlds below; nothing else.
    Wave,
    /// Every 120 s for 8 s, on both pools: 5 % errors, three times the latency.
    SharedBursts,
    /// From the middle on, on both pools: ten times the errors, half as much latency again.
    Incident,
    /// Every 180 s for 1 to 3 s, on each pool alone: 20 % errors, five times the latency.
    PrivateBursts,
    /// Green starts four times slower and warms up within seconds.
    ColdStart,
    /// Each pool's latency drifts by itself (AR(1), 5 %).
    PrivateDrift,
    /// A day in the length of the run: from 0.2 to 1.8 times the requests and back, with errors and latency that follow.
    Day,
    /// From the middle on, on both pools: a route that fails ten times as often and takes 80 ms more is asked by a third instead of 2 %.
    OtherRoutes,
    /// An error makes its client retry three times on average, on the same pool; judged by users.
    ClustersSticky,
    /// An error makes its client retry three times on average, on the pool that failed; judged by requests.
    ClustersCounted,
    /// An error makes its client retry three times on average, each retry a newcomer that chance places anew.
    ClustersByRequest,
}

impl World {
    /// The eight worlds of the false-rollback tables.
    pub const ALL: [World; 8] = [
        World::Iid,
        World::SharedBursts,
        World::Incident,
        World::PrivateBursts,
        World::ColdStart,
        World::PrivateDrift,
        World::ClustersSticky,
        World::ClustersByRequest,
    ];

    /// This policy, as a judge in this world has it.
    pub fn judged_by(self, policy: &Policy) -> Policy {
        let mut policy = policy.clone();
        if self == World::ClustersSticky {
            policy.unit = Unit::Users;
        }
        policy
    }

    /// Its name in the tables.
    pub const fn name(self) -> &'static str {
        match self {
            World::Iid => "iid",
            World::Wave => "AR",
            World::SharedBursts => "AR + shared bursts",
            World::Incident => "AR + shared incident x10",
            World::PrivateBursts => "AR + private bursts",
            World::ColdStart => "AR + cold start x4",
            World::PrivateDrift => "AR + private drift 5%",
            World::Day => "AR + a day's ramp",
            World::OtherRoutes => "AR + other mix of routes",
            World::ClustersSticky => "AR + clustered errors, sticky",
            World::ClustersCounted => "AR + clustered errors, sticky, each retry counted",
            World::ClustersByRequest => "AR + clustered errors, per request",
        }
    }

    /// Whether failed requests are tried again.
    pub(super) const fn clustered(self) -> bool {
        matches!(
            self,
            World::ClustersSticky | World::ClustersCounted | World::ClustersByRequest
        )
    }
}
