//! How commands find a running shifter and query it.

use crate::admin::{Client, ClientError};
use crate::cli::{Global, output};
use crate::config::Config;
use crate::daemon::process;
use crate::exit::Exit;
use std::path::PathBuf;

/// The admin socket: from the command line, or from the configuration.
///
/// # Errors
/// The exit code, after the problem was printed: the configuration cannot be read.
pub fn socket(global: &Global) -> Result<PathBuf, Exit> {
    if let Some(socket) = &global.socket {
        return Ok(socket.clone());
    }
    if !global.config.exists() {
        output::narrate(&format!(
            "shifter: no shifter to ask: there is no configuration {} that would name its admin socket.\nGo to its folder, or name one of them: --config FILE, --socket PATH",
            global.config.display()
        ));
        return Err(Exit::Usage);
    }
    match Config::load(&global.config) {
        Ok(config) => Ok(config.admin.socket),
        Err(error) => match Config::socket_of(&global.config).filter(|socket| socket.exists()) {
            Some(socket) => {
                output::narrate(&format!(
                    "shifter: {} cannot be used as it is (`shifter check` says why); asking the shifter that runs, at {}",
                    global.config.display(),
                    socket.display()
                ));
                Ok(socket)
            }
            None => {
                process::tell(error);
                Err(Exit::Usage)
            }
        },
    }
}

/// Queries the running shifter; prints an error, and returns the exit code of its kind.
///
/// # Errors
/// The exit code, after the problem was printed.
pub fn ask<T>(
    global: &Global,
    question: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
) -> Result<T, Exit> {
    let socket = socket(global)?;
    let answer = Client::new(&socket).and_then(|client| block_on(question(&client)));
    answer.map_err(|error| refused(&error))
}

/// Queries a shifter that may not run: `None` when none answers.
///
/// # Errors
/// When one answers and refuses.
pub fn ask_if_there<T>(
    global: &Global,
    question: impl AsyncFnOnce(&Client) -> Result<T, ClientError>,
) -> Option<T> {
    let socket = match &global.socket {
        Some(socket) => socket.clone(),
        None => Config::load(&global.config).ok()?.admin.socket,
    };
    let client = Client::new(&socket).ok()?;
    block_on(question(&client)).ok()
}

/// Prints why there was no answer.
pub fn refused(error: &ClientError) -> Exit {
    output::narrate(&format!("shifter: {}", output::tame(&error.to_string())));
    error.exit()
}

/// Runs a few queries; one thread is enough for them.
///
/// # Errors
/// When a query fails, or no runtime can be had.
pub fn block_on<T>(future: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(future),
        Err(source) => Err(ClientError::Unreachable {
            socket: PathBuf::from("(no runtime)"),
            source,
        }),
    }
}
