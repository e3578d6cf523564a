//! What one event has changed in a rollout: the lines on it, and what is kept of green.

use crate::control::report::entry::Entry;
use crate::control::report::messages;
use crate::core::rollout::{Event, Outcome, Phase, Rollout};
use crate::core::table::Color;
use crate::store::NoteKind;

/// Why a rollout changed, where its event says so.
#[derive(Debug, Default)]
pub struct Cause {
    /// Why blue was lost.
    pub blue_lost: Option<String>,
    /// Why the baseline was lost.
    pub baseline_lost: Option<String>,
}

impl Cause {
    /// What an event says.
    pub fn of(event: &Event) -> Cause {
        let mut cause = Cause::default();
        match event {
            Event::Lost {
                color: Color::Blue,
                what,
            } => cause.blue_lost = Some(what.clone()),
            Event::BaselineLost(why) => cause.baseline_lost = Some(why.clone()),
            _ => {}
        }
        cause
    }
}

/// What is told of a change, and what is kept of green's containers.
#[derive(Debug, Default, PartialEq)]
pub struct Change {
    /// The lines, in their order.
    pub entries: Vec<Entry>,
    /// The ends of green's logs are told: no person took green off.
    pub last_words: bool,
    /// The evidence on green is kept.
    pub evidence: bool,
}

impl Change {
    /// The change between two states of a rollout; `line` is the judge's, if it has one.
    pub fn of(before: &Rollout, after: &Rollout, line: Option<&str>, cause: Cause) -> Change {
        let accused = messages::accusation(before, after);
        let said = messages::change(before, after, line);
        let going = |rollout: &Rollout| matches!(rollout.phase(), Phase::RollingBack { .. });
        let asked = matches!(after.outcome(), Some(Outcome::Stopped { .. }));
        let verdict = said.as_ref().map(|said| said.kind) == Some(NoteKind::Verdict);
        let mut change = Change {
            last_words: verdict && !asked,
            evidence: (going(after) && !going(before)) || accused.is_some(),
            entries: accused.into_iter().collect(),
        };
        if let Some(what) = cause.blue_lost {
            let text = format!("DEGRADED: {what}; whatever answers serves, and nothing advances");
            change.entries.push(Entry::new(NoteKind::Health, text));
        }
        if before.degraded() && !after.degraded() {
            let text = "blue answers again: no longer DEGRADED";
            change.entries.push(Entry::new(NoteKind::State, text));
        }
        change.entries.extend(said);
        change
    }
}
