//! Narration: every line is written to the journal and sent to all listeners.

use crate::store::Journal;
use crate::store::NoteKind;
use crate::store::journal::{JournalError, Note};
use crate::store::saved::Tone;
use tokio::sync::broadcast;

/// Lines that a slow listener may lag behind before it must catch up from the journal.
const LAG: usize = 1_024;

/// The log target of the lines: a command that prints them itself leaves them out of the log.
pub const LOG_TARGET: &str = "shifter::timeline";

/// Writes and publishes the lines of the narration.
pub struct Timeline {
    /// The journal behind it.
    pub journal: Journal,
    notes: broadcast::Sender<Note>,
    /// Why the last write failed; transitions are refused until one succeeds again.
    trouble: Option<String>,
    /// Counts lines that could not be written, so that their numbers still rise.
    unwritten: i64,
}

impl Timeline {
    /// A timeline over a journal.
    pub fn new(journal: Journal) -> Timeline {
        let (notes, _) = broadcast::channel(LAG);
        Timeline {
            journal,
            notes,
            trouble: None,
            unwritten: 0,
        }
    }

    /// The channel on which lines are published.
    pub fn notes(&self) -> broadcast::Sender<Note> {
        self.notes.clone()
    }

    /// Why the journal cannot be written now.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes and publishes one line. A full disk loses the record, never the line.
    pub fn tell(&mut self, service: &str, rollout: Option<i64>, kind: NoteKind, text: String) {
        let mut note = Note {
            seq: 0,
            at: now(),
            service: service.to_owned(),
            rollout: rollout.unwrap_or(0),
            kind: kind.name().to_owned(),
            text,
        };
        let (kind, text) = (note.kind.as_str(), note.text.as_str());
        // Lines that may need action are logged at every usual level.
        match note.tone() {
            Tone::Bad | Tone::Alert => {
                tracing::warn!(target: LOG_TARGET, service, rollout, kind, "{text}");
            }
            _ => tracing::info!(target: LOG_TARGET, service, rollout, kind, "{text}"),
        }
        let written = self.journal.note(&mut note);
        if self.watch(written).is_err() {
            self.unwritten += 1;
            note.seq = i64::MAX / 2 + self.unwritten;
        }
        let _ = self.notes.send(note);
    }

    /// Remembers whether the journal can be written.
    ///
    /// # Errors
    /// The error that was handed in.
    pub fn watch<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        match &result {
            Ok(_) if self.trouble.is_some() => {
                tracing::warn!("the state can be recorded again");
                self.trouble = None;
            }
            Ok(_) => {}
            Err(error) => {
                if self.trouble.is_none() {
                    tracing::error!(%error, "the state cannot be recorded: traffic goes on, weights do not grow");
                }
                self.trouble = Some(error.to_string());
            }
        }
        result
    }
}

/// Wall time for people, RFC 3339 in UTC with milliseconds.
pub fn now() -> String {
    format!("{:.3}", jiff::Timestamp::now())
}
