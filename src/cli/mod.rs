//! The command line: its arguments, and the code that its commands share. Each command is a file in [`commands`].
//!
//! Facts go to standard output, narration to standard error.

mod checklist;
pub mod commands;
mod conditions;
pub mod connect;
mod members;
pub mod output;
pub mod progress;
pub mod recording_source;

use crate::cli::commands::{
    calibrate, check, completions, demo, drill, explain, history, init, man, plan, replay, rollout,
    route, run, serve, status,
};
use crate::exit::Exit;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Blue-green and canary rollouts that judge themselves, for plain Docker hosts.
#[derive(Debug, Parser)]
#[command(
    name = "shifter",
    version,
    about,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 promoted or done, 1 internal error, 2 usage or configuration, 3 rolled back,\n4 green never fit to serve, 5 inconclusive, 6 stopped by a person, 7 daemon unreachable, 8 busy, 130 interrupted."
)]
pub struct Cli {
    /// What is common to all commands.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Global {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        env = "SHIFTER_CONFIG",
        default_value = "shifter.toml",
        value_name = "FILE"
    )]
    pub config: PathBuf,
    /// The admin socket of a running shifter; the configuration's, when not given.
    #[arg(long, global = true, env = "SHIFTER_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// The output format of facts on standard output.
    #[arg(long, short, global = true, env = "SHIFTER_OUTPUT", value_enum, default_value_t = output::Format::Text)]
    pub output: output::Format,
    /// The log level on standard error: error, warn, info, debug, trace.
    #[arg(long, global = true, env = "SHIFTER_LOG", value_name = "LEVEL")]
    pub log: Option<String>,
}

/// Everything that shifter can be asked to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Replace a version: start green beside blue, move traffic, compare, promote or roll back
    Run(run::Args),
    /// Serve traffic and wait for rollouts: the daemon
    Serve(serve::Args),
    /// See it work within a minute: two built-in apps, load, a rollout and a fault
    Demo(demo::Args),
    /// Show services, their shares, and the rollout's progress
    Status(status::Args),
    /// Skip to the last share now; green stays judged there
    Promote(rollout::Args),
    /// Approve the step that waits for it
    Approve(rollout::Args),
    /// Pause the rollout at its share; failures still roll it back
    Pause(rollout::Args),
    /// Resume a paused rollout
    Resume(rollout::Args),
    /// End the rollout: back to blue
    Abort(rollout::Args),
    /// Back to blue, also after the promotion while the old version is warm
    Rollback(rollout::RollbackArgs),
    /// Set green's share by hand; the plan pauses there
    SetWeight(rollout::WeightArgs),
    /// Read the configuration file again: all of it, or nothing
    Reload,
    /// Rehearse a rollback, measured, with blue's own backends as green
    Drill(drill::Args),
    /// The rollouts of the past
    History(history::Args),
    /// Why a rollout ended as it did, in numbers
    Explain(explain::Args),
    /// Where a request would go, and why
    Route(route::Args),
    /// What a rollout would do, and how long each step needs to see a regression
    Plan(plan::Args),
    /// Check the configuration file
    Check(check::Args),
    /// Write a commented configuration file
    Init(init::Args),
    /// Judge a recorded rollout again, as it was or with other margins
    Replay(replay::Args),
    /// Estimate the false rollbacks to expect, from a run of two equal versions, and suggest settings
    Calibrate(calibrate::Args),
    /// Completions for a shell
    Completions(completions::Args),
    /// The manual page
    Man,
}

/// Runs the command line.
pub fn main(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    match command {
        Command::Run(args) => run::run(&global, args),
        Command::Serve(args) => serve::run(&global, args),
        Command::Demo(args) => demo::run(&global, args),
        Command::Status(args) => status::run(&global, args),
        Command::Promote(args) => rollout::run(&global, "promote", args),
        Command::Approve(args) => rollout::run(&global, "approve", args),
        Command::Pause(args) => rollout::run(&global, "pause", args),
        Command::Resume(args) => rollout::run(&global, "resume", args),
        Command::Abort(args) => rollout::run(&global, "abort", args),
        Command::Rollback(args) => rollout::rollback(&global, args),
        Command::SetWeight(args) => rollout::set_weight(&global, args),
        Command::Reload => rollout::reload(&global),
        Command::Drill(args) => drill::run(&global, args),
        Command::History(args) => history::run(&global, args),
        Command::Explain(args) => explain::run(&global, args),
        Command::Route(args) => route::run(&global, args),
        Command::Plan(args) => plan::run(&global, args),
        Command::Check(args) => check::run(&global, args),
        Command::Init(args) => init::run(&global, args),
        Command::Replay(args) => replay::run(&global, args),
        Command::Calibrate(args) => calibrate::run(&global, args),
        Command::Completions(args) => completions::run(args),
        Command::Man => man::run(),
    }
}
