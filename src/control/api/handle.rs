//! The interface of the controller to the rest of the process.

use crate::control::api::command::{Answer, CommandError, CommandOutcome, ControlCommand, Query};
use crate::control::api::message::Message;
use crate::control::api::view::View;
use crate::store::journal::Note;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::{broadcast, mpsc, oneshot};

/// A handle to the controller; cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) view: Arc<ArcSwap<View>>,
    pub(crate) notes: broadcast::Sender<Note>,
}

impl Handle {
    /// Sends a command and waits until it is carried out or refused.
    ///
    /// # Errors
    /// When the command is refused, cannot be recorded, or the controller is gone.
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
    ///
    /// # Errors
    /// When the journal cannot be read, or the controller is gone.
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
