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
    pub desk: Option<HandoverListener>,
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
        let mut ears = DaemonInputs {
            signals,
            desk: None,
        };
        ears.open_desk(state);
        ears
    }

    /// Opens the socket for successors.
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
/// When the socket fails.
pub async fn asked(desk: Option<&HandoverListener>) -> io::Result<Successor> {
    match desk {
        Some(desk) => desk.asked().await,
        None => std::future::pending().await,
    }
}
