//! `shifter run`: a rollout, followed to its end, by a running shifter or by this process itself.

use crate::admin::body::RunRequest;
use crate::admin::client::{Client, ClientError};
use crate::cli::commands::demo::Recipe;
use crate::cli::progress::{self, ProgressPrinter};
use crate::cli::{Global, output};
use crate::config::Config;
use crate::control::view::{RolloutView, ServiceView, View};
use crate::control::{CommandError, ControlCommand};
use crate::core::answers::Expected;
use crate::core::phase::PhaseKind;
use crate::core::plan::Strategy;
use crate::daemon::inputs::DaemonInputs;
use crate::daemon::process::{self, Prepared, Process};
use crate::daemon::signals::Signals;
use crate::exit::Exit;
use crate::store::journal::Note;
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// How long a follower waits for a shifter that is gone.
const RESTART: Duration = Duration::from_secs(60);

/// Interval of reading the state while waiting for notes.
const LOOK: Duration = Duration::from_millis(200);

/// Options of `shifter run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The service; may be left out when there is one.
    pub service: Option<String>,
    /// How traffic moves; the configuration's, when not given.
    #[arg(long, value_enum)]
    pub strategy: Option<Recipe>,
    /// The image of the new version: green's containers are made from blue's, on this image.
    #[arg(long, value_name = "NAME:TAG")]
    pub image: Option<String>,
    /// Exit with the rollout's result instead of serving on (only where this process serves).
    #[arg(long)]
    pub exit: bool,
    /// Do not begin when there is not enough memory for two versions.
    #[arg(long)]
    pub strict: bool,
    /// A rollout under way gives way to this one.
    #[arg(long)]
    pub supersede: bool,
    /// What green changes on purpose: told in this rollout, and not judged; may be given several times.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub expect: Vec<Expect>,
}

/// A change that is on purpose.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum Expect {
    /// Redirects and answers of 400 to 499.
    Status,
    /// How many clients leave before the answer.
    GaveUp,
    /// The time until the last byte of answers.
    LastByte,
    /// The size of bodies.
    Size,
    /// The content type of answers.
    Type,
}

impl From<Expect> for Expected {
    fn from(expect: Expect) -> Expected {
        match expect {
            Expect::Status => Expected::Status,
            Expect::GaveUp => Expected::GaveUp,
            Expect::LastByte => Expected::LastByte,
            Expect::Size => Expected::Size,
            Expect::Type => Expected::Type,
        }
    }
}

impl Args {
    fn request(&self) -> RunRequest {
        RunRequest {
            strategy: self.strategy.map(Strategy::from),
            supersede: self.supersede,
            image: self.image.clone(),
            strict: self.strict,
            expect: self.expect.iter().map(|one| Expected::from(*one)).collect(),
        }
    }
}

impl Args {
    fn order(&self) -> ControlCommand {
        let RunRequest {
            strategy,
            supersede,
            image,
            strict,
            expect,
        } = self.request();
        ControlCommand::Run {
            strategy,
            supersede,
            image,
            strict,
            expect,
        }
    }
}

/// The output at the end of a followed rollout.
#[derive(Debug, Serialize)]
struct Ended<'a> {
    service: &'a str,
    rollout: i64,
    outcome: &'a str,
    reason: Option<&'a str>,
    exit_code: u8,
}

/// Runs a rollout: by the shifter on the socket, or in this process.
pub fn run(global: &Global, args: Args) -> Exit {
    let config = if global.socket.is_some() && !global.config.exists() {
        None
    } else {
        match process::load(&global.config) {
            Ok(config) => Some(config),
            Err(exit) => return exit,
        }
    };
    let configured = config.as_ref().map(|config| config.admin.socket.clone());
    let socket = global.socket.clone().or(configured);
    match (ask_the_daemon(global, &args, socket), config) {
        (Some(exit), _) => exit,
        (None, Some(config)) => be_the_daemon(global, &args, config),
        (None, None) => {
            anstream::eprintln!(
                "shifter: no shifter answers on the socket, and the configuration file {} does not exist. Start `shifter serve`, or write one with `shifter init`",
                global.config.display()
            );
            Exit::Unreachable
        }
    }
}

// ---- by a running shifter

/// The exit code of a rollout by a running shifter; `None` when none answers.
fn ask_the_daemon(global: &Global, args: &Args, socket: Option<PathBuf>) -> Option<Exit> {
    let socket = socket?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let client = Client::new(&socket).ok()?;
        client.status().await.ok()?;
        Some(match follow_remote(global, args, &client).await {
            Ok(exit) => exit,
            Err(error) => {
                anstream::eprintln!("shifter: {error}");
                error.exit()
            }
        })
    })
}

async fn follow_remote(global: &Global, args: &Args, client: &Client) -> Result<Exit, ClientError> {
    let done = client.run(args.service.as_deref(), &args.request()).await?;
    let Some(rollout) = done.rollout else {
        return Ok(Exit::Internal);
    };
    let mut teller = ProgressPrinter::default();
    loop {
        match follow_remotely(global, client, rollout, &mut teller).await {
            Err(ClientError::Unreachable { .. }) if back_again(client, rollout).await => {}
            ended => return ended,
        }
    }
}

/// Waits for a shifter that is gone; false when it does not come back in time.
async fn back_again(client: &Client, rollout: i64) -> bool {
    anstream::eprintln!(
        "shifter: the shifter went away; rollout r-{rollout} is saved and goes on when it is started again. Waiting {} s for it",
        RESTART.as_secs()
    );
    let until = Instant::now() + RESTART;
    while Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        if client.status().await.is_ok() {
            return true;
        }
    }
    false
}

async fn follow_remotely(
    global: &Global,
    client: &Client,
    rollout: i64,
    teller: &mut ProgressPrinter,
) -> Result<Exit, ClientError> {
    let mut events = client.events(Some(teller.told()), Some(rollout)).await?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            note = events.next() => match note? {
                Some(note) => teller.note(&note),
                None => events = client.events(Some(teller.told()), Some(rollout)).await?,
            },
            _ = look.tick() => {
                let view = client.status().await?;
                let Some((service, view)) = find(&view, rollout) else { continue };
                teller.heartbeat(service, view);
                if view.outcome.is_some() {
                    for note in client.notes(teller.told(), rollout).await? {
                        teller.note(&note);
                    }
                    return Ok(ended(global, service, view));
                }
            }
            _ = tokio::signal::ctrl_c() => {
                anstream::eprintln!(
                    "shifter: not followed any longer; rollout r-{rollout} goes on. `shifter status` shows it, `shifter rollback` ends it"
                );
                return Ok(Exit::Interrupted);
            }
        }
    }
}

fn find(view: &View, rollout: i64) -> Option<(&ServiceView, &RolloutView)> {
    view.services.iter().find_map(|service| {
        let found = service
            .rollout
            .as_ref()
            .filter(|found| found.id == rollout)?;
        Some((service, found))
    })
}

/// Prints the outcome, and returns its exit code.
fn ended(global: &Global, service: &ServiceView, rollout: &RolloutView) -> Exit {
    let outcome = rollout.outcome.as_deref().unwrap_or_default();
    let exit = rollout
        .outcome_kind()
        .map_or(Exit::Internal, progress::exit);
    let facts = Ended {
        service: &service.name,
        rollout: rollout.id,
        outcome,
        reason: rollout.reason.as_deref(),
        exit_code: exit.code(),
    };
    let words = outcome.replace('_', " ");
    let text = match &rollout.reason {
        Some(reason) => format!("{} r-{}: {words}: {reason}", service.name, rollout.id),
        None => format!("{} r-{}: {words}", service.name, rollout.id),
    };
    output::facts(global.output, &facts, &text);
    exit
}

// ---- by this process

fn be_the_daemon(global: &Global, args: &Args, config: Config) -> Exit {
    let runtime = match process::runtime(&config, global.log.as_deref().or(Some("warn"))) {
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
            let ears = DaemonInputs::with(signals, &process.config.state);
            let narrating = tokio::spawn(narration.go_on());
            let exit = process.serve_until_stopped(ears).await;
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
            let receipt = process.handle.order(service, args.order()).await?;
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
