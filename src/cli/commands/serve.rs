//! `shifter serve`: the daemon.

use crate::cli::Global;
use crate::daemon::inputs::DaemonInputs;
use crate::daemon::process::{self, Prepared, Process};
use crate::exit::Exit;

/// Options of `shifter serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Take the place of the shifter that runs on the same state folder: its listeners are handed over, nobody
    /// is turned away, and it ends. Where none runs, this one just starts.
    #[arg(long)]
    take_over: bool,
}

/// Serves until the process is told to stop.
pub fn run(global: &Global, args: Args) -> Exit {
    let config = match process::load(&global.config) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let runtime = match process::runtime(&config, global.log.as_deref()) {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    let file = Some(global.config.clone());
    let prepared = if args.take_over {
        Prepared::take_over(config, file)
    } else {
        Prepared::from_config(config, file)
    };
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            anstream::eprintln!("shifter: {error}");
            return error.exit();
        }
    };
    process::block_on(runtime, async {
        let inputs = match DaemonInputs::open(&prepared.config().state) {
            Ok(inputs) => inputs,
            Err(error) => {
                anstream::eprintln!("shifter: signals cannot be received: {error}");
                return Exit::Internal;
            }
        };
        match Process::start(prepared).await {
            Ok(process) => {
                let listen: Vec<String> = process
                    .config
                    .proxy
                    .all_listen()
                    .into_iter()
                    .map(|address| address.to_string())
                    .collect();
                let access = process.config.docker.access;
                tracing::info!(listen = listen.join(","), "serving; {}", access.meaning());
                process.serve_until_stopped(inputs).await
            }
            Err(error) => {
                anstream::eprintln!("shifter: {error}");
                error.exit()
            }
        }
    })
}
