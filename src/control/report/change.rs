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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::service::fixture::{ADDRESSES, Fixture, texts};
    use crate::core::time::Time;
    use NoteKind::{Health, State, Verdict};

    /// The change by one event on a rollout in its first share, after the events `first`.
    fn change(first: &[Event], event: &Event) -> Change {
        let mut fixture = Fixture::shifting(ADDRESSES, Time(0));
        for event in first {
            fixture.drive(event.clone(), Time(1));
        }
        let rollout = |fixture: &Fixture| {
            let run = fixture.state.run.as_ref().expect("a rollout");
            run.trial.rollout().clone()
        };
        let before = rollout(&fixture);
        fixture.drive(event.clone(), Time(1));
        Change::of(&before, &rollout(&fixture), None, Cause::of(event))
    }

    fn lost(color: Color) -> Event {
        let what = format!("{color} is gone");
        Event::Lost { color, what }
    }

    #[test]
    fn what_is_told_and_kept_depends_on_who_took_green_off() {
        let back = Event::Back(Color::Blue);
        let abort = Event::Abort("enough".to_owned());
        for (first, event, kinds, last_words, evidence) in [
            (vec![], lost(Color::Green), vec![Verdict], true, true),
            (vec![], abort.clone(), vec![Verdict], false, true),
            (vec![abort.clone()], abort, vec![], false, false),
            (vec![], lost(Color::Blue), vec![Health], false, false),
            (vec![lost(Color::Blue)], back, vec![State], false, false),
            (vec![], Event::Tick, vec![], false, false),
        ] {
            let change = change(&first, &event);
            let told: Vec<_> = change.entries.iter().map(|entry| entry.kind).collect();
            assert_eq!(told, kinds, "{event:?}");
            assert_eq!(
                (change.last_words, change.evidence),
                (last_words, evidence),
                "{event:?}"
            );
        }
    }

    #[test]
    fn the_loss_of_blue_is_told_with_its_reason() {
        let change = change(&[], &lost(Color::Blue));
        let told = "DEGRADED: blue is gone; whatever answers serves, and nothing advances";
        assert_eq!(texts(&change.entries), [told]);
        let cause = Cause::of(&lost(Color::Green));
        assert_eq!((cause.blue_lost, cause.baseline_lost), (None, None));
        let cause = Cause::of(&Event::BaselineLost("slow".to_owned()));
        assert_eq!(cause.baseline_lost.as_deref(), Some("slow"));
    }
}
