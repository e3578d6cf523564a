//! The control plane of this process: the state folder, the controller on its thread, the admin listeners.

use crate::admin;
use crate::config::Config;
use crate::control::{Controller, Handle};
use crate::exit::Exit;
use crate::metrics::Metrics;
use crate::proxy;
use crate::store::journal::{JournalError, Opened};
use crate::store::{FolderLock, Journal, Key, SharedState};
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::watch;

/// Why the process could not start. Nothing was served.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port is in use, or an address is not on this host.
    #[error(transparent)]
    Bind(#[from] proxy::BindError),
    /// A port or address of the admin listener cannot be bound.
    #[error(transparent)]
    Admin(#[from] admin::BindError),
    /// The state cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The running shifter did not hand over; it goes on.
    #[error(
        "the shifter that runs did not hand over its place ({0}); it goes on. Its log says why"
    )]
    Handover(#[from] std::io::Error),
    /// An unexpected error.
    #[error("{0}")]
    Internal(String),
}

impl StartError {
    /// The exit code of the process.
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Internal(_) => Exit::Internal,
            StartError::Handover(_) => Exit::Busy,
            StartError::Journal(JournalError::Locked { .. }) => Exit::Busy,
            StartError::Bind(_) | StartError::Admin(_) | StartError::Journal(_) => Exit::Usage,
        }
    }
}

/// The state folder, locked and read, and the admin listeners.
pub struct State {
    admin: Option<admin::Bound>,
    journal: Journal,
    /// The key that signs sticky cookies.
    pub key: Key,
    findings: Vec<String>,
    lock: Option<FolderLock>,
}

impl State {
    /// Takes the state folder; the lock comes first: a second shifter should report the first one, not its port.
    ///
    /// # Errors
    /// When another process holds the folder, or the state or an admin address cannot be used.
    pub fn take(config: &Config) -> Result<State, StartError> {
        let lock = FolderLock::take(&config.state)?;
        State::behind(lock, config)
    }

    /// Opens the state folder under a lock that is held.
    ///
    /// # Errors
    /// When an admin address cannot be bound, or the state was written by a newer shifter.
    pub fn behind(lock: FolderLock, config: &Config) -> Result<State, StartError> {
        let admin = admin::Bound::bind(&config.admin)?;
        let mut findings = vec![];
        let (journal, opened) = Journal::open(&config.state).or_else(|error| {
            // Users come first: the last promoted version serves, and no rollout begins.
            match Journal::that_records_nothing(&error) {
                Some((journal, known)) => {
                    let serves = match known {
                        true => "traffic goes where it went before",
                        false => "the blue of the configuration serves, for what was promoted cannot be read",
                    };
                    findings.push(format!("{error}. Until then {serves}, and no rollout begins or goes on"));
                    Ok((journal, Opened::default()))
                }
                None => Err(error),
            }
        })?;
        if opened.from_copy && opened.put_aside.is_none() {
            findings.push(
                "the state was empty; the copy of the last good generation is in use".to_owned(),
            );
        }
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
        let key = Key::kept(&config.state).unwrap_or_else(|error| {
            findings.push(format!(
                "the key of sticky cookies cannot be read ({error}); it is made anew, and users get new cookies"
            ));
            let key = Key::random();
            // A failed write is ignored: the key is then kept no better than the rest of the state folder.
            let _ = key.keep(&config.state);
            key
        });
        Ok(State {
            admin: Some(admin),
            journal,
            key,
            findings,
            lock: Some(lock),
        })
    }

    /// A journal in memory, and no admin listeners: for the demo.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<State, StartError> {
        Ok(State {
            admin: None,
            journal: Journal::in_memory()?,
            key: Key::random(),
            findings: vec![],
            lock: None,
        })
    }
}

/// The controller and the admin listeners, while this process holds the state folder.
pub struct Control {
    controller: std::thread::JoinHandle<()>,
    admin_stop: watch::Sender<bool>,
    admin: Option<tokio::task::JoinHandle<()>>,
    _lock: Option<FolderLock>,
}

impl Control {
    /// Starts the control plane; when this returns, the saved state is routed.
    ///
    /// # Errors
    /// When the admin listeners cannot serve.
    pub async fn start(
        board: &Arc<SharedState>,
        metrics: &Arc<Metrics>,
        config: &Arc<Config>,
        file: Option<PathBuf>,
        state: State,
    ) -> Result<(Control, Handle), StartError> {
        let (mut controller, handle) = Controller::new(
            board.clone(),
            metrics.clone(),
            state.journal,
            config.clone(),
            file,
            state.findings,
        );
        controller.locate().await;
        let controller = run_controller(controller, metrics.clone())?;
        let (admin_stop, stop) = watch::channel(false);
        let admin = state.admin.map(|bound| {
            let app = admin::App {
                handle: handle.clone(),
                metrics: metrics.clone(),
                board: board.clone(),
            };
            tokio::spawn(bound.serve(app, stopped(stop)))
        });
        let control = Control {
            controller,
            admin_stop,
            admin,
            _lock: state.lock,
        };
        Ok((control, handle))
    }

    /// Starts the control plane again after a stop: the state folder is locked and read anew.
    ///
    /// # Errors
    /// When the folder was taken meanwhile, or cannot be read.
    pub async fn again(
        board: &Arc<SharedState>,
        metrics: &Arc<Metrics>,
        config: &Arc<Config>,
        file: Option<PathBuf>,
    ) -> Result<(Control, Handle), StartError> {
        let state = State::take(config)?;
        Control::start(board, metrics, config, file, state).await
    }

    /// Records the state and releases the folder and the admin listeners.
    pub async fn stop(self, handle: &Handle) {
        handle.stop().await;
        let _ = self.admin_stop.send(true);
        if let Some(admin) = self.admin {
            let _ = admin.await;
        }
        let controller = self.controller;
        let _ = tokio::task::spawn_blocking(move || controller.join()).await;
    }
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Runs the controller on a thread of its own: neither a slow disk nor a panic in it may affect traffic.
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
