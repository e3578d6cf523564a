//! The progress of a rollout on standard error, and its exit code.

use crate::cli::output;
use crate::control::view::{RolloutView, ServiceView};
use crate::core::outcome::OutcomeKind;
use crate::core::phase::PhaseKind;
use crate::core::time::span;
use crate::exit::Exit;
use crate::store::journal::Note;
use crate::store::saved::Tone;
use anstyle::{AnsiColor, Style};
use std::time::{Duration, Instant};

/// Longest silence: some CI systems kill a job without output.
pub const HEARTBEAT: Duration = Duration::from_secs(30);

/// Prints notes as they come, and a heartbeat when there are none.
pub struct ProgressPrinter {
    told: i64,
    last: Instant,
}

impl Default for ProgressPrinter {
    fn default() -> ProgressPrinter {
        ProgressPrinter {
            told: 0,
            last: Instant::now(),
        }
    }
}

impl ProgressPrinter {
    /// Prints a note, once.
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

    /// The number of the last printed note.
    pub fn told(&self) -> i64 {
        self.told
    }

    /// Prints the state of the rollout after a silence.
    pub fn heartbeat(&mut self, service: &ServiceView, rollout: &RolloutView) {
        if self.last.elapsed() < HEARTBEAT {
            return;
        }
        self.last = Instant::now();
        let waits = rollout.phase_kind() == Some(PhaseKind::Starting);
        let line = match (&rollout.waits, &rollout.line, &service.green) {
            (Some(missing), ..) => missing.clone(),
            (_, _, Some(green)) if waits => output::members(&green.backends),
            (_, Some(line), _) => line.clone(),
            _ => "no evidence yet".to_owned(),
        };
        let most = rollout
            .step
            .and_then(|step| rollout.steps.get(step)?.deadline_seconds)
            .map_or(String::new(), |most| format!(", at most {}", span(most)));
        let step = rollout.step.map_or(String::new(), |step| {
            format!(" step {}/{}", step + 1, rollout.steps.len())
        });
        anstream::eprintln!(
            "{}  {} r-{}  {}{step}, weight {}%, for {}{most}: {line}",
            crate::control::timeline::now(),
            service.name,
            rollout.id,
            rollout.phase.replace('_', " "),
            service.weight_percent,
            span(rollout.step_seconds)
        );
    }
}

fn style(note: &Note) -> Style {
    let colored = |color: AnsiColor| Style::new().fg_color(Some(color.into()));
    match note.tone() {
        Tone::Good => colored(AnsiColor::Green).bold(),
        Tone::Bad => colored(AnsiColor::Red).bold(),
        Tone::Change => colored(AnsiColor::Cyan),
        Tone::Alert => colored(AnsiColor::Yellow).bold(),
        Tone::Plain => Style::new(),
    }
}

/// The exit code of an outcome.
pub fn exit(outcome: OutcomeKind) -> Exit {
    match outcome {
        OutcomeKind::Promoted => Exit::Ok,
        OutcomeKind::RolledBack => Exit::RolledBack,
        OutcomeKind::NeverFit => Exit::Unfit,
        OutcomeKind::Inconclusive => Exit::Inconclusive,
        OutcomeKind::Stopped => Exit::Stopped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[test]
    fn every_outcome_has_a_code_of_its_own() {
        let codes = OutcomeKind::ALL.iter().map(|kind| exit(*kind).code());
        assert_eq!(codes.collect::<Vec<u8>>(), [0, 3, 4, 5, 6]);
    }
}
