//! `shifter replay`: a recorded rollout judged again, as it was or with other margins.

use crate::cli::Global;
use crate::cli::output::{self, tame};
use crate::cli::recording_source;
use crate::control::view::API_VERSION;
use crate::core::analysis::{
    Again, Difference, EvidenceKinds, RecordedLine, Replay, lacking, replay, words_on,
};
use crate::core::judge::{Policy, Verdict};
use crate::core::time::span;
use crate::exit::Exit;
use serde::Serialize;
use std::path::PathBuf;

/// Options of `shifter replay`. Exit code 0: judged as recorded; 5: judged otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exit codes: 0 the verdict is the recorded one, 5 it is another one.")]
pub struct Args {
    /// A rollout's number, or a service: then its last rollout; neither: the last rollout of all.
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub which: Option<String>,
    /// A recording instead: what `GET /v1/rollouts/ID/seconds` answers, or its lines.
    #[arg(long, value_name = "FILE", conflicts_with = "which")]
    pub file: Option<PathBuf>,
    /// Another confidence: above 0.5 and below 1.
    #[arg(long, value_name = "RATIO", value_parser = confidence)]
    pub confidence: Option<f64>,
    /// Another cap on the failed requests that green may cost beyond blue's rate.
    #[arg(long, value_name = "N")]
    pub max_excess_failures: Option<u64>,
}

fn confidence(text: &str) -> Result<f64, String> {
    let wrong = || "give a ratio above 0.5 and at most 0.999999, such as 0.99".to_owned();
    let ratio: f64 = text.parse().map_err(|_| wrong())?;
    if ratio > 0.5 && ratio <= 0.999_999 {
        Ok(ratio)
    } else {
        Err(wrong())
    }
}

#[derive(Serialize)]
struct Facts<'a> {
    api_version: &'static str,
    same: bool,
    /// The kinds of evidence that the recording cannot have.
    missing_evidence: EvidenceKinds,
    #[serde(flatten)]
    users: Replayed<'a>,
    /// The judgement by shifter's own probe requests, where there were some.
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<Replayed<'a>>,
}

#[derive(Serialize)]
struct Replayed<'a> {
    seconds: usize,
    recorded: Option<&'a (usize, Verdict)>,
    replayed: Option<&'a (usize, Verdict)>,
    differences: &'a [Difference],
}

impl Replayed<'_> {
    fn of(replay: &Replay) -> Replayed<'_> {
        Replayed {
            seconds: replay.seconds,
            recorded: replay.recorded.as_ref(),
            replayed: replay.replayed.as_ref(),
            differences: &replay.differences,
        }
    }
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let lines = match recording_source::lines(global, args.which.as_deref(), args.file.as_deref()) {
        Ok(lines) => lines,
        Err(exit) => return exit,
    };
    let again = replay(&lines, policy(&args, &lines));
    let same = same(&again.users) && same(&again.probes);
    let facts = Facts {
        api_version: API_VERSION,
        same,
        missing_evidence: lacking(&lines),
        users: Replayed::of(&again.users),
        probes: (again.probes.seconds > 0).then(|| Replayed::of(&again.probes)),
    };
    let mut text = text(&again);
    if let Some(words) = words_on(facts.missing_evidence) {
        text.push_str(&format!("{words}\n"));
    }
    match output::facts(global.output, &facts, &text) {
        Exit::Ok if !same => Exit::Inconclusive,
        exit => exit,
    }
}

/// The recorded margins with the changes from the command line; `None` without changes.
fn policy(args: &Args, lines: &[RecordedLine]) -> Option<Policy> {
    if args.confidence.is_none() && args.max_excess_failures.is_none() {
        return None;
    }
    let recorded = lines.iter().find_map(|line| match line {
        RecordedLine::Policy(policy) => Some((**policy).clone()),
        _ => None,
    });
    let mut policy = recorded.unwrap_or_default();
    if let Some(confidence) = args.confidence {
        policy.alpha = 1.0 - confidence;
        // Beside probes each judge has half of it.
        if lines
            .iter()
            .any(|line| matches!(line, RecordedLine::Probed { .. }))
        {
            policy.alpha /= 2.0;
        }
    }
    if args.max_excess_failures.is_some() {
        policy.max_excess_failures = args.max_excess_failures;
    }
    Some(policy)
}

/// Whether green failed in both judgements, or in neither.
fn same(replay: &Replay) -> bool {
    replay.recorded.is_some() == replay.replayed.is_some()
}

fn text(again: &Again) -> String {
    let mut text = judged(&again.users, "evidence");
    if again.probes.seconds > 0 {
        text.push_str(&judged(&again.probes, "probes"));
    }
    text
}

fn judged(replay: &Replay, what: &str) -> String {
    let same = same(replay);
    let told = |verdict: &Option<(usize, Verdict)>| match verdict {
        Some((second, Verdict::Fail { reason })) => {
            format!(
                "green fails after {}: {}",
                span(*second as f64),
                tame(reason)
            )
        }
        _ => "green does not fail".to_owned(),
    };
    let again = match replay.differences.len() {
        0 => "second by second the same".to_owned(),
        1 => "1 second was judged otherwise".to_owned(),
        n => format!("{n} seconds were judged otherwise"),
    };
    format!(
        "{} of {what}\n  recorded: {}\n  replayed: {}\n{}: {again}\n",
        span(replay.seconds as f64),
        told(&replay.recorded),
        told(&replay.replayed),
        if same && replay.differences.is_empty() {
            "the same verdict"
        } else if same {
            "the same outcome"
        } else {
            "ANOTHER VERDICT"
        }
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::core::judge::{Control, Judge};
    use crate::core::stats::{PoolCounts, Tick};

    /// A recording of a green that fails every tenth request.
    pub(crate) fn recording() -> Vec<RecordedLine> {
        let mut judge = Judge::new(Policy::default());
        let start = RecordedLine::Start {
            last: false,
            control: Control::Concurrent,
            weight: 500,
            terms: Default::default(),
        };
        let mut lines = vec![RecordedLine::Policy(Box::default()), start];
        let pool = |requests, failed| PoolCounts {
            requests,
            failed,
            timed: requests - failed,
            ..PoolCounts::default()
        };
        judge.start_step(false, Control::Concurrent);
        for second in 0..120u64 {
            let tick = Tick {
                blue: pool(95, 0),
                green: pool(5, second % 2),
            };
            judge.tick(&tick);
            lines.push(RecordedLine::Second {
                tick,
                verdict: judge.verdict(),
            });
        }
        lines
    }

    fn args(confidence: Option<f64>, cap: Option<u64>) -> Args {
        Args {
            which: None,
            file: None,
            confidence,
            max_excess_failures: cap,
        }
    }

    #[test]
    fn as_recorded_it_is_the_same_and_another_cap_is_sooner() {
        let lines = recording();
        let whole = replay(&lines, policy(&args(None, None), &lines));
        assert!(text(&whole).contains("second by second the same"));
        assert!(!text(&whole).contains("probes"));
        let again = whole.users;
        assert!(same(&again) && again.recorded.is_some() && again.differences.is_empty());
        let capped = replay(&lines, policy(&args(None, Some(1)), &lines)).users;
        assert!(capped.replayed.as_ref().unwrap().0 < again.replayed.as_ref().unwrap().0);
        assert!(!capped.differences.is_empty());
    }

    #[test]
    fn a_confidence_is_a_ratio() {
        assert_eq!(confidence("0.999"), Ok(0.999));
        for bad in ["99", "0.5", "1", "NaN", "x"] {
            assert!(confidence(bad).is_err(), "{bad}");
        }
    }
}
