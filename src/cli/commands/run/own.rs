//! A rollout by this process itself, which serves meanwhile.

use crate::cli::Global;
use crate::cli::commands::run::{Args, LOOK, ended, find};
use crate::cli::progress::ProgressPrinter;
use crate::config::Config;
use crate::control::view::View;
use crate::control::{CommandError, ControlCommand};
use crate::core::phase::PhaseKind;
use crate::daemon::inputs::DaemonInputs;
use crate::daemon::logging;
use crate::daemon::process::{self, Prepared, Process};
use crate::daemon::signals::Signals;
use crate::exit::Exit;
use crate::store::journal::Note;
use tokio::sync::broadcast;

/// Serves, runs the rollout, and serves on or exits with its result.
pub(super) fn run(global: &Global, args: &Args, config: Config) -> Exit {
    let runtime = match process::runtime(
        &config,
        Some(global.log.as_deref().unwrap_or(logging::NARRATED)),
    ) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let users: Vec<String> = config
        .proxy
        .all_listen()
        .into_iter()
        .map(|address| address.to_string())
        .collect();
    let users = users.join(", ");
    let access = config.docker.access.meaning();
    let prepared = match Prepared::from_config(config, Some(global.config.clone())) {
        Ok(prepared) => prepared,
        Err(error) => {
            anstream::eprintln!("shifter: {error}");
            return error.exit();
        }
    };
    anstream::eprintln!(
        "shifter: no shifter answers, so this process is one: users at {users}, until it is stopped; {access}"
    );
    process::block_on(runtime, async {
        match Process::start(prepared).await {
            Ok(process) => roll_and_serve(global, args, process).await,
            Err(error) => {
                anstream::eprintln!("shifter: {error}");
                error.exit()
            }
        }
    })
}

/// The process's narration on standard error: every note, each once.
struct Narration {
    notes: broadcast::Receiver<Note>,
    teller: ProgressPrinter,
}

impl Narration {
    /// Narrates what follows the verdict as well: the end of blue's warm time, stopped containers, problems.
    async fn go_on(mut self) {
        loop {
            match self.notes.recv().await {
                Ok(note) => self.teller.note(&note),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }
}

async fn roll_and_serve(global: &Global, args: &Args, process: Process) -> Exit {
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            anstream::eprintln!("shifter: signals cannot be received: {error}");
            return Exit::Internal;
        }
    };
    let mut narration = Narration {
        notes: process.handle.notes(),
        teller: ProgressPrinter::default(),
    };
    match follow_local(global, args, &process, &mut narration, &mut signals).await {
        Ok(exit) if args.exit || exit == Exit::Interrupted => {
            process.stop_unless_again(&mut signals).await;
            exit
        }
        Ok(exit) => {
            anstream::eprintln!(
                "shifter: serving on until stopped (the verdict's code would be {})",
                exit.code()
            );
            let inputs = DaemonInputs::with(signals, &process.config.state);
            let narrating = tokio::spawn(narration.go_on());
            let exit = process.serve_until_stopped(inputs).await;
            narrating.abort();
            exit
        }
        Err(refusal) => {
            anstream::eprintln!("shifter: {refusal}");
            process.stop().await;
            refused(&refusal)
        }
    }
}

async fn follow_local(
    global: &Global,
    args: &Args,
    process: &Process,
    narration: &mut Narration,
    signals: &mut Signals,
) -> Result<Exit, CommandError> {
    let Narration { notes, teller } = narration;
    let service = args.service.as_deref();
    let rollout = match unfinished(&process.handle.view(), service) {
        // The process ended in the middle of it; the rollout continues from there.
        Some(rollout) if !args.supersede => rollout,
        _ => {
            let receipt = process
                .handle
                .order(service, ControlCommand::Run(args.request().into()))
                .await?;
            receipt.rollout.unwrap_or_default()
        }
    };
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            note = notes.recv() => if let Ok(note) = note { teller.note(&note) },
            _ = look.tick() => {
                let view = process.handle.view();
                let Some((service, view)) = find(&view, rollout) else { continue };
                teller.heartbeat(service, view);
                // A process that goes on serving reports at once; one that exits waits until the pool has drained.
                let settled = matches!(view.phase_kind(), Some(PhaseKind::Finished | PhaseKind::Promoted));
                if view.outcome.is_some() && (!args.exit || settled) {
                    while let Ok(note) = notes.try_recv() {
                        teller.note(&note);
                    }
                    return Ok(ended(global, service, view));
                }
            }
            () = signals.stop() => {
                anstream::eprintln!(
                    "shifter: interrupted: green is taken off, and this process stops. The service is then offline; `shifter serve` brings it back"
                );
                let _ = process.handle.order(service, ControlCommand::Abort).await;
                return Ok(Exit::Interrupted);
            }
        }
    }
}

fn unfinished(view: &View, service: Option<&str>) -> Option<i64> {
    let mut services = view
        .services
        .iter()
        .filter(|found| service.is_none_or(|name| found.name == name));
    services.find_map(|service| {
        let rollout = service
            .rollout
            .as_ref()
            .filter(|rollout| rollout.phase_kind() != Some(PhaseKind::Finished));
        rollout.map(|rollout| rollout.id)
    })
}

fn refused(refusal: &CommandError) -> Exit {
    match refusal {
        CommandError::Busy { .. } => Exit::Busy,
        CommandError::Gone | CommandError::Unrecorded(_) => Exit::Unreachable,
        _ => Exit::Usage,
    }
}
