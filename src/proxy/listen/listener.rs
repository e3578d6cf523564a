//! The proxy's listeners: bound first, opened last, closed without losing a request.

use crate::config::{self, Config};
use crate::metrics::Metrics;
use crate::proxy::downstream::client_stream::ClientStream;
use crate::proxy::downstream::http1::HeaderLimits;
use crate::proxy::downstream::protocol_detection::{self, Spoken, first_words};
use crate::proxy::downstream::timeout_stream::TimeoutStream;
use crate::proxy::downstream::tls::{self, Terms};
use crate::proxy::downstream::validating_stream::ValidationConfig;
use crate::proxy::limits::file_descriptors;
use crate::proxy::listen::bind::{Listeners, listen};
use crate::proxy::listen::proxy_protocol;
use crate::proxy::listen::syn_filter;
use crate::proxy::request::edge::Edge;
use crate::proxy::request::exchange::Exchanges;
use crate::proxy::request::gateway::Gateway;
use crate::proxy::routing::connection_memory::ConnectionMemory;
use crate::store::SharedState;
use arc_swap::ArcSwap;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Idle connections to backends that are kept for each thread.
const UPSTREAM_POOL: usize = 1_024;

/// The pause after an accept that failed, usually for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long after the listeners closed a new connection may still send its first request.
const FIRST_REQUEST: Duration = Duration::from_millis(500);

/// How long handshakes that have begun may take when the listeners close: a round trip to the
/// client.
const HANDSHAKES: Duration = Duration::from_millis(100);

/// The share of a stop's deadline over which the ends of tunnels are spread.
const TUNNELS_SHARE: f64 = 0.75;

/// How often a stop checks whether everything has ended.
const STOP_LOOK: Duration = Duration::from_millis(5);

/// The result of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Requests that were in flight when the listeners closed, and finished.
    pub finished: u64,
    /// Requests that were still in flight at the deadline.
    pub cut: u64,
}

/// The phase of a stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// A successor accepts new connections; nothing else is different.
    Left,
    /// No new connections; open ones end with their current request.
    Closing,
    /// Nothing is waited for any more.
    Cut,
}

/// A server that accepts connections.
pub struct Server {
    app: Arc<HttpProxy<Gateway>>,
    board: Arc<SharedState>,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    shutdown: watch::Sender<bool>,
    loops: JoinSet<()>,
    /// The listeners, for a successor.
    listeners: Listeners,
    /// Another process has the listeners as well: their queues must not be touched here.
    handed_over: Arc<AtomicBool>,
}

impl Server {
    /// Accepts clients on these listeners, those without TLS first; to be called on the runtime
    /// that is to move the requests.
    ///
    /// # Errors
    /// When a listener cannot be handed to the runtime.
    pub fn open(
        gateway: Gateway,
        board: Arc<SharedState>,
        metrics: &Arc<Metrics>,
        listeners: Listeners,
        config: &Config,
    ) -> io::Result<Server> {
        let edge = gateway.edge().clone();
        let app = Arc::new(pingora(gateway, &config.proxy));
        let places = Arc::new(Semaphore::new(file_descriptors::connections(
            config.proxy.max_connections,
        )));
        let (phase, _) = watch::channel(Phase::Open);
        let (shutdown, _) = watch::channel(false);
        let mut loops = JoinSet::new();
        let handed_over = Arc::new(AtomicBool::new(listeners.shared));
        let kept = listeners.again()?;
        let terms = match &config.proxy.tls {
            Some(tls) => Some(tls::follow(tls, &config.state, &board, &edge, metrics)?),
            None => None,
        };
        let plain = config.proxy.listen.len();
        for (i, listener) in listeners.all.into_iter().enumerate() {
            let tls = terms.clone().filter(|_| i >= plain);
            let way_in = ListenerContext {
                app: app.clone(),
                tls,
                metrics: metrics.clone(),
                places: places.clone(),
                keepalive_idle: config.proxy.keepalive_idle,
                // The first request is not one of the reuses that Pingora counts.
                reuses: config.proxy.keepalive_requests.saturating_sub(1),
                header_deadline: config.proxy.limits.header_time,
                edge: edge.clone(),
                board: board.clone(),
                shutdown: shutdown.subscribe(),
                handed_over: handed_over.clone(),
            };
            loops.spawn(way_in.serve(listen(listener)?, phase.subscribe()));
        }
        Ok(Server {
            app,
            board,
            metrics: metrics.clone(),
            phase,
            shutdown,
            loops,
            listeners: kept,
            handed_over,
        })
    }

    /// The listeners, for a successor.
    pub fn listeners(&self) -> &Listeners {
        &self.listeners
    }

    /// Stops behind a successor that has the listeners: accepts nothing more, asks open connections
    /// to close, and then stops as in [`Server::stop`].
    pub async fn leave(self, lame_duck: Duration, deadline: Duration) -> Stopped {
        self.handed_over.store(true, Relaxed);
        self.phase.send_replace(Phase::Left);
        self.stop(lame_duck, deadline).await
    }

    /// Open client connections.
    pub fn connections(&self) -> usize {
        usize::try_from(self.metrics.connections.get()).unwrap_or(0)
    }

    /// Stops: lame duck, then closed listeners, then the end of requests in flight, or the
    /// deadline.
    ///
    /// With no connection open it takes no time.
    pub async fn stop(mut self, lame_duck: Duration, deadline: Duration) -> Stopped {
        // A listener is closed only when no handle to it is left.
        self.listeners.all.clear();
        self.board.drain();
        let duck_ends = Instant::now() + lame_duck;
        while self.connections() > 0 && Instant::now() < duck_ends {
            tokio::time::sleep(STOP_LOOK).await;
        }
        let under_way = self.board.in_flight();
        self.phase.send_replace(Phase::Closing);
        self.shutdown.send_replace(true);
        // A tunnel has no end of its own; its client reconnects to the process that listens next.
        let within = deadline.mul_f64(TUNNELS_SHARE);
        for backend in self
            .board
            .snapshot()
            .services
            .iter()
            .flat_map(|s| s.backends())
        {
            backend.let_go(Some(within));
        }
        // Wakes the connections that wait for a next request.
        ServerApp::cleanup(&*self.app).await;
        let ended = async {
            while self.loops.join_next().await.is_some() {}
            // An HTTP/2 request is counted by a task of its own, a moment after its connection's
            // end.
            while self.board.in_flight() > 0 {
                tokio::time::sleep(STOP_LOOK).await;
            }
        };
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
struct ListenerContext {
    app: Arc<HttpProxy<Gateway>>,
    /// The TLS terms, where clients use TLS.
    tls: Option<Arc<ArcSwap<Terms>>>,
    metrics: Arc<Metrics>,
    places: Arc<Semaphore>,
    keepalive_idle: Duration,
    reuses: u32,
    header_deadline: Duration,
    edge: Arc<Edge>,
    board: Arc<SharedState>,
    shutdown: watch::Receiver<bool>,
    handed_over: Arc<AtomicBool>,
}

impl ListenerContext {
    /// Accepts until the listeners close, and then waits for the connections that are open.
    async fn serve(self, listener: TcpListener, mut phase: watch::Receiver<Phase>) {
        let way_in = Arc::new(self);
        let mut connections = JoinSet::new();
        let closing = reached(&mut phase, Phase::Left);
        way_in
            .accept_until(closing, &listener, &mut connections)
            .await;
        if way_in.handed_over.load(Relaxed) {
            // The queue belongs to the other process.
            drop(listener);
            return way_in.outlive(connections, phase).await;
        }
        if let Err(error) = syn_filter::begin_none(&listener) {
            log::debug!("new handshakes cannot be held back while the listeners close: {error}");
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
        way_in.outlive(connections, phase).await;
    }

    /// Waits for the connections that are open.
    async fn outlive(&self, mut connections: JoinSet<()>, mut phase: watch::Receiver<Phase>) {
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
        // First the permit: connections above the limit wait in the kernel's queue.
        let place = self
            .places
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let (stream, client) = listener.accept().await?;
        Ok((stream, client, Open::new(self.metrics.clone(), place)))
    }

    /// Accepts the rest of the kernel's queue and closes the listener: for those clients the
    /// connection is established.
    ///
    /// Asks the kernel itself: the runtime's readiness may be older than the last connection of the
    /// queue.
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

    /// Waits for the first bytes, and detects the protocol from them; `None` when none come.
    ///
    /// Pingora ends every connection that waits for a request when the listeners close. A new one
    /// is about to send a request, and its client has not been told to close it: it gets
    /// [`FIRST_REQUEST`].
    async fn begins(
        &self,
        stream: TcpStream,
        client: SocketAddr,
        proxy: &config::Proxy,
    ) -> Option<(ClientStream, SocketAddr, Spoken)> {
        let mut shutdown = self.shutdown.clone();
        let closed = async {
            let _ = shutdown.wait_for(|shutdown| *shutdown).await;
            tokio::time::sleep(FIRST_REQUEST).await;
        };
        tokio::select! {
            biased;
            begun = self.meets(stream, client, proxy) => begun,
            () = closed => None,
        }
    }

    async fn meets(
        &self,
        mut stream: TcpStream,
        client: SocketAddr,
        proxy: &config::Proxy,
    ) -> Option<(ClientStream, SocketAddr, Spoken)> {
        let (idle, words) = (self.keepalive_idle, self.header_deadline);
        let client = self.introduced(&mut stream, client, proxy).await?;
        let Some(terms) = &self.tls else {
            let spoken = tokio::time::timeout(idle, first_words(&stream, words)).await;
            return Some((ClientStream::Plain(stream), client, spoken.ok()??));
        };
        let terms = terms.load_full();
        let (tunnel, spoken) = tls::meet(&terms, stream, idle, words, &self.metrics).await?;
        Some((ClientStream::Tls(tunnel), client, spoken))
    }

    /// The client's address: the peer's, or the one in the PROXY protocol header of a trusted load
    /// balancer.
    async fn introduced(
        &self,
        stream: &mut TcpStream,
        client: SocketAddr,
        proxy: &config::Proxy,
    ) -> Option<SocketAddr> {
        if !proxy.proxy_protocol || !proxy.trust.trusts(client.ip()) {
            return Some(client);
        }
        let mut first = [0];
        let began = tokio::time::timeout(self.keepalive_idle, stream.peek(&mut first)).await;
        began.ok()?.ok()?;
        let said = tokio::time::timeout(self.header_deadline, proxy_protocol::read(stream)).await;
        // A trusted peer without a header is not taken for a client: it is closed, as the protocol
        // requires.
        Some(said.ok()?.ok()?.unwrap_or(client))
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, client: SocketAddr, _open: Open) {
        // A connection that died already says so at its first read.
        let _ = stream.set_nodelay(true);
        let config = self.board.snapshot().config.clone();
        let proxy = &config.proxy;
        let begun = self.begins(stream, client, proxy).await;
        let Some((wire, client, spoken)) = begun else {
            return;
        };
        let most = proxy.limits.connections_per_address;
        let most = most.filter(|_| !proxy.trust.trusts(client.ip()));
        let _seat = match most.map(|most| self.edge.limiter.enter(client.ip(), most)) {
            Some(None) => {
                let told = spoken == Spoken::Http1;
                return self.edge.turn_away(wire, client.ip(), told).await;
            }
            seat => seat,
        };
        let rules = || ValidationConfig {
            limits: HeaderLimits::new(&proxy.limits),
            body_time: proxy.limits.body_time,
            client: client.ip().to_canonical(),
            edge: self.edge.clone(),
        };
        let http1 = (spoken == Spoken::Http1).then(rules);
        let (header, idle) = (self.header_deadline, self.keepalive_idle);
        let mut stream = TimeoutStream::new(wire, client, http1, header, idle);
        if config.services.iter().any(config::Service::sets_cookies) {
            stream = stream.with_memory(ConnectionMemory::digest());
        }
        if spoken == Spoken::Http2 {
            // Many requests at a time: Pingora times an idle connection, and each request times
            // itself.
            stream.answer_within(None);
            let (_connection, lives) = watch::channel(());
            Exchanges::of(self.app.clone(), lives)
                .process_new(Box::new(stream), &self.shutdown)
                .await;
            return;
        }
        let mut stream: Stream = Box::new(stream);
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
            if let Some(stream) = (*stream).as_any().downcast_ref::<TimeoutStream>() {
                stream.request_ended();
            }
        }
    }
}

/// Pingora's application, which moves the requests.
fn pingora(gateway: Gateway, proxy: &config::Proxy) -> HttpProxy<Gateway> {
    let conf = ServerConf {
        threads: tokio::runtime::Handle::current().metrics().num_workers(),
        upstream_keepalive_pool_size: UPSTREAM_POOL,
        ..ServerConf::default()
    };
    let mut app = http_proxy(&Arc::new(conf), gateway);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    options.h2_idle_timeout = Some(proxy.keepalive_idle);
    app.server_options = Some(options);
    app.h2_options = Some(protocol_detection::http2());
    app
}

async fn reached(phase: &mut watch::Receiver<Phase>, at: Phase) {
    // A dropped sender is an end as well.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::listen::bind::bind;
    use crate::proxy::request::gateway::Gateway;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_header_that_trickles_in_is_cut_and_one_that_is_quick_is_not() {
        let toml = "proxy.limits.header_time = \"200ms\"\n[service.app]\nblue = \"127.0.0.1:1\"\n";
        let config = Arc::new(Config::parse("test.toml", toml).unwrap());
        let board = Arc::new(SharedState::new(config.clone()));
        let metrics = Arc::new(Metrics::new().unwrap());
        let listeners = bind(&["127.0.0.1:0".parse().unwrap()], Listeners::default()).unwrap();
        let addr = listeners.all[0].local_addr().unwrap();
        let edge = Arc::new(Edge::new(metrics.clone(), None).unwrap());
        let gateway = Gateway::new(board.clone(), metrics.clone(), edge);
        let _doors = Server::open(gateway, board, &metrics, listeners, &config).unwrap();

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

        // It was silent for all that time: its deadline begins with its first byte.
        quick
            .write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n")
            .await
            .unwrap();
        let count = quick.read(&mut buffer).await.unwrap();
        assert!(buffer[..count].starts_with(b"HTTP/1.1 404"));
    }
}
