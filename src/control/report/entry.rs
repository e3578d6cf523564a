//! A line for the timeline, before it has a number and a time.

use crate::store::NoteKind;

/// A line about one service, of its rollout where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the line is about.
    pub kind: NoteKind,
    /// The line itself.
    pub text: String,
    /// The line is of no rollout, also while there is one.
    pub of_service: bool,
}

impl Entry {
    /// A line of the rollout under way, or of the service where there is none.
    pub fn new(kind: NoteKind, text: impl Into<String>) -> Entry {
        Entry {
            kind,
            text: text.into(),
            of_service: false,
        }
    }

    /// A line of the service, whatever is rolled out.
    pub fn of_service(kind: NoteKind, text: impl Into<String>) -> Entry {
        Entry {
            of_service: true,
            ..Entry::new(kind, text)
        }
    }
}
