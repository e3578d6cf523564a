//! A client's connection with the timeouts that Pingora lacks.
//!
//! Pingora limits each read, never the whole header: one byte every few seconds keeps a connection
//! for ever. It also has only one timeout for the first byte of an answer and for the gaps after
//! it. Idle connections and clients that stop reading are timed here as well: most deadlines are
//! met, and then no timer is touched, where Pingora would set one for each request.

use crate::proxy::downstream::client_stream::ClientStream;
use crate::proxy::downstream::close_signal::CloseSignal;
use crate::proxy::downstream::http1::Rejection;
use crate::proxy::downstream::validating_stream::{ValidatingStream, ValidationConfig};
use crate::store::shared_state::BackendState;
use async_trait::async_trait;
use http::HeaderValue;
use pingora::protocols::l4::socket::SocketAddr as PingoraAddr;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session;
use socket2::SockRef;
use std::io::{self, ErrorKind};
use std::net::{Shutdown::Both, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Bytes of the write buffer, which joins an answer's header and a short body in one segment;
/// Pingora reads into buffers of its own.
const WRITE_BUFFER: usize = 1_460;

/// The longest wait for a client to take the next part of an answer.
pub const WRITE_STALL: Duration = Duration::from_secs(60);

/// How often it is checked whether the backend that is waited for is lost.
pub const LOOK: Duration = Duration::from_millis(500);

/// A client's connection with timeouts.
pub struct TimeoutStream {
    stream: ValidatingStream<BufWriter<ClientStream>>,
    tls: Option<Arc<SslDigest>>,
    digest: Arc<SocketDigest>,
    /// What the connection remembers of a newcomer, where a service has a use for it.
    memory: Option<Arc<ProxyDigest>>,
    /// The client's address as `X-Forwarded-For` wants it.
    pub client: Option<HeaderValue>,
    header_deadline: Duration,
    keepalive_idle: Duration,
    opened: Instant,
    /// Between two requests: the next byte starts the timeout of a header.
    idle: AtomicBool,
    /// The deadline in milliseconds after `opened`; 0 for none.
    until: AtomicU64,
    expired: AtomicBool,
    /// The timer of the deadline. It is created when first needed, and moved only to an earlier
    /// time: most deadlines are met, and most requests never touch the timer.
    timer: Option<Pin<Box<Sleep>>>,
    /// The timeout of a write, which runs while the client takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// The backend that is waited for.
    backend: Mutex<Option<Arc<BackendState>>>,
    /// When that backend is checked next; kept from one request to the next, as `timer` is.
    look: Option<Pin<Box<Sleep>>>,
    /// The signal that may end a tunnel.
    cut: OnceLock<CloseSignal>,
}

impl TimeoutStream {
    /// A connection that was just accepted; with validation rules when it is HTTP/1.
    pub fn new(
        stream: ClientStream,
        client: SocketAddr,
        http1: Option<ValidationConfig>,
        header_deadline: Duration,
        keepalive_idle: Duration,
    ) -> TimeoutStream {
        let digest = SocketDigest::from_raw_fd(stream.tcp().as_raw_fd());
        // Known already: saves a system call. It was never set before.
        let _ = digest.peer_addr.set(Some(PingoraAddr::Inet(client)));
        TimeoutStream {
            tls: stream.tunnel().map(|tunnel| Arc::new(tunnel.digest())),
            stream: ValidatingStream::new(BufWriter::with_capacity(WRITE_BUFFER, stream), http1),
            digest: Arc::new(digest),
            memory: None,
            client: HeaderValue::from_str(&client.ip().to_canonical().to_string()).ok(),
            header_deadline,
            keepalive_idle,
            opened: Instant::now(),
            idle: AtomicBool::new(true),
            until: AtomicU64::new(millis(keepalive_idle) + 1),
            expired: AtomicBool::new(false),
            timer: None,
            stall: None,
            backend: Mutex::default(),
            look: None,
            cut: OnceLock::new(),
        }
    }

    /// The connection, with the memory that each request on it is to find.
    pub fn with_memory(mut self, memory: Option<Arc<ProxyDigest>>) -> TimeoutStream {
        self.memory = memory;
        self
    }

    /// The client's connection below a session; `None` when it is not a [`TimeoutStream`].
    pub fn of(session: &Session) -> Option<&TimeoutStream> {
        (**session.as_http1()?.stream()).as_any().downcast_ref()
    }

    /// A request ended: the next byte begins the header of another one.
    pub fn request_ended(&self) {
        self.waits_no_more();
        self.stream.request_ended();
        let until = self.millis() + millis(self.keepalive_idle);
        self.until.store(until, Relaxed);
        self.idle.store(true, Relaxed);
    }

    /// The header of a request is complete.
    pub fn request_began(&self) {
        self.stream.request_began();
        self.answer_within(None);
    }

    /// Why the current body is refused.
    pub fn body_refused(&self) -> Option<Rejection> {
        self.stream.body_refused()
    }

    /// An upgrade was accepted.
    pub fn becomes_tunnel(&self) {
        self.stream.becomes_tunnel();
    }

    /// The signal that can end the connection.
    pub fn cut(&self) -> CloseSignal {
        self.cut.get_or_init(CloseSignal::default).clone()
    }

    /// The request is with this backend: should the backend be lost meanwhile, the wait for its
    /// answer ends.
    pub fn waits_for(&self, backend: &Arc<BackendState>) {
        *self.backend() = Some(backend.clone());
    }

    /// The answer's header is there, or it is not waited for any more.
    pub fn waits_no_more(&self) {
        *self.backend() = None;
    }

    fn backend(&self) -> MutexGuard<'_, Option<Arc<BackendState>>> {
        self.backend.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears what expired: the request is given to another backend.
    pub fn relieve(&self) {
        self.waits_no_more();
        self.expired.store(false, Relaxed);
        self.answer_within(None);
    }

    /// The header is complete; the next deadline is the answer's: `span` from now, or none.
    pub fn answer_within(&self, span: Option<Duration>) {
        self.idle.store(false, Relaxed);
        let until = span.map_or(0, |span| self.millis() + millis(span));
        self.until.store(until, Relaxed);
    }

    /// Whether reading stopped because a deadline passed.
    pub fn expired(&self) -> bool {
        self.expired.load(Relaxed)
    }

    fn millis(&self) -> u64 {
        millis(self.opened.elapsed()) + 1
    }

    /// Ready when the wait is over: the backend is lost, or the deadline has passed.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.poll_lost(cx) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => self.poll_deadline(cx),
        }
    }

    /// The result of a write, or a timeout when the client has taken nothing for [`WRITE_STALL`].
    fn taken<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if self.stall.is_some() {
                self.stall = None;
            }
            return written;
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL)));
        stall
            .as_mut()
            .poll(cx)
            .map(|()| Err(ErrorKind::TimedOut.into()))
    }

    /// Ready when the backend that is waited for is lost.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(lost) = self.backend().as_ref().map(|backend| backend.lost()) else {
            return Poll::Pending;
        };
        if lost {
            self.expired.store(true, Relaxed);
            return Poll::Ready(());
        }
        let look = self
            .look
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LOOK)));
        while look.as_mut().poll(cx).is_ready() {
            look.as_mut().reset(Instant::now() + LOOK);
        }
        Poll::Pending
    }

    /// Ready when the deadline has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let until = self.until.load(Relaxed);
        if until == 0 {
            return Poll::Pending;
        }
        let deadline = self.opened + Duration::from_millis(until);
        loop {
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if timer.deadline() > deadline {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            if timer.deadline() >= deadline {
                self.expired.store(true, Relaxed);
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX / 4)
}

impl AsyncRead for TimeoutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buf.filled().len();
        if self.cut.get().is_some_and(|cut| cut.told(cx)) {
            // In both directions, so that reader and writer see the end. It may be closed already.
            let _ = SockRef::from(self.stream.get_ref().get_ref().tcp()).shutdown(Both);
        }
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                if buf.filled().len() > filled && self.idle.swap(false, Relaxed) {
                    let until = self.millis() + millis(self.header_deadline);
                    self.until.store(until, Relaxed);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_over(cx).map(|()| {
                // Between two requests, a connection that times out just ends.
                if self.idle.load(Relaxed) {
                    Ok(())
                } else {
                    Err(ErrorKind::TimedOut.into())
                }
            }),
        }
    }
}

impl AsyncWrite for TimeoutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.taken(written, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.taken(flushed, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.taken(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

impl std::fmt::Debug for TimeoutStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clocked")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Shutdown for TimeoutStream {
    async fn shutdown(&mut self) {
        // The client may be gone already.
        let _ = self.stream.shutdown().await;
    }
}

impl UniqueID for TimeoutStream {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().get_ref().tcp().as_raw_fd()
    }
}

impl Ssl for TimeoutStream {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.tls.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let http2 = self.stream.get_ref().get_ref().tunnel()?.is_http2();
        Some(if http2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for TimeoutStream {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for TimeoutStream {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.memory.clone()
    }
}

impl GetSocketDigest for TimeoutStream {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.digest.clone())
    }
}

#[async_trait]
impl Peek for TimeoutStream {}
