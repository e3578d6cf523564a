//! The whole of shifter in one process: proxy, controller and admin, from binding to the last request.

use crate::config::{Config, ConfigError};
use crate::control::{ControlCommand, Handle};
use crate::daemon::control_plane::{Control, StartError, State};
use crate::daemon::handover::{Predecessor, Successor};
use crate::daemon::inputs::{self, DaemonInputs};
use crate::daemon::logging;
use crate::daemon::signals::{Signal, Signals};
use crate::daemon::systemd;
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::proxy::{self, Listeners};
use crate::store::{Clock, FolderLock, SharedState};
use sd_notify::NotifyState;
use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The argument that a successor is started with.
const TAKE_OVER: &str = "--take-over";

/// The bound listeners and the locked state, before anything starts.
pub struct Prepared {
    config: Arc<Config>,
    file: Option<PathBuf>,
    listeners: Listeners,
    state: State,
    predecessor: Option<Predecessor>,
}

impl Prepared {
    /// The configuration of the process.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Binds every listener and locks the state folder: a failure here has no effects.
    ///
    /// # Errors
    /// When an address is taken, or the state folder is locked or cannot be used.
    pub fn from_config(config: Config, file: Option<PathBuf>) -> Result<Prepared, StartError> {
        let lock = FolderLock::take(&config.state)?;
        let listeners = proxy::bind(&config.proxy.all_listen(), systemd::inherited())?;
        Ok(Prepared {
            state: State::behind(lock, &config)?,
            config: Arc::new(config),
            file,
            listeners,
            predecessor: None,
        })
    }

    /// Takes them from a running shifter on the same folder; without one as [`Prepared::from_config`].
    ///
    /// The other process serves until this one does.
    ///
    /// # Errors
    /// When the other process does not hand over, an address is taken, or the state cannot be used.
    pub fn take_over(config: Config, file: Option<PathBuf>) -> Result<Prepared, StartError> {
        let Some((mut predecessor, given)) = Predecessor::ask(&config.state)? else {
            return Prepared::from_config(config, file);
        };
        let listeners = proxy::bind(&config.proxy.all_listen(), given)?;
        predecessor.ready()?;
        Ok(Prepared {
            state: State::take(&config)?,
            config: Arc::new(config),
            file,
            listeners,
            predecessor: Some(predecessor),
        })
    }

    /// Everything in memory, on a listener that is bound already: for the demo.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory(config: Config, listener: TcpListener) -> Result<Prepared, StartError> {
        Ok(Prepared {
            config: Arc::new(config),
            file: None,
            listeners: Listeners {
                all: vec![listener],
                shared: false,
            },
            state: State::in_memory()?,
            predecessor: None,
        })
    }
}

/// A running shifter.
pub struct Process {
    /// The handle of the controller.
    pub handle: Handle,
    /// The state that both planes share.
    pub board: Arc<SharedState>,
    /// The Prometheus metrics.
    pub metrics: Arc<Metrics>,
    /// The configuration at the start.
    pub config: Arc<Config>,
    file: Option<PathBuf>,
    proxy: proxy::Proxy,
    control: Control,
}

impl Process {
    /// Starts all parts; the first accepted connection is routed by the saved table.
    ///
    /// # Errors
    /// When a part cannot be started; the message says which, and what to do.
    pub async fn start(prepared: Prepared) -> Result<Process, StartError> {
        let Prepared {
            config,
            file,
            listeners,
            state,
            predecessor,
        } = prepared;
        Clock::now();
        let metrics =
            Arc::new(Metrics::new().map_err(|error| StartError::Internal(error.to_string()))?);
        let board = Arc::new(SharedState::keyed(config.clone(), state.key.clone()));
        let (control, handle) =
            Control::start(&board, &metrics, &config, file.clone(), state).await?;
        let proxy = proxy::Proxy::start(&board, &config, &metrics, listeners)
            .map_err(|error| StartError::Internal(error.to_string()))?;
        if let Some(predecessor) = predecessor
            && let Err(error) = predecessor.serving()
        {
            tracing::warn!(%error, "the shifter that ran before went away while it was replaced");
        }
        Ok(Process {
            handle,
            board,
            metrics,
            config,
            file,
            proxy,
            control,
        })
    }

    /// Ends in order: lame duck, listeners closed, requests in flight finished, state recorded.
    pub async fn stop(self) -> proxy::Stopped {
        let stopped = self.proxy.stop().await;
        self.control.stop(&self.handle).await;
        stopped
    }

    /// Serves until SIGTERM or SIGINT, reloading on SIGHUP, replaced by a successor where one asks or on
    /// SIGUSR2; a second signal ends at once.
    pub async fn serve_until_stopped(mut self, mut inputs: DaemonInputs) -> Exit {
        systemd::tell(&[NotifyState::Ready, NotifyState::MainPid(std::process::id())]);
        loop {
            tokio::select! {
                signal = inputs.signals.next() => match signal {
                    Signal::Stop => break,
                    Signal::Reopen => self.proxy.reopen_log(),
                    Signal::Reload => {
                        self.proxy.reopen_log();
                        if let Err(refusal) = self.handle.order(None, ControlCommand::Reload).await {
                            tracing::error!("{refusal}");
                        }
                    }
                    Signal::Replace => start_successor(),
                },
                asked = inputs::asked(inputs.handover.as_ref()) => match asked {
                    Ok(successor) => match self.hand_over(successor, &mut inputs).await {
                        Ok(Some(process)) => self = process,
                        Ok(None) => return Exit::Ok,
                        Err(exit) => return exit,
                    },
                    Err(error) => {
                        tracing::warn!(%error, "no successor can ask any more");
                        inputs.handover = None;
                    }
                },
            }
        }
        systemd::tell(&[NotifyState::Stopping]);
        inputs.handover = None;
        self.stop_unless_again(&mut inputs.signals).await;
        Exit::Ok
    }

    /// Hands over to a successor; `Some` when that failed and this process goes on.
    async fn hand_over(
        self,
        mut successor: Successor,
        inputs: &mut DaemonInputs,
    ) -> Result<Option<Process>, Exit> {
        let kept = |error: std::io::Error| {
            tracing::error!(%error, "the successor did not get ready; this shifter goes on");
        };
        let offered = tokio::task::block_in_place(|| successor.offer(self.proxy.listeners()));
        if let Err(error) = offered {
            kept(error);
            return Ok(Some(self));
        }
        tracing::info!("a successor is ready; it gets the state folder, requests go on");
        inputs.handover = None;
        let Process {
            handle,
            board,
            metrics,
            config: _,
            file,
            proxy,
            control,
        } = self;
        control.stop(&handle).await;
        let Err(error) = tokio::task::block_in_place(|| successor.give()) else {
            systemd::tell(&[NotifyState::Stopping]);
            tracing::info!("the successor serves; requests in flight finish here");
            let stopped = proxy.leave().await;
            tracing::info!(finished = stopped.finished, cut = stopped.cut, "stopped");
            return Ok(None);
        };
        kept(error);
        // The configuration may have been reloaded since the start.
        let config = board.snapshot().config.clone();
        match Control::again(&board, &metrics, &config, file.clone()).await {
            Ok((control, handle)) => {
                let process = Process {
                    handle,
                    board,
                    metrics,
                    config,
                    file,
                    proxy,
                    control,
                };
                inputs.open_handover(&process.config.state);
                Ok(Some(process))
            }
            Err(error) => {
                tracing::error!("{error}");
                let exit = error.exit();
                proxy.stop().await;
                Err(exit)
            }
        }
    }

    /// Ends in order, or at once at the next signal.
    pub async fn stop_unless_again(self, signals: &mut Signals) {
        tracing::info!(
            "stopping: answers say `Connection: close`, requests in flight finish; a second signal ends at once"
        );
        tokio::select! {
            stopped = self.stop() => {
                tracing::info!(finished = stopped.finished, cut = stopped.cut, "stopped");
            }
            () = signals.stop_again() => {
                tracing::warn!("stopped at once by a second signal");
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
        }
    }
}

/// Starts this program's current file on disk as a successor.
fn start_successor() {
    let mut words = std::env::args_os();
    let Some(program) = words.next() else { return };
    let mut command = tokio::process::Command::new(program);
    command
        .args(words.filter(|word| word != TAKE_OVER))
        .arg(TAKE_OVER);
    match command.spawn() {
        Ok(mut child) => {
            tracing::info!(pid = child.id(), "a successor was started");
            tokio::spawn(async move {
                if let Ok(status) = child.wait().await {
                    tracing::error!("the successor ended: {status}; this shifter goes on");
                }
            });
        }
        Err(error) => {
            tracing::error!(%error, "no successor could be started; this shifter goes on")
        }
    }
}

/// Reads the configuration; prints a fault with its place, and returns the exit code.
///
/// # Errors
/// The exit code, after the fault was printed with its place.
pub fn load(path: &std::path::Path) -> Result<Config, Exit> {
    Config::load(path).map_err(|error| {
        tell(error);
        Exit::Usage
    })
}

/// Prints a fault of the configuration with its place.
pub fn tell(error: ConfigError) {
    anstream::eprintln!("{:?}", miette::Report::new(error));
}

/// A runtime with the configured number of workers, and with the configured logging.
///
/// # Errors
/// The exit code, after the problem was printed: no threads can be had.
pub fn runtime(config: &Config, level: Option<&str>) -> Result<tokio::runtime::Runtime, Exit> {
    logging::init(config.log.format, level.unwrap_or(config.log.level.name()));
    let threads = match config.proxy.threads {
        0 => std::thread::available_parallelism().map_or(2, std::num::NonZero::get),
        n => n,
    };
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .thread_name("proxy")
        .enable_all()
        .build()
        .map_err(|error| {
            anstream::eprintln!("shifter: cannot start: {error}");
            Exit::Internal
        })
}

/// Runs a future to its end; other tasks on the runtime are abandoned after a moment.
pub fn block_on<T>(runtime: tokio::runtime::Runtime, future: impl Future<Output = T>) -> T {
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
