//! The doors for users: bound first, opened last, closed without losing a request.

use crate::config::Config;
use crate::metrics::Metrics;
use crate::proxy::clocked::Clocked;
use crate::proxy::gateway::Gateway;
use crate::proxy::live::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};
use crate::proxy::{descriptors, handshake};

use crate::store::Board;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: u32 = 4_096;

/// Idle connections to backends that are kept for each thread.
const UPSTREAM_POOL: usize = 1_024;

/// The wait after an accept that failed, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long after the doors closed a connection that was just made may still ask for the first time.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How long handshakes that have begun may take when the doors close: a round trip to the client.
const HANDSHAKES: Duration = Duration::from_millis(100);

/// How often a stop looks whether everything has ended.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// An address that could not be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr}: {source} ({})", advice(.source, .addr))]
pub struct BindError {
    /// The address.
    pub addr: SocketAddr,
    /// What the system said.
    pub source: io::Error,
}

fn advice(error: &io::Error, addr: &SocketAddr) -> String {
    let port = addr.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "another program has port {port}: `ss -ltnp 'sport = :{port}'` shows which; stop it, or change `listen`"
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} needs the right CAP_NET_BIND_SERVICE; grant it, or choose one above 1023"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "no interface of this machine has the address {}; see `ip address`",
                addr.ip()
            )
        }
        _ => "choose another address".to_owned(),
    }
}

/// Binds every address or none, before anything else is started.
pub fn bind(addrs: &[SocketAddr]) -> Result<Vec<std::net::TcpListener>, BindError> {
    addrs
        .iter()
        .map(|&addr| {
            let ready = std::net::TcpListener::bind(addr).and_then(|listener| {
                // Accepted connections inherit it: a user who vanished is noticed in the end.
                let keepalive = TcpKeepalive::new()
                    .with_time(KEEPALIVE_IDLE)
                    .with_interval(KEEPALIVE_INTERVAL);
                SockRef::from(&listener).set_tcp_keepalive(&keepalive)?;
                listener.set_nonblocking(true)?;
                Ok(listener)
            });
            ready.map_err(|source| BindError { addr, source })
        })
        .collect()
}

/// How a stop went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests that were under way when the doors closed, and ended.
    pub finished: u64,
    /// Requests that were still under way at the deadline.
    pub cut: u64,
}

/// How far a stop has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// No new connections; those that are open end with their request.
    Closing,
    /// Nothing is waited for any more.
    Cut,
}

/// Open doors.
pub struct Doors {
    app: Arc<HttpProxy<Gateway>>,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    shutdown: watch::Sender<bool>,
    loops: JoinSet<()>,
}

impl Doors {
    /// Accepts users on these listeners; to be called on the runtime that is to move the requests.
    ///
    /// # Errors
    /// When a listener cannot be handed to the runtime.
    pub fn open(
        gateway: Gateway,
        board: Arc<Board>,
        metrics: &Arc<Metrics>,
        listeners: Vec<std::net::TcpListener>,
        config: &Config,
        header_deadline: Duration,
    ) -> io::Result<Doors> {
        let conf = ServerConf {
            threads: tokio::runtime::Handle::current().metrics().num_workers(),
            upstream_keepalive_pool_size: UPSTREAM_POOL,
            ..ServerConf::default()
        };
        let app = Arc::new(http_proxy(&Arc::new(conf), gateway));
        let places = Arc::new(Semaphore::new(descriptors::connections(
            config.proxy.max_connections,
        )));
        let (phase, _) = watch::channel(Phase::Open);
        let (shutdown, _) = watch::channel(false);
        let mut loops = JoinSet::new();
        for listener in listeners {
            let way_in = WayIn {
                app: app.clone(),
                metrics: metrics.clone(),
                places: places.clone(),
                keepalive_idle: config.proxy.keepalive_idle,
                // The first request is none of the reuses that Pingora counts.
                reuses: config.proxy.keepalive_requests.saturating_sub(1),
                header_deadline,
                shutdown: shutdown.subscribe(),
            };
            loops.spawn(way_in.serve(listen(listener)?, phase.subscribe()));
        }
        Ok(Doors {
            app,
            board,
            metrics: metrics.clone(),
            phase,
            shutdown,
            loops,
        })
    }

    /// Connections of users that are open.
    pub fn connections(&self) -> usize {
        usize::try_from(self.metrics.connections.get()).unwrap_or(0)
    }

    /// Lame duck, then closed doors, then the end of what is under way or the deadline.
    ///
    /// With no connection open it takes no time.
    pub async fn stop(mut self, lame_duck: Duration, deadline: Duration) -> Stopped {
        self.board.drain();
        let duck_ends = Instant::now() + lame_duck;
        while self.connections() > 0 && Instant::now() < duck_ends {
            tokio::time::sleep(STOP_LOOK).await;
        }
        let under_way = self.board.in_flight();
        self.phase.send_replace(Phase::Closing);
        self.shutdown.send_replace(true);
        // Wakes the connections that wait for a next request.
        ServerApp::cleanup(&*self.app).await;
        let ended = async { while self.loops.join_next().await.is_some() {} };
        let in_time = tokio::time::timeout(deadline, ended).await.is_ok();
        let left = if in_time { 0 } else { self.board.in_flight() };
        self.phase.send_replace(Phase::Cut);
        while self.loops.join_next().await.is_some() {}
        let count = |requests| u64::try_from(requests).unwrap_or(0);
        Stopped {
            finished: count(under_way - left),
            cut: count(left),
        }
    }
}

/// What every connection of one listener needs.
struct WayIn {
    app: Arc<HttpProxy<Gateway>>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    keepalive_idle: Duration,
    reuses: u32,
    header_deadline: Duration,
    shutdown: watch::Receiver<bool>,
}

impl WayIn {
    /// Accepts until the doors close, and then waits for the connections that are open.
    async fn serve(self, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
        let way_in = Arc::new(self);
        let mut connections = JoinSet::new();
        let closing = reached(&mut phase, Phase::Closing);
        way_in
            .accept_until(closing, &listener, &mut connections)
            .await;
        if let Err(error) = handshake::begin_none(&listener) {
            log::debug!("new handshakes cannot be held back while the doors close: {error}");
        }
        if !connections.is_empty() {
            let under_way = tokio::time::sleep(HANDSHAKES);
            way_in
                .accept_until(under_way, &listener, &mut connections)
                .await;
        }
        for (stream, client, open) in way_in.rest_of_queue(listener) {
            connections.spawn(way_in.clone().connection(stream, client, open));
        }
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { return },
                () = reached(&mut phase, Phase::Cut) => break,
            }
        }
        connections.shutdown().await;
    }

    async fn accept_until(
        self: &Arc<Self>,
        end: impl Future<Output = ()>,
        listener: &TcpListener,
        connections: &mut JoinSet<()>,
    ) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                accepted = self.accept(listener) => match accepted {
                    Ok((stream, client, open)) => {
                        connections.spawn(self.clone().connection(stream, client, open));
                    }
                    Err(error) => {
                        log::warn!("cannot accept a connection: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = &mut end => break,
            }
        }
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr, Open)> {
        // First the place: those above the limit wait in the kernel's queue.
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, client) = listener.accept().await?;
        Ok((stream, client, Open::new(self.metrics.clone(), place)))
    }

    /// Closes the door: who is in the kernel's queue was told that the connection stands.
    ///
    /// Asks the kernel itself: the runtime's readiness may be older than the last of the queue.
    fn rest_of_queue(&self, listener: TcpListener) -> Vec<(TcpStream, SocketAddr, Open)> {
        let mut rest = vec![];
        let Ok(listener) = listener.into_std() else {
            return rest;
        };
        while let Ok(place) = self.places.clone().try_acquire_owned()
            && let Ok((stream, client)) = listener.accept()
        {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                rest.push((stream, client, Open::new(self.metrics.clone(), place)));
            }
        }
        rest
    }

    /// Waits for the first byte; false when none comes.
    ///
    /// Pingora ends every connection that waits for a request when the doors close. One that was just
    /// made is about to ask, and its user has not been told of anything: it gets a moment.
    async fn asks(&self, stream: &TcpStream) -> bool {
        let (mut shutdown, mut first) = (self.shutdown.clone(), [0]);
        let closed = async {
            let _ = shutdown.wait_for(|shutdown| *shutdown).await;
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        tokio::select! {
            biased;
            // Not `readable`, which may say so of a connection that has nothing to read.
            peeked = stream.peek(&mut first) => peeked.is_ok_and(|bytes| bytes > 0),
            () = closed => false,
            () = tokio::time::sleep(self.keepalive_idle) => false,
        }
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, client: SocketAddr, _open: Open) {
        // A connection that died already says so at its first read.
        let _ = stream.set_nodelay(true);
        if !self.asks(&stream).await {
            return;
        }
        let mut stream: Stream = Box::new(Clocked::new(
            stream,
            client,
            self.header_deadline,
            self.keepalive_idle,
        ));
        let mut settings = None;
        loop {
            let mut session = ServerSession::new_http1(stream);
            match settings.take() {
                Some(settings) => HttpPersistentSettings::apply_to_session(settings, &mut session),
                None => {
                    session.set_keepalive(Some(0));
                    session.set_keepalive_reuses_remaining(Some(self.reuses));
                }
            }
            let Some(reused) = self.app.process_new_http(session, &self.shutdown).await else {
                return;
            };
            (stream, settings) = reused.consume();
            if let Some(clocked) = (*stream).as_any().downcast_ref::<Clocked>() {
                clocked.request_ended();
            }
        }
    }
}

async fn reached(phase: &mut watch::Receiver<Phase>, at: Phase) {
    // Nobody left to say so is an end as well.
    let _ = phase.wait_for(|phase| *phase >= at).await;
}

/// An open connection, counted.
struct Open {
    metrics: Arc<Metrics>,
    _place: OwnedSemaphorePermit,
}

impl Open {
    fn new(metrics: Arc<Metrics>, place: OwnedSemaphorePermit) -> Open {
        metrics.connections.inc();
        Open {
            metrics,
            _place: place,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

/// Hands a listener to the runtime, with a longer backlog than the standard library asks for.
fn listen(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    let socket = std::net::TcpStream::from(OwnedFd::from(listener));
    TcpSocket::from_std_stream(socket).listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::gateway::Gateway;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_header_that_trickles_in_is_cut_and_one_that_is_quick_is_not() {
        let toml = "[service.app]\nblue = \"127.0.0.1:1\"\n";
        let config = Arc::new(Config::parse("test.toml", toml).unwrap());
        let board = Arc::new(Board::new(config.clone()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let addr = listeners[0].local_addr().unwrap();
        let gateway = Gateway::new(board.clone(), metrics.clone());
        let deadline = Duration::from_millis(200);
        let _doors = Doors::open(gateway, board, &metrics, listeners, &config, deadline).unwrap();

        let mut slow = TcpStream::connect(addr).await.unwrap();
        let mut quick = TcpStream::connect(addr).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nx: ").await.unwrap();
        let (mut reads, mut writes) = slow.split();
        let trickle = async {
            while writes.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let mut buffer = [0; 64];
        let ended = async { while let Ok(1..) = reads.read(&mut buffer).await {} };
        let cut = async {
            tokio::select! { () = trickle => {}, () = ended => {} }
        };
        tokio::time::timeout(Duration::from_secs(10), cut)
            .await
            .expect("the slow one is cut");

        // It was silent for all that time, and has a deadline only from its first byte on.
        quick
            .write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
            .await
            .unwrap();
        let count = quick.read(&mut buffer).await.unwrap();
        assert!(buffer[..count].starts_with(b"HTTP/1.1 404"));
    }

    #[test]
    fn a_port_in_use_is_named_with_what_to_do() {
        let taken = bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let addr = taken[0].local_addr().unwrap();
        let error = bind(&[addr]).unwrap_err();
        assert_eq!(error.addr, addr);
        let said = error.to_string();
        assert!(
            said.contains(&addr.to_string()) && said.contains("another program has port"),
            "{said}"
        );
    }
}
