//! `shifter explain`: why a rollout ended as it did, in numbers.

use crate::admin::body::RolloutRecord;
use crate::admin::{Client, ClientError};
use crate::cli::Global;
use crate::cli::commands::history::{outcome, started, took};
use crate::cli::connect;
use crate::cli::output::{self, Table, tame, tame_lines};
use crate::control::view::API_VERSION;
use crate::core::answers::Hearing;
use crate::core::fault::Faults;
use crate::core::judge::report::beyond;
use crate::core::judge::words::{against_one, grouped, percent, times};
use crate::core::judge::{Finding, Metric, Report, RouteFinding};
use crate::exit::Exit;
use crate::store::journal::Note;
use serde::Serialize;

/// Options of `shifter explain`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A rollout's number, or a service: then its last rollout; neither: the last rollout of all.
    #[arg(value_name = "ROLLOUT|SERVICE")]
    pub which: Option<String>,
}

/// Names of each kind that are shown.
const FAULTS_SHOWN: usize = 3;

/// Routes that are shown beside the metrics.
const ROUTES_SHOWN: usize = 5;

#[derive(Serialize)]
struct Explained {
    api_version: &'static str,
    #[serde(flatten)]
    rollout: RolloutRecord,
    notes: Vec<Note>,
}

/// Runs the command.
pub fn run(global: &Global, args: Args) -> Exit {
    let found = connect::ask(global, async |client| {
        let Some(rollout) = find(client, args.which.as_deref()).await? else {
            return Ok(None);
        };
        let notes = client.notes(0, rollout.id).await?;
        Ok(Some((rollout, notes)))
    });
    match found {
        Err(exit) => exit,
        Ok(None) => {
            output::narrate(
                "shifter: there is no rollout to explain yet; `shifter run` starts one",
            );
            Exit::Usage
        }
        Ok(Some((rollout, notes))) => {
            let text = text(&rollout, &notes);
            output::facts(
                global.output,
                &Explained {
                    api_version: API_VERSION,
                    rollout,
                    notes,
                },
                &text,
            )
        }
    }
}

/// A rollout by its number (`12`, `r-12`), or the last one of a service, or of all.
///
/// # Errors
/// When there is no such rollout, or the shifter cannot be asked.
pub async fn find(
    client: &Client,
    which: Option<&str>,
) -> Result<Option<RolloutRecord>, ClientError> {
    let number = which.and_then(|text| text.strip_prefix("r-").unwrap_or(text).parse::<i64>().ok());
    if let Some(id) = number {
        return client.rollout(id).await.map(Some);
    }
    if let Some(name) = which {
        // An unknown name must not look like a service without rollouts.
        client.service(Some(name)).await?;
    }
    Ok(client.rollouts(which, 1).await?.into_iter().next())
}

fn text(rollout: &RolloutRecord, notes: &[Note]) -> String {
    let mut text = format!(
        "rollout {} of {} ({}): {}\n  from {} to {}, started {}, took {}\n",
        rollout.id,
        tame(&rollout.service),
        tame(&rollout.strategy),
        outcome(rollout),
        tame(&rollout.from),
        tame(&rollout.to),
        started(rollout),
        took(rollout)
    );
    if let Some(reason) = &rollout.reason {
        text.push_str(&format!("  why: {}\n", tame_lines(reason, 7)));
    }
    match &rollout.evidence {
        Some(report) if !report.has_judged() => {
            text.push_str("\ngreen had no request of a user that could be judged\n");
        }
        Some(report) => text.push_str(&evidence("evidence", report)),
        None => text.push_str("\nno evidence was recorded\n"),
    }
    let probes = rollout
        .evidence
        .as_ref()
        .and_then(|one| one.probes.as_ref());
    if let Some(probes) = probes.filter(|probes| probes.total_requests > 0) {
        text.push_str(&evidence("evidence of probes", probes));
    }
    if !notes.is_empty() {
        text.push_str("\nwhat happened\n");
        for note in notes {
            let at = tame(&note.at);
            let words = tame_lines(&note.text, at.chars().count() + 4);
            text.push_str(&format!("  {at}  {words}\n"));
        }
    }
    text
}

fn evidence(title: &str, report: &Report) -> String {
    // Prints 99.5, and 99 without a trailing digit.
    let sure = (1_000.0 * (1.0 - (-report.ln_limit).exp())).round() / 10.0;
    let interval = format!("odds, {sure}% sure");
    let mut table = Table::new(&[
        "metric",
        ">blue",
        ">of",
        ">bad",
        ">green",
        ">of",
        ">bad",
        &format!(">{interval}"),
        ">evidence of harm",
    ]);
    for finding in &report.findings {
        table.row(row(finding));
    }
    let mut text = format!("\n{title}\n{}", table.render("  "));
    for rail in &report.rails {
        text.push_str(&format!(
            "  limit: {}, evidence {}\n",
            beyond(rail),
            against_one(rail.ln_e)
        ));
    }
    text.push_str(&answers(report));
    text.push_str(&routes(&report.routes));
    for finding in &report.contents {
        text.push_str(&format!("  finding: {}\n", tame(&finding.line())));
    }
    text.push_str(&format!(
        "  all together: {} at its highest; green fails at {}. A green that is not worse gets that far with a chance of at most {}\n",
        against_one(report.ln_e_max),
        against_one(report.ln_limit),
        percent(report.p_anytime)
    ));
    let cap = report
        .max_excess_failures
        .map_or(String::new(), |cap| format!(" of at most {}", grouped(cap)));
    text.push_str(&format!(
        "  harm: about {} failed requests beyond blue's rate{cap}, in {} green requests\n",
        grouped(report.excess_failures.max(0.0).round() as u64),
        grouped(report.total_requests)
    ));
    text.push_str(&faults(&report.faults));
    text
}

/// Further properties of answers that green had more often than blue.
fn answers(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.answers {
        let more = one.green_bad * one.blue_requests > one.blue_bad * one.green_requests;
        if !more && !one.told {
            continue;
        }
        let judged = match one.hearing {
            Hearing::Judge => "",
            Hearing::Report | Hearing::Off => "; told, not judged",
        };
        text.push_str(&format!(
            "  answers: {}, evidence {}{judged}\n",
            tame(&report.answer_words(one)),
            against_one(one.ln_e)
        ));
    }
    text
}

/// The routes with most evidence, or with most requests.
fn routes(found: &[RouteFinding]) -> String {
    let mut text = String::new();
    for (at, one) in found.iter().take(ROUTES_SHOWN).enumerate() {
        let before = match one.past_requests {
            0 => String::new(),
            past => format!(
                ", blue before {} of {}",
                grouped(one.past_failed),
                grouped(past)
            ),
        };
        text.push_str(&format!(
            "  {} {}: green failed {} of {}, blue {} of {}{before}, evidence {}\n",
            if at == 0 { "routes:" } else { "       " },
            tame(&one.route),
            grouped(one.green_failed),
            grouped(one.green_requests),
            grouped(one.blue_failed),
            grouped(one.blue_requests),
            against_one(one.ln_e)
        ));
    }
    text
}

/// Where green failed: the names that cover most failures.
fn faults(faults: &Faults) -> String {
    if faults.total == 0 {
        return String::new();
    }
    let mut text = format!("  where green failed, of {}:\n", grouped(faults.total));
    for (what, tally) in [
        ("route", &faults.routes),
        ("how", &faults.how),
        ("backend", &faults.backends),
    ] {
        let mut ranked: Vec<_> = tally.iter().collect();
        ranked.sort_by_key(|(_, times)| std::cmp::Reverse(**times));
        for (name, times) in ranked.into_iter().take(FAULTS_SHOWN) {
            text.push_str(&format!(
                "    {what:7}  {:>7}  {}\n",
                grouped(*times),
                tame(name)
            ));
        }
    }
    text
}

fn row(finding: &Finding) -> [String; 9] {
    let share = |bad: u64, of: u64| {
        if of == 0 {
            "-".to_owned()
        } else {
            percent(bad as f64 / of as f64)
        }
    };
    let odds = finding.odds.map_or("-".to_owned(), times);
    let high = finding.odds_high.map_or("any".to_owned(), times);
    [
        metric(finding.metric).to_owned(),
        grouped(finding.blue_bad),
        grouped(finding.blue_requests),
        share(finding.blue_bad, finding.blue_requests),
        grouped(finding.green_bad),
        grouped(finding.green_requests),
        share(finding.green_bad, finding.green_requests),
        format!("{odds} ({} to {high})", times(finding.odds_low)),
        against_one(finding.ln_e_fail),
    ]
}

fn metric(metric: Metric) -> &'static str {
    match metric {
        Metric::Err => "failed",
        Metric::P50 => "slower than blue's p50 allows",
        Metric::P90 => "slower than blue's p90 allows",
        Metric::P99 => "slower than blue's p99 allows",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::judge::{Judge, Policy};
    use crate::core::stats::{PoolCounts, Tick};

    #[test]
    fn an_explanation_has_the_counts_the_odds_and_the_story() {
        let mut judge = Judge::new(Policy::default());
        let pool = |requests, failed| PoolCounts {
            requests,
            failed,
            timed: requests - failed,
            ..PoolCounts::default()
        };
        for second in 0..60 {
            judge.tick(&Tick {
                blue: pool(95, u64::from(second % 10 == 0)),
                green: pool(5, 1),
            });
        }
        let rollout = RolloutRecord {
            id: 3,
            service: "api".into(),
            outcome: Some("rolled_back".into()),
            reason: Some("green failed too much".into()),
            evidence: Some(judge.report()),
            ended_at: Some(String::new()),
            ..RolloutRecord::default()
        };
        let note = Note {
            seq: 1,
            at: "then".into(),
            service: "api".into(),
            rollout: 3,
            kind: "verdict".into(),
            text: "back to blue".into(),
        };
        let text = text(&rollout, &[note]);
        for part in [
            "rollout 3 of api",
            "rolled back",
            "why: green failed too much",
            "failed",
            "5,700",
            "60",
            "300",
            "20%",
            "green fails at 100:1",
            "then  back to blue",
            "odds, 99% sure",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
