//! What a process that serves can be told: by signals, and by a successor that asks for its place.

use crate::cli::handover::{Desk, Successor};
use crate::cli::signals::Signals;
use std::io;
use std::path::Path;

/// Open ears; to be had before anybody is served, so that whoever is served can also be heard.
pub struct Ears {
    /// Signals to this process.
    pub signals: Signals,
    /// Where successors ask.
    pub desk: Option<Desk>,
}

impl Ears {
    /// Listens from now on, as the one that has this state folder.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub fn open(state: &Path) -> io::Result<Ears> {
        Ok(Ears::with(Signals::new()?, state))
    }

    /// The same where signals are heard already.
    pub fn with(signals: Signals, state: &Path) -> Ears {
        let mut ears = Ears {
            signals,
            desk: None,
        };
        ears.open_desk(state);
        ears
    }

    /// Lets successors ask.
    pub fn open_desk(&mut self, state: &Path) {
        self.desk = match Desk::open(state) {
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
pub async fn asked(desk: Option<&Desk>) -> io::Result<Successor> {
    match desk {
        Some(desk) => desk.asked().await,
        None => std::future::pending().await,
    }
}
