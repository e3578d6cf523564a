//! Commands and queries, and the answers to them.

use crate::control::api::drill::DrillReport;
use crate::core::answers::Expected;
use crate::core::plan::Strategy;
use crate::core::weight::Weight;
use crate::store::journal::{Note, SavedRollout};
use thiserror::Error;

/// The options of a requested rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutRequest {
    /// Another strategy than the configured one.
    pub strategy: Option<Strategy>,
    /// End a rollout under way in favour of this one, instead of refusing this command.
    pub supersede: bool,
    /// The image of green's containers, where shifter makes them.
    pub image: Option<String>,
    /// Refuse to start with too little memory for two versions.
    pub strict: bool,
    /// Where no blue is there, this is the first version, whatever else runs.
    pub first: bool,
    /// What green changes on purpose: only reported in this rollout, not judged.
    pub expect: Vec<Expected>,
}

/// A command from a person or a tool.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlCommand {
    /// Start a rollout.
    Run(RolloutRequest),
    /// Skip to the last share now; green stays judged there.
    Promote,
    /// Approve the waiting step.
    Approve,
    /// Pause the plan.
    Pause,
    /// Resume the plan.
    Resume,
    /// End the rollout: back to blue.
    Abort,
    /// Return to blue, also after the promotion while blue is warm.
    Rollback {
        /// Keep green's containers running for a while, for inspection.
        keep: bool,
    },
    /// Set green's share by hand; the plan pauses there.
    SetWeight(Weight),
    /// Rehearse a rollback with blue's own backends as green.
    Drill,
    /// Read the configuration file again.
    Reload,
}

/// The result of a command.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandOutcome {
    /// The rollout concerned, if any.
    pub rollout: Option<i64>,
    /// One line for people.
    pub text: String,
    /// The measurements of a drill.
    pub drill: Option<DrillReport>,
}

impl CommandOutcome {
    /// The result of a command on this rollout.
    pub fn of(rollout: i64, text: String) -> CommandOutcome {
        CommandOutcome {
            rollout: Some(rollout),
            text,
            drill: None,
        }
    }
}

/// Why a command was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such service.
    #[error("there is no service `{name}`; there is {known}")]
    NoSuchService {
        /// The requested name.
        name: String,
        /// The names of the existing services.
        known: String,
    },
    /// There are several services, and none was named.
    #[error("name a service: there is {known}")]
    WhichService {
        /// The names of the existing services.
        known: String,
    },
    /// A rollout is under way.
    #[error(
        "rollout {rollout} of `{service}` is under way. Follow it with `shifter status`, end it with `shifter abort {service}`, or replace it with --supersede"
    )]
    Busy {
        /// The service.
        service: String,
        /// The rollout in the way.
        rollout: i64,
    },
    /// The command makes no sense in the current phase.
    #[error("{0}")]
    NotNow(String),
    /// The change could not be recorded, so it was not made.
    #[error("{0}. Nothing was changed; traffic goes on as before. `shifter rollback` still works")]
    Unrecorded(String),
    /// The configuration file is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The controller has stopped.
    #[error(
        "the controller does not answer; traffic goes on with the last weights. Restart shifter when it suits you"
    )]
    Gone,
}

/// A query about the past.
#[derive(Clone, Debug)]
pub enum Query {
    /// The newest rollouts.
    Rollouts {
        /// Only rollouts of this service.
        service: Option<String>,
        /// Highest number of rollouts.
        limit: u32,
    },
    /// One rollout.
    Rollout(i64),
    /// Narration lines after a number.
    Notes {
        /// The number of the last known line.
        after: i64,
        /// Only lines of this rollout.
        rollout: Option<i64>,
        /// Highest number of lines.
        limit: u32,
    },
    /// The recorded seconds of a rollout.
    Seconds(i64),
}

/// The answer to a [`Query`], of the same name.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The newest rollouts, newest first.
    Rollouts(Vec<SavedRollout>),
    /// One rollout, if the number exists.
    Rollout(Option<Box<SavedRollout>>),
    /// Narration lines, oldest first.
    Notes(Vec<Note>),
    /// Recorded seconds, oldest first.
    Seconds(Vec<(i64, String)>),
}
