//! How a rollout is told on standard error while it goes on, and which exit code it ends with.

use crate::control::view::RolloutView;
use crate::exit::Exit;
use crate::store::journal::Note;
use anstyle::{AnsiColor, Style};
use std::time::{Duration, Instant};

/// A CI job that hears nothing for long is killed: something is said at least so often.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// Tells notes as they come, and a heartbeat when there are none.
pub struct Teller {
    told: i64,
    last: Instant,
}

impl Default for Teller {
    fn default() -> Teller {
        Teller {
            told: 0,
            last: Instant::now(),
        }
    }
}

impl Teller {
    /// Tells a note, once.
    pub fn note(&mut self, note: &Note) {
        if note.seq <= self.told {
            return;
        }
        self.told = note.seq;
        self.last = Instant::now();
        let style = style(note);
        let rollout = if note.rollout > 0 {
            format!(" r-{}", note.rollout)
        } else {
            String::new()
        };
        anstream::eprintln!(
            "{}  {}{rollout}  {style}{}{style:#}",
            note.at,
            note.service,
            note.text
        );
    }

    /// The number of the last note told.
    pub fn told(&self) -> i64 {
        self.told
    }

    /// Says where the rollout stands when nothing was said for a while.
    pub fn heartbeat(&mut self, service: &str, rollout: &RolloutView, weight_percent: f64) {
        if self.last.elapsed() < HEARTBEAT {
            return;
        }
        self.last = Instant::now();
        let line = rollout.line.as_deref().unwrap_or("no evidence yet");
        let step = rollout.step.map_or(String::new(), |step| {
            format!(" step {}/{}", step + 1, rollout.steps.len())
        });
        anstream::eprintln!(
            "{}  {service} r-{}  {}{step}, weight {weight_percent}%, {:.0}s in it: {line}",
            crate::control::ledger::now(),
            rollout.id,
            rollout.phase,
            rollout.step_seconds
        );
    }
}

fn style(note: &Note) -> Style {
    let colored = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
    match note.kind.as_str() {
        "verdict" if note.text.starts_with("promoted") => colored(AnsiColor::Green).bold(),
        "verdict" => colored(AnsiColor::Red).bold(),
        "weight" => colored(AnsiColor::Cyan),
        "health" => colored(AnsiColor::Yellow).bold(),
        _ => Style::new(),
    }
}

/// The code that an outcome ends with; `None` for a word that is no outcome.
pub fn exit(outcome: &str) -> Option<Exit> {
    match outcome {
        "promoted" => Some(Exit::Ok),
        "rolled_back" => Some(Exit::RolledBack),
        "never_fit" => Some(Exit::Unfit),
        "inconclusive" => Some(Exit::Inconclusive),
        "stopped" => Some(Exit::Stopped),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rollout::Outcome;

    #[test]
    fn every_outcome_has_a_code_of_its_own() {
        let codes: Vec<u8> = Outcome::NAMES
            .iter()
            .map(|name| exit(name).unwrap().code())
            .collect();
        assert_eq!(codes, [0, 3, 4, 5, 6]);
        assert_eq!(exit("running"), None);
    }
}
