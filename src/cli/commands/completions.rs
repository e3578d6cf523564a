//! `shifter completions`: what a shell needs to complete commands and options.

use crate::cli::{Cli, output};
use crate::exit::Exit;
use clap::CommandFactory;
use clap_complete::Shell;

/// Options of `shifter completions`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Writes the shell's script.
pub fn run(args: Args) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "shifter", &mut script);
    output::bytes(&script)
}
