//! What a task in the background is started with.

use crate::config::Access;
use crate::control::api::message::Message;
use crate::driver::docker::Engine;
use crate::driver::docker::labels::Owner;
use tokio::sync::mpsc;

/// The mailbox for results, and the engine with what may be done there.
pub(in crate::control) struct TaskContext {
    mailbox: mpsc::WeakSender<Message>,
    pub(in crate::control) engine: Engine,
    /// What shifter may do with containers; a reload changes it.
    pub(in crate::control) access: Access,
    /// The name of the journal, which marks the containers of this shifter.
    pub(in crate::control) instance: String,
}

impl TaskContext {
    /// Results go to this mailbox, as long as anything else holds it.
    pub(in crate::control) fn new(
        mailbox: mpsc::WeakSender<Message>,
        engine: Engine,
        access: Access,
        instance: String,
    ) -> TaskContext {
        TaskContext {
            mailbox,
            engine,
            access,
            instance,
        }
    }

    /// The mailbox for one task; `None` when the process ends.
    pub(in crate::control) fn mailbox(&self) -> Option<mpsc::Sender<Message>> {
        self.mailbox.upgrade()
    }

    /// Whether containers may be made and removed.
    pub(in crate::control) fn may_manage(&self) -> bool {
        self.access >= Access::Manage
    }

    /// The owner mark for the containers of a rollout.
    pub(in crate::control) fn owner(&self, service: &str, rollout: i64) -> Owner {
        Owner {
            instance: self.instance.clone(),
            service: service.to_owned(),
            rollout,
            baseline: false,
        }
    }
}
