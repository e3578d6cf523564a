//! How things stand, as facts for people and tools: the body of the status API.

use crate::core::judge::{Report, Verdict};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of this shape; raised when a field changes its meaning.
pub const API_VERSION: &str = "shifter/v1";

/// Everything, at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct View {
    /// The version of this shape.
    pub api_version: String,
    /// The version of the program.
    pub shifter_version: String,
    /// The process.
    pub pid: u32,
    /// Seconds since its start.
    pub uptime_seconds: f64,
    /// The version of the routing table.
    pub table_version: u64,
    /// Why the state cannot be recorded, or why nobody knows what Docker runs; absent when all is well.
    pub trouble: Option<String>,
    /// The process is on its way out.
    pub draining: bool,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceView>,
}

/// One service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The hosts that it answers for.
    pub hosts: Vec<String>,
    /// Green's share as set, in percent.
    pub weight_percent: f64,
    /// Green's share of the requests of this step, in percent, once there were some.
    pub observed_percent: Option<f64>,
    /// The version that runs now.
    pub blue: PoolView,
    /// The version that is to replace it.
    pub green: Option<PoolView>,
    /// A fresh copy of blue's release that green's latency is compared with, while there is one; blue's counts have its
    /// requests too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<PoolView>,
    /// Whether the configuration says where the next version comes.
    #[serde(default)]
    pub green_configured: bool,
    /// What copies of requests told about green, where some were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorView>,
    /// What to change in the configuration, where health checks and monitors are most of what is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The rollout under way, or the last one since the start.
    pub rollout: Option<RolloutView>,
}

/// How a green without users answered copies of blue's requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MirrorView {
    /// With blue's status and length.
    pub same: u64,
    /// With another status.
    pub other_status: u64,
    /// With blue's status and another length.
    pub other_length: u64,
    /// Not, or not in time.
    pub failed: u64,
    /// Not sent, because too many were under way.
    pub dropped: u64,
    /// Mean time to blue's first byte in milliseconds, of those that green answered.
    pub blue_ms: Option<f64>,
    /// The same for green, with the time to connect.
    pub green_ms: Option<f64>,
}

/// One pool, over the last ten seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    /// What people call this version.
    pub release: String,
    /// Its backends.
    pub backends: Vec<BackendView>,
    /// Requests under way, upgraded connections included.
    pub in_flight: i64,
    /// WebSockets and other upgraded connections that are open.
    #[serde(default)]
    pub upgraded: i64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Share of requests that it failed, in percent.
    pub failed_percent: f64,
    /// Median time to first byte in milliseconds, when there were requests.
    pub p50_ms: Option<f64>,
    /// 95th percentile of the same.
    pub p95_ms: Option<f64>,
    /// 99th percentile of the same.
    pub p99_ms: Option<f64>,
}

/// One backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BackendView {
    /// What it is.
    pub id: String,
    /// The container's name, where it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Where it listens.
    pub address: String,
    /// `up`, `down`, `unknown`, or `doubted`: its address may be another container's while Docker is silent.
    pub health: String,
    /// Why it is `down`: what the last check said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests under way.
    pub in_flight: i64,
}

/// One rollout.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Its number.
    pub id: i64,
    /// `canary` or `blue-green`.
    pub strategy: String,
    /// What blue was at the start.
    pub from: String,
    /// What green was at the start.
    pub to: String,
    /// Wall time of the start, RFC 3339.
    pub started_at: String,
    /// `starting`, `warming`, `smoke_testing`, `running_hooks`, `shifting`, `awaiting_approval`, `paused`, `promoted`, `rolling_back`, `finished`.
    pub phase: String,
    /// Index of the step under way.
    pub step: Option<usize>,
    /// The plan.
    pub steps: Vec<StepView>,
    /// Seconds in this step or phase.
    pub step_seconds: f64,
    /// Seconds since the start, restarts included.
    pub age_seconds: f64,
    /// Blue has no healthy backend: nothing advances.
    pub degraded: bool,
    /// `promoted`, `rolled_back`, `never_fit`, `inconclusive` or `stopped`, once it is known.
    pub outcome: Option<String>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// What the judge would have gone back to blue for, where `on_worse` keeps it from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accused: Option<String>,
    /// What the judge says now.
    #[schema(value_type = Option<Object>)]
    pub verdict: Option<Verdict>,
    /// The same in one line for people.
    pub line: Option<String>,
    /// What requests of shifter's own have shown in one line, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<String>,
    /// The evidence in numbers.
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Report>,
}

/// One step of a plan.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// `start`, `warm`, `smoke`, `shift 5%`, `approve`, `retire`.
    pub name: String,
    /// The shortest time at a share, in seconds.
    pub hold_seconds: Option<f64>,
    /// The longest time at a share, in seconds.
    pub deadline_seconds: Option<f64>,
    /// `done`, `current` or `todo`; of a rollout that went back `ended` (here) or `skipped`.
    pub state: String,
}

impl View {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&ServiceView> {
        self.services.iter().find(|service| service.name == name)
    }
}
