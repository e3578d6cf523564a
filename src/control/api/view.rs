//! The state as facts for people and tools: the body of the status API.

use crate::core::judge::words::grouped;
use crate::core::judge::{Report, Verdict};
use crate::core::outcome::OutcomeKind;
use crate::core::phase::PhaseKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The version of this schema; raised when a field changes its meaning.
pub const API_VERSION: &str = "shifter/v1";

/// Everything, at one moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct View {
    /// The version of this schema.
    pub api_version: String,
    /// The version of the program.
    pub shifter_version: String,
    /// The process.
    pub pid: u32,
    /// Its configuration file; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Seconds since its start.
    pub uptime_seconds: f64,
    /// The version of the routing table.
    pub table_version: u64,
    /// Why the state cannot be recorded, or why Docker's state is unknown; absent when all is well.
    pub trouble: Option<String>,
    /// The process is draining.
    pub draining: bool,
    /// The services, in the order of the configuration.
    pub services: Vec<ServiceView>,
}

/// One service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// The host names of the service.
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
    /// Whether the configuration says where the next version is.
    #[serde(default)]
    pub green_configured: bool,
    /// Results of mirrored requests to green, where some were sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<MirrorView>,
    /// What to change in the configuration, where health checks and monitors are most of what is judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The rollout under way, or the last one since the start.
    pub rollout: Option<RolloutView>,
}

/// How a green without users answered copies of blue's requests, in numbers of copies.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MirrorView {
    /// Answered with blue's status and length.
    pub same: u64,
    /// Answered with another status.
    pub other_status: u64,
    /// Answered with blue's status and another length.
    pub other_length: u64,
    /// Not answered, or not in time.
    pub failed: u64,
    /// Not sent, because too many were in flight.
    pub dropped: u64,
    /// Mean time to blue's first byte in milliseconds, for the requests that green answered.
    pub blue_ms: Option<f64>,
    /// Mean time to green's first byte in milliseconds, with the time to connect.
    pub green_ms: Option<f64>,
}

impl MirrorView {
    /// The counts in one line for people.
    pub fn line(&self) -> String {
        let sent = self.same + self.other_status + self.other_length + self.failed;
        let mut line = format!(
            "{} requests copied to green: {} answered as by blue, {} with another status, {} with another length, {} not at all; {} more had no room",
            grouped(sent),
            grouped(self.same),
            grouped(self.other_status),
            grouped(self.other_length),
            grouped(self.failed),
            grouped(self.dropped),
        );
        if let (Some(blue), Some(green)) = (self.blue_ms, self.green_ms) {
            line.push_str(&format!(
                "; first byte after {blue:.1} ms on blue, {green:.1} ms on green (mean, green's on connections of their own)"
            ));
        }
        line
    }
}

/// One pool, over the last ten seconds.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct PoolView {
    /// The name of this version for people.
    pub release: String,
    /// Its backends.
    pub backends: Vec<BackendView>,
    /// Requests in flight, upgraded connections included.
    pub in_flight: i64,
    /// WebSockets and other upgraded connections that are open.
    #[serde(default)]
    pub upgraded: i64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// Share of failed requests, in percent.
    pub failed_percent: f64,
    /// Median time to first byte in milliseconds, when there were requests.
    pub p50_ms: Option<f64>,
    /// 95th percentile of the time to first byte in milliseconds, when there were requests.
    pub p95_ms: Option<f64>,
    /// 99th percentile of the time to first byte in milliseconds, when there were requests.
    pub p99_ms: Option<f64>,
}

/// One backend.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct BackendView {
    /// The backend's identity.
    pub id: String,
    /// The container's name, where it is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The address that it listens on.
    pub address: String,
    /// `up`, `down`, `unknown`, or `doubted`: its address may be another container's while Docker is silent.
    pub health: String,
    /// Why it is `down`: the result of the last check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Requests in flight.
    pub in_flight: i64,
}

/// One rollout.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct RolloutView {
    /// Its number.
    pub id: i64,
    /// `canary` or `blue-green`.
    pub strategy: String,
    /// Blue's release at the start.
    pub from: String,
    /// Green's release at the start.
    pub to: String,
    /// Wall time of the start, RFC 3339.
    pub started_at: String,
    /// `starting`, `warming`, `smoke_testing`, `running_hooks`, `shifting`, `awaiting_approval`, `paused`, `promoted`,
    /// `rolling_back`, `finished`.
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
    /// The reason of the outcome.
    pub reason: Option<String>,
    /// Why the judge would have rolled back, where `on_worse` does not let it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accused: Option<String>,
    /// The judge's current verdict.
    #[schema(value_type = Option<Object>)]
    pub verdict: Option<Verdict>,
    /// What the start of green waits for, in one line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// The verdict in one line for people.
    pub line: Option<String>,
    /// The results of shifter's own probe requests in one line, where there are some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<String>,
    /// The evidence in numbers.
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Report>,
}

impl RolloutView {
    /// The phase; `None` for one that this version does not know.
    pub fn phase_kind(&self) -> Option<PhaseKind> {
        self.phase.parse().ok()
    }

    /// How it ended or is ending; `None` before that is known.
    pub fn outcome_kind(&self) -> Option<OutcomeKind> {
        self.outcome.as_ref()?.parse().ok()
    }
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
    /// `done`, `current` or `todo`; for a rollout that went back `ended` (here) or `skipped`.
    pub state: String,
}

impl View {
    /// The service of this name.
    pub fn service(&self, name: &str) -> Option<&ServiceView> {
        self.services.iter().find(|service| service.name == name)
    }
}
