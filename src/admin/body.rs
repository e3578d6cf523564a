//! Request and response bodies of the API, shared by server and client.

use crate::control::drill::DrillReport;
use crate::control::view::{API_VERSION, ServiceView};
use crate::control::{CommandOutcome, RolloutRequest};
use crate::core::analysis::RecordedLine;
use crate::core::answers::Expected;
use crate::core::judge::Report;
use crate::core::plan::Strategy;
use crate::core::table::Table;
use crate::store::journal::{Note, SavedRollout};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How to start a rollout; `{}` means as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunRequest {
    /// `canary` or `blue-green`, in place of the configured strategy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "canary")]
    pub strategy: Option<Strategy>,
    /// Supersede a rollout that is under way, instead of being refused because of it.
    #[serde(default)]
    pub supersede: bool,
    /// The image of the new version, where shifter creates its containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "myorg/api:1.1")]
    pub image: Option<String>,
    /// Refuse to begin when there is too little memory for two versions.
    #[serde(default)]
    pub strict: bool,
    /// Where no blue is there, this is the first version, even if other containers look like it.
    #[serde(default)]
    pub first: bool,
    /// What green changes on purpose (`status`, `gave-up`, `last-byte`, `size`, `type`): reported
    /// in this rollout, and not judged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, example = json!(["status"]))]
    pub expect: Vec<Expected>,
}

impl From<RunRequest> for RolloutRequest {
    fn from(asked: RunRequest) -> RolloutRequest {
        RolloutRequest {
            strategy: asked.strategy,
            supersede: asked.supersede,
            image: asked.image,
            strict: asked.strict,
            first: asked.first,
            expect: asked.expect,
        }
    }
}

/// How to roll back; `{}` is usual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// Keep green's containers running without traffic for `keep_green`, for inspection.
    #[serde(default)]
    pub keep: bool,
}

/// Green's share, set by hand.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WeightRequest {
    /// Percent, from 0 to 100, to two decimals.
    #[schema(minimum = 0, maximum = 100, example = 25.0)]
    pub percent: f64,
}

/// An empty request: `{}`, or no body at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The result of an order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Done {
    /// The API version of this body.
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

/// The routing table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RoutingTable {
    /// The API version of this body.
    pub api_version: String,
    /// The table in force.
    #[schema(value_type = Object)]
    pub table: Table,
}

/// The status of one service.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct OneService {
    /// The API version of this body.
    pub api_version: String,
    /// The service's status.
    #[serde(flatten)]
    pub service: ServiceView,
}

/// A rollout of the past, or the one under way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RolloutRecord {
    /// The number of the rollout.
    pub id: i64,
    /// The service.
    pub service: String,
    /// `canary` or `blue-green`.
    pub strategy: String,
    /// The version in blue.
    pub from: String,
    /// The version in green.
    pub to: String,
    /// Wall time of the start, RFC 3339.
    pub started_at: String,
    /// Wall time of the end, RFC 3339, when it has ended.
    pub ended_at: Option<String>,
    /// `promoted`, `rolled_back`, `never_fit`, `inconclusive` or `stopped`, once it is known.
    pub outcome: Option<String>,
    /// The reason for the outcome.
    pub reason: Option<String>,
    /// The last evidence in numbers.
    #[schema(value_type = Option<Object>)]
    pub evidence: Option<Report>,
}

impl From<SavedRollout> for RolloutRecord {
    fn from(saved: SavedRollout) -> RolloutRecord {
        // Evidence that another version of shifter wrote may have another shape: then there is none
        // to show.
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
    /// The API version of this body.
    pub api_version: String,
    /// Newest first.
    pub rollouts: Vec<RolloutRecord>,
}

/// One rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OneRollout {
    /// The API version of this body.
    pub api_version: String,
    /// The rollout.
    #[serde(flatten)]
    pub rollout: RolloutRecord,
}

/// The notes of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Notes {
    /// The API version of this body.
    pub api_version: String,
    /// Oldest first, at most 1,000; ask again with `after` for more.
    pub notes: Vec<Note>,
}

/// The recorded input of the judge, line by line, for `shifter replay`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    /// The API version of this body.
    pub api_version: String,
    /// The rollout.
    pub rollout: i64,
    /// Oldest first.
    #[schema(value_type = Vec<Object>)]
    pub lines: Vec<RecordedLine>,
}
