//! What the API takes and gives, for both of its ends.

use crate::control::CommandOutcome;
use crate::control::drill::DrillReport;
use crate::control::view::{API_VERSION, ServiceView};
use crate::core::analysis::Line;
use crate::core::answers::Expected;
use crate::core::judge::Report;
use crate::core::plan::Strategy;
use crate::core::table::Table;
use crate::store::journal::{Note, SavedRollout};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a rollout is to be started; `{}` is as the configuration says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `canary` or `blue-green`: another recipe than the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "canary")]
    pub strategy: Option<Strategy>,
    /// A rollout under way gives way instead of being in the way.
    #[serde(default)]
    pub supersede: bool,
    /// The image of the new version, where shifter makes its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "myorg/api:1.1")]
    pub image: Option<String>,
    /// Too little memory for two versions is a reason not to begin.
    #[serde(default)]
    pub strict: bool,
    /// What green changes on purpose (`status`, `gave-up`, `last-byte`, `size`, `type`): told in this rollout, and not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["status"]))]
    pub expect: Vec<Expected>,
}

/// How to go back; `{}` is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Green's containers run on, without users, for `keep_green`: to be looked at.
    #[serde(default)]
    pub keep: bool,
}

/// Green's share, set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// From 0 to 100, to two decimals.
    #[schema(minimum = 0, maximum = 100, example = 25.0)]
    pub percent: f64,
}

/// Nothing: `{}`, or no body at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// What an order led to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// The version of this shape.
    pub api_version: String,
    /// The rollout that it is about, if any.
    pub rollout: Option<i64>,
    /// One line for people.
    pub text: String,
    /// What a drill measured.
    pub drill: Option<DrillReport>,
}

impl From<CommandOutcome> for Done {
    fn from(receipt: CommandOutcome) -> Done {
        let CommandOutcome {
            rollout,
            text,
            drill,
        } = receipt;
        Done {
            api_version: API_VERSION.to_owned(),
            rollout,
            text,
            drill,
        }
    }
}

/// What is routed where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutingTable {
    /// The version of this shape.
    pub api_version: String,
    /// The table in force.
    #[schema(value_type = Object)]
    pub table: Table,
}

/// One service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OneService {
    /// The version of this shape.
    pub api_version: String,
    /// How it stands.
    #[serde(flatten)]
    pub service: ServiceView,
}

/// A rollout of the past, or the one under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutRecord {
    /// Its number.
    pub id: i64,
    /// The service.
    pub service: String,
    /// `canary` or `blue-green`.
    pub strategy: String,
    /// What blue was.
    pub from: String,
    /// What green was.
    pub to: String,
    /// Wall time of the start, RFC 3339.
    pub started_at: String,
    /// Wall time of the end, RFC 3339, when it has ended.
    pub ended_at: Option<String>,
    /// `promoted`, `rolled_back`, `never_fit`, `inconclusive` or `stopped`, once it is known.
    pub outcome: Option<String>,
    /// Why it ended so.
    pub reason: Option<String>,
    /// The last evidence in numbers.
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Report>,
}

impl From<SavedRollout> for RolloutRecord {
    fn from(saved: SavedRollout) -> RolloutRecord {
        // Evidence of another version of shifter may have another shape: then there is none to show.
        let evidence = saved
            .evidence
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok());
        RolloutRecord {
            id: saved.id,
            service: saved.service,
            strategy: saved.strategy,
            from: saved.from,
            to: saved.to,
            started_at: saved.started_at,
            ended_at: saved.ended_at,
            outcome: saved.outcome,
            reason: saved.reason,
            evidence,
        }
    }
}

/// The newest rollouts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rollouts {
    /// The version of this shape.
    pub api_version: String,
    /// Newest first.
    pub rollouts: Vec<RolloutRecord>,
}

/// One rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneRollout {
    /// The version of this shape.
    pub api_version: String,
    /// The rollout.
    #[serde(flatten)]
    pub rollout: RolloutRecord,
}

/// What was told about a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notes {
    /// The version of this shape.
    pub api_version: String,
    /// Oldest first; at most 1,000: ask again with `after` for more.
    pub notes: Vec<Note>,
}

/// What the judge was fed, line by line, for `shifter replay`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    /// The version of this shape.
    pub api_version: String,
    /// The rollout.
    pub rollout: i64,
    /// Oldest first.
    #[schema(value_type = Vec<Object>)]
    pub lines: Vec<Line>,
}
