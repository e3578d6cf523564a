//! What a component's work leads to, as data: the controller carries it out, in one place.

use crate::control::report::entry::Entry;
use crate::core::rollout::Event;

/// What is to follow for one service, in the order of the fields.
#[derive(Debug, Default, PartialEq)]
pub struct Effects {
    /// Lines for the timeline.
    pub entries: Vec<Entry>,
    /// The state of the service between rollouts has changed and must be recorded.
    pub save: bool,
    /// Events for the state machine.
    pub events: Vec<Event>,
}

impl From<Entry> for Effects {
    fn from(entry: Entry) -> Effects {
        Effects {
            entries: vec![entry],
            ..Effects::default()
        }
    }
}

impl From<Vec<Entry>> for Effects {
    fn from(entries: Vec<Entry>) -> Effects {
        Effects {
            entries,
            ..Effects::default()
        }
    }
}

impl From<Event> for Effects {
    fn from(event: Event) -> Effects {
        Effects {
            events: vec![event],
            ..Effects::default()
        }
    }
}
