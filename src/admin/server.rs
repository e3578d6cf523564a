//! The two listeners: a unix socket for everything, TCP for reading and, with the token, for the
//! rest.

use crate::admin::api::{self, App};
use crate::admin::guard::Door;
use crate::config::Admin;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::fs::{self, DirBuilder, Permissions};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// The most open connections on each listener; further ones wait.
const CONNECTIONS_MAX: usize = 256;

/// The longest wait for a request's header, so that silent connections do not pile up.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for answers under way at shutdown.
const GRACE: Duration = Duration::from_secs(1);

/// Why a listener cannot be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The TCP address is taken, or not ours.
    #[error(
        "cannot listen on {address} for the admin API: {source}. Stop what listens there (`ss -ltnp` names it), or set another address in [admin] listen (\"off\" for none)"
    )]
    Tcp {
        /// The address.
        address: std::net::SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Another shifter answers on the socket.
    #[error("a shifter answers on {} already. Ask it with `shifter status`, stop it first, or give this one a socket of its own with [admin] socket", path.display())]
    Answering {
        /// The socket.
        path: PathBuf,
    },
    /// Something that is not a socket has the socket's name.
    #[error("{} exists and is not a socket; it was not touched. Move it away, or set another path in [admin] socket", path.display())]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// The socket cannot be created.
    #[error("cannot make the admin socket {}: {source}. Set a path in [admin] socket that shifter may write and that has fewer than 100 bytes", path.display())]
    Socket {
        /// The path.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Both listeners, bound and not yet accepting.
#[derive(Debug)]
pub struct Bound {
    socket: UnixListener,
    /// The socket's file; removed when this is dropped.
    file: SocketFile,
    tcp: Option<(std::net::TcpListener, Door)>,
}

impl Bound {
    /// Binds both listeners, before anything else of the process starts.
    ///
    /// # Errors
    /// When an address is taken or a path cannot be used; nothing was changed then.
    pub fn bind(admin: &Admin) -> Result<Bound, BindError> {
        let tcp = admin
            .listen
            .map(|address| bind_tcp(address, admin))
            .transpose()?;
        let (socket, file) = bind_socket(&admin.socket)?;
        Ok(Bound { socket, file, tcp })
    }

    /// The bound TCP address, if TCP is on.
    pub fn address(&self) -> Option<std::net::SocketAddr> {
        self.tcp
            .as_ref()
            .and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// Serves until `shutdown`, then gives answers under way one second to finish.
    pub async fn serve(self, app: App, shutdown: impl Future<Output = ()>) {
        let Bound { socket, file, tcp } = self;
        let (stop, stopped) = watch::channel(false);
        let mut servers = JoinSet::new();
        let router = api::router(app.clone(), stopped.clone(), Door::Socket);
        match tokio::net::UnixListener::from_std(socket) {
            Ok(listener) => {
                servers.spawn(serve_listener(listener, router, stopped.clone()));
            }
            Err(error) => tracing::error!(%error, "the admin socket cannot be served"),
        }
        if let Some((listener, door)) = tcp {
            let router = api::router(app, stopped.clone(), door);
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    servers.spawn(serve_listener(listener, router, stopped));
                }
                Err(error) => tracing::error!(%error, "the admin address cannot be served"),
            }
        }
        shutdown.await;
        drop(file);
        let _ = stop.send(true);
        while servers.join_next().await.is_some() {}
    }
}

fn bind_tcp(
    address: std::net::SocketAddr,
    admin: &Admin,
) -> Result<(std::net::TcpListener, Door), BindError> {
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let listener = bind().map_err(|source| BindError::Tcp { address, source })?;
    let token = admin.token.clone().map(Arc::new);
    Ok((
        listener,
        Door::Tcp {
            listen: address,
            token,
            hosts: admin.hosts.clone().into(),
        },
    ))
}

/// The file of a bound socket; removed on drop, unless another file has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path)
        .ok()
        .map(|meta| (meta.dev(), meta.ino()))
}

/// Creates the socket in a folder that only this user can enter and moves it to its place when its
/// mode is right: at no time can another user connect to it.
fn bind_socket(path: &Path) -> Result<(UnixListener, SocketFile), BindError> {
    let unusable = |source| BindError::Socket {
        path: path.to_owned(),
        source,
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    // The name that is bound is shorter: without this check, the socket could get a path that is
    // too long to connect to.
    SocketAddr::from_pathname(path).map_err(unusable)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(unusable)?;
    make_way(path)?;
    let hidden = folder.join(format!(".s{}", std::process::id()));
    let _ = fs::remove_dir_all(&hidden);
    DirBuilder::new()
        .mode(0o700)
        .create(&hidden)
        .map_err(unusable)?;
    let made = make(&hidden.join("s"), path);
    let _ = fs::remove_dir_all(&hidden);
    let listener = made.map_err(unusable)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: identity(path),
    };
    Ok((listener, file))
}

fn make(hidden: &Path, path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(hidden)?;
    listener.set_nonblocking(true)?;
    fs::set_permissions(hidden, Permissions::from_mode(0o600))?;
    fs::rename(hidden, path)?;
    Ok(listener)
}

/// Removes a socket that a dead process left: nothing answers on it. Anything else is not ours to
/// remove.
fn make_way(path: &Path) -> Result<(), BindError> {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(BindError::NotASocket {
            path: path.to_owned(),
        });
    }
    match UnixStream::connect(path) {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound
            ) =>
        {
            Ok(())
        }
        Err(source) => Err(BindError::Socket {
            path: path.to_owned(),
            source,
        }),
        Ok(_) => Err(BindError::Answering {
            path: path.to_owned(),
        }),
    }
}

/// What both kinds of listeners have in common.
trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for tokio::net::TcpListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        let (stream, _) = tokio::net::TcpListener::accept(self).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

impl Accept for tokio::net::UnixListener {
    type Stream = tokio::net::UnixStream;

    async fn accept(&self) -> io::Result<Self::Stream> {
        Ok(tokio::net::UnixListener::accept(self).await?.0)
    }
}

async fn serve_listener(listener: impl Accept, router: Router, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok(stream) => {
                let connection = serve_connection(stream, router.clone(), stop.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors: nothing to do but wait until some are free.
                tracing::warn!(%error, "a connection to the admin API was not accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finished).await;
}

async fn serve_connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    let service = TowerToHyperService::new(router);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    // A client that disconnects in the middle is no error: there is nothing to report.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stop.wait_for(|stop| *stop) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
