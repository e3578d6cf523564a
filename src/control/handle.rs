//! How the rest of the process asks the controller: orders that change something, queries, a view.

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
use crate::store::journal::{Note, SavedRollout};
use crate::store::saved::Fetched;
use arc_swap::ArcSwap;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot};

/// Something that a person or a tool wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlCommand {
    /// Start a rollout.
    Run {
        /// Another recipe than the configured one.
        strategy: Option<Strategy>,
        /// A rollout under way gives way instead of being in the way.
        supersede: bool,
        /// The image of green's containers, where shifter makes them.
        image: Option<String>,
        /// Too little memory for two versions is a reason not to begin.
        strict: bool,
        /// What green changes on purpose: told in this rollout, and not judged.
        expect: Vec<Expected>,
    },
    /// Skip to the last share now; green stays judged there.
    Promote,
    /// Approve the step that waits for it.
    Approve,
    /// No further step for now.
    Pause,
    /// Go on with the plan.
    Resume,
    /// End the rollout: back to blue.
    Abort,
    /// Back to blue, also after the promotion while blue is warm.
    Rollback {
        /// Green's containers run on for a while, to be looked at.
        keep: bool,
    },
    /// Set green's share by hand; the plan pauses there.
    SetWeight(Weight),
    /// Rehearse a rollback with blue's own backends as green.
    Drill,
    /// Read the configuration file again.
    Reload,
}

/// What an order led to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CommandOutcome {
    /// The rollout that it is about, if any.
    pub rollout: Option<i64>,
    /// One line for people.
    pub text: String,
    /// What a drill measured.
    pub drill: Option<DrillReport>,
}

impl CommandOutcome {
    /// What an order about this rollout led to.
    pub fn of(rollout: i64, text: String) -> CommandOutcome {
        CommandOutcome {
            rollout: Some(rollout),
            text,
            drill: None,
        }
    }
}

/// Why an order was not carried out. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// No such service.
    #[error("there is no service `{name}`; there is {known}")]
    NoSuchService {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Several services, and none was named.
    #[error("name a service: there is {known}")]
    WhichService {
        /// What there is.
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
    /// It makes no sense in the present phase.
    #[error("{0}")]
    NotNow(String),
    /// It could not be recorded, so it was not done.
    #[error("{0}. Nothing was changed; traffic goes on as before. `shifter rollback` still works")]
    Unrecorded(String),
    /// The configuration file is wrong.
    #[error("{0}")]
    Configuration(String),
    /// The controller is gone.
    #[error(
        "the controller does not answer; traffic goes on with the last weights. Restart shifter when it suits you"
    )]
    Gone,
}

/// A question about the past.
#[derive(Clone, Debug)]
pub enum Query {
    /// The newest rollouts.
    Rollouts {
        /// Of this service only.
        service: Option<String>,
        /// At most so many.
        limit: u32,
    },
    /// One rollout.
    Rollout(i64),
    /// Narration after a number.
    Notes {
        /// The last one known.
        after: i64,
        /// Of this rollout only.
        rollout: Option<i64>,
        /// At most so many.
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
    /// One rollout, if there is one of this number.
    Rollout(Option<Box<SavedRollout>>),
    /// Narration, oldest first.
    Notes(Vec<Note>),
    /// Seconds, oldest first.
    Seconds(Vec<(i64, String)>),
}

/// What the controller finds in its mailbox.
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
    /// A task that the controller started has ended.
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
    /// A source said how green is in the share of this mark.
    Measured {
        rollout: i64,
        mark: u64,
        source: usize,
        reading: Reading,
    },
    /// What the containers of both versions have taken, or that the engine does not say.
    Used {
        rollout: i64,
        looks: Result<[UsageSample; 2], EngineError>,
    },
    /// Green's containers were made and started, or could not be.
    Raised {
        rollout: i64,
        result: Result<(), String>,
    },
    /// The baseline's containers were made and started, or could not be.
    Copied {
        rollout: i64,
        result: Result<(), String>,
    },
    /// A line that a task has for people.
    Said {
        service: String,
        rollout: i64,
        kind: &'static str,
        text: String,
    },
    /// An image was fetched for a service that was not here before.
    Fetched { service: String, fetched: Fetched },
    /// What nobody needs any more was cleared away, or could not be.
    Swept {
        service: String,
        /// Who was to be stopped by it.
        retired: Vec<String>,
        result: Result<Swept, String>,
    },
    /// The process ends: record where things stand and stop.
    Stop { done: oneshot::Sender<()> },
}

impl Message {
    /// What was said while containers of a rollout were made.
    pub(crate) fn of_making(service: &str, rollout: i64, said: Said) -> Message {
        let service = service.to_owned();
        match said {
            Said::Line(text) => Message::Said {
                service,
                rollout,
                kind: "containers",
                text,
            },
            Said::Fetched { id, image } => Message::Fetched {
                service,
                fetched: Fetched { id, image },
            },
        }
    }
}

/// The way to the controller; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) notes: broadcast::Sender<Note>,
}

impl Handle {
    /// Gives an order and waits until it is carried out or refused.
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

    /// Asks about the past.
    pub async fn query(&self, query: Query) -> Result<Answer, CommandError> {
        let (reply, answer) = oneshot::channel();
        self.mailbox
            .send(Message::Query { query, reply })
            .await
            .map_err(|_| CommandError::Gone)?;
        answer.await.map_err(|_| CommandError::Gone)?
    }

    /// How things stand, at most a fifth of a second old.
    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    /// Narration from now on.
    pub fn notes(&self) -> broadcast::Receiver<Note> {
        self.notes.subscribe()
    }

    /// Lets the controller record where things stand and end.
    pub async fn stop(&self) {
        let (done, ended) = oneshot::channel();
        if self.mailbox.send(Message::Stop { done }).await.is_ok() {
            let _ = ended.await;
        }
    }
}
