//! The whole of shifter in one process: proxy, controller and admin, from binding to the last request.

use crate::admin;
use crate::cli::log;
use crate::config::{Config, ConfigError};
use crate::control::{Controller, Handle, Order};
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::proxy;
use crate::store::journal::JournalError;
use crate::store::{Board, Clock, FolderLock, Journal};
use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// Two signals within this time are one.
const ECHO: Duration = Duration::from_millis(100);

/// Why the process could not start. Nothing was served.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port is taken, or an address is not ours.
    #[error(transparent)]
    Bind(#[from] proxy::BindError),
    /// The same for the admin listener.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// The state cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Anything else that should not happen.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// The code that the process ends with.
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Internal(_) => Exit::Internal,
            StartError::Journal(JournalError::Locked { .. }) => Exit::Busy,
            StartError::Bind(_) | StartError::Admin(_) | StartError::Journal(_) => Exit::Usage,
        }
    }
}

/// What is bound and locked before anything starts.
pub struct Prepared {
    config: Arc<Config>,
    file: Option<PathBuf>,
    listeners: Vec<TcpListener>,
    admin: Option<admin::Bound>,
    journal: Journal,
    findings: Vec<String>,
    _lock: Option<FolderLock>,
}

impl Prepared {
    /// Binds every listener and takes the state folder: whatever fails here, nothing has happened yet.
    pub fn from_config(config: Config, file: Option<PathBuf>) -> Result<Prepared, StartError> {
        // First the lock: a second shifter should hear of the first one, not of its port.
        let lock = FolderLock::take(&config.state)?;
        let listeners = proxy::bind(&config.proxy.listen)?;
        let admin = admin::Bound::bind(&config.admin)?;
        let (journal, opened) = Journal::open(&config.state)?;
        let mut findings = vec![];
        if let Some(aside) = &opened.put_aside {
            let instead = if opened.from_copy {
                "the copy of the last good generation is in use"
            } else {
                "the journal starts anew"
            };
            findings.push(format!(
                "the state was damaged; it was put aside as {}, and {instead}",
                aside.display()
            ));
        }
        Ok(Prepared {
            config: Arc::new(config),
            file,
            listeners,
            admin: Some(admin),
            journal,
            findings,
            _lock: Some(lock),
        })
    }

    /// Everything in memory, on a listener that is bound already: for the demo.
    pub fn in_memory(config: Config, listener: TcpListener) -> Result<Prepared, StartError> {
        Ok(Prepared {
            config: Arc::new(config),
            file: None,
            listeners: vec![listener],
            admin: None,
            journal: Journal::in_memory()?,
            findings: vec![],
            _lock: None,
        })
    }
}

/// A running shifter.
pub struct Process {
    /// The way to the controller.
    pub handle: Handle,
    /// What both planes share.
    pub board: Arc<Board>,
    /// What Prometheus is told.
    pub metrics: Arc<Metrics>,
    /// The configuration at the start.
    pub config: Arc<Config>,
    proxy: proxy::Proxy,
    admin_stop: tokio::sync::watch::Sender<bool>,
    controller: Option<std::thread::JoinHandle<()>>,
    _lock: Option<FolderLock>,
}

impl Process {
    /// Starts all parts; the first accepted connection is routed by the saved table.
    pub async fn start(prepared: Prepared) -> Result<Process, StartError> {
        let Prepared {
            config,
            file,
            listeners,
            admin,
            journal,
            findings,
            _lock,
        } = prepared;
        Clock::now();
        let metrics =
            Arc::new(Metrics::new().map_err(|error| StartError::Internal(error.to_string()))?);
        let board = Arc::new(Board::new(config.clone()));
        let (mut controller, handle) = Controller::new(
            board.clone(),
            metrics.clone(),
            journal,
            config.clone(),
            file,
            findings,
        );
        controller.locate().await;
        let controller = run_controller(controller, metrics.clone())?;
        let proxy = proxy::Proxy::start(&board, &config, &metrics, listeners)
            .map_err(|error| StartError::Internal(error.to_string()))?;
        let (admin_stop, stop) = tokio::sync::watch::channel(false);
        if let Some(bound) = admin {
            let app = admin::App {
                handle: handle.clone(),
                metrics: metrics.clone(),
                board: board.clone(),
            };
            tokio::spawn(bound.serve(app, stopped(stop)));
        }
        Ok(Process {
            handle,
            board,
            metrics,
            config,
            proxy,
            admin_stop,
            controller: Some(controller),
            _lock,
        })
    }

    /// Ends in order: lame duck, listeners closed, requests in flight finished, state recorded.
    pub async fn stop(mut self) -> proxy::Stopped {
        let stopped = self.proxy.stop().await;
        self.handle.stop().await;
        let _ = self.admin_stop.send(true);
        if let Some(controller) = self.controller.take() {
            let _ = tokio::task::spawn_blocking(move || controller.join()).await;
        }
        stopped
    }

    /// Serves until SIGTERM or SIGINT, reloading on SIGHUP; a second signal ends at once.
    pub async fn serve_until_stopped(self) -> Exit {
        let mut signals = match Signals::new() {
            Ok(signals) => signals,
            Err(error) => {
                tracing::error!(%error, "signals cannot be received");
                return Exit::Internal;
            }
        };
        while signals.next().await == Signal::Reload {
            if let Err(refusal) = self.handle.order(None, Order::Reload).await {
                tracing::error!("{refusal}");
            }
        }
        self.stop_unless_again(&mut signals).await;
        Exit::Ok
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

/// What the process is told from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM or SIGINT.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals that mean something here.
pub struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Signals {
    /// Receives them from now on.
    pub fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.term.recv() => Signal::Stop,
            _ = self.int.recv() => Signal::Stop,
            _ = self.hup.recv() => Signal::Reload,
        }
    }

    /// The next one that says stop, and is no echo of the last: who signals a process and its group
    /// means it once.
    pub async fn stop_again(&mut self) {
        let echo = tokio::time::Instant::now() + ECHO;
        loop {
            self.stop().await;
            if tokio::time::Instant::now() > echo {
                return;
            }
        }
    }

    /// The next one that says stop.
    pub async fn stop(&mut self) {
        while self.next().await != Signal::Stop {}
    }
}

async fn stopped(mut stop: tokio::sync::watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// The controller has a thread of its own: neither a slow disk nor a panic in it may touch traffic.
fn run_controller(
    controller: Controller,
    metrics: Arc<Metrics>,
) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Internal(error.to_string()))?;
    metrics.controller_up.set(1);
    std::thread::Builder::new()
        .name("controller".to_owned())
        .spawn(move || {
            struct Down(Arc<Metrics>);
            impl Drop for Down {
                fn drop(&mut self) {
                    self.0.controller_up.set(0);
                    if std::thread::panicking() {
                        tracing::error!("the controller died; traffic goes on with the last weights. Restart shifter when it suits you");
                    }
                }
            }
            let _down = Down(metrics);
            runtime.block_on(controller.run());
        })
        .map_err(|error| StartError::Internal(error.to_string()))
}

/// Reads the configuration; a fault is told with its place, and the code says so.
pub fn load(path: &std::path::Path) -> Result<Config, Exit> {
    Config::load(path).map_err(|error| {
        tell(error);
        Exit::Usage
    })
}

/// Tells a fault of the configuration with its place.
pub fn tell(error: ConfigError) {
    anstream::eprintln!("{:?}", miette::Report::new(error));
}

/// A runtime with as many workers as the configuration says, and logging as it says.
pub fn runtime(config: &Config, level: Option<&str>) -> Result<tokio::runtime::Runtime, Exit> {
    log::init(config.log.format, level.unwrap_or(config.log.level.name()));
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

/// Runs a future to its end; what is left on the runtime then is given up after a moment.
pub fn block_on<T>(runtime: tokio::runtime::Runtime, future: impl Future<Output = T>) -> T {
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(Duration::from_millis(200));
    result
}
