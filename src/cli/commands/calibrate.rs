//! `shifter calibrate`: how far two equal versions of this application differ, and how the judge rates that.

use crate::cli::Global;
use crate::cli::output::{self, Table, percent};
use crate::cli::recording_source;
use crate::control::view::API_VERSION;
use crate::core::analysis::{RecordedLine, lacking, words_on};
use crate::core::judge::words::grouped;
use crate::core::judge::{Metric, Verdict};
use crate::core::time::span;
use crate::exit::Exit;
use crate::simulate::bootstrap::{self, Alarm, Spread, Stretch};
use serde::Serialize;
use std::path::PathBuf;

/// The promised limit of the share of false rollbacks.
const PROMISED: f64 = 0.01;

/// Confidences that are tried beside the recorded one.
const LADDER: [f64; 4] = [0.99, 0.995, 0.999, 0.9999];

/// The shortest recording in seconds: long enough for some bursts.
const SECONDS_MIN: usize = 300;

/// How to record two equal versions.
const HOW: &str = "Record one: let green be the version that blue runs, with `on_worse = \"report\"` and \
                   `steps = [{ weight = 50, hold = \"30m\", deadline = \"31m\" }, { weight = 100 }]`, then `shifter run`, and `shifter abort` before 100%";

/// Options of `shifter calibrate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It wants a recording in which green was the version that blue ran, best half an hour at 50%:\nset on_worse = \"report\", run with blue's own image or a second blue, and abort before 100%.\n\nExit codes: 0 the promise of 1% is kept with the settings as they are, 5 it is not."
)]
pub struct Args {
    /// A rollout's number, or a service: then its last rollout; neither: the last rollout of all.
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub which: Option<String>,
    /// A recording instead: what `GET /v1/rollouts/ID/seconds` answers, or its lines.
    #[arg(long, value_name = "FILE", conflicts_with = "which")]
    pub file: Option<PathBuf>,
    /// How often the recorded seconds are judged in another order.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(300..=100_000))]
    pub rollouts: u64,
}

#[derive(Debug, Serialize)]
struct Calibration {
    api_version: &'static str,
    seconds: usize,
    rollouts: u64,
    /// Users were pinned; the reordered judgements count their requests instead.
    by_users: bool,
    /// A part of it is not at 50 %, where the sides can be swapped.
    uneven: bool,
    /// The share that the harm cap or an outage rolls back, whatever the confidence.
    certain: f64,
    /// The recorded judge found the equal green worse.
    recorded_as_worse: bool,
    metrics: Vec<MetricSpread>,
    /// By confidence, the recorded one first.
    false_rollbacks: Vec<Share>,
    /// The metric behind most false rollbacks, where there are any.
    mostly: Option<Metric>,
    /// The confidence that keeps the promise; `None` where none of those tried does.
    confidence: Option<f64>,
}

#[derive(Debug, Serialize)]
struct MetricSpread {
    metric: Metric,
    blue_requests: u64,
    blue_bad: u64,
    green_requests: u64,
    green_bad: u64,
    dispersion: Option<f64>,
    bursts: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Share {
    confidence: f64,
    share: f64,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let lines = match recording_source::lines(global, args.which.as_deref(), args.file.as_deref()) {
        Ok(lines) => lines,
        Err(exit) => return exit,
    };
    if let Some(words) = words_on(lacking(&lines)) {
        output::narrate(&format!("shifter: {words}"));
    }
    let stretches = bootstrap::stretches(&lines);
    let seconds = bootstrap::seconds(&stretches);
    if seconds < SECONDS_MIN {
        let have = match seconds {
            0 => "no whole ten seconds of blue beside green".to_owned(),
            seconds => format!("only {} of blue beside green", span(seconds as f64)),
        };
        output::narrate(&format!(
            "shifter: {have} was recorded, and it takes {} to say anything, better half an hour. {HOW}",
            span(SECONDS_MIN as f64)
        ));
        return Exit::Usage;
    }
    let calibration = calibrate(&lines, &stretches, args.rollouts);
    let kept = calibration
        .false_rollbacks
        .first()
        .is_some_and(|now| now.share <= PROMISED);
    match output::facts(global.output, &calibration, &text(&calibration)) {
        Exit::Ok if !kept => Exit::Inconclusive,
        exit => exit,
    }
}

fn calibrate(lines: &[RecordedLine], stretches: &[Stretch], rollouts: u64) -> Calibration {
    let policy = lines.iter().rev().find_map(|line| match line {
        RecordedLine::Policy(policy) => Some((**policy).clone()),
        _ => None,
    });
    let policy = policy.unwrap_or_default();
    let now = 1.0 - policy.alpha;
    let alarms = bootstrap::alarms(stretches, &policy, rollouts);
    let stricter = LADDER
        .into_iter()
        .filter(|confidence| *confidence > now + 1e-9);
    let shares: Vec<Share> = [now]
        .into_iter()
        .chain(stricter)
        .map(|confidence| Share {
            confidence,
            share: bootstrap::share(&alarms, confidence),
        })
        .collect();
    let failed = |line: &RecordedLine| {
        matches!(
            line,
            RecordedLine::Second {
                verdict: Verdict::Fail { .. },
                ..
            }
        )
    };
    Calibration {
        api_version: API_VERSION,
        seconds: bootstrap::seconds(stretches),
        rollouts,
        by_users: !policy.unit.is_requests(),
        uneven: bootstrap::uneven(stretches),
        certain: bootstrap::share(&alarms, 1.0),
        recorded_as_worse: lines.iter().any(failed),
        metrics: Metric::ALL
            .map(|metric| facts(metric, bootstrap::spread(stretches, metric)))
            .into(),
        mostly: mostly(&alarms),
        confidence: shares
            .iter()
            .find(|tried| tried.share <= PROMISED)
            .map(|tried| tried.confidence),
        false_rollbacks: shares,
    }
}

fn facts(metric: Metric, spread: Spread) -> MetricSpread {
    let [blue_requests, blue_bad, green_requests, green_bad] = spread.counts;
    MetricSpread {
        metric,
        blue_requests,
        blue_bad,
        green_requests,
        green_bad,
        dispersion: spread.dispersion,
        bursts: spread.bursts,
    }
}

/// The metric behind most of the false rollbacks.
fn mostly(alarms: &[Alarm]) -> Option<Metric> {
    let count = |metric| {
        let blamed = alarms.iter().filter(|alarm| alarm.metric == Some(metric));
        blamed.count()
    };
    let most = Metric::ALL
        .into_iter()
        .max_by_key(|metric| count(*metric))?;
    (count(most) > 0).then_some(most)
}

// ---- output for people

/// The note on a recording of a service with `sticky`.
const BY_USERS: &str = "  users were pinned here and are counted, not requests: the figures below are by requests, of which a busy user has many\n";

fn text(calibration: &Calibration) -> String {
    let mut text = format!(
        "{} of two equal versions side by side\n",
        span(calibration.seconds as f64)
    );
    if calibration.recorded_as_worse {
        text.push_str(
            "  this green was judged worse than blue: were they the same version, on equal terms?\n",
        );
    }
    text.push_str(if calibration.by_users { BY_USERS } else { "" });
    if calibration.uneven {
        text.push_str(
            "  not all of it is at 50%: a green that had luck, or none, keeps it in every order. Better half an hour at 50%\n",
        );
    }
    let mut table = Table::new(&["", ">blue", ">green", ">spread", ">bursts of one side"]);
    for metric in &calibration.metrics {
        let bad = |requests: u64, bad: u64| match requests {
            0 => "-".to_owned(),
            _ => format!(
                "{} of {}",
                percent(100.0 * bad as f64 / requests as f64),
                grouped(requests)
            ),
        };
        table.row([
            match metric.metric {
                Metric::Err => "failed".to_owned(),
                other => format!("slow ({})", other.name()),
            },
            bad(metric.blue_requests, metric.blue_bad),
            bad(metric.green_requests, metric.green_bad),
            metric
                .dispersion
                .map_or("-".to_owned(), |dispersion| format!("{dispersion:.1}")),
            metric
                .bursts
                .map_or("-".to_owned(), |bursts| bursts.to_string()),
        ]);
    }
    text.push_str(&table.render("  "));
    text.push_str(
        "  spread: 1 is what chance makes of equal versions; bursts: blocks of 10 s. A green is slow above its margin only\n",
    );
    text.push_str(&format!(
        "false rollbacks, the same seconds judged {} times in other orders\n",
        grouped(calibration.rollouts)
    ));
    for (at, tried) in calibration.false_rollbacks.iter().enumerate() {
        text.push_str(&format!(
            "  confidence = {}: {}{}\n",
            ratio(tried.confidence),
            percent(100.0 * tried.share),
            if at == 0 { ", as it is set" } else { "" }
        ));
    }
    text.push_str(&advice(calibration));
    text
}

/// The number without rounding noise: `0.99`.
fn ratio(confidence: f64) -> String {
    let text = format!("{confidence:.6}");
    text.trim_end_matches('0').to_owned()
}

fn advice(calibration: &Calibration) -> String {
    let kept = calibration
        .false_rollbacks
        .first()
        .map(|now| now.share <= PROMISED);
    let margin = calibration
        .mostly
        .filter(|metric| metric.level().is_some())
        .map_or(String::new(), |metric| {
            format!(
                "; or a wider `latency_margin`, most of them are by {}",
                metric.name()
            )
        });
    if calibration.certain > PROMISED {
        return format!(
            "`max_excess_failures` (or an outage of 5 s) alone sends {} of good versions back, whatever the confidence: raise it, or leave it out\n",
            percent(100.0 * calibration.certain)
        );
    }
    match (kept, calibration.confidence) {
        (Some(true), _) => "keep it: at most 1% of good versions go back\n".to_owned(),
        (_, Some(confidence)) => format!(
            "set `confidence = {}`, for at most 1% of good versions going back{margin}; then record and calibrate again\n",
            ratio(confidence)
        ),
        (_, None) => format!(
            "no confidence mends this: the two versions differ by more than chance. Look for cold caches, another machine, a job that runs on one side{margin}\n"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::Policy;
    use crate::simulate::bootstrap::tests::equal;

    fn calibrated(lines: &[RecordedLine]) -> Calibration {
        calibrate(lines, &bootstrap::stretches(lines), 100)
    }

    #[test]
    fn equal_versions_are_told_to_keep_the_settings() {
        let calibration = calibrated(&equal(600, 0.0));
        let text = text(&calibration);
        assert!(text.starts_with("10 min of two equal versions"), "{text}");
        assert!(
            text.contains("confidence = 0.99: 0%, as it is set"),
            "{text}"
        );
        assert!(
            text.ends_with("keep it: at most 1% of good versions go back\n"),
            "{text}"
        );
        assert_eq!(calibration.confidence, Some(0.99));
    }

    #[test]
    fn bursts_of_one_side_get_another_confidence_or_none() {
        let calibration = calibrated(&equal(1_800, 0.5));
        let now = &calibration.false_rollbacks[0];
        assert!(now.share > PROMISED, "{calibration:?}");
        assert_eq!(calibration.mostly, Some(Metric::Err));
        let text = text(&calibration);
        assert!(!text.contains("keep it"), "{text}");
        assert!(
            text.contains("set `confidence = ") || text.contains("no confidence mends this"),
            "{text}"
        );
        // Each confidence is stricter than the one before.
        let shares: Vec<f64> = calibration
            .false_rollbacks
            .iter()
            .map(|tried| tried.share)
            .collect();
        assert!(shares.is_sorted_by(|a, b| a >= b), "{shares:?}");
    }

    #[test]
    fn a_green_that_was_judged_worse_is_asked_about() {
        let mut lines = equal(600, 0.0);
        let fail = Verdict::Fail { reason: "x".into() };
        if let Some(RecordedLine::Second { verdict, .. }) = lines.last_mut() {
            *verdict = fail;
        }
        assert!(text(&calibrated(&lines)).contains("were they the same version"));
    }

    #[test]
    fn a_ratio_has_its_own_digits() {
        assert_eq!(ratio(1.0 - 0.01), "0.99");
        assert_eq!(ratio(0.9999), "0.9999");
    }

    #[test]
    fn a_policy_that_allows_no_failure_is_certain_whatever_the_confidence() {
        let mut lines = equal(600, 0.5);
        lines[0] = RecordedLine::Policy(Box::new(Policy {
            max_excess_failures: Some(0),
            ..Policy::default()
        }));
        let calibration = calibrated(&lines);
        assert_eq!(calibration.confidence, None);
        assert!(
            calibration
                .false_rollbacks
                .iter()
                .all(|tried| tried.share > 0.5)
        );
        let text = text(&calibration);
        let alone = "`max_excess_failures` (or an outage of 5 s) alone sends ";
        assert!(text.contains(alone), "{text}");
    }
}
