//! `shifter run`: a rollout, followed to its end, by a running shifter or by this process itself.

mod own;
mod remote;

use crate::admin::body::RunRequest;
use crate::cli::commands::demo::Recipe;
use crate::cli::progress;
use crate::cli::{Global, output};
use crate::control::view::{RolloutView, ServiceView, View};
use crate::core::answers::Expected;
use crate::core::plan::Strategy;
use crate::daemon::process;
use crate::exit::Exit;
use serde::Serialize;
use std::time::Duration;

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
    /// This is the first version: no blue is there, whatever else runs.
    #[arg(long)]
    pub first: bool,
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
            first: self.first,
            expect: self.expect.iter().map(|one| Expected::from(*one)).collect(),
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
    match (remote::run(global, &args, socket, config.as_ref()), config) {
        (Some(exit), _) => exit,
        (None, Some(config)) => own::run(global, &args, config),
        (None, None) => {
            anstream::eprintln!(
                "shifter: no shifter answers on the socket, and the configuration file {} does not exist. Start `shifter serve`, or write one with `shifter init`",
                global.config.display()
            );
            Exit::Unreachable
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
