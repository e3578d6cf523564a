//! The demo's narration: the events as they happen, and the cost of the fault without shifter.

use super::load::{self, SLOW, Seen};
use super::{Args, Fault, Recipe, Stage};
use crate::control::view::{RolloutView, ServiceView};
use crate::control::{CommandError, ControlCommand, RolloutRequest};
use crate::core::outcome::OutcomeKind;
use crate::core::phase::PhaseKind;
use crate::daemon::process::Process;
use crate::store::journal::Note;
use crate::store::saved::Tone;
use anstyle::{AnsiColor, Style};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// Time with users on blue alone before the first rollout: the past that green is compared with.
const BEFORE: Duration = Duration::from_secs(3);

/// The longest time of an act before the demo itself counts as broken.
const PATIENCE: Duration = Duration::from_secs(40);

/// Width of the bar of the traffic, in characters.
const BAR: usize = 40;

pub(super) struct Story<'a> {
    process: &'a Process,
    stages: &'a [Stage; 2],
    rate: f64,
    seen: Arc<Seen>,
    users: tokio::task::JoinHandle<()>,
    begun: Instant,
    notes: broadcast::Receiver<Note>,
}

impl<'a> Story<'a> {
    pub(super) fn begin(
        process: &'a Process,
        address: SocketAddr,
        stages: &'a [Stage; 2],
        args: &Args,
    ) -> Story<'a> {
        let seen = Arc::new(Seen::default());
        let rate = f64::from(args.rate);
        let versions = ["1.0".to_owned(), "1.1".to_owned()];
        let users = tokio::spawn(load::users(address, rate, versions, seen.clone()));
        let b = Style::new().bold();
        anstream::println!(
            "{b}shifter demo{b:#}: a shop gets a new version, on this machine, without Docker.\n"
        );
        anstream::println!(
            "  users   {} requests a second to http://{address}",
            args.rate
        );
        anstream::println!("  blue    shop 1.0 at {}   what runs now", stages[0].addr);
        anstream::println!(
            "  green   shop 1.1 at {}   what is to replace it",
            stages[1].addr
        );
        anstream::println!(
            "  plan    {}. This is a short plan for a demo:\n          a real one holds each share for minutes, until the evidence is in.\n",
            match args.strategy {
                Recipe::Canary => "5 % of the users, then 50 %, then everybody, seconds at each",
                Recipe::BlueGreen => "everybody at once, watched for 12 s and more",
            }
        );
        let notes = process.handle.notes();
        Story {
            process,
            stages,
            rate,
            seen,
            users,
            begun: Instant::now(),
            notes,
        }
    }

    /// Plays one rollout; true when it ended as it must.
    pub(super) async fn act(
        &mut self,
        number: usize,
        of: usize,
        fault: Fault,
        recipe: Recipe,
    ) -> Result<bool, CommandError> {
        let b = Style::new().bold();
        if of > 1 {
            let title = if fault == Fault::None {
                "the mended version"
            } else {
                "a bad version"
            };
            anstream::println!(
                "{b}Act {number}: {title}{b:#} (shop 1.1; what nobody knows: {})",
                fault.story()
            );
        } else {
            anstream::println!("{b}Shop 1.1{b:#} (what nobody knows: {})", fault.story());
        }
        let before = self.begun + BEFORE;
        tokio::time::sleep_until(before.into()).await;
        let failed_before = self.seen.failed.load(Relaxed);
        let answered_before = self.seen.answered.load(Relaxed);
        let slow_before = self.seen.slow.load(Relaxed);
        let started = Instant::now();
        let order = ControlCommand::Run(RolloutRequest {
            strategy: Some(recipe.into()),
            ..RolloutRequest::default()
        });
        let receipt = self.process.handle.order(Some("shop"), order).await?;
        let ordered = receipt.rollout.unwrap_or_default();
        let rollout = self.watch(ordered, started, fault).await;
        let failed = self.seen.failed.load(Relaxed) - failed_before;
        let asked = failed + self.seen.answered.load(Relaxed) - answered_before;
        let slow = self.seen.slow.load(Relaxed) - slow_before;
        let outcome = rollout.as_ref().and_then(RolloutView::outcome_kind);
        self.sum_up(
            outcome,
            rollout.as_ref(),
            fault,
            [asked, failed, slow],
            started.elapsed(),
        );
        Ok(if fault == Fault::None {
            outcome == Some(OutcomeKind::Promoted)
        } else {
            outcome == Some(OutcomeKind::RolledBack)
        })
    }

    /// Narrates the rollout until it is over.
    async fn watch(&mut self, ordered: i64, started: Instant, fault: Fault) -> Option<RolloutView> {
        let mut picture = tokio::time::interval(Duration::from_secs(1));
        let mut killed = false;
        loop {
            tokio::select! {
                note = self.notes.recv() => if let Ok(note) = note { self.tell(&note) },
                _ = picture.tick() => {
                    let view = self.process.handle.view();
                    let service = view.service("shop")?;
                    // The view may be older than the command.
                    let mine = service.rollout.clone().filter(|rollout| rollout.id == ordered);
                    let Some(rollout) = mine else { continue };
                    if fault == Fault::Down && !killed && service.weight_percent > 0.0 && rollout.step_seconds > 1.5 {
                        killed = true;
                        self.stages[1].kill();
                        self.say(Style::new().dimmed(), "(shop 1.1 dies)");
                    }
                    let over = rollout.phase_kind() == Some(PhaseKind::Finished);
                    if rollout.outcome.is_none() {
                        self.paint(service, &rollout);
                    }
                    if over || started.elapsed() > PATIENCE {
                        while let Ok(note) = self.notes.try_recv() {
                            self.tell(&note);
                        }
                        return Some(rollout);
                    }
                }
            }
        }
    }

    fn tell(&self, note: &Note) {
        let colored = |color: AnsiColor| Style::new().fg_color(Some(color.into())).bold();
        let style = match note.tone() {
            Tone::Good => colored(AnsiColor::Green),
            Tone::Bad | Tone::Alert => colored(AnsiColor::Red),
            Tone::Change => colored(AnsiColor::Cyan),
            Tone::Plain => Style::new(),
        };
        self.say(style, &note.text);
    }

    fn say(&self, style: Style, text: &str) {
        anstream::println!(
            "{:>6.1}s  {style}{text}{style:#}",
            self.begun.elapsed().as_secs_f64()
        );
    }

    fn paint(&self, service: &ServiceView, rollout: &RolloutView) {
        let (blue, green) = (service.blue.requests_per_second, service.green.as_ref());
        let green_rate = green.map_or(0.0, |pool| pool.requests_per_second);
        let share = service.weight_percent / 100.0;
        let cells = (share * BAR as f64).ceil() as usize;
        let (b, g) = (
            Style::new().fg_color(Some(AnsiColor::Blue.into())),
            Style::new().fg_color(Some(AnsiColor::Green.into())),
        );
        let bar = format!(
            "{b}{}{b:#}{g}{}{g:#}",
            "█".repeat(BAR - cells),
            "▒".repeat(cells)
        );
        let failed = green.map_or(0.0, |pool| pool.failed_percent);
        let p50 = |p50: Option<f64>| p50.map_or("-".to_owned(), |ms| format!("{ms:.0} ms"));
        let evidence = rollout
            .evidence
            .as_ref()
            .map_or(1.0, |report| report.ln_e.exp());
        anstream::println!(
            "{:>6.1}s  {bar}  blue {blue:.0}/s {:.1}% bad {}   green {green_rate:.0}/s {failed:.1}% bad {}   evidence {} of 100:1",
            self.begun.elapsed().as_secs_f64(),
            service.blue.failed_percent,
            p50(service.blue.p50_ms),
            p50(green.and_then(|pool| pool.p50_ms)),
            ratio(evidence),
        );
    }

    fn sum_up(
        &self,
        outcome: Option<OutcomeKind>,
        rollout: Option<&RolloutView>,
        fault: Fault,
        [asked, failed, slow]: [u64; 3],
        took: Duration,
    ) {
        let b = Style::new().bold();
        let line = rollout
            .and_then(|rollout| rollout.reason.clone().or_else(|| rollout.line.clone()))
            .unwrap_or_default();
        match outcome {
            Some(OutcomeKind::Promoted) => anstream::println!(
                "\n  {b}Promoted in {:.0} s.{b:#} {failed} of {asked} requests failed, about as many as before: users noticed nothing.\n",
                took.as_secs_f64()
            ),
            Some(OutcomeKind::RolledBack) => {
                let harmed = if matches!(fault, Fault::Latency | Fault::Tail) {
                    format!(
                        "{slow} of {asked} requests took longer than {} ms",
                        SLOW.as_millis()
                    )
                } else {
                    format!("{failed} of {asked} requests failed")
                };
                anstream::println!(
                    "\n  {b}Rolled back by itself after {:.0} s.{b:#} Why: {line}.\n  What it cost: {harmed}. {}\n",
                    took.as_secs_f64(),
                    self.without(fault)
                );
            }
            other => anstream::println!(
                "\n  {b}It ended {}{b:#}, which this demo did not expect: {line}\n",
                other.map_or("too late", OutcomeKind::name)
            ),
        }
    }

    /// The cost of this fault with all users on green until a person looks.
    fn without(&self, fault: Fault) -> String {
        let share = match fault {
            Fault::None | Fault::Latency => {
                return "Switched at once, every user would have waited until somebody looked."
                    .to_owned();
            }
            Fault::Errors | Fault::Tail => 0.2,
            Fault::Down => 1.0,
        };
        let harmed = self.rate * share * 300.0;
        format!("Switched at once and noticed after five minutes, it would have been {harmed:.0}.")
    }

    pub(super) fn end(&mut self) {
        self.users.abort();
        let b = Style::new().bold();
        anstream::println!(
            "That was all: {} answers, {} errors, {:.0} s.\nNext: {b}shifter init{b:#} writes a configuration for your own service; {b}shifter run --strategy canary{b:#} does this to it.",
            self.seen.answered.load(Relaxed),
            self.seen.failed.load(Relaxed),
            self.begun.elapsed().as_secs_f64()
        );
    }
}

fn ratio(evidence: f64) -> String {
    if evidence >= 10.0 {
        format!("{evidence:.0}:1")
    } else {
        format!("{evidence:.1}:1")
    }
}
