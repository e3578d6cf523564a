//! `shifter drill`: the rehearsal of a rollback, measured.

use crate::cli::connect;
use crate::cli::{Global, output};
use crate::exit::Exit;

/// Options of `shifter drill`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The service; not needed when there is only one.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
}

/// Runs the drill and prints its measurements.
pub fn run(global: &Global, args: Args) -> Exit {
    output::narrate(
        "rehearsing a rollback with blue's own backends as green: no user can notice it, it takes some seconds",
    );
    match connect::ask(global, async |client| {
        client.drill(args.service.as_deref()).await
    }) {
        Ok(report) => output::facts(global.output, &report, &report.line()),
        Err(exit) => exit,
    }
}
