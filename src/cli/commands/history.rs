//! `shifter history`: the rollouts of the past.

use crate::admin::body::{RolloutRecord, Rollouts};
use crate::cli::Global;
use crate::cli::connect;
use crate::cli::output::{self, Table};
use crate::control::view::API_VERSION;
use crate::exit::Exit;
use jiff::Timestamp;

/// Options of `shifter history`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rollouts of this service only.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// At most so many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=500))]
    pub limit: u32,
}

/// Lists them, newest first.
pub fn run(global: &Global, args: Args) -> Exit {
    let asked = connect::ask(global, async |client| {
        if let Some(name) = args.service.as_deref() {
            // An unknown name must not look like a service without rollouts.
            client.service(Some(name)).await?;
        }
        client.rollouts(args.service.as_deref(), args.limit).await
    });
    match asked {
        Ok(rollouts) => {
            let text = text(&rollouts);
            let facts = Rollouts {
                api_version: API_VERSION.to_owned(),
                rollouts,
            };
            output::facts(global.output, &facts, &text)
        }
        Err(exit) => exit,
    }
}

fn text(rollouts: &[RolloutRecord]) -> String {
    if rollouts.is_empty() {
        return "no rollout yet; `shifter run` starts one".to_owned();
    }
    let mut table = Table::new(&[
        ">id", "service", "strategy", "started", ">took", "outcome", "reason",
    ]);
    for rollout in rollouts {
        table.row([
            rollout.id.to_string(),
            output::tame(&rollout.service),
            rollout.strategy.clone(),
            started(rollout),
            took(rollout),
            outcome(rollout),
            output::tame(rollout.reason.as_deref().unwrap_or_default()),
        ]);
    }
    table.render("")
}

/// The outcome, in words.
pub fn outcome(rollout: &RolloutRecord) -> String {
    match (&rollout.outcome, &rollout.ended_at) {
        (Some(outcome), Some(_)) => outcome.replace('_', " "),
        (Some(outcome), None) => format!("{} (ending)", outcome.replace('_', " ")),
        (None, _) => "under way".to_owned(),
    }
}

/// The duration, so far for a rollout under way.
pub fn took(rollout: &RolloutRecord) -> String {
    let Ok(start) = rollout.started_at.parse::<Timestamp>() else {
        return "?".to_owned();
    };
    let end = match &rollout.ended_at {
        Some(end) => end.parse().unwrap_or(start),
        None => Timestamp::now(),
    };
    crate::core::time::span(end.duration_since(start).as_secs_f64())
}

/// The start time, to the second, in UTC.
pub fn started(rollout: &RolloutRecord) -> String {
    match rollout.started_at.parse::<Timestamp>() {
        Ok(at) => at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
        Err(_) => output::tame(&rollout.started_at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_when_how_long_and_how_it_ended() {
        let rollout = RolloutRecord {
            id: 12,
            service: "api".into(),
            strategy: "canary".into(),
            started_at: "2026-01-02T03:04:05.678Z".into(),
            ended_at: Some("2026-01-02T03:10:20Z".into()),
            outcome: Some("rolled_back".into()),
            reason: Some("green failed\u{1b}[2J".into()),
            ..RolloutRecord::default()
        };
        let text = text(&[rollout]);
        let row = text.lines().nth(1).unwrap();
        assert_eq!(
            row,
            "12  api      canary    2026-01-02 03:04:05Z  6 min 14 s  rolled back  green failed\u{fffd}[2J"
        );
    }
}
