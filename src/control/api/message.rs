//! The messages in the controller's mailbox: commands, and the results of its tasks.

use crate::control::api::command::{Answer, CommandError, CommandOutcome, ControlCommand, Query};
use crate::core::source::Reading;
use crate::core::usage::UsageSample;
use crate::driver::docker::EngineError;
use crate::driver::docker::cleanup::Swept;
use crate::driver::docker::create::Said;
use crate::store::NoteKind;
use crate::store::saved::Fetched;
use tokio::sync::oneshot;

/// The channel for the answer to a command.
pub(crate) type Reply = oneshot::Sender<Result<CommandOutcome, CommandError>>;

/// A message in the controller's mailbox.
pub(crate) enum Message {
    ControlCommand {
        service: Option<String>,
        order: ControlCommand,
        reply: Reply,
    },
    Query {
        query: Query,
        reply: oneshot::Sender<Result<Answer, CommandError>>,
    },
    /// A task of a rollout has ended.
    Ended { rollout: i64, result: TaskResult },
    /// A line for people from a task.
    Said {
        service: String,
        rollout: i64,
        kind: NoteKind,
        text: String,
    },
    /// An image was fetched for a service, and was not on the host before.
    Fetched { service: String, fetched: Fetched },
    /// A cleanup has ended or failed.
    Swept {
        service: String,
        /// The containers that it was to stop.
        retired: Vec<String>,
        result: Result<Swept, String>,
    },
    /// The process ends: record the state and stop.
    Stop { done: oneshot::Sender<()> },
}

/// The result of a task of a rollout.
pub(crate) enum TaskResult {
    /// The warm-up has ended.
    Warmed { text: String },
    /// The smoke checks have ended, with the line on them.
    Smoked {
        result: Result<(), String>,
        text: String,
    },
    /// The hooks of a moment have ended.
    Hooked(Result<(), String>),
    /// A source returned a reading on green in the share of this mark.
    Measured {
        mark: u64,
        source: usize,
        reading: Reading,
    },
    /// Resource usage of the containers of both versions, or why the engine gave none.
    Used(Result<[UsageSample; 2], EngineError>),
    /// Green's containers were created and started, or could not be.
    Raised(Result<(), String>),
    /// The baseline's containers were created and started, or could not be.
    Copied(Result<(), String>),
}

impl Message {
    /// A line from the creation of a rollout's containers.
    pub(crate) fn of_making(service: &str, rollout: i64, said: Said) -> Message {
        let service = service.to_owned();
        match said {
            Said::Line(text) => Message::Said {
                service,
                rollout,
                kind: NoteKind::Containers,
                text,
            },
            Said::Fetched { id, image } => Message::Fetched {
                service,
                fetched: Fetched { id, image },
            },
        }
    }
}
