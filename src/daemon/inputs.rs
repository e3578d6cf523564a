//! What a process that serves can be told: by signals, and by a successor that asks for its place.

use crate::daemon::handover::{HandoverListener, Successor};
use crate::daemon::signals::Signals;
use std::io;
use std::path::Path;

/// Open ears; to be had before anybody is served, so that whoever is served can also be heard.
pub struct DaemonInputs {
    /// Signals to this process.
    pub signals: Signals,
    /// Where successors ask.
    pub desk: Option<HandoverListener>,
}

impl DaemonInputs {
    /// Listens from now on, as the one that has this state folder.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn open(state: &Path) -> io::Result<DaemonInputs> {
        Ok(DaemonInputs::with(Signals::new()?, state))
    }

    /// The same where signals are heard already.
    pub fn with(signals: Signals, state: &Path) -> DaemonInputs {
        let mut ears = DaemonInputs {
            signals,
            desk: None,
        };
        ears.open_desk(state);
        ears
    }

    /// Lets successors ask.
    pub fn open_desk(&mut self, state: &Path) {
        self.desk = match HandoverListener::open(state) {
            Ok(desk) => Some(desk),
            Err(error) => {
                tracing::warn!(%error, "this shifter can only be replaced by stopping it: no socket in {}", state.display());
                None
            }
        };
    }
}

/// The next process that asks for this one's place.
///
/// # Errors
/// When nobody can ask any more.
pub async fn asked(desk: Option<&HandoverListener>) -> io::Result<Successor> {
    match desk {
        Some(desk) => desk.asked().await,
        None => std::future::pending().await,
    }
}
