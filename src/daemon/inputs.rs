//! The inputs of a serving process: signals, and successors that ask for its place.

use crate::daemon::handover::{HandoverListener, Successor};
use crate::daemon::signals::Signals;
use std::io;
use std::path::Path;

/// The open inputs; they must exist before the first request is served, so that signals are never missed.
pub struct DaemonInputs {
    /// Signals to this process.
    pub signals: Signals,
    /// The socket for successors.
    pub handover: Option<HandoverListener>,
}

impl DaemonInputs {
    /// Listens from now on, as the holder of this state folder.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn open(state: &Path) -> io::Result<DaemonInputs> {
        Ok(DaemonInputs::with(Signals::new()?, state))
    }

    /// The inputs with signals that are received already.
    pub fn with(signals: Signals, state: &Path) -> DaemonInputs {
        let mut inputs = DaemonInputs {
            signals,
            handover: None,
        };
        inputs.open_handover(state);
        inputs
    }

    /// Opens the socket for successors.
    pub fn open_handover(&mut self, state: &Path) {
        self.handover = match HandoverListener::open(state) {
            Ok(handover) => Some(handover),
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
/// When the socket fails.
pub async fn asked(handover: Option<&HandoverListener>) -> io::Result<Successor> {
    match handover {
        Some(handover) => handover.asked().await,
        None => std::future::pending().await,
    }
}
