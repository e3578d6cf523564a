//! `shifter serve`: the daemon.

use crate::cli::Global;
use crate::cli::process::{self, Prepared, Process};
use crate::exit::Exit;

/// Options of `shifter serve`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Serves until told to stop.
pub fn run(global: &Global, _args: Args) -> Exit {
    let config = match process::load(&global.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match process::runtime(&config, global.log.as_deref()) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let prepared = match Prepared::from_config(config, Some(global.config.clone())) {
        Ok(prepared) => prepared,
        Err(error) => {
            anstream::eprintln!("shifter: {error}");
            return error.exit();
        }
    };
    process::block_on(runtime, async {
        match Process::start(prepared).await {
            Ok(process) => {
                let listen: Vec<String> = process
                    .config
                    .proxy
                    .listen
                    .iter()
                    .map(ToString::to_string)
                    .collect();
                let access = process.config.docker.access;
                tracing::info!(listen = listen.join(","), "serving; {}", access.meaning());
                process.serve_until_stopped().await
            }
            Err(error) => {
                anstream::eprintln!("shifter: {error}");
                error.exit()
            }
        }
    })
}
