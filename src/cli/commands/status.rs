//! `shifter status`: the current state, and what to do next.

use crate::admin::{Client, ClientError};
use crate::cli::Global;
use crate::cli::connect;
use crate::cli::output::{self, Format, Table, members, millis, percent, tame};
use crate::control::view::{PoolView, RolloutView, ServiceView, StepView, View};
use crate::core::judge::Report;
use crate::core::judge::words::grouped;
use crate::core::outcome::OutcomeKind;
use crate::core::phase::PhaseKind;
use crate::core::time::span;
use crate::exit::Exit;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

/// Interval of the updates with `--watch`.
const LOOK: Duration = Duration::from_secs(1);

/// Width of the bar that shows green's share, in characters.
const BAR: usize = 30;

/// Options of `shifter status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// This service only.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
    /// Go on: redrawn each second on a terminal, one line for each change elsewhere.
    #[arg(long, short)]
    pub watch: bool,
}

/// Prints the state once, or until Ctrl-C.
pub fn run(global: &Global, args: Args) -> Exit {
    if args.watch {
        return match connect::ask(global, async |client| {
            watch(client, global.output, args.service.as_deref()).await
        }) {
            Ok(exit) | Err(exit) => exit,
        };
    }
    let view = match connect::ask(global, async |client| {
        seen(client, args.service.as_deref()).await
    }) {
        Ok(view) => view,
        Err(exit) => return exit,
    };
    output::facts(global.output, &view, &text(&view))
}

/// The view, limited to one service when one is named.
async fn seen(client: &Client, service: Option<&str>) -> Result<View, ClientError> {
    let view = client.status().await?;
    match service {
        None => Ok(view),
        Some(name) => Ok(View {
            services: vec![client.service(Some(name)).await?],
            ..view
        }),
    }
}

async fn watch(
    client: &Client,
    format: Format,
    service: Option<&str>,
) -> Result<Exit, ClientError> {
    let draws = format == Format::Text && std::io::stdout().is_terminal();
    let mut known = vec![];
    let mut first = true;
    loop {
        let view = match seen(client, service).await {
            Ok(view) => view,
            // A restart of the daemon does not end the watch.
            Err(error @ ClientError::Unreachable { .. }) if draws && !first => {
                let flow = output::print(&format!(
                    "\x1b[2J\x1b[H{}\ntrying again",
                    tame(&error.to_string())
                ));
                if let ControlFlow::Break(exit) = flow {
                    return Ok(exit);
                }
                tokio::time::sleep(LOOK).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        let flow = if draws {
            draw(&view, first)
        } else {
            tell_changes(&view, format, &mut known)
        };
        if let ControlFlow::Break(exit) = flow {
            return Ok(exit);
        }
        first = false;
        tokio::time::sleep(LOOK).await;
    }
}

/// Overwrites the previous output line by line, without flicker.
fn draw(view: &View, first: bool) -> ControlFlow<Exit> {
    let clear = if first { "\x1b[2J" } else { "" };
    let body = text(view).replace('\n', "\x1b[K\n");
    output::print(&format!(
        "{clear}\x1b[H{body}\x1b[K\nCtrl-C ends this view, not the rollout\x1b[K\n\x1b[J"
    ))
}

/// Prints one line for each service with a changed state.
fn tell_changes(
    view: &View,
    format: Format,
    known: &mut Vec<(String, String)>,
) -> ControlFlow<Exit> {
    let mut changed = false;
    for service in &view.services {
        let now = key(service);
        let before = known.iter_mut().find(|(name, _)| *name == service.name);
        match before {
            Some((_, before)) if *before == now => continue,
            Some((_, before)) => *before = now,
            None => known.push((service.name.clone(), now)),
        }
        changed = true;
        if format == Format::Text {
            output::print(&line(service))?;
        }
    }
    if changed && format == Format::Json {
        let json = serde_json::to_string(view).unwrap_or_default();
        output::print(&json)?;
    }
    ControlFlow::Continue(())
}

/// The state of a service for the comparison with the last one.
fn key(service: &ServiceView) -> String {
    let rollout = service.rollout.as_ref();
    let stands = rollout.map(|rollout| {
        (
            rollout.id,
            &rollout.phase,
            rollout.step,
            &rollout.outcome,
            rollout.degraded,
            &rollout.accused,
        )
    });
    format!("{} {stands:?}", service.weight_percent)
}

fn line(service: &ServiceView) -> String {
    let rollout = match &service.rollout {
        None => "no rollout".to_owned(),
        Some(rollout) => {
            let step = rollout.step.and_then(|at| rollout.steps.get(at));
            let step = step.map_or(String::new(), |step| format!(" ({})", step.name));
            format!("rollout {} {}{step}", rollout.id, stand(rollout))
        }
    };
    format!(
        "{}  {}  green {}  {rollout}",
        crate::control::timeline::now(),
        tame(&service.name),
        percent(service.weight_percent)
    )
}

/// The whole state, as text for people.
fn text(view: &View) -> String {
    let mut text = format!(
        "shifter {} · process {} · up {} · routing table {}\n",
        tame(&view.shifter_version),
        view.pid,
        span(view.uptime_seconds),
        view.table_version
    );
    if let Some(trouble) = &view.trouble {
        text.push_str(&format!(
            "TROUBLE: {}: traffic goes on, weights do not grow\n",
            tame(trouble)
        ));
    }
    if view.draining {
        text.push_str("DRAINING: on its way out, requests in flight finish\n");
    }
    for service in &view.services {
        text.push('\n');
        text.push_str(&service_text(service));
    }
    text
}

fn service_text(service: &ServiceView) -> String {
    let observed = service
        .observed_percent
        .map_or(String::new(), |share| match share {
            small if small < 1.0 => format!(", {} observed", percent(small)),
            share => format!(", {share:.1}% observed"),
        });
    let mut text = format!(
        "{} ({})\n  green {} {} set{observed}\n",
        tame(&service.name),
        tame(&service.hosts.join(", ")),
        bar(service.weight_percent),
        percent(service.weight_percent)
    );
    let mut pools = Table::new(&[
        "",
        "version",
        ">req/s",
        ">failed",
        ">p50",
        ">p95",
        ">p99",
        ">in flight",
        "backends",
    ]);
    pools.row(pool_row("blue", &service.blue));
    if let Some(green) = &service.green {
        pools.row(pool_row("green", green));
    }
    if let Some(baseline) = &service.baseline {
        pools.row(pool_row("baseline", baseline));
    }
    text.push_str(&pools.render("  "));
    if let Some(mirror) = &service.mirror {
        text.push_str(&format!("  mirror: {}\n", mirror.line()));
    }
    if let Some(advice) = &service.advice {
        text.push_str(&format!("  note: {}\n", tame(advice)));
    }
    match &service.rollout {
        Some(rollout) => text.push_str(&rollout_text(&service.name, rollout)),
        None if !service.green_configured => text.push_str(&format!(
            "  no green: `green = [\"IP:PORT\"]` in [service.{}] says where the next version comes\n",
            tame(&service.name)
        )),
        None => text.push_str(&format!(
            "  no rollout since the start; `shifter run {}` starts one, `shifter history` has the earlier ones\n",
            tame(&service.name)
        )),
    }
    text
}

fn bar(share: f64) -> String {
    let full = (share / 100.0 * BAR as f64).round().clamp(0.0, BAR as f64) as usize;
    // A share above 0 must be visible, and one below 100 % must not look full.
    let full = match share {
        s if s > 0.0 && full == 0 => 1,
        s if s < 100.0 && full == BAR => BAR - 1,
        _ => full,
    };
    format!("{}{}", "█".repeat(full), "░".repeat(BAR - full))
}

fn pool_row(color: &str, pool: &PoolView) -> [String; 9] {
    [
        color.to_owned(),
        tame(&pool.release),
        format!("{:.1}", pool.requests_per_second),
        percent(pool.failed_percent),
        millis(pool.p50_ms),
        millis(pool.p95_ms),
        millis(pool.p99_ms),
        pool.in_flight.to_string(),
        members(&pool.backends),
    ]
}

/// The phase of a rollout, or its outcome.
fn stand(rollout: &RolloutView) -> String {
    let phase = rollout.phase.replace('_', " ");
    match &rollout.outcome {
        Some(outcome) if rollout.phase_kind() == Some(PhaseKind::Finished) => {
            outcome.replace('_', " ")
        }
        Some(outcome) if *outcome != rollout.phase => {
            format!("{} ({phase})", outcome.replace('_', " "))
        }
        _ => phase,
    }
}

/// Whether blue is down in a rollout that is not decided.
fn stranded(rollout: &RolloutView) -> bool {
    rollout.degraded && rollout.outcome.is_none()
}

/// The time until the outcome was known, or so far.
fn age(rollout: &RolloutView) -> String {
    let Some(_) = rollout.outcome else {
        return format!("for {}", span(rollout.age_seconds));
    };
    // What follows an outcome is no part of the time that it took.
    let since = match rollout.phase_kind() {
        Some(PhaseKind::Promoted | PhaseKind::RollingBack) => rollout.step_seconds,
        _ => 0.0,
    };
    format!("after {}", span((rollout.age_seconds - since).max(0.0)))
}

fn rollout_text(service: &str, rollout: &RolloutView) -> String {
    let mut text = format!(
        "  rollout {} ({}): {}, {}\n",
        rollout.id,
        tame(&rollout.strategy),
        stand(rollout),
        age(rollout)
    );
    if stranded(rollout) {
        text.push_str(
            "  DEGRADED: blue has no healthy backend; whatever answers serves, nothing advances\n",
        );
    }
    if let Some(accused) = &rollout.accused {
        text.push_str(&format!(
            "  GREEN IS WORSE, and `on_worse` keeps it: {}\n",
            tame(accused)
        ));
    }
    let mut steps = Table::new(&["", "", "", ""]);
    for step in &rollout.steps {
        steps.row(step_row(step, rollout.step_seconds));
    }
    // The steps need no headings: the empty ones are left out.
    text.push_str(
        steps
            .render("    ")
            .split_once('\n')
            .map_or("", |(_, rows)| rows),
    );
    if let Some(waits) = &rollout.waits {
        text.push_str(&format!("  waits: {}\n", tame(waits)));
    }
    text.push_str(&judged(rollout));
    // Where the probes make the verdict it has their text already.
    let probes = rollout.probes.as_ref();
    if let Some(probes) = probes.filter(|probes| rollout.line.as_ref() != Some(probes)) {
        text.push_str(&format!("  {}\n", tame(probes)));
    }
    if let Some(reason) = &rollout.reason {
        text.push_str(&format!("  why: {}\n", tame(reason)));
    }
    if let Some(evidence) = rollout
        .evidence
        .as_ref()
        .filter(|evidence| evidence.step_requests > 0)
    {
        text.push_str(&format!(
            "  judged: {} green requests in this step, {} in the rollout\n",
            grouped(evidence.step_requests),
            grouped(evidence.total_requests)
        ));
    }
    text.push_str(&format!("  next: {}\n", next(&tame(service), rollout)));
    text
}

/// The judge's line, and how green's answers differ.
fn judged(rollout: &RolloutView) -> String {
    let line = rollout.line.iter();
    let line = line.map(|line| format!("  judge: {}\n", tame(line)));
    let report = rollout.evidence.iter();
    let told = report.flat_map(Report::found);
    let told = told.map(|words| format!("  finding: {}\n", tame(&words)));
    line.chain(told).collect()
}

fn step_row(step: &StepView, here: f64) -> [String; 4] {
    let (mark, word) = match step.state.as_str() {
        "done" => ("✔", "done"),
        "current" => ("◐", "now"),
        "ended" => ("✖", "ended here"),
        "skipped" => ("–", "not reached"),
        _ => ("○", "to come"),
    };
    let mut times = vec![];
    if step.state == "current" {
        times.push(format!("for {}", span(here)));
    }
    if let Some(hold) = step.hold_seconds {
        times.push(format!("at least {}", span(hold)));
    }
    if let Some(deadline) = step.deadline_seconds {
        times.push(format!("at most {}", span(deadline)));
    }
    [
        mark.to_owned(),
        word.to_owned(),
        tame(&step.name),
        times.join(", "),
    ]
}

/// The possible next commands.
fn next(service: &str, rollout: &RolloutView) -> String {
    match rollout.phase_kind() {
        _ if stranded(rollout) => format!(
            "bring blue back, or accept green with `shifter promote {service}`: nothing goes on by itself, and `shifter abort {service}` would leave no one to answer"
        ),
        Some(PhaseKind::AwaitingApproval) => format!(
            "`shifter approve {service}` lets it go on, `shifter abort {service}` goes back to blue"
        ),
        Some(PhaseKind::Paused) => format!(
            "`shifter resume {service}` lets it go on, `shifter abort {service}` goes back to blue"
        ),
        Some(PhaseKind::Promoted) => format!(
            "green is the version now; `shifter rollback {service}` goes back while the old one is warm"
        ),
        Some(PhaseKind::RollingBack) => {
            "nothing to do: new requests go to blue, those in flight on green finish".to_owned()
        }
        Some(PhaseKind::Finished) => match rollout.outcome_kind() {
            Some(OutcomeKind::Promoted) | None => {
                format!("`shifter run {service}` starts the next rollout")
            }
            Some(_) => format!(
                "`shifter explain {}` says why; `shifter run {service}` tries again",
                rollout.id
            ),
        },
        Some(
            PhaseKind::Starting
            | PhaseKind::Warming
            | PhaseKind::SmokeTesting
            | PhaseKind::RunningHooks,
        ) => format!(
            "nothing to do: it goes on by itself; `shifter abort {service}` gives green up before any user sees it"
        ),
        Some(PhaseKind::Shifting) | None => format!(
            "nothing to do: it goes on by itself; `shifter abort {service}` goes back to blue, `shifter promote {service}` skips to the last share"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, state: &str) -> StepView {
        StepView {
            name: name.into(),
            state: state.into(),
            hold_seconds: Some(60.0),
            deadline_seconds: Some(900.0),
        }
    }

    fn view(phase: &str, outcome: Option<&str>) -> View {
        let rollout = RolloutView {
            id: 7,
            strategy: "canary".into(),
            phase: phase.into(),
            step: Some(1),
            steps: vec![
                step("start", "done"),
                step("shift 5%", "current"),
                step("shift 100%", "todo"),
            ],
            step_seconds: 12.0,
            outcome: outcome.map(str::to_owned),
            line: Some("no sign of harm".into()),
            ..RolloutView::default()
        };
        let service = ServiceView {
            name: "api".into(),
            hosts: vec!["*".into()],
            weight_percent: 5.0,
            observed_percent: Some(4.87),
            green: Some(PoolView::default()),
            rollout: Some(rollout),
            ..ServiceView::default()
        };
        View {
            services: vec![service],
            ..View::default()
        }
    }

    #[test]
    fn states_are_told_in_signs_and_in_words() {
        let text = text(&view("shifting", None));
        for part in [
            "✔  done",
            "◐  now      shift 5%",
            "for 12 s, at least 1 min, at most 15 min",
            "○  to come",
            "5% set, 4.9% observed",
            "judge: no sign of harm",
            "next: nothing to do: it goes on by itself",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn what_to_do_next_fits_the_phase() {
        let told = |phase: &str, outcome| text(&view(phase, outcome));
        assert!(told("awaiting_approval", None).contains("`shifter approve api`"));
        assert!(told("paused", None).contains("`shifter resume api`"));
        assert!(told("promoted", Some("promoted")).contains("`shifter rollback api`"));
        assert!(told("finished", Some("rolled_back")).contains("`shifter explain 7`"));
        assert!(told("finished", Some("promoted")).contains("the next rollout"));
    }

    #[test]
    fn a_small_share_is_seen_and_a_large_one_is_not_whole() {
        assert_eq!(bar(0.0), "░".repeat(BAR));
        assert_eq!(bar(0.1), format!("█{}", "░".repeat(BAR - 1)));
        assert_eq!(bar(99.9), format!("{}░", "█".repeat(BAR - 1)));
        assert_eq!(bar(100.0), "█".repeat(BAR));
    }

    #[test]
    fn without_a_terminal_only_changes_are_told() {
        let (before, mut after) = (view("shifting", None), view("shifting", None));
        assert_eq!(key(&before.services[0]), key(&after.services[0]));
        after.services[0].weight_percent = 50.0;
        assert_ne!(key(&before.services[0]), key(&after.services[0]));
    }
}
