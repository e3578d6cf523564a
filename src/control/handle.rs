//! The interface of the controller to the rest of the process: commands, queries, a view.

use crate::control::drill::DrillReport;
use crate::control::view::View;
use crate::core::answers::Expected;
use crate::core::plan::Strategy;
use crate::core::source::Reading;
use crate::core::usage::UsageSample;
use crate::core::weight::Weight;
use crate::driver::docker::EngineError;
use crate::driver::docker::cleanup::Swept;
use crate::driver::docker::create::Said;
use crate::store::NoteKind;
use crate::store::journal::{Note, SavedRollout};
use crate::store::saved::Fetched;
use arc_swap::ArcSwap;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

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

/// A message in the controller's mailbox.
pub(crate) enum Message {
    ControlCommand {
        service: Option<String>,
        order: ControlCommand,
        reply: oneshot::Sender<Result<CommandOutcome, CommandError>>,
    },
    Query {
        query: Query,
        reply: oneshot::Sender<Result<Answer, CommandError>>,
    },
    /// The warm-up of a rollout has ended.
    Warmed { rollout: i64, text: String },
    Smoked {
        rollout: i64,
        result: Result<(), String>,
        text: String,
    },
    /// The hooks of a moment have ended.
    Hooked {
        rollout: i64,
        result: Result<(), String>,
    },
    /// A source returned a reading on green in the share of this mark.
    Measured {
        rollout: i64,
        mark: u64,
        source: usize,
        reading: Reading,
    },
    /// Resource usage of the containers of both versions, or why the engine gave none.
    Used {
        rollout: i64,
        looks: Result<[UsageSample; 2], EngineError>,
    },
    /// Green's containers were created and started, or could not be.
    Raised {
        rollout: i64,
        result: Result<(), String>,
    },
    /// The baseline's containers were created and started, or could not be.
    Copied {
        rollout: i64,
        result: Result<(), String>,
    },
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

/// A handle to the controller; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) notes: broadcast::Sender<Note>,
}

impl Handle {
    /// Sends a command and waits until it is carried out or refused.
    pub async fn order(
        &self,
        service: Option<&str>,
        order: ControlCommand,
    ) -> Result<CommandOutcome, CommandError> {
        let (reply, answer) = oneshot::channel();
        let message = Message::ControlCommand {
            service: service.map(str::to_owned),
            order,
            reply,
        };
        self.mailbox
            .send(message)
            .await
            .map_err(|_| CommandError::Gone)?;
        answer.await.map_err(|_| CommandError::Gone)?
    }

    /// Sends a query.
    pub async fn query(&self, query: Query) -> Result<Answer, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(Message::Query { query, reply })
            .await
            .map_err(|_| CommandError::Gone)?;
        answer.await.map_err(|_| CommandError::Gone)?
    }

    /// The current view, at most a fifth of a second old.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Narration lines from now on.
    pub fn notes(&self) -> broadcast::Receiver<Note> {
        self.notes.subscribe()
    }

    /// Lets the controller record its state and end.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.mailbox.send(Message::Stop { done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}
